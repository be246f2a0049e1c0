/*
 * host_stream.c - what a trigger's lines let through, and what waits in their
 * windows.
 *
 *     take ──► judge ──► enter ──► pass ──► queue (host.c), or a batch
 *                │         │ MP_WINDOW
 *                └─ skip ──┴── skip (coalesce)
 *
 * A skipped event is counted, and over like one that was run: let go of, its
 * row gone if it had one.  Nothing is written for it.
 *
 * What waits in a window holds its acknowledgement as in a queue, but soon
 * has a row (host_park.c); a lane of its own leaves it with the broker.  Such a
 * row that is read back (after a crash, or as there was no room) was judged
 * when it came and goes into its windows only; so does a new event while others
 * of its function are on disk: it is judged, and goes behind them.  What has a
 * row for other reasons is past coalesce, and finds another batch; a retry runs
 * alone.
 *
 * What waits in windows is no part of limits.queue: it may be one event for
 * each of ten thousand devices.  Its bytes are bounded by limits.queue_bytes;
 * past that, windows are let go early.
 */
#include <stdlib.h>
#include <sys/random.h>

#include "core/base/clock.h"
#include "core/host_impl.h"

/* One trigger of the live version that has lines. */
struct lines {
    struct mp_streams *of;
    bool on;
    struct mp_stream stream;
};

struct mp_streams {
    struct mp_host *host;
    struct mp_version *version; /* a reference: the lines are its */
    bool gone;                  /* the function was removed */
    unsigned n;
    struct lines by_trigger[];
};

/* ---- skipped ---- */

static void skip(struct mp_invocation *inv, enum mp_stream_why why)
{
    static const enum mp_skip as[MP_STREAM_WHYS] = {
        [MP_STREAM_FILTER] = MP_SKIP_FILTER,
        [MP_STREAM_DEADBAND] = MP_SKIP_DEADBAND,
        [MP_STREAM_THROTTLE] = MP_SKIP_THROTTLE,
        [MP_STREAM_COALESCE] = MP_SKIP_COALESCE,
    };
    uint64_t ticket;

    if (why == MP_STREAM_NO_KEY) {
        mp_invocation_drop(inv, MP_DROP_NO_KEY);
        return;
    }
    mp_invocation_counters(inv)->skipped[as[why]]++;
    ticket = mp_invocation_forget_source(inv);
    if (inv->input->method.ptr)
        mp_host_request_skipped(inv, why);
    else
        mp_invocation_end_with(inv, ticket);
}

static struct mp_invocation *item_of(struct mp_held *item)
{
    return mp_of(item, struct mp_invocation, window);
}

/* It is in no window any more. */
static void count_out(struct mp_invocation *inv)
{
    inv->stage = MP_DELAYED;
    inv->slot->n_windowed--;
    inv->slot->windowed_bytes -= mp_invocation_bytes(inv);
}

static void on_skip(void *arg, struct mp_held *item, enum mp_stream_why why)
{
    struct mp_invocation *inv = item_of(item);

    (void)arg;
    count_out(inv);
    skip(inv, why);
}

/* ---- passed ---- */

/* As if it had waited in the queue when its function was removed. */
static void leave_gone(struct mp_host *h, struct mp_invocation *inv)
{
    if (inv->row)
        mp_invocation_end_with(inv, mp_queue_put_back(&h->queue, inv));
    else
        mp_invocation_drop(inv, MP_DROP_NO_MATCH);
}

static void on_pass(void *arg, struct mp_link *items, unsigned n)
{
    struct lines *l = arg;
    struct mp_host *h = l->of->host;
    struct mp_link members;

    mp_list_init(&members);
    while (!mp_list_empty(items)) {
        struct mp_held *item = mp_of(items->next, struct mp_held, link);
        struct mp_invocation *inv = item_of(item);

        mp_list_unlink(&item->link);
        if (inv->stage == MP_WINDOW)
            count_out(inv);
        inv->to_window = false;
        if (l->of->gone)
            leave_gone(h, inv);
        else if (n == 1)
            mp_host_queue(h, inv);
        else
            mp_list_append(&members, &inv->link);
    }
    if (!mp_list_empty(&members))
        mp_batch_queue(h, &members);
}

/* ---- an event ---- */

/* NULL: its version is not the one that is at work. */
static struct lines *lines_of(const struct mp_invocation *inv)
{
    struct mp_streams *all = inv->slot->streams;
    struct lines *l;

    if (!inv->trigger || !inv->trigger->lines || !all ||
        all->version != inv->routed)
        return NULL;
    l = &all->by_trigger[inv->trigger - inv->routed->fn->triggers];
    return l->on ? l : NULL;
}

static struct mp_stream_event event_of(const struct mp_invocation *inv)
{
    const struct mp_input *in = inv->input;

