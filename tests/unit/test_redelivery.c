/*
 * test_redelivery.c - what is told apart when messages come again, with the
 * records of an earlier run and without.
 */
#include "core/redelivery.h"
#include "tests/unit/durable_kit.h"

enum { A = 1001, B = 1002, C = 1003 };

static struct durable *d;

static int setup(void **state)
{
    (void)state;
    d = durable_open();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    durable_close(d);
    return 0;
}

static struct mp_redelivery begin(void)
{
    struct mp_redelivery r;

    mp_redelivery_init(&r, &d->records, "lane");
    return r;
}

static void end(struct mp_redelivery *r)
{
    mp_redelivery_fini(r);
}

/* As another run of the program would find it. */
static struct mp_redelivery restarted(struct mp_redelivery *r)
{
    mp_redelivery_fini(r);
    durable_restart(d);
    mp_redelivery_load(r);
    return *r;
}

static void what_is_in_work_when_the_connection_goes_runs_once(void **state)
{
    struct mp_redelivery r = begin();
    uint64_t first, again;

    (void)state;
    assert_int_equal(mp_redelivery_take(&r, 7, 99, false, &first), MP_AGAIN_NO);
    mp_redelivery_lost(&r);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, true, &again),
                     MP_AGAIN_IN_WORK);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, true, &again),
                     MP_AGAIN_HELD);
    assert_true(mp_redelivery_settle(&r, first)); /* holds the lane now */
    assert_false(mp_redelivery_settle(&r, first));
    end(&r);
}

static void what_was_settled_is_only_acknowledged_again(void **state)
{
    struct mp_redelivery r = begin();
    uint64_t ticket;

    (void)state;
    mp_redelivery_take(&r, 7, 99, false, &ticket);
    assert_true(mp_redelivery_settle(&r, ticket));
    mp_redelivery_flushed(&r);
    mp_redelivery_lost(&r);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, true, &ticket),
                     MP_AGAIN_SETTLED);
    end(&r);
}

static void without_dup_or_with_other_bytes_it_is_a_new_message(void **state)
{
    struct mp_redelivery r = begin();
    uint64_t old, ticket;

    (void)state;
    mp_redelivery_take(&r, 7, 99, false, &old);
    mp_redelivery_take(&r, 8, 55, false, &ticket);
    mp_redelivery_lost(&r);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, false, &ticket),
                     MP_AGAIN_NO);
    assert_int_equal(mp_redelivery_take(&r, 8, 56, true, &ticket), MP_AGAIN_NO);
    /* The old input settles for nobody. */
    assert_false(mp_redelivery_settle(&r, old));
    assert_true(mp_redelivery_settle(&r, ticket));
    end(&r);
}

static void an_id_reused_while_in_work_is_a_fault_of_the_broker(void **state)
{
    struct mp_redelivery r = begin();
    uint64_t ticket;

    (void)state;
    mp_redelivery_take(&r, 7, 99, false, &ticket);
    assert_int_equal(mp_redelivery_take(&r, 7, 98, false, &ticket),
                     MP_AGAIN_CLASH);
    end(&r);
}

static void a_flushed_id_may_be_reused_at_once(void **state)
{
    struct mp_redelivery r = begin();
    uint64_t ticket;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(mp_redelivery_take(&r, 1, 99, false, &ticket),
                         MP_AGAIN_NO);
        assert_true(mp_redelivery_settle(&r, ticket));
        mp_redelivery_flushed(&r);
    }
    assert_int_equal(r.used, 1);
    end(&r);
}

static void proof_forgets_what_was_flushed_and_nothing_else(void **state)
{
    struct mp_redelivery r = begin();
    uint64_t tickets[600], ticket;
    uint32_t flush;

    (void)state;
    for (uint16_t i = 0; i < 600; i++)
        mp_redelivery_take(&r, (uint16_t)(i + 1), i, false, &tickets[i]);
    for (uint16_t i = 0; i < 500; i++)
        assert_true(mp_redelivery_settle(&r, tickets[i]));
    flush = mp_redelivery_flushed(&r);
    for (uint16_t i = 500; i < 550; i++)
        assert_true(mp_redelivery_settle(&r, tickets[i]));
    mp_redelivery_proven(&r, flush, false);
    assert_int_equal(r.used, 100);
    assert_int_equal(r.settled, 50);
    mp_redelivery_lost(&r);
    assert_int_equal(r.carried, 100);
    assert_int_equal(mp_redelivery_take(&r, 1, 0, true, &ticket), MP_AGAIN_NO);
    assert_int_equal(mp_redelivery_take(&r, 520, 519, true, &ticket),
                     MP_AGAIN_SETTLED);
    assert_int_equal(mp_redelivery_take(&r, 590, 589, true, &ticket),
                     MP_AGAIN_IN_WORK);
    mp_redelivery_proven(&r, 0, true);
    assert_int_equal(r.carried, 0);
    assert_int_equal(r.used, 3);
    end(&r);
}

