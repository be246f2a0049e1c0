/*
 * siblings.h - the other functions of a directory of functions.
 *
 * Process  host and command line.   Thread  as core/ini.h.
 */
#ifndef MP_SIBLINGS_H
#define MP_SIBLINGS_H

#include <stdbool.h>

/* Is a function of this name in the directory that holds path (one itself)?
 * What can't be looked at counts as being there: this is for warnings. */
bool mp_sibling_is(const char *path, const char *name);

#endif
