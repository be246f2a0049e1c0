/*
 * seen.c - a hash table over entries that are chained by row.
 *
 * A row is what one transaction adds with one duration, so all its ids are
 * over at about the same time and go together: an entry needs no time of its
 * own, and no slot is ever searched for what is over.
 *
 *     rows      7 ----> 8 ----> 9 (gathering)
 *               |       |       |
 *     entries   a,b,c   d       e,f        <---- slots, by hash
 *
 * A slot names the newest entry of its id.  An older one may still hang in
 * its row; it takes no slot with it when that goes.
 */
#include "core/seen.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/log.h"

enum {
    ENTRIES_MIN = 256,
    SLOTS_MIN = 512,
    HASH_BYTES = 16,
    ROW_BYTES_MAX = MP_SEEN_MAX * HASH_BYTES,
    /* Rows looked at, and removed, in one tick. */
    LOOKS = 4096,
    REMOVALS = 1024,
};

#define SAY_AGAIN (3600 * MP_SECOND)

struct seen_row {
    struct mp_link link;
    int64_t id;
    int64_t until_us; /* of the timeline */
    int64_t for_us;   /* while it gathers: what its ids were added with */
    uint64_t ticket;  /* 0: loaded */
    bool sealed;
    uint32_t first; /* entry; 0: none */
    uint32_t n;
};

struct mp_seen_entry {
    struct mp_hash hash;
    struct seen_row *row;
    uint32_t next; /* of the row, or of those given back */
};

#define row_of(at) mp_of(at, struct seen_row, link)

void mp_seen_init(struct mp_seen *s, struct mp_commit *commit,
                  const struct mp_timeline *timeline)
{
    *s = (struct mp_seen){.commit = commit,
                          .timeline = timeline,
                          .used = 1,
                          .at = &s->rows,
                          .next_id = 1};
    mp_list_init(&s->rows);
}

void mp_seen_reset(struct mp_seen *s)
{
    mp_list_each_safe (at, &s->rows)
        free(row_of(at));
    mp_list_init(&s->rows);
    if (s->slots)
        memset(s->slots, 0, s->n_slots * sizeof(*s->slots));
    s->n_ids = 0;
    s->used = 1;
    s->unused = 0;
    s->at = &s->rows;
    s->next_id = 1;
    s->malformed = 0;
}

void mp_seen_fini(struct mp_seen *s)
{
    mp_seen_reset(s);
    free(s->entries);
    free(s->slots);
    mp_seen_init(s, s->commit, s->timeline);
}

/* ---- the table ---- */

/* The slot of a hash, or the free one where it belongs. */
static size_t slot_of(const struct mp_seen *s, struct mp_hash hash)
{
    size_t at = hash.lo & (s->n_slots - 1);

    while (s->slots[at] && !mp_hash_eq(s->entries[s->slots[at]].hash, hash))
        at = (at + 1) & (s->n_slots - 1);
    return at;
}

static void grow_slots(struct mp_seen *s)
{
    uint32_t *old = s->slots;
    size_t n = s->n_slots;

    s->n_slots = n ? n * 2 : SLOTS_MIN;
    s->slots = mp_zalloc(s->n_slots * sizeof(*s->slots));
    for (size_t i = 0; i < n; i++)
        if (old[i])
            s->slots[slot_of(s, s->entries[old[i]].hash)] = old[i];
    free(old);
}

/* Free a slot; what was pushed beyond it moves up. */
static void free_slot(struct mp_seen *s, size_t at)
{
    size_t mask = s->n_slots - 1;

    s->n_ids--;
    for (size_t next = (at + 1) & mask; s->slots[next];
         next = (next + 1) & mask) {
        size_t home = s->entries[s->slots[next]].hash.lo & mask;

        if (((next - home) & mask) < ((next - at) & mask))
            continue;
        s->slots[at] = s->slots[next];
        at = next;
    }
    s->slots[at] = 0;
}

static uint32_t entry_new(struct mp_seen *s)
{
    uint32_t at = s->unused;

    MP_ASSERT(!at || s->entries);
    if (at) {
        s->unused = s->entries[at].next;
        return at;
    }
    if (s->used >= s->cap) {
        s->cap = s->cap ? s->cap * 2 : ENTRIES_MIN;
        s->entries = mp_realloc(s->entries, s->cap * sizeof(*s->entries));
    }
    return s->used++;
}

