// SPDX-License-Identifier: GPL-2.0-or-later
/* TLS secrets: who asks is given those of the pods that it asked for, ahead of the packets; nobody
 * else is, and nothing is hooked for him. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/log.h"
#include "helpers.h"
#include "node-capture/server/tls-notices.h"
#include "service-fixture.h"

#define LINE       "CLIENT_RANDOM 00 11\n"
#define OTHER_LINE "CLIENT_RANDOM 00 22\n"

static Reader *open_stream(ServiceFixture *fixture, int mode, const char *pod)
{
    Remora__V1__TargetSelector targets = REMORA__V1__TARGET_SELECTOR__INIT;
    Remora__V1__StreamRequest request = REMORA__V1__STREAM_REQUEST__INIT;
    char *pods[] = {(char *)(uintptr_t)pod};
    targets.pods = pods;
    targets.n_pods = 1;
    request.targets = &targets;
    request.tls = (Remora__V1__TlsMode)mode;
    return reader_new(fixture->channel, &request, true);
}

/* The namespace that the fake pods are in. */
static uint64_t namespace_of_pods(void)
{
    struct stat status;
    g_assert_cmpint(stat("/dev/null", &status), ==, 0);
    return status.st_ino;
}

static void wait_followed(ServiceFixture *fixture, guint count)
{
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    for (;;) {
        unsigned times;
        g_autoptr(GArray) followed = tls_keys_fake_followed(fixture->keys, &times);
        if (times > 0 && followed->len == count) {
            g_assert_true(count == 0 ||
                          g_array_index(followed, TlsWanted, 0).netns_inode == namespace_of_pods());
            return;
        }
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static void wait_take(ServiceFixture *fixture, unsigned take)
{
    for (;;) {
        wait_followed(fixture, 1);
        unsigned times;
        g_autoptr(GArray) followed = tls_keys_fake_followed(fixture->keys, &times);
        if (followed->len == 1 && g_array_index(followed, TlsWanted, 0).take == take) {
            return;
        }
        g_usleep(1000);
    }
}

static void test_asked(ServiceFixture *fixture, const void *data)
{
    Reader *asks = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_KEYS, "*");
    Reader *quiet = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_OFF, "*");
    Reader *elsewhere = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_KEYS, "other");
    reader_wait(quiet, reader_synced, 0);
    reader_wait(elsewhere, reader_synced, 0);
    wait_followed(fixture, 1);
    tls_keys_fake_tell(fixture->keys, namespace_of_pods() + 1, OTHER_LINE);
    tls_keys_fake_tell(fixture->keys, namespace_of_pods(), LINE);
    ReaderState state = reader_wait(asks, reader_has_secrets, strlen(LINE));
    g_assert_cmpstr(state.key_log, ==, LINE);
    g_assert_cmpuint(service_counter(fixture, "tls_secrets_total"), ==, 1);
    /* What comes later shows that nothing came before it. */
    uint64_t later = service_time_of(1);
    service_give_interface(fixture);
    source_fake_watermark(fixture->source, later);
    state = reader_wait(quiet, reader_has_watermark, later);
    g_assert_cmpstr(state.key_log, ==, "");
    state = reader_wait(elsewhere, reader_has_watermark, later);
    g_assert_cmpstr(state.key_log, ==, "");
    reader_free(asks);
    wait_followed(fixture, 0);
    reader_free(quiet);
    reader_free(elsewhere);
}

static void test_nobody_asks(ServiceFixture *fixture, const void *data)
{
    Reader *quiet = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_OFF, "*");
    reader_wait(quiet, reader_synced, 0);
    wait_followed(fixture, 0);
    reader_free(quiet);
}

