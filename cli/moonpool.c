/*
 * moonpool.c - the command people type: finds the verb and runs it.
 */
#include <errno.h>
#include <stdio.h>

#include "cli/flags.h"
#include "cli/verbs.h"
#include "core/base/text.h"

const struct mp_verb mp_verbs[] = {
    {"run", mp_verb_run, "run", "the host: runs functions when sensors speak"},
    {"new", mp_verb_new, "new NAME",
     "a function to start from, tests included"},
    {"check", mp_verb_check, "check PATH...", "every mistake, with its place"},
    {"test", mp_verb_test, "test [PATH...]", "runs tests/*.json of functions"},
    {"invoke", mp_verb_invoke, "invoke [PATH]",
     "one event, offline, without any effect"},
    {"send", mp_verb_send, "send FUNCTION", "an event into the running host"},
    {"state", mp_verb_state, "state ls|get|...", "what functions keep"},
    {"dlq", mp_verb_dlq, "dlq ls|show|...", "dead letters: what was given up"},
    {"queue", mp_verb_queue, "queue ls|drop", "events that wait in the host"},
    {"secret", mp_verb_secret, "secret ls|set|rm",
     "what functions were granted to know"},
    {"help", mp_verb_help, "help [TOPIC]", "config, function, lua or a verb"},
    {"version", mp_verb_version, "version", "of this program"},
};

const size_t mp_verbs_len = ARRAY_LEN(mp_verbs);

int mp_verb_version(int argc, char **argv)
{
    const struct mp_usage usage = {
        .verb = "moonpool version",
        .operands = "",
        .about = "Prints the version of this program.",
    };
    int status;

    if (mp_flags_parse(&usage, argc, argv, NULL, &status) < 0)
        return status;
    printf("moonpool %s\n", MP_VERSION);
    return MP_EXIT_DONE;
}

static int unknown(const char *word)
{
    const char *words[ARRAY_LEN(mp_verbs)], *near;

    for (size_t i = 0; i < mp_verbs_len; i++)
        words[i] = mp_verbs[i].name;
    near = mp_nearest(mp_slice_str(word), words, mp_verbs_len);
    if (near)
        fprintf(stderr, "moonpool: unknown verb '%s'; did you mean '%s'?\n",
                word, near);
    else
        fprintf(stderr,
                "moonpool: unknown verb '%s'; moonpool help lists them\n",
                word);
    return MP_EXIT_USAGE;
}

/* A dump that a full disk cut short is none: not with exit 0. */
static int written(int status)
{
    bool failed = ferror(stdout);

    failed = fflush(stdout) || failed;
    if (!failed || errno == EPIPE)
        return status;
    fprintf(stderr, "moonpool: the output can't be written: %s\n",
            strerror(errno));
    return status ? status : MP_EXIT_NO;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;

    if (!word) {
        fprintf(stderr, "usage: moonpool VERB [FUNCTION|PATH] [flags]; "
                        "moonpool help lists the verbs\n");
        return MP_EXIT_USAGE;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        word = "help";
    else if (strcmp(word, "--version") == 0)
        word = "version";
    for (size_t i = 0; i < mp_verbs_len; i++) {
        if (strcmp(word, mp_verbs[i].name) == 0)
            return written(mp_verbs[i].run(argc - 2, argv + 2));
    }
    return unknown(word);
}