    return (struct mp_stream_event){
        .data = in->data,
        .datacontenttype = in->datacontenttype,
        .format = inv->trigger->format,
        .params = inv->params,
        .n_params = inv->n_params,
        .key = inv->key,
        .has_key = inv->has_key,
        .bytes = in->bytes,
    };
}

static bool has_windows(const struct mp_stream *s)
{
    return mp_stream_lines_wait_us(s->lines) > 0;
}

static bool has_batch(const struct mp_stream *s)
{
    return mp_stream_lines_has(s->lines, MP_LINE_BATCH);
}

/* What comes now must go behind what is on disk. */
static bool is_behind_disk(const struct mp_invocation *inv)
{
    return inv->holds_ack && !inv->row && inv->input->qos > 0 &&
           (mp_queue_is_spilled(inv->slot->queue) ||
            !mp_list_empty(&inv->slot->blocked));
}

static void on_time(uv_timer_t *timer);

static void arm(struct mp_host *h, int64_t at_us)
{
    int64_t wait_us = at_us - mp_now_us();

    if (at_us >= h->windows_us || h->closing)
        return;
    h->windows_us = at_us;
    uv_timer_start(&h->windows, on_time,
                   wait_us > 0 ? (uint64_t)(wait_us + 999) / 1000 : 0, 0);
}

static void on_time(uv_timer_t *timer)
{
    struct mp_host *h = timer->data;
    int64_t now_us = mp_now_us(), next_us = INT64_MAX;

    h->windows_us = INT64_MAX;
    mp_list_each (at, &h->catalog.slots) {
        struct mp_streams *all = mp_of(at, struct mp_slot, link)->streams;

        for (unsigned i = 0; all && i < all->n; i++) {
            struct mp_stream *s = &all->by_trigger[i].stream;
            int64_t due_us;

            if (!all->by_trigger[i].on)
                continue;
            mp_stream_turn(s, now_us);
            due_us = mp_stream_next_us(s);
            next_us = due_us < next_us ? due_us : next_us;
        }
    }
    arm(h, next_us);
}

/* True: a window has it, or it has passed already.  False: one of the names of
 * `per` is not there, and nothing has happened. */
static bool enter(struct mp_host *h, struct lines *l, struct mp_invocation *inv,
                  enum mp_stream_line from,
                  const struct mp_stream_values *values, int64_t now_us)
{
    const struct mp_stream_event event = event_of(inv);
    struct mp_slot *slot = inv->slot;
    uint64_t max = inv->routed->fn->queue_bytes;

    inv->windowed = has_batch(&l->stream);
    inv->to_window = from == MP_LINE_COALESCE;
    inv->stage = MP_WINDOW;
    slot->n_windowed++;
    slot->windowed_bytes += mp_invocation_bytes(inv);
    mp_host_hold_window(h, inv); /* while it is there for sure */
    if (mp_stream_enter(&l->stream, &inv->window, from, &event, values,
                        now_us) >= 0) {
        count_out(inv);
        inv->to_window = inv->windowed = false;
        return false;
    }
    while (slot->windowed_bytes > max && l->stream.held)
        mp_stream_press(&l->stream, now_us);
    arm(h, mp_stream_next_us(&l->stream));
    return true;
}

void mp_host_stream_put(struct mp_host *h, struct mp_invocation *inv,
                        const struct mp_stream_values *values)
{
    const struct mp_stream_event event = event_of(inv);
    struct lines *l = lines_of(inv);
    int64_t now_us = mp_now_us();
    int why;

    if (!l) {
        mp_host_queue(h, inv);
        return;
    }
    if (mp_invocation_is_repeat(inv)) { /* it must move nothing, nor stand for
                                         * what is newer */
        mp_invocation_skip_repeat(h, inv);
        return;
    }
    why = mp_stream_judge(&l->stream, &inv->window, &event, values, now_us);
    if (why >= 0) {
        skip(inv, (enum mp_stream_why)why);
        return;
    }
    inv->windowed = has_batch(&l->stream);
    if (!has_windows(&l->stream) || h->careful.on ||
        mp_invocation_is_asked(inv)) {
        mp_host_queue(h, inv); /* being careful, each is alone */
        return;
    }
    inv->to_window = true;
    if (inv->input->method.ptr && !mp_request_accept(h, inv))
        return;
    if (is_behind_disk(inv))
        mp_invocation_spill(inv);
    else
        MP_ASSERT(enter(h, l, inv, MP_LINE_COALESCE, values, now_us));
}

