/*
 * json_encode.c - from Lua values to text, with nothing in between.
 *
 * The keys of an object are needed in order.  They are collected as slices of
 * the Lua strings (which stay where they are while their table holds them, and
 * no Lua code runs meanwhile) and sorted.  The values of the first STACKED
 * ones wait on the Lua stack; the others are looked up again.
 *
 * What must stay true: every call into Lua may leave by a longjmp and never
 * come back.  So the scratch buffers are the module's own, each use starts
 * with a reset, and what is left half written is overwritten by the next use.
 */
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "core/base/json.h"
#include "core/base/limits.h"
#include "luart/json.h"

enum {
    STACKED = 16,        /* values that wait on the stack */
    KEEP_MAX = 64 << 10, /* scratch memory kept between calls */
    NAME_SHOWN_MAX = 40, /* bytes of a name in an error's path */
    SORT_SMALL = 16,     /* up to here insertion sort is faster */
};

/* Outside any arena, on purpose: see the opening comment. */
static struct mp_buf scratch_text = {.max = MP_FRAME_MAX};
static struct mp_buf scratch_keys = {.max = MP_FRAME_MAX}; /* struct key */

static void scratch_reset(struct mp_buf *b)
{
    if (b->cap > KEEP_MAX)
        mp_buf_fini(b);
    mp_buf_reset(b);
}

struct step {
    struct mp_slice name; /* ptr NULL: an item of a list, at index */
    lua_Integer index;
};

struct encoder {
    lua_State *L;
    struct mp_buf *out;
    struct mp_why *why;
    unsigned depth;
    struct step path[MP_JSON_DEPTH_MAX];
};

static int encode_value(struct encoder *e, int index);

#define MIXED "a table has either the keys 1 to n or strings"
#define HOLES "a list has the keys 1 to n, without holes"

static inline void put(struct mp_buf *b, char c)
{
    if (b->len < b->cap && !b->full)
        b->ptr[b->len++] = c;
    else
        mp_buf_put(b, &c, 1);
}

/* Names come from anywhere; a message is one line of printable text. */
static void put_name(struct mp_buf *b, struct mp_slice name)
{
    size_t len = name.len < NAME_SHOWN_MAX ? name.len : NAME_SHOWN_MAX;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];

        mp_buf_put(b, c > ' ' && c < 0x7f ? name.ptr + i : "?", 1);
    }
    if (len < name.len)
        mp_buf_slice(b, MP_S("..."));
}

/* "PATH: WHAT" as the reason. */
static int no_json(struct encoder *e, const char *what)
{
    char text[256];
    struct mp_buf b = {.ptr = text, .cap = sizeof text, .max = sizeof text};

    for (unsigned i = 0; i < e->depth; i++) {
        const struct step *s = &e->path[i];

        if (!s->name.ptr) {
            mp_buf_printf(&b, "[%lld]", (long long)s->index);
        } else {
            if (i > 0)
                mp_buf_slice(&b, MP_S("."));
            put_name(&b, s->name);
        }
    }
    return mp_why_set(e->why, MP_EPARSE, "%.*s%s%s%s", (int)b.len, b.ptr,
                      b.full ? "..." : "", b.len ? ": " : "", what);
}

static int encode_number(struct encoder *e, int index)
{
    double real;

    if (lua_isinteger(e->L, index)) {
        mp_json_put_int(e->out, lua_tointeger(e->L, index));
        return 0;
    }
    real = lua_tonumber(e->L, index);
    if (isnan(real))
        return no_json(e, "NaN has no place in JSON");
    if (isinf(real))
        return no_json(e, "infinity has no place in JSON");
    mp_json_put_double(e->out, real);
    return 0;
}

static int encode_string(struct encoder *e, struct mp_slice s)
{
    if (mp_json_put_string(e->out, s))
        return 0;
    return no_json(e, "the string is not UTF-8; base64 takes any bytes");
}

/* A key of an object; its first bytes as a number settle most comparisons. */
struct key {
    uint64_t head;
    struct mp_slice name;
    int slot; /* of the value on the stack; 0: to be looked up */
};

static uint64_t head_of(struct mp_slice name)
{
    uint64_t head = 0;

    for (size_t i = 0; i < 8; i++)
        head = head << 8 | (i < name.len ? (unsigned char)name.ptr[i] : 0);
    return head;
}

static int compare(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    size_t len = a->name.len < b->name.len ? a->name.len : b->name.len;
    int order;

    if (a->head != b->head)
        return a->head < b->head ? -1 : 1;
    order = memcmp(a->name.ptr, b->name.ptr, len);
    return order ? order
                 : (a->name.len > b->name.len) - (a->name.len < b->name.len);
}

