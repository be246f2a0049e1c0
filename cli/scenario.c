/*
 * scenario.c - runs the steps of a test and compares what came of each.
 *
 * A member nobody knows is a mistake, never ignored: a test that says
 * "publsh" would otherwise always pass.  Names that belong to later versions
 * are refused for the same reason.
 *
 * Values and alarms are kept from step to step, as on a gateway.  `after` moves
 * the clock to each alarm that is due, runs it, and goes on; what those runs
 * did counts as done by the step, before what its own event did.
 *
 * Stream lines that remember (deadband, throttle) go by the same clock; their
 * windows (coalesce, batch) end at once, so that a step is one run.
 *
 * The first step that goes otherwise ends the scenario, as those behind it
 * were written for another world.
 */
#include "cli/scenario.h"

#include <stdio.h>

#include "cli/answered.h"
#include "cli/show.h"
#include "cli/step.h"
#include "cli/when.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/config.h"
#include "core/handlers.h"
#include "core/secrets.h"
#include "core/stream.h"

/* 2026-01-01T00:00:00Z: a test means the same on every day. */
#define START_US (INT64_C(1767225600) * MP_SECOND)

enum {
    ENV_MAX = 64,
    WRONG_MAX = 16 << 10,
    GATHERED_MAX = 32 << 20, /* effects and lines of one step */
    ACTUAL_MAX = 64 << 20,   /* the same as JSON */
};

struct scene {
    const struct mp_function *fn;
    struct mp_solo solo;
    struct mp_actors actors; /* what is kept from step to step */
    /* of all runs of a step: its alarms', then its event's */
    struct mp_buf effects, logs;
    uint32_t n_effects, n_logs;
    unsigned status; /* that its event was answered with */
    /* Stream lines that remember, by trigger; lines NULL: not in use yet. */
    struct mp_stream streams[MP_TRIGGERS_MAX];
    struct mp_pair env[ENV_MAX], secrets[MP_SECRETS_MAX];
    struct mp_scenario *result;
};

/* ---- reading ---- */

struct mp_slice mp_scenario_about(const struct mp_tree *file)
{
    return mp_tree_text(mp_tree_get(file, "about"));
}

/* Names of later versions; words ends with NULL. */
static int refuse_later(const struct mp_tree *v, const char *const *words,
                        struct mp_why *why)
{
    for (; *words; words++) {
        if (mp_tree_get(v, *words))
            return mp_why_set(why, MP_EPARSE,
                              "'%s' needs what this version doesn't have yet",
                              *words);
    }
    return 0;
}

static int check_file(const struct mp_tree *file, struct mp_why *why)
{
    static const char *const later[] = {"requests", NULL};
    static const char *const words[] = {"about", "time",  "env", "secrets",
                                        "state", "steps", NULL};
    const struct mp_tree *steps = mp_tree_get(file, "steps");
    int rc;

    if ((rc = refuse_later(file, later, why)) ||
        (rc = mp_step_members(file, "the test", words, why)))
        return rc;
    if (mp_tree_get(file, "about") && !mp_scenario_about(file).ptr)
        return mp_why_set(why, MP_EPARSE, "about is not a string");
    if (!steps || steps->kind != MP_TREE_LIST || !steps->n)
        return mp_why_set(why, MP_EPARSE, "steps is not a list of events");
    return 0;
}

static int read_env(struct scene *sc, const struct mp_tree *env,
                    struct mp_why *why)
{
    int rc;

    if (!env)
        return 0;
    if (env->kind != MP_TREE_OBJECT || env->n > ENV_MAX)
        return mp_why_set(why, MP_EPARSE,
                          "env is not an object of at most %d strings",
                          ENV_MAX);
    for (size_t i = 0; i < env->n; i++) {
        const struct mp_tree *v = env->items[i];

        if (v->kind != MP_TREE_STRING)
            return mp_why_set(why, MP_EPARSE, "env.%.*s is %s, not a string",
                              MP_FMT(mp_cut(v->name, 60)),
                              mp_tree_kind_name(v));
        rc = mp_solo_env_check(sc->fn, v->name, why);
        if (rc)
            return rc;
        sc->env[i] = (struct mp_pair){v->name, v->text};
    }
    sc->solo.env = sc->env;
    sc->solo.n_env = (uint32_t)env->n;
    return 0;
}

