/*
 * answers.c - from a request to what the host does for it.
 *
 * Rows are read by the reader's thread; that job owns its request and its
 * text, and outlives a client that goes away.  Everything else can be taken
 * back, or goes on without us.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "core/api/impl.h"
#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/text.h"
#include "core/live.h"
#include "core/show.h"

/* ---- rows ---- */

struct mp_reading {
    struct mp_admin_read job;
    struct mp_call *call; /* NULL: the client is gone */
    struct mp_request request;
    int64_t now_us;
    struct mp_buf functions; /* names, a line each */
    struct mp_buf out;
};

static int read_rows(struct mp_read *read, struct mp_db *db, struct mp_why *why)
{
    struct mp_reading *r = mp_of(read, struct mp_reading, job.read);

    return mp_show_rows(db, &r->request, r->now_us, mp_buf_bytes(&r->functions),
                        &r->out, why);
}

static void rows_read(struct mp_read *read, int rc, const struct mp_why *why)
{
    struct mp_reading *r = mp_of(read, struct mp_reading, job.read);
    struct mp_call *c = r->call;

    if (c) {
        c->reading = NULL;
        mp_buf_fini(&c->out);
        c->out = r->out;
        mp_buf_init(&r->out, 0);
        if (rc)
            mp_call_fail(c, rc, why->text);
        else
            mp_call_answer(c, 200);
    }
    mp_request_fini(&r->request);
    mp_buf_fini(&r->functions);
    mp_buf_fini(&r->out);
    free(r);
}

static void rows(struct mp_call *c)
{
    struct mp_host *h = mp_call_host(c);
    struct mp_reading *r = mp_zalloc(sizeof *r);

    if (h->loaded) /* counts and last ones may be in memory only */
        mp_dead_flush(&h->dead);
    r->call = c;
    r->request = c->request;
    c->request.words = NULL; /* it goes with the job */
    r->now_us = mp_host_now(h);
    mp_buf_init(&r->out, MP_SHOWN_MAX);
    mp_buf_init(&r->functions, MP_SHOWN_MAX);
    mp_buf_put(&r->functions, "\n", 1); /* there may be none */
    mp_list_each (at, &h->catalog.slots) {
        const struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (!slot->gone)
            mp_buf_printf(&r->functions, "%s\n", slot->name);
    }
    r->job.read.work = read_rows;
    r->job.read.done = rows_read;
    c->reading = r;
    mp_admin_read(h, &r->job);
}

/* ---- state ---- */

static void state_told(struct mp_state_ask *ask, const struct mp_resume *answer)
{
    struct mp_call *c = mp_of(ask, struct mp_call, ask);
    struct mp_why why;
    int rc = mp_show_answer(&c->request, answer, mp_host_now(mp_call_host(c)),
                            &c->out, &why);

    ask->done = NULL;
    if (rc)
        mp_call_fail(c, rc, why.text);
    else
        mp_call_answer(c, 200);
}

/* Values that last no restart are in memory only: core/state.h knows. */
static void state(struct mp_call *c)
{
    struct mp_host *h = mp_call_host(c);
    const struct mp_request *r = &c->request;
    struct mp_wait wait = {
        .kind = r->what == MP_ASKED_ACTORS  ? MP_WAIT_ACTORS
                : r->what == MP_ASKED_STATE ? MP_WAIT_EACH
                                            : MP_WAIT_GET,
        .of = true,
        .key = r->key.ptr ? r->key : MP_S(""),
        .name = r->what == MP_ASKED_STATE_GET ? r->value : r->prefix,
        .after = r->after,
        .limit = r->limit,
    };
    struct mp_why why;
    struct mp_state_fn *fn;

    if (!h->loaded) { /* the reader has the mirrors */
        mp_call_problem(c, 503, "the store is not open");
        return;
    }
    fn = mp_admin_state(h, r->function, false, &why);
    if (!fn) {
        mp_call_fail(c, mp_admin_slot(h, r->function) ? MP_EDENY : MP_ENONE,
                     why.text);
        return;
    }
    c->ask.done = state_told;
    mp_state_ask(&h->states, fn, NULL, &wait, &c->ask);
}

/* ---- changes ---- */

static void changed(struct mp_admin *a, int rc, const struct mp_why *why)
{
    struct mp_call *c = mp_of(a, struct mp_call, admin);

    if (rc) {
        mp_call_fail(c, rc, why->text);
        return;
    }
    mp_buf_printf(&c->out, "{\"count\":%llu}\n", (unsigned long long)a->count);
    mp_call_answer(c, 200);
}

static void state_put(struct mp_call *c)
{
    const struct mp_request *r = &c->request;
    struct mp_value value = {.kind = MP_VALUE_NONE};
    struct mp_buf text;
    struct mp_why why;
    int rc = 0;

    mp_buf_init(&text, MP_BODY_MAX);
    if (r->what == MP_ASKED_STATE_PUT)
        rc = mp_request_value(mp_buf_bytes(&c->body), &value, &text, &why);
    if (rc)
        mp_call_fail(c, rc, why.text);
    else
        mp_admin_state_put(mp_call_host(c), r->function,
                           r->key.ptr ? r->key : MP_S(""), r->value, &value,
                           &c->admin);
    mp_buf_fini(&text);
}

