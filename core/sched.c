/*
 * sched.c - queues, order keys and turns.
 *
 * An invocation is either startable, then it is in its slot's ready list, or
 * it waits behind the one that holds its order key.  A slot with ready
 * invocations is in the ring.  So the three structures answer everything:
 * the key says who may start, the ready list who was first, the ring whose
 * turn it is.
 */
#include "core/sched.h"

#include <stdlib.h>
#include <sys/random.h>

#include "core/base/hash.h"

/* ---- order keys: a hash table with chains ---- */

struct mp_order_key {
    struct mp_order_key *chain;
    struct mp_slot *slot;
    uint64_t hash;
    struct mp_link behind; /* invocations that wait, oldest first */
    uint32_t len;
    char text[];
};

static struct {
    struct mp_order_key **bucket;
    size_t n_buckets, used; /* n_buckets is a power of two */
    struct mp_hash_key seed;
} keys;

static void keys_grow(void)
{
    size_t n = keys.n_buckets ? keys.n_buckets * 2 : 256;
    struct mp_order_key **bucket = mp_zalloc(n * sizeof(struct mp_order_key *));

    if (!keys.n_buckets &&
        getrandom(&keys.seed, sizeof keys.seed, 0) != sizeof keys.seed)
        keys.seed.k0 = (uintptr_t)bucket; /* weaker, still works */
    for (size_t i = 0; i < keys.n_buckets; i++) {
        struct mp_order_key *k = keys.bucket[i], *chain;

        for (; k; k = chain) {
            chain = k->chain;
            k->chain = bucket[k->hash & (n - 1)];
            bucket[k->hash & (n - 1)] = k;
        }
    }
    free(keys.bucket);
    keys.bucket = bucket;
    keys.n_buckets = n;
}

/* The key's entry; fresh: it was made now and nobody holds it yet. */
static struct mp_order_key *key_take(struct mp_slot *slot, struct mp_slice text,
                                     bool *fresh)
{
    struct mp_order_key *k, **at;
    uint64_t hash;

    if (keys.used >= keys.n_buckets)
        keys_grow();
    hash = mp_hash64(&keys.seed, text) ^ (uintptr_t)slot;
    at = &keys.bucket[hash & (keys.n_buckets - 1)];
    for (k = *at; k; k = k->chain)
        if (k->hash == hash && k->slot == slot &&
            mp_slice_eq(mp_slice(k->text, k->len), text)) {
            *fresh = false;
            return k;
        }
    k = mp_alloc(sizeof *k + text.len);
    k->chain = *at;
    *at = k;
    k->slot = slot;
    k->hash = hash;
    k->len = (uint32_t)text.len;
    if (text.len)
        memcpy(k->text, text.ptr, text.len);
    mp_list_init(&k->behind);
    keys.used++;
    *fresh = true;
    return k;
}

static void key_drop(struct mp_order_key *gone)
{
    struct mp_order_key **at = &keys.bucket[gone->hash & (keys.n_buckets - 1)];

    while (*at != gone)
        at = &(*at)->chain;
    *at = gone->chain;
    keys.used--;
    free(gone);
}

/* ---- queues ---- */

void mp_sched_init(struct mp_sched *s)
{
    mp_list_init(&s->ring);
    s->queued = s->running = 0;
}

void mp_slot_init(struct mp_slot *slot, const char *name)
{
    *slot = (struct mp_slot){.cost_us = 200};
    strncpy(slot->name, name, MP_NAME_MAX);
    mp_list_init(&slot->link);
    mp_list_init(&slot->ring);
    mp_list_init(&slot->ready);
    mp_list_init(&slot->held);
    mp_list_init(&slot->blocked);
}

bool mp_sched_has_room(const struct mp_slot *slot, uint64_t bytes)
{
    const struct mp_function *fn = slot->live->fn;

    return slot->n_waiting < fn->queue &&
           slot->waiting_bytes + bytes <= fn->queue_bytes;
}

bool mp_sched_has_room_for(const struct mp_slot *slot, unsigned events,
                           uint64_t bytes)
{
    const struct mp_function *fn = slot->live->fn;

    return slot->n_waiting == 0 ||
           (slot->n_waiting + events <= fn->queue &&
            slot->waiting_bytes + bytes <= fn->queue_bytes);
}

static void count_in(struct mp_sched *s, struct mp_invocation *inv)
{
    inv->stage = MP_QUEUED;
    inv->slot->n_waiting += mp_invocation_events(inv);
    inv->slot->waiting_bytes += mp_invocation_bytes(inv);
    s->queued++;
}

static void count_out(struct mp_sched *s, struct mp_invocation *inv)
{
    inv->slot->n_waiting -= mp_invocation_events(inv);
    inv->slot->waiting_bytes -= mp_invocation_bytes(inv);
    s->queued--;
}

void mp_sched_lighten(struct mp_sched *s, struct mp_invocation *inv,
                      unsigned events, uint64_t bytes)
{
    (void)s;
    MP_ASSERT(inv->stage == MP_QUEUED && inv->slot->n_waiting >= events);
    inv->slot->n_waiting -= events;
    inv->slot->waiting_bytes -= bytes;
}

static void into_ring(struct mp_sched *s, struct mp_slot *slot)
{
    if (mp_list_empty(&slot->ring))
        mp_list_append(&s->ring, &slot->ring);
}

