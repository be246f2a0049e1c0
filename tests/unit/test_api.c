/*
 * The API of functions: what each call does and what it says to misuse.
 */
#include "tests/unit/worker_kit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

static void load_body(const char *body)
{
    static char text[64 << 10];

    snprintf(text, sizeof text,
             "local mp, json = require 'moonpool', require 'json'\n"
             "return function(event) %s\nend",
             body);
    kit_load(k, 1, text);
}

static void run_body(const char *body, const char *data)
{
    load_body(body);
    kit_run(k, 1, data);
}

static void expect(const char *body, const char *data, const char *result)
{
    run_body(body, data);
    if (k->done.kind != MP_OUT_OK)
        fail_msg("%s: %.*s", body, MP_FMT(k->done.error));
    assert_slice(k->done.result, result);
}

static void expect_error(const char *body, const char *error)
{
    print_message("%s\n", body);
    run_body(body, "{}");
    if (k->done.kind != MP_OUT_ERROR)
        fail_msg("%s: is %s", body, mp_kind_name(k->done.kind));
    assert_has(k->done.error, error);
    assert_int_equal(k->done.n_effects, 0);
}

static struct mp_pair pairs[MP_PAIRS_MAX];

static struct mp_effect effect(uint32_t n)
{
    struct mp_reader r = mp_reader(k->done.effects);
    struct mp_effect e;

    if (k->done.kind != MP_OUT_OK)
        fail_msg("%.*s", MP_FMT(k->done.error));
    assert_true(n < k->done.n_effects);
    for (uint32_t i = 0; i <= n; i++)
        assert_int_equal(mp_read_effect(&r, &e, pairs), 0);
    return e;
}

static struct mp_log_line log_line(uint32_t n)
{
    struct mp_reader r = mp_reader(k->done.logs);
    struct mp_log_line line;

    assert_true(n < k->done.n_logs);
    for (uint32_t i = 0; i <= n; i++)
        assert_int_equal(mp_read_log(&r, &line, pairs), 0);
    return line;
}

/* ---- publish ---- */

static void publish_takes_strings_as_bytes_and_values_as_json(void **fixture)
{
    static const struct {
        const char *payload, *data;
        enum mp_format format;
    } rows[] = {
        {"'21.5'", "21.5", MP_FORMAT_TEXT},
        {"''", "", MP_FORMAT_TEXT},
        {"12", "12", MP_FORMAT_JSON},
        {"1.0", "1.0", MP_FORMAT_JSON},
        {"false", "false", MP_FORMAT_JSON},
        {"mp.null", "null", MP_FORMAT_JSON},
        {"{b = 1, a = {1, 2}}", "{\"a\":[1,2],\"b\":1}", MP_FORMAT_JSON},
        {"json.array{}", "[]", MP_FORMAT_JSON},
        {"'{}', {format = 'json'}", "{}", MP_FORMAT_JSON},
        {"'\\0\\1', {format = 'bytes'}", NULL, MP_FORMAT_BYTES},
    };

    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char body[256];
        struct mp_effect e;

        snprintf(body, sizeof body, "mp.publish('a/b', %s)", rows[i].payload);
        run_body(body, "");
        e = effect(0);
        assert_slice(e.topic, "a/b");
        assert_int_equal(e.format, rows[i].format);
        assert_int_equal(e.qos, 1);
        assert_false(e.retain);
        if (rows[i].data)
            assert_slice(e.data, rows[i].data);
        else
            assert_memory_equal(e.data.ptr, "\0\1", 2);
    }
}

static void publish_passes_its_options_on(void **fixture)
{
    struct mp_effect e;

    (void)fixture;
    run_body("mp.publish('a', 'x', {qos = 0, retain = true, expiry = '2m',"
             " properties = {b = 1, a = 'x', c = true}})",
             "");
    e = effect(0);
    assert_int_equal(e.qos, 0);
    assert_true(e.retain && e.has_expiry);
    assert_int_equal(e.expiry_s, 120);
    assert_int_equal(e.n_properties, 3);
    assert_slice(pairs[0].name, "a");
    assert_slice(pairs[0].value, "x");
    assert_slice(pairs[1].value, "1");
    assert_slice(pairs[2].value, "true");
    run_body("mp.publish('a', 'x', {expiry = 1.5})", "");
    assert_int_equal(effect(0).expiry_s, 2);
}

/* The payload is what it was at the call. */
static void later_changes_of_a_payload_do_not_matter(void **fixture)
{
    (void)fixture;
    run_body("local t = {n = 1} mp.publish('a', t) t.n = 2 mp.publish('a', t)",
             "");
    assert_slice(effect(0).data, "{\"n\":1}");
    assert_slice(effect(1).data, "{\"n\":2}");
}

