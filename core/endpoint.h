/*
 * endpoint.h - which trigger answers a request.
 *
 * Of the patterns that match a path, a literal level beats `{name}` beats
 * `{name...}`, from the left; of two equal shapes there is only one.  The list
 * is sorted that way once, so the first that matches is the right one.
 *
 * Process  host only.   Thread  loop thread.
 * Memory   the list is the caller's; patterns are borrowed.
 */
#ifndef MP_ENDPOINT_H
#define MP_ENDPOINT_H

#include "core/transport.h"

/* Best first.  Equal shapes stand together, in the order they had. */
void mp_endpoints_sort(struct mp_endpoint *list, unsigned n);

/* Would both take one path, with none of them better, by one method? */
bool mp_endpoint_clashes(const struct mp_endpoint *a,
                         const struct mp_endpoint *b);

/*
 * Who answers?  NULL: nobody; *allowed then has the methods that are answered
 * at this path (0: there is nothing here).  HEAD is answered by who answers
 * GET.  method: MP_METHODS is one we don't know.
 */
const struct mp_endpoint *mp_endpoint_find(const struct mp_endpoint *list,
                                           unsigned n, enum mp_method method,
                                           struct mp_slice path,
                                           unsigned *allowed);

#endif
