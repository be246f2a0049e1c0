/*
 * outbox.c - a row a message, the first of them in memory too, leaving in
 * order.
 *
 *      add ──► items (in memory, by id) ──► with the transport ──► confirmed
 *       │        ▲        durable, window                          row goes,
 *       │        │ page                                            lazily
 *       └──► on disk only: once memory is full, and as long as any are
 *
 * How those come back, none skipped and none twice: outbox_page.c.
 *
 * What the transport has can't be taken back.  At a reset such an item loses
 * its outbox (box = NULL); done then only frees it.
 */
#include "core/outbox_impl.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/crash.h"
#include "core/base/hash.h"
#include "core/base/wire.h"
#include "core/log.h"
#include "core/outputs.h"

/* How often drops are said at most. */
#define SAY_EVERY_US (60 * MP_SECOND)
enum { TOPIC_BUCKETS = 256 };

struct mp_outbox_topic {
    struct mp_link link;
    unsigned n; /* items in memory */
    size_t len;
    char text[];
};

static int64_t now_us(const struct mp_outbox *o)
{
    return mp_timeline_at(o->timeline, mp_now_us());
}

/* ---- topics that are held ---- */

static struct mp_link *bucket(const struct mp_outbox *o, struct mp_slice topic)
{
    static const struct mp_hash_key key = {UINT64_C(0x6f7574626f78), 1};

    return &o->topics[mp_hash64(&key, topic) % o->n_topics];
}

static struct mp_outbox_topic *find_topic(struct mp_link *in,
                                          struct mp_slice text)
{
    mp_list_each (at, in) {
        struct mp_outbox_topic *t = mp_of(at, struct mp_outbox_topic, link);

        if (mp_slice_eq(mp_slice(t->text, t->len), text))
            return t;
    }
    return NULL;
}

static struct mp_outbox_topic *hold(struct mp_outbox *o, struct mp_slice text)
{
    struct mp_link *in = bucket(o, text);
    struct mp_outbox_topic *t = find_topic(in, text);

    if (!t) {
        t = mp_alloc(sizeof *t + text.len);
        t->n = 0;
        t->len = text.len;
        memcpy(t->text, text.ptr, text.len);
        mp_list_append(in, &t->link);
    }
    t->n++;
    return t;
}

static void release(struct mp_outbox_topic *t)
{
    if (--t->n)
        return;
    mp_list_unlink(&t->link);
    free(t);
}

bool mp_outbox_holds(const struct mp_outbox *o, struct mp_slice topic)
{
    if (!o->messages)
        return false;
    return o->on_disk || find_topic(bucket(o, topic), topic);
}

/* ---- items ---- */

/* In order of ids: what was adopted may have gone ahead of a page. */
static void insert(struct mp_outbox *o, struct mp_outbox_item *item)
{
    struct mp_link *after = o->items.prev;

    while (after != &o->items &&
           mp_of(after, struct mp_outbox_item, link)->id > item->id)
        after = after->prev;
    mp_list_prepend(after, &item->link);
    if (o->next == item->link.next)
        o->next = &item->link;
}

struct mp_outbox_item *mp_outbox_take(struct mp_outbox *o,
                                      struct mp_output *output,
                                      struct mp_slice fn, int64_t id,
                                      int64_t created_us)
{
    struct mp_outbox_item *item = mp_zalloc(sizeof *item + fn.len);

    item->box = o;
    item->output = output;
    item->topic = hold(o, output->topic);
    item->id = id;
    item->created_us = created_us;
    item->expiry_s = output->expiry_s;
    item->fn_len = fn.len;
    if (fn.len)
        memcpy(item->fn, fn.ptr, fn.len);
    insert(o, item);
    o->n_items++;
    return item;
}

void mp_outbox_set_oldest(struct mp_outbox *o)
{
    struct mp_link *first = o->items.next;

    if (first != &o->items)
        o->oldest_us = mp_of(first, struct mp_outbox_item, link)->created_us;
    else if (!o->on_disk)
        o->oldest_us = 0;
}

static void free_item(struct mp_outbox_item *item)
{
    mp_output_free(item->output);
    free(item);
}

/* It has left for good, or is dropped. */
static void remove_item(struct mp_outbox *o, struct mp_outbox_item *item)
{
    if (o->next == &item->link)
        o->next = item->link.next;
    mp_list_unlink(&item->link);
    release(item->topic);
    o->n_items--;
    o->n_sent -= item->sent;
    o->memory -= item->bytes;
    o->messages--;
    o->bytes -= item->bytes;
    mp_outbox_set_oldest(o);
    free_item(item);
}

