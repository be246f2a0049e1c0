/*
 * replay.c - cuts the power again and again, and looks at what is left.
 *
 *   powercut [--small] [--seed N] LOG CUTS
 *   powercut [--seed N] --leave DIR LOG 1
 *
 * For each of so many places in the log of record.so the disk is made as it
 * may be after a cut there (disk.h), SQLite recovers it, and then it must be
 * whole and must hold what was promised up to the cut (promise.h):
 *
 *   taken      what was acknowledged is counted, or waits in the queue;
 *   once       what is counted was received, and, unless acknowledged, has
 *              its record, so that it does not count again;
 *   committed  an output that left is of a count that is on disk;
 *   owed       an output of a count on disk was confirmed, or is in the
 *              outbox; so is what a function without state answered to an
 *              acknowledged event.
 *
 * --leave: one cut, by chance; what is left of the disk stays in DIR.
 * --small: the log of small.c, and only rows are counted.  Exit status 1 when
 * a cut was not survived.
 */
#include <errno.h>
#include <getopt.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/slice.h"
#include "core/records.h"
#include "tests/powercut/promise.h"

enum { ENTRY = 20, SHOWN = 10 };

static struct {
    bool small;
    uint64_t seed;
    const char *log, *leave;
    unsigned cuts;
} arg = {.seed = 1};

static struct promise promise;
static char new_dir[] = "/tmp/moonpool-cut-XXXXXX";
static const char *dir = new_dir;
static char wrong[256];
static uint64_t chance_state;

static uint32_t chance(uint32_t n)
{
    chance_state = chance_state * UINT64_C(6364136223846793005) +
                   UINT64_C(1442695040888963407);
    return (uint32_t)((chance_state >> 33) % n);
}

static void is_wrong(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

static void is_wrong(const char *fmt, ...)
{
    va_list args;

    if (wrong[0])
        return;
    va_start(args, fmt);
    vsnprintf(wrong, sizeof wrong, fmt, args);
    va_end(args);
}

/* ---- asking ---- */

static sqlite3_stmt *ask(sqlite3 *db, const char *sql, const char *a,
                         const char *b)
{
    sqlite3_stmt *s = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL)) {
        is_wrong("%s: %s", sql, sqlite3_errmsg(db));
        return NULL;
    }
    if (a)
        sqlite3_bind_text(s, 1, a, -1, SQLITE_STATIC);
    if (b)
        sqlite3_bind_text(s, 2, b, -1, SQLITE_STATIC);
    return s;
}

