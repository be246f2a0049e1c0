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

#include "core/base/hash.h"
#include "core/endpoint.h"
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
                 const struct mp_pair *params, uint32_t n_params,
                 const struct mp_stream_values *values, bool filtered)
{
    size_t len = strlen(taken);

    (void)arg;
    (void)params;
    (void)n_params;
    (void)values;
    snprintf(taken + len, sizeof taken - len, "%s%s/%s ", filtered ? "-" : "",
             entry->version->fn->name, entry->trigger->name);
}

static const char *takers_of(const char *topic, uint32_t lane, const char *data,
                             uint32_t route)
{
    struct mp_input in = {.qos = 1,
                          .lane = lane,
                          .topic = mp_slice_str(topic),
                          .data = mp_slice_str(data),
                          .routes = {route},
                          .n_routes = route > 0};

    taken[0] = '\0';
    (void)mp_router_match(&router, &in, take, NULL);
    return taken;
}

/* Who takes a message with this topic that came on this lane. */
static const char *takers(const char *topic, uint32_t lane)
{
    return takers_of(topic, lane, "", 0);
}

static void the_first_trigger_whose_filter_matches_takes_it(void **state)
{
    (void)state;
    add("a", "[trigger hot]\nmqtt = t/{d}\nfilter = temp > 30\n"
             "[trigger cold]\nmqtt = t/+\nfilter = temp < 10\n"
             "[trigger named]\nmqtt = {x}/b\nfilter = {x} == \"t\"\n");
    mp_router_build(&router, &slots, &config);
    assert_string_equal(takers_of("t/a", 0, "{\"temp\":31}", 0), "a/hot ");
    assert_string_equal(takers_of("t/a", 0, "{\"temp\":9}", 0), "a/cold ");
    assert_string_equal(takers_of("t/b", 0, "{\"temp\":20}", 0), "a/named ");
}

