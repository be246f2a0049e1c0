/*
 * wire.h - what host and worker say to each other, byte by byte.
 *
 * A frame is a length (u32, of what follows the type), a type (u8) and a
 * body.  Both ends run on one machine, so numbers are in its own byte order;
 * a slice is its length (u32) and its bytes.
 *
 *   host to worker                      worker to host
 *   LOAD    a function's files          READY   caged, waiting
 *   UNLOAD  its id                      LOADED  image made, or why not
 *   RUN     an event for a function     DONE    outcome, effects, log
 *   RESUME  what a waiting run gets     WAIT    a run is suspended
 *   CANCEL  forget a waiting run
 *
 * Beside the socket the two share one page, see struct mp_page.
 *
 * The worker is never trusted: every get checks its bounds and makes the
 * reader bad, after which all gets return zeroes; one check at the end.
 *
 * Thread   any; a reader or buffer belongs to one thread.
 * Memory   what is read is borrowed from the frame.
 */
#ifndef MP_BASE_WIRE_H
#define MP_BASE_WIRE_H

#include <stdatomic.h>

#include "core/base/event.h"

enum mp_frame {
    MP_FRAME_LOAD = 1,
    MP_FRAME_UNLOAD,
    MP_FRAME_RUN,
    MP_FRAME_RESUME,
    MP_FRAME_CANCEL,
    MP_FRAME_READY = 16,
    MP_FRAME_LOADED,
    MP_FRAME_DONE,
    MP_FRAME_WAIT,
};

enum { MP_FRAME_HEAD = 5 };

/*
 * The page host and worker share.  Each field has one writer.  Ids of runs
 * and loads come from one counter of the host that only grows, so "up to"
 * means "handed over no later than".
 *
 * generation is odd while user code runs (also a file's first run) and even
 * between: it grows by one when user code is entered and when it is left.
 * When a run is late the host writes the generation it means into late and
 * sends MP_SIGNAL; the handler in the worker acts only if that generation
 * still runs.  A signal without that asks the worker to send the outcomes it
 * has finished, so that a slow run doesn't hold back the ones before it.
 * A RUN frame whose id is not above recalled, and which has not been
 * started, is skipped: the host has given that event to somebody else.
 */
struct mp_page {
    /* the worker writes, the host takes them as a hint only */
    _Atomic uint64_t generation;
    _Atomic uint64_t run;     /* id of the run or load that is on */
    _Atomic int64_t start_us; /* mp_now_us when user code was entered */
    /* the host writes */
    _Atomic uint64_t late;
    _Atomic uint64_t recalled;
};

/* Two processes share the page and a signal handler reads it: an atomic that
 * is a lock in disguise would be one in each of them, and a deadlock here. */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2,
               "64-bit atomics must be lock-free on this machine");

#define MP_SIGNAL SIGUSR1

/* The worker finds these open when it starts. */
enum { MP_FD_SOCKET = 3, MP_FD_PAGE = 4 };

/* A function for a worker.  At most MP_FILES_MAX files. */
struct mp_load {
    uint64_t id; /* of this load, from the counter of runs */
    uint32_t fn; /* the host's number for this version */
    struct mp_slice name, version, node;
    struct mp_slice zone;   /* a table of local.h, for os.date; empty: UTC */
    struct mp_slice prefix; /* topics of the host, [mqtt] prefix */
    uint32_t memory;        /* limit of the arena, bytes */
    uint32_t outputs, output_bytes, log_bytes;
    int64_t fake_wall_us;              /* as in struct mp_run */
    const struct mp_pair *env, *files; /* files: path, text */
    uint32_t n_env, n_files;
    /* publish filters, names of triggers, functions it may send to */
    const struct mp_slice *grants, *triggers, *sends;
    uint32_t n_grants, n_triggers, n_sends;
    bool has_state;                /* it has a [state] section */
    bool has_key;                  /* ... with a key: mp.state.of, actors */
    uint64_t state_quota;          /* for messages */
    const struct mp_pair *secrets; /* names it was granted, and values */
    uint32_t n_secrets;
    /* paths of its observe triggers, as filters: what mp.notify may name */
    const struct mp_slice *observes;
    uint32_t n_observes;
};

/* Arrays that a decoded load points into; freed by mp_load_fini. */
struct mp_load_store {
    struct mp_pair *pairs;
    struct mp_slice *slices;
};

