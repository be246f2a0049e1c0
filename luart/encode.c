/*
 * encode.c - paths for messages, and keys in order.
 *
 * What must stay true: every call into Lua may leave by a longjmp and never
 * come back.  So the buffer of keys is the module's own, each use starts with
 * a reset, and what is left half written is overwritten by the next use.
 */
#include "luart/encode.h"

#include <stdlib.h>

#include "core/base/limits.h"

enum {
    KEEP_MAX = 64 << 10, /* scratch memory kept between calls */
    NAME_SHOWN_MAX = 40, /* bytes of a name in an error's path */
    SORT_SMALL = 16,     /* up to here insertion sort is faster */
};

/* Outside any arena, on purpose: see the opening comment. */
static struct mp_buf scratch = {.max = MP_FRAME_MAX}; /* struct mp_encode_key */

void mp_encode_reset(struct mp_buf *b)
{
    if (b->cap > KEEP_MAX)
        mp_buf_fini(b);
    mp_buf_reset(b);
}

void mp_encode_begin(struct mp_encoder *e, lua_State *L, struct mp_buf *out,
                     struct mp_why *why)
{
    e->L = L;
    e->out = out;
    e->why = why;
    e->depth = 0;
    mp_encode_reset(&scratch);
}

/* ---- the path ---- */

/* Names come from anywhere; a message is one line of printable text. */
static void put_name(struct mp_buf *b, struct mp_slice name)
{
    size_t len = name.len < NAME_SHOWN_MAX ? name.len : NAME_SHOWN_MAX;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];

        mp_buf_put(b, c > ' ' && c < 0x7f ? name.ptr + i : "?", 1);
    }
    if (len < name.len)
        mp_buf_slice(b, MP_S("..."));
}

int mp_encode_refuse(struct mp_encoder *e, const char *what)
{
    char text[256];
    struct mp_buf b = {.ptr = text, .cap = sizeof text, .max = sizeof text};

    for (unsigned i = 0; i < e->depth; i++) {
        const struct mp_encode_step *s = &e->path[i];

        if (!s->name.ptr) {
            mp_buf_printf(&b, "[%lld]", (long long)s->index);
        } else {
            if (i > 0)
                mp_buf_slice(&b, MP_S("."));
            put_name(&b, s->name);
        }
    }
    return mp_why_set(e->why, MP_EPARSE, "%.*s%s%s%s", (int)b.len, b.ptr,
                      b.full ? "..." : "", b.len ? ": " : "", what);
}

/* ---- keys in order ---- */

static int compare(const void *left, const void *right)
{
    const struct mp_encode_key *a = left, *b = right;
    size_t len = a->name.len < b->name.len ? a->name.len : b->name.len;
    int order;

    if (a->head != b->head)
        return a->head < b->head ? -1 : 1;
    order = len ? memcmp(a->name.ptr, b->name.ptr, len) : 0;
    return order ? order
                 : (a->name.len > b->name.len) - (a->name.len < b->name.len);
}

static void sort(struct mp_encode_key *keys, size_t n)
{
    if (n > SORT_SMALL) {
        qsort(keys, n, sizeof *keys, compare);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        struct mp_encode_key key = keys[i];
        size_t at = i;

        for (; at > 0 && compare(&key, &keys[at - 1]) < 0; at--)
            keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

/* The keys from byte `from` on; they move when more are collected. */
static struct mp_encode_key *keys_at(size_t from)
{
    return (struct mp_encode_key *)(void *)(scratch.ptr + from);
}

/* Only values that have a slot are left on the stack. */
static int collect(struct mp_encoder *e, int index, mp_encode_read_key *read,
                   const char *mixed)
{
    lua_State *L = e->L;
    int slot = lua_gettop(L) - 1, last = slot + MP_ENCODE_SLOTS;
    struct mp_encode_key key;

    do {
        if (!read(L, -2, &key))
            return mp_encode_refuse(e, mixed);
        key.slot = slot < last ? slot++ : 0;
        if (key.slot)
            lua_insert(L, -2);
        else
            lua_pop(L, 1);
        mp_buf_put(&scratch, &key, sizeof key);
    } while (lua_next(L, index));
    return scratch.full ? MP_EFULL : 0;
}

int mp_encode_open(struct mp_encoder *e, int index, mp_encode_read_key *read,
                   const char *mixed, struct mp_encode_keys *keys)
{
    int rc;

    keys->from = scratch.len;
    keys->top = lua_gettop(e->L) - 2;
    rc = collect(e, index, read, mixed);
    if (rc)
        return rc;
    keys->n = (scratch.len - keys->from) / sizeof(struct mp_encode_key);
    sort(keys_at(keys->from), keys->n);
    return 0;
}

struct mp_encode_key mp_encode_key(const struct mp_encode_keys *keys, size_t i)
{
    return keys_at(keys->from)[i];
}

void mp_encode_close(struct mp_encoder *e, const struct mp_encode_keys *keys)
{
    scratch.len = keys->from;
    lua_settop(e->L, keys->top);
}
