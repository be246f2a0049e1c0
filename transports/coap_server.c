/*
 * coap_server.c - libcoap in the host's loop, and the peers it speaks with.
 *
 * The library has one descriptor that is readable when a socket or a timer of
 * its own has something.  It drops a session that nobody holds when it pleases
 * and says so; whoever wants to answer later (a flight, an observer) holds it.
 * What would drop a session while the library is at work with it is put off
 * until it isn't (condemned).
 */
#include "transports/coap_impl.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "core/log.h"

enum { HANDSHAKES_MAX = 64, CSM_WAIT_S = 10, EVENTS = 16 };

#define peer_of(at) mp_of(at, struct coap_peer, link)

/* ---- peers ---- */

static bool is_loopback(const struct sockaddr *a)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;
    const struct sockaddr_in *four = (const struct sockaddr_in *)a;

    if (a->sa_family == AF_INET)
        return ntohl(four->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr) &&
            six->sin6_addr.s6_addr[12] == 127);
}

static void set_address(struct coap_peer *p, const struct sockaddr *a)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;
    const struct sockaddr_in *four = (const struct sockaddr_in *)a;

    if (a->sa_family == AF_INET) {
        inet_ntop(AF_INET, &four->sin_addr, p->address, sizeof p->address);
        p->port = ntohs(four->sin_port);
    } else if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
        inet_ntop(AF_INET, &six->sin6_addr.s6_addr[12], p->address,
                  sizeof p->address);
        p->port = ntohs(six->sin6_port);
    } else {
        inet_ntop(AF_INET6, &six->sin6_addr, p->address, sizeof p->address);
        p->port = ntohs(six->sin6_port);
    }
    snprintf(p->source, sizeof p->source,
             strchr(p->address, ':') ? "coap://[%s]:%u" : "coap://%s:%u",
             p->address, p->port);
}

/* The same after a restart, but where a session doesn't outlive it. */
static void set_id(struct coap_peer *p)
{
    static const struct mp_hash_key plain;
    struct mp_hasher hasher;
    uint64_t session = 0;

    if ((p->secure || p->reliable) &&
        getrandom(&session, sizeof session, 0) != sizeof session)
        mp_bug(__FILE__, __LINE__, "getrandom gives nothing");
    mp_hasher_init(&hasher, &plain);
    mp_hasher_add(&hasher, mp_slice_str(p->address));
    mp_hasher_add_u64(&hasher, p->port);
    mp_hasher_add_u64(&hasher, session);
    p->id = mp_hasher_end(&hasher);
}

struct coap_peer *mp_coap_peer(struct coap *c, coap_session_t *session)
{
    struct coap_peer *p = coap_session_get_app_data(session);
    const coap_address_t *remote = coap_session_get_addr_remote(session);
    coap_proto_t proto = coap_session_get_proto(session);

    if (p)
        return p;
    p = mp_zalloc(sizeof *p);
    p->coap = c;
    p->session = session;
    p->fd = -1;
    p->reliable = proto == COAP_PROTO_TCP || proto == COAP_PROTO_TLS;
    p->secure = proto == COAP_PROTO_DTLS || proto == COAP_PROTO_TLS;
    p->loopback = is_loopback(&remote->addr.sa);
    p->proven = p->reliable || p->secure || p->loopback;
    set_address(p, &remote->addr.sa);
    set_id(p);
    mp_list_append(&c->peers, &p->link);
    coap_session_set_app_data(session, p);
    coap_session_set_nstart(session, COAP_CONFIRMABLE_MAX);
    return p;
}

static void peer_free(struct coap_peer *p)
{
    mp_coap_secure_failed(p);
    if (p->reliable)
        p->coap->n_connections--;
    mp_list_unlink(&p->link);
    free(p->name);
    free(p);
}

void mp_coap_condemn(struct coap_peer *p)
{
    p->condemned = p->coap->condemned = true;
}

/* Let libcoap free what nobody holds any more. */
static void sweep(struct coap *c)
{
    coap_tick_t now;

    coap_ticks(&now);
    coap_io_prepare_epoll(c->context, now);
}

static void drop_condemned(struct coap *c)
{
    c->condemned = false;
    mp_list_each_safe (at, &c->peers) {
        struct coap_peer *p = peer_of(at);

        if (!p->condemned)
            continue;
        p->condemned = false;
        coap_session_disconnected(p->session, COAP_NACK_NOT_DELIVERABLE);
    }
    sweep(c);
}

