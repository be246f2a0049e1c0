/*
 * Runs end as they should, whatever a function tries: return values, errors,
 * deadlines, memory limits, waiting; and leave nothing to the next run.
 */
#include "tests/unit/worker_kit.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct kit *k;

static int open_kit(void **fixture)
{
    (void)fixture;
    k = kit_open();
    return 0;
}

static int close_kit(void **fixture)
{
    (void)fixture;
    kit_close(k);
    return 0;
}

/* A handler with this body. */
static void load_body(uint32_t fn, const char *body)
{
    static char text[64 << 10];

    snprintf(text, sizeof text,
             "local mp = require 'moonpool'\n"
             "return function(event) %s\nend",
             body);
    kit_load(k, fn, text);
}

/* The worker is as good as new: another function runs as ever. */
static void still_well(void)
{
    load_body(99, "n = (n or 0) + 1 return n");
    kit_run(k, 99, "{}");
    assert_int_equal(k->done.kind, MP_OUT_OK);
    assert_slice(k->done.result, "1");
}

/* What one run leaves behind, the next run never sees. */
static void a_run_starts_from_the_pristine_state(void **fixture)
{
    (void)fixture;
    kit_load(k, 1,
             "local n = 0\n"
             "return function(event)\n"
             "  n = n + 1; seen = (seen or 0) + 1\n"
             "  string.extra = (string.extra or 0) + 1\n"
             "  return n + seen + string.extra end");
    for (int i = 0; i < 3; i++) {
        kit_run(k, 1, "{}");
        assert_int_equal(k->done.kind, MP_OUT_OK);
        assert_int_equal(k->done.result_kind, MP_RESULT_VALUE);
        assert_slice(k->done.result, "3");
    }
}

/* ---- how runs end ---- */

static const struct {
    const char *body;
    enum mp_kind kind;
    const char *error; /* part of it */
    const char *why;
} endings[] = {
    {"return", MP_OUT_OK, "", "nothing"},
    {"return 1, 2, 3", MP_OUT_OK, "", "only the first counts"},
    {"error('no')", MP_OUT_ERROR, "main.lua:2: no", "with its place"},
    {"local x = nil + 1", MP_OUT_ERROR,
     "main.lua:2: attempt to perform arithmetic on a nil value", "of Lua"},
    {"error()", MP_OUT_ERROR, "(error object is nil)", "nil"},
    {"error({})", MP_OUT_ERROR, "(error object is a table)", "a table"},
    {"error(setmetatable({}, {__tostring = function() while 1 do end end}))",
     MP_OUT_ERROR, "(error object is a table)", "its __tostring isn't called"},
    {"error({code = 7, why = {'x'}})", MP_OUT_ERROR,
     "{\"code\":7,\"why\":[\"x\"]}", "what is in a table is shown"},
    {"coroutine.wrap(function() error({a = 1}) end)()", MP_OUT_ERROR,
     "{\"a\":1}", "through a coroutine, too"},
    {"local t = {} for i = 1, 300 do t[i] = i end error(t)", MP_OUT_ERROR,
     "[1,2,3,4", "as much as there is room"},
    {"error({print})", MP_OUT_ERROR, "(error object is a table)",
     "what has no JSON"},
    {"local t = {} t[1] = t error(t)", MP_OUT_ERROR,
     "(error object is a table)", "endless"},
    {"error(print)", MP_OUT_ERROR, "(error object is a function)", "function"},
    {"error(true)", MP_OUT_ERROR, "(error object is a boolean)", "boolean"},
    {"error(12)", MP_OUT_ERROR, "12", "a number has a text"},
    {"return print", MP_OUT_ERROR, "result", "a function is no result"},
    {"local t = {} t.t = t return t", MP_OUT_ERROR, "result", "endless"},
    {"return 0/0", MP_OUT_ERROR, "NaN", "no JSON for it"},
    {"mp.reject('bad')", MP_OUT_REJECTED, "bad", "rejected"},
    {"pcall(mp.reject, 'bad') return 1", MP_OUT_OK, "", "caught"},
    {"local ok, e = pcall(mp.reject, 'bad') error(e)", MP_OUT_REJECTED, "bad",
     "caught and raised again"},
    {"coroutine.wrap(function() mp.reject('bad') end)()", MP_OUT_REJECTED,
     "bad", "through a coroutine"},
    {"mp.retry('later')", MP_OUT_ERROR, "later", "retry"},
    {"coroutine.yield(1)", MP_OUT_ERROR,
     "attempt to yield from outside a coroutine", "nobody to yield to"},
    {"local function f() return f() + 1 end f()", MP_OUT_MEMORY, "memory",
     "deep recursion is bounded by memory"},
    {"local function f() return pcall(f) end return f()", MP_OUT_OK, "",
     "C levels are bounded by Lua, and that is an error like any other"},
    {"string.rep('x', 1 << 30)", MP_OUT_MEMORY, "memory", "one large block"},
    {"local t = {} while true do t[#t + 1] = {} end", MP_OUT_MEMORY, "memory",
     "many small ones"},
    {"local s = 'x' while true do s = s .. s end", MP_OUT_MEMORY, "memory",
     "doubling"},
    {"while true do pcall(string.rep, 'x', 1 << 30) end", MP_OUT_MEMORY,
     "memory", "no pcall catches it"},
    {"local t = setmetatable({}, {__gc = print})", MP_OUT_ERROR, "finalizers",
     "no finalizers"},
    {"for i = 1, 300000 do local t = {i} end return 1", MP_OUT_OK, "",
     "the collector keeps up with garbage"},
    {"local keep = {} for i = 1, 2000 do keep[i] = {i} end"
     " for i = 1, 100000 do local s = ('x'):rep(100) .. i end return #keep",
     MP_OUT_OK, "", "and with some of it alive"},
};

