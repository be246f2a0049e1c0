/*
 * test.c - `moonpool test`: finds functions and the files of their tests,
 * runs them and says in a line each what came of it.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/flags.h"
#include "cli/scenario.h"
#include "cli/show.h"
#include "cli/verbs.h"
#include "core/base/file.h"
#include "core/base/text.h"

enum {
    DEPTH_MAX = 4, /* directories below the one given */
    PATHS_MAX = 64,
    LINE_MAX_BYTES = 64 << 10,
};

struct tests {
    const char *only;
    bool json;
    bool heads; /* several functions: name each before its tests */
    unsigned functions, passed, failed;
};

/* ---- one test ---- */

/* What a file has to say, before it is run. */
struct test {
    char file[NAME_MAX + 8]; /* "tests/silent.json" */
    struct mp_tree_doc doc;
    struct mp_why bad; /* text "": the file could be read */
    struct mp_slice about;
};

static void read_test(struct test *t, const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct mp_buf text;

    *t = (struct test){.doc = {0}};
    snprintf(t->file, sizeof t->file, "tests/%s", name);
    snprintf(path, sizeof path, "%s/%s", dir, t->file);
    mp_buf_init(&text, MP_FILE_MAX);
    if (mp_file_read(AT_FDCWD, path, MP_FILE_MAX, &text, &t->bad) == 0 &&
        mp_tree_parse(&t->doc, mp_buf_bytes(&text), &t->bad) == 0) {
        t->bad.text[0] = '\0';
        t->about = mp_scenario_about(t->doc.root);
    }
    if (!t->about.len)
        t->about = mp_slice_str(t->file);
    mp_buf_fini(&text);
}

static void put_json(const struct mp_function *fn, const struct test *t,
                     const struct mp_scenario *r, struct mp_buf *b)
{
    mp_buf_printf(b, "{\"function\":\"%s\",\"test\":", fn->name);
    mp_json_put_string(b, t->about);
    mp_buf_printf(b, ",\"file\":");
    mp_json_put_string(b, mp_slice_str(t->file));
    mp_buf_printf(b,
                  ",\"ok\":%s,\"steps\":%u,\"duration_us\":%lld,\"failure\":",
                  r->ok ? "true" : "false", r->steps, (long long)r->took_us);
    if (r->ok)
        mp_json_put_null(b);
    else
        mp_json_put_string(b, mp_buf_bytes(&r->wrong));
    mp_buf_printf(b, "}\n");
}

/* Columns as wide as people see them: a UTF-8 sequence is one. */
static int columns(struct mp_slice text)
{
    int n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += (text.ptr[i] & 0xc0) != 0x80;
    return n;
}

static void put_text(const struct test *t, const struct mp_scenario *r,
                     int width, struct mp_buf *b)
{
    mp_buf_printf(b, "%s  ", r->ok ? "ok  " : "FAIL");
    mp_show_clean(t->about, b);
    mp_buf_printf(b, "%*s   ", width - columns(t->about), "");
    if (r->ok) {
        mp_buf_printf(b, "%u step%s  ", r->steps, r->steps == 1 ? "" : "s");
        mp_show_duration((uint64_t)r->took_us * 1000, b);
    } else {
        mp_show_clean(mp_buf_bytes(&r->wrong), b);
        mp_buf_printf(b, " (%s)", t->file);
    }
    mp_buf_put(b, "\n", 1);
}

/* Run and print one.  Negative: no worker can be started. */
static int run_test(struct tests *all, const struct mp_function *fn,
                    const struct test *t, int width, struct mp_why *why)
{
    struct mp_scenario r;
    struct mp_buf line;
    int rc = 0;

    if (t->bad.text[0]) {
        r = (struct mp_scenario){.ok = false};
        mp_buf_init(&r.wrong, sizeof t->bad.text);
        mp_buf_slice(&r.wrong, mp_slice_str(t->bad.text));
    } else {
        rc = mp_scenario_run(&r, fn, t->doc.root, why);
    }
    if (rc == 0) {
        mp_buf_init(&line, LINE_MAX_BYTES);
        if (all->json)
            put_json(fn, t, &r, &line);
        else
            put_text(t, &r, width, &line);
        fwrite(line.ptr, 1, line.len, stdout);
        fflush(stdout);
        mp_buf_fini(&line);
        all->passed += r.ok;
        all->failed += !r.ok;
    }
    mp_scenario_fini(&r);
    return rc;
}

/* ---- one function ---- */

static void say_mistake(struct mp_report *r, bool warning, const char *text)
{
    (void)r;
    fprintf(stderr, "%s%s\n", warning ? "warning: " : "", text);
}

static int is_test(const struct dirent *d)
{
    return d->d_name[0] != '.' && mp_ends(mp_slice_str(d->d_name), ".json");
}

/* Read those that are asked for; their number. */
static int read_tests(const struct tests *all, const char *dir,
                      struct test *tests, struct dirent **names, int n)
{
    int kept = 0;

