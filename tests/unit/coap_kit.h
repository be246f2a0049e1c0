/*
 * coap_kit.h - a host that answers inputs as it is told to, clients that speak
 * in raw messages, and a loop that runs until a condition holds, for the tests
 * of the CoAP transport.
 *
 * Included by one .c each: it defines what mp_host_ the transport calls.
 */
#ifndef MP_TESTS_COAP_KIT_H
#define MP_TESTS_COAP_KIT_H

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
#include <sys/wait.h>
#include <unistd.h>

#include "core/log.h"
#include "core/results.h"
#include "transports/coap.h"
#include "transports/coap_impl.h"

enum {
    KIT_INPUTS = 4000,
    KIT_ENDPOINTS = 16,
    KIT_MESSAGE = 2048,
    KIT_KEPT = 8
};

struct mp_host {
    uv_loop_t loop;
    struct mp_config config;
    char listen[3][64];
    char *listens[4];
    unsigned port;
    void *coap;
    bool finished;
    struct mp_results results;
    struct mp_endpoint endpoints[KIT_ENDPOINTS];
    struct mp_pattern patterns[KIT_ENDPOINTS];
    unsigned n_endpoints;
    /* Inputs are answered inside mp_host_input, or by kit_end. */
    bool at_once, echo;
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
    struct mp_answer a = h->answer;

    assert_true(h->n_inputs < KIT_INPUTS);
    h->inputs[h->n_inputs++] = in;
    if (h->echo)
        a.data = in->data;
    if (h->at_once)
        kit_end(h, h->n_inputs - 1, &a, false);
}

struct mp_results *mp_host_results(struct mp_host *h)
{
    return &h->results;
}

/* The transport stands behind the libraries where a test is linked: what it
 * alone takes from them is named here. */
#define LINK(call) (void (*)(void))(call)
void (*const mp_kit_links[])(void) = {LINK(mp_method_name)};

/* A test is linked with the other transports; these are theirs. */
void mp_host_link(struct mp_host *h MP_UNUSED, bool up MP_UNUSED)
{
    fail();
}

struct mp_records *mp_host_records(struct mp_host *h MP_UNUSED)
{
    fail();
    return NULL;
}

struct mp_slice mp_host_kept(struct mp_host *h MP_UNUSED,
                             const char *name MP_UNUSED)
{
    fail();
    return (struct mp_slice){NULL, 0};
}

void mp_host_keep(struct mp_host *h MP_UNUSED, const char *name MP_UNUSED,
                  struct mp_slice bytes MP_UNUSED,
                  struct mp_commit_wait *w MP_UNUSED,
                  void (*done)(struct mp_commit_wait *w, int rc) MP_UNUSED)
{
    fail();
}

static const struct mp_input *kit_last(struct mp_host *h)
{
    assert_true(h->n_inputs > 0);
    return h->inputs[h->n_inputs - 1];
}

/* ---- the loop ---- */

