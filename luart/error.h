/*
 * error.h - what went wrong in a function, as text.
 *
 * Works on states that have failed: it calls no metamethod, needs next to
 * nothing of the arena and reads a bounded number of frames.
 *
 * mp.reject and mp.retry raise a userdata of a private type, so that whatever
 * pcall did with it on the way, at the top it is still known for what it is,
 * and no function can forge or change one.
 *
 * Process  worker only.
 */
#ifndef MP_LUART_ERROR_H
#define MP_LUART_ERROR_H

#include <lua.h>

#include "core/base/event.h"

/* The frames of L, innermost first, cut at the buffer's bound. */
void mp_traceback(lua_State *L, struct mp_buf *text);

/* What kind of outcome the error object on top of L makes. */
struct mp_failure {
    enum mp_kind kind; /* error or rejected */
    uint32_t did;      /* MP_DID_RETRY or 0 */
    uint32_t status;
    int64_t retry_after_us; /* -1: as configured */
    struct mp_slice text;   /* borrowed from the object; cut */
};

void mp_failure_read(lua_State *L, struct mp_failure *f);

/* Raise: the reason is on top of the stack, a string. */
_Noreturn void mp_raise_reject(lua_State *L, uint32_t status);
_Noreturn void mp_raise_retry(lua_State *L, int64_t after_us);

/* Register the private type; once for each state. */
void mp_error_open(lua_State *L);

#endif
