/*
 * request.c - splits path and query by their separators first and decodes the
 * parts afterwards, so that an encoded '/' or '&' is data.
 */
#include "core/request.h"

#include <stdlib.h>

#include "core/base/base64.h"
#include "core/base/json.h"
#include "core/base/text.h"
#include "core/base/utf8.h"

enum { PARTS_MAX = 5 };

static const struct {
    const char *method, *path; /* F: a function, V: a value, I: an id */
    enum mp_asked what;
} routes[] = {
    {"GET", "healthz", MP_ASKED_HEALTH},
    {"GET", "readyz", MP_ASKED_READY},
    {"GET", "metrics", MP_ASKED_METRICS},
    {"GET", "v1/functions/F/actors", MP_ASKED_ACTORS},
    {"GET", "v1/functions/F/state", MP_ASKED_STATE},
    {"GET", "v1/functions/F/state/V", MP_ASKED_STATE_GET},
    {"PUT", "v1/functions/F/state/V", MP_ASKED_STATE_PUT},
    {"DELETE", "v1/functions/F/state/V", MP_ASKED_STATE_DELETE},
    {"DELETE", "v1/functions/F/state", MP_ASKED_STATE_CLEAR},
    {"POST", "v1/functions/F/send", MP_ASKED_SEND},
    {"GET", "v1/dead-letters", MP_ASKED_DEAD},
    {"DELETE", "v1/dead-letters", MP_ASKED_DEAD_DROP_ALL},
    {"POST", "v1/dead-letters/replay", MP_ASKED_DEAD_REPLAY_ALL},
    {"GET", "v1/dead-letters/I", MP_ASKED_DEAD_GET},
    {"DELETE", "v1/dead-letters/I", MP_ASKED_DEAD_DROP},
    {"POST", "v1/dead-letters/I/replay", MP_ASKED_DEAD_REPLAY},
    {"GET", "v1/queue", MP_ASKED_QUEUE},
    {"DELETE", "v1/queue", MP_ASKED_QUEUE_DROP_ALL},
    {"DELETE", "v1/queue/I", MP_ASKED_QUEUE_DROP},
    {"GET", "v1/alarms", MP_ASKED_ALARMS},
};

/* ---- words ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode into room, which takes s; a NUL and bad UTF-8 are nobody's name. */
static int decode(struct mp_slice *s, char *room, struct mp_why *why)
{
    size_t len = 0;

    for (size_t i = 0; i < s->len; i++) {
        int hi, lo;

        if (s->ptr[i] != '%') {
            room[len++] = s->ptr[i];
            continue;
        }
        hi = s->len - i > 2 ? hex(s->ptr[i + 1]) : -1;
        lo = s->len - i > 2 ? hex(s->ptr[i + 2]) : -1;
        if (hi < 0 || lo < 0)
            return mp_why_set(why, MP_EPARSE,
                              "'%%' without two hex digits in '%.*s'",
                              MP_FMT(mp_cut(*s, 60)));
        room[len++] = (char)(hi << 4 | lo);
        i += 2;
    }
    *s = mp_slice(room, len);
    if (memchr(room, '\0', len) || !mp_utf8_valid(*s))
        return mp_why_set(why, MP_EPARSE,
                          "the path holds bytes that are no "
                          "text");
    return 0;
}

static int number(struct mp_slice text, int64_t max, const char *what,
                  int64_t *n, struct mp_why *why)
{
    *n = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = text.ptr[i] - '0';

        if (digit < 0 || digit > 9 || *n > (max - digit) / 10)
            break;
        *n = *n * 10 + digit;
        if (i + 1 == text.len)
            return 0;
    }
    return mp_why_set(why, MP_EPARSE, "%s '%.*s' is no number from 0 to %lld",
                      what, MP_FMT(mp_cut(text, 40)), (long long)max);
}

