/*
 * event_json.c - writes member by member; a name that doesn't apply is left
 * out, so that a step made of it says no more than the event did.
 */
#include "core/event_json.h"

#include "core/base/base64.h"
#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/utf8.h"

static void put_text(struct mp_buf *b, const char *text)
{
    mp_buf_slice(b, mp_slice_str(text));
}

/* ,"NAME": */
static void put_name(struct mp_buf *b, const char *name)
{
    put_text(b, ",\"");
    put_text(b, name);
    put_text(b, "\":");
}

static void put_string(struct mp_buf *b, const char *name, struct mp_slice s)
{
    put_name(b, name);
    mp_json_put_string(b, s);
}

/* As put_string, for what may not be there. */
static void put_if(struct mp_buf *b, const char *name, struct mp_slice s)
{
    if (s.len)
        put_string(b, name, s);
}

static void put_time(struct mp_buf *b, const char *name, int64_t wall_us)
{
    char text[MP_TIME_TEXT];

    mp_time_text(wall_us, text);
    put_string(b, name, mp_slice_str(text));
}

static void put_base64(struct mp_buf *b, struct mp_slice bytes)
{
    size_t len = mp_base64_size(bytes.len);
    char *room = mp_buf_room(b, len + 2);

    if (!room)
        return;
    room[0] = room[len + 1] = '"';
    mp_base64_encode(bytes, room + 1);
    b->len += len + 2;
}

/* A doubled name counts once, with its last value: as functions see it. */
static bool comes_again(const struct mp_pair *pairs, uint32_t n, uint32_t i)
{
    for (uint32_t j = i + 1; j < n; j++) {
        if (mp_slice_eq(pairs[i].name, pairs[j].name))
            return true;
    }
    return false;
}

static void put_pairs(struct mp_buf *b, const char *name,
                      const struct mp_pair *pairs, uint32_t n)
{
    bool first = true;

    put_name(b, name);
    put_text(b, "{");
    for (uint32_t i = 0; i < n; i++) {
        if (comes_again(pairs, n, i))
            continue;
        if (!first)
            put_text(b, ",");
        first = false;
        mp_json_put_string(b, pairs[i].name);
        put_text(b, ":");
        mp_json_put_string(b, pairs[i].value);
    }
    put_text(b, "}");
}

static void put_mqtt(struct mp_buf *b, const struct mp_event *e)
{
    put_string(b, "topic", e->topic);
    put_name(b, "qos");
    mp_json_put_int(b, e->qos);
    put_name(b, "retained");
    mp_json_put_bool(b, e->retained);
    put_pairs(b, "properties", e->properties, e->n_properties);
    if (e->has_expiry) {
        put_name(b, "expiry");
        mp_json_put_int(b, e->expiry_s);
    }
}

static void put_request(struct mp_buf *b, const struct mp_event *e)
{
    put_string(b, "method", e->method);
    put_string(b, "path", e->path);
    put_pairs(b, "query", e->query, e->n_query);
    put_pairs(b, "headers", e->headers, e->n_headers);
    put_if(b, "peer", e->peer);
    put_if(b, "identity", e->identity);
}

static void put_events(struct mp_buf *b, const struct mp_event *batch)
{
    put_name(b, "events");
    put_text(b, "[");
    for (uint32_t i = 0; i < batch->n_events; i++) {
        if (i)
            put_text(b, ",");
        mp_event_json(b, &batch->events[i]);
    }
    put_text(b, "]");
}

void mp_event_json(struct mp_buf *out, const struct mp_event *e)
{
    put_text(out, "{\"id\":");
    mp_json_put_string(out, e->id);
    put_string(out, "type", mp_slice_str(mp_event_type_name(e->type)));
    put_if(out, "source", e->source);
    put_if(out, "subject", e->subject);
    put_time(out, "time", e->time_us);
    if (e->scheduled_us)
        put_time(out, "scheduled", e->scheduled_us);
    put_if(out, "trigger", e->trigger);
    if (e->has_key)
        put_string(out, "key", e->key);
    put_pairs(out, "params", e->params, e->n_params);
    put_name(out, "attempt");
    mp_json_put_int(out, e->attempt);
    if (e->type == MP_EVENT_MQTT)
        put_mqtt(out, e);
    if (e->path.ptr)
        put_request(out, e);
    if (e->type == MP_EVENT_BATCH) {
        put_events(out, e); /* in the place of data */
        put_text(out, "}");
        return;
    }
    if (e->type == MP_EVENT_TIMER) {
        put_name(out, "missed");
        mp_json_put_int(out, e->missed);
    }
    if (e->alarm.ptr)
        put_string(out, "alarm", e->alarm);
    if (e->datacontenttype.ptr)
        put_string(out, "datacontenttype", e->datacontenttype);
    if (e->traceparent.ptr)
        put_string(out, "traceparent", e->traceparent);
    if (mp_utf8_valid(e->data)) {
        put_string(out, "data", e->data);
    } else {
        put_name(out, "data_base64");
        put_base64(out, e->data);
    }
    put_text(out, "}");
}

static bool is_json(struct mp_slice text)
{
    struct mp_json s;
    struct mp_json_token t;
    struct mp_why why;

    mp_json_init(&s, text);
    do {
        if (mp_json_next(&s, &t, &why))
            return false;
    } while (t.kind != MP_JSON_END);
    return true;
}

static void put_value_text(struct mp_buf *b, struct mp_slice text)
{
    if (mp_utf8_valid(text)) {
        mp_json_put_string(b, text);
        return;
    }
    put_text(b, "{\"base64\":");
    put_base64(b, text);
    put_text(b, "}");
}

void mp_value_json(struct mp_buf *out, const struct mp_value *v)
{
    switch (v->kind) {
    case MP_VALUE_INTEGER:
        mp_json_put_int(out, v->integer);
        break;
    case MP_VALUE_FLOAT:
        mp_json_put_double(out, v->number);
        break;
    case MP_VALUE_BOOLEAN:
        mp_json_put_bool(out, v->integer != 0);
        break;
    case MP_VALUE_TABLE:
        /* A person may have put it there with sqlite3. */
        if (is_json(v->text)) {
            mp_buf_slice(out, v->text);
            break;
        }
        put_value_text(out, v->text);
        break;
    case MP_VALUE_STRING:
        put_value_text(out, v->text);
        break;
    default:
        mp_json_put_null(out);
        break;
    }
}
