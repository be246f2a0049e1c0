/*
 * alarms.h - one alarm per function, actor key and name.
 *
 * Set again it moves; due, it is handed to the user as an event and stays
 * until that event has been dealt with (mp_alarms_done) or it was set anew.
 * `after` is measured on the timeline, `at` on the wall clock once that is
 * trusted.  Set again within slack of when it is due already, it is left
 * alone, data and all.  What changed is written when a transaction is sealed.
 *
 * Process  host only.   Thread  loop thread; mp_alarms_load in the reader's.
 * Memory   all alarms with their data and params; bounded by the functions'
 *          state quotas, or 4 MiB a function without state.  Each costs
 *          MP_ALARM_COST beside its bytes.
 */
#ifndef MP_ALARMS_H
#define MP_ALARMS_H

#include "core/base/hash.h"
#include "core/due.h"
#include "core/state.h"

/* Of a quota: the structures and blocks of one alarm, wherever it is kept. */
enum { MP_ALARM_COST = 256 };

struct mp_alarm {
    struct mp_link chain; /* hash table, alarms.c's */
    struct mp_due_item item;
    struct mp_state_fn *fn;
    struct mp_slice key, name, data; /* owned by the block */
    struct mp_pair *params;
    uint32_t n_params;
    bool wall;       /* at_us is of the wall clock, else of the timeline */
    int64_t at_us;   /* when it is due */
    uint32_t serial; /* another one each time it is set or cancelled */
    unsigned refs;   /* of the table, and of who deals with its event */
    bool fired;      /* its event was handed over */
    bool cancelled;  /* not in the table any more */
    struct mp_link dirty;
    bool stored;         /* there is a row */
    struct mp_link turn; /* due, and not fired: in its function's line */
    char *block;         /* bytes of key, name, data and params */
};

_Static_assert(sizeof(struct mp_alarm) <= MP_ALARM_COST,
               "the quota must bound the memory");

struct mp_alarm_line; /* of one function: what is due, in order */

struct mp_alarms_user {
    /*
     * It is due: make an event of it (keep it with mp_alarm_ref and its
     * serial).  False: not now (no room, function not live); it is asked
     * again within a second, or after mp_alarms_kick.
     */
    bool (*fire)(void *arg, struct mp_alarm *a);
    void *arg;
};

struct mp_alarms {
    uv_loop_t *loop;
    struct mp_commit *commit;
    const struct mp_timeline *timeline;
    struct mp_states *states;
    struct mp_alarms_user user;
    struct mp_link *bucket;
    size_t n_buckets, n;
    struct mp_due by_timeline, by_wall;
    struct mp_link dirty;
    uv_timer_t timer;
    bool (*clock_ok)(void *arg); /* is the wall clock trusted? of user.arg */
    struct mp_link lines;        /* a struct mp_alarm_line a function */
    struct mp_hash_key seed;
    bool going;
    int64_t wake_us; /* monotonic: when the timer goes off; 0: it is off */
};

void mp_alarms_init(struct mp_alarms *s, uv_loop_t *loop,
                    struct mp_commit *commit, struct mp_states *states,
                    const struct mp_timeline *timeline,
                    bool (*clock_ok)(void *arg),
                    const struct mp_alarms_user *user);
void mp_alarms_fini(struct mp_alarms *s);
MP_MUST int mp_alarms_load(struct mp_alarms *s, struct mp_db *db,
                           struct mp_why *why);
void mp_alarms_reset(struct mp_alarms *s);
void mp_alarms_seal(struct mp_alarms *s, struct mp_batch *batch);
/* Begin to fire (mirrors are loaded, functions are live). */
void mp_alarms_go(struct mp_alarms *s);
void mp_alarms_kick(struct mp_alarms *s);

/* By an effect (MP_EFFECT_ALARM; key given by the caller).  True: something
 * changed, and is dirty. */
bool mp_alarms_set(struct mp_alarms *s, struct mp_state_fn *fn,
                   struct mp_slice key, const struct mp_effect *effect,
                   const struct mp_pair *params, uint32_t n_params);
/* Bytes of quota that effect would add; may be negative. */
int64_t mp_alarms_cost(struct mp_alarms *s, struct mp_state_fn *fn,
                       struct mp_slice key, const struct mp_effect *effect,
                       const struct mp_pair *params, uint32_t n_params);

struct mp_alarm *mp_alarm_ref(struct mp_alarm *a);
void mp_alarm_unref(struct mp_alarm *a);
/* Is the event with that serial still wanted? */
static inline bool mp_alarm_is(const struct mp_alarm *a, uint32_t serial)
{
    return a->serial == serial && !a->cancelled;
}
/* Its event was dealt with: gone, unless it was set anew meanwhile.  True: a
 * row goes with the gathering transaction. */
bool mp_alarms_done(struct mp_alarms *s, struct mp_alarm *a, uint32_t serial);
/*
 * Its event was not dealt with, and nobody has it any more (its function was
 * removed, and may come back): it is due again, and fires when there is
 * somebody to take it.  The reference stays the caller's.
 */
void mp_alarms_put_back(struct mp_alarms *s, struct mp_alarm *a,
                        uint32_t serial);

#endif
