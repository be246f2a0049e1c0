/*
 * fields.c - paths, and the tree of those that are wanted.
 *
 * The paths of a trigger share a tree: its root is the payload, a node is a
 * name or a place in a list, and knows which paths lead here or through here
 * (a bit each).  fields_read.c goes down in it beside a payload.
 */
#include "core/fields.h"

#include <stdio.h>

#include "core/fields_impl.h"

/* ---- paths ---- */

bool mp_path_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || (unsigned char)c >= 0x80;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static char at_or_nul(struct mp_slice text, size_t at)
{
    return at < text.len ? text.ptr[at] : '\0';
}

/* A name without quotes at *at; empty: none. */
static struct mp_slice plain_name(struct mp_slice text, size_t *at)
{
    size_t from = *at;

    if (!digit(at_or_nul(text, from)))
        while (*at < text.len && mp_path_letter(text.ptr[*at]))
            (*at)++;
    return mp_slice(text.ptr + from, *at - from);
}

static int quoted_name(struct mp_slice text, size_t *at,
                       struct mp_path_step *step, struct mp_why *why)
{
    char quote = text.ptr[*at];
    size_t from = ++*at;

    while (*at < text.len && text.ptr[*at] != quote && text.ptr[*at] != '\\')
        (*at)++;
    if (at_or_nul(text, *at) == '\\')
        return mp_why_set(why, MP_EPARSE,
                          "column %zu: a field's name can't have a backslash",
                          *at + 1);
    if (*at == text.len)
        return mp_why_set(why, MP_EPARSE,
                          "column %zu: the name that starts here has no end; "
                          "put %c behind it",
                          from, quote);
    step->name = mp_slice(text.ptr + from, *at - from);
    ++*at;
    return 0;
}

static int place(struct mp_slice text, size_t *at, struct mp_path_step *step,
                 struct mp_why *why)
{
    size_t from = *at;

    step->name = mp_slice(NULL, 0);
    step->index = 0;
    while (digit(at_or_nul(text, *at)) && step->index <= MP_FIELD_INDEX_MAX)
        step->index = step->index * 10 + (uint32_t)(text.ptr[(*at)++] - '0');
    if (step->index > MP_FIELD_INDEX_MAX)
        return mp_why_set(why, MP_ERANGE,
                          "column %zu: a place in a list is at most %d",
                          from + 1, MP_FIELD_INDEX_MAX);
    if (*at == from)
        return mp_why_set(why, MP_EPARSE,
                          "column %zu: expected a place in a list, as in "
                          "a[0], or a name in quotes, as in a[\"b c\"]",
                          from + 1);
    return 0;
}

static int bracket(struct mp_slice text, size_t *at, struct mp_path_step *step,
                   struct mp_why *why)
{
    char c = at_or_nul(text, ++*at);
    int rc = c == '"' || c == '\'' ? quoted_name(text, at, step, why)
                                   : place(text, at, step, why);

    if (rc)
        return rc;
    if (at_or_nul(text, *at) != ']')
        return mp_why_set(why, MP_EPARSE, "column %zu: expected ]", *at + 1);
    ++*at;
    return 0;
}

static int dotted(struct mp_slice text, size_t *at, struct mp_path_step *step,
                  struct mp_why *why)
{
    ++*at;
    step->name = plain_name(text, at);
    if (step->name.len)
        return 0;
    return mp_why_set(why, MP_EPARSE,
                      "column %zu: expected a name after the dot; other names "
                      "stand in quotes, as in a[\"b-c\"]",
                      *at + 1);
}

int mp_path_read(struct mp_slice text, size_t *at, struct mp_path *path,
                 struct mp_why *why)
{
    size_t from = *at;
    struct mp_slice first = plain_name(text, at);
    int rc = 0;
    char c;

    path->n = 0;
    if (!first.len)
        return mp_why_set(why, MP_EPARSE,
                          "column %zu: expected a field, as in temp, a.b[0] or "
                          "data[\"b-c\"]",
                          from + 1);
    if (!mp_slice_is(first, "data"))
        path->steps[path->n++] = (struct mp_path_step){.name = first};
    while (!rc && ((c = at_or_nul(text, *at)) == '.' || c == '[')) {
        if (path->n == MP_FIELD_STEPS_MAX)
            return mp_why_set(why, MP_EFULL,
                              "column %zu: more than %d names and places in "
                              "one field",
                              *at + 1, MP_FIELD_STEPS_MAX);
        if (c == '.')
            rc = dotted(text, at, &path->steps[path->n++], why);
        else
            rc = bracket(text, at, &path->steps[path->n++], why);
    }
    if (!rc && *at - from > MP_FIELD_PATH_MAX)
        rc = mp_why_set(why, MP_EFULL,
                        "column %zu: a field of more than %d bytes", from + 1,
                        MP_FIELD_PATH_MAX);
    return rc;
}

