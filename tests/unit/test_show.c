/*
 * test_show.c - core/show.h and cli/local.h: rows of a real database as JSON,
 * and what is changed where no host runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "cli/local.h"
#include "core/base/wire.h"
#include "core/show.h"
#include "tests/unit/conf_kit.h"

static char dir[64];
static struct mp_local local;
static struct mp_buf out;
static struct mp_why why;

static int set_up(void **state)
{
    struct mp_db_opened opened = {0};

    (void)state;
    t_dir_make(dir);
    mp_buf_init(&out, MP_SHOWN_MAX);
    if (mp_db_open(&local.db, dir, 64 << 20, &opened, &why))
        return -1;
    mp_db_close(local.db);
    return mp_local_open(&local, dir, 64 << 20, &why);
}

static int tear_down(void **state)
{
    (void)state;
    mp_local_close(&local);
    mp_buf_fini(&out);
    t_dir_remove(dir);
    return 0;
}

static int ask(const char *method, const char *target, const char *body)
{
    struct mp_request r;
    int rc;

    mp_buf_reset(&out);
    why.text[0] = '\0';
    rc = mp_request_parse(&r, mp_slice_str(method), mp_slice_str(target), &why);
    assert_int_equal(rc, 0);
    rc = mp_local_answer(&local, &r, mp_slice_str(body), &out, &why);
    mp_request_fini(&r);
    assert_true(!rc || why.text[0]);
    mp_buf_put(&out, "", 1);
    return rc;
}

static void answers(const char *method, const char *target, const char *body,
                    const char *want)
{
    assert_int_equal(ask(method, target, body), 0);
    assert_string_equal(out.ptr, want);
}

static void has(const char *text)
{
    if (!strstr(out.ptr, text))
        fail_msg("no %s in %s", text, out.ptr);
}

static void has_not(const char *text)
{
    if (strstr(out.ptr, text))
        fail_msg("%s in %s", text, out.ptr);
}

/* ---- state ---- */

static void a_value_is_shown_as_it_was_put(void **state)
{
    static const char *const values[] = {
        "3",
        "-0.5",
        "true",
        "\"a\\\"b\"",
        "{\"a\":1}",
        "\"\"",
        "{\"base64\":\"/w==\"}",
        "3.0",
    };
    char want[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        answers("PUT", "/v1/functions/f/state/n?key=k", values[i],
                "{\"count\":1}\n");
        assert_int_equal(ask("GET", "/v1/functions/f/state/n?key=k", ""), 0);
        snprintf(want, sizeof want, "{\"name\":\"n\",\"value\":%s,", values[i]);
        has(want);
    }
    answers("DELETE", "/v1/functions/f/state/n?key=k", "", "{\"count\":1}\n");
    assert_int_equal(ask("GET", "/v1/functions/f/state/n?key=k", ""), MP_ENONE);
    assert_int_equal(ask("PUT", "/v1/functions/f/state/n", "nonsense"),
                     MP_EPARSE);
}

static void a_list_ends_where_it_was_asked_to_and_goes_on_after(void **state)
{
    (void)state;
    ask("PUT", "/v1/functions/f/state/b", "2");
    ask("PUT", "/v1/functions/f/state/a", "1");
    ask("PUT", "/v1/functions/f/state/c", "3");
    ask("GET", "/v1/functions/f/state?limit=2", "");
    has("\"name\":\"a\"");
    has("\"after\":\"b\"}");
    has_not("\"name\":\"c\"");
    ask("GET", "/v1/functions/f/state?limit=2&after=b", "");
    has("{\"values\":[{\"name\":\"c\"");
    has("\"after\":null}");
    ask("GET", "/v1/functions/f/state?prefix=b", "");
    has("\"name\":\"b\"");
    has_not("\"name\":\"a\"");
}

static void actors_are_listed_without_the_functions_own(void **state)
{
    (void)state;
    ask("PUT", "/v1/functions/f/state/a?key=", "1");
    ask("PUT", "/v1/functions/f/state/a?key=k1", "1");
    ask("PUT", "/v1/functions/f/state/a?key=k2", "1");
    ask("PUT", "/v1/functions/g/state/a?key=k3", "1");
    answers("GET", "/v1/functions/f/actors", "",
            "{\"actors\":[\"k1\",\"k2\"],\"after\":null}\n");
    answers("GET", "/v1/functions/f/actors?limit=1", "",
            "{\"actors\":[\"k1\"],\"after\":\"k1\"}\n");
    answers("GET", "/v1/functions/f/actors?after=k2", "",
            "{\"actors\":[],\"after\":null}\n");
}

