/*
 * catalog_held.c - functions that can't run, and whose events must not be
 * lost for that.
 *
 * The broker keeps messages for a function while its triggers are subscribed,
 * and forgets each that is acknowledged.  So a function that is broken when
 * the host starts must not be missing: its triggers stay subscribed and its
 * events are parked.  It is held, which is a breaker that never lets a probe
 * through.
 *
 *   does not load      its own function.conf says what to subscribe.  It may
 *                      have been the moment (a slow boot, no memory), so it is
 *                      loaded again after a pause that grows.
 *   can't be read      the last good function.conf stands in: the host keeps
 *                      its text under "conf/DIRECTORY", and all those names,
 *                      which hold no '/', under "confs".
 *
 * A good version ends it, and everything that waited runs.
 */
#include "core/catalog_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/handlers.h"
#include "core/log.h"

static const char CONFS[] = "confs";

enum { KEPT_NAME = 300, NAMES_MAX = 1 << 20 };

/* The directory's own name, of a function's path. */
static const char *entry_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static void kept_name(char name[KEPT_NAME], struct mp_slice entry)
{
    snprintf(name, KEPT_NAME, "conf/%.*s", MP_FMT(entry));
}

/* ---- what does not load ---- */

/* Waits until the first of them is due. */
static void arm(struct mp_catalog *c);

static void on_mend(uv_timer_t *timer)
{
    struct mp_catalog *c = timer->data;
    int64_t now_us = mp_now_us();

    mp_list_each (at, &c->slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);
        struct mp_breaker *b = &slot->breaker;

        if (slot->live && slot->live->broken && !slot->next && b->again_us &&
            b->again_us <= now_us)
            mp_catalog_load(c, slot, slot->live->fn);
    }
    arm(c);
}

static void arm(struct mp_catalog *c)
{
    int64_t first_us = INT64_MAX, now_us = mp_now_us();

    mp_list_each (at, &c->slots) {
        const struct mp_slot *slot = mp_of(at, struct mp_slot, link);
        int64_t again_us = slot->breaker.again_us;

        if (slot->live && slot->live->broken && !slot->next && again_us &&
            again_us < first_us)
            first_us = again_us;
    }
    uv_timer_stop(&c->mend);
    if (first_us == INT64_MAX)
        return;
    if (first_us < now_us)
        first_us = now_us;
    uv_timer_start(&c->mend, on_mend, (uint64_t)(first_us - now_us) / 1000 + 1,
                   0);
}

void mp_catalog_hold(struct mp_catalog *c, struct mp_slot *slot)
{
    const struct mp_function *fn = slot->live->fn;
    struct mp_breaker_rule rule = {1, fn->breaker_pause_us,
                                   fn->breaker_max_pause_us};

    /* What stands in has no files to load. */
    mp_breaker_hold(&slot->breaker, fn->n_files ? &rule : NULL, mp_now_us());
    arm(c);
}

bool mp_catalog_still_broken(struct mp_catalog *c, struct mp_slot *slot)
{
    if (!slot->live || slot->live->fn != slot->next->fn)
        return false;
    mp_version_unref(c->pool, slot->next);
    slot->next = NULL;
    mp_catalog_hold(c, slot);
    return true;
}

/* All that is wrong, for one line. */
struct gathered {
    struct mp_report report; /* first */
    struct mp_buf text;
};

static void gather(struct mp_report *r, bool warning, const char *text)
{
    struct gathered *g = (struct gathered *)r;

    if (!warning)
        mp_buf_printf(&g->text, "%s%s", g->text.len ? "; " : "", text);
}

void mp_catalog_say_held(struct mp_slot *slot, const struct mp_loaded *loaded)
{
    struct gathered g = {.report.say = gather};

    mp_buf_init(&g.text, 4096);
    mp_handlers_check(slot->next->fn, loaded, &g.report);
    mp_log(MP_ERROR, slot->name, NULL,
           "%.*s; nothing of it runs, its events wait on disk until it is "
           "mended",
           MP_FMT(mp_buf_bytes(&g.text)));
    mp_buf_fini(&g.text);
}

/* ---- what can't be read ---- */

void mp_catalog_miss(struct mp_catalog *c, const char *path)
{
    c->missing =
        mp_realloc(c->missing, (c->n_missing + 1) * sizeof *c->missing);
    c->missing[c->n_missing++] = mp_strndup(path, strlen(path));
}

void mp_catalog_miss_none(struct mp_catalog *c)
{
    for (unsigned i = 0; i < c->n_missing; i++)
        free(c->missing[i]);
    free(c->missing);
    c->missing = NULL;
    c->n_missing = 0;
}

