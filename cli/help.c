/*
 * help.c - `moonpool help`: the verbs, the tables of keys, the Lua API.
 *
 * The tables come from the code that reads the files; only what Lua has is a
 * text of its own.
 */
#include <stdio.h>

#include "cli/flags.h"
#include "cli/verbs.h"
#include "core/base/text.h"

static const char values[] =
    "size      512K  4M  1G  300       powers of 1024; a bare number is bytes\n"
    "duration  250ms  30s  5m  1h30m   a unit is required; only 0 stands "
    "alone\n"
    "rate      10/s  600/m  5/h\n"
    "percent   10%\n"
    "switch    yes  no\n"
    "list      a, b                    or the key again on the next line\n"
    "secret    file:/path  credential:NAME  env:NAME   never the value itself\n"
    "\n"
    "A comment starts with # or ; in its own line, with blank and ; behind a\n"
    "value.  An empty value empties a list or puts the default back.\n";

static const char lua[] =
    "main.lua runs once and returns the handler: a function (event), or a\n"
    "table of functions named after the triggers, alarm and send.  Every "
    "event\n"
    "starts from the state after that run.  What a handler does is real when\n"
    "it ends ok, all of it or nothing.\n"
    "\n"
    "local mp = require \"moonpool\"\n"
    "  mp.env.NAME             text from [env]\n"
    "  mp.node mp.name mp.version mp.null\n"
    "  mp.now() mp.monotonic() mp.clock_ok()\n"
    "  mp.publish(topic, payload [, {qos=1, retain=false, format=, expiry=,\n"
    "             properties={}}])\n"
    "                          payload: a string as it is, anything else as "
    "JSON,\n"
    "                          or CBOR with format=\"cbor\"\n"
    "  mp.send(function, payload [, {delay=0, key=, format=}])\n"
    "                          an event for another function ([grant] send), "
    "or\n"
    "                          itself; returns its id\n"
    "  mp.sleep(duration)      seconds, or text as in \"5m\"\n"
    "  mp.reject(reason)       raises: this input is wrong and stays wrong\n"
    "  mp.retry(reason [, {after=}])\n"
    "                          raises: not now, run it again\n"
    "  mp.log.debug/info/warn/error(message [, fields]); print is info\n"
    "\n"
    "mp.state, of this event's actor ([state] in function.conf; key = "
    "{device}\n"
    "makes each device one).  Names are 1-256 bytes, values integers, floats,\n"
    "strings, booleans and tables (as JSON) up to 64K.  Up to 64K of them "
    "come\n"
    "with the event and cost nothing; what is beyond is fetched, which waits "
    "for\n"
    "the commit before: keep one actor small, and make more actors.\n"
    "  get(name [, default])   set(name, value [, {ttl=}])   delete(name)\n"
    "  increment(name [, by=1 [, {ttl=}]])     returns the new value\n"
    "  names([prefix])         a sorted list\n"
    "  each([prefix])          for name, value in ...\n"
    "  of(key)                 another actor's, to read: :get(name) "
    ":each(prefix)\n"
    "  actors([prefix [, {after=, limit=1000}]])\n"
    "                          sorted keys that have values\n"
    "\n"
    "mp.alarm, one for each key and name; comes as an event of type alarm\n"
    "  set(name, {after= | at=, data=, slack=0, key=})\n"
    "                          set again it moves, unless it is due within "
    "slack\n"
    "  cancel(name [, {key=}])\n"
    "\n"
    "event\n"
    "  id type source subject time trigger params attempt\n"
    "  key                     the actor's; nil: the function's own\n"
    "  alarm scheduled         an alarm's name, when it was due\n"
    "  data datacontenttype    the payload as it came\n"
    "  event:decode([format])  the payload as a value; malformed: rejected; "
    "format\n"
    "                          json cbor senml text bytes, else as the "
    "trigger or\n"
    "                          the content type says, else JSON\n"
    "  topic qos retained properties expiry\n"
    "\n"
    "local json, cbor = require \"json\", require \"cbor\"; senml and base64 "
    "likewise\n"
    "  json.encode(v) json.decode(s) json.array(t) json.null\n"
    "  cbor.encode(v) cbor.decode(s) cbor.array(t) cbor.null\n"
    "  senml.encode(records [, \"json\"|\"cbor\"]) senml.decode(s [, "
    "...])\n"
    "                          records: name, value or string, boolean, data; "
    "unit,\n"
    "                          sum, time\n"
    "  base64.encode(s) base64.decode(s)\n"
    "\n"
    "require takes these and the function's own files: a.b is a/b.lua.  Of "
    "Lua\n"
    "itself there is no io, no debug, no loadfile; os has time, date, clock\n"
    "and difftime.\n";

