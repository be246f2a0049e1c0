/*
 * test_outbox.c - what leaves, when, in which order, and what is left on disk
 * of it: with a real database, and a list for a transport.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/outbox.h"
#include "core/outputs.h"
#include "tests/unit/db_kit.h"

enum { SENT_MAX = 20000, HELD_MAX = 4096 };

/* ---- the transport, the user, the fixture ---- */

static struct db_kit kit;
static struct mp_outbox box;
static struct mp_timeline timeline;
static struct mp_config config;
static struct mp_output *held[HELD_MAX]; /* published, not confirmed */
static unsigned n_held;
static int sent[SENT_MAX]; /* numbers of messages, as they were published */
static unsigned n_sent;
static unsigned n_refused;
static int last_refused;
static char last_why[80];
static int full;
static uint64_t flash;

/* The number that message() put first into the id. */
static int number_of(const struct mp_output *o)
{
    return o->id.ptr ? atoi(o->id.ptr) : -1;
}

static void publish(void *arg, struct mp_output *o)
{
    (void)arg;
    assert_true(n_held < HELD_MAX && n_sent < SENT_MAX);
    held[n_held++] = o;
    sent[n_sent++] = number_of(o);
}

static void refused(void *arg, struct mp_slice fn, const struct mp_output *o,
                    unsigned reason, const char *why)
{
    struct mp_batch *b;

    (void)arg;
    snprintf(last_why, sizeof last_why, "%s", why);
    assert_true(mp_slice_is(fn, "f") && reason >= 0x80);
    last_refused = number_of(o);
    n_refused++;
    b = mp_commit_batch(&kit.commit); /* as a dead letter would be */
    mp_batch_share(b, NULL);
    mp_batch_op(b, MP_SQL_KEPT_PUT);
    mp_batch_text(b, o->id);
    mp_batch_blob(b, MP_S("refused"));
}

static void on_full(void *arg, bool is_full)
{
    (void)arg;
    full = is_full;
}

static unsigned dropped(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < MP_OUTBOX_DROPS; i++)
        n += (unsigned)box.dropped[i];
    return n;
}

/* The first one that is with the transport has an answer. */
static void answer(unsigned reason)
{
    struct mp_output *o = held[0];

    assert_true(n_held > 0);
    memmove(held, held + 1, --n_held * sizeof(*held));
    o->done(o, reason, reason ? "not authorized" : NULL);
}

static void answer_all(void)
{
    for (unsigned n = n_held; n; n--)
        answer(0);
}

static void init_box(void)
{
    const struct mp_outbox_user user = {
        .publish = publish, .refused = refused, .full = on_full};

    mp_outbox_init(&box, &kit.loop, &kit.commit, &kit.reader, &timeline,
                   &config, &user);
}

static void load_box(void)
{
    struct mp_db *db = db_kit_reader(&kit);
    struct mp_why why;

    assert_int_equal(mp_outbox_load(&box, db, &why), 0);
    mp_db_close(db);
    mp_outbox_go(&box);
}

static int set_up(void **state)
{
    (void)state;
    config = (struct mp_config){0};
    config.store.outbox = 64 << 20;
    config.store.outbox_max_age_us = 3600 * MP_SECOND;
    timeline = (struct mp_timeline){.base_us = 1000 * MP_SECOND,
                                    .mono_us = mp_now_us()};
    n_held = n_sent = n_refused = 0;
    full = -1;
    db_kit_open(&kit);
    init_box();
    load_box();
    return 0;
}

/* As when the host ends: the transport gives back what it has. */
static void close_box(void)
{
    mp_outbox_closing(&box);
    while (n_held)
        answer(0x80);
    mp_outbox_fini(&box);
}

static int tear_down(void **state)
{
    (void)state;
    close_box();
    db_kit_close(&kit);
    return 0;
}

static void restart(void)
{
    close_box();
    db_kit_stop(&kit);
    db_kit_start(&kit);
    init_box();
    load_box();
}

/* What the host does after a failed commit, once it is open again. */
static void reset(void)
{
    mp_outbox_reset(&box);
    load_box();
}

/* A message as mp_outputs_make makes them, of len bytes: id "N/x", data
 * begins with N. */
static struct mp_output *message(const char *topic, int n, size_t len)
{
    size_t topic_len = strlen(topic);
    struct mp_output *o = mp_zalloc(sizeof *o + topic_len + 20 + len);
    char *at = (char *)(o + 1);

