/*
 * test_host_rows.c - what a row has becomes an event as it was; and what waits
 * when its function's [state] key changes has the new key, in the old order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/host_impl.h"

#define HOUR_US (INT64_C(3600) * MP_SECOND)

/* A host without a database and a worker: nothing is run. */
struct bed {
    struct mp_host host;
    uv_loop_t loop;
    struct mp_group group;
    struct mp_trigger trigger;
    struct mp_function fn, fn2;
    struct mp_version before, after;
    struct mp_slot slot;
};

static struct mp_function function(struct bed *b, const char *key)
{
    return (struct mp_function){
        .triggers = &b->trigger,
        .n_triggers = 1,
        .queue = 100,
        .has_state = true,
        .state_key = key ? mp_strndup(key, strlen(key)) : NULL,
        .order = MP_ORDER_STRICT,
    };
}

static struct bed *bed_new(const char *key, const char *key_after)
{
    struct bed *b = mp_zalloc(sizeof *b);

    uv_loop_init(&b->loop);
    b->host.loop = &b->loop;
    mp_list_init(&b->host.all);
    mp_results_init(&b->host.results, MP_SECOND);
    mp_timeline_start(&b->host.timeline, MP_S(""), mp_wall_us(), mp_now_us(),
                      1);
    mp_sched_init(&b->group.sched);
    mp_slot_init(&b->slot, "fn");
    b->slot.group = &b->group;
    memcpy(b->trigger.name, "in", 3);
    b->fn = function(b, key);
    b->fn2 = function(b, key_after);
    b->before = (struct mp_version){.refs = 1, .fn = &b->fn, .slot = &b->slot};
    b->after = (struct mp_version){.refs = 1, .fn = &b->fn2, .slot = &b->slot};
    b->slot.live = &b->before;
    return b;
}

static void free_one(struct mp_invocation *inv)
{
    mp_sched_release(&inv->slot->group->sched, inv);
    mp_invocation_wake(inv);
    mp_list_unlink(&inv->all);
    mp_list_unlink(&inv->link);
    mp_input_unref(inv->input);
    free(inv->new_key);
    free(inv);
}

static void bed_free(struct bed *b)
{
    mp_list_each_safe (at, &b->host.all) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, all);

        if (inv->stage == MP_QUEUED)
            mp_sched_remove(&b->group.sched, inv);
        free_one(inv);
    }
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    mp_metrics_fini(&b->slot.metrics);
    mp_results_fini(&b->host.results);
    free(b->fn.state_key);
    free(b->fn2.state_key);
    free(b);
}

static struct mp_invocation *last(struct bed *b)
{
    return mp_of(b->host.all.prev, struct mp_invocation, all);
}

/* ---- what comes back ---- */

static void a_request_comes_back_with_all_it_had(void **state)
{
    struct bed *b = bed_new(NULL, NULL);
    struct mp_pair query = {MP_S("q"), MP_S("1")};
    struct mp_pair headers[] = {{MP_S("h"), MP_S("2")}, {MP_S("i"), MP_S("3")}};
    struct mp_row row = {
        .id = 7,
        .attempt = 1,
        .reason = MP_S("full"),
        .exchange = MP_S("once"),
        .exchange_us = 5,
        .event = {.type = MP_EVENT_HTTP,
                  .trigger = MP_S("in"),
                  .id = MP_S("id"),
                  .method = MP_S("PUT"),
                  .path = MP_S("/x/y"),
                  .peer = MP_S("10.0.0.1"),
                  .identity = MP_S("me"),
                  .missed = 3,
                  .query = &query,
                  .n_query = 1,
                  .headers = headers,
                  .n_headers = 2,
                  .attempt = 1},
    };
    struct mp_event e;

    (void)state;
    mp_host_on_found(&b->host, &b->slot, &row);
    mp_invocation_event(last(b), &e);
    assert_true(mp_slice_is(e.method, "PUT"));
    assert_true(mp_slice_is(e.path, "/x/y"));
    assert_null(e.topic.ptr);
    assert_true(mp_slice_is(e.peer, "10.0.0.1"));
    assert_true(mp_slice_is(e.identity, "me"));
    assert_int_equal(e.missed, 3);
    assert_int_equal(e.n_query, 1);
    assert_true(mp_slice_is(e.query[0].value, "1"));
    assert_int_equal(e.n_headers, 2);
    assert_true(mp_slice_is(e.headers[1].name, "i"));
    assert_true(mp_slice_is(last(b)->input->exchange, "once"));
    assert_int_equal(last(b)->input->exchange_us, 5);
    assert_int_equal(b->host.results.n, 1); /* one may ask for its result */
    bed_free(b);
}

static int64_t age_us(struct bed *b, int64_t received_us, int64_t time_us)
{
    struct mp_row row = {
        .id = 7,
        .attempt = 1,
        .received_us = received_us,
        .reason = MP_S("full"),
        .event = {.type = MP_EVENT_MQTT,
                  .trigger = MP_S("in"),
                  .time_us = time_us,
                  .has_expiry = true,
                  .expiry_s = 60,
                  .attempt = 1},
    };

    mp_host_on_found(&b->host, &b->slot, &row);
    assert_int_equal(last(b)->input->expiry_s, 60);
    return mp_now_us() - last(b)->input->received_us;
}

static void assert_about(int64_t us, int64_t wanted_us)
{
    assert_in_range(us - wanted_us + MP_SECOND, 0, 2 * MP_SECOND);
}

