/*
 * mp.state, mp.send and mp.alarm on a real worker; the host is played by a
 * list of values that is answered from, in pages as small as can be.
 */
#include "tests/unit/worker_kit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct kit *k;
static struct mp_buf travel, reply;

/* The values that are committed, sorted by name; key NULL: our own actor's. */
static struct row {
    const char *key, *name;
    struct mp_value value;
} rows[64];
static unsigned n_rows;
static unsigned page = 2; /* entries of an answer */
static unsigned waits;

static int open_kit(void **fixture)
{
    (void)fixture;
    k = kit_open();
    mp_buf_init(&travel, 1 << 20);
    mp_buf_init(&reply, 1 << 20);
    return 0;
}

static int close_kit(void **fixture)
{
    (void)fixture;
    kit_close(k);
    mp_buf_fini(&travel);
    mp_buf_fini(&reply);
    return 0;
}

/* As new before each test. */
static int reset(void **fixture)
{
    (void)fixture;
    n_rows = 0;
    page = 2;
    k->has_state = k->has_key = true;
    k->key = "kiln-2";
    k->send = NULL;
    k->outputs = 100;
    k->output_bytes = 256 << 10;
    k->state = (struct mp_run_state){.complete = true, .left = 4 << 20};
    return 0;
}

static struct mp_value integer(int64_t n)
{
    return (struct mp_value){.kind = MP_VALUE_INTEGER, .integer = n};
}

static struct mp_value text(const char *s)
{
    return (struct mp_value){.kind = MP_VALUE_STRING, .text = mp_slice_str(s)};
}

static struct mp_value table(const char *s)
{
    return (struct mp_value){.kind = MP_VALUE_TABLE, .text = mp_slice_str(s)};
}

static void row(const char *key, const char *name, struct mp_value value)
{
    rows[n_rows++] = (struct row){key, name, value};
}

static void put_row(struct mp_buf *b, const struct row *r, bool valued)
{
    struct mp_entry e = {.name = mp_slice_str(r->name)};

    if (valued)
        e.value = r->value;
    mp_put_entry(b, &e);
}

/* The first `come` of our own values travel. */
static void travel_with(unsigned come)
{
    unsigned own = 0;

    mp_buf_reset(&travel);
    k->state.n = 0;
    for (unsigned i = 0; i < n_rows; i++) {
        if (rows[i].key)
            continue;
        if (own++ < come) {
            put_row(&travel, &rows[i], true);
            k->state.n++;
        }
    }
    k->state.complete = own <= come;
    k->state.entries = mp_buf_bytes(&travel);
}

static bool asked(const struct row *r, const struct mp_wait *w)
{
    struct mp_slice name = mp_slice_str(r->name);
    bool own = !w->of;

    if (own != !r->key || (w->of && !mp_slice_is(w->key, r->key)))
        return false;
    if (w->kind == MP_WAIT_GET)
        return mp_slice_eq(name, w->name);
    return name.len >= w->name.len &&
           memcmp(name.ptr, w->name.ptr, w->name.len) == 0 &&
           (!w->after.len || strcmp(r->name, w->after.ptr) > 0);
}

/* What of rows answers the wait. */
static void answer_wait(void)
{
    struct mp_resume resume = {.run = k->wait.run};
    struct mp_wait w = k->wait;
    char after[300], last[300] = "";

    assert_true(w.kind >= MP_WAIT_GET && w.kind < MP_WAIT_KINDS);
    snprintf(after, sizeof after, "%.*s", MP_FMT(w.after));
    w.after = mp_slice_str(after);
    mp_buf_reset(&reply);
    for (unsigned i = 0; i < n_rows; i++) {
        struct row r = rows[i];

        if (w.kind == MP_WAIT_ACTORS) {
            if (!r.key || strcmp(r.key, last) <= 0 ||
                strncmp(r.key, w.name.ptr, w.name.len) != 0 ||
                strcmp(r.key, after) <= 0)
                continue;
            snprintf(last, sizeof last, "%s", r.key);
            r.name = r.key;
        } else if (!asked(&r, &w)) {
            continue;
        }
        if (resume.n == page ||
            (w.kind == MP_WAIT_ACTORS && resume.n == w.limit)) {
            resume.more = true;
            break;
        }
        put_row(&reply, &r, w.kind == MP_WAIT_GET || w.kind == MP_WAIT_EACH);
        resume.n++;
    }
    resume.entries = mp_buf_bytes(&reply);
    kit_answer(k, &resume);
}