static void each_ending_is_told_for_what_it_is(void **fixture)
{
    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        print_message("%s: %s\n", endings[i].body, endings[i].why);
        load_body(1, endings[i].body);
        kit_run(k, 1, "{}");
        if (k->done.kind != endings[i].kind)
            fail_msg("%s: %.*s", mp_kind_name(k->done.kind),
                     MP_FMT(k->done.error));
        assert_has(k->done.error, endings[i].error);
        if (k->done.kind == MP_OUT_MEMORY)
            assert_has(k->done.traceback, "main.lua:2:");
    }
    still_well();
}

/* ---- the deadline ---- */

static const struct {
    const char *body, *why;
} endless[] = {
    {"while true do end", "the plainest"},
    {"goto a ::a:: goto a", "with goto"},
    {"while true do pcall(function() while true do end end) end", "in pcall"},
    {"while true do pcall(error) end", "mostly in C"},
    {"while true do xpcall(error, function() end) end", "in xpcall"},
    {"xpcall(error, function() while true do end end)", "in its handler"},
    {"while true do coroutine.wrap(function() end)() end", "many coroutines"},
    {"coroutine.wrap(function() while true do end end)()", "in a coroutine"},
    {"coroutine.wrap(function() pcall(coroutine.wrap(function()"
     " while true do end end)) end)()",
     "two deep, in pcall"},
    {"local co = coroutine.wrap(function() while true do coroutine.yield() end"
     " end) while true do co() end",
     "back and forth"},
    {"local co = coroutine.create(function() local c <close> = setmetatable({},"
     "{__close = function() while true do end end}) coroutine.yield() end)"
     " coroutine.resume(co) coroutine.close(co)",
     "in __close of a coroutine that is closed"},
    {"pcall(coroutine.wrap(function() local c <close> = setmetatable({},"
     "{__close = function() while true do end end}) error() end))",
     "in __close after an error in wrap"},
    {"do local c <close> = setmetatable({}, {__close = function()"
     " while true do end end}) end",
     "in a plain __close"},
    {"local t = setmetatable({}, {__index = function() while true do end end})"
     " local x = t.x",
     "in a metamethod"},
    {"local t = setmetatable({}, {__eq = function() while true do end end})"
     " return t == setmetatable({}, getmetatable(t))",
     "in __eq"},
    {"string.gsub('aaa', 'a', function() while true do end end)", "in gsub"},
    {"table.sort({3, 2, 1}, function() while true do end end)", "in sort"},
    {"load(function() while true do end end)", "in a reader of load"},
    {"tostring(setmetatable({}, {__tostring = function() while true do end"
     " end}))",
     "in __tostring"},
    {"for i in function() while true do end end do end", "in an iterator"},
    {"mp.log.info('x', setmetatable({}, {__pairs = function() while true do"
     " end end})) while true do end",
     "metamethods of arguments aren't called"},
    {"require = nil while true do mp.log.debug('x') end", "while logging"},
};

