/*
 * base64.h - bytes as text (RFC 4648).
 *
 * Encoding writes the standard alphabet with padding.  Decoding takes the
 * standard and the URL-safe alphabet, with padding or without; what is there
 * of padding must be right, and bits that stand for nothing must be zero.
 * Blanks and line ends are not taken.
 *
 * Thread   any.  Memory  none.
 */
#ifndef MP_BASE_BASE64_H
#define MP_BASE_BASE64_H

#include "core/base/slice.h"

/* Length of len bytes as text. */
static inline size_t mp_base64_size(size_t len)
{
    return len / 3 * 4 + (len % 3 ? 4 : 0);
}

/* out has room for mp_base64_size(in.len). */
void mp_base64_encode(struct mp_slice in, char *out);

/*
 * out has room for in.len / 4 * 3 + 2 bytes.  MP_EPARSE: bad points to the
 * first wrong byte, counted from 0 (in.len: something is missing at the end).
 */
MP_MUST int mp_base64_decode(struct mp_slice in, char *out, size_t *len,
                             size_t *bad);

#endif
