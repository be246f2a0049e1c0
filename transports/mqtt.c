/*
 * mqtt.c - the transport: which connections there are, and their turn.
 *
 * Settling and publishing only mark a connection as dirty.  Just before the
 * loop would sleep (uv_prepare) each dirty one gets its turn, so that all that
 * one turn of the loop brought is written together.
 */
#include "transports/mqtt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "transports/mqtt_impl.h"

#define lane_of(at) mp_of(at, struct mqtt_lane, link)

/* ---- the turn ---- */

static void link_check(struct mqtt *mq)
{
    bool up = mq->out && mq->out->conn.state == MQTT_UP;
    const struct mqtt_lane *l = mq->shared;

    mp_list_each (at, &mq->lanes) {
        if (!lane_of(at)->retired)
            up &= lane_of(at)->conn.state == MQTT_UP &&
                  (lane_of(at)->ready || mq->paused);
    }
    if (up == mq->linked)
        return;
    mq->linked = up;
    mp_metrics.mqtt_connected = up;
    if (up)
        mp_log(MP_INFO, "mqtt",
               MP_FIELDS(MP_TEXT("version", mq->version == MQTT_PROTOCOL_V5
                                                ? MP_S("5")
                                                : MP_S("3.1.1")),
                         MP_NUM("subscriptions", l ? l->session.n_subs : 0)),
               "connected to %s as '%s'", mq->source, mq->client_id);
    mp_host_link(mq->host, up);
}

static bool is_over(const struct mqtt_lane *l)
{
    return l->retired && l->conn.state == MQTT_UP && l->ready &&
           !l->unanswered && !mp_mqtt_kept_waits(&l->subscribing) &&
           l->gate.state == MP_GATE_READ;
}

static void lane_over(struct mqtt_lane *l)
{
    mp_mqtt_lane_close(l);
    mp_mqtt_kept_names(l->conn.mq);
}

static void on_idle(uv_idle_t *h MP_UNUSED)
{
    /* It is enough that the loop doesn't sleep. */
}

void mp_mqtt_wake(struct mqtt *mq)
{
    if (!mq->closing)
        uv_idle_start(&mq->idle, on_idle);
}

static void on_turn(uv_prepare_t *h)
{
    struct mqtt *mq = h->data;
    bool again = false;

    mp_list_each_safe (at, &mq->lanes) {
        struct mqtt_lane *l = lane_of(at);

        if (l->dirty)
            mp_mqtt_lane_pump(l);
        if (is_over(l))
            lane_over(l);
    }
    if (mq->out && mq->out->dirty)
        mp_mqtt_out_flush(mq->out);
    link_check(mq);
    /* The host may have published, settled or drained meanwhile. */
    mp_list_each (at, &mq->lanes)
        again |= lane_of(at)->dirty;
    if (mq->out && mq->out->conn.state == MQTT_UP)
        again |= mq->out->dirty;
    if (mq->closing)
        return;
    if (again)
        mp_mqtt_wake(mq);
    else
        uv_idle_stop(&mq->idle);
}

static void on_gathered(uv_poll_t *h, int status MP_UNUSED,
                        int events MP_UNUSED)
{
    struct mqtt *mq = h->data;
    uint64_t times;

    (void)!read(mq->gather_fd, &times, sizeof times);
    mp_list_each (at, &mq->lanes) {
        struct mqtt_lane *l = lane_of(at);

        l->dirty |= l->gathering;
        l->gathering = false;
    }
}

/* libuv's timers count milliseconds. */
void mp_mqtt_lane_gather(struct mqtt_lane *l)
{
    static const struct itimerspec once = {.it_value.tv_nsec =
                                               MQTT_GATHER_US * 1000};

    l->gathering = timerfd_settime(l->conn.mq->gather_fd, 0, &once, NULL) == 0;
}

static void on_tick(uv_timer_t *h)
{
    struct mqtt *mq = h->data;

    mp_list_each_safe (at, &mq->lanes)
        mp_mqtt_lane_tick(lane_of(at));
    if (mq->out) {
        mp_mqtt_conn_tick(&mq->out->conn);
        mq->out->dirty = true;
    }
}

/* ---- open and route ---- */

static char *text_of(const char *fmt, const char *a, const char *b, int n)
{
    struct mp_buf text;
    char *copy;

    mp_buf_init(&text, 4096);
    if (n)
        mp_buf_printf(&text, "%s://%s:%d", a, b, n);
    else
        mp_buf_printf(&text, "%s/%s/%s", a, b, fmt);
    copy = mp_strndup(text.ptr, text.len);
    mp_buf_fini(&text);
    return copy;
}

