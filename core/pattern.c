/*
 * pattern.c - patterns are cut into levels once, when they are read, so that
 * matching an event is one walk over its topic that allocates nothing.
 */
#include "core/pattern.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "core/base/utf8.h"

enum { PARAM_NAME_MAX = 32 };

static bool name_is_fine(struct mp_slice name)
{
    if (!name.len || name.len > PARAM_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
            !(c >= '0' && c <= '9') && c != '_')
            return false;
    }
    return true;
}

static int parse_placeholder(struct mp_slice level, struct mp_level_part *part,
                             struct mp_why *why)
{
    struct mp_slice name = mp_slice(level.ptr + 1, level.len - 2);

    part->kind = MP_LEVEL_ONE;
    if (mp_ends(name, "...")) {
        part->kind = MP_LEVEL_REST;
        name.len -= 3;
    }
    part->text = name;
    if (!name_is_fine(name))
        return mp_why_set(why, MP_EPARSE,
                          "{%.*s} is no name; letters, digits and _, at most "
                          "%d",
                          MP_FMT(mp_cut(name, 40)), PARAM_NAME_MAX);
    return 0;
}

static int parse_level(struct mp_slice level, struct mp_level_part *part,
                       struct mp_why *why)
{
    *part = (struct mp_level_part){MP_LEVEL_LITERAL, level};
    if (mp_slice_is(level, "+") || mp_slice_is(level, "#")) {
        part->kind = level.ptr[0] == '+' ? MP_LEVEL_ONE : MP_LEVEL_REST;
        part->text = MP_S("");
        return 0;
    }
    if (level.len >= 2 && level.ptr[0] == '{' &&
        memchr(level.ptr, '}', level.len) == level.ptr + level.len - 1)
        return parse_placeholder(level, part, why);
    for (size_t i = 0; i < level.len; i++) {
        char c = level.ptr[i];

        if (c == '{' || c == '}')
            return mp_why_set(why, MP_EPARSE,
                              "a placeholder takes a whole level, as in "
                              "a/{name}/b");
        if (c == '+' || c == '#')
            return mp_why_set(why, MP_EPARSE,
                              "a wildcard takes a whole level, as in a/%c", c);
    }
    return 0;
}

static int parse_levels(struct mp_pattern *p, struct mp_slice rest,
                        struct mp_why *why)
{
    struct mp_slice level;

    while (mp_split(&rest, '/', &level)) {
        struct mp_level_part *part = &p->levels[p->n_levels];
        int rc;

        if (p->n_levels == MP_LEVELS_MAX)
            return mp_why_set(why, MP_ERANGE, "more than %d levels",
                              MP_LEVELS_MAX);
        rc = parse_level(level, part, why);
        if (rc)
            return rc;
        if (part->kind == MP_LEVEL_REST && rest.ptr)
            return mp_why_set(why, MP_EPARSE, "%.*s has levels behind it",
                              MP_FMT(level));
        if (part->kind != MP_LEVEL_LITERAL && part->text.len &&
            mp_pattern_binds(p, part->text))
            return mp_why_set(why, MP_EPARSE, "binds {%.*s} twice",
                              MP_FMT(part->text));
        p->n_levels++;
    }
    return 0;
}

int mp_pattern_parse(struct mp_pattern *p, struct mp_slice text,
                     struct mp_why *why)
{
    int rc;

    *p = (struct mp_pattern){.text = NULL};
    if (!text.len)
        return mp_why_set(why, MP_EPARSE, "a pattern is empty");
    if (text.len > MP_TOPIC_MAX)
        return mp_why_set(why, MP_ERANGE, "a pattern of %zu bytes; at most %d",
                          text.len, MP_TOPIC_MAX);
    if (!mp_utf8_valid(text) || mp_has(text, '\0'))
        return mp_why_set(why, MP_EPARSE, "a pattern is not UTF-8");
    p->text = mp_strndup(text.ptr, text.len);
    rc = parse_levels(p, mp_slice(p->text, text.len), why);
    if (rc)
        mp_pattern_fini(p);
    return rc;
}

void mp_pattern_fini(struct mp_pattern *p)
{
    free(p->text);
    *p = (struct mp_pattern){.text = NULL};
}