static bool is_name(struct mp_slice s)
{
    if (s.len < 1 || s.len > MP_NAME_MAX || s.ptr[0] < 'a' || s.ptr[0] > 'z')
        return false;
    for (size_t i = 1; i < s.len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-", s.ptr[i]))
            return false;
    return true;
}

static int take_function(struct mp_request *r, struct mp_slice name,
                         struct mp_why *why)
{
    if (!is_name(name))
        return mp_why_set(why, MP_EPARSE,
                          "'%.*s' is not the name of a function",
                          MP_FMT(mp_cut(name, 60)));
    r->function = name;
    return 0;
}

/* ---- the path ---- */

static bool is_id(struct mp_slice part)
{
    return part.len && part.ptr[0] >= '0' && part.ptr[0] <= '9';
}

static bool fits(const char *path, const struct mp_slice *parts, size_t n)
{
    struct mp_slice rest = mp_slice_str(path), want;
    size_t i = 0;

    for (; mp_split(&rest, '/', &want); i++) {
        if (i >= n)
            return false;
        if (mp_slice_is(want, "I") ? !is_id(parts[i])
            : want.len == 1        ? false
                                   : !mp_slice_eq(want, parts[i]))
            return false;
    }
    return i == n;
}

static int take_parts(struct mp_request *r, const char *path,
                      const struct mp_slice *parts, struct mp_why *why)
{
    struct mp_slice rest = mp_slice_str(path), want;
    int rc = 0;

    for (size_t i = 0; !rc && mp_split(&rest, '/', &want); i++) {
        if (mp_slice_is(want, "F"))
            rc = take_function(r, parts[i], why);
        else if (mp_slice_is(want, "V"))
            r->value = parts[i];
        else if (mp_slice_is(want, "I"))
            rc = number(parts[i], INT64_MAX, "id", &r->id, why);
    }
    return rc;
}

static int find(struct mp_request *r, struct mp_slice method,
                const struct mp_slice *parts, size_t n, struct mp_why *why)
{
    bool known = false;

    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!fits(routes[i].path, parts, n))
            continue;
        known = true;
        if (!mp_slice_is(method, routes[i].method))
            continue;
        r->what = routes[i].what;
        return take_parts(r, routes[i].path, parts, why);
    }
    if (known)
        return mp_why_set(why, MP_EDENY, "this path is not for %.*s",
                          MP_FMT(mp_cut(method, 16)));
    return mp_why_set(why, MP_ENONE, "there is no such path");
}

/* ---- the query ---- */

static int take_option(struct mp_request *r, struct mp_slice name,
                       struct mp_slice value, struct mp_why *why)
{
    int64_t n;
    int rc = 0;

    if (mp_slice_is(name, "function")) {
        rc = take_function(r, value, why);
    } else if (mp_slice_is(name, "key")) {
        r->key = value;
    } else if (mp_slice_is(name, "prefix")) {
        r->prefix = value;
    } else if (mp_slice_is(name, "trigger")) {
        r->trigger = value;
    } else if (mp_slice_is(name, "wait")) {
        rc = number(value, 1, "wait", &n, why);
        r->wait = n;
    } else if (mp_slice_is(name, "after")) {
        r->after = value;
        if (r->what == MP_ASKED_DEAD || r->what == MP_ASKED_QUEUE ||
            r->what == MP_ASKED_ALARMS)
            rc = number(value, INT64_MAX, "after", &r->after_id, why);
    } else if (mp_slice_is(name, "limit")) {
        rc = number(value, MP_PAGE_MAX, "limit", &n, why);
        r->limit = n < 1 ? 1 : (uint32_t)n;
    } else {
        rc = mp_why_set(why, MP_EPARSE, "unknown parameter '%.*s'",
                        MP_FMT(mp_cut(name, 40)));
    }
    return rc;
}

static int take_query(struct mp_request *r, struct mp_slice query, char **room,
                      struct mp_why *why)
{
    struct mp_slice option, name;
    int rc = 0;

    while (!rc && mp_split(&query, '&', &option)) {
        if (!option.len)
            continue;
        mp_split(&option, '=', &name);
        if (!option.ptr)
            option = MP_S("");
        rc = decode(&name, *room, why);
        *room += name.len;
        if (!rc)
            rc = decode(&option, *room, why);
        *room += option.len;
        if (!rc)
            rc = take_option(r, name, option, why);
    }
    return rc;
}

int mp_request_parse(struct mp_request *r, struct mp_slice method,
                     struct mp_slice target, struct mp_why *why)
{
    struct mp_slice parts[PARTS_MAX], path, part;
    size_t n = 0;
    char *room;
    int rc = 0;

    *r = (struct mp_request){
        .limit = MP_PAGE_DEFAULT, .prefix = MP_S(""), .after = MP_S("")};
    if (target.len > MP_TARGET_MAX)
        return mp_why_set(why, MP_EPARSE, "the path is longer than %d bytes",
                          MP_TARGET_MAX);
    room = r->words = mp_alloc(target.len + 1);
    mp_split(&target, '?', &path);
    if (!path.len || path.ptr[0] != '/')
        rc = mp_why_set(why, MP_EPARSE, "a path begins with '/'");
    else
        path = mp_slice(path.ptr + 1, path.len - 1);
    while (!rc && mp_split(&path, '/', &part)) {
        if (n == PARTS_MAX) {
            rc = mp_why_set(why, MP_ENONE, "there is no such path");
            break;
        }
        rc = decode(&part, room, why);
        room += part.len;
        parts[n++] = part;
    }
    if (!rc)
        rc = find(r, method, parts, n, why);
    if (!rc && target.ptr)
        rc = take_query(r, target, &room, why);
    if (rc)
        mp_request_fini(r);
    return rc;
}

