/*
 * json.c - the scanner: one pass, one token a call, nothing remembered but
 * where it is and what is open.
 *
 * What is open is a stack of bits, one word for all of it (1: object).  What
 * may come next is one of five states:
 *
 *   VALUE       a value                          at the start; after ':', ','
 *   FIRST_ITEM  a value or ]                     after [
 *   FIRST_NAME  a name or }                      after {
 *   AFTER       , or what closes; at depth 0 the end
 *
 * Every step works on a copy of the position and puts it back (take) only when
 * it has a whole token.  So an error leaves the scanner where it was, and the
 * next call finds the same error.
 */
#include "core/base/json.h"

#include <math.h>
#include <stdlib.h>

#include "core/base/json_plain.h"
#include "core/base/utf8.h"

enum { VALUE, FIRST_ITEM, FIRST_NAME, AFTER };

void mp_json_init(struct mp_json *s, struct mp_slice text)
{
    *s = (struct mp_json){.start = text.ptr, .at = text.ptr, .state = VALUE};
    s->end = text.len ? text.ptr + text.len : text.ptr;
}

static int expected(const struct mp_json *s, const char *p, const char *what,
                    struct mp_why *why)
{
    return mp_why_set(why, MP_EPARSE, "expected %s at byte %zu%s", what,
                      (size_t)(p - s->start) + 1,
                      p < s->end ? "" : ", but the text ends");
}

static const char *blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* A whole token from p to next is there. */
static int take(struct mp_json *s, struct mp_json_token *t,
                enum mp_json_kind kind, const char *p, const char *next)
{
    t->kind = kind;
    t->at = (size_t)(p - s->start);
    s->at = next;
    s->state = AFTER;
    return 0;
}

static bool in_object(const struct mp_json *s)
{
    return s->depth > 0 && s->objects >> (s->depth - 1) & 1;
}

static int open_level(struct mp_json *s, const char *p, struct mp_json_token *t,
                      struct mp_why *why)
{
    uint64_t bit;

    if (s->depth == MP_JSON_DEPTH_MAX)
        return mp_why_set(why, MP_EPARSE,
                          "expected at most %d levels of lists and objects at "
                          "byte %zu",
                          MP_JSON_DEPTH_MAX, (size_t)(p - s->start) + 1);
    bit = UINT64_C(1) << s->depth++;
    if (*p == '{') {
        s->objects |= bit;
        take(s, t, MP_JSON_OBJECT, p, p + 1);
        s->state = FIRST_NAME;
    } else {
        s->objects &= ~bit;
        take(s, t, MP_JSON_LIST, p, p + 1);
        s->state = FIRST_ITEM;
    }
    return 0;
}

static int close_level(struct mp_json *s, const char *p,
                       struct mp_json_token *t)
{
    s->depth--;
    return take(s, t, MP_JSON_CLOSE, p, p + 1);
}

/* ---- strings ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The four digits after \u, or -1. */
static int32_t hex4(const char *p, const char *end)
{
    int32_t code = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);

        if (digit < 0)
            return -1;
        code = code << 4 | digit;
    }
    return code;
}

/*
 * The length of the escape at p (a backslash); 0: it is none.  A high
 * surrogate is one only together with the low one that follows.
 */
static size_t escape_length(const char *p, const char *end)
{
    int32_t code, low;

    if (end - p < 2)
        return 0;
    if (p[1] != 'u')
        return p[1] && strchr("\"\\/bfnrt", p[1]) ? 2 : 0;
    code = hex4(p + 2, end);
    if (code < 0 || (code >= 0xdc00 && code <= 0xdfff))
        return 0;
    if (code < 0xd800 || code > 0xdfff)
        return 6;
    if (end - p < 12 || p[6] != '\\' || p[7] != 'u')
        return 0;
    low = hex4(p + 8, end);
    return low >= 0xdc00 && low <= 0xdfff ? 12 : 0;
}

/* From p on, a byte that isn't plain, to the closing quote; NULL: why. */
static const char *string_rest(const struct mp_json *s, const char *p,
                               struct mp_json_token *t, struct mp_why *why)
{
    const char *missing = "'\"'";
    size_t len;

    while (p < s->end && *p != '"') {
        if (*p == '\\') {
            t->escaped = true;
            len = escape_length(p, s->end);
            missing = "a valid escape";
        } else {
            len = mp_utf8_sequence(mp_slice(p, (size_t)(s->end - p)));
            missing = "UTF-8";
            if ((unsigned char)*p < 0x20) {
                len = 0;
                missing = "an escape for a control byte";
            }
        }
        if (len == 0)
            break;
        p = mp_json_plain(p + len, s->end);
        missing = "'\"'";
    }
    if (p < s->end && *p == '"')
        return p;
    (void)expected(s, p, missing, why);
    return NULL;
}

