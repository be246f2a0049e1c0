/*
 * test_store.c - the database: what is written is there, what is wrong is
 * said, and what is not ours stays as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/store.h"

enum { QUOTA = 64 << 20 };

static char dir[128];
static struct mp_why why;
static struct mp_db_opened how;

static const char *in_dir(const char *name)
{
    static char path[4][400];
    static unsigned at;

    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", dir, name);
    return path[at];
}

static int set_up(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(dir, sizeof dir, "%s/moonpool-store-XXXXXX", tmp ? tmp : "/tmp");
    why.text[0] = '\0';
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    (void)state;
    while ((e = readdir(d)))
        if (e->d_name[0] != '.')
            unlink(in_dir(e->d_name));
    closedir(d);
    return rmdir(dir);
}

static struct mp_db *db_open(void)
{
    struct mp_db *db;

    if (mp_db_open(&db, dir, QUOTA, &how, &why))
        fail_msg("%s", why.text);
    return db;
}

/* One value of state. */
static void put_int(struct mp_batch *b, const char *actor, int64_t n)
{
    mp_batch_op(b, MP_SQL_STATE_PUT);
    mp_batch_text(b, MP_S("fn"));
    mp_batch_text(b, mp_slice_str(actor));
    mp_batch_text(b, MP_S("n"));
    mp_batch_text(b, MP_S("integer"));
    mp_batch_int(b, n);
    mp_batch_null(b);
}

static void put_bytes(struct mp_batch *b, const char *actor, size_t len)
{
    char *bytes = mp_zalloc(len);

    mp_batch_op(b, MP_SQL_STATE_PUT);
    mp_batch_text(b, MP_S("fn"));
    mp_batch_text(b, mp_slice_str(actor));
    mp_batch_text(b, MP_S("n"));
    mp_batch_text(b, MP_S("string"));
    mp_batch_blob(b, mp_slice(bytes, len));
    mp_batch_null(b);
    free(bytes);
}

static int apply(struct mp_db *db, struct mp_batch *b)
{
    int rc = mp_db_apply(db, b, &why);

    mp_batch_reset(b);
    return rc;
}

static void write_int(struct mp_db *db, const char *actor, int64_t n)
{
    struct mp_batch b;

    mp_batch_init(&b);
    put_int(&b, actor, n);
    if (apply(db, &b))
        fail_msg("%s", why.text);
    mp_batch_fini(&b);
}

/* -1: there is none. */
static int64_t read_int(struct mp_db *db, const char *actor)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_STATE_GET);
    int64_t n = -1;
    int rc;

    mp_query_text(q, MP_S("fn"));
    mp_query_text(q, mp_slice_str(actor));
    mp_query_text(q, MP_S("n"));
    rc = mp_query_step(q, &why);
    if (rc < 0)
        fail_msg("%s", why.text);
    if (rc)
        n = mp_column_int(q, 1);
    mp_query_end(q);
    return n;
}

/* Run SQL on the file as another program would. */
static void other_program(const char *sql)
{
    sqlite3 *s;
    char *error = NULL;

    assert_int_equal(sqlite3_open(in_dir("moonpool.db"), &s), SQLITE_OK);
    if (sqlite3_exec(s, sql, NULL, NULL, &error))
        fail_msg("%s", error);
    sqlite3_close(s);
}

static void read_file(const char *name, struct mp_buf *buf)
{
    mp_buf_init(buf, 64 << 20);
    assert_int_equal(mp_file_read(AT_FDCWD, in_dir(name), 64 << 20, buf, &why),
                     0);
}

static void write_file(const char *name, const void *bytes, size_t len)
{
    int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, 0640);

    assert_true(fd >= 0);
    assert_int_equal(mp_write_all(fd, mp_slice(bytes, len)), 0);
    close(fd);
}

static bool exists(const char *name)
{
    return access(in_dir(name), F_OK) == 0;
}

