/*
 * base64.c - three bytes are four characters; what is left over is one byte
 * (two characters, four zero bits) or two bytes (three, two zero bits).
 */
#include "core/base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789+/";

void mp_base64_encode(struct mp_slice in, char *out)
{
    const unsigned char *p = (const unsigned char *)in.ptr;
    size_t left = in.len;
    uint32_t bits;

    for (; left >= 3; left -= 3, p += 3) {
        bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = alphabet[bits >> 6 & 63];
        *out++ = alphabet[bits & 63];
    }
    if (left == 0)
        return;
    bits = (uint32_t)p[0] << 16 | (left == 2 ? (uint32_t)p[1] << 8 : 0);
    *out++ = alphabet[bits >> 18];
    *out++ = alphabet[bits >> 12 & 63];
    *out++ = left == 2 ? alphabet[bits >> 6 & 63] : '=';
    *out = '=';
}

/* What a character stands for; 64: nothing. */
static unsigned digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0') + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return 64;
}

static int wrong(size_t *bad, size_t at)
{
    *bad = at;
    return MP_EPARSE;
}

int mp_base64_decode(struct mp_slice in, char *out, size_t *len, size_t *bad)
{
    char *start = out;
    uint32_t bits = 0;
    size_t i, rest, pads;

    for (i = 0; i < in.len && in.ptr[i] != '='; i++) {
        unsigned d = digit(in.ptr[i]);

        if (d == 64)
            return wrong(bad, i);
        bits = bits << 6 | d;
        if (i % 4 == 3) {
            *out++ = (char)(bits >> 16 & 0xff);
            *out++ = (char)(bits >> 8 & 0xff);
            *out++ = (char)(bits & 0xff);
        }
    }
    rest = i % 4;
    pads = in.len - i;
    if (rest == 1) /* six bits are no byte */
        return wrong(bad, i);
    if (pads > 0 && rest == 0)
        return wrong(bad, i);
    for (size_t n = 0; n < pads; n++)
        if (in.ptr[i + n] != '=' || n >= 4 - rest)
            return wrong(bad, i + n);
    if (pads > 0 && pads < 4 - rest)
        return wrong(bad, in.len);
    if ((rest == 2 && bits & 0xf) || (rest == 3 && bits & 0x3))
        return wrong(bad, i - 1);
    if (rest == 2)
        *out++ = (char)(bits >> 4 & 0xff);
    if (rest == 3) {
        *out++ = (char)(bits >> 10 & 0xff);
        *out++ = (char)(bits >> 2 & 0xff);
    }
    *len = (size_t)(out - start);
    return 0;
}
