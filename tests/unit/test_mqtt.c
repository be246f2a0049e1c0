/*
 * test_mqtt.c - connecting, the gate and redelivery, against a broker that does
 * what the test says.
 */
#include "tests/unit/mqtt_kit.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

static char own_filter[] = "own/#", own_name[] = "fn-own";

/* ---- connecting ---- */

static void it_asks_for_a_session_that_lasts_and_for_bounds(void **state)
{
    struct mp_host *h = up();
    int in = in_of(h), out = broker_find(&h->broker, OUT);
    const struct broker_packet *p;

    (void)state;
    assert_true(in >= 0 && out >= 0);
    assert_int_equal(h->broker.clients[in].version, 5);
    assert_false(h->broker.clients[in].clean);
    assert_true(h->broker.clients[in].session_expiry == UINT32_MAX);
    assert_int_equal(h->broker.clients[in].receive_max, 256);
    assert_true(h->broker.clients[in].packet_max > 64 << 10);
    assert_true(h->broker.clients[in].packet_max < 1 << 20);
    assert_true(h->broker.clients[out].clean);
    p = broker_got(&h->broker, in, B_SUBSCRIBE, 0);
    assert_string_equal(p->topic, "t/#");
    assert_int_equal(p->sub_id, 11);
    assert_int_equal(p->options, 1 | 0x10); /* QoS 1, retained if it is new */
    UNTIL(h, (p = broker_got(&h->broker, in, B_PUBLISH, 0)));
    assert_string_equal(p->topic, "moonpool/kit/status");
    assert_memory_equal(p->payload, "online", 6);
    assert_true(p->flags & 1);
    kit_free(h);
}

static void only_311(struct mp_host *h)
{
    h->broker.only_311 = true;
}

static void shut_v5(struct mp_host *h)
{
    h->broker.shut_v5 = true;
}

static void it_falls_back_to_311(void **state)
{
    struct mp_host *h = up_with(one_route, 1, only_311);

    (void)state;
    assert_int_equal(h->broker.clients[in_of(h)].version, 4);
    kit_free(h);
    h = up_with(one_route, 1, shut_v5);
    assert_int_equal(h->broker.clients[in_of(h)].version, 4);
    assert_false(h->broker.clients[in_of(h)].clean);
    send_reading(h, 1, false, "x");
    UNTIL(h, h->n_inputs == 1);
    assert_int_equal(h->inputs[0]->n_routes, 0);
    kit_free(h);
}

static void by_name(struct mp_host *h)
{
    free(h->config.mqtt.host);
    h->config.mqtt.host = strdup("localhost");
}

static void a_name_with_two_families_reaches_the_one_that_listens(void **state)
{
    struct mp_host *h = up_with(one_route, 1, by_name);

    (void)state;
    kit_free(h);
}

static void no_broker_is_waited_for_without_blocking(void **state)
{
    struct mp_host *h = kit_new();
    int64_t start, longest = 0;

    (void)state;
    broker_open(&h->broker, 0);
    h->config.mqtt.port = h->broker.port;
    close(h->broker.fd); /* refused from now on */
    kit_open(h);
    mp_mqtt.route(h->mqtt, one_route, 1);
    for (int i = 0; i < 1000; i++) {
        start = mp_now_us();
        uv_run(&h->loop, UV_RUN_NOWAIT);
        if (mp_now_us() - start > longest)
            longest = mp_now_us() - start;
        usleep(500);
    }
    assert_true(longest < 50 * MP_MS);
    assert_int_equal(h->links, 0);
    kit_free(h);
}

/* ---- the gate ---- */

static void no_ack_leaves_before_the_last_input_is_settled(void **state)
{
    struct mp_host *h = up();

    (void)state;
    for (uint16_t i = 1; i <= 3; i++)
        send_reading(h, i, false, "x");
    UNTIL(h, h->n_inputs == 3);
    kit_run(h, 50);
    assert_int_equal(acks(h), 0);
    kit_settle(h, 2);
    kit_settle(h, 0);
    kit_run(h, 50);
    assert_int_equal(acks(h), 0);
    kit_settle(h, 1);
    UNTIL(h, acks(h) == 3);
    kit_free(h);
}

static void small_batch(struct mp_host *h)
{
    h->config.mqtt.receive_max = 4;
}

static void a_held_lane_reads_nothing(void **state)
{
    struct mp_host *h = up_with(one_route, 1, small_batch);

    (void)state;
    for (uint16_t i = 1; i <= 10; i++)
        send_reading(h, i, false, "x");
    UNTIL(h, h->n_inputs == 4);
    kit_run(h, 50);
    assert_int_equal(h->n_inputs, 4);
    for (unsigned i = 0; i < 4; i++)
        kit_settle(h, i);
    UNTIL(h, h->n_inputs == 8);
    assert_int_equal(acks(h), 4);
    for (unsigned i = 4; i < 8; i++)
        kit_settle(h, i);
    UNTIL(h, h->n_inputs == 10);
    kit_free(h);
}

