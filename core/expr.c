/*
 * expr.c - a condition becomes a short list of steps.
 *
 * Only values are compared, never conditions.  So one bit is all that a
 * running expression has to remember, and `and`, `or` are jumps that look at
 * it:
 *
 *      a > 1 and (b or not c)        0  GT    a, 1
 *                                    1  AND   to 6
 *                                    2  TRUE  b
 *                                    3  OR    to 6
 *                                    4  TRUE  c
 *                                    5  NOT
 *
 * Jumps only go forward, so running ends.  A second text is joined by an AND
 * at the end of the first: its jumps to its own end land there.
 */
#include "core/expr.h"

#include <stdio.h>

#include "core/base/json.h"
#include "core/base/text.h"

struct parser {
    struct mp_expr *e;
    struct mp_fields *fields;
    struct mp_slice text;
    size_t at;
    unsigned depth;
    struct mp_why *why;
};

static int condition(struct parser *p);

void mp_expr_init(struct mp_expr *e)
{
    e->n_code = e->n_values = e->n_text = 0;
}

/* ---- looking ---- */

static void blanks(struct parser *p)
{
    while (p->at < p->text.len &&
           (p->text.ptr[p->at] == ' ' || p->text.ptr[p->at] == '\t'))
        p->at++;
}

static char look(const struct parser *p, size_t ahead)
{
    return p->at + ahead < p->text.len ? p->text.ptr[p->at + ahead] : '\0';
}

/* The word at the parser; empty: there is none. */
static struct mp_slice word(const struct parser *p)
{
    size_t end = p->at;

    while (end < p->text.len && mp_path_letter(p->text.ptr[end]))
        end++;
    return mp_slice(p->text.ptr + p->at, end - p->at);
}

static bool take_word(struct parser *p, const char *want)
{
    if (!mp_slice_is(word(p), want))
        return false;
    p->at += strlen(want);
    blanks(p);
    return true;
}

static bool take_char(struct parser *p, char c)
{
    if (look(p, 0) != c)
        return false;
    p->at++;
    blanks(p);
    return true;
}

/* What a person may have meant by what stands here. */
static const struct {
    struct mp_slice wrote;
    const char *use;
} slips[] = {
    {{"&&", 2}, "and"},      {{"||", 2}, "or"},
    {{"===", 3}, "=="},      {{"!==", 3}, "!="},
    {{"=~", 2}, "== or in"}, {{"=>", 2}, ">="},
    {{"=<", 2}, "<="},       {{"<>", 2}, "!="},
    {{"~=", 2}, "!="},       {{"&", 1}, "and"},
    {{"|", 1}, "or"},        {{"AND", 3}, "and"},
    {{"OR", 2}, "or"},       {{"NOT", 3}, "not"},
    {{"IN", 2}, "in"},       {{"EXISTS", 6}, "exists"},
    {{"True", 4}, "true"},   {{"TRUE", 4}, "true"},
    {{"False", 5}, "false"}, {{"FALSE", 5}, "false"},
    {{"nil", 3}, "null"},    {{"None", 4}, "null"},
    {{"NULL", 4}, "null"},   {{"is", 2}, "== or exists(...)"},
};

/* The slip that stands here; NULL: none. */
static const char *slip(const struct parser *p, struct mp_slice *wrote)
{
    struct mp_slice rest = mp_slice(p->text.ptr + p->at, p->text.len - p->at);

    for (size_t i = 0; i < ARRAY_LEN(slips); i++) {
        *wrote = slips[i].wrote;
        if (mp_path_letter(wrote->ptr[0]) ? mp_slice_eq(word(p), *wrote)
                                          : mp_starts(rest, wrote->ptr))
            return slips[i].use;
    }
    return NULL;
}