static unsigned files(void)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    unsigned n = 0;

    while ((e = readdir(d)))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Leave a database with a WAL behind, as a killed process does. */
static void die_with_a_wal(void)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        struct mp_db *db = db_open();

        write_int(db, "survivor", 7);
        raise(SIGKILL);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_true(exists("moonpool.db-wal"));
}

/* ---- batches and queries ---- */

static void what_is_applied_is_read_back(void **state)
{
    struct mp_db *db = db_open();
    struct mp_batch b;
    struct mp_query *q;

    (void)state;
    assert_true(how.created);
    mp_batch_init(&b);
    mp_batch_op(&b, MP_SQL_ALARM_PUT);
    mp_batch_text(&b, MP_S("fn"));
    mp_batch_text(&b, mp_slice(NULL, 0)); /* '' */
    mp_batch_text(&b, MP_S("nul\0inside"));
    mp_batch_int(&b, INT64_MIN);
    mp_batch_real(&b, 0.1);
    mp_batch_optional(&b, mp_slice(NULL, 0)); /* NULL */
    mp_batch_blob(&b, mp_slice(NULL, 0));     /* x'' */
    assert_int_equal(b.n, 1);
    assert_int_equal(apply(db, &b), 0);
    q = mp_query_begin(db, MP_SQL_ALARM_ALL);
    assert_int_equal(mp_query_step(q, &why), 1);
    assert_true(mp_slice_is(mp_column_bytes(q, 0), "fn"));
    assert_false(mp_column_is_null(q, 1));
    assert_int_equal(mp_column_bytes(q, 1).len, 0);
    assert_non_null(mp_column_bytes(q, 1).ptr);
    assert_true(mp_slice_eq(mp_column_bytes(q, 2), MP_S("nul\0inside")));
    assert_true(mp_column_int(q, 3) == INT64_MIN);
    assert_true(mp_column_real(q, 4) == 0.1);
    assert_true(mp_column_is_null(q, 5));
    assert_null(mp_column_bytes(q, 5).ptr);
    assert_non_null(mp_column_bytes(q, 6).ptr);
    assert_int_equal(mp_column_bytes(q, 6).len, 0);
    assert_false(mp_db_is_idle(db));
    assert_int_equal(mp_query_step(q, &why), 0);
    mp_query_end(q);
    assert_true(mp_db_is_idle(db));
    mp_batch_fini(&b);
    mp_db_close(db);
}

static void every_statement_can_be_prepared(void **state)
{
    struct mp_db *db = db_open();

    (void)state;
    other_program("SELECT 1");
    for (enum mp_sql sql = 0; sql < MP_SQLS; sql++) {
        sqlite3 *s;
        sqlite3_stmt *stmt;

        assert_int_equal(sqlite3_open(in_dir("moonpool.db"), &s), SQLITE_OK);
        if (sqlite3_prepare_v2(s, mp_sql_text(sql), -1, &stmt, NULL))
            fail_msg("%s: %s", mp_sql_text(sql), sqlite3_errmsg(s));
        sqlite3_finalize(stmt);
        sqlite3_close(s);
    }
    mp_db_close(db);
}

static void a_batch_is_there_whole_or_not_at_all(void **state)
{
    struct mp_db *db = db_open();
    struct mp_batch b;

    (void)state;
    mp_batch_init(&b);
    put_int(&b, "a", 1);
    for (int i = 0; i < 2; i++) { /* an id twice */
        mp_batch_op(&b, MP_SQL_RECORDS_PUT);
        mp_batch_int(&b, 9);
        mp_batch_text(&b, MP_S("lane"));
        mp_batch_blob(&b, MP_S("x"));
    }
    assert_int_equal(apply(db, &b), MP_EIO);
    assert_non_null(strstr(why.text, "UNIQUE"));
    assert_int_equal(read_int(db, "a"), -1);
    put_int(&b, "a", 2);
    assert_int_equal(apply(db, &b), 0);
    assert_int_equal(read_int(db, "a"), 2);
    mp_batch_fini(&b);
    mp_db_close(db);
}

