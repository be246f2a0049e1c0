/*
 * host_life.c - the host begins, its functions come and go, it pauses and it
 * ends.
 *
 * It begins when two things are there, in whatever order: the database is
 * loaded and the functions are.  It ends in two steps: drain takes no more
 * input and sorts what is in work by who else has it; close ends workers,
 * database and transport.
 */
#include "core/base/clock.h"
#include "core/host_impl.h"
#include "core/log.h"

/* Bytes that are gathered while a slow disk syncs, before inputs pause. */
enum { GATHERED_MAX = 8 << 20 };

/* ---- functions come and go ---- */

static void on_loaded(void *arg, struct mp_version *v,
                      const struct mp_loaded *loaded)
{
    struct mp_host *h = arg;

    mp_catalog_loaded(&h->catalog, v, loaded);
}

static void set_quota(const struct mp_host *h, struct mp_slot *slot)
{
    const struct mp_function *fn = slot->live->fn;
    bool is_new = slot->state->quota != fn->state_quota;

    slot->state->quota = fn->state_quota;
    if (is_new && fn->has_state && fn->state_durable &&
        fn->state_quota > h->config->store.max_size)
        mp_log(
            MP_WARN, slot->name,
            MP_FIELDS(MP_NUM("quota", (int64_t)fn->state_quota),
                      MP_NUM("max_size", (int64_t)h->config->store.max_size)),
            "its [state] quota is more than [store] max_size: the database "
            "will be full before");
}

/* What a slot needs of the durable side, by its live version. */
static void bind_slots(struct mp_host *h)
{
    mp_list_each (at, &h->catalog.slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);
        struct mp_slice name = mp_slice_str(slot->name);

        slot->state = mp_states_fn(&h->states, name);
        slot->queue = mp_queue_fn(&h->queue, name);
        slot->state->flash = slot->queue->flash = &slot->metrics.flash;
        if (!slot->live) {
            mp_queue_unbind(&h->queue, slot);
            continue;
        }
        set_quota(h, slot);
        slot->state->volatile_ =
            slot->live->fn->has_state && !slot->live->fn->state_durable;
        mp_queue_bind(&h->queue, slot);
    }
}

/*
 * Until the directory was read, and what is broken in it is held, nothing is
 * connected: what the broker has for a function that is not known yet would
 * be acknowledged for nobody.
 */
static void begin(struct mp_host *h)
{
    struct mp_router old = h->router;
    unsigned triggers;

    if (!h->loaded || !h->settled || !h->catalog.listed || h->draining)
        return;
    mp_catalog_recall(&h->catalog);
    mp_router_build(&h->router, &h->catalog.slots, h->config);
    mp_host_streams_bind(h);
    bind_slots(h);
    mp_host_requests_begin(h);
    /* With nothing to run and nothing to send it need not connect. */
    if (mp_catalog_live(&h->catalog, &triggers) || h->outbox.messages ||
        h->routed) {
        mp_host_doors_route(h);
        h->routed = true;
        mp_outbox_go(&h->outbox);
        mp_alarms_go(&h->alarms);
    }
    mp_router_fini(&old, &h->pool);
    if (!h->linked)
        h->on_link(h->arg, false); /* it may not need the broker */
}

void mp_host_begin(struct mp_host *h)
{
    bool late = h->settled && h->catalog.n_missing > 0;

    begin(h);
    if (late)
        h->on_settled(h->arg, true);
}

static void on_scan_settled(void *arg, bool changed)
{
    struct mp_host *h = arg;

    h->settled = true;
    if (changed || !h->routed || h->catalog.n_missing)
        begin(h);
    /* What is missing may be held as soon as the database is loaded. */
    if (h->catalog.n_missing && !h->loaded && !h->trouble.text[0])
        return;
    h->on_settled(h->arg, changed);
}

static struct mp_slice kept(void *arg, const char *name)
{
    return mp_host_kept(arg, name);
}

static void keep(void *arg, const char *name, struct mp_slice bytes)
{
    mp_host_keep(arg, name, bytes, NULL, NULL);
}

