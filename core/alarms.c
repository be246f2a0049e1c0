/*
 * alarms.c - alarms by name in a table, by time in two heaps.
 *
 *     set ──► in a heap ──due──► in its function's line ──fire──► fired
 *      ▲          │ set again: moves                               │
 *      └──────────┴────────────────── set again, or put back ──────┤
 *                                                          done ──► gone
 *
 * What is due goes into a line of its function, and from there to the user,
 * in order, as long as he takes it: one function without room keeps nobody
 * else waiting, and is asked once a second, not once an alarm.  A turn of the
 * loop fires FIRE_MAX at most, so that 10,000 that are due at boot don't keep
 * inputs waiting.
 *
 * The table holds one reference to each of its alarms; the dirty list holds
 * one to each that left the table and has a row to be deleted.
 */
#include "core/alarms.h"

#include <stdlib.h>
#include <sys/random.h>

#include "core/base/clock.h"
#include "core/base/crash.h"

enum {
    FIRE_MAX = 256, /* a turn of the loop */
    BUCKETS_MIN = 64,
    PARAMS_MAX = 1 << 20, /* bytes of a row's params: topics are short */
};

/* Wall alarms are looked at so often, since that clock jumps; and who had no
 * room is asked again. */
#define LOOK_US MP_SECOND
/* Of the timer; it looks again then. */
#define SLEEP_MAX_US (3600 * MP_SECOND)
/* What is farther away is as good as never, and no sum overflows. */
#define NEVER_US (INT64_MAX / 8)
/* To the next turn of the loop: less would be the same turn to a timer. */
#define TURN_US MP_MS

struct mp_alarm_line {
    struct mp_link link;
    struct mp_state_fn *fn;
    struct mp_link due; /* alarms, by their link `turn` */
};

static int64_t timeline_us(const struct mp_alarms *s)
{
    return mp_timeline_at(s->timeline, mp_now_us());
}

/* ---- the table ---- */

static size_t bucket_of(const struct mp_alarms *s, const struct mp_state_fn *fn,
                        struct mp_slice key, struct mp_slice name)
{
    struct mp_hasher hasher;

    mp_hasher_init(&hasher, &s->seed);
    mp_hasher_add_u64(&hasher, (uintptr_t)fn);
    mp_hasher_add(&hasher, key);
    mp_hasher_add(&hasher, name);
    return (size_t)mp_hasher_end(&hasher).lo & (s->n_buckets - 1);
}

static void table_new(struct mp_alarms *s, size_t n)
{
    s->bucket = mp_alloc(n * sizeof(*s->bucket));
    s->n_buckets = n;
    for (size_t i = 0; i < n; i++)
        mp_list_init(&s->bucket[i]);
}

static void table_add(struct mp_alarms *s, struct mp_alarm *a)
{
    mp_list_append(&s->bucket[bucket_of(s, a->fn, a->key, a->name)], &a->chain);
}

static void table_grow(struct mp_alarms *s)
{
    struct mp_link *old = s->bucket;
    size_t n = s->n_buckets;

    table_new(s, n * 2);
    for (size_t i = 0; i < n; i++)
        mp_list_each_safe (at, &old[i]) {
            mp_list_unlink(at);
            table_add(s, mp_of(at, struct mp_alarm, chain));
        }
    free(old);
}

static struct mp_alarm *find(const struct mp_alarms *s,
                             const struct mp_state_fn *fn, struct mp_slice key,
                             struct mp_slice name)
{
    mp_list_each (at, &s->bucket[bucket_of(s, fn, key, name)]) {
        struct mp_alarm *a = mp_of(at, struct mp_alarm, chain);

        if (a->fn == fn && mp_slice_eq(a->key, key) &&
            mp_slice_eq(a->name, name))
            return a;
    }
    return NULL;
}

/* ---- one alarm ---- */

static uint64_t params_bytes(const struct mp_pair *params, uint32_t n)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < n; i++)
        bytes += params[i].name.len + params[i].value.len;
    return bytes;
}

/* What an alarm of these takes of its function's quota: all of it is in
 * memory. */
static uint64_t cost_of(struct mp_slice key, struct mp_slice name,
                        struct mp_slice data, const struct mp_pair *params,
                        uint32_t n_params)
{
    return MP_ALARM_COST + key.len + name.len + data.len +
           n_params * sizeof *params + params_bytes(params, n_params);
}

static uint64_t bytes_of(const struct mp_alarm *a)
{
    return cost_of(a->key, a->name, a->data, a->params, a->n_params);
}

