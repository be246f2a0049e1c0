/*
 * keys_function.c - every word of function.conf.
 *
 * A row whose `later` is set is a known word whose feature isn't built yet;
 * building it takes that word out of the row and nothing else here.
 */
#include "core/config.h"
#include "core/keys.h"

#define FN(member) MP_AT(struct mp_function, member)
#define TR(member) MP_AT(struct mp_trigger, member)

#define COAP "coap triggers come"
#define HTTP "http triggers come"
#define EVERY "every triggers come"
#define CRON "cron triggers come"
#define BOARD "board triggers come"
#define TIMER "timers come"
#define STREAM "stream lines come"
#define ANSWERS "answers over coap and http come"
#define DEDUPE "dedupe comes"
#define REQUEST "mp.request comes"
#define SEND "mp.send comes"
#define SECRETS "secrets of functions come"
#define STATE "state comes"
#define TRIALS "updates and their trials come"
#define PARKING "parking on disk comes"
#define DEAD_LETTERS "being told of dead letters comes"
#define RECORDS "replay comes"

static const struct mp_section sections[] = {
    {.name = "function", .help = "what it is"},
    {.name = "trigger",
     .named = true,
     .help = "[trigger NAME]: what runs it, as many as needed; without a name "
             "it is named after its key"},
    {.name = "grant", .help = "what it may do"},
    {.name = "state", .help = "it keeps values", .later = STATE},
    {.name = "limits", .help = "what it may use"},
    {.name = "scale", .help = "how often it may run at once"},
    {.name = "retry", .help = "when an event failed and may do better"},
    {.name = "breaker", .help = "when it fails again and again"},
    {.name = "trial", .help = "how a new version starts", .later = TRIALS},
    {.name = "log", .help = "what is kept of its lines"},
    {.name = "env", .help = "NAME = text: mp.env.NAME, always a string"},
};

