/*
 * replies.h - what requests were answered that changed something, for those
 * who repeat them.
 *
 * A client that heard nothing asks again: with the same message id (CoAP, RFC
 * 7252 4.5), or the same Idempotency-Key.  The answer is kept in the
 * transaction of what it promises, so that it is given again without a run,
 * also after a restart.  Answers of one transaction are one packed row; rows
 * whose time is over are deleted lazily.
 *
 * Process  host only.   Thread  loop thread; mp_replies_load in the reader's.
 * Memory   at most MP_REPLIES_MAX answers and MP_REPLIES_BYTES; the oldest go
 *          then, and that is said.
 */
#ifndef MP_REPLIES_H
#define MP_REPLIES_H

#include "core/commit.h"
#include "core/timeline.h"
#include "core/transport.h"

enum {
    MP_REPLIES_MAX = 50000,
    MP_REPLIES_BYTES = 8 << 20,
    /* A longer answer is not kept; that it was given is. */
    MP_REPLY_BYTES = 1 << 20,
};

struct mp_reply;

struct mp_replies {
    struct mp_commit *commit;
    const struct mp_timeline *timeline;
    struct mp_reply **buckets; /* by exchange */
    uint32_t n_buckets, n;
    size_t bytes;
    struct mp_link rows; /* oldest first */
    int64_t next_id;
    int64_t said_us;    /* when forgetting early was last said; 0: never */
    unsigned malformed; /* rows that could not be read at loading */
};

void mp_replies_init(struct mp_replies *r, struct mp_commit *commit,
                     const struct mp_timeline *timeline);
void mp_replies_fini(struct mp_replies *r);
MP_MUST int mp_replies_load(struct mp_replies *r, struct mp_db *db,
                            struct mp_why *why);
void mp_replies_reset(struct mp_replies *r);
void mp_replies_seal(struct mp_replies *r, struct mp_batch *batch);
/* Now and then (1 s): forget what is over, a bounded number a call. */
void mp_replies_tick(struct mp_replies *r);

/* What a row of that answer takes, at most. */
size_t mp_reply_bytes(const struct mp_answer *a);

/* The exchange is answered so, with the gathering transaction, for that long.
 * A copy is taken.  Returns the ticket. */
uint64_t mp_replies_add(struct mp_replies *r, struct mp_slice exchange,
                        const struct mp_answer *a, int64_t for_us);

/*
 * What was it answered?  a is borrowed until the next call; headers of
 * MP_PAIRS_MAX are what it points into.  False: nothing is known, or it is
 * over.  *ticket: what makes it durable (0: it is).
 */
bool mp_replies_get(struct mp_replies *r, struct mp_slice exchange,
                    struct mp_answer *a, struct mp_pair *headers,
                    uint64_t *ticket);

#endif
