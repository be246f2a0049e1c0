/*
 * test_trace.c - core/base/trace.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/trace.h"
#include "tests/unit/conf_kit.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
#define NO_TRACE "00000000000000000000000000000000"

static const struct {
    const char *text, *why;
    bool is;
} rows[] = {
    {"00-" TRACE "-" PARENT "-01", "the ordinary case", true},
    {"00-" TRACE "-" PARENT "-00", "not sampled is a trace, too", true},
    {"cc-" TRACE "-" PARENT "-01", "a version to come", true},
    {"cc-" TRACE "-" PARENT "-01-more", "which may have more", true},
    {"cc-" TRACE "-" PARENT "-01more", "behind a '-'", false},
    {"00-" TRACE "-" PARENT "-01-more", "this version has no more", false},
    {"ff-" TRACE "-" PARENT "-01", "never a version", false},
    {"00-" NO_TRACE "-" PARENT "-01", "no trace has that id", false},
    {"00-" TRACE "-0000000000000000-01", "nor a parent that one", false},
    {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
     "capitals are to be thrown away, says the standard", false},
    {"00_" TRACE "-" PARENT "-01", "no '-' behind the version", false},
    {"00-" TRACE "_" PARENT "-01", "nor behind the trace", false},
    {"00-" TRACE "-" PARENT "_01", "nor behind the parent", false},
    {"00-" TRACE "-" PARENT "-0", "cut", false},
    {"00-" TRACE "-" PARENT "-0 ", "a blank", false},
    {"", "nothing", false},
};

static void a_traceparent_is_told_from_other_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mp_slice in = t_exact(mp_slice_str(rows[i].text));

        print_message("%s: %s\n", rows[i].text, rows[i].why);
        assert_int_equal(mp_trace_is(in), rows[i].is);
        t_exact_free(in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_traceparent_is_told_from_other_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