/* A batch of four messages, or of 4 KiB. */
static void few_bytes(struct mp_host *h)
{
    h->config.mqtt.receive_max = 4;
    h->config.mqtt.max_payload = 0;
}

/* No payload, and 32 user properties that take more than 1 KiB. */
static void send_properties(struct mp_host *h, uint16_t id)
{
    static const uint8_t one[] = {38,  0,   1,   'n', 0,   9,   '1', '2',
                                  '3', '4', '5', '6', '7', '8', '9'};
    uint8_t props[32 * sizeof one];

    for (size_t i = 0; i < sizeof props; i += sizeof one)
        memcpy(props + i, one, sizeof one);
    broker_publish(&h->broker, in_of(h),
                   &(struct broker_message){.topic = "t/1",
                                            .qos = 1,
                                            .id = id,
                                            .sub_id = 11,
                                            .props = props,
                                            .n_props = sizeof props});
}

static void properties_count_in_a_batch(void **state)
{
    struct mp_host *h = up_with(one_route, 1, few_bytes);

    (void)state;
    for (uint16_t i = 1; i <= 4; i++)
        send_properties(h, i);
    UNTIL(h, h->n_inputs == 3);
    kit_run(h, 50);
    assert_int_equal(h->n_inputs, 3);
    for (unsigned i = 0; i < 3; i++)
        kit_settle(h, i);
    UNTIL(h, h->n_inputs == 4);
    assert_int_equal(h->inputs[3]->n_properties, 32);
    kit_free(h);
}

static void large_batch(struct mp_host *h)
{
    broker_close(&h->broker);
    broker_open(&h->broker, 4096);
    h->config.mqtt.port = h->broker.port;
    h->config.mqtt.receive_max = 65535;
}

static const struct mp_route own_routes[] = {
    {.filter = all, .qos = 1, .id = 11},
    {.filter = own_filter,
     .qos = 1,
     .id = 12,
     .lane = 7,
     .lane_name = own_name},
};

static void send_own(struct mp_host *h, uint16_t id)
{
    broker_publish(&h->broker, broker_find(&h->broker, IN "-fn-own"),
                   &(struct broker_message){.topic = "own/1",
                                            .payload = "x",
                                            .qos = 1,
                                            .id = id,
                                            .sub_id = 12});
}

/* Small send buffers for all our connections to the broker. */
static void shrink_buffers(struct mp_host *h)
{
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_in peer;
        socklen_t len = sizeof peer;
        int bytes = 4096;

        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
            peer.sin_family == AF_INET &&
            ntohs(peer.sin_port) == h->broker.port)
            setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
}

/*
 * The buffers between the two hold some of the acks of the batch, but not
 * all.  (An own lane, because it reads on while held: a large batch.)
 */
static void a_flush_cut_short_releases_no_later_ack(void **state)
{
    enum { BATCH = 5000 };
    struct mp_host *h = up_with(own_routes, 2, large_batch);
    int own = broker_find(&h->broker, IN "-fn-own");
    struct broker_client *c = &h->broker.clients[own];
    unsigned got;

    (void)state;
    for (uint32_t i = 1; i <= BATCH; i++) {
        send_own(h, (uint16_t)i);
        if (i % 100 == 0)
            uv_run(&h->loop, UV_RUN_NOWAIT);
    }
    UNTIL(h, h->n_inputs == BATCH);
    kit_run(h, 20);
    shrink_buffers(h);
    c->deaf = true;
    for (unsigned i = 0; i < BATCH; i++)
        kit_settle(h, i);
    kit_run(h, 50);
    send_own(h, BATCH + 1);
    kit_run(h, 50);
    assert_int_equal(h->n_inputs, BATCH); /* nothing is read while unsent */

    c->deaf = false;
    UNTIL(h, broker_count(&h->broker, own, B_PUBACK) == BATCH &&
                 h->n_inputs > BATCH);
    kit_run(h, 20);
    got = broker_count(&h->broker, own, B_PUBACK);
    assert_int_equal(got, BATCH);
    kit_free(h);
}

static void an_own_lane_holds_nobody_else(void **state)
{
    struct mp_host *h = up_with(own_routes, 2, NULL);
    int own = broker_find(&h->broker, IN "-fn-own");

    (void)state;
    assert_true(own >= 0);
    assert_string_equal(broker_got(&h->broker, own, B_SUBSCRIBE, 0)->topic,
                        "own/#");
    for (uint16_t i = 1; i <= 2; i++) {
        send_own(h, i);
        UNTIL(h, h->n_inputs == i); /* it reads on while held */
    }
    assert_int_equal(h->inputs[0]->lane, 7);
    send_reading(h, 1, false, "x");
    UNTIL(h, h->n_inputs == 3);
    kit_settle(h, 2);
    UNTIL(h, acks(h) == 1);
    assert_int_equal(broker_count(&h->broker, own, B_PUBACK), 0);
    kit_settle(h, 0);
    kit_settle(h, 1);
    UNTIL(h, broker_count(&h->broker, own, B_PUBACK) == 2);
    /* Without its trigger the lane unsubscribes and ends its session. */
    mp_mqtt.route(h->mqtt, own_routes, 1);
    UNTIL(h, broker_count(&h->broker, own, B_DISCONNECT) == 1);
    assert_int_equal(broker_count(&h->broker, own, B_UNSUBSCRIBE) > 0, 1);
    assert_true(h->linked);
    kit_free(h);
}

