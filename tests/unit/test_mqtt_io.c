/*
 * test_mqtt_io.c - subscriptions, what comes in, what goes out and the end,
 * against a broker that does what the test says.
 */
#include "tests/unit/mqtt_kit.h"

#include <fcntl.h>

static char some[] = "t/+/x", other[] = "u/1", group[] = "g";

/* ---- subscriptions ---- */

static void a_resumed_session_gets_what_it_has_and_the_difference(void **state)
{
    static const struct mp_route more[] = {
        {.filter = all, .qos = 1, .retained = true, .id = 11},
        {.filter = other, .qos = 0, .id = 13},
    };
    struct mp_host *h = up();
    const struct broker_packet *p;

    (void)state;
    kit_close(h);
    h->broker.session_present = true;
    kit_open(h);
    mp_mqtt.route(h->mqtt, one_route, 1);
    UNTIL(h, h->linked);
    kit_run(h, 20);
    /* What it has is said again: the session may be somebody else's. */
    assert_int_equal(broker_count(&h->broker, in_of(h), B_SUBSCRIBE), 1);
    p = broker_got(&h->broker, in_of(h), B_SUBSCRIBE, 0);
    assert_int_equal(p->options, 0x11); /* QoS 1, retained only if it is new */
    mp_mqtt.route(h->mqtt, more, 2);
    UNTIL(h, broker_count(&h->broker, in_of(h), B_SUBSCRIBE) == 2);
    p = broker_got(&h->broker, in_of(h), B_SUBSCRIBE, 1);
    assert_string_equal(p->topic, "u/1");
    assert_int_equal(p->options, 0x20); /* QoS 0, never retained */
    kit_run(h, 30);                     /* the answer came, too */
    kit_close(h);
    kit_open(h);
    mp_mqtt.route(h->mqtt, more + 1, 1);
    UNTIL(h, h->linked);
    UNTIL(h, broker_count(&h->broker, in_of(h), B_SUBSCRIBE) == 1);
    UNTIL(h, broker_count(&h->broker, in_of(h), B_UNSUBSCRIBE) == 1);
    p = broker_got(&h->broker, in_of(h), B_UNSUBSCRIBE, 0);
    assert_string_equal(p->topic, "t/#");
    kit_free(h);
}

static void a_subscription_without_answer_is_sent_again(void **state)
{
    struct mp_host *h = kit_new();

    (void)state;
    broker_open(&h->broker, 0);
    h->has_broker = true;
    h->broker.no_suback = true;
    h->config.mqtt.port = h->broker.port;
    kit_open(h);
    mp_mqtt.route(h->mqtt, one_route, 1);
    UNTIL(h, broker_count(&h->broker, -1, B_SUBSCRIBE) == 1);
    kit_run(h, 20);
    assert_false(h->linked);
    kit_close(h);
    h->broker.no_suback = false;
    h->broker.session_present = true;
    kit_open(h);
    mp_mqtt.route(h->mqtt, one_route, 1);
    UNTIL(h, h->linked);
    assert_int_equal(broker_count(&h->broker, in_of(h), B_SUBSCRIBE), 1);
    kit_free(h);
}

static const struct mp_route overlapping[] = {
    {.filter = all, .qos = 1, .id = 11},
    {.filter = some, .qos = 0, .id = 12},
    {.filter = all, .qos = 0, .retained = true, .id = 13},
    {.filter = other, .qos = 1, .id = 14},
    {.filter = all, .share = group, .qos = 1, .id = 15},
};

static void identifiers_say_which_routes_a_copy_is_for(void **state)
{
    struct mp_host *h = up_with(overlapping, 5, NULL);

    (void)state;
    assert_int_equal(broker_count(&h->broker, in_of(h), B_SUBSCRIBE), 4);
    h->settle_at_once = true;
    send_reading(h, 1, false, "x");
    UNTIL(h, h->n_inputs == 1);
    assert_int_equal(h->inputs[0]->n_routes, 2); /* equal filters */
    assert_int_equal(h->inputs[0]->routes[0], 11);
    assert_int_equal(h->inputs[0]->routes[1], 13);
    broker_publish(
        &h->broker, in_of(h),
        &(struct broker_message){
            .topic = "t/1/x", .payload = "x", .sub_id = 12, .retain = true});
    UNTIL(h, h->n_inputs == 2);
    assert_int_equal(h->inputs[1]->n_routes, 1);
    assert_int_equal(h->inputs[1]->routes[0], 12);
    assert_true(h->inputs[1]->retained);
    assert_int_equal(h->inputs[1]->qos, 0);
    kit_free(h);
}