/* The string at p (a quote): t->text, t->escaped and where it ends. */
static inline int string(const struct mp_json *s, const char *p,
                         struct mp_json_token *t, const char **next,
                         struct mp_why *why)
{
    const char *first = p + 1;

    t->escaped = false;
    p = mp_json_plain(first, s->end);
    if (p == s->end || *p != '"') {
        p = string_rest(s, p, t, why);
        if (!p)
            return MP_EPARSE;
    }
    t->text = mp_slice(first, (size_t)(p - first));
    *next = p + 1;
    return 0;
}

size_t mp_json_unescape(struct mp_slice text, char *out)
{
    const char *p = text.ptr, *end = p + text.len;
    char *start = out;

    while (p < end) {
        const char *from = memchr(p, '\\', (size_t)(end - p));
        uint32_t code;

        if (!from)
            from = end;
        memmove(out, p, (size_t)(from - p));
        out += from - p;
        p = from;
        if (p == end)
            break;
        if (p[1] != 'u') {
            static const char names[] = "bfnrt", means[] = "\b\f\n\r\t";
            const char *found = strchr(names, p[1]);

            *out++ = found ? means[found - names] : p[1];
            p += 2;
            continue;
        }
        code = (uint32_t)hex4(p + 2, end);
        p += 6;
        if (code >= 0xd800 && code <= 0xdfff) {
            code = 0x10000 + ((code - 0xd800) << 10) +
                   ((uint32_t)hex4(p + 2, end) - 0xdc00);
            p += 6;
        }
        out += mp_utf8_put(code, out);
    }
    return (size_t)(out - start);
}

bool mp_json_is(const struct mp_json_token *t, struct mp_slice text)
{
    const char *p = t->text.ptr, *end = p + t->text.len;
    size_t at = 0;

    if (!t->escaped)
        return mp_slice_eq(t->text, text);
    while (p < end) { /* one character or escape at a time: rare */
        char bytes[4];
        size_t step = 1, len = 1;

        bytes[0] = *p;
        if (*p == '\\') {
            char one[12]; /* the longest escape, and what it means is less */

            step = escape_length(p, end);
            MP_ASSERT(step > 0);
            len = mp_json_unescape(mp_slice(p, step), one);
            memcpy(bytes, one, len);
        }
        if (text.len - at < len || memcmp(text.ptr + at, bytes, len) != 0)
            return false;
        at += len;
        p += step;
    }
    return at == text.len;
}

/* ---- numbers ---- */

static const char *digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

static int number(struct mp_json *s, const char *p, struct mp_json_token *t,
                  struct mp_why *why)
{
    const char *first = p, *from;

    if (*p == '-')
        p++;
    from = p;
    p = p < s->end && *p == '0' ? p + 1 : digits(p, s->end);
    if (p == from)
        return expected(s, p, "a digit", why);
    t->integer = true;
    if (p < s->end && *p == '.') {
        t->integer = false;
        from = ++p;
        p = digits(p, s->end);
        if (p == from)
            return expected(s, p, "a digit", why);
    }
    if (p < s->end && (*p == 'e' || *p == 'E')) {
        t->integer = false;
        p++;
        if (p < s->end && (*p == '+' || *p == '-'))
            p++;
        from = p;
        p = digits(p, s->end);
        if (p == from)
            return expected(s, p, "a digit", why);
    }
    t->text = mp_slice(first, (size_t)(p - first));
    if (t->text.len > MP_JSON_NUMBER_MAX)
        return mp_why_set(why, MP_EPARSE,
                          "expected a number of at most %d bytes at byte %zu",
                          MP_JSON_NUMBER_MAX, (size_t)(first - s->start) + 1);
    return take(s, t, MP_JSON_NUMBER, first, p);
}

/* The general case, right for every number, by way of the C library. */
static int slow_double(struct mp_slice text, double *real)
{
    char copy[MP_JSON_NUMBER_MAX + 1];

    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *real = strtod(copy, NULL);
    return isinf(*real) ? MP_ERANGE : 0;
}

/*
 * Numbers that sensors send have few digits: when the digits, read as one
 * integer, and the power of ten are both exact doubles, one multiplication or
 * division gives the nearest double (Clinger, "How to read floating point
 * numbers accurately", 1990).
 */
