/*
 * worker_kit.c - says frames to a worker and reads its answers.
 */
#include "tests/unit/worker_kit.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

bool kit_next(struct kit *k)
{
    int64_t until = mp_now_us() + KIT_WAIT_MS * MP_MS;

    for (;;) {
        struct pollfd p = {.fd = k->worker.fd, .events = POLLIN};
        struct mp_slice body,
            have = mp_slice(k->in.ptr + k->taken, k->in.len - k->taken);
        int n = have.len ? mp_frame_next(have, &k->type, &body) : 0;
        ssize_t got;
        char *room;

        assert_true(n >= 0);
        if (n > 0) {
            k->taken += (size_t)n;
            if (k->type == MP_FRAME_DONE)
                assert_int_equal(mp_read_done(body, &k->done), 0);
            else if (k->type == MP_FRAME_LOADED)
                assert_int_equal(mp_read_loaded(body, &k->loaded, k->names), 0);
            else if (k->type == MP_FRAME_WAIT)
                assert_int_equal(mp_read_wait(body, &k->wait), 0);
            return true;
        }
        if (mp_now_us() > until)
            fail_msg("no frame within %d ms", KIT_WAIT_MS);
        if (poll(&p, 1, 5) == 0) {
            mp_worker_watch(&k->worker, mp_now_us(), &k->allowed);
            continue;
        }
        if (k->taken == k->in.len) {
            mp_buf_reset(&k->in);
            k->taken = 0;
        }
        room = mp_buf_room(&k->in, 1 << 20);
        got = recv(k->worker.fd, room, 1 << 20, 0);
        if (got <= 0)
            return false;
        k->in.len += (size_t)got;
    }
}

void kit_flush(struct kit *k)
{
    size_t sent = 0;

    while (sent < k->out.len) {
        ssize_t n = send(k->worker.fd, k->out.ptr + sent, k->out.len - sent,
                         MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = k->worker.fd, .events = POLLOUT};

            poll(&p, 1, 100);
            continue;
        }
        if (n < 0)
            break;
        sent += (size_t)n;
    }
    mp_buf_reset(&k->out);
}

struct kit *kit_open(void)
{
    struct kit *k = mp_zalloc(sizeof *k);
    struct mp_why why;

    if (mp_worker_spawn(&k->worker, mp_worker_program(), &why))
        fail_msg("%s", why.text);
    mp_buf_init(&k->out, 64 << 20);
    mp_buf_init(&k->in, 64 << 20);
    k->memory = 1 << 20;
    k->outputs = 100;
    k->output_bytes = 256 << 10;
    k->log_bytes = 16 << 10;
    k->grant = "#";
    k->trigger = "readings";
    k->allowed = (struct mp_allowance){5 * MP_SECOND, 10 * MP_SECOND, 0};
    assert_true(kit_next(k));
    assert_int_equal(k->type, MP_FRAME_READY);
    return k;
}

void kit_close(struct kit *k)
{
    mp_worker_end(&k->worker);
    mp_buf_fini(&k->out);
    mp_buf_fini(&k->in);
    free(k);
}

void kit_load_files(struct kit *k, uint32_t fn, const char *const *files)
{
    struct mp_pair pairs[16],
        env[] = {{MP_S("LIMIT"), MP_S("30")}, {MP_S("EMPTY"), MP_S("")}};
    struct mp_slice grants[] = {mp_slice_str(k->grant)};
    struct mp_slice triggers[] = {mp_slice_str(k->trigger)};
    struct mp_slice sends[] = {mp_slice_str(k->send)};
    struct mp_slice observes[] = {mp_slice_str(k->observe)};
    struct mp_load load = {.id = ++k->next_id,
                           .fn = fn,
                           .name = MP_S("overheat"),
                           .version = MP_S("1.2.0"),
                           .node = MP_S("store-17"),
                           .prefix = MP_S("moonpool"),
                           .memory = k->memory,
                           .outputs = k->outputs,
                           .output_bytes = k->output_bytes,
                           .log_bytes = k->log_bytes,
                           .fake_wall_us = k->fake_wall_us,
                           .env = env,
                           .n_env = 2,
                           .files = pairs,
                           .grants = grants,
                           .n_grants = k->grant ? 1 : 0,
                           .triggers = triggers,
                           .n_triggers = 1,
                           .sends = sends,
                           .n_sends = k->send ? 1 : 0,
                           .observes = observes,
                           .n_observes = k->observe ? 1 : 0,
                           .secrets = k->secrets,
                           .n_secrets = k->n_secrets,
                           .zone = k->zone,
                           .has_state = k->has_state,
                           .has_key = k->has_key,
                           .state_quota = 4 << 20};

    for (; files[0]; files += 2) {
        pairs[load.n_files].name = mp_slice_str(files[0]);
        pairs[load.n_files++].value = mp_slice_str(files[1]);
    }
    mp_wire_load(&k->out, &load);
    kit_flush(k);
    assert_true(kit_next(k));
    assert_int_equal(k->type, MP_FRAME_LOADED);
    assert_int_equal(k->loaded.id, load.id);
}

void kit_try_load(struct kit *k, uint32_t fn, const char *text)
{
    const char *const files[] = {"main.lua", text, NULL};

    kit_load_files(k, fn, files);
}

void kit_load(struct kit *k, uint32_t fn, const char *text)
{
    kit_try_load(k, fn, text);
    if (k->loaded.kind != MP_OUT_OK)
        fail_msg("load: %.*s", MP_FMT(k->loaded.error));
}

/* An MQTT reading; data may hold zeros. */
struct mp_run kit_event(struct kit *k, uint32_t fn, struct mp_slice data)
{
    static const struct mp_pair params[] = {{MP_S("device"), MP_S("kiln-2")}};

    return (struct mp_run){.id = ++k->next_id,
                           .fn = fn,
                           .clock_ok = true,
                           .fake_wall_us = k->fake_wall_us,
                           .event = {.type = MP_EVENT_MQTT,
                                     .id = MP_S("4f2a9c-1b3d7"),
                                     .source = MP_S("mqtt://broker:1883"),
                                     .subject = MP_S("sensors/kiln-2/env"),
                                     .trigger = mp_slice_str(k->trigger),
                                     .key = mp_slice_str(k->key),
                                     .has_key = k->key != NULL,
                                     .time_us = INT64_C(1772366400123000),
                                     .attempt = 1,
                                     .data = data,
                                     .topic = MP_S("sensors/kiln-2/env"),
                                     .qos = 1,
                                     .params = params,
                                     .n_params = 1},
                           .state = k->state};
}

bool kit_try_run(struct kit *k, uint32_t fn, const char *data)
{
    struct mp_run run = kit_event(k, fn, mp_slice_str(data));

    mp_wire_run(&k->out, &run);
    kit_flush(k);
    if (!kit_next(k))
        return false;
    if (k->type == MP_FRAME_DONE)
        assert_int_equal(k->done.run, run.id);
    return true;
}

void kit_run(struct kit *k, uint32_t fn, const char *data)
{
    assert_true(kit_try_run(k, fn, data));
    assert_int_equal(k->type, MP_FRAME_DONE);
}

void kit_resume(struct kit *k, uint64_t run)
{
    struct mp_resume resume = {.run = run, .fake_wall_us = k->fake_wall_us};

    kit_answer(k, &resume);
}

void kit_answer(struct kit *k, const struct mp_resume *answer)
{
    mp_wire_resume(&k->out, answer);
    kit_flush(k);
    assert_true(kit_next(k));
}
