/*
 * coap_impl.h - what the files of this transport are to each other.
 *
 *   coap.c           the transport, as the host sees it
 *   coap_listen.c    addresses
 *   coap_secure.c    DTLS: keys, certificates, who a peer is
 *   coap_server.c    libcoap and the loop; peers
 *   coap_request.c   one request: what is asked, who answers it
 *   coap_flight.c    its input, and what becomes of it
 *   coap_exchange.c  repeats
 *   coap_block.c     bodies in blocks, both ways
 *   coap_observe.c   observers
 *   coap_links.c     /.well-known/core
 *   coap_reply.c     what is sent back
 *   coap_format.c    numbers of media types
 *
 *   datagram ─► repeat? ─► who answers ─► block 1 ─► input ─► answer ─► reply
 *
 * Of libcoap we use the message layer: sessions, DTLS, TCP, parsing and the
 * retransmission of what we confirmably send.  Its resources would mix up
 * paths (one handler takes them all), its block code has faults: both are
 * ours.
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_COAP_IMPL_H
#define MP_COAP_IMPL_H

#include <netinet/in.h>

#include <coap3/coap.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/endpoint.h"

enum {
    COAP_RECEIVE_BUFFER = 1 << 20,
    COAP_TURN = 16,          /* datagrams in one turn of the loop */
    COAP_AT_ONCE = 8,        /* of them in one step of libcoap */
    COAP_LISTEN_AGAIN_S = 5, /* until an address is tried again */
    COAP_TICK_MS = 1000,

    /* A response later than this comes by itself. */
    COAP_ACK_MS = 50,
    COAP_ACK_TICK_MS = 10,

    /* Inputs that the host has: for each session of [coap] sessions, and of
     * one peer. */
    COAP_FLIGHTS_EACH = 4,
    COAP_FLIGHTS_PEER = 64,

    /* What is remembered of exchanges; the oldest go first. */
    COAP_EXCHANGES_MAX = 16384,
    COAP_EXCHANGES_BYTES = 2 << 20,
    COAP_LIFETIME_S = 247, /* EXCHANGE_LIFETIME, RFC 7252, 4.8.2 */

    /* Bodies that are sent in blocks. */
    COAP_BODIES_MAX = 64,
    COAP_BODIES_BYTES = 4 << 20,
    /* Bodies that come in blocks. */
    COAP_UPLOADS_MAX = 8,
    COAP_UPLOAD_BYTES = 64 << 10,
    COAP_BLOCKS_S = 30,
    COAP_SZX_MAX = 6, /* 1,024 bytes a block */

    /* An address that hasn't proven to be one is sent at most so many times
     * the bytes it sent; less than the floor is worth no attack. */
    COAP_UNPROVEN_TIMES = 3,
    COAP_UNPROVEN_FLOOR = 64,
    COAP_ECHO_BYTES = 8,

    /* Confirmable responses to one peer that may be without an
     * acknowledgement, within MAX_TRANSMIT_WAIT (93 s).  More aren't
     * confirmable, so that who never acknowledges costs no memory. */
    COAP_CONFIRMABLE_MAX = 64,
    COAP_CONFIRMABLE_S = 93,

    /* Connections: libcoap makes room for 8 MB when it reads the length of a
     * message. */
    COAP_TCP_MAX = 32,
    /* A peer that doesn't read its responses is dropped. */
    COAP_TCP_UNREAD = 256 << 10,

    /* A notification is confirmable that often, to find the dead. */
    COAP_OBSERVE_CON_S = 20,

    COAP_DETAIL_MAX = 256, /* a sentence of an error */
    COAP_RETRY_S = 1,      /* Max-Age where nobody knows better */
    COAP_DRAIN_S = 3,      /* waits for acknowledgements at the end */
    COAP_HEX = 32,         /* digits of an id or an exchange */
    COAP_TOKEN_MAX = 8,
    COAP_PSK_MAX = 64, /* bytes of a key */
    COAP_WHO_MAX = 80, /* of a peer's address or identity, in the log */
    COAP_SHAKE_S = 10, /* a handshake that takes longer has failed */
};

#define COAP_CODE(c, dd) ((uint8_t)((c) << 5 | (dd)))
#define COAP_NO_FORMAT (-1)

struct coap_exchange;

