/*
 * template.c - a list of pieces, each text, a param or a field.
 */
#include "core/template.h"

#include "core/base/text.h"

static int add_piece(struct mp_template *t, struct mp_template_piece piece,
                     struct mp_slice text, size_t at, struct mp_why *why)
{
    if (t->n == MP_TEMPLATE_PIECES_MAX)
        return mp_why_set(why, MP_EFULL,
                          "column %zu: a template of more than %d parts",
                          at + 1, MP_TEMPLATE_PIECES_MAX);
    piece.at = (uint16_t)t->n_text;
    piece.len = (uint16_t)text.len;
    memcpy(t->text + t->n_text, text.ptr, text.len);
    t->n_text += (unsigned)text.len;
    t->pieces[t->n++] = piece;
    return 0;
}

/* Does what stands in { } begin with data?  Then it is of the payload. */
static bool of_payload(struct mp_slice inside)
{
    return mp_starts(inside, "data") &&
           (inside.len == 4 || !mp_path_letter(inside.ptr[4]));
}

static int add_field(struct mp_template *t, struct mp_slice text, size_t *at,
                     struct mp_fields *fields, struct mp_why *why)
{
    struct mp_template_piece piece = {.from = MP_PIECE_FIELD};
    struct mp_path path;
    size_t from = *at;
    int rc = mp_path_read(text, at, &path, why);

    if (rc)
        return rc;
    piece.field = mp_fields_want(fields, &path, why);
    if (piece.field < 0)
        return piece.field;
    return add_piece(t, piece, mp_slice(text.ptr, 0), from, why);
}

static int add_braces(struct mp_template *t, struct mp_slice text, size_t *at,
                      struct mp_fields *fields, struct mp_why *why)
{
    struct mp_template_piece piece = {.from = MP_PIECE_PARAM};
    size_t from = ++*at, end = from;
    int rc;

    while (end < text.len && mp_path_letter(text.ptr[end]))
        end++;
    if (of_payload(mp_slice(text.ptr + from, text.len - from))) {
        rc = add_field(t, text, at, fields, why);
    } else if (end < text.len &&
               (text.ptr[end] == '.' || text.ptr[end] == '[')) {
        return mp_why_set(why, MP_EPARSE,
                          "column %zu: a field of the payload is written "
                          "{data.%.*s...}",
                          from + 1,
                          MP_FMT(mp_slice(text.ptr + from, end - from)));
    } else {
        *at = end;
        rc = end == from
                 ? mp_why_set(why, MP_EPARSE,
                              "column %zu: expected a name, as in {device}",
                              from + 1)
                 : add_piece(t, piece, mp_slice(text.ptr + from, end - from),
                             from, why);
    }
    if (rc)
        return rc;
    if (*at == text.len || text.ptr[*at] != '}')
        return mp_why_set(why, MP_EPARSE, "column %zu: expected }", *at + 1);
    ++*at;
    return 0;
}

int mp_template_parse(struct mp_template *t, struct mp_slice text,
                      struct mp_fields *fields, struct mp_why *why)
{
    static const struct mp_template_piece plain = {.from = MP_PIECE_TEXT};
    size_t at = 0;
    int rc = 0;

    t->n = t->n_text = 0;
    if (!text.len)
        return mp_why_set(why, MP_EPARSE, "a template is empty");
    if (text.len > sizeof t->text)
        return mp_why_set(why, MP_EFULL, "a template of more than %zu bytes",
                          sizeof t->text);
    while (!rc && at < text.len) {
        size_t from = at;

        while (at < text.len && text.ptr[at] != '{' && text.ptr[at] != '}')
            at++;
        if (at > from)
            rc = add_piece(t, plain, mp_slice(text.ptr + from, at - from), from,
                           why);
        else if (text.ptr[at] == '{')
            rc = add_braces(t, text, &at, fields, why);
        else
            rc = mp_why_set(why, MP_EPARSE, "column %zu: } without {", at + 1);
    }
    return rc;
}

static int fill_piece(const struct mp_template *t,
                      const struct mp_template_piece *piece,
                      const struct mp_field_value *values,
                      const struct mp_pair *params, unsigned n_params,
                      char *out, size_t max)
{
    struct mp_slice text = mp_slice(t->text + piece->at, piece->len);
    unsigned i = 0;

    if (piece->from == MP_PIECE_FIELD)
        return mp_field_text(&values[piece->field], out, max);
    if (piece->from == MP_PIECE_PARAM) {
        while (i < n_params && !mp_slice_eq(params[i].name, text))
            i++;
        if (i == n_params)
            return MP_ENONE;
        text = params[i].value;
    }
    if (text.len > max)
        return MP_ERANGE;
    if (text.len)
        memcpy(out, text.ptr, text.len);
    return (int)text.len;
}

int mp_template_fill(const struct mp_template *t,
                     const struct mp_field_value *values,
                     const struct mp_pair *params, unsigned n_params,
                     char out[MP_KEY_MAX])
{
    size_t len = 0;

    for (unsigned i = 0; i < t->n; i++) {
        int n = fill_piece(t, &t->pieces[i], values, params, n_params,
                           out + len, MP_KEY_MAX - len);

        if (n < 0)
            return n;
        len += (size_t)n;
    }
    return len ? (int)len : MP_ERANGE;
}

struct mp_slice mp_template_param(const struct mp_template *t, unsigned n)
{
    for (unsigned i = 0; i < t->n; i++)
        if (t->pieces[i].from == MP_PIECE_PARAM && n-- == 0)
            return mp_slice(t->text + t->pieces[i].at, t->pieces[i].len);
    return mp_slice(NULL, 0);
}
