/*
 * http_impl.h - what the files of this transport are to each other.
 *
 *   http.c          the transport, as the host sees it
 *   http_listen.c   addresses, and who is let in
 *   http_server.c   libmicrohttpd and the loop; connections and their time
 *   http_call.c     one request: who answers it, its body
 *   http_input.c    its input, and what the host says of that
 *   http_target.c   path and query, decoded
 *   http_head.c     the other parts of a request's head
 *   http_auth.c     tokens and signatures
 *   http_answer.c   what is sent back
 *
 *   request line ─► headers ─► body ... ─► input ─► (suspended) ─► answer
 *     HEAD                      BODY       WORK                     SEND
 *
 * A call is a request while libmicrohttpd has it.  A flight is an input while
 * the host has it.  Each may end before the other: a client goes away, or has
 * its answer before everything is settled.
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_HTTP_IMPL_H
#define MP_HTTP_IMPL_H

#include <netinet/in.h>

#include <microhttpd.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/endpoint.h"
#include "core/problem.h"

enum {
    HTTP_BACKLOG = 128,      /* connections that nobody has taken yet */
    HTTP_ACCEPT_TURN = 64,   /* taken in one turn of the loop */
    HTTP_LISTEN_AGAIN_S = 5, /* until an address is tried again */

    /* A client that sends byte by byte holds a connection no longer. */
    HTTP_HEAD_S = 10,
    HTTP_BODY_S = 30,
    HTTP_IDLE_S = 30, /* between two requests */
    HTTP_SEND_S = 60, /* a client that doesn't read its answer */
    /* One that sends no more may wait for its answer still, or be gone: that
     * looks the same. */
    HTTP_HALF_S = 10,

    /* Of all bodies that are being received. */
    HTTP_BODIES_MAX = 16 << 20,
    /* Of a body that nobody wants so much is read, so that most clients read
     * why before the connection is closed. */
    HTTP_SKIP_MAX = 256 << 10,
    /* Inputs that the host has, for each connection: clients that went away
     * leave theirs behind. */
    HTTP_FLIGHTS_EACH = 4,
    /* Headers of an answer, so that they fit beside those of the request. */
    HTTP_REPLY_HEADERS_MAX = 8 << 10,

    HTTP_RETRY_S = 1, /* Retry-After where nobody knows better */
    HTTP_HMAC_HEX = 64,
    HTTP_ID = 32,       /* digits of an id or an exchange of ours */
    HTTP_LAST_RUNS = 3, /* to send what is left to say at the end */
};

/* An Idempotency-Key counts for a day. */
#define HTTP_EXCHANGE_US (24 * 3600 * MP_SECOND)

/* A listening socket; closing its handle outlives the listener. */
struct http_door {
    uv_poll_t poll;
    struct http *http;
    int fd;
    bool resting; /* no descriptor is left: look again at the next tick */
};

struct http_listener {
    struct http *http;
    const char *text;       /* as configured */
    struct http_door *door; /* NULL: not open */
    bool bad;               /* is no address: trying again is no use */
    bool told;              /* that it can't be opened */
};

struct http {
    struct mp_host *host;
    uv_loop_t *loop;
    const struct mp_config *config;
    char *cert, *key; /* their text; NULL: no TLS */
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_idle_t idle;   /* the library has something to do */
    uv_timer_t tick;  /* ours, while there is something to look after */
    unsigned handles; /* open ones, with the listeners' */
    struct http_listener *listeners;
    unsigned n_listeners;
    bool listening;   /* there are endpoints */
    int64_t again_us; /* when addresses are tried again; 0: all are open */
    const struct mp_endpoint *endpoints;
    unsigned n_endpoints;
    unsigned generation; /* of the endpoints */
    struct mp_link conns, calls, flights;
    unsigned n_conns, n_flights;
    unsigned n_busy;           /* calls in work, or with an answer on its way */
    size_t receiving;          /* reserved for bodies */
    struct mp_hash_key id_key; /* of the ids that we give */
    uint64_t n_ids;
    bool paused, away, draining, closing;
    void (*finished)(void *arg);
    void *arg;
};

/* ---- connections (http_server.c) ---- */

enum http_phase {
    HTTP_FIRST, /* nothing came yet */
    HTTP_IDLE,  /* a request was answered, no other has begun */
    HTTP_HEAD,
    HTTP_BODY,
    HTTP_WORK,
    HTTP_SEND,
};

struct http_conn {
    struct mp_link link;
    struct http *http;
    struct MHD_Connection *con;
    struct http_call *call;   /* NULL: none */
    struct sockaddr_in6 from; /* or a sockaddr_in */
    char peer[INET6_ADDRSTRLEN];
    char source[sizeof "http://[]" + INET6_ADDRSTRLEN];
    bool loopback;
    int fd; /* the library's */
    enum http_phase phase;
    int64_t until_us; /* then it is over; 0: no end */
};

MP_MUST int mp_http_server_open(struct http *h, struct mp_why *why);
void mp_http_server_close(struct http *h); /* its handles close later */
/* Takes the descriptor. */
void mp_http_server_add(struct http *h, int fd, const struct sockaddr *from,
                        socklen_t len);
/* The library has something to do. */
void mp_http_wake(struct http *h);
/* There is something to look after each second. */
void mp_http_tick(struct http *h);
void mp_http_handle_closed(struct http *h);

/* ---- addresses (http_listen.c) ---- */

