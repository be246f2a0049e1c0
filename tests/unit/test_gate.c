/*
 * test_gate.c - every path of the gate, the redelivery table and the session
 * file: bookkeeping without a socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/gate.h"
#include "core/redelivery.h"
#include "core/session.h"

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

/* ---- redelivery ---- */

static void what_is_in_work_when_the_connection_goes_runs_once(void **state)
{
    struct mp_redelivery r;
    uint64_t first, again;

    (void)state;
    mp_redelivery_init(&r);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, false, &first), MP_AGAIN_NO);
    mp_redelivery_lost(&r);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, true, &again),
                     MP_AGAIN_IN_WORK);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, true, &again),
                     MP_AGAIN_HELD);
    assert_true(mp_redelivery_settle(&r, first)); /* holds the lane now */
    assert_false(mp_redelivery_settle(&r, first));
    mp_redelivery_fini(&r);
}

static void what_was_settled_is_only_acknowledged_again(void **state)
{
    struct mp_redelivery r;
    uint64_t ticket;

    (void)state;
    mp_redelivery_init(&r);
    mp_redelivery_take(&r, 7, 99, false, &ticket);
    assert_true(mp_redelivery_settle(&r, ticket));
    mp_redelivery_flushed(&r);
    mp_redelivery_lost(&r);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, true, &ticket),
                     MP_AGAIN_SETTLED);
    mp_redelivery_fini(&r);
}

static void without_dup_or_with_other_bytes_it_is_a_new_message(void **state)
{
    struct mp_redelivery r;
    uint64_t old, ticket;

    (void)state;
    mp_redelivery_init(&r);
    mp_redelivery_take(&r, 7, 99, false, &old);
    mp_redelivery_take(&r, 8, 55, false, &ticket);
    mp_redelivery_lost(&r);
    assert_int_equal(mp_redelivery_take(&r, 7, 99, false, &ticket),
                     MP_AGAIN_NO);
    assert_int_equal(mp_redelivery_take(&r, 8, 56, true, &ticket), MP_AGAIN_NO);
    /* The old input settles for nobody. */
    assert_false(mp_redelivery_settle(&r, old));
    assert_true(mp_redelivery_settle(&r, ticket));
    mp_redelivery_fini(&r);
}

static void an_id_reused_while_in_work_is_a_fault_of_the_broker(void **state)
{
    struct mp_redelivery r;
    uint64_t ticket;

    (void)state;
    mp_redelivery_init(&r);
    mp_redelivery_take(&r, 7, 99, false, &ticket);
    assert_int_equal(mp_redelivery_take(&r, 7, 98, false, &ticket),
                     MP_AGAIN_CLASH);
    mp_redelivery_fini(&r);
}

static void a_flushed_id_may_be_reused_at_once(void **state)
{
    struct mp_redelivery r;
    uint64_t ticket;

    (void)state;
    mp_redelivery_init(&r);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(mp_redelivery_take(&r, 1, 99, false, &ticket),
                         MP_AGAIN_NO);
        assert_true(mp_redelivery_settle(&r, ticket));
        mp_redelivery_flushed(&r);
    }
    assert_int_equal(r.used, 1);
    mp_redelivery_fini(&r);
}

static void proof_forgets_what_was_flushed_and_nothing_else(void **state)
{
    struct mp_redelivery r;
    uint64_t tickets[600], ticket;
    uint32_t flush;

    (void)state;
    mp_redelivery_init(&r);
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
    mp_redelivery_fini(&r);
}

static void all_65535_ids_fit(void **state)
{
    struct mp_redelivery r;
    uint64_t ticket;

    (void)state;
    mp_redelivery_init(&r);
    for (uint32_t i = 1; i <= UINT16_MAX; i++)
        assert_int_equal(mp_redelivery_take(&r, (uint16_t)i, i, false, &ticket),
                         MP_AGAIN_NO);
    mp_redelivery_lost(&r);
    for (uint32_t i = 1; i <= UINT16_MAX; i++)
        assert_int_equal(mp_redelivery_take(&r, (uint16_t)i, i, true, &ticket),
                         MP_AGAIN_IN_WORK);
    mp_redelivery_clear(&r);
    assert_int_equal(r.used, 0);
    mp_redelivery_fini(&r);
}

