/*
 * hash.h - SipHash-2-4 with 128 bits (Aumasson and Bernstein, "SipHash: a
 * fast short-input PRF", 2012), for ids, order keys and redelivery records.
 *
 * With a key nobody outside knows, peers can't choose inputs that collide.
 *
 * Thread   any.  Memory  none beyond the structures given.
 */
#ifndef MP_BASE_HASH_H
#define MP_BASE_HASH_H

#include "core/base/slice.h"

struct mp_hash {
    uint64_t lo, hi;
};

struct mp_hash_key {
    uint64_t k0, k1;
};

/* Feed parts with add; each add is also told apart by its length. */
struct mp_hasher {
    uint64_t v0, v1, v2, v3, total;
    unsigned char tail[8];
    unsigned tail_len;
};

void mp_hasher_init(struct mp_hasher *h, const struct mp_hash_key *key);
void mp_hasher_add(struct mp_hasher *h, struct mp_slice bytes);
void mp_hasher_add_u64(struct mp_hasher *h, uint64_t number);
struct mp_hash mp_hasher_end(struct mp_hasher *h);

/* 64 bits of one slice. */
uint64_t mp_hash64(const struct mp_hash_key *key, struct mp_slice bytes);

static inline bool mp_hash_eq(struct mp_hash a, struct mp_hash b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

#endif
