/*
 * host.c - the main of moonpool-host: one loop, and what it reacts to.
 *
 *   SIGTERM, SIGINT   drain: no more input; what was taken over and would not
 *                     come again is finished; 5 s at most
 *   SIGHUP            read the functions again
 *   SIGUSR1           all metrics to stderr
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/flags.h"
#include "cli/watch.h"
#include "core/api.h"
#include "core/base/clock.h"
#include "core/host.h"
#include "core/live.h"
#include "core/log.h"
#include "core/notify.h"
#include "transports/mqtt.h"
#include "transports/timer.h"

#define DRAIN_US (4 * MP_SECOND)
/* How long `ready` waits for a broker that doesn't answer. */
enum { READY_WAIT_MS = 2000 };
/* How often, and how soon again, the lock of the data directory is asked for.
 */
enum { LOCK_TRIES = 25, LOCK_AGAIN_US = 20000 };
/* And how long, at the end, connections may take to close; without a broker
 * there is only a try to connect, which may be stuck. */
enum { GIVE_UP_MS = 700, GIVE_UP_ALONE_MS = 100 };

static struct {
    struct mp_run_flags flags;
    struct mp_config config;
    struct mp_host host;
    struct mp_api *api;
    uv_loop_t loop;
    uv_signal_t term, intr, hup, usr1;
    uv_timer_t drain, late, watchdog;
    int64_t start_us, drain_until_us;
    bool ready, functions_settled, link_up, stopping;
    int lock_fd;
} me;

static void say(struct mp_report *r, bool warning, const char *text)
{
    (void)r;
    mp_log(warning ? MP_WARN : MP_ERROR, "config", NULL, "%s", text);
}

/* ---- ready ---- */

static const char *ready_text(unsigned live)
{
    if (mp_host_trouble(&me.host)[0])
        return ", waiting for the database: no input is taken";
    if (!live)
        return ", but no function is loaded: there is nothing to connect for";
    if (me.link_up)
        return "";
    return me.host.router.n_routes ? ", waiting for the broker"
                                   : ", without a broker so far";
}

static void say_ready(void)
{
    unsigned triggers, live = mp_catalog_live(&me.host.catalog, &triggers);
    char status[160];

    me.ready = true;
    uv_timer_stop(&me.late);
    mp_log(MP_INFO, "host",
           MP_FIELDS(MP_NUM("functions", live), MP_NUM("triggers", triggers),
                     MP_NUM("workers", mp_pool_processes(&me.host.pool)),
                     MP_NUM("failed", me.host.catalog.failed),
                     MP_NUM("in_ms", (mp_now_us() - me.start_us) / 1000)),
           "ready%s", ready_text(live));
    snprintf(status, sizeof status, "READY=1\nSTATUS=%u functions%s", live,
             ready_text(live));
    mp_notify(status);
}

static void on_late(uv_timer_t *timer)
{
    (void)timer;
    if (me.functions_settled && !me.ready)
        say_ready();
}

/* Who only answers, or runs on time, need not wait for a broker. */
static bool has_all(void)
{
    return me.link_up || (me.host.routed && me.host.router.n_routes == 0);
}

static void on_settled(void *arg, bool changed)
{
    unsigned triggers, live = mp_catalog_live(&me.host.catalog, &triggers);

    (void)arg;
    if (!me.functions_settled) {
        me.functions_settled = true;
        if (live == 0 || has_all())
            say_ready();
    } else {
        mp_log(MP_INFO, "host",
               MP_FIELDS(MP_NUM("functions", live),
                         MP_NUM("triggers", triggers),
                         MP_NUM("failed", me.host.catalog.failed)),
               "reloaded%s", changed ? "" : ", nothing has changed");
    }
}

static void on_link(void *arg, bool up)
{
    (void)arg;
    me.link_up = up;
    mp_metrics.mqtt_connected = up;
    if (me.functions_settled && !me.ready && has_all())
        say_ready();
    else if (me.ready)
        mp_notify(up ? "STATUS=connected" : "STATUS=waiting for the broker");
}

