/*
 * state_sweep.c - deletes what has expired, once a minute.
 *
 * Actors in memory know what has expired of them.  For those that are only in
 * the database the reader gives a page of names; each actor is then taken
 * into memory and changed there, as by anybody: a name in the page may have
 * been set anew since it was read.
 *
 * The rows of a function that is durable = no now are nobody's, and are
 * deleted as they are.
 */
#include <stdlib.h>

#include "core/actor.h"

enum { PAGE = 500 };

struct expired {
    struct mp_slice fn, key, name;
    uint32_t bytes;
    bool dealt_with;
};

struct mp_sweep {
    struct mp_read read;
    struct mp_states *states; /* NULL: forgotten, while the reader has it */
    bool reading;
    int64_t now_us;
    struct mp_buf text; /* of the page */
    struct expired page[PAGE];
    unsigned n, at;
    bool any; /* of this page was deleted */
    struct mp_state_wait wait;
    struct mp_commit_wait commit;
};

static void sweep_free(struct mp_sweep *w)
{
    mp_buf_fini(&w->text);
    free(w);
}

static void sweep_end(struct mp_sweep *w)
{
    w->states->sweep = NULL;
    sweep_free(w);
}

/* ---- in the reader's thread ---- */

static uint32_t bytes_of(struct mp_db *db, const struct expired *x)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_STATE_GET);
    struct mp_why why;
    uint32_t bytes = 0;

    mp_query_text(q, x->fn);
    mp_query_text(q, x->key);
    mp_query_text(q, x->name);
    if (mp_query_step(q, &why) == 1) {
        struct mp_entry e = mp_state_row_get(q, 0);

        bytes = (uint32_t)(x->key.len + x->name.len + mp_value_bytes(&e.value));
    }
    mp_query_end(q);
    return bytes;
}

static int read_page(struct mp_sweep *w, struct mp_db *db, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_STATE_EXPIRED);
    int rc;

    mp_query_int(q, w->now_us);
    mp_query_int(q, PAGE);
    while ((rc = mp_query_step(q, why)) == 1 && w->n < PAGE) {
        size_t mark = w->text.len;

        for (int i = 0; i < 3; i++)
            mp_put_slice(&w->text, mp_column_bytes(q, i));
        if (w->text.full) {
            mp_buf_reset(&w->text);
            w->text.len = mark;
            break;
        }
        w->n++;
    }
    mp_query_end(q);
    return rc < 0 ? rc : 0;
}

static int work(struct mp_read *read, struct mp_db *db, struct mp_why *why)
{
    struct mp_sweep *w = mp_of(read, struct mp_sweep, read);
    struct mp_reader r;
    int rc;

    w->n = w->at = 0;
    w->any = false;
    mp_buf_reset(&w->text);
    rc = read_page(w, db, why);
    if (rc || !w->n)
        return rc;
    r = mp_reader(mp_buf_bytes(&w->text));
    for (unsigned i = 0; i < w->n; i++) {
        struct expired *x = &w->page[i];

        *x = (struct expired){0};
        x->fn = mp_get_slice(&r);
        x->key = mp_get_slice(&r);
        x->name = mp_get_slice(&r);
        x->bytes = bytes_of(db, x);
    }
    return 0;
}

/* ---- on the loop ---- */

static void read_begin(struct mp_sweep *w);

static void on_durable(struct mp_commit_wait *commit, int rc)
{
    struct mp_sweep *w = mp_of(commit, struct mp_sweep, commit);

    if (rc)
        sweep_end(w);
    else
        read_begin(w);
}

static void page_end(struct mp_sweep *w)
{
    struct mp_states *s = w->states;
    uint64_t ticket;

    if (!w->any) {
        sweep_end(w);
        return;
    }
    ticket = mp_commit_ticket(s->commit);
    if (w->n == PAGE)
        mp_commit_wait(s->commit, &w->commit, ticket, on_durable);
    else
        sweep_end(w);
}

/* Take out of an actor in memory what the page says has expired of it. */
static void expire_of(struct mp_sweep *w, struct mp_actor *a)
{
    bool any = mp_actor_expire(a, w->now_us);

    for (unsigned i = w->at; i < w->n; i++) {
        struct expired *x = &w->page[i];
        struct mp_entry none = {.name = x->name};
        struct mp_place p;

        if (x->dealt_with || !mp_slice_eq(x->key, a->key) ||
            !mp_slice_is(x->fn, a->fn->name))
            continue;
        x->dealt_with = true;
        p = mp_actor_find(a, x->name);
        if ((!p.len && !p.rest) || mp_place_is(&p, w->now_us))
            continue;
        mp_actor_put(a, &p, &none);
        any = true;
    }
    if (!any)
        return;
    w->any = true;
    mp_states_changed(w->states, a, true);
    mp_states_trim(w->states, a);
}

