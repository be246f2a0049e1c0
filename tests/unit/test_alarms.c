/*
 * test_alarms.c - one alarm a name: set, moved, fired, dealt with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/alarms.h"
#include "core/base/clock.h"
#include "tests/unit/db_kit.h"

enum { MANY = 10000 };

struct bed {
    struct db_kit db;
    struct mp_timeline timeline;
    struct mp_states states;
    struct mp_alarms s;
    struct mp_state_fn *a, *b;
    uv_prepare_t turn;
    bool clock_ok;
    unsigned room; /* for events of a */
    unsigned asked, n_fired, wanted;
    unsigned this_turn, most_a_turn;
    bool deal_at_once; /* done in fire */
    struct mp_alarm *last;
    uint32_t serial;
    char names[8][16]; /* of those fired, the last ones */
};

/* ---- a host in small ---- */

static bool on_fire(void *arg, struct mp_alarm *a)
{
    struct bed *b = arg;

    b->asked++;
    assert_true(a->fired);
    if (a->fn == b->a && b->room == 0)
        return false;
    b->room -= a->fn == b->a;
    snprintf(b->names[b->n_fired % 8], sizeof b->names[0], "%.*s",
             MP_FMT(a->name));
    b->n_fired++;
    if (++b->this_turn > b->most_a_turn)
        b->most_a_turn = b->this_turn;
    if (b->last)
        mp_alarm_unref(b->last);
    b->last = mp_alarm_ref(a);
    b->serial = a->serial;
    if (b->deal_at_once)
        assert_true(mp_alarms_done(&b->s, a, a->serial));
    return true;
}

static bool clock_ok(void *arg)
{
    return ((struct bed *)arg)->clock_ok;
}

static void on_seal(void *arg, struct mp_batch *batch)
{
    mp_alarms_seal(&((struct bed *)arg)->s, batch);
}

static int on_load(void *arg, struct mp_db *db, struct mp_why *why)
{
    return mp_alarms_load(&((struct bed *)arg)->s, db, why);
}

static void alarms_start(struct bed *b)
{
    struct mp_alarms_user user = {on_fire, b};

    mp_states_init(&b->states, &b->db.commit, &b->db.reader, &b->timeline);
    mp_alarms_init(&b->s, &b->db.loop, &b->db.commit, &b->states, &b->timeline,
                   clock_ok, &user);
    db_kit_load(&b->db, on_load, b);
    b->a = mp_states_fn(&b->states, MP_S("a"));
    b->b = mp_states_fn(&b->states, MP_S("b"));
    db_kit_seal(&b->db, on_seal, b);
}

static void alarms_stop(struct bed *b)
{
    db_kit_seal(&b->db, NULL, NULL);
    if (b->last)
        mp_alarm_unref(b->last);
    b->last = NULL;
    mp_states_fini(&b->states);
    mp_alarms_fini(&b->s);
}

static struct bed *bed_new(void)
{
    struct bed *b = mp_zalloc(sizeof *b);

    mp_timeline_start(&b->timeline, MP_S(""), mp_wall_us(), mp_now_us(), 1);
    b->clock_ok = true;
    b->room = UINT32_MAX;
    db_kit_open(&b->db);
    alarms_start(b);
    mp_alarms_go(&b->s);
    return b;
}

static void bed_free(struct bed *b)
{
    alarms_stop(b);
    db_kit_close(&b->db);
    free(b);
}

/* Without go. */
static void restart(struct bed *b)
{
    alarms_stop(b);
    db_kit_stop(&b->db);
    db_kit_start(&b->db);
    b->n_fired = b->asked = 0;
    alarms_start(b);
}

static unsigned rows(struct bed *b)
{
    return db_kit_rows(&b->db, MP_SQL_ALARM_ALL);
}

static const struct mp_effect plain = {.kind = MP_EFFECT_ALARM};

static struct mp_effect after(const char *name, int64_t us)
{
    struct mp_effect e = plain;

    e.name = mp_slice_str(name);
    e.after_us = us;
    return e;
}

static struct mp_effect at(const char *name, int64_t wall_us)
{
    struct mp_effect e = after(name, -1);