/* A secret that none of the n is: the cure behind what was said. */
static void missing_secret(const struct scene *sc, size_t n, struct mp_why *why)
{
    struct mp_slice name =
        mp_solo_secret_missing(sc->fn, sc->secrets, (uint32_t)n);
    struct mp_why said = *why;

    if (name.ptr)
        mp_why_set(why, MP_ENONE,
                   "secrets: %.240s; the test gives it a value: \"secrets\": "
                   "{\"%.*s\": \"...\"} beside \"steps\"",
                   said.text, MP_FMT(name));
    else
        mp_why_wrap(why, "secrets");
}

/* Texts: a test has nothing to hide. */
static int read_secrets(struct scene *sc, const struct mp_tree *secrets,
                        struct mp_why *why)
{
    size_t n = secrets ? secrets->n : 0;
    int rc;

    if (secrets &&
        (secrets->kind != MP_TREE_OBJECT || n > ARRAY_LEN(sc->secrets)))
        return mp_why_set(why, MP_EPARSE,
                          "secrets is not an object of at most %zu strings",
                          ARRAY_LEN(sc->secrets));
    for (size_t i = 0; i < n; i++) {
        const struct mp_tree *v = secrets->items[i];

        if (v->kind != MP_TREE_STRING)
            return mp_why_set(
                why, MP_EPARSE, "secrets.%.*s is %s, not a string",
                MP_FMT(mp_cut(v->name, 60)), mp_tree_kind_name(v));
        sc->secrets[i] = (struct mp_pair){v->name, v->text};
    }
    if (!sc->fn->n_secrets) /* who asks for none may do so tomorrow */
        n = 0;
    rc = mp_solo_secrets_check(sc->fn, sc->secrets, (uint32_t)n, why);
    if (rc && n < sc->fn->n_secrets)
        missing_secret(sc, n, why);
    sc->solo.secrets = sc->secrets;
    sc->solo.n_secrets = (uint32_t)n;
    return rc;
}

static int read_clock(struct scene *sc, const struct mp_tree *time,
                      struct mp_why *why)
{
    int rc;

    sc->solo.wall_us = START_US;
    if (!time)
        return 0;
    if (time->kind != MP_TREE_STRING)
        return mp_why_set(why, MP_EPARSE, "time is %s, not a string",
                          mp_tree_kind_name(time));
    rc = mp_when_parse(time->text, &sc->solo.wall_us, why);
    if (rc)
        mp_why_wrap(why, "time");
    else if (!sc->solo.wall_us)
        sc->solo.wall_us = 1; /* 0 would be the real clock */
    return rc;
}

/* "10m", or seconds. */
static int read_after(const struct mp_tree *after, int64_t *us,
                      struct mp_why *why)
{
    const double most_s = 100 * 365 * 86400.0;
    int rc;

    *us = 0;
    if (!after)
        return 0;
    if (after->kind == MP_TREE_STRING) {
        rc = mp_parse_duration(after->text, us, why);
        if (rc)
            mp_why_wrap(why, "after");
        return rc;
    }
    if ((after->kind != MP_TREE_INT && after->kind != MP_TREE_REAL) ||
        after->real < 0 || after->real > most_s)
        return mp_why_set(why, MP_EPARSE,
                          "after is a duration as \"10m\", or seconds");
    *us = (int64_t)(after->real * (double)MP_SECOND);
    return 0;
}

static int read_state(struct scene *sc, const struct mp_tree *state,
                      struct mp_why *why)
{
    int rc = 0;

    if (state)
        rc = mp_actors_read(&sc->actors, sc->fn, state, why);
    if (rc)
        mp_why_wrap(why, "state");
    return rc;
}

