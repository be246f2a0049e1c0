/*
 * verdict.c - reads the database as a person would, with plain SQL.
 */
#include "tests/crash/verdict.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BUSY_MS = 2000 };

static void wrong(struct verdict *v, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void wrong(struct verdict *v, const char *fmt, ...)
{
    va_list args;

    if (v->wrong[0])
        return;
    va_start(args, fmt);
    vsnprintf(v->wrong, sizeof v->wrong, fmt, args);
    va_end(args);
}

bool verdict_find(const char *data, char *path, size_t size)
{
    const struct dirent *e;
    bool found = false;
    DIR *d = opendir(data);

    while (d && !found && (e = readdir(d))) {
        size_t len = strlen(e->d_name);

        found = len > 3 && strcmp(e->d_name + len - 3, ".db") == 0;
        if (found)
            snprintf(path, size, "%s/%s", data, e->d_name);
    }
    if (d)
        closedir(d);
    return found;
}

static sqlite3 *open_at(const char *data, char why[256])
{
    char path[4400];
    sqlite3 *db = NULL;

    if (!verdict_find(data, path, sizeof path)) {
        snprintf(why, 256, "there is no database");
        return NULL;
    }
    /* Not read-only: what a dead host left in the WAL is to be recovered. */
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL)) {
        snprintf(why, 256, "it does not open: %s", sqlite3_errmsg(db));
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    return db;
}

/* The first column of the first row; -1 and why: it can't be read. */
static long number(sqlite3 *db, char why[256], const char *sql,
                   const char *actor)
{
    sqlite3_stmt *s = NULL;
    long n = -1;

    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK) {
        if (actor)
            sqlite3_bind_text(s, 1, actor, -1, SQLITE_STATIC);
        if (sqlite3_step(s) == SQLITE_ROW)
            n = (long)sqlite3_column_int64(s, 0);
    }
    if (n < 0)
        snprintf(why, 256, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(s);
    return n;
}

static void rows(sqlite3 *db, struct verdict *v)
{
    const struct {
        const char *sql;
        long *n;
    } of[] = {
        {"SELECT COUNT(*) FROM queue", &v->queue},
        {"SELECT COUNT(*) FROM outbox", &v->outbox},
        {"SELECT COUNT(*) FROM alarm", &v->alarms},
        {"SELECT COUNT(*) FROM records", &v->records},
        {"SELECT COUNT(*) FROM dead", &v->dead},
    };

    for (unsigned i = 0; i < sizeof of / sizeof *of; i++)
        *of[i].n = number(db, v->wrong, of[i].sql, NULL);
}

bool verdict_rows(const char *data, struct verdict *v)
{
    sqlite3 *db;

    memset(v, 0, sizeof *v);
    db = open_at(data, v->wrong);
    if (!db)
        return false;
    rows(db, v);
    sqlite3_close(db);
    return !v->wrong[0];
}

static void check_whole(sqlite3 *db, struct verdict *v)
{
    sqlite3_stmt *s = NULL;
    const char *text = "it can't be asked";

    if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &s, NULL) ==
            SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        text = (const char *)sqlite3_column_text(s, 0);
    if (strcmp(text, "ok") != 0)
        wrong(v, "integrity_check: %s", text);
    sqlite3_finalize(s);
}

static void check_counter(sqlite3 *db, const struct load *l, struct verdict *v,
                          const char *fn, enum load_kind kind)
{
    char sql[160], actor[16];

    snprintf(sql, sizeof sql,
             "SELECT IFNULL(SUM(value), 0) FROM state WHERE fn = '%s'"
             " AND actor = ?1 AND name = 'n'",
             fn);
    for (unsigned d = 0; d < l->devices; d++) {
        long n, want = load_expected(l, kind);

        snprintf(actor, sizeof actor, "d%u", d);
        n = number(db, v->wrong, sql, actor);
        if (n >= 0 && n != want)
            wrong(v, "%s counted %ld of d%u instead of %ld", fn, n, d, want);
    }
}

void verdict_reach(const char *data, const struct load *l, struct verdict *v)
{
    sqlite3 *db;

    memset(v, 0, sizeof *v);
    if (l->wrong[0])
        wrong(v, "%s", l->wrong);
    db = open_at(data, v->wrong);
    if (!db)
        return;
    check_whole(db, v);
    check_counter(db, l, v, "count", LOAD_COUNT);
    check_counter(db, l, v, "tally", LOAD_TALLY);
    check_counter(db, l, v, "ring", LOAD_RANG);
    rows(db, v);
    if (v->queue || v->outbox || v->alarms || v->dead)
        wrong(v,
              "at rest there are %ld in the queue, %ld in the outbox, %ld"
              " alarms, %ld dead letters",
              v->queue, v->outbox, v->alarms, v->dead);
    sqlite3_close(db);
}

long verdict_counted(const char *data, const char *fn, long *dead)
{
    char why[256] = "";
    sqlite3 *db = open_at(data, why);
    long n;

    if (!db)
        return -1;
    n = number(db, why,
               "SELECT IFNULL(SUM(value), 0) FROM state WHERE fn = ?1 AND"
               " name = 'n'",
               fn);
    *dead = number(db, why,
                   "SELECT IFNULL(SUM(count), 0) FROM dead_group WHERE fn ="
                   " ?1",
                   fn);
    sqlite3_close(db);
    return *dead < 0 ? -1 : n;
}
