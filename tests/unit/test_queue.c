/*
 * test_queue.c - rows come back once each, in order, whatever happens between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/queue.h"
#include "tests/unit/db_kit.h"

enum { SLOTS = 2, FOUND_MAX = 20000 };

struct bed {
    struct db_kit db;
    struct mp_timeline timeline;
    struct mp_queue q;
    struct mp_function fn[SLOTS];
    struct mp_version version[SLOTS];
    struct mp_slot slot[SLOTS];
    struct mp_link memory; /* invocations, by `all` */
    unsigned in_memory[SLOTS], room[SLOTS];
    int64_t found[FOUND_MAX]; /* ids, in order */
    unsigned n_found;
    unsigned wanted; /* for found_enough */
    void (*look)(struct bed *b, const struct mp_row *row);
    int64_t bury;        /* this row is of no use */
    int64_t received_us; /* what a row's must be */
};

/* ---- a host in small ---- */

static struct mp_invocation *inv_new(struct bed *b, struct mp_slot *slot,
                                     const char *topic, const char *data)
{
    struct mp_invocation *inv = mp_zalloc(sizeof *inv);
    struct mp_input from = {.topic = mp_slice_str(topic),
                            .data = mp_slice_str(data),
                            .id = MP_S("id"),
                            .response_topic = MP_S("answer/here"),
                            .qos = 1};

    mp_list_init(&inv->link);
    mp_list_init(&inv->unsaved);
    mp_list_init(&inv->all);
    inv->slot = slot;
    inv->routed = &b->version[slot - b->slot];
    inv->attempt = 1;
    inv->input = mp_input_new(&from);
    mp_list_append(&b->memory, &inv->all);
    b->in_memory[slot - b->slot]++;
    return inv;
}

static void inv_free(struct bed *b, struct mp_invocation *inv)
{
    b->in_memory[inv->slot - b->slot]--;
    mp_list_unlink(&inv->all);
    mp_list_unlink(&inv->unsaved);
    mp_input_unref(inv->input);
    free(inv);
}

static void on_found(void *arg, struct mp_slot *slot, const struct mp_row *row)
{
    struct bed *b = arg;
    struct mp_invocation *inv;

    assert_true(b->n_found < FOUND_MAX);
    b->found[b->n_found++] = row->id;
    uv_stop(&b->db.loop); /* who waits for it looks now */
    if (b->look)
        b->look(b, row);
    if (row->id == b->bury) {
        mp_queue_gone(&b->q, slot->queue, row->id);
        return;
    }
    inv = inv_new(b, slot, "back", "");
    inv->row = row->id;
    inv->saved = true;
    inv->attempt = row->attempt;
}

static unsigned on_room(void *arg, struct mp_slot *slot)
{
    struct bed *b = arg;
    unsigned i = (unsigned)(slot - b->slot);

    return b->room[i] > b->in_memory[i] ? b->room[i] - b->in_memory[i] : 0;
}

static void on_seal(void *arg, struct mp_batch *batch)
{
    struct bed *b = arg;

    mp_queue_seal(&b->q, batch);
}

static int on_load(void *arg, struct mp_db *db, struct mp_why *why)
{
    return mp_queue_load(&((struct bed *)arg)->q, db, why);
}

static void load(struct bed *b)
{
    db_kit_load(&b->db, on_load, b);
}

/* Loaded; no function is bound yet. */
static void queue_start(struct bed *b)
{
    struct mp_queue_user user = {on_found, on_room, b};

    mp_queue_init(&b->q, &b->db.loop, &b->db.commit, &b->db.reader,
                  &b->timeline, 64 << 20, &user);
    load(b);
    for (int i = 0; i < SLOTS; i++)
        b->slot[i].queue = mp_queue_fn(&b->q, mp_slice_str(b->slot[i].name));
    db_kit_seal(&b->db, on_seal, b);
}

static void queue_stop(struct bed *b)
{
    mp_list_each_safe (at, &b->memory)
        inv_free(b, mp_of(at, struct mp_invocation, all));
    mp_queue_fini(&b->q);
    db_kit_seal(&b->db, NULL, NULL);
}

static void bind_all(struct bed *b)
{
    for (int i = 0; i < SLOTS; i++)
        mp_queue_bind(&b->q, &b->slot[i]);
}

static struct bed *bed_new(void)
{
    struct bed *b = mp_zalloc(sizeof *b);

    mp_list_init(&b->memory);
    mp_timeline_start(&b->timeline, MP_S(""), mp_wall_us(), mp_now_us(), 1);
    for (int i = 0; i < SLOTS; i++) {
        b->version[i] = (struct mp_version){.refs = 1, .fn = &b->fn[i]};
        snprintf(b->slot[i].name, sizeof b->slot[i].name, "%c", 'a' + i);
        b->slot[i].live = &b->version[i];
        b->room[i] = 1000;
    }
    db_kit_open(&b->db);
    queue_start(b);
    return b;
}

static void bed_free(struct bed *b)
{
    queue_stop(b);
    db_kit_close(&b->db);
    free(b);
}

/* What was committed is there after it; what was found is forgotten. */
static void restart(struct bed *b)
{
    queue_stop(b);
    db_kit_stop(&b->db);
    db_kit_start(&b->db);
    b->n_found = 0;
    queue_start(b);
}

static unsigned rows(struct bed *b)
{
    return db_kit_rows(&b->db, MP_SQL_QUEUE_INDEX);
}

