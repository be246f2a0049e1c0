/*
 * test_catalog.c - core/catalog.h: directories that can't be read for now and
 * functions that are broken, with a real pool and its worker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/catalog.h"
#include "core/secrets.h"
#include "tests/unit/conf_kit.h"

enum { FDS_MAX = 1100 };

static char dir[64], functions[80], secrets[80], node[] = "n1";
static uv_loop_t loop;
static uv_timer_t deadline;
static struct mp_pool pool;
static struct mp_catalog catalog;
static struct mp_config config;
static unsigned n_settled, n_changed;

/* What the host would keep in its database. */
static struct {
    char *name, *text;
} kept[16];

static struct mp_slice kept_get(void *arg, const char *name)
{
    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        if (kept[i].name && strcmp(kept[i].name, name) == 0)
            return mp_slice_str(kept[i].text);
    return mp_slice(NULL, 0);
}

static void kept_put(void *arg, const char *name, struct mp_slice bytes)
{
    int at = -1;

    (void)arg;
    for (int i = 0; i < (int)ARRAY_LEN(kept); i++)
        if (kept[i].name ? strcmp(kept[i].name, name) == 0 : at < 0)
            at = i;
    assert_true(at >= 0);
    free(kept[at].name);
    free(kept[at].text);
    kept[at].name = bytes.ptr ? mp_strndup(name, strlen(name)) : NULL;
    kept[at].text = bytes.ptr ? mp_strndup(bytes.ptr, bytes.len) : NULL;
}

static void on_settled(void *arg, bool changed)
{
    (void)arg;
    n_changed += changed;
    n_settled++;
    mp_catalog_recall(&catalog);
}

static void on_loaded(void *arg, struct mp_version *v,
                      const struct mp_loaded *loaded)
{
    (void)arg;
    mp_catalog_loaded(&catalog, v, loaded);
}

static void too_late(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("it did not happen within 20 s");
}

