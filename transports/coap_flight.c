/*
 * coap_flight.c - the input of a request, and what becomes of it.
 *
 * A flight is an input while the host has it.  It holds its session, so that
 * the answer has somewhere to go.
 */
#include "transports/coap_impl.h"

#include <stdlib.h>
#include <sys/random.h>

#include "core/results.h"

#define flight_of(at) mp_of(at, struct coap_flight, link)
#define waiting_of(at) mp_of(at, struct coap_flight, wait)

/* ---- answers ---- */

static void on_answer(struct mp_input *in, const struct mp_answer *a)
{
    struct coap_flight *f = in->owner;
    struct coap *c = f->coap;
    struct coap_reply r;

    if (!c || f->answered)
        return;
    f->answered = true;
    mp_list_unlink(&f->wait);
    r = mp_coap_reply_of(a, f->to.code);
    r.block1 = f->to.block1;
    if (f->observer && !mp_coap_observer_answer(c, f->observer, &r))
        f->observer = NULL;
    mp_coap_respond(c, &f->to, &r, f->exchange);
    if (f->observer)
        mp_coap_observer_answered(c, f->observer);
    f->observer = NULL;
}

static void drop_result(struct coap *c, const struct mp_input *in)
{
    struct mp_results *r = mp_host_results(c->host);
    char name[MP_RESULT_NAME + 1];

    mp_results_drop(r, mp_results_name_of(r, in, name));
}

/* False: another one has begun it. */
static bool begin_result(struct coap *c, const struct mp_input *in)
{
    struct mp_results *r = mp_host_results(c->host);
    char name[MP_RESULT_NAME + 1];

    return mp_results_begin(r, mp_results_name_of(r, in, name),
                            in->received_us);
}

/* What it is told when it is settled and nothing was said before. */
static void tell_settled(struct coap_flight *f, const struct mp_input *in)
{
    struct coap_reply r = mp_coap_reply(COAP_CODE(2, 4));
    char name[MP_RESULT_NAME + 1];

    f->answered = true;
    mp_list_unlink(&f->wait);
    if (f->async && !in->lost)
        r.location =
            mp_results_name_of(mp_host_results(f->coap->host), in, name);
    else
        r = mp_coap_busy(COAP_CODE(5, 3), "this could not be kept; ask again",
                         COAP_RETRY_S);
    mp_coap_respond(f->coap, &f->to, &r, f->exchange);
}

static void leave(struct coap *c, struct coap_flight *f)
{
    if (f->observer)
        mp_coap_observer_release(c, f->observer);
    f->observer = NULL;
    if (f->exchange)
        f->exchange->flight = NULL;
    mp_list_unlink(&f->wait);
    mp_list_unlink(&f->link);
    f->to.peer->n_flights--;
    c->n_flights--;
    coap_session_release(f->to.peer->session);
    f->coap = NULL;
}

static void on_settled(struct mp_input *in)
{
    struct coap_flight *f = in->owner;
    struct coap *c = f->coap;

    if (c) {
        if (f->begun && in->lost)
            drop_result(c, in);
        if (!f->answered)
            tell_settled(f, in);
        if (in->lost && f->exchange)
            mp_coap_exchange_forget(c, f->exchange);
        leave(c, f);
    }
    mp_list_unlink(&f->link);
    free(f);
}

/* Inputs that the host still has may be settled later, or never; either way
 * they are not lost out of sight. */
void mp_coap_flights_orphan(struct coap *c)
{
    static struct mp_link orphans = {&orphans, &orphans};

    while (!mp_list_empty(&c->flights)) {
        struct coap_flight *f = flight_of(c->flights.next);

        leave(c, f);
        mp_list_append(&orphans, &f->link);
    }
}

void mp_coap_acks(struct coap *c, int64_t now_us)
{
    while (!mp_list_empty(&c->waiting)) {
        struct coap_flight *f = waiting_of(c->waiting.next);

        if (f->ack_us > now_us)
            return;
        mp_list_unlink(&f->wait);
        mp_coap_send_ack(c, &f->to);
    }
}

/* ---- the input ---- */

struct words {
    char id[COAP_HEX], exchange[COAP_HEX];
    char format[COAP_FORMAT_TEXT], accept[COAP_FORMAT_TEXT];
    struct mp_pair accepts;
};

static void put_hex(char out[COAP_HEX], struct mp_hash hash)
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < COAP_HEX / 2; i++) {
        out[i] = digits[hash.hi >> (60 - 4 * i) & 15];
        out[COAP_HEX / 2 + i] = digits[hash.lo >> (60 - 4 * i) & 15];
    }
}

