/*
 * timetable.c - what is due, what fell out, what is owed.
 *
 * For cron all time is one line of wall time with two marks on it:
 *
 *      ---- dealt with ----| last ---- owed ----| owed_until ---- to come
 *
 * A look at the clock takes the runs between owed_until and now.  One that is
 * fresh goes out, or is an overlap; what is late moves a mark: `last` when it
 * is skipped, `owed_until` when it will be made up for.  When the clock goes
 * back, so do the marks, but never before what ran: nothing runs twice, unless
 * the clock proves to have been wrong by days.
 *
 * For `every` the line is the monotonic clock, which has no jumps; runs are
 * owed from before the start only, and are a number.
 *
 * The newest 100 of many runs, and the last before now, are found by halving
 * the time between the marks: the next run after x never gets earlier when x
 * grows.
 */
#include "core/timetable.h"

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/civil.h"

int64_t mp_timetable_delay(struct mp_slice node, struct mp_slice function,
                           struct mp_slice trigger, int64_t jitter_us)
{
    /* No secret: it must be the same after a restart. */
    static const struct mp_hash_key key = {0x6a69747465720000, 0};
    struct mp_hasher h;

    if (jitter_us <= 0)
        return 0;
    mp_hasher_init(&h, &key);
    mp_hasher_add(&h, node);
    mp_hasher_add(&h, function);
    mp_hasher_add(&h, trigger);
    return (int64_t)(mp_hasher_end(&h).lo % ((uint64_t)jitter_us + 1));
}

