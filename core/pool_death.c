/*
 * pool_death.c - a worker dying is a normal event.
 *
 * What it had said counts already (process.c reads that first).  Of what it
 * still held, the run that was on is suspected and will run alone; the others
 * go back to the front of their queues, in order.
 */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "core/base/clock.h"
#include "core/log.h"
#include "core/pool_impl.h"

/* Which of its runs a dead process was at; NULL: none, or it can't be told. */
static struct mp_invocation *find_suspect(struct mp_process *p, uint64_t run)
{
    struct mp_invocation *inv;

    mp_list_each (at, &p->inflight) {
        inv = mp_of(at, struct mp_invocation, link);
        if (inv->run == run)
            return inv;
    }
    if (mp_list_empty(&p->inflight))
        return NULL;
    return mp_of(p->inflight.next, struct mp_invocation, link);
}

static void describe_death(int status, bool deadline, char *text, size_t size)
{
    if (deadline)
        snprintf(text, size,
                 "the worker had to be killed: it did not stop in "
                 "its time");
    else if (WIFSIGNALED(status))
        snprintf(text, size, "the worker died: %s",
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "the worker ended with status %d",
                 WEXITSTATUS(status));
}

void mp_pool_blame(struct mp_process *p, struct mp_invocation *inv,
                   const char *how)
{
    struct mp_outcome killed = {
        .kind = MP_OUT_KILLED,
        .error = mp_slice_str(how),
    };

    if (!p->solo || ++inv->deaths < inv->version->fn->kills) {
        mp_pool_suspect(p->group, inv);
        return;
    }
    inv->stage = MP_RUNNING;
    (void)p->pool->user.done(p->pool->user.arg, inv, &killed);
}

static void run_elsewhere(struct mp_process *p)
{
    struct mp_invocation *inv;

    /* From the youngest to the oldest, each to the front: order is kept. */
    while (!mp_list_empty(&p->waiting)) {
        inv = mp_of(p->waiting.prev, struct mp_invocation, link);
        mp_invocation_wake(inv);
        mp_list_unlink(&inv->link);
        inv->slot->n_suspended--;
        inv->process = NULL;
        mp_pool_put_back(p, inv);
    }
    while (!mp_list_empty(&p->inflight)) {
        inv = mp_of(p->inflight.prev, struct mp_invocation, link);
        mp_invocation_leave(inv);
        mp_pool_put_back(p, inv);
    }
}

void mp_pool_on_end(struct mp_process *p)
{
    struct mp_pool *pool = p->pool;
    struct mp_group *g = p->group;
    int64_t since_us;
    uint64_t run = mp_worker_current(&p->worker, &since_us);
    bool deadline = p->worker.killed, bad = p->bad, retired = p->retire;
    bool started = p->ready;
    struct mp_invocation *suspect = started ? find_suspect(p, run) : NULL;
    char how[160];
    int status = mp_process_stop(p);

    describe_death(status, deadline, how, sizeof how);
    if (retired && !bad) {
        mp_metrics.worker_exits[MP_EXIT_RETIRED]++;
    } else {
        mp_metrics.worker_exits[bad        ? MP_EXIT_BAD_FRAME
                                : deadline ? MP_EXIT_DEADLINE
                                           : MP_EXIT_DIED]++;
        mp_log(MP_WARN, "pool", MP_FIELDS(MP_NUM("held", p->n_inflight)), "%s",
               bad ? "a worker sent something that does not parse; it was "
                     "killed"
                   : how);
    }
    if (suspect) {
        mp_invocation_leave(suspect);
        mp_pool_blame(p, suspect, how);
    }
    run_elsewhere(p);
    mp_versions_lost(p, run, started, how);
    if (p->solo) {
        g->solo = NULL;
        mp_process_free(p);
    } else if (started) {
        mp_process_spawn(p);
        started = p->poll != NULL;
    }
    if (!started)
        mp_pool_retry_soon(pool);
}
