/*
 * slice.c - the growing buffer.  It doubles, so that a series of puts costs
 * amortised constant time, and stops at its bound.
 */
#include "core/base/slice.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void mp_buf_fini(struct mp_buf *b)
{
    free(b->ptr);
    *b = (struct mp_buf){.max = b->max};
}

char *mp_buf_grow(struct mp_buf *b, size_t len)
{
    if (b->full || len > b->max - b->len) {
        b->full = true;
        return NULL;
    }
    if (len > b->cap - b->len) {
        size_t cap = b->cap ? b->cap : 256;

        while (cap - b->len < len)
            cap *= 2;
        if (cap > b->max)
            cap = b->max;
        b->ptr = mp_realloc(b->ptr, cap);
        b->cap = cap;
    }
    return b->ptr + b->len;
}

void mp_buf_printf(struct mp_buf *b, const char *fmt, ...)
{
    va_list args, again;
    char *room;
    int len;

    va_start(args, fmt);
    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    MP_ASSERT(len >= 0);
    room = mp_buf_room(b, (size_t)len + 1);
    if (room) {
        vsnprintf(room, (size_t)len + 1, fmt, again);
        b->len += (size_t)len;
    }
    va_end(again);
}
