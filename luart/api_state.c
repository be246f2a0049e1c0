/*
 * api_state.c - mp.state: the values of this actor, and a look at others.
 *
 * What came with the event and what was changed since is in mp_inv.values.
 * Only what isn't there is asked for, and then the invocation waits: a call
 * that may wait ends in mp_coro_wait, and its other half (get_k and so on) goes
 * on from mp_inv.answer, with the arguments still on its stack.
 *
 * A list of names is merged from two sorted ones: what was committed, page by
 * page, and what was changed here, which wins.  `each` walks over such a list
 * and takes each value when its turn comes, so the loop may change them.
 */
#include <lauxlib.h>
#include <math.h>

#include "luart/api.h"
#include "luart/coro.h"
#include "luart/image.h"
#include "luart/json.h"
#include "luart/run.h"

#define TYPE_OF "moonpool.state.of"

/* A table on its way into a value; outside the arena, as longjmps may leave. */
static struct mp_buf scratch = {.max = MP_STATE_VALUE_MAX};

/* ---- what is common ---- */

static void need_state(lua_State *L, const char *call)
{
    mp_api_only_in_handler(L, call);
    if (!mp_inv.image->load.has_state)
        luaL_error(L, "%s: function.conf has no [state] section", call);
}

static void need_keys(lua_State *L, const char *call)
{
    need_state(L, call);
    if (!mp_inv.image->load.has_key)
        luaL_error(L,
                   "%s: [state] in function.conf has no key; there is one "
                   "actor, the function itself",
                   call);
}

static void reads(void)
{
    mp_inv.did |= MP_DID_READ;
}

static struct mp_slice name_at(lua_State *L, int index, const char *call)
{
    return mp_api_name(L, index, call, "name", MP_STATE_NAME_MAX);
}

/* The prefix at index, put there as a string: "" when none was given.  What it
 * is the prefix of has at most max bytes. */
static struct mp_slice prefix_at(lua_State *L, int index, const char *call,
                                 size_t max)
{
    struct mp_slice prefix;

    if (lua_isnoneornil(L, index)) {
        lua_pushliteral(L, "");
        lua_replace(L, index);
    }
    if (lua_type(L, index) != LUA_TSTRING)
        mp_api_mistyped(L, index, call, "the prefix", "a string");
    prefix.ptr = lua_tolstring(L, index, &prefix.len);
    if (prefix.len > max)
        luaL_error(L, "%s: a prefix has at most %d bytes; this one has %d",
                   call, (int)max, (int)prefix.len);
    return prefix;
}

static struct mp_slice text_at(lua_State *L, int index)
{
    struct mp_slice text = {"", 0};

    if (lua_type(L, index) == LUA_TSTRING)
        text.ptr = lua_tolstring(L, index, &text.len);
    return text;
}

static bool has_prefix(struct mp_slice name, struct mp_slice prefix)
{
    return name.len >= prefix.len &&
           mp_slice_eq(mp_slice(name.ptr, prefix.len), prefix);
}

static void push_value(lua_State *L, const struct mp_value *v)
{
    struct mp_why why;

    switch (v->kind) {
    case MP_VALUE_INTEGER:
        lua_pushinteger(L, v->integer);
        break;
    case MP_VALUE_FLOAT:
        lua_pushnumber(L, v->number);
        break;
    case MP_VALUE_BOOLEAN:
        lua_pushboolean(L, v->integer != 0);
        break;
    case MP_VALUE_STRING:
        lua_pushlstring(L, v->text.ptr ? v->text.ptr : "", v->text.len);
        break;
    case MP_VALUE_TABLE:
        if (mp_json_decode(L, v->text, &why))
            luaL_error(L, "state: a table that was kept is no JSON: %s",
                       why.text);
        break;
    default:
        lua_pushnil(L);
        break;
    }
}

/* The answer, or raise: it could not be read. */
static struct mp_reader answer(lua_State *L, const char *call)
{
    struct mp_slice error = mp_inv.answer.error;

