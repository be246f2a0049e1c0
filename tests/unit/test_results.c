/*
 * test_results.c - answers kept for who asks later, and how they are forgotten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/results.h"

enum { TTL = 60 };

static struct mp_results r;

static int open_results(void **state)
{
    (void)state;
    mp_results_init(&r, TTL * MP_SECOND);
    return 0;
}

static int close_results(void **state)
{
    (void)state;
    mp_results_fini(&r);
    return 0;
}

static struct mp_slice name(int i)
{
    static char text[16];
    int len = snprintf(text, sizeof text, "result-%d", i);

    return mp_slice(text, (size_t)len);
}

static bool begin(int i, int second)
{
    return mp_results_begin(&r, name(i), second * MP_SECOND);
}

static void put(int i, struct mp_slice data, int second)
{
    const struct mp_answer a = {.kind = MP_ANSWER_DONE, .data = data};

    mp_results_put(&r, name(i), &a, second * MP_SECOND);
}

static enum mp_result_is get(int i, struct mp_answer *a, int second)
{
    return mp_results_get(&r, name(i), a, second * MP_SECOND);
}

static struct mp_slice name_is(const struct mp_results *of,
                               enum mp_event_type type, const char *method,
                               const char *path, const char *event,
                               char room[MP_RESULT_NAME + 1])
{
    return mp_results_name(of, type, mp_slice_str(method), mp_slice_str(path),
                           mp_slice_str(event), room);
}

static void a_name_is_of_all_that_was_asked_for(void **state)
{
    static const struct {
        enum mp_event_type type;
        const char *method, *path, *id;
    } others[] = {
        {MP_EVENT_COAP, "POST", "/a", "order-1"},
        {MP_EVENT_HTTP, "PUT", "/a", "order-1"},
        {MP_EVENT_HTTP, "POST", "/b", "order-1"},
        {MP_EVENT_HTTP, "POST", "/a", "order-2"},
        {MP_EVENT_HTTP, "POST/", "a", "order-1"},
    };
    char one[MP_RESULT_NAME + 1], two[MP_RESULT_NAME + 1];

    (void)state;
    name_is(&r, MP_EVENT_HTTP, "POST", "/a", "order-1", one);
    assert_int_equal(strlen(one), MP_RESULT_NAME);
    assert_int_equal(strspn(one, "0123456789abcdef"), MP_RESULT_NAME);
    name_is(&r, MP_EVENT_HTTP, "POST", "/a", "order-1", two);
    assert_string_equal(one, two);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        name_is(&r, others[i].type, others[i].method, others[i].path,
                others[i].id, two);
        assert_string_not_equal(one, two);
    }
}

static void nobody_who_knows_what_was_asked_for_knows_a_name(void **state)
{
    char ours[MP_RESULT_NAME + 1], theirs[MP_RESULT_NAME + 1];
    struct mp_results other;

    (void)state;
    mp_results_init(&other, TTL * MP_SECOND);
    name_is(&r, MP_EVENT_HTTP, "POST", "/a", "order-1", ours);
    name_is(&other, MP_EVENT_HTTP, "POST", "/a", "order-1", theirs);
    assert_string_not_equal(ours, theirs);
    mp_results_fini(&other);
}

static void an_answer_is_there_after_it_ran_until_its_time_is_up(void **state)
{
    struct mp_answer a;

    (void)state;
    assert_int_equal(get(1, &a, 0), MP_RESULT_UNKNOWN);
    assert_true(begin(1, 0));
    assert_int_equal(get(1, &a, 1), MP_RESULT_RUNS);
    put(1, MP_S("21.5"), 10);
    assert_int_equal(get(1, &a, 10 + TTL - 1), MP_RESULT_IS);
    assert_true(mp_slice_is(a.data, "21.5"));
    assert_int_equal(get(1, &a, 10 + TTL), MP_RESULT_UNKNOWN);
    assert_true(r.bytes == 0);
}

static void what_runs_for_long_is_not_forgotten(void **state)
{
    struct mp_answer a;

    (void)state;
    begin(1, 0);
    mp_results_turn(&r, 10 * TTL * MP_SECOND);
    assert_int_equal(get(1, &a, 10 * TTL), MP_RESULT_RUNS);
}

static void an_answer_that_nobody_began_is_not_kept(void **state)
{
    struct mp_answer a;

    (void)state;
    put(1, MP_S("x"), 0);
    assert_int_equal(get(1, &a, 0), MP_RESULT_UNKNOWN);
    begin(2, 0);
    mp_results_drop(&r, name(2));
    put(2, MP_S("x"), 0);
    assert_int_equal(get(2, &a, 0), MP_RESULT_UNKNOWN);
    mp_results_drop(&r, name(3));
}

static void a_repeated_one_keeps_its_answer_until_the_next_comes(void **state)
{
    struct mp_answer a;

    (void)state;
    assert_true(begin(1, 0));
    assert_false(begin(1, 0));
    put(1, MP_S("first"), 0);
    assert_false(begin(1, 1));
    mp_results_drop(&r, name(1)); /* only what runs */
    assert_int_equal(get(1, &a, 1), MP_RESULT_IS);
    assert_true(mp_slice_is(a.data, "first"));
    put(1, MP_S("second"), 30);
    assert_int_equal(get(1, &a, TTL + 1), MP_RESULT_IS);
    assert_true(mp_slice_is(a.data, "second"));
}

