/*
 * test_config.c - core/config.h: values, moonpool.conf, and the tables.
 *
 * What moonpool.conf can say wrong is in tests/corpus/conf/moonpool-*.conf.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/clock.h"
#include "core/config.h"
#include "core/keys.h"
#include "core/stream.h"
#include "tests/unit/conf_kit.h"

static char dir[64], path[96];
static struct t_told told;

static int make(void **state)
{
    (void)state;
    t_dir_make(dir);
    snprintf(path, sizeof path, "%s/moonpool.conf", dir);
    t_told_init(&told);
    return 0;
}

static int clear(void **state)
{
    (void)state;
    t_dir_remove(dir);
    t_told_fini(&told);
    return 0;
}

/* ---- values ---- */

static const struct {
    const char *text;
    int rc;
    int64_t us;
    const char *why;
} durations[] = {
    {"0", 0, 0, "stands alone"},
    {"250ms", 0, 250 * MP_MS, "milliseconds"},
    {"30s", 0, 30 * MP_SECOND, "seconds"},
    {"5m", 0, 300 * MP_SECOND, "minutes"},
    {"2h", 0, 7200 * MP_SECOND, "hours"},
    {"7d", 0, 604800 * MP_SECOND, "days"},
    {"1h30m", 0, 5400 * MP_SECOND, "several"},
    {"1d2h3m4s5ms", 0, 93784005 * MP_MS, "all of them"},
    {"1m5ms", 0, 60005 * MP_MS, "m before ms"},
    {"0s", 0, 0, "nothing, with a unit"},
    {"3650d", 0, INT64_C(315360000) * MP_SECOND, "the longest"},
    {"3651d", MP_ERANGE, 0, "longer"},
    {"3650d1ms", MP_ERANGE, 0, "longer in its last part"},
    {"99999999999999999999s", MP_EPARSE, 0, "more than 64 bits"},
    {"9999999999999999s", MP_ERANGE, 0, "more than 64 bits once multiplied"},
    {"100", MP_EPARSE, 0, "no unit"},
    {"", MP_EPARSE, 0, "nothing"},
    {"s", MP_EPARSE, 0, "no number"},
    {"5 s", MP_EPARSE, 0, "a blank"},
    {"1.5s", MP_EPARSE, 0, "no fractions"},
    {"-1s", MP_EPARSE, 0, "no signs"},
    {"30m1h", MP_EPARSE, 0, "not in order"},
    {"1s1s", MP_EPARSE, 0, "twice"},
    {"1h30", MP_EPARSE, 0, "the last without a unit"},
    {"1w", MP_EPARSE, 0, "no such unit"},
    {"1S", MP_EPARSE, 0, "units are lower case"},
};

static void a_duration_is_numbers_with_units(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
        struct mp_slice in = t_exact(mp_slice_str(durations[i].text));
        int64_t us = -1;
        struct mp_why why;

        print_message("%s: %s\n", durations[i].text, durations[i].why);
        assert_int_equal(mp_parse_duration(in, &us, &why), durations[i].rc);
        if (!durations[i].rc)
            assert_int_equal(us, durations[i].us);
        t_exact_free(in);
    }
}

static const struct {
    const char *text;
    int rc;
    uint64_t bytes;
    const char *why;
} sizes[] = {
    {"300", 0, 300, "bytes"},
    {"512K", 0, 512 << 10, "powers of 1024"},
    {"4M", 0, 4 << 20, "M"},
    {"1G", 0, 1 << 30, "G"},
    {"0", 0, 0, "nothing"},
    {"9007199254740991K", 0, UINT64_C(9223372036854774784), "the largest"},
    {"9007199254740992K", MP_ERANGE, 0, "one more"},
    {"18446744073709551616", MP_EPARSE, 0, "more than 64 bits"},
    {"", MP_EPARSE, 0, "nothing"},
    {"K", MP_EPARSE, 0, "no number"},
    {"1k", MP_EPARSE, 0, "units are upper case"},
    {"1KB", MP_EPARSE, 0, "one letter"},
    {"1 K", MP_EPARSE, 0, "a blank"},
    {"1.5M", MP_EPARSE, 0, "no fractions"},
    {"-1", MP_EPARSE, 0, "no signs"},
    {"1\0K", 0, 1, "ends where the text ends"},
};

