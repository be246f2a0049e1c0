/*
 * fnlog.c - a token bucket before the log.
 *
 * The bucket is kept as the time at which it will be full again: a line costs
 * every/per, and passes if that doesn't reach more than every into the future
 * (a generic cell rate algorithm, ITU-T I.371).
 *
 * Secrets are taken out of a function's own text before it is cut to length:
 * half of one would not be found.
 */
#include "core/fnlog.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/base/clock.h"
#include "core/secrets.h"

static bool takes_one(int64_t *bucket_us, const struct mp_function *fn)
{
    int64_t now_us = mp_now_us();
    int64_t cost_us = fn->log_per ? fn->log_every_us / fn->log_per : 0;
    int64_t full_us = *bucket_us > now_us ? *bucket_us : now_us;

    if (fn->log_per == 0 || full_us + cost_us > now_us + fn->log_every_us)
        return false;
    *bucket_us = full_us + cost_us;
    return true;
}

static void subject_of(char *text, size_t size, const struct mp_function *fn,
                       const struct mp_trigger *trigger)
{
    snprintf(text, size, "%s@%s%s%s", fn->name, fn->version, trigger ? "/" : "",
             trigger ? trigger->name : "");
}

MP_PRINTF(5, 0)
static void say(const struct mp_function *fn, const struct mp_trigger *trigger,
                enum mp_level level, const struct mp_field *fields,
                const char *fmt, va_list args)
{
    char subject[128], message[1200];

    vsnprintf(message, sizeof message, fmt, args);
    subject_of(subject, sizeof subject, fn, trigger);
    mp_log(level, subject, fields, "%s", message);
}

bool mp_fnlog(struct mp_slot *slot, const struct mp_function *fn,
              const struct mp_trigger *trigger, enum mp_level level,
              const struct mp_field *fields, const char *fmt, ...)
{
    bool error = level == MP_ERROR;
    va_list args;

    if (level < fn->log_level)
        return true;
    if (!takes_one(error ? &slot->log_errors_us : &slot->log_full_us, fn)) {
        slot->log_held++;
        slot->log_held_errors += error;
        return false;
    }
    va_start(args, fmt);
    say(fn, trigger, level, fields, fmt, args);
    va_end(args);
    return true;
}

/* One that the function said itself. */
MP_PRINTF(6, 7)
static void relay(struct mp_slot *slot, const struct mp_function *fn,
                  const struct mp_trigger *trigger, enum mp_level level,
                  const struct mp_field *fields, const char *fmt, ...)
{
    va_list args;

    if (level < fn->log_level)
        return;
    if (!takes_one(&slot->log_full_us, fn)) {
        slot->log_held++;
        return;
    }
    va_start(args, fmt);
    say(fn, trigger, level, fields, fmt, args);
    va_end(args);
}

void mp_fnlog_tick(struct mp_link *slots)
{
    mp_list_each (at, slots) {
        struct mp_slot *slot = mp_of(at, struct mp_slot, link);

        if (!slot->log_held)
            continue;
        if (slot->log_held_errors)
            mp_log(MP_WARN, slot->name,
                   MP_FIELDS(MP_NUM("lines", (int64_t)slot->log_held),
                             MP_NUM("errors", (int64_t)slot->log_held_errors)),
                   "held back by [log] rate");
        else
            mp_log(MP_INFO, slot->name,
                   MP_FIELDS(MP_NUM("lines", (int64_t)slot->log_held)),
                   "held back by [log] rate");
        slot->log_held = slot->log_held_errors = 0;
    }
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

/* A line's message and fields, without secrets. */
struct hidden {
    struct mp_buf message, fields[16];
};

static void hide(struct hidden *h, struct mp_log_line *line,
                 struct mp_pair *fields)
{
    mp_buf_init(&h->message, line->message.len);
    line->message = mp_secrets_hide(line->message, &h->message);
    for (uint32_t f = 0; f < line->n_fields; f++) {
        mp_buf_init(&h->fields[f], fields[f].value.len);
        fields[f].value = mp_secrets_hide(fields[f].value, &h->fields[f]);
    }
}

static void hidden_fini(struct hidden *h, const struct mp_log_line *line)
{
    mp_buf_fini(&h->message);
    for (uint32_t f = 0; f < line->n_fields; f++)
        mp_buf_fini(&h->fields[f]);
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
        struct hidden hidden;
        uint32_t n = 0;

        hide(&hidden, &line, pairs);
        for (uint32_t f = 0; f < line.n_fields; f++, n++) {
            snprintf(names[f], sizeof names[f], "%.*s",
                     MP_FMT(line.fields[f].name));
            fields[n] = MP_TEXT(names[f], pairs[f].value);
        }
        if (event)
            fields[n] = MP_TEXT("event", *event);
        relay(slot, fn, trigger, line.level, fields, "%.*s",
              MP_FMT(line.message));
        hidden_fini(&hidden, &line);
    }
    if (cut)
        mp_fnlog(slot, fn, trigger, MP_INFO, MP_FIELDS(MP_NUM("lines", cut)),
                 "cut off by limits.log_bytes");
}
