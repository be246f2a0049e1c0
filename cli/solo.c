/*
 * solo.c - a host for one function, without a loop.
 *
 * Everything is one conversation: write a frame, wait for its answer, look at
 * the worker's clock meanwhile.  The answer's type, its id and every byte of
 * it are checked, as what sent it may be under the control of the function;
 * an answer we did not ask for ends the worker like a crash does.
 *
 * Two deadlines stand behind each other.  The watch (worker.h) goes by what
 * the worker says of itself and ends a late run in a friendly way; a worker
 * that lies is ended when `timeout` and PATIENCE are over by our clock.
 */
#include "cli/solo.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/show.h"
#include "core/base/clock.h"
#include "core/base/local.h"
#include "core/base/text.h"
#include "core/outputs.h"
#include "core/secrets.h"
#include "core/zone.h"

#define PATIENCE_US (2 * MP_SECOND)
#define READY_US (10 * MP_SECOND)

enum {
    FN = 1, /* the worker's number of our only function */
    READ_BYTES = 64 << 10,
    ENV_MAX = 1024, /* as the frame takes */
    SPAN_MAX = 64,
};

void mp_solo_init(struct mp_solo *s)
{
    *s = (struct mp_solo){.node = "moonpool", .worker = {.fd = -1}};
    mp_buf_init(&s->in, MP_FRAME_HEAD + MP_FRAME_MAX + READ_BYTES);
    mp_buf_init(&s->out, MP_FRAME_HEAD + MP_FRAME_MAX);
    mp_buf_init(&s->answer, MP_FRAME_MAX);
    mp_buf_init(&s->effects, 2 * MP_FRAME_MAX); /* keys are added */
}

