/*
 * coap_request.c - one request: what is asked, who answers it.
 *
 * Path and query are texts a function can trust: UTF-8, no control bytes, and
 * no level of a path holds what has a meaning in a topic.
 */
#include "transports/coap_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "core/base/utf8.h"
#include "core/results.h"

enum { LINKS_MAX = 64 << 10, UINT_MAX_BYTES = 4 };

/* ---- options ---- */

/* What is wrong with a request; code 0: nothing. */
struct fault {
    uint8_t code;
    const char *sentence;
};

static const struct fault fine;

static bool has_control(struct mp_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return true;
    return false;
}

/* In the words of HTTP's (http_target.c).  NULL: none. */
static const char *level_fault(struct mp_slice level)
{
    if (mp_has(level, '/') || mp_has(level, '+') || mp_has(level, '#'))
        return "a level of the path holds '/', '+' or '#'";
    if (has_control(level))
        return "a level of the path holds a control byte";
    if (mp_slice_is(level, ".") || mp_slice_is(level, ".."))
        return "a level of the path is '.' or '..'";
    return mp_utf8_valid(level) ? NULL : "the path is no UTF-8";
}

static struct fault put_level(struct coap_request *q, struct mp_slice level)
{
    const char *sentence = level_fault(level);

    if (q->path.len + 1 + level.len > MP_TOPIC_MAX)
        return (struct fault){COAP_CODE(4, 0), "the path is too long"};
    if (sentence)
        return (struct fault){COAP_CODE(4, 0), sentence};
    q->path_text[q->path.len] = '/';
    memcpy(q->path_text + q->path.len + 1, level.ptr, level.len);
    q->path.len += 1 + level.len;
    return fine;
}

static struct fault put_query(struct coap_request *q, struct mp_slice text)
{
    struct mp_pair *pair = &q->query[q->n_query];

    if (q->n_query == MP_PAIRS_MAX)
        return (struct fault){COAP_CODE(4, 0), "the query has too many parts"};
    if (has_control(text) || !mp_utf8_valid(text))
        return (struct fault){COAP_CODE(4, 0), "the query is no text"};
    pair->value = text;
    mp_split(&pair->value, '=', &pair->name);
    if (!pair->value.ptr)
        pair->value = MP_S("");
    q->n_query++;
    return fine;
}

static struct fault put_block(const struct coap_request *q,
                              struct coap_block *b, uint32_t value)
{
    b->is = true;
    b->num = value >> 4;
    b->more = value >> 3 & 1;
    b->szx = value & 7;
    if (b->szx <= COAP_SZX_MAX)
        return fine;
    if (!q->to.peer->reliable)
        return (struct fault){COAP_CODE(4, 0), "there is no such block size"};
    b->szx = COAP_SZX_MAX; /* several of them (RFC 8323, 6) */
    return fine;
}

static struct fault put_option(struct coap_request *q, unsigned number,
                               struct mp_slice value)
{
    uint32_t n =
        value.len > UINT_MAX_BYTES
            ? 0
            : coap_decode_var_bytes((const uint8_t *)value.ptr, value.len);

    switch (number) {
    case COAP_OPTION_URI_PATH:
        return put_level(q, value);
    case COAP_OPTION_URI_QUERY:
        return put_query(q, value);
    case COAP_OPTION_CONTENT_FORMAT:
        q->format = (int)(n & 0xffff);
        break;
    case COAP_OPTION_ACCEPT:
        q->accept = (int)(n & 0xffff);
        break;
    case COAP_OPTION_OBSERVE:
        q->observe = n;
        break;
    case COAP_OPTION_BLOCK1:
        return put_block(q, &q->to.block1, n);
    case COAP_OPTION_BLOCK2:
        return put_block(q, &q->to.block2, n);
    case COAP_OPTION_SIZE1:
        q->size1 = n;
        break;
    case COAP_OPTION_NORESPONSE:
        q->to.silent = (uint8_t)n;
        break;
    case COAP_OPTION_ECHO:
        q->echo = value;
        break;
    case COAP_OPTION_IF_MATCH:
    case COAP_OPTION_IF_NONE_MATCH:
        return (struct fault){COAP_CODE(4, 2),
                              "conditions on a request aren't known here"};
    default:
        break;
    }
    return fine;
}