/* Before anything is sent: what TLS needs must be there. */
static int check_files(const struct mp_config *config, struct mp_why *why)
{
    const struct {
        const char *key, *path;
    } files[] = {
        {"ca", config->mqtt.ca},
        {"cert", config->mqtt.cert},
        {"key", config->mqtt.key},
    };

    for (size_t i = 0; config->mqtt.tls && i < ARRAY_LEN(files); i++)
        if (files[i].path && access(files[i].path, R_OK))
            return mp_why_errno(why, "[mqtt] %s = %s", files[i].key,
                                files[i].path);
    return 0;
}

static int mqtt_open(struct mp_host *host, uv_loop_t *loop,
                     const struct mp_config *config, void **self,
                     struct mp_why *why)
{
    struct mqtt *mq;

    if (check_files(config, why))
        return MP_EIO;
    signal(SIGPIPE, SIG_IGN); /* the library writes to closed sockets */
    mosquitto_lib_init();
    mq = mp_zalloc(sizeof *mq);
    mq->host = host;
    mq->loop = loop;
    mq->config = config;
    mp_list_init(&mq->lanes);
    if (getrandom(&mq->counter_base, sizeof mq->counter_base, 0) < 0)
        mp_bug(__FILE__, __LINE__, "getrandom gives nothing");
    srandom((unsigned)mq->counter_base);
    mq->source = text_of("", config->mqtt.tls ? "mqtts" : "mqtt",
                         config->mqtt.host, config->mqtt.port);
    mq->status_topic = text_of("status", config->mqtt.prefix, config->node, 0);
    mq->proof_topic = text_of("proof", config->mqtt.prefix, config->node, 0);
    uv_prepare_init(loop, &mq->turn);
    uv_timer_init(loop, &mq->tick);
    mq->gather_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    uv_poll_init(loop, &mq->gather, mq->gather_fd);
    uv_poll_start(&mq->gather, UV_READABLE, on_gathered);
    uv_idle_init(loop, &mq->idle);
    mq->turn.data = mq->gather.data = mq->tick.data = mq->idle.data = mq;
    mq->handles = 4;
    uv_prepare_start(&mq->turn, on_turn);
    uv_timer_start(&mq->tick, on_tick, MQTT_TICK_MS, MQTT_TICK_MS);
    *self = mq;
    return 0;
}

static struct mqtt_lane *lane_find(struct mqtt *mq, const char *name)
{
    mp_list_each (at, &mq->lanes) {
        struct mqtt_lane *l = lane_of(at);

        if (l->name && strcmp(l->name, name) == 0 &&
            l->conn.state < MQTT_ENDING)
            return l;
    }
    return NULL;
}

static void lane_begin(struct mqtt *mq, const char *name, uint32_t number,
                       bool retired)
{
    struct mqtt_lane *l = mp_mqtt_lane_new(mq, name, number);

    l->retired = retired;
    mp_mqtt_lane_connect(l);
}

static void left_over(struct mqtt *mq, const char *name)
{
    if (!lane_find(mq, name))
        lane_begin(mq, name, UINT32_MAX, true);
}

/*
 * Lanes whose trigger went away while we were not running still have a
 * session, in which the broker keeps messages for nobody: end them.
 */
static void find_left_over(struct mqtt *mq)
{
    mp_mqtt_kept_each(mq, left_over);
    mp_mqtt_kept_names(mq);
}

static void route_again(struct mqtt_lane *l)
{
    if (l->conn.state != MQTT_UP || !l->live)
        return; /* it will, when it is up */
    mp_mqtt_subs_want(l);
    mp_mqtt_subs_send(l);
    l->dirty = true;
}

static void mqtt_route(void *self, const struct mp_route *routes, unsigned n)
{
    struct mqtt *mq = self;
    bool first = !mq->shared;

    mq->routes = routes;
    mq->n_routes = n;
    if (first) {
        mq->client_id = mp_mqtt_kept_id(mq);
        mq->shared = mp_mqtt_lane_new(mq, NULL, 0);
        mq->out = mp_mqtt_out_new(mq);
    }
    mp_list_each (at, &mq->lanes)
        lane_of(at)->retired = lane_of(at)->name != NULL;
    for (unsigned i = 0; i < n; i++) {
        struct mqtt_lane *l;

        if (!routes[i].lane)
            continue;
        l = lane_find(mq, routes[i].lane_name);
        if (!l) {
            lane_begin(mq, routes[i].lane_name, routes[i].lane, false);
            continue;
        }
        l->retired = false;
        l->number = routes[i].lane;
    }
    if (first) {
        if (!mq->away)
            find_left_over(mq);
        mp_mqtt_lane_connect(mq->shared);
        mp_mqtt_conn_start(&mq->out->conn);
        return;
    }
    if (!mq->away)
        mp_mqtt_kept_names(mq);
    mp_list_each (at, &mq->lanes)
        route_again(lane_of(at));
}

