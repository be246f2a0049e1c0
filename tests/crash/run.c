/*
 * run.c - settling is the heart of it: whatever was killed, a host that is
 * left alone must bring every output and then have nothing left to do.
 */
#include "tests/crash/run.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "tests/crash/verdict.h"

enum {
    READY_MS = 15000,
    SETTLE_MS = 40000,
    /* Rows go lazily, a second after the last commit. */
    REST_MS = 8000,
};

static void wrong(struct run *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void wrong(struct run *r, const char *fmt, ...)
{
    va_list args;

    if (r->wrong[0])
        return;
    va_start(args, fmt);
    vsnprintf(r->wrong, sizeof r->wrong, fmt, args);
    va_end(args);
}

void run_open(struct run *r, const struct run_args *args, unsigned devices,
              bool mixed)
{
    r->wrong[0] = '\0';
    r->careful = false;
    rig_open(&r->rig, args->build, args->functions, mixed);
    snprintf(r->data, sizeof r->data, "%s/data", r->rig.dir);
    rig_broker_start(&r->rig);
    load_open(&r->load, r->rig.port, devices, mixed);
}

void run_close(struct run *r)
{
    load_close(&r->load);
    rig_close(&r->rig, r->wrong[0] != '\0');
}

void run_start(struct run *r, const char *const *env)
{
    char noted[PATH_MAX + 32];

    snprintf(noted, sizeof noted, "%s/crashed", r->data);
    if (!r->careful)
        unlink(noted);
    rig_host_start(&r->rig, env);
}

bool run_host(struct run *r, const char *const *env)
{
    int64_t until = mp_now_us() + READY_MS * MP_MS;

    run_start(r, env);
    while (!rig_host_is_ready(&r->rig) && mp_now_us() < until) {
        if (!rig_host_runs(&r->rig))
            return false;
        load_turn(&r->load, 2);
    }
    return rig_host_runs(&r->rig);
}

/* How it ended, in words. */
static const char *ended_text(int status, char text[64])
{
    if (WIFSIGNALED(status))
        snprintf(text, 64, "signal %d", WTERMSIG(status));
    else
        snprintf(text, 64, "status %d", WEXITSTATUS(status));
    return text;
}

void run_clean_host(struct run *r)
{
    char text[64];

    if (run_host(r, NULL) && rig_host_is_ready(&r->rig))
        return;
    if (r->rig.host)
        wrong(r, "the host is not ready after %d s", READY_MS / 1000);
    else
        wrong(r, "the host ended by itself: %s",
              ended_text(r->rig.status, text));
}

bool run_until_complete(struct run *r, int ms)
{
    int64_t until = mp_now_us() + ms * MP_MS;

    while (!load_is_complete(&r->load) && !r->load.wrong[0] &&
           mp_now_us() < until && rig_host_runs(&r->rig))
        load_turn(&r->load, 2);
    return load_is_complete(&r->load);
}

bool run_settle(struct run *r)
{
    char text[256];

    if (!rig_host_runs(&r->rig))
        run_clean_host(r);
    if (r->wrong[0])
        return false;
    if (!run_until_complete(r, SETTLE_MS) && !r->load.wrong[0]) {
        load_tell(&r->load, text, sizeof text);
        wrong(r, "%s: %s",
              rig_host_runs(&r->rig) ? "it does not settle" : "the host died",
              text);
    }
    if (r->load.wrong[0])
        wrong(r, "%s", r->load.wrong);
    return !r->wrong[0];
}

/* Nothing waits on disk any more. */
static bool is_at_rest(const struct run *r)
{
    struct verdict v;

    return verdict_rows(r->data, &v) && !(v.queue | v.outbox | v.alarms);
}

bool run_verify_counts(struct run *r)
{
    int64_t until = mp_now_us() + REST_MS * MP_MS;
    struct verdict v;
    char text[64];
    int status;

    while (!is_at_rest(r) && mp_now_us() < until)
        load_turn(&r->load, 20);
    status = rig_host_end(&r->rig);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        wrong(r, "SIGTERM at rest ended it by %s", ended_text(status, text));
    verdict_reach(r->data, &r->load, &v);
    if (v.wrong[0])
        wrong(r, "%s", v.wrong);
    return !r->wrong[0];
}

bool run_verify(struct run *r)
{
    return run_settle(r) && run_verify_counts(r);
}

bool run_say(struct run *r, const char *fmt, ...)
{
    va_list args;

    printf(r->wrong[0] ? "not ok - " : "ok - ");
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    if (r->wrong[0])
        printf(": %s", r->wrong);
    printf("\n");
    fflush(stdout);
    return !r->wrong[0];
}
