/*
 * load.h - sensors that send numbered events, and a reader that keeps account
 * of every output.
 *
 * Event k of device d is "k" on in/dD, QoS 1; numbers begin at 1.  An output
 * is "n k" on KIND/dD: the nth of its kind and device, caused by event k, with
 * its id as a user property.  Of each line (kind, device) the first copies
 * must come as n = 1, 2, 3...; a repeat must have the id and the bytes of the
 * first copy, and no two outputs have one id.
 *
 * Sensors lose nothing: what a broker had not confirmed when its connection
 * broke is sent again, and with `ids` (each event has one of the sensor's
 * own) so is everything of the last RESEND seconds, because a killed broker
 * forgets what it confirmed.
 */
#ifndef TESTS_CRASH_LOAD_H
#define TESTS_CRASH_LOAD_H

#include <mosquitto.h>
#include <stdbool.h>
#include <stdint.h>

enum load_kind { LOAD_COUNT, LOAD_TALLY, LOAD_RANG, LOAD_ECHO, LOAD_KINDS };
enum { LOAD_RING_EVERY = 10 };

/* One kind of one device. */
struct load_line {
    uint32_t last;    /* highest n that came */
    uint32_t came;    /* different ones */
    uint64_t *copies; /* by n: hash of id and bytes; 0: did not come */
    uint32_t cap;
    bool *rang; /* by k / 10; LOAD_RANG */
};

/* One event as it was sent. */
struct load_sent {
    uint32_t device, k;
    int64_t sent_us;
    bool confirmed;
};

struct load {
    int port;
    unsigned devices;
    bool ids;    /* events have ids, and the last seconds are sent again */
    bool gaps;   /* outputs may be missing: a broker forgot them */
    bool skips;  /* events may have been given up: outputs count, no more */
    double rate; /* events a second; 0: as fast as they are confirmed */
    struct mosquitto *pub, *sub;
    bool pub_up, sub_up;
    unsigned subscribed;
    int64_t retry_us, sent_us; /* when to connect again; last send */
    struct load_sent *sent;    /* in order of their first sending */
    uint32_t n_sent, cap_sent, confirmed;
    uint32_t next;            /* of sent: what is sent again from here */
    uint32_t by_mid[1 << 16]; /* index into sent, + 1 */
    uint32_t open;            /* sent and not confirmed, this connection */
    uint32_t want;            /* events a device */
    struct load_line *lines;  /* LOAD_KINDS a device */
    uint64_t *ids_seen, n_ids, cap_ids;
    uint64_t outputs, repeats, missing, late;
    char wrong[256]; /* the first thing that was wrong; "": nothing */
};

/* Opens both connections; the reader has subscribed on return. */
void load_open(struct load *l, int port, unsigned devices, bool ids);
void load_close(struct load *l);

/* So many events more of each device. */
void load_add(struct load *l, uint32_t events);
/* Send, receive, connect again; for ms at most. */
void load_turn(struct load *l, int ms);
/* The broker confirmed every event. */
bool load_is_sent(const struct load *l);
/* Every output has come (with gaps: or was given up). */
bool load_is_complete(const struct load *l);
/* What is missing, in a sentence. */
void load_tell(const struct load *l, char *text, size_t size);

/* How many outputs of that kind there must be a device. */
uint32_t load_expected(const struct load *l, enum load_kind kind);
struct load_line *load_line(const struct load *l, enum load_kind kind,
                            unsigned device);

#endif
