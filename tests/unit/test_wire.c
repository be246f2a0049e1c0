/*
 * test_wire.c - what is written is read, and nothing else is.
 *
 * The worker is hostile: every body is also cut at each byte, and changed at
 * each byte, in a block of exactly its size, so that one byte read too many
 * is caught by the sanitizer.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/wire.h"

static const struct mp_pair params[] = {{{"device", 6}, {"d-7", 3}}};

/* One of each kind. */
static const struct mp_entry entries[] = {
    {{"b", 1}, {.kind = MP_VALUE_BOOLEAN, .integer = 1}, 0},
    {{"f", 1}, {.kind = MP_VALUE_FLOAT, .number = -0.5}, 0},
    {{"i", 1}, {.kind = MP_VALUE_INTEGER, .integer = INT64_MIN}, 12345},
    {{"n", 1}, {.kind = MP_VALUE_NONE}, 0},
    {{"s", 1}, {.kind = MP_VALUE_STRING, .text = {"\0\377", 2}}, 0},
    {{"t", 1}, {.kind = MP_VALUE_TABLE, .text = {"{\"a\":1}", 7}}, 0},
};

enum { ENTRIES = ARRAY_LEN(entries) };

static void put_entries(struct mp_buf *b)
{
    for (size_t i = 0; i < ENTRIES; i++)
        mp_put_entry(b, &entries[i]);
}

static void check_entries(struct mp_slice bytes)
{
    struct mp_reader r = mp_reader(bytes);

    for (size_t i = 0; i < ENTRIES; i++) {
        struct mp_entry e = mp_get_entry(&r);

        assert_true(mp_slice_eq(e.name, entries[i].name));
        assert_int_equal(e.expires_us, entries[i].expires_us);
        assert_true(mp_value_eq(&e.value, &entries[i].value));
    }
    assert_false(r.bad);
    assert_ptr_equal(r.at, r.end);
}

/* What a function leaves behind, one of each kind. */
static const struct mp_effect effects[] = {
    {.kind = MP_EFFECT_PUBLISH,
     .topic = {"alerts/d-7", 10},
     .data = {"{}", 2},
     .format = MP_FORMAT_JSON,
     .qos = 1,
     .properties = params,
     .n_properties = 1},
    {.kind = MP_EFFECT_SEND,
     .name = {"archive", 7},
     .key = {"d-7", 3},
     .has_key = true,
     .data = {"x", 1},
     .format = MP_FORMAT_TEXT,
     .delay_us = 5},
    {.kind = MP_EFFECT_ALARM,
     .name = {"hold", 4},
     .after_us = -1,
     .at_us = 77,
     .slack_us = 3,
     .data = {"{}", 2},
     .format = MP_FORMAT_JSON},
    {.kind = MP_EFFECT_ALARM, .name = {"hold", 4}, .cancel = true},
    {.kind = MP_EFFECT_STATE,
     .name = {"n", 1},
     .op = MP_STATE_INCREMENT,
     .value = {.kind = MP_VALUE_INTEGER, .integer = 7},
     .ttl_us = 9},
    {.kind = MP_EFFECT_STATE, .name = {"n", 1}, .op = MP_STATE_DELETE},
    {.kind = MP_EFFECT_NOTIFY,
     .topic = {"/rooms/1", 8},
     .data = {"21", 2},
     .format = MP_FORMAT_TEXT,
     .max_age_us = 60000000},
};

/* About a batch. */
static const struct mp_verdict verdicts[] = {
    {0, true, {"busy", 4}},
    {2, false, {"odd", 3}},
};

enum { EFFECTS = ARRAY_LEN(effects) };

static void write_run(struct mp_buf *b)
{
    struct mp_run run = {
        .id = 7,
        .fn = 3,
        .clock_ok = true,
        .event =
            {
                .type = MP_EVENT_MQTT,
                .id = MP_S("abc"),
                .source = MP_S("mqtt://localhost:1883"),
                .subject = MP_S("t/1"),
                .trigger = MP_S("readings"),
                .attempt = 2,
                .data = MP_S("{\"temp\":31.4}"),
                .topic = MP_S("t/1"),
                .qos = 1,
                .params = params,
                .n_params = 1,
            },
    };

    struct mp_buf bytes;

    mp_buf_init(&bytes, 4096);
    put_entries(&bytes);
    run.state =
        (struct mp_run_state){true, 4096, ENTRIES, mp_buf_bytes(&bytes)};
    mp_wire_run(b, &run);
    mp_buf_fini(&bytes);
}

