/*
 * test_dead.c - which letters are kept, which are only counted, and what that
 * costs the disk: with a real database.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "core/base/clock.h"
#include "core/base/wire.h"
#include "core/dead.h"
#include "tests/unit/db_kit.h"

static struct db_kit kit;
static struct mp_dead_store dead;
static uint64_t max_bytes;
static uint64_t flash;
static int64_t wall_us;

static void load(void)
{
    struct mp_db *db = db_kit_reader(&kit);
    struct mp_why why;

    assert_int_equal(mp_dead_load(&dead, db, &why), 0);
    mp_db_close(db);
}

static int set_up(void **state)
{
    (void)state;
    max_bytes = 8 << 20;
    wall_us = 1000 * MP_SECOND;
    db_kit_open(&kit);
    mp_dead_init(&dead, &kit.commit, max_bytes);
    load();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mp_dead_fini(&dead);
    db_kit_close(&kit);
    return 0;
}

static void restart(void)
{
    mp_dead_fini(&dead);
    db_kit_stop(&kit);
    db_kit_start(&kit);
    mp_dead_init(&dead, &kit.commit, max_bytes);
    load();
}

/* A letter whose event has n as its data. */
static uint64_t give_up(const char *fn, const char *error, int n, int64_t *id)
{
    char data[16];
    struct mp_event event = {.type = MP_EVENT_MQTT,
                             .id = MP_S("an-id"),
                             .topic = MP_S("a/b"),
                             .attempt = 2};
    struct mp_letter letter = {.fn = mp_slice_str(fn),
                               .version = MP_S("1.0.0"),
                               .outcome = MP_S("error"),
                               .error = mp_slice_str(error),
                               .attempt = 2,
                               .time_us = ++wall_us,
                               .event = &event,
                               .flash = &flash};

    snprintf(data, sizeof data, "%d", n);
    event.data = mp_slice_str(data);
    return mp_dead_add(&dead, &letter, id);
}

static void give_up_often(const char *error, int n)
{
    int64_t id;

    for (int i = 0; i < n; i++)
        (void)give_up("f", error, i, &id);
}

/* What the database has, in order. */
struct listed {
    int64_t id, count;
    int data;
    char site[MP_DEAD_SITE_MAX + 1];
};

static void take_row(struct mp_query *q, struct listed *l)
{
    struct mp_reader r = mp_reader(mp_column_bytes(q, 7));
    struct mp_pair pairs[MP_EVENT_PAIRS];
    struct mp_event e;

    mp_get_event(&r, &e, pairs);
    assert_false(r.bad);
    assert_true(mp_slice_is(e.topic, "a/b"));
    l->id = mp_column_int(q, 0);
    l->data = 0;
    for (size_t i = 0; i < e.data.len; i++)
        l->data = l->data * 10 + (e.data.ptr[i] - '0');
    l->count = mp_column_int(q, 11);
    snprintf(l->site, sizeof l->site, "%.*s", MP_FMT(mp_column_bytes(q, 10)));
}

static unsigned list(struct listed *l, unsigned max)
{
    struct mp_query *q;
    struct mp_db *db;
    struct mp_why why;
    unsigned n = 0;
    int rc;

    db_kit_commit(&kit);
    db = db_kit_reader(&kit);
    q = mp_query_begin(db, MP_SQL_DEAD_LIST);
    mp_query_null(q);
    mp_query_int(q, 0);
    mp_query_int(q, 100000);
    while ((rc = mp_query_step(q, &why)) == 1) {
        assert_true(n < max);
        take_row(q, &l[n++]);
    }
    assert_int_equal(rc, 0);
    mp_query_end(q);
    mp_db_close(db);
    return n;
}

static void assert_kept(uint64_t kept, uint64_t counted)
{
    uint64_t k, c;

    mp_dead_of(&dead, MP_S("f"), &k, &c);
    assert_int_equal(k, kept);
    assert_int_equal(c, counted);
}

/* ---- sites ---- */

