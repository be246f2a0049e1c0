/*
 * fuzz_cbor.c - any bytes at all, through everything that reads CBOR.
 *
 * What must hold: what was decoded encodes, or has keys of two kinds; those
 * bytes decode, and encode to themselves, so that they are the one encoding
 * of the value.
 */
#include <lauxlib.h>
#include <stdlib.h>

#include "luart/cbor.h"
#include "tests/corpus/cbor/rows.h"
#include "tests/fuzz/fuzz_main.h"

enum { BYTES_MAX = 1 << 20 };

static bool encode(lua_State *L, struct mp_buf *out)
{
    struct mp_why why;
    int rc;

    mp_buf_reset(out);
    rc = mp_cbor_encode(L, -1, out, &why);
    MP_ASSERT(rc == 0 || strstr(why.text, "all strings or all integers"));
    MP_ASSERT(lua_gettop(L) == 1);
    lua_settop(L, 0);
    return rc == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mp_buf first = {.max = BYTES_MAX}, again = {.max = BYTES_MAX};
    static lua_State *L;
    char *copy = mp_alloc(size); /* a block of exactly its size */
    struct mp_why why;
    int rc;

    if (!L)
        L = luaL_newstate();
    if (size)
        memcpy(copy, data, size);
    rc = mp_cbor_decode(L, mp_slice(copy, size), &why);
    free(copy);
    MP_ASSERT(lua_gettop(L) == (rc == 0));
    if (rc) {
        MP_ASSERT(strstr(why.text, "at byte "));
        return 0;
    }
    if (!encode(L, &first))
        return 0;
    rc = mp_cbor_decode(L, mp_buf_bytes(&first), &why);
    MP_ASSERT(rc == 0);
    MP_ASSERT(encode(L, &again));
    MP_ASSERT(mp_slice_eq(mp_buf_bytes(&first), mp_buf_bytes(&again)));
    return 0;
}

#ifdef MP_FUZZ_MAIN
static const char *const words[] = {
    "\x80",
    "\x81",
    "\x82\x01",
    "\x9f",
    "\xff",
    "\xa1",
    "\xa2",
    "\xbf",
    "\x60",
    "\x61"
    "a",
    "\x41\xc3",
    "\x7f",
    "\x5f",
    "\x62\xc3\xa9",
    "\x01",
    "\x18\xff",
    "\x19\x01\x01",
    "\x1b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "\x20",
    "\x3b\xff\xff\xff\xff\xff\xff\xff\xff",
    "\xf4",
    "\xf6",
    "\xf7",
    "\xf9\x7c\x01",
    "\xf9\x3c\x01",
    "\xfa\x47\xc3\x50\x01",
    "\xfb\x3f\xf1",
    "\xc1",
    "\xc2\x49\x01",
    "\xc3\x49\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    "\xc4\x82\x20",
    "\xc5\x82\x21\x03",
    "\xd9\xd9\xf7",
    "\xc0\x74"
    "2013-03-21T20:04:00Z",
    "\x9a\x7f",
    "\xbb\x01\x01\x01\x01\x01\x01\x01\x01",
};
static const char *fuzz_word(uint64_t any)
{
    return words[any % ARRAY_LEN(words)];
}

static void fuzz_seeds(void)
{
    for (size_t i = 0; i < ARRAY_LEN(cbor_rows); i++) {
        char *room = mp_alloc(strlen(cbor_rows[i].in));

        fuzz_add(mp_slice(room, cbor_unhex(cbor_rows[i].in, room)));
    }
}
#endif
