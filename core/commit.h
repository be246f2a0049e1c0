/*
 * commit.h - makes what happened real: transactions, one after the other.
 *
 * The loop gathers a transaction while the writer thread puts the one before
 * on disk.  Whoever needs to know when something is durable takes the ticket
 * of the gathering transaction; tickets become durable in order.
 *
 *     gathering ──seal──► writing ──► durable: waiters are called, in order
 *      (loop)             (writer)
 *
 * Most of what is dirty (values of state, alarms, rows of the queue) is not
 * recorded when it changes: the owners write what has changed when the
 * transaction is sealed.  So a value that changes a hundred times within one
 * commit is written once, and what came and went leaves no byte.
 *
 * A transaction leaves when the writer is idle and either nothing else is on
 * its way (more = false) or `commit_interval` has passed since the last one
 * left.
 *
 * When a transaction fails, nothing of it nor of what was gathered since is
 * on disk: every open waiter is called with the error, the user is told, and
 * the writer closes the database and tries to open it again (1 s, doubling
 * to 30 s; at once when space may have come back).  Until `opened` is called
 * again nothing can be committed: what is recorded is dropped, who waits is
 * called with the error at the next turn.  Tickets of one failure are never
 * durable, those of the failure before it are forgotten.  Before the first
 * mp_commit_go things gather and wait.
 *
 * A transaction must not fail for the database's size in normal work.  So
 * what makes it grow asks for room first, and says so with mp_commit_grow; how
 * large it has become is known when the transaction is durable.  The last
 * thirty-second of max_size, and a reserve beyond it (core/store.h), are for
 * what always goes through: deletions, values of the same size, a person.
 * Should one fail for its size nevertheless, there is no room until the
 * database has become smaller, or the limit larger.
 *
 * After a failure the database is uneasy for a while (1 s, doubling to 30 s
 * while failures follow each other; not once the disk has more room): open,
 * so that a person can delete, but no input should come.
 *
 * What the writer has put on disk is accounted to the shares of the batch
 * (core/store.h) when it is durable; the rest to mp_metrics.flash.
 *
 * Process  host only.
 * Thread   loop thread; the writer thread is inside.
 * Memory   two batches.
 */
#ifndef MP_COMMIT_H
#define MP_COMMIT_H

#include <pthread.h>
#include <uv.h>

#include "core/base/list.h"
#include "core/store.h"

struct mp_commit_wait {
    struct mp_link link;
    uint64_t ticket;
    /* rc 0: durable; MP_EIO: its transaction failed.  Not linked any more. */
    void (*done)(struct mp_commit_wait *w, int rc);
};

struct mp_commit_user {
    /* The database is open (again): load the mirrors, then mp_commit_go. */
    void (*opened)(void *arg, const struct mp_db_opened *opened);
    /* It can't be opened, and why; told when the reason changes. */
    void (*unable)(void *arg, const struct mp_why *why);
    /* A transaction failed, after its waiters were told.  It is closed now
     * and `opened` follows some time. */
    void (*failed)(void *arg, const struct mp_why *why);
    /* The gathering transaction leaves: record what is dirty. */
    void (*seal)(void *arg, struct mp_batch *batch);
    void *arg;
};

enum mp_commit_order {
    MP_COMMIT_NOTHING,
    MP_COMMIT_OPEN,
    MP_COMMIT_REOPEN,
    MP_COMMIT_WRITE,
    MP_COMMIT_END
};

