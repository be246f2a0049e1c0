/*
 * Batches in Lua: events within an event, and other ends for some of them.
 */
#include "tests/unit/worker_kit.h"

#include <stdio.h>
#include <string.h>

static struct kit *k;
static struct mp_event events[MP_BATCH_MAX];
static uint32_t n_events;

static int open_kit(void **fixture)
{
    static const struct mp_pair params[] = {{{"device", 6}, {"kiln-2", 6}},
                                            {{"line", 4}, {"7", 1}}};
    static const struct mp_pair props[] = {{{"a", 1}, {"b", 1}}};

    (void)fixture;
    k = kit_open();
    n_events = 3;
    for (uint32_t i = 0; i < MP_BATCH_MAX; i++)
        events[i] = (struct mp_event){.type = MP_EVENT_MQTT,
                                      .id = MP_S("member"),
                                      .source = MP_S("mqtt://broker:1883"),
                                      .subject = MP_S("s/kiln-2"),
                                      .trigger = MP_S("readings"),
                                      .time_us = INT64_C(1772366400123000) + i,
                                      .attempt = 1,
                                      .data = MP_S("{\"temp\":31}"),
                                      .topic = MP_S("s/kiln-2"),
                                      .qos = 1,
                                      .params = params,
                                      .n_params = 2,
                                      .properties = props,
                                      .n_properties = 1};
    return 0;
}

static int close_kit(void **fixture)
{
    (void)fixture;
    kit_close(k);
    return 0;
}

static void load_body(const char *body)
{
    static char text[16 << 10];

    snprintf(text, sizeof text,
             "local mp, json = require 'moonpool', require 'json'\n"
             "return function(event) %s\nend",
             body);
    kit_load(k, 1, text);
}

static void send_batch(void)
{
    struct mp_run run = kit_event(k, 1, MP_S(""));

    run.event.type = MP_EVENT_BATCH;
    run.event.topic = mp_slice(NULL, 0);
    run.event.events = events;
    run.event.n_events = n_events;
    mp_wire_run(&k->out, &run);
    kit_flush(k);
    assert_true(kit_next(k));
}

static void expect(const char *body, const char *result)
{
    load_body(body);
    send_batch();
    assert_int_equal(k->type, MP_FRAME_DONE);
    if (k->done.kind != MP_OUT_OK)
        fail_msg("%s: %.*s", body, MP_FMT(k->done.error));
    assert_slice(k->done.result, result);
}

static void expect_error(const char *body, const char *error)
{
    print_message("%s\n", body);
    load_body(body);
    send_batch();
    assert_int_equal(k->done.kind, MP_OUT_ERROR);
    assert_has(k->done.error, error);
    assert_int_equal(k->done.n_verdicts, 0);
}

static struct mp_verdict verdict(uint32_t n)
{
    struct mp_reader r = mp_reader(k->done.verdicts);
    struct mp_verdict v = {0};

    assert_true(n < k->done.n_verdicts);
    for (uint32_t i = 0; i <= n; i++)
        assert_int_equal(mp_read_verdict(&r, &v), 0);
    return v;
}

static void its_events_are_events(void **fixture)
{
    (void)fixture;
    events[1].data = MP_S("32");
    events[1].key = MP_S("kiln-2");
    events[1].has_key = true;
    events[2].datacontenttype = MP_S("text/plain");
    expect("local a, b, c = table.unpack(event.events)\n"
           "return ('%d %s %s %s %s %s %s %s %s %s %s'):format(#event.events, "
           "a.id, a.type, a.topic, a.params.line, a.properties.a, "
           "a:decode().temp, b.data, b.key, tostring(a.key), c:decode())",
           "3 member mqtt s/kiln-2 7 b 31 32 kiln-2 nil {\"temp\":31}");
}

