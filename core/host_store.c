/*
 * host_store.c - the database opens, is loaded, fails and comes back.
 *
 *     opening ──► loading ──► open ──► (a commit failed) ──► reset ──► opening
 *                (reader)                                      every mirror is
 *                                                              forgotten
 *
 * While it is not open nothing comes in: no input is acknowledged that could
 * not be kept.  When a commit has failed, nothing in memory may be believed:
 * each invocation is forgotten, its input stays with the broker, and every
 * mirror is loaded anew from what is really on disk.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/crash.h"
#include "core/host_impl.h"
#include "core/log.h"

#define SWEEP_EVERY 60 /* ticks of a second */
/* How soon a failed load is tried again. */
enum { LOAD_AGAIN_MS = 1000 };

/* ---- small things by name ---- */

struct kept {
    struct mp_link link;
    char *name;
    char *bytes;
    size_t len;
};

static struct kept *find_kept(struct mp_host *h, const char *name)
{
    mp_list_each (at, &h->kept) {
        struct kept *k = mp_of(at, struct kept, link);

        if (strcmp(k->name, name) == 0)
            return k;
    }
    return NULL;
}

static void forget_kept(struct kept *k)
{
    mp_list_unlink(&k->link);
    free(k->name);
    free(k->bytes);
    free(k);
}

static void remember(struct mp_host *h, const char *name, struct mp_slice bytes)
{
    struct kept *k = find_kept(h, name);

    if (k)
        forget_kept(k);
    if (!bytes.ptr)
        return;
    k = mp_alloc(sizeof *k);
    k->name = mp_strndup(name, strlen(name));
    k->bytes = mp_alloc(bytes.len + 1);
    memcpy(k->bytes, bytes.ptr, bytes.len);
    k->len = bytes.len;
    mp_list_append(&h->kept, &k->link);
}

struct mp_slice mp_host_kept(struct mp_host *h, const char *name)
{
    const struct kept *k = find_kept(h, name);

    return k ? mp_slice(k->bytes, k->len) : mp_slice(NULL, 0);
}

void mp_host_keep(struct mp_host *h, const char *name, struct mp_slice bytes,
                  struct mp_commit_wait *w,
                  void (*done)(struct mp_commit_wait *w, int rc))
{
    struct mp_batch *b;

    if (h->store_closed)
        return;
    remember(h, name, bytes);
    b = mp_commit_batch(&h->commit);
    mp_batch_share(b, NULL);
    mp_batch_op(b, bytes.ptr ? MP_SQL_KEPT_PUT : MP_SQL_KEPT_DELETE);
    mp_batch_text(b, mp_slice_str(name));
    if (bytes.ptr)
        mp_batch_blob(b, bytes);
    if (w)
        mp_commit_wait(&h->commit, w, mp_commit_ticket(&h->commit), done);
}

struct mp_records *mp_host_records(struct mp_host *h)
{
    return &h->records;
}

/* ---- time ---- */

int64_t mp_host_now(const struct mp_host *h)
{
    return mp_timeline_at(&h->timeline, mp_now_us());
}

static bool clock_ok(void *arg)
{
    const struct mp_host *h = arg;

    return h->timeline.trusted;
}

/* It goes with every transaction, and never asks for one. */
static void note_clock(struct mp_host *h, struct mp_batch *batch)
{
    char note[MP_TIMELINE_NOTE_MAX];
    size_t len =
        mp_timeline_note(&h->timeline, mp_wall_us(), mp_now_us(), note);

    mp_batch_share(batch, NULL);
    mp_batch_op(batch, MP_SQL_KEPT_PUT);
    mp_batch_text(batch, MP_S("clock"));
    mp_batch_blob(batch, mp_slice(note, len));
}

static void look_at_clock(struct mp_host *h)
{
    bool was = h->timeline.trusted;

    mp_metrics.clock_ok = mp_timeline_look(&h->timeline, mp_wall_us());
    if (was == mp_metrics.clock_ok)
        return;
    mp_log(was ? MP_WARN : MP_INFO, "host", NULL, "%s",
           was ? "the clock is below what it was: it is not trusted; alarms "
                 "at a time of day wait"
               : "the clock is trusted now");
    if (!was)
        mp_alarms_kick(&h->alarms);
}