static void an_actor_or_a_whole_function_is_cleared(void **state)
{
    (void)state;
    ask("PUT", "/v1/functions/f/state/a", "1");
    ask("PUT", "/v1/functions/f/state/a?key=k1", "1");
    ask("PUT", "/v1/functions/f/state/b?key=k1", "1");
    ask("PUT", "/v1/functions/f/state/a?key=k2", "1");
    ask("PUT", "/v1/functions/g/state/a?key=k2", "1");
    answers("DELETE", "/v1/functions/f/state?key=k1", "", "{\"count\":2}\n");
    answers("GET", "/v1/functions/f/actors", "",
            "{\"actors\":[\"k2\"],\"after\":null}\n");
    answers("DELETE", "/v1/functions/f/state", "", "{\"count\":2}\n");
    answers("DELETE", "/v1/functions/f/state", "", "{\"count\":0}\n");
    answers("DELETE", "/v1/functions/g/state?key=", "", "{\"count\":0}\n");
    answers("GET", "/v1/functions/g/actors", "",
            "{\"actors\":[\"k2\"],\"after\":null}\n");
}

static void what_is_not_there_is_told(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/v1/functions/f/state", ""), MP_ENONE);
    assert_int_equal(ask("GET", "/v1/functions/f/actors", ""), MP_ENONE);
    assert_int_equal(ask("DELETE", "/v1/functions/f/state/a", ""), MP_ENONE);
    ask("PUT", "/v1/functions/f/state/a?key=k", "1");
    answers("GET", "/v1/functions/f/state", "",
            "{\"values\":[],\"after\":null}\n");
    assert_int_equal(ask("DELETE", "/v1/functions/f/state/a", ""), MP_ENONE);
}

static void what_has_expired_is_not_shown(void **state)
{
    struct mp_batch b;

    (void)state;
    mp_batch_init(&b);
    for (int i = 0; i < 2; i++) {
        mp_batch_op(&b, MP_SQL_STATE_PUT);
        mp_batch_text(&b, MP_S("f"));
        mp_batch_text(&b, MP_S("k"));
        mp_batch_text(&b, i ? MP_S("late") : MP_S("over"));
        mp_batch_text(&b, MP_S("integer"));
        mp_batch_int(&b, 1);
        mp_batch_int(&b, local.now_us + (i ? 60000000 : -1));
    }
    assert_int_equal(mp_db_apply(local.db, &b, &why), 0);
    mp_batch_fini(&b);
    ask("GET", "/v1/functions/f/state?key=k", "");
    has("\"expires_in\":60.0");
    has_not("over");
    assert_int_equal(ask("GET", "/v1/functions/f/state/over?key=k", ""),
                     MP_ENONE);
}

/* ---- dead letters ---- */

static void put_letter(int64_t id, int64_t group, const char *fn,
                       const char *outcome)
{
    struct mp_event e = {
        .type = MP_EVENT_MQTT,
        .id = MP_S("e1"),
        .trigger = MP_S("t"),
        .topic = MP_S("a/b"),
        .subject = MP_S("a/b"),
        .key = MP_S("k"),
        .has_key = true,
        .attempt = 3,
        .data = MP_S("21"),
    };
    struct mp_batch b;
    struct mp_buf bytes;

    mp_batch_init(&b);
    mp_buf_init(&bytes, 4096);
    mp_put_event(&bytes, &e);
    mp_batch_op(&b, MP_SQL_DEAD_GROUP_PUT);
    mp_batch_int(&b, group);
    mp_batch_text(&b, mp_slice_str(fn));
    mp_batch_text(&b, MP_S("1.0.0"));
    mp_batch_text(&b, MP_S("main.lua:6"));
    mp_batch_text(&b, mp_slice_str(outcome));
    mp_batch_int(&b, 40);
    mp_batch_int(&b, 0);
    mp_batch_int(&b, 0);
    mp_batch_op(&b, MP_SQL_DEAD_PUT);
    mp_batch_int(&b, id);
    mp_batch_int(&b, group);
    mp_batch_int(&b, 1772366400000000);
    mp_batch_int(&b, 3);
    mp_batch_text(&b, mp_slice_str(outcome));
    mp_batch_text(&b, MP_S("main.lua:6: \"no\""));
    mp_batch_null(&b);
    mp_batch_int(&b, (int64_t)bytes.len);
    mp_batch_blob(&b, mp_buf_bytes(&bytes));
    assert_int_equal(mp_db_apply(local.db, &b, &why), 0);
    mp_batch_fini(&b);
    mp_buf_fini(&bytes);
}

