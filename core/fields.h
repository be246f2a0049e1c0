/*
 * fields.h - finds a few values in a payload, without building anything.
 *
 * Filters, deadbands and templates name fields by paths: temp, a.b[0],
 * door["left side"].open.  What a trigger names is gathered once; a payload
 * is then read once, from its first byte to its last, and tells the value of
 * every path, or that it isn't there.
 *
 *   JSON     as core/base/json.h has it.  All of it is checked: a payload
 *            with a mistake has no fields at all, wherever the mistake is.
 *   CBOR     RFC 8949, as strict; [3] is also the member whose name is the
 *            integer 3.  A name may be a text, a number, a byte string or
 *            another simple value, not a list or map.
 *   SenML    JSON or CBOR (RFC 8428): a path is a record's resolved name, as
 *            written: outdoor.temp, data["urn:dev:1:temp"].  The value is v
 *            (bv added), vs or vb; of several records of a name the last.
 *   text, bytes   have no fields, only `data`.
 *
 * `data` is the whole payload: a number, string, true, false or null that
 * stands alone; a list or object as a tree; of what isn't JSON or CBOR, its
 * bytes.  format = text: a number if it reads as one, else its bytes.  What
 * follows data is looked up in it: data.temp is temp, data[0].x is the way
 * into a payload that is a list, and a member named data is data.data.
 *
 * Of doubled names the last counts, with all that is in it.  That, and that a
 * mistake anywhere counts, is why reading never stops early.
 *
 * Process  host and command line.   Thread  any.
 * Memory   plain values of a fixed size; reading allocates nothing.
 * Errors   MP_EPARSE with the column; MP_EFULL past a bound, named.  Reading
 *          has none: a field is there or it isn't.
 */
#ifndef MP_FIELDS_H
#define MP_FIELDS_H

#include "core/base/event.h"

enum {
    MP_FIELDS_MAX = 16,      /* fields one trigger names; people name three */
    MP_FIELD_STEPS_MAX = 16, /* names and places in one path */
    MP_FIELD_PATH_MAX = 128, /* bytes of one path, as written */
    MP_FIELD_INDEX_MAX = 65535,
    MP_FIELDS_NODES_MAX = 64, /* steps of all paths, shared ones once */
    MP_FIELDS_TEXT_MAX = 2 * MP_FIELDS_MAX * MP_FIELD_PATH_MAX,
};

/* A path, taken apart; names borrow from the text. */
struct mp_path {
    struct mp_path_step {
        struct mp_slice name; /* ptr NULL: an index */
        uint32_t index;
    } steps[MP_FIELD_STEPS_MAX];
    unsigned n; /* 0: data, the whole payload */
};

/*
 * Read the path that starts at text[*at], and move *at behind it.  Columns in
 * messages count from the start of text.
 */
MP_MUST int mp_path_read(struct mp_slice text, size_t *at, struct mp_path *path,
                         struct mp_why *why);

/* May a byte be part of a name that stands without quotes? */
bool mp_path_letter(char c);

/* What is wanted.  The paths are a tree, so that a.b and a.c look for a once;
 * private. */
struct mp_fields {
    unsigned n; /* paths; their numbers are 0 to n - 1 */
    unsigned n_nodes, n_text;
    struct mp_field_node {
        uint16_t first, next; /* child, sibling; 0: none */
        uint16_t name, len;   /* in text; len 0 and is_index: a place */
        uint16_t index;
        uint16_t below; /* bit n: path n leads here or through here */
        int16_t path;   /* the path that ends here; -1: none */
        bool is_index;
    } nodes[MP_FIELDS_NODES_MAX + 2]; /* 0 is none, 1 the payload */
    struct {
        uint16_t at, len;
    } written[MP_FIELDS_MAX]; /* as SenML has it; in text */
    char text[MP_FIELDS_TEXT_MAX];
};

void mp_fields_init(struct mp_fields *f);

/* Want a path: its number, the same for the same path; MP_EFULL. */
MP_MUST int mp_fields_want(struct mp_fields *f, const struct mp_path *path,
                           struct mp_why *why);

/* Is data, the whole payload, wanted? */
bool mp_fields_whole(const struct mp_fields *f);

enum mp_field_kind {
    MP_FIELD_NONE, /* not there */
    MP_FIELD_NULL,
    MP_FIELD_BOOLEAN,
    MP_FIELD_NUMBER,
    MP_FIELD_STRING,
    MP_FIELD_TREE, /* anything else: list, object, CBOR's byte string, ... */
};

struct mp_field_value {
    enum mp_field_kind kind;
    bool truth;   /* BOOLEAN */
    bool escaped; /* STRING: text has JSON's backslashes */
    bool is_int;  /* NUMBER: integer, and real is near it */
    int64_t integer;
    double real;          /* NUMBER */
    struct mp_slice text; /* STRING, TREE: borrows from the payload */
};

/*
 * Read a payload: values[0] to values[f->n - 1].  The content type (ptr NULL:
 * none) counts when the format is auto, and without one it is JSON.
 */
void mp_fields_read(const struct mp_fields *f, struct mp_slice data,
                    struct mp_slice datacontenttype, enum mp_format format,
                    struct mp_field_value *values);

enum mp_field_order {
    MP_FIELD_LESS,
    MP_FIELD_EQUAL,
    MP_FIELD_GREATER,
    MP_FIELD_UNEQUAL,   /* same type, but it has no order; or NaN */
    MP_FIELD_DIFFERENT, /* different types, or one isn't there */
};

/* Numbers by their exact value, strings byte by byte; trees are DIFFERENT. */
enum mp_field_order mp_field_compare(const struct mp_field_value *a,
                                     const struct mp_field_value *b);

/*
 * What a value is as part of a key: numbers, strings, true and false.  Its
 * length; MP_ENONE: it has no such text; MP_ERANGE: more than max bytes.
 */
MP_MUST int mp_field_text(const struct mp_field_value *v, char *out,
                          size_t max);

#endif
