/*
 * test_host_stream.c - stream lines and batches in a host with a real database
 * and worker, and a transport that keeps what it is given
 * (core/host_stream.c, host_batch.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/host_impl.h"
#include "core/log.h"
#include "core/pool_impl.h"
#include "tests/unit/conf_kit.h"

static char dir[64], functions[80], data[80];
static uv_loop_t loop;
static uv_timer_t deadline;
static struct mp_config config;
/* What a host has goes with its process: each stays where a sanitizer finds
 * it. */
enum { HOSTS = 9 };
static struct mp_host hosts[HOSTS];
static unsigned n_hosts;
#define host (hosts[n_hosts - 1])
static struct mp_buf sent;     /* "TOPIC DATA, " of each output */
static struct mp_buf sent_ids; /* their ids */
static unsigned n_settled, n_lost;
static bool routed, closed;

/* ---- the transport: confirms at once ---- */

static int t_open(struct mp_host *h MP_UNUSED, uv_loop_t *l MP_UNUSED,
                  const struct mp_config *c MP_UNUSED, void **self,
                  struct mp_why *why MP_UNUSED)
{
    *self = &routed;
    return 0;
}

static void t_route(void *self MP_UNUSED,
                    const struct mp_route *routes MP_UNUSED, unsigned n)
{
    if (n)
        routed = true;
}

static void t_publish(void *self MP_UNUSED, struct mp_output *out)
{
    mp_buf_printf(&sent, "%.*s %.*s, ", MP_FMT(out->topic), MP_FMT(out->data));
    mp_buf_printf(&sent_ids, "%.*s, ", MP_FMT(out->id));
    out->done(out, 0, NULL);
}

static void t_nothing(void *self MP_UNUSED)
{
}

static void t_pause(void *self MP_UNUSED, bool paused MP_UNUSED)
{
}

static bool t_idle(void *self MP_UNUSED)
{
    return true;
}

static void t_close(void *self MP_UNUSED, void (*finished)(void *arg),
                    void *arg)
{
    finished(arg);
}

static const struct mp_transport transport = {
    .name = "test",
    .open = t_open,
    .route = t_route,
    .publish = t_publish,
    .lost = t_nothing,
    .found = t_nothing,
    .pause = t_pause,
    .drain = t_nothing,
    .idle = t_idle,
    .close = t_close,
};

static void on_settled_input(struct mp_input *in)
{
    n_settled++;
    n_lost += in->lost;
}

static void input_of(const char *topic, const char *bytes, uint8_t qos,
                     const char *id, bool given, uint32_t expiry_s)
{
    struct mp_input in = {
        .settled = on_settled_input,
        .type = MP_EVENT_MQTT,
        .qos = qos,
        .received_us = mp_now_us(),
        .time_us = mp_wall_us(),
        .id = mp_slice_str(id),
        .given_id = given,
        .topic = mp_slice_str(topic),
        .data = mp_slice_str(bytes),
        .source = MP_S("test"),
        .has_expiry = expiry_s < 1000,
        .expiry_s = expiry_s,
    };

    mp_host_input(&host, mp_input_new(&in));
}

/* Its id is its payload. */
static void input(const char *topic, const char *bytes)
{
    input_of(topic, bytes, 1, bytes, false, 1000);
}

static void input_0(const char *topic, const char *bytes)
{
    input_of(topic, bytes, 0, bytes, false, 1000);
}

/* ---- the fixture ---- */

static void on_settled(void *arg MP_UNUSED, bool changed MP_UNUSED)
{
}

static void on_link(void *arg MP_UNUSED, bool up MP_UNUSED)
{
}

static void on_fatal(void *arg MP_UNUSED)
{
    fail();
}

static void on_closed(void *arg MP_UNUSED)
{
    closed = true;
}

static void too_late(uv_timer_t *timer MP_UNUSED)
{
    fail_msg("it did not happen within 20 s; sent: %.*s",
             MP_FMT(mp_buf_bytes(&sent)));
}

/* NAME takes NAME/{d}, with these lines of its trigger and what follows. */
static void function(const char *name, const char *conf, const char *lua)
{
    char file[100], text[1500];

    snprintf(file, sizeof file, "functions/%s/function.conf", name);
    snprintf(text, sizeof text,
             "[grant]\npublish = out/#\n[trigger in]\nmqtt = %s/{d}\n%s", name,
             conf);
    t_file_put(dir, file, mp_slice_str(text));
    snprintf(file, sizeof file, "functions/%s/main.lua", name);
    snprintf(text, sizeof text,
             "local mp = require 'moonpool'\n"
             "local function ids(e)\n"
             "  local t = {}\n"
             "  for i, one in ipairs(e.events) do t[i] = one.data end\n"
             "  return table.concat(t, '+')\n"
             "end\n"
             "return function(e)\n%s\nend\n",
             lua);
    t_file_put(dir, file, mp_slice_str(text));
}

