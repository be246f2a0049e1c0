/*
 * value.h - a JSON document as a tree that is only read.
 *
 * For the command line, which looks into test files, events and outcomes.
 *
 *   struct mp_value_doc doc;
 *   rc = mp_value_parse(&doc, text, why);
 *   name = mp_value_text(mp_value_get(doc.root, "about"));
 *   mp_value_fini(&doc);
 *
 * Process  command line.   Thread  any; a tree is constant once parsed.
 * Memory   one block per document, freed at once; values and their slices
 *          live as long as it.  The text may go after the parse.
 * Errors   MP_EPARSE with "line L: expected ... at byte N" (line only in
 *          texts of several lines).
 */
#ifndef MP_CLI_VALUE_H
#define MP_CLI_VALUE_H

#include "core/base/json.h"

enum mp_value_kind {
    MP_VALUE_NULL,
    MP_VALUE_BOOL,
    MP_VALUE_INT,
    MP_VALUE_REAL,
    MP_VALUE_STRING,
    MP_VALUE_LIST,
    MP_VALUE_OBJECT,
};

struct mp_value {
    enum mp_value_kind kind;
    struct mp_slice name; /* of a member in its object */
    bool yes;             /* MP_VALUE_BOOL */
    int64_t integer;      /* MP_VALUE_INT */
    double real;          /* MP_VALUE_INT too */
    struct mp_slice text; /* MP_VALUE_STRING */
    /* MP_VALUE_LIST, in order; MP_VALUE_OBJECT, sorted by name in byte
     * order, of doubled names only the last. */
    const struct mp_value **items;
    size_t n;
    struct mp_value *next; /* private */
};

struct mp_value_doc {
    const struct mp_value *root;
    void *block;
};

MP_MUST int mp_value_parse(struct mp_value_doc *doc, struct mp_slice text,
                           struct mp_why *why);
void mp_value_fini(struct mp_value_doc *doc);

/* The member of this name; NULL: v is no object (or NULL), or has none. */
const struct mp_value *mp_value_get(const struct mp_value *v, const char *name);
/* The bytes of a string; ptr NULL: v is none (or NULL). */
struct mp_slice mp_value_text(const struct mp_value *v);

/* "null", "a boolean", "an integer", "a number", "a string", "a list", ... */
const char *mp_value_kind_name(const struct mp_value *v);

/*
 * Does actual have all that is expected?  Of an object only the members that
 * expected names count; lists are as long as each other and compare one by
 * one; numbers compare by value (1 is 1.0); a member expected to be null may
 * be absent.  At the first difference false, and diff gets "PATH: expected X,
 * got Y" with root before the path: root "publish" makes
 * publish[1].data.phase: expected "silent", got "alarm".  Lists count from 1.
 * Either may be NULL (absent).
 */
bool mp_value_covers(const struct mp_value *expected,
                     const struct mp_value *actual, const char *root,
                     struct mp_buf *diff);

/* Append v as compact JSON, members sorted by name. */
void mp_value_print(const struct mp_value *v, struct mp_buf *out);

#endif