static void misuse_raises_at_the_callers_line(void **fixture)
{
    static const struct {
        const char *body, *error;
    } rows[] = {
        {"\n mp.publish('a', nil)", "main.lua:3: publish: the payload is nil"},
        {"mp.publish(1, 'x')",
         "main.lua:2: publish: the topic must be a string"},
        {"mp.publish('a/+', 'x')", "main.lua:2: publish: "},
        {"mp.publish('', 'x')", "main.lua:2: publish: "},
        {"mp.publish('\\xff', 'x')", "main.lua:2: publish: "},
        {"mp.publish(('x'):rep(1025), 'x')", "main.lua:2: publish: "},
        {"mp.publish('$SYS/x', 'x')",
         "main.lua:2: publish to '$SYS/x' is not allowed: the host's own "
         "topics"},
        {"mp.publish('a', 'x', {retained = true})",
         "main.lua:2: publish: unknown option 'retained'; did you mean "
         "'retain'?"},
        {"mp.publish('a', 'x', {1})", "publish: options have names"},
        {"mp.publish('a', 'x', 1)", "publish: the options are a table"},
        {"mp.publish('a', 'x', {qos = 2})", "publish: qos is 0 or 1"},
        {"mp.publish('a', 'x', {retain = 1})", "retain must be true or false"},
        {"mp.publish('a', 'x', {expiry = 'soon'})", "'soon' is not a duration"},
        {"mp.publish('a', 'x', {expiry = -1})", "is not a duration"},
        {"mp.publish('a', 'x', {format = 'jsn'})",
         "unknown format 'jsn'; did you mean 'json'?"},
        {"mp.publish('a', {}, {format = 'senml'})",
         "format is json, cbor, text or bytes; for SenML give what "
         "senml.encode returns"},
        {"mp.publish('a', print, {format = 'cbor'})", "have a place in CBOR"},
        {"mp.publish('a', {[true] = 1}, {format = 'cbor'})",
         "publish: the keys of a table are all strings or all integers"},
        {"mp.publish('a', {('x'):rep(300000)}, {format = 'cbor'})",
         "more than limits.output_bytes"},
        {"mp.publish('a', {}, {format = 'text'})", "takes a string"},
        {"mp.publish('a', print)", "main.lua:2: publish: "},
        {"mp.publish('a', {x = 0/0})", "NaN"},
        {"local t = {} t[1] = t mp.publish('a', t)", "main.lua:2: publish: "},
        {"mp.publish('a', 'x', {properties = {1}})",
         "properties have strings as names"},
        {"mp.publish('a', 'x', {properties = {a = {}}})",
         "properties 'a' is a table"},
        {"mp.publish('a', 'x', {properties = {a = '\\xff'}})", "UTF-8"},
        {"for i = 1, 101 do mp.publish('a', 'x') end",
         "more than limits.outputs (100)"},
        {"for i = 1, 9 do mp.publish('a', ('x'):rep(30000)) end",
         "more than limits.output_bytes"},
        {"mp.publish('a', {('x'):rep(300000)})",
         "more than limits.output_bytes"},
        {"mp.sleep('2')", "sleep: '2' is not a duration"},
        {"mp.sleep(0/0)", "is not a duration"},
        {"mp.sleep({})",
         "sleep: the duration must be a number of seconds or a text like "
         "\"5m\", not a table"},
        {"mp.publish('a/+', 'x')", "publish: topic 'a/+' holds a wildcard"},
        {"mp.sleep()", "sleep: the duration is missing"},
        {"mp.reject()", "reject: the reason is missing"},
        {"mp.reject({})", "reject: the reason must be a string, not a table"},
        {"mp.log.info()", "log.info: the message is missing"},
        {"mp.publish()", "publish: the topic is missing"},
        {"mp.reject('x', {statsu = 1})", "did you mean 'status'?"},
        {"mp.reject('x', {status = 200})", "from 400 to 599"},
        {"mp.retry('x', {after = 'x'})", "retry: after: 'x' is not a duration"},
        {"mp.log.info({})", "log.info: the message must be a string"},
        {"mp.log.info('x', {a = {}})", "log.info: fields 'a' is a table"},
        {"mp.log.info('x', {['a b'] = 1})",
         "main.lua:2: log.info: field name 'a b' is not 1 to 40 of"},
        {"mp.log.warn('x', {['a=1\\nb'] = 1})",
         "log.warn: field name 'a=1\nb'"},
        {"mp.log.info('x', {[''] = 1})", "log.info: field name ''"},
        {"mp.log.info('x', {[('n'):rep(41)] = 1})", "log.info: field name 'nn"},
        {"mp.log.inof('x')", "mp.log has no 'inof'; did you mean 'info'?"},
        {"mp.reply('x')", "main.lua:2: reply: the status is a number from 200"},
        {"mp.reply(199)", "main.lua:2: reply: the status is a number from 200"},
        {"mp.reply(600)", "main.lua:2: reply: the status is a number from 200"},
        {"mp.reply(204, 'x')", "main.lua:2: reply: a 204 has no body"},
        {"mp.reply(304, {})", "reply: a 304 has no body"},
        {"mp.reply(200, 'x', {headers = {['Content-Length'] = 9}})",
         "reply: header 'Content-Length': the host sets it"},
        {"mp.reply(200, 'x', {headers = {['transfer-encoding'] = 'x'}})",
         "reply: header 'transfer-encoding': the host sets it"},
        {"mp.reply(200, 'x', {headers = {Connection = 'close'}})",
         "reply: header 'Connection': the host sets it"},
        {"require 'senml'.encode({}, 'xml')",
         "main.lua:2: senml.encode: the format is \"json\" or \"cbor\", not "
         "'xml'"},
        {"require 'senml'.encode('x')",
         "senml.encode: the list of records must be a table, not a string"},
        {"require 'senml'.decode('[]', 1)",
         "senml.decode: the format must be \"json\" or \"cbor\", not a number"},
        {"mp.reply(200, nil, {header = {}})", "did you mean 'headers'?"},
        {"mp.foo()", "mp has no 'foo'"},
        {"mp.pubish('a', 'b')", "mp has no 'pubish'; did you mean 'publish'?"},
        {"return mp.env.LIMT", "env has no 'LIMT'; did you mean 'LIMIT'?"},
        {"return mp.env[1]", "env has names only"},
        {"return getmetatable(mp.env).__index(1, 'x')",
         "attempt to index a boolean value"},
        {"return event.decode()", "call it as event:decode()"},
        {"return event:decode('jsn')", "did you mean 'json'?"},
        {"return event:decode('cobr')", "did you mean 'cbor'?"},
        {"return event:decode(1)", "the format must be a string"},
        {"event.data = nil return event:decode()", "has no data"},
        {"return require 'os'", "module 'os' not found"},
        {"return require 'socket'", "the function has no socket.lua"},
    };

    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_error(rows[i].body, rows[i].error);
}

static void publishing_needs_a_grant(void **fixture)
{
    (void)fixture;
    k->grant = "alerts/#";
    run_body("mp.publish('alerts/kiln', 'x') mp.publish('alerts', 'x')", "");
    assert_int_equal(k->done.n_effects, 2);
    expect_error("mp.publish('alarm/kiln', 'x')",
                 "main.lua:2: publish to 'alarm/kiln' is not granted ([grant] "
                 "publish = alerts/#)");
    k->grant = NULL;
    expect_error("mp.publish('alerts/kiln', 'x')",
                 "is not granted ([grant] publish is empty)");
}

