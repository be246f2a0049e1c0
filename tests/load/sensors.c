/*
 * sensors.c - simulated sensors: many devices on one MQTT 5 connection.
 *
 *   sensors --port P | --mqtt mqtt://HOST:PORT
 *           [--host H] [--devices 100] [--topic sensors/{}/env]
 *           [--count N] [--seconds S] [--rate MESSAGES/S | --burst]
 *           [--exceed 10] [--qos 1] [--window 200] [--seed N]
 *           [--alerts FILTER]
 *
 * Each device sends readings of about 90 bytes; of a hundred, --exceed are
 * above 30.0.  With --rate they are spread evenly; with --count alone they
 * leave as fast as the broker confirms them; else in bursts, every 200 ms one
 * reading a device.  With --alerts it also subscribes, and matches what comes
 * back on a topic that ends in the device's name with the reading it answers
 * (by "seq", else by "temp"): end to end latency, with its quantiles.
 *
 * The library walks all unconfirmed messages at each step, so there is a
 * window.  At the end one line of JSON says what happened.
 */
#include <errno.h>
#include <getopt.h>
#include <mosquitto.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/why.h"

enum { SAMPLES_MAX = 1 << 20, OPEN_MAX = 256 };

#define BURST_EVERY (200 * MP_MS)
/* After the last confirmation, alerts may still come for this long. */
#define LINGER (2 * MP_SECOND)

/* A reading above the limit whose alert has not come yet. */
struct open_reading {
    int64_t sent_us;
    uint64_t seq;
    int temp; /* hundredths */
};

struct device {
    uint64_t seq;
    double due; /* per cent; above the limit when it reaches 100 */
    struct open_reading open[OPEN_MAX]; /* a ring */
    unsigned first, n;
};

static struct {
    const char *host, *topic, *alerts;
    int port, devices, qos, window;
    long count;
    double seconds, rate, exceed;
    bool burst;
    unsigned seed;
} arg = {
    .host = "127.0.0.1",
    .topic = "sensors/{}/env",
    .port = 1883,
    .devices = 100,
    .qos = 1,
    .window = 200,
    .exceed = 10,
    .seed = 1,
};

static struct device *devices;
static long sent, confirmed, exceeded, alerts, repeats;
static bool subscribed, connected[2];
static volatile sig_atomic_t stopping;
static uint32_t *samples;
static size_t n_samples;
static int64_t last_us;
static uint64_t chance_state;

static void on_signal(int number MP_UNUSED)
{
    stopping = 1;
}

static uint32_t chance(void)
{
    chance_state = chance_state * UINT64_C(6364136223846793005) + 1;
    return (uint32_t)(chance_state >> 33);
}

static _Noreturn void die(const char *what, int rc)
{
    fprintf(stderr, "sensors: %s: %s\n", what,
            rc == MOSQ_ERR_ERRNO ? strerror(errno) : mosquitto_strerror(rc));
    exit(1);
}

/* ---- what comes back ---- */

static void sample(int64_t us)
{
    if (n_samples < SAMPLES_MAX)
        samples[n_samples++] = (uint32_t)us;
}

/* The number behind "name": in a flat JSON text. */
static bool number_of(const char *text, const char *name, double *value)
{
    const char *at = strstr(text, name);

    if (!at)
        return false;
    at += strlen(name);
    while (*at == ' ' || *at == ':')
        at++;
    return sscanf(at, "%lf", value) == 1;
}

static bool answers(const struct open_reading *r, const char *text)
{
    double value;

    if (number_of(text, "\"seq\"", &value))
        return (uint64_t)value == r->seq;
    if (number_of(text, "\"temp\"", &value))
        return (int)(value * 100 + 0.5) == r->temp;
    return true;
}

