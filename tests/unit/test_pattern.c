/*
 * test_pattern.c - core/pattern.h and core/base/topic.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/pattern.h"
#include "tests/unit/conf_kit.h"

static const struct {
    const char *pattern;
    int rc;
    const char *why;
} parses[] = {
    {"a", 0, "one level"},
    {"a/b/c", 0, "literals"},
    {"/a//b/", 0, "empty levels are levels"},
    {"site/{device}/env", 0, "the ordinary case"},
    {"{a}/{b}", 0, "two names"},
    {"logs/{rest...}", 0, "the rest, last"},
    {"+/a/#", 0, "as in MQTT"},
    {"#", 0, "everything"},
    {"$SYS/broker/load", 0, "the broker's topics can be listened to"},
    {"a/{x_9}", 0, "all that a name may hold"},
    {"", MP_EPARSE, "nothing"},
    {"a/{}/b", MP_EPARSE, "no name"},
    {"a/{...}", MP_EPARSE, "no name before the dots"},
    {"a/{b-c}", MP_EPARSE, "a name with what no name has"},
    {"a/x{b}", MP_EPARSE, "part of a level"},
    {"a/{b}x", MP_EPARSE, "part of a level, behind"},
    {"a/{b}{c}", MP_EPARSE, "two in a level"},
    {"a/{b", MP_EPARSE, "not closed"},
    {"a/b}", MP_EPARSE, "not opened"},
    {"{rest...}/a", MP_EPARSE, "the rest, not last"},
    {"#/a", MP_EPARSE, "# not last"},
    {"a+/b", MP_EPARSE, "part of a level"},
    {"a/b#", MP_EPARSE, "part of a level"},
    {"{a}/x/{a}", MP_EPARSE, "one name bound twice"},
    {"a/\xff", MP_EPARSE, "not UTF-8"},
    {"{aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}", MP_EPARSE, "33 bytes of name"},
    {"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/"
     "27/28/29/30/31/32",
     0, "as many levels as there may be"},
    {"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/"
     "27/28/29/30/31/32/33",
     MP_ERANGE, "one more"},
};

static void a_pattern_parses_or_says_why_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parses); i++) {
        struct mp_slice in = t_exact(mp_slice_str(parses[i].pattern));
        struct mp_pattern p;
        struct mp_why why = {""};

        print_message("%s: %s\n", parses[i].pattern, parses[i].why);
        assert_int_equal(mp_pattern_parse(&p, in, &why), parses[i].rc);
        assert_true((parses[i].rc != 0) == (why.text[0] != '\0'));
        mp_pattern_fini(&p);
        t_exact_free(in);
    }
}

/* params: "name=value,..."; NULL: no match. */
static const struct {
    const char *pattern, *topic, *params, *why;
} matches[] = {
    {"a/b", "a/b", "", "equal"},
    {"a/b", "a/bc", NULL, "a longer level"},
    {"a/bc", "a/b", NULL, "a shorter level"},
    {"a/b", "a", NULL, "too few levels"},
    {"a", "a/b", NULL, "too many levels"},
    {"a", "a/", NULL, "an empty level more"},
    {"a/", "a/", "", "an empty literal level"},
    {"/a", "/a", "", "a leading empty level"},
    {"/a", "a", NULL, "is not nothing"},
    {"a/{b}/c", "a/x/c", "b=x", "one level is bound"},
    {"a/{b}/c", "a//c", NULL, "{b} takes one byte or more"},
    {"a/+/c", "a//c", "", "+ takes an empty level"},
    {"a/+", "a/", "", "+ takes an empty last level"},
    {"a/+", "a", NULL, "+ needs a level"},
    {"a/{b}", "a/", NULL, "{b} needs a byte"},
    {"a/{b}", "a/x/y", NULL, "{b} is one level"},
    {"{a}/{b}", "x/y", "a=x,b=y", "in order"},
    {"+/{b}", "x/y", "b=y", "+ binds nothing"},
    {"a/#", "a", "", "# takes its parent, too"},
    {"a/#", "a/b/c", "", "and everything below"},
    {"a/#", "a/", "", "and an empty level"},
    {"a/#", "ab", NULL, "but not a longer name"},
    {"a/{r...}", "a/b/c", "r=b/c", "the rest, whole"},
    {"a/{r...}", "a/b", "r=b", "one level is enough"},
    {"a/{r...}", "a", NULL, "none is not"},
    {"a/{r...}", "a/", NULL, "nor is one without a byte"},
    {"{r...}", "a/b", "r=a/b", "from the start"},
    {"#", "a/b/c", "", "everything"},
    {"#", "$SYS/x", NULL, "but what starts with $"},
    {"+/x", "$SYS/x", NULL, "nor does +"},
    {"{a}/x", "$SYS/x", NULL, "nor a name"},
    {"{a...}", "$SYS/x", NULL, "nor a rest"},
    {"$SYS/#", "$SYS/x", "", "a literal does"},
    {"a/#", "a/$x", "", "$ further down is a byte like any"},
    {"a/b", "", NULL, "no topic"},
    {"{a}/#", "x", "a=x", "the parent, named"},
    {"s/{d}/t/#", "s/1/t", "d=1", "the parent, deeper"},
    {"s/{d}/t/#", "s/1", NULL, "not the parent's parent"},
};

