/*
 * test_timetable.c - when timers run: stories of gateways with a fake clock.
 *
 * A story moves two clocks and writes down what ran; the user in it is an
 * obedient one, who sleeps until mp_timetable_next says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/civil.h"
#include "core/timetable.h"

#define MINUTE (60 * MP_SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define PARIS "CET-1CEST,M3.5.0,M10.5.0/3"

enum { RUNS_MAX = 4096 };

struct story {
    struct mp_timetable t;
    struct mp_timetable_config c;
    struct mp_timetable_now now;
    struct mp_cron cron;
    struct mp_zone *zone;
    struct mp_timetable_run runs[RUNS_MAX];
    int64_t at[RUNS_MAX]; /* wall clock: when it ran */
    unsigned n, read;
    unsigned looks; /* times the user was woken */
    bool slow;      /* runs are not done by themselves */
    int64_t kept;   /* what is kept of the last run */
};

static int64_t wall(int64_t year, int month, int day, int hour, int minute)
{
    struct mp_civil c = {year, month, day, hour, minute, 0, 0};

    return mp_civil_seconds(&c) * MP_SECOND;
}

static struct story *begin(const char *cron, const char *zone)
{
    struct story *s = mp_zalloc(sizeof(*s));
    struct mp_why why = {""};

    if (cron) {
        assert_int_equal(mp_cron_parse(&s->cron, mp_slice_str(cron), &why), 0);
        assert_int_equal(mp_zone_read_posix(&s->zone, mp_slice_str(zone), &why),
                         0);
        s->c.cron = &s->cron;
        s->c.zone = s->zone;
    }
    return s;
}

static void end(struct story *s)
{
    mp_zone_close(s->zone);
    free(s);
}

/* The host starts; its monotonic clock begins anew. */
static void start(struct story *s, int64_t wall_us, bool clock_ok)
{
    s->now = (struct mp_timetable_now){5 * MP_SECOND, wall_us, clock_ok};
    s->c.last_us = s->kept;
    mp_timetable_init(&s->t, &s->c, s->now);
}

/* Ask as long as something is due. */
static void look(struct story *s)
{
    struct mp_timetable_run run;

    s->looks++;
    while (mp_timetable_due(&s->t, s->now, &run)) {
        assert_in_range(s->n, 0, RUNS_MAX - 1);
        s->at[s->n] = s->now.wall_us;
        s->runs[s->n++] = run;
        if (run.keep_us)
            s->kept = run.keep_us;
        if (s->slow)
            return;
        mp_timetable_done(&s->t);
    }
}

static void done(struct story *s)
{
    mp_timetable_done(&s->t);
    look(s);
}

/* Time goes by, for both clocks. */
static void pass(struct story *s, int64_t us)
{
    int64_t until = s->now.mono_us + us;

    for (;;) {
        int64_t next = mp_timetable_next(&s->t, s->now);

        assert_true(next >= s->now.mono_us);
        if (next > until)
            next = until;
        s->now.wall_us += next - s->now.mono_us;
        if (next == until) {
            s->now.mono_us = until;
            look(s);
            return;
        }
        /* It must not be due and refused, again and again. */
        assert_true(next > s->now.mono_us || s->looks < 100000);
        s->now.mono_us = next;
        look(s);
    }
}

/* The next run in the story's log is this one. */
static void ran(struct story *s, int64_t scheduled, int64_t at, uint32_t missed)
{
    unsigned i = s->read++;

    if (i >= s->n)
        fail_msg("run %u never came", i);
    assert_int_equal(s->runs[i].scheduled_us, scheduled);
    assert_int_equal(s->at[i], at);
    assert_int_equal(s->runs[i].missed, missed);
}

static void nothing_more(struct story *s)
{
    assert_int_equal(s->n, s->read);
}

#define MONDAY wall(2024, 1, 1, 10, 0)

/* ---- every ---- */