static void a_letter_is_listed_and_shown(void **state)
{
    (void)state;
    put_letter(1, 1, "f", "error");
    put_letter(2, 2, "g", "error");
    ask("GET", "/v1/dead-letters", "");
    has("{\"dead_letters\":[{\"id\":1,\"function\":\"f\",\"version\":\"1.0.0\","
        "\"time\":\"2026-03-01T12:00:00.000Z\",\"outcome\":\"error\","
        "\"error\":\"main.lua:6: \\\"no\\\"\",\"attempt\":3,");
    has("\"count\":40,\"event_id\":\"e1\"");
    has("\"id\":2");
    ask("GET", "/v1/dead-letters?function=g", "");
    has_not("\"id\":1,");
    ask("GET", "/v1/dead-letters?limit=1", "");
    has("\"after\":1}");
    ask("GET", "/v1/dead-letters/1", "");
    has("\"traceback\":null,\"event\":{\"id\":\"e1\",\"type\":\"mqtt\"");
    assert_int_equal(ask("GET", "/v1/dead-letters/3", ""), MP_ENONE);
}

static void a_dropped_letter_is_gone_and_so_is_its_empty_group(void **state)
{
    struct mp_query *q;

    (void)state;
    put_letter(1, 1, "f", "error");
    put_letter(2, 1, "f", "error");
    put_letter(3, 2, "g", "error");
    answers("DELETE", "/v1/dead-letters/1", "", "{\"count\":1}\n");
    assert_int_equal(ask("DELETE", "/v1/dead-letters/1", ""), MP_ENONE);
    answers("DELETE", "/v1/dead-letters?function=f", "", "{\"count\":1}\n");
    q = mp_query_begin(local.db, MP_SQL_DEAD_GROUPS);
    assert_int_equal(mp_query_step(q, &why), 1);
    assert_int_equal(mp_column_int(q, 0), 2);
    assert_int_equal(mp_query_step(q, &why), 0);
    mp_query_end(q);
    answers("DELETE", "/v1/dead-letters", "", "{\"count\":1}\n");
    answers("DELETE", "/v1/dead-letters", "", "{\"count\":0}\n");
}

static void a_replayed_letter_waits_in_the_queue(void **state)
{
    (void)state;
    put_letter(1, 1, "f", "error");
    put_letter(2, 1, "f", "error");
    answers("POST", "/v1/dead-letters/2/replay", "", "{\"count\":1}\n");
    ask("GET", "/v1/queue", "");
    has("{\"queue\":[{\"id\":1,\"function\":\"f\",\"due_in\":null,"
        "\"attempt\":1,\"reason\":\"replay\"");
    has("\"topic\":\"a/b\",\"key\":\"k\"");
    answers("POST", "/v1/dead-letters/replay", "", "{\"count\":1}\n");
    answers("GET", "/v1/dead-letters", "",
            "{\"dead_letters\":[],\"after\":null}\n");
    assert_int_equal(ask("POST", "/v1/dead-letters/2/replay", ""), MP_ENONE);
    answers("DELETE", "/v1/queue/1", "", "{\"count\":1}\n");
    assert_int_equal(ask("DELETE", "/v1/queue/1", ""), MP_ENONE);
    answers("DELETE", "/v1/queue?function=f", "", "{\"count\":1}\n");
}

static void many_letters_are_replayed_page_by_page(void **state)
{
    (void)state;
    for (int64_t id = 1; id <= 250; id++)
        put_letter(id, 1, "f", "error");
    answers("POST", "/v1/dead-letters/replay?function=f", "",
            "{\"count\":250}\n");
    answers("DELETE", "/v1/queue", "", "{\"count\":250}\n");
}

static void a_refused_output_needs_a_host_to_go_out(void **state)
{
    (void)state;
    put_letter(1, 1, "f", "output");
    assert_int_equal(ask("POST", "/v1/dead-letters/1/replay", ""), MP_EDENY);
    ask("GET", "/v1/dead-letters", "");
    has("\"id\":1");
    assert_int_equal(ask("POST", "/v1/functions/f/send", "x"), MP_EDENY);
}

/* ---- alarms ---- */

