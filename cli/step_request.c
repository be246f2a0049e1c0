/*
 * step_request.c - requests: which trigger answers a method and a path.
 *
 * What peers send is percent-encoded, and so is a target on the command line;
 * the members of an event are as functions see them, decoded.
 */
#include <stdlib.h>

#include "cli/step_impl.h"
#include "core/base/text.h"
#include "core/base/utf8.h"
#include "core/endpoint.h"

/* ---- targets ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Append what s means; room is there.  form: + is a blank. */
static int put_decoded(struct mp_buf *b, struct mp_slice s, bool form,
                       struct mp_slice *text)
{
    size_t from = b->len;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (c == '%') {
            if (s.len - i < 3 || hex(s.ptr[i + 1]) < 0 || hex(s.ptr[i + 2]) < 0)
                return MP_EPARSE;
            c = (char)(hex(s.ptr[i + 1]) << 4 | hex(s.ptr[i + 2]));
            i += 2;
        } else if (c == '+' && form) {
            c = ' ';
        }
        mp_buf_put(b, &c, 1);
    }
    *text = mp_slice(b->ptr + from, b->len - from);
    return 0;
}

static int put_query(struct mp_step *step, struct mp_slice query)
{
    struct mp_event *e = &step->event;
    struct mp_slice part;

    e->n_query = 0;
    e->query = step->query;
    while (query.len && mp_split(&query, '&', &part)) {
        struct mp_pair *p = &step->query[e->n_query];
        struct mp_slice name;

        if (e->n_query++ == MP_PAIRS_MAX)
            return MP_ERANGE;
        if (!mp_split(&part, '=', &name))
            name = MP_S("");
        if (put_decoded(&step->target, name, true, &p->name) ||
            put_decoded(&step->target, part, true, &p->value))
            return MP_EPARSE;
    }
    return 0;
}

int mp_step_target(struct mp_step *step, struct mp_slice target,
                   struct mp_why *why)
{
    struct mp_event *e = &step->event;
    struct mp_slice rest = target, word, path;
    int rc;

    e->topic = e->method = mp_slice(NULL, 0);
    if (rest.len && rest.ptr[0] != '/' && mp_split(&rest, ' ', &word)) {
        e->method = word;
        rest = mp_trim(rest);
    }
    if (!rest.len || rest.ptr[0] != '/' ||
        !mp_buf_room(&step->target, rest.len + 1))
        return mp_why_set(why, MP_EPARSE,
                          "path '%.*s' is not written \"PUT /x\"",
                          MP_FMT(mp_cut(target, 120)));
    mp_split(&rest, '?', &path);
    rc = put_decoded(&step->target, path, false, &e->path);
    if (rc == 0)
        rc = put_query(step, rest);
    if (rc == MP_ERANGE)
        return mp_why_set(why, rc, "more than %d names in the query",
                          MP_PAIRS_MAX);
    if (rc)
        return mp_why_set(why, rc, "path '%.*s': %% is followed by two digits",
                          MP_FMT(mp_cut(target, 120)));
    return 0;
}

int mp_step_query(struct mp_step *step, struct mp_why *why)
{
    struct mp_event *e = &step->event;
    struct mp_slice rest = e->path, path;
    int rc;

    if (!mp_has(rest, '?'))
        return 0;
    mp_split(&rest, '?', &path);
    if (!mp_buf_room(&step->target, rest.len + 1))
        return mp_why_set(why, MP_ERANGE, "the query is too long");
    rc = put_query(step, rest);
    if (rc == MP_ERANGE)
        return mp_why_set(why, rc, "more than %d names in the query",
                          MP_PAIRS_MAX);
    if (rc)
        return mp_why_set(why, rc, "query '%.*s': %% is followed by two digits",
                          MP_FMT(mp_cut(rest, 120)));
    e->path = path;
    return 0;
}

/* ---- which trigger ---- */

static bool answers(const struct mp_trigger *t)
{
    return t->kind == MP_TRIGGER_COAP || t->kind == MP_TRIGGER_HTTP;
}

