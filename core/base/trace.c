/*
 * trace.c - VERSION-TRACEID-PARENTID-FLAGS, in lower case hex.
 */
#include "core/base/trace.h"

#include <string.h>

#include "core/base/limits.h"

enum {
    TRACE_AT = 3, /* of the trace id: 32 digits */
    PARENT_AT = 36,
    FLAGS_AT = 53,
    WHOLE = 55, /* of version 00; a later one may have more behind a '-' */
};

static bool is_hex(struct mp_slice text, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        char c = text.ptr[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

/* An id, which is never all zeros, and the '-' behind it. */
static bool is_id(struct mp_slice text, size_t from, size_t to)
{
    size_t zeros = 0;

    while (from + zeros < to && text.ptr[from + zeros] == '0')
        zeros++;
    return from + zeros < to && is_hex(text, from, to) && text.ptr[to] == '-';
}

bool mp_trace_is(struct mp_slice text)
{
    if (text.len < WHOLE || text.len > MP_TRACE_MAX)
        return false;
    if (!is_hex(text, 0, 2) || memcmp(text.ptr, "ff", 2) == 0 ||
        text.ptr[2] != '-')
        return false;
    if (text.len > WHOLE &&
        (memcmp(text.ptr, "00", 2) == 0 || text.ptr[WHOLE] != '-'))
        return false;
    return is_id(text, TRACE_AT, PARENT_AT - 1) &&
           is_id(text, PARENT_AT, FLAGS_AT - 1) &&
           is_hex(text, FLAGS_AT, WHOLE);
}
