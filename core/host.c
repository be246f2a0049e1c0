/*
 * host.c - what happens to an event, in the order in which it happens.
 *
 * An input is acknowledged when its last function lets go of it.  A function
 * lets go when its outputs have arrived, when the event is a dead letter, or
 * when the host has parked it.  Everything here is bookkeeping of that.
 */
#include "core/host.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/fnlog.h"
#include "core/outputs.h"

#define HOLD_AGAIN_US (5 * MP_MS)

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

static void let_go(struct mp_invocation *inv)
{
    if (!inv->holds_ack)
        return;
    inv->holds_ack = false;
    mp_list_unlink(&inv->holding);
    settle(inv->input);
}

static struct mp_host *host_of(const struct mp_invocation *inv)
{
    return inv->input->host;
}

static void end(struct mp_invocation *inv)
{
    struct mp_host *h = host_of(inv);

    mp_sched_release(&inv->slot->group->sched, inv);
    let_go(inv);
    if (inv->parked) {
        inv->slot->n_parked--;
        h->parked--;
    }
    h->open--;
    if (inv->version)
        mp_version_unref(&h->pool, inv->version);
    mp_version_unref(&h->pool, inv->routed);
    mp_input_unref(inv->input);
    free(inv);
}

static struct mp_trigger_metrics *counters(struct mp_invocation *inv)
{
    return &inv->slot->metrics.triggers[inv->counter];
}

static void drop(struct mp_invocation *inv, enum mp_drop why)
{
    counters(inv)->dropped[why]++;
    mp_fnlog(inv->slot, inv->routed->fn, inv->trigger, MP_WARN,
             MP_FIELDS(MP_TEXT("topic", inv->input->topic),
                       MP_TEXT("event", inv->input->id),
                       MP_NUM("waiting", inv->slot->n_waiting)),
             "dropped: %s", mp_drop_name(why));
    end(inv);
}

/*
 * The host takes the event over: its input may be acknowledged.  False: past
 * the function's limit.  (One that is in a worker is past refusing, and there
 * are few of those.)
 */
static bool park(struct mp_invocation *inv, enum mp_parked why)
{
    struct mp_slot *slot = inv->slot;
    struct mp_host *h = host_of(inv);

    if (inv->parked)
        return true;
    if (slot->n_parked >= inv->routed->fn->queue && inv->stage != MP_RUNNING &&
        inv->stage != MP_WAITING)
        return false;
    inv->parked = true;
    slot->n_parked++;
    h->parked++;
    slot->metrics.parked[why]++;
    let_go(inv);
    return true;
}

static void on_hold(uv_timer_t *timer);

static void hold_start(struct mp_host *h)
{
    struct mp_invocation *first;
    int64_t wait_us;

    if (mp_list_empty(&h->holding) || uv_is_active((uv_handle_t *)&h->hold))
        return;
    first = mp_of(h->holding.next, struct mp_invocation, holding);
    wait_us = first->input->received_us + h->config->mqtt.hold_us - mp_now_us();
    if (wait_us < HOLD_AGAIN_US) /* some that are overdue must go on holding */
        wait_us = HOLD_AGAIN_US;
    uv_timer_start(&h->hold, on_hold, (uint64_t)(wait_us + 999) / 1000, 0);
}

/*
 * Park what has held its input back for too long.  Not while the host stops:
 * the broker keeps it better than memory.  One whose outputs wait for their
 * confirmation, past the limit, goes on holding, and with it its lane.
 */
static void on_hold(uv_timer_t *timer)
{
    struct mp_host *h = timer->data;
    int64_t since_us = mp_now_us() - h->config->mqtt.hold_us;

    if (h->draining)
        return;
    mp_list_each_safe (at, &h->holding) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, holding);
        bool sending = inv->stage == MP_SENDING;

        if (inv->input->received_us > since_us)
            break;
        if (park(inv, sending ? MP_PARKED_OUTPUT : MP_PARKED_SLOW) || sending)
            continue;
        mp_sched_remove(&inv->slot->group->sched, inv);
        drop(inv, MP_DROP_QUEUE_FULL);
    }
    hold_start(h);
}

/* ---- 1. an input comes ---- */

struct taking {
    struct mp_host *host;
    struct mp_input *in;
};

