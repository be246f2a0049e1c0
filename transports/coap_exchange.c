/*
 * coap_exchange.c - repeats.
 *
 * A client that hears nothing sends its request again, with the same message
 * id, for up to four minutes.  For so long it is remembered what it got.  A
 * message id that comes again with another request is a client that started
 * anew: that is no repeat.
 */
#include "transports/coap_impl.h"

#include <stdlib.h>

/* One each, when it is full: a look is a miss of the cache, mostly. */
enum { BUCKETS = COAP_EXCHANGES_MAX };

#define exchange_of(at) mp_of(at, struct coap_exchange, link)

void mp_coap_exchanges_init(struct coap *c)
{
    mp_list_init(&c->exchanges.all);
    c->exchanges.buckets = mp_zalloc(BUCKETS * sizeof(void *));
}

static uint64_t name_of(const struct coap *c, const struct coap_request *q)
{
    struct mp_hasher hasher;

    mp_hasher_init(&hasher, &c->key);
    mp_hasher_add_u64(&hasher, q->to.peer->id.lo);
    mp_hasher_add_u64(&hasher, q->to.peer->id.hi);
    mp_hasher_add_u64(&hasher, (uint64_t)q->to.mid);
    return mp_hasher_end(&hasher).lo;
}

uint64_t mp_coap_exchange_print(const struct coap *c,
                                const struct coap_request *q)
{
    struct mp_hasher hasher;

    mp_hasher_init(&hasher, &c->key);
    mp_hasher_add_u64(&hasher, q->to.place);
    mp_hasher_add_u64(
        &hasher, q->to.block1.is ? (uint64_t)q->to.block1.num << 1 | 1 : 0);
    mp_hasher_add_u64(&hasher, (uint64_t)(q->observe + 1));
    mp_hasher_add(&hasher, mp_slice(q->to.token, q->to.token_len));
    mp_hasher_add(&hasher, q->data);
    return mp_hasher_end(&hasher).lo;
}

static struct coap_exchange **bucket(struct coap *c, uint64_t name)
{
    return &c->exchanges.buckets[name % BUCKETS];
}

void mp_coap_exchange_forget(struct coap *c, struct coap_exchange *x)
{
    struct coap_exchange **at = bucket(c, x->name);

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    if (x->flight)
        x->flight->exchange = NULL;
    mp_list_unlink(&x->link);
    c->exchanges.n--;
    c->exchanges.bytes -= x->n_bytes;
    free(x->bytes);
    free(x);
}

struct coap_exchange *mp_coap_exchange_find(struct coap *c,
                                            const struct coap_request *q,
                                            int64_t now_us)
{
    uint64_t name = name_of(c, q);
    struct coap_exchange *x = *bucket(c, name);

    while (x && x->name != name)
        x = x->next;
    if (!x)
        return NULL;
    if (x->print == q->print && now_us < x->until_us)
        return x;
    mp_coap_exchange_forget(c, x);
    return NULL;
}

static void make_room(struct coap *c)
{
    struct coap_exchanges *all = &c->exchanges;

    while (all->n > COAP_EXCHANGES_MAX || all->bytes > COAP_EXCHANGES_BYTES)
        mp_coap_exchange_forget(c, exchange_of(all->all.next));
}

struct coap_exchange *mp_coap_exchange_new(struct coap *c,
                                           const struct coap_request *q,
                                           int64_t now_us)
{
    struct coap_exchange *x = mp_zalloc(sizeof *x);
    struct coap_exchange **at;

    x->name = name_of(c, q);
    x->print = q->print;
    x->until_us = now_us + COAP_LIFETIME_S * MP_SECOND;
    at = bucket(c, x->name);
    x->next = *at;
    *at = x;
    mp_list_append(&c->exchanges.all, &x->link);
    c->exchanges.n++;
    make_room(c);
    return x;
}

void mp_coap_exchange_keep(struct coap *c, struct coap_exchange *x,
                           const struct coap_reply *r)
{
    size_t data = r->data.len, location = r->location.len;

    if (x->bytes)
        return; /* the first response is the one */
    x->n_bytes = data + location;
    x->bytes = mp_alloc(x->n_bytes + 1);
    x->reply = *r;
    if (data)
        memcpy(x->bytes, r->data.ptr, data);
    if (location)
        memcpy(x->bytes + data, r->location.ptr, location);
    x->reply.data = mp_slice(x->bytes, data);
    if (r->location.ptr)
        x->reply.location = mp_slice(x->bytes + data, location);
    c->exchanges.bytes += x->n_bytes;
    make_room(c);
}

void mp_coap_exchange_repeat(struct coap *c, struct coap_exchange *x,
                             struct coap_request *q)
{
    if (q->to.type != COAP_MESSAGE_CON)
        return;
    if (x->flight && !x->flight->to.acked)
        return; /* soon */
    if (x->flight || !x->reply.code)
        mp_coap_send_ack(c, &q->to);
    else
        mp_coap_send(c, &q->to, &x->reply, COAP_MESSAGE_ACK, q->to.mid);
}

void mp_coap_exchanges_tick(struct coap *c, int64_t now_us)
{
    struct mp_link *all = &c->exchanges.all;

    while (!mp_list_empty(all) && exchange_of(all->next)->until_us <= now_us)
        mp_coap_exchange_forget(c, exchange_of(all->next));
}

void mp_coap_exchanges_fini(struct coap *c)
{
    while (!mp_list_empty(&c->exchanges.all))
        mp_coap_exchange_forget(c, exchange_of(c->exchanges.all.next));
    free(c->exchanges.buckets);
}
