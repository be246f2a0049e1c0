/*
 * host_park.c - an event that must not hold the broker back any longer is
 * taken over by the host.
 *
 *   parked    it goes on where it is, and a row stands for it; QoS 0: only
 *             memory does
 *   outputs   done, but the broker has not confirmed what it sent: the outbox
 *             has that now
 *   spilled   there is no room in memory: on disk only, behind all others of
 *             its function
 *
 * Its input is let go when that is durable.  Order must survive a crash: what
 * only the broker has comes again behind all that is on disk.  So before one
 * goes there, those that came before it do (slot->held has them).
 *
 * With no room in the queue on disk (mp_queue_has_room) an input is a dead
 * letter: its function has parked more than its share.  While the database
 * itself is full it waits, blocked, and with it its lane.
 */
#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/host_impl.h"

/* How soon what is overdue and could not be parked is looked at again. */
#define HOLD_AGAIN_US (5 * MP_MS)
/*
 * What waits in a window on the shared lane is not in work, and others need
 * the lane: it would give a batch of messages (20, of mosquitto as it comes)
 * each `hold`.  So it is held only while the rest of its batch is read, which
 * may complete or replace it.
 */
#define WINDOW_HOLD_US MP_MS

static void on_parked(struct mp_commit_wait *w, int rc)
{
    struct mp_invocation *inv = mp_of(w, struct mp_invocation, parking);

    if (rc == 0)
        mp_invocation_let_go(inv);
}

/* QoS 0 leaves nothing on disk: it waits in memory, up to limits.queue. */
static bool park_in_memory(struct mp_invocation *inv)
{
    struct mp_slot *slot = inv->slot;

    if (inv->in_memory)
        return true;
    if (slot->n_parked >= inv->routed->fn->queue)
        return false;
    inv->parked = inv->in_memory = true;
    slot->n_parked++;
    return true;
}

bool mp_invocation_may_wait(struct mp_invocation *inv)
{
    if (inv->is_batch) {
        mp_batch_may_wait(inv);
        return true; /* those that may */
    }
    return inv->row || inv->alarm || (inv->holds_ack && inv->input->qos > 0) ||
           park_in_memory(inv);
}

/* Has its function room for so many bytes more? */
static bool queue_has_room(struct mp_host *h, const struct mp_invocation *inv,
                           uint64_t bytes)
{
    return mp_queue_has_room(&h->queue, inv->slot->queue, bytes,
                             inv->routed->fn->park_bytes);
}

bool mp_invocation_park(struct mp_invocation *inv, enum mp_parked why,
                        int64_t due_us)
{
    struct mp_host *h = mp_host_of(inv);
    enum mp_stage stage = mp_invocation_whole(inv)->stage;
    bool in_work =
        stage == MP_RUNNING || stage == MP_WAITING || stage == MP_READING;
    uint64_t ticket;

    if (inv->to_window)
        why = MP_PARKED_WINDOW;
    if (!inv->holds_ack && !inv->row && !inv->alarm)
        return park_in_memory(inv);
    if (inv->input->qos == 0 && inv->holds_ack)
        return park_in_memory(inv);
    if (inv->row && (inv->due_us == due_us || why == MP_PARKED_SLOW))
        return true; /* as it is */
    /* What is in a worker is past refusing, and there is little of that. */
    if (!inv->row && !in_work &&
        (!queue_has_room(h, inv, mp_invocation_bytes(inv)) ||
         !mp_commit_has_room(&h->commit,
                             mp_commit_row_cost(mp_invocation_bytes(inv)))))
        return false;
    if (!inv->parked)
        inv->slot->metrics.parked[why]++;
    inv->parked = true;
    mp_list_unlink(&inv->held);
    ticket = mp_queue_keep(&h->queue, inv, mp_parked_name(why), due_us);
    if (inv->alarm) /* the row stands for it now */
        (void)mp_alarms_done(&h->alarms, inv->alarm, inv->alarm_serial);
    if (inv->alarm)
        mp_alarm_unref(inv->alarm);
    inv->alarm = NULL;
    mp_invocation_note(inv);
    if (inv->holds_ack) {
        mp_commit_wait_not(&inv->parking);
        mp_commit_wait(&h->commit, &inv->parking, ticket, on_parked);
    }
    return true;
}

