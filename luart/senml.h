/*
 * senml.h - the Lua module `senml`: sensor measurement lists (RFC 8428).
 *
 *   senml.decode(s [, "json"|"cbor"])        a list of resolved records
 *   senml.encode(records [, "json"|"cbor"])  the bytes of a pack; JSON unless
 *                                            said
 *
 * A record is a table with name, one of value (a number), string, boolean and
 * data (bytes), and where they apply unit, sum, time and update_time.
 *
 * Decoding resolves: base fields are applied and gone; name is the whole one,
 * checked; time is always there, seconds since 1970 as a float, what the pack
 * gives as relative to now counted from mp.now.  A record that has base fields
 * only sets them for those behind it.  Integers stay integers.  Fields nobody
 * knows are passed over, unless their name ends in "_": such a pack is
 * refused, as is one of another version than 10 or one below.  Without a
 * format the first byte decides: CBOR's lists begin where ASCII ends.
 *
 * Encoding writes records as they are, without base fields, in the order of
 * CBOR's labels: n, u, v, vs, vb, s, t, ut, vd.
 *
 * Process  worker only.
 * Memory   as in json.h.
 * Errors   in Lua they raise: "senml.decode: record 3: v must be a number, not
 *          a string"; what is no JSON or CBOR at all as json and cbor say it.
 */
#ifndef MP_LUART_SENML_H
#define MP_LUART_SENML_H

#include <lua.h>

#include "core/base/slice.h"

enum mp_senml { MP_SENML_AUTO, MP_SENML_JSON, MP_SENML_CBOR };

int mp_luaopen_senml(lua_State *L);

/* Which of the two it looks like. */
enum mp_senml mp_senml_guess(struct mp_slice bytes);

/* Push the list.  MP_EPARSE: nothing is pushed, why says where and why. */
MP_MUST int mp_senml_decode(lua_State *L, struct mp_slice bytes,
                            enum mp_senml format, struct mp_why *why);

/* Append the list at index.  MP_EPARSE, MP_EFULL: out is as before. */
MP_MUST int mp_senml_encode(lua_State *L, int index, enum mp_senml format,
                            struct mp_buf *out, struct mp_why *why);

#endif
