/*
 * cage.c - the walls around user code, from outside to inside.
 *
 * Debian's Lua has faults that plain scripts can reach, so we assume that one
 * day user code owns this process.  It then owns a process without files,
 * network, descriptors and rights, that can talk to the host in frames the
 * host checks, and burn its processor time until the host ends it.
 *
 * The order matters: a changed user id clears the death signal; opening files
 * (oom score, time zone) must come before the limits; the filter is last.
 */
#include "luart/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

enum { NOBODY = 65534 };

/*
 * Address space: the arena, images and waiting instances.  The host's memory
 * budget keeps their sum far lower; this is for a process gone wild.
 */
#define ADDRESS_SPACE ((rlim_t)1 << 30)
#define DATA ((rlim_t)768 << 20)
#define STACK_SIZE ((rlim_t)8 << 20)

static int drop_user(struct mp_why *why)
{
    if (geteuid() != 0)
        return 0;
    if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
        setresuid(NOBODY, NOBODY, NOBODY))
        return mp_why_errno(why, "become nobody instead of root");
    if (setresuid(0, 0, 0) == 0)
        return mp_why_set(why, MP_EIO, "could take root back");
    return 0;
}

static int die_with_parent(pid_t parent, struct mp_why *why)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL))
        return mp_why_errno(why, "ask to die with the parent");
    if (getppid() != parent)
        return mp_why_set(why, MP_ENONE, "the parent is gone");
    return 0;
}

/* The kernel should take us first: we are cheap to start again. */
static void offer_to_oom_killer(void)
{
    static const char score[] = "500";
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, score, sizeof score - 1) < 0)
        fprintf(stderr, "moonpool-worker: oom_score_adj: %s\n",
                strerror(errno));
    close(fd);
}

static int compare_bytes(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

/* What libc asks the system for at first use, it asks now. */
static void warm_up(void)
{
    char bytes[4096] = {0};
    time_t now = time(NULL);
    struct tm tm;

    /* Functions have zones of their own (sandbox.c); without TZ, libc would
     * look for a changed zone file at each mktime. */
    if (setenv("TZ", "UTC0", 1))
        mp_oom(0);
    tzset();
    localtime_r(&now, &tm);
    mktime(&tm);
    strftime(bytes, sizeof bytes, "%F %Z", &tm);
    qsort(bytes, sizeof bytes, 1, compare_bytes); /* reads the memory size */
}

static int close_but(int keep, struct mp_why *why)
{
    const unsigned last = SANITIZED ? 1 : 2; /* of the standard ones */

    if (syscall(SYS_close_range, 0U, last, 0) ||
        (keep > 3 && syscall(SYS_close_range, 3U, (unsigned)keep - 1, 0)) ||
        syscall(SYS_close_range, (unsigned)keep + 1, ~0U, 0))
        return mp_why_errno(why, "close what was inherited");
    return 0;
}

static int limit(int resource, rlim_t value, struct mp_why *why)
{
    struct rlimit old, r = {value, value};

    if (getrlimit(resource, &old))
        return mp_why_errno(why, "read a resource limit");
    if (old.rlim_max < value)
        r.rlim_cur = r.rlim_max = old.rlim_max;
    if (setrlimit(resource, &r))
        return mp_why_errno(why, "set a resource limit");
    return 0;
}

static int limits(int keep, struct mp_why *why)
{
    int rc = 0;

    if (!SANITIZED) { /* ASan's shadow is terabytes of address space */
        rc = limit(RLIMIT_AS, ADDRESS_SPACE, why);
        if (!rc)
            rc = limit(RLIMIT_DATA, DATA, why);
        if (!rc)
            rc = limit(RLIMIT_STACK, STACK_SIZE, why);
    }
    if (!rc)
        rc = limit(RLIMIT_NOFILE, (rlim_t)keep + 1, why);
    if (!rc && !SANITIZED) /* whose stderr may be a file */
        rc = limit(RLIMIT_FSIZE, 0, why);
    if (!rc)
        rc = limit(RLIMIT_CORE, 0, why);
    return rc;
}

/* ---- the filter ---- */

/* Memory may be had, but never to execute. */
static const char *const without_exec[] = {"mmap", "mmap2", "mprotect"};

static const char *const allowed[] = {
    /* the socket */
    "recvfrom",
    "sendto",
    "recv",
    "send",
    "read",
    "write",
    "poll",
    "ppoll",
    "ppoll_time64",
    /* clocks, where they are no vdso calls */
    "clock_gettime",
    "clock_gettime64",
    "gettimeofday",
    "time",
    /* memory */
    "brk",
    "munmap",
    "mremap",
    "madvise",
    "futex",
    "futex_time64",
    /* signals and the end */
    "rt_sigreturn",
    "sigreturn",
    "rt_sigprocmask",
    "restart_syscall",
    "getpid",
    "gettid",
    "exit",
    "exit_group",
};

static const char *const sanitizer_needs[] = {"sigaltstack",  "sched_yield",
                                              "rt_sigaction", "getrandom",
                                              "prctl",        "close"};

static int allow(scmp_filter_ctx filter, const char *name, unsigned n,
                 const struct scmp_arg_cmp *args)
{
    int number = seccomp_syscall_resolve_name(name);

    if (number < 0)
        return 0; /* this architecture has no such call */
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, n, args);
}

static int add_rules(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp no_exec =
        SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    const struct scmp_arg_cmp self =
        SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid());
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(allowed) && !rc; i++)
        rc = allow(filter, allowed[i], 0, NULL);
    for (size_t i = 0; i < ARRAY_LEN(without_exec) && !rc; i++)
        rc = allow(filter, without_exec[i], 1, &no_exec);
    if (!rc)
        rc = allow(filter, "tgkill", 1, &self); /* abort() */
    for (size_t i = 0; SANITIZED && i < ARRAY_LEN(sanitizer_needs) && !rc; i++)
        rc = allow(filter, sanitizer_needs[i], 0, NULL);
    return rc;
}

static int load_filter(struct mp_why *why)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int rc;

    if (!filter)
        return mp_why_set(why, MP_EIO, "make a system call filter");
    rc = add_rules(filter);
    if (!rc)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    if (rc)
        return mp_why_set(why, MP_EIO, "load the system call filter: %s",
                          strerror(-rc));
    return 0;
}

int mp_cage_enter(pid_t parent, int keep, struct mp_why *why)
{
    int rc;

    offer_to_oom_killer();
    warm_up();
    rc = drop_user(why);
    if (!rc)
        rc = die_with_parent(parent, why);
    if (!rc)
        rc = close_but(keep, why);
    if (!rc)
        rc = limits(keep, why);
    if (rc)
        return rc;
    if (prctl(PR_SET_DUMPABLE, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return mp_why_errno(why, "give up rights");
    return load_filter(why);
}