static struct mp_slice copy(char **at, struct mp_slice from)
{
    struct mp_slice to = {from.ptr ? *at : NULL, from.len};

    if (from.ptr)
        memcpy(*at, from.ptr, from.len);
    *at += from.len;
    return to;
}

/* Its bytes, in a new block; what they are copied from may be the old one. */
static void fill(struct mp_alarm *a, struct mp_slice key, struct mp_slice name,
                 struct mp_slice data, const struct mp_pair *params,
                 uint32_t n_params)
{
    size_t pairs = n_params * sizeof(struct mp_pair);
    char *old = a->block, *at;

    a->block = mp_alloc(pairs + key.len + name.len + data.len +
                        params_bytes(params, n_params) + 1);
    a->params = (struct mp_pair *)(void *)a->block;
    a->n_params = n_params;
    at = a->block + pairs;
    a->key = copy(&at, key);
    a->name = copy(&at, name);
    a->data = copy(&at, data);
    for (uint32_t i = 0; i < n_params; i++) {
        a->params[i].name = copy(&at, params[i].name);
        a->params[i].value = copy(&at, params[i].value);
    }
    free(old);
}

struct mp_alarm *mp_alarm_ref(struct mp_alarm *a)
{
    a->refs++;
    return a;
}

void mp_alarm_unref(struct mp_alarm *a)
{
    if (--a->refs)
        return;
    free(a->block);
    free(a);
}

static struct mp_alarm *alarm_new(struct mp_alarms *s, struct mp_state_fn *fn,
                                  struct mp_slice key, struct mp_slice name,
                                  struct mp_slice data,
                                  const struct mp_pair *params,
                                  uint32_t n_params)
{
    struct mp_alarm *a = mp_zalloc(sizeof *a);

    a->fn = fn;
    a->refs = 1;
    mp_list_init(&a->chain);
    mp_list_init(&a->dirty);
    mp_list_init(&a->turn);
    fill(a, key, name, data, params, n_params);
    if (s->n >= s->n_buckets)
        table_grow(s);
    table_add(s, a);
    s->n++;
    fn->bytes += bytes_of(a);
    return a;
}

static struct mp_due *heap_of(struct mp_alarms *s, const struct mp_alarm *a)
{
    return a->wall ? &s->by_wall : &s->by_timeline;
}

/* Not due any more. */
static void unset(struct mp_alarms *s, struct mp_alarm *a)
{
    mp_due_remove(heap_of(s, a), &a->item);
    mp_list_unlink(&a->turn);
}

static void set_due(struct mp_alarms *s, struct mp_alarm *a, bool wall,
                    int64_t at_us)
{
    unset(s, a);
    a->wall = wall;
    a->at_us = at_us;
    mp_due_set(heap_of(s, a), &a->item, at_us);
}

static void make_dirty(struct mp_alarms *s, struct mp_alarm *a)
{
    if (mp_list_empty(&a->dirty))
        mp_list_append(&s->dirty, &a->dirty);
    (void)mp_commit_ticket(s->commit);
}

/* Out of the table.  True: its row must go. */
static bool remove_alarm(struct mp_alarms *s, struct mp_alarm *a)
{
    unset(s, a);
    mp_list_unlink(&a->chain);
    mp_list_unlink(&a->dirty);
    s->n--;
    a->fn->bytes -= bytes_of(a);
    a->cancelled = true;
    a->serial++;
    if (!a->stored) {
        mp_alarm_unref(a);
        return false;
    }
    make_dirty(s, a);
    return true;
}

/* ---- firing ---- */

static struct mp_alarm_line *line_of(struct mp_alarms *s,
                                     struct mp_state_fn *fn)
{
    struct mp_alarm_line *line;

    mp_list_each (at, &s->lines) {
        line = mp_of(at, struct mp_alarm_line, link);
        if (line->fn == fn)
            return line;
    }
    line = mp_zalloc(sizeof *line);
    line->fn = fn;
    mp_list_init(&line->due);
    mp_list_append(&s->lines, &line->link);
    return line;
}

static void line_up(struct mp_alarms *s, struct mp_due *heap, int64_t now_us)
{
    struct mp_due_item *first;

    while ((first = mp_due_first(heap)) && first->at_us <= now_us) {
        struct mp_alarm *a = mp_of(first, struct mp_alarm, item);

        mp_due_remove(heap, first);
        mp_list_append(&line_of(s, a->fn)->due, &a->turn);
    }
}