/* ---- redelivery ---- */

/* Lose the connection and come back to the same session. */
static void lose(struct mp_host *h)
{
    int in = in_of(h);

    h->broker.session_present = true;
    broker_drop(&h->broker, in);
    UNTIL(h, !h->linked);
    UNTIL(h, h->linked);
    assert_true(in_of(h) != in);
}

static void a_redelivered_input_in_work_runs_once(void **state)
{
    struct mp_host *h = up();

    (void)state;
    send_reading(h, 5, false, "x");
    UNTIL(h, h->n_inputs == 1);
    lose(h);
    send_reading(h, 5, true, "x");
    kit_run(h, 50);
    assert_int_equal(h->n_inputs, 1);
    assert_int_equal(acks(h), 0);
    kit_settle(h, 0);
    UNTIL(h, acks(h) == 1);
    kit_free(h);
}

static void a_redelivered_input_that_is_settled_is_only_acked(void **state)
{
    struct mp_host *h = up();

    (void)state;
    send_reading(h, 5, false, "x");
    send_reading(h, 6, false, "x");
    UNTIL(h, h->n_inputs == 2);
    kit_settle(h, 0); /* 6 holds the ack of 5 back */
    lose(h);
    send_reading(h, 5, true, "x");
    UNTIL(h, acks(h) == 1);
    assert_int_equal(h->n_inputs, 2);
    kit_free(h);
}

static void a_repeated_value_with_a_reused_id_is_a_new_message(void **state)
{
    struct mp_host *h = up();

    (void)state;
    h->settle_at_once = true;
    for (unsigned i = 1; i <= 5; i++) {
        send_reading(h, 5, false, "x");
        UNTIL(h, h->n_inputs == i && acks(h) == i);
    }
    lose(h);
    send_reading(h, 5, false, "x");
    UNTIL(h, h->n_inputs == 6);
    /* When the broker has shown that it saw the acks, even DUP is new. */
    kit_run(h, 1500);
    lose(h);
    send_reading(h, 5, true, "x");
    UNTIL(h, h->n_inputs == 7);
    kit_free(h);
}

static void an_id_is_the_same_after_a_restart(void **state)
{
    struct mp_host *h = up();
    char first[64];

    (void)state;
    send_reading(h, 40000, false, "x");
    UNTIL(h, h->n_inputs == 1);
    assert_int_equal(h->inputs[0]->id.len, 24);
    memcpy(first, h->inputs[0]->id.ptr, 24);
    kit_close(h); /* not settled: as if killed */
    h->broker.session_present = true;
    kit_open(h);
    mp_mqtt.route(h->mqtt, one_route, 1);
    UNTIL(h, h->linked);
    send_reading(h, 40000, true, "x");
    send_reading(h, 40001, false, "x");
    UNTIL(h, h->n_inputs == 3);
    assert_memory_equal(h->inputs[1]->id.ptr, first, 24);
    assert_memory_not_equal(h->inputs[2]->id.ptr, first, 24);
    kit_close(h);
    h->broker.session_present = false; /* another session, other ids */
    kit_open(h);
    mp_mqtt.route(h->mqtt, one_route, 1);
    UNTIL(h, h->linked);
    send_reading(h, 40000, false, "x");
    UNTIL(h, h->n_inputs == 4);
    assert_memory_not_equal(h->inputs[3]->id.ptr, first, 24);
    kit_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_asks_for_a_session_that_lasts_and_for_bounds),
        cmocka_unit_test(it_falls_back_to_311),
        cmocka_unit_test(a_name_with_two_families_reaches_the_one_that_listens),
        cmocka_unit_test(no_broker_is_waited_for_without_blocking),
        cmocka_unit_test(no_ack_leaves_before_the_last_input_is_settled),
        cmocka_unit_test(a_held_lane_reads_nothing),
        cmocka_unit_test(properties_count_in_a_batch),
        cmocka_unit_test(a_flush_cut_short_releases_no_later_ack),
        cmocka_unit_test(an_own_lane_holds_nobody_else),
        cmocka_unit_test(a_redelivered_input_in_work_runs_once),
        cmocka_unit_test(a_redelivered_input_that_is_settled_is_only_acked),
        cmocka_unit_test(a_repeated_value_with_a_reused_id_is_a_new_message),
        cmocka_unit_test(an_id_is_the_same_after_a_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
