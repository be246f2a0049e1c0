/*
 * test_http_auth.c - who may ask: tokens, signatures, off loopback, TLS.
 */
#include "tests/unit/http_kit.h"

#include <sys/wait.h>

static struct mp_host *h;

static int start(void **state)
{
    struct mp_endpoint *e;

    (void)state;
    kit_more_len = 0;
    h = kit_new();
    kit_open(h);
    kit_endpoint(h, GET, "/open");
    e = kit_endpoint(h, POST, "/token");
    e->auth = MP_AUTH_TOKEN;
    e->secret = MP_S("s3cret");
    e = kit_endpoint(h, POST, "/hmac");
    e->auth = MP_AUTH_HMAC;
    e->secret = MP_S("It's a Secret to Everybody");
    e->header = "x-hub-signature-256";
    e = kit_endpoint(h, POST, "/dtls");
    e->auth = MP_AUTH_DTLS;
    kit_serve(h);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    kit_free(h);
    return 0;
}

static unsigned ask_with(const char *path, const char *header, const char *body)
{
    char text[1000];

    snprintf(text, sizeof text,
             "POST %s HTTP/1.1\r\n" HOST "%sContent-Length: %zu\r\n\r\n%s",
             path, header, strlen(body), body);
    return ask(h, text);
}

/* ---- tokens ---- */

static void a_token_opens_and_the_function_does_not_see_it(void **state)
{
    static const char *const wrong[] = {
        "",
        "Authorization: Bearer s3creT\r\n",
        "Authorization: Bearer s3cre\r\n",
        "Authorization: Bearer s3cret1\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: s3cret\r\n",
        "Authorization: Basic s3cret\r\n",
        "Authorization: Bearers3cret\r\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        if (ask_with("/token", wrong[i], "x") != 401)
            fail_msg("%s: %s", wrong[i], kit_text);
        assert_has("WWW-Authenticate: Bearer");
        assert_problem(401, "the token is missing or wrong");
    }
    assert_int_equal(h->n_inputs, 0);
    assert_int_equal(
        ask_with("/token", "Authorization: Bearer s3cret\r\n", "x"), 200);
    assert_int_equal(
        ask_with("/token", "authorization: bEARER   s3cret \r\n", "x"), 200);
    assert_null(
        pair(last(h)->headers, last(h)->n_headers, "authorization").ptr);
    assert_int_equal(last(h)->n_headers, 2);
}

static void an_empty_token_lets_nobody_in(void **state)
{
    (void)state;
    for (unsigned i = 0; i < h->n_endpoints; i++)
        h->endpoints[i].secret = MP_S("");
    kit_serve(h);
    assert_int_equal(ask_with("/token", "Authorization: Bearer \r\n", ""), 401);
    assert_int_equal(ask_with("/token", "", ""), 401);
    assert_int_equal(ask_with("/hmac", "", ""), 401);
}

/* A stranger's body isn't read. */
static void a_wrong_token_is_refused_before_the_body(void **state)
{
    (void)state;
    assert_int_equal(ask(h, "POST /token HTTP/1.1\r\n" HOST
                            "Expect: 100-continue\r\n"
                            "Content-Length: 10\r\n\r\n"),
                     401);
    assert_int_equal(kit_http(h)->receiving, 0);
}

/* ---- signatures ---- */

static const struct {
    const char *signature;
    unsigned status;
    const char *why;
} signatures[] = {
    {"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
     200, "as GitHub's documentation has it"},
    {"757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", 200,
     "without what it is"},
    {"757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17", 200,
     "upper case"},
    {"757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e16", 401,
     "one bit"},
    {"757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e1", 401,
     "too short"},
    {"757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e1700", 401,
     "too long"},
    {"sha256=", 401, "nothing"},
    {"sha1=757107ea0eb2509fc211221cce984b8a37570b6d", 401, "another hash"},
    {"", 401, "empty"},
};

static void a_signature_of_the_body_opens(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(signatures); i++) {
        char header[200];

        snprintf(header, sizeof header, "X-Hub-Signature-256: %s\r\n",
                 signatures[i].signature);
        if (ask_with("/hmac", header, "Hello, World!") != signatures[i].status)
            fail_msg("%s: %s", signatures[i].why, kit_text);
        if (signatures[i].status == 200)
            assert_int_equal(ask_with("/hmac", header, "Hello, World?"), 401);
    }
    assert_int_equal(ask_with("/hmac", "", "Hello, World!"), 401);
    assert_has("WWW-Authenticate: HMAC-SHA256");
    assert_int_equal(h->n_inputs, 3);
}