static void write_resume(struct mp_buf *b)
{
    struct mp_resume resume = {.run = 7, .more = true, .n = ENTRIES};
    struct mp_buf bytes;

    mp_buf_init(&bytes, 4096);
    put_entries(&bytes);
    resume.entries = mp_buf_bytes(&bytes);
    mp_wire_resume(b, &resume);
    mp_buf_fini(&bytes);
}

static void write_done(struct mp_buf *b)
{
    struct mp_log_line line = {MP_WARN, MP_S("hot"), params, 1};
    struct mp_outcome out = {.run = 7,
                             .n_effects = EFFECTS,
                             .n_logs = 1,
                             .n_verdicts = ARRAY_LEN(verdicts)};
    struct mp_buf bytes, logs, said;

    mp_buf_init(&said, 4096);
    for (size_t i = 0; i < ARRAY_LEN(verdicts); i++)
        mp_wire_put_verdict(&said, &verdicts[i]);
    out.verdicts = mp_buf_bytes(&said);
    mp_buf_init(&bytes, 4096);
    mp_buf_init(&logs, 4096);
    for (size_t i = 0; i < EFFECTS; i++)
        mp_wire_put_effect(&bytes, &effects[i]);
    mp_wire_put_log(&logs, &line);
    out.effects = mp_buf_bytes(&bytes);
    out.logs = mp_buf_bytes(&logs);
    mp_wire_done(b, &out);
    mp_buf_fini(&said);
    mp_buf_fini(&bytes);
    mp_buf_fini(&logs);
}

static void write_load(struct mp_buf *b)
{
    static const struct mp_pair env[] = {{{"A", 1}, {"1", 1}}};
    static const struct mp_pair files[] = {
        {{"main.lua", 8}, {"return print", 12}}, {{"x.lua", 5}, {"", 0}}};
    static const struct mp_pair secrets[] = {{{"KEY", 3}, {"\0s3cret", 7}},
                                             {{"TOKEN", 5}, {"t", 1}}};
    static const struct mp_slice texts[] = {{"a/#", 3}, {"b", 1}};
    struct mp_load load = {.id = 9,
                           .fn = 3,
                           .name = MP_S("f"),
                           .zone = MP_S("zone"),
                           .env = env,
                           .n_env = 1,
                           .files = files,
                           .n_files = 2,
                           .grants = texts,
                           .n_grants = 1,
                           .triggers = texts + 1,
                           .n_triggers = 1,
                           .has_state = true,
                           .state_quota = 77,
                           .secrets = secrets,
                           .n_secrets = 2,
                           .observes = texts,
                           .n_observes = 2};

    mp_wire_load(b, &load);
}

/* One that the host puts together, of an MQTT event and a request. */
static void write_batch(struct mp_buf *b)
{
    static const struct mp_pair query[] = {{{"unit", 4}, {"C", 1}}};
    static const struct mp_pair props[] = {{{"a", 1}, {"1", 1}},
                                           {{"b", 1}, {"2", 1}}};
    struct mp_event events[] = {
        {.type = MP_EVENT_MQTT,
         .id = MP_S("e1"),
         .data = MP_S("31"),
         .topic = MP_S("t/1"),
         .params = params,
         .n_params = 1,
         .properties = props,
         .n_properties = 2},
        {.type = MP_EVENT_MQTT, .id = MP_S("e2"), .data = MP_S("")},
        {.type = MP_EVENT_COAP,
         .id = MP_S("e3"),
         .method = MP_S("PUT"),
         .path = MP_S("/t/2"),
         .query = query,
         .n_query = 1},
    };
    struct mp_run run = {.id = 12,
                         .event = {.type = MP_EVENT_BATCH,
                                   .id = MP_S("b1"),
                                   .trigger = MP_S("readings"),
                                   .params = params,
                                   .n_params = 1,
                                   .events = events,
                                   .n_events = ARRAY_LEN(events)}};

    mp_wire_run(b, &run);
}

static void write_loaded(struct mp_buf *b)
{
    struct mp_slice names[] = {MP_S("readings"), MP_S("alarm")};
    struct mp_loaded loaded = {.id = 9,
                               .fn = 3,
                               .image_bytes = 22000,
                               .handlers = names,
                               .n_handlers = 2};

    mp_wire_loaded(b, &loaded);
}

