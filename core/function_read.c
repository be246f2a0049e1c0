/*
 * function_read.c - from a directory to a struct mp_function.
 *
 * Names for ${...} may stand anywhere in the file, so it is gone through
 * twice: first silently for name, version and [env], then line by line, with
 * every mistake told where it stands.  What concerns more than one line is
 * checked at the end.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/base/text.h"
#include "core/function_files.h"
#include "core/function_trigger.h"
#include "core/secrets.h"
#include "core/siblings.h"

enum { VARS_MAX = 256, VALUE_MAX = 4096 };

struct var {
    char *name, *value;
    unsigned line; /* 0: a builtin */
};

struct reading {
    struct mp_function *fn;
    struct mp_keys keys;
    char file[PATH_MAX]; /* of function.conf, for messages */
    struct mp_ini ini;
    struct var vars[VARS_MAX];
    unsigned n_vars, n_builtins;
    struct mp_function_files files;
    struct mp_trigger_said said[MP_TRIGGERS_MAX];
};

/* ---- names in values ---- */

static void add_var(struct reading *r, const char *name, struct mp_slice value,
                    unsigned line)
{
    if (r->n_vars == VARS_MAX)
        return; /* told when [env] is read */
    r->vars[r->n_vars++] = (struct var){
        mp_strndup(name, strlen(name)),
        mp_strndup(value.ptr, value.len),
        line,
    };
}

static const struct var *find_var(const struct reading *r, struct mp_slice name,
                                  unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (mp_slice_is(name, r->vars[i].name))
            return &r->vars[i];
    }
    return NULL;
}

static int unknown_var(const struct reading *r, struct mp_slice name,
                       unsigned n, struct mp_why *why)
{
    const char *words[VARS_MAX], *near;

    for (unsigned i = 0; i < n; i++)
        words[i] = r->vars[i].name;
    near = mp_nearest(name, words, n);
    if (near)
        return mp_why_set(why, MP_ENONE,
                          "unknown name ${%.*s}; did you mean '%s'?",
                          MP_FMT(mp_cut(name, 64)), near);
    return mp_why_set(why, MP_ENONE,
                      "unknown name ${%.*s}; names of [env], node, function "
                      "and version are known",
                      MP_FMT(mp_cut(name, 64)));
}

/* value with its ${NAME}s filled in from the first n names. */
static int expand(const struct reading *r, struct mp_slice value, unsigned n,
                  struct mp_buf *out, struct mp_why *why)
{
    while (value.len) {
        size_t i = 0;
        const char *end;
        struct mp_slice name;
        const struct var *var;

        while (i < value.len && !(value.ptr[i] == '$' && i + 1 < value.len &&
                                  value.ptr[i + 1] == '{'))
            i++;
        mp_buf_put(out, value.ptr, i);
        value = mp_slice(value.ptr + i, value.len - i);
        if (!value.len)
            break;
        end = memchr(value.ptr, '}', value.len);
        if (!end)
            return mp_why_set(why, MP_EPARSE, "'${' without '}'");
        name = mp_slice(value.ptr + 2, (size_t)(end - value.ptr) - 2);
        var = find_var(r, name, n);
        if (!var)
            return unknown_var(r, name, n, why);
        mp_buf_slice(out, mp_slice_str(var->value));
        value = mp_slice(end + 1, value.len - name.len - 3);
    }
    if (out->full)
        return mp_why_set(why, MP_ERANGE, "longer than %d bytes", VALUE_MAX);
    mp_buf_put(out, "", 1);
    return 0;
}

/* In double quotes: those go, the blanks inside stay. */
static struct mp_slice unquote(struct mp_slice v)
{
    if (v.len >= 2 && v.ptr[0] == '"' && v.ptr[v.len - 1] == '"')
        return mp_slice(v.ptr + 1, v.len - 2);
    return v;
}

/* The last value of a key in the sections of one kind, or def. */
static const char *peek(const struct reading *r, const char *section,
                        const char *key, const char *def)
{
    for (unsigned i = 0; i < r->ini.n_sections; i++) {
        const struct mp_ini_section *s = &r->ini.sections[i];

        for (unsigned l = 0; strcmp(s->kind, section) == 0 && l < s->n_lines;
             l++) {
            if (strcmp(s->lines[l].key, key) == 0 && *s->lines[l].value)
                def = s->lines[l].value;
        }
    }
    return def;
}

