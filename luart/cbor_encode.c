/*
 * cbor_encode.c - from Lua values to CBOR, with nothing in between.
 *
 * The order of keys is that of their bytes as written.  A key's first eight
 * bytes, head included, are compared as one number: the head holds the length,
 * so what is equal there is of one length, and the names decide.  Integers
 * have an order of their own as a number: 0, 1, ... and then -1, -2, ...
 *
 * What must stay true: as in json_encode.c.
 */
#include <float.h>
#include <lauxlib.h>
#include <math.h>

#include "core/base/limits.h"
#include "core/base/utf8.h"
#include "luart/cbor.h"
#include "luart/encode.h"
#include "luart/json.h"

/* Outside any arena, on purpose. */
static struct mp_buf scratch = {.max = MP_FRAME_MAX};

static int encode_value(struct mp_encoder *e, int index);

#define MIXED "the keys of a table are all strings or all integers"
#define HOLES "a list has the keys 1 to n, without holes"
#define NAMED "a list has a key that is a string"

/* ---- items ---- */

enum {
    HEAD_MAX = 9,
    INFO_1 = 24, /* one byte follows the head's first; then 2, 4, 8 */
    FALSE = 20,
    NUL = 22,
    HALF = 25,
    SINGLE = 26,
    DOUBLE = 27,
};

/* n in so many bytes (1, 2, 4, 8) behind the first; returns them all. */
static size_t sized_head(unsigned char *to, unsigned major, unsigned info,
                         uint64_t n)
{
    unsigned bytes = 1U << (info - INFO_1);

    to[0] = (unsigned char)(major << 5 | info);
    for (unsigned i = bytes; i > 0; i--, n >>= 8)
        to[i] = (unsigned char)n;
    return 1 + bytes;
}

static size_t head(unsigned char *to, unsigned major, uint64_t n)
{
    if (n < INFO_1) {
        to[0] = (unsigned char)(major << 5 | n);
        return 1;
    }
    return sized_head(to, major,
                      n <= UINT8_MAX    ? INFO_1
                      : n <= UINT16_MAX ? INFO_1 + 1
                      : n <= UINT32_MAX ? INFO_1 + 2
                                        : INFO_1 + 3,
                      n);
}

void mp_cbor_put_head(struct mp_buf *b, enum mp_cbor_major major, uint64_t n)
{
    unsigned char bytes[HEAD_MAX];

    mp_buf_put(b, bytes, head(bytes, major, n));
}

void mp_cbor_put_int(struct mp_buf *b, int64_t n)
{
    if (n >= 0)
        mp_cbor_put_head(b, MP_CBOR_UNSIGNED, (uint64_t)n);
    else
        mp_cbor_put_head(b, MP_CBOR_NEGATIVE, ~(uint64_t)n);
}

/* The 16 bits of a float; false: it has more. */
static bool half_of(float single, uint16_t *half)
{
    uint32_t bits, exponent, mantissa, shift;

    memcpy(&bits, &single, sizeof bits);
    *half = (uint16_t)(bits >> 16 & 0x8000);
    exponent = bits >> 23 & 0xff;
    mantissa = bits & 0x7fffff;
    if (exponent == 0) /* zero; what is below is far too small */
        return mantissa == 0;
    if (exponent == 0xff) { /* infinity; NaN never comes here */
        *half |= 0x7c00;
        return true;
    }
    if (exponent >= 113 && exponent <= 142) {
        *half |= (uint16_t)((exponent - 112) << 10 | mantissa >> 13);
        return (mantissa & 0x1fff) == 0;
    }
    if (exponent < 103 || exponent > 142)
        return false;
    mantissa |= 0x800000; /* in steps of 2^-24 */
    shift = 126 - exponent;
    *half |= (uint16_t)(mantissa >> shift);
    return (mantissa & ((UINT32_C(1) << shift) - 1)) == 0;
}

