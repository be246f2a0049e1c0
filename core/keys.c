/*
 * keys.c - reading by the table.
 *
 * What is common to all values is here: unknown words and the nearest right
 * one, values given twice, empty ones that bring the default back, and what
 * comes with a later release but is a known word already.
 */
#include "core/keys.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "core/config.h"
#include "core/secrets.h"

enum { WORDS_MAX = 64, VALUE_SHOWN = 120 };

struct mp_given *mp_given_new(const struct mp_table *table)
{
    return mp_zalloc(table->n_keys * sizeof(struct mp_given));
}

static void drop_items(struct mp_given *g)
{
    for (unsigned i = 0; i < g->n_items; i++)
        free(g->items[i].text);
    free(g->items);
    g->items = NULL;
    g->n_items = 0;
}

void mp_given_free(const struct mp_table *table, struct mp_given *given)
{
    for (size_t i = 0; given && i < table->n_keys; i++) {
        drop_items(&given[i]);
        free(given[i].text);
    }
    free(given);
}

/* Tell what comes later.  True: that was a mistake. */
static void tell_later(const struct mp_keys *k, unsigned line, const char *what)
{
    if (k->table->later_is_fine)
        mp_report_warning(k->report, k->file, line,
                          "%s with a later release; this does nothing yet",
                          what);
    else
        mp_report_mistake(k->report, k->file, line, "%s with a later release",
                          what);
}

static const char *meant(struct mp_slice word, const char *const *words,
                         size_t n, char text[64])
{
    const char *near = mp_nearest(word, words, n);

    text[0] = '\0';
    if (near)
        snprintf(text, 64, "; did you mean '%s'?", near);
    return text;
}

const struct mp_section *mp_keys_section(const struct mp_keys *k,
                                         const struct mp_ini_section *s)
{
    const struct mp_table *t = k->table;
    const char *words[WORDS_MAX];
    char near[64];

    MP_ASSERT(t->n_sections <= WORDS_MAX);
    for (size_t i = 0; i < t->n_sections; i++) {
        const struct mp_section *found = &t->sections[i];

        words[i] = found->name;
        if (strcmp(s->kind, found->name) != 0)
            continue;
        if (*s->name && !found->named) {
            mp_report_mistake(k->report, k->file, s->line,
                              "[%s %s]: [%s] takes no name", s->kind, s->name,
                              s->kind);
            return NULL;
        }
        if (found->later)
            tell_later(k, s->line, found->later);
        return found;
    }
    meant(mp_slice_str(s->kind), words, t->n_sections, near);
    mp_report_mistake(k->report, k->file, s->line, "unknown section [%s]%s",
                      s->kind, near);
    return NULL;
}

/* ---- scalars ---- */

static void put_number(const struct mp_key *key, void *base, uint64_t n)
{
    char *to = (char *)base + key->at;
    uint32_t n32 = (uint32_t)n;
    uint8_t n8 = (uint8_t)n;

    switch (key->width) {
    case 0:
        break;
    case 1:
        MP_ASSERT(n <= UINT8_MAX);
        memcpy(to, &n8, 1);
        break;
    case 4:
        MP_ASSERT(n <= UINT32_MAX);
        memcpy(to, &n32, 4);
        break;
    default:
        MP_ASSERT(key->width == 8);
        memcpy(to, &n, 8);
    }
}

static void put_text(const struct mp_key *key, void *base, char *text)
{
    char *old;

    if (!key->width) {
        free(text);
        return;
    }
    MP_ASSERT(key->width == sizeof old);
    memcpy(&old, (char *)base + key->at, sizeof old);
    free(old);
    memcpy((char *)base + key->at, &text, sizeof text);
}

/* "a, b or c" of a key's words, without those that come later. */
static void list_words(const struct mp_key *key, char *text, size_t size)
{
    struct mp_slice rest = mp_slice_str(key->words), word;
    size_t len = 0;

    text[0] = '\0';
    while (mp_split(&rest, ' ', &word)) {
        if (mp_ends(word, "!"))
            continue;
        len += (size_t)snprintf(text + len, size - len, "%s%.*s",
                                len ? ", " : "", MP_FMT(word));
        MP_ASSERT(len < size);
    }
}

