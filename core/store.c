/*
 * store.c - the door to SQLite.
 *
 * Opening is where care is needed; the order keeps what must not change as it
 * was.  First nothing is written: is it a database, ours, not newer than we
 * are, whole?  Only then it is put into WAL mode, migrated and used.  What
 * fails these questions is left byte for byte as it is, or, if SQLite says it
 * is damaged, renamed together with its WAL.
 *
 *   counted      bytes written are counted where they are written, by thread:
 *                SQLite's own file methods, with two of ours in between;
 *   unspilled    pages leave the cache at COMMIT and never before, so a
 *                statement that finds no room has met the quota, and a COMMIT
 *                that finds none the end of the disk;
 *   suspected    whoever reads or writes and finds damage notes it, so that
 *                the writer fails and opening looks at every page.
 */
#include "core/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/crash.h"
#include "core/base/hash.h"
#include "core/store_impl.h"

enum {
    PAGE = 4096,
    FRAME = PAGE + 24, /* a page in the WAL */
    PAGES_MAX = 0x3fffffff,
    DAMAGED = 1, /* beside the MP_E*: SQLite says so */
    /* Looking at every page takes a few ms so far. */
    CHECK_ALWAYS = 1 << 20,
    /* And a second or two so far, on an SD card; worth it when the last
     * close was not clean.  Beyond, damage is found when it is met. */
    CHECK_UNCLEAN = 32 << 20,
    BUSY_MS = 2000, /* somebody looks at it with other tools */
};

struct mp_query {
    struct mp_db *db;
    sqlite3_stmt *stmt;
    int params, bound;
    int rc; /* SQLite's, of preparing and binding */
    bool begun;
};

/* Statements of our own. */
enum own { BEGIN, SNAPSHOT, COMMIT, ROLLBACK, PAGES, UNUSED, OWNS };
static const char *const own_texts[OWNS] = {
    "BEGIN IMMEDIATE",      "BEGIN", "COMMIT", "ROLLBACK", "PRAGMA page_count",
    "PRAGMA freelist_count"};

struct mp_db {
    sqlite3 *sqlite;
    char *path;
    uint64_t path_hash;
    pthread_t owner;
    uint64_t max_size;
    uint64_t used, written; /* written: by the thread before it was opened */
    int frames, tried;      /* in the WAL: now, at the last checkpoint */
    unsigned begun;         /* queries */
    bool snapshot, reads_only;
    sqlite3_stmt *own[OWNS];
    struct mp_query queries[MP_SQLS];
};

/* No call of SQLite on a thread that must not wait. */
static void check_thread(const struct mp_db *db)
{
    MP_ASSERT(pthread_equal(db->owner, pthread_self()));
}

/* ---- counting ---- */

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

static void set_up(void)
{
    /* Accounting of memory is a lock around each malloc. */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    MP_ASSERT(sqlite3_initialize() == SQLITE_OK);
    plain_vfs = sqlite3_vfs_find(NULL);
    counting_vfs = *plain_vfs;
    counting_vfs.zName = "moonpool";
    counting_vfs.pNext = NULL;
    counting_vfs.xOpen = counting_open;
    MP_ASSERT(sqlite3_vfs_register(&counting_vfs, 0) == SQLITE_OK);
}

/* ---- what went wrong, in words ---- */

/* Hash of the path of a damaged database; 0: none is known. */
static _Atomic uint64_t suspected;

static void size_text(uint64_t bytes, char text[24])
{
    static const char units[] = {'G', 'M', 'K'};

    for (unsigned i = 0; i < 3; i++) {
        uint64_t unit = UINT64_C(1) << (30 - 10 * i);

        if (bytes && bytes % unit == 0) {
            snprintf(text, 24, "%llu%c", (unsigned long long)(bytes / unit),
                     units[i]);
            return;
        }
    }
    snprintf(text, 24, "%llu", (unsigned long long)bytes);
}

static int say_quota(const struct mp_db *db, struct mp_why *why)
{
    char size[24];

    size_text(db->max_size, size);
    return mp_why_set(why, MP_EFULL,
                      "the database has reached [store] max_size = %s", size);
}

