/*
 * broker.h - a broker that does what a test says, and nothing by itself that
 * the test didn't allow.
 *
 * It listens on a free loopback port, speaks enough of MQTT 3.1.1 and 5, and
 * keeps everything it got, so that a test can say "no PUBACK came yet".  It
 * runs only inside broker_pump, in the test's own thread.
 *
 * Thread   one.   Memory  all packets are kept until broker_close.
 */
#ifndef MP_TESTS_BROKER_H
#define MP_TESTS_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum broker_type {
    B_CONNECT = 1,
    B_CONNACK,
    B_PUBLISH,
    B_PUBACK,
    B_SUBSCRIBE = 8,
    B_SUBACK,
    B_UNSUBSCRIBE,
    B_UNSUBACK,
    B_PINGREQ,
    B_PINGRESP,
    B_DISCONNECT,
};

/* One packet that came in. */
struct broker_packet {
    int client;          /* of which connection, counted from 0 */
    uint8_t type, flags; /* the high and low half of the first byte */
    uint16_t id;
    uint8_t *body; /* all after the fixed header */
    size_t len;
    char topic[256];        /* PUBLISH, first filter of (UN)SUBSCRIBE */
    uint32_t sub_id;        /* of a SUBSCRIBE; 0: none */
    uint8_t options;        /* of its first filter */
    const uint8_t *payload; /* PUBLISH */
    size_t payload_len;
    char user_id[80]; /* its user property "id" */
};

struct broker_client {
    int fd; /* -1: gone */
    int version;
    bool clean;
    bool deaf; /* what it sends is not read */
    char id[128];
    uint32_t session_expiry, packet_max;
    uint16_t receive_max;
    uint8_t *in;
    size_t in_len;
};

struct broker {
    int fd;
    uint16_t port;
    int rcvbuf; /* of connections; 0: the system's */
    struct broker_client clients[64];
    int n_clients;
    struct broker_packet *packets;
    size_t n_packets;
    /* what it does by itself */
    bool session_present; /* says CONNACK, to clients that keep one */
    int connack;          /* its reason */
    bool only_311;        /* MQTT 5 is refused: 132 */
    bool shut_v5;         /* ... by closing at once */
    bool no_identifiers;  /* CONNACK: not available */
    bool no_suback;       /* (UN)SUBSCRIBE gets no answer */
    uint8_t suback;       /* its reason, 0x80 or more; 0: granted */
    bool no_puback;       /* PUBLISH gets no answer */
    uint8_t puback;       /* its reason */
    bool no_pingresp;
};

void broker_open(struct broker *b, int rcvbuf);
void broker_close(struct broker *b);
/* Accept, read and answer what is there. */
void broker_pump(struct broker *b);

/* The newest connection of this client that is open, or -1. */
int broker_find(const struct broker *b, const char *client_id);

struct broker_message {
    const char *topic, *payload;
    uint8_t qos;
    uint16_t id;
    bool dup, retain;
    uint32_t sub_id;      /* MQTT 5; 0: none */
    const uint8_t *props; /* more of them, encoded */
    size_t n_props;
};
void broker_publish(struct broker *b, int client,
                    const struct broker_message *msg);
void broker_raw(struct broker *b, int client, const void *bytes, size_t len);
/* MQTT 5 DISCONNECT with a reason. */
void broker_disconnect(struct broker *b, int client, uint8_t reason);
void broker_drop(struct broker *b, int client);

/* How many packets of a type came from a connection (-1: from all). */
unsigned broker_count(const struct broker *b, int client, enum broker_type t);
/* The nth of them (from 0), or NULL. */
const struct broker_packet *broker_got(const struct broker *b, int client,
                                       enum broker_type t, unsigned nth);

#endif
