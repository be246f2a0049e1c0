/*
 * test_stream.c - stream lines at work, by a clock of our own.
 *
 * An event is put as "topic key payload"; what passes and what is skipped is
 * told as text, in order: "3" event 3 passed, "(4 5)" a batch, "-6throttle"
 * skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/stream.h"
#include "tests/unit/conf_kit.h"

enum { EVENTS_MAX = 40000 };

static const struct mp_hash_key secret = {1, 2};
static struct mp_stream_lines *lines;
static struct mp_stream stream;
static bool begun;
static struct mp_why why;
static int64_t now_us;

static struct event {
    struct mp_held held;
    bool over;
} events[EVENTS_MAX];
static unsigned n_events, n_over; /* put; passed, skipped or removed */
static struct mp_buf told;
static struct event *to_remove; /* in the next pass or skip */

static unsigned number_of(const struct mp_held *item)
{
    const struct event *e = (const struct event *)(const void *)item;

    assert_false(events[e - events].over); /* only once */
    events[e - events].over = true;
    n_over++;
    return (unsigned)(e - events) + 1;
}

static void remove_meanwhile(void)
{
    struct event *e = to_remove;

    to_remove = NULL;
    if (e) {
        assert_true(mp_stream_remove(&stream, &e->held));
        e->over = true;
        n_over++;
    }
}

static void take_passed(void *arg, struct mp_link *items, unsigned n)
{
    unsigned count = 0;

    assert_ptr_equal(arg, &told);
    if (told.len)
        mp_buf_put(&told, " ", 1);
    if (mp_stream_lines_has(lines, MP_LINE_BATCH))
        mp_buf_put(&told, "(", 1);
    mp_list_each_safe (at, items) {
        mp_buf_printf(&told, "%s%u", count++ ? " " : "",
                      number_of(mp_of(at, struct mp_held, link)));
        mp_list_unlink(at);
    }
    if (mp_stream_lines_has(lines, MP_LINE_BATCH))
        mp_buf_put(&told, ")", 1);
    assert_int_equal(count, n);
    remove_meanwhile();
}

static void take_skipped(void *arg, struct mp_held *item,
                         enum mp_stream_why reason)
{
    assert_ptr_equal(arg, &told);
    mp_buf_printf(&told, "%s-%u%s", told.len ? " " : "", number_of(item),
                  mp_stream_why_name(reason));
    remove_meanwhile();
}

static int setup(void **state)
{
    (void)state;
    lines = mp_stream_lines_new();
    mp_buf_init(&told, 1 << 20);
    memset(events, 0, sizeof events);
    n_events = n_over = 0;
    now_us = 1000 * MP_SECOND;
    begun = false;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (begun) {
        mp_stream_flush(&stream);
        assert_int_equal(stream.held, 0);
        assert_int_equal(n_over, n_events); /* nothing disappears */
        mp_stream_fini(&stream);
    }
    mp_stream_lines_free(lines);
    mp_buf_fini(&told);
    return 0;
}

static void line(enum mp_stream_line which, const char *value)
{
    struct mp_slice in = t_exact(mp_slice_str(value));

    if (mp_stream_lines_add(lines, which, in, &why))
        fail_msg("%s", why.text);
    t_exact_free(in);
}

static void begin_tracked(uint32_t tracked)
{
    struct mp_stream_user user = {take_passed, take_skipped, &told};

    mp_stream_init(&stream, lines, tracked, &secret, &user);
    begun = true;
}

static void begin(void)
{
    begin_tracked(10000);
}

static struct event *put_for(const char *actor, const char *device,
                             const char *payload)
{
    struct mp_slice data = t_exact(mp_slice_str(payload));
    struct mp_pair param = {MP_S("device"), mp_slice_str(device)};
    struct mp_stream_event event = {.data = data,
                                    .params = &param,
                                    .n_params = device ? 1 : 0,
                                    .key = mp_slice_str(actor),
                                    .has_key = actor != NULL};
    struct event *e = &events[n_events++];

    assert_true(n_events <= EVENTS_MAX);
    mp_stream_put(&stream, &e->held, &event, NULL, now_us);
    t_exact_free(data); /* nothing of it is kept */
    return e;
}

static struct event *put(const char *device, const char *payload)
{
    return put_for(NULL, device, payload);
}

static void after(int64_t ms)
{
    now_us += ms * MP_MS;
    mp_stream_turn(&stream, now_us);
}

/* What was told since the last look. */
static void expect(const char *text)
{
    mp_buf_put(&told, "", 1);
    assert_string_equal(told.ptr, text);
    mp_buf_reset(&told);
}

/* ---- filter ---- */

static void without_lines_everything_passes(void **state)
{
    (void)state;
    begin();
    put("a", "1");
    put(NULL, "");
    expect("1 2");
    assert_true(mp_stream_next_us(&stream) == INT64_MAX);
}

