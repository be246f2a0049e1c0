/*
 * test_lua_cbor.c - the Lua module cbor in a real Lua state.
 *
 * Documents and what becomes of them are in tests/corpus/cbor/rows.h.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>

#include "luart/cbor.h"
#include "luart/json.h"
#include "tests/corpus/cbor/rows.h"

/* What rows of rows.h are written in. */
static const char words[] =
    "array, null = json.array, json.null\n"
    "function nest(n)\n"
    "  local t = array{}\n"
    "  for _ = 1, n do t = array{t} end\n"
    "  return t\n"
    "end\n"
    "function same(a, b)\n"
    "  if math.type(a) == 'float' then\n"
    "    return math.type(b) == 'float' and\n"
    "      (a ~= a and b ~= b or string.pack('d', a) == string.pack('d', b))\n"
    "  end\n"
    "  if type(a) ~= 'table' then\n"
    "    return a == b and math.type(a) == math.type(b)\n"
    "  end\n"
    "  for k, v in pairs(a) do\n"
    "    if not same(v, b[k]) then return false end\n"
    "  end\n"
    "  for k in pairs(b) do\n"
    "    if a[k] == nil then return false end\n"
    "  end\n"
    "  return true\n"
    "end\n"
    "function hex(s)\n"
    "  return (s:gsub('.', function(c) return ('%02x'):format(c:byte()) end))\n"
    "end\n";

static void open_modules(lua_State *L)
{
    luaL_openlibs(L);
    luaL_requiref(L, "json", mp_luaopen_json, 1);
    luaL_requiref(L, "cbor", mp_luaopen_cbor, 1);
    lua_settop(L, 0);
}

static int setup(void **fixture)
{
    lua_State *L = luaL_newstate();

    open_modules(L);
    if (luaL_dostring(L, words) != LUA_OK)
        return -1;
    *fixture = L;
    return 0;
}

static int teardown(void **fixture)
{
    lua_close(*fixture);
    return 0;
}

/* A block of exactly its size, so that one byte too many is caught. */
static struct mp_slice exact(const char *hex)
{
    char *room = mp_alloc(strlen(hex) / 2);

    return mp_slice(room, cbor_unhex(hex, room));
}

static void exact_free(struct mp_slice s)
{
    union {
        const char *borrowed;
        char *owned;
    } p = {s.ptr};

    free(p.owned);
}

static void check_value(lua_State *L, const struct cbor_row *row)
{
    lua_getglobal(L, "same");
    lua_pushvalue(L, 1);
    lua_pushfstring(L, "return %s", row->lua);
    assert_int_equal(luaL_loadstring(L, lua_tostring(L, -1)), LUA_OK);
    lua_remove(L, -2);
    lua_call(L, 0, 1);
    lua_call(L, 2, 1);
    if (!lua_toboolean(L, -1))
        fail_msg("%s: is not %s", row->in, row->lua);
    lua_pop(L, 1);
}

static void check_bytes(lua_State *L, const struct cbor_row *row)
{
    struct mp_slice want = exact(row->out ? row->out : row->in);
    struct mp_buf out;
    struct mp_why why;

    mp_buf_init(&out, 100000);
    assert_int_equal(mp_cbor_encode(L, 1, &out, &why), 0);
    assert_int_equal(lua_gettop(L), 1);
    assert_int_equal(out.len, want.len);
    assert_memory_equal(out.ptr, want.ptr, want.len);
    mp_buf_fini(&out);
    exact_free(want);
}

