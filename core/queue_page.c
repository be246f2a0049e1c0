/*
 * queue_page.c - reads back what is on disk only, in order, by pages.
 *
 * A page read from the database is only taken as far as the entries agree:
 * what is not SPILLED is skipped, whoever has it or whatever became of it
 * while the page was read.  So no row is taken twice.  And none is skipped:
 * pages begin behind the row before the first SPILLED one, and are read only
 * as far as is known to be durable, so that what is not on a page is not in
 * the database.  The last rows need no reading (queue_recent.c).
 */
#include "core/queue_impl.h"

#include <stdlib.h>

#include "core/base/crash.h"
#include "core/log.h"

enum {
    PAGE_ROWS = 256,            /* rows read at a time; room says less */
    PAGE_BYTES = 1 << 20,       /* a page ends when it has so many */
    ROW_MAX = 2 * MP_FRAME_MAX, /* no row of ours is larger */
    ROW_HEAD = 64,              /* of one on a page: numbers and lengths */
};

struct mp_queue_page {
    struct mp_read read;
    struct mp_queue_fn *f; /* NULL: nobody wants it any more */
    char name[MP_NAME_MAX + 1];
    bool ripe;
    unsigned limit;
    int64_t after, to; /* spilled: the ids */
    int64_t *ids;      /* ripe: n of them */
    size_t n;
    struct mp_buf rows;
    int64_t seen_to; /* spilled: there are no others up to this id */
};

void mp_queue_page_forget(struct mp_queue_fn *f)
{
    if (f->page)
        f->page->f = NULL;
    f->page = NULL;
}

static void page_free(struct mp_queue_page *p)
{
    mp_buf_fini(&p->rows);
    free(p->ids);
    free(p);
}

/* Columns from okey on.  What is no row of ours has no event then, and is
 * found malformed. */
static void page_put(struct mp_queue_page *p, int64_t id, struct mp_query *q)
{
    struct mp_slice okey = mp_column_bytes(q, 1);
    struct mp_slice reason = mp_column_bytes(q, 4);
    struct mp_slice event = mp_column_bytes(q, 5);

    if (okey.len + reason.len + event.len > ROW_MAX)
        okey = reason = event = mp_slice(NULL, 0);
    mp_put_u64(&p->rows, (uint64_t)id);
    mp_put_optional(&p->rows, okey);
    mp_put_u64(&p->rows, (uint64_t)mp_column_int(q, 2));
    mp_put_u32(&p->rows, (uint32_t)mp_column_int(q, 3));
    mp_put_slice(&p->rows, reason);
    mp_put_slice(&p->rows, event);
}

static int read_spilled(struct mp_queue_page *p, struct mp_db *db,
                        struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_QUEUE_AFTER);
    unsigned n = 0;
    int64_t id;
    int rc;

    mp_query_text(q, mp_slice_str(p->name));
    mp_query_int(q, p->after);
    mp_query_int(q, p->limit);
    p->seen_to = p->to;
    while ((rc = mp_query_step(q, why)) == 1) {
        id = mp_column_int(q, 0);
        if (id > p->to)
            break;
        page_put(p, id, q);
        if (++n < p->limit && p->rows.len < PAGE_BYTES)
            continue;
        p->seen_to = id;
        break;
    }
    mp_query_end(q);
    return rc < 0 ? rc : 0;
}

static int read_ripe(struct mp_queue_page *p, struct mp_db *db,
                     struct mp_why *why)
{
    int rc = 0;
    size_t i;

    for (i = 0; i < p->n && rc >= 0 && p->rows.len < PAGE_BYTES; i++) {
        struct mp_query *q = mp_query_begin(db, MP_SQL_QUEUE_GET);

        mp_query_int(q, p->ids[i]);
        rc = mp_query_step(q, why);
        if (rc == 1)
            page_put(p, p->ids[i], q);
        mp_query_end(q);
    }
    p->n = i; /* the others: another time */
    return rc < 0 ? rc : 0;
}

static int page_work(struct mp_read *r, struct mp_db *db, struct mp_why *why)
{
    struct mp_queue_page *p = mp_of(r, struct mp_queue_page, read);

    return p->ripe ? read_ripe(p, db, why) : read_spilled(p, db, why);
}

/* The next row of a page that has one. */
static struct mp_slice page_get(struct mp_reader *r, struct mp_row *row)
{
    *row = (struct mp_row){.id = (int64_t)mp_get_u64(r)};
    row->okey = mp_get_optional(r);
    row->has_okey = row->okey.ptr != NULL;
    row->due_us = (int64_t)mp_get_u64(r);
    row->attempt = mp_get_u32(r);
    row->reason = mp_get_slice(r);
    return mp_get_slice(r);
}

void mp_queue_hand_over(struct mp_queue_fn *f, struct mp_row *row,
                        struct mp_slice bytes, bool ripe)
{
    struct mp_pair pairs[MP_EVENT_PAIRS];
    struct mp_queue_entry *e = mp_queue_find(f, row->id);

    if (!e || e->where != (ripe ? MP_ROW_RIPE : MP_ROW_SPILLED))
        return;
    if (ripe)
        mp_queue_free_ripe(f, row->id);
    else
        f->spilled--;
    row->fn = mp_slice_str(f->name);
    if (mp_row_get_event(bytes, row, pairs)) {
        e->where = MP_ROW_BROKEN;
        mp_log(MP_ERROR, f->name, NULL,
               "row %lld of the queue can't be read; it stays there",
               (long long)row->id);
        return;
    }
    e->where = MP_ROW_MEMORY;
    MP_CRASH_POINT("queue.before_found");
    f->queue->user.found(f->queue->user.arg, f->slot, row);
}

