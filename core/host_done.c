/*
 * host_done.c - an invocation has an outcome: what becomes real, and how.
 *
 *   it changed something, or read state and sends     one transaction: values,
 *     alarms, sends, outputs (outbox), the record of its input, the end of its
 *     row; when that is durable its input is let go, and outputs leave
 *   it did neither                                    its outputs leave at
 *     once; its input is let go when the broker has confirmed them
 *   it failed                                         a row for another try, or
 *     a dead letter, which is told to whom `on_failure` names
 *   it sent some of its batch away                    each as if it had failed
 *     alone, with the transaction of what was done
 *
 * Nothing is waited for here: tickets are.  The next event of the same actor
 * starts at once and sees the new values; what it does is durable later.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/crash.h"
#include "core/base/hash.h"
#include "core/host_impl.h"
#include "core/log.h"
#include "core/secrets.h"

#define ROOM_AGAIN_US MP_SECOND
/* What is on its way to the disk may turn out to be less than was feared. */
#define ROOM_SOON_US (10 * MP_MS)
/* No delay is longer: ten years, so that sums of times stay numbers. */
#define FAR_US (INT64_C(3650) * 24 * 3600 * MP_SECOND)
enum {
    SEND_COST = 512,    /* of a row beside its payload */
    OUTPUT_COST = 128,  /* as well */
    CREDITS_MAX = 1000, /* effects within which a deletion is made good */
    NAMES = 2048,       /* places for their names; twice as many, or more */
    EVENT_SHARE = 4     /* an event may write such a part of the database */
};

/* ---- ok ---- */

/* What an ok outcome amounts to. */
struct sum {
    unsigned publishes, sends, notices;
    uint64_t send_bytes;
    int64_t state_bytes; /* of the quota */
    uint64_t state_grow; /* what values and alarms add to the database */
    uint64_t send_grow, output_grow; /* its sends; outputs, in the outbox */
    bool behind;             /* an output must go behind others of its topic */
    struct mp_output *reply; /* to who asked; NULL: none */
};

/* Names of values, by hash; no hash is 0. */
struct names {
    uint64_t at[NAMES];
};

/* False: it was there. */
static bool add_name(struct names *set, const struct mp_hash_key *seed,
                     struct mp_slice name)
{
    uint64_t hash = mp_hash64(seed, name) | 1;
    size_t i = hash >> 1 & (NAMES - 1);

    for (; set->at[i]; i = (i + 1) & (NAMES - 1))
        if (set->at[i] == hash)
            return false;
    set->at[i] = hash;
    return true;
}

/*
 * What it deletes pays for what it adds, but once: the worker merges changes
 * of one value, and one that does not may not pay with the same value twice.
 * 0: it deletes nothing, which is most.
 */
static int64_t credit(struct mp_host *h, struct mp_invocation *inv,
                      const struct mp_outcome *out)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct names names = {{0}};
    struct mp_effect e;
    int64_t credit = 0, bytes;

    for (uint32_t i = 0; i < out->n_effects && i < CREDITS_MAX; i++) {
        MP_ASSERT(mp_read_effect(&r, &e, pairs) == 0);
        if (e.kind != MP_EFFECT_STATE)
            continue;
        bytes = mp_state_cost(&h->states, inv->actor, &e);
        if (add_name(&names, &h->states.seed, e.name) && bytes < 0)
            credit += bytes;
    }
    return credit;
}

static void add_state(struct mp_host *h, struct mp_invocation *inv,
                      const struct mp_effect *e, struct sum *sum, bool *deletes)
{
    int64_t bytes = mp_state_cost(&h->states, inv->actor, e);

    if (bytes > 0)
        sum->state_bytes += bytes;
    *deletes |= bytes < 0;
    sum->state_grow += mp_state_growth(&h->states, inv->actor, e);
}