static void every_runs_after_a_period_and_keeps_step(void **state)
{
    struct story *s = begin(NULL, NULL);

    (void)state;
    s->c.every_us = 30 * MP_SECOND;
    start(s, MONDAY, true);
    pass(s, 95 * MP_SECOND);
    ran(s, MONDAY + 30 * MP_SECOND, MONDAY + 30 * MP_SECOND, 0);
    ran(s, MONDAY + 60 * MP_SECOND, MONDAY + 60 * MP_SECOND, 0);
    ran(s, MONDAY + 90 * MP_SECOND, MONDAY + 90 * MP_SECOND, 0);
    nothing_more(s);
    end(s);
}

static void at_start_runs_at_once_too(void **state)
{
    struct story *s = begin(NULL, NULL);

    (void)state;
    s->c.every_us = 30 * MP_SECOND;
    s->c.at_start = true;
    start(s, MONDAY, true);
    pass(s, 31 * MP_SECOND);
    ran(s, MONDAY, MONDAY, 0);
    ran(s, MONDAY + 30 * MP_SECOND, MONDAY + 30 * MP_SECOND, 0);
    nothing_more(s);
    end(s);
}

static void every_needs_no_clock(void **state)
{
    struct story *s = begin(NULL, NULL);

    (void)state;
    s->c.every_us = 30 * MP_SECOND;
    start(s, 7 * MP_SECOND, false);
    pass(s, 31 * MP_SECOND);
    assert_int_equal(s->n, 1);
    assert_int_equal(s->runs[0].keep_us, 0);
    s->now.wall_us = MONDAY; /* the network came */
    s->now.clock_ok = true;
    pass(s, 60 * MP_SECOND);
    assert_int_equal(s->n, 3);
    assert_int_equal(s->runs[1].missed, 0);
    assert_int_equal(s->runs[1].scheduled_us, MONDAY + 29 * MP_SECOND);
    assert_false(s->t.no_clock);
    end(s);
}

static void a_run_due_while_one_runs_is_an_overlap(void **state)
{
    struct story *s = begin(NULL, NULL);

    (void)state;
    s->c.every_us = 10 * MP_SECOND;
    s->slow = true;
    start(s, MONDAY, true);
    pass(s, 35 * MP_SECOND);
    ran(s, MONDAY + 10 * MP_SECOND, MONDAY + 10 * MP_SECOND, 0);
    assert_int_equal(s->t.overlap, 2);
    done(s); /* and not at once what was skipped */
    nothing_more(s);
    pass(s, 5 * MP_SECOND);
    ran(s, MONDAY + 40 * MP_SECOND, MONDAY + 40 * MP_SECOND, 2);
    assert_int_equal(s->t.overlap, 2);
    assert_int_equal(s->t.fallen, 0);
    end(s);
}

static void a_host_that_stood_still_runs_once_and_keeps_step(void **state)
{
    struct story *s = begin(NULL, NULL);

    (void)state;
    s->c.every_us = 10 * MP_SECOND;
    start(s, MONDAY, true);
    s->now.mono_us += 47 * MP_SECOND;
    s->now.wall_us += 47 * MP_SECOND;
    look(s);
    ran(s, MONDAY + 40 * MP_SECOND, MONDAY + 47 * MP_SECOND, 3);
    pass(s, 3 * MP_SECOND);
    ran(s, MONDAY + 50 * MP_SECOND, MONDAY + 50 * MP_SECOND, 0);
    assert_int_equal(s->t.fallen, 3);
    end(s);
}

static void every_makes_up_for_downtime_when_asked_to(void **state)
{
    struct story *s = begin(NULL, NULL);

    (void)state;
    s->c.every_us = DAY;
    s->c.missed = MP_MISSED_ONCE;
    start(s, MONDAY, true);
    pass(s, DAY + HOUR);
    ran(s, MONDAY + DAY, MONDAY + DAY, 0);
    /* A gateway that is switched off each night still has its day. */
    start(s, MONDAY + DAY + 10 * HOUR, true);
    pass(s, 5 * HOUR);
    nothing_more(s);
    start(s, MONDAY + DAY + 20 * HOUR, true);
    pass(s, 5 * HOUR);
    ran(s, MONDAY + 2 * DAY, MONDAY + 2 * DAY, 0);
    /* Three and a half days without power. */
    start(s, MONDAY + 5 * DAY + 12 * HOUR, true);
    pass(s, 13 * HOUR);
    ran(s, MONDAY + 5 * DAY, MONDAY + 5 * DAY + 12 * HOUR, 2);
    ran(s, MONDAY + 6 * DAY, MONDAY + 6 * DAY, 0);
    nothing_more(s);
    end(s);
}

