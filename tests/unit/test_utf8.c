/*
 * test_utf8.c - all code points are taken, and nothing else: the sequences
 * that pass are counted, and there are exactly as many as code points.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/utf8.h"

static void every_code_point_is_one_sequence(void **fixture)
{
    char bytes[4];

    (void)fixture;
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        size_t len;

        if (code >= 0xd800 && code <= 0xdfff)
            continue;
        len = mp_utf8_put(code, bytes);
        assert_int_equal(mp_utf8_sequence(mp_slice(bytes, len)), len);
        assert_int_equal(mp_utf8_sequence(mp_slice(bytes, len - 1)), 0);
    }
}

static unsigned count(unsigned lead, const unsigned char *seconds, size_t n,
                      size_t len)
{
    static const char thirds[] = "\x7f\x80\x81\xbe\xbf\xc0";
    unsigned found = 0;
    char bytes[4] = {(char)lead};

    for (size_t i = 0; i < n; i++)
        for (int j = 0; j < 6; j++)
            for (int k = 0; k < 6; k++) {
                bytes[1] = (char)seconds[i];
                bytes[2] = thirds[j];
                bytes[3] = thirds[k];
                found += mp_utf8_sequence(mp_slice(bytes, 4)) == len;
            }
    return found;
}

static void nothing_else_is(void **fixture)
{
    unsigned char all[256];
    unsigned two = 0, three = 0, four = 0;

    (void)fixture;
    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    for (unsigned lead = 0x80; lead < 0x100; lead++) {
        two += count(lead, all, 256, 2);
        three += count(lead, all, 256, 3);
        four += count(lead, all, 256, 4);
    }
    /* of six third bytes four pass; what follows a sequence doesn't count */
    assert_int_equal(two, 30 * 64 * 6 * 6);
    assert_int_equal(three, (16 * 64 - 32 - 32) * 4 * 6);
    assert_int_equal(four, (5 * 64 - 16 - 48) * 4 * 4);
}

static void a_prefix_ends_at_the_first_wrong_byte(void **fixture)
{
    char text[40];

    (void)fixture;
    for (size_t at = 0; at < sizeof text; at++) {
        memset(text, 'x', sizeof text);
        assert_true(mp_utf8_valid(mp_slice(text, at)));
        text[at] = '\xff';
        assert_int_equal(mp_utf8_prefix(mp_slice(text, sizeof text)), at);
        text[at] = '\xc3'; /* its second byte is missing */
        assert_int_equal(mp_utf8_prefix(mp_slice(text, sizeof text)), at);
    }
    assert_true(mp_utf8_valid((struct mp_slice){0}));
    assert_true(mp_utf8_valid(MP_S("1234567\xc3\xa9"
                                   "89")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_is_one_sequence),
        cmocka_unit_test(nothing_else_is),
        cmocka_unit_test(a_prefix_ends_at_the_first_wrong_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