/* ---- the tree ---- */

enum { ROOT = MP_FIELDS_ROOT };

void mp_fields_init(struct mp_fields *f)
{
    memset(f, 0, sizeof *f);
    f->n_nodes = ROOT + 1;
    f->nodes[ROOT].path = -1;
}

static unsigned find_child(const struct mp_fields *f, unsigned parent,
                           const struct mp_path_step *step)
{
    unsigned at = f->nodes[parent].first;

    for (; at; at = f->nodes[at].next) {
        const struct mp_field_node *n = &f->nodes[at];

        if (step->name.ptr
                ? !n->is_index && mp_slice_eq(mp_field_name(f, n), step->name)
                : n->is_index && n->index == step->index)
            break;
    }
    return at;
}

/* There is room: MP_FIELDS_TEXT_MAX is what all paths need twice. */
static uint16_t keep(struct mp_fields *f, struct mp_slice text)
{
    size_t at = f->n_text;

    MP_ASSERT(text.len <= sizeof f->text - at);
    if (text.len)
        memcpy(f->text + at, text.ptr, text.len);
    f->n_text += (unsigned)text.len;
    return (uint16_t)at;
}

static unsigned add_child(struct mp_fields *f, unsigned parent,
                          const struct mp_path_step *step)
{
    unsigned at = f->n_nodes++;
    struct mp_field_node *n = &f->nodes[at];

    *n = (struct mp_field_node){.next = f->nodes[parent].first, .path = -1};
    n->is_index = !step->name.ptr;
    if (n->is_index) {
        n->index = (uint16_t)step->index;
    } else {
        n->name = keep(f, step->name);
        n->len = (uint16_t)step->name.len;
    }
    f->nodes[parent].first = (uint16_t)at;
    return at;
}

/* The path as the name of a SenML record. */
static void write_out(struct mp_fields *f, unsigned path,
                      const struct mp_path *p)
{
    char number[16];

    f->written[path].at = (uint16_t)f->n_text;
    for (unsigned i = 0; i < p->n; i++) {
        const struct mp_path_step *step = &p->steps[i];

        if (step->name.ptr && i > 0)
            keep(f, MP_S("."));
        if (step->name.ptr)
            keep(f, step->name);
        else
            keep(f, mp_slice(number, (size_t)snprintf(number, sizeof number,
                                                      "[%u]", step->index)));
    }
    f->written[path].len = (uint16_t)(f->n_text - f->written[path].at);
}

int mp_fields_want(struct mp_fields *f, const struct mp_path *path,
                   struct mp_why *why)
{
    unsigned at = ROOT, found = ROOT, missing = path->n;

    while (missing > 0 &&
           (found = find_child(f, at, &path->steps[path->n - missing]))) {
        at = found;
        missing--;
    }
    if (!missing && f->nodes[at].path >= 0)
        return f->nodes[at].path;
    if (f->n == MP_FIELDS_MAX)
        return mp_why_set(why, MP_EFULL,
                          "more than %d different fields in one trigger",
                          MP_FIELDS_MAX);
    if (f->n_nodes + missing > ARRAY_LEN(f->nodes))
        return mp_why_set(why, MP_EFULL,
                          "more than %d names in all fields of one trigger",
                          MP_FIELDS_NODES_MAX);
    at = ROOT;
    f->nodes[at].below |= (uint16_t)(1u << f->n);
    for (unsigned i = 0; i < path->n; i++) {
        found = find_child(f, at, &path->steps[i]);
        at = found ? found : add_child(f, at, &path->steps[i]);
        f->nodes[at].below |= (uint16_t)(1u << f->n);
    }
    f->nodes[at].path = (int16_t)f->n;
    write_out(f, f->n, path);
    return (int)f->n++;
}

bool mp_fields_whole(const struct mp_fields *f)
{
    return f->nodes[ROOT].path >= 0;
}
