/*
 * ini.c - the one door to libinih.
 *
 * libinih splits lines well but forgives too much: it gives no line numbers,
 * splits long lines, cuts section names, drops what it doesn't understand and
 * says nothing of a section without lines.  So it never sees the file.  We
 * feed it line by line; before each we check that the one before brought the
 * call it should have, and what is bad is told and replaced by an empty line.
 * Section lines are noted here and only passed on.
 *
 *   take_line    next line of the bytes, checked, into libinih's buffer
 *   got_pair     libinih understood it: key and value
 *   settle       the line brought no call: it is none of ours
 */
#include "core/ini.h"

#include <ini.h>
#include <stdlib.h>

#include "core/base/text.h"
#include "core/base/utf8.h"

enum {
    LINE_MAX_BYTES = 1000,
    LIBRARY_LINE = 1024, /* libinih's buffer: a line, CR, LF and NUL */
    SECTION_MAX = 49,    /* libinih cuts longer ones */
};

struct reading {
    struct mp_ini *ini;
    struct mp_slice rest; /* ptr NULL: at the end */
    const char *file;
    struct mp_report *report;
    unsigned line;
    bool expecting; /* a call for this line */
    bool in_section, skipping;
};

static void mistake(struct reading *r, const char *what)
{
    mp_report_mistake(r->report, r->file, r->line, "%s", what);
}

static void settle(struct reading *r)
{
    if (r->expecting)
        mistake(r, "not 'key = value', [section] or a comment");
    r->expecting = false;
}

/* What no line may hold, whatever it is. */
static const char *bad_bytes(struct mp_slice line)
{
    if (line.len > LINE_MAX_BYTES)
        return "a line of more than 1000 bytes";
    if (mp_has(line, '\0'))
        return "a NUL byte; is this a text file?";
    if (!mp_utf8_valid(line))
        return "not UTF-8";
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.ptr[i];

        if ((c < ' ' && c != '\t') || c == 0x7f)
            return "a control byte";
    }
    return NULL;
}

static void add_section(struct reading *r, struct mp_slice title)
{
    struct mp_ini *ini = r->ini;
    struct mp_ini_section *s;
    size_t kind = 0;
    struct mp_slice name;

    while (kind < title.len && title.ptr[kind] != ' ' &&
           title.ptr[kind] != '\t')
        kind++;
    name = mp_trim(mp_slice(title.ptr + kind, title.len - kind));
    if ((ini->n_sections & (ini->n_sections - 1)) == 0)
        ini->sections =
            mp_realloc(ini->sections,
                       sizeof *ini->sections *
                           (ini->n_sections ? 2 * (size_t)ini->n_sections : 1));
    s = &ini->sections[ini->n_sections++];
    *s = (struct mp_ini_section){
        .kind = mp_strndup(title.ptr, kind),
        .name = mp_strndup(name.ptr, name.len),
        .line = r->line,
    };
}

static const char *bad_section(struct mp_slice line, struct mp_slice *title)
{
    const char *close = memchr(line.ptr, ']', line.len);
    struct mp_slice after;

    if (!close)
        return "a section without ']'";
    *title = mp_trim(mp_slice(line.ptr + 1, (size_t)(close - line.ptr) - 1));
    after = mp_slice(close + 1, line.len - (size_t)(close + 1 - line.ptr));
    if (!title->len)
        return "a section without a name";
    if (title->len > SECTION_MAX)
        return "a section's name of more than 49 bytes";
    if (mp_trim(after).len &&
        (mp_trim(after).ptr == after.ptr || mp_trim(after).ptr[0] != ';'))
        return "text behind ']'; a comment there starts with ' ;'";
    return NULL;
}

