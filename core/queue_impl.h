/*
 * queue_impl.h - what the files of the queue share and nobody else sees.
 *
 * Of every row an entry is kept, in order of ids, that says where its event
 * is:
 *
 *     MEMORY   an invocation has it (kept, or read back)
 *     SPILLED  on disk only; its turn comes in order of ids
 *     LATER    a send with a delay; in the heap
 *     RIPE     that is due; in its function's list, read by id
 *     BROKEN   it can't be read; it stays on disk, for who comes to look
 *     GONE     ended or dropped; the entry goes when there are many of these
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_QUEUE_IMPL_H
#define MP_QUEUE_IMPL_H

#include "core/base/clock.h"
#include "core/queue.h"

enum mp_queue_where {
    MP_ROW_MEMORY,
    MP_ROW_SPILLED,
    MP_ROW_LATER,
    MP_ROW_RIPE,
    MP_ROW_BROKEN,
    MP_ROW_GONE
};

struct mp_queue_entry {
    int64_t id;
    uint32_t bytes : 28; /* more is counted as so many */
    uint32_t where : 4;
    uint32_t kept_s; /* timeline; 0: before the start */
};

/* A send with a delay, until it is read. */
struct mp_queue_later {
    struct mp_due_item item;
    struct mp_link link; /* in ripe */
    struct mp_queue_fn *f;
    int64_t id;
    int64_t behind; /* the last row it must not overtake */
};

/* ---- queue_entries.c ---- */

/* NULL: there is none, or it is gone. */
struct mp_queue_entry *mp_queue_find(const struct mp_queue_fn *f, int64_t id);
/* Behind all others. */
void mp_queue_add(struct mp_queue_fn *f, int64_t id, uint64_t bytes,
                  enum mp_queue_where where, int64_t kept_us);
/* Its row is no more, or will be no more.  Entries may move. */
void mp_queue_take_out(struct mp_queue_fn *f, struct mp_queue_entry *e);
/* NULL: none is. */
struct mp_queue_entry *mp_queue_first_spilled(struct mp_queue_fn *f);

/* ---- queue_later.c ---- */

void mp_queue_add_later(struct mp_queue_fn *f, int64_t id, int64_t due_us);
void mp_queue_free_later(struct mp_queue_later *l);
/* Of one function, in the heap; id 0: all of them. */
void mp_queue_free_waiting(struct mp_queue_fn *f, int64_t id);
/* Of those that are due; NULL: none is. */
struct mp_queue_later *mp_queue_first_ripe(const struct mp_queue_fn *f);
void mp_queue_free_ripe(struct mp_queue_fn *f, int64_t id);
/* Set the timer: for the next that comes due, a page to be tried again, or at
 * once (soon). */
void mp_queue_arm(struct mp_queue *q);

/* ---- queue_row.c ---- */

/* Write it with the gathering transaction.  Returns its event as bytes, good
 * until the next one; ptr NULL: too large to be held so long. */
struct mp_slice mp_row_record(struct mp_queue_fn *f, struct mp_batch *b,
                              const struct mp_row *row, uint64_t bytes);
/* Returns the ticket. */
uint64_t mp_row_delete(struct mp_queue_fn *f, int64_t id);
/* Event, hops and extras of a row, from its bytes.  MP_EPARSE: malformed. */
MP_MUST int mp_row_get_event(struct mp_slice bytes, struct mp_row *row,
                             struct mp_pair *pairs);

static inline void mp_put_optional(struct mp_buf *b, struct mp_slice s)
{
    mp_put_u8(b, s.ptr != NULL);
    if (s.ptr)
        mp_put_slice(b, s);
}

static inline struct mp_slice mp_get_optional(struct mp_reader *r)
{
    return mp_get_u8(r) ? mp_get_slice(r) : (struct mp_slice){0};
}

/* ---- queue_page.c ---- */

/* Nobody wants what is being read. */
void mp_queue_page_forget(struct mp_queue_fn *f);
/* Its turn has come, if it is still SPILLED (ripe: RIPE). */
void mp_queue_hand_over(struct mp_queue_fn *f, struct mp_row *row,
                        struct mp_slice event, bool ripe);

/* ---- queue_recent.c ---- */

/* It was spilled just now.  event: as mp_row_record gave it. */
void mp_queue_recent_add(struct mp_queue_fn *f, const struct mp_row *row,
                         struct mp_slice event);
/* Is what comes next here? */
bool mp_queue_recent_is_next(struct mp_queue_fn *f);
/* Hand over what there is room for.  Not from inside a call of the queue's
 * user: found() is called. */
void mp_queue_recent_take(struct mp_queue_fn *f);
void mp_queue_recent_forget(struct mp_queue_fn *f);

/* ---- queue.c ---- */

static inline int64_t mp_queue_now(const struct mp_queue *q)
{
    return mp_timeline_at(q->timeline, mp_now_us());
}

#endif
