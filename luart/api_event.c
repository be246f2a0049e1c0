/*
 * api_event.c - the event as a table.
 *
 * The table is made once, in the image, with a place for every field and
 * what it needs around it; a run only sets values, and takes away what does
 * not apply.  That is why an event costs a handful of string copies.
 *
 * event:decode reads the table's own data and datacontenttype.  It keeps what
 * it made as upvalues, one for each format, so that the same call gives the
 * same table; that is right for this one table only, which is upvalue 1.
 */
#include <lauxlib.h>
#include <stdio.h>

#include "core/base/utf8.h"
#include "luart/api.h"
#include "luart/error.h"
#include "luart/json.h"
#include "luart/run.h"

/* ---- decode ---- */

enum { UP_EVENT = 1, UP_JSON = 2 };

static struct mp_slice field(lua_State *L, const char *name)
{
    struct mp_slice text = {NULL, 0};

    lua_pushstring(L, name);
    if (lua_rawget(L, 1) == LUA_TSTRING)
        text.ptr = lua_tolstring(L, -1, &text.len);
    return text; /* stays on the stack */
}

/* Does a content type say text?  Everything else is taken for JSON. */
static enum mp_format by_content_type(struct mp_slice type)
{
    if (type.len >= 5 && !memcmp(type.ptr, "text/", 5))
        return MP_FORMAT_TEXT;
    if (type.len >= 24 && !memcmp(type.ptr, "application/octet-stream", 24))
        return MP_FORMAT_BYTES;
    if (type.len >= 16 && !memcmp(type.ptr, "application/cbor", 16))
        return MP_FORMAT_CBOR;
    if (type.len >= 17 && !memcmp(type.ptr, "application/senml", 17))
        return MP_FORMAT_SENML;
    return MP_FORMAT_JSON;
}

static enum mp_format format_at(lua_State *L, int index)
{
    char hint[MP_HINT_MAX];
    const char *names[MP_FORMATS];
    struct mp_slice name;

    if (lua_isnoneornil(L, index))
        return mp_inv.format;
    if (lua_type(L, index) != LUA_TSTRING)
        mp_api_mistyped(L, index, "decode", "the format", "a string");
    name.ptr = lua_tolstring(L, index, &name.len);
    for (unsigned i = 0; i < MP_FORMATS; i++) {
        names[i] = mp_format_name((enum mp_format)i);
        if (mp_slice_is(name, names[i]))
            return (enum mp_format)i;
    }
    mp_api_hint(name, names, MP_FORMATS, hint);
    luaL_error(L, "decode: unknown format '%s'%s", name.ptr, hint);
    return MP_FORMAT_AUTO;
}

static int decode_json(lua_State *L, struct mp_slice data, bool cached)
{
    struct mp_why why;

    if (cached && !lua_isnil(L, lua_upvalueindex(UP_JSON))) {
        lua_pushvalue(L, lua_upvalueindex(UP_JSON));
        return 1;
    }
    if (mp_json_decode(L, data, &why)) {
        lua_pushfstring(L, "payload is not JSON: %s", why.text);
        mp_raise_reject(L, 0);
    }
    if (cached && !lua_isnil(L, -1)) {
        lua_pushvalue(L, -1);
        lua_replace(L, lua_upvalueindex(UP_JSON));
    }
    return 1;
}

static int event_decode(lua_State *L)
{
    enum mp_format format = format_at(L, 2);
    bool own = lua_rawequal(L, 1, lua_upvalueindex(UP_EVENT));
    struct mp_slice data, type;

    if (!lua_istable(L, 1))
        return luaL_error(L, "decode: call it as event:decode()");
    lua_settop(L, 1);
    data = field(L, "data");
    if (!data.ptr)
        return luaL_error(L, "decode: the event has no data");
    if (format == MP_FORMAT_AUTO) {
        type = field(L, "datacontenttype");
        format = by_content_type(type);
        lua_pop(L, 1);
    }
    switch (format) {
    case MP_FORMAT_TEXT:
        if (!mp_utf8_valid(data)) {
            lua_pushfstring(L, "payload is not text: bad UTF-8 at byte %d",
                            (int)mp_utf8_prefix(data) + 1);
            mp_raise_reject(L, 0);
        }
        return 1;
    case MP_FORMAT_BYTES:
        return 1;
    case MP_FORMAT_CBOR:
    case MP_FORMAT_SENML:
        return luaL_error(L, "decode: format '%s' comes with a later release",
                          mp_format_name(format));
    default:
        return decode_json(L, data, own);
    }
}

