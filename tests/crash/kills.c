/*
 * kills.c - three ways to die: at a place in the code, at any moment, and in
 * company (workers and the broker die, too).
 *
 * Each kill is followed by a start, and counts as survived only after
 * everything has settled.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "core/base/clock.h"
#include "core/base/why.h"
#include "tests/crash/run.h"
#include "tests/crash/verdict.h"

enum {
    DEVICES = 10,
    RATE = 1000, /* events a second: a burst is many transactions */
    DEATHS = 5,  /* by its own fault; at the third it becomes careful */
    CAREFUL_FROM = 3,
    BURST = 20,    /* events a device after each start */
    BACKLOG = 400, /* the same where more is needed to come by a point */
    BACKLOG_MS = 150,
    IDLE_MS = 1300, /* rows that go lazily have gone */
    BRIEF_IDLE_MS = 50,
    VERIFY_EVERY = 20,
    BRIEF_S = 12,
    CAREFUL_S = 30,
};

/* ---- at a place in the code ---- */

/* How long a host may idle on its way to a point. */
static int idle_ms = IDLE_MS;

/* A host that dies at the nth passing, killed or by a bug of its own; true:
 * it did. */
static bool visit_as(struct run *r, const char *name, unsigned nth, bool bug)
{
    char at[128];
    const char *env[] = {at, bug ? "MP_CRASH_ABORT=1" : NULL, NULL};
    int64_t until;

    snprintf(at, sizeof at, "MP_CRASH_AT=%s:%u", name, nth);
    if (run_host(r, env)) {
        load_add(&r->load, BURST);
        run_until_complete(r, 20000);
        until = mp_now_us() + idle_ms * MP_MS;
        while (rig_host_runs(&r->rig) && mp_now_us() < until)
            load_turn(&r->load, 5);
        rig_host_end(&r->rig); /* there are points on the way out, too */
    }
    return WIFSIGNALED(r->rig.status) &&
           WTERMSIG(r->rig.status) == (bug ? SIGABRT : SIGKILL);
}

static bool visit(struct run *r, const char *name, unsigned nth)
{
    return visit_as(r, name, nth, false);
}

/* Some points are only passed with much to do, or with work that is left of an
 * earlier run. */
static bool visit_with_backlog(struct run *r, const char *name)
{
    bool reached;

    if (!rig_host_runs(&r->rig))
        run_clean_host(r);
    r->load.rate = 0;
    load_add(&r->load, BACKLOG);
    run_until_complete(r, BACKLOG_MS);
    rig_host_kill(&r->rig);
    reached = visit(r, name, 1);
    r->load.rate = RATE;
    return reached;
}

/* One rig: the first visits find no database yet.  False: never reached. */
static bool point(struct run *r, const char *name)
{
    static const unsigned nths[] = {1, 2, 3, 5, 10, 30};
    unsigned reached = 0;

    for (unsigned i = 0; i < ARRAY_LEN(nths) && !r->wrong[0]; i++) {
        if (!visit(r, name, nths[i]) && (i > 0 || !visit_with_backlog(r, name)))
            break; /* nor will it be reached more often */
        reached++;
        run_settle(r);
        rig_host_kill(&r->rig);
    }
    if (!r->wrong[0])
        run_verify(r);
    if (!reached && !r->wrong[0])
        return false;
    run_say(r,
            "killed at %s, %u times (%llu repeats), nothing is lost or counted"
            " twice",
            name, reached, (unsigned long long)r->load.repeats);
    return true;
}

/* Every point in a rig of its own, at several passings. */
static int visit_well(const struct run_args *args)
{
    int bad = 0, unreached = 0;

    for (int i = 0; i < args->n_words; i++) {
        struct run r;

        run_open(&r, args, DEVICES, false);
        r.load.rate = RATE;
        if (!point(&r, args->words[i])) {
            printf("not ok - %s is never reached; if that is so, say it in"
                   " tests/crash/unreached\n",
                   args->words[i]);
            unreached++;
        }
        bad += r.wrong[0] != '\0';
        run_close(&r);
    }
    printf("# %d of %d points were reached\n", args->n_words - unreached,
           args->n_words);
    return bad + unreached;
}

/* All in one rig, once each, in an order of their own each time. */
static int visit_briefly(const struct run_args *args)
{
    int64_t until = mp_now_us() + BRIEF_S * MP_SECOND;
    int visited = 0, reached = 0, bad;
    struct run r;

    idle_ms = BRIEF_IDLE_MS;
    run_open(&r, args, DEVICES, false);
    r.load.rate = RATE;
    run_clean_host(&r);
    rig_host_end(&r.rig);
    while (visited < args->n_words && !r.wrong[0] && mp_now_us() < until) {
        int pick =
            visited + (int)rig_chance((uint32_t)(args->n_words - visited));
        char *name = args->words[pick];

        args->words[pick] = args->words[visited];
        args->words[visited++] = name;
        reached += visit(&r, name, 1 + rig_chance(3));
        run_settle(&r);
        rig_host_kill(&r.rig);
        if (r.wrong[0])
            printf("# the last point was %s\n", name);
    }
    if (!r.wrong[0])
        run_verify(&r);
    bad = !run_say(&r,
                   "killed at %d crash points of %d that there are, nothing is"
                   " lost or counted twice",
                   reached, args->n_words);
    run_close(&r);
    return bad;
}

int mode_points(const struct run_args *args)
{
    return args->brief ? visit_briefly(args) : visit_well(args);
}

/* ---- so often that the host becomes careful ---- */

