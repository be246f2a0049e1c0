/*
 * test_seen.c - ids that were applied, over restarts and time, in a real
 * database.
 */
#include "tests/unit/durable_kit.h"

#define FN MP_S("fn")
#define TR MP_S("tr")
#define HOUR (3600 * MP_SECOND)

static bool has(struct durable *d, const char *id)
{
    uint64_t ticket;

    return mp_seen_has(&d->seen, FN, TR, mp_slice_str(id), &ticket);
}

static uint64_t add(struct durable *d, const char *id, int64_t for_us)
{
    return mp_seen_add(&d->seen, FN, TR, mp_slice_str(id), for_us);
}

static unsigned rows(struct durable *d)
{
    return durable_rows(d, MP_SQL_SEEN_ALL);
}

/* Let time pass. */
static void pass(struct durable *d, int64_t us)
{
    d->timeline.base_us += us;
}

static void an_id_is_seen_from_its_adding_on_and_over_restarts(void **state)
{
    struct durable *d = durable_open();
    uint64_t ticket, other;

    (void)state;
    assert_false(has(d, "x"));
    ticket = add(d, "x", HOUR);
    assert_true(mp_seen_has(&d->seen, FN, TR, MP_S("x"), &other));
    assert_true(other == ticket && ticket != 0);
    assert_false(mp_seen_has(&d->seen, MP_S("f2"), TR, MP_S("x"), &other));
    assert_false(mp_seen_has(&d->seen, FN, MP_S("t2"), MP_S("x"), &other));
    assert_false(has(d, "y"));
    durable_settle(d);
    assert_true(mp_seen_has(&d->seen, FN, TR, MP_S("x"), &other));
    assert_true(other == 0);
    durable_restart(d);
    assert_true(mp_seen_has(&d->seen, FN, TR, MP_S("x"), &other));
    assert_true(other == 0);
    assert_false(has(d, "y"));
    durable_close(d);
}

static void an_id_counts_for_its_time_and_its_row_goes_then(void **state)
{
    struct durable *d = durable_open();

    (void)state;
    add(d, "short", HOUR);
    add(d, "long", 3 * HOUR);
    assert_true(add(d, "short", HOUR) == add(d, "short", HOUR));
    durable_settle(d);
    assert_int_equal(rows(d), 2); /* one a duration */
    pass(d, 2 * HOUR);
    assert_false(has(d, "short"));
    assert_true(has(d, "long"));
    mp_seen_tick(&d->seen);
    assert_int_equal(d->seen.n_ids, 1);
    durable_restart(d);
    assert_int_equal(rows(d), 1);
    assert_false(has(d, "short"));
    assert_true(has(d, "long"));
    durable_close(d);
}

static void a_short_one_behind_a_long_one_goes_in_its_time(void **state)
{
    struct durable *d = durable_open();

    (void)state;
    add(d, "long", 3 * HOUR);
    durable_settle(d);
    add(d, "short", HOUR);
    durable_settle(d);
    pass(d, 2 * HOUR);
    mp_seen_tick(&d->seen);
    assert_int_equal(d->seen.n_ids, 1);
    assert_true(has(d, "long"));
    pass(d, 2 * HOUR);
    mp_seen_tick(&d->seen);
    assert_int_equal(d->seen.n_ids, 0);
    durable_restart(d);
    assert_int_equal(rows(d), 0);
    durable_close(d);
}

static void an_id_that_is_over_may_be_added_again(void **state)
{
    struct durable *d = durable_open();

    (void)state;
    add(d, "x", HOUR);
    durable_settle(d);
    pass(d, 2 * HOUR);
    add(d, "x", HOUR);
    assert_true(has(d, "x"));
    durable_settle(d);
    mp_seen_tick(&d->seen); /* the old row goes, not the id */
    assert_true(has(d, "x"));
    durable_restart(d);
    assert_int_equal(rows(d), 1);
    assert_true(has(d, "x"));
    durable_close(d);
}

