/*
 * test_event_json.c - events and values as JSON: the bytes, and that a step
 * made of them is the event again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/step.h"
#include "core/event_json.h"

static const struct mp_pair params[] = {{{"device", 6}, {"kiln \"2\"", 8}}};
static const struct mp_pair properties[] = {{{"id", 2}, {"old", 3}},
                                            {{"unit", 4},
                                             {"\xc2\xb0"
                                              "C",
                                              3}},
                                            {{"id", 2}, {"new", 3}}};

static const struct mp_event whole = {
    .type = MP_EVENT_MQTT,
    .id = {"4f2a-1", 6},
    .source = {"mqtt://broker:1883", 18},
    .subject = {"sensors/kiln/env", 16},
    .trigger = {"readings", 8},
    .key = {"kiln", 4},
    .has_key = true,
    .time_us = INT64_C(1772366400123456),
    .attempt = 3,
    .data = {"{\"temp\": 31.4}", 14},
    .datacontenttype = {"application/json", 16},
    .traceparent = {"00-ab-cd-01", 11},
    .topic = {"sensors/kiln/env", 16},
    .qos = 1,
    .retained = true,
    .has_expiry = true,
    .expiry_s = 60,
    .params = params,
    .n_params = 1,
    .properties = properties,
    .n_properties = 3,
};

static void assert_event(const struct mp_event *e, const char *json)
{
    struct mp_buf b;

    mp_buf_init(&b, 1 << 20);
    mp_event_json(&b, e);
    assert_false(b.full);
    mp_buf_put(&b, "", 1);
    assert_string_equal(b.ptr, json);
    mp_buf_fini(&b);
}

static void a_request_says_what_was_asked(void **state)
{
    static const struct mp_pair query[] = {{{"unit", 4}, {"C", 1}}};
    static const struct mp_event e = {
        .type = MP_EVENT_HTTP,
        .id = {"r1", 2},
        .time_us = INT64_C(1772366400123456),
        .attempt = 1,
        .method = {"PUT", 3},
        .path = {"/rooms/7", 8},
        .peer = {"10.0.0.9", 8},
        .query = query,
        .n_query = 1,
    };

    (void)state;
    assert_event(&e, "{\"id\":\"r1\",\"type\":\"http\","
                     "\"time\":\"2026-03-01T12:00:00.123Z\",\"params\":{},"
                     "\"attempt\":1,\"method\":\"PUT\","
                     "\"path\":\"/rooms/7\",\"query\":{\"unit\":\"C\"},"
                     "\"headers\":{},\"peer\":\"10.0.0.9\",\"data\":\"\"}");
}

static void a_batch_shows_its_events_and_no_data(void **state)
{
    static const struct mp_event events[] = {
        {.type = MP_EVENT_ALARM, .id = {"a", 1}, .attempt = 1},
        {.type = MP_EVENT_ALARM, .id = {"b", 1}, .attempt = 1},
    };
    static const struct mp_event e = {
        .type = MP_EVENT_BATCH,
        .id = {"c", 1},
        .trigger = {"t", 1},
        .attempt = 1,
        .events = events,
        .n_events = 2,
    };
#define ALARM(id)                                                              \
    "{\"id\":\"" id "\",\"type\":\"alarm\","                                   \
    "\"time\":\"1970-01-01T00:00:00.000Z\",\"params\":{},\"attempt\":1,"       \
    "\"data\":\"\"}"

    (void)state;
    assert_event(&e, "{\"id\":\"c\",\"type\":\"batch\","
                     "\"time\":\"1970-01-01T00:00:00.000Z\","
                     "\"trigger\":\"t\",\"params\":{},\"attempt\":1,"
                     "\"events\":[" ALARM("a") "," ALARM("b") "]}");
#undef ALARM
}

static void every_name_that_applies_is_there(void **state)
{
    (void)state;
    assert_event(
        &whole,
        "{\"id\":\"4f2a-1\",\"type\":\"mqtt\","
        "\"source\":\"mqtt://broker:1883\",\"subject\":\"sensors/kiln/env\","
        "\"time\":\"2026-03-01T12:00:00.123Z\",\"trigger\":\"readings\","
        "\"key\":\"kiln\",\"params\":{\"device\":\"kiln \\\"2\\\"\"},"
        "\"attempt\":3,\"topic\":\"sensors/kiln/env\",\"qos\":1,"
        "\"retained\":true,\"properties\":{\"unit\":\"\xc2\xb0"
        "C\",\"id\":\"new\"},\"expiry\":60,"
        "\"datacontenttype\":\"application/json\","
        "\"traceparent\":\"00-ab-cd-01\",\"data\":\"{\\\"temp\\\": 31.4}\"}");
}

static void names_that_do_not_apply_are_not_there(void **state)
{
    const struct mp_event e = {.type = MP_EVENT_ALARM,
                               .id = MP_S("a"),
                               .trigger = MP_S("alarm"),
                               .alarm = MP_S("silent"),
                               .attempt = 1,
                               .scheduled_us = 1000,
                               .topic = MP_S("not of an alarm"),
                               .has_key = true,
                               .key = MP_S("")};

    (void)state;
    assert_event(&e, "{\"id\":\"a\",\"type\":\"alarm\","
                     "\"time\":\"1970-01-01T00:00:00.000Z\","
                     "\"scheduled\":\"1970-01-01T00:00:00.001Z\","
                     "\"trigger\":\"alarm\",\"key\":\"\",\"params\":{},"
                     "\"attempt\":1,\"alarm\":\"silent\",\"data\":\"\"}");
}

static void bytes_that_are_no_text_are_base64(void **state)
{
    const struct mp_event e = {
        .type = MP_EVENT_SEND, .attempt = 1, .data = MP_S("\xff\0")};

    (void)state;
    assert_event(&e, "{\"id\":\"\",\"type\":\"send\","
                     "\"time\":\"1970-01-01T00:00:00.000Z\",\"params\":{},"
                     "\"attempt\":1,\"data_base64\":\"/wA=\"}");
}

/* ---- as a step ---- */