static enum mp_method method_of(uint8_t code)
{
    static const enum mp_method methods[] = {
        [COAP_REQUEST_CODE_GET] = MP_GET,
        [COAP_REQUEST_CODE_POST] = MP_POST,
        [COAP_REQUEST_CODE_PUT] = MP_PUT,
        [COAP_REQUEST_CODE_DELETE] = MP_DELETE,
        [COAP_REQUEST_CODE_FETCH] = MP_FETCH,
        [COAP_REQUEST_CODE_PATCH] = MP_PATCH,
        [COAP_REQUEST_CODE_IPATCH] = MP_IPATCH,
    };

    return code && code < ARRAY_LEN(methods) ? methods[code] : MP_METHODS;
}

static void read_head(struct coap_request *q, struct coap_peer *p,
                      const coap_pdu_t *pdu)
{
    coap_bin_const_t token = coap_pdu_get_token(pdu);
    const uint8_t *data;
    size_t len;

    memset(&q->to, 0, sizeof q->to);
    q->to.peer = p;
    q->to.type = coap_pdu_get_type(pdu);
    q->to.mid = coap_pdu_get_mid(pdu);
    q->to.code = (uint8_t)coap_pdu_get_code(pdu);
    q->to.token_len =
        token.length < COAP_TOKEN_MAX ? token.length : COAP_TOKEN_MAX;
    memcpy(q->to.token, token.s, q->to.token_len);
    q->method = method_of(q->to.code);
    q->path = mp_slice(q->path_text, 0);
    q->n_query = 0;
    q->echo = (struct mp_slice){NULL, 0};
    q->format = q->accept = COAP_NO_FORMAT;
    q->observe = q->size1 = -1;
    q->data = MP_S("");
    if (coap_get_data(pdu, &len, &data))
        q->data = mp_slice(data, len);
}

/* What tells a body from others (its block options do not). */
static bool is_of_place(unsigned number)
{
    return number == COAP_OPTION_URI_PATH || number == COAP_OPTION_URI_QUERY ||
           number == COAP_OPTION_ACCEPT;
}

static struct fault read_options(struct coap_request *q, const coap_pdu_t *pdu)
{
    struct fault bad = fine, one;
    struct mp_hasher hasher;
    coap_opt_iterator_t it;
    coap_opt_t *option;

    mp_hasher_init(&hasher, &q->to.peer->coap->key);
    mp_hasher_add_u64(&hasher, q->to.code);
    q->to.bytes = 4 + q->to.token_len + q->data.len + (q->data.len > 0);
    coap_option_iterator_init(pdu, &it, COAP_OPT_ALL);
    while ((option = coap_option_next(&it))) {
        struct mp_slice value =
            mp_slice(coap_opt_value(option), coap_opt_length(option));

        q->to.bytes += coap_opt_size(option);
        if (is_of_place(it.number)) {
            mp_hasher_add_u64(&hasher, it.number);
            mp_hasher_add(&hasher, value);
        }
        one = put_option(q, it.number, value);
        if (!bad.code)
            bad = one;
    }
    if (!q->path.len)
        q->path_text[q->path.len++] = '/';
    q->to.place = mp_hasher_end(&hasher).lo;
    return bad;
}

/* Does it say what only who is at its address can know? */
static void prove(struct coap_request *q)
{
    struct coap_peer *p = q->to.peer;
    int64_t now_us = mp_now_us();
    uint8_t now[COAP_ECHO_BYTES], before[COAP_ECHO_BYTES];

    if (p->proven || q->echo.len != COAP_ECHO_BYTES)
        return;
    mp_coap_echo(p, now_us, now);
    mp_coap_echo(p, now_us - COAP_LIFETIME_S * MP_SECOND, before);
    p->proven = memcmp(q->echo.ptr, now, sizeof now) == 0 ||
                memcmp(q->echo.ptr, before, sizeof before) == 0;
}

