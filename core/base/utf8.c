/*
 * utf8.c - most text is ASCII: eight bytes at a time while it is, and one
 * table-like decision a sequence where it isn't.
 *
 * The second byte of a sequence is where overlong forms, surrogates and code
 * points above U+10FFFF show (Unicode, table 3-7):
 *
 *   first     second    then
 *   c2..df    80..bf
 *   e0        a0..bf    1     below: overlong
 *   ed        80..9f    1     above: surrogates
 *   e1..ef    80..bf    1     all others
 *   f0        90..bf    2     below: overlong
 *   f4        80..8f    2     above: past U+10FFFF
 *   f1..f3    80..bf    2
 */
#include "core/base/utf8.h"

#define HIGH_BITS UINT64_C(0x8080808080808080)

static bool follows(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

size_t mp_utf8_sequence(struct mp_slice s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    unsigned char low = 0x80, high = 0xbf;

    if (s.len == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4 || s.len < 2)
        return 0;
    if (p[0] < 0xe0)
        return follows(p[1]) ? 2 : 0;
    switch (p[0]) {
    case 0xe0:
        low = 0xa0;
        break;
    case 0xed:
        high = 0x9f;
        break;
    case 0xf0:
        low = 0x90;
        break;
    case 0xf4:
        high = 0x8f;
        break;
    }
    if (p[1] < low || p[1] > high || s.len < 3 || !follows(p[2]))
        return 0;
    if (p[0] < 0xf0)
        return 3;
    return s.len >= 4 && follows(p[3]) ? 4 : 0;
}

size_t mp_utf8_prefix(struct mp_slice s)
{
    size_t at = 0, len;
    uint64_t word;

    while (at < s.len) {
        if (s.len - at >= sizeof word) {
            memcpy(&word, s.ptr + at, sizeof word);
            if (!(word & HIGH_BITS)) {
                at += sizeof word;
                continue;
            }
        }
        len = mp_utf8_sequence(mp_slice(s.ptr + at, s.len - at));
        if (len == 0)
            break;
        at += len;
    }
    return at;
}

size_t mp_utf8_put(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    MP_ASSERT(code <= 0x10ffff && (code < 0xd800 || code > 0xdfff));
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}
