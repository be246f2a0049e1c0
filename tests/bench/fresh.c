/*
 * fresh.c - what a fresh state for every event costs.
 *
 * The same handler, which decodes a 90-byte JSON reading and compares it, runs
 *
 *   fresh    on a copy of its image, event table included, as the worker does;
 *   reused   on one state that is never reset, its event table filled anew;
 *   cold     in a state that is opened, loaded, used and closed for it.
 *
 * Images of 64 and 128 KB are the same function beside a table that fills
 * them up.  Each round takes turns in short slices, so that what else the
 * machine does meets all alike; figures and differences are medians of the
 * rounds.
 * With --json one line a row follows, for bench.json.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "luart/api.h"
#include "luart/image.h"
#include "luart/invoke.h"
#include "luart/json.h"
#include "luart/run.h"

enum { ROUNDS = 7, SLICES = 10, RUNS = 5000, COLD_RUNS = 200, SIZES = 3 };

static const char reading[] =
    "{\"temp\":21.37,\"hum\":48.2,\"device\":\"kiln-2\",\"seq\":184467,"
    "\"battery\":3.71,\"ok\":true,\"a\":10}";

static const char handler[] =
    "local mp, json = require 'moonpool', require 'json'\n"
    "local limit = tonumber(mp.env.LIMIT)\n"
    "return function(event)\n"
    "  local reading = json.decode(event.data)\n"
    "  if reading.temp <= limit then return end\n"
    "  mp.publish('alerts/' .. event.params.device, reading)\n"
    "end\n";

/* Without moonpool: what anybody would write around a bare Lua state. */
static const char cold_handler[] =
    "local json = ...\n"
    "local limit = 30\n"
    "return function(event)\n"
    "  local reading = json.decode(event.data)\n"
    "  if reading.temp <= limit then return end\n"
    "end\n";

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "fresh: %s\n", what);
    exit(1);
}

static const struct mp_pair params[] = {{MP_S("device"), MP_S("kiln-2")}};

static struct mp_run one_run(uint32_t fn)
{
    return (struct mp_run){.id = 1,
                           .fn = fn,
                           .clock_ok = true,
                           .event = {.type = MP_EVENT_MQTT,
                                     .id = MP_S("4f2a9c-1b3d7"),
                                     .source = MP_S("mqtt://127.0.0.1:1883"),
                                     .subject = MP_S("sensors/kiln-2/env"),
                                     .trigger = MP_S("readings"),
                                     .time_us = INT64_C(1772366400123000),
                                     .attempt = 1,
                                     .data = MP_S(reading),
                                     .topic = MP_S("sensors/kiln-2/env"),
                                     .qos = 1,
                                     .params = params,
                                     .n_params = 1}};
}

