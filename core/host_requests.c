/*
 * host_requests.c - events whose sender waits for an answer: CoAP and HTTP.
 *
 *   asked     the client waits.  Its event is run once, or refused at once
 *             (queue full, quarantined, no room): nothing of it is parked,
 *             retried or a dead letter, for the client knows what became of
 *             it.  The answer leaves when all it promises is durable: the
 *             commit, or the broker's confirmation of what it sent; while the
 *             broker is away the outbox has that after `hold`.
 *   async     it is a row at once, and the client is told when that is
 *             durable.  From then on it is an event like any other; its answer
 *             waits in core/results.h for who asks for it.
 *   repeated  where the answer of an exchange was kept (it changed something,
 *             or a key said that it must not run twice), it is given again.
 *
 * What is said when an invocation ends hangs at it (`ending`): answers,
 * notifications of observers.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/host_impl.h"
#include "core/log.h"

#define FAILED "the function failed; the log says why, event "
#define FAILED_UNSAID                                                          \
    "the function failed; so many have that the log does not say why each "    \
    "did ([log] rate), event "

enum { DETAIL = sizeof FAILED_UNSAID + MP_EVENT_ID_MAX };

/* How long the loop polls for an outcome that somebody waits for. */
#define AWAKE_US 100

struct mp_ending {
    bool has_answer;
    struct mp_answer answer; /* its bytes are in block */
    char *block;
    char detail[DETAIL];
    struct mp_pair *headers; /* of mp.reply; NULL: none */
    struct mp_link notices;  /* oldest first */
};

struct notice {
    struct mp_link link;
    struct mp_slice path, data;
    enum mp_format format;
    uint32_t max_age_s;
};

static struct mp_ending *ending_of(struct mp_invocation *inv)
{
    if (!inv->ending) {
        inv->ending = mp_zalloc(sizeof *inv->ending);
        mp_list_init(&inv->ending->notices);
    }
    return inv->ending;
}

/* Is it a request, of whatever kind? */
static bool is_request(const struct mp_invocation *inv)
{
    return inv->input->method.ptr != NULL;
}

/* Of an asynchronous one; its row may have been read back, with all that its
 * result is named after. */
static void put_result(struct mp_host *h, const struct mp_input *in,
                       const struct mp_answer *a)
{
    char name[MP_RESULT_NAME + 1];

    mp_results_put(&h->results, mp_results_name_of(&h->results, in, name), a,
                   mp_now_us());
}

/* ---- the answer ---- */

static struct mp_answer *answer_of(struct mp_invocation *inv)
{
    struct mp_ending *e = ending_of(inv);

    free(e->block);
    free(e->headers);
    e->block = NULL;
    e->headers = NULL;
    e->has_answer = true;
    e->answer = (struct mp_answer){0};
    return &e->answer;
}

static struct mp_slice keep(struct mp_slice s, char **at)
{
    char *copy = *at;

    if (!s.ptr)
        return s;
    memcpy(copy, s.ptr, s.len);
    *at += s.len;
    return mp_slice(copy, s.len);
}

/* The answer's texts are the worker's: they must outlive its frame. */
static void keep_texts(struct mp_ending *e)
{
    struct mp_answer *a = &e->answer;
    size_t bytes = a->data.len + a->detail.len + 1;
    char *at;

    for (uint32_t i = 0; i < a->n_headers; i++)
        bytes += e->headers[i].name.len + e->headers[i].value.len;
    at = e->block = mp_alloc(bytes);
    a->data = keep(a->data, &at);
    a->detail = keep(a->detail, &at);
    for (uint32_t i = 0; i < a->n_headers; i++) {
        e->headers[i].name = keep(e->headers[i].name, &at);
        e->headers[i].value = keep(e->headers[i].value, &at);
    }
    a->headers = e->headers;
}