static void delete_row(struct mp_batch *b, int64_t id)
{
    mp_batch_share(b, NULL);
    mp_batch_op(b, MP_SQL_OUTBOX_DELETE);
    mp_batch_int(b, id);
}

/* Its row goes in the transaction in which the user records what became of
 * it. */
static void refuse(struct mp_outbox *o, struct mp_outbox_item *item,
                   unsigned reason, const char *why)
{
    o->user.refused(o->user.arg, mp_slice(item->fn, item->fn_len), item->output,
                    reason, why);
    delete_row(mp_commit_batch(o->commit), item->id);
    remove_item(o, item);
}

/* ---- dropped ---- */

static const struct {
    const char *name, *text;
    enum mp_level level;
} drops[] = {
    [MP_OUTBOX_AGED] = {"age", "older than [store] outbox_max_age", MP_WARN},
    [MP_OUTBOX_EXPIRED] = {"expired", "their own expiry was over", MP_INFO},
    [MP_OUTBOX_FULL] = {"full",
                        "the outbox is full ([store] outbox_full = "
                        "oldest)",
                        MP_WARN},
    [MP_OUTBOX_UNREADABLE] = {"unreadable", "their rows can't be read",
                              MP_ERROR},
};

const char *mp_outbox_drop_name(enum mp_outbox_drop why)
{
    return drops[why].name;
}

void mp_outbox_drop(struct mp_outbox *o, struct mp_outbox_item *item,
                    enum mp_outbox_drop why)
{
    delete_row(mp_commit_batch_lazy(o->commit), item->id);
    o->dropped[why]++;
    remove_item(o, item);
}

/* Thousands may go at once: a line a reason, and not each second. */
static void say_dropped(struct mp_outbox *o)
{
    int64_t now = mp_now_us();

    if (o->said_us && now - o->said_us < SAY_EVERY_US)
        return;
    for (unsigned i = 0; i < MP_OUTBOX_DROPS; i++) {
        if (o->dropped[i] == o->said[i])
            continue;
        mp_log(drops[i].level, "store",
               MP_FIELDS(
                   MP_NUM("messages", (int64_t)(o->dropped[i] - o->said[i]))),
               "messages of the outbox were dropped: %s", drops[i].text);
        o->said[i] = o->dropped[i];
        o->said_us = now;
    }
}

/* ---- bounds ---- */

/* Drop the oldest that can still be taken back, but never the newest. */
static void drop_oldest(struct mp_outbox *o)
{
    struct mp_link *at = o->next;

    o->busy = true;
    while (o->bytes > o->max_bytes && at != &o->items) {
        struct mp_outbox_item *item = mp_of(at, struct mp_outbox_item, link);

        at = at->next;
        if (item->id == o->next_id - 1)
            break;
        if (!item->sent)
            mp_outbox_drop(o, item, MP_OUTBOX_FULL);
    }
    o->busy = false;
}

static void check_full(struct mp_outbox *o)
{
    bool full = o->is_full ? o->bytes >= o->max_bytes / 10 * 9
                           : o->bytes > o->max_bytes;

    if (!o->going || o->closing || o->busy)
        return;
    if (o->oldest) {
        if (full)
            drop_oldest(o);
    } else if (full != o->is_full) {
        o->is_full = full;
        o->user.full(o->user.arg, full);
    }
}

static int64_t age_s(const struct mp_outbox_item *item, int64_t now)
{
    return now > item->created_us ? (now - item->created_us) / MP_SECOND : 0;
}

/* Need it not leave any more?  Then *why says so. */
static bool is_stale(const struct mp_outbox *o,
                     const struct mp_outbox_item *item, int64_t now,
                     enum mp_outbox_drop *why)
{
    if (item->output->has_expiry && age_s(item, now) >= item->expiry_s)
        *why = MP_OUTBOX_EXPIRED;
    else if (o->max_age_us && now - item->created_us > o->max_age_us)
        *why = MP_OUTBOX_AGED;
    else
        return false;
    return true;
}

void mp_outbox_tick(struct mp_outbox *o)
{
    int64_t now = now_us(o);
    struct mp_link *at = o->next;

    if (!o->going || o->closing)
        return;
    o->busy = true;
    while (at != &o->items) {
        struct mp_outbox_item *item = mp_of(at, struct mp_outbox_item, link);
        enum mp_outbox_drop why;

        at = at->next;
        if (!item->sent && is_stale(o, item, now, &why))
            mp_outbox_drop(o, item, why);
    }
    o->busy = false;
    say_dropped(o);
    mp_outbox_pump(o);
}

/* ---- leaving ---- */

