/*
 * records.c - rows of entries, one a transaction and lane.
 *
 * Rows are numbered upwards, so they lie in one array in the order of their
 * numbers: a row is found by halving, the ones that still gather are at the
 * end.  A row that nobody needs stays where it is, marked by left = 0, until
 * half of the array are such.
 *
 *     |  sealed: written or being written  |  gathering  |
 *                                          ^ sealed
 */
#include "core/records.h"

#include <stdlib.h>

#include "core/base/hash.h"
#include "core/base/wire.h"
#include "core/log.h"

enum {
    ENTRY_BYTES = 4 + 8 + 8,
    /* The packet ids of a lane, for one function. */
    ROW_BYTES_MAX = 65536 * ENTRY_BYTES,
    ROWS_MIN = 64,
};

struct mp_record_row {
    int64_t id;
    uint32_t left; /* entries that were not let go; 0: gone */
    char *lane;
    struct mp_buf entries; /* gathering, or loaded and not taken */
};

void mp_records_init(struct mp_records *r, struct mp_commit *commit)
{
    *r = (struct mp_records){.commit = commit, .next_id = 1};
}

/* Nobody needs its entries.  The row stays in its place. */
static void row_end(struct mp_records *r, struct mp_record_row *row)
{
    mp_buf_fini(&row->entries);
    free(row->lane);
    row->lane = NULL;
    row->left = 0;
    r->gone++;
}

void mp_records_reset(struct mp_records *r)
{
    for (size_t i = 0; i < r->n_rows; i++)
        if (r->rows[i].left)
            row_end(r, &r->rows[i]);
    r->n_rows = r->gone = r->sealed = 0;
    r->next_id = 1;
    r->malformed = 0;
}

void mp_records_fini(struct mp_records *r)
{
    mp_records_reset(r);
    free(r->rows);
    mp_records_init(r, r->commit);
}

/* Close the gaps, once they are half of it. */
static void close_gaps(struct mp_records *r)
{
    size_t to = 0, sealed = 0;

    if (r->gone * 2 < r->n_rows)
        return;
    for (size_t i = 0; i < r->n_rows; i++) {
        if (!r->rows[i].left)
            continue;
        sealed += i < r->sealed;
        r->rows[to++] = r->rows[i];
    }
    r->n_rows = to;
    r->sealed = sealed;
    r->gone = 0;
}

static struct mp_record_row *row_add(struct mp_records *r, int64_t id,
                                     struct mp_slice lane)
{
    struct mp_record_row *row;

    if (r->n_rows == r->cap)
        close_gaps(r);
    if (r->n_rows == r->cap) {
        r->cap = r->cap ? r->cap * 2 : ROWS_MIN;
        r->rows = mp_realloc(r->rows, r->cap * sizeof(*r->rows));
    }
    row = &r->rows[r->n_rows++];
    *row = (struct mp_record_row){.id = id};
    row->lane = mp_strndup(lane.ptr, lane.len);
    mp_buf_init(&row->entries, ROW_BYTES_MAX);
    return row;
}

static struct mp_record_row *row_of(const struct mp_records *r, int64_t id)
{
    size_t from = 0, to = r->n_rows;

    while (from < to) {
        size_t at = from + (to - from) / 2;

        if (r->rows[at].id < id)
            from = at + 1;
        else
            to = at;
    }
    return from < r->n_rows && r->rows[from].id == id ? &r->rows[from] : NULL;
}

static bool is_of(const struct mp_record_row *row, const char *lane)
{
    return row->left && strcmp(row->lane, lane) == 0;
}

/* ---- entries ---- */

uint64_t mp_record_function(struct mp_slice name)
{
    /* Never to be changed: what it gives is on disk. */
    static const struct mp_hash_key key = {UINT64_C(0x7265636f72642d66),
                                           UINT64_C(0x756e6374696f6e31)};

    return mp_hash64(&key, name);
}

/* The row that gathers for a lane. */
static struct mp_record_row *gathering(struct mp_records *r, const char *lane)
{
    for (size_t i = r->n_rows; i > r->sealed; i--) {
        struct mp_record_row *row = &r->rows[i - 1];

        if (is_of(row, lane) && row->entries.len < ROW_BYTES_MAX)
            return row;
    }
    return row_add(r, r->next_id++, mp_slice_str(lane));
}

int64_t mp_records_add(struct mp_records *r, const char *lane, uint32_t id,
                       uint64_t hash, uint64_t function)
{
    struct mp_record_row *row = gathering(r, lane);

    mp_put_u32(&row->entries, id);
    mp_put_u64(&row->entries, hash);
    mp_put_u64(&row->entries, function);
    row->left++;
    mp_commit_ticket(r->commit);
    return row->id;
}