static void add_alarm(struct mp_host *h, struct mp_invocation *inv,
                      const struct mp_effect *e, struct sum *sum)
{
    int64_t bytes = mp_alarms_cost(&h->alarms, inv->slot->state,
                                   e->has_key ? e->key : inv->key, e,
                                   inv->params, inv->n_params);

    if (bytes <= 0)
        return;
    sum->state_bytes += bytes;
    sum->state_grow += mp_commit_row_cost((uint64_t)bytes);
}

static void add_up(struct mp_host *h, struct mp_invocation *inv,
                   const struct mp_outcome *out, struct sum *sum)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    bool deletes = false;
    struct mp_effect e;

    for (uint32_t i = 0; i < out->n_effects; i++) {
        MP_ASSERT(mp_read_effect(&r, &e, pairs) == 0);
        switch (e.kind) {
        case MP_EFFECT_PUBLISH:
            sum->publishes++;
            sum->output_grow +=
                mp_commit_row_cost(e.topic.len + e.data.len + OUTPUT_COST);
            sum->behind |= mp_outbox_holds(&h->outbox, e.topic);
            break;
        case MP_EFFECT_SEND:
            sum->sends++;
            sum->send_bytes += e.data.len + SEND_COST;
            sum->send_grow += mp_commit_row_cost(e.data.len + SEND_COST);
            break;
        case MP_EFFECT_ALARM:
            add_alarm(h, inv, &e, sum);
            break;
        case MP_EFFECT_NOTIFY:
            sum->notices++;
            break;
        default:
            add_state(h, inv, &e, sum, &deletes);
            break;
        }
    }
    if (deletes)
        sum->state_bytes += credit(h, inv, out);
}

/* The reply goes with the outputs, behind them. */
static void add_reply(struct mp_host *h, struct mp_invocation *inv,
                      const struct mp_outcome *out, struct sum *sum)
{
    sum->reply = mp_host_reply(h, inv, out, sum->publishes + sum->sends + 1);
    if (!sum->reply)
        return;
    sum->output_grow +=
        mp_commit_row_cost(mp_output_bytes(sum->reply) + OUTPUT_COST);
    sum->behind |= mp_outbox_holds(&h->outbox, sum->reply->topic);
}

static void drop_reply(struct sum *sum)
{
    if (sum->reply)
        mp_output_free(sum->reply);
    sum->reply = NULL;
}

/* NULL: there is room for all of it; else what is used up. */
static const char *no_room(struct mp_host *h, struct mp_invocation *inv,
                           const struct sum *sum, char text[160])
{
    const struct mp_state_fn *state = inv->slot->state;
    uint64_t quota = state->quota;

    if (sum->state_bytes > 0 &&
        state->bytes + (uint64_t)sum->state_bytes > quota) {
        snprintf(text, 160,
                 "state: %llu bytes more do not fit: [state] quota is %llu "
                 "bytes and %llu are used",
                 (unsigned long long)sum->state_bytes,
                 (unsigned long long)quota, (unsigned long long)state->bytes);
        return text;
    }
    /* It would wait for ever, and everybody with it. */
    if (sum->state_grow + sum->send_grow + sum->output_grow >
        h->config->store.max_size / EVENT_SHARE)
        return "what it writes is more than a quarter of [store] max_size";
    return NULL;
}

/* ---- room for it ---- */

/* What ends with it gives its bytes back in the same transaction. */
static uint64_t own_bytes(struct mp_host *h, const struct mp_invocation *inv)
{
    uint64_t bytes = inv->row ? mp_queue_bytes(&h->queue, inv) : 0;

    mp_list_each (at, &inv->members)
        bytes += own_bytes(h, mp_of(at, struct mp_invocation, link));
    return bytes;
}

/* Bytes by which the database would grow. */
static uint64_t growth(struct mp_host *h, const struct mp_invocation *inv,
                       const struct mp_outcome *out, const struct sum *sum)
{
    bool ours = mp_invocation_is_ours(inv) || out->n_verdicts;
    bool in_outbox = sum->behind || ours || out->did & MP_DID_READ ||
                     out->n_effects > sum->publishes + sum->notices;
    uint64_t grow =
        sum->state_grow + sum->send_grow + (in_outbox ? sum->output_grow : 0);
    uint64_t own = own_bytes(h, inv);

    return grow > own ? grow - own : 0;
}

