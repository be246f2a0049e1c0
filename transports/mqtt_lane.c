/*
 * mqtt_lane.c - the gate, applied to one input connection.
 *
 * The library queues every packet it wants to send, acknowledgements first of
 * all, until mosquitto_loop_write; lane_flush is the only place that calls it
 * while the lane is up, and only when the gate says so.
 *
 * Four things must be durable before the lane goes on: that it is about to
 * connect (connecting), a session that the broker began and subscriptions
 * before they are sent (subscribing), and a half of the packet ids before
 * acknowledgements leave (half).
 *
 * Proof.  A slot of redelivery.h may be forgotten when the broker has shown
 * that it saw the acknowledgement.  A ping would show it, but the library
 * sends none on a busy connection.  So now and then a flush ends with an
 * UNSUBSCRIBE of a filter that nobody ever subscribed: its answer can't leave
 * the broker before everything in front of it was read.  If, besides, the
 * connection is some seconds old and nothing was sent again while it was on
 * its way, nothing more will be, and the library's log, which alone knows DUP,
 * can be turned off: it costs a formatted line for each packet.
 */
#include "transports/mqtt_impl.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/crash.h"
#include "core/log.h"
#include "core/metrics.h"

#define PROOF_EVERY MP_SECOND
/* Brokers that resend from another thread have this long for it. */
#define RESUME_AFTER (10 * MP_SECOND)

static const char ONLINE[] = "online", OFFLINE[] = "offline";
static const char KEPT[] = "mqtt/";

/* ---- writing ---- */

/* Is there anything that a proof would let us forget? */
static bool proof_due(const struct mqtt_lane *l, int64_t now_us)
{
    bool carried = l->seen.carried && now_us - l->conn.up_us >= RESUME_AFTER;

    if (l->proof_id || l->conn.state != MQTT_UP)
        return false;
    return l->seen.settled > MQTT_PROOF_DUE ||
           ((l->seen.settled || carried) &&
            now_us - l->proof_us >= PROOF_EVERY);
}

static void ask_for_proof(struct mqtt_lane *l)
{
    int64_t now = mp_now_us();

    if (!proof_due(l, now))
        return;
    if (mosquitto_unsubscribe(l->conn.m, &l->proof_id, l->conn.mq->proof_topic))
        l->proof_id = 0;
    l->proof_flush = l->seen.flush;
    l->proof_clean = true;
    l->proof_us = now;
}

static void proof_came(struct mqtt_lane *l)
{
    l->proof_id = 0;
    mp_redelivery_proven(&l->seen, l->proof_flush,
                         l->proof_clean &&
                             l->proof_us - l->conn.up_us >= RESUME_AFTER);
}

/* True when nothing is unsent. */
static bool lane_flush(struct mqtt_lane *l)
{
    struct mqtt_conn *c = &l->conn;

    if (!mp_gate_may_write(&l->gate))
        return false;
    if (!l->flushing) {
        l->flushing = true;
        ask_for_proof(l);
    }
    if (mp_mqtt_conn_unsent(c)) {
        MP_CRASH_POINT("mqtt.before_flush");
        mp_mqtt_conn_write(c);
        MP_CRASH_POINT("mqtt.after_flush");
        if (mp_mqtt_conn_after(c) || mp_mqtt_conn_unsent(c))
            return false;
    }
    l->flushing = false;
    if (l->gate.messages >= MQTT_BUSY)
        mp_mqtt_lane_gather(l);
    mp_redelivery_flushed(&l->seen);
    mp_gate_flushed(&l->gate);
    return true;
}

/* ---- reading ---- */

/*
 * A lane of its own reads on while HELD.  Windows that open one after the other
 * would hold it for ever, and the pings with it; so after a while it waits for
 * those that are open, which takes half the keepalive at most.
 */
static bool is_held_long(const struct mqtt_lane *l)
{
    const struct mp_gate *g = &l->gate;

    return g->state == MP_GATE_HELD && g->read_on &&
           mp_now_us() - g->held_us > l->conn.mq->config->mqtt.keepalive_us / 4;
}

/* Nothing is read before a new session is durable: what it brings would have
 * another id after a restart. */
static bool may_read(const struct mqtt_lane *l)
{
    const struct mqtt *mq = l->conn.mq;

    return l->conn.state == MQTT_UP && !l->conn.doomed[0] && !l->gathering &&
           !l->unkept && !mq->draining && !mq->paused &&
           mp_gate_may_read(&l->gate) && !is_held_long(l);
}

/* True: the socket is dry.  False: the gate wants no more for now. */
static bool lane_read(struct mqtt_lane *l)
{
    l->clock_left = 0;
    while (may_read(l)) {
        l->progress = false;
        /* One packet a call, whatever it is asked for.  errno can't tell
         * that the socket is dry (the library writes to a socket pair that
         * is full), but that nothing came does. */
        mosquitto_loop_read(l->conn.m, 1);
        if (l->conn.gone || !l->progress)
            return true;
    }
    return false;
}

