/*
 * new.c - a function that runs, passes its test and does something to see,
 * for a person to change.
 *
 * In the texts @NAME@ stands for the function's name.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/flags.h"
#include "cli/verbs.h"
#include "core/base/file.h"
#include "core/base/text.h"
#include "core/keys.h"

static const char conf[] = "[function]\n"
                           "name = @NAME@\n"
                           "version = 0.1.0\n"
                           "about = tells which device is hot\n"
                           "\n"
                           "[trigger readings]\n"
                           "mqtt = sensors/{device}/env\n"
                           "\n"
                           "[grant]\n"
                           "publish = @NAME@/+\n"
                           "\n"
                           "[env]\n"
                           "LIMIT = 30\n";

static const char main_lua[] =
    "local mp = require \"moonpool\"\n"
    "local limit = tonumber(mp.env.LIMIT)    -- runs once, kept in the image\n"
    "\n"
    "return function(event)                  -- runs per event, on a fresh "
    "state\n"
    "    local reading = event:decode()\n"
    "    local temp = type(reading) == \"table\" and tonumber(reading.temp)\n"
    "        or mp.reject(\"no temperature in this reading\")\n"
    "    local device = event.params.device\n"
    "    mp.log.info(device .. \" has \" .. temp .. \" degrees\")\n"
    "    mp.publish(\"@NAME@/\" .. device, {temp = temp, hot = temp > limit})\n"
    "end\n";

static const char test_json[] =
    "{\"about\": \"each reading is told on, a bad one is rejected\",\n"
    " \"steps\": [\n"
    "  {\"topic\": \"sensors/kiln-2/env\", \"data\": {\"temp\": 31.4},\n"
    "   \"expect\": {\"publish\": [{\"topic\": \"@NAME@/kiln-2\",\n"
    "                            \"data\": {\"temp\": 31.4, \"hot\": "
    "true}}]}},\n"
    "  {\"topic\": \"sensors/kiln-2/env\", \"data\": {\"temp\": 20},\n"
    "   \"expect\": {\"publish\": [{\"topic\": \"@NAME@/kiln-2\",\n"
    "                            \"data\": {\"temp\": 20, \"hot\": "
    "false}}]}},\n"
    "  {\"topic\": \"sensors/kiln-2/env\", \"data\": {\"hum\": 40},\n"
    "   \"expect\": {\"outcome\": \"rejected\", \"publish\": []}}\n"
    " ]}\n";

static const char every_conf[] = "; When it runs and what it may do; `moonpool "
                                 "help function` has all keys.\n"
                                 "[function]\n"
                                 "name = @NAME@\n"
                                 "version = 0.1.0\n"
                                 "\n"
                                 "[trigger tick]\n"
                                 "every = 30s                      ; by the "
                                 "calendar: cron = 0 6 * * mon-fri\n"
                                 "\n"
                                 "[grant]\n"
                                 "publish = @NAME@/#               ; it may "
                                 "publish there, and nowhere else\n"
                                 "\n"
                                 "[state]\n";

static const char cron_conf[] =
    "; When it runs and what it may do; `moonpool help function` has all "
    "keys.\n"
    "[function]\n"
    "name = @NAME@\n"
    "version = 0.1.0\n"
    "\n"
    "[trigger tick]\n"
    "cron = 0 6 * * mon-fri           ; minute hour day month weekday\n"
    "timezone = Europe/Paris\n"
    "missed = once                    ; after downtime, once\n"
    "\n"
    "[grant]\n"
    "publish = @NAME@/#               ; it may publish there, and nowhere "
    "else\n"
    "\n"
    "[state]\n";

static const char tick_lua[] =
    "local mp = require \"moonpool\"\n"
    "\n"
    "return function(event)                  -- runs when it is time\n"
    "    local n = mp.state.increment(\"runs\")\n"
    "    mp.publish(\"@NAME@/tick\", {run = n, missed = event.missed})\n"
    "end\n";

static const char tick_json[] =
    "{\"about\": \"each run is told, with its number\",\n"
    " \"steps\": [\n"
    "  {\"trigger\": \"tick\",\n"
    "   \"expect\": {\"publish\": [{\"topic\": \"@NAME@/tick\",\n"
    "                           \"data\": {\"run\": 1}}]}},\n"
    "  {\"trigger\": \"tick\", \"missed\": 2,\n"
    "   \"expect\": {\"publish\": [{\"data\": {\"run\": 2, \"missed\": 2}}]}}\n"
    " ]}\n";

static const char coap_conf[] =
    "; What it answers and what it may do; `moonpool help function` has all "
    "keys.\n"
    "[function]\n"
    "name = @NAME@\n"
    "version = 0.1.0\n"
    "about = a setpoint for each room, to set, read and observe\n"
    "\n"
    "[trigger set]\n"
    "coap = PUT /@NAME@/{room}\n"
    "\n"
    "[trigger get]\n"
    "coap = GET /@NAME@/{room}\n"
    "observe = yes\n"
    "\n"
    "[state]\n"
    "key = {room}                     ; each room has values of its own\n";

static const char coap_lua[] =
    "local mp = require \"moonpool\"\n"
    "local on = {}\n"
    "\n"
    "function on.set(event)           -- coap-client -m put -e 21.5 "
    "coap://127.0.0.1/@NAME@/attic\n"
    "    local want = tonumber(event:decode())\n"
    "    if not want or want < 5 or want > 30 then\n"
    "        mp.reject(\"a setpoint is a number from 5 to 30\")    -- 4.00\n"
    "    end\n"
    "    mp.state.set(\"want\", want)\n"
    "    mp.notify(event.path, want)  -- who observes it is told\n"
    "end                              -- 2.04, as soon as it is on disk\n"
    "\n"
    "function on.get()\n"
    "    local want = mp.state.get(\"want\")\n"
    "    if want == nil then return mp.reply(404, \"nothing is set\") end\n"
    "    return want                  -- 2.05\n"
    "end\n"
    "\n"
    "return on\n";

static const char coap_json[] =
    "{\"about\": \"a setpoint is kept and told, a bad one is rejected\",\n"
    " \"steps\": [\n"
    "  {\"method\": \"GET\", \"path\": \"/@NAME@/attic\",\n"
    "   \"expect\": {\"status\": 404}},\n"
    "  {\"method\": \"PUT\", \"path\": \"/@NAME@/attic\", \"data\": "
    "21.5,\n"
    "   \"expect\": {\"notify\": [{\"path\": \"/@NAME@/attic\", "
    "\"data\": 21.5}]}},\n"
    "  {\"method\": \"PUT\", \"path\": \"/@NAME@/attic\", \"data\": "
    "99,\n"
    "   \"expect\": {\"outcome\": \"rejected\", \"notify\": []}},\n"
    "  {\"method\": \"GET\", \"path\": \"/@NAME@/attic\",\n"
    "   \"expect\": {\"result\": 21.5}}\n"
    " ]}\n";

static const char http_conf[] =
    "; What it answers and what it may do; `moonpool help function` has all "
    "keys.\n"
    "[function]\n"
    "name = @NAME@\n"
    "version = 0.1.0\n"
    "about = what is posted, as messages\n"
    "\n"
    "[trigger hook]\n"
    "http = POST /@NAME@/{source}\n"
    "; Who asks shows a token: take the ; from this line and from secret "
    "below, and\n"
    "; give it a value: moonpool secret set @NAME@ KEY\n"
    ";auth = token KEY\n"
    "\n"
    "[grant]\n"
    "publish = @NAME@/+               ; it may publish there, and nowhere "
    "else\n"
    ";secret = KEY\n";

static const char http_lua[] =
    "local mp = require \"moonpool\"\n"
    "\n"
    "return function(event)           -- curl --json '{\"n\":1}' "
    "127.0.0.1:7381/@NAME@/shop\n"
    "    local body = event:decode()  -- malformed: 400\n"
    "    if type(body) ~= \"table\" then mp.reject(\"an object is "
    "expected\") end\n"
    "    mp.publish(\"@NAME@/\" .. event.params.source, body)\n"
    "    return mp.reply(202, {accepted = event.id})\n"
    "end                              -- as soon as broker or disk has it\n";

static const char http_json[] =
    "{\"about\": \"what is posted is published, what is no object is not\",\n"
    " \"secrets\": {\"KEY\": \"a value for the test\"},\n"
    " \"steps\": [\n"
    "  {\"method\": \"POST\", \"path\": \"/@NAME@/shop\", \"data\": "
    "{\"n\": 1},\n"
    "   \"expect\": {\"status\": 202,\n"
    "              \"publish\": [{\"topic\": \"@NAME@/shop\", \"data\": "
    "{\"n\": 1}}]}},\n"
    "  {\"method\": \"POST\", \"path\": \"/@NAME@/shop\", \"data\": "
    "\"[\",\n"
    "   \"expect\": {\"outcome\": \"rejected\", \"publish\": []}}\n"
    " ]}\n";

/* What it makes, in the order it is made. */
struct part {
    const char *path, *text;
};