struct mp_slot *mp_host_slot(struct mp_host *h, struct mp_slice fn)
{
    mp_list_each (at, &h->catalog.slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (mp_slice_is(fn, slot->name))
            return slot;
    }
    return NULL;
}

bool mp_host_clock_ok(const struct mp_host *h)
{
    return h->timeline.trusted;
}

void mp_host_link(struct mp_host *h, bool up)
{
    h->linked = up;
    h->on_link(h->arg, up);
}

/* ---- input pauses ---- */

/*
 * Is the database nearly as large as it may be?  In the last sixteenth what
 * was taken is brought to its end as far as it fits; what does not waits for
 * what makes room: rows that are dealt with, outputs that leave, a person.
 */
static bool is_nearly_full(struct mp_host *h)
{
    uint64_t max = h->config->store.max_size, used = h->commit.used;
    bool full;

    if (mp_commit_has_room_later(&h->commit, h->store_wants))
        h->store_wants = 0;
    full = used > max / 16 * (h->store_full ? 14 : 15) || h->store_wants ||
           h->commit.full_at;
    if (full == h->store_full)
        return full;
    h->store_full = full;
    mp_log(full ? MP_ERROR : MP_INFO, "store",
           MP_FIELDS(MP_NUM("bytes", (int64_t)used),
                     MP_NUM("max_size", (int64_t)max)),
           "%s",
           full ? "the database is nearly full: no input is taken; moonpool "
                  "state rm, dlq drop and queue drop make room, or a larger "
                  "[store] max_size"
                : "the database has room again");
    mp_why_set(&h->trouble, 0, "%s",
               full ? "the database has nearly reached [store] max_size" : "");
    return full;
}

static bool outbox_is_full(const struct mp_host *h)
{
    return h->outbox.is_full && !h->config->store.outbox_full_oldest;
}

const char *mp_host_full(const struct mp_host *h)
{
    if (h->store_full)
        return "the database has nearly reached [store] max_size";
    if (outbox_is_full(h))
        return "the outbox is full ([store] outbox)";
    if (h->commit.uneasy)
        return "a commit has failed just now";
    if (h->paused)
        return "the disk is too slow for what is to be written";
    return "the queue is full ([store] queue)";
}

/* No more input while the outbox or the database is full, while a commit has
 * failed not long ago, or while the disk is so slow that much is gathered for
 * the next transaction. */
static void pause_or_not(struct mp_host *h)
{
    bool full = h->loaded && is_nearly_full(h);
    bool pause = full || outbox_is_full(h) || h->commit.uneasy ||
                 mp_commit_gathered(&h->commit) > GATHERED_MAX;

    if (pause == h->paused || !h->mqtt_self)
        return;
    h->paused = pause;
    mp_host_doors_pause(h, pause);
    if (!pause && h->loaded)
        mp_queue_refill_all(&h->queue);
}

/* ---- open, drain, close ---- */

/* Once a loop turn, after what is ready was handed out. */
static void on_turn(uv_prepare_t *turn)
{
    struct mp_host *h = turn->data;

    mp_careful_turn(h);
    pause_or_not(h);
    mp_host_requests_turn(h);
    mp_commit_turn(&h->commit, mp_pool_is_busy(&h->pool));
}

