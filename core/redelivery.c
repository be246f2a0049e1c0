/*
 * redelivery.c - a hash table from packet id to what became of the message.
 *
 * Linear probing; slots are taken out only when the broker proves many of
 * them at once, and then the survivors move to a table of their size.
 */
#include "core/redelivery.h"

#include <stdlib.h>

#include "core/base/why.h"

enum { SLOTS_MIN = 256 };

struct mp_taken {
    uint64_t hash;
    uint32_t serial;
    uint32_t flush; /* that writes its acknowledgement; 0: not settled here */
    uint16_t id;    /* packet id; 0: the slot is free */
    bool in_work, here;
};

void mp_redelivery_init(struct mp_redelivery *r)
{
    *r = (struct mp_redelivery){.flush = 1};
}

void mp_redelivery_fini(struct mp_redelivery *r)
{
    free(r->slots);
    mp_redelivery_init(r);
}

void mp_redelivery_clear(struct mp_redelivery *r)
{
    uint32_t serial = r->serial;

    mp_redelivery_fini(r);
    r->serial = serial; /* tickets of old inputs must not meet new ones */
}

/* The slot of id, or the free one where it belongs. */
static struct mp_taken *slot_of(const struct mp_redelivery *r, uint16_t id)
{
    uint32_t at = (id * UINT32_C(40503)) & (r->cap - 1);

    while (r->slots[at].id && r->slots[at].id != id)
        at = (at + 1) & (r->cap - 1);
    return &r->slots[at];
}

/* Move what is in use to a table of cap slots. */
static void rebuild(struct mp_redelivery *r, uint32_t cap)
{
    struct mp_taken *old = r->slots;
    uint32_t n = r->cap;

    r->slots = mp_zalloc(cap * sizeof(*r->slots));
    r->cap = cap;
    for (uint32_t i = 0; i < n; i++)
        if (old[i].id)
            *slot_of(r, old[i].id) = old[i];
    free(old);
}

static struct mp_taken *insert(struct mp_redelivery *r, uint16_t id)
{
    struct mp_taken *t;

    if (!r->cap)
        rebuild(r, SLOTS_MIN);
    t = slot_of(r, id);
    if (!t->id) {
        if ((r->used + 1) * 2 > r->cap) {
            rebuild(r, r->cap * 2);
            t = slot_of(r, id);
        }
        r->used++;
    } else if (!t->here) {
        r->carried--;
    } else if (t->flush) {
        r->settled--;
    }
    return t;
}

static struct mp_taken *find(const struct mp_redelivery *r, uint16_t id)
{
    struct mp_taken *t = r->cap ? slot_of(r, id) : NULL;

    return t && t->id ? t : NULL;
}

/* Has its acknowledgement been written on this connection? */
static bool is_flushed(const struct mp_redelivery *r, const struct mp_taken *t)
{
    return t->flush && t->flush < r->flush;
}

/* A carried slot's message came again. */
static enum mp_again came_again(struct mp_redelivery *r, struct mp_taken *t)
{
    r->carried--;
    t->here = true;
    if (t->in_work)
        return MP_AGAIN_IN_WORK;
    t->flush = r->flush;
    r->settled++;
    return MP_AGAIN_SETTLED;
}

enum mp_again mp_redelivery_take(struct mp_redelivery *r, uint16_t packet_id,
                                 uint64_t hash, bool dup, uint64_t *ticket)
{
    struct mp_taken *t = find(r, packet_id);

    MP_ASSERT(packet_id != 0);
    *ticket = 0;
    if (t && t->hash == hash) {
        if (!t->here && dup)
            return came_again(r, t);
        /* An id may not be reused before its acknowledgement left. */
        if (t->here && !is_flushed(r, t))
            return t->in_work ? MP_AGAIN_HELD : MP_AGAIN_SETTLED;
    }
    if (t && t->here && t->in_work)
        return MP_AGAIN_CLASH;
    t = insert(r, packet_id);
    *t = (struct mp_taken){
        .hash = hash,
        .serial = ++r->serial,
        .id = packet_id,
        .in_work = true,
        .here = true,
    };
    *ticket = (uint64_t)t->serial << 16 | packet_id;
    return MP_AGAIN_NO;
}

bool mp_redelivery_settle(struct mp_redelivery *r, uint64_t ticket)
{
    struct mp_taken *t = find(r, (uint16_t)ticket);

    if (!t || t->serial != (uint32_t)(ticket >> 16) || !t->in_work)
        return false;
    t->in_work = false;
    if (!t->here)
        return false;
    t->flush = r->flush;
    r->settled++;
    return true;
}

uint32_t mp_redelivery_flushed(struct mp_redelivery *r)
{
    return r->flush++;
}

void mp_redelivery_proven(struct mp_redelivery *r, uint32_t flush, bool carried)
{
    uint32_t left = 0, cap = SLOTS_MIN;

    for (uint32_t i = 0; i < r->cap; i++) {
        struct mp_taken *t = &r->slots[i];

        if (!t->id)
            continue;
        if (t->here ? t->flush && t->flush <= flush : carried) {
            if (t->here)
                r->settled--;
            else
                r->carried--;
            t->id = 0;
            continue;
        }
        left++;
    }
    r->used = left;
    while (cap < left * 4)
        cap *= 2;
    /* Probing needs the survivors moved even when the size stays. */
    if (r->cap)
        rebuild(r, cap);
}

void mp_redelivery_lost(struct mp_redelivery *r)
{
    for (uint32_t i = 0; i < r->cap; i++) {
        r->slots[i].here = false;
        r->slots[i].flush = 0;
    }
    r->carried = r->used;
    r->settled = 0;
}
