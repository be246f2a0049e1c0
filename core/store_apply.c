/*
 * store_apply.c - writing: a batch (core/store_impl.h draws it) becomes one
 * transaction.
 */
#include "core/base/crash.h"
#include "core/store_db.h"

static void bind(struct mp_query *q, const struct mp_item *item)
{
    double x;

    switch (item->kind) {
    case MP_ITEM_INT:
        mp_query_int(q, item->n);
        return;
    case MP_ITEM_REAL:
        memcpy(&x, &item->n, sizeof x);
        mp_query_real(q, x);
        return;
    case MP_ITEM_TEXT:
        mp_query_text(q, item->bytes);
        return;
    case MP_ITEM_BLOB:
        mp_query_blob(q, item->bytes);
        return;
    case MP_ITEM_NULL:
        mp_query_null(q);
        return;
    case MP_ITEM_OP:
        break;
    }
    MP_ASSERT(!"a batch holds nothing else");
}

/* Run the operation whose arguments are bound. */
static int finish_op(struct mp_query *q)
{
    int rc = mp_query_run(q);

    mp_query_end(q);
    MP_ASSERT(rc != SQLITE_ROW);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int apply_ops(struct mp_db *db, const struct mp_batch *b)
{
    struct mp_slice rest = mp_buf_bytes(&b->ops);
    struct mp_query *q = NULL;
    struct mp_item item;
    int rc = SQLITE_OK;

    while (mp_item_next(&rest, &item)) {
        if (item.kind != MP_ITEM_OP) {
            MP_ASSERT(q != NULL);
            bind(q, &item);
            continue;
        }
        if (q)
            rc = finish_op(q);
        if (rc != SQLITE_OK)
            return rc;
        MP_ASSERT(item.n >= 0 && item.n < MP_SQLS);
        q = mp_query_begin(db, (enum mp_sql)item.n);
    }
    return q ? finish_op(q) : SQLITE_OK;
}

/* Somebody may delete or move the file; SQLite would go on writing to what
 * has no name any more. */
static bool is_moved(struct mp_db *db)
{
    int moved = 0;

    sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return moved != 0;
}

static int apply(struct mp_db *db, const struct mp_batch *b, struct mp_why *why)
{
    int rc;

    if (is_moved(db))
        return mp_why_set(why, MP_EIO, "%s was moved or deleted", db->path);
    rc = mp_db_run(db, MP_OWN_BEGIN, NULL);
    if (rc != SQLITE_OK)
        return mp_db_say_error(db, rc, why);
    rc = apply_ops(db, b);
    if (rc == SQLITE_OK)
        rc = mp_db_measure(db);
    if (rc == SQLITE_FULL)
        return mp_db_say_quota(db, why);
    if (rc != SQLITE_OK)
        return mp_db_say_error(db, rc, why);
    MP_CRASH_POINT("store.before_commit");
    rc = mp_db_run(db, MP_OWN_COMMIT, NULL);
    MP_CRASH_POINT("store.after_commit");
    return rc == SQLITE_OK ? 0 : mp_db_say_error(db, rc, why);
}

int mp_db_apply(struct mp_db *db, const struct mp_batch *b, struct mp_why *why)
{
    int rc;

    mp_db_check_thread(db);
    MP_ASSERT(!db->reads_only && mp_db_is_idle(db));
    if (b->n == 0)
        return 0;
    if (mp_db_is_suspected(db))
        return mp_why_set(why, MP_EIO, "the database is damaged");
    rc = apply(db, b, why);
    if (rc && !sqlite3_get_autocommit(db->sqlite))
        mp_db_run(db, MP_OWN_ROLLBACK, NULL);
    return rc;
}
