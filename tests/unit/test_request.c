/*
 * test_request.c - core/request.h: paths, words and values that people type.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/request.h"
#include "tests/unit/conf_kit.h"

static const struct {
    const char *method, *target, *why;
    int rc;
    enum mp_asked what;
    const char *function, *value, *key, *rest; /* prefix or after */
    int64_t id;
} rows[] = {
    {"GET", "/healthz", "the shortest", 0, MP_ASKED_HEALTH, NULL, NULL, NULL,
     NULL, 0},
    {"GET", "/v1/functions/over-heat/state?key=kiln-2&prefix=a",
     "the ordinary case", 0, MP_ASKED_STATE, "over-heat", NULL, "kiln-2", "a",
     0},
    {"GET", "/v1/functions/f/state/a%2Fb%25?key=x%26y",
     "an encoded separator is data", 0, MP_ASKED_STATE_GET, "f", "a/b%", "x&y",
     NULL, 0},
    {"PUT", "/v1/functions/f/state/caf%C3%A9", "names are UTF-8", 0,
     MP_ASKED_STATE_PUT, "f", "caf\xc3\xa9", NULL, NULL, 0},
    {"DELETE", "/v1/functions/f/state/n?key=", "an empty key is a key", 0,
     MP_ASKED_STATE_DELETE, "f", "n", "", NULL, 0},
    {"DELETE", "/v1/functions/f/state?key=k", "all of an actor", 0,
     MP_ASKED_STATE_CLEAR, "f", NULL, "k", NULL, 0},
    {"GET", "/v1/alarms?function=f", "alarms are no rows of the queue", 0,
     MP_ASKED_ALARMS, "f", NULL, NULL, NULL, 0},
    {"GET", "/v1/functions/f/actors?after=b&limit=5", "pages by name", 0,
     MP_ASKED_ACTORS, "f", NULL, NULL, "b", 0},
    {"POST", "/v1/functions/f/send?wait=1&&key=k", "an empty parameter", 0,
     MP_ASKED_SEND, "f", NULL, "k", NULL, 0},
    {"GET", "/v1/dead-letters/9223372036854775807", "the largest id", 0,
     MP_ASKED_DEAD_GET, NULL, NULL, NULL, NULL, INT64_MAX},
    {"GET", "/v1/dead-letters/9223372036854775808", "one past it", MP_EPARSE, 0,
     NULL, NULL, NULL, NULL, 0},
    {"POST", "/v1/dead-letters/replay?function=f", "no id, a word", 0,
     MP_ASKED_DEAD_REPLAY_ALL, "f", NULL, NULL, NULL, 0},
    {"POST", "/v1/dead-letters/7/replay", "of one", 0, MP_ASKED_DEAD_REPLAY,
     NULL, NULL, NULL, NULL, 7},
    {"DELETE", "/v1/queue/12", "one row", 0, MP_ASKED_QUEUE_DROP, NULL, NULL,
     NULL, NULL, 12},
    {"PUT", "/v1/queue/12", "known, not by this method", MP_EDENY, 0, NULL,
     NULL, NULL, NULL, 0},
    {"DELETE", "/v1/queue/12x", "an id is a number", MP_EPARSE, 0, NULL, NULL,
     NULL, NULL, 0},
    {"GET", "/v1/nothing", "unknown", MP_ENONE, 0, NULL, NULL, NULL, NULL, 0},
    {"GET", "/v1/functions/f/state/a/b", "a slash too many", MP_ENONE, 0, NULL,
     NULL, NULL, NULL, 0},
    {"GET", "/v1/functions/f/state/a/b/c/d/e/f", "many too many", MP_ENONE, 0,
     NULL, NULL, NULL, NULL, 0},
    {"GET", "v1/queue", "no slash at the front", MP_EPARSE, 0, NULL, NULL, NULL,
     NULL, 0},
    {"GET", "", "nothing", MP_EPARSE, 0, NULL, NULL, NULL, NULL, 0},
    {"GET", "/v1/functions/../state", "not a function's name", MP_EPARSE, 0,
     NULL, NULL, NULL, NULL, 0},
    {"GET", "/v1/functions/f/state?key=%", "half an escape", MP_EPARSE, 0, NULL,
     NULL, NULL, NULL, 0},
    {"GET", "/v1/functions/f/state?key=%4", "half an escape", MP_EPARSE, 0,
     NULL, NULL, NULL, NULL, 0},
    {"GET", "/v1/functions/f/state?key=%zz", "no hex", MP_EPARSE, 0, NULL, NULL,
     NULL, NULL, 0},
    {"GET", "/v1/functions/f/state?key=%00", "a NUL is nobody's name",
     MP_EPARSE, 0, NULL, NULL, NULL, NULL, 0},
    {"GET", "/v1/functions/f/state?key=%ff", "nor is what isn't text",
     MP_EPARSE, 0, NULL, NULL, NULL, NULL, 0},
    {"GET", "/v1/queue?limit=1001", "past a page", MP_EPARSE, 0, NULL, NULL,
     NULL, NULL, 0},
    {"GET", "/v1/queue?limit=", "no number", MP_EPARSE, 0, NULL, NULL, NULL,
     NULL, 0},
    {"GET", "/v1/queue?x=1", "a typing error is told", MP_EPARSE, 0, NULL, NULL,
     NULL, NULL, 0},
};

