/*
 * test_state.c - values of actors, with a real database behind them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/actor.h"
#include "core/base/clock.h"
#include "tests/unit/conf_kit.h"

enum { HANGS_S = 120 };

/* ---- a host's storage, without a host ---- */

static struct {
    char dir[64];
    uv_loop_t loop;
    struct mp_commit commit;
    struct mp_reader_thread reader;
    struct mp_timeline time;
    struct mp_states states;
    struct mp_state_fn *fn;
    struct mp_read load;
    bool loaded;
    uint64_t ops; /* recorded in all seals */
    uint64_t flash;
    uint64_t max_size;
} bed;

static int load_work(struct mp_read *r, struct mp_db *db, struct mp_why *why)
{
    (void)r;
    return mp_states_load(&bed.states, db, why);
}

static void load_done(struct mp_read *r, int rc, const struct mp_why *why)
{
    (void)r;
    (void)why;
    assert_int_equal(rc, 0);
    bed.loaded = true;
    mp_commit_go(&bed.commit);
}

static void load(void)
{
    bed.loaded = false;
    bed.load = (struct mp_read){.work = load_work, .done = load_done};
    mp_reader_reopen(&bed.reader);
    mp_reader_do(&bed.reader, &bed.load);
}

static void opened(void *arg, const struct mp_db_opened *how)
{
    (void)arg;
    (void)how;
    load();
}

static void unable(void *arg, const struct mp_why *why)
{
    (void)arg;
    fail_msg("%s", why->text);
}

static void seal(void *arg, struct mp_batch *batch)
{
    unsigned n = batch->n;

    (void)arg;
    mp_states_seal(&bed.states, batch);
    bed.ops += batch->n - n;
}

static void failed(void *arg, const struct mp_why *why)
{
    (void)arg;
    (void)why;
    bed.loaded = false;
    mp_states_reset(&bed.states);
}

/* Run the loop until that is so. */
#define UNTIL(so)                                                              \
    do {                                                                       \
        for (;;) {                                                             \
            mp_commit_turn(&bed.commit, false);                                \
            if (so)                                                            \
                break;                                                         \
            uv_run(&bed.loop, UV_RUN_ONCE);                                    \
        }                                                                      \
    } while (0)

static void open_store(void)
{
    static const struct mp_commit_user user = {
        .opened = opened, .unable = unable, .failed = failed, .seal = seal};

    assert_int_equal(uv_loop_init(&bed.loop), 0);
    mp_states_init(&bed.states, &bed.commit, &bed.reader, &bed.time);
    mp_reader_open(&bed.reader, &bed.loop, bed.dir);
    bed.loaded = false;
    mp_commit_open(&bed.commit, &bed.loop, bed.dir, bed.max_size, 0, &user);
    UNTIL(bed.loaded);
    bed.fn = mp_states_fn(&bed.states, MP_S("door"));
    bed.fn->quota = 64 << 20;
    bed.fn->flash = &bed.flash;
}

static void close_store(void)
{
    mp_commit_close(&bed.commit);
    mp_reader_close(&bed.reader);
    mp_states_fini(&bed.states);
    uv_run(&bed.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&bed.loop), 0);
}

static int setup(void **state)
{
    (void)state;
    alarm(HANGS_S);
    memset(&bed, 0, sizeof bed);
    mp_timeline_start(&bed.time, MP_S(""), mp_wall_us(), mp_now_us(), 0);
    bed.max_size = 256 << 20;
    t_dir_make(bed.dir);
    open_store();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_store();
    t_dir_remove(bed.dir);
    alarm(0);
    return 0;
}

static void flush(void)
{
    uint64_t ticket = mp_commit_ticket(&bed.commit);

    UNTIL(mp_commit_is_durable(&bed.commit, ticket));
}

static void reopen(void)
{
    flush();
    close_store();
    open_store();
}

static void pass(int64_t us)
{
    bed.time.base_us += us;
}

/* ---- taking and changing ---- */

struct waiting {
    struct mp_state_wait wait;
    bool called;
    int rc;
};

static void on_wait(struct mp_state_wait *w, int rc)
{
    struct waiting *at = mp_of(w, struct waiting, wait);

    at->called = true;
    at->rc = rc;
}

static struct mp_actor *take(const char *key)
{
    struct waiting w = {.wait.done = on_wait};
    struct mp_actor *a;

    while (
        !(a = mp_state_take(&bed.states, bed.fn, mp_slice_str(key), &w.wait))) {
        UNTIL(w.called);
        assert_int_equal(w.rc, 0);
        w.called = false;
    }
    return a;
}

static void leave(struct mp_actor *a)
{
    mp_state_leave(&bed.states, a);
}

static struct mp_effect effect_of(const char *name, struct mp_value v)
{
    return (struct mp_effect){
        .kind = MP_EFFECT_STATE, .name = mp_slice_str(name), .value = v};
}

static struct mp_value integer(int64_t n)
{
    return (struct mp_value){.kind = MP_VALUE_INTEGER, .integer = n};
}

static struct mp_value number(double x)
{
    return (struct mp_value){.kind = MP_VALUE_FLOAT, .number = x};
}

static struct mp_value string(struct mp_slice s)
{
    return (struct mp_value){.kind = MP_VALUE_STRING, .text = s};
}

static const struct mp_value NONE = {0};

/* What mp_state_cost says is what becomes of the quota. */
static bool apply(struct mp_actor *a, const struct mp_effect *e)
{
    int64_t cost = mp_state_cost(&bed.states, a, e);
    uint64_t before = bed.fn->bytes;
    bool changed = mp_state_apply(&bed.states, a, e);

    if (changed)
        assert_int_equal(bed.fn->bytes, before + (uint64_t)cost);
    else
        assert_int_equal(bed.fn->bytes, before);
    return changed;
}

static bool set_ttl(const char *key, const char *name, struct mp_value v,
                    int64_t ttl_us)
{
    struct mp_actor *a = take(key);
    struct mp_effect e = effect_of(name, v);
    bool changed;

    e.ttl_us = ttl_us;
    changed = apply(a, &e);
    leave(a);
    return changed;
}