static void sort(struct key *keys, size_t n)
{
    if (n > SORT_SMALL) {
        qsort(keys, n, sizeof *keys, compare);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        struct key key = keys[i];
        size_t at = i;

        for (; at > 0 && compare(&key, &keys[at - 1]) < 0; at--)
            keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

/* The keys from byte `from` on; they move when more are collected. */
static struct key *keys_at(size_t from)
{
    return (struct key *)(void *)(scratch_keys.ptr + from);
}

/*
 * Collect the keys of the table at index, all of them strings.  The first key
 * and its value are on the stack; only values that have a slot are left there.
 */
static int collect(struct encoder *e, int index)
{
    lua_State *L = e->L;
    int slot = lua_gettop(L) - 1, last = slot + STACKED;
    struct key key;

    do {
        if (lua_type(L, -2) != LUA_TSTRING)
            return no_json(e, MIXED);
        key.name.ptr = lua_tolstring(L, -2, &key.name.len);
        key.head = head_of(key.name);
        key.slot = slot < last ? slot++ : 0;
        if (key.slot)
            lua_insert(L, -2);
        else
            lua_pop(L, 1);
        mp_buf_put(&scratch_keys, &key, sizeof key);
    } while (lua_next(L, index));
    return scratch_keys.full ? MP_EFULL : 0;
}

static int encode_member(struct encoder *e, int index, const struct key *key)
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

static int encode_object(struct encoder *e, int index)
{
    size_t from = scratch_keys.len, n;
    struct step *step = &e->path[e->depth];
    int top = lua_gettop(e->L) - 2; /* below the first key and value */
    int rc;

    if (mp_json_is_list(e->L, index))
        return no_json(e, "a list has a key that is a string");
    rc = collect(e, index);
    if (rc)
        return rc;
    n = (scratch_keys.len - from) / sizeof(struct key);
    sort(keys_at(from), n);
    e->depth++;
    for (size_t i = 0; i < n; i++) {
        struct key key = keys_at(from)[i];

        *step = (struct step){.name = key.name};
        put(e->out, i ? ',' : '{');
        rc = encode_member(e, index, &key);
        if (rc)
            return rc;
    }
    e->depth--;
    put(e->out, '}');
    scratch_keys.len = from;
    lua_settop(e->L, top);
    return 0;
}

/* A list has n keys, all of them integers from 1 to n: then none is missing. */
static int check_list(struct encoder *e, int index, lua_Integer n)
{
    lua_State *L = e->L;
    lua_Integer count = 0, key;

    do {
        lua_pop(L, 1);
        count++;
        if (!lua_isinteger(L, -1))
            return no_json(e, MIXED);
        key = lua_tointeger(L, -1);
        if (key < 1 || key > n)
            return no_json(e, HOLES);
    } while (lua_next(L, index));
    if (count < n)
        return no_json(e, HOLES);
    return 0;
}

static int encode_list(struct encoder *e, int index)
{
    struct step *step = &e->path[e->depth];
    lua_State *L = e->L;
    lua_Integer n = (lua_Integer)lua_rawlen(L, index);
    int rc = check_list(e, index, n);

    if (rc)
        return rc;
    e->depth++;
    for (lua_Integer i = 1; i <= n; i++) {
        *step = (struct step){.index = i};
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

static int encode_table(struct encoder *e, int index)
{
    lua_State *L = e->L;

    if (e->depth == MP_JSON_DEPTH_MAX)
        return no_json(e, "more than 64 tables within each other");
    if (!lua_checkstack(L, STACKED + 8))
        return no_json(e, "the stack has no room");
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
        return no_json(e, MIXED);
    }
}

static int encode_value(struct encoder *e, int index)
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
        return no_json(e, "nil has no place in JSON; null is json.null");
    default:
        if (mp_json_is_null(e->L, index)) {
            mp_json_put_null(e->out);
            return 0;
        }
        return no_json(e, "only null, booleans, numbers, strings and tables "
                          "have a place in JSON");
    }
}

int mp_json_encode(lua_State *L, int index, struct mp_buf *out,
                   struct mp_why *why)
{
    struct encoder e; /* path is set as far as depth says */
    int top = lua_gettop(L);
    size_t len = out->len;
    int rc;

    e.L = L;
    e.out = out;
    e.why = why;
    e.depth = 0;
    scratch_reset(&scratch_keys);
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
    scratch_reset(&scratch_text);
    if (mp_json_encode(L, 1, &scratch_text, &why))
        return luaL_error(L, "json.encode: %s", why.text);
    lua_pushlstring(L, scratch_text.ptr, scratch_text.len);
    scratch_reset(&scratch_text);
    return 1;
}
