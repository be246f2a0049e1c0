/*
 * conf_kit.h - what the tests of config files share: exact blocks, a report
 * that keeps what it is told, and directories that go away.
 */
#ifndef TESTS_CONF_KIT_H
#define TESTS_CONF_KIT_H

#include "core/function.h"

/* A copy in a block of exactly its size: one byte too many is caught. */
struct mp_slice t_exact(struct mp_slice s);
void t_exact_free(struct mp_slice s);

/* Keeps "LINE: what" or "warning LINE: what", a line each; report first. */
struct t_told {
    struct mp_report report;
    struct mp_buf text;
};

void t_told_init(struct t_told *t);
/* What was told since the last look; valid until the next. */
const char *t_told_text(struct t_told *t);
void t_told_fini(struct t_told *t);

/* A new directory under /tmp; t_dir_remove takes all in it away. */
void t_dir_make(char path[64]);
void t_dir_remove(const char *path);
/* Write dir/name; directories on the way are made. */
void t_file_put(const char *dir, const char *name, struct mp_slice bytes);

/*
 * Each file tests/corpus/conf/KIND-*.conf: read is given its bytes and must
 * tell what the lines ";= ..." of the file say, in that order.
 */
void t_corpus(const char *kind,
              void (*read)(struct mp_slice conf, struct mp_report *report));

#endif
