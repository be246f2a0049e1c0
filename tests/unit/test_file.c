/*
 * test_file.c - core/base/file.h on a real directory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/file.h"
#include "tests/unit/conf_kit.h"

static char dir[64];
static int fd;

static int make(void **state)
{
    (void)state;
    t_dir_make(dir);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0;
}

static int clear(void **state)
{
    (void)state;
    close(fd);
    t_dir_remove(dir);
    return 0;
}

static void expect(const char *name, const char *text)
{
    struct mp_buf got;
    struct mp_why why;

    mp_buf_init(&got, 4096);
    assert_int_equal(mp_file_read(fd, name, 4096, &got, &why), 0);
    assert_true(mp_slice_is(mp_buf_bytes(&got), text));
    mp_buf_fini(&got);
}

static void a_replaced_file_holds_the_new_bytes(void **state)
{
    struct mp_why why;

    (void)state;
    assert_int_equal(mp_file_replace(fd, "a", MP_S("old"), &why), 0);
    expect("a", "old");
    assert_int_equal(mp_file_replace(fd, "a", MP_S("newer"), &why), 0);
    expect("a", "newer");
    assert_int_equal(mp_file_replace(fd, "a", MP_S(""), &why), 0);
    expect("a", "");
}

static void a_replacement_that_fails_leaves_the_old_bytes(void **state)
{
    struct mp_why why;
    struct stat st;

    (void)state;
    assert_int_equal(mkdirat(fd, "a", 0755), 0);
    t_file_put(dir, "a/inside", MP_S("old"));
    assert_int_equal(mp_file_replace(fd, "a", MP_S("new"), &why), MP_EIO);
    assert_non_null(strstr(why.text, "replace a: "));
    expect("a/inside", "old");
    /* nothing half-written stays behind */
    assert_int_not_equal(fstatat(fd, ".moonpool-new", &st, 0), 0);
}

static void a_file_is_read_up_to_its_bound_and_no_further(void **state)
{
    struct mp_buf got;
    struct mp_why why;

    (void)state;
    t_file_put(dir, "ten", MP_S("0123456789"));
    mp_buf_init(&got, 4096);
    assert_int_equal(mp_file_read(fd, "ten", 10, &got, &why), 0);
    assert_int_equal(got.len, 10);
    assert_int_equal(mp_file_read(fd, "ten", 9, &got, &why), MP_ERANGE);
    mp_buf_fini(&got);
    mp_buf_init(&got, 9);
    assert_int_equal(mp_file_read(fd, "ten", 10, &got, &why), MP_EFULL);
    mp_buf_fini(&got);
}

static void what_is_no_regular_file_is_refused_at_once(void **state)
{
    struct mp_buf got;
    struct mp_why why;

    (void)state;
    mp_buf_init(&got, 4096);
    assert_int_equal(mkfifoat(fd, "fifo", 0600), 0); /* must not wait */
    assert_int_equal(mp_file_read(fd, "fifo", 10, &got, &why), MP_EPARSE);
    assert_int_equal(mp_file_read(fd, ".", 10, &got, &why), MP_EPARSE);
    assert_int_equal(mp_file_read(fd, "none", 10, &got, &why), MP_ENONE);
    assert_int_equal(mp_file_read(AT_FDCWD, "/dev/zero", 10, &got, &why),
                     MP_EPARSE);
    assert_int_equal(got.len, 0);
    mp_buf_fini(&got);
}

static void writing_goes_on_until_all_is_written(void **state)
{
    static char bytes[200000]; /* more than a pipe takes at once */
    size_t got = 0;
    char part[4096];
    int pipe_fd[2];
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(pipe_fd), 0);
    pid = fork();
    if (pid == 0)
        _exit(mp_write_all(pipe_fd[1], mp_slice(bytes, sizeof bytes)) != 0);
    close(pipe_fd[1]);
    for (ssize_t n; (n = read(pipe_fd[0], part, sizeof part)) > 0;)
        got += (size_t)n;
    close(pipe_fd[0]);
    waitpid(pid, NULL, 0);
    assert_int_equal(got, sizeof bytes);
    assert_int_equal(mp_write_all(-1, MP_S("x")), MP_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_replaced_file_holds_the_new_bytes,
                                        make, clear),
        cmocka_unit_test_setup_teardown(
            a_replacement_that_fails_leaves_the_old_bytes, make, clear),
        cmocka_unit_test_setup_teardown(
            a_file_is_read_up_to_its_bound_and_no_further, make, clear),
        cmocka_unit_test_setup_teardown(
            what_is_no_regular_file_is_refused_at_once, make, clear),
        cmocka_unit_test(writing_goes_on_until_all_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
