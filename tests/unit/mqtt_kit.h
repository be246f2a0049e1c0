/*
 * mqtt_kit.h - a host that settles inputs when told to and keeps what it is
 * given in a real database, and a loop that runs until a condition holds, for
 * the tests of the MQTT transport.
 *
 * Included by one .c each: it defines what mp_host_ a transport calls.
 */
#ifndef MP_TESTS_MQTT_KIT_H
#define MP_TESTS_MQTT_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/records.h"
#include "tests/unit/broker.h"
#include "transports/mqtt.h"

enum { KIT_INPUTS = 70000, KIT_OUTPUTS = 2000, KIT_KEPT = 16 };

struct kit_kept {
    char *name, *bytes;
    size_t len;
};

struct mp_host {
    uv_loop_t loop;
    struct mp_config config;
    char dir[64];
    struct broker broker;
    bool has_broker;
    void *mqtt;
    /* what is durable */
    struct mp_commit commit;
    struct mp_records records;
    struct kit_kept kept[KIT_KEPT];
    bool loaded;
    bool hold; /* no transaction leaves */
    uv_prepare_t turn;
    bool settle_at_once, linked, finished;
    unsigned links; /* changes */
    struct mp_input *inputs[KIT_INPUTS];
    bool settled[KIT_INPUTS];
    unsigned n_inputs;
    struct mp_output outputs[KIT_OUTPUTS];
    unsigned n_outputs, n_done;
    unsigned reasons[KIT_OUTPUTS];
};

void mp_host_input(struct mp_host *h, struct mp_input *in)
{
    assert_true(h->n_inputs < KIT_INPUTS);
    h->inputs[h->n_inputs] = in;
    h->settled[h->n_inputs] = h->settle_at_once;
    h->n_inputs++;
    if (h->settle_at_once)
        in->settled(in);
}

void mp_host_link(struct mp_host *h, bool up)
{
    h->linked = up;
    h->links++;
}

/* ---- what is durable ---- */

static struct kit_kept *kit_kept(struct mp_host *h, const char *name)
{
    unsigned i = 0;

    while (i < KIT_KEPT && h->kept[i].name &&
           strcmp(h->kept[i].name, name) != 0)
        i++;
    assert_true(i < KIT_KEPT);
    return &h->kept[i];
}

static void kit_remember(struct mp_host *h, const char *name,
                         struct mp_slice bytes)
{
    struct kit_kept *k = kit_kept(h, name);

    if (!k->name)
        k->name = strdup(name);
    free(k->bytes);
    k->bytes = bytes.ptr ? mp_strndup(bytes.ptr, bytes.len) : NULL;
    k->len = bytes.len;
}

static void kit_forget(struct mp_host *h)
{
    for (unsigned i = 0; i < KIT_KEPT; i++) {
        free(h->kept[i].name);
        free(h->kept[i].bytes);
        h->kept[i] = (struct kit_kept){0};
    }
    mp_records_reset(&h->records);
}

struct mp_slice mp_host_kept(struct mp_host *h, const char *name)
{
    const struct kit_kept *k = kit_kept(h, name);

    assert_true(h->loaded);
    return k->bytes ? mp_slice(k->bytes, k->len) : mp_slice(NULL, 0);
}

void mp_host_keep(struct mp_host *h, const char *name, struct mp_slice bytes,
                  struct mp_commit_wait *w,
                  void (*done)(struct mp_commit_wait *w, int rc))
{
    struct mp_batch *b = mp_commit_batch(&h->commit);

    kit_remember(h, name, bytes);
    mp_batch_op(b, bytes.ptr ? MP_SQL_KEPT_PUT : MP_SQL_KEPT_DELETE);
    mp_batch_text(b, mp_slice_str(name));
    if (bytes.ptr)
        mp_batch_blob(b, bytes);
    if (w)
        mp_commit_wait(&h->commit, w, mp_commit_ticket(&h->commit), done);
}

struct mp_records *mp_host_records(struct mp_host *h)
{
    return &h->records;
}

static void kit_load(struct mp_host *h)
{
    struct mp_db *db;
    struct mp_why why;
    struct mp_query *q;
    char name[128];

    assert_int_equal(mp_db_open_reader(&db, h->dir, &why), 0);
    kit_forget(h);
    assert_int_equal(mp_records_load(&h->records, db, &why), 0);
    q = mp_query_begin(db, MP_SQL_KEPT_LIKE);
    mp_query_text(q, MP_S(""));
    while (mp_query_step(q, &why) == 1) {
        snprintf(name, sizeof name, "%.*s", MP_FMT(mp_column_bytes(q, 0)));
        kit_remember(h, name, mp_column_bytes(q, 1));
    }
    mp_query_end(q);
    mp_db_close(db);
    h->loaded = true;
}