static void a_filter_lets_through_what_it_is_true_of(void **state)
{
    (void)state;
    line(MP_LINE_FILTER, "temp > 30");
    line(MP_LINE_FILTER, "{device} != 'b'");
    begin();
    put("a", "{\"temp\":31}");
    put("a", "{\"temp\":30}");
    put("b", "{\"temp\":31}");
    put("a", "no JSON");
    expect("1 -2filter -3filter -4filter");
    assert_string_equal(lines->texts[MP_LINE_FILTER],
                        "temp > 30; and {device} != 'b'");
}

static void the_router_may_ask_the_filter_first(void **state)
{
    struct mp_stream_values values;
    struct mp_stream_event event = {.data = MP_S("{\"temp\":31,\"id\":\"x\"}")};

    (void)state;
    line(MP_LINE_FILTER, "temp > 30");
    line(MP_LINE_THROTTLE, "1/h per {data.id}");
    begin();
    assert_true(mp_stream_wants(lines, &event, &values));
    for (int i = 0; i < 2; i++)
        mp_stream_put(&stream, &events[n_events++].held, &event, &values,
                      now_us);
    expect("1 -2throttle");
    event.data = MP_S("{\"temp\":29}");
    assert_false(mp_stream_wants(lines, &event, &values));
}

/* ---- deadband ---- */

static void a_deadband_compares_with_what_last_passed(void **state)
{
    (void)state;
    line(MP_LINE_DEADBAND, "data 0.5");
    begin();
    put(NULL, "20.0"); /* the first */
    put(NULL, "20.4");
    put(NULL, "19.6");
    put(NULL, "20.5"); /* against 20.0 */
    put(NULL, "20.1");
    put(NULL, "20.0");
    expect("1 -2deadband -3deadband 4 -5deadband 6");
}

static void a_step_is_what_its_decimals_say(void **state)
{
    static const char *const values[] = {
        "20.2", "20.3", "20.4", "20.5", "20.6", "20.7",   "20.6",
        "20.5", "0.3",  "0.2",  "0.1",  "0.0",  "1031.4", "1031.5"};

    (void)state;
    line(MP_LINE_DEADBAND, "data 0.1");
    begin();
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        put(NULL, values[i]);
    expect("1 2 3 4 5 6 7 8 9 10 11 12 13 14");
}

static void a_step_in_percent_is_of_what_last_passed(void **state)
{
    (void)state;
    line(MP_LINE_DEADBAND, "data 10%");
    begin();
    put(NULL, "100");
    put(NULL, "109");
    put(NULL, "110");
    put(NULL, "120");
    put(NULL, "121");
    expect("1 -2deadband 3 -4deadband 5");
    put(NULL, "-50");
    put(NULL, "-46");
    put(NULL, "-45");
    expect("6 -7deadband 8");
}

static void percent_of_zero_is_any_change(void **state)
{
    (void)state;
    line(MP_LINE_DEADBAND, "data 10%");
    begin();
    put(NULL, "0");
    put(NULL, "0.0");
    put(NULL, "0.001");
    put(NULL, "0.001");
    put(NULL, "0");
    expect("1 -2deadband 3 -4deadband 5");
}

static void step_zero_is_any_change_of_any_type(void **state)
{
    (void)state;
    line(MP_LINE_DEADBAND, "v 0");
    begin();
    put(NULL, "{\"v\":1}");
    put(NULL, "{\"v\":1.0}");
    put(NULL, "{\"v\":\"1\"}");
    put(NULL, "{\"v\":\"1\"}");
    put(NULL, "{\"v\":\"2\"}");
    put(NULL, "{\"v\":true}");
    put(NULL, "{\"v\":false}");
    put(NULL, "{\"v\":null}");
    put(NULL, "{\"v\":null}");
    put(NULL, "{\"v\":[1,2]}");
    put(NULL, "{\"v\":[1,2]}");
    put(NULL, "{\"v\":[1,3]}");
    expect("1 -2deadband 3 -4deadband 5 6 7 8 -9deadband 10 -11deadband 12");
    put(NULL, "{\"v\":9007199254740992}");
    put(NULL, "{\"v\":9007199254740993}");
    expect("13 14");
}

static void what_is_no_number_passes_when_it_changes(void **state)
{
    (void)state;
    line(MP_LINE_DEADBAND, "data 5");
    begin();
    put(NULL, "20");
    put(NULL, "\"fault\"");
    put(NULL, "\"fault\"");
    put(NULL, "21");
    expect("1 2 -3deadband 4");
}

