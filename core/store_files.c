/*
 * store_files.c - the files beside SQLite's work: who may use the directory,
 * what of a WAL is really on disk, and where a database goes that is not one
 * any more.
 *
 * The lock is the kernel's (flock), so it goes when its holder dies in
 * whatever way; the pid in the file is only for the sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/crash.h"
#include "core/base/file.h"
#include "core/store_impl.h"

#define LOCK_NAME "moonpool.lock"

enum {
    SAME_SECOND_MAX = 100, /* names tried before we say no */
    COPY_BYTES = 64 << 10,
};

/* ---- the lock ---- */

static int deny(int fd, struct mp_why *why)
{
    char pid[16] = "";
    ssize_t len = pread(fd, pid, sizeof pid - 1, 0);
    long n = len > 0 ? strtol(pid, NULL, 10) : 0;

    if (n <= 0) /* it has not written it yet */
        return mp_why_set(why, MP_EDENY,
                          "another moonpool has this data directory");
    return mp_why_set(why, MP_EDENY,
                      "another moonpool (pid %ld) has this data directory", n);
}

static int lock(int fd, struct mp_why *why)
{
    char pid[16];
    int len;

    while (flock(fd, LOCK_EX | LOCK_NB))
        if (errno == EWOULDBLOCK)
            return deny(fd, why);
        else if (errno != EINTR)
            return mp_why_errno(why, "lock %s", LOCK_NAME);
    len = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)len, 0) != len)
        return mp_why_errno(why, "write %s", LOCK_NAME);
    return 0;
}

int mp_store_lock(int dir_fd, struct mp_why *why)
{
    int fd = openat(dir_fd, LOCK_NAME,
                    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    int rc;

    if (fd < 0)
        return mp_why_errno(why, "open %s", LOCK_NAME);
    rc = lock(fd, why);
    if (rc) {
        close(fd);
        return rc;
    }
    return fd;
}

/* ---- written again ---- */

/* Nobody has a lock on a WAL: closing this descriptor drops none. */
static int rewrite(int fd)
{
    char *bytes = mp_alloc(COPY_BYTES);
    ssize_t len, n;
    off_t at = 0;

    while ((len = pread(fd, bytes, COPY_BYTES, at)) > 0) {
        n = pwrite(fd, bytes, (size_t)len, at);
        if (n <= 0)
            break;
        at += n;
    }
    free(bytes);
    return len == 0 ? fsync(fd) : -1; /* to its end */
}

int mp_store_rewrite_wal(const char *data, struct mp_why *why)
{
    int dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, rc = 0;

    if (dir < 0)
        return mp_why_errno(why, "open %s", data);
    fd = openat(dir, MP_DB_NAME "-wal", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    close(dir);
    if (fd < 0)
        return errno == ENOENT ? 0 : mp_why_errno(why, "open the WAL");
    if (rewrite(fd))
        rc = mp_why_errno(why, "write the WAL again");
    close(fd);
    return rc;
}

/* ---- setting aside ---- */

/* A name that neither a database nor a WAL has; "" if there is none. */
static void free_name(int dir_fd, char *name, size_t size)
{
    time_t now = (time_t)(mp_wall_us() / MP_SECOND);
    char wal[200];
    struct tm tm;
    size_t len;

    gmtime_r(&now, &tm);
    len = strftime(name, size, MP_DB_NAME ".corrupt-%Y%m%d-%H%M%S", &tm);
    for (int i = 2; i < SAME_SECOND_MAX; i++) {
        snprintf(wal, sizeof wal, "%s-wal", name);
        if (faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) &&
            faccessat(dir_fd, wal, F_OK, AT_SYMLINK_NOFOLLOW))
            return;
        snprintf(name + len, size - len, "-%d", i);
    }
    *name = '\0';
}

/*
 * The WAL first: were the power to go in between, a database without its WAL
 * is set aside next time; a WAL without its database would be deleted.
 */
static int move(int dir_fd, const char *name, struct mp_why *why)
{
    char wal[200];

    snprintf(wal, sizeof wal, "%s-wal", name);
    if (renameat(dir_fd, MP_DB_NAME "-wal", dir_fd, wal) && errno != ENOENT)
        return mp_why_errno(why, "rename " MP_DB_NAME "-wal");
    MP_CRASH_POINT("store.aside");
    if (renameat(dir_fd, MP_DB_NAME, dir_fd, name))
        return mp_why_errno(why, "rename " MP_DB_NAME);
    if (unlinkat(dir_fd, MP_DB_NAME "-shm", 0) && errno != ENOENT)
        return mp_why_errno(why, "remove " MP_DB_NAME "-shm");
    if (fsync(dir_fd))
        return mp_why_errno(why, "sync the data directory");
    return 0;
}

int mp_store_set_aside(const char *data, char *name, size_t size,
                       struct mp_why *why)
{
    int fd = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    if (fd < 0)
        return mp_why_errno(why, "open %s", data);
    free_name(fd, name, size);
    if (*name)
        rc = move(fd, name, why);
    else
        rc = mp_why_set(why, MP_EIO, "no name is left for it");
    close(fd);
    return rc;
}
