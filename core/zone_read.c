/*
 * zone_read.c - a zone file (TZif, RFC 8536), read within bounds.
 *
 *      "TZif" version 15 x 0   six counts (32 bits, big-endian)
 *      times[timecnt]          seconds since 1970, ascending
 *      kinds[timecnt]          a byte each: the type from then on
 *      types[typecnt]          offset (4), is DST (1), abbreviation (1)
 *      chars[charcnt]          abbreviations, each with a NUL
 *      leaps, two more lists   not for us
 *
 * Version 1 is that once, with times of 32 bits.  From version 2 on it comes
 * twice: skip the first, then the same with 64 bits, and behind it between
 * two newlines the rule for times past the table.  A version above 4 adds
 * nothing that hurts (section 3.1).
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/zone_impl.h"

enum { HEADER = 44, TYPE = 6 };

struct header {
    uint32_t n_ut, n_std, n_leap, n_times, n_types, n_chars;
    char version;
};

struct bytes {
    const unsigned char *at, *end;
};

static uint64_t number(const unsigned char *at, unsigned bytes)
{
    uint64_t n = 0;

    while (bytes--)
        n = n << 8 | *at++;
    return n;
}

/* The next len bytes, or NULL. */
static const unsigned char *take(struct bytes *b, uint64_t len)
{
    const unsigned char *at = b->at;

    if (len > (uint64_t)(b->end - b->at))
        return NULL;
    b->at += len;
    return at;
}

static int read_header(struct bytes *b, struct header *h, struct mp_why *why)
{
    const unsigned char *at = take(b, HEADER);

    if (!at || memcmp(at, "TZif", 4) != 0)
        return mp_why_set(why, MP_EPARSE, "not a zone file");
    *h = (struct header){
        .n_ut = (uint32_t)number(at + 20, 4),
        .n_std = (uint32_t)number(at + 24, 4),
        .n_leap = (uint32_t)number(at + 28, 4),
        .n_times = (uint32_t)number(at + 32, 4),
        .n_types = (uint32_t)number(at + 36, 4),
        .n_chars = (uint32_t)number(at + 40, 4),
        .version = (char)at[4],
    };
    return 0;
}

/* Bytes of a block with times of that size. */
static uint64_t block_size(const struct header *h, unsigned size)
{
    return (uint64_t)h->n_times * (size + 1) + (uint64_t)h->n_types * TYPE +
           h->n_chars + (uint64_t)h->n_leap * (size + 4) + h->n_std + h->n_ut;
}

static int check_counts(const struct header *h, struct mp_why *why)
{
    if (h->n_leap)
        return mp_why_set(why, MP_EPARSE,
                          "it counts leap seconds, which this machine's clock "
                          "does not");
    if (h->n_times > MP_ZONE_TIMES_MAX || h->n_chars > MP_ZONE_CHARS_MAX ||
        h->n_types > MP_ZONE_TYPES_MAX || !h->n_types)
        return mp_why_set(why, MP_EPARSE,
                          "not a zone file: %u changes, %u types", h->n_times,
                          h->n_types);
    return 0;
}

static int read_times(struct mp_zone *z, const unsigned char *at, unsigned size,
                      struct mp_why *why)
{
    const unsigned char *kinds = at + z->n_times * size;

    for (uint32_t i = 0; i < z->n_times; i++) {
        uint64_t n = number(at + i * size, size);

        z->times[i] = size == 4 ? (int32_t)(uint32_t)n : (int64_t)n;
        z->kinds[i] = kinds[i];
        if (i > 0 && z->times[i] <= z->times[i - 1])
            return mp_why_set(why, MP_EPARSE, "change %u is not in order", i);
        if (z->kinds[i] >= z->n_types)
            return mp_why_set(why, MP_EPARSE, "change %u is to no type", i);
    }
    return 0;
}

static int read_type(struct mp_zone_type *t, const unsigned char *at,
                     struct mp_slice chars)
{
    struct mp_slice abbr = {NULL, 0};
    const char *end;

