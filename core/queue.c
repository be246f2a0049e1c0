/*
 * queue.c - takes events over: kept, forgotten, spilled, dropped, and loaded
 * at a start.
 *
 * What an invocation has in memory is written when a transaction is sealed;
 * what is on disk only is recorded at once.  Which row is where stands in
 * queue_entries.c; queue_page.c and queue_later.c bring back what is on disk
 * only, queue_recent.c without reading it where that can be.
 */
#include "core/queue_impl.h"

#include <stdlib.h>

#include "core/log.h"

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
        mp_queue_free_later(mp_of(item, struct mp_queue_later, item));
    mp_list_each (at, &q->fns) {
        struct mp_queue_fn *f = mp_of(at, struct mp_queue_fn, link);

        while (mp_queue_first_ripe(f))
            mp_queue_free_later(mp_queue_first_ripe(f));
        mp_queue_recent_forget(f);
        f->rows = f->bytes = f->spilled = 0;
        f->n = f->n_gone = f->first = f->at = 0;
        f->oldest_us = 0;
        f->ticket = 0;
        f->recorded = f->durable_to = f->spilled_to = 0;
    }
    q->rows = q->bytes = 0;
    q->strange = 0;
    q->next_id = 1;
}

void mp_queue_reset(struct mp_queue *q)
{
    uv_timer_stop(&q->timer);
    q->again = q->soon = false;
    mp_list_each_safe (at, &q->unsaved)
        mp_list_unlink(at);
    mp_list_each (at, &q->fns) {
        struct mp_queue_fn *f = mp_of(at, struct mp_queue_fn, link);

        if (f->waiting)
            mp_commit_wait_not(&f->wait);
        f->waiting = false;
        mp_queue_page_forget(f);
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
    bool later = due_us > 0 && mp_slice_is(mp_column_bytes(query, 4), "send");
    struct mp_queue_fn *f;

    if (id < 1 || id == INT64_MAX) { /* 0 is none, and another must follow */
        q->strange++;
        return;
    }
    f = mp_queue_fn(q, mp_column_bytes(query, 1));

    mp_queue_add(f, id, (uint64_t)mp_column_int(query, 3),
                 later ? MP_ROW_LATER : MP_ROW_SPILLED, 0);
    if (later)
        mp_queue_add_later(f, id, due_us);
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
    mp_list_init(&f->recent);
    mp_list_init(&f->wait.link);
    mp_list_append(&q->fns, &f->link);
    return f;
}

void mp_queue_bind(struct mp_queue *q, struct mp_slot *slot)
{
    struct mp_queue_fn *f = mp_queue_fn(q, mp_slice_str(slot->name));

    if (q->strange)
        mp_log(MP_ERROR, "store", NULL,
               "table queue: %u with an id below 1 or past all others, left "
               "out; they stay there",
               q->strange);
    q->strange = 0;
    f->slot = slot;
    if (f->rows && !f->oldest_us)
        f->oldest_us = mp_queue_now(q);
    mp_queue_arm(q);
    mp_queue_refill(q, f);
}

void mp_queue_unbind(struct mp_queue *q, struct mp_slot *slot)
{
    struct mp_queue_fn *f = mp_queue_fn(q, mp_slice_str(slot->name));

    f->slot = NULL;
    mp_queue_recent_forget(f);
}

bool mp_queue_has_room(const struct mp_queue *q, const struct mp_queue_fn *f,
                       uint64_t bytes, uint64_t park_bytes)
{
    if (park_bytes == 0)
        return q->bytes + bytes <= q->max_bytes;
    return f->bytes + bytes <= park_bytes &&
           (q->bytes + bytes <= q->max_bytes / 4 * 3 ||
            f->bytes + bytes <= q->max_bytes / MP_QUEUE_SHARE);
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

/* Everything that its input has. */
static struct mp_row row_of(const struct mp_queue *q,
                            const struct mp_invocation *inv)
{
    struct mp_row row = {
        .id = inv->row,
        .okey = mp_invocation_okey(inv),
        .has_okey = mp_invocation_is_ordered(inv),
        .due_us = inv->due_us,
        .received_us = mp_timeline_at(q->timeline, inv->input->received_us),
        .attempt = inv->attempt,
        .hops = inv->hops,
        .response_topic = inv->input->response_topic,
        .correlation = inv->input->correlation,
        .exchange = inv->input->exchange,
        .exchange_us = inv->input->exchange_us,
    };

    mp_invocation_event(inv, &row.event);
    row.event.expiry_s = inv->input->expiry_s;
    return row;
}

uint64_t mp_queue_bytes(struct mp_queue *q, const struct mp_invocation *inv)
{
    const struct mp_queue_entry *e = mp_queue_find(fn_of(q, inv), inv->row);

    return e ? e->bytes : 0;
}

uint64_t mp_queue_keep(struct mp_queue *q, struct mp_invocation *inv,
                       const char *reason, int64_t due_us)
{
    struct mp_row row;

    if (!inv->reason || !mp_row_is_replay(mp_slice_str(inv->reason)))
        inv->reason = reason;
    inv->due_us = due_us;
    if (!inv->row) {
        row = row_of(q, inv);
        inv->row = q->next_id++;
        inv->saved = false;
        mp_queue_add(fn_of(q, inv), inv->row, mp_row_bytes(&row), MP_ROW_MEMORY,
                     mp_queue_now(q));
        mp_commit_grow(q->commit, mp_commit_row_cost(mp_row_bytes(&row)));
    }
    if (!is_linked(&inv->unsaved))
        mp_list_append(&q->unsaved, &inv->unsaved);
    return mp_commit_ticket(q->commit);
}

uint64_t mp_queue_forget(struct mp_queue *q, struct mp_invocation *inv)
{
    struct mp_queue_fn *f = fn_of(q, inv);
    struct mp_queue_entry *e = inv->row ? mp_queue_find(f, inv->row) : NULL;
    uint64_t ticket = 0, bytes;

    if (is_linked(&inv->unsaved))
        mp_list_unlink(&inv->unsaved);
    if (e) {
        MP_ASSERT(e->where == MP_ROW_MEMORY);
        bytes = e->bytes;
        mp_queue_take_out(f, e);
        if (inv->saved)
            ticket = mp_row_delete(f, inv->row);
        else
            mp_commit_grow_not(q->commit, mp_commit_row_cost(bytes));
    }
    inv->row = 0;
    inv->saved = false;
    return ticket;
}

static void seal_one(struct mp_queue *q, struct mp_batch *batch,
                     struct mp_invocation *inv)
{
    struct mp_queue_fn *f = fn_of(q, inv);
    struct mp_queue_entry *e = mp_queue_find(f, inv->row);
    struct mp_row row = row_of(q, inv);

    MP_ASSERT(e && e->where == MP_ROW_MEMORY);
    row.reason = mp_slice_str(inv->reason);
    (void)mp_row_record(f, batch, &row, e->bytes);
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

static bool is_on_disk_only(const struct mp_queue_entry *e)
{
    return e->where != MP_ROW_MEMORY && e->where != MP_ROW_GONE;
}

uint64_t mp_queue_put_back(struct mp_queue *q, struct mp_invocation *inv)
{
    struct mp_queue_fn *f = fn_of(q, inv);
    struct mp_queue_entry *e = mp_queue_find(f, inv->row);

    MP_ASSERT(e && e->where == MP_ROW_MEMORY);
    if (is_linked(&inv->unsaved)) {
        mp_list_unlink(&inv->unsaved);
        seal_one(q, mp_commit_batch(q->commit), inv);
    }
    e->where = MP_ROW_SPILLED;
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

static uint64_t spill(struct mp_queue_fn *f, const struct mp_row *row)
{
    struct mp_queue *q = f->queue;
    uint64_t bytes = mp_row_bytes(row);
    struct mp_slice event;

    mp_queue_add(f, row->id, bytes,
                 row->due_us > 0 ? MP_ROW_LATER : MP_ROW_SPILLED,
                 mp_queue_now(q));
    mp_commit_grow(q->commit, mp_commit_row_cost(bytes));
    event = mp_row_record(f, mp_commit_batch(q->commit), row, bytes);
    f->ticket = mp_commit_ticket(q->commit);
    f->recorded = row->id;
    if (f->waiting && f->wait.ticket == f->ticket)
        f->wait_to = row->id;
    if (row->due_us > 0) {
        mp_queue_add_later(f, row->id, row->due_us);
        mp_queue_arm(q);
    } else {
        f->spilled_to = row->id;
        mp_queue_recent_add(f, row, event);
        mp_queue_refill(q, f);
    }
    return f->ticket;
}

uint64_t mp_queue_spill(struct mp_queue *q, struct mp_queue_fn *f,
                        const struct mp_event *event,
                        const struct mp_slice *okey, const char *reason,
                        int64_t due_us, uint32_t hops, int64_t *id)
{
    struct mp_row row = {
        .id = q->next_id++,
        .okey = okey ? *okey : MP_S(""),
        .has_okey = okey != NULL,
        .due_us = due_us,
        .received_us = mp_queue_now(q),
        .attempt = event->attempt,
        .reason = mp_slice_str(reason),
        .hops = hops,
        .event = *event,
    };

    *id = row.id;
    return spill(f, &row);
}

uint64_t mp_queue_spill_invocation(struct mp_queue *q,
                                   const struct mp_invocation *inv,
                                   const char *reason)
{
    struct mp_row row = row_of(q, inv);

    MP_ASSERT(!inv->row);
    row.id = q->next_id++;
    row.due_us = 0;
    row.reason = mp_slice_str(reason);
    return spill(fn_of(q, inv), &row);
}

void mp_queue_gone(struct mp_queue *q, struct mp_queue_fn *f, int64_t id)
{
    struct mp_queue_entry *e = mp_queue_find(f, id);

    (void)q;
    MP_ASSERT(e && e->where == MP_ROW_MEMORY);
    mp_queue_take_out(f, e);
    (void)mp_row_delete(f, id);
}

bool mp_queue_drop(struct mp_queue *q, int64_t id)
{
    mp_list_each (at, &q->fns) {
        struct mp_queue_fn *f = mp_of(at, struct mp_queue_fn, link);
        struct mp_queue_entry *e = mp_queue_find(f, id);

        if (!e)
            continue;
        if (!is_on_disk_only(e))
            return false;
        if (e->where == MP_ROW_LATER)
            mp_queue_free_waiting(f, id);
        if (e->where == MP_ROW_RIPE)
            mp_queue_free_ripe(f, id);
        mp_queue_take_out(f, e);
        (void)mp_row_delete(f, id);
        return true;
    }
    return false;
}

unsigned mp_queue_drop_all(struct mp_queue *q, struct mp_queue_fn *f)
{
    unsigned n = 0;

    mp_queue_free_waiting(f, 0);
    while (mp_queue_first_ripe(f))
        mp_queue_free_later(mp_queue_first_ripe(f));
    /* From the end: what moves when entries are tidied up was looked at. */
    for (size_t i = f->n; i > 0; i--) {
        struct mp_queue_entry *e = &f->entries[i - 1];

        if (!is_on_disk_only(e))
            continue;
        (void)mp_row_delete(f, e->id);
        mp_queue_take_out(f, e);
        n++;
        if (i > f->n)
            i = f->n + 1;
    }
    mp_queue_arm(q);
    return n;
}
