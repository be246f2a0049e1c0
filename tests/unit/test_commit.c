/*
 * test_commit.c - tickets become durable in order, or everybody is told.
 *
 * A real loop, the real writer, a database in a directory of its own.  What
 * happens is noted as words, and the words are compared.
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
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/commit.h"
#include "core/metrics.h"

enum { QUOTA = 64 << 20, DEADLINE_MS = 30000 };

struct waiter {
    struct mp_commit_wait wait;
    char name;
    int calls, rc;
};

static struct kit {
    char dir[128], data[160];
    uv_loop_t loop;
    uv_timer_t deadline;
    struct mp_commit c;
    char log[400];
    unsigned opened, unable, failed, seals;
    struct mp_db_opened how;
    char why[480];
    bool no_go;    /* don't go on when it is opened */
    int dirty;     /* values that seal records */
    int64_t value; /* of each */
    uint64_t *share;
} k;

static void note(const char *word)
{
    strncat(k.log, word, sizeof k.log - strlen(k.log) - 1);
}

static void on_opened(void *arg, const struct mp_db_opened *how)
{
    (void)arg;
    k.opened++;
    k.how = *how;
    note("opened ");
    if (!k.no_go)
        mp_commit_go(&k.c);
}

static void on_unable(void *arg, const struct mp_why *why)
{
    (void)arg;
    k.unable++;
    snprintf(k.why, sizeof k.why, "%s", why->text);
    note("unable ");
}

static void on_failed(void *arg, const struct mp_why *why)
{
    (void)arg;
    k.failed++;
    snprintf(k.why, sizeof k.why, "%s", why->text);
    note("failed ");
}

static void record(struct mp_batch *b, int n, size_t bytes)
{
    char *blob = mp_zalloc(bytes + 1);
    char name[16];

    snprintf(name, sizeof name, "name%d", n);
    mp_batch_op(b, MP_SQL_KEPT_PUT);
    mp_batch_text(b, mp_slice_str(name));
    mp_batch_blob(b, mp_slice(blob, bytes));
    free(blob);
}

static void on_seal(void *arg, struct mp_batch *batch)
{
    (void)arg;
    k.seals++;
    mp_batch_share(batch, k.share);
    for (; k.dirty; k.dirty--)
        record(batch, k.dirty, 100);
}

static void on_deadline(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("waited too long; so far: %s", k.log);
}

static void done(struct mp_commit_wait *w, int rc)
{
    struct waiter *waiter = (struct waiter *)w;
    char word[4] = {waiter->name, rc ? '!' : ' ', '\0'};

    waiter->calls++;
    waiter->rc = rc;
    note(word);
}

static void once(void)
{
    uv_run(&k.loop, UV_RUN_ONCE);
}

#define UNTIL(cond)                                                            \
    do {                                                                       \
        uv_timer_start(&k.deadline, on_deadline, DEADLINE_MS, 0);              \
        while (!(cond))                                                        \
            once();                                                            \
        uv_timer_stop(&k.deadline);                                            \
    } while (0)

static void start_with(uint64_t max_size, int64_t interval_us)
{
    const struct mp_commit_user user = {.opened = on_opened,
                                        .unable = on_unable,
                                        .failed = on_failed,
                                        .seal = on_seal};

    mp_commit_open(&k.c, &k.loop, k.data, max_size, interval_us, &user);
}

static void start(void)
{
    start_with(QUOTA, 0);
    UNTIL(k.opened);
    k.log[0] = '\0';
}

static void stop(void)
{
    mp_commit_close(&k.c);
    uv_run(&k.loop, UV_RUN_NOWAIT);
}

static int set_up(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    memset(&k, 0, sizeof k);
    snprintf(k.dir, sizeof k.dir, "%s/moonpool-commit-XXXXXX",
             tmp ? tmp : "/tmp");
    if (!mkdtemp(k.dir))
        return -1;
    snprintf(k.data, sizeof k.data, "%s", k.dir);
    uv_loop_init(&k.loop);
    return uv_timer_init(&k.loop, &k.deadline);
}

static void empty(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    char path[600];

    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            unlink(path);
        }
    if (d)
        closedir(d);
    rmdir(dir);
}

static int tear_down(void **state)
{
    (void)state;
    uv_close((uv_handle_t *)&k.deadline, NULL);
    uv_run(&k.loop, UV_RUN_NOWAIT);
    empty(k.data);
    empty(k.dir);
    return uv_loop_close(&k.loop);
}