static void load_body(const char *body)
{
    static char source[64 << 10];

    snprintf(source, sizeof source,
             "local mp, json = require 'moonpool', require 'json'\n"
             "local state = mp.state\n"
             "return function(event) %s\nend",
             body);
    kit_load(k, 1, source);
}

/* Run it and follow its waits. */
static void run_body(const char *body)
{
    load_body(body);
    waits = 0;
    assert_true(kit_try_run(k, 1, "{}"));
    while (k->type == MP_FRAME_WAIT) {
        waits++;
        assert_true(waits < 100);
        answer_wait();
    }
    assert_int_equal(k->type, MP_FRAME_DONE);
}

static void run_ok(const char *body)
{
    run_body(body);
    if (k->done.kind != MP_OUT_OK)
        fail_msg("%s: %.*s", body, MP_FMT(k->done.error));
}

static void expect(const char *body, const char *result)
{
    run_ok(body);
    assert_slice(k->done.result, result);
}

static void expect_error(const char *body, const char *error)
{
    run_body(body);
    if (k->done.kind != MP_OUT_ERROR)
        fail_msg("%s: is %s", body, mp_kind_name(k->done.kind));
    assert_has(k->done.error, "main.lua:");
    assert_has(k->done.error, error);
    assert_int_equal(k->done.n_effects, 0);
}

static struct mp_pair pairs[MP_PAIRS_MAX];

static struct mp_effect effect(uint32_t n)
{
    struct mp_reader r = mp_reader(k->done.effects);
    struct mp_effect e;

    assert_true(n < k->done.n_effects);
    for (uint32_t i = 0; i <= n; i++)
        assert_int_equal(mp_read_effect(&r, &e, pairs), 0);
    if (n + 1 == k->done.n_effects)
        assert_ptr_equal(r.at, r.end);
    return e;
}

static void assert_state(uint32_t n, const char *name, enum mp_state_op op,
                         struct mp_value value)
{
    struct mp_effect e = effect(n);

    assert_int_equal(e.kind, MP_EFFECT_STATE);
    assert_slice(e.name, name);
    assert_int_equal(e.op, op);
    assert_true(mp_value_eq(&e.value, &value));
}

/* ---- what travels ---- */

static void values_that_came_are_there_and_cost_no_wait(void **fixture)
{
    (void)fixture;
    row(NULL, "b", (struct mp_value){.kind = MP_VALUE_BOOLEAN, .integer = 1});
    row(NULL, "f", (struct mp_value){.kind = MP_VALUE_FLOAT, .number = 1.0});
    row(NULL, "n", integer(7));
    row(NULL, "s", text("a\"b"));
    row(NULL, "t", table("{\"list\":[1,2.0],\"none\":null}"));
    travel_with(99);
    expect("local t = state.get('t')\n"
           "return json.encode{state.get('b'), state.get('f'), "
           "state.get('n'), state.get('s'), t, state.get('x', 'no'), "
           "math.type(state.get('f')), math.type(state.get('n')), "
           "t.none == mp.null, state.get('t') ~= t}",
           "[true,1.0,7,\"a\\\"b\",{\"list\":[1,2.0],\"none\":null},\"no\","
           "\"float\",\"integer\",true,true]");
    assert_int_equal(waits, 0);
    assert_int_equal(k->done.did, MP_DID_READ);
    assert_int_equal(k->done.n_effects, 0);
    expect("return tostring(state.get('x'))", "nil");
}

static void an_invocation_without_reading_says_so(void **fixture)
{
    (void)fixture;
    row(NULL, "n", integer(7));
    travel_with(99);
    run_ok("state.set('n', 8) state.delete('x')");
    assert_int_equal(k->done.did, 0);
    assert_int_equal(k->done.n_effects, 1);
}

/* ---- changes ---- */