/* Secrets stand ahead of packets that wait. */
static void test_first(ServiceFixture *fixture, const void *data)
{
    Remora__V1__StreamRequest request = REMORA__V1__STREAM_REQUEST__INIT;
    request.tls = REMORA__V1__TLS_MODE__TLS_MODE_KEYS;
    Reader *reader = reader_new(fixture->channel, &request, false);
    wait_followed(fixture, 1);
    service_give_interface(fixture);
    service_give_packets(fixture, 100, 0); /* more than the transport takes by itself */
    while (service_counter(fixture, "packets_waiting") == 0) {
    }
    tls_keys_fake_tell(fixture->keys, namespace_of_pods(), LINE);
    while (service_counter(fixture, "tls_secrets_total") == 0) {
    }
    reader_allow(reader, UINT64_MAX);
    ReaderState state = reader_wait(reader, reader_has_secrets, strlen(LINE));
    /* The transport takes a few messages before it stops. */
    g_assert_cmpuint(state.packets_before_secrets, <, fixture->sent);
    state = reader_wait(reader, reader_has_watermark, service_time_of(fixture->sent));
    g_assert_cmpuint(state.packets + state.lost, ==, fixture->sent);
    reader_free(reader);
}

/* ---- Plaintext -------------------------------------------------------------------------------*/

static TlsPlaintext plaintext_of(uint64_t connection, uint64_t offset, const char *text)
{
    return (TlsPlaintext){.connection = connection,
                          .netns_inode = namespace_of_pods(),
                          .time_unix_ns = service_time_of(1000),
                          .direction = TLS_WRITTEN,
                          .family = AF_INET,
                          .local = {{10, 0, 0, 1}, (uint16_t)connection},
                          .remote = {{10, 0, 0, 2}, 443},
                          .offset = offset,
                          .from_start = true,
                          .data = (const uint8_t *)text,
                          .length = strlen(text)};
}

static void tell_plaintext(ServiceFixture *fixture, uint64_t connection, bool has_secrets,
                           const char *text)
{
    TlsPlaintext told = plaintext_of(connection, 0, text);
    told.secrets_ns = has_secrets ? (uint64_t)g_get_monotonic_time() * 1000 : 0;
    tls_keys_fake_tell_plaintext(fixture->keys, &told);
}

/* Who gets what; each connection has one mark. */
static void test_plaintext(ServiceFixture *fixture, const void *data)
{
    static const struct {
        int mode;
        const char *plaintext, *key_log;
    } readers[] = {
        {REMORA__V1__TLS_MODE__TLS_MODE_KEYS, "", LINE},
        {REMORA__V1__TLS_MODE__TLS_MODE_AUTO, "ae", LINE},
        {REMORA__V1__TLS_MODE__TLS_MODE_PLAINTEXT, "abe", ""},
    };
    Reader *opened[G_N_ELEMENTS(readers)];
    for (size_t i = 0; i < G_N_ELEMENTS(readers); i++) {
        opened[i] = open_stream(fixture, readers[i].mode, "*");
        reader_wait(opened[i], reader_synced, 0);
    }
    service_give_interface(fixture);
    wait_take(fixture, TLS_TAKE_KEYS | TLS_TAKE_PLAINTEXT_REST | TLS_TAKE_PLAINTEXT_EVERY);
    tls_keys_fake_tell(fixture->keys, namespace_of_pods(), LINE);
    tell_plaintext(fixture, 1, false, "a");
    tell_plaintext(fixture, 2, true, "b");
    TlsPlaintext elsewhere = plaintext_of(3, 0, "c");
    elsewhere.netns_inode++;
    tls_keys_fake_tell_plaintext(fixture->keys, &elsewhere);
    tell_plaintext(fixture, 4, false, "e");
    /* What comes later shows that nothing else came before it. */
    uint64_t later = service_time_of(1000) + STREAM_PLAINTEXT_DELAY_NS;
    source_fake_watermark(fixture->source, later);
    for (size_t i = 0; i < G_N_ELEMENTS(readers); i++) {
        reader_wait(opened[i], reader_has_plaintext, strlen(readers[i].plaintext));
        ReaderState state = reader_wait(opened[i], reader_has_watermark, service_time_of(1000));
        g_assert_cmpstr(state.plaintext, ==, readers[i].plaintext);
        g_assert_cmpstr(state.key_log, ==, readers[i].key_log);
        g_assert_cmpuint(state.plaintext_packets, ==, 4 * strlen(readers[i].plaintext));
        g_assert_cmpint(state.has_plaintext_interface, ==, *readers[i].plaintext != 0);
        reader_free(opened[i]);
    }
    wait_followed(fixture, 0);
}