static void each_item_comes_back_or_raises_at_its_byte(void **fixture)
{
    lua_State *L = *fixture;

    for (size_t i = 0; i < ARRAY_LEN(cbor_rows); i++) {
        const struct cbor_row *row = &cbor_rows[i];
        struct mp_slice in = exact(row->in);
        struct mp_why why;
        int rc = mp_cbor_decode(L, in, &why);

        print_message("%.60s: %s\n", row->in, row->why);
        if (row->lua) {
            if (rc)
                fail_msg("%s", why.text);
            assert_int_equal(lua_gettop(L), 1);
            check_value(L, row);
            check_bytes(L, row);
            lua_pop(L, 1);
        } else {
            const char *at;

            assert_int_equal(rc, MP_EPARSE);
            print_message("  %s\n", why.text);
            at = strstr(why.text, "at byte ");
            assert_int_equal(lua_gettop(L), 0);
            assert_non_null(at);
            assert_int_equal(strtoul(at + 8, NULL, 10), row->at);
        }
        exact_free(in);
    }
}

/* Rows of Lua: an expression, and what it gives or the error's last part. */
static const struct {
    const char *lua, *gives, *why;
} rows[] = {
    {"hex(cbor.encode{temp=31.5,count=1})", "a26474656d70f94fe065636f756e7401",
     "the ordinary case: the shorter name comes first"},
    {"hex(cbor.encode(''))", "60", "an empty string"},
    {"hex(cbor.encode('\\0'))", "6100", "a NUL is text"},
    {"hex(cbor.encode('\\xff'))", "41ff", "bytes"},
    {"hex(cbor.encode(('x'):rep(65536)):sub(1, 6))", "7a0001000078",
     "a long string"},
    {"hex(cbor.encode(cbor.null))", "f6", "null"},
    {"cbor.null == json.null", "true", "one null for both"},
    {"hex(cbor.encode{})", "a0", "an empty table is a map"},
    {"hex(cbor.encode(cbor.array{}))", "80", "unless it is marked"},
    {"hex(cbor.encode(json.array{}))", "80", "whoever marked it"},
    {"json.encode(cbor.decode('\\x80'))", "[]", "or decoded it"},
    {"hex(cbor.encode(cbor.array()))", "80", "a new one"},
    {"hex(cbor.encode{[2]='b',[1]='a'})", "8261616162", "a list in any order"},
    {"hex(cbor.encode{1,nil,3})", "a201010303", "with a hole: numbered"},
    {"hex(cbor.encode{[0]=1})", "a10001", "from 0: numbered"},
    {"hex(cbor.encode{[math.mininteger]=1,[math.maxinteger]=2,[-1]=3})",
     "a31b7fffffffffffffff0220033b7fffffffffffffff01", "as far as they go"},
    {"getmetatable(cbor.decode('\\x80'))", "array", "the mark is protected"},
    {"cbor.decode('\\xf6') == cbor.null", "true", "null is null"},
    {"#cbor.decode('\\x82\\xf6\\xf7')", "2", "null holds a place"},
    {"math.type(cbor.decode('\\xf9\\x3c\\0'))", "float", "1.0 stays 1.0"},
    {"cbor.decode(cbor.encode(('x'):rep(70000))) == ('x'):rep(70000)", "true",
     "past the scratch memory that is kept"},
    {"cbor.decode('\\x7f' .. ('\\x62ab'):rep(5000) .. '\\xff') == "
     "('ab'):rep(5000)",
     "true", "many parts"},
    {"(function() local t = {} for i = 1, 40 do t['k' .. i] = {i} end "
     "local u = cbor.decode(cbor.encode(t)) return u.k1[1] + u.k40[1] end)()",
     "41", "more keys than wait on the stack"},
    {"(function() local t = {} for i = 1, 40 do t[-i] = {i} end "
     "local u = cbor.decode(cbor.encode(t)) return u[-1][1] + u[-40][1] end)()",
     "41", "numbered ones"},
    {"hex(cbor.encode(setmetatable({a=1}, {__index=error, __pairs=error, "
     "__len=error})))",
     "a1616101", "no metamethod is called"},
    {"hex(cbor.encode(setmetatable({1,2}, {__index=error, __len=error})))",
     "820102", "nor for lists"},
    {"(function() local t = {} for i = 1, 500 do t['k' .. i] = print end "
     "for i = 1, 1200 do pcall(cbor.encode, t) end "
     "return hex(cbor.encode{a=1}) end)()",
     "a1616101", "keys of what failed don't pile up"},

    {"cbor.encode(nil)", "nil has no place in CBOR; null is cbor.null",
     "nil is a mistake"},
    {"cbor.encode()", "value expected)", "so is nothing"},
    {"cbor.encode{rooms={{},{temp=print}}}",
     "cbor.encode: rooms[2].temp: only null, booleans, numbers, strings and "
     "tables have a place in CBOR",
     "a function, with its path"},
    {"cbor.encode{[5]={[-7]=print}}",
     "[5][-7]: only null, booleans, numbers, strings and tables have a place "
     "in CBOR",
     "a path of numbers"},
    {"cbor.encode(io.stdout)",
     "only null, booleans, numbers, strings and tables have a place in CBOR",
     "a userdata"},
    {"cbor.encode{1,a=2}",
     "the keys of a table are all strings or all integers", "mixed"},
    {"cbor.encode{a={a=1,[7]=2}}",
     "a: the keys of a table are all strings or all integers",
     "mixed, with a path"},
    {"cbor.encode{[true]=1}",
     "the keys of a table are all strings or all integers", "a boolean"},
    {"cbor.encode{[1.5]=1}",
     "the keys of a table are all strings or all integers", "a fraction"},
    {"(function() local t = cbor.array{} t.x = 1 cbor.encode(t) end)()",
     "a list has a key that is a string", "a list that got a name"},
    {"cbor.encode(cbor.array{1,nil,3})",
     "a list has the keys 1 to n, without holes", "a list that got a hole"},
    {"(function() local t = {} t.t = t cbor.encode(t) end)()",
     "t.t.t.t: more than 64 tables within each other", "a cycle"},
    {"(function() local t = {1} for _ = 1, 40 do t = {t, t} end "
     "cbor.encode(t) end)()",
     "the result is longer than 16777216 bytes",
     "a small table that is 2^40 items long"},
    {"cbor.encode(('x'):rep(1 << 24))",
     "the result is longer than 16777216 bytes", "too long a string"},
    {"cbor.decode('')",
     "cbor.decode: expected a value at byte 1, but the "
     "bytes end",
     "nothing"},
    {"cbor.decode('\\x62a')",
     "cbor.decode: expected the rest of a string at byte 3, but the bytes end",
     "cut off"},
    {"cbor.decode('\\0\\0')", "cbor.decode: expected the end at byte 2",
     "two items"},
    {"cbor.decode('\\xa1\\xf4\\0')",
     "cbor.decode: expected a string or an integer of 64 bits as a key at "
     "byte 2",
     "a wrong key"},
    {"cbor.decode(('\\x81'):rep(65))",
     "cbor.decode: expected at most 64 levels of arrays and maps at byte 65",
     "too deep"},
    {"cbor.decode('\\xc1\\xf6')",
     "cbor.decode: expected a number of seconds at byte 2", "a tag that lies"},
    {"cbor.decode(5)", "string expected, got number)", "no string"},
    {"cbor.decode()", "string expected, got no value)", "nothing"},
    {"cbor.array(1)", "table expected, got number)", "no table"},
    {"cbor.array(setmetatable({}, {}))",
     "cbor.array: the table has a metatable", "somebody's object"},
};