static void a_pattern_matches_as_section_2_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(matches); i++) {
        struct mp_slice topic = t_exact(mp_slice_str(matches[i].topic));
        struct mp_pair params[MP_PAIRS_MAX];
        struct mp_pattern p;
        struct mp_buf got;
        struct mp_why why;
        uint32_t n = 0;
        bool matched;

        print_message("%s %s: %s\n", matches[i].pattern, matches[i].topic,
                      matches[i].why);
        assert_int_equal(
            mp_pattern_parse(&p, mp_slice_str(matches[i].pattern), &why), 0);
        matched = mp_pattern_match(&p, topic, params, &n);
        assert_int_equal(matched, matches[i].params != NULL);
        mp_buf_init(&got, 1024);
        for (uint32_t k = 0; matched && k < n; k++)
            mp_buf_printf(&got, "%s%.*s=%.*s", k ? "," : "",
                          MP_FMT(params[k].name), MP_FMT(params[k].value));
        if (matched)
            assert_true(mp_slice_is(mp_buf_bytes(&got), matches[i].params));
        mp_buf_fini(&got);
        mp_pattern_fini(&p);
        t_exact_free(topic);
    }
}

/* What a pattern matches its filter brings, on all pairs of both tables. */
static void the_filter_of_a_pattern_brings_all_that_it_matches(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(matches); i++) {
        struct mp_pattern p;
        struct mp_buf filter;
        struct mp_why why;

        assert_int_equal(
            mp_pattern_parse(&p, mp_slice_str(matches[i].pattern), &why), 0);
        mp_buf_init(&filter, 1024);
        mp_pattern_filter(&p, &filter);
        assert_int_equal(mp_filter_check(mp_buf_bytes(&filter), &why), 0);
        for (size_t k = 0; k < ARRAY_LEN(matches); k++) {
            struct mp_slice topic = mp_slice_str(matches[k].topic);
            struct mp_pair params[MP_PAIRS_MAX];
            uint32_t n;

            if (mp_pattern_match(&p, topic, params, &n))
                assert_true(mp_filter_match(mp_buf_bytes(&filter), topic));
        }
        mp_buf_fini(&filter);
        mp_pattern_fini(&p);
    }
}

static const struct {
    const char *text;
    int topic, filter;
    const char *why;
} texts[] = {
    {"a/b", 0, 0, "the ordinary case"},
    {"/", 0, 0, "two empty levels"},
    {"a b", 0, 0, "a blank is a byte like any"},
    {"caf\xc3\xa9", 0, 0, "UTF-8"},
    {"", MP_EPARSE, MP_EPARSE, "at least one byte"},
    {"a/+/b", MP_EPARSE, 0, "a wildcard is for filters"},
    {"#", MP_EPARSE, 0, "a wildcard is for filters"},
    {"a/b+", MP_EPARSE, MP_EPARSE, "not a whole level"},
    {"#/a", MP_EPARSE, MP_EPARSE, "not last"},
    {"a\nb", MP_EPARSE, MP_EPARSE, "a control byte"},
    {"a\x7f", MP_EPARSE, MP_EPARSE, "DEL"},
    {"a\xc2\x85", MP_EPARSE, MP_EPARSE, "U+0085, a control character"},
    {"a\xc2\xa0", 0, 0, "U+00A0 is the first that isn't"},
    {"a\xff", MP_EPARSE, MP_EPARSE, "not UTF-8"},
    {"a\xed\xa0\x80", MP_EPARSE, MP_EPARSE, "a surrogate"},
    {"\xef\xbf\xbf", MP_EPARSE, MP_EPARSE, "U+FFFF, a noncharacter"},
    {"\xef\xb7\x90", MP_EPARSE, MP_EPARSE, "U+FDD0, a noncharacter"},
    {"\xf0\x9f\xbf\xbe", MP_EPARSE, MP_EPARSE, "U+1FFFE, a noncharacter"},
    {"\xf0\x9f\x8c\x99", 0, 0, "U+1F319 is a moon"},
};

static void topics_and_filters_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct mp_slice in = t_exact(mp_slice_str(texts[i].text));
        struct mp_why why;

        print_message("%s\n", texts[i].why);
        assert_int_equal(mp_topic_check(in, &why), texts[i].topic);
        assert_int_equal(mp_filter_check(in, &why), texts[i].filter);
        t_exact_free(in);
    }
}