static void wait_on(struct waiter *w, char name, uint64_t ticket)
{
    w->name = name;
    w->calls = 0;
    mp_commit_wait(&k.c, &w->wait, ticket, done);
}

/* What is on disk: -1 when there is nothing of this name. */
static int kept_bytes(int n)
{
    struct mp_why why;
    struct mp_db *db;
    struct mp_query *q;
    char name[16];
    int bytes = -1;

    assert_int_equal(mp_db_open_reader(&db, k.data, &why), 0);
    snprintf(name, sizeof name, "name%d", n);
    q = mp_query_begin(db, MP_SQL_KEPT_GET);
    mp_query_text(q, mp_slice_str(name));
    if (mp_query_step(q, &why) == 1)
        bytes = (int)mp_column_bytes(q, 0).len;
    mp_query_end(q);
    mp_db_close(db);
    return bytes;
}

/* ---- the ordinary case ---- */

static void a_ticket_is_durable_when_its_waiter_is_called(void **state)
{
    struct waiter w;
    uint64_t ticket;

    (void)state;
    start();
    assert_true(k.how.created);
    k.dirty = 1;
    ticket = mp_commit_ticket(&k.c);
    wait_on(&w, 'a', ticket);
    assert_false(mp_commit_is_durable(&k.c, ticket));
    mp_commit_turn(&k.c, false);
    assert_int_equal(w.calls, 0);
    UNTIL(w.calls);
    assert_int_equal(w.rc, 0);
    assert_true(mp_commit_is_durable(&k.c, ticket));
    assert_int_equal(kept_bytes(1), 100);
    assert_true(k.c.used > 0);
    stop();
}

static void waiters_are_called_in_the_order_of_their_tickets(void **state)
{
    struct waiter w[6];
    uint64_t one, two;

    (void)state;
    start();
    record(mp_commit_batch(&k.c), 1, 10);
    one = mp_commit_ticket(&k.c);
    wait_on(&w[0], 'a', one);
    mp_commit_turn(&k.c, false);
    assert_true(k.c.writing);
    two = mp_commit_ticket(&k.c);
    assert_true(two == one + 1);
    record(mp_commit_batch(&k.c), 2, 10);
    wait_on(&w[1], 'd', two);
    wait_on(&w[2], 'b', one);
    wait_on(&w[3], 'e', two);
    wait_on(&w[4], 'c', one);
    wait_on(&w[5], 'x', one);
    mp_commit_wait_not(&w[5].wait);
    UNTIL(w[3].calls);
    assert_string_equal(k.log, "a b c d e ");
    stop();
}

static void a_durable_ticket_calls_back_later_never_at_once(void **state)
{
    struct waiter w;
    uint64_t ticket;

    (void)state;
    start();
    record(mp_commit_batch(&k.c), 1, 10);
    ticket = mp_commit_ticket(&k.c);
    mp_commit_turn(&k.c, false);
    UNTIL(mp_commit_is_durable(&k.c, ticket));
    wait_on(&w, 'a', ticket);
    assert_int_equal(w.calls, 0);
    mp_commit_turn(&k.c, false);
    assert_int_equal(w.calls, 1);
    wait_on(&w, 'b', ticket); /* and without a turn */
    UNTIL(w.calls);
    assert_string_equal(k.log, "a b ");
    stop();
}

static struct waiter chained[3];

static void done_and_again(struct mp_commit_wait *w, int rc)
{
    done(w, rc);
    wait_on(&chained[1], 'b', w->ticket); /* durable */
    wait_on(&chained[2], 'c', mp_commit_ticket(&k.c));
    record(mp_commit_batch(&k.c), 2, 10);
    assert_int_equal(chained[1].calls, 0);
}

static void a_waiter_may_wait_again(void **state)
{
    (void)state;
    start();
    record(mp_commit_batch(&k.c), 1, 10);
    chained[0].name = 'a';
    mp_commit_wait(&k.c, &chained[0].wait, mp_commit_ticket(&k.c),
                   done_and_again);
    UNTIL(chained[2].calls);
    assert_string_equal(k.log, "a b c ");
    assert_int_equal(kept_bytes(2), 10);
    stop();
}

