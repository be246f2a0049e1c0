/*
 * mqtt_subs.c - from routes to subscriptions, and only the difference sent.
 *
 * A subscription is known to the broker by its filter.  So routes with equal
 * filters share one.  Where the broker tells by identifier which
 * subscription brought a copy, overlapping filters are subscribed as they
 * are; where it doesn't, overlapping ones are replaced by a filter that covers
 * both, until none overlap: then each message comes once, and the host
 * matches it with every trigger.  Shared subscriptions are never merged.
 *
 * Each change is on disk as *unsure* before it is sent, and is kept as *sure*
 * when it is answered, so that after a crash it is made again, or undone.
 */
#include "transports/mqtt_impl.h"

#include <stdlib.h>

#include "core/log.h"

void mp_mqtt_subs_forget(struct mqtt_lane *l)
{
    for (unsigned i = 0; i < l->n_wants; i++)
        free(l->wants[i].filter);
    free(l->wants);
    l->wants = NULL;
    l->n_wants = 0;
}

static bool is_of(const struct mqtt_lane *l, const struct mp_route *r)
{
    if (!l->name)
        return r->lane == 0;
    return r->lane != 0 && strcmp(r->lane_name, l->name) == 0;
}

static char *full_filter(const struct mp_route *r)
{
    struct mp_buf text;
    char *copy;

    mp_buf_init(&text, UINT16_MAX);
    if (r->share)
        mp_buf_printf(&text, "$share/%s/", r->share);
    mp_buf_put(&text, r->filter, strlen(r->filter));
    copy = mp_strndup(text.ptr, text.len);
    mp_buf_fini(&text);
    return copy;
}

static struct mqtt_want *want_find(struct mqtt_lane *l, const char *filter)
{
    for (unsigned i = 0; i < l->n_wants; i++)
        if (strcmp(l->wants[i].filter, filter) == 0)
            return &l->wants[i];
    return NULL;
}

static void want_add(struct mqtt_lane *l, const struct mp_route *r)
{
    char *filter = full_filter(r);
    struct mqtt_want *w = want_find(l, filter);

    if (w) {
        free(filter);
        w->qos = r->qos > w->qos ? r->qos : w->qos;
        w->retained |= r->retained;
        w->id = r->id < w->id ? r->id : w->id;
        /* No room for another route: as if the broker didn't say. */
        if (w->n_routes == ARRAY_LEN(w->routes))
            w->n_routes = 0;
        if (w->n_routes)
            w->routes[w->n_routes++] = r->id;
        return;
    }
    l->wants = mp_realloc(l->wants, (l->n_wants + 1) * sizeof(*l->wants));
    l->wants[l->n_wants++] = (struct mqtt_want){
        .filter = filter,
        .qos = r->qos,
        .retained = r->retained,
        .shared = r->share != NULL,
        .id = r->id,
        .routes = {r->id},
        .n_routes = 1,
    };
}

static void want_merge(struct mqtt_lane *l, unsigned a, unsigned b)
{
    struct mqtt_want *to = &l->wants[a], *from = &l->wants[b];
    struct mp_buf cover;

    mp_buf_init(&cover, UINT16_MAX);
    mp_filter_cover(mp_slice_str(to->filter), mp_slice_str(from->filter),
                    &cover);
    MP_ASSERT(cover.len > 0); /* they overlap */
    free(to->filter);
    to->filter = mp_strndup(cover.ptr, cover.len);
    mp_buf_fini(&cover);
    to->qos = from->qos > to->qos ? from->qos : to->qos;
    to->retained |= from->retained;
    free(from->filter);
    *from = l->wants[--l->n_wants];
}

static bool merge_one(struct mqtt_lane *l)
{
    for (unsigned a = 0; a < l->n_wants; a++)
        for (unsigned b = a + 1; b < l->n_wants; b++)
            if (!l->wants[a].shared && !l->wants[b].shared &&
                mp_filter_overlap(mp_slice_str(l->wants[a].filter),
                                  mp_slice_str(l->wants[b].filter))) {
                want_merge(l, a, b);
                return true;
            }
    return false;
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const struct mqtt_want *)a)->id;
    uint32_t y = ((const struct mqtt_want *)b)->id;

    return x < y ? -1 : x > y;
}

void mp_mqtt_subs_want(struct mqtt_lane *l)
{
    const struct mqtt *mq = l->conn.mq;

    mp_mqtt_subs_forget(l);
    for (unsigned i = 0; i < mq->n_routes && !l->retired; i++)
        if (is_of(l, &mq->routes[i]))
            want_add(l, &mq->routes[i]);
    if (!l->conn.identifiers) {
        while (merge_one(l))
            ;
        for (unsigned i = 0; i < l->n_wants; i++)
            l->wants[i].id = l->wants[i].n_routes = 0;
    } else if (l->n_wants) {
        qsort(l->wants, l->n_wants, sizeof(*l->wants), by_id);
    }
}

const struct mqtt_want *mp_mqtt_subs_by_id(const struct mqtt_lane *l,
                                           uint32_t id)
{
    struct mqtt_want key = {.id = id};

    if (!l->n_wants)
        return NULL;
    return bsearch(&key, l->wants, l->n_wants, sizeof(*l->wants), by_id);
}