/* ---- stopping ---- */

static void close_all_handles(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void on_closed(void *arg)
{
    (void)arg;
    mp_live_close();
    mp_watch_close();
    uv_walk(&me.loop, close_all_handles, NULL);
}

/* A name server that doesn't answer can't be interrupted, and needn't be. */
static void on_give_up(uv_timer_t *timer)
{
    (void)timer;
    mp_log(MP_INFO, "host", NULL, "stopped");
    _exit(MP_EXIT_DONE);
}

static void finish(void)
{
    uv_timer_stop(&me.drain);
    uv_timer_start(&me.late, on_give_up,
                   me.link_up ? GIVE_UP_MS : GIVE_UP_ALONE_MS, 0);
    mp_api_close(me.api);
    me.api = NULL;
    mp_host_close(&me.host, on_closed, NULL);
}

static void on_drain(uv_timer_t *timer)
{
    (void)timer;
    if (mp_host_drain(&me.host) || mp_now_us() > me.drain_until_us)
        finish();
}

static void on_stop(uv_signal_t *handle, int number)
{
    (void)handle;
    if (me.stopping)
        return;
    me.stopping = true;
    mp_notify("STOPPING=1");
    mp_log(MP_INFO, "host", NULL, "stopping (%s)",
           number == SIGINT ? "SIGINT" : "SIGTERM");
    me.drain_until_us = mp_now_us() + DRAIN_US;
    uv_timer_start(&me.drain, on_drain, 0, 10);
}

/* ---- other signals ---- */

/* The host can't work like this, and has said why. */
static void on_fatal(void *arg)
{
    (void)arg;
    _exit(MP_EXIT_NO);
}

static void rescan(void)
{
    if (!me.stopping)
        mp_catalog_scan(&me.host.catalog);
}

static void on_hup(uv_signal_t *handle, int number)
{
    struct stat st;

    (void)handle;
    (void)number;
    if (me.flags.overrides.config && !stat(me.flags.overrides.config, &st) &&
        st.st_mtime > mp_metrics.start_us / MP_SECOND)
        mp_log(MP_WARN, "host", NULL,
               "%s has changed; that takes effect at the next start",
               me.flags.overrides.config);
    if (!mp_watch_again())
        rescan();
}

static void on_usr1(uv_signal_t *handle, int number)
{
    struct mp_buf text;

    (void)handle;
    (void)number;
    mp_buf_init(&text, 4 << 20);
    mp_live_metrics(&me.host, &text);
    (void)!write(STDERR_FILENO, text.ptr, text.len);
    mp_buf_fini(&text);
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    mp_notify("WATCHDOG=1");
}

/* ---- start ---- */

/*
 * A host that died while it started a worker left a child that has the lock,
 * until that finds its parent gone.
 */
static int lock_soon(int dir, struct mp_why *why)
{
    int fd = mp_store_lock(dir, why);

    for (int i = 0; fd == MP_EDENY && i < LOCK_TRIES; i++) {
        usleep(LOCK_AGAIN_US);
        fd = mp_store_lock(dir, why);
    }
    return fd;
}

/* errno says why it can't be done to path, which is it or above it. */
static int no_data(struct mp_why *why, const char *done, const char *path)
{
    int number = errno;

    return mp_why_set(
        why, MP_EIO,
        "the data directory, %s, can't be %s%s%s: %s; name "
        "another with --data",
        me.config.data, done, strcmp(path, me.config.data) ? ", nor can " : "",
        strcmp(path, me.config.data) ? path : "", strerror(number));
}

/* Make the data directory and refuse a second host on it. */
static int lock_data(struct mp_why *why)
{
    char path[4096], *slash;
    int dir;

    snprintf(path, sizeof path, "%s", me.config.data);
    for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) && errno != EEXIST)
            return no_data(why, "made", path);
        *slash = '/';
    }
    if (mkdir(path, 0750) && errno != EEXIST)
        return no_data(why, "made", path);
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return no_data(why, "opened", path);
    me.lock_fd = lock_soon(dir, why);
    close(dir);
    if (me.lock_fd == MP_EDENY)
        mp_why_set(why, MP_EDENY,
                   "another moonpool uses the data directory %s; give this "
                   "one its own with --data",
                   me.config.data);
    return me.lock_fd < 0 ? me.lock_fd : 0;
}

