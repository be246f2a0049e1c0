/*
 * state_ask.c - values that somebody asks for, a page at a time.
 *
 * What is only in memory is answered from there at once; the run's own actor
 * too, when all of it is in memory.  All else is what the database holds:
 * that is what "as committed" means.
 *
 * Names and keys are compared byte by byte, here: SQL's substr counts
 * characters and stops at a NUL.  SQL only finds where to begin.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/actor.h"

enum {
    PAGE_BYTES = 64 << 10, /* as much as travels with an event */
    PAGE_NAMES = 1000,
};

/* What is answered. */
struct page {
    enum mp_wait_kind kind;
    struct mp_slice name, after; /* of the wait */
    uint32_t limit;
    int64_t now_us;
    struct mp_buf entries;
    uint32_t n;
    bool more;
};

struct ask_job {
    struct mp_read read;
    struct mp_state_ask *ask; /* NULL: nobody wants it any more */
    uint64_t run;
    struct mp_slice fn, key, start;
    struct page page;
    char text[];
};

static void page_init(struct page *p, const struct mp_wait *wait,
                      int64_t now_us)
{
    uint32_t limit = PAGE_NAMES;

    if (wait->kind == MP_WAIT_ACTORS) {
        limit = wait->limit;
        if (limit == 0 || limit > MP_ACTORS_MAX)
            limit = MP_ACTORS_MAX;
    } else if (wait->kind == MP_WAIT_EACH) {
        limit = UINT32_MAX;
    }
    *p = (struct page){
        .kind = wait->kind,
        .name = wait->name,
        .after = wait->after,
        .limit = limit,
        .now_us = now_us,
    };
    mp_buf_init(&p->entries, MP_FRAME_MAX / 2);
}