static void own_writes_are_seen_at_once_and_merged(void **fixture)
{
    (void)fixture;
    row(NULL, "n", integer(7));
    travel_with(99);
    expect("state.set('m', 1) state.increment('n') state.set('m', {z=1,a=1.0})"
           "state.increment('n', 2) mp.publish('t', 'x')\n"
           "return json.encode{state.get('n'), state.get('m')}",
           "[10,{\"a\":1.0,\"z\":1}]");
    assert_int_equal(k->done.n_effects, 3);
    assert_int_equal(effect(0).kind, MP_EFFECT_PUBLISH);
    assert_state(1, "m", MP_STATE_SET, table("{\"a\":1.0,\"z\":1}"));
    assert_state(2, "n", MP_STATE_INCREMENT, integer(10));
}

static void what_ends_as_it_began_is_no_effect(void **fixture)
{
    (void)fixture;
    row(NULL, "f", (struct mp_value){.kind = MP_VALUE_FLOAT, .number = 1.0});
    row(NULL, "n", integer(7));
    row(NULL, "t", table("{\"a\":1,\"b\":2}"));
    travel_with(99);
    run_ok("state.set('n', 7) state.set('t', {b=2,a=1}) state.set('f', 1.0)"
           "state.set('x', 1) state.delete('x') state.delete('never')"
           "state.set('f', 2) state.set('f', 1.0)"
           "state.delete('n') state.set('n', 7)");
    assert_int_equal(k->done.n_effects, 0);
    run_ok("state.set('f', 1)");
    assert_state(0, "f", MP_STATE_SET, integer(1));
    run_ok("state.set('n', 7, {ttl='10m'})");
    assert_int_equal(effect(0).ttl_us, INT64_C(600000000));
    run_ok("state.set('n', 8, {ttl=1}) state.set('n', 9)");
    assert_int_equal(effect(0).ttl_us, 0);
    assert_int_equal(k->done.n_effects, 1);
}

static void a_value_that_would_expire_is_set_for_good(void **fixture)
{
    struct mp_entry e = {.name = MP_S("n"), .value = integer(7)};

    (void)fixture;
    e.expires_us = 12345;
    mp_buf_reset(&travel);
    mp_put_entry(&travel, &e);
    k->state.n = 1;
    k->state.entries = mp_buf_bytes(&travel);
    run_ok("state.set('n', 7)");
    assert_state(0, "n", MP_STATE_SET, integer(7));
}

static void delete_says_none(void **fixture)
{
    (void)fixture;
    row(NULL, "n", integer(7));
    travel_with(99);
    expect("state.delete('n') return tostring(state.get('n'))", "nil");
    assert_state(0, "n", MP_STATE_DELETE,
                 (struct mp_value){.kind = MP_VALUE_NONE});
}

static void increment_keeps_integers_and_says_overflow(void **fixture)
{
    (void)fixture;
    row(NULL, "big", integer(INT64_MAX));
    row(NULL, "s", text("a"));
    travel_with(99);
    expect("return json.encode{state.increment('x'), state.increment('x', -3),"
           "state.increment('x', 0.5), state.increment('x')}",
           "[1,-2,-1.5,-0.5]");
    expect_error("state.increment('big')",
                 "state.increment: 'big' would overflow: 9223372036854775807 "
                 "by 1 is no 64-bit integer");
    expect_error("state.increment('s')",
                 "state.increment: 's' is a string, not a number");
    expect_error("state.increment('x', 1/0)",
                 "state.increment: 'x' would be infinity, which can't be kept");
    expect_error("state.increment('x', '1')",
                 "state.increment: by must be a number, not a string");
    expect("return state.increment('big', -1)", "9223372036854775806");
}

static void strings_hold_any_bytes(void **fixture)
{
    struct mp_effect e;

    (void)fixture;
    run_ok("state.set('s', '\\0\\255') state.set('e', '')");
    e = effect(0);
    assert_int_equal(e.value.text.len, 2);
    assert_memory_equal(e.value.text.ptr, "\0\377", 2);
    assert_int_equal(effect(1).value.kind, MP_VALUE_STRING);
    assert_int_equal(effect(1).value.text.len, 0);
}

