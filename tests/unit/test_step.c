/*
 * test_step.c - events as people write them, and the trigger each finds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/step.h"

static char dir[] = "/tmp/moonpool-step-XXXXXX";
static struct mp_function *fn;

static const char conf[] = "[function]\n"
                           "name = step\n"
                           "[trigger one]\n"
                           "mqtt = a/{x}/b\n"
                           "[trigger rest]\n"
                           "mqtt = a/{head}/{tail...}\n"
                           "retained = no\n"
                           "max_payload = 8\n"
                           "format = text\n"
                           "[trigger plain]\n"
                           "mqtt = plain/topic\n"
                           "[trigger set]\n"
                           "coap = PUT /rooms/{room}\n"
                           "max_payload = 8\n"
                           "[trigger get]\n"
                           "coap = GET /rooms/{room}\n"
                           "[trigger hall]\n"
                           "coap = /rooms/hall\n"
                           "[trigger hook]\n"
                           "http = POST,PUT /rooms/{room}\n"
                           "[trigger hot]\n"
                           "mqtt = f/{x}\n"
                           "filter = temp > 30\n"
                           "[trigger cold]\n"
                           "mqtt = f/{x}/+\n"
                           "filter = temp < 3\n"
                           "[trigger many]\n"
                           "mqtt = m/{x}/{y}\n"
                           "batch = 3 per {x} within 2s\n";

static void say(struct mp_report *r, bool warning, const char *text)
{
    (void)r;
    (void)warning;
    print_message("%s\n", text);
}

static void put_file(const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_function(void **state)
{
    struct mp_report report = {.say = say};

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    put_file("function.conf", conf);
    put_file("main.lua", "return function() end\n");
    fn = mp_function_read(dir, "test", &report);
    return fn ? 0 : -1;
}

static int remove_function(void **state)
{
    char path[128];

    (void)state;
    mp_function_unref(fn);
    snprintf(path, sizeof path, "%s/function.conf", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/main.lua", dir);
    unlink(path);
    return rmdir(dir);
}

/* Texts: of the event as TRIGGER TOPIC NAME=VALUE... DATA, or of what is
 * wrong with it. */