static void no_loop_outlives_its_deadline(void **fixture)
{
    (void)fixture;
    k->allowed.cpu_us = 30 * MP_MS;
    for (size_t i = 0; i < ARRAY_LEN(endless); i++) {
        print_message("%s: %s\n", endless[i].body, endless[i].why);
        load_body(1, endless[i].body);
        if (!kit_try_run(k, 1, "{}"))
            fail_msg("had to be killed");
        assert_int_equal(k->type, MP_FRAME_DONE);
        assert_int_equal(k->done.kind, MP_OUT_TIMEOUT);
        assert_has(k->done.error, "limits.cpu");
        assert_has(k->done.traceback, "main.lua:2:");
    }
    k->allowed.cpu_us = 5 * MP_SECOND;
    still_well();
}

/* C code that runs for hours sees no hook: the host ends the process. */
static void what_hears_no_deadline_is_killed(void **fixture)
{
    static const char *const bodies[] = {
        "string.rep('', 1 << 62)",
        "string.find(('a'):rep(3000), '.-.-.-.-b')",
    };

    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        k->allowed.cpu_us = 30 * MP_MS;
        load_body(1, bodies[i]);
        print_message("%s\n", bodies[i]);
        assert_false(kit_try_run(k, 1, "{}"));
        kit_close(k);
        k = kit_open();
    }
}

static void a_file_that_never_ends_is_a_timeout_of_its_load(void **fixture)
{
    (void)fixture;
    k->allowed.cpu_us = 30 * MP_MS;
    kit_try_load(k, 1, "local x = 1\nwhile true do x = x + 1 end");
    assert_int_equal(k->loaded.kind, MP_OUT_TIMEOUT);
    assert_has(k->loaded.error, "init_timeout");
    assert_has(k->loaded.traceback, "main.lua:2:");
    k->allowed.cpu_us = 5 * MP_SECOND;
    still_well();
}

/* ---- waiting ---- */

static void expect_wait(int64_t delay_us)
{
    if (k->type == MP_FRAME_DONE)
        fail_msg("done: %.*s", MP_FMT(k->done.error));
    assert_int_equal(k->type, MP_FRAME_WAIT);
    assert_int_equal(k->wait.kind, MP_WAIT_SLEEP);
    assert_int_equal(k->wait.delay_us, delay_us);
}

static const struct {
    const char *body, *result, *why;
} sleeps[] = {
    {"mp.sleep(2) return 'ok'", "ok", "the plainest"},
    {"return select('#', mp.sleep(2))", "0", "it returns nothing"},
    {"local ok, e = pcall(function() mp.sleep(2) error('x', 0) end) return e",
     "x", "in pcall"},
    {"local _, e = xpcall(function() mp.sleep(2) error('x', 0) end,"
     " function(m) return m .. 'y' end) return e",
     "xy", "in xpcall"},
    {"return coroutine.wrap(function() mp.sleep(2) return 'in' end)()", "in",
     "in a wrapped coroutine"},
    {"local co = coroutine.create(function(a) mp.sleep(2)"
     " local b = coroutine.yield(a + 1) return b * 2 end)"
     " local _, x = coroutine.resume(co, 1) local _, y = coroutine.resume(co, "
     "21)"
     " return x .. ' ' .. y .. ' ' .. coroutine.status(co)",
     "2 42 dead", "then a yield and a return"},
    {"local w = coroutine.wrap return w(function() return w(function()"
     " return pcall(w(function() mp.sleep(2) error('deep', 0) end)) end)() "
     "end)()"
     " and 'yes' or 'no'",
     "no", "three deep, through an error"},
    {"local s = '' for i in coroutine.wrap(function() for i = 1, 3 do"
     " if i == 2 then mp.sleep(2) end coroutine.yield(i) end end) do s = s .. i"
     " end return s",
     "123", "in an iterator"},
    {"return setmetatable({}, {__index = function(t, k) mp.sleep(2) return k"
     " end}).key",
     "key", "in a metamethod"},
    {"do local c <close> = setmetatable({}, {__close = function() mp.sleep(2)"
     " end}) end return 'closed'",
     "closed", "in __close"},
};

