/*
 * step.c - reads an event member by member, then lets the patterns of the
 * function decide what it is.
 *
 * What the patterns bind is computed here and never taken from the text:
 * params and key of an event that was copied from a gateway may stand in it,
 * but a changed pattern must show.  Only an event that no pattern took, of an
 * alarm or a send, has its key and params as they are given.
 */
#include "cli/step_impl.h"

#include <stdlib.h>

#include "cli/when.h"
#include "core/base/base64.h"
#include "core/base/text.h"
#include "core/stream.h"

enum { WORDS_MAX = 48 };

static const char *const event_words[] = {
    "id",
    "type",
    "source",
    "subject",
    "time",
    "scheduled",
    "trigger",
    "key",
    "params",
    "attempt",
    "data",
    "data_base64",
    "datacontenttype",
    "topic",
    "qos",
    "retained",
    "properties",
    "expiry",
    "traceparent",
    "alarm",
    "missed",
    "method",
    "path",
    "query",
    "headers",
    "peer",
    "identity",
};

static bool among(struct mp_slice word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (mp_slice_is(word, words[i]))
            return true;
    }
    return false;
}

static int unknown(struct mp_slice name, const char *where,
                   const char *const *words, size_t n, struct mp_why *why)
{
    const char *near = mp_nearest(name, words, n);

    name = mp_cut(name, 60);
    return mp_why_set(why, MP_EPARSE, "unknown member '%.*s' in %s%s%s%s",
                      MP_FMT(name), where, near ? "; did you mean '" : "",
                      near ? near : "", near ? "'?" : "");
}

int mp_step_members(const struct mp_tree *v, const char *where,
                    const char *const *words, struct mp_why *why)
{
    size_t n = 0;

    if (v->kind != MP_TREE_OBJECT)
        return mp_why_set(why, MP_EPARSE, "%s is %s, not an object", where,
                          mp_tree_kind_name(v));
    while (words[n])
        n++;
    for (size_t i = 0; i < v->n; i++) {
        if (!among(v->items[i]->name, words, n))
            return unknown(v->items[i]->name, where, words, n, why);
    }
    return 0;
}

static int check_members(const struct mp_tree *v, const char *const *allowed,
                         struct mp_why *why)
{
    const char *words[WORDS_MAX + 1];
    size_t n = 0;

    if (v->kind != MP_TREE_OBJECT)
        return mp_why_set(why, MP_EPARSE, "an event is an object, not %s",
                          mp_tree_kind_name(v));
    for (; n < ARRAY_LEN(event_words); n++)
        words[n] = event_words[n];
    for (; allowed && *allowed; allowed++) {
        MP_ASSERT(n < WORDS_MAX);
        words[n++] = *allowed;
    }
    words[n] = NULL;
    return mp_step_members(v, "the event", words, why);
}

/* ---- members ---- */

/* A string member; absent leaves s alone. */
static int get_text(const struct mp_tree *v, const char *name,
                    struct mp_slice *s, struct mp_why *why)
{
    const struct mp_tree *m = mp_tree_get(v, name);

    if (!m || m->kind == MP_TREE_NULL)
        return 0;
    if (m->kind != MP_TREE_STRING)
        return mp_why_set(why, MP_EPARSE, "%s is %s, not a string", name,
                          mp_tree_kind_name(m));
    *s = m->text;
    return 0;
}

static int get_number(const struct mp_tree *v, const char *name, int64_t least,
                      int64_t most, int64_t *number, struct mp_why *why)
{
    const struct mp_tree *m = mp_tree_get(v, name);

    if (!m || m->kind == MP_TREE_NULL)
        return 0;
    if (m->kind != MP_TREE_INT || m->integer < least || m->integer > most)
        return mp_why_set(why, MP_EPARSE,
                          "%s is not a whole number from %lld to %lld", name,
                          (long long)least, (long long)most);
    *number = m->integer;
    return 0;
}

static int get_when(const struct mp_tree *v, const char *name, int64_t *us,
                    struct mp_why *why)
{
    struct mp_slice text = {0};
    int rc = get_text(v, name, &text, why);

    if (rc == 0 && text.ptr) {
        rc = mp_when_parse(text, us, why);
        if (rc)
            mp_why_wrap(why, "%s", name);
    }
    return rc;
}

/* An object of strings, into pairs of MP_PAIRS_MAX. */
static int get_pairs(const struct mp_tree *v, const char *name,
                     struct mp_pair *pairs, uint32_t *n, struct mp_why *why)
{
    const struct mp_tree *m = mp_tree_get(v, name);