static void a_size_is_a_number_and_maybe_a_unit(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct mp_slice in = t_exact(mp_slice_str(sizes[i].text));
        uint64_t bytes = 0;
        struct mp_why why;

        print_message("%s: %s\n", sizes[i].text, sizes[i].why);
        assert_int_equal(mp_parse_size(in, &bytes, &why), sizes[i].rc);
        assert_int_equal(bytes, sizes[i].bytes);
        t_exact_free(in);
    }
}

static const struct {
    const char *url, *host, *why;
    int port;
    bool tls;
} urls[] = {
    {"mqtt://127.0.0.1:1883", "127.0.0.1", "the default", 1883, false},
    {"mqtt://hub", "hub", "the port goes without saying", 1883, false},
    {"mqtts://hub", "hub", "another one over TLS", 8883, true},
    {"mqtts://hub.example:8884/", "hub.example", "a slash behind", 8884, true},
    {"mqtt://[::1]:1884", "::1", "IPv6", 1884, false},
    {"mqtt://[::1]", "::1", "IPv6 without a port", 1883, false},
    {"hub:1883", NULL, "no scheme", 0, false},
    {"http://hub", NULL, "another scheme", 0, false},
    {"mqtt://", NULL, "no host", 0, false},
    {"mqtt://:1883", NULL, "no host before the port", 0, false},
    {"mqtt://hub:", NULL, "no port behind the colon", 0, false},
    {"mqtt://hub:0", NULL, "port 0", 0, false},
    {"mqtt://hub:65536", NULL, "one past the last port", 0, false},
    {"mqtt://hub:1883x", NULL, "a stray byte", 0, false},
    {"mqtt://me:pw@hub", NULL, "logins stand elsewhere", 0, false},
    {"mqtt://hub/path", NULL, "a path", 0, false},
    {"mqtt://::1", NULL, "IPv6 without brackets", 0, false},
    {"mqtt://[::1", NULL, "not closed", 0, false},
    {"mqtt://[::1]x", NULL, "text behind", 0, false},
};

static void a_broker_is_a_url(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct mp_slice in = t_exact(mp_slice_str(urls[i].url));
        char *host = NULL;
        uint16_t port = 0;
        bool tls = false;
        struct mp_why why;
        int rc = mp_parse_mqtt_url(in, &tls, &host, &port, &why);

        print_message("%s: %s\n", urls[i].url, urls[i].why);
        assert_int_equal(rc == 0, urls[i].host != NULL);
        if (!rc) {
            assert_string_equal(host, urls[i].host);
            assert_int_equal(port, urls[i].port);
            assert_int_equal(tls, urls[i].tls);
        }
        free(host);
        t_exact_free(in);
    }
}

static const struct {
    const char *text, *why;
    bool fine;
} versions[] = {
    {"0.0.0", "the least", true},
    {"1.4.0-rc.1+build.7", "all there is", true},
    {"1.4.0+7", "a build alone", true},
    {"1.4.0-x-y", "a dash in a part", true},
    {"1.4", "two numbers", false},
    {"1.4.0.0", "four numbers", false},
    {"01.4.0", "a leading zero", false},
    {"1.4.0-", "an empty part", false},
    {"1.4.0+", "an empty part", false},
    {"1.4.0-a..b", "an empty part", false},
    {"v1.4.0", "a letter", false},
    {"", "nothing", false},
    {"1..0", "an empty number", false},
    {"1.4.0-a_b", "a byte that no part has", false},
};

static void a_version_is_semantic(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct mp_slice in = t_exact(mp_slice_str(versions[i].text));
        struct mp_why why;

        print_message("%s: %s\n", versions[i].text, versions[i].why);
        assert_int_equal(mp_check_version(in, &why) == 0, versions[i].fine);
        t_exact_free(in);
    }
}

/* ---- moonpool.conf ---- */