static int say_io(struct mp_db *db, int extended, struct mp_why *why)
{
    const char *verb;

    errno = sqlite3_system_errno(db->sqlite);
    if (!errno) /* COMMIT does not ask */
        errno = disk_errno;
    disk_errno = 0;
    if (errno == ENOSPC)
        return mp_why_set(why, MP_EIO, "the disk is full");
    switch (extended) {
    case SQLITE_IOERR_READ:
    case SQLITE_IOERR_SHORT_READ:
        verb = "read";
        break;
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
        verb = "sync";
        break;
    case SQLITE_IOERR_WRITE:
    case SQLITE_IOERR_TRUNCATE:
        verb = "write";
        break;
    default:
        verb = "use";
    }
    if (errno)
        return mp_why_errno(why, "can't %s the database", verb);
    return mp_why_set(why, MP_EIO, "can't %s the database: disk error %d", verb,
                      extended);
}

/* What SQLite's rc means; returns the code for it. */
static int say(struct mp_db *db, int rc, struct mp_why *why)
{
    const char *text = sqlite3_errmsg(db->sqlite);

    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        mp_oom(0);
    case SQLITE_FULL:
        return mp_why_set(why, MP_EIO, "the disk is full");
    case SQLITE_READONLY:
        return mp_why_set(why, MP_EIO, "%s is read-only", db->path);
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        errno = sqlite3_system_errno(db->sqlite);
        if (errno)
            return mp_why_errno(why, "can't open %s", db->path);
        return mp_why_set(why, MP_EIO, "can't open %s", db->path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return mp_why_set(why, MP_EIO, "another program holds %s locked",
                          db->path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        atomic_store(&suspected, db->path_hash);
        mp_why_set(why, MP_EIO, "the database is damaged: %s", text);
        return DAMAGED;
    case SQLITE_IOERR:
        if (rc == SQLITE_IOERR_NOMEM)
            mp_oom(0);
        return say_io(db, rc, why);
    default:
        return mp_why_set(why, MP_EIO, "the database: %s", text);
    }
}

/* As say, for callers that have no other way for damage. */
static int say_error(struct mp_db *db, int rc, struct mp_why *why)
{
    rc = say(db, rc, why);
    return rc == DAMAGED ? MP_EIO : rc;
}

/* ---- statements ---- */

static int prepare(struct mp_db *db, const char *text, sqlite3_stmt **stmt)
{
    return sqlite3_prepare_v3(db->sqlite, text, -1, SQLITE_PREPARE_PERSISTENT,
                              stmt, NULL);
}

/* Run one of our own; SQLite's rc; *n: the number it says, if it does. */
static int run_own(struct mp_db *db, enum own which, int64_t *n)
{
    sqlite3_stmt **stmt = &db->own[which];
    int rc = *stmt ? SQLITE_OK : prepare(db, own_texts[which], stmt);

    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(*stmt);
    if (rc == SQLITE_ROW && n)
        *n = sqlite3_column_int64(*stmt, 0);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        rc = SQLITE_OK;
    sqlite3_reset(*stmt);
    return rc;
}

/* Run one that is needed once; the first column of its first row in text. */
static int run_once(struct mp_db *db, const char *sql, char *text, size_t size)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db->sqlite, sql, -1, &stmt, NULL);

    if (text)
        *text = '\0';
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW && text && sqlite3_column_text(stmt, 0))
        snprintf(text, size, "%s", (const char *)sqlite3_column_text(stmt, 0));
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        rc = SQLITE_OK;
    sqlite3_finalize(stmt);
    return rc;
}

static int run_all(struct mp_db *db, const char *sql)
{
    return sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL);
}

static int measure(struct mp_db *db)
{
    int64_t pages = 0, unused = 0;
    int rc = run_own(db, PAGES, &pages);

    if (rc == SQLITE_OK)
        rc = run_own(db, UNUSED, &unused);
    if (rc == SQLITE_OK)
        db->used = (uint64_t)(pages - unused) * PAGE;
    return rc;
}

/* ---- opening ---- */

static int on_wal(void *arg, sqlite3 *sqlite, const char *name, int frames)
{
    struct mp_db *db = arg;

    (void)sqlite;
    (void)name;
    db->frames = frames;
    return SQLITE_OK;
}

