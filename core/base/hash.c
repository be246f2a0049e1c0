/*
 * hash.c - SipHash-2-4-128, streaming.
 */
#include "core/base/hash.h"

static inline uint64_t rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_round(struct mp_hasher *h)
{
    h->v0 += h->v1;
    h->v1 = rotl(h->v1, 13) ^ h->v0;
    h->v0 = rotl(h->v0, 32);
    h->v2 += h->v3;
    h->v3 = rotl(h->v3, 16) ^ h->v2;
    h->v0 += h->v3;
    h->v3 = rotl(h->v3, 21) ^ h->v0;
    h->v2 += h->v1;
    h->v1 = rotl(h->v1, 17) ^ h->v2;
    h->v2 = rotl(h->v2, 32);
}

static inline uint64_t load64(const void *from)
{
    const unsigned char *p = from;
    uint64_t x = 0;

    for (unsigned i = 0; i < 8; i++)
        x |= (uint64_t)p[i] << 8 * i; /* compiled to one load */
    return x;
}

static inline void absorb(struct mp_hasher *h, uint64_t word)
{
    h->v3 ^= word;
    sip_round(h);
    sip_round(h);
    h->v0 ^= word;
}

void mp_hasher_init(struct mp_hasher *h, const struct mp_hash_key *key)
{
    *h = (struct mp_hasher){
        .v0 = key->k0 ^ UINT64_C(0x736f6d6570736575),
        .v1 = key->k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
        .v2 = key->k0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = key->k1 ^ UINT64_C(0x7465646279746573),
    };
}

static void feed(struct mp_hasher *h, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;

    h->total += len;
    while (len) {
        if (h->tail_len == 0 && len >= 8) {
            absorb(h, load64(p));
            p += 8;
            len -= 8;
            continue;
        }
        h->tail[h->tail_len++] = *p++;
        len--;
        if (h->tail_len == 8) {
            absorb(h, load64(h->tail));
            h->tail_len = 0;
        }
    }
}

void mp_hasher_add_u64(struct mp_hasher *h, uint64_t number)
{
    unsigned char bytes[8];

    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> 8 * i);
    feed(h, bytes, sizeof bytes);
}

void mp_hasher_add(struct mp_hasher *h, struct mp_slice bytes)
{
    mp_hasher_add_u64(h, bytes.len);
    feed(h, bytes.ptr, bytes.len);
}

struct mp_hash mp_hasher_end(struct mp_hasher *h)
{
    struct mp_hash out;
    uint64_t last = h->total << 56;

    for (unsigned i = 0; i < h->tail_len; i++)
        last |= (uint64_t)h->tail[i] << 8 * i;
    absorb(h, last);
    h->v2 ^= 0xee;
    for (int i = 0; i < 4; i++)
        sip_round(h);
    out.lo = h->v0 ^ h->v1 ^ h->v2 ^ h->v3;
    h->v1 ^= 0xdd;
    for (int i = 0; i < 4; i++)
        sip_round(h);
    out.hi = h->v0 ^ h->v1 ^ h->v2 ^ h->v3;
    return out;
}

uint64_t mp_hash64(const struct mp_hash_key *key, struct mp_slice bytes)
{
    struct mp_hasher h;

    mp_hasher_init(&h, key);
    feed(&h, bytes.ptr, bytes.len);
    return mp_hasher_end(&h).lo;
}