static void the_hosts_own_topics_are_refused_at_the_call(void **fixture)
{
    static const char said[] = "is not allowed: the host's own topics";

    (void)fixture;
    expect_error("mp.publish('moonpool/x', 'x')",
                 "main.lua:2: publish to 'moonpool/x' is not allowed: the "
                 "host's own topics");
    expect_error("mp.publish('moonpool', 'x')", said);
    expect_error("mp.publish('moonpool/', 'x')", said);
    run_body("mp.publish('moonpools/x', 'x') mp.publish('a/moonpool', 'x')"
             " mp.publish('moonpoo', 'x') pcall(mp.publish, 'moonpool/y', 'x')",
             "");
    assert_int_equal(k->done.kind, MP_OUT_OK);
    assert_int_equal(k->done.n_effects, 3);
}

/* All or none. */
static void a_failed_run_leaves_no_effects_but_its_log(void **fixture)
{
    (void)fixture;
    run_body("mp.publish('a', 'x') mp.log.warn('before') error('no')", "");
    assert_int_equal(k->done.kind, MP_OUT_ERROR);
    assert_int_equal(k->done.n_effects, 0);
    assert_int_equal(k->done.effects.len, 0);
    assert_slice(log_line(0).message, "before");
    run_body("pcall(mp.publish, 'a', nil) mp.publish('b', 'x')", "");
    assert_int_equal(k->done.n_effects, 1);
    assert_slice(effect(0).topic, "b");
}

/* ---- giving up ---- */

static void reject_and_retry_say_how(void **fixture)
{
    (void)fixture;
    run_body("mp.reject('not a temperature', {status = 422})", "");
    assert_int_equal(k->done.kind, MP_OUT_REJECTED);
    assert_slice(k->done.error, "not a temperature");
    assert_int_equal(k->done.status, 422);
    run_body("local t = tonumber('x') or mp.reject('no number')", "");
    assert_slice(k->done.error, "no number");
    assert_int_equal(k->done.status, 0);
    run_body("mp.retry('busy')", "");
    assert_int_equal(k->done.kind, MP_OUT_ERROR);
    assert_int_equal(k->done.traceback.len, 0);
    assert_int_equal(k->done.did, MP_DID_RETRY);
    assert_int_equal(k->done.retry_after_us, -1);
    run_body("mp.retry('busy', {after = '1h30m'})", "");
    assert_int_equal(k->done.retry_after_us, 5400 * MP_SECOND);
    run_body("local ok, e = pcall(mp.retry, 'busy') return tostring(e)", "");
    assert_int_equal(k->done.kind, MP_OUT_OK);
    assert_slice(k->done.result, "busy");
    expect("local ok, e = pcall(mp.retry, 'busy') return 'so ' .. e .. '!'", "",
           "so busy!");
    assert_int_equal(k->done.did, 0);
    run_body("error('plain')", "");
    assert_int_equal(k->done.did, 0);
}

static void nobody_can_forge_or_change_a_rejection(void **fixture)
{
    (void)fixture;
    expect("local _, e = pcall(mp.reject, 'x')"
           " return type(e) .. tostring(getmetatable(e)) .. tostring("
           "pcall(setmetatable, e, {})) .. tostring(pcall(rawset, e, 1, 2))",
           "", "userdatafalsefalsefalse");
}

static void replies_carry_status_and_data(void **fixture)
{
    (void)fixture;
    run_body("return mp.reply(404, {why = 'x'})", "");
    assert_int_equal(k->done.result_kind, MP_RESULT_REPLY);
    assert_int_equal(k->done.status, 404);
    assert_int_equal(k->done.result_format, MP_FORMAT_JSON);
    assert_slice(k->done.result, "{\"why\":\"x\"}");
    run_body("return mp.reply(204)", "");
    assert_int_equal(k->done.status, 204);
    assert_slice(k->done.result, "");
    run_body("return 'text'", "");
    assert_int_equal(k->done.result_kind, MP_RESULT_TEXT);
    run_body("return", "");
    assert_int_equal(k->done.result_kind, MP_RESULT_NONE);
    expect_error("return ('x'):rep(300000)", "limits.output_bytes");
}

/* ---- log ---- */

static void log_lines_carry_level_and_sorted_fields(void **fixture)
{
    struct mp_log_line line;

    (void)fixture;
    run_body("mp.log.debug('a') mp.log.warn('b', {z = 1, y = 'q', x = true})"
             " mp.log.error('c') print('d', {} ~= nil, 2.5) return 1",
             "");
    assert_int_equal(k->done.n_logs, 4);
    assert_int_equal(log_line(0).level, MP_DEBUG);
    line = log_line(1);
    assert_int_equal(line.level, MP_WARN);
    assert_int_equal(line.n_fields, 3);
    assert_slice(pairs[0].name, "x");
    assert_slice(pairs[0].value, "true");
    assert_slice(pairs[2].value, "1");
    assert_int_equal(log_line(2).level, MP_ERROR);
    line = log_line(3);
    assert_int_equal(line.level, MP_INFO);
    assert_slice(line.message, "d  true  2.5");
}

static void what_is_said_past_the_limit_is_counted(void **fixture)
{
    (void)fixture;
    k->log_bytes = 1000;
    run_body("for i = 1, 100 do mp.log.info(('x'):rep(90)) end"
             " mp.log.info(('x'):rep(5000)) return 1",
             "");
    assert_int_equal(k->done.kind, MP_OUT_OK);
    assert_int_equal(k->done.n_logs, 11);
    assert_int_equal(k->done.logs_cut, 90);
}

