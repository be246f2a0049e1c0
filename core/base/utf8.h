/*
 * utf8.h - is this UTF-8?
 *
 * Strict, as RFC 3629 has it: no surrogates, no overlong forms, nothing above
 * U+10FFFF.  NUL is a character like any other.
 *
 * Thread   any.  Memory  none.
 */
#ifndef MP_BASE_UTF8_H
#define MP_BASE_UTF8_H

#include "core/base/slice.h"

/* Bytes of s before the first that isn't UTF-8; s.len: all of it is. */
size_t mp_utf8_prefix(struct mp_slice s);

static inline bool mp_utf8_valid(struct mp_slice s)
{
    return mp_utf8_prefix(s) == s.len;
}

/* Length (1 to 4) of the sequence that s starts with; 0: not one. */
size_t mp_utf8_sequence(struct mp_slice s);

/* Write a code point (no surrogate, at most 0x10ffff); returns its length. */
size_t mp_utf8_put(uint32_t code, char out[4]);

#endif
