/*
 * broker.c - the scripted broker: sockets, a small MQTT codec, a log.
 */
#include "tests/unit/broker.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_MAX = 1 << 22 };

/* ---- reading bytes ---- */

struct bytes {
    const uint8_t *at, *end;
};

static unsigned get_u8(struct bytes *b)
{
    return b->at < b->end ? *b->at++ : 0;
}

static unsigned get_u16(struct bytes *b)
{
    unsigned high = get_u8(b);

    return high << 8 | get_u8(b);
}

static uint32_t get_u32(struct bytes *b)
{
    uint32_t high = get_u16(b);

    return high << 16 | get_u16(b);
}

static uint32_t get_varint(struct bytes *b)
{
    uint32_t n = 0, byte;
    unsigned shift = 0;

    do {
        byte = get_u8(b);
        n |= (byte & 127) << shift;
        shift += 7;
    } while (byte & 128 && shift < 28);
    return n;
}

static void get_text(struct bytes *b, char *text, size_t size)
{
    size_t len = get_u16(b);

    if (len > (size_t)(b->end - b->at))
        len = (size_t)(b->end - b->at);
    if (text) {
        size_t n = len < size - 1 ? len : size - 1;

        memcpy(text, b->at, n);
        text[n] = '\0';
    }
    b->at += len;
}

/* Note what tests ask for, skip the rest. */
static void get_props(struct bytes *b, struct broker_client *c,
                      struct broker_packet *p)
{
    uint32_t len = get_varint(b);
    struct bytes in = {b->at, b->at + len};

    b->at += len;
    while (in.at < in.end) {
        char name[16];

        switch (get_u8(&in)) {
        case 1:
        case 23:
        case 25:
            get_u8(&in);
            break;
        case 2:
            get_u32(&in);
            break;
        case 11:
            p->sub_id = get_varint(&in);
            break;
        case 17:
            c->session_expiry = get_u32(&in);
            break;
        case 33:
            c->receive_max = (uint16_t)get_u16(&in);
            break;
        case 39:
            c->packet_max = get_u32(&in);
            break;
        case 38:
            get_text(&in, name, sizeof name);
            if (strcmp(name, "id") == 0)
                get_text(&in, p->user_id, sizeof p->user_id);
            else
                get_text(&in, NULL, 0);
            break;
        default: /* 3, 8, 9, 31: a string */
            get_text(&in, NULL, 0);
        }
    }
}

/* ---- writing ---- */

void broker_raw(struct broker *b, int client, const void *bytes, size_t len)
{
    int fd = b->clients[client].fd;
    const char *at = bytes;

    while (len && fd >= 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN) {
            usleep(1000);
            continue;
        }
        if (n < 0)
            return;
        at += n;
        len -= (size_t)n;
    }
}

static void answer(struct broker *b, int client, uint8_t first,
                   const uint8_t *body, size_t len)
{
    uint8_t packet[64];

    assert(len < sizeof packet - 2);
    packet[0] = first;
    packet[1] = (uint8_t)len;
    memcpy(packet + 2, body, len);
    broker_raw(b, client, packet, len + 2);
}

static size_t put_varint(uint8_t *at, size_t n)
{
    size_t len = 0;

    do {
        at[len] = (uint8_t)(n & 127);
        n >>= 7;
        if (n)
            at[len] |= 128;
        len++;
    } while (n);
    return len;
}

void broker_publish(struct broker *b, int client,
                    const struct broker_message *msg)
{
    bool v5 = b->clients[client].version == 5;
    size_t topic = strlen(msg->topic);
    size_t payload = msg->payload ? strlen(msg->payload) : 0;
    uint8_t props[512], head[5], sub[8];
    size_t n_sub = 0, n_props = 0, len, n;
    uint8_t *body = malloc(topic + payload + 600), *at = body;

    if (v5 && msg->sub_id) {
        sub[n_sub++] = 11;
        n_sub += put_varint(sub + n_sub, msg->sub_id);
    }
    if (v5) {
        n_props = put_varint(props, n_sub + msg->n_props);
        memcpy(props + n_props, sub, n_sub);
        n_props += n_sub;
        if (msg->n_props)
            memcpy(props + n_props, msg->props, msg->n_props);
        n_props += msg->n_props;
    }
    *at++ = (uint8_t)(topic >> 8);
    *at++ = (uint8_t)topic;
    memcpy(at, msg->topic, topic);
    at += topic;
    if (msg->qos) {
        *at++ = (uint8_t)(msg->id >> 8);
        *at++ = (uint8_t)msg->id;
    }
    memcpy(at, props, n_props);
    at += n_props;
    if (payload)
        memcpy(at, msg->payload, payload);
    at += payload;
    len = (size_t)(at - body);
    head[0] =
        (uint8_t)(B_PUBLISH << 4 | msg->dup << 3 | msg->qos << 1 | msg->retain);
    n = 1 + put_varint(head + 1, len);
    broker_raw(b, client, head, n);
    broker_raw(b, client, body, len);
    free(body);
}

