/*
 * function_files.c - walks a function's directory.
 *
 * The walk is bounded in depth, files and bytes before anything is read, and
 * a link is followed only when it ends inside: a package or a careless copy
 * must not make the host read /etc/shadow into a function.
 */
#include "core/function_files.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/text.h"

enum { DEPTH_MAX = 8 };

struct walk {
    struct mp_function_files *files;
    struct mp_report *report;
    const char *path;    /* as the user wrote it */
    char root[PATH_MAX]; /* without links */
    bool fine;
};

static void mistake(struct walk *w, const char *name, const char *what)
{
    char file[PATH_MAX];

    snprintf(file, sizeof file, "%s%s%s", w->path, *name ? "/" : "", name);
    mp_report_mistake(w->report, file, 0, "%s", what);
    w->fine = false;
}

/* Not the user's mistake: no descriptor is free, the disk has a bad moment. */
static void unread(struct walk *w, const char *name, const char *what)
{
    w->report->unread = true;
    mistake(w, name, what);
}

static void unread_errno(struct walk *w, const char *name)
{
    struct mp_why why;

    mp_why_errno(&why, "read it");
    unread(w, name, why.text);
}

/* Is errno one that says nothing about what is there? */
static bool may_be_later(void)
{
    return errno == EIO || errno == ENOMEM || errno == EMFILE ||
           errno == ENFILE;
}

/* It could not be looked at. */
static void not_there(struct walk *w, const char *name)
{
    if (may_be_later())
        unread_errno(w, name);
}

static bool belongs(const char *name)
{
    struct mp_slice s = mp_slice_str(name);

    return strcmp(name, "function.conf") == 0 || mp_ends(s, ".lua") ||
           (mp_starts(s, "tests/") && mp_ends(s, ".json"));
}

static bool is_inside(const struct walk *w, const char *full)
{
    char real[PATH_MAX];
    size_t len = strlen(w->root);

    errno = 0;
    return realpath(full, real) && strncmp(real, w->root, len) == 0 &&
           real[len] == '/';
}

static void add(struct walk *w, const char *full, const char *name)
{
    struct mp_function_files *files = w->files;
    struct mp_function_file *file = &files->list[files->n];
    struct mp_why why;
    int rc;

    if (files->n == MP_FILES_MAX) {
        if (w->fine)
            mistake(w, "", "more than 64 files");
        w->fine = false;
        return;
    }
    *file = (struct mp_function_file){.name = mp_strndup(name, strlen(name))};
    mp_buf_init(&file->bytes, MP_FILE_MAX);
    files->n++;
    rc = mp_file_read(AT_FDCWD, full, MP_FILE_MAX, &file->bytes, &why);
    if (rc == MP_ERANGE)
        mistake(w, name, "longer than 256K");
    else if (rc == MP_EPARSE)
        mistake(w, name, "not a regular file");
    else if (rc)
        unread(w, name, why.text);
    if (files->total <= MP_FUNCTION_BYTES_MAX &&
        files->total + file->bytes.len > MP_FUNCTION_BYTES_MAX)
        mistake(w, "", "its files are longer than 1M together");
    files->total += file->bytes.len;
}

static void walk_dir(struct walk *w, const char *dir, const char *prefix,
                     int depth);

static void visit(struct walk *w, const char *dir, const char *prefix,
                  const char *entry, int depth)
{
    char full[PATH_MAX], name[PATH_MAX];
    struct stat st;

    if (entry[0] == '.')
        return;
    if ((size_t)snprintf(full, sizeof full, "%s/%s", dir, entry) >=
            sizeof full ||
        (size_t)snprintf(name, sizeof name, "%s%s", prefix, entry) >=
            sizeof name) {
        mistake(w, "", "a path in it is too long");
        return;
    }
    if (lstat(full, &st)) { /* or gone since it was listed */
        not_there(w, name);
        return;
    }
    if (S_ISLNK(st.st_mode)) {
        if (stat(full, &st)) { /* or dangling: an editor's lock is that */
            not_there(w, name);
            return;
        }
        if ((belongs(name) || S_ISDIR(st.st_mode)) && !is_inside(w, full)) {
            if (may_be_later())
                unread_errno(w, name);
            else
                mistake(w, name, "a link that leaves the directory");
            return;
        }
    }
    if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
        strcat(name, "/"); /* fits: full was at least as long */
        walk_dir(w, full, name, depth + 1);
    } else if (!S_ISDIR(st.st_mode) && belongs(name)) {
        add(w, full, name);
    }
}

/* NULL with errno 0: that was all. */
static const struct dirent *next_entry(DIR *d)
{
    errno = 0;
    return readdir(d);
}

static void walk_dir(struct walk *w, const char *dir, const char *prefix,
                     int depth)
{
    DIR *d = opendir(dir);
    const struct dirent *entry;

    if (!d) {
        unread_errno(w, prefix);
        return;
    }
    while (w->files->n <= MP_FILES_MAX && (entry = next_entry(d)) != NULL)
        visit(w, dir, prefix, entry->d_name, depth);
    if (w->files->n <= MP_FILES_MAX && errno)
        unread_errno(w, prefix);
    closedir(d);
}

static int by_name(const void *a, const void *b)
{
    const struct mp_function_file *x = a, *y = b;

    return strcmp(x->name, y->name);
}

bool mp_function_files_read(struct mp_function_files *files, const char *path,
                            struct mp_report *report)
{
    struct walk w = {
        .files = files, .report = report, .path = path, .fine = true};

    files->n = 0;
    files->total = 0;
    if (!realpath(path, w.root)) {
        if (errno == ENOENT)
            mistake(&w, "", "there is no such file or directory");
        else
            unread_errno(&w, "");
        return false;
    }
    walk_dir(&w, path, "", 0);
    qsort(files->list, files->n, sizeof files->list[0], by_name);
    return w.fine;
}

bool mp_function_files_bare(struct mp_function_files *files, const char *path,
                            struct mp_report *report)
{
    struct walk w = {
        .files = files, .report = report, .path = path, .fine = true};
    struct mp_function_file *file = &files->list[0];
    struct mp_why why;

    files->n = 1;
    *file = (struct mp_function_file){.name = mp_strndup("main.lua", 8)};
    mp_buf_init(&file->bytes, MP_FILE_MAX);
    if (mp_file_read(AT_FDCWD, path, MP_FILE_MAX, &file->bytes, &why))
        mistake(&w, "", why.text);
    files->total = file->bytes.len;
    return w.fine;
}

void mp_function_files_fini(struct mp_function_files *files)
{
    for (unsigned i = 0; i < files->n; i++) {
        free(files->list[i].name);
        mp_buf_fini(&files->list[i].bytes);
    }
    files->n = 0;
}

const struct mp_function_file *
mp_function_files_find(const struct mp_function_files *files, const char *name)
{
    for (unsigned i = 0; i < files->n; i++) {
        if (strcmp(files->list[i].name, name) == 0)
            return &files->list[i];
    }
    return NULL;
}