static void what_came_and_went_writes_no_byte(void **state)
{
    struct waiter w;
    uint64_t written;

    (void)state;
    start();
    written = mp_metrics.flash;
    wait_on(&w, 'a', mp_commit_ticket(&k.c));
    mp_commit_turn(&k.c, false);
    UNTIL(w.calls);
    assert_int_equal(w.rc, 0);
    assert_int_equal(k.seals, 1);
    assert_true(mp_metrics.flash == written);
    stop();
    assert_true(mp_metrics.flash == written);
}

static void bytes_are_on_the_account_of_who_recorded_them(void **state)
{
    uint64_t one = 0, two = 0, host;
    struct mp_batch *b;
    struct waiter w;

    (void)state;
    start();
    host = mp_metrics.flash;
    b = mp_commit_batch(&k.c);
    mp_batch_share(b, &one);
    record(b, 1, 30000);
    mp_batch_share(b, &two);
    record(b, 2, 10000);
    wait_on(&w, 'a', mp_commit_ticket(&k.c));
    UNTIL(w.calls);
    print_message("%llu %llu %llu\n", (unsigned long long)one,
                  (unsigned long long)two,
                  (unsigned long long)(mp_metrics.flash - host));
    assert_true(one > 30000 && one < 45000);
    assert_true(two > 10000 && two < 15000);
    assert_true(one / two == 2 || one / two == 3);
    assert_true(mp_metrics.flash - host < 100);
    assert_int_equal(mp_metrics.commit.count, 1);
    stop();
}

/* ---- when it leaves ---- */

static void while_more_is_coming_it_waits_for_the_interval(void **state)
{
    const int64_t interval = 300 * MP_MS;
    struct waiter w;
    int64_t left;

    (void)state;
    start_with(QUOTA, interval);
    UNTIL(k.opened);
    record(mp_commit_batch(&k.c), 1, 10);
    mp_commit_turn(&k.c, true); /* long since the last one */
    assert_true(k.c.writing);
    left = k.c.left_us;
    UNTIL(!k.c.writing);
    wait_on(&w, 'a', mp_commit_ticket(&k.c));
    record(mp_commit_batch(&k.c), 2, 10);
    mp_commit_turn(&k.c, true);
    if (mp_now_us() - left < interval)
        assert_false(k.c.writing);
    UNTIL(w.calls); /* its timer; no turn comes */
    assert_true(k.c.left_us - left >= interval);
    /* With nothing more on its way it leaves at once. */
    record(mp_commit_batch(&k.c), 3, 10);
    mp_commit_turn(&k.c, false);
    assert_true(k.c.writing);
    stop();
}

static void what_gathers_while_one_is_written_is_one_transaction(void **state)
{
    struct waiter w[100];

    (void)state;
    start();
    record(mp_commit_batch(&k.c), 0, 10);
    mp_commit_turn(&k.c, false);
    for (int i = 0; i < 100; i++) {
        record(mp_commit_batch(&k.c), i, 10);
        wait_on(&w[i], 'a', mp_commit_ticket(&k.c));
        mp_commit_turn(&k.c, false);
    }
    UNTIL(w[99].calls);
    assert_int_equal(k.seals, 2);
    assert_int_equal(w[0].calls, 1);
    stop();
}

static void lazy_operations_leave_with_others_or_after_a_second(void **state)
{
    uint64_t ticket;
    int64_t begun;

    (void)state;
    start();
    record(mp_commit_batch_lazy(&k.c), 1, 10);
    ticket = mp_commit_ticket(&k.c);
    mp_commit_turn(&k.c, false);
    UNTIL(mp_commit_is_durable(&k.c, ticket));
    assert_int_equal(kept_bytes(1), 10);
    begun = mp_now_us();
    record(mp_commit_batch_lazy(&k.c), 2, 20);
    mp_commit_turn(&k.c, false);
    assert_false(k.c.writing);
    UNTIL(mp_commit_is_durable(&k.c, ticket + 1));
    assert_true(mp_now_us() - begun >= MP_SECOND);
    assert_int_equal(kept_bytes(2), 20);
    stop();
}

static void the_writer_keeps_the_wal_bounded(void **state)
{
    uint64_t host;
    struct stat st;
    char path[200];

    (void)state;
    start();
    host = mp_metrics.flash;
    for (int i = 0; i < 300; i++) {
        uint64_t ticket = mp_commit_ticket(&k.c);

        record(mp_commit_batch(&k.c), 1, 20000);
        mp_commit_turn(&k.c, false);
        UNTIL(mp_commit_is_durable(&k.c, ticket));
    }
    snprintf(path, sizeof path, "%s/moonpool.db-wal", k.data);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 3 << 19);
    /* On the host's account: what it recorded is on nobody's. */
    assert_true(mp_metrics.flash - host > 300 * 20000);
    stop();
    assert_int_not_equal(stat(path, &st), 0);
}