static const struct {
    const char *in, *why, *event, *wrong;
} steps[] = {
    {"{\"topic\":\"a/1/b\",\"data\":\"hi\"}", "the ordinary case",
     "one a/1/b x=1 hi", NULL},
    {"{\"topic\":\"a/1/c\"}", "the next trigger in file order",
     "rest a/1/c head=1 tail=c ", NULL},
    {"{\"topic\":\"a/1/b\",\"trigger\":\"rest\"}", "a named one alone is asked",
     "rest a/1/b head=1 tail=b ", NULL},
    {"{\"trigger\":\"plain\"}", "a pattern that is a topic",
     "plain plain/topic ", NULL},
    {"{\"topic\":\"a/1/b\",\"data\":{\"z\":1,\"a\":[true]}}",
     "what is no string is sent as JSON",
     "one a/1/b x=1 {\"a\":[true],\"z\":1}", NULL},
    {"{\"topic\":\"a/1/b\",\"data\":\"\"}", "no bytes", "one a/1/b x=1 ", NULL},
    {"{\"topic\":\"a/1/b\",\"data\":null}", "JSON null", "one a/1/b x=1 null",
     NULL},
    {"{\"topic\":\"a/1/b\",\"data_base64\":\"aGk\"}", "base64",
     "one a/1/b x=1 hi", NULL},
    {"{\"topic\":\"a/1/b\",\"params\":{\"x\":\"lie\"},\"key\":\"lie\"}",
     "params are the pattern's", "one a/1/b x=1 ", NULL},
    {"{\"trigger\":\"one\"}", "which of many?", NULL, "takes many topics"},
    {"{}", "nothing at all", NULL, "takes many topics"},
    {"{\"topic\":\"b\"}", "nobody's", NULL, "matches no trigger"},
    {"{\"topic\":\"a/1/b\",\"trigger\":\"plain\"}", "not the named one's", NULL,
     "matches no trigger 'plain'"},
    {"{\"topic\":\"a/+/b\"}", "a wildcard is no topic", NULL,
     "topic 'a/+/b': holds a wildcard"},
    {"{\"topic\":\"\"}", "neither is nothing", NULL, "topic '': "},
    {"{\"trigger\":\"plane\"}", "a near miss", NULL, "did you mean 'plain'?"},
    {"{\"topic\":7}", "a number is no topic", NULL, "topic is an integer"},
    {"{\"topik\":\"a/1/b\"}", "a near miss", NULL, "did you mean 'topic'?"},
    {"[]", "not an object", NULL, "an event is an object, not a list"},
    {"{\"path\":\"/x\"}", "nobody's path", NULL,
     "'/x' is answered by no trigger"},
    {"{\"type\":\"kafka\"}", "unknown", NULL,
     "type 'kafka': there are mqtt, coap, http"},
    {"{\"method\":\"PUT\",\"path\":\"/rooms/7\",\"data\":21}",
     "a request, in file order", "set coap PUT /rooms/7 room=7 21", NULL},
    {"{\"method\":\"PUT\",\"path\":\"/rooms/7\",\"type\":\"http\"}",
     "the type narrows it", "hook http PUT /rooms/7 room=7 ", NULL},
    {"{\"method\":\"PUT\",\"path\":\"/rooms/7\",\"trigger\":\"hook\"}",
     "and so does a name", "hook http PUT /rooms/7 room=7 ", NULL},
    {"{\"path\":\"/rooms/7\"}", "the first method that is answered",
     "get coap GET /rooms/7 room=7 ", NULL},
    {"{\"method\":\"POST\",\"path\":\"/rooms/hall\"}",
     "a literal level beats a name", "hall coap POST /rooms/hall ", NULL},
    {"{\"trigger\":\"hall\"}", "a pattern that is a path",
     "hall coap POST /rooms/hall ", NULL},
    {"{\"trigger\":\"set\"}", "which of many?", NULL,
     "trigger 'set' answers many paths (/rooms/{room})"},
    {"{\"method\":\"DELETE\",\"path\":\"/rooms/7\"}", "by no trigger", NULL,
     "DELETE '/rooms/7' is answered by no trigger (only GET, POST, PUT)"},
    {"{\"method\":\"FROB\",\"path\":\"/rooms/7\"}", "no method", NULL,
     "FROB '/rooms/7' is answered by no trigger"},
    {"{\"method\":\"HEAD\",\"path\":\"/rooms/7\"}", "as GET",
     "get coap HEAD /rooms/7 room=7 ", NULL},
    {"{\"method\":\"PUT\"}", "no path", NULL, "say which path"},
    {"{\"path\":\"rooms/7\"}", "no path", NULL, "doesn't begin with /"},
    {"{\"path\":\"/rooms/a+b\"}", "answered 400", NULL, "nobody answers"},
    {"{\"path\":\"/rooms/a\\n\"}", "answered 400", NULL, "nobody answers"},
    {"{\"method\":\"PUT\",\"path\":\"/rooms/7\",\"data\":\"123456789\"}",
     "past max_payload", NULL, "takes 8"},
    {"{\"path\":\"/rooms/7\",\"headers\":{\"Accept\":\"x\"}}",
     "as functions see them", NULL, "names of headers are in lower case"},
    {"{\"path\":\"/rooms/7\",\"query\":{\"a\":1}}", "texts", NULL,
     "query.a: not a string"},
    {"{\"path\":\"/rooms/7?a=%zz\"}", "a query that is none", NULL,
     "query 'a=%zz': % is followed by two digits"},
    {"{\"path\":\"/rooms/7\",\"trigger\":\"gett\"}", "a near miss", NULL,
     "did you mean 'get'?"},
    {"{\"topic\":\"f/1\",\"data\":{\"temp\":31}}", "passes the filter",
     "hot f/1 x=1 {\"temp\":31}", NULL},
    {"{\"topic\":\"f/1\",\"data\":{\"temp\":30}}", "doesn't", NULL,
     "skipped by filter"},
    {"{\"topic\":\"m/1/2\",\"data\":\"x\"}", "comes as a batch of one",
     "many batch x=1 [m/1/2 x=1 y=2 x]", NULL},
    {"{\"events\":[{\"topic\":\"m/1/2\",\"data\":\"x\"},"
     "{\"topic\":\"m/1/3\",\"data\":{\"a\":1}}]}",
     "with the params of its per",
     "many batch x=1 [m/1/2 x=1 y=2 x][m/1/3 x=1 y=3 {\"a\":1}]", NULL},
    {"{\"events\":[]}", "none", NULL, "events is not a list of 1 to 1000"},
    {"{\"events\":[{\"topic\":\"m/1/2\"},{\"topic\":\"m/2/2\"}]}",
     "never in one batch", NULL,
     "events[2]: its x is '2', and the first's '1'"},
    {"{\"events\":[{\"topic\":\"m/1/2\"},{\"topic\":\"plain/topic\"}]}",
     "has no batch", NULL, "events[2]: trigger 'plain' has no batch line"},
    {"{\"events\":[{\"topic\":\"m/1/2\"},{\"topic\":\"m/1/2\"},"
     "{\"topic\":\"m/1/2\"},{\"topic\":\"m/1/2\"}]}",
     "more than it takes", NULL,
     "4 events; trigger 'many' has batch = 3 per {x} within 2s"},
    {"{\"events\":[{\"topik\":\"m/1/2\"}]}", "a near miss", NULL,
     "events[1]: unknown member 'topik'"},
    {"{\"events\":[{\"topic\":\"m/1/2\"}],\"topic\":\"x\"}",
     "a batch has no topic", NULL, "unknown member 'topic' in a batch"},
    {"{\"type\":\"alarm\",\"alarm\":\"hold\",\"params\":{\"x\":\"1\"}}",
     "no pattern took it", "alarm  x=1 ", NULL},
    {"{\"trigger\":\"send\",\"data\":{\"a\":1}}", "named by its trigger",
     "send  {\"a\":1}", NULL},
    {"{\"type\":\"alarm\"}", "which?", NULL, "an alarm event says which"},
    {"{\"type\":\"send\",\"params\":{\"x\":1}}", "no text", NULL,
     "params.x: not a string"},
    {"{\"topic\":\"a/1/b\",\"data\":\"x\",\"data_base64\":\"eA==\"}",
     "which of the two?", NULL, "both"},
    {"{\"topic\":\"a/1/b\",\"data_base64\":\"*\"}", "not base64", NULL,
     "byte 1"},
    {"{\"topic\":\"a/1/b\",\"qos\":2}", "never QoS 2", NULL, "0 to 1"},
    {"{\"topic\":\"a/1/b\",\"attempt\":0}", "the first is 1", NULL, "attempt"},
    {"{\"topic\":\"a/1/b\",\"time\":\"noon\"}", "not a time", NULL, "time: "},
    {"{\"topic\":\"a/1/b\",\"retained\":1}", "true or false", NULL, "retained"},
    {"{\"topic\":\"a/1/c\",\"retained\":true}", "the trigger takes none", NULL,
     "retained = no"},
    {"{\"topic\":\"a/1/c\",\"data\":\"123456789\"}", "past max_payload", NULL,
     "takes 8"},
    {"{\"topic\":\"a/1/c\",\"data\":\"12345678\"}", "just within it",
     "rest a/1/c head=1 tail=c 12345678", NULL},
    {"{\"topic\":\"a/1/b\",\"properties\":{\"a\":1}}", "strings only", NULL,
     "properties.a"},
};

