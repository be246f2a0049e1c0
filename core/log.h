/*
 * log.h - one structured line on stderr for each thing worth knowing.
 *
 *   TIME LEVEL SUBJECT: MESSAGE key=value...      text
 *   {"time":...,"level":...,"subject":...}        json
 *
 * Under journald a priority stands in place of the time.  Control bytes and
 * bad UTF-8 are escaped; a value with blanks stands in double quotes.
 *
 * Process  host and command line.   Thread  loop thread.
 * Errors   a line that can't be written is lost, never waited for.
 */
#ifndef MP_LOG_H
#define MP_LOG_H

#include "core/config.h"

struct mp_field {
    const char *name;
    struct mp_slice text; /* when is_text, else number */
    int64_t number;
    bool is_text;
};

#define MP_NUM(name, value) ((struct mp_field){(name), {0}, (value), false})
#define MP_TEXT(name, value) ((struct mp_field){(name), (value), 0, true})
#define MP_FIELDS(...)                                                         \
    (const struct mp_field[])                                                  \
    {                                                                          \
        __VA_ARGS__,                                                           \
        {                                                                      \
            NULL, {0}, 0, false                                                \
        }                                                                      \
    }

void mp_log_open(enum mp_log_format format, enum mp_level least);

/* fields ends with a NULL name; NULL: none.  message is made printable. */
MP_PRINTF(4, 5)
void mp_log(enum mp_level level, const char *subject,
            const struct mp_field *fields, const char *fmt, ...);

/* Called before and after each line: the live line steps aside. */
void mp_log_around(void (*before)(void), void (*after)(void));

/* Append s with control bytes, bad UTF-8 and quotes escaped, cut at max. */
void mp_put_escaped(struct mp_buf *b, struct mp_slice s, size_t max);

#endif
