/*
 * event.h - what a function is told, and what it leaves behind, as values.
 *
 * These are the words that host and worker share.  All slices are borrowed:
 * on the host from the input, in the worker from the frame.
 *
 * Thread   plain values.
 */
#ifndef MP_BASE_EVENT_H
#define MP_BASE_EVENT_H

#include "core/base/limits.h"
#include "core/base/value.h"

enum mp_event_type {
    MP_EVENT_MQTT,
    MP_EVENT_COAP,
    MP_EVENT_HTTP,
    MP_EVENT_TIMER,
    MP_EVENT_ALARM,
    MP_EVENT_SEND,
    MP_EVENT_BOARD,
    MP_EVENT_BATCH,
    MP_EVENT_TYPES
};

/* "mqtt", "coap", ... */
const char *mp_event_type_name(enum mp_event_type type);

/* What a payload is, as a trigger's `format` and the options of effects. */
enum mp_format {
    MP_FORMAT_AUTO,
    MP_FORMAT_JSON,
    MP_FORMAT_CBOR,
    MP_FORMAT_SENML,
    MP_FORMAT_TEXT,
    MP_FORMAT_BYTES,
    MP_FORMATS
};

const char *mp_format_name(enum mp_format format);
/* Its media type, as effects and answers carry it; ptr NULL: none is said. */
struct mp_slice mp_format_type(enum mp_format format);

/* CloudEvents names where they exist (docs/INTERFACE, section 4). */
struct mp_event {
    enum mp_event_type type;
    struct mp_slice id, source, subject;
    struct mp_slice trigger; /* the section's name */
    struct mp_slice key;     /* actor key, when has_key */
    bool has_key;
    bool given_id;         /* id is the sender's */
    int64_t time_us;       /* wall clock, when it came */
    int64_t scheduled_us;  /* timers: when it was due; 0: none */
    uint32_t attempt;      /* 1 in the first run */
    enum mp_format format; /* the trigger's */
    struct mp_slice data;
    struct mp_slice datacontenttype; /* ptr NULL: not given */
    struct mp_slice traceparent;     /* ptr NULL: not given */
    /* mqtt */
    struct mp_slice topic;
    uint8_t qos;
    bool retained;
    bool has_expiry;
    uint32_t expiry_s;     /* seconds left */
    struct mp_slice alarm; /* MP_EVENT_ALARM: its name; ptr NULL: none */
    uint32_t missed;       /* timers: runs that fell out before this one */
    /* coap, http; ptr NULL: none */
    struct mp_slice method; /* "PUT" */
    struct mp_slice path;   /* decoded, with its leading / */
    struct mp_slice peer, identity;
    /* pairs: arrays of at most MP_PAIRS_MAX; names of headers in lower case */
    const struct mp_pair *params, *properties, *query, *headers;
    uint32_t n_params, n_properties, n_query, n_headers;
    /* MP_EVENT_BATCH: its events, oldest first; they have no events */
    const struct mp_event *events;
    uint32_t n_events;
};

/* Room for all pairs of one event. */
enum { MP_EVENT_PAIRS = 4 * MP_PAIRS_MAX };

enum mp_kind {
    MP_OUT_OK,
    MP_OUT_ERROR,
    MP_OUT_REJECTED,
    MP_OUT_TIMEOUT,
    MP_OUT_MEMORY,
    MP_OUT_KILLED,
    MP_OUT_KINDS
};

/* "ok", "error", "rejected", "timeout", "memory", "killed" */
const char *mp_kind_name(enum mp_kind kind);

enum {
    MP_DID_WAIT = 1,  /* the invocation was suspended at least once */
    MP_DID_READ = 2,  /* it read state */
    MP_DID_RETRY = 4, /* it raised mp.retry */
};

enum mp_result_kind {
    MP_RESULT_NONE,  /* nil */
    MP_RESULT_TEXT,  /* a string: data is its bytes */
    MP_RESULT_VALUE, /* number, boolean or table */
    MP_RESULT_REPLY, /* mp.reply: status, headers, data */
};