static void read_corpus(struct mp_slice conf, struct mp_report *report)
{
    const struct mp_overrides o = {.config = path};
    unsigned before = report->mistakes;
    struct mp_config c;
    int rc;

    t_file_put(dir, "moonpool.conf", conf);
    rc = mp_config_read(&c, &o, report);
    assert_int_equal(rc == 0, report->mistakes == before);
    if (!rc)
        mp_config_fini(&c);
}

static void every_mistake_is_told_with_its_line(void **state)
{
    (void)state;
    t_corpus("moonpool", read_corpus);
}

static bool id_is_shared(const char *conf, const char *data)
{
    const struct mp_overrides o = {.config = path, .data = data};
    struct mp_config c;
    bool shared;

    t_file_put(dir, "moonpool.conf", mp_slice_str(conf));
    assert_int_equal(mp_config_read(&c, &o, &told.report), 0);
    shared = c.mqtt.id_is_shared;
    mp_config_fini(&c);
    return shared;
}

static void only_a_data_directory_of_ones_own_needs_another_id(void **state)
{
    (void)state;
    assert_true(id_is_shared("", "/tmp/mine"));
    assert_true(id_is_shared("[paths]\ndata = /tmp/mine\n", NULL));
    assert_false(id_is_shared("[node]\nname = n1\n", "/tmp/mine"));
    assert_false(id_is_shared("[mqtt]\nclient_id = gw\n", "/tmp/mine"));
}

static void an_empty_file_gives_the_defaults(void **state)
{
    const struct mp_overrides o = {.config = path};
    char id[96];
    struct mp_config c;

    (void)state;
    t_file_put(dir, "moonpool.conf", MP_S(""));
    assert_int_equal(mp_config_read(&c, &o, &told.report), 0);
    assert_true(strlen(c.node) > 0);
    snprintf(id, sizeof id, "moonpool-%s", c.node);
    assert_string_equal(c.mqtt.client_id, id);
    assert_false(c.mqtt.id_is_shared);
    assert_string_equal(c.mqtt.prefix, "moonpool");
    assert_string_equal(c.mqtt.host, "127.0.0.1");
    assert_int_equal(c.mqtt.port, 1883);
    assert_false(c.mqtt.tls);
    assert_null(c.mqtt.user);
    assert_int_equal(c.mqtt.version, MP_MQTT_AUTO);
    assert_int_equal(c.mqtt.keepalive_us, 60 * MP_SECOND);
    assert_int_equal(c.mqtt.hold_us, 250 * MP_MS);
    assert_int_equal(c.mqtt.receive_max, 256);
    assert_int_equal(c.mqtt.max_payload, 256 << 10);
    assert_string_equal(c.mqtt.reply_topics[0], "#");
    assert_null(c.mqtt.reply_topics[1]);
    assert_string_equal(c.functions, "/etc/moonpool/functions");
    assert_string_equal(c.secrets, "/etc/moonpool/secrets");
    assert_string_equal(c.coap.listen[0], "coap://127.0.0.1:5683");
    assert_null(c.coap.listen[1]);
    assert_null(c.coap.psk_file);
    assert_false(c.coap.open);
    assert_int_equal(c.coap.idle_us, 60 * MP_SECOND);
    assert_string_equal(c.http.listen[0], "127.0.0.1:7381");
    assert_int_equal(c.http.max_header, 8 << 10);
    assert_int_equal(c.http.results_ttl_us, 600 * MP_SECOND);
    assert_int_equal(c.scale_max, 1000);
    assert_true(c.memory_budget >= 16 << 20);
    assert_in_range(c.workers, 1, MP_WORKERS_MAX);
    assert_int_equal(c.log_level, MP_INFO);
    assert_int_equal(c.log_format, MP_LOG_AUTO);
    mp_config_fini(&c);
}