static void each_call_gives_or_raises_what_it_should(void **fixture)
{
    lua_State *L = *fixture;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *got, *wanted = rows[i].gives;
        size_t len;
        bool raised;

        print_message("%s: %s\n", rows[i].lua, rows[i].why);
        lua_pushfstring(L, "return %s", rows[i].lua);
        assert_int_equal(luaL_loadstring(L, lua_tostring(L, -1)), LUA_OK);
        raised = lua_pcall(L, 0, 1, 0) != LUA_OK;
        got = luaL_tolstring(L, -1, &len);
        if (!raised) {
            assert_string_equal(got, wanted);
        } else { /* the position stands before it */
            assert_true(len >= strlen(wanted));
            assert_string_equal(got + len - strlen(wanted), wanted);
        }
        lua_settop(L, 0);
    }
}

/* Values at random, encoded, decoded, encoded: the bytes are equal, and the
 * values are.  Names come in bytewise order of what they are written as. */
static const char round_trip[] =
    "local function make(depth)\n"
    "  local kind = math.random(depth > 0 and 10 or 7)\n"
    "  if kind == 1 then return cbor.null end\n"
    "  if kind == 2 then return math.random(2) == 1 end\n"
    "  if kind == 3 then return math.random(-1000, 1000) end\n"
    "  if kind == 4 then\n"
    "    return math.random(0) >> math.random(0, 63)\n"
    "  end\n"
    "  if kind == 5 then\n"
    "    return string.unpack('f', string.pack('j', math.random(0)))\n"
    "  end\n"
    "  if kind == 6 then\n"
    "    return string.unpack('d', string.pack('j', math.random(0)))\n"
    "  end\n"
    "  if kind == 7 then\n"
    "    local s = {}\n"
    "    for i = 1, math.random(0, 30) do\n"
    "      s[i] = string.char(math.random(0, math.random(2) == 1 and 127\n"
    "        or 255))\n"
    "    end\n"
    "    return table.concat(s)\n"
    "  end\n"
    "  local t = kind == 8 and cbor.array{} or {}\n"
    "  for i = 1, math.random(0, 20) do\n"
    "    if kind == 8 then t[i] = make(depth - 1)\n"
    "    elseif kind == 9 then\n"
    "      t[math.random(0) >> math.random(0, 63)] = make(depth - 1)\n"
    "    else t[string.char(math.random(1, 255)):rep(math.random(0, 30))] =\n"
    "      make(depth - 1) end\n"
    "  end\n"
    "  if kind == 9 then t[-1] = 1 end\n"
    "  return t\n"
    "end\n"
    "local function ordered(t)\n"
    "  local keys, bytes = {}, cbor.encode(t)\n"
    "  for k in pairs(t) do keys[#keys + 1] = cbor.encode(k) end\n"
    "  table.sort(keys, function(a, b) return hex(a) < hex(b) end)\n"
    "  local at = #cbor.encode(#keys) + 1\n"
    "  for _, k in ipairs(keys) do\n"
    "    assert(bytes:sub(at, at + #k - 1) == k)\n"
    "    at = at + #k + #cbor.encode(t[cbor.decode(k)])\n"
    "  end\n"
    "end\n"
    "math.randomseed(20260301)\n"
    "for i = 1, 2000 do\n"
    "  local value = make(3)\n"
    "  local bytes = cbor.encode(value)\n"
    "  local back = cbor.decode(bytes)\n"
    "  assert(same(value, back), hex(bytes))\n"
    "  assert(cbor.encode(back) == bytes, hex(bytes))\n"
    "  if type(value) == 'table' and not getmetatable(value) then\n"
    "    ordered(value)\n"
    "  end\n"
    "end\n";

