/*
 * show.c - writes an outcome as text for people and as JSON for programs.
 *
 * Payloads are bytes: what isn't UTF-8 goes into JSON as base64 under another
 * name, so that nothing is ever changed on its way to who looks at it.
 */
#include "cli/show.h"

#include "core/base/base64.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/base/wire.h"
#include "core/config.h"
#include "core/event_json.h"
#include "core/log.h"

enum { SHOWN_DATA_MAX = 4096 }; /* bytes of a payload in a text line */

void mp_show_duration(uint64_t ns, struct mp_buf *b)
{
    static const struct {
        double unit;
        const char *name;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}};

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        double n = (double)ns / units[i].unit;

        if (n >= 0.9995) {
            mp_buf_printf(b, n < 9.95 && i < 2 ? "%.1f %s" : "%.0f %s", n,
                          units[i].name);
            return;
        }
    }
    mp_buf_printf(b, "%u ns", (unsigned)ns);
}

void mp_show_span(int64_t us, struct mp_buf *b)
{
    static const struct {
        int64_t us;
        const char *name;
    } units[] = {{86400 * MP_SECOND, "d"},
                 {3600 * MP_SECOND, "h"},
                 {60 * MP_SECOND, "m"},
                 {MP_SECOND, "s"},
                 {MP_MS, "ms"}};

    if (us < MP_MS) { /* nobody writes these */
        mp_buf_printf(b, us ? "%lldus" : "0", (long long)us);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (us >= units[i].us)
            mp_buf_printf(b, "%lld%s", (long long)(us / units[i].us),
                          units[i].name);
        us %= units[i].us;
    }
}

/* ---- JSON ---- */

static void put_name(struct mp_buf *b, const char *name)
{
    mp_json_put_string(b, mp_slice_str(name));
    mp_buf_put(b, ":", 1);
}

/* "NAME_base64":"..." */
static void put_base64(struct mp_buf *b, const char *name, struct mp_slice data)
{
    char *room;

    mp_buf_printf(b, "\"%s_base64\":\"", name);
    room = mp_buf_room(b, mp_base64_size(data.len));
    if (room) {
        mp_base64_encode(data, room);
        b->len += mp_base64_size(data.len);
    }
    mp_buf_put(b, "\"", 1);
}

/* "NAME":"text", or as base64 what isn't UTF-8. */
static void put_bytes(struct mp_buf *b, const char *name, struct mp_slice data)
{
    if (!mp_utf8_valid(data)) {
        put_base64(b, name, data);
        return;
    }
    put_name(b, name);
    mp_json_put_string(b, data);
}

/* Put text as the JSON value it is, in our own spelling; false: it is none. */
static bool put_value(struct mp_buf *b, struct mp_slice text)
{
    struct mp_tree_doc doc;
    struct mp_why why;

    if (mp_tree_parse(&doc, text, &why))
        return false;
    mp_tree_print(doc.root, b);
    mp_tree_fini(&doc);
    return true;
}

static void put_pairs(struct mp_buf *b, const struct mp_pair *pairs, uint32_t n)
{
    mp_buf_put(b, "{", 1);
    for (uint32_t i = 0; i < n; i++) {
        if (i)
            mp_buf_put(b, ",", 1);
        mp_json_put_string(b, pairs[i].name);
        mp_buf_put(b, ":", 1);
        mp_json_put_string(b, pairs[i].value);
    }
    mp_buf_put(b, "}", 1);
}

/* How a payload is put: as its text where it is one, as the JSON value it is,
 * or as base64. */
enum spelling { AS_TEXT, AS_VALUE, AS_BASE64 };

static void put_data(struct mp_buf *b, struct mp_slice data, enum spelling how)
{
    size_t mark = b->len;

    if (how == AS_VALUE) {
        put_name(b, "data");
        if (put_value(b, data))
            return;
        b->len = mark;
    }
    if (how == AS_BASE64)
        put_base64(b, "data", data);
    else
        put_bytes(b, "data", data);
}

