/*
 * What image.c promises about images, checked on the inside; and what a file
 * may return, checked from the outside.
 */
#include "tests/unit/worker_kit.h"

#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "luart/arena.h"
#include "luart/image.h"
#include "luart/invoke.h"
#include "luart/run.h"

enum { MEMORY = 512 << 10 };

static struct mp_page page;

static int open_runtime(void **fixture)
{
    struct mp_why why;

    (void)fixture;
    assert_int_equal(mp_run_open(&page, &why), 0);
    assert_int_equal(mp_image_seed(&why), 0);
    return 0;
}

/* Load in this process, uncaged, to look inside. */
static struct mp_image *load(uint32_t fn, const char *text)
{
    struct mp_pair files[] = {{MP_S("main.lua"), mp_slice_str(text)}};
    struct mp_slice grants[] = {MP_S("#")}, triggers[] = {MP_S("readings")};
    struct mp_load l = {.id = 1,
                        .fn = fn,
                        .name = MP_S("f"),
                        .version = MP_S("1.0.0"),
                        .node = MP_S("n"),
                        .memory = MEMORY,
                        .outputs = 10,
                        .output_bytes = 64 << 10,
                        .log_bytes = 4 << 10,
                        .files = files,
                        .n_files = 1,
                        .grants = grants,
                        .n_grants = 1,
                        .triggers = triggers,
                        .n_triggers = 1};
    struct mp_buf frame;
    struct mp_loaded loaded;
    struct mp_slice body;
    uint8_t type;

    mp_buf_init(&frame, MP_FRAME_MAX);
    mp_wire_load(&frame, &l);
    assert_true(mp_frame_next(mp_buf_bytes(&frame), &type, &body) > 0);
    assert_int_equal(mp_image_load(body, &loaded), 0);
    if (loaded.kind != MP_OUT_OK)
        fail_msg("%.*s", MP_FMT(loaded.error));
    mp_buf_fini(&frame);
    return mp_image_find(fn);
}

/* Run once in this process; what it returned, as text. */
static const char *run(uint32_t fn)
{
    static struct mp_buf out = {.max = MP_FRAME_MAX};
    static char text[128];
    struct mp_run r = {
        .id = 7,
        .fn = fn,
        .event = {.trigger = MP_S("readings"), .data = MP_S("")}};
    struct mp_outcome done;
    struct mp_slice body;
    uint8_t type;

    mp_buf_reset(&out);
    mp_invoke(&r, &out);
    assert_true(mp_frame_next(mp_buf_bytes(&out), &type, &body) > 0);
    assert_int_equal(type, MP_FRAME_DONE);
    assert_int_equal(mp_read_done(body, &done), 0);
    if (done.kind != MP_OUT_OK)
        fail_msg("%.*s", MP_FMT(done.error));
    snprintf(text, sizeof text, "%.*s", MP_FMT(done.result));
    return text;
}

/* ---- the four promises ---- */

static void stays_put(void **fixture)
{
    struct mp_image *a, *b;
    const char *arena = mp_arena_used().ptr;

    (void)fixture;
    a = load(1, "return function() return 'a' end");
    b = load(2, "local t = {} for i = 1, 500 do t[i] = {} end\n"
                "return function() return 'b' .. #t end");
    assert_ptr_equal(a->L, b->L); /* the first block of an empty arena */
    for (int i = 0; i < 100; i++) {
        assert_string_equal(run(1), "a");
        assert_string_equal(run(2), "b500");
    }
    assert_ptr_equal(mp_arena_used().ptr, arena);
}

/* Runs of every kind of use leave no byte behind on libc's heap. */
static void sealed(void **fixture)
{
    struct mp_image *image;
    struct mp_slice used;
    char *before;

    (void)fixture;
    image = load(1, "local mp, json = require 'moonpool', require 'json'\n"
                    "return function(e)\n"
                    "  local co = coroutine.wrap(function() coroutine.yield() "
                    "end) co()\n"
                    "  local f = load('return 1') f()\n"
                    "  json.decode(json.encode{1, {a = 2}});\n"
                    "  ('x'):rep(5000):gsub('x', 'yy')\n"
                    "  return true end");
    mp_image_enter(image);
    used = mp_arena_used();
    before = malloc(used.len);
    assert_non_null(before);
    memcpy(before, used.ptr, used.len);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(run(1), "true");
        mp_image_enter(image);
        used = mp_arena_used();
        /* apart from chance, the state is the same byte by byte */
        memcpy(image->random, before + ((char *)image->random - used.ptr),
               4 * sizeof(uint64_t));
        assert_memory_equal(used.ptr, before, used.len);
    }
    free(before);
}

