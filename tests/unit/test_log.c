/*
 * Log lines: one line each, whatever is in them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the ones above */
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"

static char said[128 << 10];

/* Log it, and what came out of stderr is in said. */
static void say(enum mp_log_format format, const struct mp_field *fields,
                const char *message)
{
    FILE *f = tmpfile();
    int was = dup(STDERR_FILENO);
    ssize_t n;

    assert_non_null(f);
    dup2(fileno(f), STDERR_FILENO);
    mp_log_open(format, MP_INFO);
    mp_log(MP_WARN, "overheat", fields, "%s", message);
    dup2(was, STDERR_FILENO);
    close(was);
    n = pread(fileno(f), said, sizeof said - 1, 0);
    fclose(f);
    assert_true(n > 0);
    said[n] = '\0';
}

static void one_line(void)
{
    char *end = strchr(said, '\n');

    assert_non_null(end);
    assert_int_equal(end[1], 0);
}

static void a_fields_name_cannot_end_it(void **fixture)
{
    const struct mp_field *fields =
        MP_FIELDS(MP_NUM("a=1 b\"\n<0>x", 7), MP_TEXT("c d", MP_S("e f")),
                  MP_TEXT("plain-1.x_Y", MP_S("word")));

    (void)fixture;
    say(MP_LOG_TEXT, fields, "hot");
    one_line();
    assert_non_null(strstr(said, " overheat: hot a_1_b___0_x=7 c_d=\"e f\" "
                                 "plain-1.x_Y=word\n"));
    say(MP_LOG_JSON, fields, "hot");
    one_line();
    assert_non_null(strstr(said, "\"message\":\"hot\",\"a_1_b___0_x\":7,"
                                 "\"c_d\":\"e f\",\"plain-1.x_Y\":"
                                 "\"word\"}\n"));
}

static void a_tab_of_a_text_line_is_a_blank(void **fixture)
{
    (void)fixture;
    say(MP_LOG_TEXT, NULL, "a\tb");
    assert_non_null(strstr(said, " overheat: a b\n"));
    say(MP_LOG_JSON, NULL, "a\tb");
    assert_non_null(strstr(said, "\"a\\tb\""));
}

enum { MANY = 64, LONG = 40 << 10 };

/* Fields that make far more than a line, of one byte all over. */
static const struct mp_field *far_too_much(char byte)
{
    static struct mp_field fields[MANY + 1];
    static char text[LONG];

    memset(text, byte, LONG);
    for (size_t i = 0; i < MANY; i++)
        fields[i] = MP_TEXT("field", mp_slice(text, LONG));
    return fields;
}

static void a_line_that_is_too_long_still_ends(void **fixture)
{
    static const char bytes[] = {'x', ' ', '\1', '"', '\xff'};

    (void)fixture;
    for (size_t i = 0; i < sizeof bytes; i++) {
        const char *brace;

        say(MP_LOG_TEXT, far_too_much(bytes[i]), "hot");
        one_line();
        assert_in_range(strlen(said), 1000, 32 << 10);
        say(MP_LOG_JSON, far_too_much(bytes[i]), "hot");
        one_line();
        assert_in_range(strlen(said), 1000, 32 << 10);
        brace = strstr(said, "\"}\n");
        assert_non_null(brace); /* a whole string, then the object's end */
        assert_int_equal(brace[3], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fields_name_cannot_end_it),
        cmocka_unit_test(a_tab_of_a_text_line_is_a_blank),
        cmocka_unit_test(a_line_that_is_too_long_still_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
