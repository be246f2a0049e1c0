/*
 * clock.c - a wall time as people read it.
 */
#include "core/base/clock.h"

#include <stdio.h>

void mp_time_text(int64_t wall_us, char text[MP_TIME_TEXT])
{
    time_t seconds = (time_t)(wall_us / MP_SECOND);
    unsigned ms = (unsigned)(wall_us % MP_SECOND / 1000);
    struct tm tm;
    size_t len;

    gmtime_r(&seconds, &tm);
    len = strftime(text, MP_TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, MP_TIME_TEXT - len, ".%03uZ", ms % 1000);
}
