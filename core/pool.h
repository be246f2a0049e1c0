/*
 * pool.h - the workers, and which of them runs what.
 *
 * Functions share workers within a group (one trust group; `isolation =
 * worker` makes a group of its own).  A group has a scheduler and a number of
 * processes that are started with it and stay.  A function has a home worker
 * (rendezvous hashing, Thaler and Ravishankar 1998) and spreads to others
 * when that has no room.
 *
 * When a worker dies, complete outcomes that it sent count.  The run that was
 * on is the suspect: it runs again, alone in a worker of its own, and only a
 * death there counts against it; after limits.kills of them its outcome is
 * `killed`.  Everything else it held runs again elsewhere, in order.
 *
 * A run that is on for longer than a moment must not hold up others: the
 * worker is asked for the outcomes it has ready, and what it has not started
 * is taken back and given to somebody else (mp_page.recalled).
 *
 * Process  host only.   Thread  loop thread (main: workers die with it).
 * Memory   two buffers a process; invocations are linked, not owned.
 * Errors   a worker that can't be started is tried again each second, and
 *          said so once.
 */
#ifndef MP_POOL_H
#define MP_POOL_H

#include "core/process.h"
#include "core/sched.h"

struct mp_group {
    struct mp_link link; /* in the pool */
    char name[MP_NAME_MAX + 8];
    struct mp_sched sched;
    struct mp_process **processes; /* n of them, for the group's life */
    unsigned n;
    struct mp_link suspects; /* invocations that must run alone */
    struct mp_process *solo; /* where they do */
    unsigned users;          /* slots */
};

/* What the host does with it. */
struct mp_pool_user {
    /* a version's first LOAD was answered */
    void (*loaded)(void *arg, struct mp_version *v,
                   const struct mp_loaded *loaded);
    /* May it start now?  False: the user has ended it. */
    bool (*start)(void *arg, struct mp_invocation *inv, int64_t now_us);
    /* It waits for what only the user can give (wait->kind is not SLEEP; wait
     * is the frame's): answer with mp_pool_answer, now or later. */
    void (*ask)(void *arg, struct mp_invocation *inv,
                const struct mp_wait *wait);
    /* An invocation has an outcome; it is the user's again.  Returns 0, or
     * MP_EPARSE when an effect doesn't parse: then it runs again as the
     * suspect and the worker ends. */
    int (*done)(void *arg, struct mp_invocation *inv,
                const struct mp_outcome *out);
    void *arg;
};

struct mp_pool {
    uv_loop_t *loop;
    struct mp_pool_user user;
    struct mp_link groups, versions;
    struct mp_process *by_bit[MP_WORKERS_MAX];
    unsigned per_group; /* processes of the shared group */
    unsigned scale_max; /* invocations of functions that wait, at once */
    const char *node, *prefix;
    const char *timezone;     /* of the node; NULL: the system's */
    struct mp_states *states; /* whose values travel with a run */
    uint64_t next_id;         /* of runs and loads; only grows */
    uint32_t next_version;
    uv_prepare_t prepare; /* dispatches once a loop turn */
    uv_timer_t watch, retry;
    int64_t idle_looked_us; /* at workers that have nothing to do */
    int64_t next_start_us;  /* no solo process before, after a failure */
    bool watching, stopping, no_start_said;
};

void mp_pool_open(struct mp_pool *pool, uv_loop_t *loop, const char *node,
                  unsigned workers, unsigned scale_max,
                  const struct mp_pool_user *user);
/* Ends all workers; what they had is the user's to forget. */
void mp_pool_close(struct mp_pool *pool);

/* The group of a function; NULL: no process is left for another group. */
struct mp_group *mp_pool_join(struct mp_pool *pool,
                              const struct mp_function *fn);
void mp_pool_leave(struct mp_pool *pool, struct mp_group *group);

struct mp_version *mp_version_new(struct mp_pool *pool, struct mp_slot *slot,
                                  struct mp_function *fn);
struct mp_version *mp_version_ref(struct mp_version *v);
/* The last one takes its images from the workers. */
void mp_version_unref(struct mp_pool *pool, struct mp_version *v);

/* Load it in its home worker and tell user.loaded. */
void mp_pool_load(struct mp_pool *pool, struct mp_version *v);

/* Queue an invocation; it is the pool's until user.done. */
void mp_pool_add(struct mp_pool *pool, struct mp_invocation *inv);
/* What it waits for (MP_WAITING) is here; it goes on.  answer->run is filled
 * in. */
void mp_pool_answer(struct mp_pool *pool, struct mp_invocation *inv,
                    struct mp_resume *answer);
/*
 * Take an invocation out of the pool in whatever stage it is there (QUEUED,
 * RUNNING, WAITING); it keeps its order key.  A worker that has it in hand is
 * ended by mp_pool_forgot, which is called once after the last of them.
 */
void mp_pool_forget(struct mp_pool *pool, struct mp_invocation *inv);
void mp_pool_forgot(struct mp_pool *pool);
/* Is anything queued or running? */
bool mp_pool_is_busy(const struct mp_pool *pool);
/* Stop the timer of one that waits or is delayed. */
void mp_invocation_wake(struct mp_invocation *inv);
/* Queue it again at the front (after a delay); it kept its key. */
void mp_pool_again(struct mp_pool *pool, struct mp_invocation *inv);

/* Figures for the live line. */
unsigned mp_pool_processes(const struct mp_pool *pool);
/* How many images are warm and what they take, all workers. */
unsigned mp_pool_images(const struct mp_pool *pool, uint64_t *bytes);

#endif
