/*
 * redelivery.c - a hash table from sequence number to what became of the
 * message.
 *
 * Linear probing; slots are taken out when the broker proves many of them at
 * once, and then the survivors move to a table of their size, or, when the
 * host loses an input, one by one.
 *
 * Notes lie in one array and are chained by their places in it, so that the
 * common slot, which has none, pays four bytes for them.
 */
#include "core/redelivery.h"

#include <stdlib.h>

#include "core/base/why.h"

enum { SLOTS_MIN = 256, NOTES_MIN = 64, DONE_MIN = 8 };

struct mp_taken {
    uint64_t hash;
    uint32_t serial;
    uint32_t flush; /* that writes its acknowledgement; 0: not settled here */
    uint32_t notes; /* chain of functions that are done; 0: none */
    uint32_t id;    /* sequence number; 0: the slot is free */
    bool in_work : 1, here : 1;
    bool partly : 1; /* carried: runs for the functions that aren't done */
};

/* A function that is done with a slot's message, and where that is kept. */
struct mp_noted {
    uint64_t function;
    int64_t row;
    uint32_t next;
};

void mp_redelivery_init(struct mp_redelivery *r, struct mp_records *records,
                        const char *lane)
{
    *r = (struct mp_redelivery){
        .records = records, .lane = lane, .n_notes = 1, .flush = 1};
}

void mp_redelivery_fini(struct mp_redelivery *r)
{
    free(r->slots);
    free(r->notes);
    free(r->done);
    mp_redelivery_init(r, r->records, r->lane);
}

void mp_redelivery_clear(struct mp_redelivery *r)
{
    uint32_t serial = r->serial;

    mp_redelivery_fini(r);
    r->serial = serial; /* tickets of old inputs must not meet new ones */
}

static uint32_t home_of(const struct mp_redelivery *r, uint32_t id)
{
    return (id * UINT32_C(2654435769) >> 8) & (r->cap - 1);
}

/* The slot of id, or the free one where it belongs. */
static struct mp_taken *slot_of(const struct mp_redelivery *r, uint32_t id)
{
    uint32_t at = home_of(r, id);

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

/* ---- notes ---- */

static void notes_add(struct mp_redelivery *r, struct mp_taken *t,
                      uint64_t function, int64_t row)
{
    uint32_t at = r->unused;

    if (at) {
        r->unused = r->notes[at].next;
    } else {
        if (r->n_notes >= r->cap_notes) {
            r->cap_notes = r->cap_notes ? r->cap_notes * 2 : NOTES_MIN;
            r->notes = mp_realloc(r->notes, r->cap_notes * sizeof(*r->notes));
        }
        at = r->n_notes++;
    }
    r->notes[at] = (struct mp_noted){function, row, t->notes};
    t->notes = at;
}

static bool notes_has(const struct mp_redelivery *r, const struct mp_taken *t,
                      uint64_t function)
{
    for (uint32_t at = t->notes; at; at = r->notes[at].next)
        if (r->notes[at].function == function)
            return true;
    return false;
}

/* The slot's message will not come again. */
static void notes_let_go(struct mp_redelivery *r, struct mp_taken *t)
{
    while (t->notes) {
        struct mp_noted *n = &r->notes[t->notes];
        uint32_t next = n->next;

        mp_records_let_go(r->records, n->row);
        n->next = r->unused;
        r->unused = t->notes;
        t->notes = next;
    }
}

/* ---- slots ---- */

static struct mp_taken *insert(struct mp_redelivery *r, uint32_t id)
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
    } else {
        if (!t->here)
            r->carried--;
        else if (t->flush)
            r->settled--;
        notes_let_go(r, t);
    }
    return t;
}

static struct mp_taken *find(const struct mp_redelivery *r, uint32_t id)
{
    struct mp_taken *t = r->cap ? slot_of(r, id) : NULL;

    return t && t->id ? t : NULL;
}

/* The slot of an input, unless it was forgotten or reused since. */
static struct mp_taken *find_ticket(const struct mp_redelivery *r,
                                    uint64_t ticket)
{
    struct mp_taken *t = find(r, (uint32_t)ticket);

    return t && t->serial == (uint32_t)(ticket >> 32) ? t : NULL;
}

/* Free one slot; what was pushed beyond it moves up. */
static void forget(struct mp_redelivery *r, struct mp_taken *gone)
{
    uint32_t mask = r->cap - 1, at = (uint32_t)(gone - r->slots);

    r->used--;
    for (uint32_t next = (at + 1) & mask; r->slots[next].id;
         next = (next + 1) & mask) {
        uint32_t home = home_of(r, r->slots[next].id);

        if (((next - home) & mask) < ((next - at) & mask))
            continue;
        r->slots[at] = r->slots[next];
        at = next;
    }
    r->slots[at] = (struct mp_taken){0};
}