static void kit_opened(void *arg, const struct mp_db_opened *opened MP_UNUSED)
{
    struct mp_host *h = arg;

    kit_load(h);
    mp_commit_go(&h->commit);
}

static void kit_unable(void *arg MP_UNUSED, const struct mp_why *why)
{
    fail_msg("the database: %s", why->text);
}

static void kit_seal(void *arg, struct mp_batch *batch)
{
    mp_records_seal(&((struct mp_host *)arg)->records, batch);
}

static void kit_commit(uv_prepare_t *turn)
{
    struct mp_host *h = turn->data;

    h->commit.interval_us = h->hold ? INT64_MAX / 4 : 0;
    mp_commit_turn(&h->commit, h->hold);
}

/* ---- the loop ---- */

MP_UNUSED static void kit_settle(struct mp_host *h, unsigned nth)
{
    assert_true(nth < h->n_inputs && !h->settled[nth]);
    h->settled[nth] = true;
    h->inputs[nth]->settled(h->inputs[nth]);
}

static void kit_turn(struct mp_host *h)
{
    uv_run(&h->loop, UV_RUN_NOWAIT);
    if (h->has_broker)
        broker_pump(&h->broker);
}

/* Run until cond holds; at most 30 s, on a machine that is busy. */
#define UNTIL(h, cond)                                                         \
    do {                                                                       \
        int64_t end_ = mp_now_us() + 30 * MP_SECOND;                           \
                                                                               \
        while (!(cond)) {                                                      \
            if (mp_now_us() > end_)                                            \
                fail_msg("never: %s", #cond);                                  \
            kit_turn(h);                                                       \
            usleep(200);                                                       \
        }                                                                      \
    } while (0)

/* Run for a while: what must not happen has its chance.  Some turns it is also
 * when the machine gave us none of that time. */
MP_UNUSED static void kit_run(struct mp_host *h, int ms)
{
    int64_t end = mp_now_us() + ms * MP_MS;

    for (int turns = 0; turns < 20 || mp_now_us() < end; turns++) {
        kit_turn(h);
        usleep(200);
    }
}

static void kit_open(struct mp_host *h)
{
    const struct mp_commit_user user = {.opened = kit_opened,
                                        .unable = kit_unable,
                                        .failed = kit_unable,
                                        .seal = kit_seal,
                                        .arg = h};
    struct mp_why why;

    mp_records_init(&h->records, &h->commit);
    mp_commit_open(&h->commit, &h->loop, h->dir, 64 << 20, 0, &user);
    uv_prepare_init(&h->loop, &h->turn);
    h->turn.data = h;
    uv_prepare_start(&h->turn, kit_commit);
    UNTIL(h, h->loaded);
    assert_int_equal(mp_mqtt.open(h, &h->loop, &h->config, &h->mqtt, &why), 0);
}

static void kit_finished(void *arg)
{
    ((struct mp_host *)arg)->finished = true;
}

static void kit_close(struct mp_host *h)
{
    h->finished = false;
    mp_mqtt.close(h->mqtt, kit_finished, h);
    h->mqtt = NULL;
    UNTIL(h, h->finished);
    h->linked = h->hold = h->loaded = false;
    mp_commit_close(&h->commit);
    uv_close((uv_handle_t *)&h->turn, NULL);
    kit_turn(h);
    kit_forget(h);
    mp_records_fini(&h->records);
}

/* The database goes, with what was taken since its last commit, and comes
 * back. */
MP_UNUSED static void kit_lose(struct mp_host *h)
{
    for (unsigned i = 0; i < h->n_inputs; i++) {
        if (h->settled[i])
            continue;
        h->settled[i] = true;
        h->inputs[i]->lost = true;
        h->inputs[i]->settled(h->inputs[i]);
    }
    mp_mqtt.lost(h->mqtt);
    kit_forget(h);
    h->loaded = false;
}

MP_UNUSED static void kit_find(struct mp_host *h)
{
    kit_load(h);
    mp_mqtt.found(h->mqtt);
}

MP_UNUSED static void kit_note(struct mp_host *h, unsigned nth, const char *fn)
{
    h->inputs[nth]->note(h->inputs[nth], mp_record_function(mp_slice_str(fn)));
}

/* All that was kept and noted is on disk. */
MP_UNUSED static bool kit_durable(struct mp_host *h)
{
    return !h->commit.wanted && !h->commit.writing;
}

/* A host with a directory and a config; nothing is open yet. */
static struct mp_host *kit_new(void)
{
    struct mp_host *h = calloc(1, sizeof *h);

    snprintf(h->dir, sizeof h->dir, "/tmp/moonpool-mqtt-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    uv_loop_init(&h->loop);
    mp_log_open(MP_LOG_TEXT, getenv("KIT_LOG") ? MP_DEBUG : MP_ERROR);
    h->config.node = strdup("kit");
    h->config.data = h->dir;
    h->config.mqtt.host = strdup("127.0.0.1");
    h->config.mqtt.client_id = strdup("moonpool-kit");
    h->config.mqtt.prefix = strdup("moonpool");
    h->config.mqtt.keepalive_us = 60 * MP_SECOND;
    h->config.mqtt.hold_us = 250 * MP_MS;
    h->config.mqtt.receive_max = 256;
    h->config.mqtt.max_payload = 64 << 10;
    memset(&mp_metrics, 0, sizeof mp_metrics);
    return h;
}

static void kit_free(struct mp_host *h)
{
    char rm[128];

    if (h->mqtt)
        kit_close(h);
    for (unsigned i = 0; i < h->n_inputs; i++) {
        if (!h->settled[i])
            kit_settle(h, i);
        mp_input_unref(h->inputs[i]);
    }
    if (h->has_broker)
        broker_close(&h->broker);
    uv_run(&h->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&h->loop), 0);
    snprintf(rm, sizeof rm, "rm -rf %s", h->dir);
    assert_int_equal(system(rm), 0);
    free(h->config.node);
    free(h->config.mqtt.host);
    free(h->config.mqtt.client_id);
    free(h->config.mqtt.prefix);
    free(h);
}

static void kit_done(struct mp_output *out, unsigned reason, const char *why)
{
    struct mp_host *h = out->owner;

    assert_true(reason == 0 || why != NULL);
    h->reasons[out - h->outputs] = reason;
    h->n_done++;
}

MP_UNUSED static struct mp_output *
kit_publish(struct mp_host *h, const char *topic, const char *data, uint8_t qos)
{
    struct mp_output *out = &h->outputs[h->n_outputs++];

    assert_true(h->n_outputs < KIT_OUTPUTS);
    *out = (struct mp_output){
        .topic = mp_slice_str(topic),
        .data = mp_slice_str(data),
        .qos = qos,
        .done = kit_done,
        .owner = h,
    };
    h->reasons[out - h->outputs] = 9999;
    mp_mqtt.publish(h->mqtt, out);
    return out;
}

/* ---- with the scripted broker ---- */

#define IN "moonpool-kit"
#define OUT "moonpool-kit-out"

MP_UNUSED static char all[] = "t/#";
MP_UNUSED static const struct mp_route one_route[] = {
    {.filter = all, .qos = 1, .retained = true, .id = 11}};

/* Connected, subscribed, nothing came yet. */
MP_UNUSED static struct mp_host *up_with(const struct mp_route *routes,
                                         unsigned n,
                                         void (*prepare)(struct mp_host *h))
{
    struct mp_host *h = kit_new();

    broker_open(&h->broker, 0);
    h->has_broker = true;
    h->config.mqtt.port = h->broker.port;
    if (prepare)
        prepare(h);
    kit_open(h);
    mp_mqtt.route(h->mqtt, routes, n);
    UNTIL(h, h->linked);
    return h;
}

MP_UNUSED static struct mp_host *up(void)
{
    return up_with(one_route, 1, NULL);
}

MP_UNUSED static int in_of(struct mp_host *h)
{
    return broker_find(&h->broker, IN);
}

/* A QoS 1 reading. */
MP_UNUSED static void send_reading(struct mp_host *h, uint16_t id, bool dup,
                                   const char *payload)
{
    broker_publish(&h->broker, in_of(h),
                   &(struct broker_message){.topic = "t/1/x",
                                            .payload = payload,
                                            .qos = 1,
                                            .id = id,
                                            .dup = dup,
                                            .sub_id = 11});
}

MP_UNUSED static unsigned acks(struct mp_host *h)
{
    return broker_count(&h->broker, in_of(h), B_PUBACK);
}

#endif