/* Load the handler beside about `fill` bytes of others; its image's size. */
static uint32_t load(uint32_t fn, size_t fill)
{
    static char text[1024];
    struct mp_pair env[] = {{MP_S("LIMIT"), MP_S("30")}};
    struct mp_pair files[] = {{MP_S("main.lua"), {text, 0}}};
    struct mp_slice grants[] = {MP_S("alerts/#")},
                    triggers[] = {MP_S("readings")};
    struct mp_load l = {.id = 1,
                        .fn = fn,
                        .name = MP_S("overheat"),
                        .version = MP_S("1.0.0"),
                        .node = MP_S("bench"),
                        .memory = 1 << 20,
                        .outputs = 100,
                        .output_bytes = 256 << 10,
                        .log_bytes = 16 << 10,
                        .env = env,
                        .n_env = 1,
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

    files[0].value.len = (size_t)snprintf(
        text, sizeof text,
        "fill = {} for i = 1, %zu do fill[i] = 'a value of a table ' .. i end\n"
        "%s",
        fill / 86, handler);
    mp_buf_init(&frame, MP_FRAME_MAX);
    mp_wire_load(&frame, &l);
    if (mp_frame_next(mp_buf_bytes(&frame), &type, &body) <= 0 ||
        mp_image_load(body, &loaded) || loaded.kind != MP_OUT_OK)
        give_up("the handler doesn't load");
    mp_buf_fini(&frame);
    return loaded.image_bytes;
}

/* ---- the three ways ---- */

static double fresh_ns(uint32_t fn)
{
    static struct mp_buf out = {.max = MP_FRAME_MAX};
    struct mp_run run = one_run(fn);
    double start = now_ns();

    for (int i = 0; i < RUNS; i++) {
        mp_buf_reset(&out);
        mp_invoke(&run, &out);
    }
    return (now_ns() - start) / RUNS;
}

static enum mp_kind reuse(void *arg)
{
    struct mp_run run = one_run(1);
    struct mp_image *image = arg;
    lua_State *co = image->co;
    int results;

    for (int i = 0; i < RUNS; i++) {
        lua_rawgeti(co, LUA_REGISTRYINDEX, image->handlers[0].ref);
        mp_event_push(co, image->event_ref, &run.event);
        if (lua_resume(co, image->L, 1, &results) != LUA_OK)
            give_up("the handler fails");
        lua_pop(co, results);
    }
    return MP_OUT_OK;
}

static double reused_ns(uint32_t fn)
{
    struct mp_image *image = mp_image_find(fn);
    double start;

    mp_inv_reset(image, 1);
    mp_image_enter(image);
    start = now_ns();
    if (mp_run_guard(image->co, reuse, image, 0) != MP_OUT_OK)
        give_up("the reused state failed");
    return (now_ns() - start) / RUNS;
}

static void cold_once(void)
{
    lua_State *L = luaL_newstate();

    luaL_openlibs(L);
    if (luaL_loadbuffer(L, cold_handler, sizeof cold_handler - 1, "main"))
        give_up("the cold handler doesn't load");
    mp_luaopen_json(L);
    lua_call(L, 1, 1);
    lua_createtable(L, 0, 1);
    lua_pushlstring(L, reading, sizeof reading - 1);
    lua_setfield(L, -2, "data");
    lua_call(L, 1, 0);
    lua_close(L);
}

static double cold_ns(void)
{
    double start = now_ns();

    for (int i = 0; i < COLD_RUNS; i++)
        cold_once();
    return (now_ns() - start) / COLD_RUNS;
}

/* ---- the table ---- */

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

enum { FRESH, REUSED = SIZES, COLD, ROWS };

struct row {
    const char *name;
    uint32_t bytes;
    double ns[ROUNDS], over[ROUNDS]; /* over: more than reused */
};

static void one_round(struct row *rows, int r)
{
    for (int slice = 0; slice < SLICES; slice++) {
        for (uint32_t i = 0; i < SIZES; i++)
            rows[i].ns[r] += fresh_ns(i + 1) / SLICES;
        rows[REUSED].ns[r] += reused_ns(1) / SLICES;
        rows[COLD].ns[r] += cold_ns() / SLICES;
    }
    for (int i = 0; i < ROWS; i++)
        rows[i].over[r] = rows[i].ns[r] - rows[REUSED].ns[r];
}

static void print_row(bool json, const struct row *row)
{
    double ns = row->ns[ROUNDS / 2], over = row->over[ROUNDS / 2];

    if (json)
        printf("{\"bench\":\"fresh\",\"row\":\"%s\",\"image_bytes\":%u,"
               "\"ns\":%.0f,\"over_reused_ns\":%.0f}\n",
               row->name, row->bytes, ns, over);
    else
        printf("%-34s %7u %10.0f %+10.0f\n", row->name, row->bytes, ns, over);
}

int main(int argc, char **argv)
{
    static struct row rows[ROWS] = {
        {.name = "fresh image"},
        {.name = "fresh image of 64 KB"},
        {.name = "fresh image of 128 KB"},
        {.name = "reused state, never reset"},
        {.name = "newstate, openlibs, load, close"}};
    static struct mp_page page;
    struct mp_why why;
    bool json = argc > 1 && !strcmp(argv[1], "--json");

    if (mp_run_open(&page, &why) || mp_image_seed(&why))
        give_up(why.text);
    rows[0].bytes = rows[REUSED].bytes = load(1, 0);
    rows[1].bytes = load(2, (64 << 10) - rows[0].bytes);
    rows[2].bytes = load(3, (128 << 10) - rows[0].bytes);
    for (int r = 0; r < ROUNDS; r++)
        one_round(rows, r);
    for (int i = 0; i < ROWS; i++) {
        qsort(rows[i].ns, ROUNDS, sizeof(double), by_value);
        qsort(rows[i].over, ROUNDS, sizeof(double), by_value);
    }
    printf("%-34s %7s %10s %10s\n", "an invocation, 90-byte reading", "image",
           "ns", "- reused");
    for (int i = 0; i < ROWS; i++)
        print_row(false, &rows[i]);
    printf("a new state costs %.0f times a fresh image\n",
           rows[COLD].ns[ROUNDS / 2] / rows[FRESH].ns[ROUNDS / 2]);
    for (int i = 0; json && i < ROWS; i++)
        print_row(true, &rows[i]);
    return 0;
}
