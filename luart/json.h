/*
 * json.h - the Lua module `json`: values to text and back.
 *
 *   json.encode(v)    text; integers stay integers, doubles read back as the
 *                     same double, 1.0 is written 1.0; object keys in byte
 *                     order.  A table with the keys 1..n is a list, one with
 *                     strings as keys an object, an empty one an object
 *                     unless it is marked as a list.
 *   json.decode(s)    the value; of doubled names the last wins.
 *   json.array([t])   marks t (or a new table) as a list and returns it.
 *   json.null         null, a light userdata, the same in every state.
 *
 * The mark is a metatable that all lists of a state share; every decoded list
 * has it.  It is protected: getmetatable gives "array", setmetatable raises.
 * Encoding calls no metamethod.
 *
 * Process  worker only.
 * Memory   what Lua owns lies in its own heap.  Any call may leave by a
 *          longjmp (memory limit, deadline), so scratch memory is kept in the
 *          module and used again, never freed by a call that could miss it.
 * Errors   in Lua they raise: "json.decode: expected ',' or '}' at byte 14",
 *          "json.encode: rooms[2].temp: NaN has no place in JSON".
 */
#ifndef MP_LUART_JSON_H
#define MP_LUART_JSON_H

#include <lua.h>

#include "core/base/slice.h"

int mp_luaopen_json(lua_State *L);

/*
 * Push the value of text.  MP_EPARSE: nothing is pushed, why says "expected
 * ... at byte N".  Raises only for memory.
 */
MP_MUST int mp_json_decode(lua_State *L, struct mp_slice text,
                           struct mp_why *why);

/*
 * Append the value at index.  MP_EPARSE: it has no JSON, why says where and
 * why; MP_EFULL: out is at its bound.  out is as before then, but may be
 * longer inside when a longjmp leaves.  Raises only for memory.
 */
MP_MUST int mp_json_encode(lua_State *L, int index, struct mp_buf *out,
                           struct mp_why *why);

/* json.null and mp.null are this light userdata. */
void mp_json_push_null(lua_State *L);
int mp_json_is_null(lua_State *L, int index);

/* Mark the table at index as a list; is it marked? */
void mp_json_mark_list(lua_State *L, int index);
bool mp_json_is_list(lua_State *L, int index);

/* The function json.array itself, for one that is called so. */
int mp_json_make_list(lua_State *L, const char *call);

/* The function json.encode itself. */
int mp_json_call_encode(lua_State *L);

#endif
