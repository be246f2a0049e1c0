/*
 * value.c - values compared and measured.
 */
#include "core/base/value.h"

const char *mp_value_kind_name(enum mp_value_kind kind)
{
    static const char *const names[] = {"none",   "integer", "float",
                                        "string", "boolean", "table"};

    return kind < MP_VALUE_KINDS ? names[kind] : "?";
}

bool mp_value_eq(const struct mp_value *a, const struct mp_value *b)
{
    uint64_t bits_a, bits_b;

    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case MP_VALUE_INTEGER:
    case MP_VALUE_BOOLEAN:
        return a->integer == b->integer;
    case MP_VALUE_FLOAT:
        memcpy(&bits_a, &a->number, sizeof bits_a);
        memcpy(&bits_b, &b->number, sizeof bits_b);
        return bits_a == bits_b;
    case MP_VALUE_STRING:
    case MP_VALUE_TABLE:
        return mp_slice_eq(a->text, b->text);
    default:
        return true;
    }
}

size_t mp_value_bytes(const struct mp_value *v)
{
    switch (v->kind) {
    case MP_VALUE_INTEGER:
    case MP_VALUE_FLOAT:
    case MP_VALUE_BOOLEAN:
        return 8;
    default:
        return v->text.len;
    }
}
