/*
 * lru.c - a chained hash table whose entries are numbers.
 *
 * Entries lie in pages that never move, so that lists may lead through them;
 * numbers instead of pointers halve what the chains cost.  The table doubles
 * when there are more entries than buckets.
 */
#include "core/lru.h"

#include <stdlib.h>

enum { PAGE = 16, BUCKETS_MIN = 8 };

struct head {
    struct mp_hash key;
    uint32_t chain; /* next of the bucket, or of the unused */
    uint32_t older, newer;
};

/* The caller's bytes begin where 8 divides. */
enum { HEAD = (sizeof(struct head) + 7) / 8 * 8 };

void mp_lru_init(struct mp_lru *l, uint32_t max, size_t bytes)
{
    MP_ASSERT(max > 0);
    *l = (struct mp_lru){.max = max};
    l->bytes = (uint32_t)((HEAD + bytes + 7) / 8 * 8);
}

void mp_lru_fini(struct mp_lru *l)
{
    for (uint32_t i = 0; i * PAGE < l->made; i++)
        free(l->pages[i]);
    free(l->pages);
    free(l->buckets);
    l->pages = NULL;
    l->buckets = NULL;
    l->n = l->made = l->n_buckets = 0;
    l->oldest = l->newest = l->unused = 0;
}

static void *entry(const struct mp_lru *l, uint32_t number)
{
    MP_ASSERT(number > 0 && number <= l->made);
    number--;
    return l->pages[number / PAGE] + (size_t)(number % PAGE) * l->bytes;
}

static struct head *head(const struct mp_lru *l, uint32_t number)
{
    return entry(l, number);
}

void *mp_lru_at(const struct mp_lru *l, uint32_t number)
{
    return (char *)entry(l, number) + HEAD;
}

static uint32_t *bucket(const struct mp_lru *l, struct mp_hash key)
{
    return &l->buckets[key.lo & (l->n_buckets - 1)];
}

uint32_t mp_lru_find(const struct mp_lru *l, struct mp_hash key)
{
    uint32_t at = l->n_buckets ? *bucket(l, key) : 0;

    while (at && !mp_hash_eq(head(l, at)->key, key))
        at = head(l, at)->chain;
    return at;
}

/* ---- by age ---- */

static void append(struct mp_lru *l, uint32_t number)
{
    struct head *h = head(l, number);

    h->older = l->newest;
    h->newer = 0;
    if (l->newest)
        head(l, l->newest)->newer = number;
    else
        l->oldest = number;
    l->newest = number;
}

static void take_out(struct mp_lru *l, const struct head *h)
{
    if (h->older)
        head(l, h->older)->newer = h->newer;
    else
        l->oldest = h->newer;
    if (h->newer)
        head(l, h->newer)->older = h->older;
    else
        l->newest = h->older;
}

void mp_lru_seen(struct mp_lru *l, uint32_t number)
{
    if (l->newest == number)
        return;
    take_out(l, head(l, number));
    append(l, number);
}

/* ---- coming and going ---- */

static void grow_table(struct mp_lru *l)
{
    free(l->buckets);
    l->n_buckets = l->n_buckets ? l->n_buckets * 2 : BUCKETS_MIN;
    l->buckets = mp_zalloc(l->n_buckets * sizeof *l->buckets);
    for (uint32_t at = l->oldest; at; at = head(l, at)->newer) {
        uint32_t *b = bucket(l, head(l, at)->key);

        head(l, at)->chain = *b;
        *b = at;
    }
}

static uint32_t number_for_new(struct mp_lru *l)
{
    uint32_t number = l->unused;

    if (number) {
        l->unused = head(l, number)->chain;
        return number;
    }
    if (l->made % PAGE == 0) {
        uint32_t page = l->made / PAGE;

        l->pages = mp_realloc(l->pages, (page + 1) * sizeof *l->pages);
        l->pages[page] = mp_alloc((size_t)PAGE * l->bytes);
    }
    return ++l->made;
}

uint32_t mp_lru_add(struct mp_lru *l, struct mp_hash key)
{
    uint32_t number, *b;

    MP_ASSERT(l->n < l->max);
    if (l->n == l->n_buckets)
        grow_table(l);
    number = number_for_new(l);
    memset(entry(l, number), 0, l->bytes);
    b = bucket(l, key);
    head(l, number)->key = key;
    head(l, number)->chain = *b;
    *b = number;
    append(l, number);
    l->n++;
    return number;
}

void mp_lru_forget(struct mp_lru *l, uint32_t number)
{
    struct head *h = head(l, number);
    uint32_t *at = bucket(l, h->key);

    while (*at != number)
        at = &head(l, *at)->chain;
    *at = h->chain;
    take_out(l, h);
    h->chain = l->unused;
    l->unused = number;
    l->n--;
}
