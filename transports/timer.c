/*
 * timer.c - inputs that no sensor sends: `every` and `cron`.
 *
 * When is core/timetable.c's business; here is the one timer of the loop that
 * sleeps until the first of them, and what is kept: for `missed = once` and
 * `all` the wall time of the last run, by the name of its trigger, in the
 * transaction of what that run did.  Such a run is a QoS 1 input (it may be
 * parked, and is not lost with the power); one of `skip` is QoS 0: the next
 * will come.
 */
#include "transports/timer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/hash.h"
#include "core/log.h"

struct timer {
    struct mp_host *host;
    uv_timer_t wake;
    struct mp_link all; /* struct entry */
    bool away;          /* the database is not there */
    bool paused, draining;
    void (*finished)(void *arg);
    void *finished_arg;
};

struct entry {
    struct mp_link link;
    struct timer *timer;
    uint32_t id;
    uint64_t digest;
    char *trigger;
    char *kept; /* its name in the database: timer/FUNCTION/TRIGGER */
    struct mp_timetable table;
    int64_t keep_us; /* of the run that is out */
    bool out;        /* a run has not been settled */
    bool named;      /* by the schedule that is being taken */
    bool said;       /* that it waits for a clock */
};

static struct mp_timetable_now now_of(const struct timer *t)
{
    return (struct mp_timetable_now){.mono_us = mp_now_us(),
                                     .wall_us = mp_wall_us(),
                                     .clock_ok = mp_host_clock_ok(t->host)};
}

/* ---- what is kept ---- */

/* 0: nothing, or of another timetable. */
static int64_t kept_of(const struct entry *e)
{
    struct mp_slice text = mp_host_kept(e->timer->host, e->kept);
    uint64_t digest;
    int64_t last_us;
    char copy[64];

    snprintf(copy, sizeof copy, "%.*s", MP_FMT(text));
    if (sscanf(copy, "%" SCNx64 " %" SCNd64, &digest, &last_us) != 2 ||
        digest != e->digest)
        return 0;
    return last_us;
}

static void keep(struct entry *e)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%016" PRIx64 " %" PRId64, e->digest,
                       e->keep_us);

    if (e->keep_us)
        mp_host_keep(e->timer->host, e->kept, mp_slice(text, (size_t)len), NULL,
                     NULL);
}

static bool is_kept(const struct entry *e)
{
    return e->table.c.missed != MP_MISSED_SKIP;
}

/* ---- runs ---- */

static void look(struct timer *t);

static void entry_free(struct entry *e)
{
    mp_list_unlink(&e->link);
    free(e->trigger);
    free(e->kept);
    free(e);
}

static void note(struct mp_input *in, uint64_t function)
{
    (void)function;
    keep(in->owner);
}

static void settled(struct mp_input *in)
{
    struct entry *e = in->owner;
    struct timer *t = e->timer;

    e->out = false;
    if (!t) { /* its trigger went meanwhile, or all of us did */
        entry_free(e);
        return;
    }
    mp_timetable_done(&e->table);
    look(t);
}

/* The same however often it is made for one run. */
static struct mp_slice id_of(const struct entry *e,
                             const struct mp_timetable_run *run, char id[32])
{
    static const struct mp_hash_key plain = {UINT64_C(0x74696d65722d6964),
                                             UINT64_C(0x6d6f6f6e706f6f6c)};
    struct mp_hasher hasher;
    struct mp_hash hash;

    mp_hasher_init(&hasher, &plain);
    mp_hasher_add(&hasher, mp_slice_str(e->kept));
    mp_hasher_add_u64(&hasher, (uint64_t)run->scheduled_us);
    hash = mp_hasher_end(&hasher);
    return mp_slice(id, (size_t)snprintf(id, 32, "%016" PRIx64 "%08" PRIx64,
                                         hash.lo, hash.hi & 0xffffffff));
}

static void run_it(struct entry *e, const struct mp_timetable_run *run)
{
    char id[32];
    struct mp_input from = {
        .settled = settled,
        .note = is_kept(e) ? note : NULL,
        .owner = e,
        .type = MP_EVENT_TIMER,
        .qos = is_kept(e),
        .received_us = mp_now_us(),
        .time_us = mp_wall_us(),
        .scheduled_us = run->scheduled_us,
        .missed = run->missed,
        .id = id_of(e, run, id),
        .topic = mp_slice_str(e->trigger),
        .source = MP_S("timer"),
        .routes = {e->id},
        .n_routes = 1,
    };

    e->out = true;
    e->keep_us = run->keep_us;
    mp_host_input(e->timer->host, mp_input_new(&from));
}

static void say_clock(struct entry *e)
{
    if (e->table.no_clock == e->said)
        return;
    e->said = e->table.no_clock;
    if (e->said)
        mp_log(MP_WARN, "timer",
               MP_FIELDS(MP_TEXT("trigger", mp_slice_str(e->kept))),
               "waits for a clock that can be trusted");
}

static void on_wake(uv_timer_t *wake)
{
    look(wake->data);
}

