/*
 * keys_config.c - every word of moonpool.conf.
 *
 * What comes with a later release is only warned of here: one file may serve
 * gateways of several releases.
 */
#include "core/config.h"
#include "core/keys.h"

#define CF(member) MP_AT(struct mp_config, member)

#define COAP "CoAP comes"
#define HTTP "HTTP comes"
#define API "REST and metrics over HTTP come"
#define STORE "the store on disk comes"
#define UPDATES "updates come"
#define SECRETS "secrets of functions come"
#define OVERRIDES "overrides come"
#define FLEETS "fleets come"
#define BOARDS "board profiles come"
#define ON_DEMAND "workers on demand come"
#define RING "the ring of log lines comes"
#define OTLP "traces come"
#define HASS "Home Assistant discovery comes"

static const struct mp_section sections[] = {
    {.name = "node", .help = "this gateway"},
    {.name = "paths", .help = "where things are"},
    {.name = "mqtt", .help = "the one broker; bridge others there"},
    {.name = "coap", .help = "the CoAP server", .later = COAP},
    {.name = "http", .help = "the HTTP server of functions", .later = HTTP},
    {.name = "api", .help = "REST, metrics, page", .later = API},
    {.name = "scale", .help = "invocations at once"},
    {.name = "memory", .help = "of all workers"},
    {.name = "workers", .help = "the processes that run functions"},
    {.name = "store", .help = "what is kept on disk", .later = STORE},
    {.name = "log", .help = "lines on stderr"},
    {.name = "update", .help = "where packages come from", .later = UPDATES},
    {.name = "policy",
     .named = true,
     .help = "[policy cold-*]: the most such packages may have; the longest "
             "matching name wins",
     .later = UPDATES},
    {.name = "trial", .help = "how new versions start", .later = UPDATES},
    {.name = "otlp", .help = "traces", .later = OTLP},
    {.name = "homeassistant", .help = "entities", .later = HASS},
};