    if (error.len) {
        lua_pushlstring(L, error.ptr, error.len);
        luaL_error(L, "%s: %s", call, lua_tostring(L, -1));
    }
    return mp_reader(mp_inv.answer.entries);
}

static struct mp_entry next_entry(struct mp_reader *r)
{
    struct mp_entry e = mp_get_entry(r);

    MP_ASSERT(!r->bad);
    return e;
}

/* ---- get ---- */

/* The value asked for, or the default at `otherwise`. */
static int push_answer(lua_State *L, const char *call, int otherwise)
{
    struct mp_reader r = answer(L, call);
    struct mp_entry e = {0};

    if (mp_inv.answer.n)
        e = next_entry(&r);
    if (e.value.kind == MP_VALUE_NONE)
        lua_pushvalue(L, otherwise);
    else
        push_value(L, &e.value);
    return 1;
}

static int get_k(lua_State *L, int status, lua_KContext unused)
{
    (void)status;
    (void)unused;
    return push_answer(L, "state.get", 2);
}

static int state_get(lua_State *L)
{
    struct mp_wait wait = {.kind = MP_WAIT_GET};
    const struct mp_held *h;

    need_state(L, "state.get");
    lua_settop(L, 2);
    wait.name = name_at(L, 1, "state.get");
    reads();
    if (!mp_values_at_hand(&mp_inv.values, wait.name))
        return mp_coro_wait(L, "state.get", &wait, get_k, 0);
    h = mp_values_find(&mp_inv.values, wait.name);
    if (h && h->now.kind != MP_VALUE_NONE)
        push_value(L, &h->now);
    return 1; /* else the default is on top */
}

/* ---- changes ---- */

/* The option ttl of the table at index; 0: none. */
static int64_t ttl_at(lua_State *L, int index, const char *call)
{
    static const char *const options[] = {"ttl", NULL};
    int64_t ttl = 0;

    mp_api_options(L, index, call, options);
    if (mp_api_option(L, index, "ttl") != LUA_TNIL) {
        ttl = mp_api_duration(L, -1, call);
        if (ttl == 0)
            luaL_error(L, "%s: ttl is a time longer than 0", call);
    }
    lua_pop(L, 1);
    return ttl;
}

/* Make a change that fits, or raise. */
static void change(lua_State *L, const char *call, struct mp_slice name,
                   const struct mp_value *value, enum mp_state_op op,
                   int64_t ttl_us)
{
    struct mp_values *v = &mp_inv.values;
    struct mp_values_cost cost = mp_values_cost(v, name, value);
    int64_t used = (int64_t)(mp_inv.effects.len + v->pending);

    if (cost.quota > 0 && cost.quota > v->left)
        luaL_error(L,
                   "%s: [state] quota (%I bytes) is full: '%s' needs %I more, "
                   "%I are left",
                   call, (LUAI_UACINT)mp_inv.image->load.state_quota, name.ptr,
                   (LUAI_UACINT)cost.quota,
                   (LUAI_UACINT)(v->left > 0 ? v->left : 0));
    if (v->n_changed >= MP_STATE_CHANGES_MAX) {
        struct mp_held *h = mp_values_find(v, name);

        if (!h || !h->changed)
            luaL_error(L, "%s: more than %d values changed in one invocation",
                       call, MP_STATE_CHANGES_MAX);
    }
    if (used + cost.pending > MP_EFFECTS_MAX)
        luaL_error(L, "%s: more than fits into one outcome", call);
    mp_values_set(v, name, value, op, ttl_us);
}

static void set_table(lua_State *L, int index, const char *name,
                      struct mp_value *value)
{
    struct mp_why why;
    int rc;

    mp_buf_reset(&scratch);
    rc = mp_json_encode(L, index, &scratch, &why);
    if (rc == MP_EFULL)
        luaL_error(L, "state.set: '%s' is more than %d bytes as JSON", name,
                   MP_STATE_VALUE_MAX);
    if (rc)
        luaL_error(L, "state.set: '%s': %s", name, why.text);
    value->kind = MP_VALUE_TABLE;
    value->text = mp_buf_bytes(&scratch);
}