static void misuse_raises_and_says_which(void **fixture)
{
    static const struct {
        const char *body, *error;
    } cases[] = {
        {"state.get()", "state.get: the name is missing"},
        {"state.incrment('a')",
         "mp.state has no 'incrment'; did you mean 'increment'?"},
        {"mp.alarm.st('a')", "mp.alarm has no 'st'; did you mean 'set'?"},
        {"state.get('')", "a name has 1 to 256 bytes; this one has 0"},
        {"state.set(('x'):rep(257), 1)",
         "state.set: a name has 1 to 256 bytes; this one has 257"},
        {"state.get('\\255')", "state.get: the name is not text"},
        {"state.get('a\\0')", "state.get: the name is not text"},
        {"state.set('a')", "state.set: 'a' is nil; use mp.state.delete"},
        {"state.set('a', print)", "state.set: 'a' is function; numbers"},
        {"state.set('a', mp.null)", "state.set: 'a' is null; numbers"},
        {"state.set('a', 0/0)", "state.set: 'a' is NaN, which can't be kept"},
        {"state.set('a', -1/0)", "state.set: 'a' is infinity"},
        {"state.set('a', {x={1/0}})", "state.set: 'a': x[1]: infinity"},
        {"state.set('a', {'\\255'})", "not UTF-8"},
        {"state.set('a', ('x'):rep(65537))",
         "state.set: 'a' has 65537 bytes; a value has at most 65536"},
        {"state.set('a', {('x'):rep(65536)})",
         "state.set: 'a' is more than 65536 bytes as JSON"},
        {"state.set('a', 1, {tll=3})",
         "state.set: unknown option 'tll'; did you mean 'ttl'?"},
        {"state.set('a', 1, {ttl=0})",
         "state.set: ttl is a time longer than 0"},
        {"state.names(1)",
         "state.names: the prefix must be a string, not a number"},
        {"state.names(('x'):rep(300))",
         "state.names: a prefix has at most 256 bytes; this one has 300"},
        {"state.of(1)", "state.of: the key must be a string, not a number"},
        {"state.of('')", "state.of: a key has 1 to 128 bytes"},
        {"state.of('a').get('b')",
         "state.of: call it as mp.state.of(key):get(...)"},
        {"state.actors('', {limit=0})",
         "state.actors: limit is a number from 1 to 1000"},
        {"state.actors('', {limit=1001})", "from 1 to 1000"},
        {"table.sort({2, 1}, function() state.of('a'):get('n') end)",
         "state.of: get: can't wait here"},
        {"mp.send('archive', 1)",
         "send to 'archive' is not granted ([grant] send is empty)"},
        {"mp.send('Archive', 1)", "send: 'Archive' is no name of a function"},
        {"mp.send('overheat')", "send: the payload is nil"},
        {"mp.send('overheat', 1, {key=''})",
         "send: a key has 1 to 128 bytes; this one has 0"},
        {"mp.send('overheat', 1, {delay=-1})", "send: delay"},
        {"mp.alarm.set('a')", "alarm.set: say when: after or at"},
        {"mp.alarm.set('a', {after=1, at=2})",
         "alarm.set: give after or at, not both"},
        {"mp.alarm.set('a', {at='5m'})",
         "alarm.set: at must be a time in seconds"},
        {"mp.alarm.set('a', {at=0/0})", "is no time in seconds"},
        {"mp.alarm.set('a', {after='5'})",
         "alarm.set: after: '5' is not a duration"},
        {"mp.alarm.set(('x'):rep(65), {after=1})",
         "alarm.set: a name has 1 to 64 bytes; this one has 65"},
        {"mp.alarm.set('a', {after=1, data=('x'):rep(16385)})",
         "alarm.set: data of 16385 bytes; at most 16384 fit"},
    };

    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("%s\n", cases[i].body);
        expect_error(cases[i].body, cases[i].error);
    }
}

