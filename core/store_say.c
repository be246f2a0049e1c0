/*
 * store_say.c - what SQLite says, in words for a person, and what is damaged.
 *
 * Whoever reads or writes and finds damage notes it (suspected), so that the
 * writer fails and opening looks at every page.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include "core/store_db.h"

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

int mp_db_say_quota(const struct mp_db *db, struct mp_why *why)
{
    char size[24];

    size_text(db->max_size, size);
    return mp_why_set(why, MP_EFULL,
                      "the database has reached [store] max_size = %s", size);
}

static int say_io(struct mp_db *db, int extended, struct mp_why *why)
{
    int refused = mp_store_refused();
    const char *verb;

    errno = sqlite3_system_errno(db->sqlite);
    if (!errno) /* COMMIT does not ask */
        errno = refused;
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

int mp_db_say(struct mp_db *db, int rc, struct mp_why *why)
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
        return MP_DB_DAMAGED;
    case SQLITE_IOERR:
        if (rc == SQLITE_IOERR_NOMEM)
            mp_oom(0);
        return say_io(db, rc, why);
    default:
        return mp_why_set(why, MP_EIO, "the database: %s", text);
    }
}

int mp_db_say_error(struct mp_db *db, int rc, struct mp_why *why)
{
    rc = mp_db_say(db, rc, why);
    return rc == MP_DB_DAMAGED ? MP_EIO : rc;
}

bool mp_db_is_suspected(const struct mp_db *db)
{
    return atomic_load(&suspected) == db->path_hash;
}

void mp_db_trust(void)
{
    atomic_store(&suspected, 0);
}
