/*
 * http_server.c - libmicrohttpd on our loop (as core/api/server.c has it).
 *
 * The library has no thread and no listening socket of its own: connections
 * are handed to it, its epoll descriptor is polled by the loop, and it runs
 * when that is readable and, once a turn of the loop, when answers are there.
 *
 * It knows one kind of patience, with a connection on which nothing happens.
 * A client that sends a byte now and then would never run out of it, so each
 * connection has an end of its phase, and each second we look who is past it.
 * What is suspended the library doesn't watch: there we look for clients that
 * went away.
 */
#include "transports/http_impl.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TICK_MS = 1000,
    /* Beside the header in a connection's memory: its parsed form, a piece of
     * the body, the answer's header.  The library clears all of it after each
     * request. */
    MEMORY_MORE = 18 << 10,
};

#define conn_of(at) mp_of(at, struct http_conn, link)
#define call_of(at) mp_of(at, struct http_call, link)

/* ---- the loop ---- */

static void run(struct http *h)
{
    MHD_UNSIGNED_LONG_LONG ms;

    MHD_run(h->daemon);
    /* It was told of no patience: if it wants to run again, then now. */
    if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
        mp_http_wake(h);
}

static void on_ready(uv_poll_t *poll, int status MP_UNUSED,
                     int events MP_UNUSED)
{
    run(poll->data);
}

static void on_wake(uv_idle_t *idle)
{
    uv_idle_stop(idle);
    run(idle->data);
}

/*
 * In the idle phase of the next turn: what other handlers do before the loop
 * sleeps (uv_prepare) comes after it, and sees the inputs that it brings.
 */
void mp_http_wake(struct http *h)
{
    if (!h->closing)
        uv_idle_start(&h->idle, on_wake);
}

/* ---- time ---- */

static void enter(struct http_conn *c, enum http_phase phase)
{
    static const int64_t patience[] = {
        [HTTP_FIRST] = HTTP_HEAD_S,
        [HTTP_IDLE] = HTTP_IDLE_S,
        [HTTP_HEAD] = HTTP_HEAD_S,
        [HTTP_BODY] = HTTP_BODY_S,
        [HTTP_WORK] = 0,
        [HTTP_SEND] = HTTP_SEND_S,
    };

    c->phase = phase;
    c->until_us =
        patience[phase] ? mp_now_us() + patience[phase] * MP_SECOND : 0;
}

/* The library sees its end, and closes it. */
static void cut(struct http_conn *c)
{
    shutdown(c->fd, SHUT_RDWR);
    c->until_us = 0;
}

static void too_slow(struct http_conn *c)
{
    if (c->phase != HTTP_IDLE && c->phase != HTTP_SEND)
        mp_http_say(c->http, c->fd, MHD_HTTP_REQUEST_TIMEOUT,
                    c->phase == HTTP_BODY ? "the body took too long"
                                          : "the header took too long");
    cut(c);
}

/* A client that sends no more may have closed, or only said so. */
static bool is_gone(struct http_call *c, int64_t now_us)
{
    struct pollfd p = {.fd = c->conn->fd, .events = POLLRDHUP};

    if (poll(&p, 1, 0) <= 0)
        return false;
    if (p.revents & (POLLERR | POLLHUP | POLLNVAL))
        return true;
    if (!c->half_us)
        c->half_us = now_us;
    return now_us - c->half_us >= HTTP_HALF_S * MP_SECOND;
}

/* Its input goes on; nobody is told. */
static void drop(struct http_call *c)
{
    mp_http_call_detach(c);
    c->dropped = true;
    c->suspended = false;
    MHD_resume_connection(c->conn->con);
    mp_http_wake(c->http);
}

/*
 * A request that ends in its middle.  Where its last bytes and the end come
 * together, the library sees the bytes only: it is told of changes, once.
 */
