/*
 * dead.h - dead letters: what was given up, so that a person can look at it.
 *
 * Grouped by (function, version, outcome, error site): of each group the
 * first MP_DEAD_FIRST inputs and the last one are kept, the rest is counted;
 * count and last are written once a minute at most.  A sensor gone mad wears
 * no flash.  The error site is the "FILE:LINE" that an error begins with,
 * else the error's first words with numbers taken out.
 *
 * While the database has no room letters are counted only, and the last one is
 * kept in memory until there is some.
 *
 * Bounded by [store] dead_letters: the oldest letters go first.  A group goes
 * with its last letter.  Its count is of all its letters, kept or not, but for
 * those that a person dropped; first and last are wall clock times.
 *
 * Process  host only.   Thread  loop thread; mp_dead_load in the reader's.
 * Memory   a record a group, at most MP_DEAD_GROUPS (the oldest goes then);
 *          the last letter of groups that are past their first ones, which
 *          counts as if it were written.
 */
#ifndef MP_DEAD_H
#define MP_DEAD_H

#include "core/commit.h"
#include "core/metrics.h"

enum {
    MP_DEAD_FIRST = 10,
    MP_DEAD_GROUPS = 1000,
    MP_DEAD_SITE_MAX = 80,
};

struct mp_letter {
    struct mp_slice fn, version;
    struct mp_slice outcome; /* a word: mp_dead_name */
    struct mp_slice error, traceback;
    uint32_t attempt;
    int64_t time_us;              /* wall clock */
    const struct mp_event *event; /* as it was run; of an output that was
                                   * refused: topic and data are its own */
    uint64_t *flash;
};

struct mp_dead_group;

struct mp_dead_store {
    struct mp_commit *commit;
    struct mp_link groups; /* oldest first */
    struct mp_link
        letters; /* in the database: id, group, bytes; oldest first */
    unsigned n_groups, n_last; /* last ones that are not written */
    int64_t next_id, next_group;
    int64_t kept_id; /* the highest one, as it is kept by name; 0: it is not */
    uint64_t bytes, max_bytes; /* of those too */
    uint64_t count;            /* of rows */
    int64_t written_us;        /* monotonic: when counts were last written */
    struct mp_buf event;       /* being made */
};

void mp_dead_init(struct mp_dead_store *d, struct mp_commit *commit,
                  uint64_t max_bytes);
void mp_dead_fini(struct mp_dead_store *d);
MP_MUST int mp_dead_load(struct mp_dead_store *d, struct mp_db *db,
                         struct mp_why *why);
void mp_dead_reset(struct mp_dead_store *d);
/* Now and then (1 s): counts and last ones, once a minute. */
void mp_dead_tick(struct mp_dead_store *d, int64_t now_us);
/* Write counts now (the host stops, or somebody wants to see them). */
void mp_dead_flush(struct mp_dead_store *d);

/*
 * Give up.  Returns the ticket that makes it durable, or 0: it is only
 * counted.  *id: of the letter (also of one that is only counted: the last
 * one's).
 */
uint64_t mp_dead_add(struct mp_dead_store *d, const struct mp_letter *letter,
                     int64_t *id);
/* Drop one, or all of a function ("": of all); how many.  It is recorded in
 * the gathering transaction. */
unsigned mp_dead_drop(struct mp_dead_store *d, int64_t id);
unsigned mp_dead_drop_all(struct mp_dead_store *d, struct mp_slice fn);

/*
 * Where an error comes from, as its group is told by: into site, the length.
 * MP_DEAD_SITE_MAX bytes at most, not terminated.
 */
size_t mp_dead_site(struct mp_slice error, char *site);

/* Letters kept and letters counted (these too), of one function. */
void mp_dead_of(const struct mp_dead_store *d, struct mp_slice fn,
                uint64_t *kept, uint64_t *counted);

#endif
