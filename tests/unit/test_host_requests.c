/*
 * test_host_requests.c - core/host_requests.c with a real database and worker:
 * who asks by CoAP or HTTP is answered once, and when that is true.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/endpoint.h"
#include "core/host_impl.h"
#include "core/log.h"
#include "core/outbox_impl.h"
#include "core/pool_impl.h"
#include "core/secrets.h"
#include "tests/unit/conf_kit.h"

enum { HELD_MAX = 32, ASKED_MAX = 80, TEXT = 200, HOSTS = 64 };

/* One that is asked something, and what it hears. */
struct asked {
    char id[MP_EVENT_ID_MAX + 1], data[TEXT], detail[TEXT];
    char result[MP_RESULT_NAME + 1]; /* its name */
    struct mp_answer a;              /* its bytes are in data and detail */
    unsigned answers, settled;
    bool lost, begun;
    unsigned values, rows; /* in the database when it was told */
};

/* A door, and what it was told. */
struct kit_door {
    const struct mp_endpoint *list;
    unsigned n, serves;
    char notices[TEXT];
    unsigned values; /* in the database at the last notice */
};

/* All that one life of a host has. */
struct life {
    struct mp_host host;
    uv_loop_t loop;
    uv_timer_t deadline;
    struct mp_config config;
    struct kit_door coap, http;
    struct mp_output *held[HELD_MAX]; /* published, not confirmed */
    unsigned n_held;
    bool changed, closed;
};

static char dir[64], functions[80], data[80], secrets[80];
static struct life *l;
static struct life *lives[HOSTS]; /* a host ends with its process */
static unsigned n_lives;
static struct asked all[ASKED_MAX];
static unsigned n_all;

/* ---- the broker ---- */

static int q_open(struct mp_host *h, uv_loop_t *loop, const struct mp_config *c,
                  void **self, struct mp_why *why)
{
    (void)h;
    (void)loop;
    (void)c;
    (void)why;
    *self = l;
    return 0;
}

static void q_route(void *self, const struct mp_route *routes, unsigned n)
{
    (void)self;
    (void)routes;
    (void)n;
}

static void q_publish(void *self, struct mp_output *out)
{
    struct life *life = self;

    assert_true(life->n_held < HELD_MAX);
    life->held[life->n_held++] = out;
}

static void nothing(void *self)
{
    (void)self;
}

static void no_pause(void *self, bool paused)
{
    (void)self;
    (void)paused;
}

static bool is_idle(void *self)
{
    (void)self;
    return true;
}

static void confirm_all(unsigned reason)
{
    while (l->n_held) {
        struct mp_output *o = l->held[--l->n_held];

        o->done(o, reason, "it closes");
    }
}

static void q_close(void *self, void (*finished)(void *arg), void *arg)
{
    (void)self;
    confirm_all(0x80);
    finished(arg);
}

static const struct mp_transport broker = {
    .name = "mqtt",
    .open = q_open,
    .route = q_route,
    .publish = q_publish,
    .lost = nothing,
    .found = nothing,
    .pause = no_pause,
    .drain = nothing,
    .idle = is_idle,
    .close = q_close,
};

/* ---- the doors ---- */

/* Rows that a query without parameters finds, on disk. */
static unsigned on_disk(enum mp_sql sql)
{
    struct mp_db *db;
    struct mp_why why;
    struct mp_query *q;
    unsigned n = 0;

    assert_int_equal(mp_db_open_reader(&db, data, &why), 0);
    q = mp_query_begin(db, sql);
    while (mp_query_step(q, &why) == 1)
        n++;
    mp_query_end(q);
    mp_db_close(db);
    return n;
}

static int coap_open(struct mp_host *h, uv_loop_t *loop,
                     const struct mp_config *c, void **self, struct mp_why *why)
{
    (void)h;
    (void)loop;
    (void)c;
    (void)why;
    *self = &l->coap;
    return 0;
}

static int http_open(struct mp_host *h, uv_loop_t *loop,
                     const struct mp_config *c, void **self, struct mp_why *why)
{
    (void)h;
    (void)loop;
    (void)c;
    (void)why;
    *self = &l->http;
    return 0;
}

static void serve(void *self, const struct mp_endpoint *list, unsigned n)
{
    struct kit_door *d = self;

    d->list = list;
    d->n = n;
    d->serves++;
}

static void notify(void *self, struct mp_slice path, struct mp_slice bytes,
                   enum mp_format format, uint32_t max_age_s)
{
    struct kit_door *d = self;
    size_t len = strlen(d->notices);

    d->values = on_disk(MP_SQL_STATE_BYTES);
    snprintf(d->notices + len, TEXT - len, "%.*s=%.*s/%.*s/%u ", MP_FMT(path),
             MP_FMT(bytes), MP_FMT(mp_format_type(format)), max_age_s);
}

static void door_close(void *self, void (*finished)(void *arg), void *arg)
{
    (void)self;
    finished(arg);
}

#define DOOR(name_, open_)                                                     \
    {                                                                          \
        .name = (name_), .open = (open_), .serve = serve, .notify = notify,    \
        .lost = nothing, .found = nothing, .pause = no_pause,                  \
        .drain = nothing, .idle = is_idle, .close = door_close,                \
    }

static const struct mp_transport coap = DOOR("coap", coap_open);
static const struct mp_transport http = DOOR("http", http_open);

/* ---- a life ---- */

static void on_settled(void *arg, bool changed)
{
    (void)arg;
    l->changed |= changed;
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
    l->closed = true;
}

static void too_late(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("it did not happen within 30 s");
}

#define UNTIL(what)                                                            \
    while (!(what))                                                            \
    uv_run(&l->loop, UV_RUN_ONCE)

/* What is ready happens. */
static void turn(void)
{
    for (unsigned i = 0; i < 20; i++)
        uv_run(&l->loop, UV_RUN_NOWAIT);
}

static void function(const char *name, const char *conf, const char *lua)
{
    char file[100], text[1000];

    snprintf(file, sizeof file, "functions/%s/function.conf", name);
    t_file_put(dir, file, mp_slice_str(conf));
    snprintf(file, sizeof file, "functions/%s/main.lua", name);
    snprintf(text, sizeof text,
             "local mp = require 'moonpool'\nreturn function(e)\n%s\nend\n",
             lua);
    t_file_put(dir, file, mp_slice_str(text));
}

static void live(void)
{
    struct mp_report report = {.say = NULL};
    struct mp_overrides overrides = {.functions = functions, .data = data};

    assert_true(n_lives < HOSTS);
    l = lives[n_lives++] = mp_zalloc(sizeof *l);
    assert_int_equal(mp_config_read(&l->config, &overrides, &report), 0);
    l->config.workers = 2;
    free(l->config.secrets);
    l->config.secrets = mp_strndup(secrets, strlen(secrets));
    l->config.mqtt.hold_us = 3600 * MP_SECOND;
    l->host = (struct mp_host){
        .on_settled = on_settled,
        .on_link = on_link,
        .on_fatal = on_fatal,
        .doors = {{.ops = &coap, .kind = MP_TRIGGER_COAP},
                  {.ops = &http, .kind = MP_TRIGGER_HTTP}},
        .n_doors = 2,
    };
    uv_loop_init(&l->loop);
    uv_timer_init(&l->loop, &l->deadline);
    uv_timer_start(&l->deadline, too_late, 30000, 0);
}

static void begin(void)
{
    struct mp_why why;

    assert_int_equal(
        mp_host_open(&l->host, &l->loop, &l->config, &broker, &why), 0);
    UNTIL(l->host.routed);
}