static void it_has_no_data_of_its_own(void **fixture)
{
    (void)fixture;
    expect("return event.type .. '|' .. event.data .. '|' .. "
           "event.params.device .. '|' .. tostring(event.topic)",
           "batch||kiln-2|nil");
    expect_error("event:decode()",
                 "main.lua:2: decode: a batch has no data; its event.events "
                 "have");
}

static void pairs_shows_what_a_member_has(void **fixture)
{
    (void)fixture;
    expect("local t = {} for n in pairs(event.events[1]) do t[#t + 1] = n end\n"
           "table.sort(t) return table.concat(t, ' ')",
           "attempt data id params properties qos retained source subject time "
           "topic trigger type");
    expect("local t = {} for n in pairs(event) do t[#t + 1] = n end\n"
           "table.sort(t) return table.concat(t, ' ')",
           "attempt data events id params source subject time trigger type");
}

static void a_request_in_a_batch_is_one(void **fixture)
{
    static const struct mp_pair query[] = {{{"unit", 4}, {"C", 1}}};

    (void)fixture;
    events[1] = (struct mp_event){.type = MP_EVENT_COAP,
                                  .method = MP_S("PUT"),
                                  .path = MP_S("/x"),
                                  .query = query,
                                  .n_query = 1};
    expect("local e = event.events[2]\n"
           "return e.method .. e.path .. e.query.unit .. tostring(e.topic) .. "
           "tostring(e.properties)",
           "PUT/xCnilnil");
}

static void each_decode_gives_its_own_table_and_the_same_again(void **fixture)
{
    (void)fixture;
    expect("local a, b = event.events[1], event.events[2]\n"
           "local x = a:decode() x.temp = 99\n"
           "return a:decode().temp .. ' ' .. b:decode().temp",
           "99 31");
}

static void a_malformed_member_rejects_all_unless_it_is_caught(void **fixture)
{
    (void)fixture;
    events[1].data = MP_S("{");
    load_body("for _, e in ipairs(event.events) do e:decode() end");
    send_batch();
    assert_int_equal(k->done.kind, MP_OUT_REJECTED);
    expect("local bad = 0 for _, e in ipairs(event.events) do\n"
           "if not pcall(e.decode, e) then bad = bad + 1 e:reject('bad') end "
           "end return bad",
           "1");
    assert_int_equal(k->done.n_verdicts, 1);
    assert_int_equal(verdict(0).event, 1);
}

static void retry_and_reject_say_how_a_member_ends(void **fixture)
{
    (void)fixture;
    expect("local es = event.events\n"
           "local n = select('#', es[3]:reject('odd number of bytes'))\n"
           "es[1]:retry('busy') mp.publish('out', 'x') return n",
           "0");
    assert_int_equal(k->done.n_effects, 1);
    assert_int_equal(k->done.n_verdicts, 2);
    assert_int_equal(verdict(0).event, 0);
    assert_true(verdict(0).retry);
    assert_slice(verdict(0).reason, "busy");
    assert_int_equal(verdict(1).event, 2);
    assert_false(verdict(1).retry);
    assert_slice(verdict(1).reason, "odd number of bytes");
}

static void the_last_word_about_a_member_counts(void **fixture)
{
    (void)fixture;
    expect("for i = 1, 10000 do event.events[2]:retry('no ' .. i) end\n"
           "event.events[2]:reject(7) return 'x'",
           "x");
    assert_int_equal(k->done.n_verdicts, 1);
    assert_false(verdict(0).retry);
    assert_slice(verdict(0).reason, "7");
}

static void verdicts_outlive_a_wait(void **fixture)
{
    (void)fixture;
    load_body("event.events[1]:retry('before') mp.sleep(1) "
              "event.events[3]:reject('after') return event.events[2].data");
    send_batch();
    assert_int_equal(k->type, MP_FRAME_WAIT);
    kit_resume(k, k->wait.run);
    assert_int_equal(k->type, MP_FRAME_DONE);
    assert_slice(k->done.result, "{\"temp\":31}");
    assert_int_equal(k->done.n_verdicts, 2);
    assert_slice(verdict(0).reason, "before");
    assert_slice(verdict(1).reason, "after");
}

