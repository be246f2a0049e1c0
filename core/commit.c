/*
 * commit.c - one writer, one order at a time, one answer for each.
 *
 * The loop puts an order into the structure and wakes the writer; the writer
 * puts the answer there and wakes the loop.  Between the two the writer has
 * the batch that does not gather, and nothing else is shared.
 *
 *     order    done                      answer: what the loop does
 *     OPEN     opens, checks, migrates   `opened`, or `unable` and again later
 *     WRITE    applies a batch           waiters, or failure (it is closed)
 *     END      closes                    the thread is joined
 *
 * `again` is the one timer that waits for better times: for the next try to
 * open it, and then until it is not uneasy any more.
 *
 * The writer checkpoints after its answer, so that nobody waits for that but
 * the next transaction: when the WAL has grown by CHECKPOINT_BYTES, or when
 * nothing came for long.  Seldom, since each page is written again by it.
 */
#include "core/commit.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "core/base/clock.h"
#include "core/base/crash.h"
#include "core/metrics.h"

enum {
    CHECKPOINT_BYTES = 1 << 20,
    CHECKPOINT_IDLE_S = 600,
    CLOSE_S = 5,          /* for the last transactions */
    SAFETY_MS = 5,        /* were mp_commit_turn not called */
    LOOK_MS = 1000,       /* is there room again? */
    ROOM_BYTES = 1 << 20, /* so much more than when it failed */
    BACKOFF_MIN_MS = 1000,
    BACKOFF_MAX_MS = 30000,
    FORGIVEN_MS = 120000, /* a failure after so long is the first again */
};

enum {
    PAGE = 4096, /* of the database; a bit less of it for contents */
    PAGE_BYTES = 4092,
    ROW = 64,         /* of a row, its place and its place in an index */
    ROW_LOCAL = 1000, /* of its contents in its own page; the rest: others */
};

#define LAZY_US MP_SECOND

/* ---- the writer's thread ---- */

/* The next order; checkpoints when none comes for long. */
static enum mp_commit_order next_order(struct mp_commit *c, struct mp_db *db)
{
    bool idle = db && mp_db_pending(db) > 0;
    enum mp_commit_order order;
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += CHECKPOINT_IDLE_S;
    pthread_mutex_lock(&c->lock);
    while (c->order == MP_COMMIT_NOTHING)
        if (!idle) {
            pthread_cond_wait(&c->wake, &c->lock);
        } else if (pthread_cond_timedwait(&c->wake, &c->lock, &until) ==
                   ETIMEDOUT) {
            pthread_mutex_unlock(&c->lock);
            mp_db_checkpoint(db);
            idle = false;
            pthread_mutex_lock(&c->lock);
        }
    order = c->order;
    c->order = MP_COMMIT_NOTHING;
    pthread_mutex_unlock(&c->lock);
    return order;
}

static void answer(struct mp_commit *c, enum mp_commit_order done, int rc,
                   uint64_t written, uint64_t used)
{
    pthread_mutex_lock(&c->lock);
    c->answer = done;
    c->answer_rc = rc;
    c->answer_written = written;
    c->answer_used = used;
    pthread_cond_signal(&c->told);
    pthread_mutex_unlock(&c->lock);
    uv_async_send(&c->answered);
}

static struct mp_db *open_db(struct mp_commit *c)
{
    struct mp_db *db;
    int rc = mp_db_open(&db, c->data, c->max_size, &c->answer_opened,
                        &c->answer_why);

    if (rc)
        answer(c, MP_COMMIT_OPEN, rc, 0, 0);
    else
        answer(c, MP_COMMIT_OPEN, 0, mp_db_written(db), mp_db_used(db));
    return db;
}

static struct mp_db *write_batch(struct mp_commit *c, struct mp_db *db)
{
    uint64_t written, used;
    int rc;

    MP_CRASH_POINT("commit.before_apply");
    rc = mp_db_apply(db, &c->batch[!c->gathering], &c->answer_why);
    written = mp_db_written(db);
    used = mp_db_used(db);
    if (rc) {
        /* Nothing of the connection can be relied on. */
        mp_db_close(db);
        db = NULL;
    }
    answer(c, MP_COMMIT_WRITE, rc, written, used);
    if (db && mp_db_pending(db) >= CHECKPOINT_BYTES)
        mp_db_checkpoint(db);
    return db;
}

