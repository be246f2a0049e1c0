/*
 * queue.c - rows by id, and who has which.
 *
 * Of every row an entry is kept, in order of ids, that says where its event
 * is:
 *
 *     MEMORY   an invocation has it (kept, or read back)
 *     SPILLED  on disk only; its turn comes in order of ids
 *     LATER    a send with a delay; in the heap
 *     RIPE     that is due; in its function's list, read by id
 *     BROKEN   it can't be read; it stays on disk, for who comes to look
 *     GONE     ended or dropped; the entry goes when there are many of these
 *
 * A page read from the database is only taken as far as the entries agree:
 * what is not SPILLED is skipped, whoever has it or whatever became of it
 * while the page was read.  So no row is taken twice.  And none is skipped:
 * pages begin behind the row before the first SPILLED one, and are read only
 * as far as is known to be durable, so that what is not on a page is not in
 * the database.
 *
 * A delayed send that comes due goes behind what was spilled before that
 * moment (behind), and before what is spilled after.
 */
#include "core/queue.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/crash.h"
#include "core/log.h"

enum {
    PAGE_ROWS = 256,       /* rows read at a time; room says less */
    PAGE_BYTES = 1 << 20,  /* a page ends when it has so many */
    ENTRIES_MIN = 64,      /* no array is smaller, nor tidied up before */
    ROW_COST = 160,        /* of a row and its place in the index */
    EXTRAS_VERSION = 1,    /* of what stands behind the event */
    AGAIN_US = 1000000,    /* after a read that failed */
    SLEEP_MAX_MS = 3600000 /* of the timer; it looks again then */
};

enum where { MEMORY, SPILLED, LATER, RIPE, BROKEN, GONE };

struct mp_queue_entry {
    int64_t id;
    uint32_t bytes : 28; /* more is counted as so many */
    uint32_t where : 4;
    uint32_t kept_s; /* timeline; 0: before the start */
};

enum { BYTES_MAX = (1 << 28) - 1 };

/* A send with a delay, until it is read. */
struct later {
    struct mp_due_item item;
    struct mp_link link; /* in ripe */
    struct mp_queue_fn *f;
    int64_t id;
    int64_t behind; /* the last row it must not overtake */
};

static int64_t now_us(const struct mp_queue *q)
{
    return mp_timeline_at(q->timeline, mp_now_us());
}

/* ---- entries ---- */

static struct mp_queue_entry *find(const struct mp_queue_fn *f, int64_t id)
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
        f->entries[low].where == GONE)
        return NULL;
    return &f->entries[low];
}

static bool is_on_disk_only(const struct mp_queue_entry *e)
{
    return e->where != MEMORY && e->where != GONE;
}

static void add(struct mp_queue_fn *f, int64_t id, uint64_t bytes,
                enum where where, int64_t kept_us)
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
    f->spilled += where == SPILLED;
    if (!f->oldest_us)
        f->oldest_us = kept_us;
}

static void look_for_oldest(struct mp_queue_fn *f)
{
    while (f->first < f->n && f->entries[f->first].where == GONE)
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
        if (f->entries[i].where != GONE)
            f->entries[n++] = f->entries[i];
    f->n = n;
    f->n_gone = f->first = f->at = 0;
    if (f->cap > ENTRIES_MIN && n < f->cap / 4) {
        f->cap /= 2;
        f->entries = mp_realloc(f->entries, f->cap * sizeof(*f->entries));
    }
}

/* Its row is no more, or will be no more.  Entries may move. */
static void take_out(struct mp_queue_fn *f, struct mp_queue_entry *e)
{
    f->rows--;
    f->bytes -= e->bytes;
    f->queue->rows--;
    f->queue->bytes -= e->bytes;
    f->spilled -= e->where == SPILLED;
    e->where = GONE;
    f->n_gone++;
    look_for_oldest(f);
    tidy_up(f);
}

static struct mp_queue_entry *first_spilled(struct mp_queue_fn *f)
{
    while (f->at < f->n && f->entries[f->at].where != SPILLED)
        f->at++;
    return f->at < f->n ? &f->entries[f->at] : NULL;
}

/* ---- delayed sends ---- */

static void add_later(struct mp_queue_fn *f, int64_t id, int64_t due_us)
{
    struct later *l = mp_zalloc(sizeof *l);

    l->f = f;
    l->id = id;
    mp_list_init(&l->link);
    mp_due_set(&f->queue->later, &l->item, due_us);
}