static void write_wait(struct mp_buf *b)
{
    struct mp_wait wait = {.run = 7,
                           .kind = MP_WAIT_EACH,
                           .delay_us = 10,
                           .of = true,
                           .key = MP_S("d-7"),
                           .name = MP_S("a."),
                           .after = MP_S("a.b"),
                           .limit = 3};

    mp_wire_wait(b, &wait);
}

static int read_entries(uint32_t n, struct mp_slice bytes)
{
    struct mp_reader r = mp_reader(bytes);

    for (uint32_t i = 0; i < n && !r.bad; i++)
        (void)mp_get_entry(&r);
    return r.bad || r.at != r.end ? MP_EPARSE : 0;
}

/* Read a body as what it says it is, effects and logs too. */
static int read_any(uint8_t type, struct mp_slice body)
{
    struct mp_pair pairs[MP_EVENT_PAIRS];
    struct mp_slice names[MP_TRIGGERS_MAX];
    struct mp_load_store load_store;
    struct mp_run_store store;
    struct mp_verdict verdict;
    struct mp_load load;
    struct mp_run run;
    struct mp_loaded loaded;
    struct mp_resume resume;
    struct mp_wait wait;
    struct mp_outcome out;
    struct mp_effect effect;
    struct mp_log_line line;
    struct mp_reader r;
    int rc;

    switch (type) {
    case MP_FRAME_RUN:
        rc = mp_read_run(body, &run, &store);
        if (rc)
            return rc;
        mp_run_fini(&store);
        return read_entries(run.state.n, run.state.entries);
    case MP_FRAME_LOAD:
        rc = mp_read_load(body, &load, &load_store);
        if (rc == 0)
            mp_load_fini(&load_store);
        return rc;
    case MP_FRAME_RESUME:
        rc = mp_read_resume(body, &resume);
        return rc ? rc : read_entries(resume.n, resume.entries);
    case MP_FRAME_LOADED:
        return mp_read_loaded(body, &loaded, names);
    case MP_FRAME_WAIT:
        return mp_read_wait(body, &wait);
    case MP_FRAME_DONE:
        rc = mp_read_done(body, &out);
        r = mp_reader(out.effects);
        for (uint32_t i = 0; !rc && i < out.n_effects; i++)
            rc = mp_read_effect(&r, &effect, pairs);
        r = mp_reader(out.verdicts);
        for (uint32_t i = 0; !rc && i < out.n_verdicts; i++)
            rc = mp_read_verdict(&r, &verdict);
        r = mp_reader(out.logs);
        for (uint32_t i = 0; !rc && i < out.n_logs; i++)
            rc = mp_read_log(&r, &line, pairs);
        return rc;
    default:
        return MP_EPARSE;
    }
}

static void a_run_arrives_as_it_was_sent(void **state)
{
    struct mp_run_store store;
    struct mp_slice body;
    struct mp_run run;
    struct mp_buf b;
    uint8_t type;

    (void)state;
    mp_buf_init(&b, 4096);
    write_run(&b);
    assert_int_equal(mp_frame_next(mp_buf_bytes(&b), &type, &body), b.len);
    assert_int_equal(type, MP_FRAME_RUN);
    assert_int_equal(mp_read_run(body, &run, &store), 0);
    assert_int_equal(run.id, 7);
    assert_int_equal(run.event.attempt, 2);
    assert_true(mp_slice_is(run.event.data, "{\"temp\":31.4}"));
    assert_true(mp_slice_is(run.event.params[0].value, "d-7"));
    assert_null(run.event.datacontenttype.ptr);
    assert_true(run.state.complete);
    assert_int_equal(run.state.left, 4096);
    assert_int_equal(run.state.n, ENTRIES);
    check_entries(run.state.entries);
    assert_null(store.events);
    mp_buf_fini(&b);
}

static const struct mp_pair asked[] = {{{"unit", 4}, {"C", 1}}};
static const struct mp_pair heads[] = {{{"accept", 6}, {"*/*", 3}}};

static void write_request(struct mp_buf *b)
{
    struct mp_run run = {.id = 8, .event = {.type = MP_EVENT_HTTP}};

    run.event.method = MP_S("PUT");
    run.event.path = MP_S("/rooms/7");
    run.event.peer = MP_S("127.0.0.1");
    run.event.missed = 3;
    run.event.query = asked;
    run.event.headers = heads;
    run.event.n_query = run.event.n_headers = 1;
    mp_wire_run(b, &run);
}