static void every_with_all_runs_each_and_100_at_most(void **state)
{
    struct story *s = begin(NULL, NULL);
    int64_t on = MONDAY + 10 * HOUR;

    (void)state;
    s->c.every_us = MINUTE;
    s->c.missed = MP_MISSED_ALL;
    s->kept = MONDAY;
    start(s, on, true);
    look(s);
    assert_int_equal(s->n, 100);
    ran(s, on - 99 * MINUTE, on, 500);
    for (int i = 98; i >= 0; i--)
        ran(s, on - i * MINUTE, on, 0);
    pass(s, MINUTE);
    ran(s, on + MINUTE, on + MINUTE, 0);
    end(s);
}

static void every_that_is_owed_waits_for_a_clock(void **state)
{
    struct story *s = begin(NULL, NULL);

    (void)state;
    s->c.every_us = HOUR;
    s->c.missed = MP_MISSED_ONCE;
    s->kept = MONDAY;
    start(s, 0, false);
    pass(s, 5 * MINUTE);
    nothing_more(s);
    s->now.wall_us = MONDAY + 150 * MINUTE;
    s->now.clock_ok = true;
    pass(s, 0);
    ran(s, MONDAY + 2 * HOUR, MONDAY + 150 * MINUTE, 1);
    pass(s, 30 * MINUTE);
    ran(s, MONDAY + 3 * HOUR, MONDAY + 3 * HOUR, 0);
    end(s);
}

static void every_that_ran_meanwhile_is_not_owed(void **state)
{
    struct story *s = begin(NULL, NULL);

    (void)state;
    s->c.every_us = HOUR;
    s->c.missed = MP_MISSED_ONCE;
    s->kept = MONDAY;
    start(s, 0, false);
    pass(s, HOUR);
    ran(s, HOUR, HOUR, 0);
    assert_int_equal(s->kept, MONDAY);
    s->now.wall_us = MONDAY + 5 * HOUR;
    s->now.clock_ok = true;
    pass(s, HOUR);
    ran(s, MONDAY + 6 * HOUR, MONDAY + 6 * HOUR, 0);
    nothing_more(s);
    end(s);
}

static void a_clock_behind_what_was_kept_owes_nothing(void **state)
{
    struct story *s = begin(NULL, NULL);

    (void)state;
    s->c.every_us = HOUR;
    s->c.missed = MP_MISSED_ALL;
    s->kept = MONDAY + 90 * MINUTE;
    start(s, MONDAY, true);
    pass(s, HOUR);
    ran(s, MONDAY + HOUR, MONDAY + HOUR, 0);
    nothing_more(s);
    end(s);
}

static void a_run_due_while_one_waits_is_an_overlap(void **state)
{
    struct story *s = begin(NULL, NULL);

    (void)state;
    s->c.every_us = MINUTE;
    s->c.delay_us = 2 * MINUTE + MP_SECOND;
    s->c.missed = MP_MISSED_ONCE;
    s->kept = MONDAY - 5 * MINUTE;
    start(s, MONDAY, true);
    pass(s, 3 * MINUTE);
    ran(s, MONDAY, MONDAY + 2 * MINUTE + MP_SECOND, 4 + 2);
    ran(s, MONDAY + 3 * MINUTE, MONDAY + 3 * MINUTE, 0);
    nothing_more(s);
    assert_int_equal(s->t.overlap, 2);
    end(s);
}

