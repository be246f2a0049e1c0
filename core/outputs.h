/*
 * outputs.h - from the effects of an outcome to messages on their way.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   one block a message, freed when its transport is done with it.
 */
#ifndef MP_OUTPUTS_H
#define MP_OUTPUTS_H

#include "core/invocation.h"

/*
 * Are all effects well formed, granted and within limits?  The worker checks
 * the same; one that lets something else through is broken or taken over.
 */
MP_MUST int mp_outputs_check(const struct mp_function *fn,
                             struct mp_slice prefix,
                             const struct mp_outcome *out);

/*
 * Make the messages of an outcome that was checked; publish is called for
 * each, in order, and done when it has arrived (owner: the invocation).
 * Returns how many.
 */
unsigned mp_outputs_make(
    struct mp_invocation *inv, const struct mp_outcome *out,
    void (*done)(struct mp_output *output, unsigned reason, const char *why),
    void (*publish)(void *arg, struct mp_output *output), void *arg);

/* In done, at its end. */
void mp_output_free(struct mp_output *output);

#endif
