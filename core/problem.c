/*
 * problem.c - problem details, and the names of statuses (RFC 9110, RFC 6585).
 */
#include "core/problem.h"

#include "core/base/json.h"
#include "core/base/text.h"

static const struct {
    unsigned status;
    const char *title;
} titles[] = {
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {425, "Too Early"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {507, "Insufficient Storage"},
};

const char *mp_status_title(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(titles); i++)
        if (titles[i].status == status)
            return titles[i].title;
    if (status >= 500)
        return "Server Error";
    return status >= 400 ? "Client Error" : "OK";
}

/* A JSON string without what HTML would see. */
static void put_string(struct mp_buf *out, struct mp_slice s)
{
    struct mp_buf text;

    mp_buf_init(&text, 6 * s.len + 2); /* \u0000 is the longest */
    mp_json_put_string(&text, s);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (c == '<' || c == '>' || c == '&')
            mp_buf_printf(out, "\\u%04x", (unsigned)c);
        else
            mp_buf_put(out, &c, 1);
    }
    mp_buf_fini(&text);
}

static void put_member(struct mp_buf *out, const char *name, struct mp_slice s)
{
    if (!s.ptr)
        return;
    mp_buf_printf(out, ",\"%s\":", name);
    put_string(out, mp_cut(s, MP_PROBLEM_DETAIL));
}

void mp_problem_put(struct mp_buf *out, const struct mp_problem *p)
{
    const char *title = p->title ? p->title : mp_status_title(p->status);

    mp_buf_slice(out, MP_S("{\"title\":"));
    put_string(out, mp_slice_str(title));
    mp_buf_printf(out, ",\"status\":%u", p->status);
    put_member(out, "detail", p->detail);
    put_member(out, "type", p->type);
    put_member(out, "instance", p->instance);
    mp_buf_slice(out, MP_S("}\n"));
}
