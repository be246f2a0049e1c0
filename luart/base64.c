/*
 * base64.c - the codec of core/base for Lua strings.  Results are written
 * into a buffer that Lua owns, so a longjmp out of it leaks nothing.
 */
#include "luart/base64.h"

#include <lauxlib.h>

#include "core/base/base64.h"

static struct mp_slice string_arg(lua_State *L)
{
    struct mp_slice s;

    luaL_checktype(L, 1, LUA_TSTRING);
    s.ptr = lua_tolstring(L, 1, &s.len);
    return s;
}

static int encode(lua_State *L)
{
    struct mp_slice in = string_arg(L);
    size_t len = mp_base64_size(in.len);
    luaL_Buffer b;

    mp_base64_encode(in, luaL_buffinitsize(L, &b, len));
    luaL_pushresultsize(&b, len);
    return 1;
}

static int decode(lua_State *L)
{
    struct mp_slice in = string_arg(L);
    size_t len, bad;
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, in.len / 4 * 3 + 2);

    if (mp_base64_decode(in, out, &len, &bad)) {
        lua_pushfstring(L, "base64.decode: expected %s at byte %d",
                        bad < in.len ? "base64" : "more", (int)bad + 1);
        return luaL_error(L, "%s", lua_tostring(L, -1));
    }
    luaL_pushresultsize(&b, len);
    return 1;
}

int mp_luaopen_base64(lua_State *L)
{
    static const luaL_Reg calls[] = {
        {"encode", encode},
        {"decode", decode},
        {NULL, NULL},
    };

    luaL_newlib(L, calls);
    return 1;
}
