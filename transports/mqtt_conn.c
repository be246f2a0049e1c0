/*
 * mqtt_conn.c - one connection to the broker that is always wanted.
 *
 *   IDLE -> OPENING -> GREETING -> UP
 *             |  ^        |        |
 *             v  |        v        v
 *            WAITING <----+--------+      (ENDING, ENDED from anywhere)
 *
 * OPENING runs mosquitto_connect_async on libuv's pool, because it resolves
 * the name where it is called; the name itself must be given to the library,
 * which compares it with the certificate.  Meanwhile nobody else touches the
 * handle.
 *
 * A socket is dropped, without a byte more on the wire, by putting /dev/null
 * in its place: the library reads an end of file and tidies up.
 */
#include "transports/mqtt_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/log.h"
#include "core/metrics.h"

#define BACKOFF_MIN (MP_SECOND / 2)
#define BACKOFF_MAX (30 * MP_SECOND)
/* Up for less than this, it gets no credit: the next try waits longer. */
#define STABLE_AFTER (10 * MP_SECOND)
#define GREETING_MS 15000
/* Closed by the broker within this time, it was brief (see mqtt_reason.c). */
#define BRIEF (5 * MP_SECOND)
#define GOODBYE_MS 500

static void conn_io(uv_poll_t *poll, int status, int events);

/* ---- the socket and the loop ---- */

static void poll_closed(uv_handle_t *h)
{
    struct mqtt *mq = h->data;

    free(h);
    mp_mqtt_handle_closed(mq);
}

static void conn_unpoll(struct mqtt_conn *c)
{
    if (!c->poll)
        return;
    uv_poll_stop(c->poll);
    mp_mqtt_io_detach(c->fd);
    c->poll->data = c->mq;
    uv_close((uv_handle_t *)c->poll, poll_closed);
    c->poll = NULL;
    c->events = 0;
}

void mp_mqtt_conn_watch(struct mqtt_conn *c, int events)
{
    if (!c->poll || c->events == events)
        return;
    c->events = events;
    if (events)
        uv_poll_start(c->poll, events, conn_io);
    else
        uv_poll_stop(c->poll);
}

static int conn_poll(struct mqtt_conn *c)
{
    int rc;

    c->poll = mp_zalloc(sizeof(*c->poll));
    rc = uv_poll_init(c->mq->loop, c->poll, mosquitto_socket(c->m));
    if (rc) {
        free(c->poll);
        c->poll = NULL;
        return rc;
    }
    c->mq->handles++;
    c->poll->data = c;
    c->fd = mosquitto_socket(c->m);
    return 0;
}

/* Close the socket from our side: nothing unsent may leave. */
static void conn_drop(struct mqtt_conn *c)
{
    int fd = mosquitto_socket(c->m);
    int null;

    conn_unpoll(c);
    if (fd < 0)
        return;
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, fd) < 0)
        shutdown(fd, SHUT_RDWR);
    if (null >= 0)
        close(null);
    /* A TLS library may hold some decrypted messages still: those are read,
     * and ignored, first.  Where it won't close, the next connect does. */
    for (int i = 0; i < 10000 && mosquitto_socket(c->m) >= 0; i++)
        mosquitto_loop_read(c->m, 1);
}

/* ---- trying ---- */

static void set_connect_properties(struct mqtt_conn *c)
{
    const struct mp_config *cfg = c->mq->config;
    mosquitto_property *props = NULL;

    if (c->version == MQTT_PROTOCOL_V5) {
        uint64_t packet = (uint64_t)cfg->mqtt.max_payload + MQTT_PACKET_EXTRA;

        if (packet > MQTT_MAX_PAYLOAD)
            packet = MQTT_MAX_PAYLOAD;
        mp_mqtt_added(mosquitto_property_add_int32(
            &props, MQTT_PROP_MAXIMUM_PACKET_SIZE, (uint32_t)packet));
        if (c->keeps_session) {
            uint32_t window = cfg->mqtt.receive_max;

            mp_mqtt_added(mosquitto_property_add_int32(
                &props, MQTT_PROP_SESSION_EXPIRY_INTERVAL,
                MQTT_SESSION_FOR_EVER));
            mp_mqtt_added(mosquitto_property_add_int16(
                &props, MQTT_PROP_RECEIVE_MAXIMUM,
                (uint16_t)(window > UINT16_MAX ? UINT16_MAX : window)));
        }
    }
    /* The asynchronous connect takes no properties but uses those that were
     * given last; with no host this call keeps them and goes no further. */
    (void)mosquitto_connect_bind_v5(c->m, NULL, 0, 60, NULL, props);
    mosquitto_property_free_all(&props);
}