    mp_list_init(&o->link);
    mp_list_init(&o->mine);
    memcpy(at, topic, topic_len);
    o->topic = mp_slice(at, topic_len);
    at += topic_len;
    o->id = mp_slice(at, (size_t)sprintf(at, "%d/x", n));
    at += 20;
    memset(at, 'd', len);
    o->data = mp_slice(at, len);
    o->qos = 1;
    return o;
}

static uint64_t add(const char *topic, int n, size_t len)
{
    return mp_outbox_add(&box, message(topic, n, len), MP_S("f"), &flash);
}

/* The transport has it already. */
static struct mp_output *direct(const char *topic, int n)
{
    struct mp_output *o = message(topic, n, 10);

    publish(NULL, o);
    return o;
}

static bool is_sent(void *n)
{
    return n_sent >= *(unsigned *)n;
}

static void until_sent(unsigned n)
{
    db_kit_until(&kit, is_sent, &n);
    assert_int_equal(n_sent, n);
}

static bool is_empty(void *arg)
{
    (void)arg;
    while (n_held) /* an answer lets another leave */
        answer(0);
    return !box.messages;
}

static void drain(void)
{
    db_kit_until(&kit, is_empty, NULL);
}

static unsigned rows(void)
{
    struct mp_db *db = db_kit_reader(&kit);
    struct mp_query *q = mp_query_begin(db, MP_SQL_OUTBOX_SUMS);
    struct mp_why why;
    unsigned n;

    assert_int_equal(mp_query_step(q, &why), 1);
    n = (unsigned)mp_column_int(q, 0);
    mp_query_end(q);
    mp_db_close(db);
    return n;
}

/* 0, 1, 2... each once. */
static void assert_all_in_order(unsigned n)
{
    assert_int_equal(n_sent, n);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(sent[i], i);
}

/* ---- leaving ---- */

static void a_message_leaves_when_its_ticket_is_durable(void **state)
{
    uint64_t ticket = add("a", 0, 10);

    (void)state;
    assert_int_equal(n_sent, 0);
    assert_false(mp_commit_is_durable(&kit.commit, ticket));
    until_sent(1);
    assert_true(mp_commit_is_durable(&kit.commit, ticket));
    assert_int_equal(rows(), 1);
    answer(0);
    db_kit_commit(&kit);
    assert_int_equal(rows(), 0);
    assert_int_equal(box.messages, 0);
    assert_int_equal(box.bytes, 0);
    assert_int_equal(box.oldest_us, 0);
    assert_true(flash > 0);
}

static void messages_leave_in_order_a_window_at_a_time(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++)
        add("a", i, 10);
    until_sent(MP_OUTBOX_WINDOW);
    db_kit_commit(&kit);
    assert_int_equal(n_sent, MP_OUTBOX_WINDOW);
    answer(0);
    assert_int_equal(n_sent, MP_OUTBOX_WINDOW + 1);
    drain();
    assert_all_in_order(200);
}

/* A transport may be done with a QoS 0 message before publish returns. */
static void publish_at_once(void *arg, struct mp_output *o)
{
    publish(arg, o);
    answer(0);
}

static void done_may_be_called_from_inside_publish(void **state)
{
    (void)state;
    box.user.publish = publish_at_once;
    for (int i = 0; i < 500; i++)
        add("a", i, 10);
    until_sent(500);
    assert_all_in_order(500);
    assert_int_equal(box.messages, 0);
}

static void a_topic_is_held_until_the_broker_has_the_last_one(void **state)
{
    (void)state;
    assert_false(mp_outbox_holds(&box, MP_S("a")));
    add("a", 0, 10);
    add("a", 1, 10);
    assert_true(mp_outbox_holds(&box, MP_S("a")));
    assert_false(mp_outbox_holds(&box, MP_S("b")));
    until_sent(2);
    answer(0);
    assert_true(mp_outbox_holds(&box, MP_S("a")));
    answer(0);
    assert_false(mp_outbox_holds(&box, MP_S("a")));
}

