/*
 * function_trigger.c - what the keys of a trigger say together.
 *
 * A trigger is of one kind.  Each key has its kinds (refuse_others); what is
 * left are rules between two keys, each with a sentence of its own.
 */
#include "core/function_trigger.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/hash.h"
#include "core/base/text.h"
#include "core/endpoint.h"
#include "core/request_line.h"
#include "core/stream.h"

/* What transports/coap.c puts together of blocks; 64K as it is written. */
enum { COAP_PAYLOAD_MAX = 64 << 10 };

enum { VALUE_SHOWN = 100 };

/* A value as it is repeated in a message: "%.*s". */
static struct mp_slice shown_of(const struct mp_given *g)
{
    return mp_cut(mp_slice_str(g->text), VALUE_SHOWN);
}

static const char *const kinds[] = {"mqtt",  "coap", "http",
                                    "every", "cron", "board"};

void mp_trigger_said_fini(struct mp_trigger_said *said)
{
    free(said->answered);
}

static bool is_request(const struct mp_trigger *t)
{
    return t->kind == MP_TRIGGER_COAP || t->kind == MP_TRIGGER_HTTP;
}

static bool is_timer(const struct mp_trigger *t)
{
    return t->kind == MP_TRIGGER_EVERY || t->kind == MP_TRIGGER_CRON;
}

const char *mp_trigger_shown(const struct mp_trigger *t,
                             const struct mp_trigger_said *said,
                             unsigned pattern, char text[128])
{
    const char *written =
        said->answered ? said->answered : t->patterns[pattern].text;

    snprintf(text, 128, "%s = %.*s", kinds[t->kind],
             MP_FMT(mp_cut(mp_slice_str(written), VALUE_SHOWN)));
    return text;
}

/* ---- which of them ---- */

/* Which of the six it has; all but one are mistakes.  False: none. */
static bool take_kind(const struct mp_keys *keys,
                      const struct mp_ini_section *s, struct mp_trigger *t)
{
    const struct mp_given *first = NULL;

    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        const struct mp_given *g = mp_keys_given(keys, "trigger", kinds[i]);

        if (!g->file)
            continue;
        if (!first) {
            first = g;
            t->kind = (enum mp_trigger_kind)i;
            continue;
        }
        mp_report_mistake(keys->report, keys->file, g->line,
                          "a trigger has one of mqtt, coap, http, every, cron "
                          "and board; %s is in line %u already",
                          kinds[t->kind], first->line);
    }
    if (first)
        return true;
    mp_report_mistake(keys->report, keys->file, s->line,
                      "[trigger%s%s] says nothing that runs it, as in mqtt = "
                      "sensors/{device}/env",
                      *s->name ? " " : "", s->name);
    return false;
}

/* What only other kinds of triggers have. */
static void refuse_others(const struct mp_keys *keys,
                          const struct mp_trigger *t)
{
    enum {
        MQTT = 1U << MP_TRIGGER_MQTT,
        COAP = 1U << MP_TRIGGER_COAP,
        ANSWERS = COAP | 1U << MP_TRIGGER_HTTP,
        MESSAGES = MQTT | ANSWERS,
        TIMERS = 1U << MP_TRIGGER_EVERY | 1U << MP_TRIGGER_CRON,
    };
    static const char answers[] = "coap and http", timers[] = "every and cron",
                      messages[] = "mqtt, coap and http";
    static const struct {
        const char *key;
        unsigned kinds; /* bits */
        const char *whose;
    } all[] = {
        {"at_start", 1U << MP_TRIGGER_EVERY, "every"},
        {"timezone", 1U << MP_TRIGGER_CRON, "cron"},
        {"jitter", TIMERS, timers},
        {"missed", TIMERS, timers},
        {"qos", MQTT, "mqtt"},
        {"share", MQTT, "mqtt"},
        {"retained", MQTT, "mqtt"},
        {"lane", MQTT, "mqtt"},
        {"observe", COAP, "coap"},
        {"async", ANSWERS, answers},
        {"auth", ANSWERS, answers},
        {"format", MESSAGES, messages},
        {"max_payload", MESSAGES, messages},
        {"max_age", MESSAGES, messages},
        {"dedupe", MESSAGES, messages},
        {"filter", MESSAGES, messages},
        {"deadband", MESSAGES, messages},
        {"throttle", MESSAGES, messages},
        {"coalesce", MESSAGES, messages},
        {"batch", MESSAGES, messages},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        const struct mp_given *g = mp_keys_given(keys, "trigger", all[i].key);

        if (g->file && !(all[i].kinds & 1U << t->kind))
            mp_report_mistake(keys->report, keys->file, g->line,
                              "%s is for %s triggers; this one is %s",
                              all[i].key, all[i].whose, kinds[t->kind]);
    }
}

