/*
 * schema.h - what the database holds, and every statement on it, by name.
 *
 * The statements and the tables are in schema.c; comments there are the
 * reference of the format.  A change of a table is a new version and a
 * migration; old ones are never edited.
 *
 * Thread   constant.
 */
#ifndef MP_SCHEMA_H
#define MP_SCHEMA_H

enum { MP_SCHEMA_VERSION = 2 };

/* Statements: parameters in parentheses, columns behind the arrow. */
enum mp_sql {
    /* state */
    MP_SQL_STATE_PUT,     /* (fn, actor, name, kind, value, expires) */
    MP_SQL_STATE_DELETE,  /* (fn, actor, name) */
    MP_SQL_STATE_OF,      /* (fn, actor) -> name, kind, value, expires */
    MP_SQL_STATE_GET,     /* (fn, actor, name) -> kind, value, expires */
    MP_SQL_STATE_AFTER,   /* (fn, actor, after, prefix, limit)
                           *     -> name, kind, value, expires */
    MP_SQL_STATE_ACTORS,  /* (fn, after, prefix, now, limit) -> actor */
    MP_SQL_STATE_BYTES,   /* () -> fn, bytes, values */
    MP_SQL_STATE_EXPIRED, /* (now, limit) -> fn, actor, name */
    /* durable queue */
    MP_SQL_QUEUE_PUT,    /* (id, fn, okey, due, attempt, reason, bytes,
                          *     event) */
    MP_SQL_QUEUE_DELETE, /* (id) */
    MP_SQL_QUEUE_AFTER,  /* (fn, after, limit)
                          *     -> id, okey, due, attempt, reason, event */
    MP_SQL_QUEUE_GET,    /* (id) -> fn, okey, due, attempt, reason, event */
    MP_SQL_QUEUE_INDEX,  /* () -> id, fn, due, bytes, reason; by id */
    MP_SQL_QUEUE_LIST,   /* (fn or NULL, after, limit)
                          *     -> id, fn, okey, due, attempt, reason, bytes,
                          *        event */
    /* alarms */
    MP_SQL_ALARM_PUT,    /* (fn, actor, name, due, at, data, params) */
    MP_SQL_ALARM_DELETE, /* (fn, actor, name) */
    MP_SQL_ALARM_ALL,    /* () -> fn, actor, name, due, at, data, params */
    /* outbox */
    MP_SQL_OUTBOX_PUT,    /* (id, fn, topic, created, bytes, message) */
    MP_SQL_OUTBOX_DELETE, /* (id) */
    MP_SQL_OUTBOX_AFTER,  /* (after, limit)
                           *     -> id, fn, topic, created, message */
    MP_SQL_OUTBOX_SUMS,   /* () -> rows, bytes, first id, last id */
    /* redelivery records */
    MP_SQL_RECORDS_PUT,    /* (id, lane, entries) */
    MP_SQL_RECORDS_DELETE, /* (id) */
    MP_SQL_RECORDS_CLEAR,  /* (lane) */
    MP_SQL_RECORDS_ALL,    /* () -> id, lane, entries */
    /* dedupe: ids of senders that were applied */
    MP_SQL_SEEN_PUT,    /* (id, until, entries) */
    MP_SQL_SEEN_DELETE, /* (id) */
    MP_SQL_SEEN_ALL,    /* () -> id, until, entries */
    /* answers of requests that may be repeated */
    MP_SQL_REPLY_PUT,    /* (id, until, entries) */
    MP_SQL_REPLY_DELETE, /* (id) */
    MP_SQL_REPLY_ALL,    /* () -> id, until, entries */
    /* dead letters */
    MP_SQL_DEAD_PUT,          /* (id, grp, time, attempt, outcome, error,
                               *     traceback, bytes, event) */
    MP_SQL_DEAD_DELETE,       /* (id) */
    MP_SQL_DEAD_GET,          /* (id) -> grp, time, attempt, outcome, error,
                               *     traceback, event, fn, version, site */
    MP_SQL_DEAD_LIST,         /* (fn or NULL, after, limit) -> id, grp, time,
                               *     attempt, outcome, error, traceback,
                               *     event, fn, version, site, count */
    MP_SQL_DEAD_INDEX,        /* () -> id, grp, bytes; by id */
    MP_SQL_DEAD_KEEP_ID,      /* (): before letters go, where no host runs */
    MP_SQL_DEAD_GROUP_PUT,    /* (id, fn, version, site, outcome, count,
                               *     first, last) */
    MP_SQL_DEAD_GROUP_DELETE, /* (id) */
    MP_SQL_DEAD_GROUPS,       /* () -> id, fn, version, site, outcome, count,
                               *     first, last */
    /* small things that are kept by name: sessions, the clock, starts */
    MP_SQL_KEPT_PUT,    /* (name, value) */
    MP_SQL_KEPT_DELETE, /* (name) */
    MP_SQL_KEPT_GET,    /* (name) -> value */
    MP_SQL_KEPT_LIKE,   /* (prefix) -> name, value */
    MP_SQLS
};

/* The text of a statement. */
const char *mp_sql_text(enum mp_sql sql);
/* Statements that take version `from` to from + 1; from = 0 creates. */
const char *mp_schema_step(unsigned from);

#endif
