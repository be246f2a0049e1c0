/*
 * zone.c - a zone is spans of time, each with one offset.
 *
 * Every question comes down to the span around an instant: in the table it
 * is found by halving, past the table the rule tells it.  A local time L may
 * belong to the spans that begin less than 26 hours around it, for no offset
 * is larger.  In each, L - offset is the instant, if it lies in the span: in
 * two of them, clocks went back; in none, they went forward over L.
 */
#include "core/zone.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/text.h"
#include "core/zone_impl.h"

/* ---- names and files ---- */

int mp_zone_check(struct mp_slice name, struct mp_why *why)
{
    char before = '/';

    if (!name.len || name.len > MP_ZONE_NAME_MAX)
        goto bad;
    for (size_t i = 0; i < name.len; before = name.ptr[i++]) {
        char c = name.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c >= '0' && c <= '9') || (c && strchr("_+-", c));

        if (!word && (c != '/' || before == '/'))
            goto bad;
    }
    if (before != '/')
        return 0;
bad:
    return mp_why_set(why, MP_EPARSE,
                      "a time zone has a name like "
                      "Europe/Paris");
}

static int open_file(struct mp_zone **z, const char *dir, struct mp_slice name,
                     struct mp_why *why)
{
    char path[512];
    struct mp_buf buf;
    int rc;

    snprintf(path, sizeof path, "%s/%.*s", dir, MP_FMT(name));
    mp_buf_init(&buf, MP_ZONE_FILE_MAX);
    rc = mp_file_read(AT_FDCWD, path, MP_ZONE_FILE_MAX, &buf, why);
    if (rc == 0)
        rc = mp_zone_read(z, mp_buf_bytes(&buf), why);
    if (rc == MP_ENONE && access(dir, F_OK) != 0)
        mp_why_set(why, rc,
                   "this machine has no time zones but UTC; install the "
                   "package tzdata");
    else if (rc == MP_ENONE)
        mp_why_set(why, rc,
                   "no time zone %.*s on this machine; the package tzdata has "
                   "all there are",
                   MP_FMT(name));
    else if (rc)
        mp_why_wrap(why, "time zone %.*s", MP_FMT(name));
    mp_buf_fini(&buf);
    return rc;
}

int mp_zone_open(struct mp_zone **z, const char *dir, struct mp_slice name,
                 struct mp_why *why)
{
    int rc = mp_zone_check(name, why);

    if (rc)
        return rc;
    if (mp_slice_is(name, "UTC"))
        return mp_zone_read_posix(z, MP_S("UTC0"), why);
    return open_file(z, dir, name, why);
}

int mp_zone_read_posix(struct mp_zone **out, struct mp_slice text,
                       struct mp_why *why)
{
    struct mp_zone_rule rule;
    struct mp_zone *z;
    int rc = mp_zone_rule_parse(&rule, text, why);

    if (rc)
        return rc;
    z = mp_zalloc(sizeof(*z));
    z->rule = rule;
    z->has_rule = true;
    memcpy(z->posix, text.ptr, text.len); /* its length was checked */
    *out = z;
    return 0;
}

void mp_zone_close(struct mp_zone *z)
{
    if (!z)
        return;
    free(z->times);
    free(z->kinds);
    free(z->types);
    free(z);
}

const char *mp_zone_posix(const struct mp_zone *z)
{
    return z->posix;
}

/* ---- questions ---- */

/* How many changes are not after that instant. */
static uint32_t changes_until(const struct mp_zone *z, int64_t utc_s)
{
    uint32_t low = 0, high = z->n_times;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (z->times[mid] <= utc_s)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct mp_zone_span span_at(const struct mp_zone *z, int64_t utc_s)
{
    uint32_t n = changes_until(z, utc_s);
    struct mp_zone_span span = {INT64_MIN, INT64_MAX, NULL};

    MP_ASSERT(utc_s >= -MP_ZONE_SECONDS_MAX && utc_s <= MP_ZONE_SECONDS_MAX);
    if (n == z->n_times && z->has_rule)
        span = mp_zone_rule_span(&z->rule, utc_s);
    else
        span.type = &z->types[n ? z->kinds[n - 1] : 0];
    if (n > 0 && z->times[n - 1] > span.from_s)
        span.from_s = z->times[n - 1];
    if (n < z->n_times)
        span.until_s = z->times[n];
    return span;
}

const struct mp_zone_type *mp_zone_at(const struct mp_zone *z, int64_t utc_s)
{
    return span_at(z, utc_s).type;
}

struct mp_zone_instant mp_zone_find(const struct mp_zone *z, int64_t local_s)
{
    struct mp_zone_instant found = {.fit = MP_ZONE_GAP};
    int64_t at = local_s - MP_ZONE_OFFSET_MAX - 1;
    int64_t end = local_s - MP_ZONE_OFFSET_MIN;
    bool hit = false, over = false;

    while (at <= end) {
        struct mp_zone_span span = span_at(z, at);
        int64_t utc_s = local_s - span.type->offset_s;

        if (utc_s < at && !over && !hit) { /* clocks show more already */
            found.utc_s = found.second_s = at;
            over = true;
        } else if (utc_s >= at && utc_s < span.until_s) {
            if (hit) {
                found.fit = MP_ZONE_FOLD;
                found.second_s = utc_s;
                return found;
            }
            found = (struct mp_zone_instant){MP_ZONE_ONE, utc_s, utc_s};
            hit = true;
        }
        at = span.until_s;
    }
    return found;
}

/* ---- the system's ---- */

static bool name_from(struct mp_slice text, char name[MP_ZONE_NAME_MAX + 1])
{
    struct mp_why why;

    if (mp_zone_check(text, &why))
        return false;
    snprintf(name, MP_ZONE_NAME_MAX + 1, "%.*s", MP_FMT(text));
    return true;
}

void mp_zone_system(char name[MP_ZONE_NAME_MAX + 1])
{
    static const char mark[] = "zoneinfo/";
    char link[512];
    ssize_t len = readlink("/etc/localtime", link, sizeof link - 1);
    const char *at;
    struct mp_buf buf;
    struct mp_why why;
    bool known;

    link[len > 0 ? len : 0] = '\0';
    at = strstr(link, mark);
    if (at && name_from(mp_slice_str(at + strlen(mark)), name))
        return;
    mp_buf_init(&buf, 2 * MP_ZONE_NAME_MAX);
    known = mp_file_read(AT_FDCWD, "/etc/timezone", buf.max, &buf, &why) == 0 &&
            name_from(mp_trim(mp_buf_bytes(&buf)), name);
    mp_buf_fini(&buf);
    if (!known)
        strcpy(name, "UTC");
}