static void sleeping_suspends_the_whole_invocation(void **fixture)
{
    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(sleeps); i++) {
        print_message("%s: %s\n", sleeps[i].body, sleeps[i].why);
        load_body(1, sleeps[i].body);
        assert_true(kit_try_run(k, 1, "{}"));
        expect_wait(2 * MP_SECOND);
        still_well(); /* another runs meanwhile */
        kit_resume(k, k->wait.run);
        assert_int_equal(k->type, MP_FRAME_DONE);
        if (k->done.kind != MP_OUT_OK)
            fail_msg("%.*s", MP_FMT(k->done.error));
        assert_true(k->done.did & MP_DID_WAIT);
        assert_slice(k->done.result, sleeps[i].result);
    }
}

static void sleeping_where_c_code_calls_is_an_error(void **fixture)
{
    static const char *const bodies[] = {
        "table.sort({2, 1}, function() mp.sleep(1) end)",
        "string.gsub('a', 'a', function() mp.sleep(1) end)",
        "table.sort({2, 1}, coroutine.wrap(function() mp.sleep(1) end))",
        "local co = coroutine.create(function() local c <close> ="
        " setmetatable({}, {__close = function() mp.sleep(1) end})"
        " coroutine.yield() end) coroutine.resume(co)"
        " local ok, e = coroutine.close(co) error(e)",
    };

    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        load_body(1, bodies[i]);
        kit_run(k, 1, "{}");
        assert_int_equal(k->done.kind, MP_OUT_ERROR);
        assert_has(k->done.error, "can't wait here");
    }
    still_well();
}

/* Instances wait in any number and go on in any order. */
static void many_wait_and_go_on_in_any_order(void **fixture)
{
    enum { N = 300 };
    static uint64_t ids[N];

    (void)fixture;
    load_body(1, "local mine = event.data mp.publish('before/' .. mine, '1')"
                 " mp.sleep(1) mp.publish('after/' .. mine, '2')"
                 " return event.data .. mine");
    for (int i = 0; i < N; i++) {
        char data[16];

        snprintf(data, sizeof data, "%d", i);
        assert_true(kit_try_run(k, 1, data));
        expect_wait(MP_SECOND);
        ids[i] = k->wait.run;
    }
    for (int i = 0; i < N; i++) {
        int pick = i * 7 % N;
        char expected[32];
        struct mp_reader r;
        struct mp_effect e;
        struct mp_pair pairs[MP_PAIRS_MAX];

        kit_resume(k, ids[pick]);
        assert_int_equal(k->done.kind, MP_OUT_OK);
        snprintf(expected, sizeof expected, "%d%d", pick, pick);
        assert_slice(k->done.result, expected);
        assert_int_equal(k->done.n_effects, 2);
        r = mp_reader(k->done.effects);
        assert_int_equal(mp_read_effect(&r, &e, pairs), 0);
        snprintf(expected, sizeof expected, "before/%d", pick);
        assert_slice(e.topic, expected);
    }
}

static void a_cancelled_or_unknown_run_is_forgotten(void **fixture)
{
    struct mp_resume resume;

    (void)fixture;
    load_body(1, "mp.sleep(1)");
    assert_true(kit_try_run(k, 1, "{}"));
    mp_wire_cancel(&k->out, k->wait.run);
    mp_wire_cancel(&k->out, 123456);
    resume = (struct mp_resume){.run = k->wait.run};
    mp_wire_resume(&k->out, &resume);
    still_well(); /* nothing came before its answer */
}