static void refuse_full(struct mp_invocation *inv)
{
    mp_invocation_refuse(inv, MP_DEAD_FULL,
                         "no room: limits.park_bytes, or its share of [store] "
                         "queue, is used up");
}

/* ---- outputs ---- */

/*
 * A set of topics, by hash: two that share a bit are taken for one, and then
 * more goes to disk than must.
 */
struct topics {
    uint64_t bits[MP_DIRECT_TOPICS / 64];
};

static unsigned hash_of(struct mp_slice topic)
{
    static const struct mp_hash_key plain = {0, 0};

    return (unsigned)(mp_hash64(&plain, topic) % MP_DIRECT_TOPICS);
}

static void add_topic(struct topics *t, struct mp_slice topic)
{
    unsigned hash = hash_of(topic);

    t->bits[hash / 64] |= UINT64_C(1) << hash % 64;
}

static void add_topics(struct topics *t, const struct mp_invocation *inv)
{
    mp_list_each (at, &inv->outputs)
        add_topic(t, mp_of(at, struct mp_output, mine)->topic);
}

static bool meets(const struct topics *t, const struct mp_invocation *inv)
{
    mp_list_each (at, &inv->outputs) {
        unsigned hash = hash_of(mp_of(at, struct mp_output, mine)->topic);

        if (t->bits[hash / 64] >> hash % 64 & 1)
            return true;
    }
    return false;
}

void mp_host_count_direct(struct mp_host *h, const struct mp_output *o, int by)
{
    uint32_t *n = &h->direct[hash_of(o->topic)];

    *n = (uint32_t)((int64_t)*n + by);
}

/* It leaves the list of those that are SENDING, and all that counts them. */
static void unlist(struct mp_host *h, struct mp_invocation *inv)
{
    mp_list_unlink(&inv->link);
    mp_list_each (at, &inv->outputs)
        mp_host_count_direct(h, mp_of(at, struct mp_output, mine), -1);
}

static void adopt(struct mp_host *h, struct mp_invocation *inv)
{
    struct mp_slot *slot = inv->slot;
    uint64_t ticket = 0;

    slot->metrics.parked[MP_PARKED_OUTPUT]++;
    while (!mp_list_empty(&inv->outputs)) {
        struct mp_output *o = mp_of(inv->outputs.next, struct mp_output, mine);

        mp_list_unlink(&o->mine);
        ticket = mp_outbox_adopt(&h->outbox, o, mp_slice_str(slot->name),
                                 &slot->metrics.flash);
    }
    mp_invocation_note(inv);
    mp_invocation_end_with(inv, ticket);
}

/*
 * After a crash the outbox is sent again at once, and what was not in it only
 * when its input has come again: in each topic the wrong way round, if it had
 * left before.  So what left before goes before, and in turn what left before
 * that for its other topics.  One walk back finds them all.
 */
static void adopt_before(struct mp_host *h, struct mp_link *end,
                         struct topics *t)
{
    struct mp_link earlier, *at = end->prev, *prev;

    mp_list_init(&earlier);
    for (; at != &h->sending; at = prev) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, link);

        prev = at->prev;
        if (!meets(t, inv))
            continue;
        add_topics(t, inv);
        unlist(h, inv);
        mp_list_prepend(&earlier, at);
    }
    while (!mp_list_empty(&earlier)) {
        at = earlier.next;
        mp_list_unlink(at);
        adopt(h, mp_of(at, struct mp_invocation, link));
    }
}

void mp_invocation_park_outputs(struct mp_invocation *inv)
{
    struct mp_host *h = mp_host_of(inv);
    struct mp_link *next = inv->link.next;
    struct topics t = {{0}};
    bool alone = true;

    unlist(h, inv);
    mp_list_each (at, &inv->outputs)
        alone &= !h->direct[hash_of(mp_of(at, struct mp_output, mine)->topic)];
    add_topics(&t, inv);
    if (!alone)
        adopt_before(h, next, &t);
    adopt(h, inv);
}

