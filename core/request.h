/*
 * request.h - what is asked of a host: the paths of the REST interface.
 *
 * One parser for both who answer: the host (core/api), and the command line
 * when no host runs (cli/local.c).
 *
 *   GET     /healthz  /readyz  /metrics
 *   GET     /v1/functions/F/actors            ?prefix= &after= &limit=
 *   GET     /v1/functions/F/state             ?key= &prefix= &after= &limit=
 *   GET     /v1/functions/F/state/VALUE       ?key=
 *   PUT     /v1/functions/F/state/VALUE       ?key=     body: JSON
 *   DELETE  /v1/functions/F/state/VALUE       ?key=
 *   DELETE  /v1/functions/F/state             ?key=     of one actor; else all
 *   POST    /v1/functions/F/send              ?key= &trigger= &wait=1
 *   GET     /v1/dead-letters                  ?function= &after= &limit=
 *   DELETE  /v1/dead-letters                  ?function=
 *   POST    /v1/dead-letters/replay           ?function=
 *   GET     /v1/dead-letters/ID
 *   DELETE  /v1/dead-letters/ID
 *   POST    /v1/dead-letters/ID/replay
 *   GET     /v1/queue                         ?function= &after= &limit=
 *   DELETE  /v1/queue                         ?function=
 *   DELETE  /v1/queue/ID
 *   GET     /v1/alarms                        ?function= &after= &limit=
 *
 * Thread   any.
 * Memory   a request owns a copy of its words.
 * Errors   MP_ENONE: no such path; MP_EDENY: not by this method; MP_EPARSE:
 *          a part of it is not what it should be.
 */
#ifndef MP_REQUEST_H
#define MP_REQUEST_H

#include "core/base/limits.h"
#include "core/base/value.h"

enum mp_asked {
    MP_ASKED_HEALTH,
    MP_ASKED_READY,
    MP_ASKED_METRICS,
    MP_ASKED_ACTORS,
    MP_ASKED_STATE,
    MP_ASKED_STATE_GET,
    MP_ASKED_STATE_PUT,
    MP_ASKED_STATE_DELETE,
    MP_ASKED_STATE_CLEAR,
    MP_ASKED_SEND,
    MP_ASKED_DEAD,
    MP_ASKED_DEAD_DROP_ALL,
    MP_ASKED_DEAD_REPLAY_ALL,
    MP_ASKED_DEAD_GET,
    MP_ASKED_DEAD_DROP,
    MP_ASKED_DEAD_REPLAY,
    MP_ASKED_QUEUE,
    MP_ASKED_QUEUE_DROP_ALL,
    MP_ASKED_QUEUE_DROP,
    MP_ASKED_ALARMS,
};

enum {
    /* One answer of a list; what is left over is asked for with after. */
    MP_PAGE_DEFAULT = 100,
    MP_PAGE_MAX = 1000,
    /* A path with its query. */
    MP_TARGET_MAX = 4096,
    /* What comes with it: a payload is at most [mqtt] max_payload, a value of
     * state 64 KB. */
    MP_BODY_MAX = 1 << 20,
    /* Bytes of one answer; lists end before that. */
    MP_ANSWER_MAX = 16 << 20,
};

struct mp_request {
    enum mp_asked what;
    struct mp_slice function; /* ptr NULL: not given */
    struct mp_slice value;    /* name of a value of state */
    struct mp_slice key;      /* ptr NULL: not given; the function's own */
    struct mp_slice prefix;   /* "": all */
    struct mp_slice after;    /* names: "" from the first */
    int64_t after_id;         /* rows: 0 from the first; alarms: so many */
    int64_t id;
    struct mp_slice trigger; /* ptr NULL: none */
    bool wait;
    uint32_t limit; /* 1 to MP_PAGE_MAX */
    char *words;
};

/* target: path and query as they stand in the request's line. */
MP_MUST int mp_request_parse(struct mp_request *r, struct mp_slice method,
                             struct mp_slice target, struct mp_why *why);
void mp_request_fini(struct mp_request *r);

/* Append text as a part of a path or query: what has a meaning there is
 * percent-encoded. */
void mp_request_put(struct mp_buf *b, struct mp_slice text);

/*
 * A JSON value as a value of state.  A string is written to text, a table
 * borrows from json.  MP_EPARSE: it is no JSON, or null.
 */
MP_MUST int mp_request_value(struct mp_slice json, struct mp_value *value,
                             struct mp_buf *text, struct mp_why *why);

/* What is true of every value of state: lengths, UTF-8 in the name. */
MP_MUST int mp_request_check_value(struct mp_slice key, struct mp_slice name,
                                   const struct mp_value *value,
                                   struct mp_why *why);

#endif