    if (!m || m->kind == MP_TREE_NULL)
        return 0;
    if (m->kind != MP_TREE_OBJECT || m->n > MP_PAIRS_MAX)
        return mp_why_set(why, MP_EPARSE,
                          "%s is not an object of at most %d members", name,
                          MP_PAIRS_MAX);
    for (size_t i = 0; i < m->n; i++) {
        if (m->items[i]->kind != MP_TREE_STRING)
            return mp_why_set(why, MP_EPARSE, "%s.%.*s: not a string", name,
                              MP_FMT(m->items[i]->name));
        pairs[i] = (struct mp_pair){m->items[i]->name, m->items[i]->text};
    }
    *n = (uint32_t)m->n;
    return 0;
}

static int get_data(struct mp_step *step, const struct mp_tree *v,
                    struct mp_why *why)
{
    const struct mp_tree *data = mp_tree_get(v, "data");
    struct mp_slice coded = {0};
    size_t len, bad;
    char *room;
    int rc = get_text(v, "data_base64", &coded, why);

    if (rc)
        return rc;
    if (data && coded.ptr)
        return mp_why_set(why, MP_EPARSE,
                          "data and data_base64 can't both be given");
    if (coded.ptr) {
        room = mp_buf_room(&step->data, coded.len / 4 * 3 + 2);
        if (!room)
            return mp_why_set(why, MP_ERANGE, "data_base64 is too long");
        if (mp_base64_decode(coded, room, &len, &bad))
            return mp_why_set(why, MP_EPARSE,
                              "data_base64: not base64 at byte %zu", bad + 1);
        step->data.len = len;
    } else if (data && data->kind == MP_TREE_STRING) {
        mp_buf_slice(&step->data, data->text);
    } else if (data) {
        mp_tree_print(data, &step->data);
    }
    if (step->data.full)
        return mp_why_set(why, MP_ERANGE, "data is too long");
    step->event.data = mp_buf_bytes(&step->data);
    return 0;
}

/* `alarm` and `send` are types and triggers at once. */
static bool is_made_trigger(struct mp_slice name)
{
    return mp_slice_is(name, "alarm") || mp_slice_is(name, "send");
}

static int get_type(struct mp_event *e, struct mp_slice type,
                    struct mp_why *why)
{
    if (!type.ptr && is_made_trigger(e->trigger))
        type = e->trigger;
    if (!type.ptr || mp_slice_is(type, "mqtt"))
        e->type = MP_EVENT_MQTT;
    else if (mp_slice_is(type, "coap"))
        e->type = MP_EVENT_COAP;
    else if (mp_slice_is(type, "http"))
        e->type = MP_EVENT_HTTP;
    else if (mp_slice_is(type, "alarm"))
        e->type = MP_EVENT_ALARM;
    else if (mp_slice_is(type, "send"))
        e->type = MP_EVENT_SEND;
    else if (mp_slice_is(type, "timer"))
        e->type = MP_EVENT_TIMER;
    else
        return mp_why_set(why, MP_EPARSE,
                          "type '%.*s': there are mqtt, coap, http, timer, "
                          "alarm and send; a batch is its events",
                          MP_FMT(mp_cut(type, 40)));
    return 0;
}

/* What an event has that no pattern took. */
static int get_bound(struct mp_step *step, const struct mp_tree *v,
                     struct mp_why *why)
{
    struct mp_event *e = &step->event;
    int rc;

    if ((rc = get_text(v, "key", &e->key, why)) ||
        (rc = get_text(v, "alarm", &e->alarm, why)) ||
        (rc = get_pairs(v, "params", step->params, &e->n_params, why)))
        return rc;
    if (e->key.len > MP_KEY_MAX)
        return mp_why_set(why, MP_ERANGE, "key is longer than %d bytes",
                          MP_KEY_MAX);
    if (e->type == MP_EVENT_ALARM && !e->alarm.len)
        return mp_why_set(why, MP_ENONE,
                          "an alarm event says which: alarm = its name");
    e->params = step->params;
    return 0;
}

/* What only requests have. */
static int get_request(struct mp_step *step, const struct mp_tree *v,
                       struct mp_why *why)
{
    struct mp_event *e = &step->event;
    int rc;

