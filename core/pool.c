/*
 * pool.c - starts invocations where there is room, once a loop turn.
 *
 * Dispatch runs right before the loop waits (uv_prepare): all that became
 * ready in this turn goes out in one write a worker.  How much a worker gets
 * is bounded by number, bytes and estimated time, so that what it has can
 * still be taken back soon when one run turns out slow.
 */
#include "core/pool_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/log.h"

/* What a worker may have in hand: two milliseconds of work, estimated. */
#define PIPELINE_US INT64_C(2000)

/* ---- groups and processes ---- */

void mp_process_spawn(struct mp_process *p)
{
    struct mp_pool *pool = p->pool;
    struct mp_why why;

    if (mp_process_start(p, pool->loop, &why) == 0) {
        pool->no_start_said = false;
        return;
    }
    if (!pool->no_start_said)
        mp_log(MP_ERROR, "pool", NULL, "%s; trying again each second",
               why.text);
    pool->no_start_said = true;
    mp_pool_retry_soon(pool);
}

static struct mp_process *process_new(struct mp_pool *pool,
                                      struct mp_group *group)
{
    struct mp_process *p;
    unsigned bit = 0;

    while (bit < MP_WORKERS_MAX && pool->by_bit[bit])
        bit++;
    if (bit == MP_WORKERS_MAX)
        return NULL;
    p = mp_zalloc(sizeof *p);
    p->group = group;
    p->pool = pool;
    p->bit = bit;
    p->worker.fd = -1;
    mp_list_init(&p->inflight);
    mp_list_init(&p->waiting);
    mp_list_init(&p->loading);
    pool->by_bit[bit] = p;
    mp_process_spawn(p);
    return p;
}

void mp_process_free(struct mp_process *p)
{
    p->pool->by_bit[p->bit] = NULL;
    mp_list_each (at, &p->pool->versions)
        mp_of(at, struct mp_version, link)->loaded_in &=
            ~(UINT64_C(1) << p->bit);
    free(p);
}

struct mp_group *mp_pool_join(struct mp_pool *pool,
                              const struct mp_function *fn)
{
    const char *name = fn->own_worker ? fn->name : "(shared)";
    unsigned n = fn->own_worker ? 1 : pool->per_group;
    struct mp_group *g;

    mp_list_each (at, &pool->groups) {
        g = mp_of(at, struct mp_group, link);
        if (strcmp(g->name, name) == 0) {
            g->users++;
            return g;
        }
    }
    g = mp_zalloc(sizeof *g);
    snprintf(g->name, sizeof g->name, "%s", name);
    mp_sched_init(&g->sched);
    mp_list_init(&g->suspects);
    g->users = 1;
    g->processes = mp_zalloc(n * sizeof(struct mp_process *));
    for (; g->n < n; g->n++) {
        g->processes[g->n] = process_new(pool, g);
        if (!g->processes[g->n])
            break;
    }
    mp_list_append(&pool->groups, &g->link);
    if (g->n == 0) {
        mp_pool_leave(pool, g);
        return NULL;
    }
    return g;
}

void mp_pool_leave(struct mp_pool *pool, struct mp_group *g)
{
    (void)pool;
    if (--g->users || g->sched.queued)
        return;
    for (unsigned i = 0; i < g->n; i++) {
        mp_process_stop(g->processes[i]);
        mp_process_free(g->processes[i]);
    }
    mp_list_unlink(&g->link);
    free(g->processes);
    free(g);
}

/* ---- dispatch ---- */

static bool has_room(const struct mp_process *p, int64_t cost_us)
{
    if (!p->poll || p->stuck || p->bad || p->retire)
        return false;
    if (p->n_inflight == 0)
        return true;
    return p->n_inflight < MP_PIPELINE_MAX &&
           p->cost_us + cost_us <= PIPELINE_US &&
           p->out.len - p->out_sent < MP_PIPELINE_BYTES;
}

