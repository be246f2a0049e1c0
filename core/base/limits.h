/*
 * limits.h - every bound of the program, each with its reason.
 *
 * Reaching one is designed and tested: it is refused with a sentence, counted,
 * or waits.  Limits a user sets are in function.conf and moonpool.conf; these
 * here are the ones nobody should need to.
 */
#ifndef MP_BASE_LIMITS_H
#define MP_BASE_LIMITS_H

enum {
    /* One frame between host and worker.  A package is at most 1 MiB, an
     * event at most [mqtt] max_payload, an outcome at most output_bytes +
     * log_bytes + a result: 16 MiB is past all of them. */
    MP_FRAME_MAX = 16 << 20,

    /* Pairs of one kind in an event or effect: levels of a topic, user
     * properties.  More are cut off; real senders use a handful. */
    MP_PAIRS_MAX = 32,
    MP_PROPERTIES_MAX = 64 << 10, /* bytes of one message's, together */
    MP_HEADERS_BYTES = 8 << 10,   /* of one reply, together */
    MP_TRACE_MAX = 512, /* a traceparent is 55 bytes (W3C); longer is none */

    /* MQTT topics are at most 65,535 bytes; 1,024 is what we publish to. */
    MP_TOPIC_MAX = 1024,
    MP_LEVELS_MAX = 32, /* levels of one pattern */

    MP_NAME_MAX = 40,     /* a function's name */
    MP_TRIGGER_MAX = 20,  /* a trigger's name */
    MP_NODE_MAX = 64,     /* the node's name */
    MP_KEY_MAX = 128,     /* an actor key */
    MP_EVENT_ID_MAX = 64, /* longer ids of senders are hashed */

    /* State: the name of a value or alarm, one value, the values that travel
     * with an event, an alarm's data. */
    MP_STATE_NAME_MAX = 256,
    MP_STATE_VALUE_MAX = 64 << 10,
    MP_STATE_TRAVEL_MAX = 64 << 10,
    MP_ALARM_NAME_MAX = 64,
    MP_ALARM_DATA_MAX = 16 << 10,
    MP_STATE_CHANGES_MAX = 1000, /* values that one invocation changes */
    MP_ACTORS_MAX = 1000,        /* keys of one mp.state.actors call */

    /* Sends without a delay that follow from one event: a chain of functions
     * is a handful, a loop has no end. */
    MP_HOPS_MAX = 64,

    MP_FILES_MAX = 64, /* files of one function */
    MP_FILE_MAX = 256 << 10,
    MP_FUNCTION_BYTES_MAX = 1 << 20,
    MP_TRIGGERS_MAX = 64,

    /* Events of one batch; their texts are at most a quarter of a frame. */
    MP_BATCH_MAX = 1000,
    MP_REASON_MAX = 512, /* why one of them ended otherwise */

    MP_ERROR_MAX = 1024,     /* bytes of an error message kept */
    MP_TRACEBACK_MAX = 4096, /* bytes of a traceback kept */

    /* Smallest and largest memory limit of a function (INTERFACE). */
    MP_MEMORY_MIN = 64 << 10,
    MP_MEMORY_MAX = 64 << 20,

    /* Runs handed to one worker at a time: enough to amortise a system call
     * (350,000/s at 20, 760,000/s at 256, measured), few enough to take
     * back when one of them turns out slow. */
    MP_PIPELINE_MAX = 256,
    MP_PIPELINE_BYTES = 512 << 10,

    /* Events of one function whose actors are being read: enough for the
     * reader to work in batches; the others stay in its queue. */
    MP_READING_MAX = 256,

    MP_WORKERS_MAX = 64,

    /* An escaped payload in a log line. */
    MP_LOG_PAYLOAD_MAX = 120,
};

#endif