/* The library sets up TLS in the first connect that needs it, without asking
 * whether another thread does the same: with TLS they go one at a time. */
static pthread_mutex_t tls_connect = PTHREAD_MUTEX_INITIALIZER;

static void conn_work(uv_work_t *work)
{
    struct mqtt_conn *c = work->data;
    const struct mp_config *cfg = c->mq->config;

    if (cfg->mqtt.tls)
        pthread_mutex_lock(&tls_connect);
    c->work_rc =
        mosquitto_connect_async(c->m, cfg->mqtt.host, cfg->mqtt.port,
                                (int)(cfg->mqtt.keepalive_us / MP_SECOND));
    c->work_errno = errno;
    if (cfg->mqtt.tls)
        pthread_mutex_unlock(&tls_connect);
}

static void conn_down(struct mqtt_conn *c);
static void conn_finish(struct mqtt_conn *c);

static void timer_fired(uv_timer_t *timer)
{
    struct mqtt_conn *c = timer->data;

    switch (c->state) {
    case MQTT_WAITING:
        c->ops->again(c);
        break;
    case MQTT_GREETING:
        mp_mqtt_conn_doom(c, "no answer from the broker within %d s",
                          GREETING_MS / 1000);
        mp_mqtt_conn_after(c);
        break;
    case MQTT_ENDING:
        conn_drop(c);
        conn_finish(c);
        break;
    default:
        break;
    }
}

static void work_done(uv_work_t *work, int status)
{
    struct mqtt_conn *c = work->data;

    c->working = false;
    if (status)
        c->work_rc = MOSQ_ERR_UNKNOWN;
    if (c->state == MQTT_ENDING) {
        conn_drop(c);
        conn_finish(c);
        return;
    }
    if (c->held) {
        c->state = MQTT_IDLE;
        c->gone = true;
        conn_drop(c);
        return;
    }
    if (c->work_rc == MOSQ_ERR_SUCCESS && conn_poll(c) == 0) {
        c->state = MQTT_GREETING;
        mp_mqtt_conn_watch(c, UV_READABLE | UV_WRITABLE);
        uv_timer_start(&c->timer, timer_fired, GREETING_MS, 0);
        return;
    }
    c->lost_rc = c->work_rc;
    c->lost_errno = c->work_errno;
    c->gone = true;
    conn_drop(c);
    conn_down(c);
}

void mp_mqtt_conn_start(struct mqtt_conn *c)
{
    struct mqtt *mq = c->mq;

    c->held = false;
    if (c->working)
        return; /* held and wanted again meanwhile: that try goes on */
    MP_ASSERT(!c->poll);
    if (c->no_tls)
        return; /* never in the clear when TLS was asked for */
    if (mq->version)
        c->version = mq->version;
    else if (mq->config->mqtt.version == MP_MQTT_311)
        c->version = MQTT_PROTOCOL_V311;
    else if (!c->version || mq->config->mqtt.version == MP_MQTT_5)
        c->version = MQTT_PROTOCOL_V5;
    mosquitto_int_option(c->m, MOSQ_OPT_PROTOCOL_VERSION, c->version);
    set_connect_properties(c);
    mosquitto_string_option(c->m, MOSQ_OPT_BIND_ADDRESS,
                            c->ipv4_only ? "0.0.0.0" : NULL);
    c->gone = c->greeted = false;
    c->connack = c->lost_rc = c->lost_errno = 0;
    c->doomed[0] = c->tls_error[0] = '\0';
    c->state = MQTT_OPENING;
    mp_mqtt_conn_listen(c, true); /* only the log says why TLS failed */
    c->work.data = c;
    c->working = true;
    if (uv_queue_work(mq->loop, &c->work, conn_work, work_done))
        mp_bug(__FILE__, __LINE__, "no pool thread");
}