static void without_a_section_there_is_no_state(void **fixture)
{
    (void)fixture;
    k->has_state = k->has_key = false;
    expect_error("state.get('a')",
                 "state.get: function.conf has no [state] section");
    expect_error("state.increment('a')",
                 "state.increment: function.conf has no [state] section");
    expect_error("mp.alarm.set('a', {after=1, key='k'})",
                 "alarm.set: key: function.conf has no key in [state]");
    run_ok("mp.alarm.set('a', {after=1})");
    k->has_state = true;
    expect_error("state.actors()",
                 "state.actors: [state] in function.conf has no key");
    expect_error("state.of('a')", "state.of: [state] in function.conf");
}

static void the_files_own_run_has_none_of_it(void **fixture)
{
    static const char *const calls[] = {
        "state.get('a')",       "state.set('a', 1)",
        "state.increment('a')", "state.delete('a')",
        "state.names()",        "state.each()",
        "state.of('a')",        "state.actors()",
        "send('overheat', 1)",  "alarm.set('a', {after=1})",
        "alarm.cancel('a')",
    };
    char source[256];

    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        snprintf(source, sizeof source,
                 "local mp = require 'moonpool' mp.%s return print", calls[i]);
        kit_try_load(k, 1, source);
        assert_int_equal(k->loaded.kind, MP_OUT_ERROR);
        assert_has(k->loaded.error,
                   "is not possible while main.lua is loading");
    }
}

static void the_quota_is_named_with_its_size(void **fixture)
{
    (void)fixture;
    row(NULL, "n", text("0123456789"));
    travel_with(99);
    k->state.left = 20;
    expect_error("state.set('x', ('x'):rep(20))",
                 "state.set: [state] quota (4194304 bytes) is full: 'x' needs "
                 "27 more, 20 are left"); /* kiln-2 and x count too */
    run_ok("state.set('x', ('x'):rep(13))");
    run_ok("state.delete('n') state.set('x', ('x'):rep(24))");
    run_ok("state.set('n', '012345678901234567890123456789')");
    k->state.left = -5;
    run_ok("state.set('n', '1')"); /* what shrinks always may */
    expect_error("state.increment('m')", "0 are left");
}

static void changes_and_outputs_share_one_outcome(void **fixture)
{
    (void)fixture;
    k->state.left = INT64_C(1) << 40;
    k->memory = 4 << 20;
    expect_error("local s = ('x'):rep(65536)\n"
                 "for i = 1, 1000 do state.set('n' .. i, s) end",
                 "state.set: more than fits into one outcome");
    run_ok("local s = ('x'):rep(65536)\n"
           "for i = 1, 1000 do state.set('n', s .. '') end");
    assert_int_equal(k->done.n_effects, 1);
    run_ok("for i = 1, 900 do state.set('n' .. i, i) end");
    assert_int_equal(k->done.n_effects, 900);
    assert_state(899, "n900", MP_STATE_SET, integer(900));
    expect_error("for i = 1, 1001 do state.set('n' .. i, i) end",
                 "state.set: more than 1000 values changed in one invocation");
    k->memory = 1 << 20;
}

static void a_failed_run_changes_nothing(void **fixture)
{
    (void)fixture;
    run_body("state.set('a', 1) error('no')");
    assert_int_equal(k->done.kind, MP_OUT_ERROR);
    assert_int_equal(k->done.n_effects, 0);
    expect("return tostring(state.get('a'))", "nil");
}

/* ---- lists ---- */

static void names_are_sorted_and_each_takes_changes(void **fixture)
{
    (void)fixture;
    row(NULL, "a", integer(1));
    row(NULL, "b.1", integer(2));
    row(NULL, "b.2", integer(3));
    row(NULL, "c", integer(4));
    travel_with(99);
    expect("state.set('b.15', 9) state.delete('b.2') state.set('b.0', 0)\n"
           "return json.encode{state.names(), state.names('b.'), "
           "state.names('x')}",
           "[[\"a\",\"b.0\",\"b.1\",\"b.15\",\"c\"],"
           "[\"b.0\",\"b.1\",\"b.15\"],{}]");
    expect("local seen = {}\n"
           "for name, value in state.each() do\n"
           "  seen[#seen + 1] = name .. '=' .. value\n"
           "  if name == 'a' then state.delete('b.1') state.set('c', 40) "
           "state.set('d', 1) end\n"
           "end return json.encode(seen)",
           "[\"a=1\",\"b.2=3\",\"c=40\"]");
    assert_int_equal(waits, 0);
}