static void before_go_it_gathers(void **state)
{
    struct waiter w;

    (void)state;
    k.no_go = true;
    start_with(QUOTA, 0);
    wait_on(&w, 'a', mp_commit_ticket(&k.c));
    record(mp_commit_batch(&k.c), 1, 10);
    UNTIL(k.opened);
    mp_commit_turn(&k.c, false);
    uv_run(&k.loop, UV_RUN_NOWAIT);
    assert_int_equal(w.calls, 0);
    assert_false(k.c.writing);
    mp_commit_go(&k.c);
    UNTIL(w.calls);
    assert_string_equal(k.log, "opened a ");
    assert_int_equal(kept_bytes(1), 10);
    stop();
}

static void close_commits_what_gathers(void **state)
{
    struct waiter w[2];

    (void)state;
    start();
    record(mp_commit_batch(&k.c), 9, 10);
    mp_commit_turn(&k.c, false);
    record(mp_commit_batch(&k.c), 8, 20);
    k.dirty = 3;
    wait_on(&w[0], 'a', mp_commit_ticket(&k.c));
    stop();
    assert_string_equal(k.log, "a ");
    assert_int_equal(kept_bytes(9), 10);
    assert_int_equal(kept_bytes(8), 20);
    assert_int_equal(kept_bytes(3), 100);
    k.opened = 0;
    start();
    record(mp_commit_batch_lazy(&k.c), 4, 10);
    stop();
    assert_int_equal(kept_bytes(4), 10);
}

/* ---- when it fails ---- */

static void after_a_failure_all_are_told_and_it_opens_again(void **state)
{
    struct waiter w[4];
    uint64_t one, two;

    (void)state;
    start_with(256 << 10, 0);
    UNTIL(k.opened);
    k.log[0] = '\0';
    one = mp_commit_ticket(&k.c);
    record(mp_commit_batch(&k.c), 1, 700000);
    wait_on(&w[0], 'a', one);
    wait_on(&w[1], 'b', one);
    mp_commit_turn(&k.c, false);
    two = mp_commit_ticket(&k.c); /* gathers, and is lost with it */
    record(mp_commit_batch(&k.c), 2, 10);
    wait_on(&w[2], 'c', two);
    k.no_go = true;
    UNTIL(k.failed);
    assert_string_equal(k.log, "a!b!c!failed ");
    assert_string_equal(k.why,
                        "the database has reached [store] max_size = 256K");
    assert_string_equal(k.c.failure, k.why);
    assert_false(mp_commit_is_durable(&k.c, one));
    UNTIL(k.opened == 2);
    assert_null(k.c.failure);
    wait_on(&w[3], 'd', mp_commit_ticket(&k.c));
    record(mp_commit_batch(&k.c), 3, 10);
    mp_commit_turn(&k.c, false);
    assert_int_equal(w[3].calls, 0);
    mp_commit_go(&k.c);
    UNTIL(w[3].calls);
    assert_int_equal(w[3].rc, 0);
    assert_int_equal(kept_bytes(1), -1);
    assert_int_equal(kept_bytes(2), -1);
    assert_int_equal(kept_bytes(3), 10);
    /* Later ones are durable, these two will never be. */
    assert_false(mp_commit_is_durable(&k.c, one));
    assert_false(mp_commit_is_durable(&k.c, two));
    assert_true(mp_commit_is_durable(&k.c, w[3].wait.ticket));
    stop();
}

