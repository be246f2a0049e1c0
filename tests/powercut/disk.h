/*
 * disk.h - a disk that loses power: what the log of record.so says was done,
 * up to a cut, with what a real disk may then have kept.
 *
 *   - what was written before a sync that has returned is there;
 *   - each other write is kept, dropped or torn at 512 bytes, by chance, and
 *     whatever came after it tells nothing about it;
 *   - a new name, a removed or a changed one holds after a sync of the
 *     directory, and before that by chance.
 */
#ifndef TESTS_POWERCUT_DISK_H
#define TESTS_POWERCUT_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "tests/powercut/record.h"

struct disk_rec {
    struct record head;
    const unsigned char *bytes; /* of the log */
};

struct disk_log {
    unsigned char *all;
    struct disk_rec *recs;
    size_t n;
};

struct disk;

/* Ends the program when it can't be read. */
void disk_log_read(struct disk_log *log, const char *path);

struct disk *disk_new(const struct disk_log *log);
/* Do the next record. */
void disk_do(struct disk *d, size_t at);
/* Make a directory of what may be left now; chance gives 0..n-1. */
void disk_cut(struct disk *d, const char *dir, uint32_t (*chance)(uint32_t n));
/* Remove the files in it. */
void disk_empty(const char *dir);
void disk_free(struct disk *d);

#endif
