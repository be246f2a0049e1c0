/*
 * store.h - the database, and the only door to SQLite.
 *
 * One file in the data directory (WAL, synchronous=FULL).  A connection
 * belongs to one thread.  What is read and written stands in core/schema.c,
 * one statement a word (enum mp_sql); who uses it binds values in the order
 * of the statement's parameters and steps.
 *
 * What is to be written is recorded first, as a batch: the loop thread
 * records, the writer thread applies it in one transaction (core/commit.h).
 *
 *     mp_batch_op(b, MP_SQL_QUEUE_DELETE);
 *     mp_batch_int(b, row);
 *
 * Process  host; the command line when no host runs.
 * Thread   a connection is one thread's; a batch has one owner at a time.
 * Errors   MP_EIO with SQLite's reason in plain words ("the disk is full"),
 *          MP_EFULL past the quota, MP_EDENY: another process has the data
 *          directory, MP_EPARSE: of a newer moonpool; never touched then.
 */
#ifndef MP_STORE_H
#define MP_STORE_H

#include "core/base/slice.h"
#include "core/schema.h"

/* ---- the data directory: one process at a time ---- */

/*
 * Lock DATA/moonpool.lock for this process.  Returns a descriptor that holds
 * the lock until it is closed; MP_EDENY: another process has it (its pid is
 * in the sentence).
 */
MP_MUST int mp_store_lock(int dir_fd, struct mp_why *why);

/* ---- connections ---- */

struct mp_db;

struct mp_db_opened {
    bool created;           /* there was none */
    char set_aside[160];    /* a corrupt file is called so now; else "" */
    char aside_why[160];    /* what was wrong with it */
    unsigned migrated_from; /* schema version before; 0: as it is now */
};

/*
 * Open for writing: creates, checks, migrates.  max_size: quota in bytes; who
 * writes sees to that (core/commit.h).  Refused is what goes past a reserve
 * beyond it: an eighth, and 256 KB at least.
 * A file that SQLite finds corrupt is set aside under a new name in the same
 * directory, with its WAL, and a new one begun; one that can't be opened
 * otherwise (permissions, full disk, I/O, a newer schema, another program's)
 * is an error and is left as it is.
 */
MP_MUST int mp_db_open(struct mp_db **db, const char *data, uint64_t max_size,
                       struct mp_db_opened *opened, struct mp_why *why);
/* As that, but a damaged file is an error, and stays as it is. */
MP_MUST int mp_db_open_whole(struct mp_db **db, const char *data,
                             uint64_t max_size, struct mp_why *why);
/* Open for reading, after a mp_db_open succeeded. */
MP_MUST int mp_db_open_reader(struct mp_db **db, const char *data,
                              struct mp_why *why);
void mp_db_close(struct mp_db *db);

/* Bytes of the file that are in use, and written since it was opened, by
 * this thread (WAL and checkpoints). */
uint64_t mp_db_used(struct mp_db *db);
uint64_t mp_db_written(struct mp_db *db);

/* Copy what the WAL holds into the file, as far as no reader stands in the
 * way; of use between transactions.  Nothing does it by itself but close. */
void mp_db_checkpoint(struct mp_db *db);
/* Bytes that came into the WAL since then. */
uint64_t mp_db_pending(struct mp_db *db);
/* No query is begun, no snapshot open. */
bool mp_db_is_idle(struct mp_db *db);

/* ---- reading ---- */

/*
 * Bind the parameters in order, step, take columns, end.  A statement is
 * prepared once a connection.  Texts and blobs bound must live until end;
 * slices of columns until the next step.
 */
struct mp_query;

struct mp_query *mp_query_begin(struct mp_db *db, enum mp_sql sql);
void mp_query_int(struct mp_query *q, int64_t n);
void mp_query_text(struct mp_query *q, struct mp_slice text);
void mp_query_blob(struct mp_query *q, struct mp_slice bytes);
void mp_query_null(struct mp_query *q);
/* 1: a row; 0: none left; MP_EIO. */
MP_MUST int mp_query_step(struct mp_query *q, struct mp_why *why);
bool mp_column_is_null(struct mp_query *q, int column);
int64_t mp_column_int(struct mp_query *q, int column);
double mp_column_real(struct mp_query *q, int column);
/* ptr NULL for NULL */
struct mp_slice mp_column_bytes(struct mp_query *q, int column);
void mp_query_end(struct mp_query *q);

/* One snapshot for several queries (readers); begins with the first. */
MP_MUST int mp_db_snapshot(struct mp_db *db, struct mp_why *why);
void mp_db_snapshot_end(struct mp_db *db);

/* ---- writing ---- */

/* Who caused how many bytes of a batch. */
struct mp_share {
    uint64_t *counter; /* bytes written are added here when it is durable */
    uint64_t bytes;    /* recorded */
};

struct mp_batch {
    struct mp_buf ops;
    unsigned n; /* operations */
    struct mp_share *shares;
    unsigned n_shares, cap_shares;
    unsigned sharing; /* index of the share that ops go to */
};

void mp_batch_init(struct mp_batch *b);
void mp_batch_fini(struct mp_batch *b);
void mp_batch_reset(struct mp_batch *b); /* empty; keeps up to 1 MiB */

/* What follows is on this counter's account; NULL: the host's own. */
void mp_batch_share(struct mp_batch *b, uint64_t *counter);
/* Begin an operation; its arguments follow, in order, all of them. */
void mp_batch_op(struct mp_batch *b, enum mp_sql sql);
void mp_batch_int(struct mp_batch *b, int64_t n);
void mp_batch_real(struct mp_batch *b, double x);
void mp_batch_text(struct mp_batch *b, struct mp_slice text);
void mp_batch_blob(struct mp_batch *b, struct mp_slice bytes);
void mp_batch_null(struct mp_batch *b);
/* text, or NULL when ptr is NULL */
void mp_batch_optional(struct mp_batch *b, struct mp_slice text);

/* Apply all of it in one transaction, durable on return 0.  After an error
 * nothing of it is seen by this connection; close it and open it again. */
MP_MUST int mp_db_apply(struct mp_db *db, const struct mp_batch *b,
                        struct mp_why *why);

#endif
