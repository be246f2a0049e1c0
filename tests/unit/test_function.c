/*
 * test_function.c - core/function.h: directories as users write them.
 *
 * Most of what function.conf can say wrong is in tests/corpus/conf: files
 * function-*.conf, each with the messages it must bring.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/function.h"
#include "core/handlers.h"
#include "core/stream.h"
#include "tests/unit/conf_kit.h"

static char dir[64];
static struct t_told told;

static int make(void **state)
{
    (void)state;
    t_dir_make(dir);
    t_told_init(&told);
    return 0;
}

static int clear(void **state)
{
    (void)state;
    t_dir_remove(dir);
    t_told_fini(&told);
    return 0;
}

/* dir/f with this function.conf and a main.lua. */
static struct mp_function *function(const char *conf)
{
    char path[80];

    t_file_put(dir, "f/function.conf", mp_slice_str(conf));
    t_file_put(dir, "f/main.lua", MP_S("return print"));
    snprintf(path, sizeof path, "%s/f", dir);
    return mp_function_read(path, "n1", &told.report);
}

static void read_corpus(struct mp_slice conf, struct mp_report *report)
{
    char path[80];
    unsigned before = report->mistakes;
    struct mp_function *fn;

    t_file_put(dir, "corpus/function.conf", conf);
    t_file_put(dir, "corpus/main.lua", MP_S("return print"));
    snprintf(path, sizeof path, "%s/corpus", dir);
    fn = mp_function_read(path, "n1", report);
    assert_int_equal(fn == NULL, report->mistakes != before);
    mp_function_unref(fn);
}

static void every_mistake_is_told_with_its_line(void **state)
{
    (void)state;
    t_corpus("function", read_corpus);
}

static void what_is_not_said_has_its_default(void **state)
{
    struct mp_function *fn = function("[trigger]\nmqtt = a/{b}\n");

    (void)state;
    assert_non_null(fn);
    assert_string_equal(fn->name, "f");
    assert_string_equal(fn->version, "0.0.0");
    assert_null(fn->about);
    assert_null(fn->timezone);
    assert_int_equal(fn->order, MP_ORDER_STRICT);
    assert_int_equal(fn->n_triggers, 1);
    assert_string_equal(fn->triggers[0].name, "mqtt");
    assert_int_equal(fn->triggers[0].line, 1);
    assert_int_equal(fn->triggers[0].kind, MP_TRIGGER_MQTT);
    assert_int_equal(fn->triggers[0].qos, 1);
    assert_true(fn->triggers[0].retained);
    assert_false(fn->triggers[0].own_lane);
    assert_null(fn->triggers[0].share);
    assert_int_equal(fn->triggers[0].max_payload, 64 << 10);
    assert_int_equal(fn->triggers[0].max_age_us, 0);
    assert_int_equal(fn->triggers[0].format, MP_FORMAT_AUTO);
    assert_int_equal(fn->n_grants, 0);
    assert_false(fn->has_state);
    assert_int_equal(fn->memory, 1 << 20);
    assert_int_equal(fn->timeout_us, 5 * MP_SECOND);
    assert_int_equal(fn->cpu_us, MP_SECOND);
    assert_int_equal(fn->init_timeout_us, MP_SECOND);
    assert_int_equal(fn->outputs, 100);
    assert_int_equal(fn->output_bytes, 256 << 10);
    assert_int_equal(fn->log_bytes, 16 << 10);
    assert_int_equal(fn->queue, 1000);
    assert_int_equal(fn->queue_bytes, 4 << 20);
    assert_false(fn->overflow_oldest);
    assert_int_equal(fn->kills, 2);
    assert_int_equal(fn->scale_min, 0);
    assert_int_equal(fn->scale_max, 16);
    assert_int_equal(fn->idle_us, 60 * MP_SECOND);
    assert_int_equal(fn->priority, MP_PRIORITY_NORMAL);
    assert_false(fn->own_worker);
    assert_int_equal(fn->attempts, 3);
    assert_int_equal(fn->backoff_us, MP_SECOND);
    assert_int_equal(fn->max_backoff_us, 300 * MP_SECOND);
    assert_int_equal(fn->retry_max_age_us, 0);
    assert_null(fn->on_failure);
    assert_int_equal(fn->breaker_failures, 10);
    assert_int_equal(fn->breaker_pause_us, 10 * MP_SECOND);
    assert_int_equal(fn->breaker_max_pause_us, 600 * MP_SECOND);
    assert_int_equal(fn->log_level, MP_INFO);
    assert_int_equal(fn->log_per, 10);
    assert_int_equal(fn->log_every_us, MP_SECOND);
    mp_function_unref(fn);
}

