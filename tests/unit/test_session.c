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
    struct mp_session s, t;
    struct mp_sub *sub;
    struct mp_buf text;

    (void)state;
    mp_session_init(&s);
    mp_session_renew(&s);
    assert_true(s.epoch != 0);
    s.half = 5;
    s.doubt = true;
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
    assert_true(t.doubt);
    assert_int_equal(t.n_subs, 2);
    sub = mp_session_sub(&t, "a b/+/#");
    assert_true(sub && sub->sure && sub->retained && sub->qos == 1);
    assert_int_equal(sub->id, 268435455);
    assert_false(mp_session_sub(&t, "$share/g/x")->sure);
    mp_session_doubt_subs(&t);
    assert_false(sub->sure);
    mp_session_remove(&t, sub);
    assert_int_equal(t.n_subs, 1);
    mp_session_renew(&t);
    assert_true(t.epoch != s.epoch && t.n_subs == 0 && !t.doubt);
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
        cmocka_unit_test(wraps_tell_two_uses_of_an_id_apart),
        cmocka_unit_test(a_session_is_read_as_it_was_written),
        cmocka_unit_test(what_is_no_session_is_an_empty_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
