/*
 * api_args.c - what the calls of mp have in common: options, durations, hints.
 *
 * Everything here reads raw: no metamethod of an argument is called, so that
 * a call is done with its arguments in bounded time.
 */
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "core/base/utf8.h"
#include "luart/api.h"
#include "luart/run.h"

void mp_api_only_in_handler(lua_State *L, const char *call)
{
    if (mp_inv.initialising)
        luaL_error(L,
                   "%s is not possible while main.lua is loading; call it in "
                   "the handler",
                   call);
}

int mp_api_mistyped(lua_State *L, int index, const char *call, const char *what,
                    const char *wanted)
{
    if (lua_isnone(L, index))
        return luaL_error(L, "%s: %s is missing", call, what);
    if (lua_isnil(L, index))
        return luaL_error(L, "%s: %s is missing: it is nil", call, what);
    return luaL_error(L, "%s: %s must be %s, not a %s", call, what, wanted,
                      luaL_typename(L, index));
}

void mp_api_not_granted(lua_State *L, const char *what, struct mp_slice name,
                        const char *key, const struct mp_slice *list,
                        uint32_t n)
{
    luaL_Buffer text;

    luaL_buffinit(L, &text);
    luaL_addstring(&text, what);
    luaL_addstring(&text, " '");
    luaL_addlstring(&text, name.ptr, name.len);
    luaL_addstring(&text, "' is not granted ([grant] ");
    luaL_addstring(&text, key);
    luaL_addstring(&text, n ? " = " : " is empty");
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0)
            luaL_addstring(&text, ", ");
        luaL_addlstring(&text, list[i].ptr, list[i].len);
    }
    luaL_addstring(&text, ")");
    luaL_pushresult(&text);
    luaL_error(L, "%s", lua_tostring(L, -1));
}

void mp_api_hint(struct mp_slice word, const char *const *words, size_t n,
                 char hint[MP_HINT_MAX])
{
    const char *near = mp_nearest(word, words, n);

    hint[0] = '\0';
    if (near)
        snprintf(hint, MP_HINT_MAX, "; did you mean '%s'?", near);
}

void mp_api_hint_keys(lua_State *L, int index, struct mp_slice word,
                      char hint[MP_HINT_MAX])
{
    const char *words[128];
    size_t n = 0;

    lua_pushvalue(L, index);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        if (n < ARRAY_LEN(words) && lua_type(L, -2) == LUA_TSTRING)
            words[n++] = lua_tostring(L, -2);
        lua_pop(L, 1);
    }
    mp_api_hint(word, words, n, hint);
    lua_pop(L, 1);
}

static size_t count(const char *const *names)
{
    size_t n = 0;

    while (names[n])
        n++;
    return n;
}

static void check_option(lua_State *L, const char *call,
                         const char *const *names)
{
    char hint[MP_HINT_MAX];
    struct mp_slice name;

    if (lua_type(L, -2) != LUA_TSTRING) {
        luaL_error(L, "%s: options have names; this one is a %s", call,
                   luaL_typename(L, -2));
        return;
    }
    name.ptr = lua_tolstring(L, -2, &name.len);
    for (size_t i = 0; names[i]; i++)
        if (mp_slice_is(name, names[i]))
            return;
    mp_api_hint(name, names, count(names), hint);
    luaL_error(L, "%s: unknown option '%s'%s", call, name.ptr, hint);
}

void mp_api_options(lua_State *L, int index, const char *call,
                    const char *const *names)
{
    if (lua_isnoneornil(L, index))
        return;
    if (!lua_istable(L, index)) {
        luaL_error(L, "%s: the options are a table, not a %s", call,
                   luaL_typename(L, index));
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, index)) {
        check_option(L, call, names);
        lua_pop(L, 1);
    }
}

int mp_api_option(lua_State *L, int index, const char *name)
{
    if (!lua_istable(L, index)) {
        lua_pushnil(L);
        return LUA_TNIL;
    }
    lua_pushstring(L, name);
    return lua_rawget(L, index);
}

/* ---- durations ---- */

static const struct unit {
    const char *name;
    int64_t us;
} units[] = {
    {"ms", 1000},
    {"s", 1000000},
    {"m", INT64_C(60000000)},
    {"h", INT64_C(3600000000)},
    {"d", INT64_C(86400000000)},
};

#define DURATION_MAX_S (INT64_C(36500) * 86400)
#define DURATION_MAX (DURATION_MAX_S * 1000000)

