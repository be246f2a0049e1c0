/*
 * watch.c - inotify through libuv, a short silence, then the tests.
 *
 * Editors save in several steps, so a change only starts a timer; each
 * further one starts it again.  Then the changed directories are tested one
 * after the other.
 */
#include "cli/watch.h"

#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/list.h"
#include "core/base/why.h"
#include "core/log.h"

enum { SILENCE_MS = 150 };

struct dir {
    struct mp_link link;
    char *path;
    uv_fs_event_t *event, *tests; /* tests: NULL while there are none */
    bool changed, failing;
};

static struct {
    bool open;
    uv_loop_t *loop;
    char *functions;
    void (*rescan)(void);
    uv_fs_event_t root;
    uv_timer_t silence;
    struct mp_link dirs;
    struct dir *testing;
} watch;

static void free_handle(uv_handle_t *handle)
{
    free(handle);
}

static void on_change(uv_fs_event_t *event, const char *name, int events,
                      int status);

static struct dir *dir_of(const char *path)
{
    mp_list_each (at, &watch.dirs) {
        struct dir *d = mp_of(at, struct dir, link);

        if (strcmp(d->path, path) == 0)
            return d;
    }
    return NULL;
}

static void dir_drop(struct dir *d)
{
    mp_list_unlink(&d->link);
    uv_close((uv_handle_t *)d->event, free_handle);
    if (d->tests)
        uv_close((uv_handle_t *)d->tests, free_handle);
    free(d->path);
    free(d);
}

static uv_fs_event_t *event_new(const char *path)
{
    uv_fs_event_t *event = mp_zalloc(sizeof *event);
    int rc;

    uv_fs_event_init(watch.loop, event);
    rc = uv_fs_event_start(event, on_change, path, 0);
    if (rc)
        mp_log(MP_WARN, "watch", NULL, "can't watch %s: %s", path,
               uv_strerror(rc));
    return event;
}

/* What was mended may be a test.  They may go, and come again. */
static void watch_tests(struct dir *d)
{
    char path[PATH_MAX];
    struct stat st;
    bool there;

    snprintf(path, sizeof path, "%s/tests", d->path);
    there = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    if (d->tests && !there) {
        uv_close((uv_handle_t *)d->tests, free_handle);
        d->tests = NULL;
    } else if (!d->tests && there) {
        d->tests = event_new(path);
    }
}

static void dir_add(const char *path)
{
    struct dir *d = mp_zalloc(sizeof *d);

    d->path = mp_strndup(path, strlen(path));
    d->event = event_new(path);
    d->changed = true;
    mp_list_append(&watch.dirs, &d->link);
    watch_tests(d);
}

/* Has it what makes a directory a function?  Others are none of ours: logs,
 * a data directory, what an editor leaves. */
static bool is_function(const char *path)
{
    char file[PATH_MAX + 16];

    snprintf(file, sizeof file, "%s/function.conf", path);
    if (access(file, F_OK) == 0)
        return true;
    snprintf(file, sizeof file, "%s/main.lua", path);
    return access(file, F_OK) == 0;
}

/* Follow directories as they come and go; true: there was such a change. */
static bool look_around(bool changed)
{
    bool any = false;
    DIR *root = opendir(watch.functions);
    struct dirent *entry;
    struct stat st;
    char path[PATH_MAX];

    mp_list_each_safe (at, &watch.dirs) {
        struct dir *d = mp_of(at, struct dir, link);

        if (d != watch.testing && stat(d->path, &st)) {
            dir_drop(d);
            any = true;
        }
    }
    while (root && (entry = readdir(root))) {
        snprintf(path, sizeof path, "%s/%s", watch.functions, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &st) ||
            !S_ISDIR(st.st_mode) || dir_of(path))
            continue;
        dir_add(path);
        /* What was there at the start is live already. */
        dir_of(path)->changed = changed && is_function(path);
        any |= is_function(path);
    }
    if (root)
        closedir(root);
    return any;
}

static void test_next(void);

