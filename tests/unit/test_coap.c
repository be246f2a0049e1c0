/*
 * test_coap.c - requests in raw datagrams, repeats, blocks, observers, limits
 * and ends; real clients where they are installed.
 */
#include "tests/unit/coap_kit.h"

#include <dlfcn.h>
#include <signal.h>

#include "core/base/text.h"

#define BIT(m) (1U << (m))
#define assert_slice(s, text) assert_true(mp_slice_is((s), (text)))

static struct mp_host *h;
static int fd;
static unsigned mid;

static int start(void **state)
{
    (void)state;
    h = kit_new();
    kit_open(h);
    kit_endpoint(h, BIT(MP_GET) | BIT(MP_PUT) | BIT(MP_POST) | BIT(MP_DELETE),
                 "/rooms/{room}");
    kit_endpoint(h, BIT(MP_GET), "/temp")->observe = true;
    kit_endpoint(h, BIT(MP_POST), "/later")->async = true;
    kit_endpoint(h, BIT(MP_PUT), "/small")->max_payload = 100;
    kit_endpoint(h, BIT(MP_GET), "/secret")->auth = MP_AUTH_DTLS;
    kit_serve(h);
    fd = kit_client("127.0.0.1", h->port);
    mid = 1;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    close(fd);
    kit_free(h);
    return 0;
}

static struct kit_message request(unsigned type, unsigned code,
                                  const char *path)
{
    struct kit_message m = kit_message(type, code, mid++, "tk");

    kit_path(&m, path);
    return m;
}

static struct kit_message get(const char *path)
{
    struct kit_message m = request(CON, 1, path);

    return kit_ask(h, fd, &m);
}

/* ---- requests ---- */

static void a_request_becomes_an_input_with_all_its_parts(void **state)
{
    struct kit_message m = request(CON, 3, "/rooms/kitchen"), r;
    const struct mp_input *in;
    char source[64];
    struct sockaddr_in me = {0};
    socklen_t len = sizeof me;

    (void)state;
    kit_uint(&m, 12, 50);
    kit_option(&m, 15, "unit=c", 6);
    kit_option(&m, 15, "x", 1);
    kit_uint(&m, 17, 60);
    kit_data(&m, "21.5", 4);
    r = kit_ask(h, fd, &m);
    assert_int_equal(r.type, ACK);
    assert_int_equal(r.code, CODE(2, 4));
    assert_int_equal(r.mid, 1);
    assert_memory_equal(r.bytes + 4, "tk", 2);
    assert_slice(r.data, "21.5");
    assert_int_equal(kit_get_uint(&r, 12), 0);
    in = kit_last(h);
    getsockname(fd, (struct sockaddr *)&me, &len);
    snprintf(source, sizeof source, "coap://127.0.0.1:%u", ntohs(me.sin_port));
    assert_int_equal(in->type, MP_EVENT_COAP);
    assert_int_equal(in->qos, 0);
    assert_slice(in->method, "PUT");
    assert_slice(in->topic, "/rooms/kitchen");
    assert_slice(in->data, "21.5");
    assert_slice(in->peer, "127.0.0.1");
    assert_slice(in->source, source);
    assert_slice(in->datacontenttype, "application/json");
    assert_int_equal(in->n_headers, 1);
    assert_slice(in->headers[0].name, "accept");
    assert_slice(in->headers[0].value, "application/cbor");
    assert_int_equal(in->n_query, 2);
    assert_slice(in->query[0].name, "unit");
    assert_slice(in->query[0].value, "c");
    assert_slice(in->query[1].value, "");
    assert_int_equal(in->id.len, 32);
    assert_int_equal(in->exchange.len, 32);
    assert_int_equal(in->n_routes, 1);
    assert_null(in->identity.ptr);
}

static void codes_say_what_a_handler_returned(void **state)
{
    static const struct {
        unsigned method;
        struct mp_answer a;
        unsigned code;
    } rows[] = {
        {1, {.kind = MP_ANSWER_DONE, .data = MP_S("x")}, CODE(2, 5)},
        {1, {.kind = MP_ANSWER_DONE}, CODE(2, 5)},
        {3, {.kind = MP_ANSWER_DONE}, CODE(2, 4)},
        {4, {.kind = MP_ANSWER_DONE}, CODE(2, 2)},
        {1, {.kind = MP_ANSWER_REPLY, .status = 404}, CODE(4, 4)},
        {3, {.kind = MP_ANSWER_REPLY, .status = 201}, CODE(2, 1)},
        {1, {.kind = MP_ANSWER_REPLY, .status = 200}, CODE(2, 5)},
        {1, {.kind = MP_ANSWER_REPLY, .status = 999}, CODE(5, 0)},
        {1, {.kind = MP_ANSWER_REJECTED}, CODE(4, 0)},
        {1, {.kind = MP_ANSWER_REJECTED, .status = 422}, CODE(4, 22)},
        {1, {.kind = MP_ANSWER_FAILED}, CODE(5, 0)},
        {1, {.kind = MP_ANSWER_TIMEOUT}, CODE(5, 4)},
        {1, {.kind = MP_ANSWER_BUSY, .retry_after_s = 7}, CODE(4, 29)},
        {1, {.kind = MP_ANSWER_AWAY, .retry_after_s = 7}, CODE(5, 3)},
        {1, {.kind = MP_ANSWER_GONE}, CODE(4, 4)},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct kit_message m = request(CON, rows[i].method, "/rooms/a"), r;
        uint64_t before = mp_coap_requests[rows[i].code];

        h->answer = rows[i].a;
        r = kit_ask(h, fd, &m);
        assert_int_equal(r.code, rows[i].code);
        assert_int_equal(mp_coap_requests[r.code], before + 1);
        if (rows[i].a.retry_after_s)
            assert_int_equal(kit_get_uint(&r, 14), 7);
    }
}

