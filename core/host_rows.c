/*
 * host_rows.c - events that no transport brings: sends, alarms, and what the
 * durable queue gives back.
 *
 * Each becomes an input of the host's own, which nobody has to acknowledge,
 * and one invocation.  What stands behind it is its row or its alarm: that
 * goes in the transaction that holds what the invocation did.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/crash.h"
#include "core/base/hash.h"
#include "core/host_impl.h"
#include "core/log.h"

static const char NO_TRIGGER[] = "the function has no such trigger any more";
static const char NO_KEY[] = "its actor key can't be made any more: the event "
                             "has no params for [state] key as it is now";

static void nothing(struct mp_input *in)
{
    (void)in;
}

/* When it came, on the monotonic clock: by the timeline, so that a wall clock
 * that is set meanwhile makes it neither older nor younger. */
static int64_t received_us(const struct mp_host *h, const struct mp_row *row)
{
    int64_t now_us = mp_now_us();

    if (!row || row->received_us <= 0 ||
        row->received_us > mp_timeline_at(&h->timeline, now_us))
        return now_us;
    return mp_timeline_mono(&h->timeline, row->received_us);
}

static struct mp_pair *copy_pairs(const struct mp_pair *pairs, uint32_t n,
                                  struct mp_pair copy[MP_PAIRS_MAX])
{
    if (n)
        memcpy(copy, pairs, n * sizeof *pairs);
    return copy;
}

static struct mp_input *input_of(struct mp_host *h,
                                 const struct mp_event *event,
                                 const struct mp_row *row)
{
    struct mp_pair properties[MP_PAIRS_MAX], query[MP_PAIRS_MAX],
        headers[MP_PAIRS_MAX];
    struct mp_input from = {
        .host = h,
        .settled = nothing,
        .type = event->type,
        .qos = event->qos,
        .retained = event->retained,
        .given_id = event->given_id,
        .has_expiry = event->has_expiry,
        .expiry_s = event->expiry_s,
        .received_us = received_us(h, row),
        .time_us = event->time_us,
        .scheduled_us = event->scheduled_us,
        .id = event->id,
        .topic = event->method.ptr ? event->path : event->topic,
        .data = event->data,
        .subject = event->subject,
        .alarm = event->alarm,
        .source = event->source,
        .datacontenttype = event->datacontenttype,
        .traceparent = event->traceparent,
        .method = event->method,
        .peer = event->peer,
        .identity = event->identity,
        .missed = event->missed,
        .properties =
            copy_pairs(event->properties, event->n_properties, properties),
        .query = copy_pairs(event->query, event->n_query, query),
        .headers = copy_pairs(event->headers, event->n_headers, headers),
        .n_properties = event->n_properties,
        .n_query = event->n_query,
        .n_headers = event->n_headers,
    };

    if (row) {
        from.response_topic = row->response_topic;
        from.correlation = row->correlation;
        from.exchange = row->exchange;
        from.exchange_us = row->exchange_us;
    }
    return mp_input_new(&from);
}

/* ---- the actor key ---- */

/* Made of what its trigger bound?  (One without params that has a key was
 * given it by hand: moonpool send --key.) */
static bool has_made_key(const struct mp_event *e)
{
    bool comes_in = e->type == MP_EVENT_MQTT || e->type == MP_EVENT_COAP ||
                    e->type == MP_EVENT_HTTP;

    return comes_in && (e->n_params || !e->has_key);
}

/* As fn has it for an event, whoever made the one that it has; ptr NULL: none.
 * MP_E*: it can't be made. */
static int key_of(const struct mp_function *fn, const struct mp_event *e,
                  char text[MP_KEY_MAX], struct mp_slice *key)
{
    int len;

    *key = mp_slice(NULL, 0);
    if (!fn->state_key)
        return 0;
    if (!has_made_key(e)) {
        if (e->has_key)
            *key = e->key.ptr ? e->key : MP_S("");
        return 0;
    }
    len = mp_function_key(fn, e->params, e->n_params, text);
    if (len < 0)
        return len;
    *key = mp_slice(text, (size_t)len);
    return 0;
}

static bool is_same_rule(const struct mp_function *a,
                         const struct mp_function *b)
{
    return a == b ||
           (a->has_state == b->has_state && a->order == b->order &&
            !a->state_key == !b->state_key &&
            (!a->state_key || strcmp(a->state_key, b->state_key) == 0));
}

bool mp_invocation_is_outdated(const struct mp_invocation *inv)
{
    return inv->slot->live &&
           !is_same_rule(mp_invocation_rules(inv), inv->slot->live->fn);
}

static int set_key(struct mp_invocation *inv)
{
    struct mp_version *live = inv->slot->live;
    struct mp_slice key;
    struct mp_event e;
    char text[MP_KEY_MAX], *bytes;
    int rc;

    mp_invocation_event(inv, &e);
    rc = key_of(live->fn, &e, text, &key);
    if (rc)
        return rc;
    inv->has_key = key.ptr != NULL;
    bytes = key.len ? mp_strndup(key.ptr, key.len) : NULL;
    free(inv->new_key); /* key was in it, maybe */
    inv->new_key = bytes;
    inv->key = mp_slice(bytes, key.len);
    if (inv->keyed)
        mp_version_unref(&mp_host_of(inv)->pool, inv->keyed);
    inv->keyed = mp_version_ref(live);
    return 0;
}

