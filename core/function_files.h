/*
 * function_files.h - the files of a function's directory, bounded and sorted.
 *
 * function.conf, every *.lua in the directory and below, and tests/ *.json;
 * what else lies there is left alone, as is what starts with a dot.  Only
 * regular files, and links that stay inside; at most 64 files, 256K each, 1M
 * together.
 *
 * Process  host and command line.   Thread  loop thread.
 * Memory   names and bytes are owned by the structure.
 * Errors   each mistake is told to the report.
 */
#ifndef MP_FUNCTION_FILES_H
#define MP_FUNCTION_FILES_H

#include "core/function.h"

struct mp_function_file {
    char *name; /* relative to the directory */
    struct mp_buf bytes;
};

struct mp_function_files {
    struct mp_function_file list[MP_FILES_MAX];
    unsigned n;
    size_t total;
};

/* False after a mistake. */
bool mp_function_files_read(struct mp_function_files *files, const char *path,
                            struct mp_report *report);
/* As if the one bare file were main.lua of a directory. */
bool mp_function_files_bare(struct mp_function_files *files, const char *path,
                            struct mp_report *report);
void mp_function_files_fini(struct mp_function_files *files);

/* The bytes of the file of this name; NULL: there is none. */
const struct mp_function_file *
mp_function_files_find(const struct mp_function_files *files, const char *name);

#endif