static uint64_t rest_since(ServiceFixture *fixture)
{
    unsigned times;
    g_autoptr(GArray) followed = tls_keys_fake_followed(fixture->keys, &times);
    return g_array_index(followed, TlsWanted, 0).rest_since_ns;
}

/* Who joins after a connection's secrets were told gets its plaintext, from where he is; the first
 * one, who has the secrets, does not. */
static void test_plaintext_joined_later(ServiceFixture *fixture, const void *data)
{
    Reader *first = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_AUTO, "*");
    reader_wait(first, reader_synced, 0);
    service_give_interface(fixture);
    wait_take(fixture, TLS_TAKE_KEYS | TLS_TAKE_PLAINTEXT_REST);
    uint64_t first_ns = rest_since(fixture), told_ns = (uint64_t)g_get_monotonic_time() * 1000;
    g_assert_cmpuint(first_ns, <=, told_ns);
    Reader *second = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_AUTO, "*");
    reader_wait(second, reader_synced, 0);
    while (rest_since(fixture) <= told_ns) {
        g_usleep(1000);
    }
    TlsPlaintext one = plaintext_of(1, 100, "b");
    one.secrets_ns = told_ns;
    one.skipped = true;
    tls_keys_fake_tell_plaintext(fixture->keys, &one);
    tell_plaintext(fixture, 2, false, "c");
    ReaderState state = reader_wait(second, reader_has_plaintext, 2);
    g_assert_cmpstr(state.plaintext, ==, "bc");
    g_assert_cmpuint(state.plaintext_packets, ==, 1 + 4);
    g_assert_cmpuint(state.plaintext_holes, ==, 0);
    state = reader_wait(first, reader_has_plaintext, 1);
    g_assert_cmpstr(state.plaintext, ==, "c");
    reader_free(first);
    reader_free(second);
    wait_followed(fixture, 0);
}

/* The watermark of who gets plaintext stays behind, so that packets which come later keep it. The
 * reader checks that. */
static void test_plaintext_late(ServiceFixture *fixture, const void *data)
{
    Reader *reader = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_PLAINTEXT, "*");
    reader_wait(reader, reader_synced, 0);
    wait_take(fixture, TLS_TAKE_PLAINTEXT_EVERY);
    service_give_interface(fixture);
    uint64_t now = service_time_of(1000) + STREAM_PLAINTEXT_DELAY_NS;
    source_fake_watermark(fixture->source, now);
    reader_wait(reader, reader_has_watermark, service_time_of(1000));
    tell_plaintext(fixture, 1, false, "x");
    ReaderState state = reader_wait(reader, reader_has_plaintext, 1);
    g_assert_cmpuint(state.watermark_ns, ==, service_time_of(1000));
    reader_free(reader);
}

static bool has_all_plaintext(const ReaderState *state, uint64_t packets)
{
    return state->plaintext_packets + state->plaintext_lost + state->lost == packets;
}