/*
 * What finds no room in the durable queue, or in the database, waits: the
 * event runs again later, and that is no attempt of its own.
 */
enum waits { WAITS_NOT, WAITS_SOON, WAITS_QUEUE, WAITS_STORE };

static enum waits must_wait(struct mp_host *h, const struct mp_invocation *inv,
                            const struct mp_outcome *out, const struct sum *sum)
{
    uint64_t grow = growth(h, inv, out, sum);

    if (sum->sends && h->queue.bytes + sum->send_bytes >
                          h->queue.max_bytes + own_bytes(h, inv))
        return WAITS_QUEUE;
    if (!grow || mp_commit_has_room(&h->commit, grow))
        return WAITS_NOT;
    if (mp_commit_has_room_later(&h->commit, grow))
        return WAITS_SOON;
    /* Who asks is refused: nobody waits for that room. */
    if (grow > h->store_wants && !mp_invocation_is_asked(inv))
        h->store_wants = grow;
    return WAITS_STORE;
}

/* The host stops, and its row or alarm stays: what only we have need not wait
 * for it. */
static void put_aside(struct mp_invocation *inv)
{
    mp_sched_release(&inv->slot->group->sched, inv);
    inv->stage = MP_ASIDE;
}

static void wait_for_room(struct mp_host *h, struct mp_invocation *inv,
                          enum waits why)
{
    mp_invocation_leave_actor(inv);
    mp_breaker_forget(&inv->slot->breaker);
    inv->stage = MP_DELAYED;
    if (mp_invocation_is_asked(inv)) {
        mp_request_refuse(inv, MP_REFUSED_OVER_BUDGET);
        return;
    }
    if (!mp_invocation_may_wait(inv)) {
        mp_invocation_drop(inv, MP_DROP_QUEUE_FULL);
        return;
    }
    if (why == WAITS_QUEUE)
        mp_fnlog(inv->slot, inv->version->fn, inv->trigger, MP_WARN,
                 MP_FIELDS(MP_TEXT("event", inv->input->id),
                           MP_NUM("queue_bytes", (int64_t)h->queue.bytes)),
                 "its sends find no room in the durable queue ([store] "
                 "queue); it is run again when there is some");
    if (h->draining)
        mp_batch_put_aside(inv);
    if (inv->is_batch && !inv->n_members)
        mp_invocation_end(inv);
    else if (h->draining && (inv->row || inv->alarm))
        put_aside(inv);
    else if (h->draining && inv->holds_ack && inv->input->qos > 0)
        mp_invocation_lose(inv);
    else
        mp_invocation_delay(inv,
                            why == WAITS_SOON ? ROOM_SOON_US : ROOM_AGAIN_US);
}

static void send_effect(struct mp_host *h, struct mp_invocation *inv,
                        const struct mp_effect *e, unsigned n)
{
    char id[MP_EVENT_ID_MAX], own[MP_EVENT_ID_MAX], source[MP_NAME_MAX + 16];
    struct mp_event event = {
        .type = MP_EVENT_SEND,
        .trigger = MP_S("send"),
        .subject = mp_slice_str(inv->slot->name),
        .source =
            mp_slice(source, (size_t)snprintf(source, sizeof source,
                                              "function:%s", inv->slot->name)),
        .id = mp_slice(id, mp_send_id(mp_invocation_run_id(inv, own),
                                      mp_slice_str(inv->slot->name), n, id)),
        .time_us = mp_wall_us(),
        .attempt = 1,
        .data = e->data,
        .key = e->has_key ? e->key : inv->key,
        .has_key = e->has_key || inv->has_key,
        .traceparent = inv->input->traceparent,
    };
    int64_t delay_us = e->delay_us < FAR_US ? e->delay_us : FAR_US;
    uint64_t ticket;

    if (!mp_host_slot(h, e->name))
        mp_fnlog(inv->slot, inv->version->fn, inv->trigger, MP_WARN,
                 MP_FIELDS(MP_TEXT("to", e->name)),
                 "there is no function of that name: what it is sent waits");
    event.datacontenttype = mp_format_type(e->format);
    inv->slot->metrics.sends++;
    (void)mp_host_send(h, e->name, &event, "send", delay_us,
                       delay_us ? 0 : inv->hops + 1, NULL, &ticket);
}