int mp_host_open(struct mp_host *h, uv_loop_t *loop,
                 const struct mp_config *config,
                 const struct mp_transport *mqtt, struct mp_why *why)
{
    struct mp_pool_user user = {.loaded = on_loaded,
                                .start = mp_host_on_start,
                                .ask = mp_host_on_ask,
                                .done = mp_host_on_done,
                                .arg = h};

    (void)why;
    h->loop = loop;
    h->config = config;
    h->mqtt = mqtt;
    mp_list_init(&h->holding);
    mp_list_init(&h->all);
    mp_list_init(&h->sending);
    mp_list_init(&h->kept);
    uv_timer_init(loop, &h->hold);
    h->hold.data = h;
    mp_host_streams_open(h);
    /* Handles that were started last are called first: this one after the
     * pool's. */
    uv_prepare_init(loop, &h->turn);
    h->turn.data = h;
    uv_prepare_start(&h->turn, on_turn);
    mp_host_store_open(h);
    mp_pool_open(&h->pool, loop, config->node, config->workers,
                 config->scale_max, &user);
    h->pool.prefix = config->mqtt.prefix;
    h->pool.timezone = config->timezone;
    h->pool.states = &h->states;
    mp_host_requests_open(h);
    mp_catalog_init(&h->catalog, &h->pool, config, on_scan_settled, h);
    h->catalog.kept = kept;
    h->catalog.keep = keep;
    mp_catalog_scan(&h->catalog);
    return 0;
}

bool mp_invocation_comes_again(const struct mp_invocation *inv)
{
    return inv->row || inv->alarm || (inv->holds_ack && inv->input->qos > 0);
}

/* It has done nothing yet: effects come with its outcome. */
static void leave_for_later(struct mp_host *h, struct mp_invocation *inv)
{
    if (inv->stage == MP_WAITING) {
        mp_state_ask_not(&inv->asking);
        mp_pool_forget(&h->pool, inv); /* its worker ends soon enough */
    } else {
        mp_invocation_take_out(inv);
    }
    mp_invocation_leave_actor(inv); /* QUEUED: its worker died, maybe */
    mp_sched_release(&inv->slot->group->sched, inv);
    if (inv->row || inv->alarm)
        inv->stage = MP_ASIDE;
    else
        mp_invocation_lose(inv);
}

/* Is it over, as far as this process is concerned?  (What is aside may still
 * wait for its row, and then for its acknowledgement to leave.) */
static bool is_left(const struct mp_invocation *inv)
{
    return inv->stage == MP_ASIDE && !inv->holds_ack;
}

/* A held function runs nothing, and nobody else has what came with QoS 0. */
static void drop_held(struct mp_invocation *inv)
{
    mp_invocation_take_out(inv);
    mp_invocation_drop(inv, MP_DROP_NO_MATCH);
}

/*
 * What has not started, sleeps or asks needs nothing more if it comes again.
 * (QoS 0 is run: nobody else has it.)  Outputs that can't leave now go to the
 * outbox, whatever brought them.
 */
static void sort_out(struct mp_host *h)
{
    while (!h->linked && h->loaded && !mp_list_empty(&h->sending))
        mp_invocation_park_outputs(
            mp_of(h->sending.next, struct mp_invocation, link));
    mp_list_each_safe (at, &h->all) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, all);

        if (inv->is_batch)
            mp_batch_sort_out(h, inv);
        else if ((inv->stage == MP_QUEUED || inv->stage == MP_DELAYED ||
                  inv->stage == MP_WAITING || inv->stage == MP_WINDOW) &&
                 mp_invocation_comes_again(inv))
            leave_for_later(h, inv);
        else if (inv->stage == MP_QUEUED && inv->slot->live &&
                 inv->slot->live->broken)
            drop_held(inv);
    }
    mp_host_streams_flush(h); /* what is left there only we have */
}

bool mp_host_drain(struct mp_host *h)
{
    if (!h->draining)
        mp_host_doors_drain(h);
    h->draining = true;
    sort_out(h);
    mp_list_each (at, &h->all)
        if (!is_left(mp_of(at, struct mp_invocation, all)))
            return false;
    return h->abandoned || mp_host_doors_idle(h);
}

void mp_host_close(struct mp_host *h, void (*finished)(void *arg), void *arg)
{
    h->closing = true;
    uv_close((uv_handle_t *)&h->hold, NULL);
    mp_host_requests_close(h);
    uv_prepare_stop(&h->turn);
    mp_host_streams_close(h);
    mp_catalog_close(&h->catalog);
    mp_outbox_closing(&h->outbox);
    mp_pool_close(&h->pool);
    mp_host_store_close(h);
    mp_host_doors_close(h, finished, arg);
}
