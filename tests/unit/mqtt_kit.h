/*
 * mqtt_kit.h - a host that settles inputs when told to, and a loop that runs
 * until a condition holds, for the tests of the MQTT transport.
 *
 * Included by one .c each: it defines mp_host_input and mp_host_link.
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
#include "tests/unit/broker.h"
#include "transports/mqtt.h"

enum { KIT_INPUTS = 70000, KIT_OUTPUTS = 2000 };

struct mp_host {
    uv_loop_t loop;
    struct mp_config config;
    char dir[64];
    struct broker broker;
    bool has_broker;
    void *mqtt;
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

/* Run until cond holds, at most 8 s. */
#define UNTIL(h, cond)                                                         \
    do {                                                                       \
        int64_t end_ = mp_now_us() + 8 * MP_SECOND;                            \
                                                                               \
        while (!(cond)) {                                                      \
            if (mp_now_us() > end_)                                            \
                fail_msg("never: %s", #cond);                                  \
            kit_turn(h);                                                       \
            usleep(200);                                                       \
        }                                                                      \
    } while (0)

/* Run for a while: what must not happen has its chance. */
MP_UNUSED static void kit_run(struct mp_host *h, int ms)
{
    int64_t end = mp_now_us() + ms * MP_MS;

    while (mp_now_us() < end) {
        kit_turn(h);
        usleep(200);
    }
}

static void kit_open(struct mp_host *h)
{
    struct mp_why why;

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
    h->linked = false;
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
