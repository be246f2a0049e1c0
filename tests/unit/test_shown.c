/*
 * test_shown.c - cli/show.h: an outcome as people and programs read it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/show.h"
#include "core/base/clock.h"
#include "core/base/wire.h"

static struct mp_buf effects, verdicts, headers, out;

static int set_up(void **state)
{
    (void)state;
    mp_buf_init(&effects, 4096);
    mp_buf_init(&verdicts, 4096);
    mp_buf_init(&headers, 4096);
    mp_buf_init(&out, 1 << 16);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mp_buf_fini(&effects);
    mp_buf_fini(&verdicts);
    mp_buf_fini(&headers);
    mp_buf_fini(&out);
    return 0;
}

/* A notify, two verdicts, a reply with a header. */
static struct mp_outcome rich(void)
{
    static const struct mp_effect notify = {.kind = MP_EFFECT_NOTIFY,
                                            .topic = {"/rooms/1", 8},
                                            .data = {"21", 2},
                                            .max_age_us = 300 * MP_SECOND};
    static const struct mp_verdict said[] = {{1, true, {"busy\n", 5}},
                                             {4, false, {"odd", 3}}};
    static const struct mp_pair header[] = {{{"etag", 4}, {"x", 1}}};

    mp_wire_put_effect(&effects, &notify);
    mp_wire_put_verdict(&verdicts, &said[0]);
    mp_wire_put_verdict(&verdicts, &said[1]);
    mp_put_headers(&headers, header, 1);
    return (struct mp_outcome){.run_ns = 9000,
                               .retry_after_us = -1,
                               .result_kind = MP_RESULT_REPLY,
                               .result_format = MP_FORMAT_TEXT,
                               .result = MP_S("ok"),
                               .status = 205,
                               .max_age_us = 5 * MP_SECOND,
                               .n_headers = 1,
                               .headers = mp_buf_bytes(&headers),
                               .n_verdicts = 2,
                               .verdicts = mp_buf_bytes(&verdicts),
                               .n_effects = 1,
                               .effects = mp_buf_bytes(&effects)};
}

static void an_outcome_is_told_in_lines(void **state)
{
    struct mp_outcome o = rich();
    struct mp_shown shown = {.out = &o, .start_ns = 61000};

    (void)state;
    mp_show_text(&shown, &out);
    mp_buf_put(&out, "", 1);
    assert_string_equal(out.ptr,
                        "ok  9 \302\265s (start 61 \302\265s)\n"
                        "notify   /rooms/1  for 5m  21\n"
                        "retry    2: busy\\n\n"
                        "reject   5: odd\n"
                        "result   {\"status\":205,\"data\":\"ok\","
                        "\"headers\":{\"etag\":\"x\"},\"max_age\":5}\n");
}

static void an_outcome_is_one_object(void **state)
{
    struct mp_outcome o = rich();
    struct mp_shown shown = {.out = &o};

    (void)state;
    mp_show_json(&shown, &out);
    mp_buf_put(&out, "", 1);
    assert_string_equal(
        out.ptr,
        "{\"outcome\":\"ok\",\"error\":null,\"traceback\":null,\"result\":"
        "{\"status\":205,\"data\":\"ok\",\"headers\":{\"etag\":\"x\"},"
        "\"max_age\":5},\"effects\":[{\"kind\":\"notify\",\"path\":"
        "\"/rooms/1\",\"data\":\"21\",\"max_age\":300}],\"verdicts\":"
        "[{\"event\":2,\"retry\":\"busy\\n\"},{\"event\":5,\"reject\":\"odd\"}]"
        ","
        "\"log\":[],\"retry\":null,\"duration_us\":9.0,"
        "\"memory_bytes\":0}\n");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_outcome_is_told_in_lines),
        CASE(an_outcome_is_one_object),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
