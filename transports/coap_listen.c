/*
 * coap_listen.c - on which addresses.
 *
 * libcoap binds in a way that lets two servers share a port in silence, each
 * with half of the requests: so we try first.  It shows no descriptors
 * either: we find the one with the right address, to give it a buffer that
 * holds a burst.
 */
#include "transports/coap_impl.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/log.h"

enum {
    FDS_MAX = 4096,
    FDS_GAP = 256, /* after so many that aren't open there are no more */
    HOST_MAX = 64,
    BACKLOG = 128,
};

static const struct scheme {
    const char *prefix, *port;
    coap_proto_t proto;
    int type;
} schemes[] = {
    {"coap://", "5683", COAP_PROTO_UDP, SOCK_DGRAM},
    {"coaps://", "5684", COAP_PROTO_DTLS, SOCK_DGRAM},
    {"coap+tcp://", "5683", COAP_PROTO_TCP, SOCK_STREAM},
    {"coaps+tcp://", "5684", COAP_PROTO_TLS, SOCK_STREAM},
};

/* Family, port and address; what else there may be is no matter. */
static bool is_same(const void *a, const void *b)
{
    const struct sockaddr *family = a;
    const char *x = a, *y = b;
    size_t port = offsetof(struct sockaddr_in6, sin6_port);
    size_t address = offsetof(struct sockaddr_in6, sin6_addr);

    if (family->sa_family == AF_INET)
        return memcmp(x, y, offsetof(struct sockaddr_in, sin_zero)) == 0;
    return memcmp(x, y, port + sizeof(in_port_t)) == 0 &&
           memcmp(x + address, y + address, sizeof(struct in6_addr)) == 0;
}

int mp_coap_find_fd(const struct sockaddr *address, socklen_t len, int type,
                    bool far)
{
    for (int fd = 0, gap = 0; fd < FDS_MAX && gap < FDS_GAP; fd++) {
        struct sockaddr_storage at = {0};
        socklen_t size = sizeof at, int_size = sizeof(int);
        struct sockaddr *is = (struct sockaddr *)&at;
        int has;

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &has, &int_size)) {
            gap = errno == EBADF ? gap + 1 : 0;
            continue;
        }
        gap = 0;
        if (has != type)
            continue;
        if (far ? getpeername(fd, is, &size) : getsockname(fd, is, &size))
            continue;
        if (size >= len && is_same(address, is))
            return fd;
    }
    return -1;
}

static const struct scheme *scheme_of(struct mp_slice text)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (mp_starts(text, schemes[i].prefix))
            return &schemes[i];
    return NULL;
}

/* "127.0.0.1:5683", "[::]": numbers, so nothing is asked. */
static struct addrinfo *resolve(const struct scheme *s, struct mp_slice text)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    struct mp_slice port = text, host;
    char name[HOST_MAX], service[HOST_MAX];

    if (mp_starts(text, "[")) {
        mp_split(&port, ']', &host);
        host = mp_slice(host.ptr + 1, host.len - 1);
        if (!port.ptr || (port.len && port.ptr[0] != ':'))
            return NULL;
        port =
            port.len ? mp_slice(port.ptr + 1, port.len - 1) : mp_slice(NULL, 0);
    } else {
        mp_split(&port, ':', &host);
    }
    if (!port.ptr)
        port = mp_slice_str(s->port);
    if (!host.len || !port.len)
        return NULL;
    snprintf(name, sizeof name, "%.*s", MP_FMT(host));
    snprintf(service, sizeof service, "%.*s", MP_FMT(port));
    hints.ai_socktype = s->type;
    return getaddrinfo(name, service, &hints, &found) ? NULL : found;
}

static const struct scheme *parse(const char *text, struct addrinfo **found,
                                  struct mp_why *why)
{
    struct mp_slice all = mp_slice_str(text);
    const struct scheme *s = scheme_of(all);
    size_t prefix = s ? strlen(s->prefix) : 0;

    *found = s ? resolve(s, mp_slice(text + prefix, all.len - prefix)) : NULL;
    if (*found)
        return s;
    mp_why_set(why, MP_EPARSE,
               "'%s' is no address; write coap://0.0.0.0:5683, "
               "coaps://[::1]:5684 or coap+tcp://127.0.0.1:5683",
               text);
    return NULL;
}

