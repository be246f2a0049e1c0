/*
 * values.c - an index over bytes that came, and the changes beside it.
 *
 * Names lie sorted in one array of pointers: an actor has a handful, and a
 * list of names has to come out in order anyway.  Nothing here calls Lua, so
 * nothing here is ever left by a longjmp.
 */
#include "luart/values.h"

#include <stdlib.h>

/* What an effect takes in the outcome besides name and text. */
enum { EFFECT_HEAD = 40, CAP_MIN = 8 };

int mp_values_compare(struct mp_slice a, struct mp_slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

void mp_values_take(struct mp_values *v, const struct mp_run_state *state,
                    size_t key_len)
{
    v->complete = state->complete;
    v->left = state->left;
    v->key_len = key_len;
    v->came = state->n;
    v->bytes.max = MP_FRAME_MAX;
    mp_buf_slice(&v->bytes, state->entries);
}

void mp_values_reset(struct mp_values *v)
{
    struct mp_buf bytes = v->bytes;

    for (size_t i = 0; i < v->n; i++) {
        free(v->held[i]->text);
        if (v->held[i]->own)
            free(v->held[i]);
    }
    free(v->held);
    free(v->index);
    mp_buf_reset(&bytes);
    *v = (struct mp_values){.bytes = bytes};
}

void mp_values_fini(struct mp_values *v)
{
    mp_values_reset(v);
    mp_buf_fini(&v->bytes);
}

/* ---- the index ---- */

static void open_index(struct mp_values *v)
{
    struct mp_reader r = mp_reader(mp_buf_bytes(&v->bytes));

    v->open = true;
    v->cap = v->came + CAP_MIN;
    v->held = mp_alloc(v->cap * sizeof(struct mp_held *));
    v->index = v->came ? mp_zalloc(v->came * sizeof *v->index) : NULL;
    for (; v->n < v->came; v->n++) {
        struct mp_held *h = &v->index[v->n];
        struct mp_entry e = mp_get_entry(&r);

        h->name = e.name;
        h->came = h->now = e.value;
        h->known = true;
        h->expires = e.expires_us != 0;
        v->held[v->n] = h;
        MP_ASSERT(!r.bad);
        MP_ASSERT(!v->n ||
                  mp_values_compare(v->held[v->n - 1]->name, h->name) < 0);
    }
    MP_ASSERT(r.at == r.end);
}

size_t mp_values_seek(struct mp_values *v, struct mp_slice name, bool above)
{
    size_t from = 0, to;

    if (!v->open)
        open_index(v);
    to = v->n;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int order = mp_values_compare(v->held[middle]->name, name);

        if (order < 0 || (above && order == 0))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct mp_held *mp_values_find(struct mp_values *v, struct mp_slice name)
{
    size_t at = mp_values_seek(v, name, false);

    return at < v->n && mp_slice_eq(v->held[at]->name, name) ? v->held[at]
                                                             : NULL;
}

struct mp_slice mp_values_border(struct mp_values *v)
{
    if (!v->open)
        open_index(v);
    return v->came ? v->index[v->came - 1].name : mp_slice(NULL, 0);
}

bool mp_values_at_hand(struct mp_values *v, struct mp_slice name)
{
    struct mp_slice border;

    if (v->complete || mp_values_find(v, name))
        return true;
    border = mp_values_border(v);
    return border.ptr && mp_values_compare(name, border) < 0;
}

/* A new one, in its place. */
static struct mp_held *add(struct mp_values *v, struct mp_slice name)
{
    bool known = mp_values_at_hand(v, name);
    size_t at = mp_values_seek(v, name, false);
    struct mp_held *h = mp_zalloc(sizeof *h + name.len);

    memcpy(h + 1, name.ptr, name.len);
    h->name = mp_slice(h + 1, name.len);
    h->known = known;
    h->own = true;
    if (v->n == v->cap) {
        v->cap *= 2;
        v->held = mp_realloc(v->held, v->cap * sizeof(struct mp_held *));
    }
    memmove(v->held + at + 1, v->held + at,
            (v->n - at) * sizeof(struct mp_held *));
    v->held[at] = h;
    v->n++;
    return h;
}

/* ---- changes ---- */

/* As the host counts. */
static int64_t quota_bytes(const struct mp_values *v, struct mp_slice name,
                           const struct mp_value *value)
{
    if (value->kind == MP_VALUE_NONE)
        return 0;
    return (int64_t)(v->key_len + name.len + mp_value_bytes(value));
}

static int64_t effect_bytes(struct mp_slice name, const struct mp_value *value)
{
    return (int64_t)(EFFECT_HEAD + name.len + value->text.len);
}

struct mp_values_cost mp_values_cost(struct mp_values *v, struct mp_slice name,
                                     const struct mp_value *value)
{
    const struct mp_held *h = mp_values_find(v, name);
    struct mp_values_cost cost = {0, effect_bytes(name, value)};

    /* What nobody asked for may be there already: the host will know. */
    if (h || mp_values_at_hand(v, name))
        cost.quota = quota_bytes(v, name, value);
    if (h)
        cost.quota -= quota_bytes(v, name, &h->now);
    if (h && h->changed)
        cost.pending -= effect_bytes(name, &h->now);
    return cost;
}

static void note_changed(struct mp_values *v, struct mp_held *h)
{
    if (h->changed)
        return;
    h->changed = true;
    v->n_changed++;
    if (v->last)
        v->last->next = h;
    else
        v->first = h;
    v->last = h;
}

void mp_values_set(struct mp_values *v, struct mp_slice name,
                   const struct mp_value *value, enum mp_state_op op,
                   int64_t ttl_us)
{
    struct mp_values_cost cost = mp_values_cost(v, name, value);
    struct mp_held *h = mp_values_find(v, name);
    char *text = NULL;

    if (!h)
        h = add(v, name);
    v->left -= cost.quota;
    v->pending = (size_t)((int64_t)v->pending + cost.pending);
    if (value->text.len) {
        text = mp_alloc(value->text.len);
        memcpy(text, value->text.ptr, value->text.len);
    }
    note_changed(v, h);
    free(h->text);
    h->text = text;
    h->now = *value;
    h->now.text.ptr = text;
    h->op = op;
    h->ttl_us = ttl_us;
}

/* ---- the end ---- */

static bool as_it_came(const struct mp_held *h)
{
    return h->known && !h->ttl_us && !h->expires &&
           mp_value_eq(&h->came, &h->now);
}

uint32_t mp_values_effects(const struct mp_values *v, struct mp_buf *effects)
{
    uint32_t n = 0;

    for (const struct mp_held *h = v->first; h; h = h->next) {
        struct mp_effect e = {.kind = MP_EFFECT_STATE,
                              .name = h->name,
                              .op = h->op,
                              .value = h->now,
                              .ttl_us = h->ttl_us};

        if (as_it_came(h))
            continue;
        mp_wire_put_effect(effects, &e);
        n++;
    }
    return n;
}
