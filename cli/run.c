/*
 * run.c - `moonpool run` becomes moonpool-host.
 *
 * The host is a program of its own, so that this one stays small and needs
 * neither libuv nor a broker's library.  Wrong flags are told here already.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/flags.h"
#include "cli/verbs.h"

/* Beside our own executable, else where `make install` puts it. */
static void host_program(char path[PATH_MAX])
{
    static const char name[] = "moonpool-host";
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - sizeof name - 1);

    if (len > 0) {
        path[len] = '\0';
        strcpy(strrchr(path, '/') + 1, name);
        if (access(path, X_OK) == 0)
            return;
    }
    snprintf(path, PATH_MAX, "%s/%s", MP_LIBEXEC, name);
}

int mp_verb_run(int argc, char **argv)
{
    struct mp_run_flags flags;
    char program[PATH_MAX], name[] = "moonpool-host", **args;
    int status;

    if (mp_run_flags_parse(&flags, "moonpool run", argc, argv, &status))
        return status;
    host_program(program);
    args = mp_alloc(((size_t)argc + 2) * sizeof *args);
    args[0] = name;
    for (int i = 0; i < argc; i++)
        args[i + 1] = argv[i];
    args[argc + 1] = NULL;
    signal(SIGHUP, SIG_IGN); /* a reload that is asked for too early */
    execv(program, args);
    fprintf(stderr, "moonpool run: can't start %s: %s\n", program,
            strerror(errno));
    return MP_EXIT_NO;
}