static int64_t spill_due(struct bed *b, int who, const char *data,
                         int64_t due_us)
{
    struct mp_event e = {.type = MP_EVENT_SEND,
                         .id = MP_S("id"),
                         .data = mp_slice_str(data),
                         .attempt = 1};
    int64_t id;

    (void)mp_queue_spill(&b->q, b->slot[who].queue, &e, NULL, "send", due_us, 0,
                         &id);
    return id;
}

static int64_t spill(struct bed *b, int who)
{
    return spill_due(b, who, "x", 0);
}

static int64_t now_us(struct bed *b)
{
    return mp_timeline_at(&b->timeline, mp_now_us());
}

static bool found_enough(void *arg)
{
    struct bed *b = arg;

    return b->n_found >= b->wanted;
}

static void find(struct bed *b, unsigned wanted)
{
    b->wanted = wanted;
    db_kit_until(&b->db, found_enough, b);
    assert_int_equal(b->n_found, wanted);
}

/* Nothing more is found, after whatever is on its way. */
static void find_no_more(struct bed *b)
{
    unsigned before = b->n_found;

    db_kit_commit(&b->db);
    load(b); /* behind every read that was asked for... */
    assert_int_equal(b->n_found, before);
}

/* What was spilled last is not in memory any more: it must be read. */
static void forget_recent(struct bed *b, int who)
{
    mp_queue_unbind(&b->q, &b->slot[who]);
    mp_queue_bind(&b->q, &b->slot[who]);
}

static void end_all(struct bed *b)
{
    mp_list_each_safe (at, &b->memory) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, all);

        (void)mp_queue_forget(&b->q, inv);
        inv_free(b, inv);
    }
    for (int i = 0; i < SLOTS; i++)
        mp_queue_refill(&b->q, b->slot[i].queue);
}

/* ---- kept in memory ---- */

static void what_ends_before_the_seal_leaves_no_row(void **state)
{
    struct bed *b = bed_new();
    struct mp_invocation *inv = inv_new(b, &b->slot[0], "t", "x");

    (void)state;
    assert_true(mp_queue_keep(&b->q, inv, "retry", 0) > 0);
    assert_true(inv->row > 0);
    assert_int_equal(b->slot[0].queue->rows, 1);
    assert_int_equal(mp_queue_forget(&b->q, inv), 0);
    assert_int_equal(b->slot[0].queue->rows, 0);
    assert_int_equal(b->q.bytes, 0);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 0);
    bed_free(b);
}

static void a_kept_event_is_a_row_until_it_ends(void **state)
{
    struct bed *b = bed_new();
    struct mp_invocation *inv = inv_new(b, &b->slot[0], "t", "x");

    (void)state;
    mp_queue_keep(&b->q, inv, "slow", 0);
    db_kit_commit(&b->db);
    assert_true(inv->saved);
    assert_int_equal(rows(b), 1);
    assert_true(mp_queue_forget(&b->q, inv) > 0);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 0);
    assert_int_equal(b->slot[0].queue->oldest_us, 0);
    bed_free(b);
}

static void look_for_a_retry(struct bed *b, const struct mp_row *row)
{
    (void)b;
    assert_int_equal(row->attempt, 2);
    assert_int_equal(row->event.attempt, 2);
    assert_true(mp_slice_is(row->reason, "retry"));
    assert_true(row->due_us > 0);
    assert_true(row->has_okey);
    assert_true(mp_slice_is(row->okey, "t/1"));
    assert_int_equal(row->hops, 3);
    assert_true(mp_slice_is(row->response_topic, "answer/here"));
    assert_null(row->correlation.ptr);
    assert_null(row->exchange.ptr);
}

static void kept_again_it_is_the_same_row_and_comes_back_as_it_was(void **state)
{
    struct bed *b = bed_new();
    struct mp_invocation *inv = inv_new(b, &b->slot[0], "t/1", "x");
    int64_t row;

    (void)state;
    inv->hops = 3;
    mp_queue_keep(&b->q, inv, "slow", 0);
    row = inv->row;
    db_kit_commit(&b->db);
    inv->attempt = 2;
    mp_queue_keep(&b->q, inv, "retry", now_us(b) + 3600 * MP_SECOND);
    assert_int_equal(inv->row, row);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 1);
    assert_int_equal(b->slot[0].queue->rows, 1);
    /* A retry of the future is handed over too: it holds its key. */
    restart(b);
    b->look = look_for_a_retry;
    bind_all(b);
    find(b, 1);
    assert_int_equal(b->found[0], row);
    bed_free(b);
}

static void kept_again_and_ended_in_one_transaction_its_row_goes(void **state)
{
    struct bed *b = bed_new();
    struct mp_invocation *inv = inv_new(b, &b->slot[0], "t/1", "x");

    (void)state;
    mp_queue_keep(&b->q, inv, "slow", 0);
    db_kit_commit(&b->db);
    mp_queue_keep(&b->q, inv, "retry", 1);
    assert_true(mp_queue_forget(&b->q, inv) > 0);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 0);
    bed_free(b);
}

static void look_for_no_key(struct bed *b, const struct mp_row *row)
{
    (void)b;
    assert_false(row->has_okey);
}

static void without_an_order_there_is_no_order_key(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    b->fn[0].order = MP_ORDER_NONE;
    mp_queue_keep(&b->q, inv_new(b, &b->slot[0], "t", ""), "slow", 0);
    db_kit_commit(&b->db);
    restart(b);
    b->look = look_for_no_key;
    bind_all(b);
    find(b, 1);
    bed_free(b);
}

/* ---- on disk only ---- */

