/*
 * test_mqtt_real.c - the transport against a real mosquitto, which each test
 * starts on a free port with its files in the test's directory.
 */
#include "tests/unit/mqtt_kit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static uint16_t free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET};
    socklen_t len = sizeof addr;

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

static void write_file(struct mp_host *h, const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", h->dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static bool answers(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    int rc;

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    rc = connect(fd, (struct sockaddr *)&addr, sizeof addr);
    close(fd);
    return rc == 0;
}

static pid_t broker_start(struct mp_host *h, const char *more)
{
    char conf[1024], path[128];
    pid_t pid;

    if (!h->config.mqtt.port)
        h->config.mqtt.port = free_port();
    snprintf(conf, sizeof conf,
             "listener %u 127.0.0.1\n%s%s"
             "max_queued_messages 0\nmax_inflight_messages 1000\n"
             "log_dest none\n",
             h->config.mqtt.port, geteuid() == 0 ? "user root\n" : "", more);
    write_file(h, "mosquitto.conf", conf);
    snprintf(path, sizeof path, "%s/mosquitto.conf", h->dir);
    pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        /* A failed test must not leave it behind. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(null, 1);
        dup2(null, 2);
        execlp("mosquitto", "mosquitto", "-c", path, (char *)NULL);
        execl("/usr/sbin/mosquitto", "mosquitto", "-c", path, (char *)NULL);
        _exit(127);
    }
    UNTIL(h, answers(h->config.mqtt.port));
    return pid;
}

static void broker_end(pid_t pid, int with)
{
    kill(pid, with);
    waitpid(pid, NULL, 0);
}

static void come_up(struct mp_host *h)
{
    kit_open(h);
    mp_mqtt.route(h->mqtt, one_route, 1);
    UNTIL(h, h->linked);
}

static void a_thousand_messages_go_round_once_and_in_order(void **state)
{
    struct mp_host *h = kit_new();
    pid_t pid = broker_start(h, "allow_anonymous true\n");
    char text[1000][12];

    (void)state;
    h->settle_at_once = true;
    come_up(h);
    for (int i = 0; i < 1000; i++) {
        snprintf(text[i], sizeof text[i], "%d", i);
        kit_publish(h, "t/1", text[i], 1);
    }
    UNTIL(h, h->n_done == 1000 && h->n_inputs == 1000);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(h->reasons[i], 0);
        assert_true(mp_slice_is(h->inputs[i]->data, text[i]));
        assert_int_equal(h->inputs[i]->routes[0], 11);
        assert_int_equal(h->inputs[i]->n_routes, 1);
    }
    UNTIL(h, mp_mqtt.idle(h->mqtt));
    kit_free(h);
    broker_end(pid, SIGTERM);
}

/* What was not settled when we stopped comes again, what was doesn't. */
static void a_restart_brings_back_only_what_was_not_settled(void **state)
{
    struct mp_host *h = kit_new();
    pid_t pid = broker_start(h, "allow_anonymous true\n");
    char id[64];

    (void)state;
    come_up(h);
    kit_publish(h, "t/1", "first", 1);
    UNTIL(h, h->n_inputs == 1);
    kit_settle(h, 0);
    UNTIL(h, mp_mqtt.idle(h->mqtt));
    kit_run(h, 20);
    kit_publish(h, "t/1", "second", 1);
    kit_publish(h, "t/1", "third", 1);
    UNTIL(h, h->n_inputs == 3 && h->n_done == 3);
    kit_settle(h, 1); /* but not 2: neither ack may leave */
    assert_true(h->inputs[1]->id.len < sizeof id);
    memcpy(id, h->inputs[1]->id.ptr, h->inputs[1]->id.len);
    kit_close(h);
    come_up(h);
    UNTIL(h, h->n_inputs == 5);
    kit_run(h, 50);
    assert_int_equal(h->n_inputs, 5);
    assert_true(mp_slice_is(h->inputs[3]->data, "second"));
    assert_true(mp_slice_is(h->inputs[4]->data, "third"));
    assert_memory_equal(h->inputs[3]->id.ptr, id, h->inputs[1]->id.len);
    kit_free(h);
    broker_end(pid, SIGTERM);
}

static void outputs_wait_for_a_broker_that_is_away(void **state)
{
    struct mp_host *h = kit_new();
    pid_t pid = broker_start(h, "allow_anonymous true\n");

    (void)state;
    h->settle_at_once = true;
    come_up(h);
    broker_end(pid, SIGKILL);
    UNTIL(h, !h->linked);
    for (int i = 0; i < 300; i++)
        kit_publish(h, "t/1", "x", 1);
    kit_run(h, 100);
    assert_int_equal(h->n_done, 0);
    pid = broker_start(h, "allow_anonymous true\n");
    UNTIL(h, h->n_done == 300 && h->linked);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(h->reasons[i], 0);
    kit_free(h);
    broker_end(pid, SIGTERM);
}

static void another_client_with_our_id_is_waited_out(void **state)
{
    struct mp_host *h = kit_new();
    pid_t pid = broker_start(h, "allow_anonymous true\n");
    char cmd[256];

    (void)state;
    come_up(h);
    snprintf(cmd, sizeof cmd,
             "mosquitto_pub -V 5 -p %u -i moonpool-kit -t x -m y",
             h->config.mqtt.port);
    assert_int_equal(system(cmd), 0);
    UNTIL(h, !h->linked);
    UNTIL(h, h->linked);
    kit_free(h);
    broker_end(pid, SIGTERM);
}

static void the_retained_status_follows_us(void **state)
{
    struct mp_host *h = kit_new();
    pid_t pid = broker_start(h, "allow_anonymous true\n");
    char cmd[256];

    (void)state;
    come_up(h);
    kit_run(h, 20);
    snprintf(cmd, sizeof cmd,
             "test \"$(mosquitto_sub -p %u -C 1 -W 3 -t "
             "moonpool/kit/status)\" = online",
             h->config.mqtt.port);
    assert_int_equal(system(cmd), 0);
    kit_close(h);
    snprintf(cmd, sizeof cmd,
             "test \"$(mosquitto_sub -p %u -C 1 -W 3 -t "
             "moonpool/kit/status)\" = offline",
             h->config.mqtt.port);
    assert_int_equal(system(cmd), 0);
    kit_free(h);
    broker_end(pid, SIGTERM);
}

static void a_denied_publish_is_told_on_mqtt_5(void **state)
{
    struct mp_host *h = kit_new();
    char more[256];
    pid_t pid;

    (void)state;
    write_file(h, "acl", "topic readwrite t/#\ntopic readwrite moonpool/#\n");
    snprintf(more, sizeof more, "allow_anonymous true\nacl_file %s/acl\n",
             h->dir);
    pid = broker_start(h, more);
    come_up(h);
    kit_publish(h, "forbidden", "x", 1);
    UNTIL(h, h->n_done == 1);
    assert_int_equal(h->reasons[0], 135);
    kit_free(h);
    broker_end(pid, SIGTERM);
}

/* ---- TLS ---- */

static void run_in(struct mp_host *h, const char *cmd)
{
    char full[1024];

    snprintf(full, sizeof full, "cd %s && (%s) >/dev/null 2>&1", h->dir, cmd);
    assert_int_equal(system(full), 0);
}

static char *path_in(struct mp_host *h, const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", h->dir, name);
    return strdup(path);
}

/* A CA, a broker's certificate for localhost, a client's. */
static void make_certificates(struct mp_host *h)
{
    write_file(h, "san", "subjectAltName=DNS:localhost\n");
    run_in(h, "openssl req -x509 -newkey ec -pkeyopt "
              "ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem "
              "-subj /CN=ca -days 2");
    run_in(h, "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
              "-nodes -keyout b.key -out b.csr -subj /CN=localhost && openssl "
              "x509 -req -in b.csr -CA ca.pem -CAkey ca.key -CAcreateserial "
              "-out b.pem -days 2 -extfile san");
    run_in(h, "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
              "-nodes -keyout c.key -out c.csr -subj /CN=kit && openssl x509 "
              "-req -in c.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out "
              "c.pem -days 2");
}

static pid_t tls_broker(struct mp_host *h)
{
    char more[512];

    make_certificates(h);
    snprintf(more, sizeof more,
             "allow_anonymous true\ncafile %s/ca.pem\ncertfile %s/b.pem\n"
             "keyfile %s/b.key\nrequire_certificate true\n",
             h->dir, h->dir, h->dir);
    free(h->config.mqtt.host);
    h->config.mqtt.host = strdup("localhost");
    h->config.mqtt.tls = true;
    h->config.mqtt.ca = path_in(h, "ca.pem");
    h->config.mqtt.cert = path_in(h, "c.pem");
    h->config.mqtt.key = path_in(h, "c.key");
    return broker_start(h, more);
}

static void tls_end(struct mp_host *h)
{
    free(h->config.mqtt.ca);
    free(h->config.mqtt.cert);
    free(h->config.mqtt.key);
    kit_free(h);
}

static void it_speaks_tls_with_certificates_on_both_sides(void **state)
{
    struct mp_host *h = kit_new();
    pid_t pid = tls_broker(h);
    unsigned i;

    (void)state;
    come_up(h);
    for (i = 0; i < 600; i++)
        kit_publish(h, "t/1", "a reading of some bytes", 1);
    /* Over TLS, too, nothing is acknowledged before it is settled. */
    UNTIL(h, h->n_done == 600 && h->n_inputs > 0);
    kit_run(h, 50);
    assert_true(h->n_inputs < 600);
    for (i = 0; i < h->n_inputs; i++)
        kit_settle(h, i);
    h->settle_at_once = true;
    UNTIL(h, h->n_inputs == 600 && mp_mqtt.idle(h->mqtt));
    tls_end(h);
    broker_end(pid, SIGTERM);
}

static void a_broker_that_is_not_the_one_named_is_refused(void **state)
{
    struct mp_host *h = kit_new();
    pid_t pid = tls_broker(h);
    char text[4096] = "", path[128];
    int saved, file;

    (void)state;
    free(h->config.mqtt.host);
    h->config.mqtt.host = strdup("127.0.0.1"); /* not in the certificate */
    snprintf(path, sizeof path, "%s/log", h->dir);
    file = open(path, O_RDWR | O_CREAT, 0600);
    saved = dup(2);
    dup2(file, 2);
    mp_log_open(MP_LOG_TEXT, MP_INFO);
    kit_open(h);
    mp_mqtt.route(h->mqtt, one_route, 1);
    UNTIL(h, pread(file, text, sizeof text - 1, 0) > 0);
    kit_run(h, 200);
    dup2(saved, 2);
    close(saved);
    close(file);
    assert_false(h->linked);
    assert_non_null(strstr(text, "certificate verify failed"));
    tls_end(h);
    broker_end(pid, SIGTERM);
}

static void it_speaks_tls_with_a_shared_key(void **state)
{
    struct mp_host *h = kit_new();
    char more[256];
    pid_t pid;

    (void)state;
    write_file(h, "psk", "kit:0123456789abcdef\n");
    snprintf(more, sizeof more,
             "allow_anonymous true\npsk_file %s/psk\npsk_hint kit\n", h->dir);
    h->config.mqtt.tls = true;
    h->config.mqtt.psk = strdup("0123456789abcdef");
    h->config.mqtt.psk_identity = strdup("kit");
    pid = broker_start(h, more);
    h->settle_at_once = true;
    come_up(h);
    kit_publish(h, "t/1", "x", 1);
    UNTIL(h, h->n_done == 1 && h->n_inputs == 1);
    free(h->config.mqtt.psk);
    free(h->config.mqtt.psk_identity);
    kit_free(h);
    broker_end(pid, SIGTERM);
}

static void a_wrong_password_is_said_so(void **state)
{
    struct mp_host *h = kit_new();
    char more[256], text[4096] = "", path[128], user[] = "kit", good[] = "good",
                    bad[] = "bad";
    int saved, file;
    pid_t pid;

    (void)state;
    write_file(h, "pw", "kit:good\n");
    run_in(h, "mosquitto_passwd -U pw");
    snprintf(more, sizeof more, "allow_anonymous false\npassword_file %s/pw\n",
             h->dir);
    pid = broker_start(h, more);
    h->config.mqtt.user = user;
    h->config.mqtt.password = good;
    come_up(h);
    kit_close(h);
    h->config.mqtt.password = bad;
    snprintf(path, sizeof path, "%s/log", h->dir);
    file = open(path, O_RDWR | O_CREAT, 0600);
    saved = dup(2);
    dup2(file, 2);
    mp_log_open(MP_LOG_TEXT, MP_INFO);
    kit_open(h);
    mp_mqtt.route(h->mqtt, one_route, 1);
    UNTIL(h, pread(file, text, sizeof text - 1, 0) > 0);
    dup2(saved, 2);
    close(saved);
    close(file);
    assert_non_null(strstr(text, "[mqtt] user"));
    kit_free(h);
    broker_end(pid, SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_messages_go_round_once_and_in_order),
        cmocka_unit_test(a_restart_brings_back_only_what_was_not_settled),
        cmocka_unit_test(outputs_wait_for_a_broker_that_is_away),
        cmocka_unit_test(another_client_with_our_id_is_waited_out),
        cmocka_unit_test(the_retained_status_follows_us),
        cmocka_unit_test(a_denied_publish_is_told_on_mqtt_5),
        cmocka_unit_test(it_speaks_tls_with_certificates_on_both_sides),
        cmocka_unit_test(a_broker_that_is_not_the_one_named_is_refused),
        cmocka_unit_test(it_speaks_tls_with_a_shared_key),
        cmocka_unit_test(a_wrong_password_is_said_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