/* ---- actors that came in part ---- */

static void fill_large(void)
{
    row(NULL, "a", integer(1));
    row(NULL, "b", integer(2));
    row(NULL, "c", text("see"));
    row(NULL, "d", table("[4]"));
    row(NULL, "e", integer(5));
    travel_with(2);
}

static void what_did_not_come_is_fetched(void **fixture)
{
    (void)fixture;
    fill_large();
    expect("local b = state.get('b') return json.encode{b, state.get('c'), "
           "state.get('d'), state.get('aa', 'none'), state.get('x', 'none')}",
           "[2,\"see\",[4],\"none\",\"none\"]");
    assert_int_equal(waits, 3); /* aa would have come */
    assert_int_equal(k->done.did, MP_DID_READ | MP_DID_WAIT);
    expect("state.set('c', 1) return state.get('c')", "1");
    assert_int_equal(waits, 0);
    assert_state(0, "c", MP_STATE_SET, integer(1));
    expect("state.increment('e') return state.increment('e', 0.5)", "6.5");
    assert_int_equal(waits, 1);
    assert_state(0, "e", MP_STATE_INCREMENT,
                 (struct mp_value){.kind = MP_VALUE_FLOAT, .number = 6.5});
    run_ok("state.delete('e')");
    assert_state(0, "e", MP_STATE_DELETE,
                 (struct mp_value){.kind = MP_VALUE_NONE});
    expect_error("state.increment('c')", "'c' is a string, not a number");
}

static void lists_are_merged_with_what_was_changed(void **fixture)
{
    (void)fixture;
    fill_large();
    for (page = 1; page < 7; page++) {
        expect("return json.encode(state.names())",
               "[\"a\",\"b\",\"c\",\"d\",\"e\"]");
        expect("state.delete('d') state.set('cc', 1) state.set('f', 1) "
               "state.delete('a') state.set('aa', 1) state.set('e', 50)\n"
               "local seen = {}\n"
               "for name, value in state.each() do\n"
               "  seen[#seen + 1] = {name, value}\n"
               "  if name == 'cc' then state.set('e', 51) end\n"
               "end\n"
               "return json.encode{state.names(), seen}",
               "[[\"aa\",\"b\",\"c\",\"cc\",\"e\",\"f\"],[[\"aa\",1],"
               "[\"b\",2],[\"c\",\"see\"],[\"cc\",1],[\"e\",51],[\"f\",1]]]");
    }
    expect("return json.encode(state.names('a'))", "[\"a\"]");
    assert_int_equal(waits, 0);
    travel_with(0);
    expect("return json.encode(state.names('d'))", "[\"d\"]");
    expect("local n = 0 for _, v in state.each() do n = n + 1 end return n",
           "5");
}

static void waits_go_through_pcall_and_coroutines(void **fixture)
{
    (void)fixture;
    fill_large();
    expect("local co = coroutine.wrap(function() coroutine.yield(1)\n"
           "return state.get('e') end)\n"
           "co() local ok, d = pcall(state.get, 'd')\n"
           "return json.encode{ok, d, co()}",
           "[true,[4],5]");
}

static void an_answer_that_failed_raises(void **fixture)
{
    struct mp_resume resume = {.error = MP_S("the store can't be read")};

    (void)fixture;
    fill_large();
    load_body("return state.get('e')");
    assert_true(kit_try_run(k, 1, "{}"));
    assert_int_equal(k->type, MP_FRAME_WAIT);
    assert_int_equal(k->wait.kind, MP_WAIT_GET);
    assert_slice(k->wait.name, "e");
    assert_false(k->wait.of);
    resume.run = k->wait.run;
    kit_answer(k, &resume);
    assert_int_equal(k->type, MP_FRAME_DONE);
    assert_slice(k->done.error,
                 "main.lua:3: state.get: the store can't be read");
    assert_true(k->done.did & MP_DID_READ);
}

