/*
 * store_batch.c - recording is a memcpy; SQLite comes later, in another
 * thread (core/store_apply.c reads what is written here).
 */
#include <stdlib.h>

#include "core/store_impl.h"

enum {
    /* Far past what gathers while one transaction is on its way: events in
     * work are bounded, and so is what each may write. */
    BATCH_MAX = 1 << 30, /* inputs pause long before */
    /* A rare large one does not hold its memory for ever. */
    BATCH_KEEP = 1 << 20,
    SHARES_MIN = 16,
};

static void forget(struct mp_batch *b)
{
    b->n = 0;
    b->n_shares = 0;
    mp_batch_share(b, NULL);
}

void mp_batch_init(struct mp_batch *b)
{
    *b = (struct mp_batch){0};
    mp_buf_init(&b->ops, BATCH_MAX);
    forget(b);
}

void mp_batch_fini(struct mp_batch *b)
{
    mp_buf_fini(&b->ops);
    free(b->shares);
    *b = (struct mp_batch){0};
}

void mp_batch_reset(struct mp_batch *b)
{
    if (b->ops.cap > BATCH_KEEP)
        mp_buf_fini(&b->ops);
    mp_buf_reset(&b->ops);
    forget(b);
}

void mp_batch_share(struct mp_batch *b, uint64_t *counter)
{
    if (b->n_shares && b->shares[b->sharing].counter == counter)
        return;
    for (b->sharing = 0; b->sharing < b->n_shares; b->sharing++)
        if (b->shares[b->sharing].counter == counter)
            return;
    if (b->n_shares == b->cap_shares) {
        b->cap_shares = b->cap_shares ? 2 * b->cap_shares : SHARES_MIN;
        b->shares = mp_realloc(b->shares, b->cap_shares * sizeof *b->shares);
    }
    b->shares[b->n_shares++] = (struct mp_share){.counter = counter};
}

static void put(struct mp_batch *b, enum mp_item_kind kind, int64_t n,
                struct mp_slice bytes)
{
    size_t len = MP_ITEM_HEAD + bytes.len;
    char *at = mp_buf_room(&b->ops, len);

    MP_ASSERT(at != NULL);
    *at = (char)kind;
    memcpy(at + 1, &n, sizeof n);
    if (bytes.len)
        memcpy(at + MP_ITEM_HEAD, bytes.ptr, bytes.len);
    b->ops.len += len;
    b->shares[b->sharing].bytes += len;
}

void mp_batch_op(struct mp_batch *b, enum mp_sql sql)
{
    put(b, MP_ITEM_OP, sql, mp_slice(NULL, 0));
    b->n++;
}

void mp_batch_int(struct mp_batch *b, int64_t n)
{
    put(b, MP_ITEM_INT, n, mp_slice(NULL, 0));
}

void mp_batch_real(struct mp_batch *b, double x)
{
    int64_t n;

    memcpy(&n, &x, sizeof n);
    put(b, MP_ITEM_REAL, n, mp_slice(NULL, 0));
}

void mp_batch_text(struct mp_batch *b, struct mp_slice text)
{
    put(b, MP_ITEM_TEXT, (int64_t)text.len, text);
}

void mp_batch_blob(struct mp_batch *b, struct mp_slice bytes)
{
    put(b, MP_ITEM_BLOB, (int64_t)bytes.len, bytes);
}

void mp_batch_null(struct mp_batch *b)
{
    put(b, MP_ITEM_NULL, 0, mp_slice(NULL, 0));
}

void mp_batch_optional(struct mp_batch *b, struct mp_slice text)
{
    if (text.ptr)
        mp_batch_text(b, text);
    else
        mp_batch_null(b);
}