static void start(void)
{
    live();
    begin();
}

static void close_rest(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void stop(void)
{
    UNTIL(mp_host_drain(&l->host));
    mp_host_close(&l->host, on_closed, NULL);
    assert_true(l->closed);
    uv_walk(&l->loop, close_rest, NULL);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    mp_config_fini(&l->config);
    l = NULL;
}

static int make(void **state)
{
    (void)state;
    t_dir_make(dir);
    snprintf(functions, sizeof functions, "%s/functions", dir);
    snprintf(data, sizeof data, "%s/data", dir);
    snprintf(secrets, sizeof secrets, "%s/secrets", dir);
    t_file_put(dir, "data/there", MP_S(""));
    memset(all, 0, sizeof all);
    n_all = 0;
    return 0;
}

/* Each was answered at most once, and settled once. */
static int clear(void **state)
{
    (void)state;
    if (l)
        stop();
    for (unsigned i = 0; i < n_all; i++) {
        assert_true(all[i].answers <= 1);
        assert_int_equal(all[i].settled, 1);
    }
    t_dir_remove(dir);
    return 0;
}

/* ---- what is said ---- */

static char log_text[64 << 10];
static int log_file = -1, log_saved;

static void listen_to_log(void)
{
    char path[100];

    snprintf(path, sizeof path, "%s/log", dir);
    log_file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(log_file >= 0);
    fflush(stderr);
    log_saved = dup(2);
    dup2(log_file, 2);
    mp_log_open(MP_LOG_TEXT, MP_INFO);
}

/* How often is part in what was said so far? */
static unsigned said(const char *part)
{
    ssize_t len = pread(log_file, log_text, sizeof log_text - 1, 0);
    unsigned n = 0;

    log_text[len > 0 ? len : 0] = '\0';
    for (const char *at = log_text; (at = strstr(at, part)); at++)
        n++;
    return n;
}

static void listen_no_more(void)
{
    dup2(log_saved, 2);
    close(log_saved);
    close(log_file);
    log_file = -1;
    mp_log_open(MP_LOG_TEXT, MP_LEVELS);
}

/* ---- asking ---- */

static void copy(char text[TEXT], struct mp_slice *s)
{
    assert_true(s->len < TEXT);
    if (s->len)
        memcpy(text, s->ptr, s->len);
    text[s->len] = '\0';
    if (s->ptr)
        s->ptr = text;
}

static void look_at_disk(struct asked *q)
{
    q->values = on_disk(MP_SQL_STATE_BYTES);
    q->rows = on_disk(MP_SQL_QUEUE_INDEX);
}

static void on_answer(struct mp_input *in, const struct mp_answer *a)
{
    struct asked *q = in->owner;

    assert_int_equal(q->settled, 0);
    q->answers++;
    q->a = *a;
    copy(q->data, &q->a.data);
    copy(q->detail, &q->a.detail);
    look_at_disk(q);
}

static void on_settled_input(struct mp_input *in)
{
    struct asked *q = in->owner;

    q->settled++;
    q->lost = in->lost;
    if (!in->answer) {
        look_at_disk(q);
        if (q->begun && in->lost)
            mp_results_drop(&l->host.results, mp_slice_str(q->result));
    }
}

struct ask {
    enum mp_event_type type;
    const char *path; /* "/fn" */
    const char *data, *exchange;
    enum mp_method method; /* GET: POST */
    bool get, async;
    uint32_t route; /* 0: looked up */
    const char *id; /* NULL: one of its own */
};

static const struct mp_endpoint *endpoint(const struct ask *a)
{
    const struct kit_door *d = a->type == MP_EVENT_COAP ? &l->coap : &l->http;
    enum mp_method method = a->get                ? MP_GET
                            : a->method == MP_GET ? MP_POST
                                                  : a->method;
    unsigned allowed;

    return mp_endpoint_find(d->list, d->n, method, mp_slice_str(a->path),
                            &allowed);
}

static struct asked *ask(struct ask a)
{
    struct asked *q = &all[n_all];
    const struct mp_endpoint *e = a.route ? NULL : endpoint(&a);
    struct mp_input in = {
        .owner = q,
        .settled = on_settled_input,
        .answer = a.async ? NULL : on_answer,
        .type = a.type,
        .qos = a.async,
        .received_us = mp_now_us(),
        .time_us = mp_wall_us(),
        .topic = mp_slice_str(a.path),
        .method = a.get ? MP_S("GET") : MP_S("POST"),
        .data = a.data ? mp_slice_str(a.data) : MP_S(""),
        .peer = MP_S("127.0.0.1"),
        .source = MP_S("test"),
        .exchange_us = 3600 * MP_SECOND,
        .n_routes = 1,
    };

    assert_true(n_all < ASKED_MAX);
    assert_true(a.route || e);
    in.routes[0] = a.route ? a.route : e->id;
    snprintf(q->id, sizeof q->id, "ask-%u", n_all++);
    if (a.id)
        snprintf(q->id, sizeof q->id, "%s", a.id);
    in.id = mp_slice_str(q->id);
    if (a.exchange)
        in.exchange = mp_slice_str(a.exchange);
    if (a.async)
        q->begun = mp_results_begin(
            &l->host.results,
            mp_results_name_of(&l->host.results, &in, q->result), mp_now_us());
    mp_host_input(&l->host, mp_input_new(&in));
    return q;
}

#define ASK(...) ask((struct ask){.type = MP_EVENT_HTTP, __VA_ARGS__})
#define ASK_COAP(...) ask((struct ask){.type = MP_EVENT_COAP, __VA_ARGS__})

static const struct asked *told(const struct asked *q)
{
    UNTIL(q->settled);
    assert_int_equal(q->answers, 1);
    return q;
}

static void assert_done(const struct asked *q, const char *text)
{
    told(q);
    assert_int_equal(q->a.kind, MP_ANSWER_DONE);
    assert_string_equal(q->data, text);
    assert_false(q->lost);
}

static void assert_kind(const struct asked *q, enum mp_answer_kind kind)
{
    told(q);
    assert_int_equal(q->a.kind, kind);
}

static void message(const char *topic, uint8_t qos)
{
    struct asked *q = &all[n_all++];
    struct mp_input in = {
        .owner = q,
        .settled = on_settled_input,
        .type = MP_EVENT_MQTT,
        .qos = qos,
        .received_us = mp_now_us(),
        .time_us = mp_wall_us(),
        .id = mp_slice_str(topic),
        .topic = mp_slice_str(topic),
        .data = MP_S("x"),
        .source = MP_S("test"),
    };

    mp_host_input(&l->host, mp_input_new(&in));
}

static struct mp_slot *slot_of(const char *name)
{
    struct mp_slot *slot = mp_host_slot(&l->host, mp_slice_str(name));

    assert_non_null(slot);
    return slot;
}

static uint64_t runs(const char *name)
{
    const struct mp_fn_metrics *m = &slot_of(name)->metrics;
    uint64_t n = 0;

    for (unsigned i = 0; i < MP_OUT_KINDS; i++)
        n += m->invocations[i];
    return n;
}

/* Nothing of it is a row, a dead letter, or said to be one. */
static void assert_nothing_kept(const char *name)
{
    const struct mp_fn_metrics *m = &slot_of(name)->metrics;

    for (unsigned i = 0; i < MP_DEADS; i++)
        assert_int_equal(m->dead[i], 0);
    for (unsigned i = 0; i < MP_PARKEDS; i++)
        assert_int_equal(m->parked[i], 0);
    assert_int_equal(m->retries, 0);
    assert_int_equal(l->host.queue.bytes, 0);
    assert_int_equal(l->host.dead.count, 0);
}

static bool has(const char *text, const char *what)
{
    return strstr(text, what) != NULL;
}

/* ---- when ---- */

#define COUNTS                                                                 \
    "local n = mp.state.get('n', 0) + 1 mp.state.set('n', n) return n"

static void the_answer_leaves_when_what_it_promises_is_on_disk(void **state)
{
    struct asked *q;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[state]\n", COUNTS);
    start();
    q = ASK(.path = "/fn");
    assert_int_equal(q->answers, 0);
    assert_done(q, "1");
    assert_int_equal(q->a.format, MP_FORMAT_JSON);
    assert_int_equal(q->values, 1);
    assert_done(ASK(.path = "/fn"), "2");
    assert_nothing_kept("fn");
}

/* What it tells may not be true after a power cut. */
static void who_only_reads_waits_for_what_it_has_read(void **state)
{
    struct asked *q, *r;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[state]\n",
             "if e.data == 'set' then mp.state.set('n', 7) end "
             "return mp.state.get('n', 0)");
    start();
    q = ASK(.path = "/fn", .data = "set");
    r = ASK(.path = "/fn", .data = "get");
    assert_done(r, "7");
    assert_int_equal(r->values, 1);
    assert_done(q, "7");
}