static void put_publish(struct mp_buf *b, const struct mp_effect *e,
                        enum spelling how)
{
    mp_buf_printf(b, "\"topic\":");
    mp_json_put_string(b, e->topic);
    mp_buf_put(b, ",", 1);
    put_data(b, e->data, how);
    mp_buf_printf(b, ",\"qos\":%u,\"retain\":%s", (unsigned)e->qos,
                  e->retain ? "true" : "false");
    if (e->has_expiry)
        mp_buf_printf(b, ",\"expiry\":%u", (unsigned)e->expiry_s);
    if (e->n_properties) {
        mp_buf_printf(b, ",\"properties\":");
        put_pairs(b, e->properties, e->n_properties);
    }
}

static void put_key(struct mp_buf *b, const struct mp_effect *e)
{
    mp_buf_printf(b, ",\"key\":");
    mp_json_put_string(b, e->key);
}

static void put_seconds(struct mp_buf *b, int64_t us)
{
    if (us % MP_SECOND == 0)
        mp_json_put_int(b, us / MP_SECOND);
    else
        mp_json_put_double(b, (double)us / (double)MP_SECOND);
}

/* ,"NAME": a duration: in words where want has words, else in seconds. */
static void put_span(struct mp_buf *b, const char *name, int64_t us,
                     const struct mp_tree *want)
{
    struct mp_slice words = mp_tree_text(mp_tree_get(want, name));
    struct mp_why why;
    int64_t same;

    mp_buf_printf(b, ",\"%s\":", name);
    if (!words.ptr) {
        put_seconds(b, us);
    } else if (mp_parse_duration(words, &same, &why) == 0 && same == us) {
        mp_json_put_string(b, words);
    } else {
        mp_buf_put(b, "\"", 1);
        mp_show_span(us, b);
        mp_buf_put(b, "\"", 1);
    }
}

static void put_alarm(struct mp_buf *b, const struct mp_effect *e,
                      enum spelling how, const struct mp_tree *want)
{
    char due[MP_TIME_TEXT];

    mp_buf_printf(b, "\"name\":");
    mp_json_put_string(b, e->name);
    put_key(b, e);
    if (e->cancel) {
        mp_buf_printf(b, ",\"due\":null,\"cancel\":true");
        return;
    }
    mp_time_text(e->at_us, due);
    mp_buf_printf(b, ",\"due\":\"%s\"", due);
    if (e->after_us >= 0)
        put_span(b, "after", e->after_us, want);
    if (e->slack_us)
        put_span(b, "slack", e->slack_us, want);
    mp_buf_put(b, ",", 1);
    put_data(b, e->data, how);
}

static void put_send(struct mp_buf *b, const struct mp_effect *e,
                     enum spelling how, const struct mp_tree *want)
{
    mp_buf_printf(b, "\"function\":");
    mp_json_put_string(b, e->name);
    if (e->has_key)
        put_key(b, e);
    mp_buf_put(b, ",", 1);
    put_data(b, e->data, how);
    put_span(b, "delay", e->delay_us, want);
}

static void put_notify(struct mp_buf *b, const struct mp_effect *e,
                       enum spelling how, const struct mp_tree *want)
{
    mp_buf_printf(b, "\"path\":");
    mp_json_put_string(b, e->topic);
    mp_buf_put(b, ",", 1);
    put_data(b, e->data, how);
    put_span(b, "max_age", e->max_age_us, want);
}

static void put_change(struct mp_buf *b, const struct mp_effect *e)
{
    mp_buf_printf(b, "\"op\":\"%s\"", mp_state_op_name(e->op));
    put_key(b, e);
    mp_buf_printf(b, ",\"name\":");
    mp_json_put_string(b, e->name);
    mp_buf_printf(b, ",\"value\":");
    mp_value_json(b, &e->value);
    if (e->ttl_us)
        put_span(b, "ttl", e->ttl_us, NULL);
}

/* As the expected effect has its payload. */
static enum spelling spelling_of(const struct mp_tree *want)
{
    const struct mp_tree *data;

    if (mp_tree_get(want, "data_base64"))
        return AS_BASE64;
    data = mp_tree_get(want, "data");
    return data && data->kind != MP_TREE_STRING ? AS_VALUE : AS_TEXT;
}