enum { PARTS = 3 };

static const struct kind {
    const char *trigger;
    struct part parts[PARTS];
} kinds[] = {
    {"mqtt",
     {{"function.conf", conf},
      {"main.lua", main_lua},
      {"tests/readings.json", test_json}}},
    {"coap",
     {{"function.conf", coap_conf},
      {"main.lua", coap_lua},
      {"tests/setpoints.json", coap_json}}},
    {"http",
     {{"function.conf", http_conf},
      {"main.lua", http_lua},
      {"tests/hooks.json", http_json}}},
    {"every",
     {{"function.conf", every_conf},
      {"main.lua", tick_lua},
      {"tests/ticks.json", tick_json}}},
    {"cron",
     {{"function.conf", cron_conf},
      {"main.lua", tick_lua},
      {"tests/ticks.json", tick_json}}},
};

static void fill_in(const char *text, const char *name, struct mp_buf *out)
{
    const char *at;

    while ((at = strstr(text, "@NAME@")) != NULL) {
        mp_buf_put(out, text, (size_t)(at - text));
        mp_buf_slice(out, mp_slice_str(name));
        text = at + strlen("@NAME@");
    }
    mp_buf_slice(out, mp_slice_str(text));
}

static int make_file(int dir, const char *path, const char *text,
                     const char *name, struct mp_why *why)
{
    struct mp_buf bytes;
    int rc = 0;
    int fd = openat(dir, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (fd < 0)
        return mp_why_errno(why, "create %s", path);
    mp_buf_init(&bytes, 16 << 10);
    fill_in(text, name, &bytes);
    if (mp_write_all(fd, mp_buf_bytes(&bytes)))
        rc = mp_why_errno(why, "write %s", path);
    if (close(fd) && !rc)
        rc = mp_why_errno(why, "write %s", path);
    mp_buf_fini(&bytes);
    return rc;
}

static int make(const struct part *parts, const char *path, const char *name,
                struct mp_why *why)
{
    int dir, rc = 0;

    if (mkdir(path, 0755))
        return errno == EEXIST
                   ? mp_why_set(why, MP_EDENY,
                                "%s is there already; take another name", path)
                   : mp_why_errno(why, "make %s", path);
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return mp_why_errno(why, "open %s", path);
    if (mkdirat(dir, "tests", 0755))
        rc = mp_why_errno(why, "make %s/tests", path);
    for (size_t i = 0; !rc && i < PARTS; i++)
        rc = make_file(dir, parts[i].path, parts[i].text, name, why);
    close(dir);
    return rc;
}

/* NULL: there is none, and it was said. */
static const struct kind *kind_of(const char *trigger)
{
    const char *words[ARRAY_LEN(kinds)], *near;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        words[i] = kinds[i].trigger;
        if (strcmp(trigger, words[i]) == 0)
            return &kinds[i];
    }
    if (strcmp(trigger, "board") == 0) {
        fprintf(stderr, "moonpool new: board triggers come with a later "
                        "release\n");
        return NULL;
    }
    near = mp_nearest(mp_slice_str(trigger), words, ARRAY_LEN(words));
    fprintf(stderr, "moonpool new: unknown trigger '%s'%s%s%s\n", trigger,
            near ? "; did you mean '" : "; mqtt, coap, http, every, cron",
            near ? near : "", near ? "'?" : "");
    return NULL;
}

