/*
 * http_answer.c - answers of functions and of our own, as responses.
 *
 * A function's headers are its own affair, but for those that frame the
 * message: these belong to the library, and what looks like two headers is
 * none.
 */
#include "transports/http_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "core/base/text.h"
#include "core/results.h"
#include "transports/http.h"

uint64_t mp_http_requests[MP_HTTP_STATUSES];

enum { PROBLEM_MAX = 8 * MP_PROBLEM_DETAIL, METHODS_TEXT = 80 };

static void set_header(struct http_call *c, const char *name, const char *value)
{
    MHD_add_response_header(c->response, name, value);
}

static void set_number(struct http_call *c, const char *name, unsigned n)
{
    char text[16];

    snprintf(text, sizeof text, "%u", n);
    set_header(c, name, text);
}

static void make(struct http_call *c, unsigned status, struct mp_slice data)
{
    char none[] = "";

    MP_ASSERT(!c->answered);
    /* The library copies; it only lacks the const. */
    c->response = MHD_create_response_from_buffer(
        data.len, data.len ? (void *)(uintptr_t)data.ptr : none,
        MHD_RESPMEM_MUST_COPY);
    if (!c->response)
        mp_oom(data.len);
    c->status = status;
}

/* The response is whole. */
static void answered(struct http_call *c)
{
    if (c->close || c->http->draining)
        set_header(c, "Connection", "close");
    c->answered = true;
    if (!c->suspended)
        return;
    c->suspended = false;
    MHD_resume_connection(c->conn->con);
    mp_http_wake(c->http);
}

/* ---- problems ---- */

static void make_problem(struct http_call *c, unsigned status,
                         struct mp_slice detail)
{
    struct mp_problem p = {.status = status, .detail = detail};
    struct mp_buf text;

    mp_buf_init(&text, PROBLEM_MAX);
    mp_problem_put(&text, &p);
    make(c, status, mp_buf_bytes(&text));
    mp_buf_fini(&text);
    set_header(c, "Content-Type", MP_PROBLEM_TYPE);
    set_header(c, "Cache-Control", "no-store");
    set_header(c, "X-Content-Type-Options", "nosniff");
}

MP_PRINTF(3, 0)
static void vproblem(struct http_call *c, unsigned status, const char *fmt,
                     va_list args)
{
    char text[sizeof((struct mp_why *)NULL)->text];

    vsnprintf(text, sizeof text, fmt, args);
    make_problem(c, status, mp_slice_str(text));
}

void mp_http_problem(struct http_call *c, unsigned status, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vproblem(c, status, fmt, args);
    va_end(args);
    answered(c);
}

void mp_http_problem_with(struct http_call *c, unsigned status,
                          const char *name, const char *value, const char *fmt,
                          ...)
{
    va_list args;

    va_start(args, fmt);
    vproblem(c, status, fmt, args);
    va_end(args);
    set_header(c, name, value);
    answered(c);
}

void mp_http_busy(struct http_call *c, unsigned status, unsigned retry_s,
                  const char *sentence)
{
    make_problem(c, status, mp_slice_str(sentence));
    set_number(c, "Retry-After", retry_s ? retry_s : HTTP_RETRY_S);
    answered(c);
}

/* ---- methods ---- */

static void put_methods(unsigned allowed, char text[METHODS_TEXT])
{
    size_t len = 0;

    if (allowed & 1U << MP_GET)
        allowed |= 1U << MP_HEAD;
    for (unsigned m = 0; m < MP_METHODS; m++)
        if (allowed & 1U << m)
            len += (size_t)snprintf(text + len, METHODS_TEXT - len, "%s, ",
                                    mp_method_name((enum mp_method)m));
    snprintf(text + len, METHODS_TEXT - len, "OPTIONS");
}

void mp_http_options(struct http_call *c, unsigned allowed)
{
    char text[METHODS_TEXT];

    put_methods(allowed, text);
    make(c, MHD_HTTP_NO_CONTENT, MP_S(""));
    set_header(c, "Allow", text);
    answered(c);
}

void mp_http_not_allowed(struct http_call *c, unsigned allowed)
{
    char text[METHODS_TEXT];

    put_methods(allowed, text);
    mp_http_problem_with(c, MHD_HTTP_METHOD_NOT_ALLOWED, "Allow", text,
                         "this path answers %s", text);
}

/* ---- what a function said ---- */

/* Whose values the library makes, or that are about the connection. */
static bool is_ours(struct mp_slice name)
{
    static const char *const ours[] = {
        "connection", "content-length",    "date",
        "keep-alive", "proxy-connection",  "te",
        "trailer",    "transfer-encoding", "upgrade",
    };

    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (name.len == strlen(ours[i]) &&
            strncasecmp(name.ptr, ours[i], name.len) == 0)
            return true;
    return false;
}

static bool is_value(struct mp_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (((unsigned char)s.ptr[i] < 0x20 && s.ptr[i] != '\t') ||
            s.ptr[i] == 0x7f)
            return false;
    return true;
}

/* False: they would not fit. */
static bool set_headers(struct http_call *c, const struct mp_answer *a)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < a->n_headers; i++) {
        const struct mp_pair *h = &a->headers[i];
        struct mp_slice value = mp_trim(h->value);
        char *text;

        if (is_ours(h->name) || !mp_http_is_name(h->name) || !is_value(value))
            continue;
        bytes += h->name.len + value.len + 4;
        if (bytes > HTTP_REPLY_HEADERS_MAX)
            return false;
        text = mp_alloc(h->name.len + value.len + 2);
        memcpy(text, h->name.ptr, h->name.len);
        text[h->name.len] = '\0';
        if (value.len)
            memcpy(text + h->name.len + 1, value.ptr, value.len);
        text[h->name.len + 1 + value.len] = '\0';
        set_header(c, text, text + h->name.len + 1);
        free(text);
    }
    return true;
}

