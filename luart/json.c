/*
 * json.c - between Lua values and JSON text, with nothing in between.
 *
 * Decoding follows the scanner and pushes what it tells.  A table that grows
 * member by member is rehashed at 1, 2, 4 and 8; so up to BATCH members wait
 * on the Lua stack until their number is known, and the table is made in the
 * right size.
 *
 * Encoding needs the keys of an object in order.  They are collected as
 * slices of the Lua strings (which stay where they are while their table
 * holds them, and no Lua code runs meanwhile) and sorted.  The values of the
 * first STACKED ones wait on the Lua stack; the others are looked up again.
 *
 * What must stay true: every call into Lua may leave by a longjmp and never
 * come back.  So nothing here is taken that would have to be given back: the
 * scratch buffers are the module's own, each use starts with a reset, and
 * what is left half written is overwritten by the next use.
 */
#include "luart/json.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "core/base/json.h"
#include "core/base/limits.h"

enum {
    BATCH = 8,           /* decoding: members that wait on the stack */
    STACKED = 16,        /* encoding: values that do */
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

static bool is_marked(lua_State *L, int index)
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

/* ---- encoding ---- */

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

    if (is_marked(e->L, index))
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
        mp_buf_slice(e->out, is_marked(L, index) ? MP_S("[]") : MP_S("{}"));
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

static int json_encode(lua_State *L)
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

static int json_array(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
        lua_newtable(L);
        lua_replace(L, 1);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getmetatable(L, 1)) {
        lua_pop(L, 1);
        if (!is_marked(L, 1))
            return luaL_error(L, "json.array: the table has a metatable");
    }
    mp_json_mark_list(L, 1);
    return 1;
}

int mp_luaopen_json(lua_State *L)
{
    static const luaL_Reg calls[] = {
        {"encode", json_encode},
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