static bool is_cut_off(const struct http_conn *c)
{
    char byte;

    return c->phase != HTTP_WORK && c->phase != HTTP_SEND &&
           recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void look_after(struct http_conn *c, int64_t now_us)
{
    if (c->call && c->call->suspended) {
        if (is_gone(c->call, now_us))
            drop(c->call);
    } else if (!c->until_us) {
        return; /* it was cut */
    } else if (is_cut_off(c)) {
        cut(c);
    } else if (now_us >= c->until_us) {
        too_slow(c);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct http *h = timer->data;
    int64_t now_us = mp_now_us();

    mp_list_each_safe (at, &h->conns)
        look_after(conn_of(at), now_us);
    mp_http_listen_tick(h, now_us);
    if (!h->n_conns && !h->again_us)
        uv_timer_stop(timer); /* a gateway without clients sleeps */
}

void mp_http_tick(struct http *h)
{
    if (!uv_is_active((uv_handle_t *)&h->tick) && !h->closing)
        uv_timer_start(&h->tick, on_tick, TICK_MS, TICK_MS);
}

/* ---- connections ---- */

static bool is_loopback(const struct sockaddr *from)
{
    if (from->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(
            &((const struct sockaddr_in6 *)from)->sin6_addr);
    return ntohl(((const struct sockaddr_in *)from)->sin_addr.s_addr) >> 24 ==
           IN_LOOPBACKNET;
}

static void set_peer(struct http_conn *c, const struct sockaddr *from)
{
    const void *address = &((const struct sockaddr_in *)from)->sin_addr;
    size_t len = sizeof(struct sockaddr_in);

    if (from->sa_family == AF_INET6) {
        address = &((const struct sockaddr_in6 *)from)->sin6_addr;
        len = sizeof(struct sockaddr_in6);
    }
    memcpy(&c->from, from, len);
    inet_ntop(from->sa_family, address, c->peer, sizeof c->peer);
    snprintf(c->source, sizeof c->source,
             from->sa_family == AF_INET6 ? "http://[%s]" : "http://%s",
             c->peer);
    c->loopback = is_loopback(from);
}

static void *begin(struct http *h, struct MHD_Connection *con)
{
    struct http_conn *c = mp_zalloc(sizeof *c);

    c->http = h;
    c->con = con;
    c->fd = MHD_get_connection_info(con, MHD_CONNECTION_INFO_CONNECTION_FD)
                ->connect_fd;
    set_peer(c, MHD_get_connection_info(con, MHD_CONNECTION_INFO_CLIENT_ADDRESS)
                    ->client_addr);
    mp_list_append(&h->conns, &c->link);
    h->n_conns++;
    enter(c, HTTP_FIRST);
    mp_http_tick(h);
    return c;
}

static void end(struct http_conn *c)
{
    if (c->call)
        mp_http_call_free(c->call);
    mp_list_unlink(&c->link);
    c->http->n_conns--;
    free(c);
}

static void on_connection(void *http, struct MHD_Connection *con,
                          void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = begin(http, con);
    } else if (*context) {
        end(*context);
        *context = NULL;
    }
}

void mp_http_server_add(struct http *h, int fd, const struct sockaddr *from,
                        socklen_t len)
{
    if (MHD_add_connection(h->daemon, fd, from, len) == MHD_YES)
        mp_http_wake(h);
}

/* ---- calls ---- */

static void *on_uri(void *http MP_UNUSED, const char *uri,
                    struct MHD_Connection *con)
{
    struct http_conn *c =
        MHD_get_connection_info(con, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
            ->socket_context;

    MP_ASSERT(!c->call);
    c->call = mp_http_call_new(c, uri);
    enter(c, HTTP_HEAD);
    return c->call;
}

static void on_completed(void *http MP_UNUSED,
                         struct MHD_Connection *con MP_UNUSED, void **context,
                         enum MHD_RequestTerminationCode code MP_UNUSED)
{
    struct http_call *call = *context;

    if (!call)
        return;
    call->conn->call = NULL;
    enter(call->conn, HTTP_IDLE);
    mp_http_call_free(call);
    *context = NULL;
}

static void set_busy(struct http_call *c)
{
    c->http->n_busy += !c->busy;
    c->busy = true;
}

static enum MHD_Result reply(struct http_call *c)
{
    set_busy(c);
    enter(c->conn, HTTP_SEND);
    return mp_http_reply(c);
}

static enum MHD_Result head(struct http_call *c, const char *method,
                            const char *version)
{
    uint64_t len;
    bool known;

    c->needs_host = strcmp(version, MHD_HTTP_VERSION_1_0) != 0;
    mp_http_call_head(c, method);
    known = mp_http_length(c, &len);
    /* Refused, and reading all that comes would be no better. */
    if (c->answered && ((known && len > HTTP_SKIP_MAX) || c->close ||
                        ((!known || len) && mp_http_expects(c))))
        return reply(c);
    enter(c->conn, HTTP_BODY);
    return MHD_YES;
}

static enum MHD_Result on_call(void *http MP_UNUSED, struct MHD_Connection *con,
                               const char *url MP_UNUSED, const char *method,
                               const char *version, const char *data,
                               size_t *len, void **context)
{
    struct http_call *c = *context;

    if (c->dropped)
        return MHD_NO;
    if (!c->parsed)
        return head(c, method, version);
    if (*len) {
        bool more = mp_http_call_body(c, data, *len);

        *len = 0;
        return more ? MHD_YES : MHD_NO;
    }
    if (!c->answered && !c->handed) {
        set_busy(c);
        mp_http_call_hand(c);
    }
    if (c->answered)
        return reply(c);
    c->suspended = true;
    enter(c->conn, HTTP_WORK);
    MHD_suspend_connection(con);
    return MHD_YES;
}

/* ---- the module ---- */

static struct MHD_Daemon *start(struct http *h)
{
    const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, h->cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, h->key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0,
         (void *)(uintptr_t) "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1"},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
                     MHD_ALLOW_SUSPEND_RESUME | (h->cert ? MHD_USE_TLS : 0);

    /* Not strict: its own refusal of a request without Host has its header
     * twice; we look at that, and at blanks in a target (http_head.c). */
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_call, h, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)h->config->http.connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)h->config->http.max_header + MEMORY_MORE,
        MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_URI_LOG_CALLBACK, on_uri, h, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
        MHD_OPTION_ARRAY, h->cert ? tls : tls + ARRAY_LEN(tls) - 1,
        MHD_OPTION_END);
}