static void even_an_empty_line_costs_sixteen_bytes(void **fixture)
{
    (void)fixture;
    k->log_bytes = 1600;
    run_body("for i = 1, 150 do print() end return 1", "");
    assert_int_equal(k->done.kind, MP_OUT_OK);
    assert_int_equal(k->done.n_logs, 100);
    assert_int_equal(k->done.logs_cut, 50);
}

static void field_names_are_plain_words(void **fixture)
{
    (void)fixture;
    run_body("mp.log.info('x', {['A-z_0.9'] = 1, [('n'):rep(40)] = 2})", "");
    assert_int_equal(log_line(0).n_fields, 2);
    assert_slice(pairs[0].name, "A-z_0.9");
}

/* ---- clocks, names ---- */

static void the_function_knows_itself_and_the_time(void **fixture)
{
    (void)fixture;
    expect("return mp.name .. ' ' .. mp.version .. ' ' .. mp.node .. ' '"
           " .. mp.env.LIMIT .. ' [' .. mp.env.EMPTY .. ']'",
           "", "overheat 1.2.0 store-17 30 []");
    expect("local a = mp.monotonic() return mp.now() > 1.6e9 and"
           " math.type(mp.now()) == 'float' and mp.monotonic() >= a"
           " and mp.clock_ok() and os.time() > 1600000000",
           "", "true");
    k->fake_wall_us = INT64_C(1772366400500000);
    expect("return mp.now() .. ' ' .. os.time() .. ' '"
           " .. os.date('!%Y-%m-%d %H:%M:%S') .. ' '"
           " .. os.date('!%H:%M', mp.now() + 60.7) .. ' '"
           " .. os.date('!*t', 0).year",
           "", "1772366400.5 1772366400 2026-03-01 12:00:00 12:01 1970");
    expect("return os.time{year = 2020, month = 1, day = 1, hour = 12} > 0"
           " and os.date('%c', 0) ~= nil and os.clock() >= 0"
           " and os.difftime(3, 1) == 2",
           "", "true");
}

/* ---- the event ---- */

static void an_mqtt_event_has_its_fields_and_no_others(void **fixture)
{
    struct mp_run run;
    struct mp_pair properties[] = {{MP_S("unit"), MP_S("C")}};

    (void)fixture;
    expect("local names = {} for name in pairs(event) do"
           " names[#names + 1] = name end table.sort(names)"
           " return table.concat(names, ' ')",
           "{}",
           "attempt data id params properties qos retained source subject "
           "time topic trigger type");
    expect("local e = event return e.id .. '|' .. e.type .. '|' .. e.source"
           " .. '|' .. e.subject .. '|' .. e.trigger .. '|' .. e.topic .. '|'"
           " .. e.qos .. '|' .. tostring(e.retained) .. '|' .. e.attempt"
           " .. '|' .. e.params.device .. '|' .. e.data .. '|'"
           " .. string.format('%.3f', e.time) .. math.type(e.time)",
           "{}",
           "4f2a9c-1b3d7|mqtt|mqtt://broker:1883|sensors/kiln-2/env|readings|"
           "sensors/kiln-2/env|1|false|1|kiln-2|{}|1772366400.123float");
    load_body("local e = event return e.key .. e.expiry ..  e.traceparent .."
              " e.datacontenttype .. e.properties.unit .. e.scheduled");
    run = kit_event(k, 1, MP_S("x\0y"));
    run.event.has_key = true;
    run.event.key = MP_S("kiln-2 ");
    run.event.has_expiry = true;
    run.event.expiry_s = 30;
    run.event.traceparent = MP_S(" 00-1 ");
    run.event.datacontenttype = MP_S("text/plain ");
    run.event.properties = properties;
    run.event.n_properties = 1;
    run.event.scheduled_us = 2 * MP_SECOND;
    mp_wire_run(&k->out, &run);
    kit_flush(k);
    assert_true(kit_next(k));
    assert_slice(k->done.result, "kiln-2 30 00-1 text/plain C2.0");
}

static void a_timer_event_has_no_topic(void **fixture)
{
    struct mp_run run;

    (void)fixture;
    load_body("local names = {} for name in pairs(event) do"
              " names[#names + 1] = name end table.sort(names)"
              " return table.concat(names, ' ')");
    run = kit_event(k, 1, MP_S(""));
    run.event.type = MP_EVENT_TIMER;
    run.event.n_params = 0;
    mp_wire_run(&k->out, &run);
    kit_flush(k);
    assert_true(kit_next(k));
    assert_slice(k->done.result, "attempt data id missed params source subject "
                                 "time trigger type");
}

static void a_request_says_what_was_asked(void **fixture)
{
    static const struct mp_pair query[] = {{{"unit", 4}, {"C", 1}}};
    static const struct mp_pair headers[] = {{{"x-event", 7}, {"push", 4}}};
    struct mp_run run;

    (void)fixture;
    load_body("return table.concat({event.type, event.method, event.path,"
              " event.query.unit, event.headers['x-event'], event.peer,"
              " tostring(event.identity), tostring(event.topic)}, ' ')");
    for (int twice = 0; twice < 2; twice++) { /* nothing stays behind */
        run = kit_event(k, 1, MP_S(""));
        run.event.type = MP_EVENT_HTTP;
        run.event.method = MP_S("PUT");
        run.event.path = MP_S("/rooms/7");
        run.event.peer = MP_S("10.0.0.9");
        run.event.query = query;
        run.event.headers = headers;
        run.event.n_query = run.event.n_headers = 1;
        mp_wire_run(&k->out, &run);
        kit_flush(k);
        assert_true(kit_next(k));
        assert_slice(k->done.result,
                     "http PUT /rooms/7 C push 10.0.0.9 nil nil");
    }
}

static void ask(const char *accept)
{
    struct mp_pair head = {MP_S("accept"), mp_slice_str(accept)};
    struct mp_run run = kit_event(k, 1, MP_S(""));

    run.event.type = MP_EVENT_HTTP;
    run.event.method = MP_S("GET");
    run.event.path = MP_S("/");
    run.event.headers = &head;
    run.event.n_headers = 1;
    mp_wire_run(&k->out, &run);
    kit_flush(k);
    assert_true(kit_next(k));
    assert_int_equal(k->done.kind, MP_OUT_OK);
}

