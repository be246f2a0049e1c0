/*
 * mqtt_reason.c - why a connection is down, as a sentence for a person.
 *
 * There are four tellers: the broker's CONNACK, its DISCONNECT (MQTT 5 only),
 * the library's error and, behind that, errno or OpenSSL.
 */
#include "transports/mqtt_impl.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>

#include "core/base/clock.h"

/* Closed soon after it was up so many times in a row, the likely reason is a
 * second client: both come back, and each throws the other out. */
enum { BRIEF_MANY = 3 };

/* "Connection refused" in the middle of a sentence. */
static const char *system_text(int error, char *text, size_t size)
{
    snprintf(text, size, "%s", strerror(error));
    if (text[0] && islower((unsigned char)text[1]))
        text[0] = (char)tolower((unsigned char)text[0]);
    return text;
}

/* MQTT 3.1.1 has codes of its own for what MQTT 5 says too. */
static int connack_reason(const struct mqtt_conn *c)
{
    static const int v5[] = {
        0,
        MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION,
        MQTT_RC_CLIENTID_NOT_VALID,
        MQTT_RC_SERVER_UNAVAILABLE,
        MQTT_RC_BAD_USERNAME_OR_PASSWORD,
        MQTT_RC_NOT_AUTHORIZED,
    };

    if (c->connack > 0 && c->connack < (int)ARRAY_LEN(v5))
        return v5[c->connack];
    return c->connack;
}

static void broker_text(const struct mqtt_conn *c, int reason, char *text,
                        size_t size)
{
    switch (reason) {
    case MQTT_RC_SESSION_TAKEN_OVER:
        snprintf(text, size, "another client uses the id '%s'", c->client_id);
        break;
    case MQTT_RC_CLIENTID_NOT_VALID:
        snprintf(text, size, "the broker does not take the id '%s'",
                 c->client_id);
        break;
    case MQTT_RC_BAD_USERNAME_OR_PASSWORD:
        snprintf(text, size, "wrong user or password (see [mqtt] user)");
        break;
    case MQTT_RC_NOT_AUTHORIZED:
        snprintf(text, size, "the broker does not let us in (see [mqtt] user)");
        break;
    case MQTT_RC_SERVER_SHUTTING_DOWN:
        snprintf(text, size, "the broker is shutting down");
        break;
    case MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION:
        snprintf(text, size, "the broker does not speak MQTT %s",
                 c->version == MQTT_PROTOCOL_V5 ? "5" : "3.1.1");
        break;
    default:
        snprintf(text, size, "the broker says: %s (%d)",
                 mosquitto_reason_string(reason), reason);
    }
}

static void tls_text(const struct mqtt_conn *c, char *text, size_t size)
{
    /* "error:0A000086:SSL routines::certificate verify failed" */
    const char *last = strrchr(c->tls_error, ':');

    if (last && last[1])
        snprintf(text, size, "TLS: %s", last + 1);
    else
        snprintf(text, size, "the TLS handshake failed");
}

static void library_text(const struct mqtt_conn *c, char *text, size_t size)
{
    char error[100];

    switch (c->lost_rc) {
    case MOSQ_ERR_ERRNO:
        if (c->tls_error[0] || c->lost_errno == EPROTO)
            tls_text(c, text, size);
        else
            snprintf(text, size, "%s",
                     system_text(c->lost_errno, error, sizeof error));
        break;
    case MOSQ_ERR_EAI:
        snprintf(text, size, "the name '%s' is not resolved: %s",
                 c->mq->config->mqtt.host, gai_strerror(c->lost_errno));
        break;
    case MOSQ_ERR_SUCCESS:
    case MOSQ_ERR_CONN_LOST:
        if (c->tls_error[0])
            tls_text(c, text, size);
        else if (c->greeted && c->brief >= BRIEF_MANY)
            snprintf(text, size,
                     "the broker closed the connection; does another client "
                     "use the id '%s'?",
                     c->client_id);
        else
            snprintf(text, size, "the broker closed the connection");
        break;
    case MOSQ_ERR_KEEPALIVE:
        snprintf(text, size, "the broker does not answer pings");
        break;
    case MOSQ_ERR_TLS:
    case MOSQ_ERR_TLS_HANDSHAKE:
        tls_text(c, text, size);
        break;
    case MOSQ_ERR_PROTOCOL:
    case MOSQ_ERR_MALFORMED_PACKET:
    case MOSQ_ERR_MALFORMED_UTF8:
    case MOSQ_ERR_PAYLOAD_SIZE:
    case MOSQ_ERR_NOMEM:
        snprintf(text, size, "the broker sent a bad packet: %s",
                 mosquitto_strerror(c->lost_rc));
        break;
    default:
        snprintf(text, size, "%s", mosquitto_strerror(c->lost_rc));
    }
}

void mp_mqtt_reason(const struct mqtt_conn *c, char *text, size_t size)
{
    size_t len;

    if (c->doomed[0])
        snprintf(text, size, "%s", c->doomed);
    else if (c->greeted && c->connack)
        broker_text(c, connack_reason(c), text, size);
    else if (c->lost_rc >= MQTT_RC_UNSPECIFIED)
        broker_text(c, c->lost_rc, text, size);
    else
        library_text(c, text, size);
    /* The library's sentences end in a full stop, ours don't. */
    len = strlen(text);
    if (len && text[len - 1] == '.')
        text[len - 1] = '\0';
}