void mp_host_keep_behind(struct mp_host *h, struct mp_slice topic)
{
    struct topics t = {{0}};

    if (!h->direct[hash_of(topic)])
        return;
    add_topic(&t, topic);
    adopt_before(h, &h->sending, &t);
}

/* ---- those that came before ---- */

/* Only the broker has it, and it is not about to be durable. */
static bool may_come_again(const struct mp_invocation *inv)
{
    return mp_invocation_whole(inv)->stage != MP_COMMITTING;
}

static bool is_sending(const struct mp_invocation *inv)
{
    return mp_invocation_whole(inv)->stage == MP_SENDING;
}

static void park_outputs(struct mp_invocation *inv)
{
    mp_invocation_park_outputs(inv->batch ? inv->batch : inv);
}

static void put_on_disk(struct mp_invocation *inv, enum mp_parked why)
{
    if (is_sending(inv))
        park_outputs(inv);
    else
        (void)mp_invocation_park(inv, why, 0); /* there is room */
}

/* What inv and all that came before it take on disk. */
static uint64_t bytes_with_earlier(const struct mp_invocation *inv)
{
    uint64_t bytes = mp_invocation_bytes(inv);

    mp_list_each (at, &inv->slot->held) {
        const struct mp_invocation *earlier =
            mp_of(at, struct mp_invocation, held);

        if (earlier == inv)
            break;
        if (may_come_again(earlier) && !is_sending(earlier))
            bytes += mp_invocation_bytes(earlier);
    }
    return bytes;
}

static void park_earlier(const struct mp_invocation *inv, enum mp_parked why)
{
    mp_list_each_safe (at, &inv->slot->held) {
        struct mp_invocation *earlier = mp_of(at, struct mp_invocation, held);

        if (earlier == inv)
            break;
        if (may_come_again(earlier))
            put_on_disk(earlier, why);
    }
}

void mp_host_park_key(struct mp_host *h, struct mp_slot *slot,
                      struct mp_slice okey)
{
    mp_list_each_safe (at, &slot->held) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, held);

        if (may_come_again(inv) && mp_invocation_whole(inv)->order &&
            mp_slice_eq(mp_invocation_okey(inv), okey) &&
            queue_has_room(h, inv, mp_invocation_bytes(inv)))
            put_on_disk(inv, MP_PARKED_SLOW);
    }
}

/* ---- inputs ---- */

/* Behind what is blocked already, until there is room (unblock). */
static void block(struct mp_host *h, struct mp_invocation *inv)
{
    inv->stage = MP_DELAYED;
    mp_list_append(&inv->slot->blocked, &inv->link);
    mp_host_hold(h);
}

/* False: the database is full. */
static bool spill(struct mp_host *h, struct mp_invocation *inv)
{
    struct mp_slot *slot = inv->slot;
    enum mp_parked why = inv->to_window ? MP_PARKED_WINDOW : MP_PARKED_FULL;
    uint64_t ticket, bytes = bytes_with_earlier(inv);

    if (!queue_has_room(h, inv, bytes)) {
        refuse_full(inv);
        return true;
    }
    if (!mp_commit_has_room(&h->commit, mp_commit_row_cost(bytes)))
        return false;
    park_earlier(inv, MP_PARKED_FULL);
    ticket = mp_queue_spill_invocation(&h->queue, inv, mp_parked_name(why));
    slot->metrics.parked[why]++;
    mp_invocation_note(inv);
    mp_invocation_end_with(inv, ticket);
    return true;
}

void mp_invocation_spill(struct mp_invocation *inv)
{
    struct mp_host *h = mp_host_of(inv);

    if (!mp_list_empty(&inv->slot->blocked) || !spill(h, inv))
        block(h, inv);
}

