/*
 * check.c - tells every mistake of a function before it is a host's problem.
 *
 * Three things must hold: function.conf reads without a mistake, main.lua
 * loads in a real worker (the only place where Lua is compiled), and its
 * handlers are the triggers.  moonpool.conf can be checked, too.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/flags.h"
#include "cli/solo.h"
#include "cli/verbs.h"
#include "core/base/json.h"
#include "core/base/text.h"
#include "core/endpoint.h"
#include "core/handlers.h"

enum { PATHS_MAX = 64, FUNCTIONS_MAX = 256 };

struct check {
    struct mp_report report;
    bool json, strict;
    unsigned mistakes, warnings; /* of all before this one */
    bool broken;                 /* the machine failed us */
    struct mp_function *seen[FUNCTIONS_MAX];
    unsigned n_seen;
};

static void say_json(const struct mp_report *r, bool warning)
{
    struct mp_buf line;

    mp_buf_init(&line, 16 << 10);
    mp_buf_printf(
        &line, "{\"level\":\"%s\",\"file\":", warning ? "warning" : "mistake");
    mp_json_put_string(&line, mp_slice_str(r->file ? r->file : ""));
    mp_buf_printf(&line, ",\"line\":%u,\"text\":", r->line);
    mp_json_put_string(&line, mp_slice_str(r->what));
    mp_buf_printf(&line, "}");
    printf("%.*s\n", (int)line.len, line.ptr);
    mp_buf_fini(&line);
}

static void say(struct mp_report *r, bool warning, const char *text)
{
    const struct check *c = (const struct check *)r; /* its first member */

    if (c->json)
        say_json(r, warning);
    else if (warning && r->file && r->line)
        printf("%s:%u: warning: %s\n", r->file, r->line, r->what);
    else
        printf("%s%s\n", warning ? "warning: " : "", text);
}

/* "2 mistakes in overheat"; good news is talk, not data. */
static void sum_up(struct check *c, const char *name)
{
    unsigned m = c->report.mistakes - c->mistakes;
    unsigned w = c->report.warnings - c->warnings;

    c->mistakes = c->report.mistakes;
    c->warnings = c->report.warnings;
    if (c->json || c->broken)
        return;
    if (!m && !w) {
        fprintf(stderr, "%s: no mistakes\n", name);
        return;
    }
    if (m)
        printf("%u mistake%s%s", m, m > 1 ? "s" : "", w ? ", " : "");
    if (w)
        printf("%u warning%s", w, w > 1 ? "s" : "");
    printf(" in %s\n", name);
}

static bool check_name(struct check *c, const struct mp_function *fn)
{
    for (unsigned i = 0; i < c->n_seen; i++) {
        if (strcmp(c->seen[i]->name, fn->name) == 0) {
            mp_report_mistake(&c->report, fn->path, 0,
                              "another function is named '%s', too; only the "
                              "first is loaded",
                              fn->name);
            return false;
        }
    }
    return true;
}

/* The endpoint of a trigger that answers requests. */
static bool endpoint_of(const struct mp_trigger *t, struct mp_endpoint *e)
{
    if (t->kind != MP_TRIGGER_COAP && t->kind != MP_TRIGGER_HTTP)
        return false;
    *e = (struct mp_endpoint){
        .kind = t->kind, .methods = t->methods, .pattern = &t->patterns[0]};
    return true;
}

/* Does another function answer what this trigger does? */
static void check_endpoint(struct check *c, const struct mp_function *fn,
                           const struct mp_trigger *t)
{
    struct mp_endpoint mine, theirs;
    char file[PATH_MAX];

    if (!endpoint_of(t, &mine))
        return;
    snprintf(file, sizeof file, "%s/function.conf", fn->path);
    for (unsigned i = 0; i < c->n_seen; i++) {
        const struct mp_function *other = c->seen[i];

        for (unsigned k = 0; k < other->n_triggers; k++)
            if (endpoint_of(&other->triggers[k], &theirs) &&
                mp_endpoint_clashes(&mine, &theirs))
                mp_report_warning(&c->report, file, t->line,
                                  "%s of trigger '%s' is answered by '%s' of "
                                  "%s, too; of the two one is served",
                                  t->patterns[0].text, t->name,
                                  other->triggers[k].name, other->name);
    }
}

