/*
 * ceiling.c - the least a program can do that does the same job.
 *
 * It subscribes at QoS 1, looks for `"temp":N` in each payload, and where N
 * is above 30 publishes what examples/overheat would to alerts/DEVICE, on a
 * second connection.
 * No functions, no fresh state, no held acknowledgements, nothing else.  What
 * moonpool does beyond this is what it costs, so the best of its three modes
 * is the ceiling moonpool is measured against:
 *
 *   loop     mosquitto_loop, as most programs do: the acknowledgement goes
 *            out before the callback, each answer in a write of its own
 *   own      a loop of our own in externally threaded mode: read until dry,
 *            then write once
 *   gather   as own, after waiting 300 us for more to read
 *
 *   ceiling PORT MODE [3.1.1]
 *
 * It says `ready` on stdout once subscribed, runs until SIGTERM, and says
 * then how much it received and answered.
 */
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/why.h"

enum { WINDOW = 1000, GATHER_NS = 300000, TICK_MS = 100 };

static volatile sig_atomic_t stop;
static struct mosquitto *in, *out;
static unsigned long received, answered, confirmed;
static bool subscribed;

static void on_signal(int sig)
{
    (void)sig;
    stop = 1;
}

static void must(int rc, const char *what)
{
    if (rc == MOSQ_ERR_SUCCESS)
        return;
    fprintf(stderr, "ceiling: %s: %s\n", what, mosquitto_strerror(rc));
    exit(1);
}

/* The number behind "temp": in text that ends with NUL, which libmosquitto
 * puts behind each payload. */
static const char *temp_of(const char *text)
{
    const char *at = strstr(text, "\"temp\":");

    return at ? at + strlen("\"temp\":") : NULL;
}

/* sensors/DEVICE/env -> alerts/DEVICE, {"limit":30,"temp":N} */
static void on_message(struct mosquitto *m, void *arg,
                       const struct mosquitto_message *msg,
                       const mosquitto_property *props)
{
    const char *temp, *device, *end;
    char topic[128], answer[64];
    int len;

    (void)m;
    (void)arg;
    (void)props;
    received++;
    temp = msg->payloadlen > 0 ? temp_of(msg->payload) : NULL;
    if (!temp || strtod(temp, NULL) <= 30)
        return;
    device = strchr(msg->topic, '/');
    end = device ? strchr(device + 1, '/') : NULL;
    if (!end)
        return;
    snprintf(topic, sizeof topic, "alerts%.*s", (int)(end - device), device);
    len = snprintf(answer, sizeof answer, "{\"limit\":30,\"temp\":%.*s}",
                   (int)strspn(temp, "0123456789.-"), temp);
    must(mosquitto_publish(out, NULL, topic, len, answer, 1, false), "publish");
    answered++;
}

static void on_publish(struct mosquitto *m, void *arg, int mid)
{
    (void)m;
    (void)arg;
    (void)mid;
    confirmed++;
}

static void on_subscribe(struct mosquitto *m, void *arg, int mid, int n,
                         const int *granted)
{
    (void)m;
    (void)arg;
    (void)mid;
    (void)n;
    (void)granted;
    subscribed = true;
    puts("ready");
    fflush(stdout);
}

static void on_connect(struct mosquitto *m, void *arg, int rc)
{
    (void)arg;
    must(rc, "connect");
    if (m == in)
        must(mosquitto_subscribe(m, NULL, "sensors/+/env", 1), "subscribe");
}

static struct mosquitto *client(int port, bool v5)
{
    struct mosquitto *m = mosquitto_new(NULL, true, NULL);

    MP_ASSERT(m);
    mosquitto_int_option(m, MOSQ_OPT_PROTOCOL_VERSION,
                         v5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
    mosquitto_int_option(m, MOSQ_OPT_RECEIVE_MAXIMUM, WINDOW);
    mosquitto_int_option(m, MOSQ_OPT_SEND_MAXIMUM, WINDOW);
    mosquitto_int_option(m, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_connect_callback_set(m, on_connect);
    mosquitto_subscribe_callback_set(m, on_subscribe);
    mosquitto_message_v5_callback_set(m, on_message);
    mosquitto_publish_callback_set(m, on_publish);
    must(mosquitto_connect(m, "127.0.0.1", port, 60), "connect");
    return m;
}

/* As the manual has it; the second connection gets its turn while an answer
 * of it is not confirmed. */
static void run_default(void)
{
    while (!stop) {
        must(mosquitto_loop(in, subscribed ? TICK_MS : 1, 1), "loop");
        if (!subscribed || confirmed < answered)
            must(mosquitto_loop(out, 0, 1), "loop");
    }
}

static void read_dry(struct mosquitto *m)
{
    struct pollfd fd = {mosquitto_socket(m), POLLIN, 0};

    for (int n = 0; n < WINDOW; n++) {
        must(mosquitto_loop_read(m, 1), "read");
        if (poll(&fd, 1, 0) < 1)
            break;
    }
}

static void run_own(bool gather)
{
    struct pollfd fds[2];
    struct mosquitto *both[2] = {in, out};
    const struct timespec pause = {0, GATHER_NS};

    while (!stop) {
        for (int i = 0; i < 2; i++) {
            fds[i] = (struct pollfd){mosquitto_socket(both[i]), POLLIN, 0};
            if (mosquitto_want_write(both[i]))
                fds[i].events |= POLLOUT;
        }
        if (poll(fds, 2, TICK_MS) < 0)
            continue; /* a signal: look at stop */
        if (gather && fds[0].revents & POLLIN)
            nanosleep(&pause, NULL);
        for (int i = 0; i < 2; i++)
            if (fds[i].revents & POLLIN)
                read_dry(both[i]);
        for (int i = 0; i < 2; i++) {
            if (mosquitto_want_write(both[i]))
                must(mosquitto_loop_write(both[i], 1), "write");
            must(mosquitto_loop_misc(both[i]), "keep alive");
        }
    }
}

int main(int argc, char **argv)
{
    struct sigaction act = {.sa_handler = on_signal};
    bool own, v5;

    if (argc < 3) {
        fprintf(stderr, "usage: ceiling PORT loop|own|gather [3.1.1]\n");
        return 2;
    }
    own = strcmp(argv[2], "loop") != 0;
    v5 = argc < 4 || strcmp(argv[3], "3.1.1") != 0;
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    must(mosquitto_lib_init(), "init");
    in = client(atoi(argv[1]), v5);
    out = client(atoi(argv[1]), v5);
    if (own) {
        mosquitto_threaded_set(in, true);
        mosquitto_threaded_set(out, true);
        run_own(strcmp(argv[2], "gather") == 0);
    } else {
        run_default();
    }
    printf("received %lu, answered %lu, confirmed %lu\n", received, answered,
           confirmed);
    return 0;
}