/* ---- loading ---- */

struct load {
    struct mp_read read;
    struct mp_host *host;
};

static int load_kept(struct mp_host *h, struct mp_db *db, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_KEPT_LIKE);
    int rc;

    while (!mp_list_empty(&h->kept))
        forget_kept(mp_of(h->kept.next, struct kept, link));
    mp_query_text(q, MP_S(""));
    while ((rc = mp_query_step(q, why)) > 0) {
        struct mp_slice name = mp_column_bytes(q, 0);
        char *text = mp_strndup(name.ptr, name.len);

        remember(h, text, mp_column_bytes(q, 1));
        free(text);
    }
    mp_query_end(q);
    return rc;
}

/* In the reader's thread: nobody else touches the mirrors meanwhile. */
static int load_work(struct mp_read *r, struct mp_db *db, struct mp_why *why)
{
    struct mp_host *h = ((struct load *)r)->host;
    int rc = mp_db_snapshot(db, why);

    if (rc)
        return rc;
    if ((rc = load_kept(h, db, why)) ||
        (rc = mp_states_load(&h->states, db, why)) ||
        (rc = mp_alarms_load(&h->alarms, db, why)) ||
        (rc = mp_queue_load(&h->queue, db, why)) ||
        (rc = mp_outbox_load(&h->outbox, db, why)) ||
        (rc = mp_dead_load(&h->dead, db, why)) ||
        (rc = mp_records_load(&h->records, db, why)) ||
        (rc = mp_seen_load(&h->seen, db, why)))
        goto out;
    rc = mp_replies_load(&h->replies, db, why);
out:
    mp_db_snapshot_end(db);
    return rc;
}

static void reset_mirrors(struct mp_host *h)
{
    mp_states_reset(&h->states);
    mp_alarms_reset(&h->alarms);
    mp_queue_reset(&h->queue);
    mp_outbox_reset(&h->outbox);
    mp_dead_reset(&h->dead);
    mp_records_reset(&h->records);
    mp_seen_reset(&h->seen);
    mp_replies_reset(&h->replies);
}

static void load_start(struct mp_host *h);

/* The writer looks whether the database is damaged, and `opened` leads here
 * again. */
static void load_again(uv_timer_t *timer)
{
    struct mp_host *h = timer->data;

    mp_commit_reopen(&h->commit);
}

/* The first time: where the timeline begins, and the transport. */
static int first_load(struct mp_host *h, struct mp_why *why)
{
    struct mp_slice note = mp_host_kept(h, "clock");

    mp_timeline_start(&h->timeline, note.ptr ? note : MP_S(""), mp_wall_us(),
                      mp_now_us(), mp_timeline_build_us());
    mp_metrics.clock_ok = h->timeline.trusted;
    if (!h->timeline.trusted)
        mp_log(MP_WARN, "host", NULL,
               "the clock is not set; durations count, alarms at a time of "
               "day wait for it");
    return h->mqtt->open(h, h->loop, h->config, &h->mqtt_self, why);
}

static void load_done(struct mp_read *r, int rc, const struct mp_why *why)
{
    struct mp_host *h = ((struct load *)r)->host;
    bool first = !h->mqtt_self;
    struct mp_why no;

    free(r);
    if (h->closing)
        return;
    if (rc) {
        if (strcmp(h->trouble.text, why->text) != 0)
            mp_log(MP_ERROR, "store", NULL,
                   "the database can't be read: %s; it is looked at again "
                   "each second",
                   why->text);
        h->trouble = *why;
        reset_mirrors(h);
        uv_timer_start(&h->reload, load_again, LOAD_AGAIN_MS, 0);
        return;
    }
    if (first && first_load(h, &no)) {
        mp_log(MP_ERROR, "mqtt", NULL, "%s", no.text);
        h->on_fatal(h->arg);
        return;
    }
    if (h->trouble.text[0])
        mp_log(MP_INFO, "store", NULL, "the database is open again");
    h->trouble.text[0] = '\0';
    h->store_full = false; /* is looked at anew, and said again */
    h->loaded = true;
    mp_commit_go(&h->commit);
    if (first)
        mp_careful_open(h);
    if (!first)
        mp_host_doors_found(h);
    if (h->draining)
        mp_host_doors_drain(h);
    mp_host_begin(h);
}

