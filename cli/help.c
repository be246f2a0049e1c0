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
#include "core/keys.h"

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
    "  mp.reply(status [, data [, {headers={}, format=, max_age=}]])\n"
    "                          what a coap or http trigger returns, where "
    "data\n"
    "                          alone won't do; a bare value is answered as it "
    "is\n"
    "  mp.notify(path, data [, {format=, max_age=\"60s\"}])\n"
    "                          tells who observes a trigger with observe = "
    "yes\n"
    "  mp.secret(name)         of [grant] secret, as moonpool secret set it; "
    "never\n"
    "                          shown: logs and dead letters have *** for it\n"
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
    "  missed                  of every and cron: timer runs that fell out "
    "before\n"
    "                          this one; with missed = all each comes as its "
    "own\n"
    "                          run, so it is 0\n"
    "  topic qos retained properties expiry              mqtt\n"
    "  method path query headers peer identity           coap, http\n"
    "  events                  of a batch: a list of events; of each also\n"
    "                          e:retry(reason), e:reject(reason): the batch "
    "goes\n"
    "                          on, this one runs again alone or is a dead "
    "letter\n"
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
    "file    about; time (of the first step); env, secrets {NAME: text}; "
    "steps;\n"
    "        state {KEY: {NAME: value}}, KEY \"\" for the function's own\n"
    "step    an event: topic; or path, as \"/x?a=b\" or with query {NAME: "
    "text},\n"
    "        and method (else the first that is answered there); or trigger; "
    "or\n"
    "        type alarm or send; data (a string is the bytes, anything else "
    "is\n"
    "        sent as JSON) or data_base64; id, properties, key; of a request "
    "also\n"
    "        headers (lower case), peer, identity (of a DTLS client); of a "
    "timer\n"
    "        missed, scheduled; events: a list of them for a batch; after: "
    "moves\n"
    "        the clock first and fires the alarms that are due by then; "
    "expect\n"
    "expect  outcome (default ok), error (a part of it), result, status (that "
    "a\n"
    "        request is answered with; auth isn't asked for here: nobody gets "
    "a\n"
    "        401), log (parts); skipped: filter, deadband\n"
    "        or throttle, and nothing else; publish, send, notify, alarms: "
    "lists\n"
    "        of all effects of their kind, in order; verdicts: what became of "
    "a\n"
    "        batch's events, [{\"event\": 2, \"reject\": \"odd\"}];\n"
    "        state {KEY: {NAME: value}}, null: there is none.  What is\n"
    "        not named is not looked at; of an object only the named "
    "members.\n";

static const char lines[] =
    "Lines of a trigger (mqtt, coap, http) that act before any Lua, in this "
    "order.\n"
    "What they skip is acknowledged and counted, and runs nothing.\n"
    "\n"
    "filter    CONDITION                        given twice: both must hold\n"
    "deadband  FIELD STEP[%], ... [per TEMPLATE] [every D]\n"
    "throttle  RATE [per TEMPLATE]\n"
    "coalesce  latest|settled [per TEMPLATE] within D\n"
    "batch     N [per TEMPLATE] within D\n"
    "\n"
    "CONDITION\n"
    "  A == B  A != B  A < B  A <= B  A > B  A >= B\n"
    "  A in (B, C, ...)        one of them, as in {room} in (\"attic\", "
    "\"hall\")\n"
    "  exists(FIELD)           it is there, be it null\n"
    "  FIELD                   it is true\n"
    "  not X   X and Y   X or Y   (X)         not binds closest, then and\n"
    "A, B      a FIELD, {name} of the pattern (a string), 30, -0.5, 1e3, "
    "\"text\",\n"
    "          'text', true, false, null\n"
    "FIELD     temp   a.b   list[0]   data[\"air-quality\"]   data, the whole "
    "payload\n"
    "TEMPLATE  text with {name} in it, or with a field as {data.path}\n"
    "\n"
    "deadband  passes an event in which a field moved by STEP or more (STEP%: "
    "of the\n"
    "          value that passed last; 0: any change), and one every D\n"
    "throttle  passes at most so many; a pause fills it up again\n"
    "coalesce  latest: the last event of each D; settled: the last one, when "
    "none\n"
    "          followed for D\n"
    "batch     N events, or those of D, are one run: event.events\n"
    "per       each value of TEMPLATE has a memory of its own "
    "(limits.tracked)\n"
    "\n"
    "filter = temp > 30 and not exists(fault)\n"
    "deadband = temp 0.2, hum 5% per {device} every 5m\n"
    "throttle = 1/m per {device}\n"
    "coalesce = latest per {device} within 200ms\n"
    "batch = 256 per {machine} within 2s\n";

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
        "moonpool help lines            filter, deadband, throttle, coalesce, "
        "batch\n"
        "moonpool help KEY              a key or section of these files\n"
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