/* Lists of effects in expect. */
static const char *const publish_words[] = {
    "kind",   "topic",       "data",       "qos", "retain",
    "expiry", "data_base64", "properties", NULL};
static const char *const send_words[] = {
    "kind", "function", "key", "data", "data_base64", "delay", NULL};
static const char *const alarm_words[] = {
    "kind",  "name", "key",         "due",    "after",
    "slack", "data", "data_base64", "cancel", NULL};
static const char *const notify_words[] = {"kind",        "path",    "data",
                                           "data_base64", "max_age", NULL};

static const struct list {
    const char *name, *where;
    const char *first; /* the member that says whose effect it is */
    enum mp_effect_kind kind;
    const char *const *words;
} lists[] = {
    {"publish", "expect.publish", "topic", MP_EFFECT_PUBLISH, publish_words},
    {"send", "expect.send", "function", MP_EFFECT_SEND, send_words},
    {"notify", "expect.notify", "path", MP_EFFECT_NOTIFY, notify_words},
    {"alarms", "expect.alarms", "name", MP_EFFECT_ALARM, alarm_words},
};

static int check_lists(const struct mp_tree *expect, struct mp_why *why)
{
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        const struct mp_tree *list = mp_tree_get(expect, lists[l].name);

        if (list && list->kind != MP_TREE_LIST)
            return mp_why_set(why, MP_EPARSE, "%s is %s, not a list",
                              lists[l].where, mp_tree_kind_name(list));
        for (size_t i = 0; list && i < list->n; i++) {
            int rc = mp_step_members(list->items[i], lists[l].where,
                                     lists[l].words, why);

            if (rc)
                return rc;
        }
    }
    return 0;
}

/* {NAME: value} would never be found. */
static int check_state(const struct scene *sc, const struct mp_tree *state,
                       struct mp_why *why)
{
    if (!sc->fn->has_state)
        return mp_why_set(why, MP_EPARSE,
                          "expect.state: '%s' has no [state] section",
                          sc->fn->name);
    if (state->kind != MP_TREE_OBJECT)
        return mp_why_set(why, MP_EPARSE, "expect.state is %s, not an object",
                          mp_tree_kind_name(state));
    for (size_t i = 0; i < state->n; i++) {
        const struct mp_tree *actor = state->items[i];

        if (actor->kind != MP_TREE_OBJECT && actor->kind != MP_TREE_NULL)
            return mp_why_set(
                why, MP_EPARSE,
                "expect.state.%.*s is %s; it is written " MP_ACTORS_FORM,
                MP_FMT(mp_cut(actor->name, 60)), mp_tree_kind_name(actor));
    }
    return 0;
}

static int check_outcome(const struct mp_tree *outcome, struct mp_why *why)
{
    const char *words[MP_OUT_KINDS], *near;
    struct mp_slice text = mp_tree_text(outcome);

    for (unsigned k = 0; k < MP_OUT_KINDS; k++) {
        words[k] = mp_kind_name((enum mp_kind)k);
        if (text.ptr && mp_slice_is(text, words[k]))
            return 0;
    }
    near = text.ptr ? mp_nearest(text, words, MP_OUT_KINDS) : NULL;
    return mp_why_set(why, MP_EPARSE,
                      "expect.outcome is one of ok, error, rejected, timeout, "
                      "memory, killed%s%s%s",
                      near ? "; did you mean '" : "", near ? near : "",
                      near ? "'?" : "");
}

static int check_verdicts(const struct mp_tree *list, struct mp_why *why)
{
    static const char *const words[] = {"event", "retry", "reject", NULL};

    if (list && list->kind != MP_TREE_LIST)
        return mp_why_set(why, MP_EPARSE, "expect.verdicts is %s, not a list",
                          mp_tree_kind_name(list));
    for (size_t i = 0; list && i < list->n; i++) {
        int rc = mp_step_members(list->items[i], "expect.verdicts", words, why);

        if (rc)
            return rc;
    }
    return 0;
}