void mp_records_let_go(struct mp_records *r, int64_t row_id)
{
    struct mp_record_row *row = row_of(r, row_id);
    bool written;

    if (!row || !row->left)
        return; /* its lane was cleared */
    if (--row->left)
        return;
    written = row < r->rows + r->sealed;
    row->left = 1;
    row_end(r, row);
    if (written) {
        struct mp_batch *b = mp_commit_batch_lazy(r->commit);

        mp_batch_share(b, NULL);
        mp_batch_op(b, MP_SQL_RECORDS_DELETE);
        mp_batch_int(b, row_id);
    }
}

void mp_records_clear(struct mp_records *r, const char *lane)
{
    struct mp_batch *b;
    bool written = false;

    for (size_t i = 0; i < r->n_rows; i++) {
        if (!is_of(&r->rows[i], lane))
            continue;
        written |= i < r->sealed;
        row_end(r, &r->rows[i]);
    }
    if (!written)
        return;
    b = mp_commit_batch(r->commit);
    mp_batch_share(b, NULL);
    mp_batch_op(b, MP_SQL_RECORDS_CLEAR);
    mp_batch_text(b, mp_slice_str(lane));
}

void mp_records_seal(struct mp_records *r, struct mp_batch *batch)
{
    mp_batch_share(batch, NULL);
    for (; r->sealed < r->n_rows; r->sealed++) {
        struct mp_record_row *row = &r->rows[r->sealed];

        if (!row->left)
            continue;
        mp_batch_op(batch, MP_SQL_RECORDS_PUT);
        mp_batch_int(batch, row->id);
        mp_batch_text(batch, mp_slice_str(row->lane));
        mp_batch_blob(batch, mp_buf_bytes(&row->entries));
        mp_buf_fini(&row->entries);
    }
}

/* ---- after a restart ---- */

static bool is_whole(struct mp_slice entries)
{
    return entries.len && entries.len % ENTRY_BYTES == 0 &&
           entries.len <= ROW_BYTES_MAX;
}

static void load_row(struct mp_records *r, struct mp_query *q)
{
    int64_t id = mp_column_int(q, 0);
    struct mp_slice entries = mp_column_bytes(q, 2);
    bool in_place = id >= r->next_id && id < INT64_MAX;
    struct mp_record_row *row;

    if (in_place)
        r->next_id = id + 1; /* never used again, whatever it holds */
    if (!in_place || !is_whole(entries)) {
        if (r->malformed++ == 0)
            r->first_malformed = id;
        return;
    }
    row = row_add(r, id, mp_column_bytes(q, 1));
    mp_buf_slice(&row->entries, entries);
    row->left = (uint32_t)(entries.len / ENTRY_BYTES);
    r->sealed = r->n_rows;
}

int mp_records_load(struct mp_records *r, struct mp_db *db, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_RECORDS_ALL);
    int rc;

    mp_records_reset(r);
    while ((rc = mp_query_step(q, why)) == 1)
        load_row(r, q);
    mp_query_end(q);
    return rc;
}

/* Here, as logging is the loop's. */
static void say_malformed(struct mp_records *r)
{
    if (r->malformed)
        mp_log(MP_ERROR, "store", NULL,
               "table records: %u malformed (the first has id %lld), left out; "
               "their inputs run again if the broker sends them again",
               r->malformed, (long long)r->first_malformed);
    r->malformed = 0;
}

static uint64_t u64_at(const char *bytes)
{
    uint64_t n;

    memcpy(&n, bytes, sizeof n); /* as mp_put_u64 */
    return n;
}

void mp_records_take(struct mp_records *r, const char *lane,
                     void (*each)(void *arg, uint32_t id, uint64_t hash,
                                  uint64_t function, int64_t row),
                     void *arg)
{
    say_malformed(r);
    /* `each` may let entries go: a row may end, none is moved. */
    for (size_t i = 0; i < r->sealed; i++) {
        struct mp_buf entries = r->rows[i].entries;
        int64_t id = r->rows[i].id;

        if (!is_of(&r->rows[i], lane))
            continue;
        mp_buf_init(&r->rows[i].entries, ROW_BYTES_MAX);
        for (size_t at = 0; at < entries.len; at += ENTRY_BYTES) {
            uint32_t sequence;

            memcpy(&sequence, entries.ptr + at, sizeof sequence);
            each(arg, sequence, u64_at(entries.ptr + at + 4),
                 u64_at(entries.ptr + at + 12), id);
        }
        mp_buf_fini(&entries);
    }
}