static void on_done(struct mp_output *output, unsigned reason, const char *why)
{
    struct mp_outbox_item *item = output->owner;
    struct mp_outbox *o = item->box;

    if (!o) {
        free_item(item);
        return;
    }
    if (o->closing) { /* the row stays: it leaves after the next start */
        remove_item(o, item);
        return;
    }
    MP_CRASH_POINT("outbox.after_confirm");
    if (reason) {
        refuse(o, item, reason, why);
    } else {
        delete_row(mp_commit_batch_lazy(o->commit), item->id);
        remove_item(o, item);
    }
    mp_outbox_pump(o);
}

static void lend(struct mp_outbox *o, struct mp_outbox_item *item)
{
    item->output->done = on_done;
    item->output->owner = item;
    item->sent = true;
    o->n_sent++;
}

static void let_go(struct mp_outbox *o, struct mp_outbox_item *item,
                   int64_t now)
{
    if (item->output->has_expiry)
        item->output->expiry_s = item->expiry_s - (uint32_t)age_s(item, now);
    lend(o, item);
    MP_CRASH_POINT("outbox.before_publish");
    o->user.publish(o->user.arg, item->output); /* item may be gone now */
}

static void on_leaving(struct mp_commit_wait *w, int rc)
{
    struct mp_outbox *o = mp_of(w, struct mp_outbox, leaving);

    if (rc == 0) /* else a reset follows */
        mp_outbox_pump(o);
}

/* The next one, if it may go; waits for its ticket if that is what lacks. */
static struct mp_outbox_item *may_go(struct mp_outbox *o)
{
    struct mp_outbox_item *item;

    for (; o->next != &o->items; o->next = o->next->next) {
        item = mp_of(o->next, struct mp_outbox_item, link);
        if (item->sent) /* adopted */
            continue;
        if (mp_commit_is_durable(o->commit, item->ticket))
            return item;
        if (mp_list_empty(&o->leaving.link))
            mp_commit_wait(o->commit, &o->leaving, item->ticket, on_leaving);
        return NULL;
    }
    return NULL;
}

/* Send as many as the window has room for.  done may come from inside. */
void mp_outbox_pump(struct mp_outbox *o)
{
    struct mp_outbox_item *item;
    enum mp_outbox_drop why;
    int64_t now;

    if (!o->going || o->closing || o->busy)
        return;
    now = now_us(o);
    o->busy = true;
    while (o->n_sent < MP_OUTBOX_WINDOW && (item = may_go(o))) {
        if (is_stale(o, item, now, &why)) {
            mp_outbox_drop(o, item, why);
        } else {
            o->next = item->link.next;
            let_go(o, item, now);
        }
    }
    o->busy = false;
    check_full(o);
    mp_outbox_refill(o);
}

/* ---- arriving ---- */

static bool has_room(const struct mp_outbox *o, uint64_t bytes)
{
    return !o->n_items || (o->n_items < MP_OUTBOX_ITEMS &&
                           o->memory + bytes <= MP_OUTBOX_MEMORY);
}

/* Record the row; returns its bytes. */
static uint64_t record(struct mp_outbox *o, const struct mp_output *output,
                       struct mp_slice fn, uint64_t *flash, int64_t created_us)
{
    struct mp_batch *b = mp_commit_batch(o->commit);
    struct mp_slice message;
    uint64_t bytes;

    mp_buf_reset(&o->message);
    mp_outbox_pack(&o->message, output);
    MP_ASSERT(!o->message.full);
    message = mp_buf_bytes(&o->message);
    bytes = mp_outbox_row_bytes(fn, output->topic, message);
    mp_commit_grow(o->commit, mp_commit_row_cost(bytes));
    mp_batch_share(b, flash);
    mp_batch_op(b, MP_SQL_OUTBOX_PUT);
    mp_batch_int(b, o->next_id++);
    mp_batch_text(b, fn);
    mp_batch_text(b, output->topic);
    mp_batch_int(b, created_us);
    mp_batch_int(b, (int64_t)bytes);
    mp_batch_blob(b, message);
    o->messages++;
    o->bytes += bytes;
    if (!o->oldest_us)
        o->oldest_us = created_us;
    return bytes;
}

/* The item is in memory with a row that no page has had. */
static void was_recorded(struct mp_outbox *o, struct mp_outbox_item *item,
                         uint64_t bytes)
{
    item->ticket = mp_commit_ticket(o->commit);
    item->bytes = bytes;
    o->memory += bytes;
    if (!o->on_disk) {
        o->read_to = item->id;
        return;
    }
    o->skip = mp_realloc(o->skip, (o->n_skip + 1) * sizeof *o->skip);
    o->skip[o->n_skip++] = item->id;
}

