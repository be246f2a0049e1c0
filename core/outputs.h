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
 * Are all effects well formed, granted and within limits, and the headers of a
 * reply too?  The worker checks the same; one that lets something else through
 * is broken or taken over.
 */
MP_MUST int mp_outputs_check(const struct mp_function *fn,
                             struct mp_slice prefix,
                             const struct mp_outcome *out);

/*
 * What fn may notify: the paths of its observe triggers as filters, which lie
 * in text (initialised here, the caller frees it).  Returns how many.
 */
uint32_t mp_outputs_observes(const struct mp_function *fn,
                             struct mp_slice list[MP_TRIGGERS_MAX],
                             struct mp_buf *text);

/* Are the verdicts of an outcome about events of its batch, one each, in
 * rising order?  n_events 0: it was no batch. */
MP_MUST int mp_verdicts_check(const struct mp_outcome *out, uint32_t n_events);

/* Id of the nth output of an invocation, sends included: id/function/n.
 * Returns its length. */
enum { MP_OUTPUT_ID_MAX = MP_EVENT_ID_MAX + MP_NAME_MAX + 24 };
size_t mp_output_id(const struct mp_invocation *inv, unsigned n, char *id,
                    size_t size);

/* Bytes of all its texts. */
size_t mp_output_bytes(const struct mp_output *o);
/* A message with copies of all that it points to. */
struct mp_output *mp_output_copy(const struct mp_output *from);
/* A message by an effect (PUBLISH), copied. */
struct mp_output *mp_output_new(const struct mp_effect *effect,
                                struct mp_slice id, struct mp_slice trace);

/*
 * Make the messages of an outcome that was checked, all of them before the
 * first is put, and last (may be NULL) behind them: they stand in inv->outputs
 * with inv as their owner, and put is called for each, in order.  It may end
 * the invocation with the last one.
 */
void mp_outputs_make(struct mp_invocation *inv, const struct mp_outcome *out,
                     struct mp_output *last,
                     void (*put)(void *arg, struct mp_invocation *inv,
                                 struct mp_output *output),
                     void *arg);

/* In done, at its end. */
void mp_output_free(struct mp_output *output);

#endif
