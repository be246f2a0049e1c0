/*
 * sched.h - which invocation starts next.
 *
 * Three questions, each with one answer:
 *   order     of one order key (per function: the actor key, else the topic)
 *             one is in work and the others wait behind it, in order of
 *             arrival;
 *   fairness  functions take turns; a turn is processor time by priority
 *             (1, 4, 16), so a slow function can't starve a quick one
 *             (deficit round robin, Shreedhar and Varghese 1995);
 *   bounds    limits.queue and limits.queue_bytes a function, scale.max of
 *             it at once.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   links inside the invocations, one block an order key in use.
 */
#ifndef MP_SCHED_H
#define MP_SCHED_H

#include "core/invocation.h"

struct mp_sched {
    struct mp_link ring; /* slots that have ready invocations */
    unsigned queued;     /* in all */
    unsigned running;    /* started and not stopped, in all */
};

void mp_sched_init(struct mp_sched *s);
void mp_slot_init(struct mp_slot *slot, const char *name);

/* Is there room in the queue of its function? */
bool mp_sched_has_room(const struct mp_slot *slot, uint64_t bytes);
/* For so many, as one?  More than limits.queue have room where nothing waits:
 * a batch counts as its events and waits as a whole. */
bool mp_sched_has_room_for(const struct mp_slot *slot, unsigned events,
                           uint64_t bytes);

/* Queue it (behind its key); takes the order key. */
void mp_sched_add(struct mp_sched *s, struct mp_invocation *inv);
/* Queue it again before all others; it still holds its key. */
void mp_sched_again(struct mp_sched *s, struct mp_invocation *inv);

/*
 * The next invocation to start: MP_RUNNING and counted so; NULL: none may.
 * can says for a slot whether there is a place to run it now.
 */
struct mp_invocation *
mp_sched_next(struct mp_sched *s, int64_t now_us,
              bool (*can)(struct mp_slot *slot, void *arg), void *arg);
/* It is no longer running (ended, or delayed by a retry). */
void mp_sched_stopped(struct mp_sched *s, struct mp_invocation *inv);
/* Queue it with the key that holder has, before all that wait for that, or
 * (in no order) before all others. */
void mp_sched_add_next(struct mp_sched *s, struct mp_invocation *inv,
                       struct mp_invocation *holder);
/* A queued batch has so much less. */
void mp_sched_lighten(struct mp_sched *s, struct mp_invocation *inv,
                      unsigned events, uint64_t bytes);
/* Let go of its order key: the next of that key may start. */
void mp_sched_release(struct mp_sched *s, struct mp_invocation *inv);
/* Take it out of the queue, to be queued again later; it keeps its order key.
 * False: it waits behind another one, and stays. */
bool mp_sched_hold(struct mp_sched *s, struct mp_invocation *inv);
/* Take it out of the queue (dropped). */
void mp_sched_remove(struct mp_sched *s, struct mp_invocation *inv);
/* The oldest queued one of a slot, or NULL. */
struct mp_invocation *mp_sched_oldest(struct mp_slot *slot);

/* When the first quarantined slot may be probed; INT64_MAX: none waits. */
int64_t mp_sched_next_probe(struct mp_sched *s, int64_t now_us);

#endif