static void look_at_everything(struct bed *b, const struct mp_row *row)
{
    const struct mp_event *e = &row->event;

    (void)b;
    assert_true(mp_slice_is(row->fn, "a"));
    assert_true(mp_slice_is(row->okey, "k"));
    assert_int_equal(row->hops, 7);
    assert_int_equal(e->type, MP_EVENT_MQTT);
    assert_true(mp_slice_is(e->topic, "t"));
    assert_true(mp_slice_is(e->trigger, "readings"));
    assert_true(mp_slice_eq(e->data, mp_slice("a\0b", 3)));
    assert_true(e->has_key);
    assert_true(mp_slice_is(e->key, "k"));
    assert_int_equal(e->n_params, 1);
    assert_true(mp_slice_is(e->params[0].name, "device"));
    assert_int_equal(e->n_properties, 1);
    assert_true(mp_slice_is(e->properties[0].value, "v"));
    assert_int_equal(e->time_us, 12345);
}

static void a_spilled_event_comes_back_as_it_was(void **state)
{
    struct mp_pair param = {MP_S("device"), MP_S("d1")};
    struct mp_pair property = {MP_S("p"), MP_S("v")};
    struct mp_event e = {.type = MP_EVENT_MQTT,
                         .topic = MP_S("t"),
                         .trigger = MP_S("readings"),
                         .data = mp_slice("a\0b", 3),
                         .has_key = true,
                         .key = MP_S("k"),
                         .params = &param,
                         .n_params = 1,
                         .properties = &property,
                         .n_properties = 1,
                         .time_us = 12345,
                         .attempt = 1};
    struct mp_slice okey = MP_S("k");
    struct bed *b = bed_new();
    int64_t id;

    (void)state;
    b->look = look_at_everything;
    bind_all(b);
    mp_queue_spill(&b->q, b->slot[0].queue, &e, &okey, "full", 0, 7, &id);
    assert_true(mp_queue_is_spilled(b->slot[0].queue));
    find(b, 1);
    assert_int_equal(b->found[0], id);
    assert_false(mp_queue_is_spilled(b->slot[0].queue));
    bed_free(b);
}

static void assert_ascending(const struct bed *b)
{
    for (unsigned i = 1; i < b->n_found; i++)
        assert_true(b->found[i - 1] < b->found[i]);
}

static void they_come_back_in_order_as_far_as_there_is_room(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    b->room[0] = 30;
    bind_all(b);
    for (int i = 0; i < 1000; i++)
        spill(b, 0);
    for (unsigned n = 30; n < 1000; n += 30) {
        find(b, n);
        assert_int_equal(b->in_memory[0], 30);
        end_all(b);
    }
    find(b, 1000);
    assert_ascending(b);
    assert_false(mp_queue_is_spilled(b->slot[0].queue));
    end_all(b);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 0);
    assert_int_equal(b->q.bytes, 0);
    bed_free(b);
}

static void without_room_they_stay_until_somebody_says_there_is(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    b->room[0] = 0;
    bind_all(b);
    spill(b, 0);
    db_kit_commit(&b->db);
    for (int i = 0; i < 20; i++)
        db_kit_turn(&b->db);
    assert_int_equal(b->n_found, 0);
    b->room[0] = 1;
    mp_queue_refill(&b->q, b->slot[0].queue);
    find(b, 1);
    bed_free(b);
}

static void after_a_restart_all_come_back_once(void **state)
{
    struct bed *b = bed_new();
    uint64_t bytes;

    (void)state;
    for (int i = 0; i < 300; i++) {
        mp_queue_keep(&b->q, inv_new(b, &b->slot[0], "t", "x"), "slow", 0);
        spill(b, i % 2);
    }
    db_kit_commit(&b->db);
    bytes = b->q.bytes;
    restart(b);
    assert_int_equal(b->q.rows, 600);
    assert_int_equal(b->q.bytes, bytes);
    assert_int_equal(b->slot[0].queue->spilled, 450);
    mp_queue_bind(&b->q, &b->slot[0]);
    find(b, 450);
    assert_ascending(b);
    assert_true(b->slot[0].queue->oldest_us > 0);
    mp_queue_bind(&b->q, &b->slot[1]);
    find(b, 600);
    end_all(b);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 0);
    bed_free(b);
}

static void rows_of_a_function_that_is_not_there_wait_for_it(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    bind_all(b);
    mp_queue_unbind(&b->q, &b->slot[1]);
    spill(b, 1);
    spill_due(b, 1, "later", now_us(b) + 2 * MP_MS);
    spill(b, 0);
    find(b, 1);
    db_kit_commit(&b->db);
    spill_due(b, 0, "later", now_us(b) + 10 * MP_MS);
    find(b, 2); /* so that of the other has been due for long */
    mp_queue_bind(&b->q, &b->slot[1]);
    find(b, 4);
    bed_free(b);
}

/* A page is on its way while what it reads changes. */
static void what_was_dropped_while_it_was_read_is_not_found(void **state)
{
    struct bed *b = bed_new();
    int64_t ids[5];

    (void)state;
    for (int i = 0; i < 5; i++)
        ids[i] = spill(b, 0);
    db_kit_commit(&b->db);
    bind_all(b);
    assert_non_null(b->slot[0].queue->page);
    assert_true(mp_queue_drop(&b->q, ids[1]));
    assert_true(mp_queue_drop(&b->q, ids[4]));
    assert_false(mp_queue_drop(&b->q, ids[4]));
    find(b, 3);
    assert_int_equal(b->found[1], ids[2]);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 3);
    bed_free(b);
}