static void name_trigger(const struct mp_function *fn,
                         const struct mp_keys *keys,
                         const struct mp_ini_section *s, struct mp_trigger *t)
{
    const char *name = *s->name ? s->name : kinds[t->kind];
    const struct mp_trigger *other =
        mp_function_trigger(fn, mp_slice_str(name));
    struct mp_why why;

    if (mp_check_trigger(mp_slice_str(name), &why)) {
        mp_report_mistake(keys->report, keys->file, s->line, "[trigger %s]: %s",
                          name, why.text);
        name = ""; /* what is told of it from here on would only repeat */
    } else if (other) {
        mp_report_mistake(keys->report, keys->file, s->line,
                          "two triggers are named '%s'; the first is in line "
                          "%u",
                          name, other->line);
    }
    snprintf(t->name, sizeof t->name, "%s", name);
}

/* ---- patterns ---- */

static bool same_names(const struct mp_pattern *a, const struct mp_pattern *b)
{
    for (unsigned i = 0; i < a->n_levels; i++) {
        if (a->levels[i].kind != MP_LEVEL_LITERAL && a->levels[i].text.len &&
            !mp_pattern_binds(b, a->levels[i].text))
            return false;
    }
    return true;
}

static void take_topics(const struct mp_keys *keys, struct mp_trigger *t)
{
    const struct mp_given *mqtt = mp_keys_given(keys, "trigger", "mqtt");
    struct mp_why why;

    t->patterns = mp_zalloc(mqtt->n_items * sizeof *t->patterns);
    for (unsigned i = 0; i < mqtt->n_items; i++) {
        const struct mp_item *item = &mqtt->items[i];
        struct mp_pattern *p = &t->patterns[i];

        MP_ASSERT(mp_pattern_parse(p, mp_slice_str(item->text), &why) == 0);
        t->n_patterns++;
        if (same_names(&t->patterns[0], p) && same_names(p, &t->patterns[0]))
            continue;
        mp_report_mistake(keys->report, keys->file, item->line,
                          "%s and %s bind different names; all patterns of a "
                          "trigger bind the same",
                          t->patterns[0].text, p->text);
    }
}

/* ---- coap, http ---- */

/* Its first level. */
static bool is_below(const struct mp_trigger *t, const char *name)
{
    const struct mp_pattern *p = &t->patterns[0];

    return p->n_levels >= 2 && p->levels[1].kind == MP_LEVEL_LITERAL &&
           mp_slice_is(p->levels[1].text, name);
}

/* /results/{id} is the host's: answers of asynchronous requests.  Over CoAP it
 * answers each method there. */
static bool is_results(const struct mp_trigger *t)
{
    const struct mp_pattern *p = &t->patterns[0];

    return (t->kind == MP_TRIGGER_COAP || t->methods & 1U << MP_GET) &&
           is_below(t, "results") && p->n_levels >= 3 &&
           (p->n_levels == 3 || p->levels[2].kind == MP_LEVEL_REST);
}