static void lane_watch(struct mqtt_lane *l)
{
    int events = may_read(l) ? UV_READABLE : 0;

    if (l->conn.mq->paused || l->unkept)
        events = UV_DISCONNECT;
    if (l->gate.state == MP_GATE_FLUSH && mp_mqtt_conn_unsent(&l->conn))
        events |= UV_WRITABLE;
    /* While HELD the socket stays watched until it is readable indeed: most
     * batches settle before that, and each change costs a system call. */
    if (!events && (l->gate.state == MP_GATE_HELD || l->gathering))
        return;
    mp_mqtt_conn_watch(&l->conn, events);
}

void mp_mqtt_lane_pump(struct mqtt_lane *l)
{
    l->dirty = false;
    if (l->conn.state != MQTT_UP || (l->gathering && !l->conn.doomed[0]))
        return;
    if (may_read(l))
        l->unread = !lane_read(l);
    if (mp_mqtt_conn_after(&l->conn))
        return;
    mp_gate_dry(&l->gate, mp_now_us());
    if (l->gate.state == MP_GATE_FLUSH)
        lane_flush(l);
    else if (l->gate.state == MP_GATE_HELD)
        mp_mqtt_conn_confirm(&l->conn);
    if (l->conn.state != MQTT_UP)
        return;
    /* What is read ahead, or held by a TLS library, the poll doesn't see. */
    if (may_read(l) && (mp_mqtt_conn_unread(&l->conn) ||
                        (l->unread && l->conn.mq->config->mqtt.tls)))
        l->dirty = true;
    /* DUP matters while something may come again, and to the first message
     * after a restart (mp_session_sequence). */
    if (l->listening && !l->seen.carried && (l->at || l->is_new)) {
        l->listening = false;
        mp_mqtt_conn_listen(&l->conn, false);
    }
    lane_watch(l);
}

/* ---- the connection's words ---- */

static void on_message(struct mosquitto *m MP_UNUSED, void *obj,
                       const struct mosquitto_message *msg,
                       const mosquitto_property *props)
{
    struct mqtt_lane *l = obj;

    l->progress = true;
    if (l->live && l->conn.state == MQTT_UP)
        mp_mqtt_input_take(l, msg, props);
    l->dup = false;
}

static void on_subscribe(struct mosquitto *m MP_UNUSED, void *obj, int mid,
                         int n, const int *granted,
                         const mosquitto_property *props MP_UNUSED)
{
    struct mqtt_lane *l = obj;

    l->progress = true;
    mp_mqtt_subs_answer(l, mid, n > 0 ? granted[0] : 128);
}

static void on_unsubscribe(struct mosquitto *m MP_UNUSED, void *obj, int mid,
                           const mosquitto_property *props MP_UNUSED)
{
    struct mqtt_lane *l = obj;

    l->progress = true;
    if (mid == l->proof_id)
        proof_came(l);
    else
        mp_mqtt_subs_answer(l, mid, 0);
}

/* "Client ID received PUBLISH (d1, q1, ...", just before on_message. */
static void lane_heard(struct mqtt_conn *c, const char *text)
{
    struct mqtt_lane *l = (struct mqtt_lane *)c;
    static const char before[] = "Client ", after[] = " received PUBLISH (d";
    size_t id = strlen(c->client_id);

    l->progress = true;
    if (strncmp(text, before, sizeof before - 1) != 0)
        return;
    text += sizeof before - 1;
    if (strncmp(text, c->client_id, id) != 0 ||
        strncmp(text + id, after, sizeof after - 1) != 0)
        return;
    l->dup = text[id + sizeof after - 1] == '1';
    if (l->dup)
        l->proof_clean = false;
}

static void say_status(struct mqtt_lane *l, const char *status)
{
    if (l == l->conn.mq->shared)
        (void)mosquitto_publish(l->conn.m, NULL, l->conn.mq->status_topic,
                                (int)strlen(status), status, 1, true);
}

static void set_key(struct mqtt_lane *l)
{
    static const struct mp_hash_key plain = {UINT64_C(0x6d6f6f6e706f6f6c),
                                             UINT64_C(0x6964732d6d717474)};

    l->key.k0 = l->session.epoch;
    l->key.k1 = mp_hash64(&plain, mp_slice_str(l->conn.mq->config->node));
}

/* ---- what must be durable before we go on ---- */

void mp_mqtt_lane_connect(struct mqtt_lane *l)
{
    if (!l->conn.mq->away)
        mp_mqtt_conn_start(&l->conn);
}