static const char *type_of(enum mp_format format)
{
    switch (format) {
    case MP_FORMAT_JSON:
        return "application/json";
    case MP_FORMAT_TEXT:
        return "text/plain; charset=utf-8";
    case MP_FORMAT_CBOR:
        return "application/cbor";
    default:
        return "application/octet-stream";
    }
}

static bool has_data(unsigned status)
{
    return status != MHD_HTTP_NO_CONTENT && status != MHD_HTTP_NOT_MODIFIED &&
           status != MHD_HTTP_RESET_CONTENT;
}

static void data(struct http_call *c, unsigned status,
                 const struct mp_answer *a)
{
    static const struct mp_slice none;
    bool with = a->data.ptr && has_data(status);

    make(c, status, with ? a->data : none);
    if (!set_headers(c, a)) {
        MHD_destroy_response(c->response);
        c->response = NULL;
        mp_http_problem(c, MHD_HTTP_INTERNAL_SERVER_ERROR,
                        "the function's headers have more than %d bytes",
                        HTTP_REPLY_HEADERS_MAX);
        return;
    }
    if (with && !MHD_get_response_header(c->response, "Content-Type"))
        set_header(c, "Content-Type", type_of(a->format));
    if (a->max_age_s &&
        !MHD_get_response_header(c->response, "Cache-Control")) {
        char text[32];

        snprintf(text, sizeof text, "max-age=%u", a->max_age_s);
        set_header(c, "Cache-Control", text);
    }
    answered(c);
}

static void failed(struct http_call *c, unsigned status,
                   const struct mp_answer *a, const char *sentence)
{
    make_problem(c, status, a->detail.len ? a->detail : mp_slice_str(sentence));
    if (a->kind == MP_ANSWER_BUSY || a->kind == MP_ANSWER_AWAY)
        set_number(c, "Retry-After",
                   a->retry_after_s ? a->retry_after_s : HTTP_RETRY_S);
    answered(c);
}

static bool is_error(unsigned status)
{
    return status >= 400 && status < MP_HTTP_STATUSES;
}

void mp_http_answer(struct http_call *c, const struct mp_answer *a)
{
    switch (a->kind) {
    case MP_ANSWER_DONE:
        data(c, a->data.ptr ? MHD_HTTP_OK : MHD_HTTP_NO_CONTENT, a);
        return;
    case MP_ANSWER_REPLY:
        /* What is below 200 is no answer, in this protocol. */
        if (a->status >= 200 && a->status < MP_HTTP_STATUSES)
            data(c, a->status, a);
        else
            mp_http_problem(c, MHD_HTTP_INTERNAL_SERVER_ERROR,
                            "the function replied with status %u", a->status);
        return;
    case MP_ANSWER_REJECTED:
        failed(c, is_error(a->status) ? a->status : MHD_HTTP_BAD_REQUEST, a,
               "the function rejected this");
        return;
    case MP_ANSWER_FAILED:
        failed(c, MHD_HTTP_INTERNAL_SERVER_ERROR, a, "the function failed");
        return;
    case MP_ANSWER_TIMEOUT:
        failed(c, MHD_HTTP_GATEWAY_TIMEOUT, a,
               "the function took longer than it may");
        return;
    case MP_ANSWER_BUSY:
        failed(c, MHD_HTTP_TOO_MANY_REQUESTS, a,
               "the function's queue is full");
        return;
    case MP_ANSWER_AWAY:
        failed(c, MHD_HTTP_SERVICE_UNAVAILABLE, a,
               "the function is not there for now");
        return;
    case MP_ANSWER_ACCEPTED:
        make(c, MHD_HTTP_ACCEPTED, MP_S(""));
        answered(c);
        return;
    case MP_ANSWER_GONE:
        failed(c, MHD_HTTP_NOT_FOUND, a, "the function went away");
        return;
    }
}

/* ---- asynchronous ones ---- */

static void accepted(struct http_call *c, struct mp_slice name)
{
    char location[sizeof "/results/" + MP_RESULT_NAME];

    MP_ASSERT(name.len == MP_RESULT_NAME);
    snprintf(location, sizeof location, "/results/%.*s", MP_FMT(name));
    make(c, MHD_HTTP_ACCEPTED, MP_S(""));
    set_header(c, "Location", location);
    set_header(c, "Cache-Control", "no-store");
}

void mp_http_accepted(struct http_call *c, struct mp_slice name,
                      struct mp_slice id, bool preferred)
{
    char text[MP_EVENT_ID_MAX + 1];

    MP_ASSERT(id.len < sizeof text);
    memcpy(text, id.ptr, id.len);
    text[id.len] = '\0';
    accepted(c, name);
    set_header(c, "X-Call-Id", text);
    if (preferred)
        set_header(c, "Preference-Applied", "respond-async");
    answered(c);
}

void mp_http_running(struct http_call *c, struct mp_slice name)
{
    accepted(c, name);
    set_number(c, "Retry-After", HTTP_RETRY_S);
    answered(c);
}

/* ---- to the library ---- */

enum MHD_Result mp_http_reply(struct http_call *c)
{
    enum MHD_Result result;

    MP_ASSERT(c->answered);
    result = MHD_queue_response(c->conn->con, c->status, c->response);
    MHD_destroy_response(c->response);
    c->response = NULL;
    mp_http_requests[c->status]++;
    return result;
}
