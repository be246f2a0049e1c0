/*
 * careful.c - which event was the last before the host died?
 *
 * Two small things are kept by name: `crashes`, times on the timeline, and
 * `careful`, the event that was begun last.  The second is written only while
 * being careful, before each event; so the price is paid when it is needed.
 */
#include "core/careful.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/host_impl.h"
#include "core/log.h"

enum { DROP_LOOKS = 64 }; /* at who waits, for one that may go */

static const char FILE_NAME[] = "crashed";
static int data_fd = -1;

/* ---- the file ---- */

/* Then the signal comes again, with its default action. */
static void on_crash(int number)
{
    int fd = openat(data_fd, FILE_NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

    if (fd >= 0)
        (void)fsync(fd);
    (void)raise(number); /* waits until this returns */
}

void mp_careful_watch(const char *data)
{
    struct sigaction act = {.sa_handler = on_crash,
                            .sa_flags = (int)SA_RESETHAND | SA_ONSTACK};
    static const int of_our_making[] = {
        SIGABRT,
#ifndef __SANITIZE_ADDRESS__ /* which has handlers of its own, and aborts */
        SIGSEGV, SIGBUS, SIGILL, SIGFPE,
#endif
    };
    static char deep[64 << 10]; /* our own stack may be the cause */
    stack_t stack = {.ss_sp = deep, .ss_size = sizeof deep};

    data_fd = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sigaltstack(&stack, NULL);
    for (size_t i = 0; i < ARRAY_LEN(of_our_making); i++)
        sigaction(of_our_making[i], &act, NULL);
}

/* ---- crashes in a row ---- */

bool mp_careful_crashed(struct mp_slice before, int64_t now_us,
                        char note[MP_CAREFUL_NOTE_MAX])
{
    char text[MP_CAREFUL_NOTE_MAX];
    char *at = text, *end;
    int recent = 1; /* this one */
    size_t len = 0;

    snprintf(text, sizeof text, "%.*s", MP_FMT(before));
    for (;; at = end) {
        long long crash_us = strtoll(at, &end, 10);

        if (end == at)
            break;
        if (crash_us > now_us || now_us - crash_us > MP_CAREFUL_WITHIN_US)
            continue;
        if (recent < MP_CAREFUL_CRASHES) /* more need not be known */
            len += (size_t)snprintf(note + len, MP_CAREFUL_NOTE_MAX - len,
                                    "%lld ", crash_us);
        recent++;
    }
    snprintf(note + len, MP_CAREFUL_NOTE_MAX - len, "%lld", (long long)now_us);
    return recent >= MP_CAREFUL_CRASHES;
}

/* ---- the line ---- */

static void enter_line(struct mp_careful *c, struct mp_invocation *inv)
{
    inv->stage = MP_DELAYED;
    inv->in_line = true;
    inv->slot->n_waiting++;
    inv->slot->waiting_bytes += mp_invocation_bytes(inv);
    mp_list_append(&c->waiting, &inv->link);
}

static void leave_line(struct mp_invocation *inv)
{
    if (!inv->in_line)
        return;
    inv->in_line = false;
    inv->slot->n_waiting--;
    inv->slot->waiting_bytes -= mp_invocation_bytes(inv);
    mp_list_unlink(&inv->link);
}

/* Its room was found when it entered the line: it is not asked for again, nor
 * does it go behind what came after it. */
static void start(struct mp_host *h, struct mp_invocation *inv)
{
    if (inv->holds_ack)
        mp_pool_add(&h->pool, inv);
    else
        mp_host_queue_now(h, inv);
}

static bool drop_oldest(struct mp_careful *c, const struct mp_slot *slot)
{
    unsigned looks = 0;

    mp_list_each_safe (at, &c->waiting) {
        struct mp_invocation *inv = mp_of(at, struct mp_invocation, link);

        if (++looks > DROP_LOOKS)
            break;
        if (inv->slot != slot || inv->row || inv->alarm ||
            (inv->input->qos > 0 && !inv->routed->fn->overflow_oldest))
            continue;
        leave_line(inv);
        mp_invocation_drop(inv, MP_DROP_QUEUE_FULL);
        return true;
    }
    return false;
}

/*
 * An input finds the queue of its function as full as it may be: what becomes
 * of it is as in host.c.  (Rows, alarms and sends were asked before.)  False:
 * there is room.
 */
static bool overflows(struct mp_careful *c, struct mp_invocation *inv)
{
    struct mp_slot *slot = inv->slot;
    uint64_t bytes = mp_invocation_bytes(inv);
    bool can_park = inv->input->qos > 0;

    if (!inv->holds_ack)
        return false;
    if (can_park &&
        (mp_queue_is_spilled(slot->queue) || !mp_list_empty(&slot->blocked))) {
        mp_invocation_spill(inv);
        return true;
    }
    if (can_park && inv->input->lane)
        return false; /* its window bounds it */
    if (can_park && !inv->routed->fn->overflow_oldest) {
        if (mp_sched_has_room(slot, bytes))
            return false;
        mp_invocation_spill(inv);
        return true;
    }
    while (!mp_sched_has_room(slot, bytes))
        if (!drop_oldest(c, slot)) {
            mp_invocation_drop(inv, MP_DROP_QUEUE_FULL);
            return true;
        }
    return false;
}

/* ---- one at a time ---- */

static void name(const struct mp_invocation *inv, char *text, size_t size)
{
    snprintf(text, size, "%s/%.*s", inv->slot->name, MP_FMT(inv->input->id));
}

static void on_named(struct mp_commit_wait *w, int rc)
{
    struct mp_careful *c = mp_of(w, struct mp_careful, named);
    struct mp_invocation *inv = c->current;

    if (rc == 0 && inv)
        start(mp_host_of(inv), inv);
}

static void begin(struct mp_host *h, struct mp_invocation *inv)
{
    struct mp_careful *c = &h->careful;
    char text[sizeof c->suspect];

    name(inv, text, sizeof text);
    c->current = inv;
    if (strcmp(text, c->suspect) == 0) {
        c->suspect[0] = '\0';
        mp_invocation_refuse(inv, MP_DEAD_CRASH,
                             "the host died while it was in work; it was not "
                             "run again");
        return;
    }
    mp_host_keep(h, "careful", mp_slice_str(text), &c->named, on_named);
}

void mp_careful_turn(struct mp_host *h)
{
    struct mp_careful *c = &h->careful;

    while (c->on && h->loaded && !h->closing && !h->draining && !c->current &&
           !mp_list_empty(&c->waiting)) {
        struct mp_invocation *first =
            mp_of(c->waiting.next, struct mp_invocation, link);

        leave_line(first);
        begin(h, first);
    }
}

bool mp_careful_takes(struct mp_host *h, struct mp_invocation *inv)
{
    if (!h->careful.on)
        return false;
    if (!overflows(&h->careful, inv))
        enter_line(&h->careful, inv);
    return true;
}

void mp_careful_ended(struct mp_host *h, struct mp_invocation *inv)
{
    leave_line(inv);
    if (h->careful.current != inv)
        return;
    mp_commit_wait_not(&h->careful.named);
    h->careful.current = NULL;
}

static void on_noted(struct mp_commit_wait *w, int rc)
{
    (void)w;
    if (rc == 0)
        (void)unlinkat(data_fd, FILE_NAME, 0);
}

void mp_careful_open(struct mp_host *h)
{
    struct mp_careful *c = &h->careful;
    struct mp_slice crashes = mp_host_kept(h, "crashes");
    struct mp_slice suspect = mp_host_kept(h, "careful");
    bool crashed = faccessat(data_fd, FILE_NAME, F_OK, 0) == 0;
    char note[MP_CAREFUL_NOTE_MAX];

    if (crashes.ptr || suspect.ptr || crashed)
        c->until_us = mp_now_us() + MP_CAREFUL_WITHIN_US;
    /* Named and killed from outside: it goes on being careful. */
    c->on = suspect.ptr != NULL;
    if (!crashed)
        return;
    c->on |= mp_careful_crashed(crashes.ptr ? crashes : MP_S(""),
                                mp_host_now(h), note);
    if (suspect.ptr)
        snprintf(c->suspect, sizeof c->suspect, "%.*s", MP_FMT(suspect));
    mp_log(MP_WARN, "host",
           MP_FIELDS(MP_TEXT("last_event", mp_slice_str(c->suspect))),
           c->on ? "the host crashed again and again: events are run one at a "
                   "time for the next minute"
                 : "the host crashed");
    mp_host_keep(h, "crashes", mp_slice_str(note), &c->noted, on_noted);
}

static void forget_notes(struct mp_host *h)
{
    static const char *const names[] = {"crashes", "careful"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (mp_host_kept(h, names[i]).ptr)
            mp_host_keep(h, names[i], mp_slice(NULL, 0), NULL, NULL);
}

/* All was well for long enough. */
static void relax(struct mp_host *h)
{
    struct mp_careful *c = &h->careful;
    bool was_on = c->on;

    c->on = false;
    c->until_us = 0;
    forget_notes(h);
    if (was_on)
        mp_log(MP_INFO, "host", NULL, "events are run as usual again");
    while (!mp_list_empty(&c->waiting)) {
        struct mp_invocation *first =
            mp_of(c->waiting.next, struct mp_invocation, link);

        leave_line(first);
        start(h, first);
    }
}

void mp_careful_tick(struct mp_host *h)
{
    if (h->careful.until_us && mp_now_us() > h->careful.until_us)
        relax(h);
}

void mp_careful_close(struct mp_host *h)
{
    forget_notes(h);
}