int mp_verb_new(int argc, char **argv)
{
    const char *path, *name, *trigger = "mqtt";
    const struct mp_flag flags[] = {
        {.name = "trigger",
         .arg = "KIND",
         .help = "what runs it: mqtt, coap, http, every or cron",
         .text = &trigger},
    };
    const struct mp_usage usage = {
        .verb = "moonpool new",
        .operands = "NAME",
        .about = "Makes the directory NAME with a function that runs, tests "
                 "included.",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min = 1,
        .max = 1,
    };
    const struct kind *kind;
    struct mp_why why;
    int status;

    if (mp_flags_parse(&usage, argc, argv, &path, &status) < 0)
        return status;
    kind = kind_of(trigger);
    if (!kind)
        return MP_EXIT_USAGE;
    name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (mp_check_name(mp_slice_str(name), &why)) {
        fprintf(stderr, "moonpool new: '%s': %s\n", name, why.text);
        return MP_EXIT_USAGE;
    }
    if (strcmp(name, "moonpool") == 0) {
        fprintf(stderr, "moonpool new: topics under moonpool/ are the host's "
                        "own; take another name\n");
        return MP_EXIT_USAGE;
    }
    if (make(kind->parts, path, name, &why)) {
        fprintf(stderr, "moonpool new: %s\n", why.text);
        return MP_EXIT_NO;
    }
    for (size_t i = 0; i < PARTS; i++)
        printf("%s/%s\n", path, kind->parts[i].path);
    fprintf(stderr, "now try: moonpool test %s\n", path);
    return MP_EXIT_DONE;
}
