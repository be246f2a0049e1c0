/*
 * test_reader.c - reads in another thread, answered in order on this one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/reader.h"

enum { QUOTA = 64 << 20, DEADLINE_MS = 30000 };

struct job {
    struct mp_read read;
    char name;
    int calls, rc;
    char text[200];
    int returns; /* what work is to return */
    int64_t n;   /* what it read; -1: nothing */
    pthread_t worked_in;
    struct job *next; /* given when this one is done */
};

static struct kit {
    char dir[128];
    uv_loop_t loop;
    uv_timer_t deadline;
    struct mp_reader_thread r;
    struct mp_db *db; /* the writer */
    char log[200];
} k;

static void on_deadline(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("waited too long; so far: %s", k.log);
}

#define UNTIL(cond)                                                            \
    do {                                                                       \
        uv_timer_start(&k.deadline, on_deadline, DEADLINE_MS, 0);              \
        while (!(cond))                                                        \
            uv_run(&k.loop, UV_RUN_ONCE);                                      \
        uv_timer_stop(&k.deadline);                                            \
    } while (0)

static void open_db(struct mp_db_opened *how)
{
    struct mp_why why;

    if (mp_db_open(&k.db, k.dir, QUOTA, how, &why))
        fail_msg("%s", why.text);
}

static void write_kept(const char *name, int64_t n)
{
    struct mp_batch b;
    struct mp_why why;

    mp_batch_init(&b);
    mp_batch_op(&b, MP_SQL_KEPT_PUT);
    mp_batch_text(&b, mp_slice_str(name));
    mp_batch_int(&b, n);
    if (mp_db_apply(k.db, &b, &why))
        fail_msg("%s", why.text);
    mp_batch_fini(&b);
}

static int work(struct mp_read *r, struct mp_db *db, struct mp_why *why)
{
    struct job *j = (struct job *)r;
    struct mp_query *q = mp_query_begin(db, MP_SQL_KEPT_GET);
    int rc;

    j->worked_in = pthread_self();
    j->n = -1;
    mp_query_text(q, MP_S("n"));
    rc = mp_query_step(q, why);
    if (rc == 1)
        j->n = mp_column_int(q, 0);
    mp_query_end(q);
    if (rc < 0)
        return rc;
    return j->returns ? mp_why_set(why, j->returns, "as it was told") : 0;
}

static void done(struct mp_read *r, int rc, const struct mp_why *why)
{
    struct job *j = (struct job *)r;
    char word[4] = {j->name, rc ? '!' : ' ', '\0'};

    j->calls++;
    j->rc = rc;
    snprintf(j->text, sizeof j->text, "%.199s", why->text);
    strncat(k.log, word, sizeof k.log - strlen(k.log) - 1);
    if (j->next)
        mp_reader_do(&k.r, &j->next->read);
}

static void job_init(struct job *j, char name)
{
    *j = (struct job){
        .read = {.work = work, .done = done}, .name = name, .n = -1};
    mp_list_init(&j->read.link);
}

static void give(struct job *j, char name)
{
    job_init(j, name);
    mp_reader_do(&k.r, &j->read);
}

static int set_up(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    memset(&k, 0, sizeof k);
    snprintf(k.dir, sizeof k.dir, "%s/moonpool-reader-XXXXXX",
             tmp ? tmp : "/tmp");
    if (!mkdtemp(k.dir))
        return -1;
    uv_loop_init(&k.loop);
    uv_timer_init(&k.loop, &k.deadline);
    mp_reader_open(&k.r, &k.loop, k.dir);
    return 0;
}

static int tear_down(void **state)
{
    DIR *d = opendir(k.dir);
    struct dirent *e;
    char path[600];

    (void)state;
    uv_close((uv_handle_t *)&k.deadline, NULL);
    uv_run(&k.loop, UV_RUN_NOWAIT);
    while ((e = readdir(d)))
        if (e->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", k.dir, e->d_name);
            unlink(path);
        }
    closedir(d);
    rmdir(k.dir);
    return uv_loop_close(&k.loop);
}

static void jobs_are_done_in_order_by_another_thread(void **state)
{
    struct mp_db_opened how;
    struct job jobs[20];

    (void)state;
    open_db(&how);
    write_kept("n", 5);
    for (int i = 0; i < 20; i++)
        give(&jobs[i], (char)('a' + i));
    assert_string_equal(k.log, "");
    UNTIL(jobs[19].calls);
    assert_string_equal(k.log, "a b c d e f g h i j k l m n o p q r s t ");
    assert_false(pthread_equal(jobs[0].worked_in, pthread_self()));
    assert_true(jobs[0].n == 5 && jobs[19].n == 5);
    mp_reader_close(&k.r);
    mp_db_close(k.db);
}

static void a_job_sees_what_was_committed_before_it(void **state)
{
    struct mp_db_opened how;
    struct job j;

    (void)state;
    open_db(&how);
    for (int i = 0; i < 50; i++) {
        write_kept("n", i);
        give(&j, 'a');
        UNTIL(j.calls);
        assert_true(j.n == i);
    }
    mp_reader_close(&k.r);
    mp_db_close(k.db);
}

