/*
 * error.c - reads error objects and call stacks without trusting them.
 */
#include "luart/error.h"

#include <lauxlib.h>

#include "core/base/text.h"
#include "luart/json.h"

#define TYPE_FAILURE "moonpool.failure"

enum { LEVELS_FIRST = 10, LEVELS_LAST = 10 };

/* Of an error that is a table: bytes of its JSON that are shown, and how many
 * it may have to be shown at all. */
enum { SHOWN_MAX = 200, SHOWN_WHOLE = 16 << 10 };

struct raised {
    enum mp_kind kind;
    uint32_t status;
    int64_t after_us;
};

static int count_levels(lua_State *L)
{
    lua_Debug ar;
    int low = 0, high = 1;

    while (lua_getstack(L, high, &ar)) {
        low = high;
        high *= 2;
    }
    while (high - low > 1) {
        int middle = low + (high - low) / 2;

        if (lua_getstack(L, middle, &ar))
            low = middle;
        else
            high = middle;
    }
    return lua_getstack(L, low, &ar) ? low + 1 : 0;
}

static void put_frame(lua_State *L, lua_Debug *ar, struct mp_buf *text)
{
    if (!lua_getinfo(L, "Slnt", ar))
        return;
    mp_buf_printf(text, "%s%s:", text->len ? "\n" : "", ar->short_src);
    if (ar->currentline > 0)
        mp_buf_printf(text, "%d:", ar->currentline);
    mp_buf_printf(text, " ");
    if (*ar->namewhat)
        mp_buf_printf(text, "in %s '%.100s'", ar->namewhat, ar->name);
    else if (*ar->what == 'm')
        mp_buf_printf(text, "in main chunk");
    else if (*ar->what != 'C')
        mp_buf_printf(text, "in function <%s:%d>", ar->short_src,
                      ar->linedefined);
    else
        mp_buf_printf(text, "in ?");
    if (ar->istailcall)
        mp_buf_printf(text, "\n(...tail calls...)");
}

void mp_traceback(lua_State *L, struct mp_buf *text)
{
    int levels = count_levels(L);
    lua_Debug ar;

    for (int i = 0; i < levels && lua_getstack(L, i, &ar); i++) {
        if (i == LEVELS_FIRST && levels > LEVELS_FIRST + LEVELS_LAST) {
            i = levels - LEVELS_LAST;
            mp_buf_printf(text, "\n...\t(skipping %d levels)",
                          i - LEVELS_FIRST);
            if (!lua_getstack(L, i, &ar))
                break;
        }
        put_frame(L, &ar, text);
    }
}

static const struct raised *raised_at(lua_State *L, int index)
{
    return luaL_testudata(L, index, TYPE_FAILURE);
}

static struct mp_slice text_at(lua_State *L, int index)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);

    return mp_slice(text, len < MP_ERROR_MAX ? len : MP_ERROR_MAX);
}

/* Outside the arena. */
static struct mp_buf shown = {.max = SHOWN_WHOLE};

static int encode_table(lua_State *L)
{
    struct mp_why why;

    lua_pushboolean(L, mp_json_encode(L, 1, &shown, &why) == 0);
    return 1;
}

/*
 * The table on top of L, as JSON if it can be.  L has failed: what may raise
 * (for memory) is called in the main state, which is idle then.
 */
static struct mp_slice table_text(lua_State *L)
{
    struct mp_slice text = MP_S("(error object is a table)");
    lua_State *main;
    bool fine;

    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    main = lua_tothread(L, -1);
    lua_pop(L, 1);
    if (!lua_checkstack(main, 4))
        return text;
    mp_buf_reset(&shown);
    lua_pushvalue(L, -1);
    if (main == L) {
        lua_pushcfunction(L, encode_table);
        lua_insert(L, -2);
    } else {
        lua_pushcfunction(main, encode_table);
        lua_xmove(L, main, 1);
    }
    fine = lua_pcall(main, 1, 1, 0) == LUA_OK && lua_toboolean(main, -1);
    lua_pop(main, 1);
    if (!fine || shown.len <= 2) /* "{}" says less */
        return text;
    if (shown.len > SHOWN_MAX) {
        shown.len = mp_cut(mp_buf_bytes(&shown), SHOWN_MAX).len;
        mp_buf_put(&shown, "...", 3);
    }
    return mp_buf_bytes(&shown);
}

void mp_failure_read(lua_State *L, struct mp_failure *f)
{
    const struct raised *raised;

    *f = (struct mp_failure){.kind = MP_OUT_ERROR, .retry_after_us = -1};
    f->text = MP_S("stack overflow");
    if (!lua_checkstack(L, 5))
        return;
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
    case LUA_TNUMBER:
        f->text = text_at(L, -1);
        return;
    case LUA_TNIL:
        f->text = MP_S("(error object is nil)");
        return;
    case LUA_TBOOLEAN:
        f->text = MP_S("(error object is a boolean)");
        return;
    case LUA_TTABLE:
        f->text = table_text(L);
        return;
    case LUA_TFUNCTION:
        f->text = MP_S("(error object is a function)");
        return;
    case LUA_TTHREAD:
        f->text = MP_S("(error object is a coroutine)");
        return;
    default:
        break;
    }
    raised = raised_at(L, -1);
    f->text = MP_S("(error object is a userdata)");
    if (!raised)
        return;
    f->kind = raised->kind;
    f->status = raised->status;
    f->retry_after_us = raised->after_us;
    f->did = raised->kind == MP_OUT_ERROR ? MP_DID_RETRY : 0;
    lua_getiuservalue(L, -1, 1);
    f->text = text_at(L, -1); /* the object keeps it alive */
    lua_pop(L, 1);
}

static _Noreturn void raise(lua_State *L, const struct raised *what)
{
    struct raised *r = lua_newuserdatauv(L, sizeof *r, 1);

    *r = *what;
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, TYPE_FAILURE);
    lua_error(L);
    MP_ASSERT(!"lua_error returns");
    __builtin_unreachable();
}

void mp_raise_reject(lua_State *L, uint32_t status)
{
    raise(L, &(struct raised){MP_OUT_REJECTED, status, -1});
}

void mp_raise_retry(lua_State *L, int64_t after_us)
{
    raise(L, &(struct raised){MP_OUT_ERROR, 0, after_us});
}

static int failure_tostring(lua_State *L)
{
    luaL_checkudata(L, 1, TYPE_FAILURE);
    lua_getiuservalue(L, 1, 1);
    return 1;
}

/* So that "no: " .. e works as it does with a string. */
static int failure_concat(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    luaL_tolstring(L, 2, NULL);
    lua_concat(L, 2);
    return 1;
}

void mp_error_open(lua_State *L)
{
    luaL_newmetatable(L, TYPE_FAILURE);
    lua_pushcfunction(L, failure_concat);
    lua_setfield(L, -2, "__concat");
    lua_pushcfunction(L, failure_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