static int parse_choice(const struct mp_key *key, struct mp_slice v,
                        uint64_t *n, struct mp_why *why)
{
    struct mp_slice rest = mp_slice_str(key->words), word;
    char all[160];

    for (*n = 0; mp_split(&rest, ' ', &word); ++*n) {
        bool later = mp_ends(word, "!");

        word.len -= later;
        if (!mp_slice_eq(word, v))
            continue;
        if (later)
            return mp_why_set(why, MP_EDENY, "comes with a later release");
        return 0;
    }
    list_words(key, all, sizeof all);
    return mp_why_set(why, MP_EPARSE, "one of %s", all);
}

/* 64K, 15m or 100: a bound as the user would write it. */
static const char *bound(const struct mp_key *key, int64_t n, char text[24])
{
    static const struct {
        int64_t n;
        const char *unit;
    } sizes[] = {{1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}, {1, ""}},
      times[] = {{INT64_C(86400000000), "d"},
                 {INT64_C(3600000000), "h"},
                 {60000000, "m"},
                 {1000000, "s"},
                 {1000, "ms"}};
    size_t i = 0;

    if (n == 0 || key->type == MP_T_NUMBER) {
        snprintf(text, 24, "%lld", (long long)n);
    } else if (key->type == MP_T_DURATION) {
        while (i + 1 < ARRAY_LEN(times) && n % times[i].n)
            i++;
        snprintf(text, 24, "%lld%s", (long long)(n / times[i].n),
                 times[i].unit);
    } else {
        while (n % sizes[i].n)
            i++;
        snprintf(text, 24, "%lld%s", (long long)(n / sizes[i].n),
                 sizes[i].unit);
    }
    return text;
}

static int check_range(const struct mp_key *key, uint64_t n, struct mp_why *why)
{
    char least[24], most[24];

    if (n >= (uint64_t)key->min && (!key->max || n <= (uint64_t)key->max))
        return 0;
    bound(key, key->min, least);
    bound(key, key->max, most);
    if (!key->max)
        return mp_why_set(why, MP_ERANGE, "%s at least", least);
    return mp_why_set(why, MP_ERANGE, "from %s to %s", least, most);
}

static int parse_number(const struct mp_key *key, struct mp_slice v,
                        uint64_t *n, struct mp_why *why)
{
    bool on = false;
    int64_t us = 0;
    int rc;

    switch (key->type) {
    case MP_T_SIZE:
        rc = mp_parse_size(v, n, why);
        break;
    case MP_T_PERCENT:
        rc = mp_parse_percent(v, n, why);
        break;
    case MP_T_DURATION:
        rc = mp_parse_duration(v, &us, why);
        *n = (uint64_t)us;
        break;
    case MP_T_SWITCH:
        rc = mp_parse_switch(v, &on, why);
        *n = on;
        break;
    case MP_T_CHOICE:
        rc = parse_choice(key, v, n, why);
        break;
    default:
        rc = mp_parse_number(v, n, why);
    }
    if (!rc && key->type != MP_T_SWITCH && key->type != MP_T_CHOICE)
        rc = check_range(key, *n, why);
    return rc;
}

/* A whole value of any type but a list: check it and write it into base. */
static int put_value(const struct mp_key *key, struct mp_slice v, void *base,
                     struct mp_why *why)
{
    uint32_t per;
    int64_t every;
    char *text = NULL;
    uint64_t n;
    int rc;

    switch (key->type) {
    case MP_T_TEXT:
    case MP_T_PATH:
        rc = key->check ? key->check(v, why) : 0;
        if (!rc)
            put_text(key, base, mp_strndup(v.ptr, v.len));
        return rc;
    case MP_T_SECRET:
        rc = mp_parse_secret(v, &text, why);
        if (!rc && key->check)
            rc = key->check(mp_slice_str(text), why);
        if (!rc)
            put_text(key, base, text);
        else
            mp_secret_free(text);
        return rc;
    case MP_T_RATE:
        return mp_parse_rate(v, &per, &every, why);
    default:
        rc = parse_number(key, v, &n, why);
        if (!rc)
            put_number(key, base, n);
        return rc;
    }
}

