/*
 * coap.c - the transport, as the host sees it.
 *
 * It has inputs only, and notifications.  A request is answered from what the
 * host says of its input; nothing is kept on disk, so when the host loses what
 * it had (`settled` with lost set), the client is told to ask again.
 */
#include "transports/coap.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>

#include "transports/coap_impl.h"

static void free_all(struct coap *c)
{
    mp_coap_listen_fini(c);
    mp_coap_secure_fini(c);
    mp_coap_exchanges_fini(c);
    free(c);
}

static void init_lists(struct coap *c)
{
    struct mp_link *lists[] = {&c->peers,     &c->flights, &c->waiting,
                               &c->observers, &c->bodies,  &c->uploads};

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        mp_list_init(lists[i]);
    mp_coap_exchanges_init(c);
}

static int coap_open(struct mp_host *host, uv_loop_t *loop,
                     const struct mp_config *config, void **self,
                     struct mp_why *why)
{
    struct coap *c = mp_zalloc(sizeof *c);

    signal(SIGPIPE, SIG_IGN); /* libcoap writes to closed connections */
    c->host = host;
    c->loop = loop;
    c->config = config;
    init_lists(c);
    if (getrandom(&c->key, sizeof c->key, 0) != sizeof c->key)
        mp_bug(__FILE__, __LINE__, "getrandom gives nothing");
    /* Later than any number before a restart (RFC 7641, 4.4). */
    c->sequence = (uint32_t)(mp_wall_us() / (MP_SECOND / 16)) & 0xffffff;
    mp_coap_listen_init(c);
    if (mp_coap_secure_read(c, why)) {
        free_all(c);
        return MP_EPARSE;
    }
    uv_timer_init(loop, &c->tick);
    uv_timer_init(loop, &c->soon);
    c->tick.data = c->soon.data = c;
    c->handles = 2;
    *self = c;
    return 0;
}

static void coap_route(void *self MP_UNUSED,
                       const struct mp_route *routes MP_UNUSED,
                       unsigned n MP_UNUSED)
{
    /* Routes are of brokers. */
}

static void coap_serve(void *self, const struct mp_endpoint *endpoints,
                       unsigned n)
{
    struct coap *c = self;

    c->endpoints = endpoints;
    c->n_endpoints = n;
    if (n && !c->draining)
        mp_coap_listen(c);
    else if (!n)
        mp_coap_unlisten(c);
    mp_coap_observers_check(c);
}

static void coap_lost(void *self)
{
    struct coap *c = self;

    c->away = true;
}

static void coap_found(void *self)
{
    struct coap *c = self;

    c->away = false;
}

static void coap_pause(void *self, bool paused)
{
    struct coap *c = self;

    c->paused = paused;
}

static void coap_drain(void *self)
{
    struct coap *c = self;

    c->draining = true;
    c->drain_us = mp_now_us();
}

/* What was sent and isn't acknowledged gets some time, if its peer lives. */
static bool coap_idle(void *self)
{
    const struct coap *c = self;

    if (c->n_flights)
        return false;
    return !c->context || coap_can_exit(c->context) ||
           (c->draining &&
            mp_now_us() > c->drain_us + COAP_DRAIN_S * MP_SECOND);
}

void mp_coap_handle_closed(struct coap *c)
{
    void (*finished)(void *) = c->finished;
    void *arg = c->arg;

    if (--c->handles)
        return;
    free_all(c);
    finished(arg);
}

static void on_closed(uv_handle_t *handle)
{
    mp_coap_handle_closed(handle->data);
}

static void coap_close(void *self, void (*finished)(void *arg), void *arg)
{
    struct coap *c = self;

    c->finished = finished;
    c->arg = arg;
    mp_coap_flights_orphan(c);
    mp_coap_unlisten(c);
    uv_close((uv_handle_t *)&c->tick, on_closed);
    uv_close((uv_handle_t *)&c->soon, on_closed);
}

const struct mp_transport mp_coap = {
    .name = "coap",
    .open = coap_open,
    .route = coap_route,
    .serve = coap_serve,
    .lost = coap_lost,
    .found = coap_found,
    .pause = coap_pause,
    .drain = coap_drain,
    .idle = coap_idle,
    .close = coap_close,
    .notify = mp_coap_notify,
    .answers = mp_coap_requests,
    .n_answers = MP_COAP_CODES,
};
