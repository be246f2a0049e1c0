/*
 * test_router.c - core/router.h: which function a message is for, and what is
 * said of one that is for none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/log.h"
#include "core/pool.h"
#include "core/router.h"
#include "tests/unit/conf_kit.h"

enum { VERSIONS_MAX = 4 };

static char dir[64];
static uv_loop_t loop;
static struct mp_pool pool;
static struct mp_link slots;
static struct mp_slot slot[VERSIONS_MAX];
static unsigned n_slots;
static struct mp_router router;
static char node[] = "kit";
static const struct mp_config config = {.node = node};
static char taken[200];

/* A live function with these triggers. */
static void add(const char *name, const char *conf)
{
    char path[100], file[100];
    struct mp_report report = {.say = NULL};
    struct mp_function *fn;
    struct mp_slot *s = &slot[n_slots++];

    snprintf(file, sizeof file, "%s/function.conf", name);
    t_file_put(dir, file, mp_slice_str(conf));
    snprintf(file, sizeof file, "%s/main.lua", name);
    t_file_put(dir, file, MP_S("return print"));
    snprintf(path, sizeof path, "%s/%s", dir, name);
    fn = mp_function_read(path, "n1", &report);
    assert_non_null(fn);
    mp_slot_init(s, name);
    mp_list_append(&slots, &s->link);
    s->live = mp_version_new(&pool, s, fn);
    mp_function_unref(fn);
}

static int make(void **state)
{
    struct mp_pool_user user = {.arg = NULL};

    (void)state;
    t_dir_make(dir);
    uv_loop_init(&loop);
    mp_pool_open(&pool, &loop, "n1", 1, 1, &user);
    mp_list_init(&slots);
    n_slots = 0;
    return 0;
}

static int clear(void **state)
{
    (void)state;
    mp_router_fini(&router, &pool);
    for (unsigned i = 0; i < n_slots; i++) {
        mp_version_unref(&pool, slot[i].live);
        mp_metrics_fini(&slot[i].metrics);
    }
    mp_pool_close(&pool);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    t_dir_remove(dir);
    return 0;
}

static void take(void *arg, const struct mp_router_entry *entry,
                 const struct mp_pair *params, uint32_t n_params)
{
    size_t len = strlen(taken);

    (void)arg;
    (void)params;
    (void)n_params;
    snprintf(taken + len, sizeof taken - len, "%s/%s ",
             entry->version->fn->name, entry->trigger->name);
}

/* Who takes a message with this topic that came on this lane. */
static const char *takers(const char *topic, uint32_t lane)
{
    struct mp_input in = {.qos = 1, .lane = lane, .topic = mp_slice_str(topic)};

    taken[0] = '\0';
    (void)mp_router_match(&router, &in, take, NULL);
    return taken;
}

static void the_first_trigger_of_each_function_takes_it(void **state)
{
    (void)state;
    add("a", "[trigger one]\nmqtt = x/1\n[trigger any]\nmqtt = x/+\n");
    add("b", "[trigger all]\nmqtt = #\n");
    mp_router_build(&router, &slots, &config);
    assert_string_equal(takers("x/1", 0), "a/one b/all ");
    assert_string_equal(takers("x/2", 0), "a/any b/all ");
    assert_string_equal(takers("y", 0), "b/all ");
}

static unsigned lines_of(const char *text, const char *what)
{
    unsigned n = 0;

    while ((text = strstr(text, what)) != NULL) {
        n++;
        text++;
    }
    return n;
}

/*
 * A session that others have used, or a function that went away.  The copy
 * that another lane takes is no such thing.
 */
static void what_is_for_nobody_is_told_once_a_minute(void **state)
{
    char path[80], text[2000];
    int saved = dup(2), file;
    ssize_t n;

    (void)state;
    add("a", "[trigger own]\nmqtt = x/1\nlane = own\n"
             "[trigger any]\nmqtt = x/+\n");
    mp_router_build(&router, &slots, &config);
    snprintf(path, sizeof path, "%s/log", dir);
    file = open(path, O_RDWR | O_CREAT, 0600);
    dup2(file, 2);
    mp_log_open(MP_LOG_TEXT, MP_INFO);
    takers("x/1", 0); /* known: the lane's own copy is taken */
    takers("y/1", 0);
    takers("y/2", 0);
    takers("x/1", 77);
    dup2(saved, 2);
    close(saved);
    n = pread(file, text, sizeof text - 1, 0);
    close(file);
    assert_true(n > 0);
    text[n] = '\0';
    assert_int_equal(lines_of(text, "no function is for"), 1);
    assert_non_null(strstr(text, "y/1"));
    assert_null(strstr(text, "y/2"));
    assert_null(strstr(text, "x/1"));
}

#define T(test) cmocka_unit_test_setup_teardown(test, make, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_first_trigger_of_each_function_takes_it),
        T(what_is_for_nobody_is_told_once_a_minute),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
