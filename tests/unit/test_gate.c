/*
 * test_gate.c - every path of the gate: bookkeeping without a socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/gate.h"

/* ---- the gate ---- */

static void dry_with_nothing_in_work_flushes_and_reads_on(void **state)
{
    struct mp_gate g;

    (void)state;
    mp_gate_init(&g, 4, 1000, false);
    assert_true(mp_gate_may_read(&g));
    assert_false(mp_gate_may_write(&g));
    mp_gate_took(&g, 0, 10);
    mp_gate_dry(&g, 1);
    assert_int_equal(g.state, MP_GATE_FLUSH);
    assert_true(mp_gate_may_write(&g));
    assert_false(mp_gate_may_read(&g));
    mp_gate_flushed(&g);
    assert_true(mp_gate_may_read(&g));
    assert_int_equal(g.messages, 0);
}

static void an_input_in_work_holds_until_it_is_settled(void **state)
{
    struct mp_gate g;

    (void)state;
    mp_gate_init(&g, 4, 1000, false);
    mp_gate_took(&g, 1, 10);
    mp_gate_took(&g, 1, 10);
    mp_gate_dry(&g, 100);
    assert_int_equal(g.state, MP_GATE_HELD);
    assert_false(mp_gate_may_read(&g));
    assert_false(mp_gate_may_write(&g));
    mp_gate_settled(&g, 110);
    assert_int_equal(g.state, MP_GATE_HELD);
    assert_false(mp_gate_may_write(&g));
    mp_gate_settled(&g, 130);
    assert_int_equal(g.state, MP_GATE_FLUSH);
    assert_int_equal(g.held_total_us, 30);
}

static void settled_while_reading_does_not_stop_reading(void **state)
{
    struct mp_gate g;

    (void)state;
    mp_gate_init(&g, 4, 1000, false);
    mp_gate_took(&g, 1, 10);
    mp_gate_settled(&g, 5);
    assert_int_equal(g.state, MP_GATE_READ);
    assert_true(mp_gate_may_read(&g));
    assert_false(mp_gate_may_write(&g));
    mp_gate_dry(&g, 6);
    assert_int_equal(g.state, MP_GATE_FLUSH);
}

static void a_batch_ends_at_its_messages_or_its_bytes(void **state)
{
    struct mp_gate g;

    (void)state;
    mp_gate_init(&g, 2, 1000, false);
    mp_gate_took(&g, 0, 1);
    assert_true(mp_gate_may_read(&g));
    mp_gate_took(&g, 0, 1);
    assert_false(mp_gate_may_read(&g));
    mp_gate_init(&g, 100, 1000, false);
    mp_gate_took(&g, 1, 999);
    assert_true(mp_gate_may_read(&g));
    mp_gate_took(&g, 1, 1);
    assert_false(mp_gate_may_read(&g));
}

static void an_own_lane_reads_on_while_held(void **state)
{
    struct mp_gate g;

    (void)state;
    mp_gate_init(&g, 2, 1000, true);
    mp_gate_took(&g, 1, 1);
    mp_gate_dry(&g, 1);
    assert_int_equal(g.state, MP_GATE_HELD);
    assert_true(mp_gate_may_read(&g));
    assert_false(mp_gate_may_write(&g));
    mp_gate_took(&g, 1, 1);
    assert_false(mp_gate_may_read(&g));
    mp_gate_settled(&g, 2);
    assert_true(mp_gate_may_read(&g));
    mp_gate_dry(&g, 3);
    assert_int_equal(g.state, MP_GATE_HELD);
    mp_gate_settled(&g, 4);
    assert_int_equal(g.state, MP_GATE_FLUSH);
    assert_false(mp_gate_may_read(&g));
    assert_int_equal(g.held_total_us, 3);
}

static void a_lost_connection_holds_nothing(void **state)
{
    struct mp_gate g;

    (void)state;
    mp_gate_init(&g, 2, 1000, false);
    mp_gate_took(&g, 1, 1);
    mp_gate_dry(&g, 10);
    mp_gate_lost(&g, 15);
    assert_true(mp_gate_may_read(&g));
    assert_false(mp_gate_may_write(&g));
    assert_int_equal(g.in_work, 0);
    assert_int_equal(g.held_total_us, 5);
    mp_gate_dry(&g, 20);
    assert_true(mp_gate_may_write(&g));
    mp_gate_lost(&g, 25);
    assert_false(mp_gate_may_write(&g));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dry_with_nothing_in_work_flushes_and_reads_on),
        cmocka_unit_test(an_input_in_work_holds_until_it_is_settled),
        cmocka_unit_test(settled_while_reading_does_not_stop_reading),
        cmocka_unit_test(a_batch_ends_at_its_messages_or_its_bytes),
        cmocka_unit_test(an_own_lane_reads_on_while_held),
        cmocka_unit_test(a_lost_connection_holds_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