static uint32_t seconds(int64_t us)
{
    if (us <= 0)
        return 0;
    return us > INT64_C(0x7fffffff) * MP_SECOND
               ? 0x7fffffff
               : (uint32_t)((us + MP_SECOND - 1) / MP_SECOND);
}

/* Its own text is for the log; the client is told where to look. */
static void set_failed(struct mp_invocation *inv, struct mp_answer *a,
                       const char *sentence)
{
    struct mp_ending *e = inv->ending;

    a->kind = MP_ANSWER_FAILED;
    snprintf(e->detail, sizeof e->detail, "%s%.*s", sentence,
             MP_FMT(inv->input->id));
    a->detail = mp_slice_str(e->detail);
}

/* As mp.reply checks it; who is not the worker we know may say anything. */
static bool is_status(uint32_t status)
{
    return status >= 200 && status <= 599;
}

static void say_bad_status(struct mp_invocation *inv, uint32_t status)
{
    (void)mp_fnlog(
        inv->slot, inv->version->fn, inv->trigger, MP_ERROR,
        MP_FIELDS(MP_TEXT("event", inv->input->id), MP_NUM("status", status)),
        "replied with a status that is none; a status is 200 to "
        "599");
}

static void set_ok(struct mp_ending *e, const struct mp_outcome *out)
{
    struct mp_answer *a = &e->answer;

    a->kind = MP_ANSWER_DONE;
    if (out->result_kind == MP_RESULT_NONE)
        return;
    a->data = out->result.ptr ? out->result : MP_S("");
    a->format = out->result_format;
    if (out->result_kind != MP_RESULT_REPLY)
        return;
    a->kind = MP_ANSWER_REPLY;
    a->status = out->status;
    if (out->n_headers) {
        a->n_headers = out->n_headers;
        e->headers = mp_alloc(MP_PAIRS_MAX * sizeof *e->headers);
        MP_ASSERT(mp_read_headers(out, e->headers) == 0);
    }
    if (out->max_age_us > 0)
        a->max_age_s = seconds(out->max_age_us);
    if (!a->data.len) /* mp.reply(204) */
        a->data = mp_slice(NULL, 0);
}

void mp_request_answer(struct mp_invocation *inv, const struct mp_outcome *out)
{
    struct mp_answer *a;

    if (!is_request(inv))
        return;
    a = answer_of(inv);
    switch (out->kind) {
    case MP_OUT_OK:
        set_ok(inv->ending, out);
        if (a->kind == MP_ANSWER_REPLY && !is_status(a->status))
            say_bad_status(inv, a->status);
        break;
    case MP_OUT_REJECTED:
        a->kind = MP_ANSWER_REJECTED;
        a->status = out->status;
        a->detail = out->error;
        break;
    case MP_OUT_TIMEOUT:
        a->kind = MP_ANSWER_TIMEOUT;
        a->detail = MP_S("the function did not answer in time");
        break;
    default:
        set_failed(inv, a, FAILED);
        break;
    }
    if (out->did & MP_DID_RETRY && out->kind == MP_OUT_ERROR) {
        a->kind = MP_ANSWER_AWAY;
        a->retry_after_s = seconds(out->retry_after_us);
        a->detail = out->error;
    }
    keep_texts(inv->ending);
}

/* ---- refused ---- */

static void refuse(struct mp_invocation *inv, enum mp_answer_kind kind,
                   struct mp_slice detail, uint32_t retry_after_s)
{
    struct mp_answer *a = answer_of(inv);

    a->kind = kind;
    a->detail = detail; /* constant, or of its ending */
    a->retry_after_s = retry_after_s;
    mp_invocation_end_with(inv, mp_invocation_forget_source(inv));
}