static void gather_names(struct reading *r, const char *node)
{
    add_var(r, "node", mp_slice_str(node), 0);
    add_var(r, "function", mp_slice_str(r->fn->name), 0);
    add_var(r, "version", mp_slice_str(peek(r, "function", "version", "0.0.0")),
            0);
    r->n_builtins = r->n_vars;
    for (unsigned i = 0; i < r->ini.n_sections; i++) {
        const struct mp_ini_section *s = &r->ini.sections[i];

        for (unsigned l = 0; strcmp(s->kind, "env") == 0 && l < s->n_lines;
             l++) {
            struct mp_slice raw = mp_slice_str(s->lines[l].value);
            struct mp_buf value;
            struct mp_why why;

            mp_buf_init(&value, VALUE_MAX);
            if (!find_var(r, mp_slice_str(s->lines[l].key), r->n_vars) &&
                expand(r, unquote(raw), r->n_builtins, &value, &why) == 0)
                add_var(r, s->lines[l].key, mp_slice(value.ptr, value.len - 1),
                        s->lines[l].line);
            mp_buf_fini(&value);
        }
    }
}

/* ---- lines ---- */

static void take_line(struct reading *r, struct mp_keys *keys,
                      const char *section, const struct mp_ini_line *line,
                      void *base)
{
    struct mp_buf value;
    struct mp_why why;

    mp_buf_init(&value, VALUE_MAX);
    if (expand(r, mp_slice_str(line->value), r->n_vars, &value, &why))
        mp_report_mistake(
            keys->report, keys->file, line->line, "%s = %.*s: %s", line->key,
            MP_FMT(mp_cut(mp_slice_str(line->value), 120)), why.text);
    else
        mp_keys_take(keys, section, line->line, line->key, value.ptr, base);
    mp_buf_fini(&value);
}

/* [env] is in vars already; here its mistakes are told. */
static void check_env_line(struct reading *r, const struct mp_ini_line *line)
{
    struct mp_report *report = r->keys.report;
    const struct var *var = find_var(r, mp_slice_str(line->key), r->n_vars);
    struct mp_buf value;
    struct mp_why why;

    mp_buf_init(&value, VALUE_MAX);
    if (expand(r, unquote(mp_slice_str(line->value)), r->n_builtins, &value,
               &why))
        mp_report_mistake(
            report, r->file, line->line, "%s = %.*s: %s", line->key,
            MP_FMT(mp_cut(mp_slice_str(line->value), 120)), why.text);
    else if (mp_check_env_name(mp_slice_str(line->key), &why))
        mp_report_mistake(report, r->file, line->line, "%.*s: %s",
                          MP_FMT(mp_cut(mp_slice_str(line->key), 64)),
                          why.text);
    else if (!var)
        mp_report_mistake(report, r->file, line->line,
                          "more than %d names in [env]",
                          VARS_MAX - (int)r->n_builtins);
    else if (var->line != line->line)
        mp_report_mistake(report, r->file, line->line,
                          "%s is given twice; the first is in line %u",
                          line->key, var->line);
    mp_buf_fini(&value);
}

/* ---- sections ---- */

static void read_trigger(struct reading *r, const struct mp_ini_section *s)
{
    struct mp_trigger *t;
    struct mp_keys keys = r->keys;

    if (r->fn->n_triggers == MP_TRIGGERS_MAX) {
        mp_report_mistake(keys.report, r->file, s->line,
                          "more than %d triggers", MP_TRIGGERS_MAX);
        return;
    }
    t = &r->fn->triggers[r->fn->n_triggers];
    t->line = s->line;
    mp_keys_defaults(keys.table, "trigger", t);
    keys.given = mp_given_new(keys.table);
    for (unsigned i = 0; i < s->n_lines; i++)
        take_line(r, &keys, "trigger", &s->lines[i], t);
    mp_trigger_take(r->fn, &r->said[r->fn->n_triggers], &keys, s);
    mp_given_free(keys.table, keys.given);
}