static int compare(struct mp_slice a, struct mp_slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static bool starts_with(struct mp_slice s, struct mp_slice prefix)
{
    return s.len >= prefix.len &&
           mp_slice_eq(mp_slice(s.ptr, prefix.len), prefix);
}

/* Does it belong to the answer? */
static bool is_asked(const struct page *p, struct mp_slice name,
                     int64_t expires_us)
{
    if (expires_us && expires_us <= p->now_us)
        return false;
    if (p->kind == MP_WAIT_GET)
        return mp_slice_eq(name, p->name);
    return compare(name, p->after) > 0 && starts_with(name, p->name);
}

/* Names come in order: is this one behind all that are asked for? */
static bool is_past(const struct page *p, struct mp_slice name)
{
    return !starts_with(name, p->name) && compare(name, p->name) > 0;
}

/* False: there is no room for it, and there are more. */
static bool page_add(struct page *p, const struct mp_entry *e)
{
    struct mp_entry only = {.name = e->name};
    size_t mark = p->entries.len;

    if (p->n >= p->limit) {
        p->more = true;
        return false;
    }
    if (p->kind != MP_WAIT_GET && p->kind != MP_WAIT_EACH)
        e = &only;
    mp_put_entry(&p->entries, e);
    /* One value may be as large as a page; it is a page then. */
    if (p->n && p->entries.len > PAGE_BYTES) {
        p->entries.len = mark;
        p->more = true;
        return false;
    }
    if (p->entries.full) { /* no value of ours is that large */
        mp_buf_reset(&p->entries);
        p->entries.len = mark;
        return true;
    }
    p->n++;
    return true;
}

static void answer(struct mp_state_ask *a, uint64_t run, const struct page *p,
                   const char *error)
{
    struct mp_resume resume = {
        .run = run,
        .entries = mp_slice("", 0),
        .error = mp_slice_str(error ? error : ""),
    };

    if (!error) {
        resume.more = p->more;
        resume.n = p->n;
        if (p->n)
            resume.entries = mp_buf_bytes(&p->entries);
    }
    a->done(a, &resume);
}

/* ---- from memory ---- */

static void from_actor(struct page *p, const struct mp_actor *a)
{
    struct mp_reader r = mp_actor_reader(a);

    while (r.at < r.end) {
        struct mp_entry e = mp_get_entry(&r);

        if (is_asked(p, e.name, e.expires_us) && !page_add(p, &e))
            break;
    }
}

static bool has_values(const struct mp_actor *a, int64_t now_us)
{
    struct mp_reader r = mp_actor_reader(a);

    while (r.at < r.end) {
        struct mp_entry e = mp_get_entry(&r);

        if (e.expires_us == 0 || e.expires_us > now_us)
            return true;
    }
    return false;
}

static int by_key(const void *left, const void *right)
{
    const struct mp_slice *a = left, *b = right;

    return compare(*a, *b);
}

static void actors_in_memory(struct page *p, const struct mp_states *s,
                             const struct mp_state_fn *fn)
{
    struct mp_slice *keys = mp_alloc((s->n_actors + 1) * sizeof *keys);
    size_t n = 0;

    for (size_t i = 0; i < s->n_buckets; i++)
        for (const struct mp_actor *a = s->bucket[i]; a; a = a->chain)
            if (a->fn == fn && a->volatile_ && a->key.len &&
                is_asked(p, a->key, 0) && has_values(a, p->now_us))
                keys[n++] = a->key;
    qsort(keys, n, sizeof *keys, by_key);
    for (size_t i = 0; i < n; i++) {
        struct mp_entry e = {.name = keys[i]};

        if (!page_add(p, &e))
            break;
    }
    free(keys);
}

static void from_memory(struct mp_states *s, struct mp_state_fn *fn,
                        const struct mp_actor *actor,
                        const struct mp_wait *wait, struct mp_state_ask *a)
{
    struct page p;

    page_init(&p, wait, mp_states_now(s));
    if (wait->kind == MP_WAIT_ACTORS)
        actors_in_memory(&p, s, fn);
    else if (actor)
        from_actor(&p, actor);
    a->job = NULL;
    answer(a, wait->run, &p, NULL);
    mp_buf_fini(&p.entries);
}

/* ---- from the database ---- */

/*
 * What the names asked for are greater than: `after`, or the greatest that
 * can stand before the prefix.  No text holds a byte 0xff.
 */
static size_t start_of(const struct page *p, char *start)
{
    struct mp_slice from = p->after;
    bool by_prefix = p->name.len && compare(p->after, p->name) < 0;

    if (by_prefix)
        from = p->name;
    if (from.len)
        memcpy(start, from.ptr, from.len);
    if (!by_prefix)
        return from.len;
    if (start[from.len - 1] == 0)
        return from.len - 1;
    start[from.len - 1]--;
    start[from.len] = (char)0xff;
    return from.len + 1;
}

static struct mp_query *ask_begin(const struct ask_job *j, struct mp_db *db)
{
    static const enum mp_sql sql[MP_WAIT_KINDS] = {
        [MP_WAIT_GET] = MP_SQL_STATE_GET,
        [MP_WAIT_NAMES] = MP_SQL_STATE_AFTER,
        [MP_WAIT_EACH] = MP_SQL_STATE_AFTER,
        [MP_WAIT_ACTORS] = MP_SQL_STATE_ACTORS,
    };
    const struct page *p = &j->page;
    struct mp_query *q = mp_query_begin(db, sql[p->kind]);

    mp_query_text(q, j->fn);
    if (p->kind != MP_WAIT_ACTORS)
        mp_query_text(q, j->key);
    if (p->kind == MP_WAIT_GET) {
        mp_query_text(q, p->name);
        return q;
    }
    mp_query_text(q, j->start);
    mp_query_text(q, MP_S("")); /* the prefix is compared here */
    if (p->kind == MP_WAIT_ACTORS)
        mp_query_int(q, p->now_us);
    mp_query_int(q, -1); /* until there is no more room */
    return q;
}

static struct mp_entry ask_row(const struct page *p, struct mp_query *q)
{
    struct mp_entry e = {0};

    if (p->kind == MP_WAIT_GET) {
        e = mp_state_row_get(q, 0);
        e.name = p->name;
        return e;
    }
    if (p->kind == MP_WAIT_EACH)
        e = mp_state_row_get(q, 1);
    else if (p->kind == MP_WAIT_NAMES && !mp_column_is_null(q, 3))
        e.expires_us = mp_column_int(q, 3);
    e.name = mp_column_bytes(q, 0);
    return e;
}

static int work(struct mp_read *read, struct mp_db *db, struct mp_why *why)
{
    struct ask_job *j = mp_of(read, struct ask_job, read);
    struct page *p = &j->page;
    struct mp_query *q = ask_begin(j, db);
    int rc;

    while ((rc = mp_query_step(q, why)) == 1) {
        struct mp_entry e = ask_row(p, q);

        if (p->kind != MP_WAIT_GET && is_past(p, e.name))
            break;
        if (is_asked(p, e.name, e.expires_us) && !page_add(p, &e))
            break;
    }
    mp_query_end(q);
    return rc < 0 ? rc : 0;
}

static void done(struct mp_read *read, int rc, const struct mp_why *why)
{
    struct ask_job *j = mp_of(read, struct ask_job, read);
    struct mp_state_ask *a = j->ask;
    char error[sizeof why->text + 32];

    if (a) {
        a->job = NULL;
        snprintf(error, sizeof error, "cannot read state: %s", why->text);
        answer(a, j->run, &j->page, rc ? error : NULL);
    }
    mp_buf_fini(&j->page.entries);
    free(j);
}

static struct mp_slice keep(char **at, struct mp_slice s)
{
    struct mp_slice kept = mp_slice(*at, s.len);

    if (s.len)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return kept;
}

static void from_database(struct mp_states *s, const struct mp_state_fn *fn,
                          struct mp_slice key, const struct mp_wait *wait,
                          struct mp_state_ask *a)
{
    struct mp_slice name = mp_slice_str(fn->name);
    size_t start = wait->name.len + wait->after.len + 1;
    struct ask_job *j = mp_zalloc(sizeof *j + name.len + key.len +
                                  wait->name.len + wait->after.len + start);
    char *at = j->text;

    page_init(&j->page, wait, mp_states_now(s));
    j->page.name = keep(&at, wait->name);
    j->page.after = keep(&at, wait->after);
    j->fn = keep(&at, name);
    j->key = keep(&at, key);
    j->start = mp_slice(at, start_of(&j->page, at));
    j->run = wait->run;
    j->ask = a;
    j->read.work = work;
    j->read.done = done;
    a->job = j;
    mp_reader_do(s->reader, &j->read);
}

void mp_state_ask(struct mp_states *s, struct mp_state_fn *fn,
                  struct mp_actor *actor, const struct mp_wait *wait,
                  struct mp_state_ask *a)
{
    bool own = actor && !wait->of && wait->kind != MP_WAIT_ACTORS;
    struct mp_slice key = own ? actor->key : wait->key;

    MP_ASSERT(wait->kind >= MP_WAIT_GET && wait->kind < MP_WAIT_KINDS);
    mp_states_look(s, fn);
    if (own && actor->complete)
        from_memory(s, fn, actor, wait, a);
    else if (!own && fn->volatile_)
        from_memory(s, fn, mp_states_find(s, fn, key), wait, a);
    else
        from_database(s, fn, key, wait, a);
}

void mp_state_ask_not(struct mp_state_ask *a)
{
    struct ask_job *j = a->job;

    if (j)
        j->ask = NULL;
    a->job = NULL;
}