    e.at_us = wall_us;
    return e;
}

static bool set(struct bed *b, struct mp_effect e)
{
    return mp_alarms_set(&b->s, b->a, MP_S("k"), &e, NULL, 0);
}

static bool cancel(struct bed *b, const char *name)
{
    struct mp_effect e = after(name, 0);

    e.cancel = true;
    return set(b, e);
}

static bool fired_enough(void *arg)
{
    struct bed *b = arg;

    return b->n_fired >= b->wanted;
}

static void fire(struct bed *b, unsigned wanted)
{
    b->wanted = wanted;
    db_kit_until(&b->db, fired_enough, b);
    assert_int_equal(b->n_fired, wanted);
}

static bool was_asked(void *arg)
{
    struct bed *b = arg;

    return b->asked >= b->wanted;
}

static int64_t now_us(struct bed *b)
{
    return mp_timeline_at(&b->timeline, mp_now_us());
}

static const char *fired(const struct bed *b, unsigned n)
{
    return b->names[n % 8];
}

/* ---- set, moved, cancelled ---- */

static void an_alarm_fires_when_it_is_due(void **state)
{
    struct bed *b = bed_new();
    int64_t due = now_us(b) + 30 * MP_MS;

    (void)state;
    assert_true(set(b, after("hold", 30 * MP_MS)));
    fire(b, 1);
    assert_true(now_us(b) >= due);
    assert_string_equal(fired(b, 0), "hold");
    assert_true(mp_alarm_is(b->last, b->serial));
    bed_free(b);
}

static void they_fire_in_the_order_in_which_they_are_due(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    set(b, after("third", 200 * MP_MS));
    set(b, after("first", 0));
    set(b, after("second", 10 * MP_MS));
    fire(b, 3);
    assert_string_equal(fired(b, 0), "first");
    assert_string_equal(fired(b, 1), "second");
    assert_string_equal(fired(b, 2), "third");
    bed_free(b);
}

static void set_again_it_moves(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    set(b, after("hold", 5 * MP_MS));
    set(b, after("other", 20 * MP_MS));
    set(b, after("hold", 40 * MP_MS));
    assert_int_equal(b->s.n, 2);
    fire(b, 2);
    assert_string_equal(fired(b, 0), "other");
    assert_string_equal(fired(b, 1), "hold");
    bed_free(b);
}

static void functions_and_keys_have_alarms_of_their_own(void **state)
{
    struct bed *b = bed_new();
    struct mp_effect e = after("hold", 0);

    (void)state;
    set(b, e);
    mp_alarms_set(&b->s, b->a, MP_S("k2"), &e, NULL, 0);
    mp_alarms_set(&b->s, b->b, MP_S("k"), &e, NULL, 0);
    assert_int_equal(b->s.n, 3);
    fire(b, 3);
    bed_free(b);
}

static void within_slack_it_is_left_alone_and_nothing_is_written(void **state)
{
    struct bed *b = bed_new();
    struct mp_effect e = after("silent", 1000 * MP_SECOND);

    (void)state;
    set(b, e);
    db_kit_commit(&b->db);
    e.slack_us = 60 * MP_SECOND;
    e.after_us += 30 * MP_SECOND;
    e.data = MP_S("new");
    assert_false(set(b, e));
    assert_true(mp_list_empty(&b->s.dirty));
    e.after_us += 60 * MP_SECOND;
    assert_true(set(b, e));
    e.after_us -= 59 * MP_SECOND; /* earlier is within slack, too */
    assert_false(set(b, e));
    bed_free(b);
}

static void
without_slack_new_data_counts_and_the_same_is_no_change(void **state)
{
    struct bed *b = bed_new();
    struct mp_effect e = at("x", mp_wall_us() + 3600 * MP_SECOND);

    (void)state;
    e.data = MP_S("a");
    assert_true(set(b, e));
    assert_false(set(b, e));
    e.data = MP_S("b");
    assert_true(set(b, e));
    assert_int_equal(b->s.n, 1);
    bed_free(b);
}