/* The value at index; a table's text is in scratch. */
static struct mp_value value_at(lua_State *L, int index, const char *name)
{
    struct mp_value v = {0};

    switch (lua_type(L, index)) {
    case LUA_TNUMBER:
        v.kind = lua_isinteger(L, index) ? MP_VALUE_INTEGER : MP_VALUE_FLOAT;
        v.integer = lua_tointeger(L, index);
        v.number = lua_tonumber(L, index);
        if (!isfinite(v.number))
            luaL_error(L, "state.set: '%s' is %s, which can't be kept", name,
                       isnan(v.number) ? "NaN" : "infinity");
        break;
    case LUA_TSTRING:
        v.kind = MP_VALUE_STRING;
        v.text.ptr = lua_tolstring(L, index, &v.text.len);
        if (v.text.len > MP_STATE_VALUE_MAX)
            luaL_error(L,
                       "state.set: '%s' has %I bytes; a value has at most "
                       "%d",
                       name, (LUAI_UACINT)v.text.len, MP_STATE_VALUE_MAX);
        break;
    case LUA_TBOOLEAN:
        v.kind = MP_VALUE_BOOLEAN;
        v.integer = lua_toboolean(L, index);
        break;
    case LUA_TTABLE:
        set_table(L, index, name, &v);
        break;
    case LUA_TNIL:
        luaL_error(L, "state.set: '%s' is nil; use mp.state.delete", name);
        break;
    default:
        luaL_error(
            L,
            "state.set: '%s' is %s; numbers, strings, booleans and "
            "tables can be kept",
            name, mp_json_is_null(L, index) ? "null" : luaL_typename(L, index));
    }
    return v;
}

/* It is so already, and stays so. */
static bool is_so(const struct mp_held *h, const struct mp_value *v)
{
    return h && !h->changed && !h->expires && mp_value_eq(&h->now, v);
}

static int state_set(lua_State *L)
{
    struct mp_slice name;
    struct mp_value value;
    int64_t ttl;

    need_state(L, "state.set");
    lua_settop(L, 3);
    name = name_at(L, 1, "state.set");
    ttl = ttl_at(L, 3, "state.set");
    value = value_at(L, 2, name.ptr);
    if (ttl || !is_so(mp_values_find(&mp_inv.values, name), &value))
        change(L, "state.set", name, &value, MP_STATE_SET, ttl);
    return 0;
}

static int state_delete(lua_State *L)
{
    static const struct mp_value none = {.kind = MP_VALUE_NONE};
    struct mp_slice name;

    need_state(L, "state.delete");
    lua_settop(L, 1);
    name = name_at(L, 1, "state.delete");
    if (mp_values_find(&mp_inv.values, name) ||
        !mp_values_at_hand(&mp_inv.values, name))
        change(L, "state.delete", name, &none, MP_STATE_DELETE, 0);
    return 0;
}

/* ---- increment ---- */

static struct mp_value sum(lua_State *L, const char *name,
                           const struct mp_value *old)
{
    bool old_int = old->kind != MP_VALUE_FLOAT; /* none is 0 */
    double left = old_int ? (double)old->integer : old->number;
    struct mp_value new = {.kind = MP_VALUE_INTEGER};

    if (old->kind != MP_VALUE_NONE && old->kind != MP_VALUE_INTEGER &&
        old->kind != MP_VALUE_FLOAT)
        luaL_error(L, "state.increment: '%s' is a %s, not a number", name,
                   mp_value_kind_name(old->kind));
    if (old_int && lua_isinteger(L, 2)) {
        if (__builtin_add_overflow(old->integer, lua_tointeger(L, 2),
                                   &new.integer))
            luaL_error(L,
                       "state.increment: '%s' would overflow: %I by %I is no "
                       "64-bit integer",
                       name, (LUAI_UACINT)old->integer,
                       (LUAI_UACINT)lua_tointeger(L, 2));
        return new;
    }
    new.kind = MP_VALUE_FLOAT;
    new.number = left + lua_tonumber(L, 2);
    if (!isfinite(new.number))
        luaL_error(L, "state.increment: '%s' would be %s, which can't be kept",
                   name, isnan(new.number) ? "NaN" : "infinity");
    return new;
}