/* A function that talks does not hide that it fails, and what is not said is
 * counted, soon and without another line. */
static void what_a_failed_request_is_told_is_true(void **state)
{
    enum { MANY = 10 };
    struct asked *q[MANY];
    char event[120];
    unsigned there = 0;

    (void)state;
    listen_to_log();
    function("fn",
             "[trigger]\nhttp = /fn\n[log]\nrate = 5/m\n"
             "[breaker]\nfailures = 1000\n",
             "for i = 1, 9 do print('talk') end error('no')");
    start();
    for (unsigned i = 0; i < MANY; i++)
        q[i] = ASK(.path = "/fn");
    for (unsigned i = 0; i < MANY; i++)
        assert_kind(q[i], MP_ANSWER_FAILED);
    assert_int_equal(said(": talk"), 5);
    for (unsigned i = 0; i < MANY; i++) {
        bool is;

        snprintf(event, sizeof event, "main.lua:3: no event=%s ", q[i]->id);
        is = said(event) > 0;
        there += is;
        assert_true(has(q[i]->detail, q[i]->id));
        assert_int_equal(has(q[i]->detail, "the log says why, event "), is);
        assert_int_equal(has(q[i]->detail, "[log] rate"), !is);
    }
    assert_int_equal(there, 5);
    UNTIL(said("held back by [log] rate"));
    assert_int_equal(said("warn  fn: held back by [log] rate lines=90 "
                          "errors=5"),
                     1);
    listen_no_more();
}

static void who_asks_for_a_retry_is_logged_as_that(void **state)
{
    struct asked *q;

    (void)state;
    listen_to_log();
    function("fn", "[trigger]\nhttp = /fn\n", "mp.retry('later')");
    start();
    q = ASK(.path = "/fn");
    assert_kind(q, MP_ANSWER_AWAY);
    assert_int_equal(said(": retry: later event="), 1);
    listen_no_more();
}

static void set_listen(char ***list, const char *text)
{
    for (char **at = *list; *at; at++)
        free(*at);
    free(*list);
    *list = mp_zalloc(2 * sizeof **list);
    if (text)
        (*list)[0] = mp_strndup(text, strlen(text));
}

static void addresses_that_do_not_fit_the_triggers_are_said(void **state)
{
    struct mp_why why;

    (void)state;
    listen_to_log();
    function("fn",
             "[trigger me]\ncoap = GET /me\nauth = dtls\n"
             "[trigger all]\ncoap = GET /all\n"
             "[trigger web]\nhttp = /web\n"
             "[trigger signed]\nhttp = /signed\nauth = hmac KEY X-Signature\n"
             "[grant]\nsecret = KEY\n",
             "return 1");
    assert_int_equal(
        mp_secret_write(secrets, "fn", "KEY", MP_S("sesame"), &why), 0);
    live();
    set_listen(&l->config.http.listen, "0.0.0.0:7381");
    begin();
    assert_int_equal(said("trigger me of fn needs a coaps:// address in [coap] "
                          "listen"),
                     1);
    assert_int_equal(said("0.0.0.0:7381 has no TLS, and trigger signed of fn "
                          "has auth = hmac"),
                     1);
    assert_int_equal(said("triggers with auth = none (web of fn) answer only "
                          "clients on this machine"),
                     1);
    mp_host_doors_route(&l->host); /* once */
    assert_int_equal(said("needs a coaps://"), 1);
    assert_int_equal(said("has no TLS"), 1);
    stop();
    assert_int_equal(said("trigger all of fn"), 0);
    live();
    set_listen(&l->config.coap.listen, NULL);
    begin();
    assert_int_equal(said("trigger all of fn needs an address in [coap] "
                          "listen"),
                     1);
    stop();
    live();
    set_listen(&l->config.coap.listen, "coaps://127.0.0.1:5684");
    begin();
    assert_int_equal(said("needs a coaps://"), 1);
    listen_no_more();
}

static void what_a_reply_says_is_the_answer(void **state)
{
    struct asked *q;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n",
             "if e.data == '204' then return mp.reply(204) end "
             "if e.data == 'nothing' then return end "
             "return mp.reply(201, 'made', {max_age = '60s', "
             "headers = {location = '/x'}})");
    start();
    q = ASK(.path = "/fn");
    assert_kind(q, MP_ANSWER_REPLY);
    assert_int_equal(q->a.status, 201);
    assert_int_equal(q->a.max_age_s, 60);
    assert_int_equal(q->a.n_headers, 1);
    assert_string_equal(q->data, "made");
    q = ASK(.path = "/fn", .data = "204");
    assert_kind(q, MP_ANSWER_REPLY);
    assert_int_equal(q->a.status, 204);
    assert_null(q->a.data.ptr);
    q = ASK(.path = "/fn", .data = "nothing");
    assert_done(q, "");
    assert_null(q->a.data.ptr);
}

#define PUBLISHES "mp.publish('out/x', e.data) return 'sent'"
#define MAY_PUBLISH "[grant]\npublish = out/#\n"

static void one_that_publishes_is_answered_when_the_broker_has_it(void **state)
{
    struct asked *q;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n" MAY_PUBLISH, PUBLISHES);
    start();
    q = ASK(.path = "/fn", .data = "1");
    UNTIL(l->n_held);
    turn();
    assert_int_equal(q->answers, 0);
    confirm_all(0);
    assert_done(q, "sent");
    assert_nothing_kept("fn");
}

static void without_the_broker_it_is_when_the_outbox_has_it(void **state)
{
    struct asked *q;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n" MAY_PUBLISH, PUBLISHES);
    live();
    l->config.mqtt.hold_us = 20 * MP_MS;
    begin();
    q = ASK(.path = "/fn", .data = "1");
    assert_done(q, "sent");
    assert_int_equal(l->host.outbox.messages, 1);
    assert_int_equal(on_disk(MP_SQL_OUTBOX_SUMS), 1);
    assert_int_equal(slot_of("fn")->metrics.parked[MP_PARKED_OUTPUT], 1);
    assert_int_equal(l->host.dead.count, 0);
}

