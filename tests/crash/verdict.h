/*
 * verdict.h - what the database must hold once everything has settled.
 *
 * Errors   a sentence in `wrong` ("": all is well).
 */
#ifndef TESTS_CRASH_VERDICT_H
#define TESTS_CRASH_VERDICT_H

#include "tests/crash/load.h"

struct verdict {
    long queue, outbox, alarms, records, dead; /* rows */
    char wrong[256];
};

/* The path of the database in that directory; false: there is none. */
bool verdict_find(const char *data, char *path, size_t size);

/* Rows that wait; false: it can't be read now. */
bool verdict_rows(const char *data, struct verdict *v);

/* Integrity, counters that equal the inputs, nothing that still waits.  The
 * host should not run: then an open database is a finding, too. */
void verdict_reach(const char *data, const struct load *l, struct verdict *v);

/* How many events a function has counted and given up (dead letters), of all
 * devices; -1: it can't be read now. */
long verdict_counted(const char *data, const char *fn, long *dead);

#endif
