/*
 * test_sched.c - order, fairness, bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/sched.h"

struct bed {
    struct mp_sched sched;
    struct mp_function fn[2];
    struct mp_version version[2];
    struct mp_slot slot[2];
};

static void bed_init(struct bed *b)
{
    mp_sched_init(&b->sched);
    for (int i = 0; i < 2; i++) {
        b->fn[i] = (struct mp_function){
            .queue = 1000,
            .queue_bytes = 1 << 20,
            .scale_max = 1000,
            .priority = MP_PRIORITY_NORMAL,
            .breaker_failures = 10,
        };
        b->version[i] = (struct mp_version){.refs = 1, .fn = &b->fn[i]};
        mp_slot_init(&b->slot[i], i ? "b" : "a");
        b->slot[i].live = &b->version[i];
        b->version[i].slot = &b->slot[i];
    }
}

static struct mp_invocation *add(struct bed *b, int who, const char *topic)
{
    struct mp_invocation *inv = mp_zalloc(sizeof *inv);
    struct mp_input from = {.topic = mp_slice_str(topic), .qos = 1};

    mp_list_init(&inv->link);
    inv->slot = &b->slot[who];
    inv->routed = &b->version[who];
    inv->input = mp_input_new(&from);
    mp_sched_add(&b->sched, inv);
    return inv;
}

static bool anywhere(struct mp_slot *slot, void *arg)
{
    (void)slot;
    (void)arg;
    return true;
}

static struct mp_invocation *next(struct bed *b)
{
    return mp_sched_next(&b->sched, 0, anywhere, NULL);
}

static void finish(struct bed *b, struct mp_invocation *inv)
{
    mp_sched_stopped(&b->sched, inv);
    mp_sched_release(&b->sched, inv);
    mp_input_unref(inv->input);
    free(inv);
}

static void of_one_key_the_second_waits_for_the_first(void **state)
{
    struct bed b;
    struct mp_invocation *one, *two, *other;

    (void)state;
    bed_init(&b);
    one = add(&b, 0, "t/1");
    two = add(&b, 0, "t/1");
    other = add(&b, 0, "t/2");
    assert_ptr_equal(next(&b), one);
    assert_ptr_equal(next(&b), other);
    assert_null(next(&b));
    finish(&b, one);
    assert_ptr_equal(next(&b), two);
    finish(&b, two);
    finish(&b, other);
    assert_int_equal(b.sched.queued, 0);
}

/* A send without a key, to a function without state: no topic either. */
static void nothing_is_a_key_too(void **state)
{
    struct bed b;
    struct mp_invocation *one, *two;

    (void)state;
    bed_init(&b);
    one = add(&b, 0, NULL);
    assert_null(mp_invocation_okey(one).ptr);
    two = add(&b, 0, NULL);
    assert_ptr_equal(next(&b), one);
    assert_null(next(&b));
    finish(&b, one);
    assert_ptr_equal(next(&b), two);
    finish(&b, two);
}

/* Those of a batch that is over. */
static void who_comes_next_stands_before_all_that_wait(void **state)
{
    struct bed b;
    struct mp_invocation *one, *last, *next_one[2];

    (void)state;
    bed_init(&b);
    one = add(&b, 0, "t/1");
    last = add(&b, 0, "t/1");
    assert_ptr_equal(next(&b), one);
    for (int i = 1; i >= 0; i--) {
        next_one[i] = add(&b, 1, "elsewhere");
        mp_sched_remove(&b.sched, next_one[i]);
        next_one[i]->slot = one->slot;
        next_one[i]->routed = one->routed;
        mp_sched_add_next(&b.sched, next_one[i], one);
    }
    assert_null(next(&b));
    finish(&b, one);
    for (int i = 0; i < 2; i++) {
        assert_ptr_equal(next(&b), next_one[i]);
        assert_null(next(&b));
        finish(&b, next_one[i]);
    }
    assert_ptr_equal(next(&b), last);
    finish(&b, last);
    assert_int_equal(b.slot[0].n_waiting, 0);
    assert_int_equal(b.slot[0].waiting_bytes, 0);
}

