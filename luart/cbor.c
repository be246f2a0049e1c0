/*
 * cbor.c - from CBOR to Lua values, with nothing in between; and the module.
 *
 * An item says how many it holds before they come, and the sender may lie: a
 * few bytes can speak of billions.  Whatever holds n items takes n bytes at
 * least, and no byte belongs to two of them.  So the sizes that tables are
 * made with are taken from one purse, which holds as much as there are bytes:
 * what is true always gets its table in the right size, and a lie costs no
 * more than a true text of the same length.
 *
 * What must stay true: every call into Lua may leave by a longjmp and never
 * come back.  So nothing here is taken that would have to be given back.
 */
#include "luart/cbor.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/utf8.h"
#include "luart/encode.h"
#include "luart/json.h"

enum { DEPTH_MAX = MP_ENCODE_DEPTH_MAX };

struct decoder {
    lua_State *L;
    const char *start, *at, *end;
    size_t purse; /* see the opening comment */
    unsigned depth;
    struct mp_why *why;
};

/* The first bytes of an item. */
struct head {
    unsigned major, info;
    uint64_t n;     /* what the info says, or the bytes behind it */
    const char *at; /* where it starts */
};

enum { INFO_1 = 24, INFO_8 = 27, INDEFINITE = 31, BREAK = 0xff };

static int decode_value(struct decoder *d);

static int expected(struct decoder *d, const char *at, const char *what)
{
    return mp_why_set(d->why, MP_EPARSE, "expected %s at byte %zu%s", what,
                      (size_t)(at - d->start) + 1,
                      at == d->end ? ", but the bytes end" : "");
}

/* ---- heads ---- */

static uint64_t big_endian(const char *at, size_t len)
{
    uint64_t n = 0;

    for (size_t i = 0; i < len; i++)
        n = n << 8 | (unsigned char)at[i];
    return n;
}

static size_t left(const struct decoder *d)
{
    return (size_t)(d->end - d->at);
}

static int read_head(struct decoder *d, struct head *h)
{
    unsigned char first;
    size_t more;

    if (d->at == d->end)
        return expected(d, d->at, "a value");
    h->at = d->at;
    first = (unsigned char)*d->at++;
    h->major = first >> 5;
    h->info = first & 31;
    h->n = h->info;
    if (h->info < INFO_1 || h->info == INDEFINITE)
        return 0;
    if (h->info > INFO_8)
        return expected(d, h->at, "a value");
    more = (size_t)1 << (h->info - INFO_1);
    if (left(d) < more)
        return expected(d, d->end, "the rest of a number");
    h->n = big_endian(d->at, more);
    d->at += more;
    return 0;
}

/* An indefinite length ends here; its mark is taken. */
static bool at_break(struct decoder *d)
{
    if (d->at == d->end || (unsigned char)*d->at != BREAK)
        return false;
    d->at++;
    return true;
}

/* ---- numbers ---- */

/* -1 - n */
static void push_negative(lua_State *L, uint64_t n)
{
    if (n <= INT64_MAX)
        lua_pushinteger(L, -1 - (lua_Integer)n);
    else
        lua_pushnumber(L, n == UINT64_MAX ? -0x1p64 : -(double)(n + 1));
}

static void push_unsigned(lua_State *L, uint64_t n)
{
    if (n <= INT64_MAX)
        lua_pushinteger(L, (lua_Integer)n);
    else
        lua_pushnumber(L, (double)n);
}

static double half(uint64_t bits)
{
    unsigned exponent = bits >> 10 & 31;
    double mantissa = (double)(bits & 0x3ff), d;

    if (exponent == 0)
        d = ldexp(mantissa, -24);
    else if (exponent < 31)
        d = ldexp(mantissa + 1024, (int)exponent - 25);
    else
        d = mantissa > 0 ? (double)NAN : (double)INFINITY;
    return bits & 0x8000 ? -d : d;
}

