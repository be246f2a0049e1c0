/*
 * coap_load.c - CoAP clients that ask as fast as they are answered.
 *
 *   coap_load --port P [--peers 1] [--count 10000] [--path bench]
 *             [--data TEXT] [--expect TEXT]
 *
 * Each peer has a UDP socket of its own and one confirmable POST under way;
 * when the answer is there, the next one leaves.  Every answer must be a 2.xx
 * with the expected payload and the token of its request.  What is not answered
 * within 2 s is sent again, as it was.  Plain sockets and no library, so that
 * it is not this program that is measured.
 *
 * At the end one line of JSON: the rate, and quantiles of the time from a
 * request to its answer.  The first tenth is warm-up and doesn't count.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/why.h"

enum {
    PEERS_MAX = 1024,
    MESSAGE_MAX = 1500,
    AGAIN_MS = 2000,
    PATIENCE = 5, /* times sent before it is given up */
    HEADER = 4,
    TOKEN = 4,
    CON = 0,
    ACK = 2,
    URI_PATH = 11,
};

static struct {
    unsigned port, peers;
    unsigned long count;
    const char *path, *data, *expect;
} arg = {.peers = 1, .count = 10000, .path = "bench", .data = "21.5"};

static struct peer {
    int fd;
    uint16_t mid;
    uint32_t token;
    bool waits;
    unsigned sent; /* times */
    int64_t sent_us;
} peers[PEERS_MAX];

/* A request but for its id and token: the same for all. */
static uint8_t request[MESSAGE_MAX];
static size_t request_len;

static unsigned long begun, over, repeats, separate;
static int64_t *late_us;

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "coap_load: %s\n", what);
    exit(1);
}

/* ---- messages ---- */

static void put(const void *bytes, size_t len)
{
    if (len > sizeof request - request_len)
        give_up("the request is too long");
    memcpy(request + request_len, bytes, len);
    request_len += len;
}

/* The first has the delta of its number, the others have none. */
static void put_level(const char *level, size_t len, bool first)
{
    uint8_t head[2] = {(uint8_t)((first ? URI_PATH : 0) << 4), 0};

    if (len > 268)
        give_up("a level of the path is too long");
    head[0] |= len < 13 ? (uint8_t)len : 13;
    head[1] = len < 13 ? 0 : (uint8_t)(len - 13);
    put(head, len < 13 ? 1 : 2);
    put(level, len);
}

static void make_request(void)
{
    static const uint8_t head[HEADER + TOKEN] = {0x40 | TOKEN, 2 /* POST */};
    const uint8_t marker = 0xff;
    const char *level = arg.path;

    put(head, sizeof head);
    while (*level) {
        size_t len = strcspn(level, "/");

        put_level(level, len, level == arg.path);
        level += len + (level[len] == '/');
    }
    if (!*arg.data)
        return;
    put(&marker, 1);
    put(arg.data, strlen(arg.data));
}

static void send_request(struct peer *p)
{
    request[2] = (uint8_t)(p->mid >> 8);
    request[3] = (uint8_t)p->mid;
    memcpy(request + HEADER, &p->token, TOKEN);
    p->sent++;
    if (send(p->fd, request, request_len, 0) < 0 && errno != ENOBUFS)
        give_up(strerror(errno));
}

static void begin(struct peer *p)
{
    begun++;
    p->mid++;
    p->token++;
    p->waits = true;
    p->sent = 0;
    p->sent_us = mp_now_us();
    send_request(p);
}

/* Where the payload begins; options are skipped. */
static const uint8_t *payload(const uint8_t *at, const uint8_t *end)
{
    while (at < end && *at != 0xff) {
        unsigned delta = *at >> 4, len = *at & 15;

        at++;
        at += delta == 13 ? 1 : delta == 14 ? 2 : 0;
        if (len == 13 && at < end)
            len = 13 + *at++;
        else if (len == 14 && end - at >= 2)
            at += 2, len = 269 + ((unsigned)at[-2] << 8 | at[-1]);
        at += len;
    }
    return at < end ? at + 1 : end;
}

static void check(const uint8_t *m, size_t len)
{
    const uint8_t *data = payload(m + HEADER + TOKEN, m + len);

    if (m[1] >> 5 != 2) {
        fprintf(stderr, "coap_load: an answer is %d.%02d\n", m[1] >> 5,
                m[1] & 31);
        exit(1);
    }
    if (arg.expect && ((size_t)(m + len - data) != strlen(arg.expect) ||
                       memcmp(data, arg.expect, strlen(arg.expect)) != 0))
        give_up("an answer has another payload");
}

