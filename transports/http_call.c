/*
 * http_call.c - one request, from its head to its answer.
 *
 * Who answers is looked up when the head is there, so that a body nobody wants
 * isn't read, and once more when the body is there and the endpoints have
 * changed meanwhile: they are borrowed only until then.
 *
 * A request that is refused is answered at once when no body comes; else its
 * body is skipped first, up to a bound, so that the connection lives on.
 */
#include "transports/http_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/results.h"

static const char ASYNC[] = "/async-function/", SYNC[] = "/function/";

/* ---- memory ---- */

struct http_call *mp_http_call_new(struct http_conn *conn, const char *raw)
{
    struct http_call *c = mp_zalloc(sizeof *c);

    c->http = conn->http;
    c->conn = conn;
    c->raw = mp_strndup(raw, strlen(raw));
    mp_list_append(&c->http->calls, &c->link);
    return c;
}

void mp_http_free_body(struct http_call *c)
{
    mp_buf_fini(&c->body);
    c->http->receiving -= c->reserved;
    c->reserved = 0;
}

void mp_http_call_free(struct http_call *c)
{
    mp_http_call_detach(c);
    mp_list_unlink(&c->link);
    c->http->n_busy -= c->busy;
    mp_http_free_body(c);
    mp_http_target_fini(&c->target);
    if (c->response)
        MHD_destroy_response(c->response);
    free(c->raw);
    free(c);
}

/* False: there is no room; it is answered. */
static bool reserve(struct http_call *c, size_t bytes)
{
    struct http *h = c->http;

    if (bytes <= c->reserved)
        return true;
    if (h->receiving - c->reserved + bytes > HTTP_BODIES_MAX) {
        mp_http_busy(c, MHD_HTTP_SERVICE_UNAVAILABLE, HTTP_RETRY_S,
                     "too many bodies are being received");
        return false;
    }
    h->receiving += bytes - c->reserved;
    c->reserved = bytes;
    return true;
}

/* ---- results of asynchronous requests ---- */

/* Its name is a capability: who knows it was told it, and may read it, whatever
 * the endpoint asked for. */
static void answer_result(struct http_call *c)
{
    struct mp_slice name = c->target.result;
    struct mp_answer a;

    if (c->is_options) {
        mp_http_options(c, 1U << MP_GET);
        return;
    }
    if (c->method != MP_GET && c->method != MP_HEAD) {
        mp_http_not_allowed(c, 1U << MP_GET);
        return;
    }
    switch (
        mp_results_get(mp_host_results(c->http->host), name, &a, mp_now_us())) {
    case MP_RESULT_UNKNOWN:
        mp_http_problem(c, MHD_HTTP_NOT_FOUND,
                        "there is no such result, or no more");
        return;
    case MP_RESULT_RUNS:
        mp_http_running(c, name);
        return;
    case MP_RESULT_IS:
        mp_http_answer(c, &a);
        return;
    }
}

/* ---- who answers ---- */

static bool is_trusted(const struct http_call *c)
{
    return c->conn->loopback || c->http->config->http.open;
}

static enum mp_method method_of(const char *name)
{
    enum mp_method m = MP_GET;

    while (m < MP_METHODS && strcmp(name, mp_method_name(m)) != 0)
        m++;
    return m == MP_FETCH || m == MP_IPATCH ? MP_METHODS : m;
}

/* "/async-function/X" is "/function/X" with Prefer: respond-async. */
static const struct mp_endpoint *find(struct http_call *c, unsigned *allowed)
{
    struct http *h = c->http;
    struct http_target *t = &c->target;
    const struct mp_endpoint *e;
    size_t cut = sizeof ASYNC - sizeof SYNC;

    e = mp_endpoint_find(h->endpoints, h->n_endpoints, c->method, t->path,
                         allowed);
    if (e || *allowed || t->path.len < sizeof ASYNC ||
        memcmp(t->path.ptr, ASYNC, sizeof ASYNC - 1) != 0)
        return e;
    t->path = mp_slice(t->path.ptr + cut, t->path.len - cut);
    memcpy(t->text + cut, SYNC, sizeof SYNC - 1);
    c->wants_async = true;
    return mp_endpoint_find(h->endpoints, h->n_endpoints, c->method, t->path,
                            allowed);
}

/* All that can be told before the body is there.  False: it is answered. */
static bool may_ask(struct http_call *c, const struct mp_endpoint *e)
{
    switch (e->auth) {
    case MP_AUTH_NONE:
        if (is_trusted(c))
            return true;
        break;
    case MP_AUTH_TOKEN:
        if (mp_http_token(mp_http_header(c, "Authorization"), e->secret))
            return true;
        mp_http_problem_with(c, MHD_HTTP_UNAUTHORIZED, "WWW-Authenticate",
                             "Bearer realm=\"moonpool\"",
                             "the token is missing or wrong");
        return false;
    case MP_AUTH_HMAC:
        return true; /* when the body is there */
    case MP_AUTH_DTLS:
        break; /* CoAP's */
    }
    mp_http_problem(c, MHD_HTTP_FORBIDDEN,
                    "this path answers only clients on the gateway itself");
    return false;
}

