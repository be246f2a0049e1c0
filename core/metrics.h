/*
 * metrics.h - what happened, counted from the start.
 *
 * Names and labels are those of docs/INTERFACE section 12; a topic, device
 * or key is never a label.  Counters only grow while the host lives.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   plain structures inside their owners; about 8 KB a function.
 */
#ifndef MP_METRICS_H
#define MP_METRICS_H

#include "core/base/event.h"

/*
 * A histogram of durations in nanoseconds: eight buckets an octave, so a
 * quantile is right within 6 %.  (As HdrHistogram does it, Gil Tene 2012,
 * with less.)
 */
enum { MP_HIST_SUB = 8, MP_HIST_BUCKETS = 44 * MP_HIST_SUB };

struct mp_hist {
    uint64_t count, sum;
    uint32_t bucket[MP_HIST_BUCKETS];
};

void mp_hist_add(struct mp_hist *h, uint64_t ns);
void mp_hist_reset(struct mp_hist *h);
/* The value that a share q (0..1) of all is not above; 0 when empty. */
uint64_t mp_hist_quantile(const struct mp_hist *h, double q);

enum mp_drop {
    MP_DROP_QUEUE_FULL,
    MP_DROP_EXPIRED,
    MP_DROP_TOO_LARGE,
    MP_DROP_NO_MATCH,
    MP_DROP_NO_KEY,
    MP_DROP_BAD_TOPIC,
    MP_DROP_STORE, /* the database failed while it was in work (QoS 0) */
    MP_DROPS
};
const char *mp_drop_name(enum mp_drop drop);

enum mp_skip {
    MP_SKIP_RETAINED,
    MP_SKIP_DUPLICATE,
    MP_SKIP_FILTER, /* the stream lines */
    MP_SKIP_DEADBAND,
    MP_SKIP_THROTTLE,
    MP_SKIP_COALESCE,
    MP_SKIPS
};
const char *mp_skip_name(enum mp_skip skip);

enum mp_parked {
    MP_PARKED_SLOW,        /* not done within hold */
    MP_PARKED_RETRY,       /* failed, to be run again */
    MP_PARKED_QUARANTINED, /* the breaker is open */
    MP_PARKED_FULL,        /* its queue in memory is full */
    MP_PARKED_OUTPUT,      /* done, outputs not confirmed within hold */
    MP_PARKED_ASYNC,       /* a request whose client does not wait */
    MP_PARKED_WINDOW,      /* not through its windows within hold */
    MP_PARKEDS
};
const char *mp_parked_name(enum mp_parked parked);

/* Requests that were not run, and were told so. */
enum mp_refused {
    MP_REFUSED_QUEUE_FULL,
    MP_REFUSED_QUARANTINED,
    MP_REFUSED_OVER_BUDGET, /* the store has no room */
    MP_REFUSED_DISABLED,    /* switched off, broken, or the host stops */
    MP_REFUSEDS
};
const char *mp_refused_name(enum mp_refused refused);

enum mp_dead {
    MP_DEAD_ERROR, /* as the outcome: error, rejected, timeout, ... */
    MP_DEAD_REJECTED,
    MP_DEAD_TIMEOUT,
    MP_DEAD_MEMORY,
    MP_DEAD_KILLED,
    MP_DEAD_OUTPUT,  /* the broker refused an output */
    MP_DEAD_FULL,    /* past park_bytes or [store] queue */
    MP_DEAD_TRIGGER, /* its trigger is no more */
    MP_DEAD_CRASH,   /* the host died of it, again and again */
    MP_DEAD_LOOP,    /* sends that follow from one event have no end */
    MP_DEADS
};
const char *mp_dead_name(enum mp_dead dead);

/* Of one trigger of one function. */
struct mp_trigger_metrics {
    char name[MP_TRIGGER_MAX + 1];
    uint64_t events;
    uint64_t run; /* of them: done, or dead of their outcome */
    uint64_t skipped[MP_SKIPS], dropped[MP_DROPS];
    int64_t last_event_us; /* wall */
};

struct mp_fn_metrics {
    struct mp_trigger_metrics *triggers; /* by name, survive reloads */
    unsigned n_triggers;
    uint64_t invocations[MP_OUT_KINDS];
    uint64_t parked[MP_PARKEDS], dead[MP_DEADS], refused[MP_REFUSEDS];
    uint64_t retries, outputs, replies, output_bytes;
    uint64_t notices;      /* told to observers */
    uint64_t sends, flash; /* flash: bytes written for it */
    int64_t last_ok_us;    /* wall */
    struct mp_hist queue_wait, start_warm, start_cold, run;
};

struct mp_trigger_metrics *mp_metrics_trigger(struct mp_fn_metrics *m,
                                              const char *name);
void mp_metrics_fini(struct mp_fn_metrics *m);

/* Of the host. */
enum mp_exit {
    MP_EXIT_DIED,
    MP_EXIT_DEADLINE,
    MP_EXIT_BAD_FRAME,
    MP_EXIT_RETIRED,
    MP_EXITS
};
const char *mp_exit_name(enum mp_exit why);

struct mp_metrics {
    uint64_t events, outputs; /* of all functions, for the live line */
    uint64_t unmatched;       /* inputs that no trigger wanted */
    uint64_t too_large;       /* inputs past [mqtt] max_payload */
    uint64_t outputs_expired; /* with the transport, before they left */
    uint64_t worker_exits[MP_EXITS];
    uint64_t mqtt_reconnects;
    int64_t mqtt_held_us;
    bool mqtt_connected;
    uint64_t flash; /* bytes written for the host itself */
    bool clock_ok;
    int64_t start_us;      /* wall */
    struct mp_hist commit; /* left to durable */
    struct mp_hist done;   /* input received to settled; reset by live */
};

extern struct mp_metrics mp_metrics;

#endif