static void connected(struct coap *c, coap_session_t *session)
{
    struct coap_peer *p = mp_coap_peer(c, session);
    const coap_address_t *remote = coap_session_get_addr_remote(session);

    p->fd = mp_coap_find_fd(&remote->addr.sa, remote->size, SOCK_STREAM, true);
    if (++c->n_connections > COAP_TCP_MAX)
        mp_coap_condemn(p);
}

static int on_event(coap_session_t *session, const coap_event_t event)
{
    struct coap *c = coap_get_app_data(coap_session_get_context(session));
    coap_proto_t proto = coap_session_get_proto(session);

    switch (event) {
    case COAP_EVENT_SERVER_SESSION_NEW:
        if (proto == COAP_PROTO_TCP || proto == COAP_PROTO_TLS)
            connected(c, session);
        if (proto == COAP_PROTO_DTLS || proto == COAP_PROTO_TLS)
            mp_coap_secure_begin(mp_coap_peer(c, session));
        break;
    case COAP_EVENT_DTLS_CONNECTED:
        mp_coap_secure_done(mp_coap_peer(c, session));
        break;
    case COAP_EVENT_SERVER_SESSION_DEL:
        if (coap_session_get_app_data(session))
            peer_free(coap_session_get_app_data(session));
        coap_session_set_app_data(session, NULL);
        break;
    case COAP_EVENT_DTLS_ERROR:
        mp_coap_secure_failed(mp_coap_peer(c, session));
        mp_coap_observers_drop(c, session, NULL);
        break;
    case COAP_EVENT_DTLS_CLOSED:
    case COAP_EVENT_TCP_CLOSED:
    case COAP_EVENT_SESSION_CLOSED:
        mp_coap_observers_drop(c, session, NULL);
        break;
    default:
        break;
    }
    return 0;
}

static void on_nack(coap_session_t *session, const coap_pdu_t *sent,
                    const coap_nack_reason_t reason,
                    const coap_mid_t mid MP_UNUSED)
{
    struct coap *c = coap_get_app_data(coap_session_get_context(session));
    coap_bin_const_t token;

    if (!sent || reason == COAP_NACK_ICMP_ISSUE)
        return;
    token = coap_pdu_get_token(sent);
    mp_coap_observers_drop(c, session, &token);
}

/* ---- the loop ---- */

/*
 * In one step libcoap reads one datagram of each socket that is named, and
 * sets its timer: that costs as much as the datagram.  So a socket that has
 * more than one is named several times; once too often is an empty read.  Not
 * so connections: the first read may be the end of one.
 */
static int name_again(const struct coap *c, struct epoll_event ready[EVENTS])
{
    if (!c->datagrams || ready[0].data.ptr != c->datagrams)
        return 1;
    for (int i = 1; i < COAP_AT_ONCE; i++)
        ready[i] = ready[0];
    return COAP_AT_ONCE;
}

static void step(struct coap *c, struct epoll_event *ready, int n)
{
    uint64_t before = c->n_datagrams;

    coap_io_do_epoll(c->context, ready, (size_t)n);
    if (n == 1 && c->n_datagrams > before)
        c->datagrams = ready[0].data.ptr;
}

static void on_readable(uv_poll_t *poll, int status MP_UNUSED,
                        int events MP_UNUSED)
{
    struct coap_door *d = poll->data;
    struct coap *c = d->coap;
    int fd = coap_context_get_coap_fd(c->context);
    struct epoll_event ready[EVENTS];

    for (int done = 0; done < COAP_TURN;) {
        int n = epoll_wait(fd, ready, EVENTS, 0);

        if (n <= 0)
            break;
        if (n == 1 && done)
            n = name_again(c, ready);
        step(c, ready, n);
        done += n;
    }
    if (c->condemned)
        drop_condemned(c);
}

static void on_tick(uv_timer_t *timer)
{
    struct coap *c = timer->data;
    int64_t now_us = mp_now_us();

    mp_coap_blocks_tick(c, now_us);
    mp_coap_exchanges_tick(c, now_us);
    mp_coap_secure_tick(c, now_us);
    mp_coap_listen_tick(c, now_us);
    if (c->context && c->condemned)
        drop_condemned(c);
    if (c->context)
        sweep(c);
}