static void check_payload(const struct mp_keys *keys,
                          const struct mp_trigger *t)
{
    const struct mp_given *g = mp_keys_given(keys, "trigger", "max_payload");

    if (t->kind == MP_TRIGGER_COAP && t->max_payload > COAP_PAYLOAD_MAX)
        mp_report_mistake(keys->report, keys->file, g->line,
                          "max_payload = %s: over CoAP 64K at most", g->text);
}

/* A key that isn't right was told at its line: then there is no pattern. */
static void take_request(const struct mp_keys *keys, struct mp_trigger *t)
{
    const struct mp_given *g = mp_keys_given(keys, "trigger", kinds[t->kind]);
    struct mp_pattern p;
    struct mp_why why;

    if (mp_request_line(mp_slice_str(g->text), t->kind, &t->methods, &p, &why))
        return;
    t->patterns = mp_alloc(sizeof *t->patterns);
    t->patterns[0] = p;
    t->n_patterns = 1;
    if (is_results(t))
        mp_report_mistake(keys->report, keys->file, g->line,
                          "%s = %.*s: %s/results/{id} is the host's own "
                          "(answers of asynchronous requests); use another "
                          "path",
                          kinds[t->kind], MP_FMT(shown_of(g)),
                          t->kind == MP_TRIGGER_HTTP ? "GET " : "");
    if (t->kind == MP_TRIGGER_COAP && is_below(t, ".well-known"))
        mp_report_mistake(keys->report, keys->file, g->line,
                          "coap = %.*s: what is below /.well-known is the "
                          "host's own (which paths are answered); use another "
                          "path",
                          MP_FMT(shown_of(g)));
}

static void take_auth(const struct mp_keys *keys, struct mp_trigger *t)
{
    const struct mp_given *g = mp_keys_given(keys, "trigger", "auth");
    bool dtls;
    struct mp_why why;

    if (!g->file || mp_auth_line(mp_slice_str(g->text), &t->auth, &t->secret,
                                 &t->header, &why))
        return; /* told at its line */
    dtls = t->auth == MP_AUTH_DTLS;
    if (t->auth != MP_AUTH_NONE && dtls != (t->kind == MP_TRIGGER_COAP))
        mp_report_mistake(keys->report, keys->file, g->line,
                          "auth = %.*s: %s triggers have none%s",
                          MP_FMT(shown_of(g)), kinds[t->kind],
                          dtls ? ", token NAME or hmac NAME HEADER"
                               : " or dtls");
}

static void take_switches(const struct mp_keys *keys, struct mp_trigger *t)
{
    const struct mp_given *observe = mp_keys_given(keys, "trigger", "observe");

    /* What is answered at once is the client's to repeat; what it was told to
     * be accepted must not get lost. */
    t->qos = t->async;
    t->retained = false;
    if (t->kind != MP_TRIGGER_COAP || !t->observe || !t->n_patterns)
        return;
    if (!(t->methods & 1U << MP_GET))
        mp_report_mistake(
            keys->report, keys->file, observe->line,
            "observe = yes: it is GET that is observed, as in "
            "coap = GET %.*s",
            MP_FMT(mp_cut(mp_slice_str(t->patterns[0].text), VALUE_SHOWN)));
    if (t->async)
        mp_report_mistake(keys->report, keys->file, observe->line,
                          "observe = yes: not with async; observers get the "
                          "value itself");
}

/* ---- every, cron ---- */

/* How a timer is written: other words, other runs. */
static uint64_t digest_of(const struct mp_keys *keys,
                          const struct mp_trigger *t)
{
    static const struct mp_hash_key plain = {UINT64_C(0x7768656e), 1};
    const struct mp_given *cron = mp_keys_given(keys, "trigger", "cron");
    struct mp_hasher hasher;

    mp_hasher_init(&hasher, &plain);
    mp_hasher_add_u64(&hasher, (uint64_t)t->every_us);
    mp_hasher_add(&hasher, mp_slice_str(cron->text ? cron->text : ""));
    mp_hasher_add(&hasher, mp_slice_str(t->timezone ? t->timezone : ""));
    return mp_hasher_end(&hasher).lo;
}

