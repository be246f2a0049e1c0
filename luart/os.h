/*
 * os.h - what is left of Lua's os: time, date, difftime, clock.
 *
 * Process  worker only.
 */
#ifndef MP_LUART_OS_H
#define MP_LUART_OS_H

#include <lua.h>

/* Make it, as the global `os`. */
void mp_open_os(lua_State *L);

#endif