static const struct {
    const char *error, *site, *why;
} sites[] = {
    {"main.lua:6: attempt to compare nil with number", "main.lua:6",
     "the ordinary case"},
    {"lib/a-b.lua:12", "lib/a-b.lua:12", "a file in a folder, nothing behind"},
    {"[string \"x y\"]:3: boom", "[string \"x y\"]:3", "a chunk of load"},
    {"main.lua:x: boom", "main.lua:x: boom", "no line"},
    {"main.lua:6x boom", "# boom", "no line either"},
    {"see main.lua:6: boom", "see # boom", "not at the beginning"},
    {"attempt to compare number 17", "attempt to compare number #",
     "the number differs each time"},
    {"bad temp 31.4 at kiln-2, not -0x1f", "bad temp # at # not #",
     "measures and names of devices differ too"},
    {"12:30: no such time", "# no such time", "a time is no place"},
    {"  two   blanks ", "two blanks", "blanks don't count"},
    {"first line\nsecond 2", "first line", "the first line says it"},
    {"", "", "an error may be empty"},
    {"\n", "", "or as good as that"},
};

static void an_error_has_a_site(void **state)
{
    char site[MP_DEAD_SITE_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sites); i++) {
        size_t len = mp_dead_site(mp_slice_str(sites[i].error), site);

        print_message("%s: %s\n", sites[i].error, sites[i].why);
        assert_int_equal(len, strlen(sites[i].site));
        assert_memory_equal(site, sites[i].site, len);
    }
    assert_int_equal(mp_dead_site(mp_slice(NULL, 0), site), 0);
}

static void a_site_has_an_end(void **state)
{
    char site[MP_DEAD_SITE_MAX], error[4000];

    (void)state;
    memset(error, 'x', sizeof error);
    assert_int_equal(mp_dead_site(mp_slice(error, sizeof error), site),
                     MP_DEAD_SITE_MAX);
    memset(error, ' ', sizeof error);
    assert_int_equal(mp_dead_site(mp_slice(error, sizeof error), site), 0);
    for (size_t i = 0; i < sizeof error; i += 2)
        error[i] = 'x';
    assert_true(mp_dead_site(mp_slice(error, sizeof error), site) <=
                MP_DEAD_SITE_MAX);
    memset(error, 'x', sizeof error);
    memcpy(error + 200, ".lua:1:", 7);
    assert_int_equal(mp_dead_site(mp_slice(error, sizeof error), site),
                     1); /* one word with a digit: "#" */
}

/* ---- keeping ---- */

static void the_first_ones_are_kept_at_once(void **state)
{
    struct listed l[20];
    int64_t id, last = 0;

    (void)state;
    for (int i = 0; i < MP_DEAD_FIRST; i++) {
        assert_true(give_up("f", "main.lua:6: x", i, &id) > 0);
        assert_true(id > last);
        last = id;
    }
    assert_int_equal(list(l, 20), MP_DEAD_FIRST);
    for (int i = 0; i < MP_DEAD_FIRST; i++)
        assert_int_equal(l[i].data, i);
    assert_string_equal(l[0].site, "main.lua:6");
    assert_int_equal(l[0].count, MP_DEAD_FIRST);
    assert_true(flash > 0);
    assert_kept(10, 10);
}

static void
of_the_rest_only_the_last_is_kept_and_the_others_counted(void **state)
{
    struct listed l[20];
    uint64_t durable;
    int64_t id;

    (void)state;
    give_up_often("main.lua:6: x", 10);
    db_kit_commit(&kit);
    durable = kit.commit.durable;
    mp_dead_tick(&dead, 1);
    for (int i = 10; i < 1000; i++) {
        assert_int_equal(give_up("f", "main.lua:6: y", i, &id), 0);
        mp_dead_tick(&dead, 59 * MP_SECOND);
    }
    assert_int_equal(kit.commit.durable, durable); /* no flash for it */
    assert_kept(11, 1000);
    mp_dead_tick(&dead, 61 * MP_SECOND);
    assert_int_equal(list(l, 20), 11);
    assert_int_equal(l[10].data, 999);
    assert_int_equal(l[10].id, id);
    assert_int_equal(l[10].count, 1000);
    assert_kept(11, 1000);
}

