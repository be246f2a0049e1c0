/*
 * test_scenario.c - tests of functions: what is kept from step to step, and
 * the clock that alarms and lifetimes go by.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/scenario.h"

static char dir[] = "/tmp/moonpool-scenario-XXXXXX";

static void say(struct mp_report *r, bool warning, const char *text)
{
    (void)r;
    (void)warning;
    print_message("%s\n", text);
}

static void put_file(const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/function.conf", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/main.lua", dir);
    unlink(path);
    return rmdir(dir);
}

#define KEYED                                                                  \
    "[function]\nname = counter\n[trigger t]\nmqtt = t/{k}\n"                  \
    "[state]\nkey = {k}\n[grant]\npublish = alarm, own, p\nsend = archive\n"
#define ALONE                                                                  \
    "[function]\nname = counter\n[trigger t]\nmqtt = t\n"                      \
    "[state]\n[grant]\npublish = p\n"

#define LUA "local mp, json = require 'moonpool', require 'json'\n"
/* The payload is Lua, so that a step says what it does. */
#define DOES                                                                   \
    LUA "local on = {}\n"                                                      \
        "function on.t(event) return load(event.data, '=d', 't', "             \
        "{mp = mp, event = event, json = json, table = table, error = error,"  \
        "tostring = tostring, string = string})() end\n"                       \
        "function on.alarm(event)\n"                                           \
        "  if event.alarm == 'bad' then error('no') end\n"                     \
        "  mp.publish('alarm', {name = event.alarm, key = event.key, "         \
        "k = event.params.k, data = event.data, now = mp.now()})\n"            \
        "end\nreturn on\n"

#define STEP(k, does) "{\"topic\":\"t/" k "\",\"data\":\"" does "\""

/* Requests, batches and a secret. */
#define DOORS                                                                  \
    "[function]\nname = doors\n[trigger get]\ncoap = GET /r/{r}\n"             \
    "observe = yes\n[trigger many]\nmqtt = m/{d}\nfilter = data > 0\n"         \
    "batch = 3 per {d} within 1s\n[grant]\nsecret = KEY\n"
#define OPENS                                                                  \
    LUA "local on = {}\n"                                                      \
        "function on.get(e) mp.notify('/r/' .. e.params.r, {n = 1})\n"         \
        "return mp.reply(205, {unit = e.query.unit, key = mp.secret('KEY'),"   \
        " zone = os.date('%Z')}, {headers = {etag = 'x'}}) end\n"              \
        "function on.many(e) for i, m in ipairs(e.events) do\n"                \
        "if m.data == '7' then m:reject('odd') end\n"                          \
        "if m.data == '8' then m:retry('busy') end end return #e.events end\n" \
        "return on\n"
/* Lines that remember, and what answers with its data. */
#define LINES                                                                  \
    "[function]\nname = lines\n[trigger d]\nmqtt = d/{x}\n"                    \
    "deadband = data 1 per {x} every 1m\n[trigger t]\nmqtt = t\n"              \
    "throttle = 1/m\n[trigger c]\nmqtt = c\ncoalesce = latest within 1m\n"     \
    "[trigger coap]\ncoap = GET,PUT,DELETE /c\n[trigger http]\nhttp = POST "   \
    "/h\n"
#define SAYS                                                                   \
    LUA "return function(e) local v = e:decode()\n"                            \
        "if v == mp.null then return end\n"                                    \
        "return tonumber(v) or mp.reject('no number') end\n"
#define ASK(method, path, data, status)                                        \
    "{\"method\":\"" method "\",\"path\":\"" path "\",\"data\":" data          \
    ",\"expect\":{\"status\":" status "}}"
#define REFUSED(method, path, data, status)                                    \
    "{\"method\":\"" method "\",\"path\":\"" path "\",\"data\":\"" data        \
    "\",\"expect\":{\"outcome\":\"rejected\",\"status\":" status "}}"
#define WITH "{\"secrets\":{\"KEY\":\"k1\"},\"steps\":["
#define GET "{\"method\":\"GET\",\"path\":\"/r/1\",\"query\":{\"unit\":\"C\"}"

