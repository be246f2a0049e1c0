/*
 * fnlog.h - what a function says, held to its rate.
 *
 * `[log] rate` is a token bucket; what it holds back is counted and said
 * within a second.  The host's own errors (a run that failed) have a second
 * one of that size, so that a function that talks much doesn't hide them: a
 * function has at most twice its rate.
 *
 * Process  host only.   Thread  loop thread.
 */
#ifndef MP_FNLOG_H
#define MP_FNLOG_H

#include "core/invocation.h"
#include "core/log.h"

/*
 * One line of the host about a function: subject NAME@VERSION/TRIGGER.
 * trigger NULL: none.  Held to the rate.  False: it was held back.
 */
MP_PRINTF(6, 7)
bool mp_fnlog(struct mp_slot *slot, const struct mp_function *fn,
              const struct mp_trigger *trigger, enum mp_level level,
              const struct mp_field *fields, const char *fmt, ...);

/* Each second, for all of these slots: say what was held back. */
void mp_fnlog_tick(struct mp_link *slots);

/* Are an outcome's lines well formed and within log_bytes? */
MP_MUST int mp_fnlog_check(const struct mp_function *fn, uint32_t n_logs,
                           struct mp_slice logs);

/* The lines of an outcome that was checked; event: its id, or NULL. */
void mp_fnlog_lines(struct mp_slot *slot, const struct mp_function *fn,
                    const struct mp_trigger *trigger,
                    const struct mp_slice *event, uint32_t n_logs,
                    struct mp_slice logs, uint32_t cut);

#endif