/* Answers a LOAD. */
struct mp_loaded {
    uint64_t id;
    uint32_t fn;
    enum mp_kind kind;    /* ok, error, timeout, memory */
    uint32_t image_bytes; /* what each run copies */
    uint32_t load_us;
    bool single; /* one handler for all triggers, not a table */
    struct mp_slice error, traceback;
    /* a table of handlers: its names, each in the list of triggers or
     * "alarm", "send"; missing and unknown ones are told by the check */
    const struct mp_slice *handlers;
    uint32_t n_handlers;
    uint32_t n_logs, logs_cut;
    struct mp_slice logs;
};

/* The values of the event's actor, as they travel with it. */
struct mp_run_state {
    bool complete; /* all of them; else those beyond are asked for (WAIT) */
    int64_t left;  /* bytes that the function's quota has left */
    uint32_t n;
    struct mp_slice entries; /* n of them; read with mp_get_entry */
};

struct mp_run {
    uint64_t id;
    uint32_t fn;
    int64_t fake_wall_us; /* mp.now in tests; 0: the real clocks */
    bool clock_ok;
    struct mp_event event;
    struct mp_run_state state; /* empty without [state] */
};

/* What a decoded run points into; freed by mp_run_fini.  One event needs no
 * memory beyond this. */
struct mp_run_store {
    struct mp_pair pairs[MP_EVENT_PAIRS]; /* of the event */
    struct mp_event *events; /* of a batch, their pairs behind them; or NULL */
};

/*
 * What a run waits for.  The others are answered with entries:
 *   GET     the value of name; no entry: there is none
 *   NAMES   names that start with name, no values; sorted
 *   EACH    as NAMES, with values
 *   ACTORS  keys that start with name, as names; sorted, at most limit
 * NAMES, EACH and ACTORS give what comes after `after`, and say more when
 * they end before the end.  of = false: the event's own actor, as committed
 * before this event; true: the actor key, as committed.
 */
enum mp_wait_kind {
    MP_WAIT_SLEEP = 1, /* for delay_us */
    MP_WAIT_GET,
    MP_WAIT_NAMES,
    MP_WAIT_EACH,
    MP_WAIT_ACTORS,
    MP_WAIT_KINDS
};

struct mp_wait {
    uint64_t run;
    enum mp_wait_kind kind;
    int64_t delay_us;
    bool of;
    struct mp_slice key, name, after;
    uint32_t limit;
    uint32_t run_ns; /* user code so far, this turn */
    uint32_t memory; /* bytes the waiting instance takes */
};

struct mp_resume {
    uint64_t run;
    int64_t fake_wall_us; /* 0: the real clocks */
    bool more;            /* there are others behind the last one */
    uint32_t n;
    struct mp_slice entries; /* read with mp_get_entry */
    struct mp_slice error;   /* empty: none; else it raises with this */
};

/* ---- writing ---- */

/* Start a frame; give what it returns to mp_frame_end. */
size_t mp_frame_begin(struct mp_buf *b, enum mp_frame type);
void mp_frame_end(struct mp_buf *b, size_t mark);

/* Small and called some forty times an event: inline. */
static inline void mp_put_u8(struct mp_buf *b, uint8_t n)
{
    mp_buf_put(b, &n, sizeof n);
}

static inline void mp_put_u32(struct mp_buf *b, uint32_t n)
{
    mp_buf_put(b, &n, sizeof n);
}

static inline void mp_put_u64(struct mp_buf *b, uint64_t n)
{
    mp_buf_put(b, &n, sizeof n);
}

static inline void mp_put_slice(struct mp_buf *b, struct mp_slice s)
{
    uint32_t len = (uint32_t)s.len;
    char *room = mp_buf_room(b, sizeof len + s.len);

    if (!room)
        return;
    memcpy(room, &len, sizeof len);
    if (len)
        memcpy(room + sizeof len, s.ptr, len);
    b->len += sizeof len + len;
}

/* A value, and an entry of a list of them. */
void mp_put_value(struct mp_buf *b, const struct mp_value *v);
void mp_put_entry(struct mp_buf *b, const struct mp_entry *e);

/* An event by itself, as it is kept in the database.  Those of a batch are
 * not written: each has a row of its own. */
void mp_put_event(struct mp_buf *b, const struct mp_event *e);

/* Whole frames. */
void mp_wire_load(struct mp_buf *b, const struct mp_load *load);
void mp_wire_unload(struct mp_buf *b, uint32_t fn);
void mp_wire_run(struct mp_buf *b, const struct mp_run *run);
void mp_wire_resume(struct mp_buf *b, const struct mp_resume *resume);
void mp_wire_cancel(struct mp_buf *b, uint64_t run);
void mp_wire_ready(struct mp_buf *b);
void mp_wire_loaded(struct mp_buf *b, const struct mp_loaded *loaded);
void mp_wire_wait(struct mp_buf *b, const struct mp_wait *wait);
void mp_wire_done(struct mp_buf *b, const struct mp_outcome *out);

