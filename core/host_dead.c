/*
 * host_dead.c - an event is given up: a dead letter, and who is told of it.
 *
 * The letter, the end of its row, the record of its input and what tells of it
 * are one transaction.  Where nothing is kept of it (rejected again and again)
 * and nobody is told, nothing is written.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/text.h"
#include "core/event_json.h"
#include "core/host_impl.h"
#include "core/log.h"

/*
 * A dead letter as JSON, for `on_failure`.  A failure that wraps a failure
 * would double with each level, so what is long in the event is cut; as JSON
 * a byte is six at most.
 */
enum {
    FAILURE_DATA = 64 << 10,
    FAILURE_TEXT = 2 << 10,   /* a topic, an address: normal ones fit */
    FAILURE_PAIRS = 16 << 10, /* of properties, and so on */
    FAILURE_MAX = 1 << 20,
    /* Failures of functions that were told of a failure, in a row. */
    FAILURES_DEEP = 4
};

/* ---- as JSON ---- */

/* cut: "NAME":LENGTH of what was cut, so far. */
static void cut_text(struct mp_buf *cut, const char *name, struct mp_slice *s,
                     size_t max)
{
    size_t whole = s->len;

    *s = mp_cut(*s, max);
    if (s->len == whole)
        return;
    if (max - s->len > 3) /* no text: anywhere is as good */
        s->len = max;
    mp_buf_printf(cut, "%s\"%s\":%zu", cut->len ? "," : "", name, whole);
}

/* The first ones stay. */
static void cut_pairs(struct mp_buf *cut, const char *name,
                      const struct mp_pair *pairs, uint32_t *n)
{
    size_t bytes = 0;
    uint32_t fit = 0;

    for (; fit < *n; fit++) {
        bytes += pairs[fit].name.len + pairs[fit].value.len;
        if (bytes > FAILURE_PAIRS)
            break;
    }
    if (fit == *n)
        return;
    mp_buf_printf(cut, "%s\"%s\":%u", cut->len ? "," : "", name, *n);
    *n = fit;
}

static void cut_event(struct mp_buf *cut, struct mp_event *e)
{
    cut_text(cut, "data", &e->data, FAILURE_DATA);
    cut_text(cut, "datacontenttype", &e->datacontenttype, FAILURE_TEXT);
    cut_pairs(cut, "headers", e->headers, &e->n_headers);
    cut_text(cut, "identity", &e->identity, FAILURE_TEXT);
    cut_pairs(cut, "params", e->params, &e->n_params);
    cut_text(cut, "path", &e->path, FAILURE_TEXT);
    cut_text(cut, "peer", &e->peer, FAILURE_TEXT);
    cut_pairs(cut, "properties", e->properties, &e->n_properties);
    cut_pairs(cut, "query", e->query, &e->n_query);
    cut_text(cut, "source", &e->source, FAILURE_TEXT);
    cut_text(cut, "subject", &e->subject, FAILURE_TEXT);
    cut_text(cut, "topic", &e->topic, FAILURE_TEXT);
}

/* What `on_failure` is told, as JSON.  `cut`: what of the event is not all
 * there, and how much there was: bytes, or pairs. */
static void describe(struct mp_buf *b, const struct mp_letter *letter)
{
    struct mp_event event = *letter->event;
    struct mp_buf cut;

    mp_buf_init(&cut, FAILURE_TEXT);
    cut_event(&cut, &event);
    mp_buf_printf(b, "{\"attempts\":%u,", letter->attempt);
    if (cut.len)
        mp_buf_printf(b, "\"cut\":{%.*s},", MP_FMT(mp_buf_bytes(&cut)));
    mp_buf_fini(&cut);
    mp_buf_printf(b, "\"error\":");
    mp_json_put_string(b, mp_cut(letter->error, MP_ERROR_MAX));
    mp_buf_printf(b, ",\"event\":");
    mp_event_json(b, &event);
    mp_buf_printf(b, ",\"function\":");
    mp_json_put_string(b, letter->fn);
    mp_buf_printf(b, ",\"outcome\":");
    mp_json_put_string(b, letter->outcome);
    mp_buf_printf(b, ",\"version\":");
    mp_json_put_string(b, letter->version);
    mp_buf_printf(b, "}");
    MP_ASSERT(!b->full);
}

static void not_told(struct mp_invocation *inv, const char *why)
{
    const struct mp_function *fn =
        inv->version ? inv->version->fn : inv->routed->fn;

    mp_fnlog(inv->slot, fn, inv->trigger, MP_WARN,
             MP_FIELDS(MP_TEXT("event", inv->input->id),
                       MP_TEXT("on_failure", mp_slice_str(fn->on_failure))),
             "on_failure is not told: %s", why);
}