static void is(struct mp_slice got, const char *want)
{
    if (want)
        assert_true(got.ptr && mp_slice_is(got, want));
    else
        assert_true(!got.ptr || !got.len);
}

static void a_target_is_told_apart_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mp_slice target = t_exact(mp_slice_str(rows[i].target));
        struct mp_request r;
        struct mp_why why = {""};
        int rc =
            mp_request_parse(&r, mp_slice_str(rows[i].method), target, &why);

        print_message("%s: %s\n", rows[i].target, rows[i].why);
        assert_int_equal(rc, rows[i].rc);
        if (rc) {
            assert_true(why.text[0] != '\0');
        } else {
            assert_int_equal(r.what, rows[i].what);
            is(r.function, rows[i].function);
            is(r.value, rows[i].value);
            is(r.key, rows[i].key);
            assert_true(r.id == rows[i].id);
            if (rows[i].rest)
                assert_true(mp_slice_is(r.prefix, rows[i].rest) ||
                            mp_slice_is(r.after, rows[i].rest));
            mp_request_fini(&r);
        }
        t_exact_free(target);
    }
}

static void what_is_put_into_a_path_comes_out_of_it(void **state)
{
    static const char name[] = "a/b c%d?e&f=g+h#\xc3\xa9\"'";
    struct mp_request r;
    struct mp_buf b;
    struct mp_why why;

    (void)state;
    mp_buf_init(&b, 4096);
    mp_buf_printf(&b, "/v1/functions/f/state/");
    mp_request_put(&b, mp_slice_str(name));
    mp_buf_printf(&b, "?key=");
    mp_request_put(&b, mp_slice_str(name));
    assert_int_equal(mp_request_parse(&r, MP_S("GET"), mp_buf_bytes(&b), &why),
                     0);
    assert_true(mp_slice_is(r.value, name));
    assert_true(mp_slice_is(r.key, name));
    mp_request_fini(&r);
    mp_buf_fini(&b);
}

static void a_target_past_the_bound_is_refused(void **state)
{
    static char long_one[MP_TARGET_MAX + 2];
    struct mp_request r;
    struct mp_why why;

    (void)state;
    memset(long_one, 'a', sizeof long_one - 1);
    long_one[0] = '/';
    assert_int_equal(
        mp_request_parse(&r, MP_S("GET"), mp_slice_str(long_one), &why),
        MP_EPARSE);
}

