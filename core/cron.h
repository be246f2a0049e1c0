/*
 * cron.h - five fields that say when, and the next time they do.
 *
 *      minute hour day-of-month month weekday      0 6 * * mon-fri
 *
 * Each is *, a value, a range a-b, one of these with a step (/n), or a list
 * of such with commas.  Months and weekdays have names; Sunday is 0 and 7.
 * @hourly, @daily, @weekly and @monthly stand for all five.  Where both day
 * fields are set (neither begins with *), either is enough, as in cron.
 *
 * The fields mean local time.  One that clocks skip runs at the first instant
 * after the gap, once however many were skipped; one that clocks show twice
 * runs at the first.  So a run every ten minutes pauses for the second
 * passing of a doubled hour: what should be even in time is `every`.
 *
 * Process  host and command line.   Thread  any; a plain value.
 * Memory   none.
 * Errors   MP_EPARSE: the sentence names the field, the bad text and what is
 *          allowed there.
 */
#ifndef MP_CRON_H
#define MP_CRON_H

#include "core/zone.h"

struct mp_cron {
    uint64_t minutes; /* bit n: at n */
    uint32_t hours, days;
    uint16_t months;
    uint8_t weekdays; /* bit 0: Sunday */
    bool either;      /* a day of the month or a weekday: one will do */
};

/* Refuses what would never run, such as 30 February. */
MP_MUST int mp_cron_parse(struct mp_cron *c, struct mp_slice text,
                          struct mp_why *why);

/* The first run later than that instant (seconds, UTC). */
int64_t mp_cron_next(const struct mp_cron *c, const struct mp_zone *zone,
                     int64_t after_s);

#endif
