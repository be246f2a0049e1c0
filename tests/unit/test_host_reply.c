/*
 * test_host_reply.c - what who asked by MQTT is told (core/host_reply.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/host_impl.h"
#include "core/log.h"
#include "core/problem.h"
#include "tests/unit/conf_kit.h"

static char prefix[] = "moonpool", any[] = "#", answers[] = "answers/#",
            others[] = "other/+";
static char *anywhere[] = {any, NULL};
static char *listed[] = {answers, others, NULL};
static struct mp_config config;
static struct mp_host host;
static struct mp_slot slot = {.name = "fn"};
static struct mp_input request;
static struct mp_invocation inv;
static struct mp_outcome out;

static int set_up(void **state)
{
    (void)state;
    mp_log_open(MP_LOG_TEXT, MP_ERROR);
    config.mqtt.prefix = prefix;
    config.mqtt.reply_topics = anywhere;
    host = (struct mp_host){.config = &config};
    request = (struct mp_input){
        .type = MP_EVENT_MQTT,
        .qos = 1,
        .id = MP_S("e1"),
        .topic = MP_S("ask/1"),
        .response_topic = MP_S("answers/me"),
        .correlation = mp_slice("\0\377", 2),
        .received_us = mp_now_us(),
    };
    inv = (struct mp_invocation){.slot = &slot, .input = &request};
    out = (struct mp_outcome){
        .kind = MP_OUT_OK,
        .result_kind = MP_RESULT_TEXT,
        .result_format = MP_FORMAT_TEXT,
        .result = MP_S("42"),
        .headers = MP_S(""),
    };
    return 0;
}

static struct mp_slice property(const struct mp_output *o, const char *name)
{
    struct mp_slice found = mp_slice(NULL, 0);

    for (uint32_t i = 0; i < o->n_properties; i++)
        if (mp_slice_is(o->properties[i].name, name)) {
            assert_null(found.ptr); /* once */
            found = o->properties[i].value;
        }
    return found;
}

static void what_was_returned_goes_to_the_response_topic(void **state)
{
    struct mp_output *o;

    (void)state;
    request.traceparent =
        MP_S("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    o = mp_host_reply(&host, &inv, &out, 3);
    assert_non_null(o);
    assert_true(mp_slice_is(o->topic, "answers/me"));
    assert_true(mp_slice_is(o->data, "42"));
    assert_true(mp_slice_is(o->id, "e1/fn/3"));
    assert_true(mp_slice_eq(o->correlation, mp_slice("\0\377", 2)));
    assert_true(mp_slice_eq(o->traceparent, request.traceparent));
    assert_true(mp_slice_is(o->content_type, "text/plain; charset=utf-8"));
    assert_int_equal(o->qos, 1);
    assert_false(o->retain || o->has_expiry);
    assert_int_equal(o->n_properties, 0);
    mp_output_free(o);
}

static const struct {
    enum mp_result_kind kind;
    enum mp_format format;
    const char *data, *type;
} formats[] = {
    {MP_RESULT_VALUE, MP_FORMAT_JSON, "{}", "application/json"},
    {MP_RESULT_REPLY, MP_FORMAT_CBOR, "\xa0", "application/cbor"},
    {MP_RESULT_REPLY, MP_FORMAT_BYTES, "x", "application/octet-stream"},
    {MP_RESULT_REPLY, MP_FORMAT_TEXT, "", NULL},
    {MP_RESULT_TEXT, MP_FORMAT_TEXT, "", NULL},
};

static void it_says_what_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        struct mp_output *o;

        out.result_kind = formats[i].kind;
        out.result_format = formats[i].format;
        out.result = mp_slice_str(formats[i].data);
        o = mp_host_reply(&host, &inv, &out, 1);
        assert_true(mp_slice_is(o->data, formats[i].data));
        assert_int_equal(o->content_type.ptr == NULL, formats[i].type == NULL);
        if (formats[i].type)
            assert_true(mp_slice_is(o->content_type, formats[i].type));
        mp_output_free(o);
    }
}

static void nothing_returned_or_nobody_to_tell_is_no_reply(void **state)
{
    (void)state;
    out.result_kind = MP_RESULT_NONE;
    assert_null(mp_host_reply(&host, &inv, &out, 1));
    out.result_kind = MP_RESULT_TEXT;
    request.response_topic = mp_slice(NULL, 0);
    assert_null(mp_host_reply(&host, &inv, &out, 1));
    request.response_topic = MP_S("answers/me");
    request.type = MP_EVENT_SEND;
    assert_null(mp_host_reply(&host, &inv, &out, 1));
    assert_int_equal(host.unanswered_us, 0);
}