static const struct {
    const char *why, *conf, *lua, *test, *wrong;
} cases[] = {
    {"a request is answered, and observers are told", DOORS, OPENS,
     WITH GET ",\"expect\":{\"status\":205,\"result\":{\"status\":205,"
              "\"data\":{\"unit\":\"C\",\"key\":\"k1\",\"zone\":\"UTC\"},"
              "\"headers\":{\"etag\":\"x\"}},\"notify\":[{\"path\":\"/r/1\","
              "\"data\":{\"n\":1},\"max_age\":\"1m\"}]}}]}",
     NULL},
    {"a notify that went elsewhere", DOORS, OPENS,
     WITH GET ",\"expect\":{\"notify\":[{\"path\":\"/r/2\"}]}}]}",
     "step 1: notify[1].path: expected \"/r/2\", got \"/r/1\""},
    {"a batch and what it said of its events", DOORS, OPENS,
     WITH
     "{\"events\":[{\"topic\":\"m/a\",\"data\":8},{\"topic\":\"m/a\","
     "\"data\":1},{\"topic\":\"m/a\",\"data\":7}],\"expect\":{\"result\":3,"
     "\"verdicts\":[{\"event\":1,\"retry\":\"busy\"},{\"event\":3,"
     "\"reject\":\"odd\"}]}},{\"topic\":\"m/a\",\"data\":\"1\",\"expect\":"
     "{\"result\":1,\"verdicts\":[]}}]}",
     NULL},
    {"a verdict that is another", DOORS, OPENS,
     WITH "{\"topic\":\"m/a\",\"data\":7,\"expect\":{\"verdicts\":"
          "[{\"event\":1,\"retry\":\"odd\"}]}}]}",
     "step 1: verdicts[1].retry: expected \"odd\", got nothing"},
    {"what the filter skips", DOORS, OPENS,
     WITH "{\"topic\":\"m/a\",\"data\":0,\"expect\":{\"skipped\":"
          "\"filter\"}}]}",
     NULL},
    {"what it was to skip and didn't", DOORS, OPENS,
     WITH "{\"topic\":\"m/a\",\"data\":1,\"expect\":{\"skipped\":"
          "\"filter\"}}]}",
     "step 1: skipped: expected \"filter\", but it is run"},
    {"what is skipped unexpectedly", DOORS, OPENS,
     WITH "{\"topic\":\"m/a\",\"data\":0}]}", "step 1: skipped by filter"},
    {"a deadband remembers the steps before", LINES, SAYS,
     "{\"steps\":[{\"topic\":\"d/a\",\"data\":5,\"expect\":{\"result\":5}},"
     "{\"topic\":\"d/a\",\"data\":5.5,\"expect\":{\"skipped\":\"deadband\"}},"
     "{\"topic\":\"d/b\",\"data\":5.5,\"expect\":{\"result\":5.5}},"
     "{\"after\":\"59s\",\"topic\":\"d/a\",\"data\":5,"
     "\"expect\":{\"skipped\":\"deadband\"}},"
     "{\"after\":\"1s\",\"topic\":\"d/a\",\"data\":5,"
     "\"expect\":{\"result\":5}}]}",
     NULL},
    {"a throttle goes by the clock of the test", LINES, SAYS,
     "{\"steps\":[{\"topic\":\"t\",\"data\":1},{\"topic\":\"t\",\"data\":2,"
     "\"expect\":{\"skipped\":\"throttle\"}},{\"after\":60,\"topic\":\"t\","
     "\"data\":3,\"expect\":{\"result\":3}}]}",
     NULL},
    {"a window ends at once", LINES, SAYS,
     "{\"steps\":[{\"topic\":\"c\",\"data\":1,\"expect\":{\"result\":1}}]}",
     NULL},
    {"another line than that", LINES, SAYS,
     "{\"steps\":[{\"topic\":\"t\",\"data\":1},{\"topic\":\"t\",\"data\":2,"
     "\"expect\":{\"skipped\":\"filter\"}}]}",
     "step 2: skipped: expected \"filter\", got throttle"},
    {"a line that is none", LINES, SAYS,
     "{\"steps\":[{\"topic\":\"t\",\"data\":1,\"expect\":{\"skipped\":"
     "\"luck\"}}]}",
     "expect.skipped is one of filter, deadband, throttle"},
    {"skipped and something else", LINES, SAYS,
     "{\"steps\":[{\"topic\":\"t\",\"data\":1,\"expect\":{\"skipped\":"
     "\"filter\",\"publish\":[]}}]}",
     "with skipped nothing else comes of it"},
    {"statuses are those that the client gets", LINES, SAYS,
     "{\"steps\":[" ASK("GET", "/c", "1", "205") "," ASK(
         "PUT", "/c", "1",
         "204") "," ASK("DELETE", "/c", "1",
                        "202") "," ASK("POST", "/h", "1",
                                       "200") "," ASK("POST", "/h", "null",
                                                      "204") "," REFUSED("GET",
                                                                         "/c",
                                                                         "no",
                                                                         "400") "]}",
     NULL},
    {"a status that is another", LINES, SAYS,
     "{\"steps\":[" ASK("GET", "/c", "1", "204") "]}",
     "status: expected 204, got 205"},
    {"a status that nothing had", LINES, SAYS,
     "{\"steps\":[{\"topic\":\"c\",\"data\":1,\"expect\":{\"status\":401}}]}",
     "status: expected 401, got none"},
    {"a secret that is missing", DOORS, OPENS, "{\"steps\":[" GET "}]}",
     "secrets: secret KEY of 'doors' is missing; the test gives it a value: "
     "\"secrets\": {\"KEY\": \"...\"} beside"},
    {"secrets of a function that asks for none (yet)", LINES, SAYS,
     "{\"secrets\":{\"KEY\":\"a\"},\"steps\":[" ASK("GET", "/c", "1",
                                                    "205") "]}",
     NULL},
    {"a query at the end of the path", DOORS, OPENS,
     "{\"secrets\":{\"KEY\":\"a\"},\"steps\":[{\"method\":\"GET\",\"path\":"
     "\"/r/1?a=b&unit=C%20x\",\"expect\":{\"result\":{\"data\":{\"unit\":"
     "\"C x\"}}}}]}",
     NULL},
    {"a secret that is not granted", DOORS, OPENS,
     "{\"secrets\":{\"KEY\":\"a\",\"KAY\":\"b\"},\"steps\":[" GET "}]}",
     "secret 'KAY' is not granted to 'doors'"},
    {"a secret that is no text", DOORS, OPENS,
     "{\"secrets\":{\"KEY\":1},\"steps\":[" GET "}]}",
     "secrets.KEY is an integer, not a string"},
    {"values stay, each with its actor", KEYED, DOES,
     "{\"state\":{\"a\":{\"n\":4,\"t\":{\"x\":[1]}},\"\":{\"n\":9}},\"steps\":"
     "[" STEP("a", "mp.state.increment('n')") ",\"expect\":{\"state\":"
                                              "{\"a\":{\"n\":5,\"t\":{\"x\":[1]"
                                              "}},\"\":{\"n\":9},\"b\":null}}}"
                                              "," STEP("b",
                                                       "mp.state.increment('n'"
                                                       ")") ",\"expect\":{"
                                                            "\"state\":"
                                                            "{\"a\":{\"n\":5},"
                                                            "\"b\":{\"n\":1,"
                                                            "\"t\":null}}}}"
                                                            "," STEP("b",
                                                                     "mp.state."
                                                                     "delete('"
                                                                     "n')") ","
                                                                            "\""
                                                                            "ex"
                                                                            "pe"
                                                                            "ct"
                                                                            "\""
                                                                            ":{"
                                                                            "\""
                                                                            "st"
                                                                            "at"
                                                                            "e"
                                                                            "\""
                                                                            ":{"
                                                                            "\""
                                                                            "b"
                                                                            "\""
                                                                            ":n"
                                                                            "ul"
                                                                            "l}"
                                                                            "}}"
                                                                            "]"
                                                                            "}",
     NULL},
    {"a failed run changes nothing", KEYED, DOES,
     "{\"steps\":[" STEP(
         "a", "mp.state.set('n', 1) error('no')") ",\"expect\":{\"outcome\":"
                                                  "\"error\",\"state\":{\"a\":"
                                                  "null}}}]}",
     NULL},
    {"of a function without a key", ALONE, DOES,
     "{\"state\":{\"\":{\"n\":1}},"
     "\"steps\":[{\"data\":\"mp.state.increment('n')\","
     "\"expect\":{\"state\":{\"\":{\"n\":2,\"m\":null}}}},"
     "{\"data\":\"return event.key\",\"expect\":{\"result\":null,"
     "\"state\":{\"\":{\"n\":2}}}}]}",
     NULL},
    {"other actors are seen as committed", KEYED, DOES,
     "{\"state\":{\"a\":{\"n\":4},\"b\":{\"n\":5,\"m\":6},\"\":{\"x\":1}},"
     "\"steps\":[" STEP(
         "a", "mp.state.set('n', 7) local s = {} for k, v in "
              "mp.state.of('b'):each() do "
              "s[#s + 1] = k .. v end return {mp.state.of('a'):get('n'), s, "
              "mp.state.actors()}") ",\"expect\":{\"result\":[4,[\"m6\",\"n5\"]"
                                    ",[\"a\",\"b\"]]}}]}",
     NULL},
    {"a large actor comes in part", KEYED, DOES,
     "{\"steps\":[" STEP(
         "a", "for i = 1, 9 do mp.state.set('n' .. i, "
              "string.rep(i, 20000)) end") "}," STEP("a", "mp.state.set('n55', "
                                                          "'x') "
                                                          "mp.state.delete('n8'"
                                                          ") local s = {} "
                                                          "for k, v in "
                                                          "mp.state.each() do "
                                                          "s[#s + 1] = k .. #v "
                                                          "end "
                                                          "return "
                                                          "{#mp.state.get('n9')"
                                                          ", table.concat(s, ' "
                                                          "')}") ",\"expect\":{"
                                                                 "\"result\":["
                                                                 "20000,"
                                                                 "\"n120000 "
                                                                 "n220000 "
                                                                 "n320000 "
                                                                 "n420000 "
                                                                 "n520000 n551 "
                                                                 "n620000 "
                                                                 "n720000 "
                                                                 "n920000\"]}}]"
                                                                 "}",
     NULL},
    {"lifetimes go by the fake clock", KEYED, DOES,
     "{\"steps\":[" STEP(
         "a",
         "mp.state.set('n', 1, {ttl='10m'})") "},"
                                              "{\"after\":\"9m\",\"expect\":{"
                                              "\"state\":{\"a\":{\"n\":1}}}},"
                                              "{\"after\":\"1m\",\"expect\":{"
                                              "\"state\":{\"a\":null}}}," STEP(
                                                  "a", "return "
                                                       "tostring(mp.state.get('"
                                                       "n'))") ",\"expect\":{"
                                                               "\"result\":"
                                                               "\"nil\"}}]}",
     NULL},
    {"alarms fire when they are due, in that order", KEYED, DOES,
     "{\"time\":\"1970-01-01T00:16:40Z\",\"steps\":[" STEP(
         "a",
         "mp.alarm.set('x', {after=60, data={a=1}}) "
         "mp.alarm.set('y', {at=1030}) mp.alarm.set('z', {after='2h'})") ",\"ex"
                                                                         "pect"
                                                                         "\":{"
                                                                         "\"ala"
                                                                         "rms\""
                                                                         ":["
                                                                         "{\"na"
                                                                         "me\":"
                                                                         "\"x\""
                                                                         ",\"ke"
                                                                         "y\":"
                                                                         "\"a\""
                                                                         ",\"af"
                                                                         "ter\""
                                                                         ":\"1m"
                                                                         "\","
                                                                         "\"dat"
                                                                         "a\":{"
                                                                         "\"a\""
                                                                         ":1},"
                                                                         "\"due"
                                                                         "\":"
                                                                         "\"197"
                                                                         "0-01-"
                                                                         "01T00"
                                                                         ":17:"
                                                                         "40."
                                                                         "000Z"
                                                                         "\"},{"
                                                                         "\"nam"
                                                                         "e\":"
                                                                         "\"y\""
                                                                         "},"
                                                                         "{\"af"
                                                                         "ter\""
                                                                         ":7200"
                                                                         "}]}},"
                                                                         "{\"af"
                                                                         "ter\""
                                                                         ":\"29"
                                                                         "s\","
                                                                         "\"exp"
                                                                         "ect\""
                                                                         ":{"
                                                                         "\"pub"
                                                                         "lish"
                                                                         "\":[]"
                                                                         "}},"
                                                                         "{\"af"
                                                                         "ter\""
                                                                         ":\"10"
                                                                         "m\","
                                                                         "\"top"
                                                                         "ic\":"
                                                                         "\"t/"
                                                                         "b\","
                                                                         "\"dat"
                                                                         "a\":"
                                                                         "\"mp."
                                                                         "publi"
                                                                         "sh('"
                                                                         "own',"
                                                                         " '')"
                                                                         "\","
                                                                         "\"exp"
                                                                         "ect\""
                                                                         ":{"
                                                                         "\"pub"
                                                                         "lish"
                                                                         "\":["
                                                                         "{\"to"
                                                                         "pic\""
                                                                         ":\"al"
                                                                         "arm\""
                                                                         ",\"da"
                                                                         "ta\":"
                                                                         "{\"na"
                                                                         "me\":"
                                                                         "\"y\""
                                                                         ",\"ke"
                                                                         "y\":"
                                                                         "\"a\""
                                                                         ",\"k"
                                                                         "\":"
                                                                         "\"a\""
                                                                         ","
                                                                         "\"now"
                                                                         "\":"
                                                                         "1030}"
                                                                         "},"
                                                                         "{\"to"
                                                                         "pic\""
                                                                         ":\"al"
                                                                         "arm\""
                                                                         ",\"da"
                                                                         "ta\":"
                                                                         "{\"na"
                                                                         "me\":"
                                                                         "\"x\""
                                                                         ",\"da"
                                                                         "ta\":"
                                                                         "\"{"
                                                                         "\\\"a"
                                                                         "\\\":"
                                                                         "1}\","
                                                                         "\"now"
                                                                         "\":"
                                                                         "1060}"
                                                                         "},"
                                                                         "{\"to"
                                                                         "pic\""
                                                                         ":\"ow"
                                                                         "n\"}]"
                                                                         "}},"
                                                                         "{\"af"
                                                                         "ter\""
                                                                         ":\"3h"
                                                                         "\","
                                                                         "\"exp"
                                                                         "ect\""
                                                                         ":{"
                                                                         "\"pub"
                                                                         "lish"
                                                                         "\":[{"
                                                                         "\"dat"
                                                                         "a\":{"
                                                                         "\"nam"
                                                                         "e\":"
                                                                         "\"z\""
                                                                         "}}]}}"
                                                                         ","
                                                                         "{\"af"
                                                                         "ter\""
                                                                         ":\"3h"
                                                                         "\","
                                                                         "\"exp"
                                                                         "ect\""
                                                                         ":{"
                                                                         "\"pub"
                                                                         "lish"
                                                                         "\":[]"
                                                                         "}}]}",
     NULL},
    {"one a key and name: set again it moves, but for its slack", KEYED, DOES,
     "{\"steps\":[" STEP(
         "a",
         "mp.alarm.set('x', {after=60})") "},"
                                          "{\"after\":30,\"topic\":\"t/"
                                          "a\",\"data\":"
                                          "\"mp.alarm.set('x', {after=60})\"},"
                                          "{\"after\":59,\"expect\":{"
                                          "\"publish\":[]}},"
                                          "{\"topic\":\"t/"
                                          "a\",\"data\":\"mp.alarm.set('x', "
                                          "{after=30, slack=29})\"},"
                                          "{\"after\":1,\"expect\":{"
                                          "\"publish\":[{\"data\":{\"name\":"
                                          "\"x\"}}]}},"
                                          "{\"after\":90,\"expect\":{"
                                          "\"publish\":[]}}]}",
     NULL},
    {"cancelled, also for another actor", KEYED, DOES,
     "{\"steps\":[" STEP(
         "a",
         "mp.alarm.set('x', {after=60}) "
         "mp.alarm.set('x', {after=60, key='b'})") "}," STEP("b",
                                                             "mp.alarm.cancel('"
                                                             "x') "
                                                             "mp.alarm.cancel('"
                                                             "never')") ",\"exp"
                                                                        "ect\":"
                                                                        "{\"ala"
                                                                        "rms\":"
                                                                        "[{"
                                                                        "\"name"
                                                                        "\":"
                                                                        "\"x\","
                                                                        "\"key"
                                                                        "\":"
                                                                        "\"b\","
                                                                        "\"canc"
                                                                        "el\":"
                                                                        "true},"
                                                                        "{\"nam"
                                                                        "e\":"
                                                                        "\"neve"
                                                                        "r\","
                                                                        "\"due"
                                                                        "\":"
                                                                        "null}]"
                                                                        "}},"
                                                                        "{\"aft"
                                                                        "er\":"
                                                                        "\"1h\""
                                                                        ",\"exp"
                                                                        "ect\":"
                                                                        "{\"pub"
                                                                        "lish\""
                                                                        ":[{"
                                                                        "\"data"
                                                                        "\":{"
                                                                        "\"key"
                                                                        "\":"
                                                                        "\"a\"}"
                                                                        "}]}}]"
                                                                        "}",
     NULL},
    {"an alarm's error is the step's, where that has no event", KEYED, DOES,
     "{\"steps\":[" STEP(
         "a", "mp.alarm.set('bad', {after=60})") "},"
                                                 "{\"after\":60,\"expect\":{"
                                                 "\"outcome\":\"error\","
                                                 "\"error\":\"no\"}}]}",
     NULL},
    {"else it is told", KEYED, DOES,
     "{\"steps\":[" STEP(
         "a", "mp.alarm.set('bad', {after=60})") "},"
                                                 "{\"after\":60,\"topic\":\"t/"
                                                 "a\",\"data\":\"\"}]}",
     "step 2: alarm 'bad': error: main.lua:5: no"},
    {"a send is an effect, and not delivered", KEYED, DOES,
     "{\"steps\":[" STEP(
         "a",
         "mp.send('archive', {a=1}, {delay='5m'})") ",\"expect\":{\"publish\":["
                                                    "],\"send\":[{\"function\":"
                                                    "\"archive\","
                                                    "\"key\":\"a\",\"delay\":"
                                                    "\"300s\",\"data\":{\"a\":"
                                                    "1}}]}},"
                                                    "{\"after\":\"1h\","
                                                    "\"expect\":{\"send\":[]}}]"
                                                    "}",
     NULL},
    {"a wrong delay is told in words", KEYED, DOES,
     "{\"steps\":[" STEP(
         "a", "mp.send('archive', 1, {delay='90m'})") ",\"expect\":{\"send\":[{"
                                                      "\"delay\":\"1h\"}]}}]}",
     "step 1: send[1].delay: expected \"1h\", got \"1h30m\""},
    {"an effect of another kind is none of that list", KEYED, DOES,
     "{\"steps\":[" STEP(
         "a",
         "mp.state.set('n', 1) mp.publish('p', 'x')") ",\"expect\":{"
                                                      "\"publish\":[{\"topic\":"
                                                      "\"q\"}]}}]}",
     "step 1: publish[1].topic: expected \"q\", got \"p\""},
    {"of what differs the topic is told first", KEYED, DOES,
     "{\"steps\":[" STEP("a",
                         "mp.publish('p', 'x')") ",\"expect\":{"
                                                 "\"publish\":[{\"data\":\"y\","
                                                 "\"topic\":\"q\"}]}}]}",
     "step 1: publish[1].topic: expected \"q\", got \"p\""},
    {"a state without its actor", ALONE, DOES,
     "{\"state\":{\"n\":1},\"steps\":[{}]}",
     "state: 'n' is an integer; it is written {KEY: {NAME: value}}"},
    {"an actor that is none", ALONE, DOES,
     "{\"state\":{\"\":{},\"a\":{\"n\":1}},\"steps\":[{}]}",
     "state: actor 'a': [state] of 'counter' has no key"},
    {"a value that is none", KEYED, DOES,
     "{\"state\":{\"a\":{\"n\":null}},\"steps\":[{}]}",
     "state: n is null, which is no value"},
};

static void scenarios_go_as_they_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct mp_report report = {.say = say};
        struct mp_scenario r = {0};
        struct mp_tree_doc doc = {0};
        struct mp_function *fn;
        struct mp_why why;
        struct mp_slice wrong;

        print_message("%s\n", cases[i].why);
        put_file("function.conf", cases[i].conf);
        put_file("main.lua", cases[i].lua);
        fn = mp_function_read(dir, "test", &report);
        assert_non_null(fn);
        if (mp_tree_parse(&doc, mp_slice_str(cases[i].test), &why))
            fail_msg("%s", why.text);
        assert_int_equal(mp_scenario_run(&r, fn, doc.root, &why), 0);
        wrong = mp_buf_bytes(&r.wrong);
        if (r.ok != !cases[i].wrong ||
            (!r.ok && !memmem(wrong.ptr, wrong.len, cases[i].wrong,
                              strlen(cases[i].wrong))))
            fail_msg("%.*s", MP_FMT(wrong));
        mp_scenario_fini(&r);
        mp_tree_fini(&doc);
        mp_function_unref(fn);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scenarios_go_as_they_say),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