bool mp_pattern_match(const struct mp_pattern *p, struct mp_slice topic,
                      struct mp_pair *params, uint32_t *n_params)
{
    const char *t = topic.ptr, *end = t + topic.len;
    uint32_t n = 0;

    if (!topic.len || !p->n_levels)
        return false;
    if (*t == '$' && p->levels[0].kind != MP_LEVEL_LITERAL)
        return false;
    for (unsigned i = 0; i < p->n_levels; i++) {
        const struct mp_level_part *part = &p->levels[i];
        struct mp_slice level = mp_slice(t, (size_t)(end - t)), text;
        bool named = part->kind != MP_LEVEL_LITERAL && part->text.len;
        const char *slash;

        text = part->text;
        if (part->kind == MP_LEVEL_LITERAL) {
            if (level.len < text.len || memcmp(t, text.ptr, text.len) != 0)
                return false;
            t += text.len;
            if (t < end && *t != '/')
                return false;
        } else {
            slash = level.len ? memchr(t, '/', level.len) : NULL;
            if (part->kind == MP_LEVEL_ONE && slash)
                level.len = (size_t)(slash - t);
            t += level.len;
        }
        if (named && !level.len)
            return false;
        if (named)
            params[n++] = (struct mp_pair){text, level};
        if (i + 1 == p->n_levels)
            break;
        if (t == end) { /* a/# takes a, too */
            const struct mp_level_part *next = part + 1;

            if (next->kind != MP_LEVEL_REST || next->text.len)
                return false;
            break;
        }
        t++;
    }
    *n_params = n;
    return t == end;
}

bool mp_pattern_binds(const struct mp_pattern *p, struct mp_slice name)
{
    for (unsigned i = 0; i < p->n_levels; i++) {
        if (p->levels[i].kind != MP_LEVEL_LITERAL && name.len &&
            mp_slice_eq(p->levels[i].text, name))
            return true;
    }
    return false;
}

void mp_pattern_filter(const struct mp_pattern *p, struct mp_buf *filter)
{
    for (unsigned i = 0; i < p->n_levels; i++) {
        if (i)
            mp_buf_put(filter, "/", 1);
        if (p->levels[i].kind == MP_LEVEL_LITERAL)
            mp_buf_slice(filter, p->levels[i].text);
        else
            mp_buf_put(filter, p->levels[i].kind == MP_LEVEL_ONE ? "+" : "#",
                       1);
    }
}

static bool is_wild(struct mp_slice level)
{
    return mp_slice_is(level, "+") || mp_slice_is(level, "#");
}

/* Is one only for topics that start with '$' and the other never for them? */
static bool dollar_apart(struct mp_slice a, struct mp_slice b)
{
    return mp_starts(a, "$") != mp_starts(b, "$");
}

bool mp_filter_overlap(struct mp_slice a, struct mp_slice b)
{
    struct mp_slice la, lb;

    if (dollar_apart(a, b))
        return false;
    for (;;) {
        bool has_a = mp_split(&a, '/', &la), has_b = mp_split(&b, '/', &lb);

        if ((has_a && mp_slice_is(la, "#")) || (has_b && mp_slice_is(lb, "#")))
            return true;
        if (has_a != has_b)
            return false;
        if (!has_a)
            return true;
        if (!is_wild(la) && !is_wild(lb) && !mp_slice_eq(la, lb))
            return false;
    }
}

void mp_filter_cover(struct mp_slice a, struct mp_slice b, struct mp_buf *out)
{
    struct mp_slice la, lb;

    if (dollar_apart(a, b))
        return;
    if (mp_starts(a, "$")) { /* nor does a wildcard cover two of these */
        struct mp_slice ra = a, rb = b;

        mp_split(&ra, '/', &la);
        mp_split(&rb, '/', &lb);
        if (!mp_slice_eq(la, lb))
            return;
    }
    for (bool first = true;; first = false) {
        bool has_a = mp_split(&a, '/', &la), has_b = mp_split(&b, '/', &lb);

        if (!has_a && !has_b)
            return;
        if (!first)
            mp_buf_put(out, "/", 1);
        if (has_a != has_b || mp_slice_is(la, "#") || mp_slice_is(lb, "#")) {
            mp_buf_put(out, "#", 1);
            return;
        }
        if (mp_slice_eq(la, lb))
            mp_buf_slice(out, la);
        else
            mp_buf_put(out, "+", 1);
    }
}
