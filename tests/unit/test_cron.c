/*
 * test_cron.c - what five fields mean, and when they come next.
 *
 * The answer for years is checked against a walk: every minute of them is
 * shown to a predicate in C, in the local time that libc tells.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/civil.h"
#include "core/cron.h"
#include "tests/corpus/zone/rows.h"
#include "tests/unit/conf_kit.h"

static struct mp_cron cron_of(const char *text)
{
    struct mp_slice in = t_exact(mp_slice_str(text));
    struct mp_cron c;
    struct mp_why why = {""};

    if (mp_cron_parse(&c, in, &why))
        fail_msg("%s: %s", text, why.text);
    t_exact_free(in);
    return c;
}

static int64_t utc(int64_t year, int month, int day, int hour, int minute)
{
    struct mp_civil c = {year, month, day, hour, minute, 0, 0};

    return mp_civil_seconds(&c);
}

static struct mp_zone *zone_posix(const char *text)
{
    struct mp_zone *z = NULL;
    struct mp_why why;

    assert_int_equal(mp_zone_read_posix(&z, mp_slice_str(text), &why), 0);
    return z;
}

/* ---- parsing ---- */

static const struct {
    const char *text, *same; /* as, written the long way */
} equals[] = {
    {"@hourly", "0 * * * *"},
    {"@daily", "0 0 * * *"},
    {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"},
    {"*/15 * * * *", "0,15,30,45 * * * *"},
    {"10-20/5 * * * *", "10,15,20 * * * *"},
    {"0 6 * * mon-fri", "0 6 * * 1-5"},
    {"0 6 * * MON,Wed", "0 6 * * 1,3"},
    {"0 6 * * 7", "0 6 * * 0"},
    {"0 6 * * sat-sun", "0 6 * * 0,6"},
    {"0 6 * * 5-7", "0 6 * * 0,5,6"},
    {"0 6 * * 7-2", "0 6 * * 0-2"},
    {"0 6 * * sun-sat", "0 6 * * 0-7"},
    {"0 6 * jan,dec-dec *", "0 6 * 1,12 *"},
    {"0 6 * * */2", "0 6 * * */2,*/6"},
    {"  0\t6  1-31 * * ", "0 6 1-31 * *"},
    {"5,5,1-9/4 1,1 * * *", "1,5,9 1 * * *"},
    {"0 0 30 1-12 *", "0 0 30 1-12 *"},
    {"0 0 29 2 *", "0 0 29 feb *"},
    {"0 0 30 2 mon", "0 0 30 2 1"},
};

static void what_means_the_same_is_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(equals); i++) {
        struct mp_cron a = cron_of(equals[i].text), b = cron_of(equals[i].same);

        print_message("%s\n", equals[i].text);
        assert_int_equal(a.minutes, b.minutes);
        assert_int_equal(a.hours, b.hours);
        assert_int_equal(a.days, b.days);
        assert_int_equal(a.months, b.months);
        assert_int_equal(a.weekdays, b.weekdays);
        assert_int_equal(a.either, b.either);
    }
}