static void a_request_arrives_as_it_was_sent(void **state)
{
    struct mp_run_store store;
    struct mp_slice body;
    struct mp_run run;
    struct mp_buf b;
    uint8_t type;

    (void)state;
    mp_buf_init(&b, 4096);
    write_request(&b);
    assert_int_equal(mp_frame_next(mp_buf_bytes(&b), &type, &body), b.len);
    assert_int_equal(mp_read_run(body, &run, &store), 0);
    assert_int_equal(run.event.type, MP_EVENT_HTTP);
    assert_true(mp_slice_is(run.event.method, "PUT"));
    assert_true(mp_slice_is(run.event.path, "/rooms/7"));
    assert_true(mp_slice_is(run.event.peer, "127.0.0.1"));
    assert_null(run.event.identity.ptr);
    assert_int_equal(run.event.missed, 3);
    assert_int_equal(run.event.n_query, 1);
    assert_true(mp_slice_is(run.event.query[0].value, "C"));
    assert_int_equal(run.event.n_headers, 1);
    assert_true(mp_slice_is(run.event.headers[0].name, "accept"));
    assert_null(store.events);
    mp_buf_fini(&b);
}

static void a_batch_arrives_with_each_event_whole(void **state)
{
    const struct mp_event *e;
    struct mp_run_store store;
    struct mp_slice body;
    struct mp_run run;
    struct mp_buf b;
    uint8_t type;

    (void)state;
    mp_buf_init(&b, 4096);
    write_batch(&b);
    assert_true(mp_frame_next(mp_buf_bytes(&b), &type, &body) > 0);
    assert_int_equal(mp_read_run(body, &run, &store), 0);
    assert_int_equal(run.event.type, MP_EVENT_BATCH);
    assert_true(mp_slice_is(run.event.id, "b1"));
    assert_true(mp_slice_is(run.event.params[0].value, "d-7"));
    assert_int_equal(run.event.n_events, 3);
    e = run.event.events;
    assert_true(mp_slice_is(e[0].id, "e1"));
    assert_true(mp_slice_is(e[0].data, "31"));
    assert_true(mp_slice_is(e[0].params[0].name, "device"));
    assert_int_equal(e[0].n_properties, 2);
    assert_true(mp_slice_is(e[0].properties[1].value, "2"));
    assert_true(mp_slice_is(e[1].id, "e2"));
    assert_int_equal(e[1].n_params, 0);
    assert_int_equal(e[2].type, MP_EVENT_COAP);
    assert_true(mp_slice_is(e[2].path, "/t/2"));
    assert_true(mp_slice_is(e[2].query[0].name, "unit"));
    mp_run_fini(&store);
    assert_null(store.events);
    mp_buf_fini(&b);
}

static void a_batch_is_not_within_another(void **state)
{
    struct mp_event one = {.type = MP_EVENT_BATCH};
    struct mp_run run = {
        .event = {.type = MP_EVENT_BATCH, .events = &one, .n_events = 1}};
    struct mp_run_store store;
    struct mp_slice body;
    struct mp_buf b;
    uint8_t type;

    (void)state;
    mp_buf_init(&b, 4096);
    mp_wire_run(&b, &run);
    assert_true(mp_frame_next(mp_buf_bytes(&b), &type, &body) > 0);
    assert_int_equal(mp_read_run(body, &run, &store), MP_EPARSE);
    assert_null(store.events);
    mp_buf_fini(&b);
}