/* End the worker; died is its epitaph unless one is written already. */
static void bury(struct mp_solo *s)
{
    bool killed = s->worker.killed;
    int status = mp_worker_end(&s->worker);

    s->alive = false;
    if (s->died.text[0])
        return;
    if (killed)
        mp_why_set(&s->died, MP_EIO,
                   "the worker had to be killed: past its deadline it was "
                   "still busy where Lua can't be interrupted");
    else if (WIFSIGNALED(status))
        mp_why_set(&s->died, MP_EIO, "the worker died of SIG%s (%s)",
                   sigabbrev_np(WTERMSIG(status)),
                   sigdescr_np(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127)
        mp_why_set(&s->died, MP_EIO, "it can't be executed"); /* as in sh */
    else
        mp_why_set(&s->died, MP_EIO, "the worker ended with status %d",
                   WEXITSTATUS(status));
}

/* The worker broke the rules of the conversation. */
static int distrust(struct mp_solo *s, const char *what)
{
    mp_why_set(&s->died, MP_EPARSE, "the worker was killed: it %s", what);
    bury(s);
    return MP_EIO;
}

void mp_solo_fini(struct mp_solo *s)
{
    if (s->alive)
        mp_worker_end(&s->worker);
    mp_buf_fini(&s->in);
    mp_buf_fini(&s->out);
    mp_buf_fini(&s->answer);
    mp_buf_fini(&s->effects);
    *s = (struct mp_solo){.worker = {.fd = -1}};
}

/* ---- the conversation ---- */

/* Take n bytes off the front. */
static void drop(struct mp_buf *b, size_t n)
{
    if (!n)
        return;
    memmove(b->ptr, b->ptr + n, b->len - n);
    b->len -= n;
}

/* Send what waits; true unless the worker is gone. */
static bool flush(struct mp_solo *s)
{
    size_t sent = 0;
    ssize_t n;

    while (sent < s->out.len) {
        n = send(s->worker.fd, s->out.ptr + sent, s->out.len - sent,
                 MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n < 0)
            break;
        sent += (size_t)n;
    }
    drop(&s->out, sent);
    return true;
}

/* Read what is there; true unless the worker is gone. */
static bool receive(struct mp_solo *s)
{
    char *room;
    ssize_t n;

    drop(&s->in, s->taken);
    s->taken = 0;
    room = mp_buf_room(&s->in, READ_BYTES);
    MP_ASSERT(room); /* a whole frame is taken before more is read */
    n = recv(s->worker.fd, room, READ_BYTES, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    s->in.len += (size_t)n;
    return n > 0;
}

/* The first frame of in, copied to answer.  As mp_frame_next. */
static int take_frame(struct mp_solo *s, uint8_t *type)
{
    struct mp_slice body;
    int len;

    if (s->in.len == s->taken)
        return 0;
    len = mp_frame_next(mp_slice(s->in.ptr + s->taken, s->in.len - s->taken),
                        type, &body);
    if (len <= 0)
        return len;
    mp_buf_reset(&s->answer);
    mp_buf_slice(&s->answer, body);
    s->taken += (size_t)len;
    return len;
}

/*
 * Wait for one frame.  MP_EIO: the worker is gone, and died says how.
 */
static int await(struct mp_solo *s, const struct mp_allowance *allowed,
                 uint8_t *type)
{
    int64_t now = mp_now_us();
    int64_t end = now + allowed->timeout_us - allowed->spent_us + PATIENCE_US;
    struct pollfd p = {.fd = s->worker.fd};
    int rc;

    for (;;) {
        if (s->out.len && !flush(s))
            s->out.len = 0; /* its end comes through the reading side */
        rc = take_frame(s, type);
        if (rc < 0)
            return distrust(s, "sent a frame that is too long");
        if (rc > 0)
            return 0;
        p.events = (short)(POLLIN | (s->out.len ? POLLOUT : 0));
        poll(&p, 1, (int)(MP_WATCH_EVERY_US / MP_MS));
        if ((p.revents & (POLLIN | POLLHUP | POLLERR)) && !receive(s)) {
            bury(s);
            return MP_EIO;
        }
        now = mp_now_us();
        mp_worker_watch(&s->worker, now, allowed);
        if (now > end)
            return distrust(s, "did not answer");
    }
}

/* A new worker that is ready. */
static int start(struct mp_solo *s, struct mp_why *why)
{
    const struct mp_allowance ready = {READY_US, READY_US, 0};
    uint8_t type;
    int rc;

    if (s->alive)
        mp_worker_end(&s->worker);
    s->alive = false;
    s->died.text[0] = '\0';
    s->taken = 0;
    mp_buf_reset(&s->in);
    mp_buf_reset(&s->out);
    rc = mp_worker_spawn(&s->worker, mp_worker_program(), why);
    if (rc)
        return rc;
    s->alive = true;
    rc = await(s, &ready, &type);
    if (rc == 0 && (type != MP_FRAME_READY || s->answer.len))
        rc = distrust(s, "did not say that it is ready");
    if (rc)
        return mp_why_set(why, MP_EIO, "start %s: %s", mp_worker_program(),
                          s->died.text);
    return 0;
}

/* ---- log lines and effects ---- */

static bool logs_parse(struct mp_slice logs, uint32_t n)
{
    struct mp_reader r = mp_reader(logs);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_log_line line;

    while (n--) {
        if (mp_read_log(&r, &line, pairs))
            return false;
    }
    return r.at == r.end;
}

/* Why the function may not have this effect, into denied. */
static void deny(const struct mp_function *fn, const struct mp_effect *e,
                 struct mp_why *denied)
{
    if (e->kind == MP_EFFECT_SEND && !mp_function_may_send(fn, e->name))
        mp_why_set(denied, MP_EDENY, "send to '%.*s' is not granted",
                   MP_FMT(e->name));
    if (e->kind != MP_EFFECT_PUBLISH)
        return;
    if (mp_topic_check(e->topic, denied))
        mp_why_wrap(denied, "publish to '%.*s'", MP_FMT(mp_cut(e->topic, 120)));
    else if (!mp_function_may_publish(fn, e->topic, MP_S("moonpool")))
        mp_why_set(denied, MP_EDENY, "publish to '%.*s' is not granted",
                   MP_FMT(mp_cut(e->topic, 120)));
}

/*
 * Do the effects parse, and may the function have them?  The sandbox has
 * asked the same; here it is asked by somebody the function can't reach.
 */
static bool effects_parse(const struct mp_function *fn,
                          const struct mp_outcome *out, struct mp_why *denied)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_effect e;

    for (uint32_t i = 0; i < out->n_effects && !denied->text[0]; i++) {
        if (mp_read_effect(&r, &e, pairs))
            return false;
        deny(fn, &e, denied);
    }
    return denied->text[0] || !mp_outputs_check(fn, MP_S("moonpool"), out);
}

/* Put into each effect what else the event says, see mp_solo_run. */
static void complete_effects(struct mp_solo *s, const struct mp_event *event,
                             struct mp_outcome *out)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    int64_t now = s->wall_us ? s->wall_us : mp_wall_us();
    struct mp_effect e;

    mp_buf_reset(&s->effects);
    for (uint32_t i = 0; i < out->n_effects; i++) {
        int rc = mp_read_effect(&r, &e, pairs);

        MP_ASSERT(rc == 0);
        if (!e.has_key && (event->has_key || e.kind != MP_EFFECT_SEND)) {
            e.has_key = true;
            e.key = event->has_key ? event->key : MP_S("");
        }
        if (e.kind == MP_EFFECT_ALARM && !e.cancel && e.after_us >= 0)
            e.at_us = now + e.after_us;
        mp_wire_put_effect(&s->effects, &e);
    }
    MP_ASSERT(!s->effects.full);
    out->effects = mp_buf_bytes(&s->effects);
}

