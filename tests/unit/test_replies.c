/*
 * test_replies.c - what exchanges were answered, over restarts and time, in a
 * real database.
 */
#include <fcntl.h>

#include "tests/unit/durable_kit.h"

#define HOUR (3600 * MP_SECOND)

static struct mp_pair headers[MP_PAIRS_MAX];

static bool get(struct durable *d, const char *exchange, struct mp_answer *a)
{
    uint64_t ticket;

    return mp_replies_get(&d->replies, mp_slice_str(exchange), a, headers,
                          &ticket);
}

static bool has(struct durable *d, const char *exchange)
{
    struct mp_answer a;

    return get(d, exchange, &a);
}

static uint64_t add(struct durable *d, const char *exchange,
                    const struct mp_answer *a, int64_t for_us)
{
    return mp_replies_add(&d->replies, mp_slice_str(exchange), a, for_us);
}

static uint64_t say(struct durable *d, const char *exchange, const char *data,
                    int64_t for_us)
{
    const struct mp_answer a = {.kind = MP_ANSWER_DONE,
                                .data = mp_slice_str(data),
                                .format = MP_FORMAT_TEXT};

    return add(d, exchange, &a, for_us);
}

static void assert_said(struct durable *d, const char *exchange,
                        const char *data)
{
    struct mp_answer a;

    assert_true(get(d, exchange, &a));
    assert_int_equal(a.kind, MP_ANSWER_DONE);
    assert_true(mp_slice_is(a.data, data));
}

static unsigned rows(struct durable *d)
{
    return durable_rows(d, MP_SQL_REPLY_ALL);
}

/* Let time pass. */
static void pass(struct durable *d, int64_t us)
{
    d->timeline.base_us += us;
}

/* ---- how long ---- */

static void
an_answer_is_known_from_its_adding_on_and_over_restarts(void **state)
{
    struct durable *d = durable_open();
    struct mp_answer a;
    uint64_t ticket, other;

    (void)state;
    assert_false(has(d, "x"));
    ticket = say(d, "x", "one", HOUR);
    assert_true(mp_replies_get(&d->replies, MP_S("x"), &a, headers, &other));
    assert_true(ticket != 0 && other == ticket);
    assert_false(has(d, "y"));
    durable_settle(d);
    assert_true(mp_replies_get(&d->replies, MP_S("x"), &a, headers, &other));
    assert_true(other == 0);
    durable_restart(d);
    assert_true(mp_replies_get(&d->replies, MP_S("x"), &a, headers, &other));
    assert_true(other == 0);
    assert_said(d, "x", "one");
    assert_false(has(d, "y"));
    durable_close(d);
}

static void it_counts_for_its_time_and_its_row_goes_then(void **state)
{
    struct durable *d = durable_open();

    (void)state;
    say(d, "short", "s", HOUR);
    say(d, "long", "l", 3 * HOUR);
    durable_settle(d);
    pass(d, 2 * HOUR);
    assert_false(has(d, "short"));
    assert_said(d, "long", "l");
    mp_replies_tick(&d->replies);
    assert_int_equal(d->replies.n, 1);
    durable_restart(d);
    assert_int_equal(rows(d), 1);
    assert_false(has(d, "short"));
    assert_said(d, "long", "l");
    durable_close(d);
}

static void one_that_is_over_may_be_answered_anew(void **state)
{
    struct durable *d = durable_open();

    (void)state;
    say(d, "x", "old", HOUR);
    durable_settle(d);
    pass(d, 2 * HOUR);
    say(d, "x", "new", HOUR);
    assert_said(d, "x", "new");
    durable_settle(d);
    mp_replies_tick(&d->replies); /* the old row goes, not the new one */
    assert_said(d, "x", "new");
    durable_restart(d);
    assert_int_equal(rows(d), 1);
    assert_said(d, "x", "new");
    durable_close(d);
}

static void answers_of_one_transaction_are_one_row(void **state)
{
    struct durable *d = durable_open();

    (void)state;
    assert_true(say(d, "a", "1", HOUR) == say(d, "b", "2", HOUR));
    say(d, "c", "3", HOUR);
    durable_settle(d);
    assert_int_equal(rows(d), 1);
    say(d, "d", "4", HOUR);
    durable_settle(d);
    assert_int_equal(rows(d), 2);
    say(d, "e", "5", HOUR);
    say(d, "f", "6", 2 * HOUR); /* one a duration */
    durable_settle(d);
    assert_int_equal(rows(d), 4);
    durable_restart(d);
    assert_int_equal(d->replies.n, 6);
    assert_said(d, "a", "1");
    assert_said(d, "c", "3");
    assert_said(d, "d", "4");
    assert_said(d, "f", "6");
    durable_close(d);
}

