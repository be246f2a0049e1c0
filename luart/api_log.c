/*
 * api_log.c - mp.log and print: lines that travel with the outcome.
 *
 * What goes over limits.log_bytes is counted and left out; a function that
 * talks too much is no error.
 */
#include <lauxlib.h>

#include "luart/api.h"
#include "luart/image.h"
#include "luart/run.h"

enum {
    FIELDS_MAX = 16,
    NAME_MAX_BYTES = 40, /* of a field */
    LINE_COST = 16,      /* what even an empty line takes of log_bytes */
};

static const char *const calls[MP_LEVELS] = {"log.debug", "log.info",
                                             "log.warn", "log.error"};

/* Names stand bare in the host's log: what could end one is refused. */
static void check_name(lua_State *L, struct mp_slice name, const char *call)
{
    bool fine = name.len > 0 && name.len <= NAME_MAX_BYTES;

    for (size_t i = 0; fine && i < name.len; i++) {
        char c = name.ptr[i];

        fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
    }
    if (fine)
        return;
    name = mp_slice(name.ptr, name.len < 60 ? name.len : 60);
    luaL_error(L, "%s: field name '%s' is not 1 to %d of A-Z a-z 0-9 _ . -",
               call, lua_pushlstring(L, name.ptr, name.len), NAME_MAX_BYTES);
}

static void put_line(const struct mp_log_line *line, size_t bytes)
{
    size_t mark = mp_inv.logs.len;

    if (bytes < LINE_COST)
        bytes = LINE_COST;
    if (bytes > mp_inv.image->load.log_bytes ||
        mp_inv.log_bytes > mp_inv.image->load.log_bytes - bytes) {
        mp_inv.logs_cut++;
        return;
    }
    mp_wire_put_log(&mp_inv.logs, line);
    if (mp_inv.logs.full) {
        mp_inv.logs.len = mark;
        mp_inv.logs.full = false;
        mp_inv.logs_cut++;
        return;
    }
    mp_inv.log_bytes += (uint32_t)bytes;
    mp_inv.n_logs++;
}

void mp_api_log(lua_State *L, enum mp_level level, int message, int fields)
{
    struct mp_pair pairs[FIELDS_MAX] = {0};
    struct mp_log_line line = {.level = level, .fields = pairs};
    size_t bytes;

    line.message.ptr = lua_tolstring(L, message, &line.message.len);
    if (fields)
        line.n_fields =
            mp_api_pairs(L, fields, calls[level], "fields", pairs, FIELDS_MAX);
    bytes = line.message.len;
    for (uint32_t i = 0; i < line.n_fields; i++) {
        check_name(L, pairs[i].name, calls[level]);
        bytes += pairs[i].name.len + pairs[i].value.len;
    }
    put_line(&line, bytes);
}

void mp_api_log_text(enum mp_level level, const char *text)
{
    const struct mp_log_line line = {.level = level,
                                     .message = mp_slice_str(text)};

    put_line(&line, line.message.len);
}

static int log_at(lua_State *L, enum mp_level level)
{
    int type = lua_type(L, 1);

    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        return mp_api_mistyped(L, 1, calls[level], "the message", "a string");
    lua_settop(L, 2);
    mp_api_log(L, level, 1, lua_isnil(L, 2) ? 0 : 2);
    return 0;
}

static int log_debug(lua_State *L)
{
    return log_at(L, MP_DEBUG);
}

static int log_info(lua_State *L)
{
    return log_at(L, MP_INFO);
}

static int log_warn(lua_State *L)
{
    return log_at(L, MP_WARN);
}

static int log_error(lua_State *L)
{
    return log_at(L, MP_ERROR);
}

void mp_api_open_log(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"debug", log_debug}, {"info", log_info}, {"warn", log_warn},
        {"error", log_error}, {NULL, NULL},
    };

    luaL_newlib(L, functions);
    mp_api_strict(L, "mp.log");
}
