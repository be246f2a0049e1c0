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
 *
 * Nothing is waited for here: tickets are.  The next event of the same actor
 * starts at once and sees the new values; what it does is durable later.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/crash.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/event_json.h"
#include "core/host_impl.h"
#include "core/log.h"

#define ROOM_AGAIN_US MP_SECOND
/* No delay is longer: ten years, so that sums of times stay numbers. */
#define FAR_US (INT64_C(3650) * 24 * 3600 * MP_SECOND)
enum {
    SEND_COST = 512,   /* of a row beside its payload */
    CREDITS_MAX = 1000 /* effects within which a deletion is made good */
};

/* A dead letter as JSON: a payload, in base64 at worst, and a traceback. */
enum { FAILURE_MAX = 1 << 20 };

/* ---- ok ---- */

/* What an ok outcome amounts to. */
struct sum {
    unsigned publishes, sends;
    uint64_t send_bytes;
    int64_t state_bytes; /* of the quota */
    bool behind;         /* an output must go behind others of its topic */
};

/* Does one before it change the same value?  (The worker merges them; one
 * that does not may not pay for new values with what it deleted already.) */
static bool is_again(const struct mp_outcome *out, uint32_t n,
                     struct mp_slice name)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_effect e;

    if (n > CREDITS_MAX)
        return true;
    for (uint32_t i = 0; i < n; i++) {
        MP_ASSERT(mp_read_effect(&r, &e, pairs) == 0);
        if (e.kind == MP_EFFECT_STATE && mp_slice_eq(e.name, name))
            return true;
    }
    return false;
}

static void add_up(struct mp_host *h, struct mp_invocation *inv,
                   const struct mp_outcome *out, struct sum *sum)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_effect e;
    int64_t bytes;

    for (uint32_t i = 0; i < out->n_effects; i++) {
        MP_ASSERT(mp_read_effect(&r, &e, pairs) == 0);
        switch (e.kind) {
        case MP_EFFECT_PUBLISH:
            sum->publishes++;
            sum->behind |= mp_outbox_holds(&h->outbox, e.topic);
            break;
        case MP_EFFECT_SEND:
            sum->sends++;
            sum->send_bytes += e.data.len + SEND_COST;
            break;
        case MP_EFFECT_ALARM:
            bytes = mp_alarms_cost(&h->alarms, inv->slot->state,
                                   e.has_key ? e.key : inv->key, &e,
                                   inv->params, inv->n_params);
            if (bytes > 0)
                sum->state_bytes += bytes;
            break;
        default:
            bytes = mp_state_cost(&h->states, inv->actor, &e);
            if (bytes > 0 || !is_again(out, i, e.name))
                sum->state_bytes += bytes;
            break;
        }
    }
}

/* NULL: there is room for all of it; else what is used up. */
static const char *no_room(struct mp_invocation *inv, const struct sum *sum,
                           char text[160])
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
    return NULL;
}

/*
 * Sends for which the durable queue has no room wait, and with them the event
 * that makes them: it runs again later, and that is no attempt of its own.  A
 * quarter of the queue stays for inputs: a flood of sends takes nobody's
 * parking.
 */
static bool must_wait(struct mp_host *h, const struct sum *sum)
{
    return sum->sends &&
           h->queue.bytes + sum->send_bytes > h->queue.max_bytes / 4 * 3;
}

static void wait_for_room(struct mp_host *h, struct mp_invocation *inv)
{
    mp_invocation_leave_actor(inv);
    mp_breaker_forget(&inv->slot->breaker);
    inv->stage = MP_DELAYED;
    mp_fnlog(inv->slot, inv->version->fn, inv->trigger, MP_WARN,
             MP_FIELDS(MP_TEXT("event", inv->input->id),
                       MP_NUM("queue_bytes", (int64_t)h->queue.bytes)),
             "its sends find no room in the durable queue ([store] queue); it "
             "is run again when there is some");
    if (h->draining && (inv->row || inv->alarm))
        inv->stage = MP_ASIDE;
    else if (h->draining && inv->holds_ack && inv->input->qos > 0)
        mp_invocation_lose(inv);
    else
        mp_invocation_delay(inv, ROOM_AGAIN_US);
}

