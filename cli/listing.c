/*
 * listing.c - a list is asked for until it says that there is no more; a grid
 * is printed when its widest cells are known.
 */
#include "cli/listing.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include "cli/show.h"
#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/request.h"

/* ---- pages ---- */

static void put_after(struct mp_buf *target, const struct mp_tree *after)
{
    mp_buf_printf(target, "&after=");
    if (after->kind == MP_TREE_INT)
        mp_buf_printf(target, "%lld", (long long)after->integer);
    else
        mp_request_put(target, after->text);
}

static int bad_answer(void)
{
    fprintf(stderr, "the host's answer makes no sense\n");
    return MP_EXIT_NO_HOST;
}

int mp_listing_each(struct mp_client *c, const struct mp_buf *target,
                    const char *list,
                    void (*each)(void *arg, const struct mp_tree *row),
                    void *arg)
{
    struct mp_slice base = mp_buf_bytes(target);
    struct mp_tree_doc doc = {0}, before = {0};
    const struct mp_tree *rows, *after = NULL;
    struct mp_buf at, reply;
    struct mp_why why;
    int status;

    do {
        mp_buf_init(&at, MP_TARGET_MAX);
        mp_buf_slice(&at, base);
        mp_buf_printf(&at, "%climit=%d", mp_has(base, '?') ? '&' : '?',
                      MP_PAGE_MAX);
        if (after)
            put_after(&at, after);
        mp_tree_fini(&before);
        status = mp_client_ask_at(c, "GET", &at, (struct mp_slice){0}, &reply);
        mp_buf_fini(&at);
        if (status)
            return status;
        if (mp_tree_parse(&doc, mp_buf_bytes(&reply), &why)) {
            mp_buf_fini(&reply);
            return bad_answer();
        }
        mp_buf_fini(&reply);
        rows = mp_tree_get(doc.root, list);
        for (size_t i = 0; rows && i < rows->n; i++)
            each(arg, rows->items[i]);
        after = mp_tree_get(doc.root, "after");
        before = doc;
    } while (after && after->kind != MP_TREE_NULL);
    mp_tree_fini(&before);
    return MP_EXIT_DONE;
}

int mp_listing_change(struct mp_client *c, const char *method,
                      struct mp_buf *target, long long *count)
{
    struct mp_tree_doc doc;
    struct mp_buf reply;
    struct mp_why why;
    int status =
        mp_client_ask_at(c, method, target, (struct mp_slice){0}, &reply);

    if (status)
        return status;
    if (!mp_tree_parse(&doc, mp_buf_bytes(&reply), &why)) {
        *count += mp_listing_int(doc.root, "count");
        mp_tree_fini(&doc);
    }
    mp_buf_fini(&reply);
    return MP_EXIT_DONE;
}

void mp_listing_count(const struct mp_client_flags *flags, int status,
                      long long count, const char *done)
{
    if (status && !count)
        return;
    if (flags->json)
        printf("{\"count\":%lld}\n", count);
    else
        fprintf(stderr, "%lld %s\n", count, done);
}

struct mp_slice mp_listing_text(const struct mp_tree *row, const char *name)
{
    struct mp_slice s = mp_tree_text(mp_tree_get(row, name));

    return s.ptr ? s : MP_S("");
}

long long mp_listing_int(const struct mp_tree *row, const char *name)
{
    const struct mp_tree *v = mp_tree_get(row, name);

    return v && v->kind == MP_TREE_INT ? v->integer : 0;
}

void mp_listing_json(const struct mp_tree *row)
{
    struct mp_buf b;

    mp_buf_init(&b, 64 << 20);
    mp_tree_print(row, &b);
    mp_buf_put(&b, "\n", 1);
    fwrite(b.ptr, 1, b.len, stdout);
    mp_buf_fini(&b);
}

/* ---- what is meant ---- */

int mp_choice_error(const struct mp_choice *ch, const char *text)
{
    fprintf(stderr, "%s: %s; %s --help says more\n", ch->verb, text, ch->verb);
    return MP_EXIT_USAGE;
}

int mp_choice_take(struct mp_choice *ch, const char *const *words, int n)
{
    for (int i = 0; i < n; i++) {
        if (isdigit((unsigned char)words[i][0]))
            ch->ids[ch->n_ids++] = words[i];
        else if (ch->function)
            return mp_choice_error(ch, "one function at a time");
        else
            ch->function = words[i];
    }
    return MP_EXIT_DONE;
}

/* /v1/PATH[/ID][WHAT] */
static void put_path(struct mp_buf *to, const char *path, const char *id,
                     const char *what)
{
    mp_buf_init(to, MP_TARGET_MAX);
    mp_buf_printf(to, "/v1/%s", path);
    if (id) {
        mp_buf_printf(to, "/");
        mp_request_put(to, mp_slice_str(id));
    }
    mp_buf_printf(to, "%s", what);
}

