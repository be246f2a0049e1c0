/*
 * test_solo.c - one function on one real worker, also on one that lies.
 *
 * A lying worker is played by putting its frames where those that came are
 * kept, before the true ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/solo.h"
#include "cli/when.h"
#include "core/base/clock.h"
#include "core/handlers.h"

static char dir[] = "/tmp/moonpool-solo-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/f.lua", dir);
    unlink(path);
    return rmdir(dir);
}

static void say(struct mp_report *r, bool warning, const char *text)
{
    (void)r;
    (void)warning;
    print_message("%s\n", text);
}

static struct mp_function *fn_from(const char *text)
{
    struct mp_report report = {.say = say};
    struct mp_function *fn;
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/f.lua", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    fn = mp_function_read(path, "test", &report);
    assert_non_null(fn);
    return fn;
}

struct fixture {
    struct mp_function *fn;
    struct mp_solo solo;
    struct mp_loaded loaded;
    struct mp_outcome out;
    struct mp_why why;
};

static void begin(struct fixture *f, const char *text)
{
    f->fn = fn_from(text);
    mp_solo_init(&f->solo);
    assert_int_equal(mp_solo_load(&f->solo, f->fn, &f->loaded, &f->why), 0);
}

static void end(struct fixture *f)
{
    mp_solo_fini(&f->solo);
    mp_function_unref(f->fn);
}

static const char *run(struct fixture *f)
{
    const struct mp_event event = {
        .type = MP_EVENT_MQTT,
        .id = MP_S("e1"),
        .source = MP_S("mqtt://test"),
        .subject = MP_S("a"),
        .topic = MP_S("a"),
        .trigger = mp_slice_str(f->fn->triggers[0].name),
        .attempt = 1,
        .qos = 1,
        .data = MP_S("payload"),
    };

    assert_int_equal(mp_solo_run(&f->solo, &event, &f->out, &f->why), 0);
    return mp_kind_name(f->out.kind);
}

static void an_outcome_comes_with_its_effects_and_logs(void **state)
{
    struct fixture f;
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_effect effect;
    struct mp_reader r;

    (void)state;
    begin(&f, "local mp = require 'moonpool'\n"
              "return function(e) print('hi') mp.publish('t', e.data) end");
    assert_int_equal(f.loaded.kind, MP_OUT_OK);
    assert_true(f.loaded.single);
    assert_string_equal(run(&f), "ok");
    assert_int_equal(f.out.n_effects, 1);
    assert_int_equal(f.out.n_logs, 1);
    r = mp_reader(f.out.effects);
    assert_int_equal(mp_read_effect(&r, &effect, pairs), 0);
    assert_true(mp_slice_is(effect.topic, "t"));
    assert_true(mp_slice_is(effect.data, "payload"));
    end(&f);
}

static void each_run_starts_from_the_pristine_state(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "local n = 0 return function() n = n + 1 return n end");
    for (int i = 0; i < 3; i++) {
        assert_string_equal(run(&f), "ok");
        assert_true(mp_slice_is(f.out.result, "1"));
    }
    end(&f);
}

static void a_failed_outcome_has_no_effects(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "local mp = require 'moonpool'\n"
              "return function() mp.publish('t', 'x') error('no') end");
    assert_string_equal(run(&f), "error");
    assert_int_equal(f.out.n_effects, 0);
    assert_non_null(memmem(f.out.error.ptr, f.out.error.len, "no", 2));
    end(&f);
}

static void a_file_that_does_not_load_is_an_answer(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "return function(");
    assert_int_equal(f.loaded.kind, MP_OUT_ERROR);
    assert_true(f.loaded.error.len > 0);
    end(&f);
    begin(&f, "while true do end");
    assert_int_equal(f.loaded.kind, MP_OUT_TIMEOUT);
    end(&f);
}

static void a_dead_worker_is_an_outcome_and_a_new_one_follows(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "return function() return 1 end");
    kill(f.solo.worker.pid, SIGSEGV);
    assert_string_equal(run(&f), "killed");
    assert_non_null(memmem(f.out.error.ptr, f.out.error.len, "worker", 6));
    assert_string_equal(run(&f), "ok");
    end(&f);
}

static void what_cannot_be_interrupted_is_killed(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "return function() return ('a'):rep(9999):find(('.-'):rep(8) .. "
              "'b') end");
    f.fn->cpu_us = 20 * MP_MS;
    assert_string_equal(run(&f), "killed");
    assert_string_equal(run(&f), "killed");
    end(&f);
}

/* ---- time ---- */