static bool set(const char *key, const char *name, struct mp_value v)
{
    return set_ttl(key, name, v, 0);
}

/* The value that travels; kind NONE: none does. */
static struct mp_value travels(struct mp_actor *a, const char *name)
{
    struct mp_run_state run = mp_state_travel(&bed.states, a);
    struct mp_reader r = mp_reader(run.entries);

    for (uint32_t i = 0; i < run.n; i++) {
        struct mp_entry e = mp_get_entry(&r);

        if (mp_slice_is(e.name, name))
            return e.value;
    }
    assert_false(r.bad);
    assert_true(r.at == r.end);
    return NONE;
}

/* Compared while it is valid: the actor may go when it is left. */
static bool has(const char *key, const char *name, struct mp_value v)
{
    struct mp_actor *a = take(key);
    struct mp_value got = travels(a, name);
    bool is = mp_value_eq(&got, &v);

    leave(a);
    return is;
}

/* ---- asking ---- */

struct asking {
    struct mp_state_ask ask;
    bool called, more;
    uint32_t n;
    uint64_t run;
    struct mp_buf entries;
    char error[600];
};

static void on_answer(struct mp_state_ask *ask, const struct mp_resume *r)
{
    struct asking *at = mp_of(ask, struct asking, ask);

    assert_false(at->called);
    at->called = true;
    at->more = r->more;
    at->n = r->n;
    at->run = r->run;
    mp_buf_slice(&at->entries, r->entries);
    snprintf(at->error, sizeof at->error, "%.*s", MP_FMT(r->error));
}

static struct asking asked(struct mp_actor *own, struct mp_wait wait)
{
    struct asking at = {.ask.done = on_answer};

    wait.run = 77;
    mp_buf_init(&at.entries, MP_FRAME_MAX);
    mp_state_ask(&bed.states, bed.fn, own, &wait, &at.ask);
    UNTIL(at.called);
    assert_int_equal(at.run, 77);
    return at;
}

static struct mp_wait wait_of(enum mp_wait_kind kind, const char *key,
                              const char *name, const char *after)
{
    return (struct mp_wait){.kind = kind,
                            .of = true,
                            .key = mp_slice_str(key),
                            .name = mp_slice_str(name),
                            .after = mp_slice_str(after)};
}

/* "a b c+": names of the answer, + when there are more. */
static const char *names_of(struct asking at)
{
    static char text[4096];
    struct mp_reader r = mp_reader(mp_buf_bytes(&at.entries));
    size_t len = 0;

    assert_string_equal(at.error, "");
    text[0] = '\0';
    for (uint32_t i = 0; i < at.n; i++) {
        struct mp_entry e = mp_get_entry(&r);

        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s",
                                i ? " " : "", MP_FMT(e.name));
    }
    if (at.more)
        snprintf(text + len, sizeof text - len, "+");
    mp_buf_fini(&at.entries);
    return text;
}

static bool committed_is(const char *key, const char *name, struct mp_value v)
{
    struct asking at = asked(NULL, wait_of(MP_WAIT_GET, key, name, ""));
    struct mp_reader r = mp_reader(mp_buf_bytes(&at.entries));
    struct mp_value got = NONE;
    bool is;

    assert_string_equal(at.error, "");
    if (at.n) {
        struct mp_entry e = mp_get_entry(&r);

        assert_true(mp_slice_is(e.name, name));
        got = e.value;
    }
    is = mp_value_eq(&got, &v);
    mp_buf_fini(&at.entries);
    return is;
}

/* ---- looking at the file ---- */

/* The first column of the first row, as text. */
static const char *sql(const char *query)
{
    static char text[256];
    char path[96];
    sqlite3 *db;
    sqlite3_stmt *stmt;

    text[0] = '\0';
    snprintf(path, sizeof path, "%s/moonpool.db", bed.dir);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, query, -1, &stmt, NULL), SQLITE_OK);
    if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_text(stmt, 0))
        snprintf(text, sizeof text, "%s", sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return text;
}

static uint64_t bytes_in_file(void)
{
    return (uint64_t)atoll(
        sql("SELECT TOTAL(length(CAST(actor AS BLOB)) + length(CAST(name AS"
            " BLOB)) + CASE WHEN kind IN ('string', 'table') THEN"
            " length(CAST(value AS BLOB)) ELSE 8 END) FROM state"
            " WHERE fn = 'door'"));
}

static void assert_quota_is_exact(void)
{
    flush();
    assert_int_equal(bed.fn->bytes, bytes_in_file());
}

/* ---- tests ---- */

static void a_value_is_there_again_after_a_restart(void **state)
{
    static const double minus_zero = -0.0;
    struct mp_slice bytes = mp_slice("a\0\xff", 3);
    struct mp_value table = {.kind = MP_VALUE_TABLE, .text = MP_S("{\"a\":1}")};
    struct mp_value yes = {.kind = MP_VALUE_BOOLEAN, .integer = 1};

    (void)state;
    set("", "i", integer(INT64_MIN));
    set("", "f", number(0.1));
    set("", "whole", number(3));
    set("", "zero", number(minus_zero));
    set("", "inf", number(-INFINITY));
    set("", "s", string(MP_S("h\xc3\xa4")));
    set("", "empty", string(MP_S("")));
    set("", "bytes", string(bytes));
    set("", "t", table);
    set("", "yes", yes);
    for (int i = 0; i < 2; i++) {
        assert_true(has("", "i", integer(INT64_MIN)));
        assert_true(has("", "f", number(0.1)));
        assert_true(has("", "whole", number(3)));
        assert_true(has("", "zero", number(minus_zero)));
        assert_true(has("", "inf", number(-INFINITY)));
        assert_true(has("", "s", string(MP_S("h\xc3\xa4"))));
        assert_true(has("", "empty", string(MP_S(""))));
        assert_true(has("", "bytes", string(bytes)));
        assert_true(has("", "t", table));
        assert_true(has("", "yes", yes));
        assert_true(has("other", "yes", NONE));
        assert_quota_is_exact();
        reopen();
    }
    assert_true(bed.flash > 0);
}

