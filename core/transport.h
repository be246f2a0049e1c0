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
#include "core/timetable.h"

struct mp_host;
struct mp_input;

/*
 * What a request (CoAP, HTTP) is answered, in no protocol's words; section 3
 * of the reference says what each makes of it.
 */
enum mp_answer_kind {
    MP_ANSWER_DONE,     /* ok: the handler returned data, or (ptr NULL) none */
    MP_ANSWER_REPLY,    /* ok: mp.reply, with status */
    MP_ANSWER_REJECTED, /* mp.reject; status 0: none was given */
    MP_ANSWER_FAILED,   /* error, memory, killed */
    MP_ANSWER_TIMEOUT,
    MP_ANSWER_BUSY,     /* its queue is full */
    MP_ANSWER_AWAY,     /* quarantined, switched off, the host stops */
    MP_ANSWER_ACCEPTED, /* async: it is durable, the outcome comes later */
    MP_ANSWER_GONE,     /* the function went away meanwhile */
};

struct mp_answer {
    enum mp_answer_kind kind;
    uint32_t status; /* the protocol's own number; CoAP c.dd as cdd */
    struct mp_slice data;
    enum mp_format format;  /* of data: TEXT, JSON, CBOR, BYTES */
    struct mp_slice detail; /* not ok: a sentence for the client */
    const struct mp_pair *headers;
    uint32_t n_headers;
    uint32_t max_age_s;     /* CoAP Max-Age, HTTP max-age; 0: not given */
    uint32_t retry_after_s; /* BUSY, AWAY */
};

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
    size_t bytes;         /* of all its texts and pairs; by mp_input_new */
    struct mp_host *host; /* set by it */
    void (*settled)(struct mp_input *in);
    /*
     * That function is done with it, with the transaction that gathers: note
     * it there, so that it does not run for it again.  NULL: nothing to note.
     */
    void (*note)(struct mp_input *in, uint64_t function);
    /*
     * A request: somebody waits for the answer.  Called exactly once, before
     * settled, when all it promises is durable; a is borrowed.  NULL: nobody
     * waits (an asynchronous request is settled when it is durable).
     */
    void (*answer)(struct mp_input *in, const struct mp_answer *a);
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
    /* CoAP, HTTP: topic is the decoded path, with its leading / */
    struct mp_slice method;         /* "PUT"; ptr NULL: it is no request */
    struct mp_slice peer, identity; /* ptr NULL: none */
    /*
     * A request that its sender may repeat to get the same answer (a CoAP
     * exchange, an Idempotency-Key): what tells it from all others, and for
     * how long.  Where it changed something the answer is kept with that
     * change, and given again without a run.  ptr NULL: none.
     */
    struct mp_slice exchange;
    int64_t exchange_us;
    struct mp_pair *properties; /* user properties */
    struct mp_pair *query, *headers;
    uint32_t n_properties, n_query, n_headers;
    uint32_t missed; /* timers: runs that fell out before this one */
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
 * everything is copied, but for a traceparent that is none (mp_trace_is).
 */
struct mp_input *mp_input_new(const struct mp_input *from);
struct mp_input *mp_input_ref(struct mp_input *in);
void mp_input_unref(struct mp_input *in);

/*
 * One message that goes out.  The host owns it; the transport borrows it
 * from publish until it has called done, exactly once.  Its expiry goes on
 * with the transport; one that is over before it left is done, and counted.
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
    uint64_t handle;  /* the transport's */
    int64_t since_us; /* ... when it took one that has an expiry */
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

/*
 * What a request may ask for: one pattern of one trigger.  Sorted, so that
 * the first that matches is the one that answers (mp_endpoint_find).
 */
struct mp_endpoint {
    enum mp_trigger_kind kind; /* MP_TRIGGER_COAP, MP_TRIGGER_HTTP */
    uint32_t id;               /* 1..; for routes of an input */
    unsigned methods;          /* bits, 1 << enum mp_method */
    const struct mp_pattern *pattern;
    bool observe, async;
    uint32_t max_payload;
    enum mp_auth auth;
    struct mp_slice secret; /* token: the token; hmac: its key */
    const char *header;     /* hmac: where the signature is, lower case */
};

/* One trigger that runs by the clock. */
struct mp_timing {
    uint32_t id;          /* 1..; for routes of an input */
    const char *function; /* its names make what is kept of it */
    const char *trigger;
    /* delay_us is the trigger's for this node; last_us is the transport's */
    struct mp_timetable_config when;
    uint64_t digest; /* of what `when` was written as: other text, other runs */
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
    /* CoAP, HTTP: from now on these are answered (borrowed until the next
     * call; those of its kind).  NULL: it answers no requests. */
    void (*serve)(void *self, const struct mp_endpoint *endpoints, unsigned n);
    /* Timers: from now on these run; what they point to stays until the next
     * call, which may name the same ones.  NULL: it is no timer. */
    void (*schedule)(void *self, const struct mp_timing *timings, unsigned n);
    /* Take one output now, or queue it; never fails, never blocks.  NULL: it
     * takes none. */
    void (*publish)(void *self, struct mp_output *out);
    /*
     * What was handed over is lost to the host (all of it was settled with
     * lost set) and so is what was noted and kept: drop the connections that
     * bring inputs, acknowledging nothing, and stay away until `found`.
     */
    void (*lost)(void *self);
    /* The database is loaded again: read what is kept, connect. */
    void (*found)(void *self);
    /*
     * Push what a path has become to who observes it; all is copied.  format:
     * TEXT, JSON, CBOR, BYTES.  max_age_s 0: not said.  NULL: nobody observes
     * anything there.
     */
    void (*notify)(void *self, struct mp_slice path, struct mp_slice data,
                   enum mp_format format, uint32_t max_age_s);
    /* Answers by code, for the metrics: HTTP's status, CoAP's byte.  NULL: it
     * answers nothing. */
    const uint64_t *answers;
    unsigned n_answers;
    /* Read no input while paused (the outbox is full); acknowledgements of
     * what was settled still leave. */
    void (*pause)(void *self, bool paused);
    /* No input from now on; what is in work may still be settled and sent. */
    void (*drain)(void *self);
    /* Nothing unsent and nothing unconfirmed is left, of what can be sent
     * (nothing can while the other side is away)? */
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

/* Is the wall clock to be trusted? */
bool mp_host_clock_ok(const struct mp_host *host);

struct mp_results;

/* Answers of asynchronous requests, by names that nobody guesses. */
struct mp_results *mp_host_results(struct mp_host *host);

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