static void an_empty_batch_writes_nothing(void **state)
{
    struct mp_db *db = db_open();
    struct mp_batch b;
    uint64_t before = mp_db_written(db);

    (void)state;
    mp_batch_init(&b);
    assert_int_equal(apply(db, &b), 0);
    assert_true(mp_db_written(db) == before);
    mp_batch_fini(&b);
    mp_db_close(db);
}

static void a_share_has_the_bytes_recorded_on_its_account(void **state)
{
    struct mp_batch b;
    uint64_t one = 0, two = 0, sum = 0;

    (void)state;
    mp_batch_init(&b);
    mp_batch_share(&b, &one);
    put_int(&b, "a", 1);
    mp_batch_share(&b, &two);
    put_int(&b, "bb", 1);
    mp_batch_share(&b, &one);
    put_int(&b, "a", 1);
    mp_batch_share(&b, NULL);
    put_int(&b, "a", 1);
    assert_int_equal(b.n_shares, 3);
    for (unsigned i = 0; i < 3; i++)
        sum += b.shares[i].bytes;
    assert_true(sum == b.ops.len);
    assert_true(b.shares[1].counter == &one);
    assert_true(b.shares[1].bytes == 2 * b.shares[0].bytes);
    assert_true(b.shares[2].bytes == b.shares[0].bytes + 1);
    mp_batch_reset(&b);
    assert_int_equal(b.n_shares, 1);
    for (unsigned i = 0; i < 100; i++)
        mp_batch_share(&b, &one + i);
    assert_int_equal(b.n_shares, 101);
    mp_batch_fini(&b);
}

