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
    "table of functions named after the triggers.  Every event starts from\n"
    "the state after that run.  What a handler does is real when it ends ok,\n"
    "all of it or nothing.\n"
    "\n"
    "local mp = require \"moonpool\"\n"
    "  mp.env.NAME             text from [env]\n"
    "  mp.node mp.name mp.version mp.null\n"
    "  mp.now() mp.monotonic() mp.clock_ok()\n"
    "  mp.publish(topic, payload [, {qos=1, retain=false, format=, expiry=,\n"
    "             properties={}}])\n"
    "                          payload: a string as it is, anything else as "
    "JSON\n"
    "  mp.sleep(duration)      seconds, or text as in \"5m\"\n"
    "  mp.reject(reason)       raises: this input is wrong and stays wrong\n"
    "  mp.retry(reason [, {after=}])\n"
    "                          raises: not now, run it again\n"
    "  mp.log.debug/info/warn/error(message [, fields]); print is info\n"
    "\n"
    "event\n"
    "  id type source subject time trigger params attempt\n"
    "  data datacontenttype    the payload as it came\n"
    "  event:decode([format])  the payload as a value; malformed: rejected\n"
    "  topic qos retained properties expiry\n"
    "\n"
    "local json = require \"json\", base64 = require \"base64\"\n"
    "  json.encode(v) json.decode(s) json.array(t) json.null\n"
    "  base64.encode(s) base64.decode(s)\n"
    "\n"
    "require takes these and the function's own files: a.b is a/b.lua.  Of "
    "Lua\n"
    "itself there is no io, no debug, no loadfile; os has time, date, clock\n"
    "and difftime.\n";

static void overview(void)
{
    printf("moonpool runs small Lua functions on a gateway when sensors "
           "speak.\n\nmoonpool VERB [FUNCTION|PATH] [flags]\n\n");
    for (size_t i = 0; i < mp_verbs_len; i++)
        printf("  %-16s %s\n", mp_verbs[i].usage, mp_verbs[i].about);
    printf("\nmoonpool VERB --help           flags of a verb\n"
           "moonpool help config           the keys of moonpool.conf\n"
           "moonpool help function         the keys of function.conf\n"
           "moonpool help lua              what main.lua can use\n\n"
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
    const char *words[32] = {"config", "function", "lua"}, *near;
    size_t n = 3;

    for (size_t i = 0; i < mp_verbs_len && n < ARRAY_LEN(words); i++)
        words[n++] = mp_verbs[i].name;
    near = mp_nearest(mp_slice_str(topic), words, n);
    fprintf(stderr, "moonpool help: unknown topic '%s'%s%s%s\n", topic,
            near ? "; did you mean '" : "; config, function, lua and verbs are",
            near ? near : "", near ? "'?" : " known");
    return MP_EXIT_USAGE;
}

int mp_verb_help(int argc, char **argv)
{
    const struct mp_usage usage = {
        .verb = "moonpool help",
        .operands = "[config|function|lua|VERB]",
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
    } else {
        for (size_t i = 0; i < mp_verbs_len; i++) {
            if (strcmp(topic, mp_verbs[i].name) == 0)
                return mp_verbs[i].run(1, args);
        }
        return unknown(topic);
    }
    return MP_EXIT_DONE;
}
