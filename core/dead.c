/*
 * dead.c - groups of letters: the first ones as rows at once, then one that
 * moves.
 *
 * A group writes each of its first letters when it comes.  From then on only
 * the count grows, and the last letter is kept in memory; once a minute both
 * go to the database, the letter in the place of the one that was the last
 * before.  So what the database says of a group is true up to a minute, and
 * a sensor gone mad costs two rows a minute.
 *
 * A letter's id is never used again, and the last one has another each time:
 * ids grow with time, and the order of ids is the order of age.  When the
 * highest one goes, it is kept by name, for the next start.  After a start
 * the last of a group is its highest id, if its count is past the first ones.
 */
#include "core/dead.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/text.h"
#include "core/base/wire.h"

enum { LETTER_BYTES = 64 }; /* of a row, beside its texts: counted */

/* The highest id, once its letter is gone. */
#define KEPT_ID MP_S("dead_id")

#define MINUTE (60 * MP_SECOND)

/* A row of the database. */
struct row {
    struct mp_link link;
    int64_t id;
    struct mp_dead_group *group;
    uint64_t bytes;
};

/* What a row is made of; slices point behind it. */
struct last {
    int64_t id, time_us;
    uint32_t attempt;
    struct mp_slice error, traceback, event;
};

struct mp_dead_group {
    struct mp_link link;
    int64_t id;
    struct mp_slice fn, version, outcome, site; /* behind the structure */
    uint64_t count;
    int64_t first_us, last_us;
    unsigned rows;
    struct row *last_row; /* the row that the next last one replaces */
    struct last *last;    /* not written yet; or NULL */
    bool unsaved;         /* the count is not written yet */
    uint64_t *flash;
};

/* ---- the error site ---- */

/* Length of the place that text begins with, as Lua writes it: main.lua:6,
 * [string "name"]:1; 0: it doesn't. */
static size_t place_len(struct mp_slice text)
{
    bool chunk = *text.ptr == '[';
    const char *mark = chunk ? "\"]:" : ".lua:";
    const char *found = memmem(text.ptr, text.len, mark, strlen(mark));
    size_t at, digits;

    if (!found || (!chunk && memchr(text.ptr, ' ', (size_t)(found - text.ptr))))
        return 0;
    at = digits = (size_t)(found - text.ptr) + strlen(mark);
    while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9')
        at++;
    if (at == digits || at > MP_DEAD_SITE_MAX ||
        (at < text.len && text.ptr[at] != ':'))
        return 0;
    return at;
}

static bool has_digit(struct mp_slice word)
{
    for (size_t i = 0; i < word.len; i++) {
        if (word.ptr[i] >= '0' && word.ptr[i] <= '9')
            return true;
    }
    return false;
}

/* A blank before it, but for the first; cut to what there is room for. */
static size_t put_word(char *site, size_t len, struct mp_slice word)
{
    if (len)
        site[len++] = ' ';
    word = mp_cut(word, MP_DEAD_SITE_MAX - len);
    memcpy(site + len, word.ptr, word.len);
    return len + word.len;
}

size_t mp_dead_site(struct mp_slice error, char *site)
{
    size_t len = error.len ? place_len(error) : 0;
    struct mp_slice line = {0}, word;

    if (len) {
        memcpy(site, error.ptr, len);
        return len;
    }
    mp_split(&error, '\n', &line);
    while (len < MP_DEAD_SITE_MAX - 1 && mp_split(&line, ' ', &word)) {
        /* The whole word: it is a measure, a device's name or an address. */
        if (has_digit(word))
            word = MP_S("#");
        if (word.len)
            len = put_word(site, len, word);
    }
    return len;
}

/* ---- rows ---- */

static struct row *row_new(struct mp_dead_store *d, struct mp_dead_group *g,
                           int64_t id, uint64_t bytes)
{
    struct row *row = mp_alloc(sizeof *row);
    struct mp_link *after = d->letters.prev;

    *row = (struct row){.id = id, .group = g, .bytes = bytes};
    while (after != &d->letters && mp_of(after, struct row, link)->id > id)
        after = after->prev; /* a last one is written late */
    mp_list_prepend(after, &row->link);
    g->rows++;
    d->count++;
    d->bytes += bytes;
    return row;
}

