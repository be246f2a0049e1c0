/*
 * json_encode.c - from Lua values to text, with nothing in between.
 *
 * What must stay true: every call into Lua may leave by a longjmp and never
 * come back.  So the scratch buffer is the module's own, each use starts with
 * a reset, and what is left half written is overwritten by the next use.
 */
#include <lauxlib.h>
#include <math.h>

#include "core/base/json.h"
#include "core/base/limits.h"
#include "luart/encode.h"
#include "luart/json.h"

_Static_assert((int)MP_ENCODE_DEPTH_MAX == (int)MP_JSON_DEPTH_MAX,
               "what is written can be read again");

/* Outside any arena, on purpose: see the opening comment. */
static struct mp_buf scratch_text = {.max = MP_FRAME_MAX};

static int encode_value(struct mp_encoder *e, int index);

#define MIXED "a table has either the keys 1 to n or strings"
#define HOLES "a list has the keys 1 to n, without holes"

static inline void put(struct mp_buf *b, char c)
{
    if (b->len < b->cap && !b->full)
        b->ptr[b->len++] = c;
    else
        mp_buf_put(b, &c, 1);
}

static int encode_number(struct mp_encoder *e, int index)
{
    double real;

    if (lua_isinteger(e->L, index)) {
        mp_json_put_int(e->out, lua_tointeger(e->L, index));
        return 0;
    }
    real = lua_tonumber(e->L, index);
    if (isnan(real))
        return mp_encode_refuse(e, "NaN has no place in JSON");
    if (isinf(real))
        return mp_encode_refuse(e, "infinity has no place in JSON");
    mp_json_put_double(e->out, real);
    return 0;
}

static int encode_string(struct mp_encoder *e, struct mp_slice s)
{
    if (mp_json_put_string(e->out, s))
        return 0;
    return mp_encode_refuse(e,
                            "the string is not UTF-8; base64 takes any bytes");
}

static bool read_key(lua_State *L, int index, struct mp_encode_key *key)
{
    if (lua_type(L, index) != LUA_TSTRING)
        return false;
    key->name.ptr = lua_tolstring(L, index, &key->name.len);
    key->head = mp_encode_prefix(key->name);
    return true;
}

static int encode_member(struct mp_encoder *e, int index,
                         const struct mp_encode_key *key)
{
    lua_State *L = e->L;
    int slot = key->slot, rc;

    rc = encode_string(e, key->name);
    if (rc)
        return rc;
    put(e->out, ':');
    if (slot)
        return encode_value(e, slot);
    lua_pushlstring(L, key->name.ptr, key->name.len);
    lua_rawget(L, index);
    rc = encode_value(e, lua_gettop(L));
    lua_pop(L, 1);
    return rc;
}

static int encode_object(struct mp_encoder *e, int index)
{
    struct mp_encode_step *step = &e->path[e->depth];
    struct mp_encode_keys keys;
    int rc;

    if (mp_json_is_list(e->L, index))
        return mp_encode_refuse(e, "a list has a key that is a string");
    rc = mp_encode_open(e, index, read_key, MIXED, &keys);
    if (rc)
        return rc;
    e->depth++;
    for (size_t i = 0; i < keys.n; i++) {
        struct mp_encode_key key = mp_encode_key(&keys, i);

        *step = (struct mp_encode_step){.name = key.name};
        put(e->out, i ? ',' : '{');
        rc = encode_member(e, index, &key);
        if (rc)
            return rc;
    }
    e->depth--;
    put(e->out, '}');
    mp_encode_close(e, &keys);
    return 0;
}

/* A list has n keys, all of them integers from 1 to n: then none is missing. */
static int check_list(struct mp_encoder *e, int index, lua_Integer n)
{
    lua_State *L = e->L;
    lua_Integer count = 0, key;

    do {
        lua_pop(L, 1);
        count++;
        if (!lua_isinteger(L, -1))
            return mp_encode_refuse(e, MIXED);
        key = lua_tointeger(L, -1);
        if (key < 1 || key > n)
            return mp_encode_refuse(e, HOLES);
    } while (lua_next(L, index));
    if (count < n)
        return mp_encode_refuse(e, HOLES);
    return 0;
}

