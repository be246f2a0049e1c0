/*
 * due.h - things that happen at a time: a heap, earliest first.
 *
 * An item is embedded in what it belongs to and knows its place, so setting
 * it again or taking it out costs log n.  One heap stands for one clock (the
 * timeline, or the wall clock).  What is due at the same time comes in the
 * order in which it was set.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   one pointer an item, in an array that doubles.
 */
#ifndef MP_DUE_H
#define MP_DUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mp_due_item {
    int64_t at_us;
    uint64_t serial; /* of its setting */
    size_t place;    /* 1..; 0: not in the heap */
};

struct mp_due {
    struct mp_due_item **items; /* [1..n] */
    size_t n, cap;
    uint64_t serial;
};

void mp_due_init(struct mp_due *d);
void mp_due_fini(struct mp_due *d);
/* Put in, or move. */
void mp_due_set(struct mp_due *d, struct mp_due_item *item, int64_t at_us);
/* Take out; not being in is fine. */
void mp_due_remove(struct mp_due *d, struct mp_due_item *item);
/* The earliest, or NULL. */
static inline struct mp_due_item *mp_due_first(const struct mp_due *d)
{
    return d->n ? d->items[1] : NULL;
}

#endif