static void the_run_at_start_is_the_one_that_is_owed(void **state)
{
    struct story *s = begin(NULL, NULL);

    (void)state;
    s->c.every_us = HOUR;
    s->c.at_start = true;
    s->c.missed = MP_MISSED_ONCE;
    s->kept = MONDAY;
    start(s, MONDAY + 150 * MINUTE, true);
    pass(s, 30 * MINUTE);
    ran(s, MONDAY + 2 * HOUR, MONDAY + 150 * MINUTE, 1);
    nothing_more(s);
    pass(s, 30 * MINUTE);
    ran(s, MONDAY + 210 * MINUTE, MONDAY + 210 * MINUTE, 0);
    assert_int_equal(s->t.overlap, 0);
    end(s);
}

/* ---- cron ---- */

static void cron_runs_when_its_fields_say(void **state)
{
    struct story *s = begin("0 6 * * mon-fri", PARIS);
    int64_t friday = wall(2024, 1, 5, 5, 0); /* six in Paris */

    (void)state;
    start(s, friday - HOUR, true);
    pass(s, 3 * DAY + 2 * HOUR);
    ran(s, friday, friday, 0);
    ran(s, friday + 3 * DAY, friday + 3 * DAY, 0);
    nothing_more(s);
    end(s);
}

static void nothing_runs_at_the_start_by_itself(void **state)
{
    struct story *s = begin("* * * * *", "UTC0");

    (void)state;
    start(s, MONDAY, true);
    pass(s, MINUTE - 1);
    nothing_more(s);
    pass(s, 1);
    ran(s, MONDAY + MINUTE, MONDAY + MINUTE, 0);
    end(s);
}

static void a_skipped_hour_runs_right_after_it_and_once(void **state)
{
    struct story *s = begin("*/20 2 * * *", PARIS);
    int64_t gap = wall(2024, 3, 31, 1, 0);

    (void)state;
    start(s, gap - 5 * HOUR, true);
    pass(s, DAY);
    ran(s, gap, gap, 0);
    nothing_more(s);
    end(s);
}

static void a_doubled_hour_runs_once(void **state)
{
    struct story *s = begin("30 2 * * *", PARIS);
    int64_t first = wall(2024, 10, 27, 0, 30);

    (void)state;
    start(s, first - 5 * HOUR, true);
    pass(s, DAY + 10 * HOUR);
    ran(s, first, first, 0);
    ran(s, first + 25 * HOUR, first + 25 * HOUR, 0);
    nothing_more(s);
    end(s);
}

static void without_a_clock_cron_waits_and_says_so(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    start(s, 0, false); /* 1970 */
    assert_true(s->t.no_clock);
    pass(s, 3 * HOUR);
    assert_true(s->t.no_clock);
    nothing_more(s);
    s->now.wall_us = MONDAY - 10 * MINUTE;
    s->now.clock_ok = true;
    pass(s, 11 * MINUTE);
    assert_false(s->t.no_clock);
    ran(s, MONDAY, MONDAY, 0); /* and nothing for 54 years */
    nothing_more(s);
    assert_int_equal(s->t.fallen, 0);
    end(s);
}

static void a_clock_lost_on_the_way_is_waited_for(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    start(s, MONDAY + 2 * MINUTE, true);
    s->now.clock_ok = false;
    pass(s, 3 * HOUR);
    nothing_more(s);
    assert_true(s->t.no_clock);
    s->now.clock_ok = true;
    pass(s, HOUR);
    assert_false(s->t.no_clock);
    ran(s, MONDAY + 4 * HOUR, MONDAY + 4 * HOUR, 3);
    nothing_more(s);
    end(s);
}

static void the_user_is_seldom_woken(void **state)
{
    struct story *s = begin("0 6 * * *", "UTC0");

    (void)state;
    start(s, MONDAY, true);
    pass(s, DAY);
    assert_in_range(s->looks, 2, 2 * 60 * 24 + 3);
    end(s);
}

/* ---- jumps ---- */

static void jump(struct story *s, int64_t us)
{
    s->now.wall_us += us;
    look(s);
}