static void an_answer_is_written_as_who_asks_takes_it(void **fixture)
{
    (void)fixture;
    load_body("return {1, 2}");
    ask("application/json, application/cbor");
    assert_slice(k->done.result, "[1,2]");
    ask("*/*");
    assert_int_equal(k->done.result_format, MP_FORMAT_JSON);
    ask("text/html;q=1, Application/CBOR;q=0.5");
    assert_int_equal(k->done.result_format, MP_FORMAT_CBOR);
    assert_slice(k->done.result, "\x82\x01\x02");
    load_body("return mp.reply(201, {1, 2})");
    ask("application/cbor");
    assert_int_equal(k->done.result_kind, MP_RESULT_REPLY);
    assert_int_equal(k->done.result_format, MP_FORMAT_CBOR);
}

/* c.dd as cdd. */
static void a_reply_to_coap_has_a_code_of_coap(void **fixture)
{
    static const char *const bad[] = {"199", "232", "600", "540", "451"};
    struct mp_run run;
    char body[100];

    (void)fixture;
    load_body("return mp.reply(204, 'changed')");
    run = kit_event(k, 1, MP_S(""));
    run.event.type = MP_EVENT_COAP;
    run.event.method = MP_S("PUT");
    mp_wire_run(&k->out, &run);
    kit_flush(k);
    assert_true(kit_next(k));
    assert_int_equal(k->done.status, 204);
    assert_slice(k->done.result, "changed");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(body, sizeof body, "return mp.reply(%s)", bad[i]);
        load_body(body);
        run.id = ++k->next_id;
        mp_wire_run(&k->out, &run);
        kit_flush(k);
        assert_true(kit_next(k));
        assert_has(k->done.error, "reply: the status");
    }
}

static void what_is_made_and_not_returned_is_said_once(void **fixture)
{
    (void)fixture;
    run_body("mp.reply(201, 'x')", "");
    assert_int_equal(k->done.result_kind, MP_RESULT_NONE);
    assert_int_equal(k->done.n_logs, 1);
    assert_int_equal(log_line(0).level, MP_WARN);
    assert_slice(log_line(0).message,
                 "main.lua:2: mp.reply(...) was not returned");
    kit_run(k, 1, "");
    assert_int_equal(k->done.n_logs, 0);
    run_body("return 1, mp.reply(201)", "");
    assert_int_equal(k->done.n_logs, 2);
    assert_slice(log_line(0).message,
                 "the handler returned 2 values; only the first one counts");
    kit_run(k, 1, "");
    assert_int_equal(k->done.n_logs, 0);
    /* One of two, or none because it failed. */
    run_body("local no = mp.reply(404) return mp.reply(200)", "");
    assert_int_equal(k->done.n_logs, 0);
    run_body("mp.reply(404) error('x')", "");
    assert_int_equal(k->done.n_logs, 0);
}

static void a_reply_has_headers_and_an_age(void **fixture)
{
    struct mp_pair headers[MP_PAIRS_MAX];

    (void)fixture;
    run_body("return mp.reply(200, 'x', {max_age = '1m',"
             " headers = {ETag = '\"7\"', ['X-Count'] = 3}})",
             "");
    assert_int_equal(k->done.kind, MP_OUT_OK);
    assert_int_equal(k->done.max_age_us, 60 * MP_SECOND);
    assert_int_equal(k->done.n_headers, 2);
    assert_int_equal(mp_read_headers(&k->done, headers), 0);
    assert_slice(headers[0].name, "ETag");
    assert_slice(headers[0].value, "\"7\"");
    assert_slice(headers[1].name, "X-Count");
    assert_slice(headers[1].value, "3");
    run_body("return mp.reply(200, 'x', {headers = {['a b'] = 'x'}})", "");
    assert_has(k->done.error, "'a b' is no header's name");
    run_body("return mp.reply(200, 'x', {headers = {a = 'x\\r\\nb: y'}})", "");
    assert_has(k->done.error, "has a control byte");
    run_body("return mp.reply(200, 'x', {headers = {a = ('x'):rep(9000)}})",
             "");
    assert_has(k->done.error, "more than 8192 bytes");
    run_body("return mp.reply(204)", "");
    assert_int_equal(k->done.n_headers, 0);
    assert_int_equal(k->done.max_age_us, -1);
}

static void decode_gives_the_payload_as_a_value(void **fixture)
{
    (void)fixture;
    expect("return event:decode().a[2]", "{\"a\":[1,2]}", "2");
    expect("return event:decode() == event:decode()", "{}", "true");
    expect("return event:decode('text')", "21.5", "21.5");
    expect("return event:decode('bytes')", "\xff", "\xff");
    expect("return math.type(event:decode())", "21.5", "float");
    expect("return event:decode() == mp.null", "null", "true");
    run_body("return event:decode()", "{\"a\":");
    assert_int_equal(k->done.kind, MP_OUT_REJECTED);
    assert_has(k->done.error, "payload is not JSON: ");
    assert_has(k->done.error, "at byte ");
    run_body("return event:decode('text')", "\xff");
    assert_int_equal(k->done.kind, MP_OUT_REJECTED);
    run_body("return pcall(event.decode, event)", "{");
    assert_slice(k->done.result, "false");
}