static void half_kept(struct mp_commit_wait *w, int rc)
{
    struct mqtt_lane *l = mp_of(w, struct mqtt_lane, half);

    if (rc)
        return; /* the transport is told that all is lost */
    if (!l->live)
        return;
    mp_gate_settled(&l->gate, mp_now_us());
    mp_mqtt_lane_wake(l);
}

/* It holds the gate as an input in work does, on the connections after this
 * one too (lane_up). */
void mp_mqtt_lane_keep_half(struct mqtt_lane *l)
{
    if (!mp_mqtt_kept_waits(&l->half))
        mp_gate_took(&l->gate, 1, 0);
    mp_mqtt_kept_save(l, &l->half, half_kept);
}

/* ---- up and down ---- */

static void lane_again(struct mqtt_conn *c)
{
    mp_mqtt_lane_connect((struct mqtt_lane *)c);
}

static void lane_up(struct mqtt_conn *c, bool session)
{
    struct mqtt_lane *l = (struct mqtt_lane *)c;

    l->live = true;
    l->listening = true;
    l->stale = false;
    l->is_new = !session || !l->session.epoch || l->unkept;
    l->dup = l->ready = l->flushing = l->unread = l->gathering = false;
    l->proof_id = 0;
    l->at = 0;
    l->unanswered = 0;
    for (unsigned i = 0; i < l->session.n_subs; i++)
        l->session.subs[i].packet_id = 0;
    if (l->is_new)
        mp_mqtt_kept_begin(l);
    /*
     * The broker says that it kept a session, not whose: another host may
     * have used our name, a backup may have brought ours back.  To subscribe
     * again costs a packet.  MQTT 3.1.1 brings retained messages with it: only
     * once a start there.
     */
    for (unsigned i = 0; i < l->session.n_subs; i++)
        l->session.subs[i].refresh =
            !l->is_new && (c->version == MQTT_PROTOCOL_V5 || !l->met);
    l->met = true;
    if (mp_mqtt_kept_waits(&l->half))
        mp_gate_took(&l->gate, 1, 0);
    set_key(l);
    mp_log(MP_DEBUG, "mqtt", NULL, "connected as '%s', MQTT %s, session %s",
           c->client_id, c->version == MQTT_PROTOCOL_V5 ? "5" : "3.1.1",
           l->is_new ? "new" : "resumed");
    mp_mqtt_subs_want(l);
    mp_mqtt_subs_send(l);
    if (l->stale)
        mp_mqtt_kept_save(l, NULL, NULL);
    if (l->is_new)
        MP_CRASH_POINT("mqtt.session_new");
    say_status(l, ONLINE);
}

static void lane_down(struct mqtt_conn *c)
{
    struct mqtt_lane *l = (struct mqtt_lane *)c;

    l->live = l->ready = l->abandoned = false;
    mp_commit_wait_not(&l->subscribing);
    mp_gate_lost(&l->gate, mp_now_us());
    mp_redelivery_lost(&l->seen);
}

static void lane_ready(struct mqtt_conn *c, int events MP_UNUSED)
{
    struct mqtt_lane *l = (struct mqtt_lane *)c;

    if (l->gathering || (l->gate.state == MP_GATE_HELD && !may_read(l)))
        mp_mqtt_conn_watch(c, UV_DISCONNECT);
    else
        mp_mqtt_lane_pump(l);
}

static void lane_free(struct mqtt_lane *l)
{
    mp_redelivery_fini(&l->seen);
    mp_session_fini(&l->session);
    mp_mqtt_subs_forget(l);
    free(l->name);
    free(l->kept);
    free(l);
}

static void lane_ended(struct mqtt_conn *c)
{
    struct mqtt_lane *l = (struct mqtt_lane *)c;

    mp_mqtt_kept_wait_not(l);
    mp_mqtt_lane_gone(l);
    mp_mqtt_conn_fini(c);
    l->orphan = true;
    if (!l->in_host)
        lane_free(l);
}

static const struct mqtt_conn_ops lane_ops = {
    .again = lane_again,
    .up = lane_up,
    .down = lane_down,
    .ready = lane_ready,
    .heard = lane_heard,
    .ended = lane_ended,
};

/* ---- what the host says ---- */

void mp_mqtt_lane_wake(struct mqtt_lane *l)
{
    l->dirty = true;
    mp_mqtt_wake(l->conn.mq);
}

/* It holds the gate for ever.  Without its connection the broker sends it
 * again, with all that would have been acknowledged with it. */
static void lane_lose(struct mqtt_lane *l)
{
    if (l->conn.mq->draining) {
        l->abandoned = true;
        return;
    }
    mp_mqtt_conn_doom(&l->conn, "an input was lost: it has to come again");
    mp_mqtt_lane_wake(l);
}

