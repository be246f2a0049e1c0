/*
 * coro.h - the library `coroutine`, made so that calls that wait can.
 *
 * What a user sees is Lua's own library, messages included.  Below, each
 * coroutine that runs is entered in run.h's list, so that a deadline finds
 * it, and a call that waits (mp.sleep) inside coroutines suspends all of
 * them.
 *
 * Process  worker only.
 */
#ifndef MP_LUART_CORO_H
#define MP_LUART_CORO_H

#include <lua.h>

#include "core/base/wire.h"

int mp_luaopen_coroutine(lua_State *L);

/*
 * For calls that wait, as `return mp_coro_wait(L, "sleep", &wait, k, 0)`:
 * suspend the whole invocation; k goes on with what mp_inv.answer holds. Raises
 * where that can't be.
 */
int mp_coro_wait(lua_State *L, const char *what, const struct mp_wait *wait,
                 lua_KFunction k, lua_KContext context);

#endif