/* The wall clock was set by hours meanwhile, either way; or the event is from
 * before this machine's start. */
static void its_age_is_by_the_timeline(void **state)
{
    struct bed *b = bed_new(NULL, NULL);
    int64_t now_us = mp_host_now(&b->host), wall_us = mp_wall_us();

    (void)state;
    assert_about(age_us(b, now_us - 5 * MP_SECOND, wall_us - 9 * HOUR_US),
                 5 * MP_SECOND);
    assert_about(age_us(b, now_us - 5 * MP_SECOND, wall_us + 9 * HOUR_US),
                 5 * MP_SECOND);
    assert_about(age_us(b, now_us - 90000 * HOUR_US, wall_us), 90000 * HOUR_US);
    /* Nobody knows, or nobody can know. */
    assert_about(age_us(b, 0, wall_us - HOUR_US), 0);
    assert_about(age_us(b, now_us + HOUR_US, wall_us), 0);
    bed_free(b);
}

/* ---- another key ---- */

static struct mp_invocation *add(struct bed *b, enum mp_event_type type,
                                 const char *device, const char *key)
{
    struct mp_pair param = {MP_S("d"), mp_slice_str(device)};
    struct mp_row row = {
        .id = 1,
        .attempt = 1,
        .reason = MP_S("full"),
        .event = {.type = type,
                  .trigger = MP_S("in"),
                  .params = &param,
                  .n_params = type == MP_EVENT_MQTT,
                  .has_key = key != NULL,
                  .key = mp_slice_str(key ? key : ""),
                  .attempt = 1},
    };

    mp_host_on_found(&b->host, &b->slot, &row);
    return last(b);
}

static void assert_key(const struct mp_invocation *inv, const char *key)
{
    assert_int_equal(inv->has_key, key != NULL);
    assert_true(mp_slice_is(inv->key, key ? key : ""));
}

static void a_row_has_the_key_that_its_function_makes_now(void **state)
{
    struct bed *b = bed_new("x{d}", NULL);

    (void)state;
    assert_key(add(b, MP_EVENT_MQTT, "a", NULL), "xa");
    assert_key(add(b, MP_EVENT_MQTT, "a", "a"), "xa");
    assert_key(add(b, MP_EVENT_SEND, "", "sent"), "sent");
    assert_key(add(b, MP_EVENT_TIMER, "", NULL), NULL);
    b->slot.live = &b->after;
    assert_key(add(b, MP_EVENT_MQTT, "a", "xa"), NULL);
    assert_key(add(b, MP_EVENT_SEND, "", "sent"), NULL);
    bed_free(b);
}

static struct mp_invocation *next(struct bed *b)
{
    return mp_sched_oldest(&b->slot);
}

static void what_waits_gets_a_new_key_and_keeps_its_order(void **state)
{
    struct bed *b = bed_new(NULL, "{d}");
    struct mp_invocation *delayed = add(b, MP_EVENT_MQTT, "a", NULL);
    struct mp_invocation *a = add(b, MP_EVENT_MQTT, "a", NULL);
    struct mp_invocation *c = add(b, MP_EVENT_MQTT, "c", NULL);
    struct mp_invocation *c2 = add(b, MP_EVENT_MQTT, "c", NULL);

    (void)state;
    assert_true(mp_sched_hold(&b->group.sched, delayed));
    mp_invocation_delay(delayed, HOUR_US);
    assert_null(next(b)); /* all have one order key */
    b->slot.live = &b->after;
    assert_true(mp_invocation_is_outdated(a));
    mp_host_key_anew(&b->host);
    assert_false(mp_invocation_is_outdated(a));
    assert_key(delayed, "a");
    assert_key(a, "a");
    assert_key(c2, "c");
    /* The delayed one is still that, and has its key. */
    assert_int_equal(delayed->stage, MP_DELAYED);
    assert_non_null(delayed->timer);
    assert_ptr_equal(next(b), c);
    assert_int_equal(b->slot.n_waiting, 3);
    add(b, MP_EVENT_MQTT, "a", NULL); /* a new one, behind both */
    mp_sched_remove(&b->group.sched, c);
    free_one(c);
    assert_ptr_equal(next(b), c2);
    mp_sched_remove(&b->group.sched, c2);
    free_one(c2);
    assert_null(next(b));
    free_one(delayed);
    assert_ptr_equal(next(b), a);
    bed_free(b);
}

static void a_key_that_goes_makes_one_actor_of_all(void **state)
{
    struct bed *b = bed_new("{d}", NULL);
    struct mp_invocation *a = add(b, MP_EVENT_MQTT, "a", NULL);
    struct mp_invocation *sent = add(b, MP_EVENT_SEND, "", "k");

    (void)state;
    b->slot.live = &b->after;
    mp_host_key_anew(&b->host);
    assert_key(a, NULL);
    assert_key(sent, NULL);
    assert_ptr_equal(next(b), a);
    assert_true(sent->behind);
    bed_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_comes_back_with_all_it_had),
        cmocka_unit_test(its_age_is_by_the_timeline),
        cmocka_unit_test(a_row_has_the_key_that_its_function_makes_now),
        cmocka_unit_test(what_waits_gets_a_new_key_and_keeps_its_order),
        cmocka_unit_test(a_key_that_goes_makes_one_actor_of_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
