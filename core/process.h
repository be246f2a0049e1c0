/*
 * process.h - one worker process in the pool: its socket, what it has in
 * hand, and what it says.
 *
 * Frames go out in one write a loop turn and come in as many as there are.
 * Everything that comes in is checked; what doesn't parse, or speaks of a
 * run that was never handed over, ends the process (MP_EXIT_BAD_FRAME).
 *
 * Process  host only.   Thread  loop thread.
 * Memory   two buffers; invocations are linked in, not owned.
 */
#ifndef MP_PROCESS_H
#define MP_PROCESS_H

#include "core/invocation.h"
#include "core/worker.h"

/* A LOAD that was sent and not answered. */
struct mp_loading {
    struct mp_link link;
    uint64_t id;
    struct mp_version *version; /* a reference */
    bool wanted;                /* tell the catalog what came of it */
};

struct mp_process {
    struct mp_link link; /* in its group */
    struct mp_group *group;
    struct mp_pool *pool;
    unsigned bit; /* in mp_version.loaded_in */
    struct mp_worker worker;
    uv_poll_t *poll; /* NULL: there is no process now */
    bool ready;      /* caged and waiting */
    bool solo;       /* for one suspect at a time */
    bool stuck;      /* one run is on for long: gets no more */
    bool bad;        /* said something that doesn't parse */
    bool forgotten;  /* what it has in hand is nobody's any more */
    bool retire;     /* is to be ended when its frames are handled */
    struct mp_buf out;
    size_t out_sent;
    bool blocked; /* the rest of out waits for the socket */
    struct mp_buf in;
    struct mp_link inflight; /* handed over, oldest first */
    struct mp_link waiting;  /* suspended */
    struct mp_link loading;
    unsigned n_inflight;
    int64_t cost_us;   /* estimate of all that is in flight */
    uint64_t recalled; /* runs up to this id may have been taken back */
    int64_t heard_us;  /* when it last answered for what it has in hand */
    int64_t idle_us, idle_cpu; /* at the last look while it had nothing */
    uint64_t watched;          /* generation at the last watch */
};

/* What the pool does with what a process says. */
void mp_pool_on_loaded(struct mp_process *p, struct mp_loading *loading,
                       const struct mp_loaded *loaded);
void mp_pool_on_done(struct mp_process *p, struct mp_invocation *inv,
                     const struct mp_outcome *out);
void mp_pool_on_wait(struct mp_process *p, struct mp_invocation *inv,
                     const struct mp_wait *wait);
/* Its socket ended (all that it had said was handled). */
void mp_pool_on_end(struct mp_process *p);

MP_MUST int mp_process_start(struct mp_process *p, uv_loop_t *loop,
                             struct mp_why *why);
/* Kill, reap; the wait status.  Invocations stay linked. */
int mp_process_stop(struct mp_process *p);
/* Send what the buffer holds, as far as the socket takes it. */
void mp_process_flush(struct mp_process *p);

#endif
