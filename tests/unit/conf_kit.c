/*
 * conf_kit.c - see conf_kit.h.
 */
#include "tests/unit/conf_kit.h"

#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/text.h"

struct mp_slice t_exact(struct mp_slice s)
{
    char *copy = mp_alloc(s.len);

    if (s.len)
        memcpy(copy, s.ptr, s.len);
    return mp_slice(copy, s.len);
}

void t_exact_free(struct mp_slice s)
{
    union {
        const char *borrowed;
        char *owned;
    } p = {s.ptr};

    free(p.owned);
}

static void say(struct mp_report *r, bool warning, const char *text)
{
    struct t_told *t = (struct t_told *)r; /* its first member */

    (void)text;
    mp_buf_printf(&t->text, "%s%u: %s\n", warning ? "warning " : "", r->line,
                  r->what);
}

void t_told_init(struct t_told *t)
{
    *t = (struct t_told){.report = {.say = say}};
    mp_buf_init(&t->text, 1 << 20);
}

const char *t_told_text(struct t_told *t)
{
    mp_buf_put(&t->text, "", 1);
    t->text.len = 0;
    return t->text.ptr;
}

void t_told_fini(struct t_told *t)
{
    mp_buf_fini(&t->text);
}

void t_dir_make(char path[64])
{
    strcpy(path, "/tmp/moonpool-test-XXXXXX");
    MP_ASSERT(mkdtemp(path));
}

void t_dir_remove(const char *path)
{
    DIR *d = opendir(path);
    const struct dirent *entry;

    MP_ASSERT(d && strncmp(path, "/tmp/moonpool-test-", 19) == 0);
    while ((entry = readdir(d)) != NULL) {
        char inside[PATH_MAX];

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
        if (unlink(inside))
            t_dir_remove(inside);
    }
    closedir(d);
    rmdir(path);
}

void t_file_put(const char *dir, const char *name, struct mp_slice bytes)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    for (char *slash = path + strlen(dir); (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    MP_ASSERT(fd >= 0 && mp_write_all(fd, bytes) == 0);
    close(fd);
}

static void one_file(const char *path,
                     void (*read)(struct mp_slice, struct mp_report *))
{
    struct mp_buf bytes, expected;
    struct mp_slice rest, line;
    struct t_told told;
    struct mp_why why;

    mp_buf_init(&bytes, 1 << 20);
    mp_buf_init(&expected, 1 << 20);
    MP_ASSERT(mp_file_read(AT_FDCWD, path, 1 << 20, &bytes, &why) == 0);
    rest = mp_buf_bytes(&bytes);
    while (mp_split(&rest, '\n', &line)) {
        if (mp_starts(line, ";= "))
            mp_buf_printf(&expected, "%.*s\n", (int)line.len - 3, line.ptr + 3);
    }
    mp_buf_put(&expected, "", 1);
    t_told_init(&told);
    print_message("%s\n", path);
    read(mp_buf_bytes(&bytes), &told.report);
    assert_string_equal(t_told_text(&told), expected.ptr);
    t_told_fini(&told);
    mp_buf_fini(&expected);
    mp_buf_fini(&bytes);
}

void t_corpus(const char *kind,
              void (*read)(struct mp_slice conf, struct mp_report *report))
{
    static const char dir[] = "tests/corpus/conf";
    char path[PATH_MAX];
    struct dirent **entries;
    int n = scandir(dir, &entries, NULL, alphasort), seen = 0;

    assert_true(n > 2); /* tests run where the Makefile is */
    for (int i = 0; i < n; i++) {
        if (mp_starts(mp_slice_str(entries[i]->d_name), kind)) {
            snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
            one_file(path, read);
            seen++;
        }
        free(entries[i]);
    }
    free(entries);
    assert_true(seen > 0);
}
