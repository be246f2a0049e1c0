/*
 * outputs.c - one block a message: the structure, its properties, its bytes.
 */
#include "core/outputs.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/json.h"
#include "core/base/topic.h"
#include "core/base/utf8.h"

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
    default:
        return may_change_state(fn, e);
    }
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
                   out->result.len <= fn->output_bytes
               ? 0
               : MP_EPARSE;
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
    return (size_t)snprintf(id, size, "%.*s/%s/%u", MP_FMT(inv->input->id),
                            inv->slot->name, n);
}

struct mp_output *mp_output_new(const struct mp_effect *effect,
                                struct mp_slice id, struct mp_slice trace)
{
    size_t pairs = effect->n_properties * sizeof(struct mp_pair);
    size_t bytes = effect->topic.len + effect->data.len + id.len + trace.len;
    struct mp_output *o;
    struct mp_pair *properties;
    char *at;

    for (uint32_t i = 0; i < effect->n_properties; i++)
        bytes +=
            effect->properties[i].name.len + effect->properties[i].value.len;
    o = mp_alloc(sizeof *o + pairs + bytes);
    properties = (struct mp_pair *)(o + 1);
    at = (char *)(o + 1) + pairs;
    *o = (struct mp_output){
        .qos = effect->qos,
        .retain = effect->retain,
        .has_expiry = effect->has_expiry,
        .expiry_s = effect->expiry_s,
        .properties = properties,
        .n_properties = effect->n_properties,
    };
    mp_list_init(&o->link);
    mp_list_init(&o->mine);
    copy(&o->topic, effect->topic, &at);
    copy(&o->data, effect->data, &at);
    copy(&o->id, id, &at);
    if (trace.ptr)
        copy(&o->traceparent, trace, &at);
    o->content_type = mp_format_type(effect->format);
    for (uint32_t i = 0; i < effect->n_properties; i++) {
        copy(&properties[i].name, effect->properties[i].name, &at);
        copy(&properties[i].value, effect->properties[i].value, &at);
    }
    return o;
}

void mp_outputs_make(struct mp_invocation *inv, const struct mp_outcome *out,
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