static void what_no_function_may_see_is_refused(void **state)
{
    static const struct {
        const char *level, *sentence;
    } rows[] = {
        {"a/b", "a level of the path holds '/', '+' or '#'"},
        {"+", "a level of the path holds '/', '+' or '#'"},
        {"#", "a level of the path holds '/', '+' or '#'"},
        {"a\n", "a level of the path holds a control byte"},
        {"\xff", "the path is no UTF-8"},
        {"..", "a level of the path is '.' or '..'"},
    };
    struct kit_message m, r;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        m = request(CON, 1, "/rooms");
        kit_option(&m, 11, rows[i].level, strlen(rows[i].level));
        r = kit_ask(h, fd, &m);
        assert_int_equal(r.code, CODE(4, 0));
        assert_slice(r.data, rows[i].sentence);
    }
    assert_int_equal(get("/nothing").code, CODE(4, 4));
    assert_int_equal(get("/").code, CODE(4, 4));
    assert_int_equal(get("/small").code, CODE(4, 5));
    assert_int_equal(get("/secret").code, CODE(4, 1));
    m = request(CON, 1, "/rooms/a");
    kit_option(&m, 9999, "x", 1); /* critical: odd */
    r = kit_ask(h, fd, &m);
    assert_int_equal(r.code, CODE(4, 2));
    m = kit_message(CON, 3, mid++, "");
    kit_option(&m, 1, "e", 1);
    kit_path(&m, "/rooms/a");
    r = kit_ask(h, fd, &m);
    assert_int_equal(r.code, CODE(4, 2));
    m = request(CON, 3, "/small");
    kit_data(&m, (char[101]){0}, 101);
    r = kit_ask(h, fd, &m);
    assert_int_equal(r.code, CODE(4, 13));
    assert_int_equal(kit_get_uint(&r, 60), 100);
    assert_int_equal(h->n_inputs, 0);
}

static void a_late_answer_comes_by_itself_after_an_empty_ack(void **state)
{
    struct kit_message m = request(CON, 1, "/rooms/a"), r;

    (void)state;
    h->at_once = false;
    r = kit_ask(h, fd, &m);
    assert_int_equal(r.type, ACK);
    assert_int_equal(r.code, 0);
    assert_int_equal(r.len, 4);
    assert_int_equal(r.mid, 1);
    kit_send(fd, &m); /* a repeat while it is in work */
    r = kit_receive(h, fd);
    assert_int_equal(r.len, 4);
    kit_end(h, 0, &h->answer, false);
    r = kit_receive(h, fd);
    assert_int_equal(r.type, CON);
    assert_int_equal(r.code, CODE(2, 5));
    assert_memory_equal(r.bytes + 4, "tk", 2);
    assert_false(mp_coap.idle(h->coap));
    kit_confirm(fd, &r, ACK);
    UNTIL(h, mp_coap.idle(h->coap));
    assert_int_equal(h->n_inputs, 1);
}

static void a_response_that_nobody_acknowledges_is_sent_again(void **state)
{
    struct kit_message m = request(CON, 1, "/rooms/a"), r, again;

    (void)state;
    h->at_once = false;
    kit_ask(h, fd, &m);
    kit_end(h, 0, &h->answer, false);
    r = kit_receive(h, fd);
    again = kit_receive(h, fd);
    assert_int_equal(again.mid, r.mid);
    kit_confirm(fd, &again, ACK);
    UNTIL(h, mp_coap.idle(h->coap));
}

static void a_repeat_gets_the_same_response_and_runs_nothing(void **state)
{
    struct kit_message m = request(CON, 2, "/rooms/a"), r, again;

    (void)state;
    kit_data(&m, "1", 1);
    r = kit_ask(h, fd, &m);
    h->answer.data = MP_S("other");
    again = kit_ask(h, fd, &m);
    assert_int_equal(again.len, r.len);
    assert_memory_equal(again.bytes, r.bytes, r.len);
    assert_int_equal(h->n_inputs, 1);
    /* The same number, another request: a client that started anew. */
    m.bytes[m.len - 1] = '2';
    again = kit_ask(h, fd, &m);
    assert_slice(again.data, "other");
    assert_int_equal(h->n_inputs, 2);
    assert_false(mp_slice_eq(h->inputs[0]->id, h->inputs[1]->id));
    assert_false(mp_slice_eq(h->inputs[0]->exchange, h->inputs[1]->exchange));
}