static void reply_with(const struct mp_pair *headers, uint32_t n,
                       struct mp_buf *bytes)
{
    mp_buf_init(bytes, 64 << 10);
    mp_put_headers(bytes, headers, n);
    out.result_kind = MP_RESULT_REPLY;
    out.status = 202;
    out.headers = mp_buf_bytes(bytes);
    out.n_headers = n;
}

static void headers_of_a_reply_become_user_properties(void **state)
{
    static const struct mp_pair headers[] = {
        {MP_S("X-Room"), MP_S("4")},      {MP_S("Content-Type"), MP_S("a/b")},
        {MP_S("Status"), MP_S("1")},      {MP_S("id"), MP_S("mine")},
        {MP_S("bad"), {"a\0b", 3}},       {MP_S("worse"), MP_S("\377")},
        {MP_S("TraceParent"), MP_S("t")},
    };
    struct mp_output *o;
    struct mp_buf bytes;

    (void)state;
    reply_with(headers, ARRAY_LEN(headers), &bytes);
    o = mp_host_reply(&host, &inv, &out, 1);
    assert_int_equal(o->n_properties, 2);
    assert_true(mp_slice_is(property(o, "status"), "202"));
    assert_true(mp_slice_is(property(o, "X-Room"), "4"));
    assert_true(mp_slice_is(o->content_type, "a/b"));
    mp_output_free(o);
    mp_buf_fini(&bytes);
}

/* As many as an output may have: it must come back from the outbox. */
static void headers_past_the_bound_are_left_out(void **state)
{
    struct mp_pair headers[MP_PAIRS_MAX];
    struct mp_output *o;
    struct mp_buf bytes;

    (void)state;
    for (uint32_t i = 0; i < MP_PAIRS_MAX; i++)
        headers[i] = (struct mp_pair){MP_S("n"), MP_S("v")};
    reply_with(headers, MP_PAIRS_MAX, &bytes);
    o = mp_host_reply(&host, &inv, &out, 1);
    assert_int_equal(o->n_properties, MP_PAIRS_MAX);
    assert_true(mp_slice_is(property(o, "status"), "202"));
    mp_output_free(o);
    mp_buf_fini(&bytes);
}

/* ---- expiry ---- */

static void it_lives_as_long_as_its_request(void **state)
{
    struct mp_output *o;

    (void)state;
    request.has_expiry = true;
    request.expiry_s = 10;
    request.received_us = mp_now_us() - 7 * MP_SECOND - MP_SECOND / 2;
    o = mp_host_reply(&host, &inv, &out, 1);
    assert_true(o->has_expiry);
    assert_int_equal(o->expiry_s, 3);
    mp_output_free(o);
    request.received_us = mp_now_us() - 10 * MP_SECOND;
    assert_null(mp_host_reply(&host, &inv, &out, 1));
    assert_null(mp_host_reply_problem(&host, &inv, MP_DEAD_ERROR, &out));
    assert_int_equal(host.unanswered_us, 0); /* nobody's mistake */
}

/* ---- where it may go ---- */

static const struct {
    const char *topic, *why;
    bool goes;
} topics[] = {
    {"answers/a/b", "listed", true},
    {"answers", "# takes the level above, too", true},
    {"other/a", "the second one", true},
    {"other/a/b", "one level too many", false},
    {"elsewhere", "in no list", false},
    {"answers/+", "a wildcard is none to publish to", false},
    {"answers/#", "nor this one", false},
    {"answers/\x01", "a control character", false},
    {"", "nothing", false},
};

static void replies_go_where_reply_topics_says(void **state)
{
    (void)state;
    config.mqtt.reply_topics = listed;
    for (size_t i = 0; i < ARRAY_LEN(topics); i++) {
        struct mp_output *o;

        print_message("%s\n", topics[i].why);
        request.response_topic = t_exact(mp_slice_str(topics[i].topic));
        o = mp_host_reply(&host, &inv, &out, 1);
        assert_int_equal(o != NULL, topics[i].goes);
        t_exact_free(request.response_topic);
        if (o)
            mp_output_free(o);
    }
}

static void never_to_the_host_or_the_broker(void **state)
{
    static const char *const own[] = {"moonpool", "moonpool/kit/status",
                                      "$SYS/x", "$share/g/t"};
    struct mp_output *o;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        request.response_topic = mp_slice_str(own[i]);
        assert_null(mp_host_reply(&host, &inv, &out, 1));
        assert_null(mp_host_reply_problem(&host, &inv, MP_DEAD_ERROR, &out));
    }
    request.response_topic = MP_S("moonpools");
    o = mp_host_reply(&host, &inv, &out, 1);
    assert_non_null(o);
    mp_output_free(o);
}