/* Every event was counted, or was given up: the one it died on while it was
 * careful. */
static bool all_accounted(const struct run *r)
{
    long dead, all = (long)r->load.want * r->load.devices;
    long n = verdict_counted(r->data, "count", &dead);

    return n >= 0 && n + dead == all && dead <= DEATHS - CAREFUL_FROM;
}

int mode_careful(const struct run_args *args)
{
    struct run r;
    int64_t until;
    long n, dead = 0;
    int bad;

    run_open(&r, args, DEVICES, false);
    run_clean_host(&r);
    rig_host_end(&r.rig);
    r.careful = r.load.skips = true;
    for (unsigned i = 0; i < DEATHS; i++)
        if (!visit_as(&r, "host.done", 1, true))
            rig_die("host.done is no crash point any more");
    run_clean_host(&r);
    until = mp_now_us() + CAREFUL_S * MP_SECOND;
    while (!all_accounted(&r) && rig_host_runs(&r.rig) && mp_now_us() < until)
        load_turn(&r.load, 50);
    rig_host_end(&r.rig);
    n = verdict_counted(r.data, "count", &dead);
    if (!all_accounted(&r))
        snprintf(r.wrong, sizeof r.wrong,
                 "of %u events %ld are counted and %ld given up", r.load.n_sent,
                 n, dead);
    bad = !run_say(&r,
                   "after %d deaths it goes on carefully, and gives up no"
                   " more than the %ld it died on",
                   DEATHS, dead);
    run_close(&r);
    return bad;
}

/* ---- at any moment ---- */

static void pass(struct run *r, int ms)
{
    int64_t until = mp_now_us() + ms * MP_MS;

    while (mp_now_us() < until && rig_host_runs(&r->rig))
        load_turn(&r->load, 1);
}

/* Under a burst that goes on over the kill; now and then once more while it
 * recovers. */
static void kill_once(struct run *r)
{
    load_add(&r->load, BURST);
    pass(r, (int)rig_chance(300));
    rig_host_kill(&r->rig);
    if (rig_chance(3) == 0) {
        run_start(r, NULL);
        pass(r, (int)rig_chance(200));
        rig_host_kill(&r->rig);
    }
    run_settle(r);
}

int mode_random(const struct run_args *args)
{
    unsigned kills = args->number ? args->number : 200;
    struct run r;
    int bad;

    run_open(&r, args, DEVICES, false);
    r.load.rate = RATE;
    run_clean_host(&r);
    for (unsigned i = 1; i <= kills && !r.wrong[0]; i++) {
        kill_once(&r);
        if (i % VERIFY_EVERY == 0 || i == kills)
            run_verify(&r);
    }
    bad = !run_say(&r,
                   "killed at %u random instants, %u events: every counter is"
                   " right, every output came (%llu repeats)",
                   kills, r.load.n_sent, (unsigned long long)r.load.repeats);
    run_close(&r);
    return bad;
}

/* ---- in company ---- */

/*
 * A killed broker forgets up to a second of what it confirmed.  What it
 * forgets of the events the sensors send again; an output that it confirmed
 * to us and forgot is lost to its reader, and nobody here can help that: these
 * are counted, and may be no more than were under way.
 */
static void kill_any(struct run *r)
{
    load_add(&r->load, BURST);
    pass(r, (int)rig_chance(400));
    switch (rig_chance(4)) {
    case 0:
        rig_broker_kill(&r->rig);
        pass(r, (int)rig_chance(200));
        rig_broker_start(&r->rig);
        break;
    case 1:
        rig_worker_kill(&r->rig);
        break;
    default:
        rig_host_kill(&r->rig);
    }
}

/* All events are counted, whatever came of the outputs. */
static void settle_mixed(struct run *r)
{
    int64_t until = mp_now_us() + 40 * MP_SECOND;
    uint64_t outputs;

    if (!rig_host_runs(&r->rig))
        run_clean_host(r);
    while (!load_is_sent(&r->load) && mp_now_us() < until)
        load_turn(&r->load, 2);
    do { /* until a second brings nothing */
        outputs = r->load.outputs;
        pass(r, 1000);
    } while (outputs != r->load.outputs && mp_now_us() < until);
}

static uint64_t missing(const struct load *l)
{
    uint64_t n = 0;

    for (unsigned kind = 0; kind < LOAD_KINDS; kind++)
        for (unsigned d = 0; d < l->devices; d++)
            n += load_expected(l, kind) - load_line(l, kind, d)->came;
    return n;
}

int mode_mixed(const struct run_args *args)
{
    unsigned kills = args->number ? args->number : 60;
    struct run r;
    int bad;

    run_open(&r, args, DEVICES, true);
    r.load.rate = RATE / 2.0;
    run_clean_host(&r);
    /* A broker that forgot our sessions would take events for nobody. */
    rig_broker_await_save(&r.rig);
    for (unsigned i = 1; i <= kills && !r.wrong[0]; i++) {
        kill_any(&r);
        if (!rig_host_runs(&r.rig))
            run_clean_host(&r);
        if (i % VERIFY_EVERY != 0 && i != kills)
            continue;
        settle_mixed(&r);
        run_verify_counts(&r);
    }
    bad = !run_say(&r,
                   "killed %u times, workers and the broker, too, %u events:"
                   " every counter is right (%llu repeats; the broker forgot"
                   " %llu of %llu outputs)",
                   kills, r.load.n_sent, (unsigned long long)r.load.repeats,
                   (unsigned long long)missing(&r.load),
                   (unsigned long long)r.load.outputs);
    run_close(&r);
    return bad;
}