uint64_t mp_outbox_add(struct mp_outbox *o, struct mp_output *output,
                       struct mp_slice fn, uint64_t *flash)
{
    int64_t now = now_us(o);
    uint64_t bytes, ticket;

    fn = fn.ptr ? fn : MP_S("");
    mp_list_unlink(&output->mine);
    bytes = record(o, output, fn, flash, now);
    ticket = mp_commit_ticket(o->commit);
    if (o->on_disk || !has_room(o, bytes)) {
        o->on_disk++;
        o->spilled = ticket;
        mp_output_free(output);
    } else {
        was_recorded(o, mp_outbox_take(o, output, fn, o->next_id - 1, now),
                     bytes);
    }
    mp_outbox_pump(o);
    return ticket;
}

uint64_t mp_outbox_adopt(struct mp_outbox *o, struct mp_output *output,
                         struct mp_slice fn, uint64_t *flash)
{
    int64_t now = now_us(o);
    struct mp_outbox_item *item;
    uint64_t bytes;

    fn = fn.ptr ? fn : MP_S("");
    mp_list_unlink(&output->mine);
    bytes = record(o, output, fn, flash, now);
    item = mp_outbox_take(o, output, fn, o->next_id - 1, now);
    was_recorded(o, item, bytes);
    lend(o, item);
    mp_outbox_pump(o);
    return mp_commit_ticket(o->commit);
}

/* ---- life ---- */

void mp_outbox_init(struct mp_outbox *o, uv_loop_t *loop,
                    struct mp_commit *commit, struct mp_reader_thread *reader,
                    const struct mp_timeline *timeline,
                    const struct mp_config *config,
                    const struct mp_outbox_user *user)
{
    *o = (struct mp_outbox){
        .loop = loop,
        .commit = commit,
        .reader = reader,
        .timeline = timeline,
        .user = *user,
        .max_bytes = config->store.outbox,
        .max_age_us = config->store.outbox_max_age_us,
        .oldest = config->store.outbox_full_oldest,
        .n_topics = TOPIC_BUCKETS,
        .next_id = 1,
    };
    mp_list_init(&o->items);
    o->next = &o->items;
    o->topics = mp_alloc(o->n_topics * sizeof *o->topics);
    for (size_t i = 0; i < o->n_topics; i++)
        mp_list_init(&o->topics[i]);
    mp_list_init(&o->leaving.link);
    mp_list_init(&o->arriving.link);
    mp_buf_init(&o->message, MP_FRAME_MAX);
}

void mp_outbox_reset(struct mp_outbox *o)
{
    mp_commit_wait_not(&o->leaving);
    mp_commit_wait_not(&o->arriving);
    mp_list_each_safe (at, &o->items) {
        struct mp_outbox_item *item = mp_of(at, struct mp_outbox_item, link);

        mp_list_unlink(&item->link);
        release(item->topic);
        item->box = NULL;
        if (!item->sent)
            free_item(item);
    }
    mp_outbox_page_forget(o);
    o->next = &o->items;
    o->n_items = o->n_sent = 0;
    o->memory = o->messages = o->bytes = o->on_disk = 0;
    o->read_to = o->oldest_us = 0;
    o->spilled = 0;
    o->n_skip = 0;
    o->going = false;
}

void mp_outbox_fini(struct mp_outbox *o)
{
    mp_outbox_reset(o);
    free(o->topics);
    free(o->skip);
    mp_buf_fini(&o->message);
}

/* How old the first one is. */
static int load_oldest(struct mp_outbox *o, struct mp_db *db,
                       struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_OUTBOX_AFTER);
    int rc;

    mp_query_int(q, 0);
    mp_query_int(q, 1);
    rc = mp_query_step(q, why);
    if (rc == 1)
        o->oldest_us = mp_column_int(q, 3);
    mp_query_end(q);
    return rc < 0 ? rc : 0;
}

int mp_outbox_load(struct mp_outbox *o, struct mp_db *db, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_OUTBOX_SUMS);
    int rc = mp_query_step(q, why);

    if (rc == 1) {
        o->messages = o->on_disk = (uint64_t)mp_column_int(q, 0);
        o->bytes = (uint64_t)mp_column_int(q, 1);
        /* Ids of this run are never used again, also where a reset took
         * rows back: what the transport still has of them is another. */
        if (mp_column_int(q, 3) >= o->next_id)
            o->next_id = mp_column_int(q, 3) + 1;
    }
    mp_query_end(q);
    return rc < 0 ? rc : load_oldest(o, db, why);
}

void mp_outbox_go(struct mp_outbox *o)
{
    o->going = true;
    check_full(o);
    mp_outbox_pump(o);
}

void mp_outbox_closing(struct mp_outbox *o)
{
    o->closing = true;
}
