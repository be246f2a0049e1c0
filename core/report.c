/*
 * report.c - puts place and sentence together and counts them.
 */
#include <stdarg.h>
#include <stdio.h>

#include "core/function.h"

MP_PRINTF(5, 0)
static void say(struct mp_report *r, bool warning, const char *file,
                unsigned line, const char *fmt, va_list args)
{
    char what[1024], text[1024 + 512];

    vsnprintf(what, sizeof what, fmt, args);
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
