/*
 * image.c - gives every run a Lua state that has never run before.
 *
 * Opening a state and loading a function costs more than most functions do,
 * so we do it once.  Every byte the state owns lies in the worker's arena; we
 * keep those bytes as they were after loading, and copying them back in is
 * how a run begins.  Four things must hold, and each has a test of its name:
 *
 *   stays_put   the arena is always at one address: the bytes point into it;
 *   sealed      nothing in the arena owns anything outside it;
 *   reseeded    the copy brings back the old random generator too, so each
 *               run gets a new state of it after the copy;
 *   at_rest     the image is taken outside any call: its main thread is empty
 *               and its coroutine has not begun.
 *
 * The collector sleeps until half of the limit is used: most runs end before,
 * and their garbage goes with the next copy.  Lua 5.4 has no call for that,
 * but a step of a negative size moves its debt down and collects nothing.
 */
#include "luart/image.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "core/base/clock.h"
#include "luart/api.h"
#include "luart/arena.h"
#include "luart/error.h"
#include "luart/run.h"
#include "luart/sandbox.h"

enum { BUCKETS = 64 };

/*
 * A cycle starts when the heap is PAUSE percent of what was alive after the
 * last one.  With steps as thorough as ours it then ends at once, so nearer
 * to 100 would mean a whole cycle for each allocation.
 */
enum { PAUSE = 110, STEP_MULTIPLIER = 100, STEP_SIZE = 12 };

static struct mp_link table[BUCKETS];
static uint64_t seed[4];

/* ---- chance ---- */

int mp_image_seed(struct mp_why *why)
{
    if (getrandom(seed, sizeof seed, 0) != sizeof seed)
        return mp_why_errno(why, "get random numbers");
    return 0;
}

/* splitmix64 over a secret start: four words for each run. */
static uint64_t next_random(void)
{
    uint64_t z = seed[0] += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31) ^ seed[1];
}

void mp_image_enter(const struct mp_image *image)
{
    mp_arena_restore(image->bytes, image->load.memory);
    for (int i = 0; i < 4; i++)
        image->random[i] = next_random();
}

/* ---- the table ---- */

static struct mp_link *bucket(uint32_t fn)
{
    struct mp_link *head = &table[fn % BUCKETS];

    if (!head->next)
        mp_list_init(head);
    return head;
}

struct mp_image *mp_image_find(uint32_t fn)
{
    mp_list_each (at, bucket(fn)) {
        struct mp_image *image = mp_of(at, struct mp_image, link);

        if (image->fn == fn)
            return image;
    }
    return NULL;
}

struct mp_image *mp_image_ref(struct mp_image *image)
{
    image->refs++;
    return image;
}

void mp_image_unref(struct mp_image *image)
{
    if (--image->refs > 0)
        return;
    if (image->bytes.ptr)
        munmap((void *)(uintptr_t)image->bytes.ptr, image->bytes.len);
    mp_load_fini(&image->store);
    free(image->text);
    free(image->names);
    free(image);
}

void mp_image_unload(uint32_t fn)
{
    struct mp_image *image = mp_image_find(fn);

    if (image) {
        mp_list_unlink(&image->link);
        mp_image_unref(image);
    }
}

int mp_image_handler(const struct mp_image *image, struct mp_slice trigger)
{
    if (image->single)
        return image->handlers[0].ref;
    for (unsigned i = 0; i < image->n_handlers; i++)
        if (mp_slice_eq(image->handlers[i].name, trigger))
            return image->handlers[i].ref;
    return LUA_NOREF;
}

/* ---- the handlers ---- */

static void add_handler(lua_State *L, struct mp_image *image,
                        struct mp_slice name)
{
    struct mp_handler *h = &image->handlers[image->n_handlers++];

    lua_pushvalue(L, -1);
    h->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    h->name = name;
}

/* One entry of the table at 1: key at -2, value at -1. */
static void take_entry(lua_State *L, struct mp_image *image)
{
    struct mp_slice name;

    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_error(L,
                   "main.lua returned a table with a %s as key; handlers "
                   "are named after the triggers",
                   luaL_typename(L, -2));
    name.ptr = lua_tolstring(L, -2, &name.len);
    if (name.len > MP_TRIGGER_MAX)
        luaL_error(L,
                   "main.lua returned a handler with a name of %I bytes; "
                   "triggers have names of at most %d",
                   (LUAI_UACINT)name.len, MP_TRIGGER_MAX);
    if (!lua_isfunction(L, -1))
        luaL_error(L, "handler '%s' is a %s, not a function", name.ptr,
                   luaL_typename(L, -1));
    if (image->n_handlers == MP_TRIGGERS_MAX)
        luaL_error(L, "main.lua returned more than %d handlers",
                   MP_TRIGGERS_MAX);
    add_handler(L, image, name);
}