static void no_identifiers(struct mp_host *h)
{
    h->broker.no_identifiers = true;
}

static void without_identifiers_filters_do_not_overlap(void **state)
{
    struct mp_host *h = up_with(overlapping, 5, no_identifiers);
    const struct broker_packet *p;
    unsigned n = 0;

    (void)state;
    assert_int_equal(broker_count(&h->broker, in_of(h), B_SUBSCRIBE), 3);
    while ((p = broker_got(&h->broker, in_of(h), B_SUBSCRIBE, n++))) {
        assert_int_equal(p->sub_id, 0);
        assert_true(strcmp(p->topic, "t/#") == 0 ||
                    strcmp(p->topic, "u/1") == 0 ||
                    strcmp(p->topic, "$share/g/t/#") == 0);
    }
    kit_free(h);
}

/* ---- what comes in ---- */

static void properties_become_fields_of_the_input(void **state)
{
    static const uint8_t props[] = {
        38,  0,   2,   'i', 'd', 0,   3,   'a', 'b', 'c', /* id */
        38,  0,   1,   'k', 0,   1,   'v',                /* k = v */
        3,   0,   1,   'j',                               /* content type */
        8,   0,   1,   'r',                               /* response topic */
        9,   0,   2,   0,   255,                          /* correlation */
        2,   0,   0,   0,   60,                           /* expiry */
        38,  0,   11,  't', 'r', 'a', 'c', 'e', 'p', 'a', 'r', /* traceparent */
        'e', 'n', 't', 0,   55,  '0', '0', '-', 'a', 'a', 'a', 'a',
        'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a',
        'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a',
        'a', 'a', 'a', 'a', '-', 'b', 'b', 'b', 'b', 'b', 'b', 'b',
        'b', 'b', 'b', 'b', 'b', 'b', 'b', 'b', 'b', '-', '0', '1',
    };
    struct mp_host *h = up();
    const struct mp_input *in;

    (void)state;
    broker_publish(&h->broker, in_of(h),
                   &(struct broker_message){.topic = "t/1/x",
                                            .payload = "x",
                                            .qos = 1,
                                            .id = 1,
                                            .sub_id = 11,
                                            .props = props,
                                            .n_props = sizeof props});
    UNTIL(h, h->n_inputs == 1);
    in = h->inputs[0];
    assert_true(mp_slice_is(in->id, "abc"));
    assert_true(in->given_id);
    assert_int_equal(in->n_properties, 1);
    assert_true(mp_slice_is(in->properties[0].name, "k"));
    assert_true(mp_slice_is(in->properties[0].value, "v"));
    assert_true(mp_slice_is(in->datacontenttype, "j"));
    assert_true(mp_slice_is(in->response_topic, "r"));
    assert_true(mp_slice_eq(in->correlation, mp_slice("\0\377", 2)));
    assert_true(in->has_expiry && in->expiry_s == 60);
    assert_true(
        mp_slice_is(in->traceparent,
                    "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01"));
    assert_true(mp_slice_is(in->topic, "t/1/x"));
    assert_int_equal(in->n_routes, 1);
    assert_int_equal(in->routes[0], 11);
    kit_free(h);
}

/* It is a property like any other, and not carried on. */
static void what_is_no_traceparent_is_not_taken_for_one(void **state)
{
    static const uint8_t props[] = {38,  0,   11,  't', 'r', 'a', 'c', 'e', 'p',
                                    'a', 'r', 'e', 'n', 't', 0,   1,   '0'};
    struct mp_host *h = up();
    const struct mp_input *in;

    (void)state;
    broker_publish(&h->broker, in_of(h),
                   &(struct broker_message){.topic = "t/1/x",
                                            .payload = "x",
                                            .qos = 1,
                                            .id = 1,
                                            .sub_id = 11,
                                            .props = props,
                                            .n_props = sizeof props});
    UNTIL(h, h->n_inputs == 1);
    in = h->inputs[0];
    assert_null(in->traceparent.ptr);
    assert_int_equal(in->n_properties, 1);
    assert_true(mp_slice_is(in->properties[0].name, "traceparent"));
    kit_free(h);
}

static void small_payloads(struct mp_host *h)
{
    h->config.mqtt.max_payload = 8;
}