/* "1h30m" in microseconds; -1: not a duration. */
static int64_t duration_text(struct mp_slice s)
{
    const char *at = s.ptr, *end = s.ptr + s.len;
    int64_t sum = 0;

    if (mp_slice_is(s, "0"))
        return 0;
    if (s.len == 0)
        return -1;
    while (at < end) {
        const struct unit *unit = NULL;
        int64_t n = 0;
        const char *digits = at;

        for (; at < end && *at >= '0' && *at <= '9'; at++)
            if ((n = n * 10 + (*at - '0')) > DURATION_MAX)
                return -1;
        for (size_t i = 0; i < ARRAY_LEN(units) && !unit; i++) {
            size_t len = strlen(units[i].name);

            if (len <= (size_t)(end - at) && !memcmp(at, units[i].name, len)) {
                unit = &units[i];
                at += len;
            }
        }
        if (at == digits || !unit || n > (DURATION_MAX - sum) / unit->us)
            return -1;
        sum += n * unit->us;
    }
    return sum;
}

int64_t mp_api_duration(lua_State *L, int index, const char *call)
{
    struct mp_slice text;
    lua_Number n;
    int64_t us;

    if (lua_type(L, index) == LUA_TNUMBER) {
        n = lua_tonumber(L, index);
        if (!(n >= 0 && n <= (lua_Number)DURATION_MAX_S))
            return luaL_error(L, "%s: %f is not a duration in seconds", call,
                              n);
        return (int64_t)(n * 1e6);
    }
    if (lua_type(L, index) != LUA_TSTRING)
        return mp_api_mistyped(L, index, call, "the duration",
                               "a number of seconds or a text like \"5m\"");
    text.ptr = lua_tolstring(L, index, &text.len);
    us = duration_text(text);
    if (us < 0)
        return luaL_error(L,
                          "%s: '%s' is not a duration; write a unit, as in "
                          "\"100ms\" or \"2m\"",
                          call, text.ptr);
    return us;
}

/* ---- names ---- */

static void name_mistyped(lua_State *L, int index, const char *call,
                          const char *what)
{
    char the[32];

    snprintf(the, sizeof the, "the %s", what);
    mp_api_mistyped(L, index, call, the, "a string");
}

struct mp_slice mp_api_name(lua_State *L, int index, const char *call,
                            const char *what, size_t max)
{
    struct mp_slice name;

    if (lua_type(L, index) != LUA_TSTRING)
        name_mistyped(L, index, call, what);
    name.ptr = lua_tolstring(L, index, &name.len);
    if (name.len < 1 || name.len > max)
        luaL_error(L, "%s: a %s has 1 to %d bytes; this one has %d", call, what,
                   (int)max, (int)name.len);
    if (!mp_utf8_valid(name) || memchr(name.ptr, 0, name.len))
        luaL_error(L, "%s: the %s is not text: it has bad UTF-8 or a NUL", call,
                   what);
    return name;
}

/* ---- pairs ---- */

static int by_name(const void *a, const void *b)
{
    const struct mp_pair *left = a, *right = b;
    size_t len =
        left->name.len < right->name.len ? left->name.len : right->name.len;
    int order = memcmp(left->name.ptr, right->name.ptr, len);

    if (order)
        return order;
    return (left->name.len > right->name.len) -
           (left->name.len < right->name.len);
}

/* The value on top as text, in its place. */
static struct mp_slice value_text(lua_State *L, const char *call,
                                  const char *what, const char *name)
{
    struct mp_slice text;

    if (lua_type(L, -1) == LUA_TBOOLEAN) {
        lua_pushstring(L, lua_toboolean(L, -1) ? "true" : "false");
        lua_replace(L, -2);
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "%s: %s '%s' is a %s; strings, numbers and booleans fit",
                   call, what, name, luaL_typename(L, -1));
    text.ptr = lua_tolstring(L, -1, &text.len);
    return text;
}

uint32_t mp_api_pairs(lua_State *L, int index, const char *call,
                      const char *what, struct mp_pair *pairs, uint32_t max)
{
    uint32_t n = 0;

    if (!lua_istable(L, index))
        luaL_error(L, "%s: %s are a table, not a %s", call, what,
                   luaL_typename(L, index));
    luaL_checkstack(L, (int)max + 8, call);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        struct mp_pair *p = &pairs[n];

        if (n++ == max)
            luaL_error(L, "%s: more than %d %s", call, (int)max, what);
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: %s have strings as names, not a %s", call, what,
                       luaL_typename(L, -2));
        p->name.ptr = lua_tolstring(L, -2, &p->name.len);
        p->value = value_text(L, call, what, p->name.ptr);
        lua_insert(L, -2); /* the value stays, the key goes to lua_next */
    }
    qsort(pairs, n, sizeof *pairs, by_name);
    return n;
}