/* What is skipped has no outcome. */
static int check_skipped(const struct mp_tree *expect, struct mp_why *why)
{
    const struct mp_tree *skipped = mp_tree_get(expect, "skipped");
    struct mp_slice name = mp_tree_text(skipped);

    if (!skipped)
        return 0;
    if (!mp_slice_is(name, "filter") && !mp_slice_is(name, "deadband") &&
        !mp_slice_is(name, "throttle"))
        return mp_why_set(why, MP_EPARSE,
                          "expect.skipped is one of filter, deadband, "
                          "throttle; windows (coalesce, batch) end at once");
    if (expect->n > 1)
        return mp_why_set(why, MP_EPARSE,
                          "expect: with skipped nothing else comes of it");
    return 0;
}

static int check_expect(const struct scene *sc, const struct mp_tree *expect,
                        struct mp_why *why)
{
    static const char *const words[] = {
        "outcome", "error", "status", "result",   "publish", "send", "notify",
        "alarms",  "state", "log",    "verdicts", "skipped", NULL};
    const struct mp_tree *m;
    int rc;

    if ((rc = mp_step_members(expect, "expect", words, why)))
        return rc;
    if ((rc = check_verdicts(mp_tree_get(expect, "verdicts"), why)) ||
        (rc = check_skipped(expect, why)))
        return rc;
    if ((m = mp_tree_get(expect, "outcome")) && (rc = check_outcome(m, why)))
        return rc;
    if ((rc = check_lists(expect, why)))
        return rc;
    m = mp_tree_get(expect, "state");
    if (m && (rc = check_state(sc, m, why)))
        return rc;
    if ((m = mp_tree_get(expect, "error")) && m->kind != MP_TREE_STRING)
        return mp_why_set(why, MP_EPARSE, "expect.error is not a string");
    m = mp_tree_get(expect, "log");
    if (m && m->kind != MP_TREE_LIST)
        return mp_why_set(why, MP_EPARSE, "expect.log is not a list of parts");
    for (size_t i = 0; m && i < m->n; i++) {
        if (m->items[i]->kind != MP_TREE_STRING)
            return mp_why_set(why, MP_EPARSE,
                              "expect.log is not a list of "
                              "parts");
    }
    return 0;
}

/* ---- comparing ---- */

static bool contains(struct mp_slice text, struct mp_slice part)
{
    return part.len == 0 || memmem(text.ptr, text.len, part.ptr, part.len);
}

static bool same_outcome(const struct mp_outcome *out,
                         const struct mp_tree *expect, struct mp_buf *diff)
{
    const struct mp_tree *want = mp_tree_get(expect, "outcome");
    struct mp_slice kind = want ? want->text : MP_S("ok");
    struct mp_slice error = mp_tree_text(mp_tree_get(expect, "error"));

    if (!mp_slice_is(kind, mp_kind_name(out->kind))) {
        mp_buf_printf(diff, "outcome: expected \"%.*s\", got \"%s\"%s%.*s",
                      MP_FMT(kind), mp_kind_name(out->kind),
                      out->error.len ? ": " : "", MP_FMT(out->error));
        return false;
    }
    if (!contains(out->error, error)) {
        mp_buf_printf(diff, "error: expected \"%.*s\" in \"%.*s\"",
                      MP_FMT(error), MP_FMT(out->error));
        return false;
    }
    return true;
}

static bool read_actual(struct mp_buf *actual, const char *root,
                        struct mp_tree_doc *doc, struct mp_buf *diff)
{
    struct mp_why why;

    if (!actual->full && !mp_tree_parse(doc, mp_buf_bytes(actual), &why))
        return true;
    mp_buf_printf(diff, "%s: too large to be compared", root);
    return false;
}

/* Compare what was written as JSON. */
static bool same_value(const struct mp_tree *want, struct mp_buf *actual,
                       const char *root, struct mp_buf *diff)
{
    struct mp_tree_doc doc;
    bool same;

    if (!read_actual(actual, root, &doc, diff))
        return false;
    same = mp_tree_covers(want, doc.root, root, diff);
    mp_tree_fini(&doc);
    return same;
}

