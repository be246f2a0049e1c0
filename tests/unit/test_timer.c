/*
 * test_timer.c - the timer transport with a host that keeps what it is given
 * and settles runs when it is told to; the clocks are the real ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/log.h"
#include "transports/timer.h"

enum { RUNS = 64 };

struct mp_host {
    uv_loop_t loop;
    void *timer;
    bool clock_ok, finished;
    struct mp_input *runs[RUNS];
    unsigned n;
    char name[64], kept[64]; /* the one thing that is kept */
};

static struct mp_host *h;

void mp_host_input(struct mp_host *host, struct mp_input *in)
{
    assert_true(host->n < RUNS);
    host->runs[host->n++] = in;
}

bool mp_host_clock_ok(const struct mp_host *host)
{
    return host->clock_ok;
}

struct mp_slice mp_host_kept(struct mp_host *host, const char *name)
{
    return strcmp(name, host->name) == 0 && host->kept[0]
               ? mp_slice_str(host->kept)
               : mp_slice(NULL, 0);
}

void mp_host_keep(struct mp_host *host, const char *name, struct mp_slice bytes,
                  struct mp_commit_wait *w,
                  void (*done)(struct mp_commit_wait *w, int rc))
{
    assert_null(w);
    assert_null(done);
    snprintf(host->name, sizeof host->name, "%s", name);
    snprintf(host->kept, sizeof host->kept, "%.*s", MP_FMT(bytes));
}

/* The run is over; done: with what it changed. */
static void settle(unsigned nth, bool done)
{
    struct mp_input *in = h->runs[nth];

    if (done && in->note)
        in->note(in, 1);
    in->settled(in);
    mp_input_unref(in);
}

