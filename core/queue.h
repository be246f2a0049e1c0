/*
 * queue.h - the durable queue: events that the host has taken over.
 *
 * Parked, retried and sent events are rows, in order of their ids.  Most are
 * invocations in memory too; their rows are written when a transaction is
 * sealed, so one that ends before that never touches the disk.  What finds
 * no room in its function's queue in memory is spilled: on disk only, and
 * everything that comes later goes behind it, until it has been read back
 * (refill), in order, by pages.  The last that were spilled are in memory as
 * well and need no reading, so a function leaves the disk as soon as its queue
 * has room for what waits, also while inputs keep coming.  (One whose backlog
 * stays longer than that is run from the disk for as long.)  A send with a
 * delay waits in a heap (its id and time) and is read when it is due, behind
 * what was spilled before.
 *
 *     keep ──► unsaved ──seal──► saved ──forget──► deleted
 *                 └── forget: nothing is written
 *
 * Process  host only.   Thread  loop thread; mp_queue_load in the reader's.
 * Memory   a record a function; 16 bytes a row, wherever its event is; 64
 *          more a delayed send; of the last spilled, 256 KB a function.
 * Errors   bounds: limits.park_bytes a function, [store] queue in all;
 *          has_room says so before.
 */
#ifndef MP_QUEUE_H
#define MP_QUEUE_H

#include "core/due.h"
#include "core/invocation.h"
#include "core/reader.h"
#include "core/timeline.h"

/* A row, read back. */
struct mp_row {
    int64_t id;
    struct mp_slice fn, okey;
    bool has_okey;
    int64_t due_us;      /* on the timeline; 0: at once */
    int64_t received_us; /* on the timeline, when its event came; 0: unknown */
    uint32_t attempt;
    struct mp_slice reason; /* "send", or mp_parked_name */
    uint32_t hops;          /* as of struct mp_invocation */
    struct mp_event event;  /* its attempt is the row's, its expiry the
                             * whole one */
    /* As of struct mp_input; ptr NULL: none. */
    struct mp_slice response_topic, correlation, exchange;
    int64_t exchange_us;
};

/* The constant text of a row's reason. */
const char *mp_row_reason(struct mp_slice reason);
/* Did a person ask for it again?  Then it never expires. */
bool mp_row_is_replay(struct mp_slice reason);

struct mp_queue_entry; /* a row: its id, bytes, and where its event is */
struct mp_queue_page;  /* rows that are being read */

/* The rows of one function; lives as long as the queue. */
struct mp_queue_fn {
    struct mp_link link;
    char name[MP_NAME_MAX + 1];
    struct mp_slot *slot; /* NULL: no such function now */
    uint64_t rows, bytes; /* on disk or about to be */
    uint64_t spilled;     /* of rows: not in memory, delayed sends excepted */
    uint64_t *flash;
    int64_t oldest_us; /* timeline, when the oldest row was kept (since a
                        * start: when it was loaded); 0: none */
    /* queue.c's */
    struct mp_queue *queue;
    struct mp_queue_entry *entries; /* by id */
    size_t n, cap, n_gone;          /* n_gone: of n, no rows any more */
    size_t first, at;               /* none live, none spilled before these */
    struct mp_link ripe;            /* delayed sends that are due */
    struct mp_queue_page *page;     /* NULL: nothing is being read */
    struct mp_link recent;          /* the last that were spilled */
    unsigned n_recent;
    size_t recent_bytes;
    struct mp_commit_wait wait;
    bool waiting;
    uint64_t ticket;    /* of the last row that was recorded on disk only */
    int64_t recorded;   /* its id */
    int64_t wait_to;    /* what the wait makes durable */
    int64_t durable_to; /* rows on disk only up to this id are durable */
    int64_t spilled_to; /* the last id that was spilled without a delay */
};

struct mp_queue_user {
    /*
     * A row's turn has come: make an invocation of it (with row = id, saved),
     * in this order, also when its function's queue is full: a page is what
     * there was room for when it was asked for.
     */
    void (*found)(void *arg, struct mp_slot *slot, const struct mp_row *row);
    /* How many may be read for it now? */
    unsigned (*room)(void *arg, struct mp_slot *slot);
    void *arg;
};

struct mp_queue {
    uv_loop_t *loop;
    struct mp_commit *commit;
    struct mp_reader_thread *reader;
    const struct mp_timeline *timeline;
    struct mp_queue_user user;
    struct mp_link fns;
    struct mp_link unsaved; /* invocations, by their link `unsaved` */
    struct mp_due later;    /* sends with a delay */
    uv_timer_t timer;
    bool again;            /* reading failed: to be tried again */
    bool soon;             /* there is room for what needs no reading */
    struct mp_buf scratch; /* bytes of the event that is being recorded */
    int64_t next_id;
    uint64_t rows, bytes, max_bytes; /* max: [store] queue */
    unsigned strange; /* rows with no id of ours, left out at loading; 0: none,
                       * or it is said */
};

