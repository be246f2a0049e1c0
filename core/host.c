/*
 * host.c - what happens to an event, in the order in which it happens.
 *
 * An input is acknowledged when its last function lets go of it.  A function
 * lets go when all that it did is durable: committed, or confirmed by the
 * broker, or a dead letter; or when the host has taken the event over and
 * that is durable (parked).  Everything here is bookkeeping of that.
 */
#include "core/host.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/crash.h"
#include "core/base/hash.h"
#include "core/host_impl.h"
#include "core/log.h"

/* How long until an actor that could not be read is tried again. */
#define READ_AGAIN_US MP_SECOND
/* Of a full queue so many are looked at for one that may be given up. */
enum { DROP_LOOKS = 64 };

/* ---- holding and letting go ---- */

static void settle(struct mp_input *in)
{
    MP_ASSERT(in->open > 0);
    if (--in->open)
        return;
    mp_hist_add(&mp_metrics.done,
                (uint64_t)(mp_now_us() - in->received_us) * 1000);
    in->settled(in);
}

void mp_invocation_let_go(struct mp_invocation *inv)
{
    if (!inv->holds_ack)
        return;
    inv->holds_ack = false;
    mp_list_unlink(&inv->holding);
    mp_list_unlink(&inv->held);
    settle(inv->input);
}

void mp_invocation_note(struct mp_invocation *inv)
{
    mp_list_each (at, &inv->members)
        mp_invocation_note(mp_of(at, struct mp_invocation, link));
    if (!inv->holds_ack || !inv->input->note || !mp_host_of(inv)->loaded)
        return;
    inv->noted = true;
    inv->input->note(inv->input,
                     mp_record_function(mp_slice_str(inv->slot->name)));
}

uint64_t mp_invocation_forget_source(struct mp_invocation *inv)
{
    struct mp_host *h = mp_host_of(inv);
    uint64_t ticket = 0;

    mp_list_each (at, &inv->members) {
        uint64_t one =
            mp_invocation_forget_source(mp_of(at, struct mp_invocation, link));

        ticket = one ? one : ticket;
    }
    if (inv->row)
        ticket = mp_queue_forget(&h->queue, inv);
    if (inv->alarm) {
        if (mp_alarms_done(&h->alarms, inv->alarm, inv->alarm_serial))
            ticket = mp_commit_ticket(&h->commit);
        mp_alarm_unref(inv->alarm);
        inv->alarm = NULL;
    }
    return ticket;
}

void mp_invocation_leave_actor(struct mp_invocation *inv)
{
    if (inv->actor)
        mp_state_leave(&mp_host_of(inv)->states, inv->actor);
    inv->actor = NULL;
}

static void tell_dropped(struct mp_invocation *inv)
{
    while (!mp_list_empty(&inv->tolds)) {
        struct mp_told *t = mp_of(inv->tolds.next, struct mp_told, link);

        mp_list_unlink(&t->link);
        t->told(t, NULL, "it did not run");
    }
}

/*
 * What its function has on disk only comes back by pages, when half of its
 * queue is free; a send that has come due, when there is any room: nothing
 * holds up what comes behind it.  Asked when fewer wait than before: one has
 * started, or has ended.
 */
static void refill(struct mp_host *h, struct mp_slot *slot)
{
    if (h->loaded && slot->live && mp_queue_wants_room(slot->queue) &&
        (slot->n_waiting <= slot->live->fn->queue / 2 ||
         mp_queue_is_ripe(slot->queue)))
        mp_queue_refill(&h->queue, slot->queue);
}