/* True: something has to be written. */
static bool apply(struct mp_host *h, struct mp_invocation *inv,
                  const struct mp_outcome *out)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_effect e;
    bool dirty = false;
    unsigned n = 0;

    for (uint32_t i = 0; i < out->n_effects; i++) {
        MP_ASSERT(mp_read_effect(&r, &e, pairs) == 0);
        if (e.kind == MP_EFFECT_PUBLISH) {
            n++;
        } else if (e.kind == MP_EFFECT_SEND) {
            send_effect(h, inv, &e, ++n);
            dirty = true;
        } else if (e.kind == MP_EFFECT_ALARM) {
            dirty |= mp_alarms_set(&h->alarms, inv->slot->state,
                                   e.has_key ? e.key : inv->key, &e,
                                   inv->params, inv->n_params);
        } else if (e.kind == MP_EFFECT_NOTIFY) {
            mp_request_notify(inv, &e);
        } else if (mp_state_apply(&h->states, inv->actor, &e)) {
            dirty |= !inv->slot->state->volatile_;
        }
    }
    return dirty;
}

/* Events that a function sent away: those of a batch, out of it. */
struct sent_away {
    struct mp_invocation **members; /* as many as verdicts; or NULL */
    struct mp_invocation *first;    /* to be run again, in order; NULL: none */
    int64_t first_us;               /* when */
};

static struct sent_away away_of(struct mp_invocation *inv,
                                const struct mp_outcome *out);
static void send_away(struct mp_host *h, struct mp_invocation *inv,
                      const struct mp_outcome *out, struct sent_away *away,
                      bool written);
static void first_waits(const struct sent_away *away);

/* again: NULL, or when it is run again. */
static void tell(struct mp_invocation *inv, const struct mp_outcome *out,
                 const char *again)
{
    mp_list_each (at, &inv->members)
        tell(mp_of(at, struct mp_invocation, link), out, again);
    while (!mp_list_empty(&inv->tolds)) {
        struct mp_told *t = mp_of(inv->tolds.next, struct mp_told, link);

        mp_list_unlink(&t->link);
        t->told(t, out, again);
    }
}

static void count_ok(struct mp_invocation *inv)
{
    if (inv->slot->breaker.state == MP_BREAKER_HALF)
        mp_log(MP_INFO, inv->slot->name, NULL, "out of quarantine");
    mp_breaker_ok(&inv->slot->breaker);
    inv->slot->metrics.last_ok_us = mp_wall_us();
}

/* True: its sender's id is remembered from now on. */
/* A run by the clock that counts when it is missed: nobody brings it again, so
 * that it was is written whatever it did. */
bool mp_invocation_is_told_to_clock(const struct mp_invocation *inv)
{
    return inv->holds_ack && inv->input->type == MP_EVENT_TIMER &&
           inv->input->note;
}

static bool remember_sender(struct mp_host *h, struct mp_invocation *inv)
{
    bool dirty = false;
    char id[MP_SENDER_ID];

    mp_list_each (at, &inv->members)
        dirty |= remember_sender(h, mp_of(at, struct mp_invocation, link));
    if (mp_invocation_sender(inv, id))
        dirty |=
            mp_seen_add(&h->seen, mp_slice_str(inv->slot->name),
                        mp_slice_str(inv->trigger->name),
                        mp_slice(id, sizeof id), inv->trigger->dedupe_us) != 0;
    return dirty;
}

/* A batch has no answer that is one event's own: each is told that it was
 * done. */
