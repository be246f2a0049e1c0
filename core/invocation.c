/*
 * invocation.c - one event for one function, as others are told of it.
 */
#include "core/invocation.h"

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
