/*
 * timetable.h - when a timer trigger runs next.
 *
 * A machine without a loop, a host or a clock: it is told the time and
 * answers.  The user sleeps until mp_timetable_next, asks mp_timetable_due
 * until it says no, and tells mp_timetable_done when a run is over.
 *
 *   every   on the monotonic clock, each at start + n periods, however long
 *           the runs take;
 *   cron    on the wall clock, in a zone, while that clock is trusted.
 *
 * What is due while a run waits or goes on is skipped: *overlap*.  What fell
 * into a time without power, or was jumped over by the wall clock, has
 * *fallen out*; `missed` says what becomes of it:
 *
 *   skip    nothing, but the next run knows how many there were;
 *   once    one run, as soon as can be, for all of them;
 *   all     a run for each, one after the other, of the newest 100.
 *
 * A cron run seen up to a minute late is still on time (a restart that took
 * half a minute).  When the wall clock goes back, nothing runs a second time:
 * the trigger is silent until the clock is past the last run.  More than a day
 * back, the clock was wrong before, and the trigger goes on from now.
 *
 * For once and all, what is known of earlier runs is one number, the wall
 * time for which the last run was due: given at init, and given out with each
 * run, to be kept with what that run did.  So a run that was lost with the
 * power is owed again.  With it, `every` goes on in step after a restart, if
 * the clock can be trusted before its first run: a period of a day passes on a
 * gateway that restarts each noon, too.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   a plain structure; cron and zone are borrowed.
 */
#ifndef MP_TIMETABLE_H
#define MP_TIMETABLE_H

#include "core/cron.h"

/* Runs that `missed = all` makes up for (INTERFACE). */
enum { MP_TIMETABLE_ALL_MAX = 100 };
/* Runs that fell out are counted up to here: `* * * * *` over years would
 * take seconds to count. */
enum { MP_TIMETABLE_COUNT_MAX = 1000 };
/* Asked about a wall clock, mp_timetable_next answers within this: nobody
 * tells us when that clock jumps. */
#define MP_TIMETABLE_LOOK_US INT64_C(30000000)
/* Seen later than this, a cron run has fallen out; longer than LOOK_US. */
#define MP_TIMETABLE_LATE_US INT64_C(60000000)
/* A wall clock that is this far before the last run was wrong then. */
#define MP_TIMETABLE_BACK_US INT64_C(86400000000)

enum mp_missed { MP_MISSED_SKIP, MP_MISSED_ONCE, MP_MISSED_ALL };

struct mp_timetable_config {
    int64_t every_us;           /* the period; 0: cron */
    const struct mp_cron *cron; /* and zone; both NULL with every_us */
    const struct mp_zone *zone;
    int64_t delay_us; /* mp_timetable_delay */
    bool at_start;    /* every: run at start, too */
    enum mp_missed missed;
    int64_t last_us; /* what was kept of the last run; 0: nothing, or what
                      * was kept under another period or other fields */
};

/* What time it is. */
struct mp_timetable_now {
    int64_t mono_us, wall_us;
    bool clock_ok; /* is wall_us to be trusted? */
};

struct mp_timetable_run {
    int64_t scheduled_us; /* wall clock: when it was due; cron: before the
                           * delay, as the fields say */
    uint32_t missed;      /* runs that fell out or were skipped before it */
    int64_t keep_us;      /* to be kept; 0: leave what is kept as it is */
};

struct mp_timetable {
    struct mp_timetable_config c;
    bool running;          /* handed out, and not done */
    bool no_clock;         /* cron: waits for a trusted wall clock */
    uint64_t overlap;      /* skipped: one was waiting or running */
    uint64_t fallen;       /* fell out and were not made up for */
    uint32_t before;       /* of both, since the last run */
    int64_t ready_us;      /* monotonic: what is owed waits until then */
    int64_t last_us;       /* wall: up to here all is dealt with */
    int64_t ran_us;        /* wall: the newest run handed out was due then */
    int64_t owed_until_us; /* cron: from there to here, runs are owed */
    uint32_t owed;         /* every: so many runs */
    int64_t tick_us;       /* every: monotonic, the next */
    bool resume;           /* every: what was kept waits for a clock */
};

/* The delay of a trigger of a node: at most jitter_us, the same each time. */
int64_t mp_timetable_delay(struct mp_slice node, struct mp_slice function,
                           struct mp_slice trigger, int64_t jitter_us);

void mp_timetable_init(struct mp_timetable *t,
                       const struct mp_timetable_config *c,
                       struct mp_timetable_now now);

/*
 * When to ask mp_timetable_due, on the monotonic clock; not before now.  Ask
 * again after each call of due and done, and when the wall clock was set.
 */
int64_t mp_timetable_next(const struct mp_timetable *t,
                          struct mp_timetable_now now);

/*
 * Is a run due?  Call it in time while one is running, too: that is how
 * overlap is seen.  True: run is handed out, and nothing else is until
 * mp_timetable_done.
 */
bool mp_timetable_due(struct mp_timetable *t, struct mp_timetable_now now,
                      struct mp_timetable_run *run);
/* The run handed out has been dealt with, well or not. */
void mp_timetable_done(struct mp_timetable *t);

#endif
