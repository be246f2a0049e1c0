/*
 * queue_entries.c - which rows a function has, and where the event of each is.
 *
 * An array in order of ids, which only grow: found by halving, added at the
 * end.  What is gone stays in its place, until half of them are.
 */
#include "core/queue_impl.h"

#include <stdlib.h>

enum {
    ENTRIES_MIN = 64, /* no array is smaller, nor tidied up before */
    BYTES_MAX = (1 << 28) - 1,
    SCRATCH_KEEP = 1 << 20, /* the buffer of a rare large one is not kept */
};

struct mp_queue_entry *mp_queue_find(const struct mp_queue_fn *f, int64_t id)
{
    size_t low = 0, high = f->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (f->entries[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == f->n || f->entries[low].id != id ||
        f->entries[low].where == MP_ROW_GONE)
        return NULL;
    return &f->entries[low];
}

void mp_queue_add(struct mp_queue_fn *f, int64_t id, uint64_t bytes,
                  enum mp_queue_where where, int64_t kept_us)
{
    MP_ASSERT(f->n == 0 || f->entries[f->n - 1].id < id);
    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : ENTRIES_MIN;
        f->entries = mp_realloc(f->entries, f->cap * sizeof(*f->entries));
    }
    if (bytes > BYTES_MAX)
        bytes = BYTES_MAX;
    f->entries[f->n++] = (struct mp_queue_entry){
        .id = id,
        .bytes = (uint32_t)bytes & BYTES_MAX,
        .where = (uint32_t)where & 15,
        .kept_s = (uint32_t)(kept_us / MP_SECOND),
    };
    f->rows++;
    f->bytes += bytes;
    f->queue->rows++;
    f->queue->bytes += bytes;
    f->spilled += where == MP_ROW_SPILLED;
    if (!f->oldest_us)
        f->oldest_us = kept_us;
}

static void look_for_oldest(struct mp_queue_fn *f)
{
    while (f->first < f->n && f->entries[f->first].where == MP_ROW_GONE)
        f->first++;
    if (f->first == f->n)
        f->oldest_us = 0;
    else if (f->entries[f->first].kept_s)
        f->oldest_us = f->entries[f->first].kept_s * MP_SECOND;
}

static void tidy_up(struct mp_queue_fn *f)
{
    size_t n = 0;

    if (f->n_gone < ENTRIES_MIN || f->n_gone * 2 < f->n)
        return;
    for (size_t i = 0; i < f->n; i++)
        if (f->entries[i].where != MP_ROW_GONE)
            f->entries[n++] = f->entries[i];
    f->n = n;
    f->n_gone = f->first = f->at = 0;
    if (f->cap > ENTRIES_MIN && n < f->cap / 4) {
        f->cap /= 2;
        f->entries = mp_realloc(f->entries, f->cap * sizeof(*f->entries));
    }
}

void mp_queue_take_out(struct mp_queue_fn *f, struct mp_queue_entry *e)
{
    f->rows--;
    f->bytes -= e->bytes;
    f->queue->rows--;
    f->queue->bytes -= e->bytes;
    f->spilled -= e->where == MP_ROW_SPILLED;
    e->where = MP_ROW_GONE;
    f->n_gone++;
    look_for_oldest(f);
    tidy_up(f);
}

struct mp_queue_entry *mp_queue_first_spilled(struct mp_queue_fn *f)
{
    while (f->at < f->n && f->entries[f->at].where != MP_ROW_SPILLED)
        f->at++;
    return f->at < f->n ? &f->entries[f->at] : NULL;
}

/* ---- rows that are written ---- */

struct mp_slice mp_row_record(struct mp_queue_fn *f, struct mp_batch *b,
                              const struct mp_row *row, uint64_t bytes)
{
    struct mp_buf *scratch = &f->queue->scratch;
    struct mp_row named = *row;

    named.fn = mp_slice_str(f->name);
    mp_batch_share(b, f->flash);
    mp_row_put(b, &named, bytes, scratch);
    mp_batch_share(b, NULL);
    if (scratch->cap <= SCRATCH_KEEP)
        return mp_buf_bytes(scratch);
    mp_buf_fini(scratch); /* a rare large one */
    return mp_slice(NULL, 0);
}

uint64_t mp_row_delete(struct mp_queue_fn *f, int64_t id)
{
    struct mp_batch *b = mp_commit_batch(f->queue->commit);

    mp_batch_share(b, f->flash);
    mp_batch_op(b, MP_SQL_QUEUE_DELETE);
    mp_batch_int(b, id);
    mp_batch_share(b, NULL);
    return mp_commit_ticket(f->queue->commit);
}