/* As many as there may be, with as much as 4 MB of them may weigh. */
static void the_largest_batch_fits_into_a_frame(void **state)
{
    enum { EACH = (4 << 20) / MP_BATCH_MAX };
    struct mp_event *events = mp_zalloc(MP_BATCH_MAX * sizeof *events);
    struct mp_run run = {.event = {.type = MP_EVENT_BATCH,
                                   .events = events,
                                   .n_events = MP_BATCH_MAX}};
    struct mp_pair many[MP_PAIRS_MAX];
    struct mp_run_store store;
    char *text = mp_zalloc(EACH);
    struct mp_slice body;
    struct mp_buf b;
    uint8_t type;

    (void)state;
    for (size_t i = 0; i < MP_PAIRS_MAX; i++)
        many[i] = (struct mp_pair){{text, 32}, {text, EACH / MP_PAIRS_MAX}};
    for (size_t i = 0; i < MP_BATCH_MAX; i++)
        events[i] = (struct mp_event){.topic = {text, EACH},
                                      .subject = {text, EACH},
                                      .params = many,
                                      .n_params = MP_PAIRS_MAX};
    mp_buf_init(&b, 4 * (size_t)MP_FRAME_MAX);
    mp_wire_run(&b, &run);
    assert_true(mp_frame_next(mp_buf_bytes(&b), &type, &body) > 0);
    assert_int_equal(mp_read_run(body, &run, &store), 0);
    assert_int_equal(run.event.n_events, MP_BATCH_MAX);
    assert_int_equal(run.event.events[MP_BATCH_MAX - 1].n_params, MP_PAIRS_MAX);
    mp_run_fini(&store);
    mp_buf_fini(&b);
    free(text);
    free(events);
}

static void a_load_arrives_with_secrets_and_paths(void **state)
{
    struct mp_load_store store;
    struct mp_slice body;
    struct mp_load load;
    struct mp_buf b;
    uint8_t type;

    (void)state;
    mp_buf_init(&b, 4096);
    write_load(&b);
    assert_true(mp_frame_next(mp_buf_bytes(&b), &type, &body) > 0);
    assert_int_equal(mp_read_load(body, &load, &store), 0);
    assert_true(mp_slice_is(load.zone, "zone"));
    assert_true(mp_slice_is(load.env[0].name, "A"));
    assert_true(mp_slice_is(load.files[1].name, "x.lua"));
    assert_int_equal(load.n_secrets, 2);
    assert_true(mp_slice_is(load.secrets[0].name, "KEY"));
    assert_int_equal(load.secrets[0].value.len, 7);
    assert_true(mp_slice_is(load.secrets[1].value, "t"));
    assert_true(mp_slice_is(load.triggers[0], "b"));
    assert_int_equal(load.n_observes, 2);
    assert_true(mp_slice_is(load.observes[0], "a/#"));
    mp_load_fini(&store);
    mp_buf_fini(&b);
}

typedef void writer(struct mp_buf *b);
static writer *const writers[] = {write_run,    write_request, write_batch,
                                  write_resume, write_done,    write_load,
                                  write_loaded, write_wait};

static void effects_and_log_lines_arrive_as_they_were_put(void **state)
{
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_outcome out;
    struct mp_verdict verdict;
    struct mp_effect effect;
    struct mp_log_line line;
    struct mp_slice body;
    struct mp_reader r;
    struct mp_buf b;
    uint8_t type;

    (void)state;
    mp_buf_init(&b, 4096);
    write_done(&b);
    assert_true(mp_frame_next(mp_buf_bytes(&b), &type, &body) > 0);
    assert_int_equal(mp_read_done(body, &out), 0);
    r = mp_reader(out.effects);
    assert_int_equal(mp_read_effect(&r, &effect, pairs), 0);
    assert_true(mp_slice_is(effect.topic, "alerts/d-7"));
    assert_int_equal(effect.n_properties, 1);
    for (size_t i = 1; i < EFFECTS; i++) {
        const struct mp_effect *e = &effects[i];

        assert_int_equal(mp_read_effect(&r, &effect, pairs), 0);
        assert_int_equal(effect.kind, e->kind);
        assert_true(mp_slice_eq(effect.name, e->name));
        assert_true(mp_slice_eq(effect.key, e->key));
        assert_int_equal(effect.has_key, e->has_key);
        assert_true(mp_slice_eq(effect.data, e->data));
        assert_int_equal(effect.delay_us, e->delay_us);
        assert_int_equal(effect.cancel, e->cancel);
        assert_int_equal(effect.after_us, e->after_us);
        assert_int_equal(effect.at_us, e->at_us);
        assert_int_equal(effect.slack_us, e->slack_us);
        assert_int_equal(effect.op, e->op);
        assert_true(mp_value_eq(&effect.value, &e->value));
        assert_int_equal(effect.ttl_us, e->ttl_us);
        assert_true(mp_slice_eq(effect.topic, e->topic));
        assert_int_equal(effect.max_age_us, e->max_age_us);
    }
    assert_ptr_equal(r.at, r.end);
    r = mp_reader(out.verdicts);
    assert_int_equal(out.n_verdicts, ARRAY_LEN(verdicts));
    for (size_t i = 0; i < ARRAY_LEN(verdicts); i++) {
        assert_int_equal(mp_read_verdict(&r, &verdict), 0);
        assert_int_equal(verdict.event, verdicts[i].event);
        assert_int_equal(verdict.retry, verdicts[i].retry);
        assert_true(mp_slice_eq(verdict.reason, verdicts[i].reason));
    }
    assert_ptr_equal(r.at, r.end);
    r = mp_reader(out.logs);
    assert_int_equal(mp_read_log(&r, &line, pairs), 0);
    assert_int_equal(line.level, MP_WARN);
    assert_ptr_equal(r.at, r.end);
    mp_buf_fini(&b);
}

