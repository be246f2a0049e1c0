/*
 * tree.c - a document is scanned twice: first to see that it is right and to
 * count its values, then to build them.  So one block holds it all:
 *
 *   values [n] | pointers to them [n] | the text, names and strings unescaped
 *
 * where n is the number of values.  Every value has one parent at most, so n
 * pointers are enough for all lists and objects together.  While an object is
 * read its members hang in a chain; when it closes they get their pointers,
 * sorted, and of doubled names only the last is kept.
 */
#include "cli/tree.h"

#include <stdlib.h>

enum { SHOWN_MAX = 120 }; /* bytes of a value in a message */

struct builder {
    struct mp_json scan;
    struct mp_tree *values;        /* the next free one */
    const struct mp_tree **points; /* the next free one */
    char *text;                    /* room for the next string */
};

static int count(struct mp_slice text, size_t *values, struct mp_why *why)
{
    struct mp_json_number number;
    struct mp_json_token t;
    struct mp_json s;

    *values = 0;
    mp_json_init(&s, text);
    for (;;) {
        if (mp_json_next(&s, &t, why))
            return MP_EPARSE;
        if (t.kind == MP_JSON_END)
            return 0;
        if (t.kind == MP_JSON_NUMBER && mp_json_number(&t, &number))
            return mp_why_set(why, MP_EPARSE,
                              "expected a number within the range of a double "
                              "at byte %zu",
                              t.at + 1);
        if (t.kind != MP_JSON_NAME && t.kind != MP_JSON_CLOSE)
            ++*values;
    }
}

static struct mp_slice keep_text(struct builder *b,
                                 const struct mp_json_token *t)
{
    struct mp_slice kept = {.ptr = b->text};

    kept.len = mp_json_unescape(t->text, b->text);
    b->text += kept.len;
    return kept;
}

static struct mp_json_token next(struct builder *b)
{
    struct mp_json_token t;
    struct mp_why why;
    int rc = mp_json_next(&b->scan, &t, &why);

    MP_ASSERT(rc == 0); /* the text was scanned before */
    return t;
}

static int by_name(const void *left, const void *right)
{
    const struct mp_tree *const *a = left, *const *b = right;
    struct mp_slice x = (*a)->name, y = (*b)->name;
    int order = memcmp(x.ptr, y.ptr, x.len < y.len ? x.len : y.len);

    if (!order)
        order = (x.len > y.len) - (x.len < y.len);
    return order ? order : (*a > *b) - (*a < *b); /* later ones behind */
}

static void sort_members(struct mp_tree *v)
{
    size_t kept = 0;

    qsort(v->items, v->n, sizeof(const struct mp_tree *), by_name);
    for (size_t i = 0; i < v->n; i++)
        if (i + 1 == v->n ||
            !mp_slice_eq(v->items[i]->name, v->items[i + 1]->name))
            v->items[kept++] = v->items[i];
    v->n = kept;
}

static struct mp_tree *build(struct builder *b, struct mp_json_token t);

static void build_items(struct builder *b, struct mp_tree *v)
{
    struct mp_tree *first = NULL, **end = &first;
    struct mp_slice name = {0};

    for (;;) {
        struct mp_json_token t = next(b);

        if (t.kind == MP_JSON_CLOSE)
            break;
        if (t.kind == MP_JSON_NAME) {
            name = keep_text(b, &t);
            t = next(b);
        }
        *end = build(b, t);
        (*end)->name = name;
        end = &(*end)->next;
        v->n++;
    }
    v->items = b->points;
    for (; first; first = first->next)
        *b->points++ = first;
    if (v->kind == MP_TREE_OBJECT && v->n > 1)
        sort_members(v);
}

static struct mp_tree *build(struct builder *b, struct mp_json_token t)
{
    struct mp_tree *v = b->values++;
    struct mp_json_number number;
    int rc;