/* Names lie in the arena: move them out before they are collected. */
static void keep_names(struct mp_image *image)
{
    size_t len = 0;
    char *at;

    for (unsigned i = 0; i < image->n_handlers; i++)
        len += image->handlers[i].name.len;
    at = image->names = mp_alloc(len);
    for (unsigned i = 0; i < image->n_handlers; i++) {
        struct mp_slice *name = &image->handlers[i].name;

        if (name->len)
            memcpy(at, name->ptr, name->len);
        name->ptr = at;
        at += name->len;
    }
}

/* What the file returned is at 1. */
static void take_handlers(lua_State *L, struct mp_image *image)
{
    if (lua_isfunction(L, 1)) {
        image->single = true;
        add_handler(L, image, mp_slice("", 0));
    } else if (lua_istable(L, 1)) {
        lua_pushnil(L);
        while (lua_next(L, 1)) {
            take_entry(L, image);
            lua_pop(L, 1);
        }
        if (!image->n_handlers)
            luaL_error(L, "main.lua returned an empty table; it must hold a "
                          "function for each trigger");
    } else {
        luaL_error(L,
                   "main.lua returned %s; it must return the handler: a "
                   "function, or a table of functions named after the "
                   "triggers",
                   lua_isnil(L, 1) ? "nothing" : luaL_typename(L, 1));
    }
}

/* ---- loading ---- */

static struct mp_slice main_text(const struct mp_image *image)
{
    for (uint32_t i = 0; i < image->load.n_files; i++)
        if (mp_slice_is(image->load.files[i].name, "main.lua"))
            return image->load.files[i].value;
    return mp_slice(NULL, 0);
}

/*
 * The userdata behind math.random, on which the generator's state lies.  The
 * file may lose the function, so we hold its state ourselves.
 */
static uint64_t *find_random(lua_State *L)
{
    int top = lua_gettop(L);
    uint64_t *at;

    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, LUA_MATHLIBNAME);
    lua_getfield(L, -1, "random");
    MP_ASSERT(lua_getupvalue(L, -1, 1));
    at = lua_touserdata(L, -1);
    MP_ASSERT(at && lua_rawlen(L, -1) == 4 * sizeof(uint64_t));
    luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, top);
    return at;
}

static int first_run(lua_State *L)
{
    struct mp_image *image = lua_touserdata(L, 1);
    struct mp_slice text = main_text(image);

    lua_settop(L, 0);
    mp_sandbox_open(L, &image->load);
    image->random = find_random(L);
    if (!text.ptr)
        return luaL_error(L, "there is no main.lua");
    mp_sandbox_compile(L, MP_S("main.lua"), text);
    lua_call(L, 0, 1);
    lua_settop(L, 1);
    take_handlers(L, image);
    keep_names(image);
    image->event_ref = mp_event_prepare(L);
    return 0;
}

static int note_traceback(lua_State *L)
{
    mp_traceback(L, mp_run_traceback());
    return 1;
}

static void let_collector_sleep(lua_State *L, uint32_t limit)
{
    int used, until = (int)(limit / 2 / 1024);

    lua_gc(L, LUA_GCCOLLECT);
    lua_gc(L, LUA_GCCOLLECT); /* what waited for a finalizer of libraries */
    /* The cycle's end left a debt of PAUSE - 100 percent below zero. */
    used = lua_gc(L, LUA_GCCOUNT) * PAUSE / 100;
    if (used < until)
        lua_gc(L, LUA_GCSTEP, used - until);
}

struct loading {
    struct mp_image *image;
    struct mp_loaded *loaded;
};

static void load_failed(lua_State *L, struct mp_loaded *loaded)
{
    struct mp_failure f;

    mp_failure_read(L, &f);
    loaded->kind = MP_OUT_ERROR;
    loaded->error = f.text;
    loaded->traceback = mp_buf_bytes(mp_run_traceback());
}

static enum mp_kind load_body(void *arg)
{
    struct loading *loading = arg;
    struct mp_image *image = loading->image;
    lua_State *L = lua_newstate(mp_arena_alloc, NULL);

    MP_ASSERT(L);
    image->L = L;
    mp_run_first(L);
    /* Garbage of the file's own run would be copied by every run. */
    lua_gc(L, LUA_GCINC, PAUSE, STEP_MULTIPLIER, STEP_SIZE);
    lua_pushcfunction(L, note_traceback);
    lua_pushcfunction(L, first_run);
    lua_pushlightuserdata(L, image);
    if (lua_pcall(L, 1, 0, 1) != LUA_OK) {
        load_failed(L, loading->loaded);
        return MP_OUT_ERROR;
    }
    lua_settop(L, 0);
    image->co = lua_newthread(L);
    luaL_ref(L, LUA_REGISTRYINDEX);
    lua_checkstack(image->co, LUA_MINSTACK);
    let_collector_sleep(L, image->load.memory);
    return MP_OUT_OK;
}

