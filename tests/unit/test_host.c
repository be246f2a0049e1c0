/*
 * test_host.c - core/host.h with a real database and worker, and a transport
 * that keeps what it is given: in which order is what on disk?
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/host.h"
#include "core/outbox_impl.h"
#include "tests/unit/conf_kit.h"

enum { HELD_MAX = 16 };

static char dir[64], functions[80], data[80];
static uv_loop_t loop;
static uv_timer_t deadline;
static struct mp_config config;
static struct mp_host host;
static struct mp_output *held[HELD_MAX]; /* published, not confirmed */
static unsigned n_held;
static bool routed, closed;

/* ---- the transport ---- */

static int t_open(struct mp_host *h, uv_loop_t *l, const struct mp_config *c,
                  void **self, struct mp_why *why)
{
    (void)h;
    (void)l;
    (void)c;
    (void)why;
    *self = &routed;
    return 0;
}

static void t_route(void *self, const struct mp_route *routes, unsigned n)
{
    (void)self;
    (void)routes;
    if (n)
        routed = true;
}

static void t_publish(void *self, struct mp_output *out)
{
    (void)self;
    assert_true(n_held < HELD_MAX);
    held[n_held++] = out;
}

static void t_nothing(void *self)
{
    (void)self;
}

static void t_pause(void *self, bool paused)
{
    (void)self;
    (void)paused;
}

static bool t_idle(void *self)
{
    (void)self;
    return true;
}

static void t_close(void *self, void (*finished)(void *arg), void *arg)
{
    (void)self;
    for (unsigned i = 0; i < n_held; i++)
        held[i]->done(held[i], 0x80, "it closes");
    n_held = 0;
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
    (void)in;
}

static void input_of(const char *topic, uint8_t qos, struct mp_slice bytes)
{
    struct mp_input in = {
        .settled = on_settled_input,
        .type = MP_EVENT_MQTT,
        .qos = qos,
        .received_us = mp_now_us(),
        .time_us = mp_wall_us(),
        .id = mp_slice_str(topic),
        .topic = mp_slice_str(topic),
        .data = bytes,
        .source = MP_S("test"),
    };

    mp_host_input(&host, mp_input_new(&in));
}

static void input_qos(const char *topic, uint8_t qos)
{
    input_of(topic, qos, MP_S("x"));
}

static void input(const char *topic)
{
    input_qos(topic, 1);
}

/* ---- the fixture ---- */

static void on_settled(void *arg, bool changed)
{
    (void)arg;
    (void)changed;
}

static void on_link(void *arg, bool up)
{
    (void)arg;
    (void)up;
}

static void on_fatal(void *arg)
{
    (void)arg;
    fail();
}

static void on_closed(void *arg)
{
    (void)arg;
    closed = true;
}

static void too_late(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("it did not happen within 20 s");
}

static void function(const char *name, const char *conf, const char *lua)
{
    char file[100], text[300];

    snprintf(file, sizeof file, "functions/%s/function.conf", name);
    snprintf(text, sizeof text,
             "[trigger in]\nmqtt = %s/in\n[grant]\npublish = out/#\n%s", name,
             conf);
    t_file_put(dir, file, mp_slice_str(text));
    snprintf(file, sizeof file, "functions/%s/main.lua", name);
    snprintf(text, sizeof text,
             "local mp = require 'moonpool'\nreturn function()\n%s\nend\n",
             lua);
    t_file_put(dir, file, mp_slice_str(text));
}

static int set_up(void **state)
{
    struct mp_why why;
    struct mp_report report = {.say = NULL};
    struct mp_overrides overrides = {0};

    (void)state;
    t_dir_make(dir);
    snprintf(functions, sizeof functions, "%s/functions", dir);
    snprintf(data, sizeof data, "%s/data", dir);
    t_file_put(dir, "data/there", MP_S(""));
    function("first", "", "mp.publish('out/y', 'first')");
    function("second", "",
             "mp.publish('out/x', 'second') mp.publish('out/y', 'second')");
    function("keen",
             "send = sink\n[limits]\nqueue = 2\n[function]\n"
             "order = none\n",
             "mp.send('sink', 'x')");
    function("other", "", "mp.publish('out/z', 'other')");
    function("ring", "[retry]\non_failure = function:ring\n", "error('no')");
    function("teller",
             "[trigger big]\nmqtt = big/in\nmax_payload = "
             "1M\n[retry]\non_failure = topic:out/dead\n",
             "error('no')");
    function("echo",
             "[trigger]\nmqtt = out/echo\n[retry]\n"
             "on_failure = topic:out/echo\n",
             "error('no')");
    function("third", "[state]\n",
             "mp.state.set('n', 1) mp.publish('out/x', 'third')");
    overrides.functions = functions;
    overrides.data = data;
    assert_int_equal(mp_config_read(&config, &overrides, &report), 0);
    config.workers = 1;
    config.mqtt.hold_us = 3600 * MP_SECOND;
    routed = closed = false;
    host = (struct mp_host){
        .on_settled = on_settled, .on_link = on_link, .on_fatal = on_fatal};
    uv_loop_init(&loop);
    uv_timer_init(&loop, &deadline);
    uv_timer_start(&deadline, too_late, 20000, 0);
    assert_int_equal(mp_host_open(&host, &loop, &config, &transport, &why), 0);
    while (!routed)
        uv_run(&loop, UV_RUN_ONCE);
    return 0;
}