/* One to another topic differs in its data, too: its topic is told first. */
static bool same_effect(const struct list *list, size_t i,
                        const struct mp_tree *want, const struct mp_tree *got,
                        struct mp_buf *diff)
{
    char place[48];

    snprintf(place, sizeof place, "%s[%zu].%s", list->name, i + 1, list->first);
    if (!mp_tree_covers(mp_tree_get(want, list->first),
                        mp_tree_get(got, list->first), place, diff))
        return false;
    snprintf(place, sizeof place, "%s[%zu]", list->name, i + 1);
    return mp_tree_covers(want, got, place, diff);
}

static bool same_effects(const struct list *list, const struct mp_tree *want,
                         const struct mp_tree *got, struct mp_buf *diff)
{
    if (want->n != got->n)
        return mp_tree_covers(want, got, list->name, diff);
    for (size_t i = 0; i < want->n; i++) {
        if (!same_effect(list, i, want->items[i], got->items[i], diff))
            return false;
    }
    return true;
}

static bool same_list(const struct mp_outcome *out, const struct list *list,
                      const struct mp_tree *want, struct mp_buf *diff)
{
    struct mp_tree_doc doc;
    struct mp_buf actual;
    bool same = false;

    mp_buf_init(&actual, ACTUAL_MAX);
    mp_show_effects(out, list->kind, want, &actual);
    if (read_actual(&actual, list->name, &doc, diff)) {
        same = same_effects(list, want, doc.root, diff);
        mp_tree_fini(&doc);
    }
    mp_buf_fini(&actual);
    return same;
}

static bool same_state(struct scene *sc, const struct mp_tree *want,
                       struct mp_buf *diff)
{
    struct mp_buf actual;
    bool same;

    mp_buf_init(&actual, ACTUAL_MAX);
    mp_actors_json(&sc->actors, sc->solo.wall_us, &actual);
    same = same_value(want, &actual, "state", diff);
    mp_buf_fini(&actual);
    return same;
}

static bool same_result(const struct mp_outcome *out,
                        const struct mp_tree *want, struct mp_buf *diff)
{
    struct mp_buf actual;
    bool same;

    mp_buf_init(&actual, ACTUAL_MAX);
    mp_show_result(out, want->kind != MP_TREE_STRING, &actual);
    same = same_value(want, &actual, "result", diff);
    mp_buf_fini(&actual);
    return same;
}

static bool same_verdicts(const struct mp_outcome *out,
                          const struct mp_tree *want, struct mp_buf *diff)
{
    struct mp_buf actual;
    bool same;

    mp_buf_init(&actual, ACTUAL_MAX);
    mp_show_verdicts(out, &actual);
    same = same_value(want, &actual, "verdicts", diff);
    mp_buf_fini(&actual);
    return same;
}

/* Each part in a line of its own, in order; lines between don't matter.  An
 * empty list: there is no line. */
static bool same_log(const struct mp_outcome *out, const struct mp_tree *want,
                     struct mp_buf *diff)
{
    struct mp_reader r = mp_reader(out->logs);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_log_line line;
    struct mp_buf text;
    size_t found = 0;

    mp_buf_init(&text, WRONG_MAX);
    for (uint32_t i = 0; i < out->n_logs; i++) {
        int rc = mp_read_log(&r, &line, pairs);

        MP_ASSERT(rc == 0);
        mp_buf_reset(&text);
        mp_show_log_line(&line, &text);
        if (!want->n) {
            mp_buf_printf(diff, "log: expected no line, got \"%.*s\"",
                          MP_FMT(mp_buf_bytes(&text)));
            mp_buf_fini(&text);
            return false;
        }
        if (found < want->n &&
            contains(mp_buf_bytes(&text), want->items[found]->text))
            found++;
    }
    mp_buf_fini(&text);
    if (found == want->n)
        return true;
    mp_buf_printf(diff, "log[%zu]: no line has \"%.*s\"", found + 1,
                  MP_FMT(want->items[found]->text));
    return false;
}

