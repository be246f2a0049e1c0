/*
 * fuzz_expr.c - any condition, and any payload, through all that reads them.
 *
 * The input is a condition, a line end, and a payload.  What must hold:
 *
 *   - a condition that is taken means the opposite inside not ( ), and the
 *     same joined to itself;
 *   - fields found in one pass are those that a plain search by
 *     core/base/json.h finds, path by path, and none where that finds a
 *     mistake;
 *   - the same payload as CBOR has the same fields;
 *   - lines of other kinds, templates and other formats only have to survive.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/base/json.h"
#include "core/stream.h"
#include "tests/corpus/expr/rows.h"
#include "tests/corpus/json/rows.h"
#include "tests/fuzz/fuzz_main.h"

enum { CBOR_MAX = 1 << 20 };

static const char *const paths[] = {
    "data",   "a",       "a.b",     "a[0]",      "a[1].b",     "b.a[0][1]",
    "data.b", "data[0]", "temp",    "door.open", "data[1][0]", "data[\"\"]",
    "a.b.c",  "a[0][0]", "data[2]", "hum"};

/* ---- a plain search ---- */

/* The whole value that t began. */
static struct mp_slice rest_of(struct mp_json *s, const struct mp_json_token *t)
{
    struct mp_why why;
    int rc = mp_json_skip(s, t, &why);

    MP_ASSERT(rc == 0);
    return mp_slice(s->start + t->at, (size_t)(s->at - s->start) - t->at);
}

/* One step into a value; the last of doubled names.  False: not there. */
static bool step_into(struct mp_slice *value, const struct mp_path_step *step)
{
    struct mp_json_token t;
    struct mp_json s;
    struct mp_why why;
    struct mp_slice found = {NULL, 0};
    bool there = false;
    uint32_t place = 0;
    int rc;

    mp_json_init(&s, *value);
    rc = mp_json_next(&s, &t, &why);
    MP_ASSERT(rc == 0);
    if (t.kind != (step->name.ptr ? MP_JSON_OBJECT : MP_JSON_LIST))
        return false;
    for (;;) {
        bool this = !step->name.ptr && place++ == step->index;

        rc = mp_json_next(&s, &t, &why);
        MP_ASSERT(rc == 0);
        if (t.kind == MP_JSON_CLOSE)
            break;
        if (t.kind == MP_JSON_NAME) {
            this = mp_json_is(&t, step->name);
            rc = mp_json_next(&s, &t, &why);
            MP_ASSERT(rc == 0);
        }
        if (this)
            found = rest_of(&s, &t);
        else
            (void)rest_of(&s, &t);
        there = there || this;
    }
    *value = found;
    return there;
}

static bool search(struct mp_slice payload, const char *text,
                   struct mp_slice *value)
{
    struct mp_path path;
    struct mp_why why;
    size_t at = 0;
    int rc = mp_path_read(mp_slice_str(text), &at, &path, &why);

    MP_ASSERT(rc == 0);
    *value = payload;
    for (unsigned i = 0; i < path.n; i++)
        if (!step_into(value, &path.steps[i]))
            return false;
    return true;
}

/* Is v what the text of a value says? */
static void check_value(const struct mp_field_value *v, struct mp_slice text)
{
    struct mp_json_number n;
    struct mp_json_token t;
    struct mp_json s;
    struct mp_why why;
    int rc;

    mp_json_init(&s, text);
    rc = mp_json_next(&s, &t, &why);
    MP_ASSERT(rc == 0);
    switch (t.kind) {
    case MP_JSON_NULL:
        MP_ASSERT(v->kind == MP_FIELD_NULL);
        break;
    case MP_JSON_TRUE:
    case MP_JSON_FALSE:
        MP_ASSERT(v->kind == MP_FIELD_BOOLEAN);
        MP_ASSERT(v->truth == (t.kind == MP_JSON_TRUE));
        break;
    case MP_JSON_STRING:
        MP_ASSERT(v->kind == MP_FIELD_STRING && v->escaped == t.escaped);
        MP_ASSERT(mp_slice_eq(v->text, t.text));
        break;
    case MP_JSON_NUMBER:
        rc = mp_json_number(&t, &n);
        MP_ASSERT(v->kind == (rc ? MP_FIELD_TREE : MP_FIELD_NUMBER));
        if (!rc)
            MP_ASSERT(v->is_int == n.is_int && v->integer == n.integer &&
                      memcmp(&v->real, &n.real, sizeof n.real) == 0);
        break;
    default:
        MP_ASSERT(v->kind == MP_FIELD_TREE);
        (void)rest_of(&s, &t);
        MP_ASSERT(v->text.len == (size_t)(s.at - s.start) - t.at);
        MP_ASSERT(memcmp(v->text.ptr, s.start + t.at, v->text.len) == 0);
    }
}

static bool is_json(struct mp_slice payload)
{
    struct mp_json_token t;
    struct mp_json s;
    struct mp_why why;

    mp_json_init(&s, payload);
    do {
        if (mp_json_next(&s, &t, &why))
            return false;
    } while (t.kind != MP_JSON_END);
    return true;
}

