/*
 * http_kit.h - a host that answers inputs as it is told to, clients that speak
 * in raw bytes, and a loop that runs until a condition holds, for the tests of
 * the HTTP transport.
 *
 * Included by one .c each: it defines what mp_host_ the transport calls.
 */
#ifndef MP_TESTS_HTTP_KIT_H
#define MP_TESTS_HTTP_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/endpoint.h"
#include "core/log.h"
#include "core/results.h"
#include "transports/http.h"
#include "transports/http_impl.h"

enum { KIT_INPUTS = 2000, KIT_ENDPOINTS = 16, KIT_TEXT = 1 << 20 };

struct mp_host {
    uv_loop_t loop;
    struct mp_config config;
    char *listen[4];
    char dir[64];
    unsigned port;
    void *http;
    bool finished;
    struct mp_results results;
    struct mp_endpoint endpoints[KIT_ENDPOINTS];
    struct mp_pattern patterns[KIT_ENDPOINTS];
    unsigned n_endpoints;
    /* Inputs are answered inside mp_host_input, or by kit_answer. */
    bool at_once;
    struct mp_answer answer;
    struct mp_input *inputs[KIT_INPUTS];
    bool settled[KIT_INPUTS];
    unsigned n_inputs;
};

static void kit_end(struct mp_host *h, unsigned nth, const struct mp_answer *a,
                    bool lost)
{
    struct mp_input *in = h->inputs[nth];

    assert_true(nth < h->n_inputs && !h->settled[nth]);
    h->settled[nth] = true;
    if (in->answer && a)
        in->answer(in, a);
    in->lost = lost;
    in->settled(in);
}

void mp_host_input(struct mp_host *h, struct mp_input *in)
{
    assert_true(h->n_inputs < KIT_INPUTS);
    h->inputs[h->n_inputs++] = in;
    if (h->at_once)
        kit_end(h, h->n_inputs - 1, &h->answer, false);
}

struct mp_results *mp_host_results(struct mp_host *h)
{
    return &h->results;
}

static void kit_forget(struct mp_host *h)
{
    for (unsigned i = 0; i < h->n_inputs; i++)
        mp_input_unref(h->inputs[i]);
    memset(h->settled, 0, sizeof h->settled);
    h->n_inputs = 0;
}

/* ---- the loop ---- */

/* A second of the transport is this long here. */
enum { KIT_TICK_MS = 20 };

static void hurry(struct mp_host *h)
{
    uv_timer_t *tick = h->http ? &((struct http *)h->http)->tick : NULL;

    if (!tick || !uv_is_active((uv_handle_t *)tick) ||
        uv_timer_get_repeat(tick) == KIT_TICK_MS)
        return;
    uv_timer_set_repeat(tick, KIT_TICK_MS);
    uv_timer_again(tick);
}

/* One turn; then sleep until fd (-1: none) or the loop has something. */
static void kit_turn(struct mp_host *h, int fd)
{
    struct pollfd p[] = {{.fd = uv_backend_fd(&h->loop), .events = POLLIN},
                         {.fd = fd, .events = POLLIN}};

    hurry(h);
    uv_run(&h->loop, UV_RUN_NOWAIT);
    if (uv_backend_timeout(&h->loop) != 0)
        poll(p, 2, 20);
}

