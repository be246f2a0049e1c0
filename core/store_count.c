/*
 * store_count.c - bytes are counted where they are written, by thread:
 * SQLite's own file methods, with two of ours in between.
 *
 * They also see why the disk refused a write or a sync, which SQLite has
 * forgotten by the time that somebody asks.
 */
#include <errno.h>

#include "core/store_db.h"

static _Thread_local uint64_t bytes_written;
static _Thread_local int disk_errno; /* of the last write or sync refused */

/* SQLite's files, but for two calls.  Those with locks (the database) and
 * those without (its WAL) have methods of their own. */
struct counting {
    sqlite3_io_methods methods; /* first: a file points to it */
    const sqlite3_io_methods *plain;
};

static sqlite3_vfs *plain_vfs;
static sqlite3_vfs counting_vfs;
static struct counting kinds[4];
static pthread_mutex_t kinds_lock = PTHREAD_MUTEX_INITIALIZER;

static const sqlite3_io_methods *plain_of(const sqlite3_file *file)
{
    return ((const struct counting *)file->pMethods)->plain;
}

static int counting_write(sqlite3_file *file, const void *bytes, int len,
                          sqlite3_int64 at)
{
    int rc = plain_of(file)->xWrite(file, bytes, len, at);

    if (rc == SQLITE_OK)
        bytes_written += (uint64_t)len;
    else
        disk_errno = errno;
    return rc;
}

static int counting_sync(sqlite3_file *file, int flags)
{
    int rc = plain_of(file)->xSync(file, flags);

    if (rc != SQLITE_OK)
        disk_errno = errno;
    return rc;
}

/* Give a file just opened its methods of ours. */
static void count(sqlite3_file *file)
{
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        struct counting *k = &kinds[i];

        if (!k->plain) {
            k->plain = file->pMethods;
            k->methods = *k->plain;
            k->methods.xWrite = counting_write;
            k->methods.xSync = counting_sync;
        }
        if (k->plain == file->pMethods) {
            file->pMethods = &k->methods;
            return;
        }
    }
}

static int counting_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file,
                         int flags, int *out)
{
    int rc = plain_vfs->xOpen(plain_vfs, name, file, flags, out);

    (void)vfs;
    pthread_mutex_lock(&kinds_lock);
    if (file->pMethods)
        count(file);
    pthread_mutex_unlock(&kinds_lock);
    return rc;
}

void mp_store_count(void)
{
    /* Accounting of memory is a lock around each malloc. */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    if (sqlite3_initialize() != SQLITE_OK)
        mp_oom(0); /* nothing else can fail in it */
    plain_vfs = sqlite3_vfs_find(NULL);
    counting_vfs = *plain_vfs;
    counting_vfs.zName = "moonpool";
    counting_vfs.pNext = NULL;
    counting_vfs.xOpen = counting_open;
    MP_ASSERT(sqlite3_vfs_register(&counting_vfs, 0) == SQLITE_OK);
}

uint64_t mp_store_counted(void)
{
    return bytes_written;
}

int mp_store_refused(void)
{
    int refused = disk_errno;

    disk_errno = 0;
    return refused;
}
