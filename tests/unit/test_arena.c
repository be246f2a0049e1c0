/*
 * The arena's allocator, hammered with random sizes against what it should
 * hold, and copied away and back in between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the ones above */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/limits.h"
#include "luart/arena.h"

static jmp_buf out;

static void full(void)
{
    longjmp(out, 1);
}

static int open_arena(void **fixture)
{
    struct mp_why why;

    (void)fixture;
    assert_int_equal(mp_arena_open(full, &why), 0);
    return 0;
}

static void *get(size_t size)
{
    return mp_arena_alloc(NULL, NULL, 0, size);
}

static void put(void *at, size_t size)
{
    assert_null(mp_arena_alloc(NULL, at, size, 0));
}

/* ---- blocks with a pattern ---- */

enum { BLOCKS = 400 };

static struct held {
    unsigned char *at;
    size_t size;
    unsigned char fill;
} held[BLOCKS];

static void check(const struct held *h)
{
    for (size_t i = 0; i < h->size; i++)
        if (h->at[i] != h->fill)
            fail_msg("byte %zu of %zu is %d, not %d", i, h->size, h->at[i],
                     h->fill);
}

static unsigned chance(unsigned below)
{
    static uint64_t x = 88172645463325252u;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (unsigned)(x >> 33) % below;
}

static size_t some_size(void)
{
    static const unsigned up_to[] = {40, 40, 64, 512, 520, 2048, 20000};

    return 1 + chance(up_to[chance(7)]);
}

/* Allocate, resize or free one block. */
static void step(struct held *h)
{
    size_t size = some_size(), kept;

    check(h);
    if (chance(3) == 0) {
        put(h->at, h->size);
        *h = (struct held){0};
        return;
    }
    kept = h->size < size ? h->size : size;
    h->at = mp_arena_alloc(NULL, h->at, h->size, size);
    assert_non_null(h->at);
    assert_int_equal((uintptr_t)h->at % 16, 0);
    h->size = kept;
    check(h); /* what was there moved along */
    h->size = size;
    h->fill = (unsigned char)chance(256);
    memset(h->at, h->fill, size);
}

static void blocks_keep_what_is_written_into_them(void **fixture)
{
    (void)fixture;
    mp_arena_reset(16 << 20);
    memset(held, 0, sizeof held);
    for (int i = 0; i < 200000; i++)
        step(&held[chance(BLOCKS)]);
    for (int i = 0; i < BLOCKS; i++)
        check(&held[i]);
}

static void a_copy_brings_everything_back(void **fixture)
{
    static struct held then[BLOCKS];
    struct mp_slice used;
    char *copy;

    (void)fixture;
    mp_arena_reset(16 << 20);
    memset(held, 0, sizeof held);
    for (int i = 0; i < 20000; i++)
        step(&held[chance(BLOCKS)]);
    used = mp_arena_used();
    copy = malloc(used.len);
    assert_non_null(copy);
    memcpy(copy, used.ptr, used.len);
    memcpy(then, held, sizeof held);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 20000; i++)
            step(&held[chance(BLOCKS)]);
        mp_arena_restore(mp_slice(copy, used.len), 16 << 20);
        assert_int_equal(mp_arena_used().len, used.len);
        memcpy(held, then, sizeof held);
        for (int i = 0; i < BLOCKS; i++)
            check(&held[i]);
    }
    free(copy);
}

static void freeing_everything_large_empties_the_arena(void **fixture)
{
    size_t before;
    void *at[100];

    (void)fixture;
    mp_arena_reset(16 << 20);
    before = mp_arena_used().len;
    for (size_t i = 0; i < 100; i++)
        at[i] = get(600 + i * 50);
    for (size_t i = 0; i < 100; i += 2)
        put(at[i], 600 + i * 50);
    for (size_t i = 1; i < 100; i += 2)
        put(at[i], 600 + i * 50);
    assert_int_equal(mp_arena_used().len, before);
}

static void a_hole_is_used_again(void **fixture)
{
    size_t used;
    void *hole, *after;

    (void)fixture;
    mp_arena_reset(1 << 20);
    hole = get(5000);
    after = get(600);
    used = mp_arena_used().len;
    put(hole, 5000);
    assert_ptr_equal(get(5000), hole);
    put(hole, 5000);
    assert_ptr_equal(get(2000), hole);
    assert_non_null(get(2000));
    assert_int_equal(mp_arena_used().len, used);
    put(after, 600);
}

static void the_last_block_grows_in_place(void **fixture)
{
    char *at;

    (void)fixture;
    mp_arena_reset(1 << 20);
    at = get(1000);
    for (size_t size = 1000; size < 500000; size *= 2)
        assert_ptr_equal(mp_arena_alloc(NULL, at, size, size * 2), at);
}

/* ---- the limit ---- */

static void the_limit_is_left_by_a_jump(void **fixture)
{
    static const size_t sizes[] = {
        16, 500, 513, 40000, (size_t)1 << 40, SIZE_MAX - 100};

    (void)fixture;
    for (volatile size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        volatile unsigned got = 0;

        mp_arena_reset(MP_MEMORY_MIN);
        if (_setjmp(out) == 0) {
            for (;;) {
                memset(get(sizes[i]), 1, sizes[i]);
                got++;
            }
        }
        assert_true(mp_arena_used().len <= MP_MEMORY_MIN);
        if (sizes[i] < MP_MEMORY_MIN)
            assert_true(got * sizes[i] > MP_MEMORY_MIN / 2);
    }
}

static void growing_past_the_limit_is_left_by_a_jump(void **fixture)
{
    (void)fixture;
    mp_arena_reset(MP_MEMORY_MIN);
    if (_setjmp(out) == 0) {
        mp_arena_alloc(NULL, get(1000), 1000, MP_MEMORY_MIN);
        fail();
    }
}

static void all_of_the_largest_limit_can_be_used(void **fixture)
{
    char *at;

    (void)fixture;
    mp_arena_reset(MP_MEMORY_MAX);
    at = get(MP_MEMORY_MAX - (64 << 10));
    at[0] = at[MP_MEMORY_MAX - (64 << 10) - 1] = 1;
    assert_true(mp_arena_touched() >= MP_MEMORY_MAX - (64 << 10));
    mp_arena_give_back(0);
    assert_int_equal(at[0], 0); /* the pages are gone */
    mp_arena_reset(MP_MEMORY_MIN);
    assert_true(mp_arena_touched() < MP_MEMORY_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_keep_what_is_written_into_them),
        cmocka_unit_test(a_copy_brings_everything_back),
        cmocka_unit_test(freeing_everything_large_empties_the_arena),
        cmocka_unit_test(a_hole_is_used_again),
        cmocka_unit_test(the_last_block_grows_in_place),
        cmocka_unit_test(the_limit_is_left_by_a_jump),
        cmocka_unit_test(growing_past_the_limit_is_left_by_a_jump),
        cmocka_unit_test(all_of_the_largest_limit_can_be_used),
    };

    return cmocka_run_group_tests(tests, open_arena, NULL);
}