static void later_files_and_flags_win(void **state)
{
    const struct mp_overrides o = {.config = path,
                                   .mqtt = "mqtts://flag:9000",
                                   .functions = "/flag",
                                   .memory = "32M",
                                   .log_format = "json",
                                   .workers = 3};
    struct mp_config c;

    (void)state;
    t_file_put(dir, "moonpool.conf",
               MP_S("[node]\nname = first\n[mqtt]\nurl = mqtt://file\n"
                    "prefix = one\nreply_topics = a\nhold = 20ms\n"));
    t_file_put(dir, "conf.d/20-b.conf",
               MP_S("[node]\nname = third\n[mqtt]\nhold =\n"));
    t_file_put(dir, "conf.d/10-a.conf",
               MP_S("[node]\nname = second\n[mqtt]\nreply_topics = b\n"));
    t_file_put(dir, "conf.d/30-c.conf.off", MP_S("[nonsense]\n"));
    assert_int_equal(mp_config_read(&c, &o, &told.report), 0);
    assert_string_equal(t_told_text(&told), "");
    assert_string_equal(c.node, "third");
    assert_string_equal(c.mqtt.prefix, "one");
    assert_string_equal(c.mqtt.reply_topics[0], "a");
    assert_string_equal(c.mqtt.reply_topics[1], "b");
    assert_null(c.mqtt.reply_topics[2]);
    assert_int_equal(c.mqtt.hold_us, 250 * MP_MS);
    assert_string_equal(c.mqtt.host, "flag");
    assert_true(c.mqtt.tls);
    assert_string_equal(c.functions, "/flag");
    assert_int_equal(c.memory_budget, 32 << 20);
    assert_int_equal(c.workers, 3);
    assert_int_equal(c.log_format, MP_LOG_JSON);
    mp_config_fini(&c);
}

static void a_file_that_was_asked_for_must_be_there(void **state)
{
    const struct mp_overrides o = {.config = path};
    struct mp_config c;

    (void)state;
    assert_int_equal(mp_config_read(&c, &o, &told.report), MP_EPARSE);
    assert_string_equal(t_told_text(&told), "0: there is no such file\n");
}

static void a_secret_is_read_from_where_it_is(void **state)
{
    const struct mp_overrides o = {.config = path};
    char conf[256];
    struct mp_config c;

    (void)state;
    t_file_put(dir, "pw", MP_S("s3cret\n"));
    snprintf(conf, sizeof conf, "[mqtt]\nuser = u\npassword = file:%s/pw\n",
             dir);
    t_file_put(dir, "moonpool.conf", mp_slice_str(conf));
    assert_int_equal(mp_config_read(&c, &o, &told.report), 0);
    assert_string_equal(c.mqtt.password, "s3cret");
    mp_config_fini(&c);

    setenv("MOONPOOL_TEST_PW", "from env", 1);
    t_file_put(dir, "moonpool.conf",
               MP_S("[mqtt]\nuser = u\npassword = env:MOONPOOL_TEST_PW\n"));
    assert_int_equal(mp_config_read(&c, &o, &told.report), 0);
    assert_string_equal(c.mqtt.password, "from env");
    mp_config_fini(&c);

    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    t_file_put(dir, "moonpool.conf",
               MP_S("[mqtt]\nuser = u\npassword = credential:pw\n"));
    assert_int_equal(mp_config_read(&c, &o, &told.report), 0);
    assert_string_equal(c.mqtt.password, "s3cret");
    mp_config_fini(&c);
    t_file_put(dir, "moonpool.conf",
               MP_S("[mqtt]\nuser = u\npassword = credential:../pw\n"));
    assert_int_equal(mp_config_read(&c, &o, &told.report), MP_EPARSE);
    assert_string_equal(t_told_text(&told),
                        "3: password: a credential's name is no path\n");
}

/* ---- the tables ---- */

/* Lines are read by who takes them. */
static void check_line(const struct mp_key *key)
{
    struct mp_stream_lines *lines = mp_stream_lines_new();
    struct mp_why why;
    int line = 0;

    while (strcmp(mp_stream_line_name(line), key->name) != 0)
        line++;
    assert_int_equal(
        mp_stream_lines_add(lines, line, mp_slice_str(key->example), &why), 0);
    mp_stream_lines_free(lines);
}