/* ---- what we answer ourselves ---- */

static void answer_links(struct coap *c, struct coap_request *q)
{
    struct coap_reply r = mp_coap_reply(COAP_CODE(2, 5));
    struct mp_buf text;

    mp_buf_init(&text, LINKS_MAX);
    mp_coap_links(c, q->to.peer, &text);
    r.format = mp_coap_format_number(MP_S("application/link-format"));
    r.data = text.len ? mp_buf_bytes(&text) : MP_S("");
    mp_coap_respond(c, &q->to, &r, NULL);
    mp_buf_fini(&text);
}

/* Its name is a capability: who knows it was told it, and may read it, whatever
 * the endpoint asked for. */
static void answer_result(struct coap *c, struct coap_request *q,
                          struct mp_slice name)
{
    struct coap_reply r =
        mp_coap_problem(COAP_CODE(4, 4), "there is no such result, or no more");
    struct mp_answer a;

    if (q->method != MP_GET) {
        r = mp_coap_problem(COAP_CODE(4, 5), "a result can only be read");
    } else {
        switch (
            mp_results_get(mp_host_results(c->host), name, &a, mp_now_us())) {
        case MP_RESULT_UNKNOWN:
            break;
        case MP_RESULT_RUNS:
            r = mp_coap_busy(COAP_CODE(5, 3), "it still runs", COAP_RETRY_S);
            break;
        case MP_RESULT_IS:
            r = mp_coap_reply_of(&a, q->to.code);
            break;
        }
    }
    mp_coap_respond(c, &q->to, &r, NULL);
}

static bool answered_here(struct coap *c, struct coap_request *q)
{
    static const char results[] = "/results/";
    struct mp_slice name;

    if (mp_slice_is(q->path, "/.well-known/core")) {
        answer_links(c, q);
        return true;
    }
    if (!mp_starts(q->path, results))
        return false;
    name = mp_slice(q->path.ptr + sizeof results - 1,
                    q->path.len - (sizeof results - 1));
    if (!name.len || mp_has(name, '/'))
        return false;
    answer_result(c, q, name);
    return true;
}

/* ---- who answers ---- */

bool mp_coap_may_ask(const struct coap_peer *p, const struct mp_endpoint *e,
                     struct coap_reply *r)
{
    switch (e->auth) {
    case MP_AUTH_NONE:
        if (p->loopback || p->coap->config->coap.open)
            return true;
        *r = mp_coap_problem(COAP_CODE(4, 3), "this path answers only clients "
                                              "on the gateway itself");
        return false;
    case MP_AUTH_DTLS:
        if (mp_coap_identity(p).ptr)
            return true;
        *r = mp_coap_problem(COAP_CODE(4, 1),
                             "this path answers only known DTLS clients");
        return false;
    case MP_AUTH_TOKEN:
    case MP_AUTH_HMAC:
        break; /* HTTP's */
    }
    *r = mp_coap_problem(COAP_CODE(4, 1), "nobody can show who it is here");
    return false;
}

static bool is_open(struct coap *c, const struct coap_peer *p,
                    struct coap_reply *r)
{
    const char *sentence;

    if (c->draining)
        sentence = "the host stops";
    else if (c->paused)
        sentence = "the store is full";
    else if (c->away)
        sentence = "the store is not there for now";
    else if (c->n_flights >= COAP_FLIGHTS_EACH * c->config->coap.sessions)
        sentence = "too many requests are in work";
    else if (p->n_flights >= COAP_FLIGHTS_PEER) {
        *r = mp_coap_busy(COAP_CODE(4, 29),
                          "too many of your requests are "
                          "in work",
                          COAP_RETRY_S);
        return false;
    } else
        return true;
    *r = mp_coap_busy(COAP_CODE(5, 3), sentence, COAP_RETRY_S);
    return false;
}

