/*
 * coap_bare.c - the least a program can do with libcoap that answers a
 * request: one resource, a handler that says "ok", and the library's own loop.
 *
 *   coap_bare PORT
 *
 * No functions, nothing durable, no repeats found.  It says `ready` on stdout
 * and runs until SIGTERM.
 */
#include <arpa/inet.h>
#include <coap3/coap.h>
#include <stdio.h>
#include <stdlib.h>

static void answer(coap_resource_t *resource, coap_session_t *session,
                   const coap_pdu_t *request, const coap_string_t *query,
                   coap_pdu_t *response)
{
    static const uint8_t ok[] = {'o', 'k'};
    uint8_t format[4];

    (void)resource, (void)session, (void)request, (void)query;
    coap_pdu_set_code(response, COAP_RESPONSE_CODE_CHANGED);
    coap_add_option(
        response, COAP_OPTION_CONTENT_FORMAT,
        coap_encode_var_safe(format, sizeof format, COAP_MEDIATYPE_TEXT_PLAIN),
        format);
    coap_add_data(response, sizeof ok, ok);
}

static void must(const void *made, const char *what)
{
    if (made)
        return;
    fprintf(stderr, "coap_bare: no %s\n", what);
    exit(1);
}

int main(int argc, char **argv)
{
    coap_context_t *context;
    coap_resource_t *resource;
    coap_address_t at;

    if (argc != 2)
        return 2;
    coap_startup();
    context = coap_new_context(NULL);
    must(context, "context");
    coap_address_init(&at);
    at.addr.sin.sin_family = AF_INET;
    at.addr.sin.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    at.addr.sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(coap_new_endpoint(context, &at, COAP_PROTO_UDP), "endpoint");
    resource = coap_resource_init(coap_make_str_const("bench"), 0);
    must(resource, "resource");
    coap_register_request_handler(resource, COAP_REQUEST_POST, answer);
    coap_add_resource(context, resource);
    puts("ready");
    fflush(stdout);
    while (coap_io_process(context, COAP_IO_WAIT) >= 0)
        ;
    return 1;
}