static void cancelled_it_does_not_fire_and_its_row_goes(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    restart(b); /* none fires while the disk is slow */
    set(b, after("hold", 0));
    set(b, after("other", 10 * MP_MS));
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 2);
    assert_true(cancel(b, "hold"));
    assert_false(cancel(b, "hold"));
    mp_alarms_go(&b->s);
    fire(b, 1);
    assert_string_equal(fired(b, 0), "other");
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 1);
    bed_free(b);
}

static void set_and_cancelled_in_one_transaction_it_leaves_nothing(void **state)
{
    struct bed *b = bed_new();
    struct mp_batch batch;

    (void)state;
    mp_batch_init(&batch);
    assert_true(set(b, after("hold", MP_SECOND)));
    assert_false(cancel(b, "hold"));
    mp_alarms_seal(&b->s, &batch);
    assert_int_equal(batch.n, 0);
    assert_int_equal(b->a->bytes, 0);
    mp_batch_fini(&batch);
    bed_free(b);
}

static void moved_a_hundred_times_it_is_written_once(void **state)
{
    struct bed *b = bed_new();
    struct mp_batch batch;

    (void)state;
    mp_batch_init(&batch);
    for (int i = 0; i < 100; i++)
        set(b, after("hold", i * MP_SECOND));
    mp_alarms_seal(&b->s, &batch);
    assert_int_equal(batch.n, 1);
    mp_batch_fini(&batch);
    bed_free(b);
}

static void cancelled_and_set_anew_its_row_is_the_new_one(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    set(b, after("hold", 3600 * MP_SECOND));
    db_kit_commit(&b->db);
    cancel(b, "hold");
    set(b, after("hold", 0));
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 1);
    restart(b);
    mp_alarms_go(&b->s);
    fire(b, 1);
    bed_free(b);
}

/* ---- dealt with ---- */

static void fired_it_stays_until_it_was_dealt_with(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    set(b, after("hold", 0));
    db_kit_commit(&b->db);
    fire(b, 1);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 1);
    assert_true(mp_alarms_done(&b->s, b->last, b->serial));
    assert_false(mp_alarms_done(&b->s, b->last, b->serial));
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 0);
    assert_int_equal(b->s.n, 0);
    assert_int_equal(b->a->bytes, 0);
    bed_free(b);
}

static void dealt_with_before_the_seal_it_leaves_no_row(void **state)
{
    struct bed *b = bed_new();
    struct mp_batch batch;

    (void)state;
    db_kit_seal(&b->db, NULL, NULL);
    set(b, after("hold", 0));
    fire(b, 1);
    assert_false(mp_alarms_done(&b->s, b->last, b->serial));
    mp_batch_init(&batch);
    mp_alarms_seal(&b->s, &batch);
    assert_int_equal(batch.n, 0);
    mp_batch_fini(&batch);
    bed_free(b);
}

static void put_back_it_fires_again(void **state)
{
    struct bed *b = bed_new();
    struct mp_alarm *first;
    uint32_t serial;

    (void)state;
    set(b, after("hold", 0));
    set(b, at("noon", mp_wall_us() + 20 * MP_MS));
    db_kit_commit(&b->db);
    fire(b, 1);
    first = b->last;
    serial = b->serial;
    mp_alarms_put_back(&b->s, first, serial);
    assert_false(first->fired);
    /* Who had its event is late with what became of it. */
    assert_false(mp_alarms_done(&b->s, first, serial));
    mp_alarms_put_back(&b->s, first, serial);
    fire(b, 3);
    mp_alarms_put_back(&b->s, b->last, b->serial);
    fire(b, 4);
    assert_int_equal(b->s.n, 2);
    db_kit_commit(&b->db);
    assert_int_equal(rows(b), 2);
    assert_true(mp_alarms_done(&b->s, b->last, b->serial));
    bed_free(b);
}

static void put_back_it_waits_for_who_takes_it(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    set(b, after("hold", 0));
    fire(b, 1);
    b->room = 0; /* its function was removed */
    mp_alarms_put_back(&b->s, b->last, b->serial);
    b->asked = 0;
    b->wanted = 1;
    db_kit_until(&b->db, was_asked, b);
    assert_int_equal(b->n_fired, 1);
    b->room = 1; /* and came back */
    mp_alarms_kick(&b->s);
    fire(b, 2);
    assert_string_equal(fired(b, 1), "hold");
    bed_free(b);
}