static void print_params(const struct mp_event *e, struct mp_buf *b)
{
    for (uint32_t i = 0; i < e->n_params; i++)
        mp_buf_printf(b, "%.*s=%.*s ", MP_FMT(e->params[i].name),
                      MP_FMT(e->params[i].value));
}

static void print_event(const struct mp_event *e, struct mp_buf *b)
{
    mp_buf_printf(b, "%.*s ", MP_FMT(e->trigger));
    if (e->path.ptr)
        mp_buf_printf(b, "%s %.*s %.*s ", mp_event_type_name(e->type),
                      MP_FMT(e->method), MP_FMT(e->path));
    else if (e->type == MP_EVENT_BATCH)
        mp_buf_printf(b, "batch ");
    else
        mp_buf_printf(b, "%.*s ", MP_FMT(e->topic));
    print_params(e, b);
    for (uint32_t i = 0; i < e->n_events; i++) {
        const struct mp_event *one = &e->events[i];

        mp_buf_printf(b, "[%.*s ", MP_FMT(one->topic));
        print_params(one, b);
        mp_buf_printf(b, "%.*s]", MP_FMT(one->data));
    }
    mp_buf_slice(b, e->data);
    mp_buf_put(b, "", 1); /* its NUL */
}

static void an_event_finds_its_trigger_or_is_told_why_not(void **state)
{
    const struct mp_step_defaults defaults = {.id = "e1", .time_us = 1};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct mp_tree_doc doc;
        struct mp_step step;
        struct mp_why why = {""};
        struct mp_buf text;
        int rc;

        print_message("%s: %s\n", steps[i].in, steps[i].why);
        rc = mp_tree_parse(&doc, mp_slice_str(steps[i].in), &why);
        assert_int_equal(rc, 0);
        rc = mp_step_read(&step, fn, doc.root, &defaults, NULL, &why);
        mp_buf_init(&text, 1024);
        if (steps[i].event) {
            assert_int_equal(rc, 0);
            print_event(&step.event, &text);
            assert_string_equal(text.ptr, steps[i].event);
        } else {
            assert_int_not_equal(rc, 0);
            assert_true(why.text[0]);
            if (!strstr(why.text, steps[i].wrong))
                fail_msg("no '%s' in: %s", steps[i].wrong, why.text);
        }
        mp_buf_fini(&text);
        mp_step_fini(&step);
        mp_tree_fini(&doc);
    }
}

