/*
 * sandbox.c - Lua without its doors to the outside, and without finalizers.
 *
 * The list of what exists is positive: libraries are opened and what is not
 * on it is taken away.  Two things need more than that:
 *
 *   __gc     finalizers run with hooks off, where no deadline reaches.  Lua
 *            marks an object for one only in setmetatable, so refusing a
 *            metatable that has the field there is enough; a field put into
 *            it later means nothing.
 *   load     takes text only: bytecode isn't checked by Lua.
 *
 * The fence is the first one; the process is the wall.
 */
#include "luart/sandbox.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>

#include "luart/api.h"
#include "luart/base64.h"
#include "luart/cbor.h"
#include "luart/coro.h"
#include "luart/error.h"
#include "luart/image.h"
#include "luart/json.h"
#include "luart/os.h"
#include "luart/run.h"
#include "luart/senml.h"

/* Registry: name -> what its chunk returned, or the mark of loading it. */
#define LOADED "moonpool.loaded"
#define TYPE_LOADING "moonpool.loading"

/* ---- base ---- */

static int base_setmetatable(lua_State *L)
{
    int type = lua_type(L, 2);

    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2,
                     "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "setmetatable: functions have no finalizers; "
                                 "leave __gc out");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

enum { RESERVED_SLOT = 5 };

/* Pieces from a function, as in Lua's own load. */
static const char *load_piece(lua_State *L, void *unused, size_t *len)
{
    (void)unused;
    luaL_checkstack(L, 2, "too many nested functions");
    lua_pushvalue(L, 1);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        *len = 0;
        return NULL;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "reader function must return a string");
    lua_replace(L, RESERVED_SLOT);
    return lua_tolstring(L, RESERVED_SLOT, len);
}

static int base_load(lua_State *L)
{
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    const char *mode = luaL_optstring(L, 3, "t");
    bool has_env = !lua_isnone(L, 4);
    int status;

    if (!strchr(mode, 't')) {
        luaL_pushfail(L);
        lua_pushfstring(L, "attempt to load a text chunk (mode is '%s')", mode);
        return 2;
    }
    if (text) {
        const char *name = luaL_optstring(L, 2, text);

        status = luaL_loadbufferx(L, text, len, name, "t");
    } else {
        const char *name = luaL_optstring(L, 2, "=(load)");

        luaL_checktype(L, 1, LUA_TFUNCTION);
        lua_settop(L, RESERVED_SLOT);
        status = lua_load(L, load_piece, NULL, name, "t");
    }
    if (status != LUA_OK) {
        luaL_pushfail(L);
        lua_insert(L, -2);
        return 2;
    }
    if (has_env) {
        lua_pushvalue(L, 4);
        if (!lua_setupvalue(L, -2, 1))
            lua_pop(L, 1);
    }
    return 1;
}

static int base_print(lua_State *L)
{
    int n = lua_gettop(L);
    luaL_Buffer text;

    luaL_checkstack(L, 8, "too many arguments");
    luaL_buffinit(L, &text);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addstring(&text, "  "); /* a log has no tabs */
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
    mp_api_log(L, MP_INFO, -1, 0);
    return 0;
}

/* ---- require ---- */

void mp_sandbox_compile(lua_State *L, struct mp_slice path,
                        struct mp_slice text)
{
    lua_pushliteral(L, "@");
    lua_pushlstring(L, path.ptr, path.len);
    lua_concat(L, 2);
    if (luaL_loadbufferx(L, text.ptr, text.len, lua_tostring(L, -1), "t"))
        lua_error(L);
    lua_remove(L, -2);
}

/* The chunk of module `name`, or an error that says what was tried. */
static void module_chunk(lua_State *L, const char *name)
{
    const struct mp_load *load = &mp_inv.image->load;
    struct mp_slice path;

    luaL_gsub(L, name, ".", "/");
    lua_pushliteral(L, ".lua");
    lua_concat(L, 2);
    path.ptr = lua_tolstring(L, -1, &path.len);
    for (uint32_t i = 0; i < load->n_files; i++) {
        if (mp_slice_eq(load->files[i].name, path)) {
            mp_sandbox_compile(L, path, load->files[i].value);
            return;
        }
    }
    luaL_error(L,
               "module '%s' not found; the function has no %s, and moonpool's "
               "own are moonpool, json, cbor, senml and base64",
               name, path.ptr);
}

/* __close of a mark, whatever way require is left: a module that failed is
 * one that never was loaded. */
static int end_loading(lua_State *L)
{
    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, LOADED); /* 2 */
    lua_getiuservalue(L, 1, 1);                 /* 3: the name */
    lua_pushvalue(L, 3);
    lua_rawget(L, 2);
    if (lua_rawequal(L, -1, 1)) {
        lua_pushvalue(L, 3);
        lua_pushnil(L);
        lua_rawset(L, 2);
    }
    return 0;
}

/* Mark the module whose name is at 1 in the table at 2; the mark is pushed. */
static void begin_loading(lua_State *L)
{
    lua_newuserdatauv(L, 0, 1);
    luaL_setmetatable(L, TYPE_LOADING);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, 2);
    lua_toclose(L, -1);
}

static int base_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);

    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, LOADED); /* 2 */
    lua_pushvalue(L, 1);
    lua_rawget(L, 2);
    if (luaL_testudata(L, -1, TYPE_LOADING))
        return luaL_error(L, "module '%s' requires itself, through others",
                          name);
    if (!lua_isnil(L, -1))
        return 1;
    lua_settop(L, 2);
    module_chunk(L, name);
    lua_replace(L, 3);
    lua_settop(L, 3);
    begin_loading(L); /* 4 */
    lua_pushvalue(L, 3);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, 2);
    return 1;
}

/* ---- all of it ---- */

static void take_away(lua_State *L, const char *const *names)
{
    for (; *names; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
}

static void open_base(lua_State *L)
{
    static const char *const no[] = {"dofile", "loadfile", "collectgarbage",
                                     "warn", NULL};
    static const luaL_Reg own[] = {
        {"setmetatable", base_setmetatable},
        {"load", base_load},
        {"print", base_print},
        {"require", base_require},
        {NULL, NULL},
    };

    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    take_away(L, no);
    luaL_setfuncs(L, own, 0);
    lua_pop(L, 1);
}

static void open_libraries(lua_State *L)
{
    static const char *const no_dump[] = {"dump", NULL};

    open_base(L);
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
    luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 1);
    luaL_requiref(L, LUA_COLIBNAME, mp_luaopen_coroutine, 1);
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
    take_away(L, no_dump);
    lua_pop(L, 5);
    mp_open_os(L);
}

void mp_sandbox_open(lua_State *L, const struct mp_load *load)
{
    static const luaL_Reg codecs[] = {
        {"json", mp_luaopen_json},
        {"cbor", mp_luaopen_cbor},
        {"senml", mp_luaopen_senml},
        {"base64", mp_luaopen_base64},
    };

    open_libraries(L);
    mp_error_open(L);
    luaL_newmetatable(L, TYPE_LOADING);
    lua_pushcfunction(L, end_loading);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    lua_createtable(L, 0, 1 + (int)ARRAY_LEN(codecs));
    mp_luaopen_moonpool(L, load);
    lua_setfield(L, -2, "moonpool");
    for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
        lua_pushcfunction(L, codecs[i].func);
        lua_call(L, 0, 1);
        lua_setfield(L, -2, codecs[i].name);
    }
    lua_setfield(L, LUA_REGISTRYINDEX, LOADED);
}
