/*
 * tree.h - a JSON document as a tree that is only read.
 *
 * For the command line, which looks into test files, events and outcomes.
 *
 *   struct mp_tree_doc doc;
 *   rc = mp_tree_parse(&doc, text, why);
 *   name = mp_tree_text(mp_tree_get(doc.root, "about"));
 *   mp_tree_fini(&doc);
 *
 * Process  command line.   Thread  any; a tree is constant once parsed.
 * Memory   one block per document, freed at once; values and their slices
 *          live as long as it.  The text may go after the parse.
 * Errors   MP_EPARSE with "line L: expected ... at byte N" (line only in
 *          texts of several lines).
 */
#ifndef MP_CLI_TREE_H
#define MP_CLI_TREE_H

#include "core/base/json.h"

enum mp_tree_kind {
    MP_TREE_NULL,
    MP_TREE_BOOL,
    MP_TREE_INT,
    MP_TREE_REAL,
    MP_TREE_STRING,
    MP_TREE_LIST,
    MP_TREE_OBJECT,
};

struct mp_tree {
    enum mp_tree_kind kind;
    struct mp_slice name; /* of a member in its object */
    bool yes;             /* MP_TREE_BOOL */
    int64_t integer;      /* MP_TREE_INT */
    double real;          /* MP_TREE_INT too */
    struct mp_slice text; /* MP_TREE_STRING */
    /* MP_TREE_LIST, in order; MP_TREE_OBJECT, sorted by name in byte
     * order, of doubled names only the last. */
    const struct mp_tree **items;
    size_t n;
    struct mp_tree *next; /* private */
};

struct mp_tree_doc {
    const struct mp_tree *root;
    void *block;
};

MP_MUST int mp_tree_parse(struct mp_tree_doc *doc, struct mp_slice text,
                          struct mp_why *why);
void mp_tree_fini(struct mp_tree_doc *doc);

/* The member of this name; NULL: v is no object (or NULL), or has none. */
const struct mp_tree *mp_tree_get(const struct mp_tree *v, const char *name);
/* The bytes of a string; ptr NULL: v is none (or NULL). */
struct mp_slice mp_tree_text(const struct mp_tree *v);

/* "null", "a boolean", "an integer", "a number", "a string", "a list", ... */
const char *mp_tree_kind_name(const struct mp_tree *v);

/*
 * Does actual have all that is expected?  Of an object only the members that
 * expected names count; lists are as long as each other and compare one by
 * one; numbers compare by value (1 is 1.0); a member expected to be null may
 * be absent.  At the first difference false, and diff gets "PATH: expected X,
 * got Y" with root before the path: root "publish" makes
 * publish[1].data.phase: expected "silent", got "alarm".  Lists count from 1.
 * Either may be NULL (absent).
 */
bool mp_tree_covers(const struct mp_tree *expected,
                    const struct mp_tree *actual, const char *root,
                    struct mp_buf *diff);

/* Append v as compact JSON, members sorted by name. */
void mp_tree_print(const struct mp_tree *v, struct mp_buf *out);

#endif