/* The stream's filter and snap length are for plaintext as well. */
static void test_plaintext_filter(ServiceFixture *fixture, const void *data)
{
    Remora__V1__StreamRequest request = REMORA__V1__STREAM_REQUEST__INIT;
    request.tls = REMORA__V1__TLS_MODE__TLS_MODE_PLAINTEXT;
    request.filter = (char *)(uintptr_t) "tcp port 1 or tcp port 3";
    request.snap_length = 42;
    Reader *reader = reader_new(fixture->channel, &request, true);
    wait_take(fixture, TLS_TAKE_PLAINTEXT_EVERY);
    tell_plaintext(fixture, 1, false, "abcdef");
    tell_plaintext(fixture, 2, false, "ghijkl");
    tell_plaintext(fixture, 3, false, "m");
    ReaderState state = reader_wait(reader, reader_has_plaintext, 3);
    g_assert_cmpstr(state.plaintext, ==, "abm");
    reader_free(reader);
    g_assert_cmpuint(service_counter(fixture, "packets_filtered_total"), ==, 4);
    service_check_account(fixture);
}

/* What the hooks lost is told, and what found no room. */
static void test_plaintext_lost(ServiceFixture *fixture, const void *data)
{
    Reader *reader = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_PLAINTEXT, "*");
    reader_wait(reader, reader_synced, 0);
    wait_take(fixture, TLS_TAKE_PLAINTEXT_EVERY);
    tell_plaintext(fixture, 1, false, "a");
    TlsPlaintext behind = plaintext_of(1, 7, "b");
    tls_keys_fake_tell_plaintext(fixture->keys, &behind);
    ReaderState state = reader_wait(reader, reader_has_plaintext, 2);
    g_assert_cmpuint(state.plaintext_holes, ==, 1);
    g_assert_cmpuint(service_counter(fixture, "tls_plaintext_missing_bytes_total"), ==, 6);
    /* As long as the stream is busy the capture thread takes none. */
    enum { MANY = 20000 };
    uint64_t before = state.plaintext_packets;
    Stream *stream = g_ptr_array_index(capture_streams(node_capture(fixture->node)), 0);
    stream_lock(stream);
    TlsPlaintext next = plaintext_of(2, 0, "c");
    for (; next.offset < MANY; next.offset++) {
        tls_keys_fake_tell_plaintext(fixture->keys, &next);
    }
    stream_unlock(stream);
    state = reader_wait(reader, has_all_plaintext, before + MANY + 3);
    g_assert_cmpuint(state.plaintext_lost, >, 0);
    g_assert_cmpuint(service_counter(fixture, "tls_plaintext_lost_total"), ==,
                     state.plaintext_lost);
    reader_free(reader);
}

/* ---- What is told ----------------------------------------------------------------------------*/

#define NO_NSS                                                                                \
    "shop/cart: no TLS secrets of what runs /lib/libnss3.so: NSS is not hooked: its key-log " \
    "function was compiled to nothing\n"

/* As if 1,000 processes ran OpenSSL, and one NSS. */
static void add_programs(ServiceFixture *fixture)
{
    TlsPrograms *programs = fixture->keys->programs;
    tls_programs_file(programs, 1, "/lib/libssl.so.3", "OpenSSL", TLS_PROGRAM_HOOKED, "");
    tls_programs_file(programs, 2, "/lib/libnss3.so", "NSS", TLS_PROGRAM_NOT_HOOKED,
                      "its key-log function was compiled to nothing");
    for (pid_t pid = 1; pid <= 1000; pid++) {
        const TlsProcess process = {.pid = pid, .name = "nginx"};
        tls_programs_use(programs, namespace_of_pods(), 1, &process);
    }
    const TlsProcess process = {.pid = 1001, .name = "firefox"};
    tls_programs_use(programs, namespace_of_pods(), 2, &process);
    tls_programs_gave(programs, namespace_of_pods(), 1, 99);
    tls_keys_fake_tell_programs(fixture->keys);
}

