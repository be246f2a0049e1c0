/*
 * listing.h - lists of a host: what is meant of them, asked for page by page,
 * shown in columns.
 *
 * Process  command line.   Thread  one.
 * Memory   a grid owns its cells; rows are valid while each runs.
 */
#ifndef MP_LISTING_H
#define MP_LISTING_H

#include <stdio.h>

#include "cli/client.h"
#include "cli/tree.h"

/*
 * Each row of a list: target may have a query already; list is the member
 * that holds the rows.  A row is valid during the call.  Returns an exit
 * status.
 */
int mp_listing_each(struct mp_client *c, const struct mp_buf *target,
                    const char *list,
                    void (*each)(void *arg, const struct mp_tree *row),
                    void *arg);

/* A change; adds how many it was about.  Ends the target with a NUL. */
int mp_listing_change(struct mp_client *c, const char *method,
                      struct mp_buf *target, long long *count);
/* Say how many that were: "3 dropped", or as JSON; nothing where it failed
 * (status) before the first. */
void mp_listing_count(const struct mp_client_flags *flags, int status,
                      long long count, const char *done);

/* A member of a row: its text, "" where there is none; its integer, or 0. */
struct mp_slice mp_listing_text(const struct mp_tree *row, const char *name);
long long mp_listing_int(const struct mp_tree *row, const char *name);

/* With --json: the row as JSON, in a line. */
void mp_listing_json(const struct mp_tree *row);

/* ---- what is meant: a function, some rows, or all ---- */

enum { MP_CHOICE_WORDS = 65 }; /* what to do, a function and ids */

struct mp_choice {
    const char *verb; /* "moonpool dlq" */
    const char *path; /* "dead-letters", behind /v1/ */
    struct mp_client *c;
    struct mp_client_flags flags;
    bool all;
    const char *function; /* NULL: of any */
    const char *ids[MP_CHOICE_WORDS];
    unsigned n_ids;
};

/* The words behind what to do: what begins with a digit is an id.  An exit
 * status. */
int mp_choice_take(struct mp_choice *ch, const char *const *words, int n);
/* Wrong usage, told; MP_EXIT_USAGE. */
int mp_choice_error(const struct mp_choice *ch, const char *text);

/* mp_listing_each of the function's rows, of path or another one. */
int mp_choice_each(const struct mp_choice *ch, const char *path,
                   const char *list,
                   void (*each)(void *arg, const struct mp_tree *row),
                   void *arg);
/* mp_listing_change of one row, and of all; what: "" or "/replay" behind. */
int mp_choice_change_one(const struct mp_choice *ch, const char *method,
                         const char *id, const char *what, long long *count);
int mp_choice_change_all(const struct mp_choice *ch, const char *method,
                         const char *what, long long *count);

/* ---- columns ---- */

enum { MP_GRID_COLUMNS = 8, MP_GRID_CELL = 200 };

struct mp_grid {
    unsigned columns, at; /* at: cells in all */
    unsigned width[MP_GRID_COLUMNS];
    struct mp_buf cells; /* each ends with a NUL */
};

/* titles: of the columns, NULL at the end. */
void mp_grid_init(struct mp_grid *g, const char *const *titles);
/* The next cell: made printable, cut at MP_GRID_CELL bytes. */
void mp_grid_put(struct mp_grid *g, struct mp_slice text);
MP_PRINTF(2, 3) void mp_grid_printf(struct mp_grid *g, const char *fmt, ...);
bool mp_grid_empty(const struct mp_grid *g); /* there are only titles */
/* Rows under their titles; nothing when there is no row.  The end of it. */
void mp_grid_print(struct mp_grid *g, FILE *to);

/* ---- words ---- */

enum { MP_AGE_TEXT = 32 };

/* "12 s", "4 min", "3 h", "9 d" */
void mp_span_text(double seconds, char text[MP_AGE_TEXT]);
/* "4 min ago" of a time as mp_time_text writes it; "?" of any other. */
void mp_age_text(struct mp_slice time, char text[MP_AGE_TEXT]);

#endif
