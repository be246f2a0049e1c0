/*
 * invoke.c - `moonpool invoke`: one event for one function, offline.
 *
 * The worker is real, the effects are only shown.  So the answer is the one
 * the gateway would give, and trying costs nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/flags.h"
#include "cli/show.h"
#include "cli/solo.h"
#include "cli/step.h"
#include "cli/verbs.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/handlers.h"
#include "core/keys.h"
#include "core/secrets.h"

enum {
    REPEAT_MAX = 1000000,
    JSON_MAX = 16 << 20,  /* of an event or a state: what a gateway holds */
    SHOWN_MAX = 64 << 20, /* an outcome, each byte of it escaped */
    MISTAKES_MAX = 16 << 10,
};

struct invoke {
    const char *path;
    /* flags */
    const char *event, *data, *topic, *trigger, *repeat;
    const char *target, *state;
    struct mp_flag_list envs, secrets;
    bool json;
    /* what they mean */
    long times;
    struct mp_pair env[MP_FLAG_LIST_MAX], secret[MP_FLAG_LIST_MAX];
    char node[MP_NODE_MAX + 1];
};

/* ---- flags ---- */

static int parse_flags(struct invoke *v, int argc, char **argv, int *status)
{
    const struct mp_flag flags[] = {
        {.name = "event",
         .arg = "FILE",
         .help = "the event as JSON, as a step of a test has it; - is stdin",
         .text = &v->event},
        {.name = "data",
         .arg = "TEXT",
         .help = "the payload",
         .text = &v->data},
        {.name = "topic",
         .arg = "TOPIC",
         .help = "the topic it came on",
         .text = &v->topic},
        {.name = "trigger",
         .arg = "NAME",
         .help = "the trigger; default: the first that takes the topic",
         .text = &v->trigger},
        {.name = "env",
         .arg = "NAME=TEXT",
         .help = "in place of a value of [env]; may be given again",
         .list = &v->envs},
        {.name = "repeat",
         .arg = "N",
         .help = "run the event N times, each on a fresh state",
         .text = &v->repeat},
        {.name = "json",
         .help = "one JSON object a run, in a line",
         .on = &v->json},
        {.name = "path",
         .arg = "\"PUT /x?a=b\"",
         .help = "what a CoAP or HTTP trigger is asked for",
         .text = &v->target},
        {.name = "secret",
         .arg = "NAME=file:FILE",
         .help = "the value of a granted secret, also as env:NAME; may be "
                 "given again",
         .list = &v->secrets},
        {.name = "state",
         .arg = "FILE",
         .help = "values there are, as in a test: {KEY: {NAME: value}}, KEY "
                 "\"\" for the function's own; - is stdin",
         .text = &v->state},
    };
    const struct mp_usage usage = {
        .verb = "moonpool invoke",
        .operands = "[PATH]",
        .about = "Runs a function, or a bare .lua file, with one event and "
                 "shows what came of it.\nNothing leaves: effects are shown, "
                 "not done.\n\n"
                 "With --json an object has outcome, error, traceback, result, "
                 "effects,\nverdicts, log, retry, duration_us and "
                 "memory_bytes.  retry is null, or of\na run that raised "
                 "mp.retry {\"after\": SECONDS}, where SECONDS is null if "
                 "it\nnamed no time.",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .max = 1,
    };

    return mp_flags_parse(&usage, argc, argv, &v->path, status);
}

static bool refuse(const char *flag, const char *why)
{
    fprintf(stderr, "moonpool invoke: --%s %s\n", flag, why);
    return false;
}

/* Never the value itself, which others would see among the processes. */
static bool check_secret(const char *text)
{
    const char *equals = strchr(text, '=');
    int len = equals && equals - text < 64 ? (int)(equals - text) : 0;

    if (len && (strncmp(equals + 1, "file:", 5) == 0 ||
                strncmp(equals + 1, "env:", 4) == 0 ||
                strncmp(equals + 1, "credential:", 11) == 0))
        return true;
    fprintf(stderr,
            "moonpool invoke: --secret says where the value is, never what: "
            "--secret %.*s=file:FILE or %.*s=env:NAME\n",
            len ? len : 4, len ? text : "NAME", len ? len : 4,
            len ? text : "NAME");
    return false;
}