static void reseeded(void **fixture)
{
    char first[128];

    (void)fixture;
    load(1, "local before = math.random(1 << 40)\n"
            "return function() return before .. ' ' .. "
            "math.random(1 << 40) end");
    strcpy(first, run(1));
    for (int i = 0; i < 20; i++) {
        const char *again = run(1);

        assert_memory_equal(again, first, 3); /* the file ran once */
        assert_string_not_equal(again, first);
        strcpy(first, again);
    }
    load(1, "return function() math.randomseed(42) return math.random(1 << 40)"
            " end");
    strcpy(first, run(1));
    assert_string_equal(run(1), first); /* who seeds gets his own series */
}

static void at_rest(void **fixture)
{
    struct mp_image *image;
    lua_Debug ar;

    (void)fixture;
    image = load(1, "return function() end");
    mp_image_enter(image);
    assert_int_equal(lua_gettop(image->L), 0);
    assert_int_equal(lua_getstack(image->L, 0, &ar), 0);
    assert_int_equal(lua_gettop(image->co), 0);
    assert_int_equal(lua_status(image->co), LUA_OK);
    assert_int_equal(lua_getstack(image->co, 0, &ar), 0);
}

static void an_image_cannot_be_written(void **fixture)
{
    struct mp_image *image = load(1, "return function() end");
    pid_t child = fork();
    int status;

    (void)fixture;
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile char *)(uintptr_t)image->bytes.ptr = 1;
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
#if !defined(__SANITIZE_ADDRESS__)
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
#else
    assert_int_not_equal(status, 0);
#endif
}

/* ---- the collector ---- */

/* Lua's promise that we build on: a negative step only moves the debt. */
static void a_negative_step_lets_the_collector_sleep(void **fixture)
{
    lua_State *L = luaL_newstate();
    int before;

    (void)fixture;
    lua_gc(L, LUA_GCINC, 110, 400, 12);
    lua_gc(L, LUA_GCCOLLECT);
    before = lua_gc(L, LUA_GCCOUNT);
    assert_int_equal(lua_gc(L, LUA_GCSTEP, -1000), 0);
    for (int i = 0; i < 900; i++) { /* 900 KB of garbage */
        lua_newuserdatauv(L, 1000, 0);
        lua_pop(L, 1);
    }
    assert_true(lua_gc(L, LUA_GCCOUNT) > before + 850);
    for (int i = 0; i < 900; i++) { /* and it wakes */
        lua_newuserdatauv(L, 1000, 0);
        lua_pop(L, 1);
    }
    assert_true(lua_gc(L, LUA_GCCOUNT) < before + 1300);
    lua_close(L);
}

static void the_collector_sleeps_until_half_the_limit(void **fixture)
{
    struct mp_image *image = load(1, "return function() end");
    int low = 0, kb = 0;

    (void)fixture;
    mp_inv_reset(image, 1);
    mp_image_enter(image);
    for (int i = 0; i < 20000; i++) {
        int now = lua_gc(image->L, LUA_GCCOUNT);

        if (now < kb && !low)
            low = kb; /* it has collected for the first time */
        kb = now;
        lua_newuserdatauv(image->L, 100, 0);
        lua_pop(image->L, 1);
    }
    assert_in_range(low, MEMORY / 2048 - 20, MEMORY / 2048 + 40);
}

static void an_image_is_small(void **fixture)
{
    (void)fixture;
    assert_in_range(load(1, "return function() end")->bytes.len, 1, 26 << 10);
    /* garbage of the file's own run isn't in it */
    assert_in_range(load(1, "for i = 1, 5000 do local t = {'a text' .. i} end\n"
                            "return function() end")
                        ->bytes.len,
                    1, 32 << 10);
}

/* ---- what a file may return, and how loading fails ---- */

static struct kit *k;

static int open_kit(void **fixture)
{
    (void)fixture;
    k = kit_open();
    return 0;
}

static int close_kit(void **fixture)
{
    (void)fixture;
    kit_close(k);
    return 0;
}