    if ((rc = get_text(v, "method", &e->method, why)) ||
        (rc = get_text(v, "path", &e->path, why)) ||
        (rc = get_text(v, "peer", &e->peer, why)) ||
        (rc = get_text(v, "identity", &e->identity, why)) ||
        (rc = get_pairs(v, "query", step->query, &e->n_query, why)) ||
        (rc = get_pairs(v, "headers", step->headers, &e->n_headers, why)))
        return rc;
    e->query = step->query;
    e->headers = step->headers;
    return mp_tree_get(v, "query") ? 0 : mp_step_query(step, why);
}

static bool is_made(const struct mp_event *e)
{
    return e->type == MP_EVENT_ALARM || e->type == MP_EVENT_SEND;
}

static int get_members(struct mp_step *step, const struct mp_tree *v,
                       struct mp_why *why)
{
    struct mp_event *e = &step->event;
    const struct mp_tree *retained = mp_tree_get(v, "retained");
    int64_t attempt = 1, qos = 1, expiry = -1, missed = 0;
    struct mp_slice type = {0};
    int rc;

    if ((rc = get_text(v, "type", &type, why)) ||
        (rc = get_text(v, "id", &e->id, why)) ||
        (rc = get_text(v, "source", &e->source, why)) ||
        (rc = get_text(v, "topic", &e->topic, why)) ||
        (rc = get_text(v, "trigger", &e->trigger, why)) ||
        (rc = get_text(v, "datacontenttype", &e->datacontenttype, why)) ||
        (rc = get_text(v, "traceparent", &e->traceparent, why)) ||
        (rc = get_when(v, "time", &e->time_us, why)) ||
        (rc = get_when(v, "scheduled", &e->scheduled_us, why)) ||
        (rc = get_number(v, "attempt", 1, UINT32_MAX, &attempt, why)) ||
        (rc = get_number(v, "qos", 0, 1, &qos, why)) ||
        (rc = get_number(v, "expiry", 0, UINT32_MAX, &expiry, why)) ||
        (rc = get_number(v, "missed", 0, UINT32_MAX, &missed, why)) ||
        (rc = get_pairs(v, "properties", step->properties, &e->n_properties,
                        why)) ||
        (rc = get_request(step, v, why)))
        return rc;
    if (retained && retained->kind != MP_TREE_BOOL)
        return mp_why_set(why, MP_EPARSE, "retained is true or false");
    if (e->id.len > MP_EVENT_ID_MAX)
        return mp_why_set(why, MP_ERANGE, "id is longer than %d bytes",
                          MP_EVENT_ID_MAX);
    e->properties = step->properties;
    e->attempt = (uint32_t)attempt;
    e->qos = (uint8_t)qos;
    e->missed = (uint32_t)missed;
    e->has_expiry = expiry >= 0;
    e->expiry_s = expiry >= 0 ? (uint32_t)expiry : 0;
    e->retained = retained && retained->yes;
    rc = get_type(e, type, why);
    step->typed = type.ptr != NULL;
    return rc || !is_made(e) ? rc : get_bound(step, v, why);
}

/* ---- which trigger ---- */

static bool matches(const struct mp_trigger *t, struct mp_step *step)
{
    for (unsigned i = 0; i < t->n_patterns; i++) {
        if (mp_pattern_match(&t->patterns[i], step->event.topic, step->params,
                             &step->event.n_params))
            return true;
    }
    return false;
}

bool mp_step_wanted(struct mp_step *step, const struct mp_trigger *t)
{
    struct mp_stream_values values;
    const struct mp_event *e = &step->event;
    const struct mp_stream_event asked = {.data = e->data,
                                          .datacontenttype = e->datacontenttype,
                                          .format = t->format,
                                          .params = step->params,
                                          .n_params = e->n_params};

    if (!t->lines || mp_stream_wants(t->lines, &asked, &values))
        return true;
    step->skipped = mp_stream_line_name(MP_LINE_FILTER);
    return false;
}

/* The one that was named, or all in file order; NULL: none matches. */
static const struct mp_trigger *match(const struct mp_function *fn,
                                      const struct mp_trigger *named,
                                      struct mp_step *step)
{
    for (unsigned i = 0; i < fn->n_triggers; i++) {
        const struct mp_trigger *t = &fn->triggers[i];

        if ((!named || t == named) && t->kind == MP_TRIGGER_MQTT &&
            matches(t, step) && mp_step_wanted(step, t))
            return t;
    }
    return NULL;
}

