/*
 * outbox_page.c - reads back, a page at a time, what is on disk only.
 *
 * Ids grow, and rows become durable in order of their ids.  So a page that
 * is read while later rows are not yet committed misses only rows behind its
 * last one: read_to is the last id that a page had, or that went to memory
 * while nothing was on disk only, and the next page begins behind it.  None
 * is skipped, none comes twice, with one care: what is adopted while others
 * are on disk only has an id that a page will meet (skip).
 */
#include "core/outbox_impl.h"

#include <stdlib.h>

#include "core/base/wire.h"
#include "core/log.h"

enum {
    PAGE_ROWS = 256,
    PAGE_BYTES = MP_OUTBOX_MEMORY / 4,
};

struct mp_outbox_page {
    struct mp_read read;
    struct mp_outbox *box; /* NULL: nobody wants it; the loop's, not work's */
    int64_t after;
    uint64_t asked; /* ticket of the last row that there was */
    bool whole;     /* it was durable already */
    bool more;      /* it ended by its own bounds */
    struct mp_buf rows;
};

static int read_page(struct mp_read *r, struct mp_db *db, struct mp_why *why)
{
    struct mp_outbox_page *page = mp_of(r, struct mp_outbox_page, read);
    struct mp_query *q = mp_query_begin(db, MP_SQL_OUTBOX_AFTER);
    unsigned n = 0;
    int rc = 0;

    mp_query_int(q, page->after);
    mp_query_int(q, PAGE_ROWS);
    while (page->rows.len < PAGE_BYTES && (rc = mp_query_step(q, why)) == 1) {
        mp_put_u64(&page->rows, (uint64_t)mp_column_int(q, 0));
        mp_put_slice(&page->rows, mp_column_bytes(q, 1));
        mp_put_slice(&page->rows, mp_column_bytes(q, 2));
        mp_put_u64(&page->rows, (uint64_t)mp_column_int(q, 3));
        mp_put_slice(&page->rows, mp_column_bytes(q, 4));
        n++;
    }
    mp_query_end(q);
    page->more = n == PAGE_ROWS || page->rows.len >= PAGE_BYTES;
    return rc < 0 ? rc : 0;
}

/* Was a row in memory already? */
static bool skips(const struct mp_outbox *o, int64_t id)
{
    for (size_t i = 0; i < o->n_skip; i++) {
        if (o->skip[i] == id)
            return true;
    }
    return false;
}

/* Forget what is not past read_to any more. */
static void trim_skip(struct mp_outbox *o)
{
    size_t left = 0;

    for (size_t i = 0; i < o->n_skip; i++) {
        if (o->skip[i] > o->read_to)
            o->skip[left++] = o->skip[i];
    }
    o->n_skip = left;
}

static void take_row(struct mp_outbox *o, struct mp_reader *r)
{
    int64_t id = (int64_t)mp_get_u64(r);
    struct mp_slice fn = mp_get_slice(r);
    struct mp_slice topic = mp_get_slice(r);
    int64_t created_us = (int64_t)mp_get_u64(r);
    struct mp_slice message = mp_get_slice(r);
    struct mp_output *output;
    struct mp_outbox_item *item;

    o->read_to = id;
    if (skips(o, id))
        return;
    output = mp_outbox_unpack(message);
    item = mp_outbox_take(o, output ? output : mp_outbox_unreadable(topic), fn,
                          id, created_us);
    item->bytes = mp_outbox_row_bytes(fn, topic, message);
    o->memory += item->bytes;
    o->on_disk--;
    if (!output)
        mp_outbox_drop(o, item, MP_OUTBOX_UNREADABLE);
}

/* Rows that were counted are not there: somebody else took them away. */
static void count_anew(struct mp_outbox *o)
{
    mp_log(MP_WARN, "store", MP_FIELDS(MP_NUM("messages", (int64_t)o->on_disk)),
           "messages of the outbox are gone from the database");
    o->on_disk = 0;
    o->messages = o->n_items;
    o->bytes = o->memory;
    o->read_to = o->next_id - 1;
}

static void on_arriving(struct mp_commit_wait *w, int rc)
{
    if (rc == 0)
        mp_outbox_refill(mp_of(w, struct mp_outbox, arriving));
}

static void take_page(struct mp_outbox *o, const struct mp_outbox_page *page)
{
    struct mp_reader r = mp_reader(mp_buf_bytes(&page->rows));

    o->busy = true;
    while (r.at != r.end && o->on_disk)
        take_row(o, &r);
    o->busy = false;
    if (!o->on_disk) /* what is behind is in memory */
        o->read_to = o->next_id - 1;
    else if (!page->more && page->whole && page->asked == o->spilled)
        count_anew(o);
    else if (!page->more)
        mp_commit_wait(o->commit, &o->arriving, o->spilled, on_arriving);
    trim_skip(o);
    mp_outbox_set_oldest(o);
}

static void page_free(struct mp_outbox_page *page)
{
    mp_buf_fini(&page->rows);
    free(page);
}

static void on_page(struct mp_read *r, int rc, const struct mp_why *why)
{
    struct mp_outbox_page *page = mp_of(r, struct mp_outbox_page, read);
    struct mp_outbox *o = page->box;

    if (o) {
        o->page = NULL;
        if (rc == 0 && !o->closing) {
            take_page(o, page);
            mp_outbox_pump(o);
        } else if (rc && !o->closing) { /* the next tick tries again */
            mp_log(MP_WARN, "store", NULL, "read the outbox: %s", why->text);
        }
    }
    page_free(page);
}

/* Read on when half of the memory is free. */
void mp_outbox_refill(struct mp_outbox *o)
{
    struct mp_outbox_page *page;

    if (!o->going || o->closing || o->page || !o->on_disk ||
        !mp_list_empty(&o->arriving.link) || o->n_items > MP_OUTBOX_ITEMS / 2 ||
        o->memory > MP_OUTBOX_MEMORY / 2)
        return;
    page = mp_zalloc(sizeof *page);
    page->read.work = read_page;
    page->read.done = on_page;
    page->box = o;
    page->after = o->read_to;
    page->asked = o->spilled;
    page->whole = mp_commit_is_durable(o->commit, o->spilled);
    mp_buf_init(&page->rows, SIZE_MAX);
    o->page = page;
    mp_reader_do(o->reader, &page->read);
}

void mp_outbox_page_forget(struct mp_outbox *o)
{
    if (o->page)
        o->page->box = NULL;
    o->page = NULL;
}