/* Run what is due, and sleep until the next is. */
static void look(struct timer *t)
{
    struct mp_timetable_now now = now_of(t);
    int64_t next_us = INT64_MAX;

    if (t->away || t->draining)
        return;
    mp_list_each_safe (at, &t->all) {
        struct entry *e = mp_of(at, struct entry, link);
        struct mp_timetable_run run;
        int64_t at_us;

        if (!t->paused && mp_timetable_due(&e->table, now, &run))
            run_it(e, &run);
        at_us = mp_timetable_next(&e->table, now);
        say_clock(e);
        if (at_us < next_us)
            next_us = at_us;
    }
    if (next_us == INT64_MAX || t->paused) {
        uv_timer_stop(&t->wake);
        return;
    }
    next_us -= mp_now_us();
    uv_timer_start(&t->wake, on_wake,
                   next_us > 0 ? (uint64_t)(next_us + 999) / 1000 : 1, 0);
}

/* ---- the schedule ---- */

static struct entry *find(struct timer *t, const struct mp_timing *timing,
                          const char *kept)
{
    mp_list_each (at, &t->all) {
        struct entry *e = mp_of(at, struct entry, link);

        if (e->digest == timing->digest && strcmp(e->kept, kept) == 0)
            return e;
    }
    return NULL;
}

static void begin(struct entry *e)
{
    e->table.c.last_us = is_kept(e) ? kept_of(e) : 0;
    mp_timetable_init(&e->table, &e->table.c, now_of(e->timer));
}

static void take(struct timer *t, const struct mp_timing *timing)
{
    struct mp_buf kept;
    struct entry *e;

    mp_buf_init(&kept, 256);
    mp_buf_printf(&kept, "timer/%s/%s", timing->function, timing->trigger);
    mp_buf_put(&kept, "", 1);
    e = find(t, timing, kept.ptr);
    if (!e) {
        e = mp_zalloc(sizeof *e);
        e->timer = t;
        e->digest = timing->digest;
        e->kept = mp_strndup(kept.ptr, kept.len - 1);
        e->trigger = mp_strndup(timing->trigger, strlen(timing->trigger));
        e->table.c = timing->when;
        mp_list_append(&t->all, &e->link);
        if (!t->away)
            begin(e);
    }
    e->id = timing->id;
    /* What they point to is of the newest version. */
    e->table.c.cron = timing->when.cron;
    e->table.c.zone = timing->when.zone;
    e->named = true;
    mp_buf_fini(&kept);
}

/* Its run, if one is out, frees it. */
static void let_go(struct entry *e)
{
    mp_list_unlink(&e->link);
    if (e->out)
        e->timer = NULL;
    else
        entry_free(e);
}

static void timer_schedule(void *self, const struct mp_timing *timings,
                           unsigned n)
{
    struct timer *t = self;

    mp_list_each (at, &t->all)
        mp_of(at, struct entry, link)->named = false;
    for (unsigned i = 0; i < n; i++)
        take(t, &timings[i]);
    mp_list_each_safe (at, &t->all) {
        struct entry *e = mp_of(at, struct entry, link);

        if (e->named)
            continue;
        /* Gone for good, or written otherwise: nothing is owed any more. */
        if (is_kept(e))
            mp_host_keep(t->host, e->kept, mp_slice(NULL, 0), NULL, NULL);
        let_go(e);
    }
    look(t);
}

/* ---- from beginning to end ---- */

static int timer_open(struct mp_host *host, uv_loop_t *loop,
                      const struct mp_config *config, void **self,
                      struct mp_why *why)
{
    struct timer *t = mp_zalloc(sizeof *t);

    (void)config;
    (void)why;
    t->host = host;
    mp_list_init(&t->all);
    uv_timer_init(loop, &t->wake);
    t->wake.data = t;
    *self = t;
    return 0;
}

/* What was out is lost: what is kept says what is owed. */
static void timer_lost(void *self)
{
    struct timer *t = self;

    t->away = true;
    uv_timer_stop(&t->wake);
}

static void timer_found(void *self)
{
    struct timer *t = self;

    t->away = false;
    mp_list_each (at, &t->all)
        begin(mp_of(at, struct entry, link));
    look(t);
}

static void timer_pause(void *self, bool paused)
{
    struct timer *t = self;

    t->paused = paused;
    look(t);
}

static void timer_drain(void *self)
{
    struct timer *t = self;

    t->draining = true;
    uv_timer_stop(&t->wake);
}

static bool timer_idle(void *self)
{
    (void)self;
    return true; /* a run that is out is the host's */
}

static void on_closed(uv_handle_t *handle)
{
    struct timer *t = handle->data;

    t->finished(t->finished_arg);
    free(t);
}

static void timer_close(void *self, void (*finished)(void *arg), void *arg)
{
    struct timer *t = self;

    mp_list_each_safe (at, &t->all)
        let_go(mp_of(at, struct entry, link));
    t->finished = finished;
    t->finished_arg = arg;
    uv_close((uv_handle_t *)&t->wake, on_closed);
}

const struct mp_transport mp_timer = {
    .name = "timer",
    .open = timer_open,
    .schedule = timer_schedule,
    .lost = timer_lost,
    .found = timer_found,
    .pause = timer_pause,
    .drain = timer_drain,
    .idle = timer_idle,
    .close = timer_close,
};
