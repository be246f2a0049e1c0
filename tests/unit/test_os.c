/*
 * Local time in functions: each has its own zone, in one process without
 * zone files.
 */
#include "tests/unit/worker_kit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/local.h"
#include "core/zone.h"

enum { WINTER = 1735732800, SUMMER = 1751371200 }; /* noon of UTC, 2025 */

static struct kit *k;
static struct mp_buf tables[3];

static void table_of(const char *name, struct mp_buf *table)
{
    struct mp_why why;

    mp_buf_init(table, (size_t)MP_LOCAL_ROWS_MAX * MP_LOCAL_ROW);
    if (mp_zone_table_of(name, table, &why))
        fail_msg("%s", why.text);
    assert_false(table->full);
}

static int open_kit(void **fixture)
{
    (void)fixture;
    k = kit_open();
    table_of("Europe/Paris", &tables[0]);
    table_of("America/New_York", &tables[1]);
    table_of("Asia/Kolkata", &tables[2]);
    return 0;
}

static int close_kit(void **fixture)
{
    (void)fixture;
    kit_close(k);
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        mp_buf_fini(&tables[i]);
    return 0;
}

static void load_in(uint32_t fn, const struct mp_buf *zone, const char *body)
{
    char text[4096];

    snprintf(text, sizeof text, "return function(event) %s\nend", body);
    k->zone = mp_buf_bytes(zone);
    kit_load(k, fn, text);
}

static void expect(uint32_t fn, const char *data, const char *result)
{
    kit_run(k, fn, data);
    if (k->done.kind != MP_OUT_OK)
        fail_msg("%.*s", MP_FMT(k->done.error));
    assert_slice(k->done.result, result);
}

static void functions_of_one_worker_have_zones_of_their_own(void **fixture)
{
    static const char body[] =
        "return os.date('%H:%M %Z %z', tonumber(event.data))";

    (void)fixture;
    for (uint32_t i = 0; i < 3; i++)
        load_in(i + 1, &tables[i], body);
    for (int turn = 0; turn < 2; turn++) {
        expect(1, "1735732800", "13:00 CET +0100");
        expect(2, "1735732800", "07:00 EST -0500");
        expect(3, "1735732800", "17:30 IST +0530");
        expect(1, "1751371200", "14:00 CEST +0200");
        expect(2, "1751371200", "08:00 EDT -0400");
        expect(3, "1751371200", "17:30 IST +0530");
    }
}

static void the_initialiser_has_the_zone_too(void **fixture)
{
    (void)fixture;
    k->zone = mp_buf_bytes(&tables[0]);
    kit_load(k, 1,
             "local h = os.date('%H', 1751371200)\n"
             "return function() return h end");
    expect(1, "", "14");
}

static void without_a_zone_it_is_utc(void **fixture)
{
    (void)fixture;
    load_in(1, &(struct mp_buf){0},
            "return os.date('%H:%M %Z', 1751371200) .. "
            "os.time{year = 1970, month = 1, day = 2, hour = 0}");
    expect(1, "", "12:00 UTC86400");
}

static void a_table_says_whether_it_is_summer_time(void **fixture)
{
    (void)fixture;
    load_in(1, &tables[0],
            "local t = os.date('*t', 1751371200)\n"
            "local w = os.date('*t', 1735732800)\n"
            "local u = os.date('!*t', 1751371200)\n"
            "return ('%d %s %d %s %d %s'):format(t.hour, t.isdst, w.hour, "
            "w.isdst, u.hour, u.isdst)");
    expect(1, "", "14 true 13 false 12 false");
}

static void what_is_not_of_the_zone_stays_as_it_is(void **fixture)
{
    (void)fixture;
    load_in(1, &tables[0],
            "return os.date('%%Z|%%%z|!%d|%c', 1751371200.9) .. "
            "os.date('!%H', 1751371200) .. os.date('', 0)");
    expect(1, "", "%Z|%+0200|!01|Tue Jul  1 14:00:00 202512");
}

static void time_goes_back_to_where_date_came_from(void **fixture)
{
    (void)fixture;
    load_in(1, &tables[0],
            "local step = 3571 for t = 1700000000, 1770000000, step * 97 do\n"
            "if os.time(os.date('*t', t)) ~= t then return t end end\n"
            "return 'all'");
    expect(1, "", "all");
}

