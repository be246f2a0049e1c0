/*
 * fuzz_json.c - any bytes at all, through everything that reads JSON.
 *
 * What must hold: the scanner, and the decoder that is built on it, take the
 * same texts; skipping is as strict as reading; what was decoded encodes; that
 * text decodes, and encodes to itself.
 */
#include <lauxlib.h>
#include <stdlib.h>

#include "core/base/base64.h"
#include "core/base/json.h"
#include "core/base/utf8.h"
#include "luart/json.h"
#include "tests/corpus/json/rows.h"
#include "tests/fuzz/fuzz_main.h"

enum { TEXT_MAX = 1 << 20 };

/* Read every token and what it means. */
static int scan(struct mp_slice in)
{
    struct mp_json_number number;
    struct mp_json_token t;
    struct mp_json s;
    struct mp_why why;

    mp_json_init(&s, in);
    for (;;) {
        if (mp_json_next(&s, &t, &why))
            return MP_EPARSE;
        MP_ASSERT(s.depth <= MP_JSON_DEPTH_MAX);
        if (t.kind == MP_JSON_END)
            return 0;
        if (t.kind == MP_JSON_NUMBER && mp_json_number(&t, &number))
            return MP_ERANGE;
        if (t.kind == MP_JSON_STRING || t.kind == MP_JSON_NAME) {
            char *room = mp_alloc(t.text.len);
            struct mp_slice text =
                mp_slice(room, mp_json_unescape(t.text, room));

            MP_ASSERT(mp_utf8_valid(text));
            MP_ASSERT(mp_json_is(&t, text));
            free(room);
        }
    }
}

static int skip(struct mp_slice in)
{
    struct mp_json_token t;
    struct mp_json s;
    struct mp_why why;

    mp_json_init(&s, in);
    if (mp_json_next(&s, &t, &why) || mp_json_skip(&s, &t, &why) ||
        mp_json_next(&s, &t, &why))
        return MP_EPARSE;
    MP_ASSERT(t.kind == MP_JSON_END);
    return 0;
}

static void encode(lua_State *L, struct mp_buf *out)
{
    struct mp_why why;
    int rc;

    mp_buf_reset(out);
    rc = mp_json_encode(L, -1, out, &why);
    MP_ASSERT(rc == 0);
    lua_settop(L, 0);
}

static void there_and_back(struct mp_slice in, int scanned)
{
    static struct mp_buf first = {.max = TEXT_MAX}, again = {.max = TEXT_MAX};
    static lua_State *L;
    struct mp_why why;
    int rc;

    if (!L)
        L = luaL_newstate();
    rc = mp_json_decode(L, in, &why);
    MP_ASSERT((rc == 0) == (scanned == 0));
    MP_ASSERT(lua_gettop(L) == (rc == 0));
    if (rc)
        return;
    encode(L, &first);
    rc = mp_json_decode(L, mp_buf_bytes(&first), &why);
    MP_ASSERT(rc == 0);
    encode(L, &again);
    MP_ASSERT(mp_slice_eq(mp_buf_bytes(&first), mp_buf_bytes(&again)));
}

/* The same bytes as a string to be written, and as base64. */
static void as_text(struct mp_slice in)
{
    static struct mp_buf out = {.max = TEXT_MAX};
    char *room = mp_alloc(in.len / 4 * 3 + 2);
    size_t len, bad;
    bool valid;

    mp_buf_reset(&out);
    valid = mp_json_put_string(&out, in);
    MP_ASSERT(valid == mp_utf8_valid(in));
    MP_ASSERT(scan(mp_buf_bytes(&out)) == 0);
    if (mp_base64_decode(in, room, &len, &bad))
        MP_ASSERT(bad <= in.len);
    else
        MP_ASSERT(len <= in.len / 4 * 3 + 2);
    free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = mp_alloc(size); /* a block of exactly its size */
    struct mp_slice in = mp_slice(copy, size);
    int scanned;

    if (size)
        memcpy(copy, data, size);
    scanned = scan(in);
    MP_ASSERT((skip(in) == 0) == (scanned != MP_EPARSE) ||
              scanned == MP_ERANGE);
    there_and_back(in, scanned);
    as_text(in);
    free(copy);
    return 0;
}

#ifdef MP_FUZZ_MAIN
static const char *const words[] = {
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    "\\u",
    "\\ud83d",
    "\\ude00",
    "\\u0000",
    "\\n",
    "0",
    "-",
    ".",
    "e",
    "E+",
    "1e308",
    "1e-308",
    "null",
    "true",
    "false",
    " ",
    "\n",
    "\"a\":",
    "[[[[[[[",
    "]]]]]]]",
    "{\"a\":",
    "}}}}",
    "\xc3\xa9",
    "\xed\xa0\x80",
    "\xf4\x8f\xbf\xbf",
    "9223372036854775807",
    "12345678",
    "\xff",
};
static const char *fuzz_word(uint64_t any)
{
    return words[any % ARRAY_LEN(words)];
}

static void fuzz_seeds(void)
{
    for (size_t i = 0; i < ARRAY_LEN(json_rows); i++)
        fuzz_add(json_rows[i].in);
}
#endif
