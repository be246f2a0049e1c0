/*
 * host_rows.c - events that no transport brings: sends, alarms, and what the
 * durable queue gives back.
 *
 * Each becomes an input of the host's own, which nobody has to acknowledge,
 * and one invocation.  What stands behind it is its row or its alarm: that
 * goes in the transaction that holds what the invocation did.
 */
#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/crash.h"
#include "core/base/hash.h"
#include "core/host_impl.h"
#include "core/log.h"

static void nothing(struct mp_input *in)
{
    (void)in;
}

/* When it came, on the monotonic clock, as far as that can be told. */
static int64_t received_us(const struct mp_host *h, int64_t time_us)
{
    int64_t age_us = mp_wall_us() - time_us, now_us = mp_now_us();

    if (!h->timeline.trusted || age_us < 0 || age_us > now_us)
        return age_us > now_us && h->timeline.trusted ? 0 : now_us;
    return now_us - age_us;
}

static struct mp_input *input_of(struct mp_host *h,
                                 const struct mp_event *event,
                                 const struct mp_row *row)
{
    struct mp_input from = {
        .host = h,
        .settled = nothing,
        .type = event->type,
        .qos = event->qos,
        .retained = event->retained,
        .given_id = event->given_id,
        .has_expiry = event->has_expiry,
        .expiry_s = event->expiry_s,
        .received_us = received_us(h, event->time_us),
        .time_us = event->time_us,
        .scheduled_us = event->scheduled_us,
        .id = event->id,
        .topic = event->topic,
        .data = event->data,
        .subject = event->subject,
        .alarm = event->alarm,
        .source = event->source,
        .datacontenttype = event->datacontenttype,
        .traceparent = event->traceparent,
        .n_properties = event->n_properties,
        .response_topic = row ? row->response_topic : mp_slice(NULL, 0),
        .correlation = row ? row->correlation : mp_slice(NULL, 0),
    };
    struct mp_pair properties[MP_PAIRS_MAX];

    if (event->n_properties)
        memcpy(properties, event->properties,
               event->n_properties * sizeof *properties);
    from.properties = properties;
    return mp_input_new(&from);
}

/* Alarms and sends have no trigger; counters they have. */
static bool is_own(const struct mp_event *event)
{
    return event->type == MP_EVENT_ALARM || event->type == MP_EVENT_SEND;
}

/* NULL: the live version has no such trigger.  row: the event's, or NULL. */
static struct mp_invocation *invocation_of(struct mp_host *h,
                                           struct mp_slot *slot,
                                           const struct mp_event *event,
                                           const struct mp_row *row)
{
    struct mp_version *v = slot->live;
    const struct mp_trigger *trigger = NULL;
    struct mp_trigger_metrics *counters;
    struct mp_invocation *inv;
    struct mp_input *in;
    char name[MP_TRIGGER_MAX + 1];

    if (!is_own(event)) {
        trigger = mp_function_trigger(v->fn, event->trigger);
        if (!trigger)
            return NULL;
    }
    in = input_of(h, event, row);
    inv = mp_invocation_new(h, v, trigger, in, event->params, event->n_params,
                            event->has_key ? &event->key : NULL);
    mp_input_unref(in); /* the invocation has its own */
    snprintf(name, sizeof name, "%.*s", MP_FMT(event->trigger));
    counters = mp_metrics_trigger(&slot->metrics, name);
    inv->counter = (unsigned)(counters - slot->metrics.triggers);
    inv->attempt = event->attempt;
    return inv;
}

/* ---- rows that are read back ---- */

