/*
 * http_head.c - what the headers of a request say.
 *
 * The library holds them until the request is over; they are copied once, into
 * the input.
 */
#include "transports/http_impl.h"

#include <stdlib.h>
#include <strings.h>

#include "core/base/text.h"

static const char *find(const struct http_call *c, const char *name)
{
    return MHD_lookup_connection_value(c->conn->con, MHD_HEADER_KIND, name);
}

struct mp_slice mp_http_header(const struct http_call *c, const char *name)
{
    return mp_slice_str(find(c, name));
}

static bool is_word(struct mp_slice s, const char *word)
{
    s = mp_trim(s);
    return s.len == strlen(word) && strncasecmp(s.ptr, word, s.len) == 0;
}

bool mp_http_expects(const struct http_call *c)
{
    return is_word(mp_http_header(c, "Expect"), "100-continue");
}

/* Preferences with their params: "respond-async, wait=10" (RFC 7240). */
static bool prefers(struct mp_slice list)
{
    struct mp_slice item, word;

    while (mp_split(&list, ',', &item)) {
        mp_split(&item, ';', &word);
        if (is_word(word, "respond-async"))
            return true;
    }
    return false;
}

static enum MHD_Result see_prefer(void *found, enum MHD_ValueKind kind,
                                  const char *name, const char *value)
{
    bool *is = found;

    (void)kind;
    *is |= strcasecmp(name, "Prefer") == 0 && prefers(mp_slice_str(value));
    return MHD_YES;
}

bool mp_http_prefers_async(const struct http_call *c)
{
    bool is = false;

    MHD_get_connection_values(c->conn->con, MHD_HEADER_KIND, see_prefer, &is);
    return is;
}

bool mp_http_length(const struct http_call *c, uint64_t *len)
{
    const char *text = find(c, "Content-Length");

    *len = 0;
    if (find(c, "Transfer-Encoding"))
        return false;
    if (text)
        *len = strtoull(text, NULL, 10); /* the library has checked it */
    return true;
}

bool mp_http_is_name(struct mp_slice s)
{
    static const char more[] = "!#$%&'*+-.^_`|~"; /* RFC 9110, 5.6.2 */

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || mp_has(MP_S(more), c)))
            return false;
    }
    return s.len > 0;
}

/* The library takes the first of two; who is in front of us may take the
 * other, and see another end of the request. */
static const char *const once[] = {"Content-Length", "Transfer-Encoding",
                                   "Host"};

struct names {
    bool bad;
    unsigned n[ARRAY_LEN(once)];
};

static enum MHD_Result see_name(void *names, enum MHD_ValueKind kind,
                                const char *name, size_t len, const char *value,
                                size_t value_len)
{
    struct names *seen = names;

    (void)kind;
    (void)value;
    (void)value_len;
    seen->bad |= !mp_http_is_name(mp_slice(name, len));
    for (size_t i = 0; i < ARRAY_LEN(once); i++)
        seen->n[i] +=
            len == strlen(once[i]) && strncasecmp(name, once[i], len) == 0;
    return MHD_YES;
}

static unsigned check_names(const struct http_call *c, struct mp_why *why)
{
    struct names seen = {0};

    MHD_get_connection_values_n(c->conn->con, MHD_HEADER_KIND, see_name, &seen);
    if (seen.bad) {
        mp_why_set(why, MP_EPARSE, "the name of a header is no name");
        return MHD_HTTP_BAD_REQUEST;
    }
    for (size_t i = 0; i < ARRAY_LEN(once); i++) {
        if (seen.n[i] > 1) {
            mp_why_set(why, MP_EPARSE, "more than one %s", once[i]);
            return MHD_HTTP_BAD_REQUEST;
        }
    }
    if (c->needs_host && !find(c, "Host")) { /* RFC 9112, 3.2 */
        mp_why_set(why, MP_EPARSE, "a request of HTTP/1.1 has a Host header");
        return MHD_HTTP_BAD_REQUEST;
    }
    if (strchr(c->raw, ' ')) { /* where does it end? */
        mp_why_set(why, MP_EPARSE, "the target of the request has a blank");
        return MHD_HTTP_BAD_REQUEST;
    }
    return 0;
}