static void what_is_read_back_is_what_was_given(void **state)
{
    static const struct mp_pair properties[] = {{{"k", 1}, {"v", 1}},
                                                {{"", 0}, {"\0x", 2}}};
    struct mp_output *o = message("a/b", 7, 300), *back;

    (void)state;
    o->traceparent = MP_S("00-trace");
    o->correlation = MP_S("\0\1\2");
    o->content_type = MP_S("application/json");
    o->qos = 0;
    o->retain = true;
    o->properties = properties;
    o->n_properties = 2;
    mp_outbox_add(&box, o, MP_S("f"), &flash);
    restart();
    until_sent(1);
    back = held[0];
    assert_true(mp_slice_is(back->topic, "a/b"));
    assert_true(mp_slice_is(back->id, "7/x"));
    assert_int_equal(back->data.len, 300);
    assert_true(mp_slice_is(back->traceparent, "00-trace"));
    assert_true(mp_slice_eq(back->correlation, MP_S("\0\1\2")));
    assert_true(mp_slice_is(back->content_type, "application/json"));
    assert_int_equal(back->qos, 0);
    assert_true(back->retain);
    assert_false(back->has_expiry);
    assert_int_equal(back->n_properties, 2);
    assert_true(mp_slice_is(back->properties[0].name, "k"));
    assert_true(mp_slice_is(back->properties[0].value, "v"));
    assert_int_equal(back->properties[1].name.len, 0);
    assert_true(mp_slice_eq(back->properties[1].value, MP_S("\0x")));
}

static void what_was_not_given_is_not_there_when_read_back(void **state)
{
    (void)state;
    add("a", 1, 0);
    restart();
    until_sent(1);
    assert_null(held[0]->traceparent.ptr);
    assert_null(held[0]->correlation.ptr);
    assert_null(held[0]->content_type.ptr);
    assert_int_equal(held[0]->n_properties, 0);
    assert_int_equal(held[0]->data.len, 0);
}

/* ---- refusals ---- */

static void a_refused_one_is_told_and_its_row_goes_with_the_letter(void **state)
{
    (void)state;
    add("a", 3, 10);
    until_sent(1);
    answer(0x87);
    assert_int_equal(n_refused, 1);
    assert_int_equal(last_refused, 3);
    assert_string_equal(last_why, "not authorized");
    db_kit_commit(&kit);
    assert_int_equal(rows(), 0);
    assert_int_equal(dropped(), 0);
}

/* ---- more than memory holds ---- */

static void while_some_are_on_disk_only_every_topic_is_held(void **state)
{
    (void)state;
    for (int i = 0; i <= MP_OUTBOX_ITEMS; i++)
        add("a", i, 10);
    assert_int_equal(box.on_disk, 1);
    assert_true(mp_outbox_holds(&box, MP_S("never/seen")));
    drain();
    assert_false(mp_outbox_holds(&box, MP_S("never/seen")));
    assert_all_in_order(MP_OUTBOX_ITEMS + 1);
}

static void memory_is_bounded_by_bytes_too(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        add("a", i, 64 << 10);
    assert_true(box.memory <= MP_OUTBOX_MEMORY);
    assert_true(box.on_disk > 80);
    drain();
    assert_all_in_order(100);
}

static void one_that_is_larger_than_memory_leaves_all_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        add("a", i, MP_OUTBOX_MEMORY + 1);
    drain();
    assert_all_in_order(4);
}

/* Pages are read while rows are recorded, committed and deleted, and what
 * went directly while nothing was held is adopted some time later. */
static void none_is_skipped_or_doubled_at_any_pace(void **state)
{
    enum { N = 12000, DIRECT = 40 };
    static struct mp_output *ways[DIRECT]; /* not adopted yet */
    static unsigned char times[N], direct_one[N];
    unsigned seed = (unsigned)mp_now_us(), n_ways = 0;
    int n = 0, newest = -1;

    (void)state;
    print_message("seed %u\n", seed);
    srandom(seed);
    memset(times, 0, sizeof times);
    memset(direct_one, 0, sizeof direct_one);
    while (n < N) {
        while (n < N && n_ways < DIRECT && !mp_outbox_holds(&box, MP_S("c")) &&
               random() % 2) {
            direct_one[n] = 1;
            ways[n_ways++] = message("c", n++, 10);
        }
        for (long i = random() % 400; i && n < N; i--, n++)
            add(n % 3 ? "a" : "b", n, (size_t)(random() % 2000));
        for (long i = random() % 400; i && n_held; i--)
            answer(0);
        if (n_ways && random() % 2) {
            publish(NULL, ways[--n_ways]);
            mp_outbox_adopt(&box, ways[n_ways], MP_S("f"), &flash);
        }
        if (random() % 2)
            db_kit_turn(&kit);
    }
    while (n_ways) {
        publish(NULL, ways[--n_ways]);
        mp_outbox_adopt(&box, ways[n_ways], MP_S("f"), &flash);
    }
    drain();
    assert_int_equal(n_sent, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(times[sent[i]]++, 0);
        if (direct_one[sent[i]])
            continue;
        assert_true(sent[i] > newest);
        newest = sent[i];
    }
    db_kit_commit(&kit);
    assert_int_equal(rows(), 0);
    assert_int_equal(box.bytes, 0);
    assert_int_equal(box.memory, 0);
    assert_int_equal(box.n_items, 0);
}