/* With what there is; the arguments are at 1 to 3. */
static int increment(lua_State *L, const struct mp_value *old)
{
    struct mp_slice name = text_at(L, 1);
    struct mp_value new = sum(L, name.ptr, old);
    int64_t ttl = ttl_at(L, 3, "state.increment");

    if (ttl || !is_so(mp_values_find(&mp_inv.values, name), &new))
        change(L, "state.increment", name, &new, MP_STATE_INCREMENT, ttl);
    push_value(L, &new);
    return 1;
}

static int increment_k(lua_State *L, int status, lua_KContext unused)
{
    struct mp_reader r = answer(L, "state.increment");
    struct mp_entry e = {0};

    (void)status;
    (void)unused;
    if (mp_inv.answer.n)
        e = next_entry(&r);
    return increment(L, &e.value);
}

static int state_increment(lua_State *L)
{
    static const struct mp_value none = {.kind = MP_VALUE_NONE};
    struct mp_wait wait = {.kind = MP_WAIT_GET};
    struct mp_held *h;

    need_state(L, "state.increment");
    lua_settop(L, 3);
    wait.name = name_at(L, 1, "state.increment");
    if (lua_isnil(L, 2)) {
        lua_pushinteger(L, 1);
        lua_replace(L, 2);
    }
    if (lua_type(L, 2) != LUA_TNUMBER)
        return mp_api_mistyped(L, 2, "state.increment", "by", "a number");
    ttl_at(L, 3, "state.increment");
    reads();
    if (!mp_values_at_hand(&mp_inv.values, wait.name))
        return mp_coro_wait(L, "state.increment", &wait, increment_k, 0);
    h = mp_values_find(&mp_inv.values, wait.name);
    return increment(L, h ? &h->now : &none);
}

/* ---- names, each ---- */

/* prefix, list, the name up to which all is in it (or nil) */
enum { AT_PREFIX = 1, AT_LIST = 2, AT_CURSOR = 3 };
enum { WANT_NAMES, WANT_EACH };

static void append(lua_State *L, struct mp_slice name)
{
    lua_pushlstring(L, name.ptr, name.len);
    lua_rawseti(L, AT_LIST, (lua_Integer)lua_rawlen(L, AT_LIST) + 1);
}

/* Append what is held from the cursor (or the prefix) on, up to `until`. */
static void append_held(lua_State *L, const struct mp_slice *until)
{
    struct mp_values *v = &mp_inv.values;
    struct mp_slice prefix = text_at(L, AT_PREFIX);
    struct mp_slice cursor = text_at(L, AT_CURSOR);
    size_t at = mp_values_seek(v, prefix, false), later = 0;

    if (!lua_isnil(L, AT_CURSOR))
        later = mp_values_seek(v, cursor, true);
    for (at = at > later ? at : later; at < v->n; at++) {
        const struct mp_held *h = v->held[at];

        if (!has_prefix(h->name, prefix) ||
            (until && mp_values_compare(h->name, *until) > 0))
            break;
        if (h->now.kind != MP_VALUE_NONE)
            append(L, h->name);
    }
}

static void set_cursor(lua_State *L, struct mp_slice name)
{
    lua_pushlstring(L, name.ptr, name.len);
    lua_replace(L, AT_CURSOR);
}

static int each_next(lua_State *L);

/* All is in the list. */
static int end_names(lua_State *L, lua_KContext want)
{
    append_held(L, NULL);
    lua_pushvalue(L, AT_LIST);
    if (want == WANT_NAMES)
        return 1;
    lua_pushinteger(L, 0);
    lua_pushnil(L);
    lua_pushvalue(L, AT_PREFIX);
    lua_pushcclosure(L, each_next, 4);
    return 1;
}

