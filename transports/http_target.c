/*
 * http_target.c - path and query, cut at their separators before anything is
 * decoded, so that an encoded '/' or '&' is data.
 *
 * Data that may not be in a level of a topic ('/', '+', '#', control bytes,
 * what is no UTF-8) is refused: a param can always be put into a topic.  So are
 * '.' and '..', however they are written: whoever stands before us may take
 * them for steps (RFC 3986, 5.2.4), and to a function they are no names.
 */
#include "transports/http_impl.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "core/base/utf8.h"

static const char RESULTS[] = "/results/";

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes s to *at, which goes on.  False: '%' without two hex digits. */
static bool decode(struct mp_slice s, bool plus, char **at,
                   struct mp_slice *out)
{
    char *to = *at;

    for (size_t i = 0; i < s.len; i++) {
        int hi, lo;

        if (s.ptr[i] != '%') {
            *to++ = plus && s.ptr[i] == '+' ? ' ' : s.ptr[i];
            continue;
        }
        hi = s.len - i > 2 ? hex(s.ptr[i + 1]) : -1;
        lo = s.len - i > 2 ? hex(s.ptr[i + 2]) : -1;
        if (hi < 0 || lo < 0)
            return false;
        *to++ = (char)(hi << 4 | lo);
        i += 2;
    }
    *out = mp_slice(*at, (size_t)(to - *at));
    *at = to;
    return true;
}

static bool has_control(struct mp_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return true;
    return false;
}

static const char *level_fault(struct mp_slice level)
{
    if (mp_has(level, '/') || mp_has(level, '+') || mp_has(level, '#'))
        return "a level of the path holds '/', '+' or '#'";
    if (has_control(level))
        return "a level of the path holds a control byte";
    if (mp_slice_is(level, ".") || mp_slice_is(level, ".."))
        return "a level of the path is '.' or '..'";
    return mp_utf8_valid(level) ? NULL : "the path is no UTF-8";
}

static const char *parse_path(struct http_target *t, struct mp_slice raw,
                              char **at)
{
    struct mp_slice level, part;
    char *start = *at;

    mp_split(&raw, '/', &part); /* what is before the first '/': nothing */
    while (mp_split(&raw, '/', &part)) {
        const char *fault;

        *(*at)++ = '/';
        if (!decode(part, false, at, &level))
            return "'%' without two hex digits in the path";
        fault = level_fault(level);
        if (fault)
            return fault;
    }
    t->path = mp_slice(start, (size_t)(*at - start));
    return NULL;
}

static void find_result(struct http_target *t)
{
    size_t len = sizeof RESULTS - 1;

    if (mp_starts(t->path, RESULTS) && t->path.len > len &&
        !memchr(t->path.ptr + len, '/', t->path.len - len))
        t->result = mp_slice(t->path.ptr + len, t->path.len - len);
}

static const char *parse_query(struct http_target *t, struct mp_slice raw,
                               char **at)
{
    struct mp_slice part, name;

    while (mp_split(&raw, '&', &part)) {
        struct mp_pair *pair = &t->query[t->n_query];

        if (!part.len)
            continue;
        if (t->n_query == MP_PAIRS_MAX)
            return "the query has too many parts";
        mp_split(&part, '=', &name);
        if (!decode(name, true, at, &pair->name) ||
            !decode(part, true, at, &pair->value))
            return "'%' without two hex digits in the query";
        if (!mp_utf8_valid(pair->name) || !mp_utf8_valid(pair->value))
            return "the query is no UTF-8";
        t->n_query++;
    }
    return NULL;
}

/* "http://host/path" is what a proxy is asked; to us it means its path. */
static struct mp_slice without_authority(struct mp_slice raw)
{
    const char *at, *end = raw.ptr + raw.len;

    if (!mp_starts(raw, "http://") && !mp_starts(raw, "https://"))
        return raw;
    at = (const char *)memchr(raw.ptr, ':', raw.len) + 3;
    while (at < end && *at != '/' && *at != '?')
        at++;
    return mp_slice(at, (size_t)(end - at));
}

unsigned mp_http_target_parse(struct http_target *t, struct mp_slice raw,
                              struct mp_why *why)
{
    const char *fault;
    struct mp_slice path;
    char *at;

    *t = (struct http_target){.is_star = mp_slice_is(raw, "*")};
    if (t->is_star)
        return 0;
    raw = without_authority(raw);
    mp_split(&raw, '?', &path);
    t->raw_query = raw;
    if (!path.len)
        path = MP_S("/");
    if (path.ptr[0] != '/') {
        mp_why_set(why, MP_EPARSE, "the target is no path");
        return MHD_HTTP_BAD_REQUEST;
    }
    t->text = mp_alloc(path.len + raw.len + 1);
    at = t->text;
    fault = parse_path(t, path, &at);
    if (!fault && t->path.len > MP_TOPIC_MAX) {
        mp_why_set(why, MP_EPARSE, "the path has more than %d bytes",
                   MP_TOPIC_MAX);
        return MHD_HTTP_URI_TOO_LONG;
    }
    if (!fault)
        fault = parse_query(t, raw, &at);
    if (!fault) {
        find_result(t);
        return 0;
    }
    mp_why_set(why, MP_EPARSE, "%s", fault);
    return MHD_HTTP_BAD_REQUEST;
}

void mp_http_target_fini(struct http_target *t)
{
    free(t->text);
    t->text = NULL;
}