/* More than libcoap is given at once, and more than one turn takes. */
static void a_burst_is_answered_one_by_one(void **state)
{
    enum { BURST = 3 * COAP_TURN };
    struct kit_message r;
    unsigned seen[BURST] = {0}, first = mid;

    (void)state;
    for (unsigned i = 0; i < BURST; i++) {
        struct kit_message m = request(CON, 2, "/rooms/a");

        kit_send(fd, &m);
    }
    for (unsigned i = 0; i < BURST; i++) {
        r = kit_receive(h, fd);
        assert_true(r.mid - first < BURST);
        seen[r.mid - first]++;
    }
    for (unsigned i = 0; i < BURST; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(h->n_inputs, BURST);
    assert_non_null(kit_coap(h)->datagrams);
    mp_coap.serve(h->coap, NULL, 0);
    assert_null(kit_coap(h)->datagrams); /* of a context that is no more */
    mp_coap.serve(h->coap, h->endpoints, h->n_endpoints);
    r = request(CON, 2, "/rooms/a");
    kit_ask(h, fd, &r);
}

static void after_a_restart_a_repeat_is_the_same_exchange(void **state)
{
    struct kit_message m = request(CON, 2, "/rooms/a");

    (void)state;
    kit_ask(h, fd, &m);
    mp_coap.serve(h->coap, NULL, 0);
    mp_coap_exchange_forget(kit_coap(h), mp_of(kit_coap(h)->exchanges.all.next,
                                               struct coap_exchange, link));
    mp_coap.serve(h->coap, h->endpoints, h->n_endpoints);
    kit_ask(h, fd, &m);
    assert_int_equal(h->n_inputs, 2);
    assert_true(mp_slice_eq(h->inputs[0]->id, h->inputs[1]->id));
    assert_true(mp_slice_eq(h->inputs[0]->exchange, h->inputs[1]->exchange));
}

/* A client that started anew, and has few numbers and no tokens. */
static void another_query_is_another_exchange(void **state)
{
    struct kit_message m = request(CON, 2, "/rooms/a");

    (void)state;
    kit_option(&m, 15, "on=1", 4);
    kit_ask(h, fd, &m);
    m.bytes[m.len - 1] = '0';
    kit_ask(h, fd, &m);
    assert_int_equal(h->n_inputs, 2);
    assert_false(mp_slice_eq(h->inputs[0]->exchange, h->inputs[1]->exchange));
}

static void what_is_not_confirmable_is_answered_once(void **state)
{
    struct kit_message m = request(NON, 1, "/rooms/a"), r;

    (void)state;
    r = kit_ask(h, fd, &m);
    assert_int_equal(r.type, NON);
    assert_int_equal(r.code, CODE(2, 5));
    assert_null(kit_last(h)->exchange.ptr);
    kit_send(fd, &m);
    kit_some_turns(h);
    assert_false(kit_read(fd, &r));
    assert_int_equal(h->n_inputs, 1);
}

static void who_wants_no_response_gets_an_empty_ack(void **state)
{
    struct kit_message m = request(CON, 3, "/rooms/a"), r;

    (void)state;
    kit_uint(&m, 258, 2);
    r = kit_ask(h, fd, &m);
    assert_int_equal(r.len, 4);
    assert_int_equal(h->n_inputs, 1);
}

static void what_the_host_lost_may_come_again(void **state)
{
    struct kit_message m = request(CON, 2, "/rooms/a"), r;

    (void)state;
    h->at_once = false;
    kit_send(fd, &m);
    UNTIL(h, h->n_inputs == 1);
    kit_end(h, 0, NULL, true);
    r = kit_receive(h, fd);
    assert_int_equal(r.code, CODE(5, 3));
    h->at_once = true;
    r = kit_ask(h, fd, &m);
    assert_int_equal(r.code, CODE(2, 4));
    assert_int_equal(h->n_inputs, 2);
}

static void while_nothing_is_taken_it_says_when_to_ask_again(void **state)
{
    struct kit_message r;

    (void)state;
    mp_coap.pause(h->coap, true);
    r = get("/rooms/a");
    assert_int_equal(r.code, CODE(5, 3));
    assert_int_equal(kit_get_uint(&r, 14), 1);
    mp_coap.pause(h->coap, false);
    mp_coap.lost(h->coap);
    assert_int_equal(get("/rooms/a").code, CODE(5, 3));
    mp_coap.found(h->coap);
    assert_int_equal(get("/rooms/a").code, CODE(2, 5));
    mp_coap.drain(h->coap);
    assert_int_equal(get("/rooms/a").code, CODE(5, 3));
    assert_true(mp_coap.idle(h->coap));
}

static void one_peer_has_so_many_requests_in_work(void **state)
{
    struct kit_message r;

    (void)state;
    h->at_once = false;
    for (unsigned i = 0; i < COAP_FLIGHTS_PEER; i++) {
        struct kit_message m = request(NON, 1, "/rooms/a");

        kit_send(fd, &m);
    }
    UNTIL(h, h->n_inputs == COAP_FLIGHTS_PEER);
    r = get("/rooms/a");
    assert_int_equal(r.code, CODE(4, 29));
}

/* ---- results ---- */

static void an_asynchronous_request_has_a_location(void **state)
{
    struct kit_message m = request(CON, 2, "/later"), r;
    char name[MP_RESULT_NAME + 1], path[64];
    struct mp_answer a = h->answer;

    (void)state;
    h->at_once = false;
    kit_send(fd, &m);
    UNTIL(h, h->n_inputs == 1);
    assert_null(kit_last(h)->answer);
    assert_int_equal(kit_last(h)->qos, 1);
    mp_results_name_of(&h->results, kit_last(h), name);
    snprintf(path, sizeof path, "/results/%s", name);
    kit_end(h, 0, NULL, false);
    r = kit_receive(h, fd);
    assert_int_equal(r.code, CODE(2, 4));
    assert_slice(kit_get(&r, 8), "results");
    assert_int_equal(get(path).code, CODE(5, 3));
    mp_results_put(&h->results, mp_slice_str(name), &a, mp_now_us());
    r = get(path);
    assert_int_equal(r.code, CODE(2, 5));
    assert_slice(r.data, "21.5");
    /* What others can work out is no way to it. */
    snprintf(path, sizeof path, "/results/%.*s", MP_FMT(kit_last(h)->id));
    assert_int_equal(get(path).code, CODE(4, 4));
    assert_int_equal(get("/results/none").code, CODE(4, 4));
}

/* ---- blocks ---- */

static void a_long_response_comes_in_blocks_and_runs_once(void **state)
{
    static char body[5000];
    char got[sizeof body];
    size_t len = 0;

    (void)state;
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)('a' + i * 7 % 26);
    h->answer.data = mp_slice(body, sizeof body);
    for (unsigned num = 0;; num++) {
        struct kit_message m = request(CON, 1, "/rooms/a"), r;

        if (num)
            kit_uint(&m, 23, num << 4 | 6);
        r = kit_ask(h, fd, &m);
        assert_int_equal(r.code, CODE(2, 5));
        assert_int_equal(kit_get_uint(&r, 23) >> 4, num);
        assert_int_equal(kit_get_uint(&r, 28), sizeof body);
        memcpy(got + len, r.data.ptr, r.data.len);
        len += r.data.len;
        if (!(kit_get_uint(&r, 23) & 8))
            break;
    }
    assert_int_equal(len, sizeof body);
    assert_memory_equal(got, body, len);
    assert_int_equal(h->n_inputs, 1);
}

static struct kit_message block(const char *path, unsigned num, bool more,
                                const void *data, size_t len)
{
    struct kit_message m = request(CON, 3, path);

    kit_uint(&m, 27, num << 4 | (more ? 8 : 0) | 2);
    kit_data(&m, data, len);
    return kit_ask(h, fd, &m);
}

