/*
 * test_lua_senml.c - the Lua module senml in a real Lua state.
 *
 * Packs of the shapes that RFC 8428 shows, and what becomes of them.
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
#include "luart/cbor.h"
#include "luart/json.h"
#include "luart/run.h"
#include "luart/senml.h"

/* mp.now in all tests: 2026-03-01 12:00:00.5 */
#define NOW INT64_C(1772366400500000)

/* A pack of Lua values as CBOR, labels as numbers. */
static const char words[] =
    "labels = {bver=-1, bn=-2, bt=-3, bu=-4, bv=-5, bs=-6, n=0, u=1, v=2,\n"
    "  vs=3, vb=4, s=5, t=6, ut=7, vd=8}\n"
    "function pack(records)\n"
    "  local all, at = '', 0\n"
    "  for _, r in ipairs(records) do\n"
    "    local n, fields = 0, ''\n"
    "    for k, v in pairs(r) do\n"
    "      n = n + 1\n"
    "      fields = fields .. cbor.encode(labels[k] or k) .. cbor.encode(v)\n"
    "    end\n"
    "    all, at = all .. string.char(0xa0 + n) .. fields, at + 1\n"
    "  end\n"
    "  return string.char(0x80 + at) .. all\n"
    "end\n"
    "function hex(s)\n"
    "  return (s:gsub('.', function(c) return ('%02x'):format(c:byte()) end))\n"
    "end\n"
    "function J(s, f) return json.encode(senml.decode(s, f)) end\n"
    "function E(r) return senml.encode{r} end\n";

static void open_modules(lua_State *L)
{
    luaL_openlibs(L);
    luaL_requiref(L, "json", mp_luaopen_json, 1);
    luaL_requiref(L, "cbor", mp_luaopen_cbor, 1);
    luaL_requiref(L, "senml", mp_luaopen_senml, 1);
    luaL_requiref(L, "base64", mp_luaopen_base64, 1);
    lua_settop(L, 0);
}