static void what_gets_no_reply_is_counted_and_said_now_and_then(void **state)
{
    int64_t said_us;

    (void)state;
    request.response_topic = MP_S("$SYS/x");
    assert_null(mp_host_reply(&host, &inv, &out, 1));
    said_us = host.unanswered_us;
    assert_true(said_us > 0);
    for (int i = 0; i < 5; i++)
        assert_null(mp_host_reply(&host, &inv, &out, 1));
    assert_int_equal(host.unanswered, 5);
    assert_int_equal(host.unanswered_us, said_us);
    host.unanswered_us -= 61 * MP_SECOND;
    assert_null(mp_host_reply(&host, &inv, &out, 1));
    assert_int_equal(host.unanswered, 0);
}

/* ---- given up ---- */

static const struct {
    enum mp_dead why;
    uint32_t given;
    const char *status;
} failures[] = {
    {MP_DEAD_REJECTED, 0, "400"},   {MP_DEAD_REJECTED, 422, "422"},
    {MP_DEAD_REJECTED, 200, "400"}, {MP_DEAD_ERROR, 0, "500"},
    {MP_DEAD_MEMORY, 0, "500"},     {MP_DEAD_KILLED, 0, "500"},
    {MP_DEAD_TIMEOUT, 0, "504"},    {MP_DEAD_FULL, 0, "503"},
};

static void a_request_that_is_given_up_gets_problem_details(void **state)
{
    char wanted[80];

    (void)state;
    out.error = MP_S("main.lua:3: a \"bad\" thing");
    out.traceback = MP_S("stack traceback: secret places");
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        struct mp_output *o;
        struct mp_slice end = MP_S("\"detail\":\"main.lua:3: a \\\"bad\\\" "
                                   "thing\"}\n");

        out.status = failures[i].given;
        o = mp_host_reply_problem(&host, &inv, failures[i].why, &out);
        assert_true(mp_slice_is(o->topic, "answers/me"));
        assert_true(mp_slice_is(o->id, "e1/fn/problem"));
        assert_true(mp_slice_eq(o->correlation, mp_slice("\0\377", 2)));
        assert_true(mp_slice_is(o->content_type, "application/problem+json"));
        assert_int_equal(o->n_properties, 1);
        assert_true(mp_slice_is(property(o, "status"), failures[i].status));
        snprintf(wanted, sizeof wanted, "\"status\":%s", failures[i].status);
        assert_non_null(
            memmem(o->data.ptr, o->data.len, wanted, strlen(wanted)));
        assert_null(memmem(o->data.ptr, o->data.len, "traceback", 9));
        assert_true(o->data.len > end.len);
        assert_memory_equal(o->data.ptr + o->data.len - end.len, end.ptr,
                            end.len);
        mp_output_free(o);
    }
}

static void the_longest_sentence_fits(void **state)
{
    static char text[4 * MP_PROBLEM_DETAIL];
    struct mp_output *o;

    (void)state;
    memset(text, '\x01', sizeof text);
    out.error = mp_slice(text, sizeof text);
    o = mp_host_reply_problem(&host, &inv, MP_DEAD_ERROR, &out);
    assert_memory_equal(o->data.ptr + o->data.len - 3, "\"}\n", 3);
    mp_output_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_was_returned_goes_to_the_response_topic,
                               set_up),
        cmocka_unit_test_setup(it_says_what_it_is, set_up),
        cmocka_unit_test_setup(nothing_returned_or_nobody_to_tell_is_no_reply,
                               set_up),
        cmocka_unit_test_setup(headers_of_a_reply_become_user_properties,
                               set_up),
        cmocka_unit_test_setup(headers_past_the_bound_are_left_out, set_up),
        cmocka_unit_test_setup(it_lives_as_long_as_its_request, set_up),
        cmocka_unit_test_setup(replies_go_where_reply_topics_says, set_up),
        cmocka_unit_test_setup(never_to_the_host_or_the_broker, set_up),
        cmocka_unit_test_setup(
            what_gets_no_reply_is_counted_and_said_now_and_then, set_up),
        cmocka_unit_test_setup(a_request_that_is_given_up_gets_problem_details,
                               set_up),
        cmocka_unit_test_setup(the_longest_sentence_fits, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
