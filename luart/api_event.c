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

#include "core/base/text.h"
#include "core/base/utf8.h"
#include "luart/api.h"
#include "luart/cbor.h"
#include "luart/error.h"
#include "luart/json.h"
#include "luart/run.h"
#include "luart/senml.h"

/* ---- decode ---- */

enum { UP_EVENT = 1, UP_JSON, UP_CBOR, UP_SENML, UP_LAST = UP_SENML };

static struct mp_slice field(lua_State *L, const char *name)
{
    struct mp_slice text = {NULL, 0};

    lua_pushstring(L, name);
    if (lua_rawget(L, 1) == LUA_TSTRING)
        text.ptr = lua_tolstring(L, -1, &text.len);
    return text; /* stays on the stack */
}

/* What a payload is taken for. */
struct as {
    enum mp_format format;
    enum mp_senml senml; /* with MP_FORMAT_SENML */
};

static bool equal_fold(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = a[i] >= 'A' && a[i] <= 'Z' ? (char)(a[i] | 0x20) : a[i];

        if (c != b[i])
            return false;
    }
    return true;
}

/* The first row that fits: '*' stands before an end, or after a beginning.
 * What none fits is taken for JSON. */
static struct as by_content_type(struct mp_slice type)
{
    static const struct {
        const char *type;
        struct as as;
    } rows[] = {
        {"application/json", {.format = MP_FORMAT_JSON}},
        {"application/senml+json", {MP_FORMAT_SENML, MP_SENML_JSON}},
        {"application/senml+cbor", {MP_FORMAT_SENML, MP_SENML_CBOR}},
        {"application/senml", {MP_FORMAT_SENML, MP_SENML_AUTO}},
        {"application/cbor", {.format = MP_FORMAT_CBOR}},
        {"application/octet-stream", {.format = MP_FORMAT_BYTES}},
        {"*+json", {.format = MP_FORMAT_JSON}},
        {"*+cbor", {.format = MP_FORMAT_CBOR}},
        {"text/*", {.format = MP_FORMAT_TEXT}},
    };
    struct mp_slice rest = type;

    if (mp_split(&rest, ';', &type)) /* parameters are nothing to us */
        type = mp_trim(type);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *want = rows[i].type;
        size_t len = strlen(want);

        if (want[0] == '*' && type.len >= --len &&
            equal_fold(type.ptr + type.len - len, want + 1, len))
            return rows[i].as;
        if (want[0] != '*' && want[len - 1] == '*' && type.len >= --len &&
            equal_fold(type.ptr, want, len))
            return rows[i].as;
        if (type.len == len && equal_fold(type.ptr, want, len))
            return rows[i].as;
    }
    return (struct as){.format = MP_FORMAT_JSON};
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

/* Push the value, or leave: the payload is not what it is taken for. */
static void decode_as(lua_State *L, struct mp_slice data, struct as as)
{
    const char *name;
    struct mp_why why;
    int rc;

    if (as.format == MP_FORMAT_SENML && as.senml == MP_SENML_AUTO)
        as.senml = mp_senml_guess(data);
    if (as.format == MP_FORMAT_CBOR) {
        name = "CBOR";
        rc = mp_cbor_decode(L, data, &why);
    } else if (as.format == MP_FORMAT_SENML) {
        name = as.senml == MP_SENML_CBOR ? "SenML in CBOR" : "SenML in JSON";
        rc = mp_senml_decode(L, data, as.senml, &why);
    } else {
        name = "JSON";
        rc = mp_json_decode(L, data, &why);
    }
    if (rc == 0)
        return;
    lua_pushfstring(L, "payload is not %s: %s", name, why.text);
    mp_raise_reject(L, 0);
}

/* As that, once: the second time the same value is pushed again. */
static int decode_value(lua_State *L, struct mp_slice data, struct as as,
                        bool cached)
{
    int up = lua_upvalueindex(as.format == MP_FORMAT_CBOR    ? UP_CBOR
                              : as.format == MP_FORMAT_SENML ? UP_SENML
                                                             : UP_JSON);

    if (cached && !lua_isnil(L, up)) {
        lua_pushvalue(L, up);
        return 1;
    }
    decode_as(L, data, as);
    if (cached) {
        lua_pushvalue(L, -1);
        lua_replace(L, up);
    }
    return 1;
}