static void an_empty_body_can_be_signed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < h->n_endpoints; i++)
        if (h->endpoints[i].auth == MP_AUTH_HMAC)
            h->endpoints[i].secret = MP_S("key");
    kit_serve(h);
    assert_int_equal(
        ask_with("/hmac",
                 "X-Hub-Signature-256: 5d5d139563c95b5967b9bd9a8c9b233a"
                 "9dedb45072794cd232dc1b74832607d0\r\n",
                 ""),
        200);
}

/* ---- off loopback ---- */

/* As if its clients were somewhere else. */
static int from_afar(void)
{
    int fd;

    UNTIL(h, kit_http(h)->n_conns == 0);
    fd = client(h);
    kit_more_len = 0;
    UNTIL(h, kit_http(h)->n_conns == 1);
    mp_list_each (at, &kit_http(h)->conns)
        mp_of(at, struct http_conn, link)->loopback = false;
    return fd;
}

static unsigned ask_from_afar(const char *text)
{
    int fd = from_afar();
    unsigned status;

    say(h, fd, text);
    status = hear(h, fd);
    close(fd);
    return status;
}

static void without_auth_only_the_gateway_itself_is_answered(void **state)
{
    static const char text[] = "GET /open HTTP/1.1\r\n" HOST "\r\n";

    (void)state;
    assert_int_equal(ask(h, text), 200);
    assert_int_equal(ask_from_afar(text), 403);
    assert_int_equal(h->n_inputs, 1);
    assert_int_equal(ask_from_afar("POST /token HTTP/1.1\r\n" HOST
                                   "Authorization: Bearer s3cret\r\n\r\n"),
                     200);
    assert_int_equal(ask_with("/dtls", "", ""), 403);
    h->config.http.open = true;
    assert_int_equal(ask_from_afar(text), 200);
}

static void
who_was_told_where_a_result_is_reads_it_and_nobody_else(void **state)
{
    const struct mp_answer a = {.kind = MP_ANSWER_DONE, .data = MP_S("x")};
    char name[MP_RESULT_NAME + 1], text[200];

    (void)state;
    assert_int_equal(ask_from_afar("POST /token HTTP/1.1\r\n" HOST
                                   "Authorization: Bearer s3cret\r\n"
                                   "Idempotency-Key: order-1\r\n"
                                   "Prefer: respond-async\r\n\r\n"),
                     202);
    mp_results_name_of(&h->results, last(h), name);
    mp_results_put(&h->results, mp_slice_str(name), &a, mp_now_us());
    snprintf(text, sizeof text, "Location: /results/%s\r\n", name);
    assert_has(text);
    snprintf(text, sizeof text, "GET /results/%s HTTP/1.1\r\n" HOST "\r\n",
             name);
    assert_int_equal(ask_from_afar(text), 200);
    /* The event's id is no way to it, with whose token ever. */
    assert_int_equal(ask(h, "GET /results/order-1 HTTP/1.1\r\n" HOST "\r\n"),
                     404);
    assert_int_equal(ask_from_afar("GET /results/order-1 HTTP/1.1\r\n" HOST
                                   "Authorization: Bearer s3cret\r\n\r\n"),
                     404);
}

/* ---- other addresses ---- */

