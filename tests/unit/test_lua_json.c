/*
 * test_lua_json.c - the Lua modules json and base64 in a real Lua state.
 *
 * Documents and what becomes of them are in tests/corpus/json/rows.h.
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

#include "luart/base64.h"
#include "luart/json.h"
#include "tests/corpus/json/rows.h"

static void open_modules(lua_State *L)
{
    luaL_openlibs(L);
    luaL_requiref(L, "json", mp_luaopen_json, 1);
    luaL_requiref(L, "base64", mp_luaopen_base64, 1);
    lua_settop(L, 0);
}

static int setup(void **fixture)
{
    lua_State *L = luaL_newstate();

    open_modules(L);
    *fixture = L;
    return 0;
}

static int teardown(void **fixture)
{
    lua_close(*fixture);
    return 0;
}

/* A Lua string in a block of its own is not exact; a copy of ours is. */
static struct mp_slice exact(struct mp_slice s)
{
    char *copy = mp_alloc(s.len);

    if (s.len)
        memcpy(copy, s.ptr, s.len);
    return mp_slice(copy, s.len);
}

static void exact_free(struct mp_slice s)
{
    union {
        const char *borrowed;
        char *owned;
    } p = {s.ptr};

    free(p.owned);
}

static void each_document_comes_back_or_raises_at_its_byte(void **fixture)
{
    lua_State *L = *fixture;
    struct mp_buf out;

    mp_buf_init(&out, 100000);
    for (size_t i = 0; i < ARRAY_LEN(json_rows); i++) {
        const struct json_row *row = &json_rows[i];
        struct mp_slice in = exact(row->in);
        struct mp_why why;
        int rc = mp_json_decode(L, in, &why);

        print_message("%zu %.60s: %s\n", i, row->in.ptr, row->why);
        if (row->out) {
            assert_int_equal(rc, 0);
            assert_int_equal(lua_gettop(L), 1);
            mp_buf_reset(&out);
            assert_int_equal(mp_json_encode(L, -1, &out, &why), 0);
            assert_int_equal(lua_gettop(L), 1);
            mp_buf_put(&out, "", 1);
            assert_string_equal(out.ptr, row->out);
            lua_pop(L, 1);
        } else {
            const char *at = strstr(why.text, "at byte ");

            print_message("  %s\n", why.text);
            assert_int_equal(rc, MP_EPARSE);
            assert_int_equal(lua_gettop(L), 0);
            assert_non_null(at);
            assert_int_equal(strtoul(at + 8, NULL, 10), row->at);
        }
        exact_free(in);
    }
    mp_buf_fini(&out);
}