/* Invocations at once on the whole host, waiting ones included. */
static unsigned running(const struct mp_pool *pool)
{
    unsigned n = 0;

    mp_list_each (at, &pool->groups)
        n += mp_of(at, struct mp_group, link)->sched.running;
    return n;
}

/* For mp_sched_next: is there room, and where?  arg receives the place. */
static bool find_place(struct mp_slot *slot, void *arg)
{
    struct mp_process **place = arg;
    struct mp_group *g = slot->group;
    struct mp_pool *pool = g->processes[0]->pool;

    if (!slot->live)
        return true; /* user.start will drop it */
    if (slot->waits && running(pool) >= pool->scale_max)
        return false;
    for (unsigned i = 0; i < g->n && i < slot->live->fn->scale_max; i++) {
        *place = g->processes[(slot->home + i) % g->n];
        if (has_room(*place, slot->cost_us))
            return true;
    }
    return false;
}

static void send_run(struct mp_process *p, struct mp_invocation *inv)
{
    struct mp_run run = {
        .id = ++p->pool->next_id,
        .fn = inv->version->id,
        .clock_ok = mp_metrics.clock_ok,
    };
    char id[MP_EVENT_ID_MAX];
    struct mp_event *events = mp_invocation_run_event(inv, &run.event, id);

    if (inv->actor)
        run.state = mp_state_travel(p->pool->states, inv->actor);
    inv->run = run.id;
    mp_wire_run(&p->out, &run);
    if (events)
        free(events);
}

static void hand_over(struct mp_process *p, struct mp_invocation *inv,
                      int64_t now_us)
{
    struct mp_version *v = inv->slot->live ? inv->slot->live : inv->routed;

    MP_ASSERT(v);
    if (inv->suspect && inv->version) /* its actor was taken for this one */
        v = inv->version;
    if (inv->version != v) {
        if (inv->version)
            mp_version_unref(p->pool, inv->version);
        inv->version = mp_version_ref(v);
    }
    inv->cold = !(v->loaded_in >> p->bit & 1);
    if (inv->cold)
        mp_version_send(p, v, false);
    inv->process = p;
    inv->started_us = now_us;
    inv->cost_us = inv->slot->cost_us;
    inv->resumed = inv->late = false;
    inv->spent_us = 0;
    mp_process_expect(p, now_us);
    p->n_inflight++;
    p->cost_us += inv->cost_us;
    mp_list_append(&p->inflight, &inv->link);
    mp_hist_add(&inv->slot->metrics.queue_wait,
                (uint64_t)(now_us - inv->queued_us) * 1000);
    send_run(p, inv);
}

/* One suspect at a time, in a process that has never run anything. */
static void dispatch_suspect(struct mp_pool *pool, struct mp_group *g,
                             int64_t now_us)
{
    struct mp_invocation *inv;

    if (mp_list_empty(&g->suspects) || g->solo || now_us < pool->next_start_us)
        return;
    g->solo = process_new(pool, g);
    if (!g->solo || !g->solo->poll) {
        if (g->solo)
            mp_process_free(g->solo);
        g->solo = NULL;
        mp_pool_retry_soon(pool);
        return;
    }
    g->solo->solo = true;
    inv = mp_of(g->suspects.next, struct mp_invocation, link);
    mp_list_unlink(&inv->link);
    inv->stage = MP_RUNNING;
    hand_over(g->solo, inv, now_us);
    mp_process_flush(g->solo);
}

