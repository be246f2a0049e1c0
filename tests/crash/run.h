/*
 * run.h - one rig under one load, and what every test does with them: start
 * the host, let everything settle, look.
 */
#ifndef TESTS_CRASH_RUN_H
#define TESTS_CRASH_RUN_H

#include "tests/crash/load.h"
#include "tests/crash/rig.h"

/* What the command line says. */
struct run_args {
    const char *build, *functions;
    uint64_t seed;
    bool brief;      /* the short version, for make test */
    unsigned number; /* of kills or faults; 0: the mode's own */
    char **words;
    int n_words;
};

struct run {
    struct rig rig;
    struct load load;
    char data[PATH_MAX + 8];
    bool careful;    /* aborts count; else they are forgotten before a start,
                      * so that no event is given up */
    char wrong[512]; /* "": nothing is */
};

/* A broker and a load; no host yet. */
void run_open(struct run *r, const struct run_args *args, unsigned devices,
              bool mixed);
/* Prints where the directory is if something was wrong. */
void run_close(struct run *r);

/* Start a host. */
void run_start(struct run *r, const char *const *env);
/* Start a host and wait until it is ready, or dead (false). */
bool run_host(struct run *r, const char *const *env);
/* A host without tricks, which must become ready. */
void run_clean_host(struct run *r);

/* Drive the load until the host dies, all outputs came, or ms are over.
 * Returns whether all came. */
bool run_until_complete(struct run *r, int ms);
/* Start the host if it is dead, and wait until every output came. */
bool run_settle(struct run *r);
/* Settle, wait until nothing is left on disk, end the host, look. */
bool run_verify(struct run *r);
/* That without waiting for outputs: a broker may have forgotten some. */
bool run_verify_counts(struct run *r);

/* "ok - SENTENCE", or "not ok - SENTENCE: what is wrong". */
bool run_say(struct run *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The modes; each returns how many sentences were not ok. */
int mode_points(const struct run_args *args);
int mode_careful(const struct run_args *args);
int mode_random(const struct run_args *args);
int mode_mixed(const struct run_args *args);
int mode_fault(const struct run_args *args);
int mode_record(const struct run_args *args);

#endif