/* What may help whoever wrote that, behind the sentence. */
static void hint_for(const struct parser *p, struct mp_slice *wrote, char *hint,
                     size_t size)
{
    static const char *const joints[] = {"and", "or", "in"};
    const char *use = slip(p, wrote);
    char c = look(p, 0);

    hint[0] = '\0';
    if (use) {
        snprintf(hint, size, ": use %s", use);
        return;
    }
    *wrote = mp_cut(word(p), MP_FIELD_PATH_MAX);
    use = mp_nearest(*wrote, joints, ARRAY_LEN(joints));
    if (use)
        snprintf(hint, size, "; did you mean '%s'?", use);
    if (wrote->len)
        return;
    *wrote = mp_slice(p->text.ptr + p->at, 1);
    if (c == '=' || c == '!')
        snprintf(hint, size, ": use %s", c == '=' ? "==" : "not");
    else if (c && strchr("+-*/%", c))
        snprintf(hint, size,
                 "; there are no sums, and a name with it stands in quotes, as "
                 "in data[\"air-quality\"]");
}

static int expected(struct parser *p, const char *what)
{
    struct mp_slice wrote;
    char hint[128];

    if (p->at == p->text.len)
        return mp_why_set(p->why, MP_EPARSE,
                          "column %zu: expected %s, but the text ends",
                          p->at + 1, what);
    if ((unsigned char)look(p, 0) < ' ')
        return mp_why_set(p->why, MP_EPARSE,
                          "column %zu: expected %s, found a control byte",
                          p->at + 1, what);
    hint_for(p, &wrote, hint, sizeof hint);
    return mp_why_set(p->why, MP_EPARSE,
                      "column %zu: expected %s, found '%.*s'%s", p->at + 1,
                      what, MP_FMT(wrote), hint);
}

/* ---- building ---- */

static int room_for_node(struct parser *p)
{
    if (p->e->n_code + p->e->n_values < MP_EXPR_NODES_MAX)
        return 0;
    return mp_why_set(p->why, MP_EFULL,
                      "column %zu: more than %d values and operators in all",
                      p->at + 1, MP_EXPR_NODES_MAX);
}

static int add_value(struct parser *p, const struct mp_expr_value *v)
{
    if (room_for_node(p))
        return MP_EFULL;
    p->e->values[p->e->n_values++] = *v;
    return 0;
}

/* A step that takes the values from first on. */
static int add_step(struct parser *p, enum mp_expr_op op, unsigned first)
{
    unsigned n = p->e->n_values - first;

    if (room_for_node(p))
        return MP_EFULL;
    p->e->code[p->e->n_code++] = (struct mp_expr_step){
        .op = (uint8_t)op, .value = (uint8_t)first, .n = (uint8_t)n};
    return 0;
}

static int deeper(struct parser *p)
{
    if (p->depth++ < MP_EXPR_DEPTH_MAX)
        return 0;
    return mp_why_set(p->why, MP_EFULL,
                      "column %zu: more than %d ( and not within each other",
                      p->at + 1, MP_EXPR_DEPTH_MAX);
}

/* ---- values ---- */

/* Texts of literals and params together are no longer than the source; 2 x
 * BYTES_MAX is for the texts of a few lines. */
static int keep(struct parser *p, struct mp_slice text, struct mp_expr_value *v)
{
    struct mp_expr *e = p->e;

    if (text.len > sizeof e->text - e->n_text)
        return mp_why_set(p->why, MP_EFULL,
                          "column %zu: more than %zu bytes of strings in all",
                          p->at + 1, sizeof e->text);
    v->at = (uint16_t)e->n_text;
    v->len = (uint16_t)text.len;
    if (text.len)
        memcpy(e->text + e->n_text, text.ptr, text.len);
    e->n_text += (unsigned)text.len;
    return 0;
}

static int param(struct parser *p)
{
    struct mp_expr_value v = {.from = MP_EXPR_PARAM};
    struct mp_slice name;
    int rc;

    p->at++;
    name = word(p);
    if (!name.len || look(p, name.len) != '}')
        return mp_why_set(p->why, MP_EPARSE,
                          "column %zu: expected a name of the pattern and }, "
                          "as in {device}; fields stand without braces",
                          p->at + 1);
    rc = keep(p, name, &v);
    p->at += name.len + 1;
    blanks(p);
    return rc ? rc : add_value(p, &v);
}