/* Has its acknowledgement been written on this connection? */
static bool is_flushed(const struct mp_redelivery *r, const struct mp_taken *t)
{
    return t->flush && t->flush < r->flush;
}

static void load_note(void *arg, uint32_t id, uint64_t hash, uint64_t function,
                      int64_t row)
{
    struct mp_redelivery *r = arg;
    struct mp_taken *t = id ? find(r, id) : NULL;

    if (!id || (t && notes_has(r, t, function) && t->hash == hash)) {
        mp_records_let_go(r->records, row);
        return;
    }
    /* With another hash: the id was used again, and recorded again. */
    if (!t || t->hash != hash) {
        t = insert(r, id);
        *t = (struct mp_taken){.hash = hash, .id = id, .partly = true};
        r->carried++;
    }
    notes_add(r, t, function, row);
}

bool mp_redelivery_has(const struct mp_redelivery *r, uint32_t id,
                       uint64_t hash)
{
    const struct mp_taken *t = id ? find(r, id) : NULL;

    return t && t->hash == hash;
}

uint32_t mp_redelivery_top(const struct mp_redelivery *r)
{
    uint32_t top = 0;

    for (uint32_t i = 0; i < r->cap; i++)
        if (r->slots[i].id > top)
            top = r->slots[i].id;
    return top;
}

void mp_redelivery_load(struct mp_redelivery *r)
{
    MP_ASSERT(r->used == 0);
    mp_records_take(r->records, r->lane, load_note, r);
}

static void begin(struct mp_redelivery *r, struct mp_taken *t, uint64_t *ticket)
{
    t->serial = ++r->serial;
    t->in_work = t->here = true;
    t->partly = false;
    *ticket = (uint64_t)t->serial << 32 | t->id;
}

/* A carried slot's message came again. */
static enum mp_again came_again(struct mp_redelivery *r, struct mp_taken *t,
                                uint64_t *ticket)
{
    r->carried--;
    if (t->partly) {
        begin(r, t, ticket);
        return MP_AGAIN_PARTLY;
    }
    t->here = true;
    if (t->in_work)
        return MP_AGAIN_IN_WORK;
    t->flush = r->flush;
    r->settled++;
    return MP_AGAIN_SETTLED;
}

enum mp_again mp_redelivery_take(struct mp_redelivery *r, uint32_t id,
                                 uint64_t hash, bool dup, uint64_t *ticket)
{
    struct mp_taken *t = find(r, id);

    MP_ASSERT(id != 0);
    *ticket = 0;
    if (t && t->hash == hash) {
        if (!t->here && dup)
            return came_again(r, t, ticket);
        /* An id may not be reused before its acknowledgement left. */
        if (t->here && !is_flushed(r, t))
            return t->in_work ? MP_AGAIN_HELD : MP_AGAIN_SETTLED;
    }
    if (t && t->here && t->in_work)
        return MP_AGAIN_CLASH;
    t = insert(r, id);
    *t = (struct mp_taken){.hash = hash, .id = id};
    begin(r, t, ticket);
    return MP_AGAIN_NO;
}

uint32_t mp_redelivery_done(struct mp_redelivery *r, uint64_t ticket,
                            const uint64_t **done)
{
    const struct mp_taken *t = find_ticket(r, ticket);
    uint32_t n = 0;

    for (uint32_t at = t ? t->notes : 0; at; at = r->notes[at].next) {
        if (n == r->cap_done) {
            r->cap_done = r->cap_done ? r->cap_done * 2 : DONE_MIN;
            r->done = mp_realloc(r->done, r->cap_done * sizeof(*r->done));
        }
        r->done[n++] = r->notes[at].function;
    }
    *done = r->done;
    return n;
}

void mp_redelivery_note(struct mp_redelivery *r, uint64_t ticket,
                        uint64_t function)
{
    struct mp_taken *t = find_ticket(r, ticket);

    if (!t || notes_has(r, t, function))
        return;
    notes_add(r, t, function,
              mp_records_add(r->records, r->lane, t->id, t->hash, function));
}

bool mp_redelivery_lose(struct mp_redelivery *r, uint64_t ticket)
{
    struct mp_taken *t = find_ticket(r, ticket);
    bool here;

    if (!t || !t->in_work)
        return false;
    here = t->here;
    r->carried += here;
    t->in_work = t->here = false;
    t->partly = true;
    if (!t->notes) {
        r->carried--;
        forget(r, t);
    }
    return here;
}

bool mp_redelivery_settle(struct mp_redelivery *r, uint64_t ticket)
{
    struct mp_taken *t = find_ticket(r, ticket);

    if (!t || !t->in_work)
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
            notes_let_go(r, t);
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
