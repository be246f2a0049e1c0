/*
 * test_mqtt_kept.c - what lanes keep in the database, what waits for it, and
 * what happens when it goes: against a broker that does what the test says.
 */
#include "tests/unit/mqtt_kit.h"

#include <fcntl.h>

#include "core/base/file.h"

static char own_filter[] = "own/#", own_name[] = "fn-own", other[] = "u/1";

static const struct mp_route own_routes[] = {
    {.filter = all, .qos = 1, .id = 11},
    {.filter = own_filter,
     .qos = 1,
     .id = 12,
     .lane = 7,
     .lane_name = own_name},
};
static const struct mp_route two_routes[] = {
    {.filter = all, .qos = 1, .retained = true, .id = 11},
    {.filter = other, .qos = 1, .id = 13},
};

static uint64_t fn(const char *name)
{
    return mp_record_function(mp_slice_str(name));
}

/* Start again, on the session that the broker has. */
static void start(struct mp_host *h)
{
    kit_open(h);
    mp_mqtt.route(h->mqtt, one_route, 1);
}

static void restart(struct mp_host *h)
{
    kit_close(h);
    h->broker.session_present = true;
    start(h);
    UNTIL(h, h->linked);
}

/* The end comes at once: what gathers is never written. */
static void kill_it(struct mp_host *h)
{
    h->commit.running = false;
    kit_close(h);
    h->broker.session_present = true;
}

static unsigned subscribes(struct mp_host *h)
{
    return broker_count(&h->broker, -1, B_SUBSCRIBE);
}

/* ---- records ---- */

static void after_a_restart_an_input_says_what_is_done(void **state)
{
    struct mp_host *h = up();
    const struct mp_input *in;

    (void)state;
    send_reading(h, 5, false, "x");
    send_reading(h, 6, false, "x");
    UNTIL(h, h->n_inputs == 2);
    assert_int_equal(h->inputs[0]->n_done, 0);
    kit_note(h, 0, "a");
    kit_note(h, 0, "b");
    restart(h);
    send_reading(h, 5, true, "x");
    send_reading(h, 6, true, "x");
    UNTIL(h, h->n_inputs == 4);
    in = h->inputs[2];
    assert_int_equal(in->n_done, 2);
    assert_true((in->done[0] == fn("a") && in->done[1] == fn("b")) ||
                (in->done[0] == fn("b") && in->done[1] == fn("a")));
    assert_int_equal(h->inputs[3]->n_done, 0);
    /* And they hold the acknowledgement as any other. */
    kit_settle(h, 3);
    kit_run(h, 30);
    assert_int_equal(acks(h), 0);
    kit_note(h, 2, "c");
    kit_settle(h, 2);
    UNTIL(h, acks(h) == 2);
    kit_free(h);
}

static void a_qos_0_input_has_nothing_to_note(void **state)
{
    struct mp_host *h = up();

    (void)state;
    broker_publish(&h->broker, in_of(h),
                   &(struct broker_message){
                       .topic = "t/1/x", .payload = "x", .sub_id = 11});
    UNTIL(h, h->n_inputs == 1);
    assert_null(h->inputs[0]->note);
    assert_false(h->inputs[0]->given_id);
    kit_free(h);
}

static void a_note_after_the_connection_went_still_counts(void **state)
{
    struct mp_host *h = up();

    (void)state;
    send_reading(h, 5, false, "x");
    UNTIL(h, h->n_inputs == 1);
    h->broker.session_present = true;
    broker_drop(&h->broker, in_of(h));
    UNTIL(h, !h->linked);
    kit_note(h, 0, "a");
    restart(h);
    send_reading(h, 5, true, "x");
    UNTIL(h, h->n_inputs == 2);
    assert_int_equal(h->inputs[1]->n_done, 1);
    kit_free(h);
}

