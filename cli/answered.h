/*
 * answered.h - the status that a request would be answered with, in its
 * protocol's own numbers (CoAP c.dd as cdd).
 *
 * Process  command line.   Thread  any.
 */
#ifndef MP_CLI_ANSWERED_H
#define MP_CLI_ANSWERED_H

#include "core/base/event.h"

/* Of any other event, what the function said itself: mp.reply, mp.reject. */
unsigned mp_answered_status(const struct mp_event *event,
                            const struct mp_outcome *out);

#endif