static void while_it_is_closed_waiting_fails_at_the_next_turn(void **state)
{
    struct waiter w[3];

    (void)state;
    start_with(256 << 10, 0);
    UNTIL(k.opened);
    record(mp_commit_batch(&k.c), 1, 700000);
    UNTIL(k.failed);
    k.log[0] = '\0';
    record(mp_commit_batch(&k.c), 2, 10);
    wait_on(&w[0], 'a', mp_commit_ticket(&k.c));
    assert_int_equal(w[0].calls, 0);
    mp_commit_turn(&k.c, false);
    assert_int_equal(w[0].calls, 1);
    wait_on(&w[1], 'b', mp_commit_ticket(&k.c)); /* and without a turn */
    UNTIL(w[1].calls);
    record(mp_commit_batch(&k.c), 3, 10);
    UNTIL(k.opened == 2);
    assert_string_equal(k.log, "a!b!opened ");
    wait_on(&w[2], 'c', mp_commit_ticket(&k.c));
    record(mp_commit_batch(&k.c), 4, 10);
    UNTIL(w[2].calls);
    assert_int_equal(kept_bytes(2), -1);
    assert_int_equal(kept_bytes(3), -1);
    assert_int_equal(kept_bytes(4), 10);
    stop();
}

static void pauses_double_until_a_transaction_succeeds(void **state)
{
    (void)state;
    start_with(256 << 10, 0);
    UNTIL(k.opened);
    record(mp_commit_batch(&k.c), 1, 700000);
    UNTIL(k.failed == 1);
    assert_int_equal(k.c.backoff_ms, 1000);
    UNTIL(k.opened == 2);
    record(mp_commit_batch(&k.c), 1, 700000);
    UNTIL(k.failed == 2);
    assert_int_equal(k.c.backoff_ms, 2000);
    UNTIL(k.opened == 3);
    record(mp_commit_batch(&k.c), 1, 10);
    UNTIL(k.c.durable == k.c.ticket - 1);
    assert_int_equal(k.c.backoff_ms, 0);
    stop();
}

/* ---- room ---- */

static void a_row_costs_at_least_what_sqlite_takes_for_it(void **state)
{
    static const size_t sizes[] = {10, 900, 1100, 4000, 4100, 20000, 70000};
    struct waiter w;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint64_t used, cost = 0;

        k.opened = 0;
        start();
        used = k.c.used;
        for (int n = 1; n <= 100; n++) {
            record(mp_commit_batch(&k.c), n, sizes[i]);
            cost += mp_commit_row_cost(sizes[i]);
        }
        wait_on(&w, 'a', mp_commit_ticket(&k.c));
        UNTIL(w.calls);
        assert_int_equal(w.rc, 0);
        assert_true(k.c.used <= used + cost);
        stop();
        empty(k.data);
        assert_int_equal(mkdir(k.data, 0700), 0);
    }
    assert_true(mp_commit_row_cost(20000) < 25000);
    assert_int_equal(mp_commit_change_cost(20000, 20000), 0);
    assert_int_equal(mp_commit_change_cost(20000, 10), 0);
    assert_true(mp_commit_change_cost(900, 1100) >= 4096);
    assert_true(mp_commit_change_cost(20000, 40000) >= 20000);
}

static void what_is_on_its_way_takes_room_until_it_is_known(void **state)
{
    struct waiter w;

    (void)state;
    start_with(1 << 20, 0);
    UNTIL(k.opened);
    assert_true(mp_commit_has_room(&k.c, 800 << 10));
    mp_commit_grow(&k.c, 500 << 10);
    assert_false(mp_commit_has_room(&k.c, 500 << 10));
    assert_true(mp_commit_has_room_later(&k.c, 500 << 10));
    record(mp_commit_batch(&k.c), 1, 100);
    wait_on(&w, 'a', mp_commit_ticket(&k.c));
    mp_commit_turn(&k.c, false);
    assert_true(k.c.writing);
    assert_false(mp_commit_has_room(&k.c, 500 << 10));
    mp_commit_grow(&k.c, 300 << 10);
    mp_commit_grow_not(&k.c, 300 << 10);
    UNTIL(w.calls);
    assert_true(mp_commit_has_room(&k.c, 800 << 10));
    /* The last thirty-second is for what always goes through. */
    assert_false(mp_commit_has_room(&k.c, (1 << 20) - k.c.used - (20 << 10)));
    stop();
}

static void remove_one(int n)
{
    struct mp_batch *b = mp_commit_batch(&k.c);
    char name[16];

    snprintf(name, sizeof name, "name%d", n);
    mp_batch_op(b, MP_SQL_KEPT_DELETE);
    mp_batch_text(b, mp_slice_str(name));
}