void mp_invocation_end(struct mp_invocation *inv)
{
    struct mp_host *h = mp_host_of(inv);
    struct mp_invocation *m;

    while ((m = mp_batch_take(inv)))
        mp_invocation_end(m);
    mp_request_end(inv);
    mp_state_wait_not(&inv->reading);
    mp_state_ask_not(&inv->asking);
    mp_commit_wait_not(&inv->commit);
    mp_commit_wait_not(&inv->parking);
    mp_invocation_leave_actor(inv);
    mp_sched_release(&inv->slot->group->sched, inv);
    mp_invocation_let_go(inv);
    tell_dropped(inv);
    mp_careful_ended(h, inv);
    refill(h, inv->slot);
    mp_list_unlink(&inv->link);
    if (inv->alarm)
        mp_alarm_unref(inv->alarm);
    if (inv->in_memory)
        inv->slot->n_parked--;
    if (inv->stage == MP_READING)
        inv->slot->n_reading--;
    h->open--;
    mp_list_unlink(&inv->all);
    mp_list_unlink(&inv->unsaved);
    if (inv->version)
        mp_version_unref(&h->pool, inv->version);
    if (inv->keyed)
        mp_version_unref(&h->pool, inv->keyed);
    free(inv->new_key);
    mp_version_unref(&h->pool, inv->routed);
    mp_input_unref(inv->input);
    free(inv);
}

void mp_invocation_lose(struct mp_invocation *inv)
{
    struct mp_invocation *m;

    while ((m = mp_batch_take(inv)))
        mp_invocation_lose(m);
    if (inv->holds_ack) {
        if (!inv->input->method.ptr) /* nobody brings a request again */
            mp_host_of(inv)->abandoned = true;
        inv->input->lost = true;
    }
    mp_request_forget(inv);
    mp_invocation_end(inv);
}

static void on_durable(struct mp_commit_wait *w, int rc)
{
    struct mp_invocation *inv = mp_of(w, struct mp_invocation, commit);

    if (rc == 0) /* else it is forgotten with everything else */
        mp_invocation_end(inv);
}

void mp_invocation_end_with(struct mp_invocation *inv, uint64_t ticket)
{
    struct mp_host *h = mp_host_of(inv);

    mp_invocation_leave_actor(inv);
    mp_sched_release(&inv->slot->group->sched, inv);
    if (mp_commit_is_durable(&h->commit, ticket)) {
        mp_invocation_end(inv);
        return;
    }
    inv->stage = MP_COMMITTING;
    mp_commit_wait(&h->commit, &inv->commit, ticket, on_durable);
}

struct mp_trigger_metrics *mp_invocation_counters(struct mp_invocation *inv)
{
    return &inv->slot->metrics.triggers[inv->counter];
}

void mp_invocation_drop(struct mp_invocation *inv, enum mp_drop why)
{
    if (inv->is_batch) {
        mp_batch_drop(inv, why);
        return;
    }
    if (inv->input->method.ptr) {
        mp_request_dropped(inv, why);
        return;
    }
    mp_invocation_counters(inv)->dropped[why]++;
    if (why == MP_DROP_TOO_LARGE)
        mp_fnlog(inv->slot, inv->routed->fn, inv->trigger, MP_WARN,
                 MP_FIELDS(MP_TEXT("event", inv->input->id),
                           MP_NUM("bytes", (int64_t)inv->input->data.len),
                           MP_NUM("max_payload", inv->trigger->max_payload),
                           mp_host_about(inv)),
                 "dropped: %s", mp_drop_name(why));
    else
        mp_fnlog(inv->slot, inv->routed->fn, inv->trigger, MP_WARN,
                 MP_FIELDS(MP_TEXT("event", inv->input->id),
                           MP_NUM("waiting", inv->slot->n_waiting),
                           mp_host_about(inv)),
                 "dropped: %s", mp_drop_name(why));
    mp_invocation_end_with(inv, mp_invocation_forget_source(inv));
}

void mp_invocation_refuse(struct mp_invocation *inv, enum mp_dead why,
                          const char *text)
{
    struct mp_outcome out = {
        .kind = MP_OUT_REJECTED,
        .error = mp_slice_str(text),
    };

    mp_request_answer(inv, &out);
    mp_host_bury(inv, why, &out);
}