static const struct {
    const char *text, *told;
} mistakes[] = {
    {"61 * * * *", "minute '61': 0 to 59"},
    {"* 24 * * *", "hour '24': 0 to 23"},
    {"* * 0 * *", "day of the month '0': 1 to 31"},
    {"* * 32 * *", "day of the month '32': 1 to 31"},
    {"* * * 13 *", "month '13': 1 to 12, or jan to dec"},
    {"* * * january *", "month 'january': 1 to 12, or jan to dec"},
    {"* * * * 8", "weekday '8': 0 to 7 (0 and 7: Sunday), or sun to sat"},
    {"* * * mon *", "month 'mon': 1 to 12, or jan to dec"},
    {"-1 * * * *", "minute '-1': 0 to 59"},
    {"1- * * * *", "minute '1-': 0 to 59"},
    {"1-2-3 * * * *", "minute '1-2-3': 0 to 59"},
    {"*-5 * * * *", "minute '*-5': 0 to 59"},
    {"99999999999999999999 * * * *", "minute '99999999999999999999': 0 to 59"},
    {"1.5 * * * *", "minute '1.5': 0 to 59"},
    {"1,,2 * * * *", "minute '1,,2': a comma stands between two values"},
    {"1, * * * *", "minute '1,': a comma stands between two values"},
    {"5/15 * * * *",
     "minute '5/15': a step follows * or a range, as in 0-59/2"},
    {"*/0 * * * *", "minute '*/0': a step is 1 to 59"},
    {"*/90 * * * *", "minute '*/90': a step is 1 to 59"},
    {"*/ * * * *", "minute '*/': a step is 1 to 59"},
    {"*/2/3 * * * *", "minute '*/2/3': a step is 1 to 59"},
    {"* 22-5 * * *", "hour '22-5': a range goes upwards; write 22-23,0-5"},
    {"* * * * fri-mon",
     "weekday 'fri-mon': a range goes upwards; write 5-6,0-1"},
    {"0 0 30 2 *", "never: there is no 30 February"},
    {"0 0 30,31 feb *", "never: there is no 30 February"},
    {"0 0 31 2,4,6 *", "never: there is no 31 February"},
    {"0 0 31 nov *", "never: there is no 31 November"},
    {"@yearly",
     "cron '@yearly': @hourly, @daily, @weekly, @monthly or five fields"},
    {"* * * *", "cron '* * * *': five fields are needed (minute, hour, day of "
                "the month, month, weekday), not 4"},
    {"0 0 * * * *", "cron '0 0 * * * *': five fields are needed (minute, hour, "
                    "day of the month, month, weekday), not 6"},
    {"", "cron '': five fields are needed (minute, hour, day of the month, "
         "month, weekday), not 0"},
};

static void a_mistake_names_field_text_and_what_is_allowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        struct mp_slice in = t_exact(mp_slice_str(mistakes[i].text));
        struct mp_cron c;
        struct mp_why why = {""};

        assert_int_equal(mp_cron_parse(&c, in, &why), MP_EPARSE);
        assert_string_equal(why.text, mistakes[i].told);
        t_exact_free(in);
    }
}

/* ---- against a walk ---- */

static bool is_quarter(const struct tm *t)
{
    return t->tm_min % 15 == 0;
}
static bool is_half_past_two(const struct tm *t)
{
    return t->tm_hour == 2 && t->tm_min == 30;
}
static bool is_night(const struct tm *t)
{
    return t->tm_hour < 4 && (t->tm_min == 5 || t->tm_min == 55);
}
static bool is_midnight(const struct tm *t)
{
    return t->tm_hour == 0 && t->tm_min == 0;
}
static bool is_six_on_a_workday(const struct tm *t)
{
    return t->tm_hour == 6 && t->tm_min == 0 && t->tm_wday >= 1 &&
           t->tm_wday <= 5;
}
static bool is_first_or_monday(const struct tm *t)
{
    return t->tm_hour == 1 && t->tm_min == 59 &&
           (t->tm_mday == 1 || t->tm_wday == 1);
}
static bool is_even_monday(const struct tm *t)
{
    return t->tm_hour == 3 && t->tm_min == 0 && t->tm_mday % 2 == 1 &&
           t->tm_wday == 1;
}
static bool is_last_of_long_months(const struct tm *t)
{
    return t->tm_hour == 23 && t->tm_min == 59 && t->tm_mday == 31;
}
static bool is_leap_day(const struct tm *t)
{
    return t->tm_hour == 12 && t->tm_min == 0 && t->tm_mday == 29 &&
           t->tm_mon == 1;
}
static bool is_any(const struct tm *t)
{
    (void)t;
    return true;
}

static const struct {
    const char *text;
    bool (*is)(const struct tm *local);
} specs[] = {
    {"*/15 * * * *", is_quarter},
    {"30 2 * * *", is_half_past_two},
    {"5,55 0-3 * * *", is_night},
    {"@daily", is_midnight},
    {"0 6 * * mon-fri", is_six_on_a_workday},
    {"59 1 1 * mon", is_first_or_monday},
    {"0 3 */2 * mon", is_even_monday},
    {"59 23 31 * *", is_last_of_long_months},
    {"0 12 29 feb *", is_leap_day},
    {"* * * * *", is_any},
};

