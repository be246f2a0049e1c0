/*
 * fields_value.c - comparing values, and writing them into keys.
 *
 * Strings stay as the payload has them, backslashes and all; they are
 * compared and copied piece by piece, an escape being a piece of its own.
 */
#include <math.h>

#include "core/fields_impl.h"

static enum mp_field_order order_of(int sign)
{
    return sign < 0 ? MP_FIELD_LESS : sign ? MP_FIELD_GREATER : MP_FIELD_EQUAL;
}

static enum mp_field_order compare_reals(double a, double b)
{
    if (isnan(a) || isnan(b))
        return MP_FIELD_UNEQUAL;
    return order_of((a > b) - (a < b));
}

/* An integer and a double, exactly: beyond 2^53 not every integer is one. */
static enum mp_field_order compare_mixed(int64_t a, double b)
{
    int64_t whole;

    if (isnan(b))
        return MP_FIELD_UNEQUAL;
    if (b >= 0x1p63)
        return MP_FIELD_LESS;
    if (b < -0x1p63)
        return MP_FIELD_GREATER;
    whole = (int64_t)b; /* towards zero */
    if (a != whole)
        return order_of(a < whole ? -1 : 1);
    return compare_reals(0, b - (double)whole);
}

static enum mp_field_order compare_numbers(const struct mp_field_value *a,
                                           const struct mp_field_value *b)
{
    enum mp_field_order order;

    if (a->is_int && b->is_int)
        return order_of((a->integer > b->integer) - (a->integer < b->integer));
    if (a->is_int)
        return compare_mixed(a->integer, b->real);
    if (!b->is_int)
        return compare_reals(a->real, b->real);
    order = compare_mixed(b->integer, a->real);
    return order == MP_FIELD_LESS      ? MP_FIELD_GREATER
           : order == MP_FIELD_GREATER ? MP_FIELD_LESS
                                       : order;
}

/* Take some bytes of what a string means off its front. */
static struct mp_slice take_piece(struct mp_slice *rest, bool escaped,
                                  char room[12])
{
    struct mp_slice piece = *rest;
    const char *back = escaped ? memchr(rest->ptr, '\\', rest->len) : NULL;
    size_t len = 2;

    if (back)
        piece.len = (size_t)(back - rest->ptr);
    if (!back || piece.len) {
        *rest = mp_slice(rest->ptr + piece.len, rest->len - piece.len);
        return piece;
    }
    if (back[1] == 'u') /* d8.. to db..: a pair, the scanner saw to that */
        len = (back[2] == 'd' || back[2] == 'D') && !strchr("01234567", back[3])
                  ? 12
                  : 6;
    piece = mp_slice(room, mp_json_unescape(mp_slice(back, len), room));
    *rest = mp_slice(back + len, rest->len - len);
    return piece;
}

static enum mp_field_order compare_strings(const struct mp_field_value *a,
                                           const struct mp_field_value *b)
{
    struct mp_slice rest_a = a->text, rest_b = b->text;
    struct mp_slice x = {NULL, 0}, y = {NULL, 0};
    char room_a[12], room_b[12];
    size_t len;
    int sign;

    for (;;) {
        if (!x.len && rest_a.len)
            x = take_piece(&rest_a, a->escaped, room_a);
        if (!y.len && rest_b.len)
            y = take_piece(&rest_b, b->escaped, room_b);
        if (!x.len || !y.len)
            return order_of((x.len > 0) - (y.len > 0));
        len = x.len < y.len ? x.len : y.len;
        sign = memcmp(x.ptr, y.ptr, len);
        if (sign)
            return order_of(sign);
        x = mp_slice(x.ptr + len, x.len - len);
        y = mp_slice(y.ptr + len, y.len - len);
    }
}

enum mp_field_order mp_field_compare(const struct mp_field_value *a,
                                     const struct mp_field_value *b)
{
    if (a->kind != b->kind)
        return MP_FIELD_DIFFERENT;
    switch (a->kind) {
    case MP_FIELD_NULL:
        return MP_FIELD_EQUAL;
    case MP_FIELD_BOOLEAN:
        return a->truth == b->truth ? MP_FIELD_EQUAL : MP_FIELD_UNEQUAL;
    case MP_FIELD_NUMBER:
        return compare_numbers(a, b);
    case MP_FIELD_STRING:
        return compare_strings(a, b);
    default:
        return MP_FIELD_DIFFERENT;
    }
}

static int copy_out(struct mp_slice text, char *out, size_t max)
{
    if (text.len > max)
        return MP_ERANGE;
    if (text.len)
        memcpy(out, text.ptr, text.len);
    return (int)text.len;
}

static int string_text(const struct mp_field_value *v, char *out, size_t max)
{
    struct mp_slice rest = v->text, piece;
    char room[12];
    size_t len = 0;

    while (rest.len) {
        piece = take_piece(&rest, v->escaped, room);
        if (piece.len > max - len)
            return MP_ERANGE;
        memcpy(out + len, piece.ptr, piece.len);
        len += piece.len;
    }
    return (int)len;
}

int mp_field_text(const struct mp_field_value *v, char *out, size_t max)
{
    char number[MP_JSON_NUMBER_TEXT];

    switch (v->kind) {
    case MP_FIELD_STRING:
        return string_text(v, out, max);
    case MP_FIELD_BOOLEAN:
        return copy_out(v->truth ? MP_S("true") : MP_S("false"), out, max);
    case MP_FIELD_NUMBER:
        if (v->is_int)
            return copy_out(
                mp_slice(number, mp_json_int_text(v->integer, number)), out,
                max);
        if (!isfinite(v->real))
            return MP_ENONE;
        return copy_out(mp_slice(number, mp_json_double_text(v->real, number)),
                        out, max);
    default:
        return MP_ENONE;
    }
}
