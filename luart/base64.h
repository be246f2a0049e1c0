/*
 * base64.h - the Lua module `base64`: encode(s) and decode(s).
 *
 * What is taken and written is core/base/base64.h's: standard alphabet with
 * padding out; standard or URL-safe, padding optional, in.
 *
 * Process  worker only.   Memory  Lua's own heap.
 * Errors   decode raises "base64.decode: ... at byte N", counted from 1.
 */
#ifndef MP_LUART_BASE64_H
#define MP_LUART_BASE64_H

#include <lua.h>

int mp_luaopen_base64(lua_State *L);

#endif
