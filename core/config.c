/*
 * config.c - moonpool.conf, then conf.d beside it by name, then the flags.
 *
 * Later wins: a value in a later file takes the place of an earlier one, an
 * item of a list comes behind, an empty value takes back.  Defaults that only
 * the machine knows (name, cores, memory) are filled in last.
 */
#include "core/config.h"

#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/text.h"
#include "core/keys.h"

enum { CONF_MAX = 256 << 10, CONF_FILES_MAX = 64, PEM_MAX = 1 << 20 };

static const char default_path[] = "/etc/moonpool/moonpool.conf";

struct reading {
    struct mp_config *c;
    const char *only; /* section; NULL: all of them */
    struct mp_keys keys;
    char *files[CONF_FILES_MAX + 1]; /* names live as long as the reading */
    unsigned n_files;
};

int mp_parse_mqtt_url(struct mp_slice text, bool *tls, char **host,
                      uint16_t *port, struct mp_why *why)
{
    static const char how[] =
        "a broker is mqtt://HOST[:PORT] or mqtts://HOST[:PORT]";
    struct mp_slice rest = text, name, digits = {NULL, 0};
    bool v6;
    uint64_t n;

    *tls = mp_starts(text, "mqtts://");
    if (!*tls && !mp_starts(text, "mqtt://"))
        return mp_why_set(why, MP_EPARSE, "%s", how);
    rest.ptr += *tls ? 8 : 7;
    rest.len -= *tls ? 8 : 7;
    if (mp_ends(rest, "/"))
        rest.len--;
    if (mp_has(rest, '@'))
        return mp_why_set(why, MP_EPARSE,
                          "a login stands in [mqtt] user and password, not in "
                          "the url");
    v6 = mp_starts(rest, "[");
    if (v6) { /* [::1]:1883 */
        rest = mp_slice(rest.ptr + 1, rest.len - 1);
        if (!mp_split(&rest, ']', &name) || !rest.ptr ||
            (rest.len && rest.ptr[0] != ':'))
            return mp_why_set(why, MP_EPARSE, "%s", how);
        if (rest.len)
            digits = mp_slice(rest.ptr + 1, rest.len - 1);
    } else {
        mp_split(&rest, ':', &name);
        digits = rest;
    }
    for (size_t i = 0; i < name.len; i++) {
        if (strchr("/?# \t,\"", name.ptr[i]) || (!v6 && name.ptr[i] == ':'))
            return mp_why_set(why, MP_EPARSE, "%s", how);
    }
    if (!name.len || name.len > 255)
        return mp_why_set(why, MP_EPARSE, "%s", how);
    n = *tls ? 8883 : 1883;
    if (digits.ptr && (mp_parse_number(digits, &n, why) || n < 1 || n > 65535))
        return mp_why_set(why, MP_ERANGE, "a port is a number from 1 to 65535");
    *port = (uint16_t)n;
    *host = mp_strndup(name.ptr, name.len);
    return 0;
}

/* ---- files ---- */

static void read_bytes(struct reading *r, const char *path,
                       struct mp_slice bytes)
{
    struct mp_ini ini;

    r->keys.file = path;
    mp_ini_read(&ini, path, bytes, r->keys.report);
    for (unsigned i = 0; i < ini.n_sections; i++) {
        const struct mp_ini_section *s = &ini.sections[i];
        const struct mp_section *known;
        struct mp_keys keys = r->keys;

        if (r->only && strcmp(s->kind, r->only) != 0)
            continue;
        known = mp_keys_section(&r->keys, s);
        if (!known)
            continue;
        if (known->named) /* each has values of its own */
            keys.given = mp_given_new(keys.table);
        for (unsigned l = 0; l < s->n_lines; l++)
            mp_keys_take(&keys, s->kind, s->lines[l].line, s->lines[l].key,
                         s->lines[l].value, r->c);
        if (known->named)
            mp_given_free(keys.table, keys.given);
    }
    mp_ini_fini(&ini);
}

static void read_file(struct reading *r, const char *path, bool may_lack)
{
    struct mp_buf bytes;
    struct mp_why why;
    int rc;

    if (r->n_files > CONF_FILES_MAX) {
        mp_report_mistake(r->keys.report, path, 0, "more than %d files",
                          CONF_FILES_MAX);
        return;
    }
    path = r->files[r->n_files++] = mp_strndup(path, strlen(path));
    mp_buf_init(&bytes, CONF_MAX);
    rc = mp_file_read(AT_FDCWD, path, CONF_MAX, &bytes, &why);
    if (rc == 0)
        read_bytes(r, path, mp_buf_bytes(&bytes));
    else if (rc == MP_ENONE && !may_lack)
        mp_report_mistake(r->keys.report, path, 0, "there is no such file");
    else if (rc != MP_ENONE)
        mp_report_mistake(r->keys.report, path, 0, "%s", why.text);
    mp_buf_fini(&bytes);
}