static void read_sections(struct reading *r)
{
    for (unsigned i = 0; i < r->ini.n_sections; i++) {
        const struct mp_ini_section *s = &r->ini.sections[i];

        if (!mp_keys_section(&r->keys, s))
            continue;
        if (strcmp(s->kind, "trigger") == 0) {
            read_trigger(r, s);
            continue;
        }
        if (strcmp(s->kind, "state") == 0)
            r->fn->has_state = true;
        for (unsigned l = 0; l < s->n_lines; l++) {
            if (strcmp(s->kind, "env") == 0)
                check_env_line(r, &s->lines[l]);
            else
                take_line(r, &r->keys, s->kind, &s->lines[l], r->fn);
        }
    }
}

/* The items of a list in one block, its bytes behind it. */
static struct mp_slice *keep_list(const struct mp_given *g)
{
    size_t bytes = g->n_items * sizeof(struct mp_slice);
    struct mp_slice *list;
    char *text;

    for (unsigned i = 0; i < g->n_items; i++)
        bytes += strlen(g->items[i].text);
    list = mp_alloc(bytes);
    text = (char *)(list + g->n_items);
    for (unsigned i = 0; i < g->n_items; i++) {
        size_t len = strlen(g->items[i].text);

        memcpy(text, g->items[i].text, len);
        list[i] = mp_slice(text, len);
        text += len;
    }
    return list;
}

static void keep_grants(struct reading *r)
{
    const struct mp_given *publish =
        mp_keys_given(&r->keys, "grant", "publish");
    const struct mp_given *send = mp_keys_given(&r->keys, "grant", "send");
    const struct mp_given *secret = mp_keys_given(&r->keys, "grant", "secret");

    r->fn->grants = keep_list(publish);
    r->fn->n_grants = publish->n_items;
    r->fn->sends = keep_list(send);
    r->fn->n_sends = send->n_items;
    r->fn->secrets = keep_list(secret);
    r->fn->n_secrets = secret->n_items;
    if (secret->n_items > MP_SECRETS_MAX)
        mp_report_mistake(r->keys.report, r->file,
                          secret->items[MP_SECRETS_MAX].line,
                          "more than %d secrets", MP_SECRETS_MAX);
}

/* Put a pair and its bytes at text; returns where the next ones go. */
static char *keep_pair(struct mp_pair *pair, struct mp_slice name,
                       struct mp_slice value, char *text)
{
    memcpy(text, name.ptr, name.len);
    pair->name = mp_slice(text, name.len);
    text += name.len;
    if (value.len)
        memcpy(text, value.ptr, value.len);
    pair->value = mp_slice(text, value.len);
    return text + value.len;
}

static void keep_env(struct reading *r)
{
    struct mp_function *fn = r->fn;
    size_t bytes = 0;
    char *text;

    fn->n_env = r->n_vars - r->n_builtins;
    for (unsigned i = r->n_builtins; i < r->n_vars; i++)
        bytes += strlen(r->vars[i].name) + strlen(r->vars[i].value);
    fn->env = mp_alloc(fn->n_env * sizeof *fn->env + bytes);
    text = (char *)(fn->env + fn->n_env);
    for (unsigned i = 0; i < fn->n_env; i++) {
        const struct var *var = &r->vars[r->n_builtins + i];

        text = keep_pair(&fn->env[i], mp_slice_str(var->name),
                         mp_slice_str(var->value), text);
    }
}

static void keep_files(struct reading *r)
{
    static const struct mp_hash_key key = {UINT64_C(0x6d6f6f6e706f6f6c), 1};
    struct mp_function *fn = r->fn;
    struct mp_hasher hasher;
    struct mp_hash digest;
    size_t bytes = 0;
    char *text;

    for (unsigned i = 0; i < r->files.n; i++)
        bytes += strlen(r->files.list[i].name) + r->files.list[i].bytes.len;
    fn->files = mp_alloc(r->files.n * sizeof *fn->files + bytes);
    text = (char *)(fn->files + r->files.n);
    mp_hasher_init(&hasher, &key);
    for (unsigned i = 0; i < r->files.n; i++) {
        struct mp_slice name = mp_slice_str(r->files.list[i].name);
        struct mp_slice value = mp_buf_bytes(&r->files.list[i].bytes);

        mp_hasher_add(&hasher, name);
        mp_hasher_add(&hasher, value);
        if (mp_ends(name, ".lua"))
            text = keep_pair(&fn->files[fn->n_files++], name, value, text);
    }
    digest = mp_hasher_end(&hasher);
    fn->digest.lo = digest.lo;
    fn->digest.hi = digest.hi;
}

