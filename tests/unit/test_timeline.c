/*
 * test_timeline.c - durations over restarts and wrong clocks.
 *
 * Each test is the story of one gateway: monotonic time begins anew at each
 * start, the wall clock is what the story says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/timeline.h"

#define HOUR (3600 * MP_SECOND)
#define YEAR (365 * 24 * HOUR)
#define BUILD (1793491200 * MP_SECOND)
#define TODAY (BUILD + 30 * 24 * HOUR)

struct box {
    struct mp_timeline t;
    char note[MP_TIMELINE_NOTE_MAX];
    size_t len;
};

static void start(struct box *b, int64_t wall)
{
    mp_timeline_start(&b->t, mp_slice(b->note, b->len), wall, 5 * MP_SECOND,
                      BUILD);
}

/* At mono_s seconds after the start: what the timeline says. */
static int64_t at(struct box *b, int64_t mono_s)
{
    return mp_timeline_at(&b->t, (5 + mono_s) * MP_SECOND);
}

static void note(struct box *b, int64_t wall, int64_t mono_s)
{
    b->len = mp_timeline_note(&b->t, wall, (5 + mono_s) * MP_SECOND, b->note);
    assert_in_range(b->len, 1, MP_TIMELINE_NOTE_MAX - 1);
}

static void the_first_start_with_a_clock_begins_at_the_wall_clock(void **state)
{
    struct box b = {.len = 0};

    (void)state;
    start(&b, TODAY);
    assert_true(b.t.trusted);
    assert_int_equal(at(&b, 0), TODAY);
    assert_int_equal(at(&b, 10), TODAY + 10 * MP_SECOND);
}

static void the_first_start_without_one_is_not_moved_when_it_comes(void **state)
{
    struct box b = {.len = 0};

    (void)state;
    start(&b, 0);
    assert_false(b.t.trusted);
    assert_int_equal(at(&b, 0), BUILD);
    assert_false(mp_timeline_look(&b.t, 60 * MP_SECOND));
    assert_true(mp_timeline_look(&b.t, TODAY));
    assert_int_equal(at(&b, 60), BUILD + 60 * MP_SECOND);
}

static void time_without_power_counts_between_trusted_clocks(void **state)
{
    struct box b = {.len = 0};

    (void)state;
    start(&b, TODAY);
    note(&b, TODAY + 60 * MP_SECOND, 60);
    start(&b, TODAY + 3 * HOUR);
    assert_true(b.t.trusted);
    assert_int_equal(at(&b, 0), TODAY + 3 * HOUR);
}

static void a_start_without_a_clock_goes_on_at_the_note(void **state)
{
    struct box b = {.len = 0};

    (void)state;
    start(&b, TODAY);
    note(&b, TODAY + HOUR, 3600);
    start(&b, 12 * MP_SECOND); /* 1970: no clock in this gateway */
    assert_false(b.t.trusted);
    assert_int_equal(at(&b, 0), TODAY + HOUR);
    /* After the build, yet in the past: that is no clock either. */
    assert_false(mp_timeline_look(&b.t, TODAY + HOUR / 2));
    /* The network brings the time: hours later, and nothing jumps. */
    assert_true(mp_timeline_look(&b.t, TODAY + 9 * HOUR));
    assert_int_equal(at(&b, 30), TODAY + HOUR + 30 * MP_SECOND);
}

static void what_is_known_outlives_starts_without_a_clock(void **state)
{
    struct box b = {.len = 0};

    (void)state;
    start(&b, TODAY);
    note(&b, TODAY + HOUR, 3600);
    start(&b, 0);
    note(&b, 100 * MP_SECOND, 100);
    start(&b, BUILD + HOUR); /* a file's time, set by the system at boot */
    assert_false(b.t.trusted);
    assert_int_equal(b.t.floor_us, TODAY + HOUR);
    assert_int_equal(at(&b, 0), TODAY + HOUR + 100 * MP_SECOND);
}

static void
untrusted_then_trusted_time_without_power_does_not_count(void **state)
{
    struct box b = {.len = 0};

    (void)state;
    start(&b, 0);
    note(&b, 50 * MP_SECOND, 50);
    start(&b, TODAY);
    assert_true(b.t.trusted);
    assert_int_equal(at(&b, 0), BUILD + 50 * MP_SECOND);
    note(&b, TODAY + 60 * MP_SECOND, 60);
    start(&b, TODAY + HOUR);
    assert_int_equal(at(&b, 0), BUILD + 50 * MP_SECOND + HOUR);
}

static void a_jump_forward_moves_no_duration(void **state)
{
    struct box b = {.len = 0};

    (void)state;
    start(&b, TODAY);
    assert_true(mp_timeline_look(&b.t, TODAY + 7 * HOUR));
    assert_int_equal(at(&b, 1), TODAY + MP_SECOND);
    /* and none over a restart: the note carries both clocks */
    note(&b, TODAY + 7 * HOUR + MP_SECOND, 1);
    start(&b, TODAY + 7 * HOUR + 11 * MP_SECOND);
    assert_int_equal(at(&b, 0), TODAY + 11 * MP_SECOND);
}

