/*
 * gate.h - when an input connection may read, and when it may write.
 *
 * In externally threaded mode libmosquitto queues every outgoing packet,
 * acknowledgements too, until mosquitto_loop_write, which sends them all.  So
 * whoever decides about loop_write decides about acknowledging.  A lane is
 *
 *            took the batch, or dry
 *      READ ------------------------> HELD      something is in work
 *       ^  \                           |
 *       |   \ dry, nothing in work     | last one settled
 *       |    v                         v
 *       +--- FLUSH <-------------------+
 *   nothing unsent
 *
 * READ   nothing is unsent; read until dry, or batch_messages, or
 *        batch_bytes.
 * HELD   at least one QoS 1 input is in work; neither read nor write.
 * FLUSH  all inputs of the batch are settled; write until nothing is unsent,
 *        and read nothing before that (a flush cut short must not release
 *        later acknowledgements).
 *
 * A lane of its own (read_on) keeps reading while HELD, up to batch_messages
 * in work, so that windows can fill.
 *
 * This is bookkeeping only: no sockets, no library, so every path of it has
 * a test.  transports/mqtt.c does what it says.
 *
 * Process  host only.   Thread  loop thread.   Memory  a plain structure.
 */
#ifndef MP_GATE_H
#define MP_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mp_gate_state { MP_GATE_READ, MP_GATE_HELD, MP_GATE_FLUSH };

struct mp_gate {
    enum mp_gate_state state;
    unsigned batch_messages; /* bounds of one batch */
    size_t batch_bytes;
    bool read_on;
    unsigned in_work;  /* QoS 1 inputs that are not settled */
    unsigned messages; /* taken in this batch */
    size_t bytes;
    int64_t held_us; /* monotonic time HELD began; 0: not held */
    int64_t held_total_us;
};

void mp_gate_init(struct mp_gate *g, unsigned batch_messages,
                  size_t batch_bytes, bool read_on);
/* May the next packet be read?  (Ask before each.) */
bool mp_gate_may_read(const struct mp_gate *g);
/* May what is unsent be written? */
bool mp_gate_may_write(const struct mp_gate *g);
/* An input came; qos 0 is never in work. */
void mp_gate_took(struct mp_gate *g, uint8_t qos, size_t bytes);
/* One QoS 1 input is settled. */
void mp_gate_settled(struct mp_gate *g, int64_t now_us);
/* Reading ended: the socket is dry, or may_read said no. */
void mp_gate_dry(struct mp_gate *g, int64_t now_us);
/* Writing ended and nothing is unsent. */
void mp_gate_flushed(struct mp_gate *g);
/* The connection is gone, and the unsent acknowledgements with it.  Inputs
 * in work stay in work with the host, but no longer hold this lane. */
void mp_gate_lost(struct mp_gate *g, int64_t now_us);

#endif