/* Where a ticket holds the lane, its connection is up. */
void mp_mqtt_lane_settled(struct mp_input *in)
{
    struct mqtt_lane *l = in->owner;

    l->in_host--;
    if (in->ticket && in->lost) {
        if (mp_redelivery_lose(&l->seen, in->ticket))
            lane_lose(l);
    } else if (in->ticket && mp_redelivery_settle(&l->seen, in->ticket)) {
        mp_gate_settled(&l->gate, l->gate.in_work == 1 ? mp_now_us() : 0);
        if (l->gate.state == MP_GATE_FLUSH)
            mp_mqtt_lane_wake(l);
    }
    if (l->orphan && !l->in_host)
        lane_free(l);
}

void mp_mqtt_lane_note(struct mp_input *in, uint64_t function)
{
    struct mqtt_lane *l = in->owner;

    mp_redelivery_note(&l->seen, in->ticket, function);
}

void mp_mqtt_lane_lost(struct mqtt_lane *l)
{
    mp_mqtt_conn_hold(&l->conn);
    mp_mqtt_kept_forget(l);
}

void mp_mqtt_lane_tick(struct mqtt_lane *l)
{
    mp_metrics.mqtt_held_us += l->gate.held_total_us;
    l->gate.held_total_us = 0;
    mp_mqtt_conn_tick(&l->conn);
    if (l->conn.state != MQTT_UP || l->gate.state != MP_GATE_READ)
        return;
    if (mp_mqtt_conn_unsent(&l->conn) || proof_due(l, mp_now_us()))
        mp_mqtt_lane_pump(l);
}

bool mp_mqtt_lane_idle(const struct mqtt_lane *l)
{
    if (l->conn.state != MQTT_UP || l->abandoned)
        return true; /* the broker has what we did not acknowledge */
    return l->gate.in_work == 0 && !mp_mqtt_conn_unsent(&l->conn);
}

void mp_mqtt_lane_close(struct mqtt_lane *l)
{
    struct mqtt_conn *c = &l->conn;
    bool clean = c->state == MQTT_UP && !c->doomed[0] && l->gate.in_work == 0;
    mosquitto_property *props = NULL;

    /* Disconnecting writes what is queued: never an acknowledgement of what
     * is still in work.  Then the socket goes, and the will says offline. */
    if (clean) {
        say_status(l, OFFLINE);
        if (l->retired && c->version == MQTT_PROTOCOL_V5)
            mp_mqtt_added(mosquitto_property_add_int32(
                &props, MQTT_PROP_SESSION_EXPIRY_INTERVAL, 0));
        mosquitto_disconnect_v5(c->m, 0, props);
        mosquitto_property_free_all(&props);
    }
    mp_mqtt_conn_end(c, clean);
    if (clean && l->retired)
        mp_mqtt_kept_end(l);
}

static void set_gate(struct mqtt_lane *l)
{
    const struct mp_config *cfg = l->conn.mq->config;
    uint32_t messages = cfg->mqtt.receive_max ? cfg->mqtt.receive_max : 1;
    uint64_t bytes = (uint64_t)messages * (cfg->mqtt.max_payload + 1024);

    if (bytes > MQTT_BATCH_BYTES)
        bytes = MQTT_BATCH_BYTES;
    mp_gate_init(&l->gate, messages, (size_t)bytes, l->name != NULL);
}

static char *name_of(const char *before, const char *name)
{
    size_t a = strlen(before), b = strlen(name);
    char *text = mp_alloc(a + b + 1);

    memcpy(text, before, a);
    memcpy(text + a, name, b + 1);
    return text;
}

struct mqtt_lane *mp_mqtt_lane_new(struct mqtt *mq, const char *name,
                                   uint32_t number)
{
    struct mqtt_lane *l = mp_zalloc(sizeof *l);

    mp_mqtt_conn_init(&l->conn, mq, &lane_ops, name, true);
    l->number = number;
    l->name = name ? name_of("", name) : NULL;
    l->kept = name_of(KEPT, name ? name : "shared");
    l->tag = l->kept + strlen(KEPT);
    mp_list_init(&l->subscribing.link);
    mp_list_init(&l->half.link);
    mp_session_init(&l->session);
    mp_redelivery_init(&l->seen, mp_host_records(mq->host), l->tag);
    if (!mq->away)
        mp_mqtt_kept_load(l);
    set_gate(l);
    mp_list_append(&mq->lanes, &l->link);
    if (!name)
        mosquitto_will_set(l->conn.m, mq->status_topic, (int)strlen(OFFLINE),
                           OFFLINE, 1, true);
    mosquitto_message_v5_callback_set(l->conn.m, on_message);
    mosquitto_subscribe_v5_callback_set(l->conn.m, on_subscribe);
    mosquitto_unsubscribe_v5_callback_set(l->conn.m, on_unsubscribe);
    return l;
}
