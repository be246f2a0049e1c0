/*
 * problem.h - an error as a client reads it (RFC 9457).
 *
 *   {"title":"Not Found","status":404,"detail":"nothing answers here"}
 *
 * It never holds a traceback.  '<', '>' and '&' are escaped: whoever takes it
 * for HTML by mistake finds no markup in it.
 *
 * Process  host only.   Thread  any.
 * Memory   appends to a buffer of the caller.
 */
#ifndef MP_PROBLEM_H
#define MP_PROBLEM_H

#include "core/base/slice.h"

#define MP_PROBLEM_TYPE "application/problem+json"

/* A sentence of more bytes is cut. */
enum { MP_PROBLEM_DETAIL = 1024 };

struct mp_problem {
    unsigned status;          /* of HTTP */
    const char *title;        /* NULL: that of the status */
    struct mp_slice detail;   /* a sentence; ptr NULL: none */
    struct mp_slice type;     /* a URI; ptr NULL: about:blank, left out */
    struct mp_slice instance; /* the event's id; ptr NULL: none */
};

void mp_problem_put(struct mp_buf *out, const struct mp_problem *p);

/* "Not Found"; of a status that has no name, that of its class. */
const char *mp_status_title(unsigned status);

#endif