void mp_invocation_take_out(struct mp_invocation *inv)
{
    if (inv->stage == MP_QUEUED)
        mp_sched_remove(&inv->slot->group->sched, inv);
    else if (inv->stage == MP_WINDOW)
        mp_host_stream_leave(inv);
    else if (inv->stage == MP_BATCHED)
        mp_batch_leave(inv);
    mp_invocation_wake(inv);
    mp_list_unlink(&inv->link); /* careful.c's list */
}

/* ---- 1. an input comes ---- */

struct taking {
    struct mp_host *host;
    struct mp_input *in;
};

static struct mp_slice keep(struct mp_slice s, char **at)
{
    char *copy = *at;

    if (s.len)
        memcpy(copy, s.ptr, s.len);
    *at += s.len;
    return mp_slice(copy, s.len);
}

struct mp_invocation *mp_invocation_new(struct mp_host *h, struct mp_version *v,
                                        const struct mp_trigger *trigger,
                                        struct mp_input *in,
                                        const struct mp_pair *params,
                                        uint32_t n_params,
                                        const struct mp_slice *key)
{
    size_t size = sizeof(struct mp_invocation) +
                  n_params * sizeof(struct mp_pair) + (key ? key->len : 0);
    struct mp_invocation *inv;
    char *at;

    for (uint32_t i = 0; i < n_params; i++)
        size += params[i].name.len + params[i].value.len;
    inv = mp_zalloc(size);
    mp_list_init(&inv->link);
    mp_list_init(&inv->holding);
    mp_list_init(&inv->held);
    mp_list_init(&inv->unsaved);
    mp_list_init(&inv->outputs);
    mp_list_init(&inv->tolds);
    mp_list_init(&inv->members);
    mp_list_init(&inv->window.link);
    mp_list_init(&inv->reading.link);
    mp_list_init(&inv->commit.link);
    mp_list_init(&inv->parking.link);
    mp_list_append(&h->all, &inv->all);
    inv->routed = mp_version_ref(v);
    inv->slot = v->slot;
    inv->trigger = trigger;
    inv->input = mp_input_ref(in);
    inv->attempt = 1;
    inv->n_params = n_params;
    at = (char *)&inv->params[n_params];
    for (uint32_t i = 0; i < n_params; i++) {
        inv->params[i].name = keep(params[i].name, &at);
        inv->params[i].value = keep(params[i].value, &at);
    }
    if (key) {
        inv->key = keep(*key, &at);
        inv->has_key = true;
    }
    h->open++;
    return inv;
}

/* May it be given up for a new one?  Not what the host has promised to run. */
static bool may_go(const struct mp_invocation *inv)
{
    if (inv->is_batch)
        return mp_batch_may_go(inv, may_go);
    return !inv->row && !inv->alarm && !mp_invocation_is_asked(inv) &&
           (inv->input->qos == 0 || inv->routed->fn->overflow_oldest);
}

bool mp_host_drop_oldest(struct mp_slot *slot)
{
    unsigned looks = 0;

    mp_list_each_safe (at, &slot->ready) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, link);

        if (++looks > DROP_LOOKS)
            break;
        if (!may_go(inv))
            continue;
        mp_sched_remove(&inv->slot->group->sched, inv);
        mp_invocation_drop(inv, MP_DROP_QUEUE_FULL);
        return true;
    }
    return false;
}

static void queue_input(struct mp_host *h, struct mp_invocation *inv)
{
    const struct mp_function *fn = inv->routed->fn;
    uint64_t bytes = mp_invocation_bytes(inv);
    bool can_park = inv->holds_ack && inv->input->qos > 0;
    bool oldest = fn->overflow_oldest || !can_park;

    inv->stage = MP_QUEUED;
    if (inv->input->method.ptr) {
        mp_host_queue_request(h, inv);
        return;
    }
    if (can_park && (mp_queue_is_spilled(inv->slot->queue) ||
                     !mp_list_empty(&inv->slot->blocked))) {
        mp_invocation_spill(inv); /* behind what waits on disk */
        return;
    }
    /* A lane of its own is bounded by its window and holds the broker back. */
    if (inv->input->lane && inv->input->qos > 0) {
        mp_pool_add(&h->pool, inv);
        return;
    }
    if (!oldest && !mp_sched_has_room(inv->slot, bytes)) {
        mp_invocation_spill(inv);
        return;
    }
    while (!mp_sched_has_room(inv->slot, bytes))
        if (!mp_host_drop_oldest(inv->slot)) {
            mp_invocation_drop(inv, MP_DROP_QUEUE_FULL);
            return;
        }
    mp_pool_add(&h->pool, inv);
    if (inv->slot->breaker.state == MP_BREAKER_CLOSED)
        return;
    inv->slot->breaker.held_back++;
    if (can_park)
        mp_invocation_park_quarantined(inv);
}