static void alert_came(const char *topic, const char *text)
{
    const char *name = strrchr(topic, '-');
    unsigned long at = name ? strtoul(name + 1, NULL, 10) : 0;
    struct device *d;

    alerts++;
    last_us = mp_now_us();
    if (!name || at >= (unsigned long)arg.devices)
        return;
    d = &devices[at];
    for (unsigned i = 0; i < d->n; i++) {
        struct open_reading *r = &d->open[(d->first + i) % OPEN_MAX];

        if (!answers(r, text))
            continue;
        sample(last_us - r->sent_us);
        d->first = (d->first + i + 1) % OPEN_MAX;
        d->n -= i + 1;
        return;
    }
    repeats++;
}

static void on_message(struct mosquitto *m MP_UNUSED, void *obj MP_UNUSED,
                       const struct mosquitto_message *msg)
{
    char text[512];
    size_t len = (size_t)msg->payloadlen;

    len = len < sizeof text - 1 ? len : sizeof text - 1;
    memcpy(text, msg->payload ? msg->payload : "", len);
    text[len] = '\0';
    alert_came(msg->topic, text);
}

static void on_publish(struct mosquitto *m MP_UNUSED, void *obj MP_UNUSED,
                       int mid MP_UNUSED)
{
    confirmed++;
    last_us = mp_now_us();
}

static void on_subscribe(struct mosquitto *m MP_UNUSED, void *obj MP_UNUSED,
                         int mid MP_UNUSED, int n MP_UNUSED,
                         const int *granted MP_UNUSED)
{
    subscribed = true;
}

static void on_connect(struct mosquitto *m, void *obj, int rc)
{
    if (rc)
        die("connect", MOSQ_ERR_CONN_REFUSED);
    *(bool *)obj = true;
    if (obj == &connected[1])
        mosquitto_subscribe(m, NULL, arg.alerts, 1);
}

/* ---- what is sent ---- */

static void device_name(char *name, size_t size, int nth)
{
    snprintf(name, size, "dev-%03d", nth);
}

static void publish(struct mosquitto *m, int nth)
{
    struct device *d = &devices[nth];
    const char *hole = strstr(arg.topic, "{}");
    char name[32], topic[256], text[160];
    bool high;
    int temp, len, rc;

    /* Exactly so many of a hundred, at each device at its own time. */
    d->due += arg.exceed;
    high = d->due >= 100;
    if (high)
        d->due -= 100;
    temp = high ? 3001 + (int)(chance() % 900) : 1800 + (int)(chance() % 1200);
    device_name(name, sizeof name, nth);
    snprintf(topic, sizeof topic, "%.*s%s%s",
             hole ? (int)(hole - arg.topic) : (int)strlen(arg.topic), arg.topic,
             hole ? name : "", hole ? hole + 2 : "");
    d->seq++;
    len = snprintf(text, sizeof text,
                   "{\"device\":\"%s\",\"temp\":%d.%02d,\"hum\":%d.%d,"
                   "\"seq\":%llu,\"battery\":3.61,\"rssi\":-71}",
                   name, temp / 100, temp % 100, 30 + (int)(chance() % 40),
                   (int)(chance() % 10), (unsigned long long)d->seq);
    if (high) {
        if (d->n == OPEN_MAX) {
            d->first = (d->first + 1) % OPEN_MAX;
            d->n--;
        }
        d->open[(d->first + d->n++) % OPEN_MAX] =
            (struct open_reading){mp_now_us(), d->seq, temp};
        exceeded++;
    }
    rc = mosquitto_publish(m, NULL, topic, len, text, arg.qos, false);
    if (rc)
        die("publish", rc);
    sent++;
}

/* How many may leave now. */
static long due(int64_t start_us, int64_t now_us)
{
    long left = arg.count ? arg.count - sent : arg.window;
    long room = arg.window - (sent - confirmed);
    long want;

    if (arg.rate > 0)
        want = (long)((double)(now_us - start_us) * arg.rate / MP_SECOND);
    else if (arg.burst)
        want = ((now_us - start_us) / BURST_EVERY + 1) * arg.devices;
    else
        want = sent + room;
    want -= sent;
    want = want < left ? want : left;
    return want < room ? want : room;
}

