/*
 * test_zone.c - what time it is in places that exist, and in two that don't.
 *
 * libc has an implementation of its own: asked under TZ, it must agree at
 * thousands of instants.  Where the machine has no zone files it is asked
 * about the two of tests/corpus/zone and about rules.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/civil.h"
#include "core/zone.h"
#include "tests/corpus/zone/rows.h"
#include "tests/unit/conf_kit.h"

#define YEAR (INT64_C(31556952))

static const char *const places[] = {
    "Europe/Paris",        "America/New_York",  "Australia/Lord_Howe",
    "Asia/Kolkata",        "America/Sao_Paulo", "Africa/Casablanca",
    "Pacific/Apia",        "Asia/Tehran",       "Europe/Dublin",
    "Antarctica/Troll",    "America/Nuuk",      "Asia/Gaza",
    "Antarctica/Macquarie"};

static struct mp_slice strait(void)
{
    return mp_slice(zone_strait, sizeof zone_strait);
}

static struct mp_slice isle(void)
{
    return mp_slice(zone_isle, sizeof zone_isle);
}

static struct mp_zone *zone_of(struct mp_slice bytes)
{
    struct mp_slice exact = t_exact(bytes);
    struct mp_zone *z = NULL;
    struct mp_why why = {""};

    if (mp_zone_read(&z, exact, &why))
        fail_msg("%s", why.text);
    t_exact_free(exact);
    return z;
}

static struct mp_zone *posix_of(const char *text)
{
    struct mp_slice exact = t_exact(mp_slice_str(text));
    struct mp_zone *z = NULL;
    struct mp_why why = {""};

    if (mp_zone_read_posix(&z, exact, &why))
        fail_msg("%s: %s", text, why.text);
    t_exact_free(exact);
    return z;
}

/* The zone of that name; NULL, and said, where the machine has none. */
static struct mp_zone *zone_named(const char *name)
{
    struct mp_zone *z = NULL;
    struct mp_why why = {""};
    int rc = mp_zone_open(&z, MP_ZONE_DIR, mp_slice_str(name), &why);

    if (rc == MP_ENONE)
        print_message("not looked at: %s\n", why.text);
    else if (rc)
        fail_msg("%s", why.text);
    return z;
}

static int64_t utc(int64_t year, int month, int day, int hour, int minute)
{
    struct mp_civil c = {year, month, day, hour, minute, 0, 0};

    return mp_civil_seconds(&c);
}

/* ---- the calendar ---- */

static void the_calendar_is_that_of_libc(void **state)
{
    (void)state;
    for (int64_t t = -3000 * YEAR; t < 9000 * YEAR; t += 7919 * 4021) {
        struct mp_civil c = mp_civil_at(t);
        time_t libc = (time_t)t;
        struct tm tm;

        assert_non_null(gmtime_r(&libc, &tm));
        assert_int_equal(c.year, tm.tm_year + INT64_C(1900));
        assert_int_equal(c.month, tm.tm_mon + 1);
        assert_int_equal(c.day, tm.tm_mday);
        assert_int_equal(c.hour, tm.tm_hour);
        assert_int_equal(c.minute, tm.tm_min);
        assert_int_equal(c.second, tm.tm_sec);
        assert_int_equal(c.weekday, tm.tm_wday);
        assert_int_equal(mp_civil_seconds(&c), t);
    }
}

static void a_month_has_its_days(void **state)
{
    (void)state;
    assert_int_equal(mp_month_days(2024, 2), 29);
    assert_int_equal(mp_month_days(2100, 2), 28);
    assert_int_equal(mp_month_days(2000, 2), 29);
    assert_int_equal(mp_month_days(2001, 12), 31);
}

/* ---- against libc ---- */

static void under(const char *tz)
{
    setenv("TZ", tz, 1);
    tzset();
}

static void agree_at(const struct mp_zone *z, const char *tz, int64_t t)
{
    const struct mp_zone_type *type = mp_zone_at(z, t);
    time_t libc = (time_t)t;
    struct tm tm;

    assert_non_null(localtime_r(&libc, &tm));
    if (tm.tm_gmtoff != type->offset_s || (tm.tm_isdst > 0) != type->dst ||
        strcmp(tm.tm_zone, type->abbr) != 0)
        fail_msg("%s at %lld: libc %ld %d %s, here %d %d %s", tz, (long long)t,
                 tm.tm_gmtoff, tm.tm_isdst, tm.tm_zone, type->offset_s,
                 type->dst, type->abbr);
}

/* Many instants from that year to 2120, and each side of every change of two
 * years in the table and two past it. */