static int names_k(lua_State *L, int status, lua_KContext want);

static int ask_names(lua_State *L, lua_KContext want)
{
    struct mp_wait wait = {.kind = MP_WAIT_NAMES,
                           .name = text_at(L, AT_PREFIX),
                           .after = text_at(L, AT_CURSOR)};

    return mp_coro_wait(L, want == WANT_EACH ? "state.each" : "state.names",
                        &wait, names_k, want);
}

static int names_k(lua_State *L, int status, lua_KContext want)
{
    struct mp_reader r =
        answer(L, want == WANT_EACH ? "state.each" : "state.names");
    uint32_t n = mp_inv.answer.n;
    bool more = mp_inv.answer.more;

    (void)status;
    for (uint32_t i = 0; i < n; i++) {
        struct mp_entry e = next_entry(&r);

        append_held(L, &e.name);
        if (!mp_values_find(&mp_inv.values, e.name))
            append(L, e.name);
        set_cursor(L, e.name);
    }
    return more && n ? ask_names(L, want) : end_names(L, want);
}

static int list_names(lua_State *L, const char *call, lua_KContext want)
{
    struct mp_slice prefix, border;

    need_state(L, call);
    lua_settop(L, 1);
    prefix = prefix_at(L, AT_PREFIX, call, MP_STATE_NAME_MAX);
    reads();
    lua_newtable(L);
    lua_pushnil(L);
    if (mp_inv.values.complete)
        return end_names(L, want);
    border = mp_values_border(&mp_inv.values);
    if (!border.ptr)
        return ask_names(L, want);
    append_held(L, &border);
    set_cursor(L, border);
    if (mp_values_compare(border, prefix) > 0 && !has_prefix(border, prefix))
        return end_names(L, want); /* all with that prefix are at hand */
    return ask_names(L, want);
}

static int state_names(lua_State *L)
{
    return list_names(L, "state.names", WANT_NAMES);
}

static int state_each(lua_State *L)
{
    return list_names(L, "state.each", WANT_EACH);
}

/* The iterator: its list, how far it is, values that were fetched, prefix. */
enum { UP_LIST = 1, UP_AT, UP_PAGE, UP_PREFIX };

/* Push the value of name from what is at hand or was fetched.  False: it has
 * to be fetched. */
static bool push_current(lua_State *L, struct mp_slice name)
{
    const struct mp_held *h;

    if (mp_values_at_hand(&mp_inv.values, name)) {
        h = mp_values_find(&mp_inv.values, name);
        if (h)
            push_value(L, &h->now);
        else
            lua_pushnil(L);
        return true;
    }
    if (!lua_istable(L, lua_upvalueindex(UP_PAGE)))
        return false;
    lua_pushlstring(L, name.ptr, name.len);
    if (lua_rawget(L, lua_upvalueindex(UP_PAGE)) != LUA_TNIL)
        return true;
    lua_pop(L, 1);
    return false;
}

static int each_k(lua_State *L, int status, lua_KContext at);

static int fetch_values(lua_State *L, lua_Integer at)
{
    struct mp_wait wait = {.kind = MP_WAIT_EACH};

    lua_settop(L, 0);
    wait.name = text_at(L, lua_upvalueindex(UP_PREFIX));
    lua_rawgeti(L, lua_upvalueindex(UP_LIST), at - 1); /* or nil: the first */
    wait.after = text_at(L, -1);
    return mp_coro_wait(L, "state.each", &wait, each_k, at);
}

/* From the name at `at` on; fetched: its value would be there. */
static int walk(lua_State *L, lua_Integer at, bool fetched)
{
    struct mp_slice name;

    for (;; at++, fetched = false) {
        lua_settop(L, 0);
        if (lua_rawgeti(L, lua_upvalueindex(UP_LIST), at) == LUA_TNIL)
            return 1;
        name = text_at(L, 1);
        if (!push_current(L, name)) {
            if (fetched)
                continue; /* it expired meanwhile */
            return fetch_values(L, at);
        }
        if (lua_isnil(L, -1))
            continue; /* deleted by the loop */
        lua_pushinteger(L, at);
        lua_replace(L, lua_upvalueindex(UP_AT));
        return 2;
    }
}

