/*
 * why.c - sentences for people, and the two ways to stop.
 */
#include "core/base/why.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mp_why_set(struct mp_why *why, int code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
    return code;
}

int mp_why_errno(struct mp_why *why, const char *fmt, ...)
{
    int error = errno;
    va_list args;
    size_t len;

    va_start(args, fmt);
    vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
    len = strlen(why->text);
    snprintf(why->text + len, sizeof why->text - len, ": %s", strerror(error));
    return MP_EIO;
}

void mp_why_wrap(struct mp_why *why, const char *fmt, ...)
{
    struct mp_why inner = *why;
    va_list args;
    size_t len;

    va_start(args, fmt);
    vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
    len = strlen(why->text);
    snprintf(why->text + len, sizeof why->text - len, ": %s", inner.text);
}

void mp_bug(const char *file, int line, const char *what)
{
    fprintf(stderr, "moonpool: bug at %s:%d: %s\n", file, line, what);
    abort();
}

void mp_oom(size_t bytes)
{
    fprintf(stderr, "moonpool: out of memory (%zu bytes); stopping\n", bytes);
    abort();
}

void *mp_alloc(size_t bytes)
{
    void *got = malloc(bytes ? bytes : 1);

    if (!got)
        mp_oom(bytes);
    return got;
}

void *mp_zalloc(size_t bytes)
{
    void *got = calloc(1, bytes ? bytes : 1);

    if (!got)
        mp_oom(bytes);
    return got;
}

void *mp_realloc(void *old, size_t bytes)
{
    void *got = realloc(old, bytes ? bytes : 1);

    if (!got)
        mp_oom(bytes);
    return got;
}

char *mp_strndup(const char *text, size_t len)
{
    char *copy = mp_alloc(len + 1);

    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}