/* Those who asked are told once why some will not come; those who come later as well. */
static void test_told_of_programs(ServiceFixture *fixture, const void *data)
{
    Reader *asks = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_KEYS, "*");
    Reader *quiet = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_OFF, "*");
    wait_followed(fixture, 1);
    add_programs(fixture);
    ReaderState state = reader_wait(asks, reader_has_notices, 1);
    g_assert_cmpstr(state.notices, ==, NO_NSS);
    tls_programs_state(fixture->keys->programs, 1, TLS_PROGRAM_WITHDRAWN, "never seen");
    tls_keys_fake_tell_programs(fixture->keys);
    state = reader_wait(asks, reader_has_notices, 2);
    g_assert_cmpstr(state.notices, ==,
                    NO_NSS "shop/cart: no TLS secrets of what runs /lib/libssl.so.3: OpenSSL is "
                           "no longer hooked: never seen\n");
    Reader *later = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_KEYS, "*");
    reader_wait(later, reader_has_notices, 2);
    state = reader_wait(quiet, reader_synced, 0);
    g_assert_cmpstr(state.notices, ==, "");
    reader_free(asks);
    reader_free(quiet);
    reader_free(later);
}

static void test_told_of_problem(ServiceFixture *fixture, const void *data)
{
    Reader *asks = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_KEYS, "*");
    wait_followed(fixture, 1);
    tls_keys_fake_problem(fixture->keys, "CAP_BPF is missing");
    ReaderState state = reader_wait(asks, reader_has_notices, 1);
    g_assert_cmpstr(state.notices, ==, "n1: no TLS secrets: CAP_BPF is missing\n");
    reader_free(asks);
}

static void test_listed(ServiceFixture *fixture, const void *data)
{
    Reader *asks = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_KEYS, "*");
    wait_followed(fixture, 1);
    add_programs(fixture);
    reader_wait(asks, reader_has_notices, 1);
    Remora__V1__ListTargetsResponse *list = service_list_targets(fixture);
    g_assert_cmpuint(list->n_targets, ==, 1);
    const Remora__V1__Target *target = list->targets[0];
    g_assert_cmpuint(target->n_tls_programs, ==, 2);
    const Remora__V1__TlsProgram *nss = target->tls_programs[0], *ssl = target->tls_programs[1];
    g_assert_cmpstr(nss->path, ==, "/lib/libnss3.so");
    g_assert_cmpstr(nss->library, ==, "NSS");
    g_assert_cmpint(nss->state, ==, REMORA__V1__TLS_PROGRAM_STATE__TLS_PROGRAM_STATE_NOT_HOOKED);
    g_assert_cmpstr(nss->reason, ==, "its key-log function was compiled to nothing");
    g_assert_cmpuint(nss->n_some, ==, 1);
    g_assert_cmpstr(nss->some[0]->name, ==, "firefox");
    g_assert_cmpuint(nss->some[0]->pid, ==, 1001);
    g_assert_cmpint(ssl->state, ==, REMORA__V1__TLS_PROGRAM_STATE__TLS_PROGRAM_STATE_HOOKED);
    g_assert_cmpuint(ssl->processes, ==, 1000);
    g_assert_cmpuint(ssl->n_some, ==, TLS_PROGRAM_SOME);
    g_assert_cmpuint(ssl->key_lines, ==, 1);
    g_assert_cmpuint(ssl->last_unix_ns, ==, 99);
    remora__v1__list_targets_response__free_unpacked(list, NULL);
    reader_free(asks);
}

static void count_bytes(const Remora__V1__ListTargetsResponse *list, unsigned *ret_left_out)
{
    *ret_left_out = 0;
    for (size_t i = 0; i < list->n_targets; i++) {
        const Remora__V1__Target *target = list->targets[i];
        g_assert_cmpuint(target->n_tls_programs, >, 0);
        g_assert_cmpuint(target->n_tls_programs + target->tls_programs_left_out, ==,
                         TLS_PROGRAMS_MAX);
        *ret_left_out += target->tls_programs_left_out;
    }
    g_assert_cmpuint(remora__v1__list_targets_response__get_packed_size(list), <, 2u << 20);
}

/* Pods that run as many files as are told of, with long names, and with labels that take
 * more than its half: the answer comes, each pod has its part of it, and what is not there is
 * counted. */
