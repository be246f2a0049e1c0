/*
 * fields_senml.c - the records of a SenML pack (RFC 8428) as fields.
 *
 * A record's members come in any order, so a record is gathered first; its
 * name is the base name, which stays until another one is given, and its own.
 * Whatever is no list of records, or has a member of the wrong type, is no
 * pack.
 */
#include "core/fields_impl.h"

enum { SENML_NAME_MAX = 512 }; /* longer ones are nobody's path */

struct senml_name {
    char text[SENML_NAME_MAX];
    size_t len;
    bool too_long;
};

struct record {
    struct senml_name base, name;
    struct mp_field_value base_value, value; /* NONE: not given */
};

static int take_name(const struct mp_token *t, struct senml_name *n)
{
    struct mp_slice text = t->json.text;

    if (t->json.kind != MP_JSON_STRING || t->other)
        return MP_EPARSE;
    n->len = 0;
    n->too_long = text.len > sizeof n->text;
    if (n->too_long)
        return 0;
    if (t->json.escaped) {
        n->len = mp_json_unescape(text, n->text);
    } else {
        if (text.len)
            memcpy(n->text, text.ptr, text.len);
        n->len = text.len;
    }
    return 0;
}

static int take_typed(const struct mp_walk *w, const struct mp_token *t,
                      enum mp_field_kind kind, struct mp_field_value *v)
{
    mp_scan_value(&w->scan, t, v);
    return v->kind == kind ? 0 : MP_EPARSE;
}

enum label { L_N, L_BN, L_V, L_BV, L_VS, L_VB, L_OTHER };

static enum label label_of(const struct mp_token *t)
{
    static const struct {
        struct mp_slice name;
        int64_t number; /* RFC 8428, table 6 */
    } labels[] = {{{"n", 1}, 0},   {{"bn", 2}, -2}, {{"v", 1}, 2},
                  {{"bv", 2}, -5}, {{"vs", 2}, 3},  {{"vb", 2}, 4}};

    for (unsigned i = 0; i < ARRAY_LEN(labels); i++)
        if (t->other ? t->is_number && t->number.integer == labels[i].number
                     : mp_json_is(&t->json, labels[i].name))
            return (enum label)i;
    return L_OTHER;
}

static int take_member(struct mp_walk *w, struct record *r, enum label label)
{
    struct mp_token t = {.other = false};

    if (mp_scan_next(&w->scan, &t))
        return MP_EPARSE;
    switch (label) {
    case L_N:
        return take_name(&t, &r->name);
    case L_BN:
        return take_name(&t, &r->base);
    case L_V:
        return take_typed(w, &t, MP_FIELD_NUMBER, &r->value);
    case L_BV:
        return take_typed(w, &t, MP_FIELD_NUMBER, &r->base_value);
    case L_VS:
        return take_typed(w, &t, MP_FIELD_STRING, &r->value);
    case L_VB:
        return take_typed(w, &t, MP_FIELD_BOOLEAN, &r->value);
    default:
        return mp_scan_skip(&w->scan, &t);
    }
}

static void add_base(struct mp_field_value *v, const struct mp_field_value *b)
{
    if (v->kind != MP_FIELD_NUMBER || b->kind != MP_FIELD_NUMBER)
        return;
    v->is_int = v->is_int && b->is_int &&
                !__builtin_add_overflow(v->integer, b->integer, &v->integer);
    v->real = v->is_int ? (double)v->integer : v->real + b->real;
}

static void end_record(struct mp_walk *w, struct record *r)
{
    size_t len = r->base.len + r->name.len;

    if (r->value.kind == MP_FIELD_NONE || r->base.too_long || r->name.too_long)
        return;
    add_base(&r->value, &r->base_value);
    for (unsigned i = 0; i < w->f->n; i++) {
        const char *path = w->f->text + w->f->written[i].at;

        if (len && w->f->written[i].len == len &&
            memcmp(path, r->base.text, r->base.len) == 0 &&
            memcmp(path + r->base.len, r->name.text, r->name.len) == 0) {
            w->values[i] = r->value;
            w->found |= 1u << i;
        }
    }
}

int mp_senml_read(struct mp_walk *w)
{
    struct record r;
    struct mp_token t = {.other = false};

    r.base.len = r.name.len = 0;
    r.base.too_long = r.name.too_long = false;
    r.base_value.kind = r.value.kind = MP_FIELD_NONE;
    if (mp_scan_next(&w->scan, &t) || t.json.kind != MP_JSON_LIST)
        return MP_EPARSE;
    for (;;) {
        if (mp_scan_next(&w->scan, &t))
            return MP_EPARSE;
        if (t.json.kind == MP_JSON_CLOSE)
            break;
        if (t.json.kind != MP_JSON_OBJECT)
            return MP_EPARSE;
        r.name.len = 0;
        r.name.too_long = false;
        r.value.kind = MP_FIELD_NONE;
        for (;;) {
            if (mp_scan_next(&w->scan, &t))
                return MP_EPARSE;
            if (t.json.kind == MP_JSON_CLOSE)
                break;
            if (take_member(w, &r, label_of(&t)))
                return MP_EPARSE;
        }
        end_record(w, &r);
    }
    return mp_scan_next(&w->scan, &t); /* the end */
}