/* As a new input without a key is dropped; but what the host has taken over
 * is not lost without a trace. */
static void end_without_key(struct mp_invocation *inv)
{
    mp_invocation_take_out(inv);
    if (inv->row || inv->alarm)
        mp_invocation_refuse(inv, MP_DEAD_TRIGGER, NO_KEY);
    else
        mp_invocation_drop(inv, MP_DROP_NO_KEY);
}

void mp_invocation_key_anew(struct mp_invocation *inv)
{
    struct mp_sched *s = &inv->slot->group->sched;
    bool has_place = inv->stage != MP_DELAYED || inv->order;

    if (inv->is_batch) {
        mp_batch_key_anew(inv);
        return;
    }
    mp_sched_release(s, inv);
    if (set_key(inv)) {
        inv->stage = MP_DELAYED;
        end_without_key(inv);
        return;
    }
    if (!has_place) /* it is not its turn to be queued */
        return;
    mp_sched_add(s, inv);
    if (!inv->timer)
        return;
    if (mp_sched_hold(s, inv))
        inv->stage = MP_DELAYED; /* its timer is still on */
    else
        mp_invocation_wake(inv);
}

/* All of them out first: what waited behind another must not start now. */
void mp_host_key_anew(struct mp_host *h)
{
    mp_list_each (at, &h->all) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, all);

        if (inv->stage == MP_QUEUED && mp_invocation_is_outdated(inv))
            mp_sched_remove(&inv->slot->group->sched, inv);
    }
    mp_list_each_safe (at, &h->all) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, all);

        if ((inv->stage == MP_QUEUED || inv->stage == MP_DELAYED) &&
            mp_invocation_is_outdated(inv))
            mp_invocation_key_anew(inv);
    }
}

/* ---- an invocation of an event ---- */

/* Alarms and sends have no trigger; counters they have. */
static bool is_own(const struct mp_event *event)
{
    return event->type == MP_EVENT_ALARM || event->type == MP_EVENT_SEND;
}

/* NULL: the live version has no such trigger, or can't make its key (which
 * says so).  row: the event's, or NULL. */
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
    struct mp_slice key;
    char name[MP_TRIGGER_MAX + 1], key_text[MP_KEY_MAX];

    if (!is_own(event)) {
        trigger = mp_function_trigger(v->fn, event->trigger);
        if (!trigger)
            return NULL;
    }
    if (key_of(v->fn, event, key_text, &key))
        return NULL;
    in = input_of(h, event, row);
    inv = mp_invocation_new(h, v, trigger, in, event->params, event->n_params,
                            key.ptr ? &key : NULL);
    mp_input_unref(in); /* the invocation has its own */
    snprintf(name, sizeof name, "%.*s", MP_FMT(event->trigger));
    counters = mp_metrics_trigger(&slot->metrics, name);
    inv->counter = (unsigned)(counters - slot->metrics.triggers);
    inv->attempt = event->attempt;
    return inv;
}

/* ---- rows that are read back ---- */

/* Its trigger is no more, or what that once bound: nobody can run it. */
static void bury_row(struct mp_host *h, struct mp_slot *slot,
                     const struct mp_row *row)
{
    bool there = is_own(&row->event) ||
                 mp_function_trigger(slot->live->fn, row->event.trigger);
    struct mp_letter letter = {
        .fn = mp_slice_str(slot->name),
        .version = mp_slice_str(slot->live->fn->version),
        .outcome = mp_slice_str(mp_dead_name(MP_DEAD_TRIGGER)),
        .error = mp_slice_str(there ? NO_KEY : NO_TRIGGER),
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
    mp_host_request_found(inv);
    mp_host_stream_back(h, inv);
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

    /* Not before what came for the function earlier and waits on disk. */
    if (!slot || !slot->live || h->draining || h->paused ||
        mp_queue_is_spilled(slot->queue) || !mp_list_empty(&slot->blocked) ||
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
    if (slot && slot->live && delay_us == 0)
        mp_host_park_key(h, slot,
                         slot->live->fn->has_state || own.has_key ? own.key
                                                                  : own.topic);
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
    uint64_t bytes = sizeof(struct mp_invocation) + event->data.len;

    if (h->paused ||
        !mp_commit_has_room(&h->commit, mp_commit_row_cost(bytes)) ||
        !mp_queue_has_room(&h->queue, mp_queue_fn(&h->queue, fn), bytes, 0))
        return MP_EFULL;
    return mp_host_send(h, fn, event, reason, delay_us, 0, t, ticket);
}

/* ---- dropped by hand ---- */

static bool is_meant(const struct mp_invocation *inv, struct mp_slice fn,
                     int64_t id)
{
    enum mp_stage stage = mp_invocation_whole(inv)->stage;

    if (stage != MP_QUEUED && stage != MP_DELAYED && stage != MP_WINDOW)
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