static void put_function(struct mp_buf *to, const struct mp_choice *ch)
{
    if (!ch->function)
        return;
    mp_buf_printf(to, "?function=");
    mp_request_put(to, mp_slice_str(ch->function));
}

int mp_choice_each(const struct mp_choice *ch, const char *path,
                   const char *list,
                   void (*each)(void *arg, const struct mp_tree *row),
                   void *arg)
{
    struct mp_buf target;
    int status;

    put_path(&target, path, NULL, "");
    put_function(&target, ch);
    status = mp_listing_each(ch->c, &target, list, each, arg);
    mp_buf_fini(&target);
    return status;
}

int mp_choice_change_one(const struct mp_choice *ch, const char *method,
                         const char *id, const char *what, long long *count)
{
    struct mp_buf target;
    int status;

    put_path(&target, ch->path, id, what);
    status = mp_listing_change(ch->c, method, &target, count);
    mp_buf_fini(&target);
    return status;
}

int mp_choice_change_all(const struct mp_choice *ch, const char *method,
                         const char *what, long long *count)
{
    struct mp_buf target;
    int status;

    put_path(&target, ch->path, NULL, what);
    put_function(&target, ch);
    status = mp_listing_change(ch->c, method, &target, count);
    mp_buf_fini(&target);
    return status;
}

/* ---- columns ---- */

/* What it takes on a terminal: code points, near enough. */
static unsigned width_of(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void mp_grid_init(struct mp_grid *g, const char *const *titles)
{
    *g = (struct mp_grid){0};
    mp_buf_init(&g->cells, 64 << 20);
    while (titles[g->columns])
        g->columns++;
    MP_ASSERT(g->columns <= MP_GRID_COLUMNS);
    for (unsigned i = 0; i < g->columns; i++)
        mp_grid_put(g, mp_slice_str(titles[i]));
}

void mp_grid_put(struct mp_grid *g, struct mp_slice text)
{
    size_t mark = g->cells.len;
    unsigned width, column = g->at++ % g->columns;

    if (text.len > MP_GRID_CELL) {
        mp_show_clean(mp_cut(text, MP_GRID_CELL), &g->cells);
        mp_buf_put(&g->cells, "...", 3);
    } else if (text.len) {
        mp_show_clean(text, &g->cells);
    }
    mp_buf_put(&g->cells, "", 1);
    if (g->cells.full)
        return;
    width = width_of(g->cells.ptr + mark);
    if (width > g->width[column])
        g->width[column] = width;
}

void mp_grid_printf(struct mp_grid *g, const char *fmt, ...)
{
    char text[MP_GRID_CELL];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    mp_grid_put(g, mp_slice_str(text));
}

bool mp_grid_empty(const struct mp_grid *g)
{
    return g->at <= g->columns;
}

void mp_grid_print(struct mp_grid *g, FILE *to)
{
    const char *cell = g->cells.ptr, *end = cell + g->cells.len;
    unsigned blanks = 0; /* before the next cell; none at the end of a row */

    for (unsigned i = 0; !mp_grid_empty(g) && cell < end; i++) {
        unsigned column = i % g->columns;
        bool last = column + 1 == g->columns;

        if (*cell) {
            fprintf(to, "%*s%s", (int)blanks, "", cell);
            blanks = 0;
        }
        blanks = last ? 0 : blanks + g->width[column] - width_of(cell) + 2;
        if (last)
            fputc('\n', to);
        cell += strlen(cell) + 1;
    }
    mp_buf_fini(&g->cells);
}

/* ---- words ---- */

void mp_span_text(double seconds, char text[MP_AGE_TEXT])
{
    static const struct {
        double seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}};

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (seconds >= 2 * units[i].seconds ||
            (i == 2 && seconds >= units[i].seconds)) {
            snprintf(text, MP_AGE_TEXT, "%.0f %s", seconds / units[i].seconds,
                     units[i].name);
            return;
        }
    }
    snprintf(text, MP_AGE_TEXT, "%.0f s", seconds > 0 ? seconds : 0);
}

void mp_age_text(struct mp_slice time, char text[MP_AGE_TEXT])
{
    char copy[MP_TIME_TEXT] = "", *rest;
    struct tm tm = {0};
    size_t len;

    if (time.len < sizeof copy)
        memcpy(copy, time.ptr ? time.ptr : "", time.len);
    rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest) {
        snprintf(text, MP_AGE_TEXT, "?");
        return;
    }
    mp_span_text((double)mp_wall_us() / (double)MP_SECOND - (double)timegm(&tm),
                 text);
    len = strlen(text);
    snprintf(text + len, MP_AGE_TEXT - len, " ago");
}
