/*
 * test_tree.c - the JSON tree of the command line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/tree.h"
#include "tests/corpus/json/rows.h"

/* Parse a copy in a block of exactly its size, which is gone afterwards. */
static int parse(struct mp_tree_doc *doc, struct mp_slice text,
                 struct mp_why *why)
{
    char *copy = mp_alloc(text.len);
    int rc;

    if (text.len)
        memcpy(copy, text.ptr, text.len);
    rc = mp_tree_parse(doc, mp_slice(copy, text.len), why);
    free(copy);
    return rc;
}

static void each_document_is_printed_or_refused_at_its_byte(void **fixture)
{
    struct mp_buf out;

    (void)fixture;
    mp_buf_init(&out, 100000);
    for (size_t i = 0; i < ARRAY_LEN(json_rows); i++) {
        const struct json_row *row = &json_rows[i];
        struct mp_tree_doc doc;
        struct mp_why why;
        int rc = parse(&doc, row->in, &why);

        print_message("%zu %.60s: %s\n", i, row->in.ptr, row->why);
        if (row->out) {
            assert_int_equal(rc, 0);
            mp_buf_reset(&out);
            mp_tree_print(doc.root, &out);
            mp_buf_put(&out, "", 1);
            assert_string_equal(out.ptr, row->out);
        } else {
            const char *at = strstr(why.text, "at byte ");

            assert_int_equal(rc, MP_EPARSE);
            assert_null(doc.root);
            assert_non_null(at);
            assert_int_equal(strtoul(at + 8, NULL, 10), row->at);
        }
        mp_tree_fini(&doc);
    }
    mp_buf_fini(&out);
}

static void a_member_is_found_by_its_name(void **fixture)
{
    static const char text[] =
        "{\"steps\":[{\"topic\":\"a\\u002fb\",\"qos\":1}],\"about\":\"x\","
        "\"time\":1.5,\"off\":false,\"about\":\"y\",\"\":null}";
    const struct mp_tree *step;
    struct mp_tree_doc doc;
    struct mp_why why;

    (void)fixture;
    assert_int_equal(parse(&doc, MP_S(text), &why), 0);
    assert_int_equal(doc.root->n, 5);
    assert_true(mp_slice_is(mp_tree_text(mp_tree_get(doc.root, "about")), "y"));
    assert_int_equal(mp_tree_get(doc.root, "")->kind, MP_TREE_NULL);
    assert_int_equal(mp_tree_get(doc.root, "off")->kind, MP_TREE_BOOL);
    assert_false(mp_tree_get(doc.root, "off")->yes);
    assert_true(mp_tree_get(doc.root, "time")->real == 1.5);
    step = mp_tree_get(doc.root, "steps")->items[0];
    assert_true(mp_slice_is(mp_tree_text(mp_tree_get(step, "topic")), "a/b"));
    assert_int_equal(mp_tree_get(step, "qos")->integer, 1);
    assert_true(mp_tree_get(step, "qos")->real == 1.0);

    assert_null(mp_tree_get(doc.root, "abou"));
    assert_null(mp_tree_get(doc.root, "aboutx"));
    assert_null(mp_tree_get(mp_tree_get(doc.root, "time"), "x"));
    assert_null(mp_tree_get(NULL, "x"));
    assert_null(mp_tree_text(mp_tree_get(doc.root, "time")).ptr);
    assert_null(mp_tree_text(NULL).ptr);
    mp_tree_fini(&doc);
}

static void of_many_members_each_is_found(void **fixture)
{
    struct mp_tree_doc doc;
    struct mp_why why;
    struct mp_buf b;
    char name[16];

    (void)fixture;
    mp_buf_init(&b, 1 << 20);
    for (int i = 0; i < 1000; i++) /* 0, 7, 14, ... and so in no order */
        mp_buf_printf(&b, "%s\"n%d\":%d", i ? "," : "{", i * 7 % 1000,
                      i * 7 % 1000);
    mp_buf_slice(&b, MP_S("}"));
    assert_int_equal(parse(&doc, mp_buf_bytes(&b), &why), 0);
    assert_int_equal(doc.root->n, 1000);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(mp_tree_get(doc.root, name)->integer, i);
    }
    mp_tree_fini(&doc);
    mp_buf_fini(&b);
}

static void an_error_in_a_file_names_the_line(void **fixture)
{
    struct mp_tree_doc doc;
    struct mp_why why;

    (void)fixture;
    assert_int_equal(parse(&doc, MP_S("{\n \"a\": 1,\n}\n"), &why), MP_EPARSE);
    assert_string_equal(why.text, "line 3: expected a name at byte 12");
    assert_int_equal(parse(&doc, MP_S("{\"a\": 1,}"), &why), MP_EPARSE);
    assert_string_equal(why.text, "expected a name at byte 9");
    mp_tree_fini(&doc);
}