static void an_answer_is_a_copy_with_all_its_parts(void **state)
{
    char data[] = "body", key[] = "x-a", value[] = "1", detail[] = "why";
    struct mp_pair header = {MP_S("x-a"), MP_S("1")};
    struct mp_answer a = {.kind = MP_ANSWER_REPLY,
                          .status = 201,
                          .data = {data, 4},
                          .format = MP_FORMAT_JSON,
                          .detail = {detail, 3},
                          .headers = &header,
                          .n_headers = 1,
                          .max_age_s = 5};
    struct mp_answer got;

    (void)state;
    header.name.ptr = key;
    header.value.ptr = value;
    begin(1, 0);
    mp_results_put(&r, name(1), &a, 0);
    memset(data, '-', 4);
    key[0] = value[0] = detail[0] = '-';
    assert_int_equal(get(1, &got, 0), MP_RESULT_IS);
    assert_int_equal(got.status, 201);
    assert_int_equal(got.format, MP_FORMAT_JSON);
    assert_int_equal(got.max_age_s, 5);
    assert_true(mp_slice_is(got.data, "body"));
    assert_true(mp_slice_is(got.detail, "why"));
    assert_int_equal(got.n_headers, 1);
    assert_true(mp_slice_is(got.headers[0].name, "x-a"));
    assert_true(mp_slice_is(got.headers[0].value, "1"));
}

static void no_data_is_not_empty_data(void **state)
{
    struct mp_answer a;

    (void)state;
    begin(1, 0);
    begin(2, 0);
    put(1, (struct mp_slice){NULL, 0}, 0);
    put(2, MP_S(""), 0);
    assert_int_equal(get(1, &a, 0), MP_RESULT_IS);
    assert_null(a.data.ptr);
    assert_int_equal(get(2, &a, 0), MP_RESULT_IS);
    assert_non_null(a.data.ptr);
}

static void of_too_many_the_oldest_answer_goes_then_the_oldest_run(void **state)
{
    struct mp_answer a;

    (void)state;
    for (int i = 0; i < MP_RESULTS_MAX; i++)
        begin(i, 0);
    put(7, MP_S("x"), 0);
    put(5, MP_S("x"), 0);
    begin(MP_RESULTS_MAX, 1);
    assert_int_equal(get(7, &a, 1), MP_RESULT_UNKNOWN);
    assert_int_equal(get(5, &a, 1), MP_RESULT_IS);
    begin(MP_RESULTS_MAX + 1, 1);
    assert_int_equal(get(5, &a, 1), MP_RESULT_UNKNOWN);
    assert_int_equal(get(0, &a, 1), MP_RESULT_RUNS);
    begin(MP_RESULTS_MAX + 2, 1);
    assert_int_equal(get(0, &a, 1), MP_RESULT_UNKNOWN);
    assert_int_equal(get(1, &a, 1), MP_RESULT_RUNS);
    assert_int_equal(r.n, MP_RESULTS_MAX);
}

static void their_bytes_are_bounded(void **state)
{
    static char big[MP_RESULTS_BYTES];
    struct mp_answer a;

    (void)state;
    for (int i = 0; i < 10; i++)
        begin(i, 0);
    for (int i = 0; i < 9; i++)
        put(i, mp_slice(big, MP_RESULTS_BYTES / 4), 0);
    assert_true(r.bytes <= MP_RESULTS_BYTES);
    assert_int_equal(get(8, &a, 0), MP_RESULT_IS);
    assert_int_equal(get(7, &a, 0), MP_RESULT_IS);
    assert_int_equal(get(0, &a, 0), MP_RESULT_UNKNOWN);
    put(9, mp_slice(big, sizeof big), 0);
    assert_int_equal(get(9, &a, 0), MP_RESULT_UNKNOWN);
    assert_true(r.bytes <= MP_RESULTS_BYTES);
}

int main(void)
{
#define test(name)                                                             \
    cmocka_unit_test_setup_teardown(name, open_results, close_results)
    const struct CMUnitTest tests[] = {
        test(a_name_is_of_all_that_was_asked_for),
        test(nobody_who_knows_what_was_asked_for_knows_a_name),
        test(an_answer_is_there_after_it_ran_until_its_time_is_up),
        test(what_runs_for_long_is_not_forgotten),
        test(an_answer_that_nobody_began_is_not_kept),
        test(a_repeated_one_keeps_its_answer_until_the_next_comes),
        test(an_answer_is_a_copy_with_all_its_parts),
        test(no_data_is_not_empty_data),
        test(of_too_many_the_oldest_answer_goes_then_the_oldest_run),
        test(their_bytes_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