    for (int i = 0; i < n; i++) {
        struct test *t = &tests[kept];

        read_test(t, dir, names[i]->d_name);
        if (!all->only || strstr(t->file, all->only) ||
            memmem(t->about.ptr, t->about.len, all->only, strlen(all->only)))
            kept++;
        else
            mp_tree_fini(&t->doc);
    }
    return kept;
}

/* Negative: no worker can be started. */
static int test_files(struct tests *all, const struct mp_function *fn,
                      struct dirent **names, int n, struct mp_why *why)
{
    struct test *tests = mp_zalloc((size_t)n * sizeof *tests);
    int kept = read_tests(all, fn->path, tests, names, n);
    int width = 0, rc = 0;

    for (int i = 0; i < kept; i++) {
        int wide = columns(tests[i].about);

        width = wide > width ? wide : width;
    }
    if (all->heads && kept && !all->json)
        printf("%s\n", fn->path);
    for (int i = 0; i < kept && rc == 0; i++)
        rc = run_test(all, fn, &tests[i], width, why);
    for (int i = 0; i < kept; i++)
        mp_tree_fini(&tests[i].doc);
    free(tests);
    return rc;
}

static void test_function(struct tests *all, const char *path)
{
    struct mp_report report = {.say = say_mistake};
    struct mp_function *fn = mp_function_read(path, "test", &report);
    struct dirent **names = NULL;
    char dir[PATH_MAX];
    struct mp_why why;
    int n;

    all->functions++;
    if (!fn) {
        all->failed++;
        return;
    }
    snprintf(dir, sizeof dir, "%s/tests", path);
    n = scandir(dir, &names, is_test, alphasort);
    if (n <= 0 && !all->only)
        fprintf(stderr, "%s has no tests; they go into %s/*.json\n", fn->name,
                dir);
    if (n > 0 && test_files(all, fn, names, n, &why)) {
        fprintf(stderr, "moonpool test: %s\n", why.text);
        all->failed++;
    }
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    mp_function_unref(fn);
}

/* ---- finding functions ---- */

static bool is_function(const char *path)
{
    char conf[PATH_MAX];

    snprintf(conf, sizeof conf, "%s/function.conf", path);
    return access(conf, F_OK) == 0;
}

static int is_plain(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

/* Test path if it is a function, else what is below it, in order of names. */
static void walk(struct tests *all, const char *path, int depth)
{
    struct dirent **names = NULL;
    char below[PATH_MAX];
    struct stat st;
    int n;

    if (is_function(path)) {
        test_function(all, path);
        return;
    }
    n = depth < DEPTH_MAX ? scandir(path, &names, is_plain, alphasort) : 0;
    for (int i = 0; i < n; i++) {
        int len =
            snprintf(below, sizeof below, "%s/%s", path, names[i]->d_name);

        if (len < (int)sizeof below && lstat(below, &st) == 0 &&
            S_ISDIR(st.st_mode)) {
            all->heads = true;
            walk(all, below, depth + 1);
        }
        free(names[i]);
    }
    free(names);
}

static bool test_path(struct tests *all, const char *path)
{
    unsigned before = all->functions;
    struct stat st;

    if (stat(path, &st)) {
        fprintf(stderr, "moonpool test: %s: %s\n", path, strerror(errno));
        return false;
    }
    if (!S_ISDIR(st.st_mode)) {
        fprintf(stderr,
                "moonpool test: %s: only a function's directory has "
                "tests\n",
                path);
        return false;
    }
    walk(all, path, 0);
    if (all->functions == before) {
        fprintf(stderr, "moonpool test: %s: no function.conf here or below\n",
                path);
        return false;
    }
    return true;
}

int mp_verb_test(int argc, char **argv)
{
    struct tests all = {0};
    const char *paths[PATHS_MAX] = {"."};
    const struct mp_flag flags[] = {
        {.name = "only",
         .arg = "TEXT",
         .help = "those whose about or file name has TEXT in it",
         .text = &all.only},
        {.name = "json",
         .help = "one JSON object a test, in a line",
         .on = &all.json},
    };
    const struct mp_usage usage = {
        .verb = "moonpool test",
        .operands = "[PATH...]",
        .about = "Runs tests/*.json of functions on a real worker with a fake "
                 "clock.\nPATH is a function or a directory of some; default: "
                 "here.",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .max = PATHS_MAX,
    };
    int status, n = mp_flags_parse(&usage, argc, argv, paths, &status);
    bool found = true;

    if (n < 0)
        return status;
    all.heads = n > 1;
    for (int i = 0; i < (n ? n : 1); i++)
        found = test_path(&all, paths[i]) && found;
    if (found && all.only && !all.passed && !all.failed) {
        fprintf(stderr, "moonpool test: no test has '%s' in it\n", all.only);
        found = false;
    }
    if (all.heads)
        fprintf(stderr, "%u passed, %u failed\n", all.passed, all.failed);
    return found && !all.failed ? MP_EXIT_DONE : MP_EXIT_NO;
}
