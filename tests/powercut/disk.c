/*
 * disk.c - two pictures of each file: its durable bytes, and the list of what
 * was done since and may be lost.  A sync moves from the one to the other; a
 * cut copies the first and throws dice for the second.
 *
 * A cut has a mood: everything unsynced is lost, everything is kept, or each
 * for itself.  The extremes find other mistakes than the mixture does.
 */
#include "tests/powercut/disk.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/why.h"

enum { SECTOR = 512, NAMES = 64 };

struct bytes {
    unsigned char *ptr;
    size_t len, cap;
};

struct file {
    struct bytes durable;
    size_t *pending; /* records */
    size_t n, cap;
};

struct names {
    struct {
        char *name;
        uint32_t file;
    } of[NAMES];
    unsigned n;
};

struct disk {
    const struct disk_log *log;
    struct file *files;
    uint32_t n_files;
    struct names durable;
    size_t *pending; /* records that change names */
    size_t n, cap;
};

static _Noreturn void die(const char *what, const char *path)
{
    fprintf(stderr, "powercut: can't %s %s\n", what, path);
    exit(2);
}

/* ---- the log ---- */

void disk_log_read(struct disk_log *log, const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t size, at = 0, cap = 0;

    if (!f)
        die("open", path);
    fseek(f, 0, SEEK_END);
    size = (size_t)ftell(f);
    rewind(f);
    memset(log, 0, sizeof *log);
    log->all = mp_alloc(size);
    if (fread(log->all, 1, size, f) != size)
        die("read", path);
    fclose(f);
    while (at + sizeof(struct record) <= size) {
        struct disk_rec r;

        memcpy(&r.head, log->all + at, sizeof r.head);
        at += sizeof r.head;
        if (r.head.type >= REC_TYPES || r.head.len > size - at)
            break; /* the program was killed in the middle of it */
        r.bytes = log->all + at;
        at += r.head.len;
        if (log->n == cap) {
            cap = cap ? cap * 2 : 1024;
            log->recs = mp_realloc(log->recs, cap * sizeof *log->recs);
        }
        log->recs[log->n++] = r;
    }
}

/* ---- bytes ---- */

static void bytes_size(struct bytes *b, size_t len)
{
    if (len > b->cap) {
        b->cap = len * 2;
        b->ptr = mp_realloc(b->ptr, b->cap);
    }
    if (len > b->len)
        memset(b->ptr + b->len, 0, len - b->len);
    b->len = len;
}

static void bytes_put(struct bytes *b, size_t at, const unsigned char *from,
                      size_t len)
{
    if (!len)
        return;
    if (at + len > b->len)
        bytes_size(b, at + len);
    memcpy(b->ptr + at, from, len);
}

static void apply(struct bytes *b, const struct disk_rec *r)
{
    if (r->head.type == REC_TRUNCATE)
        bytes_size(b, (size_t)r->head.at);
    else
        bytes_put(b, (size_t)r->head.at, r->bytes, r->head.len);
}

/* Some of its sectors only; those of the disk, not of the write. */
static void apply_torn(struct bytes *b, const struct disk_rec *r,
                       uint32_t (*chance)(uint32_t n))
{
    size_t at = (size_t)r->head.at, end = at + r->head.len;

    while (at < end) {
        size_t next = (at / SECTOR + 1) * SECTOR;

        next = next < end ? next : end;
        if (chance(2))
            bytes_put(b, at, r->bytes + (at - (size_t)r->head.at), next - at);
        at = next;
    }
}

/* ---- names ---- */

static int name_find(const struct names *n, const char *name, size_t len)
{
    for (unsigned i = 0; i < n->n; i++)
        if (strlen(n->of[i].name) == len &&
            memcmp(n->of[i].name, name, len) == 0)
            return (int)i;
    return -1;
}

static void name_remove(struct names *n, const char *name, size_t len)
{
    int at = name_find(n, name, len);

    if (at < 0)
        return;
    free(n->of[at].name);
    n->of[at] = n->of[--n->n];
}

static void name_put(struct names *n, const char *name, size_t len,
                     uint32_t file)
{
    name_remove(n, name, len);
    if (n->n == NAMES)
        die("hold", "so many names");
    n->of[n->n].name = mp_strndup(name, len);
    n->of[n->n++].file = file;
}

static void name_apply(struct names *n, const struct disk_rec *r)
{
    const char *name = (const char *)r->bytes;
    size_t len = r->head.len;
    int at;

    if (r->head.type == REC_CREATE) {
        name_put(n, name, len, r->head.file);
    } else if (r->head.type == REC_UNLINK) {
        name_remove(n, name, len);
    } else {
        len = strnlen(name, len);
        at = name_find(n, name, len);
        if (at < 0)
            return; /* what was renamed was lost itself */
        name_put(n, name + len + 1, r->head.len - len - 1, n->of[at].file);
        name_remove(n, name, len);
    }
}

