/*
 * clock.h - the two clocks, in microseconds.
 *
 * mp_now_us is monotonic: for durations and deadlines.  mp_wall_us is the
 * time of day since 1970 (UTC), which may be wrong and may jump: for people.
 *
 * Thread   any.
 */
#ifndef MP_BASE_CLOCK_H
#define MP_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define MP_MS INT64_C(1000)
#define MP_SECOND INT64_C(1000000)

static inline int64_t mp_clock_us(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * MP_SECOND + t.tv_nsec / 1000;
}

static inline int64_t mp_now_us(void)
{
    return mp_clock_us(CLOCK_MONOTONIC);
}

static inline int64_t mp_wall_us(void)
{
    return mp_clock_us(CLOCK_REALTIME);
}

enum { MP_TIME_TEXT = 32 };

/* "2026-03-01T12:00:00.123Z" (RFC 3339, UTC, milliseconds) into text. */
void mp_time_text(int64_t wall_us, char text[MP_TIME_TEXT]);

#endif