/* want: the effect that is expected in its place, or NULL. */
static void put_effect(struct mp_buf *b, const struct mp_effect *e,
                       const struct mp_tree *want)
{
    static const char *const names[MP_EFFECT_KINDS] = {
        [MP_EFFECT_PUBLISH] = "publish", [MP_EFFECT_SEND] = "send",
        [MP_EFFECT_ALARM] = "alarm",     [MP_EFFECT_STATE] = "state",
        [MP_EFFECT_NOTIFY] = "notify",
    };
    enum spelling how = spelling_of(want);

    mp_buf_printf(b, "{\"kind\":\"%s\",", names[e->kind]);
    if (e->kind == MP_EFFECT_PUBLISH)
        put_publish(b, e, how);
    else if (e->kind == MP_EFFECT_SEND)
        put_send(b, e, how, want);
    else if (e->kind == MP_EFFECT_ALARM)
        put_alarm(b, e, how, want);
    else if (e->kind == MP_EFFECT_NOTIFY)
        put_notify(b, e, how, want);
    else
        put_change(b, e);
    mp_buf_put(b, "}", 1);
}

void mp_show_effects(const struct mp_outcome *out, unsigned kind,
                     const struct mp_tree *wanted, struct mp_buf *b)
{
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_effect e;
    size_t n = 0;

    mp_buf_put(b, "[", 1);
    for (uint32_t i = 0; i < out->n_effects; i++) {
        int rc = mp_read_effect(&r, &e, pairs);

        MP_ASSERT(rc == 0);
        if (kind && e.kind != kind)
            continue;
        if (n)
            mp_buf_put(b, ",", 1);
        put_effect(b, &e, wanted && n < wanted->n ? wanted->items[n] : NULL);
        n++;
    }
    mp_buf_put(b, "]", 1);
}

/* What mp.reply was given; headers and max_age where there are some. */
static void put_reply(const struct mp_outcome *out, struct mp_buf *b)
{
    bool json = out->result_format == MP_FORMAT_JSON;
    struct mp_pair headers[MP_PAIRS_MAX];

    mp_buf_printf(b, "{\"status\":%u,", (unsigned)out->status);
    put_data(b, out->result, json ? AS_VALUE : AS_TEXT);
    if (out->n_headers && mp_read_headers(out, headers) == 0) {
        mp_buf_printf(b, ",\"headers\":");
        put_pairs(b, headers, out->n_headers);
    }
    if (out->max_age_us >= 0)
        put_span(b, "max_age", out->max_age_us, NULL);
    mp_buf_put(b, "}", 1);
}

void mp_show_result(const struct mp_outcome *out, bool as_value,
                    struct mp_buf *b)
{
    bool json = out->result_format == MP_FORMAT_JSON;

    if (out->result_kind == MP_RESULT_NONE) {
        mp_json_put_null(b);
    } else if (out->result_kind == MP_RESULT_REPLY) {
        put_reply(out, b);
    } else if ((json || as_value) && put_value(b, out->result)) {
        return;
    } else if (mp_utf8_valid(out->result)) {
        mp_json_put_string(b, out->result);
    } else {
        mp_buf_put(b, "{", 1);
        put_bytes(b, "data", out->result);
        mp_buf_put(b, "}", 1);
    }
}

/* In the order of the batch, counted from 1. */
void mp_show_verdicts(const struct mp_outcome *out, struct mp_buf *b)
{
    struct mp_reader r = mp_reader(out->verdicts);
    struct mp_verdict v;

    mp_buf_put(b, "[", 1);
    for (uint32_t i = 0; i < out->n_verdicts; i++) {
        int rc = mp_read_verdict(&r, &v);

        MP_ASSERT(rc == 0);
        mp_buf_printf(b, "%s{\"event\":%u,\"%s\":", i ? "," : "",
                      (unsigned)v.event + 1, v.retry ? "retry" : "reject");
        mp_json_put_string(b, v.reason);
        mp_buf_put(b, "}", 1);
    }
    mp_buf_put(b, "]", 1);
}