static void a_field_that_is_missing_has_not_moved(void **state)
{
    (void)state;
    line(MP_LINE_DEADBAND, "temp 1, hum 5");
    begin();
    put(NULL, "{\"temp\":20}");
    put(NULL, "{\"hum\":50}"); /* never there before */
    put(NULL, "{\"temp\":20.5}");
    put(NULL, "{\"hum\":54}");
    put(NULL, "{\"temp\":21,\"hum\":54}"); /* passes: both are remembered */
    put(NULL, "{\"hum\":58}");
    put(NULL, "{\"hum\":59}");
    put(NULL, "{}");
    put(NULL, "no JSON");
    expect("1 2 -3deadband -4deadband 5 -6deadband 7 -8deadband -9deadband");
}

static void every_lets_one_pass_that_has_not_moved(void **state)
{
    (void)state;
    line(MP_LINE_DEADBAND, "data 1 per {device} every 5m");
    begin();
    put("a", "20");
    after(299999);
    put("a", "20");
    after(1);
    put("a", "20");
    put("a", "20");
    after(299999);
    put("a", "21"); /* moved: five minutes begin anew */
    after(299999);
    put("a", "21");
    expect("1 -2deadband 3 -4deadband 5 -6deadband");
}

static void a_deadband_remembers_what_a_throttle_then_skips(void **state)
{
    (void)state;
    line(MP_LINE_DEADBAND, "data 1");
    line(MP_LINE_THROTTLE, "1/h");
    begin();
    put(NULL, "20");
    put(NULL, "22");
    put(NULL, "22.5");
    expect("1 -2throttle -3deadband");
}

static void nan_neither_blocks_nor_floods(void **state)
{
    static const char nan[] = "\xf9\x7e\x00", one[] = "\x01";
    const char *const put_in[] = {nan, nan, one, one, nan, one};
    struct mp_stream_event event = {.format = MP_FORMAT_CBOR};

    (void)state;
    line(MP_LINE_DEADBAND, "data 1");
    begin();
    for (size_t i = 0; i < ARRAY_LEN(put_in); i++) {
        event.data = mp_slice(put_in[i], put_in[i] == nan ? 3 : 1);
        mp_stream_put(&stream, &events[n_events++].held, &event, NULL, now_us);
    }
    expect("1 -2deadband 3 -4deadband 5 6");
}

/* ---- throttle ---- */

static void a_throttle_is_as_deep_as_its_number(void **state)
{
    (void)state;
    line(MP_LINE_THROTTLE, "3/s");
    begin();
    for (int i = 0; i < 5; i++)
        put(NULL, "");
    expect("1 2 3 -4throttle -5throttle");
    after(333);
    put(NULL, "");
    expect("-6throttle");
    after(1);
    put(NULL, "");
    put(NULL, "");
    expect("7 -8throttle");
    after(100000); /* full, and no more than that */
    for (int i = 0; i < 4; i++)
        put(NULL, "");
    expect("9 10 11 -12throttle");
}

static void a_throttle_keeps_its_rate(void **state)
{
    unsigned passed = 0;

    (void)state;
    line(MP_LINE_THROTTLE, "100/m");
    begin();
    for (int ms = 0; ms < 600000; ms += 50) {
        put(NULL, "");
        after(50);
        passed += told.ptr[0] != '-';
        mp_buf_reset(&told);
    }
    assert_int_equal(passed, 100 + 1000 - 1); /* the bucket, and ten minutes */
}

static void a_throttle_counts_for_each_key(void **state)
{
    (void)state;
    line(MP_LINE_THROTTLE, "1/m per {device}");
    begin();
    put("a", "");
    put("b", "");
    put("a", "");
    put("b", "");
    after(60000);
    put("a", "");
    expect("1 2 -3throttle -4throttle 5");
}

/* ---- coalesce ---- */

static void latest_is_the_last_of_a_window(void **state)
{
    (void)state;
    line(MP_LINE_COALESCE, "latest within 200ms");
    begin();
    put(NULL, "1");
    assert_true(mp_stream_next_us(&stream) == now_us + 200 * MP_MS);
    after(100);
    put(NULL, "2");
    after(99);
    put(NULL, "3");
    expect("-1coalesce -2coalesce");
    after(1); /* since the first */
    expect("3");
    assert_true(mp_stream_next_us(&stream) == INT64_MAX);
    put(NULL, "4"); /* opens another */
    after(199);
    expect("");
    after(1);
    expect("4");
}

static void settled_is_the_last_after_silence(void **state)
{
    (void)state;
    line(MP_LINE_COALESCE, "settled per {device} within 200ms");
    begin();
    put("a", "1");
    after(150);
    put("a", "2");
    put("b", "3");
    after(150);
    put("a", "4");
    after(50); /* b is silent for 200 ms, a for 50 */
    expect("-1coalesce -2coalesce 3");
    after(149);
    expect("");
    after(1);
    expect("4");
}

static void an_event_after_the_end_of_a_window_opens_another(void **state)
{
    (void)state;
    line(MP_LINE_COALESCE, "latest within 200ms");
    begin();
    put(NULL, "1");
    now_us += 200 * MP_MS; /* the turn comes late */
    put(NULL, "2");
    expect("1");
    after(200);
    expect("2");
}

