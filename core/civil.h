/*
 * civil.h - the calendar: seconds since 1970 and back (proleptic Gregorian).
 *
 * No zone: what is counted is either UTC or a local time, as the caller
 * means it.  Pure arithmetic for every time that a count of microseconds can
 * hold, and some beyond.
 *
 * Thread   any.   Memory  none.
 */
#ifndef MP_CIVIL_H
#define MP_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

enum { MP_MINUTE_S = 60, MP_HOUR_S = 3600, MP_DAY_S = 86400 };

struct mp_civil {
    int64_t year;
    int month, day; /* from 1 */
    int hour, minute, second;
    int weekday; /* 0: Sunday; not read by mp_civil_seconds */
};

/* Rounds down, also below zero. */
static inline int64_t mp_floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

bool mp_year_is_leap(int64_t year);
/* Days of a month (1-12). */
int mp_month_days(int64_t year, int month);
/* Days from 1 January 1970 to that day; day may lie outside the month. */
int64_t mp_civil_days(int64_t year, int month, int day);
struct mp_civil mp_civil_at(int64_t seconds);
int64_t mp_civil_seconds(const struct mp_civil *c);

#endif
