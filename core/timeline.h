/*
 * timeline.h - a clock for durations that survives restarts and wrong clocks.
 *
 * A gateway may boot without a clock, or with one that jumps by hours when
 * the network comes.  What is meant as a duration (a delay, a retry, an
 * alarm `after`, a TTL) must neither fire at once then nor never.  So the
 * host has a timeline of its own, in microseconds.  It runs with the
 * monotonic clock, and at a start goes on
 *
 *   at the wall clock      the very first time, when that is trusted;
 *   after the last note    by as much as the wall clock says has passed,
 *                          when it was trusted then and is now;
 *   at the last note       otherwise: time without power does not count.
 *
 * A wall clock is trusted while it is not below the floor: the latest of
 * the build's time and every trusted time that was seen.  One that steps
 * back while it is trusted is being corrected by somebody who knows better:
 * it stays trusted, down to the build's time, and the floor comes with it.
 *
 * Process  host only.   Thread  loop thread.   Memory  a plain structure.
 */
#ifndef MP_TIMELINE_H
#define MP_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/slice.h"

struct mp_timeline {
    int64_t base_us; /* timeline at mono_us */
    int64_t mono_us;
    int64_t floor_us; /* wall clock */
    int64_t build_us;
    bool trusted; /* at the last look */
};

enum { MP_TIMELINE_NOTE_MAX = 96 };

/* Begin from a note ("" or malformed: the first start). */
void mp_timeline_start(struct mp_timeline *t, struct mp_slice note,
                       int64_t wall_us, int64_t mono_us, int64_t build_us);

/* The timeline now. */
static inline int64_t mp_timeline_at(const struct mp_timeline *t,
                                     int64_t mono_us)
{
    return t->base_us + (mono_us - t->mono_us);
}

/* The monotonic clock then; below 0 before this machine's start. */
static inline int64_t mp_timeline_mono(const struct mp_timeline *t,
                                       int64_t at_us)
{
    return t->mono_us + (at_us - t->base_us);
}

/* Is the wall clock to be trusted?  Moves the floor.  Call now and then. */
bool mp_timeline_look(struct mp_timeline *t, int64_t wall_us);

/* What to keep, as text; returns its length. */
size_t mp_timeline_note(const struct mp_timeline *t, int64_t wall_us,
                        int64_t mono_us, char note[MP_TIMELINE_NOTE_MAX]);

/* When this program was built, wall clock. */
int64_t mp_timeline_build_us(void);

#endif