static void put_alarm(const char *fn, const char *name, int64_t due, int64_t at)
{
    struct mp_batch b;

    mp_batch_init(&b);
    mp_batch_op(&b, MP_SQL_ALARM_PUT);
    mp_batch_text(&b, mp_slice_str(fn));
    mp_batch_text(&b, MP_S("k"));
    mp_batch_text(&b, mp_slice_str(name));
    if (due)
        mp_batch_int(&b, due);
    else
        mp_batch_null(&b);
    if (at)
        mp_batch_int(&b, at);
    else
        mp_batch_null(&b);
    mp_batch_text(&b, MP_S("data"));
    mp_batch_null(&b);
    assert_int_equal(mp_db_apply(local.db, &b, &why), 0);
    mp_batch_fini(&b);
}

static void alarms_are_listed_by_either_clock(void **state)
{
    (void)state;
    put_alarm("f", "after", local.now_us + 60000000, 0);
    put_alarm("f", "at", 0, 1000000000000000);
    put_alarm("g", "other", local.now_us, 0);
    ask("GET", "/v1/alarms?function=f&limit=1", "");
    has("{\"alarms\":[{\"function\":\"f\",\"alarm\":\"after\","
        "\"key\":\"k\",\"due\":\"");
    has("\"due_in\":60.0,\"reason\":\"alarm\"}],\"after\":1}");
    ask("GET", "/v1/alarms?function=f&limit=1&after=1", "");
    has("\"alarm\":\"at\",\"key\":\"k\",\"due\":\"2001-09-09T01:46:40");
    has("\"due_in\":0.0,");
    has("\"after\":null}");
    ask("GET", "/v1/alarms", "");
    has("other");
    answers("DELETE", "/v1/queue", "", "{\"count\":0}\n");
    ask("GET", "/v1/alarms", "");
    has("other");
}

static void an_event_of_no_function_has_a_note(void **state)
{
    struct mp_request r = {.what = MP_ASKED_QUEUE, .limit = 10};

    (void)state;
    put_letter(1, 1, "f", "error");
    ask("POST", "/v1/dead-letters/1/replay", "");
    mp_buf_reset(&out);
    assert_int_equal(mp_show_rows(local.db, &r, 0, MP_S("ff\nf\n"), &out, &why),
                     0);
    mp_buf_put(&out, "", 1);
    has_not("note");
    mp_buf_reset(&out);
    assert_int_equal(mp_show_rows(local.db, &r, 0, MP_S("ff\n"), &out, &why),
                     0);
    mp_buf_put(&out, "", 1);
    has("\"reason\":\"replay\",\"note\":\"no such function\"");
}

/* ---- what became of an event ---- */

static void an_outcome_is_one_object(void **state)
{
    struct mp_outcome o = {.kind = MP_OUT_OK,
                           .result_kind = MP_RESULT_VALUE,
                           .result_format = MP_FORMAT_JSON,
                           .result = MP_S("[1]"),
                           .run_ns = 9000};

    (void)state;
    mp_buf_reset(&out);
    mp_show_outcome(MP_S("i"), &o, NULL, &out);
    assert_true(mp_slice_is(
        mp_buf_bytes(&out),
        "{\"id\":\"i\",\"outcome\":\"ok\",\"error\":null,\"traceback\":null,"
        "\"result\":[1],\"effects\":0,\"duration_us\":9.0,"
        "\"memory_bytes\":0}\n"));
    mp_buf_reset(&out);
    mp_show_outcome(MP_S("i"), NULL, "dropped", &out);
    assert_true(
        mp_slice_is(mp_buf_bytes(&out),
                    "{\"id\":\"i\",\"outcome\":null,\"error\":\"dropped\"}\n"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_value_is_shown_as_it_was_put),
        CASE(a_list_ends_where_it_was_asked_to_and_goes_on_after),
        CASE(actors_are_listed_without_the_functions_own),
        CASE(an_actor_or_a_whole_function_is_cleared),
        CASE(what_is_not_there_is_told),
        CASE(what_has_expired_is_not_shown),
        CASE(a_letter_is_listed_and_shown),
        CASE(a_dropped_letter_is_gone_and_so_is_its_empty_group),
        CASE(a_replayed_letter_waits_in_the_queue),
        CASE(many_letters_are_replayed_page_by_page),
        CASE(a_refused_output_needs_a_host_to_go_out),
        CASE(alarms_are_listed_by_either_clock),
        CASE(an_event_of_no_function_has_a_note),
        CASE(an_outcome_is_one_object),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