static void send_effect(struct mp_host *h, struct mp_invocation *inv,
                        const struct mp_effect *e, unsigned n)
{
    char id[MP_EVENT_ID_MAX], source[MP_NAME_MAX + 16];
    struct mp_event event = {
        .type = MP_EVENT_SEND,
        .trigger = MP_S("send"),
        .subject = mp_slice_str(inv->slot->name),
        .source =
            mp_slice(source, (size_t)snprintf(source, sizeof source,
                                              "function:%s", inv->slot->name)),
        .id = mp_slice(id, mp_send_id(inv->input->id,
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
    if (e->format == MP_FORMAT_JSON)
        event.datacontenttype = MP_S("application/json");
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
        } else if (mp_state_apply(&h->states, inv->actor, &e)) {
            dirty |= !inv->slot->state->volatile_;
        }
    }
    return dirty;
}

static uint32_t *direct_of(struct mp_host *h, struct mp_slice topic)
{
    static const struct mp_hash_key plain = {0, 0};

    return &h->direct[mp_hash64(&plain, topic) % MP_DIRECT_TOPICS];
}

void mp_host_count_direct(struct mp_host *h, const struct mp_output *o, int by)
{
    uint32_t *n = direct_of(h, o->topic);

    *n = (uint32_t)((int64_t)*n + by);
}

/*
 * What goes into the outbox must stay behind what left for its topic without
 * it, also when both are sent again after a restart: so that one goes first.
 */
static void keep_behind(struct mp_host *h, struct mp_slice topic)
{
    if (*direct_of(h, topic) == 0)
        return;
    mp_list_each_safe (at, &h->all) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, all);

        if (inv->stage != MP_SENDING)
            continue;
        mp_list_each (o, &inv->outputs)
            if (mp_slice_eq(mp_of(o, struct mp_output, mine)->topic, topic)) {
                mp_invocation_park_outputs(inv);
                break;
            }
    }
}

static void into_outbox(void *arg, struct mp_invocation *inv,
                        struct mp_output *o)
{
    struct mp_host *h = arg;

    mp_list_unlink(&o->mine);
    keep_behind(h, o->topic);
    (void)mp_outbox_add(&h->outbox, o, mp_slice_str(inv->slot->name),
                        &inv->slot->metrics.flash);
}

static void on_output_done(struct mp_output *o, unsigned reason,
                           const char *why)
{
    struct mp_invocation *inv = o->owner;
    struct mp_host *h = mp_host_of(inv);
    struct mp_slot *slot = inv->slot;

    if (h->closing) { /* not sent: its input stays unsettled */
        mp_output_free(o);
        return;
    }
    mp_list_unlink(&o->mine);
    mp_host_count_direct(h, o, -1);
    if (reason) {
        mp_host_refused(h, mp_slice_str(slot->name), o, reason, why);
        inv->refused = true;
    }
    mp_output_free(o);
    if (!mp_list_empty(&inv->outputs))
        return;
    if (!inv->refused || !h->loaded) {
        mp_invocation_end(inv);
        return;
    }
    mp_invocation_note(inv); /* with the dead letter */
    mp_invocation_end_with(inv, mp_commit_ticket(&h->commit));
}

static void publish_now(void *arg, struct mp_invocation *inv,
                        struct mp_output *o)
{
    struct mp_host *h = arg;

    (void)inv;
    o->done = on_output_done;
    mp_host_count_direct(h, o, 1);
    h->mqtt->publish(h->mqtt_self, o);
}

static void tell(struct mp_invocation *inv, const struct mp_outcome *out)
{
    while (!mp_list_empty(&inv->tolds)) {
        struct mp_told *t = mp_of(inv->tolds.next, struct mp_told, link);

        mp_list_unlink(&t->link);
        t->told(t, out, NULL);
    }
}

static void count_ok(struct mp_invocation *inv)
{
    if (inv->slot->breaker.state == MP_BREAKER_HALF)
        mp_log(MP_INFO, inv->slot->name, NULL, "out of quarantine");
    mp_breaker_ok(&inv->slot->breaker);
    inv->slot->metrics.last_ok_us = mp_wall_us();
}