static void agree(const struct mp_zone *z, const char *tz, int from_year)
{
    static const int years[] = {1985, 2011, 2040, 2096};

    under(tz);
    for (int64_t t = utc(from_year, 1, 1, 0, 0); t < 150 * YEAR;
         t += 9973 * 101)
        agree_at(z, tz, t);
    for (size_t i = 0; i < ARRAY_LEN(years); i++) {
        int64_t from = utc(years[i], 1, 1, 0, 0);

        for (int64_t t = from; t < from + 366 * MP_DAY_S; t += 1800) {
            agree_at(z, tz, t - 1);
            agree_at(z, tz, t);
        }
    }
    under("UTC");
}

static void places_that_exist_are_as_libc_has_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct mp_zone *z = zone_named(places[i]);

        if (z)
            agree(z, places[i], 1900);
        mp_zone_close(z);
    }
}

static void fixed_zones_are_as_libc_has_them(void **state)
{
    struct mp_zone *z = zone_named("Etc/GMT+5");

    (void)state;
    if (z)
        agree(z, "Etc/GMT+5", 1900);
    mp_zone_close(z);
    z = zone_named("UTC");
    assert_non_null(z); /* without a file, too */
    assert_int_equal(mp_zone_at(z, 1700000000)->offset_s, 0);
    assert_string_equal(mp_zone_at(z, 1700000000)->abbr, "UTC");
    mp_zone_close(z);
}

static void places_that_do_not_exist_are_as_libc_has_them(void **state)
{
    const struct {
        struct mp_slice bytes;
        const char *posix;
    } rows[] = {{strait(), "TNT-1TST,M3.5.0,M10.5.0/3"},
                {isle(), "<+0945>-9:45<+1015>-10:15,M9.4.4/72,M4.2.6/26"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char path[] = "/tmp/moonpool-zone-XXXXXX", tz[64];
        struct mp_zone *z = zone_of(rows[i].bytes);
        int fd = mkstemp(path);

        assert_true(fd >= 0);
        assert_int_equal(mp_write_all(fd, rows[i].bytes), 0);
        close(fd);
        snprintf(tz, sizeof tz, ":%s", path);
        agree(z, tz, 1900);
        unlink(path);
        assert_string_equal(mp_zone_posix(z), rows[i].posix);
        mp_zone_close(z);
    }
}

/* Before 1971, libc uses that year's changes. */
static void rules_are_as_libc_has_them(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"CET-1CEST,M3.5.0,M10.5.0/3", "the ordinary case"},
        {"NZST-12NZDT,M9.5.0,M4.1.0/3", "summer over the new year"},
        {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "half an hour, no letters"},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "the day before"},
        {"EET-2EEST,M3.4.4/50,M10.4.4/50", "two days later"},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", "winter time is the other one"},
        {"XYZ3ABC,J60/0,J300/2:30:15", "29 February is not counted"},
        {"XYZ3ABC,59,300", "29 February is counted"},
        {"ABC+5:30", "east and west are the wrong way round"},
        {"<AB1>-0:00:30", "seconds, a digit in a name"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mp_zone *z = posix_of(rows[i].text);

        print_message("%s: %s\n", rows[i].text, rows[i].why);
        agree(z, rows[i].text, 1971);
        assert_string_equal(mp_zone_posix(z), rows[i].text);
        mp_zone_close(z);
    }
}

/* RFC 8536, section 3.3.1: summer ends when it begins. */
static void summer_time_may_last_for_ever(void **state)
{
    struct mp_zone *z = posix_of("EST5EDT,0/0,J365/25");

    (void)state;
    for (int64_t t = 0; t < 60 * YEAR; t += 3600 * 5)
        assert_string_equal(mp_zone_at(z, t)->abbr, "EDT");
    mp_zone_close(z);
}

/* Both changes of a year are in the next one. */
static void a_change_may_be_days_off_its_day(void **state)
{
    struct mp_zone *z = posix_of("AAA0BBB,J364/167,J365/167");

    (void)state;
    assert_false(mp_zone_at(z, utc(2025, 1, 3, 0, 0))->dst);
    assert_false(mp_zone_at(z, utc(2025, 1, 5, 22, 59))->dst);
    assert_true(mp_zone_at(z, utc(2025, 1, 5, 23, 0))->dst);
    assert_true(mp_zone_at(z, utc(2025, 1, 6, 21, 59))->dst);
    assert_false(mp_zone_at(z, utc(2025, 1, 6, 22, 0))->dst);
    mp_zone_close(z);
    z = posix_of("AAA0BBB,0/-167,J1/-167:00:01");
    assert_true(mp_zone_at(z, utc(2024, 12, 24, 23, 59))->dst);
    assert_false(mp_zone_at(z, utc(2024, 12, 25, 0, 0))->dst);
    assert_true(mp_zone_at(z, utc(2024, 12, 25, 1, 0))->dst);
    mp_zone_close(z);
}