static bool fast_double(struct mp_slice text, double *real)
{
    static const double powers[] = {
        1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *p = text.ptr, *end = p + text.len;
    bool minus = *p == '-', down = false;
    uint64_t mantissa = 0;
    int exponent = 0, given = 0;

    if (text.len > 18) /* no overflow below */
        return false;
    for (p += minus; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.')
            exponent = (int)(p + 1 - end);
        else
            mantissa = mantissa * 10 + (uint64_t)(*p - '0');
    }
    if (p < end) {
        if (exponent)
            exponent += (int)(end - p);
        if (*++p == '-' || *p == '+')
            down = *p++ == '-';
        for (; p < end && given < 1000; p++)
            given = given * 10 + (*p - '0');
        exponent += down ? -given : given;
    }
    if (mantissa > UINT64_C(1) << 53 || exponent < -22 || exponent > 22)
        return false;
    *real = (double)mantissa;
    *real = exponent < 0 ? *real / powers[-exponent] : *real * powers[exponent];
    if (minus)
        *real = -*real;
    return true;
}

int mp_json_number(const struct mp_json_token *t, struct mp_json_number *n)
{
    const char *p = t->text.ptr, *end = p + t->text.len;
    bool minus = *p == '-';
    uint64_t sum = 0;

    n->is_int = false;
    n->integer = 0;
    if (t->integer && t->text.len <= 20) {
        /* 19 digits fit 64 bits, and so do 20 characters with a minus */
        for (p += minus; p < end; p++)
            if (__builtin_mul_overflow(sum, 10, &sum) ||
                __builtin_add_overflow(sum, (uint64_t)(*p - '0'), &sum))
                break;
        if (p == end && sum <= (uint64_t)INT64_MAX + minus) {
            n->is_int = true;
            n->integer = minus ? (int64_t)(0 - sum) : (int64_t)sum;
            n->real = (double)n->integer;
            return 0;
        }
    }
    if (fast_double(t->text, &n->real))
        return 0;
    return slow_double(t->text, &n->real);
}

/* ---- the grammar ---- */

static int literal(struct mp_json *s, const char *p, struct mp_json_token *t,
                   enum mp_json_kind kind, struct mp_slice word,
                   struct mp_why *why)
{
    if ((size_t)(s->end - p) < word.len || memcmp(p, word.ptr, word.len) != 0)
        return expected(s, p, "a value", why);
    return take(s, t, kind, p, p + word.len);
}

static int value(struct mp_json *s, const char *p, struct mp_json_token *t,
                 struct mp_why *why)
{
    const char *next;

    if (p == s->end)
        return expected(s, p, "a value", why);
    switch (*p) {
    case '"':
        if (string(s, p, t, &next, why))
            return MP_EPARSE;
        return take(s, t, MP_JSON_STRING, p, next);
    case '{':
    case '[':
        return open_level(s, p, t, why);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return number(s, p, t, why);
    case 't':
        return literal(s, p, t, MP_JSON_TRUE, MP_S("true"), why);
    case 'f':
        return literal(s, p, t, MP_JSON_FALSE, MP_S("false"), why);
    case 'n':
        return literal(s, p, t, MP_JSON_NULL, MP_S("null"), why);
    default:
        return expected(s, p, "a value", why);
    }
}

/* A name and the colon behind it. */
static int name(struct mp_json *s, const char *p, struct mp_json_token *t,
                struct mp_why *why)
{
    const char *next;

    if (p == s->end || *p != '"')
        return expected(
            s, p, s->state == FIRST_NAME ? "a name or '}'" : "a name", why);
    if (string(s, p, t, &next, why))
        return MP_EPARSE;
    next = blanks(next, s->end);
    if (next == s->end || *next != ':')
        return expected(s, next, "':'", why);
    take(s, t, MP_JSON_NAME, p, next + 1);
    s->state = VALUE;
    return 0;
}

static int after(struct mp_json *s, const char *p, struct mp_json_token *t,
                 struct mp_why *why)
{
    bool object = in_object(s);

    if (s->depth == 0)
        return p == s->end ? take(s, t, MP_JSON_END, p, p)
                           : expected(s, p, "the end", why);
    if (p < s->end && *p == (object ? '}' : ']'))
        return close_level(s, p, t);
    if (p == s->end || *p != ',')
        return expected(s, p, object ? "',' or '}'" : "',' or ']'", why);
    p = blanks(p + 1, s->end);
    return object ? name(s, p, t, why) : value(s, p, t, why);
}

int mp_json_next(struct mp_json *s, struct mp_json_token *t, struct mp_why *why)
{
    const char *p = blanks(s->at, s->end);

    switch (s->state) {
    case AFTER:
        return after(s, p, t, why);
    case FIRST_NAME:
        if (p < s->end && *p == '}')
            return close_level(s, p, t);
        return name(s, p, t, why);
    case FIRST_ITEM:
        if (p < s->end && *p == ']')
            return close_level(s, p, t);
        break;
    }
    return value(s, p, t, why);
}

int mp_json_skip(struct mp_json *s, const struct mp_json_token *t,
                 struct mp_why *why)
{
    struct mp_json_token u = *t;
    unsigned depth = s->depth;

    if (t->kind == MP_JSON_LIST || t->kind == MP_JSON_OBJECT)
        depth--;
    else if (t->kind != MP_JSON_NAME)
        return 0;
    do {
        if (mp_json_next(s, &u, why))
            return MP_EPARSE;
    } while (s->depth > depth);
    return 0;
}