static void a_topic_has_1024_bytes_and_a_filter_65535(void **state)
{
    static char text[65536];
    struct mp_why why;

    (void)state;
    memset(text, 'a', sizeof text);
    assert_int_equal(mp_topic_check(mp_slice(text, 1024), &why), 0);
    assert_int_equal(mp_topic_check(mp_slice(text, 1025), &why), MP_ERANGE);
    assert_int_equal(mp_filter_check(mp_slice(text, 65535), &why), 0);
    assert_int_equal(mp_filter_check(mp_slice(text, 65536), &why), MP_ERANGE);
    assert_int_equal(mp_topic_check(mp_slice("a\0b", 3), &why), MP_EPARSE);
}

static const struct {
    const char *a, *b, *cover, *why;
    bool overlap;
} pairs[] = {
    {"a/b", "a/b", "a/b", "equal", true},
    {"a/b", "a/c", "a/+", "other literals", false},
    {"a/+", "a/c", "a/+", "one in the other", true},
    {"+/c", "a/+", "+/+", "a/c", true},
    {"a/#", "a", "a/#", "a/# takes a", true},
    {"a/#", "a/b/c", "a/#", "one in the other", true},
    {"a/#", "b/#", "+/#", "apart", false},
    {"a/b", "a", "a/#", "lengths differ", false},
    {"a/b/c", "a/d", "a/+/#", "as deep as they are alike", false},
    {"+/+", "#", "#", "one in the other", true},
    {"+/a", "+/b", "+/+", "apart behind a wildcard", false},
    {"#", "$SYS/a", "", "no # takes $", false},
    {"+/a", "$SYS/a", "", "nor does +", false},
    {"$SYS/a", "$SYS/b", "$SYS/+", "both are $", false},
    {"$a/x", "$b/x", "", "no filter takes two of these", false},
    {"$SYS/#", "$SYS/a", "$SYS/#", "both are $", true},
    {"a/+/c", "a/b/#", "a/+/#", "a/b/c", true},
    {"a/+/c", "a/b/d", "a/+/+", "apart at the end", false},
    {"a//b", "a/+/b", "a/+/b", "an empty level", true},
};

static void filters_overlap_and_are_covered(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct mp_slice a = t_exact(mp_slice_str(pairs[i].a));
        struct mp_slice b = t_exact(mp_slice_str(pairs[i].b));
        struct mp_buf cover;

        print_message("%s %s: %s\n", pairs[i].a, pairs[i].b, pairs[i].why);
        assert_int_equal(mp_filter_overlap(a, b), pairs[i].overlap);
        assert_int_equal(mp_filter_overlap(b, a), pairs[i].overlap);
        mp_buf_init(&cover, 1024);
        mp_filter_cover(a, b, &cover);
        assert_true(mp_slice_is(mp_buf_bytes(&cover), pairs[i].cover));
        mp_buf_reset(&cover);
        mp_filter_cover(b, a, &cover);
        assert_true(mp_slice_is(mp_buf_bytes(&cover), pairs[i].cover));
        mp_buf_fini(&cover);
        t_exact_free(a);
        t_exact_free(b);
    }
}

static uint64_t seed = 20260301;

static uint64_t chance(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

/* Up to four levels of few words, so that many meet. */
static struct mp_slice some(char text[32], const char *const *words, size_t n)
{
    size_t levels = 1 + chance(4);

    text[0] = '\0';
    for (size_t i = 0; i < levels; i++) {
        const char *word = words[chance(n)];

        if (i)
            strcat(text, "/");
        strcat(text, word);
        if (*word == '#')
            break;
    }
    if (!*text)
        strcpy(text, "a");
    return mp_slice_str(text);
}

/* By chance, against the definition: both match a topic, so they overlap, and
 * what either matches the cover does. */
static void overlap_and_cover_agree_with_matching(void **state)
{
    static const char *const levels[] = {"a", "b", "", "$x", "+", "#"};
    unsigned met = 0;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        char ta[32], tb[32], tt[32];
        struct mp_slice a = some(ta, levels, 6), b = some(tb, levels, 6);
        struct mp_slice topic = some(tt, levels, 4);
        bool in_a = mp_filter_match(a, topic), in_b = mp_filter_match(b, topic);
        struct mp_buf cover;

        if (in_a && in_b) {
            met++;
            assert_true(mp_filter_overlap(a, b));
        }
        mp_buf_init(&cover, 64);
        mp_filter_cover(a, b, &cover);
        if (cover.len && (in_a || in_b) &&
            !mp_filter_match(mp_buf_bytes(&cover), topic)) {
            print_message("%s %s: %.*s misses %s\n", ta, tb, (int)cover.len,
                          cover.ptr, tt);
            fail();
        }
        mp_buf_fini(&cover);
    }
    assert_true(met > 1000); /* else this shows nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_parses_or_says_why_not),
        cmocka_unit_test(a_pattern_matches_as_section_2_says),
        cmocka_unit_test(the_filter_of_a_pattern_brings_all_that_it_matches),
        cmocka_unit_test(topics_and_filters_are_checked),
        cmocka_unit_test(a_topic_has_1024_bytes_and_a_filter_65535),
        cmocka_unit_test(filters_overlap_and_are_covered),
        cmocka_unit_test(overlap_and_cover_agree_with_matching),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