/* ---- being told why not ---- */

/*
 * The library takes the first address of a name whose connect doesn't fail at
 * once; where the broker listens on another family's address only, it would
 * never get there.  So a name that was refused is tried with IPv4 alone next.
 */
static bool family_next(struct mqtt_conn *c, bool was_up)
{
    unsigned char addr[16];
    const char *host = c->mq->config->mqtt.host;

    if (was_up || c->greeted || c->lost_rc != MOSQ_ERR_ERRNO)
        return false;
    if (uv_inet_pton(AF_INET, host, addr) == 0 ||
        uv_inet_pton(AF_INET6, host, addr) == 0)
        return false;
    c->ipv4_only = !c->ipv4_only;
    if (c->tried_family)
        return false;
    c->tried_family = true;
    return true;
}

/* MQTT 5 refused, or the door shut at once: 3.1.1 is next. */
static bool version_next(struct mqtt_conn *c, bool was_up)
{
    bool refused =
        c->greeted && (c->connack == MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION ||
                       c->connack == CONNACK_REFUSED_PROTOCOL_VERSION);
    bool shut = !c->greeted && (c->lost_rc == MOSQ_ERR_CONN_LOST ||
                                c->lost_rc == MOSQ_ERR_PROTOCOL ||
                                c->lost_rc == MOSQ_ERR_MALFORMED_PACKET);

    if (was_up || c->mq->config->mqtt.version != MP_MQTT_AUTO)
        return false;
    if (refused)
        c->mq->version = 0;
    else if (!shut || c->mq->version)
        return false;
    if (c->version == MQTT_PROTOCOL_V5) {
        c->version = MQTT_PROTOCOL_V311;
        return true;
    }
    c->version = MQTT_PROTOCOL_V5;
    return false; /* both were refused: wait before the next round */
}

static int64_t next_delay(struct mqtt_conn *c)
{
    int64_t base;

    c->backoff_us = c->backoff_us ? c->backoff_us * 2 : BACKOFF_MIN;
    if (c->backoff_us > BACKOFF_MAX)
        c->backoff_us = BACKOFF_MAX;
    base = c->backoff_us;
    return base - base / 5 + base * 2 / 5 * (random() % 1000) / 1000;
}

static void say_down(struct mqtt_conn *c, bool was_up, int64_t delay_us)
{
    struct mqtt *mq = c->mq;
    int64_t now = mp_now_us();
    char why[200];
    enum mp_level level = MP_WARN;
    double s = (double)delay_us / (double)MP_SECOND;

    mp_mqtt_reason(c, why, sizeof why);
    if (!was_up && strcmp(why, c->said) == 0)
        return;
    /* The connections of one broker fail together: one line is enough. */
    if (strcmp(why, mq->said) == 0 && now - mq->said_us < 2 * MP_SECOND)
        level = MP_DEBUG;
    memcpy(c->said, why, sizeof why);
    memcpy(mq->said, why, sizeof why);
    mq->said_us = now;
    mp_log(level, "mqtt",
           MP_FIELDS(MP_TEXT("client", mp_slice_str(c->client_id))),
           "%s%s: %s; next try in %.*fs",
           was_up ? "connection lost" : "cannot connect to ",
           was_up ? "" : mq->source, why, s < 9.95 ? 1 : 0, s);
}

static void conn_down(struct mqtt_conn *c)
{
    bool was_up = c->state == MQTT_UP;
    int64_t delay = 0;

    conn_unpoll(c);
    c->gone = true;
    uv_timer_stop(&c->timer);
    if (was_up) {
        c->ops->down(c);
        mp_metrics.mqtt_reconnects++;
        c->brief =
            !c->doomed[0] && mp_now_us() - c->up_us < BRIEF ? c->brief + 1 : 0;
        if (mp_now_us() - c->up_us > STABLE_AFTER)
            c->backoff_us = 0;
    }
    c->state = MQTT_WAITING;
    if (!family_next(c, was_up) && !version_next(c, was_up)) {
        delay = next_delay(c);
        say_down(c, was_up, delay);
    }
    c->doomed[0] = '\0';
    uv_timer_start(&c->timer, timer_fired, (uint64_t)(delay / 1000), 0);
}

