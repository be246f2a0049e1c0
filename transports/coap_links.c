/*
 * coap_links.c - /.well-known/core (RFC 6690): which paths are answered.
 *
 * Only whole paths are links; a pattern with names in it is none.  What a
 * peer may not ask it isn't told of.
 */
#include "core/base/text.h"
#include "transports/coap_impl.h"

#include <stdio.h>

static bool is_literal(const struct mp_pattern *p)
{
    for (unsigned i = 0; i < p->n_levels; i++)
        if (p->levels[i].kind != MP_LEVEL_LITERAL)
            return false;
    return true;
}

/* As a URI (RFC 3986). */
static void put_path(struct mp_buf *out, const char *text)
{
    for (; *text; text++) {
        char c = *text;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            (c >= '0' && c <= '9') || mp_has(MP_S("/-._~!$&'()*,;=:@"), c))
            mp_buf_put(out, &c, 1);
        else
            mp_buf_printf(out, "%%%02X", (unsigned char)c);
    }
}

static bool is_same_path(const struct mp_endpoint *a,
                         const struct mp_endpoint *b)
{
    return strcmp(a->pattern->text, b->pattern->text) == 0;
}

/* Endpoints of one path stand together: one link for all of them. */
void mp_coap_links(struct coap *c, const struct coap_peer *p,
                   struct mp_buf *out)
{
    bool any = false, observe;
    struct coap_reply r;
    unsigned i, k;

    for (i = 0; i < c->n_endpoints; i = k) {
        const struct mp_endpoint *e = &c->endpoints[i];
        bool may = false;

        observe = false;
        for (k = i; k < c->n_endpoints && is_same_path(e, &c->endpoints[k]);
             k++) {
            may = may || mp_coap_may_ask(p, &c->endpoints[k], &r);
            observe = observe || c->endpoints[k].observe;
        }
        if (!may || !is_literal(e->pattern))
            continue;
        mp_buf_printf(out, "%s<", any ? "," : "");
        put_path(out, e->pattern->text);
        mp_buf_printf(out, ">%s", observe ? ";obs" : "");
        any = true;
    }
}
