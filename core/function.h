/*
 * function.h - a function as its directory describes it: function.conf and
 * the files beside it, read, checked and never changed again.
 *
 * What a key means is in the table that `moonpool help function` prints.
 * A struct mp_function is one version of a function; a reload that finds
 * other bytes makes another one, and the old lives until its last run ends.
 *
 * Process  host and command line.   Thread  loop thread.
 * Memory   counted references; everything inside is owned by it.
 * Errors   every mistake is told to the report, with file and line, so that
 *          a user sees them all at once; the call then fails.
 */
#ifndef MP_FUNCTION_H
#define MP_FUNCTION_H

#include "core/pattern.h"
#include "core/timetable.h"

/*
 * Where mistakes go.  The text is a whole line, "FILE:LINE: what; what to
 * do"; warning: it doesn't stop the function from loading.
 */
struct mp_report {
    void (*say)(struct mp_report *r, bool warning, const char *text);
    unsigned mistakes, warnings; /* counted by mp_report_* */
    bool unread; /* something could not be read, and may be later */
    /* While say runs, the parts of text; file NULL, line 0: no place. */
    const char *file, *what;
    unsigned line;
};

MP_PRINTF(4, 5)
void mp_report_mistake(struct mp_report *r, const char *file, unsigned line,
                       const char *fmt, ...);
MP_PRINTF(4, 5)
void mp_report_warning(struct mp_report *r, const char *file, unsigned line,
                       const char *fmt, ...);

enum mp_order { MP_ORDER_STRICT, MP_ORDER_OVERTAKE, MP_ORDER_NONE };
enum mp_priority { MP_PRIORITY_LOW, MP_PRIORITY_NORMAL, MP_PRIORITY_HIGH };

enum mp_trigger_kind {
    MP_TRIGGER_MQTT,
    MP_TRIGGER_COAP,
    MP_TRIGGER_HTTP,
    MP_TRIGGER_EVERY,
    MP_TRIGGER_CRON,
    MP_TRIGGER_BOARD
};

/* What a request asks to be done (RFC 9110, RFC 7252, RFC 8132). */
enum mp_method {
    MP_GET,
    MP_POST,
    MP_PUT,
    MP_DELETE,
    MP_PATCH,
    MP_FETCH,  /* CoAP only */
    MP_IPATCH, /* CoAP only */
    MP_HEAD,   /* HTTP only: answered as GET is, without its data */
    MP_METHODS
};

const char *mp_method_name(enum mp_method method);

enum mp_auth { MP_AUTH_NONE, MP_AUTH_TOKEN, MP_AUTH_HMAC, MP_AUTH_DTLS };

struct mp_stream_lines;

struct mp_trigger {
    char name[MP_TRIGGER_MAX + 1];
    enum mp_trigger_kind kind;
    unsigned line; /* of its section, for messages */
    struct mp_pattern *patterns;
    unsigned n_patterns;
    uint8_t qos;
    char *share;   /* shared subscription group; NULL: none */
    bool retained; /* take retained messages that come at subscribing */
    bool own_lane;
    uint32_t max_payload;
    int64_t max_age_us; /* 0: none */
    int64_t dedupe_us;  /* how long a sender's id is kept; 0: not */
    enum mp_format format;
    struct mp_stream_lines *lines; /* filter, ..., batch; NULL: none */
    /* coap, http */
    unsigned methods; /* bits, 1 << enum mp_method */
    bool observe, async;
    enum mp_auth auth;
    char *secret; /* its name; NULL: none */
    char *header; /* hmac: in lower case */
    /* every, cron */
    int64_t every_us;
    struct mp_cron cron;
    char *timezone; /* NULL: the function's */
    bool at_start;
    int64_t jitter_us;
    enum mp_missed missed;
    uint64_t when; /* digest of how that is written */
};

struct mp_function {
    unsigned refs;
    char name[MP_NAME_MAX + 1];
    char *version, *about, *timezone; /* timezone NULL: the node's */
    char *path;                       /* directory, or the bare .lua file */
    char *conf; /* the text of function.conf; NULL: a bare file */
    struct mp_hash_of_files {
        uint64_t lo, hi;
    } digest; /* of all files and names: other bytes, other digest */
    enum mp_order order;

    struct mp_trigger *triggers;
    unsigned n_triggers;

    struct mp_slice *grants; /* publish: MQTT filters */
    unsigned n_grants;

    struct mp_slice *sends; /* names of functions it may send to */
    unsigned n_sends;

    struct mp_slice *secrets; /* names of secrets it may read */
    unsigned n_secrets;

    bool has_state;
    char *state_key; /* template; NULL: none */
    bool state_durable;
    uint64_t state_quota;
    bool state_restore; /* rollback = restore */

    uint32_t memory;
    int64_t timeout_us, cpu_us, init_timeout_us;
    uint32_t outputs, output_bytes, log_bytes;
    uint32_t queue;
    uint64_t queue_bytes;
    bool overflow_oldest; /* else park */
    uint64_t park_bytes;
    uint32_t kills;
    uint32_t tracked; /* memories of a stream line */

    uint32_t scale_min, scale_max;
    int64_t idle_us;
    enum mp_priority priority;
    bool own_worker; /* isolation = worker */

    uint32_t attempts;
    int64_t backoff_us, max_backoff_us, retry_max_age_us;
    char *on_failure; /* "topic:T" or "function:F"; NULL: none */

    uint32_t breaker_failures;
    int64_t breaker_pause_us, breaker_max_pause_us;

    enum mp_level log_level;
    uint32_t log_per;     /* lines ... */
    int64_t log_every_us; /* ... in this time: rate 10/s is 10, 1 s */

    struct mp_pair *env;
    unsigned n_env;
    struct mp_pair *files; /* path relative to the directory, bytes */
    unsigned n_files;      /* *.lua only; main.lua is among them */
};

/*
 * Read a function: a directory, or a bare .lua file (default limits, a
 * trigger `invoke` that takes any topic, grant publish = #).
 * node goes into ${node}.  NULL after a mistake; everything wrong was told.
 */
struct mp_function *mp_function_read(const char *path, const char *node,
                                     struct mp_report *report);
/*
 * What stands in for a function that can't be read: triggers and limits by
 * this text of an earlier function.conf, and no files.  NULL: that says
 * nothing any more.
 */
struct mp_function *mp_function_stand_in(const char *path, const char *node,
                                         struct mp_slice conf);
struct mp_function *mp_function_ref(struct mp_function *fn);
void mp_function_unref(struct mp_function *fn);

/* The trigger of this name, or NULL. */
const struct mp_trigger *mp_function_trigger(const struct mp_function *fn,
                                             struct mp_slice name);

/* May it publish to topic?  ($... never, nor what lies under prefix.) */
bool mp_function_may_publish(const struct mp_function *fn,
                             struct mp_slice topic, struct mp_slice prefix);
/* May it send to that function?  (To itself always.) */
bool mp_function_may_send(const struct mp_function *fn, struct mp_slice name);

/*
 * The actor key of an event by the template, into key (of MP_KEY_MAX).
 * Returns its length; MP_ENONE: a name is not bound; MP_ERANGE: too long or
 * empty.
 */
MP_MUST int mp_function_key(const struct mp_function *fn,
                            const struct mp_pair *params, uint32_t n_params,
                            char *key);

#endif
