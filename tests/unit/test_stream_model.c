/*
 * test_stream_model.c - stream lines and batches against a model: events with
 * numbers of their own over functions with all kinds of lines, while versions
 * change, functions go and come back, workers die, breakers open, commits fail
 * and the host starts again; in the end each event has had one end.
 *
 * The transport does what a broker does: what was lost comes again.  Its
 * functions tell what they run in state and by outputs; the host counts; the
 * two must agree.
 *
 *   MODEL_SEED=N    begin with that seed; MODEL_RUNS=N: so many seeds
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/host_impl.h"
#include "core/log.h"
#include "core/pool_impl.h"
#include "tests/unit/conf_kit.h"

enum { EVENTS_MAX = 4000, STEPS = 900, LIVES_MAX = 400 };

static char dir[64], functions[80], data[80];
static uv_loop_t loop;
static uv_timer_t deadline;
static struct mp_config config;
static struct mp_host *hosts[LIVES_MAX]; /* what one has goes with us */
static unsigned n_hosts;
#define host (*hosts[n_hosts - 1])
static bool routed, closed, away;
static bool disk_failed;
static unsigned
    disk_fails; /* so often; the host takes longer pauses each time */
static unsigned seed, state_of_chance;

static unsigned chance(unsigned n)
{
    state_of_chance = state_of_chance * 1103515245 + 12345;
    return (state_of_chance >> 8) % n;
}

/* ---- the functions ---- */

static const struct kind {
    const char *name;
    const char *function, *rest; /* of function.conf */
    const char *lines[4];        /* one of these at a time */
} kinds[] = {
    {"strict",
     "",
     "[state]\nkey = {d}\n",
     {"batch = 4 within 15ms", "batch = 2 per {d} within 5ms",
      "coalesce = latest per {d} within 3ms\nbatch = 3 within 10ms", ""}},
    {"one",
     "",
     "[state]\n",
     {"batch = 5 per {d} within 8ms", "coalesce = settled within 2ms",
      "throttle = 300/s per {d}\nbatch = 3 within 20ms",
      "batch = 1 within 1s"}},
    {"overtake",
     "order = overtake\n",
     "[state]\nkey = {d}\n",
     {"batch = 3 within 15ms", "", "batch = 7 within 6ms",
      "deadband = data 0\nbatch = 3 within 9ms"}},
    {"none",
     "order = none\n",
     "",
     {"batch = 4 within 10ms", "coalesce = latest per {d} within 4ms", "",
      "batch = 2 per {d} within 4ms"}},
    {"plain",
     "",
     "",
     {"batch = 3 per {d} within 10ms", "batch = 6 within 4ms",
      "filter = data != 5\nbatch = 3 within 10ms", ""}},
    {"full",
     "",
     "[limits]\nqueue = 6\nqueue_bytes = 9K\n",
     {"batch = 4 within 10ms", "coalesce = latest per {d} within 10ms",
      "batch = 20 within 30ms", ""}},
};
enum { KINDS = ARRAY_LEN(kinds) };

/* Twice in state is told, which an output could not: they leave at least
 * once. */
static const char head[] =
    "local mp = require 'moonpool'\n"
    "local all\n"
    "local function one(e)\n"
    "  local n = e.data:match('%d+')\n"
    "  if e.data:find('bad') then error('poison') end\n"
    "  return n\n"
    "end\n"
    "return function(e)\n"
    "  local done = {}\n"
    "  for _, m in ipairs(e.events or {e}) do\n"
    "    local n = one(m)\n"
    "    if m.data:find('no') then\n"
    "      if not e.events then mp.reject('no') end\n"
    "      m:reject('no')\n"
    "    elseif m.data:find('later') and m.attempt == 1 then\n"
    "      if not e.events then mp.retry('later') end\n"
    "      m:retry('later')\n"
    "    else done[#done + 1] = n end\n"
    "  end\n";

static const char keep[] =
    "  for _, n in ipairs(done) do\n"
    "    if mp.state.get(n) then mp.publish('out/twice', n) end\n"
    "    mp.state.set(n, true)\n"
    "  end\n";
static const char tail[] =
    "  if #done > 0 then mp.publish('out/x', table.concat(done, ' ')) end\n"
    "end\n";

static unsigned variant[KINDS];
static bool is_there[KINDS];