static void moved_before_it_is_put_back_it_stays_moved(void **state)
{
    struct bed *b = bed_new();
    struct mp_alarm *first;
    uint32_t serial;

    (void)state;
    set(b, after("hold", 0));
    fire(b, 1);
    first = b->last;
    serial = b->serial;
    set(b, after("hold", 3600 * MP_SECOND));
    mp_alarms_put_back(&b->s, first, serial);
    assert_true(first->at_us > now_us(b) + 3000 * MP_SECOND);
    cancel(b, "hold");
    mp_alarms_put_back(&b->s, first, serial);
    assert_int_equal(b->s.n, 0);
    bed_free(b);
}

static void set_anew_by_its_own_event_it_fires_again(void **state)
{
    struct bed *b = bed_new();
    struct mp_effect e = after("tick", 0);
    struct mp_alarm *first;
    uint32_t serial;

    (void)state;
    set(b, e);
    fire(b, 1);
    first = b->last;
    serial = b->serial;
    e.slack_us = 3600 * MP_SECOND; /* a fired one is not due within slack */
    assert_true(set(b, e));
    assert_false(mp_alarm_is(first, serial));
    assert_false(mp_alarms_done(&b->s, first, serial));
    fire(b, 2);
    assert_ptr_equal(b->last, first);
    assert_true(mp_alarm_is(b->last, b->serial));
    bed_free(b);
}

static void
cancelled_while_its_event_is_on_its_way_it_is_not_wanted(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    set(b, after("hold", 0));
    fire(b, 1);
    cancel(b, "hold");
    assert_false(mp_alarm_is(b->last, b->serial));
    assert_false(mp_alarms_done(&b->s, b->last, b->serial));
    set(b, after("hold", 0)); /* another one of that name */
    assert_false(mp_alarm_is(b->last, b->serial));
    bed_free(b);
}

static void
who_has_no_room_is_asked_again_and_keeps_nobody_waiting(void **state)
{
    struct bed *b = bed_new();
    struct mp_effect e = after("other", 5 * MP_MS);
    int64_t then;

    (void)state;
    b->room = 0;
    set(b, after("one", 0));
    set(b, after("two", 0));
    mp_alarms_set(&b->s, b->b, MP_S(""), &e, NULL, 0);
    fire(b, 1);
    assert_string_equal(fired(b, 0), "other");
    /* Once a turn and not once an alarm. */
    assert_true(b->asked <= 1 + 8);
    b->room = 2;
    then = mp_now_us();
    mp_alarms_kick(&b->s);
    fire(b, 3);
    assert_true(mp_now_us() - then < 900 * MP_MS);
    assert_string_equal(fired(b, 1), "one");
    assert_string_equal(fired(b, 2), "two");
    b->room = 0;
    set(b, after("three", 0));
    b->room = 1; /* and nobody says so */
    fire(b, 4);
    bed_free(b);
}

static void one_that_waits_for_room_can_be_moved_and_cancelled(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    b->room = 0;
    set(b, after("moved", 0));
    set(b, after("gone", 0));
    set(b, after("stays", 0));
    for (b->asked = 0; b->asked == 0;) {
        b->wanted = 0;
        uv_run(&b->db.loop, UV_RUN_ONCE);
    }
    set(b, after("moved", 20 * MP_MS));
    cancel(b, "gone");
    b->room = 5;
    mp_alarms_kick(&b->s);
    fire(b, 2);
    assert_string_equal(fired(b, 0), "stays");
    assert_string_equal(fired(b, 1), "moved");
    bed_free(b);
}

/* ---- clocks ---- */

static void at_waits_for_a_trusted_clock(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    b->clock_ok = false;
    set(b, at("noon", mp_wall_us() - MP_SECOND));
    set(b, after("hold", 10 * MP_MS));
    fire(b, 1);
    assert_string_equal(fired(b, 0), "hold");
    b->clock_ok = true; /* looked at each second, or when kicked */
    mp_alarms_kick(&b->s);
    fire(b, 2);
    assert_string_equal(fired(b, 1), "noon");
    bed_free(b);
}