/* What should have been on the page and was not is not in the database. */
static void forget_missing(struct mp_queue_page *p)
{
    struct mp_queue_fn *f = p->f;
    struct mp_queue_entry *e;
    unsigned n = 0;

    for (size_t i = 0; p->ripe && i < p->n; i++)
        if ((e = mp_queue_find(f, p->ids[i])) && e->where == MP_ROW_RIPE) {
            mp_queue_free_ripe(f, p->ids[i]);
            mp_queue_take_out(f, e);
            n++;
        }
    while (!p->ripe && (e = mp_queue_first_spilled(f)) && e->id <= p->seen_to) {
        mp_queue_take_out(f, e);
        n++;
    }
    if (n)
        mp_log(MP_ERROR, f->name, NULL,
               "%u rows of the queue are not in the database any more", n);
}

static void page_done(struct mp_read *r, int rc, const struct mp_why *why)
{
    struct mp_queue_page *p = mp_of(r, struct mp_queue_page, read);
    struct mp_queue_fn *f = p->f;
    struct mp_reader rows = mp_reader(mp_buf_bytes(&p->rows));
    struct mp_row row;

    (void)why; /* the writer says what is wrong with the database */
    while (rc == 0 && p->f && p->f->slot && rows.at < rows.end) {
        struct mp_slice bytes = page_get(&rows, &row);

        MP_ASSERT(!rows.bad);
        mp_queue_hand_over(p->f, &row, bytes, p->ripe);
    }
    if (p->f) {
        f->page = NULL;
        if (rc == 0 && f->slot)
            forget_missing(p);
        if (rc == 0)
            mp_queue_recent_take(f);
        if (rc) {
            f->queue->again = true;
            mp_queue_arm(f->queue);
        } else {
            mp_queue_refill(f->queue, f);
        }
    }
    page_free(p);
}

static struct mp_queue_page *page_new(struct mp_queue_fn *f, unsigned room)
{
    struct mp_queue_page *p = mp_zalloc(sizeof *p);

    mp_list_init(&p->read.link);
    p->read.work = page_work;
    p->read.done = page_done;
    p->f = f;
    memcpy(p->name, f->name, sizeof p->name);
    p->limit = room < PAGE_ROWS ? room : PAGE_ROWS;
    mp_buf_init(&p->rows, PAGE_BYTES + ROW_HEAD + ROW_MAX);
    return p;
}

static void ask_for_ripe(struct mp_queue_page *p, int64_t spilled)
{
    p->ripe = true;
    p->ids = mp_alloc(p->limit * sizeof(*p->ids));
    mp_list_each (at, &p->f->ripe) {
        struct mp_queue_later *l = mp_of(at, struct mp_queue_later, link);

        if (p->n == p->limit || l->id > p->f->durable_to ||
            l->behind >= spilled)
            break;
        p->ids[p->n++] = l->id;
    }
}

static void on_durable(struct mp_commit_wait *w, int rc)
{
    struct mp_queue_fn *f = mp_of(w, struct mp_queue_fn, wait);

    f->waiting = false;
    if (rc)
        return; /* everything is loaded anew */
    f->durable_to = f->wait_to;
    mp_queue_refill(f->queue, f);
}

/* Is the row of that id durable?  Else it will be asked again then. */
static bool is_durable(struct mp_queue_fn *f, int64_t id)
{
    struct mp_commit *c = f->queue->commit;

    if (mp_commit_is_durable(c, f->ticket))
        f->durable_to = f->recorded;
    if (id <= f->durable_to)
        return true;
    if (!f->waiting) {
        f->waiting = true;
        f->wait_to = f->recorded;
        mp_commit_wait(c, &f->wait, f->ticket, on_durable);
    }
    return false;
}

bool mp_queue_is_ripe(struct mp_queue_fn *f)
{
    struct mp_queue_entry *e = mp_queue_first_spilled(f);
    struct mp_queue_later *l = mp_queue_first_ripe(f);

    return l && (!e || l->behind < e->id);
}

void mp_queue_refill_all(struct mp_queue *q)
{
    mp_list_each (at, &q->fns)
        mp_queue_refill(q, mp_of(at, struct mp_queue_fn, link));
}

void mp_queue_refill(struct mp_queue *q, struct mp_queue_fn *f)
{
    struct mp_queue_entry *e = mp_queue_first_spilled(f);
    struct mp_queue_later *l = mp_queue_first_ripe(f);
    int64_t spilled = e ? e->id : INT64_MAX;
    bool ripe = mp_queue_is_ripe(f);
    struct mp_queue_page *p;
    unsigned room;

    if (!f->slot || f->page || (!e && !l))
        return;
    if (mp_queue_recent_is_next(f)) {
        if (!q->soon && q->user.room(q->user.arg, f->slot) > 0) {
            q->soon = true;
            mp_queue_arm(q);
        }
        return;
    }
    if (!is_durable(f, ripe ? l->id : spilled))
        return;
    room = q->user.room(q->user.arg, f->slot);
    if (room == 0)
        return;
    p = f->page = page_new(f, room);
    if (ripe) {
        ask_for_ripe(p, spilled);
    } else {
        p->after = spilled - 1;
        p->to = l && l->behind < f->durable_to ? l->behind : f->durable_to;
    }
    mp_reader_do(q->reader, &p->read);
}