static const struct mp_key keys[] = {
    {"function", "name", MP_T_TEXT, .check = mp_check_name,
     .shown = "the directory's name",
     .help = "of two with one name the second isn't loaded",
     .example = "cold-chain"},
    {"function", "version", MP_T_TEXT, .check = mp_check_version,
     .def = "0.0.0", .help = "three numbers; required in a package",
     .example = "1.4.0", FN(version)},
    {"function", "about", MP_T_TEXT, .check = mp_check_some,
     .help = "a line for lists", .example = "alarms when it gets warm",
     FN(about)},
    {"function", "timezone", MP_T_TEXT, .check = mp_check_zone,
     .shown = "the node's", .help = "for os.date and cron",
     .example = "Europe/Paris", FN(timezone)},
    {"function", "order", MP_T_CHOICE, .words = "strict overtake none",
     .def = "strict",
     .help = "later events of a key wait while one is parked or retried; or "
             "overtake it; or no order at all",
     .example = "overtake", FN(order)},

    {"trigger", "mqtt", MP_T_LIST, .check = mp_check_pattern,
     .help = "topics as patterns; {name} takes one level",
     .example = "site/{device}/env"},
    {"trigger", "coap", MP_T_TEXT, .help = "what is answered over CoAP",
     .example = "PUT /rooms/{room}", .later = COAP},
    {"trigger", "http", MP_T_TEXT, .help = "what is answered over HTTP",
     .example = "POST /hooks/{source}", .later = HTTP},
    {"trigger", "every", MP_T_DURATION, .min = 100000,
     .help = "runs again and again", .example = "30s", .later = EVERY},
    {"trigger", "cron", MP_T_TEXT, .help = "runs by the calendar",
     .example = "0 6 * * mon-fri", .later = CRON},
    {"trigger", "board", MP_T_TEXT,
     .help = "runs when a condition of the board becomes true",
     .example = "temperature > 75", .later = BOARD},
    {"trigger", "qos", MP_T_CHOICE, .words = "0 1", .def = "1",
     .help = "0 keeps nothing on disk: a power cut loses it", .example = "0",
     TR(qos)},
    {"trigger", "share", MP_T_TEXT, .check = mp_check_share,
     .help = "group of a shared subscription", .example = "gateways",
     TR(share)},
    {"trigger", "retained", MP_T_SWITCH, .def = "yes",
     .shown = "yes, with [state] no",
     .help = "take retained messages that come at subscribing", .example = "no",
     TR(retained)},
    {"trigger", "lane", MP_T_CHOICE, .words = "shared own", .def = "shared",
     .help = "own: a connection of its own; its full queue holds the broker "
             "back and nobody else",
     .example = "own", TR(own_lane)},
    {"trigger", "observe", MP_T_SWITCH, .def = "no",
     .help = "a CoAP GET that can be observed", .example = "yes",
     .later = ANSWERS},
    {"trigger", "async", MP_T_SWITCH, .def = "no",
     .help = "answered at once with a place to ask again", .example = "yes",
     .later = ANSWERS},
    {"trigger", "auth", MP_T_TEXT, .def = "none",
     .help = "none, token NAME, hmac NAME HEADER or dtls",
     .example = "token HOOK", .later = ANSWERS},
    {"trigger", "format", MP_T_CHOICE,
     .words = "auto json cbor! senml! text "
              "bytes",
     .def = "auto", .help = "what the payload is; auto: JSON if not said",
     .example = "text", TR(format)},
    {"trigger", "max_payload", MP_T_SIZE, .min = 1, .max = 1 << 20,
     .def = "64K", .help = "larger events are dropped and counted",
     .example = "256K", TR(max_payload)},
    {"trigger", "max_age", MP_T_DURATION, .def = "0", .shown = "0 (none)",
     .help = "an event older than this at its start is dropped",
     .example = "30s", TR(max_age_us)},
    {"trigger", "dedupe", MP_T_DURATION, .def = "0", .shown = "0 (off)",
     .help = "a sender's event id is kept that long; a repeat isn't run",
     .example = "1h", .later = DEDUPE},
    {"trigger", "filter", MP_T_LINE, .help = "runs only where this holds",
     .example = "temp > 30 and hum < 80", .later = STREAM},
    {"trigger", "deadband", MP_T_LINE, .help = "runs only when a field moved",
     .example = "temp 0.2 per {device} every 5m", .later = STREAM},
    {"trigger", "throttle", MP_T_LINE, .help = "at most so often",
     .example = "1/m per {device}", .later = STREAM},
    {"trigger", "coalesce", MP_T_LINE, .help = "the last event of a window",
     .example = "latest per {device} within 200ms", .later = STREAM},
    {"trigger", "batch", MP_T_LINE, .help = "many events in one run",
     .example = "256 per {machine} within 2s", .later = STREAM},
    {"trigger", "at_start", MP_T_SWITCH, .def = "no",
     .help = "every: run at start too", .example = "yes", .later = TIMER},
    {"trigger", "jitter", MP_T_DURATION, .def = "0",
     .help = "timers: a delay within this, fixed for a node", .example = "1s",
     .later = TIMER},
    {"trigger", "missed", MP_T_CHOICE, .words = "skip once all", .def = "skip",
     .help = "timers: what to do after downtime", .example = "once",
     .later = TIMER},
    {"trigger", "timezone", MP_T_TEXT, .check = mp_check_zone,
     .shown = "the function's", .help = "of a cron trigger",
     .example = "Europe/Paris", .later = CRON},

    {"grant", "publish", MP_T_LIST, .check = mp_check_grant, .shown = "none",
     .help = "MQTT filters: topics it may publish to", .example = "alerts/#"},
    {"grant", "request", MP_T_LIST, .shown = "none",
     .help = "where it may make requests", .example = "http://10.0.0.7/*",
     .later = REQUEST},
    {"grant", "send", MP_T_LIST, .shown = "none",
     .help = "functions it may send to", .example = "archive", .later = SEND},
    {"grant", "secret", MP_T_LIST, .shown = "none",
     .help = "secrets it may read", .example = "HOOK_KEY", .later = SECRETS},

    {"state", "key", MP_T_TEXT, .check = mp_check_template,
     .shown = "the whole function",
     .help = "each key is an actor with values of its own",
     .example = "{device}", FN(state_key)},
    {"state", "durable", MP_T_SWITCH, .def = "yes",
     .help = "no: in memory only", .example = "no"},
    {"state", "quota", MP_T_SIZE, .min = 1024, .def = "4M",
     .help = "keys, names, values and alarms together", .example = "16M"},
    {"state", "rollback", MP_T_CHOICE, .words = "keep restore", .def = "keep",
     .help = "state when a version is rolled back", .example = "restore"},

    {"limits", "memory", MP_T_SIZE, .min = MP_MEMORY_MIN, .max = MP_MEMORY_MAX,
     .def = "1M", .help = "of one instance", .example = "512K", FN(memory)},
    {"limits", "timeout", MP_T_DURATION, .min = 1000, .max = INT64_C(900000000),
     .def = "5s", .help = "whole invocation, waits included", .example = "30s",
     FN(timeout_us)},
    {"limits", "cpu", MP_T_DURATION, .min = 1000, .max = INT64_C(900000000),
     .shown = "the smaller of timeout and 1s",
     .help = "processor time of one invocation", .example = "100ms",
     FN(cpu_us)},
    {"limits", "outputs", MP_T_NUMBER, .min = 0, .max = 100000, .def = "100",
     .help = "of one invocation, reply included", .example = "1000",
     FN(outputs)},
    {"limits", "output_bytes", MP_T_SIZE, .min = 0, .max = 8 << 20,
     .def = "256K", .help = "of one invocation", .example = "1M",
     FN(output_bytes)},
    {"limits", "init_timeout", MP_T_DURATION, .min = 1000,
     .max = INT64_C(60000000), .def = "1s",
     .help = "loading and the file's own run", .example = "3s",
     FN(init_timeout_us)},
    {"limits", "log_bytes", MP_T_SIZE, .min = 0, .max = 1 << 20, .def = "16K",
     .help = "of one invocation; the rest is counted", .example = "64K",
     FN(log_bytes)},
    {"limits", "queue", MP_T_NUMBER, .min = 1, .max = 1000000, .def = "1000",
     .help = "events that wait for it", .example = "10000", FN(queue)},
    {"limits", "queue_bytes", MP_T_SIZE, .min = 1024, .max = 1 << 30,
     .def = "4M", .help = "and their bytes", .example = "16M", FN(queue_bytes)},
    {"limits", "overflow", MP_T_CHOICE, .words = "park oldest", .def = "park",
     .help = "full queue, QoS 1: park, or drop the oldest; QoS 0: the oldest",
     .example = "oldest", FN(overflow_oldest)},
    {"limits", "park_bytes", MP_T_SIZE, .min = 1024, .def = "16M",
     .help = "past this its inputs become dead letters", .example = "64M",
     .later = PARKING},
    {"limits", "kills", MP_T_NUMBER, .min = 1, .max = 10, .def = "2",
     .help = "deaths of a worker with the event alone in it, before its "
             "outcome is 'killed'",
     .example = "1", FN(kills)},
    {"limits", "tracked", MP_T_NUMBER, .min = 1, .def = "10000",
     .help = "memories of a stream line", .example = "1000", .later = STREAM},

    {"scale", "min", MP_T_NUMBER, .min = 0, .max = 1, .def = "0",
     .help = "1: its image is never given up", .example = "1", FN(scale_min)},
    {"scale", "max", MP_T_NUMBER, .min = 0, .max = 100000, .def = "16",
     .help = "invocations at once, waiting ones included; 0: switched off",
     .example = "1000", FN(scale_max)},
    {"scale", "idle", MP_T_DURATION, .min = 1000000, .def = "60s",
     .help = "its image is given up after", .example = "10m", FN(idle_us)},
    {"scale", "priority", MP_T_CHOICE, .words = "low normal high",
     .def = "normal", .help = "weights 1, 4, 16", .example = "high",
     FN(priority)},
    {"scale", "isolation", MP_T_CHOICE, .words = "shared worker",
     .def = "shared", .help = "worker: processes of its own",
     .example = "worker", FN(own_worker)},

    {"retry", "attempts", MP_T_NUMBER, .min = 1, .max = 1000, .def = "3",
     .help = "runs in all, the first included", .example = "1", FN(attempts)},
    {"retry", "backoff", MP_T_DURATION, .min = 1000, .def = "1s",
     .help = "before the second run; doubles, 20 % jitter", .example = "10s",
     FN(backoff_us)},
    {"retry", "max_backoff", MP_T_DURATION, .min = 1000, .def = "5m",
     .help = "and no longer than this", .example = "1h", FN(max_backoff_us)},
    {"retry", "max_age", MP_T_DURATION, .def = "0", .shown = "0 (none)",
     .help = "no further run later than this after the event's time",
     .example = "6h", FN(retry_max_age_us)},
    {"retry", "on_failure", MP_T_TEXT, .check = mp_check_on_failure,
     .help = "is told each dead letter: topic:T or function:F",
     .example = "topic:ops/dead", .later = DEAD_LETTERS, FN(on_failure)},

    {"breaker", "failures", MP_T_NUMBER, .min = 1, .max = 1000000, .def = "10",
     .help = "failed in a row: quarantine", .example = "3",
     FN(breaker_failures)},
    {"breaker", "pause", MP_T_DURATION, .min = 100000, .def = "10s",
     .help = "then one probe; doubles while that fails", .example = "1m",
     FN(breaker_pause_us)},
    {"breaker", "max_pause", MP_T_DURATION, .min = 100000, .def = "10m",
     .help = "and no longer than this", .example = "1h",
     FN(breaker_max_pause_us)},

    {"trial", "mode", MP_T_TEXT, .def = "watch",
     .help = "off, watch, shadow or canary P%", .example = "canary 10%"},
    {"trial", "confirm", MP_T_SWITCH, .def = "no",
     .help = "rolled back unless promoted in the window", .example = "yes"},
    {"trial", "window", MP_T_DURATION, .def = "10m",
     .help = "judged after this", .example = "1h"},
    {"trial", "min_events", MP_T_NUMBER, .def = "20",
     .help = "and so many events", .example = "100"},
    {"trial", "max_errors", MP_T_PERCENT, .def = "5%",
     .help = "above the old version's share of errors", .example = "1%"},
    {"trial", "max_p99", MP_T_PERCENT, .def = "200%",
     .help = "of the old version's p99", .example = "150%"},

    {"log", "level", MP_T_CHOICE, .words = "debug info warn error",
     .def = "info", .help = "least level kept", .example = "debug",
     FN(log_level)},
    {"log", "rate", MP_T_RATE, .def = "10/s",
     .help = "lines; what was held back is said", .example = "100/s"},
    {"log", "record", MP_T_CHOICE, .words = "errors all off", .def = "errors",
     .help = "invocations kept for replay", .example = "all", .later = RECORDS},

    {"env", NULL, MP_T_TEXT, .check = mp_check_env_name,
     .help = "in double quotes: those go, blanks stay",
     .example = "HIGH = 8.0"},
};

const struct mp_table mp_function_table = {
    .sections = sections,
    .n_sections = ARRAY_LEN(sections),
    .keys = keys,
    .n_keys = ARRAY_LEN(keys),
};

void mp_function_help(struct mp_buf *out)
{
    mp_keys_help(&mp_function_table, out);
}