/* "WHAT (DURATION)TAIL", until the next. */
static struct mp_slice late(struct mp_solo *s, const char *what, int64_t us,
                            const char *tail)
{
    struct mp_buf span;

    mp_buf_init(&span, SPAN_MAX);
    mp_show_span(us, &span);
    mp_why_set(&s->late, MP_EIO, "%s (%.*s)%s", what,
               MP_FMT(mp_buf_bytes(&span)), tail);
    mp_buf_fini(&span);
    return mp_slice_str(s->late.text);
}

/* ---- loading ---- */

static bool is_bare(const struct mp_function *fn)
{
    return mp_ends(mp_slice_str(fn->path), ".lua");
}

int mp_solo_env_check(const struct mp_function *fn, struct mp_slice name,
                      struct mp_why *why)
{
    char *words[ENV_MAX];
    const char *near;
    unsigned n = 0;

    if (is_bare(fn))
        return 0;
    for (; n < fn->n_env && n < ENV_MAX; n++)
        words[n] = mp_strndup(fn->env[n].name.ptr, fn->env[n].name.len);
    near = mp_nearest(name, (const char *const *)words, n);
    mp_why_set(why, MP_ENONE, "env '%.*s' is not in [env] of '%s'%s%s%s",
               MP_FMT(name), fn->name, near ? "; did you mean '" : "",
               near ? near : "", near ? "'?" : "");
    for (unsigned i = 0; i < n; i++)
        free(words[i]);
    for (unsigned i = 0; i < fn->n_env; i++) {
        if (mp_slice_eq(fn->env[i].name, name))
            return 0;
    }
    return MP_ENONE;
}

/* [env] with the caller's values in their places; the length. */
static uint32_t merge_env(const struct mp_solo *s, struct mp_pair *env)
{
    uint32_t n = 0, at;

    for (; n < s->fn->n_env && n < ENV_MAX; n++)
        env[n] = s->fn->env[n];
    for (uint32_t i = 0; i < s->n_env; i++) {
        for (at = 0; at < n; at++) {
            if (mp_slice_eq(env[at].name, s->env[i].name))
                break;
        }
        if (at == ENV_MAX)
            continue;
        env[at] = s->env[i];
        n += at == n;
    }
    return n;
}

/* Those that were granted, with the caller's values; the length. */
static uint32_t merge_secrets(const struct mp_solo *s,
                              struct mp_pair secrets[MP_SECRETS_MAX])
{
    const struct mp_function *fn = s->fn;
    uint32_t n = 0;

