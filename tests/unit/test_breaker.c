/*
 * test_breaker.c - the circuit breaker, one sentence a test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/breaker.h"

static const struct mp_breaker_rule rule = {3, 10 * MP_SECOND, 35 * MP_SECOND};

static void fail_times(struct mp_breaker *b, int n, int64_t now_us)
{
    while (n--)
        mp_breaker_failed(b, &rule, now_us);
}

static void it_opens_after_so_many_failures_in_a_row(void **state)
{
    struct mp_breaker b = {0};

    (void)state;
    fail_times(&b, 2, 0);
    assert_true(mp_breaker_may_start(&b, 0));
    assert_true(mp_breaker_failed(&b, &rule, 0));
    assert_false(mp_breaker_may_start(&b, 0));
    assert_false(mp_breaker_may_start(&b, 10 * MP_SECOND - 1));
}

static void one_success_in_between_starts_the_count_again(void **state)
{
    struct mp_breaker b = {0};

    (void)state;
    fail_times(&b, 2, 0);
    mp_breaker_ok(&b);
    fail_times(&b, 2, 0);
    assert_true(mp_breaker_may_start(&b, 0));
}

static void after_the_pause_exactly_one_probe_may_start(void **state)
{
    struct mp_breaker b = {0};

    (void)state;
    fail_times(&b, 3, 0);
    assert_true(mp_breaker_may_start(&b, 10 * MP_SECOND));
    mp_breaker_started(&b);
    assert_false(mp_breaker_may_start(&b, 10 * MP_SECOND));
    mp_breaker_ok(&b);
    assert_true(mp_breaker_may_start(&b, 10 * MP_SECOND));
    assert_int_equal(b.state, MP_BREAKER_CLOSED);
}

static void a_failed_probe_doubles_the_pause_up_to_its_most(void **state)
{
    static const int64_t pauses[] = {20, 35, 35};
    struct mp_breaker b = {0};
    int64_t now_us = 0;

    (void)state;
    fail_times(&b, 3, now_us);
    for (size_t i = 0; i < 3; i++) {
        now_us = b.until_us;
        assert_true(mp_breaker_may_start(&b, now_us));
        mp_breaker_started(&b);
        assert_true(mp_breaker_failed(&b, &rule, now_us));
        assert_int_equal(b.until_us - now_us, pauses[i] * MP_SECOND);
    }
}

static void a_late_success_from_before_does_not_end_a_quarantine(void **state)
{
    struct mp_breaker b = {0};

    (void)state;
    fail_times(&b, 3, 0);
    mp_breaker_ok(&b);
    assert_false(mp_breaker_may_start(&b, 1));
}

static void a_probe_that_says_nothing_lets_another_one_start(void **state)
{
    struct mp_breaker b = {0};

    (void)state;
    fail_times(&b, 3, 0);
    assert_true(mp_breaker_may_start(&b, 10 * MP_SECOND));
    mp_breaker_started(&b);
    mp_breaker_forget(&b);
    assert_true(mp_breaker_may_start(&b, 10 * MP_SECOND));
}

static void one_that_is_held_starts_nothing_until_it_is_reset(void **state)
{
    struct mp_breaker b = {0};

    (void)state;
    mp_breaker_hold(&b, NULL, 0);
    assert_false(mp_breaker_may_start(&b, INT64_MAX - 1));
    mp_breaker_ok(&b);
    mp_breaker_forget(&b);
    assert_false(mp_breaker_failed(&b, &rule, 0));
    assert_false(mp_breaker_may_start(&b, INT64_MAX - 1));
    assert_int_equal(b.again_us, 0);
    mp_breaker_reset(&b);
    assert_true(mp_breaker_may_start(&b, 0));
}

static void one_that_is_held_is_loaded_again_after_growing_pauses(void **state)
{
    struct mp_breaker b = {0};

    (void)state;
    mp_breaker_hold(&b, &rule, 0);
    assert_int_equal(b.again_us, 10 * MP_SECOND);
    mp_breaker_hold(&b, &rule, 100 * MP_SECOND);
    assert_int_equal(b.again_us, 120 * MP_SECOND);
    mp_breaker_hold(&b, &rule, 200 * MP_SECOND);
    assert_int_equal(b.again_us, 235 * MP_SECOND);
    mp_breaker_reset(&b);
    mp_breaker_hold(&b, &rule, 0);
    assert_int_equal(b.again_us, 10 * MP_SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_opens_after_so_many_failures_in_a_row),
        cmocka_unit_test(one_success_in_between_starts_the_count_again),
        cmocka_unit_test(after_the_pause_exactly_one_probe_may_start),
        cmocka_unit_test(a_failed_probe_doubles_the_pause_up_to_its_most),
        cmocka_unit_test(a_late_success_from_before_does_not_end_a_quarantine),
        cmocka_unit_test(a_probe_that_says_nothing_lets_another_one_start),
        cmocka_unit_test(one_that_is_held_starts_nothing_until_it_is_reset),
        cmocka_unit_test(one_that_is_held_is_loaded_again_after_growing_pauses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
