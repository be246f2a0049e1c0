/*
 * test_ini.c - core/ini.h: what bytes become lines, and what is told.
 *
 * Rows that a text file can't show; others are in tests/corpus/conf.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/ini.h"
#include "tests/unit/conf_kit.h"

/* tree: "[KIND|NAME@LINE] KEY=VALUE@LINE" */
static const struct {
    struct mp_slice in;
    const char *tree, *told, *why;
} rows[] = {
    {MP_S(""), "", "", "nothing"},
    {MP_S("\n\n"), "", "", "empty lines"},
    {MP_S("[s]"), "[s|@1]", "", "an empty section counts, without line end"},
    {MP_S("[s]\na = b"), "[s|@1] a=b@2", "", "no line end at the end"},
    {MP_S("[s]\r\na = b\r\n"), "[s|@1] a=b@2", "", "line ends of Windows"},
    {MP_S("\xef\xbb\xbf[s]\na=b\n"), "[s|@1] a=b@2", "", "a byte order mark"},
    {MP_S("[ s  n ]\na=b=c\n"), "[s|n@1] a=b=c@2", "",
     "blanks around names; the first = counts"},
    {MP_S("[s]\na=\n"), "[s|@1] a=@2", "", "an empty value is a value"},
    {MP_S("[s]\na = x;y ; z\n"), "[s|@1] a=x;y@2", "",
     "; is a comment behind a blank only"},
    {MP_S("[s]\na = ;z\n"), "[s|@1] a=@2", "", "an empty value, a comment"},
    {MP_S("[s]\na = http://h:1/p\n"), "[s|@1] a=http://h:1/p@2", "",
     "a : behind the = is data"},
    {MP_S("[s]\na = [x]\n"), "[s|@1] a=[x]@2", "", "so is a ["},
    {MP_S("[s]\n[s]\na=1\n"), "[s|@1] [s|@2] a=1@3", "", "equal sections"},
    {MP_S("[s]\na = b\n  c = d\n"), "[s|@1] a=b@2 c=d@3", "",
     "an indented line is none of the line above"},
    {MP_S("[s]\na = b\0c\nd = e\n"), "[s|@1] d=e@3",
     "2: a NUL byte; is this a text file?\n", "NUL"},
    {MP_S("[s]\na = \xff\nd = e\n"), "[s|@1] d=e@3", "2: not UTF-8\n",
     "not UTF-8"},
    {MP_S("[s]\na = \x1b[31m\nd = e\n"), "[s|@1] d=e@3", "2: a control byte\n",
     "an escape would reach a terminal"},
    {MP_S("[s]\na = b\rc = d\n"), "[s|@1]", "2: a control byte\n",
     "a lone CR is no line end"},
    {MP_S("; \xff\n[s]\n"), "[s|@2]", "1: not UTF-8\n",
     "not even in a comment"},
    {MP_S("[s]\nword\n"), "[s|@1]",
     "2: not 'key = value', [section] or a comment\n", "no ="},
    {MP_S("[s]\nword"), "[s|@1]",
     "2: not 'key = value', [section] or a comment\n", "no = in the last line"},
    {MP_S("[s]\na ; b = c\n"), "[s|@1]",
     "2: not 'key = value', [section] or a comment\n", "the = is in a comment"},
    {MP_S("[s\na = b\n[t]\nc = d\n"), "[t|@3] c=d@4",
     "1: a section without ']'\n", "what is in a bad section is skipped"},
    {MP_S("[s];c\n"), "",
     "1: text behind ']'; a comment there starts with ' ;'\n",
     "a comment needs its blank"},
};

static void put_tree(const struct mp_ini *ini, struct mp_buf *out)
{
    for (unsigned i = 0; i < ini->n_sections; i++) {
        const struct mp_ini_section *s = &ini->sections[i];

        mp_buf_printf(out, "%s[%s|%s@%u]", i ? " " : "", s->kind, s->name,
                      s->line);
        for (unsigned l = 0; l < s->n_lines; l++)
            mp_buf_printf(out, " %s=%s@%u", s->lines[l].key, s->lines[l].value,
                          s->lines[l].line);
    }
    mp_buf_put(out, "", 1);
}

static void expect(struct mp_slice bytes, const char *tree, const char *text)
{
    struct mp_slice in = t_exact(bytes);
    struct t_told told;
    struct mp_ini ini;
    struct mp_buf got;

    t_told_init(&told);
    mp_ini_read(&ini, "f", in, &told.report);
    mp_buf_init(&got, 1 << 20);
    put_tree(&ini, &got);
    assert_string_equal(got.ptr, tree);
    assert_string_equal(t_told_text(&told), text);
    mp_buf_fini(&got);
    mp_ini_fini(&ini);
    t_told_fini(&told);
    t_exact_free(in);
}

static void lines_are_read_or_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("%s\n", rows[i].why);
        expect(rows[i].in, rows[i].tree, rows[i].told);
    }
}

/* libinih would split such a line and read its end as one of its own. */
static void a_line_of_1000_bytes_is_whole_and_a_longer_one_refused(void **state)
{
    char text[1100], tree[1100];

    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text, "[s]\na=", 6);
    memset(tree, 'x', sizeof tree);
    memcpy(tree, "[s|@1] a=", 9);
    strcpy(tree + 9 + 998, "@2");
    expect(mp_slice(text, 4 + 1000), tree, "");
    expect(mp_slice(text, 4 + 1001), "[s|@1]",
           "2: a line of more than 1000 bytes\n");
}

/* libinih would cut it, and [trigger x...] would be another trigger. */
static void
a_section_of_49_bytes_is_whole_and_a_longer_one_refused(void **state)
{
    char text[64], tree[64];

    (void)state;
    memset(text, 'x', sizeof text);
    text[0] = '[';
    text[50] = ']';
    memset(tree, 'x', sizeof tree);
    tree[0] = '[';
    strcpy(tree + 50, "|@1]");
    expect(mp_slice(text, 51), tree, "");
    text[50] = 'x';
    text[51] = ']';
    expect(mp_slice(text, 52), "",
           "1: a section's name of more than 49 bytes\n");
}

static void random_bytes_do_no_harm(void **state)
{
    static const char alphabet[] = "[]=;:#\"\n\r \tab\0\xff\xc3\xa9";
    uint64_t seed = 20260301;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct mp_report quiet = {.say = NULL};
        char text[64];
        struct mp_slice in;
        struct mp_ini ini;

        for (size_t k = 0; k < sizeof text; k++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            text[k] = alphabet[seed % (sizeof alphabet - 1)];
        }
        in = t_exact(mp_slice(text, seed % sizeof text));
        mp_ini_read(&ini, "f", in, &quiet);
        mp_ini_fini(&ini);
        t_exact_free(in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_or_told),
        cmocka_unit_test(
            a_line_of_1000_bytes_is_whole_and_a_longer_one_refused),
        cmocka_unit_test(
            a_section_of_49_bytes_is_whole_and_a_longer_one_refused),
        cmocka_unit_test(random_bytes_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
