/*
 * catalog.c - from directories to live functions.
 *
 *     directory ──► consider ──► next (loading) ──► live
 *        ▲ │           ▲
 *        │ └ unread ───┘ each second: the paths that could not be read, or
 *        └────────────── the directory when that was it
 *
 * A mistake in a function waits for its author and a new scan; what could not
 * be read waits for nobody.  What can't run and has no version before is held
 * (catalog_held.c).
 */
#include "core/catalog_impl.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/fnlog.h"
#include "core/handlers.h"
#include "core/log.h"
#include "core/secrets.h"
#include "core/stream.h"

/* How soon what could not be read is tried again. */
enum { AGAIN_MS = 1000 };

/* Mistakes of a function become log lines. */
static void say(struct mp_report *r, bool warning, const char *text)
{
    (void)r;
    mp_log(warning ? MP_WARN : MP_ERROR, "functions", NULL, "%s", text);
}

void mp_catalog_init(struct mp_catalog *c, struct mp_pool *pool,
                     const struct mp_config *config,
                     void (*settled)(void *arg, bool changed), void *arg)
{
    *c = (struct mp_catalog){
        .pool = pool, .config = config, .settled = settled, .arg = arg};
    mp_list_init(&c->slots);
    uv_timer_init(pool->loop, &c->again);
    uv_timer_init(pool->loop, &c->mend);
    c->again.data = c->mend.data = c;
}

static void forget_unread(struct mp_catalog *c)
{
    uv_timer_stop(&c->again);
    for (unsigned i = 0; i < c->n_unread; i++)
        free(c->unread[i]);
    free(c->unread);
    c->unread = NULL;
    c->n_unread = 0;
}

void mp_catalog_close(struct mp_catalog *c)
{
    forget_unread(c);
    mp_catalog_miss_none(c);
    uv_close((uv_handle_t *)&c->again, NULL);
    uv_close((uv_handle_t *)&c->mend, NULL);
}

void mp_catalog_fini(struct mp_catalog *c)
{
    while (!mp_list_empty(&c->slots)) {
        struct mp_slot *slot = mp_of(c->slots.next, struct mp_slot, link);

        mp_list_unlink(&slot->link);
        mp_metrics_fini(&slot->metrics);
        free(slot);
    }
}

/* Whatever it is called. */
struct mp_slot *mp_catalog_find_path(struct mp_catalog *c, const char *path)
{
    mp_list_each (at, &c->slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (slot->live && strcmp(slot->live->fn->path, path) == 0)
            return slot;
    }
    return NULL;
}

struct mp_slot *mp_catalog_find(struct mp_catalog *c, const char *name)
{
    mp_list_each (at, &c->slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (strcmp(slot->name, name) == 0)
            return slot;
    }
    return NULL;
}

/* Which of n workers is a function's home: the one with the highest hash. */
static unsigned home_of(const char *name, unsigned n)
{
    uint64_t best = 0;
    unsigned home = 0;

    for (unsigned i = 0; i < n; i++) {
        struct mp_hash_key key = {i, 0};
        uint64_t weight = mp_hash64(&key, mp_slice_str(name));

        if (weight >= best) {
            best = weight;
            home = i;
        }
    }
    return home;
}

struct mp_slot *mp_catalog_slot_new(struct mp_catalog *c,
                                    const struct mp_function *fn)
{
    struct mp_group *group = mp_pool_join(c->pool, fn);
    struct mp_slot *slot;

    if (!group) {
        mp_log(MP_ERROR, fn->name, NULL,
               "no worker left for isolation = worker (%d processes at most); "
               "not loaded",
               MP_WORKERS_MAX);
        return NULL;
    }
    slot = mp_zalloc(sizeof *slot);
    mp_slot_init(slot, fn->name);
    slot->group = group;
    slot->home = home_of(fn->name, group->n);
    mp_list_append(&c->slots, &slot->link);
    return slot;
}

static bool is_same(const struct mp_version *v, const struct mp_function *fn)
{
    return v->fn->digest.lo == fn->digest.lo &&
           v->fn->digest.hi == fn->digest.hi;
}

int mp_catalog_give_secrets(const struct mp_catalog *c, struct mp_version *v,
                            struct mp_why *why)
{
    const struct mp_function *fn = v->fn;
    int rc = mp_secrets_read(c->config->secrets, fn->name, fn->secrets,
                             fn->n_secrets, &v->secrets, why);