static void what_is_said_is_kept(void **state)
{
    struct mp_function *fn =
        function("[function]\nname = over-heat\nversion = 1.2.3\n"
                 "timezone = UTC\norder = none\n"
                 "[trigger a]\nmqtt = x/{p}, y/{p}\nmqtt = \"z,z/{p}\"\n"
                 "qos = 0\nshare = g\nretained = no\nlane = own\n"
                 "format = bytes\nmax_payload = 1K\nmax_age = 1m30s\n"
                 "[grant]\npublish = a/#, b/${node}/${LIMIT}\n"
                 "[limits]\ntimeout = 100ms\noverflow = oldest\n"
                 "[scale]\npriority = high\nisolation = worker\nmax = 0\n"
                 "[log]\nlevel = error\nrate = 5/m\n"
                 "[env]\nLIMIT = 30\nTEXT = \" ${function}@${version} \"\n");

    (void)state;
    assert_string_equal(t_told_text(&told), "");
    assert_string_equal(fn->name, "over-heat");
    assert_string_equal(fn->timezone, "UTC");
    assert_int_equal(fn->order, MP_ORDER_NONE);
    assert_int_equal(fn->triggers[0].n_patterns, 3);
    assert_string_equal(fn->triggers[0].patterns[2].text, "z,z/{p}");
    assert_int_equal(fn->triggers[0].qos, 0);
    assert_string_equal(fn->triggers[0].share, "g");
    assert_false(fn->triggers[0].retained);
    assert_true(fn->triggers[0].own_lane);
    assert_int_equal(fn->triggers[0].format, MP_FORMAT_BYTES);
    assert_int_equal(fn->triggers[0].max_payload, 1024);
    assert_int_equal(fn->triggers[0].max_age_us, 90 * MP_SECOND);
    assert_int_equal(fn->n_grants, 2);
    assert_true(mp_slice_is(fn->grants[1], "b/n1/30"));
    assert_int_equal(fn->timeout_us, 100 * MP_MS);
    assert_int_equal(fn->cpu_us, 100 * MP_MS); /* never above timeout */
    assert_true(fn->overflow_oldest);
    assert_int_equal(fn->priority, MP_PRIORITY_HIGH);
    assert_true(fn->own_worker);
    assert_int_equal(fn->scale_max, 0);
    assert_int_equal(fn->log_level, MP_ERROR);
    assert_int_equal(fn->log_per, 5);
    assert_int_equal(fn->log_every_us, 60 * MP_SECOND);
    assert_int_equal(fn->n_env, 2);
    assert_true(mp_slice_is(fn->env[1].name, "TEXT"));
    assert_true(mp_slice_is(fn->env[1].value, " over-heat@1.2.3 "));
    mp_function_unref(fn);
}

