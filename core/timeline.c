/*
 * timeline.c - pure arithmetic on clocks that somebody else reads.
 *
 * A note is the text "TIMELINE WALL TRUSTED": two numbers of microseconds and
 * 0 or 1.  While the wall clock is not trusted it says nothing worth keeping,
 * so WALL is then the floor: what is known must outlive a start without a
 * clock.
 *
 * The timeline never goes back over a restart: it goes on at the last note at
 * the earliest.  A wall clock that lies forward at a start moves it forward,
 * once; there is no telling that from a long time without power.
 */
#include "core/timeline.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/base/clock.h"

/* 2026-11-01T00:00:00Z, the month of this release: __DATE__ would make every
 * build another one.  Packagers may give the time of their sources. */
#ifndef MP_BUILD_TIME
#define MP_BUILD_TIME 1793491200
#endif

int64_t mp_timeline_build_us(void)
{
    return MP_BUILD_TIME * MP_SECOND;
}

/* Digits up to the end or a space, which is taken too. */
static bool take_number(struct mp_slice *s, int64_t *n)
{
    size_t i = 0;

    for (*n = 0; i < s->len && s->ptr[i] >= '0' && s->ptr[i] <= '9'; i++) {
        int digit = s->ptr[i] - '0';

        if (*n > (INT64_MAX - digit) / 10)
            return false;
        *n = *n * 10 + digit;
    }
    if (i == 0 || (i < s->len && s->ptr[i] != ' '))
        return false;
    i += i < s->len;
    *s = mp_slice(s->ptr + i, s->len - i);
    return true;
}

/* A note that could have been ours: nothing in it overflows later. */
static bool read_note(struct mp_slice note, int64_t *at, int64_t *wall,
                      int64_t *trusted)
{
    return take_number(&note, at) && take_number(&note, wall) &&
           take_number(&note, trusted) && note.len == 0 && *trusted <= 1 &&
           *at > 0 && *at < INT64_MAX / 4 && *wall < INT64_MAX / 4;
}

void mp_timeline_start(struct mp_timeline *t, struct mp_slice note,
                       int64_t wall_us, int64_t mono_us, int64_t build_us)
{
    int64_t at = 0, noted = 0, trusted = 0;
    bool first = !read_note(note, &at, &noted, &trusted);

    *t = (struct mp_timeline){
        .mono_us = mono_us,
        .floor_us = !first && noted > build_us ? noted : build_us,
        .build_us = build_us,
    };
    t->trusted = wall_us >= t->floor_us;
    if (first)
        t->base_us = t->trusted ? wall_us : build_us;
    else if (trusted && t->trusted)
        t->base_us = at + (wall_us - noted);
    else
        t->base_us = at;
    if (t->trusted)
        t->floor_us = wall_us;
}

bool mp_timeline_look(struct mp_timeline *t, int64_t wall_us)
{
    if (t->trusted)
        t->trusted = wall_us >= t->build_us;
    else
        t->trusted = wall_us >= t->floor_us;
    if (t->trusted)
        t->floor_us = wall_us;
    return t->trusted;
}

size_t mp_timeline_note(const struct mp_timeline *t, int64_t wall_us,
                        int64_t mono_us, char note[MP_TIMELINE_NOTE_MAX])
{
    bool trusted = t->trusted && wall_us >= t->build_us;

    return (size_t)snprintf(
        note, MP_TIMELINE_NOTE_MAX, "%" PRId64 " %" PRId64 " %d",
        mp_timeline_at(t, mono_us), trusted ? wall_us : t->floor_us, trusted);
}
