/*
 * zone_rule.c - a POSIX TZ string: the law of a zone in one line.
 *
 *      CET-1CEST,M3.5.0,M10.5.0/3
 *      |  |  |   |      |      '-- at 3 o'clock, as clocks show it then
 *      |  |  |   |      '--------- back on October's last (5) Sunday (0)
 *      |  |  |   '---------------- to summer time on March's last Sunday
 *      |  |  '-------------------- at 2 o'clock, one hour more than standard
 *      |  '----------------------- UTC minus local time
 *      '-------------------------- or <+01>, where no letters are in use
 *
 * RFC 8536 lets times of change run from -167 to 167 hours, so a year's
 * change may lie days off in the year before or after; and summer time may
 * end the moment that it begins again, which is summer time for ever.
 */
#include <ctype.h>
#include <stdio.h>

#include "core/base/text.h"
#include "core/civil.h"
#include "core/zone_impl.h"

/* Years on each side of an instant whose changes may be the nearest. */
enum { YEARS_AROUND = 2, CHANGES = 2 * (2 * YEARS_AROUND + 1) };
enum { HOURS_OFFSET = 24, HOURS_CHANGE = 167 };

struct text {
    const char *at, *end;
};

static bool take(struct text *t, char c)
{
    if (t->at == t->end || *t->at != c)
        return false;
    t->at++;
    return true;
}