/* ---- the difference ---- */

static void send_unsubscribe(struct mqtt_lane *l, struct mp_sub *sub)
{
    if (mosquitto_unsubscribe(l->conn.m, &sub->packet_id, sub->filter) == 0)
        l->unanswered++;
}

static void send_subscribe(struct mqtt_lane *l, struct mp_sub *sub)
{
    mosquitto_property *props = NULL;
    int rc, options = 0;

    if (l->conn.version == MQTT_PROTOCOL_V5) {
        options = !sub->retained ? MQTT_SUB_OPT_SEND_RETAIN_NEVER
                  : sub->fresh   ? MQTT_SUB_OPT_SEND_RETAIN_ALWAYS
                                 : MQTT_SUB_OPT_SEND_RETAIN_NEW;
        if (sub->id)
            mp_mqtt_added(mosquitto_property_add_varint(
                &props, MQTT_PROP_SUBSCRIPTION_IDENTIFIER, sub->id));
    }
    rc = mosquitto_subscribe_v5(l->conn.m, &sub->packet_id, sub->filter,
                                sub->qos, options, props);
    mosquitto_property_free_all(&props);
    if (rc == 0)
        l->unanswered++;
    else
        mp_log(MP_WARN, "mqtt", NULL, "'%s' can't be subscribed: %s",
               sub->filter, mosquitto_strerror(rc));
}

static bool is_had(const struct mp_sub *sub, const struct mqtt_want *w)
{
    return sub->sure && sub->qos == w->qos && sub->id == w->id &&
           sub->retained == w->retained;
}

/* Note in the session what is going to change.  True: something is. */
static bool note_changes(struct mqtt_lane *l)
{
    bool changed = false;

    for (unsigned i = 0; i < l->session.n_subs; i++) {
        struct mp_sub *sub = &l->session.subs[i];

        sub->leaving = !want_find(l, sub->filter);
        if (!sub->leaving)
            continue;
        sub->sure = false;
        changed = true;
    }
    for (unsigned i = 0; i < l->n_wants; i++) {
        const struct mqtt_want *w = &l->wants[i];
        struct mp_sub *sub = mp_session_sub(&l->session, w->filter);

        if (sub && is_had(sub, w))
            continue;
        if (!sub)
            sub = mp_session_add(&l->session, w->filter);
        sub->fresh = sub->sure && !sub->retained && w->retained;
        sub->sure = false;
        sub->qos = w->qos;
        sub->id = w->id;
        sub->retained = w->retained;
        changed = true;
    }
    return changed;
}

/* Nothing is on its way: all is as it should be, or there is more to do. */
static void subs_settled(struct mqtt_lane *l)
{
    if (l->again)
        mp_mqtt_subs_send(l);
    else
        l->ready = true;
}

/* The session is durable as it is going to be. */
static void subs_kept(struct mp_commit_wait *w, int rc)
{
    struct mqtt_lane *l = mp_of(w, struct mqtt_lane, subscribing);

    if (rc)
        return; /* the transport is told that all is lost */
    l->unkept = false;
    for (unsigned i = 0; i < l->session.n_subs; i++) {
        struct mp_sub *sub = &l->session.subs[i];

        if (sub->leaving)
            send_unsubscribe(l, sub);
        else if (!sub->sure || sub->refresh)
            send_subscribe(l, sub);
    }
    if (!l->unanswered)
        subs_settled(l);
    mp_mqtt_lane_wake(l);
}

static bool is_refreshing(const struct mqtt_lane *l)
{
    for (unsigned i = 0; i < l->session.n_subs; i++)
        if (l->session.subs[i].refresh)
            return true;
    return false;
}

void mp_mqtt_subs_send(struct mqtt_lane *l)
{
    l->again = l->unanswered || mp_mqtt_kept_waits(&l->subscribing);
    if (l->again)
        return;
    if (note_changes(l) || l->unkept)
        mp_mqtt_kept_save(l, &l->subscribing, subs_kept);
    else if (is_refreshing(l))
        subs_kept(&l->subscribing, 0); /* nothing of it is new */
    if (!mp_mqtt_kept_waits(&l->subscribing))
        l->ready = true; /* as far as it was known before */
}

void mp_mqtt_subs_answer(struct mqtt_lane *l, int packet_id, int reason)
{
    struct mp_session *s = &l->session;

    for (unsigned i = 0; i < s->n_subs; i++) {
        struct mp_sub *sub = &s->subs[i];

        if (sub->packet_id != packet_id)
            continue;
        sub->packet_id = 0;
        l->unanswered--;
        l->changed |= !sub->sure || reason >= MQTT_RC_UNSPECIFIED;
        sub->refresh = false;
        if (sub->leaving) {
            mp_session_remove(s, sub);
        } else if (reason < MQTT_RC_UNSPECIFIED) {
            sub->sure = true;
        } else {
            sub->sure = false;
            mp_log(MP_WARN, "mqtt", NULL,
                   "the broker refuses the subscription '%s': %s", sub->filter,
                   mosquitto_reason_string(reason));
        }
        break;
    }
    if (l->unanswered)
        return;
    l->stale |= l->changed;
    l->changed = false;
    subs_settled(l);
    if (l->stale)
        mp_mqtt_kept_save(l, NULL, NULL);
}
