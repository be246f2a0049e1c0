/*
 * catalog.c - from directories to live functions.
 */
#include "core/catalog.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/fnlog.h"
#include "core/handlers.h"
#include "core/log.h"

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

/* The function that was read from a directory, whatever it is called. */
static struct mp_slot *find_path(struct mp_catalog *c, const char *path)
{
    mp_list_each (at, &c->slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (slot->live && strcmp(slot->live->fn->path, path) == 0)
            return slot;
    }
    return NULL;
}

static struct mp_slot *find(struct mp_catalog *c, const char *name)
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

static struct mp_slot *slot_new(struct mp_catalog *c,
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
    return v && v->fn->digest.lo == fn->digest.lo &&
           v->fn->digest.hi == fn->digest.hi;
}

static void consider(struct mp_catalog *c, struct mp_function *fn)
{
    struct mp_slot *slot = find(c, fn->name);

    if (slot && slot->seen) {
        mp_log(MP_ERROR, "functions", NULL,
               "%s: the name '%s' is taken already; not loaded", fn->path,
               fn->name);
        return;
    }
    if (!slot)
        slot = slot_new(c, fn);
    if (!slot)
        return;
    slot->seen = true;
    slot->gone = false;
    if (slot->live && slot->live->fn->own_worker != fn->own_worker)
        mp_log(MP_WARN, slot->name, NULL,
               "scale.isolation takes effect at the next start of the host");
    if (is_same(slot->live, fn) || is_same(slot->next, fn))
        return;
    if (slot->next) /* a newer save overtakes one that is still loading */
        mp_version_unref(c->pool, slot->next);
    slot->next = mp_version_new(c->pool, slot, fn);
    c->pending++;
    mp_pool_load(c->pool, slot->next);
}

static bool is_function(const char *path)
{
    char file[4200];

    snprintf(file, sizeof file, "%s/function.conf", path);
    if (access(file, F_OK) == 0)
        return true;
    snprintf(file, sizeof file, "%s/main.lua", path);
    return access(file, F_OK) == 0;
}

static void read_one(struct mp_catalog *c, const char *path)
{
    struct mp_report report = {.say = say};
    struct mp_function *fn = NULL;
    const char *name = strrchr(path, '/') + 1;
    struct mp_slot *slot;

    if (!c->holds || !c->holds(path))
        fn = mp_function_read(path, c->config->node, &report);
    slot = fn ? find(c, fn->name) : find_path(c, path);
    if (fn) {
        consider(c, fn);
        mp_function_unref(fn);
        return;
    }
    c->failed++;
    if (slot && slot->live) {
        slot->seen = true;
        mp_log(MP_ERROR, slot->name, NULL, "not replaced; %s stays",
               slot->live->fn->version);
    } else {
        mp_log(MP_ERROR, name, NULL, "skipped; the others go on");
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

static void settle(struct mp_catalog *c)
{
    bool changed = c->replaced > 0;

    mp_list_each (at, &c->slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (slot->gone && slot->live) {
            mp_log(MP_INFO, slot->name, NULL, "removed");
            mp_version_unref(c->pool, slot->live);
            slot->live = NULL;
        }
        if (!slot->next)
            continue;
        if (slot->live) {
            mp_log(MP_INFO, slot->name, NULL, "replaced");
            mp_version_unref(c->pool, slot->live);
        }
        slot->live = slot->next;
        slot->next = NULL;
        mp_breaker_reset(&slot->breaker);
        slot->waits = false;
        changed = true;
    }
    c->replaced = 0;
    c->settled(c->arg, changed);
}

void mp_catalog_scan(struct mp_catalog *c)
{
    struct dirent **names = NULL;
    int n = scandir(c->config->functions, &names, NULL, alphasort);
    char path[4096];

    c->scanning = true;
    c->failed = 0;
    if (n < 0)
        mp_log(MP_ERROR, "functions", NULL, "%s: %s; no function is loaded",
               c->config->functions, strerror(errno));
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", c->config->functions,
                 names[i]->d_name);
        if (names[i]->d_name[0] != '.' && is_function(path))
            read_one(c, path);
        free(names[i]);
    }
    free(names);
    if (n >= 0) /* an unreadable directory takes nothing away */
        retire_unseen(c);
    c->scanning = false;
    if (c->pending == 0)
        settle(c);
}

void mp_catalog_loaded(struct mp_catalog *c, struct mp_version *v,
                       const struct mp_loaded *loaded)
{
    struct mp_report report = {.say = say};
    struct mp_slot *slot = v->slot;

    c->pending--;
    mp_fnlog_lines(slot, v->fn, NULL, NULL, loaded->n_logs, loaded->logs,
                   loaded->logs_cut);
    mp_handlers_check(v->fn, loaded, &report);
    if (v == slot->next && report.mistakes) {
        c->failed++;
        mp_log(MP_ERROR, slot->name, NULL, "%s",
               slot->live ? "not replaced; the old version stays"
                          : "skipped; the others go on");
        mp_version_unref(c->pool, slot->next);
        slot->next = NULL;
    }
    if (c->pending == 0 && !c->scanning)
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