static void succeed(struct mp_host *h, struct mp_invocation *inv,
                    const struct mp_outcome *out, const struct sum *sum)
{
    struct mp_slot *slot = inv->slot;
    bool read = (out->did & MP_DID_READ) && !slot->state->volatile_;
    /* Nobody else has the event: its outputs must be as safe as its end. */
    bool ours = inv->row || inv->alarm || inv->noted;
    bool dirty = apply(h, inv, out);
    char id[MP_SENDER_ID];
    uint64_t ticket = 0;

    count_ok(inv);
    tell(inv, out);
    dirty |= mp_invocation_forget_source(inv) != 0;
    if (mp_invocation_sender(inv, id))
        dirty |=
            mp_seen_add(&h->seen, mp_slice_str(slot->name),
                        mp_slice_str(inv->trigger->name),
                        mp_slice(id, sizeof id), inv->trigger->dedupe_us) != 0;
    if (sum->publishes && (dirty || read || sum->behind || ours)) {
        mp_outputs_make(inv, out, into_outbox, h);
        dirty = true;
    }
    if (dirty) {
        mp_invocation_note(inv);
        ticket = mp_commit_ticket(&h->commit);
    } else if (read && inv->actor) {
        ticket = mp_state_ticket(inv->actor);
    }
    if (dirty || !sum->publishes) {
        mp_invocation_end_with(inv, ticket);
        return;
    }
    mp_invocation_leave_actor(inv);
    mp_sched_release(&slot->group->sched, inv);
    inv->stage = MP_SENDING;
    mp_outputs_make(inv, out, publish_now, h);
}