static void answer(struct mp_invocation *inv, const struct mp_outcome *out)
{
    static const struct mp_outcome done = {.kind = MP_OUT_OK};

    mp_list_each (at, &inv->members)
        mp_request_answer(mp_of(at, struct mp_invocation, link), &done);
    mp_request_answer(inv, out);
}

/* What ends with it; true: that is written. */
static bool close_sources(struct mp_host *h, struct mp_invocation *inv,
                          const struct mp_outcome *out)
{
    bool dirty = mp_invocation_forget_source(inv) != 0;

    mp_invocation_counters(inv)->run += mp_invocation_events(inv);
    tell(inv, out, NULL);
    answer(inv, out);
    dirty |= mp_invocation_is_told_to_clock(inv);
    return remember_sender(h, inv) || dirty;
}

static void succeed(struct mp_host *h, struct mp_invocation *inv,
                    const struct mp_outcome *out, const struct sum *sum)
{
    struct mp_slot *slot = inv->slot;
    /* Events of its batch, and itself where it runs alone, may have another
     * end than what was done. */
    bool itself = out->n_verdicts && !inv->is_batch;
    struct sent_away away = away_of(inv, out);
    bool read = (out->did & MP_DID_READ) && !slot->state->volatile_;
    /* Nobody else has the event: its outputs must be as safe as its end. */
    bool ours = mp_invocation_is_ours(inv) || out->n_verdicts;
    bool sends = sum->publishes || sum->reply;
    bool dirty = apply(h, inv, out);
    uint64_t ticket = 0;

    mp_commit_grow(&h->commit, sum->state_grow);
    count_ok(inv);
    if (!itself) {
        dirty |= close_sources(h, inv, out);
        dirty |= mp_request_keep(h, inv, dirty, sends);
    }
    if (sum->reply)
        mp_host_count_reply(inv, sum->reply);
    if (sends && (dirty || read || sum->behind || ours)) {
        mp_outputs_make(inv, out, sum->reply, mp_host_into_outbox, h);
        dirty = true;
    }
    if (out->n_verdicts)
        send_away(h, inv, out, &away, dirty);
    if (itself)
        return;
    if (dirty) {
        mp_invocation_note(inv);
        ticket = mp_commit_ticket(&h->commit);
    } else if (read && inv->actor) {
        ticket = mp_state_ticket(inv->actor);
    }
    if (dirty || !sends) {
        mp_invocation_end_with(inv, ticket);
    } else {
        mp_host_start_sending(h, inv);
        mp_outputs_make(inv, out, sum->reply, mp_host_publish_now, h);
    }
    first_waits(&away);
}

/* The same id ran beside it, and was first: nothing of this one counts.  (Of
 * a batch, what the others did can't be told from it: they run alone.) */
static bool is_repeat(struct mp_host *h, struct mp_invocation *inv)
{
    if (!mp_invocation_is_repeat(inv))
        return false;
    mp_breaker_ok(&inv->slot->breaker);
    if (inv->is_batch)
        mp_batch_scatter(h, inv);
    else
        mp_invocation_skip_repeat(h, inv);
    return true;
}

/* ---- not ok ---- */

static int64_t backoff_us(const struct mp_invocation *inv,
                          const struct mp_outcome *out)
{
    const struct mp_function *fn = inv->version->fn;
    int64_t us = fn->backoff_us;

    if (out->did & MP_DID_RETRY && out->retry_after_us >= 0)
        return out->retry_after_us < FAR_US ? out->retry_after_us : FAR_US;
    for (uint32_t i = 1; i < inv->attempt && us < fn->max_backoff_us; i++)
        us *= 2;
    if (us > fn->max_backoff_us)
        us = fn->max_backoff_us;
    return us + us / 5 * (rand() % 2001 - 1000) / 1000; /* 20 % jitter */
}

/* One that waited, read state or asked for it may do better next time; any
 * other would fail the same way again on the same image. */