enum { SPECS = ARRAY_LEN(specs) };

struct walk {
    const struct mp_zone *zone;
    struct mp_cron cron[SPECS];
    int64_t last[SPECS]; /* when it ran last */
};

/* The minute that local clocks show is seen at t (UTC) for the first time. */
static void show(struct walk *w, int64_t local_s, int64_t t)
{
    time_t local = (time_t)local_s;
    struct tm tm;

    gmtime_r(&local, &tm);
    for (size_t i = 0; i < SPECS; i++) {
        if (!specs[i].is(&tm) || w->last[i] == t)
            continue;
        if (mp_cron_next(&w->cron[i], w->zone, w->last[i]) != t)
            fail_msg("%s after %lld: %lld, not %lld", specs[i].text,
                     (long long)w->last[i], (long long)t,
                     (long long)mp_cron_next(&w->cron[i], w->zone, w->last[i]));
        w->last[i] = t;
    }
}

/* libc's offset changes at full minutes of UTC in these years. */
static void walk(const struct mp_zone *z, const char *tz, int from_year,
                 int to_year)
{
    int64_t from = utc(from_year, 1, 1, 0, 0), to = utc(to_year, 1, 1, 0, 0);
    int64_t shown = 0;
    struct walk w = {.zone = z};

    for (size_t i = 0; i < SPECS; i++) {
        w.cron[i] = cron_of(specs[i].text);
        w.last[i] = from;
    }
    setenv("TZ", tz, 1);
    tzset();
    for (int64_t t = from; t < to; t += 60) {
        time_t libc = (time_t)t;
        struct tm tm;

        localtime_r(&libc, &tm);
        if (!shown)
            shown = t + tm.tm_gmtoff;
        for (; shown < t + tm.tm_gmtoff; shown += 60)
            show(&w, shown + 60, t);
    }
    for (size_t i = 0; i < SPECS; i++)
        assert_true(mp_cron_next(&w.cron[i], z, w.last[i]) >= to);
    setenv("TZ", "UTC", 1);
    tzset();
}

static void years_are_as_a_walk_has_them(void **state)
{
    static const struct {
        const char *name;
        int from, to;
    } rows[] = {
        {"Europe/Paris", 2023, 2025},      {"Australia/Lord_Howe", 2023, 2025},
        {"America/Sao_Paulo", 2015, 2017}, /* midnight is skipped */
        {"Africa/Casablanca", 2024, 2025}, {"America/New_York", 2071, 2072},
        {"Pacific/Apia", 2011, 2012}}; /* a day is */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mp_zone *z = NULL;
        struct mp_why why;

        if (mp_zone_open(&z, MP_ZONE_DIR, mp_slice_str(rows[i].name), &why)) {
            print_message("not looked at: %s\n", why.text);
            continue;
        }
        walk(z, rows[i].name, rows[i].from, rows[i].to);
        mp_zone_close(z);
    }
}

static void years_of_an_isle_are_as_a_walk_has_them(void **state)
{
    struct mp_slice bytes = mp_slice(zone_isle, sizeof zone_isle);
    char path[] = "/tmp/moonpool-zone-XXXXXX", tz[64];
    int fd = mkstemp(path);
    struct mp_zone *z = NULL;
    struct mp_why why;

    (void)state;
    assert_true(fd >= 0 && mp_write_all(fd, bytes) == 0);
    close(fd);
    snprintf(tz, sizeof tz, ":%s", path);
    assert_int_equal(mp_zone_read(&z, bytes, &why), 0);
    walk(z, tz, 2000, 2003);
    walk(z, tz, 2039, 2041);
    unlink(path);
    mp_zone_close(z);
}

/* ---- single facts ---- */