/* ---- batch ---- */

static void a_batch_goes_when_it_is_full_or_its_time_is_up(void **state)
{
    (void)state;
    line(MP_LINE_BATCH, "3 within 2s");
    begin();
    for (int i = 0; i < 4; i++)
        put(NULL, "");
    expect("(1 2 3)");
    after(1999);
    put(NULL, "");
    expect("");
    after(1); /* since the fourth */
    expect("(4 5)");
    assert_true(mp_stream_next_us(&stream) == INT64_MAX);
}

static void batches_are_of_one_key(void **state)
{
    (void)state;
    line(MP_LINE_BATCH, "2 per {device} within 2s");
    begin();
    put("a", "");
    put("b", "");
    put("b", "");
    put("c", "");
    expect("(2 3)");
    after(2000);
    expect("(1) (4)");
}

static void a_batch_is_of_one_actor_whatever_per_says(void **state)
{
    (void)state;
    line(MP_LINE_BATCH, "10 per {data.site} within 2s");
    begin();
    put_for("x", NULL, "{\"site\":1}");
    put_for("y", NULL, "{\"site\":1}");
    put_for("x", NULL, "{\"site\":1}");
    put_for("x", NULL, "{\"site\":2}");
    after(2000);
    expect("(1 3) (2) (4)");
}

static void without_per_a_batch_is_of_one_actor(void **state)
{
    (void)state;
    line(MP_LINE_BATCH, "10 within 2s");
    begin();
    put_for("x", NULL, "");
    put_for("y", NULL, "");
    put_for("x", NULL, "");
    after(2000);
    expect("(1 3) (2)");
}

static void a_batch_of_one_goes_at_once(void **state)
{
    (void)state;
    line(MP_LINE_BATCH, "1 within 2s");
    begin();
    put(NULL, "");
    put(NULL, "");
    expect("(1) (2)");
}

static void a_batch_goes_before_it_gets_too_large(void **state)
{
    enum { SIZE = 1 << 20 };
    char *big = malloc(SIZE + 1);

    (void)state;
    memset(big, 'x', SIZE);
    big[SIZE] = '\0';
    line(MP_LINE_BATCH, "100 within 2s");
    begin();
    for (int i = 0; i < MP_STREAM_BATCH_BYTES / SIZE; i++)
        put(NULL, big);
    expect("");
    put(NULL, "y");
    expect("(1 2 3 4)");
    free(big);
    big = malloc(2 * MP_STREAM_BATCH_BYTES);
    memset(big, 'x', 2 * MP_STREAM_BATCH_BYTES);
    big[2 * MP_STREAM_BATCH_BYTES - 1] = '\0';
    put(NULL, big); /* larger than a batch: goes alone */
    expect("(5)");
    put(NULL, "y");
    expect("(6)");
    free(big);
}

/* ---- all of them ---- */

static void the_lines_act_in_their_order(void **state)
{
    (void)state;
    line(MP_LINE_BATCH, "2 within 10s");
    line(MP_LINE_COALESCE, "latest per {device} within 1s");
    line(MP_LINE_THROTTLE, "2/h per {device}");
    line(MP_LINE_DEADBAND, "t 1 per {device}");
    line(MP_LINE_FILTER, "t > 0");
    begin();
    put("a", "{\"t\":0}");
    put("a", "{\"t\":1}");
    put("a", "{\"t\":1.5}");
    put("a", "{\"t\":2}");
    put("a", "{\"t\":3}");
    put("b", "{\"t\":3}");
    expect("-1filter -3deadband -2coalesce -5throttle");
    after(1000);
    expect("(4 6)");
}

static void windows_end_in_the_order_of_time(void **state)
{
    (void)state;
    line(MP_LINE_COALESCE, "latest per {device} within 100ms");
    line(MP_LINE_BATCH, "10 within 150ms");
    begin();
    put("a", ""); /* batch from 100 to 250 */
    after(100);
    put("b", ""); /* due at 200 */
    expect("");
    now_us += 1000 * MP_MS; /* a very late turn */
    mp_stream_turn(&stream, now_us);
    expect("(1 2)");
}

static void an_event_without_a_key_touches_nothing(void **state)
{
    (void)state;
    line(MP_LINE_FILTER, "ok");
    line(MP_LINE_DEADBAND, "t 1");
    line(MP_LINE_THROTTLE, "1/h per {device}");
    begin();
    put(NULL, "{\"ok\":true,\"t\":1}");
    put(NULL, "{\"ok\":false,\"t\":1}");
    put("", "{\"ok\":true,\"t\":1}");  /* a key of no bytes is none */
    put("a", "{\"ok\":true,\"t\":1}"); /* the deadband's first */
    expect("-1no_key -2filter -3no_key 4");
}

