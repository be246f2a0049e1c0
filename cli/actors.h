/*
 * actors.h - values and alarms of a function without a host: what `invoke`
 * and `test` put in the place of the database.
 *
 * All by the clock of the caller, so that a test's time is its own.  What
 * travels with an event, and what has to be asked for, is as on a gateway.
 *
 * Process  command line.
 * Memory   everything is copied; slices given back are valid until the next
 *          call.
 * Errors   MP_EPARSE with a sentence, for values as people write them.
 */
#ifndef MP_CLI_ACTORS_H
#define MP_CLI_ACTORS_H

#include "cli/tree.h"
#include "core/base/list.h"
#include "core/base/wire.h"
#include "core/function.h"

struct mp_actors {
    struct mp_actors_row *rows; /* sorted by key and name */
    size_t n, cap;
    struct mp_link alarms; /* in the order in which they were set */
    struct mp_buf bytes;   /* what was given back last */
};

void mp_actors_init(struct mp_actors *a);
void mp_actors_fini(struct mp_actors *a);

/* How people write values. */
#define MP_ACTORS_FORM "{KEY: {NAME: value}}, with \"\" for the function's own"

MP_MUST int mp_actors_read(struct mp_actors *a, const struct mp_function *fn,
                           const struct mp_tree *state, struct mp_why *why);

/* What goes with an event of that actor. */
struct mp_run_state mp_actors_travel(struct mp_actors *a,
                                     const struct mp_function *fn,
                                     struct mp_slice key, int64_t now_us);

/* What a run of that actor asked for (not a sleep). */
void mp_actors_answer(struct mp_actors *a, struct mp_slice key,
                      const struct mp_wait *wait, int64_t now_us,
                      struct mp_resume *answer);

/* Make the changes of an outcome of mp_solo_run; alarms with the event's
 * params. */
void mp_actors_apply(struct mp_actors *a, const struct mp_event *event,
                     const struct mp_outcome *out, int64_t now_us);

/*
 * Take the alarm that is due first, not later than until_us; false: there is
 * none.  Its event's slices are valid until mp_actors_alarm_done.
 */
struct mp_actors_alarm;
struct mp_actors_alarm *mp_actors_due(struct mp_actors *a, int64_t until_us);
int64_t mp_actors_alarm_event(const struct mp_actors_alarm *alarm,
                              struct mp_event *event); /* when it is due */
void mp_actors_alarm_done(struct mp_actors_alarm *alarm);

/* {KEY: {NAME: value}} */
void mp_actors_json(struct mp_actors *a, int64_t now_us, struct mp_buf *b);

#endif