static void the_rule_alone_is_right_from_the_last_change_on(void **state)
{
    struct mp_zone *z = zone_of(strait()), *rule = posix_of(mp_zone_posix(z));

    (void)state;
    for (int64_t t = utc(2000, 1, 1, 0, 0); t < utc(2090, 1, 1, 0, 0);
         t += 3600 * 7)
        assert_int_equal(mp_zone_at(z, t)->offset_s,
                         mp_zone_at(rule, t)->offset_s);
    mp_zone_close(rule);
    mp_zone_close(z);
}

/* ---- from local time ---- */

/* Every local time that clocks show is found again, and so is what they skip
 * and double: checked by walking along UTC, minute by minute. */
static void walk(const struct mp_zone *z, int64_t from, int64_t to)
{
    int64_t shown = from + mp_zone_at(z, from)->offset_s; /* the latest */

    for (int64_t t = from + 60; t < to; t += 60) {
        int64_t local = t + mp_zone_at(z, t)->offset_s;
        struct mp_zone_instant found = mp_zone_find(z, local);

        if (local <= shown) {
            assert_int_equal(found.fit, MP_ZONE_FOLD);
            assert_int_equal(found.second_s, t);
            continue;
        }
        assert_int_not_equal(found.fit, MP_ZONE_GAP);
        assert_int_equal(found.utc_s, t);
        for (shown += 60; shown < local; shown += 60) {
            found = mp_zone_find(z, shown);
            assert_int_equal(found.fit, MP_ZONE_GAP);
            assert_int_equal(found.utc_s, t);
        }
    }
}

static void local_time_is_found_again(void **state)
{
    struct mp_zone *z = zone_of(strait());

    (void)state;
    walk(z, utc(2024, 3, 25, 0, 0), utc(2024, 11, 10, 0, 0));
    mp_zone_close(z);
    z = zone_of(isle());
    walk(z, utc(2000, 12, 1, 0, 0), utc(2001, 12, 1, 0, 0));
    walk(z, utc(2051, 3, 1, 0, 0), utc(2051, 12, 1, 0, 0));
    mp_zone_close(z);
}

static void a_skipped_time_tells_when_the_gap_ends(void **state)
{
    struct mp_zone *z = zone_of(strait());
    struct mp_zone_instant in = mp_zone_find(z, utc(2024, 3, 31, 2, 30));

    (void)state;
    assert_int_equal(in.fit, MP_ZONE_GAP);
    assert_int_equal(in.utc_s, utc(2024, 3, 31, 1, 0));
    in = mp_zone_find(z, utc(2024, 3, 31, 3, 0));
    assert_int_equal(in.fit, MP_ZONE_ONE);
    assert_int_equal(in.utc_s, utc(2024, 3, 31, 1, 0));
    mp_zone_close(z);
}

static void a_doubled_time_tells_both(void **state)
{
    struct mp_zone *z = zone_of(strait());
    struct mp_zone_instant in = mp_zone_find(z, utc(2024, 10, 27, 2, 30));

    (void)state;
    assert_int_equal(in.fit, MP_ZONE_FOLD);
    assert_int_equal(in.utc_s, utc(2024, 10, 27, 0, 30));
    assert_int_equal(in.second_s, utc(2024, 10, 27, 1, 30));
    assert_int_equal(mp_zone_find(z, utc(2024, 10, 27, 3, 0)).fit, MP_ZONE_ONE);
    mp_zone_close(z);
}

/* Apia had no 30 December 2011; the isle of the corpus lost as much. */
static void half_a_day_may_be_skipped(void **state)
{
    struct mp_zone *z = zone_of(isle());
    struct mp_zone_instant in = mp_zone_find(z, utc(2001, 1, 1, 6, 0));

    (void)state;
    assert_int_equal(in.fit, MP_ZONE_GAP);
    assert_int_equal(in.utc_s, utc(2001, 1, 1, 2, 30));
    mp_zone_close(z);
}

/* ---- names ---- */

