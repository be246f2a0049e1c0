/*
 * local.h - local time as a table, for a process that may open no files.
 *
 * The host knows zones (core/zone.h); the worker gets what it needs of one:
 * from when on clocks show how much more than UTC.  Rows are ascending and of
 * one size.  What lies before the first row has its offset, what comes after
 * the last one the last one's; an empty table is UTC.
 *
 *     from (i64, seconds of UTC) | offset (i32) | DST (u8) | "CEST" (7 bytes)
 *
 * Thread   any.   Memory  none: a table is a slice.
 */
#ifndef MP_BASE_LOCAL_H
#define MP_BASE_LOCAL_H

#include "core/base/slice.h"

enum {
    MP_LOCAL_ABBR = 7, /* the longest there are have 6 */
    MP_LOCAL_ROW = 20,
    MP_LOCAL_ROWS_MAX = 512, /* of 1970 to 2100: two a year, and odd ones */
};

struct mp_local {
    int64_t from_s;
    int32_t offset_s; /* local time minus UTC */
    bool dst;
    char abbr[MP_LOCAL_ABBR + 1]; /* a longer one is cut */
};

/* Add a row. */
void mp_local_put(struct mp_buf *table, const struct mp_local *row);

/* What is in force at an instant. */
struct mp_local mp_local_at(struct mp_slice table, int64_t utc_s);

/*
 * The instant of a local time, given as if it were seconds of UTC; as mktime
 * has it: dst 1 or 0 says what the time is meant in, -1 leaves it open.  Then
 * a time that clocks show twice is the first one, and one that they skip is
 * counted on from before the gap.
 */
int64_t mp_local_utc(struct mp_slice table, int64_t local_s, int dst);

#endif