static struct mp_invocation *invocation_new(struct mp_host *h,
                                            struct mp_input *in,
                                            const struct mp_router_entry *entry,
                                            const struct mp_pair *params,
                                            uint32_t n_params)
{
    struct mp_invocation *inv =
        mp_zalloc(sizeof *inv + n_params * sizeof(struct mp_pair));

    mp_list_init(&inv->link);
    mp_list_init(&inv->holding);
    inv->routed = mp_version_ref(entry->version);
    inv->slot = entry->version->slot;
    inv->trigger = entry->trigger;
    inv->counter =
        entry->version->counters[entry->trigger - entry->version->fn->triggers];
    inv->input = mp_input_ref(in);
    inv->attempt = 1;
    inv->holds_ack = true;
    in->open++;
    if (in->qos > 0 && in->lane == 0)
        mp_list_append(&h->holding, &inv->holding);
    inv->n_params = n_params;
    memcpy(inv->params, params, n_params * sizeof(struct mp_pair));
    h->open++;
    return inv;
}

/* Make room for a new one by giving up the oldest; false: there is none. */
static bool drop_oldest(struct mp_invocation *for_whom)
{
    struct mp_invocation *oldest = mp_sched_oldest(for_whom->slot);

    if (!oldest)
        return false;
    mp_sched_remove(&oldest->slot->group->sched, oldest);
    drop(oldest, MP_DROP_QUEUE_FULL);
    return true;
}

static void queue(struct mp_host *h, struct mp_invocation *inv)
{
    const struct mp_function *fn = inv->routed->fn;

    uint64_t bytes = mp_invocation_bytes(inv);
    bool oldest = fn->overflow_oldest || inv->input->qos == 0;

    inv->stage = MP_QUEUED;
    /* A lane of its own is bounded by its window and holds the broker back. */
    if (inv->input->lane && inv->input->qos > 0) {
        mp_pool_add(&h->pool, inv);
        return;
    }
    while (!mp_sched_has_room(inv->slot, bytes))
        if (!oldest || !drop_oldest(inv)) {
            drop(inv, MP_DROP_QUEUE_FULL);
            return;
        }
    mp_pool_add(&h->pool, inv);
    if (inv->slot->breaker.state != MP_BREAKER_CLOSED) {
        inv->slot->breaker.held_back++;
        if (inv->input->qos > 0 && !park(inv, MP_PARKED_QUARANTINED)) {
            mp_sched_remove(&inv->slot->group->sched, inv);
            drop(inv, MP_DROP_QUEUE_FULL);
        }
    }
}

static void take(void *arg, const struct mp_router_entry *entry,
                 const struct mp_pair *params, uint32_t n_params)
{
    struct taking *t = arg;
    struct mp_slot *slot = entry->version->slot;
    unsigned index = (unsigned)(entry->trigger - entry->version->fn->triggers);
    struct mp_trigger_metrics *m =
        &slot->metrics.triggers[entry->version->counters[index]];
    struct mp_invocation *inv;

    m->events++;
    m->last_event_us = t->in->time_us;
    mp_metrics.events++;
    if (t->in->retained && !entry->trigger->retained) {
        m->skipped[MP_SKIP_RETAINED]++;
        return;
    }
    inv = invocation_new(t->host, t->in, entry, params, n_params);
    if (t->in->data.len > entry->trigger->max_payload)
        drop(inv, MP_DROP_TOO_LARGE);
    else
        queue(t->host, inv);
}

void mp_host_input(struct mp_host *h, struct mp_input *in)
{
    struct taking t = {h, in};

    in->host = h;
    in->open = 1; /* ours, until all functions have been asked */
    if (mp_router_match(&h->router, in, take, &t) == 0)
        mp_metrics.unmatched++;
    settle(in);
    mp_input_unref(in);
    hold_start(h);
}

/* ---- 2. its turn has come ---- */

/* What is too old to be of use is dropped instead (MQTT 5, 3.3.2.3.3). */
static bool on_start(void *arg, struct mp_invocation *inv, int64_t now_us)
{
    const struct mp_input *in = inv->input;
    int64_t age_us = now_us - in->received_us;

    (void)arg;
    if (!inv->slot->live) { /* the function was removed */
        mp_sched_stopped(&inv->slot->group->sched, inv);
        drop(inv, MP_DROP_NO_MATCH);
        return false;
    }
    if (!(in->has_expiry && age_us >= in->expiry_s * MP_SECOND) &&
        !(inv->trigger->max_age_us && age_us > inv->trigger->max_age_us))
        return true;
    mp_sched_stopped(&inv->slot->group->sched, inv);
    mp_breaker_forget(&inv->slot->breaker);
    drop(inv, MP_DROP_EXPIRED);
    return false;
}

