/*
 * mqtt_input.c - one message from the library, made an input of the host.
 *
 * Its id is the publisher's (MQTT 5 user property `id`) or a hash of what
 * tells it from all others: node, session epoch, packet id and its wraps,
 * topic, payload.  The same hash tells a redelivery.
 */
#include "transports/mqtt_impl.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/crash.h"
#include "core/base/trace.h"
#include "core/log.h"
#include "core/metrics.h"

enum { ID_DIGITS = 24, COPIES_MAX = 2 * MP_PAIRS_MAX + 8 };

/* What the library gave us copies of, to be freed. */
struct props {
    struct mp_pair pairs[MP_PAIRS_MAX];
    void *copies[COPIES_MAX];
    unsigned n_copies;
    bool has_id;
    char id[ID_DIGITS];
};

static void put_hex(char *at, uint64_t n, unsigned digits)
{
    while (digits) {
        at[--digits] = "0123456789abcdef"[n & 15];
        n >>= 4;
    }
}

static struct mp_slice keep(struct props *p, void *copy, size_t len)
{
    MP_ASSERT(p->n_copies < COPIES_MAX);
    p->copies[p->n_copies++] = copy;
    return mp_slice(copy ? copy : "", len);
}

static struct mp_slice text_of(struct props *p, const mosquitto_property *at)
{
    char *text = NULL;

    mosquitto_property_read_string(at, mosquitto_property_identifier(at), &text,
                                   false);
    return keep(p, text, text ? strlen(text) : 0);
}

static void set_id(struct mp_input *from, struct props *p, struct mp_slice id)
{
    static const struct mp_hash_key plain = {UINT64_C(0x69642d746f6f2d6c),
                                             UINT64_C(0x6f6e672d69732d69)};
    struct mp_hasher h;
    struct mp_hash hash;

    p->has_id = true;
    from->id = id;
    if (id.len <= MP_EVENT_ID_MAX)
        return;
    mp_hasher_init(&h, &plain);
    mp_hasher_add(&h, id);
    hash = mp_hasher_end(&h);
    put_hex(p->id, hash.lo, 16);
    put_hex(p->id + 16, hash.hi, 8);
    from->id = mp_slice(p->id, ID_DIGITS);
}

static void take_pair(struct mp_input *from, struct props *p,
                      const mosquitto_property *at)
{
    char *name = NULL, *value = NULL;
    struct mp_pair pair;

    if (p->n_copies + 2 > 2 * MP_PAIRS_MAX)
        return;
    mosquitto_property_read_string_pair(at, MQTT_PROP_USER_PROPERTY, &name,
                                        &value, false);
    pair.name = keep(p, name, name ? strlen(name) : 0);
    pair.value = keep(p, value, value ? strlen(value) : 0);
    if (mp_slice_is(pair.name, "id") && pair.value.len && !p->has_id)
        set_id(from, p, pair.value);
    else if (mp_slice_is(pair.name, "traceparent") && !from->traceparent.ptr &&
             mp_trace_is(pair.value))
        from->traceparent = pair.value;
    else
        p->pairs[from->n_properties++] = pair;
}

static void take_route(struct mqtt_lane *l, struct mp_input *from,
                       const mosquitto_property *at, bool *too_many)
{
    uint32_t id = 0;
    const struct mqtt_want *w;

    mosquitto_property_read_varint(at, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, &id,
                                   false);
    w = mp_mqtt_subs_by_id(l, id);
    if (!w)
        return;
    if (!w->n_routes ||
        from->n_routes + w->n_routes > ARRAY_LEN(from->routes)) {
        *too_many = true;
        return;
    }
    for (uint32_t i = 0; i < w->n_routes; i++)
        from->routes[from->n_routes++] = w->routes[i];
}

/* Each known property occurs at most once but for those two. */
static void take_props(struct mqtt_lane *l, struct mp_input *from,
                       struct props *p, const mosquitto_property *at)
{
    bool all = false;
    void *bytes = NULL;
    uint16_t len = 0;

    for (; at; at = mosquitto_property_next(at)) {
        switch (mosquitto_property_identifier(at)) {
        case MQTT_PROP_SUBSCRIPTION_IDENTIFIER:
            take_route(l, from, at, &all);
            break;
        case MQTT_PROP_USER_PROPERTY:
            take_pair(from, p, at);
            break;
        case MQTT_PROP_CONTENT_TYPE:
            from->datacontenttype = text_of(p, at);
            break;
        case MQTT_PROP_RESPONSE_TOPIC:
            from->response_topic = text_of(p, at);
            break;
        case MQTT_PROP_CORRELATION_DATA:
            mosquitto_property_read_binary(at, MQTT_PROP_CORRELATION_DATA,
                                           &bytes, &len, false);
            from->correlation = keep(p, bytes, len);
            break;
        case MQTT_PROP_MESSAGE_EXPIRY_INTERVAL:
            from->has_expiry = true;
            mosquitto_property_read_int32(at, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL,
                                          &from->expiry_s, false);
            break;
        default:
            break;
        }
    }
    if (all)
        from->n_routes = 0; /* match every trigger of the lane */
}

static void drop_too_large(struct mqtt_lane *l, struct mp_input *from)
{
    int64_t now = from->received_us;

    mp_metrics.too_large++;
    l->too_large++;
    if (l->too_large_us && now - l->too_large_us < 10 * MP_SECOND)
        return;
    mp_log(MP_WARN, "mqtt",
           MP_FIELDS(MP_TEXT("topic", from->topic),
                     MP_NUM("bytes", (int64_t)from->data.len),
                     MP_NUM("dropped", l->too_large)),
           "a message is larger than [mqtt] max_payload = %u",
           l->conn.mq->config->mqtt.max_payload);
    l->too_large_us = now;
    l->too_large = 0;
}

