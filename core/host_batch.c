/*
 * host_batch.c - events that are run together.
 *
 *        members: stage BATCHED                 the batch: an invocation
 *     acknowledgements, rows, records,   +     place in the queue, order key,
 *     dedupe ids, who is told                   actor, worker, outputs
 *
 * To scheduler and pool a batch is one invocation; so what happens to workers
 * (late, dead, taken back) happens to it as a whole.  What stands behind it is
 * what stands behind its members: what others ask of an invocation (is it
 * ours? note it, forget its source, drop it, lose it) is here asked of them.
 * They end when it ends, in the transaction of what it did.
 *
 *   ok            all end; one that the function sent away (e:retry, e:reject)
 *                 leaves before that and goes its own way, with that
 *                 transaction
 *   anything else nothing of it counts: its events run one by one, each as a
 *                 batch of one, before all that waits behind them.  That was
 *                 no attempt of theirs, and nothing for the breaker: the one
 *                 that is bad will show.
 *
 * An event may leave a batch that is not in work: it expired, somebody dropped
 * it, the host stops and its row stays.  One that has none left ends when its
 * turn comes.
 *
 * Invariant: in the host's list of all, members stand before their batch; so
 * who walks along that list and ends a batch has its members behind him.
 */
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/host_impl.h"

static struct mp_sched *sched_of(const struct mp_invocation *inv)
{
    return &inv->slot->group->sched;
}

static struct mp_invocation *first_of(const struct mp_invocation *b)
{
    return mp_of(b->members.next, struct mp_invocation, link);
}

static struct mp_invocation *last_of(const struct mp_invocation *b)
{
    return mp_of(b->members.prev, struct mp_invocation, link);
}

/* ---- one leaves ---- */

/* It is the caller's; on which version it ran is remembered. */
static void detach(struct mp_invocation *m)
{
    struct mp_invocation *b = m->batch;

    mp_list_unlink(&m->link);
    m->batch = NULL;
    m->stage = MP_DELAYED;
    b->n_members--;
    b->members_bytes -= mp_invocation_bytes(m);
    if (!m->version && b->version)
        m->version = mp_version_ref(b->version);
}

void mp_batch_leave(struct mp_invocation *m)
{
    struct mp_invocation *b = m->batch;

    if (b->stage == MP_QUEUED)
        mp_sched_lighten(sched_of(b), b, 1, mp_invocation_bytes(m));
    detach(m);
}

struct mp_invocation *mp_batch_take(struct mp_invocation *b)
{
    struct mp_invocation *m;

    if (mp_list_empty(&b->members))
        return NULL;
    m = first_of(b);
    detach(m);
    return m;
}

/* ---- made ---- */

static void nothing(struct mp_input *in)
{
    (void)in;
}

static uint32_t named(const struct mp_invocation *first, struct mp_pair *params)
{
    struct mp_slice name;
    uint32_t n = 0;

    for (unsigned k = 0;
         (name = mp_stream_lines_param(first->trigger->lines, MP_LINE_BATCH, k))
             .ptr;
         k++)
        for (uint32_t i = 0; i < first->n_params && n < MP_PAIRS_MAX; i++)
            if (mp_slice_eq(first->params[i].name, name))
                params[n++] = first->params[i];
    return n;
}

static struct mp_invocation *batch_new(struct mp_host *h,
                                       struct mp_link *members)
{
    struct mp_invocation *first =
        mp_of(members->next, struct mp_invocation, link);
    char id[MP_EVENT_ID_MAX];
    struct mp_pair params[MP_PAIRS_MAX];
    unsigned n = 0;
    struct mp_invocation *b;
    struct mp_input from = {
        .host = h,
        .settled = nothing,
        .type = MP_EVENT_BATCH,
        .received_us = first->input->received_us,
        .time_us = first->input->time_us,
        .subject = mp_slice_str(first->trigger->name),
        .source = first->input->source,
        .traceparent = first->input->traceparent,
    };
    struct mp_input *in;

    mp_list_each (at, members)
        n++;
    from.id = mp_slice(id, mp_batch_id(first->input->id, n, 1, id));
    in = mp_input_new(&from);
    b = mp_invocation_new(h, first->routed, first->trigger, in, params,
                          named(first, params),
                          first->has_key ? &first->key : NULL);
    mp_input_unref(in); /* the invocation has its own */
    b->counter = first->counter;
    b->windowed = first->windowed;
    b->window.batch = first->window.batch;
    b->is_batch = true;
    while (!mp_list_empty(members)) {
        struct mp_invocation *m =
            mp_of(members->next, struct mp_invocation, link);

        mp_list_unlink(&m->link);
        mp_list_append(&b->members, &m->link);
        m->stage = MP_BATCHED;
        m->batch = b;
        b->n_members++;
        b->members_bytes += mp_invocation_bytes(m);
    }
    return b;
}

/* ---- queued ---- */

static bool can_park(const struct mp_invocation *m)
{
    return m->holds_ack && m->input->qos > 0 && !m->row;
}