/* The message for `on_failure = topic:T`; NULL: nobody is told. */
static struct mp_output *failure_output(struct mp_invocation *inv,
                                        const char *topic,
                                        const struct mp_letter *letter)
{
    char id[MP_OUTPUT_ID_MAX];
    struct mp_effect e = {
        .kind = MP_EFFECT_PUBLISH,
        .topic = mp_slice_str(topic),
        .format = MP_FORMAT_JSON,
        .qos = 1,
    };
    struct mp_output *o;
    struct mp_buf text;
    int len = snprintf(id, sizeof id, "%.*s/%.*s/failure",
                       MP_FMT(letter->event->id), MP_FMT(letter->fn));

    if (mp_slice_is(letter->event->topic, topic)) {
        not_told(inv, "what failed came with that topic");
        return NULL;
    }
    mp_buf_init(&text, FAILURE_MAX);
    describe(&text, letter);
    e.data = mp_buf_bytes(&text);
    o = mp_output_new(&e, mp_slice(id, (size_t)len),
                      letter->event->traceparent);
    mp_buf_fini(&text);
    return o;
}

/* Of how many failures in a row does this event tell?  Its source says so:
 * on_failure, on_failure/2, ... */
static unsigned failures_behind(const struct mp_event *e)
{
    const size_t one = strlen("on_failure");
    unsigned n = 0;

    if (e->type != MP_EVENT_SEND || !mp_starts(e->source, "on_failure"))
        return 0;
    for (size_t i = one + 1; i < e->source.len && n <= FAILURES_DEEP; i++)
        n = n * 10 + (unsigned)(e->source.ptr[i] - '0') % 10;
    return n ? n : 1;
}

static void send_failure(struct mp_invocation *inv, const char *function,
                         const struct mp_letter *letter)
{
    struct mp_host *h = mp_host_of(inv);
    unsigned n = failures_behind(letter->event) + 1;
    char source[24];
    struct mp_event event = {
        .type = MP_EVENT_SEND,
        .trigger = MP_S("send"),
        .subject = letter->fn,
        .id = letter->event->id,
        .time_us = letter->time_us,
        .attempt = 1,
        .datacontenttype = MP_S("application/json"),
    };
    struct mp_buf text;
    uint64_t ticket;

    if (n > FAILURES_DEEP) {
        not_told(inv, "each that is told of a failure fails, too");
        return;
    }
    snprintf(source, sizeof source, n > 1 ? "on_failure/%u" : "on_failure", n);
    event.source = mp_slice_str(source);
    mp_buf_init(&text, FAILURE_MAX);
    describe(&text, letter);
    event.data = mp_buf_bytes(&text);
    if (mp_queue_has_room(&h->queue, mp_queue_fn(&h->queue, letter->fn),
                          text.len, 0))
        (void)mp_host_send(h, mp_slice_str(function), &event, "send", 0,
                           inv->hops + 1, NULL, &ticket);
    else
        not_told(inv, "the durable queue is full ([store] queue)");
    mp_buf_fini(&text);
}

static void say_dead(struct mp_invocation *inv, const struct mp_function *fn,
                     enum mp_dead why, const struct mp_outcome *out, int64_t id)
{
    struct mp_field fields[] = {
        MP_TEXT("event", inv->input->id),
        MP_NUM("attempt", inv->attempt),
        MP_NUM("dead_letter", id),
        mp_host_about(inv),
        {NULL, {0}, 0, false},
        {NULL, {0}, 0, false},
    };

    if (out->traceback.len)
        fields[fields[3].name ? 4 : 3] = MP_TEXT("traceback", out->traceback);
    mp_fnlog(inv->slot, fn, inv->trigger,
             why == MP_DEAD_REJECTED ? MP_WARN : MP_ERROR, fields, "%s%s%.*s",
             why == MP_DEAD_ERROR ? "" : mp_dead_name(why),
             why == MP_DEAD_ERROR ? "" : ": ", MP_FMT(out->error));
}

/* Behind others of its topic, or behind values that it may tell of and that
 * are not durable yet: through the outbox. */
static bool must_go_behind(const struct mp_host *h,
                           const struct mp_invocation *inv,
                           const struct mp_outcome *out,
                           struct mp_output *const *outputs, unsigned n)
{
    bool behind =
        out->did & MP_DID_READ && inv->actor && !inv->slot->state->volatile_;

    for (unsigned i = 0; i < n; i++)
        behind |= mp_outbox_holds(&h->outbox, outputs[i]->topic);
    return behind;
}

