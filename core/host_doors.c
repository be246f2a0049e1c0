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
    return d->kind == MP_TRIGGER_EVERY && h->router.n_timings > 0;
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

void mp_host_doors_route(struct mp_host *h)
{
    h->mqtt->route(h->mqtt_self, h->router.routes, h->router.n_routes);
    for (unsigned i = 0; i < h->n_doors; i++) {
        struct mp_door *d = &h->doors[i];

        if (!is_open(h, d))
            continue;
        if (d->ops->schedule)
            d->ops->schedule(d->self, h->router.timings, h->router.n_timings);
        if (h->paused)
            d->ops->pause(d->self, true);
    }
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