/* The outbox has it then, and the next start sends it. */
static void who_waits_for_the_broker_is_told_when_the_host_stops(void **state)
{
    struct asked *q;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n" MAY_PUBLISH, PUBLISHES);
    start();
    q = ASK(.path = "/fn", .data = "1");
    UNTIL(l->n_held);
    UNTIL(mp_host_drain(&l->host));
    assert_done(q, "sent");
    assert_int_equal(on_disk(MP_SQL_OUTBOX_SUMS), 1);
}

/* ---- refused ---- */

static void a_full_queue_is_busy_and_nothing_is_dropped(void **state)
{
    struct asked *q[10];
    unsigned done = 0, busy = 0;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[limits]\nqueue = 2\n",
             "return 'ok'");
    start();
    for (unsigned i = 0; i < 10; i++)
        q[i] = ASK(.path = "/fn");
    for (unsigned i = 0; i < 10; i++) {
        told(q[i]);
        done += q[i]->a.kind == MP_ANSWER_DONE;
        busy += q[i]->a.kind == MP_ANSWER_BUSY;
    }
    assert_int_equal(done + busy, 10);
    assert_true(done >= 2 && busy >= 1);
    assert_int_equal(q[9]->a.kind, MP_ANSWER_BUSY);
    assert_true(has(q[9]->detail, "too many events wait"));
    assert_int_equal(slot_of("fn")->metrics.refused[MP_REFUSED_QUEUE_FULL],
                     busy);
    assert_int_equal(
        slot_of("fn")->metrics.triggers[0].dropped[MP_DROP_QUEUE_FULL], 0);
    assert_nothing_kept("fn");
}

static void a_flood_of_messages_does_not_push_a_request_out(void **state)
{
    struct asked *q[2];
    struct mp_trigger_metrics *m;

    (void)state;
    function("fn",
             "[trigger ask]\nhttp = /fn\n[trigger in]\nmqtt = in\n"
             "[limits]\nqueue = 3\noverflow = oldest\n",
             "return 'ok'");
    start();
    message("in", 0);
    q[0] = ASK(.path = "/fn");
    q[1] = ASK(.path = "/fn");
    for (unsigned i = 0; i < 20; i++)
        message("in", i % 2);
    assert_done(q[0], "ok");
    assert_done(q[1], "ok");
    UNTIL(l->host.open == 0);
    m = mp_metrics_trigger(&slot_of("fn")->metrics, "in");
    assert_true(m->dropped[MP_DROP_QUEUE_FULL] >= 10);
    m = mp_metrics_trigger(&slot_of("fn")->metrics, "ask");
    assert_int_equal(m->dropped[MP_DROP_QUEUE_FULL], 0);
}

static void in_quarantine_it_is_away_for_the_seconds_that_are_left(void **state)
{
    struct asked *q[6];
    unsigned failed = 0, away = 0;

    (void)state;
    function("fn",
             "[trigger]\nhttp = /fn\n[breaker]\nfailures = 1\npause = 60s\n"
             "[state]\n",
             "error('no')");
    start();
    for (unsigned i = 0; i < 6; i++)
        q[i] = ASK(.path = "/fn");
    UNTIL(q[0]->settled);
    mp_host_requests_tick(&l->host); /* those that wait are told, too */
    for (unsigned i = 0; i < 6; i++) {
        told(q[i]);
        failed += q[i]->a.kind == MP_ANSWER_FAILED;
        away += q[i]->a.kind == MP_ANSWER_AWAY;
    }
    assert_int_equal(failed + away, 6);
    assert_true(failed >= 1 && away >= 1);
    assert_int_equal(q[5]->a.kind, MP_ANSWER_AWAY);
    assert_in_range(q[5]->a.retry_after_s, 58, 60);
    q[0] = ASK(.path = "/fn");
    assert_int_equal(q[0]->answers, 1); /* at once */
    assert_kind(q[0], MP_ANSWER_AWAY);
    assert_in_range(q[0]->a.retry_after_s, 50, 60);
    assert_true(has(q[0]->detail, "quarantine"));
    assert_true(has(q[0]->detail, "; next try in "));
    assert_int_equal(slot_of("fn")->metrics.refused[MP_REFUSED_QUARANTINED],
                     away + 1);
    assert_nothing_kept("fn");
}

static void one_whose_sends_have_no_room_is_away(void **state)
{
    struct asked *q;
    uint64_t max;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[state]\n[grant]\nsend = other\n",
             "mp.state.set('n', 1) mp.send('other', 'x') return 'sent'");
    function("other", "[trigger]\nhttp = /other\n", "return 1");
    start();
    max = l->host.queue.max_bytes;
    l->host.queue.max_bytes = 10;
    q = ASK(.path = "/fn");
    assert_kind(q, MP_ANSWER_AWAY);
    assert_true(has(q->detail, "no room"));
    assert_int_equal(slot_of("fn")->metrics.refused[MP_REFUSED_OVER_BUDGET], 1);
    assert_int_equal(on_disk(MP_SQL_STATE_BYTES), 0);
    assert_nothing_kept("fn");
    l->host.queue.max_bytes = max;
    assert_done(ASK(.path = "/fn"), "sent");
    UNTIL(runs("other") == 1);
    UNTIL(l->host.open == 0);
}

/* Nobody waits for the room that it would take: others go on. */
static void one_that_finds_no_room_does_not_hold_up_others(void **state)
{
    uint64_t max;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[state]\n",
             "mp.state.set('n', string.rep('x', 60000)) return 'set'");
    start();
    max = l->host.commit.max_size;
    l->host.commit.max_size = (l->host.commit.used + (32 << 10)) / 31 * 32;
    assert_kind(ASK(.path = "/fn"), MP_ANSWER_AWAY);
    assert_int_equal(l->host.store_wants, 0);
    l->host.commit.max_size = max;
    assert_done(ASK(.path = "/fn"), "set");
}

static void one_that_can_not_run_is_away(void **state)
{
    struct asked *q;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n", ") no lua (");
    start();
    q = ASK(.path = "/fn");
    assert_kind(q, MP_ANSWER_AWAY);
    assert_int_equal(q->a.retry_after_s, 0);
    assert_int_equal(slot_of("fn")->metrics.refused[MP_REFUSED_DISABLED], 1);
    assert_nothing_kept("fn");
}

static void while_the_host_stops_it_is_away(void **state)
{
    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n", "return 1");
    start();
    (void)mp_host_drain(&l->host);
    assert_kind(ASK(.path = "/fn"), MP_ANSWER_AWAY);
}

/* ---- failed ---- */

