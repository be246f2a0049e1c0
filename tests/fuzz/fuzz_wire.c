/*
 * fuzz_wire.c - any bytes at all, as what a worker sends: effects, verdicts
 * and whole outcomes; and as what the host sends: runs with a batch, loads.
 *
 * What must hold: nothing outside the bytes is read, what is taken is within
 * the bounds that the host counts on, and it is written as the bytes it was.
 */
#include <math.h>
#include <stdlib.h>

#include "core/base/utf8.h"
#include "tests/corpus/wire/rows.h"
#include "tests/fuzz/fuzz_main.h"

static void check(const struct mp_effect *e)
{
    MP_ASSERT(e->kind > 0 && e->kind < MP_EFFECT_KINDS);
    MP_ASSERT(e->n_properties <= MP_PAIRS_MAX);
    MP_ASSERT(e->key.len <= MP_KEY_MAX && mp_utf8_valid(e->key));
    MP_ASSERT(e->name.len <= MP_STATE_NAME_MAX && mp_utf8_valid(e->name));
    MP_ASSERT(e->delay_us >= 0 && e->slack_us >= 0 && e->ttl_us >= 0);
    MP_ASSERT(e->value.text.len <= MP_STATE_VALUE_MAX);
    MP_ASSERT(e->value.kind != MP_VALUE_FLOAT || isfinite(e->value.number));
    MP_ASSERT(e->max_age_us >= 0);
    MP_ASSERT(e->kind != MP_EFFECT_NOTIFY || e->topic.len <= MP_TOPIC_MAX);
    MP_ASSERT(e->kind == MP_EFFECT_PUBLISH || e->kind == MP_EFFECT_NOTIFY ||
              e->name.len > 0);
}

/* Written again it is what was read. */
static void same(const struct mp_buf *b, const char *from, const char *to)
{
    MP_ASSERT(
        mp_slice_eq(mp_buf_bytes(b), mp_slice(from, (size_t)(to - from))));
}

static void as_effects(struct mp_slice bytes, struct mp_buf *b)
{
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_reader r = mp_reader(bytes);
    struct mp_effect e;

    for (const char *from = r.at; r.at < r.end; from = r.at) {
        if (mp_read_effect(&r, &e, pairs))
            break;
        check(&e);
        mp_buf_reset(b);
        mp_wire_put_effect(b, &e);
        same(b, from, r.at);
    }
}

static void as_verdicts(struct mp_slice bytes, struct mp_buf *b)
{
    struct mp_reader r = mp_reader(bytes);
    struct mp_verdict v;

    for (const char *from = r.at; r.at < r.end; from = r.at) {
        if (mp_read_verdict(&r, &v))
            break;
        MP_ASSERT(v.event < MP_BATCH_MAX && v.reason.len <= MP_REASON_MAX);
        mp_buf_reset(b);
        mp_wire_put_verdict(b, &v);
        same(b, from, r.at);
    }
}

/* Bodies of whole frames: behind the five bytes of a head. */
static void as_frames(struct mp_slice body, struct mp_buf *b)
{
    struct mp_load_store load_store;
    struct mp_run_store run_store;
    struct mp_outcome out;
    struct mp_load load;
    struct mp_run run;

    if (mp_read_done(body, &out) == 0) {
        MP_ASSERT(out.n_verdicts <= MP_BATCH_MAX);
        mp_buf_reset(b);
        mp_wire_done(b, &out);
        same(b, b->ptr, b->ptr + MP_FRAME_HEAD + body.len);
        MP_ASSERT(memcmp(b->ptr + MP_FRAME_HEAD, body.ptr, body.len) == 0);
    }
    if (mp_read_run(body, &run, &run_store) == 0) {
        MP_ASSERT(run.event.n_events <= MP_BATCH_MAX);
        for (uint32_t i = 0; i < run.event.n_events; i++)
            MP_ASSERT(run.event.events[i].type != MP_EVENT_BATCH &&
                      run.event.events[i].n_params <= MP_PAIRS_MAX);
        mp_run_fini(&run_store);
    }
    if (mp_read_load(body, &load, &load_store) == 0)
        mp_load_fini(&load_store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = mp_alloc(size);
    struct mp_slice bytes = mp_slice(exact, size);
    struct mp_buf b;

    if (size)
        memcpy(exact, data, size);
    mp_buf_init(&b, MP_FRAME_MAX);
    as_effects(bytes, &b);
    as_verdicts(bytes, &b);
    as_frames(bytes, &b);
    mp_buf_fini(&b);
    free(exact);
    return 0;
}

#ifdef MP_FUZZ_MAIN
static const char *fuzz_word(uint64_t any)
{
    static const char *const words[] = {"\1",           "\2",      "\3",  "\4",
                                        "\377\377\377", "archive", "\177"};

    return words[any % ARRAY_LEN(words)];
}

/* The body of a frame, as a seed. */
static void add_body(const struct mp_buf *frame)
{
    fuzz_add(mp_slice(frame->ptr + MP_FRAME_HEAD, frame->len - MP_FRAME_HEAD));
}

static void fuzz_seeds(void)
{
    /* kept: seeds are borrowed */
    static struct mp_buf rows[ARRAY_LEN(wire_rows)], said, done, run, load;
    static const struct mp_event members[] = {
        {.data = {"31", 2}, .params = wire_pairs, .n_params = 1},
        {.type = MP_EVENT_COAP, .method = {"PUT", 3}, .path = {"/a", 2}},
    };
    const struct mp_run batch = {
        .event = {.type = MP_EVENT_BATCH, .events = members, .n_events = 2}};
    const struct mp_load secret = {.secrets = wire_pairs, .n_secrets = 1};
    struct mp_outcome out = {.n_verdicts = ARRAY_LEN(wire_verdicts)};

    for (size_t i = 0; i < ARRAY_LEN(wire_rows); i++) {
        mp_buf_init(&rows[i], 4096);
        mp_wire_put_effect(&rows[i], &wire_rows[i]);
        fuzz_add(mp_buf_bytes(&rows[i]));
    }
    mp_buf_init(&said, 4096);
    for (size_t i = 0; i < ARRAY_LEN(wire_verdicts); i++)
        mp_wire_put_verdict(&said, &wire_verdicts[i]);
    fuzz_add(mp_buf_bytes(&said));
    out.verdicts = mp_buf_bytes(&said);
    mp_buf_init(&done, 4096);
    mp_wire_done(&done, &out);
    add_body(&done);
    mp_buf_init(&run, 4096);
    mp_wire_run(&run, &batch);
    add_body(&run);
    mp_buf_init(&load, 4096);
    mp_wire_load(&load, &secret);
    add_body(&load);
}
#endif
