/*
 * records.h - which inputs were taken, on disk: the durable half of
 * redelivery.h.
 *
 * With every commit that writes anything for an input goes an entry: lane,
 * sequence number, hash of topic and payload, and the function it was done for.
 * After a restart an input that is sent again (DUP, same session, same id
 * and hash) runs only for functions that have no entry.  When the broker has
 * proven that it saw the acknowledgement, the entry is let go.
 *
 * Entries of one transaction and lane are one row, packed; a row is deleted
 * when its last entry was let go, lazily.
 *
 *   entry: sequence (u32), hash (u64), function (u64: mp_record_function)
 *
 * A row that can't be read (the disk, a person) is left out and said, and its
 * inputs, should they be sent again, run again.  It goes with its session.
 *
 * Process  host only.   Thread  loop thread; mp_records_load in the reader's.
 * Memory   a record a row; entries are kept until their transaction leaves,
 *          and after loading until their lane has taken them.
 */
#ifndef MP_RECORDS_H
#define MP_RECORDS_H

#include "core/commit.h"

struct mp_record_row;

struct mp_records {
    struct mp_commit *commit;
    struct mp_record_row *rows; /* by id; those let go stay for a while */
    size_t n_rows, cap, gone;
    size_t sealed; /* rows before this one are on their way, or on disk */
    int64_t next_id;
    unsigned malformed; /* rows left out at loading; 0: none, or it is said */
    int64_t first_malformed;
};

void mp_records_init(struct mp_records *r, struct mp_commit *commit);
void mp_records_fini(struct mp_records *r);
MP_MUST int mp_records_load(struct mp_records *r, struct mp_db *db,
                            struct mp_why *why);
void mp_records_reset(struct mp_records *r);
void mp_records_seal(struct mp_records *r, struct mp_batch *batch);

/* A function's name as entries have it. */
uint64_t mp_record_function(struct mp_slice name);

/* Note that the function is done with that input, with the transaction that
 * gathers, which is wanted then.  Returns the row, for mp_records_let_go. */
int64_t mp_records_add(struct mp_records *r, const char *lane, uint32_t id,
                       uint64_t hash, uint64_t function);
/* One entry of that row is not needed any more. */
void mp_records_let_go(struct mp_records *r, int64_t row);
/* Another session: all entries of the lane go with the gathering
 * transaction. */
void mp_records_clear(struct mp_records *r, const char *lane);

/* The entries that were loaded for a lane, in order; call it once. */
void mp_records_take(struct mp_records *r, const char *lane,
                     void (*each)(void *arg, uint32_t id, uint64_t hash,
                                  uint64_t function, int64_t row),
                     void *arg);

#endif
