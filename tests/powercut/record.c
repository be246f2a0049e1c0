/*
 * record.c - record.so, loaded by LD_PRELOAD: writes down every change of the
 * files below a directory, every sync, and what passes on TCP sockets, which
 * is what was promised to others.
 *
 *   RECORD_BELOW  the directory; empty at the start
 *   RECORD_LOG    the log (record.h), outside of it
 *   RECORD_ONLY   name of the program to record; others are left alone
 *
 * Not recorded: SQLite's -shm, which is shared memory in a file's clothes and
 * is made anew after a crash.  A program whose own read() and write() hide
 * ours calls syscall() for them (transports/mqtt_io.c), so that is wrapped.
 */
#undef _FORTIFY_SOURCE
#include "tests/powercut/record.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS = 1024, FILES = 4096, DIR_FILE = 0, NONE = -1, SOCKET = -2 };

typedef long syscall_fn(long, ...);

/* The C library's; found at the first use, which may come before `begin`. */
static syscall_fn *kernel(void)
{
    static syscall_fn *found;

    if (!found)
        found = (syscall_fn *)dlsym(RTLD_NEXT, "syscall");
    return found;
}
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char below[PATH_MAX];
static int log_fd = -1;
static int64_t records;
static int what[FDS];       /* file, NONE or SOCKET */
static int64_t offset[FDS]; /* for write() */
static ino_t inodes[FILES]; /* by file; the last one counts */
static uint32_t files = 1;  /* 0 is the directory */

