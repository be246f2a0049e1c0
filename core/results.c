/*
 * results.c - a hash table by name, and two lists by age.
 *
 * What runs and what is there age apart: a retried event may run longer than
 * answers are kept.  When there is no room, the oldest answer goes, and where
 * there is none, what has run the longest: its client will read 404.
 */
#include "core/results.h"

#include <stdlib.h>
#include <sys/random.h>

enum { BUCKETS_MIN = 64 };

struct mp_result {
    struct mp_link link;    /* of running or there */
    struct mp_result *next; /* of the bucket */
    uint64_t hash;
    char *name;
    size_t name_len, bytes;
    int64_t since_us;
    bool is;
    struct mp_answer answer; /* its bytes are in block */
    char *block;
};

static void new_key(struct mp_hash_key *key)
{
    if (getrandom(key, sizeof *key, 0) != sizeof *key)
        mp_bug(__FILE__, __LINE__, "getrandom gives nothing");
}

void mp_results_init(struct mp_results *r, int64_t ttl_us)
{
    *r = (struct mp_results){.ttl_us = ttl_us};
    /* Clients ask for what they like: nobody shall find names that collide. */
    new_key(&r->key);
    new_key(&r->name_key);
    mp_list_init(&r->running);
    mp_list_init(&r->there);
}

/* ---- names ---- */

static char *put_hex(char *to, uint64_t word)
{
    static const char digits[] = "0123456789abcdef";

    for (int shift = 60; shift >= 0; shift -= 4)
        *to++ = digits[word >> shift & 15];
    return to;
}

struct mp_slice mp_results_name(const struct mp_results *r,
                                enum mp_event_type type, struct mp_slice method,
                                struct mp_slice path, struct mp_slice id,
                                char name[MP_RESULT_NAME + 1])
{
    struct mp_hasher hasher;
    struct mp_hash hash;

    mp_hasher_init(&hasher, &r->name_key);
    mp_hasher_add_u64(&hasher, type);
    mp_hasher_add(&hasher, method);
    mp_hasher_add(&hasher, path);
    mp_hasher_add(&hasher, id);
    hash = mp_hasher_end(&hasher);
    *put_hex(put_hex(name, hash.hi), hash.lo) = '\0';
    return mp_slice(name, MP_RESULT_NAME);
}

struct mp_slice mp_results_name_of(const struct mp_results *r,
                                   const struct mp_input *in,
                                   char name[MP_RESULT_NAME + 1])
{
    return mp_results_name(r, in->type, in->method, in->topic, in->id, name);
}

/* ---- the table ---- */

static uint64_t hash_of(const struct mp_results *r, struct mp_slice name)
{
    return mp_hash64(&r->key, name);
}

static struct mp_result *find(const struct mp_results *r, struct mp_slice name)
{
    uint64_t hash = hash_of(r, name);
    struct mp_result *at =
        r->n_buckets ? r->buckets[hash & (r->n_buckets - 1)] : NULL;

    while (at && (at->hash != hash ||
                  !mp_slice_eq(mp_slice(at->name, at->name_len), name)))
        at = at->next;
    return at;
}

static void chain(struct mp_results *r, struct mp_result *x)
{
    struct mp_result **bucket = &r->buckets[x->hash & (r->n_buckets - 1)];

    x->next = *bucket;
    *bucket = x;
}

static void grow(struct mp_results *r)
{
    struct mp_result **old = r->buckets;
    uint32_t n = r->n_buckets;

    r->n_buckets = n ? 2 * n : BUCKETS_MIN;
    r->buckets = mp_zalloc(r->n_buckets * sizeof(struct mp_result *));
    for (uint32_t i = 0; i < n; i++) {
        for (struct mp_result *x = old[i], *next; x; x = next) {
            next = x->next;
            chain(r, x);
        }
    }
    free(old);
}

static void forget(struct mp_results *r, struct mp_result *x)
{
    struct mp_result **at = &r->buckets[x->hash & (r->n_buckets - 1)];

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    mp_list_unlink(&x->link);
    r->n--;
    r->bytes -= x->bytes;
    free(x->block);
    free(x->name);
    free(x);
}

static struct mp_result *oldest(struct mp_link *list)
{
    return mp_list_empty(list) ? NULL
                               : mp_of(list->next, struct mp_result, link);
}

