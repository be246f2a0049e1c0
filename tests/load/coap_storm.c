/*
 * coap_storm.c - damaged CoAP messages, to see that a host lives through them.
 *
 *   coap_storm --port P [--udp N] [--tcp N] [--seed N] [--host H]
 *
 * Valid messages are damaged by a generator with a seed: bits turned, bytes
 * cut, added, doubled, options and lengths overwritten.  Now and then an empty
 * confirmable message (over TCP: a new connection with a ping) must be
 * answered within 5 s, or the exit code is 1.  Only loopback; it stops by
 * itself, with one line of JSON.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/why.h"

enum {
    MESSAGE_MAX = 1500,
    SOCKETS = 8,
    CHECK_EVERY = 1000,
    FRAMES_MAX = 30, /* of one connection */
    ANSWER_MS = 5000,
    LINGER_MS = 100,
};

static struct {
    const char *host;
    unsigned port;
    long udp, tcp;
    uint64_t seed;
} arg = {.host = "127.0.0.1"};

static struct {
    long sent, received, checks, connections;
} did;

static uint64_t next(void)
{
    arg.seed ^= arg.seed << 13;
    arg.seed ^= arg.seed >> 7;
    arg.seed ^= arg.seed << 17;
    return arg.seed;
}

static unsigned below(size_t n)
{
    return (unsigned)(next() % n);
}

/* ---- valid messages ---- */

struct message {
    uint8_t bytes[MESSAGE_MAX];
    size_t len;
};

static void put(struct message *m, const void *bytes, size_t len)
{
    if (len > MESSAGE_MAX - m->len)
        len = MESSAGE_MAX - m->len;
    memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
}

static void put_byte(struct message *m, unsigned byte)
{
    uint8_t b = (uint8_t)byte;

    put(m, &b, 1);
}

static void option(struct message *m, unsigned *last, unsigned number,
                   const void *value, size_t len)
{
    unsigned delta = number - *last;

    put_byte(m, (delta < 13 ? delta : 13) << 4 | (unsigned)len);
    if (delta >= 13)
        put_byte(m, delta - 13);
    put(m, value, len);
    *last = number;
}

/* Token, options and data: the same in both kinds of message. */
static void body(struct message *m, size_t token_len)
{
    static const char *const paths[] = {
        "temp", "rooms", "later", "small", ".well-known", "results", "storm"};
    static const char *const seconds[] = {"a", "core", "kitchen", "x"};
    const char *path = paths[below(ARRAY_LEN(paths))];
    const char *second = seconds[below(ARRAY_LEN(seconds))];
    uint8_t data[1200], one;
    unsigned last = 0;
    size_t len;

    for (size_t i = 0; i < token_len; i++)
        put_byte(m, below(4));
    one = (uint8_t)below(3);
    if (below(3) == 0)
        option(m, &last, 6, &one, one ? 1 : 0);
    option(m, &last, 11, path, strlen(path));
    if (below(4))
        option(m, &last, 11, second, strlen(second));
    one = 50;
    if (below(3) == 0)
        option(m, &last, 12, &one, 1);
    if (below(3) == 0)
        option(m, &last, 15, "unit=c", 6);
    one = (uint8_t)(below(6) << 4 | below(7));
    if (below(5) == 0)
        option(m, &last, 23, &one, 1);
    one = (uint8_t)(below(6) << 4 | below(2) << 3 | below(7));
    if (below(4) == 0)
        option(m, &last, 27, &one, 1);
    one = (uint8_t)below(256);
    if (below(9) == 0)
        option(m, &last, 60, &one, 1);
    if (below(9) == 0)
        option(m, &last, 252, "12345678", 8);
    if (below(9) == 0)
        option(m, &last, 258, &one, 1);
    if (below(2))
        return;
    len = below(3) ? (size_t)16 << below(7) : 1 + below(sizeof data - 1);
    memset(data, 'd', sizeof data);
    put_byte(m, 0xff);
    put(m, data, len < sizeof data ? len : sizeof data);
}