void mp_request_refuse(struct mp_invocation *inv, enum mp_refused why)
{
    static const struct {
        enum mp_answer_kind kind;
        const char *text;
    } all[MP_REFUSEDS] = {
        {MP_ANSWER_BUSY, "too many events wait for this function"},
        {MP_ANSWER_AWAY, "the function is in quarantine after failures"},
        {MP_ANSWER_AWAY, "the store has no room"},
        {MP_ANSWER_AWAY, "the function is switched off, or can't run"},
    };
    const struct mp_breaker *b = &inv->slot->breaker;
    struct mp_slice text = mp_slice_str(all[why].text);
    uint32_t after_s = 0;

    inv->slot->metrics.refused[why]++;
    if (why == MP_REFUSED_QUARANTINED && b->until_us != INT64_MAX)
        after_s = seconds(b->until_us - mp_now_us());
    if (after_s) {
        struct mp_ending *e = ending_of(inv);

        snprintf(e->detail, sizeof e->detail, "%s; next try in %u s",
                 all[why].text, after_s);
        text = mp_slice_str(e->detail);
    }
    if (!mp_invocation_is_asked(inv) && inv->holds_ack)
        inv->input->lost = true; /* an async one that is not accepted */
    refuse(inv, all[why].kind, text, after_s);
}

void mp_request_dropped(struct mp_invocation *inv, enum mp_drop why)
{
    switch (why) {
    case MP_DROP_QUEUE_FULL:
        mp_request_refuse(inv, MP_REFUSED_QUEUE_FULL);
        return;
    case MP_DROP_NO_MATCH:
        mp_request_refuse(inv, MP_REFUSED_DISABLED);
        return;
    default:
        break;
    }
    mp_invocation_counters(inv)->dropped[why]++;
    if (!mp_invocation_is_asked(inv)) /* nobody may ask for its result */
        mp_fnlog(
            inv->slot, inv->routed->fn, inv->trigger, MP_WARN,
            MP_FIELDS(MP_TEXT("event", inv->input->id), mp_host_about(inv)),
            "dropped: %s", mp_drop_name(why));
    if (why == MP_DROP_EXPIRED)
        refuse(inv, MP_ANSWER_TIMEOUT,
               MP_S("it waited for its turn longer than its max_age"), 0);
    else if (why == MP_DROP_NO_KEY)
        refuse(inv, MP_ANSWER_REJECTED,
               MP_S("no actor key can be made of this path"), 0);
    else
        refuse(inv, MP_ANSWER_AWAY, MP_S("it was not run"), 0);
}

void mp_host_request_skipped(struct mp_invocation *inv, enum mp_stream_why why)
{
    switch (why) {
    case MP_STREAM_FILTER:
        refuse(inv, MP_ANSWER_REJECTED,
               MP_S("the function's filter does not take this"), 0);
        break;
    case MP_STREAM_THROTTLE:
        refuse(inv, MP_ANSWER_BUSY, MP_S("too often"), 1);
        break;
    case MP_STREAM_NO_KEY:
        refuse(inv, MP_ANSWER_REJECTED,
               MP_S("a name that the function's lines use is not there"), 0);
        break;
    default: /* nothing has changed enough to tell */
        refuse(inv, MP_ANSWER_DONE, mp_slice(NULL, 0), 0);
        break;
    }
}

/* ---- taken ---- */

static bool is_away(const struct mp_slot *slot)
{
    return !slot->live || slot->live->broken || slot->live->fn->scale_max == 0;
}

static bool is_quarantined(const struct mp_slot *slot)
{
    return slot->breaker.state == MP_BREAKER_OPEN &&
           mp_now_us() < slot->breaker.until_us;
}

