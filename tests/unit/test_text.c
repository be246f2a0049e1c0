/*
 * test_text.c - core/base/text.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/text.h"
#include "tests/unit/conf_kit.h"

static const struct {
    const char *word, *near, *why;
} words[] = {
    {"publsh", "publish", "a letter left out"},
    {"puublish", "publish", "a letter put in"},
    {"puplish", "publish", "a letter changed"},
    {"pubilsh", "publish", "two neighbours swapped count once"},
    {"pblsih", "publish", "two edits"},
    {"bliss", NULL, "four edits are no typing mistake"},
    {"publish", NULL, "right as it is"},
    {"qs", "qos", "a short word, one edit"},
    {"qss", "qos", "a short word, one edit"},
    {"cat", NULL, "a short word, two edits: everything is near to it"},
    {"hots", "host", "four letters, one edit"},
    {"test", NULL, "four letters, two edits: another word"},
    {"", NULL, "nothing"},
    {"timeot", "timeout", "not the first of the list"},
    {"x123456789012345678901234567890123456789012345678901234567890", NULL,
     "longer than any word"},
};

static void a_misspelt_word_brings_the_nearest(void **state)
{
    static const char *const known[] = {"publish", "qos",          "cpu",
                                        "timeout", "init_timeout", "host"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct mp_slice in = t_exact(mp_slice_str(words[i].word));
        const char *near = mp_nearest(in, known, ARRAY_LEN(known));

        print_message("%s: %s\n", words[i].word, words[i].why);
        if (words[i].near)
            assert_string_equal(near, words[i].near);
        else
            assert_null(near);
        t_exact_free(in);
    }
    assert_null(mp_nearest(MP_S("publsh"), known, 0));
}

static void of_two_equally_near_words_the_first_is_taken(void **state)
{
    static const char *const known[] = {"cart", "card"};

    (void)state;
    assert_string_equal(mp_nearest(MP_S("carx"), known, 2), "cart");
}

static void a_cut_never_splits_a_character(void **state)
{
    (void)state;
    assert_int_equal(mp_cut(MP_S("abc"), 3).len, 3);
    assert_int_equal(mp_cut(MP_S("abc"), 2).len, 2);
    assert_int_equal(mp_cut(MP_S("a\xc3\xa9z"), 2).len, 1);
    assert_int_equal(mp_cut(MP_S("a\xc3\xa9z"), 3).len, 3);
    assert_int_equal(mp_cut(MP_S("\xf0\x9f\x8c\x99"), 3).len, 0);
}

static void a_text_splits_into_all_its_parts(void **state)
{
    struct mp_slice rest = MP_S("a//b/"), part;
    static const char *const parts[] = {"a", "", "b", ""};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        assert_true(mp_split(&rest, '/', &part));
        assert_true(mp_slice_is(part, parts[i]));
    }
    assert_false(mp_split(&rest, '/', &part));
    rest = MP_S("");
    assert_true(mp_split(&rest, '/', &part));
    assert_int_equal(part.len, 0);
    assert_false(mp_split(&rest, '/', &part));
}

static void blanks_go_at_both_ends_only(void **state)
{
    (void)state;
    assert_true(mp_slice_is(mp_trim(MP_S(" \ta b\r\n")), "a b"));
    assert_int_equal(mp_trim(MP_S(" \t ")).len, 0);
    assert_true(mp_has(MP_S("abc"), 'c'));
    assert_false(mp_has(MP_S(""), 'c'));
    assert_true(mp_starts(MP_S("abc"), "ab"));
    assert_false(mp_starts(MP_S("a"), "ab"));
    assert_true(mp_ends(MP_S("a.lua"), ".lua"));
    assert_false(mp_ends(MP_S("lua"), ".lua"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_misspelt_word_brings_the_nearest),
        cmocka_unit_test(of_two_equally_near_words_the_first_is_taken),
        cmocka_unit_test(a_cut_never_splits_a_character),
        cmocka_unit_test(a_text_splits_into_all_its_parts),
        cmocka_unit_test(blanks_go_at_both_ends_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