static void datagram(struct message *m)
{
    size_t token_len = below(9);

    m->len = 0;
    put_byte(m, 0x40 | below(8) / 3 << 4 | (unsigned)token_len);
    put_byte(m, 1 + below(7));
    put_byte(m, below(below(2) ? 256 : 2));
    put_byte(m, below(256));
    body(m, token_len);
}

/* RFC 8323, 3.2. */
static void frame(struct message *m, unsigned code)
{
    struct message rest = {.len = 0};
    size_t token_len = below(9), len;

    body(&rest, token_len);
    len = rest.len - token_len;
    m->len = 0;
    if (len < 13) {
        put_byte(m, (unsigned)(len << 4 | token_len));
    } else if (len < 269) {
        put_byte(m, 13U << 4 | (unsigned)token_len);
        put_byte(m, (unsigned)len - 13);
    } else {
        put_byte(m, 14U << 4 | (unsigned)token_len);
        put_byte(m, (unsigned)(len - 269) >> 8);
        put_byte(m, (unsigned)(len - 269));
    }
    put_byte(m, code);
    put(m, rest.bytes, rest.len);
}

/* ---- damage ---- */

static void damage(struct message *m)
{
    for (unsigned n = below(4); n && m->len; n--) {
        size_t at = below(m->len), len = 1 + below(8);

        switch (below(7)) {
        case 0:
            m->bytes[at] ^= (uint8_t)(1U << below(8));
            break;
        case 1:
            m->bytes[at] = (uint8_t)next();
            break;
        case 2: /* cut the end */
            m->len = at;
            break;
        case 3: /* cut within */
            len = len < m->len - at ? len : m->len - at;
            memmove(m->bytes + at, m->bytes + at + len, m->len - at - len);
            m->len -= len;
            break;
        case 4: /* double */
            len = len < m->len - at ? len : m->len - at;
            if (m->len + len > MESSAGE_MAX)
                break;
            memmove(m->bytes + at + len, m->bytes + at, m->len - at);
            m->len += len;
            break;
        case 5: /* the head of an option that says much */
            m->bytes[at] = (uint8_t)(0xd0 | below(16) | below(4) << 4);
            break;
        default:
            m->bytes[at] = 0xff;
            break;
        }
    }
}

/* ---- sockets ---- */

static int client(int type)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)arg.port)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    if (inet_pton(AF_INET, arg.host, &to.sin_addr) != 1 ||
        ntohl(to.sin_addr.s_addr) >> 24 != 127) {
        fprintf(stderr, "coap_storm: only addresses of loopback\n");
        exit(2);
    }
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) {
        fprintf(stderr, "coap_storm: connect: %s\n", strerror(errno));
        exit(1);
    }
    return fd;
}

static void read_all(int fd)
{
    uint8_t bytes[65536];

    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        did.received++;
}

static void dead(const char *how)
{
    fprintf(stderr, "coap_storm: no answer to a %s after %ld messages\n", how,
            did.sent);
    exit(1);
}

/* An empty confirmable message is answered with a reset (RFC 7252, 4.3). */
static void check_udp(void)
{
    static const uint8_t ping[] = {0x40, 0, 0x7e, 0x57};
    int64_t end_us = mp_now_us() + ANSWER_MS * MP_MS;
    int fd = client(SOCK_DGRAM);
    uint8_t bytes[64];

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        (void)!send(fd, ping, sizeof ping, 0);
        if (poll(&p, 1, 300) == 1 && recv(fd, bytes, sizeof bytes, 0) >= 4)
            break;
        if (mp_now_us() > end_us)
            dead("ping");
    }
    close(fd);
    did.checks++;
}