void mp_cbor_put_double(struct mp_buf *b, double d)
{
    unsigned char bytes[HEAD_MAX];
    uint16_t half = 0x7e00; /* the NaN that stands for all */
    uint32_t single_bits;
    uint64_t bits;
    float single;
    size_t len;

    single =
        isnan(d) || (fabs(d) > (double)FLT_MAX && !isinf(d)) ? 0 : (float)d;
    memcpy(&single_bits, &single, sizeof single_bits);
    memcpy(&bits, &d, sizeof bits);
    if (isnan(d) || ((double)single == d && half_of(single, &half)))
        len = sized_head(bytes, MP_CBOR_SIMPLE, HALF, half);
    else if ((double)single == d)
        len = sized_head(bytes, MP_CBOR_SIMPLE, SINGLE, single_bits);
    else
        len = sized_head(bytes, MP_CBOR_SIMPLE, DOUBLE, bits);
    mp_buf_put(b, bytes, len);
}

void mp_cbor_put_bool(struct mp_buf *b, bool yes)
{
    mp_cbor_put_head(b, MP_CBOR_SIMPLE, FALSE + yes);
}

void mp_cbor_put_string(struct mp_buf *b, enum mp_cbor_major major,
                        struct mp_slice s)
{
    unsigned char bytes[HEAD_MAX];
    size_t len = head(bytes, major, s.len);
    char *room = mp_buf_room(b, len + s.len);

    if (!room)
        return;
    memcpy(room, bytes, len);
    if (s.len)
        memcpy(room + len, s.ptr, s.len);
    b->len += len + s.len;
}

/* Most strings are short and ASCII. */
static enum mp_cbor_major string_major(struct mp_slice s)
{
    if (s.len <= 8 && !(mp_encode_prefix(s) & UINT64_C(0x8080808080808080)))
        return MP_CBOR_TEXT;
    return mp_utf8_valid(s) ? MP_CBOR_TEXT : MP_CBOR_BYTES;
}

static void put_string(struct mp_buf *b, struct mp_slice s)
{
    mp_cbor_put_string(b, string_major(s), s);
}

/* ---- keys ---- */

static bool read_name(lua_State *L, int index, struct mp_encode_key *key)
{
    unsigned char first[HEAD_MAX];
    unsigned major;
    size_t len;

    if (lua_type(L, index) != LUA_TSTRING)
        return false;
    key->name.ptr = lua_tolstring(L, index, &key->name.len);
    major = string_major(key->name);
    key->head = mp_encode_prefix(key->name);
    len = head(first, major, key->name.len); /* 5 bytes: no string is larger */
    while (len > 0)
        key->head = key->head >> 8 | (uint64_t)first[--len] << 56;
    return true;
}

static bool read_label(lua_State *L, int index, struct mp_encode_key *key)
{
    lua_Integer n;

    if (!lua_isinteger(L, index))
        return false;
    n = lua_tointeger(L, index);
    key->name = mp_slice(NULL, 0);
    key->head = n >= 0 ? (uint64_t)n : UINT64_C(1) << 63 | ~(uint64_t)n;
    return true;
}

static lua_Integer label_of(const struct mp_encode_key *key)
{
    if (key->head >> 63)
        return -1 - (lua_Integer)(key->head & INT64_MAX);
    return (lua_Integer)key->head;
}

/* ---- tables ---- */

static void put_key(struct mp_encoder *e, const struct mp_encode_key *key)
{
    if (!key->name.ptr)
        mp_cbor_put_int(e->out, label_of(key));
    else /* the head's first bits say which kind it is */
        mp_cbor_put_string(e->out, key->head >> 61, key->name);
}

static int encode_member(struct mp_encoder *e, int index,
                         const struct mp_encode_key *key)
{
    lua_State *L = e->L;
    int rc;

    put_key(e, key);
    if (key->slot)
        return encode_value(e, key->slot);
    if (key->name.ptr)
        lua_pushlstring(L, key->name.ptr, key->name.len);
    else
        lua_pushinteger(L, label_of(key));
    lua_rawget(L, index);
    rc = encode_value(e, lua_gettop(L));
    lua_pop(L, 1);
    return rc;
}

static int encode_map(struct mp_encoder *e, int index, mp_encode_read_key *read)
{
    struct mp_encode_step *step = &e->path[e->depth];
    struct mp_encode_keys keys;
    int rc = mp_encode_open(e, index, read, MIXED, &keys);

    if (rc)
        return rc;
    mp_cbor_put_head(e->out, MP_CBOR_MAP, keys.n);
    e->depth++;
    for (size_t i = 0; i < keys.n; i++) {
        struct mp_encode_key key = mp_encode_key(&keys, i);

        *step = (struct mp_encode_step){.name = key.name};
        if (!key.name.ptr)
            step->index = label_of(&key);
        rc = encode_member(e, index, &key);
        if (rc)
            return rc;
    }
    e->depth--;
    mp_encode_close(e, &keys);
    return 0;
}