static long number(sqlite3 *db, const char *sql, const char *a, const char *b)
{
    sqlite3_stmt *s = ask(db, sql, a, b);
    long n = 0;
    int rc = s ? sqlite3_step(s) : SQLITE_ERROR;

    if (rc == SQLITE_ROW)
        n = (long)sqlite3_column_int64(s, 0);
    else if (rc != SQLITE_DONE)
        is_wrong("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(s);
    return n;
}

static void check_whole(sqlite3 *db)
{
    sqlite3_stmt *s = ask(db, "PRAGMA integrity_check", NULL, NULL);

    if (!s || sqlite3_step(s) != SQLITE_ROW)
        is_wrong("integrity_check: %s", sqlite3_errmsg(db));
    else if (strcmp((const char *)sqlite3_column_text(s, 0), "ok") != 0)
        is_wrong("integrity_check: %s", sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
}

/* ---- what moonpool must hold ---- */

struct held {
    long count, tally, rang;              /* counters */
    long parked, relaying, sent, ringing; /* rows of the queue */
    long alarms;
};

static long counter(sqlite3 *db, const char *fn, const char *device)
{
    return number(db,
                  "SELECT value FROM state WHERE fn = ?1 AND actor = ?2 AND"
                  " name = 'n'",
                  fn, device);
}

static long waiting(sqlite3 *db, const char *fn, const char *okey)
{
    return number(db,
                  "SELECT COUNT(*) FROM queue WHERE fn = ?1 AND"
                  " CAST(okey AS TEXT) = ?2",
                  fn, okey);
}

/* Is that function done with what came by that packet id? */
static bool has_record(sqlite3 *db, uint16_t packet, const char *fn)
{
    sqlite3_stmt *s = ask(db, "SELECT entries FROM records", NULL, NULL);
    uint64_t function = mp_record_function(mp_slice_str(fn));
    bool found = false;

    while (s && !found && sqlite3_step(s) == SQLITE_ROW) {
        const char *at = sqlite3_column_blob(s, 0);
        int len = sqlite3_column_bytes(s, 0);

        for (; len >= ENTRY && !found; at += ENTRY, len -= ENTRY)
            found = memcmp(at, &packet, sizeof packet) == 0 &&
                    memcmp(at + 12, &function, sizeof function) == 0;
    }
    sqlite3_finalize(s);
    return found;
}

/* Does the outbox hold output n of that topic? */
static bool is_owed(sqlite3 *db, const char *topic, uint32_t n)
{
    sqlite3_stmt *s =
        ask(db, "SELECT message FROM outbox WHERE topic = ?1", topic, NULL);
    char want[4 + 32];
    uint32_t len;
    bool found = false;

    len = (uint32_t)snprintf(want + 4, sizeof want - 4, "%u ", n);
    while (s && !found && sqlite3_step(s) == SQLITE_ROW) {
        const char *at = sqlite3_column_blob(s, 0);
        size_t size = (size_t)sqlite3_column_bytes(s, 0);
        const char *text = memmem(at, size, want + 4, len);

        /* the payload, behind its length */
        while (text && !found) {
            uint32_t total;

            memcpy(&total, text - 4, sizeof total);
            found = text - at > 4 && total > len && total < 32;
            text =
                memmem(text + 1, size - (size_t)(text + 1 - at), want + 4, len);
        }
    }
    sqlite3_finalize(s);
    return found;
}

static void look(sqlite3 *db, unsigned d, struct held *h)
{
    char device[16], topic[32];

    snprintf(device, sizeof device, "d%u", d);
    snprintf(topic, sizeof topic, "in/d%u", d);
    h->count = counter(db, "count", device);
    h->tally = counter(db, "tally", device);
    h->rang = counter(db, "ring", device);
    h->parked = waiting(db, "count", device);
    h->relaying = waiting(db, "relay", topic);
    h->sent = waiting(db, "tally", device);
    h->ringing = waiting(db, "ring", device);
    h->alarms = number(db,
                       "SELECT COUNT(*) FROM alarm WHERE fn = ?1 AND"
                       " actor = ?2",
                       "ring", device);
}

/* Acknowledged means held; held means received. */
static void check_taken(unsigned d, const struct held *h)
{
    long received = promise.received[d], acked = 0;

    for (long k = 1; k <= received; k++)
        acked = promise.acked[d][k] ? k : acked;
    if (h->count + h->parked < acked)
        is_wrong("d%u: event %ld was acknowledged, count has %ld and %ld"
                 " parked",
                 d, acked, h->count, h->parked);
    if (h->tally + h->sent + h->relaying < acked)
        is_wrong("d%u: event %ld was acknowledged, tally has %ld and %ld + %ld"
                 " wait",
                 d, acked, h->tally, h->sent, h->relaying);
    if (h->rang + h->alarms + h->ringing < acked / LOAD_RING_EVERY)
        is_wrong("d%u: event %ld was acknowledged, %ld rang and %ld + %ld wait",
                 d, acked, h->rang, h->alarms, h->ringing);
    if (h->count > received || h->tally + h->sent > received ||
        h->rang + h->alarms > received / LOAD_RING_EVERY)
        is_wrong("d%u: %ld were received, count has %ld, tally %ld + %ld, ring"
                 " %ld + %ld",
                 d, received, h->count, h->tally, h->sent, h->rang, h->alarms);
}

/* What the broker will send again has its record. */
static void check_once(sqlite3 *db, unsigned d, const struct held *h)
{
    for (long k = 1; k <= h->count + h->parked; k++)
        if (!promise.acked[d][k] &&
            !has_record(db, promise.packet[d][k], "count"))
            is_wrong("d%u: event %ld is counted, not acknowledged and has no"
                     " record",
                     d, k);
    for (long k = 1; k <= h->tally + h->sent + h->relaying; k++)
        if (!promise.acked[d][k] &&
            !has_record(db, promise.packet[d][k], "relay"))
            is_wrong("d%u: event %ld is relayed, not acknowledged and has no"
                     " record",
                     d, k);
}

static void check_outputs(sqlite3 *db, unsigned d, const struct held *h)
{
    static const char *const topics[] = {"out", "sent", "rang"};
    const long n[] = {h->count, h->tally, h->rang};
    char topic[32];

    for (unsigned kind = 0; kind < ARRAY_LEN(n); kind++) {
        snprintf(topic, sizeof topic, "%s/d%u", topics[kind], d);
        for (uint32_t i = 1; i < PROMISE_EVENTS; i++) {
            if (i > n[kind] && promise.left[kind][d][i])
                is_wrong("%s: output %u left, the count on disk is %ld", topic,
                         i, n[kind]);
            if (i <= n[kind] && !promise.confirmed[kind][d][i] &&
                !is_owed(db, topic, i))
                is_wrong("%s: output %u of %ld is neither confirmed nor in the"
                         " outbox",
                         topic, i, n[kind]);
        }
    }
}

/* A function without state: its input is acknowledged only when its output is
 * confirmed, or is on disk, or is to be made again from the queue. */
static void check_echo(sqlite3 *db, unsigned d)
{
    char topic[32];
    long parked;

    snprintf(topic, sizeof topic, "in/d%u", d);
    parked = waiting(db, "echo", topic);
    snprintf(topic, sizeof topic, "echo/d%u", d);
    for (uint32_t k = 1; k <= promise.received[d]; k++)
        if (promise.acked[d][k] && !promise.confirmed[LOAD_ECHO][d][k] &&
            !is_owed(db, topic, k) && parked-- <= 0)
            is_wrong("%s: event %u was acknowledged, its output is neither"
                     " confirmed nor on disk",
                     topic, k);
}

static void check_promises(sqlite3 *db)
{
    if (number(db, "PRAGMA user_version", NULL, NULL) == 0) {
        if (promise.acks)
            is_wrong("%u events were acknowledged, and there is no schema",
                     promise.acks);
        return;
    }
    for (unsigned d = 0; d < PROMISE_DEVICES && !wrong[0]; d++) {
        struct held h;

        look(db, d, &h);
        check_taken(d, &h);
        check_once(db, d, &h);
        check_outputs(db, d, &h);
        check_echo(db, d);
    }
}

static void check_small(sqlite3 *db)
{
    long n = 0,
         tables = number(db, "SELECT COUNT(*) FROM sqlite_schema", NULL, NULL);

    if (tables)
        n = number(db, "SELECT COUNT(*) FROM t", NULL, NULL);
    if (n < (long)promise.lines)
        is_wrong("row %u was promised, there are %ld", promise.lines, n);
}

/* ---- cuts ---- */

static void judge(void)
{
    char path[4352];
    sqlite3 *db = NULL;

    wrong[0] = '\0';
    snprintf(path, sizeof path, "%s/moonpool.db", dir);
    if (access(path, F_OK) != 0) {
        if (promise.acks || promise.lines)
            is_wrong("promises were made, and there is no database");
        return;
    }
    if (sqlite3_open(path, &db)) {
        is_wrong("it does not open: %s", sqlite3_errmsg(db));
    } else {
        check_whole(db);
        if (arg.small)
            check_small(db);
        else
            check_promises(db);
    }
    sqlite3_close(db);
}

/* So many different places, spread by chance, the end always among them. */
static unsigned char *places(size_t n)
{
    unsigned char *cut = mp_zalloc(n + 1);
    unsigned left = arg.cuts < n ? arg.cuts : (unsigned)n;

    if (arg.leave) {
        cut[chance((uint32_t)n)] = 1;
        return cut;
    }
    cut[n] = 1;
    for (left--; left > 0; left--) {
        size_t at;

        do
            at = chance((uint32_t)n);
        while (cut[at]);
        cut[at] = 1;
    }
    return cut;
}

static unsigned cut_all(const struct disk_log *log)
{
    unsigned char *cut = places(log->n);
    struct disk *d = disk_new(log);
    unsigned bad = 0;

    for (size_t at = 0; at <= log->n; at++) {
        if (cut[at]) {
            disk_cut(d, dir, chance);
            judge();
            bad += wrong[0] != '\0';
            if (wrong[0] && bad <= SHOWN)
                printf("# cut before record %zu of %zu: %s\n", at, log->n,
                       wrong);
        }
        if (at < log->n) {
            disk_do(d, at);
            promise_do(&promise, &log->recs[at], arg.small);
        }
    }
    disk_free(d);
    free(cut);
    return bad;
}

static void take_arguments(int argc, char **argv)
{
    static const struct option options[] = {{"small", 0, NULL, 's'},
                                            {"seed", 1, NULL, 'S'},
                                            {"leave", 1, NULL, 'l'},
                                            {NULL, 0, NULL, 0}};
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (c == 's')
            arg.small = true;
        else if (c == 'S')
            arg.seed = strtoull(optarg, NULL, 10);
        else if (c == 'l')
            arg.leave = dir = optarg;
        else
            exit(2);
    if (argc - optind != 2) {
        fprintf(stderr,
                "powercut [--small | --leave DIR] [--seed N] LOG CUTS\n");
        exit(2);
    }
    arg.log = argv[optind];
    arg.cuts = (unsigned)atoi(argv[optind + 1]);
}

int main(int argc, char **argv)
{
    struct disk_log log;
    unsigned bad;

    take_arguments(argc, argv);
    chance_state = arg.seed * 2 + 1;
    disk_log_read(&log, arg.log);
    if (!log.n || !arg.cuts || (!arg.leave && !mkdtemp(new_dir))) {
        fprintf(stderr, "powercut: nothing to cut: %s\n", strerror(errno));
        return 2;
    }
    bad = cut_all(&log);
    printf("# %u cuts in %zu records: %u not survived (acknowledged %u,"
           " confirmed %u; --seed %llu)\n",
           arg.cuts, log.n, bad, arg.small ? promise.lines : promise.acks,
           promise.confirmations, (unsigned long long)arg.seed);
    if (!arg.leave) {
        disk_empty(dir);
        rmdir(dir);
    }
    free(log.recs);
    free(log.all);
    return bad != 0;
}
