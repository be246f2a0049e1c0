/*
 * test_fields.c - values found in payloads: JSON, CBOR, SenML, text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/json.h"
#include "core/fields.h"
#include "core/template.h"
#include "tests/unit/conf_kit.h"

static struct mp_fields fields;
static struct mp_field_value values[MP_FIELDS_MAX];
static struct mp_slice payload; /* what values borrow from */
static struct mp_why why;

static int setup(void **state)
{
    (void)state;
    mp_fields_init(&fields);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    t_exact_free(payload);
    payload = mp_slice(NULL, 0);
    return 0;
}

static int want(const char *text)
{
    struct mp_slice in = t_exact(mp_slice_str(text));
    struct mp_path path;
    size_t at = 0;
    int rc = mp_path_read(in, &at, &path, &why);

    if (!rc) {
        assert_int_equal(at, in.len);
        rc = mp_fields_want(&fields, &path, &why);
    }
    t_exact_free(in);
    return rc;
}

static void read_as(struct mp_slice data, const char *type,
                    enum mp_format format)
{
    t_exact_free(payload);
    payload = t_exact(data);
    mp_fields_read(&fields, payload, mp_slice_str(type), format, values);
}

static void read_json(const char *text)
{
    read_as(mp_slice_str(text), NULL, MP_FORMAT_AUTO);
}

/* "none", or the value's kind and text in short. */
static const char *shown(const struct mp_field_value *v)
{
    static char text[256];

    switch (v->kind) {
    case MP_FIELD_NONE:
        return "none";
    case MP_FIELD_NULL:
        return "null";
    case MP_FIELD_BOOLEAN:
        return v->truth ? "true" : "false";
    case MP_FIELD_NUMBER:
        if (v->is_int)
            snprintf(text, sizeof text, "%lld", (long long)v->integer);
        else
            snprintf(text, sizeof text, "%.17g", v->real);
        return text;
    case MP_FIELD_STRING:
        snprintf(text, sizeof text, "'%.*s'", MP_FMT(v->text));
        return text;
    default:
        snprintf(text, sizeof text, "tree %.*s", MP_FMT(v->text));
        return text;
    }
}

static void expect(const char *path, const char *value)
{
    int number = want(path);

    assert_in_range(number, 0, MP_FIELDS_MAX - 1);
    assert_string_equal(shown(&values[number]), value);
}

static void one_pass_finds_all_that_is_wanted(void **state)
{
    (void)state;
    assert_int_equal(want("temp"), 0);
    assert_int_equal(want("door.open"), 1);
    assert_int_equal(want("door"), 2);
    assert_int_equal(want("list[1][0]"), 3);
    assert_int_equal(want("list[2].x"), 4);
    assert_int_equal(want("gone"), 5);
    assert_int_equal(want("door.gone.more"), 6);
    assert_int_equal(want("name"), 7);
    assert_int_equal(want("data"), 8);
    assert_int_equal(want("temp"), 0); /* the same again */
    assert_int_equal(want("data.door[\"open\"]"), 1);
    read_json("{\"x\":{\"temp\":1},\"door\":{\"a\":[{}],\"open\":false},"
              "\"list\":[1,[-2e1,3],{\"x\":null},4],\"name\":\"k\\n\","
              "\"temp\":31.5}");
    expect("temp", "31.5");
    expect("door.open", "false");
    expect("door", "tree {\"a\":[{}],\"open\":false}");
    expect("list[1][0]", "-20");
    expect("list[2].x", "null");
    expect("gone", "none");
    expect("door.gone.more", "none");
    expect("name", "'k\\n'");
    assert_true(values[7].escaped);
    assert_int_equal(values[8].kind, MP_FIELD_TREE);
    assert_int_equal(values[8].text.len, payload.len);
}

