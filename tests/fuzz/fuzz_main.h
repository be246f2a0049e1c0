/*
 * fuzz_main.h - a small fuzzer for `make test`, where libFuzzer isn't.
 *
 * A fuzzer includes this at its end.  Built with MP_FUZZ_MAIN it gets a main
 * that takes seeds (files and directories on the command line, and what
 * fuzz_seeds says), changes them a little and tries the result, for
 * FUZZ_SECONDS (2).  The random numbers start from FUZZ_SEED, which is
 * printed; the input that fails is printed too.  `make fuzz` uses libFuzzer,
 * which sees what is covered and goes further.
 */
#ifndef MP_TESTS_FUZZ_MAIN_H
#define MP_TESTS_FUZZ_MAIN_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef MP_FUZZ_MAIN

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/slice.h"

enum { FUZZ_SEEDS_MAX = 1024, FUZZ_INPUT_MAX = 4096 };

static struct mp_slice fuzz_seed[FUZZ_SEEDS_MAX];
static size_t fuzz_n_seeds;
static struct {
    uint64_t random, runs;
    uint8_t bytes[FUZZ_INPUT_MAX];
    size_t len;
} fuzz;

/* One of the words that the format is made of, which chance alone never hits;
 * any says which. */
static const char *fuzz_word(uint64_t any);
/* Add seeds of the fuzzer's own. */
static void fuzz_seeds(void);

static uint64_t fuzz_chance(uint64_t below)
{
    fuzz.random ^= fuzz.random << 13;
    fuzz.random ^= fuzz.random >> 7;
    fuzz.random ^= fuzz.random << 17;
    return fuzz.random % below;
}

static void fuzz_add(struct mp_slice bytes)
{
    if (fuzz_n_seeds < FUZZ_SEEDS_MAX)
        fuzz_seed[fuzz_n_seeds++] = bytes;
}

static void fuzz_add_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *bytes;

    if (!f)
        return;
    bytes = mp_alloc(FUZZ_INPUT_MAX);
    fuzz_add(mp_slice(bytes, fread(bytes, 1, FUZZ_INPUT_MAX, f)));
    fclose(f);
}

static void fuzz_add_path(const char *path)
{
    struct stat st;
    struct dirent *entry;
    char name[4096];
    DIR *dir;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        fuzz_add_file(path);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (stat(name, &st) == 0 && S_ISREG(st.st_mode))
            fuzz_add_file(name);
    }
    if (dir)
        closedir(dir);
}

/* Put bytes in place of del bytes at `at`, as far as there is room. */
static void fuzz_splice(size_t at, size_t del, const void *bytes, size_t len)
{
    if (len > FUZZ_INPUT_MAX - (fuzz.len - del))
        len = FUZZ_INPUT_MAX - (fuzz.len - del);
    memmove(fuzz.bytes + at + len, fuzz.bytes + at + del, fuzz.len - at - del);
    if (len)
        memcpy(fuzz.bytes + at, bytes, len);
    fuzz.len = fuzz.len - del + len;
}

static void fuzz_change(void)
{
    struct mp_slice other = fuzz_seed[fuzz_chance(fuzz_n_seeds)];
    size_t at = fuzz_chance(fuzz.len + 1);
    size_t span = fuzz_chance((fuzz.len - at < 32 ? fuzz.len - at : 32) + 1);
    uint8_t byte = (uint8_t)fuzz_chance(256), part[32];
    size_t from = fuzz_chance(other.len + 1);
    const char *word = fuzz_word(fuzz_chance(UINT32_MAX));

    switch (fuzz_chance(7)) {
    case 0: /* another byte */
        if (at < fuzz.len)
            fuzz.bytes[at] = byte;
        break;
    case 1: /* one bit */
        if (at < fuzz.len)
            fuzz.bytes[at] ^= (uint8_t)(1 << fuzz_chance(8));
        break;
    case 2: /* some less */
        fuzz_splice(at, span, NULL, 0);
        break;
    case 3: /* some twice */
        memcpy(part, fuzz.bytes + at, span);
        fuzz_splice(at, 0, part, span);
        break;
    case 4: /* the end of another one */
        fuzz_splice(at, fuzz.len - at, other.ptr + from, other.len - from);
        break;
    default: /* a word */
        fuzz_splice(at, span < 4 ? span : 0, word, strlen(word));
    }
}

static void fuzz_failed(int sig)
{
    fprintf(stderr, "\nrun %llu fails on %zu bytes: \"",
            (unsigned long long)fuzz.runs, fuzz.len);
    for (size_t i = 0; i < fuzz.len; i++)
        fprintf(stderr,
                fuzz.bytes[i] < 0x20 || fuzz.bytes[i] > 0x7e ||
                        fuzz.bytes[i] == '"' || fuzz.bytes[i] == '\\'
                    ? "\\%03o"
                    : "%c",
                fuzz.bytes[i]);
    fprintf(stderr, "\"\n");
    signal(sig, SIG_DFL);
    raise(sig);
}

static void fuzz_died(void)
{
    fuzz_failed(SIGABRT);
}

/* The sanitizers', when they are linked. */
void __sanitizer_set_death_callback(void (*call)(void)) __attribute__((weak));

int main(int argc, char **argv)
{
    const char *seconds = getenv("FUZZ_SECONDS"), *seed = getenv("FUZZ_SEED");
    int64_t end = mp_now_us();

    end += (seconds ? atoi(seconds) : 2) * MP_SECOND;
    fuzz.random = seed ? strtoull(seed, NULL, 10) : 20260301;
    printf("FUZZ_SEED=%llu\n", (unsigned long long)fuzz.random);
    fuzz.random |= 1;
    signal(SIGABRT, fuzz_failed);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(fuzz_died);
    fuzz_add(MP_S(""));
    fuzz_seeds();
    for (int i = 1; i < argc; i++)
        fuzz_add_path(argv[i]);
    for (; fuzz.runs < fuzz_n_seeds || mp_now_us() < end; fuzz.runs++) {
        bool fresh = fuzz.runs >= fuzz_n_seeds; /* first each one as it is */
        size_t from = fresh ? fuzz_chance(fuzz_n_seeds) : fuzz.runs;

        fuzz.len = 0;
        fuzz_splice(0, 0, fuzz_seed[from].ptr, fuzz_seed[from].len);
        for (uint64_t n = fresh ? 1 + fuzz_chance(4) : 0; n > 0; n--)
            fuzz_change();
        LLVMFuzzerTestOneInput(fuzz.bytes, fuzz.len);
    }
    printf("%llu inputs from %zu seeds\n", (unsigned long long)fuzz.runs,
           fuzz_n_seeds);
    return 0;
}

#endif
#endif