/*
 * A string goes through the scanner of JSON, so that its rules are the same.
 * For that, what only single quotes or only our readers need is rewritten.
 */
static int string(struct parser *p)
{
    char json[2 * MP_EXPR_BYTES_MAX + 2], quote = look(p, 0);
    struct mp_expr_value v = {.from = MP_EXPR_LITERAL};
    size_t from = p->at++, n = 0;
    struct mp_json_token t;
    struct mp_json scan;
    struct mp_why why;
    int rc;

    json[n++] = '"';
    for (; p->at < p->text.len && look(p, 0) != quote; p->at++) {
        if (look(p, 0) == '\\' && look(p, 1) == '\'')
            p->at++;
        else if (look(p, 0) == '\\' && p->at + 1 < p->text.len)
            json[n++] = p->text.ptr[p->at++];
        else if (look(p, 0) == '"')
            json[n++] = '\\';
        json[n++] = look(p, 0);
    }
    if (p->at == p->text.len)
        return mp_why_set(p->why, MP_EPARSE,
                          "column %zu: the string that starts here has no end; "
                          "put %c behind it",
                          from + 1, quote);
    json[n++] = '"';
    mp_json_init(&scan, mp_slice(json, n));
    if (mp_json_next(&scan, &t, &why) || scan.at != scan.end)
        return mp_why_set(p->why, MP_EPARSE,
                          "column %zu: the string has a backslash that means "
                          "nothing, a control byte or bytes that aren't UTF-8; "
                          "a backslash itself is \\\\",
                          from + 1);
    p->at++;
    blanks(p);
    v.literal.kind = MP_FIELD_STRING;
    rc = keep(p, mp_slice(json, mp_json_unescape(t.text, json)), &v);
    return rc ? rc : add_value(p, &v);
}

static bool of_number(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == '+' || c == '-' ||
           mp_path_letter(c);
}

static int number(struct parser *p)
{
    struct mp_expr_value v = {.from = MP_EXPR_LITERAL};
    struct mp_json_number n;
    struct mp_json_token t;
    struct mp_json scan;
    struct mp_why why;
    size_t end = p->at;

    while (end < p->text.len && of_number(p->text.ptr[end]))
        end++;
    mp_json_init(&scan, mp_slice(p->text.ptr + p->at, end - p->at));
    if (mp_json_next(&scan, &t, &why) || t.kind != MP_JSON_NUMBER ||
        scan.at != scan.end || mp_json_number(&t, &n))
        return mp_why_set(
            p->why, MP_EPARSE,
            "column %zu: '%.*s' is no number; numbers are "
            "written as 30, -0.5 or 1e3, without units and sums",
            p->at + 1,
            MP_FMT(mp_cut(mp_slice(p->text.ptr + p->at, end - p->at),
                          MP_FIELD_PATH_MAX)));
    p->at = end;
    blanks(p);
    v.literal.kind = MP_FIELD_NUMBER;
    v.literal.is_int = n.is_int;
    v.literal.integer = n.integer;
    v.literal.real = n.real;
    return add_value(p, &v);
}

static int field(struct parser *p)
{
    struct mp_expr_value v = {.from = MP_EXPR_FIELD};
    struct mp_path path;
    int rc = mp_path_read(p->text, &p->at, &path, p->why);

    if (rc)
        return rc;
    v.field = mp_fields_want(p->fields, &path, p->why);
    if (v.field < 0)
        return v.field;
    blanks(p);
    return add_value(p, &v);
}