static void ipv6_and_a_second_address_are_answered(void **state)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6,
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct mp_host *six = kit_new();
    char text[64];
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    to.sin6_port = htons((uint16_t)six->port);
    if (bind(fd, (struct sockaddr *)&to, sizeof to)) {
        close(fd); /* a machine without IPv6 */
        kit_open(six);
        kit_free(six);
        skip();
    }
    close(fd);
    snprintf(text, sizeof text, "[::1]:%u", six->port);
    six->listen[1] = mp_strndup(text, strlen(text));
    six->listen[2] = mp_strndup("somewhere", 9);
    kit_open(six);
    kit_endpoint(six, GET, "/open");
    kit_serve(six);
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    say(six, fd, "GET /open HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(hear(six, fd), 200);
    assert_slice(last(six)->peer, "::1");
    assert_slice(last(six)->source, "http://[::1]");
    close(fd);
    assert_int_equal(ask(six, "GET /open HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_slice(last(six)->peer, "127.0.0.1");
    assert_true(kit_http(six)->listeners[2].bad);
    assert_true(kit_http(six)->again_us == 0);
    kit_free(six);
}

static void what_is_no_address_is_told_once(void **state)
{
    static const char *const bad[] = {"",
                                      ":80",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "::1:80",
                                      "[::1]",
                                      "[::1:80",
                                      "[]:80",
                                      "host:80",
                                      "1.2.3.4:x",
                                      "127.0.0.1:80:",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:0",
                                      "[1.2.3]:8",
                                      "1.2.3.4.5:8"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct mp_host *one = kit_new();

        free(one->listen[0]);
        one->listen[0] = mp_strndup(bad[i], strlen(bad[i]));
        kit_open(one);
        kit_endpoint(one, GET, "/open");
        kit_serve(one);
        if (!kit_http(one)->listeners[0].bad)
            fail_msg("'%s' is an address?", bad[i]);
        assert_true(kit_http(one)->again_us == 0);
        kit_free(one);
    }
}

/* ---- TLS ---- */

MP_PRINTF(1, 2) static pid_t run_in_shell(const char *fmt, ...)
{
    char command[600];
    va_list args;
    pid_t pid;

    va_start(args, fmt);
    vsnprintf(command, sizeof command, fmt, args);
    va_end(args);
    pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static int ended(struct mp_host *host, pid_t pid)
{
    int status;

    UNTIL(host, waitpid(pid, &status, WNOHANG) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool has_text(const char *dir, const char *file, const char *text)
{
    static char bytes[64 << 10];
    char path[128];
    size_t len;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, file);
    f = fopen(path, "r");
    assert_non_null(f);
    len = fread(bytes, 1, sizeof bytes - 1, f);
    bytes[len] = '\0';
    fclose(f);
    return strstr(bytes, text) != NULL;
}

static void with_a_certificate_it_speaks_tls_of_today(void **state)
{
    struct mp_host *tls = kit_new();
    struct mp_why why;
    char dir[] = "/tmp/moonpool-http-XXXXXX", cert[64], key[64];

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(
        ended(tls, run_in_shell("cd %s && openssl req -x509 -newkey ec "
                                "-pkeyopt ec_paramgen_curve:prime256v1 -nodes "
                                "-keyout key -out cert -days 2 "
                                "-subj /CN=localhost 2>/dev/null; echo x >bad",
                                dir)),
        0);
    snprintf(cert, sizeof cert, "%s/cert", dir);
    snprintf(key, sizeof key, "%s/bad", dir);
    tls->config.http.cert = cert;
    assert_true(mp_http.open(tls, &tls->loop, &tls->config, &tls->http, &why) <
                0);
    assert_string_equal(why.text,
                        "[http] cert and key are given together or not");
    tls->config.http.key = key;
    assert_true(mp_http.open(tls, &tls->loop, &tls->config, &tls->http, &why) <
                0);
    assert_non_null(strstr(why.text, "it or its key can't be used"));
    snprintf(key, sizeof key, "%s/none", dir);
    assert_true(mp_http.open(tls, &tls->loop, &tls->config, &tls->http, &why) <
                0);
    assert_non_null(strstr(why.text, "[http] key = "));
    snprintf(key, sizeof key, "%s/key", dir);
    tls->http = NULL;
    kit_open(tls);
    kit_endpoint(tls, GET, "/open");
    kit_serve(tls);
    ended(tls,
          run_in_shell("cd %s && printf 'GET /open HTTP/1.1\\r\\nHost: x\\r\\n"
                       "Connection: close\\r\\n\\r\\n' | openssl s_client "
                       "-connect 127.0.0.1:%u -CAfile cert -ign_eof -quiet "
                       ">answer 2>/dev/null",
                       dir, tls->port));
    assert_true(has_text(dir, "answer", "HTTP/1.1 200 OK"));
    assert_true(has_text(dir, "answer", "21.5"));
    assert_int_not_equal(
        ended(tls, run_in_shell("cd %s && openssl s_client -tls1_1 -cipher "
                                "DEFAULT@SECLEVEL=0 -connect 127.0.0.1:%u "
                                "</dev/null >old 2>&1",
                                dir, tls->port)),
        0);
    /* Who speaks plainly gets no answer. */
    {
        int fd = client(tls);

        kit_more_len = 0;
        say(tls, fd, "GET /open HTTP/1.1\r\n" HOST "\r\n");
        UNTIL(tls, kit_http(tls)->n_conns == 1);
        kit_expire(tls);
        assert_int_equal(hear(tls, fd), 0);
        close(fd);
    }
    assert_int_equal(tls->n_inputs, 1);
    kit_free(tls);
    ended(h, run_in_shell("rm -r %s", dir));
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        test(a_token_opens_and_the_function_does_not_see_it),
        test(an_empty_token_lets_nobody_in),
        test(a_wrong_token_is_refused_before_the_body),
        test(a_signature_of_the_body_opens),
        test(an_empty_body_can_be_signed),
        test(without_auth_only_the_gateway_itself_is_answered),
        test(who_was_told_where_a_result_is_reads_it_and_nobody_else),
        test(ipv6_and_a_second_address_are_answered),
        test(what_is_no_address_is_told_once),
        test(with_a_certificate_it_speaks_tls_of_today),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
