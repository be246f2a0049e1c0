/*
 * durable_kit.h - a real database in a temporary directory, its commit, and
 * the small mirrors (records, seen, replies) that are sealed into it, for their
 * tests.
 */
#ifndef MP_TESTS_DURABLE_KIT_H
#define MP_TESTS_DURABLE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/log.h"
#include "core/records.h"
#include "core/replies.h"
#include "core/seen.h"

struct durable {
    uv_loop_t loop;
    char dir[64];
    struct mp_commit commit;
    struct mp_timeline timeline;
    struct mp_records records;
    struct mp_seen seen;
    struct mp_replies replies;
    bool loaded;
};

static void durable_opened(void *arg,
                           const struct mp_db_opened *opened MP_UNUSED)
{
    struct durable *d = arg;
    struct mp_db *db;
    struct mp_why why;

    assert_int_equal(mp_db_open_reader(&db, d->dir, &why), 0);
    assert_int_equal(mp_records_load(&d->records, db, &why), 0);
    assert_int_equal(mp_seen_load(&d->seen, db, &why), 0);
    assert_int_equal(mp_replies_load(&d->replies, db, &why), 0);
    mp_db_close(db);
    mp_commit_go(&d->commit);
    d->loaded = true;
}

static void durable_failed(void *arg MP_UNUSED, const struct mp_why *why)
{
    fail_msg("the database: %s", why->text);
}

static void durable_seal(void *arg, struct mp_batch *batch)
{
    struct durable *d = arg;

    mp_records_seal(&d->records, batch);
    mp_seen_seal(&d->seen, batch);
    mp_replies_seal(&d->replies, batch);
}

static void durable_begin(struct durable *d)
{
    const struct mp_commit_user user = {.opened = durable_opened,
                                        .unable = durable_failed,
                                        .failed = durable_failed,
                                        .seal = durable_seal,
                                        .arg = d};

    d->loaded = false;
    mp_commit_open(&d->commit, &d->loop, d->dir, 64 << 20, 0, &user);
    while (!d->loaded)
        uv_run(&d->loop, UV_RUN_ONCE);
}

/* All that gathers is on disk. */
MP_UNUSED static void durable_settle(struct durable *d)
{
    for (;;) {
        mp_commit_turn(&d->commit, false);
        if (!d->commit.wanted && !d->commit.writing)
            return;
        uv_run(&d->loop, UV_RUN_ONCE);
    }
}

static void durable_end(struct durable *d)
{
    mp_commit_close(&d->commit);
    uv_run(&d->loop, UV_RUN_NOWAIT);
    mp_records_reset(&d->records);
    mp_seen_reset(&d->seen);
    mp_replies_reset(&d->replies);
}

MP_UNUSED static void durable_restart(struct durable *d)
{
    durable_end(d);
    durable_begin(d);
}

MP_UNUSED static struct durable *durable_open(void)
{
    struct durable *d = calloc(1, sizeof *d);

    mp_log_open(MP_LOG_TEXT, MP_ERROR);
    snprintf(d->dir, sizeof d->dir, "/tmp/moonpool-durable-XXXXXX");
    assert_non_null(mkdtemp(d->dir));
    uv_loop_init(&d->loop);
    mp_records_init(&d->records, &d->commit);
    mp_seen_init(&d->seen, &d->commit, &d->timeline);
    mp_replies_init(&d->replies, &d->commit, &d->timeline);
    durable_begin(d);
    return d;
}

MP_UNUSED static void durable_close(struct durable *d)
{
    char rm[128];

    durable_end(d);
    mp_records_fini(&d->records);
    mp_seen_fini(&d->seen);
    mp_replies_fini(&d->replies);
    assert_int_equal(uv_loop_close(&d->loop), 0);
    snprintf(rm, sizeof rm, "rm -rf %s", d->dir);
    assert_int_equal(system(rm), 0);
    free(d);
}

/* How many rows a query without parameters finds. */
MP_UNUSED static unsigned durable_rows(struct durable *d, enum mp_sql sql)
{
    struct mp_db *db;
    struct mp_why why;
    struct mp_query *q;
    unsigned n = 0;

    assert_int_equal(mp_db_open_reader(&db, d->dir, &why), 0);
    q = mp_query_begin(db, sql);
    while (mp_query_step(q, &why) == 1)
        n++;
    mp_query_end(q);
    mp_db_close(db);
    return n;
}

#endif
