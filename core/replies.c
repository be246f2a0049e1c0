/*
 * replies.c - a hash table by exchange, whose entries hang in rows.
 *
 * As in seen.c a row is what one transaction adds with one duration; all of it
 * is over at about the same time.
 *
 * An exchange may be answered twice (accepted, then done), and the last answer
 * counts: in a bucket newer ones stand before older ones, also after it grew;
 * a row has its entries in the order they came, so that they are loaded so.
 */
#include "core/replies.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/base/wire.h"
#include "core/log.h"

enum {
    BUCKETS_MIN = 256,
    /* Beside the answer: the hash and a length. */
    ENTRY_HEAD = 2 * sizeof(uint64_t) + sizeof(uint32_t),
    ROW_BYTES_MAX = 2 * MP_REPLY_BYTES,
    REMOVALS = 1024, /* rows, in one tick */
    FIXED = 64,      /* an answer's numbers and lengths */
};

#define SAY_AGAIN (3600 * MP_SECOND)

struct row {
    struct mp_link link;
    int64_t id, until_us;
    int64_t for_us;  /* while it gathers */
    uint64_t ticket; /* 0: loaded */
    bool sealed;
    size_t bytes;                  /* of its entries, as they are written */
    struct mp_reply *first, **end; /* oldest first */
};

struct mp_reply {
    struct mp_reply *next; /* of the bucket */
    struct mp_reply *peer; /* of the row */
    struct row *row;
    struct mp_hash hash;
    uint32_t len;
    char bytes[]; /* of the answer, as put_answer writes it */
};

#define row_of(at) mp_of(at, struct row, link)

void mp_replies_init(struct mp_replies *r, struct mp_commit *commit,
                     const struct mp_timeline *timeline)
{
    *r = (struct mp_replies){
        .commit = commit, .timeline = timeline, .next_id = 1};
    mp_list_init(&r->rows);
}

/* ---- an answer as bytes ---- */

size_t mp_reply_bytes(const struct mp_answer *a)
{
    size_t bytes = ENTRY_HEAD + FIXED + a->data.len + a->detail.len;

    for (uint32_t i = 0; i < a->n_headers; i++)
        bytes += a->headers[i].name.len + a->headers[i].value.len + 8;
    return bytes;
}

static void put_answer(struct mp_buf *b, const struct mp_answer *a)
{
    mp_put_u8(b, (uint8_t)a->kind);
    mp_put_u8(b, (uint8_t)a->format);
    mp_put_u8(b, a->data.ptr != NULL);
    mp_put_u32(b, a->status);
    mp_put_u32(b, a->max_age_s);
    mp_put_slice(b, a->data.ptr ? a->data : MP_S(""));
    mp_put_slice(b, a->detail);
    mp_put_u32(b, a->n_headers);
    for (uint32_t i = 0; i < a->n_headers; i++) {
        mp_put_slice(b, a->headers[i].name);
        mp_put_slice(b, a->headers[i].value);
    }
}

/* False: malformed. */
static bool get_answer(struct mp_slice bytes, struct mp_answer *a,
                       struct mp_pair *headers)
{
    struct mp_reader r = mp_reader(bytes);
    bool has_data;

    *a = (struct mp_answer){.kind = (enum mp_answer_kind)mp_get_u8(&r)};
    a->format = (enum mp_format)mp_get_u8(&r);
    has_data = mp_get_u8(&r);
    a->status = mp_get_u32(&r);
    a->max_age_s = mp_get_u32(&r);
    a->data = mp_get_slice(&r);
    if (!has_data)
        a->data = mp_slice(NULL, 0);
    a->detail = mp_get_slice(&r);
    a->n_headers = mp_get_u32(&r);
    if (a->kind > MP_ANSWER_GONE || a->format >= MP_FORMATS ||
        a->n_headers > MP_PAIRS_MAX)
        return false;
    for (uint32_t i = 0; i < a->n_headers; i++) {
        headers[i].name = mp_get_slice(&r);
        headers[i].value = mp_get_slice(&r);
    }
    a->headers = headers;
    return !r.bad && r.at == r.end;
}

/* ---- the table ---- */

static struct mp_hash hash_of(struct mp_slice exchange)
{
    /* Never to be changed: what it gives is on disk.  Exchanges are hashes
     * that have secrets in them, or keys of who was let in. */
    static const struct mp_hash_key key = {UINT64_C(0x7265706c69657320),
                                           UINT64_C(0x65786368616e6765)};
    struct mp_hasher h;

    mp_hasher_init(&h, &key);
    mp_hasher_add(&h, exchange);
    return mp_hasher_end(&h);
}

