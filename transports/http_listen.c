/*
 * http_listen.c - on which addresses, and who is let in.
 *
 * There are so many connections and no more, and one address may hold a
 * quarter of them, so that one client that leaks them doesn't lock out the
 * others.  Of an IPv6 address the network counts: a host has all of a /64.
 * Who is refused gets a sentence, without the library and where no TLS is
 * expected.
 */
#include "transports/http_impl.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/log.h"
#include "transports/http.h"

enum { SAY_MAX = 2048, SHARE = 4, NETWORK_BYTES = 8, PORT_MAX = 65535 };

/* ---- who is let in ---- */

void mp_http_say(struct http *h, int fd, unsigned status, const char *detail)
{
    struct mp_problem p = {.status = status, .detail = mp_slice_str(detail)};
    struct mp_buf body, text;
    char rest[SAY_MAX];

    mp_http_requests[status]++;
    if (h->cert)
        return;
    mp_buf_init(&body, SAY_MAX);
    mp_buf_init(&text, 2 * SAY_MAX);
    mp_problem_put(&body, &p);
    mp_buf_printf(&text,
                  "HTTP/1.1 %u %s\r\nConnection: close\r\n"
                  "Content-Type: %s\r\nContent-Length: %zu\r\n",
                  status, mp_status_title(status), MP_PROBLEM_TYPE, body.len);
    if (status == MHD_HTTP_TOO_MANY_REQUESTS ||
        status == MHD_HTTP_SERVICE_UNAVAILABLE)
        mp_buf_printf(&text, "Retry-After: %d\r\n", HTTP_RETRY_S);
    mp_buf_printf(&text, "\r\n%.*s", MP_FMT(body));
    (void)!send(fd, text.ptr, text.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    /* What nobody read would make the end a reset. */
    (void)!recv(fd, rest, sizeof rest, MSG_DONTWAIT);
    mp_buf_fini(&body);
    mp_buf_fini(&text);
}

static bool is_same(const struct sockaddr_in6 *a, const struct sockaddr *b)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)b;

    if (a->sin6_family != b->sa_family)
        return false;
    if (b->sa_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    /* On one cable all share one network. */
    return memcmp(&a->sin6_addr, &six->sin6_addr,
                  IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr) ? sizeof six->sin6_addr
                                                         : NETWORK_BYTES) == 0;
}

static unsigned count(const struct http *h, const struct sockaddr *from)
{
    unsigned n = 0;

    mp_list_each (at, &h->conns)
        n += is_same(&mp_of(at, struct http_conn, link)->from, from);
    return n;
}

static void take(struct http *h, int fd, const struct sockaddr *from,
                 socklen_t len)
{
    unsigned most = h->config->http.connections;
    unsigned share = most < SHARE ? 1 : most / SHARE;

    if (h->n_conns >= most) {
        mp_http_say(h, fd, MHD_HTTP_SERVICE_UNAVAILABLE,
                    "all connections are in use");
    } else if (count(h, from) >= share) {
        mp_http_say(h, fd, MHD_HTTP_TOO_MANY_REQUESTS,
                    "this address has too many connections");
    } else {
        mp_http_server_add(h, fd, from, len);
        return;
    }
    close(fd);
}

static void rest(struct http_door *d)
{
    uv_poll_stop(&d->poll);
    d->resting = true;
    mp_http_tick(d->http);
}