void mp_host_queue_now(struct mp_host *h, struct mp_invocation *inv)
{
    int64_t wait_us = inv->due_us ? inv->due_us - mp_host_now(h) : 0;

    if (inv->holds_ack && !inv->row) {
        queue_input(h, inv);
        return;
    }
    mp_pool_add(&h->pool, inv);
    /* A retry whose time has not come keeps its place and its key. */
    if (wait_us > 0 && mp_sched_hold(&inv->slot->group->sched, inv))
        mp_invocation_delay(inv, wait_us);
}

void mp_host_queue(struct mp_host *h, struct mp_invocation *inv)
{
    if (!mp_careful_takes(h, inv))
        mp_host_queue_now(h, inv);
}

/* Was it done with it before a restart? */
static bool was_done(const struct mp_input *in, const struct mp_slot *slot)
{
    uint64_t function;

    if (in->n_done == 0)
        return false;
    function = mp_record_function(mp_slice_str(slot->name));
    for (uint32_t i = 0; i < in->n_done; i++)
        if (in->done[i] == function)
            return true;
    return false;
}

static void take(void *arg, const struct mp_router_entry *entry,
                 const struct mp_pair *params, uint32_t n_params,
                 const struct mp_stream_values *values, bool filtered)
{
    struct taking *t = arg;
    struct mp_version *v = entry->version;
    struct mp_slot *slot = v->slot;
    unsigned index = (unsigned)(entry->trigger - v->fn->triggers);
    struct mp_trigger_metrics *m = &slot->metrics.triggers[v->counters[index]];
    struct mp_invocation *inv;
    /* A timer runs as the function's own actor. */
    bool keyed = v->fn->state_key && entry->pattern;
    struct mp_slice key = {0};
    char key_text[MP_KEY_MAX];
    int key_len = 0;

    if (was_done(t->in, slot))
        return;
    m->events++;
    m->last_event_us = t->in->time_us;
    mp_metrics.events++;
    if (t->in->retained && !entry->trigger->retained) {
        m->skipped[MP_SKIP_RETAINED]++;
        return;
    }
    if (filtered) {
        m->skipped[MP_SKIP_FILTER]++;
        return;
    }
    if (keyed) {
        key_len = mp_function_key(v->fn, params, n_params, key_text);
        key = mp_slice(key_text, key_len > 0 ? (size_t)key_len : 0);
    }
    inv = mp_invocation_new(t->host, v, entry->trigger, t->in, params, n_params,
                            keyed ? &key : NULL);
    inv->counter = v->counters[index];
    inv->holds_ack = true;
    t->in->open++;
    /* Nobody brings a request again. */
    if (t->in->qos > 0 && t->in->lane == 0 && !t->in->method.ptr)
        mp_list_append(&t->host->holding, &inv->holding);
    if (t->in->qos > 0 && !t->in->method.ptr)
        mp_list_append(&slot->held, &inv->held);
    if (key_len < 0)
        mp_invocation_drop(inv, MP_DROP_NO_KEY);
    else if (t->in->data.len > entry->trigger->max_payload)
        mp_invocation_drop(inv, MP_DROP_TOO_LARGE);
    else if (entry->trigger->lines)
        mp_host_stream_put(t->host, inv, values);
    else
        mp_host_queue(t->host, inv);
}