static void put_default(const struct mp_key *key, void *base)
{
    struct mp_why why;
    bool text = key->type == MP_T_TEXT || key->type == MP_T_PATH ||
                key->type == MP_T_SECRET;

    if (key->type == MP_T_LIST || !key->width)
        return;
    if (key->def)
        MP_ASSERT(put_value(key, mp_slice_str(key->def), base, &why) == 0);
    else if (text)
        put_text(key, base, NULL);
    else
        put_number(key, base, 0);
}

void mp_keys_defaults(const struct mp_table *table, const char *section,
                      void *base)
{
    for (size_t i = 0; i < table->n_keys; i++) {
        if (strcmp(table->keys[i].section, section) == 0)
            put_default(&table->keys[i], base);
    }
}

void mp_keys_free(const struct mp_table *table, const char *section, void *base)
{
    for (size_t i = 0; i < table->n_keys; i++) {
        const struct mp_key *key = &table->keys[i];

        if (strcmp(key->section, section) == 0 && key->width &&
            (key->type == MP_T_TEXT || key->type == MP_T_PATH ||
             key->type == MP_T_SECRET))
            put_text(key, base, NULL);
    }
}

/* ---- lists ---- */

/* The next item: up to a comma that stands outside of double quotes. */
static bool next_item(struct mp_slice *rest, struct mp_slice *item)
{
    bool quoted = false;
    size_t i = 0;

    if (!rest->ptr)
        return false;
    for (; i < rest->len && (quoted || rest->ptr[i] != ','); i++)
        quoted ^= rest->ptr[i] == '"';
    *item = mp_trim(mp_slice(rest->ptr, i));
    if (item->len >= 2 && item->ptr[0] == '"' &&
        item->ptr[item->len - 1] == '"')
        *item = mp_slice(item->ptr + 1, item->len - 2);
    if (i == rest->len)
        *rest = mp_slice(NULL, 0);
    else
        *rest = mp_slice(rest->ptr + i + 1, rest->len - i - 1);
    return true;
}

static void put_item(struct mp_given *g, struct mp_slice item, unsigned line)
{
    g->items = mp_realloc(g->items, (g->n_items + 1) * sizeof *g->items);
    g->items[g->n_items++] =
        (struct mp_item){mp_strndup(item.ptr, item.len), line};
}

static int put_items(const struct mp_key *key, struct mp_slice v, unsigned line,
                     struct mp_given *g, struct mp_why *why)
{
    enum { ITEMS_MAX = 1000 };
    struct mp_slice item;

    while (next_item(&v, &item)) {
        int rc = item.len ? 0 : mp_why_set(why, MP_EPARSE, "an empty item");

        if (!rc && g->n_items == ITEMS_MAX)
            rc = mp_why_set(why, MP_EFULL, "more than %d items", ITEMS_MAX);
        if (!rc && key->check)
            rc = key->check(item, why);
        if (rc)
            return rc;
        put_item(g, item, line);
    }
    return 0;
}

/* ---- one line ---- */

static size_t find_key(const struct mp_keys *k, const char *section,
                       unsigned line, const char *name)
{
    const struct mp_table *t = k->table;
    const char *words[WORDS_MAX];
    size_t n = 0;
    struct mp_why why;
    char near[64];

    for (size_t i = 0; i < t->n_keys; i++) {
        const struct mp_key *key = &t->keys[i];

        if (strcmp(key->section, section) != 0)
            continue;
        if (!key->name) { /* any name of the right form */
            if (key->check(mp_slice_str(name), &why) == 0)
                return i;
            mp_report_mistake(k->report, k->file, line, "%s: %s", name,
                              why.text);
            return t->n_keys;
        }
        if (strcmp(key->name, name) == 0)
            return i;
        MP_ASSERT(n < WORDS_MAX);
        words[n++] = key->name;
    }
    meant(mp_slice_str(name), words, n, near);
    mp_report_mistake(k->report, k->file, line, "unknown key '%.*s' in [%s]%s",
                      MP_FMT(mp_cut(mp_slice_str(name), VALUE_SHOWN)), section,
                      near);
    return t->n_keys;
}