/* A listening socket's poll handle; closing it outlives the context. */
struct coap_door {
    uv_poll_t poll;
    struct coap *coap;
};

struct coap_listener {
    const char *text; /* as configured */
    coap_endpoint_t *endpoint;
    bool bad;  /* is no address: trying again is no use */
    bool told; /* that it can't be opened */
};

struct coap_psk {
    char *identity;
    uint8_t bytes[COAP_PSK_MAX];
    coap_bin_const_t key;
};

/* A table by 64 bits, in order of age. */
struct coap_exchanges {
    struct coap_exchange **buckets;
    struct mp_link all; /* oldest first */
    unsigned n;
    size_t bytes;
};

struct coap {
    struct mp_host *host;
    uv_loop_t *loop;
    const struct mp_config *config;
    coap_context_t *context; /* NULL: it doesn't listen */
    struct coap_door *door;
    uv_timer_t tick;      /* each second, while it listens */
    uv_timer_t soon;      /* while acknowledgements are held back */
    void *datagrams;      /* libcoap's name of a UDP socket; NULL: not known */
    uint64_t n_datagrams; /* requests in them */
    unsigned handles;
    bool ticking;
    struct coap_listener *listeners;
    unsigned n_listeners;
    struct coap_psk *psks;
    unsigned n_psks;
    int64_t again_us; /* when addresses are tried again; 0: all are open */
    const struct mp_endpoint *endpoints;
    unsigned n_endpoints;
    struct mp_link peers, flights, waiting; /* waiting: for their ACK */
    struct mp_link observers, bodies, uploads;
    struct mp_link *next_observer; /* of who walks them (coap_observe.c) */
    unsigned n_connections, n_flights, n_observers, n_bodies, n_uploads;
    size_t bodies_bytes;
    struct coap_exchanges exchanges;
    struct mp_hash_key key; /* of tables and echoes; nobody outside has it */
    uint32_t sequence;      /* of notifications */
    int64_t drain_us;
    /* Handshakes that failed, not yet said; and the last one. */
    unsigned n_refused;
    char refused_by[COAP_WHO_MAX];
    const char *refused_why;
    /* The identity that has no key, of the handshake in work; then of the last
     * one that failed. */
    bool is_unknown;
    char unknown[COAP_WHO_MAX], refused_name[COAP_WHO_MAX];
    bool condemned; /* a peer is */
    bool paused, away, draining;
    void (*finished)(void *arg);
    void *arg;
};

/* ---- libcoap and the loop (coap_server.c) ---- */

/* What we know of a session. */
struct coap_peer {
    struct mp_link link;
    struct coap *coap;
    coap_session_t *session;
    struct mp_hash id; /* of its address; of a secure one, of the session */
    char address[INET6_ADDRSTRLEN];
    char source[sizeof "coap://[]:65535" + INET6_ADDRSTRLEN];
    unsigned port;
    bool reliable, loopback, secure;
    bool proven;    /* it is where it says */
    bool condemned; /* to be dropped when libcoap is not at work */
    char *name;     /* of its certificate; NULL: none */
    int fd;         /* of a connection; -1: unknown */
    unsigned n_flights, n_confirmable;
    int64_t confirmable_us; /* since when they are counted */
    int64_t shake_us;       /* since when it shakes hands; 0: it does not */
};

MP_MUST int mp_coap_server_open(struct coap *c, struct mp_why *why);
void mp_coap_server_close(struct coap *c);
void mp_coap_handle_closed(struct coap *c);
struct coap_peer *mp_coap_peer(struct coap *c, coap_session_t *session);
void mp_coap_condemn(struct coap_peer *p);
/* Something waits for the timer of acknowledgements. */
void mp_coap_soon(struct coap *c);

/* ---- addresses (coap_listen.c) ---- */

void mp_coap_listen_init(struct coap *c);
void mp_coap_listen_fini(struct coap *c);
void mp_coap_listen(struct coap *c);
void mp_coap_unlisten(struct coap *c);
void mp_coap_listen_tick(struct coap *c, int64_t now_us);
/* The descriptor with this address at the given end; -1: none. */
int mp_coap_find_fd(const struct sockaddr *address, socklen_t len, int type,
                    bool far);

/* ---- DTLS (coap_secure.c) ---- */