static void row_free(struct mp_dead_store *d, struct row *row)
{
    if (row->group->last_row == row)
        row->group->last_row = NULL;
    row->group->rows--;
    d->count--;
    d->bytes -= row->bytes;
    mp_list_unlink(&row->link);
    free(row);
}

static void row_delete(struct mp_dead_store *d, struct mp_batch *b,
                       struct row *row)
{
    mp_batch_op(b, MP_SQL_DEAD_DELETE);
    mp_batch_int(b, row->id);
    row_free(d, row);
}

static uint64_t bytes_of(const struct last *l)
{
    return LETTER_BYTES + l->error.len + l->traceback.len + l->event.len;
}

static struct row *row_put(struct mp_dead_store *d, struct mp_batch *b,
                           struct mp_dead_group *g, const struct last *l)
{
    uint64_t bytes = bytes_of(l);

    mp_commit_grow(d->commit, mp_commit_row_cost(bytes));
    mp_batch_op(b, MP_SQL_DEAD_PUT);
    mp_batch_int(b, l->id);
    mp_batch_int(b, g->id);
    mp_batch_int(b, l->time_us);
    mp_batch_int(b, l->attempt);
    mp_batch_text(b, g->outcome);
    mp_batch_text(b, l->error);
    mp_batch_optional(b, l->traceback);
    mp_batch_int(b, (int64_t)bytes);
    mp_batch_blob(b, l->event);
    return row_new(d, g, l->id, bytes);
}

/* ---- groups ---- */

static void copy(struct mp_slice *to, struct mp_slice from, char **at)
{
    *to = mp_slice(*at, from.len);
    if (from.len)
        memcpy(*at, from.ptr, from.len);
    *at += from.len;
}

static struct mp_dead_group *group_new(struct mp_dead_store *d, int64_t id,
                                       struct mp_slice fn,
                                       struct mp_slice version,
                                       struct mp_slice site,
                                       struct mp_slice outcome)
{
    struct mp_dead_group *g =
        mp_zalloc(sizeof *g + fn.len + version.len + site.len + outcome.len);
    char *at = (char *)(g + 1);

    g->id = id;
    copy(&g->fn, fn, &at);
    copy(&g->version, version, &at);
    copy(&g->site, site, &at);
    copy(&g->outcome, outcome, &at);
    mp_list_append(&d->groups, &g->link);
    d->n_groups++;
    return g;
}

/* l: the group's own from now on, or NULL. */
static void set_last(struct mp_dead_store *d, struct mp_dead_group *g,
                     struct last *l)
{
    if (g->last) {
        d->n_last--;
        d->bytes -= bytes_of(g->last);
    }
    if (l) {
        d->n_last++;
        d->bytes += bytes_of(l);
    }
    free(g->last);
    g->last = l;
}

static void group_free(struct mp_dead_store *d, struct mp_dead_group *g)
{
    mp_list_unlink(&g->link);
    d->n_groups--;
    set_last(d, g, NULL);
    free(g);
}

static void group_put(struct mp_batch *b, const struct mp_dead_group *g)
{
    mp_batch_op(b, MP_SQL_DEAD_GROUP_PUT);
    mp_batch_int(b, g->id);
    mp_batch_text(b, g->fn);
    mp_batch_text(b, g->version);
    mp_batch_text(b, g->site);
    mp_batch_text(b, g->outcome);
    mp_batch_int(b, (int64_t)g->count);
    mp_batch_int(b, g->first_us);
    mp_batch_int(b, g->last_us);
}

/* With all its letters. */
static void group_delete(struct mp_dead_store *d, struct mp_batch *b,
                         struct mp_dead_group *g)
{
    mp_list_each_safe (at, &d->letters) {
        struct row *row = mp_of(at, struct row, link);

        if (row->group == g)
            row_delete(d, b, row);
    }
    mp_batch_op(b, MP_SQL_DEAD_GROUP_DELETE);
    mp_batch_int(b, g->id);
    group_free(d, g);
}

/* Groups that get letters move to the end, where they are looked for first;
 * so the first of the list is the one that had none for the longest. */
static struct mp_dead_group *group_find(struct mp_dead_store *d,
                                        const struct mp_letter *l,
                                        struct mp_slice site)
{
    struct mp_link *at = d->groups.prev;