static struct mp_seen_entry *find(const struct mp_seen *s, struct mp_hash hash)
{
    uint32_t at = s->n_slots ? s->slots[slot_of(s, hash)] : 0;

    return at ? &s->entries[at] : NULL;
}

static void put(struct mp_seen *s, struct seen_row *row, struct mp_hash hash)
{
    uint32_t e = entry_new(s);
    size_t at;

    MP_ASSERT(s->entries);
    if ((s->n_ids + 1) * 2 > s->n_slots)
        grow_slots(s);
    s->entries[e] = (struct mp_seen_entry){hash, row, row->first};
    row->first = e;
    row->n++;
    at = slot_of(s, hash);
    s->n_ids += s->slots[at] == 0;
    s->slots[at] = e;
}

/* ---- rows ---- */

static struct seen_row *row_new(struct mp_seen *s, int64_t id, int64_t until_us)
{
    struct seen_row *row = mp_zalloc(sizeof *row);

    row->id = id;
    row->until_us = until_us;
    mp_list_append(&s->rows, &row->link);
    return row;
}

static void row_end(struct mp_seen *s, struct seen_row *row)
{
    MP_ASSERT(!row->first || (s->entries && s->slots));
    while (row->first) {
        uint32_t e = row->first;
        size_t at = slot_of(s, s->entries[e].hash);

        row->first = s->entries[e].next;
        if (s->slots[at] == e)
            free_slot(s, at);
        s->entries[e].next = s->unused;
        s->unused = e;
    }
    if (row->sealed) {
        struct mp_batch *b = mp_commit_batch_lazy(s->commit);

        mp_batch_share(b, NULL);
        mp_batch_op(b, MP_SQL_SEEN_DELETE);
        mp_batch_int(b, row->id);
    }
    if (s->at == &row->link)
        s->at = row->link.next;
    mp_list_unlink(&row->link);
    free(row);
}

/* The row that gathers ids of this duration. */
static struct seen_row *gathering(struct mp_seen *s, int64_t for_us)
{
    struct seen_row *row;

    for (struct mp_link *at = s->rows.prev; at != &s->rows; at = at->prev) {
        if (row_of(at)->sealed)
            break;
        if (row_of(at)->for_us == for_us)
            return row_of(at);
    }
    row = row_new(s, s->next_id++, 0);
    row->for_us = for_us;
    return row;
}

static void make_room(struct mp_seen *s)
{
    int64_t now = mp_now_us();

    while (s->n_ids >= MP_SEEN_MAX && !mp_list_empty(&s->rows))
        row_end(s, row_of(s->rows.next));
    if (s->said_us && now - s->said_us < SAY_AGAIN)
        return;
    s->said_us = now;
    mp_log(MP_WARN, "dedupe", NULL,
           "more than %d ids are within their `dedupe` time: the oldest are "
           "forgotten early",
           MP_SEEN_MAX);
}

void mp_seen_seal(struct mp_seen *s, struct mp_batch *batch)
{
    struct mp_buf bytes;

    mp_buf_init(&bytes, ROW_BYTES_MAX);
    mp_batch_share(batch, NULL);
    for (struct mp_link *at = s->rows.prev; at != &s->rows; at = at->prev) {
        struct seen_row *row = row_of(at);

        if (row->sealed)
            break;
        row->sealed = true;
        mp_buf_reset(&bytes);
        for (uint32_t e = row->first; e; e = s->entries[e].next) {
            mp_buf_put(&bytes, &s->entries[e].hash.lo, 8);
            mp_buf_put(&bytes, &s->entries[e].hash.hi, 8);
        }
        mp_batch_op(batch, MP_SQL_SEEN_PUT);
        mp_batch_int(batch, row->id);
        mp_batch_int(batch, row->until_us);
        mp_batch_blob(batch, mp_buf_bytes(&bytes));
    }
    mp_buf_fini(&bytes);
}

static bool is_whole(struct mp_slice bytes)
{
    return bytes.len && bytes.len % HASH_BYTES == 0 &&
           bytes.len <= ROW_BYTES_MAX;
}