static void rows_are_what_a_person_expects(void **state)
{
    struct mp_value yes = {.kind = MP_VALUE_BOOLEAN, .integer = 7};

    (void)state;
    set("k", "s", string(MP_S("text")));
    set("k", "b", string(mp_slice("\xff", 1)));
    set("k", "yes", yes);
    set("k", "f", number(1));
    flush();
    assert_string_equal(sql("SELECT kind || ' ' || value || ' ' ||"
                            " typeof(value) FROM state WHERE name = 's'"),
                        "string text text");
    assert_string_equal(sql("SELECT kind || ' ' || typeof(value) FROM state"
                            " WHERE name = 'b'"),
                        "string blob");
    assert_string_equal(sql("SELECT kind || ' ' || value FROM state"
                            " WHERE name = 'yes'"),
                        "boolean 1");
    assert_string_equal(sql("SELECT kind || ' ' || typeof(value) || ' ' ||"
                            " (expires IS NULL) FROM state WHERE name = 'f'"),
                        "float real 1");
}

/* SQLite has none: it would read as nothing. */
static void not_a_number_is_a_float_still(void **state)
{
    struct mp_actor *a;

    (void)state;
    assert_true(set("", "x", number(-NAN)));
    assert_false(set("", "x", number(NAN)));
    reopen();
    assert_false(set("", "x", number(-NAN)));
    a = take("");
    assert_int_equal(travels(a, "x").kind, MP_VALUE_FLOAT);
    assert_true(isnan(travels(a, "x").number));
    leave(a);
    assert_quota_is_exact();
}

static void an_equal_value_is_no_change(void **state)
{
    (void)state;
    assert_true(set("", "n", integer(1)));
    assert_false(set("", "n", integer(1)));
    assert_true(set("", "n", number(1)));
    assert_true(set("", "n", integer(2)));
    flush();
    bed.ops = 0;
    assert_false(set("", "n", integer(2)));
    assert_false(set("", "none", NONE));
    flush();
    assert_int_equal(bed.ops, 0);
}

static void a_value_that_changes_often_is_written_once(void **state)
{
    (void)state;
    flush();
    bed.ops = 0;
    for (int i = 1; i <= 100; i++)
        set("", "n", integer(i));
    flush();
    assert_int_equal(bed.ops, 1);
    set("", "came", integer(1));
    set("", "came", NONE);
    flush();
    assert_int_equal(bed.ops, 1);
    set("", "n", NONE);
    set("", "n", integer(100));
    set("", "n", NONE);
    flush();
    assert_int_equal(bed.ops, 2);
    assert_string_equal(sql("SELECT count(*) FROM state"), "0");
}

static void a_ticket_is_open_until_the_change_is_durable(void **state)
{
    struct mp_actor *a = take("k");
    struct mp_effect e = effect_of("n", integer(1));
    uint64_t ticket;

    (void)state;
    assert_int_equal(mp_state_ticket(a), 0);
    assert_true(apply(a, &e));
    ticket = mp_state_ticket(a);
    assert_int_not_equal(ticket, 0);
    while (!committed_is("k", "n", integer(1))) /* nor is it there before */
        ;
    UNTIL(mp_commit_is_durable(&bed.commit, ticket));
    assert_int_equal(mp_state_ticket(a), 0);
    leave(a);
    assert_true(committed_is("k", "n", integer(1)));
}

static void one_invocation_has_an_actor_and_others_wait(void **state)
{
    struct waiting one = {.wait.done = on_wait}, two = one, never = one;
    struct mp_actor *a = take("k");

    (void)state;
    assert_null(mp_state_take(&bed.states, bed.fn, MP_S("k"), &one.wait));
    assert_null(mp_state_take(&bed.states, bed.fn, MP_S("k"), &never.wait));
    assert_null(mp_state_take(&bed.states, bed.fn, MP_S("k"), &two.wait));
    mp_state_wait_not(&never.wait);
    assert_false(one.called);
    leave(a);
    assert_true(one.called && two.called && !never.called);
    a = mp_state_take(&bed.states, bed.fn, MP_S("k"), &one.wait);
    assert_non_null(a);
    leave(a);
}

static void an_expired_value_is_as_if_absent(void **state)
{
    struct asking at;

    (void)state;
    assert_true(set_ttl("k", "n", integer(1), 10 * MP_SECOND));
    assert_true(set_ttl("k", "m", integer(1), 20 * MP_SECOND));
    assert_true(set_ttl("only", "m", integer(1), 10 * MP_SECOND));
    /* again is a change: it lives longer */
    assert_true(set_ttl("k", "n", integer(1), 10 * MP_SECOND));
    flush();
    assert_true(has("k", "n", integer(1)));
    pass(11 * MP_SECOND);
    assert_true(committed_is("k", "n", NONE));
    assert_string_equal(
        names_of(asked(NULL, wait_of(MP_WAIT_EACH, "k", "", ""))), "m");
    at = asked(NULL, wait_of(MP_WAIT_ACTORS, "", "", ""));
    assert_string_equal(names_of(at), "k");
    assert_false(set("k", "n", NONE));
    assert_true(has("k", "n", NONE));
    assert_true(has("k", "m", integer(1)));
    assert_quota_is_exact();
    assert_true(set_ttl("k", "n", integer(5), MP_SECOND));
    pass(2 * MP_SECOND);
    assert_true(set("k", "n", integer(5)));
    reopen();
    assert_true(has("k", "n", integer(5)));
    assert_quota_is_exact();
}

static void setting_without_ttl_removes_the_expiry(void **state)
{
    (void)state;
    set_ttl("k", "n", integer(1), 10 * MP_SECOND);
    flush();
    assert_true(set("k", "n", integer(1)));
    assert_false(set("k", "n", integer(1)));
    reopen();
    pass(11 * MP_SECOND);
    assert_true(has("k", "n", integer(1)));
}

static void a_ttl_beyond_the_end_of_time_is_for_ever(void **state)
{
    (void)state;
    set_ttl("k", "n", integer(1), INT64_MAX);
    reopen();
    assert_true(has("k", "n", integer(1)));
}

