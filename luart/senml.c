/*
 * senml.c - packs of SenML: records whose base fields are applied, and back.
 *
 * A pack is read as the JSON or CBOR it is; then each record's table is gone
 * through once, known fields are set into a struct, and a table of its own is
 * made of that.  Base fields stay in a struct of their own from one record to
 * the next.  Their texts are strings of the pack, which lies on the stack all
 * the while, so nothing need be copied.
 *
 * What must stay true: as in json.c and json_encode.c.
 */
#include "luart/senml.h"

#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/base/base64.h"
#include "core/base/json.h"
#include "core/base/limits.h"
#include "core/base/text.h"
#include "core/base/utf8.h"
#include "luart/api.h"
#include "luart/cbor.h"
#include "luart/encode.h"
#include "luart/json.h"
#include "luart/run.h"

/* Times below this are counted from now (RFC 8428, section 4.5.3). */
#define RELATIVE_BELOW 268435456.0 /* 2^28 */
enum { VERSION = 10 };

/* Outside any arena, on purpose: see json_encode.c. */
static struct mp_buf scratch = {.max = MP_FRAME_MAX};

/* In the order of CBOR's labels, which begin with FIRST_LABEL. */
enum field {
    BASE_SUM,
    BASE_VALUE,
    BASE_UNIT,
    BASE_TIME,
    BASE_NAME,
    BASE_VERSION,
    NAME,
    UNIT,
    VALUE,
    STRING,
    BOOLEAN,
    SUM,
    TIME,
    UPDATE_TIME,
    DATA,
    FIELDS,
};
enum { FIRST_LABEL = -6 };

#define BIT(field) (1U << (field))
#define VALUES (BIT(VALUE) | BIT(STRING) | BIT(BOOLEAN) | BIT(DATA))
#define BASES (BIT(NAME) - 1)

static const struct {
    const char *label; /* in JSON */
    const char *key;   /* of resolved records */
    int type;
} fields[FIELDS] = {
    [BASE_SUM] = {"bs", NULL, LUA_TNUMBER},
    [BASE_VALUE] = {"bv", NULL, LUA_TNUMBER},
    [BASE_UNIT] = {"bu", NULL, LUA_TSTRING},
    [BASE_TIME] = {"bt", NULL, LUA_TNUMBER},
    [BASE_NAME] = {"bn", NULL, LUA_TSTRING},
    [BASE_VERSION] = {"bver", NULL, LUA_TNUMBER},
    [NAME] = {"n", "name", LUA_TSTRING},
    [UNIT] = {"u", "unit", LUA_TSTRING},
    [VALUE] = {"v", "value", LUA_TNUMBER},
    [STRING] = {"vs", "string", LUA_TSTRING},
    [BOOLEAN] = {"vb", "boolean", LUA_TBOOLEAN},
    [SUM] = {"s", "sum", LUA_TNUMBER},
    [TIME] = {"t", "time", LUA_TNUMBER},
    [UPDATE_TIME] = {"ut", "update_time", LUA_TNUMBER},
    [DATA] = {"vd", "data", LUA_TSTRING},
};

struct number {
    bool is_int;
    lua_Integer integer;
    double real; /* also where it is an integer */
};

/* What has no place in has is zero. */
struct record {
    unsigned has; /* BIT(field) */
    struct mp_slice texts[FIELDS];
    struct number numbers[FIELDS];
    bool boolean;
};

struct pack {
    lua_State *L;
    struct mp_why *why;
    enum mp_senml format;
    lua_Integer at; /* the record in work */
    struct record base;
    double now;
    bool labels; /* fields have the pack's labels; else names of records */
};

/* ---- reasons ---- */

MP_PRINTF(2, 3) static int refuse(struct pack *p, const char *fmt, ...)
{
    char text[200];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return mp_why_set(p->why, MP_EPARSE, "record %lld: %s", (long long)p->at,
                      text);
}

static const char *name_of(const struct pack *p, enum field f)
{
    return p->labels ? fields[f].label : fields[f].key;
}

