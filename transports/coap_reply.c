/*
 * coap_reply.c - what is sent back.
 *
 * A response to a confirmable request travels in its acknowledgement, or,
 * when that has left already, in a confirmable message of its own.  What is
 * too long for one message, or for an address that has not proven to be one,
 * is cut to a first block; who asks for the next has proven nothing, but
 * pays for it.
 */
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "core/base/text.h"
#include "transports/coap.h"
#include "transports/coap_impl.h"

uint64_t mp_coap_requests[MP_COAP_CODES];

enum {
    HEADER = 5, /* with the payload marker */
    FORMAT = 3,
    MAX_AGE = 5,
    OBSERVE = 4,
    LOCATION = 16, /* beside the id */
    BLOCK = 4,
    SIZE = 6,
    ETAG = 5,
    ECHO_OPTION = COAP_ECHO_BYTES + 2,
    ECHO_SPAN_S = COAP_LIFETIME_S,
};

/* ---- made ---- */

struct coap_reply mp_coap_reply(uint8_t code)
{
    return (struct coap_reply){.code = code,
                               .format = COAP_NO_FORMAT,
                               .max_age = -1,
                               .observe = -1,
                               .size1 = -1,
                               .size2 = -1,
                               .etag = -1};
}

/* The sentence is a diagnostic payload (RFC 7252, 5.5.2). */
struct coap_reply mp_coap_problem(uint8_t code, const char *sentence)
{
    struct coap_reply r = mp_coap_reply(code);

    r.data = mp_slice_str(sentence);
    return r;
}

struct coap_reply mp_coap_busy(uint8_t code, const char *sentence,
                               uint32_t retry_s)
{
    struct coap_reply r = mp_coap_problem(code, sentence);

    r.max_age = retry_s ? retry_s : COAP_RETRY_S;
    return r;
}

static uint8_t done_code(uint8_t request, bool with)
{
    switch (request) {
    case COAP_REQUEST_CODE_GET:
    case COAP_REQUEST_CODE_FETCH:
        return COAP_CODE(2, 5);
    case COAP_REQUEST_CODE_DELETE:
        return COAP_CODE(2, 2);
    case COAP_REQUEST_CODE_POST:
    case COAP_REQUEST_CODE_PUT:
    case COAP_REQUEST_CODE_PATCH:
    case COAP_REQUEST_CODE_IPATCH:
        return COAP_CODE(2, 4);
    default:
        return with ? COAP_CODE(2, 5) : COAP_CODE(2, 4);
    }
}

/* c.dd as cdd; 0: it is none. */
static uint8_t code_of(uint32_t status)
{
    if (status / 100 < 2 || status / 100 > 5 || status % 100 > 31)
        return 0;
    return COAP_CODE(status / 100, status % 100);
}

static int format_of(const struct mp_answer *a)
{
    for (uint32_t i = 0; i < a->n_headers; i++) {
        struct mp_slice name = a->headers[i].name;
        static const char want[] = "content-type";

        if (name.len == sizeof want - 1 &&
            strncasecmp(name.ptr, want, name.len) == 0) {
            int number = mp_coap_format_number(a->headers[i].value);

            if (number != COAP_NO_FORMAT)
                return number;
        }
    }
    return mp_coap_format_of(a->format);
}

static struct coap_reply with_data(uint8_t code, const struct mp_answer *a)
{
    struct coap_reply r = mp_coap_reply(code);

    r.data = a->data;
    if (a->data.ptr)
        r.format = format_of(a);
    if (a->max_age_s)
        r.max_age = a->max_age_s;
    return r;
}

static struct coap_reply failed(uint8_t code, const struct mp_answer *a,
                                const char *sentence)
{
    struct coap_reply r = mp_coap_problem(code, sentence);

    if (a->detail.len)
        r.data = mp_cut(a->detail, COAP_DETAIL_MAX);
    if (a->kind == MP_ANSWER_BUSY || a->kind == MP_ANSWER_AWAY)
        r.max_age = a->retry_after_s ? a->retry_after_s : COAP_RETRY_S;
    return r;
}

struct coap_reply mp_coap_reply_of(const struct mp_answer *a, uint8_t request)
{
    uint8_t code = code_of(a->status);

    switch (a->kind) {
    case MP_ANSWER_DONE:
        return with_data(done_code(request, a->data.ptr != NULL), a);
    case MP_ANSWER_REPLY:
        if (a->status == 200) /* success in HTTP and here */
            code = done_code(request, a->data.ptr != NULL);
        if (code)
            return with_data(code, a);
        return mp_coap_problem(COAP_CODE(5, 0),
                               "the function replied with no code of CoAP");
    case MP_ANSWER_REJECTED:
        return failed(code >> 5 >= 4 ? code : COAP_CODE(4, 0), a,
                      "the function rejected this");
    case MP_ANSWER_TIMEOUT:
        return failed(COAP_CODE(5, 4), a,
                      "the function took longer than it may");
    case MP_ANSWER_BUSY:
        return failed(COAP_CODE(4, 29), a, "the function's queue is full");
    case MP_ANSWER_AWAY:
        return failed(COAP_CODE(5, 3), a, "the function is not there for now");
    case MP_ANSWER_GONE:
        return failed(COAP_CODE(4, 4), a, "the function went away");
    case MP_ANSWER_ACCEPTED:
        return mp_coap_reply(COAP_CODE(2, 4));
    case MP_ANSWER_FAILED:
        break;
    }
    return failed(COAP_CODE(5, 0), a, "the function failed");
}