static void a_function_may_be_unloaded_while_it_waits(void **fixture)
{
    (void)fixture;
    load_body(1, "mp.sleep(1) mp.log.info('late') return 'old'");
    assert_true(kit_try_run(k, 1, "{}"));
    mp_wire_unload(&k->out, 1);
    load_body(1, "return 'new'");
    kit_resume(k, k->wait.run);
    assert_slice(k->done.result, "old");
    kit_run(k, 1, "{}");
    assert_slice(k->done.result, "new");
    mp_wire_unload(&k->out, 1);
    kit_run(k, 1, "{}");
    assert_has(k->done.error, "not loaded");
}

static void a_deadline_strikes_after_a_wait_too(void **fixture)
{
    (void)fixture;
    k->allowed.cpu_us = 30 * MP_MS;
    load_body(1, "coroutine.wrap(function() mp.sleep(1) pcall(function()"
                 " while true do end end) end)()");
    assert_true(kit_try_run(k, 1, "{}"));
    expect_wait(MP_SECOND);
    kit_resume(k, k->wait.run);
    assert_int_equal(k->done.kind, MP_OUT_TIMEOUT);
    k->allowed.cpu_us = 5 * MP_SECOND;
    still_well();
}

/* ---- many at once ---- */

static void send_runs(uint32_t fn, int n)
{
    struct mp_run run;

    for (int i = 0; i < n; i++) {
        run = kit_event(k, fn, MP_S("{}"));
        mp_wire_run(&k->out, &run);
    }
}

/* A slow run must not hold back the outcomes before it. */
static void a_nudge_brings_what_is_finished(void **fixture)
{
    struct mp_run run;
    uint64_t first;

    (void)fixture;
    load_body(1, "return 1");
    load_body(2, "while true do end");
    k->allowed = (struct mp_allowance){3 * MP_SECOND, 3 * MP_SECOND, 0};
    first = k->next_id;
    send_runs(1, 20);
    run = kit_event(k, 2, MP_S(""));
    mp_wire_run(&k->out, &run);
    kit_flush(k);
    for (;;) { /* until the slow one runs */
        int64_t since;

        if (mp_worker_current(&k->worker, &since) == run.id)
            break;
        poll(NULL, 0, 1);
    }
    mp_worker_nudge(&k->worker);
    for (int i = 0; i < 20; i++) {
        int64_t before = mp_now_us();

        assert_true(kit_next(k));
        assert_int_equal(k->type, MP_FRAME_DONE);
        assert_int_equal(k->done.run, ++first);
        assert_true(mp_now_us() - before < 1 * MP_SECOND);
    }
    k->allowed = (struct mp_allowance){30 * MP_MS, 1 * MP_SECOND, 0};
    assert_true(kit_next(k));
    assert_int_equal(k->done.run, run.id);
    assert_int_equal(k->done.kind, MP_OUT_TIMEOUT);
    still_well();
}

/* What was taken back before it started is not run. */
static void recalled_runs_are_skipped(void **fixture)
{
    struct mp_run run;

    (void)fixture;
    k->allowed = (struct mp_allowance){50 * MP_MS, 1 * MP_SECOND, 0};
    load_body(1, "return 1");
    load_body(2, "while true do end");
    run = kit_event(k, 2, MP_S(""));
    mp_wire_run(&k->out, &run);
    send_runs(1, 50);
    mp_worker_recall(&k->worker, k->next_id);
    send_runs(1, 1);
    kit_flush(k);
    assert_true(kit_next(k));
    if (k->done.run == run.id) /* it had begun before the recall, or not */
        assert_true(kit_next(k));
    assert_int_equal(k->done.run, k->next_id);
    still_well();
}

static void thousands_in_one_go_come_back_in_order(void **fixture)
{
    uint64_t first;

    (void)fixture;
    load_body(1, "return event:decode().n");
    first = k->next_id;
    for (int i = 0; i < 5000; i++) {
        struct mp_run run = kit_event(k, 1, MP_S("{\"n\":1}"));

        mp_wire_run(&k->out, &run);
    }
    for (size_t sent = 0; sent < k->out.len;) { /* while taking answers */
        struct pollfd p = {.fd = k->worker.fd, .events = POLLOUT};
        ssize_t n;

        if (poll(&p, 1, 1) == 1) {
            n = write(k->worker.fd, k->out.ptr + sent, k->out.len - sent);
            assert_true(n > 0);
            sent += (size_t)n;
            continue;
        }
        assert_true(kit_next(k));
        assert_int_equal(k->done.run, ++first);
    }
    mp_buf_reset(&k->out);
    while (first < k->next_id) {
        assert_true(kit_next(k));
        assert_int_equal(k->done.run, ++first);
        assert_slice(k->done.result, "1");
    }
}