/* All of it together.  What is published again after a restart may be left
 * out of account; what is new comes in order. */
static void order_is_kept_across_restarts_pages_and_refusals(void **state)
{
    enum { N = 5000, TOPICS = 5 };
    static bool seen[N];
    static int newest[TOPICS];
    unsigned from = 0, repeats = 0, refusals = 0;
    char topic[8];

    (void)state;
    memset(seen, 0, sizeof seen);
    memset(newest, -1, sizeof newest);
    for (int i = 0; i < N; i++) {
        snprintf(topic, sizeof topic, "t/%d", i % TOPICS);
        add(topic, i, 10);
        if (i % 700 == 699)
            db_kit_turn(&kit);
    }
    while (box.messages) {
        unsigned end = n_sent;

        for (; from < end; from++) {
            int n = sent[from];

            if (seen[n]) {
                repeats++;
                continue;
            }
            assert_true(n > newest[n % TOPICS]);
            newest[n % TOPICS] = n;
            seen[n] = true;
        }
        if (n_held && from % 11 == 0) {
            answer(0x87);
            refusals++;
        }
        for (unsigned i = n_held; i; i--)
            answer(0);
        if (n_sent / 1200 != end / 1200)
            restart();
        db_kit_turn(&kit);
    }
    for (int i = 0; i < N; i++)
        assert_true(seen[i]);
    assert_true(refusals > 0);
    print_message("%u sent again, %u refused\n", repeats, n_refused);
}

/* ---- bounds ---- */

static void
it_is_full_past_its_bytes_and_has_room_below_nine_tenths(void **state)
{
    unsigned n = 0;

    (void)state;
    box.max_bytes = 100000;
    while (box.bytes <= 100000) {
        assert_int_equal(full, -1);
        add("a", (int)n++, 900);
    }
    assert_int_equal(full, 1);
    assert_true(box.is_full);
    until_sent(MP_OUTBOX_WINDOW);
    while (box.bytes >= 90000) {
        assert_int_equal(full, 1);
        answer(0);
    }
    assert_int_equal(full, 0);
    drain();
    assert_int_equal(dropped(), 0);
}

static void it_is_still_full_after_a_restart(void **state)
{
    (void)state;
    config.store.outbox = 5000;
    box.max_bytes = 5000;
    for (int i = 0; i < 10; i++)
        add("a", i, 900);
    full = -1;
    restart();
    assert_int_equal(full, 1);
    drain();
    assert_int_equal(full, 0);
}

static void the_oldest_of_a_full_one_go_where_that_is_wanted(void **state)
{
    unsigned n;

    (void)state;
    box.max_bytes = 20000;
    box.oldest = true;
    for (int i = 0; i < 40; i++)
        add("a", i, 900);
    assert_true(box.bytes <= 20000);
    n = dropped();
    assert_true(n > 15 && n == box.dropped[MP_OUTBOX_FULL]);
    assert_int_equal(full, -1);
    drain();
    assert_int_equal(n_sent, 40 - n);
    assert_int_equal(sent[0], n);
    assert_int_equal(sent[n_sent - 1], 39);
    db_kit_commit(&kit);
    assert_int_equal(rows(), 0);
}

static bool fits(void *arg)
{
    (void)arg;
    return box.bytes <= box.max_bytes;
}

