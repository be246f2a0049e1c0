/*
 * record.h - the log of what a program did to its disk and on its sockets.
 *
 * One record after the other, each followed by `len` bytes.  Their order is
 * the order in which things happened: a write and its record are made under
 * one lock, and so are what leaves on a socket and its record.
 */
#ifndef TESTS_POWERCUT_RECORD_H
#define TESTS_POWERCUT_RECORD_H

#include <stdint.h>

enum record_type {
    REC_CREATE,     /* a new file; bytes: its name */
    REC_WRITE,      /* bytes, at */
    REC_TRUNCATE,   /* at: the new length */
    REC_SYNC_BEGIN, /* file 0: the directory */
    REC_SYNC_END,   /* and it succeeded; at: number of its begin */
    REC_UNLINK,     /* bytes: the name */
    REC_RENAME,     /* bytes: the old name, NUL, the new one */
    REC_CONNECT,    /* file: the descriptor of a new connection */
    REC_SEND,       /* file: descriptor */
    REC_RECEIVE,    /* file: descriptor */
    REC_TYPES
};

struct record {
    uint32_t type, file;
    int64_t at;
    uint32_t len, pad;
};

#endif