struct mp_commit {
    uv_loop_t *loop;
    const char *data; /* directory */
    uint64_t max_size;
    int64_t interval_us;
    struct mp_commit_user user;
    pthread_t thread;
    pthread_mutex_t lock; /* what stands between here and `end` below */
    pthread_cond_t wake;  /* of the writer */
    pthread_cond_t told;  /* of mp_commit_close, which waits for an answer */
    enum mp_commit_order order;  /* for the writer */
    enum mp_commit_order answer; /* what it has done */
    int answer_rc;
    struct mp_why answer_why;
    struct mp_db_opened answer_opened;
    uint64_t answer_written, answer_used; /* end */
    uv_async_t answered;
    uv_timer_t pace, again;
    struct mp_batch batch[2];
    unsigned gathering; /* index of the batch that gathers */
    bool wanted;        /* somebody has its ticket */
    bool more;          /* as the last turn said */
    bool writing, is_open, running;
    bool lost;                   /* failed, and not opened again since */
    bool uneasy;                 /* failed not long ago */
    bool calling;                /* waiters are being called */
    uint64_t ticket;             /* of the gathering transaction */
    uint64_t durable;            /* all up to this one are, but for */
    uint64_t lost_from, lost_to; /* those after `from` up to `to` */
    int64_t left_us;             /* when the last one left */
    int64_t lazy_us; /* when the first lazy operation came; 0: none has */
    uint64_t backoff_ms, open_at_ms;              /* on the loop's clock */
    uint64_t unease_ms, easy_at_ms, failed_at_ms; /* as well; 0: never */
    uint64_t free_bytes;    /* of the disk, when it failed */
    struct mp_link waiters; /* by ticket */
    char *failure;          /* why it is not open; NULL: it is */
    uint64_t used;          /* bytes of the database, at the last commit */
    uint64_t grow[2];       /* and what each batch may add */
    uint64_t full_at; /* one failed for its size with so many; 0: none has */
    uint64_t written; /* of the open one, as far as it is accounted */
};

/* Start the writer and open the database; `opened` or `unable` follows. */
void mp_commit_open(struct mp_commit *c, uv_loop_t *loop, const char *data,
                    uint64_t max_size, int64_t interval_us,
                    const struct mp_commit_user *user);
/* The mirrors are loaded: transactions may leave. */
void mp_commit_go(struct mp_commit *c);
/* What was read before mp_commit_go makes no sense: the writer closes the
 * database and opens it again, looking at it closely; `opened` or `unable`
 * follows. */
void mp_commit_reopen(struct mp_commit *c);
/*
 * Commits what gathers if it can, and ends the writer.  Blocks for that, for
 * a few seconds at most.  Waiters of what becomes durable meanwhile are
 * called; the others are forgotten.  Close the reader first: the last one out
 * empties the WAL.
 */
void mp_commit_close(struct mp_commit *c);

/* Something dirty must be written: the ticket to wait for. */
uint64_t mp_commit_ticket(struct mp_commit *c);
static inline bool mp_commit_is_durable(const struct mp_commit *c,
                                        uint64_t ticket)
{
    return ticket <= c->durable &&
           (ticket <= c->lost_from || ticket > c->lost_to);
}

/* Bytes that are recorded for the gathering transaction. */
static inline size_t mp_commit_gathered(const struct mp_commit *c)
{
    return c->batch[c->gathering].ops.len;
}

/* ---- room ---- */

/* What a row with so many bytes of contents may add to the file, at worst:
 * pages are half full, and what is large has pages of its own. */
uint64_t mp_commit_row_cost(uint64_t bytes);
/* What a row may add that had `old` bytes and gets more (else 0). */
uint64_t mp_commit_change_cost(uint64_t old, uint64_t bytes);
/* May the database grow by so many bytes?  now: with all that is on its way;
 * later: when that has turned out to be as little as it can be. */
bool mp_commit_has_room(const struct mp_commit *c, uint64_t bytes);
bool mp_commit_has_room_later(const struct mp_commit *c, uint64_t bytes);
/* It will, with the gathering transaction. */
static inline void mp_commit_grow(struct mp_commit *c, uint64_t bytes)
{
    c->grow[c->gathering] += bytes;
}
/* It will not, after all. */
static inline void mp_commit_grow_not(struct mp_commit *c, uint64_t bytes)
{
    uint64_t *grow = &c->grow[c->gathering];

    *grow -= bytes < *grow ? bytes : *grow;
}

/* To record an operation directly.  Wants the transaction. */
struct mp_batch *mp_commit_batch(struct mp_commit *c);
/* As that, but does not want it: it goes with the next that is wanted, or
 * after a second (rows to delete). */
struct mp_batch *mp_commit_batch_lazy(struct mp_commit *c);

/*
 * Call done when the ticket is durable; never from inside this call (if it is
 * durable already, at the next mp_commit_turn, or a few milliseconds later).
 * w is the caller's.
 */
void mp_commit_wait(struct mp_commit *c, struct mp_commit_wait *w,
                    uint64_t ticket,
                    void (*done)(struct mp_commit_wait *w, int rc));
/* Forget it (done will not be called). */
void mp_commit_wait_not(struct mp_commit_wait *w);

/* Once a loop turn, after work was handed out.  more: there will be more for
 * this transaction soon, so that waiting for it pays. */
void mp_commit_turn(struct mp_commit *c, bool more);

#endif