#define UNTIL(h, cond)                                                         \
    do {                                                                       \
        int64_t end_ = mp_now_us() + 30 * MP_SECOND;                           \
                                                                               \
        while (!(cond)) {                                                      \
            if (mp_now_us() > end_)                                            \
                fail_msg("never: %s", #cond);                                  \
            kit_turn(h, -1);                                                   \
        }                                                                      \
    } while (0)

/* What must not happen has its chance. */
MP_UNUSED static void kit_some_turns(struct mp_host *h)
{
    for (int i = 0; i < 20; i++) {
        uv_run(&h->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
}

/* ---- the transport ---- */

static unsigned free_port(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof to;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&to, &len), 0);
    close(fd);
    return ntohs(to.sin_port);
}

static struct http *kit_http(struct mp_host *h)
{
    return h->http;
}

/* One more trigger; later it can be changed before kit_serve. */
static struct mp_endpoint *kit_endpoint(struct mp_host *h, unsigned methods,
                                        const char *path)
{
    unsigned i = h->n_endpoints++;
    struct mp_why why;

    assert_true(i < KIT_ENDPOINTS);
    assert_int_equal(
        mp_pattern_parse(&h->patterns[i], mp_slice_str(path), &why), 0);
    h->endpoints[i] = (struct mp_endpoint){.kind = MP_TRIGGER_HTTP,
                                           .id = i + 1,
                                           .methods = methods,
                                           .pattern = &h->patterns[i],
                                           .max_payload = 64 << 10};
    return &h->endpoints[i];
}

/* Sorts: what kit_endpoint gave is no more to be used. */
static void kit_serve(struct mp_host *h)
{
    mp_endpoints_sort(h->endpoints, h->n_endpoints);
    mp_http.serve(h->http, h->endpoints, h->n_endpoints);
}

enum {
    GET = 1 << MP_GET,
    POST = 1 << MP_POST,
    PUT = 1 << MP_PUT,
    DELETE = 1 << MP_DELETE
};

static struct mp_host *kit_new(void)
{
    struct mp_host *h = mp_zalloc(sizeof *h);
    char text[64];

    mp_log_open(MP_LOG_TEXT, MP_LEVELS);
    uv_loop_init(&h->loop);
    h->port = free_port();
    snprintf(text, sizeof text, "127.0.0.1:%u", h->port);
    h->listen[0] = mp_strndup(text, strlen(text));
    h->config.http.listen = h->listen;
    h->config.http.connections = 256;
    h->config.http.max_header = 8 << 10;
    mp_results_init(&h->results, 60 * MP_SECOND);
    h->at_once = true;
    h->answer = (struct mp_answer){
        .kind = MP_ANSWER_DONE, .data = MP_S("21.5"), .format = MP_FORMAT_TEXT};
    return h;
}

static void kit_open(struct mp_host *h)
{
    struct mp_why why;

    if (mp_http.open(h, &h->loop, &h->config, &h->http, &why))
        fail_msg("open: %s", why.text);
}

/* With what most tests ask. */
MP_UNUSED static struct mp_host *kit_start(void)
{
    struct mp_host *h = kit_new();

    kit_open(h);
    kit_endpoint(h, GET | PUT | POST, "/rooms/{room}");
    kit_endpoint(h, POST, "/hooks/{path...}");
    kit_serve(h);
    return h;
}

static void kit_finished(void *arg)
{
    ((struct mp_host *)arg)->finished = true;
}

static void kit_close(struct mp_host *h)
{
    mp_http.close(h->http, kit_finished, h);
    h->http = NULL;
    UNTIL(h, h->finished);
}

static void kit_free(struct mp_host *h)
{
    if (h->http)
        kit_close(h);
    for (unsigned i = 0; i < h->n_inputs; i++)
        if (!h->settled[i])
            kit_end(h, i, NULL, true);
    kit_forget(h);
    mp_results_fini(&h->results);
    for (unsigned i = 0; i < h->n_endpoints; i++)
        mp_pattern_fini(&h->patterns[i]);
    for (unsigned i = 0; i < ARRAY_LEN(h->listen); i++)
        free(h->listen[i]);
    assert_int_equal(uv_loop_close(&h->loop), 0);
    free(h);
}

/* ---- clients ---- */

static char kit_text[KIT_TEXT]; /* what the last one read */
static size_t kit_len;

static int client_to(const char *from, const char *to, unsigned port)
{
    struct sockaddr_in local = {.sin_family = AF_INET};
    struct sockaddr_in peer = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, from, &local.sin_addr);
    inet_pton(AF_INET, to, &peer.sin_addr);
    assert_int_equal(bind(fd, (struct sockaddr *)&local, sizeof local), 0);
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer)) {
        close(fd);
        return -1;
    }
    return fd;
}

static int client(struct mp_host *h)
{
    int fd = client_to("127.0.0.1", "127.0.0.1", h->port);

    assert_true(fd >= 0);
    return fd;
}

/* Sends all of it; the transport reads meanwhile.  A closed connection is no
 * error: what it said is read afterwards. */
static void say_bytes(struct mp_host *h, int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    int64_t end = mp_now_us() + 30 * MP_SECOND;

    while (len) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno != EAGAIN)
            return;
        if (n > 0) {
            at += n;
            len -= (size_t)n;
            continue;
        }
        assert_true(mp_now_us() < end);
        kit_turn(h, -1);
    }
}

static void say(struct mp_host *h, int fd, const char *text)
{
    say_bytes(h, fd, text, strlen(text));
}