static void on_signal(uv_signal_t *handle, uv_signal_cb cb, int number)
{
    uv_signal_init(&me.loop, handle);
    uv_signal_start(handle, cb, number);
}

static void start_handles(void)
{
    int64_t watchdog_us = mp_notify_watchdog_us();

    on_signal(&me.term, on_stop, SIGTERM);
    on_signal(&me.intr, on_stop, SIGINT);
    on_signal(&me.hup, on_hup, SIGHUP);
    on_signal(&me.usr1, on_usr1, SIGUSR1);
    uv_timer_init(&me.loop, &me.drain);
    uv_timer_init(&me.loop, &me.late);
    uv_timer_init(&me.loop, &me.watchdog);
    uv_timer_start(&me.late, on_late, READY_WAIT_MS, READY_WAIT_MS);
    if (watchdog_us)
        uv_timer_start(&me.watchdog, on_watchdog, 0,
                       (uint64_t)watchdog_us / 1000);
}

static int fail(const struct mp_why *why)
{
    mp_log(MP_ERROR, "host", NULL, "%s", why->text);
    return MP_EXIT_NO;
}

int main(int argc, char **argv)
{
    struct mp_report report = {.say = say};
    struct mp_why why;
    int status;

    me.start_us = mp_now_us();
    mp_metrics.start_us = mp_wall_us();
    setenv("UV_THREADPOOL_SIZE", "1", 0); /* name look-ups, no more */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* until the loop takes it: all is read anyway */
    if (mp_run_flags_parse(&me.flags, "moonpool run", argc - 1, argv + 1,
                           &status))
        return status;
    if (mp_config_read(&me.config, &me.flags.overrides, &report))
        return MP_EXIT_NO;
    mp_log_open(me.config.log_format, me.config.log_level);
    if (access(me.config.functions, R_OK | X_OK)) {
        mp_why_set(&why, MP_EIO,
                   "the directory of functions, %s, can't be read: %s; name "
                   "another with --functions, or make this one",
                   me.config.functions, strerror(errno));
        return fail(&why);
    }
    if (lock_data(&why))
        return fail(&why);
    uv_loop_init(&me.loop);
    start_handles();
    me.host.on_settled = on_settled;
    me.host.on_link = on_link;
    me.host.on_fatal = on_fatal;
    me.host.doors[me.host.n_doors++] =
        (struct mp_door){.ops = &mp_timer, .kind = MP_TRIGGER_EVERY};
    me.host.doors[me.host.n_doors++] =
        (struct mp_door){.module = "moonpool-coap.so",
                         .symbol = "mp_coap",
                         .kind = MP_TRIGGER_COAP};
    me.host.doors[me.host.n_doors++] =
        (struct mp_door){.module = "moonpool-http.so",
                         .symbol = "mp_http",
                         .kind = MP_TRIGGER_HTTP};
    if (mp_host_open(&me.host, &me.loop, &me.config, &mp_mqtt, &why))
        return fail(&why);
    if (mp_api_open(&me.api, &me.host, &why))
        return fail(&why);
    if (me.flags.live)
        mp_live_open(&me.host);
    if (me.flags.watch) {
        mp_watch_open(&me.loop, me.config.functions, rescan);
        me.host.catalog.holds = mp_watch_holds;
    }
    uv_run(&me.loop, UV_RUN_DEFAULT);
    mp_log(MP_INFO, "host", NULL, "stopped");
    mp_config_fini(&me.config);
    return MP_EXIT_DONE;
}