static int encode_list(struct mp_encoder *e, int index)
{
    struct mp_encode_step *step = &e->path[e->depth];
    lua_State *L = e->L;
    lua_Integer n = (lua_Integer)lua_rawlen(L, index);
    int rc = check_list(e, index, n);

    if (rc)
        return rc;
    e->depth++;
    for (lua_Integer i = 1; i <= n; i++) {
        *step = (struct mp_encode_step){.index = i};
        put(e->out, i > 1 ? ',' : '[');
        lua_rawgeti(L, index, i);
        rc = encode_value(e, lua_gettop(L));
        if (rc)
            return rc;
        lua_pop(L, 1);
    }
    e->depth--;
    put(e->out, ']');
    return 0;
}

static int encode_table(struct mp_encoder *e, int index)
{
    lua_State *L = e->L;

    if (e->depth == MP_ENCODE_DEPTH_MAX)
        return mp_encode_refuse(e, "more than 64 tables within each other");
    if (!lua_checkstack(L, MP_ENCODE_SLOTS + 8))
        return mp_encode_refuse(e, "the stack has no room");
    lua_pushnil(L);
    if (!lua_next(L, index)) {
        mp_buf_slice(e->out,
                     mp_json_is_list(L, index) ? MP_S("[]") : MP_S("{}"));
        return 0;
    }
    switch (lua_type(L, -2)) {
    case LUA_TSTRING:
        return encode_object(e, index);
    case LUA_TNUMBER:
        return encode_list(e, index);
    default:
        return mp_encode_refuse(e, MIXED);
    }
}

static int encode_value(struct mp_encoder *e, int index)
{
    struct mp_slice text;

    if (e->out->full) /* a table that holds another one often can grow fast */
        return MP_EFULL;
    switch (lua_type(e->L, index)) {
    case LUA_TSTRING:
        text.ptr = lua_tolstring(e->L, index, &text.len);
        return encode_string(e, text);
    case LUA_TNUMBER:
        return encode_number(e, index);
    case LUA_TTABLE:
        return encode_table(e, index);
    case LUA_TBOOLEAN:
        mp_json_put_bool(e->out, lua_toboolean(e->L, index));
        return 0;
    case LUA_TNIL:
        return mp_encode_refuse(e,
                                "nil has no place in JSON; null is json.null");
    default:
        if (mp_json_is_null(e->L, index)) {
            mp_json_put_null(e->out);
            return 0;
        }
        return mp_encode_refuse(
            e, "only null, booleans, numbers, strings and tables "
               "have a place in JSON");
    }
}

int mp_json_encode(lua_State *L, int index, struct mp_buf *out,
                   struct mp_why *why)
{
    struct mp_encoder e; /* path is set as far as depth says */
    int top = lua_gettop(L);
    size_t len = out->len;
    int rc;

    mp_encode_begin(&e, L, out, why);
    rc = encode_value(&e, lua_absindex(L, index));
    if (!rc && out->full)
        rc = MP_EFULL;
    if (rc) {
        out->len = len;
        out->full = false;
        lua_settop(L, top);
    }
    if (rc == MP_EFULL)
        mp_why_set(why, rc, "the text is longer than %zu bytes", out->max);
    return rc;
}

int mp_json_call_encode(lua_State *L)
{
    struct mp_why why;

    luaL_checkany(L, 1);
    mp_encode_reset(&scratch_text);
    if (mp_json_encode(L, 1, &scratch_text, &why))
        return luaL_error(L, "json.encode: %s", why.text);
    lua_pushlstring(L, scratch_text.ptr, scratch_text.len);
    mp_encode_reset(&scratch_text);
    return 1;
}
