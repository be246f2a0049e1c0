/*
 * pipeline.c - the whole event path without a broker: the real host and real
 * workers, with a transport that hands over readings from memory and takes
 * every output at once.
 *
 *   pipeline [--events N] [--workers N] [--functions DIR] [--json]
 *
 * Prints invocations/s and CPU seconds per 100,000; fails if an event got
 * lost.  10 % of the readings exceed 30 degrees.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/base/clock.h"
#include "core/host.h"
#include "core/log.h"

enum { DEVICES = 500, WINDOW = 512, SAMPLES = 10 * DEVICES };

static struct {
    struct mp_host host;
    uv_loop_t loop;
    uv_idle_t feed;
    uint64_t want, sent, settled, outputs;
    unsigned in_work;
    int64_t start_us, end_us;
} bench;

static void feed(uv_idle_t *idle);
static void stop(void);

static void settled(struct mp_input *in)
{
    (void)in;
    if (++bench.settled == bench.want)
        bench.end_us = mp_now_us();
    if (--bench.in_work <= WINDOW / 2 || bench.end_us)
        uv_idle_start(&bench.feed, feed);
}

/* The readings are made before the clock starts. */
static struct sample {
    char topic[32], data[128];
} samples[SAMPLES];

static void make_samples(void)
{
    for (unsigned i = 0; i < SAMPLES; i++) {
        unsigned device = i % DEVICES;
        bool hot = i / DEVICES == 0;

        snprintf(samples[i].topic, sizeof samples[i].topic,
                 "sensors/dev-%u/env", device);
        snprintf(samples[i].data, sizeof samples[i].data,
                 "{\"device\":\"dev-%03u\",\"temp\":%.1f,\"hum\":48.2,"
                 "\"seq\":1%08u,\"battery\":3.71,\"ok\":true}",
                 device, hot ? 31.4 : 21.4, i);
    }
}

static void feed(uv_idle_t *idle)
{
    if (bench.end_us) {
        stop();
        return;
    }
    while (bench.in_work < WINDOW && bench.sent < bench.want) {
        const struct sample *s = &samples[bench.sent % SAMPLES];
        struct mp_input in = {
            .settled = settled,
            .type = MP_EVENT_MQTT,
            .qos = 1,
            .received_us = mp_now_us(),
            .time_us = mp_wall_us(),
            .source = MP_S("bench://"),
            .id = mp_slice(&bench.sent, sizeof bench.sent),
            .topic = mp_slice_str(s->topic),
            .data = mp_slice_str(s->data),
        };

        bench.sent++;
        bench.in_work++;
        mp_host_input(&bench.host, mp_input_new(&in));
    }
    uv_idle_stop(idle);
}

/* ---- the transport ---- */

static int t_open(struct mp_host *host, uv_loop_t *loop,
                  const struct mp_config *config, void **self,
                  struct mp_why *why)
{
    (void)host, (void)loop, (void)config, (void)why;
    *self = &bench;
    return 0;
}

static void t_lost(void *self)
{
    (void)self;
}

static void t_pause(void *self, bool paused)
{
    (void)self, (void)paused;
}

static void t_route(void *self, const struct mp_route *routes, unsigned n)
{
    (void)self, (void)routes, (void)n;
    if (bench.start_us)
        return;
    bench.start_us = mp_now_us();
    uv_idle_start(&bench.feed, feed);
}

static void t_publish(void *self, struct mp_output *out)
{
    (void)self;
    bench.outputs++;
    out->done(out, 0, "");
}

static void t_drain(void *self)
{
    (void)self;
}

static bool t_idle(void *self)
{
    (void)self;
    return true;
}

static void t_close(void *self, void (*finished)(void *arg), void *arg)
{
    (void)self;
    finished(arg);
}

static const struct mp_transport transport = {.name = "bench",
                                              .open = t_open,
                                              .route = t_route,
                                              .publish = t_publish,
                                              .lost = t_lost,
                                              .found = t_lost,
                                              .pause = t_pause,
                                              .drain = t_drain,
                                              .idle = t_idle,
                                              .close = t_close};

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void finished(void *arg)
{
    (void)arg;
    uv_walk(&bench.loop, close_handle, NULL);
}

static void stop(void)
{
    uv_idle_stop(&bench.feed);
    mp_host_close(&bench.host, finished, NULL);
}

static void on_settled(void *arg, bool changed)
{
    (void)arg;
    if (!changed) {
        fprintf(stderr, "pipeline: no function was loaded\n");
        exit(1);
    }
}

static void on_link(void *arg, bool up)
{
    (void)arg;
    (void)up;
}

static double cpu_seconds(int who)
{
    struct rusage u;

    getrusage(who, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    struct mp_config config = {0};
    char node[] = "bench", prefix[] = "moonpool";
    char data[] = "/tmp/moonpool-bench-XXXXXX", gone[64];
    char functions[4096] = "tests/bench/functions";
    struct mp_why why;
    bool json = false;
    double seconds, cpu;

    bench.want = 300000;
    config.workers = 1;
    config.scale_max = 1000;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (i + 1 < argc && strcmp(argv[i], "--events") == 0)
            bench.want = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--workers") == 0)
            config.workers = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--functions") == 0)
            snprintf(functions, sizeof functions, "%s", argv[++i]);
    }
    make_samples();
    config.node = node;
    config.functions = functions;
    config.data = mkdtemp(data);
    config.store.max_size = config.store.queue = config.store.outbox = 32 << 20;
    config.store.dead_letters = 1 << 20;
    config.store.commit_interval_us = 5 * MP_MS;
    config.mqtt.prefix = prefix;
    config.mqtt.hold_us = 10 * MP_SECOND;
    mp_log_open(MP_LOG_TEXT, MP_WARN);
    uv_loop_init(&bench.loop);
    uv_idle_init(&bench.loop, &bench.feed);
    bench.host.on_settled = on_settled;
    bench.host.on_link = on_link;
    if (mp_host_open(&bench.host, &bench.loop, &config, &transport, &why)) {
        fprintf(stderr, "pipeline: %s\n", why.text);
        return 1;
    }
    uv_run(&bench.loop, UV_RUN_DEFAULT);
    snprintf(gone, sizeof gone, "rm -rf %s", data);
    (void)!system(gone);
    seconds = (double)(bench.end_us - bench.start_us) / 1e6;
    cpu = cpu_seconds(RUSAGE_SELF) + cpu_seconds(RUSAGE_CHILDREN);
    if (bench.settled != bench.want || bench.outputs * 10 != bench.want) {
        fprintf(stderr, "pipeline: %llu settled, %llu outputs of %llu events\n",
                (unsigned long long)bench.settled,
                (unsigned long long)bench.outputs,
                (unsigned long long)bench.want);
        return 1;
    }
    if (json)
        printf("{\"row\":\"pipeline\",\"events\":%llu,\"workers\":%u,"
               "\"rate\":%.0f,\"cpu_per_100k\":%.4f}\n",
               (unsigned long long)bench.want, config.workers,
               (double)bench.want / seconds, cpu / (double)bench.want * 100000);
    else
        printf("pipeline  %.0f invocations/s  %.3f CPU s per 100,000  (%u "
               "worker)\n",
               (double)bench.want / seconds, cpu / (double)bench.want * 100000,
               config.workers);
    return 0;
}