static void a_jump_forward_skips(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    start(s, MONDAY - MINUTE, true);
    pass(s, 31 * MINUTE);
    ran(s, MONDAY, MONDAY, 0);
    jump(s, 5 * HOUR); /* over 11 to 15 o'clock */
    nothing_more(s);
    assert_int_equal(s->t.fallen, 5);
    pass(s, 40 * MINUTE);
    ran(s, MONDAY + 6 * HOUR, MONDAY + 6 * HOUR, 5);
    end(s);
}

static void a_jump_onto_a_run_is_in_time_for_it(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    start(s, MONDAY + 20 * MP_SECOND, true);
    jump(s, 5 * HOUR);
    ran(s, MONDAY + 5 * HOUR, MONDAY + 5 * HOUR + 20 * MP_SECOND, 4);
    nothing_more(s);
    end(s);
}

static void a_jump_forward_runs_once(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    s->c.missed = MP_MISSED_ONCE;
    start(s, MONDAY + 30 * MINUTE, true);
    jump(s, 5 * HOUR);
    ran(s, MONDAY + 5 * HOUR, s->now.wall_us, 4);
    nothing_more(s);
    assert_int_equal(s->t.fallen, 4);
    end(s);
}

static void a_jump_forward_runs_all(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    s->c.missed = MP_MISSED_ALL;
    start(s, MONDAY + 30 * MINUTE, true);
    jump(s, 5 * HOUR);
    for (int i = 1; i <= 5; i++)
        ran(s, MONDAY + i * HOUR, s->now.wall_us, 0);
    nothing_more(s);
    assert_int_equal(s->t.fallen, 0);
    end(s);
}

static void a_jump_back_does_not_run_again_what_ran(void **state)
{
    for (int missed = MP_MISSED_SKIP; missed <= MP_MISSED_ALL; missed++) {
        struct story *s = begin("0 * * * *", "UTC0");

        (void)state;
        s->c.missed = (enum mp_missed)missed;
        start(s, MONDAY - 6 * HOUR - MINUTE, true);
        pass(s, 6 * HOUR + 2 * MINUTE);
        assert_int_equal(s->n, 7);
        s->read = s->n;
        jump(s, -5 * HOUR);
        pass(s, 5 * HOUR);
        nothing_more(s);
        pass(s, HOUR);
        ran(s, MONDAY + HOUR, MONDAY + HOUR, 0);
        end(s);
    }
}

/* What a wrong clock only skipped has not run. */
static void a_jump_forward_and_back_loses_nothing(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    start(s, MONDAY - MINUTE, true);
    pass(s, 31 * MINUTE);
    ran(s, MONDAY, MONDAY, 0);
    jump(s, 5 * HOUR);
    pass(s, MINUTE);
    jump(s, -5 * HOUR);
    pass(s, 30 * MINUTE);
    ran(s, MONDAY + HOUR, MONDAY + HOUR, 0);
    nothing_more(s);
    end(s);
}

static void
a_clock_that_was_years_ahead_does_not_silence_for_years(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    s->c.missed = MP_MISSED_ONCE;
    s->kept = MONDAY + 3000 * DAY;
    start(s, MONDAY - MINUTE, true);
    pass(s, 2 * MINUTE);
    ran(s, MONDAY, MONDAY, 0);
    nothing_more(s);
    end(s);
}

static void small_steps_of_the_clock_run_nothing_twice(void **state)
{
    struct story *s = begin("* * * * *", "UTC0");

    (void)state;
    start(s, MONDAY, true);
    srand(7);
    while (s->now.wall_us < MONDAY + 5 * HOUR) {
        pass(s, (rand() % 20000) * MP_MS);
        jump(s, (rand() % 4001 - 2000) * MP_MS);
    }
    for (unsigned i = 0; i < s->n; i++) {
        assert_int_equal(s->runs[i].scheduled_us, MONDAY + (i + 1) * MINUTE);
        assert_true(s->at[i] >= s->runs[i].scheduled_us);
    }
    assert_in_range(s->n, 299, 300);
    end(s);
}

/* ---- downtime ---- */

#define DOWN (3 * DAY + 90 * MP_SECOND)

static void three_days_of_downtime_are_skipped(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    s->kept = MONDAY;
    start(s, MONDAY + DOWN, true);
    pass(s, HOUR);
    ran(s, MONDAY + 73 * HOUR, MONDAY + 73 * HOUR, 72);
    nothing_more(s);
    end(s);
}