MP_MUST int mp_coap_secure_read(struct coap *c, struct mp_why *why);
MP_MUST int mp_coap_secure_context(struct coap *c, struct mp_why *why);
void mp_coap_secure_fini(struct coap *c);
/* A handshake begins, has ended, or (where it has not) has failed. */
void mp_coap_secure_begin(struct coap_peer *p);
void mp_coap_secure_done(struct coap_peer *p);
void mp_coap_secure_failed(struct coap_peer *p);
/* Each second: who has failed is said. */
void mp_coap_secure_tick(struct coap *c, int64_t now_us);
/* Who it is; ptr NULL: nobody knows. */
struct mp_slice mp_coap_identity(const struct coap_peer *p);

/* ---- what is sent back (coap_reply.c) ---- */

struct coap_block {
    bool is; /* there is one */
    uint32_t num;
    bool more;
    unsigned szx;
};

/* Whom a response goes to. */
struct coap_to {
    struct coap_peer *peer;
    coap_pdu_type_t type; /* of the request */
    coap_mid_t mid;
    uint8_t token[COAP_TOKEN_MAX];
    size_t token_len;
    uint8_t code;   /* of the request */
    uint8_t silent; /* classes that it doesn't want to hear (RFC 7967) */
    bool acked;     /* an empty acknowledgement left */
    size_t bytes;   /* of the request */
    struct coap_block block1, block2;
    uint64_t place; /* hash of method, path and query */
};

struct coap_reply {
    uint8_t code;
    int format;
    struct mp_slice data;
    int64_t max_age, observe, size1, size2, etag; /* -1: not said */
    struct mp_slice location;                     /* of /results/ */
    struct coap_block block1, block2;
    bool echo;
};

struct coap_reply mp_coap_reply(uint8_t code);
/* An error with a sentence, that is borrowed. */
struct coap_reply mp_coap_problem(uint8_t code, const char *sentence);
struct coap_reply mp_coap_busy(uint8_t code, const char *sentence,
                               uint32_t retry_s);
/* Of an answer of the host to a request; borrows from it. */
struct coap_reply mp_coap_reply_of(const struct mp_answer *a, uint8_t request);
/* Cut r to a first block where it is too long, and send it.  x (may be NULL)
 * keeps it for repeats. */
void mp_coap_respond(struct coap *c, const struct coap_to *to,
                     struct coap_reply *r, struct coap_exchange *x);
/* The block of r's data that begins at offset, as large as may be. */
void mp_coap_respond_block(struct coap *c, const struct coap_to *to,
                           struct coap_reply *r, size_t offset);
/* To a first block, where it is too long. */
void mp_coap_cut(struct coap *c, const struct coap_to *to,
                 struct coap_reply *r);
/* As it is; neither cut nor counted. */
void mp_coap_send(struct coap *c, const struct coap_to *to,
                  const struct coap_reply *r, coap_pdu_type_t type,
                  coap_mid_t mid);
void mp_coap_send_ack(struct coap *c, struct coap_to *to);
void mp_coap_echo(const struct coap_peer *p, int64_t now_us,
                  uint8_t out[COAP_ECHO_BYTES]);

/* ---- one request (coap_request.c) ---- */

struct coap_request {
    struct coap_to to;
    enum mp_method method;
    char path_text[MP_TOPIC_MAX + 1];
    struct mp_slice path; /* with its leading '/' */
    struct mp_pair query[MP_PAIRS_MAX];
    uint32_t n_query;
    struct mp_slice data, echo;
    int format, accept;
    int64_t observe, size1; /* -1: not given */
    uint64_t print;         /* hash of all that a repeat has, too */
};

void mp_coap_request(coap_resource_t *resource, coap_session_t *session,
                     const coap_pdu_t *pdu, const coap_string_t *query,
                     coap_pdu_t *response);
/* May this peer ask that?  Else *r is what it is told. */
bool mp_coap_may_ask(const struct coap_peer *p, const struct mp_endpoint *e,
                     struct coap_reply *r);

/* ---- its input (coap_flight.c) ---- */

struct coap_observer;

struct coap_flight {
    struct mp_link link, wait; /* wait: for its empty ACK */
    struct coap *coap;         /* NULL: closed */
    struct coap_to to;
    int64_t ack_us;
    struct coap_exchange *exchange; /* NULL: forgotten */
    struct coap_observer *observer; /* NULL: none */
    bool answered, async, begun;
};