static void dispatch_group(struct mp_pool *pool, struct mp_group *g)
{
    int64_t now_us = mp_now_us(), probe_us;
    struct mp_process *place = NULL;
    struct mp_invocation *inv;
    bool any = false;

    dispatch_suspect(pool, g, now_us);
    while (g->sched.queued &&
           (inv = mp_sched_next(&g->sched, now_us, find_place, &place))) {
        if (!pool->user.start(pool->user.arg, inv, now_us))
            continue;
        hand_over(place, inv, now_us);
        any = true;
    }
    for (unsigned i = 0; i < g->n; i++)
        mp_process_flush(g->processes[i]);
    if (any || g->solo)
        mp_pool_watch(pool);
    probe_us =
        g->sched.queued ? mp_sched_next_probe(&g->sched, now_us) : INT64_MAX;
    if (probe_us != INT64_MAX && !uv_is_active((uv_handle_t *)&pool->retry))
        uv_timer_start(&pool->retry, pool->retry.timer_cb,
                       (uint64_t)(probe_us - now_us) / 1000 + 1, 0);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct mp_pool *pool = prepare->data;

    if (pool->stopping)
        return;
    mp_list_each (at, &pool->groups)
        dispatch_group(pool, mp_of(at, struct mp_group, link));
}

/* Wakes the loop for a probe, and starts what could not be started. */
static void on_retry(uv_timer_t *timer)
{
    struct mp_pool *pool = timer->data;

    for (unsigned i = 0; i < MP_WORKERS_MAX; i++)
        if (pool->by_bit[i] && !pool->by_bit[i]->poll)
            mp_process_spawn(pool->by_bit[i]);
}

void mp_pool_retry_soon(struct mp_pool *pool)
{
    pool->next_start_us = mp_now_us() + MP_SECOND;
    uv_timer_start(&pool->retry, on_retry, 1000, 0);
}

void mp_pool_add(struct mp_pool *pool, struct mp_invocation *inv)
{
    (void)pool;
    inv->queued_us = mp_now_us();
    mp_sched_add(&inv->slot->group->sched, inv);
}

void mp_pool_again(struct mp_pool *pool, struct mp_invocation *inv)
{
    (void)pool;
    inv->queued_us = mp_now_us();
    mp_sched_again(&inv->slot->group->sched, inv);
}

void mp_pool_load(struct mp_pool *pool, struct mp_version *v)
{
    struct mp_process *p = v->slot->group->processes[v->slot->home];

    mp_version_send(p, v, true);
    mp_process_flush(p);
    mp_pool_watch(pool);
}

/* ---- what comes back ---- */

void mp_invocation_leave(struct mp_invocation *inv)
{
    struct mp_process *p = inv->process;

    p->heard_us = mp_now_us();
    if (inv->stage == MP_RUNNING) {
        p->n_inflight--;
        p->cost_us -= inv->cost_us;
    }
    mp_list_unlink(&inv->link);
    inv->process = NULL;
}

void mp_pool_suspect(struct mp_group *g, struct mp_invocation *inv)
{
    mp_state_ask_not(&inv->asking);
    inv->suspect = true;
    inv->stage = MP_RUNNING; /* handed over, as far as others can see */
    mp_list_append(&g->suspects, &inv->link);
}

/* One suspect at most is in a solo process, and it stays one. */
void mp_pool_put_back(struct mp_process *p, struct mp_invocation *inv)
{
    mp_state_ask_not(&inv->asking); /* of the run that is given up */
    if (inv->suspect) {
        mp_pool_suspect(p->group, inv);
        return;
    }
    mp_sched_stopped(&p->group->sched, inv);
    mp_breaker_forget(&inv->slot->breaker); /* it may have been the probe */
    mp_pool_again(p->pool, inv);
}

void mp_pool_on_done(struct mp_process *p, struct mp_invocation *inv,
                     const struct mp_outcome *out)
{
    struct mp_slot *slot = inv->slot;
    int64_t took_us = (int64_t)(out->copy_ns + out->run_ns) / 1000;

    /* A worker that says it took longer than there was time for is wrong,
     * and only its own function's turns depend on it. */
    slot->cost_us = (7 * slot->cost_us + took_us) / 8 + 1;
    mp_invocation_leave(inv);
    p->retire = p->solo;
    if (!(inv->version->loaded_in >> p->bit & 1)) {
        /* It did not load here: later, elsewhere.  A suspect, for which no
         * breaker waits, pays with a life. */
        if (p->solo)
            mp_pool_blame(p, inv, "the function did not load again");
        else
            mp_pool_put_back(p, inv);
        return;
    }
    mp_hist_add(&slot->metrics.start_warm, out->copy_ns);
    mp_hist_add(&slot->metrics.run, out->run_ns);
    if (p->pool->user.done(p->pool->user.arg, inv, out)) {
        p->bad = true;
        mp_pool_blame(p, inv, "the worker sent what it must not send");
    }
}

