/*
 * test_session.c - the text of a session, and what packet ids mean.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/session.h"

#define N(wraps, id) ((uint32_t)(wraps) << 16 | (id))

static const struct {
    uint32_t half, at, top;
    uint16_t id;
    bool dup;
    uint32_t sequence, half_after;
    const char *why;
} numbers[] = {
    {0, 0, 0, 1, false, N(0, 1), 0, "the first message of a session"},
    {0, 32767, 0, 32768, false, N(0, 32768), 1, "the second half is no wrap"},
    {1, 65535, 0, 1, false, N(1, 1), 2, "past 65,535 it wraps"},
    {2, N(1, 3), 0, 65530, true, N(0, 65530), 2,
     "sent again from before the wrap"},
    {2, N(1, 3), 0, 65530, false, N(0, 65530), 2,
     "the same, from a broker that forgets DUP"},
    {1, 0, 0, 1, false, N(1, 1), 2, "restarted just before a wrap"},
    {2, 0, 0, 65530, true, N(0, 65530), 2,
     "restarted just after a wrap, sent again"},
    {2, 0, 0, 40000, false, N(1, 40000), 3, "restarted, new, a half further"},
    {0, 0, 0, 40000, true, N(0, 40000), 1, "nothing is before the beginning"},
    {2, 0, N(1, 500), 65000, true, N(0, 65000), 2,
     "restarted with records, sent again from before the wrap"},
    {2, 0, N(1, 500), 501, true, N(1, 501), 2,
     "restarted with records, the next one"},
    {3, 0, N(1, 500), 40000, true, N(1, 40000), 3,
     "records that are older than the half say nothing"},
};

static void a_sequence_tells_two_uses_of_an_id_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct mp_session s = {.half = numbers[i].half};
        uint32_t at = numbers[i].at;
        bool changed;

        print_message("%s\n", numbers[i].why);
        assert_int_equal(mp_session_sequence(&s, numbers[i].id, numbers[i].dup,
                                             at, numbers[i].top),
                         numbers[i].sequence);
        changed = mp_session_saw(&s, numbers[i].sequence, &at);
        assert_int_equal(s.half, numbers[i].half_after);
        assert_int_equal(changed, numbers[i].half != numbers[i].half_after);
    }
}

/* A backlog of more than one round of ids, all of it sent again, twice. */
static void a_long_backlog_keeps_its_numbers(void **state)
{
    struct mp_session s = {0};
    uint32_t at, top = 0;

    (void)state;
    for (int again = 0; again < 3; again++) {
        at = 0;
        for (uint32_t n = 1; n <= 60000 + 20000 * (unsigned)again; n++) {
            uint32_t lap = (n - 1) / 65535;
            uint16_t id = (uint16_t)(n - lap * 65535);
            uint32_t seq = mp_session_sequence(&s, id, again > 0, at,
                                               again ? N(0, 30000) : top);

            assert_int_equal(seq, N(lap, id));
            (void)mp_session_saw(&s, seq, &at);
        }
        s.half = 0; /* what was committed last, at 30,000 */
    }
}

static void a_session_is_read_as_it_was_written(void **state)
{
    struct mp_session s, t;
    struct mp_sub *sub;
    struct mp_buf text;

    (void)state;
    mp_session_init(&s);
    mp_session_renew(&s);
    assert_true(s.epoch != 0);
    s.half = 5;
    sub = mp_session_add(&s, "a b/+/#");
    sub->sure = sub->retained = true;
    sub->qos = 1;
    sub->id = 268435455;
    mp_session_add(&s, "$share/g/x");
    mp_buf_init(&text, 4096);
    mp_session_put(&s, &text);
    assert_int_equal(mp_session_parse(&t, mp_buf_bytes(&text)), 0);
    assert_true(s.epoch == t.epoch);
    assert_int_equal(t.half, 5);
    assert_int_equal(t.n_subs, 2);
    sub = mp_session_sub(&t, "a b/+/#");
    assert_true(sub && sub->sure && sub->retained && sub->qos == 1);
    assert_int_equal(sub->id, 268435455);
    assert_false(mp_session_sub(&t, "$share/g/x")->sure);
    mp_session_remove(&t, sub);
    assert_int_equal(t.n_subs, 1);
    mp_session_renew(&t);
    assert_true(t.epoch != s.epoch && t.n_subs == 0);
    mp_buf_fini(&text);
    mp_session_fini(&s);
    mp_session_fini(&t);
}

static const struct {
    const char *text, *why;
} bad[] = {
    {"", "nothing"},
    {"something else\n", "another text"},
    {"moonpool-session 2\nepoch 1\nhalf 0\n", "of another release"},
    {"moonpool-session 1\nhalf 3\n", "no epoch"},
    {"moonpool-session 1\nepoch 1\nsub sure 2 live 1 a\n", "QoS 2"},
    {"moonpool-session 1\nepoch 1\nsub sure 1 live 1 \n", "no filter"},
    {"moonpool-session 1\nepoch 1\nwhat is this\n", "an unknown line"},
};

static void what_is_no_session_is_an_empty_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        size_t len = strlen(bad[i].text);
        char *exact = mp_alloc(len + 1); /* the 0 is not its */
        struct mp_session s;

        print_message("%s\n", bad[i].why);
        memcpy(exact, bad[i].text, len);
        exact[len] = 'x';
        assert_int_equal(mp_session_parse(&s, mp_slice(exact, len)), MP_EPARSE);
        assert_true(s.epoch == 0 && s.n_subs == 0);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequence_tells_two_uses_of_an_id_apart),
        cmocka_unit_test(a_long_backlog_keeps_its_numbers),
        cmocka_unit_test(a_session_is_read_as_it_was_written),
        cmocka_unit_test(what_is_no_session_is_an_empty_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
