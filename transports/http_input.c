/*
 * http_input.c - a request made an input, and what the host says of it.
 *
 * The host has an input until it is settled, maybe longer than its client
 * waits: then nobody is told, and what it did stays done.
 */
#include "transports/http_impl.h"

#include <stdlib.h>

#include "core/base/hash.h"
#include "core/base/utf8.h"
#include "core/results.h"

#define flight_of(at) mp_of(at, struct http_flight, link)

void mp_http_call_detach(struct http_call *c)
{
    if (c->flight)
        c->flight->call = NULL;
    c->flight = NULL;
}

static void on_answer(struct mp_input *in, const struct mp_answer *a)
{
    struct http_flight *f = in->owner;
    struct http_call *c = f->call;

    if (!c)
        return;
    mp_http_call_detach(c);
    mp_http_answer(c, a);
}

static void accepted(struct http_call *c, const struct http_flight *f,
                     const struct mp_input *in)
{
    const struct mp_results *r = mp_host_results(f->http->host);
    char name[MP_RESULT_NAME + 1];

    mp_http_accepted(c, mp_results_name_of(r, in, name), in->id, f->preferred);
}

static void drop_result(struct http *h, const struct mp_input *in)
{
    struct mp_results *r = mp_host_results(h->host);
    char name[MP_RESULT_NAME + 1];

    mp_results_drop(r, mp_results_name_of(r, in, name));
}

/* False: another one has begun it. */
static bool begin_result(struct http *h, const struct mp_input *in)
{
    struct mp_results *r = mp_host_results(h->host);
    char name[MP_RESULT_NAME + 1];

    return mp_results_begin(r, mp_results_name_of(r, in, name),
                            in->received_us);
}

/* What it is told when it is settled and nothing was said before. */
static void tell_settled(struct http_call *c, const struct http_flight *f,
                         const struct mp_input *in)
{
    if (f->async && !in->lost)
        accepted(c, f, in);
    else
        mp_http_busy(c, MHD_HTTP_SERVICE_UNAVAILABLE, HTTP_RETRY_S,
                     "this could not be kept; ask again");
}

static void on_settled(struct mp_input *in)
{
    struct http_flight *f = in->owner;
    struct http_call *c = f->call;

    if (f->begun && in->lost && f->http)
        drop_result(f->http, in);
    if (c) {
        mp_http_call_detach(c);
        tell_settled(c, f, in);
    }
    if (f->http)
        f->http->n_flights--;
    mp_list_unlink(&f->link);
    free(f);
}

/*
 * Inputs that the host still has when the transport is closed.  It may settle
 * them or not; either way they are not lost out of sight.
 */
void mp_http_flights_orphan(struct http *h)
{
    static struct mp_link orphans = {&orphans, &orphans};

    while (!mp_list_empty(&h->flights)) {
        struct http_flight *f = flight_of(h->flights.next);

        if (f->call)
            mp_http_call_detach(f->call);
        f->http = NULL;
        mp_list_unlink(&f->link);
        mp_list_append(&orphans, &f->link);
    }
    h->n_flights = 0;
}

static void put_hex(char *out, uint64_t word)
{
    static const char digits[] = "0123456789abcdef";

    for (int shift = 60; shift >= 0; shift -= 4)
        *out++ = digits[word >> shift & 15];
}

struct words {
    char id[HTTP_ID], exchange[HTTP_ID];
};

static void hash_text(struct mp_hasher *hasher, char out[HTTP_ID])
{
    struct mp_hash hash = mp_hasher_end(hasher);

    put_hex(out, hash.hi);
    put_hex(out + HTTP_ID / 2, hash.lo);
}

/*
 * Who has seen some of our ids can't tell the next: they are a keyed hash of
 * a count.  (To ask the system for 16 bytes each time costs more than the rest
 * of an input.)
 */
static void new_id(struct http *h, char out[HTTP_ID])
{
    struct mp_hasher hasher;

    mp_hasher_init(&hasher, &h->id_key);
    mp_hasher_add_u64(&hasher, ++h->n_ids);
    hash_text(&hasher, out);
}