static void take_times(const struct mp_keys *keys, struct mp_trigger *t)
{
    const struct mp_given *cron = mp_keys_given(keys, "trigger", "cron");
    const struct mp_given *jitter = mp_keys_given(keys, "trigger", "jitter");
    struct mp_why why;

    if (t->kind == MP_TRIGGER_EVERY && t->jitter_us > t->every_us)
        mp_report_warning(keys->report, keys->file, jitter->line,
                          "jitter = %s is longer than every", jitter->text);
    if (t->kind == MP_TRIGGER_CRON && cron->text)
        (void)!mp_cron_parse(&t->cron, mp_slice_str(cron->text), &why);
    t->when = digest_of(keys, t);
    t->qos = t->missed != MP_MISSED_SKIP;
    t->retained = false;
}

/* ---- stream lines ---- */

static const struct mp_given *given_line(const struct mp_keys *keys,
                                         enum mp_stream_line line)
{
    return mp_keys_given(keys, "trigger", mp_stream_line_name(line));
}

/* False: a line is bad, and t has none of them any more. */
static bool take_line(const struct mp_keys *keys, struct mp_trigger *t,
                      enum mp_stream_line line)
{
    const struct mp_given *g = given_line(keys, line);
    struct mp_why why;

    if (g->n_items > 1 && line != MP_LINE_FILTER) {
        mp_report_mistake(keys->report, keys->file, g->items[1].line,
                          "%s is given twice; the first is in line %u",
                          mp_stream_line_name(line), g->items[0].line);
        return false;
    }
    for (unsigned i = 0; i < g->n_items; i++) {
        struct mp_slice value = mp_slice_str(g->items[i].text);

        if (!t->lines)
            t->lines = mp_stream_lines_new();
        if (mp_stream_lines_add(t->lines, line, value, &why)) {
            mp_keys_bad(keys, g, &g->items[i], &why);
            return false;
        }
    }
    return true;
}

/* The names of a line are the pattern's. */
static void check_names(const struct mp_keys *keys, const struct mp_trigger *t,
                        const struct mp_trigger_said *said,
                        enum mp_stream_line line)
{
    struct mp_slice name;
    char shown[128];

    for (unsigned n = 0; (name = mp_stream_lines_param(t->lines, line, n)).ptr;
         n++) {
        unsigned k = 0;

        while (k < t->n_patterns && mp_pattern_binds(&t->patterns[k], name))
            k++;
        if (k < t->n_patterns)
            mp_report_mistake(
                keys->report, keys->file, given_line(keys, line)->line,
                "{%.*s} in %s is not bound by %s", MP_FMT(name),
                mp_stream_line_name(line), mp_trigger_shown(t, said, k, shown));
    }
}

/* Fields are of payloads that have some. */
static void check_format(const struct mp_keys *keys, const struct mp_trigger *t)
{
    if ((t->format == MP_FORMAT_TEXT || t->format == MP_FORMAT_BYTES) &&
        mp_stream_lines_read_fields(t->lines))
        mp_report_mistake(keys->report, keys->file,
                          mp_keys_given(keys, "trigger", "format")->line,
                          "format = %s: such a payload has no fields for the "
                          "stream lines of this trigger; there is only data, "
                          "the whole of it",
                          mp_keys_given(keys, "trigger", "format")->text);
}

static void check_windows(const struct mp_keys *keys,
                          const struct mp_trigger *t)
{
    if (!is_request(t) || t->async)
        return;
    for (int line = MP_LINE_COALESCE; line <= MP_LINE_BATCH; line++)
        if (mp_stream_lines_has(t->lines, line))
            mp_report_mistake(keys->report, keys->file,
                              given_line(keys, line)->line,
                              "%s needs async = yes: who sends a request "
                              "waits for its own answer",
                              mp_stream_line_name(line));
}