static void three_days_of_downtime_run_once(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    s->c.missed = MP_MISSED_ONCE;
    s->kept = MONDAY;
    start(s, 0, false); /* its clock comes with the network */
    pass(s, MINUTE);
    nothing_more(s);
    s->now.wall_us = MONDAY + DOWN;
    s->now.clock_ok = true;
    pass(s, HOUR);
    ran(s, MONDAY + 72 * HOUR, s->at[0], 71);
    assert_in_range(s->at[0], MONDAY + DOWN, MONDAY + DOWN + MINUTE);
    ran(s, MONDAY + 73 * HOUR, MONDAY + 73 * HOUR, 0);
    nothing_more(s);
    assert_int_equal(s->kept, MONDAY + 73 * HOUR);
    end(s);
}

static void three_days_of_downtime_run_each(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    s->c.missed = MP_MISSED_ALL;
    s->kept = MONDAY;
    start(s, MONDAY + DOWN, true);
    look(s);
    for (int i = 1; i <= 72; i++)
        ran(s, MONDAY + i * HOUR, MONDAY + DOWN, 0);
    nothing_more(s);
    end(s);
}

static void all_is_the_newest_100_and_the_rest_is_counted(void **state)
{
    struct story *s = begin("*/5 * * * *", "UTC0");
    int64_t last = MONDAY + 3 * DAY;

    (void)state;
    s->c.missed = MP_MISSED_ALL;
    s->kept = MONDAY;
    start(s, MONDAY + DOWN, true);
    look(s);
    ran(s, last - 99 * 5 * MINUTE, MONDAY + DOWN, 3 * 24 * 12 - 100);
    for (int i = 98; i >= 0; i--)
        ran(s, last - i * 5 * MINUTE, MONDAY + DOWN, 0);
    nothing_more(s);
    assert_int_equal(s->t.fallen, 3 * 24 * 12 - 100);
    end(s);
}

static void one_too_many_is_one_missed(void **state)
{
    for (int more = 0; more <= 2; more++) {
        struct story *s = begin("0 * * * *", "UTC0");
        int64_t on = MONDAY + (100 + more) * HOUR + 2 * MINUTE;

        (void)state;
        s->c.missed = MP_MISSED_ALL;
        s->kept = MONDAY;
        start(s, on, true);
        look(s);
        assert_int_equal(s->n, 100);
        ran(s, MONDAY + (1 + more) * HOUR, on, (uint32_t)more);
        end(s);
    }
}

static void years_of_downtime_are_counted_to_a_bound(void **state)
{
    for (int missed = MP_MISSED_SKIP; missed <= MP_MISSED_ALL; missed++) {
        struct story *s = begin("* * * * *", PARIS);

        (void)state;
        s->c.missed = (enum mp_missed)missed;
        s->kept = MONDAY;
        start(s, MONDAY + 4000 * DAY + 61 * MP_SECOND, true);
        look(s);
        pass(s, MINUTE);
        assert_int_equal(s->runs[0].missed, MP_TIMETABLE_COUNT_MAX);
        assert_int_equal(s->n, missed == MP_MISSED_ALL ? 101 : 2);
        end(s);
    }
}

/* Each is kept with what it did: what the power took is owed again. */
static void power_lost_while_making_up_goes_on_where_it_was(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    s->c.missed = MP_MISSED_ALL;
    s->slow = true;
    s->kept = MONDAY;
    start(s, MONDAY + 4 * HOUR + 2 * MINUTE, true);
    look(s);
    done(s);
    ran(s, MONDAY + HOUR, s->now.wall_us, 0);
    ran(s, MONDAY + 2 * HOUR, s->now.wall_us, 0);
    s->kept = MONDAY + HOUR; /* the second was not committed */
    start(s, MONDAY + 4 * HOUR + 3 * MINUTE, true);
    look(s);
    ran(s, MONDAY + 2 * HOUR, s->now.wall_us, 0);
    end(s);
}