/* ---- which ---- */

static void name(char text[24], unsigned i)
{
    snprintf(text, 24, "x-%u", i);
}

/* An asynchronous request is accepted, and then done: in one transaction, if
 * it is quick. */
static void the_last_answer_of_an_exchange_counts(void **state)
{
    struct durable *d = durable_open();
    char text[24];

    (void)state;
    say(d, "x", "accepted", HOUR);
    say(d, "x", "done", HOUR);
    assert_said(d, "x", "done");
    for (unsigned i = 0; i < 600; i++) { /* the table grows, and again */
        name(text, i);
        say(d, text, "else", HOUR);
        assert_said(d, "x", "done");
    }
    durable_settle(d);
    assert_int_equal(rows(d), 1);
    durable_restart(d);
    assert_said(d, "x", "done");
    say(d, "x", "again", HOUR);
    durable_settle(d);
    durable_restart(d);
    assert_said(d, "x", "again");
    durable_close(d);
}

static void thousands_come_and_go(void **state)
{
    enum { N = 6000, EACH = 10 };
    struct durable *d = durable_open();
    char text[24];

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        name(text, i);
        say(d, text, text, HOUR);
        if (i % EACH == 0)
            pass(d, HOUR / (N / EACH / 2)); /* half of them are over */
        if (i % 100 == 0) {
            durable_settle(d);
            mp_replies_tick(&d->replies);
        }
    }
    durable_settle(d);
    mp_replies_tick(&d->replies);
    assert_in_range(d->replies.n, N / 2 - 200, N / 2 + 200);
    for (unsigned i = N / 2 + 200; i < N; i++) {
        name(text, i);
        assert_said(d, text, text);
    }
    for (unsigned i = 0; i < N / 2 - 200; i++) {
        name(text, i);
        assert_false(has(d, text));
    }
    durable_restart(d);
    assert_in_range(d->replies.n, N / 2 - 200, N / 2 + 200);
    name(text, N - 1);
    assert_said(d, text, text);
    durable_close(d);
}

/* ---- what ---- */

static void assert_same(const struct mp_answer *a, const struct mp_answer *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->format, b->format);
    assert_int_equal(a->max_age_s, b->max_age_s);
    assert_int_equal(!a->data.ptr, !b->data.ptr);
    assert_true(mp_slice_eq(a->data, b->data));
    assert_true(mp_slice_eq(a->detail, b->detail));
    assert_int_equal(a->n_headers, b->n_headers);
    for (uint32_t i = 0; i < a->n_headers; i++) {
        assert_true(mp_slice_eq(a->headers[i].name, b->headers[i].name));
        assert_true(mp_slice_eq(a->headers[i].value, b->headers[i].value));
    }
}

static void all_that_an_answer_has_comes_back(void **state)
{
    static const struct mp_pair pairs[] = {
        {{"content-language", 16}, {"de", 2}},
        {{"x-empty", 7}, {"", 0}},
    };
    const struct mp_answer all[] = {
        {.kind = MP_ANSWER_REPLY,
         .status = 418,
         .data = mp_slice("t\0pot", 5),
         .format = MP_FORMAT_BYTES,
         .headers = pairs,
         .n_headers = 2,
         .max_age_s = 60},
        {.kind = MP_ANSWER_DONE}, /* it returned nothing */
        {.kind = MP_ANSWER_DONE, .data = MP_S(""), .format = MP_FORMAT_TEXT},
        {.kind = MP_ANSWER_REJECTED, .status = 422, .detail = MP_S("too hot")},
        {.kind = MP_ANSWER_ACCEPTED},
    };
    struct durable *d = durable_open();
    struct mp_answer a;
    char text[24];

    (void)state;
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        name(text, i);
        add(d, text, &all[i], HOUR);
    }
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
            name(text, i);
            assert_true(get(d, text, &a));
            assert_same(&a, &all[i]);
        }
        durable_settle(d);
        durable_restart(d);
    }
    durable_close(d);
}

static void as_many_headers_as_there_may_be_come_back(void **state)
{
    struct durable *d = durable_open();
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_answer a, b = {.kind = MP_ANSWER_REPLY,
                             .status = 200,
                             .headers = pairs,
                             .n_headers = MP_PAIRS_MAX};

    (void)state;
    for (unsigned i = 0; i < MP_PAIRS_MAX; i++)
        pairs[i] = (struct mp_pair){MP_S("name"), MP_S("value")};
    add(d, "x", &b, HOUR);
    durable_settle(d);
    durable_restart(d);
    assert_true(get(d, "x", &a));
    assert_same(&a, &b);
    durable_close(d);
}

