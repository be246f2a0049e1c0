/*
 * why.h - what went wrong: a code for the program, a sentence for a person.
 *
 * Three kinds of wrong (docs/ARCHITECTURE.md): a bug of ours stops the
 * process (MP_ASSERT, in release builds too); a failing world comes back as a
 * negative MP_E* and is explained once, where the fact is known, in a struct
 * mp_why; a failing function is an outcome, not an error.
 *
 * Thread   any.
 * Memory   a mp_why is a plain value the caller holds; text is cut, never
 *          overrun.
 * Errors   running out of memory stops the process (mp_oom): inputs that were
 *          not acknowledged come again, and stopped beats confused.
 */
#ifndef MP_BASE_WHY_H
#define MP_BASE_WHY_H

#include <stddef.h>

#define MP_MUST __attribute__((warn_unused_result))
#define MP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MP_UNUSED __attribute__((unused))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

enum {
    MP_EIO = -1,    /* the operating system or a peer said no */
    MP_EFULL = -2,  /* a bound is reached; nothing was taken */
    MP_ERANGE = -3, /* a number or length outside what is allowed */
    MP_EPARSE = -4, /* the bytes are not what they should be */
    MP_ENONE = -5,  /* what was asked for does not exist */
    MP_EDENY = -6,  /* known and forbidden: a grant, a policy, a lock */
    MP_EAGAIN = -7, /* not now; the call may be repeated later */
};

struct mp_why {
    char text[480]; /* one line, lower case, no full stop; "" when unset */
};

/* Write the sentence and return code, so that failing is one statement. */
MP_PRINTF(3, 4)
int mp_why_set(struct mp_why *why, int code, const char *fmt, ...);

/* As mp_why_set, with ": " and the text of errno behind; returns MP_EIO. */
MP_PRINTF(2, 3)
int mp_why_errno(struct mp_why *why, const char *fmt, ...);

/* Put "PREFIX: " before a sentence that is already there. */
MP_PRINTF(2, 3) void mp_why_wrap(struct mp_why *why, const char *fmt, ...);

_Noreturn void mp_bug(const char *file, int line, const char *what);
_Noreturn void mp_oom(size_t bytes);

#define MP_ASSERT(cond) ((cond) ? (void)0 : mp_bug(__FILE__, __LINE__, #cond))

/* malloc, calloc, realloc and strndup that never return NULL. */
void *mp_alloc(size_t bytes);
void *mp_zalloc(size_t bytes);
void *mp_realloc(void *old, size_t bytes);
char *mp_strndup(const char *text, size_t len);

#endif