/* "1" is a number in JSON and another one in CBOR; no SenML is a number. */
static void decode_follows_format_and_content_type(void **fixture)
{
    static const char json[] = "1", cbor[] = "-18", text[] = "'1'",
                      senml_json[] = "payload is not SenML in JSON: expected a "
                                     "list of records",
                      senml_cbor[] = "payload is not SenML in CBOR: expected a "
                                     "list of records";
    static const struct {
        enum mp_format format;
        const char *type, *result;
    } rows[] = {
        {MP_FORMAT_AUTO, NULL, json},
        {MP_FORMAT_AUTO, "", json},
        {MP_FORMAT_AUTO, "application/json", json},
        {MP_FORMAT_AUTO, "application/json;charset=utf-8", json},
        {MP_FORMAT_AUTO, "application/problem+json", json},
        {MP_FORMAT_AUTO, "application/cbor", cbor},
        {MP_FORMAT_AUTO, "Application/CBOR ; a=b", cbor},
        {MP_FORMAT_AUTO, "application/vnd.x.y+cbor", cbor},
        {MP_FORMAT_AUTO, "application/cbor-seq", json},
        {MP_FORMAT_AUTO, "+cbor", cbor},
        {MP_FORMAT_AUTO, "application/senml+json", senml_json},
        {MP_FORMAT_AUTO, "application/senml+cbor", senml_cbor},
        {MP_FORMAT_AUTO, "APPLICATION/SENML+CBOR;v=1", senml_cbor},
        {MP_FORMAT_AUTO, "application/senml", senml_json},
        {MP_FORMAT_AUTO, "text/plain; charset=utf-8", text},
        {MP_FORMAT_AUTO, "TEXT/csv", text},
        {MP_FORMAT_AUTO, "text", json},
        {MP_FORMAT_AUTO, "application/octet-stream", text},
        {MP_FORMAT_AUTO, "application/octet-streams", json},
        {MP_FORMAT_AUTO, "image/png", json},
        {MP_FORMAT_AUTO, ";", json},
        {MP_FORMAT_TEXT, "application/json", text},
        {MP_FORMAT_JSON, "text/plain", json},
        {MP_FORMAT_CBOR, "application/json", cbor},
        {MP_FORMAT_BYTES, NULL, text},
        {MP_FORMAT_SENML, NULL, senml_json},
    };

    (void)fixture;
    load_body("local v = event:decode()"
              " return type(v) == 'string' and \"'\" .. v .. \"'\" or"
              " tostring(v)");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mp_run run = kit_event(k, 1, MP_S("1"));

        run.event.format = rows[i].format;
        run.event.datacontenttype = mp_slice_str(rows[i].type);
        mp_wire_run(&k->out, &run);
        kit_flush(k);
        assert_true(kit_next(k));
        print_message("%s\n", rows[i].type ? rows[i].type : "no type");
        if (k->done.kind == MP_OUT_REJECTED)
            assert_slice(k->done.error, rows[i].result);
        else
            assert_slice(k->done.result, rows[i].result);
    }
}

static void decode_reads_cbor_and_senml(void **fixture)
{
    (void)fixture;
    expect("local t = event:decode('cbor') return json.encode(t)",
           "\xa1\x61t\xf9\x4f\xdb", "{\"t\":31.421875}");
    expect("return event:decode('cbor') == event:decode('cbor')",
           "\xa1\x61t\xf5", "true");
    expect("local t = event:decode('senml')"
           " return t == event:decode('senml') and t ~= event:decode() and"
           " t[1].name .. t[1].value",
           "[{\"bn\":\"a/\",\"n\":\"b\",\"v\":5}]", "a/b5");
    expect("local r = event:decode('senml')[1] return r.name .. r.value",
           "\x81\xa2\x21\x62kw\x02\x05", "kw5");
    k->fake_wall_us = INT64_C(1772366400500000);
    expect("return event:decode('senml')[1].time == mp.now() - 60",
           "[{\"n\":\"a\",\"v\":1,\"t\":-60}]", "true");
    k->fake_wall_us = 0;
    run_body("return event:decode('cbor')", "\x82\x01");
    assert_int_equal(k->done.kind, MP_OUT_REJECTED);
    assert_slice(k->done.error, "payload is not CBOR: expected more values at "
                                "byte 3, but the bytes end");
    run_body("return event:decode('senml')", "[{\"n\":\"a\",\"v\":1},{}, 5]");
    assert_int_equal(k->done.kind, MP_OUT_REJECTED);
    assert_slice(k->done.error, "payload is not SenML in JSON: record 3: must "
                                "be a table of fields");
    run_body("return event:decode('senml')", "\x9f");
    assert_slice(k->done.error, "payload is not SenML in CBOR: expected a "
                                "value at byte 2, but the bytes end");
    run_body("return select(2, pcall(event.decode, event, 'cbor')) .. ''", "");
    assert_has(k->done.result, "payload is not CBOR: ");
}

static void payloads_can_be_cbor(void **fixture)
{
    static const char *const calls[] = {
        "mp.publish('a', {a = true}, {format = 'cbor'})",
        "mp.send('archive', {a = true}, {format = 'cbor'})",
        "mp.publish('a', require 'cbor'.encode{a = true}, {format = 'cbor'})",
    };
    struct mp_effect e;

    (void)fixture;
    k->send = "archive";
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        run_body(calls[i], "");
        e = effect(0);
        assert_int_equal(e.format, MP_FORMAT_CBOR);
        assert_slice(e.data, "\xa1\x61"
                             "a\xf5");
    }
}

static void codecs_are_at_hand(void **fixture)
{
    (void)fixture;
    expect("local cbor, senml = require 'cbor', require 'senml'"
           " return cbor.null == mp.null and cbor.null == json.null and"
           " json.encode(cbor.array{}) .. json.encode(cbor.decode("
           "cbor.encode{a = cbor.null})) .."
           " senml.encode({{name = 'a', value = 1}})",
           "", "[]{\"a\":null}[{\"n\":\"a\",\"v\":1}]");
}

/* ---- what there is and what there isn't ---- */

static void the_sandbox_has_what_is_listed_and_nothing_else(void **fixture)
{
    (void)fixture;
    expect("local names = {} for name in pairs(_G) do"
           " names[#names + 1] = name end table.sort(names)"
           " return table.concat(names, ' ')",
           "",
           "_G _VERSION assert coroutine error getmetatable ipairs load math "
           "next os pairs pcall print rawequal rawget rawlen rawset require "
           "select setmetatable string table tonumber tostring type utf8 "
           "xpcall");
    expect("local names = {} for name in pairs(os) do"
           " names[#names + 1] = name end table.sort(names)"
           " return table.concat(names, ' ') .. tostring(string.dump)",
           "", "clock date difftime timenil");
    expect("local names = {} for name in pairs(coroutine) do"
           " names[#names + 1] = name end table.sort(names)"
           " return table.concat(names, ' ')",
           "", "close create isyieldable resume running status wrap yield");
}

