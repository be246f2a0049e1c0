/*
 * http.c - the transport, as the host sees it.
 *
 * It has inputs only.  A request is answered from what the host says of its
 * input; nothing is kept for it, so when the host loses what it had
 * (`settled` with lost set), the client is told to ask again.
 */
#include "transports/http.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>

#include "core/base/file.h"
#include "transports/http_impl.h"

enum { PEM_MAX = 256 << 10 }; /* a certificate with its chain */

static char *read_file(const char *key, const char *path, struct mp_why *why)
{
    struct mp_buf text;
    char *copy = NULL;

    mp_buf_init(&text, PEM_MAX + 1);
    if (mp_file_read(AT_FDCWD, path, PEM_MAX, &text, why))
        mp_why_wrap(why, "[http] %s = %s", key, path);
    else
        copy = mp_strndup(text.len ? text.ptr : "", text.len);
    mp_buf_fini(&text);
    return copy;
}

static int read_files(struct http *h, struct mp_why *why)
{
    const char *cert = h->config->http.cert, *key = h->config->http.key;

    if (!cert && !key)
        return 0;
    if (!cert || !key)
        return mp_why_set(why, MP_EPARSE,
                          "[http] cert and key are given together or not");
    h->cert = read_file("cert", cert, why);
    h->key = h->cert ? read_file("key", key, why) : NULL;
    return h->key ? 0 : MP_EIO;
}

static void free_all(struct http *h)
{
    mp_http_listen_fini(h);
    free(h->cert);
    if (h->key)
        explicit_bzero(h->key, strlen(h->key));
    free(h->key);
    free(h);
}

static int http_open(struct mp_host *host, uv_loop_t *loop,
                     const struct mp_config *config, void **self,
                     struct mp_why *why)
{
    struct http *h = mp_zalloc(sizeof *h);
    int rc;

    signal(SIGPIPE, SIG_IGN); /* the library writes to closed sockets */
    h->host = host;
    h->loop = loop;
    h->config = config;
    mp_list_init(&h->conns);
    mp_list_init(&h->calls);
    mp_list_init(&h->flights);
    mp_http_listen_init(h);
    if (getrandom(&h->id_key, sizeof h->id_key, 0) < 0)
        mp_bug(__FILE__, __LINE__, "getrandom gives nothing");
    rc = read_files(h, why);
    if (!rc)
        rc = mp_http_server_open(h, why);
    if (rc)
        free_all(h);
    else
        *self = h;
    return rc;
}

static void http_route(void *self MP_UNUSED,
                       const struct mp_route *routes MP_UNUSED,
                       unsigned n MP_UNUSED)
{
    /* Routes are of brokers. */
}

static void http_serve(void *self, const struct mp_endpoint *endpoints,
                       unsigned n)
{
    struct http *h = self;

    h->endpoints = endpoints;
    h->n_endpoints = n;
    h->generation++;
    if (n && !h->draining)
        mp_http_listen(h);
    else
        mp_http_unlisten(h);
}

static void http_lost(void *self)
{
    struct http *h = self;

    h->away = true;
}

static void http_found(void *self)
{
    struct http *h = self;

    h->away = false;
}

static void http_pause(void *self, bool paused)
{
    struct http *h = self;

    h->paused = paused;
}

static void http_drain(void *self)
{
    struct http *h = self;

    h->draining = true;
    mp_http_unlisten(h);
}

static bool http_idle(void *self)
{
    const struct http *h = self;

    return !h->n_flights && !h->n_busy;
}

void mp_http_handle_closed(struct http *h)
{
    void (*finished)(void *) = h->finished;
    void *arg = h->arg;

    if (--h->handles)
        return;
    free_all(h);
    finished(arg);
}

static void http_close(void *self, void (*finished)(void *arg), void *arg)
{
    struct http *h = self;

    h->draining = h->closing = true;
    h->finished = finished;
    h->arg = arg;
    mp_http_unlisten(h);
    mp_http_server_close(h);
    mp_http_flights_orphan(h);
}

const struct mp_transport mp_http = {
    .name = "http",
    .open = http_open,
    .route = http_route,
    .serve = http_serve,
    .lost = http_lost,
    .found = http_found,
    .pause = http_pause,
    .drain = http_drain,
    .idle = http_idle,
    .close = http_close,
    .answers = mp_http_requests,
    .n_answers = MP_HTTP_STATUSES,
};