static const struct {
    const char *json, *why;
    int rc;
    enum mp_value_kind kind;
    int64_t integer;
    double number;
    const char *text;
} values[] = {
    {"3", "an integer", 0, MP_VALUE_INTEGER, 3, 0, NULL},
    {" -9223372036854775808 ", "the least", 0, MP_VALUE_INTEGER, INT64_MIN, 0,
     NULL},
    {"3.0", "a float stays one", 0, MP_VALUE_FLOAT, 0, 3, NULL},
    {"1e2", "a float, too", 0, MP_VALUE_FLOAT, 0, 100, NULL},
    {"true", "", 0, MP_VALUE_BOOLEAN, 1, 0, NULL},
    {"false", "", 0, MP_VALUE_BOOLEAN, 0, 0, NULL},
    {"\"a\\n\\u00e9\"", "escapes mean what they mean", 0, MP_VALUE_STRING, 0, 0,
     "a\n\xc3\xa9"},
    {"\"\"", "an empty string is a value", 0, MP_VALUE_STRING, 0, 0, ""},
    {" {\"a\":[1]} ", "a table is its text", 0, MP_VALUE_TABLE, 0, 0,
     "{\"a\":[1]}"},
    {"[]", "an empty list", 0, MP_VALUE_TABLE, 0, 0, "[]"},
    {"{\"base64\":\"/w==\"}", "bytes that are no text, as they are shown", 0,
     MP_VALUE_STRING, 0, 0, "\xff"},
    {"{\"base64\":\"YQ==\"}", "text was never shown so: a table", 0,
     MP_VALUE_TABLE, 0, 0, "{\"base64\":\"YQ==\"}"},
    {"{\"base64\":\"/w==\",\"a\":1}", "more than that: a table", 0,
     MP_VALUE_TABLE, 0, 0, "{\"base64\":\"/w==\",\"a\":1}"},
    {"null", "removing is another request", MP_EPARSE, 0, 0, 0, NULL},
    {"", "nothing", MP_EPARSE, 0, 0, 0, NULL},
    {"on", "a word is no JSON", MP_EPARSE, 0, 0, 0, NULL},
    {"1 2", "two values", MP_EPARSE, 0, 0, 0, NULL},
    {"[1", "half a list", MP_EPARSE, 0, 0, 0, NULL},
    {"1e999", "past every number", MP_EPARSE, 0, 0, 0, NULL},
};

static void a_value_is_what_lua_would_call_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct mp_slice json = t_exact(mp_slice_str(values[i].json));
        struct mp_value v;
        struct mp_buf text;
        struct mp_why why;

        print_message("%s: %s\n", values[i].json, values[i].why);
        mp_buf_init(&text, 4096);
        assert_int_equal(mp_request_value(json, &v, &text, &why), values[i].rc);
        if (!values[i].rc) {
            assert_int_equal(v.kind, values[i].kind);
            assert_true(v.integer == values[i].integer);
            assert_true(v.number == values[i].number);
            if (values[i].text)
                assert_true(mp_slice_is(v.text, values[i].text));
        }
        mp_buf_fini(&text);
        t_exact_free(json);
    }
}

static void values_have_bounds(void **state)
{
    static char big[MP_STATE_VALUE_MAX + 1];
    struct mp_value v = {.kind = MP_VALUE_STRING,
                         .text = {big, MP_STATE_VALUE_MAX}};
    struct mp_slice name = {big, MP_STATE_NAME_MAX}, key = {big, MP_KEY_MAX};
    struct mp_why why;

    (void)state;
    memset(big, 'a', sizeof big);
    assert_int_equal(mp_request_check_value(key, name, &v, &why), 0);
    v.text.len++;
    assert_int_equal(mp_request_check_value(key, name, &v, &why), MP_EPARSE);
    v.text.len--;
    name.len++;
    assert_int_equal(mp_request_check_value(key, name, &v, &why), MP_EPARSE);
    name.len = 0;
    assert_int_equal(mp_request_check_value(key, name, &v, &why), MP_EPARSE);
    name.len = 1;
    key.len++;
    assert_int_equal(mp_request_check_value(key, name, &v, &why), MP_EPARSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_is_told_apart_or_refused),
        cmocka_unit_test(what_is_put_into_a_path_comes_out_of_it),
        cmocka_unit_test(a_target_past_the_bound_is_refused),
        cmocka_unit_test(a_value_is_what_lua_would_call_it),
        cmocka_unit_test(values_have_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