static int connect(struct mp_db **out, const char *data, int flags,
                   struct mp_why *why)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static const struct mp_hash_key key = {1, 2};
    struct mp_db *db = mp_zalloc(sizeof *db);
    size_t size = strlen(data) + sizeof "/" MP_DB_NAME;
    int rc;

    pthread_once(&once, set_up);
    *out = db;
    db->owner = pthread_self();
    db->path = mp_alloc(size);
    snprintf(db->path, size, "%s/" MP_DB_NAME, data);
    db->path_hash = mp_hash64(&key, mp_slice_str(db->path)) | 1;
    db->written = bytes_written;
    flags |=
        SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
    rc = sqlite3_open_v2(db->path, &db->sqlite, flags, "moonpool");
    if (!db->sqlite)
        mp_oom(0);
    if (rc != SQLITE_OK)
        return say(db, rc, why);
    sqlite3_busy_timeout(db->sqlite, BUSY_MS);
    sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return 0;
}

static void keep_wal(struct mp_db *db, bool keep)
{
    sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, (int)keep,
                      NULL);
}

static uint64_t file_size(const char *path, const char *suffix)
{
    size_t size = strlen(path) + strlen(suffix) + 1;
    char *name = mp_alloc(size);
    struct stat st;
    int rc;

    snprintf(name, size, "%s%s", path, suffix);
    rc = stat(name, &st);
    free(name);
    return rc ? 0 : (uint64_t)st.st_size;
}

/* Is it ours, and do we know its schema?  Changes nothing. */
static int check_version(struct mp_db *db, unsigned *version,
                         struct mp_why *why)
{
    char text[24] = "", tables[24] = "";
    int rc = run_once(db, "PRAGMA user_version", text, sizeof text);
    long n;

    if (rc == SQLITE_OK)
        rc = run_once(db, "SELECT COUNT(*) FROM sqlite_schema", tables,
                      sizeof tables);
    if (rc != SQLITE_OK)
        return say(db, rc, why);
    n = strtol(text, NULL, 10);
    if (n > MP_SCHEMA_VERSION)
        return mp_why_set(why, MP_EPARSE,
                          "%s is of a newer moonpool: its schema is %ld, this "
                          "one knows %d",
                          db->path, n, MP_SCHEMA_VERSION);
    if (n < 0 || (n == 0) != mp_slice_is(mp_slice_str(tables), "0"))
        return mp_why_set(why, MP_EPARSE, "%s is not a database of moonpool",
                          db->path);
    if (sqlite3_db_readonly(db->sqlite, "main"))
        return mp_why_set(why, MP_EIO, "%s is read-only", db->path);
    *version = (unsigned)n;
    return 0;
}

/* Look at every page, where that pays. */
static int check_whole(struct mp_db *db, bool unclean, struct mp_why *why)
{
    bool suspect = atomic_load(&suspected) == db->path_hash;
    uint64_t size = file_size(db->path, "");
    char text[120], *detail;
    int rc;

    if (!suspect && size > CHECK_ALWAYS && !(unclean && size <= CHECK_UNCLEAN))
        return 0;
    rc = run_once(
        db, suspect ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)",
        text, sizeof text);
    if (rc != SQLITE_OK)
        return say(db, rc, why);
    if (strcmp(text, "ok") == 0)
        return 0;
    /* Its first line may only say which database, as if there were two. */
    detail = strncmp(text, "***", 3) == 0 ? strchr(text, '\n') : NULL;
    detail = detail ? detail + 1 : text;
    detail[strcspn(detail, "\n")] = '\0';
    mp_why_set(why, MP_EIO, "the database is damaged: %s", detail);
    return DAMAGED;
}

