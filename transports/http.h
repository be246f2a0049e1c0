/*
 * http.h - HTTP/1.1: requests of clients, answered by functions.
 *
 * It listens on [http] listen while there are endpoints.  A request waits,
 * its connection suspended, until the host has answered its input; one that
 * asked for it (Prefer: respond-async, or its trigger) is told 202 when the
 * input is durable, and reads the answer at /results/ID later.
 *
 * Process  host only, in an object that is loaded when it is needed.
 * Thread   loop thread.
 * Memory   a connection has room for its header; bodies that are being
 *          received share HTTP_BODIES_MAX.
 * Errors   open: the certificate or its key can't be used.  An address that
 *          can't be listened on is logged once and tried again.
 */
#ifndef MP_HTTP_H
#define MP_HTTP_H

#include "core/transport.h"

extern const struct mp_transport mp_http;

/* Answers by status, those included that had no request (408, 429, 503). */
enum { MP_HTTP_STATUSES = 600 };
extern uint64_t mp_http_requests[MP_HTTP_STATUSES];

#endif
