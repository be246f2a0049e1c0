/*
 * outputs.c - one block a message: the structure, its properties, its bytes.
 */
#include "core/outputs.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/json.h"
#include "core/base/topic.h"
#include "core/base/utf8.h"
#include "core/stream.h"

_Static_assert((int)MP_STREAM_BATCH_MAX <= (int)MP_BATCH_MAX,
               "a batch and its verdicts fit into frames");

/* A table must be JSON: it is shown to people as it is. */
static bool is_json(struct mp_slice text)
{
    struct mp_json scanner;
    struct mp_json_token t;
    struct mp_why why;

    mp_json_init(&scanner, text);
    do {
        if (mp_json_next(&scanner, &t, &why))
            return false;
    } while (t.kind != MP_JSON_END);
    return true;
}

static bool may_change_state(const struct mp_function *fn,
                             const struct mp_effect *e)
{
    return fn->has_state && e->name.len > 0 &&
           e->name.len <= MP_STATE_NAME_MAX && mp_utf8_valid(e->name) &&
           !memchr(e->name.ptr, '\0', e->name.len) &&
           mp_value_bytes(&e->value) <= MP_STATE_VALUE_MAX &&
           (e->value.kind != MP_VALUE_TABLE || is_json(e->value.text));
}

static bool is_key(const struct mp_effect *e)
{
    return !e->has_key || (e->key.len <= MP_KEY_MAX && mp_utf8_valid(e->key));
}

static bool may_set_alarm(const struct mp_effect *e)
{
    return e->name.len > 0 && e->name.len <= MP_ALARM_NAME_MAX &&
           mp_utf8_valid(e->name) && is_key(e) &&
           e->data.len <= MP_ALARM_DATA_MAX &&
           (e->cancel || e->after_us >= 0 || e->at_us > 0);
}

/* As the worker's publish has it. */
static bool properties_fit(const struct mp_effect *e)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < e->n_properties; i++)
        bytes += e->properties[i].name.len + e->properties[i].value.len;
    return bytes <= MP_PROPERTIES_MAX;
}

uint32_t mp_outputs_observes(const struct mp_function *fn,
                             struct mp_slice list[MP_TRIGGERS_MAX],
                             struct mp_buf *text)
{
    size_t ends[MP_TRIGGERS_MAX], from = 0;
    uint32_t n = 0;

    mp_buf_init(text, (size_t)MP_TRIGGERS_MAX * MP_TOPIC_MAX);
    for (unsigned i = 0; i < fn->n_triggers; i++) {
        const struct mp_trigger *t = &fn->triggers[i];

        for (unsigned k = 0; t->observe && k < t->n_patterns; k++) {
            if (n == MP_TRIGGERS_MAX)
                break;
            mp_pattern_filter(&t->patterns[k], text);
            ends[n++] = text->len;
        }
    }
    for (uint32_t i = 0; i < n; i++) { /* text moves while it grows */
        list[i] = mp_slice(text->ptr + from, ends[i] - from);
        from = ends[i];
    }
    return n;
}

static bool is_path(struct mp_slice path)
{
    for (size_t i = 0; i < path.len; i++)
        if ((unsigned char)path.ptr[i] < ' ' || path.ptr[i] == 0x7f)
            return false;
    return path.len > 0 && path.len <= MP_TOPIC_MAX && path.ptr[0] == '/' &&
           mp_utf8_valid(path);
}

/* By the filters that the worker has, and so the same answer. */
static bool is_observed(const struct mp_function *fn, struct mp_slice path)
{
    struct mp_slice list[MP_TRIGGERS_MAX];
    bool found = false;
    struct mp_buf text;
    uint32_t n;

    n = mp_outputs_observes(fn, list, &text);
    for (uint32_t i = 0; i < n && !found; i++)
        found = mp_filter_match(list[i], path);
    mp_buf_fini(&text);
    return found;
}

static bool is_allowed(const struct mp_function *fn, struct mp_slice prefix,
                       const struct mp_effect *e)
{
    struct mp_why why;

    switch (e->kind) {
    case MP_EFFECT_PUBLISH:
        return mp_topic_check(e->topic, &why) == 0 && properties_fit(e) &&
               mp_function_may_publish(fn, e->topic, prefix);
    case MP_EFFECT_SEND:
        return mp_function_may_send(fn, e->name) && is_key(e);
    case MP_EFFECT_ALARM:
        return may_set_alarm(e);
    case MP_EFFECT_NOTIFY:
        return is_path(e->topic) && is_observed(fn, e->topic);
    default:
        return may_change_state(fn, e);
    }
}

/* Of mp.reply. */
static bool headers_fit(const struct mp_outcome *out)
{
    struct mp_pair headers[MP_PAIRS_MAX];

    return out->headers.len <= MP_HEADERS_BYTES &&
           mp_read_headers(out, headers) == 0;
}

int mp_outputs_check(const struct mp_function *fn, struct mp_slice prefix,
                     const struct mp_outcome *out)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_effect effect;
    uint64_t bytes = 0;
    uint32_t outputs = 0, changes = 0;

    for (uint32_t i = 0; i < out->n_effects; i++) {
        if (mp_read_effect(&r, &effect, pairs) ||
            !is_allowed(fn, prefix, &effect))
            return MP_EPARSE;
        if (effect.kind == MP_EFFECT_STATE) {
            if (++changes > MP_STATE_CHANGES_MAX)
                return MP_EPARSE;
            continue;
        }
        outputs++;
        bytes += effect.data.len;
    }
    return r.at == r.end && outputs <= fn->outputs &&
                   bytes <= fn->output_bytes &&
                   out->result.len <= fn->output_bytes && headers_fit(out)
               ? 0
               : MP_EPARSE;
}