/* Beside those that were seen before. */
static void check_others(struct check *c, struct mp_function *fn)
{
    if (!check_name(c, fn))
        return;
    for (unsigned i = 0; i < fn->n_triggers; i++)
        check_endpoint(c, fn, &fn->triggers[i]);
    if (c->n_seen < FUNCTIONS_MAX)
        c->seen[c->n_seen++] = mp_function_ref(fn);
}

static void check_lua(struct check *c, const struct mp_function *fn)
{
    struct mp_solo solo;
    struct mp_loaded loaded;
    struct mp_why why;

    mp_solo_init(&solo);
    solo.node = "test";
    solo.timezone = "UTC";
    if (mp_solo_load(&solo, fn, &loaded, &why)) {
        fprintf(stderr, "moonpool check: %s\n", why.text);
        c->broken = true;
    } else {
        mp_handlers_check(fn, &loaded, &c->report);
    }
    mp_solo_fini(&solo);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] ? slash + 1 : path;
}

static void check_function(struct check *c, const char *path)
{
    struct mp_function *fn = mp_function_read(path, "test", &c->report);
    char name[PATH_MAX];

    snprintf(name, sizeof name, "%s", fn ? fn->name : last_part(path));
    if (fn) {
        check_others(c, fn);
        check_lua(c, fn);
    }
    sum_up(c, name);
    mp_function_unref(fn);
}

static void check_config(struct check *c, const char *path)
{
    const struct mp_overrides overrides = {.config = path, .look = true};
    struct mp_config config;

    if (mp_config_read(&config, &overrides, &c->report) == 0)
        mp_config_fini(&config);
    sum_up(c, last_part(path));
}

static bool holds(const char *dir, const char *file)
{
    char path[PATH_MAX];

    return (size_t)snprintf(path, sizeof path, "%s/%s", dir, file) <
               sizeof path &&
           access(path, F_OK) == 0;
}

static bool is_function(const char *dir)
{
    return holds(dir, "function.conf") || holds(dir, "main.lua");
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* All functions right below; false: there is none. */
static bool check_below(struct check *c, const char *dir)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, visible, by_bytes);
    bool found = false;

    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];

        snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
        if (is_function(path)) {
            check_function(c, path);
            found = true;
        }
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return found;
}

static void check_path(struct check *c, const char *path)
{
    struct mp_slice s = mp_slice_str(path);
    char dir[PATH_MAX];
    struct stat st;

    if (stat(path, &st)) {
        mp_report_mistake(&c->report, path, 0, "%s",
                          errno == ENOENT ? "there is no such file or directory"
                                          : strerror(errno));
        sum_up(c, last_part(path));
    } else if (S_ISDIR(st.st_mode)) {
        if (is_function(path)) {
            check_function(c, path);
        } else if (!check_below(c, path)) {
            mp_report_mistake(&c->report, path, 0,
                              "no function.conf here or below");
            sum_up(c, last_part(path));
        }
    } else if (strcmp(last_part(path), "function.conf") == 0) {
        snprintf(dir, sizeof dir, "%.*s",
                 last_part(path) == path ? 1 : (int)(s.len - 14),
                 last_part(path) == path ? "." : path);
        check_function(c, dir);
    } else if (mp_ends(s, ".conf")) {
        check_config(c, path);
    } else {
        check_function(c, path);
    }
}

int mp_verb_check(int argc, char **argv)
{
    struct check c = {.report = {.say = say}};
    const char *paths[PATHS_MAX];
    const struct mp_flag flags[] = {
        {.name = "strict",
         .help = "warnings count as mistakes",
         .on = &c.strict},
        {.name = "json",
         .help = "one JSON object for each, in a line",
         .on = &c.json},
    };
    const struct mp_usage usage = {
        .verb = "moonpool check",
        .operands = "PATH...",
        .about = "Tells every mistake of functions, with file and line.\n"
                 "PATH is a function, a directory of some, or a moonpool.conf.",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min = 1,
        .max = PATHS_MAX,
    };
    int status, n = mp_flags_parse(&usage, argc, argv, paths, &status);

    if (n < 0)
        return status;
    for (int i = 0; i < n; i++)
        check_path(&c, paths[i]);
    for (unsigned i = 0; i < c.n_seen; i++)
        mp_function_unref(c.seen[i]);
    if (c.broken || c.mistakes || (c.strict && c.warnings))
        return MP_EXIT_NO;
    return MP_EXIT_DONE;
}