static void at_fires_at_its_time_of_day(void **state)
{
    struct bed *b = bed_new();
    int64_t due = mp_wall_us() + 30 * MP_MS;

    (void)state;
    set(b, at("noon", due));
    fire(b, 1);
    assert_true(mp_wall_us() >= due);
    assert_true(mp_wall_us() < due + 900 * MP_MS);
    bed_free(b);
}

static void a_time_past_all_bounds_is_never(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    set(b, at("x", INT64_MAX));
    set(b, at("past", INT64_MIN));
    set(b, after("y", INT64_MAX));
    set(b, after("x", INT64_MAX));
    set(b, at("x", INT64_MIN));
    fire(b, 2);
    bed_free(b);
}

/* ---- restart ---- */

static void after_a_restart_they_are_what_they_were(void **state)
{
    struct mp_pair param = {MP_S("device"), MP_S("d1")};
    struct bed *b = bed_new();
    struct mp_effect e = after("full", 20 * MP_MS);
    uint64_t bytes;

    (void)state;
    e.data = mp_slice("\0x", 2);
    mp_alarms_set(&b->s, b->a, MP_S("k"), &e, &param, 1);
    set(b, after("far", 3600 * MP_SECOND));
    set(b, at("noon", mp_wall_us() + 3600 * MP_SECOND));
    db_kit_commit(&b->db);
    bytes = b->a->bytes;
    restart(b);
    assert_int_equal(b->s.n, 3);
    assert_int_equal(b->a->bytes, bytes);
    assert_int_equal(b->s.by_wall.n, 1);
    for (int i = 0; i < 20; i++)
        db_kit_turn(&b->db);
    assert_int_equal(b->n_fired, 0); /* not before go */
    mp_alarms_go(&b->s);
    fire(b, 1);
    assert_string_equal(fired(b, 0), "full");
    assert_ptr_equal(b->last->fn, b->a);
    assert_true(mp_slice_is(b->last->key, "k"));
    assert_true(mp_slice_eq(b->last->data, mp_slice("\0x", 2)));
    assert_int_equal(b->last->n_params, 1);
    assert_true(mp_slice_is(b->last->params[0].name, "device"));
    assert_true(mp_slice_is(b->last->params[0].value, "d1"));
    assert_true(b->last->stored);
    bed_free(b);
}

static void one_that_fired_and_was_not_dealt_with_fires_again(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    set(b, after("hold", 0));
    db_kit_commit(&b->db);
    fire(b, 1);
    restart(b);
    mp_alarms_go(&b->s);
    fire(b, 1);
    bed_free(b);
}

static void after_a_reset_it_is_what_the_database_has(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    set(b, after("kept", 3600 * MP_SECOND));
    set(b, after("fired", 0));
    db_kit_commit(&b->db);
    fire(b, 1);
    set(b, after("lost", 3600 * MP_SECOND));
    cancel(b, "kept");
    mp_alarms_reset(&b->s);
    assert_int_equal(b->s.n, 0);
    assert_int_equal(b->a->bytes, 0);
    assert_false(mp_alarm_is(b->last, b->serial));
    db_kit_load(&b->db, on_load, b);
    assert_int_equal(b->s.n, 2);
    mp_alarms_go(&b->s);
    fire(b, 2);
    bed_free(b);
}

/* ---- bounds ---- */

static int64_t cost(struct bed *b, struct mp_effect e)
{
    return mp_alarms_cost(&b->s, b->a, MP_S("k"), &e, NULL, 0);
}

static void what_it_costs_is_what_its_quota_pays(void **state)
{
    struct bed *b = bed_new();
    struct mp_effect e = after("hold", 3600 * MP_SECOND);

    (void)state;
    e.data = MP_S("12345");
    assert_int_equal(cost(b, e), MP_ALARM_COST + 1 + 4 + 5);
    set(b, e);
    assert_int_equal(b->a->bytes, MP_ALARM_COST + 10);
    e.data = MP_S("123");
    assert_int_equal(cost(b, e), -2);
    e.slack_us = MP_SECOND;
    assert_int_equal(cost(b, e), 0); /* left alone */
    e.slack_us = 0;
    set(b, e);
    assert_int_equal(b->a->bytes, MP_ALARM_COST + 8);
    e.cancel = true;
    assert_int_equal(cost(b, e), -MP_ALARM_COST - 8);
    set(b, e);
    assert_int_equal(b->a->bytes, 0);
    assert_int_equal(cost(b, e), 0);
    bed_free(b);
}