static void put_logs(struct mp_buf *b, struct mp_slice logs, uint32_t n,
                     bool *first)
{
    struct mp_reader r = mp_reader(logs);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_log_line line;

    while (n--) {
        int rc = mp_read_log(&r, &line, pairs);

        MP_ASSERT(rc == 0);
        mp_buf_printf(b, "%s{\"level\":\"%s\",\"message\":", *first ? "" : ",",
                      mp_level_name(line.level));
        mp_json_put_string(b, line.message);
        mp_buf_printf(b, ",\"fields\":");
        put_pairs(b, line.fields, line.n_fields);
        mp_buf_put(b, "}", 1);
        *first = false;
    }
}

static void put_text_or_null(struct mp_buf *b, struct mp_slice text)
{
    if (text.len)
        mp_json_put_string(b, text);
    else
        mp_json_put_null(b);
}

/* {"after": SECONDS}, null where the function leaves that to [retry]. */
static void put_retry(const struct mp_outcome *out, struct mp_buf *b)
{
    if (!(out->did & MP_DID_RETRY)) {
        mp_json_put_null(b);
        return;
    }
    mp_buf_printf(b, "{\"after\":");
    if (out->retry_after_us < 0)
        mp_json_put_null(b);
    else
        put_seconds(b, out->retry_after_us);
    mp_buf_put(b, "}", 1);
}

void mp_show_json(const struct mp_shown *s, struct mp_buf *b)
{
    const struct mp_outcome *out = s->out;
    bool first = true;

    mp_buf_printf(b, "{\"outcome\":\"%s\",\"error\":", mp_kind_name(out->kind));
    put_text_or_null(b, out->error);
    mp_buf_printf(b, ",\"traceback\":");
    put_text_or_null(b, out->traceback);
    mp_buf_printf(b, ",\"result\":");
    mp_show_result(out, false, b);
    mp_buf_printf(b, ",\"effects\":");
    mp_show_effects(out, 0, NULL, b);
    mp_buf_printf(b, ",\"verdicts\":");
    mp_show_verdicts(out, b);
    mp_buf_printf(b, ",\"log\":[");
    put_logs(b, s->logs, s->n_logs, &first);
    put_logs(b, out->logs, out->n_logs, &first);
    mp_buf_printf(b, "],\"retry\":");
    put_retry(out, b);
    mp_buf_printf(b, ",\"duration_us\":%.1f,\"memory_bytes\":%u}\n",
                  (double)out->run_ns / 1e3, (unsigned)out->memory);
}

void mp_show_json_failure(struct mp_slice error, struct mp_buf *b)
{
    const struct mp_outcome out = {.kind = MP_OUT_ERROR, .error = error};

    mp_show_json(&(struct mp_shown){.out = &out}, b);
}

/* ---- text ---- */

/* Control bytes and bad UTF-8 escaped; quotes stay, as JSON has many. */
static void put_clean(struct mp_buf *b, struct mp_slice s, size_t max)
{
    size_t from = 0, end = s.len < max ? s.len : max;

    for (size_t i = 0; i <= end; i++) {
        if (i < end && s.ptr[i] != '"' && s.ptr[i] != '\\')
            continue;
        mp_put_escaped(b, mp_slice(s.ptr + from, i - from), i - from);
        if (i < end)
            mp_buf_put(b, s.ptr + i, 1);
        from = i + 1;
    }
    if (s.len > max)
        mp_buf_put(b, "...", 3);
}

void mp_show_clean(struct mp_slice text, struct mp_buf *b)
{
    put_clean(b, text, SHOWN_DATA_MAX);
}

void mp_show_log_line(const struct mp_log_line *line, struct mp_buf *b)
{
    mp_buf_printf(b, "%-5s ", mp_level_name(line->level));
    put_clean(b, line->message, SHOWN_DATA_MAX);
    for (uint32_t i = 0; i < line->n_fields; i++) {
        mp_buf_put(b, " ", 1);
        put_clean(b, line->fields[i].name, SHOWN_DATA_MAX);
        mp_buf_put(b, "=", 1);
        put_clean(b, line->fields[i].value, SHOWN_DATA_MAX);
    }
}