void mp_invocation_park_quarantined(struct mp_invocation *inv)
{
    struct mp_host *h = mp_host_of(inv);
    uint64_t bytes = bytes_with_earlier(inv);

    if (!queue_has_room(h, inv, bytes)) {
        mp_invocation_take_out(inv);
        refuse_full(inv);
    } else if (mp_commit_has_room(&h->commit, mp_commit_row_cost(bytes))) {
        park_earlier(inv, MP_PARKED_QUARANTINED);
        (void)mp_invocation_park(inv, MP_PARKED_QUARANTINED, 0);
    } /* else it holds its lane back */
}

static bool unblock(struct mp_host *h, struct mp_slot *slot)
{
    while (!mp_list_empty(&slot->blocked)) {
        struct mp_link *first = slot->blocked.next;

        mp_list_unlink(first);
        if (spill(h, mp_of(first, struct mp_invocation, link)))
            continue;
        mp_list_prepend(&slot->blocked, first);
        return false;
    }
    return true;
}

/* ---- what must not hold the broker back ---- */

/* It has held its input back for long enough.  While the database is full it
 * goes on doing so. */
static void take_over(struct mp_host *h, struct mp_invocation *inv)
{
    if (!may_come_again(inv) ||
        (mp_invocation_is_asked(inv) && inv->stage != MP_SENDING) ||
        !mp_commit_has_room(&h->commit,
                            mp_commit_row_cost(mp_invocation_bytes(inv))))
        return;
    if (is_sending(inv)) {
        park_outputs(inv);
    } else if (!mp_invocation_park(inv, MP_PARKED_SLOW, 0) &&
               !queue_has_room(h, inv, mp_invocation_bytes(inv))) {
        mp_invocation_take_out(inv);
        refuse_full(inv);
    }
}

static void on_hold(uv_timer_t *timer);

static bool any_blocked(const struct mp_host *h)
{
    mp_list_each (at, &h->catalog.slots)
        if (!mp_list_empty(&mp_of(at, struct mp_slot, link)->blocked))
            return true;
    return false;
}

static int64_t held_until(const struct mp_host *h,
                          const struct mp_invocation *inv)
{
    int64_t hold_us = h->config->mqtt.hold_us;

    if (inv->stage == MP_WINDOW && hold_us > WINDOW_HOLD_US)
        hold_us = WINDOW_HOLD_US;
    return inv->input->received_us + hold_us;
}

static void wait_until(struct mp_host *h, int64_t at_us)
{
    int64_t wait_us = at_us - mp_now_us();

    if (wait_us < HOLD_AGAIN_US) /* some that are overdue must go on holding */
        wait_us = HOLD_AGAIN_US;
    uv_timer_start(&h->hold, on_hold, (uint64_t)(wait_us + 999) / 1000, 0);
}

void mp_host_hold(struct mp_host *h)
{
    int64_t at_us = INT64_MAX;

    if (uv_is_active((uv_handle_t *)&h->hold))
        return;
    mp_list_each (at, &h->holding) {
        int64_t until_us =
            held_until(h, mp_of(at, struct mp_invocation, holding));

        at_us = until_us < at_us ? until_us : at_us;
    }
    if (!mp_list_empty(&h->holding) || any_blocked(h))
        wait_until(h, at_us == INT64_MAX ? 0 : at_us);
}

void mp_host_hold_window(struct mp_host *h, const struct mp_invocation *inv)
{
    if (mp_list_empty(&inv->holding) ||
        (uv_is_active((uv_handle_t *)&h->hold) &&
         uv_timer_get_due_in(&h->hold) <= WINDOW_HOLD_US / 1000))
        return;
    uv_timer_start(&h->hold, on_hold, WINDOW_HOLD_US / 1000, 0);
}

/* What has held its input back for too long is parked.  Not while the host
 * stops: the broker keeps it as well. */
static void on_hold(uv_timer_t *timer)
{
    struct mp_host *h = timer->data;
    int64_t now_us = mp_now_us();

    if (h->draining || !h->loaded)
        return;
    mp_list_each_safe (at, &h->holding) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, holding);

        if (held_until(h, inv) <= now_us)
            take_over(h, inv);
    }
    mp_list_each (at, &h->catalog.slots)
        (void)unblock(h, mp_of(at, struct mp_slot, link));
    mp_host_hold(h);
}