/* ---- least recently seen ---- */

static void the_key_seen_least_recently_is_forgotten(void **state)
{
    (void)state;
    line(MP_LINE_THROTTLE, "1/h per {device}");
    begin_tracked(2);
    put("a", "");
    put("b", "");
    put("a", ""); /* seen */
    put("c", ""); /* forgets b */
    put("a", "");
    put("b", ""); /* forgets c; a new bucket */
    put("a", "");
    put("c", "");
    expect("1 2 -3throttle 4 -5throttle 6 -7throttle 8");
    assert_int_equal(stream.throttle.n, 2);
}

static void a_deadband_forgets_too(void **state)
{
    (void)state;
    line(MP_LINE_DEADBAND, "data 1 per {device}");
    begin_tracked(1);
    put("a", "1");
    put("a", "1");
    put("b", "1");
    put("a", "1");
    expect("1 -2deadband 3 4");
}

static void a_window_is_let_go_before_it_is_forgotten(void **state)
{
    (void)state;
    line(MP_LINE_COALESCE, "latest per {device} within 1s");
    line(MP_LINE_BATCH, "10 per {device} within 5s");
    begin_tracked(2);
    put("a", "");
    put("b", "");
    put("a", ""); /* seen */
    expect("-1coalesce");
    put("c", ""); /* b goes on into its batch */
    assert_int_equal(stream.coalesce.keys.n, 2);
    put("d", ""); /* a too */
    expect("");
    assert_int_equal(stream.batch.keys.n, 2);
    put("e", ""); /* c into a third batch: b's goes */
    expect("(2)");
    assert_int_equal(stream.held, 4);
    mp_stream_flush(&stream);
    expect("(3) (4) (5) (6)");
}

static void many_keys_and_times_lose_nothing(void **state)
{
    static const char *const setups[][2] = {
        {"latest per {device} within 70ms", "3 per {device} within 200ms"},
        {"settled per {device} within 70ms", "3 per {device} within 200ms"},
        {"settled per {device} within 70ms", "1000 within 90ms"},
    };
    uint64_t random = 7;
    char device[8];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(setups); i++) {
        teardown(state);
        setup(state);
        line(MP_LINE_COALESCE, setups[i][0]);
        line(MP_LINE_BATCH, setups[i][1]);
        begin_tracked(50);
        while (n_events < EVENTS_MAX) {
            struct event *e;

            random = random * UINT64_C(6364136223846793005) + 1;
            snprintf(device, sizeof device, "%u",
                     (unsigned)(random >> 33) % 90);
            e = put(device, "");
            if (random >> 60 == 0 && mp_stream_remove(&stream, &e->held)) {
                e->over = true;
                n_over++;
            }
            if (random >> 60 == 1)
                after((random >> 40) % 50);
            assert_true(stream.coalesce.keys.n <= 50);
            assert_true(stream.batch.keys.n <= 50);
            assert_int_equal(n_events - n_over, stream.held);
            assert_true(mp_stream_next_us(&stream) > now_us);
            mp_buf_reset(&told);
        }
    }
}

/* ---- taking out, letting go, going on ---- */

static void an_item_can_be_taken_out_of_its_window(void **state)
{
    struct event *first, *second, *third;

    (void)state;
    line(MP_LINE_BATCH, "3 within 2s");
    begin();
    first = put(NULL, "");
    second = put(NULL, "");
    assert_true(mp_stream_remove(&stream, &second->held));
    assert_false(mp_stream_remove(&stream, &second->held));
    put(NULL, "");
    expect("");
    third = put(NULL, "");
    expect("(1 3 4)");
    assert_false(mp_stream_remove(&stream, &third->held));
    assert_false(mp_stream_remove(&stream, &first->held));
    n_over++; /* the second is ours */
}

static void a_window_without_items_is_gone(void **state)
{
    struct event *e;

    (void)state;
    line(MP_LINE_COALESCE, "latest within 1s");
    begin();
    e = put(NULL, "");
    after(900);
    assert_true(mp_stream_remove(&stream, &e->held));
    assert_true(mp_stream_next_us(&stream) == INT64_MAX);
    n_over++;
    put(NULL, ""); /* opens a window of its own */
    after(999);
    expect("");
    after(1);
    expect("2");
}

static void items_may_be_taken_out_while_others_pass(void **state)
{
    (void)state;
    line(MP_LINE_BATCH, "2 per {device} within 2s");
    begin();
    to_remove = put("a", "");
    put("b", "");
    put("b", ""); /* passes, and takes the first out */
    after(5000);
    expect("(2 3)");
    put("c", "");
    to_remove = put("d", "");
    after(5000); /* the turn finds d's window gone */
    expect("(4)");
}

/* ---- in two steps ---- */