static void write_functions(void)
{
    static const char tell[] = "mp.publish('out/x', e.type .. ' ' .. ids(e))";
    static const char alone[] = "mp.publish('out/x', e.data)";

    function("filter", "filter = data > 5\n", alone);
    function("band", "deadband = data 2 per {d}\n", alone);
    function("slow", "throttle = 2/h per {d}\n", alone);
    function("last", "coalesce = latest per {d} within 10m\n", alone);
    function("soon", "coalesce = latest per {d} within 30ms\n", alone);
    function("keyed", "throttle = 100/s per {data.k}\n", alone);
    function("three", "batch = 3 within 10m\n", tell);
    function("brief", "batch = 100 per {d} within 30ms\n",
             "mp.publish('out/x', e.params.d .. ' ' .. ids(e))");
    function("actors", "batch = 2 within 10m\n[state]\nkey = {d}\n",
             "mp.publish('out/x', e.key .. ' ' .. "
             "mp.state.increment('n', #e.events) .. ' ' .. ids(e))");
    function("poison", "batch = 3 within 10m\n",
             "for _, one in ipairs(e.events) do\n"
             "  if one.data == 'bad' then error('poison') end\n"
             "  if one.data == 'long' then while true do end end\n"
             "end\n"
             "mp.publish('out/x', ids(e))");
    function("judge", "batch = 4 within 10m\n[retry]\nbackoff = 10ms\n",
             "local n = 0\n"
             "for _, one in ipairs(e.events) do\n"
             "  if one.data == 'no' then one:reject('no good')\n"
             "  elseif one.data == 'later' and one.attempt == 1 then\n"
             "    one:retry('not now')\n"
             "  elseif one.data == 'never' then one:retry('never')\n"
             "  else n = n + 1 end\n"
             "end\n"
             "mp.publish('out/x', n .. ' of ' .. ids(e))");
    function("once", "batch = 3 within 10m\ndedupe = 1h\n", tell);
    function("fresh", "coalesce = latest per {d} within 20ms\ndedupe = 1h\n",
             alone);
    function("stuck", "[state]\nkey = {d}\n[limits]\ncpu = 100ms\n",
             "if e.data == 'long' then while true do end end\n"
             "mp.publish('out/x', e.data)");
    function("again", "[retry]\nbackoff = 1m\n",
             "local from = os.clock()\n"
             "while os.clock() - from < 0.05 do end\n"
             "if e.data == 'later' then mp.retry('later') end\n"
             "mp.publish('out/x', e.data)");
    function("both",
             "throttle = 1/h per {d}\n"
             "coalesce = latest per {d} within 10m\n",
             alone);
    function("full", "batch = 3 within 40ms\n[limits]\nqueue = 4\n", tell);
    function("heavy",
             "coalesce = latest per {d} within 10m\n"
             "[limits]\nqueue_bytes = 4K\n",
             alone);
}

static void begin(void)
{
    struct mp_why why;

    routed = closed = false;
    assert_true(n_hosts++ < HOSTS);
    host = (struct mp_host){
        .on_settled = on_settled, .on_link = on_link, .on_fatal = on_fatal};
    uv_loop_init(&loop);
    uv_timer_init(&loop, &deadline);
    uv_timer_start(&deadline, too_late, 20000, 0);
    assert_int_equal(mp_host_open(&host, &loop, &config, &transport, &why), 0);
    while (!routed)
        uv_run(&loop, UV_RUN_ONCE);
    mp_host_link(&host, true);
}

static int set_up(void **state MP_UNUSED)
{
    struct mp_report report = {.say = NULL};
    struct mp_overrides overrides = {0};

    mp_log_open(MP_LOG_TEXT, MP_ERROR);
    t_dir_make(dir);
    snprintf(functions, sizeof functions, "%s/functions", dir);
    snprintf(data, sizeof data, "%s/data", dir);
    t_file_put(dir, "data/there", MP_S(""));
    write_functions();
    overrides.functions = functions;
    overrides.data = data;
    assert_int_equal(mp_config_read(&config, &overrides, &report), 0);
    config.workers = 1;
    config.mqtt.hold_us = 3600 * MP_SECOND;
    mp_buf_init(&sent, 100000);
    mp_buf_init(&sent_ids, 100000);
    begin();
    return 0;
}