static void timer_closed(uv_handle_t *handle)
{
    free(handle);
}

void mp_invocation_wake(struct mp_invocation *inv)
{
    if (!inv->timer)
        return;
    uv_timer_stop(inv->timer);
    uv_close((uv_handle_t *)inv->timer, timer_closed);
    inv->timer = NULL;
}

/* It is no longer waiting; back to its process with what it gets. */
static void go_on(struct mp_invocation *inv, const struct mp_resume *resume)
{
    struct mp_process *p = inv->process;

    mp_wire_resume(&p->out, resume);
    mp_process_expect(p, mp_now_us());
    inv->stage = MP_RUNNING;
    inv->resumed = true;
    p->n_inflight++;
    p->cost_us += inv->cost_us;
    mp_list_append(&p->inflight, &inv->link);
    mp_pool_watch(p->pool);
}

/* A wait is over: on it goes, or its whole time is up. */
static void on_wait_over(uv_timer_t *timer)
{
    struct mp_invocation *inv = timer->data;
    struct mp_process *p = inv->process;
    struct mp_outcome late = {
        .kind = MP_OUT_TIMEOUT,
        .did = MP_DID_WAIT,
        .error = MP_S("not done in time; it was waiting"),
    };

    mp_invocation_wake(inv);
    if (p->pool->stopping)
        return;
    mp_list_unlink(&inv->link);
    inv->slot->n_suspended--;
    if (inv->late) {
        mp_wire_cancel(&p->out, inv->run);
        inv->process = NULL;
        p->retire = p->solo;
        (void)p->pool->user.done(p->pool->user.arg, inv, &late);
    } else {
        go_on(inv, &(struct mp_resume){.run = inv->run});
    }
    mp_process_flush(p);
    if (p->retire)
        mp_pool_on_end(p);
}

void mp_pool_answer(struct mp_pool *pool, struct mp_invocation *inv,
                    struct mp_resume *answer)
{
    struct mp_process *p = inv->process;

    MP_ASSERT(inv->stage == MP_WAITING);
    if (pool->stopping)
        return;
    mp_invocation_wake(inv);
    mp_list_unlink(&inv->link);
    inv->slot->n_suspended--;
    inv->spent_us += mp_now_us() - inv->asked_us;
    answer->run = inv->run;
    go_on(inv, answer);
    mp_process_flush(p);
}

void mp_pool_on_wait(struct mp_process *p, struct mp_invocation *inv,
                     const struct mp_wait *wait)
{
    bool asks = wait->kind != MP_WAIT_SLEEP;
    int64_t left_us, delay_us = wait->delay_us;

    mp_invocation_leave(inv);
    inv->slot->waits = true;
    if (inv->slot->n_suspended >= inv->version->fn->scale_max) {
        mp_wire_cancel(&p->out, inv->run); /* one too many: later, anew */
        p->retire = p->solo;
        mp_pool_put_back(p, inv);
        return;
    }
    inv->slot->n_suspended++;
    inv->process = p;
    inv->stage = MP_WAITING;
    inv->spent_us += wait->run_ns / 1000;
    inv->asked_us = mp_now_us();
    left_us = inv->version->fn->timeout_us - inv->spent_us;
    inv->late = asks || left_us <= delay_us;
    if (inv->late)
        delay_us = left_us > 0 ? left_us : 0;
    if (!asks)
        inv->spent_us += delay_us;
    mp_list_append(&p->waiting, &inv->link);
    inv->timer = mp_zalloc(sizeof *inv->timer);
    inv->timer->data = inv;
    uv_timer_init(p->pool->loop, inv->timer);
    uv_timer_start(inv->timer, on_wait_over, (uint64_t)(delay_us + 999) / 1000,
                   0);
    if (asks)
        p->pool->user.ask(p->pool->user.arg, inv, wait);
}