static void *serve(void *arg)
{
    struct mp_commit *c = arg;
    struct mp_db *db = NULL;

    for (;;) {
        switch (next_order(c, db)) {
        case MP_COMMIT_OPEN:
            db = open_db(c);
            break;
        case MP_COMMIT_REOPEN:
            mp_db_close(db);
            db = open_db(c);
            break;
        case MP_COMMIT_WRITE:
            db = write_batch(c, db);
            break;
        case MP_COMMIT_END:
            mp_db_close(db);
            return NULL;
        case MP_COMMIT_NOTHING:
            break;
        }
    }
}

static void order(struct mp_commit *c, enum mp_commit_order what)
{
    pthread_mutex_lock(&c->lock);
    c->order = what;
    pthread_mutex_unlock(&c->lock);
    pthread_cond_signal(&c->wake); /* it need not wait for the lock then */
}

/* ---- waiters ---- */

/* Everything up to this ticket is decided. */
static uint64_t decided(const struct mp_commit *c)
{
    return c->durable > c->lost_to ? c->durable : c->lost_to;
}

static struct mp_commit_wait *first_waiter(const struct mp_commit *c)
{
    return mp_of(c->waiters.next, struct mp_commit_wait, link);
}

static bool some_due(const struct mp_commit *c)
{
    return !mp_list_empty(&c->waiters) && first_waiter(c)->ticket <= decided(c);
}

/* Call whoever is due.  What they add waits for the next time. */
static void call_due(struct mp_commit *c)
{
    struct mp_link due;

    if (c->calling)
        return;
    mp_list_init(&due);
    while (some_due(c)) {
        struct mp_link *first = c->waiters.next;

        mp_list_unlink(first);
        mp_list_append(&due, first);
    }
    c->calling = true;
    while (!mp_list_empty(&due)) {
        struct mp_commit_wait *w = mp_of(due.next, struct mp_commit_wait, link);

        mp_list_unlink(&w->link);
        w->done(w, mp_commit_is_durable(c, w->ticket) ? 0 : MP_EIO);
    }
    c->calling = false;
}

/* What gathers, and all before it that is not durable, never will be. */
static void give_up(struct mp_commit *c)
{
    if (c->durable >= c->lost_to)
        c->lost_from = c->durable;
    c->lost_to = c->ticket++;
    c->wanted = false;
    c->lazy_us = 0;
    c->grow[c->gathering] = 0;
    mp_batch_reset(&c->batch[c->gathering]);
}

/* ---- leaving ---- */

static void leave(struct mp_commit *c, int64_t now_us)
{
    struct mp_batch *b = &c->batch[c->gathering];
    uint64_t sealed;

    c->user.seal(c->user.arg, b);
    c->wanted = false;
    c->lazy_us = 0;
    sealed = c->ticket++;
    if (b->n == 0) { /* what came has gone: no byte */
        mp_batch_reset(b);
        c->grow[c->gathering] = 0;
        c->durable = sealed;
        return;
    }
    c->left_us = now_us;
    c->gathering = !c->gathering;
    c->writing = true;
    order(c, MP_COMMIT_WRITE);
}

/* Milliseconds until a time, rounded up. */
static uint64_t ms_until(int64_t at_us, int64_t now_us)
{
    return at_us <= now_us ? 0 : (uint64_t)(at_us - now_us + 999) / 1000;
}

static void on_pace(uv_timer_t *timer);

/* When to look again if nobody calls. */
static void set_pace(struct mp_commit *c, int64_t now_us)
{
    bool may = c->running && c->is_open && !c->writing;
    uint64_t ms;

    if (some_due(c) || (c->lost && !mp_list_empty(&c->waiters)) ||
        (may && c->wanted && !c->more))
        ms = SAFETY_MS;
    else if (may && c->wanted)
        ms = ms_until(c->left_us + c->interval_us, now_us);
    else if (may && c->lazy_us)
        ms = ms_until(c->lazy_us + LAZY_US, now_us);
    else {
        uv_timer_stop(&c->pace);
        return;
    }
    uv_timer_start(&c->pace, on_pace, ms, 0);
}

