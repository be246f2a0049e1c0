/*
 * invocation.h - one event for one function, from the router to the end.
 *
 *              add            next             DONE, it changed something
 *   (routed) -----> QUEUED ---------> RUNNING ----------> COMMITTING --> ended
 *                    ^ ^ |    values  ^ |  ^ |                durable
 *                    | | +-> READING -+ |  | | DONE, it did not
 *                    | |   worker died  |  | +----------> SENDING --> ended
 *                    | +----------------+  |                  outputs
 *                    |                  WAITING               confirmed
 *                    +--- DELAYED <-- failed, to be retried
 *
 *   (routed) --> WINDOW --> (as above)      its trigger has coalesce or batch
 *                  +------> BATCHED         one of a batch
 *
 * A batch is an invocation of its own (is_batch), with the events' as its
 * members: these hold their acknowledgements, rows and dedupe ids as ever, the
 * batch has their place in the scheduler, the worker and the actor, and they
 * end with it (core/host_batch.c).
 *
 * It holds its input's acknowledgement (holds_ack) until it ends or is
 * parked; parked means that the host has taken the event over: it has a row
 * in the durable queue (QoS 0: it only waits in memory).
 *
 * Process  host only.   Thread  loop thread.
 * Memory   one block, params behind it; freed when it ends.
 */
#ifndef MP_INVOCATION_H
#define MP_INVOCATION_H

#include "core/base/wire.h"
#include "core/breaker.h"
#include "core/metrics.h"
#include "core/state.h"
#include "core/stream.h"
#include "core/transport.h"

struct mp_ending;
struct mp_group;
struct mp_process;
struct mp_queue_fn;

/* One version of a function, as workers know it. */
struct mp_version {
    unsigned refs;
    uint32_t id; /* never used again */
    struct mp_function *fn;
    struct mp_slot *slot;
    uint32_t image_bytes;
    uint64_t loaded_in;  /* a bit for each process that has its image */
    struct mp_link link; /* in the pool */
    unsigned *counters;  /* trigger index -> index into slot->metrics */
    bool broken;       /* nothing of it can run: its events wait for another */
    bool listens_said; /* which of its triggers nobody can reach */
    /* [grant] secret: names (the function's) and values; read when the version
     * is made, wiped with it */
    struct mp_pair *secrets;
    unsigned n_secrets;
};

/* A function by its name: what stays when versions change. */
struct mp_slot {
    struct mp_link link; /* in the catalog */
    char name[MP_NAME_MAX + 1];
    struct mp_version *live; /* NULL: no events go to it */
    struct mp_version *next; /* being loaded, to become live */
    struct mp_group *group;
    unsigned home; /* index of its home worker in the group */
    struct mp_breaker breaker;
    struct mp_fn_metrics metrics;
    /* scheduler */
    struct mp_link ring;  /* in the group's ring while it has ready ones */
    struct mp_link ready; /* invocations that may start, oldest first */
    unsigned n_waiting;   /* queued in all: ready and behind a key */
    uint64_t waiting_bytes;
    unsigned n_parked;    /* parked in memory only (QoS 0), and not ended */
    unsigned n_running;   /* handed to a worker and not done */
    unsigned n_reading;   /* whose actors' values are being read */
    unsigned n_suspended; /* of n_running, waiting instances */
    bool waits;           /* its live version has been seen to wait */
    int64_t deficit_us;   /* what it may still use this round */
    int64_t cost_us;      /* moving average of a run */
    /* log: token buckets (fnlog.c) */
    int64_t log_full_us;      /* when the bucket will be full */
    int64_t log_errors_us;    /* when that of the host's own errors will be */
    uint64_t log_held;        /* lines held back, not yet said to be */
    uint64_t log_held_errors; /* of them, errors of the host's own */
    /* durable */
    struct mp_link held;    /* QoS 1 inputs that only the broker has, in their
                             * order */
    struct mp_link blocked; /* of them: neither memory nor disk has room */
    struct mp_state_fn *state;  /* of the host's states */
    struct mp_queue_fn *queue;  /* of the host's queue */
    struct mp_streams *streams; /* of its triggers' lines; NULL: none */
    unsigned n_windowed;        /* events that wait in windows */
    uint64_t windowed_bytes;
    bool gone; /* its directory is no longer there */
    bool seen; /* while the directory is read */
};

