// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests that are refused, streams that are given up, and the end of the node. */
#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "helpers.h"
#include "service-fixture.h"

static void check_refused(Reader *reader, int status, const char *part)
{
    ReaderState state = reader_wait(reader, reader_closed, 0);
    g_assert_cmpint(state.status, ==, status);
    g_assert_cmpuint(state.messages, ==, 0);
    if (!strstr(state.text, part)) {
        g_error("\"%s\" does not say \"%s\"", state.text, part);
    }
    reader_free(reader);
}

static void test_bad_requests(ServiceFixture *fixture, const void *data)
{
    g_autofree char *too_long = g_strnfill(5000, '(');
    check_refused(service_open_with(fixture, too_long, 0, true), -EINVAL, "4096");
    check_refused(service_open_with(fixture, "tcp.port == 80", 0, true), -EINVAL, "pcap-filter");
    check_refused(reader_new_raw(fixture->channel, "\xff\xff\xff", 3), -EINVAL, "StreamRequest");

    Remora__V1__TargetSelector targets = REMORA__V1__TARGET_SELECTOR__INIT;
    Remora__V1__StreamRequest request = REMORA__V1__STREAM_REQUEST__INIT;
    request.targets = &targets;
    targets.label_selector = (char *)(uintptr_t) "app in cart";
    check_refused(reader_new(fixture->channel, &request, true), -EINVAL, "column 8");
    targets.label_selector = (char *)(uintptr_t) "";
    char *many[1001];
    for (size_t i = 0; i < G_N_ELEMENTS(many); i++) {
        many[i] = (char *)(uintptr_t) "x";
    }
    targets.pods = many;
    targets.n_pods = G_N_ELEMENTS(many);
    check_refused(reader_new(fixture->channel, &request, true), -EINVAL, "1001");
    g_assert_cmpuint(service_counter(fixture, "streams_refused_total"), ==, 5);

    g_autoptr(GError) error = NULL;
    uint8_t *bytes;
    size_t length;
    int result = rpc_channel_call(fixture->channel, REMORA_METHOD_LIST_TARGETS, "\xff", 1,
                                  10000000000u, &bytes, &length, &error);
    g_assert_cmpint(result, ==, -EINVAL);
}

static bool has_subscribers(const ServiceFixture *fixture)
{
    Remora__V1__GetStatusResponse *status = service_get_status(fixture);
    bool has = status->subscribers > 0;
    remora__v1__get_status_response__free_unpacked(status, NULL);
    return has;
}