unsigned mp_http_head_check(const struct http_call *c, struct mp_why *why)
{
    uint32_t max = c->http->config->http.max_header;
    struct mp_slice coding = mp_http_header(c, "Transfer-Encoding");
    int n =
        MHD_get_connection_values(c->conn->con, MHD_HEADER_KIND, NULL, NULL);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        c->conn->con, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    unsigned status;

    if (n > MP_PAIRS_MAX) {
        mp_why_set(why, MP_EFULL, "more than %d headers", MP_PAIRS_MAX);
        return MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    if (info && info->header_size > max) {
        mp_why_set(why, MP_EFULL, "the headers have more than %u bytes", max);
        return MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    status = check_names(c, why);
    if (status || !coding.ptr)
        return status;
    if (find(c, "Content-Length")) { /* two answers to one question */
        mp_why_set(why, MP_EPARSE, "both Content-Length and Transfer-Encoding");
        return MHD_HTTP_BAD_REQUEST;
    }
    if (!is_word(coding, "chunked")) {
        mp_why_set(why, MP_EPARSE, "the only Transfer-Encoding is chunked");
        return MHD_HTTP_NOT_IMPLEMENTED;
    }
    return 0;
}

/* ---- as pairs ---- */

struct gather {
    struct mp_pair *pairs;
    uint32_t n;
    size_t bytes;
    const char *skip;
};

static enum MHD_Result gather(void *into, enum MHD_ValueKind kind,
                              const char *name, size_t name_len,
                              const char *value, size_t value_len)
{
    struct gather *g = into;

    (void)kind;
    if (g->skip && strcasecmp(name, g->skip) == 0)
        return MHD_YES;
    MP_ASSERT(g->n < MP_PAIRS_MAX); /* mp_http_head_check */
    g->pairs[g->n++] =
        (struct mp_pair){mp_slice(name, name_len),
                         mp_slice(value ? value : "", value ? value_len : 0)};
    g->bytes += name_len + value_len + 2;
    return MHD_YES;
}

static void put(char **at, struct mp_slice s)
{
    if (s.len)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
}

/* Puts all values of one name together, and takes them out of the list. */
static void join(struct mp_pair *first, struct mp_pair *pairs, uint32_t *n,
                 char **at)
{
    char *start = *at;

    put(at, first->value);
    for (uint32_t i = (uint32_t)(first - pairs) + 1; i < *n;) {
        struct mp_pair *p = &pairs[i];

        if (p->name.len != first->name.len ||
            strncasecmp(p->name.ptr, first->name.ptr, p->name.len) != 0) {
            i++;
            continue;
        }
        put(at, MP_S(", "));
        put(at, p->value);
        memmove(p, p + 1, (--*n - i) * sizeof *p);
    }
    first->value = mp_slice(start, (size_t)(*at - start));
}

uint32_t mp_http_pairs(const struct http_call *c, const char *skip,
                       struct mp_pair *pairs, char **text)
{
    struct gather g = {.pairs = pairs, .skip = skip};
    char *at;

    MHD_get_connection_values_n(c->conn->con, MHD_HEADER_KIND, gather, &g);
    at = *text = mp_alloc(g.bytes + 1);
    for (uint32_t i = 0; i < g.n; i++) {
        char *name;

        join(&pairs[i], pairs, &g.n, &at);
        name = at;
        for (size_t k = 0; k < pairs[i].name.len; k++) {
            char ch = pairs[i].name.ptr[k];

            *at++ = ch >= 'A' && ch <= 'Z' ? (char)(ch | 0x20) : ch;
        }
        pairs[i].name = mp_slice(name, pairs[i].name.len);
    }
    return g.n;
}