static void sleeping_moves_the_fake_clock_and_no_other(void **state)
{
    struct fixture f;
    int64_t begun = mp_now_us();

    (void)state;
    f.fn = fn_from("local mp = require 'moonpool'\n"
                   "return function() mp.sleep(2) return mp.now() end");
    mp_solo_init(&f.solo);
    f.solo.wall_us = 1000 * MP_SECOND;
    assert_int_equal(mp_solo_load(&f.solo, f.fn, &f.loaded, &f.why), 0);
    assert_string_equal(run(&f), "ok");
    assert_true(f.out.did & MP_DID_WAIT);
    assert_true(mp_slice_is(f.out.result, "1002.0"));
    assert_int_equal(f.solo.wall_us, 1002 * MP_SECOND);
    assert_true(mp_now_us() - begun < 1900 * MP_MS);
    end(&f);
}

static void waits_count_for_the_timeout(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "local mp = require 'moonpool'\n"
              "return function(e) mp.sleep(60) end");
    f.fn->timeout_us = 30 * MP_MS;
    assert_string_equal(run(&f), "timeout");
    assert_true(mp_slice_is(
        f.out.error, "limits.timeout (30ms) passed while it was waiting"));
    assert_true(f.out.did & MP_DID_WAIT);
    f.fn->timeout_us = 5 * MP_SECOND; /* the cancelled run is forgotten */
    f.solo.wall_us = MP_SECOND;
    assert_string_equal(run(&f), "timeout");
    /* what it ran before it slept counts, too */
    assert_in_range(f.solo.wall_us, 5900 * MP_MS, 6 * MP_SECOND);
    end(&f);
}

/* ---- state ---- */

/* As begin, with [state] key = {k} and an event of the actor k1. */
static void begin_keyed(struct fixture *f, struct mp_actors *actors,
                        const char *text)
{
    f->fn = fn_from(text);
    f->fn->has_state = true;
    f->fn->state_key = mp_strndup("{k}", 3);
    f->fn->state_quota = 1 << 20;
    mp_solo_init(&f->solo);
    mp_actors_init(actors);
    f->solo.actors = actors;
    f->solo.wall_us = 1000 * MP_SECOND;
    assert_int_equal(mp_solo_load(&f->solo, f->fn, &f->loaded, &f->why), 0);
}

static const char *run_keyed(struct fixture *f)
{
    const struct mp_event event = {
        .type = MP_EVENT_SEND,
        .id = MP_S("e1"),
        .trigger = mp_slice_str(f->fn->triggers[0].name),
        .key = MP_S("k1"),
        .has_key = true,
        .attempt = 1,
        .data = MP_S(""),
    };

    assert_int_equal(mp_solo_run(&f->solo, &event, &f->out, &f->why), 0);
    return mp_kind_name(f->out.kind);
}

static void effects_say_whose_they_are_and_when(void **state)
{
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_actors actors;
    struct mp_effect e;
    struct mp_reader r;
    struct fixture f;

    (void)state;
    begin_keyed(&f, &actors,
                "local mp = require 'moonpool'\n"
                "return function() mp.state.set('n', 1)\n"
                "mp.alarm.set('a', {after=5}) mp.sleep(2)\n"
                "mp.alarm.set('b', {at=7, key='k2'}) mp.send('f', 'x') end");
    assert_string_equal(run_keyed(&f), "ok");
    assert_int_equal(f.out.n_effects, 4);
    r = mp_reader(f.out.effects);
    assert_int_equal(mp_read_effect(&r, &e, pairs), 0);
    assert_true(mp_slice_is(e.key, "k1"));
    assert_int_equal(e.at_us, 1007 * MP_SECOND); /* at the commit */
    assert_int_equal(mp_read_effect(&r, &e, pairs), 0);
    assert_true(mp_slice_is(e.key, "k2"));
    assert_int_equal(e.at_us, 7 * MP_SECOND);
    assert_int_equal(mp_read_effect(&r, &e, pairs), 0);
    assert_int_equal(e.kind, MP_EFFECT_SEND);
    assert_int_equal(mp_read_effect(&r, &e, pairs), 0);
    assert_true(mp_slice_is(e.key, "k1"));
    assert_true(mp_slice_is(e.name, "n"));
    mp_actors_fini(&actors);
    end(&f);
}