static bool may_do_better(const struct mp_invocation *inv,
                          const struct mp_outcome *out)
{
    const struct mp_function *fn = inv->version->fn;
    int64_t age_us = mp_now_us() - inv->input->received_us;

    return out->did && inv->attempt < fn->attempts &&
           (fn->retry_max_age_us == 0 || age_us < fn->retry_max_age_us);
}

/* Who waits need not wait for hours. */
static void tell_again(struct mp_invocation *inv, const struct mp_outcome *out,
                       uint32_t attempt, int64_t delay_us)
{
    char text[100];

    snprintf(text, sizeof text, "attempt %u of %u; it is run again in %.1f s",
             attempt, inv->version->fn->attempts, (double)delay_us / MP_SECOND);
    tell(inv, out, text);
}

/* While the database has no room for a row, its input waits with it. */
static bool must_hold(struct mp_host *h, const struct mp_invocation *inv)
{
    return !inv->row && inv->holds_ack && inv->input->qos > 0 &&
           !mp_commit_has_room(&h->commit,
                               mp_commit_row_cost(mp_invocation_bytes(inv)));
}

/* It may be run again in *us; -1: it is over here, and comes again.  False: it
 * can't be kept for that. */
static bool keep_for_retry(struct mp_host *h, struct mp_invocation *inv,
                           const struct mp_outcome *out, int64_t *us)
{
    int64_t delay_us = backoff_us(inv, out);
    uint32_t attempt = inv->attempt;

    *us = -1;
    mp_invocation_leave_actor(inv);
    inv->stage = MP_DELAYED;
    inv->attempt++;
    if (!must_hold(h, inv) &&
        !mp_invocation_park(inv, MP_PARKED_RETRY, mp_host_now(h) + delay_us)) {
        inv->attempt--;
        return false;
    }
    mp_fnlog(
        inv->slot, inv->version->fn, inv->trigger, MP_WARN,
        MP_FIELDS(MP_TEXT("event", inv->input->id), MP_NUM("attempt", attempt),
                  MP_NUM("next_in_ms", delay_us / 1000), mp_host_about(inv)),
        "%s: %.*s; it will be run again", mp_kind_name(out->kind),
        MP_FMT(out->error));
    tell_again(inv, out, attempt, delay_us);
    inv->slot->metrics.retries++;
    inv->deaths = 0;
    inv->suspect = false;
    if (inv->version->fn->order == MP_ORDER_OVERTAKE)
        mp_sched_release(&inv->slot->group->sched, inv);
    if (h->draining && inv->row)
        put_aside(inv);
    else
        *us = delay_us;
    return true;
}

static bool retry(struct mp_host *h, struct mp_invocation *inv,
                  const struct mp_outcome *out)
{
    int64_t delay_us;

    /* The broker sends it again; but not what is noted, with its row. */
    if (h->draining && inv->holds_ack && inv->input->qos > 0 && !inv->row) {
        mp_invocation_lose(inv);
        return true;
    }
    if (!keep_for_retry(h, inv, out, &delay_us))
        return false;
    if (delay_us >= 0)
        mp_invocation_delay(inv, delay_us);
    return true;
}

static void count_failure(struct mp_invocation *inv,
                          const struct mp_outcome *out)
{
    const struct mp_function *fn = inv->version->fn;
    struct mp_breaker *b = &inv->slot->breaker;
    struct mp_breaker_rule rule = {fn->breaker_failures, fn->breaker_pause_us,
                                   fn->breaker_max_pause_us};
    uint64_t held_back = b->held_back;

    if (out->did & MP_DID_RETRY || out->kind == MP_OUT_REJECTED) {
        mp_breaker_forget(b);
        return;
    }
    if (!mp_breaker_failed(b, &rule, mp_now_us()))
        return;
    mp_log(MP_WARN, inv->slot->name,
           MP_FIELDS(MP_NUM("next_try_in_ms", b->pause_us / 1000),
                     MP_NUM("held_back", (int64_t)held_back)),
           "quarantined after %u failures in a row", b->in_a_row);
}

