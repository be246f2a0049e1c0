/*
 * http_auth.c - is it the token, is it the signature?
 *
 * What is compared are secrets: the time it takes tells nothing of where the
 * first wrong byte is.
 */
#include "transports/http_impl.h"

#include <mbedtls/md.h>
#include <strings.h>

#include "core/base/text.h"

enum { HMAC_BYTES = HTTP_HMAC_HEX / 2 };

/* That a token has another length may be seen. */
static bool same(struct mp_slice a, struct mp_slice b)
{
    volatile unsigned char differs = 0;

    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        differs |= (unsigned char)(a.ptr[i] ^ b.ptr[i]);
    return !differs;
}

/* The scheme in any case, then one blank or more (RFC 9110, 11.4). */
bool mp_http_token(struct mp_slice authorization, struct mp_slice token)
{
    static const char bearer[] = "bearer ";
    size_t len = sizeof bearer - 1;

    if (!token.len || authorization.len <= len ||
        strncasecmp(authorization.ptr, bearer, len) != 0)
        return false;
    return same(
        mp_trim(mp_slice(authorization.ptr + len, authorization.len - len)),
        token);
}

bool mp_http_hmac(struct mp_slice signature, struct mp_slice key,
                  struct mp_slice body)
{
    static const char digits[] = "0123456789abcdef", prefix[] = "sha256=";
    unsigned char hmac[HMAC_BYTES];
    char right[HTTP_HMAC_HEX], given[HTTP_HMAC_HEX];
    int rc;

    if (mp_starts(signature, prefix)) {
        signature.ptr += sizeof prefix - 1;
        signature.len -= sizeof prefix - 1;
    }
    if (!key.len || signature.len != HTTP_HMAC_HEX)
        return false;
    rc = mbedtls_md_hmac(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256),
                         (const unsigned char *)key.ptr, key.len,
                         (const unsigned char *)(body.ptr ? body.ptr : ""),
                         body.len, hmac);
    MP_ASSERT(rc == 0);
    for (int i = 0; i < HTTP_HMAC_HEX; i++) {
        char c = signature.ptr[i];

        right[i] = digits[hmac[i / 2] >> (i % 2 ? 0 : 4) & 15];
        given[i] = c >= 'A' && c <= 'F' ? (char)(c | 0x20) : c;
    }
    return same(mp_slice(right, sizeof right), mp_slice(given, sizeof given));
}