struct mp_outcome {
    uint64_t run;
    enum mp_kind kind;
    uint32_t did;           /* MP_DID_* */
    int64_t retry_after_us; /* with MP_DID_RETRY; -1: by [retry] */
    uint32_t status;        /* mp.reject's or mp.reply's; 0: none */
    uint32_t copy_ns;       /* image copied in, reseeded */
    uint32_t run_ns;        /* handler, event built included */
    uint32_t memory;        /* bytes of the arena used at the end */
    struct mp_slice error, traceback;
    enum mp_result_kind result_kind;
    enum mp_format result_format; /* of result: TEXT, BYTES, JSON, CBOR */
    struct mp_slice result;
    uint32_t n_headers; /* MP_RESULT_REPLY: read with mp_read_headers */
    struct mp_slice headers;
    int64_t max_age_us; /* MP_RESULT_REPLY: -1: none was given */
    /* MP_EVENT_BATCH, ok: which of its events asked for another end; read
     * with mp_read_verdict */
    uint32_t n_verdicts;
    struct mp_slice verdicts;
    uint32_t n_effects, n_logs, logs_cut; /* lines past log_bytes */
    struct mp_slice effects, logs;        /* read with mp_wire_next_* */
};

/* e:retry, e:reject on a member of event.events; at most one a member, in
 * rising order. */
struct mp_verdict {
    uint32_t event; /* index, from 0 */
    bool retry;     /* else rejected */
    struct mp_slice reason;
};

enum mp_effect_kind {
    MP_EFFECT_PUBLISH = 1,
    MP_EFFECT_SEND,
    MP_EFFECT_ALARM,
    MP_EFFECT_STATE,
    MP_EFFECT_NOTIFY,
    MP_EFFECT_KINDS
};

/* How a value was changed, for who shows it; what counts is the value. */
enum mp_state_op {
    MP_STATE_SET,
    MP_STATE_INCREMENT,
    MP_STATE_DELETE,
    MP_STATE_OPS
};

/* "set", "increment", "delete" */
const char *mp_state_op_name(enum mp_state_op op);

/*
 * One effect.  Which members count for which kind:
 *   PUBLISH  topic, data, format, qos, retain, expiry, properties
 *   SEND     name (the function), key, data, format, delay_us
 *   ALARM    name, key, cancel, or after_us or at_us, slack_us, data
 *   STATE    name, op, value (kind NONE: deleted), ttl_us
 *   NOTIFY   topic (the path, with its leading /), data, format, max_age_us
 */
struct mp_effect {
    enum mp_effect_kind kind;
    struct mp_slice topic;
    struct mp_slice name;
    struct mp_slice key; /* when has_key; else the event's own actor */
    bool has_key;
    struct mp_slice data;
    enum mp_format format; /* TEXT: string as given; JSON: was encoded */
    uint8_t qos;
    bool retain;
    bool has_expiry;
    uint32_t expiry_s;
    const struct mp_pair *properties; /* at most MP_PAIRS_MAX */
    uint32_t n_properties;
    int64_t delay_us; /* SEND: at least 0 */
    bool cancel;
    int64_t after_us; /* ALARM: from now; -1: at_us counts */
    int64_t at_us;    /* ALARM: wall clock */
    int64_t slack_us;
    enum mp_state_op op;
    struct mp_value value;
    int64_t ttl_us;     /* 0: none */
    int64_t max_age_us; /* NOTIFY: how long the value is fresh */
};

/*
 * The id of the event that a send makes, as the n-th output (from 1; publishes
 * and sends count) of function fn for an event: EVENT/FUNCTION/n, hashed when
 * that is longer than MP_EVENT_ID_MAX.  The call tells it, the host uses it.
 */
size_t mp_send_id(struct mp_slice event, struct mp_slice fn, unsigned n,
                  char id[MP_EVENT_ID_MAX]);

enum mp_level { MP_DEBUG, MP_INFO, MP_WARN, MP_ERROR, MP_LEVELS };

const char *mp_level_name(enum mp_level level);

struct mp_log_line {
    enum mp_level level;
    struct mp_slice message;
    const struct mp_pair *fields; /* at most 16 */
    uint32_t n_fields;
};

#endif
