/*
 * test_request_line.c - what triggers say of requests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "core/request_line.h"

#define BIT(m) (1U << (m))

static void methods_and_a_path_are_read(void **state)
{
    static const struct {
        const char *text;
        enum mp_trigger_kind kind;
        unsigned methods;
        const char *path;
    } good[] = {
        {"PUT /rooms/{room}", MP_TRIGGER_HTTP, BIT(MP_PUT), "/rooms/{room}"},
        {"GET,DELETE  /x", MP_TRIGGER_HTTP, BIT(MP_GET) | BIT(MP_DELETE), "/x"},
        {"/hooks/{s...}", MP_TRIGGER_HTTP, BIT(MP_POST) | BIT(MP_PUT),
         "/hooks/{s...}"},
        {"FETCH,iPATCH /", MP_TRIGGER_COAP, BIT(MP_FETCH) | BIT(MP_IPATCH),
         "/"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct mp_pattern p;
        struct mp_why why;
        unsigned methods;

        assert_int_equal(mp_request_line(mp_slice_str(good[i].text),
                                         good[i].kind, &methods, &p, &why),
                         0);
        assert_int_equal(methods, good[i].methods);
        assert_string_equal(p.text, good[i].path);
        mp_pattern_fini(&p);
    }
}

static void what_is_wrong_with_a_request_is_said(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "is no method"},
        {"PUT", "starts with '/'"},
        {"PUT rooms", "starts with '/'"},
        {"PUTT /x", "did you mean 'PUT'?"},
        {"FETCH /x", "'FETCH' is no method"},
        {"HEAD /x", "leave it out"},
        {"GET PUT /x", "joined by commas"},
        {"GET, PUT /x", "is no method"},
        {"GET /x /y", "joined by commas"},
        {"GET /{a", "{"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct mp_pattern p;
        struct mp_why why = {0};
        unsigned methods;

        print_message("%s\n", bad[i].text);
        assert_int_equal(mp_request_line(mp_slice_str(bad[i].text),
                                         MP_TRIGGER_HTTP, &methods, &p, &why),
                         MP_EPARSE);
        assert_non_null(strstr(why.text, bad[i].why));
    }
}

static void who_may_ask_is_read(void **state)
{
    static const struct {
        const char *text;
        enum mp_auth auth;
        const char *secret, *header;
    } good[] = {
        {"none", MP_AUTH_NONE, NULL, NULL},
        {"dtls", MP_AUTH_DTLS, NULL, NULL},
        {"token HOOK", MP_AUTH_TOKEN, "HOOK", NULL},
        {"hmac K2_X  X-Hub-Signature-256", MP_AUTH_HMAC, "K2_X",
         "x-hub-signature-256"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char *secret, *header;
        enum mp_auth auth;
        struct mp_why why;

        assert_int_equal(mp_auth_line(mp_slice_str(good[i].text), &auth,
                                      &secret, &header, &why),
                         0);
        assert_int_equal(auth, good[i].auth);
        if (good[i].secret)
            assert_string_equal(secret, good[i].secret);
        else
            assert_null(secret);
        if (good[i].header)
            assert_string_equal(header, good[i].header);
        else
            assert_null(header);
        free(secret);
        free(header);
    }
}

static void what_is_wrong_with_who_may_ask_is_said(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"tokn HOOK", "did you mean 'token'?"},
        {"token", "granted secret is missing"},
        {"token hook", "A to Z first"},
        {"hmac KEY", "header"},
        {"hmac KEY X:Y", "header"},
        {"hmac KEY X-Y more", "no more words"},
        {"none NAME", "no more words"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *secret, *header;
        enum mp_auth auth;
        struct mp_why why = {0};

        print_message("%s\n", bad[i].text);
        assert_int_equal(mp_auth_line(mp_slice_str(bad[i].text), &auth, &secret,
                                      &header, &why),
                         MP_EPARSE);
        assert_non_null(strstr(why.text, bad[i].why));
        assert_null(secret);
        assert_null(header);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_and_a_path_are_read),
        cmocka_unit_test(what_is_wrong_with_a_request_is_said),
        cmocka_unit_test(who_may_ask_is_read),
        cmocka_unit_test(what_is_wrong_with_who_may_ask_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
