/*
 * answered.c - the table of the reference, section 3, as transports have it.
 */
#include "cli/answered.h"

enum { COAP_LAST = 531, HTTP_FIRST = 200, HTTP_LAST = 599 };

static bool is_coap(const struct mp_event *e)
{
    return e->type == MP_EVENT_COAP;
}

/* ok, and no status of its own. */
static unsigned done(const struct mp_event *e, bool data)
{
    if (!is_coap(e))
        return data ? 200 : 204;
    if (mp_slice_is(e->method, "GET") || mp_slice_is(e->method, "FETCH"))
        return 205;
    if (mp_slice_is(e->method, "DELETE"))
        return 202;
    return 204;
}

/* Is it a status that its protocol has? */
static bool is_status(const struct mp_event *e, unsigned status)
{
    if (is_coap(e))
        return status >= 200 && status <= COAP_LAST && status % 100 <= 31;
    return status >= HTTP_FIRST && status <= HTTP_LAST;
}

static unsigned replied(const struct mp_event *e, const struct mp_outcome *out)
{
    if (is_coap(e) && out->status == 200) /* success in HTTP and here */
        return done(e, out->result.len > 0);
    return is_status(e, out->status) ? out->status : 500;
}

unsigned mp_answered_status(const struct mp_event *e,
                            const struct mp_outcome *out)
{
    if (!e->path.ptr)
        return out->status;
    switch (out->kind) {
    case MP_OUT_OK:
        if (out->result_kind == MP_RESULT_REPLY)
            return replied(e, out);
        return done(e, out->result_kind != MP_RESULT_NONE);
    case MP_OUT_REJECTED:
        return is_status(e, out->status) && out->status >= 400 ? out->status
                                                               : 400;
    case MP_OUT_TIMEOUT:
        return 504;
    default:
        return out->did & MP_DID_RETRY ? 503 : 500;
    }
}