static void a_wait_and_its_answer_arrive_as_they_were_sent(void **state)
{
    struct mp_resume resume;
    struct mp_slice body;
    struct mp_wait wait;
    struct mp_buf b;
    uint8_t type;

    (void)state;
    mp_buf_init(&b, 4096);
    write_wait(&b);
    assert_true(mp_frame_next(mp_buf_bytes(&b), &type, &body) > 0);
    assert_int_equal(mp_read_wait(body, &wait), 0);
    assert_int_equal(wait.kind, MP_WAIT_EACH);
    assert_true(wait.of);
    assert_true(mp_slice_is(wait.key, "d-7"));
    assert_true(mp_slice_is(wait.name, "a."));
    assert_true(mp_slice_is(wait.after, "a.b"));
    assert_int_equal(wait.limit, 3);
    mp_buf_reset(&b);
    write_resume(&b);
    assert_true(mp_frame_next(mp_buf_bytes(&b), &type, &body) > 0);
    assert_int_equal(mp_read_resume(body, &resume), 0);
    assert_true(resume.more);
    assert_int_equal(resume.n, ENTRIES);
    assert_int_equal(resume.error.len, 0);
    check_entries(resume.entries);
    mp_buf_fini(&b);
}

static char long_text[MP_STATE_VALUE_MAX + 1];
#define LONG(n)                                                                \
    {                                                                          \
        long_text, (n)                                                         \
    }

/* What the API never makes, so that only a worker that lies would send it. */
static const struct {
    const char *why;
    struct mp_effect e;
} lies[] = {
    {"no name", {.kind = MP_EFFECT_STATE}},
    {"a long name",
     {.kind = MP_EFFECT_STATE, .name = LONG(MP_STATE_NAME_MAX + 1)}},
    {"bad UTF-8", {.kind = MP_EFFECT_STATE, .name = {"\377", 1}}},
    {"a large value",
     {.kind = MP_EFFECT_STATE,
      .name = {"n", 1},
      .value = {.kind = MP_VALUE_STRING,
                .text = LONG(MP_STATE_VALUE_MAX + 1)}}},
    {"NaN, which SQLite takes for NULL",
     {.kind = MP_EFFECT_STATE,
      .name = {"n", 1},
      .value = {.kind = MP_VALUE_FLOAT, .number = NAN}}},
    {"a time that ends before it begins",
     {.kind = MP_EFFECT_STATE, .name = {"n", 1}, .ttl_us = -1}},
    {"a send into the past",
     {.kind = MP_EFFECT_SEND, .name = {"f", 1}, .delay_us = -1}},
    {"a send to nobody", {.kind = MP_EFFECT_SEND}},
    {"a long key",
     {.kind = MP_EFFECT_SEND,
      .name = {"f", 1},
      .has_key = true,
      .key = LONG(MP_KEY_MAX + 1)}},
    {"an alarm before 1970",
     {.kind = MP_EFFECT_ALARM, .name = {"a", 1}, .after_us = -1, .at_us = -1}},
    {"a negative wait",
     {.kind = MP_EFFECT_ALARM, .name = {"a", 1}, .after_us = -2}},
    {"negative slack",
     {.kind = MP_EFFECT_ALARM, .name = {"a", 1}, .slack_us = -1}},
    {"an alarm's long name",
     {.kind = MP_EFFECT_ALARM, .name = LONG(MP_ALARM_NAME_MAX + 1)}},
    {"a value that was never fresh",
     {.kind = MP_EFFECT_NOTIFY, .topic = {"/a", 2}, .max_age_us = -1}},
    {"a long path",
     {.kind = MP_EFFECT_NOTIFY, .topic = LONG(MP_TOPIC_MAX + 1)}},
    {"an alarm's large data",
     {.kind = MP_EFFECT_ALARM,
      .name = {"a", 1},
      .data = LONG(MP_ALARM_DATA_MAX + 1)}},
};

