/*
 * stream_lines.c - the values of filter, deadband, throttle, coalesce and
 * batch, taken apart.
 *
 * Each is some words of its own, and then parts that begin with a word, in
 * any order: per T, within D, every D.
 */
#include <math.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/text.h"
#include "core/config.h"
#include "core/keys.h"
#include "core/stream.h"

struct line {
    struct mp_stream_lines *l;
    enum mp_stream_line which;
    struct mp_slice text;
    size_t at;
    struct mp_why *why;
};

struct mp_stream_lines *mp_stream_lines_new(void)
{
    struct mp_stream_lines *l = mp_zalloc(sizeof *l);

    mp_fields_init(&l->fields);
    mp_expr_init(&l->filter);
    return l;
}

void mp_stream_lines_free(struct mp_stream_lines *l)
{
    if (!l)
        return;
    for (int i = 0; i < MP_STREAM_LINES; i++)
        free(l->texts[i]);
    free(l);
}

/* ---- words ---- */

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static void blanks(struct line *p)
{
    while (p->at < p->text.len && blank(p->text.ptr[p->at]))
        p->at++;
}

/* What stands up to the next blank; empty: the end. */
static struct mp_slice take_word(struct line *p)
{
    size_t from;

    blanks(p);
    for (from = p->at; p->at < p->text.len && !blank(p->text.ptr[p->at]);)
        p->at++;
    return mp_slice(p->text.ptr + from, p->at - from);
}

/* A template ends at a blank, but not inside { }. */
static struct mp_slice take_template(struct line *p)
{
    bool inside = false;
    size_t from;

    blanks(p);
    for (from = p->at; p->at < p->text.len; p->at++) {
        char c = p->text.ptr[p->at];

        if (!inside && blank(c))
            break;
        inside = c == '{' || (inside && c != '}');
    }
    return mp_slice(p->text.ptr + from, p->at - from);
}

/* ---- per T, within D, every D ---- */

static const char *const *words_of(enum mp_stream_line which, size_t *n)
{
    static const char *const band[] = {"per", "every"},
                             *const throttle[] = {"per"},
                             *const window[] = {"per", "within"};

    *n = which == MP_LINE_THROTTLE ? 1 : 2;
    return which == MP_LINE_DEADBAND   ? band
           : which == MP_LINE_THROTTLE ? throttle
                                       : window;
}

static int unknown(struct line *p, struct mp_slice word)
{
    size_t n;
    const char *const *words = words_of(p->which, &n);
    const char *near = mp_nearest(word, words, n);

    return mp_why_set(
        p->why, MP_EPARSE, "expected %s%s%s%s, found '%.*s'%s%s%s", words[0],
        n > 1 ? ", " : "", n > 1 ? words[1] : "", " or the end",
        MP_FMT(mp_cut(word, MP_FIELD_PATH_MAX)), near ? "; did you mean '" : "",
        near ? near : "", near ? "'?" : "");
}

static int per(struct line *p)
{
    struct mp_template *t = &p->l->per[p->which];
    struct mp_slice text = take_template(p);
    int rc;

    if (t->n)
        return mp_why_set(p->why, MP_EPARSE, "per stands there twice");
    if (!text.len)
        return mp_why_set(p->why, MP_EPARSE,
                          "per needs a template, as in per {device}");
    if (!memchr(text.ptr, '{', text.len))
        return mp_why_set(
            p->why, MP_EPARSE,
            "per %.*s names nothing of the event; write per {%.*s}",
            MP_FMT(mp_cut(text, MP_NAME_MAX)),
            MP_FMT(mp_cut(text, MP_NAME_MAX)));
    rc = mp_template_parse(t, text, &p->l->fields, p->why);
    if (rc)
        mp_why_wrap(p->why, "per %.*s", MP_FMT(mp_cut(text, MP_NAME_MAX)));
    return rc;
}

static int duration(struct line *p, const char *word, int64_t *us)
{
    struct mp_slice text = take_word(p);
    int rc;

    if (*us)
        return mp_why_set(p->why, MP_EPARSE, "%s stands there twice", word);
    if (!text.len)
        return mp_why_set(p->why, MP_EPARSE,
                          "%s needs a duration, as in %s 200ms", word, word);
    rc = mp_parse_duration(text, us, p->why);
    if (!rc && !*us)
        rc = mp_why_set(p->why, MP_ERANGE, "longer than 0, as in %s 200ms",
                        word);
    if (rc)
        mp_why_wrap(p->why, "%s %.*s", word, MP_FMT(mp_cut(text, MP_NAME_MAX)));
    return rc;
}

/* The rest of a line; us: where its duration goes. */
static int parts(struct line *p, int64_t *us)
{
    struct mp_slice word;
    int rc = 0;

    while (!rc && (word = take_word(p)).len) {
        if (mp_slice_is(word, "per"))
            rc = per(p);
        else if (mp_slice_is(word, "every") && p->which == MP_LINE_DEADBAND)
            rc = duration(p, "every", us);
        else if (mp_slice_is(word, "within") && p->which >= MP_LINE_COALESCE)
            rc = duration(p, "within", us);
        else
            rc = unknown(p, word);
    }
    return rc;
}

static int window(struct line *p, int64_t *us)
{
    int rc = parts(p, us);

    if (!rc && !*us)
        rc = mp_why_set(p->why, MP_EPARSE,
                        "says not how long; put 'within' and a duration "
                        "behind it, as in within 200ms");
    return rc;
}

/* ---- the lines ---- */