static void what_is_too_large_is_acked_counted_and_dropped(void **state)
{
    struct mp_host *h = up_with(one_route, 1, small_payloads);

    (void)state;
    send_reading(h, 1, false, "123456789");
    UNTIL(h, acks(h) == 1);
    assert_int_equal(h->n_inputs, 0);
    assert_int_equal(mp_metrics.too_large, 1);
    send_reading(h, 2, false, "12345678");
    UNTIL(h, h->n_inputs == 1);
    kit_free(h);
}

static const struct {
    const char *why;
    uint8_t bytes[12];
    size_t len;
} bad[] = {
    {"a topic that is not UTF-8", {0x30, 7, 0, 3, 't', 0xff, 'x', 0, 'p'}, 9},
    {"a header whose length has five bytes",
     {0x30, 0xff, 0xff, 0xff, 0xff, 0x7f},
     6},
    {"a topic longer than its packet", {0x30, 4, 0xff, 0xff, 't', 0}, 6},
    {"a packet id of zero", {0x32, 6, 0, 1, 't', 0, 0, 0}, 8},
    {"a type that is none", {0x00, 0}, 2},
    {"a wildcard in a topic", {0x30, 5, 0, 1, '#', 0, 'p'}, 7},
};

static void bad_packets_end_a_connection_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mp_host *h = up();
        int in = in_of(h);

        print_message("%s\n", bad[i].why);
        broker_raw(&h->broker, in, bad[i].bytes, bad[i].len);
        /* A wildcard is harmless; the library lets it pass. */
        if (bad[i].bytes[4] == '#') {
            kit_run(h, 50);
        } else {
            UNTIL(h, !h->linked);
            UNTIL(h, h->linked);
        }
        send_reading(h, 1, false, "x");
        UNTIL(h, h->n_inputs > 0);
        kit_free(h);
    }
}

/* 256 MB are announced and never come: nothing is touched, nobody else
 * waits, and saying goodbye works. */
static void an_oversized_header_costs_nothing(void **state)
{
    static const uint8_t head[] = {0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, 't'};
    struct mp_host *h = up();

    (void)state;
    broker_raw(&h->broker, in_of(h), head, sizeof head);
    kit_run(h, 50);
    kit_publish(h, "a", "b", 1);
    UNTIL(h, h->n_done == 1);
    kit_free(h);
}

/* ---- outputs ---- */

/* MQTT 5, 2.2.2.2: identifier, then what it has. */
static const struct mp_slice on_the_wire[] = {
    MP_S("\x03\0\x0atext/plain"), /* content type */
    MP_S("\x09\0\x01"
         "c"),                  /* correlation data */
    MP_S("\x02\0\0\0\x09"),     /* expiry */
    MP_S("\x26\0\x01k\0\x01v"), /* user property */
    MP_S("\x26\0\x0btraceparent\0\x02"
         "00"),
};

static void outputs_are_done_when_the_broker_has_them(void **state)
{
    struct mp_host *h = up();
    int out = broker_find(&h->broker, OUT);
    static const struct mp_pair pair = {{"k", 1}, {"v", 1}};
    const struct broker_packet *p;

    (void)state;
    h->broker.no_puback = true;
    h->outputs[0] = (struct mp_output){
        .topic = MP_S("a/b"),
        .data = MP_S("one"),
        .qos = 1,
        .retain = true,
        .id = MP_S("e/f/1"),
        .traceparent = MP_S("00"),
        .content_type = MP_S("text/plain"),
        .correlation = MP_S("c"),
        .properties = &pair,
        .n_properties = 1,
        .has_expiry = true,
        .expiry_s = 9,
        .done = kit_done,
        .owner = h,
    };
    h->n_outputs = 1;
    mp_mqtt.publish(h->mqtt, &h->outputs[0]);
    UNTIL(h, (p = broker_got(&h->broker, out, B_PUBLISH, 0)));
    assert_string_equal(p->topic, "a/b");
    assert_string_equal(p->user_id, "e/f/1");
    assert_int_equal(p->payload_len, 3);
    assert_int_equal(p->flags, 2 | 1);
    for (size_t i = 0; i < ARRAY_LEN(on_the_wire); i++)
        assert_non_null(
            memmem(p->body, p->len, on_the_wire[i].ptr, on_the_wire[i].len));
    kit_run(h, 20);
    assert_int_equal(h->n_done, 0);
    assert_false(mp_mqtt.idle(h->mqtt));
    kit_publish(h, "a/b", "two", 0); /* written is done */
    UNTIL(h, h->n_done == 1);
    assert_int_equal(h->reasons[1], 0);
    /* The connection goes: what was not confirmed comes again. */
    h->broker.no_puback = false;
    broker_drop(&h->broker, out);
    UNTIL(h, h->n_done == 2);
    assert_int_equal(h->reasons[0], 0);
    out = broker_find(&h->broker, OUT);
    assert_int_equal(broker_got(&h->broker, out, B_PUBLISH, 0)->flags & 8, 8);
    assert_true(mp_mqtt.idle(h->mqtt));
    kit_free(h);
}

