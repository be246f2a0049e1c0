/*
 * zone.h - what time it is somewhere: IANA time zones.
 *
 * A zone is read once from a zone file (TZif, RFC 8536) and constant from
 * then on.  All questions are pure functions of the zone and the time asked
 * for: no environment, no tzset, no file.  What lies beyond the file's table
 * is answered by the rule in its footer, for ever.
 *
 *      UTC       ---- mp_zone_at ------>  offset, DST, abbreviation
 *      local     ---- mp_zone_find ---->  the instant, or what a change of
 *                                         the clocks made of it
 *
 * Process  host and command line.   Thread  any; a zone is constant.
 * Memory   a zone owns its table (some KB); types are borrowed from it.
 * Errors   MP_EPARSE: not a name, not a zone file; MP_ENONE: no such zone on
 *          this machine; MP_EIO.
 */
#ifndef MP_ZONE_H
#define MP_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/slice.h"

#define MP_ZONE_DIR "/usr/share/zoneinfo"

enum {
    MP_ZONE_NAME_MAX = 64,       /* the longest there is has 36 */
    MP_ZONE_FILE_MAX = 64 << 10, /* the largest there is has 4 KB */
    MP_ZONE_ABBR_MAX = 15,       /* of an abbreviation; RFC 8536: 6 */
    MP_ZONE_POSIX_MAX = 127,     /* of a POSIX TZ string; real ones: 45 */
};

/* Times asked for lie within: all that microseconds in an int64_t can say. */
#define MP_ZONE_SECONDS_MAX INT64_C(10000000000000)

struct mp_zone_type {
    int32_t offset_s; /* local time minus UTC */
    bool dst;
    char abbr[MP_ZONE_ABBR_MAX + 1];
};

struct mp_zone;

/* Is it written like the name of a zone?  It is safe in a path then. */
MP_MUST int mp_zone_check(struct mp_slice name, struct mp_why *why);

/* The zone of that name in dir (MP_ZONE_DIR); "UTC" needs no file. */
MP_MUST int mp_zone_open(struct mp_zone **z, const char *dir,
                         struct mp_slice name, struct mp_why *why);
/* A zone from the bytes of a zone file. */
MP_MUST int mp_zone_read(struct mp_zone **z, struct mp_slice bytes,
                         struct mp_why *why);
/* A zone from a POSIX TZ string, with the extensions of RFC 8536. */
MP_MUST int mp_zone_read_posix(struct mp_zone **z, struct mp_slice text,
                               struct mp_why *why);
void mp_zone_close(struct mp_zone *z); /* NULL is fine */

/*
 * The rule as a POSIX TZ string, for setenv and tzset in a process that may
 * open no files.  It is right from the last change of the zone's law on;
 * earlier times need the table, and so do coming ones where no rule of this
 * kind is the law (Morocco's Ramadan, an hour off for a month each year).
 */
const char *mp_zone_posix(const struct mp_zone *z);

/* All changes from 1970 to 2100 as rows of core/base/local.h: for workers. */
void mp_zone_table(const struct mp_zone *z, struct mp_buf *table);
/* As that, by name; NULL: the system's.  On error the table is as it was. */
MP_MUST int mp_zone_table_of(const char *name, struct mp_buf *table,
                             struct mp_why *why);

/* What is in force at an instant. */
const struct mp_zone_type *mp_zone_at(const struct mp_zone *z, int64_t utc_s);

enum mp_zone_fit {
    MP_ZONE_ONE,  /* the local time is there once */
    MP_ZONE_GAP,  /* clocks skip it */
    MP_ZONE_FOLD, /* clocks show it twice */
};

struct mp_zone_instant {
    enum mp_zone_fit fit;
    int64_t utc_s;    /* ONE: the instant; GAP: when the gap ends; FOLD: the
                       * first */
    int64_t second_s; /* FOLD: the second; else as utc_s */
};

/* The instant of a local time, given as if it were seconds of UTC
 * (mp_civil_seconds). */
struct mp_zone_instant mp_zone_find(const struct mp_zone *z, int64_t local_s);

/*
 * The name of the system's zone, as /etc/localtime or /etc/timezone has it;
 * "UTC" where neither says.
 */
void mp_zone_system(char name[MP_ZONE_NAME_MAX + 1]);

#endif