static void attend(struct mp_commit *c)
{
    int64_t now_us;

    if (c->lost && (c->wanted || c->lazy_us || !mp_list_empty(&c->waiters)))
        give_up(c); /* no place for it */
    if (some_due(c))
        call_due(c);
    if (!c->wanted && !c->lazy_us && !some_due(c))
        return;
    now_us = mp_now_us();
    if (c->lazy_us && now_us - c->lazy_us >= LAZY_US)
        c->wanted = true;
    if (c->wanted && c->running && c->is_open && !c->writing &&
        (!c->more || now_us - c->left_us >= c->interval_us)) {
        leave(c, now_us);
        call_due(c);
    }
    set_pace(c, now_us);
}

static void on_pace(uv_timer_t *timer)
{
    attend(timer->data);
}

void mp_commit_turn(struct mp_commit *c, bool more)
{
    c->more = more;
    attend(c);
}

/* ---- open, and open again ---- */

static uint64_t free_bytes(const struct mp_commit *c)
{
    struct statvfs st;

    if (statvfs(c->data, &st))
        return 0;
    return (uint64_t)st.f_bavail * st.f_frsize;
}

static void on_again(uv_timer_t *timer)
{
    struct mp_commit *c = timer->data;
    uint64_t now_ms = uv_now(c->loop);
    bool room = free_bytes(c) >= c->free_bytes + ROOM_BYTES;

    if (room || now_ms >= c->easy_at_ms)
        c->uneasy = false;
    if (c->is_open) {
        if (!c->uneasy)
            uv_timer_stop(&c->again);
    } else if (room || now_ms >= c->open_at_ms) {
        uv_timer_stop(&c->again);
        order(c, MP_COMMIT_OPEN);
    }
}

