/*
 * encode.h - what the encoders of Lua values share: the path to what can't be
 * encoded, and the keys of a table in order (luart/ only).
 *
 * An encoder walks over a value and appends to a buffer.  The keys of a table
 * are collected as slices of the Lua strings (which stay where they are while
 * their table holds them, and no Lua code runs meanwhile) and sorted.  The
 * values of the first MP_ENCODE_SLOTS ones wait on the Lua stack; the others
 * are looked up again.
 *
 * Process  worker only.   Thread  one; encoders don't run within each other.
 * Memory   the keys lie outside any arena, in a buffer used again and again: a
 *          longjmp out of a call into Lua leaves nothing to give back.
 */
#ifndef MP_LUART_ENCODE_H
#define MP_LUART_ENCODE_H

#include <lua.h>

#include "core/base/slice.h"

enum {
    MP_ENCODE_DEPTH_MAX = 64, /* tables within each other */
    MP_ENCODE_SLOTS = 16,     /* values that wait on the stack */
};

struct mp_encode_step {
    struct mp_slice name; /* ptr NULL: at index */
    lua_Integer index;
};

struct mp_encoder {
    lua_State *L;
    struct mp_buf *out;
    struct mp_why *why;
    unsigned depth; /* the path is set as far as this */
    struct mp_encode_step path[MP_ENCODE_DEPTH_MAX];
};

/* Begin with an encoder; only this much of it need be set. */
void mp_encode_begin(struct mp_encoder *e, lua_State *L, struct mp_buf *out,
                     struct mp_why *why);

/* Empty b, and give back what is more than a call normally needs. */
void mp_encode_reset(struct mp_buf *b);

/* MP_EPARSE with "PATH: WHAT" as the reason. */
MP_MUST int mp_encode_refuse(struct mp_encoder *e, const char *what);

/* A key; it comes before another one by its head, then by its name. */
struct mp_encode_key {
    uint64_t head;
    struct mp_slice name; /* ptr NULL: an integer, known by its head */
    int slot;             /* of the value on the stack; 0: to be looked up */
};

/* The first bytes of a name as a number: they settle most comparisons. */
static inline uint64_t mp_encode_prefix(struct mp_slice name)
{
    uint64_t n = 0;

    if (name.len >= sizeof n)
        memcpy(&n, name.ptr, sizeof n);
    else
        memcpy(&n, name.ptr, name.len);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    n = __builtin_bswap64(n);
#endif
    return n;
}

/* Set name and head from what is at index; false: it can't be a key. */
typedef bool mp_encode_read_key(lua_State *L, int index,
                                struct mp_encode_key *key);

struct mp_encode_keys {
    size_t from, n; /* in the buffer of keys */
    int top;        /* of the stack, to be restored by mp_encode_close */
};

/*
 * Collect and sort the keys of the table at index, whose first key and value
 * are on top of the stack.  MP_EPARSE: one of them can't be read, the reason
 * is mixed; MP_EFULL.
 */
MP_MUST int mp_encode_open(struct mp_encoder *e, int index,
                           mp_encode_read_key *read, const char *mixed,
                           struct mp_encode_keys *keys);

/* The i-th one.  Opening another table moves them: this is a copy. */
struct mp_encode_key mp_encode_key(const struct mp_encode_keys *keys, size_t i);

/* Forget the keys and their values. */
void mp_encode_close(struct mp_encoder *e, const struct mp_encode_keys *keys);

#endif