/* The functions have changed since its transport was told of them. */
static void unmatched(struct mp_input *in)
{
    static const struct mp_answer gone = {.kind = MP_ANSWER_GONE};

    mp_metrics.unmatched++;
    if (in->answer)
        in->answer(in, &gone);
    else if (in->method.ptr)
        in->lost = true;
}

void mp_host_input(struct mp_host *h, struct mp_input *in)
{
    struct taking t = {h, in};

    in->host = h;
    in->open = 1; /* ours, until all functions have been asked */
    if (!mp_host_repeats(h, in) &&
        mp_router_match(&h->router, in, take, &t) == 0)
        unmatched(in);
    settle(in);
    mp_input_unref(in);
    mp_host_hold(h);
}

/* ---- 2. its turn has come ---- */

void mp_host_not_now(struct mp_invocation *inv)
{
    mp_sched_stopped(&inv->slot->group->sched, inv);
    mp_breaker_forget(&inv->slot->breaker);
}

bool mp_invocation_sender(const struct mp_invocation *inv,
                          char id[MP_SENDER_ID])
{
    static const struct mp_hash_key plain = {UINT64_C(0x73656e6465722d69),
                                             UINT64_C(0x642d6f6e2d746f70)};
    struct mp_hasher hasher;
    struct mp_hash hash;

    if (!inv->trigger || !inv->trigger->dedupe_us || !inv->input->given_id)
        return false;
    mp_hasher_init(&hasher, &plain);
    mp_hasher_add(&hasher, inv->input->topic);
    mp_hasher_add(&hasher, inv->key);
    mp_hasher_add(&hasher, inv->input->id);
    hash = mp_hasher_end(&hasher);
    memcpy(id, &hash, MP_SENDER_ID);
    return true;
}

/* What the sender gave this id was applied already, with that ticket. */
static bool is_seen(const struct mp_invocation *inv, uint64_t *ticket)
{
    char id[MP_SENDER_ID];

    return mp_invocation_sender(inv, id) &&
           mp_seen_has(&mp_host_of(inv)->seen, mp_slice_str(inv->slot->name),
                       mp_slice_str(inv->trigger->name),
                       mp_slice(id, sizeof id), ticket);
}

bool mp_invocation_is_repeat(const struct mp_invocation *inv)
{
    uint64_t ticket;

    mp_list_each (at, &inv->members)
        if (is_seen(mp_of(at, struct mp_invocation, link), &ticket))
            return true;
    return is_seen(inv, &ticket);
}

void mp_invocation_skip_repeat(struct mp_host *h, struct mp_invocation *inv)
{
    uint64_t ticket = 0, gone;

    (void)h;
    MP_ASSERT(is_seen(inv, &ticket));
    mp_invocation_counters(inv)->skipped[MP_SKIP_DUPLICATE]++;
    mp_request_answer(inv, &(struct mp_outcome){.kind = MP_OUT_OK});
    gone = mp_invocation_forget_source(inv);
    mp_invocation_end_with(inv, gone ? gone : ticket);
}

/* What is too old to be of use (MQTT 5, 3.3.2.3.3); what a person asked for
 * again never is. */
bool mp_invocation_is_expired(const struct mp_invocation *inv, int64_t now_us)
{
    const struct mp_input *in = inv->input;
    int64_t age_us = now_us - in->received_us;

    if (inv->reason && mp_row_is_replay(mp_slice_str(inv->reason)))
        return false;
    if (in->has_expiry && age_us >= in->expiry_s * MP_SECOND)
        return true;
    return inv->trigger && inv->trigger->max_age_us &&
           age_us > inv->trigger->max_age_us;
}

static void on_delay_over(uv_timer_t *timer)
{
    struct mp_invocation *inv = timer->data;
    struct mp_host *h = mp_host_of(inv);

    mp_invocation_wake(inv);
    if (inv->order)
        mp_pool_again(&h->pool, inv);
    else
        mp_pool_add(&h->pool, inv);
}