/* A row that nobody can have in memory. */
static void delete_row(struct mp_sweep *w, struct mp_state_fn *fn,
                       const struct expired *x)
{
    struct mp_batch *b = mp_commit_batch(w->states->commit);

    mp_batch_share(b, fn->flash);
    mp_batch_op(b, MP_SQL_STATE_DELETE);
    mp_batch_text(b, x->fn);
    mp_batch_text(b, x->key);
    mp_batch_text(b, x->name);
    mp_batch_share(b, NULL);
    mp_state_count(fn, 0, x->bytes);
    w->any = true;
}

/* False: its actor must be read first. */
static bool deal_with(struct mp_sweep *w, struct expired *x)
{
    struct mp_states *s = w->states;
    struct mp_state_fn *fn = mp_states_fn(s, x->fn);
    struct mp_actor *a;

    mp_states_look(s, fn);
    a = mp_states_find(s, fn, x->key);
    if (fn->volatile_) {
        if (!a || a->volatile_)
            delete_row(w, fn, x);
        return true;
    }
    if (!a) {
        a = mp_state_take(s, fn, x->key, &w->wait);
        MP_ASSERT(!a);
        return false;
    }
    /* On its way in or out: there is another minute. */
    if (a->stage == MP_ACTOR_HERE)
        expire_of(w, a);
    return true;
}

static void go_on(struct mp_sweep *w)
{
    for (; w->at < w->n; w->at++)
        if (!w->page[w->at].dealt_with && !deal_with(w, &w->page[w->at]))
            return;
    page_end(w);
}

static void on_wait(struct mp_state_wait *wait, int rc)
{
    struct mp_sweep *w = mp_of(wait, struct mp_sweep, wait);
    struct expired *x = &w->page[w->at];
    struct mp_actor *a;

    if (rc) {
        sweep_end(w);
        return;
    }
    a = mp_states_find(w->states, mp_states_fn(w->states, x->fn), x->key);
    if (a && a->stage == MP_ACTOR_HERE)
        expire_of(w, a);
    w->at++;
    go_on(w);
}

static void on_read(struct mp_read *read, int rc, const struct mp_why *why)
{
    struct mp_sweep *w = mp_of(read, struct mp_sweep, read);

    (void)why;
    w->reading = false;
    if (!w->states)
        sweep_free(w);
    else if (rc)
        sweep_end(w);
    else
        go_on(w);
}

static void read_begin(struct mp_sweep *w)
{
    w->now_us = mp_states_now(w->states);
    w->reading = true;
    mp_reader_do(w->states->reader, &w->read);
}

static bool expire_in_memory(struct mp_states *s)
{
    int64_t now = mp_states_now(s);
    bool any = false;

    for (size_t i = 0; i < s->n_buckets; i++) {
        for (struct mp_actor *a = s->bucket[i], *next; a; a = next) {
            next = a->chain;
            if (a->stage != MP_ACTOR_HERE || !mp_actor_expire(a, now))
                continue;
            mp_states_changed(s, a, false);
            mp_states_trim(s, a);
            any = true;
        }
    }
    return any;
}

void mp_states_sweep(struct mp_states *s)
{
    struct mp_sweep *w;

    if (expire_in_memory(s) || !mp_list_empty(&s->dirty))
        (void)mp_commit_ticket(s->commit);
    if (s->sweep)
        return;
    w = mp_zalloc(sizeof *w);
    w->states = s;
    w->read.work = work;
    w->read.done = on_read;
    w->wait.done = on_wait;
    mp_list_init(&w->wait.link);
    mp_list_init(&w->commit.link);
    mp_buf_init(&w->text,
                PAGE * (MP_NAME_MAX + 64 + MP_KEY_MAX + MP_STATE_NAME_MAX) * 4);
    s->sweep = w;
    read_begin(w);
}

void mp_state_sweep_fini(struct mp_states *s)
{
    struct mp_sweep *w = s->sweep;

    s->sweep = NULL;
    if (!w)
        return;
    mp_state_wait_not(&w->wait);
    mp_commit_wait_not(&w->commit);
    w->states = NULL;
    if (!w->reading)
        sweep_free(w);
}