static bool swept(void)
{
    return !bed.states.sweep;
}

static void a_sweep_deletes_what_has_expired(void **state)
{
    char key[32];

    (void)state;
    for (int i = 0; i < 1200; i++) {
        snprintf(key, sizeof key, "k%d", i);
        set_ttl(key, "n", integer(i), (1 + i % 2) * 10 * MP_SECOND);
        if (i % 3 == 0)
            set(key, "stays", integer(i));
    }
    reopen(); /* more than a page of actors that are not in memory */
    pass(11 * MP_SECOND);
    assert_true(has("k6", "n", NONE)); /* and some that are */
    mp_states_sweep(&bed.states);
    UNTIL(swept());
    assert_quota_is_exact();
    assert_string_equal(sql("SELECT count(*) FROM state"), "1000");
    set("k1", "n", integer(-1)); /* in memory, and its row has expired */
    pass(11 * MP_SECOND);
    set("k3", "n", integer(-1));
    mp_states_sweep(&bed.states);
    set("k5", "n", integer(-1));
    UNTIL(swept());
    assert_quota_is_exact();
    assert_string_equal(sql("SELECT count(*) FROM state WHERE name = 'n'"),
                        "3");
    assert_true(has("k5", "n", integer(-1)));
}

static void a_sweep_of_nothing_writes_nothing(void **state)
{
    (void)state;
    set_ttl("k", "n", integer(1), 10 * MP_SECOND);
    reopen();
    bed.ops = 0;
    mp_states_sweep(&bed.states);
    UNTIL(swept());
    assert_false(bed.commit.wanted);
    /* Nor does reading what has expired ask for a commit. */
    pass(11 * MP_SECOND);
    assert_true(has("k", "n", NONE));
    assert_false(bed.commit.wanted);
    assert_int_equal(bed.ops, 0);
}

/* ---- large actors ---- */

static char *big(size_t len, char c)
{
    char *text = mp_alloc(len + 1);

    memset(text, c, len);
    text[len] = '\0';
    return text;
}

/* v00.. of 10,000 bytes each: six of them travel. */
static void fill(const char *key, int n)
{
    struct mp_actor *a = take(key);

    for (int i = 0; i < n; i++) {
        char name[16], *text = big(10000, (char)('a' + i % 26));
        struct mp_effect e;

        snprintf(name, sizeof name, "v%02d", i);
        e = effect_of(name, string(mp_slice_str(text)));
        assert_true(apply(a, &e));
        free(text);
    }
    leave(a);
}

static void a_large_actor_travels_in_part(void **state)
{
    struct mp_actor *a;
    struct mp_run_state run;
    struct mp_wait wait = {.kind = MP_WAIT_GET, .name = MP_S("v09")};
    struct asking at;
    struct mp_reader r;

    (void)state;
    fill("k", 10);
    /* It is read anew, after the change is durable. */
    a = take("k");
    assert_int_equal(mp_state_ticket(a), 0);
    run = mp_state_travel(&bed.states, a);
    assert_false(run.complete);
    assert_int_equal(run.n, 6);
    assert_true(run.entries.len <= MP_STATE_TRAVEL_MAX);
    assert_int_equal(travels(a, "v05").text.len, 10000);
    at = asked(a, wait);
    assert_int_equal(at.n, 1);
    r = mp_reader(mp_buf_bytes(&at.entries));
    assert_int_equal(mp_get_entry(&r).value.text.ptr[9999], 'j');
    mp_buf_fini(&at.entries);
    leave(a);
    a = take("k");
    leave(a);
    assert_quota_is_exact();
}

/* Deleting, making equal, replacing what is not in memory. */
static void what_is_beyond_is_known_well_enough(void **state)
{
    char *nines = big(10000, 'j');
    struct mp_effect equal = effect_of("v09", string(mp_slice_str(nines)));
    struct mp_effect other = effect_of("v08", integer(8));
    struct mp_effect gone = effect_of("v07", NONE);
    struct mp_effect none = effect_of("v99", NONE);
    struct mp_actor *a;

    (void)state;
    fill("k", 10);
    a = take("k");
    assert_false(a->complete);
    assert_false(apply(a, &equal));
    assert_int_equal(mp_state_ticket(a), 0);
    assert_int_equal(mp_state_cost(&bed.states, a, &equal), 0);
    assert_int_equal(mp_state_cost(&bed.states, a, &other), 8 - 10000);
    assert_int_equal(mp_state_cost(&bed.states, a, &gone), -10004);
    assert_int_equal(mp_state_cost(&bed.states, a, &none), 0);
    assert_true(apply(a, &other));
    assert_false(apply(a, &other));
    assert_true(apply(a, &gone));
    assert_false(apply(a, &gone));
    assert_false(apply(a, &none));
    leave(a);
    assert_quota_is_exact();
    assert_true(committed_is("k", "v08", integer(8)));
    assert_true(committed_is("k", "v07", NONE));
    assert_true(committed_is("k", "v09", string(mp_slice_str(nines))));
    /* Small again, it is complete again. */
    for (int i = 1; i < 10; i++) {
        char name[16];

        snprintf(name, sizeof name, "v%02d", i);
        set("k", name, NONE);
    }
    a = take("k");
    assert_true(mp_state_travel(&bed.states, a).complete);
    leave(a);
    assert_quota_is_exact();
    free(nines);
}

static void one_value_may_be_too_large_to_travel(void **state)
{
    char *text = big(MP_STATE_VALUE_MAX, 'x');
    struct mp_actor *a;

    (void)state;
    set("k", "v", string(mp_slice_str(text)));
    a = take("k");
    assert_int_equal(mp_state_travel(&bed.states, a).n, 0);
    assert_false(mp_state_travel(&bed.states, a).complete);
    leave(a);
    assert_true(committed_is("k", "v", string(mp_slice_str(text))));
    assert_false(set("k", "v", string(mp_slice_str(text))));
    assert_quota_is_exact();
    free(text);
}

