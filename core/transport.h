/*
 * transport.h - what a transport and the host are to each other.
 *
 * A transport speaks one protocol and knows no function.  It hands inputs to
 * the host and is told when one needs nothing more (settled): then, and only
 * then, may it be acknowledged.  It takes outputs and tells when the other
 * side has them.  It exports one const struct mp_transport; cli/host.c lists
 * them.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   see each structure.
 */
#ifndef MP_TRANSPORT_H
#define MP_TRANSPORT_H

#include <uv.h>

#include "core/base/list.h"
#include "core/config.h"

struct mp_host;
struct mp_input;

/*
 * One message that came in.  Made by mp_input_new in a single block with its
 * bytes; the host owns it from mp_host_input on, and calls settled exactly
 * once, on the loop, maybe inside mp_host_input itself: every function it
 * went to is done with it (its outputs confirmed) or has taken it over
 * (parked).  The bytes live on until the last function has ended.
 */
struct mp_input {
    unsigned refs;
    unsigned open;        /* functions that still hold the acknowledgement */
    struct mp_host *host; /* set by it */
    void (*settled)(struct mp_input *in);
    /*
     * That function is done with it, with the transaction that gathers: note
     * it there, so that it does not run for it again.  NULL: nothing to note.
     */
    void (*note)(struct mp_input *in, uint64_t function);
    /* Settled, and lost: the host has forgotten it.  It must come again, as
     * new (a commit failed, or the host stops). */
    bool lost;
    void *owner;     /* the transport's, for settled and note */
    uint64_t ticket; /* the transport's, for settled */

    enum mp_event_type type;
    uint8_t qos;
    bool retained; /* sent because we subscribed */
    bool given_id; /* id is the sender's, not ours */
    bool has_expiry;
    uint32_t expiry_s;
    int64_t received_us;  /* monotonic */
    int64_t time_us;      /* wall */
    int64_t scheduled_us; /* timers, alarms: when it was due; 0: none */
    struct mp_slice id, topic, data;
    struct mp_slice subject;                     /* ptr NULL: the topic */
    struct mp_slice alarm;                       /* its name; ptr NULL: none */
    struct mp_slice source;                      /* "mqtt://broker:1883" */
    struct mp_slice datacontenttype;             /* ptr NULL: none */
    struct mp_slice traceparent;                 /* ptr NULL: none */
    struct mp_slice response_topic, correlation; /* ptr NULL: none */
    struct mp_pair *properties;                  /* user properties */
    uint32_t n_properties;
    /*
     * Which subscriptions brought this copy: their routes.  n_routes 0: the
     * broker doesn't say, match every trigger of the lane.
     */
    uint32_t routes[8];
    uint32_t n_routes;
    uint32_t lane; /* 0: the shared one; else of one trigger */
    /* Functions that were done with it before a restart (mp_record_function);
     * copied by mp_input_new. */
    const uint64_t *done;
    uint32_t n_done;
};

/*
 * A new input with room for copies of the slices in from and its properties;
 * everything is copied.
 */
struct mp_input *mp_input_new(const struct mp_input *from);
struct mp_input *mp_input_ref(struct mp_input *in);
void mp_input_unref(struct mp_input *in);

/*
 * One message that goes out.  The host owns it; the transport borrows it
 * from publish until it has called done, exactly once.
 */
struct mp_output {
    struct mp_link link; /* the transport's while it has it */
    struct mp_link mine; /* the host's */
    struct mp_slice topic, data;
    struct mp_slice id;           /* user property "id"; ptr NULL: none */
    struct mp_slice traceparent;  /* ptr NULL: none */
    struct mp_slice correlation;  /* ptr NULL: none */
    struct mp_slice content_type; /* ptr NULL: none */
    uint8_t qos;
    bool retain;
    bool has_expiry;
    uint32_t expiry_s;
    const struct mp_pair *properties;
    uint32_t n_properties;
    uint64_t handle; /* the transport's */
    /* reason 0: the broker has it; else an MQTT 5 reason code >= 0x80.  why
     * is a sentence then. */
    void (*done)(struct mp_output *out, unsigned reason, const char *why);
    void *owner; /* the host's, for done */
};

/*
 * What to subscribe to: one trigger's filter.  Several triggers with equal
 * filter, qos, share and lane share a route.
 */
struct mp_route {
    char *filter; /* an MQTT topic filter, without $share */
    char *share;  /* NULL: none */
    uint8_t qos;
    bool retained;   /* wants retained messages at subscribing */
    uint32_t lane;   /* 0: shared; else the trigger has a lane of its own */
    char *lane_name; /* "FUNCTION-TRIGGER" for lane > 0 */
    uint32_t id;     /* 1..; the subscription identifier; stable by content */
};

struct mp_transport {
    const char *name;
    /* Start, once the database is loaded (mp_host_kept, mp_host_records);
     * returns at once, connecting goes on in the loop. */
    int (*open)(struct mp_host *host, uv_loop_t *loop,
                const struct mp_config *config, void **self,
                struct mp_why *why);
    /*
     * From now on these routes hold (borrowed until the next call).  The
     * first call lets it connect: routes are known before any input.  Later
     * ones subscribe and unsubscribe the difference.
     */
    void (*route)(void *self, const struct mp_route *routes, unsigned n);
    /* Take one output now, or queue it; never fails, never blocks. */
    void (*publish)(void *self, struct mp_output *out);
    /*
     * What was handed over is lost to the host (all of it was settled with
     * lost set) and so is what was noted and kept: drop the connections that
     * bring inputs, acknowledging nothing, and stay away until `found`.
     */
    void (*lost)(void *self);
    /* The database is loaded again: read what is kept, connect. */
    void (*found)(void *self);
    /* Read no input while paused (the outbox is full); acknowledgements of
     * what was settled still leave. */
    void (*pause)(void *self, bool paused);
    /* No input from now on; what is in work may still be settled and sent. */
    void (*drain)(void *self);
    /* Nothing unsent and nothing unconfirmed is left? */
    bool (*idle)(void *self);
    /*
     * Say goodbye and free everything, including calls to done for outputs
     * that are left (reason 0x80); finished is called when that is done.
     */
    void (*close)(void *self, void (*finished)(void *arg), void *arg);
};

/* ---- the host, for transports ---- */

/* Hand over an input; see struct mp_input. */
void mp_host_input(struct mp_host *host, struct mp_input *in);
/* First time that triggers are live, and each change of the link. */
void mp_host_link(struct mp_host *host, bool up);

struct mp_records;
struct mp_commit_wait;

/* Where a transport notes what was done with its inputs. */
struct mp_records *mp_host_records(struct mp_host *host);
/* Small things kept by name, as loaded (ptr NULL: none).  Valid until the
 * next mp_host_keep of that name. */
struct mp_slice mp_host_kept(struct mp_host *host, const char *name);
/*
 * Keep bytes under a name, with the transaction that gathers; ptr NULL
 * forgets them.  w (may be NULL) is called as mp_commit_wait says.
 */
void mp_host_keep(struct mp_host *host, const char *name, struct mp_slice bytes,
                  struct mp_commit_wait *w,
                  void (*done)(struct mp_commit_wait *w, int rc));

#endif