static void a_batch_counts_as_its_events(void **state)
{
    struct bed b;
    struct mp_invocation *one, *batch;

    (void)state;
    bed_init(&b);
    b.fn[0].queue = 5;
    one = add(&b, 0, "t/1");
    assert_true(mp_sched_has_room_for(&b.slot[0], 4, 100));
    assert_false(mp_sched_has_room_for(&b.slot[0], 5, 100));
    assert_true(mp_sched_has_room_for(&b.slot[1], 5000, 4 << 20)); /* alone */
    batch = add(&b, 0, "t/2");
    mp_sched_remove(&b.sched, batch);
    batch->is_batch = true;
    batch->n_members = 4;
    batch->members_bytes = 400;
    mp_sched_add(&b.sched, batch);
    assert_int_equal(b.slot[0].n_waiting, 5);
    assert_false(mp_sched_has_room(&b.slot[0], 1));
    mp_sched_lighten(&b.sched, batch, 1, 100);
    batch->n_members = 3;
    batch->members_bytes = 300;
    assert_int_equal(b.slot[0].n_waiting, 4);
    assert_ptr_equal(next(&b), one);
    assert_ptr_equal(next(&b), batch);
    assert_int_equal(b.slot[0].n_waiting, 0);
    assert_int_equal(b.slot[0].waiting_bytes, 0);
    finish(&b, one);
    finish(&b, batch);
}

static void keys_of_two_functions_are_not_the_same(void **state)
{
    struct bed b;
    struct mp_invocation *one, *two;

    (void)state;
    bed_init(&b);
    one = add(&b, 0, "t/1");
    two = add(&b, 1, "t/1");
    assert_non_null(next(&b));
    assert_non_null(next(&b));
    finish(&b, one);
    finish(&b, two);
}

static void without_order_nothing_waits(void **state)
{
    struct bed b;
    struct mp_invocation *one, *two;

    (void)state;
    bed_init(&b);
    b.fn[0].order = MP_ORDER_NONE;
    one = add(&b, 0, "t/1");
    two = add(&b, 0, "t/1");
    assert_ptr_equal(next(&b), one);
    assert_ptr_equal(next(&b), two);
    finish(&b, one);
    finish(&b, two);
}

static void what_runs_again_goes_before_all_others(void **state)
{
    struct bed b;
    struct mp_invocation *one, *two, *three;

    (void)state;
    bed_init(&b);
    one = add(&b, 0, "t/1");
    two = add(&b, 0, "t/1");
    three = add(&b, 0, "t/3");
    assert_ptr_equal(next(&b), one);
    mp_sched_stopped(&b.sched, one);
    mp_sched_again(&b.sched, one);
    assert_ptr_equal(next(&b), one);
    assert_ptr_equal(next(&b), three);
    assert_null(next(&b));
    finish(&b, one);
    assert_ptr_equal(next(&b), two);
    finish(&b, two);
    finish(&b, three);
}

static void a_removed_one_lets_the_next_of_its_key_start(void **state)
{
    struct bed b;
    struct mp_invocation *one, *two, *three;

    (void)state;
    bed_init(&b);
    one = add(&b, 0, "t/1");
    two = add(&b, 0, "t/1");
    three = add(&b, 0, "t/1");
    mp_sched_remove(&b.sched, two); /* from behind */
    mp_sched_remove(&b.sched, one); /* from the front */
    assert_ptr_equal(next(&b), three);
    b.slot[0].n_running += 2; /* finish counts them as if they had run */
    b.sched.running += 2;
    finish(&b, one);
    finish(&b, two);
    finish(&b, three);
    assert_int_equal(b.sched.queued, 0);
}

static void at_most_scale_max_run_at_once(void **state)
{
    struct bed b;
    struct mp_invocation *one, *two;

    (void)state;
    bed_init(&b);
    b.fn[0].scale_max = 1;
    b.slot[0].waits = true;
    one = add(&b, 0, "t/1");
    two = add(&b, 0, "t/2");
    assert_ptr_equal(next(&b), one);
    assert_null(next(&b));
    finish(&b, one);
    assert_ptr_equal(next(&b), two);
    finish(&b, two);
}

static void the_queue_is_bounded_by_number_and_bytes(void **state)
{
    struct bed b;
    struct mp_invocation *one;

    (void)state;
    bed_init(&b);
    b.fn[0].queue = 1;
    assert_true(mp_sched_has_room(&b.slot[0], 100));
    one = add(&b, 0, "t/1");
    assert_false(mp_sched_has_room(&b.slot[0], 100));
    b.fn[0].queue = 10;
    b.fn[0].queue_bytes = mp_invocation_bytes(one) + 99;
    assert_false(mp_sched_has_room(&b.slot[0], 100));
    assert_true(mp_sched_has_room(&b.slot[0], 99));
    assert_ptr_equal(next(&b), one);
    finish(&b, one);
}