/* ---- 3. an invocation has ended ---- */

static void dead_letter(struct mp_invocation *inv, enum mp_dead why,
                        const struct mp_outcome *out)
{
    struct mp_field fields[8] = {
        MP_TEXT("topic", inv->input->topic),
        MP_TEXT("event", inv->input->id),
        MP_NUM("attempt", inv->attempt),
        MP_NUM("dead_letter", (int64_t)++inv->slot->metrics.dead[why]),
    };

    if (out->traceback.len)
        fields[4] = MP_TEXT("traceback", out->traceback);
    mp_fnlog(inv->slot, inv->version->fn, inv->trigger,
             why == MP_DEAD_REJECTED ? MP_WARN : MP_ERROR, fields, "%s%s%.*s",
             why == MP_DEAD_ERROR ? "" : mp_dead_name(why),
             why == MP_DEAD_ERROR ? "" : ": ", MP_FMT(out->error));
    end(inv);
}

static void on_delay_over(uv_timer_t *timer)
{
    struct mp_invocation *inv = timer->data;
    struct mp_host *h = host_of(inv);

    uv_close((uv_handle_t *)timer, (uv_close_cb)(void (*)(void))free);
    inv->timer = NULL;
    if (inv->order)
        mp_pool_again(&h->pool, inv);
    else
        mp_pool_add(&h->pool, inv);
}