static void effects_past_their_bounds_are_refused(void **state)
{
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_effect e;
    struct mp_reader r;
    struct mp_buf b;

    (void)state;
    memset(long_text, 'x', sizeof long_text);
    mp_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        print_message("%s\n", lies[i].why);
        mp_buf_reset(&b);
        mp_wire_put_effect(&b, &lies[i].e);
        r = mp_reader(mp_buf_bytes(&b));
        assert_int_equal(mp_read_effect(&r, &e, pairs), MP_EPARSE);
    }
    mp_buf_fini(&b);
}

static void a_verdict_past_its_bounds_is_refused(void **state)
{
    static const struct mp_verdict bad[] = {
        {.event = MP_BATCH_MAX},
        {.reason = LONG(MP_REASON_MAX + 1)},
    };
    struct mp_verdict v;
    struct mp_reader r;
    struct mp_buf b;

    (void)state;
    mp_buf_init(&b, 4096);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        mp_buf_reset(&b);
        mp_wire_put_verdict(&b, &bad[i]);
        r = mp_reader(mp_buf_bytes(&b));
        assert_int_equal(mp_read_verdict(&r, &v), MP_EPARSE);
    }
    mp_buf_fini(&b);
}

static int read_done(const struct mp_outcome *out)
{
    struct mp_outcome back;
    struct mp_slice body;
    struct mp_buf b;
    uint8_t type;
    int rc;

    mp_buf_init(&b, 1 << 20);
    mp_wire_done(&b, out);
    assert_true(mp_frame_next(mp_buf_bytes(&b), &type, &body) > 0);
    rc = mp_read_done(body, &back);
    mp_buf_fini(&b);
    return rc;
}

static int read_loaded(const struct mp_loaded *loaded)
{
    struct mp_slice body, names[MP_TRIGGERS_MAX];
    struct mp_loaded back;
    struct mp_buf b;
    uint8_t type;
    int rc;

    mp_buf_init(&b, 1 << 20);
    mp_wire_loaded(&b, loaded);
    assert_true(mp_frame_next(mp_buf_bytes(&b), &type, &body) > 0);
    rc = mp_read_loaded(body, &back, names);
    mp_buf_fini(&b);
    return rc;
}

static void an_error_longer_than_is_kept_of_one_is_refused(void **state)
{
    struct mp_slice error = {long_text, MP_ERROR_MAX};
    struct mp_slice traceback = {long_text, MP_TRACEBACK_MAX};
    struct mp_outcome out = {.error = error, .traceback = traceback};
    struct mp_loaded loaded = {.error = error, .traceback = traceback};

    (void)state;
    memset(long_text, 'x', sizeof long_text);
    assert_int_equal(read_done(&out), 0);
    assert_int_equal(read_loaded(&loaded), 0);
    out.error.len = ++loaded.error.len;
    assert_int_equal(read_done(&out), MP_EPARSE);
    assert_int_equal(read_loaded(&loaded), MP_EPARSE);
    out.error = loaded.error = error;
    out.traceback.len = ++loaded.traceback.len;
    assert_int_equal(read_done(&out), MP_EPARSE);
    assert_int_equal(read_loaded(&loaded), MP_EPARSE);
}

static void a_send_has_an_id_of_at_most_its_length(void **state)
{
    char id[MP_EVENT_ID_MAX], other[MP_EVENT_ID_MAX];
    size_t len = mp_send_id(MP_S("abc"), MP_S("f"), 2, id);

    (void)state;
    assert_true(mp_slice_is(mp_slice(id, len), "abc/f/2"));
    memset(long_text, 'x', MP_EVENT_ID_MAX);
    len = mp_send_id(mp_slice(long_text, MP_EVENT_ID_MAX), MP_S("f"), 2, id);
    assert_int_equal(len, 32);
    assert_int_equal(
        mp_send_id(mp_slice(long_text, MP_EVENT_ID_MAX), MP_S("f"), 3, other),
        32);
    assert_memory_not_equal(id, other, 32);
}

