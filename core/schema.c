/*
 * schema.c - the tables and the statements.
 *
 * Times are microseconds on the host's timeline (core/timeline.h), "at" of
 * alarms and "time" of dead letters excepted: those are of the wall clock.
 * Values of state are in SQLite's own types, so that `sqlite3` shows them as
 * a person expects: kind says what Lua calls them.
 */
#include "core/schema.h"

#include <stddef.h>

#include "core/base/why.h"

static const char VERSION_1[] =
    "CREATE TABLE state ("
    " fn TEXT NOT NULL, actor TEXT NOT NULL, name TEXT NOT NULL,"
    " kind TEXT NOT NULL, value, expires INTEGER,"
    " PRIMARY KEY (fn, actor, name)) WITHOUT ROWID;"
    "CREATE INDEX state_expires ON state (expires)"
    " WHERE expires IS NOT NULL;"
    /* okey: the order key, NULL: in no order; due 0: at once; event: as
     * mp_put_event writes it */
    "CREATE TABLE queue ("
    " id INTEGER PRIMARY KEY, fn TEXT NOT NULL, okey BLOB,"
    " due INTEGER NOT NULL, attempt INTEGER NOT NULL, reason TEXT NOT NULL,"
    " bytes INTEGER NOT NULL, event BLOB NOT NULL);"
    "CREATE INDEX queue_fn ON queue (fn, id);"
    /* due: on the timeline, or NULL; at: of the wall clock, or NULL */
    "CREATE TABLE alarm ("
    " fn TEXT NOT NULL, actor TEXT NOT NULL, name TEXT NOT NULL,"
    " due INTEGER, at INTEGER, data, params BLOB,"
    " PRIMARY KEY (fn, actor, name)) WITHOUT ROWID;"
    "CREATE TABLE outbox ("
    " id INTEGER PRIMARY KEY, fn TEXT NOT NULL, topic TEXT NOT NULL,"
    " created INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    " message BLOB NOT NULL);"
    /* entries: packed, see core/records.c; a row a commit */
    "CREATE TABLE records ("
    " id INTEGER PRIMARY KEY, lane TEXT NOT NULL, entries BLOB NOT NULL);"
    "CREATE TABLE seen ("
    " id INTEGER PRIMARY KEY, until INTEGER NOT NULL,"
    " entries BLOB NOT NULL);"
    "CREATE TABLE dead_group ("
    " id INTEGER PRIMARY KEY, fn TEXT NOT NULL, version TEXT NOT NULL,"
    " site TEXT NOT NULL, outcome TEXT NOT NULL, count INTEGER NOT NULL,"
    " first INTEGER NOT NULL, last INTEGER NOT NULL);"
    "CREATE TABLE dead ("
    " id INTEGER PRIMARY KEY, grp INTEGER NOT NULL, time INTEGER NOT NULL,"
    " attempt INTEGER NOT NULL, outcome TEXT NOT NULL, error TEXT NOT NULL,"
    " traceback TEXT, bytes INTEGER NOT NULL, event BLOB NOT NULL);"
    "CREATE INDEX dead_grp ON dead (grp, id);"
    "CREATE TABLE kept (name TEXT PRIMARY KEY, value BLOB NOT NULL)"
    " WITHOUT ROWID;";

/* Answers of requests that changed something; entries: packed, see
 * core/replies.c; a row a commit. */
static const char VERSION_2[] =
    "CREATE TABLE reply ("
    " id INTEGER PRIMARY KEY, until INTEGER NOT NULL,"
    " entries BLOB NOT NULL);";

const char *mp_schema_step(unsigned from)
{
    static const char *const steps[MP_SCHEMA_VERSION] = {VERSION_1, VERSION_2};

    return from < MP_SCHEMA_VERSION ? steps[from] : NULL;
}

/* Prefixes are compared by bytes: LIKE would read '%' in them. */
#define STARTS(column, n) "substr(" column ", 1, length(" n ")) = " n