    for (; n < fn->n_secrets && n < MP_SECRETS_MAX; n++) {
        secrets[n] = (struct mp_pair){fn->secrets[n], MP_S("secret")};
        for (uint32_t i = 0; i < s->n_secrets; i++)
            if (mp_slice_eq(s->secrets[i].name, fn->secrets[n]))
                secrets[n].value = s->secrets[i].value;
    }
    return n;
}

struct mp_slice mp_solo_secret_missing(const struct mp_function *fn,
                                       const struct mp_pair *given, uint32_t n)
{
    for (unsigned k = 0; k < fn->n_secrets; k++) {
        bool there = false;

        for (uint32_t i = 0; i < n; i++)
            there |= mp_slice_eq(given[i].name, fn->secrets[k]);
        if (!there)
            return fn->secrets[k];
    }
    return mp_slice(NULL, 0);
}

int mp_solo_secrets_check(const struct mp_function *fn,
                          const struct mp_pair *given, uint32_t n,
                          struct mp_why *why)
{
    struct mp_slice missing;

    for (uint32_t i = 0; i < n; i++) {
        bool granted = false;

        for (unsigned k = 0; k < fn->n_secrets; k++)
            granted |= mp_slice_eq(given[i].name, fn->secrets[k]);
        if (!granted)
            return mp_why_set(why, MP_ENONE,
                              "secret '%.*s' is not granted to '%s' ([grant] "
                              "secret)",
                              MP_FMT(mp_cut(given[i].name, 60)), fn->name);
    }
    missing = mp_solo_secret_missing(fn, given, n);
    return missing.ptr
               ? mp_why_set(why, MP_ENONE, "secret %.*s of '%s' is missing",
                            MP_FMT(missing), fn->name)
               : 0;
}

static uint64_t put_load(struct mp_solo *s)
{
    const struct mp_function *fn = s->fn;
    struct mp_slice triggers[MP_TRIGGERS_MAX], observes[MP_TRIGGERS_MAX];
    struct mp_pair env[ENV_MAX], secrets[MP_SECRETS_MAX];
    struct mp_buf filters, zone;
    struct mp_why why;
    struct mp_load load = {
        .id = ++s->last_id,
        .fn = FN,
        .name = mp_slice_str(fn->name),
        .version = mp_slice_str(fn->version),
        .node = mp_slice_str(s->node),
        .prefix = MP_S("moonpool"),
        .memory = fn->memory,
        .outputs = fn->outputs,
        .output_bytes = fn->output_bytes,
        .log_bytes = fn->log_bytes,
        .fake_wall_us = s->wall_us,
        .env = env,
        .n_env = merge_env(s, env),
        .files = fn->files,
        .n_files = fn->n_files,
        .grants = fn->grants,
        .n_grants = fn->n_grants,
        .triggers = triggers,
        .n_triggers = fn->n_triggers,
        .sends = fn->sends,
        .n_sends = fn->n_sends,
        .has_state = fn->has_state,
        .has_key = fn->state_key != NULL,
        .state_quota = fn->state_quota,
        .secrets = secrets,
        .n_secrets = merge_secrets(s, secrets),
        .observes = observes,
    };

    MP_ASSERT(fn->n_triggers <= MP_TRIGGERS_MAX);
    for (unsigned i = 0; i < fn->n_triggers; i++)
        triggers[i] = mp_slice_str(fn->triggers[i].name);
    load.n_observes = mp_outputs_observes(fn, observes, &filters);
    mp_buf_init(&zone, (size_t)MP_LOCAL_ROWS_MAX * MP_LOCAL_ROW);
    if (mp_zone_table_of(fn->timezone ? fn->timezone : s->timezone, &zone,
                         &why))
        fprintf(stderr, "note: %s; os.date shows UTC\n", why.text);
    load.zone = mp_buf_bytes(&zone);
    mp_wire_load(&s->out, &load);
    mp_buf_fini(&filters);
    mp_buf_fini(&zone);
    MP_ASSERT(!s->out.full); /* a function's files are bounded far below */
    return load.id;
}

