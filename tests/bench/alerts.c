/*
 * alerts.c - watches from outside what comes out: how many alerts, how fast,
 * how late.  It knows nothing of what stands between sensors and alerts, so
 * moonpool and its ceiling are measured by the same eye.
 *
 *   alerts PORT count N           until N alerts came and no more follow, or
 *                                 none came for 10 s
 *   alerts PORT steady RATE S     publishes RATE readings a second for S
 *                                 seconds, evenly, every tenth of them too
 *                                 hot, and finds each alert's reading by its
 *                                 temperature, which none shares
 *
 * It says `ready` once subscribed and ends with one line of JSON.  Two alerts
 * of one id (user property, MQTT 5) are one and a duplicate.
 */
#include <math.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/base/slice.h"

#define IDLE_US INT64_C(10000000) /* nothing for so long: it is over */
#define AFTER_US INT64_C(300000)  /* all came: wait so long for duplicates */

enum { HOT_EVERY = 10, SEEN_SLOTS = 1 << 20, DEVICES = 100 };

static struct {
    unsigned long received, duplicates;
    int64_t first_us, last_us;
    bool ready;
    uint64_t *seen;    /* hashes of ids, open addressing; 0: free */
    int64_t *sent_us;  /* steady: when reading n left */
    int64_t *late_us;  /* steady: how long each alert took */
    unsigned long max; /* of sent_us and late_us */
} w;

static void must(int rc, const char *what)
{
    if (rc == MOSQ_ERR_SUCCESS)
        return;
    fprintf(stderr, "alerts: %s: %s\n", what, mosquitto_strerror(rc));
    exit(1);
}

static bool seen_before(uint64_t hash)
{
    size_t at = hash & (SEEN_SLOTS - 1);

    for (; w.seen[at]; at = (at + 1) & (SEEN_SLOTS - 1))
        if (w.seen[at] == hash)
            return true;
    w.seen[at] = hash;
    return false;
}

static uint64_t hash_of(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return h ? h : 1;
}

static bool is_duplicate(const mosquitto_property *props)
{
    const mosquitto_property *at = props;
    char *name = NULL, *value = NULL;
    bool skip = false, found = false;

    while (!found && (at = mosquitto_property_read_string_pair(
                          at, MQTT_PROP_USER_PROPERTY, &name, &value, skip))) {
        if (strcmp(name, "id") == 0)
            found = seen_before(hash_of(value));
        free(name);
        free(value);
        skip = true;
    }
    return found;
}

static void on_message(struct mosquitto *m, void *arg,
                       const struct mosquitto_message *msg,
                       const mosquitto_property *props)
{
    const char *temp;
    unsigned long n;

    (void)m;
    (void)arg;
    if (is_duplicate(props)) {
        w.duplicates++;
        return;
    }
    w.last_us = mp_now_us();
    if (!w.received)
        w.first_us = w.last_us;
    if (w.sent_us && msg->payloadlen > 0) {
        temp = strstr(msg->payload, "\"temp\":");
        n = temp ? (unsigned long)lround((strtod(temp + 7, NULL) - 31) * 1e6)
                 : w.max;
        if (n < w.max && w.received < w.max)
            w.late_us[w.received] = w.last_us - w.sent_us[n];
    }
    w.received++;
}

static void on_subscribe(struct mosquitto *m, void *arg, int mid, int n,
                         const int *granted)
{
    (void)m;
    (void)arg;
    (void)mid;
    (void)n;
    (void)granted;
    w.ready = true;
    puts("ready");
    fflush(stdout);
}

static void on_connect(struct mosquitto *m, void *arg, int rc)
{
    (void)arg;
    must(rc, "connect");
    must(mosquitto_subscribe(m, NULL, "alerts/#", 1), "subscribe");
}

static struct mosquitto *client(int port)
{
    struct mosquitto *m = mosquitto_new(NULL, true, NULL);

    MP_ASSERT(m);
    mosquitto_int_option(m, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_int_option(m, MOSQ_OPT_RECEIVE_MAXIMUM, 1000);
    mosquitto_int_option(m, MOSQ_OPT_SEND_MAXIMUM, 1000);
    mosquitto_int_option(m, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_message_v5_callback_set(m, on_message);
    must(mosquitto_connect(m, "127.0.0.1", port, 60), "connect");
    mosquitto_threaded_set(m, true);
    return m;
}

/* One turn of the loop for n connections, timeout as for ppoll. */
static void turn(struct mosquitto **m, int n, int64_t timeout_us)
{
    struct pollfd fds[2];
    struct timespec ts = {timeout_us / 1000000, timeout_us % 1000000 * 1000};

    for (int i = 0; i < n; i++) {
        fds[i] = (struct pollfd){mosquitto_socket(m[i]), POLLIN, 0};
        if (mosquitto_want_write(m[i]))
            fds[i].events |= POLLOUT;
    }
    if (ppoll(fds, (nfds_t)n, &ts, NULL) < 0)
        return;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 1000 && fds[i].revents & POLLIN; k++) {
            must(mosquitto_loop_read(m[i], 1), "read");
            if (poll(&fds[i], 1, 0) < 1)
                break;
        }
        if (mosquitto_want_write(m[i]))
            must(mosquitto_loop_write(m[i], 1), "write");
        must(mosquitto_loop_misc(m[i]), "keep alive");
    }
}

