/*
 * lru.h - so many memories by key, and which was seen least recently.
 *
 * A memory is a few bytes of the caller's, zeroed at first, that stay where
 * they are.  Its key is a hash of 128 bits, made with a secret, so that it
 * stands for the text: two texts with one hash don't happen.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   a memory's bytes, rounded up to 8, and 32 for itself, and 4 to 8 in
 *          the table; grows 16 memories at a time and is kept until fini.
 */
#ifndef MP_LRU_H
#define MP_LRU_H

#include "core/base/hash.h"

struct mp_lru {
    uint32_t bytes; /* of one, head included */
    uint32_t max, n;
    uint32_t oldest, newest; /* numbers from 1; 0: none */
    uint32_t unused;         /* chain of numbers given back */
    uint32_t made;           /* numbers ever given */
    uint32_t *buckets, n_buckets;
    char **pages;
};

/* At most max (at least 1) of so many bytes each. */
void mp_lru_init(struct mp_lru *l, uint32_t max, size_t bytes);
void mp_lru_fini(struct mp_lru *l);

/* Its number; 0: there is none. */
uint32_t mp_lru_find(const struct mp_lru *l, struct mp_hash key);
/* A new one, the newest; there must be room (n < max). */
uint32_t mp_lru_add(struct mp_lru *l, struct mp_hash key);
/* It was seen: now it is the newest. */
void mp_lru_seen(struct mp_lru *l, uint32_t number);
void mp_lru_forget(struct mp_lru *l, uint32_t number);

/* The caller's bytes of a memory; aligned to 8. */
void *mp_lru_at(const struct mp_lru *l, uint32_t number);

#endif