static void of_doubled_names_the_last_counts_as_a_whole(void **state)
{
    (void)state;
    want("a.b");
    want("a.c");
    want("a");
    want("l[1]");
    read_json("{\"a\":{\"b\":1,\"c\":2},\"a\":{\"b\":3}}");
    expect("a.b", "3");
    expect("a.c", "none");
    read_json("{\"a\":{\"b\":1,\"b\":2,\"c\":1}}");
    expect("a.b", "2");
    expect("a.c", "1");
    read_json("{\"a\":{\"b\":1},\"a\":7}");
    expect("a.b", "none");
    expect("a", "7");
    read_json("{\"a\":7,\"\\u0061\":{\"b\":1}}"); /* the same name, escaped */
    expect("a.b", "1");
    expect("a", "tree {\"b\":1}");
    read_json("{\"l\":[1,2],\"l\":[3]}");
    expect("l[1]", "none");
}

static const struct {
    const char *text, *why;
} broken[] = {
    {"{\"a\":1", "cut off"},
    {"{\"a\":1}x", "something behind it"},
    {"{\"a\":1,}", "a comma too many"},
    {"{\"a\":1,\"b\":[1,2}", "brackets that don't match"},
    {"{\"a\":1,\"b\":\"\xff\"}", "no UTF-8, in what nobody wants"},
    {"{\"a\":1,\"b\":\"\\ud800\"}", "half of a surrogate pair"},
    {"{\"a\":1,\"b\":{\"c\":01}}", "a zero in front"},
    {"{\"a\":1 \"b\":2}", "a comma too few"},
    {"{'a':1}", "single quotes"},
    {"{a:1}", "no quotes"},
    {"\xef\xbb\xbf{\"a\":1}", "a byte order mark"},
    {"[{\"a\":1}", "a list without end"},
    {" ", "blanks"},
};

static void a_mistake_anywhere_leaves_no_field(void **state)
{
    (void)state;
    want("a");
    want("data");
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        print_message("%s: %s\n", broken[i].text, broken[i].why);
        read_json(broken[i].text);
        expect("a", "none");
        assert_int_equal(values[1].kind, MP_FIELD_STRING); /* its bytes */
        assert_true(mp_slice_eq(values[1].text, payload));
    }
}

static void depth_ends_where_that_of_json_ends(void **state)
{
    char text[3 * (MP_JSON_DEPTH_MAX + 1) + 8];
    size_t at;

    (void)state;
    want("[0]"); /* no such path: a name comes first */
    mp_fields_init(&fields);
    want("data[0][0]");
    for (int depth = MP_JSON_DEPTH_MAX; depth <= MP_JSON_DEPTH_MAX + 1;
         depth++) {
        at = 0;
        for (int i = 0; i < depth; i++)
            text[at++] = '[';
        for (int i = 0; i < depth; i++)
            text[at++] = ']';
        text[at] = '\0';
        read_json(text);
        assert_int_equal(values[0].kind, depth <= MP_JSON_DEPTH_MAX
                                             ? MP_FIELD_TREE
                                             : MP_FIELD_NONE);
    }
}

static void payloads_that_are_lists_or_scalars_have_their_paths(void **state)
{
    (void)state;
    want("data[1].x");
    want("data");
    want("x");
    read_json("[0,{\"x\":5}]");
    expect("data[1].x", "5");
    expect("x", "none");
    read_json("21.5");
    expect("data", "21.5");
    expect("data[1].x", "none");
    read_json("");
    expect("data", "''");
}

static void numbers_keep_their_value(void **state)
{
    (void)state;
    want("n");
    read_json("{\"n\":9007199254740993}");
    expect("n", "9007199254740993");
    read_json("{\"n\":-9223372036854775808}");
    expect("n", "-9223372036854775808");
    read_json("{\"n\":9223372036854775808}");
    expect("n", "9.2233720368547758e+18");
    read_json("{\"n\":1e999}"); /* there, but nothing compares with it */
    expect("n", "tree 1e999");
}

