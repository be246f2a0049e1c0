/*
 * actor.c - one actor's values as bytes, in the form in which they travel.
 *
 * Most actors have a handful of values, so finding one is a walk, and handing
 * all of them to a worker is a pointer.  Names that have changed since the
 * last seal are noted in a buffer, each once, with whether there was a row of
 * it then:
 *
 *     u8 was | u32 length | name
 *
 * So a value that came and went between two transactions leaves no byte.
 *
 * Of an actor that is too large for memory only the first entries are here.
 * Of the others there is a hash, their size and their expiry: what a change
 * must know of what it changes, so that the quota stays exact and an equal
 * value is no change.
 */
#include "core/actor.h"

#include <stdlib.h>

#include "core/base/utf8.h"

enum {
    SMALL = 48,
    INDEX_FROM = 32,   /* values; fewer are walked */
    NOTES_LOOK = 4096, /* bytes of noted names that are looked through */
};

struct mp_actor *mp_actor_new(struct mp_states *s, struct mp_state_fn *fn,
                              struct mp_slice key)
{
    struct mp_actor *a = mp_zalloc(sizeof *a + key.len + 1);

    memcpy(a + 1, key.len ? key.ptr : "", key.len);
    a->key = mp_slice(a + 1, key.len);
    a->fn = fn;
    a->states = s;
    a->first_expiry_us = INT64_MAX;
    mp_list_init(&a->idle);
    mp_list_init(&a->dirty);
    mp_list_init(&a->waits);
    mp_buf_init(&a->entries, UINT32_MAX);
    mp_buf_init(&a->changes, UINT32_MAX);
    return a;
}

void mp_actor_free(struct mp_actor *a)
{
    mp_buf_fini(&a->entries);
    mp_buf_fini(&a->changes);
    free(a->index);
    free(a->rest);
    free(a);
}

size_t mp_actor_weight(const struct mp_actor *a)
{
    return sizeof *a + a->key.len + a->entries.cap + a->changes.cap +
           a->n_rest * sizeof *a->rest +
           (a->index ? a->index_cap * sizeof *a->index : 0);
}

/* ---- finding ---- */