static void a_body_cut_anywhere_is_refused(void **state)
{
    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(writers); w++) {
        struct mp_slice body;
        struct mp_buf b;
        uint8_t type;

        mp_buf_init(&b, 4096);
        writers[w](&b);
        assert_true(mp_frame_next(mp_buf_bytes(&b), &type, &body) > 0);
        for (size_t len = 0; len < body.len; len++) {
            char *exact = mp_alloc(len);

            memcpy(exact, body.ptr, len);
            assert_int_equal(read_any(type, mp_slice(exact, len)), MP_EPARSE);
            free(exact);
        }
        mp_buf_fini(&b);
    }
}

static void a_byte_too_many_is_refused(void **state)
{
    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(writers); w++) {
        struct mp_slice body;
        struct mp_buf b;
        uint8_t type;

        mp_buf_init(&b, 4096);
        writers[w](&b);
        mp_buf_put(&b, "", 1);
        assert_true(mp_frame_next(mp_buf_bytes(&b), &type, &body) > 0);
        body.len++;
        assert_int_equal(read_any(type, body), MP_EPARSE);
        mp_buf_fini(&b);
    }
}

/* Most changes are refused, none reads outside the block. */
static void a_changed_byte_harms_nobody(void **state)
{
    static const unsigned char values[] = {0, 1, 2, 0x7f, 0x80, 0xff};

    (void)state;
    for (size_t w = 0; w < ARRAY_LEN(writers); w++) {
        struct mp_slice body;
        struct mp_buf b;
        uint8_t type;
        char *exact;

        mp_buf_init(&b, 4096);
        writers[w](&b);
        assert_true(mp_frame_next(mp_buf_bytes(&b), &type, &body) > 0);
        exact = mp_alloc(body.len);
        for (size_t i = 0; i < body.len; i++)
            for (size_t v = 0; v < ARRAY_LEN(values); v++) {
                memcpy(exact, body.ptr, body.len);
                exact[i] = (char)values[v];
                (void)read_any(type, mp_slice(exact, body.len));
            }
        free(exact);
        mp_buf_fini(&b);
    }
}

static void a_frame_that_claims_too_much_is_refused_at_once(void **state)
{
    uint32_t len = MP_FRAME_MAX + 1;
    struct mp_slice body;
    char head[5] = {0};
    uint8_t type;

    (void)state;
    memcpy(head, &len, sizeof len);
    assert_int_equal(mp_frame_next(mp_slice(head, 5), &type, &body), MP_EPARSE);
    len = 1;
    memcpy(head, &len, sizeof len);
    assert_int_equal(mp_frame_next(mp_slice(head, 5), &type, &body), 0);
    assert_int_equal(mp_frame_next(mp_slice(head, 3), &type, &body), 0);
}

static void a_buffer_at_its_bound_takes_nothing_more(void **state)
{
    struct mp_buf b;

    (void)state;
    mp_buf_init(&b, 10);
    mp_buf_put(&b, "12345678", 8);
    assert_false(b.full);
    mp_put_u32(&b, 1);
    assert_true(b.full);
    assert_int_equal(b.len, 8);
    mp_put_u8(&b, 1); /* would fit, but something before it is missing */
    assert_int_equal(b.len, 8);
    mp_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_arrives_as_it_was_sent),
        cmocka_unit_test(a_request_arrives_as_it_was_sent),
        cmocka_unit_test(a_batch_arrives_with_each_event_whole),
        cmocka_unit_test(a_batch_is_not_within_another),
        cmocka_unit_test(the_largest_batch_fits_into_a_frame),
        cmocka_unit_test(a_load_arrives_with_secrets_and_paths),
        cmocka_unit_test(effects_and_log_lines_arrive_as_they_were_put),
        cmocka_unit_test(a_wait_and_its_answer_arrive_as_they_were_sent),
        cmocka_unit_test(effects_past_their_bounds_are_refused),
        cmocka_unit_test(a_verdict_past_its_bounds_is_refused),
        cmocka_unit_test(an_error_longer_than_is_kept_of_one_is_refused),
        cmocka_unit_test(a_send_has_an_id_of_at_most_its_length),
        cmocka_unit_test(a_body_cut_anywhere_is_refused),
        cmocka_unit_test(a_byte_too_many_is_refused),
        cmocka_unit_test(a_changed_byte_harms_nobody),
        cmocka_unit_test(a_frame_that_claims_too_much_is_refused_at_once),
        cmocka_unit_test(a_buffer_at_its_bound_takes_nothing_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