static void waiting_instances_keep_their_values_apart(void **fixture)
{
    struct mp_run one, two;
    struct mp_resume resume = {0};

    (void)fixture;
    row(NULL, "n", integer(1));
    travel_with(99);
    load_body("state.increment('n') mp.sleep(1) return state.increment('n')");
    one = kit_event(k, 1, MP_S("{}"));
    mp_wire_run(&k->out, &one);
    kit_flush(k);
    assert_true(kit_next(k));
    rows[0].value = integer(100);
    travel_with(99);
    two = kit_event(k, 1, MP_S("{}"));
    mp_wire_run(&k->out, &two);
    kit_flush(k);
    assert_true(kit_next(k));
    assert_int_equal(k->type, MP_FRAME_WAIT);
    resume.run = one.id;
    kit_answer(k, &resume);
    assert_slice(k->done.result, "3");
    resume.run = two.id;
    kit_answer(k, &resume);
    assert_slice(k->done.result, "102");
    two = kit_event(k, 1, MP_S("{}"));
    mp_wire_run(&k->out, &two);
    mp_wire_cancel(&k->out, two.id);
    kit_flush(k);
    assert_true(kit_next(k));
    expect("return state.get('n')", "100");
}

/* ---- other actors ---- */

static void other_actors_are_read_only(void **fixture)
{
    (void)fixture;
    row("attic", "a", integer(1));
    row("attic", "b", text("two"));
    row("attic", "c", integer(3));
    row("cellar", "a", integer(9));
    expect("local attic = state.of('attic')\n"
           "local seen = {}\n"
           "for name, value in attic:each() do seen[#seen + 1] = {name, value} "
           "end\n"
           "for name in attic:each('b') do seen[#seen + 1] = name end\n"
           "return json.encode{attic:get('a'), attic:get('x', 'none'), seen,\n"
           "attic.set == nil, state.actors(), state.actors('c'), "
           "state.actors('', {after='attic'}), state.actors(nil, {limit=1})}",
           "[1,\"none\",[[\"a\",1],[\"b\",\"two\"],[\"c\",3],\"b\"],true,"
           "[\"attic\",\"cellar\"],[\"cellar\"],[\"cellar\"],[\"attic\"]]");
    page = 1;
    expect("return json.encode(state.actors())", "[\"attic\",\"cellar\"]");
    assert_int_equal(waits, 2);
}

/* ---- send, alarms ---- */

static void send_is_an_effect_with_an_id(void **fixture)
{
    struct mp_effect e;

    (void)fixture;
    k->send = "archive";
    expect("mp.publish('t', 'x')\n"
           "return mp.send('archive', {a=1}, {delay='5m', key='k'}) .. ' ' ..\n"
           "mp.send('overheat', 'raw')",
           "4f2a9c-1b3d7/overheat/2 4f2a9c-1b3d7/overheat/3");
    e = effect(1);
    assert_int_equal(e.kind, MP_EFFECT_SEND);
    assert_slice(e.name, "archive");
    assert_slice(e.data, "{\"a\":1}");
    assert_int_equal(e.format, MP_FORMAT_JSON);
    assert_true(e.has_key);
    assert_slice(e.key, "k");
    assert_int_equal(e.delay_us, INT64_C(300000000));
    e = effect(2);
    assert_slice(e.name, "overheat");
    assert_false(e.has_key);
    assert_int_equal(e.format, MP_FORMAT_TEXT);
    expect_error("mp.send('other', 1)",
                 "send to 'other' is not granted ([grant] send = archive)");
    k->send = "*";
    run_ok("mp.send('other', 1)");
}

static void alarms_carry_when_and_what(void **fixture)
{
    struct mp_effect e;

    (void)fixture;
    run_ok("mp.alarm.set('silent', {after='30m', slack='5m', data={a=1}})\n"
           "mp.alarm.set('at', {at=1772366400.5, key='other', data='x'})\n"
           "mp.alarm.cancel('hold') mp.alarm.cancel('hold', {key='o'})");
    e = effect(0);
    assert_int_equal(e.kind, MP_EFFECT_ALARM);
    assert_slice(e.name, "silent");
    assert_int_equal(e.after_us, INT64_C(1800000000));
    assert_int_equal(e.slack_us, INT64_C(300000000));
    assert_slice(e.data, "{\"a\":1}");
    assert_false(e.has_key);
    e = effect(1);
    assert_int_equal(e.after_us, -1);
    assert_int_equal(e.at_us, INT64_C(1772366400500000));
    assert_slice(e.key, "other");
    assert_true(effect(2).cancel);
    assert_slice(effect(3).key, "o");
}

