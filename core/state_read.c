/*
 * state_read.c - an actor's values from the database into memory.
 *
 * The job owns all that the reader touches, so the actor may be forgotten
 * meanwhile.  Values come by name; as soon as one has no room, it and all
 * behind it are only noted: what is in memory is a beginning without holes.
 */
#include <stdlib.h>

#include "core/actor.h"

struct mp_actor_read {
    struct mp_read read;
    struct mp_actor *actor; /* NULL: forgotten */
    struct mp_hash_key seed;
    struct mp_slice fn, key; /* behind the structure */
    struct mp_buf entries;
    uint32_t n;
    int64_t first_expiry_us;
    struct mp_rest *rest;
    size_t n_rest, cap_rest;
};

static void add_rest(struct mp_actor_read *r, const struct mp_entry *e)
{
    if (r->n_rest == r->cap_rest) {
        r->cap_rest = r->cap_rest ? r->cap_rest * 2 : 64;
        r->rest = mp_realloc(r->rest, r->cap_rest * sizeof *r->rest);
    }
    r->rest[r->n_rest++] = (struct mp_rest){
        .name = mp_hash64(&r->seed, e->name),
        .value = mp_value_hash(&r->seed, &e->value),
        .expires_us = e->expires_us,
        .bytes = (uint32_t)mp_value_bytes(&e->value),
    };
}

static void add(struct mp_actor_read *r, const struct mp_entry *e)
{
    size_t mark = r->entries.len;

    if (!r->n_rest) {
        mp_put_entry(&r->entries, e);
        if (!r->entries.full) {
            r->n++;
            if (e->expires_us && e->expires_us < r->first_expiry_us)
                r->first_expiry_us = e->expires_us;
            return;
        }
        r->entries.len = mark; /* without the half of it that fitted */
    }
    add_rest(r, e);
}

static int by_name(const void *left, const void *right)
{
    const struct mp_rest *a = left, *b = right;

    return (a->name > b->name) - (a->name < b->name);
}

static int work(struct mp_read *read, struct mp_db *db, struct mp_why *why)
{
    struct mp_actor_read *r = mp_of(read, struct mp_actor_read, read);
    struct mp_query *q = mp_query_begin(db, MP_SQL_STATE_OF);
    int rc;

    mp_query_text(q, r->fn);
    mp_query_text(q, r->key);
    while ((rc = mp_query_step(q, why)) == 1) {
        struct mp_entry e = mp_state_row_get(q, 1);

        e.name = mp_column_bytes(q, 0);
        add(r, &e);
    }
    mp_query_end(q);
    if (r->n_rest)
        qsort(r->rest, r->n_rest, sizeof *r->rest, by_name);
    return rc;
}

static void hand_over(struct mp_actor_read *r, struct mp_actor *a)
{
    size_t len = r->entries.len;

    if (len) {
        /* To the byte: most are small, and there may be many. */
        a->entries.ptr = mp_alloc(len);
        a->entries.len = a->entries.cap = len;
        memcpy(a->entries.ptr, r->entries.ptr, len);
    }
    a->n = r->n;
    a->first_expiry_us = r->first_expiry_us;
    a->complete = !r->n_rest;
    a->rest = r->rest;
    a->n_rest = r->n_rest;
    r->rest = NULL;
}

static void done(struct mp_read *read, int rc, const struct mp_why *why)
{
    struct mp_actor_read *r = mp_of(read, struct mp_actor_read, read);
    struct mp_actor *a = r->actor;

    (void)why;
    if (a) {
        a->read = NULL;
        if (rc == 0)
            hand_over(r, a);
        mp_states_read_done(a->states, a, rc ? MP_EIO : 0);
    }
    mp_buf_fini(&r->entries);
    free(r->rest);
    free(r);
}

void mp_actor_read_begin(struct mp_actor *a)
{
    struct mp_slice fn = mp_slice_str(a->fn->name);
    struct mp_actor_read *r = mp_zalloc(sizeof *r + fn.len + a->key.len);
    char *at = (char *)(r + 1);

    memcpy(at, fn.ptr, fn.len);
    memcpy(at + fn.len, a->key.ptr, a->key.len);
    r->fn = mp_slice(at, fn.len);
    r->key = mp_slice(at + fn.len, a->key.len);
    r->actor = a;
    r->seed = a->states->seed;
    r->first_expiry_us = INT64_MAX;
    mp_buf_init(&r->entries, MP_STATE_TRAVEL_MAX);
    r->read.work = work;
    r->read.done = done;
    a->read = r;
    mp_reader_do(a->states->reader, &r->read);
}

void mp_actor_read_not(struct mp_actor *a)
{
    a->read->actor = NULL;
    a->read = NULL;
}