static void flags_win_over_the_file(void **state)
{
    const struct mp_step_defaults defaults = {
        .id = "e1", .time_us = 1, .topic = MP_S("a/2/b"), .data = MP_S("flag")};
    struct mp_tree_doc doc;
    struct mp_step step;
    struct mp_why why;

    (void)state;
    assert_int_equal(
        mp_tree_parse(&doc, MP_S("{\"topic\":\"plain/topic\",\"data\":1}"),
                      &why),
        0);
    assert_int_equal(mp_step_read(&step, fn, doc.root, &defaults, NULL, &why),
                     0);
    assert_true(mp_slice_is(step.event.topic, "a/2/b"));
    assert_true(mp_slice_is(step.event.data, "flag"));
    mp_step_fini(&step);
    mp_tree_fini(&doc);
}

static int read_target(struct mp_step *step, const char *target,
                       struct mp_why *why)
{
    const struct mp_step_defaults defaults = {
        .id = "e1", .time_us = 1, .target = mp_slice_str(target)};

    return mp_step_read(step, fn, NULL, &defaults, NULL, why);
}

static void a_target_is_decoded(void **state)
{
    struct mp_step step;
    struct mp_why why;

    (void)state;
    assert_int_equal(
        read_target(&step,
                    "PUT /rooms/b%C3%BC%20ro?unit=C+x&a%3D=%41&b&=", &why),
        0);
    assert_true(mp_slice_is(step.event.trigger, "set"));
    assert_true(mp_slice_is(step.event.path, "/rooms/b\xc3\xbc ro"));
    assert_true(mp_slice_is(step.event.subject, "/rooms/b\xc3\xbc ro"));
    assert_int_equal(step.event.n_query, 4);
    assert_true(mp_slice_is(step.event.query[0].value, "C x"));
    assert_true(mp_slice_is(step.event.query[1].name, "a="));
    assert_true(mp_slice_is(step.event.query[1].value, "A"));
    assert_true(mp_slice_is(step.event.query[2].name, "b"));
    assert_int_equal(step.event.query[2].value.len, 0);
    assert_true(mp_slice_is(step.event.peer, "127.0.0.1"));
    mp_step_fini(&step);
    assert_int_equal(read_target(&step, "/rooms/hall", &why), 0);
    assert_true(mp_slice_is(step.event.method, "GET"));
    mp_step_fini(&step);
}

static void a_target_that_is_none_is_told(void **state)
{
    static const char *const targets[] = {"PUT", "PUT rooms", "", "rooms/1",
                                          "PUT /rooms/%4"};
    struct mp_step step;
    struct mp_why why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        assert_int_not_equal(read_target(&step, targets[i], &why), 0);
        assert_non_null(strstr(why.text, "path '"));
        mp_step_fini(&step);
    }
}

static void members_of_a_batch_have_ids_of_their_own(void **state)
{
    const struct mp_step_defaults defaults = {.id = "e1", .time_us = 7};
    struct mp_tree_doc doc;
    struct mp_step step;
    struct mp_why why;

    (void)state;
    assert_int_equal(
        mp_tree_parse(&doc,
                      MP_S("{\"trigger\":\"many\",\"events\":[{\"topic\":"
                           "\"m/1/2\"},{\"topic\":\"m/1/2\",\"id\":\"x\"}]}"),
                      &why),
        0);
    assert_int_equal(mp_step_read(&step, fn, doc.root, &defaults, NULL, &why),
                     0);
    assert_true(mp_slice_is(step.event.id, "e1"));
    assert_true(mp_slice_is(step.event.subject, "many"));
    assert_true(mp_slice_is(step.event.events[0].id, "e1-1"));
    assert_true(mp_slice_is(step.event.events[1].id, "x"));
    assert_int_equal(step.event.events[1].time_us, 7);
    mp_step_fini(&step);
    mp_tree_fini(&doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_finds_its_trigger_or_is_told_why_not),
        cmocka_unit_test(flags_win_over_the_file),
        cmocka_unit_test(a_target_is_decoded),
        cmocka_unit_test(a_target_that_is_none_is_told),
        cmocka_unit_test(members_of_a_batch_have_ids_of_their_own),
    };

    return cmocka_run_group_tests(tests, make_function, remove_function);
}
