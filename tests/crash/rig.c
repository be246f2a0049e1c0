/*
 * rig.c - processes, by their ids: each is a child of ours, so its id can't
 * become anybody else's before we have waited for it.
 */
#include "tests/crash/rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"

enum { END_MS = 15000, BROKER_MS = 10000, ENV_MAX = 16 };

static uint64_t chance_state = 1;

void rig_seed(uint64_t seed)
{
    chance_state = seed * 2 + 1;
}

uint32_t rig_chance(uint32_t below)
{
    chance_state = chance_state * UINT64_C(6364136223846793005) +
                   UINT64_C(1442695040888963407);
    return below ? (uint32_t)((chance_state >> 33) % below) : 0;
}

void rig_die(const char *fmt, ...)
{
    va_list args;

    printf("not ok - ");
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    exit(1);
}

void rig_sleep_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};

    nanosleep(&t, NULL);
}

/* ---- files ---- */

static FILE *open_in(const struct rig *r, const char *name, const char *mode)
{
    char path[PATH_MAX + 64];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    f = fopen(path, mode);
    if (!f)
        rig_die("open %s: %s", path, strerror(errno));
    return f;
}

static void make_dir(const struct rig *r, const char *name)
{
    char path[PATH_MAX + 64];

    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    if (mkdir(path, 0755) && errno != EEXIST)
        rig_die("mkdir %s: %s", path, strerror(errno));
}

/* Copy a text; behind each "mqtt =" a line of its own, where there is one. */
static void copy_text(const char *from, FILE *to, const char *after_mqtt)
{
    char line[1024];
    FILE *f = fopen(from, "r");

    if (!f)
        rig_die("open %s: %s", from, strerror(errno));
    while (fgets(line, sizeof line, f)) {
        fputs(line, to);
        if (after_mqtt && strncmp(line, "mqtt =", 6) == 0)
            fprintf(to, "%s\n", after_mqtt);
    }
    fclose(f);
    fclose(to);
}

static void copy_function(const struct rig *r, const char *functions,
                          const char *name)
{
    static const char *const files[] = {"function.conf", "main.lua"};
    char from[PATH_MAX], to[128];

    snprintf(to, sizeof to, "functions/%s", name);
    make_dir(r, to);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(from, sizeof from, "%s/%s/%s", functions, name, files[i]);
        snprintf(to, sizeof to, "functions/%s/%s", name, files[i]);
        copy_text(from, open_in(r, to, "w"),
                  i == 0 && r->dedupe ? "dedupe = 1h" : NULL);
    }
}

static void remove_all(const char *dir)
{
    pid_t pid = fork();

    if (pid == 0) {
        execlp("rm", "rm", "-r", dir, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

/* ---- processes ---- */

static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) ||
        getsockname(fd, (struct sockaddr *)&a, &len))
        rig_die("no port: %s", strerror(errno));
    close(fd);
    return ntohs(a.sin_port);
}

static bool listens(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool yes = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;

    close(fd);
    return yes;
}

/* argv and env are for the child; what it says goes to the log. */
static pid_t start(const struct rig *r, const char *log,
                   const char *const argv[], const char *const *env)
{
    pid_t us = getpid(), pid;
    char path[PATH_MAX + 64];

    snprintf(path, sizeof path, "%s/%s", r->dir, log);
    fflush(NULL);
    pid = fork();
    if (pid < 0)
        rig_die("fork: %s", strerror(errno));
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != us)
        _exit(127);
    setsid();
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(fd, 1);
    dup2(fd, 2);
    for (; env && *env; env++)
        putenv(strdup(*env));
    execvp(argv[0], (char *const *)(uintptr_t)argv); /* it changes none */
    _exit(127);
}

static bool ended(pid_t pid, int *status)
{
    return waitpid(pid, status, WNOHANG) == pid;
}

/* ---- broker ---- */

void rig_broker_start(struct rig *r)
{
    char conf[PATH_MAX + 64];
    const char *argv[] = {"mosquitto", "-c", conf, NULL};
    const struct passwd *who = getpwuid(getuid());
    int64_t until = mp_now_us() + BROKER_MS * MP_MS;
    int status;
    FILE *f = open_in(r, "broker/mosquitto.conf", "w");

    fprintf(f,
            "listener %d 127.0.0.1\nallow_anonymous true\nuser %s\n"
            "persistence true\npersistence_location %s/broker/\n"
            "autosave_interval 1\nset_tcp_nodelay true\n"
            "max_queued_messages 0\nmax_inflight_messages 200\n"
            "connection_messages false\n",
            r->port, who ? who->pw_name : "root", r->dir);
    fclose(f);
    snprintf(conf, sizeof conf, "%s/broker/mosquitto.conf", r->dir);
    r->broker = start(r, "broker/log", argv, NULL);
    while (!listens(r->port)) {
        if (ended(r->broker, &status) || mp_now_us() > until)
            rig_die("mosquitto does not start: see %s/broker/log", r->dir);
        rig_sleep_ms(10);
    }
}