static void on_turn(uv_prepare_t *turn)
{
    mp_of(turn, struct bed, turn)->this_turn = 0;
}

static void ten_thousand_at_once_leave_the_loop_its_turns(void **state)
{
    struct bed *b = bed_new();
    int64_t t0 = mp_now_us(), t1, t2, t3;
    char name[16];

    (void)state;
    b->deal_at_once = true;
    uv_prepare_init(&b->db.loop, &b->turn);
    uv_prepare_start(&b->turn, on_turn);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "n%d", i);
        set(b, after(name, 3600 * MP_SECOND - i));
    }
    t1 = mp_now_us();
    db_kit_commit(&b->db);
    t2 = mp_now_us();
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "n%d", i);
        set(b, after(name, 0));
    }
    db_kit_commit(&b->db);
    fire(b, MANY);
    t3 = mp_now_us();
    db_kit_commit(&b->db);
    print_message("10,000 alarms: set %.1f ms, committed %.1f ms, moved, "
                  "fired and dealt with %.1f ms\n",
                  (double)(t1 - t0) / 1e3, (double)(t2 - t1) / 1e3,
                  (double)(t3 - t2) / 1e3);
    /* UV_RUN_ONCE looks at timers before it waits, and after. */
    assert_in_range(b->most_a_turn, 1, 2 * 256);
    uv_close((uv_handle_t *)&b->turn, NULL);
    assert_int_equal(b->s.n, 0);
    assert_int_equal(rows(b), 0);
    bed_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_alarm_fires_when_it_is_due),
        cmocka_unit_test(they_fire_in_the_order_in_which_they_are_due),
        cmocka_unit_test(set_again_it_moves),
        cmocka_unit_test(functions_and_keys_have_alarms_of_their_own),
        cmocka_unit_test(within_slack_it_is_left_alone_and_nothing_is_written),
        cmocka_unit_test(
            without_slack_new_data_counts_and_the_same_is_no_change),
        cmocka_unit_test(cancelled_it_does_not_fire_and_its_row_goes),
        cmocka_unit_test(
            set_and_cancelled_in_one_transaction_it_leaves_nothing),
        cmocka_unit_test(moved_a_hundred_times_it_is_written_once),
        cmocka_unit_test(cancelled_and_set_anew_its_row_is_the_new_one),
        cmocka_unit_test(fired_it_stays_until_it_was_dealt_with),
        cmocka_unit_test(dealt_with_before_the_seal_it_leaves_no_row),
        cmocka_unit_test(put_back_it_fires_again),
        cmocka_unit_test(put_back_it_waits_for_who_takes_it),
        cmocka_unit_test(moved_before_it_is_put_back_it_stays_moved),
        cmocka_unit_test(set_anew_by_its_own_event_it_fires_again),
        cmocka_unit_test(
            cancelled_while_its_event_is_on_its_way_it_is_not_wanted),
        cmocka_unit_test(
            who_has_no_room_is_asked_again_and_keeps_nobody_waiting),
        cmocka_unit_test(one_that_waits_for_room_can_be_moved_and_cancelled),
        cmocka_unit_test(at_waits_for_a_trusted_clock),
        cmocka_unit_test(at_fires_at_its_time_of_day),
        cmocka_unit_test(a_time_past_all_bounds_is_never),
        cmocka_unit_test(after_a_restart_they_are_what_they_were),
        cmocka_unit_test(one_that_fired_and_was_not_dealt_with_fires_again),
        cmocka_unit_test(after_a_reset_it_is_what_the_database_has),
        cmocka_unit_test(what_it_costs_is_what_its_quota_pays),
        cmocka_unit_test(ten_thousand_at_once_leave_the_loop_its_turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