static void close_rest(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void end_host(void)
{
    mp_catalog_close(&catalog);
    mp_list_each (at, &catalog.slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (slot->live)
            mp_version_unref(&pool, slot->live);
        if (slot->next)
            mp_version_unref(&pool, slot->next);
        mp_pool_leave(&pool, slot->group);
    }
    mp_pool_close(&pool);
    uv_walk(&loop, close_rest, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    mp_catalog_fini(&catalog);
    uv_loop_close(&loop);
}

static void begin_host(void)
{
    struct mp_pool_user user = {.loaded = on_loaded};

    n_settled = n_changed = 0;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &deadline);
    uv_timer_start(&deadline, too_late, 20000, 0);
    mp_pool_open(&pool, &loop, "n1", 1, 8, &user);
    mp_catalog_init(&catalog, &pool, &config, on_settled, NULL);
    catalog.kept = kept_get;
    catalog.keep = kept_put;
}

static int set_up(void **state)
{
    (void)state;
    t_dir_make(dir);
    snprintf(functions, sizeof functions, "%s/functions", dir);
    snprintf(secrets, sizeof secrets, "%s/secrets", dir);
    config = (struct mp_config){
        .functions = functions, .secrets = secrets, .node = node};
    config.mqtt.keepalive_us = 60 * MP_SECOND;
    begin_host();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    end_host();
    t_dir_remove(dir);
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        if (kept[i].name)
            kept_put(NULL, kept[i].name, mp_slice(NULL, 0));
    return 0;
}

/* The host begins anew on the same directory. */
static void restart(void)
{
    end_host();
    begin_host();
}

static void put_function(const char *name, const char *version)
{
    char file[100], conf[160];

    snprintf(file, sizeof file, "functions/%s/function.conf", name);
    snprintf(conf, sizeof conf,
             "[function]\nversion = %s\n[trigger in]\nmqtt = a/%s\n", version,
             name);
    t_file_put(dir, file, mp_slice_str(conf));
    snprintf(file, sizeof file, "functions/%s/main.lua", name);
    t_file_put(dir, file, MP_S("return function() end"));
}

static const char *version_of(const char *name)
{
    mp_list_each (at, &catalog.slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (strcmp(slot->name, name) == 0 && slot->live)
            return slot->live->fn->version;
    }
    return "";
}

static void until_live(const char *name, const char *version)
{
    while (strcmp(version_of(name), version) != 0)
        uv_run(&loop, UV_RUN_ONCE);
}

/* Take all descriptors but n; they are given back by free_fds. */
static int fds[FDS_MAX];
static unsigned n_fds;

static void take_fds(unsigned but)
{
    struct rlimit limit = {FDS_MAX / 2, FDS_MAX};
    int fd;

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        fds[n_fds++] = fd;
    for (; but; but--)
        close(fds[--n_fds]);
}

static void free_fds(void)
{
    while (n_fds)
        close(fds[--n_fds]);
}

static void a_directory_that_comes_later_is_read_then(void **state)
{
    unsigned triggers;

    (void)state;
    mp_catalog_scan(&catalog);
    assert_int_equal(n_settled, 1); /* the host is ready without it */
    put_function("a", "1.0.0");
    until_live("a", "1.0.0");
    assert_int_equal(mp_catalog_live(&catalog, &triggers), 1);
    assert_false(uv_is_active((uv_handle_t *)&catalog.again));
}

static void
without_a_descriptor_what_is_live_stays_and_it_tries_again(void **state)
{
    (void)state;
    put_function("a", "1.0.0");
    mp_catalog_scan(&catalog);
    until_live("a", "1.0.0");
    put_function("a", "2.0.0");
    put_function("b", "1.0.0");
    take_fds(0);
    mp_catalog_scan(&catalog);
    assert_string_equal(version_of("a"), "1.0.0");
    free_fds();
    until_live("a", "2.0.0");
    until_live("b", "1.0.0");
}

/* The directory can be listed, and no file in it opened. */
static void a_function_that_cannot_be_read_is_tried_again_alone(void **state)
{
    unsigned settled;

    (void)state;
    put_function("a", "1.0.0");
    put_function("bad", "no version");
    mp_catalog_scan(&catalog);
    until_live("a", "1.0.0");
    assert_int_equal(catalog.failed, 1);
    put_function("a", "2.0.0");
    put_function("bad", "1.0.0");
    take_fds(1);
    mp_catalog_scan(&catalog);
    assert_int_equal(catalog.failed, 2);
    assert_int_equal(catalog.n_unread, 2);
    settled = n_settled;
    put_function("bad", "no version"); /* now a mistake can be told */
    while (n_settled == settled) {
        free_fds();
        uv_run(&loop, UV_RUN_ONCE);
    }
    until_live("a", "2.0.0");
    assert_int_equal(catalog.failed, 1);
    assert_int_equal(catalog.n_unread, 0);
}

static const struct mp_slot *slot_of(const char *name)
{
    mp_list_each (at, &catalog.slots) {
        const struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (strcmp(slot->name, name) == 0)
            return slot;
    }
    return NULL;
}

static bool is_held(const char *name)
{
    const struct mp_slot *slot = slot_of(name);

    return slot && slot->live && slot->live->broken &&
           slot->breaker.until_us == INT64_MAX;
}

/* The next scan is settled. */
static void scan(void)
{
    unsigned settled = n_settled;

    mp_catalog_scan(&catalog);
    while (n_settled == settled)
        uv_run(&loop, UV_RUN_ONCE);
}

static const char *t_path(const char *file)
{
    static char path[160];

    snprintf(path, sizeof path, "%s/%s", dir, file);
    return path;
}

static void put_main(const char *name, const char *text)
{
    char file[100];

    snprintf(file, sizeof file, "functions/%s/main.lua", name);
    t_file_put(dir, file, mp_slice_str(text));
}

static void what_does_not_load_and_never_did_is_live_and_held(void **state)
{
    unsigned triggers;

    (void)state;
    put_function("a", "1.0.0");
    put_main("a", "return function( end");
    put_function("b", "1.0.0");
    scan();
    assert_true(is_held("a"));
    assert_false(is_held("b"));
    assert_int_equal(catalog.failed, 1);
    assert_int_equal(mp_catalog_live(&catalog, &triggers), 2);
    assert_int_equal(triggers, 2);
    put_function("a", "1.0.1");
    scan();
    assert_false(is_held("a"));
    assert_string_equal(version_of("a"), "1.0.1");
    assert_int_equal(slot_of("a")->breaker.state, MP_BREAKER_CLOSED);
    assert_int_equal(catalog.failed, 0);
}

static void what_did_load_before_is_not_replaced_by_what_does_not(void **state)
{
    (void)state;
    put_function("a", "1.0.0");
    scan();
    put_function("a", "2.0.0");
    put_main("a", "return function( end");
    scan();
    assert_string_equal(version_of("a"), "1.0.0");
    assert_false(is_held("a"));
    assert_int_equal(catalog.failed, 1);
}

/* As a boot that is too slow for init_timeout: the same bytes load later. */
static void what_did_not_load_is_loaded_again_by_itself(void **state)
{
    (void)state;
    put_function("a", "1.0.0");
    t_file_put(dir, "functions/a/function.conf",
               MP_S("[function]\nversion = 1.0.0\n[trigger in]\nmqtt = a/x\n"
                    "[breaker]\npause = 100ms\nmax_pause = 100ms\n"));
    /* It needs a moment of the clock that is not the first. */
    {
        char text[200];

        snprintf(text, sizeof text,
                 "if os.time() < %lld then error('too early') end\n"
                 "return function() end",
                 (long long)(mp_wall_us() / MP_SECOND + 2));
        put_main("a", text);
    }
    scan();
    assert_true(is_held("a"));
    while (is_held("a"))
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(catalog.failed, 0);
    assert_int_equal(n_settled, 2); /* nothing is said of tries between */
}

static void a_function_conf_that_is_broken_has_the_last_good_one(void **state)
{
    (void)state;
    put_function("a", "1.0.0");
    scan();
    assert_non_null(kept_get(NULL, "conf/a").ptr);
    restart();
    t_file_put(dir, "functions/a/function.conf", MP_S("[grants]\n"));
    scan();
    assert_true(is_held("a"));
    assert_string_equal(version_of("a"), "1.0.0");
    assert_int_equal(slot_of("a")->live->fn->n_triggers, 1);
    assert_int_equal(catalog.failed, 1);
    scan();
    assert_true(is_held("a"));
    put_function("a", "1.0.0"); /* the very bytes that stood in */
    scan();
    assert_false(is_held("a"));
    assert_int_equal(slot_of("a")->live->fn->n_files, 1);
}

static void one_that_cannot_be_read_at_start_is_held_until_it_can(void **state)
{
    (void)state;
    put_function("a", "1.0.0");
    scan();
    restart();
    put_function("other", "1.0.0");
    take_fds(1); /* for the directory, and none for what is in it */
    scan();
    free_fds();
    assert_true(is_held("a"));
    while (is_held("a"))
        uv_run(&loop, UV_RUN_ONCE);
    until_live("other", "1.0.0");
    assert_int_equal(catalog.failed, 0);
}

static void nothing_is_kept_of_what_never_lived_or_is_gone(void **state)
{
    (void)state;
    put_function("a", "1.0.0");
    put_function("b", "1.0.0");
    put_function("bad", "no version");
    scan();
    assert_null(kept_get(NULL, "conf/bad").ptr);
    assert_string_equal(kept_get(NULL, "confs").ptr, "a/b");
    assert_null(slot_of("bad"));
    unlink(t_path("functions/a/function.conf"));
    unlink(t_path("functions/a/main.lua"));
    scan();
    assert_null(kept_get(NULL, "conf/a").ptr);
    assert_string_equal(kept_get(NULL, "confs").ptr, "b");
}

static void put_granted(const char *version)
{
    char conf[160];

    put_function("hook", version);
    snprintf(conf, sizeof conf,
             "[function]\nversion = %s\n[grant]\nsecret = KEY\n"
             "[breaker]\npause = 100ms\nmax_pause = 100ms\n",
             version);
    t_file_put(dir, "functions/hook/function.conf", mp_slice_str(conf));
}

static void give(const char *value)
{
    struct mp_why why;

    assert_int_equal(
        mp_secret_write(secrets, "hook", "KEY", mp_slice_str(value), &why), 0);
}

static const struct mp_version *live_hook(void)
{
    return slot_of("hook")->live;
}

static void without_its_secret_it_is_held_until_that_is_given(void **state)
{
    (void)state;
    put_granted("1.0.0");
    scan();
    assert_true(is_held("hook"));
    assert_int_equal(catalog.failed, 1);
    scan();
    assert_true(is_held("hook"));
    assert_int_equal(catalog.failed, 1);
    give("first");
    while (is_held("hook")) /* by itself */
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(catalog.failed, 0);
    assert_int_equal(live_hook()->n_secrets, 1);
    assert_true(mp_slice_is(live_hook()->secrets[0].name, "KEY"));
    assert_true(mp_slice_is(live_hook()->secrets[0].value, "first"));
}

static void another_secret_is_another_version(void **state)
{
    const struct mp_version *before;

    (void)state;
    put_granted("1.0.0");
    give("first");
    scan();
    before = live_hook();
    assert_false(is_held("hook"));
    scan();
    assert_ptr_equal(live_hook(), before);
    give("second");
    scan();
    assert_ptr_not_equal(live_hook(), before);
    assert_true(mp_slice_is(live_hook()->secrets[0].value, "second"));
}

static void what_runs_stays_when_its_secret_is_gone(void **state)
{
    struct mp_why why;

    (void)state;
    put_granted("1.0.0");
    give("first");
    scan();
    assert_int_equal(mp_secret_remove(secrets, "hook", "KEY", &why), 0);
    put_granted("2.0.0");
    scan();
    assert_string_equal(version_of("hook"), "1.0.0");
    assert_true(mp_slice_is(live_hook()->secrets[0].value, "first"));
    assert_int_equal(catalog.failed, 1);
    give("first");
    scan();
    assert_string_equal(version_of("hook"), "2.0.0");
    assert_int_equal(catalog.failed, 0);
}

static void a_window_that_holds_pings_back_is_refused(void **state)
{
    static const char windowed[] = "[trigger in]\nmqtt = a/a\nlane = own\n"
                                   "batch = 10 within %s\nqos = %d\n";
    static const struct {
        const char *within;
        int qos;
        bool fine;
    } all[] = {{"30s", 1, true}, {"31s", 1, false}, {"31s", 0, true}};
    char conf[160];

    (void)state;
    put_function("a", "1.0.0");
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        snprintf(conf, sizeof conf, windowed, all[i].within, all[i].qos);
        t_file_put(dir, "functions/a/function.conf", mp_slice_str(conf));
        scan();
        assert_int_equal(catalog.failed == 0, all[i].fine);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_directory_that_comes_later_is_read_then),
        T(without_a_descriptor_what_is_live_stays_and_it_tries_again),
        T(a_function_that_cannot_be_read_is_tried_again_alone),
        T(what_does_not_load_and_never_did_is_live_and_held),
        T(what_did_load_before_is_not_replaced_by_what_does_not),
        T(what_did_not_load_is_loaded_again_by_itself),
        T(a_function_conf_that_is_broken_has_the_last_good_one),
        T(one_that_cannot_be_read_at_start_is_held_until_it_can),
        T(nothing_is_kept_of_what_never_lived_or_is_gone),
        T(without_its_secret_it_is_held_until_that_is_given),
        T(another_secret_is_another_version),
        T(what_runs_stays_when_its_secret_is_gone),
        T(a_window_that_holds_pings_back_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