static void close_rest(uv_handle_t *handle, void *arg MP_UNUSED)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void stop(void)
{
    while (!mp_host_drain(&host))
        uv_run(&loop, UV_RUN_ONCE);
    mp_host_close(&host, on_closed, NULL);
    assert_true(closed);
    uv_walk(&loop, close_rest, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static int tear_down(void **state MP_UNUSED)
{
    stop();
    mp_config_fini(&config);
    mp_buf_fini(&sent);
    mp_buf_fini(&sent_ids);
    t_dir_remove(dir);
    return 0;
}

static int fresh(void **state MP_UNUSED)
{
    mp_buf_reset(&sent);
    mp_buf_reset(&sent_ids);
    n_settled = n_lost = 0;
    return 0;
}

static struct mp_slot *slot_of(const char *name)
{
    struct mp_slot *slot = mp_host_slot(&host, mp_slice_str(name));

    assert_non_null(slot);
    return slot;
}

static struct mp_trigger_metrics *counters(const char *name)
{
    return &slot_of(name)->metrics.triggers[0];
}

static void until_open(unsigned n)
{
    while (host.open > n)
        uv_run(&loop, UV_RUN_ONCE);
}

static void until_settled(unsigned n)
{
    while (n_settled < n)
        uv_run(&loop, UV_RUN_ONCE);
}

#define assert_sent(text)                                                      \
    do {                                                                       \
        if (!mp_slice_is(mp_buf_bytes(&sent), (text)))                         \
            fail_msg("sent \"%.*s\", expected \"%s\"",                         \
                     MP_FMT(mp_buf_bytes(&sent)), (text));                     \
    } while (0)

/* What came is run, skipped or dropped, or it waits. */
static void adds_up(const char *name)
{
    const struct mp_trigger_metrics *m = counters(name);
    uint64_t sum = m->run;

    for (unsigned i = 0; i < MP_SKIPS; i++)
        sum += m->skipped[i];
    for (unsigned i = 0; i < MP_DROPS; i++)
        sum += m->dropped[i];
    assert_int_equal(sum + slot_of(name)->n_windowed, m->events);
}

/* ---- lines before the windows ---- */

static void what_a_line_skips_is_settled_and_counted(void **state MP_UNUSED)
{
    input("filter/a", "5");
    input("filter/a", "6");
    until_open(0);
    input("band/a", "10");
    input("band/a", "11");
    input("band/b", "11");
    until_open(0);
    input("band/a", "12");
    until_open(0);
    for (int i = 0; i < 4; i++)
        input("slow/a", "1");
    until_open(0);
    assert_int_equal(n_settled, 10);
    assert_sent("out/x 6, out/x 10, out/x 11, out/x 12, out/x 1, out/x 1, ");
    assert_int_equal(counters("filter")->skipped[MP_SKIP_FILTER], 1);
    assert_int_equal(counters("band")->skipped[MP_SKIP_DEADBAND], 1);
    assert_int_equal(counters("slow")->skipped[MP_SKIP_THROTTLE], 2);
    adds_up("filter");
    adds_up("band");
    adds_up("slow");
    assert_int_equal(host.queue.rows, 0);
}

static void what_lacks_a_name_of_per_is_dropped(void **state MP_UNUSED)
{
    input("keyed/a", "{\"k\":1}");
    input("keyed/a", "{}");
    until_open(0);
    assert_int_equal(n_settled, 2);
    assert_int_equal(counters("keyed")->dropped[MP_DROP_NO_KEY], 1);
    adds_up("keyed");
}

/* ---- coalesce ---- */

static void the_last_of_a_window_runs(void **state MP_UNUSED)
{
    input("soon/a", "1");
    input("soon/b", "2");
    input("soon/a", "3");
    assert_int_equal(n_settled, 1);
    assert_int_equal(slot_of("soon")->n_windowed, 2);
    until_open(0);
    assert_sent("out/x 3, out/x 2, ");
    assert_int_equal(counters("soon")->skipped[MP_SKIP_COALESCE], 1);
    assert_int_equal(n_settled, 3);
    adds_up("soon");
    assert_int_equal(slot_of("soon")->windowed_bytes, 0);
}

/* A row is the end of the wait for the broker, and goes when the event is
 * skipped; with QoS 0 there is none. */
static void
what_waits_past_hold_is_a_row_until_it_is_skipped(void **state MP_UNUSED)
{
    config.mqtt.hold_us = 10 * MP_MS;
    uv_timer_stop(&host.hold); /* it is for an hour */
    input("last/a", "1");
    input_0("last/b", "2");
    until_settled(1);
    assert_int_equal(host.queue.rows, 1);
    assert_int_equal(slot_of("last")->metrics.parked[MP_PARKED_WINDOW], 1);
    assert_int_equal(slot_of("last")->n_windowed, 2);
    input("last/a", "3");
    while (host.open > 2)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(counters("last")->skipped[MP_SKIP_COALESCE], 1);
    config.mqtt.hold_us = 3600 * MP_SECOND;
    adds_up("last");
}

static void
a_new_version_lets_the_windows_go_and_keeps_the_memories(void **state MP_UNUSED)
{
    assert_int_equal(slot_of("last")->n_windowed, 2); /* of the last test */
    function("last", "coalesce = latest per {d} within 20m\n",
             "mp.publish('out/x', 'new ' .. e.data)");
    function("slow", "throttle = 2/h per {d}\n",
             "mp.publish('out/x', 'new ' .. e.data)");
    mp_catalog_scan(&host.catalog);
    until_open(0);
    assert_sent("out/x new 3, out/x new 2, ");
    adds_up("last");
    assert_int_equal(host.queue.rows, 0);
    input("slow/a", "7");
    input("slow/b", "8");
    until_open(0);
    assert_sent("out/x new 3, out/x new 2, out/x new 8, ");
}

/* More than limits.queue_bytes of a function don't wait in its windows. */
static void windows_that_take_too_much_are_let_go_early(void **state MP_UNUSED)
{
    char topic[30];

    for (int i = 0; i < 30; i++) {
        snprintf(topic, sizeof topic, "heavy/%d", i);
        input(topic, "1");
        assert_true(slot_of("heavy")->windowed_bytes <= 4096);
    }
    while (host.open > slot_of("heavy")->n_windowed)
        uv_run(&loop, UV_RUN_ONCE);
    assert_true(counters("heavy")->run > 20);
    adds_up("heavy");
    function("heavy", "", "mp.publish('out/x', e.data)");
    mp_catalog_scan(&host.catalog);
    until_open(0);
    assert_int_equal(counters("heavy")->run, 30);
}

/* ---- batches ---- */

static void a_full_batch_runs_at_once_and_ends_as_one(void **state MP_UNUSED)
{
    input("three/a", "1");
    input("three/b", "2");
    assert_int_equal(n_settled, 0);
    input_0("three/a", "3");
    until_settled(3);
    assert_sent("out/x batch 1+2+3, ");
    assert_true(mp_slice_is(mp_buf_bytes(&sent_ids), "1~3/three/1, "));
    assert_int_equal(slot_of("three")->metrics.invocations[MP_OUT_OK], 1);
    assert_int_equal(counters("three")->run, 3);
    adds_up("three");
}

static void a_batch_of_one_is_a_batch(void **state MP_UNUSED)
{
    input("brief/a", "1");
    input("brief/b", "2");
    input("brief/b", "3");
    while (sent.len < strlen("out/x a 1, out/x b 2+3, "))
        uv_run(&loop, UV_RUN_ONCE);
    until_settled(3);
    assert_sent("out/x a 1, out/x b 2+3, ");
    assert_true(
        mp_slice_is(mp_buf_bytes(&sent_ids), "1~1/brief/1, 2~2/brief/1, "));
    adds_up("brief");
}

static void with_state_a_batch_is_of_one_actor(void **state MP_UNUSED)
{
    input("actors/a", "1");
    input("actors/b", "2");
    input("actors/a", "3");
    until_settled(2);
    input("actors/b", "4");
    until_settled(4);
    input("actors/a", "5");
    input("actors/a", "6");
    until_settled(6);
    assert_sent("out/x a 2 1+3, out/x b 2 2+4, out/x a 4 5+6, ");
    adds_up("actors");
}

static void one_bad_event_spoils_no_other(void **state MP_UNUSED)
{
    struct mp_slot *slot = slot_of("poison");

    input("poison/a", "1");
    input("poison/a", "bad");
    input("poison/a", "2");
    until_settled(3);
    assert_sent("out/x 1, out/x 2, ");
    assert_int_equal(slot->metrics.dead[MP_DEAD_ERROR], 1);
    assert_int_equal(slot->metrics.invocations[MP_OUT_ERROR], 2);
    assert_int_equal(slot->breaker.in_a_row, 0);
    assert_int_equal(counters("poison")->run, 3);
    adds_up("poison");
}

static void one_that_takes_too_long_neither(void **state MP_UNUSED)
{
    input("poison/a", "1");
    input("poison/b", "long");
    input("poison/c", "2");
    until_settled(3);
    assert_sent("out/x 1, out/x 2, ");
    assert_int_equal(slot_of("poison")->metrics.dead[MP_DEAD_TIMEOUT], 1);
    adds_up("poison");
}

static void who_is_sent_away_goes_its_own_way(void **state MP_UNUSED)
{
    struct mp_slot *slot = slot_of("judge");

    input("judge/a", "1");
    input("judge/a", "no");
    input("judge/a", "later");
    input("judge/a", "2");
    until_settled(4);
    until_open(0);
    assert_sent("out/x 2 of 1+no+later+2, out/x 1 of later, ");
    assert_true(mp_slice_is(mp_buf_bytes(&sent_ids),
                            "1~4/judge/1, later~1.2/judge/1, "));
    assert_int_equal(slot->metrics.dead[MP_DEAD_REJECTED], 1);
    assert_int_equal(slot->metrics.retries, 1);
    assert_int_equal(counters("judge")->run, 4);
    adds_up("judge");
    assert_int_equal(host.queue.rows, 0);
}

/* In one order: before all that came behind it. */
static void who_runs_again_holds_up_those_behind(void **state MP_UNUSED)
{
    static const char *const all[] = {"1", "later", "2", "3",
                                      "4", "5",     "6", "7"};

    for (unsigned i = 0; i < 8; i++)
        input("judge/a", all[i]);
    until_settled(8);
    until_open(0);
    assert_sent("out/x 3 of 1+later+2+3, out/x 1 of later, "
                "out/x 4 of 4+5+6+7, ");
    adds_up("judge");
}

static void who_is_always_sent_back_is_a_dead_letter(void **state MP_UNUSED)
{
    struct mp_slot *slot = slot_of("judge");

    for (unsigned i = 0; i < 4; i++)
        input("judge/a", "never");
    until_settled(4);
    until_open(0);
    assert_int_equal(slot->metrics.dead[MP_DEAD_ERROR], 4);
    assert_int_equal(slot->breaker.in_a_row, 0);
    adds_up("judge");
}

static void what_expired_in_its_window_is_dropped(void **state MP_UNUSED)
{
    input_of("three/a", "1", 1, "1", false, 0);
    input("three/a", "2");
    input("three/a", "3");
    until_settled(3);
    assert_sent("out/x batch 2+3, ");
    /* It is another batch than the one with all three. */
    assert_true(mp_slice_is(mp_buf_bytes(&sent_ids), "2~2/three/1, "));
    assert_int_equal(counters("three")->dropped[MP_DROP_EXPIRED], 1);
    adds_up("three");
}

static void
an_id_that_comes_twice_in_a_batch_counts_once(void **state MP_UNUSED)
{
    input_of("once/a", "1", 1, "x", true, 1000);
    input_of("once/a", "2", 1, "x", true, 1000);
    input_of("once/a", "3", 1, "y", true, 1000);
    until_settled(3);
    until_open(0);
    assert_sent("out/x batch 1+3, ");
    input_of("once/a", "4", 1, "y", true, 1000);
    input_of("once/a", "5", 1, "z", true, 1000);
    input_of("once/a", "6", 1, "x", true, 1000);
    input_of("once/a", "7", 1, "v", true, 1000);
    input_of("once/a", "8", 1, "w", true, 1000);
    until_settled(8);
    assert_sent("out/x batch 1+3, out/x batch 5+7+8, ");
    assert_int_equal(counters("once")->skipped[MP_SKIP_DUPLICATE], 3);
    adds_up("once");
}

/* It is not the latest. */
static void a_repeat_replaces_nothing_in_a_window(void **state MP_UNUSED)
{
    input_of("fresh/a", "1", 1, "x", true, 1000);
    until_open(0);
    input_of("fresh/a", "2", 1, "y", true, 1000);
    input_of("fresh/a", "1", 1, "x", true, 1000);
    until_settled(3);
    until_open(0);
    assert_sent("out/x 1, out/x 2, ");
    assert_int_equal(counters("fresh")->skipped[MP_SKIP_DUPLICATE], 1);
    assert_int_equal(counters("fresh")->skipped[MP_SKIP_COALESCE], 0);
}

/* Nothing may start meanwhile: somebody is probed, for ever. */
static void quarantine(struct mp_slot *slot)
{
    slot->breaker.state = MP_BREAKER_OPEN;
    slot->breaker.until_us = INT64_MAX;
}

static void limits_queue_counts_events_not_batches(void **state MP_UNUSED)
{
    struct mp_slot *slot = slot_of("full");

    quarantine(slot);
    for (unsigned i = 0; i < 3; i++)
        input_0("full/a", "1");
    assert_int_equal(slot->n_waiting, 3);
    for (unsigned i = 0; i < 3; i++)
        input_0("full/a", "2"); /* QoS 0: the oldest are given up */
    assert_int_equal(slot->n_waiting, 3);
    assert_int_equal(counters("full")->dropped[MP_DROP_QUEUE_FULL], 3);
    for (unsigned i = 0; i < 3; i++)
        input("full/a", "3"); /* QoS 1: on disk, and one finds room */
    while (host.queue.rows < 3)
        uv_run(&loop, UV_RUN_ONCE);
    mp_breaker_reset(&slot->breaker);
    until_settled(9);
    until_open(0);
    while (host.queue.rows)
        uv_run(&loop, UV_RUN_ONCE);
    assert_sent("out/x batch 2+2+2, out/x batch 3, out/x batch 3+3, ");
    assert_int_equal(slot->n_waiting, 0);
    assert_int_equal(slot->waiting_bytes, 0);
}

/* In quarantine each has a row, and one that a person drops leaves. */
static void
a_waiting_batch_is_parked_and_one_of_it_dropped(void **state MP_UNUSED)
{
    struct mp_slot *slot = slot_of("three");
    uint64_t ticket;

    quarantine(slot);
    input("three/a", "1");
    input("three/a", "2");
    input("three/a", "3");
    until_settled(3);
    assert_int_equal(host.queue.rows, 3);
    assert_int_equal(
        mp_host_drop_rows(&host, MP_S(""), host.queue.next_id - 2, &ticket), 1);
    assert_int_equal(slot->n_waiting, 2);
    mp_breaker_reset(&slot->breaker);
    until_open(0);
    assert_sent("out/x batch 1+3, ");
    assert_int_equal(host.queue.rows, 0);
    assert_int_equal(slot->waiting_bytes, 0);
    counters("three")->run++; /* the one that was dropped */
}

static void a_batch_whose_line_is_gone_runs_one_by_one(void **state MP_UNUSED)
{
    struct mp_slot *slot = slot_of("three");

    quarantine(slot);
    input("three/a", "1");
    input("three/a", "2");
    input("three/a", "3");
    input("three/a", "4"); /* in the window */
    function("three", "", "mp.publish('out/x', e.type .. ' ' .. e.data)");
    mp_catalog_scan(&host.catalog);
    until_settled(4);
    until_open(0);
    assert_sent("out/x mqtt 1, out/x mqtt 2, out/x mqtt 3, out/x mqtt 4, ");
}

static void a_batch_whose_key_is_another_is_keyed_anew(void **state MP_UNUSED)
{
    struct mp_slot *slot = slot_of("actors");

    quarantine(slot);
    input("actors/a", "1");
    input("actors/a", "3");
    function("actors", "batch = 2 within 10m\n[state]\nkey = x-{d}\n",
             "mp.publish('out/x', e.key .. ' ' .. ids(e))");
    mp_catalog_scan(&host.catalog);
    until_open(0);
    assert_sent("out/x x-a 1, out/x x-a 3, ");
}

static void what_a_removed_function_holds_is_dropped(void **state MP_UNUSED)
{
    char path[120];

    input("brief/a", "1");
    snprintf(path, sizeof path, "%s/brief/main.lua", functions);
    remove(path);
    snprintf(path, sizeof path, "%s/brief/function.conf", functions);
    remove(path);
    mp_catalog_scan(&host.catalog);
    until_settled(1);
    adds_up("brief");
}

static void a_stop_leaves_to_the_broker_what_it_has(void **state MP_UNUSED)
{
    input("once/a", "a");
    input("once/a", "b");
    input_0("last/z", "0");
    input("last/y", "1");
    while (!mp_host_drain(&host))
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(n_settled, 4);
    assert_int_equal(n_lost, 3);
    assert_sent("out/x new 0, ");
    assert_int_equal(host.open, 0);
}

/* The rows that a stop has left. */
static void drop_rest(const char *name)
{
    uint64_t ticket;

    stop();
    begin();
    while (!mp_host_drop_rows(&host, mp_slice_str(name), 0, &ticket))
        uv_run(&loop, UV_RUN_ONCE);
}

/* What waits since its worker died still has its actor. */
static void a_stop_lets_go_of_actors(void **state MP_UNUSED)
{
    struct mp_slot *slot;

    stop();
    begin();
    /* Their values are in memory then, and both start in one turn. */
    input("stuck/a", "0");
    input("stuck/b", "0");
    until_open(0);
    n_settled = n_lost = 0;
    mp_buf_reset(&sent);
    slot = slot_of("stuck");
    quarantine(slot);
    input("stuck/a", "long");
    input("stuck/b", "1");
    until_settled(2); /* they have rows */
    mp_breaker_reset(&slot->breaker);
    while (slot->n_running < 2)
        uv_run(&loop, UV_RUN_ONCE);
    quarantine(slot);
    for (unsigned i = 0; i < MP_WORKERS_MAX; i++)
        if (host.pool.by_bit[i] && host.pool.by_bit[i]->poll)
            kill(host.pool.by_bit[i]->worker.pid, SIGKILL);
    while (slot->n_waiting < 1)
        uv_run(&loop, UV_RUN_ONCE);
    input_0("stuck/b", "2"); /* nobody else has it: it is run */
    (void)mp_host_drain(&host);
    mp_breaker_reset(&slot->breaker);
    while (!mp_host_drain(&host))
        uv_run(&loop, UV_RUN_ONCE);
    assert_sent("out/x 2, ");
    drop_rest("stuck");
}

/* Nor does one that would be run again hold up what only we have. */
static void a_stop_lets_go_of_keys(void **state MP_UNUSED)
{
    struct mp_slot *slot;

    stop();
    begin();
    n_settled = n_lost = 0;
    mp_buf_reset(&sent);
    slot = slot_of("again");
    quarantine(slot);
    input("again/a", "later");
    until_settled(1); /* it has a row */
    input_0("again/a", "2");
    mp_breaker_reset(&slot->breaker);
    while (slot->n_running < 1)
        uv_run(&loop, UV_RUN_NOWAIT);
    while (!mp_host_drain(&host))
        uv_run(&loop, UV_RUN_ONCE);
    assert_sent("out/x 2, ");
    assert_int_equal(host.queue.rows, 1);
    drop_rest("again");
}

/* It is noted as done, in the transaction that has its row: the broker's would
 * be taken for a repeat. */
static void nor_loses_what_has_its_row(void **state MP_UNUSED)
{
    struct pollfd outcome = {.events = POLLIN};
    struct mp_invocation *inv;

    n_settled = n_lost = 0;
    input("again/a", "later");
    while (slot_of("again")->n_running < 1)
        uv_run(&loop, UV_RUN_NOWAIT);
    inv = mp_of(host.all.next, struct mp_invocation, all);
    assert_true(mp_invocation_park(inv, MP_PARKED_SLOW, 0));
    (void)mp_host_drain(&host);
    outcome.fd = inv->process->worker.fd;
    assert_int_equal(poll(&outcome, 1, 10000), 1);
    while (!mp_host_drain(&host))
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(n_settled, 1);
    assert_int_equal(n_lost, 0);
    assert_int_equal(host.queue.rows, 1);
    drop_rest("again");
}

/* It was judged when it came: it takes no token again. */
static void what_was_in_a_window_comes_back_to_it(void **state MP_UNUSED)
{
    config.mqtt.hold_us = 10 * MP_MS;
    stop();
    begin();
    n_settled = n_lost = 0;
    mp_buf_reset(&sent);
    input("both/a", "1");
    input("once/a", "x");
    input("once/a", "y");
    until_settled(3);
    assert_int_equal(host.queue.rows, 3);
    stop();
    begin();
    while (slot_of("both")->n_windowed < 1 || slot_of("once")->n_windowed < 2)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(host.queue.rows, 3);
    input("both/a", "2");
    assert_int_equal(counters("both")->skipped[MP_SKIP_COALESCE], 1);
    assert_int_equal(counters("both")->skipped[MP_SKIP_THROTTLE], 0);
    input("once/a", "z");
    until_settled(5);
    while (host.queue.rows > 1)
        uv_run(&loop, UV_RUN_ONCE);
    assert_sent("out/x batch x+y+z, ");
    config.mqtt.hold_us = 3600 * MP_SECOND;
}

/* While others of its function are on disk it goes behind them, judged. */
static void
what_comes_while_others_are_on_disk_goes_behind_them(void **state MP_UNUSED)
{
    struct mp_slot *slot = slot_of("both");
    uint64_t ticket;
    int64_t id;
    struct mp_event other = {.type = MP_EVENT_SEND,
                             .trigger = MP_S("send"),
                             .id = MP_S("s"),
                             .source = MP_S("test"),
                             .attempt = 1,
                             .topic = MP_S("")};

    assert_int_equal(slot->n_windowed, 1); /* 2, of the last test */
    ticket = mp_queue_spill(&host.queue, slot->queue, &other, NULL, "send", 0,
                            0, &id);
    assert_true(ticket > 0 && mp_queue_is_spilled(slot->queue));
    input("both/b", "3");
    input("both/b", "4"); /* it has no token */
    assert_int_equal(slot->n_windowed, 1);
    assert_int_equal(counters("both")->skipped[MP_SKIP_THROTTLE], 1);
    until_settled(2);
    while (slot->n_windowed < 2)
        uv_run(&loop, UV_RUN_ONCE);
    assert_false(mp_queue_is_spilled(slot->queue));
}

/* Nothing in memory may be believed. */
static void a_failed_commit_leaves_all_to_the_broker(void **state MP_UNUSED)
{
    struct mp_slot *slot = slot_of("once");
    struct mp_why why = {.text = "a test"};

    until_open(2); /* in windows of both */
    quarantine(slot);
    for (unsigned i = 0; i < 4; i++)
        input_0("once/a", "q"); /* a batch, and one in a window */
    input("both/z", "1");
    assert_int_equal(host.open, 2 + 1 + 4 + 1);
    host.commit.user.failed(host.commit.user.arg, &why);
    assert_int_equal(host.open, 0);
    assert_int_equal(counters("once")->dropped[MP_DROP_STORE], 4);
    assert_int_equal(slot->n_windowed, 0);
    assert_int_equal(slot->n_waiting, 0);
    assert_int_equal(slot->waiting_bytes + slot->windowed_bytes, 0);
}

/* The one that had moved was lost: when it comes again, it must pass again. */
static void nor_may_what_has_passed(void **state MP_UNUSED)
{
    struct mp_why why = {.text = "a test"};

    quarantine(slot_of("band"));
    input_0("band/q", "20");
    host.commit.user.failed(host.commit.user.arg, &why);
    assert_int_equal(host.open, 0);
    input_0("band/q", "20");
    assert_int_equal(host.open, 1);
    assert_int_equal(counters("band")->skipped[MP_SKIP_DEADBAND], 0);
    host.commit.user.failed(host.commit.user.arg, &why);
    assert_int_equal(host.open, 0);
}

#define T(test) cmocka_unit_test_setup(test, fresh)

int main(void)
{
    /* In this order, with one host. */
    const struct CMUnitTest tests[] = {
        T(what_a_line_skips_is_settled_and_counted),
        T(what_lacks_a_name_of_per_is_dropped),
        T(the_last_of_a_window_runs),
        T(what_waits_past_hold_is_a_row_until_it_is_skipped),
        T(a_new_version_lets_the_windows_go_and_keeps_the_memories),
        T(windows_that_take_too_much_are_let_go_early),
        T(a_full_batch_runs_at_once_and_ends_as_one),
        T(a_batch_of_one_is_a_batch),
        T(with_state_a_batch_is_of_one_actor),
        T(one_bad_event_spoils_no_other),
        T(one_that_takes_too_long_neither),
        T(who_is_sent_away_goes_its_own_way),
        T(who_runs_again_holds_up_those_behind),
        T(who_is_always_sent_back_is_a_dead_letter),
        T(what_expired_in_its_window_is_dropped),
        T(an_id_that_comes_twice_in_a_batch_counts_once),
        T(a_repeat_replaces_nothing_in_a_window),
        T(limits_queue_counts_events_not_batches),
        T(a_waiting_batch_is_parked_and_one_of_it_dropped),
        T(a_batch_whose_line_is_gone_runs_one_by_one),
        T(a_batch_whose_key_is_another_is_keyed_anew),
        T(what_a_removed_function_holds_is_dropped),
        T(a_stop_leaves_to_the_broker_what_it_has),
        T(a_stop_lets_go_of_actors),
        T(a_stop_lets_go_of_keys),
        T(nor_loses_what_has_its_row),
        T(what_was_in_a_window_comes_back_to_it),
        T(what_comes_while_others_are_on_disk_goes_behind_them),
        T(a_failed_commit_leaves_all_to_the_broker),
        T(nor_may_what_has_passed),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
