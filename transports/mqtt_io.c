/*
 * mqtt_io.c - fewer system calls for the same bytes.
 *
 * libmosquitto reads each packet with three read()s, writes each with one
 * write(), and for each that it queues wakes a thread that we don't have, by
 * one more write() to a socket pair that nobody empties.  Six system calls a
 * message are more than half of what receiving it costs (make bench).
 *
 * It has no hook for them, but it calls read, write and socketpair by name,
 * and a program's own functions come before the C library's (ELF symbol
 * interposition, as LD_PRELOAD uses it).  So these three are ours here: for
 * a socket that was attached, read() gives from a read-ahead buffer and
 * write() gathers until mp_mqtt_io_send; for every other file descriptor they
 * are the plain system calls.
 *
 * What must stay true:
 *   - what is in the buffer the poll doesn't see: whoever stops reading asks
 *     mp_mqtt_io_unread;
 *   - what is gathered counts as unsent: mp_mqtt_io_unsent;
 *   - a TLS connection is never attached: its library has its own buffers.
 * Without this file everything works the same, only slower.
 */
#undef _FORTIFY_SOURCE /* it makes read() an inline function */
#include "transports/mqtt_impl.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { AHEAD = 32 << 10, GATHERED_MAX = 1 << 20, FDS = 1024 };

/* One that is attached. */
struct mqtt_io {
    size_t from, to; /* of ahead */
    bool dry;        /* the last read brought less than there was room for */
    size_t sent;     /* of out */
    struct mp_buf out;
    char ahead[AHEAD];
};

/*
 * By file descriptor.  Other threads come by here too (libuv wakes the loop
 * by a write()), but never with a descriptor that is in use here.  One past
 * the table is never attached.
 */
static struct mqtt_io *_Atomic attached[FDS];
static atomic_bool is_wake[FDS]; /* an end of the library's socket pairs */
static bool in_new;              /* the library is making one */
static int made[2];

static struct mqtt_io *io_of(int fd)
{
    if (fd < 0 || fd >= FDS)
        return NULL;
    return atomic_load_explicit(&attached[fd], memory_order_acquire);
}

/* ---- in the C library's place ---- */

ssize_t read(int fd, void *bytes, size_t len)
{
    struct mqtt_io *io = io_of(fd);
    ssize_t got;

    if (!io)
        return syscall(SYS_read, fd, bytes, len);
    if (io->from == io->to) {
        if (io->dry) { /* what came since, the poll tells */
            io->dry = false;
            errno = EAGAIN;
            return -1;
        }
        got = syscall(SYS_read, fd, io->ahead, sizeof io->ahead);
        if (got <= 0)
            return got;
        io->from = 0;
        io->to = (size_t)got;
        io->dry = got < AHEAD;
    }
    if (len > io->to - io->from)
        len = io->to - io->from;
    memcpy(bytes, io->ahead + io->from, len);
    io->from += len;
    return (ssize_t)len;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    struct mqtt_io *io = io_of(fd);

    if (!io && len == 1 && fd >= 0 && fd < FDS && atomic_load(&is_wake[fd]))
        return 1;
    if (io && io->out.len + len > GATHERED_MAX)
        mp_mqtt_io_send(fd);
    if (!io || (len > GATHERED_MAX && !io->out.len))
        return syscall(SYS_write, fd, bytes, len);
    if (io->out.len + len > GATHERED_MAX) {
        errno = EAGAIN; /* not more than the kernel takes */
        return -1;
    }
    mp_buf_put(&io->out, bytes, len);
    return (ssize_t)len;
}

int socketpair(int domain, int type, int protocol, int pair[2])
{
    int rc = (int)syscall(SYS_socketpair, domain, type, protocol, pair);

    if (rc == 0 && in_new)
        memcpy(made, pair, sizeof made);
    return rc;
}

/* ---- for us ---- */

static void set_wake(const int wake[2], bool on)
{
    for (unsigned i = 0; i < 2; i++)
        if (wake[i] >= 0 && wake[i] < FDS)
            atomic_store(&is_wake[wake[i]], on);
}

struct mosquitto *mp_mqtt_io_new(const char *client_id, bool clean, void *obj,
                                 int wake[2])
{
    struct mosquitto *m;

    made[0] = made[1] = -1;
    in_new = true;
    m = mosquitto_new(client_id, clean, obj);
    in_new = false;
    memcpy(wake, made, sizeof made);
    set_wake(wake, true);
    return m;
}

void mp_mqtt_io_forget(const int wake[2])
{
    set_wake(wake, false);
}

void mp_mqtt_io_attach(int fd)
{
    struct mqtt_io *io;

    if (fd < 0 || fd >= FDS)
        return;
    MP_ASSERT(!io_of(fd));
    io = mp_alloc(sizeof *io);
    io->from = io->to = io->sent = 0;
    io->dry = false;
    mp_buf_init(&io->out, GATHERED_MAX);
    atomic_store_explicit(&attached[fd], io, memory_order_release);
}

void mp_mqtt_io_detach(int fd)
{
    struct mqtt_io *io = io_of(fd);

    if (!io)
        return;
    atomic_store_explicit(&attached[fd], NULL, memory_order_release);
    mp_buf_fini(&io->out);
    free(io);
}

bool mp_mqtt_io_unread(int fd)
{
    const struct mqtt_io *io = io_of(fd);

    return io && io->from < io->to;
}

bool mp_mqtt_io_unsent(int fd)
{
    const struct mqtt_io *io = io_of(fd);

    return io && io->out.len > 0;
}

/* A broken socket is told by the next read. */
void mp_mqtt_io_send(int fd)
{
    struct mqtt_io *io = io_of(fd);
    ssize_t n;

    if (!io || !io->out.len)
        return;
    n = send(fd, io->out.ptr + io->sent, io->out.len - io->sent, MSG_NOSIGNAL);
    if (n > 0)
        io->sent += (size_t)n;
    if (io->sent < io->out.len)
        return;
    mp_buf_reset(&io->out);
    io->sent = 0;
}