static void once_one_failed_for_its_size_nothing_may_grow(void **state)
{
    struct waiter w;

    (void)state;
    start_with(256 << 10, 0);
    UNTIL(k.opened);
    record(mp_commit_batch(&k.c), 1, 50000);
    wait_on(&w, 'a', mp_commit_ticket(&k.c));
    UNTIL(w.calls);
    record(mp_commit_batch(&k.c), 2, 700000);
    UNTIL(k.failed);
    assert_true(k.c.uneasy);
    UNTIL(k.opened == 2);
    assert_false(mp_commit_has_room(&k.c, 1));
    record(mp_commit_batch(&k.c), 3, 10);
    wait_on(&w, 'a', mp_commit_ticket(&k.c));
    UNTIL(w.calls);
    assert_int_equal(w.rc, 0);
    assert_false(mp_commit_has_room(&k.c, 1));
    remove_one(1);
    wait_on(&w, 'b', mp_commit_ticket(&k.c));
    UNTIL(w.calls);
    assert_true(mp_commit_has_room(&k.c, 1));
    stop();
}

static void after_failures_in_a_row_it_is_uneasy_for_longer(void **state)
{
    struct waiter w;

    (void)state;
    start_with(256 << 10, 0);
    UNTIL(k.opened);
    assert_false(k.c.uneasy);
    for (unsigned n = 1; n <= 2; n++) {
        record(mp_commit_batch(&k.c), 1, 700000);
        UNTIL(k.failed == n);
        assert_true(k.c.uneasy);
        assert_int_equal(k.c.unease_ms, n * 1000);
        UNTIL(k.opened == n + 1);
        record(mp_commit_batch(&k.c), 1, 10); /* one succeeds */
        wait_on(&w, 'a', mp_commit_ticket(&k.c));
        UNTIL(w.calls);
    }
    UNTIL(!k.c.uneasy);
    assert_true(uv_now(&k.loop) >= k.c.easy_at_ms);
    stop();
}

static void a_start_without_a_database_waits_for_it(void **state)
{
    struct waiter w;

    (void)state;
    strcat(k.data, "/later");
    start_with(QUOTA, 0);
    wait_on(&w, 'a', mp_commit_ticket(&k.c));
    record(mp_commit_batch(&k.c), 1, 10);
    UNTIL(k.unable);
    assert_non_null(strstr(k.why, "No such file"));
    assert_non_null(k.c.failure);
    uv_run(&k.loop, UV_RUN_NOWAIT);
    mp_commit_turn(&k.c, false);
    assert_int_equal(w.calls, 0);
    assert_int_equal(mkdir(k.data, 0700), 0);
    UNTIL(w.calls);
    assert_string_equal(k.log, "unable opened a ");
    assert_int_equal(kept_bytes(1), 10);
    stop();
}

static void a_reason_that_stays_is_told_once(void **state)
{
    (void)state;
    strcat(k.data, "/later");
    start_with(QUOTA, 0);
    UNTIL(k.c.backoff_ms == 2000);
    assert_int_equal(k.unable, 1);
    stop();
}

static void close_without_a_database_forgets_who_waits(void **state)
{
    struct waiter w;

    (void)state;
    strcat(k.data, "/never");
    start_with(QUOTA, 0);
    wait_on(&w, 'a', mp_commit_ticket(&k.c));
    UNTIL(k.unable);
    stop();
    assert_int_equal(w.calls, 0);
    assert_true(mp_list_empty(&w.wait.link));
}

/* Rows enough that a clean file is not looked at whole when it is opened. */
static void make_a_damaged_file(void)
{
    static const char wrong[4096] = "not a page of a b-tree";
    char path[200];
    struct mp_db_opened how;
    struct mp_why why;
    struct mp_batch b;
    struct mp_db *db;
    int fd;

    mp_batch_init(&b);
    for (int i = 0; i < 2000; i++)
        record(&b, i, 1000);
    assert_int_equal(mp_db_open(&db, k.data, QUOTA, &how, &why), 0);
    assert_int_equal(mp_db_apply(db, &b, &why), 0);
    mp_db_close(db);
    mp_batch_fini(&b);
    snprintf(path, sizeof path, "%s/moonpool.db", k.data);
    fd = open(path, O_WRONLY);
    for (int i = 20; i < 400; i++)
        assert_int_equal(pwrite(fd, wrong, sizeof wrong, i * 4096), 4096);
    close(fd);
}

