/*
 * The cage holds: each way out ends the process by SIGSYS, and the kernel
 * says of a real worker what we say of it.
 */
#include "tests/unit/worker_kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "luart/cage.h"

/* ---- a caged child tries ---- */

static void try_open(void)
{
    (void)!open("/etc/hostname", O_RDONLY);
}

static void try_socket(void)
{
    socket(AF_INET, SOCK_STREAM, 0);
}

static void try_socket_unix(void)
{
    socket(AF_UNIX, SOCK_DGRAM, 0);
}

static void try_exec(void)
{
    char *argv[] = {NULL};

    execve("/bin/true", argv, argv);
}

static void try_fork(void)
{
    syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void try_ptrace(void)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void try_code_mapping(void)
{
    mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void try_code_protect(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    mprotect(at, 4096, PROT_READ | PROT_EXEC);
}

static void try_kill(void)
{
    kill(getppid(), 0);
}

static void try_tgkill(void)
{
    syscall(SYS_tgkill, 1, 1, 0);
}

static void try_limits(void)
{
    struct rlimit r = {RLIM_INFINITY, RLIM_INFINITY};

    setrlimit(RLIMIT_AS, &r);
}

static void try_setuid(void)
{
    (void)!setuid(0);
}

static void try_filter_off(void)
{
    syscall(SYS_seccomp, 0, 0, NULL);
}

static void try_sendmsg(void)
{
    struct msghdr m = {0};

    sendmsg(3, &m, 0); /* would pass descriptors on */
}

static void try_nothing(void)
{
}

static void try_memory(void)
{
    for (int i = 0; i < 100; i++) {
        char *at = malloc((size_t)i * 100000 + 1);

        at[0] = 1;
        free(at);
    }
}

static void try_time(void)
{
    time_t now = time(NULL);
    struct tm tm;
    char text[64];

    localtime_r(&now, &tm);
    mktime(&tm);
    strftime(text, sizeof text, "%H:%M %Z", &tm);
    clock();
}

static int by_byte(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

/* libc asks for the size of memory when it sorts much for the first time. */
static void try_sorting(void)
{
    static char bytes[1 << 16];

    qsort(bytes, sizeof bytes, 1, by_byte);
}

static void try_abort(void)
{
    abort();
}

static void try_bug(void)
{
    mp_bug(__FILE__, __LINE__, "a test of what happens then");
}

static const struct {
    const char *what;
    void (*act)(void);
    int signal; /* 0: goes on */
} attempts[] = {
    {"nothing", try_nothing, 0},
    {"memory", try_memory, 0},
    {"time", try_time, 0},
    {"sorting", try_sorting, 0},
    {"open", try_open, SIGSYS},
    {"socket", try_socket, SIGSYS},
    {"a unix socket", try_socket_unix, SIGSYS},
    {"execve", try_exec, SIGSYS},
    {"fork", try_fork, SIGSYS},
    {"ptrace", try_ptrace, SIGSYS},
    {"mmap PROT_EXEC", try_code_mapping, SIGSYS},
    {"mprotect PROT_EXEC", try_code_protect, SIGSYS},
    {"kill", try_kill, SIGSYS},
    {"tgkill of others", try_tgkill, SIGSYS},
    {"higher limits", try_limits, SIGSYS},
    {"another user", try_setuid, SIGSYS},
    {"another filter", try_filter_off, SIGSYS},
    {"sendmsg", try_sendmsg, SIGSYS},
    {"abort", try_abort, SIGABRT},
    {"a bug of ours", try_bug, SIGABRT},
};

static _Noreturn void be_caged(pid_t parent, void (*act)(void))
{
    struct mp_why why;
    int fd = open("/dev/null", O_RDWR);

    signal(SIGABRT, SIG_DFL); /* cmocka has handlers of its own */
    signal(SIGSYS, SIG_DFL);
    dup2(fd, 3);
    if (mp_cage_enter(parent, 3, &why)) {
        fprintf(stderr, "%s\n", why.text);
        _exit(99);
    }
    act();
    _exit(0);
}

static void every_way_out_ends_the_process(void **fixture)
{
    (void)fixture;
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
        pid_t parent = getpid(), child = fork();
        int status;

        assert_true(child >= 0);
        if (child == 0)
            be_caged(parent, attempts[i].act);
        assert_int_equal(waitpid(child, &status, 0), child);
        print_message("%s: status %x\n", attempts[i].what, (unsigned)status);
        if (attempts[i].signal) {
            assert_true(WIFSIGNALED(status));
            assert_int_equal(WTERMSIG(status), attempts[i].signal);
        } else {
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
        }
    }
}

static void a_process_of_another_parent_is_not_caged_but_refused(void **fixture)
{
    pid_t child = fork();
    int status;

    (void)fixture;
    assert_true(child >= 0);
    if (child == 0) {
        struct mp_why why;

        _exit(mp_cage_enter(1, 3, &why) == MP_ENONE ? 42 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

/* As in a container without CAP_SETUID. */
static void who_cannot_stop_being_root_is_not_caged_but_refused(void **fixture)
{
    pid_t parent = getpid(), child;
    int status;

    (void)fixture;
    if (geteuid() != 0)
        skip();
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct sock_filter refuse_setuid[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                     offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setresuid, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {
            ARRAY_LEN(refuse_setuid),
            (struct sock_filter *)(uintptr_t)refuse_setuid};
        struct mp_why why = {0};

        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
            _exit(77);
        dup2(STDERR_FILENO, 3);
        if (mp_cage_enter(parent, 3, &why) >= 0)
            _exit(0);
        _exit(strstr(why.text, "become nobody") ? 42 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 42);
}

/* ---- a real worker, as the kernel sees it ---- */

static void read_proc(pid_t pid, const char *file, char *text, size_t size)
{
    char path[64];
    FILE *f;
    size_t n;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    f = fopen(path, "r");
    if (!f)
        fail_msg("%s can't be read", path);
    n = fread(text, 1, size - 1, f);
    text[n] = '\0';
    fclose(f);
}

static void the_kernel_says_the_worker_is_caged(void **fixture)
{
    struct kit *k = kit_open();
    char text[8192];

    (void)fixture;
    read_proc(k->worker.pid, "status", text, sizeof text);
    assert_non_null(strstr(text, "NoNewPrivs:\t1\n"));
    assert_non_null(strstr(text, "Seccomp:\t2\n"));
    assert_non_null(strstr(text, "CapEff:\t0000000000000000\n"));
    if (geteuid() == 0)
        assert_non_null(strstr(text, "Uid:\t65534\t65534\t65534\t65534\n"));
    read_proc(k->worker.pid, "oom_score_adj", text, sizeof text);
    assert_true(atoi(text) >= 500);
    read_proc(k->worker.pid, "limits", text, sizeof text);
#if !defined(__SANITIZE_ADDRESS__) /* whose stderr may be a file */
    assert_non_null(strstr(text, "Max file size             0 "));
#endif
    assert_non_null(strstr(text, "Max core file size        0 "));
    assert_non_null(strstr(text, "Max open files            4 "));
    kit_close(k);
}

static void the_worker_holds_just_its_socket(void **fixture)
{
    struct kit *k = kit_open();
    char path[64], target[128], seen[256] = "";
    struct dirent *entry;
    DIR *dir;

    (void)fixture;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)k->worker.pid);
    dir = opendir(path);
    if (!dir) { /* not dumpable: only root may look */
        kit_close(k);
        skip();
    }
    while ((entry = readdir(dir))) {
        ssize_t n;

        if (entry->d_name[0] == '.')
            continue;
        n = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        assert_true(n > 0);
        target[n] = '\0';
#if defined(__SANITIZE_ADDRESS__)
        if (!strcmp(entry->d_name, "2"))
            continue; /* for the sanitizer's report */
#endif
        assert_string_equal(entry->d_name, "3");
        assert_memory_equal(target, "socket:", 7);
        strcat(seen, entry->d_name);
    }
    assert_string_equal(seen, "3");
    closedir(dir);
    kit_close(k);
}

static void the_worker_dies_with_its_parent(void **fixture)
{
    int pipe_fd[2], status;
    pid_t child, worker = 0;

    (void)fixture;
    assert_int_equal(pipe(pipe_fd), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct kit *k = kit_open();

        (void)!write(pipe_fd[1], &k->worker.pid, sizeof k->worker.pid);
        /* hold the socket past our end: only the death signal is left */
        _exit(0);
    }
    close(pipe_fd[1]);
    assert_int_equal(read(pipe_fd[0], &worker, sizeof worker), sizeof worker);
    waitpid(child, &status, 0);
    for (int i = 0; kill(worker, 0) == 0 && i < 2000; i++) {
        char text[1024];
        char path[64];
        FILE *f;

        snprintf(path, sizeof path, "/proc/%d/stat", (int)worker);
        f = fopen(path, "r"); /* a zombie nobody reaps is dead enough */
        if (f) {
            bool zombie = fgets(text, sizeof text, f) && strstr(text, ") Z");

            fclose(f);
            if (zombie)
                return;
        }
        usleep(1000);
    }
    assert_int_not_equal(kill(worker, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_out_ends_the_process),
        cmocka_unit_test(a_process_of_another_parent_is_not_caged_but_refused),
        cmocka_unit_test(who_cannot_stop_being_root_is_not_caged_but_refused),
        cmocka_unit_test(the_kernel_says_the_worker_is_caged),
        cmocka_unit_test(the_worker_holds_just_its_socket),
        cmocka_unit_test(the_worker_dies_with_its_parent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
