/*
 * test_endpoint.c - which pattern answers a request.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/endpoint.h"

enum { GET = 1 << MP_GET, PUT = 1 << MP_PUT, POST = 1 << MP_POST };

static struct {
    const char *text;
    unsigned methods;
} const given[] = {
    {"/{a...}", GET},     {"/rooms/{room}", GET | PUT},
    {"/rooms/hall", GET}, {"/rooms/{room}/set", PUT},
    {"/rooms/#", POST},   {"/rooms/{r}/{what}", GET},
    {"/", GET},           {"/{first}/hall", PUT},
};

enum { N = ARRAY_LEN(given) };

static struct mp_pattern patterns[N];
static struct mp_endpoint list[N];

static int make(void **state)
{
    struct mp_why why;

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(
            mp_pattern_parse(&patterns[i], mp_slice_str(given[i].text), &why),
            0);
        list[i] = (struct mp_endpoint){.kind = MP_TRIGGER_HTTP,
                                       .id = i + 1,
                                       .methods = given[i].methods,
                                       .pattern = &patterns[i]};
    }
    mp_endpoints_sort(list, N);
    return 0;
}

static int clear(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N; i++)
        mp_pattern_fini(&patterns[i]);
    return 0;
}

/* The pattern that answers; NULL: none, and *allowed says what is. */
static const char *who(enum mp_method method, const char *path,
                       unsigned *allowed)
{
    const struct mp_endpoint *e =
        mp_endpoint_find(list, N, method, mp_slice_str(path), allowed);

    return e ? e->pattern->text : NULL;
}

static void the_best_pattern_answers(void **state)
{
    unsigned allowed;

    (void)state;
    assert_string_equal(who(MP_GET, "/rooms/hall", &allowed), "/rooms/hall");
    assert_string_equal(who(MP_GET, "/rooms/x", &allowed), "/rooms/{room}");
    assert_string_equal(who(MP_PUT, "/rooms/x", &allowed), "/rooms/{room}");
    assert_string_equal(who(MP_PUT, "/rooms/x/set", &allowed),
                        "/rooms/{room}/set");
    assert_string_equal(who(MP_GET, "/rooms/x/set", &allowed),
                        "/rooms/{r}/{what}");
    assert_string_equal(who(MP_POST, "/rooms/x/y/z", &allowed), "/rooms/#");
    assert_string_equal(who(MP_GET, "/else/where", &allowed), "/{a...}");
    assert_string_equal(who(MP_GET, "/", &allowed), "/");
}

static void a_literal_from_the_left_counts_first(void **state)
{
    unsigned allowed;

    (void)state;
    assert_string_equal(who(MP_PUT, "/rooms/hall", &allowed), "/rooms/{room}");
    assert_string_equal(who(MP_PUT, "/attic/hall", &allowed), "/{first}/hall");
}

static void head_is_answered_by_who_answers_get(void **state)
{
    unsigned allowed;

    (void)state;
    assert_string_equal(who(MP_HEAD, "/rooms/hall", &allowed), "/rooms/hall");
}

static void what_is_there_for_other_methods_is_told(void **state)
{
    unsigned allowed;

    (void)state;
    assert_null(who(MP_DELETE, "/rooms/x", &allowed));
    assert_int_equal(allowed, GET | PUT | POST);
    assert_null(who(MP_METHODS, "/", &allowed));
    assert_int_equal(allowed, GET);
    assert_null(who(MP_GET, "no-slash", &allowed));
    assert_int_equal(allowed, 0);
}

static void equal_shapes_clash_unless_their_methods_differ(void **state)
{
    struct mp_pattern p, q;
    struct mp_why why;
    struct mp_endpoint a = {.pattern = &p, .methods = GET};
    struct mp_endpoint b = {.pattern = &q, .methods = GET | PUT};

    (void)state;
    assert_int_equal(mp_pattern_parse(&p, MP_S("/r/{a}"), &why), 0);
    assert_int_equal(mp_pattern_parse(&q, MP_S("/r/{b}"), &why), 0);
    assert_true(mp_endpoint_clashes(&a, &b));
    b.methods = PUT;
    assert_false(mp_endpoint_clashes(&a, &b));
    b.methods = GET;
    b.kind = MP_TRIGGER_HTTP;
    assert_false(mp_endpoint_clashes(&a, &b));
    mp_pattern_fini(&q);
    assert_int_equal(mp_pattern_parse(&q, MP_S("/r/{b...}"), &why), 0);
    b.kind = a.kind;
    assert_false(mp_endpoint_clashes(&a, &b));
    mp_pattern_fini(&p);
    mp_pattern_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_pattern_answers),
        cmocka_unit_test(a_literal_from_the_left_counts_first),
        cmocka_unit_test(head_is_answered_by_who_answers_get),
        cmocka_unit_test(what_is_there_for_other_methods_is_told),
        cmocka_unit_test(equal_shapes_clash_unless_their_methods_differ),
    };

    return cmocka_run_group_tests(tests, make, clear);
}
