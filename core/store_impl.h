/*
 * store_impl.h - what the files of the store share and nobody else sees.
 *
 * A batch is a row of items: one byte of kind, eight of a number, and for
 * texts and blobs as many bytes as the number says.  An operation is an item,
 * its arguments follow it.
 *
 *     ┌────┬─────────────┐┌──────┬─────────┬───────┐┌──────┬───┐
 *     │ OP │ PUT         ││ TEXT │ 3       │ d e v ││ INT  │ 7 │ OP ...
 *     └────┴─────────────┘└──────┴─────────┴───────┘└──────┴───┘
 *
 * Numbers are in the order of this machine: a batch never leaves it.
 */
#ifndef MP_STORE_IMPL_H
#define MP_STORE_IMPL_H

#include "core/store.h"

#define MP_DB_NAME "moonpool.db"

enum mp_item_kind { /* 0 is nothing: a torn batch is noticed */
                    MP_ITEM_OP = 1,
                    MP_ITEM_INT,
                    MP_ITEM_REAL,
                    MP_ITEM_TEXT,
                    MP_ITEM_BLOB,
                    MP_ITEM_NULL,
};

enum { MP_ITEM_HEAD = 9 };

struct mp_item {
    enum mp_item_kind kind;
    int64_t n;             /* number, statement or length */
    struct mp_slice bytes; /* of text and blob, in the batch */
};

/* Take the next item off rest; false: none left. */
static inline bool mp_item_next(struct mp_slice *rest, struct mp_item *item)
{
    if (!rest->len)
        return false;
    MP_ASSERT(rest->len >= MP_ITEM_HEAD);
    item->kind = (enum mp_item_kind)rest->ptr[0];
    memcpy(&item->n, rest->ptr + 1, sizeof item->n);
    *rest = mp_slice(rest->ptr + MP_ITEM_HEAD, rest->len - MP_ITEM_HEAD);
    if (item->kind != MP_ITEM_TEXT && item->kind != MP_ITEM_BLOB)
        return true;
    MP_ASSERT(item->n >= 0 && (uint64_t)item->n <= rest->len);
    item->bytes = mp_slice(rest->ptr, (size_t)item->n);
    *rest = mp_slice(rest->ptr + item->n, rest->len - (size_t)item->n);
    return true;
}

/*
 * Write the bytes of the WAL again, and sync it.  A sync that fails leaves
 * pages in memory that count as written and may never have been: the next one
 * succeeds without them.  Those of a WAL that somebody left behind may be of
 * that kind, however it came about.
 */
MP_MUST int mp_store_rewrite_wal(const char *data, struct mp_why *why);

/*
 * Rename the database of the directory, and its WAL, so that they are out of
 * the way and still belong together.  name: what it is called now.
 */
MP_MUST int mp_store_set_aside(const char *data, char *name, size_t size,
                               struct mp_why *why);

#endif