static void who_waits_for_a_large_actor_gets_it(void **state)
{
    struct waiting one = {.wait.done = on_wait}, two = one;
    struct mp_actor *a = take("k");

    (void)state;
    leave(a);
    fill("k", 10);
    assert_null(mp_state_take(&bed.states, bed.fn, MP_S("k"), &one.wait));
    assert_null(mp_state_take(&bed.states, bed.fn, MP_S("k"), &two.wait));
    UNTIL(one.called && two.called);
    assert_int_equal(one.rc, 0);
    a = take("k");
    leave(a);
    /* What expires in one that nobody changes is no reason to hang. */
    set_ttl("k", "a", integer(1), 10 * MP_SECOND);
    flush();
    pass(11 * MP_SECOND);
    assert_true(has("k", "a", NONE));
    assert_true(has("k", "a", NONE));
    assert_quota_is_exact();
}

/* ---- asking ---- */

static void names_come_sorted_by_prefix_and_in_pages(void **state)
{
    struct asking at;

    (void)state;
    set("k", "b/1", integer(1));
    set("k", "b/2", integer(2));
    set("k", "b", integer(0));
    set("k", "a", integer(0));
    set("k", "b\xc3\xa4", integer(0));
    set("k", "c", integer(0));
    flush();
    at = asked(NULL, wait_of(MP_WAIT_NAMES, "k", "b", ""));
    assert_string_equal(names_of(at), "b b/1 b/2 b\xc3\xa4");
    at = asked(NULL, wait_of(MP_WAIT_NAMES, "k", "b/", "b/1"));
    assert_string_equal(names_of(at), "b/2");
    /* A prefix is bytes. */
    at = asked(NULL, wait_of(MP_WAIT_NAMES, "k", "b\xc3", ""));
    assert_string_equal(names_of(at), "b\xc3\xa4");
    at = asked(NULL, wait_of(MP_WAIT_NAMES, "k", "%", ""));
    assert_string_equal(names_of(at), "");
    at = asked(NULL, wait_of(MP_WAIT_EACH, "k", "", "b/2"));
    assert_string_equal(names_of(at), "b\xc3\xa4 c");
    at = asked(NULL, wait_of(MP_WAIT_EACH, "nobody", "", ""));
    assert_string_equal(names_of(at), "");
}

static void pages_end_and_go_on(void **state)
{
    char name[24], last[24] = "";
    struct mp_actor *a = take("k");
    uint32_t n = 0, pages = 0;
    struct asking at;

    (void)state;
    for (int i = 0; i < 2500; i++) {
        struct mp_effect e;

        snprintf(name, sizeof name, "n%04d", i);
        e = effect_of(name, integer(i));
        assert_true(apply(a, &e));
    }
    leave(a);
    flush();
    do {
        struct mp_reader r;

        at = asked(NULL, wait_of(MP_WAIT_NAMES, "k", "n", last));
        assert_true(at.n <= 1000 && at.n > 0);
        r = mp_reader(mp_buf_bytes(&at.entries));
        for (uint32_t i = 0; i < at.n; i++) {
            struct mp_entry e = mp_get_entry(&r);

            snprintf(name, sizeof name, "n%04u", n++);
            assert_true(mp_slice_is(e.name, name));
            assert_int_equal(e.value.kind, MP_VALUE_NONE);
        }
        memcpy(last, name, sizeof last);
        mp_buf_fini(&at.entries);
        pages++;
    } while (at.more);
    assert_int_equal(n, 2500);
    assert_int_equal(pages, 3);
    fill("big", 10);
    flush();
    at = asked(NULL, wait_of(MP_WAIT_EACH, "big", "", ""));
    assert_string_equal(names_of(at), "v00 v01 v02 v03 v04 v05+");
    at = asked(NULL, wait_of(MP_WAIT_EACH, "big", "", "v05"));
    assert_string_equal(names_of(at), "v06 v07 v08 v09");
}

static void actors_are_those_that_have_values(void **state)
{
    struct mp_wait wait = wait_of(MP_WAIT_ACTORS, "", "", "");

    (void)state;
    set("", "n", integer(1));
    set("a1", "n", integer(1));
    set("a1", "m", integer(1));
    set("a2", "n", integer(1));
    set("b1", "n", integer(1));
    flush();
    set("b1", "n", NONE);
    flush();
    for (int i = 0; i < 2; i++) {
        wait.after = wait.name = MP_S("");
        wait.limit = 0;
        assert_string_equal(names_of(asked(NULL, wait)), "a1 a2");
        wait.limit = 1;
        assert_string_equal(names_of(asked(NULL, wait)), "a1+");
        wait.after = MP_S("a1");
        assert_string_equal(names_of(asked(NULL, wait)), "a2");
        wait.name = MP_S("b");
        assert_string_equal(names_of(asked(NULL, wait)), "");
        /* and the same from memory */
        bed.fn->volatile_ = true;
        set("", "n", integer(1));
        set("a1", "n", integer(1));
        set("a2", "n", integer(1));
        set("b1", "n", integer(1));
        set("b1", "n", NONE);
    }
}

static void an_answer_nobody_wants_is_not_given(void **state)
{
    struct asking *at = mp_zalloc(sizeof *at);
    struct mp_wait wait = wait_of(MP_WAIT_GET, "k", "n", "");
    struct waiting *w = mp_zalloc(sizeof *w);

    (void)state;
    at->ask.done = on_answer;
    w->wait.done = on_wait;
    mp_state_ask(&bed.states, bed.fn, NULL, &wait, &at->ask);
    mp_state_ask_not(&at->ask);
    free(at);
    assert_null(mp_state_take(&bed.states, bed.fn, MP_S("gone"), &w->wait));
    mp_state_wait_not(&w->wait);
    free(w);
    flush();
    assert_true(committed_is("k", "n", NONE));
}

/* ---- in memory only ---- */