/* ---- the loop ---- */

static void service(struct mosquitto *m, short events)
{
    int rc = 0;

    if (events & (POLLIN | POLLERR | POLLHUP))
        rc = mosquitto_loop_read(m, 1);
    if (!rc && mosquitto_want_write(m))
        rc = mosquitto_loop_write(m, 1);
    if (rc && !stopping)
        die("connection", rc);
}

static void turn(struct mosquitto *m[2], int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = -1}, {.fd = -1}};

    for (int i = 0; i < 2; i++) {
        if (!m[i])
            continue;
        fds[i].fd = mosquitto_socket(m[i]);
        fds[i].events =
            (short)(POLLIN | (mosquitto_want_write(m[i]) ? POLLOUT : 0));
    }
    if (poll(fds, 2, timeout_ms) <= 0)
        return;
    for (int i = 0; i < 2; i++)
        if (m[i] && fds[i].revents)
            service(m[i], fds[i].revents);
}

static bool is_over(int64_t start_us, int64_t now_us)
{
    bool all = arg.count && sent >= arg.count && confirmed >= sent;

    if (stopping)
        return true;
    if (arg.seconds > 0 &&
        (double)(now_us - start_us) / MP_SECOND >= arg.seconds)
        return confirmed >= sent;
    if (!all)
        return false;
    return !arg.alerts || alerts >= exceeded || now_us - last_us > LINGER;
}

