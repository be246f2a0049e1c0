/*
 * ini.h - an INI file as sections and lines, each with its number.
 *
 *     # or ; starts a comment line; behind a value blank and ; do
 *     [section]        or [section NAME]
 *     key = value      split at the first =, blanks around both gone
 *
 * What the file means is keys.h's business.
 *
 * Process  host and command line.
 * Thread   one at a time: libinih's settings are global variables.
 * Memory   the tree owns its texts; the caller bounds the bytes.
 * Errors   each line that is not understood is a mistake told to the report;
 *          the rest of the file is read all the same, but what stands in a
 *          section whose line is bad is skipped.
 */
#ifndef MP_INI_H
#define MP_INI_H

#include "core/function.h"

struct mp_ini_line {
    char *key, *value;
    unsigned line;
};

struct mp_ini_section {
    char *kind, *name; /* [KIND NAME]; name "": none */
    unsigned line;
    struct mp_ini_line *lines;
    unsigned n_lines;
};

struct mp_ini {
    struct mp_ini_section *sections; /* as in the file, equal ones too */
    unsigned n_sections;
};

/* file is its name in messages. */
void mp_ini_read(struct mp_ini *ini, const char *file, struct mp_slice bytes,
                 struct mp_report *report);
void mp_ini_fini(struct mp_ini *ini);

#endif
