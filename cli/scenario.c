/*
 * scenario.c - runs the steps of a test and compares what came of each.
 *
 * A member nobody knows is a mistake, never ignored: a test that says
 * "publsh" would otherwise always pass.  Names that belong to later versions
 * are refused for the same reason.
 *
 * The first step that goes otherwise ends the scenario, as those behind it
 * were written for another world.
 */
#include "cli/scenario.h"

#include <stdio.h>

#include "cli/show.h"
#include "cli/step.h"
#include "cli/when.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/config.h"
#include "core/handlers.h"

/* 2026-01-01T00:00:00Z: a test means the same on every day. */
#define START_US (INT64_C(1767225600) * MP_SECOND)

enum {
    ENV_MAX = 64,
    WRONG_MAX = 16 << 10,
    ACTUAL_MAX = 32 << 20, /* effects of one run, as JSON */
};

struct scene {
    const struct mp_function *fn;
    struct mp_solo solo;
    struct mp_pair env[ENV_MAX];
    struct mp_scenario *result;
};

/* ---- reading ---- */

struct mp_slice mp_scenario_about(const struct mp_value *file)
{
    return mp_value_text(mp_value_get(file, "about"));
}

/* Names of later versions; words ends with NULL. */
static int refuse_later(const struct mp_value *v, const char *const *words,
                        struct mp_why *why)
{
    for (; *words; words++) {
        if (mp_value_get(v, *words))
            return mp_why_set(why, MP_EPARSE,
                              "'%s' needs what this version doesn't have yet",
                              *words);
    }
    return 0;
}

static int check_file(const struct mp_value *file, struct mp_why *why)
{
    static const char *const later[] = {"state", "requests", "secrets", NULL};
    static const char *const words[] = {"about", "time", "env", "steps", NULL};
    const struct mp_value *steps = mp_value_get(file, "steps");
    int rc;

    if ((rc = refuse_later(file, later, why)) ||
        (rc = mp_step_members(file, "the test", words, why)))
        return rc;
    if (mp_value_get(file, "about") && !mp_scenario_about(file).ptr)
        return mp_why_set(why, MP_EPARSE, "about is not a string");
    if (!steps || steps->kind != MP_VALUE_LIST || !steps->n)
        return mp_why_set(why, MP_EPARSE, "steps is not a list of events");
    return 0;
}

static int read_env(struct scene *sc, const struct mp_value *env,
                    struct mp_why *why)
{
    int rc;

    if (!env)
        return 0;
    if (env->kind != MP_VALUE_OBJECT || env->n > ENV_MAX)
        return mp_why_set(why, MP_EPARSE,
                          "env is not an object of at most %d strings",
                          ENV_MAX);
    for (size_t i = 0; i < env->n; i++) {
        const struct mp_value *v = env->items[i];

        if (v->kind != MP_VALUE_STRING)
            return mp_why_set(why, MP_EPARSE, "env.%.*s is %s, not a string",
                              MP_FMT(mp_cut(v->name, 60)),
                              mp_value_kind_name(v));
        rc = mp_solo_env_check(sc->fn, v->name, why);
        if (rc)
            return rc;
        sc->env[i] = (struct mp_pair){v->name, v->text};
    }
    sc->solo.env = sc->env;
    sc->solo.n_env = (uint32_t)env->n;
    return 0;
}

static int read_clock(struct scene *sc, const struct mp_value *time,
                      struct mp_why *why)
{
    int rc;

    sc->solo.wall_us = START_US;
    if (!time)
        return 0;
    if (time->kind != MP_VALUE_STRING)
        return mp_why_set(why, MP_EPARSE, "time is %s, not a string",
                          mp_value_kind_name(time));
    rc = mp_when_parse(time->text, &sc->solo.wall_us, why);
    if (rc)
        mp_why_wrap(why, "time");
    else if (!sc->solo.wall_us)
        sc->solo.wall_us = 1; /* 0 would be the real clock */
    return rc;
}