static int mistyped(struct pack *p, enum field f, int index)
{
    const char *what = fields[f].type == LUA_TBOOLEAN  ? "true or false"
                       : fields[f].type == LUA_TNUMBER ? "a number"
                                                       : "a string";

    if (mp_json_is_null(p->L, index))
        return refuse(p, "%s must be %s, not null", name_of(p, f), what);
    return refuse(p, "%s must be %s, not a %s", name_of(p, f), what,
                  luaL_typename(p->L, index));
}

/* ---- reading one record's table ---- */

/* The field that the key at index names; FIELDS: none. */
static enum field field_at(const struct pack *p, int index)
{
    struct mp_slice name;
    lua_Integer label;

    if (lua_isinteger(p->L, index)) {
        label = lua_tointeger(p->L, index);
        if (label < FIRST_LABEL || label >= FIRST_LABEL + FIELDS ||
            !p->labels || p->format != MP_SENML_CBOR)
            return FIELDS;
        return (enum field)(label - FIRST_LABEL);
    }
    if (lua_type(p->L, index) != LUA_TSTRING)
        return FIELDS;
    name.ptr = lua_tolstring(p->L, index, &name.len);
    for (int f = 0; f < FIELDS; f++)
        if (name_of(p, f) && mp_slice_is(name, name_of(p, f)))
            return f;
    return FIELDS;
}

/* Decoding: what is unknown is passed over, if it may be.  Encoding: it is a
 * mistake. */
static int unknown(struct pack *p, int index)
{
    const char *words[FIELDS], *near;
    struct mp_slice name;
    size_t n = 0;

    if (lua_type(p->L, index) != LUA_TSTRING)
        return p->labels ? 0 : refuse(p, "fields have names");
    name.ptr = lua_tolstring(p->L, index, &name.len);
    if (p->labels && (name.len == 0 || name.ptr[name.len - 1] != '_'))
        return 0;
    if (!mp_utf8_valid(name) || memchr(name.ptr, 0, name.len))
        return refuse(p, "unknown field");
    if (p->labels)
        return refuse(p, "'%.64s' must be understood, and is not", name.ptr);
    for (int f = NAME; f < FIELDS; f++)
        words[n++] = fields[f].key;
    near = mp_nearest(name, words, n);
    return refuse(p, "unknown field '%.64s'%s%s%s", name.ptr,
                  near ? "; did you mean '" : "", near ? near : "",
                  near ? "'?" : "");
}

static int read_field(struct pack *p, struct record *r, enum field f, int index)
{
    struct number *n = &r->numbers[f];
    lua_State *L = p->L;

    if (lua_type(L, index) != fields[f].type)
        return mistyped(p, f, index);
    if (r->has & BIT(f)) /* CBOR can have it by its label and by its name */
        return refuse(p, "%s is there twice", name_of(p, f));
    r->has |= BIT(f);
    if (fields[f].type == LUA_TBOOLEAN) {
        r->boolean = lua_toboolean(L, index);
    } else if (fields[f].type == LUA_TSTRING) {
        r->texts[f].ptr = lua_tolstring(L, index, &r->texts[f].len);
        if (f != DATA && !mp_utf8_valid(r->texts[f]))
            return refuse(p, "%s is not UTF-8%s", name_of(p, f),
                          f == STRING && !p->labels ? "; data takes any bytes"
                                                    : "");
    } else {
        n->is_int = lua_isinteger(L, index);
        n->integer = n->is_int ? lua_tointeger(L, index) : 0;
        n->real = lua_tonumber(L, index);
        if (!isfinite(n->real))
            return refuse(p, "%s must be a finite number", name_of(p, f));
    }
    return 0;
}

/* The record on top of the stack. */
static int read_record(struct pack *p, struct record *r)
{
    lua_State *L = p->L;
    int record = lua_gettop(L), rc = 0;

    r->has = 0;
    if (!lua_istable(L, record) || mp_json_is_list(L, record))
        return refuse(p, "must be a table of fields");
    lua_pushnil(L);
    while (!rc && lua_next(L, record)) {
        enum field f = field_at(p, -2);

        rc = f == FIELDS ? unknown(p, -2) : read_field(p, r, f, -1);
        lua_pop(L, 1);
    }
    return rc;
}