static void all_that_a_sender_fills_counts(void **state)
{
    struct mp_pair pair = {{"name", 4}, {"value", 5}};
    struct mp_input from = {
        .topic = MP_S("t"),
        .data = MP_S("12"),
        .correlation = MP_S("123"),
        .properties = &pair,
        .n_properties = 1,
    };
    struct mp_invocation inv = {.input = mp_input_new(&from)};

    (void)state;
    assert_int_equal(mp_invocation_bytes(&inv),
                     sizeof inv + 1 + 2 + 3 + sizeof pair + 4 + 5);
    mp_input_unref(inv.input);
}

/* Starts of function 0 in the first n of both, all of which are queued. */
static unsigned share_of_first(struct bed *b, unsigned n)
{
    struct mp_invocation *inv;
    unsigned first = 0;
    char topic[16];

    for (int i = 0; i < 400; i++) {
        snprintf(topic, sizeof topic, "t/%d", i);
        add(b, 0, topic);
        add(b, 1, topic);
    }
    for (unsigned i = 0; (inv = next(b)); i++) {
        first += i < n && inv->slot == &b->slot[0];
        finish(b, inv);
    }
    return first;
}

static void functions_of_equal_priority_get_equal_time(void **state)
{
    struct bed b;
    unsigned first;

    (void)state;
    bed_init(&b);
    b.slot[0].cost_us = 100;
    b.slot[1].cost_us = 300; /* three times as slow: a third of the starts */
    first = share_of_first(&b, 400);
    assert_in_range(first, 270, 330);
}

static void a_high_priority_gets_four_times_a_normal_one(void **state)
{
    struct bed b;
    unsigned first;

    (void)state;
    bed_init(&b);
    b.fn[0].priority = MP_PRIORITY_HIGH;
    b.slot[0].cost_us = b.slot[1].cost_us = 100;
    first = share_of_first(&b, 400);
    assert_in_range(first, 300, 340);
}

static void a_very_slow_one_is_not_punished_for_ever(void **state)
{
    struct bed b;
    struct mp_invocation *one, *two;

    (void)state;
    bed_init(&b);
    b.slot[0].cost_us = 3600000000;
    one = add(&b, 0, "t/1");
    two = add(&b, 0, "t/2");
    assert_ptr_equal(next(&b), one);
    finish(&b, one);
    assert_ptr_equal(next(&b), two);
    finish(&b, two);
}

static void a_quarantined_function_does_not_start(void **state)
{
    struct bed b;
    struct mp_invocation *one;

    (void)state;
    bed_init(&b);
    b.slot[0].breaker.state = MP_BREAKER_OPEN;
    b.slot[0].breaker.until_us = 5000;
    one = add(&b, 0, "t/1");
    assert_null(next(&b));
    assert_int_equal(mp_sched_next_probe(&b.sched, 0), 5000);
    assert_ptr_equal(mp_sched_next(&b.sched, 5000, anywhere, NULL), one);
    finish(&b, one);
}

static void ten_thousand_keys_come_and_go(void **state)
{
    struct bed b;
    struct mp_invocation *inv;
    unsigned n = 0;
    char topic[16];

    (void)state;
    bed_init(&b);
    for (int i = 0; i < 20000; i++) {
        snprintf(topic, sizeof topic, "t/%d", i % 10000);
        add(&b, 0, topic);
    }
    while ((inv = next(&b))) {
        finish(&b, inv);
        n++;
        b.slot[0].n_running = 0;
    }
    assert_int_equal(n, 20000);
    assert_int_equal(b.sched.queued, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_one_key_the_second_waits_for_the_first),
        cmocka_unit_test(nothing_is_a_key_too),
        cmocka_unit_test(who_comes_next_stands_before_all_that_wait),
        cmocka_unit_test(a_batch_counts_as_its_events),
        cmocka_unit_test(keys_of_two_functions_are_not_the_same),
        cmocka_unit_test(without_order_nothing_waits),
        cmocka_unit_test(what_runs_again_goes_before_all_others),
        cmocka_unit_test(a_removed_one_lets_the_next_of_its_key_start),
        cmocka_unit_test(at_most_scale_max_run_at_once),
        cmocka_unit_test(the_queue_is_bounded_by_number_and_bytes),
        cmocka_unit_test(all_that_a_sender_fills_counts),
        cmocka_unit_test(functions_of_equal_priority_get_equal_time),
        cmocka_unit_test(a_high_priority_gets_four_times_a_normal_one),
        cmocka_unit_test(a_very_slow_one_is_not_punished_for_ever),
        cmocka_unit_test(a_quarantined_function_does_not_start),
        cmocka_unit_test(ten_thousand_keys_come_and_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