static void what_ended_and_is_still_on_disk_is_not_found(void **state)
{
    struct bed *b = bed_new();
    struct mp_invocation *inv;

    (void)state;
    b->room[0] = 2;
    bind_all(b);
    inv = inv_new(b, &b->slot[0], "t", "x"); /* in work */
    (void)inv_new(b, &b->slot[0], "t", "x");
    spill(b, 0);
    mp_queue_keep(&b->q, inv, "slow", 0); /* behind it, by its id */
    spill(b, 0);
    db_kit_commit(&b->db);
    (void)mp_queue_forget(&b->q, inv); /* not committed when it is read */
    b->room[0] = 10;
    mp_queue_refill(&b->q, b->slot[0].queue);
    find(b, 2);
    find_no_more(b);
    bed_free(b);
}

static void of_what_nobody_can_use_the_row_goes(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    bind_all(b);
    b->bury = spill(b, 0);
    spill(b, 0);
    find(b, 2);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 1);
    assert_int_equal(b->slot[0].queue->rows, 1);
    bed_free(b);
}

static void put_bytes(struct bed *b, int64_t id, struct mp_slice bytes)
{
    struct mp_batch *batch = mp_commit_batch(&b->db.commit);

    mp_batch_op(batch, MP_SQL_QUEUE_PUT);
    mp_batch_int(batch, id);
    mp_batch_text(batch, MP_S("a"));
    mp_batch_null(batch);
    mp_batch_int(batch, 0);
    mp_batch_int(batch, 1);
    mp_batch_text(batch, MP_S("send"));
    mp_batch_int(batch, 10);
    mp_batch_blob(batch, bytes);
}

static void put_raw(struct bed *b, int64_t id, const char *bytes)
{
    put_bytes(b, id, mp_slice_str(bytes));
}

static void a_row_that_can_not_be_read_stays_and_stops_nobody(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    put_raw(b, 5, "rubbish");
    db_kit_commit(&b->db);
    restart(b);
    spill(b, 0);
    bind_all(b);
    find(b, 1);
    assert_int_equal(b->found[0], 6);
    assert_int_equal(rows(b), 2);
    assert_int_equal(b->slot[0].queue->rows, 2);
    assert_false(mp_queue_is_spilled(b->slot[0].queue));
    assert_true(mp_queue_drop(&b->q, 5));
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 1);
    bed_free(b);
}

static void a_row_that_can_not_be_ours_stops_nobody(void **state)
{
    enum { TOO_LARGE = 33 << 20 };
    struct bed *b = bed_new();
    char *bytes = mp_alloc(TOO_LARGE);

    (void)state;
    memset(bytes, 'x', TOO_LARGE - 1);
    bytes[TOO_LARGE - 1] = '\0';
    put_raw(b, INT64_MIN, "");
    put_raw(b, 0, "");
    put_raw(b, 7, bytes);
    put_raw(b, INT64_MAX, "");
    free(bytes);
    db_kit_commit(&b->db);
    restart(b);
    assert_int_equal(b->q.strange, 3);
    assert_int_equal(spill(b, 0), 8);
    bind_all(b);
    assert_int_equal(b->q.strange, 0); /* said */
    find(b, 1);
    assert_int_equal(rows(b), 5);
    bed_free(b);
}

static void a_row_that_is_missing_is_not_waited_for(void **state)
{
    struct bed *b = bed_new();
    int64_t gone = spill(b, 0);
    struct mp_batch *batch;

    (void)state;
    spill(b, 0);
    batch = mp_commit_batch(&b->db.commit);
    mp_batch_op(batch, MP_SQL_QUEUE_DELETE); /* behind our back */
    mp_batch_int(batch, gone);
    bind_all(b);
    find(b, 1);
    assert_int_equal(b->slot[0].queue->rows, 1);
    assert_false(mp_queue_is_spilled(b->slot[0].queue));
    bed_free(b);
}

/* ---- on disk, and in memory still ---- */

static void what_was_spilled_last_needs_no_reading(void **state)
{
    struct bed *b = bed_new();
    int64_t first;

    (void)state;
    b->room[0] = 0;
    bind_all(b);
    first = spill(b, 0);
    spill(b, 0);
    spill(b, 0);
    assert_true(mp_queue_drop(&b->q, first + 1));
    b->room[0] = 10;
    mp_queue_refill(&b->q, b->slot[0].queue);
    uv_run(&b->db.loop, UV_RUN_NOWAIT);
    assert_int_equal(b->n_found, 2); /* nothing was committed */
    assert_int_equal(b->found[1], first + 2);
    assert_false(mp_queue_is_spilled(b->slot[0].queue));
    end_all(b);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 0);
    bed_free(b);
}

/* Not written yet, and handed over: the host dies, or the function goes. */
static void what_needed_no_reading_has_its_row_all_the_same(void **state)
{
    struct bed *b = bed_new();
    struct mp_invocation *inv;

    (void)state;
    bind_all(b);
    spill(b, 0);
    spill(b, 0);
    uv_run(&b->db.loop, UV_RUN_NOWAIT);
    assert_int_equal(b->n_found, 2);
    inv = mp_of(b->memory.next, struct mp_invocation, all);
    assert_true(mp_queue_put_back(&b->q, inv) > 0);
    inv_free(b, inv);
    assert_true(mp_queue_is_spilled(b->slot[0].queue));
    mp_queue_refill(&b->q, b->slot[0].queue);
    find(b, 3);
    assert_int_equal(b->found[2], b->found[0]);
    db_kit_commit(&b->db);
    restart(b);
    bind_all(b);
    find(b, 2);
    bed_free(b);
}

/* Whatever the loop does meanwhile, more have come; the worker keeps up. */
static bool has_left_the_disk(void *arg)
{
    struct bed *b = arg;

    if (!mp_queue_is_spilled(b->slot[0].queue))
        return true;
    end_all(b);
    for (int i = 0; i < 5; i++)
        spill(b, 0);
    return false;
}