static void the_content_type_counts_when_the_format_is_auto(void **state)
{
    static const struct {
        const char *type;
        enum mp_format format;
        bool found;
    } rows[] = {
        {NULL, MP_FORMAT_AUTO, true},
        {"application/json", MP_FORMAT_AUTO, true},
        {"application/vnd.acme+json; charset=utf-8", MP_FORMAT_AUTO, true},
        {"text/plain", MP_FORMAT_AUTO, false},
        {"TEXT/PLAIN", MP_FORMAT_AUTO, false},
        {"application/octet-stream", MP_FORMAT_AUTO, false},
        {"application/cbor", MP_FORMAT_AUTO, false},
        {"text/plain", MP_FORMAT_JSON, true},
        {"application/json", MP_FORMAT_TEXT, false},
        {NULL, MP_FORMAT_BYTES, false},
        {"application/json;x=+cbor", MP_FORMAT_AUTO, true},
    };

    (void)state;
    want("a");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("%s\n", rows[i].type ? rows[i].type : "no type");
        read_as(MP_S("{\"a\":1}"), rows[i].type, rows[i].format);
        assert_int_equal(values[0].kind == MP_FIELD_NUMBER, rows[i].found);
    }
}

/* ---- CBOR ---- */

#define CBOR(text)                                                             \
    {                                                                          \
        (text), sizeof(text) - 1                                               \
    }

