/*
 * store.c - a connection that is open: our own statements, figures, the
 * checkpoint, the end.  The other files of the store stand in store_db.h.
 */
#include <stdlib.h>

#include "core/base/crash.h"
#include "core/store_db.h"

enum { FRAME = MP_DB_PAGE + 24 }; /* a page in the WAL */

static const char *const own_texts[MP_OWNS] = {
    [MP_OWN_BEGIN] = "BEGIN IMMEDIATE",
    [MP_OWN_SNAPSHOT] = "BEGIN",
    [MP_OWN_COMMIT] = "COMMIT",
    [MP_OWN_ROLLBACK] = "ROLLBACK",
    [MP_OWN_PAGES] = "PRAGMA page_count",
    [MP_OWN_UNUSED] = "PRAGMA freelist_count",
};

/* ---- statements ---- */

int mp_db_prepare(struct mp_db *db, const char *text, sqlite3_stmt **stmt)
{
    return sqlite3_prepare_v3(db->sqlite, text, -1, SQLITE_PREPARE_PERSISTENT,
                              stmt, NULL);
}

int mp_db_run(struct mp_db *db, enum mp_own which, int64_t *n)
{
    sqlite3_stmt **stmt = &db->own[which];
    int rc = *stmt ? SQLITE_OK : mp_db_prepare(db, own_texts[which], stmt);

    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(*stmt);
    if (rc == SQLITE_ROW && n)
        *n = sqlite3_column_int64(*stmt, 0);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        rc = SQLITE_OK;
    sqlite3_reset(*stmt);
    return rc;
}

int mp_db_measure(struct mp_db *db)
{
    int64_t pages = 0, unused = 0;
    int rc = mp_db_run(db, MP_OWN_PAGES, &pages);

    if (rc == SQLITE_OK)
        rc = mp_db_run(db, MP_OWN_UNUSED, &unused);
    if (rc == SQLITE_OK)
        db->used = (uint64_t)(pages - unused) * MP_DB_PAGE;
    return rc;
}

/* ---- the end ---- */

void mp_db_close(struct mp_db *db)
{
    if (!db)
        return;
    mp_db_check_thread(db);
    MP_ASSERT(db->begun == 0);
    for (unsigned i = 0; i < MP_SQLS; i++)
        sqlite3_finalize(db->queries[i].stmt);
    for (unsigned i = 0; i < MP_OWNS; i++)
        sqlite3_finalize(db->own[i]);
    MP_CRASH_POINT("store.before_close");
    MP_ASSERT(sqlite3_close(db->sqlite) == SQLITE_OK);
    free(db->path);
    free(db);
}

/* ---- figures, checkpoints ---- */

uint64_t mp_db_used(struct mp_db *db)
{
    mp_db_check_thread(db);
    if (db->reads_only) /* it does not see the commits go by */
        mp_db_measure(db);
    return db->used;
}

uint64_t mp_db_written(struct mp_db *db)
{
    mp_db_check_thread(db);
    return mp_store_counted() - db->written;
}

uint64_t mp_db_pending(struct mp_db *db)
{
    mp_db_check_thread(db);
    /* After a checkpoint that reached the end it begins anew. */
    return (uint64_t)(db->frames < db->tried ? db->frames
                                             : db->frames - db->tried) *
           FRAME;
}

void mp_db_checkpoint(struct mp_db *db)
{
    struct mp_why why;
    int rc;

    mp_db_check_thread(db);
    MP_CRASH_POINT("store.before_checkpoint");
    rc = sqlite3_wal_checkpoint_v2(db->sqlite, "main",
                                   SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    MP_CRASH_POINT("store.after_checkpoint");
    db->tried = db->frames;
    /* The WAL has it still; damage must be known, the rest will come again. */
    if (rc != SQLITE_OK)
        mp_db_say(db, rc, &why);
}

bool mp_db_is_idle(struct mp_db *db)
{
    mp_db_check_thread(db);
    return db->begun == 0 && !db->snapshot;
}