static void the_oldest_go_from_disk_too(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++)
        add("a", i, 10);
    config.store.outbox = 40000;
    config.store.outbox_full_oldest = true;
    n_sent = 0;
    restart();
    db_kit_until(&kit, fits, NULL);
    drain();
    assert_int_equal(n_sent + dropped(), 3000);
    assert_true(dropped() > 2000);
    assert_int_equal(sent[n_sent - 1], 2999);
}

static void what_is_too_old_is_dropped(void **state)
{
    (void)state;
    for (int i = 0; i < 70; i++)
        add("a", i, 10);
    until_sent(MP_OUTBOX_WINDOW);
    timeline.base_us += 3599 * MP_SECOND;
    mp_outbox_tick(&box);
    assert_int_equal(dropped(), 0);
    timeline.base_us += 2 * MP_SECOND;
    mp_outbox_tick(&box);
    assert_int_equal(dropped(), 6); /* the transport has the others */
    assert_int_equal(box.dropped[MP_OUTBOX_AGED], 6);
    drain();
    assert_int_equal(n_sent, MP_OUTBOX_WINDOW);
}

/* Thousands may go while the broker is away. */
static void drops_leave_nothing_behind_and_are_said_once_a_minute(void **state)
{
    (void)state;
    config.store.outbox_max_age_us = MP_SECOND;
    restart();
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < 5; i++)
            add("a", i, 10);
        timeline.base_us += 2 * MP_SECOND;
        mp_outbox_tick(&box);
        assert_int_equal(dropped(), 5 * round);
        assert_int_equal(box.said[MP_OUTBOX_AGED], 5);
    }
    assert_int_equal(n_refused, 0);
    db_kit_commit(&kit);
    assert_int_equal(rows(), 0);
    box.said_us -= 60 * MP_SECOND;
    mp_outbox_tick(&box);
    assert_int_equal(box.said[MP_OUTBOX_AGED], 10);
}

static void an_expiry_goes_on_counting(void **state)
{
    struct mp_output *o = message("a", 0, 10);

    (void)state;
    o->has_expiry = true;
    o->expiry_s = 60;
    mp_outbox_add(&box, o, MP_S("f"), &flash);
    timeline.base_us += 20 * MP_SECOND;
    until_sent(1);
    assert_int_equal(held[0]->expiry_s, 40);
    timeline.base_us += 20 * MP_SECOND;
    restart();
    until_sent(2);
    assert_int_equal(held[0]->expiry_s, 20);
    timeline.base_us += 20 * MP_SECOND;
    restart();
    drain();
    assert_int_equal(n_sent, 2);
    assert_int_equal(dropped(), 1);
    assert_int_equal(box.dropped[MP_OUTBOX_EXPIRED], 1);
}

/* ---- adopted ---- */

static void an_adopted_one_is_kept_until_it_is_confirmed(void **state)
{
    (void)state;
    mp_outbox_adopt(&box, direct("a", 0), MP_S("f"), &flash);
    assert_true(mp_outbox_holds(&box, MP_S("a")));
    add("a", 1, 10);
    db_kit_commit(&kit);
    assert_int_equal(rows(), 2);
    until_sent(2);
    restart();
    until_sent(4); /* both again */
    assert_int_equal(sent[2], 0);
    assert_int_equal(sent[3], 1);
    answer_all();
    db_kit_commit(&kit);
    assert_int_equal(rows(), 0);
}

/* Its id lies among those of a page, before or after it was confirmed. */
static void an_adopted_one_does_not_come_with_a_page(void **state)
{
    struct mp_output *early, *late;
    int n = 2;

    (void)state;
    early = direct("a", 0);
    late = direct("a", 1);
    while (!box.on_disk)
        add("b", n++, 10);
    mp_outbox_adopt(&box, early, MP_S("f"), &flash);
    add("b", n++, 10);
    mp_outbox_adopt(&box, late, MP_S("f"), &flash);
    add("b", n++, 10);
    answer(0); /* early, at once; late goes with the others */
    db_kit_commit(&kit);
    drain();
    assert_all_in_order((unsigned)n);
    db_kit_commit(&kit);
    assert_int_equal(rows(), 0);
}

/* ---- a failed commit, the end ---- */

