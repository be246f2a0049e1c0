/*
 * host_doors.c - what is said to all transports: MQTT, and those that are
 * opened when a trigger asks for them.
 */
#include "core/host_impl.h"
#include "core/log.h"
#include "core/module.h"

/* ---- opening ---- */

static bool is_wanted(const struct mp_host *h, const struct mp_door *d)
{
    switch (d->kind) {
    case MP_TRIGGER_EVERY:
        return h->router.n_timings > 0;
    case MP_TRIGGER_COAP:
        return h->router.coap.n > 0;
    case MP_TRIGGER_HTTP:
        return h->router.http.n > 0;
    default:
        return false;
    }
}

static int open_door(struct mp_host *h, struct mp_door *d, struct mp_why *why)
{
    if (!d->ops)
        d->ops = mp_module(d->module, d->symbol, why);
    if (!d->ops)
        return MP_EIO;
    return d->ops->open(h, h->loop, h->config, &d->self, why);
}

/* One that can't be opened is tried again with the next reload. */
static bool is_open(struct mp_host *h, struct mp_door *d)
{
    struct mp_why why;
    int rc;

    if (d->self || !is_wanted(h, d))
        return d->self != NULL;
    rc = open_door(h, d, &why);
    if (rc && !d->failed)
        mp_log(MP_ERROR, d->ops ? d->ops->name : d->module, NULL,
               "not opened: %s; its triggers wait", why.text);
    d->failed = rc != 0;
    return rc == 0;
}

static void serve(const struct mp_door *d, const struct mp_endpoints *e)
{
    d->ops->serve(d->self, e->list, e->n);
}

/* ---- addresses that don't fit the triggers ---- */

/* What the addresses of a door make possible. */
struct reach {
    const char *section;
    bool any, secure; /* there is an address; one with TLS */
    const char *far;  /* one off loopback; NULL: none */
    const char *bare; /* ... and without TLS; NULL: none */
    bool open;        /* who has nothing to show is answered from afar */
};

static void add_address(struct reach *r, const char *text, bool tls)
{
    const char *scheme = strstr(text, "://");
    const char *host = scheme ? scheme + 3 : text;
    bool near = strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0;
    bool secure = tls || strncmp(text, "coaps", 5) == 0;

    r->any = true;
    r->secure |= secure;
    if (!near && !r->far)
        r->far = text;
    if (!near && !secure && !r->bare)
        r->bare = text;
}

static struct reach reach_of(const struct mp_config *c,
                             enum mp_trigger_kind kind)
{
    bool coap = kind == MP_TRIGGER_COAP;
    char **at = coap ? c->coap.listen : c->http.listen;
    struct reach r = {.section = coap ? "coap" : "http",
                      .open = coap ? c->coap.open : c->http.open};

    for (; at && *at; at++)
        add_address(&r, *at, !coap && c->http.cert);
    return r;
}

/* Said once for each version. */
static void say_unreachable(const struct mp_version *v,
                            const struct mp_trigger *t, const struct reach *r)
{
    if (!r->any)
        mp_log(MP_WARN, v->fn->name, NULL,
               "trigger %s of %s needs an address in [%s] listen", t->name,
               v->fn->name, r->section);
    else if (t->auth == MP_AUTH_DTLS && !r->secure)
        mp_log(MP_WARN, v->fn->name, NULL,
               "trigger %s of %s needs a coaps:// address in [coap] listen: "
               "it answers only DTLS clients",
               t->name, v->fn->name);
}

/* Said once for each door. */
static void say_exposed(struct mp_door *d, const struct mp_version *v,
                        const struct mp_trigger *t, const struct reach *r)
{
    bool shows = t->auth == MP_AUTH_TOKEN || t->auth == MP_AUTH_HMAC;

    if (shows && r->bare && !d->said_clear) {
        d->said_clear = true;
        mp_log(MP_WARN, r->section, NULL,
               "%s has no TLS, and trigger %s of %s has auth = %s: %s in "
               "clear; set [http] cert and key",
               r->bare, t->name, v->fn->name,
               t->auth == MP_AUTH_TOKEN ? "token" : "hmac",
               t->auth == MP_AUTH_TOKEN ? "its token travels"
                                        : "what is signed travels");
    }
    if (t->auth == MP_AUTH_NONE && r->far && !r->open && !d->said_alone) {
        d->said_alone = true;
        mp_log(MP_INFO, r->section, NULL,
               "listening on %s, but triggers with auth = none (%s of %s) "
               "answer only clients on this machine; [%s] open = yes lets "
               "all in",
               r->far, t->name, v->fn->name, r->section);
    }
}

