/*
 * test_metrics.c - histograms and hashes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/hash.h"
#include "core/metrics.h"

static void a_quantile_is_right_within_six_percent(void **state)
{
    static struct mp_hist h;

    (void)state;
    for (uint64_t ns = 1; ns <= 1000000; ns++)
        mp_hist_add(&h, ns);
    for (int i = 1; i < 100; i++) {
        double want = i * 1e4;
        double got = (double)mp_hist_quantile(&h, i / 100.0);

        assert_true(got > want * 0.94 && got < want * 1.06);
    }
    assert_int_equal(h.count, 1000000);
}

static void an_empty_histogram_says_zero(void **state)
{
    static struct mp_hist h;

    (void)state;
    assert_int_equal(mp_hist_quantile(&h, 0.99), 0);
    mp_hist_add(&h, UINT64_MAX); /* far past the last bucket: kept in it */
    assert_int_equal(h.count, 1);
    assert_true(mp_hist_quantile(&h, 0.5) > 0);
}

/* The first of the 128-bit vectors of SipHash's authors (input: none), and
 * of input 00 01 02 with key 00 01 .. 0f. */
static void siphash_gives_what_its_authors_say(void **state)
{
    static const struct mp_hash_key key = {UINT64_C(0x0706050403020100),
                                           UINT64_C(0x0f0e0d0c0b0a0908)};
    struct mp_hasher h;
    struct mp_hash out;

    (void)state;
    mp_hasher_init(&h, &key);
    out = mp_hasher_end(&h);
    assert_int_equal(out.lo, UINT64_C(0xe6a825ba047f81a3));
    assert_int_equal(out.hi, UINT64_C(0x930255c71472f66d));
    assert_int_equal(mp_hash64(&key, mp_slice("", 0)), out.lo);
}

static void parts_are_told_apart_by_their_lengths(void **state)
{
    static const struct mp_hash_key key = {1, 2};
    struct mp_hasher a, b;

    (void)state;
    mp_hasher_init(&a, &key);
    mp_hasher_add(&a, MP_S("ab"));
    mp_hasher_add(&a, MP_S("c"));
    mp_hasher_init(&b, &key);
    mp_hasher_add(&b, MP_S("a"));
    mp_hasher_add(&b, MP_S("bc"));
    assert_false(mp_hash_eq(mp_hasher_end(&a), mp_hasher_end(&b)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quantile_is_right_within_six_percent),
        cmocka_unit_test(an_empty_histogram_says_zero),
        cmocka_unit_test(siphash_gives_what_its_authors_say),
        cmocka_unit_test(parts_are_told_apart_by_their_lengths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