/* Signals at any point of Lua's code, of the copy, of the frames. */
static void signals_at_any_moment_harm_nobody(void **fixture)
{
    enum { N = 3000 };
    unsigned late = 0, ok = 0;

    (void)fixture;
    load_body(1, "local n = 0 for i = 1, 20 do"
                 " local co = coroutine.wrap(function(a) while true do"
                 " a = coroutine.yield({a, ('x'):rep(a)}) end end)"
                 " for j = 1, 5 do n = n + #co(j) end"
                 " pcall(error, {}) end"
                 " table.sort({3, 1, 2}, function(a, b) return a < b end)"
                 " mp.publish('a', event:decode()) return n");
    for (int i = 0; i < N; i++) {
        struct mp_run run = kit_event(k, 1, MP_S("{\"a\":[1,2,3]}"));
        struct mp_page *page = k->worker.page;

        mp_wire_run(&k->out, &run);
        kit_flush(k);
        for (int spin = 0; spin < 1000000; spin++) /* until it has begun */
            if (atomic_load(&page->generation) % 2)
                break;
        for (volatile int spin = i * 37 % 20000; spin > 0; spin--)
            ;
        for (int j = i % 4; j > 0; j--)
            mp_worker_nudge(&k->worker);
        if (i % 3 == 0) {
            atomic_store(&page->late, atomic_load(&page->generation));
            mp_worker_nudge(&k->worker);
        }
        if (!kit_next(k))
            fail_msg("the worker died in round %d", i);
        assert_int_equal(k->done.run, run.id);
        late += k->done.kind == MP_OUT_TIMEOUT;
        ok += k->done.kind == MP_OUT_OK;
    }
    print_message("%u ok, %u late\n", ok, late);
    assert_int_equal(late + ok, N);
    assert_true(ok > 0 && late > 0);
    still_well();
}

/* Frames and payloads far larger than one read. */
static void large_events_and_outcomes_pass(void **fixture)
{
    enum { SIZE = 3 << 20 };
    static char data[SIZE];
    struct mp_run run;

    (void)fixture;
    memset(data, 'x', SIZE);
    k->memory = 32 << 20;
    k->output_bytes = 16 << 20;
    load_body(1, "mp.publish('a', event.data) return event.data");
    for (int i = 0; i < 3; i++) {
        run = kit_event(k, 1, mp_slice(data, (size_t)SIZE - (size_t)i));
        mp_wire_run(&k->out, &run);
        kit_flush(k);
        assert_true(kit_next(k));
        assert_int_equal(k->done.kind, MP_OUT_OK);
        assert_int_equal(k->done.result.len, SIZE - i);
    }
    still_well();
}

/* The largest output_bytes there is can be used to the last byte, in one
 * payload or many, with a full log beside it. */
static void eight_megabytes_of_output_pass(void **fixture)
{
    (void)fixture;
    k->memory = 64 << 20;
    k->outputs = 100000;
    k->output_bytes = 8 << 20;
    k->log_bytes = 1 << 20;
    load_body(1, "for i = 1, 1024 do print(('l'):rep(1024)) end"
                 " mp.publish('a', ('x'):rep((8 << 20) - 1))");
    kit_run(k, 1, "");
    assert_int_equal(k->done.kind, MP_OUT_OK);
    assert_int_equal(k->done.n_logs, 1024);
    assert_true(k->done.effects.len > 8 << 20);
    load_body(1, "mp.publish('a', {('x'):rep((8 << 20) - 5)})");
    kit_run(k, 1, "");
    assert_int_equal(k->done.kind, MP_OUT_OK);
    load_body(1, "for i = 1, 8 << 10 do mp.publish('a', ('x'):rep(1023)) end");
    kit_run(k, 1, "");
    assert_int_equal(k->done.kind, MP_OUT_OK);
    assert_int_equal(k->done.n_effects, 8 << 10);
    load_body(1, "return ('x'):rep(8 << 20)");
    kit_run(k, 1, "");
    assert_int_equal(k->done.result.len, 8 << 20);
    load_body(1, "mp.publish('a', ('x'):rep(8 << 20))");
    kit_run(k, 1, "");
    assert_int_equal(k->done.kind, MP_OUT_ERROR);
    assert_has(k->done.error, "limits.output_bytes (8388608)");
    still_well();
}

