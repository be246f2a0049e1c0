/*
 * router.c - patterns against topics.
 *
 * A copy of a message may come once for each subscription that matches it
 * (MQTT 5) or once in all (3.1.1).  So that no function runs twice, the
 * first matching trigger of a function is found from the topic alone, and the
 * copy counts only if it was brought by that trigger's subscription, or if
 * nobody says what brought it.
 */
#include "core/router.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/endpoint.h"
#include "core/log.h"
#include "core/pool.h"

/* How often messages that are for nobody are told of. */
#define SAY_EVERY_US (60 * MP_SECOND)

/* Stable by content, so that a resumed session's subscriptions still fit:
 * 1 to 268,435,455 (MQTT 5, 3.8.2.1.2). */
static uint32_t number_of(const char *a, const char *b, uint32_t c)
{
    static const struct mp_hash_key key = {0x6d6f6f6e, 0x706f6f6c};
    struct mp_hasher h;

    mp_hasher_init(&h, &key);
    mp_hasher_add(&h, mp_slice_str(a));
    mp_hasher_add(&h, mp_slice_str(b));
    mp_hasher_add_u64(&h, c);
    return 1 + (uint32_t)(mp_hasher_end(&h).lo % UINT64_C(268435454));
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool id_is_taken(const struct mp_router *r, uint32_t id)
{
    for (unsigned i = 0; i < r->n_routes; i++)
        if (r->routes[i].id == id)
            return true;
    return false;
}

/* The route of a trigger's filter, shared by all that ask for the same. */
static const struct mp_route *route_of(struct mp_router *r,
                                       const struct mp_version *v,
                                       const struct mp_trigger *t,
                                       const char *filter)
{
    char lane_name[MP_NAME_MAX + MP_TRIGGER_MAX + 2];
    uint32_t lane = 0;
    struct mp_route *route;

    snprintf(lane_name, sizeof lane_name, "%s-%s", v->fn->name, t->name);
    if (t->own_lane)
        lane = number_of("lane", lane_name, 0);
    for (unsigned i = 0; i < r->n_routes; i++) {
        route = &r->routes[i];
        if (strcmp(route->filter, filter) == 0 && route->lane == lane &&
            same(route->share, t->share) && route->qos == t->qos) {
            route->retained |= t->retained;
            return route;
        }
    }
    r->routes = mp_realloc(r->routes, (r->n_routes + 1) * sizeof *r->routes);
    route = &r->routes[r->n_routes];
    *route = (struct mp_route){
        .filter = mp_strndup(filter, strlen(filter)),
        .share = t->share ? mp_strndup(t->share, strlen(t->share)) : NULL,
        .qos = t->qos,
        .retained = t->retained,
        .lane = lane,
        .lane_name = lane ? mp_strndup(lane_name, strlen(lane_name)) : NULL,
        .id = number_of(filter, t->share ? t->share : "", lane * 4 + t->qos),
    };
    while (id_is_taken(r, route->id))
        route->id = route->id % UINT32_C(268435455) + 1;
    r->n_routes++;
    return route;
}

static struct mp_router_entry *
add_entry(struct mp_router *r, struct mp_version *v, const struct mp_trigger *t)
{
    struct mp_router_entry *e;

    r->entries =
        mp_realloc(r->entries, (r->n_entries + 1) * sizeof *r->entries);
    e = &r->entries[r->n_entries++];
    *e = (struct mp_router_entry){.version = mp_version_ref(v), .trigger = t};
    return e;
}

static void add_trigger(struct mp_router *r, struct mp_version *v,
                        const struct mp_trigger *t)
{
    struct mp_buf filter;

    mp_buf_init(&filter, 65536);
    for (unsigned i = 0; i < t->n_patterns; i++) {
        const struct mp_route *route;
        struct mp_router_entry *e;

        mp_buf_reset(&filter);
        mp_pattern_filter(&t->patterns[i], &filter);
        mp_buf_put(&filter, "", 1);
        route = route_of(r, v, t, filter.ptr);
        e = add_entry(r, v, t);
        e->pattern = &t->patterns[i];
        e->route = route->id;
        e->lane = route->lane;
    }
    mp_buf_fini(&filter);
}

/* The trigger's, the function's, the node's, the system's; else UTC. */
static struct mp_zone *zone_of(const struct mp_version *v,
                               const struct mp_trigger *t,
                               const struct mp_config *config)
{
    const char *name = t->timezone       ? t->timezone
                       : v->fn->timezone ? v->fn->timezone
                                         : config->timezone;
    char system[MP_ZONE_NAME_MAX + 1];
    struct mp_zone *zone;
    struct mp_why why;

    if (!name) {
        mp_zone_system(system);
        name = system;
    }
    if (mp_zone_open(&zone, MP_ZONE_DIR, mp_slice_str(name), &why) == 0)
        return zone;
    mp_log(MP_ERROR, v->fn->name,
           MP_FIELDS(MP_TEXT("trigger", mp_slice_str(t->name))),
           "time zone %s: %s; it runs by UTC", name, why.text);
    MP_ASSERT(mp_zone_open(&zone, MP_ZONE_DIR, MP_S("UTC"), &why) == 0);
    return zone;
}

static void add_timer(struct mp_router *r, struct mp_version *v,
                      const struct mp_trigger *t,
                      const struct mp_config *config)
{
    bool cron = t->kind == MP_TRIGGER_CRON;
    struct mp_timing *timing;

    r->timings =
        mp_realloc(r->timings, (r->n_timings + 1) * sizeof *r->timings);
    r->zones =
        mp_realloc(r->zones, (r->n_timings + 1) * sizeof(struct mp_zone *));
    r->zones[r->n_timings] = cron ? zone_of(v, t, config) : NULL;
    timing = &r->timings[r->n_timings];
    *timing = (struct mp_timing){
        .id = number_of(v->fn->name, t->name, (uint32_t)t->kind),
        .function = v->fn->name,
        .trigger = t->name,
        .digest = t->when,
        .when = {.every_us = t->every_us,
                 .cron = cron ? &t->cron : NULL,
                 .zone = r->zones[r->n_timings],
                 .delay_us = mp_timetable_delay(
                     mp_slice_str(config->node), mp_slice_str(v->fn->name),
                     mp_slice_str(t->name), t->jitter_us),
                 .at_start = t->at_start,
                 .missed = t->missed},
    };
    r->n_timings++;
    add_entry(r, v, t)->route = timing->id;
}

/* Who answers it already; NULL: nobody. */
static const struct mp_router_entry *clash_of(const struct mp_router *r,
                                              const struct mp_endpoints *all,
                                              const struct mp_endpoint *e)
{
    for (unsigned i = 0; i < all->n; i++) {
        if (!mp_endpoint_clashes(&all->list[i], e))
            continue;
        for (unsigned k = 0; k < r->n_entries; k++)
            if (r->entries[k].pattern == all->list[i].pattern)
                return &r->entries[k];
    }
    return NULL;
}

static struct mp_slice secret_of(const struct mp_version *v,
                                 const struct mp_trigger *t)
{
    for (unsigned i = 0; t->secret && i < v->n_secrets; i++)
        if (mp_slice_is(v->secrets[i].name, t->secret))
            return v->secrets[i].value;
    return mp_slice(NULL, 0);
}

static bool endpoint_id_is_taken(const struct mp_endpoints *all, uint32_t id)
{
    for (unsigned i = 0; i < all->n; i++)
        if (all->list[i].id == id)
            return true;
    return false;
}

static void add_endpoint(struct mp_router *r, struct mp_version *v,
                         const struct mp_trigger *t)
{
    struct mp_endpoints *all = t->kind == MP_TRIGGER_COAP ? &r->coap : &r->http;
    struct mp_endpoint e = {
        .kind = t->kind,
        .id = number_of(v->fn->name, t->name, (uint32_t)t->kind),
        .methods = t->methods,
        .pattern = &t->patterns[0],
        .observe = t->observe,
        .async = t->async,
        .max_payload = t->max_payload,
        .auth = t->auth,
        .secret = secret_of(v, t),
        .header = t->header,
    };
    const struct mp_router_entry *other = clash_of(r, all, &e);
    struct mp_router_entry *entry;

    if (other) {
        mp_log(MP_ERROR, v->fn->name,
               MP_FIELDS(MP_TEXT("trigger", mp_slice_str(t->name))),
               "%s is answered by %s/%s already; this trigger is not served",
               t->patterns[0].text, other->version->fn->name,
               other->trigger->name);
        return;
    }
    while (endpoint_id_is_taken(all, e.id))
        e.id = e.id % UINT32_C(268435455) + 1;
    all->list = mp_realloc(all->list, (all->n + 1) * sizeof *all->list);
    all->list[all->n++] = e;
    entry = add_entry(r, v, t);
    entry->pattern = &t->patterns[0];
    entry->route = e.id;
}

void mp_router_build(struct mp_router *r, struct mp_link *slots,
                     const struct mp_config *config)
{
    *r = (struct mp_router){0};
    mp_list_each (at, slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (!slot->live)
            continue;
        for (unsigned i = 0; i < slot->live->fn->n_triggers; i++) {
            const struct mp_trigger *t = &slot->live->fn->triggers[i];

            if (t->kind == MP_TRIGGER_MQTT)
                add_trigger(r, slot->live, t);
            else if (t->kind == MP_TRIGGER_EVERY || t->kind == MP_TRIGGER_CRON)
                add_timer(r, slot->live, t, config);
            else if (t->kind == MP_TRIGGER_COAP || t->kind == MP_TRIGGER_HTTP)
                add_endpoint(r, slot->live, t);
        }
    }
    mp_endpoints_sort(r->coap.list, r->coap.n);
    mp_endpoints_sort(r->http.list, r->http.n);
}

void mp_router_fini(struct mp_router *r, struct mp_pool *pool)
{
    for (unsigned i = 0; i < r->n_entries; i++)
        mp_version_unref(pool, r->entries[i].version);
    for (unsigned i = 0; i < r->n_routes; i++) {
        free(r->routes[i].filter);
        free(r->routes[i].share);
        free(r->routes[i].lane_name);
    }
    for (unsigned i = 0; i < r->n_timings; i++)
        mp_zone_close(r->zones[i]);
    free(r->timings);
    free(r->coap.list);
    free(r->http.list);
    free(r->zones);
    free(r->entries);
    free(r->routes);
    *r = (struct mp_router){0};
}

/* Is it for a function of its lane, be it by another copy? */
static bool is_known(const struct mp_router *r, const struct mp_input *in)
{
    struct mp_pair params[MP_PAIRS_MAX];
    uint32_t n_params;

    for (unsigned i = 0; i < r->n_entries; i++)
        if (r->entries[i].trigger->kind == MP_TRIGGER_MQTT &&
            r->entries[i].lane == in->lane &&
            mp_pattern_match(r->entries[i].pattern, in->topic, params,
                             &n_params))
            return true;
    return false;
}

/* The broker kept it for us, and nobody wants it. */
static void say_unmatched(const struct mp_input *in)
{
    static struct {
        int64_t said_us; /* 0: never */
        uint64_t n;      /* since then */
    } told;
    int64_t now_us = mp_now_us();

    told.n++;
    if (told.said_us && now_us - told.said_us < SAY_EVERY_US)
        return;
    mp_log(MP_WARN, "router",
           MP_FIELDS(MP_NUM("messages", (int64_t)told.n),
                     MP_TEXT("topic", in->topic)),
           "messages that no function is for were acknowledged: the broker's "
           "session has subscriptions that this host did not make or no "
           "longer has; if another host uses the same [mqtt] client_id, give "
           "each its own");
    told.said_us = now_us;
    told.n = 0;
}

/* A request is for the trigger that was looked up for it. */
static unsigned match_request(
    const struct mp_router *r, const struct mp_input *in,
    void (*take)(void *arg, const struct mp_router_entry *entry,
                 const struct mp_pair *params, uint32_t n_params,
                 const struct mp_stream_values *values, bool filtered),
    void *arg)
{
    enum mp_trigger_kind kind =
        in->type == MP_EVENT_COAP ? MP_TRIGGER_COAP : MP_TRIGGER_HTTP;
    struct mp_pair params[MP_PAIRS_MAX];
    uint32_t n_params;

    for (unsigned i = 0; i < r->n_entries; i++) {
        const struct mp_router_entry *e = &r->entries[i];

        if (e->trigger->kind != kind || e->route != in->routes[0] ||
            !mp_pattern_match(e->pattern, in->topic, params, &n_params))
            continue;
        take(arg, e, params, n_params, NULL, false);
        return 1;
    }
    return 0;
}

/* A timer's run is for one trigger. */
static unsigned
match_timer(const struct mp_router *r, const struct mp_input *in,
            void (*take)(void *arg, const struct mp_router_entry *entry,
                         const struct mp_pair *params, uint32_t n_params,
                         const struct mp_stream_values *values, bool filtered),
            void *arg)
{
    for (unsigned i = 0; i < r->n_entries; i++) {
        if (r->entries[i].pattern || r->entries[i].route != in->routes[0])
            continue;
        take(arg, &r->entries[i], NULL, 0, NULL, false);
        return 1;
    }
    return 0;
}

static bool brought_by(const struct mp_input *in, uint32_t route)
{
    for (uint32_t i = 0; i < in->n_routes; i++)
        if (in->routes[i] == route)
            return true;
    return in->n_routes == 0;
}

/* A trigger of a function whose pattern matches, and whose filter too; or that
 * is the first one, and no other takes it. */
struct found {
    const struct mp_router_entry *entry; /* NULL: none */
    struct mp_pair params[MP_PAIRS_MAX];
    uint32_t n_params;
    bool is_read; /* values are; there is a filter */
    bool filtered;
};

static bool wants(const struct mp_router_entry *e, const struct mp_input *in,
                  const struct mp_pair *params, uint32_t n_params,
                  struct mp_stream_values *values)
{
    const struct mp_stream_event event = {
        .data = in->data,
        .datacontenttype = in->datacontenttype,
        .format = e->trigger->format,
        .params = params,
        .n_params = n_params,
    };

    return mp_stream_wants(e->trigger->lines, &event, values);
}

/* Among the entries of one version, from e on up to end: file order. */
static void find(const struct mp_router_entry *e,
                 const struct mp_router_entry *end, const struct mp_input *in,
                 struct found *f, struct mp_stream_values *values)
{
    struct mp_pair params[MP_PAIRS_MAX];
    uint32_t n_params;

    f->entry = NULL;
    for (; e < end; e++) {
        bool has_filter;

        if (e->trigger->kind != MP_TRIGGER_MQTT ||
            !mp_pattern_match(e->pattern, in->topic, params, &n_params))
            continue;
        /* What is too large is not read at all: it is dropped, counted. */
        has_filter = e->trigger->lines &&
                     in->data.len <= e->trigger->max_payload &&
                     mp_stream_lines_has(e->trigger->lines, MP_LINE_FILTER);
        f->filtered = has_filter && !wants(e, in, params, n_params, values);
        if (f->filtered && f->entry)
            continue;
        f->entry = e;
        f->n_params = n_params;
        f->is_read = has_filter;
        if (n_params)
            memcpy(f->params, params, n_params * sizeof *params);
        if (!f->filtered)
            return;
    }
    f->filtered = true;
}

unsigned mp_router_match(
    const struct mp_router *r, const struct mp_input *in,
    void (*take)(void *arg, const struct mp_router_entry *entry,
                 const struct mp_pair *params, uint32_t n_params,
                 const struct mp_stream_values *values, bool filtered),
    void *arg)
{
    struct mp_stream_values values;
    struct found f;
    unsigned taken = 0, next;

    if (in->type == MP_EVENT_TIMER)
        return match_timer(r, in, take, arg);
    if (in->method.ptr)
        return match_request(r, in, take, arg);
    for (unsigned i = 0; i < r->n_entries; i = next) {
        const struct mp_router_entry *e = &r->entries[i];

        for (next = i + 1; next < r->n_entries; next++)
            if (r->entries[next].version != e->version)
                break;
        find(e, &r->entries[next], in, &f, &values);
        if (!f.entry || f.entry->lane != in->lane ||
            !brought_by(in, f.entry->route))
            continue;
        take(arg, f.entry, f.params, f.n_params,
             f.is_read && !f.filtered ? &values : NULL, f.filtered);
        taken++;
    }
    if (!taken && in->qos > 0 && !is_known(r, in))
        say_unmatched(in);
    return taken;
}