void mp_results_fini(struct mp_results *r)
{
    struct mp_result *x;

    while ((x = oldest(&r->running)) || (x = oldest(&r->there)))
        forget(r, x);
    free(r->buckets);
    r->buckets = NULL;
    r->n_buckets = 0;
}

static bool is_full(const struct mp_results *r, uint32_t n, size_t bytes)
{
    return r->n + n > MP_RESULTS_MAX || r->bytes + bytes > MP_RESULTS_BYTES;
}

/* For n more of so many bytes, by forgetting the oldest of a list. */
static void make_room(struct mp_results *r, struct mp_link *list, uint32_t n,
                      size_t bytes)
{
    struct mp_result *x;

    while (is_full(r, n, bytes) && (x = oldest(list)))
        forget(r, x);
}

bool mp_results_begin(struct mp_results *r, struct mp_slice name,
                      int64_t now_us)
{
    struct mp_result *x;

    mp_results_turn(r, now_us);
    if (find(r, name))
        return false;
    x = mp_zalloc(sizeof *x);
    x->name = mp_strndup(name.ptr, name.len);
    x->name_len = name.len;
    x->bytes = sizeof *x + name.len;
    x->hash = hash_of(r, name);
    x->since_us = now_us;
    make_room(r, &r->there, 1, x->bytes);
    make_room(r, &r->running, 1, x->bytes);
    if (r->n >= r->n_buckets)
        grow(r);
    chain(r, x);
    mp_list_append(&r->running, &x->link);
    r->n++;
    r->bytes += x->bytes;
    return true;
}

void mp_results_drop(struct mp_results *r, struct mp_slice name)
{
    struct mp_result *x = find(r, name);

    if (x && !x->is)
        forget(r, x);
}

/* ---- answers ---- */

static size_t bytes_of(const struct mp_answer *a)
{
    size_t bytes = a->data.len + a->detail.len;

    for (uint32_t i = 0; i < a->n_headers; i++)
        bytes += sizeof *a->headers + a->headers[i].name.len +
                 a->headers[i].value.len;
    return bytes;
}

static void move(struct mp_slice *s, char **at)
{
    if (!s->ptr)
        return;
    if (s->len)
        memcpy(*at, s->ptr, s->len);
    s->ptr = *at;
    *at += s->len;
}

static void keep_answer(struct mp_result *x, const struct mp_answer *a)
{
    struct mp_pair *pairs;
    char *at;

    x->block = mp_alloc(bytes_of(a) + 1);
    pairs = (struct mp_pair *)x->block;
    at = (char *)(pairs + a->n_headers);
    x->answer = *a;
    x->answer.headers = pairs;
    for (uint32_t i = 0; i < a->n_headers; i++) {
        pairs[i] = a->headers[i];
        move(&pairs[i].name, &at);
        move(&pairs[i].value, &at);
    }
    move(&x->answer.data, &at);
    move(&x->answer.detail, &at);
}

/* A repeated event may bring a second outcome; the last one counts. */
void mp_results_put(struct mp_results *r, struct mp_slice name,
                    const struct mp_answer *a, int64_t now_us)
{
    struct mp_result *x = find(r, name);
    size_t bytes = bytes_of(a);

    if (!x)
        return;
    r->bytes -= x->bytes;
    x->bytes = sizeof *x + x->name_len;
    r->bytes += x->bytes;
    free(x->block);
    x->block = NULL;
    mp_list_unlink(&x->link); /* so that it isn't the oldest itself */
    make_room(r, &r->there, 0, bytes);
    if (is_full(r, 0, bytes)) { /* too long to be kept */
        forget(r, x);
        return;
    }
    mp_list_append(&r->there, &x->link);
    x->since_us = now_us;
    x->is = true;
    x->bytes += bytes;
    r->bytes += bytes;
    keep_answer(x, a);
}

enum mp_result_is mp_results_get(struct mp_results *r, struct mp_slice name,
                                 struct mp_answer *a, int64_t now_us)
{
    struct mp_result *x;

    mp_results_turn(r, now_us);
    x = find(r, name);
    if (!x)
        return MP_RESULT_UNKNOWN;
    if (!x->is)
        return MP_RESULT_RUNS;
    *a = x->answer;
    return MP_RESULT_IS;
}

void mp_results_turn(struct mp_results *r, int64_t now_us)
{
    struct mp_result *x;

    while ((x = oldest(&r->there)) && now_us - x->since_us >= r->ttl_us)
        forget(r, x);
}
