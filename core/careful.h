/*
 * careful.h - after host crashes in a row: one event at a time.
 *
 * A host that dies of a signal of its own making (a bug, the watchdog) leaves
 * a file behind, DATA/crashed; a power cut or SIGKILL leaves none, and blames
 * no event.  Three such deaths within a minute, and the next start is careful:
 * for a minute, invocations begin one after the other, each named durably
 * before.  The one that is found named after another crash was the last thing
 * the host did before it died, and becomes a dead letter unrun.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   invocations wait in a list, by their link; each counts in the
 *          queue of its function, which bounds them.
 */
#ifndef MP_CAREFUL_H
#define MP_CAREFUL_H

#include "core/invocation.h"

enum { MP_CAREFUL_CRASHES = 3, MP_CAREFUL_NOTE_MAX = 128 };
#define MP_CAREFUL_WITHIN_US (60 * MP_SECOND)

struct mp_careful {
    bool on;
    char suspect[MP_EVENT_ID_MAX + MP_NAME_MAX + 8]; /* "": none */
    struct mp_link waiting;
    struct mp_invocation *current; /* named, or being named */
    struct mp_commit_wait named, noted;
    int64_t until_us; /* monotonic: all was well for a minute; 0: said */
};

/* Leave the file when this process dies of a signal of its own. */
void mp_careful_watch(const char *data);

/*
 * By the note of earlier crashes and one at now_us (timeline): is this start
 * to be careful?  note becomes the one to keep.
 */
bool mp_careful_crashed(struct mp_slice before, int64_t now_us,
                        char note[MP_CAREFUL_NOTE_MAX]);

/* The database is loaded: was the last end a crash? */
void mp_careful_open(struct mp_host *h);
/* Instead of starting it now: true, it waits for its turn, or there was no
 * room for that and it was dealt with as in a full queue. */
bool mp_careful_takes(struct mp_host *h, struct mp_invocation *inv);
/* It has ended. */
void mp_careful_ended(struct mp_host *h, struct mp_invocation *inv);
/* Once a loop turn: the next one may begin. */
void mp_careful_turn(struct mp_host *h);
/* Each second. */
void mp_careful_tick(struct mp_host *h);
/* The host stops well, or has begun anew (reset). */
void mp_careful_close(struct mp_host *h);

#endif