    for (; at != &d->groups; at = at->prev) {
        struct mp_dead_group *g = mp_of(at, struct mp_dead_group, link);

        if (mp_slice_eq(g->site, site) && mp_slice_eq(g->fn, l->fn) &&
            mp_slice_eq(g->version, l->version) &&
            mp_slice_eq(g->outcome, l->outcome)) {
            mp_list_unlink(&g->link);
            mp_list_append(&d->groups, &g->link);
            return g;
        }
    }
    return NULL;
}

/* ---- bounds ---- */

/* Of those that are not written; NULL: there is none. */
static struct mp_dead_group *oldest_last(struct mp_dead_store *d)
{
    if (d->n_last)
        mp_list_each (at, &d->groups) {
            struct mp_dead_group *g = mp_of(at, struct mp_dead_group, link);

            if (g->last)
                return g;
        }
    return NULL;
}

static void evict_oldest(struct mp_dead_store *d)
{
    struct mp_dead_group *g = oldest_last(d);
    struct row *row = mp_list_empty(&d->letters)
                          ? NULL
                          : mp_of(d->letters.next, struct row, link);
    struct mp_batch *b;

    if (row && (!g || row->id < g->last->id)) {
        g = row->group;
        b = mp_commit_batch(d->commit);
        mp_batch_share(b, NULL);
        row_delete(d, b, row);
    } else {
        set_last(d, g, NULL);
    }
    if (g->rows || g->last)
        return;
    b = mp_commit_batch(d->commit);
    mp_batch_share(b, NULL);
    group_delete(d, b, g);
}

/* The oldest letters go, but never the newest one. */
static void evict(struct mp_dead_store *d)
{
    while (d->bytes > d->max_bytes && d->count + d->n_last > 1)
        evict_oldest(d);
}

static struct mp_dead_group *group_add(struct mp_dead_store *d,
                                       const struct mp_letter *l,
                                       struct mp_slice site)
{
    struct mp_batch *b = mp_commit_batch(d->commit);

    if (d->n_groups == MP_DEAD_GROUPS) {
        mp_batch_share(b, NULL);
        group_delete(d, b, mp_of(d->groups.next, struct mp_dead_group, link));
    }
    return group_new(d, d->next_group++, l->fn, l->version, site, l->outcome);
}

/* ---- adding ---- */

/* A last one of its own memory. */
static struct last *last_new(const struct last *from)
{
    struct last *l = mp_alloc(sizeof *l + from->error.len +
                              from->traceback.len + from->event.len);
    char *at = (char *)(l + 1);

    *l = *from;
    copy(&l->error, from->error, &at);
    if (from->traceback.ptr)
        copy(&l->traceback, from->traceback, &at);
    copy(&l->event, from->event, &at);
    return l;
}

static struct last letter_of(struct mp_dead_store *d, const struct mp_letter *l)
{
    mp_buf_reset(&d->event);
    mp_put_event(&d->event, l->event);
    MP_ASSERT(!d->event.full);
    return (struct last){
        .id = d->next_id++,
        .time_us = l->time_us,
        .attempt = l->attempt,
        .error = l->error.ptr ? l->error : MP_S(""),
        .traceback = l->traceback,
        .event = mp_buf_bytes(&d->event),
    };
}

/* Has the database room for it?  Else it is only counted, as if it were past
 * the first ones. */
static bool has_room(const struct mp_dead_store *d, const struct last *l)
{
    return mp_commit_has_room(d->commit, mp_commit_row_cost(bytes_of(l)));
}

uint64_t mp_dead_add(struct mp_dead_store *d, const struct mp_letter *letter,
                     int64_t *id)
{
    char text[MP_DEAD_SITE_MAX];
    struct mp_slice site = mp_slice(text, mp_dead_site(letter->error, text));
    struct mp_dead_group *g = group_find(d, letter, site);
    struct last l = letter_of(d, letter);
    struct mp_batch *b;

    if (!g)
        g = group_add(d, letter, site);
    if (!g->count)
        g->first_us = letter->time_us;
    g->last_us = letter->time_us;
    g->flash = letter->flash;
    *id = l.id;
    if (g->count++ >= MP_DEAD_FIRST || !has_room(d, &l)) {
        set_last(d, g, last_new(&l));
        g->unsaved = true;
        evict(d);
        return 0;
    }
    b = mp_commit_batch(d->commit);
    mp_batch_share(b, g->flash);
    row_put(d, b, g, &l);
    group_put(b, g);
    evict(d);
    return mp_commit_ticket(d->commit);
}