/* A topic for who gave none: the pattern itself, if it is one. */
static bool invent_topic(struct mp_step *step, const struct mp_function *fn,
                         const struct mp_trigger *t, struct mp_why *why)
{
    const struct mp_pattern *p = &t->patterns[0];

    if (t->kind != MP_TRIGGER_MQTT) {
        mp_why_set(why, MP_ENONE, "trigger '%s' takes no topics", t->name);
        return false;
    }
    if (mp_ends(mp_slice_str(fn->path), ".lua")) {
        step->event.topic = MP_S("invoke");
        return true;
    }
    for (unsigned i = 0; i < p->n_levels; i++) {
        if (p->levels[i].kind != MP_LEVEL_LITERAL) {
            mp_why_set(why, MP_ENONE,
                       "trigger '%s' takes many topics (mqtt = %s); say which "
                       "one came: --topic, or topic in the event",
                       t->name, p->text);
            return false;
        }
    }
    step->event.topic = mp_slice_str(p->text);
    return true;
}

void mp_step_no_trigger(const struct mp_function *fn, struct mp_slice name,
                        struct mp_why *why)
{
    const char *words[MP_TRIGGERS_MAX], *near;

    for (unsigned i = 0; i < fn->n_triggers; i++)
        words[i] = fn->triggers[i].name;
    near = mp_nearest(name, words, fn->n_triggers);
    mp_why_set(why, MP_ENONE, "'%s' has no trigger '%.*s'%s%s%s", fn->name,
               MP_FMT(mp_cut(name, 40)), near ? "; did you mean '" : "",
               near ? near : "", near ? "'?" : "");
}

/* The trigger that takes the event; NULL: none does. */
static const struct mp_trigger *find_trigger(struct mp_step *step,
                                             const struct mp_function *fn,
                                             struct mp_why *why)
{
    struct mp_event *e = &step->event;
    const struct mp_trigger *named = NULL, *found;

    if (!fn->n_triggers) {
        mp_why_set(why, MP_ENONE, "'%s' has no trigger", fn->name);
        return NULL;
    }
    if (e->trigger.ptr) {
        named = mp_function_trigger(fn, e->trigger);
        if (!named) {
            mp_step_no_trigger(fn, e->trigger, why);
            return NULL;
        }
    }
    if (!e->topic.ptr &&
        !invent_topic(step, fn, named ? named : &fn->triggers[0], why))
        return NULL;
    found = match(fn, named, step);
    if (!found && step->skipped)
        mp_why_set(why, MP_EDENY, "skipped by %s", step->skipped);
    else if (!found)
        mp_why_set(why, MP_ENONE, "topic '%.*s' matches no trigger%s%s%s",
                   MP_FMT(mp_cut(e->topic, 120)), named ? " '" : "",
                   named ? named->name : "", named ? "'" : "");
    return found;
}

/* An alarm's or a send's event needs no trigger. */
static int take_made(struct mp_step *step, const struct mp_function *fn)
{
    struct mp_event *e = &step->event;

    e->trigger = mp_slice_str(mp_event_type_name(e->type));
    e->subject = e->type == MP_EVENT_ALARM ? e->alarm : MP_S("");
    e->has_key = fn->state_key && e->key.len;
    if (!e->has_key)
        e->key = mp_slice("", 0);
    return 0;
}

/* The timer that is meant, by its name or because it is the first trigger;
 * NULL: none. */
static const struct mp_trigger *timer_of(const struct mp_step *step,
                                         const struct mp_function *fn)
{
    const struct mp_event *e = &step->event;
    const struct mp_trigger *t = NULL;

    if (e->trigger.ptr)
        t = mp_function_trigger(fn, e->trigger);
    else if (!e->topic.ptr && !e->path.ptr && fn->n_triggers)
        t = &fn->triggers[0];
    return t && (t->kind == MP_TRIGGER_EVERY || t->kind == MP_TRIGGER_CRON)
               ? t
               : NULL;
}

/* It runs as the function's own actor, and on time unless it is said. */
static int take_timer(struct mp_step *step, const struct mp_trigger *t)
{
    struct mp_event *e = &step->event;

    e->type = MP_EVENT_TIMER;
    e->trigger = e->subject = mp_slice_str(t->name);
    e->format = t->format;
    e->source = MP_S("timer");
    e->topic = e->key = mp_slice(NULL, 0);
    e->has_key = false;
    e->n_params = 0;
    if (!e->scheduled_us)
        e->scheduled_us = e->time_us;
    return 0;
}