/* ---- cut ---- */

/* Who sends this back is at that address (RFC 9175). */
void mp_coap_echo(const struct coap_peer *p, int64_t now_us,
                  uint8_t out[COAP_ECHO_BYTES])
{
    struct mp_hasher hasher;
    struct mp_hash hash;

    mp_hasher_init(&hasher, &p->coap->key);
    mp_hasher_add_u64(&hasher, p->id.lo);
    mp_hasher_add_u64(&hasher, p->id.hi);
    mp_hasher_add_u64(&hasher, (uint64_t)(now_us / MP_SECOND) / ECHO_SPAN_S);
    hash = mp_hasher_end(&hasher);
    memcpy(out, &hash, COAP_ECHO_BYTES);
}

static size_t room(const struct coap_to *to)
{
    size_t all = coap_session_max_pdu_size(to->peer->session);
    size_t may = COAP_UNPROVEN_TIMES * to->bytes;

    if (to->peer->proven)
        return all;
    if (may < COAP_UNPROVEN_FLOOR)
        may = COAP_UNPROVEN_FLOOR;
    return may < all ? may : all;
}

/* All but the data, at most. */
static size_t around(const struct coap_to *to, const struct coap_reply *r)
{
    return HEADER + to->token_len + (r->format >= 0 ? FORMAT : 0) +
           (r->max_age >= 0 ? MAX_AGE : 0) + (r->observe >= 0 ? OBSERVE : 0) +
           (r->location.ptr ? LOCATION + r->location.len : 0) +
           (r->block1.is ? BLOCK : 0) + (r->block2.is ? BLOCK : 0) +
           (r->size1 >= 0 ? SIZE : 0) + (r->size2 >= 0 ? SIZE : 0) +
           (r->etag >= 0 ? ETAG : 0) + (r->echo ? ECHO_OPTION : 0);
}

static void to_block(const struct coap_to *to, struct coap_reply *r,
                     size_t offset)
{
    unsigned szx = to->block2.is && to->block2.szx < COAP_SZX_MAX
                       ? to->block2.szx
                       : COAP_SZX_MAX;
    size_t all = room(to), size;

    r->block2.is = true;
    r->size2 = (int64_t)r->data.len;
    r->echo = !to->peer->proven;
    while (szx && around(to, r) + ((size_t)16 << szx) > all)
        szx--;
    if (around(to, r) + 16 > all) { /* as small as can be */
        r->echo = false;
        r->size2 = r->etag = -1;
    }
    size = (size_t)16 << szx;
    r->block2.szx = szx;
    r->block2.num = (uint32_t)(offset >> (szx + 4));
    r->block2.more = r->data.len - offset > size;
    r->data = mp_slice(r->data.ptr + offset,
                       r->block2.more ? size : r->data.len - offset);
}

static bool fits(const struct coap_to *to, const struct coap_reply *r)
{
    size_t all = room(to), head = around(to, r);

    if (head + r->data.len > all)
        return false;
    if (to->block2.is && r->format >= 0 &&
        r->data.len > (size_t)16 << to->block2.szx)
        return false;
    return to->peer->reliable || r->data.len <= (size_t)16 << COAP_SZX_MAX;
}

void mp_coap_cut(struct coap *c, const struct coap_to *to, struct coap_reply *r)
{
    size_t all = room(to), head = around(to, r);

    if (fits(to, r))
        return;
    if (r->format < 0) { /* a sentence */
        r->data = mp_cut(r->data, all > head ? all - head : 0);
        return;
    }
    mp_coap_body_put(c, to, r);
    to_block(to, r, 0);
}

/* ---- sent ---- */

static bool put_uint(coap_pdu_t *pdu, unsigned number, int64_t value)
{
    uint8_t bytes[8];

    if (value < 0)
        return true;
    return coap_add_option(
        pdu, (coap_option_num_t)number,
        coap_encode_var_safe8(bytes, sizeof bytes, (uint64_t)value), bytes);
}

static bool put_block(coap_pdu_t *pdu, unsigned number,
                      const struct coap_block *b)
{
    return !b->is ||
           put_uint(pdu, number,
                    (int64_t)b->num << 4 | (b->more ? 8 : 0) | (int64_t)b->szx);
}

static bool put_location(coap_pdu_t *pdu, struct mp_slice id)
{
    return !id.ptr || (coap_add_option(pdu, COAP_OPTION_LOCATION_PATH, 7,
                                       (const uint8_t *)"results") &&
                       coap_add_option(pdu, COAP_OPTION_LOCATION_PATH, id.len,
                                       (const uint8_t *)id.ptr));
}

static bool put_etag(coap_pdu_t *pdu, int64_t etag)
{
    uint32_t bytes = (uint32_t)etag;

    return etag < 0 || coap_add_option(pdu, COAP_OPTION_ETAG, sizeof bytes,
                                       (const uint8_t *)&bytes);
}

