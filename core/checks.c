/*
 * checks.c - what a name, a pattern or another small text must look like.
 *
 * The rows of the key tables point here.  A sentence says how it should be,
 * not only that it isn't.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/config.h"
#include "core/keys.h"
#include "core/request_line.h"

enum { PSK_MAX = 64 }; /* bytes of a pre-shared key */

static bool lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Is every byte of s a letter, a digit or one of others? */
static bool only(struct mp_slice s, const char *others)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (!lower(c) && !upper(c) && !digit(c) && !(c && strchr(others, c)))
            return false;
    }
    return true;
}

static bool has_upper(struct mp_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (upper(s.ptr[i]))
            return true;
    }
    return false;
}

/* "is empty" becomes "'a/b' is empty". */
static int name_it(struct mp_slice v, int rc, struct mp_why *why)
{
    struct mp_why what = *why;

    return mp_why_set(why, rc, "'%.*s' %s", MP_FMT(mp_cut(v, 120)), what.text);
}

int mp_check_some(struct mp_slice v, struct mp_why *why)
{
    return v.len ? 0 : mp_why_set(why, MP_EPARSE, "is empty");
}

int mp_check_name(struct mp_slice v, struct mp_why *why)
{
    if (v.len && v.len <= MP_NAME_MAX && lower(v.ptr[0]) && only(v, "-") &&
        !has_upper(v))
        return 0;
    return mp_why_set(why, MP_EPARSE,
                      "a name is a to z first, then a to z, 0 to 9 and -, at "
                      "most %d",
                      MP_NAME_MAX);
}

int mp_check_trigger(struct mp_slice v, struct mp_why *why)
{
    if (mp_slice_is(v, "alarm") || mp_slice_is(v, "send"))
        return mp_why_set(why, MP_EDENY, "the names alarm and send are taken");
    if (v.len && v.len <= MP_TRIGGER_MAX && lower(v.ptr[0]) && only(v, "-_") &&
        !has_upper(v))
        return 0;
    return mp_why_set(why, MP_EPARSE,
                      "a trigger's name is a to z first, then a to z, 0 to 9, "
                      "_ and -, at most %d",
                      MP_TRIGGER_MAX);
}

int mp_check_env_name(struct mp_slice v, struct mp_why *why)
{
    bool fine = v.len && v.len <= 64 && upper(v.ptr[0]) && only(v, "_");

    for (size_t i = 0; fine && i < v.len; i++)
        fine = !lower(v.ptr[i]);
    if (fine)
        return 0;
    return mp_why_set(
        why, MP_EPARSE,
        "a name in [env], or of a secret, is A to Z first, then A to Z, "
        "0 to 9 and _");
}

int mp_check_node(struct mp_slice v, struct mp_why *why)
{
    if (v.len && v.len <= MP_NODE_MAX && only(mp_slice(v.ptr, 1), "") &&
        only(v, "_.-"))
        return 0;
    return mp_why_set(why, MP_EPARSE,
                      "a node's name is a letter or digit first, then letters, "
                      "digits, _ . and -, at most %d",
                      MP_NODE_MAX);
}

/* Dotted parts behind '-' or '+': letters, digits, '-'; none empty. */
static bool dotted(struct mp_slice rest)
{
    struct mp_slice part;

    while (mp_split(&rest, '.', &part)) {
        if (!part.len || !only(part, "-"))
            return false;
    }
    return true;
}

int mp_check_version(struct mp_slice v, struct mp_why *why)
{
    struct mp_slice rest = v, core, part;
    unsigned numbers = 0;
    size_t end = 0;

    while (end < v.len && v.ptr[end] != '-' && v.ptr[end] != '+')
        end++;
    core = mp_slice(v.ptr, end);
    if (end < v.len && v.ptr[end] == '-') {
        rest = mp_slice(v.ptr + end + 1, v.len - end - 1);
        mp_split(&rest, '+', &part);
        if (!dotted(part))
            goto bad;
    } else {
        rest = end < v.len ? mp_slice(v.ptr + end + 1, v.len - end - 1)
                           : mp_slice(NULL, 0);
    }
    if (rest.ptr && !dotted(rest))
        goto bad;
    while (mp_split(&core, '.', &part)) {
        if (!part.len || part.len > 9 || (part.len > 1 && part.ptr[0] == '0'))
            goto bad;
        for (size_t i = 0; i < part.len; i++) {
            if (!digit(part.ptr[i]))
                goto bad;
        }
        numbers++;
    }
    if (numbers == 3 && v.len <= 64)
        return 0;
bad:
    return mp_why_set(why, MP_EPARSE,
                      "a version is three numbers, as in 1.4.0 or 1.4.0-rc1");
}