/* False: it is answered. */
static bool judge(struct http_call *c)
{
    unsigned allowed;

    c->generation = c->http->generation;
    c->endpoint = find(c, &allowed);
    if (c->endpoint)
        return may_ask(c, c->endpoint);
    if (!allowed)
        mp_http_problem(c, MHD_HTTP_NOT_FOUND, "no function answers here");
    else if (c->is_options)
        mp_http_options(c, allowed);
    else
        mp_http_not_allowed(c, allowed);
    return false;
}

/* Is anything taken now?  False: it is answered. */
static bool is_open(struct http_call *c)
{
    struct http *h = c->http;
    const char *sentence;

    if (h->draining)
        sentence = "the host stops";
    else if (h->paused)
        sentence = "the store is full";
    else if (h->away)
        sentence = "the store is not there for now";
    else if (h->n_flights >= HTTP_FLIGHTS_EACH * h->config->http.connections)
        sentence = "too many requests are in work";
    else
        return true;
    mp_http_busy(c, MHD_HTTP_SERVICE_UNAVAILABLE, HTTP_RETRY_S, sentence);
    return false;
}

/* ---- the head ---- */

static bool too_large(struct http_call *c, size_t max)
{
    mp_http_problem(c, MHD_HTTP_CONTENT_TOO_LARGE,
                    "a body has at most %zu bytes here", max);
    return false;
}

/* False: it is answered. */
static bool parse(struct http_call *c, const char *method)
{
    struct mp_why why;
    unsigned status = mp_http_head_check(c, &why);

    c->method = method_of(method);
    c->is_options = strcmp(method, "OPTIONS") == 0;
    c->wants_async = mp_http_prefers_async(c);
    if (status)
        c->close = true; /* what comes next on it may be part of this */
    else
        status = mp_http_target_parse(&c->target, mp_slice_str(c->raw), &why);
    if (!status)
        return true;
    mp_http_problem(c, status, "%s", why.text);
    return false;
}

void mp_http_call_head(struct http_call *c, const char *method)
{
    uint64_t len;

    c->parsed = true;
    if (!parse(c, method))
        return;
    if (c->target.is_star) {
        if (c->is_options)
            mp_http_options(c, 1U << MP_GET | 1U << MP_POST | 1U << MP_PUT |
                                   1U << MP_DELETE | 1U << MP_PATCH);
        else
            mp_http_problem(c, MHD_HTTP_BAD_REQUEST, "'*' is no path");
        return;
    }
    if (c->target.result.ptr) {
        answer_result(c);
        return;
    }
    if (!judge(c) || !is_open(c))
        return;
    c->max_payload = c->endpoint->max_payload;
    mp_buf_init(&c->body, c->max_payload);
    if (!mp_http_length(c, &len))
        return;
    if (len > c->max_payload)
        too_large(c, c->max_payload);
    else
        reserve(c, (size_t)len);
}

/* ---- the body ---- */

bool mp_http_call_body(struct http_call *c, const char *bytes, size_t len)
{
    char text[64];

    if (!c->answered && len > c->max_payload - c->body.len)
        too_large(c, c->max_payload);
    if (!c->answered && reserve(c, c->body.len + len))
        mp_buf_put(&c->body, bytes, len);
    if (!c->answered)
        return true;
    mp_http_free_body(c);
    c->skipped += len;
    if (c->skipped <= HTTP_SKIP_MAX)
        return true;
    snprintf(text, sizeof text, "a body has at most %zu bytes here",
             c->max_payload);
    mp_http_say(c->http, c->conn->fd, c->status,
                c->status == MHD_HTTP_CONTENT_TOO_LARGE
                    ? text
                    : "the rest of the body was not read");
    return false;
}

/* ---- the end of it ---- */

static bool is_signed(struct http_call *c, const struct mp_endpoint *e)
{
    if (e->auth != MP_AUTH_HMAC ||
        mp_http_hmac(mp_http_header(c, e->header), e->secret,
                     mp_buf_bytes(&c->body)))
        return true;
    mp_http_problem_with(c, MHD_HTTP_UNAUTHORIZED, "WWW-Authenticate",
                         "HMAC-SHA256 realm=\"moonpool\"",
                         "the signature in '%s' is missing or wrong",
                         e->header);
    return false;
}

void mp_http_call_hand(struct http_call *c)
{
    c->handed = true;
    if (c->generation != c->http->generation && !judge(c))
        return;
    if (c->body.len > c->endpoint->max_payload) {
        too_large(c, c->endpoint->max_payload);
        return;
    }
    if (!is_signed(c, c->endpoint) || !is_open(c))
        return;
    if (!mp_http_fly(c, c->endpoint))
        mp_http_problem(c, MHD_HTTP_CONFLICT,
                        "a request with this Idempotency-Key is in work");
}
