/*
 * test_expr.c - conditions: what they mean, what is said about wrong ones,
 * and where they end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/expr.h"
#include "tests/corpus/expr/rows.h"
#include "tests/unit/conf_kit.h"

static struct mp_expr *expr;
static struct mp_fields *fields;
static struct mp_why why;

static int setup(void **state)
{
    (void)state;
    expr = malloc(sizeof *expr);
    fields = malloc(sizeof *fields);
    mp_expr_init(expr);
    mp_fields_init(fields);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(expr);
    free(fields);
    return 0;
}

static void again(void)
{
    mp_expr_init(expr);
    mp_fields_init(fields);
}

static int add(const char *text)
{
    struct mp_slice in = t_exact(mp_slice_str(text));
    int rc = mp_expr_add(expr, in, fields, &why);

    t_exact_free(in);
    return rc;
}

static bool holds(struct mp_slice payload, enum mp_format format)
{
    struct mp_field_value values[MP_FIELDS_MAX];
    struct mp_slice data = t_exact(payload);
    bool yes;

    mp_fields_read(fields, data, mp_slice(NULL, 0), format, values);
    yes = mp_expr_run(expr, values, expr_params, ARRAY_LEN(expr_params));
    t_exact_free(data);
    return yes;
}

/* Does the only condition hold for a payload of JSON or text? */
static bool ask(const char *text, const char *payload, enum mp_format format)
{
    again();
    assert_int_equal(add(text), 0);
    return holds(mp_slice_str(payload), format);
}

static void conditions_mean_what_the_manual_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(expr_rows); i++) {
        print_message("%s: %s\n", expr_rows[i].in, expr_rows[i].why);
        assert_int_equal(ask(expr_rows[i].in, EXPR_PAYLOAD, MP_FORMAT_AUTO),
                         expr_rows[i].holds);
    }
}

static void a_mistake_is_told_with_its_column_and_a_cure(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(expr_mistakes); i++) {
        struct mp_slice said;

        again();
        print_message("%s: %s\n", expr_mistakes[i].in, expr_mistakes[i].why);
        assert_true(add(expr_mistakes[i].in) < 0);
        print_message("    %s\n", why.text);
        said = mp_slice_str(expr_mistakes[i].said);
        assert_true(strlen(why.text) >= said.len);
        assert_memory_equal(why.text, said.ptr, said.len);
    }
}

static void data_is_the_payload_alone(void **state)
{
    (void)state;
    assert_true(ask("data > 20", "21.5", MP_FORMAT_AUTO));
    assert_true(ask("data > 20", " 21.5\n", MP_FORMAT_AUTO));
    assert_true(ask("data == 'on'", "\"on\"", MP_FORMAT_AUTO));
    assert_true(ask("data == 'on'", "on", MP_FORMAT_AUTO));
    assert_true(ask("data", "true", MP_FORMAT_AUTO));
    assert_true(ask("data == null", "null", MP_FORMAT_AUTO));
    assert_true(ask("data == ''", "", MP_FORMAT_AUTO));
    assert_true(ask("data == '{\"temp\":'", "{\"temp\":", MP_FORMAT_AUTO));
    assert_true(ask("data > 20", "21.5", MP_FORMAT_TEXT));
    assert_true(ask("data == 'true'", "true", MP_FORMAT_TEXT));
    assert_true(ask("data == '21.5 C'", "21.5 C", MP_FORMAT_TEXT));
    assert_true(ask("data == '21.5'", "21.5", MP_FORMAT_BYTES));
    assert_false(ask("data > 20", "21.5", MP_FORMAT_BYTES));
}

static void a_broken_payload_has_no_fields(void **state)
{
    (void)state;
    assert_true(ask("a == 1", "{\"a\":1,\"b\":2}", MP_FORMAT_AUTO));
    assert_false(ask("a == 1", "{\"a\":1,\"b\":2", MP_FORMAT_AUTO));
    assert_false(ask("a == 1", "{\"a\":1,\"b\":02}", MP_FORMAT_AUTO));
    assert_false(ask("exists(a)", "{\"a\":1}}", MP_FORMAT_AUTO));
    assert_false(ask("a == 1", "{\"a\":1}", MP_FORMAT_TEXT));
}