/* All that is allowed at once, wrapped as wastefully as can be. */
static void the_largest_outcome_is_less_than_a_frame(void **fixture)
{
    (void)fixture;
    k->memory = 64 << 20;
    k->outputs = 100000;
    k->output_bytes = 8 << 20;
    k->log_bytes = 1 << 20;
    k->allowed = (struct mp_allowance){15 * MP_SECOND, 15 * MP_SECOND, 0};
    load_body(1, "local f, p = {}, {}"
                 " for i = 65, 80 do f[string.char(i)] = '' end"
                 " for i = 65, 96 do p[string.char(i)] = '' end"
                 " for i = 1, 70000 do mp.log.info('', f) end"
                 " while pcall(mp.publish, 'a', '', {properties = p}) do end"
                 " return 'x'");
    kit_run(k, 1, "");
    assert_int_equal(k->done.kind, MP_OUT_OK);
    assert_true(k->done.effects.len > 10 << 20);
    assert_true(k->done.logs.len > 2 << 20);
    assert_true(k->done.logs_cut > 0);
    load_body(1, "for i = 1, 70000 do mp.log.info('x') end"
                 " for i = 1, 4096 do mp.publish('a', ('x'):rep(1000)) end"
                 " return ('x'):rep((4 << 20) - 4096)");
    kit_run(k, 1, "");
    assert_int_equal(k->done.kind, MP_OUT_OK);
    still_well();
}

static long resident_kb(void)
{
    char path[64];
    long size = 0, pages = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/statm", (int)k->worker.pid);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &pages), 2);
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* What a large run has touched goes back once nothing is to be done. */
static void memory_is_given_back_when_idle(void **fixture)
{
    long before;

    (void)fixture;
    still_well();
    before = resident_kb();
    k->memory = 48 << 20;
    load_body(1, "local s = ('x'):rep(20 << 20) return #s");
    kit_run(k, 1, "");
    assert_slice(k->done.result, "20971520");
    assert_true(resident_kb() > before + 15000);
    for (int i = 0; i < 100 && resident_kb() > before + 4000; i++)
        poll(NULL, 0, 50);
    assert_true(resident_kb() <= before + 4000);
    kit_run(k, 1, "");
    assert_slice(k->done.result, "20971520");
    still_well();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_kit, close_kit)
    const struct CMUnitTest tests[] = {
        TEST(a_run_starts_from_the_pristine_state),
        TEST(each_ending_is_told_for_what_it_is),
        TEST(no_loop_outlives_its_deadline),
        TEST(what_hears_no_deadline_is_killed),
        TEST(a_file_that_never_ends_is_a_timeout_of_its_load),
        TEST(sleeping_suspends_the_whole_invocation),
        TEST(sleeping_where_c_code_calls_is_an_error),
        TEST(many_wait_and_go_on_in_any_order),
        TEST(a_cancelled_or_unknown_run_is_forgotten),
        TEST(a_function_may_be_unloaded_while_it_waits),
        TEST(a_deadline_strikes_after_a_wait_too),
        TEST(a_nudge_brings_what_is_finished),
        TEST(recalled_runs_are_skipped),
        TEST(thousands_in_one_go_come_back_in_order),
        TEST(signals_at_any_moment_harm_nobody),
        TEST(large_events_and_outcomes_pass),
        TEST(eight_megabytes_of_output_pass),
        TEST(the_largest_outcome_is_less_than_a_frame),
        TEST(memory_is_given_back_when_idle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