static void enter(struct event *e, enum mp_stream_line from,
                  const char *payload)
{
    struct mp_stream_event event = {.data = mp_slice_str(payload)};

    assert_int_equal(
        mp_stream_enter(&stream, &e->held, from, &event, NULL, now_us), -1);
}

static void what_was_judged_is_judged_once(void **state)
{
    struct mp_stream_event event = {.data = MP_S("7")};
    struct event *e = &events[n_events++], *other = &events[n_events++];

    (void)state;
    line(MP_LINE_FILTER, "data > 5");
    line(MP_LINE_THROTTLE, "1/h");
    line(MP_LINE_COALESCE, "latest within 1s");
    begin();
    assert_int_equal(mp_stream_judge(&stream, &e->held, &event, NULL, now_us),
                     -1);
    assert_int_equal(
        mp_stream_judge(&stream, &other->held, &event, NULL, now_us),
        MP_STREAM_THROTTLE);
    expect("");
    enter(e, MP_LINE_COALESCE, "7");
    enter(other, MP_LINE_COALESCE, "3"); /* of long ago: whatever it is */
    expect("-1coalesce");
    after(1000);
    expect("2");
}

static void what_is_past_coalesce_goes_on_behind_it(void **state)
{
    (void)state;
    line(MP_LINE_COALESCE, "latest within 1s");
    line(MP_LINE_BATCH, "2 within 10s");
    begin();
    enter(&events[n_events++], MP_LINE_BATCH, "1");
    assert_int_equal(events[0].held.in, MP_HELD_BATCH);
    enter(&events[n_events++], MP_LINE_COALESCE, "1");
    assert_int_equal(events[1].held.in, MP_HELD_COALESCE);
    after(1000);
    expect("(1 2)");
}

static void the_key_of_a_batch_is_told_without_a_window(void **state)
{
    struct mp_pair a = {MP_S("device"), MP_S("a")},
                   b = {MP_S("device"), MP_S("b")};
    struct mp_stream_event event = {
        .data = MP_S("1"), .params = &a, .n_params = 1};
    struct mp_held item = {.in = MP_HELD_NOT};
    struct event *e;

    (void)state;
    line(MP_LINE_BATCH, "2 per {device} within 10s");
    begin();
    e = put("a", "1");
    assert_true(mp_stream_mark(&stream, &item, &event));
    assert_memory_equal(&item.batch, &e->held.batch, sizeof item.batch);
    assert_int_equal(stream.held, 1);
    event.params = &b;
    assert_true(mp_stream_mark(&stream, &item, &event));
    assert_memory_not_equal(&item.batch, &e->held.batch, sizeof item.batch);
    event.n_params = 0;
    assert_false(mp_stream_mark(&stream, &item, &event));
}

static void pressed_the_window_goes_whose_time_is_up_first(void **state)
{
    (void)state;
    line(MP_LINE_COALESCE, "latest per {device} within 1s");
    begin();
    mp_stream_press(&stream, now_us); /* nothing waits */
    put("a", "1");
    after(1);
    put("b", "2");
    mp_stream_press(&stream, now_us);
    expect("1");
    mp_stream_press(&stream, now_us);
    expect("2");
}

static void what_it_takes_counts_for_a_batch_not_its_payload(void **state)
{
    struct mp_stream_event event = {.data = MP_S("1"),
                                    .bytes = MP_STREAM_BATCH_BYTES / 2};

    (void)state;
    line(MP_LINE_BATCH, "10 within 10s");
    begin();
    for (unsigned i = 0; i < 3; i++)
        mp_stream_put(&stream, &events[n_events++].held, &event, NULL, now_us);
    expect("(1 2)");
}

static void a_flush_lets_everything_go_in_order(void **state)
{
    (void)state;
    line(MP_LINE_COALESCE, "settled per {device} within 1s");
    line(MP_LINE_BATCH, "10 within 9s");
    begin();
    put("a", "");
    put("b", "");
    put("a", "");
    after(1000);
    put("c", "");
    expect("-1coalesce");
    mp_stream_flush(&stream);
    expect("(2 3 4)");
    assert_true(mp_stream_next_us(&stream) == INT64_MAX);
    put("a", ""); /* and it goes on */
    mp_stream_flush(&stream);
    expect("(5)");
}

/* A new version: lines as given, or NULL for none. */
static void reload(const char *deadband, const char *throttle, uint32_t tracked)
{
    struct mp_stream_lines *old_lines = lines;
    struct mp_stream old;

    mp_stream_flush(&stream);
    old = stream;
    lines = mp_stream_lines_new();
    if (deadband)
        line(MP_LINE_DEADBAND, deadband);
    if (throttle)
        line(MP_LINE_THROTTLE, throttle);
    begin_tracked(tracked);
    mp_stream_adopt(&stream, &old);
    mp_stream_fini(&old);
    mp_stream_lines_free(old_lines);
}

