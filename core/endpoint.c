/*
 * endpoint.c - patterns compared level by level.
 */
#include "core/endpoint.h"

#include <stdlib.h>

/* Level kinds are numbered from the best. */
_Static_assert(MP_LEVEL_LITERAL < MP_LEVEL_ONE && MP_LEVEL_ONE < MP_LEVEL_REST,
               "literal beats {name} beats {name...}");

static int compare_texts(struct mp_slice a, struct mp_slice b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_shapes(const struct mp_pattern *a,
                          const struct mp_pattern *b)
{
    unsigned n = a->n_levels < b->n_levels ? a->n_levels : b->n_levels;

    for (unsigned i = 0; i < n; i++) {
        const struct mp_level_part *x = &a->levels[i], *y = &b->levels[i];
        int order = (int)x->kind - (int)y->kind;

        if (!order && x->kind == MP_LEVEL_LITERAL)
            order = compare_texts(x->text, y->text);
        if (order)
            return order;
    }
    return (int)b->n_levels - (int)a->n_levels;
}

struct placed {
    struct mp_endpoint endpoint;
    unsigned place;
};

static int compare(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    int order = compare_shapes(x->endpoint.pattern, y->endpoint.pattern);

    return order ? order : (x->place > y->place) - (x->place < y->place);
}

void mp_endpoints_sort(struct mp_endpoint *list, unsigned n)
{
    struct placed *all = mp_alloc((n + 1) * sizeof *all);

    for (unsigned i = 0; i < n; i++)
        all[i] = (struct placed){list[i], i};
    qsort(all, n, sizeof *all, compare);
    for (unsigned i = 0; i < n; i++)
        list[i] = all[i].endpoint;
    free(all);
}

bool mp_endpoint_clashes(const struct mp_endpoint *a,
                         const struct mp_endpoint *b)
{
    return a->kind == b->kind && a->methods & b->methods &&
           compare_shapes(a->pattern, b->pattern) == 0;
}

const struct mp_endpoint *mp_endpoint_find(const struct mp_endpoint *list,
                                           unsigned n, enum mp_method method,
                                           struct mp_slice path,
                                           unsigned *allowed)
{
    struct mp_pair params[MP_PAIRS_MAX];
    uint32_t n_params;
    unsigned bit = method == MP_METHODS ? 0 : 1U << method;

    if (method == MP_HEAD)
        bit = 1U << MP_GET;
    *allowed = 0;
    for (unsigned i = 0; i < n; i++) {
        if (!mp_pattern_match(list[i].pattern, path, params, &n_params))
            continue;
        if (list[i].methods & bit)
            return &list[i];
        *allowed |= list[i].methods;
    }
    return NULL;
}
