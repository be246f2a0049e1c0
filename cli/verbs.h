/*
 * verbs.h - what one can type after `moonpool`.
 *
 * A verb gets what stands behind its name and returns the exit status
 * (cli/flags.h).  Data goes to stdout, talk to stderr.
 */
#ifndef MP_CLI_VERBS_H
#define MP_CLI_VERBS_H

#include <stddef.h>

struct mp_verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage; /* "check PATH..." */
    const char *about; /* one line */
};

/* Every verb, in the order help shows them. */
extern const struct mp_verb mp_verbs[];
extern const size_t mp_verbs_len;

int mp_verb_run(int argc, char **argv);
int mp_verb_new(int argc, char **argv);
int mp_verb_check(int argc, char **argv);
int mp_verb_test(int argc, char **argv);
int mp_verb_invoke(int argc, char **argv);
int mp_verb_send(int argc, char **argv);
int mp_verb_state(int argc, char **argv);
int mp_verb_dlq(int argc, char **argv);
int mp_verb_queue(int argc, char **argv);
int mp_verb_secret(int argc, char **argv);
int mp_verb_help(int argc, char **argv);
int mp_verb_version(int argc, char **argv);

#endif
