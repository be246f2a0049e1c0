/*
 * pool_watch.c - looks at all workers every few milliseconds while anything
 * runs: is a run late, and does it hold up others?
 *
 * A run that is on in two looks in a row is slow for what stands behind it:
 * the worker is nudged to send what it has finished, and what it has not
 * started is taken back.  Being late is mp_worker_watch's business.
 */
#include <signal.h>

#include "core/base/clock.h"
#include "core/pool_impl.h"

static struct mp_invocation *running_now(struct mp_process *p, uint64_t run)
{
    mp_list_each (at, &p->inflight) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, link);

        if (inv->run == run)
            return inv;
    }
    return NULL;
}

/* What it may use; a page that names no run of ours gets little. */
static struct mp_allowance allowance(struct mp_process *p, uint64_t run)
{
    struct mp_invocation *inv = running_now(p, run);

    if (inv)
        return (struct mp_allowance){inv->version->fn->cpu_us,
                                     inv->version->fn->timeout_us,
                                     inv->spent_us};
    mp_list_each (at, &p->loading) {
        struct mp_loading *loading = mp_of(at, struct mp_loading, link);

        if (loading->id == run)
            return (struct mp_allowance){loading->version->fn->init_timeout_us,
                                         loading->version->fn->init_timeout_us,
                                         0};
    }
    return (struct mp_allowance){MP_SECOND, MP_SECOND, 0};
}

/* Which limit it was, for who reads of it: the worker only knows that it was
 * told to stop. */
static void note_limit(struct mp_process *p, uint64_t run,
                       const struct mp_allowance *allowed)
{
    struct mp_invocation *inv = running_now(p, run);

    if (inv)
        inv->cpu_over = p->worker.marked_cpu >= allowed->cpu_us;
}

/* Take back all that was handed over after the run that is on. */
static void recall(struct mp_process *p, uint64_t run)
{
    struct mp_invocation *inv;

    if (p->solo)
        return;
    mp_worker_recall(&p->worker, p->pool->next_id);
    p->recalled = p->pool->next_id;
    for (struct mp_link *at = p->inflight.prev, *before; at != &p->inflight;
         at = before) {
        before = at->prev;
        inv = mp_of(at, struct mp_invocation, link);
        if (inv->run <= run || inv->resumed)
            continue;
        mp_invocation_leave(inv);
        mp_pool_put_back(p, inv);
    }
}

/*
 * A worker that holds runs, says nothing and lets no deadline pass by its own
 * page is lying: the longest any of them may take is the end of it.
 */
static bool is_silent(struct mp_process *p, int64_t now_us)
{
    int64_t longest_us = 2 * MP_SECOND;

    if (now_us - p->heard_us < longest_us)
        return false;
    mp_list_each (at, &p->inflight) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, link);
        int64_t us = inv->version->fn->timeout_us + 2 * MP_SECOND;

        if (us > longest_us)
            longest_us = us;
    }
    mp_list_each (at, &p->loading) {
        struct mp_loading *loading = mp_of(at, struct mp_loading, link);
        int64_t us = loading->version->fn->init_timeout_us + 2 * MP_SECOND;

        if (us > longest_us)
            longest_us = us;
    }
    return now_us - p->heard_us > longest_us;
}

static void watch_process(struct mp_process *p, int64_t now_us)
{
    int64_t since_us;
    uint64_t run = mp_worker_current(&p->worker, &since_us);
    uint64_t generation = atomic_load(&p->worker.page->generation);
    struct mp_allowance allowed = {MP_SECOND, MP_SECOND, 0};

    if (run)
        allowed = allowance(p, run);
    if (mp_worker_watch(&p->worker, now_us, &allowed) == MP_WATCH_MARKED)
        note_limit(p, run, &allowed);
    if (run && generation == p->watched && !p->stuck && p->n_inflight > 1) {
        p->stuck = true;
        mp_worker_nudge(&p->worker);
        recall(p, run);
    }
    p->watched = generation;
    if (!p->worker.killed && is_silent(p, now_us)) {
        kill(p->worker.pid, SIGKILL);
        p->worker.killed = true;
    }
}

/* With nothing in hand it has nothing to compute (one that was taken back may
 * still be on, within its allowance: that counts as something). */
static void watch_idle(struct mp_process *p, int64_t now_us)
{
    int64_t cpu = mp_worker_cpu_us(&p->worker);

    if (p->idle_us && cpu - p->idle_cpu > (now_us - p->idle_us) / 2) {
        kill(p->worker.pid, SIGKILL);
        p->worker.killed = true;
    }
    p->idle_us = now_us;
    p->idle_cpu = cpu;
}

static bool has_work(const struct mp_process *p)
{
    return p->n_inflight || !mp_list_empty(&p->loading);
}

/* Often while anything runs, else once a second. */
static void on_watch(uv_timer_t *timer)
{
    struct mp_pool *pool = timer->data;
    int64_t now_us = mp_now_us();
    bool busy = false, second = now_us - pool->idle_looked_us >= MP_SECOND;

    for (unsigned i = 0; i < MP_WORKERS_MAX; i++) {
        struct mp_process *p = pool->by_bit[i];

        if (!p || !p->poll)
            continue;
        if (has_work(p)) {
            busy = true;
            p->idle_us = 0;
            watch_process(p, now_us);
        } else if (second) {
            watch_idle(p, now_us);
        }
    }
    if (second)
        pool->idle_looked_us = now_us;
    if (!busy && pool->watching) {
        pool->watching = false;
        uv_timer_start(timer, on_watch, 1000, 1000);
    }
}

void mp_pool_watch(struct mp_pool *pool)
{
    if (pool->watching)
        return;
    pool->watching = true;
    uv_timer_start(&pool->watch, on_watch, MP_WATCH_EVERY_US / 1000,
                   MP_WATCH_EVERY_US / 1000);
}
