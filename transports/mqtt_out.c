/*
 * mqtt_out.c - outputs: a queue of our own, a window of it in the library.
 *
 * The library keeps what was handed to it until the broker confirms, and
 * sends it again after a reconnect; but it walks all of that at every step,
 * so it never gets more than a window.  Outputs are handed over and written
 * once a turn of the loop, so that many of them share a segment.
 */
#include "transports/mqtt_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/log.h"
#include "core/metrics.h"

static void out_done(struct mp_output *out, unsigned reason, const char *why)
{
    mp_list_unlink(&out->link);
    out->done(out, reason, why);
}

/* ---- expiry ---- */

/* Without a broker one may wait here for hours.  False: it is over; an expiry
 * of 0 seconds is for who is there when it leaves at once. */
static bool expiry_left(const struct mp_output *out, uint32_t *left_s)
{
    int64_t waited_s =
        out->has_expiry ? (mp_now_us() - out->since_us) / MP_SECOND : 0;

    *left_s = out->expiry_s;
    if (waited_s <= 0)
        return true;
    if (waited_s >= out->expiry_s)
        return false;
    *left_s -= (uint32_t)waited_s;
    return true;
}

/* ---- properties ---- */

/* The library takes C strings and copies them. */
static const char *c_text(struct mp_slice s, struct mp_buf *room)
{
    mp_buf_reset(room);
    mp_buf_slice(room, s);
    mp_buf_put(room, "", 1);
    return room->ptr;
}

static void add_text(mosquitto_property **props, int id, struct mp_slice s,
                     struct mp_buf *room)
{
    if (s.ptr)
        mp_mqtt_added(
            mosquitto_property_add_string(props, id, c_text(s, room)));
}

static void add_pair(mosquitto_property **props, struct mp_slice name,
                     struct mp_slice value, struct mp_buf *room)
{
    size_t at;

    mp_buf_reset(room);
    mp_buf_slice(room, name);
    mp_buf_put(room, "", 1);
    at = room->len;
    mp_buf_slice(room, value);
    mp_buf_put(room, "", 1);
    if (!room->full)
        mp_mqtt_added(mosquitto_property_add_string_pair(
            props, MQTT_PROP_USER_PROPERTY, room->ptr, room->ptr + at));
}

static mosquitto_property *out_props(const struct mp_output *out,
                                     uint32_t expiry_s, struct mp_buf *room)
{
    mosquitto_property *props = NULL;

    if (out->id.ptr)
        add_pair(&props, MP_S("id"), out->id, room);
    if (out->traceparent.ptr)
        add_pair(&props, MP_S("traceparent"), out->traceparent, room);
    for (uint32_t i = 0; i < out->n_properties; i++)
        add_pair(&props, out->properties[i].name, out->properties[i].value,
                 room);
    add_text(&props, MQTT_PROP_CONTENT_TYPE, out->content_type, room);
    if (out->correlation.ptr && out->correlation.len <= UINT16_MAX)
        mp_mqtt_added(mosquitto_property_add_binary(
            &props, MQTT_PROP_CORRELATION_DATA, out->correlation.ptr,
            (uint16_t)out->correlation.len));
    if (out->has_expiry)
        mp_mqtt_added(mosquitto_property_add_int32(
            &props, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, expiry_s));
    return props;
}

/* ---- handing over ---- */

static unsigned reason_of(int rc)
{
    switch (rc) {
    case MOSQ_ERR_OVERSIZE_PACKET:
    case MOSQ_ERR_PAYLOAD_SIZE:
        return MQTT_RC_PACKET_TOO_LARGE;
    case MOSQ_ERR_INVAL:
    case MOSQ_ERR_MALFORMED_UTF8:
        return MQTT_RC_TOPIC_NAME_INVALID;
    case MOSQ_ERR_QOS_NOT_SUPPORTED:
        return MQTT_RC_QOS_NOT_SUPPORTED;
    case MOSQ_ERR_RETAIN_NOT_SUPPORTED:
        return MQTT_RC_RETAIN_NOT_SUPPORTED;
    default:
        return MQTT_RC_UNSPECIFIED;
    }
}

/* False: not now. */
static bool hand_over(struct mqtt_out *o, struct mp_output *out,
                      struct mp_buf *room)
{
    mosquitto_property *props = NULL;
    uint32_t expiry_s;
    int rc, mid = 0;
    char topic[MP_TOPIC_MAX + 1];

    if (!expiry_left(out, &expiry_s)) {
        mp_metrics.outputs_expired++;
        out_done(out, 0, NULL);
        return true;
    }
    if (out->topic.len > MP_TOPIC_MAX || out->data.len > MQTT_MAX_PAYLOAD) {
        out_done(out, MQTT_RC_PACKET_TOO_LARGE, "topic or payload is too long");
        return true;
    }
    memcpy(topic, out->topic.ptr, out->topic.len);
    topic[out->topic.len] = '\0';
    if (o->conn.version == MQTT_PROTOCOL_V5)
        props = out_props(out, expiry_s, room);
    rc = mosquitto_publish_v5(o->conn.m, &mid, topic, (int)out->data.len,
                              out->data.ptr, out->qos, out->retain, props);
    mosquitto_property_free_all(&props);
    if (rc == MOSQ_ERR_NO_CONN)
        return false;
    if (rc == MOSQ_ERR_NOMEM)
        mp_oom(out->data.len);
    if (rc) {
        out_done(out, reason_of(rc), mosquitto_strerror(rc));
        return true;
    }
    out->handle = (uint64_t)mid;
    mp_list_unlink(&out->link);
    mp_list_append(&o->window, &out->link);
    o->n_window++;
    return true;
}

