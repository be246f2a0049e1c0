/*
 * promise.c - reads just as much MQTT 5 as it needs: PUBLISH and PUBACK, in
 * both directions.
 */
#include "tests/powercut/promise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/why.h"

enum { FDS = 1024, PUBLISH = 3, PUBACK = 4 };

/* One direction of one connection: bytes of a packet that is not whole. */
struct stream {
    unsigned char *ptr;
    size_t len, cap;
};

/* What a packet id stands for on a connection. */
struct meaning {
    uint8_t kind, device;
    uint16_t n; /* 0: nothing of ours */
};

static struct {
    struct stream out, in;
    struct meaning *came, *went; /* by packet id */
} conns[FDS];

static const char *const topics[] = {"out", "sent", "rang", "echo", "in"};
enum { IN = LOAD_KINDS };

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "powercut: the log holds %s\n", what);
    exit(2);
}

static uint32_t be16(const unsigned char *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

/* A variable byte integer; its size, 0: not all of it is there. */
static size_t varint(const unsigned char *at, size_t len, uint32_t *n)
{
    *n = 0;
    for (size_t i = 0; i < len && i < 4; i++) {
        *n |= (uint32_t)(at[i] & 0x7f) << (7 * i);
        if (!(at[i] & 0x80))
            return i + 1;
    }
    return 0;
}

/* ---- packets ---- */

struct publish {
    struct meaning is;
    uint32_t k, id;
};

static bool read_publish(const unsigned char *at, size_t len, unsigned qos,
                         struct publish *p)
{
    char topic[64], text[32], kind[8];
    uint32_t props;
    unsigned device, n = 0, k = 0;
    size_t skip = 2 + be16(at);

    snprintf(topic, sizeof topic, "%.*s", (int)be16(at), (const char *)at + 2);
    p->id = qos ? be16(at + skip) : 0;
    skip += qos ? 2 : 0;
    skip += varint(at + skip, len - skip, &props) + props;
    if (skip > len)
        die("a strange PUBLISH");
    snprintf(text, sizeof text, "%.*s", (int)(len - skip),
             (const char *)at + skip);
    if (sscanf(topic, "%7[a-z]/d%u", kind, &device) != 2 ||
        device >= PROMISE_DEVICES || sscanf(text, "%u %u", &n, &k) < 1 ||
        n >= PROMISE_EVENTS)
        return false; /* not one of the load's */
    for (unsigned i = 0; i <= IN; i++)
        if (strcmp(kind, topics[i]) == 0) {
            p->is = (struct meaning){(uint8_t)i, (uint8_t)device, (uint16_t)n};
            return true;
        }
    return false;
}

static void sent_packet(struct promise *p, int fd, unsigned char head,
                        const unsigned char *at, size_t len)
{
    struct publish pub;
    struct meaning *m;

    if (head >> 4 == PUBLISH && read_publish(at, len, (head >> 1) & 3, &pub)) {
        conns[fd].went[pub.id] = pub.is;
        if (pub.is.kind != IN)
            p->left[pub.is.kind][pub.is.device][pub.is.n] = true;
    } else if (head >> 4 == PUBACK) {
        m = &conns[fd].came[be16(at)];
        if (m->n && !p->acked[m->device][m->n]) {
            p->acked[m->device][m->n] = true;
            p->acks++;
        }
    }
}

static void came_packet(struct promise *p, int fd, unsigned char head,
                        const unsigned char *at, size_t len)
{
    struct publish pub;
    struct meaning *m;

    if (head >> 4 == PUBLISH && read_publish(at, len, (head >> 1) & 3, &pub) &&
        pub.is.kind == IN) {
        conns[fd].came[pub.id] = pub.is;
        p->packet[pub.is.device][pub.is.n] = (uint16_t)pub.id;
        if (pub.is.n > p->received[pub.is.device])
            p->received[pub.is.device] = pub.is.n;
    } else if (head >> 4 == PUBACK) {
        m = &conns[fd].went[be16(at)];
        if (m->n && m->kind != IN && !p->confirmed[m->kind][m->device][m->n]) {
            p->confirmed[m->kind][m->device][m->n] = true;
            p->confirmations++;
        }
    }
}

/* ---- streams ---- */

static void append(struct stream *s, const unsigned char *at, size_t len)
{
    if (s->len + len > s->cap) {
        s->cap = (s->len + len) * 2;
        s->ptr = mp_realloc(s->ptr, s->cap);
    }
    memcpy(s->ptr + s->len, at, len);
    s->len += len;
}

static void packets(struct promise *p, int fd, struct stream *s,
                    void (*packet)(struct promise *, int, unsigned char,
                                   const unsigned char *, size_t))
{
    size_t from = 0;

    while (s->len - from >= 2) {
        uint32_t len;
        size_t head = varint(s->ptr + from + 1, s->len - from - 1, &len);

        if (!head || s->len - from - 1 - head < len)
            break;
        if (len >= 2)
            packet(p, fd, s->ptr[from], s->ptr + from + 1 + head, len);
        from += 1 + head + len;
    }
    memmove(s->ptr, s->ptr + from, s->len - from);
    s->len -= from;
}

static void connected(int fd)
{
    size_t size = (1 << 16) * sizeof(struct meaning);

    conns[fd].out.len = conns[fd].in.len = 0;
    free(conns[fd].came);
    free(conns[fd].went);
    conns[fd].came = mp_zalloc(size);
    conns[fd].went = mp_zalloc(size);
}

void promise_do(struct promise *p, const struct disk_rec *r, bool text)
{
    int fd = (int)r->head.file;
    bool sent = r->head.type == REC_SEND;

    if (r->head.type == REC_CONNECT)
        connected(fd);
    if (!sent && r->head.type != REC_RECEIVE)
        return;
    if (text) {
        p->lines = (uint32_t)atoi((const char *)r->bytes);
        return;
    }
    if (!conns[fd].came)
        die("bytes of no connection");
    append(sent ? &conns[fd].out : &conns[fd].in, r->bytes, r->head.len);
    packets(p, fd, sent ? &conns[fd].out : &conns[fd].in,
            sent ? sent_packet : came_packet);
}