/* Ids that are too long are hashed, as everywhere. */
static void set_id(struct http_call *c, struct mp_input *in, struct words *w)
{
    static const struct mp_hash_key plain;
    struct mp_hasher hasher;

    in->id = mp_http_header(c, "ce-id");
    if (!in->id.len)
        in->id = mp_http_header(c, "Idempotency-Key");
    in->given_id = in->id.len > 0;
    if (in->given_id && in->id.len <= MP_EVENT_ID_MAX && mp_utf8_valid(in->id))
        return;
    if (in->given_id) {
        mp_hasher_init(&hasher, &plain);
        mp_hasher_add(&hasher, in->id);
        hash_text(&hasher, w->id);
    } else {
        new_id(c->http, w->id);
    }
    in->id = mp_slice(w->id, HTTP_ID);
}

/*
 * What tells this request from all others, after a restart and a change of the
 * functions, too: so it is no number of an endpoint that is hashed, but what
 * was asked for.  All of it: a key that comes again with another query or body
 * is another request, and must not be told what became of the first.
 */
static void set_exchange(struct http_call *c, struct mp_input *in,
                         struct words *w)
{
    static const struct mp_hash_key plain;
    struct mp_slice key = mp_http_header(c, "Idempotency-Key");
    struct mp_hasher hasher;

    if (!key.len)
        return;
    mp_hasher_init(&hasher, &plain);
    mp_hasher_add(&hasher, MP_S("http"));
    mp_hasher_add(&hasher, in->method);
    mp_hasher_add(&hasher, in->topic);
    mp_hasher_add(&hasher, c->target.raw_query);
    mp_hasher_add(&hasher, in->data);
    mp_hasher_add(&hasher, key);
    hash_text(&hasher, w->exchange);
    in->exchange = mp_slice(w->exchange, HTTP_ID);
    in->exchange_us = HTTP_EXCHANGE_US;
}

static bool is_in_work(const struct http *h, struct mp_slice exchange)
{
    if (!exchange.ptr)
        return false;
    mp_list_each (at, &h->flights) {
        if (mp_slice_eq(flight_of(at)->exchange, exchange))
            return true;
    }
    return false;
}

/* NULL: its key is in work. */
static struct mp_input *make_input(struct http_call *c,
                                   const struct mp_endpoint *e)
{
    bool async = e->async || c->wants_async;
    struct mp_pair headers[MP_PAIRS_MAX];
    struct mp_input from = {0}, *in = NULL;
    const char *secret = e->auth == MP_AUTH_TOKEN ? "Authorization" : NULL;
    struct words w;
    char *text;

    from.type = MP_EVENT_HTTP;
    from.qos = async;
    from.settled = on_settled;
    from.answer = async ? NULL : on_answer;
    from.received_us = mp_now_us();
    from.time_us = mp_wall_us();
    from.topic = c->target.path;
    from.data = c->body.len ? mp_buf_bytes(&c->body) : MP_S("");
    from.method =
        mp_slice_str(mp_method_name(c->method == MP_HEAD ? MP_GET : c->method));
    from.peer = mp_slice_str(c->conn->peer);
    from.source = mp_slice_str(c->conn->source);
    from.datacontenttype = mp_http_header(c, "Content-Type");
    from.traceparent = mp_http_header(c, "traceparent");
    if (from.traceparent.len > MP_TRACE_MAX)
        from.traceparent = (struct mp_slice){NULL, 0};
    from.query = c->target.query;
    from.n_query = c->target.n_query;
    from.routes[0] = e->id;
    from.n_routes = 1;
    set_id(c, &from, &w);
    set_exchange(c, &from, &w);
    from.headers = headers;
    from.n_headers = mp_http_pairs(c, secret, headers, &text);
    if (!is_in_work(c->http, from.exchange))
        in = mp_input_new(&from);
    free(text);
    return in;
}

bool mp_http_fly(struct http_call *c, const struct mp_endpoint *e)
{
    struct http *h = c->http;
    struct mp_input *in = make_input(c, e);
    struct http_flight *f;

    if (!in)
        return false;
    mp_http_free_body(c);
    f = mp_zalloc(sizeof *f);
    f->http = h;
    f->call = c;
    f->async = !in->answer;
    f->preferred = c->wants_async;
    f->exchange = in->exchange;
    in->owner = f;
    c->flight = f;
    mp_list_append(&h->flights, &f->link);
    h->n_flights++;
    /* Its answer may be there before it is settled. */
    if (f->async)
        f->begun = begin_result(h, in);
    mp_host_input(h->host, in);
    return true;
}