static void run_for(int64_t us)
{
    int64_t end_us = mp_now_us() + us;

    while (mp_now_us() < end_us) {
        uv_run(&h->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
}

static void until_runs(unsigned n)
{
    int64_t end_us = mp_now_us() + 20 * MP_SECOND;

    while (h->n < n) {
        if (mp_now_us() > end_us)
            fail_msg("%u runs, not %u", h->n, n);
        uv_run(&h->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
}

static int make(void **state)
{
    struct mp_why why;

    (void)state;
    mp_log_open(MP_LOG_TEXT, MP_ERROR);
    h = calloc(1, sizeof *h);
    uv_loop_init(&h->loop);
    h->clock_ok = true;
    return mp_timer.open(h, &h->loop, NULL, &h->timer, &why);
}

static void on_finished(void *arg)
{
    (void)arg;
    h->finished = true;
}

static int clear(void **state)
{
    (void)state;
    mp_timer.drain(h->timer);
    mp_timer.close(h->timer, on_finished, NULL);
    while (!h->finished)
        uv_run(&h->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&h->loop), 0);
    free(h);
    return 0;
}

static struct mp_timing every(const char *trigger, int64_t us)
{
    return (struct mp_timing){.id = 7,
                              .function = "fn",
                              .trigger = trigger,
                              .digest = (uint64_t)us,
                              .when = {.every_us = us}};
}

static void it_runs_again_and_again(void **state)
{
    struct mp_timing t = every("poll", 50 * MP_MS);

    (void)state;
    mp_timer.schedule(h->timer, &t, 1);
    for (unsigned i = 0; i < 3; i++) {
        until_runs(i + 1);
        assert_int_equal(h->runs[i]->type, MP_EVENT_TIMER);
        assert_int_equal(h->runs[i]->routes[0], 7);
        assert_int_equal(h->runs[i]->qos, 0);
        assert_null(h->runs[i]->note);
        assert_true(h->runs[i]->scheduled_us > 0);
        settle(i, true);
    }
    assert_int_equal(h->kept[0], '\0');
}

static void a_run_that_is_out_has_no_other_beside_it(void **state)
{
    struct mp_timing t = every("poll", 20 * MP_MS);

    (void)state;
    mp_timer.schedule(h->timer, &t, 1);
    until_runs(1);
    run_for(200 * MP_MS);
    assert_int_equal(h->n, 1);
    settle(0, true);
    until_runs(2);
    assert_true(h->runs[1]->missed > 0);
    settle(1, true);
}

static void one_that_is_owed_is_kept_with_what_it_did(void **state)
{
    struct mp_timing t = every("daily", 100 * MP_MS);
    char id[64];

    (void)state;
    t.when.missed = MP_MISSED_ONCE;
    mp_timer.schedule(h->timer, &t, 1);
    until_runs(1);
    assert_int_equal(h->runs[0]->qos, 1);
    assert_int_equal(h->kept[0], '\0');
    snprintf(id, sizeof id, "%.*s", MP_FMT(h->runs[0]->id));
    /* All is lost: it comes again when the database is back. */
    h->runs[0]->lost = true;
    mp_timer.lost(h->timer);
    settle(0, false);
    run_for(150 * MP_MS);
    assert_int_equal(h->n, 1);
    mp_timer.found(h->timer);
    until_runs(2);
    settle(1, true);
    assert_string_equal(h->name, "timer/fn/daily");
    assert_true(h->kept[0] != '\0');
}

/* What is kept says that a run was due an hour ago. */
static void a_run_missed_while_it_was_off_is_made_up_for(void **state)
{
    struct mp_timing t = every("hourly", 1800 * MP_SECOND);

    (void)state;
    t.when.missed = MP_MISSED_ONCE;
    snprintf(h->name, sizeof h->name, "timer/fn/hourly");
    snprintf(h->kept, sizeof h->kept, "%016llx %lld",
             (unsigned long long)t.digest,
             (long long)(mp_wall_us() - 3700 * MP_SECOND));
    mp_timer.schedule(h->timer, &t, 1);
    until_runs(1);
    settle(0, true);
}

static void what_was_kept_of_other_words_counts_for_nothing(void **state)
{
    struct mp_timing t = every("hourly", 1800 * MP_SECOND);

    (void)state;
    t.when.missed = MP_MISSED_ONCE;
    snprintf(h->name, sizeof h->name, "timer/fn/hourly");
    snprintf(h->kept, sizeof h->kept, "%016llx %lld", 1ULL,
             (long long)(mp_wall_us() - 3700 * MP_SECOND));
    mp_timer.schedule(h->timer, &t, 1);
    run_for(100 * MP_MS);
    assert_int_equal(h->n, 0);
}

static void a_trigger_that_goes_away_may_have_a_run_out(void **state)
{
    struct mp_timing t[] = {every("one", 20 * MP_MS), every("two", 25 * MP_MS)};

    (void)state;
    mp_timer.schedule(h->timer, t, 2);
    until_runs(2);
    mp_timer.schedule(h->timer, NULL, 0);
    run_for(100 * MP_MS);
    assert_int_equal(h->n, 2);
    settle(0, true);
    settle(1, true);
}

static void one_that_stays_keeps_its_phase(void **state)
{
    struct mp_timing t = every("poll", 300 * MP_MS);
    int64_t begun_us = mp_now_us();

    (void)state;
    mp_timer.schedule(h->timer, &t, 1);
    for (int i = 0; i < 5; i++) {
        run_for(40 * MP_MS);
        mp_timer.schedule(h->timer, &t, 1); /* reloads */
    }
    until_runs(1);
    assert_true(mp_now_us() - begun_us < 1500 * MP_MS);
    settle(0, true);
}

static void nothing_runs_while_it_is_paused(void **state)
{
    struct mp_timing t = every("poll", 20 * MP_MS);

    (void)state;
    mp_timer.schedule(h->timer, &t, 1);
    mp_timer.pause(h->timer, true);
    run_for(100 * MP_MS);
    assert_int_equal(h->n, 0);
    mp_timer.pause(h->timer, false);
    until_runs(1);
    settle(0, true);
}

static void it_may_be_closed_with_a_run_out(void **state)
{
    struct mp_timing t = every("poll", 20 * MP_MS);
    struct mp_input *run;

    mp_timer.schedule(h->timer, &t, 1);
    until_runs(1);
    run = h->runs[0];
    clear(state);
    run->settled(run); /* the host gives it up later */
    mp_input_unref(run);
    assert_int_equal(make(state), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_runs_again_and_again),
        TEST(a_run_that_is_out_has_no_other_beside_it),
        TEST(one_that_is_owed_is_kept_with_what_it_did),
        TEST(a_run_missed_while_it_was_off_is_made_up_for),
        TEST(what_was_kept_of_other_words_counts_for_nothing),
        TEST(a_trigger_that_goes_away_may_have_a_run_out),
        TEST(one_that_stays_keeps_its_phase),
        TEST(nothing_runs_while_it_is_paused),
        TEST(it_may_be_closed_with_a_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
