/*
 * queue_recent.c - what was spilled last is still in memory.
 *
 * Reading a row back takes a commit and a page.  Were every row read, a
 * function whose inputs keep coming would never be done with it: each time
 * some have come meanwhile, and go behind, onto the disk, although its worker
 * has long caught up.  So the last rows that were spilled are kept here as
 * well, and when it is their turn they need no reading: all that waits is
 * handed over in one go, nothing is spilled then, and what comes next goes to
 * memory.
 *
 *     entries   1 2 3 4 5 6 7 8 9        first spilled: 4, read from disk
 *               m m m s s s s s s
 *     recent              6 7 8 9        when 6 is the first: from here
 *
 * They are the end of what is spilled, in order, but for what was dropped or
 * read meanwhile.  Their rows are on their way to the disk or there, so that
 * letting one go from here costs no more than reading it.
 */
#include "core/queue_impl.h"

#include <stdlib.h>

enum {
    RECENT_ROWS = 256,       /* as many as a page */
    RECENT_BYTES = 256 << 10 /* a function; what is larger is read */
};

struct recent {
    struct mp_link link;
    struct mp_row row; /* its event is still bytes */
    struct mp_slice event;
    size_t len;
    char bytes[];
};

static struct recent *first_of(const struct mp_queue_fn *f)
{
    return mp_list_empty(&f->recent)
               ? NULL
               : mp_of(f->recent.next, struct recent, link);
}

static void unlink_first(struct mp_queue_fn *f, struct recent *r)
{
    mp_list_unlink(&r->link);
    f->n_recent--;
    f->recent_bytes -= r->len;
}

static void free_first(struct mp_queue_fn *f)
{
    struct recent *r = first_of(f);

    unlink_first(f, r);
    free(r);
}

void mp_queue_recent_forget(struct mp_queue_fn *f)
{
    while (first_of(f))
        free_first(f);
}

static struct mp_slice keep(struct mp_slice s, char **at)
{
    struct mp_slice kept = {*at, s.len};

    if (!s.ptr)
        return s;
    memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return kept;
}

void mp_queue_recent_add(struct mp_queue_fn *f, const struct mp_row *row,
                         struct mp_slice event)
{
    size_t len = row->okey.len + row->reason.len + event.len;
    struct recent *r;
    char *at;

    if (!f->slot) /* nobody takes them for now */
        return;
    if (!event.ptr || len > RECENT_BYTES) {
        mp_queue_recent_forget(f);
        return;
    }
    r = mp_alloc(sizeof *r + len);
    at = r->bytes;
    *r = (struct recent){.row = {.id = row->id,
                                 .okey = keep(row->okey, &at),
                                 .has_okey = row->has_okey,
                                 .due_us = row->due_us,
                                 .attempt = row->attempt,
                                 .reason = keep(row->reason, &at)},
                         .event = keep(event, &at),
                         .len = len};
    mp_list_append(&f->recent, &r->link);
    f->n_recent++;
    f->recent_bytes += len;
    while (f->n_recent > RECENT_ROWS || f->recent_bytes > RECENT_BYTES)
        free_first(f);
}

/* NULL: what is next must be read, or nothing is. */
static struct recent *next(struct mp_queue_fn *f)
{
    struct mp_queue_entry *e = mp_queue_first_spilled(f);

    while (first_of(f) && (!e || first_of(f)->row.id < e->id))
        free_first(f);
    if (!first_of(f) || first_of(f)->row.id != e->id || mp_queue_is_ripe(f))
        return NULL;
    return first_of(f);
}

bool mp_queue_recent_is_next(struct mp_queue_fn *f)
{
    return next(f) != NULL;
}

void mp_queue_recent_take(struct mp_queue_fn *f)
{
    const struct mp_queue_user *user = &f->queue->user;
    struct recent *r;

    /* Whatever `found` does to the queue: look anew each time. */
    while (f->slot && !f->page && (r = next(f)) &&
           user->room(user->arg, f->slot) > 0) {
        unlink_first(f, r);
        mp_queue_hand_over(f, &r->row, r->event, false);
        free(r);
    }
}
