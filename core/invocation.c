/*
 * invocation.c - one event for one function, as others are told of it.
 */
#include "core/invocation.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"

/* Whole seconds of an input's expiry that are left. */
static uint32_t expiry_left(const struct mp_input *in)
{
    int64_t gone_s = (mp_now_us() - in->received_us) / MP_SECOND;

    return in->has_expiry && in->expiry_s > gone_s
               ? (uint32_t)(in->expiry_s - gone_s)
               : 0;
}

void mp_invocation_event(const struct mp_invocation *inv,
                         struct mp_event *event)
{
    const struct mp_input *in = inv->input;
    const struct mp_trigger *trigger = inv->trigger;

    *event = (struct mp_event){
        .type = in->type,
        .id = in->id,
        .source = in->source,
        .subject = in->subject.ptr ? in->subject : in->topic,
        .trigger = trigger ? mp_slice_str(trigger->name)
                           : mp_slice_str(mp_event_type_name(in->type)),
        .key = inv->key,
        .has_key = inv->has_key,
        .given_id = in->given_id,
        .time_us = in->time_us,
        .scheduled_us = in->scheduled_us,
        .attempt = inv->attempt,
        .format = trigger ? trigger->format : MP_FORMAT_AUTO,
        .data = in->data,
        .datacontenttype = in->datacontenttype,
        .traceparent = in->traceparent,
        .alarm = in->alarm,
        .topic = in->method.ptr ? mp_slice(NULL, 0) : in->topic,
        .qos = in->qos,
        .retained = in->retained,
        .has_expiry = in->has_expiry,
        .expiry_s = expiry_left(in),
        .params = inv->params,
        .n_params = inv->n_params,
        .properties = in->properties,
        .n_properties = in->n_properties,
        .missed = in->missed,
    };
    if (!in->method.ptr)
        return;
    event->method = in->method;
    event->path = in->topic;
    event->peer = in->peer;
    event->identity = in->identity;
    event->query = in->query;
    event->n_query = in->n_query;
    event->headers = in->headers;
    event->n_headers = in->n_headers;
}

bool mp_invocation_is_ours(const struct mp_invocation *inv)
{
    if (!inv->is_batch)
        return inv->row || inv->alarm || inv->noted;
    mp_list_each (at, &inv->members)
        if (mp_invocation_is_ours(mp_of(at, struct mp_invocation, link)))
            return true;
    return false;
}

/* ---- batches ---- */

bool mp_invocation_runs_batched(const struct mp_invocation *inv)
{
    const struct mp_trigger *t = inv->trigger;

    if (!t)
        return false;
    if (inv->version && inv->version != inv->routed)
        t = mp_function_trigger(inv->version->fn, mp_slice_str(t->name));
    return t && t->lines && mp_stream_lines_has(t->lines, MP_LINE_BATCH);
}

size_t mp_batch_id(struct mp_slice first, unsigned n, uint32_t attempt,
                   char id[MP_EVENT_ID_MAX])
{
    static const struct mp_hash_key plain = {UINT64_C(0x62617463682d6964),
                                             UINT64_C(0x6d6f6f6e706f6f6c)};
    char tail[24];
    int len =
        snprintf(tail, sizeof tail, attempt > 1 ? "~%u.%u" : "~%u", n, attempt);
    struct mp_hasher hasher;
    struct mp_hash hash;
    char text[33];

    if (first.len + (size_t)len <= MP_EVENT_ID_MAX) {
        memcpy(id, first.ptr, first.len);
        memcpy(id + first.len, tail, (size_t)len);
        return first.len + (size_t)len;
    }
    mp_hasher_init(&hasher, &plain);
    mp_hasher_add(&hasher, first);
    mp_hasher_add(&hasher, mp_slice_str(tail));
    hash = mp_hasher_end(&hasher);
    len = snprintf(text, sizeof text, "%016llx%016llx",
                   (unsigned long long)hash.lo, (unsigned long long)hash.hi);
    memcpy(id, text, (size_t)len);
    return (size_t)len;
}

struct mp_slice mp_invocation_run_id(const struct mp_invocation *inv,
                                     char id[MP_EVENT_ID_MAX])
{
    if (inv->is_batch || !mp_invocation_runs_batched(inv))
        return inv->input->id;
    return mp_slice(id, mp_batch_id(inv->input->id, 1, inv->attempt, id));
}

/* Names of the pattern that `per` of the batch has. */
static uint32_t keep_named(const struct mp_invocation *inv,
                           struct mp_pair *params)
{
    const struct mp_trigger *t =
        mp_function_trigger(inv->version ? inv->version->fn : inv->routed->fn,
                            mp_slice_str(inv->trigger->name));
    struct mp_slice name;
    uint32_t n = 0;

    for (unsigned k = 0;
         (name = mp_stream_lines_param(t->lines, MP_LINE_BATCH, k)).ptr; k++)
        for (uint32_t i = 0; i < inv->n_params && n < MP_PAIRS_MAX; i++)
            if (mp_slice_eq(inv->params[i].name, name))
                params[n++] = inv->params[i];
    return n;
}

struct mp_event *mp_invocation_run_event(const struct mp_invocation *inv,
                                         struct mp_event *event,
                                         char id[MP_EVENT_ID_MAX])
{
    unsigned n = 0, room = inv->is_batch ? inv->n_members : 1;
    struct mp_event *events;
    struct mp_pair *params;

    mp_invocation_event(inv, event);
    if (!inv->is_batch && !mp_invocation_runs_batched(inv))
        return NULL;
    events = mp_alloc(room * sizeof *events + MP_PAIRS_MAX * sizeof *params);
    params = (struct mp_pair *)(events + room);
    if (inv->is_batch) {
        mp_list_each (at, &inv->members)
            mp_invocation_event(mp_of(at, struct mp_invocation, link),
                                &events[n++]);
    } else {
        events[n++] = *event;
        *event = (struct mp_event){
            .type = MP_EVENT_BATCH,
            .id = mp_invocation_run_id(inv, id),
            .source = event->source,
            .subject = event->trigger,
            .trigger = event->trigger,
            .key = event->key,
            .has_key = event->has_key,
            .time_us = event->time_us,
            .attempt = event->attempt,
            .format = event->format,
            .traceparent = event->traceparent,
            .params = params,
            .n_params = keep_named(inv, params),
        };
    }
    event->events = events;
    event->n_events = n;
    return events;
}
