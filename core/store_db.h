/*
 * store_db.h - a connection as SQLite has it: what the files of the store
 * that call SQLite share.  Nobody else includes it.
 *
 *   store_count.c   bytes written, and why the disk refused some
 *   store_say.c     what SQLite says, in words
 *   store_open.c    is it ours and whole?  migrated and used then
 *   store.c         the connection, once it is open
 *   store_query.c   reading
 *   store_apply.c   writing
 */
#ifndef MP_STORE_DB_H
#define MP_STORE_DB_H

#include <pthread.h>
#include <sqlite3.h>

#include "core/store_impl.h"

enum {
    MP_DB_PAGE = 4096,
    MP_DB_DAMAGED = 1, /* beside the MP_E*: SQLite says so */
};

struct mp_query {
    struct mp_db *db;
    sqlite3_stmt *stmt;
    int params, bound;
    int rc; /* SQLite's, of preparing and binding */
    bool begun;
};

/* Statements of our own. */
enum mp_own {
    MP_OWN_BEGIN,
    MP_OWN_SNAPSHOT,
    MP_OWN_COMMIT,
    MP_OWN_ROLLBACK,
    MP_OWN_PAGES,
    MP_OWN_UNUSED,
    MP_OWNS
};

struct mp_db {
    sqlite3 *sqlite;
    char *path;
    uint64_t path_hash;
    pthread_t owner;
    uint64_t max_size;
    uint64_t used, written; /* written: by the thread before it was opened */
    int frames, tried;      /* in the WAL: now, at the last checkpoint */
    unsigned begun;         /* queries */
    bool snapshot, reads_only;
    sqlite3_stmt *own[MP_OWNS];
    struct mp_query queries[MP_SQLS];
};

/* No call of SQLite on a thread that must not wait. */
static inline void mp_db_check_thread(const struct mp_db *db)
{
    MP_ASSERT(pthread_equal(db->owner, pthread_self()));
}

/* ---- store_count.c ---- */

/* The VFS "moonpool" there is from now on; once a process. */
void mp_store_count(void);
/* Bytes that this thread has written. */
uint64_t mp_store_counted(void);
/* errno of the last write or sync that the disk refused this thread; told
 * once.  0: none. */
int mp_store_refused(void);

/* ---- store_say.c ---- */

/* What SQLite's rc means; returns the code for it, or MP_DB_DAMAGED. */
int mp_db_say(struct mp_db *db, int rc, struct mp_why *why);
/* As that, for callers that have no other way for damage. */
int mp_db_say_error(struct mp_db *db, int rc, struct mp_why *why);
int mp_db_say_quota(const struct mp_db *db, struct mp_why *why);
/* Has somebody met damage in it?  Trusted again: it was looked at. */
bool mp_db_is_suspected(const struct mp_db *db);
void mp_db_trust(void);

/* ---- store.c ---- */

int mp_db_prepare(struct mp_db *db, const char *text, sqlite3_stmt **stmt);
/* Run one of our own; SQLite's rc; *n: the number it says, if it does. */
int mp_db_run(struct mp_db *db, enum mp_own which, int64_t *n);
/* Note how much of the file is in use; SQLite's rc. */
int mp_db_measure(struct mp_db *db);

/* ---- store_query.c ---- */

void mp_query_real(struct mp_query *q, double x);
/* SQLITE_ROW, SQLITE_DONE or what went wrong. */
int mp_query_run(struct mp_query *q);

#endif
