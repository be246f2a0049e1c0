/*
 * request_line.c - words between blanks, the last one to the end.
 */
#include "core/request_line.h"

#include <stdlib.h>

#include "core/base/text.h"
#include "core/keys.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Cut the next word off. */
static struct mp_slice next_word(struct mp_slice *rest)
{
    struct mp_slice word;

    while (rest->len && is_blank(rest->ptr[0]))
        *rest = mp_slice(rest->ptr + 1, rest->len - 1);
    word = mp_slice(rest->ptr, 0);
    while (word.len < rest->len && !is_blank(rest->ptr[word.len]))
        word.len++;
    *rest = mp_slice(rest->ptr + word.len, rest->len - word.len);
    return word;
}

/* ---- METHOD /path ---- */

static int take_method(struct mp_slice word, enum mp_trigger_kind kind,
                       unsigned *methods, struct mp_why *why)
{
    static const char *const names[] = {"GET",   "POST",  "PUT",   "DELETE",
                                        "PATCH", "FETCH", "iPATCH"};
    unsigned n = kind == MP_TRIGGER_COAP ? MP_HEAD : MP_FETCH;
    const char *near;

    for (unsigned m = 0; m < n; m++) {
        if (!mp_slice_is(word, names[m]))
            continue;
        *methods |= 1U << m;
        return 0;
    }
    if (mp_slice_is(word, "HEAD"))
        return mp_why_set(why, MP_EPARSE,
                          "HEAD is answered by who answers GET; leave it out");
    near = mp_nearest(word, names, n);
    return mp_why_set(why, MP_EPARSE, "'%.*s' is no method%s%s%s", MP_FMT(word),
                      near ? "; did you mean '" : "", near ? near : "",
                      near ? "'?" : "");
}

static int take_methods(struct mp_slice text, enum mp_trigger_kind kind,
                        unsigned *methods, struct mp_why *why)
{
    struct mp_slice part;
    int rc = 0;

    while (!rc && mp_split(&text, ',', &part))
        rc = take_method(part, kind, methods, why);
    return rc;
}

int mp_request_line(struct mp_slice text, enum mp_trigger_kind kind,
                    unsigned *methods, struct mp_pattern *pattern,
                    struct mp_why *why)
{
    struct mp_slice rest = text;
    struct mp_slice first = next_word(&rest), path;
    int rc;

    *methods = 0;
    if (first.len && first.ptr[0] == '/') {
        path = first;
        *methods = 1U << MP_POST | 1U << MP_PUT;
    } else {
        rc = take_methods(first, kind, methods, why);
        if (rc)
            return rc;
        path = next_word(&rest);
    }
    if (next_word(&rest).len)
        return mp_why_set(why, MP_EPARSE,
                          "one path after the methods, which are joined by "
                          "commas, as in GET,PUT /rooms/{room}");
    if (!path.len || path.ptr[0] != '/')
        return mp_why_set(why, MP_EPARSE,
                          "the path starts with '/', as in PUT /rooms/{room}");
    return mp_pattern_parse(pattern, path, why);
}

/* ---- auth ---- */

/* A header's name (RFC 9110, 5.1: a token), kept in lower case. */
static char *header_name(struct mp_slice word)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    char *name = mp_strndup(word.ptr, word.len);

    for (char *c = name; *c; c++) {
        if (*c >= 'A' && *c <= 'Z') {
            *c = (char)(*c - 'A' + 'a');
        } else if (!(*c >= 'a' && *c <= 'z') && !(*c >= '0' && *c <= '9') &&
                   !strchr(others, *c)) {
            free(name);
            return NULL;
        }
    }
    return name;
}

static int take_secret(struct mp_slice *rest, const char *example,
                       char **secret, struct mp_why *why)
{
    struct mp_slice name = next_word(rest);
    int rc;

    if (!name.len)
        return mp_why_set(why, MP_EPARSE,
                          "the name of a granted secret is missing, as in %s",
                          example);
    rc = mp_check_env_name(name, why);
    if (!rc)
        *secret = mp_strndup(name.ptr, name.len);
    return rc;
}

static int take_hmac(struct mp_slice *rest, char **secret, char **header,
                     struct mp_why *why)
{
    static const char example[] = "hmac HOOK_KEY X-Hub-Signature-256";
    int rc = take_secret(rest, example, secret, why);
    struct mp_slice name;

    if (rc)
        return rc;
    name = next_word(rest);
    if (name.len)
        *header = header_name(name);
    return *header ? 0
                   : mp_why_set(why, MP_EPARSE,
                                "the header that holds the signature is "
                                "missing or no header's name, as in %s",
                                example);
}

int mp_auth_line(struct mp_slice text, enum mp_auth *auth, char **secret,
                 char **header, struct mp_why *why)
{
    static const char *const words[] = {"none", "token", "hmac", "dtls"};
    struct mp_slice rest = text;
    struct mp_slice word = next_word(&rest);
    unsigned kind = 0;
    int rc = 0;

    *secret = *header = NULL;
    while (kind < ARRAY_LEN(words) && !mp_slice_is(word, words[kind]))
        kind++;
    if (kind == ARRAY_LEN(words)) {
        const char *near = mp_nearest(word, words, ARRAY_LEN(words));

        return mp_why_set(why, MP_EPARSE,
                          "none, token NAME, hmac NAME HEADER or dtls, not "
                          "'%.*s'%s%s%s",
                          MP_FMT(word), near ? "; did you mean '" : "",
                          near ? near : "", near ? "'?" : "");
    }
    *auth = (enum mp_auth)kind;
    if (*auth == MP_AUTH_TOKEN)
        rc = take_secret(&rest, "token HOOK", secret, why);
    else if (*auth == MP_AUTH_HMAC)
        rc = take_hmac(&rest, secret, header, why);
    if (!rc && next_word(&rest).len)
        rc = mp_why_set(why, MP_EPARSE, "%s takes no more words", words[kind]);
    if (rc) {
        free(*secret);
        free(*header);
        *secret = *header = NULL;
    }
    return rc;
}