/* As long as a sender's may be. */
#define LONG_ID                                                                \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void what_failed_is_said_and_nothing_is_kept(void **state)
{
    struct asked *q;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[limits]\ntimeout = 1s\n[state]\n",
             "mp.state.set('n', 1)\n"
             "if e.data == 'error' then error('secret') end\n"
             "if e.data == 'reject' then mp.reject('too hot') end\n"
             "if e.data == '422' then mp.reject('odd', {status = 422}) end\n"
             "if e.data == 'retry' then mp.retry('later', {after='7s'}) end\n"
             "if e.data == 'soon' then mp.retry('soon') end\n"
             "if e.data == 'sleep' then mp.sleep('10s') end\n"
             "while true do end\n");
    start();
    q = ASK(.path = "/fn", .data = "error");
    assert_kind(q, MP_ANSWER_FAILED);
    assert_true(has(q->detail, q->id));
    assert_false(has(q->detail, "secret"));
    q = ASK(.path = "/fn", .data = "error", .id = LONG_ID);
    assert_kind(q, MP_ANSWER_FAILED);
    assert_true(has(q->detail, LONG_ID));
    q = ASK(.path = "/fn", .data = "reject");
    assert_kind(q, MP_ANSWER_REJECTED);
    assert_int_equal(q->a.status, 0);
    assert_true(has(q->detail, "too hot"));
    q = ASK(.path = "/fn", .data = "422");
    assert_kind(q, MP_ANSWER_REJECTED);
    assert_int_equal(q->a.status, 422);
    q = ASK(.path = "/fn", .data = "retry");
    assert_kind(q, MP_ANSWER_AWAY);
    assert_int_equal(q->a.retry_after_s, 7);
    assert_true(has(q->detail, "later"));
    q = ASK(.path = "/fn", .data = "soon");
    assert_kind(q, MP_ANSWER_AWAY);
    assert_int_equal(q->a.retry_after_s, 0);
    assert_kind(ASK(.path = "/fn", .data = "sleep"), MP_ANSWER_TIMEOUT);
    assert_kind(ASK(.path = "/fn", .data = "loop"), MP_ANSWER_TIMEOUT);
    assert_int_equal(runs("fn"), 8); /* none of them twice */
    assert_int_equal(on_disk(MP_SQL_STATE_BYTES), 0);
    assert_nothing_kept("fn");
}

/* The worker that runs something; 0: none does. */
static pid_t running(void)
{
    int64_t since_us;

    mp_list_each (at, &l->host.all) {
        const struct mp_invocation *inv = mp_of(at, struct mp_invocation, all);

        if (inv->stage == MP_RUNNING && inv->process &&
            mp_worker_current(&inv->process->worker, &since_us) == inv->run)
            return inv->process->worker.pid;
    }
    return 0;
}

/* Its worker dies of it, and the one that tries it alone. */
static void one_that_kills_its_worker_has_failed(void **state)
{
    struct asked *q;
    pid_t last = 0, now;

    (void)state;
    function("fn",
             "[trigger]\nhttp = /fn\n[limits]\nkills = 1\ntimeout = 60s\n"
             "cpu = 60s\n",
             "while true do end");
    start();
    q = ASK(.path = "/fn");
    while (!q->settled) {
        uv_run(&l->loop, UV_RUN_NOWAIT);
        now = running();
        if (now && now != last)
            kill(last = now, SIGKILL);
    }
    assert_kind(q, MP_ANSWER_FAILED);
    assert_int_equal(slot_of("fn")->metrics.invocations[MP_OUT_KILLED], 1);
    assert_nothing_kept("fn");
}

/* ---- functions come and go ---- */

static void scan(void)
{
    l->changed = false;
    mp_catalog_scan(&l->host.catalog);
    UNTIL(l->changed);
}

static void remove_function(const char *name)
{
    char path[120];

    snprintf(path, sizeof path, "%s/%s", functions, name);
    t_dir_remove(path);
}

static void who_waits_for_a_function_that_goes_is_told(void **state)
{
    struct asked *q[8];
    uint32_t route;

    (void)state;
    function("stays", "[trigger]\nhttp = /stays\n", "return 1");
    function("fn", "[trigger]\nhttp = /fn\n", "mp.sleep('100ms') return 1");
    live();
    l->config.workers = 1;
    begin();
    route = endpoint(&(struct ask){.path = "/fn", .type = MP_EVENT_HTTP})->id;
    for (unsigned i = 0; i < 8; i++)
        q[i] = ASK(.path = "/fn");
    remove_function("fn");
    scan();
    for (unsigned i = 0; i < 8; i++) {
        told(q[i]);
        assert_true(q[i]->a.kind == MP_ANSWER_DONE ||
                    q[i]->a.kind == MP_ANSWER_AWAY);
    }
    assert_kind(ASK(.path = "/fn", .route = route), MP_ANSWER_GONE);
    q[0] = ASK(.path = "/fn", .route = route, .async = true);
    assert_true(q[0]->settled && q[0]->lost);
    assert_done(ASK(.path = "/stays"), "1");
}

static void with_the_last_trigger_gone_nothing_is_served(void **state)
{
    (void)state;
    function("a", "[trigger]\nhttp = /a\n", "return 1");
    function("b", "[trigger]\ncoap = /b\n", "return 1");
    start();
    assert_int_equal(l->http.n, 1);
    assert_int_equal(l->coap.n, 1);
    remove_function("a");
    scan();
    assert_int_equal(l->http.n, 0);
    assert_int_equal(l->coap.n, 1);
    remove_function("b");
    scan();
    assert_int_equal(l->coap.n, 0);
    function("a", "[trigger]\nhttp = GET,POST /a/{x}\n", "return 2");
    scan();
    assert_int_equal(l->http.n, 1);
    assert_done(ASK(.path = "/a/1"), "2");
}

static void a_door_is_opened_when_a_trigger_asks_for_it(void **state)
{
    (void)state;
    function("a", "[trigger]\nhttp = /a\n", "return 1");
    start();
    assert_int_equal(l->http.serves, 1);
    assert_int_equal(l->coap.serves, 0);
    assert_null(mp_host_door(&l->host, MP_TRIGGER_COAP));
    function("b", "[trigger]\ncoap = /b\n", "return 1");
    scan();
    assert_non_null(mp_host_door(&l->host, MP_TRIGGER_COAP));
    assert_int_equal(l->coap.n, 1);
    assert_done(ASK_COAP(.path = "/b"), "1");
}

/* ---- order ---- */

#define SLOW "if e.data == 'slow' then mp.sleep('1500ms') end return e.data"

static void requests_without_state_do_not_wait_for_each_other(void **state)
{
    struct asked *slow, *quick;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n", SLOW);
    start();
    slow = ASK(.path = "/fn", .data = "slow");
    quick = ASK(.path = "/fn", .data = "quick");
    assert_done(quick, "quick");
    assert_int_equal(slow->answers, 0);
    assert_done(slow, "slow");
}

static void requests_of_one_actor_do(void **state)
{
    struct asked *slow, *same, *other;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn/{x}\n[state]\nkey = {x}\n", SLOW);
    start();
    slow = ASK(.path = "/fn/1", .data = "slow");
    same = ASK(.path = "/fn/1", .data = "quick");
    other = ASK(.path = "/fn/2", .data = "quick");
    assert_done(other, "quick");
    assert_int_equal(slow->answers + same->answers, 0);
    assert_done(same, "quick");
    assert_int_equal(slow->answers, 1);
}

/* ---- repeated ---- */

static void a_repeat_of_what_changed_something_is_answered_again(void **state)
{
    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[state]\n", COUNTS);
    start();
    assert_done(ASK(.path = "/fn", .exchange = "one"), "1");
    assert_done(ASK(.path = "/fn", .exchange = "one"), "1");
    assert_done(ASK(.path = "/fn", .exchange = "two"), "2");
    assert_done(ASK(.path = "/fn", .exchange = "one"), "1");
    assert_int_equal(runs("fn"), 2);
    stop();
    start();
    assert_done(ASK(.path = "/fn", .exchange = "one"), "1");
    assert_done(ASK(.path = "/fn", .exchange = "two"), "2");
    assert_int_equal(runs("fn"), 0);
    assert_done(ASK(.path = "/fn"), "3");
}