static bool is_unread(const struct mp_catalog *c, const char *path)
{
    for (unsigned i = 0; i < c->n_unread; i++)
        if (strcmp(c->unread[i], path) == 0)
            return true;
    return false;
}

/* By what is kept of it; false: nothing that helps. */
static bool stand_in(struct mp_catalog *c, const char *path)
{
    char name[KEPT_NAME];
    struct mp_function *fn = NULL;
    struct mp_slot *slot = NULL;
    struct mp_slice text;
    struct mp_why why;

    kept_name(name, mp_slice_str(entry_of(path)));
    text = c->kept(c->arg, name);
    if (text.ptr)
        fn = mp_function_stand_in(path, c->config->node, text);
    if (!fn)
        return false;
    slot = mp_catalog_find(c, fn->name);
    if (!slot)
        slot = mp_catalog_slot_new(c, fn);
    if (slot && !slot->live && !slot->next) {
        slot->gone = false;
        slot->live = mp_version_new(c->pool, slot, fn);
        slot->live->broken = true;
        /* Without them nobody can show who they are, and that's all. */
        (void)!mp_catalog_give_secrets(c, slot->live, &why);
        mp_catalog_hold(c, slot);
        mp_log(MP_ERROR, slot->name, NULL,
               "nothing of it runs; its events wait on disk, by its last good "
               "function.conf, until it %s",
               is_unread(c, path) ? "can be read; it is tried again each second"
                                  : "is mended");
    } else {
        slot = NULL;
    }
    mp_function_unref(fn);
    return slot != NULL;
}

static void find_missing(struct mp_catalog *c)
{
    for (unsigned i = 0; i < c->n_missing; i++) {
        const char *path = c->missing[i];

        if (!stand_in(c, path))
            mp_log(MP_ERROR, entry_of(path), NULL,
                   "skipped; the others go on%s",
                   is_unread(c, path) ? "; it is tried again each second" : "");
    }
    mp_catalog_miss_none(c);
}

/* ---- what is kept ---- */

static bool has_name(struct mp_slice names, struct mp_slice name)
{
    while (names.len) {
        const char *end = memchr(names.ptr, '/', names.len);
        size_t len = end ? (size_t)(end - names.ptr) : names.len;

        if (mp_slice_eq(mp_slice(names.ptr, len), name))
            return true;
        if (!end)
            break;
        names = mp_slice(end + 1, names.len - len - 1);
    }
    return false;
}

static void add_name(struct mp_buf *names, struct mp_slice name)
{
    if (has_name(mp_buf_bytes(names), name))
        return;
    mp_buf_put(names, "/", names->len ? 1 : 0);
    mp_buf_slice(names, name);
}

/* Names whose directory is still there stay; the others' texts go. */
static void keep_names(struct mp_catalog *c, struct mp_slice old,
                       struct mp_buf *names)
{
    char path[4096], name[KEPT_NAME];

    while (old.len) {
        const char *end = memchr(old.ptr, '/', old.len);
        size_t len = end ? (size_t)(end - old.ptr) : old.len;
        struct mp_slice entry = mp_slice(old.ptr, len);

        snprintf(path, sizeof path, "%s/%.*s", c->config->functions,
                 MP_FMT(entry));
        kept_name(name, entry);
        if (mp_catalog_is_function(path))
            add_name(names, entry);
        else
            c->keep(c->arg, name, mp_slice(NULL, 0));
        if (!end)
            break;
        old = mp_slice(end + 1, old.len - len - 1);
    }
}

static void keep_conf(struct mp_catalog *c, const struct mp_function *fn,
                      struct mp_buf *names)
{
    struct mp_slice entry = mp_slice_str(entry_of(fn->path)), old, text;
    char name[KEPT_NAME];

    add_name(names, entry);
    kept_name(name, entry);
    old = c->kept(c->arg, name);
    text = mp_slice_str(fn->conf);
    if (!old.ptr || !mp_slice_eq(old, text))
        c->keep(c->arg, name, text);
}

static void keep_live(struct mp_catalog *c)
{
    struct mp_slice old = c->kept(c->arg, CONFS);
    struct mp_buf names;

    mp_buf_init(&names, NAMES_MAX);
    keep_names(c, old, &names);
    mp_list_each (at, &c->slots) {
        const struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (slot->live && slot->live->fn->conf)
            keep_conf(c, slot->live->fn, &names);
    }
    if (!names.full && !mp_slice_eq(old, mp_buf_bytes(&names)))
        c->keep(c->arg, CONFS,
                names.len ? mp_buf_bytes(&names) : mp_slice(NULL, 0));
    mp_buf_fini(&names);
}

void mp_catalog_recall(struct mp_catalog *c)
{
    find_missing(c);
    keep_live(c);
}
