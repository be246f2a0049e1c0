/*
 * coro.c - coroutines with a second kind of yield.
 *
 * An invocation is a coroutine, and users make coroutines inside it.  When a
 * call waits at whatever depth, it notes so in mp_inv and yields.  Each
 * resume above sees the note, and instead of returning to its caller yields
 * itself, up to the outermost, whose resume is run by the worker:
 *
 *     worker ─ resume ─► invocation ─ resume ─► user's coroutine ─ sleep
 *            ◄─ yield ──            ◄─ yield ──                 note + yield
 *
 * Going on is the same way down: each level continues in resume_k, which
 * resumes the next.  Nothing else of the invocation can run in between.
 *
 * A plain yield of the outermost level has nobody to go to: it is the error
 * it is in Lua's main program.
 */
#include "luart/coro.h"

#include <lauxlib.h>

#include "luart/run.h"

/* Nested closes start Lua's count of C calls anew each time: bounded, or
 * they overflow the C stack. */
enum { CLOSE_DEPTH_MAX = 8 };

static lua_State *coroutine_at(lua_State *L, int index)
{
    lua_State *co = lua_tothread(L, index);

    luaL_argexpected(L, co, index, "thread");
    return co;
}

/* ---- resume ---- */

enum { FAILED = -1, WAITS = -2 };

/* Resume co with narg values of its stack; results go to L. */
static int go(lua_State *L, lua_State *co, int narg)
{
    int status, results;

    if (!mp_run_enter(co)) {
        lua_pushliteral(L, "C stack overflow");
        return FAILED;
    }
    status = lua_resume(co, L, narg, &results);
    mp_run_leave();
    if (status == LUA_YIELD && mp_inv.wait.kind)
        return WAITS;
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return FAILED;
    }
    if (!lua_checkstack(L, results + 1)) {
        lua_pop(co, results);
        lua_pushliteral(L, "too many results to resume");
        return FAILED;
    }
    lua_xmove(co, L, results);
    return results;
}

static int start(lua_State *L, lua_State *co, int narg)
{
    if (!lua_checkstack(co, narg)) {
        lua_pushliteral(L, "too many arguments to resume");
        return FAILED;
    }
    lua_xmove(L, co, narg);
    return go(L, co, narg);
}

static int resume_k(lua_State *L, int status, lua_KContext unused);

static int resume_end(lua_State *L, int results)
{
    if (results == WAITS)
        return lua_yieldk(L, 0, 0, resume_k);
    lua_pushboolean(L, results >= 0);
    if (results < 0)
        results = 1;
    lua_insert(L, -(results + 1));
    return results + 1;
}

static int resume_k(lua_State *L, int status, lua_KContext unused)
{
    (void)status;
    (void)unused;
    return resume_end(L, go(L, coroutine_at(L, 1), 0));
}

static int co_resume(lua_State *L)
{
    lua_State *co = coroutine_at(L, 1);

    return resume_end(L, start(L, co, lua_gettop(L) - 1));
}

/* ---- close ---- */

/* Run what is to be closed in co.  Its results stay on co. */
static int close_thread(lua_State *L, lua_State *co)
{
    int status;

    if (mp_inv.close_depth >= CLOSE_DEPTH_MAX || !mp_run_enter(co))
        return luaL_error(L, "C stack overflow");
    mp_inv.close_depth++;
    status = lua_resetthread(co);
    mp_inv.close_depth--;
    mp_run_leave();
    return status;
}

enum state { RUNNING, DEAD, SUSPENDED, NORMAL };

static const char *const state_names[] = {"running", "dead", "suspended",
                                          "normal"};

/* The main thread, idle while an invocation runs, isn't there to be used. */
static bool is_main(lua_State *co)
{
    bool yes = lua_pushthread(co);

    lua_pop(co, 1);
    return yes;
}

static enum state state_of(lua_State *L, lua_State *co)
{
    lua_Debug ar;

    if (L == co)
        return RUNNING;
    if (is_main(co))
        return NORMAL;
    switch (lua_status(co)) {
    case LUA_YIELD:
        return SUSPENDED;
    case LUA_OK:
        if (lua_getstack(co, 0, &ar))
            return NORMAL;
        return lua_gettop(co) == 0 ? DEAD : SUSPENDED;
    default:
        return DEAD;
    }
}

static int co_status(lua_State *L)
{
    lua_pushstring(L, state_names[state_of(L, coroutine_at(L, 1))]);
    return 1;
}

static int co_close(lua_State *L)
{
    lua_State *co = coroutine_at(L, 1);
    enum state state = state_of(L, co);

    if (state != DEAD && state != SUSPENDED)
        return luaL_error(L, "cannot close a %s coroutine", state_names[state]);
    if (close_thread(L, co) == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

/* ---- create, wrap ---- */

static int co_create(lua_State *L)
{
    lua_State *co;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int wrap_k(lua_State *L, int status, lua_KContext unused);

static int wrap_end(lua_State *L, lua_State *co, int results)
{
    int status;

    if (results == WAITS)
        return lua_yieldk(L, 0, 0, wrap_k);
    if (results >= 0)
        return results;
    status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD) {
        status = close_thread(L, co);
        lua_xmove(co, L, 1); /* may be another error now */
    }
    if (lua_type(L, -1) == LUA_TSTRING && status != LUA_ERRMEM) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int wrap_k(lua_State *L, int status, lua_KContext unused)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));

    (void)status;
    (void)unused;
    return wrap_end(L, co, go(L, co, 0));
}

static int wrap_call(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));

    return wrap_end(L, co, start(L, co, lua_gettop(L)));
}

static int co_wrap(lua_State *L)
{
    co_create(L);
    lua_pushcclosure(L, wrap_call, 1);
    return 1;
}

/* ---- yield, waiting ---- */

static bool is_outermost(lua_State *L)
{
    return L == mp_run_outermost();
}

static int co_yield (lua_State *L)
{
    if (is_outermost(L))
        return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

static int co_isyieldable(lua_State *L)
{
    lua_State *co = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;

    lua_pushboolean(L, !is_outermost(co) && lua_isyieldable(co));
    return 1;
}

static int co_running(lua_State *L)
{
    lua_pushthread(L);
    lua_pushboolean(L, is_outermost(L));
    return 2;
}

int mp_coro_wait(lua_State *L, const char *what, const struct mp_wait *wait,
                 lua_KFunction k, lua_KContext context)
{
    if (!mp_run_may_wait())
        return luaL_error(L,
                          "%s: can't wait here, inside a function that C code "
                          "calls (as table.sort and string.gsub do)",
                          what);
    mp_inv.wait = *wait;
    return lua_yieldk(L, 0, context, k);
}

int mp_luaopen_coroutine(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"create", co_create},
        {"resume", co_resume},
        {"running", co_running},
        {"status", co_status},
        {"wrap", co_wrap},
        {"yield", co_yield },
        {"isyieldable", co_isyieldable},
        {"close", co_close},
        {NULL, NULL},
    };

    luaL_newlib(L, functions);
    return 1;
}