enum mp_stage {
    MP_QUEUED,
    MP_READING, /* its actor's values come from the database */
    MP_RUNNING,
    MP_WAITING,
    MP_DELAYED,
    MP_COMMITTING,
    MP_SENDING,
    MP_WINDOW,  /* of coalesce or batch */
    MP_BATCHED, /* its batch has the stage */
    MP_ASIDE,   /* the host stops: its row or alarm stays for the next start */
};

/*
 * What stands behind an event, so that it is not lost: the broker while
 * holds_ack, a row of the queue, or an alarm; or nothing (QoS 0).
 */
struct mp_alarm;
struct mp_actor;

/* Events of one order key: the one in work, and those behind it. */
struct mp_order_key;

struct mp_invocation {
    struct mp_link link;    /* ready, behind a key, in a process, sending */
    struct mp_link holding; /* in the host's list while holds_ack */
    struct mp_link held;    /* in the slot's list of that name */
    enum mp_stage stage;
    struct mp_slot *slot;
    struct mp_version *routed;  /* its trigger and params point into this */
    struct mp_version *version; /* what it runs on; NULL: not started */
    struct mp_version *keyed; /* its key is by this one's rules; NULL: routed */
    const struct mp_trigger *trigger; /* of routed */
    unsigned counter;                 /* of slot->metrics.triggers */
    struct mp_input *input;
    struct mp_order_key *order; /* NULL: order = none */
    struct mp_process *process; /* RUNNING, WAITING */
    uint64_t run;
    uint32_t attempt;
    bool holds_ack; /* its input's acknowledgement waits for it */
    bool parked;    /* the host has taken the event over */
    bool in_memory; /* ... in memory only (QoS 0) */
    bool refused;   /* SENDING: the broker refused one of its outputs */
    bool noted;     /* its input's record says that this function is done */
    bool behind;    /* QUEUED: another one has its order key */
    bool in_line;   /* DELAYED: in careful.c's list; its slot counts it */
    bool suspect;   /* a worker died of it, maybe: runs alone */
    bool resumed;   /* RUNNING: again, after a wait */
    bool late;      /* WAITING: its time will be up before the wait */
    bool cold;      /* started with a LOAD */
    bool cpu_over;  /* its late run used up limits.cpu, not limits.timeout */
    bool is_batch;
    bool to_window; /* it has not been through its windows yet */
    bool windowed;  /* without an actor, its order key is its window's */
    unsigned deaths;
    unsigned outputs_open;
    int64_t queued_us, started_us;
    int64_t spent_us;  /* of timeout, in earlier turns and waits */
    int64_t cost_us;   /* estimate it was started with */
    uv_timer_t *timer; /* DELAYED, or WAITING */
    int64_t asked_us;  /* WAITING since */
    /* durable */
    struct mp_link all;          /* every invocation of the host */
    struct mp_held window;       /* its place in the lines */
    struct mp_invocation *batch; /* BATCHED: in this one */
    struct mp_link members;      /* is_batch: by their link, oldest first */
    unsigned n_members;
    uint64_t members_bytes;
    int64_t row;            /* of the queue; 0: none */
    bool saved;             /* the row was sealed, or is on disk */
    struct mp_link unsaved; /* the queue's */
    const char *reason;     /* of the row */
    int64_t due_us;         /* of the row, on the timeline */
    struct mp_alarm *alarm; /* a reference; NULL: none */
    uint32_t alarm_serial;
    struct mp_actor *actor; /* while it runs */
    struct mp_state_wait reading;
    struct mp_state_ask asking;
    struct mp_commit_wait commit;
    struct mp_commit_wait parking; /* lets go when durable */
    struct mp_link outputs;        /* on their way, not confirmed */
    struct mp_link tolds;          /* who waits for its outcome */
    struct mp_ending *ending;      /* what is said when it ends: the answer of a
                                    * request, notifications; NULL: nothing */
    bool is_awaited;               /* it counts in the host's n_asked */
    uint32_t hops;                 /* sends without a delay behind it */
    struct mp_slice key;           /* actor key, when has_key */
    bool has_key;
    char *new_key; /* its bytes, when a reload has changed it; else NULL */
    uint32_t n_params;
    struct mp_pair params[];
};