static uint64_t longer(uint64_t ms)
{
    ms = ms ? 2 * ms : BACKOFF_MIN_MS;
    return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

/* What made one transaction fail may make the next, too. */
static void be_uneasy(struct mp_commit *c)
{
    uint64_t now_ms = uv_now(c->loop);

    if (c->failed_at_ms && now_ms - c->failed_at_ms > FORGIVEN_MS)
        c->unease_ms = 0;
    c->unease_ms = longer(c->unease_ms);
    c->failed_at_ms = now_ms;
    c->easy_at_ms = now_ms + c->unease_ms;
    c->uneasy = true;
}

static void try_again(struct mp_commit *c)
{
    c->backoff_ms = longer(c->backoff_ms);
    c->open_at_ms = uv_now(c->loop) + c->backoff_ms;
    c->free_bytes = free_bytes(c);
    uv_timer_start(&c->again, on_again, LOOK_MS, LOOK_MS);
}

void mp_commit_reopen(struct mp_commit *c)
{
    MP_ASSERT(!c->running && !c->writing);
    if (!c->is_open)
        return; /* it is about to be opened anyway */
    c->is_open = false;
    order(c, MP_COMMIT_REOPEN);
}

static bool set_failure(struct mp_commit *c, const char *text)
{
    if (c->failure && strcmp(c->failure, text) == 0)
        return false;
    free(c->failure);
    c->failure = mp_strndup(text, strlen(text));
    return true;
}

static void not_opened(struct mp_commit *c)
{
    struct mp_why why = c->answer_why;

    try_again(c);
    if (set_failure(c, why.text))
        c->user.unable(c->user.arg, &why);
}

/* Put what was written since the last time on the accounts of b's shares. */
static void account(struct mp_commit *c, const struct mp_batch *b)
{
    uint64_t written = c->answer_written - c->written, left = written;
    uint64_t recorded = b ? b->ops.len : 0;

    c->written = c->answer_written;
    for (unsigned i = 0; recorded && i < b->n_shares; i++) {
        uint64_t part =
            (uint64_t)((double)written * (double)b->shares[i].bytes /
                       (double)recorded);

        if (!b->shares[i].counter || part > left)
            continue;
        *b->shares[i].counter += part;
        left -= part;
    }
    mp_metrics.flash += left;
}

static void set_used(struct mp_commit *c)
{
    c->used = c->answer_used;
    if (c->used < c->full_at)
        c->full_at = 0;
}

static void opened(struct mp_commit *c)
{
    struct mp_db_opened how = c->answer_opened;

    if (c->lost)
        give_up(c);
    c->lost = false;
    call_due(c);
    free(c->failure);
    c->failure = NULL;
    c->is_open = true;
    set_used(c);
    c->written = 0;
    account(c, NULL);
    if (c->uneasy)
        uv_timer_start(&c->again, on_again, LOOK_MS, LOOK_MS);
    c->user.opened(c->user.arg, &how);
}

static void failed(struct mp_commit *c)
{
    struct mp_why why = c->answer_why;

    c->is_open = c->running = false;
    c->lost = true;
    if (c->answer_rc == MP_EFULL)
        c->full_at = c->used;
    give_up(c);
    set_failure(c, why.text);
    be_uneasy(c);
    try_again(c);
    call_due(c);
    c->user.failed(c->user.arg, &why);
}

static void written(struct mp_commit *c)
{
    struct mp_batch *b = &c->batch[!c->gathering];

    c->writing = false;
    account(c, b);
    mp_batch_reset(b);
    c->grow[!c->gathering] = 0;
    if (c->answer_rc) {
        failed(c);
        return;
    }
    set_used(c);
    c->backoff_ms = 0;
    c->durable = c->ticket - 1;
    mp_hist_add(&mp_metrics.commit,
                (uint64_t)(mp_now_us() - c->left_us) * 1000);
    MP_CRASH_POINT("commit.after_durable");
    call_due(c);
}

static void take_answer(struct mp_commit *c)
{
    enum mp_commit_order what;

    pthread_mutex_lock(&c->lock);
    what = c->answer;
    c->answer = MP_COMMIT_NOTHING;
    pthread_mutex_unlock(&c->lock);
    if (what == MP_COMMIT_OPEN && c->answer_rc)
        not_opened(c);
    else if (what == MP_COMMIT_OPEN)
        opened(c);
    else if (what == MP_COMMIT_WRITE)
        written(c);
}

static void on_answered(uv_async_t *async)
{
    struct mp_commit *c = async->data;

    take_answer(c);
    set_pace(c, mp_now_us());
}

/* ---- the loop's side ---- */

static void start_thread(struct mp_commit *c)
{
    pthread_condattr_t attr;
    sigset_t all, before;

    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &attr);
    pthread_cond_init(&c->told, &attr);
    pthread_condattr_destroy(&attr);
    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    MP_ASSERT(pthread_create(&c->thread, NULL, serve, c) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void mp_commit_open(struct mp_commit *c, uv_loop_t *loop, const char *data,
                    uint64_t max_size, int64_t interval_us,
                    const struct mp_commit_user *user)
{
    *c = (struct mp_commit){
        .loop = loop,
        .data = data,
        .max_size = max_size,
        .interval_us = interval_us,
        .user = *user,
        .order = MP_COMMIT_OPEN,
        .ticket = 1,
    };
    mp_list_init(&c->waiters);
    mp_batch_init(&c->batch[0]);
    mp_batch_init(&c->batch[1]);
    MP_ASSERT(uv_async_init(loop, &c->answered, on_answered) == 0);
    uv_timer_init(loop, &c->pace);
    uv_timer_init(loop, &c->again);
    c->answered.data = c->pace.data = c->again.data = c;
    start_thread(c);
}

void mp_commit_go(struct mp_commit *c)
{
    MP_ASSERT(c->is_open);
    c->running = true;
    set_pace(c, mp_now_us());
}

/* Wait until the writer has answered; false: not in time. */
static bool wait_for_answer(struct mp_commit *c, int64_t until_us)
{
    struct timespec until = {.tv_sec = (time_t)(until_us / MP_SECOND),
                             .tv_nsec = (long)(until_us % MP_SECOND * 1000)};
    int rc = 0;

    pthread_mutex_lock(&c->lock);
    while (c->answer == MP_COMMIT_NOTHING && rc == 0)
        rc = pthread_cond_timedwait(&c->told, &c->lock, &until);
    pthread_mutex_unlock(&c->lock);
    return rc == 0;
}

static void finish(struct mp_commit *c)
{
    int64_t until_us = mp_now_us() + CLOSE_S * MP_SECOND;

    for (;;) {
        int64_t now_us = mp_now_us();

        call_due(c);
        if (c->writing) {
            if (!wait_for_answer(c, until_us))
                return;
            take_answer(c);
        } else if (c->running && (c->wanted || c->lazy_us) &&
                   now_us < until_us) {
            leave(c, now_us);
        } else {
            return;
        }
    }
}

void mp_commit_close(struct mp_commit *c)
{
    MP_ASSERT(!c->calling);
    finish(c);
    order(c, MP_COMMIT_END);
    pthread_join(c->thread, NULL);
    mp_list_each_safe (at, &c->waiters)
        mp_list_unlink(at);
    uv_close((uv_handle_t *)&c->answered, NULL);
    uv_close((uv_handle_t *)&c->pace, NULL);
    uv_close((uv_handle_t *)&c->again, NULL);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->wake);
    pthread_cond_destroy(&c->told);
    mp_batch_fini(&c->batch[0]);
    mp_batch_fini(&c->batch[1]);
    free(c->failure);
    c->failure = NULL;
    c->running = c->is_open = false;
}

static void want(struct mp_commit *c)
{
    if (c->wanted)
        return;
    c->wanted = true;
    if (c->running && !c->writing)
        uv_timer_start(&c->pace, on_pace, SAFETY_MS, 0);
}

uint64_t mp_commit_ticket(struct mp_commit *c)
{
    want(c);
    return c->ticket;
}

/* ---- room ---- */

static uint64_t pages_of(uint64_t bytes)
{
    return bytes / PAGE_BYTES + (bytes % PAGE_BYTES != 0);
}

uint64_t mp_commit_row_cost(uint64_t bytes)
{
    if (bytes <= ROW_LOCAL)
        return 2 * (bytes + ROW);
    return 2 * (ROW_LOCAL + ROW) + pages_of(bytes) * PAGE;
}

uint64_t mp_commit_change_cost(uint64_t old, uint64_t bytes)
{
    if (bytes <= old)
        return 0;
    if (old == 0)
        return mp_commit_row_cost(bytes);
    if (bytes <= ROW_LOCAL)
        return 2 * (bytes - old);
    return (1 + pages_of(bytes) - pages_of(old)) * PAGE;
}

static bool fits(const struct mp_commit *c, uint64_t bytes)
{
    return !c->full_at && c->used + bytes <= c->max_size / 32 * 31;
}

bool mp_commit_has_room(const struct mp_commit *c, uint64_t bytes)
{
    return fits(c, bytes + c->grow[0] + c->grow[1]);
}

bool mp_commit_has_room_later(const struct mp_commit *c, uint64_t bytes)
{
    return fits(c, bytes);
}

struct mp_batch *mp_commit_batch(struct mp_commit *c)
{
    want(c);
    return &c->batch[c->gathering];
}

struct mp_batch *mp_commit_batch_lazy(struct mp_commit *c)
{
    if (!c->lazy_us) {
        c->lazy_us = mp_now_us();
        if (!c->wanted && c->running && !c->writing)
            set_pace(c, c->lazy_us);
    }
    return &c->batch[c->gathering];
}

void mp_commit_wait(struct mp_commit *c, struct mp_commit_wait *w,
                    uint64_t ticket,
                    void (*done)(struct mp_commit_wait *w, int rc))
{
    struct mp_link *where = &c->waiters;

    MP_ASSERT(ticket <= c->ticket);
    while (where->prev != &c->waiters &&
           mp_of(where->prev, struct mp_commit_wait, link)->ticket > ticket)
        where = where->prev;
    w->ticket = ticket;
    w->done = done;
    mp_list_before(where, &w->link);
    if (some_due(c) || c->lost)
        set_pace(c, mp_now_us());
}

void mp_commit_wait_not(struct mp_commit_wait *w)
{
    mp_list_unlink(&w->link);
}