static void out_fill(struct mqtt_out *o)
{
    struct mp_buf room;

    mp_buf_init(&room, 2 * UINT16_MAX + 2);
    while (o->n_window < MQTT_WINDOW && !mp_list_empty(&o->waiting)) {
        if (!hand_over(o, mp_of(o->waiting.next, struct mp_output, link),
                       &room))
            break;
    }
    mp_buf_fini(&room);
}

void mp_mqtt_out_flush(struct mqtt_out *o)
{
    struct mqtt_conn *c = &o->conn;

    o->dirty = false;
    if (c->state != MQTT_UP)
        return;
    out_fill(o);
    if (mp_mqtt_conn_unsent(c)) {
        mp_mqtt_conn_write(c);
        if (mp_mqtt_conn_after(c))
            return;
    }
    mp_mqtt_conn_watch(c, UV_READABLE |
                              (mp_mqtt_conn_unsent(c) ? UV_WRITABLE : 0));
}

void mp_mqtt_out_publish(struct mqtt_out *o, struct mp_output *out)
{
    mp_list_init(&out->link);
    mp_list_append(&o->waiting, &out->link);
    if (out->has_expiry)
        out->since_us = mp_now_us();
    o->dirty = true;
}

/* ---- the connection's words ---- */

static void on_publish(struct mosquitto *m MP_UNUSED, void *obj, int mid,
                       int reason, const mosquitto_property *props MP_UNUSED)
{
    struct mqtt_out *o = obj;

    mp_list_each (at, &o->window) {
        struct mp_output *out = mp_of(at, struct mp_output, link);

        if (out->handle != (uint64_t)mid)
            continue;
        o->n_window--;
        o->dirty |= !mp_list_empty(&o->waiting);
        if (reason < MQTT_RC_UNSPECIFIED)
            out_done(out, 0, NULL);
        else
            out_done(out, (unsigned)reason, mosquitto_reason_string(reason));
        return;
    }
}

static void out_up(struct mqtt_conn *c, bool session MP_UNUSED)
{
    struct mqtt_out *o = (struct mqtt_out *)c;

    o->dirty = true;
}

/* QoS 0 that was handed over but not written is gone in the library. */
static void out_down(struct mqtt_conn *c)
{
    struct mqtt_out *o = (struct mqtt_out *)c;

    for (struct mp_link *at = o->window.prev; at != &o->window;) {
        struct mp_output *out = mp_of(at, struct mp_output, link);

        at = at->prev;
        if (out->qos > 0)
            continue;
        mp_list_unlink(&out->link);
        mp_list_prepend(&o->waiting, &out->link);
        o->n_window--;
    }
}

/*
 * One call reads one confirmation, or as many as the library has messages in
 * its window.
 */
static void out_ready(struct mqtt_conn *c, int events)
{
    struct mqtt_out *o = (struct mqtt_out *)c;

    if (events & UV_READABLE || mp_mqtt_conn_unread(c)) {
        do {
            mosquitto_loop_read(c->m, 1);
        } while (!c->gone && mp_mqtt_conn_unread(c));
        mp_mqtt_conn_confirm(c);
    }
    if (events & UV_WRITABLE && !c->gone)
        o->dirty = true;
    if (mp_mqtt_conn_after(c))
        return;
    if (events == 0) /* just up */
        mp_mqtt_conn_listen(c, false);
    mp_mqtt_conn_watch(c, UV_READABLE |
                              (mp_mqtt_conn_unsent(c) ? UV_WRITABLE : 0));
}

static void out_ended(struct mqtt_conn *c)
{
    struct mqtt_out *o = (struct mqtt_out *)c;

    mp_mqtt_conn_fini(c);
    o->conn.mq->out = NULL;
    free(o);
}

static const struct mqtt_conn_ops out_ops = {
    .again = mp_mqtt_conn_start,
    .up = out_up,
    .down = out_down,
    .ready = out_ready,
    .ended = out_ended,
};

struct mqtt_out *mp_mqtt_out_new(struct mqtt *mq)
{
    struct mqtt_out *o = mp_zalloc(sizeof *o);

    mp_mqtt_conn_init(&o->conn, mq, &out_ops, "out", false);
    mp_list_init(&o->waiting);
    mp_list_init(&o->window);
    mosquitto_publish_v5_callback_set(o->conn.m, on_publish);
    return o;
}

/* Without a broker nothing leaves, for now or for ever. */
bool mp_mqtt_out_idle(const struct mqtt_out *o)
{
    if (o->conn.state != MQTT_UP)
        return true;
    return mp_list_empty(&o->waiting) && mp_list_empty(&o->window);
}

void mp_mqtt_out_abandon(struct mqtt_out *o)
{
    mp_list_each_safe (at, &o->window)
        out_done(mp_of(at, struct mp_output, link), MQTT_RC_UNSPECIFIED,
                 "moonpool stops before the broker confirmed it");
    mp_list_each_safe (at, &o->waiting)
        out_done(mp_of(at, struct mp_output, link), MQTT_RC_UNSPECIFIED,
                 "moonpool stops before it was sent");
    o->n_window = 0;
}