/* False: not now, and so nothing else of its function. */
static bool fire(struct mp_alarms *s, struct mp_alarm *a)
{
    uint32_t serial = a->serial;
    bool taken;

    mp_alarm_ref(a); /* whatever becomes of it in there */
    mp_list_unlink(&a->turn);
    a->fired = true;
    MP_CRASH_POINT("alarms.before_fire");
    taken = s->user.fire(s->user.arg, a);
    if (!taken && mp_alarm_is(a, serial)) {
        a->fired = false;
        mp_list_prepend(&line_of(s, a->fn)->due, &a->turn);
    }
    mp_alarm_unref(a);
    return taken;
}

/* Returns how many are left to fire in this turn. */
static unsigned fire_line(struct mp_alarms *s, struct mp_alarm_line *line,
                          unsigned left)
{
    while (left && !mp_list_empty(&line->due)) {
        if (!fire(s, mp_of(line->due.next, struct mp_alarm, turn)))
            break;
        left--;
    }
    return left;
}

static bool anybody_waits(const struct mp_alarms *s)
{
    mp_list_each (at, &s->lines)
        if (!mp_list_empty(&mp_of(at, struct mp_alarm_line, link)->due))
            return true;
    return false;
}

static void on_timer(uv_timer_t *timer);

/* Go off in wait_us at the latest. */
static void wake_in(struct mp_alarms *s, int64_t wait_us)
{
    int64_t now_us = mp_now_us();

    if (wait_us < TURN_US)
        wait_us = TURN_US;
    if (wait_us > SLEEP_MAX_US)
        wait_us = SLEEP_MAX_US;
    if (s->wake_us && s->wake_us <= now_us + wait_us)
        return;
    s->wake_us = now_us + wait_us;
    uv_update_time(s->loop);
    uv_timer_start(&s->timer, on_timer,
                   (uint64_t)((wait_us + MP_MS - 1) / MP_MS), 0);
}

/* How long until the wall clock may say that the first one is due. */
static int64_t look_in(struct mp_alarms *s, const struct mp_due_item *first)
{
    int64_t wait_us = first->at_us - mp_wall_us();

    return wait_us < LOOK_US && s->clock_ok(s->user.arg) ? wait_us : LOOK_US;
}

static void arm(struct mp_alarms *s)
{
    struct mp_due_item *first;

    if (!s->going)
        return;
    if ((first = mp_due_first(&s->by_timeline)))
        wake_in(s, first->at_us - timeline_us(s));
    if ((first = mp_due_first(&s->by_wall)))
        wake_in(s, look_in(s, first));
}

static void fire_due(struct mp_alarms *s)
{
    unsigned left = FIRE_MAX;

    line_up(s, &s->by_timeline, timeline_us(s));
    if (mp_due_first(&s->by_wall) && s->clock_ok(s->user.arg))
        line_up(s, &s->by_wall, mp_wall_us());
    mp_list_each_safe (at, &s->lines) {
        left = fire_line(s, mp_of(at, struct mp_alarm_line, link), left);
        if (left)
            continue;
        /* The next turn begins with the others. */
        mp_list_unlink(&s->lines);
        mp_list_before(at->next, &s->lines);
        break;
    }
    if (anybody_waits(s))
        wake_in(s, left ? LOOK_US : TURN_US);
    arm(s);
}

static void on_timer(uv_timer_t *timer)
{
    struct mp_alarms *s = timer->data;

    s->wake_us = 0;
    fire_due(s);
}

void mp_alarms_go(struct mp_alarms *s)
{
    s->going = true;
    mp_alarms_kick(s);
}

void mp_alarms_kick(struct mp_alarms *s)
{
    if (s->going && (anybody_waits(s) || mp_due_first(&s->by_timeline) ||
                     mp_due_first(&s->by_wall)))
        wake_in(s, TURN_US);
}

/* ---- what functions want ---- */

static bool same_params(const struct mp_alarm *a, const struct mp_pair *params,
                        uint32_t n)
{
    if (a->n_params != n)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!mp_slice_eq(a->params[i].name, params[i].name) ||
            !mp_slice_eq(a->params[i].value, params[i].value))
            return false;
    return true;
}

static int64_t due_by(const struct mp_alarms *s, const struct mp_effect *e)
{
    if (e->after_us < 0)
        return e->at_us < 0 ? 0 : e->at_us < NEVER_US ? e->at_us : NEVER_US;
    return e->after_us < NEVER_US ? timeline_us(s) + e->after_us : NEVER_US;
}

