/*
 * api_out.c - what leaves a function by MQTT, to observers, or as its answer.
 */
#include <lauxlib.h>
#include <stdio.h>
#include <strings.h>

#include "core/base/topic.h"
#include "core/base/utf8.h"
#include "luart/api.h"
#include "luart/image.h"
#include "luart/json.h"
#include "luart/run.h"

#define TYPE_REPLY "moonpool.reply"

#define FRESH_US INT64_C(60000000) /* what is notified, unless it is said */

enum { SHOWN_MAX = 120 }; /* bytes of a bad topic in the message */

/* What mp.reply makes; its uservalues are the data and the headers. */
struct reply {
    uint32_t status, n_headers;
    enum mp_format format;
    int64_t max_age_us;
};

enum { REPLY_DATA = 1, REPLY_HEADERS, REPLY_VALUES = REPLY_HEADERS };

/* ---- publish ---- */

/* As mp_function_may_publish has it: the host would refuse the outcome. */
static bool is_hosts_own(struct mp_slice topic, struct mp_slice prefix)
{
    if (topic.ptr[0] == '$')
        return true;
    return prefix.len && topic.len >= prefix.len &&
           memcmp(topic.ptr, prefix.ptr, prefix.len) == 0 &&
           (topic.len == prefix.len || topic.ptr[prefix.len] == '/');
}

static struct mp_slice topic_at(lua_State *L, int index)
{
    const struct mp_load *load = &mp_inv.image->load;
    struct mp_slice topic;
    struct mp_why why;

    if (lua_type(L, index) != LUA_TSTRING)
        mp_api_mistyped(L, index, "publish", "the topic", "a string");
    topic.ptr = lua_tolstring(L, index, &topic.len);
    if (mp_topic_check(topic, &why))
        luaL_error(
            L, "publish: topic '%s' %s",
            lua_pushlstring(L, topic.ptr,
                            topic.len < SHOWN_MAX ? topic.len : SHOWN_MAX),
            why.text);
    if (is_hosts_own(topic, load->prefix))
        luaL_error(L, "publish to '%s' is not allowed: the host's own topics",
                   topic.ptr);
    for (uint32_t i = 0; i < load->n_grants; i++)
        if (mp_filter_match(load->grants[i], topic))
            return topic;
    mp_api_not_granted(L, "publish to", topic, "publish", load->grants,
                       load->n_grants);
    return topic;
}

static bool flag_option(lua_State *L, int options, const char *name,
                        const char *call)
{
    int type = mp_api_option(L, options, name);
    bool on = lua_toboolean(L, -1);

    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        mp_api_mistyped(L, -1, call, name, "true or false");
    lua_pop(L, 1);
    return on;
}

static void read_options(lua_State *L, int at, struct mp_effect *e,
                         struct mp_pair *properties)
{
    lua_Integer qos;
    size_t bytes = 0;

    if (mp_api_option(L, at, "qos") != LUA_TNIL) {
        qos = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
        if (qos != 0 && qos != 1)
            luaL_error(L, "publish: qos is 0 or 1");
        e->qos = (uint8_t)qos;
    }
    e->retain = flag_option(L, at, "retain", "publish");
    if (mp_api_option(L, at, "expiry") != LUA_TNIL) {
        int64_t us = mp_api_duration(L, -1, "publish: expiry");

        e->has_expiry = true;
        us = (us + 999999) / 1000000;
        e->expiry_s = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    }
    if (mp_api_option(L, at, "properties") == LUA_TNIL)
        return;
    e->n_properties = mp_api_pairs(L, lua_gettop(L), "publish", "properties",
                                   properties, MP_PAIRS_MAX);
    for (uint32_t i = 0; i < e->n_properties; i++) {
        bytes += properties[i].name.len + properties[i].value.len;
        if (properties[i].name.len > UINT16_MAX ||
            properties[i].value.len > UINT16_MAX ||
            !mp_utf8_valid(properties[i].name) ||
            !mp_utf8_valid(properties[i].value))
            luaL_error(L, "publish: properties are UTF-8 of at most 65535 "
                          "bytes");
    }
    if (bytes > MP_PROPERTIES_MAX)
        luaL_error(L, "publish: properties are more than %d bytes together",
                   MP_PROPERTIES_MAX);
}

int mp_api_publish(lua_State *L)
{
    static const char *const options[] = {"qos",    "retain",     "format",
                                          "expiry", "properties", NULL};
    struct mp_pair properties[MP_PAIRS_MAX];
    struct mp_effect e = {
        .kind = MP_EFFECT_PUBLISH, .qos = 1, .properties = properties};
    enum mp_format format = MP_FORMAT_AUTO;
    struct mp_payload p;
    size_t bytes;

    mp_api_only_in_handler(L, "publish");
    lua_settop(L, 3);
    e.topic = topic_at(L, 1);
    if (!lua_isnil(L, 3)) {
        mp_api_options(L, 3, "publish", options);
        format = mp_api_format(L, 3, "publish");
        read_options(L, 3, &e, properties);
    }
    mp_api_count_output(L, "publish");
    p = mp_api_payload(L, 2, format, "publish");
    e.data = p.data;
    e.format = p.format;
    bytes = e.topic.len + e.data.len;
    for (uint32_t i = 0; i < e.n_properties; i++)
        bytes += properties[i].name.len + properties[i].value.len;
    mp_api_put_effect(L, "publish", &e, bytes);
    return 0;
}