/* A pong, among whatever comes before it. */
static void check_tcp(void)
{
    static const uint8_t hello[] = {0x00, 0xe1, 0x00, 0xe2};
    int64_t end_us = mp_now_us() + ANSWER_MS * MP_MS;
    bool answered = false;

    while (!answered) {
        int fd = client(SOCK_STREAM);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        uint8_t bytes[256];

        (void)!send(fd, hello, sizeof hello, MSG_NOSIGNAL);
        while (!answered && poll(&p, 1, 300) == 1) {
            ssize_t n = recv(fd, bytes, sizeof bytes, 0);

            if (n <= 0)
                break;
            answered = memchr(bytes, 0xe3, (size_t)n) != NULL;
        }
        close(fd);
        if (!answered && mp_now_us() > end_us)
            dead("ping over TCP");
    }
    did.checks++;
}

static void storm_udp(void)
{
    struct message m;
    int fds[SOCKETS];

    for (int i = 0; i < SOCKETS; i++)
        fds[i] = client(SOCK_DGRAM);
    for (long i = 0; i < arg.udp; i++) {
        int fd = fds[below(SOCKETS)];

        datagram(&m);
        damage(&m);
        if (send(fd, m.bytes, m.len, 0) >= 0)
            did.sent++;
        read_all(fd);
        if (i % CHECK_EVERY == 0)
            check_udp();
    }
    check_udp();
    for (int i = 0; i < SOCKETS; i++)
        close(fds[i]);
}

/* Let the host read all before the end; it may wait for more. */
static void linger(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint8_t bytes[4096];

    shutdown(fd, SHUT_WR);
    while (poll(&p, 1, LINGER_MS) == 1 && recv(fd, bytes, sizeof bytes, 0) > 0)
        did.received++;
}

static void storm_connection(long *left)
{
    static const uint8_t hello[] = {0x00, 0xe1};
    int fd = client(SOCK_STREAM), on = 1;
    struct message m;

    did.connections++;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (below(8))
        (void)!send(fd, hello, sizeof hello, MSG_NOSIGNAL);
    for (unsigned n = 1 + below(FRAMES_MAX); n && *left > 0; n--) {
        frame(&m, below(20) ? 1 + below(7) : 0xe0 + below(8));
        if (below(4) == 0) /* a bad length ends the connection */
            damage(&m);
        if (send(fd, m.bytes, m.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        did.sent++;
        --*left;
        read_all(fd);
    }
    if (below(4))
        linger(fd);
    close(fd);
}

static void storm_tcp(void)
{
    long left = arg.tcp, checked = left;

    while (left > 0) {
        storm_connection(&left);
        if (checked - left < CHECK_EVERY)
            continue;
        checked = left;
        check_tcp();
    }
    check_tcp();
}

static void read_args(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'}, {"udp", 1, NULL, 'u'},  {"tcp", 1, NULL, 't'},
        {"seed", 1, NULL, 's'}, {"host", 1, NULL, 'h'}, {NULL, 0, NULL, 0}};
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'p')
            arg.port = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'u')
            arg.udp = strtol(optarg, NULL, 10);
        else if (c == 't')
            arg.tcp = strtol(optarg, NULL, 10);
        else if (c == 's')
            arg.seed = strtoull(optarg, NULL, 10);
        else if (c == 'h')
            arg.host = optarg;
        else
            exit(2);
    }
    if (!arg.port || optind != argc) {
        fprintf(stderr, "coap_storm --port P [--udp N] [--tcp N] [--seed N]\n");
        exit(2);
    }
    /* The generator has no way out of 0. */
    arg.seed = (arg.seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

int main(int argc, char **argv)
{
    int64_t start_us;

    signal(SIGPIPE, SIG_IGN);
    read_args(argc, argv);
    start_us = mp_now_us();
    if (arg.udp)
        storm_udp();
    if (arg.tcp)
        storm_tcp();
    printf("{\"sent\":%ld,\"received\":%ld,\"checks\":%ld,"
           "\"connections\":%ld,\"seconds\":%.1f}\n",
           did.sent, did.received, did.checks, did.connections,
           (double)(mp_now_us() - start_us) / MP_SECOND);
    return 0;
}