static struct mp_hash hash_of(const struct mqtt_lane *l, uint32_t sequence,
                              const struct mp_input *from)
{
    struct mp_hasher h;

    mp_hasher_init(&h, &l->key);
    mp_hasher_add_u64(&h, sequence);
    mp_hasher_add(&h, from->topic);
    mp_hasher_add(&h, from->data);
    return mp_hasher_end(&h);
}

/*
 * The first message that is sent again after a reconnect may be further back
 * than half a round of ids.  If it was recorded there, that is what it is; the
 * others follow it.
 */
static uint32_t find_first(const struct mqtt_lane *l, uint32_t sequence,
                           const struct mp_input *from)
{
    const uint32_t round = UINT32_C(1) << 16;
    const uint32_t all[] = {sequence, sequence - round, sequence + round};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (mp_redelivery_has(&l->seen, all[i], hash_of(l, all[i], from).lo))
            return all[i];
    return sequence;
}

/* The identity of a QoS 1 message, and its sequence number. */
static struct mp_hash identify(struct mqtt_lane *l, uint16_t packet_id,
                               const struct mp_input *from, uint32_t *sequence)
{
    uint32_t n;

    if (!l->top)
        l->top = mp_redelivery_top(&l->seen);
    n = mp_session_sequence(&l->session, packet_id, l->dup, l->at, l->top);
    if (!l->at && l->dup)
        n = find_first(l, n, from);
    if (n > l->top)
        l->top = n;
    if (mp_session_saw(&l->session, n, &l->at))
        mp_mqtt_lane_keep_half(l);
    *sequence = n;
    return hash_of(l, n, from);
}

static void hand_over(struct mqtt_lane *l, struct mp_input *from,
                      struct props *p, struct mp_hash hash,
                      const mosquitto_property *props)
{
    struct mp_input *in;

    take_props(l, from, p, props);
    if (!p->has_id) {
        put_hex(p->id, hash.lo, 16);
        put_hex(p->id + 16, hash.hi, 8);
        from->id = mp_slice(p->id, ID_DIGITS);
    }
    from->given_id = p->has_id;
    from->properties = p->pairs;
    in = mp_input_new(from);
    while (p->n_copies)
        free(p->copies[--p->n_copies]);
    mp_gate_took(&l->gate, in->qos, in->bytes);
    l->in_host++;
    mp_host_input(l->conn.mq->host, in);
    MP_CRASH_POINT("mqtt.taken");
}

/* New, or come again?  True: hand it over (and the gate hears of it there,
 * where its properties are known). */
static bool take_qos1(struct mqtt_lane *l, struct mp_input *from,
                      uint32_t sequence, struct mp_hash hash)
{
    size_t bytes = from->topic.len + from->data.len;

    switch (mp_redelivery_take(&l->seen, sequence, hash.lo, l->dup,
                               &from->ticket)) {
    case MP_AGAIN_PARTLY:
        from->n_done = mp_redelivery_done(&l->seen, from->ticket, &from->done);
        return true;
    case MP_AGAIN_NO:
        return true;
    case MP_AGAIN_IN_WORK:
        mp_gate_took(&l->gate, 1, bytes);
        return false;
    case MP_AGAIN_HELD:
    case MP_AGAIN_SETTLED:
        mp_gate_took(&l->gate, 0, bytes);
        return false;
    case MP_AGAIN_CLASH:
        break;
    }
    mp_mqtt_conn_doom(&l->conn, "the broker reused packet id %u too early",
                      sequence & UINT16_MAX);
    l->live = false;
    return false;
}

static void read_clocks(struct mqtt_lane *l)
{
    if (l->clock_left--)
        return;
    l->clock_left = MQTT_CLOCK_EVERY - 1;
    l->now_us = mp_now_us();
    l->wall_us = mp_wall_us();
}

void mp_mqtt_input_take(struct mqtt_lane *l,
                        const struct mosquitto_message *msg,
                        const mosquitto_property *props)
{
    struct mqtt *mq = l->conn.mq;
    struct props p;
    struct mp_hash hash;
    uint32_t sequence;
    struct mp_input from = {
        .settled = mp_mqtt_lane_settled,
        .owner = l,
        .type = MP_EVENT_MQTT,
        .qos = (uint8_t)msg->qos,
        .retained = msg->retain,
        .topic = {msg->topic, strlen(msg->topic)},
        .data = {msg->payload, (size_t)msg->payloadlen},
        .source = mp_slice_str(mq->source),
        .lane = l->number,
    };

    read_clocks(l);
    from.received_us = l->now_us;
    from.time_us = l->wall_us;
    p.n_copies = 0;
    p.has_id = false;
    if (from.data.len > mq->config->mqtt.max_payload) {
        drop_too_large(l, &from);
        mp_gate_took(&l->gate, 0, from.data.len);
        return;
    }
    if (msg->qos == 0) {
        hash.lo = mq->counter_base;
        hash.hi = mq->counter++;
        hand_over(l, &from, &p, hash, props);
        return;
    }
    from.note = mp_mqtt_lane_note;
    hash = identify(l, (uint16_t)msg->mid, &from, &sequence);
    if (l->live && take_qos1(l, &from, sequence, hash))
        hand_over(l, &from, &p, hash, props);
}