/* ---- what concerns more than one line ---- */

static unsigned line_of(const struct reading *r, const char *section,
                        const char *key)
{
    return mp_keys_given(&r->keys, section, key)->line;
}

static void check_pairs(struct reading *r)
{
    struct mp_function *fn = r->fn;
    struct mp_report *report = r->keys.report;

    if (fn->backoff_us > fn->max_backoff_us)
        mp_report_mistake(report, r->file,
                          line_of(r, "retry", "max_backoff")
                              ? line_of(r, "retry", "max_backoff")
                              : line_of(r, "retry", "backoff"),
                          "backoff is longer than max_backoff");
    if (fn->breaker_pause_us > fn->breaker_max_pause_us)
        mp_report_mistake(report, r->file,
                          line_of(r, "breaker", "max_pause")
                              ? line_of(r, "breaker", "max_pause")
                              : line_of(r, "breaker", "pause"),
                          "pause is longer than max_pause");
    if (fn->cpu_us > fn->timeout_us)
        mp_report_warning(report, r->file, line_of(r, "limits", "cpu"),
                          "cpu is longer than timeout, which ends it first");
    if (fn->has_state && fn->order == MP_ORDER_NONE)
        mp_report_mistake(report, r->file, line_of(r, "function", "order"),
                          "order = none: not with [state]");
}

/* Each name of the template must be bound by each pattern. */
static void check_name_bound(struct reading *r, struct mp_slice name)
{
    char shown[128];

    for (unsigned i = 0; i < r->fn->n_triggers; i++) {
        const struct mp_trigger *t = &r->fn->triggers[i];

        for (unsigned k = 0; k < t->n_patterns; k++) {
            if (mp_pattern_binds(&t->patterns[k], name))
                continue;
            mp_report_mistake(
                r->keys.report, r->file, line_of(r, "state", "key"),
                "{%.*s} in [state] key is not bound by trigger "
                "'%s' (%s); every mqtt, coap and http trigger of "
                "a function with a key binds it: put what has no "
                "{%.*s} into a function of its own",
                MP_FMT(name), t->name,
                mp_trigger_shown(t, &r->said[i], k, shown), MP_FMT(name));
            break;
        }
    }
}

static void check_state(struct reading *r)
{
    const char *at = r->fn->state_key, *end;

    for (unsigned i = 0; i < r->fn->n_triggers && r->fn->has_state; i++)
        if (!r->said[i].retained)
            r->fn->triggers[i].retained = false;
    for (; at && (at = strchr(at, '{')); at = end) {
        struct mp_slice name;

        end = strchr(at, '}');
        name = mp_slice(at + 1, (size_t)(end - at) - 1);
        if (memchr(name.ptr, '.', name.len) || memchr(name.ptr, '[', name.len))
            mp_report_mistake(r->keys.report, r->file,
                              line_of(r, "state", "key"),
                              "{%.*s}: keys from the payload come with a later "
                              "release; use a name that the pattern binds",
                              MP_FMT(name));
        else
            check_name_bound(r, name);
    }
}

/* A grant that lets it publish what runs it. */
static void check_loops(struct reading *r)
{
    const struct mp_given *g = mp_keys_given(&r->keys, "grant", "publish");

    for (unsigned t = 0; t < r->fn->n_triggers; t++) {
        const struct mp_trigger *trigger = &r->fn->triggers[t];
        unsigned pairs = trigger->kind == MP_TRIGGER_MQTT
                             ? trigger->n_patterns * g->n_items
                             : 0;

        for (unsigned k = 0; k < pairs; k++) {
            const struct mp_pattern *p = &trigger->patterns[k / g->n_items];
            const struct mp_item *grant = &g->items[k % g->n_items];
            struct mp_buf filter;
            bool loop;

            mp_buf_init(&filter, MP_TOPIC_MAX);
            mp_pattern_filter(p, &filter);
            loop = mp_filter_overlap(mp_slice_str(grant->text),
                                     mp_buf_bytes(&filter));
            mp_buf_fini(&filter);
            if (loop)
                mp_report_warning(r->keys.report, r->file, grant->line,
                                  "publish = %s covers trigger '%s' (mqtt = "
                                  "%s): it can run itself in a loop",
                                  grant->text, trigger->name, p->text);
        }
    }
}