static const char scenario[] =
    "tests/*.json beside main.lua: one scenario a file, run on a real worker\n"
    "with empty state and a fake clock.  moonpool dlq show ID --json prints "
    "an\n"
    "event that can stand as a step.\n"
    "\n"
    "{\"about\": \"a silent device is told once\",\n"
    " \"steps\": [\n"
    "  {\"topic\": \"devices/a/env\", \"data\": {\"temp\": 20}},\n"
    "  {\"after\": \"31m\",\n"
    "   \"expect\": {\"publish\": [{\"topic\": \"alerts/a\"}]}}]}\n"
    "\n"
    "file    about; time (of the first step); env {NAME: text}; steps;\n"
    "        state {KEY: {NAME: value}}, KEY \"\" for the function's own\n"
    "step    an event: topic, or trigger, or type alarm or send; data (a "
    "string\n"
    "        is the bytes, anything else is sent as JSON) or data_base64; id,\n"
    "        properties, key, ...; after: moves the clock first and fires the\n"
    "        alarms that are due by then; expect\n"
    "expect  outcome (default ok), error (a part of it), result, log (parts);\n"
    "        publish, send, alarms: lists of all effects of their kind, in\n"
    "        order; state {KEY: {NAME: value}}, null: there is none.  What is\n"
    "        not named is not looked at; of an object only the named "
    "members.\n";

static void overview(void)
{
    printf("moonpool runs small Lua functions on a gateway when sensors "
           "speak.\n\nmoonpool VERB [FUNCTION|PATH] [flags]\n\n");
    for (size_t i = 0; i < mp_verbs_len; i++)
        printf("  %-16s %s\n", mp_verbs[i].usage, mp_verbs[i].about);
    printf(
        "\nmoonpool VERB --help           flags of a verb\n"
        "moonpool help config           the keys of moonpool.conf\n"
        "moonpool help function         the keys of function.conf\n"
        "moonpool help lua              what main.lua can use\n"
        "moonpool help scenario         the files that moonpool test runs\n\n"
        "Exit status: 0 done; 1 the answer is no; 2 wrong usage; 3 no host "
        "answers.\n");
}

static void table(const char *about, void (*fill)(struct mp_buf *))
{
    struct mp_buf text;

    mp_buf_init(&text, 256 << 10);
    fill(&text);
    printf("%s\n\n%s\n", about, values);
    fwrite(text.ptr, 1, text.len, stdout);
    mp_buf_fini(&text);
}

static int unknown(const char *topic)
{
    const char *words[32] = {"config", "function", "lua", "scenario"}, *near;
    size_t n = 4;

    for (size_t i = 0; i < mp_verbs_len && n < ARRAY_LEN(words); i++)
        words[n++] = mp_verbs[i].name;
    near = mp_nearest(mp_slice_str(topic), words, n);
    fprintf(stderr, "moonpool help: unknown topic '%s'%s%s%s\n", topic,
            near ? "; did you mean '"
                 : "; config, function, lua, scenario and verbs are",
            near ? near : "", near ? "'?" : " known");
    return MP_EXIT_USAGE;
}

int mp_verb_help(int argc, char **argv)
{
    const struct mp_usage usage = {
        .verb = "moonpool help",
        .operands = "[config|function|lua|scenario|VERB]",
        .about = "Prints what there is to know about a topic.",
        .max = 1,
    };
    char help[] = "--help", *args[] = {help, NULL};
    const char *topic;
    int status, n = mp_flags_parse(&usage, argc, argv, &topic, &status);

    if (n < 0)
        return status;
    if (n == 0) {
        overview();
    } else if (strcmp(topic, "config") == 0) {
        table("/etc/moonpool/moonpool.conf, then conf.d/*.conf by name; flags "
              "of run win.",
              mp_config_help);
    } else if (strcmp(topic, "function") == 0) {
        table("function.conf, beside main.lua, *.lua and tests/*.json.",
              mp_function_help);
    } else if (strcmp(topic, "lua") == 0) {
        fputs(lua, stdout);
    } else if (strcmp(topic, "scenario") == 0) {
        fputs(scenario, stdout);
    } else {
        for (size_t i = 0; i < mp_verbs_len; i++) {
            if (strcmp(topic, mp_verbs[i].name) == 0)
                return mp_verbs[i].run(1, args);
        }
        return unknown(topic);
    }
    return MP_EXIT_DONE;
}