static void proof_takes_the_records_away(void **state)
{
    struct mp_host *h = up();

    (void)state;
    send_reading(h, 5, false, "x");
    UNTIL(h, h->n_inputs == 1);
    kit_note(h, 0, "a");
    kit_settle(h, 0);
    UNTIL(h, acks(h) == 1);
    kit_run(h, 2500); /* a tick asks for proof */
    restart(h);
    send_reading(h, 5, true, "x");
    UNTIL(h, h->n_inputs == 2);
    assert_int_equal(h->inputs[1]->n_done, 0);
    kit_free(h);
}

static void a_new_session_forgets_records_and_ids(void **state)
{
    struct mp_host *h = up();
    char id[24];

    (void)state;
    send_reading(h, 5, false, "x");
    UNTIL(h, h->n_inputs == 1);
    memcpy(id, h->inputs[0]->id.ptr, sizeof id);
    kit_note(h, 0, "a");
    kit_close(h);
    start(h); /* the broker has no session */
    UNTIL(h, h->linked);
    assert_int_equal(subscribes(h), 2);
    send_reading(h, 5, true, "x");
    UNTIL(h, h->n_inputs == 2);
    assert_int_equal(h->inputs[1]->n_done, 0);
    assert_memory_not_equal(h->inputs[1]->id.ptr, id, sizeof id);
    restart(h);
    send_reading(h, 5, true, "x");
    UNTIL(h, h->n_inputs == 3);
    assert_int_equal(h->inputs[2]->n_done, 0);
    assert_int_equal(h->records.n_rows, 0);
    kit_free(h);
}

/* ---- what waits ---- */

static void subscribe_and_reading_wait_until_a_session_is_durable(void **state)
{
    struct mp_host *h = kit_new();

    (void)state;
    broker_open(&h->broker, 0);
    h->has_broker = true;
    h->config.mqtt.port = h->broker.port;
    h->settle_at_once = true;
    kit_open(h);
    h->hold = true;
    mp_mqtt.route(h->mqtt, one_route, 1);
    UNTIL(h, in_of(h) >= 0);
    kit_run(h, 50);
    send_reading(h, 5, false, "x"); /* of a session we don't know of */
    kit_run(h, 50);
    assert_int_equal(subscribes(h), 0);
    assert_int_equal(h->n_inputs, 0);
    assert_false(h->linked);
    h->hold = false;
    UNTIL(h, h->linked && h->n_inputs == 1);
    assert_int_equal(subscribes(h), 1);
    kit_free(h);
}

static void a_session_that_was_not_kept_begins_again(void **state)
{
    struct mp_host *h = kit_new();

    (void)state;
    broker_open(&h->broker, 0);
    h->has_broker = true;
    h->config.mqtt.port = h->broker.port;
    kit_open(h);
    h->hold = true;
    mp_mqtt.route(h->mqtt, one_route, 1);
    UNTIL(h, in_of(h) >= 0);
    kit_run(h, 30);
    h->broker.session_present = true; /* since just now */
    broker_drop(&h->broker, in_of(h));
    UNTIL(h, in_of(h) < 0);
    UNTIL(h, in_of(h) >= 0);
    kit_run(h, 30);
    assert_int_equal(subscribes(h), 0);
    h->hold = false;
    UNTIL(h, h->linked);
    assert_int_equal(subscribes(h), 1);
    kit_free(h);
}

/* Two connections that wait hurry each other when one is up: no second try
 * may begin under the first, whatever waits for the disk. */
static void both_connections_come_back_while_nothing_is_committed(void **state)
{
    struct mp_host *h = up();

    (void)state;
    h->hold = true;
    h->broker.session_present = true;
    broker_drop(&h->broker, in_of(h));
    broker_drop(&h->broker, broker_find(&h->broker, OUT));
    UNTIL(h, !h->linked);
    UNTIL(h, in_of(h) >= 0 && broker_find(&h->broker, OUT) >= 0);
    kit_run(h, 700);
    h->hold = false;
    kit_run(h, 100);
    UNTIL(h, h->linked);
    broker_drop(&h->broker, in_of(h));
    UNTIL(h, !h->linked);
    UNTIL(h, h->linked);
    kit_free(h);
}

/* Killed between CONNACK and the commit: the broker has a session then, an
 * empty one, and says so. */
