/*
 * host_reply.c - the answer to a message that came with a response topic.
 *
 *   ok          what the handler returned; it returned nothing: no reply
 *   given up    problem details, and the user property `status`
 *
 * A reply is an output like any other: with the transaction of what was done,
 * or confirmed by the broker before its request is acknowledged.  It carries
 * the correlation data of the request and lives as long as what is left of the
 * request's expiry; what has expired has no reader any more.
 *
 * A function needs no grant to answer.  So where answers may go is not the
 * requester's to say alone: [mqtt] reply_topics, and never a topic of the host
 * or of the broker.
 */
#include <stdio.h>
#include <strings.h>

#include "core/base/clock.h"
#include "core/base/topic.h"
#include "core/base/utf8.h"
#include "core/host_impl.h"
#include "core/log.h"
#include "core/problem.h"

#define SAY_AGAIN_US (60 * MP_SECOND)

enum {
    STATUS_DIGITS = 12,
    PROBLEM_BYTES = 6 * MP_PROBLEM_DETAIL + 256, /* \u0000 is the longest */
};

/* ---- may it be answered? ---- */

static bool is_below(struct mp_slice topic, struct mp_slice prefix)
{
    return prefix.len && topic.len >= prefix.len &&
           memcmp(topic.ptr, prefix.ptr, prefix.len) == 0 &&
           (topic.len == prefix.len || topic.ptr[prefix.len] == '/');
}

static bool is_listed(char *const *filters, struct mp_slice topic)
{
    if (!filters || !*filters)
        return true;
    for (; *filters; filters++)
        if (mp_filter_match(mp_slice_str(*filters), topic))
            return true;
    return false;
}

/* Why nothing is sent there; NULL: it may be. */
static const char *no_topic(const struct mp_config *config,
                            struct mp_slice topic)
{
    struct mp_why why;

    if (mp_topic_check(topic, &why))
        return "its response topic is none to publish to";
    if (topic.ptr[0] == '$')
        return "its response topic is the broker's";
    if (is_below(topic, mp_slice_str(config->mqtt.prefix)))
        return "its response topic is the host's own";
    if (!is_listed(config->mqtt.reply_topics, topic))
        return "its response topic is not in [mqtt] reply_topics";
    return NULL;
}

/* Anybody can send such requests by the thousand. */
static void say_unanswered(struct mp_host *h, const struct mp_invocation *inv,
                           const char *why)
{
    const struct mp_input *in = inv->input;
    int64_t now_us = mp_now_us();

    h->unanswered++;
    if (h->unanswered_us && now_us - h->unanswered_us < SAY_AGAIN_US)
        return;
    h->unanswered_us = now_us;
    mp_log(MP_WARN, "mqtt",
           MP_FIELDS(MP_TEXT("function", mp_slice_str(inv->slot->name)),
                     MP_TEXT("topic", in->topic),
                     MP_TEXT("response_topic", in->response_topic),
                     MP_NUM("unanswered", (int64_t)h->unanswered)),
           "a request gets no reply: %s", why);
    h->unanswered = 0;
}

/* Begin one; false: there is none to be sent. */
static bool begin(struct mp_host *h, const struct mp_invocation *inv,
                  struct mp_output *o)
{
    const struct mp_input *in = inv->input;
    int64_t left_us =
        in->expiry_s * MP_SECOND - (mp_now_us() - in->received_us);
    const char *why;

    if (in->type != MP_EVENT_MQTT || !in->response_topic.ptr ||
        (in->has_expiry && left_us <= 0))
        return false;
    why = no_topic(h->config, in->response_topic);
    if (why) {
        say_unanswered(h, inv, why);
        return false;
    }
    *o = (struct mp_output){
        .topic = in->response_topic,
        .correlation = in->correlation,
        .traceparent = in->traceparent,
        .qos = in->qos,
        .has_expiry = in->has_expiry,
        .expiry_s = in->has_expiry
                        ? (uint32_t)((left_us + MP_SECOND - 1) / MP_SECOND)
                        : 0,
    };
    return true;
}

/* ---- what it says ---- */

static void put_status(struct mp_output *o, struct mp_pair *pairs,
                       unsigned status, char text[STATUS_DIGITS])
{
    int len = snprintf(text, STATUS_DIGITS, "%u", status);

    pairs[o->n_properties].name = MP_S("status");
    pairs[o->n_properties++].value = mp_slice(text, (size_t)len);
    o->properties = pairs;
}