/* Keys and sections of either file that have this name. */
static bool keys(const char *word, bool behind)
{
    struct mp_buf text;
    bool any;

    mp_buf_init(&text, 64 << 10);
    any = mp_keys_help_word(&mp_function_table, "function.conf", word, &text);
    any |= mp_keys_help_word(&mp_config_table, "moonpool.conf", word, &text);
    if (any && behind)
        printf("\nIt is the name of keys, too:\n");
    if (any)
        fwrite(text.ptr, 1, text.len, stdout);
    mp_buf_fini(&text);
    return any;
}

static const struct {
    const char *name, *text; /* NULL: a table */
} topics[] = {
    {"config", NULL},       {"function", NULL},  {"lua", lua},
    {"scenario", scenario}, {"lines", lines},    {"filter", lines},
    {"deadband", lines},    {"throttle", lines}, {"coalesce", lines},
    {"batch", lines},
};

enum { NEAR_WORDS = 512 };

static size_t add_keys(const struct mp_table *t, const char **words, size_t n)
{
    for (size_t i = 0; i < t->n_sections && n < NEAR_WORDS; i++)
        words[n++] = t->sections[i].name;
    for (size_t i = 0; i < t->n_keys && n < NEAR_WORDS; i++)
        if (t->keys[i].name)
            words[n++] = t->keys[i].name;
    return n;
}

static int unknown(const char *topic)
{
    const char *words[NEAR_WORDS], *near;
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(topics); i++)
        words[n++] = topics[i].name;
    for (size_t i = 0; i < mp_verbs_len; i++)
        words[n++] = mp_verbs[i].name;
    n = add_keys(&mp_function_table, words, n);
    n = add_keys(&mp_config_table, words, n);
    near = mp_nearest(mp_slice_str(topic), words, n);
    fprintf(stderr, "moonpool help: unknown topic '%s'%s%s%s\n", topic,
            near ? "; did you mean '"
                 : "; config, function, lines, lua, scenario, verbs and keys "
                   "are",
            near ? near : "", near ? "'?" : " known");
    return MP_EXIT_USAGE;
}

/* False: it is none of ours. */
static bool own_topic(const char *topic)
{
    for (size_t i = 0; i < ARRAY_LEN(topics); i++) {
        if (strcmp(topic, topics[i].name) != 0)
            continue;
        if (topics[i].text)
            fputs(topics[i].text, stdout);
        else if (strcmp(topic, "config") == 0)
            table("/etc/moonpool/moonpool.conf, then conf.d/*.conf by name; "
                  "flags of run win.",
                  mp_config_help);
        else
            table("function.conf, beside main.lua, *.lua and tests/*.json.",
                  mp_function_help);
        return true;
    }
    return false;
}

static int show_topic(const char *topic)
{
    char help[] = "--help", *args[] = {help, NULL};

    if (own_topic(topic))
        return MP_EXIT_DONE;
    for (size_t i = 0; i < mp_verbs_len; i++) {
        int status;

        if (strcmp(topic, mp_verbs[i].name) != 0)
            continue;
        status = mp_verbs[i].run(1, args);
        (void)keys(topic, true);
        return status;
    }
    return keys(topic, false) ? MP_EXIT_DONE : unknown(topic);
}

int mp_verb_help(int argc, char **argv)
{
    const struct mp_usage usage = {
        .verb = "moonpool help",
        .operands = "[config|function|lines|lua|scenario|VERB|KEY]",
        .about = "Prints what there is to know about a topic.",
        .max = 1,
    };
    const char *topic;
    int status, n = mp_flags_parse(&usage, argc, argv, &topic, &status);

    if (n < 0)
        return status;
    if (n > 0)
        return show_topic(topic);
    overview();
    return MP_EXIT_DONE;
}