/* As if it had waited for the broker for ten seconds. */
static void publish_late(struct mp_host *h, uint32_t expiry_s)
{
    struct mp_output *out = &h->outputs[h->n_outputs++];

    *out = (struct mp_output){
        .topic = MP_S("a/b"),
        .data = MP_S("x"),
        .qos = 1,
        .has_expiry = true,
        .expiry_s = expiry_s,
        .done = kit_done,
        .owner = h,
    };
    mp_mqtt.publish(h->mqtt, out);
    out->since_us -= 10 * MP_SECOND;
}

static void an_output_goes_on_expiring_while_it_waits(void **state)
{
    static const char fifty[] = "\x02\0\0\0\x32"; /* seconds */
    struct mp_host *h = up();
    int out = broker_find(&h->broker, OUT);
    unsigned before = broker_count(&h->broker, out, B_PUBLISH);
    const struct broker_packet *p;

    (void)state;
    publish_late(h, 10);
    publish_late(h, 60);
    UNTIL(h, h->n_done == 2);
    assert_int_equal(h->reasons[0], 0);
    assert_int_equal(mp_metrics.outputs_expired, 1);
    assert_int_equal(broker_count(&h->broker, out, B_PUBLISH), before + 1);
    p = broker_got(&h->broker, out, B_PUBLISH, before);
    assert_non_null(memmem(p->body, p->len, fifty, sizeof fifty - 1));
    kit_free(h);
}

static void a_refused_output_says_why(void **state)
{
    struct mp_host *h = up();

    (void)state;
    h->broker.puback = 135;
    kit_publish(h, "a", "x", 1);
    kit_publish(h, "a/+", "x", 1);
    kit_publish(h, "", "x", 1);
    UNTIL(h, h->n_done == 3);
    assert_int_equal(h->reasons[0], 135);
    assert_int_equal(h->reasons[1], 144);
    assert_int_equal(h->reasons[2], 144);
    kit_free(h);
}

static void a_thousand_outputs_leave_in_order(void **state)
{
    struct mp_host *h = up();
    int out = broker_find(&h->broker, OUT);
    char text[1000][12];

    (void)state;
    h->broker.no_puback = true;
    for (int i = 0; i < 1000; i++) {
        snprintf(text[i], sizeof text[i], "%d", i);
        kit_publish(h, "a", text[i], 1);
    }
    UNTIL(h, broker_count(&h->broker, out, B_PUBLISH) == 128);
    kit_run(h, 50);
    assert_int_equal(broker_count(&h->broker, out, B_PUBLISH), 128);
    h->broker.no_puback = false;
    broker_drop(&h->broker, out);
    UNTIL(h, h->n_done == 1000);
    out = broker_find(&h->broker, OUT);
    for (unsigned i = 0; i < 1000; i++) {
        const struct broker_packet *p =
            broker_got(&h->broker, out, B_PUBLISH, i);

        assert_memory_equal(p->payload, text[i], strlen(text[i]));
        assert_int_equal(h->reasons[i], 0);
    }
    kit_free(h);
}

/* ---- the end ---- */

static void a_clean_end_says_offline_and_disconnects(void **state)
{
    struct mp_host *h = up();
    int in = in_of(h), out = broker_find(&h->broker, OUT);
    const struct broker_packet *p;

    (void)state;
    h->settle_at_once = true;
    send_reading(h, 1, false, "x");
    UNTIL(h, acks(h) == 1);
    kit_publish(h, "a", "x", 1);
    UNTIL(h, h->n_done == 1);
    mp_mqtt.drain(h->mqtt);
    send_reading(h, 2, false, "x");
    kit_run(h, 20);
    assert_int_equal(h->n_inputs, 1); /* drained: nothing comes in */
    UNTIL(h, mp_mqtt.idle(h->mqtt));
    kit_close(h);
    kit_run(h, 20);
    assert_int_equal(broker_count(&h->broker, in, B_DISCONNECT), 1);
    assert_int_equal(broker_count(&h->broker, out, B_DISCONNECT), 1);
    assert_int_equal(broker_count(&h->broker, in, B_PUBACK), 1);
    p = broker_got(&h->broker, in, B_PUBLISH, 1);
    assert_string_equal(p->topic, "moonpool/kit/status");
    assert_memory_equal(p->payload, "offline", 7);
    kit_free(h);
}