bool mp_pool_is_busy(const struct mp_pool *pool)
{
    mp_list_each (at, &pool->groups) {
        const struct mp_group *g = mp_of(at, struct mp_group, link);

        if (g->sched.queued || g->sched.running)
            return true;
    }
    return false;
}

/* ---- forgetting ---- */

void mp_pool_forget(struct mp_pool *pool, struct mp_invocation *inv)
{
    struct mp_process *p = inv->process;

    (void)pool;
    if (inv->stage == MP_QUEUED) {
        mp_sched_remove(&inv->slot->group->sched, inv);
        return;
    }
    mp_sched_stopped(&inv->slot->group->sched, inv);
    mp_breaker_forget(&inv->slot->breaker);
    if (!p) { /* a suspect that has no process yet */
        mp_list_unlink(&inv->link);
        return;
    }
    p->forgotten = true;
    if (inv->stage == MP_WAITING) {
        mp_invocation_wake(inv);
        mp_list_unlink(&inv->link);
        inv->slot->n_suspended--;
        inv->process = NULL;
        return;
    }
    mp_invocation_leave(inv);
}

void mp_pool_forgot(struct mp_pool *pool)
{
    for (unsigned i = 0; i < MP_WORKERS_MAX; i++) {
        struct mp_process *p = pool->by_bit[i];

        if (!p || !p->forgotten)
            continue;
        p->forgotten = false;
        p->retire = true;
        mp_pool_on_end(p);
    }
}

/* ---- open and close ---- */

void mp_pool_open(struct mp_pool *pool, uv_loop_t *loop, const char *node,
                  unsigned workers, unsigned scale_max,
                  const struct mp_pool_user *user)
{
    *pool = (struct mp_pool){
        .loop = loop,
        .node = node,
        .per_group = workers,
        .scale_max = scale_max,
        .user = *user,
    };
    mp_list_init(&pool->groups);
    mp_list_init(&pool->versions);
    uv_prepare_init(loop, &pool->prepare);
    uv_timer_init(loop, &pool->watch);
    uv_timer_init(loop, &pool->retry);
    pool->prepare.data = pool->watch.data = pool->retry.data = pool;
    pool->retry.timer_cb = on_retry;
    uv_prepare_start(&pool->prepare, on_prepare);
}

void mp_pool_close(struct mp_pool *pool)
{
    pool->stopping = true;
    for (unsigned i = 0; i < MP_WORKERS_MAX; i++)
        if (pool->by_bit[i])
            mp_process_stop(pool->by_bit[i]);
    uv_close((uv_handle_t *)&pool->prepare, NULL);
    uv_close((uv_handle_t *)&pool->watch, NULL);
    uv_close((uv_handle_t *)&pool->retry, NULL);
}

/* ---- figures ---- */

unsigned mp_pool_processes(const struct mp_pool *pool)
{
    unsigned n = 0;

    for (unsigned i = 0; i < MP_WORKERS_MAX; i++)
        n += pool->by_bit[i] && pool->by_bit[i]->poll;
    return n;
}

unsigned mp_pool_images(const struct mp_pool *pool, uint64_t *bytes)
{
    unsigned n = 0;

    *bytes = 0;
    mp_list_each (at, &pool->versions) {
        struct mp_version *v = mp_of(at, struct mp_version, link);
        unsigned copies = (unsigned)__builtin_popcountll(v->loaded_in);

        n += copies > 0;
        *bytes += (uint64_t)copies * v->image_bytes;
    }
    return n;
}