int mp_solo_load(struct mp_solo *s, const struct mp_function *fn,
                 struct mp_loaded *loaded, struct mp_why *why)
{
    const struct mp_allowance allowed = {fn->init_timeout_us,
                                         fn->init_timeout_us, 0};
    uint64_t id;
    uint8_t type;
    int rc = start(s, why);

    if (rc)
        return rc;
    s->fn = fn;
    id = put_load(s);
    rc = await(s, &allowed, &type);
    if (rc == 0 &&
        (type != MP_FRAME_LOADED ||
         mp_read_loaded(mp_buf_bytes(&s->answer), loaded, s->names) ||
         loaded->id != id || !logs_parse(loaded->logs, loaded->n_logs)))
        rc = distrust(s, "answered a load with what is none");
    if (rc == 0 && loaded->kind == MP_OUT_TIMEOUT)
        loaded->error = late(s,
                             "main.lua's own run took longer than "
                             "limits.init_timeout",
                             fn->init_timeout_us, "");
    if (rc)
        *loaded = (struct mp_loaded){.id = id,
                                     .kind = MP_OUT_KILLED,
                                     .error = mp_slice_str(s->died.text)};
    return 0;
}

/* ---- running ---- */

/* What is known of a run while its turns go by. */
struct turns {
    uint64_t id;
    const struct mp_event *event;
    struct mp_allowance allowed; /* what is left of cpu, and spent of timeout */
    uint64_t run_ns;             /* user code of earlier turns */
    int64_t started_us;
    bool waited;
};

