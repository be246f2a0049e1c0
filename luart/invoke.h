/*
 * invoke.h - one run of one function, from its event to its outcome.
 *
 * Process  worker only.   Thread  one.
 * Memory   a waiting instance keeps a copy of the arena's bytes in use.
 */
#ifndef MP_LUART_INVOKE_H
#define MP_LUART_INVOKE_H

#include "core/base/wire.h"

/* Run it to its end or to where it waits; append DONE or WAIT to out. */
void mp_invoke(const struct mp_run *run, struct mp_buf *out);

/* Go on with a waiting run; one that isn't there (any more) is ignored. */
void mp_invoke_resume(const struct mp_resume *resume, struct mp_buf *out);

/* Forget a waiting run. */
void mp_invoke_cancel(uint64_t run);

#endif
