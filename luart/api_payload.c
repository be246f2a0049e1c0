/*
 * api_payload.c - what calls hand over, as bytes, and where it gathers.
 *
 * A payload is a string, sent as its bytes, or a number, boolean or table,
 * sent as JSON or, where asked, as CBOR.  It is turned into bytes at the call,
 * so that misuse raises there and later changes of a table don't matter.
 */
#include <lauxlib.h>

#include "luart/api.h"
#include "luart/cbor.h"
#include "luart/image.h"
#include "luart/json.h"
#include "luart/run.h"

/* A value on its way out; outside the arena, so that a longjmp leaves nothing.
 */
static struct mp_buf scratch;

uint32_t mp_api_bytes_left(void)
{
    uint32_t left = mp_inv.image->load.output_bytes - mp_inv.output_bytes;
    uint32_t room = MP_EFFECTS_MAX - (uint32_t)mp_inv.effects.len -
                    (uint32_t)mp_inv.values.pending;

    return left < room ? left : room;
}

int mp_api_too_many_bytes(lua_State *L, const char *call)
{
    return luaL_error(L,
                      "%s: more than limits.output_bytes (%d) in one "
                      "invocation",
                      call, (int)mp_inv.image->load.output_bytes);
}

enum mp_format mp_api_format(lua_State *L, int options, const char *call)
{
    static const char *const names[] = {"json", "cbor", "text", "bytes", NULL};
    static const enum mp_format formats[] = {MP_FORMAT_JSON, MP_FORMAT_CBOR,
                                             MP_FORMAT_TEXT, MP_FORMAT_BYTES};
    enum mp_format found = MP_FORMAT_AUTO;
    struct mp_slice name;

    if (mp_api_option(L, options, "format") == LUA_TSTRING) {
        char hint[MP_HINT_MAX];

        name.ptr = lua_tolstring(L, -1, &name.len);
        for (size_t i = 0; names[i]; i++)
            if (mp_slice_is(name, names[i]))
                found = formats[i];
        mp_api_hint(name, names, ARRAY_LEN(formats), hint);
        if (mp_slice_is(name, "senml"))
            luaL_error(L,
                       "%s: format is json, cbor, text or bytes; for SenML "
                       "give what senml.encode returns",
                       call);
        else if (found == MP_FORMAT_AUTO && !mp_slice_is(name, "auto"))
            luaL_error(L, "%s: unknown format '%s'%s", call, name.ptr, hint);
    } else if (!lua_isnil(L, -1)) {
        mp_api_mistyped(L, -1, call, "format", "a string");
    }
    lua_pop(L, 1);
    return found;
}

int mp_api_encode(lua_State *L, int index, enum mp_format format,
                  struct mp_slice *bytes, struct mp_why *why)
{
    int rc;

    mp_buf_reset(&scratch);
    scratch.max = mp_api_bytes_left();
    if (scratch.max < scratch.cap)
        mp_buf_fini(&scratch); /* it was of a function with more room */
    rc = format == MP_FORMAT_CBOR ? mp_cbor_encode(L, index, &scratch, why)
                                  : mp_json_encode(L, index, &scratch, why);
    if (rc == 0)
        *bytes = mp_buf_bytes(&scratch);
    return rc;
}

struct mp_payload mp_api_payload(lua_State *L, int index, enum mp_format as,
                                 const char *call)
{
    struct mp_payload p = {.format = as};
    struct mp_why why;
    int rc;

    if (lua_type(L, index) == LUA_TSTRING) {
        p.data.ptr = lua_tolstring(L, index, &p.data.len);
        if (as == MP_FORMAT_AUTO)
            p.format = MP_FORMAT_TEXT;
        if (p.data.len > mp_api_bytes_left())
            mp_api_too_many_bytes(L, call);
        return p;
    }
    if (lua_isnoneornil(L, index))
        luaL_error(L,
                   "%s: the payload is nil; \"\" is an empty one, mp.null is "
                   "JSON's null",
                   call);
    if (as == MP_FORMAT_TEXT || as == MP_FORMAT_BYTES)
        luaL_error(L, "%s: format '%s' takes a string, not a %s", call,
                   mp_format_name(as), luaL_typename(L, index));
    if (as == MP_FORMAT_AUTO)
        p.format = MP_FORMAT_JSON;
    rc = mp_api_encode(L, index, p.format, &p.data, &why);
    if (rc == MP_EFULL)
        mp_api_too_many_bytes(L, call);
    if (rc)
        luaL_error(L, "%s: %s", call, why.text);
    return p;
}

/* ---- effects ---- */

void mp_api_count_output(lua_State *L, const char *call)
{
    if (mp_inv.n_effects >= mp_inv.image->load.outputs)
        luaL_error(L, "%s: more than limits.outputs (%d) in one invocation",
                   call, (int)mp_inv.image->load.outputs);
}

void mp_api_put_effect(lua_State *L, const char *call,
                       const struct mp_effect *e, size_t bytes)
{
    size_t mark = mp_inv.effects.len;

    if (bytes > mp_api_bytes_left())
        mp_api_too_many_bytes(L, call);
    mp_wire_put_effect(&mp_inv.effects, e);
    if (mp_inv.effects.full ||
        mp_inv.effects.len + mp_inv.values.pending > MP_EFFECTS_MAX) {
        mp_inv.effects.len = mark;
        mp_inv.effects.full = false;
        luaL_error(L, "%s: more than fits into one outcome", call);
    }
    mp_inv.output_bytes += (uint32_t)bytes;
    mp_inv.n_effects++;
    mp_inv.n_outputs +=
        e->kind == MP_EFFECT_PUBLISH || e->kind == MP_EFFECT_SEND;
}