static void a_function_leaves_the_disk_while_inputs_keep_coming(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    b->room[0] = 100;
    bind_all(b);
    for (int i = 0; i < 1000; i++) /* more than is kept in memory */
        spill(b, 0);
    db_kit_until(&b->db, has_left_the_disk, b);
    assert_int_equal(b->n_found, b->q.next_id - 1);
    assert_ascending(b);
    bed_free(b);
}

static void a_large_one_is_read_and_keeps_its_place(void **state)
{
    enum { LARGE = 300 << 10 };
    struct bed *b = bed_new();
    char *data = mp_alloc(LARGE);
    int64_t first;

    (void)state;
    memset(data, 'x', LARGE - 1);
    data[LARGE - 1] = '\0';
    bind_all(b);
    first = spill(b, 0);
    spill_due(b, 0, data, 0);
    spill(b, 0);
    assert_int_equal(b->slot[0].queue->n_recent, 1);
    find(b, 3);
    assert_int_equal(b->found[0], first);
    assert_ascending(b);
    free(data);
    bed_free(b);
}

static void look_for_whom_to_answer(struct bed *b, const struct mp_row *row)
{
    assert_true(mp_slice_is(row->fn, "a"));
    assert_true(mp_slice_is(row->okey, "t/1"));
    assert_true(mp_slice_is(row->reason, "full"));
    assert_int_equal(row->hops, 2);
    assert_int_equal(row->due_us, 0);
    assert_true(mp_slice_is(row->response_topic, "answer/here"));
    assert_true(mp_slice_eq(row->correlation, mp_slice("\0\1", 2)));
    assert_true(mp_slice_is(row->exchange, "once"));
    assert_int_equal(row->exchange_us, 247 * MP_SECOND);
    assert_true(row->event.has_expiry);
    assert_int_equal(row->event.expiry_s, 60);
    assert_int_equal(row->event.time_us, 4711);
    assert_int_equal(row->event.qos, 1);
    assert_int_equal(row->received_us, b->received_us);
}

static void a_spilled_input_comes_back_with_all_it_had(void **state)
{
    struct bed *b = bed_new();
    struct mp_invocation *inv = inv_new(b, &b->slot[0], "t/1", "x");

    (void)state;
    inv->hops = 2;
    inv->input->correlation = mp_slice("\0\1", 2);
    inv->input->exchange = MP_S("once");
    inv->input->exchange_us = 247 * MP_SECOND;
    inv->input->has_expiry = true;
    inv->input->expiry_s = 60;
    inv->input->time_us = 4711;
    inv->input->received_us = mp_now_us() - 30 * MP_SECOND; /* half of it */
    b->received_us = mp_timeline_at(&b->timeline, inv->input->received_us);
    b->look = look_for_whom_to_answer;
    bind_all(b);
    assert_true(
        mp_queue_spill_invocation(&b->q, inv, mp_parked_name(MP_PARKED_FULL)));
    assert_int_equal(inv->row, 0);
    inv_free(b, inv);
    find(b, 1); /* from memory */
    db_kit_commit(&b->db);
    restart(b);
    bind_all(b);
    find(b, 1); /* from the disk */
    bed_free(b);
}

static void put_event_raw(struct bed *b, int64_t id, unsigned version)
{
    struct mp_event e = {
        .type = MP_EVENT_SEND, .id = MP_S("old"), .attempt = 1};
    struct mp_buf bytes;

    mp_buf_init(&bytes, 1000);
    mp_put_event(&bytes, &e);
    mp_put_u8(&bytes, (uint8_t)version);
    mp_put_u32(&bytes, version);
    mp_put_u8(&bytes, 0);
    mp_put_u8(&bytes, 1);
    mp_put_slice(&bytes, MP_S("corr"));
    if (version == 2) {
        mp_put_slice(&bytes, MP_S("once"));
        mp_put_u64(&bytes, 5);
    }
    put_bytes(b, id, mp_buf_bytes(&bytes));
    mp_buf_fini(&bytes);
}

static void look_at_an_old_one(struct bed *b, const struct mp_row *row)
{
    (void)b;
    assert_true(mp_slice_is(row->event.id, "old"));
    assert_int_equal(row->hops, row->id);
    assert_true(mp_slice_is(row->correlation, "corr"));
    assert_int_equal(row->received_us, 0);
    assert_int_equal(row->exchange_us, row->id == 2 ? 5 : 0);
    assert_int_equal(row->exchange.ptr != NULL, row->id == 2);
}

static void rows_of_earlier_versions_are_read(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    put_event_raw(b, 1, 1);
    put_event_raw(b, 2, 2);
    put_event_raw(b, 4, 4); /* of a later one */
    db_kit_commit(&b->db);
    restart(b);
    b->look = look_at_an_old_one;
    bind_all(b);
    find(b, 2);
    find_no_more(b);
    assert_int_equal(b->slot[0].queue->rows, 3);
    bed_free(b);
}

static void look_for_a_replay(struct bed *b, const struct mp_row *row)
{
    assert_true(mp_row_is_replay(row->reason));
    assert_int_equal(row->attempt, 2);
    assert_int_equal(row->received_us, b->received_us);
}

/* It would expire when it is run again. */
static void a_replay_stays_one_when_it_is_retried(void **state)
{
    struct bed *b = bed_new();
    struct mp_invocation *inv = inv_new(b, &b->slot[0], "t", "x");

    (void)state;
    b->received_us = mp_timeline_at(&b->timeline, inv->input->received_us);
    mp_queue_keep(&b->q, inv, "replay", 0);
    inv->attempt = 2;
    mp_queue_keep(&b->q, inv, "retry", now_us(b) + MP_SECOND);
    assert_string_equal(inv->reason, "replay");
    db_kit_commit(&b->db);
    restart(b);
    b->look = look_for_a_replay;
    bind_all(b);
    find(b, 1);
    bed_free(b);
}