static void on_tested(uv_process_t *process, int64_t status, int signal_number)
{
    struct dir *d = watch.testing;

    uv_close((uv_handle_t *)process, free_handle);
    watch.testing = NULL;
    d->failing = status || signal_number;
    if (d->failing)
        mp_log(MP_ERROR, "watch", NULL,
               "%s: its tests fail; what was live stays", d->path);
    test_next();
}

static const char *moonpool(void)
{
    static char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 16);

    if (len <= 0)
        return "moonpool";
    path[len] = '\0';
    strcpy(strrchr(path, '/') + 1, "moonpool");
    return path;
}

static bool test_start(struct dir *d)
{
    char program[PATH_MAX], verb[] = "test";
    char *argv[] = {program, verb, d->path, NULL};
    uv_stdio_container_t io[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
    };
    uv_process_options_t options = {
        .exit_cb = on_tested,
        .file = program,
        .args = argv,
        .stdio = io,
        .stdio_count = 3,
    };
    uv_process_t *test = mp_zalloc(sizeof *test);
    int rc;

    snprintf(program, sizeof program, "%s", moonpool());
    rc = uv_spawn(watch.loop, test, &options);
    if (rc == 0)
        return true;
    mp_log(MP_WARN, "watch", NULL, "can't run the tests of %s: %s", d->path,
           uv_strerror(rc));
    uv_close((uv_handle_t *)test, free_handle);
    return false;
}

static void test_next(void)
{
    mp_list_each (at, &watch.dirs) {
        struct dir *d = mp_of(at, struct dir, link);

        if (!d->changed)
            continue;
        d->changed = false;
        d->failing = false;
        watch.testing = d;
        if (test_start(d))
            return;
        watch.testing = NULL;
    }
    if (watch.open)
        watch.rescan();
}

static void on_silence(uv_timer_t *timer)
{
    if (watch.testing) { /* again, when that is over */
        uv_timer_start(timer, on_silence, SILENCE_MS, 0);
        return;
    }
    (void)look_around(true);
    test_next();
}

static void on_change(uv_fs_event_t *event, const char *name, int events,
                      int status)
{
    bool any = false;

    (void)events;
    (void)status;

    if (name && (name[0] == '.' || name[strlen(name) - 1] == '~'))
        return; /* an editor's own files */
    if (event == &watch.root)
        any = look_around(true);
    mp_list_each (at, &watch.dirs) {
        struct dir *d = mp_of(at, struct dir, link);

        if (d->event != event && d->tests != event)
            continue;
        if (d->event == event)
            watch_tests(d);
        if (is_function(d->path) || d->failing)
            d->changed = any = true;
    }
    if (any)
        uv_timer_start(&watch.silence, on_silence, SILENCE_MS, 0);
}

void mp_watch_open(uv_loop_t *loop, const char *functions, void (*rescan)(void))
{
    int rc;

    watch.open = true;
    watch.loop = loop;
    watch.rescan = rescan;
    watch.functions = mp_strndup(functions, strlen(functions));
    mp_list_init(&watch.dirs);
    uv_timer_init(loop, &watch.silence);
    uv_fs_event_init(loop, &watch.root);
    rc = uv_fs_event_start(&watch.root, on_change, functions, 0);
    if (rc)
        mp_log(MP_WARN, "watch", NULL, "can't watch %s: %s", functions,
               uv_strerror(rc));
    (void)look_around(false);
}

void mp_watch_close(void)
{
    if (!watch.open)
        return;
    watch.open = false;
    while (!mp_list_empty(&watch.dirs))
        dir_drop(mp_of(watch.dirs.next, struct dir, link));
    uv_close((uv_handle_t *)&watch.silence, NULL);
    uv_close((uv_handle_t *)&watch.root, NULL);
    free(watch.functions);
}

bool mp_watch_holds(const char *path)
{
    const struct dir *d = watch.open ? dir_of(path) : NULL;

    return d && d->failing;
}

bool mp_watch_again(void)
{
    bool any = false;

    if (!watch.open)
        return false;
    mp_list_each (at, &watch.dirs) {
        struct dir *d = mp_of(at, struct dir, link);

        d->changed |= d->failing;
        any |= d->failing;
    }
    if (any)
        uv_timer_start(&watch.silence, on_silence, 0, 0);
    return any;
}