static void say(struct mp_report *r, bool warning, const char *text)
{
    (void)r;
    (void)warning;
    print_message("%s\n", text);
}

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static struct mp_function *make_function(void)
{
    struct mp_report report = {.say = say};
    char dir[] = "/tmp/moonpool-event-XXXXXX", path[128];
    struct mp_function *fn;

    assert_non_null(mkdtemp(dir));
    put_file(dir, "function.conf",
             "[function]\nname = f\n[trigger readings]\n"
             "mqtt = sensors/{device}/env\nretained = yes\n");
    put_file(dir, "main.lua", "return function() end\n");
    fn = mp_function_read(dir, "test", &report);
    assert_non_null(fn);
    snprintf(path, sizeof path, "%s/main.lua", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/function.conf", dir);
    unlink(path);
    rmdir(dir);
    return fn;
}

static void assert_same(const struct mp_event *a, const struct mp_event *b)
{
    assert_true(mp_slice_eq(a->id, b->id));
    assert_true(mp_slice_eq(a->source, b->source));
    assert_true(mp_slice_eq(a->topic, b->topic));
    assert_true(mp_slice_eq(a->trigger, b->trigger));
    assert_true(mp_slice_eq(a->data, b->data));
    assert_true(mp_slice_eq(a->datacontenttype, b->datacontenttype));
    assert_true(mp_slice_eq(a->traceparent, b->traceparent));
    assert_int_equal(a->time_us / 1000, b->time_us / 1000);
    assert_int_equal(a->attempt, b->attempt);
    assert_int_equal(a->qos, b->qos);
    assert_int_equal(a->retained, b->retained);
    assert_int_equal(a->has_expiry, b->has_expiry);
    assert_int_equal(a->expiry_s, b->expiry_s);
}

static void a_step_made_of_it_is_the_event_again(void **state)
{
    static const char *const datas[] = {"", "plain", "{\"a\":1}", "\xff\x01"};
    const struct mp_step_defaults defaults = {.id = "none"};
    struct mp_function *fn = make_function();
    struct mp_tree_doc doc;
    struct mp_step step;
    struct mp_event e = whole;
    struct mp_why why = {""};
    struct mp_buf b;

    (void)state;
    mp_buf_init(&b, 1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(datas); i++) {
        e.data = mp_slice_str(datas[i]);
        mp_buf_reset(&b);
        mp_event_json(&b, &e);
        assert_int_equal(mp_tree_parse(&doc, mp_buf_bytes(&b), &why), 0);
        if (mp_step_read(&step, fn, doc.root, &defaults, NULL, &why))
            fail_msg("%s", why.text);
        assert_same(&step.event, &e);
        assert_int_equal(step.event.n_properties, 2); /* doubled: the last */
        assert_true(mp_slice_is(step.event.properties[0].value, "new"));
        mp_step_fini(&step);
        mp_tree_fini(&doc);
    }
    mp_buf_fini(&b);
    mp_function_unref(fn);
}

static void
an_alarm_and_a_send_come_back_with_what_they_are_bound_to(void **state)
{
    static const enum mp_event_type types[] = {MP_EVENT_ALARM, MP_EVENT_SEND};
    const struct mp_step_defaults defaults = {.id = "none"};
    struct mp_function *fn = make_function();
    struct mp_tree_doc doc;
    struct mp_step step;
    struct mp_why why = {""};
    struct mp_buf b;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        const char *name = mp_event_type_name(types[i]);
        const struct mp_event e = {.type = types[i],
                                   .id = MP_S("x"),
                                   .trigger = mp_slice_str(name),
                                   .alarm =
                                       i ? mp_slice(NULL, 0) : MP_S("silent"),
                                   .attempt = 1,
                                   .has_key = true,
                                   .key = MP_S("kiln"),
                                   .params = params,
                                   .n_params = 1,
                                   .data = MP_S("5")};

        mp_buf_init(&b, 1000);
        mp_event_json(&b, &e);
        assert_int_equal(mp_tree_parse(&doc, mp_buf_bytes(&b), &why), 0);
        if (mp_step_read(&step, fn, doc.root, &defaults, NULL, &why))
            fail_msg("%s", why.text);
        assert_int_equal(step.event.type, e.type);
        assert_true(mp_slice_eq(step.event.alarm, e.alarm));
        assert_int_equal(step.event.n_params, 1);
        assert_true(mp_slice_eq(step.event.params[0].value, params[0].value));
        assert_true(mp_slice_eq(step.event.data, e.data));
        mp_step_fini(&step);
        mp_tree_fini(&doc);
        mp_buf_fini(&b);
    }
    mp_function_unref(fn);
}