static void load_takes_text_only(void **fixture)
{
    (void)fixture;
    expect("return load('return 1')() .. type(load(function() end))", "",
           "1function");
    expect("return (select(2, load('\\27Lua')))", "",
           "attempt to load a binary chunk (mode is 't')");
    expect("return (select(2, load('\\27Lua', 'x', 'bt')))", "",
           "attempt to load a binary chunk (mode is 't')");
    expect("return (select(2, load('return 1', 'x', 'b')))", "",
           "attempt to load a text chunk (mode is 'b')");
    expect("return load('return x', 'c', 't', {x = 5})()", "", "5");
    expect("local n = 0 return load(function() n = n + 1"
           " return ({'return ', '4', '2'})[n] end)()",
           "", "42");
    expect("return (select(2, load('x = = 1', '=mine')))", "",
           "mine:1: unexpected symbol near '='");
}

static void finalizers_are_refused(void **fixture)
{
    (void)fixture;
    expect_error("setmetatable({}, {__gc = true})", "finalizers");
    expect("local m = setmetatable({}, {}) local mt = {} setmetatable({}, mt)"
           " mt.__gc = function() mp.publish('gc', 'x') end"
           " rawset(getmetatable(m), '__gc', mt.__gc)"
           " getmetatable('').__gc = mt.__gc"
           " for i = 1, 20000 do local t = {('x'):rep(50) .. i} end return 1",
           "", "1");
    assert_int_equal(k->done.n_effects, 0);
}

/* The same words as Lua's own library. */
static void coroutines_behave_as_in_lua(void **fixture)
{
    (void)fixture;
    expect("local co = coroutine.create(function(a, b)"
           " local c = coroutine.yield(a + b) error('x' .. c, 0) end)"
           " local out = {coroutine.status(co)}"
           " out[#out + 1] = tostring(select(2, coroutine.resume(co, 1, 2)))"
           " out[#out + 1] = coroutine.status(co)"
           " local ok, e = coroutine.resume(co, 'y')"
           " out[#out + 1] = tostring(ok) .. e .. coroutine.status(co)"
           " ok, e = coroutine.resume(co)"
           " out[#out + 1] = e"
           " return table.concat(out, '|')",
           "",
           "suspended|3|suspended|falsexydead|cannot resume dead coroutine");
    expect("return select(2, pcall(coroutine.wrap(function() error('e') end)))",
           "", "main.lua:2: e");
    expect("local f = coroutine.wrap(function() end) f()"
           " return (select(2, pcall(f))):gsub('^.-: ', '')",
           "", "cannot resume dead coroutine");
    expect("local co, top = coroutine.running()"
           " return tostring(top) .. type(co) .. coroutine.status(co)"
           " .. tostring(coroutine.isyieldable())"
           " .. tostring(coroutine.wrap(coroutine.isyieldable)())",
           "", "truethreadrunningfalsetrue");
    expect("return select(2, coroutine.resume(coroutine.running()))", "",
           "cannot resume non-suspended coroutine");
    expect("return (select(2, pcall(coroutine.close, coroutine.running())))",
           "", "cannot close a running coroutine");
    expect("local outer = coroutine.running()"
           " return coroutine.wrap(function() return coroutine.status(outer) .."
           " select(2, pcall(coroutine.close, outer)) end)()",
           "", "normalcannot close a normal coroutine");
    expect(
        "local log = '' local co = coroutine.create(function()"
        " local c <close> = setmetatable({}, {__close = function()"
        " log = log .. 'closed' end}) coroutine.yield() end)"
        " coroutine.resume(co)"
        " return tostring(coroutine.close(co)) .. log ..coroutine.status(co)",
        "",
        "trueclosed"
        "dead");
    expect("return (select(2, pcall(coroutine.resume, 1)))", "",
           "bad argument #1 to 'coroutine.resume' (thread expected, got "
           "number)");
}

/* The thread of the file's own run is kept by some; it can't be used. */
static void the_threads_of_the_worker_are_out_of_reach(void **fixture)
{
    (void)fixture;
    kit_load(k, 1,
             "local main = coroutine.running()\n"
             "return function() return coroutine.status(main) .. "
             "tostring(coroutine.resume(main)) .. "
             "tostring(pcall(coroutine.close, main)) end");
    kit_run(k, 1, "");
    assert_int_equal(k->done.kind, MP_OUT_OK);
    assert_slice(k->done.result, "normalfalsefalse");
}

static void nested_closes_end_in_an_error_not_in_a_crash(void **fixture)
{
    (void)fixture;
    run_body("local function nest() local co = coroutine.create(function()"
             " local c <close> = setmetatable({}, {__close = nest})"
             " coroutine.yield() end) coroutine.resume(co)"
             " local ok, e = coroutine.close(co) if not ok then error(e, 0) end"
             " end nest()",
             "");
    assert_int_equal(k->done.kind, MP_OUT_ERROR);
    assert_has(k->done.error, "C stack overflow");
    expect("local function deep(n) return coroutine.wrap(function()"
           " return deep(n + 1) end)() end"
           " return select(2, pcall(deep, 0)):sub(-16)",
           "", "C stack overflow");
}

static const struct mp_pair two_secrets[] = {{{"HOOK_KEY", 8}, {"s3\0ret", 6}},
                                             {{"TOKEN", 5}, {"t", 1}}};