static void what_is_not_durable_writes_nothing(void **state)
{
    struct mp_actor *a;
    struct mp_wait wait = {.kind = MP_WAIT_GET, .name = MP_S("v09")};

    (void)state;
    bed.fn->volatile_ = true;
    flush();
    bed.ops = 0;
    assert_true(set("k", "n", integer(1)));
    a = take("k");
    assert_int_equal(mp_state_ticket(a), 0);
    leave(a);
    assert_true(committed_is("k", "n", integer(1)));
    fill("big", 10);
    a = take("big");
    assert_int_equal(mp_state_travel(&bed.states, a).n, 6);
    assert_false(mp_state_travel(&bed.states, a).complete);
    assert_string_equal(names_of(asked(a, wait)), "v09");
    leave(a);
    assert_int_equal(bed.fn->bytes, 10 + 10 * 10006);
    set_ttl("k", "n", integer(1), MP_SECOND);
    pass(2 * MP_SECOND);
    mp_states_sweep(&bed.states);
    UNTIL(swept());
    assert_int_equal(bed.states.n_actors, 1);
    assert_int_equal(bed.fn->bytes, 10 * 10006);
    flush();
    assert_int_equal(bed.ops, 0);
    reopen();
    assert_int_equal(bed.fn->bytes, 0);
}

static void durable_may_be_changed_at_any_time(void **state)
{
    struct mp_actor *a;
    struct mp_effect e = effect_of("n", integer(2));

    (void)state;
    set("k", "n", integer(1));
    bed.fn->volatile_ = true; /* not on disk yet */
    assert_true(has("k", "n", NONE));
    assert_true(set("k", "n", integer(7)));
    assert_int_equal(bed.fn->bytes, 2 * (2 + 8));
    bed.fn->volatile_ = false;
    assert_true(has("k", "n", integer(1)));
    assert_quota_is_exact();
    /* while an invocation has it */
    a = take("k");
    bed.fn->volatile_ = true;
    assert_true(apply(a, &e));
    leave(a);
    assert_true(has("k", "n", NONE));
    a = take("k");
    bed.fn->volatile_ = false;
    e = effect_of("n", integer(3));
    assert_true(apply(a, &e));
    leave(a);
    assert_true(has("k", "n", integer(2)));
    assert_quota_is_exact();
    /* Rows of a function that is not durable expire too. */
    set_ttl("k", "x", integer(2), MP_SECOND);
    flush();
    bed.fn->volatile_ = true;
    pass(2 * MP_SECOND);
    mp_states_sweep(&bed.states);
    UNTIL(swept());
    assert_quota_is_exact();
}

/* ---- memory ---- */

/* Leave it as if there were no room for any other. */
static void evict_by(struct mp_actor *a)
{
    bed.states.idle_bytes += MP_STATE_CACHE;
    leave(a);
    bed.states.idle_bytes -= MP_STATE_CACHE;
}

/* Else who waits for one that is larger than all room would read for ever. */
static void what_was_just_read_stays_until_it_is_taken(void **state)
{
    struct waiting w = {.wait.done = on_wait};
    struct mp_actor *a;

    (void)state;
    bed.states.idle_bytes += MP_STATE_CACHE;
    assert_null(mp_state_take(&bed.states, bed.fn, MP_S("k"), &w.wait));
    UNTIL(w.called);
    a = mp_state_take(&bed.states, bed.fn, MP_S("k"), &w.wait);
    assert_non_null(a);
    leave(a);
    bed.states.idle_bytes -= MP_STATE_CACHE;
}

static void what_is_not_durable_stays_in_memory(void **state)
{
    (void)state;
    set("old", "n", integer(1));
    flush();
    set("k", "n", integer(1));
    evict_by(take("old"));
    assert_non_null(mp_states_find(&bed.states, bed.fn, MP_S("k")));
    assert_true(has("k", "n", integer(1)));
    flush();
    evict_by(take("old"));
    assert_null(mp_states_find(&bed.states, bed.fn, MP_S("k")));
    assert_true(has("k", "n", integer(1)));
}

static void idle_actors_go_and_come_back(void **state)
{
    char *text = big(60000, 'x'), key[16];

    (void)state;
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "k%d", i);
        set(key, "v", string(mp_slice_str(text)));
        if (i % 10 == 9)
            flush();
    }
    assert_true(bed.states.idle_bytes <= MP_STATE_CACHE);
    assert_true(bed.states.n_actors < 140);
    assert_null(mp_states_find(&bed.states, bed.fn, MP_S("k0")));
    assert_non_null(mp_states_find(&bed.states, bed.fn, MP_S("k199")));
    assert_true(has("k0", "v", string(mp_slice_str(text))));
    assert_quota_is_exact();
    free(text);
}

static void a_lost_commit_is_forgotten(void **state)
{
    struct waiting w = {.wait.done = on_wait};

    (void)state;
    set("k", "n", integer(1));
    set_ttl("k", "x", integer(1), MP_SECOND);
    flush();
    pass(2 * MP_SECOND);
    mp_states_sweep(&bed.states); /* with the reader */
    set("k", "n", integer(2));
    set("k", "m", integer(2));
    assert_null(mp_state_take(&bed.states, bed.fn, MP_S("new"), &w.wait));
    mp_states_reset(&bed.states);
    assert_true(w.called);
    assert_int_equal(w.rc, MP_EIO);
    assert_int_equal(bed.states.n_actors, 0);
    load();
    UNTIL(bed.loaded);
    assert_true(has("k", "n", integer(1)));
    assert_true(has("k", "m", NONE));
    assert_quota_is_exact();
}

static void what_is_only_in_memory_survives_a_lost_commit(void **state)
{
    struct mp_state_fn *durable = bed.fn;
    uint64_t bytes;

    (void)state;
    set("k", "n", integer(1));
    flush();
    bed.fn = mp_states_fn(&bed.states, MP_S("other"));
    bed.fn->volatile_ = true;
    bed.fn->bytes += 100; /* an alarm */
    set("k", "n", integer(1));
    bytes = bed.fn->bytes;
    mp_states_reset(&bed.states);
    load();
    UNTIL(bed.loaded);
    assert_int_equal(bed.fn->bytes, bytes);
    assert_true(has("k", "n", integer(1)));
    bed.fn = durable;
    assert_quota_is_exact();
}

/* ---- from outside ---- */

struct editing {
    struct mp_state_edit edit;
    bool called;
    int rc;
};