static int setup(void **fixture)
{
    lua_State *L = luaL_newstate();

    open_modules(L);
    mp_inv.fake_wall_us = NOW;
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

#define NOW_IS "\"time\":1772366400.5"

/* Rows of Lua: an expression, and what it gives or the error's last part. */
static const struct {
    const char *lua, *gives, *why;
} rows[] = {
    /* ---- shapes of RFC 8428, section 5.1 ---- */
    {"J'[{\"n\":\"urn:dev:ow:10e2073a01080063\",\"u\":\"Cel\",\"v\":23.1}]'",
     "[{\"name\":\"urn:dev:ow:10e2073a01080063\"," NOW_IS
     ",\"unit\":\"Cel\",\"value\":23.1}]",
     "one reading, now"},
    {"J'[{\"bn\":\"urn:dev:ow:10e2073a01080063:\",\"n\":\"voltage\","
     "\"u\":\"V\",\"v\":120.1},{\"n\":\"current\",\"u\":\"A\",\"v\":1.2}]'",
     "[{\"name\":\"urn:dev:ow:10e2073a01080063:voltage\"," NOW_IS
     ",\"unit\":\"V\",\"value\":120.1},"
     "{\"name\":\"urn:dev:ow:10e2073a01080063:current\"," NOW_IS
     ",\"unit\":\"A\",\"value\":1.2}]",
     "two, with a base name"},
    {"J'[{\"bn\":\"dev:\",\"bt\":1.276020076e+09,\"bu\":\"A\",\"bver\":5,"
     "\"n\":\"voltage\",\"u\":\"V\",\"v\":120.1},"
     "{\"n\":\"current\",\"t\":-5,\"v\":1.2},{\"n\":\"current\",\"v\":1.7}]'",
     "[{\"name\":\"dev:voltage\",\"time\":1276020076.0,\"unit\":\"V\","
     "\"value\":120.1},{\"name\":\"dev:current\",\"time\":1276020071.0,"
     "\"unit\":\"A\",\"value\":1.2},{\"name\":\"dev:current\","
     "\"time\":1276020076.0,\"unit\":\"A\",\"value\":1.7}]",
     "base time and unit, an old version"},
    {"J'[{\"bn\":\"http://[2001:db8::2]/\",\"n\":\"a\",\"v\":1}]'",
     "record 1: the name has a character other than letters, digits and "
     "-:./_",
     "a name as it may not be"},
    {"J'[{\"bn\":\"2001:db8::2/\",\"bt\":1320078429,\"n\":\"temperature\","
     "\"u\":\"Cel\",\"v\":25.2},{\"n\":\"humidity\",\"u\":\"%RH\",\"v\":30},"
     "{\"bn\":\"2001:db8::1/\",\"n\":\"temperature\",\"u\":\"Cel\","
     "\"v\":12.3}]'",
     "[{\"name\":\"2001:db8::2/temperature\",\"time\":1320078429.0,"
     "\"unit\":\"Cel\",\"value\":25.2},{\"name\":\"2001:db8::2/humidity\","
     "\"time\":1320078429.0,\"unit\":\"%RH\",\"value\":30},"
     "{\"name\":\"2001:db8::1/temperature\",\"time\":1320078429.0,"
     "\"unit\":\"Cel\",\"value\":12.3}]",
     "another base name, the same base time"},
    {"J'[{\"bn\":\"d/\",\"n\":\"temp\",\"u\":\"Cel\",\"v\":23.1},"
     "{\"n\":\"label\",\"vs\":\"Machine Room\"},{\"n\":\"open\",\"vb\":false},"
     "{\"n\":\"nfc-reader\",\"vd\":\"aGkgCg\"}]'",
     "[{\"name\":\"d/temp\"," NOW_IS ",\"unit\":\"Cel\",\"value\":23.1},"
     "{\"name\":\"d/label\",\"string\":\"Machine Room\"," NOW_IS "},"
     "{\"boolean\":false,\"name\":\"d/open\"," NOW_IS "},"
     "{\"data\":\"hi \\n\",\"name\":\"d/nfc-reader\"," NOW_IS "}]",
     "all kinds of values"},
    {"J'[{\"bt\":1320078429,\"bu\":\"/\",\"n\":\"b/"
     "light\",\"v\":1,\"t\":0.5}]'",
     "[{\"name\":\"b/light\",\"time\":1320078429.5,\"unit\":\"/\","
     "\"value\":1}]",
     "an actuator, in a moment"},

    /* ---- times ---- */
    {"senml.decode('[{\"n\":\"a\",\"v\":1,\"t\":-60}]')[1].time",
     "1772366340.5", "a minute ago"},
    {"senml.decode('[{\"n\":\"a\",\"v\":1,\"t\":20}]')[1].time", "1772366420.5",
     "in 20 seconds"},
    {"senml.decode('[{\"n\":\"a\",\"v\":1,\"bt\":-60,\"t\":20}]')[1].time",
     "1772366360.5", "both relative"},
    {"senml.decode('[{\"n\":\"a\",\"v\":1,\"t\":268435455}]')[1].time",
     "2040801855.5", "the last that is relative"},
    {"senml.decode('[{\"n\":\"a\",\"v\":1,\"t\":268435456}]')[1].time",
     "268435456.0", "the first that is not"},
    {"senml.decode('[{\"n\":\"a\",\"v\":1,\"bt\":268435455,\"t\":1}]')[1].time",
     "268435456.0", "the sum counts"},
    {"J'[{\"n\":\"a\",\"v\":1,\"ut\":60,\"t\":1e9}]'",
     "[{\"name\":\"a\",\"time\":1000000000.0,\"update_time\":60,"
     "\"value\":1}]",
     "when there will be news"},

    /* ---- values and sums ---- */
    {"J'[{\"bv\":20,\"bs\":100,\"bt\":1e9,\"n\":\"a\",\"v\":1,\"s\":5},"
     "{\"n\":\"b\",\"v\":-3},{\"n\":\"c\",\"vs\":\"x\"},{\"n\":\"d\","
     "\"s\":0.5}]'",
     "[{\"name\":\"a\",\"sum\":105,\"time\":1000000000.0,\"value\":21},"
     "{\"name\":\"b\",\"sum\":100,\"time\":1000000000.0,\"value\":17},"
     "{\"name\":\"c\",\"string\":\"x\",\"sum\":100,\"time\":1000000000.0},"
     "{\"name\":\"d\",\"sum\":100.5,\"time\":1000000000.0,\"value\":20}]",
     "bases are added; what is missing is 0"},
    {"math.type(senml.decode('[{\"n\":\"a\",\"v\":5}]')[1].value)", "integer",
     "an integer stays one"},
    {"math.type(senml.decode('[{\"n\":\"a\",\"v\":5.0}]')[1].value)", "float",
     "a float, too"},
    {"senml.decode('[{\"n\":\"a\",\"bv\":9223372036854775807,\"v\":1}]')"
     "[1].value",
     "9.2233720368548e+18", "a sum past 64 bits is a float"},
    {"J'[{\"n\":\"a\",\"s\":1,\"t\":1e9}]'",
     "[{\"name\":\"a\",\"sum\":1,\"time\":1000000000.0}]", "a sum alone"},
    {"J'[{\"bn\":\"a\",\"bt\":1e9},{\"v\":1},{\"bn\":\"b\"},{\"v\":2}]'",
     "[{\"name\":\"a\",\"time\":1000000000.0,\"value\":1},"
     "{\"name\":\"b\",\"time\":1000000000.0,\"value\":2}]",
     "records that only set bases are none"},
    {"J'[{\"bn\":\"a\",\"n\":\"\",\"v\":1,\"t\":1e9,\"x\":[1],\"bx\":{}}]'",
     "[{\"name\":\"a\",\"time\":1000000000.0,\"value\":1}]",
     "what nobody knows is passed over"},
    {"J'[]'", "[]", "no record"},
    {"senml.decode('[{\"n\":\"a\",\"vd\":\"_-8\"}]')[1].data == '\\xff\\xef'",
     "true", "base64 for URLs"},
    {"senml.decode('[{\"n\":\"a\",\"vd\":\"/+8=\"}]')[1].data == '\\xff\\xef'",
     "true", "and the other one"},
    {"senml.decode('[{\"n\":\"a\",\"vd\":\"\"}]')[1].data", "", "no bytes"},
    {"J(' [{\"n\":\"a\",\"v\":1,\"t\":1e9}]', 'json')",
     "[{\"name\":\"a\",\"time\":1000000000.0,\"value\":1}]", "said to be JSON"},
    {"getmetatable(senml.decode('[]'))", "array", "the list is a list"},

    /* ---- CBOR ---- */
    {"J(pack{{bn='d/', bt=1e9, bu='Cel', bver=10, n='a', v=23.5}, "
     "{n='b', vs='x', u='V'}, {n='c', vb=true, ut=5}, "
     "{n='d', vd='\\xff', s=1, t=-1}})",
     "json.encode: [4].data: the string is not UTF-8; base64 takes any bytes",
     "data are bytes"},
    {"J(pack{{bn='d/', bt=1e9, bu='Cel', bver=10, n='a', v=23.5}, "
     "{n='b', vs='x', u='V'}, {n='c', vb=true, ut=5}, "
     "{n='d', vd='hi', s=1, t=-1}})",
     "[{\"name\":\"d/a\",\"time\":1000000000.0,\"unit\":\"Cel\","
     "\"value\":23.5},{\"name\":\"d/b\",\"string\":\"x\","
     "\"time\":1000000000.0,\"unit\":\"V\"},{\"boolean\":true,"
     "\"name\":\"d/c\",\"time\":1000000000.0,\"unit\":\"Cel\","
     "\"update_time\":5},{\"data\":\"hi\",\"name\":\"d/d\",\"sum\":1,"
     "\"time\":999999999.0,\"unit\":\"Cel\"}]",
     "all labels"},
    {"J(pack{{bv=1, bs=2, n='a', v=1, s=1, t=1e9, [9]=1, [-7]=1, xyz=1}}, "
     "'cbor')",
     "[{\"name\":\"a\",\"sum\":3,\"time\":1000000000.0,\"value\":2}]",
     "others are passed over"},
    {"J('\\x9f\\xbf\\x00\\x61a\\x02\\xc4\\x82\\x20\\x19\\x01\\x25\\x06"
     "\\x1a\\x3b\\x9a\\xca\\x00\\xff\\xff')",
     "[{\"name\":\"a\",\"time\":1000000000.0,\"value\":29.3}]",
     "a decimal fraction, indefinite lengths"},
    {"J('\\x81\\xa3\\x61n\\x61a\\x61v\\x01\\x61t\\x1a\\x3b\\x9a\\xca\\x00')",
     "[{\"name\":\"a\",\"time\":1000000000.0,\"value\":1}]",
     "labels as text are taken, too"},
    {"J('\\x81\\xa3\\x61n\\x61a\\x61v\\x01\\x00\\x61a')",
     "record 1: n is there twice", "but not both"},

    /* ---- what is refused ---- */
    {"J''", "expected a value at byte 1, but the text ends", "nothing"},
    {"J('', 'cbor')",
     "senml.decode: expected a value at byte 1, but the bytes end", "nothing"},
    {"J'[{]'", "senml.decode: expected a name or '}' at byte 3", "no JSON"},
    {"J'{\"n\":\"a\",\"v\":1}'", "senml.decode: expected a list of records",
     "a record alone"},
    {"J'5'", "senml.decode: expected a list of records", "a number"},
    {"J('\\x05', 'cbor')", "senml.decode: expected a list of records",
     "in CBOR"},
    {"J'[{\"n\":\"a\",\"v\":1},5]'",
     "senml.decode: record 2: must be a table of fields", "a number inside"},
    {"J'[[]]'", "record 1: must be a table of fields", "a list inside"},
    {"J'[{\"v\":1}]'", "record 1: has no name", "no name"},
    {"J'[{\"bn\":\"a\"},{\"bn\":\"\",\"v\":1}]'", "record 2: has no name",
     "the base name was taken back"},
    {"J'[{\"n\":\"-a\",\"v\":1}]'",
     "record 1: the name must start with a letter or digit", "a bad start"},
    {"J'[{\"n\":\"a b\",\"v\":1}]'",
     "the name has a character other than letters, digits and -:./_", "blank"},
    {"J'[{\"n\":\"a\\\\u0000\",\"v\":1}]'",
     "the name has a character other than letters, digits and -:./_", "a NUL"},
    {"J'[{\"n\":\"\\\\u0000\",\"v\":1}]'",
     "the name has a character other than letters, digits and -:./_",
     "a NUL first"},
    {"J'[{\"n\":\"\\\\u00e9\",\"v\":1}]'",
     "the name has a character other than letters, digits and -:./_",
     "an accent"},
    {"J'[{\"n\":\"a\"}]'", "record 1: has neither a value nor a sum",
     "no value"},
    {"J'[{\"n\":\"a\",\"t\":1}]'", "record 1: has neither a value nor a sum",
     "a time alone"},
    {"J'[{\"n\":\"a\",\"v\":1,\"vs\":\"x\"}]'",
     "record 1: has more than one value", "two values"},
    {"J'[{\"n\":\"a\",\"v\":\"1\"}]'",
     "record 1: v must be a number, not a string", "a number as text"},
    {"J'[{\"n\":\"a\",\"v\":null}]'", "record 1: v must be a number, not null",
     "null"},
    {"J'[{\"n\":5,\"v\":1}]'", "record 1: n must be a string, not a number",
     "a name that is a number"},
    {"J'[{\"n\":\"a\",\"vb\":1}]'",
     "record 1: vb must be true or false, not a number", "a switch"},
    {"J'[{\"bt\":\"x\"}]'", "record 1: bt must be a number, not a string",
     "a base field"},
    {"J'[{\"n\":\"a\",\"vd\":\"a*\"}]'",
     "record 1: vd: expected base64 at byte 2 of the text", "bad base64"},
    {"J'[{\"n\":\"a\",\"vd\":\"a\"}]'",
     "record 1: vd: expected more at byte 2 of the text", "cut off"},
    {"J'[{\"bver\":11,\"n\":\"a\",\"v\":1}]'",
     "record 1: version 11 of SenML; only up to 10 is known", "too new"},
    {"J'[{\"bver\":0,\"n\":\"a\",\"v\":1}]'",
     "record 1: bver must be a positive integer", "no version"},
    {"J'[{\"bver\":10.0,\"n\":\"a\",\"v\":1}]'",
     "record 1: bver must be a positive integer", "a fraction"},
    {"J'[{\"n\":\"a\",\"v\":1},{\"n\":\"a\",\"v\":1,\"foo_\":1}]'",
     "record 2: 'foo_' must be understood, and is not",
     "a field that wants to be known"},
    {"J'[{\"b\\\\u0000_\":1}]'", "record 1: unknown field", "with a NUL in it"},
    {"J'[{\"bv\":1e308,\"n\":\"a\",\"v\":1e308}]'",
     "record 1: bv and v add up to more than a double holds", "too large"},
    {"J(pack{{n='a', v=0/0}})", "record 1: v must be a finite number", "NaN"},
    {"J(pack{{n='a', v=1, t=1/0}})", "record 1: t must be a finite number",
     "infinity"},
    {"J(pack{{n='a', vs='\\xff'}})", "record 1: vs is not UTF-8", "bytes"},
    {"J(pack{{n='a', v=1}} .. '\\0')",
     "senml.decode: expected the end at byte 8", "a byte behind"},
    {"J('[]', 'xml')", "\"json\" or \"cbor\", not 'xml'", "another format"},
    {"J(5)", "the pack must be a string, not a number", "no string"},

    /* ---- encoding ---- */
    {"E{name='a', value=1, unit='V', time=1e9, sum=2.5, update_time=60.0}",
     "[{\"n\":\"a\",\"u\":\"V\",\"v\":1,\"s\":2.5,\"t\":1000000000,"
     "\"ut\":60}]",
     "in the order of labels"},
    {"E{name='a', string='x\"y', time=1e9 + 0.5}",
     "[{\"n\":\"a\",\"vs\":\"x\\\"y\",\"t\":1000000000.5}]", "a text"},
    {"E{name='a', boolean=false}", "[{\"n\":\"a\",\"vb\":false}]", "a switch"},
    {"E{name='a', data='\\xff\\xef'}", "[{\"n\":\"a\",\"vd\":\"_-8\"}]",
     "bytes"},
    {"E{name='a', value=1.0}", "[{\"n\":\"a\",\"v\":1.0}]",
     "a float stays one"},
    {"E{name='a', sum=1}", "[{\"n\":\"a\",\"s\":1}]", "a sum alone"},
    {"senml.encode({{name='a', value=1}, {name='b', value=2}}, 'json')",
     "[{\"n\":\"a\",\"v\":1},{\"n\":\"b\",\"v\":2}]", "two"},
    {"senml.encode{}", "[]", "none"},
    {"hex(senml.encode({}, 'cbor'))", "80", "none"},
    {"hex(senml.encode({{name='a', value=1.5, unit='V', time=1e9}}, 'cbor'))",
     "81a4006161016156"
     "02f93e00061a3b9aca00",
     "as CBOR"},
    {"hex(senml.encode({{name='a', data='x'}, {name='b', string='x'}, "
     "{name='c', boolean=true}}, 'cbor'))",
     "83a2006161084178a20061620361"
     "78a200616304f5",
     "bytes and text"},
    {"senml.encode(senml.decode'[{\"bn\":\"a\",\"v\":1,\"t\":1e9}]')",
     "[{\"n\":\"a\",\"v\":1,\"t\":1000000000}]", "there and back"},
    {"(function() local t = {} for i = 1, 9000 do "
     "t[i] = {name='n' .. i, value=i} end "
     "local u = senml.decode(senml.encode(t, 'cbor')) "
     "return #u + u[9000].value end)()",
     "18000", "many"},
    {"senml.encode{a=1}", "senml.encode: expected a list of records",
     "a record alone"},
    {"senml.encode{{name='a', value=1}, nil, {}}",
     "senml.encode: expected a list of records", "a hole"},
    {"senml.encode{{name='a', value=1}, 5}",
     "senml.encode: record 2: must be a table of fields", "a number"},
    {"senml.encode(5)", "the list of records must be a table, not a number",
     "no table"},
    {"E{value=1}", "record 1: has no name", "no name"},
    {"E{name='', value=1}", "record 1: has no name", "an empty one"},
    {"E{name='/a', value=1}",
     "record 1: the name must start with a letter or digit", "a bad one"},
    {"E{name='a'}", "record 1: has neither a value nor a sum", "no value"},
    {"E{name='a', value=1, boolean=true}", "record 1: has more than one value",
     "two"},
    {"E{name='a', value='1'}", "record 1: value must be a number, not a string",
     "a wrong type"},
    {"E{name='a', value=json.null}",
     "record 1: value must be a number, not null", "null"},
    {"E{name='a', value=0/0}", "record 1: value must be a finite number",
     "NaN"},
    {"E{name='a', valeu=1}",
     "record 1: unknown field 'valeu'; did you mean 'value'?", "a typo"},
    {"E{name='a', value=1, bn='x'}", "record 1: unknown field 'bn'",
     "base fields are not written"},
    {"E{name='a', value=1, [0]='x'}", "record 1: fields have names",
     "nor labels"},
    {"E{name='a', value=1, [true]='x'}", "record 1: fields have names",
     "nor anything else"},
    {"E{name='a', data=('x'):rep(13e6)}",
     "senml.encode: the result is longer than 16777216 bytes", "too long"},
    {"E{name='a', ['x\\0']=1}", "record 1: unknown field", "a NUL"},
    {"E{name='a', string='\\xff'}",
     "record 1: string is not UTF-8; data takes any bytes", "bytes as text"},
    {"E{name='a', value=1, unit='\\xff'}", "record 1: unit is not UTF-8",
     "as a unit"},
    {"E(setmetatable({name='a', value=1}, {__index=error, __pairs=error}))",
     "[{\"n\":\"a\",\"v\":1}]", "no metamethod is called"},
    {"(function() local r, t = {name='a', string=('x'):rep(1e6)}, {} "
     "for i = 1, 20 do t[i] = r end senml.encode(t) end)()",
     "senml.encode: the result is longer than 16777216 bytes", "too long"},
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

/* What is resolved reads the same from both formats. */
static void random_records_come_back_the_same_from_both_formats(void **fixture)
{
    lua_State *L = *fixture;

    if (luaL_dostring(
            L,
            "math.randomseed(20260301)\n"
            "local function number()\n"
            "  return math.random(2) == 1 and math.random(-1000, 1000)\n"
            "    or math.random(-100000, 100000) / 100\n"
            "end\n"
            "for i = 1, 2000 do\n"
            "  local t = json.array{}\n"
            "  for k = 1, math.random(0, 8) do\n"
            "    local r = {name = 'd' .. math.random(0, 9) .. ':/._-',\n"
            "      time = 1e9 + math.random(1000000) / 1000}\n"
            "    local kind = math.random(5)\n"
            "    if kind == 1 then r.value = number()\n"
            "    elseif kind == 2 then r.string = utf8.char(math.random(300))\n"
            "    elseif kind == 3 then r.boolean = math.random(2) == 1\n"
            "    elseif kind == 4 then\n"
            "      r.data = utf8.char(math.random(300)):rep(math.random(0, "
            "9))\n"
            "    end\n"
            "    if kind == 5 or math.random(4) == 1 then r.sum = number() "
            "end\n"
            "    if math.random(2) == 1 then r.unit = 'V' end\n"
            "    t[k] = r\n"
            "  end\n"
            "  local want = json.encode(t)\n"
            "  for _, f in ipairs{'json', 'cbor'} do\n"
            "    local s = senml.encode(t, f)\n"
            "    assert(json.encode(senml.decode(s)) == want, want)\n"
            "    assert(senml.encode(senml.decode(s, f), f) == s, want)\n"
            "  end\n"
            "end\n") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

/* A relative time is one instant for all records of a pack. */
static void all_records_of_a_pack_have_one_now(void **fixture)
{
    lua_State *L = *fixture;

    mp_inv.fake_wall_us = 0; /* the real clock */
    if (luaL_dostring(L,
                      "local p = {}\n"
                      "for i = 1, 2000 do p[i] = {n = 'a', v = i} end\n"
                      "local t = senml.decode(json.encode(p))\n"
                      "assert(t[1].time == t[2000].time)\n"
                      "assert(math.abs(t[1].time - os.time()) < 60)") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    mp_inv.fake_wall_us = NOW;
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

static void a_longjmp_out_of_any_allocation_leaks_nothing(void **fixture)
{
    static const char *const works[] = {
        "assert(senml.decode('[{\"bn\":\"a/\",\"n\":\"b\",\"bu\":\"V\","
        "\"v\":1},{\"n\":\"c\",\"vd\":\"' .. ('aGkg'):rep(900) .. '\"}]')"
        "[2].name == 'a/c')",
        "senml.encode({{name='a', data=('x'):rep(70000)}}, 'cbor')",
        "senml.encode{{name='a', data=('x'):rep(70000)}}",
    };
    lua_State *L = *fixture;

    for (size_t i = 0; i < ARRAY_LEN(works); i++) {
        long n = 0;

        for (; !leave_at(n, works[i]); n++)
            assert_int_equal(
                luaL_dostring(L, "assert(senml.encode{{name='a',value=1}} == "
                                 "'[{\"n\":\"a\",\"v\":1}]')"),
                LUA_OK);
        print_message("%ld ways out\n", n);
        assert_true(n > 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_gives_or_raises_what_it_should),
        cmocka_unit_test(random_records_come_back_the_same_from_both_formats),
        cmocka_unit_test(all_records_of_a_pack_have_one_now),
        cmocka_unit_test(a_longjmp_out_of_any_allocation_leaks_nothing),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