static void text_logs(struct mp_slice logs, uint32_t n, struct mp_buf *b)
{
    struct mp_reader r = mp_reader(logs);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_log_line line;

    while (n--) {
        int rc = mp_read_log(&r, &line, pairs);

        MP_ASSERT(rc == 0);
        mp_buf_printf(b, "log      ");
        mp_show_log_line(&line, b);
        mp_buf_put(b, "\n", 1);
    }
}

static void text_publish(const struct mp_effect *e, struct mp_buf *b)
{
    mp_buf_printf(b, "publish  ");
    put_clean(b, e->topic, MP_TOPIC_MAX);
    mp_buf_printf(b, "  qos %u%s  ", (unsigned)e->qos,
                  e->retain ? " retain" : "");
    put_clean(b, e->data, SHOWN_DATA_MAX);
}

static void text_send(const struct mp_effect *e, struct mp_buf *b)
{
    mp_buf_printf(b, "send     ");
    put_clean(b, e->name, MP_NAME_MAX);
    if (e->key.len) {
        mp_buf_printf(b, "  key ");
        put_clean(b, e->key, MP_KEY_MAX);
    }
    if (e->delay_us) {
        mp_buf_printf(b, "  in ");
        mp_show_span(e->delay_us, b);
    }
    mp_buf_printf(b, "  ");
    put_clean(b, e->data, SHOWN_DATA_MAX);
}

/* "KEY NAME", or just the name of the function's own. */
static void text_actor(const struct mp_effect *e, struct mp_buf *b)
{
    if (e->key.len) {
        put_clean(b, e->key, MP_KEY_MAX);
        mp_buf_put(b, " ", 1);
    }
    put_clean(b, e->name, MP_STATE_NAME_MAX);
}

static void text_alarm(const struct mp_effect *e, struct mp_buf *b)
{
    char due[MP_TIME_TEXT];

    mp_buf_printf(b, "alarm    ");
    text_actor(e, b);
    mp_time_text(e->at_us, due);
    if (e->cancel) {
        mp_buf_printf(b, "  cancelled");
        return;
    }
    if (e->after_us >= 0) {
        mp_buf_printf(b, "  in ");
        mp_show_span(e->after_us, b);
    } else {
        mp_buf_printf(b, "  at %s", due);
    }
    if (e->data.len) {
        mp_buf_printf(b, "  ");
        put_clean(b, e->data, SHOWN_DATA_MAX);
    }
}

static void text_change(const struct mp_effect *e, struct mp_buf *b)
{
    struct mp_buf value;

    mp_buf_printf(b, "state    ");
    text_actor(e, b);
    if (e->value.kind == MP_VALUE_NONE) {
        mp_buf_printf(b, " deleted");
        return;
    }
    mp_buf_init(&value, 8 * MP_STATE_VALUE_MAX);
    mp_value_json(&value, &e->value);
    mp_buf_printf(b, " = ");
    put_clean(b, mp_buf_bytes(&value), SHOWN_DATA_MAX);
    mp_buf_fini(&value);
    if (e->ttl_us) {
        mp_buf_printf(b, "  for ");
        mp_show_span(e->ttl_us, b);
    }
}

static void text_notify(const struct mp_effect *e, struct mp_buf *b)
{
    mp_buf_printf(b, "notify   ");
    put_clean(b, e->topic, MP_TOPIC_MAX);
    mp_buf_printf(b, "  for ");
    mp_show_span(e->max_age_us, b);
    mp_buf_printf(b, "  ");
    put_clean(b, e->data, SHOWN_DATA_MAX);
}

/* "retry    2: busy" */
static void text_verdicts(const struct mp_outcome *out, struct mp_buf *b)
{
    struct mp_reader r = mp_reader(out->verdicts);
    struct mp_verdict v;

    for (uint32_t i = 0; i < out->n_verdicts; i++) {
        int rc = mp_read_verdict(&r, &v);

        MP_ASSERT(rc == 0);
        mp_buf_printf(b, "%-8s %u: ", v.retry ? "retry" : "reject",
                      (unsigned)v.event + 1);
        put_clean(b, v.reason, MP_REASON_MAX);
        mp_buf_put(b, "\n", 1);
    }
}