static const struct {
    const char *text;
    enum mp_kind kind;
    const char *error;
} files[] = {
    {"return function() end", MP_OUT_OK, ""},
    {"return {readings = function() end}", MP_OUT_OK, ""},
    {"", MP_OUT_ERROR, "main.lua returned nothing; it must return"},
    {"return 12", MP_OUT_ERROR, "main.lua returned number"},
    {"return {}", MP_OUT_ERROR, "an empty table"},
    {"return {function() end}", MP_OUT_ERROR, "a number as key"},
    {"return {readings = 1}", MP_OUT_ERROR,
     "handler 'readings' is a number, not a function"},
    {"return {['a-name-of-20-bytes-x'] = function() end}", MP_OUT_OK, ""},
    {"return {['a-name-of-21-bytes-xx'] = function() end}", MP_OUT_ERROR,
     "a handler with a name of 21 bytes; triggers have names of at most 20"},
    {"local h = {} for i = 1, 4 do h[i .. ('n'):rep(20000)] = print end "
     "return h",
     MP_OUT_ERROR, "a name of 20001 bytes"},
    {"local h = {} for i = 1, 65 do h['h' .. i] = print end return h",
     MP_OUT_ERROR, "more than 64 handlers"},
    {"return {[print] = print}", MP_OUT_ERROR, "a function as key"},
    {"x = = 1", MP_OUT_ERROR, "main.lua:1: unexpected symbol near '='"},
    {"\n\nerror('early')", MP_OUT_ERROR, "main.lua:3: early"},
    {"error({})", MP_OUT_ERROR, "(error object is a table)"},
    {"\x1bLua", MP_OUT_ERROR, "attempt to load a binary chunk"},
    {"require 'nope'", MP_OUT_ERROR,
     "main.lua:1: module 'nope' not found; the function has no nope.lua"},
    {"local t = {} while true do t[#t + 1] = {} end", MP_OUT_MEMORY,
     "limits.memory"},
    {"local mp = require 'moonpool' mp.publish('a', 'b')", MP_OUT_ERROR,
     "main.lua:1: publish is not possible while main.lua is loading; call it "
     "in "
     "the handler"},
    {"local mp = require 'moonpool' mp.sleep(1)", MP_OUT_ERROR,
     "sleep is not possible while main.lua is loading"},
    {"local mp = require 'moonpool' local x = mp.env.LIMT", MP_OUT_ERROR,
     "main.lua:1: env has no 'LIMT'; did you mean 'LIMIT'?"},
    {"local mp = require 'moonpool' coroutine.wrap(function() mp.sleep(1) "
     "end)()",
     MP_OUT_ERROR, "sleep is not possible while main.lua is loading"},
    {"coroutine.yield()", MP_OUT_ERROR, "outside a coroutine"},
};

static void a_file_must_return_its_handlers(void **fixture)
{
    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        print_message("%s\n", files[i].text);
        kit_try_load(k, 1, files[i].text);
        if (k->loaded.kind != files[i].kind)
            fail_msg("%s: %.*s", mp_kind_name(k->loaded.kind),
                     MP_FMT(k->loaded.error));
        assert_has(k->loaded.error, files[i].error);
    }
}

static void a_failed_load_leaves_the_old_version_running(void **fixture)
{
    (void)fixture;
    kit_load(k, 1, "return function() return 'old' end");
    kit_try_load(k, 1, "error('new')");
    assert_int_equal(k->loaded.kind, MP_OUT_ERROR);
    kit_run(k, 1, "");
    assert_slice(k->done.result, "old");
}

static void handlers_are_told_and_found_by_trigger(void **fixture)
{
    (void)fixture;
    kit_load(k, 1,
             "return {readings = function() return 'r' end,"
             " alarm = function() return 'a' end}");
    assert_false(k->loaded.single);
    assert_int_equal(k->loaded.n_handlers, 2);
    kit_run(k, 1, "");
    assert_slice(k->done.result, "r");
    k->trigger = "daily";
    kit_run(k, 1, "");
    assert_int_equal(k->done.kind, MP_OUT_ERROR);
    assert_slice(k->done.error, "main.lua has no handler for trigger 'daily'");
    kit_load(k, 1, "return function(e) return e.trigger end");
    assert_true(k->loaded.single);
    kit_run(k, 1, "");
    assert_slice(k->done.result, "daily");
}

