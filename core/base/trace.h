/*
 * trace.h - the W3C trace context that travels with an event.
 *
 * Thread   any.   Memory  none.
 */
#ifndef MP_BASE_TRACE_H
#define MP_BASE_TRACE_H

#include "core/base/slice.h"

/*
 * Is it a traceparent (W3C Trace Context, 3.2)?  What is not is never carried
 * on: who gets it next would have to throw it away.
 */
bool mp_trace_is(struct mp_slice text);

#endif
