/*
 * os.c - the time of day as the function's zone shows it.
 *
 * The C library can't know: its zones are files, and one process runs
 * functions of many zones.  So it runs on UTC, and local times are UTC moved
 * by what a table says (core/base/local.h): Lua's own functions do all but
 * that.  os.date also takes a float, as mp.now() is one.
 */
#include "luart/os.h"

#include <lauxlib.h>
#include <lualib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/local.h"
#include "luart/image.h"
#include "luart/run.h"

enum { UP_DATE = 1, UP_TIME }; /* Lua's own */

static struct mp_slice zone(void)
{
    return mp_inv.image->load.zone;
}

static lua_Integer seconds_now(void)
{
    return (lua_Integer)(mp_run_wall_us() / 1000000);
}

/* Wraps around: Lua's own tell what is no date. */
static lua_Integer moved(lua_Integer t, int32_t by)
{
    return (lua_Integer)((lua_Unsigned)t + (lua_Unsigned)by);
}

/* Push the format as it is written for UTC: the zone's own parts filled in. */
static void push_format(lua_State *L, struct mp_slice format,
                        const struct mp_local *row)
{
    int minutes = abs(row->offset_s) / 60;
    luaL_Buffer text;
    char offset[16];

    snprintf(offset, sizeof offset, "%c%02d%02d", row->offset_s < 0 ? '-' : '+',
             minutes / 60, minutes % 60);
    luaL_buffinit(L, &text);
    luaL_addchar(&text, '!');
    for (size_t i = 0; i < format.len; i++) {
        char next = i + 1 < format.len ? format.ptr[i + 1] : '\0';

        if (format.ptr[i] != '%') {
            luaL_addchar(&text, format.ptr[i]);
            continue;
        }
        if (next == 'Z') {
            luaL_addstring(&text, row->abbr);
        } else if (next == 'z') {
            luaL_addstring(&text, offset);
        } else {
            luaL_addchar(&text, '%');
            if (i + 1 < format.len)
                luaL_addchar(&text, next);
        }
        i++;
    }
    luaL_pushresult(&text);
}

/* The format at 1 and the time at 2, local now; what came of it is left. */
static void call_date(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(UP_DATE));
    lua_insert(L, 1);
    lua_call(L, 2, 1);
}

static int os_date(lua_State *L)
{
    struct mp_slice format;
    struct mp_local row;
    lua_Integer t;
    int whole;

    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_pushinteger(L, seconds_now());
        lua_replace(L, 2);
    } else if (lua_type(L, 2) == LUA_TNUMBER && !lua_isinteger(L, 2)) {
        lua_pushnumber(L, floor(lua_tonumber(L, 2)));
        lua_replace(L, 2);
    }
    if (lua_isnil(L, 1)) {
        lua_pushliteral(L, "%c");
        lua_replace(L, 1);
    }
    format.ptr = lua_tolstring(L, 1, &format.len);
    t = lua_tointegerx(L, 2, &whole);
    if (!format.ptr || format.ptr[0] == '!' || !whole) {
        call_date(L);
        return 1;
    }
    row = mp_local_at(zone(), t);
    push_format(L, format, &row);
    lua_replace(L, 1);
    lua_pushinteger(L, moved(t, row.offset_s));
    lua_replace(L, 2);
    call_date(L);
    if (lua_istable(L, -1)) {
        lua_pushboolean(L, row.dst);
        lua_setfield(L, -2, "isdst");
    }
    return 1;
}

/* The table at 1 says what clocks show then. */
static void set_fields(lua_State *L, lua_Integer local_s)
{
    static const char *const names[] = {"year", "month", "day",  "hour",
                                        "min",  "sec",   "wday", "yday"};

    lua_pushvalue(L, lua_upvalueindex(UP_DATE));
    lua_pushliteral(L, "!*t");
    lua_pushinteger(L, local_s);
    lua_call(L, 2, 1);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        lua_getfield(L, -1, names[i]);
        lua_setfield(L, 1, names[i]);
    }
    lua_pop(L, 1);
}

static int os_time(lua_State *L)
{
    lua_Integer shown, t;
    struct mp_local row;
    int dst = -1;

    if (lua_isnoneornil(L, 1)) {
        lua_pushinteger(L, seconds_now());
        return 1;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getfield(L, 1, "isdst") != LUA_TNIL)
        dst = lua_toboolean(L, -1);
    lua_pushnil(L); /* UTC has none, and libc would look for it */
    lua_setfield(L, 1, "isdst");
    lua_pushvalue(L, lua_upvalueindex(UP_TIME));
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    shown = lua_tointeger(L, -1);
    t = mp_local_utc(zone(), shown, dst);
    row = mp_local_at(zone(), t);
    if (t + row.offset_s != shown)
        set_fields(L, t + row.offset_s);
    lua_pushboolean(L, row.dst);
    lua_setfield(L, 1, "isdst");
    lua_pushinteger(L, t);
    return 1;
}

void mp_open_os(lua_State *L)
{
    static const luaL_Reg own[] = {
        {"date", os_date}, {"time", os_time}, {NULL, NULL}};

    lua_createtable(L, 0, 4);
    luaL_requiref(L, "moonpool.os", luaopen_os, 0);
    lua_getfield(L, -1, "difftime");
    lua_setfield(L, -3, "difftime");
    lua_getfield(L, -1, "clock");
    lua_setfield(L, -3, "clock");
    lua_getfield(L, -1, "date");
    lua_getfield(L, -2, "time");
    lua_remove(L, -3);
    luaL_setfuncs(L, own, UP_TIME);
    lua_setglobal(L, LUA_OSLIBNAME);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushnil(L);
    lua_setfield(L, -2, "moonpool.os");
    lua_pop(L, 1);
}
