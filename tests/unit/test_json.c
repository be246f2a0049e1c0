/*
 * test_json.c - the scanner and the writers of core/base/json.h.
 *
 * Documents and what becomes of them are in tests/corpus/json/rows.h.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/json.h"
#include "core/base/utf8.h"
#include "tests/corpus/json/rows.h"

/* A copy in a block of exactly its size: one byte too many is caught. */
static struct mp_slice exact(struct mp_slice s)
{
    char *copy = mp_alloc(s.len);

    if (s.len)
        memcpy(copy, s.ptr, s.len);
    return mp_slice(copy, s.len);
}

static void exact_free(struct mp_slice s)
{
    union {
        const char *borrowed;
        char *owned;
    } p = {s.ptr};

    free(p.owned);
}

static uint64_t seed = 20260301;

static uint64_t chance(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* All tokens of in; a slow, sure check of what each tells. */
static int scan(struct mp_slice in, struct mp_why *why)
{
    struct mp_json_token t = {0};
    struct mp_json s;
    int rc;

    mp_json_init(&s, in);
    while (!(rc = mp_json_next(&s, &t, why)) && t.kind != MP_JSON_END) {
        assert_true(t.at < in.len);
        if (t.kind == MP_JSON_STRING || t.kind == MP_JSON_NAME) {
            assert_ptr_equal(t.text.ptr, in.ptr + t.at + 1);
            assert_true(mp_utf8_valid(t.text));
            assert_int_equal(
                t.escaped, t.text.len && memchr(t.text.ptr, '\\', t.text.len));
        } else if (t.kind == MP_JSON_NUMBER) {
            assert_ptr_equal(t.text.ptr, in.ptr + t.at);
        }
    }
    if (!rc)
        assert_int_equal(s.depth, 0);
    return rc;
}

static size_t byte_in(const struct mp_why *why)
{
    const char *at = strstr(why->text, "at byte ");

    assert_non_null(at);
    return strtoul(at + 8, NULL, 10);
}

static void each_document_is_taken_or_refused_at_its_byte(void **fixture)
{
    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(json_rows); i++) {
        const struct json_row *row = &json_rows[i];
        struct mp_slice in = exact(row->in);
        struct mp_json_number number;
        struct mp_why why = {{0}};
        int rc = scan(in, &why);

        print_message("%zu %.60s: %s\n", i, row->in.ptr, row->why);
        if (!rc && !row->out) {
            /* fine by grammar: then it is a number past all doubles */
            struct mp_json_token t = {.text = in};

            assert_int_equal(mp_json_number(&t, &number), MP_ERANGE);
        } else if (!row->out) {
            print_message("  %s\n", why.text);
            assert_int_equal(rc, MP_EPARSE);
            assert_int_equal(byte_in(&why), row->at);
            assert_true(strncmp(why.text, "expected ", 9) == 0);
        } else {
            assert_int_equal(rc, 0);
        }
        exact_free(in);
    }
}

/* Every document, cut at every place, is refused, or is one: "12" of "123". */
static void a_cut_document_is_never_read_past_its_end(void **fixture)
{
    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(json_rows); i++) {
        size_t step = 1 + json_rows[i].in.len / 100;

        for (size_t len = 0; len < json_rows[i].in.len; len += step) {
            struct mp_slice in = exact(mp_slice(json_rows[i].in.ptr, len));
            struct mp_why why;
            char first = len ? *in.ptr : ' ';

            if ((first == '{' || first == '[' || first == '"') &&
                json_rows[i].out)
                assert_int_equal(
                    scan(in, &why) != 0 || json_rows[i].in.ptr[len] <= ' ', 1);
            else
                (void)!scan(in, &why);
            exact_free(in);
        }
    }
}

static void an_error_is_told_again(void **fixture)
{
    struct mp_json_token t;
    struct mp_json s;
    struct mp_why why, again;

    (void)fixture;
    mp_json_init(&s, MP_S("[1 2]"));
    assert_int_equal(mp_json_next(&s, &t, &why), 0);
    assert_int_equal(mp_json_next(&s, &t, &why), 0);
    assert_int_equal(mp_json_next(&s, &t, &why), MP_EPARSE);
    assert_int_equal(mp_json_next(&s, &t, &again), MP_EPARSE);
    assert_string_equal(why.text, "expected ',' or ']' at byte 4");
    assert_string_equal(again.text, why.text);
}

