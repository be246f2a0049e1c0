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
                           "mqtt = plain/topic\n";

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
    {"{\"path\":\"/x\"}", "of another kind", NULL, "doesn't have"},
    {"{\"type\":\"coap\"}", "of another kind", NULL,
     "this version has mqtt, timer, alarm"},
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

static void print_event(const struct mp_event *e, struct mp_buf *b)
{
    mp_buf_printf(b, "%.*s %.*s ", MP_FMT(e->trigger), MP_FMT(e->topic));
    for (uint32_t i = 0; i < e->n_params; i++)
        mp_buf_printf(b, "%.*s=%.*s ", MP_FMT(e->params[i].name),
                      MP_FMT(e->params[i].value));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_finds_its_trigger_or_is_told_why_not),
        cmocka_unit_test(flags_win_over_the_file),
    };

    return cmocka_run_group_tests(tests, make_function, remove_function);
}
