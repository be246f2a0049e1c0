/*
 * values.c - values as people write them in config files, flags and options.
 *
 * Each parser takes the whole text or says in a sentence how such a value is
 * written; none of them rounds, guesses or stops early.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/text.h"
#include "core/config.h"
#include "core/keys.h"

/* Digits at the front of text; false: none, or beyond what a u64 holds. */
static bool take_digits(struct mp_slice *text, uint64_t *number)
{
    uint64_t n = 0;
    size_t i = 0;

    for (; i < text->len && text->ptr[i] >= '0' && text->ptr[i] <= '9'; i++) {
        unsigned digit = (unsigned)(text->ptr[i] - '0');

        if (n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *number = n;
    *text = mp_slice(text->ptr + i, text->len - i);
    return i > 0;
}

int mp_parse_number(struct mp_slice text, uint64_t *number, struct mp_why *why)
{
    if (take_digits(&text, number) && !text.len)
        return 0;
    return mp_why_set(why, MP_EPARSE, "a whole number is needed");
}

int mp_parse_duration(struct mp_slice text, int64_t *us, struct mp_why *why)
{
    static const struct {
        const char *name;
        int64_t us;
    } units[] = {{"d", 86400 * MP_SECOND}, /* larger ones first */
                 {"h", 3600 * MP_SECOND},
                 {"ms", MP_MS},
                 {"m", 60 * MP_SECOND},
                 {"s", MP_SECOND}};
    const int64_t most = INT64_C(3650) * 86400 * MP_SECOND;
    int64_t sum = 0, last = INT64_MAX;
    uint64_t n;

    if (mp_slice_is(text, "0")) {
        *us = 0;
        return 0;
    }
    do {
        size_t u = 0;

        if (!take_digits(&text, &n))
            return mp_why_set(why, MP_EPARSE,
                              "a duration is numbers and units, as in 100ms, "
                              "2m or 1h30m");
        if (!text.len)
            return mp_why_set(why, MP_EPARSE,
                              "a duration has a unit, as in 100ms or 2m");
        while (u < ARRAY_LEN(units) && !mp_starts(text, units[u].name))
            u++;
        if (u == ARRAY_LEN(units) || units[u].us >= last)
            return mp_why_set(why, MP_EPARSE,
                              "a duration's units are d, h, m, s, ms, in this "
                              "order");
        if (n > (uint64_t)(most / units[u].us) ||
            (sum += (int64_t)n * units[u].us) > most)
            return mp_why_set(why, MP_ERANGE, "longer than ten years");
        last = units[u].us;
        text.ptr += strlen(units[u].name);
        text.len -= strlen(units[u].name);
    } while (text.len);
    *us = sum;
    return 0;
}

int mp_parse_size(struct mp_slice text, uint64_t *bytes, struct mp_why *why)
{
    unsigned shift = 0;
    uint64_t n;

    if (!take_digits(&text, &n) || text.len > 1)
        goto bad;
    if (text.len) {
        const char *unit = strchr("KMG", text.ptr[0]);

        if (!unit || !*unit)
            goto bad;
        shift = 10 * (unsigned)(*unit == 'K' ? 1 : *unit == 'M' ? 2 : 3);
    }
    if (n > (uint64_t)INT64_MAX >> shift)
        return mp_why_set(why, MP_ERANGE, "more than any machine has");
    *bytes = n << shift;
    return 0;
bad:
    return mp_why_set(why, MP_EPARSE,
                      "a size is a number of bytes, or one with K, M or G, as "
                      "in 512K");
}

int mp_parse_rate(struct mp_slice text, uint32_t *per, int64_t *every_us,
                  struct mp_why *why)
{
    uint64_t n;

    if (!take_digits(&text, &n) || text.len != 2 || text.ptr[0] != '/')
        goto bad;
    if (text.ptr[1] == 's')
        *every_us = MP_SECOND;
    else if (text.ptr[1] == 'm')
        *every_us = 60 * MP_SECOND;
    else if (text.ptr[1] == 'h')
        *every_us = 3600 * MP_SECOND;
    else
        goto bad;
    if (!n || n > 1000000)
        return mp_why_set(why, MP_ERANGE, "from 1 to 1000000 in that time");
    *per = (uint32_t)n;
    return 0;
bad:
    return mp_why_set(why, MP_EPARSE,
                      "a rate is so many per s, m or h, as in 10/s");
}

int mp_parse_percent(struct mp_slice text, uint64_t *percent,
                     struct mp_why *why)
{
    if (take_digits(&text, percent) && mp_slice_is(text, "%"))
        return 0;
    return mp_why_set(why, MP_EPARSE, "a percentage is written as in 10%%");
}

int mp_parse_switch(struct mp_slice text, bool *on, struct mp_why *why)
{
    static const char *const words[] = {"no",   "yes", "false",
                                        "true", "off", "on"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (mp_slice_is(text, words[i])) {
            *on = i % 2;
            return 0;
        }
    }
    return mp_why_set(why, MP_EPARSE, "yes or no");
}

int mp_secret_file(int dir, const char *path, struct mp_slice name,
                   char **value, struct mp_why *why)
{
    struct mp_buf text;
    struct mp_slice s;
    int rc;

    mp_buf_init(&text, 64 << 10);
    rc = mp_file_read(dir, path, 64 << 10, &text, why);
    s = mp_buf_bytes(&text);
    while (s.len && (s.ptr[s.len - 1] == '\n' || s.ptr[s.len - 1] == '\r'))
        s.len--;
    if (!rc && (!s.len || memchr(s.ptr, '\0', s.len)))
        rc = mp_why_set(why, MP_EPARSE, "%.*s is empty or holds a NUL",
                        MP_FMT(name));
    if (!rc)
        *value = mp_strndup(s.ptr, s.len);
    if (text.ptr)
        explicit_bzero(text.ptr, text.len);
    mp_buf_fini(&text);
    return rc;
}

static int read_credential(const char *name, char **value, struct mp_why *why)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    int fd, rc;

    if (!dir)
        return mp_why_set(why, MP_ENONE,
                          "no credentials were passed; LoadCredential= of the "
                          "unit does");
    if (strchr(name, '/') || name[0] == '.')
        return mp_why_set(why, MP_EPARSE, "a credential's name is no path");
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return mp_why_errno(why, "open %s", dir);
    rc = mp_secret_file(fd, name, mp_slice_str(name), value, why);
    close(fd);
    return rc;
}

int mp_parse_secret(struct mp_slice text, char **value, struct mp_why *why)
{
    char *form = mp_strndup(text.ptr, text.len), *colon = strchr(form, ':');
    const char *got;
    int rc = MP_EPARSE;

    if (colon && colon[1] && mp_starts(text, "file:")) {
        rc = mp_secret_file(AT_FDCWD, colon + 1, text, value, why);
    } else if (colon && colon[1] && mp_starts(text, "credential:")) {
        rc = read_credential(colon + 1, value, why);
    } else if (colon && colon[1] && mp_starts(text, "env:")) {
        got = getenv(colon + 1);
        rc = got && *got ? 0 : MP_ENONE;
        if (rc)
            mp_why_set(why, rc, "%s is not in the environment", colon + 1);
        else
            *value = mp_strndup(got, strlen(got));
    } else { /* what was written may be the secret: don't repeat it */
        mp_why_set(why, rc,
                   "a secret never stands in the file itself; file:/path, "
                   "credential:NAME or env:NAME");
    }
    free(form);
    return rc;
}