static int event_decode(lua_State *L)
{
    struct as as = {.format = format_at(L, 2)};
    bool own = lua_rawequal(L, 1, lua_upvalueindex(UP_EVENT));
    struct mp_slice data;

    if (!lua_istable(L, 1))
        return luaL_error(L, "decode: call it as event:decode()");
    lua_settop(L, 1);
    data = field(L, "data");
    if (!data.ptr)
        return luaL_error(L, "decode: the event has no data");
    if (as.format == MP_FORMAT_AUTO) {
        as = by_content_type(field(L, "datacontenttype"));
        lua_pop(L, 1);
    }
    switch (as.format) {
    case MP_FORMAT_TEXT:
        if (!mp_utf8_valid(data)) {
            lua_pushfstring(L, "payload is not text: bad UTF-8 at byte %d",
                            (int)mp_utf8_prefix(data) + 1);
            mp_raise_reject(L, 0);
        }
        return 1;
    case MP_FORMAT_BYTES:
        return 1;
    default:
        return decode_value(L, data, as, own);
    }
}

/* ---- what an answer is written in ---- */

/* Does an Accept header name it?  q = 0 is not looked at. */
static bool accepts(struct mp_slice accept, const char *type, const char *any)
{
    struct mp_slice part;

    while (mp_split(&accept, ',', &part)) {
        struct mp_slice name = part;

        (void)mp_split(&part, ';', &name);
        name = mp_trim(name);
        if ((name.len == strlen(type) &&
             equal_fold(name.ptr, type, name.len)) ||
            mp_slice_is(name, any) || mp_slice_is(name, "*/*"))
            return true;
    }
    return false;
}

enum mp_format mp_event_takes(const struct mp_event *e)
{
    for (uint32_t i = 0; i < e->n_headers; i++) {
        struct mp_slice accept = e->headers[i].value;

        if (!mp_slice_is(e->headers[i].name, "accept"))
            continue;
        if (!accepts(accept, "application/json", "application/*") &&
            accepts(accept, "application/cbor", "application/*"))
            return MP_FORMAT_CBOR;
    }
    return MP_FORMAT_JSON;
}

/* ---- the table ---- */

static const char *const common[] = {"id",      "type",    "source",
                                     "subject", "time",    "trigger",
                                     "params",  "attempt", "data"};
static const char *const mqtt[] = {"topic", "qos", "retained", "properties"};
static const char *const others[] = {"key",    "datacontenttype", "scheduled",
                                     "expiry", "traceparent",     "alarm"};
/* What requests have instead of topic and the like; made when one comes. */
static const char *const request[] = {"method",  "path", "query",
                                      "headers", "peer", "identity"};

int mp_event_prepare(lua_State *L)
{
    int event, ref;

    lua_createtable(
        L, 0,
        (int)(ARRAY_LEN(common) + ARRAY_LEN(others) +
              (ARRAY_LEN(mqtt) > ARRAY_LEN(request) ? ARRAY_LEN(mqtt)
                                                    : ARRAY_LEN(request))));
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
    lua_settop(L, lua_gettop(L) + UP_LAST - UP_EVENT); /* nothing made yet */
    lua_pushcclosure(L, event_decode, UP_LAST);
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

static void set_table(lua_State *L, const char *name,
                      const struct mp_pair *pairs, uint32_t n)
{
    lua_createtable(L, 0, (int)n);
    lua_setfield(L, -2, name);
    set_pairs(L, name, pairs, n);
}

static void set_request(lua_State *L, const struct mp_event *e)
{
    set_slice(L, "method", e->method);
    set_slice(L, "path", e->path);
    set_table(L, "query", e->query, e->n_query);
    set_table(L, "headers", e->headers, e->n_headers);
    if (e->peer.ptr)
        set_slice(L, "peer", e->peer);
    if (e->identity.ptr)
        set_slice(L, "identity", e->identity);
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
    if (e->path.ptr)
        set_request(L, e);
    if (e->type == MP_EVENT_TIMER) {
        lua_pushinteger(L, e->missed);
        lua_setfield(L, -2, "missed");
    }
}