static struct mp_reply **bucket(const struct mp_replies *r, struct mp_hash hash)
{
    return &r->buckets[hash.lo & (r->n_buckets - 1)];
}

static void grow(struct mp_replies *r)
{
    struct mp_reply **old = r->buckets;
    uint32_t n = r->n_buckets;

    r->n_buckets = n ? 2 * n : BUCKETS_MIN;
    r->buckets = mp_zalloc(r->n_buckets * sizeof(struct mp_reply *));
    for (uint32_t i = 0; i < n; i++) {
        for (struct mp_reply *x = old[i], *next; x; x = next) {
            struct mp_reply **at = bucket(r, x->hash);

            next = x->next;
            while (*at) /* behind those that stood before it */
                at = &(*at)->next;
            x->next = NULL;
            *at = x;
        }
    }
    free(old);
}

static struct mp_reply *find(const struct mp_replies *r, struct mp_hash hash)
{
    struct mp_reply *x = r->n_buckets ? *bucket(r, hash) : NULL;

    while (x && !mp_hash_eq(x->hash, hash))
        x = x->next;
    return x;
}

static void unchain(struct mp_replies *r, struct mp_reply *x)
{
    struct mp_reply **at = bucket(r, x->hash);

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    r->n--;
    r->bytes -= ENTRY_HEAD + x->len;
}

static void put(struct mp_replies *r, struct row *row, struct mp_hash hash,
                struct mp_slice bytes)
{
    struct mp_reply *x = mp_alloc(sizeof *x + bytes.len);
    struct mp_reply **at;

    MP_ASSERT(bytes.ptr);
    if (r->n >= r->n_buckets)
        grow(r);
    at = bucket(r, hash);
    *x = (struct mp_reply){
        .next = *at, .row = row, .hash = hash, .len = (uint32_t)bytes.len};
    memcpy(x->bytes, bytes.ptr, bytes.len);
    *at = x;
    *row->end = x;
    row->end = &x->peer;
    row->bytes += ENTRY_HEAD + bytes.len;
    r->n++;
    r->bytes += ENTRY_HEAD + bytes.len;
}

/* ---- rows ---- */

static struct row *row_new(struct mp_replies *r, int64_t id)
{
    struct row *row = mp_zalloc(sizeof *row);

    row->id = id;
    row->end = &row->first;
    mp_list_append(&r->rows, &row->link);
    return row;
}

static void row_free(struct mp_replies *r, struct row *row)
{
    while (row->first) {
        struct mp_reply *x = row->first;

        row->first = x->peer;
        unchain(r, x);
        free(x);
    }
    mp_list_unlink(&row->link);
    free(row);
}

static void row_end(struct mp_replies *r, struct row *row)
{
    if (row->sealed) {
        struct mp_batch *b = mp_commit_batch_lazy(r->commit);

        mp_batch_share(b, NULL);
        mp_batch_op(b, MP_SQL_REPLY_DELETE);
        mp_batch_int(b, row->id);
    }
    row_free(r, row);
}

void mp_replies_reset(struct mp_replies *r)
{
    while (!mp_list_empty(&r->rows))
        row_free(r, row_of(r->rows.next));
    r->next_id = 1;
    r->malformed = 0;
}

void mp_replies_fini(struct mp_replies *r)
{
    mp_replies_reset(r);
    free(r->buckets);
    r->buckets = NULL;
    r->n_buckets = 0;
}

static struct row *gathering(struct mp_replies *r, int64_t for_us, size_t bytes)
{
    struct row *row;

    for (struct mp_link *at = r->rows.prev; at != &r->rows; at = at->prev) {
        if (row_of(at)->sealed)
            break;
        if (row_of(at)->for_us == for_us &&
            row_of(at)->bytes + bytes <= ROW_BYTES_MAX)
            return row_of(at);
    }
    row = row_new(r, r->next_id++);
    row->for_us = for_us;
    return row;
}

/* The oldest that is written; what gathers stays. */
static bool forget_oldest(struct mp_replies *r)
{
    if (mp_list_empty(&r->rows) || !row_of(r->rows.next)->sealed)
        return false;
    row_end(r, row_of(r->rows.next));
    return true;
}

static void make_room(struct mp_replies *r, size_t bytes)
{
    int64_t now_us = mp_now_us();
    bool forgot = false;

    while ((r->n >= MP_REPLIES_MAX || r->bytes + bytes > MP_REPLIES_BYTES) &&
           forget_oldest(r))
        forgot = true;
    if (!forgot || (r->said_us && now_us - r->said_us < SAY_AGAIN))
        return;
    r->said_us = now_us;
    mp_log(MP_WARN, "store", NULL,
           "answers that clients may ask for again take more than %d MB or "
           "are more than %d: the oldest are forgotten early; what their "
           "clients repeat runs again",
           MP_REPLIES_BYTES >> 20, MP_REPLIES_MAX);
}