static void acknowledge(struct peer *p, const uint8_t *m)
{
    const uint8_t ack[HEADER] = {0x40 | ACK << 4, 0, m[2], m[3]};

    separate++;
    (void)!send(p->fd, ack, sizeof ack, 0);
}

static void take(struct peer *p, const uint8_t *m, size_t len)
{
    if (len < HEADER || m[0] >> 6 != 1)
        give_up("that is no message of CoAP");
    if (m[1] == 0)
        return; /* an empty acknowledgement: the answer follows */
    if ((m[0] >> 4 & 3) == CON)
        acknowledge(p, m);
    if (len < HEADER + TOKEN || (m[0] & 15) != TOKEN ||
        memcmp(m + HEADER, &p->token, TOKEN) != 0 || !p->waits)
        return; /* of a request that was sent twice */
    check(m, len);
    late_us[over++] = mp_now_us() - p->sent_us;
    p->waits = false;
    if (begun < arg.count)
        begin(p);
}

/* ---- the loop ---- */

static void open_peers(int epoll)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)arg.port),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};

    for (unsigned i = 0; i < arg.peers; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

        if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) ||
            epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
            give_up(strerror(errno));
        peers[i].fd = fd;
        peers[i].mid = (uint16_t)(i * 7919);
    }
}

static void again(void)
{
    int64_t now_us = mp_now_us();

    for (unsigned i = 0; i < arg.peers; i++) {
        struct peer *p = &peers[i];

        if (!p->waits || now_us - p->sent_us < p->sent * AGAIN_MS * MP_MS)
            continue;
        if (p->sent == PATIENCE)
            give_up("no answer");
        repeats++;
        send_request(p);
    }
}

static void turn(int epoll)
{
    struct epoll_event ready[64];
    uint8_t bytes[MESSAGE_MAX];
    int n = epoll_wait(epoll, ready, 64, AGAIN_MS / 4);

    if (n <= 0)
        again();
    for (int i = 0; i < n; i++) {
        struct peer *p = &peers[ready[i].data.u32];
        ssize_t len = recv(p->fd, bytes, sizeof bytes, 0);

        if (len < 0 && errno == ECONNREFUSED)
            give_up("nobody listens");
        if (len > 0)
            take(p, bytes, (size_t)len);
    }
}

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void print_result(unsigned long warm, double seconds)
{
    unsigned long n = over - warm;

    qsort(late_us + warm, n, sizeof *late_us, by_size);
    printf("{\"answers\":%lu,\"rate\":%.0f,\"p50_us\":%lld,\"p99_us\":%lld,"
           "\"separate\":%lu,\"repeats\":%lu}\n",
           over, (double)n / seconds, (long long)late_us[warm + n / 2],
           (long long)late_us[warm + n * 99 / 100], separate, repeats);
}

static void read_args(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'},  {"peers", 1, NULL, 'n'},
        {"count", 1, NULL, 'c'}, {"path", 1, NULL, 'u'},
        {"data", 1, NULL, 'd'},  {"expect", 1, NULL, 'e'},
        {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'p')
            arg.port = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'n')
            arg.peers = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'c')
            arg.count = strtoul(optarg, NULL, 10);
        else if (c == 'u')
            arg.path = optarg;
        else if (c == 'd')
            arg.data = optarg;
        else if (c == 'e')
            arg.expect = optarg;
        else
            exit(2);
    }
    if (!arg.port || !arg.peers || arg.peers > PEERS_MAX ||
        arg.count < arg.peers || optind != argc) {
        fprintf(stderr, "usage: coap_load --port P [--peers N] [--count N]\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    unsigned long warm;
    int64_t start_us;

    read_args(argc, argv);
    make_request();
    late_us = calloc(arg.count, sizeof *late_us);
    if (epoll < 0 || !late_us)
        give_up("no memory");
    open_peers(epoll);
    warm = arg.count / 10;
    for (unsigned i = 0; i < arg.peers; i++)
        begin(&peers[i]);
    while (over < warm)
        turn(epoll);
    warm = over;
    start_us = mp_now_us();
    while (over < arg.count)
        turn(epoll);
    print_result(warm, (double)(mp_now_us() - start_us) / MP_SECOND);
    return 0;
}
