/*
 * coap_observe.c - observers (RFC 7641).
 *
 * A registration is a request like others; its response tells the client that
 * it is registered.  What is notified between is kept for after it, the latest
 * only.  Notifications aren't confirmable, but for one now and then: libcoap
 * shows us a reset, or that nothing came back, only for these.
 *
 * To send may be to learn that the session has ended (DTLS, TCP): then its
 * observers are dropped meanwhile, the one that is sent to and the next ones
 * with it.  So who is sent to is pending, and walks keep their place in c.
 */
#include "transports/coap.h"
#include "transports/coap_impl.h"

#include <stdlib.h>

struct coap_observer {
    struct mp_link link;
    struct coap_to to;
    char *path;
    /* Its flight has it, for it isn't answered yet; or it is sent to. */
    bool pending;
    bool dead; /* it is no observer any more, but pending */
    int64_t confirmed_us;
    char *late; /* came while it was pending; NULL: nothing did */
    struct coap_reply reply;
};

#define observer_of(at) mp_of(at, struct coap_observer, link)

enum { SEQUENCE_MASK = 0xffffff };

static void observer_free(struct coap_observer *o)
{
    free(o->late);
    free(o->path);
    free(o);
}

static void drop(struct coap *c, struct coap_observer *o)
{
    if (c->next_observer == &o->link)
        c->next_observer = o->link.next;
    mp_list_unlink(&o->link);
    c->n_observers--;
    coap_session_release(o->to.peer->session);
    if (o->pending)
        o->dead = true;
    else
        observer_free(o);
}

static void walk(struct coap *c)
{
    c->next_observer = c->observers.next;
}

/* NULL: that were all.  Any may be dropped between; walks don't nest. */
static struct coap_observer *next(struct coap *c)
{
    struct mp_link *at = c->next_observer;

    if (at == &c->observers)
        return NULL;
    c->next_observer = at->next;
    return observer_of(at);
}

static struct coap_observer *find(struct coap *c, const coap_session_t *session,
                                  struct mp_slice token)
{
    mp_list_each (at, &c->observers) {
        struct coap_observer *o = observer_of(at);

        if (o->to.peer->session == session &&
            mp_slice_eq(mp_slice(o->to.token, o->to.token_len), token))
            return o;
    }
    return NULL;
}

void mp_coap_unobserve(struct coap *c, const struct coap_to *to)
{
    struct coap_observer *o =
        find(c, to->peer->session, mp_slice(to->token, to->token_len));

    if (o)
        drop(c, o);
}

struct coap_observer *mp_coap_observe(struct coap *c,
                                      const struct coap_request *q)
{
    struct coap_observer *o;

    mp_coap_unobserve(c, &q->to);
    if (c->n_observers >= c->config->coap.observers)
        return NULL;
    o = mp_zalloc(sizeof *o);
    o->to = q->to;
    o->path = mp_strndup(q->path.ptr, q->path.len);
    o->pending = true;
    mp_list_append(&c->observers, &o->link);
    c->n_observers++;
    coap_session_reference(q->to.peer->session);
    return o;
}

static int64_t next_number(struct coap *c)
{
    c->sequence = (c->sequence + 1) & SEQUENCE_MASK;
    return c->sequence;
}

bool mp_coap_observer_answer(struct coap *c, struct coap_observer *o,
                             struct coap_reply *r)
{
    if (!o->dead && r->code >> 5 == 2) {
        r->observe = next_number(c);
        return true;
    }
    mp_coap_observer_release(c, o);
    return false;
}

static bool is_confirmable(struct coap_observer *o, int64_t now_us)
{
    if (o->to.peer->reliable ||
        (o->confirmed_us &&
         now_us < o->confirmed_us + COAP_OBSERVE_CON_S * MP_SECOND))
        return false;
    o->confirmed_us = now_us;
    return true;
}

/* False: it was dropped by that, and is gone. */
static bool push(struct coap *c, struct coap_observer *o, struct coap_reply r)
{
    struct coap_peer *p = o->to.peer;
    bool confirmable = is_confirmable(o, mp_now_us());

    MP_ASSERT(!o->pending);
    o->pending = true;
    if (r.code >> 5 == 2)
        r.observe = next_number(c);
    mp_coap_cut(c, &o->to, &r);
    mp_coap_send(c, &o->to, &r,
                 confirmable ? COAP_MESSAGE_CON : COAP_MESSAGE_NON,
                 p->reliable ? 0 : coap_new_message_id(p->session));
    mp_coap_requests[r.code]++;
    o->pending = false;
    if (!o->dead)
        return true;
    observer_free(o);
    return false;
}

void mp_coap_observer_answered(struct coap *c, struct coap_observer *o)
{
    char *late = o->late;

    o->late = NULL;
    o->pending = false;
    if (o->dead) /* by its own answer */
        observer_free(o);
    else if (late)
        (void)push(c, o, o->reply);
    free(late);
}

void mp_coap_observer_release(struct coap *c, struct coap_observer *o)
{
    o->pending = false;
    if (o->dead)
        observer_free(o);
    else
        drop(c, o);
}

void mp_coap_observers_drop(struct coap *c, const coap_session_t *session,
                            const coap_bin_const_t *token)
{
    mp_list_each_safe (at, &c->observers) {
        struct coap_observer *o = observer_of(at);

        if (session && o->to.peer->session != session)
            continue;
        if (token && !mp_slice_eq(mp_slice(o->to.token, o->to.token_len),
                                  mp_slice(token->s, token->length)))
            continue;
        drop(c, o);
    }
}

void mp_coap_observers_check(struct coap *c)
{
    struct coap_observer *o;
    unsigned allowed;

    walk(c);
    while ((o = next(c))) {
        const struct mp_endpoint *e =
            mp_endpoint_find(c->endpoints, c->n_endpoints, MP_GET,
                             mp_slice_str(o->path), &allowed);

        if (o->to.code == COAP_REQUEST_CODE_FETCH)
            e = mp_endpoint_find(c->endpoints, c->n_endpoints, MP_FETCH,
                                 mp_slice_str(o->path), &allowed);
        if (e && e->observe)
            continue;
        if (o->pending ||
            push(c, o,
                 mp_coap_problem(COAP_CODE(4, 4), "no function answers here")))
            drop(c, o);
    }
}

static void keep_late(struct coap_observer *o, const struct coap_reply *r)
{
    free(o->late);
    o->late = mp_alloc(r->data.len + 1);
    memcpy(o->late, r->data.ptr, r->data.len);
    o->reply = *r;
    o->reply.data = mp_slice(o->late, r->data.len);
}

void mp_coap_notify(void *self, struct mp_slice path, struct mp_slice data,
                    enum mp_format format, uint32_t max_age_s)
{
    struct coap *c = self;
    struct coap_reply r = mp_coap_reply(COAP_CODE(2, 5));
    struct coap_observer *o;

    r.format = mp_coap_format_of(format);
    r.data = data.ptr ? data : MP_S("");
    if (max_age_s)
        r.max_age = max_age_s;
    walk(c);
    while ((o = next(c))) {
        if (!mp_slice_is(path, o->path))
            continue;
        if (o->pending)
            keep_late(o, &r);
        else
            (void)push(c, o, r);
    }
}