static void a_restart_of_half_a_minute_is_in_time(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    s->kept = MONDAY - HOUR;
    start(s, MONDAY + 30 * MP_SECOND, true);
    look(s);
    ran(s, MONDAY, MONDAY + 30 * MP_SECOND, 0);
    start(s, MONDAY + 50 * MP_SECOND, true);
    look(s);
    nothing_more(s);
    end(s);
}

/* ---- while one runs ---- */

static void a_cron_run_due_while_one_runs_is_an_overlap(void **state)
{
    for (int missed = MP_MISSED_SKIP; missed <= MP_MISSED_ALL; missed++) {
        struct story *s = begin("* * * * *", "UTC0");

        (void)state;
        s->c.missed = (enum mp_missed)missed;
        s->slow = true;
        start(s, MONDAY, true);
        pass(s, 3 * MINUTE + MP_SECOND);
        ran(s, MONDAY + MINUTE, MONDAY + MINUTE, 0);
        assert_int_equal(s->t.overlap, 2);
        done(s);
        nothing_more(s);
        pass(s, MINUTE);
        ran(s, MONDAY + 4 * MINUTE, MONDAY + 4 * MINUTE, 2);
        end(s);
    }
}

/* Due while others are owed: it joins them, in order. */
static void what_is_owed_goes_out_one_by_one(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    s->c.missed = MP_MISSED_ALL;
    s->slow = true;
    s->kept = MONDAY;
    start(s, MONDAY + 3 * HOUR + 59 * MINUTE, true);
    look(s);
    pass(s, 5 * MINUTE);
    for (int i = 1; i <= 4; i++) {
        assert_int_equal(s->n, (unsigned)i);
        done(s);
    }
    for (int i = 1; i <= 4; i++)
        assert_int_equal(s->runs[i - 1].scheduled_us, MONDAY + i * HOUR);
    assert_int_equal(s->n, 4);
    assert_int_equal(s->t.overlap, 0);
    end(s);
}

/* ---- jitter ---- */

static int64_t delay(const char *node, const char *trigger)
{
    return mp_timetable_delay(mp_slice_str(node), MP_S("report"),
                              mp_slice_str(trigger), HOUR);
}

static void the_delay_is_the_nodes_own_and_stays(void **state)
{
    int64_t least = HOUR, most = 0;

    (void)state;
    assert_int_equal(mp_timetable_delay(MP_S("n"), MP_S("f"), MP_S("t"), 0), 0);
    /* The same in each build and on each machine. */
    assert_int_equal(delay("store-17", "nightly"),
                     delay("store-17", "nightly"));
    assert_int_not_equal(delay("store-17", "nightly"),
                         delay("store-18", "nightly"));
    assert_int_not_equal(delay("store-17", "nightly"),
                         delay("store-17", "hourly"));
    for (int i = 0; i < 50; i++) {
        char node[32];
        int64_t d;

        snprintf(node, sizeof node, "store-%d", i);
        d = delay(node, "nightly");
        assert_in_range(d, 0, HOUR);
        least = d < least ? d : least;
        most = d > most ? d : most;
    }
    assert_true(least < HOUR / 5 && most > HOUR - HOUR / 5);
}

static void a_delay_moves_the_run_but_not_what_it_is_for(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    s->c.delay_us = 10 * MINUTE;
    start(s, MONDAY - MINUTE, true);
    pass(s, 20 * MINUTE);
    ran(s, MONDAY, MONDAY + 10 * MINUTE, 0);
    /* Started between the two: it has not run yet. */
    s->kept = 0;
    start(s, MONDAY + HOUR + 5 * MINUTE, true);
    pass(s, 20 * MINUTE);
    ran(s, MONDAY + HOUR, MONDAY + HOUR + 10 * MINUTE, 0);
    nothing_more(s);
    end(s);
}