static void same_as_searched(const struct mp_field_value *values,
                             struct mp_slice payload)
{
    bool json = is_json(payload);
    struct mp_slice value;

    for (unsigned i = 0; i < ARRAY_LEN(paths); i++) {
        if (!json && i == 0) /* data: the bytes */
            MP_ASSERT(values[i].kind == MP_FIELD_STRING &&
                      mp_slice_eq(values[i].text, payload));
        else if (json && search(payload, paths[i], &value))
            check_value(&values[i], value);
        else
            MP_ASSERT(values[i].kind == MP_FIELD_NONE);
    }
}

/* ---- the same as CBOR ---- */

static void put_head(struct mp_buf *out, unsigned major, uint64_t number)
{
    char head[9] = {(char)(major << 5 | 27)};

    for (int i = 8; i > 0; i--, number >>= 8)
        head[i] = (char)number;
    mp_buf_put(out, head, sizeof head);
}

static void put_string(struct mp_buf *out, struct mp_slice text)
{
    char *room = mp_alloc(text.len);
    size_t len = mp_json_unescape(text, room);

    put_head(out, 3, len);
    mp_buf_put(out, room, len);
    free(room);
}

/* False: a number that only JSON can say. */
static bool put_number(struct mp_buf *out, const struct mp_json_token *t)
{
    struct mp_json_number n;
    uint64_t bits;

    if (mp_json_number(t, &n))
        return false;
    memcpy(&bits, &n.real, sizeof bits);
    if (!n.is_int)
        put_head(out, 7, bits);
    else if (n.integer >= 0)
        put_head(out, 0, (uint64_t)n.integer);
    else
        put_head(out, 1, (uint64_t)(-1 - n.integer));
    return true;
}

static bool to_cbor(struct mp_slice payload, struct mp_buf *out)
{
    struct mp_json_token t;
    struct mp_json s;
    struct mp_why why;

    mp_buf_reset(out);
    mp_json_init(&s, payload);
    for (;;) {
        if (mp_json_next(&s, &t, &why))
            return false;
        switch (t.kind) {
        case MP_JSON_END:
            return !out->full;
        case MP_JSON_NULL:
        case MP_JSON_FALSE:
        case MP_JSON_TRUE:
            mp_buf_put(out,
                       t.kind == MP_JSON_NULL    ? "\xf6"
                       : t.kind == MP_JSON_FALSE ? "\xf4"
                                                 : "\xf5",
                       1);
            break;
        case MP_JSON_NUMBER:
            if (!put_number(out, &t))
                return false;
            break;
        case MP_JSON_STRING:
        case MP_JSON_NAME:
            put_string(out, t.text);
            break;
        case MP_JSON_LIST:
            mp_buf_put(out, "\x9f", 1);
            break;
        case MP_JSON_OBJECT:
            mp_buf_put(out, "\xbf", 1);
            break;
        case MP_JSON_CLOSE:
            mp_buf_put(out, "\xff", 1);
            break;
        }
    }
}

static void same_in_cbor(const struct mp_fields *fields,
                         const struct mp_field_value *values,
                         struct mp_slice payload)
{
    static struct mp_buf cbor = {.max = CBOR_MAX};
    struct mp_field_value other[MP_FIELDS_MAX];

    if (!to_cbor(payload, &cbor))
        return;
    mp_fields_read(fields, mp_buf_bytes(&cbor), mp_slice(NULL, 0),
                   MP_FORMAT_CBOR, other);
    for (unsigned i = 0; i < ARRAY_LEN(paths); i++) {
        MP_ASSERT(values[i].kind == other[i].kind);
        MP_ASSERT(values[i].kind == MP_FIELD_NONE ||
                  values[i].kind == MP_FIELD_TREE ||
                  mp_field_compare(&values[i], &other[i]) == MP_FIELD_EQUAL);
    }
}

static void payload_read(struct mp_slice payload)
{
    static struct mp_fields fields;
    struct mp_field_value values[MP_FIELDS_MAX];
    char key[MP_KEY_MAX];
    struct mp_path path;
    struct mp_why why;

    mp_fields_init(&fields);
    for (unsigned i = 0; i < ARRAY_LEN(paths); i++) {
        size_t at = 0;
        int rc = mp_path_read(mp_slice_str(paths[i]), &at, &path, &why);

        MP_ASSERT(rc == 0);
        rc = mp_fields_want(&fields, &path, &why);
        MP_ASSERT(rc == (int)i);
    }
    for (enum mp_format f = MP_FORMAT_CBOR; f < MP_FORMATS; f++)
        mp_fields_read(&fields, payload, mp_slice(NULL, 0), f, values);
    mp_fields_read(&fields, payload, mp_slice(NULL, 0), MP_FORMAT_AUTO, values);
    same_as_searched(values, payload);
    same_in_cbor(&fields, values, payload);
    for (unsigned i = 0; i < fields.n; i++) {
        int len = mp_field_text(&values[i], key, sizeof key);

        MP_ASSERT(len <= (int)sizeof key);
        for (unsigned k = 0; k < fields.n; k++)
            (void)mp_field_compare(&values[i], &values[k]);
    }
}

