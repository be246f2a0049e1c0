/*
 * router.h - which functions an input is for, and what to subscribe to.
 *
 * Built anew from the live functions at each change; between changes it is
 * constant, so matching allocates nothing.  A request knows its trigger: the
 * transport has looked it up (core/endpoint.h).  Of two triggers of the same
 * shape the second is not served, which is said.
 *
 * Messages: a function's triggers are tried
 * in file order and the first whose pattern and filter match takes the event,
 * once.  Where only patterns match, the first of these has skipped it.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   owns routes and entries; borrows versions, which it references.
 */
#ifndef MP_ROUTER_H
#define MP_ROUTER_H

#include "core/invocation.h"

struct mp_pool;

/* One pattern of one trigger, or a timer. */
struct mp_router_entry {
    struct mp_version *version;
    const struct mp_trigger *trigger;
    const struct mp_pattern *pattern; /* NULL: a timer */
    uint32_t route, lane;
};

/* What requests of one protocol may ask for; best first. */
struct mp_endpoints {
    struct mp_endpoint *list;
    unsigned n;
};

struct mp_router {
    struct mp_router_entry *entries; /* a version's stand together */
    unsigned n_entries;
    struct mp_route *routes;
    unsigned n_routes;
    struct mp_timing *timings;
    struct mp_zone **zones; /* theirs; NULL: of one that is no cron */
    unsigned n_timings;
    struct mp_endpoints coap, http;
};

/* Build from the live versions of all slots in the list. */
void mp_router_build(struct mp_router *r, struct mp_link *slots,
                     const struct mp_config *config);
void mp_router_fini(struct mp_router *r, struct mp_pool *pool);

/*
 * Call take for each function that the input is for; values: what its filter
 * has read, or NULL; filtered: no filter wants it.  Returns how many.  A
 * QoS 1 message that is for none is told of, at most once a minute.
 */
unsigned mp_router_match(
    const struct mp_router *r, const struct mp_input *in,
    void (*take)(void *arg, const struct mp_router_entry *entry,
                 const struct mp_pair *params, uint32_t n_params,
                 const struct mp_stream_values *values, bool filtered),
    void *arg);

#endif