static void a_timeout_names_its_limit(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "return function() while true do end end");
    f.fn->cpu_us = 30 * MP_MS;
    assert_string_equal(run(&f), "timeout");
    assert_true(mp_slice_is(f.out.error, "ran longer than limits.cpu (30ms)"));
    f.fn->cpu_us = 60 * MP_SECOND;
    f.fn->timeout_us = 30 * MP_MS;
    assert_string_equal(run(&f), "timeout");
    assert_true(
        mp_slice_is(f.out.error, "ran longer than limits.timeout (30ms)"));
    end(&f);
}

static void asking_for_ever_is_a_timeout(void **state)
{
    struct mp_actors actors;
    struct fixture f;

    (void)state;
    begin_keyed(&f, &actors,
                "local mp = require 'moonpool'\n"
                "return function() while true do mp.state.actors() end end");
    f.fn->cpu_us = f.fn->timeout_us = 50 * MP_MS;
    assert_string_equal(run_keyed(&f), "timeout");
    assert_int_equal(f.out.n_effects, 0);
    mp_actors_fini(&actors);
    end(&f);
}

/* ---- a worker that lies ---- */

typedef void lie(struct mp_buf *b, uint64_t run);

static void too_long(struct mp_buf *b, uint64_t id)
{
    (void)id;
    mp_put_u32(b, MP_FRAME_MAX + 1);
    mp_put_u8(b, MP_FRAME_DONE);
}

static void unknown_type(struct mp_buf *b, uint64_t id)
{
    (void)id;
    mp_frame_end(b, mp_frame_begin(b, (enum mp_frame)99));
}

static void ready_again(struct mp_buf *b, uint64_t id)
{
    (void)id;
    mp_wire_ready(b);
}

static void other_run(struct mp_buf *b, uint64_t id)
{
    mp_wire_done(b, &(struct mp_outcome){.run = id + 1});
}

static void cut_off(struct mp_buf *b, uint64_t id)
{
    uint32_t len;

    mp_wire_done(b, &(struct mp_outcome){.run = id});
    memcpy(&len, b->ptr, sizeof len);
    len -= 3;
    memcpy(b->ptr, &len, sizeof len);
    b->len -= 3;
}

static void more_effects_than_there_are(struct mp_buf *b, uint64_t id)
{
    mp_wire_done(b, &(struct mp_outcome){.run = id, .n_effects = 1});
}

static void more_effects_than_allowed(struct mp_buf *b, uint64_t id)
{
    mp_wire_done(b, &(struct mp_outcome){.run = id, .n_effects = UINT32_MAX});
}

static void bytes_behind_the_logs(struct mp_buf *b, uint64_t id)
{
    mp_wire_done(b, &(struct mp_outcome){.run = id, .logs = MP_S("x")});
}

static void waits_for_ever(struct mp_buf *b, uint64_t id)
{
    mp_wire_wait(
        b, &(struct mp_wait){.run = id, .kind = MP_WAIT_SLEEP, .delay_us = -1});
}

static const struct {
    lie *tell;
    const char *why;
} lies[] = {
    {too_long, "a length past all frames"},
    {unknown_type, "a type nobody has"},
    {ready_again, "ready, in the place of an outcome"},
    {other_run, "the outcome of another run"},
    {cut_off, "an outcome that ends too early"},
    {more_effects_than_there_are, "a count past the bytes"},
    {more_effects_than_allowed, "a count past limits.outputs"},
    {bytes_behind_the_logs, "bytes that are no line"},
    {waits_for_ever, "a negative delay"},
};