/* Would setting it so change nothing that matters? */
static bool is_as_wanted(const struct mp_alarm *a, const struct mp_effect *e,
                         int64_t at_us, const struct mp_pair *params,
                         uint32_t n_params)
{
    int64_t off_us = at_us - a->at_us;

    if (a->fired || a->wall != (e->after_us < 0) || off_us > e->slack_us ||
        -off_us > e->slack_us)
        return false;
    return e->slack_us > 0 ||
           (mp_slice_eq(a->data, e->data) && same_params(a, params, n_params));
}

int64_t mp_alarms_cost(struct mp_alarms *s, struct mp_state_fn *fn,
                       struct mp_slice key, const struct mp_effect *effect,
                       const struct mp_pair *params, uint32_t n_params)
{
    const struct mp_alarm *a = find(s, fn, key, effect->name);
    int64_t now = a ? (int64_t)bytes_of(a) : 0;

    if (effect->cancel)
        return -now;
    if (a && is_as_wanted(a, effect, due_by(s, effect), params, n_params))
        return 0;
    return (int64_t)cost_of(key, effect->name, effect->data, params, n_params) -
           now;
}

bool mp_alarms_set(struct mp_alarms *s, struct mp_state_fn *fn,
                   struct mp_slice key, const struct mp_effect *effect,
                   const struct mp_pair *params, uint32_t n_params)
{
    struct mp_alarm *a = find(s, fn, key, effect->name);
    int64_t at_us = due_by(s, effect);

    if (effect->cancel)
        return a && remove_alarm(s, a);
    if (a && is_as_wanted(a, effect, at_us, params, n_params))
        return false;
    if (!a) {
        a = alarm_new(s, fn, key, effect->name, effect->data, params, n_params);
    } else {
        fn->bytes -= bytes_of(a);
        fill(a, key, effect->name, effect->data, params, n_params);
        fn->bytes += bytes_of(a);
    }
    a->serial++;
    a->fired = false;
    set_due(s, a, effect->after_us < 0, at_us);
    make_dirty(s, a);
    arm(s);
    return true;
}

bool mp_alarms_done(struct mp_alarms *s, struct mp_alarm *a, uint32_t serial)
{
    return mp_alarm_is(a, serial) && remove_alarm(s, a);
}

void mp_alarms_put_back(struct mp_alarms *s, struct mp_alarm *a,
                        uint32_t serial)
{
    if (!mp_alarm_is(a, serial))
        return;
    a->serial++; /* who had its event has it no more */
    a->fired = false;
    set_due(s, a, a->wall, a->at_us);
    arm(s);
}

/* ---- rows ---- */

static void put_params(struct mp_batch *batch, const struct mp_alarm *a)
{
    struct mp_buf b;

    if (a->n_params == 0) {
        mp_batch_null(batch);
        return;
    }
    mp_buf_init(&b, PARAMS_MAX);
    mp_put_u32(&b, a->n_params);
    for (uint32_t i = 0; i < a->n_params; i++) {
        mp_put_slice(&b, a->params[i].name);
        mp_put_slice(&b, a->params[i].value);
    }
    MP_ASSERT(!b.full);
    mp_batch_blob(batch, mp_buf_bytes(&b));
    mp_buf_fini(&b);
}

static void put_row(struct mp_batch *batch, const struct mp_alarm *a)
{
    mp_batch_op(batch, MP_SQL_ALARM_PUT);
    mp_batch_text(batch, mp_slice_str(a->fn->name));
    mp_batch_text(batch, a->key);
    mp_batch_text(batch, a->name);
    if (a->wall) {
        mp_batch_null(batch);
        mp_batch_int(batch, a->at_us);
    } else {
        mp_batch_int(batch, a->at_us);
        mp_batch_null(batch);
    }
    if (a->data.ptr)
        mp_batch_blob(batch, a->data);
    else
        mp_batch_null(batch);
    put_params(batch, a);
}

static void delete_row(struct mp_batch *batch, const struct mp_alarm *a)
{
    mp_batch_op(batch, MP_SQL_ALARM_DELETE);
    mp_batch_text(batch, mp_slice_str(a->fn->name));
    mp_batch_text(batch, a->key);
    mp_batch_text(batch, a->name);
}

