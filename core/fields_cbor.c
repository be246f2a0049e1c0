/*
 * fields_cbor.c - a scanner for CBOR (RFC 8949) that tells JSON's tokens.
 *
 * One item a call.  What is open is a stack of counters; an item of a list or
 * map takes at least a byte, so a count beyond the bytes that are left is a
 * mistake, and no count can keep us busy for longer than the payload is.
 *
 * Tags are passed over: their value is what they hold.  A string that comes
 * in chunks is checked and told as `other`, since no slice can hold it.
 */
#include "core/fields_impl.h"

#include <math.h>

#include "core/base/utf8.h"

enum { UINT, NEGATIVE, BYTES, TEXT, LIST, MAP, TAG, SIMPLE };
enum { ENDLESS = 31, BREAK = 0xff };

struct head {
    unsigned major, info;
    uint64_t number;
};

void mp_cscan_init(struct mp_cscan *c, struct mp_slice bytes)
{
    c->start = c->at = bytes.ptr;
    c->end = bytes.len ? bytes.ptr + bytes.len : bytes.ptr;
    c->depth = 0;
    c->told = false;
}

static int take_head(struct mp_cscan *c, struct head *h)
{
    unsigned char first;
    unsigned more;

    if (c->at == c->end)
        return MP_EPARSE;
    first = (unsigned char)*c->at++;
    h->major = first >> 5;
    h->info = h->number = first & 31;
    if (h->info < 24)
        return 0;
    if (h->info == ENDLESS)
        return h->major >= BYTES && h->major <= MAP ? 0 : MP_EPARSE;
    if (h->info > 27)
        return MP_EPARSE;
    more = 1u << (h->info - 24);
    if ((size_t)(c->end - c->at) < more)
        return MP_EPARSE;
    for (h->number = 0; more > 0; more--)
        h->number = h->number << 8 | (unsigned char)*c->at++;
    return 0;
}

/* The bytes of one string or chunk. */
static int take_bytes(struct mp_cscan *c, const struct head *h,
                      struct mp_slice *text)
{
    if (h->number > (uint64_t)(c->end - c->at))
        return MP_EPARSE;
    *text = mp_slice(c->at, (size_t)h->number);
    c->at += h->number;
    return h->major == TEXT && !mp_utf8_valid(*text) ? MP_EPARSE : 0;
}

static int take_chunks(struct mp_cscan *c, unsigned major)
{
    struct mp_slice chunk;
    struct head h;

    for (;;) {
        if (c->at < c->end && (unsigned char)*c->at == BREAK) {
            c->at++;
            return 0;
        }
        if (take_head(c, &h) || h.major != major || h.info == ENDLESS ||
            take_bytes(c, &h, &chunk))
            return MP_EPARSE;
    }
}

static int take_string(struct mp_cscan *c, const struct head *h,
                       struct mp_token *t)
{
    t->json.kind = MP_JSON_STRING;
    t->json.escaped = false;
    t->other = h->major == BYTES || h->info == ENDLESS;
    if (h->info == ENDLESS)
        return take_chunks(c, h->major);
    return take_bytes(c, h, &t->json.text);
}

static void integer(struct mp_token *t, const struct head *h)
{
    struct mp_json_number *n = &t->number;

    t->json.kind = MP_JSON_NUMBER;
    n->is_int = h->number <= INT64_MAX;
    n->integer = n->is_int ? (int64_t)h->number : 0;
    n->real = (double)h->number;
    if (h->major == NEGATIVE) {
        n->integer = n->is_int ? -1 - n->integer : 0;
        n->real = -1 - n->real;
    }
}

static double half(unsigned bits)
{
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double real;

    if (exponent == 31)
        real = mantissa ? (double)NAN : HUGE_VAL;
    else if (exponent)
        real = ldexp(mantissa + 1024, exponent - 25);
    else
        real = ldexp(mantissa, -24);
    return bits & 0x8000 ? -real : real;
}