/* Two of one exchange at once: one of them has done it. */
static void a_repeat_that_comes_too_early_is_told_to_wait(void **state)
{
    struct asked *q, *r;

    (void)state;
    function("fn", "[trigger]\ncoap = /fn\n[state]\n", COUNTS);
    start();
    q = ASK_COAP(.path = "/fn", .exchange = "one");
    UNTIL(!mp_list_empty(&l->host.replies.rows));
    r = ASK_COAP(.path = "/fn", .exchange = "one");
    if (q->answers == 0) { /* else it was durable in the same turn */
        assert_kind(r, MP_ANSWER_AWAY);
        assert_int_equal(r->a.retry_after_s, 1);
    }
    assert_done(q, "1");
    assert_done(ASK_COAP(.path = "/fn", .exchange = "one"), "1");
    assert_int_equal(runs("fn"), 1);
}

static void one_that_changed_nothing_runs_again(void **state)
{
    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[state]\n",
             "if e.data == 'no' then mp.state.set('n', 1) mp.reject('no') end "
             "return mp.state.get('n', 'none')");
    start();
    assert_done(ASK(.path = "/fn", .exchange = "one"), "none");
    assert_done(ASK(.path = "/fn", .exchange = "one"), "none");
    assert_kind(ASK(.path = "/fn", .exchange = "two", .data = "no"),
                MP_ANSWER_REJECTED);
    assert_kind(ASK(.path = "/fn", .exchange = "two", .data = "no"),
                MP_ANSWER_REJECTED);
    assert_int_equal(runs("fn"), 4);
    assert_int_equal(on_disk(MP_SQL_REPLY_ALL), 0);
}

/* With an Idempotency-Key nothing is done twice. */
static void what_only_publishes_is_not_run_again_by_http(void **state)
{
    (void)state;
    function("fn",
             "[trigger h]\nhttp = /fn\n[trigger c]\ncoap = /fn\n" MAY_PUBLISH,
             PUBLISHES);
    start();
    assert_done(ASK(.path = "/fn", .exchange = "one"),
                "sent"); /* in the outbox */
    assert_done(ASK(.path = "/fn", .exchange = "one"), "sent");
    assert_int_equal(runs("fn"), 1);
    assert_int_equal(l->host.outbox.messages, 1);
    UNTIL(l->n_held == 1);
    confirm_all(0);
    stop();
    start();
    assert_done(ASK(.path = "/fn", .exchange = "one"), "sent");
    assert_int_equal(runs("fn"), 0);
    for (unsigned i = 0; i < 2; i++) { /* by CoAP it has the same ids */
        struct asked *q = ASK_COAP(.path = "/fn", .exchange = "two");

        UNTIL(l->n_held);
        confirm_all(0);
        assert_done(q, "sent");
    }
    assert_int_equal(runs("fn"), 2);
}

/* ---- asynchronous ---- */

static void assert_result(const struct asked *q, const char *text)
{
    struct mp_answer a;

    UNTIL(mp_results_get(&l->host.results, mp_slice_str(q->result), &a,
                         mp_now_us()) != MP_RESULT_RUNS);
    assert_int_equal(mp_results_get(&l->host.results, mp_slice_str(q->result),
                                    &a, mp_now_us()),
                     MP_RESULT_IS);
    assert_int_equal(a.kind, MP_ANSWER_DONE);
    assert_true(mp_slice_is(a.data, text));
}

static enum mp_answer_kind result_kind(const struct asked *q)
{
    struct mp_answer a = {.kind = MP_ANSWER_DONE};

    UNTIL(mp_results_get(&l->host.results, mp_slice_str(q->result), &a,
                         mp_now_us()) == MP_RESULT_IS);
    return a.kind;
}

static void assert_accepted(const struct asked *q)
{
    UNTIL(q->settled);
    assert_false(q->lost);
    assert_int_equal(q->answers, 0);
}

static bool is_known(const struct asked *q)
{
    struct mp_answer a;

    return mp_results_get(&l->host.results, mp_slice_str(q->result), &a,
                          mp_now_us()) != MP_RESULT_UNKNOWN;
}

static void an_asynchronous_one_runs_and_its_result_waits(void **state)
{
    struct asked *q;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\nasync = yes\n[state]\n", COUNTS);
    start();
    q = ASK(.path = "/fn", .async = true);
    assert_int_equal(q->settled, 0);
    assert_accepted(q);
    assert_result(q, "1");
    assert_int_equal(slot_of("fn")->metrics.parked[MP_PARKED_ASYNC], 1);
    UNTIL(l->host.open == 0);
    assert_int_equal(l->host.queue.bytes, 0);
}

/* Though one of two senders may have chosen it to read what is the other's. */
static void one_id_at_two_paths_is_two_results(void **state)
{
    struct asked *q, *r;

    (void)state;
    function("fn",
             "[trigger a]\nhttp = /a\n[trigger b]\nhttp = /b\n"
             "[trigger c]\ncoap = /a\n",
             "return e.type .. e.path");
    start();
    q = ASK(.path = "/a", .async = true, .id = "order-1");
    r = ASK(.path = "/b", .async = true, .id = "order-1");
    assert_true(q->begun && r->begun);
    assert_result(q, "http/a");
    assert_result(r, "http/b");
    r = ASK_COAP(.path = "/a", .async = true, .id = "order-1");
    assert_result(r, "coap/a");
    assert_result(q, "http/a");
    UNTIL(l->host.open == 0);
}

static void what_was_read_back_from_disk_has_its_result(void **state)
{
    enum { MANY = 20 };
    struct asked *q[MANY];

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[limits]\nqueue = 1\n",
             "return e.data");
    start();
    for (unsigned i = 0; i < MANY; i++)
        q[i] = ASK(.path = "/fn", .async = true, .data = i % 2 ? "1" : "0");
    assert_true(mp_queue_is_spilled(slot_of("fn")->queue));
    for (unsigned i = 0; i < MANY; i++)
        assert_result(q[i], i % 2 ? "1" : "0");
    UNTIL(l->host.open == 0);
}

/* In quarantine it is accepted all the same, and waits there. */
static void it_is_accepted_when_its_row_is_on_disk(void **state)
{
    struct asked *q;

    (void)state;
    function("fn",
             "[trigger]\nhttp = /fn\n[breaker]\nfailures = 1\npause = 60s\n",
             "if e.data == 'no' then error('no') end return 'done'");
    start();
    assert_kind(ASK(.path = "/fn", .data = "no"), MP_ANSWER_FAILED);
    q = ASK(.path = "/fn", .async = true);
    assert_int_equal(q->settled, 0);
    assert_accepted(q);
    assert_int_equal(q->rows, 1);
    assert_true(is_known(q));
    assert_int_equal(slot_of("fn")->breaker.held_back, 1);
    stop();
    start(); /* as new: it runs */
    UNTIL(runs("fn") == 1);
    UNTIL(l->host.open == 0);
    assert_int_equal(on_disk(MP_SQL_QUEUE_INDEX), 0);
    assert_int_equal(l->host.dead.count, 0);
}

static void with_no_room_on_disk_it_is_not_accepted(void **state)
{
    struct asked *q;
    uint64_t max;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[state]\n", COUNTS);
    start();
    max = l->host.queue.max_bytes;
    l->host.queue.max_bytes = 10;
    q = ASK(.path = "/fn", .async = true, .exchange = "one");
    UNTIL(q->settled);
    assert_true(q->lost);
    assert_false(is_known(q));
    assert_int_equal(slot_of("fn")->metrics.refused[MP_REFUSED_OVER_BUDGET], 1);
    l->host.queue.max_bytes = max;
    q = ASK(.path = "/fn", .async = true, .exchange = "one");
    assert_accepted(q);
    assert_result(q, "1");
}