/* ---- doing ---- */

static void pend(size_t **list, size_t *n, size_t *cap, size_t at)
{
    if (*n == *cap) {
        *cap = *cap ? *cap * 2 : 64;
        *list = mp_realloc(*list, *cap * sizeof **list);
    }
    (*list)[(*n)++] = at;
}

static struct file *file_of(struct disk *d, uint32_t file)
{
    if (file >= d->n_files) {
        uint32_t n = file + 16;

        d->files = mp_realloc(d->files, n * sizeof *d->files);
        memset(d->files + d->n_files, 0, (n - d->n_files) * sizeof *d->files);
        d->n_files = n;
    }
    return &d->files[file];
}

static void synced(struct disk *d, uint32_t file, size_t begun)
{
    struct file *f = file_of(d, file);
    size_t **list = file ? &f->pending : &d->pending;
    size_t *n = file ? &f->n : &d->n, kept = 0;

    for (size_t i = 0; i < *n; i++) {
        const struct disk_rec *r = &d->log->recs[(*list)[i]];

        if ((*list)[i] > begun)
            (*list)[kept++] = (*list)[i];
        else if (file)
            apply(&f->durable, r);
        else
            name_apply(&d->durable, r);
    }
    *n = kept;
}

struct disk *disk_new(const struct disk_log *log)
{
    struct disk *d = mp_zalloc(sizeof *d);

    d->log = log;
    return d;
}

void disk_do(struct disk *d, size_t at)
{
    const struct disk_rec *r = &d->log->recs[at];
    struct file *f;

    switch (r->head.type) {
    case REC_CREATE:
    case REC_UNLINK:
    case REC_RENAME:
        pend(&d->pending, &d->n, &d->cap, at);
        break;
    case REC_WRITE:
    case REC_TRUNCATE:
        f = file_of(d, r->head.file);
        pend(&f->pending, &f->n, &f->cap, at);
        break;
    case REC_SYNC_END:
        synced(d, r->head.file, (size_t)r->head.at);
        break;
    }
}

void disk_free(struct disk *d)
{
    for (uint32_t i = 0; i < d->n_files; i++) {
        free(d->files[i].durable.ptr);
        free(d->files[i].pending);
    }
    while (d->durable.n)
        name_remove(&d->durable, d->durable.of[0].name,
                    strlen(d->durable.of[0].name));
    free(d->files);
    free(d->pending);
    free(d);
}

/* ---- the cut ---- */

enum mood { ALL_LOST, ALL_KEPT, EACH_ITSELF, MOODS };

static void left_of(const struct disk *d, const struct file *f, enum mood mood,
                    uint32_t (*chance)(uint32_t n), struct bytes *left)
{
    bytes_size(left, 0);
    bytes_put(left, 0, f->durable.ptr, f->durable.len);
    for (size_t i = 0; i < f->n && mood != ALL_LOST; i++) {
        const struct disk_rec *r = &d->log->recs[f->pending[i]];
        uint32_t fate = mood == ALL_KEPT ? 0 : chance(3);

        if (fate == 0)
            apply(left, r);
        else if (fate == 1 && r->head.type == REC_WRITE)
            apply_torn(left, r, chance);
    }
}

void disk_empty(const char *dir)
{
    char path[4352];
    const struct dirent *e;
    DIR *at = opendir(dir);

    if (!at)
        die("open", dir);
    while ((e = readdir(at))) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            remove(path);
    }
    closedir(at);
}

static void write_file(const char *dir, const char *name, const struct bytes *b)
{
    char path[4352];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "wb");
    if (!f || (b->len && fwrite(b->ptr, b->len, 1, f) != 1) || fclose(f))
        die("write", path);
}

void disk_cut(struct disk *d, const char *dir, uint32_t (*chance)(uint32_t n))
{
    enum mood mood = chance(MOODS);
    struct names left = {.n = 0};
    struct bytes b = {0};

    for (unsigned i = 0; i < d->durable.n; i++)
        name_put(&left, d->durable.of[i].name, strlen(d->durable.of[i].name),
                 d->durable.of[i].file);
    for (size_t i = 0; i < d->n && mood != ALL_LOST; i++)
        if (mood == ALL_KEPT || chance(2))
            name_apply(&left, &d->log->recs[d->pending[i]]);
    disk_empty(dir);
    for (unsigned i = 0; i < left.n; i++) {
        left_of(d, file_of(d, left.of[i].file), mood, chance, &b);
        write_file(dir, left.of[i].name, &b);
    }
    while (left.n)
        name_remove(&left, left.of[0].name, strlen(left.of[0].name));
    free(b.ptr);
}