/* The one that is named, else the first; NULL: there is none. */
static const struct mp_trigger *meant(const struct mp_step *step,
                                      const struct mp_function *fn)
{
    if (step->event.trigger.ptr)
        return mp_function_trigger(fn, step->event.trigger);
    return fn->n_triggers ? &fn->triggers[0] : NULL;
}

bool mp_step_is_request(const struct mp_step *step,
                        const struct mp_function *fn)
{
    const struct mp_event *e = &step->event;
    const struct mp_trigger *t;

    if (e->path.ptr || e->method.ptr || e->type == MP_EVENT_COAP ||
        e->type == MP_EVENT_HTTP)
        return true;
    t = meant(step, fn);
    return !e->topic.ptr && t && answers(t);
}

static enum mp_event_type type_of(enum mp_trigger_kind kind)
{
    return kind == MP_TRIGGER_COAP ? MP_EVENT_COAP : MP_EVENT_HTTP;
}

/* May this trigger be the one, by name and type? */
static bool is_asked(const struct mp_step *step, const struct mp_trigger *t)
{
    const struct mp_event *e = &step->event;

    return answers(t) &&
           (!e->trigger.ptr || mp_slice_is(e->trigger, t->name)) &&
           (!step->typed || e->type == type_of(t->kind));
}

/* All that may answer, best first; id is the trigger's number. */
static unsigned list_endpoints(const struct mp_step *step,
                               const struct mp_function *fn,
                               struct mp_endpoint *list)
{
    unsigned n = 0;

    for (unsigned i = 0; i < fn->n_triggers; i++) {
        const struct mp_trigger *t = &fn->triggers[i];

        if (is_asked(step, t) && t->n_patterns)
            list[n++] = (struct mp_endpoint){.kind = t->kind,
                                             .id = i,
                                             .methods = t->methods,
                                             .pattern = &t->patterns[0]};
    }
    mp_endpoints_sort(list, n);
    return n;
}

/* A path for who gave none: the pattern itself, if it is one. */
static int invent_path(struct mp_step *step, const struct mp_function *fn,
                       struct mp_why *why)
{
    const struct mp_trigger *t = meant(step, fn);
    const struct mp_pattern *p;

    if (!t || !answers(t))
        return mp_why_set(why, MP_ENONE,
                          "say which path was asked for: --path \"PUT /x\", or "
                          "method and path in the event");
    p = &t->patterns[0];
    for (unsigned i = 0; i < p->n_levels; i++)
        if (p->levels[i].kind != MP_LEVEL_LITERAL)
            return mp_why_set(why, MP_ENONE,
                              "trigger '%s' answers many paths (%s); say which "
                              "one: --path \"PUT /x\", or method and path in "
                              "the event",
                              t->name, p->text);
    step->event.path = mp_slice_str(p->text);
    return 0;
}

/* What transports answer with 400. */
static int check_path(struct mp_slice path, struct mp_why *why)
{
    const char *wrong = NULL;

    if (!path.len || path.ptr[0] != '/')
        wrong = "doesn't begin with /";
    else if (path.len > MP_TOPIC_MAX)
        wrong = "is too long";
    else if (!mp_utf8_valid(path))
        wrong = "is not UTF-8";
    for (size_t i = 0; i < path.len && !wrong; i++)
        if ((unsigned char)path.ptr[i] < ' ' || path.ptr[i] == 0x7f ||
            path.ptr[i] == '+' || path.ptr[i] == '#')
            wrong = "has a +, a # or a control byte, which nobody answers";
    if (!wrong)
        return 0;
    return mp_why_set(why, MP_EPARSE, "path '%.*s' %s",
                      MP_FMT(mp_cut(path, 120)), wrong);
}

/* The names of these methods, for a sentence. */
static void put_methods(unsigned methods, struct mp_buf *b)
{
    for (unsigned m = 0; m < MP_METHODS; m++)
        if (methods >> m & 1)
            mp_buf_printf(b, "%s%s", b->len ? ", " : "",
                          mp_method_name((enum mp_method)m));
    mp_buf_put(b, "", 1);
}