static void on_edit(struct mp_state_edit *e, int rc)
{
    struct editing *at = mp_of(e, struct editing, edit);

    assert_false(at->called);
    at->called = true;
    at->rc = rc;
}

static void begin_edit(struct editing *at, const char *key, const char *name,
                       struct mp_value v)
{
    *at = (struct editing){.edit.done = on_edit};
    mp_state_edit(&bed.states, bed.fn, mp_slice_str(key), mp_slice_str(name),
                  &v, &at->edit);
    assert_false(at->called);
}

static int edit(const char *key, const char *name, struct mp_value v)
{
    struct editing at;

    begin_edit(&at, key, name, v);
    UNTIL(at.called);
    return at.rc;
}

static void an_edit_is_durable_when_it_is_done(void **state)
{
    (void)state;
    assert_int_equal(edit("k", "n", integer(1)), 0);
    assert_true(committed_is("k", "n", integer(1)));
    assert_int_equal(edit("k", "n", integer(1)), 0);
    bed.fn->quota = bed.fn->bytes + 7;
    assert_int_equal(edit("k", "n", integer(2)), 0);
    assert_int_equal(edit("k", "m", integer(2)), MP_EFULL);
    assert_int_equal(edit("k", "n", NONE), 0);
    assert_true(committed_is("k", "n", NONE));
    fill("big", 0);
    bed.fn->quota = 1 << 20;
    fill("big", 10);
    assert_int_equal(edit("big", "v09", integer(9)), 0);
    assert_true(committed_is("big", "v09", integer(9)));
    assert_quota_is_exact();
    bed.fn->volatile_ = true;
    assert_int_equal(edit("k", "n", integer(3)), 0);
    assert_true(committed_is("k", "n", integer(3)));
}

static void an_edit_waits_for_the_invocation(void **state)
{
    struct mp_actor *a = take("k");
    struct mp_effect e = effect_of("n", integer(1));
    struct editing one, two, never;

    (void)state;
    begin_edit(&one, "k", "n", integer(2));
    begin_edit(&never, "k", "n", integer(3));
    begin_edit(&two, "k", "m", integer(4));
    mp_state_edit_not(&never.edit);
    flush();
    assert_false(one.called);
    assert_int_equal(travels(a, "n").kind, MP_VALUE_NONE);
    apply(a, &e);
    leave(a);
    UNTIL(one.called && two.called);
    assert_false(never.called);
    assert_true(has("k", "n", integer(2)));
    assert_true(has("k", "m", integer(4)));
    assert_quota_is_exact();
}

static void an_edit_fails_with_the_store(void **state)
{
    struct editing reading, held;

    (void)state;
    begin_edit(&reading, "k", "n", integer(2));
    mp_states_reset(&bed.states);
    assert_true(reading.called);
    assert_int_equal(reading.rc, MP_EIO);
    load();
    UNTIL(bed.loaded);
    begin_edit(&held, "k", "n", integer(3));
    close_store(); /* whether it was made or not: nobody is called too late */
    open_store();
    assert_true(!held.called || held.rc == MP_EIO);
}

/* The database is as large as it may be. */
static void a_commit_that_fails_loses_only_itself(void **state)
{
    char *text = big(60000, 'x');
    struct editing at;
    int kept = 0;

    (void)state;
    close_store();
    bed.max_size = 1 << 20;
    open_store();
    do {
        char key[16];

        snprintf(key, sizeof key, "k%d", kept++);
        begin_edit(&at, key, "v", string(mp_slice_str(text)));
        UNTIL(at.called);
        assert_true(kept < 100);
    } while (at.rc == 0);
    assert_int_equal(at.rc, MP_EIO);
    UNTIL(bed.loaded);
    assert_true(has("k0", "v", string(mp_slice_str(text))));
    assert_int_equal(bed.fn->bytes, bytes_in_file());
    assert_true(bed.fn->bytes >= (uint64_t)(kept - 1) * 60000);
    free(text);
}

/* ---- against a model ---- */

enum { ACTORS = 6, NAMES = 7, STEPS = 6000 };

static struct model {
    struct mp_value value;
    int64_t expires_us; /* 0: never */
    char text[16];
} model[ACTORS][NAMES];

static uint64_t seed;

static unsigned chance(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % n;
}

static int64_t virtual_us; /* what has passed, whole seconds */

static struct mp_value expected(unsigned k, unsigned n)
{
    struct model *m = &model[k][n];
    struct mp_value v = m->value;

    if (m->expires_us && m->expires_us <= virtual_us)
        return NONE;
    if (v.kind == MP_VALUE_STRING)
        v.text = mp_slice_str(m->text);
    return v;
}

static void change(struct mp_actor *a, unsigned k)
{
    unsigned n = chance(NAMES);
    struct model *m = &model[k][n];
    struct mp_value old = expected(k, n), v = NONE;
    char name[16];
    struct mp_effect e;

    snprintf(name, sizeof name, "n%u", n);
    switch (chance(4)) {
    case 0:
        v = integer(chance(3));
        break;
    case 1: /* increment */
        v = integer(old.kind == MP_VALUE_INTEGER ? old.integer + 1 : 1);
        break;
    case 2:
        break;
    default:
        snprintf(m->text, sizeof m->text, "%0*u", (int)chance(12) + 1,
                 chance(3));
        v = string(mp_slice_str(m->text));
        break;
    }
    e = effect_of(name, v);
    if (v.kind && chance(3) == 0)
        e.ttl_us = (1 + chance(5)) * 100 * MP_SECOND;
    (void)apply(a, &e);
    m->value = v;
    m->expires_us = e.ttl_us ? virtual_us + e.ttl_us : 0;
}

/* What does not travel is asked for. */
static bool is_beyond(struct mp_actor *a, const char *name,
                      struct mp_value want)
{
    struct mp_wait wait = {.kind = MP_WAIT_GET, .name = mp_slice_str(name)};
    struct asking at = asked(a, wait);
    struct mp_reader r = mp_reader(mp_buf_bytes(&at.entries));
    struct mp_value got = NONE;
    bool is;