static void after_an_outage_not_all_nodes_make_up_at_once(void **state)
{
    struct story *s = begin("0 * * * *", "UTC0");

    (void)state;
    s->c.delay_us = 10 * MINUTE;
    s->c.missed = MP_MISSED_ONCE;
    s->kept = MONDAY;
    start(s, MONDAY + 5 * HOUR + 30 * MINUTE, true);
    pass(s, 20 * MINUTE);
    ran(s, MONDAY + 5 * HOUR, MONDAY + 5 * HOUR + 40 * MINUTE, 4);
    nothing_more(s);
    end(s);
}

static void a_delay_moves_all_of_every(void **state)
{
    struct story *s = begin(NULL, NULL);

    (void)state;
    s->c.every_us = MINUTE;
    s->c.at_start = true;
    s->c.delay_us = 7 * MP_SECOND;
    start(s, MONDAY, true);
    pass(s, 2 * MINUTE);
    ran(s, MONDAY + 7 * MP_SECOND, MONDAY + 7 * MP_SECOND, 0);
    ran(s, MONDAY + 67 * MP_SECOND, MONDAY + 67 * MP_SECOND, 0);
    nothing_more(s);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_runs_after_a_period_and_keeps_step),
        cmocka_unit_test(at_start_runs_at_once_too),
        cmocka_unit_test(every_needs_no_clock),
        cmocka_unit_test(a_run_due_while_one_runs_is_an_overlap),
        cmocka_unit_test(a_host_that_stood_still_runs_once_and_keeps_step),
        cmocka_unit_test(every_makes_up_for_downtime_when_asked_to),
        cmocka_unit_test(every_with_all_runs_each_and_100_at_most),
        cmocka_unit_test(every_that_is_owed_waits_for_a_clock),
        cmocka_unit_test(every_that_ran_meanwhile_is_not_owed),
        cmocka_unit_test(a_clock_behind_what_was_kept_owes_nothing),
        cmocka_unit_test(a_run_due_while_one_waits_is_an_overlap),
        cmocka_unit_test(the_run_at_start_is_the_one_that_is_owed),
        cmocka_unit_test(cron_runs_when_its_fields_say),
        cmocka_unit_test(nothing_runs_at_the_start_by_itself),
        cmocka_unit_test(a_skipped_hour_runs_right_after_it_and_once),
        cmocka_unit_test(a_doubled_hour_runs_once),
        cmocka_unit_test(without_a_clock_cron_waits_and_says_so),
        cmocka_unit_test(a_clock_lost_on_the_way_is_waited_for),
        cmocka_unit_test(the_user_is_seldom_woken),
        cmocka_unit_test(a_jump_forward_skips),
        cmocka_unit_test(a_jump_onto_a_run_is_in_time_for_it),
        cmocka_unit_test(a_jump_forward_runs_once),
        cmocka_unit_test(a_jump_forward_runs_all),
        cmocka_unit_test(a_jump_back_does_not_run_again_what_ran),
        cmocka_unit_test(a_jump_forward_and_back_loses_nothing),
        cmocka_unit_test(
            a_clock_that_was_years_ahead_does_not_silence_for_years),
        cmocka_unit_test(small_steps_of_the_clock_run_nothing_twice),
        cmocka_unit_test(three_days_of_downtime_are_skipped),
        cmocka_unit_test(three_days_of_downtime_run_once),
        cmocka_unit_test(three_days_of_downtime_run_each),
        cmocka_unit_test(all_is_the_newest_100_and_the_rest_is_counted),
        cmocka_unit_test(one_too_many_is_one_missed),
        cmocka_unit_test(years_of_downtime_are_counted_to_a_bound),
        cmocka_unit_test(power_lost_while_making_up_goes_on_where_it_was),
        cmocka_unit_test(a_restart_of_half_a_minute_is_in_time),
        cmocka_unit_test(a_cron_run_due_while_one_runs_is_an_overlap),
        cmocka_unit_test(what_is_owed_goes_out_one_by_one),
        cmocka_unit_test(the_delay_is_the_nodes_own_and_stays),
        cmocka_unit_test(a_delay_moves_the_run_but_not_what_it_is_for),
        cmocka_unit_test(after_an_outage_not_all_nodes_make_up_at_once),
        cmocka_unit_test(a_delay_moves_all_of_every),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
