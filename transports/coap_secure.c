/*
 * coap_secure.c - DTLS with shared keys and with certificates.
 *
 * Who a peer is: the identity of its key, or the common name of its
 * certificate, where [coap] ca says whose certificates count.
 */
#include "transports/coap_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/text.h"
#include "core/base/utf8.h"
#include "core/log.h"

enum { CHAIN_MAX = 3 };

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Identities may hold ':'; keys don't. */
static int read_line(struct coap *c, struct mp_slice line, unsigned number,
                     struct mp_why *why)
{
    const char *colon = memrchr(line.ptr, ':', line.len);
    struct coap_psk *k = &c->psks[c->n_psks];
    struct mp_slice digits;

    if (!colon || colon == line.ptr)
        return mp_why_set(why, MP_EPARSE,
                          "[coap] psk_file, line %u: write identity:hex",
                          number);
    digits = mp_slice(colon + 1, (size_t)(line.ptr + line.len - colon) - 1);
    if (!digits.len || digits.len % 2 || digits.len > 2 * sizeof k->bytes)
        return mp_why_set(why, MP_EPARSE,
                          "[coap] psk_file, line %u: a key has 1 to %d bytes, "
                          "as pairs of hex digits",
                          number, COAP_PSK_MAX);
    for (size_t i = 0; i < digits.len; i++) {
        int value = hex(digits.ptr[i]);

        if (value < 0)
            return mp_why_set(why, MP_EPARSE,
                              "[coap] psk_file, line %u: a key is hex digits",
                              number);
        k->bytes[i / 2] = (uint8_t)(k->bytes[i / 2] << 4 | value);
    }
    k->identity = mp_strndup(line.ptr, (size_t)(colon - line.ptr));
    k->key = (coap_bin_const_t){digits.len / 2, k->bytes};
    c->n_psks++;
    return 0;
}

int mp_coap_secure_read(struct coap *c, struct mp_why *why)
{
    struct mp_slice rest = mp_slice_str(c->config->coap.psk_file), line;
    unsigned n = 1, number = 0;
    int rc = 0;

    if (!c->config->coap.cert != !c->config->coap.key)
        return mp_why_set(why, MP_EPARSE,
                          "[coap] cert and key are given together or not");
    for (size_t i = 0; i < rest.len; i++)
        n += rest.ptr[i] == '\n';
    c->psks = mp_zalloc(n * sizeof *c->psks);
    while (!rc && rest.ptr && mp_split(&rest, '\n', &line)) {
        line = mp_trim(line);
        number++;
        if (line.len && line.ptr[0] != '#')
            rc = read_line(c, line, number, why);
    }
    return rc;
}

void mp_coap_secure_fini(struct coap *c)
{
    for (unsigned i = 0; i < c->n_psks; i++) {
        explicit_bzero(c->psks[i].bytes, sizeof c->psks[i].bytes);
        free(c->psks[i].identity);
    }
    free(c->psks);
}

/* ---- handshakes that fail ---- */

void mp_coap_secure_begin(struct coap_peer *p)
{
    p->shake_us = mp_now_us();
}

void mp_coap_secure_done(struct coap_peer *p)
{
    p->shake_us = 0;
    p->coap->is_unknown = false;
}

/* OpenSSL drops what it can't decrypt, as DTLS says: to have another key looks
 * like silence. */
void mp_coap_secure_failed(struct coap_peer *p)
{
    struct coap *c = p->coap;

    if (!p->shake_us)
        return;
    p->shake_us = 0;
    c->n_refused++;
    snprintf(c->refused_by, sizeof c->refused_by,
             strchr(p->address, ':') ? "[%s]:%u" : "%s:%u", p->address,
             p->port);
    c->refused_why = c->is_unknown
                         ? "psk_file has no such identity"
                         : "another key, no certificate we know, or an end in "
                           "the middle";
    snprintf(c->refused_name, sizeof c->refused_name, "%s",
             c->is_unknown ? c->unknown : "");
    c->is_unknown = false;
}

