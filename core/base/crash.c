/*
 * crash.c - SIGKILL is the nearest thing to a power cut that a process can do
 * to itself: no handler runs, no buffer is written.
 */
#include "core/base/crash.h"

#ifdef MP_CRASH

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void mp_crash_point(const char *name)
{
    static atomic_long passed;
    const char *at = getenv("MP_CRASH_AT");
    size_t len = strlen(name);
    long nth = 1;

    if (!at || strncmp(at, name, len) != 0)
        return;
    if (at[len] == ':')
        nth = strtol(at + len + 1, NULL, 10);
    else if (at[len])
        return; /* a longer name */
    if (atomic_fetch_add(&passed, 1) + 1 != nth)
        return;
    if (getenv("MP_CRASH_ABORT"))
        abort();
    raise(SIGKILL);
}

#else

typedef int mp_crash_is_off; /* a source file has to hold something */

#endif
