/*
 * fault.h - what the test and fault.so, which is in the host, share: one page.
 *
 * The test arms it; the host counts what it passes and, at the number that
 * was asked for, fails it.
 */
#ifndef TESTS_FAULT_FAULT_H
#define TESTS_FAULT_FAULT_H

#include <stdatomic.h>

enum fault_kind {
    FAULT_WRITE, /* write, pwrite, ftruncate to a file below the directory */
    FAULT_SYNC,  /* fsync, fdatasync there */
    FAULT_ALLOC, /* malloc, calloc, realloc, anywhere */
    FAULT_KINDS
};

struct fault_page {
    atomic_long passed[FAULT_KINDS];
    atomic_long at[FAULT_KINDS]; /* fails when passed becomes this; 0: never */
    atomic_int error;            /* errno of writes and syncs */
    atomic_int for_ms;           /* and so long all of its kind; 0: once */
    atomic_llong until_us;       /* the present fault ends; monotonic */
    atomic_long failed;          /* so many were failed */
};

#endif