/* ---- values ---- */

static const struct {
    struct mp_value value;
    const char *json, *why;
} values[] = {
    {{.kind = MP_VALUE_NONE}, "null", "there is none"},
    {{.kind = MP_VALUE_INTEGER, .integer = INT64_MIN},
     "-9223372036854775808",
     "integers stay whole"},
    {{.kind = MP_VALUE_FLOAT, .number = 1}, "1.0", "a float stays one"},
    {{.kind = MP_VALUE_FLOAT, .number = 0.1}, "0.1", "shortest"},
    {{.kind = MP_VALUE_FLOAT, .number = INFINITY}, "null", "JSON has none"},
    {{.kind = MP_VALUE_BOOLEAN, .integer = 1}, "true", ""},
    {{.kind = MP_VALUE_BOOLEAN}, "false", ""},
    {{.kind = MP_VALUE_STRING, .text = {"a\n\"", 3}}, "\"a\\n\\\"\"", ""},
    {{.kind = MP_VALUE_STRING, .text = {"", 0}}, "\"\"", "empty"},
    {{.kind = MP_VALUE_STRING, .text = {"\xff", 1}},
     "{\"base64\":\"/w==\"}",
     "any bytes"},
    {{.kind = MP_VALUE_TABLE, .text = {"{\"a\":[1,2.0]}", 13}},
     "{\"a\":[1,2.0]}",
     "as it is"},
    {{.kind = MP_VALUE_TABLE, .text = {"{\"a\":", 5}},
     "\"{\\\"a\\\":\"",
     "somebody wrote it with sqlite3"},
    {{.kind = MP_VALUE_TABLE, .text = {"\xff", 1}},
     "{\"base64\":\"/w==\"}",
     "somebody wrote that too"},
};

static void values_are_what_they_are(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct mp_buf b;

        print_message("%s: %s\n", values[i].json, values[i].why);
        mp_buf_init(&b, 1000);
        mp_value_json(&b, &values[i].value);
        mp_buf_put(&b, "", 1);
        assert_string_equal(b.ptr, values[i].json);
        mp_buf_fini(&b);
    }
}

static void a_float_reads_back_as_itself(void **state)
{
    static const double all[] = {0.1 + 0.2, 1e300, DBL_MIN, -0.0, 1 / 3.0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        const struct mp_value v = {.kind = MP_VALUE_FLOAT, .number = all[i]};
        double back;
        struct mp_buf b;

        mp_buf_init(&b, 100);
        mp_value_json(&b, &v);
        mp_buf_put(&b, "", 1);
        back = strtod(b.ptr, NULL);
        assert_memory_equal(&back, &all[i], sizeof back);
        mp_buf_fini(&b);
    }
}

/* The buffer's bound is the caller's: nothing is written past it. */
static void what_finds_no_room_is_seen(void **state)
{
    (void)state;
    for (size_t max = 0; max < 350; max += 7) {
        struct mp_buf b;

        mp_buf_init(&b, max);
        mp_event_json(&b, &whole);
        assert_true(b.full);
        assert_true(b.len <= max);
        mp_buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_says_what_was_asked),
        cmocka_unit_test(a_batch_shows_its_events_and_no_data),
        cmocka_unit_test(every_name_that_applies_is_there),
        cmocka_unit_test(names_that_do_not_apply_are_not_there),
        cmocka_unit_test(bytes_that_are_no_text_are_base64),
        cmocka_unit_test(a_step_made_of_it_is_the_event_again),
        cmocka_unit_test(
            an_alarm_and_a_send_come_back_with_what_they_are_bound_to),
        cmocka_unit_test(values_are_what_they_are),
        cmocka_unit_test(a_float_reads_back_as_itself),
        cmocka_unit_test(what_finds_no_room_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