/* The one that is given; none: the first that is answered at this path. */
static enum mp_method method_of(const struct mp_event *e,
                                const struct mp_endpoint *list, unsigned n)
{
    unsigned allowed, m = 0;

    if (e->method.ptr) {
        while (m < MP_METHODS &&
               !mp_slice_is(e->method, mp_method_name((enum mp_method)m)))
            m++;
        return (enum mp_method)m;
    }
    (void)mp_endpoint_find(list, n, MP_METHODS, e->path, &allowed);
    while (m < MP_METHODS && !(allowed >> m & 1))
        m++;
    return (enum mp_method)m;
}

static int nobody(const struct mp_event *e, unsigned allowed,
                  struct mp_why *why)
{
    char text[128];
    struct mp_buf methods;

    mp_buf_init(&methods, sizeof text);
    put_methods(allowed, &methods);
    mp_why_set(why, MP_ENONE, "%.*s%s'%.*s' is answered by no trigger%s%s%s",
               MP_FMT(mp_cut(e->method, 20)), e->method.len ? " " : "",
               MP_FMT(mp_cut(e->path, 120)), allowed ? " (only " : "",
               allowed ? methods.ptr : "", allowed ? ")" : "");
    mp_buf_fini(&methods);
    return MP_ENONE;
}

static int check_headers(struct mp_step *step, struct mp_why *why)
{
    struct mp_event *e = &step->event;

    for (uint32_t i = 0; i < e->n_headers; i++) {
        struct mp_slice name = e->headers[i].name;

        for (size_t k = 0; k < name.len; k++)
            if (name.ptr[k] >= 'A' && name.ptr[k] <= 'Z')
                return mp_why_set(why, MP_EPARSE,
                                  "headers.%.*s: names of headers are in lower "
                                  "case",
                                  MP_FMT(mp_cut(name, 60)));
        if (mp_slice_is(name, "content-type") && !e->datacontenttype.ptr)
            e->datacontenttype = e->headers[i].value;
    }
    return 0;
}

int mp_step_request(struct mp_step *step, const struct mp_function *fn,
                    struct mp_why *why)
{
    struct mp_endpoint *list = mp_alloc((fn->n_triggers + 1) * sizeof *list);
    unsigned n = list_endpoints(step, fn, list), allowed = 0;
    struct mp_event *e = &step->event;
    const struct mp_endpoint *found;
    const struct mp_trigger *t;
    enum mp_method method;
    int rc = 0;

    if (e->trigger.ptr && !mp_function_trigger(fn, e->trigger)) {
        mp_step_no_trigger(fn, e->trigger, why);
        rc = MP_ENONE;
    }
    if (!rc && !e->path.ptr)
        rc = invent_path(step, fn, why);
    if (!rc)
        rc = check_path(e->path, why);
    if (!rc)
        rc = check_headers(step, why);
    if (rc) {
        free(list);
        return rc;
    }
    method = method_of(e, list, n);
    found = mp_endpoint_find(list, n, method, e->path, &allowed);
    t = found ? &fn->triggers[found->id] : NULL;
    free(list);
    if (!t)
        return nobody(e, allowed, why);
    MP_ASSERT(
        mp_pattern_match(&t->patterns[0], e->path, step->params, &e->n_params));
    if (!mp_step_wanted(step, t))
        return mp_why_set(why, MP_EDENY, "skipped by %s", step->skipped);
    e->type = type_of(t->kind);
    e->method = mp_slice_str(mp_method_name(method));
    e->subject = e->path;
    e->topic = mp_slice(NULL, 0);
    e->qos = 0;
    if (!e->peer.ptr)
        e->peer = MP_S("127.0.0.1");
    if (!e->source.ptr)
        e->source = e->type == MP_EVENT_COAP ? MP_S("coap://127.0.0.1:40000")
                                             : MP_S("http://127.0.0.1:40000");
    return mp_step_take_in(step, fn, t, why);
}