/* ---- the session ---- */

static const struct {
    uint32_t half;
    uint16_t last, id;
    bool dup;
    uint32_t wraps, half_after;
    const char *why;
} wraps[] = {
    {0, 0, 1, false, 0, 0, "the first message of a session"},
    {0, 32767, 32768, false, 0, 1, "the second half is no wrap"},
    {1, 65535, 1, false, 1, 2, "past 65,535 it wraps"},
    {2, 3, 65530, true, 0, 2, "sent again from before the wrap"},
    {2, 3, 65530, false, 0, 2, "the same, from a broker that forgets DUP"},
    {1, 0, 1, false, 1, 2, "restarted just before a wrap"},
    {2, 0, 65530, true, 0, 2, "restarted just after a wrap, sent again"},
    {2, 0, 40000, false, 1, 3, "restarted, new, a half further"},
    {0, 0, 40000, true, 0, 0, "nothing is before the beginning"},
};

static void wraps_tell_two_uses_of_an_id_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wraps / sizeof *wraps; i++) {
        struct mp_session s = {.half = wraps[i].half};
        uint16_t last = wraps[i].last;
        bool changed;

        print_message("%s\n", wraps[i].why);
        assert_int_equal(
            mp_session_wraps(&s, wraps[i].id, wraps[i].dup, &last, &changed),
            wraps[i].wraps);
        assert_int_equal(s.half, wraps[i].half_after);
        assert_int_equal(changed, wraps[i].half != wraps[i].half_after);
    }
}

static void a_session_is_read_as_it_was_written(void **state)
{
    char dir[] = "/tmp/moonpool-session-XXXXXX";
    struct mp_session s, t;
    struct mp_why why;
    struct mp_sub *sub;
    int fd;

    (void)state;
    assert_non_null(mkdtemp(dir));
    fd = open(dir, O_RDONLY | O_DIRECTORY);
    mp_session_init(&s);
    mp_session_init(&t);
    assert_int_equal(mp_session_read(&t, fd, "s", &why), 0);
    assert_int_equal(t.epoch, 0);
    mp_session_renew(&s);
    s.half = 5;
    sub = mp_session_add(&s, "a b/+/#");
    sub->sure = sub->retained = true;
    sub->qos = 1;
    sub->id = 268435455;
    mp_session_add(&s, "$share/g/x");
    assert_int_equal(mp_session_write(&s, fd, "s", &why), 0);
    assert_int_equal(mp_session_read(&t, fd, "s", &why), 0);
    assert_true(s.epoch == t.epoch);
    assert_int_equal(t.half, 5);
    assert_int_equal(t.n_subs, 2);
    sub = mp_session_sub(&t, "a b/+/#");
    assert_true(sub && sub->sure && sub->retained && sub->qos == 1);
    assert_int_equal(sub->id, 268435455);
    assert_false(mp_session_sub(&t, "$share/g/x")->sure);
    mp_session_remove(&t, sub);
    assert_int_equal(t.n_subs, 1);
    mp_session_fini(&t);
    assert_int_equal(mp_file_replace(fd, "s", MP_S("something else\n"), &why),
                     0);
    assert_int_equal(mp_session_read(&t, fd, "s", &why), MP_EPARSE);
    assert_int_equal(t.epoch, 0);
    unlinkat(fd, "s", 0);
    close(fd);
    rmdir(dir);
    mp_session_fini(&s);
    mp_session_fini(&t);
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
        cmocka_unit_test(what_is_in_work_when_the_connection_goes_runs_once),
        cmocka_unit_test(what_was_settled_is_only_acknowledged_again),
        cmocka_unit_test(without_dup_or_with_other_bytes_it_is_a_new_message),
        cmocka_unit_test(an_id_reused_while_in_work_is_a_fault_of_the_broker),
        cmocka_unit_test(a_flushed_id_may_be_reused_at_once),
        cmocka_unit_test(proof_forgets_what_was_flushed_and_nothing_else),
        cmocka_unit_test(all_65535_ids_fit),
        cmocka_unit_test(wraps_tell_two_uses_of_an_id_apart),
        cmocka_unit_test(a_session_is_read_as_it_was_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