static void on_readable(uv_poll_t *poll, int status MP_UNUSED,
                        int events MP_UNUSED)
{
    struct http_door *d = poll->data;

    for (int i = 0; i < HTTP_ACCEPT_TURN; i++) {
        struct sockaddr_in6 from = {0};
        socklen_t len = sizeof from;
        int fd = accept4(d->fd, (struct sockaddr *)&from, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            take(d->http, fd, (struct sockaddr *)&from, len);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                   errno == ENOMEM) {
            rest(d); /* it would stay readable, and the loop awake */
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

static struct http_door *door_new(struct http *h, int fd)
{
    struct http_door *d = mp_zalloc(sizeof *d);

    d->http = h;
    d->fd = fd;
    uv_poll_init(h->loop, &d->poll, fd);
    d->poll.data = d;
    uv_poll_start(&d->poll, UV_READABLE, on_readable);
    h->handles++;
    return d;
}

static void on_closed(uv_handle_t *handle)
{
    struct http_door *d = handle->data;
    struct http *h = d->http;

    free(d);
    mp_http_handle_closed(h);
}

static void door_close(struct http_door *d)
{
    uv_poll_stop(&d->poll);
    close(d->fd);
    uv_close((uv_handle_t *)&d->poll, on_closed);
}

/* ---- addresses ---- */

static bool is_port(const char *text)
{
    unsigned n = 0;

    for (; *text >= '0' && *text <= '9' && n <= PORT_MAX; text++)
        n = 10 * n + (unsigned)(*text - '0');
    return !*text && n > 0 && n <= PORT_MAX;
}

/* "127.0.0.1:7381", "[::1]:8080": numbers, so that nothing is asked. */
static struct addrinfo *resolve(const char *text, struct mp_why *why)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    bool six = len > 2 && text[0] == '[' && text[len - 1] == ']';
    char *host = mp_strndup(text + six, len - 2 * six);
    struct addrinfo *found = NULL;
    int rc = -1;

    /* Without brackets nobody knows which ':' is the last one's. */
    if (colon && *host && six == !!strchr(host, ':') && is_port(colon + 1))
        rc = getaddrinfo(host, colon + 1, &hints, &found);
    free(host);
    if (!rc)
        return found;
    mp_why_set(why, MP_EPARSE,
               "'%s' is no address; write 0.0.0.0:8080 or [::1]:8080", text);
    return NULL;
}

static int open_socket(struct http_listener *l, const struct addrinfo *to,
                       struct mp_why *why)
{
    const int one = 1;
    int fd =
        socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return mp_why_errno(why, "make a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    /* [::] and 0.0.0.0 may stand side by side. */
    if (to->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, to->ai_addr, to->ai_addrlen) || listen(fd, HTTP_BACKLOG)) {
        mp_why_errno(why, "can't listen on %s", l->text);
        close(fd);
        return MP_EIO;
    }
    l->door = door_new(l->http, fd);
    return 0;
}

static int listener_open(struct http_listener *l, struct mp_why *why)
{
    struct addrinfo *to = resolve(l->text, why);
    int rc;

    l->bad = !to;
    if (!to)
        return MP_EPARSE;
    rc = open_socket(l, to, why);
    freeaddrinfo(to);
    return rc;
}

static void tell(struct http_listener *l, const struct mp_why *why)
{
    if (l->bad)
        mp_log(MP_ERROR, "http", NULL, "[http] listen: %s", why->text);
    else if (!l->told)
        mp_log(MP_ERROR, "http", NULL, "%s; tried again every %ds", why->text,
               HTTP_LISTEN_AGAIN_S);
    l->told = true;
}

static void try_all(struct http *h)
{
    struct mp_why why;

    h->again_us = 0;
    for (unsigned i = 0; i < h->n_listeners; i++) {
        struct http_listener *l = &h->listeners[i];

        if (l->door || l->bad)
            continue;
        if (!listener_open(l, &why)) {
            l->told = false;
            mp_log(MP_INFO, "http", NULL, "listening on %s%s", l->text,
                   h->cert ? " (TLS)" : "");
            continue;
        }
        tell(l, &why);
        if (!l->bad)
            h->again_us = mp_now_us() + HTTP_LISTEN_AGAIN_S * MP_SECOND;
    }
    if (h->again_us)
        mp_http_tick(h);
}

void mp_http_listen(struct http *h)
{
    if (h->listening)
        return;
    h->listening = true;
    try_all(h);
}

void mp_http_unlisten(struct http *h)
{
    h->listening = false;
    h->again_us = 0;
    for (unsigned i = 0; i < h->n_listeners; i++) {
        if (h->listeners[i].door)
            door_close(h->listeners[i].door);
        h->listeners[i].door = NULL;
    }
}

void mp_http_listen_tick(struct http *h, int64_t now_us)
{
    for (unsigned i = 0; i < h->n_listeners; i++) {
        struct http_door *d = h->listeners[i].door;

        if (d && d->resting)
            uv_poll_start(&d->poll, UV_READABLE, on_readable);
        if (d)
            d->resting = false;
    }
    if (h->again_us && now_us >= h->again_us)
        try_all(h);
}

void mp_http_listen_init(struct http *h)
{
    char **texts = h->config->http.listen;

    while (texts[h->n_listeners])
        h->n_listeners++;
    h->listeners = mp_zalloc((h->n_listeners + 1) * sizeof *h->listeners);
    for (unsigned i = 0; i < h->n_listeners; i++)
        h->listeners[i] = (struct http_listener){.http = h, .text = texts[i]};
}

void mp_http_listen_fini(struct http *h)
{
    free(h->listeners);
}