/*
 * The same for a repeat, after a restart, too.  A message on a connection has
 * no number: nobody repeats it.
 */
static void set_names(const struct coap_request *q, struct mp_input *in,
                      struct words *w)
{
    static const struct mp_hash_key plain;
    const struct coap_to *to = &q->to;
    struct mp_hasher hasher, longer;
    uint64_t once = 0;

    if (to->peer->reliable && getrandom(&once, sizeof once, 0) != sizeof once)
        mp_bug(__FILE__, __LINE__, "getrandom gives nothing");
    mp_hasher_init(&hasher, &plain);
    mp_hasher_add_u64(&hasher, to->peer->id.lo);
    mp_hasher_add_u64(&hasher, to->peer->id.hi);
    mp_hasher_add_u64(&hasher, once + (uint64_t)to->mid);
    mp_hasher_add(&hasher, mp_slice(to->token, to->token_len));
    mp_hasher_add(&hasher, q->data);
    longer = hasher;
    put_hex(w->id, mp_hasher_end(&hasher));
    in->id = mp_slice(w->id, COAP_HEX);
    if (to->peer->reliable || to->type != COAP_MESSAGE_CON)
        return;
    mp_hasher_add_u64(&longer, to->code);
    mp_hasher_add(&longer, q->path);
    for (uint32_t i = 0; i < q->n_query; i++) {
        mp_hasher_add(&longer, q->query[i].name);
        mp_hasher_add(&longer, q->query[i].value);
    }
    put_hex(w->exchange, mp_hasher_end(&longer));
    in->exchange = mp_slice(w->exchange, COAP_HEX);
    in->exchange_us = COAP_LIFETIME_S * MP_SECOND;
}

static void set_texts(const struct coap_request *q, struct mp_input *in,
                      struct words *w)
{
    const struct coap_peer *p = q->to.peer;

    in->peer = mp_slice_str(p->address);
    in->identity = mp_coap_identity(p);
    in->source = mp_slice_str(p->source);
    if (q->format != COAP_NO_FORMAT)
        in->datacontenttype = mp_coap_format_text(q->format, w->format);
    if (q->accept == COAP_NO_FORMAT)
        return;
    w->accepts.name = MP_S("accept");
    w->accepts.value = mp_coap_format_text(q->accept, w->accept);
    in->headers = &w->accepts;
    in->n_headers = 1;
}

static struct mp_input *make_input(const struct coap_request *q,
                                   const struct mp_endpoint *e)
{
    struct mp_input from = {0};
    struct mp_pair query[MP_PAIRS_MAX];
    struct words w;

    from.type = MP_EVENT_COAP;
    from.qos = e->async;
    from.settled = on_settled;
    from.answer = e->async ? NULL : on_answer;
    from.received_us = mp_now_us();
    from.time_us = mp_wall_us();
    from.topic = q->path;
    from.data = q->data;
    from.method = mp_slice_str(mp_method_name(q->method));
    memcpy(query, q->query, q->n_query * sizeof *query);
    from.query = query;
    from.n_query = q->n_query;
    from.routes[0] = e->id;
    from.n_routes = 1;
    set_names(q, &from, &w);
    set_texts(q, &from, &w);
    return mp_input_new(&from);
}

static bool observes(const struct coap_request *q, const struct mp_endpoint *e)
{
    return e->observe && !e->async && q->observe == COAP_OBSERVE_ESTABLISH &&
           (q->method == MP_GET || q->method == MP_FETCH);
}

void mp_coap_fly(struct coap *c, const struct coap_request *q,
                 const struct mp_endpoint *e, struct coap_exchange *x)
{
    struct coap_flight *f = mp_zalloc(sizeof *f);
    struct mp_input *in = make_input(q, e);

    f->coap = c;
    f->to = q->to;
    f->async = e->async;
    f->exchange = x;
    if (x)
        x->flight = f;
    mp_list_init(&f->wait);
    mp_list_append(&c->flights, &f->link);
    c->n_flights++;
    q->to.peer->n_flights++;
    coap_session_reference(q->to.peer->session);
    if (observes(q, e))
        f->observer = mp_coap_observe(c, q);
    if (!q->to.peer->reliable && q->to.type == COAP_MESSAGE_CON) {
        f->ack_us = in->received_us + COAP_ACK_MS * MP_MS;
        mp_list_append(&c->waiting, &f->wait);
        mp_coap_soon(c);
    }
    in->owner = f;
    /* Its answer may be there before it is settled. */
    if (f->async)
        f->begun = begin_result(c, in);
    mp_host_input(c->host, in);
}