/* A default is what a user could have written; so is an example. */
static void defaults_and_examples_fit_their_keys(void **state)
{
    const struct mp_table *tables[] = {&mp_function_table, &mp_config_table};

    (void)state;
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (size_t i = 0; i < tables[t]->n_keys; i++) {
            const struct mp_key *key = &tables[t]->keys[i];
            struct mp_keys k = {.table = tables[t],
                                .report = &told.report,
                                .file = "f",
                                .given = mp_given_new(tables[t])};
            union {
                struct mp_function fn;
                struct mp_trigger trigger;
                struct mp_config config;
            } base;

            memset(&base, 0, sizeof base);
            assert_non_null(key->help);
            mp_keys_defaults(tables[t], key->section, &base);
            if (key->name && key->example && !key->later &&
                key->type != MP_T_SECRET) {
                print_message("[%s] %s = %s\n", key->section, key->name,
                              key->example);
                mp_keys_take(&k, key->section, 1, key->name, key->example,
                             &base);
            }
            assert_string_equal(t_told_text(&told), "");
            if (key->type == MP_T_LINE)
                check_line(key);
            mp_keys_free(tables[t], key->section, &base);
            mp_given_free(tables[t], k.given);
        }
    }
}

/* Lines of 80 columns at most; then blanks and line ends are one blank. */
static void unwrap(struct mp_buf *text)
{
    size_t column = 0, n = 0;

    for (size_t i = 0; i < text->len; i++) {
        char c = text->ptr[i];

        column = c == '\n' ? 0 : column + 1;
        assert_true(column <= 80);
        c = c == '\n' ? ' ' : c;
        if (c != ' ' || (n && text->ptr[n - 1] != ' '))
            text->ptr[n++] = c;
    }
    text->len = n;
    mp_buf_put(text, "", 1);
}

static void help_shows_every_key_within_80_columns(void **state)
{
    struct mp_buf text;

    (void)state;
    mp_buf_init(&text, 1 << 20);
    mp_function_help(&text);
    mp_config_help(&text);
    assert_false(text.full);
    unwrap(&text);
    for (size_t i = 0; i < mp_function_table.n_keys; i++)
        assert_non_null(strstr(text.ptr, mp_function_table.keys[i].help));
    for (size_t i = 0; i < mp_config_table.n_keys; i++)
        assert_non_null(strstr(text.ptr, mp_config_table.keys[i].help));
    assert_non_null(strstr(text.ptr, "size from 64K to 64M; default: 1M; "
                                     "as in: 512K"));
    assert_non_null(strstr(text.ptr, "as in: 0 6 * * mon-fri"));
    mp_buf_fini(&text);
}

static void help_of_a_word_is_its_keys_and_its_section(void **state)
{
    struct mp_buf text;

    (void)state;
    mp_buf_init(&text, 1 << 20);
    assert_true(mp_keys_help_word(&mp_function_table, "f", "queue", &text));
    assert_true(mp_keys_help_word(&mp_config_table, "c", "http", &text));
    assert_false(mp_keys_help_word(&mp_config_table, "c", "quue", &text));
    assert_false(mp_keys_help_word(&mp_config_table, "c", "every", &text));
    unwrap(&text);
    assert_non_null(strstr(text.ptr, "[limits] of f: what it may use queue"));
    assert_null(strstr(text.ptr, "park_bytes"));
    assert_non_null(strstr(text.ptr, "[http] of c: "));
    assert_non_null(strstr(text.ptr, "results_ttl"));
    mp_buf_fini(&text);
}

/* ---- the files it names ---- */

/* What is told of a [coap] section that listens on coaps://. */
static const char *told_of(const char *lines, bool look)
{
    const struct mp_overrides o = {.config = path, .look = look};
    struct mp_config c;
    char conf[512];

    snprintf(conf, sizeof conf, "[coap]\nlisten = coaps://127.0.0.1\n%s",
             lines);
    t_file_put(dir, "moonpool.conf", mp_slice_str(conf));
    if (mp_config_read(&c, &o, &told.report) == 0)
        mp_config_fini(&c);
    return t_told_text(&told);
}