static void a_session_in_doubt_is_subscribed_again(void **state)
{
    struct mp_host *h = up();

    (void)state;
    kit_close(h);
    h->broker.session_present = false;
    start(h);
    h->hold = true;
    UNTIL(h, in_of(h) >= 0);
    kit_run(h, 50);
    kill_it(h);
    start(h);
    UNTIL(h, h->linked);
    assert_int_equal(broker_count(&h->broker, in_of(h), B_SUBSCRIBE), 1);
    kit_run(h, 30);
    restart(h); /* as each resumed session is */
    assert_int_equal(broker_count(&h->broker, in_of(h), B_SUBSCRIBE), 1);
    kit_free(h);
}

static void changes_of_subscriptions_wait_until_they_are_durable(void **state)
{
    struct mp_host *h = up_with(two_routes, 2, NULL);
    unsigned before;

    (void)state;
    UNTIL(h, kit_durable(h));
    before = subscribes(h);
    h->hold = true;
    mp_mqtt.route(h->mqtt, own_routes, 1); /* other options, and one less */
    kit_run(h, 30);
    mp_mqtt.route(h->mqtt, one_route, 1); /* and changed meanwhile */
    kit_run(h, 30);
    assert_int_equal(subscribes(h), before);
    assert_int_equal(broker_count(&h->broker, -1, B_UNSUBSCRIBE), 0);
    h->hold = false;
    UNTIL(h, broker_count(&h->broker, -1, B_UNSUBSCRIBE) == 1);
    UNTIL(h, subscribes(h) == before + 2);
    kit_run(h, 30); /* the answers, too */
    restart(h);
    UNTIL(h, subscribes(h) == before + 3); /* a resumed session, again */
    kit_free(h);
}

static void a_half_of_the_ids_holds_acks_until_it_is_durable(void **state)
{
    struct mp_host *h = up();

    (void)state;
    h->settle_at_once = true;
    send_reading(h, 32767, false, "x");
    UNTIL(h, acks(h) == 1);
    UNTIL(h, kit_durable(h));
    h->hold = true;
    send_reading(h, 32768, false, "x");
    UNTIL(h, h->n_inputs == 2);
    kit_run(h, 50);
    assert_int_equal(acks(h), 1);
    /* Nor on another connection. */
    h->broker.session_present = true;
    broker_drop(&h->broker, in_of(h));
    UNTIL(h, in_of(h) < 0);
    UNTIL(h, in_of(h) >= 0 && h->linked);
    send_reading(h, 32768, true, "x");
    kit_run(h, 50);
    assert_int_equal(acks(h), 0);
    h->hold = false;
    UNTIL(h, acks(h) == 1);
    assert_int_equal(h->n_inputs, 2);
    restart(h);
    send_reading(h, 32769, false, "x");
    UNTIL(h, acks(h) == 1);
    kit_free(h);
}

static void messages_alone_cause_no_write(void **state)
{
    struct mp_host *h = up();
    uint64_t ticket;

    (void)state;
    h->settle_at_once = true;
    UNTIL(h, kit_durable(h));
    ticket = h->commit.ticket;
    for (uint16_t i = 1; i <= 200; i++)
        send_reading(h, i, false, "x");
    UNTIL(h, acks(h) == 200);
    kit_run(h, 1500); /* a proof, too */
    assert_true(h->commit.ticket == ticket);
    assert_true(kit_durable(h));
    kit_free(h);
}

/* ---- the database goes and comes ---- */