static void what_work_returns_is_told_with_its_reason(void **state)
{
    struct mp_db_opened how;
    struct job one, two;

    (void)state;
    open_db(&how);
    job_init(&one, 'a');
    one.returns = MP_ERANGE;
    mp_reader_do(&k.r, &one.read);
    give(&two, 'b');
    UNTIL(two.calls);
    assert_int_equal(one.rc, MP_ERANGE);
    assert_string_equal(one.text, "as it was told");
    assert_int_equal(two.rc, 0);
    assert_string_equal(two.text, "");
    mp_reader_close(&k.r);
    mp_db_close(k.db);
}

static void a_job_may_give_the_next_one(void **state)
{
    struct mp_db_opened how;
    struct job one, two;

    (void)state;
    open_db(&how);
    job_init(&one, 'a');
    job_init(&two, 'b');
    one.next = &two;
    mp_reader_do(&k.r, &one.read);
    UNTIL(two.calls);
    assert_string_equal(k.log, "a b ");
    mp_reader_close(&k.r);
    mp_db_close(k.db);
}

static void without_a_database_jobs_fail_until_there_is_one(void **state)
{
    struct mp_db_opened how;
    struct job j;

    (void)state;
    give(&j, 'a');
    UNTIL(j.calls);
    assert_int_equal(j.rc, MP_EIO);
    assert_non_null(strstr(j.text, "can't open"));
    open_db(&how);
    write_kept("n", 1);
    give(&j, 'b');
    UNTIL(j.calls);
    assert_int_equal(j.rc, 0);
    assert_true(j.n == 1);
    mp_reader_close(&k.r);
    mp_db_close(k.db);
}

/* The reader still has the old one open when its name is given away, and
 * closes it while the new one is in use. */
static void a_new_file_is_read_after_reopen_and_keeps_its_wal(void **state)
{
    struct mp_db_opened how;
    struct job j;
    char path[200];
    int fd;

    (void)state;
    open_db(&how);
    write_kept("n", 1);
    give(&j, 'a');
    UNTIL(j.calls);
    assert_true(j.n == 1);
    mp_db_checkpoint(k.db); /* or the WAL has a whole first page still */
    mp_db_close(k.db);
    snprintf(path, sizeof path, "%s/moonpool.db", k.dir);
    fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "garbage", 7, 0), 7);
    open_db(&how);
    close(fd);
    assert_true(how.created);
    assert_string_not_equal(how.set_aside, "");
    write_kept("n", 2);
    mp_reader_reopen(&k.r);
    give(&j, 'b');
    UNTIL(j.calls);
    assert_int_equal(j.rc, 0);
    assert_true(j.n == 2);
    strcat(path, "-wal");
    assert_int_equal(access(path, F_OK), 0);
    write_kept("n", 3);
    give(&j, 'c');
    UNTIL(j.calls);
    assert_true(j.n == 3);
    mp_reader_close(&k.r);
    mp_db_close(k.db);
    open_db(&how);
    assert_false(how.created);
    assert_string_equal(how.set_aside, "");
    mp_db_close(k.db);
}

static void close_tells_all_that_are_left(void **state)
{
    struct mp_db_opened how;
    struct job jobs[50], last;
    unsigned ok = 0;

    (void)state;
    open_db(&how);
    for (int i = 0; i < 50; i++)
        job_init(&jobs[i], 'a');
    job_init(&last, 'z');
    jobs[49].next = &last;
    for (int i = 0; i < 50; i++)
        mp_reader_do(&k.r, &jobs[i].read);
    mp_reader_close(&k.r);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(jobs[i].calls, 1);
        ok += jobs[i].rc == 0;
    }
    assert_int_equal(last.calls, 1);
    assert_int_equal(last.rc, MP_EIO);
    print_message("%u of 50 were read\n", ok);
    mp_db_close(k.db);
}

static void it_leaves_the_wal_to_the_writer(void **state)
{
    struct mp_db_opened how;
    struct job j;
    char path[200];

    (void)state;
    open_db(&how);
    write_kept("n", 1);
    give(&j, 'a');
    UNTIL(j.calls);
    snprintf(path, sizeof path, "%s/moonpool.db-wal", k.dir);
    mp_db_close(k.db); /* not the last one: the WAL stays */
    assert_int_equal(access(path, F_OK), 0);
    mp_reader_close(&k.r);
    assert_int_equal(access(path, F_OK), 0);
    open_db(&how);
    assert_false(how.created);
    mp_db_close(k.db);
    assert_int_not_equal(access(path, F_OK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(jobs_are_done_in_order_by_another_thread),
        TEST(a_job_sees_what_was_committed_before_it),
        TEST(what_work_returns_is_told_with_its_reason),
        TEST(a_job_may_give_the_next_one),
        TEST(without_a_database_jobs_fail_until_there_is_one),
        TEST(a_new_file_is_read_after_reopen_and_keeps_its_wal),
        TEST(close_tells_all_that_are_left),
        TEST(it_leaves_the_wal_to_the_writer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