int mp_http_server_open(struct http *h, struct mp_why *why)
{
    h->daemon = start(h);
    if (!h->daemon && h->cert)
        return mp_why_set(why, MP_EIO,
                          "[http] cert = %s: it or its key can't be used",
                          h->config->http.cert);
    if (!h->daemon)
        return mp_why_errno(why, "start the HTTP server");
    uv_timer_init(h->loop, &h->tick);
    uv_idle_init(h->loop, &h->idle);
    uv_poll_init(
        h->loop, &h->poll,
        MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
    h->tick.data = h->idle.data = h->poll.data = h;
    h->handles += 3;
    uv_poll_start(&h->poll, UV_READABLE, on_ready);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    mp_http_handle_closed(handle->data);
}

/* A suspended connection may not be there when the library stops. */
void mp_http_server_close(struct http *h)
{
    mp_list_each_safe (at, &h->calls) {
        struct http_call *c = call_of(at);

        if (!c->suspended)
            continue;
        mp_http_call_detach(c);
        mp_http_busy(c, MHD_HTTP_SERVICE_UNAVAILABLE, HTTP_RETRY_S,
                     "the host stops");
    }
    for (int i = 0; i < HTTP_LAST_RUNS; i++)
        MHD_run(h->daemon);
    uv_poll_stop(&h->poll);
    MHD_stop_daemon(h->daemon);
    uv_close((uv_handle_t *)&h->poll, on_closed);
    uv_close((uv_handle_t *)&h->tick, on_closed);
    uv_close((uv_handle_t *)&h->idle, on_closed);
}