static int each_k(lua_State *L, int status, lua_KContext at)
{
    struct mp_reader r = answer(L, "state.each");

    (void)status;
    lua_createtable(L, 0, (int)mp_inv.answer.n);
    for (uint32_t i = 0; i < mp_inv.answer.n; i++) {
        struct mp_entry e = next_entry(&r);

        lua_pushlstring(L, e.name.ptr, e.name.len);
        push_value(L, &e.value);
        lua_rawset(L, -3);
    }
    lua_replace(L, lua_upvalueindex(UP_PAGE));
    return walk(L, (lua_Integer)at, true);
}

static int each_next(lua_State *L)
{
    return walk(L, lua_tointeger(L, lua_upvalueindex(UP_AT)) + 1, false);
}

/* ---- other actors ---- */

static int state_of(lua_State *L)
{
    need_keys(L, "state.of");
    lua_settop(L, 1);
    if (!lua_isnil(L, 1))
        mp_api_name(L, 1, "state.of", "key", MP_KEY_MAX);
    reads();
    lua_newuserdatauv(L, 0, 1);
    lua_pushvalue(L, 1); /* nil: the function's own actor */
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, TYPE_OF);
    return 1;
}

/* The actor at 1 becomes its key there. */
static struct mp_slice of_key(lua_State *L, const char *call)
{
    if (!luaL_testudata(L, 1, TYPE_OF))
        luaL_error(L, "state.of: call it as mp.state.of(key):%s(...)", call);
    lua_getiuservalue(L, 1, 1);
    lua_replace(L, 1);
    return text_at(L, 1);
}

static int of_get_k(lua_State *L, int status, lua_KContext unused)
{
    (void)status;
    (void)unused;
    return push_answer(L, "state.of: get", 3);
}

static int of_get(lua_State *L)
{
    struct mp_wait wait = {.kind = MP_WAIT_GET, .of = true};

    lua_settop(L, 3);
    wait.key = of_key(L, "get");
    wait.name = name_at(L, 2, "state.of: get");
    return mp_coro_wait(L, "state.of: get", &wait, of_get_k, 0);
}

/* The iterator: key, prefix, a page as name, value, name, ...; how far it is,
 * the name after which the next one begins, and whether there is one. */
enum {
    OF_KEY = 1,
    OF_PREFIX,
    OF_PAGE,
    OF_AT,
    OF_AFTER,
    OF_MORE,
    OF_UPVALUES = 6
};

static int of_next(lua_State *L);

static int of_next_k(lua_State *L, int status, lua_KContext unused)
{
    struct mp_reader r = answer(L, "state.of: each");
    uint32_t n = mp_inv.answer.n;
    bool more = n && mp_inv.answer.more;

    (void)status;
    (void)unused;
    lua_settop(L, 0);
    lua_createtable(L, (int)n * 2, 0);
    for (uint32_t i = 0; i < n; i++) {
        struct mp_entry e = next_entry(&r);

        lua_pushlstring(L, e.name.ptr, e.name.len);
        lua_pushvalue(L, -1);
        lua_replace(L, lua_upvalueindex(OF_AFTER));
        lua_rawseti(L, 1, 2 * i + 1);
        push_value(L, &e.value);
        lua_rawseti(L, 1, 2 * i + 2);
    }
    lua_replace(L, lua_upvalueindex(OF_PAGE));
    lua_pushinteger(L, 0);
    lua_replace(L, lua_upvalueindex(OF_AT));
    lua_pushboolean(L, more);
    lua_replace(L, lua_upvalueindex(OF_MORE));
    return of_next(L);
}