/* Is there room for a row, of which the client will be told?  Else refused. */
static bool is_acceptable(struct mp_host *h, struct mp_invocation *inv)
{
    struct mp_slot *slot = inv->slot;
    uint64_t bytes = mp_invocation_bytes(inv);
    const struct mp_answer accepted = {.kind = MP_ANSWER_ACCEPTED};
    uint64_t reply = inv->input->exchange.ptr
                         ? mp_commit_row_cost(mp_reply_bytes(&accepted))
                         : 0;

    if (!mp_queue_has_room(&h->queue, slot->queue, bytes,
                           inv->routed->fn->park_bytes) ||
        !mp_commit_has_room(&h->commit, mp_commit_row_cost(bytes) + reply)) {
        mp_request_refuse(inv, MP_REFUSED_OVER_BUDGET);
        return false;
    }
    if (reply) {
        mp_commit_grow(&h->commit, reply);
        (void)mp_replies_add(&h->replies, inv->input->exchange, &accepted,
                             inv->input->exchange_us);
    }
    return true;
}

static bool is_behind_disk(const struct mp_slot *slot)
{
    return mp_queue_is_spilled(slot->queue) || !mp_list_empty(&slot->blocked);
}

bool mp_request_accept(struct mp_host *h, struct mp_invocation *inv)
{
    if (!is_acceptable(h, inv))
        return false;
    if (is_behind_disk(inv->slot)) {
        mp_invocation_spill(inv);
        return false;
    }
    MP_ASSERT(mp_invocation_park(inv, MP_PARKED_ASYNC, 0));
    return true;
}

static void queue_async(struct mp_host *h, struct mp_invocation *inv)
{
    struct mp_slot *slot = inv->slot;

    if (!is_acceptable(h, inv))
        return;
    if (is_behind_disk(slot) ||
        !mp_sched_has_room(slot, mp_invocation_bytes(inv))) {
        mp_invocation_spill(inv);
        return;
    }
    MP_ASSERT(mp_invocation_park(inv, MP_PARKED_ASYNC, 0));
    mp_pool_add(&h->pool, inv);
    if (slot->breaker.state != MP_BREAKER_CLOSED)
        slot->breaker.held_back++;
}

void mp_host_queue_request(struct mp_host *h, struct mp_invocation *inv)
{
    struct mp_slot *slot = inv->slot;

    if (!mp_invocation_is_asked(inv))
        queue_async(h, inv);
    else if (is_away(slot) || h->draining)
        mp_request_refuse(inv, MP_REFUSED_DISABLED);
    else if (is_quarantined(slot))
        mp_request_refuse(inv, MP_REFUSED_QUARANTINED);
    else if (!mp_sched_has_room(slot, mp_invocation_bytes(inv)))
        mp_request_refuse(inv, MP_REFUSED_QUEUE_FULL);
    else {
        inv->is_awaited = true;
        h->n_asked++;
        h->asked_us = mp_now_us();
        mp_pool_add(&h->pool, inv);
    }
}

/* Few functions do, and many events may wait. */
static bool any_turns_away(const struct mp_host *h)
{
    mp_list_each (at, &h->catalog.slots) {
        const struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (slot->n_waiting && (is_away(slot) || is_quarantined(slot)))
            return true;
    }
    return false;
}

void mp_host_requests_tick(struct mp_host *h)
{
    if (!any_turns_away(h))
        return;
    mp_list_each_safe (at, &h->all) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, all);

        if (inv->stage != MP_QUEUED || !mp_invocation_is_asked(inv) ||
            !(is_away(inv->slot) || is_quarantined(inv->slot)))
            continue;
        mp_invocation_take_out(inv);
        mp_request_refuse(inv, is_away(inv->slot) ? MP_REFUSED_DISABLED
                                                  : MP_REFUSED_QUARANTINED);
    }
}

/* ---- repeated ---- */

bool mp_host_repeats(struct mp_host *h, struct mp_input *in)
{
    struct mp_pair headers[MP_PAIRS_MAX];
    struct mp_answer a;
    uint64_t ticket;

    if (!in->exchange.ptr ||
        !mp_replies_get(&h->replies, in->exchange, &a, headers, &ticket))
        return false;
    if (ticket) /* it was answered, so it is durable; else it is in work */
        a = (struct mp_answer){.kind = MP_ANSWER_AWAY,
                               .detail = MP_S("it is being done"),
                               .retry_after_s = 1};
    if (in->answer)
        in->answer(in, &a);
    else if (ticket)
        in->lost = true;
    else if (a.kind != MP_ANSWER_ACCEPTED)
        put_result(h, in, &a);
    return true;
}

