/*
 * event.c - the names of the enumerations, as users see them, and ids.
 */
#include "core/base/event.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/base/hash.h"

const char *mp_event_type_name(enum mp_event_type type)
{
    static const char *const names[MP_EVENT_TYPES] = {
        "mqtt", "coap", "http", "timer", "alarm", "send", "board", "batch"};

    MP_ASSERT(type < MP_EVENT_TYPES);
    return names[type];
}

struct mp_slice mp_format_type(enum mp_format format)
{
    switch (format) {
    case MP_FORMAT_JSON:
        return MP_S("application/json");
    case MP_FORMAT_CBOR:
        return MP_S("application/cbor");
    default:
        return mp_slice(NULL, 0);
    }
}

const char *mp_format_name(enum mp_format format)
{
    static const char *const names[MP_FORMATS] = {"auto",  "json", "cbor",
                                                  "senml", "text", "bytes"};

    MP_ASSERT(format < MP_FORMATS);
    return names[format];
}

const char *mp_kind_name(enum mp_kind kind)
{
    static const char *const names[MP_OUT_KINDS] = {
        "ok", "error", "rejected", "timeout", "memory", "killed"};

    MP_ASSERT(kind < MP_OUT_KINDS);
    return names[kind];
}

const char *mp_level_name(enum mp_level level)
{
    static const char *const names[MP_LEVELS] = {"debug", "info", "warn",
                                                 "error"};

    MP_ASSERT(level < MP_LEVELS);
    return names[level];
}

const char *mp_state_op_name(enum mp_state_op op)
{
    static const char *const names[] = {"set", "increment", "delete"};

    return op < MP_STATE_OPS ? names[op] : "?";
}

size_t mp_send_id(struct mp_slice event, struct mp_slice fn, unsigned n,
                  char id[MP_EVENT_ID_MAX])
{
    static const struct mp_hash_key plain; /* the same on every node */
    char text[2 * MP_EVENT_ID_MAX + MP_NAME_MAX];
    struct mp_hasher h;
    struct mp_hash sum;
    int len = snprintf(text, sizeof text, "%.*s/%.*s/%u", MP_FMT(event),
                       MP_FMT(fn), n);

    if (len > MP_EVENT_ID_MAX) {
        mp_hasher_init(&h, &plain);
        mp_hasher_add(&h, event);
        mp_hasher_add(&h, fn);
        mp_hasher_add_u64(&h, n);
        sum = mp_hasher_end(&h);
        len = snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, sum.hi,
                       sum.lo);
    }
    memcpy(id, text, (size_t)len);
    return (size_t)len;
}