static int compare(struct mp_slice a, struct mp_slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static struct mp_rest *find_rest(const struct mp_actor *a, struct mp_slice name)
{
    uint64_t hash = mp_hash64(&a->states->seed, name);
    size_t from = 0, to = a->n_rest;

    while (from < to) {
        size_t at = from + (to - from) / 2;

        if (a->rest[at].name == hash)
            return a->rest[at].gone ? NULL : &a->rest[at];
        if (a->rest[at].name < hash)
            from = at + 1;
        else
            to = at;
    }
    return NULL;
}

/* ---- finding: from a few dozen values on by an index ---- */

static struct mp_entry entry_at(const struct mp_actor *a, size_t at,
                                size_t *len)
{
    struct mp_reader r = mp_actor_reader(a);
    struct mp_entry e;

    r.at += at;
    e = mp_get_entry(&r);
    *len = (size_t)(r.at - a->entries.ptr) - at;
    return e;
}

static void make_index(struct mp_actor *a)
{
    struct mp_reader r = mp_actor_reader(a);

    a->index_cap = a->n * 2;
    a->index = mp_alloc(a->index_cap * sizeof *a->index);
    for (uint32_t i = 0; i < a->n; i++) {
        a->index[i] = (uint32_t)(r.at - a->entries.ptr);
        mp_get_entry(&r);
    }
}

/* After the entry at p became len bytes (0: it is gone). */
static void keep_index(struct mp_actor *a, const struct mp_place *p, size_t len)
{
    uint32_t behind, n = a->n, from = p->nth;

    if (!a->index || len == p->len)
        return;
    if (!p->len && n == a->index_cap) { /* made anew when it is needed */
        free(a->index);
        a->index = NULL;
        return;
    }
    behind = n - from - (p->len > 0);
    if (!p->len)
        memmove(a->index + from + 1, a->index + from,
                behind * sizeof *a->index);
    else if (!len)
        memmove(a->index + from, a->index + from + 1,
                behind * sizeof *a->index);
    if (len)
        a->index[from++] = (uint32_t)p->at;
    for (uint32_t i = from; i < from + behind; i++)
        a->index[i] += (uint32_t)len - (uint32_t)p->len;
}

static void walk(const struct mp_actor *a, struct mp_slice name,
                 struct mp_place *p)
{
    struct mp_reader r = mp_actor_reader(a);
    const char *begin = r.at;

    for (; r.at < r.end; p->nth++) {
        size_t at = (size_t)(r.at - begin);
        struct mp_entry e = mp_get_entry(&r);
        int order = compare(e.name, name);

        if (order < 0)
            continue;
        p->at = at;
        if (order == 0) {
            p->len = (size_t)(r.at - begin) - at;
            p->entry = e;
        }
        return;
    }
}

static void look_up(struct mp_actor *a, struct mp_slice name,
                    struct mp_place *p)
{
    uint32_t from = 0, to = a->n;
    size_t len;

    if (!a->index)
        make_index(a);
    while (from < to) {
        uint32_t nth = from + (to - from) / 2;
        struct mp_entry e = entry_at(a, a->index[nth], &len);
        int order = compare(e.name, name);

        if (order == 0) {
            *p = (struct mp_place){
                .at = a->index[nth], .len = len, .nth = nth, .entry = e};
            return;
        }
        if (order < 0)
            from = nth + 1;
        else
            to = nth;
    }
    p->nth = from;
    if (from < a->n)
        p->at = a->index[from];
}

struct mp_place mp_actor_find(struct mp_actor *a, struct mp_slice name)
{
    struct mp_place p = {.at = a->entries.len};

    if (a->n < INDEX_FROM)
        walk(a, name, &p);
    else
        look_up(a, name, &p);
    if (!p.len && a->n_rest)
        p.rest = find_rest(a, name);
    return p;
}

bool mp_place_is(const struct mp_place *p, int64_t now_us)
{
    int64_t expires = p->rest ? p->rest->expires_us : p->entry.expires_us;

    return (p->len || p->rest) && (expires == 0 || expires > now_us);
}

bool mp_place_has(const struct mp_actor *a, const struct mp_place *p,
                  const struct mp_value *v)
{
    if (p->len)
        return p->entry.expires_us == 0 && mp_value_eq(&p->entry.value, v);
    return p->rest && p->rest->expires_us == 0 &&
           p->rest->bytes == mp_value_bytes(v) &&
           p->rest->value == mp_value_hash(&a->states->seed, v);
}

uint64_t mp_value_hash(const struct mp_hash_key *seed, const struct mp_value *v)
{
    struct mp_hasher h;
    uint64_t bits;

    mp_hasher_init(&h, seed);
    mp_hasher_add_u64(&h, v->kind);
    switch (v->kind) {
    case MP_VALUE_INTEGER:
    case MP_VALUE_BOOLEAN:
        mp_hasher_add_u64(&h, (uint64_t)v->integer);
        break;
    case MP_VALUE_FLOAT:
        memcpy(&bits, &v->number, sizeof bits);
        mp_hasher_add_u64(&h, bits);
        break;
    default:
        mp_hasher_add(&h, v->text);
        break;
    }
    return mp_hasher_end(&h).lo;
}

struct mp_value mp_value_kept(const struct mp_value *v)
{
    struct mp_value kept = *v;
    const uint64_t nan = UINT64_C(0x7ff8) << 48;

    if (v->kind == MP_VALUE_BOOLEAN)
        kept.integer = v->integer != 0;
    else if (v->kind == MP_VALUE_FLOAT && v->number != v->number)
        memcpy(&kept.number, &nan, sizeof nan);
    return kept;
}

/* ---- counting ---- */

size_t mp_actor_bytes(const struct mp_actor *a, struct mp_slice name,
                      const struct mp_value *v)
{
    return a->key.len + name.len + mp_value_bytes(v);
}

size_t mp_place_bytes(const struct mp_actor *a, const struct mp_place *p,
                      struct mp_slice name)
{
    if (p->len)
        return mp_actor_bytes(a, name, &p->entry.value);
    return p->rest ? a->key.len + name.len + p->rest->bytes : 0;
}

uint64_t mp_actor_sum(const struct mp_actor *a)
{
    struct mp_reader r = mp_actor_reader(a);
    uint64_t sum = 0;

    while (r.at < r.end) {
        struct mp_entry e = mp_get_entry(&r);

        sum += mp_actor_bytes(a, e.name, &e.value);
    }
    return sum;
}

void mp_state_count(struct mp_state_fn *fn, uint64_t added, uint64_t removed)
{
    /* Rows that somebody changed by hand may be of another size than they
     * were counted with. */
    if (removed > fn->values + added)
        removed = fn->values + added;
    fn->values = fn->values + added - removed;
    fn->bytes = fn->bytes + added - removed;
}

/* ---- changing ---- */

/* Most actors hold a number or two, and there may be ten thousands of them:
 * begin smaller than a buffer would by itself. */
static void begin_small(struct mp_buf *b)
{
    if (b->cap)
        return;
    b->ptr = mp_alloc(SMALL);
    b->cap = SMALL;
}

/*
 * Note a name whose value changes; was: there is a row of it now.  A name that
 * is noted twice is written twice, the same: past some bytes that is cheaper
 * than looking.
 */
static void note(struct mp_actor *a, struct mp_slice name, bool was)
{
    struct mp_reader r =
        mp_reader(mp_slice(a->changes.len ? a->changes.ptr : "",
                           a->changes.len < NOTES_LOOK ? a->changes.len : 0));

    while (r.at < r.end) {
        mp_get_u8(&r);
        if (mp_slice_eq(mp_get_slice(&r), name))
            return;
    }
    begin_small(&a->changes);
    mp_put_u8(&a->changes, was);
    mp_put_slice(&a->changes, name);
    MP_ASSERT(!a->changes.full);
}

static size_t entry_len(const struct mp_entry *e)
{
    size_t head = sizeof(uint32_t) + e->name.len + sizeof(uint64_t) + 1;

    if (e->value.kind == MP_VALUE_STRING || e->value.kind == MP_VALUE_TABLE)
        return head + sizeof(uint32_t) + e->value.text.len;
    return head + sizeof(uint64_t);
}

/* Put e where p is; NULL: nothing. */
static void replace(struct mp_actor *a, const struct mp_place *p,
                    const struct mp_entry *e)
{
    size_t len = e ? entry_len(e) : 0;
    size_t behind = a->entries.len - p->at - p->len;
    struct mp_buf gap;
    char *at;

    begin_small(&a->entries);
    if (len > p->len && !mp_buf_room(&a->entries, len - p->len))
        mp_oom(len);
    at = a->entries.ptr + p->at;
    if (len != p->len && behind)
        memmove(at + len, at + p->len, behind);
    a->entries.len = p->at + len + behind;
    if (!e)
        return;
    gap = (struct mp_buf){.ptr = at, .cap = len, .max = len};
    mp_put_entry(&gap, e);
    MP_ASSERT(gap.len == len && !gap.full);
}

void mp_actor_put(struct mp_actor *a, const struct mp_place *p,
                  const struct mp_entry *e)
{
    bool is = e->value.kind != MP_VALUE_NONE, was = p->len || p->rest;

    if (!is && !was)
        return;
    mp_state_count(a->fn, is ? mp_actor_bytes(a, e->name, &e->value) : 0,
                   mp_place_bytes(a, p, e->name));
    if (!a->volatile_)
        note(a, e->name, was);
    if (p->rest)
        p->rest->gone = true;
    if (is || p->len) {
        replace(a, p, is ? e : NULL);
        keep_index(a, p, is ? entry_len(e) : 0);
    }
    if (is && !p->len)
        a->n++;
    else if (!is && p->len)
        a->n--;
    if (is && e->expires_us && e->expires_us < a->first_expiry_us)
        a->first_expiry_us = e->expires_us;
}

bool mp_actor_expire(struct mp_actor *a, int64_t now_us)
{
    struct mp_place p = {0};
    bool any = false;

    if (a->first_expiry_us > now_us)
        return false;
    a->first_expiry_us = INT64_MAX;
    while (p.at < a->entries.len) {
        struct mp_reader r = mp_actor_reader(a);
        struct mp_entry none;

        r.at += p.at;
        p.entry = mp_get_entry(&r);
        p.len = (size_t)(r.at - a->entries.ptr) - p.at;
        if (mp_place_is(&p, now_us)) {
            if (p.entry.expires_us && p.entry.expires_us < a->first_expiry_us)
                a->first_expiry_us = p.entry.expires_us;
            p.at += p.len;
            p.nth++;
            continue;
        }
        none = (struct mp_entry){.name = p.entry.name};
        mp_actor_put(a, &p, &none);
        any = true;
    }
    return any;
}

void mp_actor_seal(struct mp_actor *a, struct mp_batch *batch)
{
    struct mp_reader r = mp_reader(
        mp_slice(a->changes.len ? a->changes.ptr : "", a->changes.len));

    while (r.at < r.end) {
        bool was = mp_get_u8(&r);
        struct mp_slice name = mp_get_slice(&r);
        struct mp_place p = mp_actor_find(a, name);

        if (!p.len && !was)
            continue;
        mp_batch_op(batch, p.len ? MP_SQL_STATE_PUT : MP_SQL_STATE_DELETE);
        mp_batch_text(batch, mp_slice_str(a->fn->name));
        mp_batch_text(batch, a->key);
        mp_batch_text(batch, name);
        if (p.len)
            mp_state_row_put(batch, &p.entry);
    }
    mp_buf_reset(&a->changes);
}

size_t mp_actor_first(const struct mp_actor *a, size_t max, uint32_t *n)
{
    struct mp_reader r = mp_actor_reader(a);
    const char *begin = r.at;
    size_t len = 0;

    for (*n = 0; r.at < r.end; ++*n) {
        mp_get_entry(&r);
        if ((size_t)(r.at - begin) > max)
            break;
        len = (size_t)(r.at - begin);
    }
    return len;
}

/* ---- rows ---- */

void mp_state_row_put(struct mp_batch *b, const struct mp_entry *e)
{
    const struct mp_value *v = &e->value;

    mp_batch_text(b, mp_slice_str(mp_value_kind_name(v->kind)));
    switch (v->kind) {
    case MP_VALUE_INTEGER:
    case MP_VALUE_BOOLEAN:
        mp_batch_int(b, v->integer);
        break;
    case MP_VALUE_FLOAT:
        /* SQLite has no NaN: a float without a number is one. */
        if (v->number != v->number)
            mp_batch_null(b);
        else
            mp_batch_real(b, v->number);
        break;
    default:
        if (mp_utf8_valid(v->text) &&
            (!v->text.len || !memchr(v->text.ptr, 0, v->text.len)))
            mp_batch_text(b, v->text);
        else
            mp_batch_blob(b, v->text);
        break;
    }
    if (e->expires_us)
        mp_batch_int(b, e->expires_us);
    else
        mp_batch_null(b);
}

static enum mp_value_kind kind_of(struct mp_slice word)
{
    for (unsigned k = MP_VALUE_INTEGER; k < MP_VALUE_KINDS; k++)
        if (mp_slice_is(word, mp_value_kind_name((enum mp_value_kind)k)))
            return (enum mp_value_kind)k;
    return MP_VALUE_STRING; /* of somebody with sqlite3 and a spelling */
}

struct mp_entry mp_state_row_get(struct mp_query *q, int first)
{
    struct mp_entry e = {0};
    struct mp_value v = {.kind = kind_of(mp_column_bytes(q, first))};

    switch (v.kind) {
    case MP_VALUE_INTEGER:
    case MP_VALUE_BOOLEAN:
        v.integer = mp_column_int(q, first + 1);
        break;
    case MP_VALUE_FLOAT:
        v.number = mp_column_is_null(q, first + 1)
                       ? __builtin_nan("")
                       : mp_column_real(q, first + 1);
        break;
    default:
        v.text = mp_column_bytes(q, first + 1);
        break;
    }
    e.value = mp_value_kept(&v);
    e.expires_us =
        mp_column_is_null(q, first + 2) ? 0 : mp_column_int(q, first + 2);
    return e;
}