static bool read_flags(struct invoke *v)
{
    char *end;

    if (v->target && v->topic)
        return refuse("path", "and --topic can't both be given");
    if (v->event && v->state && !strcmp(v->event, "-") &&
        !strcmp(v->state, "-"))
        return refuse("state", "and --event can't both be stdin");
    v->times = 1;
    if (v->repeat) {
        v->times = strtol(v->repeat, &end, 10);
        if (end == v->repeat || *end || v->times < 1 || v->times > REPEAT_MAX)
            return refuse("repeat", "takes a number from 1 to 1000000");
    }
    for (unsigned i = 0; i < v->envs.n; i++) {
        const char *text = v->envs.items[i], *equals = strchr(text, '=');

        if (!equals || equals == text)
            return refuse("env", "is written NAME=TEXT");
        v->env[i].name = mp_slice(text, (size_t)(equals - text));
        v->env[i].value = mp_slice_str(equals + 1);
    }
    for (unsigned i = 0; i < v->secrets.n; i++)
        if (!check_secret(v->secrets.items[i]))
            return false;
    return true;
}

/* ---- secrets ---- */

static void free_secrets(struct invoke *v)
{
    for (unsigned i = 0; i < v->secrets.n; i++)
        if (v->secret[i].value.ptr)
            mp_secret_free((char *)(uintptr_t)v->secret[i].value.ptr);
}

/* What --secret names; all that fn was granted must be there. */
static int read_secrets(struct invoke *v, const struct mp_function *fn,
                        struct mp_why *why)
{
    int rc;

    for (unsigned i = 0; i < v->secrets.n; i++) {
        const char *text = v->secrets.items[i], *equals = strchr(text, '=');
        char *value;

        v->secret[i].name = mp_slice(text, (size_t)(equals - text));
        rc = mp_parse_secret(mp_slice_str(equals + 1), &value, why);
        if (rc) {
            mp_why_wrap(why, "--secret %.*s", MP_FMT(v->secret[i].name));
            return rc;
        }
        v->secret[i].value = mp_slice_str(value);
    }
    rc = mp_solo_secrets_check(fn, v->secret, v->secrets.n, why);
    if (rc && v->secrets.n < fn->n_secrets) {
        struct mp_slice name =
            mp_solo_secret_missing(fn, v->secret, v->secrets.n);
        struct mp_why said = *why;

        if (name.ptr)
            mp_why_set(why, rc,
                       "%.240s; give it with --secret %.*s=file:FILE or "
                       "%.*s=env:NAME",
                       said.text, MP_FMT(name), MP_FMT(name));
    }
    return rc;
}

/* ---- what went wrong before a run ---- */

/* Mistakes of function.conf and main.lua go to stderr, and with --json into
 * the error of the one object. */
struct mistakes {
    struct mp_report report;
    struct mp_buf text;
};

static void say_mistake(struct mp_report *r, bool warning, const char *text)
{
    struct mistakes *m = (struct mistakes *)r;

    fprintf(stderr, "%s%s\n", warning ? "warning: " : "", text);
    if (!warning)
        mp_buf_printf(&m->text, "%s%s", m->text.len ? "\n" : "", text);
}

static int fail(const struct invoke *v, struct mp_slice error)
{
    struct mp_buf b;

    if (v->json) {
        mp_buf_init(&b, SHOWN_MAX);
        mp_show_json_failure(error, &b);
        fwrite(b.ptr, 1, b.len, stdout);
        mp_buf_fini(&b);
    }
    return MP_EXIT_NO;
}

static int fail_why(const struct invoke *v, const struct mp_why *why)
{
    fprintf(stderr, "moonpool invoke: %s\n", why->text);
    return fail(v, mp_slice_str(why->text));
}

/* ---- the event ---- */

static const char *title(const char *name)
{
    return strcmp(name, "-") ? name : "stdin";
}

/* A file of JSON; name NULL: none. */
static int read_json(const char *name, struct mp_tree_doc *doc,
                     struct mp_why *why)
{
    struct mp_buf text;
    bool named; /* in why already: the file couldn't be opened */
    int rc;