/* The event as functions, rows and dead letters have it. */
void mp_invocation_event(const struct mp_invocation *inv,
                         struct mp_event *event);

/* The function as it was when its key was made. */
static inline const struct mp_function *
mp_invocation_rules(const struct mp_invocation *inv)
{
    return inv->keyed ? inv->keyed->fn : inv->routed->fn;
}

/* Does somebody wait for its answer (a synchronous request)? */
static inline bool mp_invocation_is_asked(const struct mp_invocation *inv)
{
    return inv->input->answer != NULL;
}

/*
 * Must others of its key wait for it?  Requests without state have no order
 * but the one their clients make by waiting for the answers.
 */
static inline bool mp_invocation_is_ordered(const struct mp_invocation *inv)
{
    const struct mp_function *fn = mp_invocation_rules(inv);

    return fn->order != MP_ORDER_NONE &&
           (!mp_invocation_is_asked(inv) || fn->has_state || inv->has_key);
}

/* Its order key: the actor key, else that of the window of its batch, else the
 * topic. */
static inline struct mp_slice
mp_invocation_okey(const struct mp_invocation *inv)
{
    if (mp_invocation_rules(inv)->has_state || inv->has_key)
        return inv->key;
    if (inv->windowed)
        return mp_slice((const char *)&inv->window.batch,
                        sizeof inv->window.batch);
    return inv->input->topic;
}

/* What it is worth in a queue's bytes: with all that its sender may fill. */
static inline uint64_t mp_invocation_bytes(const struct mp_invocation *inv)
{
    return inv->is_batch ? inv->members_bytes : sizeof *inv + inv->input->bytes;
}

/* ... and in its number. */
static inline unsigned mp_invocation_events(const struct mp_invocation *inv)
{
    return inv->is_batch ? inv->n_members : 1;
}

/* Which stage it is in, as others see it: of a batch, all are in the same. */
static inline const struct mp_invocation *
mp_invocation_whole(const struct mp_invocation *inv)
{
    return inv->batch ? inv->batch : inv;
}

/* Has the host taken it over, or noted that it is done? */
bool mp_invocation_is_ours(const struct mp_invocation *inv);
/* Does its handler expect a batch?  (Of its version, or what it was routed
 * by.)  An event that runs alone is a batch of one then. */
bool mp_invocation_runs_batched(const struct mp_invocation *inv);
/*
 * The event as the worker gets it, and its id, which outputs are named by.
 * What must be freed when it was sent; NULL: nothing.  A batch is not named
 * as its first event: that may run again alone, and what it sends then is not
 * what the batch has sent.
 */
struct mp_event *mp_invocation_run_event(const struct mp_invocation *inv,
                                         struct mp_event *event,
                                         char id[MP_EVENT_ID_MAX]);
struct mp_slice mp_invocation_run_id(const struct mp_invocation *inv,
                                     char id[MP_EVENT_ID_MAX]);
/* "ID~N", of its first event's id and how many they are; of another attempt of
 * one alone "ID~1.ATTEMPT". */
size_t mp_batch_id(struct mp_slice first, unsigned n, uint32_t attempt,
                   char id[MP_EVENT_ID_MAX]);

#endif