/* ---- the database comes and goes ---- */

static void mqtt_lost(void *self)
{
    struct mqtt *mq = self;

    mq->away = true;
    mp_list_each (at, &mq->lanes)
        mp_mqtt_lane_lost(lane_of(at));
}

static void mqtt_found(void *self)
{
    struct mqtt *mq = self;

    if (!mq->away)
        return;
    mq->away = false;
    mp_list_each (at, &mq->lanes) {
        if (lane_of(at)->conn.state >= MQTT_ENDING)
            continue;
        mp_mqtt_kept_load(lane_of(at));
        mp_mqtt_lane_connect(lane_of(at));
    }
    if (mq->shared)
        find_left_over(mq);
}

static void mqtt_pause(void *self, bool paused)
{
    struct mqtt *mq = self;

    if (mq->paused == paused)
        return;
    mq->paused = paused;
    mp_list_each (at, &mq->lanes)
        mp_mqtt_lane_wake(lane_of(at));
}

/* ---- outputs and the end ---- */

static void mqtt_publish(void *self, struct mp_output *out)
{
    struct mqtt *mq = self;

    MP_ASSERT(mq->out && !mq->closing);
    mp_mqtt_out_publish(mq->out, out);
}

static void mqtt_drain(void *self)
{
    struct mqtt *mq = self;

    mq->draining = true;
}

static bool mqtt_idle(void *self)
{
    struct mqtt *mq = self;

    mp_list_each (at, &mq->lanes) {
        if (!mp_mqtt_lane_idle(lane_of(at)))
            return false;
    }
    return !mq->out || mp_mqtt_out_idle(mq->out);
}

static void mqtt_finish(struct mqtt *mq)
{
    void (*finished)(void *arg) = mq->finished;
    void *arg = mq->finished_arg;

    close(mq->gather_fd);
    free(mq->client_id);
    free(mq->source);
    free(mq->status_topic);
    free(mq->proof_topic);
    free(mq);
    mosquitto_lib_cleanup();
    finished(arg);
}

void mp_mqtt_handle_closed(struct mqtt *mq)
{
    MP_ASSERT(mq->handles > 0);
    if (--mq->handles == 0)
        mqtt_finish(mq);
}

void mp_mqtt_lane_gone(struct mqtt_lane *l)
{
    mp_list_unlink(&l->link);
    if (l == l->conn.mq->shared)
        l->conn.mq->shared = NULL;
}

static void own_closed(uv_handle_t *h)
{
    mp_mqtt_handle_closed(h->data);
}

static void mqtt_close(void *self, void (*finished)(void *arg), void *arg)
{
    struct mqtt *mq = self;

    MP_ASSERT(!mq->closing);
    mq->closing = true;
    mq->finished = finished;
    mq->finished_arg = arg;
    if (mq->out) {
        mp_mqtt_out_abandon(mq->out);
        if (mq->out->conn.state == MQTT_UP)
            mosquitto_disconnect_v5(mq->out->conn.m, 0, NULL);
        mp_mqtt_conn_end(&mq->out->conn, mq->out->conn.state == MQTT_UP);
    }
    mp_list_each_safe (at, &mq->lanes)
        mp_mqtt_lane_close(lane_of(at));
    uv_close((uv_handle_t *)&mq->turn, own_closed);
    uv_close((uv_handle_t *)&mq->tick, own_closed);
    uv_close((uv_handle_t *)&mq->gather, own_closed);
    uv_close((uv_handle_t *)&mq->idle, own_closed);
}

const struct mp_transport mp_mqtt = {
    .name = "mqtt",
    .open = mqtt_open,
    .route = mqtt_route,
    .publish = mqtt_publish,
    .lost = mqtt_lost,
    .found = mqtt_found,
    .pause = mqtt_pause,
    .drain = mqtt_drain,
    .idle = mqtt_idle,
    .close = mqtt_close,
};