static void all_65535_ids_fit(void **state)
{
    struct mp_redelivery r = begin();
    uint64_t ticket;

    (void)state;
    for (uint32_t i = 1; i <= UINT16_MAX; i++)
        assert_int_equal(mp_redelivery_take(&r, (uint16_t)i, i, false, &ticket),
                         MP_AGAIN_NO);
    mp_redelivery_lost(&r);
    for (uint32_t i = 1; i <= UINT16_MAX; i++)
        assert_int_equal(mp_redelivery_take(&r, (uint16_t)i, i, true, &ticket),
                         MP_AGAIN_IN_WORK);
    mp_redelivery_clear(&r);
    assert_int_equal(r.used, 0);
    end(&r);
}

/* ---- with records ---- */

static void after_a_restart_only_the_rest_is_to_be_done(void **state)
{
    struct mp_redelivery r = begin();
    const uint64_t *done;
    uint64_t t7, t8, again;

    (void)state;
    mp_redelivery_take(&r, 7, 99, false, &t7);
    mp_redelivery_take(&r, 8, 99, false, &t8);
    mp_redelivery_note(&r, t7, A);
    mp_redelivery_note(&r, t7, A); /* once is enough */
    mp_redelivery_note(&r, t7, B);
    r = restarted(&r);
    assert_int_equal(r.carried, 1);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, true, &again),
                     MP_AGAIN_PARTLY);
    assert_int_equal(mp_redelivery_done(&r, again, &done), 2);
    assert_true(done[0] + done[1] == A + B && done[0] != done[1]);
    assert_int_equal(mp_redelivery_take(&r, 8, 99, true, &again), MP_AGAIN_NO);
    assert_int_equal(mp_redelivery_done(&r, again, &done), 0);
    end(&r);
}

static void what_is_done_in_part_is_in_work_once(void **state)
{
    struct mp_redelivery r = begin();
    uint64_t ticket, again;

    (void)state;
    mp_redelivery_take(&r, 7, 99, false, &ticket);
    mp_redelivery_note(&r, ticket, A);
    r = restarted(&r);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, true, &ticket),
                     MP_AGAIN_PARTLY);
    mp_redelivery_lost(&r);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, true, &again),
                     MP_AGAIN_IN_WORK);
    assert_true(mp_redelivery_settle(&r, ticket));
    mp_redelivery_lost(&r);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, true, &again),
                     MP_AGAIN_SETTLED);
    end(&r);
}

static void a_record_without_dup_or_with_another_hash_is_let_go(void **state)
{
    struct mp_redelivery r = begin();
    uint64_t ticket;

    (void)state;
    for (uint16_t id = 7; id < 9; id++) {
        mp_redelivery_take(&r, id, 99, false, &ticket);
        mp_redelivery_note(&r, ticket, A);
    }
    r = restarted(&r);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, false, &ticket),
                     MP_AGAIN_NO);
    assert_int_equal(mp_redelivery_take(&r, 8, 98, true, &ticket), MP_AGAIN_NO);
    assert_int_equal(r.carried, 0);
    r = restarted(&r);
    assert_int_equal(r.used, 0);
    end(&r);
}

static void proof_lets_records_go(void **state)
{
    struct mp_redelivery r = begin();
    uint64_t t7, t8;

    (void)state;
    mp_redelivery_take(&r, 7, 99, false, &t7);
    mp_redelivery_take(&r, 8, 99, false, &t8);
    mp_redelivery_note(&r, t7, A);
    durable_settle(d);
    mp_redelivery_note(&r, t8, A);
    durable_settle(d);
    assert_true(mp_redelivery_settle(&r, t7));
    mp_redelivery_proven(&r, mp_redelivery_flushed(&r), false);
    r = restarted(&r);
    assert_int_equal(r.carried, 1); /* 8 was not settled */
    assert_int_equal(mp_redelivery_take(&r, 8, 99, true, &t8), MP_AGAIN_PARTLY);
    mp_redelivery_lost(&r);
    mp_redelivery_proven(&r, 0, true); /* and will not come again */
    r = restarted(&r);
    assert_int_equal(r.used, 0);
    end(&r);
}