/* The same id ran beside it, and was first: nothing of this one counts. */
static bool is_repeat(struct mp_host *h, struct mp_invocation *inv)
{
    char id[MP_SENDER_ID];
    uint64_t ticket, gone;

    if (!mp_invocation_sender(inv, id) ||
        !mp_seen_has(&h->seen, mp_slice_str(inv->slot->name),
                     mp_slice_str(inv->trigger->name), mp_slice(id, sizeof id),
                     &ticket))
        return false;
    mp_invocation_counters(inv)->skipped[MP_SKIP_DUPLICATE]++;
    mp_breaker_ok(&inv->slot->breaker);
    gone = mp_invocation_forget_source(inv);
    mp_invocation_end_with(inv, gone ? gone : ticket);
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

static bool retry(struct mp_host *h, struct mp_invocation *inv,
                  const struct mp_outcome *out)
{
    int64_t delay_us = backoff_us(inv, out);
    uint32_t attempt = inv->attempt;

    if (h->draining && inv->holds_ack && inv->input->qos > 0) {
        mp_invocation_lose(inv); /* the broker sends it again */
        return true;
    }
    mp_invocation_leave_actor(inv);
    inv->stage = MP_DELAYED;
    inv->attempt++;
    if (!mp_invocation_park(inv, MP_PARKED_RETRY, mp_host_now(h) + delay_us)) {
        inv->attempt--;
        return false;
    }
    mp_fnlog(inv->slot, inv->version->fn, inv->trigger, MP_WARN,
             MP_FIELDS(MP_TEXT("topic", inv->input->topic),
                       MP_TEXT("event", inv->input->id),
                       MP_NUM("attempt", attempt),
                       MP_NUM("next_in_ms", delay_us / 1000)),
             "%s: %.*s; it will be run again", mp_kind_name(out->kind),
             MP_FMT(out->error));
    inv->slot->metrics.retries++;
    inv->deaths = 0;
    inv->suspect = false;
    if (inv->version->fn->order == MP_ORDER_OVERTAKE)
        mp_sched_release(&inv->slot->group->sched, inv);
    if (h->draining && inv->row)
        inv->stage = MP_ASIDE;
    else
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

/* ---- dead letters ---- */

/* What `on_failure` is told, as JSON. */
static void describe(struct mp_buf *b, const struct mp_letter *letter)
{
    mp_buf_printf(b, "{\"attempts\":%u,\"error\":", letter->attempt);
    mp_json_put_string(b, letter->error);
    mp_buf_printf(b, ",\"event\":");
    mp_event_json(b, letter->event);
    mp_buf_printf(b, ",\"function\":");
    mp_json_put_string(b, letter->fn);
    mp_buf_printf(b, ",\"outcome\":");
    mp_json_put_string(b, letter->outcome);
    mp_buf_printf(b, ",\"version\":");
    mp_json_put_string(b, letter->version);
    mp_buf_printf(b, "}");
}

/* The message for `on_failure = topic:T`; NULL: it would be too large. */
static struct mp_output *failure_output(const char *topic,
                                        const struct mp_letter *letter)
{
    char id[MP_OUTPUT_ID_MAX];
    struct mp_effect e = {
        .kind = MP_EFFECT_PUBLISH,
        .topic = mp_slice_str(topic),
        .format = MP_FORMAT_JSON,
        .qos = 1,
    };
    struct mp_output *o = NULL;
    struct mp_buf text;
    int len = snprintf(id, sizeof id, "%.*s/%.*s/failure",
                       MP_FMT(letter->event->id), MP_FMT(letter->fn));

    mp_buf_init(&text, FAILURE_MAX);
    describe(&text, letter);
    e.data = mp_buf_bytes(&text);
    if (!text.full)
        o = mp_output_new(&e, mp_slice(id, (size_t)len),
                          letter->event->traceparent);
    mp_buf_fini(&text);
    return o;
}

static void send_failure(struct mp_host *h, const char *function,
                         const struct mp_letter *letter, uint32_t hops)
{
    struct mp_event event = {
        .type = MP_EVENT_SEND,
        .trigger = MP_S("send"),
        .source = MP_S("on_failure"),
        .subject = letter->fn,
        .id = letter->event->id,
        .time_us = letter->time_us,
        .attempt = 1,
        .datacontenttype = MP_S("application/json"),
    };
    struct mp_buf text;
    uint64_t ticket;

    mp_buf_init(&text, FAILURE_MAX);
    describe(&text, letter);
    event.data = mp_buf_bytes(&text);
    /* A hop: two functions may name each other. */
    if (!text.full &&
        mp_queue_has_room(&h->queue, mp_queue_fn(&h->queue, letter->fn),
                          text.len, 0))
        (void)mp_host_send(h, mp_slice_str(function), &event, "send", 0, hops,
                           NULL, &ticket);
    mp_buf_fini(&text);
}

static void say_dead(struct mp_invocation *inv, const struct mp_function *fn,
                     enum mp_dead why, const struct mp_outcome *out, int64_t id)
{
    struct mp_field fields[] = {
        MP_TEXT("topic", inv->input->topic),
        MP_TEXT("event", inv->input->id),
        MP_NUM("attempt", inv->attempt),
        MP_NUM("dead_letter", id),
        {NULL, {0}, 0, false},
        {NULL, {0}, 0, false},
    };

    if (out->traceback.len)
        fields[4] = MP_TEXT("traceback", out->traceback);
    mp_fnlog(inv->slot, fn, inv->trigger,
             why == MP_DEAD_REJECTED ? MP_WARN : MP_ERROR, fields, "%s%s%.*s",
             why == MP_DEAD_ERROR ? "" : mp_dead_name(why),
             why == MP_DEAD_ERROR ? "" : ": ", MP_FMT(out->error));
}

void mp_host_bury(struct mp_invocation *inv, enum mp_dead why,
                  const struct mp_outcome *out)
{
    struct mp_host *h = mp_host_of(inv);
    struct mp_slot *slot = inv->slot;
    const struct mp_function *fn =
        inv->version ? inv->version->fn : inv->routed->fn;
    struct mp_event event;
    struct mp_letter letter = {
        .fn = mp_slice_str(slot->name),
        .version = mp_slice_str(fn->version),
        .outcome = mp_slice_str(mp_dead_name(why)),
        .error = out->error,
        .traceback = out->traceback,
        .attempt = inv->attempt,
        .time_us = mp_wall_us(),
        .event = &event,
        .flash = &slot->metrics.flash,
    };
    struct mp_output *failure = NULL;
    bool ours = inv->row || inv->alarm || inv->noted, dirty;
    uint64_t ticket = 0;
    int64_t id = 0;

    mp_invocation_event(inv, &event);
    slot->metrics.dead[why]++;
    dirty = mp_dead_add(&h->dead, &letter, &id) != 0;
    say_dead(inv, fn, why, out, id);
    dirty |= mp_invocation_forget_source(inv) != 0;
    if (fn->on_failure && strncmp(fn->on_failure, "topic:", 6) == 0) {
        failure = failure_output(fn->on_failure + 6, &letter);
    } else if (fn->on_failure) {
        send_failure(h, fn->on_failure + strlen("function:"), &letter,
                     inv->hops + 1);
        dirty = true;
    }
    if (failure &&
        (dirty || ours || mp_outbox_holds(&h->outbox, failure->topic))) {
        into_outbox(h, inv, failure);
        dirty = true;
        failure = NULL;
    }
    if (dirty)
        mp_invocation_note(inv);
    if (dirty)
        ticket = mp_commit_ticket(&h->commit);
    else if (inv->actor) /* it failed of what it read, maybe */
        ticket = mp_state_ticket(inv->actor);
    if (!failure) {
        mp_invocation_end_with(inv, ticket);
        return;
    }
    mp_invocation_leave_actor(inv);
    mp_sched_release(&slot->group->sched, inv);
    inv->stage = MP_SENDING;
    mp_list_append(&inv->outputs, &failure->mine);
    failure->owner = inv;
    publish_now(h, inv, failure);
}

/* The broker said no, or it was dropped from the outbox. */
void mp_host_refused(void *arg, struct mp_slice fn, const struct mp_output *o,
                     unsigned reason, const char *why)
{
    struct mp_host *h = arg;
    struct mp_slot *slot = mp_host_slot(h, fn);
    struct mp_event event = {
        .type = MP_EVENT_MQTT,
        .id = o->id,
        .source = MP_S("outbox"),
        .subject = o->topic,
        .topic = o->topic,
        .trigger = MP_S("output"),
        .qos = o->qos,
        .retained = o->retain,
        .data = o->data,
        .time_us = mp_wall_us(),
        .attempt = 1,
    };
    struct mp_letter letter = {
        .fn = fn,
        .version = slot && slot->live ? mp_slice_str(slot->live->fn->version)
                                      : MP_S(""),
        .outcome = mp_slice_str(mp_dead_name(MP_DEAD_OUTPUT)),
        .error = mp_slice_str(why),
        .attempt = 1,
        .time_us = event.time_us,
        .event = &event,
        .flash = slot ? &slot->metrics.flash : NULL,
    };
    int64_t id = 0;

    if (h->loaded)
        (void)mp_dead_add(&h->dead, &letter, &id);
    if (!slot)
        return;
    slot->metrics.dead[MP_DEAD_OUTPUT]++;
    if (slot->live)
        mp_fnlog(slot, slot->live->fn, NULL, MP_ERROR,
                 MP_FIELDS(MP_TEXT("topic", o->topic), MP_TEXT("id", o->id),
                           MP_NUM("reason", reason), MP_NUM("dead_letter", id)),
                 "%s: %s",
                 reason ? "the broker refused an output"
                        : "an output was given up",
                 why);
}

/* ---- the pool says: done ---- */

static void fail(struct mp_host *h, struct mp_invocation *inv,
                 const struct mp_outcome *out)
{
    tell(inv, out);
    count_failure(inv, out);
    if (out->kind != MP_OUT_REJECTED && out->kind != MP_OUT_KILLED &&
        may_do_better(inv, out) && retry(h, inv, out))
        return;
    mp_host_bury(inv, dead_of(out->kind), out);
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
    char text[160];

    if (out->kind == MP_OUT_OK &&
        mp_outputs_check(inv->version->fn, prefix, out))
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
    if (out->kind == MP_OUT_OK && out->n_effects) {
        add_up(h, inv, out, &sum);
        if (must_wait(h, &sum)) {
            wait_for_room(h, inv);
            return 0;
        }
        used_up = no_room(inv, &sum, text);
        if (used_up) {
            full.kind = MP_OUT_ERROR;
            full.error = mp_slice_str(used_up);
            full.did |= MP_DID_READ; /* there may be room later */
        }
    }
    slot->metrics.invocations[full.kind]++;
    if (full.kind == MP_OUT_OK)
        succeed(h, inv, out, &sum);
    else
        fail(h, inv, &full);
    return 0;
}
