/*
 * coap_format.c - CoAP has numbers for media types (IANA, CoAP
 * Content-Formats); functions see text.
 */
#include "transports/coap_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/text.h"

static const struct {
    int number;
    const char *text;
} formats[] = {
    {0, "text/plain; charset=utf-8"},
    {40, "application/link-format"},
    {41, "application/xml"},
    {42, "application/octet-stream"},
    {47, "application/exi"},
    {50, "application/json"},
    {51, "application/json-patch+json"},
    {52, "application/merge-patch+json"},
    {60, "application/cbor"},
    {61, "application/cwt"},
    {62, "application/multipart-core"},
    {63, "application/cbor-seq"},
    {110, "application/senml+json"},
    {111, "application/sensml+json"},
    {112, "application/senml+cbor"},
    {113, "application/sensml+cbor"},
    {114, "application/senml-exi"},
    {115, "application/sensml-exi"},
    {257, "application/concise-problem-details+cbor"},
    {310, "application/senml+xml"},
    {311, "application/sensml+xml"},
    {320, "application/senml-etch+json"},
    {322, "application/senml-etch+cbor"},
    {11542, "application/vnd.oma.lwm2m+tlv"},
    {11543, "application/vnd.oma.lwm2m+json"},
};

struct mp_slice mp_coap_format_text(int number, char room[COAP_FORMAT_TEXT])
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (formats[i].number == number)
            return mp_slice_str(formats[i].text);
    snprintf(room, COAP_FORMAT_TEXT, "coap/%d", number);
    return mp_slice_str(room);
}

/* Without parameters, which have no meaning here. */
static struct mp_slice bare(struct mp_slice text)
{
    struct mp_slice part;

    return mp_split(&text, ';', &part) ? mp_trim(part) : text;
}

int mp_coap_format_number(struct mp_slice text)
{
    struct mp_slice want = bare(text);
    char digits[8];

    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (mp_slice_eq(bare(mp_slice_str(formats[i].text)), want))
            return formats[i].number;
    if (!mp_starts(want, "coap/") || want.len - 5 >= sizeof digits)
        return COAP_NO_FORMAT;
    snprintf(digits, sizeof digits, "%.*s", (int)want.len - 5, want.ptr + 5);
    return (int)(strtoul(digits, NULL, 10) & 0xffff);
}

int mp_coap_format_of(enum mp_format format)
{
    switch (format) {
    case MP_FORMAT_JSON:
        return 50;
    case MP_FORMAT_CBOR:
        return 60;
    case MP_FORMAT_TEXT:
        return 0;
    default:
        return 42;
    }
}
