/*
 * request_line.h - what a trigger says of the requests it answers.
 *
 *     http = POST,PUT /hooks/{source}        auth = hmac HOOK_KEY X-Signature
 *
 * Process  host and command line.   Thread  any.
 * Memory   what is put out is the caller's.
 * Errors   MP_EPARSE with a sentence.
 */
#ifndef MP_REQUEST_LINE_H
#define MP_REQUEST_LINE_H

#include "core/function.h"

/*
 * "METHOD[,METHOD] /path", without a method POST and PUT.  kind says which
 * methods there are: FETCH and iPATCH are CoAP's, HEAD comes with GET.
 */
MP_MUST int mp_request_line(struct mp_slice text, enum mp_trigger_kind kind,
                            unsigned *methods, struct mp_pattern *pattern,
                            struct mp_why *why);

/* none, dtls, token NAME, hmac NAME HEADER; secret and header are NULL where
 * there is none. */
MP_MUST int mp_auth_line(struct mp_slice text, enum mp_auth *auth,
                         char **secret, char **header, struct mp_why *why);

#endif