static void the_end_is_told_again(void **fixture)
{
    struct mp_json_token t;
    struct mp_json s;
    struct mp_why why;

    (void)fixture;
    mp_json_init(&s, MP_S("1 "));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mp_json_next(&s, &t, &why), 0);
        assert_int_equal(t.kind, i ? MP_JSON_END : MP_JSON_NUMBER);
    }
}

/* What a filter does: find a member without building anything. */
static int find(struct mp_slice text, const char *wanted, int64_t *found)
{
    struct mp_json_number n;
    struct mp_json_token t;
    struct mp_json s;
    struct mp_why why;

    mp_json_init(&s, text);
    assert_int_equal(mp_json_next(&s, &t, &why), 0);
    while (!mp_json_next(&s, &t, &why) && t.kind == MP_JSON_NAME) {
        if (mp_json_is(&t, mp_slice_str(wanted))) {
            assert_int_equal(mp_json_next(&s, &t, &why), 0);
            assert_int_equal(mp_json_number(&t, &n), 0);
            *found = n.integer;
            return 0;
        }
        if (mp_json_skip(&s, &t, &why))
            return MP_EPARSE;
    }
    return t.kind == MP_JSON_CLOSE ? MP_ENONE : MP_EPARSE;
}

static void skipping_finds_a_member_behind_anything(void **fixture)
{
    static const char text[] =
        "{\"list\":[1,[2,{\"x\":1}],3],\"text\":\"\\\"x\\\":2\",\"no\":null,"
        "\"deep\":{\"x\":{\"x\":5}},\"\\u0078\":42,\"bad\":[}";
    int64_t found = 0;

    (void)fixture;
    assert_int_equal(find(MP_S(text), "x", &found), 0);
    assert_int_equal(found, 42);
    assert_int_equal(find(MP_S(text), "y", &found), MP_EPARSE);
    assert_int_equal(find(MP_S("{}"), "y", &found), MP_ENONE);
}

static void skipping_a_list_ends_behind_it(void **fixture)
{
    struct mp_json_token t;
    struct mp_json s;
    struct mp_why why;

    (void)fixture;
    mp_json_init(&s, MP_S("[[1,[],{}],7]"));
    assert_int_equal(mp_json_next(&s, &t, &why), 0);
    assert_int_equal(mp_json_next(&s, &t, &why), 0);
    assert_int_equal(t.kind, MP_JSON_LIST);
    assert_int_equal(mp_json_skip(&s, &t, &why), 0);
    assert_int_equal(mp_json_next(&s, &t, &why), 0);
    assert_int_equal(t.kind, MP_JSON_NUMBER);
    assert_int_equal(mp_json_skip(&s, &t, &why), 0);
    assert_int_equal(mp_json_next(&s, &t, &why), 0);
    assert_int_equal(t.kind, MP_JSON_CLOSE);
}

static void a_name_is_compared_by_what_it_means(void **fixture)
{
    static const struct {
        const char *raw, *means;
        bool same;
    } rows[] = {
        {"temp", "temp", true},
        {"temp", "tem", false},
        {"te\\u006dp", "temp", true},
        {"te\\u006dp", "tem", false},
        {"te\\u006dp", "tempo", false},
        {"\\ud83d\\ude00", "\xf0\x9f\x98\x80", true},
        {"\\ud83d\\ude00", "\xf0\x9f\x98", false},
        {"\\n", "\n", true},
        {"\\n", "n", false},
        {"a\\/b", "a/b", true},
    };

    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mp_json_token t = {.kind = MP_JSON_NAME,
                                  .escaped = strchr(rows[i].raw, '\\') != NULL,
                                  .text = mp_slice_str(rows[i].raw)};

        assert_int_equal(mp_json_is(&t, mp_slice_str(rows[i].means)),
                         rows[i].same);
    }
}

