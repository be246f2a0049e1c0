/*
 * api.h - the parts of moonpool's Lua API, for each other (luart/ only).
 *
 * Process  worker only.
 * Errors   misuse raises at the caller's line; whatever of an effect is
 *          written when a call is left by a longjmp is never counted.
 */
#ifndef MP_LUART_API_H
#define MP_LUART_API_H

#include <lua.h>

#include "core/base/wire.h"

struct mp_image;

/* ---- api_mp.c: the table `mp` ---- */

/* Push it. */
void mp_luaopen_moonpool(lua_State *L, const struct mp_load *load);

/* The table on top, `what` in messages, raises when a name that isn't there is
 * read. */
void mp_api_strict(lua_State *L, const char *what);

/* ---- api_log.c ---- */

void mp_api_open_log(lua_State *L); /* push mp.log */

/* A line: message and fields at these indices; fields 0: none. */
void mp_api_log(lua_State *L, enum mp_level level, int message, int fields);

/* One of our own, about what the function does; raises nothing. */
void mp_api_log_text(enum mp_level level, const char *text);

/* ---- api_payload.c: payloads, effects ---- */

struct mp_payload {
    struct mp_slice data;
    enum mp_format format; /* TEXT, BYTES, JSON, CBOR */
};

/* What is left of output_bytes.  Effects and result share MP_EFFECTS_MAX, so
 * that an outcome always fits into a frame. */
uint32_t mp_api_bytes_left(void);

/* Raise: more than limits.output_bytes. */
int mp_api_too_many_bytes(lua_State *L, const char *call);

/* The option `format` of the table at options: AUTO when it isn't given. */
enum mp_format mp_api_format(lua_State *L, int options, const char *call);

/* The value at index as JSON or CBOR, valid until the next call; MP_EPARSE,
 * and MP_EFULL when it is more than is left of output_bytes. */
MP_MUST int mp_api_encode(lua_State *L, int index, enum mp_format format,
                          struct mp_slice *bytes, struct mp_why *why);

/* The value at index as a payload, valid until the next call; raises. */
struct mp_payload mp_api_payload(lua_State *L, int index, enum mp_format as,
                                 const char *call);

/* Raise unless one more is within limits.outputs. */
void mp_api_count_output(lua_State *L, const char *call);

/* Add an effect that counts for `bytes` of output_bytes; raises. */
void mp_api_put_effect(lua_State *L, const char *call,
                       const struct mp_effect *e, size_t bytes);

/* ---- api_out.c: publish, notify, reply ---- */

int mp_api_publish(lua_State *L);
int mp_api_notify(lua_State *L);
int mp_api_reply(lua_State *L);
void mp_api_open_reply(lua_State *L);

/*
 * Turn what a handler returned, on top of L, into out's result.  Called
 * protected.  Returns MP_EPARSE with a reason that has no result.
 */
MP_MUST int mp_api_result(lua_State *L, struct mp_outcome *out,
                          struct mp_why *why);

/* ---- api_send.c: events for functions: send and alarms ---- */

int mp_api_send(lua_State *L);
void mp_api_open_alarm(lua_State *L); /* push mp.alarm */

/* ---- api_state.c ---- */

void mp_api_open_state(lua_State *L); /* push mp.state */

/* ---- api_args.c: arguments, options, effects ---- */

/* Raise unless what is possible: not in the file's own run. */
void mp_api_only_in_handler(lua_State *L, const char *call);

/* Raise: what is at index, `what` of that call, is missing or of a wrong type.
 * wanted: "a string". */
int mp_api_mistyped(lua_State *L, int index, const char *call, const char *what,
                    const char *wanted);

/* Raise: WHAT 'name' is not granted ([grant] KEY = the list). */
void mp_api_not_granted(lua_State *L, const char *what, struct mp_slice name,
                        const char *key, const struct mp_slice *list,
                        uint32_t n);

/* The table at index is none or has only these names; raises. */
void mp_api_options(lua_State *L, int index, const char *call,
                    const char *const *names);

/* Push the option, or nil. */
int mp_api_option(lua_State *L, int index, const char *name);

/* Number of seconds or "5m" at index, in microseconds; raises. */
int64_t mp_api_duration(lua_State *L, int index, const char *call);

/* The string at index, of 1 to max bytes of UTF-8 without NUL: a name or a
 * key; raises. */
struct mp_slice mp_api_name(lua_State *L, int index, const char *call,
                            const char *what, size_t max);

/* "; did you mean 'x'?" into text, or "". */
enum { MP_HINT_MAX = 128 };
void mp_api_hint(struct mp_slice word, const char *const *words, size_t n,
                 char hint[MP_HINT_MAX]);

/* As above, with the string keys of the table at index. */
void mp_api_hint_keys(lua_State *L, int index, struct mp_slice word,
                      char hint[MP_HINT_MAX]);

/*
 * The flat table at index as pairs sorted by name: strings, numbers and
 * booleans as text.  Leaves strings on the stack to keep the text alive.
 */
uint32_t mp_api_pairs(lua_State *L, int index, const char *call,
                      const char *what, struct mp_pair *pairs, uint32_t max);

/* ---- api_event.c ---- */

/* Make the event table of the image; returns its reference. */
int mp_event_prepare(lua_State *L);

/* Push the event table, filled. */
void mp_event_push(lua_State *L, int ref, const struct mp_event *event);
/* What e:retry and e:reject said of a batch, into bytes; how many. */
uint32_t mp_event_verdicts(lua_State *L, struct mp_buf *bytes);
/* What its answer is written in: JSON, or CBOR where who asked takes that and
 * not JSON. */
enum mp_format mp_event_takes(const struct mp_event *event);

#endif