/* What counts for whether there is room for a batch of them. */
struct load {
    unsigned n;
    uint64_t bytes;
    bool
        bounded; /* by limits.queue: not what a row or a lane's window bounds */
    bool parks;  /* some may go to disk */
};

static struct load load_of(struct mp_link *members)
{
    struct load l = {0};

    mp_list_each (at, members) {
        const struct mp_invocation *m = mp_of(at, struct mp_invocation, link);

        l.n++;
        l.bytes += mp_invocation_bytes(m);
        l.parks |= can_park(m);
        l.bounded |=
            m->holds_ack && !m->row && !(can_park(m) && m->input->lane);
    }
    return l;
}

/* Room is made for it where that is how the queue overflows. */
static bool has_room(struct mp_slot *slot, const struct load *l)
{
    bool oldest = slot->live->fn->overflow_oldest || !l->parks;

    if (l->parks &&
        (mp_queue_is_spilled(slot->queue) || !mp_list_empty(&slot->blocked)))
        return false;
    if (!l->bounded)
        return true;
    while (!mp_sched_has_room_for(slot, l->n, l->bytes))
        if (!oldest || !mp_host_drop_oldest(slot))
            return false;
    return true;
}

/* As each of them would be, had it come alone. */
static void hold_back(struct mp_invocation *b)
{
    struct mp_slot *slot = b->slot;

    if (slot->breaker.state == MP_BREAKER_CLOSED)
        return;
    slot->breaker.held_back += b->n_members;
    mp_list_each_safe (at, &b->members) {
        struct mp_invocation *m = mp_of(at, struct mp_invocation, link);

        if (can_park(m) && !m->input->lane)
            mp_invocation_park_quarantined(m);
    }
}

void mp_batch_queue(struct mp_host *h, struct mp_link *members)
{
    struct mp_slot *slot =
        mp_of(members->next, struct mp_invocation, link)->slot;
    const struct load load = load_of(members);
    struct mp_invocation *b;

    if (has_room(slot, &load)) {
        b = batch_new(h, members);
        mp_pool_add(&h->pool, b);
        hold_back(b);
        return;
    }
    while (!mp_list_empty(members)) {
        struct mp_link *first = members->next;

        mp_list_unlink(first);
        mp_host_queue(h, mp_of(first, struct mp_invocation, link));
    }
}

/* ---- as a whole ---- */

bool mp_batch_may_go(const struct mp_invocation *b,
                     bool (*may_go)(const struct mp_invocation *m))
{
    mp_list_each (at, &b->members)
        if (!may_go(mp_of(at, struct mp_invocation, link)))
            return false;
    return true;
}

void mp_batch_drop(struct mp_invocation *b, enum mp_drop why)
{
    struct mp_invocation *m;

    while ((m = mp_batch_take(b)))
        mp_invocation_drop(m, why);
    mp_invocation_end(b);
}

void mp_batch_may_wait(struct mp_invocation *b)
{
    mp_list_each_safe (at, &b->members) {
        struct mp_invocation *m = mp_of(at, struct mp_invocation, link);

        if (mp_invocation_may_wait(m))
            continue;
        mp_batch_leave(m);
        mp_invocation_drop(m, MP_DROP_QUEUE_FULL);
    }
}

void mp_batch_scatter(struct mp_host *h, struct mp_invocation *b)
{
    int64_t now_us = mp_now_us();

    (void)h;
    mp_invocation_leave_actor(b);
    while (!mp_list_empty(&b->members)) {
        struct mp_invocation *m = last_of(b);

        detach(m);
        m->queued_us = now_us;
        mp_sched_add_next(sched_of(b), m, b);
    }
    mp_invocation_end(b);
}

void mp_batch_key_anew(struct mp_invocation *b)
{
    struct mp_invocation *m;

    while ((m = mp_batch_take(b))) {
        m->stage = MP_QUEUED; /* it has a place to get */
        m->windowed = false;
        mp_invocation_key_anew(m);
    }
    mp_invocation_wake(b);
    mp_invocation_end(b);
}

/* ---- its turn has come ---- */

static void removed(struct mp_host *h, struct mp_invocation *b)
{
    struct mp_invocation *m;

    while ((m = mp_batch_take(b)))
        if (m->row) /* it may come back */
            mp_invocation_end_with(m, mp_queue_put_back(&h->queue, m));
        else
            mp_invocation_drop(m, MP_DROP_NO_MATCH);
    mp_invocation_end(b);
}

/* An id that comes twice: which of them is applied is seen when the first of
 * them is through. */