static double read_back(const char *text, size_t len)
{
    struct mp_slice in = exact(mp_slice(text, len));
    struct mp_json_number n;
    struct mp_json_token t;
    struct mp_json s;
    struct mp_why why;

    mp_json_init(&s, in);
    assert_int_equal(mp_json_next(&s, &t, &why), 0);
    assert_int_equal(t.kind, MP_JSON_NUMBER);
    assert_int_equal(mp_json_number(&t, &n), 0);
    assert_false(n.is_int);
    exact_free(in);
    return n.real;
}

/* The rule of the header, the slow way. */
static void reference(double d, char text[64])
{
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, 64, "%.*g", precision, d);
        if (strtod(text, NULL) == d)
            break;
    }
    if (!strpbrk(text, ".e"))
        strcat(text, ".0");
}

static void check_double(double d)
{
    char text[MP_JSON_NUMBER_TEXT + 1], wanted[64];
    size_t len = mp_json_double_text(d, text);
    double back;

    text[len] = '\0';
    reference(d, wanted);
    assert_string_equal(text, wanted);
    back = read_back(text, len);
    assert_memory_equal(&back, &d, sizeof d);
}

static void doubles_are_written_short_and_read_back(void **fixture)
{
    (void)fixture;
    for (int i = 0; i < 40000; i++) {
        uint64_t bits = chance();
        double d;

        memcpy(&d, &bits, sizeof d);
        if (isfinite(d))
            check_double(d); /* any double at all */
        check_double((double)(int64_t)(bits % 2000000 - 1000000) / 100);
        check_double((double)(bits % 100000000) / 1e9);
        check_double((double)(bits >> 11) / 1e3);
        check_double(ldexp((double)(bits % 1000), -(int)(bits >> 58)));
        check_double((double)(bits % 1000 + 1) * 1e12);
    }
    check_double(0.0);
    check_double(-0.0);
}

/* What is read is what the C library reads, digit by digit. */
static void doubles_are_read_as_the_nearest(void **fixture)
{
    char text[64];

    (void)fixture;
    for (int i = 0; i < 40000; i++) {
        uint64_t bits = chance();
        int len = snprintf(
            text, sizeof text, "%s%llu.%0*lluE%d", bits & 1 ? "-" : "",
            (unsigned long long)(bits >> (20 + bits % 44)), (int)(1 + bits % 7),
            (unsigned long long)(chance() % 10000000),
            (int)(chance() % 60) - 30);
        double wanted = strtod(text, NULL), got = read_back(text, (size_t)len);

        assert_memory_equal(&got, &wanted, sizeof got);
    }
}

static void integers_are_written_and_read_whole(void **fixture)
{
    (void)fixture;
    for (int i = 0; i < 20000; i++) {
        int64_t n = (int64_t)chance() >> (chance() % 64),
                edge[] = {n, INT64_MIN, INT64_MAX, 0, -1};
        char text[MP_JSON_NUMBER_TEXT], wanted[32];
        struct mp_json_number back;
        struct mp_json_token t = {.integer = true};

        n = edge[i % 100 < 95 ? 0 : i % 5];
        t.text = mp_slice(text, mp_json_int_text(n, text));
        snprintf(wanted, sizeof wanted, "%lld", (long long)n);
        assert_true(mp_slice_is(t.text, wanted));
        assert_int_equal(mp_json_number(&t, &back), 0);
        assert_true(back.is_int);
        assert_int_equal(back.integer, n);
    }
}

static void what_is_no_number_is_written_as_null(void **fixture)
{
    struct mp_buf b;

    (void)fixture;
    mp_buf_init(&b, 100);
    mp_json_put_double(&b, NAN);
    mp_json_put_double(&b, INFINITY);
    mp_json_put_double(&b, -INFINITY);
    assert_true(mp_slice_is(mp_buf_bytes(&b), "nullnullnull"));
    mp_buf_fini(&b);
}