static const struct mp_key keys[] = {
    {"node", "name", MP_T_TEXT, .check = mp_check_node, .shown = "host name",
     .help = "in topics and mp.node", .example = "store-17", CF(node)},
    {"node", "groups", MP_T_LIST, .shown = "all",
     .help = "fleets it follows, later ones win", .example = "all, cold",
     .later = FLEETS},
    {"node", "timezone", MP_T_TEXT, .check = mp_check_zone,
     .shown = "the system's", .help = "default of functions", .example = "UTC",
     CF(timezone)},
    {"node", "board", MP_T_TEXT, .def = "auto", .help = "profile",
     .example = "raspberry-pi-4", .later = BOARDS},

    {"paths", "data", MP_T_PATH, .check = mp_check_some,
     .shown = "/var/lib/moonpool; not root: $XDG_STATE_HOME/moonpool",
     .help = "what must last", .example = "/data/moonpool", CF(data)},
    {"paths", "functions", MP_T_PATH, .check = mp_check_some,
     .def = "/etc/moonpool/functions", .help = "a directory for each function",
     .example = "/srv/functions", CF(functions)},
    {"paths", "overrides", MP_T_PATH, .def = "/etc/moonpool/overrides",
     .help = "NAME.conf: the administrator's word on a function",
     .example = "/srv/overrides", .later = OVERRIDES},
    {"paths", "secrets", MP_T_PATH, .def = "/etc/moonpool/secrets",
     .help = "file FUNCTION/NAME, mode 0600", .example = "/srv/secrets",
     .later = SECRETS},
    {"paths", "trusted", MP_T_PATH, .def = "/etc/moonpool/trusted.d",
     .help = "keys whose packages are taken", .example = "/srv/trusted.d",
     .later = UPDATES},

    {"mqtt", "url", MP_T_TEXT, .check = mp_check_mqtt_url,
     .def = "mqtt://127.0.0.1:1883", .help = "mqtt://HOST[:PORT] or mqtts://",
     .example = "mqtts://hub:8883"},
    {"mqtt", "client_id", MP_T_TEXT, .check = mp_check_share,
     .shown = "moonpool-NODE",
     .help = "outputs use CLIENT_ID-out, own lanes CLIENT_ID-FUNCTION-TRIGGER",
     .example = "gw17", CF(mqtt.client_id)},
    {"mqtt", "prefix", MP_T_TEXT, .check = mp_check_prefix, .def = "moonpool",
     .help = "of the host's own topics", .example = "fleet", CF(mqtt.prefix)},
    {"mqtt", "user", MP_T_TEXT, .check = mp_check_some, .help = "login",
     .example = "store-17", CF(mqtt.user)},
    {"mqtt", "password", MP_T_SECRET, .help = "login",
     .example = "credential:mqtt", CF(mqtt.password)},
    {"mqtt", "ca", MP_T_PATH, .check = mp_check_some, .shown = "the system's",
     .help = "certificates that are trusted", .example = "/etc/ssl/hub.pem",
     CF(mqtt.ca)},
    {"mqtt", "cert", MP_T_PATH, .check = mp_check_some,
     .help = "our certificate", .example = "/etc/ssl/gw17.pem", CF(mqtt.cert)},
    {"mqtt", "key", MP_T_PATH, .check = mp_check_some, .help = "and its key",
     .example = "/etc/ssl/gw17.key", CF(mqtt.key)},
    {"mqtt", "psk", MP_T_SECRET, .help = "pre-shared key, in hex",
     .example = "file:/etc/moonpool/psk", CF(mqtt.psk)},
    {"mqtt", "psk_identity", MP_T_TEXT, .check = mp_check_some,
     .help = "and whose it is", .example = "gw17", CF(mqtt.psk_identity)},
    {"mqtt", "version", MP_T_CHOICE, .words = "auto 5 3.1.1", .def = "auto",
     .help = "auto tries 5 first", .example = "3.1.1", CF(mqtt.version)},
    {"mqtt", "keepalive", MP_T_DURATION, .min = 5000000,
     .max = INT64_C(65535000000), .def = "60s",
     .help = "silence after which the broker is asked", .example = "30s",
     CF(mqtt.keepalive_us)},
    {"mqtt", "receive_max", MP_T_NUMBER, .min = 1, .max = 65535, .def = "256",
     .help = "events of one batch", .example = "64", CF(mqtt.receive_max)},
    {"mqtt", "max_payload", MP_T_SIZE, .min = 1024, .max = 8 << 20,
     .def = "256K", .help = "larger messages are dropped and counted",
     .example = "1M", CF(mqtt.max_payload)},
    {"mqtt", "hold", MP_T_DURATION, .min = 1000, .max = INT64_C(3600000000),
     .def = "250ms",
     .help = "longest that unfinished events keep acknowledgements back",
     .example = "20ms", CF(mqtt.hold_us)},
    {"mqtt", "reply_topics", MP_T_LIST, .check = mp_check_filter, .shown = "#",
     .help = "response topics that get replies", .example = "reply/#"},

    {"coap", "listen", MP_T_LIST, .shown = "coap://127.0.0.1:5683",
     .help = "opened when a function needs it",
     .example = "coaps://0.0.0.0:5684"},
    {"coap", "psk_file", MP_T_TEXT, .help = "lines identity:hex",
     .example = "file:/etc/moonpool/psk"},
    {"coap", "ca", MP_T_PATH, .help = "certificates that are trusted"},
    {"coap", "cert", MP_T_PATH, .help = "our certificate"},
    {"coap", "key", MP_T_PATH, .help = "and its key"},
    {"coap", "open", MP_T_SWITCH, .def = "no",
     .help = "answer triggers with auth = none off loopback", .example = "yes"},
    {"coap", "sessions", MP_T_NUMBER, .min = 1, .def = "256",
     .help = "peers at once", .example = "1000"},
    {"coap", "observers", MP_T_NUMBER, .min = 1, .def = "256",
     .help = "observers at once", .example = "1000"},
    {"coap", "idle", MP_T_DURATION, .def = "60s",
     .help = "a silent session ends after", .example = "5m"},

    {"http", "listen", MP_T_LIST, .shown = "127.0.0.1:7381",
     .help = "functions only, never the API", .example = "0.0.0.0:8080"},
    {"http", "cert", MP_T_PATH, .help = "our certificate"},
    {"http", "key", MP_T_PATH, .help = "and its key"},
    {"http", "open", MP_T_SWITCH, .def = "no",
     .help = "answer triggers with auth = none off loopback", .example = "yes"},
    {"http", "connections", MP_T_NUMBER, .min = 1, .def = "64",
     .help = "at once; one address may hold a quarter", .example = "256"},
    {"http", "max_header", MP_T_SIZE, .min = 1024, .def = "8K",
     .help = "bytes of request headers", .example = "16K"},
    {"http", "results_ttl", MP_T_DURATION, .def = "10m",
     .help = "answers of async calls are kept", .example = "1h"},

    {"api", "listen", MP_T_LIST, .shown = "127.0.0.1:7380",
     .help = "REST, metrics, page", .example = "off"},
    {"api", "token_file", MP_T_PATH, .shown = "DATA/token",
     .help = "made at first start, mode 0600"},
    {"api", "cert", MP_T_PATH, .help = "our certificate"},
    {"api", "key", MP_T_PATH, .help = "and its key"},

    {"scale", "max", MP_T_NUMBER, .min = 1, .max = 100000, .def = "1000",
     .help = "invocations at once on the whole host", .example = "200",
     CF(scale_max)},
    {"memory", "budget", MP_T_SIZE, .min = 16 << 20,
     .shown = "a quarter of RAM, 16M at least",
     .help = "arenas, images and instances of all workers", .example = "64M",
     CF(memory_budget)},
    {"workers", "max", MP_T_NUMBER, .min = 1, .max = MP_WORKERS_MAX,
     .shown = "the number of cores", .help = "worker processes", .example = "2",
     CF(workers)},
    {"workers", "idle", MP_T_DURATION, .def = "30s",
     .help = "a worker without work ends after", .example = "5m",
     .later = ON_DEMAND},

    {"store", "max_size", MP_T_SIZE, .min = 1 << 20, .def = "256M",
     .help = "on disk", .example = "64M"},
    {"store", "queue", MP_T_SIZE, .def = "32M", .help = "parked events",
     .example = "8M"},
    {"store", "outbox", MP_T_SIZE, .def = "32M",
     .help = "outputs the broker hasn't got yet", .example = "8M"},
    {"store", "dead_letters", MP_T_SIZE, .def = "8M",
     .help = "the oldest go first", .example = "2M"},
    {"store", "commit_interval", MP_T_DURATION, .def = "5ms",
     .help = "least time between two commits while more is on its way",
     .example = "50ms"},
    {"store", "outbox_max_age", MP_T_DURATION, .def = "7d",
     .help = "while the broker is away", .example = "1d"},
    {"store", "outbox_full", MP_T_CHOICE, .words = "wait oldest", .def = "wait",
     .help = "take no more input, or drop the oldest and count it",
     .example = "oldest"},

    {"log", "level", MP_T_CHOICE, .words = "debug info warn error",
     .def = "info", .help = "least level written", .example = "debug",
     CF(log_level)},
    {"log", "format", MP_T_CHOICE, .words = "auto text json", .def = "auto",
     .help = "auto: text; under journald with priorities", .example = "json",
     CF(log_format)},
    {"log", "ring", MP_T_NUMBER, .def = "200",
     .help = "lines kept for each function", .example = "1000", .later = RING},

    {"update", "url", MP_T_TEXT, .help = "pulled index",
     .example = "https://u.example/index"},
    {"update", "interval", MP_T_DURATION, .def = "1h",
     .help = "between two pulls", .example = "1d"},
    {"update", "mqtt", MP_T_SWITCH, .def = "yes", .help = "packages over MQTT",
     .example = "no"},
    {"update", "keep", MP_T_NUMBER, .def = "3", .help = "versions kept",
     .example = "2"},
    {"update", "ca", MP_T_PATH, .help = "TLS of the pull"},
    {"update", "cert", MP_T_PATH, .help = "our certificate"},
    {"update", "key", MP_T_PATH, .help = "and its key"},
    {"update", "crl", MP_T_PATH, .help = "what was revoked"},
    {"update", "pin", MP_T_TEXT, .help = "SHA-256 of the server's key"},
    {"update", "hosts", MP_T_LIST, .help = "where redirects may lead",
     .example = "u.example, cdn.example"},

    {"policy", "publish", MP_T_LIST, .check = mp_check_filter, .shown = "#",
     .help = "topics", .example = "alerts/#"},
    {"policy", "request", MP_T_LIST, .shown = "none", .help = "requests",
     .example = "https://*"},
    {"policy", "send", MP_T_LIST, .shown = "*", .help = "functions"},
    {"policy", "secret", MP_T_LIST, .shown = "*", .help = "secrets"},
    {"policy", "memory", MP_T_SIZE, .def = "16M", .help = "limits.memory",
     .example = "4M"},
    {"policy", "timeout", MP_T_DURATION, .def = "60s", .help = "limits.timeout",
     .example = "10s"},
    {"policy", "cpu", MP_T_DURATION, .def = "1s", .help = "limits.cpu",
     .example = "100ms"},

    {"trial", "mode", MP_T_TEXT, .def = "watch",
     .help = "off, watch, shadow or canary P%", .example = "canary 10%"},
    {"trial", "confirm", MP_T_SWITCH, .def = "no",
     .help = "rolled back unless promoted in the window", .example = "yes"},
    {"trial", "window", MP_T_DURATION, .def = "10m",
     .help = "judged after this", .example = "1h"},
    {"trial", "max_errors", MP_T_PERCENT, .def = "5%",
     .help = "above the old version's share of errors", .example = "1%"},
    {"trial", "max_p99", MP_T_PERCENT, .def = "200%",
     .help = "of the old version's p99", .example = "150%"},

    {"otlp", "url", MP_T_TEXT, .help = "OTLP over HTTP, JSON",
     .example = "http://col:4318"},
    {"homeassistant", "discovery", MP_T_SWITCH, .def = "no", .help = "entities",
     .example = "yes"},
    {"homeassistant", "prefix", MP_T_TEXT, .def = "homeassistant",
     .help = "of its topics"},
    {"homeassistant", "switches", MP_T_SWITCH, .def = "no",
     .help = "a switch for each function", .example = "yes"},
};

const struct mp_table mp_config_table = {
    .sections = sections,
    .n_sections = ARRAY_LEN(sections),
    .keys = keys,
    .n_keys = ARRAY_LEN(keys),
    .later_is_fine = true,
};

void mp_config_help(struct mp_buf *out)
{
    mp_keys_help(&mp_config_table, out);
}
