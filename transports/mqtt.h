/*
 * mqtt.h - MQTT 5 and 3.1.1: inputs by subscriptions, outputs by publishing.
 *
 * One broker.  Inputs come on a connection that publishes nothing but the
 * node's status (CLIENT_ID), and one more for each trigger with a lane of its
 * own (CLIENT_ID-FUNCTION-TRIGGER); outputs leave on CLIENT_ID-out.  Only the
 * gate (core/gate.h) decides when acknowledgements leave.
 *
 * Process  host only.   Thread  loop thread; names are resolved on libuv's
 *          pool.
 * Memory   one block an input; what the library queues is bounded by the
 *          gate's batch and by the window of outputs.
 * Errors   a connection that is lost is logged once and tried again for ever.
 */
#ifndef MP_MQTT_H
#define MP_MQTT_H

#include "core/transport.h"

extern const struct mp_transport mp_mqtt;

#endif