int mp_verdicts_check(const struct mp_outcome *out, uint32_t n_events)
{
    struct mp_reader r = mp_reader(out->verdicts);
    struct mp_verdict v;
    uint32_t next = 0;

    if (out->n_verdicts > (out->kind == MP_OUT_OK ? n_events : 0))
        return MP_EPARSE;
    for (uint32_t i = 0; i < out->n_verdicts; i++) {
        if (mp_read_verdict(&r, &v) || v.event < next || v.event >= n_events)
            return MP_EPARSE;
        next = v.event + 1;
    }
    return r.at == r.end ? 0 : MP_EPARSE;
}

static void copy(struct mp_slice *to, struct mp_slice from, char **at)
{
    *to = mp_slice(*at, from.len);
    if (from.len)
        memcpy(*at, from.ptr, from.len);
    *at += from.len;
}

size_t mp_output_id(const struct mp_invocation *inv, unsigned n, char *id,
                    size_t size)
{
    char own[MP_EVENT_ID_MAX];
    struct mp_slice event = mp_invocation_run_id(inv, own);

    return (size_t)snprintf(id, size, "%.*s/%s/%u", MP_FMT(event),
                            inv->slot->name, n);
}

static void copy_optional(struct mp_slice *to, struct mp_slice from, char **at)
{
    if (from.ptr)
        copy(to, from, at);
}

size_t mp_output_bytes(const struct mp_output *o)
{
    size_t bytes = o->topic.len + o->data.len + o->id.len + o->traceparent.len +
                   o->correlation.len + o->content_type.len;

    for (uint32_t i = 0; i < o->n_properties; i++)
        bytes += o->properties[i].name.len + o->properties[i].value.len;
    return bytes;
}

struct mp_output *mp_output_copy(const struct mp_output *from)
{
    size_t pairs = from->n_properties * sizeof(struct mp_pair);
    struct mp_output *o = mp_alloc(sizeof *o + pairs + mp_output_bytes(from));
    struct mp_pair *properties = (struct mp_pair *)(o + 1);
    char *at = (char *)(o + 1) + pairs;

    *o = *from;
    mp_list_init(&o->link);
    mp_list_init(&o->mine);
    copy(&o->topic, from->topic, &at);
    copy(&o->data, from->data, &at);
    copy_optional(&o->id, from->id, &at);
    copy_optional(&o->traceparent, from->traceparent, &at);
    copy_optional(&o->correlation, from->correlation, &at);
    copy_optional(&o->content_type, from->content_type, &at);
    for (uint32_t i = 0; i < from->n_properties; i++) {
        copy(&properties[i].name, from->properties[i].name, &at);
        copy(&properties[i].value, from->properties[i].value, &at);
    }
    o->properties = properties;
    return o;
}

struct mp_output *mp_output_new(const struct mp_effect *effect,
                                struct mp_slice id, struct mp_slice trace)
{
    const struct mp_output from = {
        .topic = effect->topic,
        .data = effect->data,
        .id = id,
        .traceparent = trace,
        .content_type = mp_format_type(effect->format),
        .qos = effect->qos,
        .retain = effect->retain,
        .has_expiry = effect->has_expiry,
        .expiry_s = effect->expiry_s,
        .properties = effect->properties,
        .n_properties = effect->n_properties,
    };

    return mp_output_copy(&from);
}

void mp_outputs_make(struct mp_invocation *inv, const struct mp_outcome *out,
                     struct mp_output *last,
                     void (*put)(void *arg, struct mp_invocation *inv,
                                 struct mp_output *output),
                     void *arg)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_fn_metrics *m = &inv->slot->metrics;
    struct mp_effect effect;
    struct mp_link made;
    unsigned n = 0;

    mp_list_init(&made);
    for (uint32_t i = 0; i < out->n_effects; i++) {
        char id[MP_OUTPUT_ID_MAX];
        struct mp_output *o;

        MP_ASSERT(mp_read_effect(&r, &effect, pairs) == 0);
        if (effect.kind == MP_EFFECT_SEND)
            n++;
        if (effect.kind != MP_EFFECT_PUBLISH)
            continue;
        o = mp_output_new(&effect,
                          mp_slice(id, mp_output_id(inv, ++n, id, sizeof id)),
                          inv->input->traceparent);
        o->owner = inv;
        mp_list_append(&made, &o->link);
        mp_list_append(&inv->outputs, &o->mine);
        m->outputs++;
        m->output_bytes += effect.data.len;
        mp_metrics.outputs++;
    }
    if (last) {
        last->owner = inv;
        mp_list_append(&made, &last->link);
        mp_list_append(&inv->outputs, &last->mine);
    }
    while (!mp_list_empty(&made)) {
        struct mp_link *first = made.next;

        mp_list_unlink(first);
        put(arg, inv, mp_of(first, struct mp_output, link));
    }
}

void mp_output_free(struct mp_output *output)
{
    free(output);
}