static bool take_number(struct text *t, int min, int max, int *number)
{
    const char *from = t->at;
    int n = 0;

    while (t->at < t->end && isdigit((unsigned char)*t->at) && n <= max)
        n = n * 10 + (*t->at++ - '0');
    *number = n;
    return t->at > from && n >= min && n <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(struct text *t, int hours_max, int32_t *seconds)
{
    int h, m = 0, s = 0, sign = 1;

    if (take(t, '-'))
        sign = -1;
    else
        take(t, '+');
    if (!take_number(t, 0, hours_max, &h))
        return false;
    if (take(t, ':')) {
        if (!take_number(t, 0, 59, &m))
            return false;
        if (take(t, ':') && !take_number(t, 0, 59, &s))
            return false;
    }
    *seconds = sign * (h * MP_HOUR_S + m * MP_MINUTE_S + s);
    return true;
}

bool mp_zone_abbr_valid(struct mp_slice abbr)
{
    for (size_t i = 0; i < abbr.len; i++)
        if (!isalnum((unsigned char)abbr.ptr[i]) && abbr.ptr[i] != '+' &&
            abbr.ptr[i] != '-')
            return false;
    return abbr.len >= 3 && abbr.len <= MP_ZONE_ABBR_MAX;
}

/* Letters, or more in angle brackets. */
static bool take_abbr(struct text *t, char abbr[MP_ZONE_ABBR_MAX + 1])
{
    bool quoted = take(t, '<');
    const char *from = t->at;
    struct mp_slice name;

    while (t->at < t->end &&
           (quoted ? *t->at != '>' : isalpha((unsigned char)*t->at)))
        t->at++;
    name = mp_slice(from, (size_t)(t->at - from));
    if (!mp_zone_abbr_valid(name) || (quoted && !take(t, '>')))
        return false;
    snprintf(abbr, MP_ZONE_ABBR_MAX + 1, "%.*s", MP_FMT(name));
    return true;
}

static bool take_when(struct text *t, struct mp_zone_when *w)
{
    *w = (struct mp_zone_when){.kind = MP_WHEN_DAY, .time_s = 2 * MP_HOUR_S};
    if (take(t, 'M')) {
        w->kind = MP_WHEN_WEEKDAY;
        if (!take_number(t, 1, 12, &w->month) || !take(t, '.') ||
            !take_number(t, 1, 5, &w->week) || !take(t, '.') ||
            !take_number(t, 0, 6, &w->day))
            return false;
    } else if (take(t, 'J')) {
        w->kind = MP_WHEN_JULIAN;
        if (!take_number(t, 1, 365, &w->day))
            return false;
    } else if (!take_number(t, 0, 365, &w->day)) {
        return false;
    }
    return !take(t, '/') || take_time(t, HOURS_CHANGE, &w->time_s);
}

static bool take_summer(struct text *t, struct mp_zone_rule *r)
{
    int32_t west = -r->standard.offset_s - MP_HOUR_S; /* unless it is given */

    r->changes = r->summer.dst = true;
    if (!take_abbr(t, r->summer.abbr))
        return false;
    if (t->at < t->end && *t->at != ',' && !take_time(t, HOURS_OFFSET, &west))
        return false;
    r->summer.offset_s = -west;
    return take(t, ',') && take_when(t, &r->start) && take(t, ',') &&
           take_when(t, &r->end);
}

int mp_zone_rule_parse(struct mp_zone_rule *r, struct mp_slice text,
                       struct mp_why *why)
{
    struct text t = {text.ptr, text.ptr + text.len};
    int32_t west;

    *r = (struct mp_zone_rule){0};
    if (text.len > MP_ZONE_POSIX_MAX || !take_abbr(&t, r->standard.abbr) ||
        !take_time(&t, HOURS_OFFSET, &west))
        goto bad;
    r->standard.offset_s = -west;
    if (t.at < t.end && !take_summer(&t, r))
        goto bad;
    if (t.at == t.end)
        return 0;
bad:
    return mp_why_set(why, MP_EPARSE,
                      "byte %td of the zone's rule is not what it should be",
                      t.at - text.ptr + 1);
}

/* ---- when clocks change ---- */

/* The day, counted from 1970, that w names in that year. */
static int64_t day_of(const struct mp_zone_when *w, int64_t year)
{
    int64_t first = mp_civil_days(year, 1, 1), days;
    int day;

    if (w->kind == MP_WHEN_DAY)
        return first + w->day;
    if (w->kind == MP_WHEN_JULIAN)
        return first + w->day - 1 + (w->day >= 60 && mp_year_is_leap(year));
    days = mp_civil_days(year, w->month, 1);
    /* 1 January 1970 was a Thursday. */
    day = (int)(w->day - (days + 4 - mp_floor_div(days + 4, 7) * 7) + 7) % 7;
    day += (w->week - 1) * 7;
    while (day >= mp_month_days(year, w->month))
        day -= 7; /* week 5 is the last one, be it the fourth */
    return days + day;
}

struct change {
    int64_t at_s;
    bool to_summer;
};

/* Summer that ends and begins at one instant goes on. */
static bool comes_after(struct change a, struct change b)
{
    return a.at_s != b.at_s ? a.at_s > b.at_s : a.to_summer && !b.to_summer;
}

static void insert(struct change *list, unsigned n, struct change c)
{
    for (; n > 0 && comes_after(list[n - 1], c); n--)
        list[n] = list[n - 1];
    list[n] = c;
}

struct mp_zone_span mp_zone_rule_span(const struct mp_zone_rule *r,
                                      int64_t utc_s)
{
    struct mp_zone_span span = {INT64_MIN, INT64_MAX, &r->standard};
    struct change list[CHANGES];
    int64_t year = mp_civil_at(utc_s).year;
    unsigned n = 0, at = 0;

    if (!r->changes)
        return span;
    for (int64_t y = year - YEARS_AROUND; y <= year + YEARS_AROUND; y++) {
        insert(list, n++,
               (struct change){day_of(&r->start, y) * MP_DAY_S +
                                   r->start.time_s - r->standard.offset_s,
                               true});
        insert(list, n++,
               (struct change){day_of(&r->end, y) * MP_DAY_S + r->end.time_s -
                                   r->summer.offset_s,
                               false});
    }
    while (at + 1 < n && list[at + 1].at_s <= utc_s)
        at++;
    MP_ASSERT(at + 1 < n && list[at].at_s <= utc_s);
    return (struct mp_zone_span){list[at].at_s, list[at + 1].at_s,
                                 list[at].to_summer ? &r->summer
                                                    : &r->standard};
}
