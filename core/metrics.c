/*
 * metrics.c - counters, histograms and their names.
 */
#include "core/metrics.h"

#include <stdlib.h>

struct mp_metrics mp_metrics;

/*
 * Bucket of a value: its octave, then the three bits below its highest one.
 * Values below 8 have a bucket each.
 */
static unsigned bucket_of(uint64_t ns)
{
    unsigned octave, index;

    if (ns < MP_HIST_SUB)
        return (unsigned)ns;
    octave = 63 - (unsigned)__builtin_clzll(ns);
    index = (octave - 2) * MP_HIST_SUB +
            (unsigned)(ns >> (octave - 3)) % MP_HIST_SUB;
    return index < MP_HIST_BUCKETS ? index : MP_HIST_BUCKETS - 1;
}

/* The middle of a bucket. */
static uint64_t value_of(unsigned bucket)
{
    unsigned octave;
    uint64_t low, width;

    if (bucket < MP_HIST_SUB)
        return bucket;
    octave = bucket / MP_HIST_SUB + 2;
    width = UINT64_C(1) << (octave - 3);
    low = (UINT64_C(1) << octave) + bucket % MP_HIST_SUB * width;
    return low + width / 2;
}

void mp_hist_add(struct mp_hist *h, uint64_t ns)
{
    h->bucket[bucket_of(ns)]++;
    h->count++;
    h->sum += ns;
}

void mp_hist_reset(struct mp_hist *h)
{
    *h = (struct mp_hist){0};
}

uint64_t mp_hist_quantile(const struct mp_hist *h, double q)
{
    uint64_t want = (uint64_t)(q * (double)h->count), seen = 0;

    if (h->count == 0)
        return 0;
    for (unsigned i = 0; i < MP_HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen > want || seen == h->count)
            return value_of(i);
    }
    return value_of(MP_HIST_BUCKETS - 1);
}

const char *mp_drop_name(enum mp_drop drop)
{
    static const char *const names[MP_DROPS] = {
        "queue_full", "expired",   "too_large", "no_match",
        "no_key",     "bad_topic", "store"};

    return names[drop];
}

const char *mp_skip_name(enum mp_skip skip)
{
    static const char *const names[MP_SKIPS] = {
        "retained", "duplicate", "filter", "deadband", "throttle", "coalesce"};

    return names[skip];
}

const char *mp_parked_name(enum mp_parked parked)
{
    static const char *const names[MP_PARKEDS] = {
        "slow", "retry", "quarantined", "full", "output", "async", "window"};

    return names[parked];
}

const char *mp_refused_name(enum mp_refused refused)
{
    static const char *const names[MP_REFUSEDS] = {"queue_full", "quarantined",
                                                   "over_budget", "disabled"};

    return names[refused];
}

const char *mp_dead_name(enum mp_dead dead)
{
    static const char *const names[MP_DEADS] = {
        "error",  "rejected", "timeout", "memory", "killed",
        "output", "full",     "trigger", "crash",  "loop"};

    return names[dead];
}

const char *mp_exit_name(enum mp_exit why)
{
    static const char *const names[MP_EXITS] = {"died", "deadline", "bad_frame",
                                                "retired"};

    return names[why];
}

struct mp_trigger_metrics *mp_metrics_trigger(struct mp_fn_metrics *m,
                                              const char *name)
{
    struct mp_trigger_metrics *t;

    for (unsigned i = 0; i < m->n_triggers; i++)
        if (strcmp(m->triggers[i].name, name) == 0)
            return &m->triggers[i];
    m->triggers =
        mp_realloc(m->triggers, (m->n_triggers + 1) * sizeof *m->triggers);
    t = &m->triggers[m->n_triggers++];
    *t = (struct mp_trigger_metrics){0};
    strncpy(t->name, name, MP_TRIGGER_MAX);
    return t;
}

void mp_metrics_fini(struct mp_fn_metrics *m)
{
    free(m->triggers);
    m->triggers = NULL;
    m->n_triggers = 0;
}