static void the_next_last_one_takes_the_place_of_the_last(void **state)
{
    struct listed l[20];

    (void)state;
    give_up_often("main.lua:6: x", 20);
    mp_dead_flush(&dead);
    give_up_often("main.lua:6: x", 7);
    mp_dead_flush(&dead);
    mp_dead_flush(&dead); /* nothing new */
    assert_int_equal(list(l, 20), 11);
    assert_int_equal(l[9].data, 9);
    assert_int_equal(l[10].data, 6);
    assert_int_equal(l[10].count, 27);
    assert_int_equal(dead.count, 11);
}

static void it_goes_on_after_a_restart(void **state)
{
    struct listed l[20];
    int64_t before, id;

    (void)state;
    give_up_often("main.lua:6: x", 20);
    mp_dead_flush(&dead);
    assert_int_equal(list(l, 20), 11);
    before = l[10].id;
    restart();
    assert_kept(11, 20);
    assert_int_equal(give_up("f", "main.lua:6: x", 77, &id), 0);
    assert_true(id > before);
    mp_dead_flush(&dead);
    assert_int_equal(list(l, 20), 11);
    assert_int_equal(l[10].data, 77);
    assert_int_equal(l[10].count, 21);
    assert_int_equal(l[9].data, 9);
}

static void functions_versions_sites_and_outcomes_are_groups(void **state)
{
    struct mp_event event = {.attempt = 1};
    struct mp_letter l = {.fn = MP_S("f"),
                          .version = MP_S("1.0.0"),
                          .outcome = MP_S("error"),
                          .error = MP_S("main.lua:1: x"),
                          .event = &event};
    int64_t id;

    (void)state;
    (void)mp_dead_add(&dead, &l, &id);
    l.error = MP_S("main.lua:1: y");
    (void)mp_dead_add(&dead, &l, &id);
    assert_int_equal(dead.n_groups, 1);
    l.error = MP_S("main.lua:2: y");
    (void)mp_dead_add(&dead, &l, &id);
    l.version = MP_S("1.0.1");
    (void)mp_dead_add(&dead, &l, &id);
    l.outcome = MP_S("timeout");
    (void)mp_dead_add(&dead, &l, &id);
    l.fn = MP_S("g");
    (void)mp_dead_add(&dead, &l, &id);
    assert_int_equal(dead.n_groups, 5);
    db_kit_commit(&kit);
    assert_int_equal(db_kit_rows(&kit, MP_SQL_DEAD_GROUPS), 5);
}

/* ---- bounds ---- */

static void the_oldest_letters_go_when_there_is_no_room(void **state)
{
    struct listed l[200];
    char error[40];
    unsigned n;
    int64_t id;

    (void)state;
    dead.max_bytes = 4000;
    for (int i = 0; i < 100; i++) {
        snprintf(error, sizeof error, "main.lua:%d: x", i);
        (void)give_up("f", error, i, &id);
        assert_true(dead.bytes <= 4000);
    }
    n = list(l, 200);
    assert_true(n > 5 && n < 40);
    assert_int_equal(n, dead.count);
    assert_int_equal(l[n - 1].data, 99);
    assert_int_equal(l[0].data, 100 - (int)n);
    assert_int_equal(dead.n_groups, n); /* the others went */
    assert_int_equal(db_kit_rows(&kit, MP_SQL_DEAD_GROUPS), n);
}

/* Else a flood would write a letter and delete one, for ever. */
static void a_full_group_stays_counted_when_its_first_ones_go(void **state)
{
    int64_t id;

    (void)state;
    give_up_often("main.lua:1: x", 30);
    mp_dead_flush(&dead);
    dead.max_bytes = dead.bytes;
    (void)give_up("f", "main.lua:2: x", 0, &id);
    assert_int_equal(give_up("f", "main.lua:1: x", 31, &id), 0);
}

static void last_ones_in_memory_take_of_the_room_too(void **state)
{
    char error[400];

    (void)state;
    dead.max_bytes = 4000;
    memset(error, 'x', sizeof error - 1);
    error[sizeof error - 1] = '\0';
    for (int i = 0; i < 20; i++) {
        int n = snprintf(error, sizeof error, "main.lua:%d: ", i);

        error[n] = 'x';
        for (int k = 0; k < 30; k++) {
            int64_t id;

            (void)give_up("f", error, k, &id);
            assert_true(dead.bytes <= 4000);
        }
    }
    assert_int_equal(dead.n_groups, 1); /* the oldest went first */
    assert_kept(dead.count + 1, 30);
    mp_dead_flush(&dead);
    assert_true(dead.bytes <= 4000);
    assert_true(mp_dead_drop_all(&dead, MP_S("")) > 0);
    assert_int_equal(dead.bytes, 0);
}

