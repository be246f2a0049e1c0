/*
 * json_put.c - writes strings and numbers.
 *
 * A double is written so that it reads back as itself, in as few digits as
 * %.15g, %.16g or %.17g need.  The C library takes a microsecond for that; the
 * values of sensors, 31.4 or -0.25, have a shortcut: if v times 10^k rounds to
 * an integer of at most 15 digits, and that integer divided by 10^k (both
 * exact, so the quotient is the nearest double) is v again, then these are the
 * digits.  Decimals of up to 15 digits and doubles are told apart, so it is
 * the same text that %.15g gives.
 */
#include "core/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/json_plain.h"
#include "core/base/utf8.h"

/* What stands for a byte below 0x20, a quote or a backslash. */
static size_t escape(unsigned char c, char out[6])
{
    static const char names[] = "\"\\bfnrt", means[] = "\"\\\b\f\n\r\t";
    static const char hex[] = "0123456789abcdef";
    const char *found = c ? strchr(means, c) : NULL;

    out[0] = '\\';
    if (found) {
        out[1] = names[found - means];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 15];
    return 6;
}

/* A string from p on, where it isn't plain, to its closing quote. */
static bool put_rest(struct mp_buf *b, const char *p, const char *end)
{
    bool valid = true;
    const char *next;
    char text[6];
    size_t len;

    while (p < end) {
        if ((unsigned char)*p < 0x80) {
            mp_buf_put(b, text, escape((unsigned char)*p++, text));
        } else {
            len = mp_utf8_sequence(mp_slice(p, (size_t)(end - p)));
            if (len) {
                mp_buf_put(b, p, len);
                p += len;
            } else {
                mp_buf_put(b, "\xef\xbf\xbd", 3);
                valid = false;
                p++;
            }
        }
        next = mp_json_plain(p, end);
        mp_buf_put(b, p, (size_t)(next - p));
        p = next;
    }
    mp_buf_put(b, "\"", 1);
    return valid;
}

bool mp_json_put_string(struct mp_buf *b, struct mp_slice s)
{
    const char *end = s.len ? s.ptr + s.len : s.ptr;
    size_t plain = (size_t)(mp_json_plain(s.ptr, end) - s.ptr);
    char *room = mp_buf_room(b, plain + 2);

    if (!room) /* full; but is it valid? */
        return mp_utf8_valid(s);
    *room = '"';
    if (plain)
        memcpy(room + 1, s.ptr, plain);
    room[plain + 1] = '"';
    b->len += plain + 1;
    if (plain < s.len)
        return put_rest(b, s.ptr + plain, end);
    b->len++;
    return true;
}

/* The digits of n, right-aligned in text: where they start. */
static char *digits_before(char *end, uint64_t n)
{
    do
        *--end = (char)('0' + n % 10);
    while (n /= 10);
    return end;
}

size_t mp_json_int_text(int64_t n, char text[MP_JSON_NUMBER_TEXT])
{
    char digits[20], *end = digits + sizeof digits, *first;
    uint64_t positive = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    size_t len = 0;

    first = digits_before(end, positive);
    if (n < 0)
        text[len++] = '-';
    memcpy(text + len, first, (size_t)(end - first));
    return len + (size_t)(end - first);
}

/* The shortcut of the opening comment; 0: not for this one. */
static size_t short_text(double d, char *text)
{
    static const double powers[] = {1e0, 1e1, 1e2, 1e3, 1e4,
                                    1e5, 1e6, 1e7, 1e8, 1e9};
    double v = fabs(d), scaled;
    char digits[24], *end = digits + sizeof digits, *first;
    uint64_t whole;
    size_t len = 0;
    int k;

    if (v != 0 && !(v >= 1e-4 && v < 1e15)) /* NaN too */
        return 0;
    for (k = 0; k < (int)ARRAY_LEN(powers); k++) {
        scaled = v * powers[k] + 0.5;
        if (scaled >= 1e15)
            return 0;
        whole = (uint64_t)scaled;
        if ((double)whole / powers[k] == v)
            break;
    }
    if (k == (int)ARRAY_LEN(powers))
        return 0;
    first = digits_before(end, whole);
    while (end - first < k + 1) /* 0.05 has the digits 005 */
        *--first = '0';
    if (signbit(d))
        text[len++] = '-';
    memcpy(text + len, first, (size_t)(end - first - k));
    len += (size_t)(end - first - k);
    text[len++] = '.';
    if (k == 0)
        text[len++] = '0';
    memcpy(text + len, end - k, (size_t)k);
    return len + (size_t)k;
}

size_t mp_json_double_text(double d, char text[MP_JSON_NUMBER_TEXT])
{
    size_t len = short_text(d, text);

    if (len)
        return len;
    if (!isfinite(d)) {
        memcpy(text, "null", 4);
        return 4;
    }
    for (int precision = 15; precision <= 17; precision++) {
        len = (size_t)snprintf(text, MP_JSON_NUMBER_TEXT, "%.*g", precision, d);
        if (precision == 17 || strtod(text, NULL) == d)
            break;
    }
    if (strcspn(text, ".e") == len) {
        memcpy(text + len, ".0", 2);
        len += 2;
    }
    return len;
}

void mp_json_put_int(struct mp_buf *b, int64_t n)
{
    char text[MP_JSON_NUMBER_TEXT];

    mp_buf_put(b, text, mp_json_int_text(n, text));
}

void mp_json_put_double(struct mp_buf *b, double d)
{
    char text[MP_JSON_NUMBER_TEXT];

    mp_buf_put(b, text, mp_json_double_text(d, text));
}

void mp_json_put_bool(struct mp_buf *b, bool yes)
{
    mp_buf_slice(b, yes ? MP_S("true") : MP_S("false"));
}

void mp_json_put_null(struct mp_buf *b)
{
    mp_buf_slice(b, MP_S("null"));
}
