/*
 * cbor.h - the Lua module `cbor`: values to bytes and back (RFC 8949).
 *
 *   cbor.encode(v)    bytes, the same ones for equal values: shortest heads,
 *                     the shortest float that is the same double, keys in the
 *                     order of their bytes (core deterministic encoding).  A
 *                     string is text where it is UTF-8, else a byte string.
 *   cbor.decode(s)    the value; of doubled keys the last wins.
 *   cbor.array([t])   json.array: one mark for both.
 *   cbor.null         json.null; undefined is decoded to it, too.
 *
 * A table with the keys 1..n is an array, one with strings as keys a map, one
 * with other integers a map with integers as keys, an empty one a map unless
 * it is marked as a list.  So a map that has just the keys 1 to n is an array
 * when it is written again.  NaN and infinities are values like any other.
 *
 * Decoded are one item and nothing behind it, of definite and indefinite
 * length, 64 arrays and maps deep.  Integers beyond 64 bits with their sign
 * become the nearest float.  Keys are strings or integers.  Tags are passed
 * over, but for these: 0 (a date as text) is seconds since 1970, 1 must be a
 * number, 2 and 3 (big integers), 4 and 5 (fractions) are numbers.  Simple
 * values that RFC 8949 gives no meaning have none here either: they raise.
 *
 * Process  worker only.
 * Memory   as in json.h: what Lua owns lies in its own heap, and any call may
 *          leave by a longjmp.
 * Errors   in Lua they raise: "cbor.decode: expected a value at byte 14",
 *          "cbor.encode: rooms[2].temp: nil has no place in CBOR".
 */
#ifndef MP_LUART_CBOR_H
#define MP_LUART_CBOR_H

#include <lua.h>

#include "core/base/slice.h"

int mp_luaopen_cbor(lua_State *L);

/* As mp_json_decode and mp_json_encode. */
MP_MUST int mp_cbor_decode(lua_State *L, struct mp_slice bytes,
                           struct mp_why *why);
MP_MUST int mp_cbor_encode(lua_State *L, int index, struct mp_buf *out,
                           struct mp_why *why);

/* The function cbor.encode itself. */
int mp_cbor_call_encode(lua_State *L);

/* ---- items one by one, for who writes without a table ---- */

enum mp_cbor_major {
    MP_CBOR_UNSIGNED,
    MP_CBOR_NEGATIVE,
    MP_CBOR_BYTES,
    MP_CBOR_TEXT,
    MP_CBOR_ARRAY,
    MP_CBOR_MAP,
    MP_CBOR_TAG,
    MP_CBOR_SIMPLE,
};

/* The head alone: of an array or map, n items or pairs follow. */
void mp_cbor_put_head(struct mp_buf *b, enum mp_cbor_major major, uint64_t n);
void mp_cbor_put_int(struct mp_buf *b, int64_t n);
void mp_cbor_put_double(struct mp_buf *b, double d);
void mp_cbor_put_bool(struct mp_buf *b, bool yes);
/* BYTES or TEXT. */
void mp_cbor_put_string(struct mp_buf *b, enum mp_cbor_major major,
                        struct mp_slice s);

#endif