    *v = (struct mp_tree){.kind = MP_TREE_NULL};
    switch (t.kind) {
    case MP_JSON_TRUE:
    case MP_JSON_FALSE:
        v->kind = MP_TREE_BOOL;
        v->yes = t.kind == MP_JSON_TRUE;
        break;
    case MP_JSON_NUMBER:
        rc = mp_json_number(&t, &number);
        MP_ASSERT(rc == 0);
        v->kind = number.is_int ? MP_TREE_INT : MP_TREE_REAL;
        v->integer = number.integer;
        v->real = number.real;
        break;
    case MP_JSON_STRING:
        v->kind = MP_TREE_STRING;
        v->text = keep_text(b, &t);
        break;
    case MP_JSON_LIST:
    case MP_JSON_OBJECT:
        v->kind = t.kind == MP_JSON_LIST ? MP_TREE_LIST : MP_TREE_OBJECT;
        build_items(b, v);
        break;
    default:
        MP_ASSERT(t.kind == MP_JSON_NULL);
    }
    return v;
}

/* The line of byte `at` in a text of several, or 0. */
static size_t line_of(struct mp_slice text, size_t at)
{
    size_t line = 1;

    if (!text.len || !memchr(text.ptr, '\n', text.len))
        return 0;
    for (size_t i = 0; i < at && i < text.len; i++)
        line += text.ptr[i] == '\n';
    return line;
}

int mp_tree_parse(struct mp_tree_doc *doc, struct mp_slice text,
                  struct mp_why *why)
{
    struct builder b;
    const char *at;
    size_t n;

    *doc = (struct mp_tree_doc){0};
    if (count(text, &n, why)) {
        at = strstr(why->text, "at byte ");
        n = at ? line_of(text, (size_t)strtoul(at + 8, NULL, 10) - 1) : 0;
        if (n)
            mp_why_wrap(why, "line %zu", n);
        return MP_EPARSE;
    }
    doc->block =
        mp_alloc(n * (sizeof *b.values + sizeof(struct mp_tree *)) + text.len);
    b.values = doc->block;
    b.points = (const struct mp_tree **)(void *)(b.values + n);
    b.text = (char *)(b.points + n);
    mp_json_init(&b.scan, text);
    doc->root = build(&b, next(&b));
    return 0;
}

void mp_tree_fini(struct mp_tree_doc *doc)
{
    free(doc->block);
    *doc = (struct mp_tree_doc){0};
}

/* ---- looking ---- */

static const struct mp_tree *member(const struct mp_tree *v,
                                    struct mp_slice name)
{
    struct mp_tree wanted = {.name = name};
    size_t low = 0, high = v->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct mp_tree *at = v->items[middle], *key = &wanted;