/* ---- the table ---- */

static const char *const common[] = {"id",      "type",    "source",
                                     "subject", "time",    "trigger",
                                     "params",  "attempt", "data"};
static const char *const mqtt[] = {"topic", "qos", "retained", "properties"};
static const char *const others[] = {"key",    "datacontenttype", "scheduled",
                                     "expiry", "traceparent",     "alarm"};

int mp_event_prepare(lua_State *L)
{
    int event, ref;

    lua_createtable(
        L, 0, (int)(ARRAY_LEN(common) + ARRAY_LEN(mqtt) + ARRAY_LEN(others)));
    event = lua_gettop(L);
    for (size_t i = 0; i < ARRAY_LEN(common); i++) {
        lua_pushboolean(L, 0);
        lua_setfield(L, event, common[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(mqtt); i++) {
        lua_pushboolean(L, 0);
        lua_setfield(L, event, mqtt[i]);
    }
    lua_createtable(L, 0, 2);
    lua_setfield(L, event, "params");
    lua_createtable(L, 0, 0);
    lua_setfield(L, event, "properties");
    lua_createtable(L, 0, 2);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, event);
    lua_pushnil(L);
    lua_pushcclosure(L, event_decode, 2);
    lua_setfield(L, -2, "decode");
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, event);
    ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return ref;
}

static void set_slice(lua_State *L, const char *name, struct mp_slice text)
{
    lua_pushlstring(L, text.ptr ? text.ptr : "", text.len);
    lua_setfield(L, -2, name);
}

static void set_pairs(lua_State *L, const char *name,
                      const struct mp_pair *pairs, uint32_t n)
{
    if (n == 0)
        return;
    lua_getfield(L, -1, name);
    for (uint32_t i = 0; i < n; i++) {
        lua_pushlstring(L, pairs[i].name.ptr, pairs[i].name.len);
        lua_pushlstring(L, pairs[i].value.ptr, pairs[i].value.len);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
}

static void set_mqtt(lua_State *L, const struct mp_event *e)
{
    set_slice(L, "topic", e->topic);
    lua_pushinteger(L, e->qos);
    lua_setfield(L, -2, "qos");
    lua_pushboolean(L, e->retained);
    lua_setfield(L, -2, "retained");
    set_pairs(L, "properties", e->properties, e->n_properties);
    if (e->has_expiry) {
        lua_pushinteger(L, e->expiry_s);
        lua_setfield(L, -2, "expiry");
    }
}

static void set_time(lua_State *L, const char *name, int64_t us)
{
    lua_pushnumber(L, (lua_Number)us / 1e6);
    lua_setfield(L, -2, name);
}

void mp_event_push(lua_State *L, int ref, const struct mp_event *e)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    set_slice(L, "id", e->id);
    lua_pushstring(L, mp_event_type_name(e->type));
    lua_setfield(L, -2, "type");
    set_slice(L, "source", e->source);
    set_slice(L, "subject", e->subject);
    set_time(L, "time", e->time_us);
    set_slice(L, "trigger", e->trigger);
    set_pairs(L, "params", e->params, e->n_params);
    lua_pushinteger(L, e->attempt);
    lua_setfield(L, -2, "attempt");
    set_slice(L, "data", e->data);
    if (e->has_key)
        set_slice(L, "key", e->key);
    if (e->datacontenttype.ptr)
        set_slice(L, "datacontenttype", e->datacontenttype);
    if (e->traceparent.ptr)
        set_slice(L, "traceparent", e->traceparent);
    if (e->alarm.ptr)
        set_slice(L, "alarm", e->alarm);
    if (e->scheduled_us)
        set_time(L, "scheduled", e->scheduled_us);
    if (e->type == MP_EVENT_MQTT) {
        set_mqtt(L, e);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(mqtt); i++) {
        lua_pushnil(L);
        lua_setfield(L, -2, mqtt[i]);
    }
}