    if (rc == MP_ENONE && c->config->file) { /* the verb must read it, too */
        struct mp_why missing = *why;

        mp_why_set(why, rc, "%.240s --config %s", missing.text,
                   c->config->file);
    }
    v->n_secrets = rc ? 0 : fn->n_secrets;
    return rc;
}

/* Its secrets are other ones by now, or can't be had. */
static bool has_new_secrets(const struct mp_catalog *c,
                            const struct mp_version *v)
{
    const struct mp_function *fn = v->fn;
    struct mp_pair *now;
    struct mp_why why;
    bool other = v->n_secrets != fn->n_secrets;

    if (!fn->n_secrets ||
        mp_secrets_read(c->config->secrets, fn->name, fn->secrets,
                        fn->n_secrets, &now, &why))
        return fn->n_secrets > 0;
    for (unsigned i = 0; !other && i < fn->n_secrets; i++)
        other = !mp_slice_eq(now[i].value, v->secrets[i].value);
    mp_secrets_free(now, fn->n_secrets);
    return other;
}

/* The next version of a slot lacks a secret. */
static void lacks_secret(struct mp_catalog *c, struct mp_slot *slot,
                         const struct mp_why *why)
{
    if (mp_catalog_still_broken(c, slot))
        return;
    c->failed++;
    c->unsettled = true;
    if (!slot->live || slot->live->broken) {
        slot->next->broken = true;
        mp_log(MP_ERROR, slot->name, NULL,
               "%s; nothing of it runs, its events wait on disk until then",
               why->text);
        return;
    }
    mp_log(MP_ERROR, slot->name, NULL, "%s", why->text);
    mp_log(MP_ERROR, slot->name, NULL,
           "not replaced; %s stays (a secret can't be had)",
           slot->live->fn->version);
    mp_version_unref(c->pool, slot->next);
    slot->next = NULL;
}

void mp_catalog_load(struct mp_catalog *c, struct mp_slot *slot,
                     struct mp_function *fn)
{
    struct mp_version *v = mp_version_new(c->pool, slot, fn);
    struct mp_why why;

    slot->next = v;
    if (mp_catalog_give_secrets(c, v, &why)) {
        lacks_secret(c, slot, &why);
        return;
    }
    c->pending++;
    mp_pool_load(c->pool, v);
}

/* A broken one is loaded again, whatever its bytes: the load may have had too
 * little time or memory. */
static bool has_it(const struct mp_catalog *c, const struct mp_slot *slot,
                   const struct mp_function *fn)
{
    const struct mp_version *v = slot->next ? slot->next : slot->live;

    return v && !v->broken && is_same(v, fn) && !has_new_secrets(c, v);
}

static void consider(struct mp_catalog *c, struct mp_function *fn)
{
    struct mp_slot *slot = mp_catalog_find(c, fn->name);

    if (slot && slot->seen) {
        mp_log(MP_ERROR, "functions", NULL,
               "%s: the name '%s' is taken already; not loaded", fn->path,
               fn->name);
        return;
    }
    if (!slot)
        slot = mp_catalog_slot_new(c, fn);
    if (!slot)
        return;
    slot->seen = true;
    slot->gone = false;
    if (slot->live && slot->live->fn->own_worker != fn->own_worker)
        mp_log(MP_WARN, slot->name, NULL,
               "scale.isolation takes effect at the next start of the host");
    if (has_it(c, slot, fn)) {
        if (slot->next && slot->live && slot->next->fn == slot->live->fn)
            c->failed++; /* held, and loaded again at this moment */
        return;
    }
    if (slot->next) /* a newer save overtakes one that is still loading */
        mp_version_unref(c->pool, slot->next);
    mp_catalog_load(c, slot, fn);
}

/* Is that file there, as far as can be told? */
static bool may_have(const char *path, const char *name)
{
    char file[4200];

    snprintf(file, sizeof file, "%s/%s", path, name);
    return access(file, F_OK) == 0 || errno == EIO || errno == ENOMEM;
}

bool mp_catalog_is_function(const char *path)
{
    return may_have(path, "function.conf") || may_have(path, "main.lua");
}

static void on_again(uv_timer_t *timer);

static void try_again(struct mp_catalog *c)
{
    uv_timer_start(&c->again, on_again, AGAIN_MS, 0);
}

static void note_unread(struct mp_catalog *c, const char *path)
{
    c->unread = mp_realloc(c->unread, (c->n_unread + 1) * sizeof *c->unread);
    c->unread[c->n_unread++] = mp_strndup(path, strlen(path));
    try_again(c);
}