static void a_body_in_blocks_is_put_together(void **state)
{
    char body[150];

    (void)state;
    memset(body, 'b', sizeof body);
    assert_int_equal(block("/rooms/a", 0, true, body, 64).code, CODE(2, 31));
    assert_int_equal(block("/rooms/a", 1, true, body, 64).code, CODE(2, 31));
    assert_int_equal(block("/rooms/a", 1, true, body, 64).code, CODE(2, 31));
    assert_int_equal(block("/rooms/a", 2, false, body, 22).code, CODE(2, 4));
    assert_int_equal(h->n_inputs, 1);
    assert_int_equal(kit_last(h)->data.len, sizeof body);
    assert_int_equal(block("/rooms/a", 1, true, body, 64).code, CODE(4, 8));
    assert_int_equal(block("/rooms/b", 0, true, body, 64).code, CODE(2, 31));
    assert_int_equal(block("/rooms/b", 2, true, body, 64).code, CODE(4, 8));
    assert_int_equal(block("/rooms/b", 0, true, body, 60).code, CODE(4, 0));
    assert_int_equal(block("/small", 0, true, body, 64).code, CODE(2, 31));
    assert_int_equal(block("/small", 1, true, body, 64).code, CODE(4, 13));
    assert_int_equal(h->n_inputs, 1);
    assert_int_equal(kit_coap(h)->n_uploads, 0);
}

static void so_many_bodies_are_on_the_way(void **state)
{
    char path[] = "/rooms/a", body[64] = "";

    (void)state;
    for (int i = 0; i < COAP_UPLOADS_MAX; i++, path[7]++)
        assert_int_equal(block(path, 0, true, body, 64).code, CODE(2, 31));
    assert_int_equal(block(path, 0, true, body, 64).code, CODE(5, 3));
    mp_coap_blocks_tick(kit_coap(h), mp_now_us() + 31 * MP_SECOND);
    assert_int_equal(block(path, 0, true, body, 64).code, CODE(2, 31));
}

/* ---- observers ---- */

static struct kit_message observe(unsigned value)
{
    struct kit_message m = kit_message(CON, 1, mid++, "ob");

    kit_uint(&m, 6, value);
    kit_path(&m, "/temp");
    return kit_ask(h, fd, &m);
}

static void who_observes_is_told_until_it_is_enough(void **state)
{
    struct kit_message r = observe(0), n;
    int64_t before = kit_get_uint(&r, 6);

    (void)state;
    assert_int_equal(r.code, CODE(2, 5));
    assert_true(before >= 0);
    mp_coap_notify(h->coap, MP_S("/temp"), MP_S("22"), MP_FORMAT_TEXT, 30);
    mp_coap_notify(h->coap, MP_S("/other"), MP_S("1"), MP_FORMAT_TEXT, 30);
    n = kit_receive(h, fd);
    assert_int_equal(n.type, CON);
    assert_slice(n.data, "22");
    assert_memory_equal(n.bytes + 4, "ob", 2);
    assert_int_equal(kit_get_uint(&n, 6), (before + 1) & 0xffffff);
    assert_int_equal(kit_get_uint(&n, 14), 30);
    kit_confirm(fd, &n, ACK);
    mp_coap_notify(h->coap, MP_S("/temp"), MP_S("23"), MP_FORMAT_TEXT, 0);
    n = kit_receive(h, fd);
    assert_int_equal(n.type, NON);
    r = observe(1);
    assert_int_equal(kit_get_uint(&r, 6), -1);
    assert_int_equal(kit_coap(h)->n_observers, 0);
    assert_int_equal(h->n_inputs, 2);
}

static void a_reset_ends_an_observation(void **state)
{
    struct kit_message n;

    (void)state;
    observe(0);
    mp_coap_notify(h->coap, MP_S("/temp"), MP_S("22"), MP_FORMAT_TEXT, 0);
    n = kit_receive(h, fd);
    kit_confirm(fd, &n, RST);
    UNTIL(h, kit_coap(h)->n_observers == 0);
}

static void there_are_so_many_observers_and_one_registers_once(void **state)
{
    struct kit_message m, r;
    char token[] = "a";

    (void)state;
    observe(0);
    observe(0);
    assert_int_equal(kit_coap(h)->n_observers, 1);
    for (int i = 0; i < 4; i++, token[0]++) {
        m = kit_message(CON, 1, mid++, token);
        kit_uint(&m, 6, 0);
        kit_path(&m, "/temp");
        r = kit_ask(h, fd, &m);
        assert_int_equal(r.code, CODE(2, 5));
    }
    assert_int_equal(kit_get_uint(&r, 6), -1);
    assert_int_equal(kit_coap(h)->n_observers, 4);
    mp_coap.serve(h->coap, h->endpoints, h->n_endpoints);
    assert_int_equal(kit_coap(h)->n_observers, 4);
    mp_coap.serve(h->coap, NULL, 0);
    assert_int_equal(kit_coap(h)->n_observers, 0);
}

static void what_changes_while_one_registers_is_not_missed(void **state)
{
    struct kit_message m = kit_message(CON, 1, mid++, "ob"), r;

    (void)state;
    h->at_once = false;
    kit_uint(&m, 6, 0);
    kit_path(&m, "/temp");
    kit_send(fd, &m);
    UNTIL(h, h->n_inputs == 1);
    mp_coap_notify(h->coap, MP_S("/temp"), MP_S("1"), MP_FORMAT_TEXT, 0);
    mp_coap_notify(h->coap, MP_S("/temp"), MP_S("2"), MP_FORMAT_TEXT, 0);
    kit_end(h, 0, &h->answer, false);
    r = kit_receive(h, fd);
    assert_slice(r.data, "21.5");
    r = kit_receive(h, fd);
    assert_slice(r.data, "2");
}

static void a_refused_registration_is_none(void **state)
{
    struct kit_message r;

    (void)state;
    h->answer = (struct mp_answer){.kind = MP_ANSWER_FAILED};
    r = observe(0);
    assert_int_equal(r.code, CODE(5, 0));
    assert_int_equal(kit_coap(h)->n_observers, 0);
}

/* ---- links ---- */