static bool put_echo(coap_pdu_t *pdu, const struct coap_peer *p, bool wanted)
{
    uint8_t bytes[COAP_ECHO_BYTES];

    if (!wanted)
        return true;
    mp_coap_echo(p, mp_now_us(), bytes);
    return coap_add_option(pdu, COAP_OPTION_ECHO, sizeof bytes, bytes);
}

/* Options stand in the order of their numbers. */
static bool fill(coap_pdu_t *pdu, const struct coap_to *to,
                 const struct coap_reply *r)
{
    return (!to->token_len || coap_add_token(pdu, to->token_len, to->token)) &&
           put_etag(pdu, r->etag) &&
           put_uint(pdu, COAP_OPTION_OBSERVE, r->observe) &&
           put_location(pdu, r->location) &&
           put_uint(pdu, COAP_OPTION_CONTENT_FORMAT, r->format) &&
           put_uint(pdu, COAP_OPTION_MAXAGE, r->max_age) &&
           put_block(pdu, COAP_OPTION_BLOCK2, &r->block2) &&
           put_block(pdu, COAP_OPTION_BLOCK1, &r->block1) &&
           put_uint(pdu, COAP_OPTION_SIZE2, r->size2) &&
           put_uint(pdu, COAP_OPTION_SIZE1, r->size1) &&
           put_echo(pdu, to->peer, r->echo) &&
           (!r->data.len ||
            coap_add_data(pdu, r->data.len, (const uint8_t *)r->data.ptr));
}

static bool can_send(struct coap_peer *p)
{
    int unread;

    if (p->condemned ||
        coap_session_get_state(p->session) != COAP_SESSION_STATE_ESTABLISHED)
        return false;
    if (p->fd < 0 || ioctl(p->fd, SIOCOUTQ, &unread) ||
        unread < COAP_TCP_UNREAD)
        return true;
    mp_coap_condemn(p);
    return false;
}

void mp_coap_send(struct coap *c MP_UNUSED, const struct coap_to *to,
                  const struct coap_reply *r, coap_pdu_type_t type,
                  coap_mid_t mid)
{
    coap_session_t *session = to->peer->session;
    coap_pdu_t *pdu;

    if (!can_send(to->peer))
        return;
    pdu = coap_pdu_init(type, r->code, mid, coap_session_max_pdu_size(session));
    if (!pdu)
        mp_oom(r->data.len);
    if (fill(pdu, to, r))
        coap_send(session, pdu);
    else /* a connection that takes no messages of this size */
        coap_delete_pdu(pdu);
}

void mp_coap_send_ack(struct coap *c, struct coap_to *to)
{
    static const struct coap_to none;
    struct coap_reply empty = mp_coap_reply(0);
    struct coap_to bare = none;

    bare.peer = to->peer;
    to->acked = true;
    mp_coap_send(c, &bare, &empty, COAP_MESSAGE_ACK, to->mid);
}

/* May one more be without an acknowledgement? */
static bool may_confirm(struct coap_peer *p)
{
    int64_t now_us = mp_now_us();

    if (now_us > p->confirmable_us + COAP_CONFIRMABLE_S * MP_SECOND ||
        (p->n_confirmable >= COAP_CONFIRMABLE_MAX / 2 &&
         coap_can_exit(p->coap->context))) {
        p->confirmable_us = now_us;
        p->n_confirmable = 0;
    }
    return p->n_confirmable++ < COAP_CONFIRMABLE_MAX / 2;
}

static bool is_silenced(const struct coap_to *to, uint8_t code)
{
    return to->silent >> ((code >> 5) - 1) & 1;
}

static void deliver(struct coap *c, struct coap_to to, struct coap_reply *r,
                    struct coap_exchange *x)
{
    struct coap_peer *p = to.peer;
    bool confirmable = to.type == COAP_MESSAGE_CON && !p->reliable;

    mp_coap_requests[r->code]++;
    if (is_silenced(&to, r->code)) {
        if (confirmable && !to.acked)
            mp_coap_send_ack(c, &to);
        return;
    }
    if (confirmable && !to.acked)
        mp_coap_send(c, &to, r, COAP_MESSAGE_ACK, to.mid);
    else if (confirmable && may_confirm(p))
        mp_coap_send(c, &to, r, COAP_MESSAGE_CON,
                     coap_new_message_id(p->session));
    else
        mp_coap_send(c, &to, r, COAP_MESSAGE_NON,
                     p->reliable ? 0 : coap_new_message_id(p->session));
    if (x && confirmable)
        mp_coap_exchange_keep(c, x, r);
}

void mp_coap_respond(struct coap *c, const struct coap_to *to,
                     struct coap_reply *r, struct coap_exchange *x)
{
    mp_coap_cut(c, to, r);
    deliver(c, *to, r, x);
}

void mp_coap_respond_block(struct coap *c, const struct coap_to *to,
                           struct coap_reply *r, size_t offset)
{
    to_block(to, r, offset);
    deliver(c, *to, r, NULL);
}
