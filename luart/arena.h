/*
 * arena.h - the one heap that every Lua state of a worker lives in.
 *
 * A mapping at an address that never changes, and an allocator whose own
 * books are its first bytes: the bytes in use are a whole Lua state, and
 * copying them away and back is how a run begins, waits and goes on.
 *
 * Process  worker only.   Thread  one.
 * Memory   MP_MEMORY_MAX of address space and a guard page; touched pages
 *          stay until mp_arena_give_back.
 * Errors   running into the limit never returns: it calls what mp_arena_open
 *          was given, which must leave by longjmp.
 */
#ifndef MP_LUART_ARENA_H
#define MP_LUART_ARENA_H

#include "core/base/slice.h"

/* Map the arena; the first call counts, later ones are fine. */
MP_MUST int mp_arena_open(void (*full)(void), struct mp_why *why);

/* Empty, with room for limit bytes, the allocator's books included. */
void mp_arena_reset(uint32_t limit);

/* The bytes in use. */
struct mp_slice mp_arena_used(void);

/* Make bytes, once returned by mp_arena_used, the bytes in use again. */
void mp_arena_restore(struct mp_slice bytes, uint32_t limit);

/* Give pages past the first keep bytes back to the system. */
void mp_arena_give_back(size_t keep);

/* Most bytes touched since the last give_back. */
size_t mp_arena_touched(void);

/* A lua_Alloc. */
void *mp_arena_alloc(void *unused, void *old, size_t old_size, size_t size);

#endif
