/*
 * keys.h - the words of a config file as a table, and reading by it.
 *
 * A table has a row for each section and each key: where it may stand, what
 * its value is, its default, and the line of help.  Reading a file, checking
 * it and printing the reference all go by that table, so they can't differ.
 *
 * A scalar value is parsed where it stands and written into the structure
 * that the section describes; items of lists are checked, collected, and
 * taken by the caller.
 *
 * Process  host and command line.   Thread  any.
 * Memory   texts written into a structure are owned by it: mp_keys_free.
 * Errors   each mistake is told to the report, with the nearest right word.
 */
#ifndef MP_KEYS_H
#define MP_KEYS_H

#include "core/ini.h"

enum mp_type {
    MP_T_TEXT,     /* char * */
    MP_T_PATH,     /* char * */
    MP_T_SECRET,   /* char *: what it refers to was read */
    MP_T_SIZE,     /* uint32_t or uint64_t */
    MP_T_NUMBER,   /* uint8_t, uint32_t */
    MP_T_PERCENT,  /* uint32_t */
    MP_T_DURATION, /* int64_t, microseconds */
    MP_T_SWITCH,   /* bool */
    MP_T_CHOICE,   /* uint8_t, bool or enum: which of the words */
    MP_T_RATE,     /* kept as text: the caller takes it apart */
    MP_T_LIST,     /* items */
    MP_T_LINE,     /* an item, of a small language; the caller reads it */
    MP_TYPES
};

typedef int mp_check(struct mp_slice value, struct mp_why *why);

struct mp_key {
    const char *section;
    const char *name; /* NULL: any that the check of names takes */
    enum mp_type type;
    const char *words; /* of a choice, by blanks; WORD! comes later */
    int64_t min, max;  /* of numbers; max 0: no bound */
    mp_check *check;   /* of a text, or of each item of a list */
    const char *def;   /* default as it would be written; NULL: none */
    const char *help, *example;
    const char *shown; /* the default in help, where def can't say it */
    const char *later; /* "coap triggers come": with a later release */
    size_t at, width;  /* member of the structure; width 0: none */
};

struct mp_section {
    const char *name, *help;
    bool named;        /* [section NAME] */
    const char *later; /* as of keys */
};

struct mp_table {
    const struct mp_section *sections;
    size_t n_sections;
    const struct mp_key *keys;
    size_t n_keys;
    bool later_is_fine; /* a warning, no mistake */
};

/* AT(struct mp_function, memory), the last two members of a row. */
#define MP_AT(type, member)                                                    \
    .at = offsetof(type, member), .width = sizeof(((type *)NULL)->member)

/* What was given so far, one for each key of the table. */
struct mp_item {
    char *text;
    unsigned line;
};

struct mp_given {
    const char *file; /* NULL: not given; borrowed */
    unsigned line;
    char *text; /* as it stands there, names filled in */
    struct mp_item *items;
    unsigned n_items;
};

/* Where reading stands. */
struct mp_keys {
    const struct mp_table *table;
    struct mp_report *report;
    const char *file;
    struct mp_given *given; /* of table->n_keys */
};

struct mp_given *mp_given_new(const struct mp_table *table);
void mp_given_free(const struct mp_table *table, struct mp_given *given);

/* The section of this name; NULL: unknown, and told.  Tells what is later. */
const struct mp_section *mp_keys_section(const struct mp_keys *k,
                                         const struct mp_ini_section *s);

/* Write the defaults of a section into base. */
void mp_keys_defaults(const struct mp_table *table, const char *section,
                      void *base);

/* Take one line of a section: check it, and write its value into base. */
void mp_keys_take(struct mp_keys *k, const char *section, unsigned line,
                  const char *key, const char *value, void *base);

/* What was given for a key; its file is NULL if nothing was. */
const struct mp_given *mp_keys_given(const struct mp_keys *k,
                                     const char *section, const char *key);

/* Tell that an item that was taken is bad: "KEY = ITEM: WHY". */
void mp_keys_bad(const struct mp_keys *k, const struct mp_given *g,
                 const struct mp_item *item, const struct mp_why *why);

/* Free the texts of a section in base. */
void mp_keys_free(const struct mp_table *table, const char *section,
                  void *base);

/* The table as text, in lines of 80 columns at most. */
void mp_keys_help(const struct mp_table *table, struct mp_buf *out);

/* The sections and keys of that name, with their sections; file says whose
 * they are.  False: there is none. */
bool mp_keys_help_word(const struct mp_table *table, const char *file,
                       const char *word, struct mp_buf *out);

/* The tables, and what checks single values in them. */
extern const struct mp_table mp_function_table, mp_config_table;

/* Values; the sentence of why goes behind "key = value: ". */
MP_MUST int mp_parse_rate(struct mp_slice text, uint32_t *per,
                          int64_t *every_us, struct mp_why *why);
MP_MUST int mp_parse_percent(struct mp_slice text, uint64_t *percent,
                             struct mp_why *why);
MP_MUST int mp_parse_switch(struct mp_slice text, bool *on, struct mp_why *why);
MP_MUST int mp_parse_number(struct mp_slice text, uint64_t *number,
                            struct mp_why *why);
/* What a file holds without its last line's end; name is for the sentence. */
MP_MUST int mp_secret_file(int dir, const char *path, struct mp_slice name,
                           char **value, struct mp_why *why);
/* The value of a secret, file:, credential: or env:, in a block of its own. */
MP_MUST int mp_parse_secret(struct mp_slice text, char **value,
                            struct mp_why *why);

mp_check mp_check_name;     /* [a-z][a-z0-9-]{0,39} */
mp_check mp_check_trigger;  /* [a-z][a-z0-9_-]{0,19}, none of the taken */
mp_check mp_check_env_name; /* [A-Z][A-Z0-9_]* */
mp_check mp_check_node;
mp_check mp_check_version;
mp_check mp_check_zone;
mp_check mp_check_cron;
mp_check mp_check_pattern;
mp_check mp_check_coap;
mp_check mp_check_http;
mp_check mp_check_auth;
mp_check mp_check_grant;
mp_check mp_check_filter;
mp_check mp_check_share;
mp_check mp_check_template;
mp_check mp_check_on_failure;
mp_check mp_check_prefix;
mp_check mp_check_mqtt_url;
mp_check mp_check_coap_listen;
mp_check mp_check_http_listen;
mp_check mp_check_psk_lines;
mp_check mp_check_some; /* not empty, that's all */

#endif
