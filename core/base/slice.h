/*
 * slice.h - a borrowed run of bytes, and a buffer that grows to a bound.
 *
 * A slice is borrowed, always: it is valid as long as what it points into,
 * and nobody frees through it.  A mp_buf owns its bytes.
 *
 * Thread   a buffer belongs to one thread.
 * Errors   a buffer at its bound takes nothing more and remembers that
 *          (full); check once after a series of puts.
 */
#ifndef MP_BASE_SLICE_H
#define MP_BASE_SLICE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/base/why.h"

struct mp_slice {
    const char *ptr; /* may be NULL only when len is 0 */
    size_t len;
};

/* A name and its value, as in params, properties, env and files. */
struct mp_pair {
    struct mp_slice name, value;
};

/* A slice of a string literal. */
#define MP_S(literal) ((struct mp_slice){(literal), sizeof(literal) - 1})
/* For printf's "%.*s". */
#define MP_FMT(s) (int)(s).len, (s).ptr

static inline struct mp_slice mp_slice(const void *ptr, size_t len)
{
    return (struct mp_slice){ptr, len};
}

static inline struct mp_slice mp_slice_str(const char *text)
{
    return (struct mp_slice){text, text ? strlen(text) : 0};
}

static inline bool mp_slice_eq(struct mp_slice a, struct mp_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool mp_slice_is(struct mp_slice a, const char *text)
{
    return mp_slice_eq(a, mp_slice_str(text));
}

struct mp_buf {
    char *ptr;
    size_t len, cap;
    size_t max; /* never grows beyond this */
    bool full;  /* a put did not fit; len is as before it */
};

static inline void mp_buf_init(struct mp_buf *b, size_t max)
{
    *b = (struct mp_buf){.max = max};
}

void mp_buf_fini(struct mp_buf *b);

/* As new, memory kept. */
static inline void mp_buf_reset(struct mp_buf *b)
{
    b->len = 0;
    b->full = false;
}

/* The rare part of mp_buf_room. */
char *mp_buf_grow(struct mp_buf *b, size_t len);

/* Room for len more bytes at the end, or NULL and full. */
static inline char *mp_buf_room(struct mp_buf *b, size_t len)
{
    if (len <= b->cap - b->len && !b->full)
        return b->ptr + b->len;
    return mp_buf_grow(b, len);
}

static inline void mp_buf_put(struct mp_buf *b, const void *bytes, size_t len)
{
    char *room = mp_buf_room(b, len);

    if (!room || !bytes) /* NULL only when len is 0 */
        return;
    memcpy(room, bytes, len);
    b->len += len;
}

MP_PRINTF(2, 3) void mp_buf_printf(struct mp_buf *b, const char *fmt, ...);

static inline void mp_buf_slice(struct mp_buf *b, struct mp_slice s)
{
    mp_buf_put(b, s.ptr, s.len);
}

static inline struct mp_slice mp_buf_bytes(const struct mp_buf *b)
{
    return (struct mp_slice){b->ptr, b->len};
}

#endif
