/*
 * value.h - a value that a function keeps, and a list of them as bytes.
 *
 * Host, worker and database share it: what Lua calls an integer, a float, a
 * string, a boolean or a table (kept as JSON text).  A list of entries is
 * their bytes one after the other, so that an actor's values are kept, sent
 * and read in one form (mp_put_entry, mp_get_entry in wire.h).
 *
 * Thread   plain values; slices are borrowed.
 */
#ifndef MP_BASE_VALUE_H
#define MP_BASE_VALUE_H

#include "core/base/slice.h"

enum mp_value_kind {
    MP_VALUE_NONE, /* there is none: deleted, or never set */
    MP_VALUE_INTEGER,
    MP_VALUE_FLOAT,
    MP_VALUE_STRING,
    MP_VALUE_BOOLEAN,
    MP_VALUE_TABLE,
    MP_VALUE_KINDS
};

struct mp_value {
    enum mp_value_kind kind;
    int64_t integer;      /* INTEGER; BOOLEAN: 0, 1 */
    double number;        /* FLOAT */
    struct mp_slice text; /* STRING: its bytes; TABLE: JSON */
};

struct mp_entry {
    struct mp_slice name; /* 1 to MP_STATE_NAME_MAX bytes of UTF-8 */
    struct mp_value value;
    int64_t expires_us; /* on the host's timeline; 0: never */
};

/* "none", "integer", "float", "string", "boolean", "table" */
const char *mp_value_kind_name(enum mp_value_kind kind);

/* Equal kind and content (floats by their bits). */
bool mp_value_eq(const struct mp_value *a, const struct mp_value *b);

/* Bytes it takes of a quota: 8 for a number or boolean, else its length. */
size_t mp_value_bytes(const struct mp_value *v);

#endif
