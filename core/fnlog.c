/*
 * fnlog.c - a token bucket before the log.
 *
 * The bucket is kept as the time at which it will be full again: a line costs
 * every/per, and passes if that doesn't reach more than every into the future
 * (a generic cell rate algorithm, ITU-T I.371).
 */
#include "core/fnlog.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/base/clock.h"

static bool may_pass(struct mp_slot *slot, const struct mp_function *fn)
{
    int64_t now_us = mp_now_us();
    int64_t cost_us = fn->log_per ? fn->log_every_us / fn->log_per : 0;
    int64_t full_us = slot->log_full_us > now_us ? slot->log_full_us : now_us;

    if (fn->log_per == 0 || full_us + cost_us > now_us + fn->log_every_us) {
        slot->log_held++;
        return false;
    }
    slot->log_full_us = full_us + cost_us;
    return true;
}

static void subject_of(char *text, size_t size, const struct mp_function *fn,
                       const struct mp_trigger *trigger)
{
    snprintf(text, size, "%s@%s%s%s", fn->name, fn->version, trigger ? "/" : "",
             trigger ? trigger->name : "");
}

static void say_held(struct mp_slot *slot, const struct mp_function *fn)
{
    int64_t now_us = mp_now_us();

    if (!slot->log_held || now_us - slot->log_said_us < MP_SECOND)
        return;
    slot->log_said_us = now_us;
    mp_log(MP_INFO, fn->name, MP_FIELDS(MP_NUM("lines", slot->log_held)),
           "held back by [log] rate");
    slot->log_held = 0;
}

void mp_fnlog(struct mp_slot *slot, const struct mp_function *fn,
              const struct mp_trigger *trigger, enum mp_level level,
              const struct mp_field *fields, const char *fmt, ...)
{
    char subject[128], message[1200];
    va_list args;

    if (level < fn->log_level || !may_pass(slot, fn))
        return;
    say_held(slot, fn);
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    subject_of(subject, sizeof subject, fn, trigger);
    mp_log(level, subject, fields, "%s", message);
}

/* Each line costs the worker's bookkeeping 16 bytes at least. */
int mp_fnlog_check(const struct mp_function *fn, uint32_t n_logs,
                   struct mp_slice logs)
{
    struct mp_reader r = mp_reader(logs);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_log_line line;

    if (n_logs > fn->log_bytes / 16 + 1)
        return MP_EPARSE;
    for (uint32_t i = 0; i < n_logs; i++)
        if (mp_read_log(&r, &line, pairs))
            return MP_EPARSE;
    return r.at == r.end ? 0 : MP_EPARSE;
}

void mp_fnlog_lines(struct mp_slot *slot, const struct mp_function *fn,
                    const struct mp_trigger *trigger,
                    const struct mp_slice *event, uint32_t n_logs,
                    struct mp_slice logs, uint32_t cut)
{
    struct mp_reader r = mp_reader(logs);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_log_line line;

    for (uint32_t i = 0; i < n_logs && !mp_read_log(&r, &line, pairs); i++) {
        struct mp_field fields[20] = {{0}};
        char names[16][64];
        uint32_t n = 0;

        for (uint32_t f = 0; f < line.n_fields; f++, n++) {
            snprintf(names[f], sizeof names[f], "%.*s",
                     MP_FMT(line.fields[f].name));
            fields[n] = MP_TEXT(names[f], line.fields[f].value);
        }
        if (event)
            fields[n] = MP_TEXT("event", *event);
        mp_fnlog(slot, fn, trigger, line.level, fields, "%.*s",
                 MP_FMT(line.message));
    }
    if (cut)
        mp_fnlog(slot, fn, trigger, MP_INFO, MP_FIELDS(MP_NUM("lines", cut)),
                 "cut off by limits.log_bytes");
}