/* Once, whatever the copies that come. */
static void where_no_filter_wants_it_the_first_one_has_skipped_it(void **state)
{
    uint32_t hot, cold;

    (void)state;
    add("a", "[trigger hot]\nmqtt = t/{d}\nfilter = temp > 30\n"
             "[trigger cold]\nmqtt = t/#\nfilter = temp < 10\n");
    mp_router_build(&router, &slots, &config);
    hot = router.routes[0].id;
    cold = router.routes[1].id;
    assert_string_equal(takers_of("t/a", 0, "{\"temp\":20}", hot), "-a/hot ");
    assert_string_equal(takers_of("t/a", 0, "{\"temp\":20}", cold), "");
    assert_string_equal(takers_of("t/a", 0, "{\"temp\":5}", hot), "");
    assert_string_equal(takers_of("t/a", 0, "{\"temp\":5}", cold), "a/cold ");
    assert_string_equal(takers_of("t/a", 0, "no JSON", hot), "-a/hot ");
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

/* ---- requests ---- */

/* Who takes a request that the transport has found this trigger for. */
static const char *answerers(enum mp_event_type type, uint32_t id,
                             const char *path)
{
    struct mp_input in = {.type = type,
                          .topic = mp_slice_str(path),
                          .method = MP_S("POST"),
                          .routes = {id},
                          .n_routes = 1};

    taken[0] = '\0';
    (void)mp_router_match(&router, &in, take, NULL);
    return taken;
}

/* The number of who answers a POST there; 0: nobody. */
static uint32_t found(const struct mp_endpoints *all, const char *path)
{
    unsigned allowed;
    const struct mp_endpoint *e = mp_endpoint_find(
        all->list, all->n, MP_POST, mp_slice_str(path), &allowed);

    return e ? e->id : 0;
}

static void a_request_is_for_the_trigger_that_was_found(void **state)
{
    uint32_t any, own;

    (void)state;
    add("a", "[trigger any]\nhttp = /x/{y}\n[trigger c]\ncoap = /x/{y}\n"
             "[trigger in]\nmqtt = x/+\n");
    add("b", "[trigger own]\nhttp = /x/1\n");
    mp_router_build(&router, &slots, &config);
    assert_int_equal(router.http.n, 2);
    assert_int_equal(router.coap.n, 1);
    own = found(&router.http, "/x/1");
    any = found(&router.http, "/x/2");
    assert_string_equal(answerers(MP_EVENT_HTTP, own, "/x/1"), "b/own ");
    assert_string_equal(answerers(MP_EVENT_HTTP, any, "/x/2"), "a/any ");
    assert_string_equal(
        answerers(MP_EVENT_COAP, found(&router.coap, "/x/2"), "/x/2"), "a/c ");
    assert_string_equal(answerers(MP_EVENT_COAP, any, "/x/2"), "");
    assert_string_equal(answerers(MP_EVENT_HTTP, any, "/y"), "");
    assert_string_equal(answerers(MP_EVENT_HTTP, own + any, "/x/1"), "");
}

static void of_two_of_one_shape_the_second_is_not_served(void **state)
{
    char path[80], text[2000];
    int saved = dup(2), file;
    ssize_t n;

    (void)state;
    add("a", "[trigger one]\nhttp = GET,POST /x/{y}\n");
    add("b", "[trigger two]\nhttp = POST,PUT /x/{z}\n"
             "[trigger get]\nhttp = DELETE /x/{z}\n"
             "[trigger c]\ncoap = /x/{z}\n");
    snprintf(path, sizeof path, "%s/log", dir);
    file = open(path, O_RDWR | O_CREAT, 0600);
    dup2(file, 2);
    mp_log_open(MP_LOG_TEXT, MP_INFO);
    mp_router_build(&router, &slots, &config);
    dup2(saved, 2);
    close(saved);
    n = pread(file, text, sizeof text - 1, 0);
    close(file);
    assert_true(n > 0);
    text[n] = '\0';
    assert_int_equal(lines_of(text, "not served"), 1);
    assert_non_null(strstr(text, "error b: "));
    assert_non_null(strstr(text, "is answered by a/one already"));
    assert_non_null(strstr(text, "trigger=two"));
    assert_int_equal(router.http.n, 2); /* another method is another thing */
    assert_int_equal(router.coap.n, 1);
    assert_string_equal(
        answerers(MP_EVENT_HTTP, found(&router.http, "/x/1"), "/x/1"),
        "a/one ");
}

/* As router.c numbers the trigger "http" of fN. */
static uint32_t number_of(unsigned n)
{
    static const struct mp_hash_key key = {0x6d6f6f6e, 0x706f6f6c};
    struct mp_hasher h;
    char name[16];

    snprintf(name, sizeof name, "f%u", n);
    mp_hasher_init(&h, &key);
    mp_hasher_add(&h, mp_slice_str(name));
    mp_hasher_add(&h, MP_S("http"));
    mp_hasher_add_u64(&h, MP_TRIGGER_HTTP);
    return 1 + (uint32_t)(mp_hasher_end(&h).lo % UINT64_C(268435454));
}

struct numbered {
    uint32_t number;
    unsigned n;
};

static int by_number(const void *a, const void *b)
{
    const struct numbered *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

/* The first two of so many whose numbers are one. */
static uint32_t find_two(unsigned *one, unsigned *other)
{
    enum { N = 100000 };
    struct numbered *all = mp_zalloc(N * sizeof *all);
    uint32_t number = 0;

    for (unsigned i = 0; i < N; i++)
        all[i] = (struct numbered){number_of(i), i};
    qsort(all, N, sizeof *all, by_number);
    for (unsigned i = 1; i < N && !number; i++) {
        if (all[i].number != all[i - 1].number)
            continue;
        number = all[i].number;
        *one = all[i - 1].n;
        *other = all[i].n;
    }
    free(all);
    assert_int_not_equal(number, 0);
    return number;
}

static void two_triggers_never_share_a_number(void **state)
{
    unsigned one = 0, other = 0;
    uint32_t number = find_two(&one, &other);
    char name[16], wanted[40];

    (void)state;
    snprintf(name, sizeof name, "f%u", one);
    add(name, "[trigger]\nhttp = /one\n");
    snprintf(wanted, sizeof wanted, "f%u/http ", other);
    snprintf(name, sizeof name, "f%u", other);
    add(name, "[trigger]\nhttp = /other\n");
    mp_router_build(&router, &slots, &config);
    assert_int_equal(found(&router.http, "/one"), number);
    assert_int_equal(found(&router.http, "/other"),
                     number % UINT32_C(268435455) + 1);
    assert_string_equal(
        answerers(MP_EVENT_HTTP, found(&router.http, "/other"), "/other"),
        wanted);
}

#define T(test) cmocka_unit_test_setup_teardown(test, make, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_first_trigger_whose_filter_matches_takes_it),
        T(where_no_filter_wants_it_the_first_one_has_skipped_it),
        T(the_first_trigger_of_each_function_takes_it),
        T(what_is_for_nobody_is_told_once_a_minute),
        T(a_request_is_for_the_trigger_that_was_found),
        T(of_two_of_one_shape_the_second_is_not_served),
        T(two_triggers_never_share_a_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