static void frames_that_do_not_parse_kill_the_worker(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "return function() return 1 end");
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        print_message("%s\n", lies[i].why);
        if (!f.solo.alive)
            assert_string_equal(run(&f), "ok");
        assert_int_equal(f.solo.taken, f.solo.in.len);
        f.solo.taken = f.solo.in.len = 0;
        lies[i].tell(&f.solo.in, f.solo.last_id + 1);
        assert_string_equal(run(&f), "killed");
        assert_false(f.solo.alive);
    }
    assert_string_equal(run(&f), "ok");
    end(&f);
}

/* What only a worker that lies would send; NULL: it is killed. */
static const struct {
    const char *why, *error;
    struct mp_effect e;
} denied[] = {
    {"a topic that nobody gets",
     "$SYS/shutdown",
     {.kind = MP_EFFECT_PUBLISH,
      .topic = {"$SYS/shutdown", 13},
      .data = {"x", 1}}},
    {"a send without a grant",
     "send to 'other' is not granted",
     {.kind = MP_EFFECT_SEND, .name = {"other", 5}}},
    {"state without [state]",
     NULL,
     {.kind = MP_EFFECT_STATE,
      .name = {"n", 1},
      .value = {.kind = MP_VALUE_INTEGER}}},
};

/* Verdicts of a run that had no batch. */
static void a_verdict_about_nothing_kills_the_worker(void **state)
{
    struct mp_outcome done = {.n_verdicts = 1};
    struct mp_verdict v = {.reason = MP_S("x")};
    struct mp_buf said;
    struct fixture f;

    (void)state;
    begin(&f, "return function() end\n");
    mp_buf_init(&said, 4096);
    mp_wire_put_verdict(&said, &v);
    done.run = f.solo.last_id + 1;
    done.verdicts = mp_buf_bytes(&said);
    mp_wire_done(&f.solo.in, &done);
    assert_string_equal(run(&f), "killed");
    mp_buf_fini(&said);
    end(&f);
}

static void an_effect_without_a_grant_is_an_error(void **state)
{
    struct mp_outcome out = {.n_effects = 1};
    struct mp_buf effects;
    struct fixture f;

    (void)state;
    begin(&f, "return function() return 1 end");
    mp_buf_init(&effects, 1024);
    for (size_t i = 0; i < ARRAY_LEN(denied); i++) {
        print_message("%s\n", denied[i].why);
        mp_buf_reset(&effects);
        mp_wire_put_effect(&effects, &denied[i].e);
        out.run = f.solo.last_id + 1;
        out.effects = mp_buf_bytes(&effects);
        f.solo.taken = f.solo.in.len = 0;
        mp_wire_done(&f.solo.in, &out);
        assert_string_equal(run(&f), denied[i].error ? "error" : "killed");
        assert_int_equal(f.out.n_effects, 0);
        if (denied[i].error)
            assert_non_null(memmem(f.out.error.ptr, f.out.error.len,
                                   denied[i].error, strlen(denied[i].error)));
    }
    mp_buf_fini(&effects);
    end(&f);
}

/* ---- handlers against triggers ---- */

struct kept {
    struct mp_report report;
    char text[1024];
};

static void keep(struct mp_report *r, bool warning, const char *text)
{
    struct kept *k = (struct kept *)r;
    size_t len = strlen(k->text);

    (void)warning;
    snprintf(k->text + len, sizeof k->text - len, "%s\n", text);
}

static void handlers_and_triggers_are_compared_both_ways(void **state)
{
    struct mp_slice names[] = {MP_S("redings"), MP_S("alarm")};
    struct mp_trigger triggers[] = {{.name = "readings"}, {.name = "daily"}};
    char path[] = "functions/f";
    struct mp_function fn = {
        .path = path, .triggers = triggers, .n_triggers = 2};
    struct mp_loaded loaded = {.handlers = names, .n_handlers = 2};
    struct kept k = {.report = {.say = keep}};

    (void)state;
    mp_handlers_check(&fn, &loaded, &k.report);
    assert_string_equal(
        k.text,
        "functions/f/main.lua: no handler for trigger 'readings'; the table "
        "has: redings, alarm\n"
        "functions/f/main.lua: no handler for trigger 'daily'; the table has: "
        "redings, alarm\n"
        "functions/f/main.lua: handler 'redings' names no trigger; did you "
        "mean 'readings'?\n");
    assert_int_equal(k.report.mistakes, 3);
    loaded.single = true;
    mp_handlers_check(&fn, &loaded, &k.report);
    assert_int_equal(k.report.mistakes, 3);
}