static void test_listed_bounded(ServiceFixture *fixture, const void *data)
{
    enum { PODS = 8, LABELS = 120, LABEL_BYTES = 1000 };
    TlsPrograms *programs = fixture->keys->programs;
    g_autofree char *text = g_strnfill(500, 'x');
    g_autoptr(GPtrArray) labels = g_ptr_array_new_with_free_func(g_free);
    for (unsigned i = 0; i < 2 * LABELS; i++) {
        g_ptr_array_add(labels, g_strdup_printf("%0*u", LABEL_BYTES, i));
    }
    g_ptr_array_add(labels, NULL);
    for (unsigned i = 0; i < PODS; i++) {
        g_autofree char *name = g_strdup_printf("many-%u", i);
        Entity *pod = test_pod("shop", name, (const char *const *)(void *)labels->pdata);
        targets_fake_pod(fixture->targets, pod, -1);
        entity_unref(pod);
    }
    node_targets_ready(fixture->node);
    for (uint64_t file = 1; file <= TLS_PROGRAMS_MAX; file++) {
        const TlsProcess process = {.pid = 1, .name = "p"};
        tls_programs_file(programs, file, text, "NSS", TLS_PROGRAM_NOT_HOOKED, text);
        tls_programs_use(programs, namespace_of_pods(), file, &process);
    }
    while (service_counter(fixture, "identity_events_total") < 1 + PODS) {
    }
    Remora__V1__ListTargetsResponse *list = service_list_targets(fixture);
    unsigned left_out;
    g_assert_cmpuint(list->targets_left_out, >, 0);
    g_assert_cmpuint(list->n_targets, >, 1); /* and the fixture's, which is small */
    g_assert_cmpuint(list->n_targets + list->targets_left_out, ==, 1 + PODS);
    g_assert_cmpstr(list->targets[0]->entity->name, ==, "cart");
    count_bytes(list, &left_out);
    g_assert_cmpuint(left_out, >, 0);
    remora__v1__list_targets_response__free_unpacked(list, NULL);
}

/* A pod with ever more files does not use up what is told of others. */
static void test_told_of_one(ServiceFixture *fixture, const void *data)
{
    TlsPrograms *programs = fixture->keys->programs;
    Reader *asks = open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_KEYS, "*");
    wait_followed(fixture, 1);
    for (uint64_t file = 1; file <= TLS_PROGRAMS_MAX; file++) {
        g_autofree char *path = g_strdup_printf("/lib/%lu", (unsigned long)file);
        const TlsProcess process = {.pid = 1, .name = "p"};
        tls_programs_file(programs, file, path, "NSS", TLS_PROGRAM_NOT_HOOKED, "for this");
        tls_programs_use(programs, namespace_of_pods(), file, &process);
    }
    tls_keys_fake_tell_programs(fixture->keys);
    ReaderState state = reader_wait(asks, reader_has_notices, TLS_NOTICES_OF_ONE);
    g_assert_nonnull(strstr(state.notices, "no TLS secrets of further files"));
    reader_free(asks);
}