static void what_was_lost_is_not_acked_and_comes_again_as_new(void **state)
{
    struct mp_host *h = up();
    int in = in_of(h), out = broker_find(&h->broker, OUT);

    (void)state;
    send_reading(h, 5, false, "x");
    send_reading(h, 6, false, "x");
    UNTIL(h, h->n_inputs == 2);
    UNTIL(h, kit_durable(h));
    kit_note(h, 0, "a");
    kit_settle(h, 0);
    kit_lose(h);
    kit_run(h, 1500); /* longer than it would wait before another try */
    assert_int_equal(broker_count(&h->broker, in, B_PUBACK), 0);
    assert_int_equal(in_of(h), -1);
    assert_int_equal(broker_find(&h->broker, OUT), out); /* outputs go on */
    kit_publish(h, "a", "b", 1);
    UNTIL(h, h->n_done == 1);
    h->commit.wanted = false; /* the note went with the rest */
    h->broker.session_present = true;
    kit_find(h);
    UNTIL(h, h->linked);
    assert_int_equal(subscribes(h), 2);
    send_reading(h, 5, true, "x");
    send_reading(h, 6, true, "x");
    UNTIL(h, h->n_inputs == 4);
    assert_int_equal(h->inputs[2]->n_done, 0);
    kit_settle(h, 2);
    kit_settle(h, 3);
    UNTIL(h, acks(h) == 2);
    kit_free(h);
}

static void what_is_recorded_is_known_when_it_is_found_again(void **state)
{
    struct mp_host *h = up();

    (void)state;
    send_reading(h, 5, false, "x");
    UNTIL(h, h->n_inputs == 1);
    kit_note(h, 0, "a");
    UNTIL(h, kit_durable(h));
    kit_lose(h);
    kit_run(h, 30);
    h->broker.session_present = true;
    kit_find(h);
    UNTIL(h, h->linked);
    send_reading(h, 5, true, "x");
    UNTIL(h, h->n_inputs == 2);
    assert_int_equal(h->inputs[1]->n_done, 1);
    kit_free(h);
}

static void it_may_go_at_any_stage_of_connecting(void **state)
{
    (void)state;
    for (int turns = 0; turns < 40; turns += 3) {
        struct mp_host *h = kit_new();

        broker_open(&h->broker, 0);
        h->has_broker = true;
        h->config.mqtt.port = h->broker.port;
        kit_open(h);
        mp_mqtt.route(h->mqtt, own_routes, 2);
        for (int i = 0; i < turns; i++) {
            kit_turn(h);
            usleep(100);
        }
        h->hold = true;
        kit_lose(h);
        kit_run(h, 20);
        assert_int_equal(in_of(h), -1);
        h->hold = false;
        if (turns % 2) {
            kit_find(h);
            UNTIL(h, h->linked);
        } else {
            h->loaded = true;
        }
        kit_free(h);
    }
}

static void one_lost_input_drops_all_acks_of_its_connection(void **state)
{
    struct mp_host *h = up();
    int in = in_of(h);

    (void)state;
    send_reading(h, 5, false, "x");
    send_reading(h, 6, false, "x");
    UNTIL(h, h->n_inputs == 2);
    kit_settle(h, 0);
    h->broker.session_present = true;
    h->inputs[1]->lost = true;
    kit_settle(h, 1);
    UNTIL(h, in_of(h) != in && h->linked);
    assert_int_equal(broker_count(&h->broker, in, B_PUBACK), 0);
    send_reading(h, 5, true, "x");
    send_reading(h, 6, true, "x");
    UNTIL(h, h->n_inputs == 3); /* 5 was settled */
    kit_settle(h, 2);
    UNTIL(h, acks(h) == 2);
    kit_free(h);
}

static void an_input_lost_while_draining_is_left_to_the_broker(void **state)
{
    struct mp_host *h = up();
    int in = in_of(h);

    (void)state;
    send_reading(h, 5, false, "x");
    send_reading(h, 6, false, "x");
    UNTIL(h, h->n_inputs == 2);
    mp_mqtt.drain(h->mqtt);
    kit_settle(h, 0);
    assert_false(mp_mqtt.idle(h->mqtt));
    h->inputs[1]->lost = true;
    kit_settle(h, 1);
    kit_run(h, 30);
    assert_true(mp_mqtt.idle(h->mqtt));
    assert_int_equal(in_of(h), in);
    kit_close(h);
    kit_run(h, 20);
    assert_int_equal(broker_count(&h->broker, in, B_PUBACK), 0);
    kit_free(h);
}

/* ---- pausing ---- */

