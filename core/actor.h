/*
 * actor.h - one actor's values as bytes, and a value as a row.
 *
 * For core/state*.c; others have core/state.h.
 *
 * Process  host only.   Thread  loop thread; rows in any.
 * Memory   the entries in one block, sorted by name.
 */
#ifndef MP_ACTOR_H
#define MP_ACTOR_H

#include "core/state.h"

/* What is known of a value that does not fit into memory. */
struct mp_rest {
    uint64_t name, value; /* hashes */
    int64_t expires_us;
    uint32_t bytes; /* mp_value_bytes */
    bool gone;      /* deleted, or among the entries now */
};

enum mp_actor_stage {
    MP_ACTOR_READING, /* its values are being read */
    MP_ACTOR_HERE,
    MP_ACTOR_LEAVING, /* dropped once its last change is durable */
};

struct mp_actor {
    struct mp_state_fn *fn;
    struct mp_slice key; /* behind the structure */
    struct mp_states *states;
    struct mp_actor *chain;
    uint64_t hash;
    enum mp_actor_stage stage;
    bool taken;
    bool volatile_;       /* made while its function was durable = no */
    struct mp_link idle;  /* in states->idle, least recently used first */
    struct mp_link dirty; /* in states->dirty */
    struct mp_link waits; /* who wants it */
    struct mp_commit_wait leaving;
    struct mp_actor_read *read; /* READING */
    uint64_t ticket;            /* of the last change somebody made */
    uint64_t kept;              /* of the last change, expiry too */
    size_t weight;              /* counted in states->idle_bytes */
    /* values */
    struct mp_buf entries; /* mp_put_entry, sorted by name */
    uint32_t n;
    uint32_t *index; /* where each begins; NULL: not made yet */
    uint32_t index_cap;
    bool complete;           /* there are no others */
    int64_t first_expiry_us; /* of the entries; INT64_MAX: none */
    struct mp_buf changes;   /* names changed since the seal, see actor.c */
    struct mp_rest *rest;    /* those beyond, sorted by hash of name */
    size_t n_rest;
};

struct mp_actor *mp_actor_new(struct mp_states *s, struct mp_state_fn *fn,
                              struct mp_slice key);
void mp_actor_free(struct mp_actor *a);
/* Bytes of memory it takes. */
size_t mp_actor_weight(const struct mp_actor *a);

static inline struct mp_reader mp_actor_reader(const struct mp_actor *a)
{
    return mp_reader(mp_slice(a->n ? a->entries.ptr : "", a->entries.len));
}

/* Where a value is, or would be. */
struct mp_place {
    size_t at, len;        /* among the entries; len 0: it isn't there */
    uint32_t nth;          /* which of them it is, or would be */
    struct mp_entry entry; /* when len > 0 */
    struct mp_rest *rest;  /* it is beyond */
};

struct mp_place mp_actor_find(struct mp_actor *a, struct mp_slice name);
/* Is there a value, at that time? */
bool mp_place_is(const struct mp_place *p, int64_t now_us);
/* Is it this value, never to expire? */
bool mp_place_has(const struct mp_actor *a, const struct mp_place *p,
                  const struct mp_value *v);
/* Bytes of quota it takes; 0: there is none, not even an expired one. */
size_t mp_place_bytes(const struct mp_actor *a, const struct mp_place *p,
                      struct mp_slice name);
/* Bytes of quota an entry takes. */
size_t mp_actor_bytes(const struct mp_actor *a, struct mp_slice name,
                      const struct mp_value *v);
/* Make it e, or none (kind NONE); counts the quota and notes the change. */
void mp_actor_put(struct mp_actor *a, const struct mp_place *p,
                  const struct mp_entry *e);
/* Take out what has expired; false: nothing has. */
bool mp_actor_expire(struct mp_actor *a, int64_t now_us);
/* Record what has changed, and forget that it has. */
void mp_actor_seal(struct mp_actor *a, struct mp_batch *batch);

/* Bytes of quota of all entries. */
uint64_t mp_actor_sum(const struct mp_actor *a);
/* Bytes of the first entries, up to max; *n: how many these are. */
size_t mp_actor_first(const struct mp_actor *a, size_t max, uint32_t *n);

/* One value instead of another; bytes of its function's quota. */
void mp_state_count(struct mp_state_fn *fn, uint64_t added, uint64_t removed);

uint64_t mp_value_hash(const struct mp_hash_key *seed,
                       const struct mp_value *v);

/* Values as they are kept: there is one NaN. */
struct mp_value mp_value_kept(const struct mp_value *v);

/* ---- rows ---- */

/* (kind, value, expires) as arguments of an operation, */
void mp_state_row_put(struct mp_batch *b, const struct mp_entry *e);
/* and from the columns first, first + 1, first + 2; name not set. */
struct mp_entry mp_state_row_get(struct mp_query *q, int first);

/* ---- between the files of state ---- */

int64_t mp_states_now(const struct mp_states *s);
/* In memory, whatever its stage; NULL: no. */
struct mp_actor *mp_states_find(struct mp_states *s, struct mp_state_fn *fn,
                                struct mp_slice key);
/* It has changed; wanted: somebody waits for that. */
void mp_states_changed(struct mp_states *s, struct mp_actor *a, bool wanted);
/* Drop it, if nobody has it and it isn't worth being kept.  Calls nobody. */
void mp_states_trim(struct mp_states *s, struct mp_actor *a);
/* Is it still what the function is, durable or not?  Else drop what is in
 * memory. */
void mp_states_look(struct mp_states *s, struct mp_state_fn *fn);

/* Read its values; mp_states_read_done follows. */
void mp_actor_read_begin(struct mp_actor *a);
/* Forget that. */
void mp_actor_read_not(struct mp_actor *a);
void mp_states_read_done(struct mp_states *s, struct mp_actor *a, int rc);

/* Forget what is on its way. */
void mp_state_edits_fini(struct mp_states *s);
void mp_state_sweep_fini(struct mp_states *s);

#endif
