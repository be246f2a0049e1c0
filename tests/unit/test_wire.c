/*
 * test_wire.c - what is written is read, and nothing else is.
 *
 * The worker is hostile: every body is also cut at each byte, and changed at
 * each byte, in a block of exactly its size, so that one byte read too many
 * is caught by the sanitizer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/wire.h"

static const struct mp_pair params[] = {{{"device", 6}, {"d-7", 3}}};

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

    mp_wire_run(b, &run);
}

static void write_done(struct mp_buf *b)
{
    struct mp_effect effect = {
        .kind = MP_EFFECT_PUBLISH,
        .topic = MP_S("alerts/d-7"),
        .data = MP_S("{}"),
        .format = MP_FORMAT_JSON,
        .qos = 1,
        .properties = params,
        .n_properties = 1,
    };
    struct mp_log_line line = {MP_WARN, MP_S("hot"), params, 1};
    struct mp_outcome out = {.run = 7, .n_effects = 1, .n_logs = 1};
    struct mp_buf effects, logs;

    mp_buf_init(&effects, 4096);
    mp_buf_init(&logs, 4096);
    mp_wire_put_effect(&effects, &effect);
    mp_wire_put_log(&logs, &line);
    out.effects = mp_buf_bytes(&effects);
    out.logs = mp_buf_bytes(&logs);
    mp_wire_done(b, &out);
    mp_buf_fini(&effects);
    mp_buf_fini(&logs);
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
    struct mp_wait wait = {.run = 7, .kind = MP_WAIT_SLEEP, .delay_us = 10};

    mp_wire_wait(b, &wait);
}

/* Read a body as what it says it is, effects and logs too. */
static int read_any(uint8_t type, struct mp_slice body)
{
    struct mp_pair pairs[2 * MP_PAIRS_MAX];
    struct mp_slice names[MP_TRIGGERS_MAX];
    struct mp_run run;
    struct mp_loaded loaded;
    struct mp_wait wait;
    struct mp_outcome out;
    struct mp_effect effect;
    struct mp_log_line line;
    struct mp_reader r;
    int rc;

    switch (type) {
    case MP_FRAME_RUN:
        return mp_read_run(body, &run, pairs);
    case MP_FRAME_LOADED:
        return mp_read_loaded(body, &loaded, names);
    case MP_FRAME_WAIT:
        return mp_read_wait(body, &wait);
    case MP_FRAME_DONE:
        rc = mp_read_done(body, &out);
        r = mp_reader(out.effects);
        for (uint32_t i = 0; !rc && i < out.n_effects; i++)
            rc = mp_read_effect(&r, &effect, pairs);
        r = mp_reader(out.logs);
        for (uint32_t i = 0; !rc && i < out.n_logs; i++)
            rc = mp_read_log(&r, &line, pairs);
        return rc;
    default:
        return MP_EPARSE;
    }
}

typedef void writer(struct mp_buf *b);
static writer *const writers[] = {write_run, write_done, write_loaded,
                                  write_wait};

static void a_run_arrives_as_it_was_sent(void **state)
{
    struct mp_pair pairs[2 * MP_PAIRS_MAX];
    struct mp_slice body;
    struct mp_run run;
    struct mp_buf b;
    uint8_t type;

    (void)state;
    mp_buf_init(&b, 4096);
    write_run(&b);
    assert_int_equal(mp_frame_next(mp_buf_bytes(&b), &type, &body), b.len);
    assert_int_equal(type, MP_FRAME_RUN);
    assert_int_equal(mp_read_run(body, &run, pairs), 0);
    assert_int_equal(run.id, 7);
    assert_int_equal(run.event.attempt, 2);
    assert_true(mp_slice_is(run.event.data, "{\"temp\":31.4}"));
    assert_true(mp_slice_is(run.event.params[0].value, "d-7"));
    assert_null(run.event.datacontenttype.ptr);
    mp_buf_fini(&b);
}

static void effects_and_log_lines_arrive_as_they_were_put(void **state)
{
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_outcome out;
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
    assert_ptr_equal(r.at, r.end);
    r = mp_reader(out.logs);
    assert_int_equal(mp_read_log(&r, &line, pairs), 0);
    assert_int_equal(line.level, MP_WARN);
    assert_ptr_equal(r.at, r.end);
    mp_buf_fini(&b);
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
        cmocka_unit_test(effects_and_log_lines_arrive_as_they_were_put),
        cmocka_unit_test(a_body_cut_anywhere_is_refused),
        cmocka_unit_test(a_byte_too_many_is_refused),
        cmocka_unit_test(a_changed_byte_harms_nobody),
        cmocka_unit_test(a_frame_that_claims_too_much_is_refused_at_once),
        cmocka_unit_test(a_buffer_at_its_bound_takes_nothing_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
