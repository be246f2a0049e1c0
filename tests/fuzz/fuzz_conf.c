/*
 * fuzz_conf.c - any bytes at all, as function.conf and as moonpool.conf.
 *
 * What must hold: a function comes exactly when no mistake was told; what is
 * told is one printable line with a place in the file; and whatever came is
 * within the bounds that the rest of the house counts on.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/utf8.h"
#include "core/config.h"
#include "core/keys.h"
#include "tests/fuzz/fuzz_main.h"

static char dir[64], conf[96];

static void put(const char *name, struct mp_slice bytes)
{
    char path[128];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MP_ASSERT(fd >= 0 && mp_write_all(fd, bytes) == 0);
    close(fd);
}

static void clean_up(void)
{
    char path[128];

    unlink(conf);
    snprintf(path, sizeof path, "%s/main.lua", dir);
    unlink(path);
    rmdir(dir);
}

static void set_up(void)
{
    strcpy(dir, "/tmp/moonpool-fuzz-XXXXXX");
    MP_ASSERT(mkdtemp(dir));
    snprintf(conf, sizeof conf, "%s/function.conf", dir);
    put("main.lua", MP_S("return print"));
    atexit(clean_up);
}

static void say(struct mp_report *r, bool warning, const char *text)
{
    (void)warning;
    MP_ASSERT(*r->what && mp_utf8_valid(mp_slice_str(text)));
    for (; *text; text++)
        MP_ASSERT((unsigned char)*text >= ' ' && *text != 0x7f);
}

static bool is_granted(const struct mp_function *fn, const char *secret)
{
    for (unsigned i = 0; i < fn->n_secrets; i++)
        if (mp_slice_is(fn->secrets[i], secret))
            return true;
    return false;
}

static void check_trigger(const struct mp_function *fn,
                          const struct mp_trigger *t)
{
    bool asks = t->kind == MP_TRIGGER_COAP || t->kind == MP_TRIGGER_HTTP;
    struct mp_why why;

    MP_ASSERT(mp_check_trigger(mp_slice_str(t->name), &why) == 0);
    MP_ASSERT(t->qos <= 1 && t->max_payload > 0);
    MP_ASSERT((t->n_patterns > 0) == (asks || t->kind == MP_TRIGGER_MQTT));
    MP_ASSERT(asks == (t->methods != 0) && (!asks || t->n_patterns == 1));
    MP_ASSERT(asks || (!t->async && t->auth == MP_AUTH_NONE));
    MP_ASSERT((t->auth == MP_AUTH_TOKEN || t->auth == MP_AUTH_HMAC) ==
              (t->secret && is_granted(fn, t->secret)));
    MP_ASSERT((t->auth == MP_AUTH_HMAC) == (t->header != NULL));
    MP_ASSERT(!t->lines || t->n_patterns > 0);
}

static void check_function(const struct mp_function *fn)
{
    struct mp_why why;

    MP_ASSERT(mp_check_name(mp_slice_str(fn->name), &why) == 0);
    MP_ASSERT(fn->memory >= MP_MEMORY_MIN && fn->memory <= MP_MEMORY_MAX);
    MP_ASSERT(fn->cpu_us > 0 && fn->timeout_us > 0 && fn->log_per > 0);
    MP_ASSERT(fn->n_triggers <= MP_TRIGGERS_MAX && fn->tracked > 0);
    for (unsigned i = 0; i < fn->n_triggers; i++)
        check_trigger(fn, &fn->triggers[i]);
    for (unsigned i = 0; i < fn->n_grants; i++)
        MP_ASSERT(mp_filter_check(fn->grants[i], &why) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mp_report report = {.say = say};
    const struct mp_overrides o = {.config = conf};
    struct mp_function *fn;
    struct mp_config c;

    if (!dir[0])
        set_up();
    put("function.conf", mp_slice(data, size));
    fn = mp_function_read(dir, "n1", &report);
    MP_ASSERT((fn == NULL) == (report.mistakes > 0));
    if (fn)
        check_function(fn);
    mp_function_unref(fn);
    report = (struct mp_report){.say = say};
    if (mp_config_read(&c, &o, &report)) {
        MP_ASSERT(report.mistakes > 0);
    } else {
        MP_ASSERT(report.mistakes == 0 && c.node && c.mqtt.host);
        MP_ASSERT(c.workers >= 1 && c.workers <= MP_WORKERS_MAX);
        mp_config_fini(&c);
    }
    return 0;
}

#ifdef MP_FUZZ_MAIN
static const char *const words[] = {
    "\n[trigger]\n",
    "\n[grant]\n",
    "\n[limits]\n",
    "\n[env]\n",
    "[mqtt]\n",
    "mqtt = ",
    "coap = GET ",
    "http = POST /",
    "auth = token A",
    "auth = hmac A ",
    "secret = A",
    "async = yes",
    "filter = ",
    "deadband = a 1",
    " per {a}",
    "batch = 5 within 1s",
    "publish = ",
    "= ",
    " ; ",
    "\"",
    "${",
    "}",
    "{a}",
    "{a...}",
    "/+/",
    "/#",
    "64K",
    "1h30m",
    "10/s",
    "\xff",
    "\n",
    "99999999999",
    ",",
    "\nA = ",
    "${A}",
};

static const char *fuzz_word(uint64_t any)
{
    return words[any % ARRAY_LEN(words)];
}

static void fuzz_seeds(void)
{
    fuzz_add(MP_S("[function]\nname = f\n[trigger]\nmqtt = a/{b}\n"));
    fuzz_add(MP_S("[node]\nname = n\n[mqtt]\nurl = mqtt://hub\n"));
}
#endif