void broker_disconnect(struct broker *b, int client, uint8_t reason)
{
    answer(b, client, B_DISCONNECT << 4, &reason, 1);
    broker_drop(b, client);
}

void broker_drop(struct broker *b, int client)
{
    if (b->clients[client].fd >= 0)
        close(b->clients[client].fd);
    b->clients[client].fd = -1;
}

/* ---- what it does by itself ---- */

static void take_connect(struct broker *b, int client, struct bytes *in,
                         struct broker_packet *p)
{
    struct broker_client *c = &b->clients[client];
    uint8_t body[8] = {0}, flags;
    size_t n = 2;

    get_text(in, NULL, 0);
    c->version = (int)get_u8(in);
    flags = (uint8_t)get_u8(in);
    c->clean = flags & 2;
    get_u16(in);
    if (c->version == 5)
        get_props(in, c, p);
    get_text(in, c->id, sizeof c->id);
    if (c->version == 5 && b->shut_v5) {
        broker_drop(b, client);
        return;
    }
    body[0] = b->session_present && !c->clean;
    body[1] = (uint8_t)b->connack;
    if (c->version == 5 && b->only_311)
        body[1] = 132;
    if (body[1])
        body[0] = 0;
    if (c->version == 5) {
        body[n++] = b->no_identifiers ? 2 : 0;
        if (b->no_identifiers) {
            body[n++] = 41;
            body[n++] = 0;
        }
    }
    answer(b, client, B_CONNACK << 4, body, n);
    if (body[1])
        broker_drop(b, client);
}

static void take_subscribe(struct broker *b, int client, struct bytes *in,
                           struct broker_packet *p)
{
    bool v5 = b->clients[client].version == 5;
    bool sub = p->type == B_SUBSCRIBE;
    uint8_t body[8], reason = 0;
    size_t n = 2;

    p->id = (uint16_t)get_u16(in);
    if (v5)
        get_props(in, &b->clients[client], p);
    get_text(in, p->topic, sizeof p->topic);
    if (sub) {
        p->options = (uint8_t)get_u8(in);
        reason = b->suback ? b->suback : p->options & 3;
    }
    body[0] = (uint8_t)(p->id >> 8);
    body[1] = (uint8_t)p->id;
    if (v5)
        body[n++] = 0;
    if (sub || v5)
        body[n++] = reason;
    if (!b->no_suback)
        answer(b, client, (uint8_t)((p->type + 1) << 4), body, n);
}

static void take_publish(struct broker *b, int client, struct bytes *in,
                         struct broker_packet *p)
{
    bool v5 = b->clients[client].version == 5;
    uint8_t body[3];

    get_text(in, p->topic, sizeof p->topic);
    if (p->flags & 6)
        p->id = (uint16_t)get_u16(in);
    if (v5)
        get_props(in, &b->clients[client], p);
    p->payload = in->at;
    p->payload_len = (size_t)(in->end - in->at);
    if (!(p->flags & 6) || b->no_puback)
        return;
    body[0] = (uint8_t)(p->id >> 8);
    body[1] = (uint8_t)p->id;
    body[2] = b->puback;
    answer(b, client, B_PUBACK << 4, body, v5 && b->puback ? 3 : 2);
}

