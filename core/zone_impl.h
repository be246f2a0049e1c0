/*
 * zone_impl.h - inside of a zone: a table of changes, and a rule for what
 * comes after it.  For core/zone*.c only.
 */
#ifndef MP_ZONE_IMPL_H
#define MP_ZONE_IMPL_H

#include "core/zone.h"

enum {
    MP_ZONE_TIMES_MAX = 2048, /* changes in a table; real ones: 236 */
    MP_ZONE_TYPES_MAX = 256,  /* an index is a byte */
    MP_ZONE_CHARS_MAX = 512,  /* abbreviations of a file, together */
};

/* Offsets of RFC 8536: more than -25 h, less than 26 h. */
#define MP_ZONE_OFFSET_MIN (-89999)
#define MP_ZONE_OFFSET_MAX 93599

/* A day of each year, and a time of that day. */
struct mp_zone_when {
    enum {
        MP_WHEN_JULIAN,  /* Jn: 1-365, 29 February is never counted */
        MP_WHEN_DAY,     /* n: 0-365 */
        MP_WHEN_WEEKDAY, /* Mm.w.d */
    } kind;
    int day; /* of the year, or of the week (0: Sunday) */
    int month, week;
    int32_t time_s; /* local; may be negative, or days later */
};

struct mp_zone_rule {
    struct mp_zone_type standard, summer;
    bool changes; /* else it is always standard */
    struct mp_zone_when start, end;
};

struct mp_zone {
    int64_t *times; /* ascending: from here on ... */
    uint8_t *kinds; /* ... this type is in force */
    uint32_t n_times;
    struct mp_zone_type *types; /* types[0]: before the first change */
    uint32_t n_types;
    bool has_rule; /* in force from the last change on */
    struct mp_zone_rule rule;
    char posix[MP_ZONE_POSIX_MAX + 1];
};

/* A time for which one type is in force: from_s <= t < until_s. */
struct mp_zone_span {
    int64_t from_s, until_s;
    const struct mp_zone_type *type;
};

MP_MUST int mp_zone_rule_parse(struct mp_zone_rule *r, struct mp_slice text,
                               struct mp_why *why);
/* The span around an instant; two that follow may have the same type. */
struct mp_zone_span mp_zone_rule_span(const struct mp_zone_rule *r,
                                      int64_t utc_s);
/* May these bytes stand in an abbreviation, and are they enough for one? */
bool mp_zone_abbr_valid(struct mp_slice abbr);

#endif
