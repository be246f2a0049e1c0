/*
 * host.h - the story of an event, from a transport to its acknowledgement.
 *
 *   mp_host_input      route it: an invocation for each function
 *   (pool)             queue, start, outcome
 *   on_done            effects leave; failures wait, or end as dead letters
 *   on_output_done     the broker has it
 *   settle             nothing holds it any more: acknowledge
 *
 * Until the durable store comes, what is parked (the host has taken it over:
 * slow, to be retried, quarantined, outputs not confirmed within `hold`)
 * waits in memory, up to limits.queue a function.
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_HOST_H
#define MP_HOST_H

#include "core/catalog.h"
#include "core/router.h"

struct mp_host {
    uv_loop_t *loop;
    const struct mp_config *config;
    struct mp_pool pool;
    struct mp_catalog catalog;
    struct mp_router router;
    const struct mp_transport *mqtt;
    void *mqtt_self;
    struct mp_link holding; /* invocations that hold a QoS 1 input back */
    uv_timer_t hold;        /* when the first of them has held long enough */
    unsigned open;          /* invocations that have not ended */
    unsigned parked;        /* of these, taken over */
    bool draining, closing;
    bool abandoned; /* an input is left to the broker: lanes stay unsettled */
    void (*on_settled)(void *arg, bool changed); /* a scan is settled */
    void (*on_link)(void *arg, bool up);
    void *arg;
};

/* Opens pool and transport and starts the first scan. */
MP_MUST int mp_host_open(struct mp_host *h, uv_loop_t *loop,
                         const struct mp_config *config,
                         const struct mp_transport *mqtt, struct mp_why *why);
/* No input from now on. */
void mp_host_drain(struct mp_host *h);
/* Is all that was taken over done and sent? */
bool mp_host_is_idle(struct mp_host *h);
/* Ends workers and transport; finished when the loop may stop. */
void mp_host_close(struct mp_host *h, void (*finished)(void *arg), void *arg);

#endif