        if (mp_slice_eq(at->name, name))
            return at;
        if (by_name(&at, &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct mp_tree *mp_tree_get(const struct mp_tree *v, const char *name)
{
    if (!v || v->kind != MP_TREE_OBJECT)
        return NULL;
    return member(v, mp_slice_str(name));
}

struct mp_slice mp_tree_text(const struct mp_tree *v)
{
    return v && v->kind == MP_TREE_STRING ? v->text : (struct mp_slice){0};
}

const char *mp_tree_kind_name(const struct mp_tree *v)
{
    static const char *const names[] = {
        [MP_TREE_NULL] = "null",        [MP_TREE_BOOL] = "a boolean",
        [MP_TREE_INT] = "an integer",   [MP_TREE_REAL] = "a number",
        [MP_TREE_STRING] = "a string",  [MP_TREE_LIST] = "a list",
        [MP_TREE_OBJECT] = "an object",
    };

    return v ? names[v->kind] : "nothing";
}

void mp_tree_print(const struct mp_tree *v, struct mp_buf *out)
{
    bool object = v->kind == MP_TREE_OBJECT;

    switch (v->kind) {
    case MP_TREE_NULL:
        mp_json_put_null(out);
        break;
    case MP_TREE_BOOL:
        mp_json_put_bool(out, v->yes);
        break;
    case MP_TREE_INT:
        mp_json_put_int(out, v->integer);
        break;
    case MP_TREE_REAL:
        mp_json_put_double(out, v->real);
        break;
    case MP_TREE_STRING:
        mp_json_put_string(out, v->text);
        break;
    case MP_TREE_LIST:
    case MP_TREE_OBJECT:
        mp_buf_put(out, object ? "{" : "[", 1);
        for (size_t i = 0; i < v->n; i++) {
            if (i)
                mp_buf_put(out, ",", 1);
            if (object) {
                mp_json_put_string(out, v->items[i]->name);
                mp_buf_put(out, ":", 1);
            }
            mp_tree_print(v->items[i], out);
        }
        mp_buf_put(out, object ? "}" : "]", 1);
        break;
    }
}

/* ---- comparing ---- */

/* Where the comparison is: a chain from here up to the root. */
struct place {
    const struct place *up;
    struct mp_slice name; /* ptr NULL: item of a list */
    size_t index;
};

static void put_place(const struct place *at, const char *root,
                      struct mp_buf *out)
{
    size_t before = out->len;

    if (at->up) {
        put_place(at->up, root, out);
    } else {
        mp_buf_slice(out, mp_slice_str(root));
        return;
    }
    if (!at->name.ptr)
        mp_buf_printf(out, "[%zu]", at->index);
    else
        mp_buf_printf(out, "%s%.*s", out->len > before ? "." : "",
                      MP_FMT(at->name));
}

static void put_shown(const struct mp_tree *v, struct mp_buf *out)
{
    struct mp_buf text;

    if (!v) {
        mp_buf_slice(out, MP_S("nothing"));
        return;
    }
    mp_buf_init(&text, SIZE_MAX / 2);
    mp_tree_print(v, &text);
    if (text.len > SHOWN_MAX) {
        text.len = SHOWN_MAX;
        while ((text.ptr[text.len] & 0xc0) == 0x80) /* whole characters */
            text.len--;
        mp_buf_slice(&text, MP_S("..."));
    }
    mp_buf_slice(out, mp_buf_bytes(&text));
    mp_buf_fini(&text);
}

/* The lead of "PATH: ", when there is a path. */
static void put_lead(const struct place *at, const char *root,
                     struct mp_buf *diff)
{
    size_t before = diff->len;

    put_place(at, root, diff);
    if (diff->len > before)
        mp_buf_slice(diff, MP_S(": "));
}

static bool differ(const struct mp_tree *expected, const struct mp_tree *actual,
                   const struct place *at, const char *root,
                   struct mp_buf *diff)
{
    put_lead(at, root, diff);
    mp_buf_slice(diff, MP_S("expected "));
    put_shown(expected, diff);
    mp_buf_slice(diff, MP_S(", got "));
    put_shown(actual, diff);
    return false;
}

static bool is_number(const struct mp_tree *v)
{
    return v->kind == MP_TREE_INT || v->kind == MP_TREE_REAL;
}

/* Do the values agree, lists and objects by their kind only? */
static bool same(const struct mp_tree *a, const struct mp_tree *b)
{
    if (a->kind == MP_TREE_INT && b->kind == MP_TREE_INT)
        return a->integer == b->integer;
    if (is_number(a) && is_number(b))
        return a->real == b->real;
    if (a->kind != b->kind)
        return false;
    if (a->kind == MP_TREE_BOOL)
        return a->yes == b->yes;
    return a->kind != MP_TREE_STRING || mp_slice_eq(a->text, b->text);
}

static bool covers(const struct mp_tree *expected, const struct mp_tree *actual,
                   const struct place *at, const char *root,
                   struct mp_buf *diff)
{
    struct place below = {.up = at};

    if (!expected || (expected->kind == MP_TREE_NULL && !actual))
        return true;
    if (!actual || !same(expected, actual))
        return differ(expected, actual, at, root, diff);
    if (expected->kind == MP_TREE_LIST && expected->n != actual->n) {
        put_lead(at, root, diff);
        mp_buf_printf(diff, "expected %zu of them, got %zu: ", expected->n,
                      actual->n);
        put_shown(actual, diff);
        return false;
    }
    for (size_t i = 0; i < expected->n; i++) {
        const struct mp_tree *item = expected->items[i], *found;

        below.index = i + 1;
        below.name = item->name;
        found = expected->kind == MP_TREE_LIST ? actual->items[i]
                                               : member(actual, item->name);
        if (!covers(item, found, &below, root, diff))
            return false;
    }
    return true;
}

bool mp_tree_covers(const struct mp_tree *expected,
                    const struct mp_tree *actual, const char *root,
                    struct mp_buf *diff)
{
    struct place top = {0};

    return covers(expected, actual, &top, root, diff);
}