/* What is not live is told of by mp_catalog_recall. */
static void say_failed(const struct mp_slot *slot, bool unread, bool held)
{
    const char *again = unread ? "; it is tried again each second"
                        : held ? " (its tests fail)"
                               : " (its mistakes were told)";

    if (slot->live->broken)
        mp_log(MP_ERROR, slot->name, NULL,
               "not mended; its events go on waiting%s", again);
    else
        mp_log(MP_ERROR, slot->name, NULL, "not replaced; %s stays%s",
               slot->live->fn->version, again);
}

/*
 * Pings of a lane wait behind its acknowledgements, and these behind windows:
 * the broker must not take us for dead.  On the shared lane and over QoS 0
 * nothing waits for a window.
 */
static void check_windows(const struct mp_catalog *c,
                          const struct mp_function *fn,
                          struct mp_report *report)
{
    int64_t most_us = c->config->mqtt.keepalive_us / 2;
    char file[4200];

    snprintf(file, sizeof file, "%s/function.conf", fn->path);
    for (unsigned i = 0; i < fn->n_triggers; i++) {
        const struct mp_trigger *t = &fn->triggers[i];
        int64_t wait_us = t->lines ? mp_stream_lines_wait_us(t->lines) : 0;

        if (t->own_lane && t->qos && wait_us > most_us)
            mp_report_mistake(
                report, file, t->line,
                "windows of trigger '%s' wait for %gs, which is longer than "
                "half of [mqtt] keepalive (%gs): with lane = own the broker's "
                "pings wait too; make them shorter, or keepalive longer",
                t->name, (double)wait_us / MP_SECOND,
                (double)most_us / MP_SECOND);
    }
}

/* NULL: it has mistakes, or can't be read. */
static struct mp_function *read_function(const struct mp_catalog *c,
                                         const char *path,
                                         struct mp_report *report)
{
    struct mp_function *fn = mp_function_read(path, c->config->node, report);
    unsigned before = report->mistakes;

    if (!fn)
        return NULL;
    check_windows(c, fn, report);
    if (report->mistakes == before)
        return fn;
    mp_function_unref(fn);
    return NULL;
}

/* again: it was said already that this one can't be read. */
static void read_one(struct mp_catalog *c, const char *path, bool again)
{
    struct mp_report report = {.say = again ? NULL : say};
    bool held = c->holds && c->holds(path);
    struct mp_function *fn = NULL;
    struct mp_slot *slot;

    if (!held)
        fn = read_function(c, path, &report);
    if (fn) {
        consider(c, fn);
        mp_function_unref(fn);
        return;
    }
    c->failed++;
    slot = mp_catalog_find_path(c, path);
    if (slot)
        slot->seen = true;
    if (report.unread)
        note_unread(c, path);
    if (slot && !again)
        say_failed(slot, report.unread, held);
    else if (!slot && !again)
        mp_catalog_miss(c, path);
    if (again && !report.unread) { /* now its mistakes can be told */
        c->failed--;
        read_one(c, path, false);
    }
}

/* Functions whose directory went away take no more events. */
static void retire_unseen(struct mp_catalog *c)
{
    mp_list_each (at, &c->slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (!slot->seen && slot->live && !slot->gone) {
            slot->gone = true;
            c->replaced++;
        }
        slot->seen = false;
    }
}

/* The next version becomes the live one. */
static void replace(struct mp_catalog *c, struct mp_slot *slot)
{
    if (slot->live) {
        if (!slot->next->broken)
            mp_log(MP_INFO, slot->name, NULL, "%s",
                   slot->live->broken ? "mended; what waited runs now"
                                      : "replaced");
        mp_version_unref(c->pool, slot->live);
    }
    slot->live = slot->next;
    slot->next = NULL;
    mp_breaker_reset(&slot->breaker);
    if (slot->live->broken)
        mp_catalog_hold(c, slot);
    slot->waits = false;
}

static void settle(struct mp_catalog *c)
{
    bool changed = c->replaced > 0;

    if (c->pending || c->scanning || !c->unsettled)
        return;
    c->unsettled = false;

    mp_list_each (at, &c->slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (slot->gone && slot->live) {
            mp_log(MP_INFO, slot->name, NULL, "removed");
            mp_version_unref(c->pool, slot->live);
            slot->live = NULL;
        }
        if (!slot->next)
            continue;
        replace(c, slot);
        changed = true;
    }
    c->replaced = 0;
    c->settled(c->arg, changed);
}

