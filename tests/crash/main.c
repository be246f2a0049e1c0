/*
 * main.c - kills a real host, disturbs it, and asks for its accounts.
 *
 *   crash [--build DIR] [--seed N] [--brief] [--number N] MODE [WORD...]
 *
 *   points NAME...   SIGKILL at each of these crash points (a CRASH=1 build)
 *   careful          so often that the host becomes careful (CRASH=1, too)
 *   random           SIGKILL at random instants, 200 or --number
 *   mixed            of workers and of the broker, too
 *   fault [TEXT]     writes, syncs and allocations fail (fault.so)
 *   record LOG       a run under record.so, for the power cuts
 *
 * Run it from the top of the tree.  The seed is printed; --seed repeats it.
 * Each "not ok" leaves its directory behind.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/why.h"
#include "tests/crash/run.h"

static const struct {
    const char *name;
    int (*run)(const struct run_args *args);
} modes[] = {
    {"points", mode_points}, {"careful", mode_careful}, {"random", mode_random},
    {"mixed", mode_mixed},   {"fault", mode_fault},     {"record", mode_record},
};

static _Noreturn void usage(void)
{
    fprintf(stderr, "crash [--build DIR] [--seed N] [--brief] [--number N]"
                    " points|careful|random|mixed|fault|record [WORD...]\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"build", 1, NULL, 'b'}, {"seed", 1, NULL, 's'},
        {"brief", 0, NULL, 'q'}, {"number", 1, NULL, 'n'},
        {NULL, 0, NULL, 0},
    };
    static char build[PATH_MAX];
    struct run_args args = {.build = realpath("build", build),
                            .functions = "tests/crash/functions"};
    int c;

    args.seed = (uint64_t)mp_wall_us() % 1000000;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 'b':
            args.build = realpath(optarg, build);
            break;
        case 's':
            args.seed = strtoull(optarg, NULL, 10);
            break;
        case 'q':
            args.brief = true;
            break;
        case 'n':
            args.number = (unsigned)atoi(optarg);
            break;
        default:
            usage();
        }
    if (optind == argc || !args.build)
        usage();
    args.words = argv + optind + 1;
    args.n_words = argc - optind - 1;
    rig_seed(args.seed);
    for (unsigned i = 0; i < ARRAY_LEN(modes); i++)
        if (strcmp(modes[i].name, argv[optind]) == 0) {
            printf("# %s --seed %llu\n", argv[optind],
                   (unsigned long long)args.seed);
            return modes[i].run(&args) ? 1 : 0;
        }
    usage();
}
