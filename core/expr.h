/*
 * expr.h - the condition of a `filter` line.
 *
 *   temp > 30 and (hum < 80 or not door.open)
 *
 *   condition   and, or, not, ( ); not binds closest, then and, then or
 *   comparison  VALUE == != < <= > >= VALUE, VALUE in (VALUE, ...)
 *   exists(F)   the field is there, be it null, a list or an object
 *   F           alone: the field is true (not 1, not "true")
 *   VALUE       a field (core/fields.h; data: the whole payload), a number, a
 *               string in double or single quotes with JSON's escapes, true,
 *               false, null, {param}: what the pattern bound, a string
 *
 * A comparison of values of different types, or of one that isn't there, is
 * false, != too.  So `not (a > 1)` holds when a is missing.  true, false and
 * null are equal or not and have no order; strings are ordered by their
 * bytes; lists and objects compare with nothing.  What can never hold is a
 * mistake: {param} == 3, the order of null, a number alone.
 *
 * Process  host and command line.   Thread  any; running changes nothing.
 * Memory   a plain value of a fixed size; running allocates nothing.
 * Errors   MP_EPARSE with the column and what to write there; MP_EFULL past
 *          one of the bounds, named.
 */
#ifndef MP_EXPR_H
#define MP_EXPR_H

#include "core/fields.h"

enum {
    MP_EXPR_BYTES_MAX = 1000, /* a line of a config file is no longer */
    MP_EXPR_NODES_MAX = 64,   /* values, comparisons, and, or, not: all */
    MP_EXPR_DEPTH_MAX = 16,   /* of ( and not within each other */
};

enum mp_expr_op {
    MP_EXPR_TRUE, /* is the value true? */
    MP_EXPR_EXISTS,
    MP_EXPR_EQ,
    MP_EXPR_NE,
    MP_EXPR_LT,
    MP_EXPR_LE,
    MP_EXPR_GT,
    MP_EXPR_GE,
    MP_EXPR_IN,
    MP_EXPR_NOT,
    MP_EXPR_AND, /* go on at `to` unless it holds so far */
    MP_EXPR_OR,  /* go on at `to` if it holds so far */
};

/* Several texts in one: all must hold.  Private but for n_values. */
struct mp_expr {
    unsigned n_code, n_values, n_text;
    struct mp_expr_step {
        uint8_t op;
        uint8_t value, n; /* first of the values that it takes, how many */
        uint8_t to;
    } code[MP_EXPR_NODES_MAX];
    struct mp_expr_value {
        enum { MP_EXPR_LITERAL, MP_EXPR_FIELD, MP_EXPR_PARAM } from;
        uint16_t at, len; /* PARAM's name, a literal string: in text */
        int field;        /* FIELD: its number in the struct mp_fields */
        struct mp_field_value literal; /* text is put in when it runs */
    } values[MP_EXPR_NODES_MAX];
    char text[2 * MP_EXPR_BYTES_MAX];
};

void mp_expr_init(struct mp_expr *e);

/* One more text that must hold; fields learns which it needs.  After an error
 * e is of no more use. */
MP_MUST int mp_expr_add(struct mp_expr *e, struct mp_slice text,
                        struct mp_fields *fields, struct mp_why *why);

/* Does it hold?  values: what mp_fields_read told.  An empty one does. */
bool mp_expr_run(const struct mp_expr *e, const struct mp_field_value *values,
                 const struct mp_pair *params, unsigned n_params);

/* The name of the n-th {param} in it, from 0; ptr NULL: there are no more. */
struct mp_slice mp_expr_param(const struct mp_expr *e, unsigned n);

#endif
