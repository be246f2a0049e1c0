/*
 * test_outputs.c - what of an outcome is taken from a worker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/outputs.h"

static void a_result_past_output_bytes_is_refused(void **state)
{
    struct mp_function fn = {.outputs = 1, .output_bytes = 5};
    struct mp_outcome out = {
        .result_kind = MP_RESULT_TEXT,
        .result = MP_S("12345"),
        .effects = MP_S(""),
    };

    (void)state;
    assert_int_equal(mp_outputs_check(&fn, MP_S("p"), &out), 0);
    out.result = MP_S("123456");
    assert_int_equal(mp_outputs_check(&fn, MP_S("p"), &out), MP_EPARSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_past_output_bytes_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