static uint32_t clip_ns(uint64_t ns)
{
    return ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

/* An outcome that no worker told. */
static void ended(const struct turns *t, enum mp_kind kind, const char *error,
                  struct mp_outcome *out)
{
    int64_t spent = mp_now_us() - t->started_us;

    *out = (struct mp_outcome){
        .run = t->id,
        .kind = kind,
        .did = t->waited ? MP_DID_WAIT : 0,
        .retry_after_us = -1,
        .run_ns = clip_ns((uint64_t)spent * 1000),
        .error = mp_slice_str(error),
    };
}

/* The worker only knows that it was marked; the watch knows why. */
static struct mp_slice which_limit(struct mp_solo *s, const struct turns *t)
{
    if (s->worker.marked_cpu >= t->allowed.cpu_us)
        return late(s, "ran longer than limits.cpu", s->fn->cpu_us, "");
    return late(s, "ran longer than limits.timeout", s->fn->timeout_us, "");
}

/* DONE: check all of it.  false: it is no outcome. */
static bool read_done(struct mp_solo *s, const struct turns *t,
                      struct mp_outcome *out)
{
    struct mp_why *denied = &s->denied;

    if (mp_read_done(mp_buf_bytes(&s->answer), out) || out->run != t->id ||
        !logs_parse(out->logs, out->n_logs) ||
        mp_verdicts_check(out, t->event->n_events))
        return false;
    denied->text[0] = '\0';
    if (!effects_parse(s->fn, out, denied))
        return false;
    if (!denied->text[0])
        complete_effects(s, t->event, out);
    if (out->kind == MP_OUT_OK && denied->text[0]) {
        out->kind = MP_OUT_ERROR;
        out->error = mp_slice_str(denied->text);
    }
    if (out->kind == MP_OUT_TIMEOUT)
        out->error = which_limit(s, t);
    if (out->kind != MP_OUT_OK) {
        out->n_effects = 0;
        out->effects = mp_slice("", 0);
        out->result_kind = MP_RESULT_NONE;
    }
    out->run_ns = clip_ns(t->run_ns + out->run_ns);
    return true;
}

static void sleep_us(int64_t us)
{
    struct timespec t = {us / MP_SECOND, us % MP_SECOND * 1000};

    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

/* WAIT: let the time pass; false: more than `timeout` leaves. */
static bool pass_time(struct mp_solo *s, struct turns *t,
                      const struct mp_wait *wait)
{
    int64_t left, delay = wait->delay_us;

    t->waited = true;
    t->run_ns += wait->run_ns;
    t->allowed.cpu_us -= wait->run_ns / 1000;
    t->allowed.spent_us += wait->run_ns / 1000;
    if (wait->kind != MP_WAIT_SLEEP) /* no time, but not for ever either */
        return mp_now_us() - t->started_us <
               t->allowed.timeout_us + PATIENCE_US;
    left = t->allowed.timeout_us - t->allowed.spent_us;
    if (left < 0)
        left = 0;
    if (delay > left)
        delay = left;
    if (s->wall_us)
        s->wall_us += delay;
    else
        sleep_us(delay);
    t->allowed.spent_us += delay;
    return wait->delay_us <= left;
}

/* The actor of an event; key "" is the function's own. */
static struct mp_slice actor_of(const struct mp_event *event)
{
    return event->has_key ? event->key : MP_S("");
}

static void resume_run(struct mp_solo *s, const struct turns *t,
                       const struct mp_wait *wait)
{
    struct mp_resume resume = {.run = t->id, .fake_wall_us = s->wall_us};

    if (wait->kind != MP_WAIT_SLEEP && s->actors)
        mp_actors_answer(s->actors, actor_of(t->event), wait,
                         s->wall_us ? s->wall_us : mp_wall_us(), &resume);
    mp_wire_resume(&s->out, &resume);
}

/* Follow a run to its end.  MP_EIO: the worker is gone. */
static int follow(struct mp_solo *s, struct turns *t, struct mp_outcome *out)
{
    struct mp_wait wait;
    uint8_t type;
    int rc;

    for (;;) {
        rc = await(s, &t->allowed, &type);
        if (rc)
            return rc;
        if (type == MP_FRAME_DONE) {
            if (!read_done(s, t, out))
                return distrust(s, "sent an outcome that doesn't parse");
            return 0;
        }
        if (type != MP_FRAME_WAIT ||
            mp_read_wait(mp_buf_bytes(&s->answer), &wait) || wait.run != t->id)
            return distrust(s, "answered a run with what is no outcome");
        if (!pass_time(s, t, &wait)) {
            mp_wire_cancel(&s->out, t->id);
            ended(t, MP_OUT_TIMEOUT, "", out);
            out->error = late(s, "limits.timeout", s->fn->timeout_us,
                              " passed while it was waiting");
            return 0;
        }
        resume_run(s, t, &wait);
    }
}

int mp_solo_run(struct mp_solo *s, const struct mp_event *event,
                struct mp_outcome *out, struct mp_why *why)
{
    struct turns t = {.event = event,
                      .allowed = {s->fn->cpu_us, s->fn->timeout_us, 0}};
    struct mp_run run = {
        .fn = FN,
        .clock_ok = true,
        .event = *event,
        .state = {.complete = true, .left = (int64_t)s->fn->state_quota}};
    struct mp_loaded loaded = {0};
    size_t mark;
    int rc;

    if (!s->alive) {
        rc = mp_solo_load(s, s->fn, &loaded, why);
        if (rc)
            return rc;
    }
    run.id = t.id = ++s->last_id;
    run.fake_wall_us = s->wall_us;
    t.started_us = mp_now_us();
    if (loaded.kind != MP_OUT_OK) { /* it did once; the world has changed */
        ended(&t, loaded.kind, "", out);
        out->error = loaded.error;
        out->traceback = loaded.traceback;
        return 0;
    }
    if (s->fn->has_state && s->actors)
        run.state = mp_actors_travel(s->actors, s->fn, actor_of(event),
                                     s->wall_us ? s->wall_us : mp_wall_us());
    mark = s->out.len;
    mp_wire_run(&s->out, &run);
    if (s->out.full) {
        s->out.len = mark;
        s->out.full = false;
        return mp_why_set(why, MP_ERANGE, "the event is too large to be sent");
    }
    if (follow(s, &t, out))
        ended(&t, MP_OUT_KILLED, s->died.text, out);
    return 0;
}