static void free_later(struct later *l)
{
    mp_due_remove(&l->f->queue->later, &l->item);
    mp_list_unlink(&l->link);
    free(l);
}

static struct later *first_ripe(const struct mp_queue_fn *f)
{
    return mp_list_empty(&f->ripe) ? NULL
                                   : mp_of(f->ripe.next, struct later, link);
}

static void free_ripe(struct mp_queue_fn *f, int64_t id)
{
    mp_list_each_safe (at, &f->ripe) {
        struct later *l = mp_of(at, struct later, link);

        if (l->id != id)
            continue;
        free_later(l);
        return;
    }
}

/* Of one function, in the heap; id 0: all of them. */
static void free_waiting(struct mp_queue_fn *f, int64_t id)
{
    struct mp_due *d = &f->queue->later;
    struct later **mine = mp_alloc((d->n + 1) * sizeof(struct later *));
    size_t n = 0;

    for (size_t i = 1; i <= d->n; i++) {
        struct later *l = mp_of(d->items[i], struct later, item);

        if (l->f == f && (id == 0 || l->id == id))
            mine[n++] = l;
    }
    while (n)
        free_later(mine[--n]);
    free(mine);
}

static void on_timer(uv_timer_t *timer);

static void arm(struct mp_queue *q)
{
    struct mp_due_item *first = mp_due_first(&q->later);
    int64_t wait_us = SLEEP_MAX_MS * MP_MS;

    if (!first && !q->again) {
        uv_timer_stop(&q->timer);
        return;
    }
    if (first && first->at_us - now_us(q) < wait_us)
        wait_us = first->at_us - now_us(q);
    if (q->again && wait_us > AGAIN_US)
        wait_us = AGAIN_US;
    if (wait_us < 0)
        wait_us = 0;
    uv_update_time(q->loop);
    uv_timer_start(&q->timer, on_timer,
                   (uint64_t)((wait_us + MP_MS - 1) / MP_MS), 0);
}

