/*
 * test_client.c - cli/client.h: answers that are whole, and those that aren't.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/client.h"
#include "tests/unit/conf_kit.h"

static const struct {
    const char *bytes, *why;
    int rc;
    unsigned status;
    const char *body;
} answers[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "the ordinary case", 0,
     200, "{}"},
    {"HTTP/1.1 404 Not Found\r\ncontent-length:2\r\n\r\n{}",
     "names of headers in any case", 0, 404, "{}"},
    {"HTTP/1.1 503 Service Unavailable\r\n\r\nno", "up to the end", 0, 503,
     "no"},
    {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "nothing", 0, 204,
     ""},
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "cut", MP_EPARSE, 0,
     NULL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "cut within the head",
     MP_EPARSE, 0, NULL},
    {"", "closed at once", MP_EPARSE, 0, NULL},
    {"SSH-2.0-x\r\n\r\n", "somebody else", MP_EPARSE, 0, NULL},
    {"HTTP/1.\r\n\r\n", "too short for a status", MP_EPARSE, 0, NULL},
    {"HTTP/1.1 999 ?\r\n\r\n", "no status", MP_EPARSE, 0, NULL},
    {"HTTP/1.1 abc ?\r\n\r\n", "no status", MP_EPARSE, 0, NULL},
};

static void an_answer_is_whole_or_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct mp_slice bytes = t_exact(mp_slice_str(answers[i].bytes)), body;
        struct mp_why why;
        unsigned status;

        print_message("%s\n", answers[i].why);
        assert_int_equal(mp_client_read(bytes, &status, &body, &why),
                         answers[i].rc);
        if (!answers[i].rc) {
            assert_int_equal(status, answers[i].status);
            assert_true(mp_slice_is(body, answers[i].body));
        }
        t_exact_free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_whole_or_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
