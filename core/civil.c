/*
 * civil.c - a year that begins in March ends with its leap day.
 *
 * Counted from 1 March, the months before a date have a length that does not
 * depend on the year: five months are 153 days, so (153 * m + 2) / 5 days lie
 * before month m.  Years repeat after 400 of them, which are 146,097 days.
 */
#include "core/civil.h"

enum {
    ERA_YEARS = 400,
    ERA_DAYS = 146097,
    EPOCH = 719468, /* days from 1 March of the year 0 to 1 January 1970 */
};

bool mp_year_is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int mp_month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && mp_year_is_leap(year));
}

int64_t mp_civil_days(int64_t year, int month, int day)
{
    int64_t y = year - (month <= 2), era = mp_floor_div(y, ERA_YEARS);
    int64_t in_era = y - era * ERA_YEARS;
    int from_march = (month + 9) % 12;

    return era * ERA_DAYS + in_era * 365 + in_era / 4 - in_era / 100 +
           (153 * from_march + 2) / 5 + day - 1 - EPOCH;
}

struct mp_civil mp_civil_at(int64_t seconds)
{
    int64_t days = mp_floor_div(seconds, MP_DAY_S), era, in_era, year;
    int second = (int)(seconds - days * MP_DAY_S), day, month;
    struct mp_civil c = {
        .hour = second / MP_HOUR_S,
        .minute = second % MP_HOUR_S / MP_MINUTE_S,
        .second = second % MP_MINUTE_S,
        .weekday = (int)(days + 4 - mp_floor_div(days + 4, 7) * 7),
    };

    era = mp_floor_div(days + EPOCH, ERA_DAYS);
    in_era = days + EPOCH - era * ERA_DAYS;
    /* Leap days before it taken out, each year has 365. */
    year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    day = (int)(in_era - (year * 365 + year / 4 - year / 100));
    month = (5 * day + 2) / 153;
    c.day = day - (153 * month + 2) / 5 + 1;
    c.month = month < 10 ? month + 3 : month - 9;
    c.year = era * ERA_YEARS + year + (c.month <= 2);
    return c;
}

int64_t mp_civil_seconds(const struct mp_civil *c)
{
    return mp_civil_days(c->year, c->month, c->day) * MP_DAY_S +
           c->hour * MP_HOUR_S + c->minute * MP_MINUTE_S + c->second;
}