static int64_t next(const char *text, const char *zone, int64_t after)
{
    struct mp_cron c = cron_of(text);
    struct mp_zone *z = zone_posix(zone);
    int64_t at = mp_cron_next(&c, z, after);

    mp_zone_close(z);
    return at;
}

#define PARIS "CET-1CEST,M3.5.0,M10.5.0/3"

static void a_skipped_time_runs_right_after_the_gap(void **state)
{
    int64_t gap = utc(2024, 3, 31, 1, 0);

    (void)state;
    assert_int_equal(next("30 2 * * *", PARIS, gap - 3600), gap);
    assert_int_equal(next("30 2 * * *", PARIS, gap), utc(2024, 4, 1, 0, 30));
    assert_int_equal(next("*/20 2 * * *", PARIS, gap - 1), gap);
    assert_int_equal(next("*/20 2 * * *", PARIS, gap), utc(2024, 4, 1, 0, 0));
}

static void a_doubled_time_runs_the_first_time(void **state)
{
    int64_t first = utc(2024, 10, 27, 0, 30);

    (void)state;
    assert_int_equal(next("30 2 * * *", PARIS, first - 3600), first);
    assert_int_equal(next("30 2 * * *", PARIS, first),
                     utc(2024, 10, 28, 1, 30));
    /* The second passing of the hour is silent. */
    assert_int_equal(next("*/30 * * * *", PARIS, first),
                     utc(2024, 10, 27, 2, 0));
}

static void next_is_later_than_the_instant_given(void **state)
{
    (void)state;
    assert_int_equal(next("0 6 * * *", "UTC0", utc(2024, 1, 1, 6, 0) - 1),
                     utc(2024, 1, 1, 6, 0));
    assert_int_equal(next("0 6 * * *", "UTC0", utc(2024, 1, 1, 6, 0)),
                     utc(2024, 1, 2, 6, 0));
    assert_int_equal(next("* * * * *", "UTC0", -1), 0);
    assert_int_equal(next("* * * * *", "UTC0", -61), -60);
}

static void the_rarest_day_is_found(void **state)
{
    (void)state;
    /* 2100 is no leap year */
    assert_int_equal(next("0 0 29 2 *", "UTC0", utc(2096, 3, 1, 0, 0)),
                     utc(2104, 2, 29, 0, 0));
    /* Both must hold: one of the day fields begins with *. */
    assert_int_equal(next("0 0 29 2 */6", "UTC0", utc(2084, 3, 1, 0, 0)),
                     utc(2088, 2, 29, 0, 0));
    assert_int_equal(next("0 0 29 2 */6", "UTC0", utc(2088, 3, 1, 0, 0)),
                     utc(2116, 2, 29, 0, 0));
}

/* As cron does it. */
static void both_day_fields_are_either_unless_one_begins_with_a_star(void **s)
{
    (void)s;
    /* 1 January 2024 was a Monday. */
    assert_int_equal(next("0 0 15 * fri", "UTC0", utc(2024, 1, 12, 0, 0)),
                     utc(2024, 1, 15, 0, 0));
    assert_int_equal(next("0 0 15 * fri", "UTC0", utc(2024, 1, 15, 0, 0)),
                     utc(2024, 1, 19, 0, 0));
    assert_int_equal(next("0 0 */2 * fri", "UTC0", utc(2024, 1, 5, 0, 0)),
                     utc(2024, 1, 19, 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_means_the_same_is_the_same),
        cmocka_unit_test(a_mistake_names_field_text_and_what_is_allowed),
        cmocka_unit_test(years_are_as_a_walk_has_them),
        cmocka_unit_test(years_of_an_isle_are_as_a_walk_has_them),
        cmocka_unit_test(a_skipped_time_runs_right_after_the_gap),
        cmocka_unit_test(a_doubled_time_runs_the_first_time),
        cmocka_unit_test(next_is_later_than_the_instant_given),
        cmocka_unit_test(the_rarest_day_is_found),
        cmocka_unit_test(
            both_day_fields_are_either_unless_one_begins_with_a_star),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