uint64_t mp_request_growth(const struct mp_invocation *inv,
                           const struct mp_outcome *out)
{
    size_t bytes =
        out->result.len + out->headers.len + sizeof(struct mp_answer);

    if (!is_request(inv) || !inv->input->exchange.ptr)
        return 0;
    if (bytes > MP_REPLY_BYTES) /* only that it was given is kept */
        bytes = sizeof(struct mp_answer);
    return mp_commit_row_cost(bytes);
}

/*
 * CoAP: what changed nothing may as well run again, and what it published has
 * the same ids.  An Idempotency-Key asks for more.  An async one has a row
 * that ends now.
 */
bool mp_request_keep(struct mp_host *h, struct mp_invocation *inv, bool dirty,
                     bool publishes)
{
    const struct mp_input *in = inv->input;

    if (!is_request(inv) || !in->exchange.ptr ||
        !(dirty || (publishes && in->type == MP_EVENT_HTTP)))
        return false;
    (void)mp_replies_add(&h->replies, in->exchange, &inv->ending->answer,
                         in->exchange_us);
    return true;
}

/* ---- failed ---- */

void mp_request_failed(struct mp_invocation *inv, const struct mp_outcome *out)
{
    bool rejected = out->kind == MP_OUT_REJECTED, said;
    /* Its client was told to ask again. */
    bool again = out->kind == MP_OUT_ERROR && out->did & MP_DID_RETRY;
    const char *what = again                       ? "retry"
                       : out->kind == MP_OUT_ERROR ? ""
                                                   : mp_kind_name(out->kind);
    struct mp_ending *e = inv->ending;
    struct mp_field fields[] = {
        MP_TEXT("event", inv->input->id),
        MP_TEXT("path", inv->input->topic),
        {NULL, {0}, 0, false},
        {NULL, {0}, 0, false},
    };

    if (out->traceback.len)
        fields[2] = MP_TEXT("traceback", out->traceback);
    said = mp_fnlog(inv->slot, inv->version->fn, inv->trigger,
                    rejected ? MP_DEBUG
                    : again  ? MP_WARN
                             : MP_ERROR,
                    fields, "%s%s%.*s", what, *what ? ": " : "",
                    MP_FMT(out->error));
    if (!said && e && e->answer.kind == MP_ANSWER_FAILED)
        set_failed(inv, &e->answer, FAILED_UNSAID);
    mp_invocation_end_with(inv, inv->actor ? mp_state_ticket(inv->actor) : 0);
}

/* ---- observers ---- */

/* Does an observe trigger of the function answer there? */
static bool is_observed(const struct mp_host *h, const struct mp_slot *slot,
                        struct mp_slice path)
{
    struct mp_pair params[MP_PAIRS_MAX];
    uint32_t n_params;

    for (unsigned i = 0; i < h->router.n_entries; i++) {
        const struct mp_router_entry *e = &h->router.entries[i];

        if (e->version->slot == slot && e->trigger->observe && e->pattern &&
            mp_pattern_match(e->pattern, path, params, &n_params))
            return true;
    }
    return false;
}

void mp_request_notify(struct mp_invocation *inv, const struct mp_effect *e)
{
    struct notice *n = mp_alloc(sizeof *n + e->topic.len + e->data.len);
    char *at = (char *)(n + 1);

    *n = (struct notice){.format = e->format,
                         .max_age_s = seconds(e->max_age_us)};
    n->path = keep(e->topic, &at);
    n->data = keep(e->data.ptr ? e->data : MP_S(""), &at);
    mp_list_append(&ending_of(inv)->notices, &n->link);
    inv->slot->metrics.notices++;
    inv->slot->metrics.output_bytes += e->data.len;
}