static int configure(struct mp_db *db, struct mp_why *why)
{
    uint64_t pages = db->max_size / PAGE;
    char text[96];
    int rc;

    rc = run_all(db, "PRAGMA page_size = 4096;"
                     "PRAGMA auto_vacuum = NONE;"
                     "PRAGMA secure_delete = OFF;"
                     "PRAGMA foreign_keys = OFF;"
                     "PRAGMA mmap_size = 0;"
                     "PRAGMA temp_store = MEMORY;"
                     "PRAGMA cache_size = -1024;"
                     "PRAGMA cache_spill = OFF;"
                     "PRAGMA cell_size_check = ON;"
                     "PRAGMA wal_autocheckpoint = 0;"
                     "PRAGMA journal_size_limit = 1048576;"
                     "PRAGMA synchronous = FULL");
    if (rc == SQLITE_OK)
        rc = run_once(db, "PRAGMA journal_mode = WAL", text, sizeof text);
    if (rc == SQLITE_OK && strcmp(text, "wal") != 0)
        return mp_why_set(why, MP_EIO, "%s can't have a WAL here", db->path);
    snprintf(text, sizeof text, "PRAGMA max_page_count = %llu",
             (unsigned long long)(pages < PAGES_MAX ? pages : PAGES_MAX));
    if (rc == SQLITE_OK)
        rc = run_all(db, text);
    return rc == SQLITE_OK ? 0 : say(db, rc, why);
}

static int migrate_in(struct mp_db *db, unsigned from)
{
    char text[48];
    int rc = SQLITE_OK;

    for (; rc == SQLITE_OK && from < MP_SCHEMA_VERSION; from++)
        rc = run_all(db, mp_schema_step(from));
    snprintf(text, sizeof text, "PRAGMA user_version = %d", MP_SCHEMA_VERSION);
    if (rc == SQLITE_OK)
        rc = run_all(db, text);
    return rc;
}

static int migrate(struct mp_db *db, unsigned from, struct mp_why *why)
{
    int rc = run_own(db, BEGIN, NULL);

    if (rc == SQLITE_OK) {
        rc = migrate_in(db, from);
        if (rc == SQLITE_FULL) {
            run_own(db, ROLLBACK, NULL);
            return say_quota(db, why);
        }
    }
    MP_CRASH_POINT("store.before_migrated");
    if (rc == SQLITE_OK)
        rc = run_own(db, COMMIT, NULL);
    if (rc != SQLITE_OK) {
        rc = say(db, rc, why);
        if (!sqlite3_get_autocommit(db->sqlite))
            run_own(db, ROLLBACK, NULL);
        return rc;
    }
    MP_CRASH_POINT("store.migrated");
    return 0;
}

/* The questions, then the work.  DAMAGED: it wants to be set aside. */
static int open_once(struct mp_db **out, const char *data, uint64_t max_size,
                     struct mp_db_opened *opened, struct mp_why *why)
{
    int rc = connect(out, data, SQLITE_OPEN_READWRITE, why);
    struct mp_db *db = *out;
    unsigned version = 0;
    bool unclean;

    if (rc)
        return rc;
    db->max_size = max_size;
    unclean = file_size(db->path, "-wal") > 0;
    keep_wal(db, unclean);
    rc = check_version(db, &version, why);
    if (!rc)
        rc = check_whole(db, unclean, why);
    if (rc)
        return rc;
    keep_wal(db, false);
    rc = configure(db, why);
    if (!rc && version < MP_SCHEMA_VERSION)
        rc = migrate(db, version, why);
    if (rc)
        return rc;
    opened->created = version == 0;
    opened->migrated_from = version < MP_SCHEMA_VERSION ? version : 0;
    sqlite3_wal_hook(db->sqlite, on_wal, db);
    rc = measure(db);
    return rc == SQLITE_OK ? 0 : say(db, rc, why);
}

/*
 * SQLite would make the file readable for all; what it makes beside it takes
 * the mode from it.  And it would open one that may only be read, with a WAL.
 * Never opens a file that is there: closing it would drop the locks that
 * another connection of this process has on it.
 */
static int make_file(const char *data, struct mp_why *why)
{
    int dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd, rc = 0;

    if (dir < 0)
        return mp_why_errno(why, "open %s", data);
    fd = openat(dir, MP_DB_NAME, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0 && errno != EEXIST)
        rc = mp_why_errno(why, "create %s/" MP_DB_NAME, data);
    else if (fd < 0 && faccessat(dir, MP_DB_NAME, W_OK, AT_EACCESS))
        rc = mp_why_errno(why, "%s/" MP_DB_NAME " is read-only", data);
    if (fd >= 0) {
        close(fd);
        if (fsync(dir))
            rc = mp_why_errno(why, "sync %s", data);
        MP_CRASH_POINT("store.created");
    }
    close(dir);
    return rc;
}

