/*
 * listing.h - lists of a host: asked for page by page, shown in columns.
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
int mp_listing_each(struct mp_client *c, const char *target, const char *list,
                    void (*each)(void *arg, const struct mp_tree *row),
                    void *arg);

/* A change; adds how many it was about. */
int mp_listing_change(struct mp_client *c, const char *method,
                      const char *target, long long *count);

/* A member of a row: its text, "" where there is none; its integer, or 0. */
struct mp_slice mp_listing_text(const struct mp_tree *row, const char *name);
long long mp_listing_int(const struct mp_tree *row, const char *name);

/* With --json: the row as JSON, in a line. */
void mp_listing_json(const struct mp_tree *row);

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
/* Rows under their titles; nothing when there is no row.  The end of it. */
void mp_grid_print(struct mp_grid *g, FILE *to);

/* ---- words ---- */

enum { MP_AGE_TEXT = 32 };

/* "12 s", "4 min", "3 h", "9 d" */
void mp_span_text(double seconds, char text[MP_AGE_TEXT]);
/* "4 min ago" of a time as mp_time_text writes it; "?" of any other. */
void mp_age_text(struct mp_slice time, char text[MP_AGE_TEXT]);

#endif
