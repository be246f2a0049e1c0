/*
 * faults.c - the disk and the allocator say no, once or for a while; and the
 * recording for the power cuts, which is the same run with another library.
 *
 * fault.so is in the host (LD_PRELOAD) and shares a page with us: we say which
 * write, sync or allocation fails, counted from now.  Whatever the host does
 * then, it either goes on or ends cleanly: SIGABRT after the sentence about
 * memory is clean ("stopped beats confused"), SIGSEGV is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/why.h"
#include "tests/crash/run.h"
#include "tests/fault/fault.h"

enum {
    DEVICES = 4,
    BURST = 20,
    RATE = 300,
    WHILE_MS = 2000,
    ONCE_MS = 20000,
    LIMP_MS = 4000
};

static struct fault_page *page;
static unsigned limped; /* hosts that had to be started again */

/* What one row of the test fails. */
struct fault {
    const char *name;
    enum fault_kind kind;
    int error, for_ms;
    bool at_start;       /* counted from the start, not from ready */
    unsigned every, end; /* N = 1, 1 + every, ... up to end */
};

static const struct fault faults[] = {
    {"a write fails", FAULT_WRITE, EIO, 0, false, 1, 100},
    {"the disk is full at a write", FAULT_WRITE, ENOSPC, 0, false, 3, 100},
    {"a sync fails", FAULT_SYNC, EIO, 0, false, 1, 30},
    {"a write fails while it starts", FAULT_WRITE, EIO, 0, true, 1, 30},
    {"a sync fails while it starts", FAULT_SYNC, EIO, 0, true, 1, 10},
    {"the disk is full for 2 s", FAULT_WRITE, ENOSPC, WHILE_MS, false, 9, 100},
    {"syncs fail for 2 s", FAULT_SYNC, EIO, WHILE_MS, false, 4, 30},
    {"an allocation fails", FAULT_ALLOC, 0, 0, false, 31, 4000},
    {"an allocation fails while it starts", FAULT_ALLOC, 0, 0, true, 13, 3000},
};

static void make_page(const struct run *r, char path[PATH_MAX + 16])
{
    int fd;

    snprintf(path, PATH_MAX + 16, "%s/fault", r->rig.dir);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, sizeof *page))
        rig_die("make %s: %s", path, strerror(errno));
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED)
        rig_die("map %s: %s", path, strerror(errno));
}

static void disarm(void)
{
    for (int i = 0; i < FAULT_KINDS; i++)
        atomic_store(&page->at[i], 0);
    atomic_store(&page->until_us, 0);
    atomic_store(&page->failed, 0);
}

static void arm(const struct fault *f, unsigned n)
{
    atomic_store(&page->error, f->error);
    atomic_store(&page->for_ms, f->for_ms);
    atomic_store(&page->at[f->kind],
                 atomic_load(&page->passed[f->kind]) + (long)n);
}

/* It ended: was that clean? */
static void check_end(struct run *r)
{
    int status = r->rig.status;
    bool oom = rig_host_said(&r->rig, "out of memory");

    if (WIFEXITED(status) ||
        (WIFSIGNALED(status) &&
         (WTERMSIG(status) == SIGTERM || (WTERMSIG(status) == SIGABRT && oom))))
        return;
    snprintf(r->wrong, sizeof r->wrong, "the host died by signal %d%s",
             WTERMSIG(status), oom ? " after the sentence about memory" : "");
}

/* One run with the nth failing; false: there were not so many. */
static bool fail_nth(struct run *r, const struct fault *f, unsigned n,
                     const char *const *env)
{
    bool failed;

    disarm();
    if (f->at_start)
        arm(f, n);
    if (run_host(r, env)) {
        if (!f->at_start)
            arm(f, n);
        load_add(&r->load, BURST);
        /* Alive: with a bad disk it must come through by itself.  Without
         * memory for a while it may have given something up for good. */
        if (!run_until_complete(r,
                                f->kind == FAULT_ALLOC ? LIMP_MS : ONCE_MS) &&
            rig_host_runs(&r->rig)) {
            if (f->kind == FAULT_ALLOC)
                limped++;
            else
                run_settle(r);
        }
        if (f->kind != FAULT_ALLOC && !rig_host_runs(&r->rig) && !r->wrong[0])
            snprintf(r->wrong, sizeof r->wrong,
                     "the host ended, but a disk that fails is to be waited"
                     " for");
        rig_host_end(&r->rig);
    } else if (rig_host_runs(&r->rig)) {
        rig_host_end(&r->rig);
    }
    failed = atomic_load(&page->failed) > 0;
    if (!r->wrong[0])
        check_end(r);
    disarm();
    return failed;
}

