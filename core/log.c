/*
 * log.c - makes the line and writes it in one go.
 *
 * Much of a line comes from functions and devices, so nothing in it may end
 * it early, pass for another field or be too long.  A text line is cut at the
 * piece that doesn't fit, a JSON line goes without that field, and the end,
 * which isn't in the buffer, always comes.
 */
#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/text.h"
#include "core/base/utf8.h"

enum { LINE_MAX_BYTES = 32 << 10, FIELD_MAX = 4096 };

static struct {
    enum mp_log_format format;
    enum mp_level least;
    bool journal; /* stderr goes to journald: a priority, no time */
    void (*before)(void), (*after)(void);
} log_to = {.format = MP_LOG_TEXT, .least = MP_INFO};

void mp_log_open(enum mp_log_format format, enum mp_level least)
{
    log_to.journal = format == MP_LOG_AUTO && getenv("JOURNAL_STREAM") != NULL;
    log_to.format = format == MP_LOG_AUTO ? MP_LOG_TEXT : format;
    log_to.least = least;
}

void mp_log_around(void (*before)(void), void (*after)(void))
{
    log_to.before = before;
    log_to.after = after;
}

/* Length of the UTF-8 character at p, 0 when it is none. */
static size_t character(const char *p, size_t left)
{
    for (size_t len = 1; len <= 4 && len <= left; len++)
        if (mp_utf8_valid(mp_slice(p, len)))
            return len;
    return 0;
}

void mp_put_escaped(struct mp_buf *b, struct mp_slice s, size_t max)
{
    size_t end = s.len < max ? s.len : max;

    for (size_t i = 0; i < end;) {
        unsigned char c = (unsigned char)s.ptr[i];
        size_t len = character(s.ptr + i, s.len - i);

        if (c == '\n')
            mp_buf_put(b, "\\n", 2);
        else if (c == '\t')
            mp_buf_put(b, "\\t", 2);
        else if (c == '"' || c == '\\')
            mp_buf_printf(b, "\\%c", c);
        else if (len == 0 || c < 0x20 || c == 0x7f ||
                 (c == 0xc2 && (unsigned char)s.ptr[i + 1] < 0xa0))
            mp_buf_printf(b, "\\x%02x", c);
        else
            mp_buf_put(b, s.ptr + i, len);
        i += len ? len : 1;
    }
    if (s.len > max)
        mp_buf_put(b, "...", 3);
}

static bool is_word(struct mp_slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];

        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7f)
            return false;
    }
    return s.len > 0;
}

/* What could end a name becomes '_'. */
static void put_name(struct mp_buf *b, const char *name)
{
    for (; *name; name++) {
        char c = *name;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';

        mp_buf_put(b, plain ? name : "_", 1);
    }
}

static void put_text_field(struct mp_buf *b, const struct mp_field *f)
{
    if (!f->is_text) {
        mp_buf_put(b, " ", 1);
        put_name(b, f->name);
        mp_buf_printf(b, "=%lld", (long long)f->number);
    } else if (strcmp(f->name, "traceback") == 0) {
        const char *line = f->text.ptr, *end = f->text.ptr + f->text.len;

        while (line < end) { /* below the line, each indented by a tab */
            const char *stop = memchr(line, '\n', (size_t)(end - line));
            size_t len = (size_t)((stop ? stop : end) - line);

            mp_buf_put(b, "\n\t", 2);
            while (len && *line == '\t')
                line++, len--;
            mp_put_escaped(b, mp_slice(line, len), 400);
            line = stop ? stop + 1 : end;
        }
    } else {
        bool word = is_word(f->text);

        mp_buf_put(b, " ", 1);
        put_name(b, f->name);
        mp_buf_put(b, "=\"", word ? 1 : 2);
        mp_put_escaped(b, f->text, 1024);
        mp_buf_put(b, "\"", word ? 0 : 1);
    }
}

static void put_text(struct mp_buf *b, enum mp_level level, const char *subject,
                     const struct mp_field *fields, struct mp_slice message)
{
    static const char priority[MP_LEVELS] = {'7', '6', '4', '3'};
    char time[MP_TIME_TEXT];

    if (log_to.journal) {
        mp_buf_printf(b, "<%c>%s: ", priority[level], subject);
    } else {
        mp_time_text(mp_wall_us(), time);
        mp_buf_printf(b, "%s %-5s %s: ", time, mp_level_name(level), subject);
    }
    for (size_t i = 0; i < message.len; i++) { /* quotes stay, control not */
        struct mp_slice one = mp_slice(message.ptr + i, 1);
        size_t len = character(one.ptr, message.len - i);

        if (*one.ptr == '"' || *one.ptr == '\\' || *one.ptr == '\t') {
            mp_buf_put(b, *one.ptr == '\t' ? " " : one.ptr, 1);
            continue;
        }
        mp_put_escaped(b, mp_slice(one.ptr, len ? len : 1), 8);
        i += len ? len - 1 : 0;
    }
    for (; fields && fields->name; fields++)
        put_text_field(b, fields);
}

/* The whole field or nothing of it. */
static void put_json_field(struct mp_buf *b, const struct mp_field *f)
{
    size_t mark = b->len;

    mp_buf_put(b, ",\"", 2);
    put_name(b, f->name);
    mp_buf_put(b, "\":", 2);
    if (f->is_text)
        mp_json_put_string(b, mp_cut(f->text, FIELD_MAX));
    else
        mp_buf_printf(b, "%lld", (long long)f->number);
    if (b->full) {
        b->len = mark;
        b->full = false;
    }
}

static void put_json(struct mp_buf *b, enum mp_level level, const char *subject,
                     const struct mp_field *fields, struct mp_slice message)
{
    char time[MP_TIME_TEXT];

    mp_time_text(mp_wall_us(), time);
    mp_buf_printf(b, "{\"time\":\"%s\",\"level\":\"%s\",\"subject\":", time,
                  mp_level_name(level));
    mp_json_put_string(b, mp_cut(mp_slice_str(subject), 256));
    mp_buf_slice(b, MP_S(",\"message\":"));
    mp_json_put_string(b, message);
    for (; fields && fields->name; fields++)
        put_json_field(b, fields);
}

void mp_log(enum mp_level level, const char *subject,
            const struct mp_field *fields, const char *fmt, ...)
{
    static struct mp_buf line = {.max = LINE_MAX_BYTES - 2};
    char message[2048];
    struct mp_slice text, end;
    struct iovec parts[2];
    va_list args;
    ssize_t sent;

    if (level < log_to.least)
        return;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    text = mp_slice_str(message);
    mp_buf_reset(&line);
    if (log_to.format == MP_LOG_JSON)
        put_json(&line, level, subject, fields, text);
    else
        put_text(&line, level, subject, fields, text);
    end = log_to.format == MP_LOG_JSON ? MP_S("}\n") : MP_S("\n");
    parts[0] = (struct iovec){line.ptr, line.len};
    parts[1] = (struct iovec){(char *)(uintptr_t)end.ptr, end.len};
    if (log_to.before)
        log_to.before();
    sent = writev(STDERR_FILENO, parts, 2);
    (void)sent; /* a line that can't be written is lost */
    if (log_to.after)
        log_to.after();
}
