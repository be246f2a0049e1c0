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

static const struct {
    const char *why, *conf, *lua, *test, *wrong;
} cases[] = {
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