static const struct {
    const char *expected, *actual;
    const char *diff; /* NULL: covered */
    const char *why;
} covers[] = {
    {"1", "1", NULL, "equal"},
    {"1", "1.0", NULL, "numbers compare by value"},
    {"1.5", "1", "publish: expected 1.5, got 1", "and differ by it"},
    {"9007199254740993", "9007199254740992",
     "publish: expected 9007199254740993, got 9007199254740992",
     "integers compare as such"},
    {"1", "\"1\"", "publish: expected 1, got \"1\"", "a string is no number"},
    {"true", "false", "publish: expected true, got false", "booleans"},
    {"false", "null", "publish: expected false, got null", "kinds"},
    {"null", "null", NULL, "null is null"},
    {"null", "0", "publish: expected null, got 0", "and nothing else"},
    {"\"a\"", "\"a\"", NULL, "strings"},
    {"\"a\"", "\"b\"", "publish: expected \"a\", got \"b\"", "by their bytes"},
    {"{}", "{\"a\":1}", NULL, "what isn't named doesn't count"},
    {"{\"a\":1}", "{\"b\":2,\"a\":1}", NULL, "what is named does"},
    {"{\"a\":1}", "{\"a\":2}", "publish.a: expected 1, got 2", "a member"},
    {"{\"a\":1}", "{\"b\":2}", "publish.a: expected 1, got nothing", "missing"},
    {"{\"a\":null}", "{\"b\":2}", NULL, "expected to be absent, and it is"},
    {"{\"a\":null}", "{\"a\":null}", NULL, "or null"},
    {"{\"a\":null}", "{\"a\":1}", "publish.a: expected null, got 1",
     "but not there"},
    {"[]", "[]", NULL, "empty lists"},
    {"[]", "{}", "publish: expected [], got {}", "a list is no object"},
    {"[1,2]", "[1,2]", NULL, "one by one"},
    {"[1,2]", "[1,3]", "publish[2]: expected 2, got 3", "counted from 1"},
    {"[1]", "[1,2]", "publish: expected 1 of them, got 2: [1,2]",
     "a list names all"},
    {"[]", "[{\"x\":1}]", "publish: expected 0 of them, got 1: [{\"x\":1}]",
     "nothing was to be published"},
    {"[{\"data\":{\"phase\":\"silent\"}}]",
     "[{\"topic\":\"t\",\"data\":{\"phase\":\"alarm\",\"n\":1}}]",
     "publish[1].data.phase: expected \"silent\", got \"alarm\"",
     "the line of the reference"},
    {"[[1],[2]]", "[[1],[3]]", "publish[2][1]: expected 2, got 3",
     "lists in lists"},
    {"1",
     "\"01234567890123456789012345678901234567890123456789012345678901234567890"
     "1234567890123456789012345678901234567890123456789012345678\"",
     "publish: expected 1, got "
     "\"01234567890123456789012345678901234567890123456789012345678901234567890"
     "123456789012345678901234567890123456789012345678...",
     "a long value is cut"},
};

static void an_expectation_covers_or_says_where_not(void **fixture)
{
    struct mp_buf diff;

    (void)fixture;
    mp_buf_init(&diff, 1000);
    for (size_t i = 0; i < ARRAY_LEN(covers); i++) {
        struct mp_tree_doc expected, actual;
        struct mp_why why;
        bool yes;

        print_message("%s, %s: %s\n", covers[i].expected, covers[i].actual,
                      covers[i].why);
        assert_int_equal(
            parse(&expected, mp_slice_str(covers[i].expected), &why), 0);
        assert_int_equal(parse(&actual, mp_slice_str(covers[i].actual), &why),
                         0);
        mp_buf_reset(&diff);
        yes = mp_tree_covers(expected.root, actual.root, "publish", &diff);
        assert_int_equal(yes, covers[i].diff == NULL);
        mp_buf_put(&diff, "", 1);
        assert_string_equal(diff.ptr, covers[i].diff ? covers[i].diff : "");
        mp_tree_fini(&expected);
        mp_tree_fini(&actual);
    }
    mp_buf_fini(&diff);
}

static void nothing_covers_and_is_covered_as_null_is(void **fixture)
{
    struct mp_tree_doc null, one;
    struct mp_buf diff;
    struct mp_why why;

    (void)fixture;
    mp_buf_init(&diff, 1000);
    assert_int_equal(parse(&null, MP_S("null"), &why), 0);
    assert_int_equal(parse(&one, MP_S("1"), &why), 0);
    assert_true(mp_tree_covers(NULL, one.root, "", &diff));
    assert_true(mp_tree_covers(null.root, NULL, "", &diff));
    assert_false(mp_tree_covers(one.root, NULL, "", &diff));
    assert_true(mp_slice_is(mp_buf_bytes(&diff), "expected 1, got nothing"));
    assert_string_equal(mp_tree_kind_name(one.root), "an integer");
    assert_string_equal(mp_tree_kind_name(NULL), "nothing");
    mp_tree_fini(&null);
    mp_tree_fini(&one);
    mp_buf_fini(&diff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_document_is_printed_or_refused_at_its_byte),
        cmocka_unit_test(a_member_is_found_by_its_name),
        cmocka_unit_test(of_many_members_each_is_found),
        cmocka_unit_test(an_error_in_a_file_names_the_line),
        cmocka_unit_test(an_expectation_covers_or_says_where_not),
        cmocka_unit_test(nothing_covers_and_is_covered_as_null_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