/* written: something of it is, in the transaction that gathers. */
void mp_host_bury_with(struct mp_invocation *inv, enum mp_dead why,
                       const struct mp_outcome *out, bool written)
{
    struct mp_host *h = mp_host_of(inv);
    struct mp_slot *slot = inv->slot;
    const struct mp_function *fn =
        inv->version ? inv->version->fn : inv->routed->fn;
    struct mp_event event;
    struct mp_letter letter = {
        .fn = mp_slice_str(slot->name),
        .version = mp_slice_str(fn->version),
        .outcome = mp_slice_str(mp_dead_name(why)),
        .error = out->error,
        .traceback = out->traceback,
        .attempt = inv->attempt,
        .time_us = mp_wall_us(),
        .event = &event,
        .flash = &slot->metrics.flash,
    };
    struct mp_output *outputs[2]; /* to who asked, to who is told */
    unsigned n = 0;
    bool ours = inv->row || inv->alarm || inv->noted, dirty;
    uint64_t ticket = 0;
    int64_t id = 0;

    mp_invocation_event(inv, &event);
    slot->metrics.dead[why]++;
    if (why <= MP_DEAD_KILLED) /* it was run */
        mp_invocation_counters(inv)->run++;
    dirty = (mp_dead_add(&h->dead, &letter, &id) != 0) | written;
    say_dead(inv, fn, why, out, id);
    dirty |= mp_invocation_forget_source(inv) != 0;
    dirty |= mp_invocation_is_told_to_clock(inv);
    outputs[n] = mp_host_reply_problem(h, inv, why, out);
    if (outputs[n])
        mp_host_count_reply(inv, outputs[n++]);
    if (fn->on_failure && strncmp(fn->on_failure, "topic:", 6) == 0) {
        outputs[n] = failure_output(inv, fn->on_failure + 6, &letter);
        n += outputs[n] != NULL;
    } else if (fn->on_failure) {
        send_failure(inv, fn->on_failure + strlen("function:"), &letter);
        dirty = true;
    }
    if (n && (dirty || ours || must_go_behind(h, inv, out, outputs, n))) {
        for (unsigned i = 0; i < n; i++)
            mp_host_into_outbox(h, inv, outputs[i]);
        dirty = true;
        n = 0;
    }
    if (dirty)
        mp_invocation_note(inv);
    if (dirty)
        ticket = mp_commit_ticket(&h->commit);
    else if (inv->actor) /* it failed of what it read, maybe */
        ticket = mp_state_ticket(inv->actor);
    if (!n) {
        mp_invocation_end_with(inv, ticket);
        return;
    }
    mp_host_start_sending(h, inv);
    for (unsigned i = 0; i < n; i++) {
        mp_list_append(&inv->outputs, &outputs[i]->mine);
        outputs[i]->owner = inv;
    }
    for (unsigned i = 0; i < n; i++)
        mp_host_publish_now(h, inv, outputs[i]);
}

void mp_host_bury(struct mp_invocation *inv, enum mp_dead why,
                  const struct mp_outcome *out)
{
    mp_host_bury_with(inv, why, out, false);
}

/* ---- an output ---- */

/* The broker said no. */
void mp_host_refused(void *arg, struct mp_slice fn, const struct mp_output *o,
                     unsigned reason, const char *why)
{
    struct mp_host *h = arg;
    struct mp_slot *slot = mp_host_slot(h, fn);
    struct mp_event event = {
        .type = MP_EVENT_MQTT,
        .id = o->id,
        .source = MP_S("outbox"),
        .subject = o->topic,
        .topic = o->topic,
        .trigger = MP_S("output"),
        .qos = o->qos,
        .retained = o->retain,
        .data = o->data,
        .time_us = mp_wall_us(),
        .attempt = 1,
    };
    struct mp_letter letter = {
        .fn = fn,
        .version = slot && slot->live ? mp_slice_str(slot->live->fn->version)
                                      : MP_S(""),
        .outcome = mp_slice_str(mp_dead_name(MP_DEAD_OUTPUT)),
        .error = mp_slice_str(why),
        .attempt = 1,
        .time_us = event.time_us,
        .event = &event,
        .flash = slot ? &slot->metrics.flash : NULL,
    };
    int64_t id = 0;

    if (h->loaded)
        (void)mp_dead_add(&h->dead, &letter, &id);
    if (!slot)
        return;
    slot->metrics.dead[MP_DEAD_OUTPUT]++;
    if (slot->live)
        mp_fnlog(slot, slot->live->fn, NULL, MP_ERROR,
                 MP_FIELDS(MP_TEXT("topic", o->topic), MP_TEXT("id", o->id),
                           MP_NUM("reason", reason), MP_NUM("dead_letter", id)),
                 "the broker refused an output: %s", why);
}