static int is_conf(const struct dirent *entry)
{
    return entry->d_name[0] != '.' &&
           mp_ends(mp_slice_str(entry->d_name), ".conf");
}

/* By bytes: the order must not hang on the locale. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void read_conf_d(struct reading *r, const char *path)
{
    const char *slash = strrchr(path, '/');
    int dir_len = slash ? (int)(slash - path) + 1 : 0;
    char dir[PATH_MAX], file[PATH_MAX];
    struct dirent **entries;
    int n;

    snprintf(dir, sizeof dir, "%.*sconf.d", dir_len, path);
    n = scandir(dir, &entries, is_conf, by_bytes);
    for (int i = 0; i < n; i++) {
        if ((size_t)snprintf(file, sizeof file, "%s/%s", dir,
                             entries[i]->d_name) < sizeof file)
            read_file(r, file, true);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

/* ---- what the machine knows ---- */

static char *default_node(void)
{
    char name[MP_NODE_MAX + 1] = "";
    struct mp_why why;

    gethostname(name, MP_NODE_MAX);
    name[MP_NODE_MAX] = '\0';
    if (mp_check_node(mp_slice_str(name), &why))
        return mp_strndup("node", 4);
    return mp_strndup(name, strlen(name));
}

static char *default_data(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char path[PATH_MAX];

    if (geteuid() == 0)
        snprintf(path, sizeof path, "/var/lib/moonpool");
    else if (state && state[0] == '/')
        snprintf(path, sizeof path, "%s/moonpool", state);
    else
        snprintf(path, sizeof path, "%s/.local/state/moonpool",
                 home && *home ? home : "");
    return mp_strndup(path, strlen(path));
}

static uint64_t default_budget(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
    uint64_t quarter =
        pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 4 : 0;
    const uint64_t least = 16 << 20;

    return quarter > least ? quarter : least;
}

static uint32_t default_workers(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (cores < 1)
        return 1;
    return cores > MP_WORKERS_MAX ? MP_WORKERS_MAX : (uint32_t)cores;
}

static void fill_in(struct mp_config *c)
{
    char id[MP_NODE_MAX + 16];
    char *data = default_data();

    c->mqtt.id_is_shared =
        !c->node && !c->mqtt.client_id && c->data && strcmp(c->data, data) != 0;
    if (!c->node)
        c->node = default_node();
    if (!c->data)
        c->data = data;
    else
        free(data);
    if (!c->memory_budget)
        c->memory_budget = default_budget();
    if (!c->workers)
        c->workers = default_workers();
    if (!c->mqtt.client_id) {
        snprintf(id, sizeof id, "moonpool-%s", c->node);
        c->mqtt.client_id = mp_strndup(id, strlen(id));
    }
}

/* ---- flags ---- */

static void replace(char **text, const char *with)
{
    if (!with)
        return;
    free(*text);
    *text = mp_strndup(with, strlen(with));
}

static void take_url(struct reading *r, const char *flag)
{
    const struct mp_given *g = mp_keys_given(&r->keys, "mqtt", "url");
    const char *url = flag ? flag : g->file ? g->text : "mqtt://127.0.0.1:1883";
    struct mp_config *c = r->c;
    struct mp_why why;
    int rc = mp_parse_mqtt_url(mp_slice_str(url), &c->mqtt.tls, &c->mqtt.host,
                               &c->mqtt.port, &why);

    if (rc && flag) /* else it was told, at its line */
        mp_report_mistake(r->keys.report, NULL, 0, "--mqtt %s: %s", url,
                          why.text);
}

static void take_flags(struct reading *r, const struct mp_overrides *o)
{
    static const char *const formats[] = {"auto", "text", "json"};
    struct mp_config *c = r->c;
    struct mp_why why;
    size_t f = 0;

    replace(&c->functions, o->functions);
    replace(&c->data, o->data);
    take_url(r, o->mqtt);
    if (o->workers)
        c->workers = o->workers;
    if (o->memory &&
        mp_parse_size(mp_slice_str(o->memory), &c->memory_budget, &why))
        mp_report_mistake(r->keys.report, NULL, 0, "--memory %s: %s", o->memory,
                          why.text);
    if (!o->log_format)
        return;
    while (f < ARRAY_LEN(formats) && strcmp(o->log_format, formats[f]) != 0)
        f++;
    if (f == ARRAY_LEN(formats))
        mp_report_mistake(r->keys.report, NULL, 0,
                          "--log-format %s: one of auto, text, json",
                          o->log_format);
    else
        c->log_format = (enum mp_log_format)f;
}