static void look_at(struct mp_host *h, struct mp_version *v)
{
    for (unsigned i = 0; i < v->fn->n_triggers; i++) {
        const struct mp_trigger *t = &v->fn->triggers[i];

        for (unsigned k = 0; k < h->n_doors; k++) {
            struct mp_door *d = &h->doors[k];
            struct reach r;

            if (d->kind != t->kind ||
                (t->kind != MP_TRIGGER_COAP && t->kind != MP_TRIGGER_HTTP))
                continue;
            r = reach_of(h->config, t->kind);
            if (!v->listens_said)
                say_unreachable(v, t, &r);
            say_exposed(d, v, t, &r);
        }
    }
    v->listens_said = true;
}

void mp_host_doors_route(struct mp_host *h)
{
    mp_list_each (at, &h->catalog.slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (slot->live)
            look_at(h, slot->live);
    }
    h->mqtt->route(h->mqtt_self, h->router.routes, h->router.n_routes);
    for (unsigned i = 0; i < h->n_doors; i++) {
        struct mp_door *d = &h->doors[i];

        if (!is_open(h, d))
            continue;
        if (d->ops->schedule)
            d->ops->schedule(d->self, h->router.timings, h->router.n_timings);
        if (d->ops->serve)
            serve(d, d->kind == MP_TRIGGER_COAP ? &h->router.coap
                                                : &h->router.http);
        if (h->paused)
            d->ops->pause(d->self, true);
    }
}

struct mp_door *mp_host_door(struct mp_host *h, enum mp_trigger_kind kind)
{
    for (unsigned i = 0; i < h->n_doors; i++)
        if (h->doors[i].kind == kind && h->doors[i].self)
            return &h->doors[i];
    return NULL;
}

/* ---- meanwhile ---- */

void mp_host_doors_lost(struct mp_host *h)
{
    if (h->mqtt_self)
        h->mqtt->lost(h->mqtt_self);
    for (unsigned i = 0; i < h->n_doors; i++)
        if (h->doors[i].self)
            h->doors[i].ops->lost(h->doors[i].self);
}

void mp_host_doors_found(struct mp_host *h)
{
    h->mqtt->found(h->mqtt_self);
    for (unsigned i = 0; i < h->n_doors; i++)
        if (h->doors[i].self)
            h->doors[i].ops->found(h->doors[i].self);
}

void mp_host_doors_pause(struct mp_host *h, bool paused)
{
    h->mqtt->pause(h->mqtt_self, paused);
    for (unsigned i = 0; i < h->n_doors; i++)
        if (h->doors[i].self)
            h->doors[i].ops->pause(h->doors[i].self, paused);
}

/* ---- the end ---- */

void mp_host_doors_drain(struct mp_host *h)
{
    if (h->mqtt_self)
        h->mqtt->drain(h->mqtt_self);
    for (unsigned i = 0; i < h->n_doors; i++)
        if (h->doors[i].self)
            h->doors[i].ops->drain(h->doors[i].self);
}

bool mp_host_doors_idle(struct mp_host *h)
{
    for (unsigned i = 0; i < h->n_doors; i++)
        if (h->doors[i].self && !h->doors[i].ops->idle(h->doors[i].self))
            return false;
    return !h->mqtt_self || h->mqtt->idle(h->mqtt_self);
}

static void on_closed(void *arg)
{
    struct mp_host *h = arg;

    if (--h->n_closing == 0)
        h->on_closed(h->on_closed_arg);
}

void mp_host_doors_close(struct mp_host *h, void (*finished)(void *arg),
                         void *arg)
{
    h->on_closed = finished;
    h->on_closed_arg = arg;
    h->n_closing = 1; /* until all have been told */
    for (unsigned i = 0; i < h->n_doors; i++) {
        if (!h->doors[i].self)
            continue;
        h->n_closing++;
        h->doors[i].ops->close(h->doors[i].self, on_closed, h);
        h->doors[i].self = NULL;
    }
    if (h->mqtt_self) {
        h->n_closing++;
        h->mqtt->close(h->mqtt_self, on_closed, h);
    }
    on_closed(h);
}