static void close_rest(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void until_held(unsigned n)
{
    while (n_held < n)
        uv_run(&loop, UV_RUN_ONCE);
}

/* ---- tests ---- */

/* What the outbox would send after a crash: topic and data, by id. */
static void assert_outbox(const char *wanted)
{
    struct mp_buf text;

    mp_buf_init(&text, 1000);
    mp_list_each (at, &host.outbox.items) {
        const struct mp_output *o =
            mp_of(at, struct mp_outbox_item, link)->output;

        mp_buf_printf(&text, "%.*s %.*s, ", MP_FMT(o->topic), MP_FMT(o->data));
    }
    mp_buf_put(&text, "", 1);
    assert_string_equal(text.ptr, wanted);
    mp_buf_fini(&text);
}

/*
 * third's output goes to disk, so second's for its topic must be there before
 * it, and with that second's other one, and before that first's.
 */
static void what_left_before_for_a_topic_is_on_disk_before(void **state)
{
    (void)state;
    input("first/in");
    until_held(1);
    input("other/in");
    until_held(2);
    input("second/in");
    until_held(4);
    assert_int_equal(host.outbox.messages, 0);
    input("third/in");
    until_held(5);
    assert_outbox("out/y first, out/x second, out/y second, out/x third, ");
}

static void confirmed_they_are_gone_and_nothing_is_behind_them(void **state)
{
    (void)state;
    for (unsigned i = 0; i < n_held; i++)
        held[i]->done(held[i], 0, NULL);
    n_held = 0;
    assert_outbox("");
    assert_true(mp_list_empty(&host.sending));
    for (unsigned i = 0; i < MP_DIRECT_TOPICS; i++)
        assert_int_equal(host.direct[i], 0);
}

/* They are in no queue: what would not come again must be counted. */
static void
what_waits_for_room_is_bounded_where_only_memory_has_it(void **state)
{
    struct mp_slot *keen = mp_host_slot(&host, MP_S("keen"));
    uint64_t max = host.queue.max_bytes;
    unsigned dropped = 0;

    (void)state;
    host.queue.max_bytes = 100;
    for (unsigned i = 1; i <= 5; i++) {
        input_qos("keen/in", 0);
        while (keen->n_parked + dropped < i) {
            uv_run(&loop, UV_RUN_ONCE);
            dropped =
                (unsigned)keen->metrics.triggers[0].dropped[MP_DROP_QUEUE_FULL];
        }
    }
    assert_int_equal(keen->n_parked, 2);
    assert_int_equal(dropped, 3);
    host.queue.max_bytes = max;
    while (keen->n_parked)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(keen->metrics.sends, 2);
}

static struct mp_slot *slot_of(const char *name)
{
    struct mp_slot *slot = mp_host_slot(&host, mp_slice_str(name));

    assert_non_null(slot);
    return slot;
}

static void until_open(unsigned n)
{
    while (host.open > n)
        uv_run(&loop, UV_RUN_ONCE);
}

/* Each would wrap the one before, and be twice as long. */
static void who_is_told_of_his_own_failures_is_so_a_few_times(void **state)
{
    static char bytes[16 << 10];
    struct mp_slot *ring = slot_of("ring");

    (void)state;
    memset(bytes, '"', sizeof bytes);
    input_of("ring/in", 1, mp_slice(bytes, sizeof bytes));
    until_open(0);
    assert_int_equal(ring->metrics.dead[MP_DEAD_ERROR], 1 + 4);
    assert_int_equal(ring->metrics.dead[MP_DEAD_LOOP], 0);
    assert_true(host.dead.bytes < 5 * (200 << 10));
}

static bool has(struct mp_slice text, const char *what)
{
    return memmem(text.ptr, text.len, what, strlen(what)) != NULL;
}

/* As JSON it is longer than it may be. */
static void a_failure_that_is_too_long_is_told_and_cut(void **state)
{
    static char bytes[200 << 10];
    struct mp_slice told;

    (void)state;
    memset(bytes, 1, sizeof bytes);
    input_of("big/in", 0, mp_slice(bytes, sizeof bytes));
    until_held(1);
    told = held[0]->data;
    assert_true(mp_slice_is(held[0]->topic, "out/dead"));
    assert_true(told.len < 1 << 20);
    assert_true(has(told, "{\"attempts\":1,\"cut\":{\"data\":204800},"));
    assert_true(has(told, "\"function\":\"teller\",\"outcome\":\"error\""));
    held[0]->done(held[0], 0, NULL);
    n_held = 0;
    input_qos("teller/in", 0);
    until_held(1);
    assert_false(has(held[0]->data, "\"cut\""));
    assert_true(has(held[0]->data, "\"data\":\"x\"}"));
    held[0]->done(held[0], 0, NULL);
    n_held = 0;
}

static void a_failure_is_not_told_to_the_topic_it_came_with(void **state)
{
    (void)state;
    input_qos("out/echo", 0);
    until_open(0);
    assert_int_equal(slot_of("echo")->metrics.dead[MP_DEAD_ERROR], 1);
    assert_int_equal(n_held, 0);
}

/* ---- one at a time ---- */

static struct mp_invocation *const somebody = (struct mp_invocation *)&loop;

static void be_careful(void)
{
    host.careful.on = true;
    host.careful.current = somebody; /* who is in work for long */
}

static void be_quick(void)
{
    host.careful.current = NULL;
    host.careful.until_us = 1;
    mp_careful_tick(&host);
    assert_false(host.careful.on);
}

static void who_waits_for_leave_counts_in_the_queue(void **state)
{
    struct mp_slot *keen = slot_of("keen");
    uint64_t sends = keen->metrics.sends;
    uint64_t dropped = keen->metrics.triggers[0].dropped[MP_DROP_QUEUE_FULL];

    (void)state;
    be_careful();
    for (unsigned i = 0; i < 5; i++)
        input_qos("keen/in", 0);
    assert_int_equal(keen->n_waiting, 2);
    assert_int_equal(keen->metrics.triggers[0].dropped[MP_DROP_QUEUE_FULL],
                     dropped + 3);
    be_quick();
    until_open(0);
    assert_int_equal(keen->metrics.sends, sends + 2);
    assert_int_equal(keen->n_waiting, 0);
    assert_int_equal(keen->waiting_bytes, 0);
}

static void past_its_queue_it_waits_on_disk_and_stays_there(void **state)
{
    struct mp_slot *keen = slot_of("keen");
    uint64_t sends = keen->metrics.sends;

    (void)state;
    be_careful();
    for (unsigned i = 0; i < 7; i++)
        input_qos("keen/in", 1);
    for (unsigned i = 0; i < 300; i++) { /* much is written, nothing comes */
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(1000);
        assert_true(keen->n_waiting <= 2);
    }
    assert_int_equal(keen->n_waiting, 2);
    assert_true(keen->queue->rows >= 5);
    host.careful.current = NULL; /* one at a time */
    while (keen->metrics.sends < sends + 7) {
        uv_run(&loop, UV_RUN_ONCE);
        assert_true(keen->n_waiting <= 3);
    }
    until_open(0);
    be_quick();
    assert_int_equal(keen->metrics.sends, sends + 7);
}

/* The broker is away (nobody said that it is there). */
static void
a_stop_without_a_broker_puts_on_disk_what_did_not_leave(void **state)
{
    (void)state;
    input("other/in");
    until_held(1);
    while (!mp_host_drain(&host))
        uv_run(&loop, UV_RUN_ONCE);
    assert_outbox("out/z other, ");
    assert_int_equal(host.open, 0);
}

static int tear_down(void **state)
{
    (void)state;
    mp_host_close(&host, on_closed, NULL);
    assert_true(closed);
    uv_walk(&loop, close_rest, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    mp_config_fini(&config);
    t_dir_remove(dir);
    return 0;
}

int main(void)
{
    /* In this order, with one host. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_left_before_for_a_topic_is_on_disk_before),
        cmocka_unit_test(confirmed_they_are_gone_and_nothing_is_behind_them),
        cmocka_unit_test(
            what_waits_for_room_is_bounded_where_only_memory_has_it),
        cmocka_unit_test(who_is_told_of_his_own_failures_is_so_a_few_times),
        cmocka_unit_test(a_failure_that_is_too_long_is_told_and_cut),
        cmocka_unit_test(a_failure_is_not_told_to_the_topic_it_came_with),
        cmocka_unit_test(who_waits_for_leave_counts_in_the_queue),
        cmocka_unit_test(past_its_queue_it_waits_on_disk_and_stays_there),
        cmocka_unit_test(
            a_stop_without_a_broker_puts_on_disk_what_did_not_leave),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
