/*
 * store_query.c - reading: a statement of core/schema.c, bound and stepped.
 */
#include "core/store_db.h"

struct mp_query *mp_query_begin(struct mp_db *db, enum mp_sql sql)
{
    struct mp_query *q = &db->queries[sql];

    mp_db_check_thread(db);
    MP_ASSERT(sql < MP_SQLS && !q->begun);
    q->db = db;
    q->begun = true;
    q->bound = 0;
    q->rc = SQLITE_OK;
    db->begun++;
    if (!q->stmt) {
        q->rc = mp_db_prepare(db, mp_sql_text(sql), &q->stmt);
        q->params = sqlite3_bind_parameter_count(q->stmt);
    }
    return q;
}

/* Number of the next parameter; 0: there is no statement to bind to. */
static int next_param(struct mp_query *q)
{
    MP_ASSERT(q->begun);
    if (!q->stmt)
        return 0;
    MP_ASSERT(q->bound < q->params);
    return ++q->bound;
}

static void bound(struct mp_query *q, int rc)
{
    if (rc != SQLITE_OK && q->rc == SQLITE_OK)
        q->rc = rc;
}

void mp_query_int(struct mp_query *q, int64_t n)
{
    int i = next_param(q);

    if (i)
        bound(q, sqlite3_bind_int64(q->stmt, i, n));
}

void mp_query_real(struct mp_query *q, double x)
{
    int i = next_param(q);

    if (i)
        bound(q, sqlite3_bind_double(q->stmt, i, x));
}

void mp_query_text(struct mp_query *q, struct mp_slice text)
{
    int i = next_param(q);

    /* A NULL pointer would bind NULL. */
    if (i)
        bound(q, sqlite3_bind_text64(q->stmt, i, text.ptr ? text.ptr : "",
                                     text.len, SQLITE_STATIC, SQLITE_UTF8));
}

void mp_query_blob(struct mp_query *q, struct mp_slice bytes)
{
    int i = next_param(q);

    if (i)
        bound(q, sqlite3_bind_blob64(q->stmt, i, bytes.ptr ? bytes.ptr : "",
                                     bytes.len, SQLITE_STATIC));
}

void mp_query_null(struct mp_query *q)
{
    int i = next_param(q);

    if (i)
        bound(q, sqlite3_bind_null(q->stmt, i));
}

int mp_query_run(struct mp_query *q)
{
    MP_ASSERT(q->begun);
    if (q->rc != SQLITE_OK)
        return q->rc;
    MP_ASSERT(q->bound == q->params);
    return sqlite3_step(q->stmt);
}

int mp_query_step(struct mp_query *q, struct mp_why *why)
{
    int rc;

    mp_db_check_thread(q->db);
    rc = mp_query_run(q);
    if (rc == SQLITE_ROW)
        return 1;
    return rc == SQLITE_DONE ? 0 : mp_db_say_error(q->db, rc, why);
}

bool mp_column_is_null(struct mp_query *q, int column)
{
    return sqlite3_column_type(q->stmt, column) == SQLITE_NULL;
}

int64_t mp_column_int(struct mp_query *q, int column)
{
    return sqlite3_column_int64(q->stmt, column);
}

double mp_column_real(struct mp_query *q, int column)
{
    return sqlite3_column_double(q->stmt, column);
}

struct mp_slice mp_column_bytes(struct mp_query *q, int column)
{
    const void *bytes;

    if (mp_column_is_null(q, column))
        return mp_slice(NULL, 0);
    bytes = sqlite3_column_blob(q->stmt, column);
    return mp_slice(bytes ? bytes : "",
                    (size_t)sqlite3_column_bytes(q->stmt, column));
}

void mp_query_end(struct mp_query *q)
{
    MP_ASSERT(q->begun);
    mp_db_check_thread(q->db);
    sqlite3_reset(q->stmt);
    q->begun = false;
    q->db->begun--;
}

int mp_db_snapshot(struct mp_db *db, struct mp_why *why)
{
    int rc;

    mp_db_check_thread(db);
    MP_ASSERT(!db->snapshot);
    rc = mp_db_run(db, MP_OWN_SNAPSHOT, NULL);
    db->snapshot = rc == SQLITE_OK;
    return rc == SQLITE_OK ? 0 : mp_db_say_error(db, rc, why);
}

void mp_db_snapshot_end(struct mp_db *db)
{
    mp_db_check_thread(db);
    MP_ASSERT(db->begun == 0);
    /* An error may have ended it already; nothing was written. */
    if (db->snapshot && !sqlite3_get_autocommit(db->sqlite))
        mp_db_run(db, MP_OWN_ROLLBACK, NULL);
    db->snapshot = false;
}