/* Its trigger is no more: nobody can run it. */
static void bury_row(struct mp_host *h, struct mp_slot *slot,
                     const struct mp_row *row)
{
    struct mp_letter letter = {
        .fn = mp_slice_str(slot->name),
        .version = mp_slice_str(slot->live->fn->version),
        .outcome = mp_slice_str(mp_dead_name(MP_DEAD_TRIGGER)),
        .error = MP_S("the function has no such trigger any more"),
        .attempt = row->attempt,
        .time_us = mp_wall_us(),
        .event = &row->event,
        .flash = &slot->metrics.flash,
    };
    int64_t id = 0;

    slot->metrics.dead[MP_DEAD_TRIGGER]++;
    (void)mp_dead_add(&h->dead, &letter, &id);
    mp_queue_gone(&h->queue, slot->queue, row->id);
    mp_fnlog(slot, slot->live->fn, NULL, MP_ERROR,
             MP_FIELDS(MP_TEXT("trigger", row->event.trigger),
                       MP_TEXT("event", row->event.id),
                       MP_NUM("dead_letter", id)),
             "%.*s", MP_FMT(letter.error));
}

void mp_host_on_found(void *arg, struct mp_slot *slot, const struct mp_row *row)
{
    struct mp_host *h = arg;
    struct mp_invocation *inv = invocation_of(h, slot, &row->event, row);

    if (!inv) {
        bury_row(h, slot, row);
        return;
    }
    inv->row = row->id;
    inv->saved = inv->parked = true;
    inv->due_us = row->due_us;
    inv->hops = row->hops;
    inv->reason = mp_row_reason(row->reason);
    mp_host_queue(h, inv);
}

unsigned mp_host_room(void *arg, struct mp_slot *slot)
{
    const struct mp_host *h = arg;
    const struct mp_function *fn;

    if (!slot->live || h->draining || h->paused)
        return 0;
    fn = slot->live->fn;
    if (slot->n_waiting >= fn->queue || slot->waiting_bytes >= fn->queue_bytes)
        return 0;
    return fn->queue - slot->n_waiting;
}

/* ---- alarms ---- */

/* Ours: the same in every attempt, and after a restart. */
static struct mp_slice alarm_id(const struct mp_alarm *a, char id[32])
{
    static const struct mp_hash_key plain = {UINT64_C(0x616c61726d2d6964),
                                             UINT64_C(0x6d6f6f6e706f6f6c)};
    struct mp_hasher hasher;
    struct mp_hash hash;

    mp_hasher_init(&hasher, &plain);
    mp_hasher_add(&hasher, mp_slice_str(a->fn->name));
    mp_hasher_add(&hasher, a->key);
    mp_hasher_add(&hasher, a->name);
    mp_hasher_add_u64(&hasher, (uint64_t)a->at_us);
    hash = mp_hasher_end(&hasher);
    return mp_slice(id,
                    (size_t)snprintf(id, 32, "%016llx%08llx",
                                     (unsigned long long)hash.lo,
                                     (unsigned long long)hash.hi & 0xffffffff));
}

bool mp_host_on_alarm(void *arg, struct mp_alarm *a)
{
    struct mp_host *h = arg;
    struct mp_slot *slot = mp_host_slot(h, mp_slice_str(a->fn->name));
    int64_t now_us = mp_wall_us();
    char id[32], source[MP_NAME_MAX + 16];
    struct mp_event event = {
        .type = MP_EVENT_ALARM,
        .trigger = MP_S("alarm"),
        .id = alarm_id(a, id),
        .subject = a->name,
        .alarm = a->name,
        .data = a->data,
        .key = a->key,
        .time_us = now_us,
        .scheduled_us =
            a->wall ? a->at_us : now_us - (mp_host_now(h) - a->at_us),
        .attempt = 1,
        .params = a->params,
        .n_params = a->n_params,
    };
    struct mp_invocation *inv;

    if (!slot || !slot->live || h->draining || h->paused ||
        !mp_sched_has_room(slot, sizeof *inv + a->data.len))
        return false;
    event.has_key = slot->live->fn->state_key && a->key.len > 0;
    event.source =
        mp_slice(source, (size_t)snprintf(source, sizeof source, "function:%s",
                                          slot->name));
    inv = invocation_of(h, slot, &event, NULL);
    slot->metrics.triggers[inv->counter].events++;
    slot->metrics.triggers[inv->counter].last_event_us = now_us;
    mp_metrics.events++;
    inv->alarm = mp_alarm_ref(a);
    inv->alarm_serial = a->serial;
    mp_host_queue(h, inv);
    return true;
}