/* Is it there already in this file?  Files that come later may say it anew. */
static bool given_twice(const struct mp_keys *k, const struct mp_key *key,
                        const struct mp_given *g, unsigned line)
{
    if (key->type == MP_T_LIST || key->type == MP_T_LINE || !g->file ||
        strcmp(g->file, k->file) != 0)
        return false;
    mp_report_mistake(k->report, k->file, line,
                      "%s is given twice; the first is in line %u", key->name,
                      g->line);
    return true;
}

/* Where a value is bad, a comment that isn't one may be why.  In a list a #
 * is most often a wildcard: there it counts behind a blank only. */
static const char *comment_hint(const struct mp_key *key, struct mp_slice v)
{
    bool likely = mp_has(v, ';');

    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] == '#' &&
            (key->type != MP_T_LIST || (i && v.ptr[i - 1] == ' ')))
            likely = true;
    }
    return likely ? "; a comment after a value starts with ' ;'" : "";
}

static void tell_bad(const struct mp_keys *k, const struct mp_key *key,
                     unsigned line, struct mp_slice v, const struct mp_why *why)
{
    if (key->type == MP_T_SECRET)
        mp_report_mistake(k->report, k->file, line, "%s: %s", key->name,
                          why->text);
    else
        mp_report_mistake(k->report, k->file, line, "%s = %.*s: %s%s",
                          key->name, MP_FMT(mp_cut(v, VALUE_SHOWN)), why->text,
                          comment_hint(key, v));
}

void mp_keys_bad(const struct mp_keys *k, const struct mp_given *g,
                 const struct mp_item *item, const struct mp_why *why)
{
    tell_bad(k, &k->table->keys[g - k->given], item->line,
             mp_slice_str(item->text), why);
}

void mp_keys_take(struct mp_keys *k, const char *section, unsigned line,
                  const char *name, const char *value, void *base)
{
    size_t at = find_key(k, section, line, name);
    struct mp_slice v = mp_slice_str(value);
    const struct mp_key *key;
    struct mp_given *g;
    struct mp_why why;
    int rc = 0;

    if (at == k->table->n_keys)
        return;
    key = &k->table->keys[at];
    g = &k->given[at];
    if (!key->name) /* the caller keeps these */
        return;
    if (v.len && given_twice(k, key, g, line))
        return;
    free(g->text);
    g->text = mp_strndup(value, v.len);
    g->file = k->file;
    g->line = line;
    if (!v.len) {
        drop_items(g);
        put_default(key, base);
        g->file = NULL;
        return;
    }
    if (key->later) /* known, and not beyond its check */
        rc = key->check && key->type != MP_T_LIST ? key->check(v, &why) : 0;
    else if (key->type == MP_T_LIST)
        rc = put_items(key, v, line, g, &why);
    else if (key->type == MP_T_LINE)
        put_item(g, v, line);
    else
        rc = put_value(key, v, base, &why);
    if (!rc && key->later)
        tell_later(k, line, key->later);
    if (rc)
        tell_bad(k, key, line, v, &why);
}

const struct mp_given *mp_keys_given(const struct mp_keys *k,
                                     const char *section, const char *name)
{
    for (size_t i = 0; i < k->table->n_keys; i++) {
        const struct mp_key *key = &k->table->keys[i];

        if (strcmp(key->section, section) == 0 && key->name &&
            strcmp(key->name, name) == 0)
            return &k->given[i];
    }
    MP_ASSERT(!"a key of the table");
}

/* ---- help ---- */

enum { HELP_COLUMNS = 80, HELP_INDENT = 16, HELP_TEXT = 512 };

/* Stands for a blank where no line is to end. */
static const char GLUE = '\1';

/* Words, from column `at` on; further lines are indented. */
static void put_wrapped(struct mp_buf *out, size_t at, struct mp_slice text)
{
    struct mp_slice word;
    bool first = true;

    while (mp_split(&text, ' ', &word)) {
        if (!first && at + 1 + word.len > HELP_COLUMNS) {
            mp_buf_printf(out, "\n%*s", HELP_INDENT, "");
            at = HELP_INDENT;
        } else if (!first) {
            mp_buf_put(out, " ", 1);
            at++;
        }
        for (size_t i = 0; i < word.len; i++)
            mp_buf_put(out, word.ptr[i] == GLUE ? " " : &word.ptr[i], 1);
        at += word.len;
        first = false;
    }
    mp_buf_put(out, "\n", 1);
}