static int64_t backoff_us(const struct mp_invocation *inv,
                          const struct mp_outcome *out)
{
    const struct mp_function *fn = inv->version->fn;
    int64_t us = fn->backoff_us;

    if (out->did & MP_DID_RETRY && out->retry_after_us >= 0)
        return out->retry_after_us;
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

/* The host stops and this one is not done: never acknowledged, the broker
 * will send it again. */
static void abandon(struct mp_invocation *inv)
{
    struct mp_host *h = host_of(inv);

    h->abandoned = true;
    inv->holds_ack = false;
    mp_list_unlink(&inv->holding);
    end(inv);
}

static bool retry(struct mp_invocation *inv, const struct mp_outcome *out)
{
    struct mp_host *h = host_of(inv);
    int64_t delay_us = backoff_us(inv, out);

    if (h->draining && inv->holds_ack) {
        abandon(inv);
        return true;
    }
    inv->stage = MP_DELAYED;
    if (!park(inv, MP_PARKED_RETRY))
        return false;
    mp_fnlog(inv->slot, inv->version->fn, inv->trigger, MP_WARN,
             MP_FIELDS(MP_TEXT("topic", inv->input->topic),
                       MP_TEXT("event", inv->input->id),
                       MP_NUM("attempt", inv->attempt),
                       MP_NUM("next_in_ms", delay_us / 1000)),
             "%s: %.*s; it will be run again", mp_kind_name(out->kind),
             MP_FMT(out->error));
    inv->slot->metrics.retries++;
    inv->attempt++;
    inv->deaths = 0;
    inv->suspect = false;
    if (inv->version->fn->order == MP_ORDER_OVERTAKE)
        mp_sched_release(&inv->slot->group->sched, inv);
    inv->timer = mp_zalloc(sizeof *inv->timer);
    inv->timer->data = inv;
    uv_timer_init(h->loop, inv->timer);
    uv_timer_start(inv->timer, on_delay_over, (uint64_t)delay_us / 1000, 0);
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

static void on_output_done(struct mp_output *o, unsigned reason,
                           const char *why)
{
    struct mp_invocation *inv = o->owner;

    if (host_of(inv)->closing) { /* not sent: its input stays unsettled */
        mp_output_free(o);
        return;
    }
    if (reason) {
        inv->slot->metrics.dead[MP_DEAD_OUTPUT]++;
        mp_fnlog(inv->slot, inv->version->fn, inv->trigger, MP_ERROR,
                 MP_FIELDS(MP_TEXT("topic", o->topic), MP_TEXT("id", o->id),
                           MP_NUM("reason", reason)),
                 "the broker refused an output: %s", why);
    }
    mp_output_free(o);
    if (--inv->outputs_open == 0)
        end(inv);
}

static void publish(void *arg, struct mp_output *o)
{
    struct mp_host *h = arg;

    h->mqtt->publish(h->mqtt_self, o);
}

/* ok: the next of its key may start while its outputs are on their way. */
static void succeed(struct mp_invocation *inv, const struct mp_outcome *out)
{
    struct mp_host *h = host_of(inv);

    if (inv->slot->breaker.state == MP_BREAKER_HALF)
        mp_log(MP_INFO, inv->slot->name, NULL, "out of quarantine");
    mp_breaker_ok(&inv->slot->breaker);
    inv->slot->metrics.last_ok_us = mp_wall_us();
    mp_sched_release(&inv->slot->group->sched, inv);
    inv->stage = MP_SENDING;
    if (out->n_effects == 0) {
        end(inv);
        return;
    }
    mp_outputs_make(inv, out, on_output_done, publish, h);
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

static int on_done(void *arg, struct mp_invocation *inv,
                   const struct mp_outcome *out)
{
    struct mp_host *h = arg;
    struct mp_slot *slot = inv->slot;
    struct mp_slice prefix = mp_slice_str(h->config->mqtt.prefix);

    if (out->kind == MP_OUT_OK &&
        mp_outputs_check(inv->version->fn, prefix, out))
        return MP_EPARSE;
    if (mp_fnlog_check(inv->version->fn, out->n_logs, out->logs))
        return MP_EPARSE;
    mp_sched_stopped(&slot->group->sched, inv);
    slot->metrics.invocations[out->kind]++;
    if (out->n_logs || out->logs_cut)
        mp_fnlog_lines(slot, inv->version->fn, inv->trigger, &inv->input->id,
                       out->n_logs, out->logs, out->logs_cut);
    if (out->kind == MP_OUT_OK) {
        succeed(inv, out);
        return 0;
    }
    count_failure(inv, out);
    if (out->kind == MP_OUT_REJECTED || out->kind == MP_OUT_KILLED ||
        !may_do_better(inv, out) || !retry(inv, out))
        dead_letter(inv, dead_of(out->kind), out);
    return 0;
}

/* ---- functions come and go ---- */

static void on_loaded(void *arg, struct mp_version *v,
                      const struct mp_loaded *loaded)
{
    struct mp_host *h = arg;

    mp_catalog_loaded(&h->catalog, v, loaded);
}

static void on_scan_settled(void *arg, bool changed)
{
    struct mp_host *h = arg;
    struct mp_router old = h->router;

    if (changed) {
        mp_router_build(&h->router, &h->catalog.slots);
        h->mqtt->route(h->mqtt_self, h->router.routes, h->router.n_routes);
        mp_router_fini(&old, &h->pool);
    }
    h->on_settled(h->arg, changed);
}

void mp_host_link(struct mp_host *h, bool up)
{
    h->on_link(h->arg, up);
}

/* ---- open, drain, close ---- */

int mp_host_open(struct mp_host *h, uv_loop_t *loop,
                 const struct mp_config *config,
                 const struct mp_transport *mqtt, struct mp_why *why)
{
    struct mp_pool_user user = {
        .loaded = on_loaded, .start = on_start, .done = on_done, .arg = h};

    h->loop = loop;
    h->config = config;
    h->mqtt = mqtt;
    mp_list_init(&h->holding);
    uv_timer_init(loop, &h->hold);
    h->hold.data = h;
    mp_pool_open(&h->pool, loop, config->node, config->workers,
                 config->scale_max, &user);
    h->pool.prefix = config->mqtt.prefix;
    mp_catalog_init(&h->catalog, &h->pool, config, on_scan_settled, h);
    if (mqtt->open(h, loop, config, &h->mqtt_self, why))
        return MP_EIO;
    mp_catalog_scan(&h->catalog);
    return 0;
}

void mp_host_drain(struct mp_host *h)
{
    h->draining = true;
    h->mqtt->drain(h->mqtt_self);
}

bool mp_host_is_idle(struct mp_host *h)
{
    return h->open == 0 && (h->abandoned || h->mqtt->idle(h->mqtt_self));
}

void mp_host_close(struct mp_host *h, void (*finished)(void *arg), void *arg)
{
    h->closing = true;
    uv_close((uv_handle_t *)&h->hold, NULL);
    mp_pool_close(&h->pool);
    h->mqtt->close(h->mqtt_self, finished, arg);
}