int mp_check_zone(struct mp_slice v, struct mp_why *why)
{
    struct mp_zone *zone;
    int rc = mp_zone_open(&zone, MP_ZONE_DIR, v, why);

    if (!rc)
        mp_zone_close(zone);
    return rc;
}

int mp_check_cron(struct mp_slice v, struct mp_why *why)
{
    struct mp_cron cron;

    return mp_cron_parse(&cron, v, why);
}

int mp_check_pattern(struct mp_slice v, struct mp_why *why)
{
    struct mp_pattern p;
    int rc = mp_pattern_parse(&p, v, why);

    if (rc)
        return rc;
    rc = mp_filter_check(v, why); /* {name} is a level like any other */
    if (rc)
        rc = name_it(v, rc, why);
    else if (mp_starts(v, "$share/"))
        rc = mp_why_set(why, MP_EDENY,
                        "a shared subscription is asked for with share = NAME");
    mp_pattern_fini(&p);
    return rc;
}

static int check_request(struct mp_slice v, enum mp_trigger_kind kind,
                         struct mp_why *why)
{
    struct mp_pattern p;
    unsigned methods;
    int rc = mp_request_line(v, kind, &methods, &p, why);

    if (rc)
        return rc;
    if (mp_has(v, '?'))
        rc = mp_why_set(why, MP_EPARSE,
                        "a path ends before '?'; what comes behind it is in "
                        "event.query");
    mp_pattern_fini(&p);
    return rc;
}

int mp_check_coap(struct mp_slice v, struct mp_why *why)
{
    return check_request(v, MP_TRIGGER_COAP, why);
}

int mp_check_http(struct mp_slice v, struct mp_why *why)
{
    return check_request(v, MP_TRIGGER_HTTP, why);
}

int mp_check_auth(struct mp_slice v, struct mp_why *why)
{
    char *secret, *header;
    enum mp_auth auth;
    int rc = mp_auth_line(v, &auth, &secret, &header, why);

    free(secret);
    free(header);
    return rc;
}

int mp_check_filter(struct mp_slice v, struct mp_why *why)
{
    int rc;

    if (mp_has(v, '{'))
        return mp_why_set(why, MP_EPARSE,
                          "a filter has + for a level and # for the rest, no "
                          "{name}");
    rc = mp_filter_check(v, why);
    return rc ? name_it(v, rc, why) : 0;
}

int mp_check_grant(struct mp_slice v, struct mp_why *why)
{
    int rc = mp_check_filter(v, why);

    if (rc)
        return rc;
    if (v.ptr[0] == '$')
        return mp_why_set(why, MP_EDENY,
                          "topics that start with $ are the broker's and can't "
                          "be granted");
    if (mp_slice_is(v, "moonpool") || mp_starts(v, "moonpool/"))
        return mp_why_set(why, MP_EDENY,
                          "topics under moonpool/ are the host's own and can't "
                          "be granted");
    return 0;
}

int mp_check_share(struct mp_slice v, struct mp_why *why)
{
    if (v.len && v.len <= 64 && only(v, "_.-"))
        return 0;
    return mp_why_set(why, MP_EPARSE,
                      "a group's name is letters, digits, _ . and -, at most "
                      "64");
}

int mp_check_template(struct mp_slice v, struct mp_why *why)
{
    size_t i = 0;

    if (!v.len)
        return mp_why_set(why, MP_EPARSE, "a template is empty");
    while (i < v.len) {
        size_t from = i + 1;

        if (v.ptr[i] == '}')
            goto bad;
        if (v.ptr[i++] != '{')
            continue;
        while (i < v.len && v.ptr[i] != '}' && v.ptr[i] != '{')
            i++;
        if (i == v.len || v.ptr[i] == '{' || i == from ||
            !only(mp_slice(v.ptr + from, i - from), "_.[]"))
            goto bad;
        i++;
    }
    return 0;
bad:
    return mp_why_set(why, MP_EPARSE,
                      "a template is text with {name} or {data.path} in it");
}

