/*
 * invoke.c - runs a handler on a fresh image, and sets it aside while it
 * waits.
 *
 *             copy image in          DONE
 *     RUN ───────────────────► running ───► outcome
 *                               │    ▲
 *          copy bytes out, WAIT ▼    │ copy them in
 *                               waiting ◄── RESUME
 *
 * A waiting instance is the arena's bytes in use and its mp_inv, with the
 * values of its actor.  As the
 * bytes go back to the same address, the coroutine inside goes on as if
 * nothing had been.
 */
#include "luart/invoke.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/list.h"
#include "luart/api.h"
#include "luart/arena.h"
#include "luart/error.h"
#include "luart/image.h"
#include "luart/run.h"

struct waiting {
    struct mp_link link;
    struct mp_invocation inv;
    struct mp_slice bytes; /* owned */
};

enum { BUCKETS = 256 };

static struct mp_link waiting[BUCKETS];

struct turn {
    const struct mp_event *event; /* NULL: going on */
    struct mp_outcome out;
    struct mp_why why;
    uint32_t ns; /* of user code, in this turn */
    bool waits;
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- inside the guard ---- */

static void fail(struct turn *t, const char *why)
{
    t->out.kind = MP_OUT_ERROR;
    t->out.error = mp_slice_str(why);
}

static void take_failure(lua_State *co, struct turn *t)
{
    struct mp_failure f;

    mp_failure_read(co, &f);
    t->out.kind = f.kind;
    t->out.error = f.text;
    t->out.status = f.status;
    t->out.retry_after_us = f.retry_after_us;
    mp_inv.did |= f.did;
    if (f.kind == MP_OUT_ERROR && !f.did) /* who asks for a retry knows why */
        mp_traceback(co, mp_run_traceback());
}

static int encode_result(lua_State *L)
{
    struct turn *t = lua_touserdata(L, 2);

    lua_settop(L, 1);
    if (mp_api_result(L, &t->out, &t->why))
        fail(t, t->why.text);
    return 0;
}

/* A beginner's mistakes, said once: the answer is made, and goes nowhere. */
static void warn_reply(const struct turn *t)
{
    struct mp_image *image = mp_inv.image;
    char text[MP_WHERE_MAX + 64];

    if (image->said_reply || !mp_inv.replied_at[0] ||
        t->out.kind != MP_OUT_OK || t->out.result_kind == MP_RESULT_REPLY)
        return;
    image->said_reply = true;
    snprintf(text, sizeof text, "%smp.reply(...) was not returned",
             mp_inv.replied_at);
    mp_api_log_text(MP_WARN, text);
}

static void warn_results(int results)
{
    struct mp_image *image = mp_inv.image;
    char text[80];

    if (image->said_results || results < 2)
        return;
    image->said_results = true;
    snprintf(text, sizeof text,
             "the handler returned %d values; only the first one counts",
             results);
    mp_api_log_text(MP_WARN, text);
}

static void take_result(lua_State *co, int results, struct turn *t)
{
    warn_results(results);
    if (results == 0)
        return;
    lua_pop(co, results - 1);
    if (lua_isnil(co, -1))
        return;
    lua_checkstack(co, 4);
    lua_pushcfunction(co, encode_result);
    lua_insert(co, -2);
    lua_pushlightuserdata(co, t);
    if (lua_pcall(co, 2, 0, 0) != LUA_OK)
        take_failure(co, t);
}

/* Outside the arena, and of the outcome that is being made. */
static struct mp_buf verdicts = {.max = MP_VERDICTS_MAX};

enum { VERDICTS_KEEP = 16 << 10 };

static void take_verdicts(lua_State *co, struct turn *t)
{
    mp_buf_reset(&verdicts);
    lua_checkstack(co, 3);
    t->out.n_verdicts = mp_event_verdicts(co, &verdicts);
    t->out.verdicts = mp_buf_bytes(&verdicts);
}

static enum mp_kind resume(struct turn *t, int arguments)
{
    lua_State *co = mp_inv.image->co;
    int status, results = 0;