static enum mp_dead dead_of(enum mp_kind kind)
{
    switch (kind) {
    case MP_OUT_REJECTED:
        return MP_DEAD_REJECTED;
    case MP_OUT_TIMEOUT:
        return MP_DEAD_TIMEOUT;
    case MP_OUT_MEMORY:
        return MP_DEAD_MEMORY;
    case MP_OUT_KILLED:
        return MP_DEAD_KILLED;
    default:
        return MP_DEAD_ERROR;
    }
}

/* ---- sent away by e:retry, e:reject ---- */

static struct sent_away away_of(struct mp_invocation *inv,
                                const struct mp_outcome *out)
{
    struct sent_away away = {.members = NULL};

    if (inv->is_batch && out->n_verdicts)
        away.members = mp_batch_part(inv, out);
    return away;
}

/* Strictly in order: before all that wait behind its batch. */
static void wait_behind(struct mp_invocation *inv, struct mp_invocation **again,
                        unsigned n)
{
    while (n-- > 0)
        mp_sched_add_next(&inv->slot->group->sched, again[n], inv);
}

/* As if each had failed by itself, but with the transaction of what the others
 * did. */
static void send_away(struct mp_host *h, struct mp_invocation *inv,
                      const struct mp_outcome *out, struct sent_away *away,
                      bool written)
{
    struct mp_reader r = mp_reader(out->verdicts);
    struct mp_invocation **members = away->members;
    bool strict = inv->is_batch && inv->order &&
                  inv->version->fn->order == MP_ORDER_STRICT;
    struct mp_verdict v;
    unsigned n = 0;

    for (uint32_t i = 0; i < out->n_verdicts; i++) {
        struct mp_invocation *m = members ? members[i] : inv;
        struct mp_outcome one = {.kind = MP_OUT_REJECTED};
        struct mp_buf hidden;
        int64_t us;

        MP_ASSERT(mp_read_verdict(&r, &v) == 0);
        mp_buf_init(&hidden, v.reason.len);
        one.error = mp_secrets_hide(v.reason, &hidden);
        if (v.retry) {
            one.kind = MP_OUT_ERROR;
            one.did = MP_DID_RETRY;
            one.retry_after_us = -1;
        }
        if (!v.retry || !may_do_better(m, &one) ||
            !keep_for_retry(h, m, &one, &us)) {
            tell(m, &one, NULL);
            mp_request_answer(m, &one);
            (void)mp_request_keep(h, m, true, false);
            mp_host_bury_with(m, dead_of(one.kind), &one, written);
        } else if (us >= 0 && strict) {
            away->first_us = n ? away->first_us : us;
            members[n++] = m; /* i has passed it */
        } else if (us >= 0) {
            mp_invocation_delay(m, us);
        }
        mp_buf_fini(&hidden);
    }
    away->first = n ? members[0] : NULL;
    wait_behind(inv, members, n);
    free(members);
}

/* The batch has let go of its key: the first of those to be run again has it,
 * and its time. */
static void first_waits(const struct sent_away *away)
{
    if (away->first && !away->first->behind &&
        mp_sched_hold(&away->first->slot->group->sched, away->first))
        mp_invocation_delay(away->first, away->first_us);
}

/* ---- the pool says: done ---- */

/* No attempt of theirs, and none for the breaker: those that are bad will
 * show. */
static void part_failed(struct mp_host *h, struct mp_invocation *b,
                        const struct mp_outcome *out)
{
    mp_breaker_forget(&b->slot->breaker);
    mp_fnlog(b->slot, b->version->fn, b->trigger, MP_WARN,
             MP_FIELDS(MP_TEXT("event", b->input->id),
                       MP_NUM("events", b->n_members)),
             "a batch ended in %s: %.*s; its events run one by one",
             mp_kind_name(out->kind), MP_FMT(out->error));
    mp_batch_scatter(h, b);
}