void mp_invocation_delay(struct mp_invocation *inv, int64_t delay_us)
{
    inv->stage = MP_DELAYED;
    inv->timer = mp_zalloc(sizeof *inv->timer);
    inv->timer->data = inv;
    uv_timer_init(mp_host_of(inv)->loop, inv->timer);
    uv_timer_start(inv->timer, on_delay_over, (uint64_t)(delay_us + 999) / 1000,
                   0);
}

static void on_read(struct mp_state_wait *w, int rc)
{
    struct mp_invocation *inv = mp_of(w, struct mp_invocation, reading);

    inv->slot->n_reading--;
    inv->stage = MP_DELAYED;
    if (rc == 0)
        mp_pool_again(&mp_host_of(inv)->pool, inv);
    else if (mp_invocation_may_wait(inv))
        mp_invocation_delay(inv, READ_AGAIN_US);
    else
        mp_invocation_drop(inv, MP_DROP_QUEUE_FULL);
}

static bool take_actor(struct mp_host *h, struct mp_invocation *inv)
{
    struct mp_slot *slot = inv->slot;

    if (inv->actor || !slot->live->fn->has_state)
        return true;
    inv->stage = MP_READING;
    slot->n_reading++;
    inv->actor =
        mp_state_take(&h->states, slot->state, inv->key, &inv->reading);
    if (!inv->actor) {
        mp_host_not_now(inv);
        return false;
    }
    slot->n_reading--;
    inv->stage = MP_RUNNING;
    return true;
}

static void put_alarm_back(struct mp_host *h, struct mp_invocation *inv)
{
    mp_alarms_put_back(&h->alarms, inv->alarm, inv->alarm_serial);
    mp_invocation_end(inv);
}

bool mp_host_on_start(void *arg, struct mp_invocation *inv, int64_t now_us)
{
    struct mp_host *h = arg;

    inv->reading.done = on_read;
    refill(h, inv->slot);
    if (inv->is_batch)
        return mp_batch_may_start(h, inv, now_us) && take_actor(h, inv);
    if (!inv->slot->live) { /* the function was removed */
        mp_host_not_now(inv);
        if (inv->row) /* it may come back */
            mp_invocation_end_with(inv, mp_queue_put_back(&h->queue, inv));
        else if (inv->alarm)
            put_alarm_back(h, inv);
        else
            mp_invocation_drop(inv, MP_DROP_NO_MATCH);
        return false;
    }
    if (mp_invocation_is_outdated(inv)) {
        mp_host_not_now(inv);
        mp_invocation_leave_actor(inv);
        mp_invocation_key_anew(inv);
        return false;
    }
    if (mp_invocation_is_expired(inv, now_us)) {
        mp_host_not_now(inv);
        mp_invocation_drop(inv, MP_DROP_EXPIRED);
        return false;
    }
    if (inv->alarm && !mp_alarm_is(inv->alarm, inv->alarm_serial)) {
        mp_host_not_now(inv); /* it was set anew, or cancelled, meanwhile */
        mp_invocation_end_with(inv, mp_invocation_forget_source(inv));
        return false;
    }
    if (mp_invocation_is_repeat(inv)) {
        mp_host_not_now(inv);
        mp_invocation_skip_repeat(h, inv);
        return false;
    }
    return take_actor(h, inv);
}

static void on_answer(struct mp_state_ask *a, const struct mp_resume *answer)
{
    struct mp_invocation *inv = mp_of(a, struct mp_invocation, asking);
    struct mp_resume resume = *answer;

    if (inv->stage == MP_WAITING)
        mp_pool_answer(&mp_host_of(inv)->pool, inv, &resume);
}

void mp_host_on_ask(void *arg, struct mp_invocation *inv,
                    const struct mp_wait *wait)
{
    struct mp_host *h = arg;
    struct mp_resume refused = {
        .error = MP_S("function.conf has no [state] section")};

    inv->asking.done = on_answer;
    if (inv->actor)
        mp_state_ask(&h->states, inv->slot->state, inv->actor, wait,
                     &inv->asking);
    else
        mp_pool_answer(&h->pool, inv, &refused);
}