static void text_effects(const struct mp_outcome *out, struct mp_buf *b)
{
    static void (*const put[MP_EFFECT_KINDS])(const struct mp_effect *e,
                                              struct mp_buf *b) = {
        [MP_EFFECT_PUBLISH] = text_publish, [MP_EFFECT_SEND] = text_send,
        [MP_EFFECT_ALARM] = text_alarm,     [MP_EFFECT_STATE] = text_change,
        [MP_EFFECT_NOTIFY] = text_notify,
    };
    struct mp_reader r = mp_reader(out->effects);
    struct mp_pair pairs[MP_PAIRS_MAX];
    struct mp_effect e;

    for (uint32_t i = 0; i < out->n_effects; i++) {
        int rc = mp_read_effect(&r, &e, pairs);

        MP_ASSERT(rc == 0);
        put[e.kind](&e, b);
        mp_buf_put(b, "\n", 1);
    }
}

/* Lines, each behind indent; control bytes escaped, line ends kept. */
static void text_lines(struct mp_slice text, const char *indent,
                       struct mp_buf *b)
{
    while (text.len) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end ? (size_t)(end - text.ptr) : text.len;
        size_t blank = 0;

        while (blank < len && (text.ptr[blank] == '\t'))
            blank++;
        mp_buf_printf(b, "%s%s", indent, blank ? "\t" : "");
        put_clean(b, mp_slice(text.ptr + blank, len - blank), MP_TRACEBACK_MAX);
        mp_buf_put(b, "\n", 1);
        len += end != NULL;
        text = mp_slice(text.ptr + len, text.len - len);
    }
}

/* When, if the function has a say in it. */
static void text_retry(const struct mp_outcome *out, struct mp_buf *b)
{
    mp_buf_printf(b, "retry    asks to be run again");
    if (out->retry_after_us >= 0) {
        mp_buf_printf(b, " in ");
        mp_show_span(out->retry_after_us, b);
    }
    mp_buf_put(b, "\n", 1);
}

/* "512 KB", "1 MB"; of what is used the next whole one. */
static void put_size(uint64_t bytes, struct mp_buf *b)
{
    if (bytes >= 1 << 20 && bytes % (1 << 20) == 0)
        mp_buf_printf(b, "%u MB", (unsigned)(bytes >> 20));
    else
        mp_buf_printf(b, "%u KB", (unsigned)((bytes + 1023) >> 10));
}

void mp_show_text(const struct mp_shown *s, struct mp_buf *b)
{
    const struct mp_outcome *out = s->out;

    mp_buf_printf(b, "%s  ", mp_kind_name(out->kind));
    if (out->run_ns)
        mp_show_duration(out->run_ns, b);
    else
        mp_buf_printf(b, "while loading");
    mp_buf_printf(b, " (start ");
    mp_show_duration(s->start_ns, b);
    mp_buf_put(b, ")", 1);
    if (out->memory && s->fn) {
        mp_buf_printf(b, ", ");
        put_size(out->memory, b);
        mp_buf_printf(b, " of ");
        put_size(s->fn->memory, b);
    }
    mp_buf_put(b, "\n", 1);
    text_logs(s->logs, s->n_logs, b);
    text_logs(out->logs, out->n_logs, b);
    if (out->logs_cut)
        mp_buf_printf(b, "log      %u more lines are past log_bytes\n",
                      (unsigned)out->logs_cut);
    text_effects(out, b);
    text_verdicts(out, b);
    if (out->result_kind != MP_RESULT_NONE) {
        mp_buf_printf(b, "result   ");
        mp_show_result(out, false, b);
        mp_buf_put(b, "\n", 1);
    }
    if (out->did & MP_DID_RETRY)
        text_retry(out, b);
    text_lines(out->error, "", b);
    text_lines(out->traceback, "\t", b);
}
