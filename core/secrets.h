/*
 * secrets.h - what a function was granted to know.
 *
 * A secret is a file FUNCTION/NAME below [paths] secrets that nobody but its
 * owner may read or write (mode 0600 or less), or a credential FUNCTION.NAME
 * of the unit.  Its bytes, without the line's end, are the value.
 *
 * Process  host and command line.   Thread  loop thread.
 * Memory   values are the caller's, in blocks of their own; mp_secret_free
 *          wipes them.
 *          Those that mp_secrets_read gave are known here as long as they are
 *          in use, so that they can be masked wherever a function's text
 *          leaves the host.
 * Errors   MP_ENONE: there is none, and the sentence says how to give it;
 *          MP_EDENY: others may read it; MP_EIO, MP_EPARSE.
 */
#ifndef MP_SECRETS_H
#define MP_SECRETS_H

#include "core/base/slice.h"

enum {
    MP_SECRET_BYTES = 64 << 10, /* of one value */
    MP_SECRETS_MAX = 32,        /* of one function */
    /* Shorter ones are no secrets to a log: they would be found everywhere. */
    MP_SECRET_MASKED = 6,
};

MP_MUST int mp_secret_read(const char *dir, const char *fn, const char *name,
                           char **value, struct mp_why *why);
void mp_secret_free(char *value);

/*
 * All that fn was granted: names (borrowed) with their values; all of them or
 * none.  n 0: *secrets is NULL.
 */
MP_MUST int mp_secrets_read(const char *dir, const char *fn,
                            const struct mp_slice *names, unsigned n,
                            struct mp_pair **secrets, struct mp_why *why);
void mp_secrets_free(struct mp_pair *secrets, unsigned n);

/* Make it: the directory is made if need be, mode 0700; an older value is
 * replaced at once (write, sync, rename). */
MP_MUST int mp_secret_write(const char *dir, const char *fn, const char *name,
                            struct mp_slice value, struct mp_why *why);
/* MP_ENONE: there was none. */
MP_MUST int mp_secret_remove(const char *dir, const char *fn, const char *name,
                             struct mp_why *why);

/* Put text with each of the n values in it, of MP_SECRET_MASKED bytes or more,
 * as ***. */
void mp_secrets_mask(struct mp_buf *out, struct mp_slice text,
                     const struct mp_slice *values, unsigned n);

/* The same with all values in use: text itself where none is in it, else what
 * was put into out. */
struct mp_slice mp_secrets_hide(struct mp_slice text, struct mp_buf *out);

#endif