static const struct {
    const char *fields, *result, *why;
} times[] = {
    {"year=2025,month=7,day=1,hour=14", "1751371200 14 true", "summer"},
    {"year=2025,month=1,day=1,hour=13", "1735732800 13 false", "winter"},
    {"year=2025,month=3,day=30,hour=2,min=30", "1743298200 3 true",
     "clocks skip it: counted on from before"},
    {"year=2025,month=10,day=26,hour=2,min=30", "1761438600 2 true",
     "clocks show it twice: the first"},
    {"year=2025,month=10,day=26,hour=2,min=30,isdst=false",
     "1761442200 2 false", "... unless the second is meant"},
    {"year=2025,month=10,day=26,hour=2,min=30,isdst=true", "1761438600 2 true",
     "... or the first"},
    {"year=2025,month=1,day=1,hour=13,isdst=true", "1735729200 12 false",
     "summer time in winter is an hour off"},
    {"year=2025,month=7,day=1,hour=14,isdst=false", "1751374800 15 true",
     "and the other way round"},
    {"year=2025,month=14,day=-3,hour=36", "1769684400 12 false",
     "fields beyond their ends are carried"},
};

static void a_local_time_is_an_instant(void **fixture)
{
    char body[512];

    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        print_message("%s\n", times[i].why);
        snprintf(body, sizeof body,
                 "local f = {%s} local t = os.time(f)\n"
                 "return t .. ' ' .. f.hour .. ' ' .. tostring(f.isdst)",
                 times[i].fields);
        load_in(1, &tables[0], body);
        expect(1, "", times[i].result);
    }
}

static void misuse_says_what_lua_says(void **fixture)
{
    (void)fixture;
    load_in(1, &tables[0],
            "local _, a = pcall(os.date, '%Ez', 0)\n"
            "local _, b = pcall(os.date, '%H', 1e300)\n"
            "local _, c = pcall(os.date, '%H', math.maxinteger)\n"
            "local _, d = pcall(os.time, {year = 2025})\n"
            "local _, e = pcall(os.time, 'x')\n"
            "return table.concat({a, b, c, d, e}, '|')");
    kit_run(k, 1, "");
    assert_has(k->done.result, "invalid conversion specifier '%Ez'");
    assert_has(k->done.result, "number has no integer representation");
    assert_has(k->done.result, "cannot be represented");
    assert_has(k->done.result, "field 'month' missing in date table");
    assert_has(k->done.result, "table expected, got string");
}

/* The table says what the zone says, at each hour of years with changes. */
static void a_table_is_its_zone(void **fixture)
{
    static const char *const names[] = {"Europe/Paris",
                                        "America/New_York",
                                        "Australia/Lord_Howe",
                                        "Africa/Casablanca",
                                        "Asia/Kolkata",
                                        "America/Sao_Paulo",
                                        "UTC"};
    struct mp_why why;

    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct mp_zone *z;
        struct mp_buf table;

        table_of(names[i], &table);
        assert_int_equal(
            mp_zone_open(&z, MP_ZONE_DIR, mp_slice_str(names[i]), &why), 0);
        for (int64_t t = 0; t < INT64_C(4102444800); t += 7 * 3600 + 1800) {
            const struct mp_zone_type *type = mp_zone_at(z, t);
            struct mp_local row = mp_local_at(mp_buf_bytes(&table), t);

            assert_int_equal(row.offset_s, type->offset_s);
            assert_int_equal(row.dst, type->dst);
            assert_string_equal(row.abbr, type->abbr);
        }
        mp_zone_close(z);
        mp_buf_fini(&table);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_kit, close_kit)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(functions_of_one_worker_have_zones_of_their_own),
        TEST(the_initialiser_has_the_zone_too),
        TEST(without_a_zone_it_is_utc),
        TEST(a_table_says_whether_it_is_summer_time),
        TEST(what_is_not_of_the_zone_stays_as_it_is),
        TEST(time_goes_back_to_where_date_came_from),
        TEST(a_local_time_is_an_instant),
        TEST(misuse_says_what_lua_says),
        cmocka_unit_test(a_table_is_its_zone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