static int step(struct line *p, struct mp_deadband_field *f)
{
    struct mp_json_number number = {.real = -1};
    struct mp_json scan;
    struct mp_json_token t;
    struct mp_why why;
    struct mp_slice text;
    size_t from;

    blanks(p);
    for (from = p->at; p->at < p->text.len && !blank(p->text.ptr[p->at]) &&
                       p->text.ptr[p->at] != ',';)
        p->at++;
    text = mp_slice(p->text.ptr + from, p->at - from);
    f->percent = mp_ends(text, "%");
    mp_json_init(&scan, mp_slice(text.ptr, text.len - f->percent));
    if (mp_json_next(&scan, &t, &why) || t.kind != MP_JSON_NUMBER ||
        scan.at != scan.end || mp_json_number(&t, &number) || number.real < 0)
        return mp_why_set(p->why, MP_EPARSE,
                          "column %zu: expected a step, as in 0.5 or 2%%; 0 is "
                          "any change",
                          from + 1);
    f->step = number.real;
    return 0;
}

static int deadband(struct line *p)
{
    struct mp_deadband *d = &p->l->deadband;
    struct mp_path path;
    size_t from;
    int rc;

    do {
        struct mp_deadband_field *f = &d->fields[d->n];

        blanks(p);
        from = p->at;
        if (d->n == MP_STREAM_DEADBAND_MAX)
            return mp_why_set(p->why, MP_EFULL, "more than %d fields",
                              MP_STREAM_DEADBAND_MAX);
        rc = mp_path_read(p->text, &p->at, &path, p->why);
        if (rc)
            return rc;
        rc = f->field = mp_fields_want(&p->l->fields, &path, p->why);
        for (unsigned i = 0; rc >= 0 && i < d->n; i++)
            if (d->fields[i].field == f->field)
                rc = mp_why_set(p->why, MP_EPARSE,
                                "column %zu: the field stands there twice",
                                from + 1);
        if (rc < 0)
            return rc;
        rc = step(p, f);
        if (rc)
            return rc;
        d->n++;
        blanks(p);
    } while (p->at < p->text.len && p->text.ptr[p->at] == ',' && ++p->at);
    return parts(p, &d->every_us);
}

static int throttle(struct line *p)
{
    struct mp_stream_lines *l = p->l;
    int64_t every_us, none = 0;
    int rc = mp_parse_rate(take_word(p), &l->throttle_depth, &every_us, p->why);

    if (rc)
        return rc;
    l->throttle_ns = every_us * 1000 / l->throttle_depth;
    return parts(p, &none);
}

static int coalesce(struct line *p)
{
    static const char *const words[] = {"latest", "settled"};
    struct mp_slice word = take_word(p);
    const char *near = mp_nearest(word, words, ARRAY_LEN(words));

    p->l->settled = mp_slice_is(word, "settled");
    if (p->l->settled || mp_slice_is(word, "latest"))
        return window(p, &p->l->coalesce_us);
    return mp_why_set(
        p->why, MP_EPARSE, "expected latest or settled, found '%.*s'%s%s%s",
        MP_FMT(mp_cut(word, MP_FIELD_PATH_MAX)), near ? "; did you mean '" : "",
        near ? near : "", near ? "'?" : "");
}

static int batch(struct line *p)
{
    uint64_t n;

    if (mp_parse_number(take_word(p), &n, p->why))
        return mp_why_set(p->why, MP_EPARSE,
                          "expected how many events, as in 100 within 2s");
    if (!n || n > MP_STREAM_BATCH_MAX)
        return mp_why_set(p->why, MP_ERANGE, "from 1 to %d events",
                          MP_STREAM_BATCH_MAX);
    p->l->batch_max = (uint32_t)n;
    return window(p, &p->l->batch_us);
}

static int filter(struct line *p)
{
    return mp_expr_add(&p->l->filter, p->text, &p->l->fields, p->why);
}

/* Keep the text; a second filter goes behind the first. */
static void keep_text(struct line *p)
{
    char **text = &p->l->texts[p->which];
    size_t had = *text ? strlen(*text) : 0, more = p->text.len;

    *text = mp_realloc(*text, had + 7 + more);
    if (had)
        memcpy(*text + had, "; and ", 6);
    memcpy(*text + had + (had ? 6 : 0), p->text.ptr, more);
    (*text)[had + (had ? 6 : 0) + more] = '\0';
}

int mp_stream_lines_add(struct mp_stream_lines *l, enum mp_stream_line line,
                        struct mp_slice value, struct mp_why *why)
{
    static int (*const read[MP_STREAM_LINES])(struct line *) = {
        filter, deadband, throttle, coalesce, batch};
    struct line p = {.l = l, .which = line, .text = mp_trim(value), .why = why};
    int rc;

    if (!p.text.len)
        return mp_why_set(why, MP_EPARSE, "the line is empty");
    if (l->texts[line] && line != MP_LINE_FILTER)
        return mp_why_set(why, MP_EPARSE, "stands there twice");
    rc = read[line](&p);
    if (!rc)
        keep_text(&p);
    return rc;
}

/* ---- what was read ---- */

struct mp_slice mp_stream_lines_param(const struct mp_stream_lines *l,
                                      enum mp_stream_line line, unsigned n)
{
    if (line == MP_LINE_FILTER)
        return mp_expr_param(&l->filter, n);
    return mp_template_param(&l->per[line], n);
}

bool mp_stream_lines_read_fields(const struct mp_stream_lines *l)
{
    return l->fields.n > mp_fields_whole(&l->fields);
}

int64_t mp_stream_lines_wait_us(const struct mp_stream_lines *l)
{
    return l->coalesce_us + l->batch_us;
}
