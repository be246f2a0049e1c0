/*
 * due.c - a binary heap in an array; [0] stays unused, so that the children
 * of i are 2i and 2i + 1 and a place of 0 means "not in".
 */
#include "core/due.h"

#include <stdlib.h>

#include "core/base/why.h"

enum { DUE_MIN = 64 };

void mp_due_init(struct mp_due *d)
{
    *d = (struct mp_due){0};
}

void mp_due_fini(struct mp_due *d)
{
    free(d->items);
    mp_due_init(d);
}

static bool is_before(const struct mp_due_item *a, const struct mp_due_item *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->serial < b->serial;
}

static void put(struct mp_due *d, size_t place, struct mp_due_item *item)
{
    d->items[place] = item;
    item->place = place;
}

/* Find the item's place, from `place` on, which is free. */
static void settle(struct mp_due *d, size_t place, struct mp_due_item *item)
{
    size_t child;

    for (; place > 1 && is_before(item, d->items[place / 2]); place /= 2)
        put(d, place, d->items[place / 2]);
    for (; (child = place * 2) <= d->n; place = child) {
        if (child < d->n && is_before(d->items[child + 1], d->items[child]))
            child++;
        if (is_before(item, d->items[child]))
            break;
        put(d, place, d->items[child]);
    }
    put(d, place, item);
}

static void grow(struct mp_due *d)
{
    d->cap = d->cap ? d->cap * 2 : DUE_MIN;
    d->items = mp_realloc(d->items, d->cap * sizeof(struct mp_due_item *));
}

void mp_due_set(struct mp_due *d, struct mp_due_item *item, int64_t at_us)
{
    item->at_us = at_us;
    item->serial = d->serial++;
    if (item->place) {
        MP_ASSERT(item->place <= d->n && d->items[item->place] == item);
        settle(d, item->place, item);
        return;
    }
    if (d->n + 1 >= d->cap)
        grow(d);
    d->n++;
    settle(d, d->n, item);
}

void mp_due_remove(struct mp_due *d, struct mp_due_item *item)
{
    size_t place = item->place;
    struct mp_due_item *last;

    if (!place)
        return;
    MP_ASSERT(place <= d->n && d->items[place] == item);
    item->place = 0;
    last = d->items[d->n--];
    if (last != item)
        settle(d, place, last);
}