static void the_links_are_the_paths_one_may_ask(void **state)
{
    struct kit_message r = get("/.well-known/core");

    (void)state;
    assert_int_equal(kit_get_uint(&r, 12), 40);
    assert_true(memmem(r.data.ptr, r.data.len, "</temp>;obs", 11));
    assert_true(memmem(r.data.ptr, r.data.len, "</small>", 8));
    assert_null(memmem(r.data.ptr, r.data.len, "room", 4));
    assert_null(memmem(r.data.ptr, r.data.len, "secret", 6));
}

static void a_path_of_several_methods_is_one_link(void **state)
{
    struct kit_message r;
    const char *first;

    (void)state;
    kit_endpoint(h, BIT(MP_PUT), "/temp");
    kit_endpoint(h, BIT(MP_GET), "/also");
    kit_endpoint(h, BIT(MP_POST), "/temp");
    kit_serve(h);
    r = get("/.well-known/core");
    first = memmem(r.data.ptr, r.data.len, "</temp>", 7);
    assert_non_null(first);
    assert_null(memmem(first + 1, r.data.len - (size_t)(first + 1 - r.data.ptr),
                       "</temp>", 7));
}

/* ---- strangers ---- */

/* As if the peer were not on this machine. */
static struct coap_peer *estrange(void)
{
    struct coap_peer *p;

    get("/rooms/a");
    p = mp_of(kit_coap(h)->peers.next, struct coap_peer, link);
    p->loopback = p->proven = false;
    return p;
}

static void off_loopback_only_what_is_open_is_answered(void **state)
{
    (void)state;
    estrange();
    assert_int_equal(get("/rooms/a").code, CODE(4, 3));
    /* Who knows a result's name may read it. */
    assert_int_equal(get("/results/x").code, CODE(4, 4));
    h->config.coap.open = true;
    assert_int_equal(get("/rooms/a").code, CODE(2, 5));
    assert_int_equal(get("/secret").code, CODE(4, 1));
}

static void who_proved_nothing_gets_three_times_its_bytes(void **state)
{
    static char body[2000];
    struct coap_peer *p = estrange();
    struct kit_message m = request(CON, 1, "/rooms/a"), r;
    char echo[8];

    (void)state;
    h->config.coap.open = true;
    memset(body, 'x', sizeof body);
    h->answer.data = mp_slice(body, sizeof body);
    r = kit_ask(h, fd, &m);
    assert_true(r.len <= 64);
    assert_true(kit_get_uint(&r, 23) & 8);
    m = kit_message(CON, 1, mid++, "ob");
    kit_uint(&m, 6, 0);
    kit_path(&m, "/temp");
    r = kit_ask(h, fd, &m);
    assert_int_equal(r.code, CODE(4, 1));
    assert_int_equal(kit_get(&r, 252).len, sizeof echo);
    memcpy(echo, kit_get(&r, 252).ptr, sizeof echo);
    m = kit_message(CON, 1, mid++, "ob");
    kit_uint(&m, 6, 0);
    kit_path(&m, "/temp");
    kit_option(&m, 252, echo, sizeof echo);
    r = kit_ask(h, fd, &m);
    assert_int_equal(r.code, CODE(2, 5));
    assert_true(p->proven);
    assert_int_equal(r.data.len, 1024);
    assert_int_equal(kit_coap(h)->n_observers, 1);
}

/* ---- addresses ---- */

static void a_busy_port_is_tried_again(void **state)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct mp_host *other = kit_new();
    int taken = socket(AF_INET, SOCK_DGRAM, 0), client;
    struct kit_message m = request(CON, 1, "/rooms/a"), r;

    (void)state;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)other->port);
    assert_int_equal(bind(taken, (struct sockaddr *)&to, sizeof to), 0);
    kit_open(other);
    kit_endpoint(other, BIT(MP_GET), "/rooms/{room}");
    kit_serve(other);
    assert_null(kit_coap(other)->listeners[0].endpoint);
    assert_true(kit_coap(other)->again_us > 0);
    close(taken);
    mp_coap_listen_tick(kit_coap(other), kit_coap(other)->again_us);
    client = kit_client("127.0.0.1", other->port);
    r = kit_ask(other, client, &m);
    assert_int_equal(r.code, CODE(2, 5));
    close(client);
    kit_free(other);
}

static void it_listens_only_while_there_are_endpoints(void **state)
{
    (void)state;
    get("/rooms/a");
    h->at_once = false;
    struct kit_message m = request(CON, 1, "/rooms/a");
    kit_send(fd, &m);
    UNTIL(h, h->n_inputs == 2);
    mp_coap.serve(h->coap, NULL, 0);
    assert_non_null(kit_coap(h)->context);
    kit_end(h, 1, &h->answer, false);
    m = kit_receive(h, fd);
    assert_int_equal(m.code, CODE(2, 5));
    UNTIL(h, !kit_coap(h)->context);
    mp_coap.serve(h->coap, h->endpoints, h->n_endpoints);
    h->at_once = true;
    assert_int_equal(get("/rooms/b").code, CODE(2, 5));
}

static void it_may_be_closed_with_inputs_in_work(void **state)
{
    struct kit_message m = request(CON, 1, "/temp");

    (void)state;
    observe(0);
    h->at_once = false;
    kit_send(fd, &m);
    UNTIL(h, h->n_inputs == 2);
    kit_close(h);
    kit_end(h, 1, &h->answer, false);
}

/* ---- datagrams that are none ---- */

static void what_is_no_message_does_no_harm(void **state)
{
    static const char *const rubbish[] = {
        "",
        "\x40",
        "\x40\x01\x00",
        "\x4f\x01\x00\x01xx",
        "\x40\x01\x12\x34\xff",
        "\x40\x01\x12\x34\xdd",
        "\x40\x00\x12\x34",
        "\x70\x00\x12\x34",
        "\xc0\x01\x12\x34",
        "\x40\xe1\x12\x34",
    };
    static const unsigned lens[] = {0, 1, 3, 6, 5, 5, 4, 4, 4, 4};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rubbish); i++)
        (void)!send(fd, rubbish[i], lens[i], 0);
    kit_some_turns(h);
    while (recv(fd, &(char[KIT_MESSAGE]){0}, KIT_MESSAGE, 0) > 0)
        ;
    assert_int_equal(get("/rooms/a").code, CODE(2, 5));
}

