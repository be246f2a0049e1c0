/*
 * counter.c - the least a program can do that counts readings durably.
 *
 * It subscribes at QoS 1 in externally threaded mode with a loop of its own:
 * reads until dry or 256 messages, increments a row for each reading's device
 * in SQLite (WAL, synchronous=FULL, secure_delete off), commits, and writes
 * the acknowledgements then.  Each 100th count of a device is published to
 * alerts/DEVICE.  No functions, no fresh state, no record of what was taken:
 * killed between the commit and the acknowledgement it counts a batch twice,
 * and killed before it publishes it loses what it should have sent.
 *
 *   counter PORT DATABASE [gather]
 *
 * gather: wait 300 us for more to read, when something came.
 *
 * It says `ready` on stdout once subscribed, runs until SIGTERM, and says
 * then how much it received and in how many commits.
 */
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/why.h"

enum { WINDOW = 1000, BATCH = 256, GATHER_NS = 300000, TICK_MS = 100 };

static volatile sig_atomic_t stop;
static struct mosquitto *in, *out;
static sqlite3 *db;
static sqlite3_stmt *increment, *begin, *commit;
static unsigned long received, commits;
static unsigned in_batch, n_answers;
static struct {
    char topic[128], text[32];
} answers[BATCH];

static void on_signal(int sig)
{
    (void)sig;
    stop = 1;
}

static void must(int rc, const char *what)
{
    if (rc == MOSQ_ERR_SUCCESS)
        return;
    fprintf(stderr, "counter: %s: %s\n", what, mosquitto_strerror(rc));
    exit(1);
}

static void must_sql(int rc, const char *what)
{
    if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW)
        return;
    fprintf(stderr, "counter: %s: %s\n", what, sqlite3_errmsg(db));
    exit(1);
}

static void step(sqlite3_stmt *s, const char *what)
{
    must_sql(sqlite3_step(s), what);
    must_sql(sqlite3_reset(s), what);
}

static sqlite3_stmt *prepare(const char *sql)
{
    sqlite3_stmt *s = NULL;

    must_sql(
        sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL),
        sql);
    return s;
}

static void open_database(const char *path)
{
    static const char setup[] =
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "PRAGMA secure_delete=OFF;"
        "CREATE TABLE IF NOT EXISTS counter (device TEXT PRIMARY KEY,"
        " n INTEGER NOT NULL) WITHOUT ROWID";

    must_sql(sqlite3_open(path, &db), "open");
    must_sql(sqlite3_exec(db, setup, NULL, NULL, NULL), "setup");
    begin = prepare("BEGIN IMMEDIATE");
    commit = prepare("COMMIT");
    increment = prepare("INSERT INTO counter (device, n) VALUES (?1, 1)"
                        " ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n");
}

/* sensors/DEVICE/env */
static void on_message(struct mosquitto *m, void *arg,
                       const struct mosquitto_message *msg,
                       const mosquitto_property *props)
{
    const char *device, *end;
    long long n;

    (void)m;
    (void)arg;
    (void)props;
    device = strchr(msg->topic, '/');
    end = device ? strchr(device + 1, '/') : NULL;
    if (!end)
        return;
    if (in_batch++ == 0)
        step(begin, "begin");
    received++;
    sqlite3_bind_text(increment, 1, device + 1, (int)(end - device) - 1,
                      SQLITE_STATIC);
    must_sql(sqlite3_step(increment), "increment");
    n = sqlite3_column_int64(increment, 0);
    must_sql(sqlite3_reset(increment), "increment");
    if (n % 100)
        return;
    snprintf(answers[n_answers].topic, sizeof answers[0].topic, "alerts%.*s",
             (int)(end - device), device);
    snprintf(answers[n_answers++].text, sizeof answers[0].text,
             "{\"count\":%lld}", n);
}

/* All of the batch is durable, then its answers leave. */
static void finish_batch(void)
{
    if (!in_batch)
        return;
    step(commit, "commit");
    commits++;
    in_batch = 0;
    for (unsigned i = 0; i < n_answers; i++)
        must(mosquitto_publish(out, NULL, answers[i].topic,
                               (int)strlen(answers[i].text), answers[i].text, 1,
                               false),
             "publish");
    n_answers = 0;
}

static void on_subscribe(struct mosquitto *m, void *arg, int mid, int n,
                         const int *granted)
{
    (void)m;
    (void)arg;
    (void)mid;
    (void)n;
    (void)granted;
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

static struct mosquitto *client(int port)
{
    struct mosquitto *m = mosquitto_new(NULL, true, NULL);

    MP_ASSERT(m);
    mosquitto_int_option(m, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    mosquitto_int_option(m, MOSQ_OPT_RECEIVE_MAXIMUM, BATCH);
    mosquitto_int_option(m, MOSQ_OPT_SEND_MAXIMUM, WINDOW);
    mosquitto_int_option(m, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_connect_callback_set(m, on_connect);
    mosquitto_subscribe_callback_set(m, on_subscribe);
    mosquitto_message_v5_callback_set(m, on_message);
    must(mosquitto_connect(m, "127.0.0.1", port, 60), "connect");
    mosquitto_threaded_set(m, true);
    return m;
}

static void read_dry(struct mosquitto *m)
{
    struct pollfd fd = {mosquitto_socket(m), POLLIN, 0};

    while (in_batch < BATCH) {
        must(mosquitto_loop_read(m, 1), "read");
        if (poll(&fd, 1, 0) < 1)
            break;
    }
}

int main(int argc, char **argv)
{
    struct sigaction act = {.sa_handler = on_signal};
    const struct timespec pause = {0, GATHER_NS};
    struct mosquitto *both[2];
    bool gather = argc > 3;

    if (argc < 3) {
        fprintf(stderr, "usage: counter PORT DATABASE [gather]\n");
        return 2;
    }
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    open_database(argv[2]);
    must(mosquitto_lib_init(), "init");
    both[0] = in = client(atoi(argv[1]));
    both[1] = out = client(atoi(argv[1]));
    while (!stop) {
        struct pollfd fds[2];

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
        finish_batch();
        for (int i = 0; i < 2; i++) {
            if (mosquitto_want_write(both[i]))
                must(mosquitto_loop_write(both[i], 1), "write");
            must(mosquitto_loop_misc(both[i]), "keep alive");
        }
    }
    printf("received %lu in %lu commits\n", received, commits);
    sqlite3_finalize(begin);
    sqlite3_finalize(commit);
    sqlite3_finalize(increment);
    sqlite3_close(db);
    return 0;
}
