/*
 * test_lost_sync.c - a sync fails, and then the power goes.
 *
 * What the kernel does with a page that it could not write: it counts as
 * written, and the next sync succeeds without it.  So between SQLite and the
 * disk stands a model of that here: "the disk" is a copy of each file that
 * gets what was written since the last sync when a sync succeeds, and loses
 * that when one fails.
 */
#undef _FORTIFY_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/store.h"

enum { FILES = 2, WRITES_MAX = 1000, QUOTA = 16 << 20 };

static const char *const names[FILES] = {"moonpool.db", "moonpool.db-wal"};

struct file {
    struct mp_buf disk;
    struct {
        off_t at;
        size_t len;
    } since[WRITES_MAX];
    unsigned n;
};

static struct kit {
    char dir[128];
    struct file files[FILES];
    bool fail; /* the next sync of the WAL */
} k;

/* ---- the disk ---- */

/* NULL: not one of ours. */
static struct file *file_of(int fd)
{
    char link[64], path[PATH_MAX];
    const char *name;
    ssize_t len;

    if (!k.dir[0])
        return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof path - 1);
    path[len > 0 ? len : 0] = '\0';
    name = strrchr(path, '/');
    for (unsigned i = 0; name && i < FILES; i++)
        if (strcmp(name + 1, names[i]) == 0)
            return &k.files[i];
    return NULL;
}

static void grow_disk(struct file *f, size_t len)
{
    static const char zeros[4096];

    while (f->disk.len < len)
        mp_buf_put(&f->disk, zeros,
                   len - f->disk.len < sizeof zeros ? len - f->disk.len
                                                    : sizeof zeros);
}

static int sync_file(int fd, long number)
{
    struct file *f = file_of(fd);
    bool fails = f && k.fail && f == &k.files[1];
    struct stat st;

    if (!f)
        return (int)syscall(number, fd);
    fstat(fd, &st);
    if (f->disk.len > (size_t)st.st_size)
        f->disk.len = (size_t)st.st_size;
    for (unsigned i = 0; i < f->n && !fails; i++) {
        size_t end = (size_t)f->since[i].at + f->since[i].len;

        if (end > (size_t)st.st_size)
            end = (size_t)st.st_size;
        grow_disk(f, end);
        if (end > (size_t)f->since[i].at)
            assert_true(pread(fd, f->disk.ptr + f->since[i].at,
                              end - (size_t)f->since[i].at,
                              f->since[i].at) > 0);
    }
    f->n = 0;
    if (!fails)
        return 0;
    k.fail = false;
    errno = EIO;
    return -1;
}

int fsync(int fd)
{
    return sync_file(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_file(fd, SYS_fdatasync);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    struct file *f = file_of(fd);

    if (f) {
        assert_true(f->n < WRITES_MAX);
        f->since[f->n].at = at;
        f->since[f->n++].len = len;
    }
    return syscall(SYS_pwrite64, fd, bytes, len, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return pwrite64(fd, bytes, len, at);
}

static void path_of(char path[200], const char *name)
{
    snprintf(path, 200, "%s/%s", k.dir, name);
}

/* The power goes: what is on the disk is all there is. */
static void cut(void)
{
    char path[200];
    FILE *file;

    for (unsigned i = 0; i < FILES; i++) {
        path_of(path, names[i]);
        file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(
            fwrite(k.files[i].disk.ptr, 1, k.files[i].disk.len, file),
            k.files[i].disk.len);
        fclose(file);
    }
    path_of(path, "moonpool.db-shm");
    unlink(path);
}

static int set_up(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    memset(&k, 0, sizeof k);
    for (unsigned i = 0; i < FILES; i++)
        mp_buf_init(&k.files[i].disk, QUOTA);
    snprintf(k.dir, sizeof k.dir, "%s/moonpool-sync-XXXXXX",
             tmp ? tmp : "/tmp");
    return mkdtemp(k.dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const all[] = {"moonpool.db", "moonpool.db-wal",
                                      "moonpool.db-shm"};
    char path[200];

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        path_of(path, all[i]);
        unlink(path);
    }
    for (unsigned i = 0; i < FILES; i++)
        mp_buf_fini(&k.files[i].disk);
    return rmdir(k.dir);
}

/* ---- the database ---- */

static struct mp_db *open_db(void)
{
    struct mp_db_opened opened;
    struct mp_why why = {""};
    struct mp_db *db;

    if (mp_db_open(&db, k.dir, QUOTA, &opened, &why))
        fail_msg("%s", why.text);
    assert_string_equal(opened.set_aside, "");
    return db;
}

/* A reader keeps the WAL as it is when a writer closes. */
static struct mp_db *open_reader(void)
{
    struct mp_why why = {""};
    struct mp_db *db;

    if (mp_db_open_reader(&db, k.dir, &why))
        fail_msg("%s", why.text);
    return db;
}

static int put(struct mp_db *db, const char *name)
{
    struct mp_batch b;
    struct mp_why why;
    int rc;

    mp_batch_init(&b);
    mp_batch_op(&b, MP_SQL_KEPT_PUT);
    mp_batch_text(&b, mp_slice_str(name));
    mp_batch_blob(&b, mp_slice_str(name));
    rc = mp_db_apply(db, &b, &why);
    mp_batch_fini(&b);
    return rc;
}

static bool has(struct mp_db *db, const char *name)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_KEPT_GET);
    struct mp_why why;
    int rc;

    mp_query_text(q, mp_slice_str(name));
    rc = mp_query_step(q, &why);
    mp_query_end(q);
    return rc == 1;
}

/* Before is safe, the sync of `failed` fails; the writer is closed. */
static void fail_one(void)
{
    struct mp_db *db = open_db();

    assert_int_equal(put(db, "before"), 0);
    k.fail = true;
    assert_int_equal(put(db, "failed"), MP_EIO);
    mp_db_close(db);
}

static void
test_what_is_committed_after_a_sync_failed_outlives_a_cut(void **state)
{
    struct mp_db *first = open_db(), *reader = open_reader(), *db;
    bool seen;

    (void)state;
    mp_db_close(first);
    fail_one();
    mp_db_close(reader);
    db = open_db();
    seen = has(db, "failed"); /* it may be, and is as good as the others then */
    assert_int_equal(put(db, "after"), 0);
    reader = open_reader();
    mp_db_close(db);
    mp_db_close(reader);

    cut();
    db = open_db();
    assert_true(has(db, "before"));
    assert_true(has(db, "after"));
    assert_int_equal(has(db, "failed"), seen);
    mp_db_close(db);
}

static void test_it_does_so_when_the_writing_again_fails_at_first(void **state)
{
    struct mp_db *first = open_db(), *reader = open_reader(), *db;
    struct mp_db_opened opened;
    struct mp_why why;

    (void)state;
    mp_db_close(first);
    fail_one();
    mp_db_close(reader);
    k.fail = true;
    assert_int_equal(mp_db_open(&db, k.dir, QUOTA, &opened, &why), MP_EIO);
    assert_non_null(strstr(why.text, "WAL"));
    db = open_db();
    assert_int_equal(put(db, "after"), 0);
    reader = open_reader();
    mp_db_close(db);
    mp_db_close(reader);

    cut();
    db = open_db();
    assert_true(has(db, "before"));
    assert_true(has(db, "after"));
    mp_db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_what_is_committed_after_a_sync_failed_outlives_a_cut, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(
            test_it_does_so_when_the_writing_again_fails_at_first, set_up,
            tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
