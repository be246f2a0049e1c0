/*
 * report.c - puts place and sentence together and counts them.
 *
 * What is told holds words of users and of Lua: it becomes one printable line
 * here, for all who tell.
 */
#include <stdarg.h>
#include <stdio.h>

#include "core/base/utf8.h"

#include "core/function.h"

static void make_printable(char *text)
{
    for (char *c = text; *c; c++) {
        if (*c == '\t' || *c == '\n' || *c == '\r')
            *c = ' ';
        else if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
    text[mp_utf8_prefix(mp_slice_str(text))] = '\0';
}

MP_PRINTF(5, 0)
static void say(struct mp_report *r, bool warning, const char *file,
                unsigned line, const char *fmt, va_list args)
{
    char what[1024], text[1024 + 512];

    vsnprintf(what, sizeof what, fmt, args);
    make_printable(what);
    if (file && line)
        snprintf(text, sizeof text, "%s:%u: %s", file, line, what);
    else if (file)
        snprintf(text, sizeof text, "%s: %s", file, what);
    else
        snprintf(text, sizeof text, "%s", what);
    r->file = file;
    r->line = line;
    r->what = what;
    if (r->say)
        r->say(r, warning, text);
    r->what = NULL;
}

void mp_report_mistake(struct mp_report *r, const char *file, unsigned line,
                       const char *fmt, ...)
{
    va_list args;

    r->mistakes++;
    va_start(args, fmt);
    say(r, false, file, line, fmt, args);
    va_end(args);
}

void mp_report_warning(struct mp_report *r, const char *file, unsigned line,
                       const char *fmt, ...)
{
    va_list args;

    r->warnings++;
    va_start(args, fmt);
    say(r, true, file, line, fmt, args);
    va_end(args);
}