/* ---- what concerns more than one line ---- */

/* The items of a list; def: what stands there if it was never given. */
static char **keep_list(struct reading *r, const char *section, const char *key,
                        const char *def)
{
    const struct mp_given *g = mp_keys_given(&r->keys, section, key);
    char **list = mp_zalloc((g->n_items + 2) * sizeof *list);

    if (!g->n_items && !g->line)
        list[0] = mp_strndup(def, strlen(def));
    for (unsigned i = 0; i < g->n_items; i++)
        list[i] = mp_strndup(g->items[i].text, strlen(g->items[i].text));
    return list;
}

static void free_list(char **list)
{
    for (char **item = list; item && *item; item++)
        free(*item);
    free(list);
}

static void keep_lists(struct reading *r)
{
    struct mp_config *c = r->c;

    c->mqtt.reply_topics = keep_list(r, "mqtt", "reply_topics", "#");
    c->coap.listen = keep_list(r, "coap", "listen", "coap://127.0.0.1:5683");
    c->http.listen = keep_list(r, "http", "listen", "127.0.0.1:7381");
}

static bool is_hex(const char *text)
{
    return *text && strspn(text, "0123456789abcdefABCDEF") == strlen(text);
}

/* Was it given, be it wrong?  Then that was told. */
static bool is_given(const struct reading *r, const char *section,
                     const char *key)
{
    return mp_keys_given(&r->keys, section, key)->file != NULL;
}

/* Tell it where the key stands that has to change. */
MP_PRINTF(4, 5)
static void tell_at(struct reading *r, const char *section, const char *key,
                    const char *fmt, ...)
{
    const struct mp_given *g = mp_keys_given(&r->keys, section, key);
    char what[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    mp_report_mistake(r->keys.report, g->file, g->line, "%s", what);
}

/* A certificate is nothing without its key, nor is the key. */
static void check_cert(struct reading *r, const char *section, const char *cert,
                       const char *key)
{
    if (!cert != !key)
        tell_at(r, section, cert ? "cert" : "key",
                "cert and key go together; %s is missing",
                cert ? "key" : "cert");
}

/*
 * What fills by itself leaves most of the database to state: it may take such
 * a part of max_size.  Said where it was asked for; a default just follows.
 */
static void bound_store(struct reading *r)
{
    struct mp_config *c = r->c;
    struct {
        const char *key;
        uint64_t *bytes;
        unsigned part;
    } bounds[] = {{"queue", &c->store.queue, 4},
                  {"outbox", &c->store.outbox, 4},
                  {"dead_letters", &c->store.dead_letters, 16}};
    const struct mp_given *said = NULL;
    struct mp_buf text;

    mp_buf_init(&text, 256);
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        const struct mp_given *g =
            mp_keys_given(&r->keys, "store", bounds[i].key);
        uint64_t most = c->store.max_size / bounds[i].part;

        if (*bounds[i].bytes <= most)
            continue;
        *bounds[i].bytes = most;
        if (!g->file)
            continue;
        said = said ? said : g;
        mp_buf_printf(&text, "%s%s is %llu (max_size / %u)",
                      text.len ? ", " : "", bounds[i].key,
                      (unsigned long long)most, bounds[i].part);
    }
    if (said)
        mp_report_warning(r->keys.report, said->file, said->line,
                          "more than there is room for in [store] max_size: "
                          "%.*s",
                          MP_FMT(mp_buf_bytes(&text)));
    mp_buf_fini(&text);
}

static void check_mqtt(struct reading *r)
{
    const struct mp_config *c = r->c;

    if (c->mqtt.hold_us > c->mqtt.keepalive_us / 2 - 1)
        tell_at(r, "mqtt",
                mp_keys_given(&r->keys, "mqtt", "hold")->file ? "hold"
                                                              : "keepalive",
                "hold must be shorter than half of keepalive: pings wait with "
                "the acknowledgements");
    check_cert(r, "mqtt", c->mqtt.cert, c->mqtt.key);
    if (is_given(r, "mqtt", "psk") != is_given(r, "mqtt", "psk_identity"))
        tell_at(r, "mqtt", c->mqtt.psk ? "psk" : "psk_identity",
                "psk and psk_identity go together; %s is missing",
                c->mqtt.psk ? "psk_identity" : "psk");
    if (c->mqtt.psk && !is_hex(c->mqtt.psk))
        tell_at(r, "mqtt", "psk",
                "psk: a pre-shared key is hexadecimal "
                "digits");
    if (c->mqtt.psk && (c->mqtt.ca || c->mqtt.cert))
        tell_at(r, "mqtt", "psk",
                "psk: either certificates or a pre-shared key");
    if (c->mqtt.password && !c->mqtt.user)
        tell_at(r, "mqtt", "password", "a password without a user");
    if (!c->mqtt.tls && (c->mqtt.ca || c->mqtt.cert || c->mqtt.psk))
        mp_report_warning(r->keys.report, r->keys.file, 0,
                          "TLS is set up in [mqtt], but url is mqtt://; "
                          "mqtts:// uses it");
}