/* "10m", or seconds. */
static int read_after(const struct mp_value *after, int64_t *us,
                      struct mp_why *why)
{
    const double most_s = 100 * 365 * 86400.0;
    int rc;

    *us = 0;
    if (!after)
        return 0;
    if (after->kind == MP_VALUE_STRING) {
        rc = mp_parse_duration(after->text, us, why);
        if (rc)
            mp_why_wrap(why, "after");
        return rc;
    }
    if ((after->kind != MP_VALUE_INT && after->kind != MP_VALUE_REAL) ||
        after->real < 0 || after->real > most_s)
        return mp_why_set(why, MP_EPARSE,
                          "after is a duration as \"10m\", or seconds");
    *us = (int64_t)(after->real * (double)MP_SECOND);
    return 0;
}

static int check_publish(const struct mp_value *list, struct mp_why *why)
{
    static const char *const words[] = {"kind",        "topic",      "data",
                                        "qos",         "retain",     "expiry",
                                        "data_base64", "properties", NULL};
    int rc;

    if (list->kind != MP_VALUE_LIST)
        return mp_why_set(why, MP_EPARSE, "expect.publish is %s, not a list",
                          mp_value_kind_name(list));
    for (size_t i = 0; i < list->n; i++) {
        rc = mp_step_members(list->items[i], "expect.publish", words, why);
        if (rc)
            return rc;
    }
    return 0;
}