/* ---- sends with a delay ---- */

static void a_delayed_send_comes_when_it_is_due(void **state)
{
    struct bed *b = bed_new();
    int64_t due = now_us(b) + 30 * MP_MS;

    (void)state;
    bind_all(b);
    spill_due(b, 0, "later", due);
    assert_false(mp_queue_is_spilled(b->slot[0].queue));
    find(b, 1);
    assert_true(now_us(b) >= due);
    find_no_more(b);
    bed_free(b);
}

/* Nothing asks by itself: the timer has nothing to do any more. */
static void without_room_what_is_due_waits_until_there_is_some(void **state)
{
    struct bed *b = bed_new();
    struct mp_queue_fn *f = b->slot[0].queue;

    (void)state;
    b->room[0] = 0;
    bind_all(b);
    spill_due(b, 0, "later", now_us(b) + 5 * MP_MS);
    assert_false(mp_queue_wants_room(f));
    while (!mp_queue_is_ripe(f))
        uv_run(&b->db.loop, UV_RUN_ONCE);
    assert_true(mp_queue_wants_room(f));
    assert_false(mp_queue_is_spilled(f));
    db_kit_commit(&b->db);
    assert_int_equal(b->n_found, 0);
    assert_false(uv_is_active((uv_handle_t *)&b->q.timer));
    b->room[0] = 1;
    mp_queue_refill_all(&b->q);
    find(b, 1);
    assert_false(mp_queue_wants_room(f));
    bed_free(b);
}

static void one_that_is_due_at_once_waits_for_its_commit(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    bind_all(b);
    spill_due(b, 0, "later", 1);
    find(b, 1);
    bed_free(b);
}

static void a_later_one_lets_others_pass(void **state)
{
    struct bed *b = bed_new();
    int64_t later, id;

    (void)state;
    bind_all(b);
    later = spill_due(b, 0, "later", now_us(b) + 40 * MP_MS);
    id = spill(b, 0);
    find(b, 2);
    assert_int_equal(b->found[0], id);
    assert_int_equal(b->found[1], later);
    bed_free(b);
}

static void what_is_overdue_at_boot_comes_in_order_of_due_by_room(void **state)
{
    struct bed *b = bed_new();
    int64_t ids[700];

    (void)state;
    for (int i = 0; i < 700; i++)
        ids[i] = spill_due(b, 0, "later", 1 + i % 7);
    spill_due(b, 0, "far", now_us(b) + 3600 * MP_SECOND);
    db_kit_commit(&b->db);
    restart(b);
    b->room[0] = 50;
    assert_int_equal(b->slot[0].queue->rows, 701);
    assert_int_equal(b->slot[0].queue->spilled, 0);
    bind_all(b);
    for (unsigned n = 50; n < 700; n += 50) {
        find(b, n);
        end_all(b);
    }
    find(b, 700);
    for (int i = 0; i < 700; i++)
        assert_int_equal(b->found[i], ids[i / 100 + i % 100 * 7]);
    end_all(b);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 1);
    bed_free(b);
}

static void what_is_due_goes_behind_what_was_spilled_before(void **state)
{
    struct bed *b = bed_new();
    int64_t due, last = 0, first;

    (void)state;
    b->room[0] = 0;
    bind_all(b);
    due = spill_due(b, 0, "later", now_us(b) + 5 * MP_MS);
    for (int i = 0; i < 20; i++)
        last = spill(b, 0);
    spill_due(b, 1, "a clock", now_us(b) + 10 * MP_MS);
    find(b, 1); /* so the other is due by now */
    first = spill(b, 0);
    db_kit_commit(&b->db);
    b->room[0] = 8;
    mp_queue_refill(&b->q, b->slot[0].queue);
    for (unsigned n = 9; n < 23; n += 8) {
        find(b, n);
        end_all(b);
    }
    find(b, 23);
    assert_int_equal(b->found[20], last);
    assert_int_equal(b->found[21], due);
    assert_int_equal(b->found[22], first);
    bed_free(b);
}

/* ---- not committed yet, when others are read ---- */

static void what_is_spilled_while_others_are_written_is_not_missed(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    bind_all(b);
    for (unsigned n = 2; n <= 40; n += 2) {
        spill(b, 0);
        while (!b->db.commit.writing)
            mp_commit_turn(&b->db.commit, false);
        spill(b, 0); /* with the next transaction */
        forget_recent(b, 0);
        find(b, n);
    }
    assert_ascending(b);
    bed_free(b);
}

static void what_is_due_and_not_committed_is_not_missed(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    b->room[0] = 0;
    bind_all(b);
    spill_due(b, 0, "one", 1);
    db_kit_commit(&b->db);
    spill_due(b, 0, "two", 1);
    while (mp_due_first(&b->q.later))
        uv_run(&b->db.loop, UV_RUN_ONCE);
    b->room[0] = 10;
    mp_queue_refill(&b->q, b->slot[0].queue);
    find(b, 2);
    bed_free(b);
}

/* ---- dropped, bounded, reset ---- */