static void fail(struct mp_host *h, struct mp_invocation *inv,
                 const struct mp_outcome *out)
{
    if (inv->is_batch) {
        part_failed(h, inv, out);
        return;
    }
    count_failure(inv, out);
    if (mp_invocation_is_asked(inv)) {
        mp_invocation_counters(inv)->run++;
        tell(inv, out, NULL);
        mp_request_answer(inv, out);
        mp_request_failed(inv, out);
        return;
    }
    if (out->kind != MP_OUT_REJECTED && out->kind != MP_OUT_KILLED &&
        may_do_better(inv, out) && retry(h, inv, out))
        return;
    tell(inv, out, NULL);
    mp_request_answer(inv, out);
    (void)mp_request_keep(h, inv, true, false);
    mp_host_bury(inv, dead_of(out->kind), out);
}

/* "WHAT (5s)TAIL" */
static const char *over(char text[160], const char *what, int64_t limit_us,
                        const char *tail)
{
    bool whole = limit_us >= MP_SECOND;

    snprintf(text, 160, "%s (%g%s)%s", what,
             (double)limit_us / (whole ? MP_SECOND : MP_MS), whole ? "s" : "ms",
             tail);
    return text;
}

/* Which limit ended it. */
static const char *too_long(const struct mp_invocation *inv, char text[160])
{
    const struct mp_function *fn = inv->version->fn;

    if (inv->stage == MP_WAITING)
        return over(text, "limits.timeout", fn->timeout_us,
                    " passed while it was waiting");
    if (inv->cpu_over)
        return over(text, "ran longer than limits.cpu", fn->cpu_us, "");
    return over(text, "ran longer than limits.timeout", fn->timeout_us, "");
}

int mp_host_on_done(void *arg, struct mp_invocation *inv,
                    const struct mp_outcome *out)
{
    struct mp_host *h = arg;
    struct mp_slot *slot = inv->slot;
    struct mp_slice prefix = mp_slice_str(h->config->mqtt.prefix);
    struct mp_outcome full = *out;
    struct sum sum = {0};
    const char *used_up;
    enum waits waits;
    char text[160];

    if (out->kind == MP_OUT_OK &&
        mp_outputs_check(inv->version->fn, prefix, out))
        return MP_EPARSE;
    if (mp_verdicts_check(out, inv->is_batch ? inv->n_members
                                             : mp_invocation_runs_batched(inv)))
        return MP_EPARSE;
    if (mp_fnlog_check(inv->version->fn, out->n_logs, out->logs))
        return MP_EPARSE;
    mp_sched_stopped(&slot->group->sched, inv);
    mp_state_ask_not(&inv->asking); /* its time was up while it waited */
    MP_CRASH_POINT("host.done");
    if (out->n_logs || out->logs_cut)
        mp_fnlog_lines(slot, inv->version->fn, inv->trigger, &inv->input->id,
                       out->n_logs, out->logs, out->logs_cut);
    if (out->kind == MP_OUT_OK && is_repeat(h, inv))
        return 0;
    if (out->kind == MP_OUT_OK &&
        (out->n_effects || inv->input->response_topic.ptr ||
         (inv->row && inv->input->exchange.ptr))) {
        add_up(h, inv, out, &sum);
        sum.state_grow += mp_request_growth(inv, out);
        add_reply(h, inv, out, &sum);
        waits = must_wait(h, inv, out, &sum);
        used_up = no_room(h, inv, &sum, text);
        if (used_up || waits)
            drop_reply(&sum);
        if (!used_up && waits) {
            wait_for_room(h, inv, waits);
            return 0;
        }
        if (used_up) {
            full.kind = MP_OUT_ERROR;
            full.error = mp_slice_str(used_up);
            full.did |= MP_DID_READ; /* there may be room later */
        }
    }
    if (full.kind == MP_OUT_TIMEOUT)
        full.error = mp_slice_str(too_long(inv, text));
    slot->metrics.invocations[full.kind]++;
    if (full.kind == MP_OUT_OK)
        succeed(h, inv, out, &sum);
    else
        fail(h, inv, &full);
    return 0;
}