static void a_clock_that_is_set_back_stays_trusted(void **state)
{
    struct box b = {.len = 0};

    (void)state;
    start(&b, TODAY + 20 * YEAR); /* it lies */
    assert_true(mp_timeline_look(&b.t, TODAY));
    assert_int_equal(at(&b, 1), TODAY + 20 * YEAR + MP_SECOND);
    assert_int_equal(b.t.floor_us, TODAY);
    note(&b, TODAY + MP_SECOND, 1);
    start(&b, TODAY + HOUR);
    assert_true(b.t.trusted);
    assert_int_equal(at(&b, 0), TODAY + 20 * YEAR + HOUR);
}

static void a_clock_that_falls_below_the_build_is_not_trusted(void **state)
{
    struct box b = {.len = 0};

    (void)state;
    start(&b, TODAY);
    assert_false(mp_timeline_look(&b.t, HOUR));
    assert_int_equal(b.t.floor_us, TODAY);
    note(&b, HOUR, 10);
    start(&b, 2 * HOUR);
    assert_false(b.t.trusted);
    assert_int_equal(at(&b, 0), TODAY + 10 * MP_SECOND);
    assert_true(mp_timeline_look(&b.t, TODAY + HOUR));
}

static void a_reboot_after_the_clock_fell_back_goes_on_at_the_note(void **state)
{
    struct box b = {.len = 0};

    (void)state;
    start(&b, TODAY + HOUR);
    note(&b, TODAY + 2 * HOUR, 3600);
    start(&b, TODAY); /* hours before the note: it can't be true */
    assert_false(b.t.trusted);
    assert_int_equal(at(&b, 0), TODAY + 2 * HOUR);
}

static void the_timeline_never_goes_back(void **state)
{
    static const int64_t walls[] = {TODAY,        0,     TODAY + 5 * HOUR,
                                    BUILD - 1,    TODAY, TODAY + YEAR,
                                    TODAY + HOUR, BUILD, TODAY + 2 * YEAR};
    struct box b = {.len = 0};
    int64_t last = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(walls); i++) {
        start(&b, walls[i]);
        assert_true(at(&b, 0) >= last);
        (void)mp_timeline_look(&b.t, walls[ARRAY_LEN(walls) - 1 - i]);
        last = at(&b, 30);
        note(&b, walls[ARRAY_LEN(walls) - 1 - i], 30);
    }
}

static const struct {
    const char *note, *why;
} malformed[] = {
    {"", "none"},
    {"1793491200000000", "cut short"},
    {"1793491200000000 1793491200000000", "cut short"},
    {"1793491200000000 1793491200000000 2", "neither yes nor no"},
    {"1793491200000000 1793491200000000 1 ", "a byte too many"},
    {"1793491200000000  1793491200000000 1", "a space too many"},
    {"-5 1793491200000000 1", "we never write a sign"},
    {"0 1793491200000000 1", "0 means never elsewhere"},
    {"99999999999999999999 1793491200000000 1", "past 64 bits"},
    {"9223372036854775807 1793491200000000 1", "would overflow at once"},
    {"1793491200000000 x 1", "no number"},
};

static void a_malformed_note_is_a_first_start(void **state)
{
    struct mp_timeline t;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
        mp_timeline_start(&t, mp_slice_str(malformed[i].note), TODAY, 0, BUILD);
        print_message("'%s': %s\n", malformed[i].note, malformed[i].why);
        assert_int_equal(mp_timeline_at(&t, 0), TODAY);
    }
}

static void a_note_is_three_numbers(void **state)
{
    struct box b = {.len = 0};

    (void)state;
    start(&b, TODAY);
    note(&b, TODAY + MP_SECOND, 1);
    assert_string_equal(b.note, "1796083201000000 1796083201000000 1");
    assert_false(mp_timeline_look(&b.t, 0));
    note(&b, 0, 2);
    assert_string_equal(b.note, "1796083202000000 1796083200000000 0");
}

static void the_build_has_a_time(void **state)
{
    (void)state;
    assert_true(mp_timeline_build_us() >= BUILD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_start_with_a_clock_begins_at_the_wall_clock),
        cmocka_unit_test(
            the_first_start_without_one_is_not_moved_when_it_comes),
        cmocka_unit_test(time_without_power_counts_between_trusted_clocks),
        cmocka_unit_test(a_start_without_a_clock_goes_on_at_the_note),
        cmocka_unit_test(what_is_known_outlives_starts_without_a_clock),
        cmocka_unit_test(
            untrusted_then_trusted_time_without_power_does_not_count),
        cmocka_unit_test(a_jump_forward_moves_no_duration),
        cmocka_unit_test(a_clock_that_is_set_back_stays_trusted),
        cmocka_unit_test(a_clock_that_falls_below_the_build_is_not_trusted),
        cmocka_unit_test(
            a_reboot_after_the_clock_fell_back_goes_on_at_the_note),
        cmocka_unit_test(the_timeline_never_goes_back),
        cmocka_unit_test(a_malformed_note_is_a_first_start),
        cmocka_unit_test(a_note_is_three_numbers),
        cmocka_unit_test(the_build_has_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
