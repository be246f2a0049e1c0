/*
 * host_sending.c - outputs leave: by the outbox, with the transaction that
 * gathers; or at once, and their input is let go when the broker has confirmed
 * them all.
 */
#include "core/host_impl.h"

void mp_host_into_outbox(void *arg, struct mp_invocation *inv,
                         struct mp_output *o)
{
    struct mp_host *h = arg;

    mp_list_unlink(&o->mine);
    mp_host_keep_behind(h, o->topic);
    (void)mp_outbox_add(&h->outbox, o, mp_slice_str(inv->slot->name),
                        &inv->slot->metrics.flash);
}

static void on_output_done(struct mp_output *o, unsigned reason,
                           const char *why)
{
    struct mp_invocation *inv = o->owner;
    struct mp_host *h = mp_host_of(inv);
    struct mp_slot *slot = inv->slot;

    if (h->closing) { /* not sent: its input stays unsettled */
        mp_output_free(o);
        return;
    }
    mp_list_unlink(&o->mine);
    mp_host_count_direct(h, o, -1);
    if (reason) {
        mp_host_refused(h, mp_slice_str(slot->name), o, reason, why);
        inv->refused = true;
    }
    mp_output_free(o);
    if (!mp_list_empty(&inv->outputs))
        return;
    if (!inv->refused || !h->loaded) {
        mp_invocation_end(inv);
        return;
    }
    mp_invocation_note(inv); /* with the dead letter */
    mp_invocation_end_with(inv, mp_commit_ticket(&h->commit));
}

void mp_host_publish_now(void *arg, struct mp_invocation *inv,
                         struct mp_output *o)
{
    struct mp_host *h = arg;

    (void)inv;
    o->done = on_output_done;
    mp_host_count_direct(h, o, 1);
    h->mqtt->publish(h->mqtt_self, o);
}

/* Its outputs leave now, without the outbox. */
void mp_host_start_sending(struct mp_host *h, struct mp_invocation *inv)
{
    mp_invocation_leave_actor(inv);
    mp_sched_release(&inv->slot->group->sched, inv);
    inv->stage = MP_SENDING;
    mp_list_append(&h->sending, &inv->link);
    if (!mp_invocation_is_asked(inv))
        return;
    /* Who waits for it does so until the outbox has them. */
    mp_list_append(&h->holding, &inv->holding);
    mp_host_hold(h);
}

void mp_host_count_reply(struct mp_invocation *inv, const struct mp_output *o)
{
    inv->slot->metrics.replies++;
    inv->slot->metrics.output_bytes += o->data.len;
    mp_metrics.outputs++;
}