static bool same(struct scene *sc, const struct mp_outcome *out,
                 const struct mp_tree *expect, struct mp_buf *diff)
{
    const struct mp_tree *m;

    if (!same_outcome(out, expect, diff))
        return false;
    m = mp_tree_get(expect, "status");
    if (m && (m->kind != MP_TREE_INT || m->integer != sc->status)) {
        mp_buf_printf(diff, "status: expected ");
        mp_tree_print(m, diff);
        if (sc->status)
            mp_buf_printf(diff, ", got %u", sc->status);
        else
            mp_buf_printf(diff, ", got none: it was no request");
        return false;
    }
    m = mp_tree_get(expect, "result");
    if (m && !same_result(out, m, diff))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        m = mp_tree_get(expect, lists[i].name);
        if (m && !same_list(out, &lists[i], m, diff))
            return false;
    }
    m = mp_tree_get(expect, "verdicts");
    if (m && !same_verdicts(out, m, diff))
        return false;
    m = mp_tree_get(expect, "state");
    if (m && !same_state(sc, m, diff))
        return false;
    m = mp_tree_get(expect, "log");
    return !m || same_log(out, m, diff);
}

/* ---- running ---- */

/* Take the sentence of what is wrong into the result. */
static int wrong(struct scene *sc, const char *sentence)
{
    mp_buf_printf(&sc->result->wrong, "%s", sentence);
    sc->result->ok = false;
    return 0;
}

/* Run one event and do what it says; its effects and lines are gathered. */
static int run_event(struct scene *sc, const struct mp_event *event,
                     struct mp_outcome *out, struct mp_why *why)
{
    int rc = mp_solo_run(&sc->solo, event, out, why);

    if (rc)
        return rc;
    mp_actors_apply(&sc->actors, event, out, sc->solo.wall_us);
    sc->status = mp_answered_status(event, out);
    mp_buf_slice(&sc->effects, out->effects);
    sc->n_effects += out->n_effects;
    mp_buf_slice(&sc->logs, out->logs);
    sc->n_logs += out->n_logs;
    return 0;
}

/* Move the clock on, and run each alarm when it is due.  Where the step has no
 * event of its own, out is the first that wasn't ok. */
static int pass_time(struct scene *sc, int64_t after_us, bool alone,
                     struct mp_outcome *out, struct mp_why *why)
{
    int64_t until = sc->solo.wall_us + after_us;
    struct mp_actors_alarm *alarm;

    while (sc->result->ok && out->kind == MP_OUT_OK &&
           (alarm = mp_actors_due(&sc->actors, until))) {
        struct mp_event event;
        int64_t due = mp_actors_alarm_event(alarm, &event);
        int rc;

        if (due > sc->solo.wall_us)
            sc->solo.wall_us = due;
        rc = run_event(sc, &event, out, why);
        if (rc == 0 && out->kind != MP_OUT_OK && !alone) {
            mp_buf_printf(&sc->result->wrong, "alarm '%.*s': %s: %.*s",
                          MP_FMT(event.alarm), mp_kind_name(out->kind),
                          MP_FMT(out->error));
            sc->result->ok = false;
        }
        mp_actors_alarm_done(alarm);
        if (rc)
            return rc;
    }
    if (sc->solo.wall_us < until)
        sc->solo.wall_us = until;
    return 0;
}

/* Does it say more than what time it is, and what is expected then? */
static bool has_event(const struct mp_tree *value)
{
    if (!mp_tree_get(value, "after") || value->kind != MP_TREE_OBJECT)
        return true;
    for (size_t i = 0; i < value->n; i++) {
        if (!mp_slice_is(value->items[i]->name, "after") &&
            !mp_slice_is(value->items[i]->name, "expect"))
            return true;
    }
    return false;
}

