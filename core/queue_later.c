/*
 * queue_later.c - sends with a delay: their ids in a heap, by time.
 *
 * One that comes due goes behind what was spilled before that moment (behind),
 * and before what is spilled after.
 */
#include "core/queue_impl.h"

#include <stdlib.h>

enum {
    AGAIN_US = 1000000,    /* after a read that failed */
    SLEEP_MAX_MS = 3600000 /* of the timer; it looks again then */
};

void mp_queue_add_later(struct mp_queue_fn *f, int64_t id, int64_t due_us)
{
    struct mp_queue_later *l = mp_zalloc(sizeof *l);

    l->f = f;
    l->id = id;
    mp_list_init(&l->link);
    mp_due_set(&f->queue->later, &l->item, due_us);
}

void mp_queue_free_later(struct mp_queue_later *l)
{
    mp_due_remove(&l->f->queue->later, &l->item);
    mp_list_unlink(&l->link);
    free(l);
}

struct mp_queue_later *mp_queue_first_ripe(const struct mp_queue_fn *f)
{
    return mp_list_empty(&f->ripe)
               ? NULL
               : mp_of(f->ripe.next, struct mp_queue_later, link);
}

void mp_queue_free_ripe(struct mp_queue_fn *f, int64_t id)
{
    mp_list_each_safe (at, &f->ripe) {
        struct mp_queue_later *l = mp_of(at, struct mp_queue_later, link);

        if (l->id != id)
            continue;
        mp_queue_free_later(l);
        return;
    }
}

void mp_queue_free_waiting(struct mp_queue_fn *f, int64_t id)
{
    struct mp_due *d = &f->queue->later;
    struct mp_queue_later **mine =
        mp_alloc((d->n + 1) * sizeof(struct mp_queue_later *));
    size_t n = 0;

    for (size_t i = 1; i <= d->n; i++) {
        struct mp_queue_later *l =
            mp_of(d->items[i], struct mp_queue_later, item);

        if (l->f == f && (id == 0 || l->id == id))
            mine[n++] = l;
    }
    while (n)
        mp_queue_free_later(mine[--n]);
    free(mine);
}

static void on_timer(uv_timer_t *timer);

void mp_queue_arm(struct mp_queue *q)
{
    struct mp_due_item *first = mp_due_first(&q->later);
    int64_t wait_us = SLEEP_MAX_MS * MP_MS;

    if (!first && !q->again && !q->soon) {
        uv_timer_stop(&q->timer);
        return;
    }
    if (first && first->at_us - mp_queue_now(q) < wait_us)
        wait_us = first->at_us - mp_queue_now(q);
    if (q->again && wait_us > AGAIN_US)
        wait_us = AGAIN_US;
    if (wait_us < 0 || q->soon)
        wait_us = 0;
    uv_update_time(q->loop);
    uv_timer_start(&q->timer, on_timer,
                   (uint64_t)((wait_us + MP_MS - 1) / MP_MS), 0);
}

/* Their turn comes behind what is spilled now. */
static void ripen(struct mp_queue *q)
{
    int64_t now = mp_queue_now(q);
    struct mp_due_item *first;

    while ((first = mp_due_first(&q->later)) && first->at_us <= now) {
        struct mp_queue_later *l = mp_of(first, struct mp_queue_later, item);
        struct mp_queue_entry *e = mp_queue_find(l->f, l->id);

        MP_ASSERT(e && e->where == MP_ROW_LATER);
        e->where = MP_ROW_RIPE;
        l->behind = l->f->spilled ? l->f->spilled_to : 0;
        mp_due_remove(&q->later, first);
        mp_list_append(&l->f->ripe, &l->link);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct mp_queue *q = timer->data;

    q->again = q->soon = false;
    ripen(q);
    mp_list_each (at, &q->fns) {
        struct mp_queue_fn *f = mp_of(at, struct mp_queue_fn, link);

        mp_queue_recent_take(f);
        mp_queue_refill(q, f);
    }
    mp_queue_arm(q);
}