/* That it was done is what must not be forgotten. */
static void of_a_too_long_answer_it_is_kept_that_it_was_given(void **state)
{
    struct durable *d = durable_open();
    struct mp_answer a = {.kind = MP_ANSWER_DONE, .format = MP_FORMAT_TEXT};
    char *bytes = calloc(1, MP_REPLY_BYTES);

    (void)state;
    a.data = mp_slice(bytes, MP_REPLY_BYTES);
    add(d, "too long", &a, HOUR);
    a.data.len -= mp_reply_bytes(&a) - MP_REPLY_BYTES;
    add(d, "just fits", &a, HOUR);
    durable_settle(d);
    durable_restart(d);
    assert_true(get(d, "too long", &a));
    assert_int_equal(a.kind, MP_ANSWER_FAILED);
    assert_true(mp_slice_is(a.detail,
                            "this was done; its answer was too long to keep"));
    assert_null(a.data.ptr);
    assert_true(get(d, "just fits", &a));
    assert_int_equal(a.kind, MP_ANSWER_DONE);
    assert_true(a.data.len > MP_REPLY_BYTES - 100);
    free(bytes);
    durable_close(d);
}

/* ---- bounds ---- */

static void past_so_many_bytes_the_oldest_go(void **state)
{
    enum { N = 12 };
    struct durable *d = durable_open();
    struct mp_answer a = {.kind = MP_ANSWER_DONE, .format = MP_FORMAT_TEXT};
    char *bytes = calloc(1, MP_REPLY_BYTES), text[24];

    (void)state;
    a.data = mp_slice(bytes, MP_REPLY_BYTES - 1000);
    for (unsigned i = 0; i < N; i++) {
        name(text, i);
        add(d, text, &a, HOUR);
        assert_true(d->replies.bytes <= MP_REPLIES_BYTES);
        durable_settle(d);
    }
    free(bytes);
    assert_false(has(d, "x-0"));
    assert_false(has(d, "x-3"));
    assert_true(has(d, "x-4"));
    assert_true(has(d, "x-11"));
    durable_restart(d);
    assert_false(has(d, "x-3"));
    assert_true(has(d, "x-4"));
    assert_int_equal(rows(d), 8);
    durable_close(d);
}

static void past_so_many_the_oldest_row_goes(void **state)
{
    struct durable *d = durable_open();
    char text[24];

    (void)state;
    for (unsigned i = 0; i < MP_REPLIES_MAX; i++) {
        name(text, i);
        say(d, text, "", HOUR + (i < 3)); /* three in a row of their own */
    }
    durable_settle(d);
    assert_int_equal(d->replies.n, MP_REPLIES_MAX);
    say(d, "one more", "", HOUR);
    assert_true(has(d, "one more"));
    assert_false(has(d, "x-0"));
    assert_false(has(d, "x-2"));
    assert_true(has(d, "x-3"));
    assert_int_equal(d->replies.n, MP_REPLIES_MAX - 2);
    durable_close(d);
}

/* What gathers is promised: it goes past the bound. */
static void what_is_not_written_yet_is_not_forgotten(void **state)
{
    enum { N = 10 };
    struct durable *d = durable_open();
    struct mp_answer a = {.kind = MP_ANSWER_DONE, .format = MP_FORMAT_TEXT};
    char *bytes = calloc(1, MP_REPLY_BYTES), text[24];

    (void)state;
    a.data = mp_slice(bytes, MP_REPLY_BYTES - 1000);
    for (unsigned i = 0; i < N; i++) {
        name(text, i);
        add(d, text, &a, HOUR);
    }
    free(bytes);
    durable_settle(d); /* several rows: none is longer than it may be */
    durable_restart(d);
    for (unsigned i = 0; i < N; i++) {
        name(text, i);
        assert_true(has(d, text));
    }
    say(d, "one more", "", HOUR);
    assert_true(d->replies.bytes <= MP_REPLIES_BYTES);
    durable_close(d);
}

/* ---- wrong ---- */

static void put_row(struct durable *d, int64_t id, struct mp_slice bytes)
{
    struct mp_batch *b = mp_commit_batch(&d->commit);

    mp_batch_op(b, MP_SQL_REPLY_PUT);
    mp_batch_int(b, id);
    mp_batch_int(b, mp_timeline_at(&d->timeline, mp_now_us()) + HOUR);
    mp_batch_blob(b, bytes);
}

/* An entry's hash, and a length that is right. */
#define ENTRY(len) "hashhashhashhash" len "\0\0\0"