static void run(struct mosquitto *m[2], int64_t start_us)
{
    int64_t misc_us = start_us;
    bool ended = false;

    for (;;) {
        int64_t now = mp_now_us();
        long n;

        if (is_over(start_us, now))
            return;
        ended |= arg.seconds > 0 &&
                 (double)(now - start_us) / MP_SECOND >= arg.seconds;
        n = ended ? 0 : due(start_us, now);
        for (long i = 0; i < n; i++)
            publish(m[0], (int)(sent % arg.devices));
        if (n > 0)
            mosquitto_loop_write(m[0], 1);
        turn(m, arg.rate > 0 || arg.burst ? 1 : 10);
        if (now - misc_us > MP_SECOND) {
            misc_us = now;
            mosquitto_loop_misc(m[0]);
            if (m[1])
                mosquitto_loop_misc(m[1]);
        }
    }
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static uint32_t quantile(double q)
{
    return n_samples ? samples[(size_t)(q * (double)(n_samples - 1))] : 0;
}

static struct mosquitto *open_connection(bool *flag)
{
    struct mosquitto *m = mosquitto_new(NULL, true, flag);
    int rc;

    if (!m)
        die("memory", MOSQ_ERR_NOMEM);
    mosquitto_int_option(m, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_int_option(m, MOSQ_OPT_SEND_MAXIMUM, arg.window);
    mosquitto_int_option(m, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_threaded_set(m, true);
    mosquitto_connect_callback_set(m, on_connect);
    mosquitto_publish_callback_set(m, on_publish);
    mosquitto_message_callback_set(m, on_message);
    mosquitto_subscribe_callback_set(m, on_subscribe);
    rc = mosquitto_connect(m, arg.host, arg.port, 60);
    if (rc)
        die("connect", rc);
    return m;
}

/* ---- the command line ---- */

static const struct option options[] = {
    {"host", 1, NULL, 'h'},    {"port", 1, NULL, 'p'},
    {"devices", 1, NULL, 'd'}, {"topic", 1, NULL, 't'},
    {"count", 1, NULL, 'c'},   {"seconds", 1, NULL, 's'},
    {"rate", 1, NULL, 'r'},    {"burst", 0, NULL, 'b'},
    {"exceed", 1, NULL, 'e'},  {"qos", 1, NULL, 'q'},
    {"window", 1, NULL, 'w'},  {"seed", 1, NULL, 'S'},
    {"alerts", 1, NULL, 'a'},  {"mqtt", 1, NULL, 'm'},
    {NULL, 0, NULL, 0},
};

/* mqtt://HOST[:PORT]; HOST may be [::1]. */
static void take_url(const char *url)
{
    static char host[256];

    if (sscanf(url, "mqtt://[%255[0-9a-fA-F:.]]:%d", host, &arg.port) < 1 &&
        sscanf(url, "mqtt://%255[^:/]:%d", host, &arg.port) < 1) {
        fprintf(stderr, "sensors: '%s' is not mqtt://HOST:PORT\n", url);
        exit(2);
    }
    arg.host = host;
}

static void take_option(int c)
{
    switch (c) {
    case 'h':
        arg.host = optarg;
        break;
    case 'p':
        arg.port = atoi(optarg);
        break;
    case 'd':
        arg.devices = atoi(optarg);
        break;
    case 't':
        arg.topic = optarg;
        break;
    case 'c':
        arg.count = atol(optarg);
        break;
    case 's':
        arg.seconds = atof(optarg);
        break;
    case 'r':
        arg.rate = atof(optarg);
        break;
    case 'b':
        arg.burst = true;
        break;
    case 'e':
        arg.exceed = atof(optarg);
        break;
    case 'q':
        arg.qos = atoi(optarg);
        break;
    case 'w':
        arg.window = atoi(optarg);
        break;
    case 'S':
        arg.seed = (unsigned)atoi(optarg);
        break;
    case 'a':
        arg.alerts = optarg;
        break;
    case 'm':
        take_url(optarg);
        break;
    default:
        fprintf(stderr, "usage: sensors --port P [--count N] ...; see the "
                        "head of sensors.c\n");
        exit(2);
    }
}

static void take_arguments(int argc, char **argv)
{
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        take_option(c);
    if (arg.devices < 1 || arg.devices > 10000 || arg.window < 1 ||
        arg.qos < 0 || arg.qos > 1) {
        fprintf(stderr, "sensors: --devices 1-10000, --window from 1, --qos "
                        "0 or 1\n");
        exit(2);
    }
    if (!arg.count && arg.rate <= 0)
        arg.burst = true;
}

int main(int argc, char **argv)
{
    struct mosquitto *m[2] = {NULL, NULL};
    struct sigaction action = {.sa_handler = on_signal};
    int64_t start;
    double seconds;

    take_arguments(argc, argv);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    chance_state = arg.seed;
    devices = mp_zalloc((size_t)arg.devices * sizeof *devices);
    for (int i = 0; i < arg.devices; i++)
        devices[i].due = chance() % 100;
    samples = mp_alloc(SAMPLES_MAX * sizeof *samples);
    mosquitto_lib_init();
    m[0] = open_connection(&connected[0]);
    if (arg.alerts)
        m[1] = open_connection(&connected[1]);
    while (!stopping && !(connected[0] && (subscribed || !arg.alerts)))
        turn(m, 100);
    start = last_us = mp_now_us();
    run(m, start);
    seconds =
        (double)((arg.count && !stopping ? last_us : mp_now_us()) - start) /
        (double)MP_SECOND;
    qsort(samples, n_samples, sizeof *samples, by_size);
    printf("{\"sent\":%ld,\"confirmed\":%ld,\"exceeded\":%ld,\"alerts\":%ld,"
           "\"repeats\":%ld,\"seconds\":%.3f,\"p50_us\":%u,\"p99_us\":%u}\n",
           sent, confirmed, exceeded, alerts, repeats, seconds, quantile(0.5),
           quantile(0.99));
    for (int i = 0; i < 2; i++) {
        if (!m[i])
            continue;
        mosquitto_disconnect(m[i]);
        mosquitto_loop_write(m[i], 1);
        mosquitto_destroy(m[i]);
    }
    mosquitto_lib_cleanup();
    free(devices);
    free(samples);
    return 0;
}