int mp_check_on_failure(struct mp_slice v, struct mp_why *why)
{
    struct mp_slice to;
    int rc;

    if (mp_starts(v, "topic:")) {
        to = mp_slice(v.ptr + 6, v.len - 6);
        rc = mp_topic_check(to, why);
        if (rc)
            rc = name_it(to, rc, why);
        if (!rc && to.ptr[0] == '$')
            rc = mp_why_set(why, MP_EDENY,
                            "topics that start with $ are the broker's");
        return rc;
    }
    if (mp_starts(v, "function:"))
        return mp_check_name(mp_slice(v.ptr + 9, v.len - 9), why);
    return mp_why_set(why, MP_EPARSE,
                      "topic:T or function:F, as in topic:ops/dead");
}

int mp_check_prefix(struct mp_slice v, struct mp_why *why)
{
    if (v.len && v.len <= 64 && v.ptr[0] != '$' && v.ptr[0] != '/' &&
        v.ptr[v.len - 1] != '/' && only(v, "/_.-"))
        return 0;
    return mp_why_set(why, MP_EPARSE,
                      "a prefix is a topic of letters, digits, _ . - and /, at "
                      "most 64, without / at its ends");
}

int mp_check_mqtt_url(struct mp_slice v, struct mp_why *why)
{
    char *host = NULL;
    uint16_t port;
    bool tls;
    int rc = mp_parse_mqtt_url(v, &tls, &host, &port, why);

    free(host);
    return rc;
}

/* "127.0.0.1:7381", "[::1]:80": numbers, so that nobody has to be asked.
 * without_port: it may be left out. */
static bool is_address(struct mp_slice v, bool without_port)
{
    struct mp_slice rest = v, host;
    unsigned char bytes[sizeof(struct in6_addr)];
    bool six = mp_starts(v, "[");
    char text[INET6_ADDRSTRLEN];
    uint64_t port;
    struct mp_why why;

    if (six) {
        if (!mp_split(&rest, ']', &host) || !rest.ptr ||
            (rest.len && rest.ptr[0] != ':'))
            return false;
        host = mp_slice(host.ptr + 1, host.len - 1);
        rest =
            rest.len ? mp_slice(rest.ptr + 1, rest.len - 1) : mp_slice(NULL, 0);
    } else {
        mp_split(&rest, ':', &host);
    }
    if (host.len >= sizeof text)
        return false;
    snprintf(text, sizeof text, "%.*s", MP_FMT(host));
    if (inet_pton(six ? AF_INET6 : AF_INET, text, bytes) != 1)
        return false;
    if (!rest.ptr)
        return without_port;
    return !mp_parse_number(rest, &port, &why) && port >= 1 && port <= 65535;
}

int mp_check_coap_listen(struct mp_slice v, struct mp_why *why)
{
    static const char *const schemes[] = {"coap://", "coaps://", "coap+tcp://",
                                          "coaps+tcp://"};

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t len = strlen(schemes[i]);

        if (mp_starts(v, schemes[i]) &&
            is_address(mp_slice(v.ptr + len, v.len - len), true))
            return 0;
    }
    return mp_why_set(why, MP_EPARSE,
                      "coap://, coaps://, coap+tcp:// or coaps+tcp:// and an "
                      "address in numbers, as in coap://0.0.0.0:5683 or "
                      "coaps://[::]:5684");
}

int mp_check_http_listen(struct mp_slice v, struct mp_why *why)
{
    if (is_address(v, false))
        return 0;
    return mp_why_set(why, MP_EPARSE,
                      "an address in numbers and a port, as in 0.0.0.0:8080 or "
                      "[::1]:8080");
}

/* Of a line, without blanks; it may be told where it is, not what it says. */
static bool is_psk(struct mp_slice line)
{
    const char *colon = memrchr(line.ptr, ':', line.len);
    struct mp_slice digits;

    if (!colon || colon == line.ptr)
        return false;
    digits = mp_slice(colon + 1, (size_t)(line.ptr + line.len - colon) - 1);
    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.ptr[i] | 0x20;

        if (!digit(digits.ptr[i]) && !(c >= 'a' && c <= 'f'))
            return false;
    }
    return digits.len && digits.len % 2 == 0 && digits.len <= 2 * PSK_MAX;
}

/* What transports/coap_secure.c takes. */
int mp_check_psk_lines(struct mp_slice v, struct mp_why *why)
{
    struct mp_slice line;
    unsigned number = 0;

    while (v.ptr && mp_split(&v, '\n', &line)) {
        line = mp_trim(line);
        number++;
        if (line.len && line.ptr[0] != '#' && !is_psk(line))
            return mp_why_set(why, MP_EPARSE,
                              "line %u of the file is not identity:hex, a key "
                              "of 1 to %d bytes as pairs of hex digits",
                              number, PSK_MAX);
    }
    return 0;
}