static void check_coap(struct reading *r)
{
    const struct mp_config *c = r->c;

    check_cert(r, "coap", c->coap.cert, c->coap.key);
    for (char **at = c->coap.listen; *at; at++)
        if (mp_starts(mp_slice_str(*at), "coaps") &&
            !is_given(r, "coap", "psk_file") && !c->coap.cert) {
            tell_at(r, "coap", "listen",
                    "%s needs psk_file, or cert and key, in [coap]", *at);
            break;
        }
}

static void check_together(struct reading *r)
{
    check_mqtt(r);
    check_coap(r);
    check_cert(r, "http", r->c->http.cert, r->c->http.key);
}

/* ---- the files that it names ---- */

/* PEM says what it is in its first words; the rest only TLS can judge. */
static void look_into(struct reading *r, const char *section, const char *key,
                      const char *path)
{
    bool is_key = strcmp(key, "key") == 0;
    const char *what = is_key ? "PRIVATE KEY-----" : "CERTIFICATE-----";
    const struct mp_given *g = mp_keys_given(&r->keys, section, key);
    struct mp_buf text;
    struct mp_why why;
    struct stat st;
    bool begins;
    int rc;

    if (!path || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return;
    mp_buf_init(&text, PEM_MAX + 1);
    rc = mp_file_read(AT_FDCWD, path, PEM_MAX, &text, &why);
    if (rc) { /* the gateway may have what this machine has not */
        mp_report_warning(r->keys.report, g->file, g->line, "%s = %s: %s", key,
                          path, why.text);
    } else {
        mp_buf_put(&text, "", 1);
        begins = strstr(text.ptr, "-----BEGIN ") && strstr(text.ptr, what);
        if (!begins)
            mp_report_mistake(r->keys.report, g->file, g->line,
                              "%s = %s: there is no %s in PEM in it", key, path,
                              is_key ? "private key" : "certificate");
        explicit_bzero(text.ptr, text.len);
    }
    mp_buf_fini(&text);
}

static void look_into_all(struct reading *r)
{
    const struct mp_config *c = r->c;

    look_into(r, "mqtt", "ca", c->mqtt.ca);
    look_into(r, "mqtt", "cert", c->mqtt.cert);
    look_into(r, "mqtt", "key", c->mqtt.key);
    look_into(r, "coap", "ca", c->coap.ca);
    look_into(r, "coap", "cert", c->coap.cert);
    look_into(r, "coap", "key", c->coap.key);
    look_into(r, "http", "cert", c->http.cert);
    look_into(r, "http", "key", c->http.key);
}

int mp_config_read(struct mp_config *c, const struct mp_overrides *o,
                   struct mp_report *report)
{
    unsigned before = report->mistakes;
    struct reading r = {
        .c = c,
        .only = o->only,
        .keys = {.table = &mp_config_table,
                 .report = report,
                 .given = mp_given_new(&mp_config_table)},
    };
    const char *path = o->config ? o->config : default_path;

    *c = (struct mp_config){.node = NULL};
    for (size_t i = 0; i < mp_config_table.n_sections; i++)
        mp_keys_defaults(&mp_config_table, mp_config_table.sections[i].name, c);
    read_file(&r, path, !o->config);
    read_conf_d(&r, path);
    take_flags(&r, o);
    fill_in(c);
    keep_lists(&r);
    if (o->config)
        c->file = mp_strndup(o->config, strlen(o->config));
    bound_store(&r);
    check_together(&r);
    if (o->look)
        look_into_all(&r);
    mp_given_free(&mp_config_table, r.keys.given);
    for (unsigned i = 0; i < r.n_files; i++)
        free(r.files[i]);
    if (report->mistakes == before)
        return 0;
    mp_config_fini(c);
    return MP_EPARSE;
}

void mp_config_fini(struct mp_config *c)
{
    for (size_t i = 0; i < mp_config_table.n_sections; i++)
        mp_keys_free(&mp_config_table, mp_config_table.sections[i].name, c);
    free(c->file);
    free(c->mqtt.host);
    free_list(c->mqtt.reply_topics);
    free_list(c->coap.listen);
    free_list(c->http.listen);
    *c = (struct mp_config){.node = NULL};
}