/* ---- real clients ---- */

static const char *client(void)
{
    static const char *const names[] = {"/usr/bin/coap-client-openssl",
                                        "/usr/bin/coap-client"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (access(names[i], X_OK) == 0)
            return names[i];
    return NULL;
}

/* What the client prints; args may hold one %u, of the port. */
static void run(const char *args, char *out, size_t size)
{
    char command[512], format[512];
    size_t len = 0;
    FILE *p;

    snprintf(format, sizeof format, "timeout 20 %s %s 2>&1", client(), args);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(command, sizeof command, format, h->port);
#pragma GCC diagnostic pop
    p = popen(command, "re");
    assert_non_null(p);
    for (;;) {
        struct pollfd ready = {.fd = fileno(p), .events = POLLIN};
        ssize_t n;

        kit_turn(h, fileno(p));
        if (poll(&ready, 1, 0) < 1)
            continue;
        n = read(fileno(p), out + len, size - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    pclose(p);
    out[len] = '\0';
}

static void restart(const char *scheme)
{
    kit_close(h);
    h->finished = false;
    snprintf(h->listen[0], 64, "%s127.0.0.1:%u", scheme, h->port);
    kit_open(h);
    mp_coap.serve(h->coap, h->endpoints, h->n_endpoints);
}

static void libcoaps_client_is_answered(void **state)
{
    char out[8192];

    (void)state;
    if (!client())
        skip();
    run("-m get coap://127.0.0.1:%u/rooms/a", out, sizeof out);
    assert_non_null(strstr(out, "21.5"));
    h->echo = true;
    run("-m put -e hello coap://127.0.0.1:%u/rooms/a", out, sizeof out);
    assert_non_null(strstr(out, "hello"));
    run("-m get coap://127.0.0.1:%u/none", out, sizeof out);
    assert_non_null(strstr(out, "4.04"));
}

static void libcoaps_client_sends_and_reads_long_bodies(void **state)
{
    static char out[16384];
    char name[] = "/tmp/moonpool-coap-XXXXXX", args[256];
    int file = mkstemp(name);

    (void)state;
    if (!client())
        skip();
    for (int i = 0; i < 1000; i++)
        dprintf(file, "%04d ", i);
    close(file);
    h->echo = true;
    snprintf(args, sizeof args,
             "-m put -b 256 -f %s coap://127.0.0.1:%%u/rooms/a", name);
    run(args, out, sizeof out);
    unlink(name);
    assert_int_equal(h->n_inputs, 1);
    assert_int_equal(kit_last(h)->data.len, 5000);
    assert_non_null(strstr(out, "0999"));
}

static void libcoaps_client_speaks_over_tcp(void **state)
{
    static char body[40000], out[65536];

    (void)state;
    if (!client())
        skip();
    restart("coap+tcp://");
    run("-m get coap+tcp://127.0.0.1:%u/rooms/a", out, sizeof out);
    assert_non_null(strstr(out, "21.5"));
    memset(body, 'x', sizeof body);
    h->answer.data = mp_slice(body, sizeof body);
    run("-m get coap+tcp://127.0.0.1:%u/rooms/a", out, sizeof out);
    assert_true(strlen(out) >= sizeof body);
}

static void who_does_not_read_over_tcp_is_dropped(void **state)
{
    static char body[40000];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)h->port)};
    /* Its settings (16 MB a message), then GET /rooms/a again and again. */
    static const uint8_t hello[] = {0x50, 0xe1, 0x24, 0x01, 0x00, 0x00, 0x00};
    static const uint8_t ask[] = {0x80, 1,   0xb5, 'r', 'o',
                                  'o',  'm', 's',  1,   'a'};
    int client_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    restart("coap+tcp://");
    memset(body, 'x', sizeof body);
    h->answer.data = mp_slice(body, sizeof body);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(client_fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(send(client_fd, hello, sizeof hello, 0), sizeof hello);
    UNTIL(h, kit_coap(h)->n_connections == 1);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(send(client_fd, ask, sizeof ask, MSG_NOSIGNAL),
                         sizeof ask);
    UNTIL(h, kit_coap(h)->n_connections == 0);
    assert_in_range(h->n_inputs, 5, 999);
    close(client_fd);
}

/* It has gone, which sending shows: all that it observes is gone with it. */
static void an_observer_that_goes_while_it_is_told_is_dropped(void **state)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)h->port)};
    static const uint8_t hello[] = {0x00, 0xe1};
    static const struct linger at_once = {.l_onoff = 1};
    uint8_t ask[] = {0x61, 1, 'a', 0x60, 0x54, 't', 'e', 'm', 'p'};
    int client_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    restart("coap+tcp://");
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(client_fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(send(client_fd, hello, sizeof hello, 0), sizeof hello);
    for (; ask[2] < 'd'; ask[2]++)
        assert_int_equal(send(client_fd, ask, sizeof ask, MSG_NOSIGNAL),
                         sizeof ask);
    UNTIL(h, kit_coap(h)->n_observers == 3);
    assert_int_equal(
        setsockopt(client_fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once),
        0);
    close(client_fd);
    for (int i = 0; i < 3; i++)
        mp_coap_notify(h->coap, MP_S("/temp"), MP_S("22"), MP_FORMAT_TEXT, 30);
    UNTIL(h, kit_coap(h)->n_observers == 0);
}

/* ---- sessions that fail while they are sent to ---- */