/* Rows of Lua: an expression, and what it gives or the error's last part. */
static const struct {
    const char *lua, *gives, *why;
} rows[] = {
    {"json.encode{temp=31.4,count=1}", "{\"count\":1,\"temp\":31.4}",
     "the ordinary case"},
    {"json.encode(1)", "1", "an integer"},
    {"json.encode(1.0)", "1.0", "a double that looks like one"},
    {"json.encode(2^53)", "9007199254740992.0", "as long as %.17g shows it"},
    {"json.encode(2^63)", "9.223372036854776e+18", "16 digits"},
    {"json.encode(-0.0)", "-0.0", "minus zero"},
    {"json.encode(math.mininteger)", "-9223372036854775808", "the smallest"},
    {"json.encode('')", "\"\"", "an empty string"},
    {"json.encode('a\\0b')", "\"a\\u0000b\"", "a NUL"},
    {"json.encode(false)", "false", "false is a value"},
    {"json.encode(json.null)", "null", "null"},
    {"json.encode{}", "{}", "an empty table is an object"},
    {"json.encode(json.array{})", "[]", "unless it is marked"},
    {"json.encode(json.array())", "[]", "a new one"},
    {"json.encode{1,2,3}", "[1,2,3]", "a list"},
    {"json.encode{[1]='a',[2]='b'}", "[\"a\",\"b\"]", "in the hash part"},
    {"json.encode{[2]='b',[1]='a'}", "[\"a\",\"b\"]", "in any order"},
    {"json.encode(json.array{1})", "[1]", "the mark on a full list"},
    {"json.encode{a={b={1,{c=json.null}}}}", "{\"a\":{\"b\":[1,{\"c\":null}]}}",
     "nested"},
    {"json.encode{{},{},json.array{}}", "[{},{},[]]", "empty ones"},
    {"json.encode{['\xc3\xa9']=1,z=2}", "{\"z\":2,\"\xc3\xa9\":1}",
     "bytes order names, not letters"},
    {"json.encode(json.decode('[]'))", "[]", "decoded from []"},
    {"json.encode(json.decode('{}'))", "{}", "decoded from {}"},
    {"(function() local t = json.decode('[1]') t[1] = nil "
     "return json.encode(t) end)()",
     "[]", "a list that was emptied"},
    {"(function() local t = json.decode('[1]') t[2] = 2 "
     "return json.encode(t) end)()",
     "[1,2]", "a list that grew"},
    {"getmetatable(json.decode('[]'))", "array", "the mark is protected"},
    {"pcall(setmetatable, json.decode('[]'), {}) and 1 or 2", "2",
     "and can't be replaced"},
    {"json.decode('null') == json.null", "true", "null is null"},
    {"math.type(json.decode('5'))", "integer", "an integer"},
    {"math.type(json.decode('5.0'))", "float", "a double"},
    {"#json.decode('[null,null]')", "2", "null holds a place"},
    {"json.decode('\"\\\\u0041\"')", "A", "an escape"},
    {"#json.decode('\"' .. ('\\\\n'):rep(5000) .. '\"')", "5000",
     "many of them"},
    {"json.decode(json.encode(('x'):rep(70000))) == ('x'):rep(70000)", "true",
     "past the scratch memory that is kept"},
    {"json.encode(setmetatable({a=1}, {__index=error, __pairs=error, "
     "__len=error}))",
     "{\"a\":1}", "no metamethod is called"},
    {"json.encode(setmetatable({1,2}, {__index=error, __len=error}))", "[1,2]",
     "nor for lists"},
    {"json.encode(setmetatable({}, {__name='x', __tostring=error}))", "{}",
     "nor for empty ones"},

    {"json.encode(nil)", "nil has no place in JSON; null is json.null",
     "nil is a mistake"},
    {"json.encode()", "value expected)", "so is nothing"},
    {"json.encode(0/0)", "NaN has no place in JSON", "NaN"},
    {"json.encode{rooms={{},{temp=0/0}}}",
     "json.encode: rooms[2].temp: NaN has no place in JSON", "with its path"},
    {"json.encode{a=1/0}", "a: infinity has no place in JSON", "infinity"},
    {"json.encode{a=-1/0}", "a: infinity has no place in JSON", "both"},
    {"json.encode{1,{print}}",
     "[2][1]: only null, booleans, numbers, strings and tables have a place "
     "in JSON",
     "a function"},
    {"json.encode(io.stdout)",
     "only null, booleans, numbers, strings and tables have a place in JSON",
     "a userdata"},
    {"json.encode{a='\\xff'}",
     "a: the string is not UTF-8; base64 takes any bytes", "bytes"},
    {"json.encode{['\\xff']=1}",
     "?: the string is not UTF-8; base64 takes any bytes", "bytes as a name"},
    {"json.encode{[('n'):rep(50)]={print}}",
     ("nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...[1]: only null, booleans, "
      "numbers, strings and tables have a place in JSON"),
     "a long name is cut"},
    {"json.encode{1,a=2}", "a table has either the keys 1 to n or strings",
     "mixed"},
    {"json.encode{a={1,b=2}}",
     "a: a table has either the keys 1 to n or strings", "mixed, with a path"},
    {"json.encode{a=1,[1]=2}", "a table has either the keys 1 to n or strings",
     "mixed, met in the other order"},
    {"json.encode{[true]=1}", "a table has either the keys 1 to n or strings",
     "a boolean as a key"},
    {"json.encode{[1.5]=1}", "a table has either the keys 1 to n or strings",
     "a fraction as a key"},
    {"json.encode{1,nil,3}", "a list has the keys 1 to n, without holes",
     "a hole"},
    {"json.encode{[2]=1}", "a list has the keys 1 to n, without holes",
     "no first"},
    {"json.encode{[0]=1}", "a list has the keys 1 to n, without holes",
     "counting from 0"},
    {"json.encode{[-1]=1,[1]=1}", "a list has the keys 1 to n, without holes",
     "below"},
    {"json.encode{[math.maxinteger]=1}",
     "a list has the keys 1 to n, without holes", "far away"},
    {"(function() local t = {} t.t = t json.encode(t) end)()",
     "t.t.t.t: more than 64 tables within each other", "a cycle"},
    {"(function() local t = json.array{} t.x = 1 json.encode(t) end)()",
     "a list has a key that is a string", "a list that got a name"},
    {"(function() local t = {1} for _ = 1, 40 do t = {t, t} end "
     "json.encode(t) end)()",
     "the text is longer than 16777216 bytes",
     "a small table that is 2^40 items long"},
    {"(function() local t = {} for i = 1, 200000 do t[i] = {a=1,b=2,c=3} end "
     "return #json.encode(t) end)()",
     "4000001", "600,000 keys, three at a time"},
    {"(function() local t = {} for i = 1, 500 do t['k' .. i] = 0/0 end "
     "for i = 1, 1200 do pcall(json.encode, t) end "
     "return json.encode{a=1} end)()",
     "{\"a\":1}", "keys of what failed don't pile up"},
    {"json.decode('[1,]')", "json.decode: expected a value at byte 4",
     "a bad text"},
    {"json.decode('{\"a\":')",
     "json.decode: expected a value at byte 6, but the text ends",
     "a text cut off"},
    {"json.decode(5)", "string expected, got number)", "no string"},
    {"json.decode()", "string expected, got no value)", "nothing"},
    {"json.array(1)", "table expected, got number)", "no table"},
    {"json.array(setmetatable({}, {}))",
     "json.array: the table has a metatable", "somebody's object"},

    {"base64.encode('')", "", "nothing"},
    {"base64.encode('foob')", "Zm9vYg==", "padding"},
    {"base64.decode('Zm9vYg')", "foob", "padding left out"},
    {"base64.decode('-_-_') == base64.decode('+/+/')", "true", "for URLs"},
    {"base64.decode(base64.encode(('\\0\\xff'):rep(5000))) == "
     "('\\0\\xff'):rep(5000)",
     "true", "larger than Lua's own buffer"},
    {"base64.decode('Zm9v!')", "base64.decode: expected base64 at byte 5",
     "a wrong byte"},
    {"base64.decode('Z')", "base64.decode: expected more at byte 2",
     "a text cut off"},
    {"base64.encode(5)", "string expected, got number)", "no string"},
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

/* Values at random, encoded, decoded, encoded: both texts are equal, and the
 * values are. */
static const char round_trip[] =
    "local function make(depth)\n"
    "  local kind = math.random(depth > 0 and 9 or 7)\n"
    "  if kind == 1 then return json.null end\n"
    "  if kind == 2 then return math.random(2) == 1 end\n"
    "  if kind == 3 then return math.random(-1000, 1000) end\n"
    "  if kind == 4 then return math.random(0) end\n"
    "  if kind == 5 then return math.random(-100000, 100000) / 100 end\n"
    "  if kind == 6 then\n"
    "    local d = string.unpack('d', string.pack('j', math.random(0)))\n"
    "    return d == d and d ~= 1/0 and d ~= -1/0 and d or 0.0\n"
    "  end\n"
    "  if kind == 7 then\n"
    "    local s = {}\n"
    "    for i = 1, math.random(0, 12) do\n"
    "      local c = math.random(0, ({127, 0x7ff, 0xffff})[math.random(3)])\n"
    "      if c < 0xd800 or c > 0xdfff then s[#s + 1] = utf8.char(c) end\n"
    "    end\n"
    "    return table.concat(s)\n"
    "  end\n"
    "  local t = kind == 8 and json.array{} or {}\n"
    "  for i = 1, math.random(0, 20) do\n"
    "    if kind == 8 then t[i] = make(depth - 1)\n"
    "    else t[utf8.char(math.random(1, 300)):rep(math.random(0, 9))] =\n"
    "      make(depth - 1) end\n"
    "  end\n"
    "  return t\n"
    "end\n"
    "local function same(a, b)\n"
    "  if type(a) ~= 'table' then\n"
    "    return a == b and math.type(a) == math.type(b)\n"
    "  end\n"
    "  if getmetatable(a) ~= getmetatable(b) then return false end\n"
    "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
    "  for k in pairs(b) do if a[k] == nil then return false end end\n"
    "  return true\n"
    "end\n"
    "math.randomseed(20260301)\n"
    "for i = 1, 2000 do\n"
    "  local value = make(3)\n"
    "  local text = json.encode(value)\n"
    "  local back = json.decode(text)\n"
    "  assert(same(value, back), text)\n"
    "  assert(json.encode(back) == text, text)\n"
    "end\n";

static void any_value_comes_back_the_same(void **fixture)
{
    lua_State *L = *fixture;

    if (luaL_dostring(L, round_trip) != LUA_OK)
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
        "json.decode('{\"a\":[1,2,3,{\"b\":\"x\\\\ny\"},[],[[]]],\"c\":1,\"d\":"
        "[1,2,3,4,5,6,7,8,9,10],\"e\":{\"f\":1,\"g\":2,\"h\":3}}')",
        "json.decode('\"' .. ('\\\\u00e9'):rep(1000) .. '\"')",
        "local t = {} for i = 1, 40 do t['key' .. i] = {i} end "
        "t[('k'):rep(50)] = 1 "
        "assert(json.decode(json.encode(t)).key7[1] == 7)",
        "json.encode(('x'):rep(70000))",
        "base64.decode(base64.encode(('x'):rep(3000)))",
    };
    lua_State *L = *fixture;

    for (size_t i = 0; i < ARRAY_LEN(works); i++) {
        long n = 0;

        for (; !leave_at(n, works[i]); n++)
            assert_int_equal(
                luaL_dostring(L, "assert(json.encode{b={1,{c=2}},a='x'} == "
                                 "'{\"a\":\"x\",\"b\":[1,{\"c\":2}]}')"),
                LUA_OK);
        print_message("%ld ways out\n", n);
        assert_true(n > 1);
    }
}

/* Decoding must not make objects of equal shape larger than they need be. */
static void a_decoded_object_has_the_size_of_a_written_one(void **fixture)
{
    lua_State *L = *fixture;

    if (luaL_dostring(
            L, "collectgarbage() collectgarbage('stop')\n"
               "local keep, text = {}, '{\"a\":1,\"b\":2,\"c\":3}'\n"
               "for i = 1, 100 do keep[i] = false end\n"
               "local before = collectgarbage('count')\n"
               "for i = 1, 100 do keep[i] = {a=1,b=2,c=3} end\n"
               "local written = collectgarbage('count') - before\n"
               "for i = 1, 100 do keep[i] = json.decode(text) end\n"
               "local read = collectgarbage('count') - before - written\n"
               "collectgarbage('restart')\n"
               "assert(read <= written, read .. ' ' .. written)") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_document_comes_back_or_raises_at_its_byte),
        cmocka_unit_test(each_call_gives_or_raises_what_it_should),
        cmocka_unit_test(any_value_comes_back_the_same),
        cmocka_unit_test(a_longjmp_out_of_any_allocation_leaks_nothing),
        cmocka_unit_test(a_decoded_object_has_the_size_of_a_written_one),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
