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
 *
 * The events of a batch are tables of their own, made when one comes.  They
 * share one decode, whose upvalue 1 tells members from other tables and has
 * their numbers, and which keeps what it made in a table for each format.
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

enum { UP_OWN = 1, UP_JSON, UP_CBOR, UP_SENML, UP_LAST = UP_SENML };

/* What decode is called on. */
enum own { FOREIGN, EVENT, MEMBER };

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

/* Push what is kept at that upvalue; false: nothing. */
static bool push_made(lua_State *L, int up, enum own own)
{
    if (own == EVENT) {
        lua_pushvalue(L, up);
    } else {
        lua_pushvalue(L, 1);
        lua_rawget(L, up);
    }
    if (!lua_isnil(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

static void keep_made(lua_State *L, int up, enum own own)
{
    if (own == EVENT) {
        lua_pushvalue(L, -1);
        lua_replace(L, up);
    } else {
        lua_pushvalue(L, 1);
        lua_pushvalue(L, -2);
        lua_rawset(L, up);
    }
}

/* As decode_as, once: the second time the same value is pushed again. */
static int decode_value(lua_State *L, struct mp_slice data, struct as as,
                        enum own own)
{
    int up = lua_upvalueindex(as.format == MP_FORMAT_CBOR    ? UP_CBOR
                              : as.format == MP_FORMAT_SENML ? UP_SENML
                                                             : UP_JSON);

    if (own != FOREIGN && push_made(L, up, own))
        return 1;
    decode_as(L, data, as);
    if (own != FOREIGN)
        keep_made(L, up, own);
    return 1;
}

/* A batch has no payload of its own; a malformed one would be a riddle. */
static void refuse_batch(lua_State *L)
{
    struct mp_slice type = field(L, "type");

    if (type.ptr && mp_slice_is(type, "batch"))
        luaL_error(L, "decode: a batch has no data; its event.events have");
    lua_pop(L, 1);
}

/* The payload of the table at 1. */
static int decode(lua_State *L, enum own own)
{
    struct as as = {.format = format_at(L, 2)};
    struct mp_slice data;

    lua_settop(L, 1);
    data = field(L, "data");
    if (!data.ptr)
        return luaL_error(L, "decode: the event has no data");
    if (!data.len && own == EVENT)
        refuse_batch(L);
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

static int event_decode(lua_State *L)
{
    if (!lua_istable(L, 1))
        return luaL_error(L, "decode: call it as event:decode()");
    return decode(L, lua_rawequal(L, 1, lua_upvalueindex(UP_OWN)) ? EVENT
                                                                  : FOREIGN);
}

/* Push the number of the member at 1; false and nothing: it is none. */
static bool push_number(lua_State *L, int known)
{
    lua_pushvalue(L, 1);
    if (lua_rawget(L, known) == LUA_TNUMBER)
        return true;
    lua_pop(L, 1);
    return false;
}

static int member_decode(lua_State *L)
{
    enum own own = FOREIGN;

    if (!lua_istable(L, 1))
        return luaL_error(L, "decode: call it as e:decode()");
    if (push_number(L, lua_upvalueindex(UP_OWN))) {
        lua_pop(L, 1);
        own = MEMBER;
    }
    return decode(L, own);
}

/* ---- verdicts: other ends for events of a batch ---- */

enum { UP_KNOWN = 1, UP_SAID, UP_VERDICT = UP_SAID };

/* The last one counts; see struct mp_invocation for how it is kept. */
static int say(lua_State *L, const char *call, const char *mark)
{
    int type = lua_type(L, 2);

    if (!lua_isnoneornil(L, 3))
        return luaL_error(L, "%s: it takes the reason and nothing else", call);
    if (!lua_istable(L, 1) || !push_number(L, lua_upvalueindex(UP_KNOWN)))
        return luaL_error(L,
                          "%s: call it as e:%s(reason), e one of "
                          "event.events",
                          call, call);
    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        return mp_api_mistyped(L, type == LUA_TNONE ? 4 : 2, call, "the reason",
                               "a string");
    lua_pushstring(L, mark);
    lua_pushvalue(L, 2);
    lua_concat(L, 2);
    lua_rawset(L, lua_upvalueindex(UP_SAID));
    return 0;
}

static int member_retry(lua_State *L)
{
    return say(L, "retry", "+");
}

static int member_reject(lua_State *L)
{
    return say(L, "reject", "-");
}

/* On an event that came alone, or on the batch. */
static int only_members(lua_State *L)
{
    const char *name = lua_tostring(L, lua_upvalueindex(1));

    return luaL_error(L, "%s: only members of event.events have it; use mp.%s",
                      name, name);
}

uint32_t mp_event_verdicts(lua_State *L, struct mp_buf *bytes)
{
    uint32_t n = 0;

    lua_rawgeti(L, LUA_REGISTRYINDEX, mp_inv.verdicts_ref);
    for (uint32_t i = 0; i < mp_inv.n_events; i++) {
        struct mp_verdict v = {.event = i};
        struct mp_slice said;

        if (lua_rawgeti(L, -1, (lua_Integer)i + 1) == LUA_TSTRING) {
            said.ptr = lua_tolstring(L, -1, &said.len);
            v.retry = said.ptr[0] == '+';
            v.reason =
                mp_cut(mp_slice(said.ptr + 1, said.len - 1), MP_REASON_MAX);
            mp_wire_put_verdict(bytes, &v);
            n++;
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    MP_ASSERT(!bytes->full);
    return n;
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

/* What an event of a batch has, by MQTT and with a key and a content type. */
enum { MEMBER_FIELDS = ARRAY_LEN(common) + ARRAY_LEN(mqtt) + 2 };

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
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, event);
    lua_settop(L, lua_gettop(L) + UP_LAST - UP_OWN); /* nothing made yet */
    lua_pushcclosure(L, event_decode, UP_LAST);
    lua_setfield(L, -2, "decode");
    lua_pushliteral(L, "retry");
    lua_pushcclosure(L, only_members, 1);
    lua_setfield(L, -2, "retry");
    lua_pushliteral(L, "reject");
    lua_pushcclosure(L, only_members, 1);
    lua_setfield(L, -2, "reject");
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

/* Into the table on top, which has `params` and, for MQTT, `properties`. */
static void fill(lua_State *L, const struct mp_event *e)
{
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
    if (e->type == MP_EVENT_MQTT)
        set_mqtt(L, e);
    if (e->path.ptr)
        set_request(L, e);
    if (e->type == MP_EVENT_TIMER) {
        lua_pushinteger(L, e->missed);
        lua_setfield(L, -2, "missed");
    }
}

/* Push the methods that all events of a batch share. */
static void push_methods(lua_State *L, int known, int said)
{
    static const luaL_Reg verdicts[] = {
        {"retry", member_retry}, {"reject", member_reject}, {NULL, NULL}};

    lua_createtable(L, 0, 3);
    lua_pushvalue(L, known);
    for (int i = UP_JSON; i <= UP_LAST; i++)
        lua_newtable(L);
    lua_pushcclosure(L, member_decode, UP_LAST);
    lua_setfield(L, -2, "decode");
    lua_pushvalue(L, known);
    lua_pushvalue(L, said);
    luaL_setfuncs(L, verdicts, UP_VERDICT);
}

static void push_member(lua_State *L, const struct mp_event *e)
{
    lua_createtable(L, 0, MEMBER_FIELDS);
    lua_createtable(L, 0, (int)e->n_params);
    lua_setfield(L, -2, "params");
    if (e->type == MP_EVENT_MQTT) {
        lua_createtable(L, 0, (int)e->n_properties);
        lua_setfield(L, -2, "properties");
    }
    fill(L, e);
}

/* event.events, into the event table on top. */
static void set_events(lua_State *L, const struct mp_event *batch)
{
    int event = lua_gettop(L), list = event + 1, known = event + 2;
    int said = event + 3, meta = event + 4;

    lua_createtable(L, (int)batch->n_events, 0);
    lua_createtable(L, 0, (int)batch->n_events);
    lua_newtable(L);
    lua_createtable(L, 0, 2);
    push_methods(L, known, said);
    lua_setfield(L, meta, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, meta, "__metatable");
    for (uint32_t i = 0; i < batch->n_events; i++) {
        push_member(L, &batch->events[i]);
        lua_pushvalue(L, meta);
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_pushinteger(L, (lua_Integer)i + 1);
        lua_rawset(L, known);
        lua_rawseti(L, list, (lua_Integer)i + 1);
    }
    lua_settop(L, said);
    mp_inv.verdicts_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    mp_inv.n_events = batch->n_events;
    lua_settop(L, list);
    lua_setfield(L, event, "events");
}

void mp_event_push(lua_State *L, int ref, const struct mp_event *e)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    fill(L, e);
    if (e->type == MP_EVENT_MQTT)
        return;
    for (size_t i = 0; i < ARRAY_LEN(mqtt); i++) {
        lua_pushnil(L);
        lua_setfield(L, -2, mqtt[i]);
    }
    if (e->type == MP_EVENT_BATCH)
        set_events(L, e);
}
