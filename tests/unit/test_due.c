/*
 * test_due.c - the heap of things that are due, one sentence a test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/why.h"
#include "core/due.h"

enum { MANY = 1000 };

static uint32_t seed = 20261101;

static uint32_t chance(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

/* Every parent is due no later than its children, and places are true. */
static void assert_heap(const struct mp_due *d)
{
    for (size_t i = 1; i <= d->n; i++) {
        assert_int_equal(d->items[i]->place, i);
        if (i > 1)
            assert_true(d->items[i / 2]->at_us <= d->items[i]->at_us);
    }
}

static void an_empty_heap_has_no_first(void **state)
{
    struct mp_due d;
    struct mp_due_item out = {0};

    (void)state;
    mp_due_init(&d);
    assert_null(mp_due_first(&d));
    mp_due_remove(&d, &out);
    assert_null(mp_due_first(&d));
    mp_due_fini(&d);
}

static void they_come_earliest_first(void **state)
{
    struct mp_due_item *items = mp_zalloc(MANY * sizeof *items);
    struct mp_due d;
    int64_t last = 0;

    (void)state;
    mp_due_init(&d);
    for (int i = 0; i < MANY; i++)
        mp_due_set(&d, &items[i], chance() % 500);
    assert_heap(&d);
    for (int i = 0; i < MANY; i++) {
        struct mp_due_item *first = mp_due_first(&d);

        assert_true(first->at_us >= last);
        last = first->at_us;
        mp_due_remove(&d, first);
        assert_int_equal(first->place, 0);
    }
    assert_null(mp_due_first(&d));
    mp_due_fini(&d);
    free(items);
}

static void what_is_due_at_once_comes_in_the_order_it_was_set(void **state)
{
    struct mp_due_item items[100] = {0};
    struct mp_due d;

    (void)state;
    mp_due_init(&d);
    for (int i = 0; i < 100; i++)
        mp_due_set(&d, &items[i], 7);
    for (int i = 0; i < 100; i++) {
        assert_ptr_equal(mp_due_first(&d), &items[i]);
        mp_due_remove(&d, &items[i]);
    }
    mp_due_fini(&d);
}

static void one_that_is_set_again_moves(void **state)
{
    struct mp_due_item a = {0}, b = {0};
    struct mp_due d;

    (void)state;
    mp_due_init(&d);
    mp_due_set(&d, &a, 10);
    mp_due_set(&d, &b, 20);
    mp_due_set(&d, &b, 5);
    assert_ptr_equal(mp_due_first(&d), &b);
    mp_due_set(&d, &b, 30);
    assert_ptr_equal(mp_due_first(&d), &a);
    assert_int_equal(d.n, 2);
    mp_due_fini(&d);
}

static void any_order_of_changes_leaves_a_heap(void **state)
{
    struct mp_due_item *items = mp_zalloc(MANY * sizeof *items);
    struct mp_due d;

    (void)state;
    mp_due_init(&d);
    for (int i = 0; i < 20 * MANY; i++) {
        struct mp_due_item *item = &items[chance() % MANY];

        if (chance() % 3)
            mp_due_set(&d, item, chance());
        else
            mp_due_remove(&d, item);
        if (i % 97 == 0)
            assert_heap(&d);
    }
    assert_heap(&d);
    mp_due_fini(&d);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_heap_has_no_first),
        cmocka_unit_test(they_come_earliest_first),
        cmocka_unit_test(what_is_due_at_once_comes_in_the_order_it_was_set),
        cmocka_unit_test(one_that_is_set_again_moves),
        cmocka_unit_test(any_order_of_changes_leaves_a_heap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