void mp_coap_secure_tick(struct coap *c, int64_t now_us)
{
    struct mp_field fields[] = {
        MP_TEXT("peer", MP_S("")),
        MP_NUM("handshakes", 0),
        MP_TEXT("identity", MP_S("")),
        {NULL, {0}, 0, false},
    };

    mp_list_each (at, &c->peers) {
        struct coap_peer *p = mp_of(at, struct coap_peer, link);

        if (p->shake_us && now_us - p->shake_us > COAP_SHAKE_S * MP_SECOND)
            mp_coap_secure_failed(p);
    }
    if (!c->n_refused)
        return;
    fields[0].text = mp_slice_str(c->refused_by);
    fields[1].number = c->n_refused;
    fields[2].text = mp_slice_str(c->refused_name);
    if (!c->refused_name[0])
        fields[2].name = NULL;
    mp_log(MP_WARN, "coap", fields, "a DTLS handshake failed: %s",
           c->refused_why);
    c->n_refused = 0;
}

static const coap_bin_const_t *find_key(coap_bin_const_t *identity,
                                        coap_session_t *session MP_UNUSED,
                                        void *arg)
{
    struct coap *c = arg;

    for (unsigned i = 0; i < c->n_psks; i++)
        if (mp_slice_eq(mp_slice(identity->s, identity->length),
                        mp_slice_str(c->psks[i].identity)))
            return &c->psks[i].key;
    c->is_unknown = true;
    snprintf(c->unknown, sizeof c->unknown, "%.*s",
             (int)(identity->length < sizeof c->unknown ? identity->length
                                                        : sizeof c->unknown),
             (const char *)identity->s);
    return NULL;
}

static int on_certificate(const char *cn, const uint8_t *der MP_UNUSED,
                          size_t len MP_UNUSED, coap_session_t *session,
                          unsigned depth, int valid, void *arg)
{
    struct coap_peer *p;

    if (!valid || depth || !cn || !mp_utf8_valid(mp_slice_str(cn)))
        return valid;
    p = mp_coap_peer(arg, session);
    free(p->name);
    p->name = mp_strndup(cn, strlen(cn));
    return valid;
}

static int use_keys(struct coap *c, struct mp_why *why)
{
    coap_dtls_spsk_t setup = {
        .version = COAP_DTLS_SPSK_SETUP_VERSION,
        .validate_id_call_back = find_key,
        .id_call_back_arg = c,
    };

    setup.psk_info.hint = (coap_bin_const_t){8, (const uint8_t *)"moonpool"};
    setup.psk_info.key = c->psks[0].key;
    if (coap_context_set_psk2(c->context, &setup))
        return 0;
    return mp_why_set(why, MP_EIO, "the keys of psk_file can't be used");
}

static int use_certificate(struct coap *c, struct mp_why *why)
{
    const char *ca = c->config->coap.ca;
    const char *files[] = {c->config->coap.cert, c->config->coap.key, ca};
    coap_dtls_pki_t setup = {
        .version = COAP_DTLS_PKI_SETUP_VERSION,
        .verify_peer_cert = ca != NULL,
        .check_common_ca = ca != NULL,
        .cert_chain_validation = 1,
        .cert_chain_verify_depth = CHAIN_MAX,
        .validate_cn_call_back = on_certificate,
        .cn_call_back_arg = c,
    };

    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (files[i] && access(files[i], R_OK))
            return mp_why_errno(why, "[coap] %s", files[i]);
    setup.pki_key.key_type = COAP_PKI_KEY_PEM;
    setup.pki_key.key.pem.ca_file = ca;
    setup.pki_key.key.pem.public_cert = c->config->coap.cert;
    setup.pki_key.key.pem.private_key = c->config->coap.key;
    if (coap_context_set_pki(c->context, &setup))
        return 0;
    return mp_why_set(why, MP_EIO, "[coap] %s and its key can't be used",
                      c->config->coap.cert);
}

int mp_coap_secure_context(struct coap *c, struct mp_why *why)
{
    if (c->n_psks && use_keys(c, why))
        return MP_EIO;
    return c->config->coap.cert ? use_certificate(c, why) : 0;
}

struct mp_slice mp_coap_identity(const struct coap_peer *p)
{
    const coap_bin_const_t *psk = NULL;
    struct mp_slice none = {NULL, 0}, name;

    if (!p->secure)
        return none;
    if (p->name)
        return mp_slice_str(p->name);
    psk = coap_session_get_psk_identity(p->session);
    if (!psk || !psk->length)
        return none;
    name = mp_slice(psk->s, psk->length);
    return mp_utf8_valid(name) ? name : none;
}
