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

/* Id of the nth output of an invocation, sends included: id/function/n.
 * Returns its length. */
enum { MP_OUTPUT_ID_MAX = MP_EVENT_ID_MAX + MP_NAME_MAX + 24 };
size_t mp_output_id(const struct mp_invocation *inv, unsigned n, char *id,
                    size_t size);

/* A message by an effect (PUBLISH), copied. */
struct mp_output *mp_output_new(const struct mp_effect *effect,
                                struct mp_slice id, struct mp_slice trace);

/*
 * Make the messages of an outcome that was checked, all of them before the
 * first is put: they stand in inv->outputs with inv as their owner, and put is
 * called for each, in order.  It may end the invocation with the last one.
 */
void mp_outputs_make(struct mp_invocation *inv, const struct mp_outcome *out,
                     void (*put)(void *arg, struct mp_invocation *inv,
                                 struct mp_output *output),
                     void *arg);

/* In done, at its end. */
void mp_output_free(struct mp_output *output);

#endif
