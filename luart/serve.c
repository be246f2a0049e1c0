/*
 * serve.c - reads frames in bulk, runs them in order, writes in bulk.
 *
 * A system call costs as much as a run, so one read brings many frames and
 * one write takes many outcomes: what is finished goes out when the input is
 * dry or much has gathered.  A slow run would hold back the outcomes before
 * it; then the host nudges (MP_SIGNAL), and the handler sends what lies in
 * the buffer.  It may, because while user code runs nobody else touches the
 * buffer; at any other time it leaves a note instead.
 */
#include "luart/serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "luart/arena.h"
#include "luart/image.h"
#include "luart/invoke.h"
#include "luart/run.h"

enum {
    IN_MIN = 64 << 10,
    OUT_FLUSH = 32 << 10,
    OUT_MAX = 4 * MP_FRAME_MAX,
    KEEP = 256 << 10, /* of the arena and the input, when idle */
    IDLE_MS = 500,
};

static struct {
    int fd;
    struct mp_page *page;
    struct mp_buf out;
    volatile size_t sent; /* of out; the handler moves it too */
    volatile sig_atomic_t nudged;
    char *in;
    size_t in_cap, in_from, in_to;
} s;

static void on_nudge(bool in_user_code)
{
    ssize_t n;

    if (!in_user_code) {
        s.nudged = 1;
        return;
    }
    if (s.sent == s.out.len)
        return;
    n = send(s.fd, s.out.ptr + s.sent, s.out.len - s.sent,
             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
        s.sent += (size_t)n;
}

/* False: the host is gone. */
static bool flush(void)
{
    s.nudged = 0;
    while (s.sent < s.out.len) {
        ssize_t n =
            send(s.fd, s.out.ptr + s.sent, s.out.len - s.sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        s.sent += (size_t)n;
    }
    mp_buf_reset(&s.out);
    s.sent = 0;
    if (s.out.cap > KEEP)
        mp_buf_fini(&s.out);
    return true;
}

/* ---- frames ---- */

static void on_run(struct mp_slice body)
{
    static struct mp_run_store store;
    struct mp_run run;

    MP_ASSERT(!mp_read_run(body, &run, &store));
    if (run.id > atomic_load_explicit(&s.page->recalled, memory_order_relaxed))
        mp_invoke(&run, &s.out);
    mp_run_fini(&store);
}

static void on_frame(uint8_t type, struct mp_slice body)
{
    struct mp_loaded loaded;
    struct mp_resume resume;
    uint64_t run;
    uint32_t fn;

    switch (type) {
    case MP_FRAME_LOAD:
        MP_ASSERT(!mp_image_load(body, &loaded));
        mp_wire_loaded(&s.out, &loaded);
        break;
    case MP_FRAME_UNLOAD:
        MP_ASSERT(!mp_read_unload(body, &fn));
        mp_image_unload(fn);
        break;
    case MP_FRAME_RUN:
        on_run(body);
        break;
    case MP_FRAME_RESUME:
        MP_ASSERT(!mp_read_resume(body, &resume));
        mp_invoke_resume(&resume, &s.out);
        break;
    case MP_FRAME_CANCEL:
        MP_ASSERT(!mp_read_cancel(body, &run));
        mp_invoke_cancel(run);
        break;
    default:
        MP_ASSERT(!"a frame of a type the host doesn't send");
    }
    MP_ASSERT(!s.out.full);
}

/* ---- input ---- */

/* Nothing to do for a while: give back what a large run has touched. */
static void idle(void)
{
    struct pollfd p = {.fd = s.fd, .events = POLLIN};

    if (mp_arena_touched() <= KEEP && s.in_cap <= KEEP)
        return;
    if (poll(&p, 1, IDLE_MS) != 0)
        return;
    mp_arena_give_back(0);
    mp_inv_trim(KEEP);
    if (s.in_from == s.in_to && s.in_cap > KEEP) {
        free(s.in);
        s.in = mp_alloc(IN_MIN);
        s.in_cap = IN_MIN;
        s.in_from = s.in_to = 0;
    }
}

/* Room behind what is there, for the whole of the frame that has begun. */
static void make_room(void)
{
    size_t have = s.in_to - s.in_from, want = IN_MIN;
    uint32_t len;

    if (have >= MP_FRAME_HEAD) {
        memcpy(&len, s.in + s.in_from, sizeof len);
        MP_ASSERT(len <= MP_FRAME_MAX);
        want += len;
    }
    if (have)
        memmove(s.in, s.in + s.in_from, have);
    s.in_from = 0;
    s.in_to = have;
    if (s.in_cap < want) {
        s.in = mp_realloc(s.in, want);
        s.in_cap = want;
    }
}

/* Wait for more; false: the host is gone. */
static bool fill(void)
{
    ssize_t n;

    make_room();
    idle();
    do {
        n = recv(s.fd, s.in + s.in_to, s.in_cap - s.in_to, 0);
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    s.in_to += (size_t)n;
    return true;
}

/* All whole frames that are there. */
static bool work(void)
{
    struct mp_slice body;
    uint8_t type;
    int n;

    while ((n = mp_frame_next(mp_slice(s.in + s.in_from, s.in_to - s.in_from),
                              &type, &body)) > 0) {
        on_frame(type, body);
        s.in_from += (size_t)n;
        if ((s.out.len > OUT_FLUSH || s.nudged) && !flush())
            return false;
    }
    MP_ASSERT(n == 0);
    return flush();
}

void mp_serve(int fd, struct mp_page *page)
{
    s.fd = fd;
    s.page = page;
    mp_buf_init(&s.out, OUT_MAX);
    mp_run_on_nudge(on_nudge);
    mp_wire_ready(&s.out);
    if (!flush())
        return;
    while (fill() && work())
        ;
}
