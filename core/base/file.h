/*
 * file.h - small files, read whole and replaced whole.
 *
 * Paths are relative to dir_fd, or to where we are with AT_FDCWD.
 *
 * Thread   any.
 * Memory   reading is bounded by the caller; the buffer is the caller's.
 * Errors   MP_EIO with the reason of the system; MP_ENONE: there is no such
 *          file; MP_ERANGE: longer than max; MP_EPARSE: not a regular file.
 */
#ifndef MP_BASE_FILE_H
#define MP_BASE_FILE_H

#include <fcntl.h>

#include "core/base/slice.h"

/*
 * Append what the file holds, at most max bytes, to buf (whose own bound must
 * have room).  Only regular files: a FIFO would let us wait for ever.
 */
MP_MUST int mp_file_read(int dir_fd, const char *path, size_t max,
                         struct mp_buf *buf, struct mp_why *why);

/* As mp_file_read, from an open descriptor of any kind, to its end. */
MP_MUST int mp_file_read_fd(int fd, size_t max, struct mp_buf *buf,
                            struct mp_why *why);

/*
 * Replace a small file of the directory.  At every instant, power cuts
 * included, name holds the old bytes or the new: the rename is the commit.
 * On error, the directory knows which.  One writer at a time a directory.
 */
MP_MUST int mp_file_replace(int dir_fd, const char *name, struct mp_slice bytes,
                            struct mp_why *why);

/* write(2) until all is written; MP_EIO with errno set. */
MP_MUST int mp_write_all(int fd, struct mp_slice bytes);

#endif