static const struct {
    struct mp_slice in;
    const char *a, *why;
} cbor_rows[] = {
    /* RFC 8949, appendix A, as the value of a */
    {CBOR("\xa1\x61"
          "a\x18\x64"),
     "100", "an integer"},
    {CBOR("\xa1\x61"
          "a\x1b\x00\x00\x00\xe8\xd4\xa5\x10\x00"),
     "1000000000000", "a large one"},
    {CBOR("\xa1\x61"
          "a\x1b\xff\xff\xff\xff\xff\xff\xff\xff"),
     "1.8446744073709552e+19", "beyond an int64"},
    {CBOR("\xa1\x61"
          "a\x39\x03\xe7"),
     "-1000", "a negative one"},
    {CBOR("\xa1\x61"
          "a\x3b\x7f\xff\xff\xff\xff\xff\xff\xff"),
     "-9223372036854775808", "the least int64"},
    {CBOR("\xa1\x61"
          "a\xf9\x3e\x00"),
     "1.5", "half precision"},
    {CBOR("\xa1\x61"
          "a\xf9\x00\x01"),
     "5.9604644775390625e-08", "the least of it"},
    {CBOR("\xa1\x61"
          "a\xf9\xfc\x00"),
     "-inf", "infinity"},
    {CBOR("\xa1\x61"
          "a\xfa\x47\xc3\x50\x00"),
     "100000", "single precision"},
    {CBOR("\xa1\x61"
          "a\xfb\xc0\x10\x66\x66\x66\x66\x66\x66"),
     "-4.0999999999999996", "double precision"},
    {CBOR("\xa1\x61"
          "a\xf5"),
     "true", "a switch"},
    {CBOR("\xa1\x61"
          "a\xf4"),
     "false", "and off"},
    {CBOR("\xa1\x61"
          "a\xf6"),
     "null", "null"},
    {CBOR("\xa1\x61"
          "a\xf7"),
     "null", "undefined is as good as null"},
    {CBOR("\xa1\x61"
          "a\xf8\xff"),
     "tree \xf8\xff", "a simple value that nobody knows"},
    {CBOR("\xa1\x61"
          "a\x62ok"),
     "'ok'", "a text"},
    {CBOR("\xa1\x61"
          "a\x42ok"),
     "tree \x42ok", "a byte string"},
    {CBOR("\xa1\x61"
          "a\x7f\x61o\x61k\xff"),
     "tree \x7f\x61o\x61k\xff", "a text in chunks"},
    {CBOR("\xa1\x61"
          "a\x82\x01\xa0"),
     "tree \x82\x01\xa0", "a list"},
    {CBOR("\xa1\x61"
          "a\xc1\x1a\x51\x4b\x67\xb0"),
     "1363896240", "a tag is passed over"},
    {CBOR("\xbf\x61"
          "a\x9f\x01\xff\x61"
          "a\x02\xff"),
     "2", "an endless map; the last of doubled names"},
    {CBOR("\xa2\x01\x02\x61"
          "a\x03"),
     "3", "other names may be numbers"},
    {CBOR("\xa2\x42ok\x02\x61"
          "a\x03"),
     "3", "or byte strings"},
    /* ---- what is none ---- */
    {CBOR(""), "none", "nothing"},
    {CBOR("\xa1\x61"
          "a"),
     "none", "cut off"},
    {CBOR("\xa1\x61"
          "a\x18"),
     "none", "cut off in a number"},
    {CBOR("\xa1\x61"
          "a\x01\x00"),
     "none", "something behind it"},
    {CBOR("\xa2\x61"
          "a\x01"),
     "none", "a member too few"},
    {CBOR("\xbf\x61"
          "a\x01"),
     "none", "an endless map without end"},
    {CBOR("\xbf\x61"
          "a\xff"),
     "none", "a name without a value"},
    {CBOR("\xa1\x61"
          "a\xff"),
     "none", "a break where none may be"},
    {CBOR("\xa1\x61"
          "a\x1c"),
     "none", "a reserved length"},
    {CBOR("\xa1\x61"
          "a\x1f"),
     "none", "an endless integer"},
    {CBOR("\xa1\x61"
          "a\xf8\x10"),
     "none", "a short simple value in two bytes"},
    {CBOR("\xa1\x61"
          "a\x62\xc3\x28"),
     "none", "a text that is no UTF-8"},
    {CBOR("\xa1\x61"
          "a\x7f\x42ok\xff"),
     "none", "a text of byte chunks"},
    {CBOR("\xa1\x61"
          "a\x7f\x7f\xff\xff"),
     "none", "endless chunks"},
    {CBOR("\xa1\x61"
          "a\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
     "none", "a list longer than the payload"},
    {CBOR("\xbb\x7f\xff\xff\xff\xff\xff\xff\xff\x61"
          "a\x01"),
     "none", "a map longer than the payload"},
    {CBOR("\xa1\x61"
          "a\x7b\xff\xff\xff\xff\xff\xff\xff\xff"),
     "none", "a text longer than the payload"},
    {CBOR("\xa2\x80\x01\x61"
          "a\x03"),
     "none", "a list as a name"},
    {CBOR("\xc1\xc1\xc1"), "none", "tags of nothing"},
};

static void cbor_is_read_as_strictly(void **state)
{
    (void)state;
    want("a");
    for (size_t i = 0; i < ARRAY_LEN(cbor_rows); i++) {
        print_message("%s\n", cbor_rows[i].why);
        read_as(cbor_rows[i].in, "application/cbor", MP_FORMAT_AUTO);
        expect("a", cbor_rows[i].a);
        read_as(cbor_rows[i].in, NULL, MP_FORMAT_CBOR);
        expect("a", cbor_rows[i].a);
    }
}

static void cbor_has_places_and_numbered_members(void **state)
{
    (void)state;
    want("a[1][3]");
    want("data");
    read_as(mp_slice("\xa1\x61"
                     "a\x82\x00\xa2\x03\x09\x20\x08",
                     10),
            "application/vnd.acme+cbor", MP_FORMAT_AUTO);
    expect("a[1][3]", "9");
    read_as(MP_S("\x18\x2a"), NULL, MP_FORMAT_CBOR);
    expect("data", "42");
}

static void cbor_is_as_deep_as_json(void **state)
{
    char text[MP_JSON_DEPTH_MAX + 2];

    (void)state;
    want("data[0]");
    for (size_t depth = MP_JSON_DEPTH_MAX; depth <= MP_JSON_DEPTH_MAX + 1;
         depth++) {
        memset(text, 0x81, depth);
        text[depth] = 0;
        read_as(mp_slice(text, depth + 1), NULL, MP_FORMAT_CBOR);
        assert_int_equal(values[0].kind == MP_FIELD_NONE,
                         depth > MP_JSON_DEPTH_MAX);
    }
}

static void nan_and_infinity_come_only_by_cbor(void **state)
{
    static const struct mp_field_value one = {
        .kind = MP_FIELD_NUMBER, .is_int = true, .integer = 1, .real = 1};
    char text[64];

    (void)state;
    want("a[0]");
    want("a[1]");
    read_as(MP_S("\xa1\x61"
                 "a\x82\xf9\x7e\x00\xf9\x7c\x00"),
            NULL, MP_FORMAT_CBOR);
    expect("a[1]", "inf");
    assert_int_equal(mp_field_compare(&values[0], &one), MP_FIELD_UNEQUAL);
    assert_int_equal(mp_field_compare(&one, &values[0]), MP_FIELD_UNEQUAL);
    assert_int_equal(mp_field_compare(&values[0], &values[0]),
                     MP_FIELD_UNEQUAL);
    assert_int_equal(mp_field_compare(&values[0], &values[1]),
                     MP_FIELD_UNEQUAL);
    assert_int_equal(mp_field_compare(&values[1], &one), MP_FIELD_GREATER);
    assert_int_equal(mp_field_compare(&one, &values[1]), MP_FIELD_LESS);
    assert_int_equal(mp_field_text(&values[0], text, sizeof text), MP_ENONE);
    assert_int_equal(mp_field_text(&values[1], text, sizeof text), MP_ENONE);
}

/* ---- SenML ---- */

static const char pack[] =
    "[{\"bn\":\"urn:dev:1:\",\"bv\":20,\"n\":\"temp\",\"u\":\"Cel\",\"v\":3.5},"
    "{\"n\":\"label\",\"vs\":\"caf\\u00e9\"},{\"vb\":true,\"n\":\"op\\u0065n\"}"
    ","
    "{\"n\":\"temp\",\"v\":4,\"t\":5},{\"n\":\"none\"},"
    "{\"bn\":\"a.b\",\"v\":1},{\"bn\":\"\",\"n\":\"hum\",\"v\":2.5}]";

static void senml_fields_are_the_names_of_records(void **state)
{
    (void)state;
    want("data[\"urn:dev:1:temp\"]");
    want("data['urn:dev:1:label']");
    want("data['urn:dev:1:open']");
    want("data['urn:dev:1:none']");
    want("a.b");
    want("hum");
    want("data");
    want("temp");
    for (int i = 0; i < 2; i++) {
        if (i)
            read_as(MP_S(pack), "application/json", MP_FORMAT_SENML);
        else
            read_as(MP_S(pack), "application/senml+json", MP_FORMAT_AUTO);
        expect("data[\"urn:dev:1:temp\"]", "24"); /* the last; base added */
        expect("data['urn:dev:1:label']", "'caf\\u00e9'");
        expect("data['urn:dev:1:open']", "true");
        expect("data['urn:dev:1:none']", "none");
        expect("a.b", "21");
        expect("hum", "22.5");
        expect("temp", "none");
        assert_int_equal(values[6].kind, MP_FIELD_TREE);
    }
}

static void senml_in_cbor_has_numbers_for_labels(void **state)
{
    (void)state;
    want("x1");
    want("x2");
    /* [{-2: "x", 0: "1", 2: 7}, {0: "2", 3: "on"}] */
    read_as(MP_S("\x82\xa3\x21\x61x\x00\x61"
                 "1\x02\x07\xa2\x00\x61"
                 "2\x03\x62on"),
            "application/senml+cbor", MP_FORMAT_AUTO);
    expect("x1", "7");
    expect("x2", "'on'");
}

static const struct {
    const char *text, *why;
} no_packs[] = {
    {"{\"n\":\"a\",\"v\":1}", "a record without a list"},
    {"[{\"n\":\"a\",\"v\":1},2]", "a number among the records"},
    {"[{\"n\":\"a\",\"v\":\"1\"}]", "a text as a number"},
    {"[{\"n\":1,\"v\":1},{\"n\":\"a\",\"v\":1}]", "a number as a name"},
    {"[{\"n\":\"a\",\"v\":1}", "cut off"},
    {"[{\"n\":\"a\",\"v\":1", "cut off in a record"},
    {"[{\"n\":\"a\",\"v\":", "cut off in a member"},
    {"[{\"n\":\"a\",\"v\":1}] 1", "something behind it"},
    {"[{\"n\":\"a\",\"v\":1e999}]", "a number that no double holds"},
};

static void what_is_no_pack_has_no_fields(void **state)
{
    (void)state;
    want("a");
    read_as(MP_S("[{\"n\":\"a\",\"v\":1}]"), NULL, MP_FORMAT_SENML);
    expect("a", "1");
    for (size_t i = 0; i < ARRAY_LEN(no_packs); i++) {
        print_message("%s: %s\n", no_packs[i].text, no_packs[i].why);
        read_as(mp_slice_str(no_packs[i].text), NULL, MP_FORMAT_SENML);
        expect("a", "none");
    }
}

static void senml_names_may_be_of_any_length(void **state)
{
    struct mp_buf text;

    (void)state;
    want("a");
    mp_buf_init(&text, 1 << 16);
    for (int len = 511; len <= 514; len++) {
        mp_buf_reset(&text);
        mp_buf_printf(&text, "[{\"n\":\"%0*d\",\"v\":1},{\"n\":\"a\",\"v\":2}]",
                      len, 7);
        read_as(mp_buf_bytes(&text), NULL, MP_FORMAT_SENML);
        expect("a", "2");
    }
    mp_buf_fini(&text);
}

/* ---- bounds of what is wanted ---- */

static void paths_are_bounded(void **state)
{
    char text[256];

    (void)state;
    memset(text, 'a', sizeof text);
    text[MP_FIELD_PATH_MAX] = '\0';
    assert_int_equal(want(text), 0);
    text[MP_FIELD_PATH_MAX] = 'a';
    text[MP_FIELD_PATH_MAX + 1] = '\0';
    assert_int_equal(want(text), MP_EFULL);
    assert_string_equal(why.text, "column 1: a field of more than 128 bytes");
    assert_int_equal(want("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p"), 1);
    assert_int_equal(want("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q"), MP_EFULL);
    assert_int_equal(want("a[65535]"), 2);
    assert_int_equal(want("a[65536]"), MP_ERANGE);
    assert_int_equal(want("a[99999999999999999999]"), MP_ERANGE);
}

static void names_in_all_are_bounded(void **state)
{
    char text[64];
    int rc = 0, n = 0;

    (void)state;
    for (; n < MP_FIELDS_MAX && rc >= 0; n++) {
        snprintf(text, sizeof text, "f%d.a.b.c.d.e.f", n);
        rc = want(text);
    }
    assert_int_equal(rc, MP_EFULL);
    assert_string_equal(why.text,
                        "more than 64 names in all fields of one trigger");
    assert_int_equal(n, 10); /* nine of seven were taken */
    assert_int_equal(want("f0.a.b.c.x"), 9);
}

static void the_longest_paths_fit(void **state)
{
    char text[MP_FIELD_PATH_MAX + 1];

    (void)state;
    for (int i = 0; i < MP_FIELDS_MAX; i++) {
        memset(text, 'a' + i, MP_FIELD_PATH_MAX);
        text[MP_FIELD_PATH_MAX] = '\0';
        assert_int_equal(want(text), i);
    }
}

/* ---- templates ---- */

static int fill(const char *template, char out[MP_KEY_MAX + 1])
{
    static const struct mp_pair params[] = {{{"site", 4}, {"north", 5}},
                                            {{"device", 6}, {"k2", 2}},
                                            {{"none", 4}, {"", 0}}};
    static struct mp_template t;
    int len;

    mp_fields_init(&fields);
    if (mp_template_parse(&t, mp_slice_str(template), &fields, &why))
        fail_msg("%s", why.text);
    read_json("{\"dev\":{\"id\":17,\"f\":1.50,\"s\":\"a\\u002fb\",\"b\":true,"
              "\"n\":null},\"long\":\"12345678901234567890123456789012345678901"
              "234567890123456789012345678901234567890123456789012345678901234"
              "567890123456789012345678\"}");
    len = mp_template_fill(&t, values, params, ARRAY_LEN(params), out);
    if (len >= 0)
        out[len] = '\0';
    return len;
}

static void a_template_is_filled_in_from_params_and_payload(void **state)
{
    char out[MP_KEY_MAX + 1];

    (void)state;
    assert_int_equal(fill("{site}/{device}", out), 8);
    assert_string_equal(out, "north/k2");
    fill("x{data.dev.id}-{data.dev.f}-{data.dev.s}-{data.dev.b}", out);
    assert_string_equal(out, "x17-1.5-a/b-true");
    fill("{data[\"dev\"].id}", out);
    assert_string_equal(out, "17");
    assert_int_equal(fill("{data.long}", out), MP_KEY_MAX);
    assert_int_equal(fill("{data.long}{site}", out), MP_ERANGE);
    assert_int_equal(fill("{data.long}{data.dev.s}", out), MP_ERANGE);
    assert_int_equal(fill("{data.long}{data.dev.id}", out), MP_ERANGE);
    assert_int_equal(fill("{data.long}{data.dev.b}", out), MP_ERANGE);
    assert_int_equal(fill("{none}", out), MP_ERANGE);
    assert_int_equal(fill("{gone}", out), MP_ENONE);
    assert_int_equal(fill("{site}{data.gone}", out), MP_ENONE);
    assert_int_equal(fill("{data.dev.n}", out), MP_ENONE);
    assert_int_equal(fill("{data.dev}", out), MP_ENONE);
}

static void data_alone_is_the_payload_in_a_template(void **state)
{
    static struct mp_template t;
    char out[MP_KEY_MAX + 1];

    (void)state;
    assert_int_equal(
        mp_template_parse(&t, MP_S("{data}/{database}"), &fields, &why), 0);
    assert_true(mp_slice_is(mp_template_param(&t, 0), "database"));
    assert_null(mp_template_param(&t, 1).ptr);
    assert_int_equal(mp_template_parse(&t, MP_S("x{data}"), &fields, &why), 0);
    read_json("\"k2\"");
    assert_int_equal(mp_template_fill(&t, values, NULL, 0, out), 3);
    assert_memory_equal(out, "xk2", 3);
}

static const struct {
    const char *text, *said;
} bad_templates[] = {
    {"", "a template is empty"},
    {"{", "column 2: expected a name, as in {device}"},
    {"{}", "column 2: expected a name, as in {device}"},
    {"{a", "column 3: expected }"},
    {"{a b}", "column 3: expected }"},
    {"a}", "column 2: } without {"},
    {"{dev.id}", "column 2: a field of the payload is written {data.dev...}"},
    {"{data.}", "column 7: expected a name after the dot; other names stand in "
                "quotes, as in a[\"b-c\"]"},
    {"{a}{b}{c}{d}{e}{f}{g}{h}{i}{j}{k}{l}{m}{n}{o}{p}{q}",
     "column 50: a template of more than 16 parts"},
};

static void a_bad_template_is_told(void **state)
{
    static struct mp_template t;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_templates); i++) {
        struct mp_slice in = t_exact(mp_slice_str(bad_templates[i].text));

        print_message("%s\n", bad_templates[i].text);
        assert_true(mp_template_parse(&t, in, &fields, &why) < 0);
        assert_string_equal(why.text, bad_templates[i].said);
        t_exact_free(in);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_pass_finds_all_that_is_wanted),
        TEST(of_doubled_names_the_last_counts_as_a_whole),
        TEST(a_mistake_anywhere_leaves_no_field),
        TEST(depth_ends_where_that_of_json_ends),
        TEST(payloads_that_are_lists_or_scalars_have_their_paths),
        TEST(numbers_keep_their_value),
        TEST(the_content_type_counts_when_the_format_is_auto),
        TEST(cbor_is_read_as_strictly),
        TEST(cbor_has_places_and_numbered_members),
        TEST(cbor_is_as_deep_as_json),
        TEST(nan_and_infinity_come_only_by_cbor),
        TEST(senml_fields_are_the_names_of_records),
        TEST(senml_in_cbor_has_numbers_for_labels),
        TEST(what_is_no_pack_has_no_fields),
        TEST(senml_names_may_be_of_any_length),
        TEST(paths_are_bounded),
        TEST(names_in_all_are_bounded),
        TEST(the_longest_paths_fit),
        TEST(a_template_is_filled_in_from_params_and_payload),
        TEST(data_alone_is_the_payload_in_a_template),
        TEST(a_bad_template_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
