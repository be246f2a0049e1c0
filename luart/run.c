/*
 * run.c - ends user code from outside, at any point, without its consent.
 *
 * There are two ways out that no pcall can catch, both a longjmp over all of
 * Lua's frames to mp_run_guard: the allocator at its limit, and the deadline.
 * That is sound because nothing is left to clean: the arena is overwritten by
 * the next run and nothing in it owns anything outside.
 *
 * The deadline.  The host marks the page and sends MP_SIGNAL.  The handler
 * acts only if the generation marked is the one that runs; it sets a hook on
 * every coroutine that is active (lua_sethook is made for that), and the hook,
 * called by Lua before its next instruction, call or return, jumps.  A
 * coroutine left meanwhile checks in mp_run_leave.  C functions that run for
 * ever call no hook; those the host kills.
 */
#include "luart/run.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "luart/arena.h"
#include "luart/error.h"

/* Lua allows 200 C calls within each other, and each resume is one. */
enum { DEPTH_MAX = 220, STACK = 64 << 10 };

struct mp_invocation mp_inv;

static struct {
    struct mp_page *page;
    void (*nudge)(bool in_user_code);
    jmp_buf out;
    lua_State *active[DEPTH_MAX];
    volatile unsigned depth;    /* of active; 0: no user code runs */
    volatile sig_atomic_t late; /* the handler has set the hooks */
    bool guarded;               /* out is good */
    struct mp_buf traceback;
} run = {.traceback = {.max = MP_TRACEBACK_MAX}};

static _Noreturn void out(enum mp_kind kind)
{
    MP_ASSERT(run.guarded);
    _longjmp(run.out, (int)kind);
}

/*
 * Called from within the allocator, at any point of Lua's code.  Reading the
 * frames is fine there: Lua changes them only after it has its memory.
 */
static void memory_full(void)
{
    if (run.depth > 0)
        mp_traceback(run.active[run.depth - 1], &run.traceback);
    out(MP_OUT_MEMORY);
}

static _Noreturn void too_late(lua_State *L)
{
    mp_traceback(L, &run.traceback);
    out(MP_OUT_TIMEOUT);
}

static void hook(lua_State *L, lua_Debug *unused)
{
    (void)unused;
    too_late(L);
}

static void on_signal(int number)
{
    int error = errno;
    uint64_t now = atomic_load(&run.page->generation);

    (void)number;
    if (run.depth > 0 && atomic_load(&run.page->late) == now && now % 2) {
        run.late = 1;
        for (unsigned i = run.depth; i-- > 0;)
            lua_sethook(
                run.active[i], hook,
                LUA_MASKCOUNT | LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE, 1);
    } else if (run.nudge) {
        run.nudge(run.depth > 0);
    }
    errno = error;
}

int mp_run_open(struct mp_page *page, struct mp_why *why)
{
    struct sigaction act = {.sa_handler = on_signal,
                            .sa_flags = SA_RESTART | SA_ONSTACK};
    static char own_stack[STACK];
    stack_t stack = {.ss_sp = own_stack, .ss_size = STACK};

    run.page = page;
    if (sigaltstack(&stack, NULL) || sigaction(MP_SIGNAL, &act, NULL))
        return mp_why_errno(why, "install the handler of deadlines");
    mp_buf_room(&run.traceback, MP_TRACEBACK_MAX);
    return mp_arena_open(memory_full, why);
}

void mp_run_on_nudge(void (*nudge)(bool in_user_code))
{
    run.nudge = nudge;
}

void mp_inv_reset(struct mp_image *image, uint64_t id)
{
    struct mp_buf effects = mp_inv.effects, logs = mp_inv.logs, bytes;

    if (mp_inv.values.open || mp_inv.values.bytes.len)
        mp_values_reset(&mp_inv.values);
    bytes = mp_inv.values.bytes;
    mp_buf_reset(&effects);
    mp_buf_reset(&logs);
    effects.max = MP_EFFECTS_MAX;
    logs.max = MP_LOGS_MAX;
    mp_inv = (struct mp_invocation){.image = image,
                                    .id = id,
                                    .effects = effects,
                                    .logs = logs,
                                    .values = {.bytes = bytes}};
}

static void generation_step(void)
{
    uint64_t now =
        atomic_load_explicit(&run.page->generation, memory_order_relaxed);

    atomic_store_explicit(&run.page->generation, now + 1, memory_order_release);
}

/*
 * generation turns odd before depth leaves 0 and even after it is 0 again, so
 * a handler that sees depth > 0 sees this run's generation.
 */
enum mp_kind mp_run_guard(lua_State *L, enum mp_kind (*body)(void *arg),
                          void *arg, int64_t now_us)
{
    int kind;

    run.late = 0;
    mp_buf_reset(&run.traceback);
    atomic_store_explicit(&run.page->run, mp_inv.id, memory_order_relaxed);
    atomic_store_explicit(&run.page->start_us, now_us, memory_order_relaxed);
    generation_step();
    run.guarded = true;
    kind = _setjmp(run.out);
    if (kind == 0) {
        run.active[0] = L;
        atomic_signal_fence(memory_order_seq_cst);
        run.depth = L ? 1 : 0;
        kind = (int)body(arg);
    }
    run.depth = 0;
    run.guarded = false;
    atomic_signal_fence(memory_order_seq_cst);
    generation_step();
    return (enum mp_kind)kind;
}

void mp_run_first(lua_State *L)
{
    run.active[0] = L;
    atomic_signal_fence(memory_order_seq_cst);
    run.depth = 1;
}

bool mp_run_enter(lua_State *co)
{
    unsigned depth = run.depth;

    if (depth >= DEPTH_MAX)
        return false;
    run.active[depth] = co;
    atomic_signal_fence(memory_order_seq_cst);
    run.depth = depth + 1;
    return true;
}

void mp_run_leave(void)
{
    unsigned depth = run.depth - 1;

    run.depth = depth;
    MP_ASSERT(depth > 0);
    if (run.late)
        too_late(run.active[depth - 1]);
}

lua_State *mp_run_outermost(void)
{
    return run.active[0];
}

bool mp_run_may_wait(void)
{
    for (unsigned i = 0; i < run.depth; i++)
        if (!lua_isyieldable(run.active[i]))
            return false;
    return true;
}

struct mp_buf *mp_run_traceback(void)
{
    return &run.traceback;
}

void mp_inv_trim(size_t keep)
{
    if (mp_inv.effects.cap > keep)
        mp_buf_fini(&mp_inv.effects);
    if (mp_inv.logs.cap > keep)
        mp_buf_fini(&mp_inv.logs);
    if (mp_inv.values.bytes.cap > keep)
        mp_values_fini(&mp_inv.values);
}

int64_t mp_run_wall_us(void)
{
    return mp_inv.fake_wall_us ? mp_inv.fake_wall_us : mp_wall_us();
}
