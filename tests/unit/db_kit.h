/*
 * db_kit.h - a database in a directory of its own, with the writer and the
 * reader as the host has them, for tests of what is kept in it.
 */
#ifndef MP_TEST_DB_KIT_H
#define MP_TEST_DB_KIT_H

#include "core/commit.h"
#include "core/reader.h"

struct db_kit {
    char dir[64];
    uv_loop_t loop;
    uv_timer_t deadline;
    struct mp_commit commit;
    struct mp_reader_thread reader;
    bool opened;
};

/* A new directory, and start. */
void db_kit_open(struct db_kit *k);
/* Stop, and the directory goes. */
void db_kit_close(struct db_kit *k);

/* Threads and connections; the directory stays. */
void db_kit_start(struct db_kit *k);
/* Commits what gathers first: mp_commit_close does. */
void db_kit_stop(struct db_kit *k);

/* Let the loop run until is(arg); fails after 30 s. */
void db_kit_until(struct db_kit *k, bool (*is)(void *arg), void *arg);
/* A mirror in the reader's thread, as the host loads its own; awaited. */
void db_kit_load(struct db_kit *k,
                 int (*load)(void *arg, struct mp_db *db, struct mp_why *why),
                 void *arg);
/* What goes with each transaction from now on; NULL: nothing. */
void db_kit_seal(struct db_kit *k,
                 void (*seal)(void *arg, struct mp_batch *batch), void *arg);
/* All that was recorded is durable. */
void db_kit_commit(struct db_kit *k);
/* One turn of the loop, without waiting. */
void db_kit_turn(struct db_kit *k);

/* A connection to read with; close it with mp_db_close. */
struct mp_db *db_kit_reader(struct db_kit *k);
/* Rows of a statement that has no parameters. */
unsigned db_kit_rows(struct db_kit *k, enum mp_sql sql);

#endif