    mp_inv.wait.kind = 0;
    status = lua_resume(co, mp_inv.image->L, arguments, &results);
    if (status == LUA_YIELD) {
        MP_ASSERT(mp_inv.wait.kind);
        t->waits = true;
    } else if (status == LUA_OK) {
        take_result(co, results, t);
        warn_reply(t);
        if (mp_inv.n_events && t->out.kind == MP_OUT_OK)
            take_verdicts(co, t);
    } else {
        take_failure(co, t);
    }
    return t->out.kind;
}

static enum mp_kind first_turn(void *arg)
{
    struct turn *t = arg;
    const struct mp_image *image = mp_inv.image;
    int ref = mp_image_handler(image, t->event->trigger);

    if (ref == LUA_NOREF) {
        mp_why_set(&t->why, 0, "main.lua has no handler for trigger '%.*s'",
                   MP_FMT(t->event->trigger));
        fail(t, t->why.text);
        return MP_OUT_ERROR;
    }
    lua_rawgeti(image->co, LUA_REGISTRYINDEX, ref);
    mp_event_push(image->co, image->event_ref, t->event);
    return resume(t, 1);
}

static enum mp_kind later_turn(void *arg)
{
    return resume(arg, 0);
}

/* ---- around it ---- */

static void set_aside(struct turn *t, struct mp_buf *out)
{
    struct mp_slice used = mp_arena_used();
    struct waiting *w = mp_alloc(sizeof *w);
    struct mp_link *head = &waiting[mp_inv.id % BUCKETS];
    struct mp_wait *wait = &mp_inv.wait;

    mp_inv.did |= MP_DID_WAIT;
    wait->run = mp_inv.id;
    wait->run_ns = t->ns;
    wait->memory = (uint32_t)(used.len + mp_inv.values.bytes.len);
    mp_wire_wait(out, wait);
    w->bytes.ptr = mp_alloc(used.len);
    w->bytes.len = used.len;
    memcpy((char *)(uintptr_t)w->bytes.ptr, used.ptr, used.len);
    w->inv = mp_inv;
    mp_image_ref(mp_inv.image);
    mp_inv = (struct mp_invocation){0}; /* its buffers went along */
    if (!head->next)
        mp_list_init(head);
    mp_list_append(head, &w->link);
}

static struct waiting *find_waiting(uint64_t run)
{
    struct mp_link *head = &waiting[run % BUCKETS];