static void any_value_comes_back_the_same(void **fixture)
{
    lua_State *L = *fixture;

    if (luaL_dostring(L, round_trip) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

/* All 65536 halves are what they are, and are written as halves again. */
static void every_half_is_a_half(void **fixture)
{
    lua_State *L = *fixture;

    if (luaL_dostring(
            L,
            "for bits = 0, 65535 do\n"
            "  local s = '\\xf9' .. string.pack('>I2', bits)\n"
            "  local v, e, m = cbor.decode(s), bits >> 10 & 31, bits & 1023\n"
            "  local sign = bits >> 15 == 1 and -1 or 1\n"
            "  if e == 0 then assert(v == sign * m * 0x1p-24)\n"
            "  elseif e < 31 then\n"
            "    assert(v == sign * (1024 + m) * 2.0 ^ (e - 25))\n"
            "  elseif m == 0 then assert(v == sign / 0)\n"
            "  else assert(v ~= v) s = '\\xf9\\x7e\\0' end\n"
            "  assert(cbor.encode(v) == s)\n"
            "end") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

/* A few bytes that speak of many items get no memory for them. */
static void a_lie_about_lengths_costs_no_memory(void **fixture)
{
    lua_State *L = *fixture;

    if (luaL_dostring(
            L, "collectgarbage() collectgarbage('stop')\n"
               "local lies = {}\n"
               "for i = 1, 60 do\n"
               "  lies[i] = '\\x99' .. string.pack('>I2', 6000 - 3 * i)\n"
               "end\n"
               "local s = table.concat(lies) .. ('\\xff'):rep(5820)\n"
               "local before = collectgarbage('count')\n"
               "assert(not pcall(cbor.decode, s))\n"
               "local used = collectgarbage('count') - before\n"
               "collectgarbage('restart')\n"
               "assert(used < 120, used)") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

/* ---- leaving by longjmp, as at the memory limit ---- */

static struct {
    char arena[256 << 10];
    size_t used;
    long left; /* allocations until it leaves */
    jmp_buf out;
} heap;

static void *leaving(void *unused, void *old, size_t had, size_t want)
{
    char *got;

    (void)unused;
    if (want == 0 || (old && want <= had))
        return want ? old : NULL;
    if (heap.left-- == 0)
        longjmp(heap.out, 1);
    got = heap.arena + heap.used;
    heap.used += (want + 15) & ~(size_t)15;
    assert_true(heap.used <= sizeof heap.arena);
    if (old)
        memcpy(got, old, had);
    return got;
}

/* Returns whether the work was done before the n'th allocation. */
static bool leave_at(long n, const char *work)
{
    lua_State *volatile kept;
    lua_State *L;

    heap.used = 0;
    heap.left = LONG_MAX;
    kept = L = lua_newstate(leaving, NULL);
    open_modules(L);
    lua_gc(L, LUA_GCSTOP);
    assert_int_equal(luaL_loadstring(L, work), LUA_OK);
    if (setjmp(heap.out))
        return false; /* the state is left as it is, and never closed */
    heap.left = n;
    L = kept;
    assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_OK);
    return true;
}

/*
 * Whatever is abandoned half way, nothing is lost (the leak checker sees to
 * that) and the next call starts clean.
 */
static void a_longjmp_out_of_any_allocation_leaks_nothing(void **fixture)
{
    static const char *const works[] = {
        "assert(cbor.decode('\\xa2\\x61a\\x82\\x01\\xa1\\x61b\\x80\\x61c\\x9f"
        "\\x01\\xff').a[2].b)",
        "cbor.decode('\\x7f' .. ('\\x62ab'):rep(2000) .. '\\xff')",
        "assert(cbor.decode('\\xc4\\x82\\x20\\x0f') == 1.5)",
        "local t = {} for i = 1, 40 do t['key' .. i] = {i} end "
        "t[('k'):rep(50)] = 1 "
        "assert(cbor.decode(cbor.encode(t)).key7[1] == 7)",
        "cbor.encode(('x'):rep(70000))",
    };
    lua_State *L = *fixture;

    for (size_t i = 0; i < ARRAY_LEN(works); i++) {
        long n = 0;

        for (; !leave_at(n, works[i]); n++)
            assert_int_equal(
                luaL_dostring(L, "assert(hex(cbor.encode{b={1,{c=2}},a='x'}) "
                                 "== 'a26161617861628201a1616302')"),
                LUA_OK);
        print_message("%ld ways out\n", n);
        assert_true(n > 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_item_comes_back_or_raises_at_its_byte),
        cmocka_unit_test(each_call_gives_or_raises_what_it_should),
        cmocka_unit_test(any_value_comes_back_the_same),
        cmocka_unit_test(every_half_is_a_half),
        cmocka_unit_test(a_lie_about_lengths_costs_no_memory),
        cmocka_unit_test(a_longjmp_out_of_any_allocation_leaks_nothing),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
