/*
 * event.c - the names of the enumerations, as users see them.
 */
#include "core/base/event.h"

const char *mp_event_type_name(enum mp_event_type type)
{
    static const char *const names[MP_EVENT_TYPES] = {
        "mqtt", "coap", "http", "timer", "alarm", "send", "board", "batch"};

    MP_ASSERT(type < MP_EVENT_TYPES);
    return names[type];
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