/* Check one line; false: libinih gets an empty one in its place. */
static bool check_line(struct reading *r, struct mp_slice line)
{
    const char *bad = bad_bytes(line);
    struct mp_slice title;

    line = mp_trim(line);
    if (!bad && (!line.len || line.ptr[0] == '#' || line.ptr[0] == ';'))
        return false;
    if (!bad && line.ptr[0] == '[') {
        bad = bad_section(line, &title);
        r->in_section = true;
        r->skipping = bad != NULL;
        if (!bad)
            add_section(r, title);
        else
            mistake(r, bad);
        return !bad;
    }
    if (bad) {
        mistake(r, bad);
        return false;
    }
    if (r->skipping)
        return false;
    if (!r->in_section) {
        mistake(r, "stands before any [section]");
        return false;
    }
    for (size_t i = 0; i < line.len && line.ptr[i] != '='; i++) {
        if (line.ptr[i] == ':') {
            mistake(r, "key and value are parted by '=', not by ':'");
            return false;
        }
    }
    r->expecting = true;
    return true;
}

/* libinih's fgets: one call, one line. */
static char *take_line(char *to, int size, void *stream)
{
    struct reading *r = stream;
    struct mp_slice line;

    settle(r);
    if (!mp_split(&r->rest, '\n', &line))
        return NULL;
    r->line++;
    if (r->line == 1 && mp_starts(line, "\xef\xbb\xbf"))
        line = mp_slice(line.ptr + 3, line.len - 3);
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (!check_line(r, line))
        line.len = 0;
    MP_ASSERT(size > 0 && line.len + 2 <= (size_t)size);
    if (line.len)
        memcpy(to, line.ptr, line.len);
    memcpy(to + line.len, "\n", 2);
    return to;
}

static bool odd_quotes(const char *value)
{
    bool odd = false;

    for (; *value; value++)
        odd ^= *value == '"';
    return odd;
}

static int got_pair(void *user, const char *section, const char *key,
                    const char *value)
{
    struct reading *r = user;
    struct mp_ini_section *s;

    (void)section; /* cut by libinih; ours is whole */
    r->expecting = false;
    MP_ASSERT(r->ini->n_sections);
    s = &r->ini->sections[r->ini->n_sections - 1];
    if (!*key) {
        mistake(r, "a value without a key");
        return 1;
    }
    if (odd_quotes(value)) {
        mistake(r, "an odd number of \"; did a comment cut the value?");
        return 1;
    }
    if ((s->n_lines & (s->n_lines - 1)) == 0)
        s->lines =
            mp_realloc(s->lines, sizeof *s->lines *
                                     (s->n_lines ? 2 * (size_t)s->n_lines : 1));
    s->lines[s->n_lines++] = (struct mp_ini_line){
        .key = mp_strndup(key, strlen(key)),
        .value = mp_strndup(value, strlen(value)),
        .line = r->line,
    };
    return 1;
}

void mp_ini_read(struct mp_ini *ini, const char *file, struct mp_slice bytes,
                 struct mp_report *report)
{
    struct reading r = {
        .ini = ini,
        .rest = bytes.len ? bytes : (struct mp_slice){NULL, 0},
        .file = file,
        .report = report,
    };

    *ini = (struct mp_ini){.sections = NULL};
    /* Else an indented 'key = value' becomes part of the value above. */
    ini_allow_multiline = false;
    ini_allow_inline_comments = true;
    ini_allow_no_value = false;
    ini_stop_on_first_error = false;
    /* The buffer is as long as a line may get: no line comes in two. */
    ini_use_stack = false;
    ini_allow_realloc = true;
    ini_initial_alloc = LIBRARY_LINE;
    ini_max_line = LIBRARY_LINE;
    if (ini_parse_stream(take_line, &r, got_pair, &r) == -2)
        mp_oom(LIBRARY_LINE);
    settle(&r);
}

void mp_ini_fini(struct mp_ini *ini)
{
    for (unsigned i = 0; i < ini->n_sections; i++) {
        struct mp_ini_section *s = &ini->sections[i];

        for (unsigned k = 0; k < s->n_lines; k++) {
            free(s->lines[k].key);
            free(s->lines[k].value);
        }
        free(s->lines);
        free(s->kind);
        free(s->name);
    }
    free(ini->sections);
    *ini = (struct mp_ini){.sections = NULL};
}