static void a_malformed_row_is_said_and_goes_in_its_time(void **state)
{
    static const struct mp_slice wrong[] = {
        {"short", 5},
        {ENTRY("\x7f"), 20},                   /* it says more */
        {ENTRY("\x01") "x", 21},               /* no answer */
        {ENTRY("\x04") "\xff\0\0\0", 24},      /* of no kind */
        {ENTRY("\x04") "\x00\x7f\x01\x00", 24} /* of no format */
    };
    enum { N = sizeof wrong / sizeof *wrong };
    struct durable *d = durable_open();
    char path[100], text[2000];
    int saved, file;
    ssize_t n;

    (void)state;
    say(d, "x", "right", 3 * HOUR);
    for (unsigned i = 0; i < N; i++)
        put_row(d, 5 + i, wrong[i]);
    put_row(d, -1, mp_slice("", 0)); /* nothing in it, and nothing wrong */
    durable_restart(d);
    assert_int_equal(d->replies.malformed, N);
    assert_said(d, "x", "right");
    snprintf(path, sizeof path, "%s/log", d->dir);
    file = open(path, O_RDWR | O_CREAT, 0600);
    saved = dup(2);
    dup2(file, 2);
    mp_replies_tick(&d->replies);
    mp_replies_tick(&d->replies);
    dup2(saved, 2);
    close(saved);
    n = pread(file, text, sizeof text - 1, 0);
    close(file);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, "table reply: 5 malformed rows"));
    assert_null(strstr(strchr(text, '\n') + 1, "malformed"));
    say(d, "y", "beside", 3 * HOUR);
    durable_settle(d);
    pass(d, 2 * HOUR);
    mp_replies_tick(&d->replies);
    durable_restart(d);
    assert_int_equal(d->replies.malformed, 0);
    assert_int_equal(rows(d), 2);
    assert_said(d, "x", "right");
    assert_said(d, "y", "beside");
    durable_close(d);
}

/* The whole row is removed, so that only the other one answers. */
static void of_a_row_that_is_cut_short_the_first_ones_are_there(void **state)
{
    struct durable *d = durable_open();
    struct mp_batch *b;
    struct mp_db *db;
    struct mp_query *q;
    struct mp_slice row;
    struct mp_why why;

    (void)state;
    say(d, "first", "1", HOUR);
    say(d, "second", "2", HOUR);
    durable_settle(d);
    assert_int_equal(mp_db_open_reader(&db, d->dir, &why), 0);
    q = mp_query_begin(db, MP_SQL_REPLY_ALL);
    assert_int_equal(mp_query_step(q, &why), 1);
    row = mp_column_bytes(q, 2);
    put_row(d, 9, mp_slice(row.ptr, row.len - 1));
    b = mp_commit_batch(&d->commit);
    mp_batch_op(b, MP_SQL_REPLY_DELETE);
    mp_batch_int(b, mp_column_int(q, 0));
    mp_query_end(q);
    mp_db_close(db);
    durable_settle(d);
    durable_restart(d);
    assert_int_equal(d->replies.malformed, 1);
    assert_said(d, "first", "1");
    assert_false(has(d, "second"));
    durable_close(d);
}

static void reset_it_knows_nothing_and_may_be_loaded_again(void **state)
{
    struct durable *d = durable_open();

    (void)state;
    say(d, "x", "1", HOUR);
    durable_settle(d);
    mp_replies_reset(&d->replies);
    assert_int_equal(d->replies.n, 0);
    assert_int_equal(d->replies.bytes, 0);
    assert_false(has(d, "x"));
    mp_replies_tick(&d->replies);
    durable_restart(d);
    assert_said(d, "x", "1");
    say(d, "y", "2", HOUR); /* its row has an id of its own */
    durable_settle(d);
    durable_restart(d);
    assert_said(d, "x", "1");
    assert_said(d, "y", "2");
    durable_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            an_answer_is_known_from_its_adding_on_and_over_restarts),
        cmocka_unit_test(it_counts_for_its_time_and_its_row_goes_then),
        cmocka_unit_test(one_that_is_over_may_be_answered_anew),
        cmocka_unit_test(answers_of_one_transaction_are_one_row),
        cmocka_unit_test(the_last_answer_of_an_exchange_counts),
        cmocka_unit_test(thousands_come_and_go),
        cmocka_unit_test(all_that_an_answer_has_comes_back),
        cmocka_unit_test(as_many_headers_as_there_may_be_come_back),
        cmocka_unit_test(of_a_too_long_answer_it_is_kept_that_it_was_given),
        cmocka_unit_test(past_so_many_bytes_the_oldest_go),
        cmocka_unit_test(past_so_many_the_oldest_row_goes),
        cmocka_unit_test(what_is_not_written_yet_is_not_forgotten),
        cmocka_unit_test(a_malformed_row_is_said_and_goes_in_its_time),
        cmocka_unit_test(of_a_row_that_is_cut_short_the_first_ones_are_there),
        cmocka_unit_test(reset_it_knows_nothing_and_may_be_loaded_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