static void load_start(struct mp_host *h)
{
    struct load *l = mp_zalloc(sizeof *l);

    l->host = h;
    l->read.work = load_work;
    l->read.done = load_done;
    mp_reader_do(&h->reader, &l->read);
}

/* ---- what the writer says ---- */

static void on_opened(void *arg, const struct mp_db_opened *opened)
{
    struct mp_host *h = arg;

    if (opened->set_aside[0])
        mp_log(MP_ERROR, "store",
               MP_FIELDS(MP_TEXT("kept_as", mp_slice_str(opened->set_aside))),
               "the database was corrupt (%s); it was set aside and a new one "
               "begun: state, queue and dead letters start empty",
               opened->aside_why);
    if (opened->migrated_from)
        mp_log(MP_INFO, "store", NULL,
               "the database was brought from version %u to %u",
               opened->migrated_from, MP_SCHEMA_VERSION);
    mp_reader_reopen(&h->reader);
    load_start(h);
}

static void on_unable(void *arg, const struct mp_why *why)
{
    struct mp_host *h = arg;

    h->trouble = *why;
    mp_log(MP_ERROR, "store", NULL,
           "%s; no input is taken until that is mended, it is tried again by "
           "itself",
           why->text);
}

static bool has_source(const struct mp_invocation *inv)
{
    mp_list_each (at, &inv->members)
        if (has_source(mp_of(at, struct mp_invocation, link)))
            return true;
    return inv->row || inv->alarm;
}

static void count_lost(struct mp_invocation *inv)
{
    if (inv->input->qos == 0 && !inv->row && !inv->alarm)
        mp_invocation_counters(inv)->dropped[MP_DROP_STORE]++;
}

/* Nothing in work may become real. */
static void forget_all(struct mp_host *h)
{
    mp_list_each_safe (at, &h->all) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, all);

        switch (inv->stage) {
        case MP_SENDING: /* needs no database: the broker confirms it */
            if (!has_source(inv))
                continue;
            break;
        case MP_QUEUED:
        case MP_RUNNING:
        case MP_WAITING:
            mp_pool_forget(&h->pool, inv);
            break;
        case MP_DELAYED:
            mp_invocation_wake(inv);
            break;
        case MP_WINDOW:
            mp_host_stream_leave(inv);
            break;
        case MP_BATCHED: /* its batch comes, behind it */
            continue;
        default:
            break;
        }
        mp_list_each (m, &inv->members)
            count_lost(mp_of(m, struct mp_invocation, link));
        if (!inv->is_batch)
            count_lost(inv);
        mp_invocation_lose(inv);
    }
    mp_pool_forgot(&h->pool);
}

static void on_failed(void *arg, const struct mp_why *why)
{
    struct mp_host *h = arg;

    h->trouble = *why;
    mp_log(MP_ERROR, "store", NULL,
           "a commit failed: %s; nothing of it was acknowledged, and no input "
           "is taken until that is mended",
           why->text);
    h->loaded = false;
    h->store_wants = 0;
    mp_reader_reopen(&h->reader);
    forget_all(h);
    mp_host_streams_forget(h);
    h->abandoned = h->draining;
    mp_host_doors_lost(h);
    reset_mirrors(h);
}

static void on_seal(void *arg, struct mp_batch *batch)
{
    struct mp_host *h = arg;

    mp_states_seal(&h->states, batch);
    mp_alarms_seal(&h->alarms, batch);
    mp_queue_seal(&h->queue, batch);
    mp_records_seal(&h->records, batch);
    mp_seen_seal(&h->seen, batch);
    mp_replies_seal(&h->replies, batch);
    if (batch->n) /* what came and went leaves no byte */
        note_clock(h, batch);
}