static void modules_of_the_package_are_loaded_once(void **fixture)
{
    static const char *const with_modules[] = {
        "main.lua",
        "local a, b = require 'a', require 'lib.b'\n"
        "assert(require 'a' == a and package == nil)\n"
        "return function() return a.n .. b .. require 'late' end",
        "a.lua",
        "loads = (loads or 0) + 1 return {n = loads, name = ...}",
        "lib/b.lua",
        "require 'a' return 'b'",
        "late.lua",
        "return 'late'",
        NULL,
    };
    static const char *const looping[] = {
        "main.lua", "require 'a'", "a.lua", "require 'b'",
        "b.lua",    "require 'a'", NULL};

    (void)fixture;
    kit_load_files(k, 1, with_modules);
    assert_int_equal(k->loaded.kind, MP_OUT_OK);
    for (int i = 0; i < 2; i++) {
        kit_run(k, 1, "");
        assert_slice(k->done.result, "1blate");
    }
    kit_load_files(k, 1, looping);
    assert_int_equal(k->loaded.kind, MP_OUT_ERROR);
    assert_has(k->loaded.error, "b.lua:1: module 'a' requires itself");
    assert_has(k->loaded.traceback, "main.lua:1:");
}

static void a_module_that_failed_fails_the_same_way_again(void **fixture)
{
    static const char *const twice[] = {
        "main.lua",
        "local r = {}\n"
        "for i = 1, 2 do r[i] = select(2, pcall(require, 'broken')) end\n"
        "pcall(require, 'flaky') r[3] = require 'flaky'\n"
        "return function() return table.concat(r, '|') end",
        "broken.lua",
        "error('no luck')",
        "flaky.lua",
        "tried = not tried if tried then error(nil) end return 'well'",
        NULL,
    };
    static const char *const fatal[] = {"main.lua", "require 'broken'",
                                        "broken.lua", "\nerror('no luck')",
                                        NULL};

    (void)fixture;
    kit_load_files(k, 1, twice);
    assert_int_equal(k->loaded.kind, MP_OUT_OK);
    kit_run(k, 1, "");
    assert_slice(k->done.result,
                 "broken.lua:1: no luck|broken.lua:1: no luck|well");
    kit_load_files(k, 1, fatal);
    assert_int_equal(k->loaded.kind, MP_OUT_ERROR);
    assert_slice(k->loaded.error, "broken.lua:2: no luck");
    assert_has(k->loaded.traceback, "broken.lua:2:");
}

/* The state of chance is ours, whatever the file does to its functions. */
static void a_file_may_take_chance_away(void **fixture)
{
    static const char *const texts[] = {
        "math.random = nil math.randomseed = nil",
        "math.random = function() return 4 end math.randomseed = nil",
        "math.random = print",
        "math = nil",
        "for name in pairs(math) do math[name] = nil end",
    };

    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char text[256];

        snprintf(text, sizeof text,
                 "%s\nreturn function() local t = {} for i = 1, 9999 do "
                 "t[1] = {i} end return 'fine' end",
                 texts[i]);
        kit_load(k, 1, text);
        for (int n = 0; n < 3; n++) {
            kit_run(k, 1, "");
            assert_slice(k->done.result, "fine");
        }
    }
}

static void the_log_of_the_file_comes_with_its_load(void **fixture)
{
    struct mp_reader r;
    struct mp_log_line line;
    struct mp_pair pairs[16];

    (void)fixture;
    kit_load(k, 1, "print('hello', 1, nil) return function() end");
    assert_int_equal(k->loaded.n_logs, 1);
    r = mp_reader(k->loaded.logs);
    assert_int_equal(mp_read_log(&r, &line, pairs), 0);
    assert_slice(line.message, "hello  1  nil");
}

int main(void)
{
#define WITH_KIT(name)                                                         \
    cmocka_unit_test_setup_teardown(name, open_kit, close_kit)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_put),
        cmocka_unit_test(sealed),
        cmocka_unit_test(reseeded),
        cmocka_unit_test(at_rest),
        cmocka_unit_test(an_image_cannot_be_written),
        cmocka_unit_test(a_negative_step_lets_the_collector_sleep),
        cmocka_unit_test(the_collector_sleeps_until_half_the_limit),
        cmocka_unit_test(an_image_is_small),
        WITH_KIT(a_file_must_return_its_handlers),
        WITH_KIT(a_failed_load_leaves_the_old_version_running),
        WITH_KIT(handlers_are_told_and_found_by_trigger),
        WITH_KIT(modules_of_the_package_are_loaded_once),
        WITH_KIT(a_module_that_failed_fails_the_same_way_again),
        WITH_KIT(a_file_may_take_chance_away),
        WITH_KIT(the_log_of_the_file_comes_with_its_load),
    };

    return cmocka_run_group_tests(tests, open_runtime, NULL);
}
