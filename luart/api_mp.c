/*
 * api_mp.c - the table `mp`: who and when it is, waiting, giving up.
 */
#include <lauxlib.h>

#include "core/base/clock.h"
#include "luart/api.h"
#include "luart/coro.h"
#include "luart/error.h"
#include "luart/image.h"
#include "luart/json.h"
#include "luart/run.h"

/* ---- clocks ---- */

static int mp_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)mp_run_wall_us() / 1e6);
    return 1;
}

/* A fake clock is fake for both: durations must fit the times of day. */
static int mp_monotonic(lua_State *L)
{
    int64_t us = mp_inv.fake_wall_us ? mp_inv.fake_wall_us : mp_now_us();

    lua_pushnumber(L, (lua_Number)us / 1e6);
    return 1;
}

static int mp_clock_ok(lua_State *L)
{
    lua_pushboolean(L, mp_inv.clock_ok);
    return 1;
}

/* ---- secrets ---- */

static void refuse_secret(lua_State *L, struct mp_slice name)
{
    const struct mp_load *load = &mp_inv.image->load;
    struct mp_slice *names =
        lua_newuserdatauv(L, load->n_secrets * sizeof *names, 0);

    for (uint32_t i = 0; i < load->n_secrets; i++)
        names[i] = load->secrets[i].name;
    mp_api_not_granted(L, "secret", name, "secret", names, load->n_secrets);
}

static int mp_secret(lua_State *L)
{
    const struct mp_load *load = &mp_inv.image->load;
    struct mp_slice name;

    if (lua_type(L, 1) != LUA_TSTRING)
        return mp_api_mistyped(L, 1, "secret", "the name", "a string");
    name.ptr = lua_tolstring(L, 1, &name.len);
    for (uint32_t i = 0; i < load->n_secrets; i++) {
        struct mp_slice value = load->secrets[i].value;

        if (mp_slice_eq(load->secrets[i].name, name)) {
            lua_pushlstring(L, value.ptr, value.len);
            return 1;
        }
    }
    refuse_secret(L, name);
    return 0;
}

/* ---- waiting, giving up ---- */

static int slept(lua_State *L, int status, lua_KContext unused)
{
    (void)L;
    (void)status;
    (void)unused;
    return 0;
}

static int mp_sleep(lua_State *L)
{
    struct mp_wait wait = {.kind = MP_WAIT_SLEEP,
                           .delay_us = mp_api_duration(L, 1, "sleep")};

    mp_api_only_in_handler(L, "sleep");
    lua_settop(L, 0);
    return mp_coro_wait(L, "sleep", &wait, slept, 0);
}

/* Leave the reason, a string, at 1 and the options, if any, at 2. */
static void reason_at(lua_State *L, const char *call)
{
    int type = lua_type(L, 1);

    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        mp_api_mistyped(L, 1, call, "the reason", "a string");
    lua_tostring(L, 1); /* a number becomes its text */
    lua_settop(L, 2);
}

static int mp_reject(lua_State *L)
{
    static const char *const options[] = {"status", NULL};
    lua_Integer status = 0;

    reason_at(L, "reject");
    mp_api_only_in_handler(L, "reject");
    mp_api_options(L, 2, "reject", options);
    if (mp_api_option(L, 2, "status") != LUA_TNIL) {
        status = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (status < 400 || status > 599)
            luaL_error(L, "reject: the status is a number from 400 to 599");
    }
    lua_settop(L, 1);
    mp_raise_reject(L, (uint32_t)status);
}

static int mp_retry(lua_State *L)
{
    static const char *const options[] = {"after", NULL};
    int64_t after = -1;

    reason_at(L, "retry");
    mp_api_only_in_handler(L, "retry");
    mp_api_options(L, 2, "retry", options);
    if (mp_api_option(L, 2, "after") != LUA_TNIL)
        after = mp_api_duration(L, -1, "retry: after");
    lua_settop(L, 1);
    mp_raise_retry(L, after);
}

/* ---- names that are not there ---- */

static int missing(lua_State *L)
{
    const char *what = lua_tostring(L, lua_upvalueindex(1));
    char hint[MP_HINT_MAX];
    struct mp_slice name;

    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "%s has names only, no %s", what,
                          luaL_typename(L, 2));
    name.ptr = lua_tolstring(L, 2, &name.len);
    mp_api_hint_keys(L, 1, name, hint);
    return luaL_error(L, "%s has no '%s'%s", what, name.ptr, hint);
}

void mp_api_strict(lua_State *L, const char *what)
{
    lua_createtable(L, 0, 2);
    lua_pushstring(L, what);
    lua_pushcclosure(L, missing, 1);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

static void set_text(lua_State *L, const char *name, struct mp_slice text)
{
    lua_pushlstring(L, text.ptr, text.len);
    lua_setfield(L, -2, name);
}

static void push_env(lua_State *L, const struct mp_load *load)
{
    lua_createtable(L, 0, (int)load->n_env);
    for (uint32_t i = 0; i < load->n_env; i++) {
        const struct mp_pair *p = &load->env[i];

        lua_pushlstring(L, p->name.ptr, p->name.len);
        lua_pushlstring(L, p->value.ptr, p->value.len);
        lua_rawset(L, -3);
    }
    mp_api_strict(L, "env");
}

void mp_luaopen_moonpool(lua_State *L, const struct mp_load *load)
{
    static const luaL_Reg functions[] = {
        {"now", mp_now},           {"monotonic", mp_monotonic},
        {"clock_ok", mp_clock_ok}, {"sleep", mp_sleep},
        {"reject", mp_reject},     {"retry", mp_retry},
        {"secret", mp_secret},     {"publish", mp_api_publish},
        {"notify", mp_api_notify}, {"send", mp_api_send},
        {"reply", mp_api_reply},   {NULL, NULL},
    };

    mp_api_open_reply(L);
    lua_createtable(L, 0, 24);
    luaL_setfuncs(L, functions, 0);
    set_text(L, "name", load->name);
    set_text(L, "version", load->version);
    set_text(L, "node", load->node);
    mp_json_push_null(L);
    lua_setfield(L, -2, "null");
    mp_api_open_log(L);
    lua_setfield(L, -2, "log");
    mp_api_open_state(L);
    lua_setfield(L, -2, "state");
    mp_api_open_alarm(L);
    lua_setfield(L, -2, "alarm");
    push_env(L, load);
    lua_setfield(L, -2, "env");
    mp_api_strict(L, "mp");
}
