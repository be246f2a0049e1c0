/*
 * store_open.c - opens the database, and asks first.
 *
 * The order keeps what must not change as it was.  First nothing is written:
 * is it a database, ours, not newer than we are, whole?  Only then it is put
 * into WAL mode, migrated and used.  What fails these questions is left byte
 * for byte as it is, or, if SQLite says it is damaged, renamed together with
 * its WAL.
 *
 *   reserve      what always goes through (core/commit.h) finds room beyond
 *                max_size, or beyond what is in use where that is more
 *   a WAL        that is found is written again and synced before it is
 *                believed: after a sync that failed its pages may be in
 *                memory only, and count as written
 *   unspilled    pages leave the cache at COMMIT and never before, so a
 *                statement that finds no room has met the quota, and a COMMIT
 *                that finds none the end of the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/crash.h"
#include "core/base/hash.h"
#include "core/store_db.h"

enum {
    PAGES_MAX = 0x3fffffff,
    /* Looking at every page takes a few ms so far. */
    CHECK_ALWAYS = 1 << 20,
    /* And a second or two so far, on an SD card; worth it when the last
     * close was not clean.  Beyond, damage is found when it is met. */
    CHECK_UNCLEAN = 32 << 20,
    BUSY_MS = 2000,   /* somebody looks at it with other tools */
    RESERVE_PART = 8, /* of max_size */
    RESERVE_MIN = 256 << 10,
};

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

/* ---- connecting ---- */

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

    pthread_once(&once, mp_store_count);
    *out = db;
    db->owner = pthread_self();
    db->path = mp_alloc(size);
    snprintf(db->path, size, "%s/" MP_DB_NAME, data);
    db->path_hash = mp_hash64(&key, mp_slice_str(db->path)) | 1;
    db->written = mp_store_counted();
    flags |=
        SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
    rc = sqlite3_open_v2(db->path, &db->sqlite, flags, "moonpool");
    if (!db->sqlite)
        mp_oom(0);
    if (rc != SQLITE_OK)
        return mp_db_say(db, rc, why);
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

/* ---- the questions ---- */

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
        return mp_db_say(db, rc, why);
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
    bool suspect = mp_db_is_suspected(db);
    uint64_t size = file_size(db->path, "");
    char text[120], *detail;
    int rc;

    if (!suspect && size > CHECK_ALWAYS && !(unclean && size <= CHECK_UNCLEAN))
        return 0;
    rc = run_once(
        db, suspect ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)",
        text, sizeof text);
    if (rc != SQLITE_OK)
        return mp_db_say(db, rc, why);
    if (strcmp(text, "ok") == 0)
        return 0;
    /* Its first line may only say which database, as if there were two. */
    detail = strncmp(text, "***", 3) == 0 ? strchr(text, '\n') : NULL;
    detail = detail ? detail + 1 : text;
    detail[strcspn(detail, "\n")] = '\0';
    mp_why_set(why, MP_EIO, "the database is damaged: %s", detail);
    return MP_DB_DAMAGED;
}

/* ---- the work ---- */

/* Pages that the file may have. */
static uint64_t pages_max(const struct mp_db *db)
{
    uint64_t reserve = db->max_size / RESERVE_PART;
    uint64_t most = db->used > db->max_size ? db->used : db->max_size;
    uint64_t pages;

    if (reserve < RESERVE_MIN)
        reserve = RESERVE_MIN;
    pages = (most + reserve) / MP_DB_PAGE;
    return pages < PAGES_MAX ? pages : PAGES_MAX;
}

static int configure(struct mp_db *db, struct mp_why *why)
{
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
    if (rc == SQLITE_OK)
        rc = mp_db_measure(db);
    snprintf(text, sizeof text, "PRAGMA max_page_count = %llu",
             (unsigned long long)pages_max(db));
    if (rc == SQLITE_OK)
        rc = run_all(db, text);
    return rc == SQLITE_OK ? 0 : mp_db_say(db, rc, why);
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
    int rc = mp_db_run(db, MP_OWN_BEGIN, NULL);

    if (rc == SQLITE_OK) {
        rc = migrate_in(db, from);
        if (rc == SQLITE_FULL) {
            mp_db_run(db, MP_OWN_ROLLBACK, NULL);
            return mp_db_say_quota(db, why);
        }
    }
    MP_CRASH_POINT("store.before_migrated");
    if (rc == SQLITE_OK)
        rc = mp_db_run(db, MP_OWN_COMMIT, NULL);
    if (rc != SQLITE_OK) {
        rc = mp_db_say(db, rc, why);
        if (!sqlite3_get_autocommit(db->sqlite))
            mp_db_run(db, MP_OWN_ROLLBACK, NULL);
        return rc;
    }
    MP_CRASH_POINT("store.migrated");
    return 0;
}

/* ---- for writing ---- */

/* The questions, then the work.  MP_DB_DAMAGED: it wants to be set aside. */
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
    if (!rc && unclean)
        rc = mp_store_rewrite_wal(data, why);
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
    rc = mp_db_measure(db);
    return rc == SQLITE_OK ? 0 : mp_db_say(db, rc, why);
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
    if (rc == MP_DB_DAMAGED) {
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
    if (rc == MP_DB_DAMAGED) /* a new one: the disk, not the database */
        return MP_EIO;
    if (!rc)
        mp_db_trust();
    return rc;
}

int mp_db_open_whole(struct mp_db **db, const char *data, uint64_t max_size,
                     struct mp_why *why)
{
    struct mp_db_opened opened = {0};
    int rc = make_and_open(db, data, max_size, &opened, why);

    if (rc != MP_DB_DAMAGED)
        return rc;
    mp_why_wrap(why, "the database is damaged");
    return MP_EIO;
}

/* ---- for reading ---- */

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
        rc = mp_db_measure(db);
    return rc == SQLITE_OK ? 0 : mp_db_say_error(db, rc, why);
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
    return rc == MP_DB_DAMAGED ? MP_EIO : rc;
}