static void
a_paused_transport_reads_nothing_and_acks_what_is_settled(void **state)
{
    struct mp_host *h = up();

    (void)state;
    send_reading(h, 1, false, "x");
    UNTIL(h, h->n_inputs == 1);
    mp_mqtt.pause(h->mqtt, true);
    send_reading(h, 2, false, "x");
    kit_run(h, 50);
    assert_int_equal(h->n_inputs, 1);
    kit_settle(h, 0);
    UNTIL(h, acks(h) == 1);
    kit_run(h, 50);
    assert_int_equal(h->n_inputs, 1);
    assert_true(h->linked);
    mp_mqtt.pause(h->mqtt, false);
    UNTIL(h, h->n_inputs == 2);
    kit_settle(h, 1);
    UNTIL(h, acks(h) == 2);
    kit_free(h);
}

/* ---- what is kept ---- */

static void a_lane_without_its_trigger_is_ended_after_a_restart(void **state)
{
    struct mp_host *h = up_with(own_routes, 2, NULL);

    (void)state;
    restart(h); /* with the shared lane's route alone */
    UNTIL(h, broker_count(&h->broker, broker_find(&h->broker, IN "-fn-own"),
                          B_UNSUBSCRIBE) > 0 ||
                 mp_host_kept(h, "mqtt/fn-own").ptr == NULL);
    UNTIL(h, !mp_host_kept(h, "mqtt/fn-own").ptr);
    assert_null(mp_host_kept(h, "mqtt/lanes").ptr);
    restart(h);
    kit_run(h, 50);
    assert_int_equal(broker_find(&h->broker, IN "-fn-own"), -1);
    kit_free(h);
}

static void share_id(struct mp_host *h)
{
    h->config.mqtt.id_is_shared = true;
}

static void what_is_added_to_the_client_id_is_kept(void **state)
{
    struct mp_host *h = up_with(one_route, 1, share_id);
    char id[80];

    (void)state;
    assert_int_equal(mp_host_kept(h, "mqtt/id").len, 4);
    snprintf(id, sizeof id, IN "-%.*s", MP_FMT(mp_host_kept(h, "mqtt/id")));
    assert_true(broker_find(&h->broker, id) >= 0);
    /* What is kept counts, not where the directory is now. */
    mp_host_keep(h, "mqtt/id", MP_S("beef"), NULL, NULL);
    restart(h);
    assert_true(broker_find(&h->broker, IN "-beef") >= 0);
    kit_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_restart_an_input_says_what_is_done),
        cmocka_unit_test(a_qos_0_input_has_nothing_to_note),
        cmocka_unit_test(a_note_after_the_connection_went_still_counts),
        cmocka_unit_test(proof_takes_the_records_away),
        cmocka_unit_test(a_new_session_forgets_records_and_ids),
        cmocka_unit_test(subscribe_and_reading_wait_until_a_session_is_durable),
        cmocka_unit_test(a_session_that_was_not_kept_begins_again),
        cmocka_unit_test(both_connections_come_back_while_nothing_is_committed),
        cmocka_unit_test(a_session_in_doubt_is_subscribed_again),
        cmocka_unit_test(changes_of_subscriptions_wait_until_they_are_durable),
        cmocka_unit_test(a_half_of_the_ids_holds_acks_until_it_is_durable),
        cmocka_unit_test(messages_alone_cause_no_write),
        cmocka_unit_test(what_was_lost_is_not_acked_and_comes_again_as_new),
        cmocka_unit_test(what_is_recorded_is_known_when_it_is_found_again),
        cmocka_unit_test(it_may_go_at_any_stage_of_connecting),
        cmocka_unit_test(one_lost_input_drops_all_acks_of_its_connection),
        cmocka_unit_test(an_input_lost_while_draining_is_left_to_the_broker),
        cmocka_unit_test(
            a_paused_transport_reads_nothing_and_acks_what_is_settled),
        cmocka_unit_test(a_lane_without_its_trigger_is_ended_after_a_restart),
        cmocka_unit_test(what_is_added_to_the_client_id_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