/* A window is none of ours: mp_stream_judge ends before them. */
static void pass_nothing(void *arg, struct mp_link *items, unsigned n)
{
    (void)arg;
    (void)n;
    MP_ASSERT(mp_list_empty(items));
}

static void skip_nothing(void *arg, struct mp_held *item,
                         enum mp_stream_why why)
{
    (void)arg;
    (void)item;
    (void)why;
}

/*
 * Does a line before the windows skip it, by what it remembers of the steps
 * before?  Its name, or NULL.  What is given as `events` has passed them.
 */
static const char *judge(struct scene *sc, const struct mp_step *step)
{
    static const struct mp_hash_key key;
    const struct mp_stream_user user = {pass_nothing, skip_nothing, NULL};
    const struct mp_trigger *t = step->trigger;
    const struct mp_event *e = step->events ? step->events : &step->event;
    const struct mp_stream_event asked = {.data = e->data,
                                          .datacontenttype = e->datacontenttype,
                                          .format = e->format,
                                          .params = e->params,
                                          .n_params = e->n_params,
                                          .key = e->key,
                                          .has_key = e->has_key};
    struct mp_stream_values values;
    struct mp_held item = {.bytes = 0};
    struct mp_stream *s;
    int rc;

    if (!t || !t->lines || step->members)
        return NULL;
    s = &sc->streams[t - sc->fn->triggers];
    if (!s->lines)
        mp_stream_init(s, t->lines, sc->fn->tracked, &key, &user);
    MP_ASSERT(
        mp_stream_wants(t->lines, &asked, &values)); /* its step is read */
    rc = mp_stream_judge(s, &item, &asked, &values, sc->solo.wall_us);
    return rc < 0 ? NULL : mp_stream_why_name((enum mp_stream_why)rc);
}

/* The step's own event, or what skipped it. */
static int run_or_skip(struct scene *sc, struct mp_step *step,
                       const struct mp_tree *skipped, struct mp_outcome *out,
                       struct mp_why *why)
{
    const char *line = step->skipped ? step->skipped : judge(sc, step);
    struct mp_slice want = mp_tree_text(skipped);

    if (!line && !skipped)
        return run_event(sc, &step->event, out, why);
    if (line && skipped && mp_slice_is(want, line))
        return 0;
    sc->result->ok = false;
    if (!skipped)
        mp_buf_printf(&sc->result->wrong, "skipped by %s", line);
    else
        mp_buf_printf(&sc->result->wrong, "skipped: expected \"%.*s\", %s%s",
                      MP_FMT(want), line ? "got " : "but it is run",
                      line ? line : "");
    return 0;
}

/* The step's own event. */
static int run_own(struct scene *sc, const struct mp_tree *value,
                   struct mp_outcome *out, struct mp_why *why)
{
    static const char *const besides[] = {"after", "expect", NULL};
    const struct mp_tree *skipped =
        mp_tree_get(mp_tree_get(value, "expect"), "skipped");
    struct mp_step_defaults defaults = {0};
    struct mp_step step;
    struct mp_why bad;
    char id[24];
    int rc = 0;

    snprintf(id, sizeof id, "test-%u", sc->result->steps);
    defaults.id = id;
    defaults.time_us = sc->solo.wall_us;
    if (mp_step_read(&step, sc->fn, value, &defaults, besides, &bad) &&
        !step.skipped)
        wrong(sc, bad.text);
    else
        rc = run_or_skip(sc, &step, skipped, out, why);
    mp_step_fini(&step);
    return rc;
}

static int run_step(struct scene *sc, const struct mp_tree *value,
                    struct mp_why *why)
{
    static const char *const later[] = {"requests", NULL};
    const struct mp_tree *expect = mp_tree_get(value, "expect");
    struct mp_outcome out = {.kind = MP_OUT_OK};
    bool own = has_event(value);
    struct mp_why bad;
    int64_t after;
    int rc;