void mp_http_listen_init(struct http *h);
void mp_http_listen_fini(struct http *h);
void mp_http_listen(struct http *h); /* on all addresses */
void mp_http_unlisten(struct http *h);
void mp_http_listen_tick(struct http *h, int64_t now_us);

/* A problem before there is a request, or in the midst of one; not on TLS.
 * The descriptor stays open. */
void mp_http_say(struct http *h, int fd, unsigned status, const char *detail);

/* ---- path and query (http_target.c) ---- */

struct http_target {
    char *text;             /* holds all of it */
    struct mp_slice path;   /* decoded, with its leading '/' */
    struct mp_slice result; /* of /results/NAME: NAME; ptr NULL: it is none */
    bool is_star;           /* OPTIONS * */
    struct mp_pair query[MP_PAIRS_MAX];
    uint32_t n_query;
    struct mp_slice raw_query; /* as it was sent; borrowed */
};

/* 0, or the status of a problem, and a sentence. */
MP_MUST unsigned mp_http_target_parse(struct http_target *t,
                                      struct mp_slice raw, struct mp_why *why);
void mp_http_target_fini(struct http_target *t);

/* ---- one request (http_call.c) ---- */

struct http_flight;

struct http_call {
    struct mp_link link;
    struct http *http;
    struct http_conn *conn;
    char *raw; /* the target, as it was sent */
    struct http_target target;
    enum mp_method method; /* MP_METHODS: none that we know */
    bool is_options;
    bool parsed, handed, suspended, answered;
    bool needs_host;  /* it is of HTTP/1.1 */
    bool wants_async; /* Prefer: respond-async */
    bool dropped;     /* the client went away; nobody is answered */
    bool busy;        /* counted */
    bool close;       /* after the answer */
    /* Who answers, while generation is that of the endpoints. */
    const struct mp_endpoint *endpoint;
    unsigned generation;
    size_t max_payload;
    struct mp_buf body;
    size_t reserved, skipped;
    int64_t half_us; /* since when the client sends no more; 0: it does */
    struct http_flight *flight; /* NULL: none, or answered */
    unsigned status;
    struct MHD_Response *response;
};

/* An input that the host has. */
struct http_flight {
    struct mp_link link;
    struct http *http;      /* NULL: closed */
    struct http_call *call; /* NULL: nobody waits any more */
    bool async, preferred, begun;
    struct mp_slice exchange; /* of the input */
};

struct http_call *mp_http_call_new(struct http_conn *conn, const char *raw);
void mp_http_call_free(struct http_call *c);
/* The head is there. */
void mp_http_call_head(struct http_call *c, const char *method);
/* Bytes of its body.  False: enough of it, close. */
bool mp_http_call_body(struct http_call *c, const char *bytes, size_t len);
/* All of it is there. */
void mp_http_call_hand(struct http_call *c);
void mp_http_free_body(struct http_call *c);

/* ---- its input (http_input.c) ---- */

/* Hand it to the host.  False: its Idempotency-Key is in work. */
MP_MUST bool mp_http_fly(struct http_call *c, const struct mp_endpoint *e);
/* Nobody waits for what the host has of it. */
void mp_http_call_detach(struct http_call *c);
/* The transport closes: its callbacks may come later, or never. */
void mp_http_flights_orphan(struct http *h);

/* ---- the head (http_head.c) ---- */

/* The value, ptr NULL: not given. */
struct mp_slice mp_http_header(const struct http_call *c, const char *name);
bool mp_http_expects(const struct http_call *c); /* 100-continue */
bool mp_http_prefers_async(const struct http_call *c);
/* Length of the body; none: 0.  False: nobody knows (chunked). */
bool mp_http_length(const struct http_call *c, uint64_t *len);
/* Of a header (RFC 9110, 5.1). */
bool mp_http_is_name(struct mp_slice s);
/* 0, or the status of a problem: too many headers, too long, unclear. */
MP_MUST unsigned mp_http_head_check(const struct http_call *c,
                                    struct mp_why *why);
/*
 * Headers with names in lower case, those of one name joined; skip is left
 * out (NULL: none is).  text has what is not the library's; free it.
 */
uint32_t mp_http_pairs(const struct http_call *c, const char *skip,
                       struct mp_pair *pairs, char **text);

/* ---- who may (http_auth.c) ---- */

/* Both take the same time whatever is given; an empty secret lets nobody in. */
bool mp_http_token(struct mp_slice authorization, struct mp_slice token);
bool mp_http_hmac(struct mp_slice signature, struct mp_slice key,
                  struct mp_slice body);

/* ---- answers (http_answer.c) ---- */

void mp_http_answer(struct http_call *c, const struct mp_answer *a);
MP_PRINTF(3, 4)
void mp_http_problem(struct http_call *c, unsigned status, const char *fmt,
                     ...);
/* As mp_http_problem, with one more header. */
MP_PRINTF(5, 6)
void mp_http_problem_with(struct http_call *c, unsigned status,
                          const char *name, const char *value, const char *fmt,
                          ...);
void mp_http_busy(struct http_call *c, unsigned status, unsigned retry_s,
                  const char *sentence);
/* 204 with Allow; allowed: bits of methods. */
void mp_http_options(struct http_call *c, unsigned allowed);
void mp_http_not_allowed(struct http_call *c, unsigned allowed);
/* 202: it is durable; and for who asks while it runs.  name: its result's. */
void mp_http_accepted(struct http_call *c, struct mp_slice name,
                      struct mp_slice id, bool preferred);
void mp_http_running(struct http_call *c, struct mp_slice name);
/* To the library. */
enum MHD_Result mp_http_reply(struct http_call *c);

#endif