/* Byte by byte: its row fits, what is kept for who repeats it does not. */
static void with_too_little_room_it_is_not_accepted_either(void **state)
{
    char exchange[16];
    struct asked *q;
    uint64_t bytes = 0;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n", "return 1");
    start();
    do {
        bytes += 100;
        assert_true(n_all < ASKED_MAX);
        snprintf(exchange, sizeof exchange, "e%u", n_all);
        l->host.commit.max_size = (l->host.commit.used + bytes) / 31 * 32;
        q = ASK(.path = "/fn", .async = true, .exchange = exchange);
        UNTIL(q->settled);
    } while (q->lost);
    assert_true(n_all > 5);
    UNTIL(l->host.open == 0);
}

static bool any_delayed(void)
{
    mp_list_each (at, &l->host.all)
        if (mp_of(at, struct mp_invocation, all)->stage == MP_DELAYED)
            return true;
    return false;
}

/* It is kept with the end of its row, though it has no effects. */
static void a_result_that_finds_no_room_on_disk_waits(void **state)
{
    struct mp_answer a;
    struct asked *q;
    uint64_t max;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n", "return string.rep('x', 200000)");
    start();
    max = l->host.commit.max_size;
    l->host.commit.max_size = (l->host.commit.used + (64 << 10)) / 31 * 32;
    q = ASK(.path = "/fn", .async = true, .exchange = "one");
    assert_accepted(q);
    UNTIL(any_delayed());
    l->host.commit.max_size = max;
    UNTIL(mp_results_get(&l->host.results, mp_slice_str(q->result), &a,
                         mp_now_us()) == MP_RESULT_IS);
    assert_int_equal(a.data.len, 200000);
    UNTIL(l->host.open == 0);
}

/* Also of those that ran in a batch, and those that were sent away. */
static void each_of_a_batch_has_a_result(void **state)
{
    struct asked *q, *r;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\nasync = yes\nbatch = 2 within 5s\n",
             "for _, one in ipairs(e.events) do "
             "if one.data == 'bad' then one:reject('no') end end");
    start();
    q = ASK(.path = "/fn", .async = true);
    r = ASK(.path = "/fn", .async = true, .data = "bad");
    assert_accepted(q);
    assert_accepted(r);
    assert_int_equal(result_kind(q), MP_ANSWER_DONE);
    assert_int_equal(result_kind(r), MP_ANSWER_REJECTED);
    UNTIL(l->host.open == 0);
}

/* Alone it is a batch of one, and may send itself away again. */
static void one_of_a_batch_that_is_sent_away_to_the_end_has_failed(void **state)
{
    struct asked *q, *r;

    (void)state;
    function("fn",
             "[trigger]\nhttp = /fn\nasync = yes\nbatch = 2 within 5s\n"
             "[state]\n[retry]\nattempts = 2\nbackoff = 100ms\n",
             "mp.state.increment('n') for _, one in ipairs(e.events) do "
             "if one.data == 'bad' then one:retry('no') end end");
    start();
    q = ASK(.path = "/fn", .async = true, .exchange = "one");
    r = ASK(.path = "/fn", .async = true, .exchange = "two", .data = "bad");
    assert_accepted(q);
    assert_accepted(r);
    assert_int_equal(result_kind(q), MP_ANSWER_DONE);
    assert_int_equal(result_kind(r), MP_ANSWER_AWAY);
    assert_int_equal(runs("fn"), 2);
    UNTIL(l->host.open == 0);
}

static void its_repeat_does_not_run_and_has_its_result(void **state)
{
    struct asked *q;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[state]\n", COUNTS);
    start();
    q = ASK(.path = "/fn", .async = true, .exchange = "one");
    assert_accepted(q);
    assert_result(q, "1");
    UNTIL(l->host.open == 0);
    q = ASK(.path = "/fn", .async = true, .exchange = "one");
    assert_accepted(q);
    assert_result(q, "1");
    stop();
    start();
    q = ASK(.path = "/fn", .async = true, .exchange = "one");
    assert_accepted(q);
    assert_result(q, "1");
    assert_int_equal(runs("fn"), 0);
}

static void two_of_one_exchange_at_once_run_once(void **state)
{
    struct asked *q, *r;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[state]\n", COUNTS);
    start();
    q = ASK(.path = "/fn", .async = true, .exchange = "one");
    r = ASK(.path = "/fn", .async = true, .exchange = "one");
    assert_true(r->settled && r->lost); /* it must come again, as new */
    assert_false(is_known(r));
    assert_accepted(q);
    assert_result(q, "1");
    assert_int_equal(runs("fn"), 1);
}

/* Its exchange is in its row. */
static void so_does_the_repeat_of_one_that_ran_after_a_restart(void **state)
{
    struct asked *q;

    (void)state;
    function("fn",
             "[trigger]\nhttp = /fn\n[state]\n[breaker]\nfailures = 1\n"
             "pause = 60s\n",
             "if e.data == 'no' then error('no') end " COUNTS);
    start();
    assert_kind(ASK(.path = "/fn", .data = "no"), MP_ANSWER_FAILED);
    assert_accepted(ASK(.path = "/fn", .async = true, .exchange = "one"));
    stop();
    start();
    UNTIL(runs("fn") == 1);
    UNTIL(l->host.open == 0);
    q = ASK(.path = "/fn", .async = true, .exchange = "one");
    assert_accepted(q);
    assert_result(q, "1");
    assert_int_equal(runs("fn"), 1);
}

/* Who asks for it is not told for ever that it runs. */
static void one_that_is_never_run_has_a_result_that_says_so(void **state)
{
    char path[600] = "/fn/";
    struct asked *q, *r;

    (void)state;
    function("fn",
             "[trigger]\nhttp = /fn/{x}\nmax_age = 1s\n[state]\nkey = {x}\n"
             "[breaker]\nfailures = 1\npause = 2s\n",
             "error('no')");
    start();
    memset(path + 4, 'x', sizeof path - 5); /* longer than a key may be */
    q = ASK(.path = path, .async = true);
    assert_accepted(q);
    assert_int_equal(result_kind(q), MP_ANSWER_REJECTED);
    assert_kind(ASK(.path = path), MP_ANSWER_REJECTED);
    assert_kind(ASK(.path = "/fn/1"), MP_ANSWER_FAILED);
    r = ASK(.path = "/fn/1", .async = true);
    assert_accepted(r);
    assert_int_equal(result_kind(r), MP_ANSWER_TIMEOUT);
    UNTIL(l->host.open == 0);
    assert_int_equal(on_disk(MP_SQL_QUEUE_INDEX), 0);
    assert_int_equal(
        slot_of("fn")->metrics.triggers[0].dropped[MP_DROP_EXPIRED], 1);
    assert_int_equal(l->host.dead.count, 0);
}

static void what_waited_too_long_for_its_turn_is_not_run(void **state)
{
    struct asked *q;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\nmax_age = 1s\n[state]\n", SLOW);
    start();
    q = ASK(.path = "/fn", .data = "slow");
    assert_kind(ASK(.path = "/fn", .data = "late"), MP_ANSWER_TIMEOUT);
    assert_done(q, "slow");
    assert_nothing_kept("fn");
}

