/*
 * coap.h - CoAP: requests of devices, answered by functions (RFC 7252).
 *
 * It listens on [coap] listen while there are endpoints.  The response to a
 * request leaves when the host has answered its input: in the acknowledgement
 * when that is soon, else by itself, after an empty acknowledgement that
 * promises nothing.  A repeated request gets the same response and runs
 * nothing.
 *
 * Process  host only, in an object that is loaded when it is needed.
 * Thread   loop thread.
 * Memory   bounded: sessions and observers by [coap], what is remembered of
 *          exchanges, bodies and blocks by the constants of coap_impl.h.
 * Errors   open: psk_file, cert or key can't be used.  An address that can't
 *          be listened on is logged once and tried again.
 */
#ifndef MP_COAP_H
#define MP_COAP_H

#include "core/transport.h"

extern const struct mp_transport mp_coap;

/* Responses by code, c.dd as c << 5 | dd; repeats of one are not counted. */
enum { MP_COAP_CODES = 256 };
extern uint64_t mp_coap_requests[MP_COAP_CODES];

/*
 * Push a representation to who observes path; all is copied.  format: TEXT,
 * JSON, CBOR, BYTES.  max_age_s 0: not said.
 */
void mp_coap_notify(void *self, struct mp_slice path, struct mp_slice data,
                    enum mp_format format, uint32_t max_age_s);

#endif