/* Runs that won't be: the next one is told. */
static void count_before(struct mp_timetable *t, uint64_t n)
{
    n += t->before;
    t->before = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static void fall_out(struct mp_timetable *t, uint64_t n)
{
    t->fallen += n;
    count_before(t, n);
}

static void overlap(struct mp_timetable *t)
{
    t->overlap++;
    count_before(t, 1);
}

static bool hand_out(struct mp_timetable *t, int64_t scheduled_us, bool keep,
                     struct mp_timetable_run *run)
{
    *run = (struct mp_timetable_run){scheduled_us, t->before,
                                     keep ? scheduled_us : 0};
    t->before = 0;
    t->ran_us = scheduled_us;
    t->running = true;
    return true;
}

void mp_timetable_done(struct mp_timetable *t)
{
    t->running = false;
}

/* ---- every ---- */

/* The wall clock is trusted for the first time since the start: what fell
 * out before it? */
static void every_resume(struct mp_timetable *t, struct mp_timetable_now now)
{
    int64_t gone = now.wall_us - t->c.last_us, n;

    t->resume = false;
    if (gone < 0)
        return; /* one of the two clocks was wrong */
    n = gone / t->c.every_us;
    if (!t->c.at_start)
        t->tick_us = now.mono_us + t->c.every_us - gone % t->c.every_us;
    if (n == 0)
        return;
    t->owed = t->c.missed == MP_MISSED_ONCE ? 1
              : n < MP_TIMETABLE_ALL_MAX    ? (uint32_t)n
                                            : MP_TIMETABLE_ALL_MAX;
    fall_out(t, (uint64_t)n - t->owed);
    t->last_us = t->c.last_us + (n - t->owed) * t->c.every_us;
    t->ready_us = now.mono_us + t->c.delay_us;
    if (t->c.at_start && t->tick_us <= t->ready_us)
        t->tick_us += t->c.every_us; /* that is the run at start */
}

static bool every_due(struct mp_timetable *t, struct mp_timetable_now now,
                      struct mp_timetable_run *run)
{
    if (t->resume && now.clock_ok)
        every_resume(t, now);
    if (now.mono_us >= t->tick_us) {
        int64_t late = (now.mono_us - t->tick_us) / t->c.every_us, tick;

        fall_out(t, (uint64_t)late); /* nobody asked in time */
        tick = t->tick_us + late * t->c.every_us;
        t->tick_us = tick + t->c.every_us;
        if (!t->running && !t->owed) {
            t->resume = false; /* it goes on from here */
            return hand_out(t, now.wall_us - (now.mono_us - tick), now.clock_ok,
                            run);
        }
        overlap(t);
    }
    if (!t->owed || t->running || now.mono_us < t->ready_us)
        return false;
    t->owed--;
    t->last_us += t->c.every_us;
    return hand_out(t, t->last_us, true, run);
}

static int64_t every_wake(const struct mp_timetable *t,
                          struct mp_timetable_now now)
{
    int64_t next = t->tick_us;

    if (t->resume) /* waits for the clock, or for due to look at it */
        next = now.clock_ok ? now.mono_us : now.mono_us + MP_TIMETABLE_LOOK_US;
    if (t->owed && !t->running)
        next = t->ready_us;
    return next < t->tick_us ? next : t->tick_us;
}

/* ---- cron ---- */

static int64_t cron_next(const struct mp_timetable *t, int64_t after_us)
{
    return mp_cron_next(t->c.cron, t->c.zone,
                        mp_floor_div(after_us, MP_SECOND)) *
           MP_SECOND;
}

/* How many runs are after a and not after b; at most max are counted. */
static uint32_t cron_count(const struct mp_timetable *t, int64_t a, int64_t b,
                           uint32_t max)
{
    uint32_t n = 0;

    while (n < max && (a = cron_next(t, a)) <= b)
        n++;
    return n;
}

/* The last moment from a on, to a second, with n runs after it and not after
 * b; there are that many after a. */
static int64_t cron_before(const struct mp_timetable *t, int64_t a, int64_t b,
                           uint32_t n)
{
    int64_t beyond = b;

    while (beyond - a > MP_SECOND) {
        int64_t mid = a + (beyond - a) / 2;

        if (cron_count(t, mid, b, n) == n)
            a = mid;
        else
            beyond = mid;
    }
    return a;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Where to begin.  And no mark lies in the future, unless the clock went back
 * over a time in which something ran. */
static void cron_settle(struct mp_timetable *t, struct mp_timetable_now now)
{
    int64_t until = now.wall_us - t->c.delay_us;

    if (t->ran_us > now.wall_us + MP_TIMETABLE_BACK_US)
        t->ran_us = 0;
    if (!t->last_us)
        t->last_us = until;
    if (t->last_us > until) {
        t->last_us = later(t->ran_us, until);
        t->before = 0; /* what fell out is to come again */
    }
    if (t->owed_until_us > until || t->owed_until_us < t->last_us)
        t->owed_until_us = later(t->last_us, until);
}

static void cron_dealt_with(struct mp_timetable *t, int64_t until_us)
{
    t->last_us = t->owed_until_us = until_us;
}

/* Runs are due, up to until_us, the first of them at first_us. */
static bool cron_take(struct mp_timetable *t, struct mp_timetable_now now,
                      int64_t first_us, int64_t until_us,
                      struct mp_timetable_run *run)
{
    bool skip = t->c.missed == MP_MISSED_SKIP;
    bool waits = t->owed_until_us > t->last_us;
    int64_t latest = first_us;

    if (cron_next(t, first_us) <= until_us)
        latest = cron_next(t, cron_before(t, first_us, until_us, 1));
    if (!waits && until_us - latest <= MP_TIMETABLE_LATE_US &&
        (skip || latest == first_us)) {
        fall_out(t, cron_count(t, t->last_us, latest - MP_SECOND,
                               MP_TIMETABLE_COUNT_MAX));
        cron_dealt_with(t, latest);
        if (!t->running)
            return hand_out(t, latest, true, run);
        overlap(t);
    } else if (skip) {
        fall_out(t, cron_count(t, t->last_us, latest, MP_TIMETABLE_COUNT_MAX));
        cron_dealt_with(t, latest);
    } else {
        if (!waits)
            t->ready_us = now.mono_us + t->c.delay_us;
        t->owed_until_us = latest;
    }
    return false;
}

static bool cron_owed(struct mp_timetable *t, struct mp_timetable_now now,
                      struct mp_timetable_run *run)
{
    int64_t from = t->last_us, until = t->owed_until_us;

    if (until <= from || t->running || now.mono_us < t->ready_us)
        return false;
    if (t->c.missed == MP_MISSED_ONCE) {
        fall_out(
            t, cron_count(t, from, until - MP_SECOND, MP_TIMETABLE_COUNT_MAX));
        t->last_us = until;
    } else {
        if (cron_count(t, from, until, MP_TIMETABLE_ALL_MAX + 1) >
            MP_TIMETABLE_ALL_MAX) {
            from = cron_before(t, from, until, MP_TIMETABLE_ALL_MAX);
            fall_out(t,
                     cron_count(t, t->last_us, from, MP_TIMETABLE_COUNT_MAX));
        }
        t->last_us = cron_next(t, from);
    }
    return hand_out(t, t->last_us, true, run);
}

static bool cron_due(struct mp_timetable *t, struct mp_timetable_now now,
                     struct mp_timetable_run *run)
{
    int64_t until = now.wall_us - t->c.delay_us, first;

    t->no_clock = !now.clock_ok;
    if (t->no_clock)
        return false;
    cron_settle(t, now);
    first = cron_next(t, t->owed_until_us);
    if (first <= until && cron_take(t, now, first, until, run))
        return true;
    return cron_owed(t, now, run);
}

static int64_t cron_wake(const struct mp_timetable *t,
                         struct mp_timetable_now now)
{
    int64_t next = now.mono_us + MP_TIMETABLE_LOOK_US, at;

    if (!now.clock_ok)
        return next;
    at = cron_next(t, t->owed_until_us) + t->c.delay_us - now.wall_us +
         now.mono_us;
    next = at < next ? at : next;
    if (t->owed_until_us > t->last_us && !t->running && t->ready_us < next)
        next = t->ready_us;
    return next;
}

/* ---- both ---- */

void mp_timetable_init(struct mp_timetable *t,
                       const struct mp_timetable_config *c,
                       struct mp_timetable_now now)
{
    MP_ASSERT((c->every_us > 0) != (c->cron && c->zone));
    MP_ASSERT(c->delay_us >= 0);
    *t = (struct mp_timetable){.c = *c, .ready_us = now.mono_us};
    if (c->every_us) {
        t->tick_us =
            now.mono_us + c->delay_us + (c->at_start ? 0 : c->every_us);
        t->resume = c->missed != MP_MISSED_SKIP && c->last_us > 0;
    } else {
        t->last_us = t->owed_until_us = t->ran_us = c->last_us;
        t->no_clock = !now.clock_ok;
        if (now.clock_ok)
            cron_settle(t, now);
    }
}

bool mp_timetable_due(struct mp_timetable *t, struct mp_timetable_now now,
                      struct mp_timetable_run *run)
{
    return t->c.every_us ? every_due(t, now, run) : cron_due(t, now, run);
}

int64_t mp_timetable_next(const struct mp_timetable *t,
                          struct mp_timetable_now now)
{
    int64_t next = t->c.every_us ? every_wake(t, now) : cron_wake(t, now);

    return next > now.mono_us ? next : now.mono_us;
}