static void name(char text[24], unsigned i)
{
    snprintf(text, 24, "id-%u", i);
}

static void thousands_come_and_go(void **state)
{
    enum { N = 20000, EACH = 10 };
    struct durable *d = durable_open();
    char text[24];

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        name(text, i);
        add(d, text, HOUR);
        if (i % EACH == 0)
            pass(d, HOUR / (N / EACH / 2)); /* half of them are over */
        if (i % 100 == 0) {
            durable_settle(d);
            mp_seen_tick(&d->seen);
        }
    }
    durable_settle(d);
    mp_seen_tick(&d->seen);
    assert_in_range(d->seen.n_ids, N / 2 - 200, N / 2 + 200);
    assert_true(d->seen.used < N / 2 + 500); /* places are used again */
    for (unsigned i = N / 2 + 200; i < N; i++) {
        name(text, i);
        assert_true(has(d, text));
    }
    for (unsigned i = 0; i < N / 2 - 200; i++) {
        name(text, i);
        assert_false(has(d, text));
    }
    durable_restart(d);
    assert_in_range(d->seen.n_ids, N / 2 - 200, N / 2 + 200);
    durable_close(d);
}

static void at_the_bound_the_oldest_go(void **state)
{
    struct durable *d = durable_open();
    char text[24];

    (void)state;
    for (unsigned i = 0; i < MP_SEEN_MAX; i++) {
        name(text, i);
        add(d, text, HOUR + (i < 3)); /* three in a row of their own */
    }
    durable_settle(d);
    assert_int_equal(d->seen.n_ids, MP_SEEN_MAX);
    assert_true(has(d, "id-0"));
    add(d, "one more", HOUR);
    assert_true(has(d, "one more"));
    assert_false(has(d, "id-0"));
    assert_false(has(d, "id-2"));
    assert_true(has(d, "id-3"));
    assert_int_equal(d->seen.n_ids, MP_SEEN_MAX - 2);
    durable_settle(d);
    assert_int_equal(rows(d), 2);
    durable_close(d);
}

static void put_row(struct durable *d, int64_t id, size_t len)
{
    struct mp_batch *b = mp_commit_batch(&d->commit);

    mp_batch_op(b, MP_SQL_SEEN_PUT);
    mp_batch_int(b, id);
    mp_batch_int(b, mp_timeline_at(&d->timeline, mp_now_us()) + HOUR);
    mp_batch_blob(b, mp_slice("1234567890123456", len));
}

static void a_malformed_row_is_left_out_and_goes_in_its_time(void **state)
{
    struct durable *d = durable_open();

    (void)state;
    add(d, "x", 3 * HOUR);
    put_row(d, -1, 0);
    put_row(d, 5, 15);
    durable_restart(d);
    assert_int_equal(d->seen.malformed, 2);
    assert_true(d->seen.first_malformed == -1);
    assert_true(has(d, "x"));
    mp_seen_tick(&d->seen);
    assert_int_equal(d->seen.malformed, 0); /* said */
    add(d, "y", 3 * HOUR);                  /* beside them */
    durable_settle(d);
    assert_int_equal(rows(d), 4);
    pass(d, 2 * HOUR);
    mp_seen_tick(&d->seen);
    durable_restart(d);
    assert_int_equal(d->seen.malformed, 0);
    assert_int_equal(rows(d), 2);
    assert_true(has(d, "x"));
    assert_true(has(d, "y"));
    durable_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_seen_from_its_adding_on_and_over_restarts),
        cmocka_unit_test(an_id_counts_for_its_time_and_its_row_goes_then),
        cmocka_unit_test(a_short_one_behind_a_long_one_goes_in_its_time),
        cmocka_unit_test(an_id_that_is_over_may_be_added_again),
        cmocka_unit_test(thousands_come_and_go),
        cmocka_unit_test(at_the_bound_the_oldest_go),
        cmocka_unit_test(a_malformed_row_is_left_out_and_goes_in_its_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
