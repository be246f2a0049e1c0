/*
 * handlers.h - does main.lua handle what function.conf triggers?
 *
 * Process  host and command line.   Thread  loop thread.
 * Errors   told to the report, as mistakes of main.lua.
 */
#ifndef MP_HANDLERS_H
#define MP_HANDLERS_H

#include "core/base/wire.h"
#include "core/function.h"

/*
 * Report why the function can't be used as it was loaded: it did not load at
 * all, a trigger has no handler, or a handler no trigger; and warn where
 * nothing but a send runs it, and nothing says that this is meant.
 */
void mp_handlers_check(const struct mp_function *fn,
                       const struct mp_loaded *loaded,
                       struct mp_report *report);

#endif
