/*
 * outputs.c - one block a message: the structure, its properties, its bytes.
 */
#include "core/outputs.h"

#include <stdio.h>
#include <stdlib.h>

int mp_outputs_check(const struct mp_function *fn, struct mp_slice prefix,
                     const struct mp_outcome *out)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_effect effect;
    struct mp_why why;
    uint64_t bytes = 0;

    if (out->n_effects > fn->outputs)
        return MP_EPARSE;
    for (uint32_t i = 0; i < out->n_effects; i++) {
        if (mp_read_effect(&r, &effect, pairs) ||
            mp_topic_check(effect.topic, &why) ||
            !mp_function_may_publish(fn, effect.topic, prefix))
            return MP_EPARSE;
        bytes += effect.data.len;
    }
    return r.at == r.end && bytes <= fn->output_bytes ? 0 : MP_EPARSE;
}

static void copy(struct mp_slice *to, struct mp_slice from, char **at)
{
    *to = mp_slice(*at, from.len);
    if (from.len)
        memcpy(*at, from.ptr, from.len);
    *at += from.len;
}

static struct mp_output *make(struct mp_invocation *inv,
                              const struct mp_effect *effect, unsigned n)
{
    char id[MP_EVENT_ID_MAX + MP_NAME_MAX + 16];
    size_t id_len =
        (size_t)snprintf(id, sizeof id, "%.*s/%s/%u", MP_FMT(inv->input->id),
                         inv->slot->name, n);
    struct mp_slice trace = inv->input->traceparent;
    size_t pairs = effect->n_properties * sizeof(struct mp_pair);
    size_t bytes = effect->topic.len + effect->data.len + id_len + trace.len;
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
        .owner = inv,
    };
    mp_list_init(&o->link);
    copy(&o->topic, effect->topic, &at);
    copy(&o->data, effect->data, &at);
    copy(&o->id, mp_slice(id, id_len), &at);
    if (trace.ptr)
        copy(&o->traceparent, trace, &at);
    if (effect->format == MP_FORMAT_JSON)
        o->content_type = MP_S("application/json");
    for (uint32_t i = 0; i < effect->n_properties; i++) {
        copy(&properties[i].name, effect->properties[i].name, &at);
        copy(&properties[i].value, effect->properties[i].value, &at);
    }
    return o;
}

unsigned mp_outputs_make(
    struct mp_invocation *inv, const struct mp_outcome *out,
    void (*done)(struct mp_output *output, unsigned reason, const char *why),
    void (*publish)(void *arg, struct mp_output *output), void *arg)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_fn_metrics *m = &inv->slot->metrics;
    struct mp_effect effect;

    /* Counted before the first leaves: done may be called at once. */
    inv->outputs_open = out->n_effects;
    for (uint32_t i = 0; i < out->n_effects; i++) {
        struct mp_output *o;

        MP_ASSERT(mp_read_effect(&r, &effect, pairs) == 0);
        o = make(inv, &effect, i + 1);
        o->done = done;
        m->outputs++;
        m->output_bytes += effect.data.len;
        mp_metrics.outputs++;
        publish(arg, o);
    }
    return out->n_effects;
}

void mp_output_free(struct mp_output *output)
{
    free(output);
}