static void requests_are_kept_as_they_are_written(void **state)
{
    struct mp_function *fn = function(
        "[trigger get]\ncoap = GET /r/{room}\nobserve = yes\nauth = dtls\n"
        "[trigger job]\ncoap = /r/{room}\nasync = yes\n"
        "[trigger hook]\nhttp = POST,DELETE /h/{room}\n"
        "auth = hmac HOOK_KEY X-Signature\n"
        "[trigger read]\nhttp = GET /h/{room}\nauth = token T\n"
        "async = yes\n"
        "[trigger tick]\nevery = 1m\n"
        "[grant]\nsecret = HOOK_KEY, T\n"
        "[limits]\ntracked = 7\n");
    const struct mp_trigger *t;

    (void)state;
    assert_string_equal(t_told_text(&told), "");
    t = &fn->triggers[0];
    assert_int_equal(t->kind, MP_TRIGGER_COAP);
    assert_int_equal(t->methods, 1U << MP_GET);
    assert_int_equal(t->n_patterns, 1);
    assert_string_equal(t->patterns[0].text, "/r/{room}");
    assert_true(t->observe);
    assert_false(t->async);
    assert_int_equal(t->auth, MP_AUTH_DTLS);
    assert_int_equal(t->qos, 0); /* its client asks again */
    assert_false(t->retained);
    t = &fn->triggers[1];
    assert_int_equal(t->methods, 1U << MP_POST | 1U << MP_PUT);
    assert_int_equal(t->auth, MP_AUTH_NONE);
    assert_int_equal(t->qos, 1); /* it was told that it is safe */
    t = &fn->triggers[2];
    assert_int_equal(t->kind, MP_TRIGGER_HTTP);
    assert_int_equal(t->methods, 1U << MP_POST | 1U << MP_DELETE);
    assert_int_equal(t->auth, MP_AUTH_HMAC);
    assert_string_equal(t->secret, "HOOK_KEY");
    assert_string_equal(t->header, "x-signature");
    assert_null(t->lines);
    t = &fn->triggers[3];
    assert_int_equal(t->auth, MP_AUTH_TOKEN);
    assert_string_equal(t->secret, "T");
    assert_null(t->header);
    assert_false(fn->triggers[4].retained);
    assert_int_equal(fn->n_secrets, 2);
    assert_true(mp_slice_is(fn->secrets[0], "HOOK_KEY"));
    assert_int_equal(fn->tracked, 7);
    mp_function_unref(fn);
}

static void stream_lines_are_kept_and_filters_add_up(void **state)
{
    struct mp_function *fn =
        function("[trigger]\nmqtt = a/{d}\nbatch = 5 per {d} within 2s\n"
                 "filter = x > 1\ndeadband = x 1\nfilter = y < 2\n"
                 "[trigger plain]\nmqtt = b\n");
    const struct mp_stream_lines *lines = fn->triggers[0].lines;

    (void)state;
    assert_string_equal(t_told_text(&told), "");
    assert_string_equal(lines->texts[MP_LINE_FILTER], "x > 1; and y < 2");
    assert_string_equal(lines->texts[MP_LINE_DEADBAND], "x 1");
    assert_null(lines->texts[MP_LINE_THROTTLE]);
    assert_int_equal(lines->batch_max, 5);
    assert_int_equal(mp_stream_lines_wait_us(lines), 2 * MP_SECOND);
    assert_null(fn->triggers[1].lines);
    assert_int_equal(fn->tracked, 10000);
    mp_function_unref(fn);
}

static void a_function_has_so_many_secrets(void **state)
{
    char conf[1024] = "[grant]\n";
    struct mp_function *fn;

    (void)state;
    for (int i = 0; i < 32; i++)
        snprintf(conf + strlen(conf), 32, "secret = S%d\n", i);
    fn = function(conf);
    assert_int_equal(fn->n_secrets, 32);
    mp_function_unref(fn);
    strcat(conf, "secret = ONE_MORE\n");
    assert_null(function(conf));
    assert_string_equal(t_told_text(&told), "34: more than 32 secrets\n");
}

static const char simple[] = "[trigger]\nmqtt = a\n[grant]\npublish = b/+\n";

static void other_bytes_or_names_have_another_digest(void **state)
{
    struct mp_function *first = function(simple), *fn;
    uint64_t lo = first->digest.lo;

    (void)state;
    fn = function(simple);
    assert_int_equal(fn->digest.lo, lo);
    mp_function_unref(fn);
    t_file_put(dir, "f/more.lua", MP_S(""));
    fn = function(simple);
    assert_int_not_equal(fn->digest.lo, lo);
    assert_int_equal(fn->n_files, 2);
    lo = fn->digest.lo;
    mp_function_unref(fn);
    t_file_put(dir, "f/more.lua", MP_S(" "));
    fn = function(simple);
    assert_int_not_equal(fn->digest.lo, lo);
    lo = fn->digest.lo;
    mp_function_unref(fn);
    t_file_put(dir, "f/notes.txt", MP_S("none of the function's files"));
    t_file_put(dir, "f/.main.lua.swp", MP_S("nor an editor's"));
    fn = function(simple);
    assert_int_equal(fn->digest.lo, lo);
    mp_function_unref(fn);
    mp_function_unref(first);
}