static int of_next(lua_State *L)
{
    struct mp_wait wait = {.kind = MP_WAIT_EACH, .of = true};
    lua_Integer at = lua_tointeger(L, lua_upvalueindex(OF_AT));

    lua_settop(L, 0);
    if (lua_rawgeti(L, lua_upvalueindex(OF_PAGE), at + 1) != LUA_TNIL) {
        lua_rawgeti(L, lua_upvalueindex(OF_PAGE), at + 2);
        lua_pushinteger(L, at + 2);
        lua_replace(L, lua_upvalueindex(OF_AT));
        return 2;
    }
    if (!lua_toboolean(L, lua_upvalueindex(OF_MORE)))
        return 1;
    wait.key = text_at(L, lua_upvalueindex(OF_KEY));
    wait.name = text_at(L, lua_upvalueindex(OF_PREFIX));
    wait.after = text_at(L, lua_upvalueindex(OF_AFTER));
    return mp_coro_wait(L, "state.of: each", &wait, of_next_k, 0);
}

static int of_each(lua_State *L)
{
    lua_settop(L, 2);
    of_key(L, "each");
    prefix_at(L, 2, "state.of: each", MP_STATE_NAME_MAX);
    lua_newtable(L);
    lua_pushinteger(L, 0);
    lua_pushliteral(L, "");
    lua_pushboolean(L, 1);
    lua_pushcclosure(L, of_next, OF_UPVALUES);
    return 1;
}

/* ---- actors ---- */

static int actors_k(lua_State *L, int status, lua_KContext limit);

/* As for names: prefix, list, cursor. */
static int ask_actors(lua_State *L, lua_KContext limit)
{
    struct mp_wait wait = {
        .kind = MP_WAIT_ACTORS,
        .name = text_at(L, AT_PREFIX),
        .after = text_at(L, AT_CURSOR),
        .limit = (uint32_t)((lua_Unsigned)limit - lua_rawlen(L, AT_LIST))};

    return mp_coro_wait(L, "state.actors", &wait, actors_k, limit);
}

static int actors_k(lua_State *L, int status, lua_KContext limit)
{
    struct mp_reader r = answer(L, "state.actors");
    uint32_t n = mp_inv.answer.n;
    bool more = mp_inv.answer.more && n;

    (void)status;
    for (uint32_t i = 0; i < n; i++) {
        struct mp_entry e = next_entry(&r);

        if (e.name.len)
            append(L, e.name);
        set_cursor(L, e.name);
    }
    if (more && lua_rawlen(L, AT_LIST) < (lua_Unsigned)limit)
        return ask_actors(L, limit);
    lua_pushvalue(L, AT_LIST);
    return 1;
}

static int state_actors(lua_State *L)
{
    static const char *const options[] = {"after", "limit", NULL};
    lua_Integer limit = MP_ACTORS_MAX;

    need_keys(L, "state.actors");
    lua_settop(L, 2);
    prefix_at(L, 1, "state.actors", MP_KEY_MAX);
    mp_api_options(L, 2, "state.actors", options);
    if (mp_api_option(L, 2, "limit") != LUA_TNIL) {
        limit = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (limit < 1 || limit > MP_ACTORS_MAX)
            return luaL_error(L, "state.actors: limit is a number from 1 to %d",
                              MP_ACTORS_MAX);
    }
    lua_settop(L, 2);
    if (mp_api_option(L, 2, "after") != LUA_TNIL)
        mp_api_name(L, 3, "state.actors", "key", MP_KEY_MAX);
    reads();
    lua_newtable(L);
    lua_replace(L, AT_LIST);
    return ask_actors(L, (lua_KContext)limit);
}

/* ---- the table ---- */

static void open_of(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"get", of_get},
        {"each", of_each},
        {NULL, NULL},
    };

    luaL_newmetatable(L, TYPE_OF);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void mp_api_open_state(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"get", state_get},
        {"set", state_set},
        {"increment", state_increment},
        {"delete", state_delete},
        {"names", state_names},
        {"each", state_each},
        {"of", state_of},
        {"actors", state_actors},
        {NULL, NULL},
    };

    open_of(L);
    luaL_newlib(L, functions);
    mp_api_strict(L, "mp.state");
}
