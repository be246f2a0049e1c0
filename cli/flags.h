/*
 * flags.h - the flags of a verb: both `--name value` and `--name=value`.
 *
 * A verb has a table of flags; parsing writes what was given through the
 * pointers in it and hands back the operands.  `--` ends the flags, a lone
 * `-` is an operand.
 *
 * Memory   values borrow from argv.
 * Errors   wrong usage is told on stderr, with the nearest right word.
 */
#ifndef MP_CLI_FLAGS_H
#define MP_CLI_FLAGS_H

#include "core/config.h"

/* Exit status, as users script it. */
enum {
    MP_EXIT_DONE = 0,
    MP_EXIT_NO = 1,    /* mistakes found, outcome not ok, tests failed */
    MP_EXIT_USAGE = 2, /* wrong usage */
    MP_EXIT_NO_HOST = 3,
};

struct mp_flag {
    const char *name; /* without the dashes */
    const char *arg;  /* "FILE"; NULL: a switch */
    const char *help; /* one line */
    /* exactly one of these; text: the last one given wins */
    bool *on;
    const char **text;
    struct mp_flag_list *list; /* may be given again */
};

enum { MP_FLAG_LIST_MAX = 64 };

struct mp_flag_list {
    const char *items[MP_FLAG_LIST_MAX];
    unsigned n;
};

struct mp_usage {
    const char *verb;     /* "moonpool check" */
    const char *operands; /* "PATH..."; "" for none */
    const char *about;    /* one line */
    const struct mp_flag *flags;
    size_t n_flags;
    unsigned min, max; /* operands; max 0: none */
};

/*
 * Parse argv (without the verb).  Returns the number of operands, put into
 * operands (of usage->max), or -1: end with *exit_status, everything was said
 * (--help prints to stdout and ends with 0).
 */
int mp_flags_parse(const struct mp_usage *usage, int argc, char **argv,
                   const char **operands, int *exit_status);

/* The flags of `moonpool run` and of moonpool-host are the same. */
struct mp_run_flags {
    struct mp_overrides overrides;
    bool watch, live;
};

/* 0, or -1: end with *exit_status.  argv without program and verb. */
int mp_run_flags_parse(struct mp_run_flags *flags, const char *verb, int argc,
                       char **argv, int *exit_status);

#endif
