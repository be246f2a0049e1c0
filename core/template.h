/*
 * template.h - text that is filled in from an event: {site}/{device}.
 *
 * {name} is what the pattern bound; {data.dev.id}, {data[0].n} or {data} a
 * value of the payload (core/fields.h): a number, string, true or false.  (So
 * a pattern's {data} can't be had.)
 *
 * Process  host and command line.   Thread  any.
 * Memory   a plain value of a fixed size; filling in allocates nothing.
 * Errors   MP_EPARSE, MP_EFULL with the column.  Of an event: MP_ENONE, a name
 *          isn't there; MP_ERANGE, the result is empty or too long.
 */
#ifndef MP_TEMPLATE_H
#define MP_TEMPLATE_H

#include "core/base/limits.h"
#include "core/fields.h"

enum {
    MP_TEMPLATE_PIECES_MAX = 16,
    MP_TEMPLATE_BYTES_MAX = 512, /* as written */
};

struct mp_template {
    unsigned n; /* 0: none */
    unsigned n_text;
    struct mp_template_piece {
        enum { MP_PIECE_TEXT, MP_PIECE_PARAM, MP_PIECE_FIELD } from;
        uint16_t at, len; /* in text */
        int field;
    } pieces[MP_TEMPLATE_PIECES_MAX];
    char text[MP_TEMPLATE_BYTES_MAX];
};

/* Read the template that is the whole of text. */
MP_MUST int mp_template_parse(struct mp_template *t, struct mp_slice text,
                              struct mp_fields *fields, struct mp_why *why);

/* Fill it in; returns the length, 1 to MP_KEY_MAX. */
MP_MUST int mp_template_fill(const struct mp_template *t,
                             const struct mp_field_value *values,
                             const struct mp_pair *params, unsigned n_params,
                             char out[MP_KEY_MAX]);

/* The n-th name of a pattern in it, from 0; ptr NULL: there are no more. */
struct mp_slice mp_template_param(const struct mp_template *t, unsigned n);

#endif