void mp_alarms_seal(struct mp_alarms *s, struct mp_batch *batch)
{
    mp_list_each_safe (at, &s->dirty) {
        struct mp_alarm *a = mp_of(at, struct mp_alarm, dirty);

        mp_list_unlink(at);
        mp_batch_share(batch, a->fn->flash);
        if (a->cancelled) {
            delete_row(batch, a);
            mp_alarm_unref(a);
        } else {
            put_row(batch, a);
            a->stored = true;
        }
    }
    mp_batch_share(batch, NULL);
}

/* The params of a row; how many.  What can't be read is none. */
static uint32_t get_params(struct mp_slice bytes, struct mp_pair *params)
{
    struct mp_reader r = mp_reader(bytes);
    uint32_t n = bytes.len ? mp_get_u32(&r) : 0;

    if (n > MP_PAIRS_MAX)
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        params[i].name = mp_get_slice(&r);
        params[i].value = mp_get_slice(&r);
    }
    return r.bad ? 0 : n;
}

/* Columns: fn, actor, name, due, at, data, params. */
static void load_row(struct mp_alarms *s, struct mp_query *q)
{
    struct mp_pair params[MP_PAIRS_MAX];
    struct mp_state_fn *fn = mp_states_fn(s->states, mp_column_bytes(q, 0));
    struct mp_slice data = mp_column_bytes(q, 5);
    bool wall = mp_column_is_null(q, 3);
    struct mp_alarm *a;

    if (!data.ptr && !mp_column_is_null(q, 5))
        data = MP_S("");
    a = alarm_new(s, fn, mp_column_bytes(q, 1), mp_column_bytes(q, 2), data,
                  params, get_params(mp_column_bytes(q, 6), params));
    a->serial++;
    a->stored = true;
    set_due(s, a, wall, mp_column_int(q, wall ? 4 : 3));
}

/* counted: what they take of quotas is given back. */
static void clear(struct mp_alarms *s, bool counted)
{
    mp_list_each_safe (at, &s->dirty) {
        struct mp_alarm *a = mp_of(at, struct mp_alarm, dirty);

        mp_list_unlink(at);
        if (a->cancelled)
            mp_alarm_unref(a);
    }
    for (size_t i = 0; i < s->n_buckets; i++)
        mp_list_each_safe (at, &s->bucket[i]) {
            struct mp_alarm *a = mp_of(at, struct mp_alarm, chain);

            unset(s, a);
            mp_list_unlink(at);
            if (counted)
                a->fn->bytes -= bytes_of(a);
            a->cancelled = true;
            a->serial++;
            mp_alarm_unref(a);
        }
    s->n = 0;
}

int mp_alarms_load(struct mp_alarms *s, struct mp_db *db, struct mp_why *why)
{
    struct mp_query *q;
    int rc;

    clear(s, true); /* an earlier attempt may have failed half way */
    q = mp_query_begin(db, MP_SQL_ALARM_ALL);
    while ((rc = mp_query_step(q, why)) == 1)
        load_row(s, q);
    mp_query_end(q);
    return rc;
}

void mp_alarms_init(struct mp_alarms *s, uv_loop_t *loop,
                    struct mp_commit *commit, struct mp_states *states,
                    const struct mp_timeline *timeline,
                    bool (*clock_ok)(void *arg),
                    const struct mp_alarms_user *user)
{
    *s = (struct mp_alarms){
        .loop = loop,
        .commit = commit,
        .timeline = timeline,
        .states = states,
        .user = *user,
        .clock_ok = clock_ok,
    };
    mp_list_init(&s->dirty);
    mp_list_init(&s->lines);
    mp_due_init(&s->by_timeline);
    mp_due_init(&s->by_wall);
    table_new(s, BUCKETS_MIN);
    if (getrandom(&s->seed, sizeof s->seed, 0) != sizeof s->seed)
        s->seed.k0 = (uintptr_t)s->bucket; /* weaker, still works */
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
}

void mp_alarms_reset(struct mp_alarms *s)
{
    uv_timer_stop(&s->timer);
    s->wake_us = 0;
    s->going = false;
    clear(s, true);
}

void mp_alarms_fini(struct mp_alarms *s)
{
    clear(s, false); /* the functions' records may be gone by now */
    mp_list_each_safe (at, &s->lines) {
        mp_list_unlink(at);
        free(mp_of(at, struct mp_alarm_line, link));
    }
    mp_due_fini(&s->by_timeline);
    mp_due_fini(&s->by_wall);
    free(s->bucket);
    uv_close((uv_handle_t *)&s->timer, NULL);
}
