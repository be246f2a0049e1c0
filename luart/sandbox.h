/*
 * sandbox.h - the Lua that functions see (INTERFACE, section 3, last row).
 *
 * Process  worker only.
 */
#ifndef MP_LUART_SANDBOX_H
#define MP_LUART_SANDBOX_H

#include <lua.h>

#include "core/base/wire.h"

/*
 * Fill a new state: libraries, and `require` for moonpool's modules and the
 * files of mp_inv's image.  Called protected.
 */
void mp_sandbox_open(lua_State *L, const struct mp_load *load);

/* Compile a file of the package and push its chunk; raises. */
void mp_sandbox_compile(lua_State *L, struct mp_slice path,
                        struct mp_slice text);

#endif