/* Characters of names (RFC 8428, section 4.5.1). */
static int check_name(struct pack *p, struct mp_slice name)
{
    if (name.len == 0)
        return refuse(p, "has no name");
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool word = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                    (c >= '0' && c <= '9');

        if (word || (i > 0 && c != 0 && strchr("-:./_", c)))
            continue;
        if (i == 0 && c != 0 && strchr("-:./_", c))
            return refuse(p, "the name must start with a letter or digit");
        return refuse(p, "the name has a character other than letters, "
                         "digits and -:./_");
    }
    return 0;
}

static unsigned count_values(const struct record *r)
{
    return (unsigned)__builtin_popcount(r->has & VALUES);
}

/* ---- resolving ---- */

/* Take the base fields over to the records behind this one. */
static int rebase(struct pack *p, const struct record *r)
{
    const struct number *version = &r->numbers[BASE_VERSION];

    for (enum field f = 0; f < NAME; f++) {
        if (!(r->has & BIT(f)))
            continue;
        p->base.texts[f] = r->texts[f];
        p->base.numbers[f] = r->numbers[f];
    }
    p->base.has |= r->has & BASES;
    if (!(r->has & BIT(BASE_VERSION)))
        return 0;
    if (!version->is_int || version->integer < 1)
        return refuse(p, "bver must be a positive integer");
    if (version->integer > VERSION)
        return refuse(p, "version %lld of SenML; only up to %d is known",
                      (long long)version->integer, VERSION);
    return 0;
}

/* a + b; an integer as long as both are and it fits. */
static struct number sum(struct number a, struct number b)
{
    struct number s = {.real = a.real + b.real};

    s.is_int = a.is_int && b.is_int &&
               !__builtin_add_overflow(a.integer, b.integer, &s.integer);
    if (s.is_int)
        s.real = (double)s.integer;
    return s;
}

/* Add base to the field, and see that it is still a number. */
static int add(struct pack *p, struct record *r, enum field f, enum field base)
{
    if (!(p->base.has & BIT(base)))
        return 0;
    if (r->has & BIT(f))
        r->numbers[f] = sum(r->numbers[f], p->base.numbers[base]);
    else
        r->numbers[f] = p->base.numbers[base];
    r->has |= BIT(f);
    if (!isfinite(r->numbers[f].real))
        return refuse(p, "%s and %s add up to more than a double holds",
                      fields[base].label, fields[f].label);
    return 0;
}

static int resolve_values(struct pack *p, struct record *r)
{
    int rc = 0;

    if (count_values(r) > 1)
        return refuse(p, "has more than one value");
    rc = add(p, r, SUM, BASE_SUM);
    if (!rc && (r->has & BIT(VALUE) || !(r->has & VALUES)))
        rc = add(p, r, VALUE, BASE_VALUE);
    if (!rc && !(r->has & (VALUES | BIT(SUM))))
        return refuse(p, "has neither a value nor a sum");
    return rc;
}

static int resolve_time(struct pack *p, struct record *r)
{
    struct number *time = &r->numbers[TIME];
    int rc;

    if (!(r->has & BIT(TIME)))
        *time = (struct number){.is_int = true};
    r->has |= BIT(TIME);
    rc = add(p, r, TIME, BASE_TIME);
    if (time->real < RELATIVE_BELOW)
        time->real += p->now;
    return rc;
}

/* ---- making a record's table ---- */

/* bn and n, as one string; the rest of r is as it came. */
static void push_name(struct pack *p, const struct record *r)
{
    struct mp_slice base = p->base.texts[BASE_NAME], own = r->texts[NAME];

    lua_pushlstring(p->L, base.ptr ? base.ptr : "", base.len);
    if (!(r->has & BIT(NAME)) || own.len == 0)
        return;
    lua_pushlstring(p->L, own.ptr, own.len);
    if (base.len)
        lua_concat(p->L, 2);
    else
        lua_remove(p->L, -2);
}

static void push_number(lua_State *L, const struct number *n)
{
    if (n->is_int)
        lua_pushinteger(L, n->integer);
    else
        lua_pushnumber(L, n->real);
}