void mp_host_stream_back(struct mp_host *h, struct mp_invocation *inv)
{
    struct lines *l = lines_of(inv);
    struct mp_slice reason = mp_slice_str(inv->reason);
    bool to_window = mp_slice_is(reason, mp_parked_name(MP_PARKED_WINDOW));
    bool alone = inv->attempt > 1 || mp_row_is_replay(reason) || inv->due_us ||
                 h->careful.on;
    struct mp_stream_event event;

    if (!l || !has_windows(&l->stream)) {
        mp_host_queue(h, inv);
        return;
    }
    if (!alone && (to_window || has_batch(&l->stream)) &&
        enter(h, l, inv, to_window ? MP_LINE_COALESCE : MP_LINE_BATCH, NULL,
              mp_now_us()))
        return;
    event = event_of(inv);
    inv->windowed = has_batch(&l->stream) &&
                    mp_stream_mark(&l->stream, &inv->window, &event);
    mp_host_queue(h, inv);
}

void mp_host_stream_leave(struct mp_invocation *inv)
{
    struct lines *l = lines_of(inv);

    MP_ASSERT(l && mp_stream_remove(&l->stream, &inv->window));
    count_out(inv);
    inv->to_window = false;
}

/* ---- versions come and go ---- */

static struct mp_streams *streams_new(struct mp_host *h, struct mp_version *v)
{
    const struct mp_function *fn = v->fn;
    struct mp_streams *all = NULL;

    for (unsigned i = 0; i < fn->n_triggers; i++) {
        const struct mp_stream_lines *lines = fn->triggers[i].lines;
        struct lines *l;
        struct mp_stream_user user = {.pass = on_pass, .skip = on_skip};

        if (!lines)
            continue;
        if (!all) {
            all = mp_zalloc(sizeof *all + fn->n_triggers * sizeof *l);
            all->host = h;
            all->version = mp_version_ref(v);
            all->n = fn->n_triggers;
        }
        l = &all->by_trigger[i];
        l->of = all;
        l->on = true;
        user.arg = l;
        mp_stream_init(&l->stream, lines, fn->tracked, &h->secret, &user);
    }
    return all;
}

static void flush(struct mp_streams *all)
{
    for (unsigned i = 0; all && i < all->n; i++)
        if (all->by_trigger[i].on)
            mp_stream_flush(&all->by_trigger[i].stream);
}

/* By the names of the triggers. */
static void adopt(struct mp_streams *all, struct mp_streams *old)
{
    const struct mp_trigger *now = all->version->fn->triggers;
    const struct mp_trigger *then = old->version->fn->triggers;

    for (unsigned i = 0; i < all->n; i++)
        for (unsigned k = 0; all->by_trigger[i].on && k < old->n; k++)
            if (old->by_trigger[k].on && strcmp(now[i].name, then[k].name) == 0)
                mp_stream_adopt(&all->by_trigger[i].stream,
                                &old->by_trigger[k].stream);
}

static void streams_free(struct mp_streams *all)
{
    struct mp_host *h = all->host;

    for (unsigned i = 0; i < all->n; i++)
        if (all->by_trigger[i].on)
            mp_stream_fini(&all->by_trigger[i].stream);
    mp_version_unref(&h->pool, all->version);
    free(all);
}

static void bind_slot(struct mp_host *h, struct mp_slot *slot)
{
    struct mp_streams *old = slot->streams;

    if (old && old->version == slot->live)
        return;
    if (old)
        old->gone = !slot->live;
    flush(old);
    slot->streams = slot->live ? streams_new(h, slot->live) : NULL;
    if (old && slot->streams)
        adopt(slot->streams, old);
    if (old)
        streams_free(old);
}

void mp_host_streams_bind(struct mp_host *h)
{
    mp_list_each (at, &h->catalog.slots)
        bind_slot(h, mp_of(at, struct mp_slot, link));
}

void mp_host_streams_flush(struct mp_host *h)
{
    mp_list_each (at, &h->catalog.slots)
        flush(mp_of(at, struct mp_slot, link)->streams);
}

void mp_host_streams_forget(struct mp_host *h)
{
    mp_list_each (at, &h->catalog.slots) {
        struct mp_streams *all = mp_of(at, struct mp_slot, link)->streams;

        for (unsigned i = 0; all && i < all->n; i++)
            if (all->by_trigger[i].on)
                mp_stream_forget(&all->by_trigger[i].stream);
    }
}

void mp_host_streams_open(struct mp_host *h)
{
    uv_timer_init(h->loop, &h->windows);
    h->windows.data = h;
    h->windows_us = INT64_MAX;
    if (getrandom(&h->secret, sizeof h->secret, 0) != sizeof h->secret)
        h->secret.k0 = (uint64_t)mp_wall_us(); /* weaker, still works */
}

void mp_host_streams_close(struct mp_host *h)
{
    uv_close((uv_handle_t *)&h->windows, NULL);
    mp_list_each_safe (at, &h->all) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, all);

        if (inv->stage == MP_WINDOW)
            mp_host_stream_leave(inv);
    }
    mp_list_each (at, &h->catalog.slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (slot->streams)
            streams_free(slot->streams);
        slot->streams = NULL;
    }
}