    t->offset_s = (int32_t)(uint32_t)number(at, 4);
    t->dst = at[4] != 0;
    if (at[5] < chars.len)
        abbr = mp_slice(chars.ptr + at[5], chars.len - at[5]);
    end = abbr.len ? memchr(abbr.ptr, '\0', abbr.len) : NULL;
    if (!end || t->offset_s < MP_ZONE_OFFSET_MIN ||
        t->offset_s > MP_ZONE_OFFSET_MAX || at[4] > 1)
        return MP_EPARSE;
    abbr.len = (size_t)(end - abbr.ptr);
    if (!mp_zone_abbr_valid(abbr))
        return MP_EPARSE;
    memcpy(t->abbr, abbr.ptr, abbr.len + 1);
    return 0;
}

static int read_block(struct mp_zone *z, const struct header *h,
                      const unsigned char *at, unsigned size,
                      struct mp_why *why)
{
    const unsigned char *types = at + h->n_times * (size + 1);
    struct mp_slice chars = {(const char *)types + h->n_types * TYPE,
                             h->n_chars};

    z->n_times = h->n_times;
    z->n_types = h->n_types;
    z->times = mp_zalloc(h->n_times * sizeof(*z->times));
    z->kinds = mp_zalloc(h->n_times);
    z->types = mp_zalloc(h->n_types * sizeof(*z->types));
    for (uint32_t i = 0; i < z->n_types; i++)
        if (read_type(&z->types[i], types + i * TYPE, chars))
            return mp_why_set(why, MP_EPARSE, "type %u makes no sense", i);
    return read_times(z, at, size, why);
}

/* "\nTZ\n"; an empty one: nothing is known of later times. */
static int read_footer(struct mp_zone *z, struct bytes *b, struct mp_why *why)
{
    const unsigned char *at = take(b, 1), *end;
    struct mp_slice text;

    end = at && *at == '\n' ? memchr(b->at, '\n', (size_t)(b->end - b->at))
                            : NULL;
    if (!end)
        return mp_why_set(why, MP_EPARSE, "the rule at its end is cut off");
    text = mp_slice(b->at, (size_t)(end - b->at));
    if (!text.len)
        return 0;
    if (mp_zone_rule_parse(&z->rule, text, why))
        return MP_EPARSE;
    z->has_rule = true;
    memcpy(z->posix, text.ptr, text.len); /* its length was checked */
    return 0;
}

/* Without a rule, the last type is in force for ever. */
static void make_posix(struct mp_zone *z)
{
    const struct mp_zone_type *t =
        &z->types[z->n_times ? z->kinds[z->n_times - 1] : 0];
    int west = abs(t->offset_s);

    if (!z->has_rule)
        snprintf(z->posix, sizeof z->posix, "<%s>%s%d:%02d:%02d", t->abbr,
                 t->offset_s > 0 ? "-" : "", west / 3600, west / 60 % 60,
                 west % 60);
}

static int read_all(struct mp_zone *z, struct bytes b, struct mp_why *why)
{
    const unsigned char *at;
    unsigned size = 4;
    struct header h;

    if (read_header(&b, &h, why))
        return MP_EPARSE;
    if (h.version >= '2') {
        if (!take(&b, block_size(&h, size)))
            return mp_why_set(why, MP_EPARSE, "the zone file is cut off");
        if (read_header(&b, &h, why))
            return MP_EPARSE;
        size = 8;
    }
    at = take(&b, block_size(&h, size));
    if (!at)
        return mp_why_set(why, MP_EPARSE, "the zone file is cut off");
    if (check_counts(&h, why) || read_block(z, &h, at, size, why) ||
        (size == 8 && read_footer(z, &b, why)))
        return MP_EPARSE;
    make_posix(z);
    return 0;
}

int mp_zone_read(struct mp_zone **out, struct mp_slice bytes,
                 struct mp_why *why)
{
    const unsigned char *at = (const unsigned char *)bytes.ptr;
    struct mp_zone *z = mp_zalloc(sizeof(*z));
    int rc = read_all(z, (struct bytes){at, at + bytes.len}, why);

    if (rc) {
        mp_zone_close(z);
        return rc;
    }
    *out = z;
    return 0;
}