static const struct {
    const char *name, *why;
    int rc;
} names[] = {
    {"Europe/Paris", "the ordinary case", 0},
    {"America/Argentina/Buenos_Aires", "three parts", 0},
    {"Etc/GMT+5", "a sign", 0},
    {"../../etc/passwd", "a name becomes a path", MP_EPARSE},
    {"/etc/localtime", "so no absolute one", MP_EPARSE},
    {"Europe//Paris", "an empty part", MP_EPARSE},
    {"Europe/", "a directory", MP_EPARSE},
    {"tzdata.zi", "dots are in no name", MP_EPARSE},
    {"", "nothing", MP_EPARSE},
    {"Europe/Paris ", "a stray byte", MP_EPARSE},
    {"CET-1CEST,M3.5.0", "a rule is no name", MP_EPARSE},
    {"Z23456789012345678901234567890123456789012345678901234567890123456",
     "longer than any", MP_EPARSE},
};

static void a_name_is_safe_in_a_path(void **state)
{
    struct mp_why why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct mp_slice in = t_exact(mp_slice_str(names[i].name));

        print_message("%s: %s\n", names[i].name, names[i].why);
        assert_int_equal(mp_zone_check(in, &why), names[i].rc);
        t_exact_free(in);
    }
    assert_int_equal(mp_zone_check(mp_slice("a\0b", 3), &why), MP_EPARSE);
}

static void a_zone_that_is_missing_is_told_with_the_cure(void **state)
{
    char dir[] = "/tmp/moonpool-zones-XXXXXX", path[64];
    struct mp_zone *z = NULL;
    struct mp_why why;

    (void)state;
    assert_int_equal(mp_zone_open(&z, "/nowhere", MP_S("Test/Isle"), &why),
                     MP_ENONE);
    assert_non_null(strstr(why.text, "install the package tzdata"));
    assert_int_equal(mp_zone_open(&z, "/nowhere", MP_S("UTC"), &why), 0);
    mp_zone_close(z);
    assert_non_null(mkdtemp(dir));
    assert_int_equal(mp_zone_open(&z, dir, MP_S("Atlantis"), &why), MP_ENONE);
    assert_non_null(strstr(why.text, "no time zone Atlantis on this machine"));
    assert_non_null(strstr(why.text, "tzdata"));
    snprintf(path, sizeof path, "%s/Atlantis", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mp_zone_open(&z, dir, MP_S("Atlantis"), &why), MP_EPARSE);
    rmdir(path);
    rmdir(dir);
}

static void the_system_has_a_zone(void **state)
{
    char name[MP_ZONE_NAME_MAX + 1];
    struct mp_why why;

    (void)state;
    mp_zone_system(name);
    print_message("%s\n", name);
    assert_int_equal(mp_zone_check(mp_slice_str(name), &why), 0);
}

/* ---- bytes that are no zone ---- */

static void a_file_cut_anywhere_is_refused(void **state)
{
    struct mp_zone *z = NULL;
    struct mp_why why;

    (void)state;
    for (size_t len = 0; len < sizeof zone_isle; len++) {
        struct mp_slice part = t_exact(mp_slice(zone_isle, len));

        why.text[0] = '\0';
        assert_int_equal(mp_zone_read(&z, part, &why), MP_EPARSE);
        assert_true(why.text[0]);
        t_exact_free(part);
    }
}

enum { FIRST = 44 }; /* where the first block begins */

/* Where the header of the 64-bit block is in the strait's file. */
static size_t second(void)
{
    for (size_t i = FIRST;; i++)
        if (memcmp(zone_strait + i, "TZif", 4) == 0)
            return i;
}