/* ---- counts ---- */

static void write_last(struct mp_dead_store *d, struct mp_batch *b,
                       struct mp_dead_group *g)
{
    if (g->last_row)
        row_delete(d, b, g->last_row);
    g->last_row = row_put(d, b, g, g->last);
    set_last(d, g, NULL);
}

static void write_group(struct mp_dead_store *d, struct mp_dead_group *g)
{
    struct mp_batch *b = mp_commit_batch(d->commit);

    mp_batch_share(b, g->flash);
    if (g->last && (g->last_row || has_room(d, g->last)))
        write_last(d, b, g);
    g->unsaved = g->last != NULL;
    if (g->rows || !g->last)
        group_put(b, g);
}

void mp_dead_flush(struct mp_dead_store *d)
{
    mp_list_each (at, &d->groups) {
        struct mp_dead_group *g = mp_of(at, struct mp_dead_group, link);

        if (g->unsaved)
            write_group(d, g);
    }
}

void mp_dead_tick(struct mp_dead_store *d, int64_t now_us)
{
    if (!d->written_us)
        d->written_us = now_us;
    if (now_us - d->written_us < MINUTE)
        return;
    d->written_us = now_us;
    mp_dead_flush(d);
}

/* Letters kept: the last one counts once, written or not. */
static unsigned letters(const struct mp_dead_group *g)
{
    return g->rows + (g->last && !g->last_row);
}

/* ---- dropping ---- */

static void keep_id(struct mp_batch *b, int64_t id)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%lld", (long long)id);

    mp_batch_share(b, NULL);
    mp_batch_op(b, MP_SQL_KEPT_PUT);
    mp_batch_text(b, KEPT_ID);
    mp_batch_blob(b, mp_slice(text, (size_t)len));
}

/* Letters were dropped: the highest id may be told by none any more. */
static void keep_highest(struct mp_dead_store *d)
{
    int64_t highest = d->next_id - 1;

    if (d->kept_id == highest ||
        (!mp_list_empty(&d->letters) &&
         mp_of(d->letters.prev, struct row, link)->id == highest))
        return;
    d->kept_id = highest;
    keep_id(mp_commit_batch(d->commit), highest);
}

/* A letter of the group was dropped. */
static void dropped(struct mp_dead_store *d, struct mp_batch *b,
                    struct mp_dead_group *g)
{
    g->count--;
    mp_batch_share(b, NULL);
    if (!g->rows && !g->last) {
        group_delete(d, b, g);
        return;
    }
    g->unsaved = g->last != NULL;
    group_put(b, g);
}

static bool drop_row(struct mp_dead_store *d, int64_t id)
{
    mp_list_each (at, &d->letters) {
        struct row *row = mp_of(at, struct row, link);
        struct mp_dead_group *g = row->group;
        struct mp_batch *b;

        if (row->id != id)
            continue;
        b = mp_commit_batch(d->commit);
        mp_batch_share(b, NULL);
        row_delete(d, b, row);
        dropped(d, b, g);
        return true;
    }
    return false;
}

static bool drop_last(struct mp_dead_store *d, int64_t id)
{
    mp_list_each (at, &d->groups) {
        struct mp_dead_group *g = mp_of(at, struct mp_dead_group, link);

        if (!g->last || g->last->id != id)
            continue;
        set_last(d, g, NULL);
        dropped(d, mp_commit_batch(d->commit), g);
        return true;
    }
    return false;
}

unsigned mp_dead_drop(struct mp_dead_store *d, int64_t id)
{
    bool found = drop_row(d, id) || drop_last(d, id);

    if (found)
        keep_highest(d);
    return found;
}

unsigned mp_dead_drop_all(struct mp_dead_store *d, struct mp_slice fn)
{
    unsigned n = 0;

    mp_list_each_safe (at, &d->groups) {
        struct mp_dead_group *g = mp_of(at, struct mp_dead_group, link);
        struct mp_batch *b;

        if (fn.len && !mp_slice_eq(g->fn, fn))
            continue;
        n += letters(g);
        b = mp_commit_batch(d->commit);
        mp_batch_share(b, NULL);
        group_delete(d, b, g);
    }
    if (n)
        keep_highest(d);
    return n;
}

