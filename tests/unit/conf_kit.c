/*
 * conf_kit.c - see conf_kit.h.
 */
#include "tests/unit/conf_kit.h"

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"

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

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void t_dir_remove(const char *path)
{
    MP_ASSERT(strncmp(path, "/tmp/moonpool-test-", 19) == 0);
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
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