static void run_count(struct mosquitto *in, unsigned long expected)
{
    int64_t now = mp_now_us(), last = now;
    unsigned long before = 0;

    while (now - last < (w.received < expected ? IDLE_US : AFTER_US)) {
        turn(&in, 1, 50000);
        now = mp_now_us();
        if (w.received + w.duplicates != before || !w.ready)
            last = now;
        before = w.received + w.duplicates;
    }
}

static void publish_reading(struct mosquitto *m, unsigned long n)
{
    char topic[64], text[128];
    bool hot = n % HOT_EVERY == 0;
    int len;

    snprintf(topic, sizeof topic, "sensors/bench-%lu/env", n / 10 % DEVICES);
    len = snprintf(text, sizeof text,
                   "{\"temp\":%.6f,\"hum\":45.2,\"bat\":3.01,\"rssi\":-71,"
                   "\"seq\":%lu,\"unit\":\"C\",\"site\":\"hall-3\"}",
                   (hot ? 31 : 20) + (double)n / 1e6, 100000 + n);
    w.sent_us[n] = mp_now_us();
    must(mosquitto_publish(m, NULL, topic, len, text, 1, false), "publish");
}

static void run_steady(struct mosquitto *in, struct mosquitto *out,
                       unsigned long rate, unsigned long seconds)
{
    struct mosquitto *both[2] = {in, out};
    int64_t start, now, due;

    while (!w.ready)
        turn(both, 2, 50000);
    start = mp_now_us();
    for (unsigned long n = 0; n < rate * seconds;) {
        now = mp_now_us();
        due = start + (int64_t)(n * 1000000 / rate);
        if (now >= due)
            publish_reading(out, n++);
        turn(both, 2, now >= due ? 0 : due - now);
    }
    for (due = mp_now_us() + 2000000;
         mp_now_us() < due && w.received < w.max / HOT_EVERY;)
        turn(both, 2, 50000);
}

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void print_result(void)
{
    printf("{\"received\":%lu,\"duplicates\":%lu,\"seconds\":%.6f", w.received,
           w.duplicates, (double)(w.last_us - w.first_us) / 1e6);
    if (w.sent_us && w.received) {
        /* The first tenth is warm-up: once, while the connections are new,
         * one kernel or another delays an acknowledgement by 40 ms. */
        unsigned long n = w.received - w.received / 10;
        int64_t *late = w.late_us + w.received / 10;

        qsort(late, n, sizeof *late, by_size);
        printf(",\"p50_us\":%lld,\"p99_us\":%lld,\"max_us\":%lld",
               (long long)late[n / 2], (long long)late[n * 99 / 100],
               (long long)late[n - 1]);
    }
    puts("}");
}

int main(int argc, char **argv)
{
    bool steady = argc == 5 && strcmp(argv[2], "steady") == 0;
    unsigned long a, b;
    struct mosquitto *in;

    if (!steady && (argc != 4 || strcmp(argv[2], "count") != 0)) {
        fprintf(stderr, "usage: alerts PORT count N | steady RATE SECONDS\n");
        return 2;
    }
    a = strtoul(argv[3], NULL, 10);
    b = steady ? strtoul(argv[4], NULL, 10) : 1;
    if (a == 0 || b == 0 || a * b > SEEN_SLOTS / 2)
        return 2;
    w.seen = mp_zalloc(SEEN_SLOTS * sizeof *w.seen);
    must(mosquitto_lib_init(), "init");
    in = client(atoi(argv[1]));
    mosquitto_connect_callback_set(in, on_connect);
    mosquitto_subscribe_callback_set(in, on_subscribe);
    if (steady) {
        w.max = a * b;
        w.sent_us = mp_zalloc(w.max * sizeof *w.sent_us);
        w.late_us = mp_zalloc(w.max * sizeof *w.late_us);
        run_steady(in, client(atoi(argv[1])), a, b);
    } else {
        run_count(in, a);
    }
    print_result();
    return 0;
}