static void one_letter_is_kept_however_large(void **state)
{
    struct listed l[4];
    int64_t id;

    (void)state;
    dead.max_bytes = 10;
    (void)give_up("f", "main.lua:1: x", 1, &id);
    (void)give_up("f", "main.lua:1: x", 2, &id);
    assert_int_equal(list(l, 4), 1);
    assert_int_equal(l[0].data, 2);
}

static void the_group_without_letters_for_longest_goes(void **state)
{
    char error[40];
    int64_t id;

    (void)state;
    for (int i = 0; i < MP_DEAD_GROUPS; i++) {
        snprintf(error, sizeof error, "main.lua:%d: x", i);
        (void)give_up("f", error, i, &id);
    }
    (void)give_up("f", "main.lua:0: x", 0, &id); /* not the oldest any more */
    (void)give_up("f", "main.lua:5000: x", 0, &id);
    assert_int_equal(dead.n_groups, MP_DEAD_GROUPS);
    db_kit_commit(&kit);
    assert_int_equal(db_kit_rows(&kit, MP_SQL_DEAD_GROUPS), MP_DEAD_GROUPS);
    assert_int_equal(dead.count, MP_DEAD_GROUPS + 1);
    restart();
    assert_int_equal(dead.n_groups, MP_DEAD_GROUPS);
    assert_int_equal(dead.count, MP_DEAD_GROUPS + 1);
}

/* ---- dropping ---- */

static void one_can_be_dropped_and_its_id_is_not_used_again(void **state)
{
    struct listed l[20];
    int64_t first, second, third;

    (void)state;
    (void)give_up("f", "main.lua:1: x", 1, &first);
    (void)give_up("f", "main.lua:1: x", 2, &second);
    assert_int_equal(mp_dead_drop(&dead, second), 1);
    assert_int_equal(mp_dead_drop(&dead, second), 0);
    assert_int_equal(mp_dead_drop(&dead, 999), 0);
    assert_kept(1, 1);
    (void)give_up("f", "main.lua:1: x", 3, &third);
    assert_true(third > second);
    assert_int_equal(list(l, 20), 2);
    assert_int_equal(l[0].id, first);
    assert_int_equal(l[1].id, third);
    assert_int_equal(l[1].count, 2);
}

static void after_all_were_dropped_ids_go_on_too(void **state)
{
    int64_t before, id;

    (void)state;
    (void)give_up("f", "main.lua:1: x", 1, &before);
    (void)give_up("g", "main.lua:1: x", 1, &before);
    assert_int_equal(mp_dead_drop_all(&dead, MP_S("")), 2);
    restart();
    (void)give_up("f", "main.lua:1: x", 1, &id);
    assert_int_equal(id, before + 1);
    assert_int_equal(mp_dead_drop(&dead, id), 1);
    restart();
    restart();
    (void)give_up("f", "main.lua:1: x", 1, &before);
    assert_int_equal(before, id + 1);
}

/* As the command line does where no host runs. */
static void drop_by_statement(int64_t id)
{
    struct mp_batch *b = mp_commit_batch(&kit.commit);

    mp_batch_op(b, MP_SQL_DEAD_KEEP_ID);
    mp_batch_op(b, MP_SQL_DEAD_DELETE);
    mp_batch_int(b, id);
}

static void dropped_without_a_host_ids_go_on_too(void **state)
{
    int64_t first, second;

    (void)state;
    (void)give_up("f", "main.lua:1: x", 1, &first);
    (void)give_up("f", "main.lua:1: x", 1, &second);
    db_kit_commit(&kit);
    drop_by_statement(second);
    drop_by_statement(first); /* not the highest: nothing is kept */
    restart();
    assert_int_equal(dead.kept_id, second);
    (void)give_up("f", "main.lua:1: x", 1, &first);
    assert_int_equal(first, second + 1);
    db_kit_commit(&kit);
    drop_by_statement(first); /* once more */
    restart();
    assert_int_equal(dead.kept_id, first);
}