/* A client that observes /temp by DTLS. */
static pid_t secure_observer(void)
{
    char uri[64];
    pid_t pid;

    h->config.coap.psk_file = (char *)(uintptr_t) "node7:736563726574\n";
    restart("coaps://");
    snprintf(uri, sizeof uri, "coaps://127.0.0.1:%u/temp", h->port);
    pid = fork();
    if (!pid) {
        (void)!freopen("/dev/null", "w", stdout);
        execl(client(), client(), "-s", "60", "-m", "get", "-u", "node7", "-k",
              "secret", uri, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static void end_client(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static struct coap_peer *first_peer(void)
{
    return mp_of(kit_coap(h)->peers.next, struct coap_peer, link);
}

/* Two more of the same session. */
static void observe_more(struct coap_peer *p)
{
    static struct coap_request q;

    q = (struct coap_request){.path = MP_S("/temp")};
    q.to.peer = p;
    q.to.code = 1;
    q.to.token_len = 1;
    for (q.to.token[0] = 'x'; q.to.token[0] <= 'y'; q.to.token[0]++) {
        struct coap_observer *o = mp_coap_observe(kit_coap(h), &q);

        assert_non_null(o);
        mp_coap_observer_answered(kit_coap(h), o);
    }
    assert_int_equal(kit_coap(h)->n_observers, 3);
}

/* What is sent next is an error, and the end of the session. */
static void spoil(struct coap_peer *p)
{
    void *symbol = dlsym(RTLD_DEFAULT, "SSL_shutdown");
    coap_tls_library_t library;
    int (*shut)(void *ssl);

    assert_non_null(symbol);
    memcpy(&shut, &symbol, sizeof shut);
    shut(coap_session_get_tls(p->session, &library));
    assert_int_equal(library, COAP_TLS_LIBRARY_OPENSSL);
}

static void a_session_that_fails_takes_its_next_observers_along(void **state)
{
    pid_t pid;

    (void)state;
    if (!client())
        skip();
    pid = secure_observer();
    UNTIL(h, kit_coap(h)->n_observers == 1);
    observe_more(first_peer());
    spoil(first_peer());
    mp_coap_notify(h->coap, MP_S("/temp"), MP_S("22"), MP_FORMAT_TEXT, 0);
    assert_int_equal(kit_coap(h)->n_observers, 0);
    end_client(pid);
}

static void also_while_all_are_told_that_nobody_answers(void **state)
{
    const struct mp_endpoint *e = h->endpoints;
    pid_t pid;

    (void)state;
    if (!client())
        skip();
    pid = secure_observer();
    UNTIL(h, kit_coap(h)->n_observers == 1);
    observe_more(first_peer());
    spoil(first_peer());
    while (e->observe)
        e++;
    mp_coap.serve(h->coap, e, 1);
    assert_int_equal(kit_coap(h)->n_observers, 0);
    end_client(pid);
}

static void also_while_one_is_told_that_it_is_registered(void **state)
{
    pid_t pid;

    (void)state;
    if (!client())
        skip();
    h->at_once = false;
    pid = secure_observer();
    UNTIL(h, h->n_inputs == 1);
    assert_int_equal(kit_coap(h)->n_observers, 1);
    mp_coap_notify(h->coap, MP_S("/temp"), MP_S("22"), MP_FORMAT_TEXT, 0);
    spoil(first_peer());
    kit_end(h, 0, &h->answer, false);
    assert_int_equal(kit_coap(h)->n_observers, 0);
    end_client(pid);
}

/* ---- connections ---- */

static void there_are_so_many_connections(void **state)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)h->port)};
    int fds[COAP_TCP_MAX + 4];

    (void)state;
    restart("coap+tcp://");
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&to, sizeof to), 0);
    }
    for (size_t i = COAP_TCP_MAX; i < ARRAY_LEN(fds); i++) {
        char byte;

        UNTIL(h, recv(fds[i], &byte, 1, MSG_DONTWAIT) == 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    UNTIL(h, kit_coap(h)->n_connections == 0);
}

static void a_key_says_who_a_client_is(void **state)
{
    char out[8192];

    (void)state;
    if (!client())
        skip();
    h->config.coap.psk_file = (char *)(uintptr_t) "# keys\nnode7:"
                                                  "736563726574\n";
    restart("coaps://");
    run("-m get -u node7 -k secret coaps://127.0.0.1:%u/secret", out,
        sizeof out);
    assert_non_null(strstr(out, "21.5"));
    assert_slice(kit_last(h)->identity, "node7");
    run("-B 3 -m get -u node7 -k wrong coaps://127.0.0.1:%u/secret", out,
        sizeof out);
    run("-B 3 -m get -u node8 -k secret coaps://127.0.0.1:%u/secret", out,
        sizeof out);
    assert_int_equal(h->n_inputs, 1);
    restart("coaps+tcp://");
    run("-m get -u node7 -k secret coaps+tcp://127.0.0.1:%u/secret", out,
        sizeof out);
    assert_non_null(strstr(out, "21.5"));
    assert_slice(kit_last(h)->identity, "node7");
}

/* What is said until has is in it, which a second's tick brings about. */
static void assert_said(const char *who, const char *key, const char *part)
{
    static char text[8192];
    char out[8192], line[200];
    FILE *log = tmpfile();
    int saved = dup(2);
    ssize_t n;

    assert_non_null(log);
    dup2(fileno(log), 2);
    mp_log_open(MP_LOG_TEXT, MP_INFO);
    snprintf(line, sizeof line,
             "-B 3 -m get -u %s -k %s coaps://127.0.0.1:%%u/secret", who, key);
    run(line, out, sizeof out);
    UNTIL(h, !kit_coap(h)->n_refused &&
                 (n = pread(fileno(log), text, sizeof text - 1, 0)) > 0 &&
                 memmem(text, (size_t)n, "handshake", 9));
    mp_log_open(MP_LOG_TEXT, MP_LEVELS);
    dup2(saved, 2);
    close(saved);
    fclose(log);
    text[n] = '\0';
    assert_non_null(strstr(text, "warn  coap: a DTLS handshake failed: "));
    assert_non_null(strstr(text, " peer=127.0.0.1:"));
    if (!strstr(text, part))
        fail_msg("%s", text);
}

static void a_handshake_that_fails_is_said(void **state)
{
    (void)state;
    if (!client())
        skip();
    h->config.coap.psk_file = (char *)(uintptr_t) "node7:736563726574\n";
    restart("coaps://");
    assert_said("node8", "secret", "psk_file has no such identity");
    /* Silence, to DTLS: until it has lasted. */
    assert_said("node7", "wrong", ": another key, ");
    assert_int_equal(h->n_inputs, 0);
}

static void addresses_may_be_of_ipv6(void **state)
{
    char out[8192];

    (void)state;
    if (!client() || access("/proc/net/if_inet6", R_OK))
        skip();
    kit_close(h);
    h->finished = false;
    snprintf(h->listen[0], 64, "coap://[::1]:%u", h->port);
    kit_open(h);
    mp_coap.serve(h->coap, h->endpoints, h->n_endpoints);
    if (!kit_coap(h)->listeners[0].endpoint)
        skip();
    run("-m get coap://[::1]:%u/rooms/a", out, sizeof out);
    assert_non_null(strstr(out, "21.5"));
    assert_slice(kit_last(h)->peer, "::1");
    assert_true(mp_starts(kit_last(h)->source, "coap://[::1]:"));
}

static void what_is_no_address_is_told_once(void **state)
{
    static const char *const bad[] = {
        "127.0.0.1:5683",      "coap://",     "http://x",
        "coap://gateway:5683", "coap://[::1", "coaps://127.0.0.1:5684"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        kit_close(h);
        h->finished = false;
        snprintf(h->listen[0], 64, "%s", bad[i]);
        kit_open(h);
        mp_coap.serve(h->coap, h->endpoints, h->n_endpoints);
        assert_true(kit_coap(h)->listeners[0].bad);
        assert_int_equal(kit_coap(h)->again_us, 0);
    }
}

static void a_bad_line_of_keys_is_told(void **state)
{
    static const char *const bad[] = {"x", ":00", "a:", "a:0", "a:0g"};
    struct mp_config config = {0};
    struct mp_why why;
    void *self;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        config.coap.psk_file = (char *)(uintptr_t)bad[i];
        assert_int_equal(mp_coap.open(h, &h->loop, &config, &self, &why),
                         MP_EPARSE);
        assert_non_null(strstr(why.text, "line 1"));
    }
}