static void test_counters(ServiceFixture *fixture, const void *data)
{
    const TlsKeysStats stats = {.taken = 11,
                                .lost = 12,
                                .passed = 13,
                                .unreadable = 14,
                                .mappings_lost = 15,
                                .withdrawn = 16,
                                .hooked_files = 17,
                                .plaintext_taken = 18,
                                .plaintext_lost = 19,
                                .plaintext_passed = 20,
                                .plaintext_unreadable = 21,
                                .plaintext_unknown = 22};
    tls_keys_fake_set_stats(fixture->keys, &stats);
    g_assert_cmpuint(service_counter(fixture, "tls_hook_taken_total"), ==, 11);
    g_assert_cmpuint(service_counter(fixture, "tls_hook_lost_total"), ==, 12);
    g_assert_cmpuint(service_counter(fixture, "tls_hook_passed_total"), ==, 13);
    g_assert_cmpuint(service_counter(fixture, "tls_hook_unreadable_total"), ==, 14);
    g_assert_cmpuint(service_counter(fixture, "tls_mappings_lost_total"), ==, 15);
    g_assert_cmpuint(service_counter(fixture, "tls_hooks_withdrawn_total"), ==, 16);
    g_assert_cmpuint(service_counter(fixture, "tls_hooked_files"), ==, 17);
    g_assert_cmpuint(service_counter(fixture, "tls_plaintext_hook_taken_bytes_total"), ==, 18);
    g_assert_cmpuint(service_counter(fixture, "tls_plaintext_hook_lost_bytes_total"), ==, 19);
    g_assert_cmpuint(service_counter(fixture, "tls_plaintext_hook_passed_total"), ==, 20);
    g_assert_cmpuint(service_counter(fixture, "tls_plaintext_hook_unreadable_bytes_total"), ==, 21);
    g_assert_cmpuint(service_counter(fixture, "tls_plaintext_unknown_sockets_total"), ==, 22);
}

static void check_refused(Reader *reader, int status, const char *part)
{
    ReaderState state = reader_wait(reader, reader_closed, 0);
    g_assert_cmpint(state.status, ==, status);
    g_assert_nonnull(strstr(state.text, part));
    reader_free(reader);
}

static void test_unknown_mode(ServiceFixture *fixture, const void *data)
{
    check_refused(open_stream(fixture, 77, "*"), -EINVAL, "TLS mode 77");
}

static void set_up_without(ServiceFixture *fixture, const void *data)
{
    service_gives_tls_keys = false;
    service_set_up(fixture, data);
    service_gives_tls_keys = true;
}

static void test_not_allowed(ServiceFixture *fixture, const void *data)
{
    check_refused(open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_KEYS, "*"), -EACCES,
                  "--tls off");
}

static void set_up_without_plaintext(ServiceFixture *fixture, const void *data)
{
    service_gives_tls_plaintext = false;
    service_set_up(fixture, data);
    service_gives_tls_plaintext = true;
}

static void test_no_plaintext(ServiceFixture *fixture, const void *data)
{
    check_refused(open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_AUTO, "*"), -EACCES,
                  "no plaintext of TLS (it runs with --tls keys)");
    check_refused(open_stream(fixture, REMORA__V1__TLS_MODE__TLS_MODE_PLAINTEXT, "*"), -EACCES,
                  "no plaintext of TLS (it runs with --tls keys)");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level(LOG_LEVEL_ERROR);
#define TEST(path, function) \
    g_test_add(path, ServiceFixture, NULL, service_set_up, function, service_tear_down)
    TEST("/secrets/asked", test_asked);
    TEST("/secrets/nobody-asks", test_nobody_asks);
    TEST("/secrets/first", test_first);
    TEST("/secrets/unknown-mode", test_unknown_mode);
    TEST("/secrets/plaintext", test_plaintext);
    TEST("/secrets/plaintext-joined-later", test_plaintext_joined_later);
    TEST("/secrets/plaintext-late", test_plaintext_late);
    TEST("/secrets/plaintext-filter", test_plaintext_filter);
    TEST("/secrets/plaintext-lost", test_plaintext_lost);
    g_test_add("/secrets/no-plaintext", ServiceFixture, NULL, set_up_without_plaintext,
               test_no_plaintext, service_tear_down);
    TEST("/secrets/told-of-programs", test_told_of_programs);
    TEST("/secrets/told-of-problem", test_told_of_problem);
    TEST("/secrets/listed", test_listed);
    TEST("/secrets/listed-bounded", test_listed_bounded);
    TEST("/secrets/told-of-one", test_told_of_one);
    TEST("/secrets/counters", test_counters);
    g_test_add("/secrets/not-allowed", ServiceFixture, NULL, set_up_without, test_not_allowed,
               service_tear_down);
    return g_test_run();
}