static void to_drop_an_older_one_keeps_no_id(void **state)
{
    int64_t first, second;

    (void)state;
    (void)give_up("f", "main.lua:1: x", 1, &first);
    (void)give_up("f", "main.lua:1: x", 1, &second);
    assert_int_equal(mp_dead_drop(&dead, first), 1);
    assert_int_equal(dead.kept_id, 0); /* a row less to write */
}

static void the_group_goes_with_its_last_letter(void **state)
{
    int64_t id;

    (void)state;
    (void)give_up("f", "main.lua:1: x", 1, &id);
    assert_int_equal(mp_dead_drop(&dead, id), 1);
    assert_int_equal(dead.n_groups, 0);
    db_kit_commit(&kit);
    assert_int_equal(db_kit_rows(&kit, MP_SQL_DEAD_GROUPS), 0);
    assert_int_equal(db_kit_rows(&kit, MP_SQL_DEAD_INDEX), 0);
    assert_int_equal(dead.bytes, 0);
}

static void one_that_was_not_written_yet_can_be_dropped(void **state)
{
    struct listed l[20];
    int64_t id;

    (void)state;
    give_up_often("main.lua:1: x", 10);
    (void)give_up("f", "main.lua:1: x", 11, &id);
    assert_int_equal(mp_dead_drop(&dead, id), 1);
    mp_dead_flush(&dead);
    assert_int_equal(list(l, 20), 10);
    assert_int_equal(l[0].count, 10);
}

static void all_of_a_function_or_of_all_can_be_dropped(void **state)
{
    struct listed l[40];
    int64_t id;

    (void)state;
    give_up_often("main.lua:1: x", 20);
    mp_dead_flush(&dead);
    give_up_often("main.lua:1: x", 20);
    give_up_often("main.lua:2: x", 2);
    (void)give_up("g", "main.lua:1: x", 5, &id);
    assert_int_equal(mp_dead_drop_all(&dead, MP_S("f")), 13);
    assert_int_equal(list(l, 40), 1);
    assert_int_equal(l[0].data, 5);
    give_up_often("main.lua:2: x", 2);
    assert_int_equal(mp_dead_drop_all(&dead, MP_S("")), 3);
    assert_int_equal(list(l, 40), 0);
    assert_int_equal(db_kit_rows(&kit, MP_SQL_DEAD_GROUPS), 0);
}

static void after_a_reset_ids_go_on(void **state)
{
    int64_t before, id;

    (void)state;
    (void)give_up("f", "main.lua:1: x", 1, &before);
    db_kit_commit(&kit);
    (void)mp_dead_drop(&dead, before);
    db_kit_commit(&kit);
    mp_dead_reset(&dead);
    load();
    (void)give_up("f", "main.lua:1: x", 1, &id);
    assert_true(id > before);
    assert_int_equal(dead.count, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_has_a_site),
        cmocka_unit_test(a_site_has_an_end),
        T(the_first_ones_are_kept_at_once),
        T(of_the_rest_only_the_last_is_kept_and_the_others_counted),
        T(the_next_last_one_takes_the_place_of_the_last),
        T(it_goes_on_after_a_restart),
        T(functions_versions_sites_and_outcomes_are_groups),
        T(the_oldest_letters_go_when_there_is_no_room),
        T(a_full_group_stays_counted_when_its_first_ones_go),
        T(last_ones_in_memory_take_of_the_room_too),
        T(one_letter_is_kept_however_large),
        T(the_group_without_letters_for_longest_goes),
        T(one_can_be_dropped_and_its_id_is_not_used_again),
        T(after_all_were_dropped_ids_go_on_too),
        T(dropped_without_a_host_ids_go_on_too),
        T(to_drop_an_older_one_keeps_no_id),
        T(the_group_goes_with_its_last_letter),
        T(one_that_was_not_written_yet_can_be_dropped),
        T(all_of_a_function_or_of_all_can_be_dropped),
        T(after_a_reset_ids_go_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