static void kit_turn(struct mp_host *h, int fd)
{
    struct pollfd p[] = {{.fd = uv_backend_fd(&h->loop), .events = POLLIN},
                         {.fd = fd, .events = POLLIN}};

    uv_run(&h->loop, UV_RUN_NOWAIT);
    if (uv_backend_timeout(&h->loop) != 0)
        poll(p, 2, 10);
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

static unsigned kit_free_port(void)
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

static struct coap *kit_coap(struct mp_host *h)
{
    return h->coap;
}

static struct mp_endpoint *kit_endpoint(struct mp_host *h, unsigned methods,
                                        const char *path)
{
    unsigned i = h->n_endpoints++;
    struct mp_why why;

    assert_true(i < KIT_ENDPOINTS);
    assert_int_equal(
        mp_pattern_parse(&h->patterns[i], mp_slice_str(path), &why), 0);
    h->endpoints[i] = (struct mp_endpoint){.kind = MP_TRIGGER_COAP,
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
    mp_coap.serve(h->coap, h->endpoints, h->n_endpoints);
}

static struct mp_host *kit_new(void)
{
    struct mp_host *h = mp_zalloc(sizeof *h);

    mp_log_open(MP_LOG_TEXT, MP_LEVELS);
    uv_loop_init(&h->loop);
    h->port = kit_free_port();
    snprintf(h->listen[0], 64, "coap://127.0.0.1:%u", h->port);
    h->listens[0] = h->listen[0];
    h->config.coap.listen = h->listens;
    h->config.coap.sessions = 64;
    h->config.coap.observers = 4;
    h->config.coap.idle_us = 60 * MP_SECOND;
    mp_results_init(&h->results, 60 * MP_SECOND);
    h->at_once = true;
    h->answer = (struct mp_answer){
        .kind = MP_ANSWER_DONE, .data = MP_S("21.5"), .format = MP_FORMAT_TEXT};
    return h;
}

static void kit_open(struct mp_host *h)
{
    struct mp_why why;

    if (mp_coap.open(h, &h->loop, &h->config, &h->coap, &why))
        fail_msg("open: %s", why.text);
}

static void kit_finished(void *arg)
{
    struct mp_host *h = arg;

    h->finished = true;
}

static void kit_close(struct mp_host *h)
{
    mp_coap.close(h->coap, kit_finished, h);
    UNTIL(h, h->finished);
}

static void kit_free(struct mp_host *h)
{
    if (!h->finished)
        kit_close(h);
    for (unsigned i = 0; i < h->n_inputs; i++) {
        if (!h->settled[i])
            kit_end(h, i, NULL, true);
        mp_input_unref(h->inputs[i]);
    }
    mp_results_fini(&h->results);
    for (unsigned i = 0; i < h->n_endpoints; i++)
        mp_pattern_fini(&h->patterns[i]);
    assert_int_equal(uv_loop_close(&h->loop), 0);
    free(h);
}

/* ---- messages ---- */

struct kit_message {
    uint8_t bytes[KIT_MESSAGE];
    size_t len;
    unsigned option; /* the last one */
    /* of one that was read */
    unsigned type, code, mid;
    size_t token_len, options;
    struct mp_slice data;
};

enum { CON, NON, ACK, RST };
#define CODE(c, dd) ((c) << 5 | (dd))

static struct kit_message kit_message(unsigned type, unsigned code,
                                      unsigned mid, const char *token)
{
    struct kit_message m = {0};

    m.bytes[0] = (uint8_t)(0x40 | type << 4 | strlen(token));
    m.bytes[1] = (uint8_t)code;
    m.bytes[2] = (uint8_t)(mid >> 8);
    m.bytes[3] = (uint8_t)mid;
    memcpy(m.bytes + 4, token, strlen(token));
    m.len = 4 + strlen(token);
    return m;
}

static unsigned kit_nibble(struct kit_message *m, size_t value)
{
    if (value < 13)
        return (unsigned)value;
    if (value < 269) {
        m->bytes[m->len++] = (uint8_t)(value - 13);
        return 13;
    }
    m->bytes[m->len++] = (uint8_t)((value - 269) >> 8);
    m->bytes[m->len++] = (uint8_t)(value - 269);
    return 14;
}

static void kit_option(struct kit_message *m, unsigned number,
                       const void *value, size_t len)
{
    size_t head = m->len++;
    unsigned delta = kit_nibble(m, number - m->option);
    unsigned size = kit_nibble(m, len);

    m->bytes[head] = (uint8_t)(delta << 4 | size);
    memcpy(m->bytes + m->len, value, len);
    m->len += len;
    m->option = number;
}

static void kit_uint(struct kit_message *m, unsigned number, uint32_t value)
{
    uint8_t bytes[4];
    size_t len = 0;

    for (int shift = 24; shift >= 0; shift -= 8)
        if (len || value >> shift)
            bytes[len++] = (uint8_t)(value >> shift);
    kit_option(m, number, bytes, len);
}

static void kit_path(struct kit_message *m, const char *path)
{
    while (*path == '/') {
        size_t len = strcspn(path + 1, "/");

        kit_option(m, 11, path + 1, len);
        path += 1 + len;
    }
}

static void kit_data(struct kit_message *m, const void *data, size_t len)
{
    m->bytes[m->len++] = 0xff;
    memcpy(m->bytes + m->len, data, len);
    m->len += len;
}

static size_t kit_extended(struct kit_message *m, unsigned nibble, size_t *at)
{
    size_t value = nibble;

    if (nibble == 13)
        value = 13 + m->bytes[(*at)++];
    if (nibble == 14) {
        value = 269 + ((size_t)m->bytes[*at] << 8) + m->bytes[*at + 1];
        *at += 2;
    }
    return value;
}

/* Value of an option; number 0: walk all, and find the data. */
static struct mp_slice kit_get(struct kit_message *m, unsigned number)
{
    size_t at = m->options;
    unsigned is = 0;

    while (at < m->len && m->bytes[at] != 0xff) {
        unsigned head = m->bytes[at++];
        size_t len;

        is += (unsigned)kit_extended(m, head >> 4, &at);
        len = kit_extended(m, head & 15, &at);
        if (number && is == number)
            return mp_slice(m->bytes + at, len);
        at += len;
    }
    if (!number && at < m->len) {
        /* Messages are copied around: their data stays here. */
        static char kept[KIT_KEPT][KIT_MESSAGE];
        static unsigned next;
        char *to = kept[next++ % KIT_KEPT];

        memcpy(to, m->bytes + at + 1, m->len - at - 1);
        m->data = mp_slice(to, m->len - at - 1);
    } else if (!number) {
        m->data = MP_S("");
    }
    return mp_slice(NULL, 0);
}

/* -1: it has none. */
static int64_t kit_get_uint(struct kit_message *m, unsigned number)
{
    struct mp_slice s = kit_get(m, number);
    int64_t value = 0;

    for (size_t i = 0; i < s.len; i++)
        value = value << 8 | (unsigned char)s.ptr[i];
    return s.ptr ? value : -1;
}

/* ---- a client ---- */

static int kit_client(const char *address, unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    inet_pton(AF_INET, address, &to.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void kit_send(int fd, const struct kit_message *m)
{
    assert_int_equal(send(fd, m->bytes, m->len, 0), m->len);
}

static bool kit_read(int fd, struct kit_message *m)
{
    ssize_t n = recv(fd, m->bytes, sizeof m->bytes, 0);

    if (n < 4)
        return false;
    m->len = (size_t)n;
    m->type = m->bytes[0] >> 4 & 3;
    m->token_len = m->bytes[0] & 15;
    m->code = m->bytes[1];
    m->mid = (unsigned)m->bytes[2] << 8 | m->bytes[3];
    m->options = 4 + m->token_len;
    kit_get(m, 0);
    return true;
}

static struct kit_message kit_receive(struct mp_host *h, int fd)
{
    struct kit_message m;

    UNTIL(h, kit_read(fd, &m));
    return m;
}

static struct kit_message kit_ask(struct mp_host *h, int fd,
                                  const struct kit_message *m)
{
    kit_send(fd, m);
    return kit_receive(h, fd);
}

static void kit_confirm(int fd, const struct kit_message *m, unsigned type)
{
    struct kit_message ack = kit_message(type, 0, m->mid, "");

    kit_send(fd, &ack);
}

#endif
