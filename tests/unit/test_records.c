/*
 * test_records.c - entries of a lane, over restarts, in a real database.
 */
#include "tests/unit/durable_kit.h"

struct entry {
    uint32_t id;
    uint64_t hash, function;
    int64_t row;
};

struct taken {
    struct entry e[24];
    unsigned n;
};

static void on_entry(void *arg, uint32_t id, uint64_t hash, uint64_t function,
                     int64_t row)
{
    struct taken *t = arg;

    assert_true(t->n < 16);
    t->e[t->n++] = (struct entry){id, hash, function, row};
}

static struct taken take(struct durable *d, const char *lane)
{
    struct taken t = {.n = 0};

    mp_records_take(&d->records, lane, on_entry, &t);
    return t;
}

static unsigned rows(struct durable *d)
{
    return durable_rows(d, MP_SQL_RECORDS_ALL);
}

static void entries_come_back_in_order_and_by_lane(void **state)
{
    struct durable *d = durable_open();
    struct taken t;

    (void)state;
    mp_records_add(&d->records, "a", 65535, UINT64_MAX, 1);
    mp_records_add(&d->records, "b", 1, 2, 3);
    mp_records_add(&d->records, "a", 258, 5, UINT64_MAX);
    durable_settle(d);
    mp_records_add(&d->records, "a", 3, 6, 1);
    durable_settle(d);
    assert_int_equal(rows(d), 3); /* one a transaction and lane */
    durable_restart(d);
    t = take(d, "a");
    assert_int_equal(t.n, 3);
    assert_int_equal(t.e[0].id, 65535);
    assert_true(t.e[0].hash == UINT64_MAX && t.e[0].function == 1);
    assert_int_equal(t.e[1].id, 258);
    assert_true(t.e[1].hash == 5 && t.e[1].function == UINT64_MAX);
    assert_int_equal(t.e[2].id, 3);
    assert_true(t.e[0].row == t.e[1].row && t.e[1].row < t.e[2].row);
    assert_int_equal(take(d, "a").n, 0); /* once */
    assert_int_equal(take(d, "b").n, 1);
    assert_int_equal(take(d, "c").n, 0);
    durable_close(d);
}

static void a_row_goes_with_its_last_entry(void **state)
{
    struct durable *d = durable_open();
    int64_t row = mp_records_add(&d->records, "a", 1, 1, 1);

    (void)state;
    assert_true(mp_records_add(&d->records, "a", 2, 2, 2) == row);
    durable_settle(d);
    mp_records_let_go(&d->records, row);
    durable_restart(d);
    assert_int_equal(take(d, "a").n, 2);
    mp_records_let_go(&d->records, row);
    mp_records_let_go(&d->records, row);
    mp_records_let_go(&d->records, row); /* of a row that is gone */
    assert_false(d->commit.wanted);      /* it can wait */
    durable_restart(d);
    assert_int_equal(rows(d), 0);
    durable_close(d);
}

static void what_goes_before_it_is_written_leaves_no_byte(void **state)
{
    struct durable *d = durable_open();
    int64_t row = mp_records_add(&d->records, "a", 1, 1, 1);

    (void)state;
    mp_records_let_go(&d->records, row);
    durable_settle(d);
    row = mp_records_add(&d->records, "a", 2, 1, 1);
    mp_records_clear(&d->records, "a");
    mp_records_let_go(&d->records, row);
    durable_settle(d);
    assert_int_equal(rows(d), 0);
    assert_int_equal(d->commit.batch[0].n + d->commit.batch[1].n, 0);
    durable_close(d);
}

static void clearing_a_lane_spares_others_and_what_comes_after(void **state)
{
    struct durable *d = durable_open();

    (void)state;
    mp_records_add(&d->records, "a", 1, 1, 1);
    mp_records_add(&d->records, "b", 2, 2, 2);
    durable_settle(d);
    mp_records_add(&d->records, "a", 3, 3, 3);
    mp_records_clear(&d->records, "a");
    mp_records_add(&d->records, "a", 4, 4, 4);
    durable_restart(d);
    assert_int_equal(take(d, "b").n, 1);
    assert_int_equal(take(d, "a").e[0].id, 4);
    assert_int_equal(rows(d), 2);
    durable_close(d);
}

static void many_rows_are_found_again_when_most_are_gone(void **state)
{
    enum { N = 500 };
    struct durable *d = durable_open();
    int64_t row[N];

    (void)state;
    for (int i = 0; i < N; i++) {
        char lane[24];

        snprintf(lane, sizeof lane, "lane-%d", i);
        row[i] = mp_records_add(&d->records, lane, 1, 1, 1);
        if (i >= 100) /* a window moves over them */
            mp_records_let_go(&d->records, row[i - 100]);
        if (i % 50 == 0)
            durable_settle(d);
    }
    durable_restart(d);
    assert_int_equal(rows(d), 100);
    assert_true(d->records.cap < N);
    for (int i = N - 1; i >= N - 100; i--)
        mp_records_let_go(&d->records, row[i]);
    durable_restart(d);
    assert_int_equal(rows(d), 0);
    assert_int_equal(d->records.next_id, 1);
    durable_close(d);
}

static void functions_are_told_apart_by_name(void **state)
{
    (void)state;
    assert_true(mp_record_function(MP_S("a")) != mp_record_function(MP_S("b")));
    /* It is on disk: a change would be a migration. */
    assert_true(mp_record_function(MP_S("overheat")) ==
                UINT64_C(0xd0903b8f1d70abb4));
}

static void put_row(struct durable *d, int64_t id, const char *bytes,
                    size_t len)
{
    struct mp_batch *b = mp_commit_batch(&d->commit);

    mp_batch_op(b, MP_SQL_RECORDS_PUT);
    mp_batch_int(b, id);
    mp_batch_text(b, MP_S("a"));
    mp_batch_blob(b, mp_slice(bytes, len));
}

static void a_malformed_row_is_left_out_and_stops_nobody(void **state)
{
    struct durable *d = durable_open();

    (void)state;
    mp_records_add(&d->records, "a", 1, 1, 1);
    put_row(d, -1, "12345678901234567890", 20); /* no id of ours */
    put_row(d, 5, "12345678901234567", 17);
    put_row(d, 6, "", 0);
    put_row(d, INT64_MAX, "12345678901234567890", 20);
    durable_restart(d);
    assert_int_equal(d->records.malformed, 4);
    assert_true(d->records.first_malformed == -1);
    assert_int_equal(take(d, "a").n, 1);
    assert_int_equal(d->records.malformed, 0); /* said */
    /* Its id is taken; it goes with the session. */
    assert_int_equal(mp_records_add(&d->records, "a", 2, 2, 2), 7);
    durable_settle(d);
    assert_int_equal(rows(d), 6);
    mp_records_clear(&d->records, "a");
    durable_settle(d);
    assert_int_equal(rows(d), 0);
    durable_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back_in_order_and_by_lane),
        cmocka_unit_test(a_row_goes_with_its_last_entry),
        cmocka_unit_test(what_goes_before_it_is_written_leaves_no_byte),
        cmocka_unit_test(clearing_a_lane_spares_others_and_what_comes_after),
        cmocka_unit_test(many_rows_are_found_again_when_most_are_gone),
        cmocka_unit_test(functions_are_told_apart_by_name),
        cmocka_unit_test(a_malformed_row_is_left_out_and_stops_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
