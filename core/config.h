/*
 * config.h - moonpool.conf as values, and the words of both config files.
 *
 * One table of keys (section, key, type, default, one line of help) says what
 * may stand in moonpool.conf and one what may stand in function.conf; reading,
 * checking and `moonpool help` all go by them.
 *
 * Process  host and command line.   Thread  loop thread.
 * Memory   mp_config owns its strings.
 * Errors   told to the report with file and line; then the call fails.
 */
#ifndef MP_CONFIG_H
#define MP_CONFIG_H

#include "core/function.h"

enum mp_mqtt_version { MP_MQTT_AUTO, MP_MQTT_5, MP_MQTT_311 };
enum mp_log_format { MP_LOG_AUTO, MP_LOG_TEXT, MP_LOG_JSON };

struct mp_config {
    char *file;     /* that was named with --config; NULL: none was */
    char *node;     /* default: the host name */
    char *timezone; /* NULL: the system's */
    char *data;     /* directory */
    char *functions;
    char *secrets; /* directory */
    struct {
        bool tls; /* mqtts */
        char *host;
        uint16_t port;
        char *client_id, *prefix;
        bool id_is_shared;     /* nothing in client_id tells this host from
                                * another with another data directory */
        char *user, *password; /* password: the secret's value */
        char *ca, *cert, *key, *psk, *psk_identity;
        enum mp_mqtt_version version;
        int64_t keepalive_us, hold_us;
        uint32_t receive_max, max_payload;
        char **reply_topics; /* filters, NULL at the end */
    } mqtt;
    struct {
        char **listen;  /* "coaps://0.0.0.0:5684", NULL at the end */
        char *psk_file; /* text of the file, lines identity:hex; NULL: none */
        char *ca, *cert, *key;
        bool open; /* auth = none is answered off loopback too */
        uint32_t sessions, observers;
        int64_t idle_us;
    } coap;
    struct {
        char **listen; /* "127.0.0.1:7381", "[::1]:80"; NULL at the end */
        char *cert, *key;
        bool open;
        uint32_t connections;
        uint32_t max_header; /* bytes */
        int64_t results_ttl_us;
    } http;
    struct {
        uint64_t max_size, queue, outbox, dead_letters; /* bytes */
        int64_t commit_interval_us, outbox_max_age_us;
        bool outbox_full_oldest; /* else wait */
    } store;
    uint32_t scale_max;
    uint64_t memory_budget; /* bytes */
    uint32_t workers;       /* processes */
    enum mp_level log_level;
    enum mp_log_format log_format;
};

/* What flags of `moonpool run` replace; NULL or 0: not given. */
struct mp_overrides {
    const char *config, *functions, *data, *mqtt, *log_format;
    const char *memory;
    uint32_t workers;
    const char *only; /* nothing but this section is asked for */
    bool look;        /* into the certificates and keys that it names, too */
};

/*
 * Read moonpool.conf and the files of conf.d beside it (*.conf), then the
 * overrides. Without a config flag a missing /etc/moonpool/moonpool.conf is
 * fine.
 */
MP_MUST int mp_config_read(struct mp_config *c, const struct mp_overrides *o,
                           struct mp_report *report);
void mp_config_fini(struct mp_config *c);

/* Values as in section 1 of the reference; MP_EPARSE with a sentence. */
MP_MUST int mp_parse_duration(struct mp_slice text, int64_t *us,
                              struct mp_why *why);
MP_MUST int mp_parse_size(struct mp_slice text, uint64_t *bytes,
                          struct mp_why *why);
MP_MUST int mp_parse_mqtt_url(struct mp_slice text, bool *tls, char **host,
                              uint16_t *port, struct mp_why *why);

/* `moonpool help config` and `help function`: the tables, as text. */
void mp_config_help(struct mp_buf *out);
void mp_function_help(struct mp_buf *out);

#endif
