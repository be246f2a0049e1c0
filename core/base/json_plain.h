/*
 * json_plain.h - how far a string goes on that needs no second look.
 *
 * Reading and writing strings spend their time here.  Plain are the ASCII
 * bytes from blank on, but for quote and backslash.  Eight at a time: a byte
 * below n is what borrows from its top bit when n is taken away, and a byte
 * equal to c is one that is below 1 after xor with c.  A borrow may mark bytes
 * behind (above) the first one that is marked, never before it.
 *
 * For core/base/json.c and json_put.c.
 */
#ifndef MP_BASE_JSON_PLAIN_H
#define MP_BASE_JSON_PLAIN_H

#include <stdint.h>
#include <string.h>

#define MP_EACH_BYTE(c) (UINT64_C(0x0101010101010101) * (c))

/* The first byte from p on that isn't plain, or end. */
static inline const char *mp_json_plain(const char *p, const char *end)
{
    uint64_t word, marked;

    while (end - p >= 8) {
        memcpy(&word, p, sizeof word);
        marked = (word | (word - MP_EACH_BYTE(0x20)) |
                  ((word ^ MP_EACH_BYTE('"')) - MP_EACH_BYTE(1)) |
                  ((word ^ MP_EACH_BYTE('\\')) - MP_EACH_BYTE(1))) &
                 MP_EACH_BYTE(0x80);
        if (marked) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return p + (__builtin_ctzll(marked) >> 3);
#else
            break;
#endif
        }
        p += 8;
    }
    while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 &&
           *p != '"' && *p != '\\')
        p++;
    return p;
}

#endif