static void an_end_with_unsettled_inputs_acks_none(void **state)
{
    struct mp_host *h = up();
    int in = in_of(h);

    (void)state;
    send_reading(h, 1, false, "x");
    send_reading(h, 2, false, "x");
    UNTIL(h, h->n_inputs == 2);
    kit_settle(h, 0);
    h->broker.no_puback = true;
    kit_publish(h, "a", "x", 1);
    kit_run(h, 20);
    kit_close(h);
    kit_run(h, 20);
    assert_int_equal(broker_count(&h->broker, in, B_PUBACK), 0);
    assert_int_equal(broker_count(&h->broker, in, B_DISCONNECT), 0);
    assert_int_equal(h->n_done, 1);
    assert_int_equal(h->reasons[0], 128);
    kit_free(h); /* settles the other input after the end: harmless */
}

static void the_log_says_why_and_when_the_next_try_is(void **state)
{
    struct mp_host *h = up();
    char text[4096] = "", path[128];
    int saved = dup(2), file;
    ssize_t n;

    (void)state;
    snprintf(path, sizeof path, "%s/log", h->dir);
    file = open(path, O_RDWR | O_CREAT, 0600);
    dup2(file, 2);
    mp_log_open(MP_LOG_TEXT, MP_INFO);
    broker_disconnect(&h->broker, in_of(h), 142);
    UNTIL(h, !h->linked);
    UNTIL(h, h->linked);
    dup2(saved, 2);
    close(saved);
    n = pread(file, text, sizeof text - 1, 0);
    close(file);
    assert_true(n > 0);
    assert_non_null(strstr(text, "mqtt: connection lost: another client uses "
                                 "the id 'moonpool-kit'; next try in 0."));
    assert_non_null(strstr(text, "mqtt: connected to mqtt://127.0.0.1:"));
    assert_int_equal(mp_metrics.mqtt_reconnects, 1);
    kit_free(h);
}

/* A broker that starts again closes once; two clients of one id throw each
 * other out again and again. */
static void only_who_is_closed_again_and_again_suspects_another(void **state)
{
    struct mp_host *h = up();
    char text[4096] = "", path[128];
    int saved = dup(2), file;
    ssize_t n;

    (void)state;
    snprintf(path, sizeof path, "%s/log", h->dir);
    file = open(path, O_RDWR | O_CREAT, 0600);
    dup2(file, 2);
    mp_log_open(MP_LOG_TEXT, MP_INFO);
    for (int i = 0; i < 3; i++) {
        broker_drop(&h->broker, in_of(h));
        UNTIL(h, !h->linked);
        UNTIL(h, h->linked);
        n = pread(file, text, sizeof text - 1, 0);
        assert_true(n > 0);
        text[n] = '\0';
        assert_non_null(strstr(text, "the broker closed the connection"));
        assert_int_equal(strstr(text, "does another client use") != NULL,
                         i == 2);
    }
    dup2(saved, 2);
    close(saved);
    close(file);
    kit_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resumed_session_gets_what_it_has_and_the_difference),
        cmocka_unit_test(a_subscription_without_answer_is_sent_again),
        cmocka_unit_test(identifiers_say_which_routes_a_copy_is_for),
        cmocka_unit_test(without_identifiers_filters_do_not_overlap),
        cmocka_unit_test(properties_become_fields_of_the_input),
        cmocka_unit_test(what_is_no_traceparent_is_not_taken_for_one),
        cmocka_unit_test(what_is_too_large_is_acked_counted_and_dropped),
        cmocka_unit_test(bad_packets_end_a_connection_and_nothing_else),
        cmocka_unit_test(an_oversized_header_costs_nothing),
        cmocka_unit_test(outputs_are_done_when_the_broker_has_them),
        cmocka_unit_test(an_output_goes_on_expiring_while_it_waits),
        cmocka_unit_test(a_refused_output_says_why),
        cmocka_unit_test(a_thousand_outputs_leave_in_order),
        cmocka_unit_test(a_clean_end_says_offline_and_disconnects),
        cmocka_unit_test(an_end_with_unsettled_inputs_acks_none),
        cmocka_unit_test(the_log_says_why_and_when_the_next_try_is),
        cmocka_unit_test(only_who_is_closed_again_and_again_suspects_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