static void counts_and_fields_that_make_no_sense_are_refused(void **state)
{
    const size_t at = second(), times = at + FIRST;
    const struct {
        size_t at;
        unsigned char byte;
        const char *why;
    } rows[] = {
        {0, 'X', "another kind of file"},
        {32, 0xff, "4 billion changes in the part that is skipped"},
        {at, 'X', "no second header"},
        {at + 31, 1, "leap seconds"},
        {at + 32, 0xff, "4 billion changes"},
        {at + 39, 0, "no type"},
        {at + 36, 0xff, "4 billion types"},
        {at + 43, 0, "no abbreviations"},
        {times, 0x7f, "a change out of order"},
        {sizeof zone_strait - 1, 'X', "no end of the rule"},
        {sizeof zone_strait - 2, 'X', "a rule that is none"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mp_slice bytes = t_exact(strait());
        struct mp_zone *z = NULL;
        struct mp_why why = {""};

        ((char *)(uintptr_t)bytes.ptr)[rows[i].at] = (char)rows[i].byte;
        assert_int_equal(mp_zone_read(&z, bytes, &why), MP_EPARSE);
        print_message("%s: %s\n", rows[i].why, why.text);
        t_exact_free(bytes);
    }
}

/* Before 2005 there was no more than this. */
static void a_file_of_version_1_has_no_rule(void **state)
{
    static const unsigned char bytes[] = {
        'T',  'Z', 'i', 'f', 0,   0,   0,    0,    0,    0,    0, 0, 0,
        0,    0,   0,   0,   0,   0,   0,    0,    0,    0,    0, 0, 0,
        0,    0,   0,   0,   0,   0,   0,    0,    0,    1, /* one change */
        0,    0,   0,   2,   0,   0,   0,    8,             /* two types */
        0x80, 0,   0,   0,   1,                             /* in 1901 to 1 */
        0,    0,   4,   26,  0,   0,   0xff, 0xff, 0xf1, 0xf0, 0, 4, 'L',
        'M',  'T', 0,   '-', '0', '1', 0};
    struct mp_zone *z = zone_of(mp_slice(bytes, sizeof bytes));

    (void)state;
    assert_int_equal(mp_zone_at(z, INT32_MIN - INT64_C(1))->offset_s, 1050);
    assert_int_equal(mp_zone_at(z, INT32_MIN)->offset_s, -3600);
    assert_string_equal(mp_zone_at(z, 99 * YEAR)->abbr, "-01");
    assert_string_equal(mp_zone_posix(z), "<-01>1:00:00");
    agree(z, mp_zone_posix(z), 1910);
    mp_zone_close(z);
}

static void rules_that_make_no_sense_are_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "CET",
        "CE-1",
        "CET-1CEST",
        "CET-1CEST,M3.5.0",
        "CET-1CEST,M13.5.0,M10.5.0",
        "CET-1CEST,M3.6.0,M10.5.0",
        "CET-1CEST,M3.5.7,M10.5.0",
        "CET-1CEST,J0,J365",
        "CET-1CEST,0,366",
        "CET-1CEST,M3.5.0/168,M10.5.0",
        "CET-1CEST,M3.5.0,M10.5.0/3 ",
        "CET-25",
        "CET-1:60",
        "<+01-1",
        "<+0?>-1",
        "99999999999999999999",
        "CET-99999999999999999999",
    };
    struct mp_zone *z = NULL;
    struct mp_why why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mp_slice in = t_exact(mp_slice_str(rows[i]));

        assert_int_equal(mp_zone_read_posix(&z, in, &why), MP_EPARSE);
        print_message("%s: %s\n", rows[i], why.text);
        t_exact_free(in);
    }
}

/* ---- all that the machine has ---- */

static int read_each(const char *dir, int depth)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    int n = 0;

    while (d && (e = readdir(d))) {
        struct mp_zone *z = NULL;
        struct mp_why why, bad;
        char path[512];

        if (e->d_name[0] == '.' || strcmp(e->d_name, "right") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (depth < 3)
            n += read_each(path, depth + 1);
        if (mp_zone_open(&z, dir, mp_slice_str(e->d_name), &why) == 0)
            n++;
        else if (mp_zone_check(mp_slice_str(e->d_name), &bad) == 0 &&
                 !strstr(why.text, "not a "))
            fail_msg("%s: %s", path, why.text);
        mp_zone_close(z);
    }
    if (d)
        closedir(d);
    return n;
}

static void every_zone_of_the_machine_can_be_read(void **state)
{
    int n = read_each(MP_ZONE_DIR, 0);

    (void)state;
    print_message("%d zones\n", n);
    assert_true(n == 0 || n > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_calendar_is_that_of_libc),
        cmocka_unit_test(a_month_has_its_days),
        cmocka_unit_test(places_that_exist_are_as_libc_has_them),
        cmocka_unit_test(fixed_zones_are_as_libc_has_them),
        cmocka_unit_test(places_that_do_not_exist_are_as_libc_has_them),
        cmocka_unit_test(rules_are_as_libc_has_them),
        cmocka_unit_test(summer_time_may_last_for_ever),
        cmocka_unit_test(a_change_may_be_days_off_its_day),
        cmocka_unit_test(the_rule_alone_is_right_from_the_last_change_on),
        cmocka_unit_test(local_time_is_found_again),
        cmocka_unit_test(a_skipped_time_tells_when_the_gap_ends),
        cmocka_unit_test(a_doubled_time_tells_both),
        cmocka_unit_test(half_a_day_may_be_skipped),
        cmocka_unit_test(a_name_is_safe_in_a_path),
        cmocka_unit_test(a_zone_that_is_missing_is_told_with_the_cure),
        cmocka_unit_test(the_system_has_a_zone),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(counts_and_fields_that_make_no_sense_are_refused),
        cmocka_unit_test(a_file_of_version_1_has_no_rule),
        cmocka_unit_test(rules_that_make_no_sense_are_refused),
        cmocka_unit_test(every_zone_of_the_machine_can_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