static void a_batch_that_fails_has_no_verdicts(void **fixture)
{
    (void)fixture;
    expect_error("event.events[1]:retry('x') error('y')", "y");
    expect_error("event.events[1]:retry('x') return {[1.5] = 1}", "result");
}

static void a_long_reason_is_cut(void **fixture)
{
    (void)fixture;
    n_events = MP_BATCH_MAX;
    k->memory = 8 << 20;
    expect("for _, e in ipairs(event.events) do e:reject(('x'):rep(2000)) end "
           "return 'x'",
           "x");
    assert_int_equal(k->done.n_verdicts, MP_BATCH_MAX);
    assert_int_equal(verdict(MP_BATCH_MAX - 1).reason.len, MP_REASON_MAX);
    assert_int_equal(verdict(MP_BATCH_MAX - 1).event, MP_BATCH_MAX - 1);
}

static void misuse_of_verdicts_raises(void **fixture)
{
    (void)fixture;
    expect_error("event:retry('x')",
                 "main.lua:2: retry: only members of event.events have it; use "
                 "mp.retry");
    expect_error("event.events[1]:reject()", "reject: the reason is missing");
    expect_error("event.events[1]:reject(nil)", "the reason is missing");
    expect_error("event.events[1]:reject({})",
                 "reject: the reason must be a string, not a table");
    expect_error("event.events[1]:retry('x', {after = 5})",
                 "retry: it takes the reason and nothing else");
    expect_error("event.events[1].retry('x')", "retry: call it as e:retry");
    expect_error("event.events[1].retry({}, 'x')", "retry: call it as e:retry");
    expect_error("event.events[1].decode('x')", "decode: call it as e:decode");
}

static void a_single_event_has_no_verdicts(void **fixture)
{
    (void)fixture;
    load_body("event:reject('x')");
    kit_run(k, 1, "{}");
    assert_int_equal(k->done.kind, MP_OUT_ERROR);
    assert_has(k->done.error,
               "reject: only members of event.events have it; use mp.reject");
}

static void the_next_run_knows_nothing_of_a_batch(void **fixture)
{
    (void)fixture;
    load_body("if event.events then event.events[1]:retry('x') end "
              "return tostring(event.events)");
    send_batch();
    assert_int_equal(k->done.n_verdicts, 1);
    kit_run(k, 1, "{}");
    assert_slice(k->done.result, "nil");
    assert_int_equal(k->done.n_verdicts, 0);
}

static void a_large_batch_ends_in_memory_when_it_has_too_little(void **fixture)
{
    (void)fixture;
    n_events = MP_BATCH_MAX;
    k->memory = 128 << 10;
    load_body("return #event.events");
    send_batch();
    assert_int_equal(k->done.kind, MP_OUT_MEMORY);
    k->memory = 4 << 20;
    expect("return #event.events", "1000");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_kit, close_kit)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(its_events_are_events),
        TEST(it_has_no_data_of_its_own),
        TEST(pairs_shows_what_a_member_has),
        TEST(a_request_in_a_batch_is_one),
        TEST(each_decode_gives_its_own_table_and_the_same_again),
        TEST(a_malformed_member_rejects_all_unless_it_is_caught),
        TEST(retry_and_reject_say_how_a_member_ends),
        TEST(the_last_word_about_a_member_counts),
        TEST(verdicts_outlive_a_wait),
        TEST(a_batch_that_fails_has_no_verdicts),
        TEST(a_long_reason_is_cut),
        TEST(misuse_of_verdicts_raises),
        TEST(a_single_event_has_no_verdicts),
        TEST(the_next_run_knows_nothing_of_a_batch),
        TEST(a_large_batch_ends_in_memory_when_it_has_too_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