const char *mp_host_trouble(const struct mp_host *h)
{
    return h->trouble.text;
}

/* ---- the outbox ---- */

static void on_outbox_publish(void *arg, struct mp_output *o)
{
    struct mp_host *h = arg;

    h->mqtt->publish(h->mqtt_self, o);
}

static void on_outbox_full(void *arg, bool full)
{
    struct mp_host *h = arg;

    mp_log(full ? MP_ERROR : MP_INFO, "host",
           MP_FIELDS(MP_NUM("messages", (int64_t)h->outbox.messages),
                     MP_NUM("bytes", (int64_t)h->outbox.bytes)),
           full ? "the outbox is full ([store] outbox): no more input is taken "
                  "until the broker has some of it"
                : "the outbox has room again");
}

/* ---- now and then ---- */

static void on_tick(uv_timer_t *timer)
{
    struct mp_host *h = timer->data;

    if (!h->loaded || h->closing)
        return;
    look_at_clock(h);
    mp_outbox_tick(&h->outbox);
    mp_dead_tick(&h->dead, mp_now_us());
    mp_careful_tick(h);
    mp_seen_tick(&h->seen);
    mp_replies_tick(&h->replies);
    mp_results_turn(&h->results, mp_now_us());
    mp_host_requests_tick(h);
    mp_fnlog_tick(&h->catalog.slots);
    if (++h->ticks % SWEEP_EVERY == 0)
        mp_states_sweep(&h->states);
}

/* ---- open, close ---- */

void mp_host_store_open(struct mp_host *h)
{
    const struct mp_config *c = h->config;
    struct mp_commit_user writer = {.opened = on_opened,
                                    .unable = on_unable,
                                    .failed = on_failed,
                                    .seal = on_seal,
                                    .arg = h};
    struct mp_queue_user queue = {
        .found = mp_host_on_found, .room = mp_host_room, .arg = h};
    struct mp_alarms_user alarms = {.fire = mp_host_on_alarm, .arg = h};
    struct mp_outbox_user outbox = {.publish = on_outbox_publish,
                                    .refused = mp_host_refused,
                                    .full = on_outbox_full,
                                    .arg = h};

    mp_list_init(&h->careful.waiting);
    mp_list_init(&h->careful.named.link);
    mp_list_init(&h->careful.noted.link);
    mp_careful_watch(c->data);
    mp_timeline_start(&h->timeline, MP_S(""), mp_wall_us(), mp_now_us(),
                      mp_timeline_build_us());
    mp_reader_open(&h->reader, h->loop, c->data);
    mp_states_init(&h->states, &h->commit, &h->reader, &h->timeline);
    mp_alarms_init(&h->alarms, h->loop, &h->commit, &h->states, &h->timeline,
                   clock_ok, &alarms);
    mp_queue_init(&h->queue, h->loop, &h->commit, &h->reader, &h->timeline,
                  c->store.queue, &queue);
    mp_outbox_init(&h->outbox, h->loop, &h->commit, &h->reader, &h->timeline, c,
                   &outbox);
    mp_dead_init(&h->dead, &h->commit, c->store.dead_letters);
    mp_records_init(&h->records, &h->commit);
    mp_seen_init(&h->seen, &h->commit, &h->timeline);
    mp_replies_init(&h->replies, &h->commit, &h->timeline);
    uv_timer_init(h->loop, &h->tick);
    uv_timer_init(h->loop, &h->reload);
    h->tick.data = h->reload.data = h;
    uv_timer_start(&h->tick, on_tick, 1000, 1000);
    mp_commit_open(&h->commit, h->loop, c->data, c->store.max_size,
                   c->store.commit_interval_us, &writer);
}

void mp_host_store_close(struct mp_host *h)
{
    uv_close((uv_handle_t *)&h->tick, NULL);
    uv_close((uv_handle_t *)&h->reload, NULL);
    if (h->loaded) {
        mp_dead_flush(&h->dead);
        mp_careful_close(h);
    }
    mp_reader_close(&h->reader); /* first: the WAL is folded in at the end */
    mp_commit_close(&h->commit);
    h->store_closed = true;
}
