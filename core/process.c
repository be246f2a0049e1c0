/*
 * process.c - frames to and from one worker.
 *
 * When a worker dies its socket still holds what it said before.  The kernel
 * gives us that first and the end of file after it (unix(7), and so for a
 * reset: queued bytes come before the error), so complete outcomes count.
 */
#include "core/pool_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/secrets.h"

enum { READ_SIZE = 256 << 10, OUT_MAX = 64 << 20 };

/* ---- what it says ---- */

static struct mp_invocation *find(struct mp_link *list, uint64_t run)
{
    mp_list_each (at, list) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, link);

        if (inv->run == run)
            return inv;
    }
    return NULL;
}

/* What a function says of its failure goes to logs, dead letters and people:
 * secrets don't.  (The event in a dead letter stays as it came: a replay runs
 * these very bytes.) */
struct hiding {
    struct mp_buf error, traceback;
};

static void hide(struct hiding *h, struct mp_slice *error,
                 struct mp_slice *traceback)
{
    mp_buf_init(&h->error, error->len);
    mp_buf_init(&h->traceback, traceback->len);
    *error = mp_secrets_hide(*error, &h->error);
    *traceback = mp_secrets_hide(*traceback, &h->traceback);
}

static void hiding_fini(struct hiding *h)
{
    mp_buf_fini(&h->error);
    mp_buf_fini(&h->traceback);
}

static int on_done(struct mp_process *p, struct mp_slice body)
{
    struct mp_outcome out;
    struct mp_invocation *inv;
    struct hiding hiding;

    if (mp_read_done(body, &out))
        return MP_EPARSE;
    inv = find(&p->inflight, out.run);
    if (!inv) /* taken back in the moment it was started: fine */
        return out.run <= p->recalled ? 0 : MP_EPARSE;
    hide(&hiding, &out.error, &out.traceback);
    mp_pool_on_done(p, inv, &out);
    hiding_fini(&hiding);
    return 0;
}

static int on_wait(struct mp_process *p, struct mp_slice body)
{
    struct mp_wait wait;
    struct mp_invocation *inv;

    if (mp_read_wait(body, &wait))
        return MP_EPARSE;
    inv = find(&p->inflight, wait.run);
    if (inv) {
        mp_pool_on_wait(p, inv, &wait);
        return 0;
    }
    if (wait.run > p->recalled)
        return MP_EPARSE;
    mp_wire_cancel(&p->out, wait.run);
    return 0;
}

static int on_loaded(struct mp_process *p, struct mp_slice body)
{
    struct mp_slice names[MP_TRIGGERS_MAX];
    struct mp_loaded loaded;
    struct hiding hiding;

    if (mp_read_loaded(body, &loaded, names))
        return MP_EPARSE;
    mp_list_each (at, &p->loading) {
        struct mp_loading *loading = mp_of(at, struct mp_loading, link);

        if (loading->id == loaded.id) {
            hide(&hiding, &loaded.error, &loaded.traceback);
            mp_pool_on_loaded(p, loading, &loaded);
            hiding_fini(&hiding);
            return 0;
        }
    }
    return MP_EPARSE;
}

static int on_frame(struct mp_process *p, uint8_t type, struct mp_slice body)
{
    switch (type) {
    case MP_FRAME_READY:
        if (p->ready || body.len)
            return MP_EPARSE;
        p->ready = true;
        return 0;
    case MP_FRAME_LOADED:
        return on_loaded(p, body);
    case MP_FRAME_DONE:
        return on_done(p, body);
    case MP_FRAME_WAIT:
        return on_wait(p, body);
    default:
        return MP_EPARSE;
    }
}

static void on_bytes(struct mp_process *p)
{
    size_t at = 0;
    struct mp_slice body;
    uint8_t type;
    int len;

    for (;;) {
        len = mp_frame_next(mp_slice(p->in.ptr + at, p->in.len - at), &type,
                            &body);
        if (len == 0)
            break;
        if (len < 0 || on_frame(p, type, body)) {
            p->bad = true;
            return;
        }
        at += (size_t)len;
    }
    if (at) {
        p->stuck = false;
        memmove(p->in.ptr, p->in.ptr + at, p->in.len - at);
        p->in.len -= at;
    }
}

