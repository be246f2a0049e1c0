/*
 * faketime.c - faketime.so, loaded by LD_PRELOAD: the clocks of a running
 * program are set by a script, and run faster.
 *
 *   FAKETIME_FILE    16 digits of hex and the end of the line: nanoseconds,
 *                    wall clock minus monotonic clock.  Mapped, so what is
 *                    written into it holds at once
 *   FAKETIME_SPEED   a number: how much faster time goes; 1 when not given
 *
 * The monotonic clocks are the kernel's times the speed, so that all programs
 * have the same: a host, its workers, and the `date` that a script asks.
 * What is waited for in the loop or on a condition is made shorter by as much.
 * Processor time and timerfd stay as they are.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
enum { DIGITS = 16 };

typedef int clock_fn(clockid_t, struct timespec *);
typedef int epoll_fn(int, struct epoll_event *, int, int, const sigset_t *);

static const char *text; /* of FAKETIME_FILE */
static int64_t speed = 1;

static clock_fn *real_clock(void)
{
    static clock_fn *found;

    if (!found)
        found = (clock_fn *)dlsym(RTLD_NEXT, "clock_gettime");
    return found;
}

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("FAKETIME_FILE");
    const char *times = getenv("FAKETIME_SPEED");
    void *at;
    int fd;

    if (!file || (fd = open(file, O_RDONLY | O_CLOEXEC)) < 0)
        return;
    at = mmap(NULL, DIGITS, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        return;
    text = at;
    if (times && atoi(times) > 0)
        speed = atoi(times);
}

/* Read until it is the same twice: a script may be writing. */
static int64_t offset_ns(void)
{
    char now[DIGITS + 1] = {0}, again[DIGITS];

    do {
        memcpy(now, text, DIGITS);
        __asm__ volatile("" ::: "memory");
        memcpy(again, text, DIGITS);
    } while (memcmp(now, again, DIGITS) != 0);
    return (int64_t)strtoull(now, NULL, 16);
}

static bool is_monotonic(clockid_t id)
{
    return id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE ||
           id == CLOCK_MONOTONIC_RAW || id == CLOCK_BOOTTIME;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    bool wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
    int64_t ns;
    int rc;

    if (!text || (!wall && !is_monotonic(id)))
        return real_clock()(id, t);
    rc = real_clock()(wall ? CLOCK_MONOTONIC : id, t);
    if (rc)
        return rc;
    ns = (t->tv_sec * SECOND + t->tv_nsec) * speed + (wall ? offset_ns() : 0);
    t->tv_sec = ns / SECOND;
    t->tv_nsec = ns % SECOND;
    return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec t;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    tv->tv_sec = t.tv_sec;
    tv->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    if (at)
        *at = t.tv_sec;
    return t.tv_sec;
}

int epoll_pwait(int fd, struct epoll_event *events, int n, int timeout,
                const sigset_t *mask)
{
    static epoll_fn *found;

    if (!found)
        found = (epoll_fn *)dlsym(RTLD_NEXT, "epoll_pwait");
    if (timeout > 0)
        timeout = (int)((timeout + speed - 1) / speed);
    return found(fd, events, n, timeout, mask);
}

int epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
    return epoll_pwait(fd, events, n, timeout, NULL);
}

/* All conditions of ours, and libuv's, are on the monotonic clock. */
int pthread_cond_timedwait(pthread_cond_t *restrict cond,
                           pthread_mutex_t *restrict lock,
                           const struct timespec *restrict until)
{
    int64_t ns = (until->tv_sec * SECOND + until->tv_nsec) / speed;
    struct timespec t = {ns / SECOND, ns % SECOND};

    return pthread_cond_clockwait(cond, lock, CLOCK_MONOTONIC, &t);
}