void mp_coap_fly(struct coap *c, const struct coap_request *q,
                 const struct mp_endpoint *e, struct coap_exchange *x);
void mp_coap_acks(struct coap *c, int64_t now_us);
/* The transport closes: its callbacks may come later, or never. */
void mp_coap_flights_orphan(struct coap *c);

/* ---- repeats (coap_exchange.c) ---- */

struct coap_exchange {
    struct coap_exchange *next; /* of its bucket */
    struct mp_link link;
    uint64_t name;  /* of peer and message id */
    uint64_t print; /* of what was asked */
    int64_t until_us;
    struct coap_flight *flight; /* NULL: not in work */
    struct coap_reply reply;    /* code 0: none yet */
    char *bytes;                /* what reply borrows */
    size_t n_bytes;
};

void mp_coap_exchanges_init(struct coap *c);
void mp_coap_exchanges_fini(struct coap *c);
/* Before its data becomes the whole body. */
uint64_t mp_coap_exchange_print(const struct coap *c,
                                const struct coap_request *q);
/* NULL: it is no repeat. */
struct coap_exchange *mp_coap_exchange_find(struct coap *c,
                                            const struct coap_request *q,
                                            int64_t now_us);
struct coap_exchange *mp_coap_exchange_new(struct coap *c,
                                           const struct coap_request *q,
                                           int64_t now_us);
void mp_coap_exchange_keep(struct coap *c, struct coap_exchange *x,
                           const struct coap_reply *r);
void mp_coap_exchange_forget(struct coap *c, struct coap_exchange *x);
void mp_coap_exchange_repeat(struct coap *c, struct coap_exchange *x,
                             struct coap_request *q);
void mp_coap_exchanges_tick(struct coap *c, int64_t now_us);

/* ---- blocks (coap_block.c) ---- */

/* Keep a body of which the first block is sent. */
void mp_coap_body_put(struct coap *c, const struct coap_to *to,
                      struct coap_reply *r);
/* A later block; false: it is answered with an error in *r. */
bool mp_coap_body_get(struct coap *c, const struct coap_request *q,
                      struct coap_reply *r, size_t *offset);

struct coap_upload;

/* Take a block of q.  True: q->data is the whole body; call upload_done when
 * it isn't needed any more.  False: *r is the response. */
bool mp_coap_upload(struct coap *c, struct coap_request *q,
                    const struct mp_endpoint *e, struct coap_reply *r,
                    struct coap_upload **whole);
void mp_coap_upload_done(struct coap *c, struct coap_upload *u);
void mp_coap_blocks_tick(struct coap *c, int64_t now_us);
void mp_coap_blocks_fini(struct coap *c);

/* ---- observers (coap_observe.c) ---- */

/* NULL: there are too many. */
struct coap_observer *mp_coap_observe(struct coap *c,
                                      const struct coap_request *q);
void mp_coap_unobserve(struct coap *c, const struct coap_to *to);
/* Its first answer is to be sent: r gets its number, or o goes. */
bool mp_coap_observer_answer(struct coap *c, struct coap_observer *o,
                             struct coap_reply *r);
/* That was sent: what came meanwhile follows. */
void mp_coap_observer_answered(struct coap *c, struct coap_observer *o);
/* A flight is no more. */
void mp_coap_observer_release(struct coap *c, struct coap_observer *o);
/* session NULL: all. token NULL: all of the session. */
void mp_coap_observers_drop(struct coap *c, const coap_session_t *session,
                            const coap_bin_const_t *token);
/* The endpoints are others now. */
void mp_coap_observers_check(struct coap *c);

/* ---- the rest ---- */

/* As text, into room; "coap/N" for those that have none. */
enum { COAP_FORMAT_TEXT = 64 };
struct mp_slice mp_coap_format_text(int number, char room[COAP_FORMAT_TEXT]);
int mp_coap_format_number(struct mp_slice text); /* COAP_NO_FORMAT: none */
int mp_coap_format_of(enum mp_format format);

/* RFC 6690, of what this peer may ask. */
void mp_coap_links(struct coap *c, const struct coap_peer *p,
                   struct mp_buf *out);

#endif