static int make_and_open(struct mp_db **db, const char *data, uint64_t max_size,
                         struct mp_db_opened *opened, struct mp_why *why)
{
    int rc = make_file(data, why);

    *db = NULL;
    if (!rc)
        rc = open_once(db, data, max_size, opened, why);
    if (rc) {
        mp_db_close(*db);
        *db = NULL;
    }
    return rc;
}

int mp_db_open(struct mp_db **db, const char *data, uint64_t max_size,
               struct mp_db_opened *opened, struct mp_why *why)
{
    int rc;

    *opened = (struct mp_db_opened){0};
    rc = make_and_open(db, data, max_size, opened, why);
    if (rc == DAMAGED) {
        struct mp_why aside;

        snprintf(opened->aside_why, sizeof opened->aside_why, "%.*s",
                 (int)sizeof opened->aside_why - 1, why->text);
        rc = mp_store_set_aside(data, opened->set_aside,
                                sizeof opened->set_aside, &aside);
        if (rc) {
            mp_why_wrap(&aside, "%.200s; it can't be set aside", why->text);
            *why = aside;
            return rc;
        }
        MP_CRASH_POINT("store.set_aside");
        rc = make_and_open(db, data, max_size, opened, why);
    }
    if (rc == DAMAGED) /* a new one: the disk, not the database */
        return MP_EIO;
    if (!rc)
        atomic_store(&suspected, 0);
    return rc;
}

int mp_db_open_whole(struct mp_db **db, const char *data, uint64_t max_size,
                     struct mp_why *why)
{
    struct mp_db_opened opened = {0};
    int rc = make_and_open(db, data, max_size, &opened, why);

    if (rc != DAMAGED)
        return rc;
    mp_why_wrap(why, "the database is damaged");
    return MP_EIO;
}

static int open_reader(struct mp_db *db, struct mp_why *why)
{
    int rc;

    db->reads_only = true;
    keep_wal(db, true);
    rc = run_all(db, "PRAGMA mmap_size = 0;"
                     "PRAGMA temp_store = MEMORY;"
                     "PRAGMA cache_size = -512;"
                     "PRAGMA cell_size_check = ON");
    if (rc == SQLITE_OK)
        rc = measure(db);
    return rc == SQLITE_OK ? 0 : say_error(db, rc, why);
}

int mp_db_open_reader(struct mp_db **db, const char *data, struct mp_why *why)
{
    int rc = connect(db, data, SQLITE_OPEN_READONLY, why);

    if (!rc)
        rc = open_reader(*db, why);
    if (rc) {
        mp_db_close(*db);
        *db = NULL;
    }
    return rc == DAMAGED ? MP_EIO : rc;
}

void mp_db_close(struct mp_db *db)
{
    if (!db)
        return;
    check_thread(db);
    MP_ASSERT(db->begun == 0);
    for (unsigned i = 0; i < MP_SQLS; i++)
        sqlite3_finalize(db->queries[i].stmt);
    for (unsigned i = 0; i < OWNS; i++)
        sqlite3_finalize(db->own[i]);
    MP_CRASH_POINT("store.before_close");
    MP_ASSERT(sqlite3_close(db->sqlite) == SQLITE_OK);
    free(db->path);
    free(db);
}

/* ---- figures, checkpoints ---- */

uint64_t mp_db_used(struct mp_db *db)
{
    check_thread(db);
    if (db->reads_only) /* it does not see the commits go by */
        measure(db);
    return db->used;
}

uint64_t mp_db_written(struct mp_db *db)
{
    check_thread(db);
    return bytes_written - db->written;
}

uint64_t mp_db_pending(struct mp_db *db)
{
    check_thread(db);
    /* After a checkpoint that reached the end it begins anew. */
    return (uint64_t)(db->frames < db->tried ? db->frames
                                             : db->frames - db->tried) *
           FRAME;
}

