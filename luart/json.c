/*
 * json.c - from text to Lua values, with nothing in between; and the module.
 *
 * Decoding follows the scanner and pushes what it tells.  A table that grows
 * member by member is rehashed at 1, 2, 4 and 8; so up to BATCH members wait
 * on the Lua stack until their number is known, and the table is made in the
 * right size.
 *
 * What must stay true: every call into Lua may leave by a longjmp and never
 * come back.  So nothing here is taken that would have to be given back.
 */
#include "luart/json.h"

#include <lauxlib.h>

#include "core/base/json.h"

enum { BATCH = 8 }; /* members that wait on the stack */

/* ---- null, and the mark of lists ---- */

void mp_json_push_null(lua_State *L)
{
    lua_pushlightuserdata(L, NULL);
}

int mp_json_is_null(lua_State *L, int index)
{
    return lua_islightuserdata(L, index) && !lua_touserdata(L, index);
}

static const char mark_key; /* its address is the key in the registry */

/*
 * The metatable of lists.  User code must not get hold of it: a __gc put into
 * it would be a finalizer on every list decoded from then on.
 */
static void push_mark(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &mark_key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "array");
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &mark_key);
}

void mp_json_mark_list(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    push_mark(L);
    lua_setmetatable(L, index);
}

bool mp_json_is_list(lua_State *L, int index)
{
    bool same;

    if (!lua_getmetatable(L, index))
        return false;
    push_mark(L);
    same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* ---- decoding ---- */

struct decoder {
    lua_State *L;
    struct mp_json scan;
    struct mp_why *why;
};

static int decode_value(struct decoder *d, const struct mp_json_token *t);

static void push_string(lua_State *L, const struct mp_json_token *t)
{
    luaL_Buffer b;

    if (!t->escaped) {
        lua_pushlstring(L, t->text.ptr, t->text.len);
        return;
    }
    luaL_pushresultsize(
        &b, mp_json_unescape(t->text, luaL_buffinitsize(L, &b, t->text.len)));
}

static int decode_number(struct decoder *d, const struct mp_json_token *t)
{
    struct mp_json_number n;

    if (mp_json_number(t, &n))
        return mp_why_set(d->why, MP_EPARSE,
                          "expected a number within the range of a double at "
                          "byte %zu",
                          t->at + 1);
    if (n.is_int)
        lua_pushinteger(d->L, n.integer);
    else
        lua_pushnumber(d->L, n.real);
    return 0;
}

/* Room for a batch, a table and what one call needs besides. */
static int room(struct decoder *d)
{
    if (lua_checkstack(d->L, 2 * BATCH + 8))
        return 0;
    return mp_why_set(d->why, MP_EPARSE,
                      "expected fewer values in work at byte %zu",
                      (size_t)(d->scan.at - d->scan.start));
}

/* The n values after first become the table at first. */
static void make_list(lua_State *L, int first, int n, int size)
{
    lua_createtable(L, size, 0);
    push_mark(L);
    lua_setmetatable(L, -2);
    lua_replace(L, first);
    for (; n > 0; n--)
        lua_rawseti(L, first, n);
}

static int decode_list(struct decoder *d)
{
    lua_State *L = d->L;
    struct mp_json_token t;
    int first = lua_gettop(L) + 1;
    lua_Integer n;

    if (room(d))
        return MP_EPARSE;
    lua_pushnil(L); /* the table's place */
    for (n = 0;; n++) {
        if (n == BATCH)
            make_list(L, first, BATCH, 2 * BATCH);
        if (mp_json_next(&d->scan, &t, d->why))
            return MP_EPARSE;
        if (t.kind == MP_JSON_CLOSE)
            break;
        if (decode_value(d, &t))
            return MP_EPARSE;
        if (n >= BATCH)
            lua_rawseti(L, first, n + 1);
    }
    if (n < BATCH)
        make_list(L, first, (int)n, (int)n);
    return 0;
}

/*
 * The n names and values after first become the table at first.  Taking them
 * from the top is quickest; among doubled names, though, the first would win.
 */
static void make_object(lua_State *L, int first, int n, int size, bool doubled)
{
    lua_createtable(L, 0, size);
    lua_replace(L, first);
    for (int at = first + 1; doubled && at < first + 2 * n; at += 2) {
        lua_pushvalue(L, at);
        lua_pushvalue(L, at + 1);
        lua_rawset(L, first);
    }
    if (doubled)
        lua_settop(L, first);
    for (; !doubled && n > 0; n--)
        lua_rawset(L, first);
}

/* Is the name one of the n before it, or, being escaped, maybe one? */
static bool maybe_doubled(const struct mp_slice *names, int n,
                          const struct mp_json_token *t)
{
    for (int i = 0; i < n; i++)
        if (names[i].len == t->text.len && mp_slice_eq(names[i], t->text))
            return true;
    return t->escaped;
}

static int decode_object(struct decoder *d)
{
    lua_State *L = d->L;
    struct mp_slice names[BATCH];
    struct mp_json_token t;
    int first = lua_gettop(L) + 1;
    bool doubled = false;
    int n;

    if (room(d))
        return MP_EPARSE;
    lua_pushnil(L); /* the table's place */
    for (n = 0;; n += n <= BATCH) {
        if (n == BATCH)
            make_object(L, first, BATCH, 2 * BATCH, doubled);
        if (mp_json_next(&d->scan, &t, d->why))
            return MP_EPARSE;
        if (t.kind == MP_JSON_CLOSE)
            break;
        push_string(L, &t);
        if (n < BATCH) {
            doubled = doubled || maybe_doubled(names, n, &t);
            names[n] = t.text;
        }
        if (mp_json_next(&d->scan, &t, d->why) || decode_value(d, &t))
            return MP_EPARSE;
        if (n >= BATCH)
            lua_rawset(L, first);
    }
    if (n < BATCH)
        make_object(L, first, n, n, doubled);
    return 0;
}

static int decode_value(struct decoder *d, const struct mp_json_token *t)
{
    switch (t->kind) {
    case MP_JSON_STRING:
        push_string(d->L, t);
        return 0;
    case MP_JSON_NUMBER:
        return decode_number(d, t);
    case MP_JSON_OBJECT:
        return decode_object(d);
    case MP_JSON_LIST:
        return decode_list(d);
    case MP_JSON_TRUE:
    case MP_JSON_FALSE:
        lua_pushboolean(d->L, t->kind == MP_JSON_TRUE);
        return 0;
    default:
        MP_ASSERT(t->kind == MP_JSON_NULL);
        mp_json_push_null(d->L);
        return 0;
    }
}

int mp_json_decode(lua_State *L, struct mp_slice text, struct mp_why *why)
{
    struct decoder d = {.L = L, .why = why};
    struct mp_json_token t;
    int top = lua_gettop(L);
    int rc;

    mp_json_init(&d.scan, text);
    rc = room(&d);
    if (!rc)
        rc = mp_json_next(&d.scan, &t, why);
    if (!rc)
        rc = decode_value(&d, &t);
    if (!rc)
        rc = mp_json_next(&d.scan, &t, why); /* the end */
    if (rc)
        lua_settop(L, top);
    return rc;
}

/* ---- the module ---- */

static int json_decode(lua_State *L)
{
    struct mp_slice text;
    struct mp_why why;

    luaL_checktype(L, 1, LUA_TSTRING);
    text.ptr = lua_tolstring(L, 1, &text.len);
    if (mp_json_decode(L, text, &why))
        return luaL_error(L, "json.decode: %s", why.text);
    return 1;
}

int mp_json_make_list(lua_State *L, const char *call)
{
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
        lua_newtable(L);
        lua_replace(L, 1);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getmetatable(L, 1)) {
        lua_pop(L, 1);
        if (!mp_json_is_list(L, 1))
            return luaL_error(L, "%s: the table has a metatable", call);
    }
    mp_json_mark_list(L, 1);
    return 1;
}

static int json_array(lua_State *L)
{
    return mp_json_make_list(L, "json.array");
}

int mp_luaopen_json(lua_State *L)
{
    static const luaL_Reg calls[] = {
        {"encode", mp_json_call_encode},
        {"decode", json_decode},
        {"array", json_array},
        {NULL, NULL},
    };

    luaL_newlib(L, calls);
    mp_json_push_null(L);
    lua_setfield(L, -2, "null");
    push_mark(L);
    lua_pop(L, 1);
    return 1;
}