void mp_mqtt_conn_hold(struct mqtt_conn *c)
{
    bool was_up = c->state == MQTT_UP;

    if (c->state >= MQTT_ENDING)
        return;
    c->held = true;
    uv_timer_stop(&c->timer);
    if (c->working)
        return;           /* work_done goes on */
    c->state = MQTT_IDLE; /* what is read while dropping is ignored */
    c->gone = true;
    conn_drop(c);
    if (was_up)
        c->ops->down(c);
}

void mp_mqtt_conn_doom(struct mqtt_conn *c, const char *fmt, ...)
{
    va_list args;

    if (c->doomed[0])
        return;
    va_start(args, fmt);
    vsnprintf(c->doomed, sizeof c->doomed, fmt, args);
    va_end(args);
}

bool mp_mqtt_conn_after(struct mqtt_conn *c)
{
    if (c->state != MQTT_GREETING && c->state != MQTT_UP)
        return true;
    if (!c->gone && c->doomed[0]) {
        c->gone = true;
        conn_drop(c);
    }
    if (!c->gone && mosquitto_socket(c->m) >= 0)
        return false;
    conn_down(c);
    return true;
}

/* ---- the library's callbacks ---- */

static void hurry(struct mqtt_conn *c)
{
    if (c->state == MQTT_WAITING && !c->held)
        uv_timer_start(&c->timer, timer_fired, 0, 0);
}

/* The broker is back: who waits for another try need not wait longer. */
static void hurry_others(struct mqtt_conn *up)
{
    struct mqtt *mq = up->mq;

    if (mq->out && &mq->out->conn != up)
        hurry(&mq->out->conn);
    mp_list_each (at, &mq->lanes) {
        struct mqtt_lane *l = mp_of(at, struct mqtt_lane, link);

        if (&l->conn != up)
            hurry(&l->conn);
    }
}

static void on_connect(struct mosquitto *m MP_UNUSED, void *obj, int rc,
                       int flags, const mosquitto_property *props)
{
    struct mqtt_conn *c = obj;
    uint8_t ids = 1;

    if (c->gone)
        return; /* dropped, and the TLS library had it still */
    c->greeted = true;
    c->connack = rc;
    if (rc)
        return;
    if (c->version == MQTT_PROTOCOL_V5)
        mosquitto_property_read_byte(props, MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE,
                                     &ids, false);
    c->identifiers = c->version == MQTT_PROTOCOL_V5 && ids;
    c->mq->version = c->version;
    c->state = MQTT_UP;
    if (!c->mq->config->mqtt.tls)
        mp_mqtt_io_attach(c->fd);
    c->up_us = mp_now_us();
    c->said[0] = '\0';
    uv_timer_stop(&c->timer);
    hurry_others(c);
    c->ops->up(c, flags & 1);
}

static void on_log(struct mosquitto *m MP_UNUSED, void *obj, int level,
                   const char *text)
{
    struct mqtt_conn *c = obj;

    if (level == MOSQ_LOG_ERR)
        snprintf(c->tls_error, sizeof c->tls_error, "%s", text);
    else if (c->ops->heard && c->state == MQTT_UP)
        c->ops->heard(c, text);
}

void mp_mqtt_conn_listen(struct mqtt_conn *c, bool on)
{
    mosquitto_log_callback_set(c->m, on ? on_log : NULL);
}

static void on_disconnect(struct mosquitto *m MP_UNUSED, void *obj, int rc,
                          const mosquitto_property *props MP_UNUSED)
{
    struct mqtt_conn *c = obj;

    if (c->gone)
        return;
    c->lost_errno = errno;
    c->lost_rc = rc;
    c->gone = true;
    conn_unpoll(c); /* the library closes the socket after this */
}

