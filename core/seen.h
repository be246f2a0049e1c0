/*
 * seen.h - ids of senders that were applied, for triggers with `dedupe`.
 *
 * A set of 128-bit hashes of (function, trigger, id), each with the time
 * until which it counts.  A repeat is told by its id alone, also after the
 * broker has forgotten everything.  Ids of one transaction are one packed
 * row; rows whose time is over are deleted lazily.  A row that can't be read
 * (the disk, a person) is said, and knows no ids until its time is over.
 *
 * Process  host only.   Thread  loop thread; mp_seen_load in the reader's.
 * Memory   40 bytes an id, at most MP_SEEN_MAX; the oldest go then, and that
 *          is said.
 */
#ifndef MP_SEEN_H
#define MP_SEEN_H

#include "core/commit.h"
#include "core/timeline.h"

enum { MP_SEEN_MAX = 1000000 };

struct mp_seen_entry;

struct mp_seen {
    struct mp_commit *commit;
    const struct mp_timeline *timeline;
    struct mp_seen_entry *entries; /* of rows, chained; place 0 is unused */
    uint32_t cap, used, unused;    /* unused: chain of those given back */
    uint32_t *slots;               /* open addressing: hash to entry */
    size_t n_slots, n_ids;
    struct mp_link rows; /* oldest first */
    struct mp_link *at;  /* row to look at next; the head: from the start */
    int64_t next_id;
    int64_t said_us;    /* when forgetting early was last said; 0: never */
    unsigned malformed; /* rows without ids at loading; 0: none, or said */
    int64_t first_malformed;
};

void mp_seen_init(struct mp_seen *s, struct mp_commit *commit,
                  const struct mp_timeline *timeline);
void mp_seen_fini(struct mp_seen *s);
MP_MUST int mp_seen_load(struct mp_seen *s, struct mp_db *db,
                         struct mp_why *why);
void mp_seen_reset(struct mp_seen *s);
void mp_seen_seal(struct mp_seen *s, struct mp_batch *batch);
/* Now and then (1 s): forget what is over, a bounded number a call. */
void mp_seen_tick(struct mp_seen *s);

/* Was it applied?  *ticket: what makes that durable (0: is already). */
bool mp_seen_has(const struct mp_seen *s, struct mp_slice fn,
                 struct mp_slice trigger, struct mp_slice id, uint64_t *ticket);
/* It is applied with the gathering transaction.  Returns the ticket. */
uint64_t mp_seen_add(struct mp_seen *s, struct mp_slice fn,
                     struct mp_slice trigger, struct mp_slice id,
                     int64_t for_us);

#endif