static void write_function(unsigned k)
{
    const struct kind *f = &kinds[k];
    char file[100], text[2000];

    snprintf(file, sizeof file, "functions/%s/function.conf", f->name);
    snprintf(text, sizeof text,
             "[function]\nabout = %u\n%s[grant]\npublish = out/#\n"
             "[retry]\nbackoff = 3ms\n[breaker]\nfailures = 8\npause = 100ms\n"
             "[trigger in]\nmqtt = %s/{d}\n%s\n%s",
             chance(1000000), f->function, f->name, f->lines[variant[k]],
             f->rest);
    t_file_put(dir, file, mp_slice_str(text));
    snprintf(file, sizeof file, "functions/%s/main.lua", f->name);
    snprintf(text, sizeof text, "%s%s%s", head,
             strstr(f->rest, "[state]") ? keep : "", tail);
    t_file_put(dir, file, mp_slice_str(text));
    is_there[k] = true;
}

static void remove_function(unsigned k)
{
    char path[120];

    snprintf(path, sizeof path, "%s/%s/main.lua", functions, kinds[k].name);
    remove(path);
    snprintf(path, sizeof path, "%s/%s/function.conf", functions,
             kinds[k].name);
    remove(path);
    is_there[k] = false;
}

/* ---- the broker ---- */

struct event {
    unsigned kind, number;
    uint8_t qos;
    uint32_t lane;
    char topic[24], text[24];
    unsigned ran; /* its number came in outputs */
    unsigned settled, lost, given;
    bool nobody;        /* wanted it */
    bool noted, noting; /* the host says that it is done with it */
    struct mp_commit_wait wait;
};
static struct event events[EVENTS_MAX];
static unsigned n_events, n_twice;
/* Of outputs, which leave at least once. */
enum { IDS_MAX = 1 << 16 };
static uint64_t ids[IDS_MAX], bytes_of[IDS_MAX];
static unsigned n_out; /* given and not settled */

static void on_settled_input(struct mp_input *in)
{
    struct event *e = in->owner;

    assert_true(e->settled + e->lost < e->given);
    n_out--;
    if (in->lost)
        e->lost++;
    else
        e->settled++;
}

static void on_noted(struct mp_commit_wait *w, int rc)
{
    struct event *e = mp_of(w, struct event, wait);

    e->noting = false;
    e->noted |= rc == 0;
}

/* Its record is as durable as what it goes with. */
static void note(struct mp_input *in, uint64_t function MP_UNUSED)
{
    struct event *e = in->owner;

    if (e->noting || e->noted)
        return;
    e->noting = true;
    mp_commit_wait(&host.commit, &e->wait, mp_commit_ticket(&host.commit),
                   on_noted);
}

static void give(struct event *e)
{
    struct mp_input in = {
        .settled = on_settled_input,
        .note = note,
        .owner = e,
        .type = MP_EVENT_MQTT,
        .qos = e->qos,
        .lane = e->lane,
        .received_us = mp_now_us(),
        .time_us = mp_wall_us(),
        .id = mp_slice_str(e->text),
        .topic = mp_slice_str(e->topic),
        .data = mp_slice_str(e->text),
        .source = MP_S("test"),
    };
    uint64_t unmatched;

    e->given++;
    n_out++;
    unmatched = mp_metrics.unmatched;
    mp_host_input(&host, mp_input_new(&in));
    e->nobody = mp_metrics.unmatched > unmatched;
}

static void give_new(void)
{
    static const char *const odd[] = {"bad", "no", "later", "later"};
    struct event *e;
    unsigned k = chance(KINDS);

    if (!is_there[k] || away || n_events == EVENTS_MAX)
        return;
    e = &events[n_events];
    *e = (struct event){.kind = k, .number = n_events, .qos = chance(4) > 0};
    snprintf(e->topic, sizeof e->topic, "%s/%c", kinds[k].name,
             'a' + (char)chance(3));
    snprintf(e->text, sizeof e->text, "%s%u", chance(12) ? "" : odd[chance(4)],
             n_events);
    n_events++;
    give(e);
}

/* What was lost comes again, in order. */
static void give_again(void)
{
    for (unsigned i = 0; i < n_events; i++) {
        struct event *e = &events[i];

        if (!e->qos || e->settled || e->noting || e->lost < e->given)
            continue;
        if (e->noted)
            e->settled++;
        else if (is_there[e->kind] && !away)
            give(e);
    }
}

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
    char text[4000], *at = text, *end;
    static const struct mp_hash_key plain = {1, 2};
    uint64_t id = mp_hash64(&plain, out->id) | 1;
    uint64_t bytes = mp_hash64(&plain, out->data);
    unsigned place = (unsigned)(id % IDS_MAX);

    while (ids[place] && ids[place] != id)
        place = (place + 1) % IDS_MAX;
    if (ids[place]) { /* again */
        if (bytes_of[place] != bytes) {
            print_message("seed %u: %.*s was something else: %.*s\n", seed,
                          MP_FMT(out->id), MP_FMT(out->data));
            n_twice++;
        }
        out->done(out, 0, NULL);
        return;
    }
    ids[place] = id;
    bytes_of[place] = bytes;
    if (getenv("MODEL_LOG"))
        print_message("%.*s: %.*s\n", MP_FMT(out->id), MP_FMT(out->data));

    snprintf(text, sizeof text, "%.*s", MP_FMT(out->data));
    if (mp_slice_is(out->topic, "out/twice")) {
        print_message("seed %u: twice %s\n", seed, text);
        n_twice++;
    } else {
        for (;; at = end) {
            unsigned long n = strtoul(at, &end, 10);

            if (at == end)
                break;
            assert_true(n < n_events);
            events[n].ran++;
        }
    }
    out->done(out, 0, NULL);
}