/* Standard and URL-safe alphabet, with padding and without. */
static int push_data(struct pack *p, struct mp_slice text)
{
    size_t len, bad;
    luaL_Buffer b;
    char *out;
    int rc;

    if (p->format == MP_SENML_CBOR) {
        lua_pushlstring(p->L, text.ptr, text.len);
        return 0;
    }
    out = luaL_buffinitsize(p->L, &b, text.len / 4 * 3 + 2);
    rc = mp_base64_decode(text, out, &len, &bad);
    luaL_pushresultsize(&b, rc ? 0 : len);
    if (rc)
        return refuse(p, "vd: expected %s at byte %zu of the text",
                      bad < text.len ? "base64" : "more", bad + 1);
    return 0;
}

/* Set a field of the table on top. */
static int set_field(struct pack *p, const struct record *r, enum field f)
{
    int rc = 0;

    if (f == DATA)
        rc = push_data(p, r->texts[f]);
    else if (f == TIME)
        lua_pushnumber(p->L, r->numbers[f].real);
    else if (fields[f].type == LUA_TBOOLEAN)
        lua_pushboolean(p->L, r->boolean);
    else if (fields[f].type == LUA_TNUMBER)
        push_number(p->L, &r->numbers[f]);
    else
        lua_pushlstring(p->L, r->texts[f].ptr, r->texts[f].len);
    lua_setfield(p->L, -2, fields[f].key);
    return rc;
}

/* Push the resolved record. */
static int push_record(struct pack *p, struct record *r)
{
    struct mp_slice name;
    int rc;

    push_name(p, r);
    name.ptr = lua_tolstring(p->L, -1, &name.len);
    rc = check_name(p, name);
    if (!rc)
        rc = resolve_values(p, r);
    if (!rc)
        rc = resolve_time(p, r);
    if (rc)
        return rc;
    if (!(r->has & BIT(UNIT)) && p->base.has & BIT(BASE_UNIT)) {
        r->texts[UNIT] = p->base.texts[BASE_UNIT];
        r->has |= BIT(UNIT);
    }
    lua_createtable(p->L, 0,
                    1 + __builtin_popcount(r->has & ~(BASES | BIT(NAME))));
    lua_insert(p->L, -2);
    lua_setfield(p->L, -2, fields[NAME].key);
    for (enum field f = UNIT; !rc && f < FIELDS; f++)
        if (r->has & BIT(f))
            rc = set_field(p, r, f);
    return rc;
}

/* The pack is on top; its records go into a list above it. */
static int resolve(struct pack *p)
{
    lua_State *L = p->L;
    int pack = lua_gettop(L);
    lua_Integer n, made = 0;
    struct record r;

    if (!lua_istable(L, pack) || !mp_json_is_list(L, pack))
        return mp_why_set(p->why, MP_EPARSE, "expected a list of records");
    n = (lua_Integer)lua_rawlen(L, pack);
    lua_createtable(L, (int)n, 0);
    mp_json_mark_list(L, -1);
    for (p->at = 1; p->at <= n; p->at++) {
        lua_rawgeti(L, pack, p->at);
        if (read_record(p, &r) || rebase(p, &r))
            return MP_EPARSE;
        if (r.has & ~BASES) {
            if (push_record(p, &r))
                return MP_EPARSE;
            lua_rawseti(L, pack + 1, ++made);
        }
        lua_settop(L, pack + 1);
    }
    return 0;
}

enum mp_senml mp_senml_guess(struct mp_slice bytes)
{
    return bytes.len > 0 && (unsigned char)bytes.ptr[0] >= 0x80 ? MP_SENML_CBOR
                                                                : MP_SENML_JSON;
}

int mp_senml_decode(lua_State *L, struct mp_slice bytes, enum mp_senml format,
                    struct mp_why *why)
{
    struct pack p = {.L = L, .why = why, .format = format, .labels = true};
    int top = lua_gettop(L);
    int rc = 0;

    if (format == MP_SENML_AUTO)
        p.format = mp_senml_guess(bytes);
    p.now = (double)mp_run_wall_us() / 1e6;
    if (!lua_checkstack(L, 16))
        rc = mp_why_set(why, MP_EPARSE, "the stack has no room");
    if (!rc)
        rc = p.format == MP_SENML_CBOR ? mp_cbor_decode(L, bytes, why)
                                       : mp_json_decode(L, bytes, why);
    if (!rc)
        rc = resolve(&p);
    if (!rc)
        lua_replace(L, top + 1);
    lua_settop(L, rc ? top : top + 1);
    return rc;
}