/* The arena's bytes into a mapping that is read-only from now on. */
static void keep_bytes(struct mp_image *image)
{
    struct mp_slice used = mp_arena_used();
    void *at = mmap(NULL, used.len, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        mp_oom(used.len);
    memcpy(at, used.ptr, used.len);
    MP_ASSERT(!mprotect(at, used.len, PROT_READ));
    image->bytes = mp_slice(at, used.len);
}

/* Move a list to `to`; returns what is behind it. */
static struct mp_pair *keep_pairs(const struct mp_pair **list, uint32_t n,
                                  struct mp_pair *to)
{
    memcpy(to, *list, n * sizeof *to);
    *list = to;
    return to + n;
}

static struct mp_slice *keep_slices(const struct mp_slice **list, uint32_t n,
                                    struct mp_slice *to)
{
    memcpy(to, *list, n * sizeof *to);
    *list = to;
    return to + n;
}

/* A load with arrays of just its size, over a copy of the frame. */
static struct mp_image *read_load(struct mp_slice body)
{
    struct mp_image *image = mp_zalloc(sizeof *image);
    struct mp_load_store wide;
    struct mp_load *l = &image->load;
    struct mp_pair *pairs;
    struct mp_slice *slices;

    image->refs = 1;
    mp_list_init(&image->link);
    image->text = mp_strndup(body.ptr, body.len);
    if (mp_read_load(mp_slice(image->text, body.len), l, &wide)) {
        mp_image_unref(image);
        return NULL;
    }
    pairs = mp_alloc((l->n_env + l->n_files + l->n_secrets) * sizeof *pairs);
    slices =
        mp_alloc((l->n_grants + l->n_triggers + l->n_sends + l->n_observes) *
                 sizeof *slices);
    image->store = (struct mp_load_store){pairs, slices};
    pairs = keep_pairs(&l->env, l->n_env, pairs);
    pairs = keep_pairs(&l->files, l->n_files, pairs);
    keep_pairs(&l->secrets, l->n_secrets, pairs);
    slices = keep_slices(&l->grants, l->n_grants, slices);
    slices = keep_slices(&l->triggers, l->n_triggers, slices);
    slices = keep_slices(&l->sends, l->n_sends, slices);
    keep_slices(&l->observes, l->n_observes, slices);
    mp_load_fini(&wide);
    image->fn = l->fn;
    if (l->memory < MP_MEMORY_MIN)
        l->memory = MP_MEMORY_MIN;
    if (l->memory > MP_MEMORY_MAX)
        l->memory = MP_MEMORY_MAX;
    return image;
}

static void explain(struct mp_loaded *loaded)
{
    loaded->traceback = mp_buf_bytes(mp_run_traceback());
    if (loaded->kind == MP_OUT_TIMEOUT)
        loaded->error = MP_S("the file's own run took longer than "
                             "limits.init_timeout");
    else
        loaded->error = MP_S("the file's own run needs more than "
                             "limits.memory");
}

int mp_image_load(struct mp_slice body, struct mp_loaded *loaded)
{
    static struct mp_slice names[MP_TRIGGERS_MAX];
    struct mp_image *image = read_load(body);
    struct loading loading = {image, loaded};
    int64_t start = mp_now_us();

    if (!image)
        return MP_EPARSE;
    mp_inv_reset(image, image->load.id);
    mp_inv.initialising = true;
    mp_inv.clock_ok = true;
    mp_inv.fake_wall_us = image->load.fake_wall_us;
    *loaded = (struct mp_loaded){.id = image->load.id,
                                 .fn = image->fn,
                                 .error = MP_S(""),
                                 .traceback = MP_S(""),
                                 .handlers = names};
    mp_arena_reset(image->load.memory);
    loaded->kind = mp_run_guard(NULL, load_body, &loading, start);
    if (loaded->kind == MP_OUT_OK) {
        keep_bytes(image);
        loaded->image_bytes = (uint32_t)image->bytes.len;
        loaded->single = image->single;
        loaded->n_handlers = image->single ? 0 : image->n_handlers;
        for (unsigned i = 0; i < loaded->n_handlers; i++)
            names[i] = image->handlers[i].name;
        mp_image_unload(image->fn);
        mp_list_append(bucket(image->fn), &image->link);
        mp_image_ref(image);
    } else if (loaded->kind != MP_OUT_ERROR) {
        explain(loaded);
    }
    loaded->load_us = (uint32_t)(mp_now_us() - start);
    loaded->n_logs = mp_inv.n_logs;
    loaded->logs_cut = mp_inv.logs_cut;
    loaded->logs = mp_buf_bytes(&mp_inv.logs);
    mp_image_unref(image);
    return 0;
}