/* ---- notify ---- */

static bool has_control(struct mp_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
            return true;
    return false;
}

/* As the host's check has it. */
static struct mp_slice path_at(lua_State *L, int index)
{
    const struct mp_load *load = &mp_inv.image->load;
    struct mp_slice path;

    if (lua_type(L, index) != LUA_TSTRING)
        mp_api_mistyped(L, index, "notify", "the path", "a string");
    path.ptr = lua_tolstring(L, index, &path.len);
    if (path.len == 0 || path.ptr[0] != '/')
        luaL_error(L, "notify: a path begins with /, as in /rooms/1");
    if (path.len > MP_TOPIC_MAX)
        luaL_error(L, "notify: a path of %d bytes; at most %d fit",
                   (int)path.len, MP_TOPIC_MAX);
    if (has_control(path) || !mp_utf8_valid(path))
        luaL_error(L, "notify: the path is not text: it has bad UTF-8 or a "
                      "control byte");
    for (uint32_t i = 0; i < load->n_observes; i++)
        if (mp_filter_match(load->observes[i], path))
            return path;
    luaL_error(L,
               "notify: %s is answered by no observe trigger of this "
               "function",
               path.ptr);
    return path;
}

int mp_api_notify(lua_State *L)
{
    static const char *const options[] = {"format", "max_age", NULL};
    struct mp_effect e = {.kind = MP_EFFECT_NOTIFY, .max_age_us = FRESH_US};
    struct mp_payload p;
    enum mp_format format;

    mp_api_only_in_handler(L, "notify");
    lua_settop(L, 3);
    e.topic = path_at(L, 1);
    mp_api_options(L, 3, "notify", options);
    format = mp_api_format(L, 3, "notify");
    if (mp_api_option(L, 3, "max_age") != LUA_TNIL)
        e.max_age_us = mp_api_duration(L, -1, "notify: max_age");
    mp_api_count_output(L, "notify");
    p = mp_api_payload(L, 2, format, "notify");
    e.data = p.data;
    e.format = p.format;
    mp_api_put_effect(L, "notify", &e, e.topic.len + e.data.len);
    return 0;
}

/* ---- reply and result ---- */

/* What frames the message, or is about the connection. */
static bool is_hosts_header(struct mp_slice name)
{
    static const char *const all[] = {"connection",       "content-length",
                                      "keep-alive",       "te",
                                      "proxy-connection", "trailer",
                                      "upgrade",          "transfer-encoding"};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (name.len == strlen(all[i]) &&
            strncasecmp(name.ptr, all[i], name.len) == 0)
            return true;
    return false;
}

/* A field-name is a token, a value has no line ends (RFC 9110, 5.1, 5.5). */
static void check_header(lua_State *L, const struct mp_pair *h)
{
    static const char tokens[] = "!#$%&'*+-.^_`|~0123456789"
                                 "abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    bool fine = h->name.len > 0;

    for (size_t i = 0; fine && i < h->name.len; i++)
        fine = h->name.ptr[i] && strchr(tokens, h->name.ptr[i]);
    if (!fine)
        luaL_error(L, "reply: '%s' is no header's name", h->name.ptr);
    if (is_hosts_header(h->name))
        luaL_error(L, "reply: header '%s': the host sets it", h->name.ptr);
    for (size_t i = 0; i < h->value.len; i++)
        if ((unsigned char)h->value.ptr[i] < ' ' && h->value.ptr[i] != '\t')
            luaL_error(L, "reply: header '%s' has a control byte", h->name.ptr);
}

/* Push them as bytes. */
static void push_headers(lua_State *L, struct reply *r)
{
    /* Outside the arena, so that a longjmp leaves nothing. */
    static struct mp_buf bytes;
    struct mp_pair headers[MP_PAIRS_MAX];

    if (!bytes.max)
        mp_buf_init(&bytes, MP_HEADERS_BYTES);
    mp_buf_reset(&bytes);
    if (mp_api_option(L, 3, "headers") == LUA_TNIL) {
        lua_pushliteral(L, "");
        return;
    }
    r->n_headers = mp_api_pairs(L, lua_gettop(L), "reply", "headers", headers,
                                MP_PAIRS_MAX);
    for (uint32_t i = 0; i < r->n_headers; i++)
        check_header(L, &headers[i]);
    mp_put_headers(&bytes, headers, r->n_headers);
    if (bytes.full)
        luaL_error(L, "reply: headers are more than %d bytes together",
                   MP_HEADERS_BYTES);
    lua_pushlstring(L, bytes.ptr ? bytes.ptr : "", bytes.len);
}

