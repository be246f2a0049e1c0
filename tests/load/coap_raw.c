/*
 * coap_raw.c - sends datagrams as they are given, and tells what comes back.
 *
 *   coap_raw --port P [--from PORT] [--ms 1000] [--want 1] HEX...
 *
 * For what no library does: the same message twice, from the same port after
 * a restart of the host, with nobody who acknowledges.  It ends when so many
 * messages came back, or after so many milliseconds.  A line each:
 *
 *   ACK 2.04 1a2b 12=00 14=3c payload
 *
 * type, code, message id, options (number and value in hex), and the payload
 * with what isn't printable as '.'.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"

enum { MESSAGE_MAX = 1500, HEADER = 4 };

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "coap_raw: %s\n", what);
    exit(1);
}

static size_t from_hex(const char *hex, uint8_t out[MESSAGE_MAX])
{
    size_t len = strlen(hex) / 2;
    unsigned byte;

    if (len > MESSAGE_MAX || strlen(hex) % 2)
        give_up("a message is pairs of hex digits");
    for (size_t i = 0; i < len; i++) {
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
            give_up("a message is pairs of hex digits");
        out[i] = (uint8_t)byte;
    }
    return len;
}

/* The number in a nibble and what follows it; false: it is cut off. */
static int extend(unsigned nibble, const uint8_t **at, const uint8_t *end,
                  unsigned *value)
{
    unsigned more = nibble < 13 ? 0 : nibble - 12;

    if (nibble == 15 || end - *at < (long)more)
        return 0;
    *value = more == 0   ? nibble
             : more == 1 ? 13U + (*at)[0]
                         : 269U + ((unsigned)(*at)[0] << 8 | (*at)[1]);
    *at += more;
    return 1;
}

static void print(const uint8_t *m, size_t len)
{
    static const char *const types[] = {"CON", "NON", "ACK", "RST"};
    const uint8_t *at = m + HEADER + (m[0] & 15), *end = m + len;
    unsigned number = 0, delta, size;

    printf("%s %d.%02d %02x%02x", types[m[0] >> 4 & 3], m[1] >> 5, m[1] & 31,
           m[2], m[3]);
    while (at < end && *at != 0xff) {
        unsigned head = *at++;

        if (!extend(head >> 4, &at, end, &delta) ||
            !extend(head & 15, &at, end, &size) || end - at < (long)size)
            give_up("an option is cut off");
        number += delta;
        printf(" %u=", number);
        for (; size; size--)
            printf("%02x", *at++);
    }
    if (at < end)
        putchar(' ');
    while (++at < end)
        putchar(*at < 0x20 || *at > 0x7e ? '.' : *at);
    putchar('\n');
}

static int client(unsigned port, unsigned from)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)from),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || (from && bind(fd, (struct sockaddr *)&at, sizeof at)))
        give_up(strerror(errno));
    at.sin_port = htons((uint16_t)port);
    if (connect(fd, (struct sockaddr *)&at, sizeof at))
        give_up(strerror(errno));
    return fd;
}

static void listen_for(int fd, long want, int64_t end_us)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint8_t m[MESSAGE_MAX];

    while (want > 0) {
        int64_t left_us = end_us - mp_now_us();
        ssize_t len;

        if (left_us <= 0 || poll(&p, 1, (int)(left_us / MP_MS) + 1) <= 0)
            return;
        len = recv(fd, m, sizeof m, 0);
        if (len < HEADER)
            give_up(len < 0 ? strerror(errno) : "that is no message of CoAP");
        print(m, (size_t)len);
        want--;
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", 1, NULL, 'p'},
                                            {"from", 1, NULL, 'f'},
                                            {"ms", 1, NULL, 'm'},
                                            {"want", 1, NULL, 'w'},
                                            {NULL, 0, NULL, 0}};
    unsigned port = 0, from = 0;
    long ms = 1000, want = 1;
    uint8_t m[MESSAGE_MAX];
    int c, fd;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'p')
            port = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'f')
            from = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'm')
            ms = strtol(optarg, NULL, 10);
        else if (c == 'w')
            want = strtol(optarg, NULL, 10);
        else
            return 2;
    }
    if (!port || optind == argc) {
        fprintf(stderr, "usage: coap_raw --port P [--from PORT] HEX...\n");
        return 2;
    }
    fd = client(port, from);
    for (; optind < argc; optind++)
        if (send(fd, m, from_hex(argv[optind], m), 0) < 0)
            give_up(strerror(errno));
    listen_for(fd, want, mp_now_us() + ms * MP_MS);
    return 0;
}
