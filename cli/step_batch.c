/*
 * step_batch.c - several events as one, as a trigger's `batch` has it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/step_impl.h"
#include "core/base/text.h"
#include "core/stream.h"

/* What stands beside `events`; the rest is the members'. */
static const char *const batch_words[] = {
    "id",  "type",   "source",  "subject", "time", "trigger",
    "key", "params", "attempt", "events",  "data"};

enum { WORDS_MAX = 32 };

static int check_members(const struct mp_tree *v, const char *const *allowed,
                         struct mp_why *why)
{
    const char *words[WORDS_MAX + 1];
    size_t n = 0;

    for (; n < ARRAY_LEN(batch_words); n++)
        words[n] = batch_words[n];
    for (; allowed && *allowed; allowed++) {
        MP_ASSERT(n < WORDS_MAX);
        words[n++] = *allowed;
    }
    words[n] = NULL;
    return mp_step_members(v, "a batch", words, why);
}

static bool has_batch(const struct mp_trigger *t)
{
    return t && t->lines && mp_stream_lines_has(t->lines, MP_LINE_BATCH);
}

/* The params that `per` of the batch names. */
static void name_params(struct mp_step *step, const struct mp_event *first)
{
    struct mp_event *e = &step->event;
    struct mp_slice name;

    e->params = step->named;
    for (unsigned k = 0;
         (name = mp_stream_lines_param(step->trigger->lines, MP_LINE_BATCH, k))
             .ptr;
         k++)
        for (uint32_t i = 0; i < first->n_params; i++)
            if (mp_slice_eq(first->params[i].name, name) &&
                e->n_params < MP_PAIRS_MAX)
                step->named[e->n_params++] = first->params[i];
}

/* Make the event of those in step->events, which one trigger took. */
static void gather(struct mp_step *step, size_t n, struct mp_slice id,
                   int64_t time_us)
{
    const struct mp_event *first = &step->events[0];

    step->event = (struct mp_event){.type = MP_EVENT_BATCH,
                                    .id = id,
                                    .source = first->source,
                                    .subject = first->trigger,
                                    .trigger = first->trigger,
                                    .key = first->key,
                                    .has_key = first->has_key,
                                    .time_us = time_us,
                                    .attempt = 1,
                                    .format = first->format,
                                    .data = MP_S(""),
                                    .events = step->events,
                                    .n_events = (uint32_t)n};
    name_params(step, first);
}

void mp_step_wrap(struct mp_step *step)
{
    if (!has_batch(step->trigger))
        return;
    step->events = mp_alloc(sizeof *step->events);
    step->events[0] = step->event;
    gather(step, 1, step->event.id, step->event.time_us);
}

static struct mp_slice param(const struct mp_event *e, struct mp_slice name)
{
    for (uint32_t i = 0; i < e->n_params; i++)
        if (mp_slice_eq(e->params[i].name, name))
            return e->params[i].value;
    return MP_S("");
}

/* `batch = 3 per {a}` gathers those of one a. */
static int check_per(const struct mp_step *one, const struct mp_event *first,
                     struct mp_why *why)
{
    const struct mp_stream_lines *lines = one->trigger->lines;
    struct mp_slice name;

    for (unsigned k = 0;
         (name = mp_stream_lines_param(lines, MP_LINE_BATCH, k)).ptr; k++) {
        struct mp_slice its = param(&one->event, name);

        if (!mp_slice_eq(its, param(first, name)))
            return mp_why_set(why, MP_ENONE,
                              "its %.*s is '%.*s', and the first's '%.*s'; a "
                              "batch has one (batch = %s)",
                              MP_FMT(name), MP_FMT(mp_cut(its, 60)),
                              MP_FMT(mp_cut(param(first, name), 60)),
                              lines->texts[MP_LINE_BATCH]);
    }
    return 0;
}

/* Is it for the same trigger and actor as the first? */
static int check_same(const struct mp_step *one, const struct mp_step *first,
                      struct mp_why *why)
{
    const struct mp_event *e = &one->event, *f = &first->event;

    if (!has_batch(one->trigger))
        return mp_why_set(why, MP_ENONE,
                          "trigger '%.*s' has no batch line: its events come "
                          "one by one",
                          MP_FMT(e->trigger));
    if (one->trigger != first->trigger)
        return mp_why_set(why, MP_ENONE,
                          "trigger '%.*s' takes it, and '%.*s' the first",
                          MP_FMT(e->trigger), MP_FMT(f->trigger));
    if (e->has_key != f->has_key || !mp_slice_eq(e->key, f->key))
        return mp_why_set(why, MP_ENONE,
                          "it is for actor '%.*s', and the first for '%.*s'; a "
                          "batch has one",
                          MP_FMT(e->key), MP_FMT(f->key));
    return check_per(one, f, why);
}

static int read_members(struct mp_step *step, const struct mp_function *fn,
                        const struct mp_tree *events,
                        const struct mp_step_defaults *defaults,
                        struct mp_why *why)
{
    for (size_t i = 0; i < events->n; i++) {
        struct mp_step *one = &step->members[i];
        struct mp_step_defaults own = *defaults;
        char id[MP_EVENT_ID_MAX + 1];
        int rc;

        snprintf(id, sizeof id, "%.40s-%zu", defaults->id, i + 1);
        own.id = id;
        rc = mp_step_one(one, fn, events->items[i], &own, NULL, why);
        step->n_members++;
        if (one->event.id.ptr == id) {
            memcpy(one->id, id, sizeof id);
            one->event.id.ptr = one->id;
        }
        if (!rc)
            rc = check_same(one, &step->members[0], why);
        if (rc) {
            mp_why_wrap(why, "events[%zu]", i + 1);
            return rc;
        }
        step->events[i] = one->event;
    }
    return 0;
}

int mp_step_batch(struct mp_step *step, const struct mp_function *fn,
                  const struct mp_tree *value,
                  const struct mp_step_defaults *defaults,
                  const char *const *allowed, struct mp_why *why)
{
    const struct mp_tree *events = mp_tree_get(value, "events");
    struct mp_slice trigger = mp_tree_text(mp_tree_get(value, "trigger"));
    struct mp_slice id = mp_tree_text(mp_tree_get(value, "id"));
    struct mp_step_defaults own = *defaults;
    int rc;

    *step = (struct mp_step){0};
    rc = check_members(value, allowed, why);
    if (rc)
        return rc;
    if (events->kind != MP_TREE_LIST || !events->n || events->n > MP_BATCH_MAX)
        return mp_why_set(why, MP_EPARSE,
                          "events is not a list of 1 to %d events",
                          MP_BATCH_MAX);
    if (trigger.ptr && !own.trigger.ptr)
        own.trigger = trigger;
    step->members = mp_zalloc(events->n * sizeof *step->members);
    step->events = mp_zalloc(events->n * sizeof *step->events);
    rc = read_members(step, fn, events, &own, why);
    if (rc)
        return rc;
    step->trigger = step->members[0].trigger;
    if (events->n > step->trigger->lines->batch_max)
        return mp_why_set(why, MP_ERANGE,
                          "%zu events; trigger '%s' has batch = %s", events->n,
                          step->trigger->name,
                          step->trigger->lines->texts[MP_LINE_BATCH]);
    gather(step, events->n, id.ptr ? id : mp_slice_str(defaults->id),
           defaults->time_us);
    return 0;
}