static void modules_and_tests_are_found_below(void **state)
{
    struct mp_function *fn;

    (void)state;
    t_file_put(dir, "f/a/b.lua", MP_S("return 1"));
    t_file_put(dir, "f/tests/one.json", MP_S("{}"));
    fn = function(simple);
    assert_int_equal(fn->n_files, 2);
    assert_true(mp_slice_is(fn->files[0].name, "a/b.lua"));
    assert_true(mp_slice_is(fn->files[0].value, "return 1"));
    assert_true(mp_slice_is(fn->files[1].name, "main.lua"));
    mp_function_unref(fn);
}

static void a_directory_without_its_files_is_told(void **state)
{
    char path[80];

    (void)state;
    snprintf(path, sizeof path, "%s/f", dir);
    assert_null(mp_function_read(path, "n1", &told.report));
    assert_string_equal(t_told_text(&told),
                        "0: there is no such file or directory\n");
    mkdir(path, 0755);
    assert_null(mp_function_read(path, "n1", &told.report));
    assert_string_equal(t_told_text(&told),
                        "0: there is no main.lua in it\n"
                        "0: there is no function.conf in it\n");
}

static void a_function_is_bounded_in_files_and_bytes(void **state)
{
    static char big[MP_FILE_MAX + 1];
    char name[32];

    (void)state;
    memset(big, '-', sizeof big);
    t_file_put(dir, "f/big.lua", mp_slice(big, sizeof big));
    assert_null(function(simple));
    assert_string_equal(t_told_text(&told), "0: longer than 256K\n");
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "f/big%.0d.lua", i);
        t_file_put(dir, name, mp_slice(big, MP_FILE_MAX));
    }
    assert_null(function(simple));
    assert_string_equal(t_told_text(&told),
                        "0: its files are longer than 1M together\n");
    for (int i = 0; i < 70; i++) {
        snprintf(name, sizeof name, "f/tests/%d.json", i);
        t_file_put(dir, name, MP_S("{}"));
    }
    assert_null(function(simple));
    assert_non_null(strstr(t_told_text(&told), "0: more than 64 files\n"));
}

static void only_regular_files_inside_the_directory_are_read(void **state)
{
    char path[96], outside[96];
    struct mp_function *fn = function(simple);

    (void)state;
    mp_function_unref(fn);
    snprintf(path, sizeof path, "%s/f/inside.lua", dir);
    assert_int_equal(symlink("main.lua", path), 0);
    fn = function(simple);
    assert_int_equal(fn->n_files, 2);
    mp_function_unref(fn);
    t_file_put(dir, "fa.lua", MP_S("return 1"));
    snprintf(path, sizeof path, "%s/f/out.lua", dir);
    snprintf(outside, sizeof outside, "%s/fa.lua", dir);
    assert_int_equal(symlink(outside, path), 0);
    assert_null(function(simple));
    assert_string_equal(t_told_text(&told),
                        "0: a link that leaves the directory\n");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_null(function(simple));
    assert_string_equal(t_told_text(&told), "0: not a regular file\n");
    unlink(path);
    snprintf(path, sizeof path, "%s/f/up", dir);
    assert_int_equal(symlink("..", path), 0);
    assert_null(function(simple));
    assert_string_equal(t_told_text(&told),
                        "0: a link that leaves the directory\n");
    unlink(path);
    assert_int_equal(symlink(".", path), 0); /* a loop ends */
    assert_null(function(simple));
    assert_string_equal(t_told_text(&told),
                        "0: a link that leaves the directory\n");
}

static void a_directory_that_can_not_be_a_name_needs_one(void **state)
{
    char path[96];
    struct mp_function *fn;

    (void)state;
    t_file_put(dir, "Big One/function.conf", mp_slice_str(simple));
    t_file_put(dir, "Big One/main.lua", MP_S(""));
    snprintf(path, sizeof path, "%s/Big One", dir);
    assert_null(mp_function_read(path, "n1", &told.report));
    assert_non_null(strstr(t_told_text(&told), "name = NAME in [function]"));
    t_file_put(dir, "Big One/function.conf",
               MP_S("[function]\nname = big\n[trigger]\nmqtt = a\n"));
    fn = mp_function_read(path, "n1", &told.report);
    assert_string_equal(fn->name, "big");
    mp_function_unref(fn);
}

