/*
 * fault.c - fault.so, loaded into the host by LD_PRELOAD: the Nth write, sync
 * or allocation fails.
 *
 *   FAULT_PAGE   a file with struct fault_page, mapped shared
 *   FAULT_BELOW  directory whose files count
 *
 * Only moonpool-host is touched: workers hold no file.  The host's own
 * write() (transports/mqtt_io.c) hides ours and calls syscall(), so that is
 * wrapped, too.
 */
#undef _FORTIFY_SOURCE
#include "tests/fault/fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);

static struct fault_page *page;
static char below[PATH_MAX];
typedef long syscall_fn(long, ...);

/* The C library's; found at the first use, which may come before `begin`. */
static syscall_fn *kernel(void)
{
    static syscall_fn *found;

    if (!found)
        found = (syscall_fn *)dlsym(RTLD_NEXT, "syscall");
    return found;
}

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("FAULT_PAGE"), *dir = getenv("FAULT_BELOW");
    void *at;
    int fd;

    unsetenv("LD_PRELOAD");
    if (!file || !dir ||
        strcmp(program_invocation_short_name, "moonpool-host") != 0)
        return;
    snprintf(below, sizeof below, "%s/", dir);
    fd = open(file, O_RDWR | O_CLOEXEC);
    at = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        page = at;
}

static long long now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static bool fails(enum fault_kind kind)
{
    long at, n = atomic_fetch_add(&page->passed[kind], 1) + 1;
    int for_ms;

    at = atomic_load(&page->at[kind]);
    if (!at || n < at)
        return false;
    for_ms = atomic_load(&page->for_ms);
    if (n > at && (!for_ms || now_us() >= atomic_load(&page->until_us)))
        return false;
    if (n == at)
        atomic_store(&page->until_us, now_us() + for_ms * 1000LL);
    atomic_fetch_add(&page->failed, 1);
    return true;
}

/* Is that descriptor a file of ours?  -shm is memory, not disk. */
static bool is_ours(int fd)
{
    char link[64], path[PATH_MAX];
    ssize_t len;

    if (!page)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof path - 1);
    if (len <= 0)
        return false;
    path[len] = '\0';
    if (len > 4 && strcmp(path + len - 4, "-shm") == 0)
        return false;
    return strncmp(path, below, strlen(below)) == 0 ||
           strncmp(path, below, strlen(below) - 1) == 0;
}

static bool file_fails(int fd, enum fault_kind kind)
{
    if (!page || !is_ours(fd) || !fails(kind))
        return false;
    errno = kind == FAULT_SYNC ? EIO : atomic_load(&page->error);
    return true;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    if (file_fails(fd, FAULT_WRITE))
        return -1;
    return kernel()(SYS_write, fd, bytes, len);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    if (file_fails(fd, FAULT_WRITE))
        return -1;
    return kernel()(SYS_pwrite64, fd, bytes, len, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    return pwrite(fd, bytes, len, at);
}

int ftruncate(int fd, off_t len)
{
    if (file_fails(fd, FAULT_WRITE))
        return -1;
    return (int)kernel()(SYS_ftruncate, fd, len);
}

int ftruncate64(int fd, off64_t len)
{
    return ftruncate(fd, len);
}

int fsync(int fd)
{
    if (file_fails(fd, FAULT_SYNC))
        return -1;
    return (int)kernel()(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    if (file_fails(fd, FAULT_SYNC))
        return -1;
    return (int)kernel()(SYS_fdatasync, fd);
}

long syscall(long number, ...)
{
    long a[6];
    va_list args;

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_write && file_fails((int)a[0], FAULT_WRITE))
        return -1;
    return kernel()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

void *malloc(size_t size)
{
    if (page && fails(FAULT_ALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    if (page && fails(FAULT_ALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    if (page && fails(FAULT_ALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(old, size);
}