/* ---- encoding ---- */

static void put_label(struct pack *p, struct mp_buf *out, enum field f,
                      bool first)
{
    if (p->format == MP_SENML_CBOR)
        mp_cbor_put_int(out, (int64_t)f + FIRST_LABEL);
    else
        mp_buf_printf(out, "%s\"%s\":", first ? "{" : ",", fields[f].label);
}

/* Whole numbers of seconds need no fraction. */
static struct number as_written(enum field f, struct number n)
{
    if ((f == TIME || f == UPDATE_TIME) && !n.is_int && fabs(n.real) < 0x1p53 &&
        n.real == floor(n.real)) {
        n.is_int = true;
        n.integer = (lua_Integer)n.real;
    }
    return n;
}

static void put_number(struct pack *p, struct mp_buf *out, struct number n)
{
    if (p->format == MP_SENML_CBOR)
        (void)(n.is_int ? mp_cbor_put_int(out, n.integer)
                        : mp_cbor_put_double(out, n.real));
    else
        (void)(n.is_int ? mp_json_put_int(out, n.integer)
                        : mp_json_put_double(out, n.real));
}

/* base64 for URLs, without padding. */
static void put_base64(struct mp_buf *out, struct mp_slice data)
{
    size_t len = mp_base64_size(data.len);
    char *room = mp_buf_room(out, len + 2);

    if (!room)
        return;
    room[0] = '"';
    mp_base64_encode(data, room + 1);
    while (len > 0 && room[len] == '=')
        len--;
    for (size_t i = 1; i <= len; i++)
        room[i] = room[i] == '+' ? '-' : room[i] == '/' ? '_' : room[i];
    room[len + 1] = '"';
    out->len += len + 2;
}

static void put_text(struct pack *p, struct mp_buf *out, enum field f,
                     struct mp_slice text)
{
    if (p->format == MP_SENML_CBOR)
        mp_cbor_put_string(out, f == DATA ? MP_CBOR_BYTES : MP_CBOR_TEXT, text);
    else if (f == DATA)
        put_base64(out, text);
    else
        (void)mp_json_put_string(out, text);
}

static void put_field(struct pack *p, struct mp_buf *out,
                      const struct record *r, enum field f)
{
    switch (fields[f].type) {
    case LUA_TSTRING:
        put_text(p, out, f, r->texts[f]);
        break;
    case LUA_TNUMBER:
        put_number(p, out, as_written(f, r->numbers[f]));
        break;
    default:
        if (p->format == MP_SENML_CBOR)
            mp_cbor_put_bool(out, r->boolean);
        else
            mp_json_put_bool(out, r->boolean);
    }
}

/* The record on top of the stack. */
static int put_record(struct pack *p, struct mp_buf *out)
{
    bool first = true;
    struct record r;
    int rc = read_record(p, &r);

    if (!rc)
        rc = check_name(p, r.has & BIT(NAME) ? r.texts[NAME] : MP_S(""));
    if (rc)
        return rc;
    if (count_values(&r) > 1)
        return refuse(p, "has more than one value");
    if (!(r.has & (VALUES | BIT(SUM))))
        return refuse(p, "has neither a value nor a sum");
    if (p->format == MP_SENML_CBOR)
        mp_cbor_put_head(out, MP_CBOR_MAP, (uint64_t)__builtin_popcount(r.has));
    for (enum field f = NAME; f < FIELDS; f++) {
        if (!(r.has & BIT(f)))
            continue;
        put_label(p, out, f, first);
        first = false;
        put_field(p, out, &r, f);
    }
    if (p->format == MP_SENML_JSON)
        mp_buf_slice(out, MP_S("}"));
    return 0;
}

/* The table at index is a list of n; keys that are none of its are a mistake.
 */
static int check_list(struct pack *p, int index, lua_Integer n)
{
    lua_State *L = p->L;
    lua_Integer count = 0;

    lua_pushnil(L);
    for (; lua_next(L, index); count++) {
        lua_pop(L, 1);
        if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1 ||
            lua_tointeger(L, -1) > n)
            return mp_why_set(p->why, MP_EPARSE, "expected a list of records");
    }
    if (count < n)
        return mp_why_set(p->why, MP_EPARSE, "expected a list of records");
    return 0;
}