static void drop_takes_what_is_on_disk_only(void **state)
{
    struct bed *b = bed_new();
    struct mp_invocation *inv = inv_new(b, &b->slot[0], "t", "x");
    int64_t spilled = spill(b, 0);
    int64_t later = spill_due(b, 0, "x", now_us(b) + 3600 * MP_SECOND);

    (void)state;
    mp_queue_keep(&b->q, inv, "slow", 0);
    assert_false(mp_queue_drop(&b->q, inv->row));
    assert_false(mp_queue_drop(&b->q, 4711));
    assert_true(mp_queue_drop(&b->q, spilled));
    assert_true(mp_queue_drop(&b->q, later));
    assert_false(mp_queue_drop(&b->q, later));
    assert_null(mp_due_first(&b->q.later));
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 1);
    bed_free(b);
}

static void drop_all_leaves_what_is_in_memory_and_other_functions(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    for (int i = 0; i < 400; i++) {
        if (i % 4 == 0)
            mp_queue_keep(&b->q, inv_new(b, &b->slot[0], "t", "x"), "slow", 0);
        spill(b, 0);
        spill(b, 1);
        spill_due(b, i % 2, "x", i < 50 ? 1 : now_us(b) + 3600 * MP_SECOND);
    }
    assert_int_equal(mp_queue_drop_all(&b->q, b->slot[0].queue), 600);
    assert_int_equal(b->slot[0].queue->rows, 100);
    assert_int_equal(b->slot[1].queue->rows, 600);
    assert_int_equal(b->q.later.n, 200);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 700);
    bind_all(b);
    find(b, 425); /* nothing of the first; of the other those that are due */
    bed_free(b);
}

static void there_is_room_within_each_bound(void **state)
{
    struct bed *b = bed_new();
    struct mp_queue_fn *f = b->slot[0].queue, *other = b->slot[1].queue;
    uint64_t used, little;

    (void)state;
    spill(b, 0);
    used = f->bytes;
    /* sends */
    b->q.max_bytes = used + 100;
    assert_true(mp_queue_has_room(&b->q, f, 100, 0));
    assert_false(mp_queue_has_room(&b->q, f, 101, 0));
    /* inputs: three quarters, and what their function may have */
    b->q.max_bytes = 4 * used;
    assert_true(mp_queue_has_room(&b->q, f, 2 * used, 9 * used));
    assert_false(mp_queue_has_room(&b->q, f, 2 * used + 1, 9 * used));
    assert_true(mp_queue_has_room(&b->q, f, 50, used + 50));
    assert_false(mp_queue_has_room(&b->q, f, 51, used + 50));
    /* one that has little: however much others have */
    b->q.max_bytes = used;
    little = used / MP_QUEUE_SHARE;
    assert_false(mp_queue_has_room(&b->q, f, 1, 9 * used));
    assert_true(mp_queue_has_room(&b->q, other, little, 9 * used));
    assert_false(mp_queue_has_room(&b->q, other, little + 1, 9 * used));
    bed_free(b);
}

static void after_a_reset_it_is_what_the_database_has(void **state)
{
    struct bed *b = bed_new();
    struct mp_invocation *inv = inv_new(b, &b->slot[0], "t", "x");

    (void)state;
    bind_all(b);
    b->room[0] = 0;
    spill(b, 0);
    db_kit_commit(&b->db);
    b->room[0] = 5;
    forget_recent(b, 0); /* a page is on its way */
    assert_non_null(b->slot[0].queue->page);
    mp_queue_keep(&b->q, inv, "slow", 0);
    spill_due(b, 1, "x", now_us(b) + MP_SECOND);
    mp_queue_reset(&b->q);
    assert_int_equal(b->q.rows, 0);
    inv_free(b, inv);
    db_kit_commit(&b->db);
    load(b);
    assert_int_equal(b->n_found, 0);
    assert_int_equal(b->q.rows, 2); /* the kept one was never sealed */
    bind_all(b);
    find(b, 1);
    bed_free(b);
}

/* ---- anything at any time ---- */

static uint32_t seed;