    *doc = (struct mp_tree_doc){0};
    if (!name)
        return 0;
    mp_buf_init(&text, JSON_MAX);
    if (strcmp(name, "-") == 0)
        rc = mp_file_read_fd(STDIN_FILENO, JSON_MAX, &text, why);
    else
        rc = mp_file_read(AT_FDCWD, name, JSON_MAX, &text, why);
    named = rc && rc != MP_ERANGE && strcmp(name, "-") != 0;
    if (rc == 0)
        rc = mp_tree_parse(doc, mp_buf_bytes(&text), why);
    if (rc && !named)
        mp_why_wrap(why, "%s", title(name));
    mp_buf_fini(&text);
    return rc;
}

/* A mistyped key would look like a first event. */
static void note_actor(const struct invoke *v, const struct mp_event *event,
                       const struct mp_tree *state)
{
    struct mp_slice key = event->has_key ? event->key : MP_S("");
    struct mp_buf shown;

    for (size_t i = 0; i < state->n; i++) {
        if (mp_slice_eq(state->items[i]->name, key))
            return;
    }
    if (!state->n)
        return;
    mp_buf_init(&shown, SHOWN_MAX);
    mp_show_clean(key, &shown);
    fprintf(stderr, "note: %s has no values of the event's actor, \"%.*s\"\n",
            title(v->state), MP_FMT(mp_buf_bytes(&shown)));
    mp_buf_fini(&shown);
}

/* The values of --state. */
static int read_state(const struct invoke *v, const struct mp_function *fn,
                      const struct mp_event *event, struct mp_actors *actors,
                      struct mp_why *why)
{
    struct mp_tree_doc doc;
    int rc;

    if (!v->state)
        return 0;
    rc = read_json(v->state, &doc, why);
    if (rc)
        return rc;
    rc = mp_actors_read(actors, fn, doc.root, why);
    if (rc)
        mp_why_wrap(why, "%s", title(v->state));
    else
        note_actor(v, event, doc.root);
    mp_tree_fini(&doc);
    return rc;
}

static int make_step(const struct invoke *v, const struct mp_function *fn,
                     const struct mp_tree *value, struct mp_step *step,
                     struct mp_why *why)
{
    /* what else stands in a step of a test */
    static const char *const besides[] = {"after", "expect", NULL};
    const struct mp_step_defaults defaults = {
        .id = "invoke-1",
        .time_us = mp_wall_us(),
        .topic = mp_slice_str(v->topic),
        .target = mp_slice_str(v->target),
        .trigger = mp_slice_str(v->trigger),
        .data = mp_slice_str(v->data),
    };

    return mp_step_read(step, fn, value, &defaults, besides, why);
}

/* ---- running ---- */

/* What --secret gave is shown nowhere, as on a gateway. */
static void print_masked(const struct invoke *v, struct mp_slice text)
{
    struct mp_slice values[MP_FLAG_LIST_MAX];
    struct mp_buf b;

    for (unsigned i = 0; i < v->secrets.n; i++)
        values[i] = v->secret[i].value;
    mp_buf_init(&b, SHOWN_MAX);
    mp_secrets_mask(&b, text, values, v->secrets.n);
    fwrite(b.ptr, 1, b.len, stdout);
    mp_buf_fini(&b);
}

static bool print_run(const struct invoke *v, const struct mp_shown *shown)
{
    struct mp_buf b;

    mp_buf_init(&b, SHOWN_MAX);
    if (v->json)
        mp_show_json(shown, &b);
    else
        mp_show_text(shown, &b);
    print_masked(v, mp_buf_bytes(&b));
    mp_buf_fini(&b);
    return shown->out->kind == MP_OUT_OK;
}

/* A load that failed is shown as the run that it kept from happening. */
static void print_load(const struct invoke *v, const struct mp_function *fn,
                       const struct mp_loaded *loaded)
{
    const struct mp_outcome out = {
        .kind = loaded->kind,
        .error = loaded->error,
        .traceback = loaded->traceback,
    };
    const struct mp_shown shown = {
        .fn = fn,
        .out = &out,
        .start_ns = (uint64_t)loaded->load_us * 1000,
        .logs = loaded->logs,
        .n_logs = loaded->n_logs,
    };

    print_run(v, &shown);
}