/* ---- reading and writing before UP and at the end ---- */

/*
 * Confirm at once what was read.  A broker without TCP_NODELAY (mosquitto, by
 * default) holds back its second small packet until the first is confirmed,
 * and we, who have nothing to send meanwhile, would do that after 40 ms
 * (delayed acknowledgement, RFC 1122 4.2.3.2).  The kernel forgets the option
 * when it likes, so it is set after each read.
 */
void mp_mqtt_conn_confirm(struct mqtt_conn *c)
{
    int on = 1;

    if (!c->gone)
        setsockopt(mosquitto_socket(c->m), IPPROTO_TCP, TCP_QUICKACK, &on,
                   sizeof on);
}

void mp_mqtt_conn_write(struct mqtt_conn *c)
{
    mosquitto_loop_write(c->m, 1);
    if (!c->gone)
        mp_mqtt_io_send(c->fd);
}

bool mp_mqtt_conn_unsent(const struct mqtt_conn *c)
{
    return mosquitto_want_write(c->m) || (c->poll && mp_mqtt_io_unsent(c->fd));
}

bool mp_mqtt_conn_unread(const struct mqtt_conn *c)
{
    return c->poll && mp_mqtt_io_unread(c->fd);
}

static void io_greeting(struct mqtt_conn *c, int status, int events)
{
    if (status || (events & UV_WRITABLE))
        mp_mqtt_conn_write(c);
    while (!c->gone && c->state == MQTT_GREETING &&
           (status || (events & UV_READABLE))) {
        mosquitto_loop_read(c->m, 1);
        if (!mp_mqtt_conn_unread(c))
            break;
    }
    if (status && !c->gone)
        mp_mqtt_conn_doom(c, "the socket failed");
    if (mp_mqtt_conn_after(c))
        return;
    if (c->state == MQTT_UP)
        c->ops->ready(c, 0);
    else
        mp_mqtt_conn_watch(c, UV_READABLE |
                                  (mp_mqtt_conn_unsent(c) ? UV_WRITABLE : 0));
}

static void io_ending(struct mqtt_conn *c)
{
    mp_mqtt_conn_write(c);
    if (c->gone || !mp_mqtt_conn_unsent(c)) {
        conn_drop(c);
        conn_finish(c);
    }
}

/* The socket failed; what came before is not acknowledged, and comes again. */
static void io_failed(struct mqtt_conn *c)
{
    int error = 0;
    socklen_t len = sizeof error;

    getsockopt(mosquitto_socket(c->m), SOL_SOCKET, SO_ERROR, &error, &len);
    c->lost_rc =
        error && error != ECONNRESET ? MOSQ_ERR_ERRNO : MOSQ_ERR_CONN_LOST;
    c->lost_errno = error;
    c->gone = true; /* that's why, whatever the library says next */
    conn_drop(c);
    mp_mqtt_conn_after(c);
}

static void conn_io(uv_poll_t *poll, int status, int events)
{
    struct mqtt_conn *c = poll->data;

    if (c->state == MQTT_ENDING)
        io_ending(c);
    else if (c->state == MQTT_GREETING)
        io_greeting(c, status, events);
    else if (c->state == MQTT_UP && (status || (events & UV_DISCONNECT)))
        io_failed(c);
    else if (c->state == MQTT_UP)
        c->ops->ready(c, events);
}

void mp_mqtt_conn_tick(struct mqtt_conn *c)
{
    if (c->state != MQTT_UP)
        return;
    mosquitto_loop_misc(c->m);
    mp_mqtt_conn_after(c);
}

/* ---- from beginning to end ---- */

