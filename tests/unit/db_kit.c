/*
 * db_kit.c - see db_kit.h.
 */
#include "tests/unit/db_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DEADLINE_MS = 30000 };

static void on_deadline(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("waited too long");
}

static void on_opened(void *arg, const struct mp_db_opened *opened)
{
    struct db_kit *k = arg;

    (void)opened;
    k->opened = true;
    mp_commit_go(&k->commit);
}

static void on_trouble(void *arg, const struct mp_why *why)
{
    (void)arg;
    fail_msg("%s", why->text);
}

static void no_seal(void *arg, struct mp_batch *batch)
{
    (void)arg;
    (void)batch;
}

static bool is_open(void *arg)
{
    return ((struct db_kit *)arg)->opened;
}

void db_kit_start(struct db_kit *k)
{
    const struct mp_commit_user user = {.opened = on_opened,
                                        .unable = on_trouble,
                                        .failed = on_trouble,
                                        .seal = no_seal,
                                        .arg = k};

    k->opened = false;
    assert_int_equal(uv_loop_init(&k->loop), 0);
    uv_timer_init(&k->loop, &k->deadline);
    mp_commit_open(&k->commit, &k->loop, k->dir, 256 << 20, 0, &user);
    db_kit_until(k, is_open, k);
    mp_reader_open(&k->reader, &k->loop, k->dir);
}

void db_kit_stop(struct db_kit *k)
{
    mp_reader_close(&k->reader);
    mp_commit_close(&k->commit);
    uv_close((uv_handle_t *)&k->deadline, NULL);
    uv_run(&k->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&k->loop), 0);
}

void db_kit_open(struct db_kit *k)
{
    const char *tmp = getenv("TMPDIR");

    *k = (struct db_kit){0};
    snprintf(k->dir, sizeof k->dir, "%s/moonpool-db-XXXXXX",
             tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    assert_non_null(mkdtemp(k->dir));
    db_kit_start(k);
}

void db_kit_close(struct db_kit *k)
{
    struct dirent *e;
    char path[400];
    DIR *dir;

    db_kit_stop(k);
    dir = opendir(k->dir);
    assert_non_null(dir);
    while ((e = readdir(dir))) {
        snprintf(path, sizeof path, "%s/%s", k->dir, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    closedir(dir);
    assert_int_equal(rmdir(k->dir), 0);
}

void db_kit_turn(struct db_kit *k)
{
    mp_commit_turn(&k->commit, false);
    uv_run(&k->loop, UV_RUN_NOWAIT);
}

void db_kit_until(struct db_kit *k, bool (*is)(void *arg), void *arg)
{
    uv_timer_start(&k->deadline, on_deadline, DEADLINE_MS, 0);
    while (!is(arg)) {
        if (k->opened)
            mp_commit_turn(&k->commit, false);
        if (is(arg))
            break;
        uv_run(&k->loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&k->deadline);
}

struct load {
    struct mp_read read;
    int (*load)(void *arg, struct mp_db *db, struct mp_why *why);
    void *arg;
    bool done;
};

static int load_work(struct mp_read *r, struct mp_db *db, struct mp_why *why)
{
    struct load *l = mp_of(r, struct load, read);

    return l->load(l->arg, db, why);
}

static void load_done(struct mp_read *r, int rc, const struct mp_why *why)
{
    if (rc)
        fail_msg("%s", why->text);
    mp_of(r, struct load, read)->done = true;
}

static bool is_loaded(void *arg)
{
    return ((struct load *)arg)->done;
}

void db_kit_load(struct db_kit *k,
                 int (*load)(void *arg, struct mp_db *db, struct mp_why *why),
                 void *arg)
{
    struct load l = {.read = {.work = load_work, .done = load_done},
                     .load = load,
                     .arg = arg};

    mp_list_init(&l.read.link);
    mp_reader_do(&k->reader, &l.read);
    db_kit_until(k, is_loaded, &l);
}

void db_kit_seal(struct db_kit *k,
                 void (*seal)(void *arg, struct mp_batch *batch), void *arg)
{
    k->commit.user.seal = seal ? seal : no_seal;
    k->commit.user.arg = arg;
}

struct until {
    struct mp_commit *commit;
    uint64_t ticket;
};

static bool is_durable(void *arg)
{
    struct until *u = arg;

    return mp_commit_is_durable(u->commit, u->ticket);
}

void db_kit_commit(struct db_kit *k)
{
    struct until u = {&k->commit, mp_commit_ticket(&k->commit)};

    db_kit_until(k, is_durable, &u);
}

struct mp_db *db_kit_reader(struct db_kit *k)
{
    struct mp_db *db;
    struct mp_why why;

    assert_int_equal(mp_db_open_reader(&db, k->dir, &why), 0);
    return db;
}

unsigned db_kit_rows(struct db_kit *k, enum mp_sql sql)
{
    struct mp_db *db = db_kit_reader(k);
    struct mp_query *q = mp_query_begin(db, sql);
    struct mp_why why;
    unsigned n = 0;
    int rc;

    while ((rc = mp_query_step(q, &why)) == 1)
        n++;
    assert_int_equal(rc, 0);
    mp_query_end(q);
    mp_db_close(db);
    return n;
}