    assert_string_equal(at.error, "");
    if (at.n)
        got = mp_get_entry(&r).value;
    is = mp_value_eq(&got, &want);
    mp_buf_fini(&at.entries);
    return is;
}

static void compare_one(struct mp_actor *a, unsigned k)
{
    for (unsigned n = 0; n < NAMES; n++) {
        struct mp_value want = expected(k, n), got;
        char name[16];

        snprintf(name, sizeof name, "n%u", n);
        got = travels(a, name);
        if (got.kind == MP_VALUE_NONE && !a->complete) {
            assert_true(is_beyond(a, name, want));
            continue;
        }
        if (!mp_value_eq(&got, &want))
            fail_msg("actor %u, value %u: kind %d, not %d", k, n, got.kind,
                     want.kind);
    }
}

/* Of some actors the model's values are beyond what travels, of others the
 * values that make them large are; and these come and go. */
static void make_large(unsigned k, const char *key)
{
    char *text = big(30000, 'z'), name[] = {k % 3 ? 'a' : 'z', '0', 0};
    struct mp_actor *a = take(key);

    for (; name[1] < '3' && k % 3 < 2; name[1]++) {
        struct mp_effect e = effect_of(name, string(mp_slice_str(text)));

        if (chance(3) == 0)
            e.value = NONE;
        (void)apply(a, &e);
    }
    leave(a);
    free(text);
}

static void step(void)
{
    unsigned k = chance(ACTORS);
    struct mp_actor *a;
    char key[8];

    snprintf(key, sizeof key, "k%u", k);
    switch (chance(200)) {
    case 0:
        reopen();
        break;
    case 1:
        mp_states_sweep(&bed.states);
        break;
    case 2:
        assert_quota_is_exact();
        break;
    case 3:
    case 4:
        pass(100 * MP_SECOND);
        virtual_us += 100 * MP_SECOND;
        break;
    case 5:
        mp_commit_turn(&bed.commit, false);
        uv_run(&bed.loop, UV_RUN_NOWAIT);
        break;
    case 6: /* a loss of what was not durable is a loss of nothing */
        flush();
        mp_states_reset(&bed.states);
        load();
        UNTIL(bed.loaded);
        break;
    case 7: /* all that may go goes */
        if (chance(2))
            flush();
        a = take(key);
        change(a, k);
        evict_by(a);
        break;
    case 8:
        make_large(k, key);
        break;
    default:
        a = take(key);
        compare_one(a, k);
        for (unsigned n = chance(3); n; n--)
            change(a, k);
        leave(a);
        break;
    }
}

static void whatever_happens_values_are_as_in_a_simple_model(void **state)
{
    const char *given = getenv("MP_SEED");

    (void)state;
    seed = given ? strtoull(given, NULL, 0) : (uint64_t)mp_wall_us();
    print_message("MP_SEED=%#llx\n", (unsigned long long)seed);
    memset(model, 0, sizeof model);
    virtual_us = 0;
    for (int i = 0; i < STEPS; i++)
        step();
    for (unsigned k = 0; k < ACTORS; k++) {
        char key[8];
        struct mp_actor *a;

        snprintf(key, sizeof key, "k%u", k);
        a = take(key);
        compare_one(a, k);
        leave(a);
    }
    UNTIL(swept());
    assert_quota_is_exact();
}

/* 256 increments of 100 counters, and their seal: printed, not judged. */
static void a_change_costs_little(void **state)
{
    static struct mp_actor *actors[100];
    struct mp_batch batch;
    int64_t best = INT64_MAX;
    char key[32];

    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "sensor-%d", i);
        actors[i] = take(key);
    }
    mp_batch_init(&batch);
    for (int round = 0; round < 50; round++) {
        int64_t start = mp_now_us(), took;

        for (int i = 0; i < 256; i++) {
            struct mp_effect e =
                effect_of("alerts", integer(round * 256 + i + 1));

            (void)mp_state_apply(&bed.states, actors[i % 100], &e);
        }
        mp_states_seal(&bed.states, &batch);
        took = mp_now_us() - start;
        if (took < best)
            best = took;
        mp_batch_reset(&batch);
    }
    print_message("256 changes of 100 actors and their seal: %lld us\n",
                  (long long)best);
    mp_batch_fini(&batch);
    for (int i = 0; i < 100; i++)
        leave(actors[i]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_value_is_there_again_after_a_restart),
        TEST(rows_are_what_a_person_expects),
        TEST(not_a_number_is_a_float_still),
        TEST(an_equal_value_is_no_change),
        TEST(a_value_that_changes_often_is_written_once),
        TEST(a_ticket_is_open_until_the_change_is_durable),
        TEST(one_invocation_has_an_actor_and_others_wait),
        TEST(an_expired_value_is_as_if_absent),
        TEST(setting_without_ttl_removes_the_expiry),
        TEST(a_ttl_beyond_the_end_of_time_is_for_ever),
        TEST(a_sweep_deletes_what_has_expired),
        TEST(a_sweep_of_nothing_writes_nothing),
        TEST(a_large_actor_travels_in_part),
        TEST(what_is_beyond_is_known_well_enough),
        TEST(one_value_may_be_too_large_to_travel),
        TEST(who_waits_for_a_large_actor_gets_it),
        TEST(names_come_sorted_by_prefix_and_in_pages),
        TEST(pages_end_and_go_on),
        TEST(actors_are_those_that_have_values),
        TEST(an_answer_nobody_wants_is_not_given),
        TEST(what_is_not_durable_writes_nothing),
        TEST(durable_may_be_changed_at_any_time),
        TEST(what_was_just_read_stays_until_it_is_taken),
        TEST(what_is_not_durable_stays_in_memory),
        TEST(idle_actors_go_and_come_back),
        TEST(a_commit_that_fails_loses_only_itself),
        TEST(a_lost_commit_is_forgotten),
        TEST(what_is_only_in_memory_survives_a_lost_commit),
        TEST(an_edit_is_durable_when_it_is_done),
        TEST(an_edit_waits_for_the_invocation),
        TEST(an_edit_fails_with_the_store),
        TEST(whatever_happens_values_are_as_in_a_simple_model),
        TEST(a_change_costs_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