__attribute__((constructor)) static void begin(void)
{
    const char *dir = getenv("RECORD_BELOW"), *log = getenv("RECORD_LOG"),
               *only = getenv("RECORD_ONLY");

    for (int i = 0; i < FDS; i++)
        what[i] = NONE;
    unsetenv("LD_PRELOAD");
    if (!dir || !log ||
        (only && strcmp(program_invocation_short_name, only) != 0))
        return;
    if (!realpath(dir, below))
        return;
    log_fd = (int)kernel()(SYS_openat, AT_FDCWD, log,
                           O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

/* With the lock held. */
static int64_t note(enum record_type type, int file, int64_t at,
                    const void *bytes, size_t len)
{
    struct record r = {type, (uint32_t)file, at, (uint32_t)len, 0};
    struct iovec v[2] = {{&r, sizeof r},
                         {(void *)(uintptr_t)bytes, len}}; /* only read */

    if (kernel()(SYS_writev, log_fd, v, 2) != (long)(sizeof r + len))
        abort(); /* a log with a hole proves nothing */
    return records++;
}

static int kind_of(int fd)
{
    return log_fd >= 0 && fd >= 0 && fd < FDS ? what[fd] : NONE;
}

/* The path below the directory ("" is the directory itself); false: it is
 * elsewhere, or memory. */
static bool name_of(int fd, char name[PATH_MAX])
{
    char link[64], path[PATH_MAX];
    size_t skip = strlen(below);
    ssize_t len;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof path - 1);
    if (len <= 0)
        return false;
    path[len] = '\0';
    if (strncmp(path, below, skip) != 0 || (path[skip] && path[skip] != '/'))
        return false;
    if (len > 4 && strcmp(path + len - 4, "-shm") == 0)
        return false;
    snprintf(name, PATH_MAX, "%s", path + skip + (path[skip] == '/'));
    return true;
}

/* The same of a path, whether or not there is such a file. */
static bool name_at(int dir, const char *path, char name[PATH_MAX])
{
    char full[PATH_MAX], parent[PATH_MAX] = "";
    size_t skip = strlen(below);

    if (path[0] != '/') {
        if (dir == AT_FDCWD || !name_of(dir, parent))
            return false;
        snprintf(name, PATH_MAX, "%.2000s%s%.2000s", parent,
                 parent[0] ? "/" : "", path);
        return true;
    }
    snprintf(full, sizeof full, "%s", path);
    if (strncmp(full, below, skip) != 0 || full[skip] != '/')
        return false;
    snprintf(name, PATH_MAX, "%s", full + skip + 1);
    return strlen(name) < 4 || strcmp(name + strlen(name) - 4, "-shm") != 0;
}

/* ---- opening and closing ---- */

static int file_by_inode(ino_t inode)
{
    for (int i = (int)files - 1; i > 0; i--)
        if (inodes[i] == inode)
            return i;
    return NONE;
}

/* With the lock held. */
static void opened(int fd, bool created, bool truncated)
{
    char name[PATH_MAX];
    struct stat st;

    if (fd < 0 || fd >= FDS || !name_of(fd, name) || fstat(fd, &st))
        return;
    offset[fd] = 0;
    if (S_ISDIR(st.st_mode)) {
        what[fd] = DIR_FILE;
        return;
    }
    what[fd] = created ? NONE : file_by_inode(st.st_ino);
    if (what[fd] == NONE) {
        if (files == FILES)
            abort();
        inodes[files] = st.st_ino;
        what[fd] = (int)files++;
        note(REC_CREATE, what[fd], 0, name, strlen(name));
    } else if (truncated) {
        note(REC_TRUNCATE, what[fd], 0, NULL, 0);
    }
}

static int open_as(int dir, const char *path, int flags, mode_t mode)
{
    bool there;
    int fd;

    if (log_fd < 0)
        return (int)kernel()(SYS_openat, dir, path, flags, mode);
    pthread_mutex_lock(&lock);
    there = !(flags & O_CREAT) || faccessat(dir, path, F_OK, 0) == 0;
    fd = (int)kernel()(SYS_openat, dir, path, flags, mode);
    if (fd >= 0)
        opened(fd, !there, flags & O_TRUNC);
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE_OF(flags, mode)                                                   \
    do {                                                                       \
        va_list args;                                                          \
        va_start(args, flags);                                                 \
        mode = (flags)&O_CREAT ? va_arg(args, mode_t) : 0;                     \
        va_end(args);                                                          \
    } while (0)

int open(const char *path, int flags, ...)
{
    mode_t mode;

    MODE_OF(flags, mode);
    return open_as(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    mode_t mode;

    MODE_OF(flags, mode);
    return open_as(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    mode_t mode;

    MODE_OF(flags, mode);
    return open_as(dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
    mode_t mode;

    MODE_OF(flags, mode);
    return open_as(dir, path, flags, mode);
}

int creat(const char *path, mode_t mode)
{
    return open_as(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int close(int fd)
{
    if (kind_of(fd) != NONE) {
        pthread_mutex_lock(&lock);
        what[fd] = NONE;
        pthread_mutex_unlock(&lock);
    }
    return (int)kernel()(SYS_close, fd);
}

/* ---- changes of files ---- */

static ssize_t put(int fd, const void *bytes, size_t len, int64_t at)
{
    ssize_t n;

    pthread_mutex_lock(&lock);
    n = at < 0 ? kernel()(SYS_write, fd, bytes, len)
               : kernel()(SYS_pwrite64, fd, bytes, len, at);
    if (n > 0) {
        note(REC_WRITE, what[fd], at < 0 ? offset[fd] : at, bytes, (size_t)n);
        if (at < 0)
            offset[fd] += n;
    }
    pthread_mutex_unlock(&lock);
    return n;
}

static ssize_t came(int fd, const void *bytes, ssize_t len)
{
    int kept = errno;

    if (len > 0 && kind_of(fd) == SOCKET) {
        pthread_mutex_lock(&lock);
        note(REC_RECEIVE, fd, 0, bytes, (size_t)len);
        pthread_mutex_unlock(&lock);
    }
    errno = kept;
    return len;
}

/* Under the lock from before it leaves until it is noted, so that nothing that
 * was done after the promise can stand before it. */
static ssize_t leave(int fd, const void *bytes, size_t len, int flags)
{
    ssize_t n;

    pthread_mutex_lock(&lock);
    n = kernel()(SYS_sendto, fd, bytes, len, flags | MSG_DONTWAIT, NULL, 0);
    if (n > 0)
        note(REC_SEND, fd, 0, bytes, (size_t)n);
    pthread_mutex_unlock(&lock);
    return n;
}

/* By other names than write and read: those may be the program's own, which
 * call syscall() and so come back here. */
static ssize_t write_as(int fd, const void *bytes, size_t len)
{
    int kind = kind_of(fd);

    if (kind == SOCKET)
        return leave(fd, bytes, len, MSG_NOSIGNAL);
    if (kind != NONE)
        return put(fd, bytes, len, -1);
    return kernel()(SYS_write, fd, bytes, len);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    return write_as(fd, bytes, len);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    if (kind_of(fd) == NONE)
        return kernel()(SYS_pwrite64, fd, bytes, len, at);
    return put(fd, bytes, len, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    return pwrite(fd, bytes, len, at);
}

/* A file written by these would have a hole in its log. */
ssize_t writev(int fd, const struct iovec *v, int n)
{
    if (kind_of(fd) != NONE)
        abort();
    return kernel()(SYS_writev, fd, v, n);
}

int ftruncate(int fd, off_t len)
{
    int rc;

    if (kind_of(fd) == NONE)
        return (int)kernel()(SYS_ftruncate, fd, len);
    pthread_mutex_lock(&lock);
    rc = (int)kernel()(SYS_ftruncate, fd, len);
    if (rc == 0)
        note(REC_TRUNCATE, what[fd], len, NULL, 0);
    pthread_mutex_unlock(&lock);
    return rc;
}

int ftruncate64(int fd, off64_t len)
{
    return ftruncate(fd, len);
}

/* What was written before the call is durable when it returns; the lock is
 * not held meanwhile, so that others write on. */
static int sync_as(long number, int fd)
{
    int rc, file = kind_of(fd);
    int64_t begun;

    if (file < 0)
        return (int)kernel()(number, fd);
    pthread_mutex_lock(&lock);
    begun = note(REC_SYNC_BEGIN, file, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    rc = (int)kernel()(number, fd);
    if (rc)
        return rc;
    pthread_mutex_lock(&lock);
    note(REC_SYNC_END, file, begun, NULL, 0);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd)
{
    return sync_as(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_as(SYS_fdatasync, fd);
}

/* ---- names ---- */

int unlinkat(int dir, const char *path, int flags)
{
    char name[PATH_MAX];
    int rc;

    if (log_fd < 0 || !name_at(dir, path, name))
        return (int)kernel()(SYS_unlinkat, dir, path, flags);
    pthread_mutex_lock(&lock);
    rc = (int)kernel()(SYS_unlinkat, dir, path, flags);
    if (rc == 0)
        note(REC_UNLINK, 0, 0, name, strlen(name));
    pthread_mutex_unlock(&lock);
    return rc;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    char names[2 * PATH_MAX], name[PATH_MAX];
    size_t len;
    int rc;

    if (log_fd < 0 || !name_at(from_dir, from, names) ||
        !name_at(to_dir, to, name))
        return (int)kernel()(SYS_renameat2, from_dir, from, to_dir, to, 0);
    len = strlen(names) + 1;
    memcpy(names + len, name, strlen(name) + 1);
    pthread_mutex_lock(&lock);
    rc = (int)kernel()(SYS_renameat2, from_dir, from, to_dir, to, 0);
    if (rc == 0)
        note(REC_RENAME, 0, 0, names, len + strlen(name));
    pthread_mutex_unlock(&lock);
    return rc;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* ---- sockets ---- */

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    if (log_fd >= 0 && fd >= 0 && fd < FDS && to->sa_family == AF_INET &&
        kind_of(fd) == NONE) {
        pthread_mutex_lock(&lock);
        what[fd] = SOCKET;
        note(REC_CONNECT, fd, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return (int)kernel()(SYS_connect, fd, to, len);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    if (kind_of(fd) == SOCKET)
        return leave(fd, bytes, len, flags);
    return kernel()(SYS_sendto, fd, bytes, len, flags, NULL, 0);
}

static ssize_t read_as(int fd, void *bytes, size_t len)
{
    return came(fd, bytes, kernel()(SYS_read, fd, bytes, len));
}

ssize_t read(int fd, void *bytes, size_t len)
{
    return read_as(fd, bytes, len);
}

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
    return came(fd, bytes,
                kernel()(SYS_recvfrom, fd, bytes, len, flags, NULL, NULL));
}

long syscall(long number, ...)
{
    long a[6];
    va_list args;

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_write)
        return write_as((int)a[0], (const void *)a[1], (size_t)a[2]);
    if (number == SYS_read)
        return read_as((int)a[0], (void *)a[1], (size_t)a[2]);
    return kernel()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