/* ---- sends ---- */

int64_t mp_host_send(struct mp_host *h, struct mp_slice fn,
                     const struct mp_event *event, const char *reason,
                     int64_t delay_us, uint32_t hops, struct mp_told *t,
                     uint64_t *ticket)
{
    struct mp_queue_fn *f = mp_queue_fn(&h->queue, fn);
    struct mp_slot *slot = mp_host_slot(h, fn);
    uint64_t bytes = sizeof(struct mp_invocation) + event->data.len;
    struct mp_event own = *event;
    struct mp_invocation *inv = NULL;
    int64_t id;

    if (slot && slot->live && !slot->live->fn->state_key &&
        event->type == MP_EVENT_SEND)
        own.has_key = false;
    if (slot && slot->live && delay_us == 0 && !h->draining &&
        !mp_queue_is_spilled(f) && mp_sched_has_room(slot, bytes))
        inv = invocation_of(h, slot, &own, NULL);
    if (!inv) {
        if (t)
            t->told(t, NULL,
                    "it waits: the function is not there, or others "
                    "wait before it");
        *ticket = mp_queue_spill(
            &h->queue, f, &own, own.has_key ? &own.key : NULL, reason,
            delay_us ? mp_host_now(h) + delay_us : 0, hops, &id);
        return id;
    }
    slot->metrics.triggers[inv->counter].events++;
    slot->metrics.triggers[inv->counter].last_event_us = own.time_us;
    mp_metrics.events++;
    inv->hops = hops;
    inv->parked = true;
    *ticket = mp_queue_keep(&h->queue, inv, reason, 0);
    id = inv->row;
    if (t)
        mp_list_append(&inv->tolds, &t->link);
    if (hops > MP_HOPS_MAX) {
        mp_invocation_refuse(inv, MP_DEAD_LOOP,
                             "more than 64 sends follow from one event without "
                             "a delay: a loop of functions");
        return id;
    }
    mp_host_queue(h, inv);
    return id;
}

int64_t mp_host_enqueue(struct mp_host *h, struct mp_slice fn,
                        const struct mp_event *event, const char *reason,
                        int64_t delay_us, struct mp_told *t, uint64_t *ticket)
{
    if (h->paused ||
        !mp_queue_has_room(&h->queue, mp_queue_fn(&h->queue, fn),
                           sizeof(struct mp_invocation) + event->data.len, 0))
        return MP_EFULL;
    return mp_host_send(h, fn, event, reason, delay_us, 0, t, ticket);
}

/* ---- dropped by hand ---- */

static bool is_meant(const struct mp_invocation *inv, struct mp_slice fn,
                     int64_t id)
{
    if (inv->stage != MP_QUEUED && inv->stage != MP_DELAYED)
        return false;
    if (id)
        return inv->row == id;
    return inv->row && mp_slice_is(fn, inv->slot->name);
}

unsigned mp_host_drop_rows(struct mp_host *h, struct mp_slice fn, int64_t id,
                           uint64_t *ticket)
{
    unsigned n = 0;

    mp_list_each_safe (at, &h->all) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, all);

        if (!is_meant(inv, fn, id))
            continue;
        mp_invocation_take_out(inv);
        mp_invocation_end_with(inv, mp_invocation_forget_source(inv));
        n++;
    }
    if (id)
        n += n == 0 && mp_queue_drop(&h->queue, id);
    else
        n += mp_queue_drop_all(&h->queue, mp_queue_fn(&h->queue, fn));
    *ticket = mp_commit_ticket(&h->commit);
    return n;
}