static void a_note_may_come_when_the_connection_is_gone(void **state)
{
    struct mp_redelivery r = begin();
    const uint64_t *done;
    uint64_t ticket, other;

    (void)state;
    mp_redelivery_take(&r, 7, 99, false, &ticket);
    mp_redelivery_lost(&r);
    mp_redelivery_note(&r, ticket, A);
    r = restarted(&r);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, true, &other),
                     MP_AGAIN_PARTLY);
    assert_int_equal(mp_redelivery_done(&r, other, &done), 1);
    /* Its id was used again meanwhile: there is nothing to note. */
    mp_redelivery_lost(&r);
    mp_redelivery_take(&r, 7, 98, false, &ticket);
    mp_redelivery_note(&r, other, B);
    assert_int_equal(mp_redelivery_done(&r, ticket, &done), 0);
    end(&r);
}

static void what_the_host_lost_comes_again_as_new(void **state)
{
    struct mp_redelivery r = begin();
    const uint64_t *done;
    uint64_t tickets[300], ticket;

    (void)state;
    for (uint16_t i = 0; i < 300; i++)
        mp_redelivery_take(&r, (uint16_t)(i + 1), i, false, &tickets[i]);
    mp_redelivery_note(&r, tickets[2], A);
    for (uint16_t i = 0; i < 300; i += 2) {
        assert_true(mp_redelivery_lose(&r, tickets[i]));
        assert_false(mp_redelivery_lose(&r, tickets[i]));
        assert_false(mp_redelivery_settle(&r, tickets[i]));
    }
    mp_redelivery_lost(&r);
    assert_int_equal(r.used, 151);
    assert_int_equal(r.carried, 151);
    for (uint16_t i = 0; i < 300; i++)
        assert_int_equal(
            mp_redelivery_take(&r, (uint16_t)(i + 1), i, true, &ticket),
            i % 2    ? MP_AGAIN_IN_WORK
            : i == 2 ? MP_AGAIN_PARTLY
                     : MP_AGAIN_NO);
    mp_redelivery_lost(&r);
    /* One that was carried holds no lane. */
    assert_false(mp_redelivery_lose(&r, tickets[1]));
    assert_int_equal(mp_redelivery_take(&r, 2, 1, true, &ticket), MP_AGAIN_NO);
    assert_int_equal(mp_redelivery_done(&r, ticket, &done), 0);
    end(&r);
}

static void of_two_records_of_an_id_the_later_counts(void **state)
{
    struct mp_redelivery r = begin();
    const uint64_t *done;
    uint64_t ticket;

    (void)state;
    mp_records_add(&d->records, "lane", 7, 98, A);
    mp_records_add(&d->records, "lane", 7, 99, B);
    mp_records_add(&d->records, "lane", 7, 99, B);
    mp_records_add(&d->records, "other", 7, 99, C);
    r = restarted(&r);
    assert_int_equal(r.used, 1);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, true, &ticket),
                     MP_AGAIN_PARTLY);
    assert_int_equal(mp_redelivery_done(&r, ticket, &done), 1);
    assert_true(done[0] == B);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            what_is_in_work_when_the_connection_goes_runs_once, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            what_was_settled_is_only_acknowledged_again, setup, teardown),
        cmocka_unit_test_setup_teardown(
            without_dup_or_with_other_bytes_it_is_a_new_message, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            an_id_reused_while_in_work_is_a_fault_of_the_broker, setup,
            teardown),
        cmocka_unit_test_setup_teardown(a_flushed_id_may_be_reused_at_once,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            proof_forgets_what_was_flushed_and_nothing_else, setup, teardown),
        cmocka_unit_test_setup_teardown(all_65535_ids_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(
            after_a_restart_only_the_rest_is_to_be_done, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_done_in_part_is_in_work_once,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_record_without_dup_or_with_another_hash_is_let_go, setup,
            teardown),
        cmocka_unit_test_setup_teardown(proof_lets_records_go, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_note_may_come_when_the_connection_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_host_lost_comes_again_as_new,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            of_two_records_of_an_id_the_later_counts, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