void mp_replies_seal(struct mp_replies *r, struct mp_batch *batch)
{
    struct mp_buf bytes;

    mp_buf_init(&bytes, ROW_BYTES_MAX);
    mp_batch_share(batch, NULL);
    for (struct mp_link *at = r->rows.prev; at != &r->rows; at = at->prev) {
        struct row *row = row_of(at);

        if (row->sealed)
            break;
        row->sealed = true;
        mp_buf_reset(&bytes);
        for (struct mp_reply *x = row->first; x; x = x->peer) {
            mp_put_u64(&bytes, x->hash.lo);
            mp_put_u64(&bytes, x->hash.hi);
            mp_put_slice(&bytes, mp_slice(x->bytes, x->len));
        }
        mp_batch_op(batch, MP_SQL_REPLY_PUT);
        mp_batch_int(batch, row->id);
        mp_batch_int(batch, row->until_us);
        mp_batch_blob(batch, mp_buf_bytes(&bytes));
    }
    mp_buf_fini(&bytes);
}

/* A malformed one keeps what could be read. */
static void load_row(struct mp_replies *r, struct mp_query *q)
{
    struct mp_pair headers[MP_PAIRS_MAX];
    struct mp_answer a;
    int64_t id = mp_column_int(q, 0);
    struct mp_reader at = mp_reader(mp_column_bytes(q, 2));
    struct row *row = row_new(r, id);

    row->until_us = mp_column_int(q, 1);
    row->sealed = true;
    if (id >= r->next_id && id < INT64_MAX)
        r->next_id = id + 1;
    while (!at.bad && at.at < at.end) {
        struct mp_hash hash;
        struct mp_slice bytes;

        hash.lo = mp_get_u64(&at);
        hash.hi = mp_get_u64(&at);
        bytes = mp_get_slice(&at);
        at.bad |= !get_answer(bytes, &a, headers);
        if (!at.bad)
            put(r, row, hash, bytes);
    }
    r->malformed += at.bad;
}

int mp_replies_load(struct mp_replies *r, struct mp_db *db, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_REPLY_ALL);
    int rc;

    mp_replies_reset(r);
    while ((rc = mp_query_step(q, why)) == 1)
        load_row(r, q);
    mp_query_end(q);
    return rc;
}

static int64_t now_of(const struct mp_replies *r)
{
    return mp_timeline_at(r->timeline, mp_now_us());
}

void mp_replies_tick(struct mp_replies *r)
{
    int64_t now = now_of(r);
    unsigned removed = 0;

    if (r->malformed) /* not when it is loaded: logging is the loop's */
        mp_log(MP_ERROR, "store", NULL,
               "table reply: %u malformed rows; what their clients repeat "
               "runs again",
               r->malformed);
    r->malformed = 0;
    mp_list_each_safe (at, &r->rows) {
        struct row *row = row_of(at);

        if (!row->sealed || removed == REMOVALS)
            break;
        if (row->until_us > now)
            continue;
        row_end(r, row);
        removed++;
    }
}

/* ---- what the host asks ---- */

uint64_t mp_replies_add(struct mp_replies *r, struct mp_slice exchange,
                        const struct mp_answer *a, int64_t for_us)
{
    static const struct mp_answer too_long = {
        .kind = MP_ANSWER_FAILED,
        .detail = {"this was done; its answer was too long to keep", 46},
    };
    struct row *row;
    struct mp_buf bytes;
    size_t len = mp_reply_bytes(a);

    if (len > MP_REPLY_BYTES) {
        a = &too_long;
        len = mp_reply_bytes(a);
    }
    make_room(r, len);
    row = gathering(r, for_us, len);
    row->ticket = mp_commit_ticket(r->commit);
    row->until_us = now_of(r) + for_us;
    mp_buf_init(&bytes, len);
    put_answer(&bytes, a);
    put(r, row, hash_of(exchange), mp_buf_bytes(&bytes));
    mp_buf_fini(&bytes);
    return row->ticket;
}

bool mp_replies_get(struct mp_replies *r, struct mp_slice exchange,
                    struct mp_answer *a, struct mp_pair *headers,
                    uint64_t *ticket)
{
    const struct mp_reply *x = find(r, hash_of(exchange));

    *ticket = 0;
    if (!x || x->row->until_us <= now_of(r) ||
        !get_answer(mp_slice(x->bytes, x->len), a, headers))
        return false;
    if (!mp_commit_is_durable(r->commit, x->row->ticket))
        *ticket = x->row->ticket;
    return true;
}