/* A failure that is told to nobody, or to who failed. */
static void check_on_failure(struct reading *r)
{
    const char *to = r->fn->on_failure;

    if (!to || !mp_starts(mp_slice_str(to), "function:"))
        return;
    to += strlen("function:");
    if (strcmp(to, r->fn->name) == 0)
        mp_report_warning(r->keys.report, r->file,
                          line_of(r, "retry", "on_failure"),
                          "on_failure = function:%s is this function itself: "
                          "it is told of its own failures",
                          to);
    else if (!mp_sibling_is(r->fn->path, to))
        mp_report_warning(r->keys.report, r->file,
                          line_of(r, "retry", "on_failure"),
                          "on_failure = function:%s: there is no function of "
                          "that name here; what it is told waits for it",
                          to);
}

static void finish(struct reading *r)
{
    struct mp_function *fn = r->fn;
    const struct mp_given *rate = mp_keys_given(&r->keys, "log", "rate");
    struct mp_why why;

    if (!fn->cpu_us)
        fn->cpu_us = fn->timeout_us < MP_SECOND ? fn->timeout_us : MP_SECOND;
    fn->log_per = 10;
    fn->log_every_us = MP_SECOND;
    if (rate->file && mp_parse_rate(mp_slice_str(rate->text), &fn->log_per,
                                    &fn->log_every_us, &why))
        MP_ASSERT(r->keys.report->mistakes); /* it was told, at its line */
    keep_grants(r);
    keep_env(r);
    keep_files(r);
    check_pairs(r);
    check_state(r);
    mp_triggers_check(fn, r->said, &r->keys);
    check_loops(r);
    check_on_failure(r);
}

/* ---- from outside ---- */

/* The last part of a path, without links and dots. */
static void base_name(const char *path, char name[PATH_MAX])
{
    char real[PATH_MAX];
    const char *slash;

    if (!realpath(path, real))
        snprintf(real, sizeof real, "%s", path);
    slash = strrchr(real, '/');
    snprintf(name, PATH_MAX, "%s", slash ? slash + 1 : real);
}

/* By [function] name, else the directory's. */
static void name_function(struct reading *r, const char *path)
{
    char dir[PATH_MAX];
    const char *given = peek(r, "function", "name", NULL);
    struct mp_why why;

    base_name(path, dir);
    if (!given && mp_check_name(mp_slice_str(dir), &why))
        mp_report_mistake(r->keys.report, path, 0,
                          "the directory's name '%.64s' can't be the "
                          "function's (%s); give it one: name = NAME in "
                          "[function]",
                          dir, why.text);
    snprintf(r->fn->name, sizeof r->fn->name, "%.*s", MP_NAME_MAX,
             given ? given : dir);
}

static void reading_fini(struct reading *r)
{
    for (unsigned i = 0; i < r->n_vars; i++) {
        free(r->vars[i].name);
        free(r->vars[i].value);
    }
    for (unsigned i = 0; i < MP_TRIGGERS_MAX; i++)
        mp_trigger_said_fini(&r->said[i]);
    mp_given_free(&mp_function_table, r->keys.given);
    mp_ini_fini(&r->ini);
    mp_function_files_fini(&r->files);
    free(r);
}

static struct reading *reading_new(const char *path, struct mp_report *report)
{
    struct reading *r = mp_zalloc(sizeof *r);

