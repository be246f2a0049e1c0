/*
 * test_secrets.c - secrets in a real directory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/secrets.h"
#include "tests/unit/conf_kit.h"

static char dir[64], at[96];

static int make(void **state)
{
    (void)state;
    t_dir_make(dir);
    snprintf(at, sizeof at, "%s/secrets", dir);
    unsetenv("CREDENTIALS_DIRECTORY");
    return 0;
}

static int clear(void **state)
{
    (void)state;
    t_dir_remove(dir);
    return 0;
}

static void what_is_set_is_read_until_it_is_removed(void **state)
{
    char *value = NULL, path[160];
    struct mp_why why;
    struct stat st;

    (void)state;
    assert_int_equal(mp_secret_read(at, "hook", "KEY", &value, &why), MP_ENONE);
    assert_string_equal(why.text, "secret KEY of hook is missing; give it "
                                  "with: moonpool secret set hook KEY");
    assert_int_equal(mp_secret_write(at, "hook", "KEY", MP_S("first"), &why),
                     0);
    assert_int_equal(
        mp_secret_write(at, "hook", "KEY", MP_S("s3cret value\n"), &why), 0);
    snprintf(path, sizeof path, "%s/hook/KEY", at);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(mp_secret_read(at, "hook", "KEY", &value, &why), 0);
    assert_string_equal(value, "s3cret value");
    mp_secret_free(value);
    assert_int_equal(mp_secret_remove(at, "hook", "KEY", &why), 0);
    assert_int_equal(mp_secret_remove(at, "hook", "KEY", &why), MP_ENONE);
    assert_int_equal(mp_secret_read(at, "hook", "KEY", &value, &why), MP_ENONE);
}

static void one_that_others_may_read_is_refused(void **state)
{
    struct mp_why why;
    char *value = NULL, path[160];

    (void)state;
    assert_int_equal(mp_secret_write(at, "hook", "KEY", MP_S("x"), &why), 0);
    snprintf(path, sizeof path, "%s/hook/KEY", at);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(mp_secret_read(at, "hook", "KEY", &value, &why), MP_EDENY);
    assert_non_null(strstr(why.text, "chmod 600"));
}

static void a_credential_stands_in(void **state)
{
    struct mp_why why;
    char *value = NULL;

    (void)state;
    t_file_put(dir, "hook.KEY", MP_S("from systemd\n"));
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    assert_int_equal(mp_secret_read(at, "hook", "KEY", &value, &why), 0);
    assert_string_equal(value, "from systemd");
    mp_secret_free(value);
}

static void what_is_no_value_is_not_written(void **state)
{
    struct mp_why why;

    (void)state;
    assert_int_equal(mp_secret_write(at, "hook", "KEY", MP_S(""), &why),
                     MP_ERANGE);
    assert_int_equal(
        mp_secret_write(at, "hook", "KEY", mp_slice("a\0b", 3), &why),
        MP_ERANGE);
}

static void secrets_in_a_text_are_stars(void **state)
{
    const struct mp_slice values[] = {MP_S("hunter2"), MP_S("hunter2000"),
                                      MP_S("short")};
    static const struct {
        const char *text, *masked;
    } all[] = {
        {"nothing here", "nothing here"},
        {"hunter2", "***"},
        {"a hunter2000, hunter2hunter2 b", "a ***, ****** b"},
        {"a short one stays", "a short one stays"},
        {"hunter", "hunter"},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct mp_buf out;

        mp_buf_init(&out, 4096);
        mp_secrets_mask(&out, mp_slice_str(all[i].text), values,
                        ARRAY_LEN(values));
        assert_true(mp_slice_is(mp_buf_bytes(&out), all[i].masked));
        mp_buf_fini(&out);
    }
}

static void all_that_a_function_was_granted_is_read_or_nothing(void **state)
{
    const struct mp_slice names[] = {MP_S("KEY"), MP_S("TOKEN")};
    struct mp_pair *secrets = NULL;
    struct mp_why why;

    (void)state;
    assert_int_equal(mp_secrets_read(at, "hook", NULL, 0, &secrets, &why), 0);
    assert_null(secrets);
    mp_secrets_free(secrets, 0);
    assert_int_equal(mp_secret_write(at, "hook", "KEY", MP_S("first"), &why),
                     0);
    assert_int_equal(mp_secrets_read(at, "hook", names, 2, &secrets, &why),
                     MP_ENONE);
    assert_null(secrets);
    assert_string_equal(why.text, "secret TOKEN of hook is missing; give it "
                                  "with: moonpool secret set hook TOKEN");
    assert_int_equal(mp_secret_write(at, "hook", "TOKEN", MP_S("2nd"), &why),
                     0);
    assert_int_equal(mp_secrets_read(at, "hook", names, 2, &secrets, &why), 0);
    assert_true(mp_slice_is(secrets[0].name, "KEY"));
    assert_true(mp_slice_is(secrets[0].value, "first"));
    assert_true(mp_slice_is(secrets[1].value, "2nd"));
    mp_secrets_free(secrets, 2);
}

static void what_is_in_use_is_hidden_and_nothing_else(void **state)
{
    const struct mp_slice text = MP_S("x hunter2000 hunter2 y");
    const struct mp_slice name[] = {MP_S("KEY")};
    struct mp_pair *old, *new;
    struct mp_why why;
    struct mp_buf out;

    (void)state;
    mp_buf_init(&out, text.len);
    assert_ptr_equal(mp_secrets_hide(text, &out).ptr, text.ptr);
    assert_int_equal(mp_secret_write(at, "hook", "KEY", MP_S("hunter2"), &why),
                     0);
    assert_int_equal(mp_secrets_read(at, "hook", name, 1, &old, &why), 0);
    assert_true(mp_slice_is(mp_secrets_hide(text, &out), "x ***000 *** y"));
    assert_int_equal(
        mp_secret_write(at, "hook", "KEY", MP_S("hunter2000"), &why), 0);
    assert_int_equal(mp_secrets_read(at, "hook", name, 1, &new, &why), 0);
    assert_true(mp_slice_is(mp_secrets_hide(text, &out), "x *** *** y"));
    mp_secrets_free(old, 1);
    assert_true(mp_slice_is(mp_secrets_hide(text, &out), "x *** hunter2 y"));
    assert_int_equal(mp_secrets_hide(MP_S("none"), &out).len, 4);
    mp_secrets_free(new, 1);
    assert_ptr_equal(mp_secrets_hide(text, &out).ptr, text.ptr);
    mp_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_set_is_read_until_it_is_removed,
                                        make, clear),
        cmocka_unit_test_setup_teardown(one_that_others_may_read_is_refused,
                                        make, clear),
        cmocka_unit_test_setup_teardown(a_credential_stands_in, make, clear),
        cmocka_unit_test_setup_teardown(what_is_no_value_is_not_written, make,
                                        clear),
        cmocka_unit_test(secrets_in_a_text_are_stars),
        cmocka_unit_test_setup_teardown(
            all_that_a_function_was_granted_is_read_or_nothing, make, clear),
        cmocka_unit_test_setup_teardown(
            what_is_in_use_is_hidden_and_nothing_else, make, clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