void mp_request_fini(struct mp_request *r)
{
    free(r->words);
    r->words = NULL;
}

void mp_request_put(struct mp_buf *b, struct mp_slice text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9') || (c && strchr("-._~", c));

        if (plain)
            mp_buf_put(b, &c, 1);
        else
            mp_buf_printf(b, "%%%c%c", digits[c >> 4], digits[c & 15]);
    }
}

/* ---- values ---- */

static int string_value(const struct mp_json_token *t, struct mp_value *value,
                        struct mp_buf *text)
{
    char *room = mp_buf_room(text, t->text.len + 1);

    if (!room)
        return MP_EFULL;
    value->kind = MP_VALUE_STRING;
    value->text = mp_slice(room, mp_json_unescape(t->text, room));
    text->len += value->text.len;
    return 0;
}

/*
 * {"base64": "..."} is how a string that is no UTF-8 is shown
 * (core/event_json.h), so that what was dumped can be restored.  One that
 * means UTF-8 never came from there: it is a table like any other.
 */
static bool bytes_value(struct mp_slice json, struct mp_value *value,
                        struct mp_buf *text)
{
    struct mp_json_token t[4];
    struct mp_json s;
    struct mp_why why;
    size_t len, bad;
    char *room;

    mp_json_init(&s, json);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        if (mp_json_next(&s, &t[i], &why))
            return false;
    }
    if (t[0].kind != MP_JSON_OBJECT || t[1].kind != MP_JSON_NAME ||
        !mp_json_is(&t[1], MP_S("base64")) || t[2].kind != MP_JSON_STRING ||
        t[2].escaped || t[3].kind != MP_JSON_CLOSE)
        return false;
    room = mp_buf_room(text, t[2].text.len / 4 * 3 + 2);
    if (!room || mp_base64_decode(t[2].text, room, &len, &bad) ||
        mp_utf8_valid(mp_slice(room, len)))
        return false;
    value->kind = MP_VALUE_STRING;
    value->text = mp_slice(room, len);
    text->len += len;
    return true;
}

static int number_value(const struct mp_json_token *t, struct mp_value *value)
{
    struct mp_json_number n;
    int rc = mp_json_number(t, &n);

    value->kind = n.is_int ? MP_VALUE_INTEGER : MP_VALUE_FLOAT;
    value->integer = n.is_int ? n.integer : 0;
    value->number = n.is_int ? 0 : n.real;
    return rc;
}

int mp_request_value(struct mp_slice json, struct mp_value *value,
                     struct mp_buf *text, struct mp_why *why)
{
    struct mp_json_token first, t;
    struct mp_json s;
    int rc;

    *value = (struct mp_value){.kind = MP_VALUE_NONE};
    mp_json_init(&s, json);
    rc = mp_json_next(&s, &first, why);
    if (rc)
        return rc;
    rc = mp_json_skip(&s, &first, why);
    if (!rc)
        rc = mp_json_next(&s, &t, why); /* nothing stands behind it */
    if (rc)
        return rc;
    if (first.kind == MP_JSON_NULL)
        return mp_why_set(why, MP_EPARSE,
                          "null is no value; to remove one, delete it");
    if (first.kind == MP_JSON_STRING) {
        rc = string_value(&first, value, text);
    } else if (first.kind == MP_JSON_NUMBER) {
        rc = number_value(&first, value);
    } else if (first.kind == MP_JSON_TRUE || first.kind == MP_JSON_FALSE) {
        value->kind = MP_VALUE_BOOLEAN;
        value->integer = first.kind == MP_JSON_TRUE;
    } else if (!bytes_value(json, value, text)) {
        value->kind = MP_VALUE_TABLE; /* kept as its text */
        value->text = mp_trim(json);
    }
    return rc ? mp_why_set(why, MP_EPARSE, "the value is too large") : 0;
}

int mp_request_check_value(struct mp_slice key, struct mp_slice name,
                           const struct mp_value *value, struct mp_why *why)
{
    if (key.len > MP_KEY_MAX)
        return mp_why_set(why, MP_EPARSE, "the key is longer than %d bytes",
                          MP_KEY_MAX);
    if (name.len < 1 || name.len > MP_STATE_NAME_MAX)
        return mp_why_set(why, MP_EPARSE,
                          "the name of a value has 1 to %d bytes",
                          MP_STATE_NAME_MAX);
    if (mp_value_bytes(value) > MP_STATE_VALUE_MAX)
        return mp_why_set(why, MP_EPARSE, "the value is longer than %d bytes",
                          MP_STATE_VALUE_MAX);
    return 0;
}
