/*
 * test_problem.c - error bodies: JSON whatever the sentence holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/json.h"
#include "core/problem.h"

static void expect(const struct mp_problem *p, const char *text)
{
    struct mp_buf out;

    mp_buf_init(&out, 1 << 20);
    mp_problem_put(&out, p);
    mp_buf_put(&out, "", 1);
    assert_string_equal(out.ptr, text);
    mp_buf_fini(&out);
}

static void a_problem_has_the_name_of_its_status(void **state)
{
    (void)state;
    expect(&(struct mp_problem){.status = 404},
           "{\"title\":\"Not Found\",\"status\":404}\n");
    expect(&(struct mp_problem){.status = 499, .detail = MP_S("no")},
           "{\"title\":\"Client Error\",\"status\":499,\"detail\":\"no\"}\n");
    expect(&(struct mp_problem){.status = 599},
           "{\"title\":\"Server Error\",\"status\":599}\n");
    expect(&(struct mp_problem){.status = 200},
           "{\"title\":\"OK\",\"status\":200}\n");
}

static void a_problem_may_have_all_members(void **state)
{
    (void)state;
    expect(&(struct mp_problem){.status = 400,
                                .title = "Out of range",
                                .detail = MP_S("91 is too hot"),
                                .type = MP_S("urn:hot"),
                                .instance = MP_S("ev-1")},
           "{\"title\":\"Out of range\",\"status\":400,\"detail\":\"91 is too "
           "hot\",\"type\":\"urn:hot\",\"instance\":\"ev-1\"}\n");
}

static void what_a_sentence_holds_is_no_markup_and_no_json(void **state)
{
    (void)state;
    expect(&(struct mp_problem){.status = 400,
                                .detail = MP_S("<b>&\"\\\n\xff\x01</b>")},
           "{\"title\":\"Bad Request\",\"status\":400,\"detail\":"
           "\"\\u003cb\\u003e\\u0026\\\"\\\\\\n\xef\xbf\xbd\\u0001"
           "\\u003c/b\\u003e\"}\n");
}

static void a_long_sentence_is_cut_between_characters(void **state)
{
    char text[2 * MP_PROBLEM_DETAIL];
    struct mp_buf out;
    struct mp_json json;
    struct mp_json_token t;
    struct mp_why why;

    (void)state;
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    text[0] = 'x'; /* and a byte that is no text */
    mp_buf_init(&out, 1 << 20);
    mp_problem_put(&out,
                   &(struct mp_problem){.status = 400,
                                        .detail = mp_slice(text, sizeof text)});
    assert_in_range(out.len, MP_PROBLEM_DETAIL, MP_PROBLEM_DETAIL + 100);
    mp_json_init(&json, mp_buf_bytes(&out));
    do
        assert_int_equal(mp_json_next(&json, &t, &why), 0);
    while (t.kind != MP_JSON_END);
    mp_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_problem_has_the_name_of_its_status),
        cmocka_unit_test(a_problem_may_have_all_members),
        cmocka_unit_test(what_a_sentence_holds_is_no_markup_and_no_json),
        cmocka_unit_test(a_long_sentence_is_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