/* ---- conditions ---- */

static struct mp_expr expr;
static struct mp_fields fields;

/* Does text hold for the payload?  -1: it isn't taken. */
static int asked(const char *text, bool twice, struct mp_slice payload)
{
    struct mp_field_value values[MP_FIELDS_MAX];
    struct mp_why why;

    mp_fields_init(&fields);
    mp_expr_init(&expr);
    for (int i = 0; i <= twice; i++)
        if (mp_expr_add(&expr, mp_slice_str(text), &fields, &why)) {
            MP_ASSERT(why.text[0]);
            return -1;
        }
    MP_ASSERT(expr.n_code + expr.n_values <= MP_EXPR_NODES_MAX);
    mp_fields_read(&fields, payload, mp_slice(NULL, 0), MP_FORMAT_AUTO, values);
    return mp_expr_run(&expr, values, expr_params, ARRAY_LEN(expr_params));
}

static void condition_read(struct mp_slice text, struct mp_slice payload)
{
    char opposite[MP_EXPR_BYTES_MAX + 32];
    char *plain = mp_strndup(text.ptr, text.len); /* ends at a NUL */
    int holds = asked(plain, false, payload), other;

    if (holds >= 0) {
        snprintf(opposite, sizeof opposite, "not (%s)", plain);
        other = asked(opposite, false, payload);
        MP_ASSERT(other < 0 || other == !holds);
        other = asked(plain, true, payload);
        MP_ASSERT(other < 0 || other == holds);
    }
    free(plain);
}

static void lines_read(struct mp_slice text)
{
    struct mp_why why;

    for (int line = 0; line < MP_STREAM_LINES; line++) {
        struct mp_stream_lines *l = mp_stream_lines_new();

        why.text[0] = '\0';
        if (mp_stream_lines_add(l, (enum mp_stream_line)line, text, &why))
            MP_ASSERT(why.text[0]);
        else
            MP_ASSERT(mp_stream_lines_has(l, (enum mp_stream_line)line));
        mp_stream_lines_free(l);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    size_t len = end ? (size_t)(end - data) : size;
    size_t rest = end ? size - len - 1 : 0;
    char *condition = mp_alloc(len); /* blocks of exactly their size */
    char *payload = mp_alloc(rest);

    if (len)
        memcpy(condition, data, len);
    if (rest)
        memcpy(payload, end + 1, rest);
    condition_read(mp_slice(condition, len), mp_slice(payload, rest));
    lines_read(mp_slice(condition, len));
    payload_read(mp_slice(payload, rest));
    free(condition);
    free(payload);
    return 0;
}

#ifdef MP_FUZZ_MAIN
static const char *const words[] = {
    " and ",
    " or ",
    "not ",
    "(",
    ")",
    "==",
    "!=",
    "<",
    ">=",
    " in (1, ",
    "exists(a)",
    "true",
    "null",
    "temp",
    "a.b",
    "a[0]",
    "data",
    "{device}",
    "'x'",
    "\"a\":",
    "30",
    "-1.5e3",
    "\n",
    "{\"a\":",
    "[",
    "]",
    "}",
    ",",
    "\"b\":",
    "{\"a\":{\"b\":1}}",
    "\\u0061",
    "\"",
    "\\",
    "per {device}",
    "within 2s",
    "latest ",
    "10/s ",
    "every 5m",
    "temp 0.5%",
    "\xa1\x61\x61",
    "\xbf",
    "\x9f",
    "\xff",
    "\x7f\x61\x61",
    "\xfb",
    "[{\"bn\":\"",
    "\"n\":\"a\"",
    "\"v\":1",
    "\"vs\":\"x\"",
    "\x82",
};

static const char *fuzz_word(uint64_t any)
{
    return words[any % ARRAY_LEN(words)];
}

static void add_pair(const char *condition, struct mp_slice payload)
{
    size_t len = strlen(condition);
    char *both = mp_alloc(len + 1 + payload.len);

    memcpy(both, condition, len);
    both[len] = '\n';
    if (payload.len)
        memcpy(both + len + 1, payload.ptr, payload.len);
    fuzz_add(mp_slice(both, len + 1 + payload.len));
}

static void fuzz_seeds(void)
{
    static const char *const more[] = {
        "temp 0.2 per {device} every 5m", "10/s per {data.a}",
        "settled per {site}/{device} within 200ms", "256 within 2s"};

    for (size_t i = 0; i < ARRAY_LEN(expr_rows); i++)
        add_pair(expr_rows[i].in, MP_S(EXPR_PAYLOAD));
    for (size_t i = 0; i < ARRAY_LEN(expr_mistakes); i++)
        add_pair(expr_mistakes[i].in, MP_S("[{\"n\":\"a\",\"v\":1}]"));
    for (size_t i = 0; i < ARRAY_LEN(json_rows); i++)
        add_pair("a == 1", json_rows[i].in);
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        add_pair(more[i], MP_S("{\"a\":{\"b\":[1,{\"b\":2}]},\"b\":{\"a\":"
                               "[[1,2]]},\"a\":[[0],{\"b\":3}]}"));
}
#endif