static bool is_named(struct mp_slice name, const char *what)
{
    return name.len == strlen(what) &&
           strncasecmp(name.ptr, what, name.len) == 0;
}

/* Those that a reply has of its own. */
static bool is_ours(struct mp_slice name)
{
    return is_named(name, "status") || is_named(name, "id") ||
           is_named(name, "traceparent");
}

static bool is_text(struct mp_slice s)
{
    return s.len <= UINT16_MAX && mp_utf8_valid(s) &&
           !memchr(s.ptr ? s.ptr : "", '\0', s.len);
}

/* Headers are user properties, but for the one that MQTT has a place for. */
static void put_headers(struct mp_output *o, struct mp_pair *pairs,
                        const struct mp_outcome *out)
{
    struct mp_pair headers[MP_PAIRS_MAX];

    if (mp_read_headers(out, headers))
        return;
    for (uint32_t i = 0; i < out->n_headers; i++) {
        if (!is_text(headers[i].name) || !is_text(headers[i].value) ||
            is_ours(headers[i].name))
            continue;
        if (is_named(headers[i].name, "content-type"))
            o->content_type = headers[i].value;
        else if (o->n_properties < MP_PAIRS_MAX)
            pairs[o->n_properties++] = headers[i];
    }
}

/* Where a message carries none a reply says what it is: who asked may not
 * know the function. */
static struct mp_slice type_of(const struct mp_outcome *out)
{
    if (!out->result.len)
        return mp_slice(NULL, 0);
    if (out->result_format == MP_FORMAT_TEXT)
        return MP_S("text/plain; charset=utf-8");
    if (out->result_format == MP_FORMAT_BYTES)
        return MP_S("application/octet-stream");
    return mp_format_type(out->result_format);
}

struct mp_output *mp_host_reply(struct mp_host *h,
                                const struct mp_invocation *inv,
                                const struct mp_outcome *out, unsigned n)
{
    struct mp_pair pairs[MP_PAIRS_MAX];
    char id[MP_OUTPUT_ID_MAX], status[STATUS_DIGITS];
    struct mp_output o;

    if (out->result_kind == MP_RESULT_NONE || !begin(h, inv, &o))
        return NULL;
    o.id = mp_slice(id, mp_output_id(inv, n, id, sizeof id));
    o.data = out->result;
    o.content_type = type_of(out);
    if (out->result_kind == MP_RESULT_REPLY) {
        put_status(&o, pairs, out->status, status);
        put_headers(&o, pairs, out);
    }
    return mp_output_copy(&o);
}

static unsigned status_of(enum mp_dead why, const struct mp_outcome *out)
{
    switch (why) {
    case MP_DEAD_REJECTED:
        return out->status >= 400 && out->status < 600 ? out->status : 400;
    case MP_DEAD_TIMEOUT:
        return 504;
    case MP_DEAD_FULL:
        return 503;
    default:
        return 500;
    }
}

struct mp_output *mp_host_reply_problem(struct mp_host *h,
                                        const struct mp_invocation *inv,
                                        enum mp_dead why,
                                        const struct mp_outcome *out)
{
    struct mp_pair pair;
    char id[MP_OUTPUT_ID_MAX], status[STATUS_DIGITS];
    struct mp_problem p = {.status = status_of(why, out)};
    struct mp_output o, *copy;
    struct mp_buf text;
    int len;

    if (!begin(h, inv, &o))
        return NULL;
    /* Not of the row of numbers: the event may be run again by hand, and what
     * it sends then has those. */
    len = snprintf(id, sizeof id, "%.*s/%s/problem", MP_FMT(inv->input->id),
                   inv->slot->name);
    o.id = mp_slice(id, (size_t)len);
    if (out->error.len)
        p.detail = out->error;
    mp_buf_init(&text, PROBLEM_BYTES);
    mp_problem_put(&text, &p);
    o.data = mp_buf_bytes(&text);
    o.content_type = mp_slice_str(MP_PROBLEM_TYPE);
    put_status(&o, &pair, p.status, status);
    copy = mp_output_copy(&o);
    mp_buf_fini(&text);
    return copy;
}
