/*
 * cage.h - takes everything away from this process that Lua doesn't need.
 *
 * After it the process holds the descriptors it was told to keep, can read
 * and write those, use memory and end itself; any other system call ends it
 * by SIGSYS.  It dies with its parent.  What must be had from the system (the
 * time zone, random numbers, the arena) must be had before.
 *
 * Process  worker, at its start, before the first byte of user code.
 * Errors   a layer that can't be had is fatal.  A root host must be able to
 *          change its user id (in a container: CAP_SETUID, CAP_SETGID).
 */
#ifndef MP_LUART_CAGE_H
#define MP_LUART_CAGE_H

#include <sys/types.h>

#include "core/base/why.h"

/* parent: the process that must still be ours.  keep: the socket. */
MP_MUST int mp_cage_enter(pid_t parent, int keep, struct mp_why *why);

#endif