/* ---- an event by hand ---- */

static void sent(struct mp_call *c)
{
    mp_buf_printf(&c->out, "{\"id\":\"%s\"}\n", c->id);
    mp_call_answer(c, 202);
}

static void on_durable(struct mp_commit_wait *w, int rc)
{
    struct mp_call *c = mp_of(w, struct mp_call, wait);

    w->done = NULL;
    if (rc)
        mp_call_fail(c, MP_EIO, "the store has failed; the event is lost");
    else
        sent(c);
}

static void on_told_durable(struct mp_commit_wait *w, int rc)
{
    struct mp_call *c = mp_of(w, struct mp_call, wait);

    w->done = NULL;
    if (rc)
        mp_call_fail(c, MP_EIO, "the store has failed; nothing of it counts");
    else
        mp_call_answer(c, 200);
}

static void on_told(struct mp_told *t, const struct mp_outcome *out,
                    const char *why)
{
    struct mp_call *c = mp_of(t, struct mp_call, told);
    struct mp_host *h = mp_call_host(c);

    t->told = NULL;
    mp_show_outcome(mp_slice_str(c->id), out, why, &c->out);
    /* Not before what it did is safe. */
    mp_commit_wait(&h->commit, &c->wait, mp_commit_ticket(&h->commit),
                   on_told_durable);
}

static void random_id(char id[MP_CALL_ID])
{
    uint64_t n[2];

    if (getrandom(n, sizeof n, 0) != sizeof n)
        mp_bug(__FILE__, __LINE__, "getrandom gives nothing");
    snprintf(id, MP_CALL_ID, "%016llx%016llx", (unsigned long long)n[0],
             (unsigned long long)n[1]);
}

static enum mp_event_type type_of(const struct mp_trigger *t)
{
    static const enum mp_event_type types[] = {
        [MP_TRIGGER_MQTT] = MP_EVENT_MQTT,  [MP_TRIGGER_COAP] = MP_EVENT_COAP,
        [MP_TRIGGER_HTTP] = MP_EVENT_HTTP,  [MP_TRIGGER_EVERY] = MP_EVENT_TIMER,
        [MP_TRIGGER_CRON] = MP_EVENT_TIMER, [MP_TRIGGER_BOARD] = MP_EVENT_BOARD,
    };

    return types[t->kind];
}

/* The trigger that the event is to look as if it came by; false: there is
 * none, and that was said. */
static bool as_if_by(struct mp_call *c, const struct mp_slot *slot,
                     struct mp_event *e)
{
    const struct mp_request *r = &c->request;
    const struct mp_trigger *t;

    if (!r->trigger.ptr)
        return true;
    t = slot->live ? mp_function_trigger(slot->live->fn, r->trigger) : NULL;
    if (!t) {
        mp_buf_printf(&c->out, "'%s' has no trigger '%.*s'", slot->name,
                      MP_FMT(r->trigger));
        mp_buf_put(&c->out, "", 1);
        mp_call_fail(c, MP_ENONE, c->out.ptr);
        return false;
    }
    e->type = type_of(t);
    e->trigger = mp_slice_str(t->name);
    e->format = t->format;
    if (e->type == MP_EVENT_TIMER)
        e->scheduled_us = e->time_us;
    if (e->type == MP_EVENT_MQTT)
        e->qos = t->qos;
    return true;
}

/* It is named, and one whose name is near. */
static void no_function(struct mp_call *c, bool known)
{
    enum { NEAR_MAX = 512 }; /* functions that are looked at */
    struct mp_slice name = c->request.function;
    const char *words[NEAR_MAX], *near;
    size_t n = 0;

    mp_list_each (at, &mp_call_host(c)->catalog.slots) {
        const struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (!slot->gone && n < NEAR_MAX)
            words[n++] = slot->name;
    }
    near = known ? NULL : mp_nearest(name, words, n);
    if (known)
        mp_buf_printf(&c->out, "function '%.*s' is not live; the log says why",
                      MP_FMT(mp_cut(name, MP_NAME_MAX)));
    else
        mp_buf_printf(&c->out, "there is no function '%.*s'%s%s%s",
                      MP_FMT(mp_cut(name, MP_NAME_MAX)),
                      near ? "; did you mean '" : "", near ? near : "",
                      near ? "'?" : "");
    mp_buf_put(&c->out, "", 1);
    mp_call_problem(c, 404, c->out.ptr);
}