void mp_queue_init(struct mp_queue *q, uv_loop_t *loop,
                   struct mp_commit *commit, struct mp_reader_thread *reader,
                   const struct mp_timeline *timeline, uint64_t max_bytes,
                   const struct mp_queue_user *user);
void mp_queue_fini(struct mp_queue *q);
/* Which rows there are; in the reader's thread. */
MP_MUST int mp_queue_load(struct mp_queue *q, struct mp_db *db,
                          struct mp_why *why);
void mp_queue_reset(struct mp_queue *q);
void mp_queue_seal(struct mp_queue *q, struct mp_batch *batch);

struct mp_queue_fn *mp_queue_fn(struct mp_queue *q, struct mp_slice name);
/* Its function is live (slot), or gone (NULL): read what waits for it. */
void mp_queue_bind(struct mp_queue *q, struct mp_slot *slot);
void mp_queue_unbind(struct mp_queue *q, struct mp_slot *slot);

/*
 * Inputs may fill three quarters of [store] queue, up to park_bytes of their
 * function; sends (park_bytes 0) all of it, so that what waits and sends can
 * always be done.  A function that has little on disk may add to it however
 * much others have there: one that parks all it can costs no other an input.
 */
enum { MP_QUEUE_SHARE = 16 }; /* little: up to this part of [store] queue */
bool mp_queue_has_room(const struct mp_queue *q, const struct mp_queue_fn *f,
                       uint64_t bytes, uint64_t park_bytes);

/* What the row of an invocation counts for. */
uint64_t mp_queue_bytes(struct mp_queue *q, const struct mp_invocation *inv);

/* Keep an invocation that is in memory: it has a row from now on, written at
 * the seal; again: with another attempt, due or reason (a replay stays one).
 * Returns the ticket. */
uint64_t mp_queue_keep(struct mp_queue *q, struct mp_invocation *inv,
                       const char *reason, int64_t due_us);
/* It has ended: its row goes with the gathering transaction.  0: nothing was
 * written and nothing will be. */
uint64_t mp_queue_forget(struct mp_queue *q, struct mp_invocation *inv);

/* It leaves memory (its function is gone): its row stays, on disk only.
 * Returns the ticket that makes that durable. */
uint64_t mp_queue_put_back(struct mp_queue *q, struct mp_invocation *inv);

/* Keep an event on disk only, behind all others of its function.  due_us: a
 * send with a delay; else 0.  Returns the ticket; *id: of the row. */
uint64_t mp_queue_spill(struct mp_queue *q, struct mp_queue_fn *f,
                        const struct mp_event *event,
                        const struct mp_slice *okey, const char *reason,
                        int64_t due_us, uint32_t hops, int64_t *id);
/* As that, without a delay, for an invocation that has no row yet: all that
 * its input has comes back with it, whom to answer too.  It is the caller's
 * to end. */
uint64_t mp_queue_spill_invocation(struct mp_queue *q,
                                   const struct mp_invocation *inv,
                                   const char *reason);
/* Must what comes now go behind what is on disk only? */
static inline bool mp_queue_is_spilled(const struct mp_queue_fn *f)
{
    return f->spilled > 0;
}
/*
 * Does something of it only wait for room in memory?  The user then says when
 * there may be some (refill): when runs begin and end, and when it would take
 * none at all and does again (refill_all).  Nobody else asks.
 */
static inline bool mp_queue_wants_room(const struct mp_queue_fn *f)
{
    return f->spilled > 0 || !mp_list_empty(&f->ripe);
}
/* Is that a delayed send that has come due, and no other is before it? */
bool mp_queue_is_ripe(struct mp_queue_fn *f);
void mp_queue_refill(struct mp_queue *q, struct mp_queue_fn *f);
void mp_queue_refill_all(struct mp_queue *q);

/* In found(): nothing can be made of that row; it goes with the gathering
 * transaction. */
void mp_queue_gone(struct mp_queue *q, struct mp_queue_fn *f, int64_t id);

/* Drop by id a row that is on disk only (a delayed send, too); false: it is
 * not one of these.  All of a function's that are on disk only: how many. */
bool mp_queue_drop(struct mp_queue *q, int64_t id);
unsigned mp_queue_drop_all(struct mp_queue *q, struct mp_queue_fn *f);

/* The row that MP_SQL_QUEUE_LIST stands on; pairs of MP_EVENT_PAIRS.
 * MP_EPARSE: its event can't be read. */
MP_MUST int mp_row_read(struct mp_query *query, struct mp_row *row,
                        struct mp_pair *pairs);
/* What a row counts for quotas. */
uint64_t mp_row_bytes(const struct mp_row *row);
/* The row, of the function that it names, as MP_SQL_QUEUE_PUT; bytes: as
 * mp_row_bytes.  scratch: emptied, then has the event as it is kept. */
void mp_row_put(struct mp_batch *b, const struct mp_row *row, uint64_t bytes,
                struct mp_buf *scratch);

#endif