/* A malformed one is a row without ids: it goes as the others do. */
static void load_row(struct mp_seen *s, struct mp_query *q)
{
    int64_t id = mp_column_int(q, 0);
    struct mp_slice bytes = mp_column_bytes(q, 2);
    struct seen_row *row = row_new(s, id, mp_column_int(q, 1));

    row->sealed = true;
    if (id >= s->next_id && id < INT64_MAX)
        s->next_id = id + 1;
    if (!is_whole(bytes)) {
        if (s->malformed++ == 0)
            s->first_malformed = id;
        return;
    }
    for (size_t at = 0; at < bytes.len; at += HASH_BYTES) {
        struct mp_hash hash;

        memcpy(&hash.lo, bytes.ptr + at, 8);
        memcpy(&hash.hi, bytes.ptr + at + 8, 8);
        put(s, row, hash);
    }
}

int mp_seen_load(struct mp_seen *s, struct mp_db *db, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_SEEN_ALL);
    int rc;

    mp_seen_reset(s);
    while ((rc = mp_query_step(q, why)) == 1)
        load_row(s, q);
    mp_query_end(q);
    return rc;
}

/* Not when it is loaded: logging is the loop's. */
static void say_malformed(struct mp_seen *s)
{
    if (s->malformed)
        mp_log(MP_ERROR, "store", NULL,
               "table seen: %u malformed (the first has id %lld), left out; "
               "what their senders repeat runs again",
               s->malformed, (long long)s->first_malformed);
    s->malformed = 0;
}

/* ---- what the host asks ---- */

static int64_t now_of(const struct mp_seen *s)
{
    return mp_timeline_at(s->timeline, mp_now_us());
}

static struct mp_hash hash_of(struct mp_slice fn, struct mp_slice trigger,
                              struct mp_slice id)
{
    /* Never to be changed: what it gives is on disk. */
    static const struct mp_hash_key key = {UINT64_C(0x7365656e2d696473),
                                           UINT64_C(0x6f662d73656e6465)};
    struct mp_hasher h;

    mp_hasher_init(&h, &key);
    mp_hasher_add(&h, fn);
    mp_hasher_add(&h, trigger);
    mp_hasher_add(&h, id);
    return mp_hasher_end(&h);
}

bool mp_seen_has(const struct mp_seen *s, struct mp_slice fn,
                 struct mp_slice trigger, struct mp_slice id, uint64_t *ticket)
{
    const struct mp_seen_entry *e = find(s, hash_of(fn, trigger, id));

    *ticket = 0;
    if (!e || e->row->until_us <= now_of(s))
        return false;
    if (!mp_commit_is_durable(s->commit, e->row->ticket))
        *ticket = e->row->ticket;
    return true;
}

uint64_t mp_seen_add(struct mp_seen *s, struct mp_slice fn,
                     struct mp_slice trigger, struct mp_slice id,
                     int64_t for_us)
{
    struct mp_hash hash = hash_of(fn, trigger, id);
    const struct mp_seen_entry *e = find(s, hash);
    struct seen_row *row;

    /* Twice in one transaction: once is enough. */
    if (e && !e->row->sealed && e->row->for_us == for_us)
        return e->row->ticket;
    if (s->n_ids >= MP_SEEN_MAX)
        make_room(s);
    row = gathering(s, for_us);
    row->ticket = mp_commit_ticket(s->commit);
    row->until_us = now_of(s) + for_us;
    put(s, row, hash);
    return row->ticket;
}

static bool is_over(const struct seen_row *row, int64_t now)
{
    return row->sealed && row->until_us <= now;
}

/* The oldest first; then, where durations differ, a stretch of the others. */
void mp_seen_tick(struct mp_seen *s)
{
    int64_t now = now_of(s);
    unsigned removed = 0;

    say_malformed(s);
    for (; removed < REMOVALS && !mp_list_empty(&s->rows); removed++) {
        if (!is_over(row_of(s->rows.next), now))
            break;
        row_end(s, row_of(s->rows.next));
    }
    for (unsigned i = 0; i < LOOKS && removed < REMOVALS; i++) {
        struct seen_row *row;

        if (s->at == &s->rows) {
            s->at = s->rows.next;
            if (s->at == &s->rows || i)
                return; /* none, or seen to the end: go on next time */
        }
        row = row_of(s->at);
        s->at = s->at->next;
        if (!is_over(row, now))
            continue;
        row_end(s, row);
        removed++;
    }
}