void rig_broker_kill(struct rig *r)
{
    kill(r->broker, SIGKILL);
    waitpid(r->broker, NULL, 0);
    r->broker = 0;
}

void rig_broker_await_save(const struct rig *r)
{
    int64_t until = mp_now_us() + BROKER_MS * MP_MS, now = mp_wall_us();
    char path[PATH_MAX + 64];
    struct stat st;

    snprintf(path, sizeof path, "%s/broker/mosquitto.db", r->dir);
    /* A file's times have whole ticks of the kernel's clock. */
    while (stat(path, &st) ||
           (int64_t)st.st_mtim.tv_sec * MP_SECOND + st.st_mtim.tv_nsec / 1000 <
               now + 20 * MP_MS) {
        if (mp_now_us() > until)
            rig_die("mosquitto does not save its state in %s", path);
        rig_sleep_ms(20);
    }
}

/* ---- host ---- */

void rig_host_start(struct rig *r, const char *const *env)
{
    char program[PATH_MAX + 64], functions[PATH_MAX + 64], data[PATH_MAX + 64],
        url[64];
    const char *argv[] = {program,  "--functions", functions,   "--data", data,
                          "--mqtt", url,           "--workers", "2",      NULL};
    struct stat st;
    char log[PATH_MAX + 64];

    snprintf(program, sizeof program, "%s/moonpool-host", r->build);
    snprintf(functions, sizeof functions, "%s/functions", r->dir);
    snprintf(data, sizeof data, "%s/data", r->dir);
    snprintf(url, sizeof url, "mqtt://127.0.0.1:%d", r->port);
    snprintf(log, sizeof log, "%s/host.log", r->dir);
    r->log_from = stat(log, &st) == 0 ? (long)st.st_size : 0;
    r->was_ready = false;
    r->starts++;
    r->host = start(r, "host.log", argv, env);
}

bool rig_host_runs(struct rig *r)
{
    if (r->host && ended(r->host, &r->status))
        r->host = 0;
    return r->host != 0;
}

bool rig_host_said(const struct rig *r, const char *text)
{
    char line[2048];
    bool said = false;
    FILE *f = open_in(r, "host.log", "r");

    fseek(f, r->log_from, SEEK_SET);
    while (!said && fgets(line, sizeof line, f))
        said = strstr(line, text) != NULL;
    fclose(f);
    return said;
}

bool rig_host_is_ready(struct rig *r)
{
    if (!r->was_ready)
        r->was_ready = rig_host_said(r, "host: ready");
    return r->was_ready;
}

void rig_host_kill(struct rig *r)
{
    if (!r->host)
        return;
    kill(r->host, SIGKILL);
    waitpid(r->host, &r->status, 0);
    r->host = 0;
}

int rig_host_end(struct rig *r)
{
    int64_t until = mp_now_us() + END_MS * MP_MS;

    if (!r->host)
        return r->status;
    kill(r->host, SIGTERM);
    while (rig_host_runs(r) && mp_now_us() < until)
        rig_sleep_ms(5);
    rig_host_kill(r);
    return r->status;
}

bool rig_worker_kill(struct rig *r)
{
    char path[64];
    unsigned n = 0;
    int pid, pids[16];
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)r->host,
             (int)r->host);
    f = r->host ? fopen(path, "r") : NULL;
    while (f && n < 16 && fscanf(f, "%d", &pid) == 1)
        pids[n++] = pid;
    if (f)
        fclose(f);
    return n > 0 && kill(pids[rig_chance(n)], SIGKILL) == 0;
}

/* ---- all of it ---- */

void rig_open(struct rig *r, const char *build, const char *functions,
              bool dedupe)
{
    static const char *const names[] = {"count", "relay", "tally", "ring",
                                        "echo"};
    const char *tmp = getenv("TMPDIR");

    memset(r, 0, sizeof *r);
    snprintf(r->build, sizeof r->build, "%s", build);
    snprintf(r->dir, sizeof r->dir, "%s/moonpool-crash-XXXXXX",
             tmp ? tmp : "/tmp");
    if (!mkdtemp(r->dir))
        rig_die("mkdtemp %s: %s", r->dir, strerror(errno));
    r->dedupe = dedupe;
    r->port = free_port();
    make_dir(r, "broker");
    make_dir(r, "data");
    make_dir(r, "functions");
    fclose(open_in(r, "host.log", "w"));
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        copy_function(r, functions, names[i]);
}

void rig_close(struct rig *r, bool keep)
{
    rig_host_kill(r);
    if (r->broker)
        rig_broker_kill(r);
    if (keep)
        printf("# what it left is in %s\n", r->dir);
    else
        remove_all(r->dir);
}
