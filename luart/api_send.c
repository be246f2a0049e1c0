/*
 * api_send.c - events that a function makes: for another one, or for itself
 * at another time.
 */
#include <lauxlib.h>
#include <math.h>

#include "luart/api.h"
#include "luart/image.h"
#include "luart/run.h"

/* 4000 years: far enough, and far from overflows. */
#define WALL_MAX_S 64e9

/* The option `key`, an actor key, if it is given. */
static void key_option(lua_State *L, int options, const char *call,
                       struct mp_effect *e)
{
    if (mp_api_option(L, options, "key") == LUA_TNIL)
        return;
    e->key = mp_api_name(L, lua_gettop(L), call, "key", MP_KEY_MAX);
    e->has_key = true; /* it stays on the stack */
}

/* An event that nobody handles would only ever be a dead letter. */
static void need_handler(lua_State *L, const char *call, const char *name)
{
    if (mp_image_handler(mp_inv.image, mp_slice_str(name)) == LUA_NOREF)
        luaL_error(L, "%s: main.lua has no handler '%s'", call, name);
}

/* ---- send ---- */

static bool is_function_name(struct mp_slice name)
{
    if (name.len < 1 || name.len > MP_NAME_MAX || name.ptr[0] < 'a' ||
        name.ptr[0] > 'z')
        return false;
    for (size_t i = 1; i < name.len; i++) {
        char c = name.ptr[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return true;
}

static struct mp_slice function_at(lua_State *L, int index)
{
    const struct mp_load *load = &mp_inv.image->load;
    struct mp_slice name;

    if (lua_type(L, index) != LUA_TSTRING)
        mp_api_mistyped(L, index, "send", "the function's name", "a string");
    name.ptr = lua_tolstring(L, index, &name.len);
    if (!is_function_name(name))
        luaL_error(L, "send: '%s' is no name of a function", name.ptr);
    if (mp_slice_eq(name, load->name)) {
        need_handler(L, "send", "send");
        return name;
    }
    for (uint32_t i = 0; i < load->n_sends; i++)
        if (mp_slice_eq(load->sends[i], name) ||
            mp_slice_is(load->sends[i], "*"))
            return name;
    mp_api_not_granted(L, "send to", name, "send", load->sends, load->n_sends);
    return name;
}

int mp_api_send(lua_State *L)
{
    static const char *const options[] = {"delay", "key", "format", NULL};
    struct mp_effect e = {.kind = MP_EFFECT_SEND};
    struct mp_payload p;
    enum mp_format format;
    char id[MP_EVENT_ID_MAX];
    size_t len;

    mp_api_only_in_handler(L, "send");
    lua_settop(L, 3);
    e.name = function_at(L, 1);
    mp_api_options(L, 3, "send", options);
    format = mp_api_format(L, 3, "send");
    if (mp_api_option(L, 3, "delay") != LUA_TNIL)
        e.delay_us = mp_api_duration(L, -1, "send: delay");
    key_option(L, 3, "send", &e);
    mp_api_count_output(L, "send");
    p = mp_api_payload(L, 2, format, "send");
    e.data = p.data;
    e.format = p.format;
    mp_api_put_effect(L, "send", &e, e.name.len + e.key.len + e.data.len);
    len = mp_send_id(mp_slice(mp_inv.id_text, mp_inv.id_len),
                     mp_inv.image->load.name, mp_inv.n_outputs, id);
    lua_pushlstring(L, id, len);
    return 1;
}

/* ---- alarms ---- */

static void alarm_key(lua_State *L, const char *call, struct mp_effect *e)
{
    key_option(L, 2, call, e);
    if (e->has_key && !mp_inv.image->load.has_key)
        luaL_error(L, "%s: key: function.conf has no key in [state]", call);
}

static void alarm_when(lua_State *L, struct mp_effect *e)
{
    bool after = mp_api_option(L, 2, "after") != LUA_TNIL;
    bool at = mp_api_option(L, 2, "at") != LUA_TNIL;
    lua_Number s;

    if (after == at)
        luaL_error(L, after ? "alarm.set: give after or at, not both"
                            : "alarm.set: say when: after or at");
    if (after) {
        e->after_us = mp_api_duration(L, -2, "alarm.set: after");
    } else {
        if (lua_type(L, -1) != LUA_TNUMBER)
            mp_api_mistyped(L, -1, "alarm.set", "at",
                            "a time in seconds since 1970");
        s = lua_tonumber(L, -1);
        if (!(s >= 0 && s <= WALL_MAX_S))
            luaL_error(L, "alarm.set: at: %f is no time in seconds since 1970",
                       s);
        e->after_us = -1;
        e->at_us = s < 1e-6 ? 1 : (int64_t)(s * 1e6);
    }
    lua_pop(L, 2);
}

static void alarm_data(lua_State *L, struct mp_effect *e)
{
    struct mp_payload p;

    if (mp_api_option(L, 2, "data") == LUA_TNIL)
        return;
    p = mp_api_payload(L, lua_gettop(L), MP_FORMAT_AUTO, "alarm.set: data");
    if (p.data.len > MP_ALARM_DATA_MAX)
        luaL_error(L, "alarm.set: data of %d bytes; at most %d fit",
                   (int)p.data.len, MP_ALARM_DATA_MAX);
    e->data = p.data;
    e->format = p.format;
}

static int alarm_set(lua_State *L)
{
    static const char *const options[] = {"after", "at",  "data",
                                          "slack", "key", NULL};
    struct mp_effect e = {.kind = MP_EFFECT_ALARM};

    mp_api_only_in_handler(L, "alarm.set");
    lua_settop(L, 2);
    e.name = mp_api_name(L, 1, "alarm.set", "name", MP_ALARM_NAME_MAX);
    need_handler(L, "alarm.set", "alarm");
    mp_api_options(L, 2, "alarm.set", options);
    alarm_when(L, &e);
    if (mp_api_option(L, 2, "slack") != LUA_TNIL)
        e.slack_us = mp_api_duration(L, -1, "alarm.set: slack");
    if (e.after_us > 0 && e.slack_us >= e.after_us)
        luaL_error(L, "alarm.set: slack must be shorter than after: with it "
                      "the alarm would never move");
    alarm_key(L, "alarm.set", &e);
    mp_api_count_output(L, "alarm.set");
    alarm_data(L, &e);
    mp_api_put_effect(L, "alarm.set", &e, e.name.len + e.key.len + e.data.len);
    return 0;
}

static int alarm_cancel(lua_State *L)
{
    static const char *const options[] = {"key", NULL};
    struct mp_effect e = {.kind = MP_EFFECT_ALARM, .cancel = true};

    mp_api_only_in_handler(L, "alarm.cancel");
    lua_settop(L, 2);
    e.name = mp_api_name(L, 1, "alarm.cancel", "name", MP_ALARM_NAME_MAX);
    mp_api_options(L, 2, "alarm.cancel", options);
    alarm_key(L, "alarm.cancel", &e);
    mp_api_count_output(L, "alarm.cancel");
    mp_api_put_effect(L, "alarm.cancel", &e, e.name.len + e.key.len);
    return 0;
}

void mp_api_open_alarm(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"set", alarm_set},
        {"cancel", alarm_cancel},
        {NULL, NULL},
    };

    luaL_newlib(L, functions);
    mp_api_strict(L, "mp.alarm");
}
