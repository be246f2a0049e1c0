/*
 * worker.h - one worker process as its parent sees it: start it, watch its
 * clock, end it.  What is said over its socket is wire.h's business.
 *
 * Deadlines.  A run may use `cpu` of processor time and `timeout` in all.
 * The worker notes in the shared page what runs and since when; whoever owns
 * the worker calls mp_worker_watch now and then while something is running
 * (MP_WATCH_EVERY_US).  A late run is first told by page and signal, which
 * ends it inside Lua; if it is still there after a grace, the process gets
 * SIGKILL.
 *
 * Process  host and command line; call from the main thread only (the worker
 *          dies with the thread that forked it).
 * Memory   the caller holds struct mp_worker.
 */
#ifndef MP_WORKER_H
#define MP_WORKER_H

#include <sys/types.h>

#include "core/base/wire.h"

#define MP_WATCH_EVERY_US INT64_C(5000)
/* What a marked run may still use before SIGKILL: of the processor, so that
 * a busy board kills no innocent one, and in all. */
#define MP_GRACE_CPU_US INT64_C(20000)
#define MP_GRACE_US INT64_C(1000000)

struct mp_worker {
    pid_t pid;
    int fd; /* non-blocking stream socket; -1 once closed */
    struct mp_page *page;
    /* the watch */
    uint64_t seen;     /* generation at the last watch */
    int64_t seen_cpu;  /* processor time when it was first seen */
    int64_t seen_us;   /* and the time of day clock (monotonic) */
    int64_t marked_us; /* when it was marked late; 0: it is not */
    int64_t marked_cpu;
    bool killed; /* SIGKILL was sent */
};

/* Allowances of what runs now. */
struct mp_allowance {
    int64_t cpu_us, timeout_us;
    int64_t spent_us; /* of timeout, before this turn */
};

enum mp_watched {
    MP_WATCH_IDLE,   /* no user code runs */
    MP_WATCH_FINE,   /* within its allowance */
    MP_WATCH_MARKED, /* late: told, may still end by itself */
    MP_WATCH_KILLED, /* SIGKILL was sent; its socket will end */
};

/* program: path of moonpool-worker. */
MP_MUST int mp_worker_spawn(struct mp_worker *w, const char *program,
                            struct mp_why *why);

/*
 * The program beside our own executable, above it, or in
 * PREFIX/libexec/moonpool.
 * Returns a static string.
 */
const char *mp_worker_program(void);

/* What runs now: its id, and since when; 0: nothing. */
uint64_t mp_worker_current(const struct mp_worker *w, int64_t *since_us);

enum mp_watched mp_worker_watch(struct mp_worker *w, int64_t now_us,
                                const struct mp_allowance *allowed);

/*
 * What it takes: its resident memory less the pages of libraries that the
 * host has mapped too, bytes (statm: its smaps are closed to us).
 */
uint64_t mp_worker_memory(const struct mp_worker *w);

/* Its processor time, microseconds; -1 when it is gone. */
int64_t mp_worker_cpu_us(const struct mp_worker *w);

/* Ask it to send the outcomes it has finished so far. */
void mp_worker_nudge(struct mp_worker *w);
/* Skip all runs it has not started whose id is not above last. */
void mp_worker_recall(struct mp_worker *w, uint64_t last);
/*
 * SIGKILL, reap, unmap, close.  Fine on a worker that is gone already.
 * Returns the wait status: of a worker that died by itself, how it died.
 */
int mp_worker_end(struct mp_worker *w);

#endif