static int run_times(const struct invoke *v, const struct mp_function *fn,
                     struct mp_solo *solo, const struct mp_loaded *loaded,
                     const struct mp_event *event)
{
    struct mp_outcome out;
    struct mp_buf logs;
    struct mp_shown shown = {.fn = fn, .out = &out};
    struct mp_why why;
    bool ok = true;

    mp_buf_init(&logs, MP_FRAME_MAX); /* the next call takes them back */
    mp_buf_slice(&logs, loaded->logs);
    shown.logs = mp_buf_bytes(&logs);
    shown.n_logs = loaded->n_logs;
    shown.start_ns = (uint64_t)loaded->load_us * 1000;
    for (long i = 0; i < v->times; i++) {
        if (mp_solo_run(solo, event, &out, &why)) {
            mp_buf_fini(&logs);
            return fail_why(v, &why);
        }
        shown.start_ns += out.copy_ns;
        ok = print_run(v, &shown) && ok;
        shown.start_ns = shown.n_logs = 0;
    }
    mp_buf_fini(&logs);
    return ok ? MP_EXIT_DONE : MP_EXIT_NO;
}

static int load_and_run(const struct invoke *v, const struct mp_function *fn,
                        const struct mp_event *event, struct mistakes *m)
{
    struct mp_loaded loaded;
    struct mp_actors actors;
    struct mp_solo solo;
    struct mp_why why;
    int status;

    mp_solo_init(&solo);
    mp_actors_init(&actors);
    solo.actors = &actors;
    solo.node = v->node;
    solo.env = v->env;
    solo.n_env = v->envs.n;
    solo.secrets = v->secret;
    solo.n_secrets = v->secrets.n;
    if (read_state(v, fn, event, &actors, &why) ||
        mp_solo_load(&solo, fn, &loaded, &why)) {
        status = fail_why(v, &why);
    } else if (loaded.kind != MP_OUT_OK) {
        print_load(v, fn, &loaded);
        status = MP_EXIT_NO;
    } else {
        mp_handlers_check(fn, &loaded, &m->report);
        if (m->report.mistakes)
            status = fail(v, mp_buf_bytes(&m->text));
        else
            status = run_times(v, fn, &solo, &loaded, event);
    }
    mp_solo_fini(&solo);
    mp_actors_fini(&actors);
    return status;
}

static int invoke(struct invoke *v, const struct mp_function *fn,
                  struct mistakes *m)
{
    struct mp_tree_doc doc;
    struct mp_step step;
    struct mp_why why;
    int status;

    for (unsigned i = 0; i < v->envs.n; i++) {
        if (mp_solo_env_check(fn, v->env[i].name, &why))
            return fail_why(v, &why);
    }
    if (read_json(v->event, &doc, &why))
        return fail_why(v, &why);
    if (make_step(v, fn, doc.root, &step, &why) || read_secrets(v, fn, &why))
        status = fail_why(v, &why);
    else
        status = load_and_run(v, fn, &step.event, m);
    mp_step_fini(&step);
    mp_tree_fini(&doc);
    free_secrets(v);
    return status;
}

static const struct mp_why *no_function(struct mp_why *why)
{
    mp_why_set(why, MP_ENONE,
               "there is no main.lua here; say which function to run: "
               "moonpool invoke PATH, its directory or a .lua file");
    return why;
}

int mp_verb_invoke(int argc, char **argv)
{
    struct mistakes m = {.report = {.say = say_mistake}};
    struct invoke v = {0};
    struct mp_function *fn;
    struct mp_why why;
    int status;

    if (parse_flags(&v, argc, argv, &status) < 0)
        return status;
    if (!read_flags(&v))
        return MP_EXIT_USAGE;
    if (gethostname(v.node, sizeof v.node - 1) || !v.node[0])
        strcpy(v.node, "moonpool");
    if (!v.path && access("main.lua", F_OK) && access("function.conf", F_OK))
        return fail_why(&v, no_function(&why));
    if (!v.path)
        v.path = ".";
    mp_buf_init(&m.text, MISTAKES_MAX);
    fn = mp_function_read(v.path, v.node, &m.report);
    if (!fn) {
        status = fail(&v, mp_buf_bytes(&m.text));
    } else {
        status = invoke(&v, fn, &m);
        mp_function_unref(fn);
    }
    mp_buf_fini(&m.text);
    return status;
}