static void damage_ends_in_a_new_file_and_the_old_one_s_name(void **state)
{
    struct waiter w[2];
    char path[400];

    (void)state;
    make_a_damaged_file();
    start();
    assert_false(k.how.created);
    for (int i = 0; i < 2000; i++)
        record(mp_commit_batch(&k.c), i, 900);
    wait_on(&w[0], 'a', mp_commit_ticket(&k.c));
    UNTIL(k.failed);
    assert_int_equal(w[0].rc, MP_EIO);
    assert_non_null(strstr(k.why, "the database is damaged"));
    UNTIL(k.opened == 2);
    assert_true(k.how.created);
    snprintf(path, sizeof path, "%s/%s", k.data, k.how.set_aside);
    assert_int_equal(access(path, F_OK), 0);
    print_message("%s: %s\n", k.how.set_aside, k.how.aside_why);
    record(mp_commit_batch(&k.c), 1, 10);
    wait_on(&w[1], 'b', mp_commit_ticket(&k.c));
    UNTIL(w[1].calls);
    assert_int_equal(w[1].rc, 0);
    stop();
}

/* ---- speed ---- */

static void transactions_of_256_values_follow_each_other(void **state)
{
    enum { ROUNDS = 200 };
    int64_t begun = mp_now_us(), loop_us = 0, took;

    (void)state;
    start();
    begun = mp_now_us();
    for (int t = 0; t < ROUNDS; t++) {
        uint64_t ticket = mp_commit_ticket(&k.c);
        int64_t at = mp_now_us();
        struct mp_batch *b = mp_commit_batch(&k.c);

        for (int i = 0; i < 256; i++) {
            char actor[16];
            int len = snprintf(actor, sizeof actor, "device%d", i % 100);

            mp_batch_op(b, MP_SQL_STATE_PUT);
            mp_batch_text(b, MP_S("counter"));
            mp_batch_text(b, mp_slice(actor, (size_t)len));
            mp_batch_text(b, MP_S("n"));
            mp_batch_text(b, MP_S("integer"));
            mp_batch_int(b, t);
            mp_batch_null(b);
        }
        loop_us += mp_now_us() - at;
        mp_commit_turn(&k.c, false);
        UNTIL(mp_commit_is_durable(&k.c, ticket));
    }
    took = mp_now_us() - begun;
    print_message("%.0f values/s, %.0f us a transaction, %.1f us of them "
                  "to record\n",
                  256.0 * ROUNDS * 1e6 / (double)took, (double)took / ROUNDS,
                  (double)loop_us / ROUNDS);
    stop();
}

static void a_turn_with_nothing_to_do_costs_nothing(void **state)
{
    int64_t begun;

    (void)state;
    start();
    begun = mp_now_us();
    for (int i = 0; i < 100000; i++)
        mp_commit_turn(&k.c, true);
    print_message("%.1f ns a turn\n",
                  (double)(mp_now_us() - begun) * 1000 / 100000);
    assert_int_equal(k.seals, 0);
    stop();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_are_on_the_account_of_who_recorded_them),
        TEST(a_ticket_is_durable_when_its_waiter_is_called),
        TEST(waiters_are_called_in_the_order_of_their_tickets),
        TEST(a_durable_ticket_calls_back_later_never_at_once),
        TEST(a_waiter_may_wait_again),
        TEST(what_came_and_went_writes_no_byte),
        TEST(while_more_is_coming_it_waits_for_the_interval),
        TEST(what_gathers_while_one_is_written_is_one_transaction),
        TEST(lazy_operations_leave_with_others_or_after_a_second),
        TEST(the_writer_keeps_the_wal_bounded),
        TEST(before_go_it_gathers),
        TEST(close_commits_what_gathers),
        TEST(after_a_failure_all_are_told_and_it_opens_again),
        TEST(while_it_is_closed_waiting_fails_at_the_next_turn),
        TEST(pauses_double_until_a_transaction_succeeds),
        TEST(a_row_costs_at_least_what_sqlite_takes_for_it),
        TEST(what_is_on_its_way_takes_room_until_it_is_known),
        TEST(once_one_failed_for_its_size_nothing_may_grow),
        TEST(after_failures_in_a_row_it_is_uneasy_for_longer),
        TEST(a_start_without_a_database_waits_for_it),
        TEST(a_reason_that_stays_is_told_once),
        TEST(close_without_a_database_forgets_who_waits),
        TEST(damage_ends_in_a_new_file_and_the_old_one_s_name),
        TEST(transactions_of_256_values_follow_each_other),
        TEST(a_turn_with_nothing_to_do_costs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