static void send_event(struct mp_call *c)
{
    struct mp_host *h = mp_call_host(c);
    const struct mp_request *r = &c->request;
    struct mp_slot *slot = mp_admin_slot(h, r->function);
    struct mp_event e = {
        .type = MP_EVENT_SEND,
        .source = MP_S("moonpool/send"),
        .subject = r->key.ptr ? r->key : MP_S(""),
        .trigger = MP_S("send"),
        .key = r->key.ptr ? r->key : MP_S(""),
        .has_key = r->key.ptr != NULL,
        .time_us = mp_wall_us(),
        .attempt = 1,
        .data = mp_buf_bytes(&c->body),
        .datacontenttype = c->content_type,
        .topic = MP_S(""),
    };
    uint64_t ticket = 0;
    int64_t row;

    if (!e.data.ptr)
        e.data = MP_S("");
    if (!slot || !slot->live) {
        no_function(c, slot != NULL);
        return;
    }
    if (slot->live->fn->state_key && !r->key.ptr) {
        mp_buf_printf(&c->out, "'%s' has a [state] key: give --key",
                      slot->name);
        mp_buf_put(&c->out, "", 1);
        mp_call_problem(c, 400, c->out.ptr);
        return;
    }
    if (r->key.len > MP_KEY_MAX) {
        mp_call_problem(c, 400, "the key is too long");
        return;
    }
    if (!h->loaded || h->commit.failure) {
        mp_call_problem(c, 503,
                        h->commit.failure ? h->commit.failure
                                          : "the store is not open yet");
        return;
    }
    random_id(c->id);
    e.id = mp_slice_str(c->id);
    if (!as_if_by(c, slot, &e))
        return;
    c->told.told = on_told;
    mp_list_init(&c->told.link);
    row = mp_host_enqueue(h, r->function, &e, "send", 0,
                          r->wait ? &c->told : NULL, &ticket);
    if (row < 0) {
        c->told.told = NULL;
        mp_call_fail(c, (int)row, mp_host_full(h));
    } else if (!r->wait) {
        c->told.told = NULL;
        mp_commit_wait(&h->commit, &c->wait, ticket, on_durable);
    }
}

/* ---- the host ---- */

static void ready(struct mp_call *c)
{
    struct mp_host *h = mp_call_host(c);
    const char *trouble = mp_host_trouble(h);

    if (h->closing || h->draining)
        trouble = "the host is stopping";
    else if (!h->settled)
        trouble = "functions are being loaded";
    if (*trouble) {
        mp_call_problem(c, 503, trouble);
        return;
    }
    mp_buf_printf(&c->out, "{\"status\":\"ready\"}\n");
    mp_call_answer(c, 200);
}

static void metrics(struct mp_call *c)
{
    mp_live_metrics(mp_call_host(c), &c->out);
    c->type = "text/plain; version=0.0.4; charset=utf-8";
    mp_call_answer(c, 200);
}

void mp_call_start(struct mp_call *c)
{
    struct mp_host *h = mp_call_host(c);
    const struct mp_request *r = &c->request;
    struct mp_slice fn = r->function.ptr ? r->function : MP_S("");

    c->admin.done = changed;
    switch (r->what) {
    case MP_ASKED_HEALTH:
        mp_buf_printf(&c->out, "{\"status\":\"ok\"}\n");
        mp_call_answer(c, 200);
        break;
    case MP_ASKED_READY:
        ready(c);
        break;
    case MP_ASKED_METRICS:
        metrics(c);
        break;
    case MP_ASKED_ACTORS:
    case MP_ASKED_STATE:
    case MP_ASKED_STATE_GET:
        state(c);
        break;
    case MP_ASKED_STATE_PUT:
    case MP_ASKED_STATE_DELETE:
        state_put(c);
        break;
    case MP_ASKED_STATE_CLEAR:
        mp_admin_state_clear(h, fn, r->key, &c->admin);
        break;
    case MP_ASKED_SEND:
        send_event(c);
        break;
    case MP_ASKED_DEAD:
    case MP_ASKED_DEAD_GET:
    case MP_ASKED_QUEUE:
    case MP_ASKED_ALARMS:
        rows(c);
        break;
    case MP_ASKED_DEAD_DROP_ALL:
    case MP_ASKED_DEAD_DROP:
        mp_admin_dead_drop(h, fn, r->id, &c->admin);
        break;
    case MP_ASKED_DEAD_REPLAY_ALL:
    case MP_ASKED_DEAD_REPLAY:
        mp_admin_dead_replay(h, fn, r->id, &c->admin);
        break;
    case MP_ASKED_QUEUE_DROP_ALL:
    case MP_ASKED_QUEUE_DROP:
        mp_admin_queue_drop(h, fn, r->id, &c->admin);
        break;
    }
}

void mp_call_forget(struct mp_call *c)
{
    mp_admin_forget(&c->admin);
    if (c->reading)
        c->reading->call = NULL;
    c->reading = NULL;
    if (c->ask.done)
        mp_state_ask_not(&c->ask);
    c->ask.done = NULL;
    if (c->told.told)
        mp_list_unlink(&c->told.link);
    c->told.told = NULL;
    if (c->wait.done)
        mp_commit_wait_not(&c->wait);
    c->wait.done = NULL;
}