/* What is written as it stands there goes into one line. */
static void put_example(struct mp_buf *out, const char *text)
{
    mp_buf_printf(out, "; as%cin:%c", GLUE, GLUE);
    for (; *text; text++)
        mp_buf_put(out, *text == ' ' ? &GLUE : text, 1);
}

static void help_value(const struct mp_key *key, struct mp_buf *out)
{
    static const char *const types[MP_TYPES] = {
        [MP_T_TEXT] = "text",         [MP_T_PATH] = "path",
        [MP_T_SECRET] = "secret",     [MP_T_SIZE] = "size",
        [MP_T_NUMBER] = "number",     [MP_T_PERCENT] = "percent",
        [MP_T_DURATION] = "duration", [MP_T_SWITCH] = "yes or no",
        [MP_T_RATE] = "rate",         [MP_T_LIST] = "list",
        [MP_T_LINE] = "line",
    };
    char text[160], least[24], most[24];

    if (key->type == MP_T_CHOICE) {
        list_words(key, text, sizeof text);
        mp_buf_printf(out, "one of %s", text);
        return;
    }
    mp_buf_printf(out, "%s", types[key->type]);
    if (key->max)
        mp_buf_printf(out, " from %s to %s", bound(key, key->min, least),
                      bound(key, key->max, most));
    else if (key->min)
        mp_buf_printf(out, ", %s at least", bound(key, key->min, least));
}

static void help_key(const struct mp_key *key, struct mp_buf *out)
{
    const char *def = key->shown ? key->shown : key->def;
    struct mp_buf value;

    mp_buf_printf(out, "  %-13s ", key->name ? key->name : "NAME");
    put_wrapped(out, HELP_INDENT, mp_slice_str(key->help));
    mp_buf_init(&value, HELP_TEXT);
    help_value(key, &value);
    if (def)
        mp_buf_printf(&value, "; default: %s", def);
    if (key->example)
        put_example(&value, key->example);
    if (key->later)
        mp_buf_printf(&value, " (later)");
    mp_buf_printf(out, "%*s", HELP_INDENT, "");
    put_wrapped(out, HELP_INDENT, mp_buf_bytes(&value));
    mp_buf_fini(&value);
}

static void help_section(const struct mp_section *section, const char *file,
                         struct mp_buf *out)
{
    char head[64];
    int len = snprintf(head, sizeof head, "[%s]  ", section->name);

    mp_buf_printf(out, "%s", head);
    if (file)
        len += snprintf(head, sizeof head, "of %s: ", file);
    if (file)
        mp_buf_printf(out, "%s", head);
    if (section->later) {
        struct mp_buf text;

        mp_buf_init(&text, HELP_TEXT);
        mp_buf_printf(&text, "%s (later)", section->help);
        put_wrapped(out, (size_t)len, mp_buf_bytes(&text));
        mp_buf_fini(&text);
    } else {
        put_wrapped(out, (size_t)len, mp_slice_str(section->help));
    }
}

void mp_keys_help(const struct mp_table *t, struct mp_buf *out)
{
    for (size_t s = 0; s < t->n_sections; s++) {
        const struct mp_section *section = &t->sections[s];

        if (s)
            mp_buf_put(out, "\n", 1);
        help_section(section, NULL, out);
        for (size_t i = 0; i < t->n_keys; i++) {
            if (strcmp(t->keys[i].section, section->name) == 0)
                help_key(&t->keys[i], out);
        }
    }
}

bool mp_keys_help_word(const struct mp_table *t, const char *file,
                       const char *word, struct mp_buf *out)
{
    bool any = false;

    for (size_t s = 0; s < t->n_sections; s++) {
        const struct mp_section *section = &t->sections[s];
        bool whole = strcmp(section->name, word) == 0, head = whole;

        if (whole)
            help_section(section, file, out);
        for (size_t i = 0; i < t->n_keys; i++) {
            const struct mp_key *key = &t->keys[i];

            if (strcmp(key->section, section->name) != 0 ||
                (!whole && (!key->name || strcmp(key->name, word) != 0)))
                continue;
            if (!head)
                help_section(section, file, out);
            head = true;
            help_key(key, out);
        }
        any |= head;
    }
    return any;
}