static int encode_list(struct mp_encoder *e, int index, lua_Integer n)
{
    struct mp_encode_step *step = &e->path[e->depth];
    lua_State *L = e->L;
    int rc;

    mp_cbor_put_head(e->out, MP_CBOR_ARRAY, (uint64_t)n);
    e->depth++;
    for (lua_Integer i = 1; i <= n; i++) {
        *step = (struct mp_encode_step){.index = i};
        lua_rawgeti(L, index, i);
        rc = encode_value(e, lua_gettop(L));
        if (rc)
            return rc;
        lua_pop(L, 1);
    }
    e->depth--;
    return 0;
}

/* Are the table's keys n integers from 1 to n?  Then none is missing.  The
 * first key is on top of the stack; nothing is left there. */
static bool has_no_holes(lua_State *L, int index, lua_Integer n)
{
    lua_Integer count = 0, key;

    do {
        key = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (key < 1 || key > n) {
            lua_pop(L, 1);
            return false;
        }
        count++;
        if (!lua_next(L, index))
            return count == n;
        lua_pop(L, 1);
    } while (true);
}

static int encode_numbered(struct mp_encoder *e, int index)
{
    lua_State *L = e->L;
    lua_Integer n = (lua_Integer)lua_rawlen(L, index);

    lua_pop(L, 1);
    if (has_no_holes(L, index, n))
        return encode_list(e, index, n);
    if (mp_json_is_list(L, index))
        return mp_encode_refuse(e, HOLES);
    lua_pushnil(L);
    (void)lua_next(L, index);
    return encode_map(e, index, read_label);
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
        mp_cbor_put_head(
            e->out, mp_json_is_list(L, index) ? MP_CBOR_ARRAY : MP_CBOR_MAP, 0);
        return 0;
    }
    switch (lua_type(L, -2)) {
    case LUA_TSTRING:
        if (mp_json_is_list(L, index))
            return mp_encode_refuse(e, NAMED);
        return encode_map(e, index, read_name);
    case LUA_TNUMBER:
        return encode_numbered(e, index);
    default:
        return mp_encode_refuse(e, MIXED);
    }
}

static int encode_value(struct mp_encoder *e, int index)
{
    lua_State *L = e->L;
    struct mp_slice text;

    if (e->out->full) /* a table that holds another one often can grow fast */
        return MP_EFULL;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        text.ptr = lua_tolstring(L, index, &text.len);
        put_string(e->out, text);
        return 0;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            mp_cbor_put_int(e->out, lua_tointeger(L, index));
        else
            mp_cbor_put_double(e->out, lua_tonumber(L, index));
        return 0;
    case LUA_TTABLE:
        return encode_table(e, index);
    case LUA_TBOOLEAN:
        mp_cbor_put_bool(e->out, lua_toboolean(L, index));
        return 0;
    case LUA_TNIL:
        return mp_encode_refuse(e,
                                "nil has no place in CBOR; null is cbor.null");
    default:
        if (mp_json_is_null(L, index)) {
            mp_cbor_put_head(e->out, MP_CBOR_SIMPLE, NUL);
            return 0;
        }
        return mp_encode_refuse(e, "only null, booleans, numbers, strings and "
                                   "tables have a place in CBOR");
    }
}

int mp_cbor_encode(lua_State *L, int index, struct mp_buf *out,
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
        mp_why_set(why, rc, "the result is longer than %zu bytes", out->max);
    return rc;
}

int mp_cbor_call_encode(lua_State *L)
{
    struct mp_why why;

    luaL_checkany(L, 1);
    mp_encode_reset(&scratch);
    if (mp_cbor_encode(L, 1, &scratch, &why))
        return luaL_error(L, "cbor.encode: %s", why.text);
    lua_pushlstring(L, scratch.ptr, scratch.len);
    mp_encode_reset(&scratch);
    return 1;
}