/* One element of an outcome's effects, verdicts or logs. */
void mp_wire_put_effect(struct mp_buf *b, const struct mp_effect *effect);
void mp_wire_put_verdict(struct mp_buf *b, const struct mp_verdict *verdict);
void mp_wire_put_log(struct mp_buf *b, const struct mp_log_line *line);

/* ---- reading ---- */

struct mp_reader {
    const char *at, *end;
    bool bad;
};

static inline struct mp_reader mp_reader(struct mp_slice bytes)
{
    return (struct mp_reader){bytes.ptr, bytes.ptr + bytes.len, false};
}

/*
 * Take the first frame of bytes.  Returns its whole length and sets type and
 * body; 0: not there yet; MP_EPARSE: longer than MP_FRAME_MAX.
 */
MP_MUST int mp_frame_next(struct mp_slice bytes, uint8_t *type,
                          struct mp_slice *body);

/* The next len bytes; NULL and bad: there are less. */
static inline const char *mp_get_bytes(struct mp_reader *r, size_t len)
{
    const char *at = r->at;

    if (r->bad || len > (size_t)(r->end - r->at)) {
        r->bad = true;
        return NULL;
    }
    r->at += len;
    return at;
}

static inline uint8_t mp_get_u8(struct mp_reader *r)
{
    const char *at = mp_get_bytes(r, 1);

    return at ? (uint8_t)*at : 0;
}

static inline uint32_t mp_get_u32(struct mp_reader *r)
{
    const char *at = mp_get_bytes(r, sizeof(uint32_t));
    uint32_t n = 0;

    if (at)
        memcpy(&n, at, sizeof n);
    return n;
}

static inline uint64_t mp_get_u64(struct mp_reader *r)
{
    const char *at = mp_get_bytes(r, sizeof(uint64_t));
    uint64_t n = 0;

    if (at)
        memcpy(&n, at, sizeof n);
    return n;
}

static inline struct mp_slice mp_get_slice(struct mp_reader *r)
{
    uint32_t len = mp_get_u32(r);
    const char *at = mp_get_bytes(r, len);

    return at ? mp_slice(at, len) : mp_slice("", 0);
}

/* On malformed bytes they make the reader bad. */
struct mp_value mp_get_value(struct mp_reader *r);
struct mp_entry mp_get_entry(struct mp_reader *r);
/* params, properties, query and headers point into pairs, of
 * MP_EVENT_PAIRS */
void mp_get_event(struct mp_reader *r, struct mp_event *e,
                  struct mp_pair *pairs);

/* Bodies of frames; MP_EPARSE unless the body is exactly one of its kind. */
MP_MUST int mp_read_load(struct mp_slice body, struct mp_load *load,
                         struct mp_load_store *store);
void mp_load_fini(struct mp_load_store *store);
MP_MUST int mp_read_unload(struct mp_slice body, uint32_t *fn);
/* With MP_EPARSE there is nothing to free. */
MP_MUST int mp_read_run(struct mp_slice body, struct mp_run *run,
                        struct mp_run_store *store);
void mp_run_fini(struct mp_run_store *store);
MP_MUST int mp_read_resume(struct mp_slice body, struct mp_resume *resume);
MP_MUST int mp_read_cancel(struct mp_slice body, uint64_t *run);
/* handlers point into names, of MP_TRIGGERS_MAX */
MP_MUST int mp_read_loaded(struct mp_slice body, struct mp_loaded *loaded,
                           struct mp_slice *names);
MP_MUST int mp_read_wait(struct mp_slice body, struct mp_wait *wait);
MP_MUST int mp_read_done(struct mp_slice body, struct mp_outcome *out);
/* The headers of a reply, as bytes; and into headers, of MP_PAIRS_MAX.
 * MP_EPARSE: malformed. */
void mp_put_headers(struct mp_buf *b, const struct mp_pair *headers,
                    uint32_t n);
MP_MUST int mp_read_headers(const struct mp_outcome *out,
                            struct mp_pair *headers);

/* The next element; pairs of MP_PAIRS_MAX.  MP_EPARSE: malformed. */
MP_MUST int mp_read_effect(struct mp_reader *r, struct mp_effect *effect,
                           struct mp_pair *pairs);
MP_MUST int mp_read_verdict(struct mp_reader *r, struct mp_verdict *verdict);
MP_MUST int mp_read_log(struct mp_reader *r, struct mp_log_line *line,
                        struct mp_pair *pairs);

#endif