static void t_nothing(void *self MP_UNUSED)
{
}

static void t_lost(void *self MP_UNUSED)
{
    away = true;
}

static void t_found(void *self MP_UNUSED)
{
    away = false;
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
    .lost = t_lost,
    .found = t_found,
    .pause = t_pause,
    .drain = t_nothing,
    .idle = t_idle,
    .close = t_close,
};

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
    print_message("seed %u: open %u, out %u, rows %llu\n", seed, host.open,
                  n_out, (unsigned long long)host.queue.rows);
    print_message("routed %d loaded %d away %d pending %u paused %d\n", routed,
                  host.loaded, away, host.catalog.pending, host.paused);
    mp_list_each (at, &host.catalog.slots) {
        struct mp_slot *s = mp_of(at, struct mp_slot, link);

        print_message("%s live %d spilled %d waiting %u running %u breaker %d "
                      "windowed %u\n",
                      s->name, s->live != NULL,
                      s->queue && mp_queue_is_spilled(s->queue), s->n_waiting,
                      s->n_running, s->breaker.state, s->n_windowed);
    }
    mp_list_each (at, &host.all) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, all);

        print_message("%s %.*s stage %d row %lld batch %d of %u\n",
                      inv->slot->name, MP_FMT(inv->input->id), inv->stage,
                      (long long)inv->row, inv->is_batch, inv->n_members);
    }
    fail_msg("it does not end");
}

static uint64_t total_ends[KINDS], total_run[KINDS], total_dead[KINDS];

static void count_up(void)
{
    for (unsigned k = 0; k < KINDS; k++) {
        struct mp_slot *slot = mp_host_slot(&host, mp_slice_str(kinds[k].name));

        if (!slot)
            continue;
        for (unsigned t = 0; t < slot->metrics.n_triggers; t++) {
            struct mp_trigger_metrics *m = &slot->metrics.triggers[t];

            total_run[k] += m->run;
            total_ends[k] += m->run;
            for (unsigned i = 0; i < MP_SKIPS; i++)
                total_ends[k] += m->skipped[i];
            for (unsigned i = 0; i < MP_DROPS; i++)
                total_ends[k] += m->dropped[i];
        }
        for (unsigned i = 0; i < MP_DEADS; i++)
            if (i <= MP_DEAD_KILLED)
                total_dead[k] += slot->metrics.dead[i];
            else
                total_ends[k] += slot->metrics.dead[i];
    }
}

