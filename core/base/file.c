/*
 * file.c - reading is one loop with a bound; replacing is write, sync, rename,
 * sync, in this order and no other: the name never points at bytes that
 * aren't on disk, and the caller never hears "done" before the name is.
 */
#include "core/base/file.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/crash.h"

/* Where the new bytes are until they are whole. */
#define TMP ".moonpool-new"

int mp_file_read_fd(int fd, size_t max, struct mp_buf *buf, struct mp_why *why)
{
    size_t len = 0;
    char part[4096];

    for (;;) {
        ssize_t got = read(fd, part, sizeof part);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mp_why_errno(why, "read");
        if (got == 0)
            return 0;
        len += (size_t)got;
        if (len > max)
            return mp_why_set(why, MP_ERANGE, "longer than %zu bytes", max);
        mp_buf_put(buf, part, (size_t)got);
        if (buf->full)
            return mp_why_set(why, MP_EFULL, "no room for more");
    }
}

int mp_file_read(int dir_fd, const char *path, size_t max, struct mp_buf *buf,
                 struct mp_why *why)
{
    struct stat st;
    int rc, fd;

    /* Non-blocking, or opening a FIFO waits for its writer. */
    fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return mp_why_set(why, MP_ENONE, "there is no %s", path);
    if (fd < 0)
        return mp_why_errno(why, "open %s", path);
    if (fstat(fd, &st))
        rc = mp_why_errno(why, "stat %s", path);
    else if (!S_ISREG(st.st_mode))
        rc = mp_why_set(why, MP_EPARSE, "%s is not a regular file", path);
    else
        rc = mp_file_read_fd(fd, max, buf, why);
    close(fd);
    return rc;
}

int mp_write_all(int fd, struct mp_slice bytes)
{
    while (bytes.len) {
        ssize_t put = write(fd, bytes.ptr, bytes.len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return MP_EIO;
        bytes = mp_slice(bytes.ptr + put, bytes.len - (size_t)put);
    }
    return 0;
}

int mp_file_replace(int dir_fd, const char *name, struct mp_slice bytes,
                    struct mp_why *why)
{
    int rc, fd;

    MP_ASSERT(!strchr(name, '/'));
    fd = openat(dir_fd, TMP, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return mp_why_errno(why, "create %s", TMP);
    rc = mp_write_all(fd, bytes);
    MP_CRASH_POINT("file.before_sync");
    if (rc || fsync(fd)) {
        rc = mp_why_errno(why, "write %zu bytes", bytes.len);
        goto out;
    }
    MP_CRASH_POINT("file.before_rename");
    if (renameat(dir_fd, TMP, dir_fd, name))
        rc = mp_why_errno(why, "replace %s", name);
    MP_CRASH_POINT("file.after_rename");
    if (!rc && fsync(dir_fd))
        rc = mp_why_errno(why, "replace %s", name);
out:
    if (rc)
        unlinkat(dir_fd, TMP, 0); /* gone once renamed, which is fine */
    close(fd);
    return rc;
}
