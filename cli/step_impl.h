/*
 * step_impl.h - inside of steps: one event, a request, a batch.  For
 * cli/step*.c only.
 */
#ifndef MP_CLI_STEP_IMPL_H
#define MP_CLI_STEP_IMPL_H

#include "cli/step.h"

/* One event by itself; as mp_step_read. */
MP_MUST int mp_step_one(struct mp_step *step, const struct mp_function *fn,
                        const struct mp_tree *value,
                        const struct mp_step_defaults *defaults,
                        const char *const *allowed, struct mp_why *why);

/* The trigger has taken it: payload, retained, key. */
MP_MUST int mp_step_take_in(struct mp_step *step, const struct mp_function *fn,
                            const struct mp_trigger *t, struct mp_why *why);

/* Does the filter of a trigger whose pattern matched let it pass?  Else
 * step->skipped says so. */
bool mp_step_wanted(struct mp_step *step, const struct mp_trigger *t);

/* Say that there is no trigger of this name. */
void mp_step_no_trigger(const struct mp_function *fn, struct mp_slice name,
                        struct mp_why *why);

/* ---- step_request.c ---- */

/* "PUT /x?a=b", percent-encoded, into method, path and query. */
MP_MUST int mp_step_target(struct mp_step *step, struct mp_slice target,
                           struct mp_why *why);
/* "/x?a=b" as the path of an event without a query: take it apart. */
MP_MUST int mp_step_query(struct mp_step *step, struct mp_why *why);
/* Does it have a path, or is it for a trigger that answers paths? */
bool mp_step_is_request(const struct mp_step *step,
                        const struct mp_function *fn);
MP_MUST int mp_step_request(struct mp_step *step, const struct mp_function *fn,
                            struct mp_why *why);

/* ---- step_batch.c ---- */

/* Of what is in the value's `events`. */
MP_MUST int mp_step_batch(struct mp_step *step, const struct mp_function *fn,
                          const struct mp_tree *value,
                          const struct mp_step_defaults *defaults,
                          const char *const *allowed, struct mp_why *why);
/* One event that a trigger with `batch` took comes as a batch of one. */
void mp_step_wrap(struct mp_step *step);

#endif