static void after_a_reset_it_goes_on_from_the_database(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        add("a", i, 10);
    until_sent(MP_OUTBOX_WINDOW);
    reset();
    answer_all(); /* they belong to nobody: freed, nothing else */
    assert_int_equal(box.messages, 100);
    assert_int_equal(box.on_disk, 100);
    drain();
    assert_int_equal(n_sent, MP_OUTBOX_WINDOW + 100);
    assert_int_equal(sent[MP_OUTBOX_WINDOW], 0);
    db_kit_commit(&kit);
    assert_int_equal(rows(), 0);
}

static void a_reset_while_a_page_is_read_forgets_the_page(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        add("a", i, 10);
    restart();
    assert_non_null(box.page);
    reset();
    drain();
    assert_all_in_order(100);
}

static void when_it_closes_an_answer_means_nothing(void **state)
{
    (void)state;
    add("a", 0, 10);
    add("a", 1, 10);
    until_sent(2);
    mp_outbox_closing(&box);
    answer(0x80);
    answer(0);
    assert_int_equal(n_refused, 0);
    restart();
    until_sent(4);
    drain();
}

static void a_row_that_cannot_be_read_is_counted_and_goes(void **state)
{
    struct mp_batch *b = mp_commit_batch(&kit.commit);

    (void)state;
    mp_batch_share(b, NULL);
    mp_batch_op(b, MP_SQL_OUTBOX_PUT);
    mp_batch_int(b, 1);
    mp_batch_text(b, MP_S("f"));
    mp_batch_text(b, MP_S("a"));
    mp_batch_int(b, 5);
    mp_batch_int(b, 70);
    mp_batch_blob(b, MP_S("\377 of another version"));
    restart();
    add("a", 1, 10);
    until_sent(1);
    assert_int_equal(sent[0], 1);
    assert_int_equal(dropped(), 1);
    assert_int_equal(box.dropped[MP_OUTBOX_UNREADABLE], 1);
    drain();
    db_kit_commit(&kit);
    assert_int_equal(rows(), 0);
}

/* Somebody deleted them with sqlite3: no waiting for what never comes. */
static void
rows_that_are_gone_from_the_database_are_not_waited_for(void **state)
{
    struct mp_batch *b;

    (void)state;
    for (int i = 0; i < 100; i++)
        add("a", i, 10);
    restart();
    reset(); /* nothing is in memory, all is counted */
    b = mp_commit_batch(&kit.commit);
    mp_batch_share(b, NULL);
    for (int i = 1; i <= 100; i++) {
        mp_batch_op(b, MP_SQL_OUTBOX_DELETE);
        mp_batch_int(b, i);
    }
    mp_outbox_reset(&box);
    box.messages = box.on_disk = 100;
    db_kit_commit(&kit);
    mp_outbox_go(&box);
    add("a", 100, 10);
    drain();
    assert_int_equal(box.on_disk, 0);
    assert_int_equal(sent[n_sent - 1], 100);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_message_leaves_when_its_ticket_is_durable),
        T(messages_leave_in_order_a_window_at_a_time),
        T(done_may_be_called_from_inside_publish),
        T(a_topic_is_held_until_the_broker_has_the_last_one),
        T(what_is_read_back_is_what_was_given),
        T(what_was_not_given_is_not_there_when_read_back),
        T(a_refused_one_is_told_and_its_row_goes_with_the_letter),
        T(while_some_are_on_disk_only_every_topic_is_held),
        T(memory_is_bounded_by_bytes_too),
        T(one_that_is_larger_than_memory_leaves_all_the_same),
        T(none_is_skipped_or_doubled_at_any_pace),
        T(order_is_kept_across_restarts_pages_and_refusals),
        T(it_is_full_past_its_bytes_and_has_room_below_nine_tenths),
        T(it_is_still_full_after_a_restart),
        T(the_oldest_of_a_full_one_go_where_that_is_wanted),
        T(the_oldest_go_from_disk_too),
        T(what_is_too_old_is_dropped),
        T(drops_leave_nothing_behind_and_are_said_once_a_minute),
        T(an_expiry_goes_on_counting),
        T(an_adopted_one_is_kept_until_it_is_confirmed),
        T(an_adopted_one_does_not_come_with_a_page),
        T(after_a_reset_it_goes_on_from_the_database),
        T(a_reset_while_a_page_is_read_forgets_the_page),
        T(when_it_closes_an_answer_means_nothing),
        T(a_row_that_cannot_be_read_is_counted_and_goes),
        T(rows_that_are_gone_from_the_database_are_not_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