static const struct {
    struct mp_slice in;
    const char *out;
    bool valid;
    const char *why;
} strings[] = {
    {{"", 0}, "\"\"", true, "nothing"},
    {{NULL, 0}, "\"\"", true, "nothing, nowhere"},
    {{"plain", 5}, "\"plain\"", true, "the ordinary case"},
    {{"say \"hi\"", 8}, "\"say \\\"hi\\\"\"", true, "quotes"},
    {{"C:\\x/y", 6}, "\"C:\\\\x/y\"", true, "a backslash; a slash stays"},
    {{"a\0b\x1f", 4}, "\"a\\u0000b\\u001f\"", true, "control bytes"},
    {{"\n", 1}, "\"\\n\"", true, "a short escape"},
    {{"caf\xc3\xa9", 5}, "\"caf\xc3\xa9\"", true, "UTF-8 stays"},
    {{"caf\xe9", 4}, "\"caf\xef\xbf\xbd\"", false, "Latin-1 doesn't"},
    {{"\xe2\x82", 2}, "\"\xef\xbf\xbd\xef\xbf\xbd\"", false, "cut off"},
    {{"\xff\"", 2}, "\"\xef\xbf\xbd\\\"\"", false, "and goes on behind"},
    {{"12345678\x01", 9}, "\"12345678\\u0001\"", true, "behind a step"},
};

static void strings_are_escaped_and_made_valid(void **fixture)
{
    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        struct mp_slice in =
            strings[i].in.ptr ? exact(strings[i].in) : strings[i].in;
        struct mp_why why = {{0}};
        struct mp_buf b;

        print_message("%s: %s\n", strings[i].out, strings[i].why);
        mp_buf_init(&b, 100);
        assert_int_equal(mp_json_put_string(&b, in), strings[i].valid);
        assert_true(mp_slice_is(mp_buf_bytes(&b), strings[i].out));
        assert_int_equal(scan(mp_buf_bytes(&b), &why), 0);
        mp_buf_fini(&b);
        exact_free(in);
    }
}

static void any_bytes_make_a_string_that_scans(void **fixture)
{
    struct mp_buf b;

    (void)fixture;
    mp_buf_init(&b, 1000);
    for (int i = 0; i < 20000; i++) {
        struct mp_slice in, back;
        struct mp_why why;
        char bytes[24], *room;
        size_t len = chance() % sizeof bytes;
        bool valid;

        for (size_t k = 0; k < len; k++)
            bytes[k] = (char)(chance() & (chance() & 1 ? 0xff : 0x7f));
        in = exact(mp_slice(bytes, len));
        mp_buf_reset(&b);
        valid = mp_json_put_string(&b, in);
        assert_int_equal(valid, mp_utf8_valid(in));
        assert_int_equal(scan(mp_buf_bytes(&b), &why), 0);
        room = mp_alloc(b.len - 2);
        back = mp_slice(room,
                        mp_json_unescape(mp_slice(b.ptr + 1, b.len - 2), room));
        if (valid)
            assert_true(mp_slice_eq(back, in));
        assert_true(mp_utf8_valid(back));
        free(room);
        exact_free(in);
    }
    mp_buf_fini(&b);
}

static void a_full_buffer_takes_no_more(void **fixture)
{
    (void)fixture;
    for (size_t max = 0; max < 20; max++) {
        struct mp_buf b;

        mp_buf_init(&b, max);
        mp_json_put_string(&b, MP_S("a\nb\"\xc3\xa9"));
        mp_json_put_int(&b, -123456);
        assert_int_equal(b.full, max < 17);
        assert_true(b.len <= max);
        mp_buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_document_is_taken_or_refused_at_its_byte),
        cmocka_unit_test(a_cut_document_is_never_read_past_its_end),
        cmocka_unit_test(an_error_is_told_again),
        cmocka_unit_test(the_end_is_told_again),
        cmocka_unit_test(skipping_finds_a_member_behind_anything),
        cmocka_unit_test(skipping_a_list_ends_behind_it),
        cmocka_unit_test(a_name_is_compared_by_what_it_means),
        cmocka_unit_test(doubles_are_written_short_and_read_back),
        cmocka_unit_test(doubles_are_read_as_the_nearest),
        cmocka_unit_test(integers_are_written_and_read_whole),
        cmocka_unit_test(what_is_no_number_is_written_as_null),
        cmocka_unit_test(strings_are_escaped_and_made_valid),
        cmocka_unit_test(any_bytes_make_a_string_that_scans),
        cmocka_unit_test(a_full_buffer_takes_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
