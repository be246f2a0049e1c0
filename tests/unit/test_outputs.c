/*
 * test_outputs.c - what of an outcome is taken from a worker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "core/outputs.h"

static void a_result_past_output_bytes_is_refused(void **state)
{
    struct mp_function fn = {.outputs = 1, .output_bytes = 5};
    struct mp_outcome out = {
        .result_kind = MP_RESULT_TEXT,
        .result = MP_S("12345"),
        .effects = MP_S(""),
    };

    (void)state;
    assert_int_equal(mp_outputs_check(&fn, MP_S("p"), &out), 0);
    out.result = MP_S("123456");
    assert_int_equal(mp_outputs_check(&fn, MP_S("p"), &out), MP_EPARSE);
}

/* A worker that was taken over may say so of headers, and have none. */
static void headers_that_can_not_be_read_are_refused(void **state)
{
    static const struct mp_pair pair = {{"a", 1}, {"b", 1}};
    static const char zeros[MP_HEADERS_BYTES + 8];
    struct mp_function fn = {.outputs = 1, .output_bytes = 5};
    struct mp_outcome out = {.result_kind = MP_RESULT_REPLY, .n_headers = 1};
    struct mp_buf b;

    (void)state;
    mp_buf_init(&b, 4096);
    mp_put_headers(&b, &pair, 1);
    out.headers = mp_buf_bytes(&b);
    assert_int_equal(mp_outputs_check(&fn, MP_S("p"), &out), 0);
    out.n_headers = 2;
    assert_int_equal(mp_outputs_check(&fn, MP_S("p"), &out), MP_EPARSE);
    out.n_headers = 0; /* something is left */
    assert_int_equal(mp_outputs_check(&fn, MP_S("p"), &out), MP_EPARSE);
    out.headers = mp_slice(zeros, 8 * (MP_PAIRS_MAX + 1));
    out.n_headers = MP_PAIRS_MAX + 1;
    assert_int_equal(mp_outputs_check(&fn, MP_S("p"), &out), MP_EPARSE);
    out.headers.len = 8 * MP_PAIRS_MAX;
    out.n_headers = MP_PAIRS_MAX;
    assert_int_equal(mp_outputs_check(&fn, MP_S("p"), &out), 0);
    mp_buf_fini(&b);
}

/* What one notify is answered, with `GET /rooms/{room}` observed and
 * `GET /all/{rest...}` too. */
static int check_notify(const char *path, const char *data)
{
    struct mp_trigger triggers[] = {
        {.kind = MP_TRIGGER_COAP, .observe = true, .n_patterns = 1},
        {.kind = MP_TRIGGER_COAP, .observe = true, .n_patterns = 1},
        {.kind = MP_TRIGGER_COAP, .n_patterns = 1},
    };
    static const char *const patterns[] = {"/rooms/{room}", "/all/{rest...}",
                                           "/quiet"};
    struct mp_function fn = {
        .outputs = 1, .output_bytes = 5, .triggers = triggers, .n_triggers = 3};
    struct mp_effect e = {.kind = MP_EFFECT_NOTIFY,
                          .topic = mp_slice_str(path),
                          .data = mp_slice_str(data)};
    struct mp_outcome out = {.n_effects = 1};
    struct mp_pattern made[3];
    struct mp_why why;
    struct mp_buf b;
    int rc;

    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        assert_int_equal(
            mp_pattern_parse(&made[i], mp_slice_str(patterns[i]), &why), 0);
        triggers[i].patterns = &made[i];
    }
    mp_buf_init(&b, 4096);
    mp_wire_put_effect(&b, &e);
    out.effects = mp_buf_bytes(&b);
    rc = mp_outputs_check(&fn, MP_S("p"), &out);
    mp_buf_fini(&b);
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
        mp_pattern_fini(&made[i]);
    return rc;
}

static void only_paths_of_observe_triggers_may_be_notified(void **state)
{
    (void)state;
    assert_int_equal(check_notify("/rooms/1", "21"), 0);
    assert_int_equal(check_notify("/all/a/b", "21"), 0);
    assert_int_equal(check_notify("/rooms/1", "123456"), MP_EPARSE);
    assert_int_equal(check_notify("/rooms/1/x", "21"), MP_EPARSE);
    assert_int_equal(check_notify("/quiet", "21"), MP_EPARSE);
    assert_int_equal(check_notify("rooms/1", "21"), MP_EPARSE);
    assert_int_equal(check_notify("/rooms/\n", "21"), MP_EPARSE);
    assert_int_equal(check_notify("/rooms/\377", "21"), MP_EPARSE);
    assert_int_equal(check_notify("", "21"), MP_EPARSE);
}