void mp_dead_of(const struct mp_dead_store *d, struct mp_slice fn,
                uint64_t *kept, uint64_t *counted)
{
    *kept = *counted = 0;
    mp_list_each (at, &d->groups) {
        const struct mp_dead_group *g = mp_of(at, struct mp_dead_group, link);

        if (!mp_slice_eq(g->fn, fn))
            continue;
        *kept += letters(g);
        *counted += g->count;
    }
}

/* ---- life ---- */

void mp_dead_init(struct mp_dead_store *d, struct mp_commit *commit,
                  uint64_t max_bytes)
{
    *d = (struct mp_dead_store){
        .commit = commit,
        .max_bytes = max_bytes,
        .next_id = 1,
        .next_group = 1,
    };
    mp_list_init(&d->groups);
    mp_list_init(&d->letters);
    mp_buf_init(&d->event, MP_FRAME_MAX);
}

void mp_dead_reset(struct mp_dead_store *d)
{
    mp_list_each_safe (letter, &d->letters) {
        row_free(d, mp_of(letter, struct row, link));
    }
    mp_list_each_safe (group, &d->groups) {
        group_free(d, mp_of(group, struct mp_dead_group, link));
    }
}

void mp_dead_fini(struct mp_dead_store *d)
{
    mp_dead_reset(d);
    mp_buf_fini(&d->event);
}

static int load_groups(struct mp_dead_store *d, struct mp_db *db,
                       struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_DEAD_GROUPS);
    struct mp_dead_group *g;
    int rc;

    while ((rc = mp_query_step(q, why)) == 1) {
        g = group_new(d, mp_column_int(q, 0), mp_column_bytes(q, 1),
                      mp_column_bytes(q, 2), mp_column_bytes(q, 3),
                      mp_column_bytes(q, 4));
        g->count = (uint64_t)mp_column_int(q, 5);
        g->first_us = mp_column_int(q, 6);
        g->last_us = mp_column_int(q, 7);
        if (g->id >= d->next_group)
            d->next_group = g->id + 1;
    }
    mp_query_end(q);
    return rc;
}

static int compare_id(const void *key, const void *element)
{
    int64_t id = *(const int64_t *)key;
    const struct mp_dead_group *g =
        *(const struct mp_dead_group *const *)element;

    return id < g->id ? -1 : id > g->id;
}

/* by_id: the groups, sorted.  A letter of no group is nobody's to see. */
static int load_letters(struct mp_dead_store *d, struct mp_db *db,
                        struct mp_dead_group **by_id, struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_DEAD_INDEX);
    int rc;

    while ((rc = mp_query_step(q, why)) == 1) {
        int64_t id = mp_column_int(q, 0), grp = mp_column_int(q, 1);
        struct mp_dead_group **g =
            bsearch(&grp, by_id, d->n_groups, sizeof(void *), compare_id);
        struct row *row;

        if (id >= d->next_id)
            d->next_id = id + 1;
        if (!g)
            continue;
        row = row_new(d, *g, id, (uint64_t)mp_column_int(q, 2));
        if ((*g)->count > MP_DEAD_FIRST)
            (*g)->last_row = row;
    }
    mp_query_end(q);
    return rc;
}

static int load_id(struct mp_dead_store *d, struct mp_db *db,
                   struct mp_why *why)
{
    struct mp_query *q = mp_query_begin(db, MP_SQL_KEPT_GET);
    char text[24];
    int rc;

    d->kept_id = 0;
    mp_query_text(q, KEPT_ID);
    if ((rc = mp_query_step(q, why)) == 1) {
        snprintf(text, sizeof text, "%.*s", MP_FMT(mp_column_bytes(q, 0)));
        d->kept_id = strtoll(text, NULL, 10);
        rc = 0;
    }
    mp_query_end(q);
    if (d->kept_id >= d->next_id && d->kept_id < INT64_MAX)
        d->next_id = d->kept_id + 1;
    return rc;
}

int mp_dead_load(struct mp_dead_store *d, struct mp_db *db, struct mp_why *why)
{
    struct mp_dead_group **by_id;
    size_t n = 0;
    int rc = load_id(d, db, why);

    if (rc || (rc = load_groups(d, db, why)))
        return rc;
    by_id = mp_alloc((d->n_groups + 1) * sizeof(void *));
    mp_list_each (at, &d->groups) {
        by_id[n++] = mp_of(at, struct mp_dead_group, link);
    }
    rc = load_letters(d, db, by_id, why);
    free(by_id);
    return rc;
}