static void part_repeats(struct mp_invocation *b)
{
    char(*ids)[MP_SENDER_ID];
    bool *is_given;
    unsigned i = 0, k;

    if (!b->trigger->dedupe_us)
        return;
    ids = mp_alloc(b->n_members * sizeof *ids);
    is_given = mp_alloc(b->n_members * sizeof *is_given);
    mp_list_each (at, &b->members) {
        is_given[i] =
            mp_invocation_sender(mp_of(at, struct mp_invocation, link), ids[i]);
        i++;
    }
    for (struct mp_link *at = b->members.prev, *prev; i-- > 0; at = prev) {
        struct mp_invocation *m = mp_of(at, struct mp_invocation, link);

        prev = at->prev;
        for (k = 0; is_given[i] && k < i; k++)
            if (is_given[k] && memcmp(ids[i], ids[k], MP_SENDER_ID) == 0)
                break;
        if (!is_given[i] || k == i)
            continue;
        detach(m);
        m->queued_us = mp_now_us();
        mp_sched_add_next(sched_of(b), m, b);
    }
    free(is_given);
    free(ids);
}

static void part_over(struct mp_host *h, struct mp_invocation *b,
                      int64_t now_us)
{
    mp_list_each_safe (at, &b->members) {
        struct mp_invocation *m = mp_of(at, struct mp_invocation, link);

        if (mp_invocation_is_expired(m, now_us)) {
            detach(m);
            mp_invocation_drop(m, MP_DROP_EXPIRED);
        } else if (mp_invocation_is_repeat(m)) {
            detach(m);
            mp_invocation_skip_repeat(h, m);
        }
    }
}

/* Does the version that will run it take batches from its trigger? */
static bool is_expected(const struct mp_invocation *b)
{
    const struct mp_trigger *t = b->trigger;

    if (b->slot->live != b->routed)
        t = mp_function_trigger(b->slot->live->fn, mp_slice_str(t->name));
    return t && t->lines && mp_stream_lines_has(t->lines, MP_LINE_BATCH);
}

/* Some have left since it was made: what the others do is not to be taken for
 * what all would have done, or do when those come back. */
static void name_anew(struct mp_invocation *b)
{
    struct mp_input *old = b->input;
    struct mp_input from = *old;
    char id[MP_EVENT_ID_MAX];

    from.id =
        mp_slice(id, mp_batch_id(first_of(b)->input->id, b->n_members, 1, id));
    if (mp_slice_eq(from.id, old->id))
        return;
    b->input = mp_input_new(&from);
    mp_input_unref(old);
}

bool mp_batch_may_start(struct mp_host *h, struct mp_invocation *b,
                        int64_t now_us)
{
    bool is_outdated = b->slot->live && mp_invocation_is_outdated(b);

    if (b->slot->live && !is_outdated) {
        part_over(h, b, now_us);
        part_repeats(b);
        if (b->n_members && is_expected(b)) {
            name_anew(b);
            return true;
        }
    }
    mp_host_not_now(b);
    mp_invocation_leave_actor(b);
    if (!b->slot->live)
        removed(h, b);
    else if (is_outdated)
        mp_batch_key_anew(b);
    else
        mp_batch_scatter(h, b); /* without members, it ends */
    return false;
}

/* ---- its outcome ---- */

struct mp_invocation **mp_batch_part(struct mp_invocation *b,
                                     const struct mp_outcome *out)
{
    struct mp_invocation **parted =
        mp_alloc(out->n_verdicts * sizeof(struct mp_invocation *));
    struct mp_reader r = mp_reader(out->verdicts);
    struct mp_link *at = b->members.next, *next;
    uint32_t index = 0;
    struct mp_verdict v;

    for (uint32_t i = 0; i < out->n_verdicts; i++) {
        MP_ASSERT(mp_read_verdict(&r, &v) == 0);
        for (; index < v.event; index++)
            at = at->next;
        next = at->next;
        parted[i] = mp_of(at, struct mp_invocation, link);
        detach(parted[i]);
        at = next;
        index++;
    }
    return parted;
}

/* ---- the host stops ---- */

static bool all_come_again(const struct mp_invocation *b)
{
    mp_list_each (at, &b->members)
        if (!mp_invocation_comes_again(mp_of(at, struct mp_invocation, link)))
            return false;
    return true;
}

static void put_aside(struct mp_invocation *m)
{
    if (m->row || m->alarm)
        m->stage = MP_ASIDE;
    else
        mp_invocation_lose(m);
}

void mp_batch_put_aside(struct mp_invocation *b)
{
    mp_list_each_safe (at, &b->members) {
        struct mp_invocation *m = mp_of(at, struct mp_invocation, link);

        if (!mp_invocation_comes_again(m))
            continue;
        mp_batch_leave(m);
        put_aside(m);
    }
}

/* What is in a worker can't be parted. */
void mp_batch_sort_out(struct mp_host *h, struct mp_invocation *b)
{
    if (b->stage == MP_WAITING && all_come_again(b)) {
        mp_state_ask_not(&b->asking);
        mp_pool_forget(&h->pool, b);
        mp_batch_put_aside(b);
        mp_invocation_end(b);
        return;
    }
    if (b->stage != MP_QUEUED && b->stage != MP_DELAYED)
        return;
    mp_batch_put_aside(b);
    if (b->n_members && !(b->slot->live && b->slot->live->broken))
        return;
    mp_invocation_take_out(b);
    mp_batch_drop(b,
                  MP_DROP_NO_MATCH); /* of a held function; or none is left */
}