static double real_of(const struct head *h)
{
    uint32_t bits = (uint32_t)h->number;
    double real;
    float single;

    if (h->info == 25)
        return half(bits);
    if (h->info == 26) {
        memcpy(&single, &bits, sizeof single);
        return single;
    }
    memcpy(&real, &h->number, sizeof real);
    return real;
}

static int simple(struct mp_token *t, const struct head *h)
{
    t->json.kind = MP_JSON_NULL;
    if (h->info >= 25) {
        t->json.kind = MP_JSON_NUMBER;
        t->number = (struct mp_json_number){.real = real_of(h)};
    } else if (h->info == 24 && h->number < 32) {
        return MP_EPARSE;
    } else if (h->number == 20) {
        t->json.kind = MP_JSON_FALSE;
    } else if (h->number == 21) {
        t->json.kind = MP_JSON_TRUE;
    } else if (h->number != 22 && h->number != 23) {
        t->other = true; /* 22 is null, 23 undefined, as good as null */
    }
    return 0;
}

static int open_level(struct mp_cscan *c, struct mp_token *t,
                      const struct head *h)
{
    bool endless = h->info == ENDLESS;

    if (c->depth == MP_JSON_DEPTH_MAX ||
        (!endless && h->number > (uint64_t)(c->end - c->at)))
        return MP_EPARSE;
    c->levels[c->depth++] = (struct mp_cscan_level){
        .left = h->number, .map = h->major == MAP, .endless = endless};
    t->json.kind = h->major == MAP ? MP_JSON_OBJECT : MP_JSON_LIST;
    return 0;
}

static int item(struct mp_cscan *c, struct mp_token *t)
{
    struct head h;

    do {
        if (take_head(c, &h))
            return MP_EPARSE;
    } while (h.major == TAG);
    switch (h.major) {
    case UINT:
    case NEGATIVE:
        integer(t, &h);
        return 0;
    case BYTES:
    case TEXT:
        return take_string(c, &h, t);
    case SIMPLE:
        return simple(t, &h);
    default:
        return open_level(c, t, &h);
    }
}

static int name(struct mp_cscan *c, struct mp_token *t)
{
    if (item(c, t) || t->json.kind == MP_JSON_LIST ||
        t->json.kind == MP_JSON_OBJECT)
        return MP_EPARSE;
    t->is_number = t->json.kind == MP_JSON_NUMBER && t->number.is_int;
    t->other = t->other || t->json.kind != MP_JSON_STRING;
    t->json.kind = MP_JSON_NAME;
    return 0;
}

/* Is the innermost list or map at its end?  Takes the break of an endless
 * one. */
static bool at_end(struct mp_cscan *c, const struct mp_cscan_level *level)
{
    if (!level->endless)
        return level->left == 0;
    if (c->at == c->end || (unsigned char)*c->at != BREAK)
        return false;
    c->at++;
    return true;
}

int mp_cscan_next(struct mp_cscan *c, struct mp_token *t)
{
    struct mp_cscan_level *level = NULL;

    t->is_number = t->other = false;
    t->json.at = (size_t)(c->at - c->start);
    if (c->depth == 0) {
        if (c->told) {
            t->json.kind = MP_JSON_END;
            return c->at == c->end ? 0 : MP_EPARSE;
        }
        c->told = true;
        return item(c, t);
    }
    level = &c->levels[c->depth - 1];
    if (!level->value_next && at_end(c, level)) {
        c->depth--;
        t->json.kind = MP_JSON_CLOSE;
        return 0;
    }
    if (level->map && !level->value_next) {
        level->value_next = true;
        return name(c, t);
    }
    level->value_next = false;
    level->left--;
    return item(c, t);
}

int mp_cscan_skip(struct mp_cscan *c, const struct mp_token *t)
{
    unsigned depth = c->depth;
    struct mp_token u;

    if (t->json.kind == MP_JSON_LIST || t->json.kind == MP_JSON_OBJECT)
        depth--;
    else if (t->json.kind != MP_JSON_NAME)
        return 0;
    do {
        if (mp_cscan_next(c, &u))
            return MP_EPARSE;
    } while (c->depth > depth);
    return 0;
}