/* Their function has other actors now, and none for what they ask. */
static void who_waits_and_gets_no_actor_any_more_is_told(void **state)
{
    struct asked *slow, *late, *async;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn/{x}\n[state]\nkey = {x}\n", SLOW);
    start();
    slow = ASK(.path = "/fn/1", .data = "slow");
    UNTIL(slot_of("fn")->n_suspended == 1); /* it sleeps */
    late = ASK(.path = "/fn/1");
    async = ASK(.path = "/fn/1", .async = true);
    function("fn", "[trigger]\nhttp = /fn/{y}\n[state]\nkey = {y}\n", SLOW);
    scan();
    assert_kind(late, MP_ANSWER_REJECTED);
    assert_accepted(async);
    assert_int_equal(result_kind(async), MP_ANSWER_REJECTED);
    assert_int_equal(slot_of("fn")->metrics.dead[MP_DEAD_TRIGGER], 1);
    assert_done(slow, "slow");
}

/* ---- a commit fails ---- */

static bool any_commits(void)
{
    mp_list_each (at, &l->host.all)
        if (mp_of(at, struct mp_invocation, all)->stage == MP_COMMITTING)
            return true;
    return false;
}

/* More than the database may have. */
static void fail_the_commit(void)
{
    enum { BYTES = 16 << 20 };
    char *bytes = mp_zalloc(BYTES);

    mp_host_keep(&l->host, "large", mp_slice(bytes, BYTES), NULL, NULL);
    free(bytes);
}

static void when_a_commit_fails_nobody_is_told_that_it_was_done(void **state)
{
    struct asked *q, *r;

    (void)state;
    function("fn", "[trigger]\nhttp = /fn\n[state]\n", COUNTS);
    live();
    l->config.store.max_size = 4 << 20;
    begin();
    q = ASK(.path = "/fn", .exchange = "one");
    UNTIL(any_commits());
    fail_the_commit();
    r = ASK(.path = "/fn", .async = true);
    UNTIL(q->settled && r->settled);
    assert_int_equal(q->answers, 0);
    assert_true(q->lost);
    assert_true(r->lost);
    assert_false(is_known(r));
    UNTIL(l->host.loaded);
    stop();
    start(); /* with more room */
    assert_done(ASK(.path = "/fn", .exchange = "one"), "1");
}

/* ---- observers ---- */

#define OBSERVED                                                               \
    "[trigger get]\ncoap = GET /x/{id}\nobserve = yes\n"                       \
    "[trigger set]\ncoap = POST /x/{id}\n[trigger in]\nmqtt = in\n[state]\n"

static void observers_hear_of_what_is_on_disk(void **state)
{
    static const char notices[] = "/x/1=one//5 "
                                  "/x/2={\"a\":1}/application/json/60 ";
    struct asked *q;

    (void)state;
    function("fn", OBSERVED,
             "mp.state.set('n', 1) mp.notify('/x/1', 'one', {max_age = 5}) "
             "mp.notify('/x/2', {a = 1}) pcall(mp.notify, '/y/1', 'not ours') "
             "return 'ok'");
    function("other", "[trigger]\ncoap = GET /y/{id}\nobserve = yes\n",
             "return 1");
    start();
    q = ASK_COAP(.path = "/x/7");
    UNTIL(any_commits());
    assert_string_equal(l->coap.notices, "");
    assert_done(q, "ok");
    assert_int_equal(l->coap.values, 1);
    assert_string_equal(l->coap.notices, notices);
    assert_string_equal(l->http.notices, "");
    l->coap.notices[0] = '\0';
    message("in", 1); /* whatever it was that changed it */
    UNTIL(l->host.open == 0);
    assert_string_equal(l->coap.notices, notices);
}

/* Another function answers there: nobody observes this one. */
static void who_is_not_served_tells_no_observers(void **state)
{
    (void)state;
    function("a", "[trigger]\ncoap = GET /x/{id}\nobserve = yes\n", "return 1");
    function("b",
             "[trigger get]\ncoap = GET /x/{name}\nobserve = yes\n"
             "[trigger set]\ncoap = /b\n",
             "mp.notify('/x/1', 'b') return 'b'");
    start();
    assert_int_equal(l->coap.n, 2);
    assert_done(ASK_COAP(.path = "/b"), "b");
    assert_done(ASK_COAP(.path = "/x/1", .get = true), "1");
    assert_string_equal(l->coap.notices, "");
}

static void of_what_failed_observers_hear_nothing(void **state)
{
    (void)state;
    function("fn", OBSERVED,
             "mp.notify('/x/1', 'one') mp.state.set('n', 1) mp.reject('no')");
    start();
    assert_kind(ASK_COAP(.path = "/x/7"), MP_ANSWER_REJECTED);
    assert_string_equal(l->coap.notices, "");
}

#define T(test) cmocka_unit_test_setup_teardown(test, make, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_answer_leaves_when_what_it_promises_is_on_disk),
        T(who_only_reads_waits_for_what_it_has_read),
        T(what_a_failed_request_is_told_is_true),
        T(who_asks_for_a_retry_is_logged_as_that),
        T(addresses_that_do_not_fit_the_triggers_are_said),
        T(what_a_reply_says_is_the_answer),
        T(one_that_publishes_is_answered_when_the_broker_has_it),
        T(without_the_broker_it_is_when_the_outbox_has_it),
        T(who_waits_for_the_broker_is_told_when_the_host_stops),
        T(a_full_queue_is_busy_and_nothing_is_dropped),
        T(a_flood_of_messages_does_not_push_a_request_out),
        T(in_quarantine_it_is_away_for_the_seconds_that_are_left),
        T(one_whose_sends_have_no_room_is_away),
        T(one_that_finds_no_room_does_not_hold_up_others),
        T(one_that_can_not_run_is_away),
        T(while_the_host_stops_it_is_away),
        T(what_failed_is_said_and_nothing_is_kept),
        T(one_that_kills_its_worker_has_failed),
        T(who_waits_for_a_function_that_goes_is_told),
        T(with_the_last_trigger_gone_nothing_is_served),
        T(a_door_is_opened_when_a_trigger_asks_for_it),
        T(requests_without_state_do_not_wait_for_each_other),
        T(requests_of_one_actor_do),
        T(a_repeat_of_what_changed_something_is_answered_again),
        T(a_repeat_that_comes_too_early_is_told_to_wait),
        T(one_that_changed_nothing_runs_again),
        T(what_only_publishes_is_not_run_again_by_http),
        T(an_asynchronous_one_runs_and_its_result_waits),
        T(one_id_at_two_paths_is_two_results),
        T(what_was_read_back_from_disk_has_its_result),
        T(it_is_accepted_when_its_row_is_on_disk),
        T(with_no_room_on_disk_it_is_not_accepted),
        T(with_too_little_room_it_is_not_accepted_either),
        T(a_result_that_finds_no_room_on_disk_waits),
        T(each_of_a_batch_has_a_result),
        T(one_of_a_batch_that_is_sent_away_to_the_end_has_failed),
        T(its_repeat_does_not_run_and_has_its_result),
        T(two_of_one_exchange_at_once_run_once),
        T(so_does_the_repeat_of_one_that_ran_after_a_restart),
        T(one_that_is_never_run_has_a_result_that_says_so),
        T(what_waited_too_long_for_its_turn_is_not_run),
        T(who_waits_and_gets_no_actor_any_more_is_told),
        T(when_a_commit_fails_nobody_is_told_that_it_was_done),
        T(observers_hear_of_what_is_on_disk),
        T(who_is_not_served_tells_no_observers),
        T(of_what_failed_observers_hear_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
