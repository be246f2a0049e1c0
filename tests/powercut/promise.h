/*
 * promise.h - what the host had taken and promised by a point of the log,
 * read from the bytes on its MQTT 5 connections.
 *
 * Events and outputs are those of tests/crash/load.h: "k" on in/dD comes in,
 * "n k" on KIND/dD leaves.
 *
 * Errors   bytes that are no MQTT end the program: the log is wrong then.
 */
#ifndef TESTS_POWERCUT_PROMISE_H
#define TESTS_POWERCUT_PROMISE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/load.h"
#include "tests/powercut/disk.h"

enum { PROMISE_DEVICES = 32, PROMISE_EVENTS = 4096 };

/* By device; number 0 is not used. */
struct promise {
    uint32_t received[PROMISE_DEVICES];               /* the highest k */
    uint16_t packet[PROMISE_DEVICES][PROMISE_EVENTS]; /* id k came with */
    bool acked[PROMISE_DEVICES][PROMISE_EVENTS];
    /* of an output: it left; the broker confirmed it */
    bool left[LOAD_KINDS][PROMISE_DEVICES][PROMISE_EVENTS];
    bool confirmed[LOAD_KINDS][PROMISE_DEVICES][PROMISE_EVENTS];
    uint32_t acks, confirmations;
    uint32_t lines; /* of a plain text connection: the last number sent */
};

/* text: the socket carries lines with a number, not MQTT. */
void promise_do(struct promise *p, const struct disk_rec *r, bool text);

#endif