    r->fn = mp_zalloc(sizeof *r->fn);
    r->fn->refs = 1;
    r->fn->path = mp_strndup(path, strlen(path));
    while (strlen(r->fn->path) > 1 &&
           r->fn->path[strlen(r->fn->path) - 1] == '/')
        r->fn->path[strlen(r->fn->path) - 1] = '\0';
    r->fn->triggers = mp_zalloc(MP_TRIGGERS_MAX * sizeof *r->fn->triggers);
    for (size_t i = 0; i < mp_function_table.n_sections; i++) {
        const char *section = mp_function_table.sections[i].name;

        if (strcmp(section, "trigger") != 0)
            mp_keys_defaults(&mp_function_table, section, r->fn);
    }
    snprintf(r->file, sizeof r->file, "%s/function.conf", r->fn->path);
    r->keys = (struct mp_keys){
        .table = &mp_function_table,
        .report = report,
        .file = r->file,
        .given = mp_given_new(&mp_function_table),
    };
    return r;
}

static void read_conf(struct reading *r, const char *node, struct mp_slice text)
{
    r->fn->conf = mp_strndup(text.ptr, text.len);
    mp_ini_read(&r->ini, r->file, text, r->keys.report);
    name_function(r, r->fn->path);
    gather_names(r, node);
    read_sections(r);
    finish(r);
}

static void read_directory(struct reading *r, const char *node)
{
    struct mp_report *report = r->keys.report;
    const char *path = r->fn->path;
    const struct mp_function_file *conf;

    if (!mp_function_files_read(&r->files, path, report))
        return;
    conf = mp_function_files_find(&r->files, "function.conf");
    if (!mp_function_files_find(&r->files, "main.lua"))
        mp_report_mistake(report, path, 0, "there is no main.lua in it");
    if (!conf) {
        mp_report_mistake(report, path, 0, "there is no function.conf in it");
        return;
    }
    read_conf(r, node, mp_buf_bytes(&conf->bytes));
}

/* "Foo Bar.lua" becomes foo-bar. */
static void name_bare(struct mp_function *fn)
{
    char base[PATH_MAX];
    size_t len;

    base_name(fn->path, base);
    len = strlen(base);
    MP_ASSERT(len >= 4);
    base[len - 4] = '\0'; /* .lua */
    snprintf(fn->name, sizeof fn->name, "%.*s", MP_NAME_MAX, base);
    for (char *c = fn->name; *c; c++) {
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
        else if (!(*c >= 'a' && *c <= 'z') && !(*c >= '0' && *c <= '9'))
            *c = '-';
    }
    if (fn->name[0] < 'a' || fn->name[0] > 'z')
        fn->name[0] = 'f';
}

/* One trigger that takes any topic; it may publish to any. */
static void read_bare(struct reading *r)
{
    static const char conf[] = "[trigger invoke]\nmqtt = #\n"
                               "[grant]\npublish = #\n";
    struct mp_report quiet = {.say = NULL};
    struct mp_report *report = r->keys.report;

    if (!mp_function_files_bare(&r->files, r->fn->path, report))
        return;
    name_bare(r->fn);
    r->keys.report = &quiet; /* of a loop it may make we know */
    mp_ini_read(&r->ini, r->file, MP_S(conf), &quiet);
    read_sections(r);
    finish(r);
    MP_ASSERT(!quiet.mistakes);
    r->keys.report = report;
}

struct mp_function *mp_function_read(const char *path, const char *node,
                                     struct mp_report *report)
{
    unsigned before = report->mistakes;
    struct reading *r = reading_new(path, report);
    struct mp_function *fn = r->fn;
    struct stat st;

    if (mp_ends(mp_slice_str(path), ".lua") && stat(path, &st) == 0 &&
        !S_ISDIR(st.st_mode))
        read_bare(r);
    else
        read_directory(r, node);
    reading_fini(r);
    if (report->mistakes != before) {
        mp_function_unref(fn);
        return NULL;
    }
    return fn;
}

struct mp_function *mp_function_stand_in(const char *path, const char *node,
                                         struct mp_slice conf)
{
    struct mp_report quiet = {.say = NULL};
    struct reading *r = reading_new(path, &quiet);
    struct mp_function *fn = r->fn;

    read_conf(r, node, conf);
    reading_fini(r);
    if (!quiet.mistakes)
        return fn;
    mp_function_unref(fn);
    return NULL;
}