static void a_secret_is_read_by_its_name(void **fixture)
{
    (void)fixture;
    k->secrets = two_secrets;
    k->n_secrets = 2;
    expect("return #mp.secret('HOOK_KEY') .. mp.secret('TOKEN')", "", "6t");
    kit_load(k, 1,
             "local mp = require 'moonpool'\n"
             "local token = mp.secret('TOKEN')\n"
             "return function() return token end");
    kit_run(k, 1, "");
    assert_slice(k->done.result, "t");
}

static void a_secret_that_is_not_granted_raises(void **fixture)
{
    (void)fixture;
    expect_error("mp.secret('TOKEN')", "main.lua:2: secret 'TOKEN' is not "
                                       "granted ([grant] secret is empty)");
    k->secrets = two_secrets;
    k->n_secrets = 2;
    expect_error("mp.secret('TOKE')",
                 "main.lua:2: secret 'TOKE' is not granted ([grant] secret = "
                 "HOOK_KEY, TOKEN)");
    expect_error("mp.secret()", "secret: the name is missing");
    expect_error("mp.secret(1)", "secret: the name must be a string");
}

static void a_notify_names_a_path_and_how_long_it_is_fresh(void **fixture)
{
    struct mp_effect e;

    (void)fixture;
    k->observe = "/rooms/+";
    run_body("mp.notify('/rooms/1', 21.5)\n"
             "mp.notify('/rooms/2', {a = 1}, {format = 'cbor', max_age = '5m'})"
             "\nmp.notify('/rooms/3', 'x', {max_age = 0})",
             "");
    e = effect(0);
    assert_int_equal(e.kind, MP_EFFECT_NOTIFY);
    assert_slice(e.topic, "/rooms/1");
    assert_slice(e.data, "21.5");
    assert_int_equal(e.format, MP_FORMAT_JSON);
    assert_int_equal(e.max_age_us, 60 * MP_SECOND);
    e = effect(1);
    assert_int_equal(e.format, MP_FORMAT_CBOR);
    assert_int_equal(e.max_age_us, 300 * MP_SECOND);
    e = effect(2);
    assert_slice(e.data, "x");
    assert_int_equal(e.format, MP_FORMAT_TEXT);
    assert_int_equal(e.max_age_us, 0);
}

static void a_notify_that_nobody_could_see_raises(void **fixture)
{
    (void)fixture;
    expect_error("mp.notify('/rooms/1', 1)",
                 "main.lua:2: notify: /rooms/1 is answered by no observe "
                 "trigger of this function");
    k->observe = "/rooms/+";
    expect_error("mp.notify('/rooms/1/x', 1)", "no observe trigger");
    expect_error("mp.notify('rooms/1', 1)", "a path begins with /");
    expect_error("mp.notify('', 1)", "a path begins with /");
    expect_error("mp.notify('/rooms/a\\nb', 1)", "control byte");
    expect_error("mp.notify('/rooms/\\xff', 1)", "bad UTF-8");
    expect_error("mp.notify('/rooms/' .. ('x'):rep(2000), 1)", "at most 1024");
    expect_error("mp.notify('/rooms/1')", "the payload is nil");
    expect_error("mp.notify('/rooms/1', 1, {maxage = 1})",
                 "unknown option 'maxage'; did you mean 'max_age'?");
    expect_error("mp.notify('/rooms/1', 1, {max_age = 'x'})",
                 "notify: max_age: 'x' is not a duration");
    k->outputs = 1;
    expect_error("mp.notify('/rooms/1', 1) mp.notify('/rooms/1', 2)",
                 "notify: more than limits.outputs (1)");
}

/* Their numbers make ids, and the host counts the same way. */
static void a_notify_has_no_number_among_outputs(void **fixture)
{
    (void)fixture;
    k->observe = "/a";
    k->send = "other";
    expect("mp.notify('/a', 1) return mp.send('other', 1)", "",
           "4f2a9c-1b3d7/overheat/1");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_kit, close_kit)
    const struct CMUnitTest tests[] = {
        TEST(publish_takes_strings_as_bytes_and_values_as_json),
        TEST(publish_passes_its_options_on),
        TEST(later_changes_of_a_payload_do_not_matter),
        TEST(misuse_raises_at_the_callers_line),
        TEST(publishing_needs_a_grant),
        TEST(the_hosts_own_topics_are_refused_at_the_call),
        TEST(a_failed_run_leaves_no_effects_but_its_log),
        TEST(reject_and_retry_say_how),
        TEST(nobody_can_forge_or_change_a_rejection),
        TEST(replies_carry_status_and_data),
        TEST(log_lines_carry_level_and_sorted_fields),
        TEST(what_is_said_past_the_limit_is_counted),
        TEST(even_an_empty_line_costs_sixteen_bytes),
        TEST(field_names_are_plain_words),
        TEST(the_function_knows_itself_and_the_time),
        TEST(an_mqtt_event_has_its_fields_and_no_others),
        TEST(a_timer_event_has_no_topic),
        TEST(a_request_says_what_was_asked),
        TEST(a_secret_is_read_by_its_name),
        TEST(a_secret_that_is_not_granted_raises),
        TEST(a_notify_names_a_path_and_how_long_it_is_fresh),
        TEST(a_notify_that_nobody_could_see_raises),
        TEST(a_notify_has_no_number_among_outputs),
        TEST(an_answer_is_written_as_who_asks_takes_it),
        TEST(a_reply_to_coap_has_a_code_of_coap),
        TEST(what_is_made_and_not_returned_is_said_once),
        TEST(a_reply_has_headers_and_an_age),
        TEST(decode_gives_the_payload_as_a_value),
        TEST(decode_follows_format_and_content_type),
        TEST(decode_reads_cbor_and_senml),
        TEST(payloads_can_be_cbor),
        TEST(codecs_are_at_hand),
        TEST(the_sandbox_has_what_is_listed_and_nothing_else),
        TEST(load_takes_text_only),
        TEST(finalizers_are_refused),
        TEST(coroutines_behave_as_in_lua),
        TEST(the_threads_of_the_worker_are_out_of_reach),
        TEST(nested_closes_end_in_an_error_not_in_a_crash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