static const char *const texts[MP_SQLS] = {
    [MP_SQL_STATE_PUT] =
        "INSERT INTO state (fn, actor, name, kind, value, expires)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
        " ON CONFLICT DO UPDATE SET kind = ?4, value = ?5, expires = ?6",
    [MP_SQL_STATE_DELETE] =
        "DELETE FROM state WHERE fn = ?1 AND actor = ?2 AND name = ?3",
    [MP_SQL_STATE_OF] = "SELECT name, kind, value, expires FROM state"
                        " WHERE fn = ?1 AND actor = ?2 ORDER BY name",
    [MP_SQL_STATE_GET] = "SELECT kind, value, expires FROM state"
                         " WHERE fn = ?1 AND actor = ?2 AND name = ?3",
    [MP_SQL_STATE_AFTER] =
        "SELECT name, kind, value, expires FROM state"
        " WHERE fn = ?1 AND actor = ?2 AND name > ?3 AND " STARTS(
            "name", "?4") " ORDER BY name LIMIT ?5",
    [MP_SQL_STATE_ACTORS] =
        "SELECT DISTINCT actor FROM state"
        " WHERE fn = ?1 AND actor > ?2 AND " STARTS(
            "actor", "?3") " AND (expires IS NULL OR expires > ?4) ORDER BY "
                           "actor LIMIT ?5",
    [MP_SQL_STATE_BYTES] =
        "SELECT fn, SUM(length(CAST(actor AS BLOB)) + length(CAST(name AS"
        " BLOB)) + CASE WHEN kind IN ('string', 'table')"
        " THEN length(CAST(value AS BLOB)) ELSE 8 END), COUNT(*)"
        " FROM state GROUP BY fn",
    [MP_SQL_STATE_EXPIRED] =
        "SELECT fn, actor, name FROM state WHERE expires IS NOT NULL"
        " AND expires <= ?1 ORDER BY expires LIMIT ?2",
    [MP_SQL_QUEUE_PUT] = "INSERT OR REPLACE INTO queue"
                         " (id, fn, okey, due, attempt, reason, bytes, event)"
                         " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [MP_SQL_QUEUE_DELETE] = "DELETE FROM queue WHERE id = ?1",
    [MP_SQL_QUEUE_AFTER] =
        "SELECT id, okey, due, attempt, reason, event FROM queue"
        " WHERE fn = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    [MP_SQL_QUEUE_GET] =
        "SELECT fn, okey, due, attempt, reason, event FROM queue"
        " WHERE id = ?1",
    [MP_SQL_QUEUE_INDEX] =
        "SELECT id, fn, due, bytes, reason FROM queue ORDER BY id",
    [MP_SQL_QUEUE_LIST] =
        "SELECT id, fn, okey, due, attempt, reason, bytes, event FROM queue"
        " WHERE (?1 IS NULL OR fn = ?1) AND id > ?2 ORDER BY id LIMIT ?3",
    [MP_SQL_ALARM_PUT] =
        "INSERT OR REPLACE INTO alarm (fn, actor, name, due, at, data, params)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [MP_SQL_ALARM_DELETE] =
        "DELETE FROM alarm WHERE fn = ?1 AND actor = ?2 AND name = ?3",
    [MP_SQL_ALARM_ALL] =
        "SELECT fn, actor, name, due, at, data, params FROM alarm",
    [MP_SQL_OUTBOX_PUT] =
        "INSERT INTO outbox (id, fn, topic, created, bytes, message)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [MP_SQL_OUTBOX_DELETE] = "DELETE FROM outbox WHERE id = ?1",
    [MP_SQL_OUTBOX_AFTER] =
        "SELECT id, fn, topic, created, message FROM outbox WHERE id > ?1"
        " ORDER BY id LIMIT ?2",
    [MP_SQL_OUTBOX_SUMS] =
        "SELECT COUNT(*), TOTAL(bytes), MIN(id), MAX(id) FROM outbox",
    [MP_SQL_RECORDS_PUT] =
        "INSERT INTO records (id, lane, entries) VALUES (?1, ?2, ?3)",
    [MP_SQL_RECORDS_DELETE] = "DELETE FROM records WHERE id = ?1",
    [MP_SQL_RECORDS_CLEAR] = "DELETE FROM records WHERE lane = ?1",
    [MP_SQL_RECORDS_ALL] = "SELECT id, lane, entries FROM records ORDER BY id",
    [MP_SQL_SEEN_PUT] =
        "INSERT INTO seen (id, until, entries) VALUES (?1, ?2, ?3)",
    [MP_SQL_SEEN_DELETE] = "DELETE FROM seen WHERE id = ?1",
    [MP_SQL_SEEN_ALL] = "SELECT id, until, entries FROM seen ORDER BY id",
    [MP_SQL_REPLY_PUT] =
        "INSERT INTO reply (id, until, entries) VALUES (?1, ?2, ?3)",
    [MP_SQL_REPLY_DELETE] = "DELETE FROM reply WHERE id = ?1",
    [MP_SQL_REPLY_ALL] = "SELECT id, until, entries FROM reply ORDER BY id",
    [MP_SQL_DEAD_PUT] =
        "INSERT OR REPLACE INTO dead (id, grp, time, attempt, outcome, error,"
        " traceback, bytes, event) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [MP_SQL_DEAD_DELETE] = "DELETE FROM dead WHERE id = ?1",
    [MP_SQL_DEAD_GET] =
        "SELECT d.grp, d.time, d.attempt, d.outcome, d.error, d.traceback,"
        " d.event, g.fn, g.version, g.site FROM dead d JOIN dead_group g"
        " ON g.id = d.grp WHERE d.id = ?1",
    [MP_SQL_DEAD_LIST] =
        "SELECT d.id, d.grp, d.time, d.attempt, d.outcome, d.error,"
        " d.traceback, d.event, g.fn, g.version, g.site, g.count"
        " FROM dead d JOIN dead_group g ON g.id = d.grp"
        " WHERE (?1 IS NULL OR g.fn = ?1) AND d.id > ?2 ORDER BY d.id LIMIT ?3",
    [MP_SQL_DEAD_INDEX] = "SELECT id, grp, bytes FROM dead ORDER BY id",
    /* The highest id, by the name core/dead.c reads it by. */
    [MP_SQL_DEAD_KEEP_ID] =
        "INSERT INTO kept (name, value)"
        " SELECT 'dead_id', CAST(CAST(MAX(id) AS TEXT) AS BLOB) FROM dead"
        " HAVING MAX(id) > IFNULL((SELECT CAST(CAST(value AS TEXT) AS INTEGER)"
        " FROM kept WHERE name = 'dead_id'), 0)"
        " ON CONFLICT DO UPDATE SET value = excluded.value",
    [MP_SQL_DEAD_GROUP_PUT] =
        "INSERT OR REPLACE INTO dead_group"
        " (id, fn, version, site, outcome, count, first, last)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [MP_SQL_DEAD_GROUP_DELETE] = "DELETE FROM dead_group WHERE id = ?1",
    [MP_SQL_DEAD_GROUPS] =
        "SELECT id, fn, version, site, outcome, count, first, last"
        " FROM dead_group ORDER BY id",
    [MP_SQL_KEPT_PUT] =
        "INSERT OR REPLACE INTO kept (name, value) VALUES (?1, ?2)",
    [MP_SQL_KEPT_DELETE] = "DELETE FROM kept WHERE name = ?1",
    [MP_SQL_KEPT_GET] = "SELECT value FROM kept WHERE name = ?1",
    [MP_SQL_KEPT_LIKE] =
        "SELECT name, value FROM kept WHERE " STARTS("name", "?1"),
};

const char *mp_sql_text(enum mp_sql sql)
{
    MP_ASSERT(sql < MP_SQLS && texts[sql]);
    return texts[sql];
}