static bool is_free(const struct addrinfo *to)
{
    const int one = 1;
    int fd = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC, 0);
    bool yes = false;

    if (fd < 0)
        return false;
    if (to->ai_socktype == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    yes = !bind(fd, to->ai_addr, to->ai_addrlen) &&
          (to->ai_socktype != SOCK_STREAM || !listen(fd, 1));
    if (!yes) {
        int why = errno;

        close(fd);
        errno = why;
        return false;
    }
    close(fd);
    return true;
}

static void widen(const struct addrinfo *to)
{
    const int bytes = COAP_RECEIVE_BUFFER;
    int fd =
        mp_coap_find_fd(to->ai_addr, to->ai_addrlen, to->ai_socktype, false);

    if (fd < 0)
        return;
    if (to->ai_socktype == SOCK_STREAM)
        (void)!listen(fd, BACKLOG); /* it has 5 */
    else if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

static int endpoint_open(struct coap *c, struct coap_listener *l,
                         const struct scheme *s, const struct addrinfo *to,
                         struct mp_why *why)
{
    bool secure = s->proto == COAP_PROTO_DTLS || s->proto == COAP_PROTO_TLS;
    coap_address_t address;

    if (secure && !c->n_psks && !c->config->coap.cert) {
        l->bad = true;
        return mp_why_set(why, MP_EPARSE, "%s needs psk_file, or cert and key",
                          l->text);
    }
    if (!is_free(to))
        return mp_why_errno(why, "can't listen on %s", l->text);
    coap_address_init(&address);
    memcpy(&address.addr, to->ai_addr, to->ai_addrlen);
    address.size = to->ai_addrlen;
    l->endpoint = coap_new_endpoint(c->context, &address, s->proto);
    if (!l->endpoint)
        return mp_why_set(why, MP_EIO, "can't listen on %s", l->text);
    widen(to);
    return 0;
}

static int listener_open(struct coap *c, struct coap_listener *l,
                         struct mp_why *why)
{
    struct addrinfo *to;
    const struct scheme *s = parse(l->text, &to, why);
    int rc;

    l->bad = !s;
    if (!s)
        return MP_EPARSE;
    rc = endpoint_open(c, l, s, to, why);
    freeaddrinfo(to);
    return rc;
}

static void try_all(struct coap *c)
{
    struct mp_why why;

    c->again_us = 0;
    for (unsigned i = 0; i < c->n_listeners; i++) {
        struct coap_listener *l = &c->listeners[i];

        if (l->endpoint || (l->bad && l->told))
            continue;
        if (!listener_open(c, l, &why)) {
            l->told = false;
            mp_log(MP_INFO, "coap", NULL, "listening on %s", l->text);
            continue;
        }
        if (l->bad)
            mp_log(MP_ERROR, "coap", NULL, "[coap] listen: %s", why.text);
        else if (!l->told)
            mp_log(MP_ERROR, "coap", NULL, "%s; tried again every %ds",
                   why.text, COAP_LISTEN_AGAIN_S);
        l->told = true;
        if (!l->bad)
            c->again_us = mp_now_us() + COAP_LISTEN_AGAIN_S * MP_SECOND;
    }
}

void mp_coap_listen(struct coap *c)
{
    struct mp_why why;

    if (c->context)
        return;
    if (mp_coap_server_open(c, &why)) {
        mp_log(MP_ERROR, "coap", NULL, "can't listen: %s", why.text);
        return;
    }
    try_all(c);
}

/* Later, when somebody still waits for an answer. */
void mp_coap_unlisten(struct coap *c)
{
    mp_coap_observers_drop(c, NULL, NULL);
    if (!c->context || c->n_flights)
        return;
    mp_coap_server_close(c);
    for (unsigned i = 0; i < c->n_listeners; i++)
        c->listeners[i].endpoint = NULL;
    c->again_us = 0;
}

void mp_coap_listen_tick(struct coap *c, int64_t now_us)
{
    if (!c->n_endpoints)
        mp_coap_unlisten(c);
    else if (c->again_us && now_us >= c->again_us)
        try_all(c);
}

void mp_coap_listen_init(struct coap *c)
{
    char **texts = c->config->coap.listen;

    while (texts && texts[c->n_listeners])
        c->n_listeners++;
    c->listeners = mp_zalloc((c->n_listeners + 1) * sizeof *c->listeners);
    for (unsigned i = 0; texts && i < c->n_listeners; i++)
        c->listeners[i].text = texts[i];
}

void mp_coap_listen_fini(struct coap *c)
{
    free(c->listeners);
}
