/*
 * test_http.c - requests in raw bytes, answers, limits, time, and ends.
 */
#include "tests/unit/http_kit.h"

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static struct mp_host *h;

static int start(void **state)
{
    (void)state;
    kit_more_len = 0;
    h = kit_start();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    kit_free(h);
    return 0;
}

/* ---- requests ---- */

static void a_request_becomes_an_input_with_all_its_parts(void **state)
{
    const struct mp_input *in;

    (void)state;
    assert_int_equal(ask(h, "PUT /rooms/kit%63hen?unit=c&name=a+b%26&x HTTP/1.1"
                            "\r\n" HOST "X-Sensor: A1\r\nX-sensor: B2\r\n"
                            "Content-Type: text/plain\r\n"
                            "traceparent: " TRACE "\r\n"
                            "Content-Length: 4\r\n\r\n21.5"),
                     200);
    in = last(h);
    assert_int_equal(in->type, MP_EVENT_HTTP);
    assert_int_equal(in->qos, 0);
    assert_slice(in->method, "PUT");
    assert_slice(in->topic, "/rooms/kitchen");
    assert_slice(in->data, "21.5");
    assert_slice(in->peer, "127.0.0.1");
    assert_slice(in->source, "http://127.0.0.1");
    assert_slice(in->datacontenttype, "text/plain");
    assert_slice(in->traceparent, TRACE);
    assert_int_equal(in->n_query, 3);
    assert_slice(pair(in->query, in->n_query, "unit"), "c");
    assert_slice(pair(in->query, in->n_query, "name"), "a b&");
    assert_slice(pair(in->query, in->n_query, "x"), "");
    assert_int_equal(in->n_headers, 5);
    assert_slice(pair(in->headers, in->n_headers, "x-sensor"), "A1, B2");
    assert_slice(pair(in->headers, in->n_headers, "host"), "gateway");
    assert_int_equal(in->n_routes, 1);
    assert_int_equal(in->routes[0], 1);
    assert_false(in->given_id);
    assert_int_equal(in->id.len, 32);
    assert_null(in->exchange.ptr);
}

static void each_request_has_an_id_of_its_own_or_the_senders(void **state)
{
    char text[300], longer[100];

    (void)state;
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_false(mp_slice_eq(h->inputs[0]->id, h->inputs[1]->id));
    assert_int_equal(
        ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "ce-id: e7\r\n\r\n"), 200);
    assert_slice(last(h)->id, "e7");
    assert_true(last(h)->given_id);
    assert_int_equal(
        ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "Idempotency-Key: k\r\n\r\n"),
        200);
    assert_slice(last(h)->id, "k");
    memset(longer, 'x', sizeof longer);
    snprintf(text, sizeof text,
             "GET /rooms/a HTTP/1.1\r\n" HOST "ce-id: %.*s\r\n\r\n",
             (int)sizeof longer, longer);
    assert_int_equal(ask(h, text), 200);
    assert_int_equal(last(h)->id.len, 32);
    assert_true(last(h)->given_id);
}

static const struct {
    const char *target;
    unsigned status;
    const char *path, *why;
} targets[] = {
    {"/rooms/a", 200, "/rooms/a", "the ordinary case"},
    {"/rooms/%61%C3%A4", 200, "/rooms/a\xc3\xa4", "decoded once"},
    {"/rooms/%2561", 200, "/rooms/%61", "and only once"},
    {"/rooms/.a", 200, "/rooms/.a", "a dot is text"},
    {"/rooms/...", 200, "/rooms/...", "three are, too"},
    {"/rooms/.", 400, NULL, "one alone is a step"},
    {"/rooms/..", 400, NULL, "and two"},
    {"/rooms/%2e", 400, NULL, "encoded"},
    {"/rooms/%2e%2E", 400, NULL, "both"},
    {"/rooms/.%2e", 400, NULL, "one of them"},
    {"/./rooms/a", 400, NULL, "at the beginning"},
    {"/rooms/../rooms/a", 400, NULL, "in the middle"},
    {"/results/..", 400, NULL, "where results are"},
    {"http://gateway:80/rooms/a?x=1", 200, "/rooms/a", "absolute form"},
    {"http://gateway", 404, NULL, "absolute, without a path"},
    {"/rooms/a?", 200, "/rooms/a", "an empty query"},
    {"/rooms/a?&&x=1&", 200, "/rooms/a", "empty parts of it"},
    {"/rooms/$x", 200, "/rooms/$x", "no wildcard leads a path"},
    {"/rooms/", 404, NULL, "a param takes a byte or more"},
    {"/rooms", 404, NULL, "a level is missing"},
    {"//rooms/a", 404, NULL, "an empty level is a level"},
    {"/rooms/a/b", 404, NULL, "one level more"},
    {"/rooms/a%2Fb", 400, NULL, "an encoded '/' is no level's end"},
    {"/rooms/%2b", 400, NULL, "'+' is a wildcard in a topic"},
    {"/rooms/+", 400, NULL, "plain, too"},
    {"/rooms/%23", 400, NULL, "'#' is one, too"},
    {"/rooms/%00", 400, NULL, "NUL"},
    {"/rooms/%0a", 400, NULL, "a line's end"},
    {"/rooms/%7f", 400, NULL, "DEL"},
    {"/rooms/%ff", 400, NULL, "no UTF-8"},
    {"/rooms/%", 400, NULL, "no digits"},
    {"/rooms/%4", 400, NULL, "one digit"},
    {"/rooms/%4g", 400, NULL, "no digit"},
    {"/rooms/a?x=%4", 400, NULL, "in the query"},
    {"/rooms/a?x=%ff", 400, NULL, "no UTF-8 in the query"},
    {"rooms/a", 400, NULL, "no path"},
    {"*", 400, NULL, "for OPTIONS only"},
};

static void a_path_is_decoded_once_and_fits_a_topic(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        char text[200];
        unsigned status;

        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" HOST "\r\n",
                 targets[i].target);
        status = ask(h, text);
        if (status != targets[i].status)
            fail_msg("%s (%s): %u", targets[i].target, targets[i].why, status);
        if (targets[i].path)
            assert_slice(last(h)->topic, targets[i].path);
        else
            assert_has("application/problem+json");
    }
}