static void lines_that_stay_keep_their_memories(void **state)
{
    (void)state;
    line(MP_LINE_DEADBAND, "data 1 per {device}");
    line(MP_LINE_THROTTLE, "1/h per {device}");
    begin();
    put("a", "1");
    put("b", "1");
    put("b", "1");
    expect("1 2 -3deadband");
    reload("data 1 per {device}", "1/h per {device}", 10000);
    put("b", "1");
    put("b", "3");
    expect("-4deadband -5throttle");
    reload("data 2 per {device}", "1/h per {device}", 10000);
    put("b", "3"); /* the deadband begins anew */
    expect("-6throttle");
    put("c", "1");
    put("b", "3");
    expect("7 -8deadband");
    reload("data 2 per {device}", NULL, 1); /* c, seen before b, is gone */
    put("b", "3");
    put("c", "1");
    expect("-9deadband 10");
}

/* ---- lines ---- */

static const struct {
    enum mp_stream_line line;
    const char *value, *said;
} mistakes[] = {
    {MP_LINE_FILTER, "", "the line is empty"},
    {MP_LINE_FILTER, "temp = 3",
     "column 6: expected and, or or the end, found '=': use =="},
    {MP_LINE_DEADBAND, "temp",
     "column 5: expected a step, as in 0.5 or 2%; 0 is any change"},
    {MP_LINE_DEADBAND, "temp -1",
     "column 6: expected a step, as in 0.5 or 2%; 0 is any change"},
    {MP_LINE_DEADBAND, "temp %",
     "column 6: expected a step, as in 0.5 or 2%; 0 is any change"},
    {MP_LINE_DEADBAND, "0.5",
     "column 1: expected a field, as in temp, a.b[0] or data[\"b-c\"]"},
    {MP_LINE_DEADBAND, "temp 1,",
     "column 8: expected a field, as in temp, a.b[0] or data[\"b-c\"]"},
    {MP_LINE_DEADBAND, "temp 1, data.temp 2",
     "column 9: the field stands there twice"},
    {MP_LINE_DEADBAND, "a 1,b 1,c 1,d 1,e 1,f 1,g 1,h 1,i 1",
     "more than 8 fields"},
    {MP_LINE_DEADBAND, "temp 1 evry 5m",
     "expected per, every or the end, found 'evry'; did you mean 'every'?"},
    {MP_LINE_DEADBAND, "temp 1 within 5m",
     "expected per, every or the end, found 'within'"},
    {MP_LINE_DEADBAND, "temp 1 every",
     "every needs a duration, as in every "
     "200ms"},
    {MP_LINE_DEADBAND, "temp 1 every 5m every 6m", "every stands there twice"},
    {MP_LINE_DEADBAND, "temp 1 per device",
     "per device names nothing of the event; write per {device}"},
    {MP_LINE_DEADBAND, "temp 1 per",
     "per needs a template, as in per "
     "{device}"},
    {MP_LINE_DEADBAND, "temp 1 per {a} per {b}", "per stands there twice"},
    {MP_LINE_DEADBAND, "temp 1 per {a", "per {a: column 3: expected }"},
    {MP_LINE_THROTTLE, "10", "a rate is so many per s, m or h, as in 10/s"},
    {MP_LINE_THROTTLE, "0/s", "from 1 to 1000000 in that time"},
    {MP_LINE_THROTTLE, "10/s within 2s",
     "expected per or the end, found 'within'"},
    {MP_LINE_COALESCE, "within 2s",
     "expected latest or settled, found 'within'"},
    {MP_LINE_COALESCE, "setled within 2s",
     "expected latest or settled, found 'setled'; did you mean 'settled'?"},
    {MP_LINE_COALESCE, "latest",
     "says not how long; put 'within' and a duration behind it, as in within "
     "200ms"},
    {MP_LINE_COALESCE, "latest within 0",
     "within 0: longer than 0, as in within 200ms"},
    {MP_LINE_COALESCE, "latest within 2",
     "within 2: a duration has a unit, as in 100ms or 2m"},
    {MP_LINE_BATCH, "many within 2s",
     "expected how many events, as in 100 within 2s"},
    {MP_LINE_BATCH, "0 within 2s", "from 1 to 1000 events"},
    {MP_LINE_BATCH, "1001 within 2s", "from 1 to 1000 events"},
    {MP_LINE_BATCH, "10 per {a}",
     "says not how long; put 'within' and a duration behind it, as in within "
     "200ms"},
};

static void a_line_with_a_mistake_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        struct mp_stream_lines *l = mp_stream_lines_new();
        struct mp_slice in = t_exact(mp_slice_str(mistakes[i].value));

        print_message("%s = %s\n", mp_stream_line_name(mistakes[i].line),
                      mistakes[i].value);
        assert_true(mp_stream_lines_add(l, mistakes[i].line, in, &why) < 0);
        assert_string_equal(why.text, mistakes[i].said);
        t_exact_free(in);
        mp_stream_lines_free(l);
    }
}