    if (!head->next)
        return NULL;
    mp_list_each (at, head) {
        struct waiting *w = mp_of(at, struct waiting, link);

        if (w->inv.id == run)
            return w;
    }
    return NULL;
}

static void drop_waiting(struct waiting *w)
{
    mp_list_unlink(&w->link);
    free((char *)(uintptr_t)w->bytes.ptr);
    free(w);
}

/* Ended from outside: there is no error object, so say what it was. */
static void explain(struct turn *t)
{
    t->out.result_kind = MP_RESULT_NONE;
    t->out.status = 0;
    if (t->out.kind == MP_OUT_TIMEOUT)
        t->out.error = MP_S("ran longer than limits.cpu or limits.timeout");
    else if (t->out.kind == MP_OUT_MEMORY)
        t->out.error = MP_S("needs more than limits.memory");
}

static void finish(struct turn *t, struct mp_buf *out)
{
    struct mp_outcome *o = &t->out;

    if (o->kind == MP_OUT_TIMEOUT || o->kind == MP_OUT_MEMORY)
        explain(t);
    o->run = mp_inv.id;
    o->did = mp_inv.did;
    o->copy_ns = mp_inv.copy_ns;
    o->memory = (uint32_t)mp_arena_used().len;
    if (o->kind == MP_OUT_OK) {
        o->n_effects = mp_inv.n_effects;
        if (mp_inv.values.first)
            o->n_effects += mp_values_effects(&mp_inv.values, &mp_inv.effects);
        MP_ASSERT(!mp_inv.effects.full); /* each call saw to it */
        o->effects = mp_buf_bytes(&mp_inv.effects);
    } else {
        o->traceback = mp_buf_bytes(mp_run_traceback());
        o->n_verdicts = 0;
        o->verdicts = mp_slice("", 0);
    }
    o->n_logs = mp_inv.n_logs;
    o->logs_cut = mp_inv.logs_cut;
    o->logs = mp_buf_bytes(&mp_inv.logs);
    mp_wire_done(out, o);
    if (verdicts.cap > VERDICTS_KEEP)
        mp_buf_fini(&verdicts);
}

static void take_turn(struct turn *t, enum mp_kind (*body)(void *arg),
                      int64_t start_ns, struct mp_buf *out)
{
    int64_t took;

    t->out.kind = MP_OUT_OK;
    t->out.retry_after_us = -1;
    t->out.kind = mp_run_guard(mp_inv.image->co, body, t, start_ns / 1000);
    took = now_ns() - start_ns;
    t->ns = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    mp_inv.run_ns += t->ns;
    t->out.run_ns = mp_inv.run_ns;
    if (t->waits && t->out.kind == MP_OUT_OK)
        set_aside(t, out);
    else
        finish(t, out);
}

/* What calls need to know of the event, for as long as the run lasts. */
static void take_actor(const struct mp_run *run, const struct mp_image *image)
{
    struct mp_slice id = run->event.id;

    if (id.len > MP_EVENT_ID_MAX)
        id.len = MP_EVENT_ID_MAX;
    if (id.len)
        memcpy(mp_inv.id_text, id.ptr, id.len);
    mp_inv.id_len = id.len;
    if (image->load.has_state)
        mp_values_take(&mp_inv.values, &run->state,
                       run->event.has_key ? run->event.key.len : 0);
}

void mp_invoke(const struct mp_run *run, struct mp_buf *out)
{
    struct mp_image *image = mp_image_find(run->fn);
    struct turn t = {.event = &run->event};
    int64_t start, copied;

    if (!image) {
        t.out.run = run->id;
        fail(&t, "the function is not loaded");
        mp_wire_done(out, &t.out);
        return;
    }
    start = now_ns();
    mp_inv_reset(image, run->id);
    mp_inv.clock_ok = run->clock_ok;
    mp_inv.fake_wall_us = run->fake_wall_us;
    mp_inv.format = run->event.format;
    if (run->event.n_events)
        mp_inv.format = run->event.events[0].format;
    mp_inv.takes = mp_event_takes(&run->event);
    mp_inv.type = run->event.type;
    take_actor(run, image);
    mp_image_enter(image);
    copied = now_ns();
    mp_inv.copy_ns = (uint32_t)(copied - start);
    take_turn(&t, first_turn, copied, out);
}

void mp_invoke_resume(const struct mp_resume *r, struct mp_buf *out)
{
    struct waiting *w = find_waiting(r->run);
    struct turn t = {0};
    struct mp_image *image;
    int64_t start, copied;

    if (!w)
        return;
    start = now_ns();
    mp_buf_fini(&mp_inv.effects);
    mp_buf_fini(&mp_inv.logs);
    mp_values_fini(&mp_inv.values);
    mp_inv = w->inv;
    image = mp_inv.image; /* with the reference that w held */
    mp_inv.fake_wall_us = r->fake_wall_us;
    mp_inv.answer = *r;
    mp_arena_restore(w->bytes, image->load.memory);
    drop_waiting(w);
    copied = now_ns();
    mp_inv.copy_ns += (uint32_t)(copied - start);
    take_turn(&t, later_turn, copied, out);
    mp_image_unref(image);
}

void mp_invoke_cancel(uint64_t run)
{
    struct waiting *w = find_waiting(run);

    if (!w)
        return;
    mp_buf_fini(&w->inv.effects);
    mp_buf_fini(&w->inv.logs);
    mp_values_fini(&w->inv.values);
    mp_image_unref(w->inv.image);
    drop_waiting(w);
}