static void a_certificate_says_who_a_client_is(void **state)
{
    static const char make[] =
        "cd %s && openssl req -x509 -newkey ec -pkeyopt "
        "ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout ca.key "
        "-out ca.pem 2>/dev/null && for n in gateway node9; do openssl req "
        "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$n "
        "-keyout $n.key -out $n.csr 2>/dev/null && openssl x509 -req -in "
        "$n.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out $n.pem "
        "2>/dev/null; done";
    char dir[] = "/tmp/moonpool-coap-XXXXXX", text[2048], out[8192];
    char cert[64], key[64], ca[64];

    (void)state;
    if (!client() || !mkdtemp(dir))
        skip();
    snprintf(text, sizeof text, make, dir);
    assert_int_equal(system(text), 0);
    snprintf(ca, sizeof ca, "%s/ca.pem", dir);
    snprintf(cert, sizeof cert, "%s/gateway.pem", dir);
    snprintf(key, sizeof key, "%s/gateway.key", dir);
    h->config.coap.ca = ca;
    h->config.coap.cert = cert;
    h->config.coap.key = key;
    restart("coaps://");
    snprintf(text, sizeof text,
             "-m get -c %s/node9.pem -j %s/node9.key -C %s "
             "coaps://127.0.0.1:%%u/secret",
             dir, dir, ca);
    run(text, out, sizeof out);
    assert_non_null(strstr(out, "21.5"));
    assert_slice(kit_last(h)->identity, "node9");
    run("-B 3 -m get coaps://127.0.0.1:%u/secret", out, sizeof out);
    assert_int_equal(h->n_inputs, 1);
    snprintf(text, sizeof text, "rm -r %s", dir);
    assert_int_equal(system(text), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_becomes_an_input_with_all_its_parts),
        TEST(codes_say_what_a_handler_returned),
        TEST(what_no_function_may_see_is_refused),
        TEST(a_late_answer_comes_by_itself_after_an_empty_ack),
        TEST(a_response_that_nobody_acknowledges_is_sent_again),
        TEST(a_repeat_gets_the_same_response_and_runs_nothing),
        TEST(a_burst_is_answered_one_by_one),
        TEST(after_a_restart_a_repeat_is_the_same_exchange),
        TEST(another_query_is_another_exchange),
        TEST(what_is_not_confirmable_is_answered_once),
        TEST(who_wants_no_response_gets_an_empty_ack),
        TEST(what_the_host_lost_may_come_again),
        TEST(while_nothing_is_taken_it_says_when_to_ask_again),
        TEST(one_peer_has_so_many_requests_in_work),
        TEST(an_asynchronous_request_has_a_location),
        TEST(a_long_response_comes_in_blocks_and_runs_once),
        TEST(a_body_in_blocks_is_put_together),
        TEST(so_many_bodies_are_on_the_way),
        TEST(who_observes_is_told_until_it_is_enough),
        TEST(a_reset_ends_an_observation),
        TEST(there_are_so_many_observers_and_one_registers_once),
        TEST(what_changes_while_one_registers_is_not_missed),
        TEST(a_refused_registration_is_none),
        TEST(the_links_are_the_paths_one_may_ask),
        TEST(a_path_of_several_methods_is_one_link),
        TEST(off_loopback_only_what_is_open_is_answered),
        TEST(who_proved_nothing_gets_three_times_its_bytes),
        TEST(a_busy_port_is_tried_again),
        TEST(it_listens_only_while_there_are_endpoints),
        TEST(it_may_be_closed_with_inputs_in_work),
        TEST(what_is_no_message_does_no_harm),
        TEST(libcoaps_client_is_answered),
        TEST(libcoaps_client_sends_and_reads_long_bodies),
        TEST(libcoaps_client_speaks_over_tcp),
        TEST(who_does_not_read_over_tcp_is_dropped),
        TEST(an_observer_that_goes_while_it_is_told_is_dropped),
        TEST(there_are_so_many_connections),
        TEST(a_session_that_fails_takes_its_next_observers_along),
        TEST(also_while_all_are_told_that_nobody_answers),
        TEST(also_while_one_is_told_that_it_is_registered),
        TEST(a_key_says_who_a_client_is),
        TEST(a_handshake_that_fails_is_said),
        TEST(addresses_may_be_of_ipv6),
        TEST(what_is_no_address_is_told_once),
        TEST(a_bad_line_of_keys_is_told),
        TEST(a_certificate_says_who_a_client_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