static void only_a_filter_may_stand_twice(void **state)
{
    (void)state;
    line(MP_LINE_THROTTLE, "10/s");
    assert_int_equal(
        mp_stream_lines_add(lines, MP_LINE_THROTTLE, MP_S("10/s"), &why),
        MP_EPARSE);
    assert_string_equal(why.text, "stands there twice");
}

static void the_lines_tell_what_they_need(void **state)
{
    (void)state;
    assert_int_equal(mp_stream_lines_wait_us(lines), 0);
    line(MP_LINE_THROTTLE, "1/s per {data}");
    assert_false(mp_stream_lines_read_fields(lines));
    line(MP_LINE_FILTER, " {floor} == '3' ");
    line(MP_LINE_DEADBAND, "temp 5% , data[\"a b\"] 0 every 5m "
                           "per {site}/{data[\"x y\"]}/{device}");
    line(MP_LINE_COALESCE, "latest within 200ms per {device}");
    line(MP_LINE_BATCH, "5 within 1m30s");
    assert_true(mp_stream_lines_has(lines, MP_LINE_FILTER));
    assert_true(mp_stream_lines_has(lines, MP_LINE_THROTTLE));
    assert_true(mp_stream_lines_read_fields(lines));
    assert_string_equal(lines->texts[MP_LINE_FILTER], "{floor} == '3'");
    assert_true(
        mp_slice_is(mp_stream_lines_param(lines, MP_LINE_FILTER, 0), "floor"));
    assert_true(
        mp_slice_is(mp_stream_lines_param(lines, MP_LINE_DEADBAND, 0), "site"));
    assert_true(mp_slice_is(mp_stream_lines_param(lines, MP_LINE_DEADBAND, 1),
                            "device"));
    assert_null(mp_stream_lines_param(lines, MP_LINE_DEADBAND, 2).ptr);
    assert_null(mp_stream_lines_param(lines, MP_LINE_BATCH, 0).ptr);
    assert_int_equal(lines->fields.n, 4);
    assert_true(lines->deadband.fields[0].percent);
    assert_int_equal(mp_stream_lines_wait_us(lines), 90200 * MP_MS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_lines_everything_passes),
        TEST(a_filter_lets_through_what_it_is_true_of),
        TEST(the_router_may_ask_the_filter_first),
        TEST(a_deadband_compares_with_what_last_passed),
        TEST(a_step_is_what_its_decimals_say),
        TEST(a_step_in_percent_is_of_what_last_passed),
        TEST(percent_of_zero_is_any_change),
        TEST(step_zero_is_any_change_of_any_type),
        TEST(what_is_no_number_passes_when_it_changes),
        TEST(a_field_that_is_missing_has_not_moved),
        TEST(every_lets_one_pass_that_has_not_moved),
        TEST(a_deadband_remembers_what_a_throttle_then_skips),
        TEST(nan_neither_blocks_nor_floods),
        TEST(a_throttle_is_as_deep_as_its_number),
        TEST(a_throttle_keeps_its_rate),
        TEST(a_throttle_counts_for_each_key),
        TEST(latest_is_the_last_of_a_window),
        TEST(settled_is_the_last_after_silence),
        TEST(an_event_after_the_end_of_a_window_opens_another),
        TEST(a_batch_goes_when_it_is_full_or_its_time_is_up),
        TEST(batches_are_of_one_key),
        TEST(a_batch_is_of_one_actor_whatever_per_says),
        TEST(without_per_a_batch_is_of_one_actor),
        TEST(a_batch_of_one_goes_at_once),
        TEST(a_batch_goes_before_it_gets_too_large),
        TEST(the_lines_act_in_their_order),
        TEST(windows_end_in_the_order_of_time),
        TEST(an_event_without_a_key_touches_nothing),
        TEST(the_key_seen_least_recently_is_forgotten),
        TEST(a_deadband_forgets_too),
        TEST(a_window_is_let_go_before_it_is_forgotten),
        TEST(many_keys_and_times_lose_nothing),
        TEST(an_item_can_be_taken_out_of_its_window),
        TEST(a_window_without_items_is_gone),
        TEST(items_may_be_taken_out_while_others_pass),
        TEST(what_was_judged_is_judged_once),
        TEST(what_is_past_coalesce_goes_on_behind_it),
        TEST(the_key_of_a_batch_is_told_without_a_window),
        TEST(pressed_the_window_goes_whose_time_is_up_first),
        TEST(what_it_takes_counts_for_a_batch_not_its_payload),
        TEST(a_flush_lets_everything_go_in_order),
        TEST(lines_that_stay_keep_their_memories),
        TEST(a_line_with_a_mistake_is_told),
        TEST(only_a_filter_may_stand_twice),
        TEST(the_lines_tell_what_they_need),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