/* What the host does between the trigger and the run. */
int mp_step_take_in(struct mp_step *step, const struct mp_function *fn,
                    const struct mp_trigger *t, struct mp_why *why)
{
    struct mp_event *e = &step->event;
    int len;

    step->trigger = t;
    step->skipped = NULL; /* by one that was asked before */
    e->trigger = mp_slice_str(t->name);
    e->format = t->format;
    e->params = step->params;
    if (e->data.len > t->max_payload)
        return mp_why_set(why, MP_ERANGE,
                          "a payload of %zu bytes is dropped: trigger '%s' "
                          "takes %u",
                          e->data.len, t->name, (unsigned)t->max_payload);
    if (e->retained && !t->retained)
        return mp_why_set(why, MP_EDENY,
                          "a retained message is skipped: trigger '%s' has "
                          "retained = no",
                          t->name);
    if (!fn->has_state || !fn->state_key)
        return 0;
    len = mp_function_key(fn, e->params, e->n_params, step->key);
    if (len < 0)
        return mp_why_set(why, len,
                          "the actor key (%s) can't be made of '%.*s'",
                          fn->state_key, MP_FMT(mp_cut(e->subject, 120)));
    e->key = mp_slice(step->key, (size_t)len);
    e->has_key = true;
    return 0;
}

int mp_step_one(struct mp_step *step, const struct mp_function *fn,
                const struct mp_tree *value,
                const struct mp_step_defaults *defaults,
                const char *const *allowed, struct mp_why *why)
{
    struct mp_event *e = &step->event;
    const struct mp_trigger *trigger;
    int rc;

    *step = (struct mp_step){.event = {.type = MP_EVENT_MQTT,
                                       .id = mp_slice_str(defaults->id),
                                       .time_us = defaults->time_us,
                                       .attempt = 1,
                                       .qos = 1,
                                       .data = MP_S("")}};
    mp_buf_init(&step->data, MP_FUNCTION_BYTES_MAX);
    mp_buf_init(&step->target, MP_FUNCTION_BYTES_MAX);
    if (value && ((rc = check_members(value, allowed, why)) ||
                  (rc = get_members(step, value, why)) ||
                  (rc = get_data(step, value, why))))
        return rc;
    if (defaults->topic.ptr) {
        e->topic = defaults->topic;
        e->path = e->method = mp_slice(NULL, 0);
    }
    if (defaults->target.ptr &&
        (rc = mp_step_target(step, defaults->target, why)))
        return rc;
    if (defaults->trigger.ptr) {
        e->trigger = defaults->trigger;
        if (!step->typed || is_made_trigger(e->trigger)) {
            step->typed = false;
            if ((rc = get_type(e, mp_slice(NULL, 0), why)) ||
                (is_made(e) && (rc = get_bound(step, value, why))))
                return rc;
        }
    }
    if (defaults->data.ptr)
        e->data = defaults->data;
    trigger = timer_of(step, fn);
    if (trigger)
        return take_timer(step, trigger);
    if (e->type == MP_EVENT_TIMER)
        return mp_why_set(why, MP_ENONE,
                          "'%s' has no such trigger that is a timer", fn->name);
    if (!is_made(e) && mp_step_is_request(step, fn))
        return mp_step_request(step, fn, why);
    e->path = e->method = mp_slice(NULL, 0);
    if (!e->source.ptr)
        e->source = e->type == MP_EVENT_MQTT ? MP_S("mqtt://127.0.0.1:1883")
                                             : MP_S("function:test");
    if (e->type != MP_EVENT_MQTT)
        return take_made(step, fn);
    if (e->topic.ptr && (rc = mp_topic_check(e->topic, why))) {
        mp_why_wrap(why, "topic '%.*s'", MP_FMT(mp_cut(e->topic, 120)));
        return rc;
    }
    trigger = find_trigger(step, fn, why);
    if (!trigger)
        return MP_ENONE;
    e->subject = e->topic;
    return mp_step_take_in(step, fn, trigger, why);
}

int mp_step_read(struct mp_step *step, const struct mp_function *fn,
                 const struct mp_tree *value,
                 const struct mp_step_defaults *defaults,
                 const char *const *allowed, struct mp_why *why)
{
    int rc;

    if (mp_tree_get(value, "events"))
        return mp_step_batch(step, fn, value, defaults, allowed, why);
    rc = mp_step_one(step, fn, value, defaults, allowed, why);
    if (rc == 0)
        mp_step_wrap(step);
    return rc;
}

void mp_step_fini(struct mp_step *step)
{
    for (size_t i = 0; i < step->n_members; i++)
        mp_step_fini(&step->members[i]);
    free(step->members);
    free(step->events);
    mp_buf_fini(&step->data);
    mp_buf_fini(&step->target);
}
