/*
 * test_base64.c - the codec: a table of texts, and every length there and
 * back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/base64.h"

static const struct {
    struct mp_slice text, bytes;
    int rc;
    size_t bad;
    const char *why;
} rows[] = {
    {{"", 0}, {"", 0}, 0, 0, "nothing"},
    {{"Zg==", 4}, {"f", 1}, 0, 0, "one byte"},
    {{"Zm8=", 4}, {"fo", 2}, 0, 0, "two"},
    {{"Zm9v", 4}, {"foo", 3}, 0, 0, "three: no padding"},
    {{"Zg", 2}, {"f", 1}, 0, 0, "one byte, padding left out"},
    {{"Zm8", 3}, {"fo", 2}, 0, 0, "two, padding left out"},
    {{"+/+/", 4}, {"\xfb\xff\xbf", 3}, 0, 0, "the last two digits"},
    {{"-_-_", 4}, {"\xfb\xff\xbf", 3}, 0, 0, "the same for URLs"},
    {{"AAAA", 4}, {"\0\0\0", 3}, 0, 0, "NUL bytes"},
    {{"Zm9vYg==", 8}, {"foob", 4}, 0, 0, "a group and a byte"},
    {{"Z", 1}, {"", 0}, MP_EPARSE, 1, "six bits are no byte"},
    {{"Zm9vY", 5}, {"", 0}, MP_EPARSE, 5, "nor behind a group"},
    {{"Zg=", 3}, {"", 0}, MP_EPARSE, 3, "half of the padding"},
    {{"Zg===", 5}, {"", 0}, MP_EPARSE, 4, "too much of it"},
    {{"Zm8==", 5}, {"", 0}, MP_EPARSE, 4, "too much behind two bytes"},
    {{"Zm9v=", 5}, {"", 0}, MP_EPARSE, 4, "none is due here"},
    {{"=", 1}, {"", 0}, MP_EPARSE, 0, "padding of nothing"},
    {{"Z=g=", 4}, {"", 0}, MP_EPARSE, 1, "in the middle"},
    {{"Zg=x", 4}, {"", 0}, MP_EPARSE, 3, "a digit within it"},
    {{"Zh==", 4}, {"", 0}, MP_EPARSE, 1, "bits that stand for nothing"},
    {{"Zm9=", 4}, {"", 0}, MP_EPARSE, 2, "the same in two bytes"},
    {{"Zm 9v", 5}, {"", 0}, MP_EPARSE, 2, "a blank"},
    {{"Zm9v\n", 5}, {"", 0}, MP_EPARSE, 4, "a line end"},
    {{"Zm\0v", 4}, {"", 0}, MP_EPARSE, 2, "a NUL"},
    {{"Zm\xc3\xa9", 4}, {"", 0}, MP_EPARSE, 2, "a letter past ASCII"},
};

static void texts_mean_their_bytes_or_name_the_wrong_one(void **fixture)
{
    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t room = rows[i].text.len / 4 * 3 + 2, len = 0, bad = 0;
        char *in = mp_alloc(rows[i].text.len), *out = mp_alloc(room);

        memcpy(in, rows[i].text.ptr, rows[i].text.len);
        print_message("%s: %s\n", rows[i].text.ptr, rows[i].why);
        assert_int_equal(
            mp_base64_decode(mp_slice(in, rows[i].text.len), out, &len, &bad),
            rows[i].rc);
        if (rows[i].rc)
            assert_int_equal(bad, rows[i].bad);
        else
            assert_true(mp_slice_eq(mp_slice(out, len), rows[i].bytes));
        free(in);
        free(out);
    }
}

static void every_length_comes_back(void **fixture)
{
    (void)fixture;
    for (size_t len = 0; len < 200; len++) {
        char *bytes = mp_alloc(len), *text = mp_alloc(mp_base64_size(len));
        char *back = mp_alloc(mp_base64_size(len) / 4 * 3 + 2);
        size_t got, bad;

        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)(i * 151 + len);
        mp_base64_encode(mp_slice(bytes, len), text);
        assert_int_equal(mp_base64_decode(mp_slice(text, mp_base64_size(len)),
                                          back, &got, &bad),
                         0);
        assert_int_equal(got, len);
        assert_memory_equal(back, bytes, len);
        free(bytes);
        free(text);
        free(back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_mean_their_bytes_or_name_the_wrong_one),
        cmocka_unit_test(every_length_comes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