static void set_tls(struct mqtt_conn *c)
{
    const struct mp_config *cfg = c->mq->config;
    int rc;

    if (!cfg->mqtt.tls)
        return;
    if (cfg->mqtt.psk) {
        rc = mosquitto_tls_psk_set(c->m, cfg->mqtt.psk, cfg->mqtt.psk_identity,
                                   NULL);
    } else if (cfg->mqtt.ca) {
        rc = mosquitto_tls_set(c->m, cfg->mqtt.ca, NULL, cfg->mqtt.cert,
                               cfg->mqtt.key, NULL);
    } else {
        rc = mosquitto_tls_set(c->m, NULL, "/etc/ssl/certs", cfg->mqtt.cert,
                               cfg->mqtt.key, NULL);
    }
    if (!rc)
        return;
    c->no_tls = true;
    mp_log(MP_ERROR, "mqtt", NULL,
           "TLS is not set up: %s; see [mqtt] %s; not connecting",
           mosquitto_strerror(rc), cfg->mqtt.psk ? "psk" : "ca, cert, key");
}

void mp_mqtt_conn_init(struct mqtt_conn *c, struct mqtt *mq,
                       const struct mqtt_conn_ops *ops, const char *suffix,
                       bool keeps_session)
{
    const struct mp_config *cfg = mq->config;
    struct mp_buf id;

    *c = (struct mqtt_conn){
        .mq = mq, .ops = ops, .keeps_session = keeps_session};
    mp_buf_init(&id, UINT16_MAX);
    mp_buf_printf(&id, "%s%s%s", mq->client_id, suffix ? "-" : "",
                  suffix ? suffix : "");
    c->client_id = mp_strndup(id.ptr, id.len);
    mp_buf_fini(&id);
    c->m = mp_mqtt_io_new(c->client_id, !keeps_session, c, c->wake);
    if (!c->m)
        mp_oom(0);
    mosquitto_threaded_set(c->m, true);
    mosquitto_int_option(c->m, MOSQ_OPT_SEND_MAXIMUM, MQTT_WINDOW);
    mosquitto_int_option(c->m, MOSQ_OPT_TCP_NODELAY, 1);
    if (cfg->mqtt.user)
        mosquitto_username_pw_set(c->m, cfg->mqtt.user, cfg->mqtt.password);
    set_tls(c);
    mosquitto_connect_v5_callback_set(c->m, on_connect);
    mosquitto_disconnect_v5_callback_set(c->m, on_disconnect);
    uv_timer_init(mq->loop, &c->timer);
    mq->handles++;
    c->timer.data = c;
}

static void timer_closed(uv_handle_t *h)
{
    struct mqtt_conn *c = h->data;
    struct mqtt *mq = c->mq;

    c->state = MQTT_ENDED;
    c->ops->ended(c);
    mp_mqtt_handle_closed(mq);
}

static void conn_finish(struct mqtt_conn *c)
{
    uv_timer_stop(&c->timer);
    conn_unpoll(c);
    if (!uv_is_closing((uv_handle_t *)&c->timer))
        uv_close((uv_handle_t *)&c->timer, timer_closed);
}

void mp_mqtt_conn_end(struct mqtt_conn *c, bool clean)
{
    bool was_up = c->state == MQTT_UP;

    if (c->state == MQTT_ENDING || c->state == MQTT_ENDED)
        return;
    c->state = MQTT_ENDING;
    if (was_up)
        c->ops->down(c);
    if (c->working) {
        uv_cancel((uv_req_t *)&c->work);
        return; /* work_done goes on */
    }
    if (!was_up || !clean) {
        conn_drop(c);
        conn_finish(c);
        return;
    }
    /* The library closes the socket right behind its DISCONNECT, before it
     * tells us: nothing may be gathered from here on. */
    mp_mqtt_io_send(c->fd);
    if (!mp_mqtt_io_unsent(c->fd))
        mp_mqtt_io_detach(c->fd);
    mp_mqtt_conn_write(c);
    if (c->gone || !mp_mqtt_conn_unsent(c)) {
        conn_drop(c);
        conn_finish(c);
        return;
    }
    mp_mqtt_conn_watch(c, UV_WRITABLE);
    uv_timer_start(&c->timer, timer_fired, GOODBYE_MS, 0);
}

void mp_mqtt_conn_fini(struct mqtt_conn *c)
{
    mp_mqtt_io_forget(c->wake);
    mosquitto_destroy(c->m);
    free(c->client_id);
}