static int put_pack(struct pack *p, int index, struct mp_buf *out)
{
    lua_Integer n;
    int rc;

    if (!lua_istable(p->L, index))
        return mp_why_set(p->why, MP_EPARSE, "expected a list of records");
    n = (lua_Integer)lua_rawlen(p->L, index);
    rc = check_list(p, index, n);
    if (p->format == MP_SENML_CBOR)
        mp_cbor_put_head(out, MP_CBOR_ARRAY, (uint64_t)n);
    else
        mp_buf_slice(out, MP_S("["));
    for (p->at = 1; !rc && p->at <= n && !out->full; p->at++) {
        if (p->at > 1 && p->format == MP_SENML_JSON)
            mp_buf_slice(out, MP_S(","));
        lua_rawgeti(p->L, index, p->at);
        rc = put_record(p, out);
        lua_pop(p->L, 1);
    }
    if (p->format == MP_SENML_JSON)
        mp_buf_slice(out, MP_S("]"));
    return rc;
}

int mp_senml_encode(lua_State *L, int index, enum mp_senml format,
                    struct mp_buf *out, struct mp_why *why)
{
    struct pack p = {.L = L, .why = why, .format = format};
    int top = lua_gettop(L);
    size_t len = out->len;
    int rc = 0;

    if (format == MP_SENML_AUTO)
        p.format = MP_SENML_JSON;
    if (!lua_checkstack(L, 16))
        rc = mp_why_set(why, MP_EPARSE, "the stack has no room");
    if (!rc)
        rc = put_pack(&p, lua_absindex(L, index), out);
    if (!rc && out->full)
        rc = mp_why_set(why, MP_EFULL, "the result is longer than %zu bytes",
                        out->max);
    if (rc) {
        out->len = len;
        out->full = false;
    }
    lua_settop(L, top);
    return rc;
}

/* ---- the module ---- */

static enum mp_senml format_arg(lua_State *L, int index, const char *call)
{
    struct mp_slice name;

    if (lua_isnoneornil(L, index))
        return MP_SENML_AUTO;
    if (lua_type(L, index) != LUA_TSTRING)
        mp_api_mistyped(L, index, call, "the format", "\"json\" or \"cbor\"");
    name.ptr = lua_tolstring(L, index, &name.len);
    if (mp_slice_is(name, "cbor"))
        return MP_SENML_CBOR;
    if (!mp_slice_is(name, "json"))
        luaL_error(L, "%s: the format is \"json\" or \"cbor\", not '%s'", call,
                   name.ptr);
    return MP_SENML_JSON;
}

static int senml_decode(lua_State *L)
{
    enum mp_senml format = format_arg(L, 2, "senml.decode");
    struct mp_slice bytes;
    struct mp_why why;

    if (lua_type(L, 1) != LUA_TSTRING)
        return mp_api_mistyped(L, 1, "senml.decode", "the pack", "a string");
    bytes.ptr = lua_tolstring(L, 1, &bytes.len);
    if (mp_senml_decode(L, bytes, format, &why))
        return luaL_error(L, "senml.decode: %s", why.text);
    return 1;
}

static int senml_encode(lua_State *L)
{
    enum mp_senml format = format_arg(L, 2, "senml.encode");
    struct mp_why why;

    if (lua_type(L, 1) != LUA_TTABLE)
        return mp_api_mistyped(L, 1, "senml.encode", "the list of records",
                               "a table");
    mp_encode_reset(&scratch);
    if (mp_senml_encode(L, 1, format, &scratch, &why))
        return luaL_error(L, "senml.encode: %s", why.text);
    lua_pushlstring(L, scratch.ptr, scratch.len);
    mp_encode_reset(&scratch);
    return 1;
}

int mp_luaopen_senml(lua_State *L)
{
    static const luaL_Reg calls[] = {
        {"encode", senml_encode},
        {"decode", senml_decode},
        {NULL, NULL},
    };

    luaL_newlib(L, calls);
    return 1;
}