/* Length of the one whole answer that kit_text begins with; 0: not yet. */
static size_t whole(bool no_body)
{
    char *end = strstr(kit_text, "\r\n\r\n"), *len;
    size_t body = 0;

    if (!end)
        return 0;
    len = strcasestr(kit_text, "Content-Length: ");
    if (len && len < end && !no_body)
        body = strtoul(len + 16, NULL, 10);
    body += (size_t)(end + 4 - kit_text);
    return kit_len >= body ? body : 0;
}

static char kit_more[KIT_TEXT]; /* what came behind it */
static size_t kit_more_len;

/*
 * Reads one answer into kit_text and returns its status; 0: the connection
 * ended before one was whole.
 */
static unsigned hear_some(struct mp_host *h, int fd, bool no_body)
{
    int64_t end = mp_now_us() + 30 * MP_SECOND;
    size_t len;

    memcpy(kit_text, kit_more, kit_more_len);
    kit_len = kit_more_len;
    kit_text[kit_len] = '\0';
    while (!(len = whole(no_body))) {
        ssize_t n =
            recv(fd, kit_text + kit_len, KIT_TEXT - 1 - kit_len, MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            kit_more_len = 0;
            return 0;
        }
        if (n > 0) {
            kit_len += (size_t)n;
            kit_text[kit_len] = '\0';
            continue;
        }
        if (mp_now_us() > end)
            fail_msg("no answer; so far: %s", kit_text);
        kit_turn(h, fd);
    }
    kit_more_len = kit_len - len;
    memcpy(kit_more, kit_text + len, kit_more_len);
    kit_text[len] = '\0';
    kit_len = len;
    return (unsigned)strtoul(kit_text + 9, NULL, 10);
}

static unsigned hear(struct mp_host *h, int fd)
{
    return hear_some(h, fd, false);
}

MP_UNUSED static void hear_end(struct mp_host *h, int fd)
{
    assert_int_equal(hear(h, fd), 0);
    assert_int_equal(kit_len, 0);
}

/* One request on a connection of its own. */
MP_UNUSED static unsigned ask(struct mp_host *h, const char *request)
{
    int fd = client(h);
    unsigned status;

    kit_more_len = 0;
    say(h, fd, request);
    status = hear(h, fd);
    close(fd);
    return status;
}

#define HOST "Host: gateway\r\n"

MP_UNUSED static const char *kit_body(void)
{
    char *at = strstr(kit_text, "\r\n\r\n");

    return at ? at + 4 : "";
}

MP_UNUSED static void assert_has(const char *part)
{
    if (!strstr(kit_text, part))
        fail_msg("'%s' is not in: %s", part, kit_text);
}

MP_UNUSED static void assert_lacks(const char *part)
{
    if (strstr(kit_text, part))
        fail_msg("'%s' is in: %s", part, kit_text);
}

/* The answer is this problem, and nothing else. */
static void assert_problem(unsigned status, const char *detail)
{
    const struct mp_problem p = {.status = status,
                                 .detail = mp_slice_str(detail)};
    struct mp_buf text;

    mp_buf_init(&text, 4096);
    mp_problem_put(&text, &p);
    mp_buf_put(&text, "", 1);
    assert_has("Content-Type: application/problem+json\r\n");
    assert_string_equal(kit_body(), text.ptr);
    assert_non_null(strstr(text.ptr, mp_status_title(status)));
    mp_buf_fini(&text);
}

MP_UNUSED static struct mp_input *last(struct mp_host *h)
{
    assert_true(h->n_inputs > 0);
    return h->inputs[h->n_inputs - 1];
}

MP_UNUSED static void assert_slice(struct mp_slice s, const char *text)
{
    if (!mp_slice_is(s, text))
        fail_msg("'%.*s' is not '%s'", MP_FMT(s), text);
}

MP_UNUSED static struct mp_slice pair(const struct mp_pair *pairs, uint32_t n,
                                      const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (mp_slice_is(pairs[i].name, name))
            return pairs[i].value;
    return (struct mp_slice){NULL, 0};
}

/* All time is up for each connection. */
MP_UNUSED static void kit_expire(struct mp_host *h)
{
    mp_list_each (at, &kit_http(h)->conns) {
        struct http_conn *c = mp_of(at, struct http_conn, link);

        if (c->until_us)
            c->until_us = 1;
    }
}

#endif