/* The directory's names; < 0: it can't be read. */
static int list(struct mp_catalog *c, struct dirent ***names)
{
    return scandir(c->config->functions, names, NULL, alphasort);
}

static void read_all(struct mp_catalog *c, struct dirent **names, int n)
{
    char path[4096];

    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", c->config->functions,
                 names[i]->d_name);
        if (names[i]->d_name[0] != '.' && mp_catalog_is_function(path))
            read_one(c, path, false);
        free(names[i]);
    }
    free(names);
    retire_unseen(c);
    c->listed = true;
}

static void scanned(struct mp_catalog *c)
{
    c->scanning = false;
    c->unsettled = true;
    settle(c);
}

void mp_catalog_scan(struct mp_catalog *c)
{
    struct dirent **names = NULL;
    int n;

    forget_unread(c);
    mp_catalog_miss_none(c);
    n = list(c, &names);
    c->scanning = true;
    c->failed = 0;
    if (n >= 0) {
        read_all(c, names, n);
    } else { /* that takes nothing away */
        mp_log(MP_ERROR, "functions", NULL,
               "%s can't be read: %s; what is live stays, and it is tried "
               "again each second",
               c->config->functions, strerror(errno));
        try_again(c);
    }
    scanned(c);
}

/* Only what is in the list; the others may have mistakes that were told. */
static void read_unread(struct mp_catalog *c)
{
    char **paths = c->unread;
    unsigned n = c->n_unread;

    c->unread = NULL;
    c->n_unread = 0;
    c->scanning = true;
    for (unsigned i = 0; i < n; i++) {
        c->failed--;
        read_one(c, paths[i], true);
        free(paths[i]);
    }
    free(paths);
    mp_list_each (at, &c->slots)
        mp_of(at, struct mp_slot, link)->seen = false;
    c->scanning = false;
    c->unsettled |= c->n_unread < n;
    settle(c);
}

static void on_again(uv_timer_t *timer)
{
    struct mp_catalog *c = timer->data;
    struct dirent **names = NULL;
    int n;

    if (c->n_unread) {
        read_unread(c);
        return;
    }
    n = list(c, &names);
    if (n < 0) {
        try_again(c);
        return;
    }
    mp_log(MP_INFO, "functions", NULL, "%s can be read again",
           c->config->functions);
    c->scanning = true;
    c->failed = 0;
    read_all(c, names, n);
    scanned(c);
}

/* The next version of a slot was loaded, with mistakes. */
static void has_failed(struct mp_catalog *c, struct mp_slot *slot,
                       const struct mp_loaded *loaded)
{
    struct mp_report report = {.say = say};

    if (mp_catalog_still_broken(c, slot))
        return;
    c->failed++;
    c->unsettled = true;
    if (!slot->live || slot->live->broken) {
        slot->next->broken = true;
        mp_catalog_say_held(slot, loaded);
        return;
    }
    mp_handlers_check(slot->next->fn, loaded, &report);
    mp_log(MP_ERROR, slot->name, NULL,
           "not replaced; %s stays (it does not load)",
           slot->live->fn->version);
    mp_version_unref(c->pool, slot->next);
    slot->next = NULL;
}

void mp_catalog_loaded(struct mp_catalog *c, struct mp_version *v,
                       const struct mp_loaded *loaded)
{
    struct mp_report quiet = {.say = NULL}, report = {.say = say};
    struct mp_slot *slot = v->slot;

    c->pending--;
    mp_fnlog_lines(slot, v->fn, NULL, NULL, loaded->n_logs, loaded->logs,
                   loaded->logs_cut);
    mp_handlers_check(v->fn, loaded, &quiet);
    if (v == slot->next && quiet.mistakes) {
        has_failed(c, slot, loaded);
    } else if (v == slot->next) {
        mp_handlers_check(v->fn, loaded, &report); /* its warnings */
        if (slot->live && slot->live->fn == v->fn)
            c->failed--; /* it was held, and loads now */
        c->unsettled = true;
    }
    settle(c);
}

unsigned mp_catalog_live(const struct mp_catalog *c, unsigned *triggers)
{
    unsigned n = 0;

    *triggers = 0;
    mp_list_each (at, &c->slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (slot->live) {
            n++;
            *triggers += slot->live->fn->n_triggers;
        }
    }
    return n;
}