static void take(struct broker *b, int client, uint8_t first,
                 const uint8_t *body, size_t len)
{
    struct broker_packet *p;
    struct bytes in;

    b->packets = realloc(b->packets, (b->n_packets + 1) * sizeof(*b->packets));
    p = &b->packets[b->n_packets++];
    *p = (struct broker_packet){
        .client = client, .type = first >> 4, .flags = first & 15};
    p->body = malloc(len + 1);
    memcpy(p->body, body, len);
    p->len = len;
    in = (struct bytes){p->body, p->body + len};
    switch (p->type) {
    case B_CONNECT:
        take_connect(b, client, &in, p);
        break;
    case B_PUBLISH:
        take_publish(b, client, &in, p);
        break;
    case B_PUBACK:
        p->id = (uint16_t)get_u16(&in);
        break;
    case B_SUBSCRIBE:
    case B_UNSUBSCRIBE:
        take_subscribe(b, client, &in, p);
        break;
    case B_PINGREQ:
        if (!b->no_pingresp)
            answer(b, client, B_PINGRESP << 4, body, 0);
        break;
    default:
        break;
    }
}

/* Length of the first whole packet, or 0. */
static size_t packet_len(const struct broker_client *c, size_t *head)
{
    struct bytes in = {c->in + 1, c->in + c->in_len};
    size_t len;

    if (c->in_len < 2)
        return 0;
    len = get_varint(&in);
    if (in.at[-1] & 128)
        return 0;
    *head = (size_t)(in.at - c->in);
    return *head + len <= c->in_len ? *head + len : 0;
}

static void client_read(struct broker *b, int client)
{
    struct broker_client *c = &b->clients[client];
    ssize_t n;
    size_t len, head = 0;

    if (c->fd < 0 || c->deaf)
        return;
    n = recv(c->fd, c->in + c->in_len, IN_MAX - c->in_len, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        broker_drop(b, client);
        return;
    }
    if (n > 0)
        c->in_len += (size_t)n;
    while ((len = packet_len(c, &head))) {
        take(b, client, c->in[0], c->in + head, len - head);
        memmove(c->in, c->in + len, c->in_len - len);
        c->in_len -= len;
        if (c->fd < 0)
            return;
    }
}

void broker_pump(struct broker *b)
{
    int fd;

    while ((fd = accept4(b->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >=
           0) {
        struct broker_client *c = &b->clients[b->n_clients];

        assert(b->n_clients < 64);
        *c = (struct broker_client){.fd = fd, .in = malloc(IN_MAX)};
        b->n_clients++;
    }
    for (int i = 0; i < b->n_clients; i++)
        client_read(b, i);
}

/* ---- open, close, ask ---- */

void broker_open(struct broker *b, int rcvbuf)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof addr;

    memset(b, 0, sizeof *b);
    b->rcvbuf = rcvbuf;
    b->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* Inherited by what is accepted; later would be too late. */
    if (rcvbuf)
        setsockopt(b->fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    if (b->fd < 0 || bind(b->fd, (struct sockaddr *)&addr, sizeof addr) ||
        listen(b->fd, 16) || getsockname(b->fd, (struct sockaddr *)&addr, &len))
        abort();
    b->port = ntohs(addr.sin_port);
}

void broker_close(struct broker *b)
{
    for (int i = 0; i < b->n_clients; i++) {
        broker_drop(b, i);
        free(b->clients[i].in);
    }
    for (size_t i = 0; i < b->n_packets; i++)
        free(b->packets[i].body);
    free(b->packets);
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
}

int broker_find(const struct broker *b, const char *client_id)
{
    for (int i = b->n_clients - 1; i >= 0; i--)
        if (b->clients[i].fd >= 0 && strcmp(b->clients[i].id, client_id) == 0)
            return i;
    return -1;
}

const struct broker_packet *broker_got(const struct broker *b, int client,
                                       enum broker_type t, unsigned nth)
{
    for (size_t i = 0; i < b->n_packets; i++)
        if (b->packets[i].type == t &&
            (client < 0 || b->packets[i].client == client) && nth-- == 0)
            return &b->packets[i];
    return NULL;
}

unsigned broker_count(const struct broker *b, int client, enum broker_type t)
{
    unsigned n = 0;

    for (size_t i = 0; i < b->n_packets; i++)
        n += b->packets[i].type == t &&
             (client < 0 || b->packets[i].client == client);
    return n;
}