static void they_count_as_outputs(void **fixture)
{
    (void)fixture;
    k->outputs = 2;
    expect_error("for i = 1, 3 do mp.alarm.set('a', {after=i}) end",
                 "alarm.set: more than limits.outputs (2) in one invocation");
    expect_error("for i = 1, 3 do mp.send('overheat', i) end",
                 "send: more than limits.outputs (2)");
    run_ok("for i = 1, 3 do state.set('n' .. i, i) end");
    k->output_bytes = 100;
    expect_error("mp.send('overheat', ('x'):rep(100))",
                 "send: more than limits.output_bytes (100)");
}

static void what_nobody_handles_is_not_made(void **fixture)
{
    static const char source[] =
        "local mp = require 'moonpool' local on = {}\n"
        "function on.readings(event)\n"
        "if event.data == 'a' then mp.alarm.set('a', {after=1})\n"
        "else mp.send(mp.name, 'x') end end return on";

    (void)fixture;
    kit_load(k, 1, source);
    kit_run(k, 1, "a");
    assert_slice(k->done.error,
                 "main.lua:3: alarm.set: main.lua has no handler 'alarm'");
    kit_run(k, 1, "s");
    assert_slice(k->done.error,
                 "main.lua:4: send: main.lua has no handler 'send'");
}

static void an_alarm_event_has_its_fields(void **fixture)
{
    struct mp_run run;

    (void)fixture;
    kit_load(k, 1,
             "local json, on = require 'json', {}\n"
             "function on.alarm(e) return json.encode{e.type, e.alarm, e.key, "
             "e.data, e.params.device, e.trigger, e.topic == nil} end\n"
             "return on");
    run = kit_event(k, 1, MP_S("{\"a\":1}"));
    run.event.type = MP_EVENT_ALARM;
    run.event.trigger = MP_S("alarm");
    run.event.alarm = MP_S("hold");
    mp_wire_run(&k->out, &run);
    kit_flush(k);
    assert_true(kit_next(k));
    assert_slice(k->done.result, "[\"alarm\",\"hold\",\"kiln-2\","
                                 "\"{\\\"a\\\":1}\",\"kiln-2\",\"alarm\","
                                 "true]");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, reset)
    const struct CMUnitTest tests[] = {
        TEST(values_that_came_are_there_and_cost_no_wait),
        TEST(an_invocation_without_reading_says_so),
        TEST(own_writes_are_seen_at_once_and_merged),
        TEST(what_ends_as_it_began_is_no_effect),
        TEST(a_value_that_would_expire_is_set_for_good),
        TEST(delete_says_none),
        TEST(increment_keeps_integers_and_says_overflow),
        TEST(strings_hold_any_bytes),
        TEST(misuse_raises_and_says_which),
        TEST(without_a_section_there_is_no_state),
        TEST(the_files_own_run_has_none_of_it),
        TEST(the_quota_is_named_with_its_size),
        TEST(changes_and_outputs_share_one_outcome),
        TEST(a_failed_run_changes_nothing),
        TEST(names_are_sorted_and_each_takes_changes),
        TEST(what_did_not_come_is_fetched),
        TEST(lists_are_merged_with_what_was_changed),
        TEST(waits_go_through_pcall_and_coroutines),
        TEST(an_answer_that_failed_raises),
        TEST(waiting_instances_keep_their_values_apart),
        TEST(other_actors_are_read_only),
        TEST(send_is_an_effect_with_an_id),
        TEST(alarms_carry_when_and_what),
        TEST(they_count_as_outputs),
        TEST(what_nobody_handles_is_not_made),
        TEST(an_alarm_event_has_its_fields),
    };

    return cmocka_run_group_tests(tests, open_kit, close_kit);
}