/* One more, and then a host without faults; false: there were not so many. */
static bool fail_and_settle(struct run *r, const struct fault *f, unsigned n,
                            const char *const *env)
{
    bool failed = fail_nth(r, f, n, env);

    if (!r->wrong[0])
        run_settle(r);
    rig_host_end(&r->rig);
    if (r->wrong[0])
        printf("# the last was number %u\n", n);
    return failed;
}

/* Each number, or, briefly, one by chance that there is. */
static unsigned fail_all(struct run *r, const struct fault *f, bool brief,
                         const char *const *env)
{
    unsigned tried = 0, n = 1;

    if (brief) {
        for (n = 1 + rig_chance(f->end); n > 0 && !r->wrong[0]; n /= 2)
            if (fail_and_settle(r, f, n, env))
                return 1;
        return 0;
    }
    for (; n <= f->end && !r->wrong[0]; n += f->every) {
        if (!fail_and_settle(r, f, n, env))
            break;
        tried++;
    }
    return tried;
}

static int fault_row(const struct run_args *args, const struct fault *f)
{
    char path[PATH_MAX + 16], map[PATH_MAX + 32], below[PATH_MAX + 32],
        preload[PATH_MAX + 32];
    const char *env[] = {preload, map, below, NULL};
    unsigned tried;
    struct run r;
    int bad;

    run_open(&r, args, DEVICES, false);
    r.load.rate = RATE;
    make_page(&r, path);
    snprintf(map, sizeof map, "FAULT_PAGE=%s", path);
    snprintf(below, sizeof below, "FAULT_BELOW=%s", r.data);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s/fault.so", args->build);
    limped = 0;
    run_clean_host(&r);
    rig_host_end(&r.rig);
    tried = fail_all(&r, f, args->brief, env);
    if (!r.wrong[0])
        run_verify(&r);
    if (!tried && !r.wrong[0])
        snprintf(r.wrong, sizeof r.wrong, "it was never reached");
    bad = !run_say(&r,
                   "%s, %u times: it goes on or ends cleanly, and the data"
                   " is whole",
                   f->name, tried);
    munmap(page, sizeof *page);
    run_close(&r);
    return bad;
}

/* words[0]: only rows with that text in their name. */
int mode_fault(const struct run_args *args)
{
    int bad = 0;

    for (unsigned i = 0; i < ARRAY_LEN(faults); i++)
        if (!args->n_words || strstr(faults[i].name, args->words[0]))
            bad += fault_row(args, &faults[i]);
    return bad;
}

/* words[0]: the log.  Long enough for checkpoints. */
int mode_record(const struct run_args *args)
{
    char below[PATH_MAX + 32], log[PATH_MAX + 32], preload[PATH_MAX + 32];
    const char *env[] = {preload, below, log, "RECORD_ONLY=moonpool-host",
                         NULL};
    struct run r;
    int bad;

    if (args->n_words != 1)
        rig_die("record LOG");
    run_open(&r, args, DEVICES, false);
    snprintf(below, sizeof below, "RECORD_BELOW=%s", r.data);
    snprintf(log, sizeof log, "RECORD_LOG=%s", args->words[0]);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s/record.so", args->build);
    r.load.rate = 400;
    if (!run_host(&r, env))
        rig_die("the recorded host does not start: see %s/host.log", r.rig.dir);
    load_add(&r.load, args->number ? args->number : 600);
    run_settle(&r);
    run_verify(&r);
    if (limped)
        printf("# %u hosts went on, but had to be started again\n", limped);
    bad = !run_say(&r, "a run of %u events was recorded", r.load.n_sent);
    run_close(&r);
    return bad;
}
