/*
 * fuzz_senml.c - any bytes at all, through the reader of SenML.
 *
 * What must hold: a pack is a pack only in what its first byte makes it; the
 * resolved records can be written, in JSON and in CBOR, and both are packs
 * again of as many records.
 */
#include <lauxlib.h>
#include <stdlib.h>

#include "luart/senml.h"
#include "tests/fuzz/fuzz_main.h"

enum { BYTES_MAX = 1 << 20 };

static lua_Unsigned records(lua_State *L)
{
    MP_ASSERT(lua_gettop(L) == 1);
    return lua_rawlen(L, 1);
}

static void again(lua_State *L, enum mp_senml format)
{
    static struct mp_buf out = {.max = BYTES_MAX};
    lua_Unsigned n = records(L);
    struct mp_why why;
    int rc;

    mp_buf_reset(&out);
    rc = mp_senml_encode(L, 1, format, &out, &why);
    MP_ASSERT(rc == 0);
    MP_ASSERT(mp_senml_guess(mp_buf_bytes(&out)) == format);
    lua_settop(L, 0);
    rc = mp_senml_decode(L, mp_buf_bytes(&out), format, &why);
    MP_ASSERT(rc == 0);
    MP_ASSERT(records(L) == n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    char *copy = mp_alloc(size); /* a block of exactly its size */
    struct mp_why why;
    int rc;

    if (!L)
        L = luaL_newstate();
    if (size)
        memcpy(copy, data, size);
    rc = mp_senml_decode(L, mp_slice(copy, size), MP_SENML_AUTO, &why);
    free(copy);
    MP_ASSERT(lua_gettop(L) == (rc == 0));
    if (rc)
        return 0;
    again(L, MP_SENML_JSON);
    again(L, MP_SENML_CBOR);
    lua_settop(L, 0);
    return 0;
}

#ifdef MP_FUZZ_MAIN
static const char *const words[] = {
    "[{",
    "},{",
    "}]",
    "\"bn\":\"a/\",",
    "\"n\":\"b\",",
    "\"n\":\"_\"",
    "\"v\":1",
    "\"v\":1.5,",
    "\"bv\":-1,",
    "\"bs\":1e308",
    "\"s\":1e308,",
    "\"bt\":1e9,",
    "\"t\":-5,",
    "\"bu\":\"V\"",
    "\"u\":\"A\",",
    "\"vb\":true",
    "\"vs\":\"x\"",
    "\"vd\":\"aGk\"",
    "\"bver\":10,",
    "\"bver\":11,",
    "\"x_\":1,",
    "\"x\":[1],",
    "\"ut\":1,",
    "null",
    "9223372036854775807",
    "\x81",
    "\xa1",
    "\xa2",
    "\x61"
    "a",
    "\x01\x61V",
    "\x02\x01",
    "\x02\xf9\x3c\x01",
    "\x04\xf5",
    "\x05\x01",
    "\x06\x20",
    "\x08\x41\xff",
    "\x20\x0a",
    "\x21\x61"
    "b",
    "\x22\x1a\x65\x01\x01\x01",
    "\x24\x3b\x7f\xff\xff\xff\xff\xff\xff\xff",
};
static const char *fuzz_word(uint64_t any)
{
    return words[any % ARRAY_LEN(words)];
}

static void fuzz_seeds(void)
{
}
#endif