void mp_sched_add(struct mp_sched *s, struct mp_invocation *inv)
{
    struct mp_slot *slot = inv->slot;
    bool fresh = true;

    count_in(s, inv);
    if (mp_invocation_is_ordered(inv))
        inv->order = key_take(slot, mp_invocation_okey(inv), &fresh);
    inv->behind = !fresh;
    if (inv->behind) {
        mp_list_append(&inv->order->behind, &inv->link);
        return;
    }
    mp_list_append(&slot->ready, &inv->link);
    into_ring(s, slot);
}

void mp_sched_again(struct mp_sched *s, struct mp_invocation *inv)
{
    count_in(s, inv);
    mp_list_prepend(&inv->slot->ready, &inv->link);
    into_ring(s, inv->slot);
}

void mp_sched_add_next(struct mp_sched *s, struct mp_invocation *inv,
                       struct mp_invocation *holder)
{
    if (!holder->order) {
        mp_sched_again(s, inv);
        return;
    }
    MP_ASSERT(!holder->behind);
    count_in(s, inv);
    inv->order = holder->order;
    inv->behind = true;
    mp_list_prepend(&inv->order->behind, &inv->link);
}

static void leave_ready(struct mp_sched *s, struct mp_invocation *inv)
{
    struct mp_slot *slot = inv->slot;

    mp_list_unlink(&inv->link);
    count_out(s, inv);
    if (mp_list_empty(&slot->ready)) {
        mp_list_unlink(&slot->ring);
        slot->deficit_us = 0;
    }
}

void mp_sched_release(struct mp_sched *s, struct mp_invocation *inv)
{
    struct mp_order_key *order = inv->order;
    struct mp_link *next;

    if (!order)
        return;
    inv->order = NULL;
    if (mp_list_empty(&order->behind)) {
        key_drop(order);
        return;
    }
    next = order->behind.next; /* takes over the key */
    mp_of(next, struct mp_invocation, link)->behind = false;
    mp_list_unlink(next);
    mp_list_append(&inv->slot->ready, next);
    into_ring(s, inv->slot);
}

bool mp_sched_hold(struct mp_sched *s, struct mp_invocation *inv)
{
    MP_ASSERT(inv->stage == MP_QUEUED);
    if (inv->behind)
        return false;
    leave_ready(s, inv);
    return true;
}

void mp_sched_remove(struct mp_sched *s, struct mp_invocation *inv)
{
    MP_ASSERT(inv->stage == MP_QUEUED);
    if (inv->behind) {
        mp_list_unlink(&inv->link);
        count_out(s, inv);
        inv->order = NULL;
        return;
    }
    leave_ready(s, inv);
    mp_sched_release(s, inv);
}

struct mp_invocation *mp_sched_oldest(struct mp_slot *slot)
{
    if (mp_list_empty(&slot->ready))
        return NULL;
    return mp_of(slot->ready.next, struct mp_invocation, link);
}

/* ---- turns ---- */

static int64_t quantum_us(const struct mp_slot *slot)
{
    static const int64_t by_priority[] = {500, 2000, 8000}; /* 1 : 4 : 16 */

    return by_priority[slot->live ? slot->live->fn->priority
                                  : MP_PRIORITY_NORMAL];
}

/*
 * scale.max bounds what runs or waits at once.  A worker runs one at a time,
 * so of a function that never waits more may be handed over than may run; of
 * one that does, each may become a waiting instance.  (The pool takes back
 * what starts to wait beyond the bound.)
 */
static bool may_start(struct mp_slot *slot, int64_t now_us)
{
    unsigned at_once = slot->waits ? slot->n_running : slot->n_suspended;

    if (!slot->live)
        return true; /* to be dropped */
    return slot->n_reading < MP_READING_MAX &&
           at_once < slot->live->fn->scale_max &&
           mp_breaker_may_start(&slot->breaker, now_us);
}

static struct mp_invocation *start(struct mp_sched *s, struct mp_slot *slot)
{
    struct mp_invocation *inv = mp_sched_oldest(slot);
    int64_t floor_us = -8 * quantum_us(slot);

    slot->deficit_us -= slot->cost_us;
    if (slot->deficit_us < floor_us)
        slot->deficit_us = floor_us; /* one slow run is forgiven in time */
    leave_ready(s, inv);
    inv->stage = MP_RUNNING;
    slot->n_running++;
    s->running++;
    mp_breaker_started(&slot->breaker);
    return inv;
}

struct mp_invocation *
mp_sched_next(struct mp_sched *s, int64_t now_us,
              bool (*can)(struct mp_slot *slot, void *arg), void *arg)
{
    struct mp_slot *slot;
    bool eligible;

    /* At the floor a slot needs nine credits to be out of debt. */
    for (int round = 0; round < 10; round++) {
        eligible = false;
        mp_list_each (at, &s->ring) {
            slot = mp_of(at, struct mp_slot, ring);
            if (!may_start(slot, now_us) || !can(slot, arg))
                continue;
            if (slot->deficit_us > 0)
                return start(s, slot);
            eligible = true;
        }
        if (!eligible)
            return NULL;
        mp_list_each (at, &s->ring) {
            slot = mp_of(at, struct mp_slot, ring);
            if (slot->deficit_us <= 0)
                slot->deficit_us += quantum_us(slot);
        }
    }
    return NULL;
}

void mp_sched_stopped(struct mp_sched *s, struct mp_invocation *inv)
{
    s->running--;
    inv->slot->n_running--;
}

int64_t mp_sched_next_probe(struct mp_sched *s, int64_t now_us)
{
    int64_t first = INT64_MAX;

    mp_list_each (at, &s->ring) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, ring);

        if (slot->breaker.state == MP_BREAKER_OPEN &&
            slot->breaker.until_us > now_us && slot->breaker.until_us < first)
            first = slot->breaker.until_us;
    }
    return first;
}