static void a_batch_is_refused_where_its_bytes_are_torn(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0) {
        struct mp_db *db = db_open();
        struct mp_batch b;

        mp_batch_init(&b);
        put_int(&b, "a", 1);
        b.ops.len--;
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        mp_db_apply(db, &b, &why) ? _exit(1) : _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void a_snapshot_sees_one_moment(void **state)
{
    struct mp_db *db = db_open(), *reader;

    (void)state;
    write_int(db, "a", 1);
    assert_int_equal(mp_db_open_reader(&reader, dir, &why), 0);
    assert_int_equal(mp_db_snapshot(reader, &why), 0);
    assert_int_equal(read_int(reader, "a"), 1);
    write_int(db, "a", 2);
    assert_int_equal(read_int(reader, "a"), 1);
    mp_db_snapshot_end(reader);
    assert_int_equal(read_int(reader, "a"), 2);
    mp_db_close(reader);
    mp_db_close(db);
}

/* ---- the file ---- */

static void it_is_a_wal_database_of_mode_0640(void **state)
{
    struct mp_db *db;
    struct stat st;
    mode_t mask = umask(0);

    (void)state;
    db = db_open();
    umask(mask);
    write_int(db, "a", 1);
    assert_int_equal(stat(in_dir("moonpool.db"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(stat(in_dir("moonpool.db-wal"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    mp_db_close(db);
    assert_false(exists("moonpool.db-wal"));
    assert_int_equal(files(), 1);
    db = db_open();
    assert_false(how.created);
    assert_int_equal(how.migrated_from, 0);
    assert_int_equal(read_int(db, "a"), 1);
    mp_db_close(db);
}

static void what_a_killed_process_committed_is_there(void **state)
{
    struct mp_db *db;

    (void)state;
    die_with_a_wal();
    db = db_open();
    assert_false(how.created);
    assert_string_equal(how.set_aside, "");
    assert_int_equal(read_int(db, "survivor"), 7);
    mp_db_close(db);
}

static void the_wal_stays_bounded_by_checkpoints(void **state)
{
    struct mp_db *db = db_open();
    struct mp_batch b;
    struct stat st;

    (void)state;
    mp_batch_init(&b);
    for (int i = 0; i < 200; i++) {
        put_bytes(&b, "a", 20000);
        assert_int_equal(apply(db, &b), 0);
        if (mp_db_pending(db) >= 1 << 20) {
            mp_db_checkpoint(db);
            assert_int_equal(mp_db_pending(db), 0);
        }
    }
    assert_int_equal(stat(in_dir("moonpool.db-wal"), &st), 0);
    assert_true(st.st_size < 3 << 19);
    mp_batch_fini(&b);
    mp_db_close(db);
}

static void a_large_wal_is_cut_when_it_begins_anew(void **state)
{
    struct mp_db *db = db_open();
    struct mp_batch b;
    struct stat st;

    (void)state;
    mp_batch_init(&b);
    for (int i = 0; i < 100; i++) {
        char actor[12];

        snprintf(actor, sizeof actor, "%d", i);
        put_bytes(&b, actor, 60000);
    }
    assert_int_equal(apply(db, &b), 0);
    mp_db_checkpoint(db);
    assert_int_equal(stat(in_dir("moonpool.db-wal"), &st), 0);
    assert_true(st.st_size > 4 << 20);
    write_int(db, "a", 1);
    assert_int_equal(stat(in_dir("moonpool.db-wal"), &st), 0);
    assert_true(st.st_size <= 1 << 20);
    mp_batch_fini(&b);
    mp_db_close(db);
}

static void bytes_written_are_those_of_wal_and_checkpoints(void **state)
{
    struct mp_db *db = db_open();
    uint64_t before;

    (void)state;
    write_int(db, "a", 1);
    before = mp_db_written(db);
    write_int(db, "a", 2);
    assert_int_equal(mp_db_written(db) - before, 4096 + 24);
    before = mp_db_written(db);
    mp_db_checkpoint(db);
    assert_true(mp_db_written(db) - before >= 4096);
    before = mp_db_written(db);
    assert_int_equal(read_int(db, "a"), 2);
    assert_true(mp_db_written(db) == before);
    mp_db_close(db);
}

static void used_falls_when_rows_go(void **state)
{
    struct mp_db *db = db_open(), *reader;
    struct mp_batch b;
    uint64_t empty = mp_db_used(db);

    (void)state;
    mp_batch_init(&b);
    put_bytes(&b, "a", 500000);
    assert_int_equal(apply(db, &b), 0);
    assert_true(mp_db_used(db) > empty + 490000);
    assert_int_equal(mp_db_open_reader(&reader, dir, &why), 0);
    assert_true(mp_db_used(reader) == mp_db_used(db));
    mp_batch_op(&b, MP_SQL_STATE_DELETE);
    mp_batch_text(&b, MP_S("fn"));
    mp_batch_text(&b, MP_S("a"));
    mp_batch_text(&b, MP_S("n"));
    assert_int_equal(apply(db, &b), 0);
    assert_true(mp_db_used(db) == empty);
    assert_true(mp_db_used(reader) == empty);
    mp_db_close(reader);
    mp_batch_fini(&b);
    mp_db_close(db);
}

/* ---- a failing world ---- */

static void the_quota_is_named_and_nothing_of_it_is_written(void **state)
{
    struct mp_db *db;
    struct mp_batch b;

    (void)state;
    assert_int_equal(mp_db_open(&db, dir, 256 << 10, &how, &why), 0);
    mp_batch_init(&b);
    put_int(&b, "small", 1);
    put_bytes(&b, "a", 600000);
    assert_int_equal(apply(db, &b), MP_EFULL);
    assert_string_equal(why.text,
                        "the database has reached [store] max_size = 256K");
    assert_int_equal(read_int(db, "small"), -1);
    put_int(&b, "small", 2);
    assert_int_equal(apply(db, &b), 0);
    mp_db_close(db);
    mp_batch_fini(&b);
}

static void beyond_the_quota_there_is_a_reserve(void **state)
{
    struct mp_db *db;
    struct mp_batch b;

    (void)state;
    assert_int_equal(mp_db_open(&db, dir, 256 << 10, &how, &why), 0);
    mp_batch_init(&b);
    put_bytes(&b, "a", 300000); /* an estimate that was wrong */
    assert_int_equal(apply(db, &b), 0);
    assert_true(mp_db_used(db) > 256 << 10);
    mp_db_close(db);
    /* And beyond what is in use, when the quota has become less. */
    assert_int_equal(mp_db_open(&db, dir, 64 << 10, &how, &why), 0);
    put_bytes(&b, "b", 100000);
    assert_int_equal(apply(db, &b), 0);
    put_bytes(&b, "c", 200000);
    assert_int_equal(apply(db, &b), MP_EFULL);
    mp_db_close(db);
    mp_batch_fini(&b);
}

static void a_write_the_system_refuses_is_said_and_can_be_repeated(void **state)
{
    struct mp_db *db = db_open();
    struct mp_batch b;
    struct rlimit limit, before;

    (void)state;
    mp_batch_init(&b);
    write_int(db, "a", 1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 128 << 10;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    put_int(&b, "a", 2);
    put_bytes(&b, "b", 200000);
    assert_int_equal(apply(db, &b), MP_EIO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_string_equal(why.text, "can't write the database: File too large");
    assert_int_equal(read_int(db, "a"), 1);
    mp_db_close(db);
    db = db_open();
    assert_string_equal(how.set_aside, "");
    assert_int_equal(read_int(db, "a"), 1);
    write_int(db, "a", 3);
    assert_int_equal(read_int(db, "a"), 3);
    mp_batch_fini(&b);
    mp_db_close(db);
}

enum { NO_DISK = 77 };

/* In a mount namespace of its own, so that nothing is left behind: 0, or the
 * number of the step that went wrong. */
static int on_a_small_disk(void)
{
    struct mp_db *db;
    struct mp_batch b;

    if (unshare(CLONE_NEWNS) ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", dir, "tmpfs", 0, "size=512k"))
        return NO_DISK;
    mp_batch_init(&b);
    if (mp_db_open(&db, dir, QUOTA, &how, &why))
        return 1;
    put_int(&b, "a", 1);
    if (apply(db, &b))
        return 2;
    put_bytes(&b, "b", 500000);
    if (apply(db, &b) != MP_EIO || strcmp(why.text, "the disk is full") != 0)
        return 3;
    if (read_int(db, "a") != 1)
        return 4;
    mp_db_close(db);
    if (mp_db_open(&db, dir, QUOTA, &how, &why))
        return 5;
    put_int(&b, "a", 2);
    if (how.set_aside[0] || apply(db, &b) || read_int(db, "a") != 2)
        return 6;
    mp_db_close(db);
    mp_batch_fini(&b);
    return 0;
}

static void a_full_disk_is_called_that(void **state)
{
    pid_t pid = fork();
    int status;

    (void)state;
    if (pid == 0)
        _exit(on_a_small_disk());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_DISK) {
        print_message("no small disk can be mounted here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

static void a_file_that_may_not_be_written_is_left_alone(void **state)
{
    struct mp_db *db;

    (void)state;
    mp_db_close(db_open());
    assert_int_equal(chmod(in_dir("moonpool.db"), 0440), 0);
    if (access(in_dir("moonpool.db"), W_OK) == 0) {
        print_message("the superuser may write anything\n");
        skip();
    }
    assert_int_equal(mp_db_open(&db, dir, QUOTA, &how, &why), MP_EIO);
    assert_non_null(strstr(why.text, "moonpool.db is read-only"));
    assert_int_equal(files(), 1);
}

static void a_directory_that_is_not_there_is_an_error(void **state)
{
    struct mp_db *db;
    char saved[sizeof dir];

    (void)state;
    strcpy(saved, dir);
    strcat(dir, "/none");
    assert_int_equal(mp_db_open(&db, dir, QUOTA, &how, &why), MP_EIO);
    assert_non_null(strstr(why.text, "No such file"));
    assert_int_equal(mp_db_open_reader(&db, dir, &why), MP_EIO);
    assert_non_null(strstr(why.text, "No such file"));
    strcpy(dir, saved);
}

static void a_file_in_its_place_that_is_none_is_an_error(void **state)
{
    struct mp_db *db;

    (void)state;
    assert_int_equal(mkdir(in_dir("moonpool.db"), 0700), 0);
    assert_int_equal(mp_db_open(&db, dir, QUOTA, &how, &why), MP_EIO);
    assert_non_null(strstr(why.text, "can't open"));
    assert_int_equal(rmdir(in_dir("moonpool.db")), 0);
}

static void a_database_deleted_under_it_is_noticed(void **state)
{
    struct mp_db *db = db_open();
    struct mp_batch b;

    (void)state;
    mp_batch_init(&b);
    assert_int_equal(unlink(in_dir("moonpool.db")), 0);
    put_int(&b, "a", 1);
    assert_int_equal(apply(db, &b), MP_EIO);
    assert_non_null(strstr(why.text, "was moved or deleted"));
    mp_db_close(db);
    db = db_open();
    assert_true(how.created);
    mp_db_close(db);
    mp_batch_fini(&b);
}

/* ---- other versions ---- */

static void refused_and_untouched(const char *sentence)
{
    struct mp_buf before, after, wal, wal_after;
    bool has_wal = exists("moonpool.db-wal");
    struct mp_db *db;

    read_file("moonpool.db", &before);
    if (has_wal)
        read_file("moonpool.db-wal", &wal);
    assert_int_equal(mp_db_open(&db, dir, QUOTA, &how, &why), MP_EPARSE);
    assert_null(db);
    print_message("%s\n", why.text);
    assert_non_null(strstr(why.text, sentence));
    read_file("moonpool.db", &after);
    assert_true(mp_slice_eq(mp_buf_bytes(&before), mp_buf_bytes(&after)));
    assert_int_equal(exists("moonpool.db-wal"), has_wal);
    if (has_wal) {
        read_file("moonpool.db-wal", &wal_after);
        assert_true(mp_slice_eq(mp_buf_bytes(&wal), mp_buf_bytes(&wal_after)));
        mp_buf_fini(&wal);
        mp_buf_fini(&wal_after);
    }
    mp_buf_fini(&before);
    mp_buf_fini(&after);
}

static void a_newer_schema_is_refused_and_not_touched(void **state)
{
    (void)state;
    other_program("PRAGMA journal_mode = DELETE; CREATE TABLE future (x);"
                  "PRAGMA user_version = 1000");
    refused_and_untouched("of a newer moonpool: its schema is 1000");
    assert_int_equal(files(), 1);
    other_program("PRAGMA journal_mode = WAL");
    refused_and_untouched("of a newer moonpool");
}

/* The version in the file is the old one then. */
static void a_newer_schema_is_seen_in_the_wal_too(void **state)
{
    pid_t pid;
    int status;

    (void)state;
    mp_db_close(db_open());
    pid = fork();
    if (pid == 0) {
        sqlite3 *s;

        sqlite3_open(in_dir("moonpool.db"), &s);
        sqlite3_exec(s, "PRAGMA user_version = 1001", NULL, NULL, NULL);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    refused_and_untouched("its schema is 1001");
}

static void a_database_of_another_program_is_not_touched(void **state)
{
    (void)state;
    other_program("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
    refused_and_untouched("is not a database of moonpool");
}

static void an_empty_file_becomes_a_database(void **state)
{
    struct mp_db *db;

    (void)state;
    write_file("moonpool.db", "", 0);
    db = db_open();
    assert_true(how.created);
    assert_string_equal(how.set_aside, "");
    mp_db_close(db);
}

/* ---- damage ---- */

static void a_corrupt_file_is_set_aside_and_named(void **state)
{
    static char garbage[10000];
    struct mp_buf bytes;
    struct mp_db *db;

    (void)state;
    memset(garbage, 'g', sizeof garbage);
    write_file("moonpool.db", garbage, sizeof garbage);
    db = db_open();
    assert_true(how.created);
    assert_int_equal(strncmp(how.set_aside, "moonpool.db.corrupt-2", 21), 0);
    assert_int_equal(strlen(how.set_aside),
                     strlen("moonpool.db.corrupt-20260301-120000"));
    assert_non_null(strstr(how.aside_why, "not a database"));
    read_file(how.set_aside, &bytes);
    assert_true(
        mp_slice_eq(mp_buf_bytes(&bytes), mp_slice(garbage, sizeof garbage)));
    mp_buf_fini(&bytes);
    write_int(db, "a", 1);
    mp_db_close(db);
    assert_int_equal(files(), 2);
}

static void names_of_files_set_aside_do_not_meet(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 5; i++) {
        write_file("moonpool.db", "zero bytes of sense here", 24);
        mp_db_close(db_open());
        assert_int_equal(files(), i + 1);
        assert_true(exists(how.set_aside));
    }
}

static void one_wrong_page_is_found_after_a_kill(void **state)
{
    static const char wrong[4096] = "not a page of a b-tree";
    struct mp_db *db = db_open();
    struct mp_batch b;
    int fd;

    (void)state;
    mp_batch_init(&b);
    for (int i = 0; i < 100; i++) {
        char actor[12];

        snprintf(actor, sizeof actor, "%d", i);
        put_bytes(&b, actor, 2000);
    }
    assert_int_equal(apply(db, &b), 0);
    mp_db_close(db);
    die_with_a_wal();
    fd = open(in_dir("moonpool.db"), O_WRONLY);
    assert_int_equal(pwrite(fd, wrong, sizeof wrong, 40 * 4096), 4096);
    close(fd);
    db = db_open();
    assert_true(how.created);
    assert_true(exists(how.set_aside));
    print_message("%s\n", how.aside_why);
    /* The WAL went with it, and belongs to it still. */
    snprintf(how.set_aside + strlen(how.set_aside), 8, "-wal");
    assert_true(exists(how.set_aside));
    assert_int_equal(read_int(db, "survivor"), -1);
    mp_db_close(db);
    mp_batch_fini(&b);
}

/* A large file that was closed cleanly is not read whole at the start: its
 * damage is found when it is met, and then looked for. */
static void damage_that_is_met_later_is_found_at_the_next_opening(void **state)
{
    static const char wrong[4096] = "not a page of a b-tree";
    struct mp_db *db = db_open();
    struct mp_batch b;
    int fd, rc = 0;

    (void)state;
    mp_batch_init(&b);
    for (int i = 0; i < 2000; i++) {
        char actor[12];

        snprintf(actor, sizeof actor, "%d", i);
        put_bytes(&b, actor, 1000);
    }
    assert_int_equal(apply(db, &b), 0);
    mp_db_close(db);
    fd = open(in_dir("moonpool.db"), O_WRONLY);
    for (int i = 100; i < 400; i++)
        assert_int_equal(pwrite(fd, wrong, sizeof wrong, i * 4096), 4096);
    close(fd);
    db = db_open();
    assert_false(how.created);
    for (int i = 0; rc == 0 && i < 2000; i++) {
        struct mp_query *q = mp_query_begin(db, MP_SQL_STATE_GET);
        char actor[12];

        snprintf(actor, sizeof actor, "%d", i);
        mp_query_text(q, MP_S("fn"));
        mp_query_text(q, mp_slice_str(actor));
        mp_query_text(q, MP_S("n"));
        rc = mp_query_step(q, &why) < 0;
        mp_query_end(q);
    }
    assert_int_equal(rc, 1);
    assert_non_null(strstr(why.text, "damaged"));
    put_int(&b, "x", 1);
    assert_int_equal(apply(db, &b), MP_EIO);
    assert_non_null(strstr(why.text, "damaged"));
    mp_db_close(db);
    db = db_open();
    assert_true(how.created);
    assert_true(exists(how.set_aside));
    write_int(db, "x", 1);
    mp_db_close(db);
    mp_batch_fini(&b);
}

/* ---- the lock ---- */

static void the_directory_is_one_process_s(void **state)
{
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
    int lock = mp_store_lock(dir_fd, &why);
    char expected[100];

    (void)state;
    assert_true(lock >= 0);
    assert_int_equal(mp_store_lock(dir_fd, &why), MP_EDENY);
    snprintf(expected, sizeof expected,
             "another moonpool (pid %ld) has this data directory",
             (long)getpid());
    assert_string_equal(why.text, expected);
    close(lock);
    lock = mp_store_lock(dir_fd, &why);
    assert_true(lock >= 0);
    close(lock);
    close(dir_fd);
}

/* ---- speed ---- */

static void a_transaction_of_256_is_cheap(void **state)
{
    struct mp_db *db = db_open();
    struct mp_batch b;
    int64_t recording = 0, applying = 0, begun;

    (void)state;
    mp_batch_init(&b);
    for (int t = 0; t < 40; t++) {
        begun = mp_now_us();
        for (int i = 0; i < 256; i++) {
            char actor[16] = "sensor-00";

            actor[7] = (char)('0' + i % 10);
            actor[8] = (char)('0' + i / 10 % 10);
            put_int(&b, actor, t * 256 + i);
        }
        recording += mp_now_us() - begun;
        begun = mp_now_us();
        assert_int_equal(apply(db, &b), 0);
        applying += mp_now_us() - begun;
        if (mp_db_pending(db) >= 1 << 20)
            mp_db_checkpoint(db);
    }
    print_message("recording %.0f ns an operation, applying %.2f us (%.0f/s)\n",
                  (double)recording * 1000 / (40 * 256),
                  (double)applying / (40 * 256),
                  40 * 256 * 1e6 / (double)applying);
    mp_batch_fini(&b);
    mp_db_close(db);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_applied_is_read_back),
        TEST(every_statement_can_be_prepared),
        TEST(a_batch_is_there_whole_or_not_at_all),
        TEST(an_empty_batch_writes_nothing),
        TEST(a_share_has_the_bytes_recorded_on_its_account),
        TEST(a_batch_is_refused_where_its_bytes_are_torn),
        TEST(a_snapshot_sees_one_moment),
        TEST(it_is_a_wal_database_of_mode_0640),
        TEST(what_a_killed_process_committed_is_there),
        TEST(the_wal_stays_bounded_by_checkpoints),
        TEST(a_large_wal_is_cut_when_it_begins_anew),
        TEST(bytes_written_are_those_of_wal_and_checkpoints),
        TEST(used_falls_when_rows_go),
        TEST(the_quota_is_named_and_nothing_of_it_is_written),
        TEST(beyond_the_quota_there_is_a_reserve),
        TEST(a_write_the_system_refuses_is_said_and_can_be_repeated),
        TEST(a_full_disk_is_called_that),
        TEST(a_file_that_may_not_be_written_is_left_alone),
        TEST(a_directory_that_is_not_there_is_an_error),
        TEST(a_file_in_its_place_that_is_none_is_an_error),
        TEST(a_database_deleted_under_it_is_noticed),
        TEST(a_newer_schema_is_refused_and_not_touched),
        TEST(a_newer_schema_is_seen_in_the_wal_too),
        TEST(a_database_of_another_program_is_not_touched),
        TEST(an_empty_file_becomes_a_database),
        TEST(a_corrupt_file_is_set_aside_and_named),
        TEST(names_of_files_set_aside_do_not_meet),
        TEST(one_wrong_page_is_found_after_a_kill),
        TEST(damage_that_is_met_later_is_found_at_the_next_opening),
        TEST(the_directory_is_one_process_s),
        TEST(a_transaction_of_256_is_cheap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