static void a_file_of_pre_shared_keys_is_read_line_by_line(void **state)
{
    char line[128];

    (void)state;
    snprintf(line, sizeof line, "psk_file = file:%s/psk\n", dir);
    t_file_put(dir, "psk", MP_S("# ours\n\nurn:a:00fF\n b:01 \n"));
    assert_string_equal(told_of(line, false), "");
    t_file_put(dir, "psk", MP_S("a:00\nsecret-word\n"));
    assert_string_equal(told_of(line, false),
                        "3: psk_file: line 2 of the file is not identity:hex, "
                        "a key of 1 to 64 bytes as pairs of hex digits\n");
    t_file_put(dir, "psk", MP_S("a:001\n"));
    assert_non_null(strstr(told_of(line, false), "line 1 of the file"));
    t_file_put(dir, "psk", MP_S("a:0g\n"));
    assert_non_null(strstr(told_of(line, false), "line 1 of the file"));
    t_file_put(dir, "psk", MP_S(":00\n"));
    assert_non_null(strstr(told_of(line, false), "line 1 of the file"));
}

static void a_key_that_could_not_be_read_is_told_once(void **state)
{
    const char *text;

    (void)state;
    text = told_of("psk_file = file:/nonexistent\n", false);
    assert_non_null(strstr(text, "3: psk_file: "));
    assert_ptr_equal(strchr(text, '\n') + 1, text + strlen(text));
    text = told_of("psk_file = env:NO_SUCH_NAME\n[mqtt]\nurl = mqtts://h\n"
                   "psk = env:NO_SUCH_NAME\npsk_identity = i\n",
                   false);
    assert_string_equal(text,
                        "3: psk_file: NO_SUCH_NAME is not in the environment\n"
                        "6: psk: NO_SUCH_NAME is not in the environment\n");
}

static void a_certificate_is_no_key_and_a_key_no_certificate(void **state)
{
    char lines[256], want[256];

    (void)state;
    t_file_put(dir, "c.pem", MP_S("x\n-----BEGIN CERTIFICATE-----\nAA\n"));
    t_file_put(dir, "k.pem", MP_S("-----BEGIN EC PRIVATE KEY-----\nAA\n"));
    snprintf(lines, sizeof lines, "cert = %s/c.pem\nkey = %s/k.pem\n", dir,
             dir);
    assert_string_equal(told_of(lines, true), "");
    snprintf(lines, sizeof lines, "cert = %s/k.pem\nkey = %s/c.pem\n", dir,
             dir);
    snprintf(want, sizeof want,
             "3: cert = %s/k.pem: there is no certificate in PEM in it\n"
             "4: key = %s/c.pem: there is no private key in PEM in it\n",
             dir, dir);
    assert_string_equal(told_of(lines, true), want);
    assert_string_equal(told_of(lines, false), "");
    assert_non_null(strstr(told_of("cert = /nonexistent\nkey = /none\n", true),
                           "warning 3: cert = /nonexistent: "));
}

static void one_section_alone_hears_of_no_other_mistake(void **state)
{
    const struct mp_overrides o = {.config = path, .only = "paths"};
    struct mp_config c;

    (void)state;
    t_file_put(dir, "moonpool.conf",
               MP_S("[coap]\npsk_file = file:/nonexistent\n[nonsense]\n"
                    "[paths]\nsecrets = /s\n"));
    assert_int_equal(mp_config_read(&c, &o, &told.report), 0);
    assert_string_equal(t_told_text(&told), "");
    assert_string_equal(c.secrets, "/s");
    assert_string_equal(c.file, path);
    mp_config_fini(&c);
}

#define T(test) cmocka_unit_test_setup_teardown(test, make, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_duration_is_numbers_with_units),
        cmocka_unit_test(a_size_is_a_number_and_maybe_a_unit),
        cmocka_unit_test(a_broker_is_a_url),
        cmocka_unit_test(a_version_is_semantic),
        T(every_mistake_is_told_with_its_line),
        T(an_empty_file_gives_the_defaults),
        T(only_a_data_directory_of_ones_own_needs_another_id),
        T(later_files_and_flags_win),
        T(a_file_that_was_asked_for_must_be_there),
        T(a_secret_is_read_from_where_it_is),
        T(defaults_and_examples_fit_their_keys),
        T(help_shows_every_key_within_80_columns),
        T(help_of_a_word_is_its_keys_and_its_section),
        T(a_file_of_pre_shared_keys_is_read_line_by_line),
        T(a_key_that_could_not_be_read_is_told_once),
        T(a_certificate_is_no_key_and_a_key_no_certificate),
        T(one_section_alone_hears_of_no_other_mistake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
