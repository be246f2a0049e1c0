/*
 * worker.c - starts a worker process, keeps an eye on it, ends it.
 *
 * The watch never asks the worker anything: it reads the shared page, which
 * is only a hint (a worker may write there what it likes), and the kernel's
 * clock of the process, which is not.  What the page can do is to make a run
 * look younger than it is; against that stands the time since the worker last
 * answered for anything it has in hand (pool_watch.c).  It can't make another
 * worker's run look late.
 */
#include "core/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"

#ifndef MP_LIBEXEC
#define MP_LIBEXEC "/usr/local/libexec/moonpool"
#endif

/* Beside our own executable, above it (build/tests/), or where installed. */
const char *mp_worker_program(void)
{
    static const char *const places[] = {"/moonpool-worker",
                                         "/../moonpool-worker"};
    static char path[PATH_MAX];
    char self[PATH_MAX - 32];
    ssize_t len;

    if (path[0])
        return path;
    len = readlink("/proc/self/exe", self, sizeof self - 1);
    for (size_t i = 0; len > 0 && i < ARRAY_LEN(places); i++) {
        self[len] = '\0';
        snprintf(path, sizeof path, "%.*s%s", (int)(strrchr(self, '/') - self),
                 self, places[i]);
        if (access(path, X_OK) == 0)
            return path;
    }
    snprintf(path, sizeof path, "%s/moonpool-worker", MP_LIBEXEC);
    return path;
}

/* Between fork and exec: only what is safe there. */
static _Noreturn void become_worker(const char *program, char *const argv[],
                                    int sock, int page)
{
    sigset_t none;

    /* Both may stand where the other belongs: lift them out of the way. */
    sock = fcntl(sock, F_DUPFD, 16);
    page = fcntl(page, F_DUPFD, 16);
    if (sock < 0 || page < 0 || dup2(sock, MP_FD_SOCKET) < 0 ||
        dup2(page, MP_FD_PAGE) < 0)
        _exit(126);
    close(sock);
    close(page);
    setpgid(0, 0); /* Ctrl-C is for the host, which drains */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    execv(program, argv);
    _exit(127);
}

int mp_worker_spawn(struct mp_worker *w, const char *program,
                    struct mp_why *why)
{
    int pair[2] = {-1, -1}, page = -1, rc = 0;
    char parent[24], name[] = "moonpool-worker";
    char *argv[] = {name, parent, NULL};

    *w = (struct mp_worker){.fd = -1};
    snprintf(parent, sizeof parent, "%ld", (long)getpid());
    page = memfd_create("moonpool-page", MFD_CLOEXEC);
    if (page < 0 || ftruncate(page, sizeof(struct mp_page)))
        return mp_why_errno(why, "make the page shared with a worker");
    w->page = mmap(NULL, sizeof(struct mp_page), PROT_READ | PROT_WRITE,
                   MAP_SHARED, page, 0);
    if (w->page == MAP_FAILED) {
        w->page = NULL;
        rc = mp_why_errno(why, "map the page shared with a worker");
        goto out;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        rc = mp_why_errno(why, "make a socket for a worker");
        goto out;
    }
    w->pid = fork();
    if (w->pid < 0) {
        rc = mp_why_errno(why, "start a worker");
        goto out;
    }
    if (w->pid == 0)
        become_worker(program, argv, pair[1], page);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    w->fd = pair[0];
    pair[0] = -1;
out:
    if (pair[0] >= 0)
        close(pair[0]);
    if (pair[1] >= 0)
        close(pair[1]);
    close(page);
    if (rc && w->page) {
        munmap(w->page, sizeof(struct mp_page));
        w->page = NULL;
    }
    return rc;
}

uint64_t mp_worker_current(const struct mp_worker *w, int64_t *since_us)
{
    uint64_t generation = atomic_load(&w->page->generation);

    if (generation % 2 == 0)
        return 0;
    *since_us = atomic_load(&w->page->start_us);
    return atomic_load(&w->page->run);
}

int64_t mp_worker_cpu_us(const struct mp_worker *w)
{
    struct timespec t;
    clockid_t id;

    if (clock_getcpuclockid(w->pid, &id) || clock_gettime(id, &t))
        return -1;
    return (int64_t)t.tv_sec * MP_SECOND + t.tv_nsec / 1000;
}

/*
 * The processor clock is read from the first look at a generation on, so a
 * run gets at most one watch interval more than its due, never less.
 */
enum mp_watched mp_worker_watch(struct mp_worker *w, int64_t now_us,
                                const struct mp_allowance *allowed)
{
    uint64_t generation = atomic_load(&w->page->generation);
    int64_t cpu;

    if (w->killed)
        return MP_WATCH_KILLED;
    if (generation % 2 == 0) {
        w->seen = generation;
        w->marked_us = 0;
        return MP_WATCH_IDLE;
    }
    if (generation != w->seen) {
        w->seen = generation;
        w->seen_us = now_us;
        w->seen_cpu = mp_worker_cpu_us(w);
        w->marked_us = 0;
        return MP_WATCH_FINE;
    }
    cpu = mp_worker_cpu_us(w) - w->seen_cpu;
    if (!w->marked_us) {
        if (cpu < allowed->cpu_us &&
            now_us - w->seen_us + allowed->spent_us < allowed->timeout_us)
            return MP_WATCH_FINE;
        atomic_store(&w->page->late, generation);
        kill(w->pid, MP_SIGNAL);
        w->marked_us = now_us;
        w->marked_cpu = cpu;
        return MP_WATCH_MARKED;
    }
    if (cpu - w->marked_cpu < MP_GRACE_CPU_US &&
        now_us - w->marked_us < MP_GRACE_US)
        return MP_WATCH_MARKED;
    kill(w->pid, SIGKILL);
    w->killed = true;
    return MP_WATCH_KILLED;
}

uint64_t mp_worker_memory(const struct mp_worker *w)
{
    unsigned long total, resident, shared;
    char path[64];
    int n = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%ld/statm", (long)w->pid);
    f = fopen(path, "re");
    if (!f)
        return 0;
    n = fscanf(f, "%lu %lu %lu", &total, &resident, &shared);
    fclose(f);
    return n == 3 ? (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

void mp_worker_nudge(struct mp_worker *w)
{
    if (!w->killed)
        kill(w->pid, MP_SIGNAL);
}

void mp_worker_recall(struct mp_worker *w, uint64_t last)
{
    atomic_store(&w->page->recalled, last);
}

int mp_worker_end(struct mp_worker *w)
{
    int status = 0;

    if (w->pid > 0) {
        kill(w->pid, SIGKILL);
        while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    if (w->fd >= 0)
        close(w->fd);
    if (w->page)
        munmap(w->page, sizeof(struct mp_page));
    *w = (struct mp_worker){.fd = -1};
    return status;
}