/* Read what is there; false: the socket has ended. */
static bool fill(struct mp_process *p)
{
    char *room = mp_buf_room(&p->in, READ_SIZE);
    ssize_t got;

    if (!room) { /* a frame longer than any may be */
        p->bad = true;
        return false;
    }
    got = recv(p->worker.fd, room, READ_SIZE, 0);
    if (got > 0) {
        p->in.len += (size_t)got;
        return true;
    }
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

/* All that is left: it died before it had read what it was told, and libuv
 * watches such a socket no more. */
static void read_to_the_end(struct mp_process *p)
{
    size_t had;
    bool more;

    do {
        had = p->in.len;
        more = fill(p) && p->in.len > had;
        on_bytes(p);
    } while (more && !p->bad);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct mp_process *p = poll->data;
    bool alive = status >= 0;

    if (!alive) {
        read_to_the_end(p);
    } else if (events & UV_READABLE) {
        alive = fill(p);
        on_bytes(p);
    }
    if (!alive || p->bad || p->retire) {
        mp_pool_on_end(p);
        return;
    }
    if (events & UV_WRITABLE)
        mp_process_flush(p);
}

/* ---- what it is told ---- */

void mp_process_expect(struct mp_process *p, int64_t now_us)
{
    if (p->n_inflight == 0 && mp_list_empty(&p->loading))
        p->heard_us = now_us;
}

void mp_process_flush(struct mp_process *p)
{
    ssize_t sent;

    if (!p->poll || p->out.len == 0)
        return;
    if (p->out.full) { /* it asks and asks, and reads no answer */
        p->bad = true;
        shutdown(p->worker.fd, SHUT_RDWR); /* reading tells */
        return;
    }
    sent = send(p->worker.fd, p->out.ptr + p->out_sent,
                p->out.len - p->out_sent, MSG_NOSIGNAL);
    if (sent > 0)
        p->out_sent += (size_t)sent;
    if (p->out_sent == p->out.len) {
        mp_buf_reset(&p->out);
        p->out_sent = 0;
    }
    /* What is left: the socket is full, or broken; then reading tells. */
    if (p->blocked == (p->out.len > 0))
        return; /* each uv_poll_start costs two system calls */
    p->blocked = p->out.len > 0;
    uv_poll_start(p->poll, UV_READABLE | (p->blocked ? UV_WRITABLE : 0),
                  on_poll);
}

int mp_process_start(struct mp_process *p, uv_loop_t *loop, struct mp_why *why)
{
    int size = 1 << 20, rc;

    /* What it is told before it can be started waits in there. */
    p->in.max = MP_FRAME_MAX + 2 * READ_SIZE;
    p->out.max = OUT_MAX;
    rc = mp_worker_spawn(&p->worker, mp_worker_program(), why);
    if (rc)
        return rc;
    setsockopt(p->worker.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    p->ready = p->stuck = p->bad = p->retire = p->blocked = false;
    p->recalled = 0;
    p->heard_us = mp_now_us();
    p->watched = 0;
    p->poll = mp_zalloc(sizeof *p->poll);
    p->poll->data = p;
    uv_poll_init(loop, p->poll, p->worker.fd);
    uv_poll_start(p->poll, UV_READABLE, on_poll);
    return 0;
}

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

int mp_process_stop(struct mp_process *p)
{
    if (p->poll) {
        uv_poll_stop(p->poll);
        uv_close((uv_handle_t *)p->poll, free_handle);
        p->poll = NULL;
    }
    mp_buf_fini(&p->in);
    mp_buf_fini(&p->out);
    p->out_sent = 0;
    return mp_worker_end(&p->worker);
}