static void all_of_several_filters_must_hold(void **state)
{
    static const struct {
        const char *first, *second;
        bool holds;
    } rows[] = {
        {"true", "true", true},
        {"true", "false", false},
        {"false", "true", false},
        {"false or true", "false or true", true},
        {"false and true", "true", false},
        {"true or false", "false", false},
        {"true and true", "not false", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        again();
        assert_int_equal(add(rows[i].first), 0);
        assert_int_equal(add(rows[i].second), 0);
        assert_int_equal(add("true"), 0);
        print_message("%s; %s\n", rows[i].first, rows[i].second);
        assert_int_equal(holds(MP_S("{}"), MP_FORMAT_AUTO), rows[i].holds);
    }
    again();
    assert_true(holds(MP_S("{}"), MP_FORMAT_AUTO)); /* none always holds */
}

static void the_length_is_bounded(void **state)
{
    char text[MP_EXPR_BYTES_MAX + 2];

    (void)state;
    memset(text, ' ', sizeof text);
    memcpy(text, "true", 4);
    text[MP_EXPR_BYTES_MAX] = '\0';
    assert_int_equal(add(text), 0);
    text[MP_EXPR_BYTES_MAX] = ' ';
    text[MP_EXPR_BYTES_MAX + 1] = '\0';
    again();
    assert_int_equal(add(text), MP_EFULL);
    assert_string_equal(why.text, "longer than 1000 bytes");
}

/* n times part, then end. */
static int add_many(unsigned n, const char *part, const char *end)
{
    char text[MP_EXPR_BYTES_MAX + 1];
    size_t len = 0;

    for (; n > 0; n--)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s", part);
    snprintf(text + len, sizeof text - len, "%s", end);
    again();
    return add(text);
}

static void values_and_operators_are_bounded(void **state)
{
    (void)state;
    /* two of each: a value and `is it true`, and the `or` between */
    assert_int_equal(add_many(20, "a or ", "a"), 0);
    assert_int_equal(add_many(21, "a or ", "a"), MP_EFULL);
    assert_string_equal(why.text, "column 107: more than 64 values and "
                                  "operators in all");
    /* the values of in, and in */
    assert_int_equal(add("a in (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
                         "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
                         "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)"),
                     MP_EFULL);
}

static void brackets_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(add_many(MP_EXPR_DEPTH_MAX, "(", "a))))))))))))))))"), 0);
    assert_int_equal(add_many(MP_EXPR_DEPTH_MAX + 1, "(", "a"), MP_EFULL);
    assert_string_equal(why.text, "column 17: more than 16 ( and not within "
                                  "each other");
    assert_int_equal(add_many(MP_EXPR_DEPTH_MAX, "not ", "a"), 0);
    assert_int_equal(add_many(MP_EXPR_DEPTH_MAX + 1, "not ", "a"), MP_EFULL);
    again();
    assert_int_equal(add("(a) and (a) and (a) and (a) and (a) and (a) and (a) "
                         "and (a) and (a) and (a) and (a) and (a) and (a) and "
                         "(a) and (a) and (a) and (a)"),
                     0); /* side by side is not deep */
}

static void different_fields_are_bounded(void **state)
{
    char text[16];

    (void)state;
    for (int i = 0; i < MP_FIELDS_MAX; i++) {
        snprintf(text, sizeof text, "f%d", i);
        assert_int_equal(add(text), 0);
    }
    assert_int_equal(add("f0 or f15"), 0); /* known ones cost nothing */
    assert_int_equal(add("f16"), MP_EFULL);
    assert_string_equal(why.text,
                        "more than 16 different fields in one trigger");
}

static void its_params_can_be_listed(void **state)
{
    (void)state;
    assert_int_equal(add("{device} == 'x' or a in ({floor}, 'b')"), 0);
    assert_true(mp_slice_is(mp_expr_param(expr, 0), "device"));
    assert_true(mp_slice_is(mp_expr_param(expr, 1), "floor"));
    assert_null(mp_expr_param(expr, 2).ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(conditions_mean_what_the_manual_says,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_mistake_is_told_with_its_column_and_a_cure, setup, teardown),
        cmocka_unit_test_setup_teardown(data_is_the_payload_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_broken_payload_has_no_fields, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(all_of_several_filters_must_hold, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_length_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(values_and_operators_are_bounded, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(brackets_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(different_fields_are_bounded, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(its_params_can_be_listed, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