static int check_outcome(const struct mp_value *outcome, struct mp_why *why)
{
    const char *words[MP_OUT_KINDS], *near;
    struct mp_slice text = mp_value_text(outcome);

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

static int check_expect(const struct mp_value *expect, struct mp_why *why)
{
    static const char *const later[] = {"skipped", "send",  "notify",
                                        "alarms",  "state", NULL};
    static const char *const words[] = {"outcome", "error", "status", "result",
                                        "publish", "log",   NULL};
    const struct mp_value *m;
    int rc;

    if ((rc = refuse_later(expect, later, why)) ||
        (rc = mp_step_members(expect, "expect", words, why)))
        return rc;
    if ((m = mp_value_get(expect, "outcome")) && (rc = check_outcome(m, why)))
        return rc;
    if ((m = mp_value_get(expect, "publish")) && (rc = check_publish(m, why)))
        return rc;
    if ((m = mp_value_get(expect, "error")) && m->kind != MP_VALUE_STRING)
        return mp_why_set(why, MP_EPARSE, "expect.error is not a string");
    m = mp_value_get(expect, "log");
    if (m && m->kind != MP_VALUE_LIST)
        return mp_why_set(why, MP_EPARSE, "expect.log is not a list of parts");
    for (size_t i = 0; m && i < m->n; i++) {
        if (m->items[i]->kind != MP_VALUE_STRING)
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
                         const struct mp_value *expect, struct mp_buf *diff)
{
    const struct mp_value *want = mp_value_get(expect, "outcome");
    struct mp_slice kind = want ? want->text : MP_S("ok");
    struct mp_slice error = mp_value_text(mp_value_get(expect, "error"));

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

/* Compare what was written as JSON. */
static bool same_value(const struct mp_value *want, struct mp_buf *actual,
                       const char *root, struct mp_buf *diff)
{
    struct mp_value_doc doc;
    struct mp_why why;
    bool same;

    if (actual->full || mp_value_parse(&doc, mp_buf_bytes(actual), &why)) {
        mp_buf_printf(diff, "%s: too large to be compared", root);
        return false;
    }
    same = mp_value_covers(want, doc.root, root, diff);
    mp_value_fini(&doc);
    return same;
}

static bool same_publish(const struct mp_outcome *out,
                         const struct mp_value *want, struct mp_buf *diff)
{
    struct mp_buf actual;
    bool same;

    mp_buf_init(&actual, ACTUAL_MAX);
    mp_show_effects(out, want, &actual);
    same = same_value(want, &actual, "publish", diff);
    mp_buf_fini(&actual);
    return same;
}

static bool same_result(const struct mp_outcome *out,
                        const struct mp_value *want, struct mp_buf *diff)
{
    struct mp_buf actual;
    bool same;

    mp_buf_init(&actual, ACTUAL_MAX);
    mp_show_result(out, want->kind != MP_VALUE_STRING, &actual);
    same = same_value(want, &actual, "result", diff);
    mp_buf_fini(&actual);
    return same;
}

/* Each part in a line of its own, in order; lines between don't matter.  An
 * empty list: there is no line. */
static bool same_log(const struct mp_outcome *out, const struct mp_value *want,
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

static bool same(const struct mp_outcome *out, const struct mp_value *expect,
                 struct mp_buf *diff)
{
    const struct mp_value *m;

    if (!same_outcome(out, expect, diff))
        return false;
    m = mp_value_get(expect, "status");
    if (m && (m->kind != MP_VALUE_INT || m->integer != out->status)) {
        mp_buf_printf(diff, "status: got %u", (unsigned)out->status);
        return false;
    }
    m = mp_value_get(expect, "result");
    if (m && !same_result(out, m, diff))
        return false;
    m = mp_value_get(expect, "publish");
    if (m && !same_publish(out, m, diff))
        return false;
    m = mp_value_get(expect, "log");
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

static int run_step(struct scene *sc, const struct mp_value *value,
                    struct mp_why *why)
{
    static const char *const besides[] = {"after", "expect", NULL};
    static const char *const later[] = {"requests", NULL};
    const struct mp_value *expect = mp_value_get(value, "expect");
    struct mp_step_defaults defaults = {0};
    struct mp_outcome out;
    struct mp_step step;
    struct mp_why bad;
    char id[24];
    int64_t after;
    int rc = 0;

    snprintf(id, sizeof id, "test-%u", sc->result->steps);
    if (refuse_later(value, later, &bad) ||
        read_after(mp_value_get(value, "after"), &after, &bad) ||
        (expect && check_expect(expect, &bad)))
        return wrong(sc, bad.text);
    sc->solo.wall_us += after;
    defaults.id = id;
    defaults.time_us = sc->solo.wall_us;
    if (mp_step_read(&step, sc->fn, value, &defaults, besides, &bad)) {
        wrong(sc, bad.text);
    } else {
        rc = mp_solo_run(&sc->solo, &step.event, &out, why);
        if (rc == 0)
            sc->result->ok = same(&out, expect, &sc->result->wrong);
    }
    mp_step_fini(&step);
    return rc;
}

static int run_steps(struct scene *sc, const struct mp_value *steps,
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

static int play(struct scene *sc, const struct mp_value *file,
                struct mp_why *why)
{
    struct first_mistake first = {.report = {.say = keep_first}};
    struct mp_loaded loaded;
    struct mp_why bad;
    int rc;

    if (check_file(file, &bad) ||
        read_env(sc, mp_value_get(file, "env"), &bad) ||
        read_clock(sc, mp_value_get(file, "time"), &bad))
        return wrong(sc, bad.text);
    rc = mp_solo_load(&sc->solo, sc->fn, &loaded, why);
    if (rc)
        return rc;
    mp_handlers_check(sc->fn, &loaded, &first.report);
    if (first.report.mistakes)
        return wrong(sc, first.text);
    return run_steps(sc, mp_value_get(file, "steps"), why);
}

int mp_scenario_run(struct mp_scenario *result, const struct mp_function *fn,
                    const struct mp_value *file, struct mp_why *why)
{
    struct scene sc = {.fn = fn, .result = result};
    int64_t started = mp_now_us();
    int rc;

    *result = (struct mp_scenario){.ok = true};
    mp_buf_init(&result->wrong, WRONG_MAX);
    mp_solo_init(&sc.solo);
    sc.solo.node = "test";
    rc = play(&sc, file, why);
    mp_solo_fini(&sc.solo);
    result->took_us = mp_now_us() - started;
    return rc;
}

void mp_scenario_fini(struct mp_scenario *result)
{
    mp_buf_fini(&result->wrong);
}