static void a_load_error_is_a_mistake_at_its_line(void **state)
{
    struct mp_pair file = {MP_S("lib/x.lua"), MP_S("")};
    char path[] = "functions/f";
    struct mp_function fn = {.path = path, .files = &file, .n_files = 1};
    struct mp_loaded loaded = {.kind = MP_OUT_ERROR,
                               .error = MP_S("lib/x.lua:12: no such thing")};
    struct kept k = {.report = {.say = keep}};

    (void)state;
    mp_handlers_check(&fn, &loaded, &k.report);
    assert_string_equal(k.text, "functions/f/lib/x.lua:12: no such thing\n");
    k.text[0] = '\0';
    loaded.error = MP_S("out of luck");
    mp_handlers_check(&fn, &loaded, &k.report);
    assert_string_equal(k.text, "functions/f/main.lua: out of luck\n");
}

/* ---- points in time ---- */

static const struct {
    const char *in, *why;
    int64_t us; /* -1: refused */
} whens[] = {
    {"1970-01-01T00:00:00Z", "the first one", 0},
    {"2026-03-01T12:00:00Z", "the ordinary case", 1772366400000000},
    {"2026-03-01T12:00:00.25Z", "a fraction", 1772366400250000},
    {"2026-03-01T12:00:00.1234567Z", "past microseconds", 1772366400123456},
    {"2026-03-01T13:00:00+01:00", "east of Greenwich", 1772366400000000},
    {"2026-03-01T04:30:00-07:30", "west of it", 1772366400000000},
    {"2024-02-29T00:00:00Z", "a leap day", 1709164800000000},
    {"2026-02-29T00:00:00Z", "not a leap year", -1},
    {"2026-13-01T00:00:00Z", "no such month", -1},
    {"2026-03-01T24:00:00Z", "no such hour", -1},
    {"2026-03-01T12:00:00", "no zone: whose noon?", -1},
    {"2026-03-01", "a date alone", -1},
    {"2026-03-01T12:00:00Zz", "a stray byte", -1},
    {"1969-12-31T23:59:59Z", "before the first", -1},
    {"2026-03-01T12:00:00+1:00", "an offset has four digits", -1},
    {"", "nothing", -1},
};

static void points_in_time_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(whens); i++) {
        size_t len = strlen(whens[i].in);
        char *exact = malloc(len ? len : 1);
        struct mp_why why = {""};
        int64_t us = -1;
        int rc;

        print_message("%s: %s\n", whens[i].in, whens[i].why);
        memcpy(exact, whens[i].in, len);
        rc = mp_when_parse(mp_slice(exact, len), &us, &why);
        assert_int_equal(rc, whens[i].us < 0 ? MP_EPARSE : 0);
        if (rc == 0)
            assert_int_equal(us, whens[i].us);
        else
            assert_true(why.text[0]);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outcome_comes_with_its_effects_and_logs),
        cmocka_unit_test(each_run_starts_from_the_pristine_state),
        cmocka_unit_test(a_failed_outcome_has_no_effects),
        cmocka_unit_test(a_file_that_does_not_load_is_an_answer),
        cmocka_unit_test(a_dead_worker_is_an_outcome_and_a_new_one_follows),
        cmocka_unit_test(what_cannot_be_interrupted_is_killed),
        cmocka_unit_test(sleeping_moves_the_fake_clock_and_no_other),
        cmocka_unit_test(waits_count_for_the_timeout),
        cmocka_unit_test(effects_say_whose_they_are_and_when),
        cmocka_unit_test(a_timeout_names_its_limit),
        cmocka_unit_test(asking_for_ever_is_a_timeout),
        cmocka_unit_test(frames_that_do_not_parse_kill_the_worker),
        cmocka_unit_test(a_verdict_about_nothing_kills_the_worker),
        cmocka_unit_test(an_effect_without_a_grant_is_an_error),
        cmocka_unit_test(handlers_and_triggers_are_compared_both_ways),
        cmocka_unit_test(a_load_error_is_a_mistake_at_its_line),
        cmocka_unit_test(points_in_time_parse),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