static void push(struct mp_invocation *inv, const struct notice *n)
{
    struct mp_host *h = mp_host_of(inv);
    struct mp_door *d = mp_host_door(h, MP_TRIGGER_COAP);

    if (d && is_observed(h, inv->slot, n->path))
        d->ops->notify(d->self, n->path, n->data, n->format, n->max_age_s);
}

/* ---- the end ---- */

void mp_request_forget(struct mp_invocation *inv)
{
    struct mp_ending *e = inv->ending;

    if (!e)
        return;
    mp_list_each_safe (at, &e->notices)
        free(mp_of(at, struct notice, link));
    free(e->block);
    free(e->headers);
    free(e);
    inv->ending = NULL;
}

void mp_request_end(struct mp_invocation *inv)
{
    static const struct mp_answer nothing = {
        .kind = MP_ANSWER_AWAY,
        .detail = {"it was not run", 14},
    };
    struct mp_input *in = inv->input;
    const struct mp_ending *e = inv->ending;

    if (in->answer && inv->holds_ack && !in->lost) {
        in->answer(in, e && e->has_answer ? &e->answer : &nothing);
        inv->slot->metrics.replies++;
    } else if (is_request(inv) && e && e->has_answer && !in->answer &&
               !in->lost) {
        put_result(mp_host_of(inv), in, &e->answer);
    }
    if (e)
        mp_list_each (at, &e->notices)
            push(inv, mp_of(at, struct notice, link));
    mp_request_forget(inv);
    if (inv->is_awaited) {
        mp_host_of(inv)->n_asked--;
        mp_host_of(inv)->asked_us = mp_now_us();
    }
}

/* ---- awake ---- */

/*
 * Somebody waits, and a run takes some 10 us: to sleep until its outcome is
 * there would take longer, for the processor has to wake up again.  So the
 * loop polls for that long, where workers have a processor of their own.
 */
static void stay(uv_idle_t *awake)
{
    (void)awake;
}

void mp_host_requests_turn(struct mp_host *h)
{
    bool stays = h->n_asked > 0 && h->has_cores && !h->closing &&
                 mp_now_us() - h->asked_us < AWAKE_US;

    if (stays == (bool)uv_is_active((uv_handle_t *)&h->awake))
        return;
    if (stays)
        uv_idle_start(&h->awake, stay);
    else
        uv_idle_stop(&h->awake);
}

static bool has_cores(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1;
}

void mp_host_requests_open(struct mp_host *h)
{
    mp_results_init(&h->results, h->config->http.results_ttl_us);
    uv_idle_init(h->loop, &h->awake);
    h->has_cores = has_cores();
}

void mp_host_requests_close(struct mp_host *h)
{
    uv_close((uv_handle_t *)&h->awake, NULL);
}

/* Names of results stay what they are over a restart: what waits as a row may
 * still be asked for. */
void mp_host_requests_begin(struct mp_host *h)
{
    struct mp_hash_key *key = &h->results.name_key;
    struct mp_slice kept;

    if (h->has_name_key || !(h->router.coap.n || h->router.http.n))
        return;
    h->has_name_key = true;
    kept = mp_host_kept(h, "results");
    if (kept.len == sizeof *key)
        memcpy(key, kept.ptr, sizeof *key);
    else
        mp_host_keep(h, "results", mp_slice((const char *)key, sizeof *key),
                     NULL, NULL);
}

void mp_host_request_found(struct mp_invocation *inv)
{
    struct mp_results *r = &mp_host_of(inv)->results;
    char name[MP_RESULT_NAME + 1];

    if (is_request(inv))
        (void)mp_results_begin(r, mp_results_name_of(r, inv->input, name),
                               mp_now_us());
}

struct mp_results *mp_host_results(struct mp_host *h)
{
    return &h->results;
}
