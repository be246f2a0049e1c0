/*
 * admin.h - what a person asks of, or changes in, a running host: dead
 * letters, the queue, state, events by hand.
 *
 * The REST interface (core/api) is one way to it.  Each request has an answer
 * that is called once, when what was asked for is durable.  Reading is done
 * by jobs in the reader's thread, and gives JSON as the REST interface has it
 * (core/show.h), which the command line gives too when no host runs.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   requests are the caller's until done; what they point to is
 *          copied.
 */
#ifndef MP_ADMIN_H
#define MP_ADMIN_H

#include "core/host.h"

struct mp_admin {
    /* rc 0; MP_ENONE: no such thing; MP_EFULL: a bound; MP_EDENY: not of
     * this function; MP_EPARSE: never of any; MP_EIO: the store; why: a
     * sentence when rc is not 0.  Maybe called from inside the request. */
    void (*done)(struct mp_admin *a, int rc, const struct mp_why *why);
    uint64_t count; /* how many it was about; of those replayed also when
                     * rc is not 0 */
    void *job;      /* admin.c's */
};

/* A dead letter again, as a new event of its function (an output that was
 * refused: as a message); it is gone then.  id 0: all that there are now, of
 * the function, or fn "": of all functions. */
void mp_admin_dead_replay(struct mp_host *h, struct mp_slice fn, int64_t id,
                          struct mp_admin *a);
/* id 0: all of the function; fn "": of all functions. */
void mp_admin_dead_drop(struct mp_host *h, struct mp_slice fn, int64_t id,
                        struct mp_admin *a);
/* id 0: all that waits for the function; fn "": for all functions. */
void mp_admin_queue_drop(struct mp_host *h, struct mp_slice fn, int64_t id,
                         struct mp_admin *a);
/* value kind NONE: remove; MP_ENONE: it was not there. */
void mp_admin_state_put(struct mp_host *h, struct mp_slice fn,
                        struct mp_slice key, struct mp_slice name,
                        const struct mp_value *value, struct mp_admin *a);
/* All values of an actor; key.ptr NULL: of the function and all its actors.
 * What is written meanwhile may stay. */
void mp_admin_state_clear(struct mp_host *h, struct mp_slice fn,
                          struct mp_slice key, struct mp_admin *a);
/* The client went away: done is not called. */
void mp_admin_forget(struct mp_admin *a);

/* The function's slot; NULL: there is no such function, or not any more. */
struct mp_slot *mp_admin_slot(struct mp_host *h, struct mp_slice fn);

/*
 * The function's record of state; NULL: it has none.  put: to put a value
 * there, for which the function must have [state]; else one that is gone, or
 * has no [state] any more, will do while values of it are here.
 */
struct mp_state_fn *mp_admin_state(struct mp_host *h, struct mp_slice fn,
                                   bool put, struct mp_why *why);

/*
 * A job for the reader that sees what was on its way to the disk when it was
 * asked for; as mp_reader_do otherwise.
 */
struct mp_admin_read {
    struct mp_read read;
    struct mp_commit_wait wait;
    struct mp_reader_thread *reader;
};
void mp_admin_read(struct mp_host *h, struct mp_admin_read *job);

#endif
