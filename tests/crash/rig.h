/*
 * rig.h - a broker and a host, real ones, which a test may kill.
 *
 * Everything lies in one directory: broker/, data/, functions/, host.log.
 * The broker keeps its port and its saved state over a kill, as the host
 * keeps its data.  What is started dies with us.
 *
 * Errors   what can't be started ends the test (rig_die).
 */
#ifndef TESTS_CRASH_RIG_H
#define TESTS_CRASH_RIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct rig {
    char build[PATH_MAX]; /* where the host is */
    char dir[PATH_MAX];
    int port;
    pid_t broker, host; /* 0: does not run */
    int status;         /* of the host that ended last, as waitpid has it */
    bool was_ready;     /* the host that runs, or ran last */
    long log_from;      /* where the log of that host begins */
    bool dedupe;        /* triggers say dedupe = 1h */
    unsigned starts;    /* of hosts */
};

/* chance: one generator for everything, so that a seed repeats a run. */
void rig_seed(uint64_t seed);
uint32_t rig_chance(uint32_t below);

_Noreturn void rig_die(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

/* A new directory with the functions; no process runs yet. */
void rig_open(struct rig *r, const char *build, const char *functions,
              bool dedupe);
/* Ends what runs; keep: leave the directory, and say where it is. */
void rig_close(struct rig *r, bool keep);

void rig_broker_start(struct rig *r);
void rig_broker_kill(struct rig *r);
/* Wait until it has saved what it knew when this was called: sessions. */
void rig_broker_await_save(const struct rig *r);

/* env: "NAME=VALUE" texts, NULL at the end; or NULL. */
void rig_host_start(struct rig *r, const char *const *env);
bool rig_host_runs(struct rig *r);
/* Did the host that runs, or ran last, say that it is ready? */
bool rig_host_is_ready(struct rig *r);
/* Did it say this? */
bool rig_host_said(const struct rig *r, const char *text);
void rig_host_kill(struct rig *r);
/* SIGTERM, and wait; SIGKILL after 15 s.  Its status. */
int rig_host_end(struct rig *r);
/* Kill one of its workers; false: it has none. */
bool rig_worker_kill(struct rig *r);

void rig_sleep_ms(int ms);

#endif
