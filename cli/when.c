/*
 * when.c - reads RFC 3339, strictly: a date that does not exist is refused,
 * not carried over into the next month.
 */
#include "cli/when.h"

#include "core/base/clock.h"

/* n digits at *at as a number, or -1. */
static int digits(const char **at, const char *end, int n)
{
    int value = 0;

    if (end - *at < n)
        return -1;
    for (; n; n--, (*at)++) {
        if (**at < '0' || **at > '9')
            return -1;
        value = value * 10 + (**at - '0');
    }
    return value;
}

static bool skip(const char **at, const char *end, char c)
{
    if (*at == end || **at != c)
        return false;
    (*at)++;
    return true;
}

/* The fraction of a second in microseconds; digits past them are dropped. */
static int64_t fraction_us(const char **at, const char *end)
{
    int64_t us = 0, unit = MP_SECOND / 10;

    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++) {
        us += (**at - '0') * unit;
        unit /= 10;
    }
    return us;
}

/* Z or +01:00, in seconds to take away; false: neither. */
static bool offset_s(const char **at, const char *end, int64_t *s)
{
    int hours, minutes, sign = skip(at, end, '+') ? 1 : -1;

    *s = 0;
    if (sign < 0 && (skip(at, end, 'Z') || skip(at, end, 'z')))
        return true;
    if (sign < 0 && !skip(at, end, '-'))
        return false;
    hours = digits(at, end, 2);
    if (!skip(at, end, ':'))
        return false;
    minutes = digits(at, end, 2);
    *s = sign * (hours * 3600 + minutes * 60);
    return hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60;
}

static bool parse(struct mp_slice text, int64_t *wall_us)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    struct tm tm = {0}, asked;
    int64_t us = 0, offset;

    tm.tm_year = digits(&at, end, 4) - 1900;
    if (!skip(&at, end, '-'))
        return false;
    tm.tm_mon = digits(&at, end, 2) - 1;
    if (!skip(&at, end, '-'))
        return false;
    tm.tm_mday = digits(&at, end, 2);
    if (!skip(&at, end, 'T') && !skip(&at, end, 't') && !skip(&at, end, ' '))
        return false;
    tm.tm_hour = digits(&at, end, 2);
    if (!skip(&at, end, ':'))
        return false;
    tm.tm_min = digits(&at, end, 2);
    if (!skip(&at, end, ':'))
        return false;
    tm.tm_sec = digits(&at, end, 2);
    if (skip(&at, end, '.'))
        us = fraction_us(&at, end);
    if (!offset_s(&at, end, &offset) || at != end)
        return false;
    asked = tm;
    *wall_us = ((int64_t)timegm(&tm) - offset) * MP_SECOND + us;
    return asked.tm_year >= 70 && asked.tm_sec >= 0 &&
           tm.tm_mday == asked.tm_mday && tm.tm_mon == asked.tm_mon &&
           tm.tm_hour == asked.tm_hour && tm.tm_min == asked.tm_min &&
           tm.tm_sec == asked.tm_sec && *wall_us >= 0;
}

int mp_when_parse(struct mp_slice text, int64_t *wall_us, struct mp_why *why)
{
    if (!parse(text, wall_us))
        return mp_why_set(why, MP_EPARSE,
                          "'%.*s' is no time; write it as "
                          "2026-03-01T12:00:00Z",
                          (int)(text.len < 60 ? text.len : 60), text.ptr);
    return 0;
}