static int check_verdicts(const struct mp_verdict *list, uint32_t n,
                          enum mp_kind kind, uint32_t n_events)
{
    struct mp_outcome out = {.kind = kind, .n_verdicts = n};
    struct mp_buf b;
    int rc;

    mp_buf_init(&b, 4096);
    for (uint32_t i = 0; i < n; i++)
        mp_wire_put_verdict(&b, &list[i]);
    out.verdicts = mp_buf_bytes(&b);
    rc = mp_verdicts_check(&out, n_events);
    mp_buf_fini(&b);
    return rc;
}

static void verdicts_rise_and_are_about_the_batch(void **state)
{
    static const struct mp_verdict v[] = {
        {0, true, {"a", 1}}, {2, false, {"b", 1}}, {2, false, {"c", 1}}};

    (void)state;
    assert_int_equal(check_verdicts(v, 0, MP_OUT_ERROR, 0), 0);
    assert_int_equal(check_verdicts(v, 2, MP_OUT_OK, 3), 0);
    assert_int_equal(check_verdicts(v, 2, MP_OUT_OK, 2), MP_EPARSE);
    assert_int_equal(check_verdicts(v, 3, MP_OUT_OK, 3), MP_EPARSE);
    assert_int_equal(check_verdicts(v, 1, MP_OUT_ERROR, 3), MP_EPARSE);
    assert_int_equal(check_verdicts(v, 1, MP_OUT_OK, 0), MP_EPARSE);
}

static struct mp_slice own(const char *text)
{
    return mp_slice(strdup(text), strlen(text));
}

/* What it is made of may go: the library has it for as long as it likes. */
static void a_copy_borrows_nothing(void **state)
{
    struct mp_pair pair = {own("k"), own("v")};
    struct mp_output from = {
        .topic = own("t"),
        .data = own("d"),
        .id = own("i"),
        .traceparent = own("p"),
        .correlation = own("c"),
        .content_type = own("y"),
        .qos = 1,
        .retain = true,
        .has_expiry = true,
        .expiry_s = 7,
        .properties = &pair,
        .n_properties = 1,
    };
    struct mp_slice all[] = {
        from.topic,       from.data,         from.id,   from.traceparent,
        from.correlation, from.content_type, pair.name, pair.value};
    struct mp_output *o = mp_output_copy(&from);

    (void)state;
    assert_int_equal(mp_output_bytes(&from), 8);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free((void *)(uintptr_t)all[i].ptr);
    pair = (struct mp_pair){0};
    assert_true(mp_slice_is(o->topic, "t") && mp_slice_is(o->data, "d"));
    assert_true(mp_slice_is(o->id, "i") && mp_slice_is(o->traceparent, "p"));
    assert_true(mp_slice_is(o->correlation, "c"));
    assert_true(mp_slice_is(o->content_type, "y"));
    assert_true(o->qos == 1 && o->retain && o->has_expiry && o->expiry_s == 7);
    assert_int_equal(o->n_properties, 1);
    assert_true(mp_slice_is(o->properties[0].name, "k"));
    assert_true(mp_slice_is(o->properties[0].value, "v"));
    mp_output_free(o);
}

/* No correlation data, and some of no bytes, are not the same. */
static void what_is_not_there_stays_so(void **state)
{
    struct mp_output from = {.topic = MP_S("t"), .correlation = MP_S("")};
    struct mp_output *o = mp_output_copy(&from);

    (void)state;
    assert_null(o->id.ptr);
    assert_null(o->traceparent.ptr);
    assert_null(o->content_type.ptr);
    assert_non_null(o->correlation.ptr);
    assert_int_equal(o->correlation.len, 0);
    mp_output_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_past_output_bytes_is_refused),
        cmocka_unit_test(headers_that_can_not_be_read_are_refused),
        cmocka_unit_test(a_copy_borrows_nothing),
        cmocka_unit_test(what_is_not_there_stays_so),
        cmocka_unit_test(only_paths_of_observe_triggers_may_be_notified),
        cmocka_unit_test(verdicts_rise_and_are_about_the_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