void mp_db_checkpoint(struct mp_db *db)
{
    struct mp_why why;
    int rc;

    check_thread(db);
    MP_CRASH_POINT("store.before_checkpoint");
    rc = sqlite3_wal_checkpoint_v2(db->sqlite, "main",
                                   SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    MP_CRASH_POINT("store.after_checkpoint");
    db->tried = db->frames;
    /* The WAL has it still; damage must be known, the rest will come again. */
    if (rc != SQLITE_OK)
        say(db, rc, &why);
}

bool mp_db_is_idle(struct mp_db *db)
{
    check_thread(db);
    return db->begun == 0 && !db->snapshot;
}

/* ---- reading ---- */

struct mp_query *mp_query_begin(struct mp_db *db, enum mp_sql sql)
{
    struct mp_query *q = &db->queries[sql];

    check_thread(db);
    MP_ASSERT(sql < MP_SQLS && !q->begun);
    q->db = db;
    q->begun = true;
    q->bound = 0;
    q->rc = SQLITE_OK;
    db->begun++;
    if (!q->stmt) {
        q->rc = prepare(db, mp_sql_text(sql), &q->stmt);
        q->params = sqlite3_bind_parameter_count(q->stmt);
    }
    return q;
}

/* Number of the next parameter; 0: there is no statement to bind to. */
static int next_param(struct mp_query *q)
{
    MP_ASSERT(q->begun);
    if (!q->stmt)
        return 0;
    MP_ASSERT(q->bound < q->params);
    return ++q->bound;
}

static void bound(struct mp_query *q, int rc)
{
    if (rc != SQLITE_OK && q->rc == SQLITE_OK)
        q->rc = rc;
}

void mp_query_int(struct mp_query *q, int64_t n)
{
    int i = next_param(q);

    if (i)
        bound(q, sqlite3_bind_int64(q->stmt, i, n));
}

static void query_real(struct mp_query *q, double x)
{
    int i = next_param(q);

    if (i)
        bound(q, sqlite3_bind_double(q->stmt, i, x));
}

void mp_query_text(struct mp_query *q, struct mp_slice text)
{
    int i = next_param(q);

    /* A NULL pointer would bind NULL. */
    if (i)
        bound(q, sqlite3_bind_text64(q->stmt, i, text.ptr ? text.ptr : "",
                                     text.len, SQLITE_STATIC, SQLITE_UTF8));
}

void mp_query_blob(struct mp_query *q, struct mp_slice bytes)
{
    int i = next_param(q);

    if (i)
        bound(q, sqlite3_bind_blob64(q->stmt, i, bytes.ptr ? bytes.ptr : "",
                                     bytes.len, SQLITE_STATIC));
}

void mp_query_null(struct mp_query *q)
{
    int i = next_param(q);

    if (i)
        bound(q, sqlite3_bind_null(q->stmt, i));
}

/* SQLITE_ROW, SQLITE_DONE or what went wrong. */
static int step(struct mp_query *q)
{
    MP_ASSERT(q->begun);
    if (q->rc != SQLITE_OK)
        return q->rc;
    MP_ASSERT(q->bound == q->params);
    return sqlite3_step(q->stmt);
}

int mp_query_step(struct mp_query *q, struct mp_why *why)
{
    int rc;

    check_thread(q->db);
    rc = step(q);
    if (rc == SQLITE_ROW)
        return 1;
    return rc == SQLITE_DONE ? 0 : say_error(q->db, rc, why);
}

bool mp_column_is_null(struct mp_query *q, int column)
{
    return sqlite3_column_type(q->stmt, column) == SQLITE_NULL;
}

int64_t mp_column_int(struct mp_query *q, int column)
{
    return sqlite3_column_int64(q->stmt, column);
}

double mp_column_real(struct mp_query *q, int column)
{
    return sqlite3_column_double(q->stmt, column);
}

struct mp_slice mp_column_bytes(struct mp_query *q, int column)
{
    const void *bytes;

    if (mp_column_is_null(q, column))
        return mp_slice(NULL, 0);
    bytes = sqlite3_column_blob(q->stmt, column);
    return mp_slice(bytes ? bytes : "",
                    (size_t)sqlite3_column_bytes(q->stmt, column));
}

void mp_query_end(struct mp_query *q)
{
    MP_ASSERT(q->begun);
    check_thread(q->db);
    sqlite3_reset(q->stmt);
    q->begun = false;
    q->db->begun--;
}

int mp_db_snapshot(struct mp_db *db, struct mp_why *why)
{
    int rc;

    check_thread(db);
    MP_ASSERT(!db->snapshot);
    rc = run_own(db, SNAPSHOT, NULL);
    db->snapshot = rc == SQLITE_OK;
    return rc == SQLITE_OK ? 0 : say_error(db, rc, why);
}

void mp_db_snapshot_end(struct mp_db *db)
{
    check_thread(db);
    MP_ASSERT(db->begun == 0);
    /* An error may have ended it already; nothing was written. */
    if (db->snapshot && !sqlite3_get_autocommit(db->sqlite))
        run_own(db, ROLLBACK, NULL);
    db->snapshot = false;
}

/* ---- writing ---- */

static void bind(struct mp_query *q, const struct mp_item *item)
{
    double x;

    switch (item->kind) {
    case MP_ITEM_INT:
        mp_query_int(q, item->n);
        return;
    case MP_ITEM_REAL:
        memcpy(&x, &item->n, sizeof x);
        query_real(q, x);
        return;
    case MP_ITEM_TEXT:
        mp_query_text(q, item->bytes);
        return;
    case MP_ITEM_BLOB:
        mp_query_blob(q, item->bytes);
        return;
    case MP_ITEM_NULL:
        mp_query_null(q);
        return;
    case MP_ITEM_OP:
        break;
    }
    MP_ASSERT(!"a batch holds nothing else");
}

/* Run the operation whose arguments are bound. */
static int finish_op(struct mp_query *q)
{
    int rc = step(q);

    mp_query_end(q);
    MP_ASSERT(rc != SQLITE_ROW);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int apply_ops(struct mp_db *db, const struct mp_batch *b)
{
    struct mp_slice rest = mp_buf_bytes(&b->ops);
    struct mp_query *q = NULL;
    struct mp_item item;
    int rc = SQLITE_OK;

    while (mp_item_next(&rest, &item)) {
        if (item.kind != MP_ITEM_OP) {
            MP_ASSERT(q != NULL);
            bind(q, &item);
            continue;
        }
        if (q)
            rc = finish_op(q);
        if (rc != SQLITE_OK)
            return rc;
        MP_ASSERT(item.n >= 0 && item.n < MP_SQLS);
        q = mp_query_begin(db, (enum mp_sql)item.n);
    }
    return q ? finish_op(q) : SQLITE_OK;
}

/* Somebody may delete or move the file; SQLite would go on writing to what
 * has no name any more. */
static bool is_moved(struct mp_db *db)
{
    int moved = 0;

    sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return moved != 0;
}

static int apply(struct mp_db *db, const struct mp_batch *b, struct mp_why *why)
{
    int rc;

    if (is_moved(db))
        return mp_why_set(why, MP_EIO, "%s was moved or deleted", db->path);
    rc = run_own(db, BEGIN, NULL);
    if (rc != SQLITE_OK)
        return say_error(db, rc, why);
    rc = apply_ops(db, b);
    if (rc == SQLITE_OK)
        rc = measure(db);
    if (rc == SQLITE_FULL)
        return say_quota(db, why);
    if (rc != SQLITE_OK)
        return say_error(db, rc, why);
    MP_CRASH_POINT("store.before_commit");
    rc = run_own(db, COMMIT, NULL);
    MP_CRASH_POINT("store.after_commit");
    return rc == SQLITE_OK ? 0 : say_error(db, rc, why);
}

int mp_db_apply(struct mp_db *db, const struct mp_batch *b, struct mp_why *why)
{
    int rc;

    check_thread(db);
    MP_ASSERT(!db->reads_only && mp_db_is_idle(db));
    if (b->n == 0)
        return 0;
    if (atomic_load(&suspected) == db->path_hash)
        return mp_why_set(why, MP_EIO, "the database is damaged");
    rc = apply(db, b, why);
    if (rc && !sqlite3_get_autocommit(db->sqlite))
        run_own(db, ROLLBACK, NULL);
    return rc;
}
