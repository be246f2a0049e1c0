/*
 * test_lru.c - memories by key, beside a plain list that does the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/lru.h"

enum { KEYS = 200 };

static struct mp_hash key_of(unsigned n)
{
    return (struct mp_hash){.lo = n % 7, .hi = n}; /* few buckets */
}

static void a_memory_is_found_by_its_key_and_stays_where_it_is(void **state)
{
    struct mp_lru l;
    uint64_t *where[KEYS];

    (void)state;
    mp_lru_init(&l, KEYS, sizeof(uint64_t));
    for (unsigned i = 0; i < KEYS; i++) {
        assert_int_equal(mp_lru_find(&l, key_of(i)), 0);
        where[i] = mp_lru_at(&l, mp_lru_add(&l, key_of(i)));
        assert_int_equal(*where[i], 0);
        assert_int_equal((uintptr_t)where[i] % 8, 0);
        *where[i] = i + 1;
    }
    for (unsigned i = 0; i < KEYS; i++) {
        uint32_t number = mp_lru_find(&l, key_of(i));

        assert_ptr_equal(mp_lru_at(&l, number), where[i]);
        assert_int_equal(*where[i], i + 1);
    }
    mp_lru_fini(&l);
}

static void a_number_given_back_is_given_again_and_zeroed(void **state)
{
    struct mp_lru l;
    uint32_t first, again;

    (void)state;
    mp_lru_init(&l, 1, 4);
    first = mp_lru_add(&l, key_of(1));
    *(uint32_t *)mp_lru_at(&l, first) = 7;
    mp_lru_forget(&l, first);
    assert_int_equal(mp_lru_find(&l, key_of(1)), 0);
    assert_int_equal(l.oldest, 0);
    assert_int_equal(l.newest, 0);
    again = mp_lru_add(&l, key_of(2));
    assert_int_equal(again, first);
    assert_int_equal(*(uint32_t *)mp_lru_at(&l, again), 0);
    mp_lru_fini(&l);
}

/* Keys from the one seen least recently on. */
static unsigned order[KEYS], n_order;

static void order_remove(unsigned key)
{
    unsigned to = 0;

    for (unsigned i = 0; i < n_order; i++)
        if (order[i] != key)
            order[to++] = order[i];
    n_order = to;
}

static void the_oldest_is_the_one_seen_least_recently(void **state)
{
    struct mp_lru l;
    uint64_t random = 11;

    (void)state;
    n_order = 0;
    mp_lru_init(&l, 60, sizeof(unsigned));
    for (int turn = 0; turn < 50000; turn++) {
        unsigned key;
        uint32_t number;

        random = random * UINT64_C(6364136223846793005) + 1;
        key = (unsigned)(random >> 40) % KEYS;
        number = mp_lru_find(&l, key_of(key));
        if (number && random >> 62 == 0) {
            mp_lru_forget(&l, number);
            order_remove(key);
        } else {
            if (!number && l.n == l.max) {
                order_remove(order[0]);
                mp_lru_forget(&l, l.oldest);
            }
            if (!number)
                number = mp_lru_add(&l, key_of(key));
            mp_lru_seen(&l, number);
            *(unsigned *)mp_lru_at(&l, number) = key;
            order_remove(key);
            order[n_order++] = key;
        }
        assert_int_equal(l.n, n_order);
        if (n_order)
            assert_int_equal(*(unsigned *)mp_lru_at(&l, l.oldest), order[0]);
    }
    mp_lru_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_memory_is_found_by_its_key_and_stays_where_it_is),
        cmocka_unit_test(a_number_given_back_is_given_again_and_zeroed),
        cmocka_unit_test(the_oldest_is_the_one_seen_least_recently),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