static void begin(void)
{
    struct mp_why why;

    routed = closed = away = false;
    assert_true(n_hosts < LIVES_MAX);
    hosts[n_hosts++] = mp_zalloc(sizeof(struct mp_host));
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

static void close_rest(uv_handle_t *handle, void *arg MP_UNUSED)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void stop(void)
{
    while (!mp_host_drain(&host))
        uv_run(&loop, UV_RUN_ONCE);
    for (unsigned i = 0; i < n_events; i++)
        while (events[i].noting)
            uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(n_out, 0);
    count_up();
    mp_host_close(&host, on_closed, NULL);
    assert_true(closed);
    uv_walk(&loop, close_rest, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- what happens ---- */

static void turn_some(void)
{
    for (unsigned n = chance(5); n > 0; n--)
        uv_run(&loop, chance(3) ? UV_RUN_NOWAIT : UV_RUN_ONCE);
}

static void change(void)
{
    unsigned k = chance(KINDS);

    if (is_there[k] && chance(3) == 0 && !is_there[(k + 1) % KINDS])
        return;
    if (is_there[k] && chance(3) == 0) {
        remove_function(k);
    } else {
        variant[k] = chance(4);
        write_function(k);
    }
    mp_catalog_scan(&host.catalog);
}

static void kill_worker(void)
{
    for (unsigned i = 0; i < MP_WORKERS_MAX; i++) {
        struct mp_process *p = host.pool.by_bit[i];

        if (p && p->poll && p->worker.pid > 0)
            kill(p->worker.pid, SIGKILL);
    }
}

static void hold_up(void)
{
    struct mp_slot *slot =
        mp_host_slot(&host, mp_slice_str(kinds[chance(KINDS)].name));

    if (!slot || !slot->live)
        return;
    slot->breaker.state = MP_BREAKER_OPEN;
    slot->breaker.until_us = mp_now_us() + 20 * MP_MS;
}

/* The disk takes no more, for a while. */
static void fail_disk(void)
{
    struct rlimit all, none;

    getrlimit(RLIMIT_FSIZE, &all);
    none = all;
    none.rlim_cur = 4096;
    setrlimit(RLIMIT_FSIZE, &none);
    for (unsigned i = 0; !away && i < 400; i++) {
        give_new();
        uv_run(&loop, UV_RUN_ONCE);
    }
    setrlimit(RLIMIT_FSIZE, &all);
    disk_failed |= away;
    disk_fails--;
    while (away)
        uv_run(&loop, UV_RUN_ONCE);
    give_again();
}

static void start_again(void)
{
    stop();
    begin();
    give_again();
}

static void one_step(void)
{
    unsigned n = chance(1000);

    if (n < 3)
        start_again();
    else if (n < 7 && disk_fails)
        fail_disk();
    else if (n < 15)
        change();
    else if (n < 20)
        kill_worker();
    else if (n < 30)
        hold_up();
    else if (n < 150)
        turn_some();
    else
        for (unsigned i = chance(8) + 1; i > 0; i--)
            give_new();
}

static void quiet(void)
{
    for (unsigned k = 0; k < KINDS; k++)
        if (!is_there[k])
            write_function(k);
    mp_catalog_scan(&host.catalog);
    while (host.open || host.queue.rows || host.catalog.pending) {
        uv_run(&loop, UV_RUN_ONCE);
        give_again();
    }
}

static void check(void)
{
    unsigned fed[KINDS] = {0}, ran[KINDS] = {0}, bad = 0;

    for (unsigned i = 0; i < n_events; i++) {
        const struct event *e = &events[i];

        fed[e->kind] += !e->nobody;
        ran[e->kind] += e->ran > 0;
        if (e->ran <= 1 && e->settled + (e->qos ? 0 : e->lost) == 1)
            continue;
        print_message("seed %u: %s of %s, QoS %u: ran %u, settled %u, lost "
                      "%u, given %u\n",
                      seed, e->text, e->topic, e->qos, e->ran, e->settled,
                      e->lost, e->given);
        bad++;
    }
    for (unsigned k = 0; !disk_failed && k < KINDS; k++) {
        if (total_ends[k] == fed[k] && total_run[k] - total_dead[k] == ran[k])
            continue;
        print_message(
            "seed %u: %s: %u came, %llu had an end; %llu ok, %u "
            "told\n",
            seed, kinds[k].name, fed[k], (unsigned long long)total_ends[k],
            (unsigned long long)(total_run[k] - total_dead[k]), ran[k]);
        bad++;
    }
    assert_int_equal(bad + n_twice, 0);
}

static void one_run(void)
{
    struct mp_report report = {.say = NULL};
    struct mp_overrides overrides = {0};

    n_events = n_twice = 0;
    memset(ids, 0, sizeof ids);
    disk_failed = false;
    disk_fails = seed % 2 * 2;
    state_of_chance = seed;
    memset(total_ends, 0, sizeof total_ends);
    memset(total_run, 0, sizeof total_run);
    memset(total_dead, 0, sizeof total_dead);
    t_dir_make(dir);
    snprintf(functions, sizeof functions, "%s/functions", dir);
    snprintf(data, sizeof data, "%s/data", dir);
    t_file_put(dir, "data/there", MP_S(""));
    for (unsigned k = 0; k < KINDS; k++) {
        variant[k] = chance(4);
        write_function(k);
    }
    overrides.functions = functions;
    overrides.data = data;
    assert_int_equal(mp_config_read(&config, &overrides, &report), 0);
    config.workers = 2;
    config.mqtt.hold_us = 5 * MP_MS;
    begin();
    for (unsigned i = 0; i < STEPS; i++)
        one_step();
    quiet();
    stop();
    check();
    mp_config_fini(&config);
    t_dir_remove(dir);
}

static void each_event_has_one_end(void **state MP_UNUSED)
{
    const char *first = getenv("MODEL_SEED"), *runs = getenv("MODEL_RUNS");
    unsigned n = runs ? (unsigned)atoi(runs) : 2;

    signal(SIGXFSZ, SIG_IGN);
    mp_log_open(MP_LOG_TEXT, getenv("MODEL_LOG") ? MP_INFO : MP_ERROR + 1);
    seed = first ? (unsigned)atoi(first) : (unsigned)(mp_wall_us() / 1000);
    for (; n > 0; n--, seed++) {
        print_message("seed %u\n", seed);
        one_run();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_has_one_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