static void take_lines(const struct mp_keys *keys, struct mp_trigger *t,
                       const struct mp_trigger_said *said)
{
    bool fine = true;

    for (int line = 0; line < MP_STREAM_LINES; line++)
        fine &= take_line(keys, t, line);
    if (!t->lines)
        return;
    if (!fine) { /* they can only be freed */
        mp_stream_lines_free(t->lines);
        t->lines = NULL;
        return;
    }
    for (int line = 0; line < MP_STREAM_LINES; line++)
        check_names(keys, t, said, line);
    check_format(keys, t);
    check_windows(keys, t);
}

/* ---- the whole ---- */

static void keep_said(const struct mp_keys *keys, const struct mp_trigger *t,
                      struct mp_trigger_said *said)
{
    const struct mp_given *g = mp_keys_given(keys, "trigger", kinds[t->kind]);

    said->retained = mp_keys_given(keys, "trigger", "retained")->file != NULL;
    said->auth = mp_keys_given(keys, "trigger", "auth")->line;
    if (is_request(t))
        said->answered = mp_strndup(g->text, strlen(g->text));
}

void mp_trigger_take(struct mp_function *fn, struct mp_trigger_said *said,
                     const struct mp_keys *keys, const struct mp_ini_section *s)
{
    struct mp_trigger *t = &fn->triggers[fn->n_triggers];

    if (take_kind(keys, s, t)) {
        name_trigger(fn, keys, s, t);
        keep_said(keys, t, said);
        refuse_others(keys, t);
        if (t->kind == MP_TRIGGER_MQTT)
            take_topics(keys, t);
        if (is_timer(t))
            take_times(keys, t);
        if (is_request(t)) {
            take_request(keys, t);
            take_auth(keys, t);
            take_switches(keys, t);
            check_payload(keys, t);
        }
        if (!is_timer(t))
            take_lines(keys, t, said);
    }
    fn->n_triggers++;
}

/* ---- beside others ---- */

static void check_granted(const struct mp_function *fn,
                          const struct mp_trigger *t, unsigned line,
                          const struct mp_keys *keys)
{
    for (unsigned i = 0; i < fn->n_secrets; i++)
        if (mp_slice_is(fn->secrets[i], t->secret))
            return;
    mp_report_mistake(keys->report, keys->file, line,
                      "auth of trigger '%s' needs secret %s, which is not "
                      "granted; put secret = %s in [grant]",
                      t->name, t->secret, t->secret);
}

static struct mp_endpoint endpoint_of(const struct mp_trigger *t)
{
    return (struct mp_endpoint){
        .kind = t->kind, .methods = t->methods, .pattern = &t->patterns[0]};
}

static void check_clash(const struct mp_function *fn, unsigned at,
                        const struct mp_trigger_said *said,
                        const struct mp_keys *keys)
{
    const struct mp_trigger *t = &fn->triggers[at];
    struct mp_endpoint mine = endpoint_of(t);
    char shown[128];

    for (unsigned i = 0; i < at; i++) {
        const struct mp_trigger *other = &fn->triggers[i];
        struct mp_endpoint theirs;

        if (!is_request(other) || !other->n_patterns)
            continue;
        theirs = endpoint_of(other);
        if (!mp_endpoint_clashes(&mine, &theirs))
            continue;
        mp_report_mistake(keys->report, keys->file, t->line,
                          "trigger '%s' (%s) answers what '%s' in line %u "
                          "does; one trigger answers a method and path",
                          t->name, mp_trigger_shown(t, &said[at], 0, shown),
                          other->name, other->line);
        return;
    }
}

void mp_triggers_check(const struct mp_function *fn,
                       const struct mp_trigger_said *said,
                       const struct mp_keys *keys)
{
    for (unsigned i = 0; i < fn->n_triggers; i++) {
        const struct mp_trigger *t = &fn->triggers[i];

        if (t->secret)
            check_granted(fn, t, said[i].auth, keys);
        if (is_request(t) && t->n_patterns)
            check_clash(fn, i, said, keys);
    }
}