static void a_bare_file_is_a_function_that_takes_any_topic(void **state)
{
    char path[96];
    struct mp_function *fn;
    struct mp_pair params[MP_PAIRS_MAX];
    uint32_t n;

    (void)state;
    t_file_put(dir, "My Try.lua", MP_S("return print"));
    snprintf(path, sizeof path, "%s/My Try.lua", dir);
    fn = mp_function_read(path, "n1", &told.report);
    assert_string_equal(t_told_text(&told), "");
    assert_string_equal(fn->name, "my-try");
    assert_int_equal(fn->n_files, 1);
    assert_true(mp_slice_is(fn->files[0].name, "main.lua"));
    assert_non_null(mp_function_trigger(fn, MP_S("invoke")));
    assert_true(mp_pattern_match(&fn->triggers[0].patterns[0], MP_S("a/b"),
                                 params, &n));
    assert_true(mp_function_may_publish(fn, MP_S("x/y"), MP_S("moonpool")));
    assert_int_equal(fn->memory, 1 << 20);
    mp_function_unref(fn);
}

static void it_publishes_within_its_grants_only(void **state)
{
    struct mp_function *fn =
        function("[trigger]\nmqtt = a\n[grant]\npublish = out/#, +/x\n");
    static const struct {
        const char *topic, *why;
        bool may;
    } rows[] = {
        {"out/1", "granted", true},
        {"out", "granted by out/#", true},
        {"in/1", "not granted", false},
        {"a/x", "granted by +/x", true},
        {"$SYS/x", "the broker's", false},
        {"fleet/x", "the host's own, though +/x has it", false},
        {"fleeting/x", "only begins alike", true},
        {"", "no topic", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        print_message("%s: %s\n", rows[i].topic, rows[i].why);
        assert_int_equal(mp_function_may_publish(
                             fn, mp_slice_str(rows[i].topic), MP_S("fleet")),
                         rows[i].may);
    }
    mp_function_unref(fn);
}

static void an_actor_key_is_filled_in_and_bounded(void **state)
{
    static char long_one[MP_KEY_MAX + 1];
    char template[] = "{site}/x-{device}", key[MP_KEY_MAX];
    struct mp_function fn = {.state_key = template};
    struct mp_pair params[] = {{MP_S("site"), MP_S("s1")},
                               {MP_S("device"), MP_S("d2")}};

    (void)state;
    assert_int_equal(mp_function_key(&fn, params, 2, key), 7);
    assert_memory_equal(key, "s1/x-d2", 7);
    assert_int_equal(mp_function_key(&fn, params, 1, key), MP_ENONE);
    memset(long_one, 'a', sizeof long_one);
    params[1].value = mp_slice(long_one, MP_KEY_MAX - 5);
    assert_int_equal(mp_function_key(&fn, params, 2, key), MP_KEY_MAX);
    params[1].value = mp_slice(long_one, MP_KEY_MAX - 4);
    assert_int_equal(mp_function_key(&fn, params, 2, key), MP_ERANGE);
}

/* conf as it is told of, once its main.lua has run: one handler, or a table. */
static const char *told_of(const char *conf, const struct mp_slice *handlers,
                           uint32_t n)
{
    struct mp_function *fn = function(conf);
    struct mp_loaded loaded = {.kind = MP_OUT_OK,
                               .single = n == 0,
                               .handlers = handlers,
                               .n_handlers = n};

    assert_non_null(fn);
    mp_handlers_check(fn, &loaded, &told.report);
    mp_function_unref(fn);
    return t_told_text(&told);
}

/* A section may have been forgotten; or nothing but sends is meant. */
static void who_has_no_trigger_is_warned_unless_it_is_meant(void **state)
{
    const struct mp_slice handlers[] = {MP_S("send"), MP_S("alarm")};

    (void)state;
    assert_string_equal(told_of("[function]\n", NULL, 0),
                        "warning 0: no [trigger]: only what is sent to it "
                        "(mp.send, moonpool send) runs this function\n");
    assert_string_equal(told_of("[function]\n", handlers, 2), "");
    assert_string_equal(told_of("[state]\n", NULL, 0), "");
    assert_string_equal(told_of("[trigger t]\nmqtt = a\n", NULL, 0), "");
}

static void who_is_told_of_failures_is_looked_for(void **state)
{
    (void)state;
    assert_string_equal(
        told_of("[trigger t]\nmqtt = a\n[retry]\non_failure = function:g\n",
                NULL, 0),
        "warning 4: on_failure = function:g: there is no function of that "
        "name here; what it is told waits for it\n");
    t_file_put(dir, "h/function.conf", MP_S("[function]\nname = g\n"));
    assert_string_equal(
        told_of("[trigger t]\nmqtt = a\n[retry]\non_failure = function:g\n",
                NULL, 0),
        "");
    t_file_put(dir, "h/function.conf", MP_S("[trigger]\n"));
    t_file_put(dir, "g/function.conf", MP_S("[trigger]\n"));
    assert_string_equal(
        told_of("[trigger t]\nmqtt = a\n[retry]\non_failure = function:g\n",
                NULL, 0),
        "");
    assert_string_equal(
        told_of("[trigger t]\nmqtt = a\n[retry]\non_failure = function:f\n",
                NULL, 0),
        "warning 4: on_failure = function:f is this function itself: it is "
        "told of its own failures\n");
}

static void an_earlier_function_conf_stands_in_without_files(void **state)
{
    const char *conf = "[function]\nversion = 1.2.3\n[env]\nX = 1\n"
                       "[trigger t]\nmqtt = ${X}/{d}\n"
                       "[trigger r]\nhttp = POST /${X}/{d}\n"
                       "auth = token T\nthrottle = 1/s per {d}\n"
                       "[grant]\nsecret = T\n";
    struct mp_function *fn = function(conf);
    struct mp_slice kept;
    char path[80];

    (void)state;
    assert_non_null(fn);
    kept = mp_slice_str(fn->conf);
    assert_string_equal(fn->conf, conf);
    snprintf(path, sizeof path, "%s/f", dir);
    t_file_put(dir, "f/function.conf", MP_S("[oh\n"));
    t_file_put(dir, "f/main.lua", MP_S(""));
    {
        struct mp_function *other = mp_function_stand_in(path, "n1", kept);

        assert_non_null(other);
        assert_string_equal(other->name, "f");
        assert_string_equal(other->version, "1.2.3");
        assert_int_equal(other->n_triggers, 2);
        assert_string_equal(other->triggers[0].patterns[0].text, "1/{d}");
        assert_string_equal(other->triggers[1].patterns[0].text, "/1/{d}");
        assert_string_equal(other->triggers[1].secret, "T");
        assert_non_null(other->triggers[1].lines);
        assert_int_equal(other->n_files, 0);
        mp_function_unref(other);
    }
    assert_null(mp_function_stand_in(path, "n1", MP_S("[oh\n")));
    mp_function_unref(fn);
}

#define T(test) cmocka_unit_test_setup_teardown(test, make, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(every_mistake_is_told_with_its_line),
        T(what_is_not_said_has_its_default),
        T(what_is_said_is_kept),
        T(requests_are_kept_as_they_are_written),
        T(stream_lines_are_kept_and_filters_add_up),
        T(a_function_has_so_many_secrets),
        T(other_bytes_or_names_have_another_digest),
        T(modules_and_tests_are_found_below),
        T(a_directory_without_its_files_is_told),
        T(a_function_is_bounded_in_files_and_bytes),
        T(only_regular_files_inside_the_directory_are_read),
        T(a_directory_that_can_not_be_a_name_needs_one),
        T(a_bare_file_is_a_function_that_takes_any_topic),
        T(it_publishes_within_its_grants_only),
        T(an_actor_key_is_filled_in_and_bounded),
        T(who_has_no_trigger_is_warned_unless_it_is_meant),
        T(who_is_told_of_failures_is_looked_for),
        T(an_earlier_function_conf_stands_in_without_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