static void on_soon(uv_timer_t *timer)
{
    struct coap *c = timer->data;

    mp_coap_acks(c, mp_now_us());
    if (mp_list_empty(&c->waiting)) {
        uv_timer_stop(&c->soon);
        c->ticking = false;
    }
}

void mp_coap_soon(struct coap *c)
{
    if (c->ticking)
        return;
    c->ticking = true;
    uv_timer_start(&c->soon, on_soon, COAP_ACK_TICK_MS, COAP_ACK_TICK_MS);
}

/* ---- open and close ---- */

static void on_log(coap_log_t level MP_UNUSED, const char *text MP_UNUSED)
{
    /* A line for each bad datagram: who sends them would fill the log. */
}

static void set_limits(struct coap *c)
{
    coap_context_t *x = c->context;
    int64_t idle_s = c->config->coap.idle_us / MP_SECOND;

    coap_context_set_block_mode(x, 0);
    coap_context_set_max_idle_sessions(x, c->config->coap.sessions);
    coap_context_set_session_timeout(x, idle_s < 1 ? 1 : (unsigned)idle_s);
    coap_context_set_max_handshake_sessions(x, HANDSHAKES_MAX);
    coap_context_set_csm_timeout(x, CSM_WAIT_S);
    coap_context_set_csm_max_message_size(x, COAP_UPLOAD_BYTES);
}

/* One handler takes every path, and asks us who answers it. */
static void add_resources(coap_context_t *x)
{
    static const coap_request_t methods[] = {
        COAP_REQUEST_GET,   COAP_REQUEST_POST,  COAP_REQUEST_DELETE,
        COAP_REQUEST_FETCH, COAP_REQUEST_PATCH, COAP_REQUEST_IPATCH,
    };
    static const char core[] = ".well-known/core";
    coap_resource_t *any = coap_resource_unknown_init(mp_coap_request);
    coap_resource_t *links = coap_resource_init(coap_make_str_const(core), 0);

    if (!any || !links)
        mp_oom(sizeof core);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        coap_register_request_handler(any, methods[i], mp_coap_request);
    coap_register_request_handler(links, COAP_REQUEST_GET, mp_coap_request);
    coap_add_resource(x, any);
    coap_add_resource(x, links);
}

static void open_door(struct coap *c)
{
    struct coap_door *d = mp_zalloc(sizeof *d);

    d->coap = c;
    c->door = d;
    uv_poll_init(c->loop, &d->poll, coap_context_get_coap_fd(c->context));
    d->poll.data = d;
    uv_poll_start(&d->poll, UV_READABLE, on_readable);
    c->handles++;
}

int mp_coap_server_open(struct coap *c, struct mp_why *why)
{
    coap_startup();
    coap_set_log_handler(on_log);
    coap_set_log_level(LOG_EMERG);
    coap_dtls_set_log_level(LOG_EMERG);
    c->context = coap_new_context(NULL);
    if (!c->context || coap_context_get_coap_fd(c->context) < 0)
        return mp_why_set(why, MP_EIO, "libcoap makes no context");
    coap_set_app_data(c->context, c);
    if (mp_coap_secure_context(c, why)) {
        coap_free_context(c->context);
        c->context = NULL;
        return MP_EIO;
    }
    set_limits(c);
    add_resources(c->context);
    coap_register_event_handler(c->context, on_event);
    coap_register_nack_handler(c->context, on_nack);
    open_door(c);
    uv_timer_start(&c->tick, on_tick, COAP_TICK_MS, COAP_TICK_MS);
    return 0;
}

static void on_door_closed(uv_handle_t *handle)
{
    struct coap_door *d = handle->data;
    struct coap *c = d->coap;

    free(d);
    mp_coap_handle_closed(c);
}

/* Nobody may hold a session any more. */
void mp_coap_server_close(struct coap *c)
{
    MP_ASSERT(!c->n_flights && !c->n_observers);
    if (!c->context)
        return;
    uv_poll_stop(&c->door->poll);
    uv_close((uv_handle_t *)&c->door->poll, on_door_closed);
    c->door = NULL;
    uv_timer_stop(&c->tick);
    coap_register_nack_handler(c->context, NULL);
    coap_free_context(c->context);
    c->context = NULL;
    c->datagrams = NULL;
    while (!mp_list_empty(&c->peers))
        peer_free(peer_of(c->peers.next));
    mp_coap_blocks_fini(c);
}