static void wait_for_no_subscribers(const ServiceFixture *fixture)
{
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (has_subscribers(fixture)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* What must be told does not fit into a message: the reader hears of it. */
static void test_too_large_to_tell(ServiceFixture *fixture, const void *data)
{
    enum { LABELS = 100 };
    g_autofree char *value = g_strnfill(60000, 'v');
    char keys[LABELS][8];
    const char *labels[2 * LABELS + 1] = {NULL};
    for (int i = 0; i < LABELS; i++) {
        g_snprintf(keys[i], sizeof(keys[i]), "k%d", i);
        labels[2 * i] = keys[i];
        labels[2 * i + 1] = value;
    }
    Reader *reader = service_open_with(fixture, "", 0, true);
    reader_wait(reader, reader_synced, 0);
    Entity *large = test_pod("shop", "large", labels);
    targets_fake_identity(fixture->targets, large);
    node_targets_ready(fixture->node);
    ReaderState state = reader_wait(reader, reader_closed, 0);
    g_assert_cmpint(state.status, ==, -EMSGSIZE);
    g_assert_nonnull(strstr(state.text, "4 MiB"));
    wait_for_no_subscribers(fixture);
    reader_free(reader);
    entity_unref(large);
}

/* Events cannot be dropped, so a reader that never comes for them is given up, and takes no more
 * memory from then on even if it stays. */
static void test_events_pile_up(ServiceFixture *fixture, const void *data)
{
    Reader *reader = service_open_with(fixture, "", 0, false);
    while (service_counter(fixture, "streams_opened_total") < 1) {
    }
    /* The transport takes as many as its window allows, which follows what it measures. */
    enum { AT_ONCE = 100000, EVENT_BYTES = 64 /* at least */ };
    uint64_t told = 0;
    do {
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            targets_fake_identity(fixture->targets, fixture->pod);
        }
        node_targets_ready(fixture->node);
        told += AT_ONCE;
        g_assert_cmpuint(told, <=, STREAM_EVENTS_MAX + RPC_CHANNEL_MEMORY / EVENT_BYTES);
    } while (has_subscribers(fixture));
    g_assert_cmpuint(told, >=, STREAM_EVENTS_MAX);
    reader_allow(reader, UINT64_MAX);
    ReaderState state = reader_wait(reader, reader_closed, 0);
    g_assert_cmpint(state.status, ==, -EMSGSIZE);
    reader_free(reader);
}

/* Repeated submessages that protobuf-c would merge in quadratic time: nobody may hold up the thread
 * that serves all streams. */
static void test_costly_request(ServiceFixture *fixture, const void *data)
{
    static const uint8_t targets[] = {0x12, 2, 0x12, 0}; /* with one empty pod pattern */
    g_autoptr(GByteArray) request = g_byte_array_new();
    for (int i = 0; i < 1000000; i++) {
        g_byte_array_append(request, targets, sizeof(targets));
    }
    check_refused(reader_new_raw(fixture->channel, request->data, request->len), -EMSGSIZE,
                  "unpacked");
}

static void test_too_many(ServiceFixture *fixture, const void *data)
{
    Reader *readers[3];
    for (size_t i = 0; i < 3; i++) {
        readers[i] = service_open_with(fixture, "", 0, true);
        reader_wait(readers[i], reader_synced, 0);
    }
    check_refused(service_open_with(fixture, "", 0, true), -EMSGSIZE, "--max-streams");
    for (size_t i = 0; i < 3; i++) {
        reader_free(readers[i]);
    }
    while (source_fake_targets(fixture->source) > 0) {
        service_counter(fixture, "packets_waiting");
    }
    Reader *reader = service_open_with(fixture, "", 0, true);
    reader_wait(reader, reader_synced, 0);
    reader_free(reader);
}

/* A reader that reads gets everything and a farewell; one that does not holds up the end only for a
 * moment. */
static void test_stop(ServiceFixture *fixture, const void *data)
{
    Reader *reading = service_open_with(fixture, "", 0, true);
    Reader *stopped = service_open_with(fixture, "", 0, false);
    reader_wait(reading, reader_synced, 0);
    while (service_counter(fixture, "streams_opened_total") < 2) {
    }
    service_give_interface(fixture);
    service_give_packets(fixture, 10, 0);
    gint64 start = g_get_monotonic_time();
    node_stop(fixture->node, "the test ends it");
    g_assert_cmpint(g_get_monotonic_time() - start, <, 900000);
    ReaderState state = reader_wait(reading, reader_closed, 0);
    g_assert_true(state.ended && state.end_retry);
    g_assert_cmpint(state.status, ==, -ECONNREFUSED);
    g_assert_cmpstr(state.text, ==, "the test ends it");
    g_assert_cmpuint(state.packets + state.lost, ==, fixture->sent);
    check_refused(service_open_with(fixture, "", 0, true), -ECONNREFUSED, "going down");
    reader_free(reading);
    reader_free(stopped);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level(LOG_LEVEL_ERROR);
#define TEST(path, function) \
    g_test_add(path, ServiceFixture, NULL, service_set_up, function, service_tear_down)
    TEST("/service/bad-requests", test_bad_requests);
    TEST("/service/costly-request", test_costly_request);
    TEST("/service/too-large-to-tell", test_too_large_to_tell);
    TEST("/service/events-pile-up", test_events_pile_up);
    TEST("/service/too-many", test_too_many);
    TEST("/service/stop", test_stop);
    return g_test_run();
}