static double single(uint64_t n)
{
    uint32_t bits = (uint32_t)n;
    float f;

    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

static int decode_simple(struct decoder *d, const struct head *h)
{
    double real;

    switch (h->info) {
    case 20:
    case 21:
        lua_pushboolean(d->L, h->info == 21);
        return 0;
    case 22: /* null */
    case 23: /* undefined */
        mp_json_push_null(d->L);
        return 0;
    case 25:
        lua_pushnumber(d->L, half(h->n));
        return 0;
    case 26:
        lua_pushnumber(d->L, single(h->n));
        return 0;
    case 27:
        memcpy(&real, &h->n, sizeof real);
        lua_pushnumber(d->L, real);
        return 0;
    default: /* without a meaning, or a mark of an end that has no beginning */
        return expected(d, h->at, "a value");
    }
}

/* ---- strings ---- */

/* One run of bytes; text, when it is one, must be UTF-8 by itself. */
static int take_run(struct decoder *d, const struct head *h,
                    struct mp_slice *run)
{
    size_t good;

    if (h->n > left(d))
        return expected(d, d->end, "the rest of a string");
    *run = mp_slice(d->at, (size_t)h->n);
    if (h->major == MP_CBOR_TEXT) {
        good = mp_utf8_prefix(*run);
        if (good < run->len)
            return mp_why_set(d->why, MP_EPARSE, "expected UTF-8 at byte %zu",
                              (size_t)(d->at - d->start) + good + 1);
    }
    d->at += h->n;
    return 0;
}

/* The runs of a string of indefinite length; to NULL: they are only checked
 * and counted. */
static int take_runs(struct decoder *d, const struct head *whole, char *to,
                     size_t *len)
{
    struct mp_slice run = {NULL, 0};
    struct head h = {0};

    for (*len = 0; !at_break(d); *len += run.len) {
        if (read_head(d, &h))
            return MP_EPARSE;
        if (h.major != whole->major || h.info == INDEFINITE)
            return expected(d, h.at, "another part of a string");
        if (take_run(d, &h, &run))
            return MP_EPARSE;
        if (to && run.len)
            memcpy(to + *len, run.ptr, run.len);
    }
    return 0;
}

/* Not inlined: the buffer is large, and values nest. */
__attribute__((noinline)) static int decode_runs(struct decoder *d,
                                                 const struct head *h)
{
    const char *first = d->at;
    luaL_Buffer b;
    size_t len;
    char *room;
    int rc;

    if (take_runs(d, h, NULL, &len))
        return MP_EPARSE;
    d->at = first;
    room = luaL_buffinitsize(d->L, &b, len);
    rc = take_runs(d, h, room, &len);
    luaL_pushresultsize(&b, len);
    return rc;
}

static int decode_string(struct decoder *d, const struct head *h)
{
    struct mp_slice run;

    if (h->info == INDEFINITE)
        return decode_runs(d, h);
    if (take_run(d, h, &run))
        return MP_EPARSE;
    lua_pushlstring(d->L, run.ptr, run.len);
    return 0;
}

/* ---- arrays and maps ---- */

/* Room for a table, a key, a value and what one call needs besides. */
static int enter(struct decoder *d, const struct head *h)
{
    size_t at = (size_t)(h->at - d->start) + 1;

    if (d->depth == DEPTH_MAX)
        return mp_why_set(d->why, MP_EPARSE,
                          "expected at most %d levels of arrays and maps at "
                          "byte %zu",
                          DEPTH_MAX, at);
    if (h->info != INDEFINITE && h->n > left(d) >> (h->major == MP_CBOR_MAP))
        return expected(d, d->end, "more values");
    if (!lua_checkstack(d->L, 8))
        return mp_why_set(d->why, MP_EPARSE,
                          "expected fewer values in work at byte %zu", at);
    d->depth++;
    return 0;
}

/* How large to make a table for n items. */
static int size_for(struct decoder *d, uint64_t n)
{
    if (n > d->purse)
        return 0;
    d->purse -= (size_t)n;
    return (int)n;
}

/* Is there no other item, the i-th from 0? */
static bool ends(struct decoder *d, const struct head *h, uint64_t i)
{
    return h->info == INDEFINITE ? at_break(d) : i == h->n;
}

static int decode_array(struct decoder *d, const struct head *h)
{
    lua_State *L = d->L;

    if (enter(d, h))
        return MP_EPARSE;
    lua_createtable(L, h->info == INDEFINITE ? 0 : size_for(d, h->n), 0);
    mp_json_mark_list(L, -1);
    for (lua_Integer i = 0; !ends(d, h, (uint64_t)i); i++) {
        if (decode_value(d))
            return MP_EPARSE;
        lua_rawseti(L, -2, i + 1);
    }
    d->depth--;
    return 0;
}

static int decode_key(struct decoder *d)
{
    struct head h;

    if (read_head(d, &h))
        return MP_EPARSE;
    switch (h.major) {
    case MP_CBOR_BYTES:
    case MP_CBOR_TEXT:
        return decode_string(d, &h);
    case MP_CBOR_UNSIGNED:
    case MP_CBOR_NEGATIVE:
        if (h.info != INDEFINITE && h.n <= INT64_MAX) {
            (h.major == MP_CBOR_UNSIGNED ? push_unsigned : push_negative)(d->L,
                                                                          h.n);
            return 0;
        }
    }
    return expected(d, h.at, "a string or an integer of 64 bits as a key");
}

static int decode_map(struct decoder *d, const struct head *h)
{
    lua_State *L = d->L;

    if (enter(d, h))
        return MP_EPARSE;
    lua_createtable(L, 0, h->info == INDEFINITE ? 0 : size_for(d, h->n));
    for (uint64_t i = 0; !ends(d, h, i); i++) {
        if (decode_key(d) || decode_value(d))
            return MP_EPARSE;
        lua_rawset(L, -3);
    }
    d->depth--;
    return 0;
}

/* ---- tags ---- */

/* Digits of a date, as many as len; -1: not all are. */
static int digits(const char *at, size_t len)
{
    int n = 0;

    for (size_t i = 0; i < len; i++) {
        if (at[i] < '0' || at[i] > '9')
            return -1;
        n = n * 10 + (at[i] - '0');
    }
    return n;
}

/* Days since 1970 (Gregorian); years begin in March here. */
static int64_t days_of(int year, int month, int day)
{
    int y = month <= 2 ? year - 1 : year, era = (y + 400) / 400 - 1;
    int of_era = y - era * 400;
    int of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return (int64_t)era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 +
           of_year - 719468;
}

static bool date_fits(int year, int month, int day)
{
    static const int lengths[] = {31, 29, 31, 30, 31, 30,
                                  31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return year >= 0 && month >= 1 && month <= 12 && day >= 1 &&
           day <= lengths[month - 1] && (month != 2 || day <= 28 + leap);
}

/* "Z" or "+01:00" in seconds east; false: neither. */
static bool zone_of(const char *at, size_t len, int *east)
{
    int hours, minutes;

    *east = 0;
    if (len == 1)
        return *at == 'Z' || *at == 'z';
    if (len != 6 || (*at != '+' && *at != '-') || at[3] != ':')
        return false;
    hours = digits(at + 1, 2);
    minutes = digits(at + 4, 2);
    *east = (hours * 60 + minutes) * (*at == '-' ? -60 : 60);
    return hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60;
}

/* Push the seconds since 1970 of "2013-03-21T20:04:00Z" (RFC 3339). */
static bool push_date(lua_State *L, struct mp_slice s)
{
    int year, month, day, hour, minute, second, east;
    const char *at = s.ptr, *end = s.ptr + s.len, *dot;
    double fraction = 0, scale = 1;
    int64_t whole;

    if (s.len < 20 || at[4] != '-' || at[7] != '-' ||
        (at[10] != 'T' && at[10] != 't') || at[13] != ':' || at[16] != ':')
        return false;
    year = digits(at, 4), month = digits(at + 5, 2), day = digits(at + 8, 2);
    hour = digits(at + 11, 2), minute = digits(at + 14, 2);
    second = digits(at + 17, 2);
    if (!date_fits(year, month, day) || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 60)
        return false;
    dot = at += 19;
    for (at += *at == '.'; at > dot && at < end && *at >= '0' && *at <= '9';
         at++)
        fraction += (*at - '0') * (scale /= 10);
    if (at == dot + 1 || !zone_of(at, (size_t)(end - at), &east))
        return false;
    whole = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 +
            second - east;
    if (at == dot)
        lua_pushinteger(L, whole);
    else
        lua_pushnumber(L, (double)whole + fraction);
    return true;
}

/*
 * The number whose bytes these are, without zeros first, and one more if
 * plus_one; the nearest double, infinity past the last.  A bit of the low ones
 * that were cut off is all that rounding needs to know of them.
 */
static double big(struct mp_slice s, bool plus_one)
{
    size_t rest;
    uint64_t top;
    int cut = 0, full = 0;

    if (s.len > 128)
        return (double)INFINITY;
    rest = s.len > 8 ? s.len - 8 : 0;
    top = big_endian(s.ptr, s.len - rest);
    for (size_t i = s.len - rest; i < s.len; i++) {
        cut |= s.ptr[i] != 0;
        full += (unsigned char)s.ptr[i] == 0xff;
    }
    if (plus_one && (size_t)full == rest) {
        if (top == UINT64_MAX)
            return ldexp(1, 64 + 8 * (int)rest);
        top++;
        cut = 0;
    } else if (plus_one) {
        cut = 1;
    }
    return ldexp((double)(top | (uint64_t)cut), 8 * (int)rest);
}

static bool push_big(lua_State *L, struct mp_slice s, bool negative)
{
    double d;

    while (s.len > 0 && *s.ptr == 0)
        s = mp_slice(s.ptr + 1, s.len - 1);
    if (s.len <= 8) {
        (negative ? push_negative : push_unsigned)(L, big_endian(s.ptr, s.len));
        return true;
    }
    d = big(s, negative);
    lua_pushnumber(L, negative ? -d : d);
    return !isinf(d);
}

/* [exponent, mantissa] on top: mantissa * base ^ exponent. */
static bool push_fraction(lua_State *L, bool binary)
{
    lua_Integer exponent, mantissa;
    char text[64];
    double d;

    if (!mp_json_is_list(L, -1) || lua_rawlen(L, -1) != 2)
        return false;
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    if (!lua_isinteger(L, -1) || !lua_isinteger(L, -2))
        return false;
    exponent = lua_tointeger(L, -2);
    mantissa = lua_tointeger(L, -1);
    if (binary) {
        exponent = exponent > 5000 ? 5000 : exponent < -5000 ? -5000 : exponent;
        d = ldexp((double)mantissa, (int)exponent);
    } else {
        snprintf(text, sizeof text, "%llde%lld", (long long)mantissa,
                 (long long)exponent);
        d = strtod(text, NULL);
    }
    lua_pushnumber(L, d);
    return !isinf(d);
}

static const char *const tagged[] = {
    "a date as text",
    "a number of seconds",
    "a number's bytes within the range of a double",
    "a number's bytes within the range of a double",
    "an exponent and an integer within the range of a double",
    "an exponent and an integer within the range of a double",
};

/* The value on top, an item of that kind, as the tag has it. */
static bool apply(lua_State *L, uint64_t tag, unsigned major)
{
    struct mp_slice s = {NULL, 0};

    if (lua_type(L, -1) == LUA_TSTRING)
        s.ptr = lua_tolstring(L, -1, &s.len);
    switch (tag) {
    case 0:
        return major == MP_CBOR_TEXT && push_date(L, s);
    case 1:
        lua_pushvalue(L, -1);
        return lua_type(L, -1) == LUA_TNUMBER;
    case 2:
    case 3:
        return major == MP_CBOR_BYTES && push_big(L, s, tag == 3);
    default:
        return push_fraction(L, tag == 5);
    }
}

/* ---- values ---- */

static int decode_untagged(struct decoder *d, const struct head *h)
{
    if (h->info == INDEFINITE &&
        (h->major < MP_CBOR_BYTES || h->major > MP_CBOR_MAP))
        return expected(d, h->at, "a value");
    switch (h->major) {
    case MP_CBOR_UNSIGNED:
        push_unsigned(d->L, h->n);
        return 0;
    case MP_CBOR_NEGATIVE:
        push_negative(d->L, h->n);
        return 0;
    case MP_CBOR_BYTES:
    case MP_CBOR_TEXT:
        return decode_string(d, h);
    case MP_CBOR_ARRAY:
        return decode_array(d, h);
    case MP_CBOR_MAP:
        return decode_map(d, h);
    default:
        return decode_simple(d, h);
    }
}

/* Of several tags around a value the innermost one counts. */
static int decode_tagged(struct decoder *d, struct head *h)
{
    lua_State *L = d->L;
    const char *at = h->at;
    uint64_t tag;
    int top;

    do {
        if (h->info == INDEFINITE)
            return expected(d, h->at, "a value");
        tag = h->n;
        if (read_head(d, h))
            return MP_EPARSE;
    } while (h->major == MP_CBOR_TAG);
    if (!lua_checkstack(L, 8))
        return expected(d, at, "fewer values in work");
    if (decode_untagged(d, h))
        return MP_EPARSE;
    if (tag >= ARRAY_LEN(tagged))
        return 0;
    top = lua_gettop(L);
    if (!apply(L, tag, h->major))
        return expected(d, h->at, tagged[tag]);
    lua_replace(L, top);
    lua_settop(L, top);
    return 0;
}

static int decode_value(struct decoder *d)
{
    struct head h;

    if (read_head(d, &h))
        return MP_EPARSE;
    return h.major == MP_CBOR_TAG ? decode_tagged(d, &h)
                                  : decode_untagged(d, &h);
}

int mp_cbor_decode(lua_State *L, struct mp_slice bytes, struct mp_why *why)
{
    struct decoder d = {.L = L,
                        .start = bytes.ptr,
                        .at = bytes.ptr,
                        .end = bytes.ptr + bytes.len,
                        .purse = bytes.len,
                        .why = why};
    int top = lua_gettop(L);
    int rc = 0;

    if (!lua_checkstack(L, 8))
        rc = expected(&d, d.at, "fewer values in work");
    if (!rc)
        rc = decode_value(&d);
    if (!rc && d.at < d.end)
        rc = expected(&d, d.at, "the end");
    if (rc)
        lua_settop(L, top);
    return rc;
}

/* ---- the module ---- */

static int cbor_decode(lua_State *L)
{
    struct mp_slice bytes;
    struct mp_why why;

    luaL_checktype(L, 1, LUA_TSTRING);
    bytes.ptr = lua_tolstring(L, 1, &bytes.len);
    if (mp_cbor_decode(L, bytes, &why))
        return luaL_error(L, "cbor.decode: %s", why.text);
    return 1;
}

static int cbor_array(lua_State *L)
{
    return mp_json_make_list(L, "cbor.array");
}

int mp_luaopen_cbor(lua_State *L)
{
    static const luaL_Reg calls[] = {
        {"encode", mp_cbor_call_encode},
        {"decode", cbor_decode},
        {"array", cbor_array},
        {NULL, NULL},
    };

    luaL_newlib(L, calls);
    mp_json_push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}
