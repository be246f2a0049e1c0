/*
 * state.h - the values of actors: taken, changed, written when sealed.
 *
 * An actor is (function, key); key "" is the function's own.  While an actor
 * is in use its values lie in memory, in the form in which they travel to a
 * worker.  A change is made there at once and is dirty; the transaction that
 * is sealed next writes what is dirty, so a counter that a batch increments
 * a hundred times is written once.
 *
 *     mp_state_take ──► run ──► mp_state_apply ──► mp_state_leave
 *          │ not in memory               │
 *          ▼ read, then call again       └─► dirty until sealed
 *
 * Who read a value must wait until it is durable before anything of it
 * leaves: mp_state_ticket.
 *
 * An actor whose values are more than MP_STATE_TRAVEL_MAX bytes is kept in
 * part (complete = false): the first ones by name.  Others are asked for
 * while the run waits.  Such an actor is read anew for each event, after its
 * last change is durable: simple, and no half-true picture in memory.
 *
 * durable = no: all values stay in memory, nothing is written, no ticket.
 *
 * Process  host only.   Thread  loop thread; mp_states_load in the reader's.
 * Memory   MP_STATE_CACHE bytes of actors that are not in use; least recently
 *          used go first.  Actors in use, dirty or not durable stay.
 * Errors   of reading: MP_EIO to the wait.
 */
#ifndef MP_STATE_H
#define MP_STATE_H

#include "core/base/hash.h"
#include "core/base/wire.h"
#include "core/commit.h"
#include "core/reader.h"
#include "core/timeline.h"

enum { MP_STATE_CACHE = 8 << 20 };

/* The state of one function; lives as long as the host. */
struct mp_state_fn {
    struct mp_link link;
    char name[MP_NAME_MAX + 1];
    uint64_t bytes;  /* of the quota: keys, names, values; alarms too */
    uint64_t quota;  /* set by the host from the live version */
    bool volatile_;  /* durable = no; set by the host */
    uint64_t *flash; /* its counter of bytes written; NULL: none */
    /* state.c's */
    uint64_t values;   /* of bytes: without alarms */
    bool was_volatile; /* volatile_, when that was last looked at */
};

struct mp_actor; /* with struct mp_state_fn *fn and key; core/actor.h */
struct mp_sweep; /* core/state_sweep.c */

struct mp_states {
    struct mp_commit *commit;
    struct mp_reader_thread *reader;
    const struct mp_timeline *timeline;
    struct mp_link fns;
    struct mp_actor **bucket; /* hash table of actors */
    size_t n_buckets, n_actors;
    struct mp_link idle;  /* evictable, least recently used first */
    struct mp_link dirty; /* actors with changes to seal */
    uint64_t idle_bytes;
    struct mp_hash_key seed;
    struct mp_link edits;   /* changes from outside, on their way */
    struct mp_sweep *sweep; /* on its way; NULL: none */
};

void mp_states_init(struct mp_states *s, struct mp_commit *commit,
                    struct mp_reader_thread *reader,
                    const struct mp_timeline *timeline);
void mp_states_fini(struct mp_states *s);
/* Sums by function; in the reader's thread, before anything else is used or
 * after a reset. */
MP_MUST int mp_states_load(struct mp_states *s, struct mp_db *db,
                           struct mp_why *why);
/* Forget every durable value in memory (a commit failed); nobody holds an
 * actor.  Waits were called with MP_EIO; edits are answered with MP_EIO. */
void mp_states_reset(struct mp_states *s);
/* Record what is dirty. */
void mp_states_seal(struct mp_states *s, struct mp_batch *batch);
/* Once a minute: delete what has expired. */
void mp_states_sweep(struct mp_states *s);

/* The function's record, made when there is none. */
struct mp_state_fn *mp_states_fn(struct mp_states *s, struct mp_slice name);

/* ---- one invocation ---- */

struct mp_state_wait {
    struct mp_link link;
    /* rc 0: take again now, it is there; MP_EIO: it can't be read. */
    void (*done)(struct mp_state_wait *w, int rc);
};

/*
 * The actor, for one invocation at a time; NULL: it must be read first, w is
 * kept and called.  (MP_EIO to w when the store is not open.)
 */
struct mp_actor *mp_state_take(struct mp_states *s, struct mp_state_fn *fn,
                               struct mp_slice key, struct mp_state_wait *w);
/* Forget a wait. */
void mp_state_wait_not(struct mp_state_wait *w);
/* The invocation has ended, whatever its outcome. */
void mp_state_leave(struct mp_states *s, struct mp_actor *actor);

/* What goes into RUN: what has expired is left out.  Valid until the next
 * call with this actor. */
struct mp_run_state mp_state_travel(struct mp_states *s,
                                    struct mp_actor *actor);

/* Bytes of quota these effects would add (MP_EFFECT_STATE; others don't
 * count); may be negative. */
int64_t mp_state_cost(struct mp_states *s, struct mp_actor *actor,
                      const struct mp_effect *effect);
/* Bytes by which it may make the database grow, for mp_commit_grow. */
uint64_t mp_state_growth(struct mp_states *s, struct mp_actor *actor,
                         const struct mp_effect *effect);
/* Make a change; false: it was so already. */
bool mp_state_apply(struct mp_states *s, struct mp_actor *actor,
                    const struct mp_effect *effect);
/* The last ticket that changed it; 0: all is durable. */
uint64_t mp_state_ticket(const struct mp_actor *actor);

/* ---- asked while a run waits, and by the API ---- */

/*
 * What a run asks for (wait: GET, NAMES, EACH, ACTORS; copied), as committed.
 * actor: the run's own (of = false); may be NULL with of = true.  done is
 * called once, maybe from inside this call, with what is valid during done;
 * never after mp_state_ask_not.
 */
struct mp_state_ask {
    void *job; /* state.c's while it is being read */
    void (*done)(struct mp_state_ask *a, const struct mp_resume *answer);
};

void mp_state_ask(struct mp_states *s, struct mp_state_fn *fn,
                  struct mp_actor *actor, const struct mp_wait *wait,
                  struct mp_state_ask *a);
void mp_state_ask_not(struct mp_state_ask *a);

/*
 * A change from outside (moonpool state set, rm): made when no invocation has
 * the actor; done when it is durable (rc 0), refused (MP_EFULL: quota) or
 * failed (MP_EIO).  Value NONE: deleted.  Everything is copied.
 */
struct mp_state_edit {
    void (*done)(struct mp_state_edit *e, int rc);
    void *job; /* state.c's */
};

void mp_state_edit(struct mp_states *s, struct mp_state_fn *fn,
                   struct mp_slice key, struct mp_slice name,
                   const struct mp_value *value, struct mp_state_edit *e);
void mp_state_edit_not(struct mp_state_edit *e);

#endif
