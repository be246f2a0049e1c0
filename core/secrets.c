/*
 * secrets.c - one small file a secret.
 */
#include "core/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/keys.h"

void mp_secret_free(char *value)
{
    if (value)
        explicit_bzero(value, strlen(value));
    free(value);
}

/* ---- reading ---- */

static int open_dir(const char *dir, const char *fn)
{
    char path[4096];
    int len = snprintf(path, sizeof path, "%s/%s", dir, fn);

    if (len < 0 || (size_t)len >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Nobody but its owner, who is us or root. */
static int check_owner(int dir_fd, const char *fn, const char *name,
                       struct mp_why *why)
{
    struct stat st;

    if (fstatat(dir_fd, name, &st, 0))
        return errno == ENOENT
                   ? MP_ENONE
                   : mp_why_errno(why, "read secret %s of %s", name, fn);
    if ((st.st_uid == geteuid() || st.st_uid == 0) && !(st.st_mode & 077))
        return 0;
    return mp_why_set(why, MP_EDENY,
                      "secret %s of %s can be read by others; chmod 600, and "
                      "it belongs to who runs moonpool",
                      name, fn);
}

static int read_own(const char *dir, const char *fn, const char *name,
                    char **value, struct mp_why *why)
{
    int fd = open_dir(dir, fn);
    int rc;

    if (fd < 0)
        return errno == ENOENT ? MP_ENONE
                               : mp_why_errno(why, "open %s/%s", dir, fn);
    rc = check_owner(fd, fn, name, why);
    if (!rc)
        rc = mp_secret_file(fd, name, mp_slice_str(name), value, why);
    close(fd);
    return rc;
}

int mp_secret_read(const char *dir, const char *fn, const char *name,
                   char **value, struct mp_why *why)
{
    char credential[MP_NAME_MAX + 80];
    int rc = read_own(dir, fn, name, value, why);

    if (rc != MP_ENONE)
        return rc;
    snprintf(credential, sizeof credential, "credential:%s.%s", fn, name);
    if (mp_parse_secret(mp_slice_str(credential), value, why) == 0)
        return 0;
    return mp_why_set(why, MP_ENONE,
                      "secret %s of %s is missing; give it with: moonpool "
                      "secret set %s %s",
                      name, fn, fn, name);
}

/* ---- those of a function ---- */

/* Values in use, of all functions. */
static struct {
    struct mp_slice *values;
    unsigned n;
} known;

static void know(struct mp_slice value)
{
    known.values =
        mp_realloc(known.values, (known.n + 1) * sizeof *known.values);
    known.values[known.n++] = value;
}

static void forget(struct mp_slice value)
{
    unsigned at = 0;

    while (at < known.n && known.values[at].ptr != value.ptr)
        at++;
    MP_ASSERT(at < known.n);
    known.values[at] = known.values[--known.n];
    if (known.n)
        return;
    free(known.values);
    known.values = NULL;
}

int mp_secrets_read(const char *dir, const char *fn,
                    const struct mp_slice *names, unsigned n,
                    struct mp_pair **secrets, struct mp_why *why)
{
    char *values[MP_SECRETS_MAX], *text = NULL, name[80];
    size_t bytes = n * sizeof **secrets;
    unsigned got = 0;
    int rc = 0;

    MP_ASSERT(n <= MP_SECRETS_MAX);
    *secrets = NULL;
    for (; !rc && got < n; got += !rc) {
        snprintf(name, sizeof name, "%.*s", MP_FMT(names[got]));
        rc = mp_secret_read(dir, fn, name, &values[got], why);
        bytes += rc ? 0 : strlen(values[got]);
    }
    if (!rc && n) { /* one block: the pairs, their values behind them */
        *secrets = mp_alloc(bytes);
        text = (char *)(*secrets + n);
    }
    for (unsigned i = 0; i < got; i++) {
        size_t len = strlen(values[i]);

        if (!rc) {
            memcpy(text, values[i], len);
            (*secrets)[i] = (struct mp_pair){names[i], mp_slice(text, len)};
            know((*secrets)[i].value);
            text += len;
        }
        mp_secret_free(values[i]);
    }
    return rc;
}

void mp_secrets_free(struct mp_pair *secrets, unsigned n)
{
    size_t bytes = n * sizeof *secrets;

    for (unsigned i = 0; secrets && i < n; i++) {
        bytes += secrets[i].value.len;
        forget(secrets[i].value);
    }
    if (secrets)
        explicit_bzero(secrets, bytes);
    free(secrets);
}

/* ---- writing ---- */

static int make_dir(const char *path, struct mp_why *why)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    return mp_why_errno(why, "make %s", path);
}

int mp_secret_write(const char *dir, const char *fn, const char *name,
                    struct mp_slice value, struct mp_why *why)
{
    char path[4096];
    mode_t before;
    int fd, rc;

    if (!value.len || value.len > MP_SECRET_BYTES ||
        memchr(value.ptr, '\0', value.len))
        return mp_why_set(why, MP_ERANGE,
                          "a secret is 1 to %d bytes without NUL",
                          MP_SECRET_BYTES);
    snprintf(path, sizeof path, "%s/%s", dir, fn);
    rc = make_dir(dir, why);
    if (!rc)
        rc = make_dir(path, why);
    if (rc)
        return rc;
    fd = open_dir(dir, fn);
    if (fd < 0)
        return mp_why_errno(why, "open %s", path);
    before = umask(077);
    rc = mp_file_replace(fd, name, value, why);
    umask(before);
    close(fd);
    return rc;
}

int mp_secret_remove(const char *dir, const char *fn, const char *name,
                     struct mp_why *why)
{
    int fd = open_dir(dir, fn);
    int rc = 0;

    if (fd < 0 || unlinkat(fd, name, 0)) {
        rc = errno == ENOENT ? MP_ENONE : MP_EIO;
        mp_why_errno(why, "remove secret %s of %s", name, fn);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

/* ---- never shown ---- */

/* The longest of the values that text begins with; 0: none. */
static size_t secret_at(struct mp_slice text, const struct mp_slice *values,
                        unsigned n)
{
    size_t longest = 0;

    for (unsigned i = 0; i < n; i++)
        if (values[i].len >= MP_SECRET_MASKED && values[i].len <= text.len &&
            values[i].len > longest &&
            memcmp(values[i].ptr, text.ptr, values[i].len) == 0)
            longest = values[i].len;
    return longest;
}

void mp_secrets_mask(struct mp_buf *out, struct mp_slice text,
                     const struct mp_slice *values, unsigned n)
{
    size_t from = 0, at = 0;

    while (at < text.len) {
        size_t len =
            secret_at(mp_slice(text.ptr + at, text.len - at), values, n);

        if (!len) {
            at++;
            continue;
        }
        mp_buf_put(out, text.ptr + from, at - from);
        mp_buf_put(out, "***", 3);
        at += len;
        from = at;
    }
    mp_buf_put(out, text.ptr + from, text.len - from);
}

struct mp_slice mp_secrets_hide(struct mp_slice text, struct mp_buf *out)
{
    bool found = false;

    for (size_t at = 0; !found && known.n && at < text.len; at++)
        found = secret_at(mp_slice(text.ptr + at, text.len - at), known.values,
                          known.n) > 0;
    if (!found)
        return text;
    mp_buf_reset(out);
    mp_secrets_mask(out, text, known.values, known.n);
    return mp_buf_bytes(out);
}