/* HTTP's 200 to 599; CoAP's c.dd as cdd: 2.00 to 5.31. */
static uint32_t status_at(lua_State *L, int index)
{
    lua_Integer status = lua_isinteger(L, index) ? lua_tointeger(L, index) : 0;

    if (mp_inv.type == MP_EVENT_COAP &&
        (status < 200 || status > 531 || status % 100 > 31))
        luaL_error(L, "reply: the status of a CoAP answer is c.dd as a number: "
                      "200 to 531, its dd at most 31");
    if (status < 200 || status > 599)
        luaL_error(L, "reply: the status is a number from 200 to 599");
    return (uint32_t)status;
}

/* CoAP's 2.04 may have one. */
static bool has_body(uint32_t status)
{
    return mp_inv.type == MP_EVENT_COAP ||
           (status != 204 && status != 205 && status != 304);
}

/* So that who forgets to return it can be told where. */
static void note_place(lua_State *L)
{
    luaL_where(L, 1);
    snprintf(mp_inv.replied_at, sizeof mp_inv.replied_at, "%s",
             *lua_tostring(L, -1) ? lua_tostring(L, -1) : " ");
    lua_pop(L, 1);
}

int mp_api_reply(lua_State *L)
{
    static const char *const options[] = {"format", "headers", "max_age", NULL};
    struct reply r = {.format = MP_FORMAT_TEXT, .max_age_us = -1};
    struct mp_payload p = {0};
    struct reply *made;

    lua_settop(L, 3);
    r.status = status_at(L, 1);
    mp_api_options(L, 3, "reply", options);
    if (mp_api_option(L, 3, "max_age") != LUA_TNIL)
        r.max_age_us = mp_api_duration(L, -1, "reply: max_age");
    lua_settop(L, 3);
    made = lua_newuserdatauv(L, sizeof *made, REPLY_VALUES);
    push_headers(L, &r);
    lua_setiuservalue(L, 4, REPLY_HEADERS);
    lua_settop(L, 4);
    if (!lua_isnil(L, 2)) {
        enum mp_format as = mp_api_format(L, 3, "reply");

        if (as == MP_FORMAT_AUTO && lua_type(L, 2) != LUA_TSTRING)
            as = mp_inv.takes;
        p = mp_api_payload(L, 2, as, "reply");
        r.format = p.format;
    }
    if (p.data.len && !has_body(r.status))
        luaL_error(L, "reply: a %d has no body", (int)r.status);
    note_place(L);
    lua_pushlstring(L, p.data.ptr ? p.data.ptr : "", p.data.len);
    lua_setiuservalue(L, 4, REPLY_DATA);
    *made = r;
    lua_settop(L, 4);
    luaL_setmetatable(L, TYPE_REPLY);
    return 1;
}

void mp_api_open_reply(lua_State *L)
{
    luaL_newmetatable(L, TYPE_REPLY);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

static int result_value(lua_State *L, struct mp_outcome *out,
                        struct mp_why *why)
{
    struct mp_why inner;
    int rc =
        mp_api_encode(L, lua_gettop(L), mp_inv.takes, &out->result, &inner);

    if (rc == MP_EFULL)
        return mp_why_set(why, MP_EPARSE,
                          "the result is larger than limits.output_bytes "
                          "(%u) allows",
                          mp_inv.image->load.output_bytes);
    if (rc)
        return mp_why_set(why, MP_EPARSE, "the handler's result: %.400s",
                          inner.text);
    out->result_kind = MP_RESULT_VALUE;
    out->result_format = mp_inv.takes;
    return 0;
}

/* The reply on top of the stack keeps what these point to. */
static struct mp_slice reply_part(lua_State *L, int which)
{
    struct mp_slice part;

    lua_getiuservalue(L, -1, which);
    part.ptr = lua_tolstring(L, -1, &part.len);
    lua_pop(L, 1);
    return part;
}

int mp_api_result(lua_State *L, struct mp_outcome *out, struct mp_why *why)
{
    const struct reply *reply;

    out->result_format = MP_FORMAT_TEXT;
    out->max_age_us = -1;
    switch (lua_type(L, -1)) {
    case LUA_TNIL:
        out->result_kind = MP_RESULT_NONE;
        return 0;
    case LUA_TSTRING:
        out->result_kind = MP_RESULT_TEXT;
        out->result.ptr = lua_tolstring(L, -1, &out->result.len);
        break;
    case LUA_TUSERDATA:
        reply = luaL_testudata(L, -1, TYPE_REPLY);
        if (!reply)
            return result_value(L, out, why);
        out->result_kind = MP_RESULT_REPLY;
        out->result_format = reply->format;
        out->status = reply->status;
        out->max_age_us = reply->max_age_us;
        out->result = reply_part(L, REPLY_DATA);
        out->n_headers = reply->n_headers;
        out->headers = reply_part(L, REPLY_HEADERS);
        break;
    default:
        return result_value(L, out, why);
    }
    if (out->result.len > mp_api_bytes_left())
        return mp_why_set(why, MP_EPARSE,
                          "the result is larger than limits.output_bytes "
                          "(%u) allows",
                          mp_inv.image->load.output_bytes);
    return 0;
}