    if (refuse_later(value, later, &bad) ||
        read_after(mp_tree_get(value, "after"), &after, &bad) ||
        (expect && check_expect(sc, expect, &bad)))
        return wrong(sc, bad.text);
    mp_buf_reset(&sc->effects);
    mp_buf_reset(&sc->logs);
    sc->n_effects = sc->n_logs = sc->status = 0;
    rc = pass_time(sc, after, !own, &out, why);
    if (rc == 0 && own && sc->result->ok)
        rc = run_own(sc, value, &out, why);
    if (rc || !sc->result->ok)
        return rc;
    if (sc->effects.full || sc->logs.full)
        return wrong(sc, "the step does more than a test can look at");
    out.effects = mp_buf_bytes(&sc->effects);
    out.n_effects = sc->n_effects;
    out.logs = mp_buf_bytes(&sc->logs);
    out.n_logs = sc->n_logs;
    sc->result->ok = same(sc, &out, expect, &sc->result->wrong);
    return 0;
}

static int run_steps(struct scene *sc, const struct mp_tree *steps,
                     struct mp_why *why)
{
    struct mp_buf *text = &sc->result->wrong;
    int rc;

    for (size_t i = 0; i < steps->n; i++) {
        sc->result->steps++;
        mp_buf_reset(text);
        mp_buf_printf(text, "step %zu: ", i + 1);
        rc = run_step(sc, steps->items[i], why);
        if (rc || !sc->result->ok)
            return rc;
    }
    mp_buf_reset(text);
    return 0;
}

/* The first mistake of the handlers is the sentence of all. */
struct first_mistake {
    struct mp_report report;
    char text[512];
};

static void keep_first(struct mp_report *r, bool warning, const char *text)
{
    struct first_mistake *first = (struct first_mistake *)r;

    if (!warning && !first->text[0])
        snprintf(first->text, sizeof first->text, "%s", text);
}

static int play(struct scene *sc, const struct mp_tree *file,
                struct mp_why *why)
{
    struct first_mistake first = {.report = {.say = keep_first}};
    struct mp_loaded loaded;
    struct mp_why bad;
    int rc;

    if (check_file(file, &bad) ||
        read_env(sc, mp_tree_get(file, "env"), &bad) ||
        read_secrets(sc, mp_tree_get(file, "secrets"), &bad) ||
        read_clock(sc, mp_tree_get(file, "time"), &bad) ||
        read_state(sc, mp_tree_get(file, "state"), &bad))
        return wrong(sc, bad.text);
    rc = mp_solo_load(&sc->solo, sc->fn, &loaded, why);
    if (rc)
        return rc;
    mp_handlers_check(sc->fn, &loaded, &first.report);
    if (first.report.mistakes)
        return wrong(sc, first.text);
    return run_steps(sc, mp_tree_get(file, "steps"), why);
}

int mp_scenario_run(struct mp_scenario *result, const struct mp_function *fn,
                    const struct mp_tree *file, struct mp_why *why)
{
    struct scene sc = {.fn = fn, .result = result};
    int64_t started = mp_now_us();
    int rc;

    *result = (struct mp_scenario){.ok = true};
    mp_buf_init(&result->wrong, WRONG_MAX);
    mp_solo_init(&sc.solo);
    mp_actors_init(&sc.actors);
    mp_buf_init(&sc.effects, GATHERED_MAX);
    mp_buf_init(&sc.logs, GATHERED_MAX);
    sc.solo.node = "test";
    sc.solo.timezone = "UTC"; /* a test means the same everywhere */
    sc.solo.actors = &sc.actors;
    rc = play(&sc, file, why);
    mp_solo_fini(&sc.solo);
    mp_actors_fini(&sc.actors);
    for (size_t i = 0; i < ARRAY_LEN(sc.streams); i++)
        if (sc.streams[i].lines)
            mp_stream_fini(&sc.streams[i]);
    mp_buf_fini(&sc.effects);
    mp_buf_fini(&sc.logs);
    result->took_us = mp_now_us() - started;
    return rc;
}

void mp_scenario_fini(struct mp_scenario *result)
{
    mp_buf_fini(&result->wrong);
}