static uint32_t chance(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

enum fate { NOT_MADE, WAITS, TAKEN, DROPPED, ENDED };

struct model {
    enum fate fate[FOUND_MAX];
    bool delayed[FOUND_MAX]; /* comes by its time, not by its id */
    unsigned checked;        /* of what was found */
    int64_t last;
};

static void check_found(struct bed *b, struct model *m)
{
    for (; m->checked < b->n_found; m->checked++) {
        int64_t id = b->found[m->checked];

        assert_int_equal(m->fate[id], WAITS);
        if (!m->delayed[id]) {
            assert_true(id > m->last);
            m->last = id;
        }
        m->fate[id] = TAKEN;
    }
}

static void end_one(struct bed *b, struct model *m)
{
    struct mp_invocation *inv;

    if (mp_list_empty(&b->memory))
        return;
    inv = mp_of(b->memory.next, struct mp_invocation, all);
    if (inv->row)
        m->fate[inv->row] = ENDED;
    (void)mp_queue_forget(&b->q, inv);
    inv_free(b, inv);
}

static void keep_one(struct bed *b, struct model *m)
{
    struct mp_invocation *inv = inv_new(b, &b->slot[0], "t", "x");

    mp_queue_keep(&b->q, inv, "slow", 0);
    m->fate[inv->row] = TAKEN;
}

static void do_anything(struct bed *b, struct model *m)
{
    int64_t id = 0;

    switch (chance(10)) {
    case 0:
    case 1:
        m->fate[spill(b, 0)] = WAITS;
        break;
    case 2:
        id = spill_due(b, 0, "x", now_us(b) + chance(4) * MP_MS);
        m->fate[id] = WAITS;
        m->delayed[id] = true;
        break;
    case 3:
        keep_one(b, m);
        break;
    case 4:
        if (b->q.next_id > 1)
            id = 1 + (int64_t)chance((uint32_t)b->q.next_id - 1);
        if (id && mp_queue_drop(&b->q, id)) {
            assert_int_equal(m->fate[id], WAITS);
            m->fate[id] = DROPPED;
        }
        break;
    case 5:
        end_one(b, m);
        mp_queue_refill(&b->q, b->slot[0].queue);
        break;
    case 6: /* now and then the disk is faster than we are */
        if (chance(20) == 0)
            db_kit_commit(&b->db);
        else if (b->db.commit.writing && chance(5) == 0)
            uv_run(&b->db.loop, UV_RUN_ONCE);
        break;
    case 7:
        if (chance(5) == 0)
            forget_recent(b, 0);
        break;
    default:
        db_kit_turn(&b->db);
    }
    check_found(b, m);
}

/* After a restart everything that has not ended waits again. */
static void model_restart(struct bed *b, struct model *m)
{
    uint64_t n = 0;

    db_kit_commit(&b->db);
    check_found(b, m);
    restart(b);
    m->checked = 0;
    m->last = 0;
    for (int64_t id = 1; id < FOUND_MAX; id++) {
        if (m->fate[id] == TAKEN)
            m->fate[id] = WAITS;
        n += m->fate[id] == WAITS;
    }
    assert_int_equal(b->slot[0].queue->rows, n);
    bind_all(b);
}

static bool has_no_rows(void *arg)
{
    struct bed *b = arg;

    end_all(b);
    return b->q.rows == 0;
}

static void whatever_happens_each_row_comes_once_and_in_order(void **state)
{
    struct model *m = mp_alloc(sizeof *m);

    (void)state;
    for (uint32_t run = 0; run < 6; run++) {
        struct bed *b = bed_new();

        memset(m, 0, sizeof *m);
        seed = 20261121 + run;
        b->room[0] = 1 + run * 7;
        bind_all(b);
        for (int i = 0; i < 3000; i++) {
            do_anything(b, m);
            if (i == 1500)
                model_restart(b, m);
        }
        db_kit_until(&b->db, has_no_rows, b);
        check_found(b, m);
        for (int64_t id = 1; id < FOUND_MAX; id++)
            assert_int_not_equal(m->fate[id], WAITS);
        db_kit_commit(&b->db);
        assert_int_equal(rows(b), 0);
        assert_int_equal(b->q.bytes, 0);
        bed_free(b);
    }
    free(m);
}

static void a_reason_is_a_constant(void **state)
{
    (void)state;
    assert_string_equal(mp_row_reason(MP_S("send")), "send");
    assert_ptr_equal(mp_row_reason(MP_S("retry")),
                     mp_parked_name(MP_PARKED_RETRY));
    assert_string_equal(mp_row_reason(MP_S("of year six")), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_ends_before_the_seal_leaves_no_row),
        cmocka_unit_test(a_kept_event_is_a_row_until_it_ends),
        cmocka_unit_test(
            kept_again_it_is_the_same_row_and_comes_back_as_it_was),
        cmocka_unit_test(kept_again_and_ended_in_one_transaction_its_row_goes),
        cmocka_unit_test(without_an_order_there_is_no_order_key),
        cmocka_unit_test(a_spilled_event_comes_back_as_it_was),
        cmocka_unit_test(they_come_back_in_order_as_far_as_there_is_room),
        cmocka_unit_test(without_room_they_stay_until_somebody_says_there_is),
        cmocka_unit_test(after_a_restart_all_come_back_once),
        cmocka_unit_test(rows_of_a_function_that_is_not_there_wait_for_it),
        cmocka_unit_test(what_was_dropped_while_it_was_read_is_not_found),
        cmocka_unit_test(what_ended_and_is_still_on_disk_is_not_found),
        cmocka_unit_test(of_what_nobody_can_use_the_row_goes),
        cmocka_unit_test(a_row_that_can_not_be_read_stays_and_stops_nobody),
        cmocka_unit_test(a_row_that_can_not_be_ours_stops_nobody),
        cmocka_unit_test(a_row_that_is_missing_is_not_waited_for),
        cmocka_unit_test(what_was_spilled_last_needs_no_reading),
        cmocka_unit_test(what_needed_no_reading_has_its_row_all_the_same),
        cmocka_unit_test(a_function_leaves_the_disk_while_inputs_keep_coming),
        cmocka_unit_test(a_large_one_is_read_and_keeps_its_place),
        cmocka_unit_test(a_spilled_input_comes_back_with_all_it_had),
        cmocka_unit_test(rows_of_earlier_versions_are_read),
        cmocka_unit_test(a_replay_stays_one_when_it_is_retried),
        cmocka_unit_test(a_delayed_send_comes_when_it_is_due),
        cmocka_unit_test(without_room_what_is_due_waits_until_there_is_some),
        cmocka_unit_test(one_that_is_due_at_once_waits_for_its_commit),
        cmocka_unit_test(a_later_one_lets_others_pass),
        cmocka_unit_test(what_is_overdue_at_boot_comes_in_order_of_due_by_room),
        cmocka_unit_test(what_is_due_goes_behind_what_was_spilled_before),
        cmocka_unit_test(
            what_is_spilled_while_others_are_written_is_not_missed),
        cmocka_unit_test(what_is_due_and_not_committed_is_not_missed),
        cmocka_unit_test(drop_takes_what_is_on_disk_only),
        cmocka_unit_test(drop_all_leaves_what_is_in_memory_and_other_functions),
        cmocka_unit_test(there_is_room_within_each_bound),
        cmocka_unit_test(after_a_reset_it_is_what_the_database_has),
        cmocka_unit_test(whatever_happens_each_row_comes_once_and_in_order),
        cmocka_unit_test(a_reason_is_a_constant),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