/* NULL: *r is the response. */
static const struct mp_endpoint *
judge(struct coap *c, const struct coap_request *q, struct coap_reply *r)
{
    const struct coap_peer *p = q->to.peer;
    unsigned allowed;
    const struct mp_endpoint *e = mp_endpoint_find(
        c->endpoints, c->n_endpoints, q->method, q->path, &allowed);

    if (!e && allowed)
        *r =
            mp_coap_problem(COAP_CODE(4, 5), "this method isn't answered here");
    else if (!e)
        *r = mp_coap_problem(COAP_CODE(4, 4), "no function answers here");
    if (!e || !mp_coap_may_ask(p, e, r) || !is_open(c, p, r))
        return NULL;
    if (q->data.len > e->max_payload) {
        *r = mp_coap_problem(COAP_CODE(4, 13), "this body is too large");
        r->size1 = e->max_payload;
        return NULL;
    }
    /* What follows would go to whoever's address it says. */
    if (e->observe && q->observe == COAP_OBSERVE_ESTABLISH && !p->proven) {
        *r = mp_coap_reply(COAP_CODE(4, 1));
        r->echo = true;
        return NULL;
    }
    return e;
}

static void take(struct coap *c, struct coap_request *q)
{
    struct coap_upload *whole = NULL;
    struct coap_exchange *x = NULL;
    struct coap_reply r;
    const struct mp_endpoint *e = judge(c, q, &r);

    if (!e || (q->to.block1.is && !mp_coap_upload(c, q, e, &r, &whole))) {
        mp_coap_respond(c, &q->to, &r, NULL);
        return;
    }
    if (!q->to.peer->reliable)
        x = mp_coap_exchange_new(c, q, mp_now_us());
    mp_coap_fly(c, q, e, x);
    mp_coap_upload_done(c, whole);
}

/* ---- in ---- */

/* True: it is one, and was answered. */
static bool is_repeat(struct coap *c, struct coap_request *q)
{
    struct coap_exchange *x;

    if (q->to.peer->reliable)
        return false;
    q->print = mp_coap_exchange_print(c, q);
    x = mp_coap_exchange_find(c, q, mp_now_us());
    if (x)
        mp_coap_exchange_repeat(c, x, q);
    return x != NULL;
}

static void answer_block(struct coap *c, struct coap_request *q)
{
    struct coap_reply r;
    size_t offset;

    if (mp_coap_body_get(c, q, &r, &offset))
        mp_coap_respond_block(c, &q->to, &r, offset);
    else
        mp_coap_respond(c, &q->to, &r, NULL);
}

void mp_coap_request(coap_resource_t *resource MP_UNUSED,
                     coap_session_t *session, const coap_pdu_t *pdu,
                     const coap_string_t *query MP_UNUSED, coap_pdu_t *response)
{
    struct coap *c = coap_get_app_data(coap_session_get_context(session));
    struct coap_peer *p = mp_coap_peer(c, session);
    struct coap_request q;
    struct fault bad;

    /* We send our own: what is empty and not confirmable libcoap drops. */
    coap_pdu_set_type(response, COAP_MESSAGE_NON);
    c->n_datagrams += !p->reliable;
    if (p->condemned)
        return;
    read_head(&q, p, pdu);
    bad = read_options(&q, pdu);
    prove(&q);
    if (bad.code) {
        struct coap_reply r = mp_coap_problem(bad.code, bad.sentence);

        mp_coap_respond(c, &q.to, &r, NULL);
    } else if (is_repeat(c, &q)) {
        /* it was answered, or will be */
    } else if (q.to.block2.is && q.to.block2.num) {
        answer_block(c, &q);
    } else if (!answered_here(c, &q)) {
        if (q.observe == COAP_OBSERVE_CANCEL)
            mp_coap_unobserve(c, &q.to);
        take(c, &q);
    }
}