/* Words that can't be fields: after data. they can. */
static bool reserved(struct mp_slice w)
{
    static const char *const words[] = {"and", "or", "not", "in", "exists"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (mp_slice_is(w, words[i]))
            return true;
    return false;
}

static int unknown_function(struct parser *p, struct mp_slice name)
{
    return mp_why_set(p->why, MP_EPARSE,
                      "column %zu: unknown function '%.*s'; there is only "
                      "exists(field)",
                      p->at + 1, MP_FMT(mp_cut(name, MP_FIELD_PATH_MAX)));
}

static int value(struct parser *p)
{
    static const struct {
        const char *word;
        struct mp_field_value value;
    } literals[] = {
        {"true", {.kind = MP_FIELD_BOOLEAN, .truth = true}},
        {"false", {.kind = MP_FIELD_BOOLEAN}},
        {"null", {.kind = MP_FIELD_NULL}},
    };
    char c = look(p, 0);
    struct mp_slice w, wrote;

    if (c == '"' || c == '\'')
        return string(p);
    if (c == '{')
        return param(p);
    if ((c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.')
        return number(p);
    w = word(p);
    for (size_t i = 0; i < ARRAY_LEN(literals); i++) {
        if (take_word(p, literals[i].word)) {
            struct mp_expr_value v = {.from = MP_EXPR_LITERAL,
                                      .literal = literals[i].value};

            return add_value(p, &v);
        }
    }
    if (!w.len || reserved(w) || slip(p, &wrote))
        return expected(p, "a field, number or string");
    if (look(p, w.len) == '(')
        return unknown_function(p, w);
    return field(p);
}

/* ---- conditions ---- */

static int comparison_op(struct parser *p)
{
    static const struct {
        struct mp_slice text;
        enum mp_expr_op op;
    } ops[] = {{{"==", 2}, MP_EXPR_EQ}, {{"!=", 2}, MP_EXPR_NE},
               {{"<=", 2}, MP_EXPR_LE}, {{">=", 2}, MP_EXPR_GE},
               {{"<", 1}, MP_EXPR_LT},  {{">", 1}, MP_EXPR_GT}};
    struct mp_slice rest = mp_slice(p->text.ptr + p->at, p->text.len - p->at);
    struct mp_slice wrote;

    if (slip(p, &wrote))
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (mp_starts(rest, ops[i].text.ptr)) {
            p->at += ops[i].text.len;
            blanks(p);
            return ops[i].op;
        }
    }
    return -1;
}

/* The kind of a value that is known now; NONE: it is a field. */
static enum mp_field_kind known(const struct mp_expr_value *v)
{
    if (v->from == MP_EXPR_PARAM)
        return MP_FIELD_STRING;
    return v->from == MP_EXPR_LITERAL ? v->literal.kind : MP_FIELD_NONE;
}

/* Refuse what can never hold: comparing the value read last, at column from,
 * with the first one. */
static int sensible(struct parser *p, unsigned first, enum mp_expr_op op,
                    size_t from)
{
    enum mp_field_kind a = known(&p->e->values[first]);
    enum mp_field_kind b = known(&p->e->values[p->e->n_values - 1]);

    if (a && b && a != b)
        return mp_why_set(p->why, MP_EPARSE,
                          "column %zu: values of different types, never equal; "
                          "what {} binds is a string, as in "
                          "{floor} == \"3\"",
                          from + 1);
    if (op >= MP_EXPR_LT && op <= MP_EXPR_GE &&
        (a == MP_FIELD_NULL || a == MP_FIELD_BOOLEAN || b == MP_FIELD_NULL ||
         b == MP_FIELD_BOOLEAN))
        return mp_why_set(p->why, MP_EPARSE,
                          "column %zu: true, false and null have no order; use "
                          "== or !=",
                          from + 1);
    return 0;
}

static int list(struct parser *p, unsigned first)
{
    size_t from;
    int rc;

    if (!take_char(p, '('))
        return expected(p, "( and a list, as in x in (1, 2)");
    do {
        from = p->at;
        rc = value(p);
        if (!rc)
            rc = sensible(p, first, MP_EXPR_IN, from);
        if (rc)
            return rc;
    } while (take_char(p, ','));
    if (!take_char(p, ')'))
        return expected(p, "',' or ')'");
    return add_step(p, MP_EXPR_IN, first);
}

/* A value stands alone: only fields and true, false can be conditions. */
static int alone(struct parser *p, unsigned first, size_t from)
{
    const struct mp_expr_value *v = &p->e->values[first];

    if (v->from == MP_EXPR_FIELD ||
        (v->from == MP_EXPR_LITERAL && v->literal.kind == MP_FIELD_BOOLEAN))
        return add_step(p, MP_EXPR_TRUE, first);
    if (p->at < p->text.len && look(p, 0) != ')')
        return expected(p, "a comparison, as in == 1");
    return mp_why_set(p->why, MP_EPARSE,
                      "column %zu: this alone is never true; compare it with "
                      "something, as in {device} == \"kiln-2\"",
                      from + 1);
}

static int comparison(struct parser *p)
{
    unsigned first = p->e->n_values;
    size_t from = p->at;
    int rc = value(p), op;

    if (rc)
        return rc;
    if (take_word(p, "in"))
        return list(p, first);
    if (mp_slice_is(word(p), "not"))
        return mp_why_set(p->why, MP_EPARSE,
                          "column %zu: not stands before the comparison: "
                          "not x in (1, 2)",
                          p->at + 1);
    if (mp_slice_is(word(p), "exists"))
        return mp_why_set(p->why, MP_EPARSE,
                          "column %zu: exists stands before its field, in "
                          "( ): exists(a.b)",
                          p->at + 1);
    op = comparison_op(p);
    if (op < 0)
        return alone(p, first, from);
    if (look(p, 0) == '(')
        return mp_why_set(p->why, MP_EPARSE,
                          "column %zu: expected a value; only values are "
                          "compared, not conditions in ( )",
                          p->at + 1);
    from = p->at;
    rc = value(p);
    if (!rc)
        rc = sensible(p, first, (enum mp_expr_op)op, from);
    if (rc)
        return rc;
    if (strchr("=!<>", look(p, 0)) && look(p, 0))
        return mp_why_set(p->why, MP_EPARSE,
                          "column %zu: comparisons don't chain; write "
                          "a < b and b < c",
                          p->at + 1);
    return add_step(p, (enum mp_expr_op)op, first);
}

static int exists(struct parser *p)
{
    unsigned first = p->e->n_values;
    int rc;

    if (!take_char(p, '('))
        return expected(p, "( and a field, as in exists(a.b)");
    rc = field(p);
    if (rc)
        return rc;
    if (!take_char(p, ')'))
        return expected(p, "')'");
    return add_step(p, MP_EXPR_EXISTS, first);
}

static int inner(struct parser *p)
{
    int rc;

    if (take_word(p, "exists"))
        return exists(p);
    if (look(p, 0) != '(' && !mp_slice_is(word(p), "not"))
        return comparison(p);
    rc = deeper(p);
    if (rc)
        return rc;
    if (take_char(p, '(')) {
        rc = condition(p);
        if (!rc && !take_char(p, ')'))
            rc = expected(p, "and, or or ')'");
    } else if (take_word(p, "not")) {
        rc = inner(p);
        if (!rc)
            rc = add_step(p, MP_EXPR_NOT, p->e->n_values);
    }
    p->depth--;
    return rc;
}

/* Parts joined by a word; all their jumps go to the end of the last. */
static int chain(struct parser *p, const char *joint, enum mp_expr_op op,
                 int part(struct parser *p))
{
    unsigned jumps[MP_EXPR_NODES_MAX], n = 0;
    int rc = part(p);

    while (!rc && take_word(p, joint)) {
        jumps[n++] = p->e->n_code;
        rc = add_step(p, op, p->e->n_values);
        if (!rc)
            rc = part(p);
    }
    for (unsigned i = 0; !rc && i < n; i++)
        p->e->code[jumps[i]].to = (uint8_t)p->e->n_code;
    return rc;
}

static int conjunction(struct parser *p)
{
    return chain(p, "and", MP_EXPR_AND, inner);
}

static int condition(struct parser *p)
{
    return chain(p, "or", MP_EXPR_OR, conjunction);
}

int mp_expr_add(struct mp_expr *e, struct mp_slice text,
                struct mp_fields *fields, struct mp_why *why)
{
    struct parser p = {.e = e, .fields = fields, .text = text, .why = why};
    unsigned joint = e->n_code;
    int rc = 0;

    if (text.len > MP_EXPR_BYTES_MAX)
        return mp_why_set(why, MP_EFULL, "longer than %d bytes",
                          MP_EXPR_BYTES_MAX);
    blanks(&p);
    if (e->n_code)
        rc = add_step(&p, MP_EXPR_AND, e->n_values);
    if (!rc)
        rc = condition(&p);
    if (!rc && p.at < text.len)
        rc = expected(&p, "and, or or the end");
    if (rc)
        return rc;
    if (joint)
        e->code[joint].to = (uint8_t)e->n_code;
    return 0;
}

/* ---- running ---- */

static void load(const struct mp_expr *e, const struct mp_expr_value *v,
                 const struct mp_pair *params, unsigned n_params,
                 struct mp_field_value *out)
{
    struct mp_slice text = mp_slice(e->text + v->at, v->len);

    if (v->from == MP_EXPR_LITERAL) {
        *out = v->literal;
        out->text = text;
        return;
    }
    *out = (struct mp_field_value){.kind = MP_FIELD_NONE};
    for (unsigned i = 0; i < n_params; i++) {
        if (mp_slice_eq(params[i].name, text)) {
            out->kind = MP_FIELD_STRING;
            out->text = params[i].value;
        }
    }
}

static bool holds(enum mp_expr_op op, enum mp_field_order order)
{
    switch (op) {
    case MP_EXPR_NE:
        return order != MP_FIELD_EQUAL && order != MP_FIELD_DIFFERENT;
    case MP_EXPR_LT:
        return order == MP_FIELD_LESS;
    case MP_EXPR_LE:
        return order == MP_FIELD_LESS || order == MP_FIELD_EQUAL;
    case MP_EXPR_GT:
        return order == MP_FIELD_GREATER;
    case MP_EXPR_GE:
        return order == MP_FIELD_GREATER || order == MP_FIELD_EQUAL;
    default:
        return order == MP_FIELD_EQUAL;
    }
}

struct run {
    const struct mp_expr *e;
    const struct mp_field_value *values;
    const struct mp_pair *params;
    unsigned n_params;
};

/* The value of that number; room is for one that isn't a field. */
static const struct mp_field_value *get(const struct run *r, unsigned number,
                                        struct mp_field_value *room)
{
    const struct mp_expr_value *v = &r->e->values[number];

    if (v->from == MP_EXPR_FIELD)
        return &r->values[v->field];
    load(r->e, v, r->params, r->n_params, room);
    return room;
}

static bool test(const struct run *r, const struct mp_expr_step *s)
{
    struct mp_field_value room_a, room_b;
    const struct mp_field_value *a = get(r, s->value, &room_a);

    if (s->op == MP_EXPR_EXISTS)
        return a->kind != MP_FIELD_NONE;
    if (s->op == MP_EXPR_TRUE)
        return a->kind == MP_FIELD_BOOLEAN && a->truth;
    for (unsigned i = 1; i < s->n; i++)
        if (holds((enum mp_expr_op)s->op,
                  mp_field_compare(a, get(r, s->value + i, &room_b))))
            return true;
    return false;
}

bool mp_expr_run(const struct mp_expr *e, const struct mp_field_value *values,
                 const struct mp_pair *params, unsigned n_params)
{
    struct run r = {e, values, params, n_params};
    bool so_far = true;
    unsigned at = 0;

    while (at < e->n_code) {
        const struct mp_expr_step *s = &e->code[at++];

        if (s->op == MP_EXPR_NOT) {
            so_far = !so_far;
        } else if (s->op == MP_EXPR_AND || s->op == MP_EXPR_OR) {
            if (so_far == (s->op == MP_EXPR_OR))
                at = s->to;
        } else {
            so_far = test(&r, s);
        }
    }
    return so_far;
}

struct mp_slice mp_expr_param(const struct mp_expr *e, unsigned n)
{
    for (unsigned i = 0; i < e->n_values; i++)
        if (e->values[i].from == MP_EXPR_PARAM && n-- == 0)
            return mp_slice(e->text + e->values[i].at, e->values[i].len);
    return mp_slice(NULL, 0);
}