/* Their turn comes behind what is spilled now. */
static void ripen(struct mp_queue *q)
{
    int64_t now = now_us(q);
    struct mp_due_item *first;

    while ((first = mp_due_first(&q->later)) && first->at_us <= now) {
        struct later *l = mp_of(first, struct later, item);
        struct mp_queue_entry *e = find(l->f, l->id);

        MP_ASSERT(e && e->where == LATER);
        e->where = RIPE;
        l->behind = l->f->spilled ? l->f->spilled_to : 0;
        mp_due_remove(&q->later, first);
        mp_list_append(&l->f->ripe, &l->link);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct mp_queue *q = timer->data;

    q->again = false;
    ripen(q);
    mp_list_each (at, &q->fns)
        mp_queue_refill(q, mp_of(at, struct mp_queue_fn, link));
    arm(q);
}

/* ---- rows as bytes ---- */

static uint64_t event_bytes(const struct mp_event *e)
{
    uint64_t n = ROW_COST + e->id.len + e->source.len + e->subject.len +
                 e->trigger.len + e->key.len + e->data.len + e->topic.len;

    for (uint32_t i = 0; i < e->n_params; i++)
        n += e->params[i].name.len + e->params[i].value.len;
    for (uint32_t i = 0; i < e->n_properties; i++)
        n += e->properties[i].name.len + e->properties[i].value.len;
    return n;
}

static void put_optional(struct mp_buf *b, struct mp_slice s)
{
    mp_put_u8(b, s.ptr != NULL);
    if (s.ptr)
        mp_put_slice(b, s);
}

static struct mp_slice get_optional(struct mp_reader *r)
{
    return mp_get_u8(r) ? mp_get_slice(r) : (struct mp_slice){0};
}

/* The event, and behind it what only the host wants to know of it. */
static void put_row_event(struct mp_buf *b, const struct mp_row *row)
{
    mp_put_event(b, &row->event);
    mp_put_u8(b, EXTRAS_VERSION);
    mp_put_u32(b, row->hops);
    put_optional(b, row->response_topic);
    put_optional(b, row->correlation);
}

static int get_row_event(struct mp_slice bytes, struct mp_row *row,
                         struct mp_pair *pairs)
{
    struct mp_reader r = mp_reader(bytes);

    mp_get_event(&r, &row->event, pairs);
    if (mp_get_u8(&r) != EXTRAS_VERSION)
        return MP_EPARSE;
    row->hops = mp_get_u32(&r);
    row->response_topic = get_optional(&r);
    row->correlation = get_optional(&r);
    row->event.attempt = row->attempt;
    return r.bad || r.at != r.end ? MP_EPARSE : 0;
}

static void record(struct mp_queue_fn *f, struct mp_batch *b,
                   const struct mp_row *row, uint64_t bytes)
{
    struct mp_buf *scratch = &f->queue->scratch;

    mp_buf_reset(scratch);
    put_row_event(scratch, row);
    mp_batch_share(b, f->flash);
    mp_batch_op(b, MP_SQL_QUEUE_PUT);
    mp_batch_int(b, row->id);
    mp_batch_text(b, mp_slice_str(f->name));
    if (row->has_okey)
        mp_batch_blob(b, row->okey.ptr ? row->okey : MP_S(""));
    else
        mp_batch_null(b);
    mp_batch_int(b, row->due_us);
    mp_batch_int(b, row->attempt);
    mp_batch_text(b, row->reason);
    mp_batch_int(b, (int64_t)bytes);
    mp_batch_blob(b, mp_buf_bytes(scratch));
    if (scratch->cap > PAGE_BYTES)
        mp_buf_fini(scratch); /* a rare large one */
    mp_batch_share(b, NULL);
}

static uint64_t record_delete(struct mp_queue_fn *f, int64_t id)
{
    struct mp_batch *b = mp_commit_batch(f->queue->commit);

    mp_batch_share(b, f->flash);
    mp_batch_op(b, MP_SQL_QUEUE_DELETE);
    mp_batch_int(b, id);
    mp_batch_share(b, NULL);
    return mp_commit_ticket(f->queue->commit);
}

const char *mp_row_reason(struct mp_slice reason)
{
    static const char *const others[] = {"send", "replay"};

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (mp_slice_is(reason, others[i]))
            return others[i];
    for (int i = 0; i < MP_PARKEDS; i++)
        if (mp_slice_is(reason, mp_parked_name((enum mp_parked)i)))
            return mp_parked_name((enum mp_parked)i);
    return "unknown";
}

int mp_row_read(struct mp_query *query, struct mp_row *row,
                struct mp_pair *pairs)
{
    *row = (struct mp_row){
        .id = mp_column_int(query, 0),
        .fn = mp_column_bytes(query, 1),
        .okey = mp_column_bytes(query, 2),
        .has_okey = !mp_column_is_null(query, 2),
        .due_us = mp_column_int(query, 3),
        .attempt = (uint32_t)mp_column_int(query, 4),
        .reason = mp_column_bytes(query, 5),
    };
    return get_row_event(mp_column_bytes(query, 7), row, pairs);
}

/* ---- pages ---- */

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

static void page_free(struct mp_queue_page *p)
{
    mp_buf_fini(&p->rows);
    free(p->ids);
    free(p);
}

/* Columns from okey on. */
static void page_put(struct mp_queue_page *p, int64_t id, struct mp_query *q)
{
    mp_put_u64(&p->rows, (uint64_t)id);
    put_optional(&p->rows, mp_column_bytes(q, 1));
    mp_put_u64(&p->rows, (uint64_t)mp_column_int(q, 2));
    mp_put_u32(&p->rows, (uint32_t)mp_column_int(q, 3));
    mp_put_slice(&p->rows, mp_column_bytes(q, 4));
    mp_put_slice(&p->rows, mp_column_bytes(q, 5));
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
    row->okey = get_optional(r);
    row->has_okey = row->okey.ptr != NULL;
    row->due_us = (int64_t)mp_get_u64(r);
    row->attempt = mp_get_u32(r);
    row->reason = mp_get_slice(r);
    return mp_get_slice(r);
}

/* Its turn, if it is still where the page looked for it. */
static void hand_over(struct mp_queue_fn *f, struct mp_row *row,
                      struct mp_slice bytes, bool ripe)
{
    struct mp_pair pairs[2 * MP_PAIRS_MAX];
    struct mp_queue_entry *e = find(f, row->id);

    if (!e || e->where != (ripe ? RIPE : SPILLED))
        return;
    if (ripe)
        free_ripe(f, row->id);
    else
        f->spilled--;
    row->fn = mp_slice_str(f->name);
    if (get_row_event(bytes, row, pairs)) {
        e->where = BROKEN;
        mp_log(MP_ERROR, f->name, NULL,
               "row %lld of the queue can't be read; it stays there",
               (long long)row->id);
        return;
    }
    e->where = MEMORY;
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
        if ((e = find(f, p->ids[i])) && e->where == RIPE) {
            free_ripe(f, p->ids[i]);
            take_out(f, e);
            n++;
        }
    while (!p->ripe && (e = first_spilled(f)) && e->id <= p->seen_to) {
        take_out(f, e);
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
        hand_over(p->f, &row, bytes, p->ripe);
    }
    if (p->f) {
        f->page = NULL;
        if (rc == 0 && f->slot)
            forget_missing(p);
        if (rc) {
            f->queue->again = true;
            arm(f->queue);
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
    mp_buf_init(&p->rows, PAGE_BYTES + 2 * (size_t)MP_FRAME_MAX);
    return p;
}

static void ask_for_ripe(struct mp_queue_page *p, int64_t spilled)
{
    p->ripe = true;
    p->ids = mp_alloc(p->limit * sizeof(*p->ids));
    mp_list_each (at, &p->f->ripe) {
        struct later *l = mp_of(at, struct later, link);

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

void mp_queue_refill(struct mp_queue *q, struct mp_queue_fn *f)
{
    struct mp_queue_entry *e = first_spilled(f);
    struct later *l = first_ripe(f);
    int64_t spilled = e ? e->id : INT64_MAX;
    bool ripe = l && l->behind < spilled;
    struct mp_queue_page *p;
    unsigned room;

    if (!f->slot || f->page || (!e && !l) ||
        !is_durable(f, ripe ? l->id : spilled))
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

/* ---- the queue ---- */

void mp_queue_init(struct mp_queue *q, uv_loop_t *loop,
                   struct mp_commit *commit, struct mp_reader_thread *reader,
                   const struct mp_timeline *timeline, uint64_t max_bytes,
                   const struct mp_queue_user *user)
{
    *q = (struct mp_queue){
        .loop = loop,
        .commit = commit,
        .reader = reader,
        .timeline = timeline,
        .user = *user,
        .next_id = 1,
        .max_bytes = max_bytes,
    };
    mp_list_init(&q->fns);
    mp_list_init(&q->unsaved);
    mp_due_init(&q->later);
    mp_buf_init(&q->scratch, 2 * (size_t)MP_FRAME_MAX);
    uv_timer_init(loop, &q->timer);
    q->timer.data = q;
}

/* No rows: what is known of them. */
static void clear(struct mp_queue *q)
{
    struct mp_due_item *item;

    while ((item = mp_due_first(&q->later)))
        free_later(mp_of(item, struct later, item));
    mp_list_each (at, &q->fns) {
        struct mp_queue_fn *f = mp_of(at, struct mp_queue_fn, link);

        while (first_ripe(f))
            free_later(first_ripe(f));
        f->rows = f->bytes = f->spilled = 0;
        f->n = f->n_gone = f->first = f->at = 0;
        f->oldest_us = 0;
        f->ticket = 0;
        f->recorded = f->durable_to = f->spilled_to = 0;
    }
    q->rows = q->bytes = 0;
    q->next_id = 1;
}

void mp_queue_reset(struct mp_queue *q)
{
    uv_timer_stop(&q->timer);
    q->again = false;
    mp_list_each_safe (at, &q->unsaved)
        mp_list_unlink(at);
    mp_list_each (at, &q->fns) {
        struct mp_queue_fn *f = mp_of(at, struct mp_queue_fn, link);

        if (f->waiting)
            mp_commit_wait_not(&f->wait);
        f->waiting = false;
        if (f->page)
            f->page->f = NULL;
        f->page = NULL;
    }
    clear(q);
}

void mp_queue_fini(struct mp_queue *q)
{
    mp_queue_reset(q);
    mp_list_each_safe (at, &q->fns) {
        struct mp_queue_fn *f = mp_of(at, struct mp_queue_fn, link);

        mp_list_unlink(at);
        free(f->entries);
        free(f);
    }
    mp_due_fini(&q->later);
    mp_buf_fini(&q->scratch);
    uv_close((uv_handle_t *)&q->timer, NULL);
}

/* Columns: id, fn, due, bytes, reason. */
static void load_row(struct mp_queue *q, struct mp_query *query)
{
    int64_t id = mp_column_int(query, 0), due_us = mp_column_int(query, 2);
    struct mp_queue_fn *f = mp_queue_fn(q, mp_column_bytes(query, 1));
    bool later = due_us > 0 && mp_slice_is(mp_column_bytes(query, 4), "send");

    add(f, id, (uint64_t)mp_column_int(query, 3), later ? LATER : SPILLED, 0);
    if (later)
        add_later(f, id, due_us);
    else
        f->spilled_to = id;
    f->recorded = f->durable_to = id;
    q->next_id = id + 1;
}

int mp_queue_load(struct mp_queue *q, struct mp_db *db, struct mp_why *why)
{
    struct mp_query *query;
    int rc;

    clear(q); /* an earlier attempt may have failed half way */
    query = mp_query_begin(db, MP_SQL_QUEUE_INDEX);
    while ((rc = mp_query_step(query, why)) == 1)
        load_row(q, query);
    mp_query_end(query);
    return rc;
}

struct mp_queue_fn *mp_queue_fn(struct mp_queue *q, struct mp_slice name)
{
    struct mp_queue_fn *f;

    if (name.len > MP_NAME_MAX)
        name.len = MP_NAME_MAX;
    mp_list_each (at, &q->fns) {
        f = mp_of(at, struct mp_queue_fn, link);
        if (mp_slice_is(name, f->name))
            return f;
    }
    f = mp_zalloc(sizeof *f);
    if (name.len)
        memcpy(f->name, name.ptr, name.len);
    f->queue = q;
    mp_list_init(&f->ripe);
    mp_list_init(&f->wait.link);
    mp_list_append(&q->fns, &f->link);
    return f;
}

void mp_queue_bind(struct mp_queue *q, struct mp_slot *slot)
{
    struct mp_queue_fn *f = mp_queue_fn(q, mp_slice_str(slot->name));

    f->slot = slot;
    if (f->rows && !f->oldest_us)
        f->oldest_us = now_us(q);
    arm(q);
    mp_queue_refill(q, f);
}

void mp_queue_unbind(struct mp_queue *q, struct mp_slot *slot)
{
    mp_queue_fn(q, mp_slice_str(slot->name))->slot = NULL;
}

bool mp_queue_has_room(const struct mp_queue *q, const struct mp_queue_fn *f,
                       uint64_t bytes, uint64_t park_bytes)
{
    return q->bytes + bytes <= q->max_bytes &&
           (park_bytes == 0 || f->bytes + bytes <= park_bytes);
}

/* ---- invocations ---- */

static struct mp_queue_fn *fn_of(struct mp_queue *q,
                                 const struct mp_invocation *inv)
{
    return inv->slot->queue ? inv->slot->queue
                            : mp_queue_fn(q, mp_slice_str(inv->slot->name));
}

static bool is_linked(const struct mp_link *l)
{
    return l->next && !mp_list_empty(l);
}

uint64_t mp_queue_keep(struct mp_queue *q, struct mp_invocation *inv,
                       const char *reason, int64_t due_us)
{
    struct mp_event event;

    inv->reason = reason;
    inv->due_us = due_us;
    if (!inv->row) {
        mp_invocation_event(inv, &event);
        inv->row = q->next_id++;
        inv->saved = false;
        add(fn_of(q, inv), inv->row, event_bytes(&event), MEMORY, now_us(q));
    }
    if (!is_linked(&inv->unsaved))
        mp_list_append(&q->unsaved, &inv->unsaved);
    return mp_commit_ticket(q->commit);
}

uint64_t mp_queue_forget(struct mp_queue *q, struct mp_invocation *inv)
{
    struct mp_queue_fn *f = fn_of(q, inv);
    struct mp_queue_entry *e = inv->row ? find(f, inv->row) : NULL;
    uint64_t ticket = 0;

    if (is_linked(&inv->unsaved))
        mp_list_unlink(&inv->unsaved);
    if (e) {
        MP_ASSERT(e->where == MEMORY);
        take_out(f, e);
        if (inv->saved)
            ticket = record_delete(f, inv->row);
    }
    inv->row = 0;
    inv->saved = false;
    return ticket;
}

static void seal_one(struct mp_queue *q, struct mp_batch *batch,
                     struct mp_invocation *inv)
{
    struct mp_queue_fn *f = fn_of(q, inv);
    struct mp_queue_entry *e = find(f, inv->row);
    struct mp_row row = {
        .id = inv->row,
        .okey = mp_invocation_okey(inv),
        .has_okey = inv->routed->fn->order != MP_ORDER_NONE,
        .due_us = inv->due_us,
        .attempt = inv->attempt,
        .reason = mp_slice_str(inv->reason),
        .hops = inv->hops,
        .response_topic = inv->input->response_topic,
        .correlation = inv->input->correlation,
    };

    MP_ASSERT(e && e->where == MEMORY);
    mp_invocation_event(inv, &row.event);
    record(f, batch, &row, e->bytes);
    inv->saved = true;
}

void mp_queue_seal(struct mp_queue *q, struct mp_batch *batch)
{
    mp_list_each_safe (at, &q->unsaved) {
        mp_list_unlink(at);
        seal_one(q, batch, mp_of(at, struct mp_invocation, unsaved));
    }
}

/* ---- on disk only ---- */

uint64_t mp_queue_put_back(struct mp_queue *q, struct mp_invocation *inv)
{
    struct mp_queue_fn *f = fn_of(q, inv);
    struct mp_queue_entry *e = find(f, inv->row);

    MP_ASSERT(e && e->where == MEMORY);
    if (is_linked(&inv->unsaved)) {
        mp_list_unlink(&inv->unsaved);
        seal_one(q, mp_commit_batch(q->commit), inv);
    }
    e->where = SPILLED;
    f->spilled++;
    if ((size_t)(e - f->entries) < f->at)
        f->at = (size_t)(e - f->entries);
    if (e->id > f->spilled_to)
        f->spilled_to = e->id;
    if (e->id > f->recorded)
        f->recorded = e->id;
    f->ticket = mp_commit_ticket(q->commit);
    inv->row = 0;
    return f->ticket;
}

uint64_t mp_queue_spill(struct mp_queue *q, struct mp_queue_fn *f,
                        const struct mp_event *event,
                        const struct mp_slice *okey, const char *reason,
                        int64_t due_us, uint32_t hops, int64_t *id)
{
    uint64_t bytes = event_bytes(event);
    struct mp_row row = {
        .id = q->next_id++,
        .okey = okey ? *okey : MP_S(""),
        .has_okey = okey != NULL,
        .due_us = due_us,
        .attempt = event->attempt,
        .reason = mp_slice_str(reason),
        .hops = hops,
        .event = *event,
    };

    add(f, row.id, bytes, due_us > 0 ? LATER : SPILLED, now_us(q));
    record(f, mp_commit_batch(q->commit), &row, bytes);
    f->ticket = mp_commit_ticket(q->commit);
    f->recorded = row.id;
    if (f->waiting && f->wait.ticket == f->ticket)
        f->wait_to = row.id;
    if (due_us > 0) {
        add_later(f, row.id, due_us);
        arm(q);
    } else {
        f->spilled_to = row.id;
        mp_queue_refill(q, f);
    }
    *id = row.id;
    return f->ticket;
}

void mp_queue_gone(struct mp_queue *q, struct mp_queue_fn *f, int64_t id)
{
    struct mp_queue_entry *e = find(f, id);

    (void)q;
    MP_ASSERT(e && e->where == MEMORY);
    take_out(f, e);
    (void)record_delete(f, id);
}

bool mp_queue_drop(struct mp_queue *q, int64_t id)
{
    mp_list_each (at, &q->fns) {
        struct mp_queue_fn *f = mp_of(at, struct mp_queue_fn, link);
        struct mp_queue_entry *e = find(f, id);

        if (!e)
            continue;
        if (!is_on_disk_only(e))
            return false;
        if (e->where == LATER)
            free_waiting(f, id);
        if (e->where == RIPE)
            free_ripe(f, id);
        take_out(f, e);
        (void)record_delete(f, id);
        return true;
    }
    return false;
}

unsigned mp_queue_drop_all(struct mp_queue *q, struct mp_queue_fn *f)
{
    unsigned n = 0;

    free_waiting(f, 0);
    while (first_ripe(f))
        free_later(first_ripe(f));
    /* From the end: what moves when entries are tidied up was looked at. */
    for (size_t i = f->n; i > 0; i--) {
        struct mp_queue_entry *e = &f->entries[i - 1];

        if (!is_on_disk_only(e))
            continue;
        (void)record_delete(f, e->id);
        take_out(f, e);
        n++;
        if (i > f->n)
            i = f->n + 1;
    }
    arm(q);
    return n;
}