static void a_body_comes_in_chunks_or_pieces_as_well(void **state)
{
    int fd = client(h);

    (void)state;
    say(h, fd,
        "POST /hooks/a/b HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhel");
    kit_some_turns(h);
    say(h, fd, "lo\r\n6\r\n world\r\n0\r\n\r\n");
    assert_int_equal(hear(h, fd), 200);
    assert_slice(last(h)->data, "hello world");
    say(h, fd, "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nh");
    kit_some_turns(h);
    say(h, fd, "ello");
    assert_int_equal(hear(h, fd), 200);
    assert_slice(last(h)->data, "hello");
    say(h, fd, "POST /hooks/a HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(hear(h, fd), 200);
    assert_slice(last(h)->data, "");
    close(fd);
}

static void a_large_body_arrives_whole(void **state)
{
    static char body[64 << 10];
    int fd = client(h);

    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)(i * 7);
    say(h, fd,
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 65536\r\n\r\n");
    say_bytes(h, fd, body, sizeof body);
    assert_int_equal(hear(h, fd), 200);
    assert_int_equal(last(h)->data.len, sizeof body);
    assert_memory_equal(last(h)->data.ptr, body, sizeof body);
    assert_int_equal(kit_http(h)->receiving, 0);
    close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    int fd = client(h);

    (void)state;
    h->at_once = false;
    say(h, fd,
        "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"
        "GET /rooms/b HTTP/1.1\r\n" HOST "\r\n"
        "GET /rooms/c HTTP/1.1\r\n" HOST "\r\n");
    for (unsigned i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        struct mp_answer a = {.kind = MP_ANSWER_DONE,
                              .data = mp_slice_str(name),
                              .format = MP_FORMAT_TEXT};

        UNTIL(h, h->n_inputs == i + 1);
        kit_some_turns(h);
        assert_int_equal(h->n_inputs, i + 1);
        kit_end(h, i, &a, false);
        assert_int_equal(hear(h, fd), 200);
        assert_string_equal(kit_body(), name);
    }
    close(fd);
}

static void expect_is_answered_before_the_body(void **state)
{
    int fd = client(h);

    (void)state;
    say(h, fd,
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 2\r\n"
        "Expect: 100-continue\r\n\r\n");
    assert_int_equal(hear(h, fd), 100);
    say(h, fd, "ok");
    assert_int_equal(hear(h, fd), 200);
    assert_slice(last(h)->data, "ok");
    /* Refused: nobody asks for the body. */
    say(h, fd,
        "POST /nothing HTTP/1.1\r\n" HOST "Content-Length: 2\r\n"
        "Expect: 100-continue\r\n\r\n");
    assert_int_equal(hear(h, fd), 404);
    close(fd);
}

static void head_is_get_without_its_data(void **state)
{
    int fd = client(h);

    (void)state;
    say(h, fd, "HEAD /rooms/a HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(hear_some(h, fd, true), 200);
    assert_has("Content-Length: 4\r\n");
    assert_int_equal(kit_more_len, 0);
    assert_slice(last(h)->method, "GET");
    say(h, fd, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(hear(h, fd), 200);
    close(fd);
}

static void options_and_wrong_methods_say_what_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(ask(h, "OPTIONS /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 204);
    assert_has("Allow: GET, POST, PUT, HEAD, OPTIONS\r\n");
    assert_int_equal(ask(h, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), 204);
    assert_has("Allow: GET, POST, PUT, DELETE, PATCH, HEAD, OPTIONS\r\n");
    assert_int_equal(ask(h, "DELETE /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 405);
    assert_has("Allow: GET, POST, PUT, HEAD, OPTIONS\r\n");
    assert_int_equal(ask(h, "FETCH /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 405);
    assert_int_equal(ask(h, "GET /hooks/a HTTP/1.1\r\n" HOST "\r\n"), 405);
    assert_has("Allow: POST, OPTIONS\r\n");
    assert_int_equal(ask(h, "OPTIONS /x HTTP/1.1\r\n" HOST "\r\n"), 404);
    assert_int_equal(h->n_inputs, 0);
}

/* What it must withstand; what is answered is the library's affair mostly. */
static void what_is_no_http_is_refused_and_harms_nobody(void **state)
{
    static const char *const rows[] = {
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET /rooms/a\r\n\r\n",
        "GET /rooms/a HTTP/1.1\r\n\r\n",
        "GET /rooms/a HTTP/9.9\r\n" HOST "\r\n",
        "GET /rooms/a HTTP/1.1\r\n" HOST "no colon\r\n\r\n",
        "GET /rooms/a HTTP/1.1\r\n" HOST "a b: c\r\n\r\n",
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length : 1\r\n\r\nx",
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n",
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 1x\r\n\r\n1",
        "POST /hooks/a HTTP/1.1\r\n" HOST
        "Content-Length: 99999999999999999999999\r\n\r\n1",
        "POST /hooks/a HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /hooks/a HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "POST /hooks/a HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\nxx",
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 4\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 1\r\n"
        "content-length: 2\r\n\r\nxx",
        "POST /hooks/a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n"
        "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
        "GET /rooms/a HTTP/1.1\r\n" HOST HOST "\r\n",
        "\x16\x03\x01\x02\x01\x01\xfc\x03\x03",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = client(h);
        unsigned status;

        kit_more_len = 0;
        say(h, fd, rows[i]);
        shutdown(fd, SHUT_WR);
        status = hear(h, fd);
        if (status && status < 400)
            fail_msg("%s: %u", rows[i], status);
        close(fd);
    }
    assert_int_equal(h->n_inputs, 0);
    /* A header without a name is none, to the library. */
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST ": empty\r\n\r\n"),
                     200);
    assert_int_equal(last(h)->n_headers, 1);
}

/* Not by the library, which says its header twice. */
static void without_a_host_a_request_is_refused_as_any_other(void **state)
{
    (void)state;
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\nX-A: b\r\n\r\n"), 400);
    assert_has("application/problem+json");
    assert_has("a request of HTTP/1.1 has a Host header");
    assert_int_equal(ask(h, "GET /rooms/a b HTTP/1.1\r\n" HOST "\r\n"), 400);
    assert_int_equal(h->n_inputs, 0);
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.0\r\n\r\n"), 200);
}

/* Every cut of a request, ended there, is no request. */
static void a_client_that_goes_away_in_its_request_leaves_nothing(void **state)
{
    static const char text[] =
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhell";

    (void)state;
    for (size_t len = 0; len < sizeof text; len++) {
        int fd = client(h);

        say_bytes(h, fd, text, len);
        uv_run(&h->loop, UV_RUN_NOWAIT);
        close(fd);
    }
    /* At the next tick, not when their time is up. */
    for (int64_t end = mp_now_us() + 8 * MP_SECOND;
         kit_http(h)->n_conns && mp_now_us() < end;)
        kit_turn(h, -1);
    assert_int_equal(kit_http(h)->n_conns, 0);
    assert_int_equal(h->n_inputs, 0);
    assert_int_equal(kit_http(h)->receiving, 0);
    assert_true(mp_list_empty(&kit_http(h)->calls));
}

/* ---- any bytes ---- */

enum { MUTATED_TARGETS = 20000, MUTATED_REQUESTS = 1500 };

/* Changes, takes out or doubles a few bytes; returns the new length. */
static size_t mutate(char *text, size_t len, size_t max)
{
    static const char likely[] = "%/?&=+#* \r\n:;,.0aF\x00\x7f\xff";

    for (int n = rand() % 4; n >= 0 && len; n--) {
        size_t at = (size_t)rand() % len;

        switch (rand() % 4) {
        case 0:
            text[at] = (char)rand();
            break;
        case 1:
            text[at] = likely[(size_t)rand() % (sizeof likely - 1)];
            break;
        case 2:
            memmove(text + at, text + at + 1, --len - at);
            break;
        default:
            if (len < max) {
                memmove(text + at + 1, text + at, len - at);
                len++;
            }
        }
    }
    return len;
}

/* Each in a block of exactly its size. */
static void no_bytes_of_a_target_do_harm(void **state)
{
    static const char *const seeds[] = {
        "/rooms/a%20b?x=1&y=%41+b",
        "/results/abc%2Fdef?x",
        "http://gateway:80/rooms/a?x=1",
        "*",
        "https://?x",
        "/a?p1=1&p2=2&p3&p4&p5&p6&p7&p8&p9&p10&p11&p12&p13&p14&p15&p16&p17"
        "&p18&p19&p20&p21&p22&p23&p24&p25&p26&p27&p28&p29&p30&p31&p32=%",
    };

    (void)state;
    srand(4);
    for (int i = 0; i < MUTATED_TARGETS; i++) {
        char text[300], *exact;
        const char *seed = seeds[(size_t)i % ARRAY_LEN(seeds)];
        size_t len = strlen(seed);
        struct http_target t;
        struct mp_why why = {""};

        memcpy(text, seed, len);
        len = mutate(text, len, sizeof text);
        exact = mp_alloc(len ? len : 1);
        memcpy(exact, text, len);
        if (mp_http_target_parse(&t, mp_slice(exact, len), &why)) {
            assert_true(why.text[0] != '\0');
        } else if (!t.is_star) {
            assert_true(t.path.len > 0 && t.path.ptr[0] == '/');
            assert_null(memchr(t.path.ptr, '#', t.path.len));
            assert_true(t.n_query <= MP_PAIRS_MAX);
        }
        mp_http_target_fini(&t);
        free(exact);
    }
}

static void no_bytes_of_a_request_do_harm(void **state)
{
    static const char *const seeds[] = {
        "GET /rooms/a?x=1 HTTP/1.1\r\n" HOST "Prefer: respond-async\r\n\r\n",
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello"
        "GET /rooms/a HTTP/1.0\r\n\r\n",
        "POST /hooks/a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n0\r\nx: y\r\n\r\n",
        "PUT /rooms/a HTTP/1.1\r\n" HOST "Idempotency-Key: k\r\nce-id: e\r\n"
        "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    };

    (void)state;
    srand(5);
    h->config.http.connections = 4 * MUTATED_REQUESTS;
    for (int i = 0; i < MUTATED_REQUESTS; i++) {
        const char *seed = seeds[(size_t)i % ARRAY_LEN(seeds)];
        char text[300];
        size_t len = strlen(seed);
        int fd = client(h);

        memcpy(text, seed, len);
        say_bytes(h, fd, text, mutate(text, len, sizeof text));
        uv_run(&h->loop, UV_RUN_NOWAIT);
        if (i % 2)
            shutdown(fd, SHUT_WR);
        uv_run(&h->loop, UV_RUN_NOWAIT);
        close(fd);
        kit_forget(h);
    }
    UNTIL(h, kit_http(h)->n_conns == 0);
    assert_int_equal(kit_http(h)->receiving, 0);
    assert_int_equal(kit_http(h)->n_flights, 0);
    assert_true(mp_http.idle(h->http));
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 200);
}

/* ---- answers ---- */

static const struct {
    struct mp_answer answer;
    unsigned status;
    const char *has, *body;
} answers[] = {
    {{.kind = MP_ANSWER_DONE}, 204, "HTTP/1.1 204", ""},
    {{.kind = MP_ANSWER_DONE, .data = {"{}", 2}, .format = MP_FORMAT_JSON},
     200,
     "Content-Type: application/json\r\n",
     "{}"},
    {{.kind = MP_ANSWER_DONE, .data = {"x", 1}, .format = MP_FORMAT_TEXT},
     200,
     "Content-Type: text/plain; charset=utf-8\r\n",
     "x"},
    {{.kind = MP_ANSWER_DONE, .data = {"", 0}, .format = MP_FORMAT_TEXT},
     200,
     "Content-Length: 0\r\n",
     ""},
    {{.kind = MP_ANSWER_DONE, .data = {"\xa0", 1}, .format = MP_FORMAT_CBOR},
     200,
     "Content-Type: application/cbor\r\n",
     "\xa0"},
    {{.kind = MP_ANSWER_DONE, .data = {"b", 1}, .format = MP_FORMAT_BYTES},
     200,
     "Content-Type: application/octet-stream\r\n",
     "b"},
    {{.kind = MP_ANSWER_REPLY,
      .status = 201,
      .data = {"x", 1},
      .format = MP_FORMAT_TEXT,
      .max_age_s = 60},
     201,
     "Cache-Control: max-age=60\r\n",
     "x"},
    {{.kind = MP_ANSWER_REPLY, .status = 404}, 404, "Content-Length: 0", ""},
    {{.kind = MP_ANSWER_REPLY,
      .status = 204,
      .data = {"x", 1},
      .format = MP_FORMAT_TEXT},
     204,
     "HTTP/1.1 204",
     ""},
    {{.kind = MP_ANSWER_REPLY, .status = 304}, 304, "HTTP/1.1 304", ""},
    {{.kind = MP_ANSWER_REPLY, .status = 599}, 599, "HTTP/1.1 599", ""},
    {{.kind = MP_ANSWER_REPLY, .status = 101}, 500, "status 101", NULL},
    {{.kind = MP_ANSWER_REPLY, .status = 0}, 500, "status 0", NULL},
    {{.kind = MP_ANSWER_REPLY, .status = 700}, 500, "status 700", NULL},
    {{.kind = MP_ANSWER_REJECTED, .detail = {"no <temp>", 9}},
     400,
     "no \\u003ctemp\\u003e",
     NULL},
    {{.kind = MP_ANSWER_REJECTED, .status = 422}, 422, "Unprocessable", NULL},
    {{.kind = MP_ANSWER_REJECTED, .status = 200}, 400, "rejected", NULL},
    {{.kind = MP_ANSWER_FAILED, .detail = {"main.lua:3", 10}},
     500,
     "main.lua:3",
     NULL},
    {{.kind = MP_ANSWER_TIMEOUT}, 504, "Gateway Timeout", NULL},
    {{.kind = MP_ANSWER_BUSY, .retry_after_s = 7},
     429,
     "Retry-After: 7\r\n",
     NULL},
    {{.kind = MP_ANSWER_AWAY}, 503, "Retry-After: 1\r\n", NULL},
    {{.kind = MP_ANSWER_GONE}, 404, "went away", NULL},
};

static void each_outcome_has_its_status(void **state)
{
    int fd = client(h);
    uint64_t before[MP_HTTP_STATUSES];

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(answers); i++) {
        const struct mp_answer *a = &answers[i / 2].answer;

        memcpy(before, mp_http_requests, sizeof before);
        h->at_once = i % 2;
        h->answer = *a;
        say(h, fd, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n");
        if (!h->at_once) {
            UNTIL(h, h->n_inputs == i + 1);
            kit_end(h, (unsigned)i, a, false);
        }
        assert_int_equal(hear(h, fd), answers[i / 2].status);
        assert_has(answers[i / 2].has);
        if (answers[i / 2].body)
            assert_string_equal(kit_body(), answers[i / 2].body);
        else
            assert_has("Content-Type: application/problem+json\r\n");
        assert_int_equal(mp_http_requests[answers[i / 2].status],
                         before[answers[i / 2].status] + 1);
    }
    close(fd);
}

static void a_functions_headers_go_out_but_none_that_frame(void **state)
{
    const struct mp_pair headers[] = {
        {MP_S("x-a"), MP_S("1")},
        {MP_S("Content-Type"), MP_S("image/png")},
        {MP_S("set-cookie"), MP_S("a=1")},
        {MP_S("Set-Cookie"), MP_S("b=2")},
        {MP_S("Content-Length"), MP_S("999")},
        {MP_S("transfer-encoding"), MP_S("chunked")},
        {MP_S("Connection"), MP_S("x-a")},
        {MP_S("x-evil"), MP_S("1\r\nx-worse: 2")},
        {MP_S("x bad"), MP_S("1")},
        {MP_S(""), MP_S("1")},
        {MP_S("x-nul"), {"a\0b", 3}},
        {MP_S("x-empty"), {NULL, 0}},
    };

    (void)state;
    h->answer = (struct mp_answer){.kind = MP_ANSWER_REPLY,
                                   .status = 200,
                                   .data = MP_S("png"),
                                   .headers = headers,
                                   .n_headers = ARRAY_LEN(headers)};
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_has("x-a: 1\r\n");
    assert_has("Content-Type: image/png\r\n");
    assert_has("a=1\r\n");
    assert_has("b=2\r\n");
    assert_has("Content-Length: 3\r\n");
    assert_lacks("999");
    assert_lacks("chunked");
    assert_lacks("evil");
    assert_lacks("x bad");
    assert_lacks("x-nul");
    assert_string_equal(kit_body(), "png");
}

static int start_small(void **state)
{
    (void)state;
    kit_more_len = 0;
    h = kit_new();
    h->config.http.max_header = 1024;
    kit_open(h);
    kit_endpoint(h, GET, "/rooms/{room}");
    kit_endpoint(h, POST, "/hooks/a");
    kit_serve(h);
    return 0;
}

static int start_large(void **state)
{
    start_small(state);
    kit_close(h);
    h->finished = false;
    h->config.http.max_header = 64 << 10;
    kit_open(h);
    kit_serve(h);
    return 0;
}

static void headers_of_a_reply_have_a_bound(void **state)
{
    static char value[HTTP_REPLY_HEADERS_MAX];
    struct mp_pair header = {MP_S("x-long"), {value, sizeof value - 10}};
    static char body[64 << 10];
    int fd = client(h);

    (void)state;
    memset(value, 'v', sizeof value);
    memset(body, 'b', sizeof body);
    h->answer = (struct mp_answer){.kind = MP_ANSWER_REPLY,
                                   .status = 200,
                                   .data = {body, sizeof body},
                                   .headers = &header,
                                   .n_headers = 1};
    /* As long as may be, after a header and a body as long as may be. */
    for (int i = 0; i < 3; i++) {
        size_t max = h->config.http.max_header;
        char *head = mp_alloc(max);
        int len = snprintf(head, max,
                           "POST /hooks/a HTTP/1.1\r\n" HOST
                           "Content-Length: 65536\r\nx: ");

        memset(head + len, 'x', max - (size_t)len);
        memcpy(head + max - 4, "\r\n\r\n", 4);
        say_bytes(h, fd, head, max);
        free(head);
        say_bytes(h, fd, body, sizeof body);
        assert_int_equal(hear(h, fd), 200);
        assert_has("x-long: vvv");
        assert_int_equal(strlen(kit_body()), sizeof body);
    }
    header.value.len = sizeof value;
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 500);
    assert_has("headers have more than");
    close(fd);
}

/* ---- asynchronous ---- */

/* Of the input's result; until the next call. */
static struct mp_slice result_of(const struct mp_input *in)
{
    static char name[MP_RESULT_NAME + 1];

    return mp_results_name_of(&h->results, in, name);
}

static void assert_location(const struct mp_input *in)
{
    char text[100];

    snprintf(text, sizeof text, "Location: /results/%.*s\r\n",
             MP_FMT(result_of(in)));
    assert_has(text);
}

static void an_async_request_is_told_202_when_it_is_durable(void **state)
{
    const struct mp_answer a = {
        .kind = MP_ANSWER_DONE, .data = MP_S("done"), .format = MP_FORMAT_TEXT};
    char text[200];
    int fd = client(h);

    (void)state;
    h->at_once = false;
    say(h, fd,
        "POST /hooks/a HTTP/1.1\r\n" HOST
        "Prefer: wait=5, Respond-Async; x=1\r\n\r\n");
    UNTIL(h, h->n_inputs == 1);
    assert_int_equal(last(h)->qos, 1);
    assert_null(last(h)->answer);
    kit_end(h, 0, NULL, false);
    assert_int_equal(hear(h, fd), 202);
    assert_has("Preference-Applied: respond-async\r\n");
    assert_location(last(h));
    snprintf(text, sizeof text, "X-Call-Id: %.*s\r\n", MP_FMT(last(h)->id));
    assert_has(text);
    snprintf(text, sizeof text, "GET /results/%.*s HTTP/1.1\r\n" HOST "\r\n",
             MP_FMT(result_of(last(h))));
    say(h, fd, text);
    assert_int_equal(hear(h, fd), 202);
    assert_location(last(h));
    assert_has("Retry-After: 1\r\n");
    mp_results_put(&h->results, result_of(last(h)), &a, mp_now_us());
    say(h, fd, text);
    assert_int_equal(hear(h, fd), 200);
    assert_string_equal(kit_body(), "done");
    say(h, fd, "GET /results/other HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(hear(h, fd), 404);
    say(h, fd, "PUT /results/other HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(hear(h, fd), 405);
    say(h, fd, "OPTIONS /results/other HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(hear(h, fd), 204);
    close(fd);
}

/* The function may be faster than the disk. */
static void an_answer_that_comes_before_it_is_durable_is_kept(void **state)
{
    const struct mp_answer a = {.kind = MP_ANSWER_DONE, .data = MP_S("done")};
    char text[200];
    int fd = client(h);

    (void)state;
    h->at_once = false;
    say(h, fd,
        "POST /hooks/a HTTP/1.1\r\n" HOST "ce-id: a/b c%\r\n"
        "Prefer: respond-async\r\n\r\n");
    UNTIL(h, h->n_inputs == 1);
    mp_results_put(&h->results, result_of(last(h)), &a, mp_now_us());
    kit_end(h, 0, NULL, false);
    assert_int_equal(hear(h, fd), 202);
    assert_has("X-Call-Id: a/b c%\r\n");
    snprintf(text, sizeof text, "GET /results/%.*s HTTP/1.1\r\n" HOST "\r\n",
             MP_FMT(result_of(last(h))));
    say(h, fd, text);
    assert_int_equal(hear(h, fd), 200);
    close(fd);
}

static void ask_async(const char *path, const char *id)
{
    char text[200];

    snprintf(text, sizeof text,
             "POST %s HTTP/1.1\r\n" HOST
             "ce-id: %s\r\nPrefer: respond-async\r\n\r\n",
             path, id);
    assert_int_equal(ask(h, text), 202);
}

/* Who chooses an id shall not read what is another's. */
static void one_id_at_two_paths_is_two_results(void **state)
{
    struct mp_answer a = {.kind = MP_ANSWER_DONE, .data = MP_S("a")};

    (void)state;
    ask_async("/hooks/a", "order-1");
    assert_location(h->inputs[0]);
    ask_async("/hooks/b", "order-1");
    assert_location(h->inputs[1]);
    mp_results_put(&h->results, result_of(h->inputs[0]), &a, mp_now_us());
    assert_int_equal(
        mp_results_get(&h->results, result_of(h->inputs[1]), &a, mp_now_us()),
        MP_RESULT_RUNS);
    ask_async("/hooks/a", "order-1"); /* a repeat has the same place */
    assert_location(h->inputs[0]);
}

static void an_async_request_that_is_lost_is_told_503(void **state)
{
    struct mp_answer a;
    int fd = client(h);

    (void)state;
    h->at_once = false;
    say(h, fd,
        "POST /hooks/a HTTP/1.1\r\n" HOST "Prefer: respond-async\r\n\r\n");
    UNTIL(h, h->n_inputs == 1);
    kit_end(h, 0, NULL, true);
    assert_int_equal(hear(h, fd), 503);
    assert_has("Retry-After: 1\r\n");
    assert_int_equal(
        mp_results_get(&h->results, result_of(last(h)), &a, mp_now_us()),
        MP_RESULT_UNKNOWN);
    /* And a synchronous one that nobody answered. */
    say(h, fd, "POST /hooks/a HTTP/1.1\r\n" HOST "\r\n");
    UNTIL(h, h->n_inputs == 2);
    kit_end(h, 1, NULL, true);
    assert_int_equal(hear(h, fd), 503);
    close(fd);
}

static void a_path_of_openfaas_is_async(void **state)
{
    (void)state;
    kit_endpoint(h, POST, "/function/hello");
    kit_serve(h);
    assert_int_equal(
        ask(h, "POST /async-function/hello?x=%41 HTTP/1.1\r\n" HOST "\r\n"),
        202);
    assert_slice(last(h)->topic, "/function/hello");
    assert_slice(pair(last(h)->query, last(h)->n_query, "x"), "A");
    assert_int_equal(ask(h, "POST /function/hello HTTP/1.1\r\n" HOST "\r\n"),
                     200);
    assert_int_equal(
        ask(h, "POST /async-function/other HTTP/1.1\r\n" HOST "\r\n"), 404);
    assert_int_equal(
        ask(h, "GET /async-function/hello HTTP/1.1\r\n" HOST "\r\n"), 405);
}

static void a_key_is_in_work_once(void **state)
{
    static const char text[] =
        "POST /hooks/a HTTP/1.1\r\n" HOST "Idempotency-Key: k1\r\n\r\n";
    int first = client(h);

    (void)state;
    h->at_once = false;
    say(h, first, text);
    UNTIL(h, h->n_inputs == 1);
    assert_int_equal(last(h)->exchange.len, 32);
    assert_true(last(h)->exchange_us == INT64_C(86400) * MP_SECOND);
    assert_int_equal(ask(h, text), 409);
    assert_int_equal(h->n_inputs, 1);
    h->at_once = true;
    assert_int_equal(
        ask(h, "POST /hooks/b HTTP/1.1\r\n" HOST "Idempotency-Key: k1\r\n\r\n"),
        200);
    assert_false(mp_slice_eq(h->inputs[0]->exchange, h->inputs[1]->exchange));
    kit_end(h, 0, &h->answer, false);
    assert_int_equal(hear(h, first), 200);
    assert_int_equal(ask(h, text), 200);
    assert_true(mp_slice_eq(h->inputs[0]->exchange, h->inputs[2]->exchange));
    close(first);
}

static void ask_with_key(const char *target, const char *body)
{
    char text[200];

    snprintf(text, sizeof text,
             "POST %s HTTP/1.1\r\n" HOST "Idempotency-Key: k1\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             target, strlen(body), body);
    assert_int_equal(ask(h, text), 200);
}

/* It is used again for something else: also while the first is in work. */
static void a_key_with_another_query_or_body_is_another_request(void **state)
{
    static const struct {
        const char *target, *body;
    } others[] = {
        {"/hooks/a", "5"},        {"/hooks/a?n=1", "50"},
        {"/hooks/a?n=2", "50"},   {"/hooks/a?m=1", "50"},
        {"/hooks/a?n=%31", "50"}, /* as sent */
    };
    int first = client(h);

    (void)state;
    h->at_once = false;
    say(h, first,
        "POST /hooks/a HTTP/1.1\r\n" HOST "Idempotency-Key: k1\r\n"
        "Content-Length: 2\r\n\r\n50");
    UNTIL(h, h->n_inputs == 1);
    h->at_once = true;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        ask_with_key(others[i].target, others[i].body);
        assert_int_equal(h->n_inputs, i + 2);
        for (size_t k = 0; k <= i; k++)
            assert_false(
                mp_slice_eq(h->inputs[k]->exchange, last(h)->exchange));
    }
    kit_end(h, 0, &h->answer, false);
    assert_int_equal(hear(h, first), 200);
    ask_with_key("/hooks/a", "50");
    assert_true(mp_slice_eq(h->inputs[0]->exchange, last(h)->exchange));
    close(first);
}

/* ---- bounds ---- */

static void a_body_past_max_payload_is_413(void **state)
{
    static char body[300 << 10];
    static char chunk[70 << 10];
    int fd = client(h);

    (void)state;
    memset(body, 'b', sizeof body);
    memset(chunk, 'c', sizeof chunk);
    /* Skipped: the connection lives on. */
    say(h, fd,
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 65537\r\n\r\n");
    say_bytes(h, fd, body, 65537);
    assert_int_equal(hear(h, fd), 413);
    assert_has("at most 65536 bytes");
    say(h, fd,
        "POST /hooks/a HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n11800\r\n");
    say_bytes(h, fd, chunk, 0x11800);
    say(h, fd, "\r\n0\r\n\r\n");
    assert_int_equal(hear(h, fd), 413);
    say(h, fd, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(hear(h, fd), 200);
    /* Nobody reads that much only to say no. */
    say(h, fd,
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 10000000\r\n\r\n");
    assert_int_equal(hear(h, fd), 413);
    close(fd);
    fd = client(h);
    say(h, fd,
        "POST /hooks/a HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n989680\r\n");
    for (int i = 0; i < 8; i++)
        say_bytes(h, fd, body, sizeof body / 4);
    assert_int_equal(hear(h, fd), 413);
    assert_has("at most 65536 bytes");
    close(fd);
    /* Asked for before it comes. */
    assert_int_equal(ask(h, "POST /hooks/a HTTP/1.1\r\n" HOST
                            "Content-Length: 65537\r\n"
                            "Expect: 100-continue\r\n\r\n"),
                     413);
    UNTIL(h, kit_http(h)->n_conns == 0);
    assert_int_equal(kit_http(h)->receiving, 0);
}

static void headers_past_their_bounds_are_431(void **state)
{
    char text[20 << 10];
    size_t len = (size_t)sprintf(text, "GET /rooms/a HTTP/1.1\r\n" HOST);

    (void)state;
    for (int i = 1; i < MP_PAIRS_MAX; i++)
        len += (size_t)sprintf(text + len, "x-%d: y\r\n", i);
    strcpy(text + len, "\r\n");
    assert_int_equal(ask(h, text), 200);
    assert_int_equal(last(h)->n_headers, MP_PAIRS_MAX);
    strcpy(text + len, "one: more\r\n\r\n");
    assert_int_equal(ask(h, text), 431);
    assert_has("more than 32 headers");
    len = (size_t)sprintf(text, "GET /rooms/a HTTP/1.1\r\n" HOST "x: ");
    memset(text + len, 'x', 8100 - len);
    strcpy(text + 8100, "\r\n\r\n");
    assert_int_equal(ask(h, text), 200);
    memset(text + len, 'x', 8300 - len);
    strcpy(text + 8300, "\r\n\r\n");
    assert_int_equal(ask(h, text), 431);
    assert_has("more than 8192 bytes");
    /* So many that they never were all there. */
    for (len = 0; len < sizeof text - 10;)
        len += (size_t)sprintf(text + len, "a: b\r\n");
    {
        int fd = client(h);
        unsigned status;

        say(h, fd, "GET /rooms/a HTTP/1.1\r\n" HOST);
        for (int i = 0; i < 10; i++)
            say_bytes(h, fd, text, len);
        say(h, fd, "\r\n");
        status = hear(h, fd);
        assert_true(status == 431 || status == 413 || status == 0);
        close(fd);
    }
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 200);
}

static void a_path_or_query_past_its_bounds_is_refused(void **state)
{
    char text[4096];
    size_t len = (size_t)sprintf(text, "GET /rooms/");

    (void)state;
    memset(text + len, 'x', 1100);
    strcpy(text + len + 1100, " HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(ask(h, text), 414);
    len = (size_t)sprintf(text, "GET /rooms/a?");
    for (int i = 0; i < 33; i++)
        len += (size_t)sprintf(text + len, "p%d=1&", i);
    strcpy(text + len, " HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(ask(h, text), 400);
    assert_has("too many parts");
}

static void bodies_share_a_bound(void **state)
{
    int fd[5];
    static char text[200];

    (void)state;
    for (unsigned i = 0; i < h->n_endpoints; i++)
        h->endpoints[i].max_payload = HTTP_BODIES_MAX / 4;
    kit_serve(h);
    snprintf(text, sizeof text,
             "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n",
             HTTP_BODIES_MAX / 4);
    for (int i = 0; i < 4; i++) {
        fd[i] = client(h);
        say(h, fd[i], text);
    }
    UNTIL(h, kit_http(h)->receiving == HTTP_BODIES_MAX);
    assert_int_equal(
        ask(h, "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"),
        503);
    assert_has("too many bodies");
    /* One whose length nobody told is refused when it grows. */
    assert_int_equal(ask(h, "POST /hooks/a HTTP/1.1\r\n" HOST
                            "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
                            "0\r\n\r\n"),
                     503);
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 200);
    for (int i = 0; i < 4; i++)
        close(fd[i]);
    UNTIL(h, kit_http(h)->receiving == 0);
    assert_int_equal(
        ask(h, "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx"),
        200);
}

static void an_address_holds_a_quarter_of_the_connections(void **state)
{
    int fd[9];
    struct http *http = kit_http(h);

    (void)state;
    h->config.http.connections = 8;
    for (unsigned i = 0; i < 8; i++) {
        char from[32];

        snprintf(from, sizeof from, "127.0.0.%u", 1 + i / 2);
        fd[i] = client_to(from, "127.0.0.1", h->port);
        UNTIL(h, http->n_conns == i + 1);
        if (i != 1)
            continue;
        kit_more_len = 0;
        fd[8] = client(h);
        assert_int_equal(hear(h, fd[8]), 429);
        assert_problem(429, "this address has too many connections");
        assert_has("Retry-After: 1\r\n");
        hear_end(h, fd[8]);
        close(fd[8]);
    }
    fd[8] = client_to("127.0.0.9", "127.0.0.1", h->port);
    assert_int_equal(hear(h, fd[8]), 503);
    assert_has("all connections are in use");
    close(fd[8]);
    for (int i = 0; i < 8; i++)
        close(fd[i]);
    UNTIL(h, http->n_conns == 0);
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 200);
}

static void two_hundred_wait_at_once(void **state)
{
    enum { N = 200 };
    int fd[N];
    char text[100];

    (void)state;
    h->config.http.connections = 4 * N;
    h->at_once = false;
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof text, "GET /rooms/%d HTTP/1.1\r\n" HOST "\r\n",
                 i);
        fd[i] = client(h);
        say(h, fd[i], text);
        if (i % 50 == 49)
            UNTIL(h, h->n_inputs == (unsigned)i + 1);
    }
    for (int i = N - 1; i >= 0; i--) {
        struct mp_answer a = {.kind = MP_ANSWER_DONE,
                              .data = h->inputs[i]->topic};

        kit_end(h, (unsigned)i, &a, false);
    }
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof text, "/rooms/%d", i);
        assert_int_equal(hear(h, fd[i]), 200);
        assert_string_equal(kit_body(), text);
        close(fd[i]);
    }
    assert_true(mp_http.idle(h->http) || kit_http(h)->n_busy);
    UNTIL(h, mp_http.idle(h->http));
}

static void inputs_that_clients_left_behind_are_bounded(void **state)
{
    unsigned n = 0;

    (void)state;
    h->config.http.connections = 1;
    h->at_once = false;
    for (; n < HTTP_FLIGHTS_EACH; n++) {
        int fd = client(h);
        struct linger reset = {.l_onoff = 1};

        say(h, fd, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n");
        UNTIL(h, h->n_inputs == n + 1);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
        UNTIL(h, kit_http(h)->n_conns == 0);
    }
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 503);
    assert_has("too many requests are in work");
    UNTIL(h, kit_http(h)->n_conns == 0);
    while (n--)
        kit_end(h, n, &h->answer, false);
    h->at_once = true;
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 200);
}

/* ---- time ---- */

static void a_slow_header_is_408(void **state)
{
    int fd = client(h), silent = client(h);

    (void)state;
    say(h, fd, "GET /rooms/a HTTP/1.1\r\n" HOST "x: ");
    UNTIL(h, kit_http(h)->n_conns == 2 && !mp_list_empty(&kit_http(h)->calls));
    kit_expire(h);
    assert_int_equal(hear(h, fd), 408);
    assert_has("the header took too long");
    hear_end(h, fd);
    assert_int_equal(hear(h, silent), 408);
    close(fd);
    close(silent);
    UNTIL(h, kit_http(h)->n_conns == 0);
}

static void a_slow_body_is_408(void **state)
{
    int fd = client(h);

    (void)state;
    say(h, fd, "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nx");
    UNTIL(h, kit_http(h)->receiving == 5);
    kit_expire(h);
    assert_int_equal(hear(h, fd), 408);
    assert_has("the body took too long");
    hear_end(h, fd);
    close(fd);
    UNTIL(h, kit_http(h)->n_conns == 0);
    assert_int_equal(kit_http(h)->receiving, 0);
    assert_int_equal(h->n_inputs, 0);
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    int fd = client(h);

    (void)state;
    say(h, fd, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(hear(h, fd), 200);
    UNTIL(h, mp_http.idle(h->http));
    kit_expire(h);
    hear_end(h, fd);
    close(fd);
}

static void who_waits_for_a_function_is_not_slow(void **state)
{
    int fd = client(h);

    (void)state;
    h->at_once = false;
    say(h, fd, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n");
    UNTIL(h, h->n_inputs == 1);
    kit_expire(h);
    for (int64_t end = mp_now_us() + 5 * KIT_TICK_MS * MP_MS;
         mp_now_us() < end;)
        kit_turn(h, -1);
    kit_end(h, 0, &h->answer, false);
    assert_int_equal(hear(h, fd), 200);
    close(fd);
}

/* ---- ends ---- */

static void a_half_closed_client_reads_its_answer(void **state)
{
    int fd = client(h);

    (void)state;
    h->at_once = false;
    say(h, fd, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n");
    UNTIL(h, h->n_inputs == 1);
    shutdown(fd, SHUT_WR);
    kit_some_turns(h);
    kit_end(h, 0, &h->answer, false);
    assert_int_equal(hear(h, fd), 200);
    close(fd);
    /* One that had said all before it was read. */
    fd = client(h);
    say(h, fd, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n");
    shutdown(fd, SHUT_WR);
    UNTIL(h, h->n_inputs == 2);
    kit_end(h, 1, &h->answer, false);
    assert_int_equal(hear(h, fd), 200);
    close(fd);
}

static void one_that_stays_half_closed_is_given_up(void **state)
{
    int fd = client(h);

    (void)state;
    h->at_once = false;
    say(h, fd, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n");
    UNTIL(h, h->n_inputs == 1);
    close(fd);
    UNTIL(h, mp_of(kit_http(h)->calls.next, struct http_call, link)->half_us);
    mp_of(kit_http(h)->calls.next, struct http_call, link)->half_us = 1;
    UNTIL(h, kit_http(h)->n_conns == 0);
    /* The input goes on, and its answer is dropped. */
    assert_false(mp_http.idle(h->http));
    kit_end(h, 0, &h->answer, false);
    assert_true(mp_http.idle(h->http));
}

static void functions_may_change_while_a_body_comes(void **state)
{
    int fd = client(h);

    (void)state;
    say(h, fd,
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel");
    UNTIL(h, kit_http(h)->receiving == 5);
    h->endpoints[0].id = h->endpoints[1].id = 77;
    mp_http.serve(h->http, h->endpoints, h->n_endpoints);
    say(h, fd, "lo");
    assert_int_equal(hear(h, fd), 200);
    assert_int_equal(last(h)->routes[0], 77);
    /* A smaller bound, and none at all. */
    say(h, fd,
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel");
    UNTIL(h, kit_http(h)->receiving == 5);
    h->endpoints[0].max_payload = h->endpoints[1].max_payload = 4;
    mp_http.serve(h->http, h->endpoints, h->n_endpoints);
    say(h, fd, "lo");
    assert_int_equal(hear(h, fd), 413);
    say(h, fd,
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nhel");
    UNTIL(h, kit_http(h)->receiving == 4);
    mp_http.serve(h->http, NULL, 0);
    say(h, fd, "l");
    assert_int_equal(hear(h, fd), 404);
    close(fd);
}

static void it_listens_only_while_somebody_answers(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        mp_http.serve(h->http, NULL, 0);
        assert_int_equal(client_to("127.0.0.1", "127.0.0.1", h->port), -1);
        kit_serve(h);
        assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 200);
    }
}

static void a_busy_address_is_tried_again(void **state)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)h->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    mp_http.serve(h->http, NULL, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(listen(fd, 1), 0);
    kit_serve(h);
    kit_some_turns(h);
    assert_true(kit_http(h)->again_us > 0);
    close(fd);
    kit_http(h)->again_us = 1; /* some seconds later */
    UNTIL(h, kit_http(h)->again_us == 0);
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 200);
}

static void a_full_or_lost_store_answers_503(void **state)
{
    (void)state;
    mp_http.pause(h->http, true);
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 503);
    assert_problem(503, "the store is full");
    assert_has("Retry-After: 1\r\n");
    assert_int_equal(ask(h, "GET /nothing HTTP/1.1\r\n" HOST "\r\n"), 404);
    mp_http.pause(h->http, false);
    mp_http.lost(h->http);
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 503);
    mp_http.found(h->http);
    assert_int_equal(ask(h, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n"), 200);
}

static void draining_ends_what_is_in_work_and_takes_nothing_new(void **state)
{
    int busy = client(h), old = client(h);

    (void)state;
    h->at_once = false;
    say(h, busy, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n");
    UNTIL(h, h->n_inputs == 1 && kit_http(h)->n_conns == 2);
    mp_http.drain(h->http);
    assert_int_equal(client_to("127.0.0.1", "127.0.0.1", h->port), -1);
    say(h, old, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(hear(h, old), 503);
    assert_has("Connection: close\r\n");
    hear_end(h, old);
    assert_false(mp_http.idle(h->http));
    kit_end(h, 0, &h->answer, false);
    assert_int_equal(hear(h, busy), 200);
    UNTIL(h, mp_http.idle(h->http));
    close(busy);
    close(old);
}

/* Callbacks come later, or never: both are tried. */
static void closing_answers_who_waits_and_frees_all(void **state)
{
    int wait = client(h), half = client(h), idle = client(h);

    (void)state;
    h->at_once = false;
    say(h, wait, "GET /rooms/a HTTP/1.1\r\n" HOST "\r\n");
    say(h, half,
        "POST /hooks/a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nx");
    UNTIL(h, h->n_inputs == 1 && kit_http(h)->receiving == 5 &&
                 kit_http(h)->n_conns == 3);
    kit_close(h);
    assert_int_equal(hear(h, wait), 503);
    assert_int_equal(hear(h, half), 0);
    kit_end(h, 0, &h->answer, true);
    close(wait);
    close(half);
    close(idle);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        test(a_request_becomes_an_input_with_all_its_parts),
        test(each_request_has_an_id_of_its_own_or_the_senders),
        test(a_path_is_decoded_once_and_fits_a_topic),
        test(a_body_comes_in_chunks_or_pieces_as_well),
        test(a_large_body_arrives_whole),
        test(pipelined_requests_are_answered_in_order),
        test(expect_is_answered_before_the_body),
        test(head_is_get_without_its_data),
        test(options_and_wrong_methods_say_what_is_allowed),
        test(what_is_no_http_is_refused_and_harms_nobody),
        test(without_a_host_a_request_is_refused_as_any_other),
        test(a_client_that_goes_away_in_its_request_leaves_nothing),
        test(no_bytes_of_a_target_do_harm),
        test(no_bytes_of_a_request_do_harm),
        test(each_outcome_has_its_status),
        test(a_functions_headers_go_out_but_none_that_frame),
        test(headers_of_a_reply_have_a_bound),
        cmocka_unit_test_setup_teardown(headers_of_a_reply_have_a_bound,
                                        start_small, stop),
        cmocka_unit_test_setup_teardown(headers_of_a_reply_have_a_bound,
                                        start_large, stop),
        test(an_async_request_is_told_202_when_it_is_durable),
        test(an_answer_that_comes_before_it_is_durable_is_kept),
        test(one_id_at_two_paths_is_two_results),
        test(an_async_request_that_is_lost_is_told_503),
        test(a_path_of_openfaas_is_async),
        test(a_key_is_in_work_once),
        test(a_key_with_another_query_or_body_is_another_request),
        test(a_body_past_max_payload_is_413),
        test(headers_past_their_bounds_are_431),
        test(a_path_or_query_past_its_bounds_is_refused),
        test(bodies_share_a_bound),
        test(an_address_holds_a_quarter_of_the_connections),
        test(two_hundred_wait_at_once),
        test(inputs_that_clients_left_behind_are_bounded),
        test(a_slow_header_is_408),
        test(a_slow_body_is_408),
        test(an_idle_connection_is_closed_without_a_word),
        test(who_waits_for_a_function_is_not_slow),
        test(a_half_closed_client_reads_its_answer),
        test(one_that_stays_half_closed_is_given_up),
        test(functions_may_change_while_a_body_comes),
        test(it_listens_only_while_somebody_answers),
        test(a_busy_address_is_tried_again),
        test(a_full_or_lost_store_answers_503),
        test(draining_ends_what_is_in_work_and_takes_nothing_new),
        test(closing_answers_who_waits_and_frees_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
