// SPDX-License-Identifier: GPL-2.0-or-later
/* The whole node but for the kernel: fake source and targets, the real service on a unix socket,
 * the real client. */
#include "node-capture/server/service.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "helpers.h"
#include "node-capture/source/fake.h"
#include "node-capture/targets/fake.h"
#include "reader.h"

#define QUEUE_BYTES (2u << 20)
#define TARGET      1u /* ids that the node gives: the first pod it opens */
#define BATCH       80u

typedef struct Fixture {
    char *folder;
    Entity *pod;
    Source *source;
    Targets *targets;
    Node *node;
    Service *service;
    RpcClient *client;
    RpcChannel *channel;
    uint32_t sent; /* packets given to the source */
} Fixture;

static const NodeInfo info = {"test", "n1", "0", "boot", "machine", "os", 1};

static Selector *allowed_shop(void)
{
    Remora__V1__TargetSelector proto = REMORA__V1__TARGET_SELECTOR__INIT;
    char *namespaces[] = {(char *)(uintptr_t) "shop"};
    proto.namespaces = namespaces;
    proto.n_namespaces = 1;
    return selector_new(&proto, NULL);
}

static void set_up(Fixture *fixture, const void *data)
{
    g_autoptr(GError) error = NULL;
    fixture->folder = g_dir_make_tmp("remora-service-XXXXXX", &error);
    g_assert_no_error(error);
    g_autofree char *endpoint = g_strdup_printf("unix:%s/node.sock", fixture->folder);

    fixture->node = node_new(&info, allowed_shop());
    fixture->source = source_fake_new(&capture_source_callbacks, node_capture(fixture->node));
    fixture->targets = targets_fake_new(&node_targets_callbacks, fixture->node);
    fixture->pod = test_pod("shop", "cart", NULL);
    targets_fake_pod(fixture->targets, fixture->pod, -1);
    targets_fake_synced(fixture->targets);
    node_start(fixture->node, fixture->source, fixture->targets);
    node_targets_ready(fixture->node);

    const ServiceConfig config = {.endpoints = (const char *const[]){endpoint, NULL},
                                  .snap_length = 262144,
                                  .queue_bytes = QUEUE_BYTES,
                                  .max_streams = 3};
    fixture->service = service_new(fixture->node, &info, &config, &error);
    g_assert_no_error(error);
    fixture->client = rpc_client_new();
    fixture->channel = rpc_channel_new(fixture->client, endpoint, false, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *fixture, const void *data)
{
    rpc_channel_free(fixture->channel);
    rpc_client_free(fixture->client);
    node_stop(fixture->node, "the test is over");
    service_free(fixture->service);
    node_free(fixture->node);
    entity_unref(fixture->pod);
    g_assert_cmpint(g_rmdir(fixture->folder), ==, 0);
    g_free(fixture->folder);
}

static Reader *open_with(Fixture *fixture, const char *filter, uint32_t snap_length,
                         bool free_running)
{
    Remora__V1__StreamRequest request = REMORA__V1__STREAM_REQUEST__INIT;
    request.protocol_version = REMORA_PROTOCOL_VERSION;
    request.filter = (char *)(uintptr_t)filter;
    request.snap_length = snap_length;
    request.client = (char *)(uintptr_t) "test";
    return reader_new(fixture->channel, &request, free_running);
}

static void give_interface(const Fixture *fixture)
{
    source_fake_interface(
        fixture->source,
        &(SourceInterface){.id = 0, .target_id = TARGET, .device = "eth0", .link_type = 1});
}

static uint64_t time_of(uint32_t number)
{
    return TEST_NS + number;
}

static void give_packets(Fixture *fixture, uint32_t batches, uint8_t mark)
{
    for (uint32_t i = 0; i < batches; i++) {
        source_fake_packets(
            fixture->source, TARGET,
            test_batch(0, time_of(fixture->sent), fixture->sent, BATCH, 1400, mark));
        fixture->sent += BATCH;
    }
    source_fake_watermark(fixture->source, time_of(fixture->sent));
}

static Remora__V1__GetStatusResponse *get_status(const Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *bytes = NULL;
    size_t length;
    rpc_channel_call(fixture->channel, REMORA_METHOD_GET_STATUS, "", 0, 10000000000u, &bytes,
                     &length, &error);
    g_assert_no_error(error);
    Remora__V1__GetStatusResponse *status =
        remora__v1__get_status_response__unpack(NULL, length, bytes);
    g_assert_nonnull(status);
    return status;
}

static uint64_t counter(const Fixture *fixture, const char *name)
{
    Remora__V1__GetStatusResponse *status = get_status(fixture);
    for (size_t i = 0; i < status->n_counters; i++) {
        if (strcmp(status->counters[i]->name, name) == 0) {
            uint64_t value = status->counters[i]->value;
            remora__v1__get_status_response__free_unpacked(status, NULL);
            return value;
        }
    }
    g_error("there is no counter %s", name);
}

static Remora__V1__ListTargetsResponse *list_targets(const Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *bytes = NULL;
    size_t length;
    rpc_channel_call(fixture->channel, REMORA_METHOD_LIST_TARGETS, "", 0, 10000000000u, &bytes,
                     &length, &error);
    g_assert_no_error(error);
    Remora__V1__ListTargetsResponse *list =
        remora__v1__list_targets_response__unpack(NULL, length, bytes);
    g_assert_nonnull(list);
    return list;
}

/* Every packet that streams were to get is in exactly one of the counters. */
static void check_account(const Fixture *fixture)
{
    Remora__V1__GetStatusResponse *status = get_status(fixture);
    uint64_t offered = 0, accounted = 0;
    static const char *const parts[] = {"packets_sent_total",
                                        "packets_filtered_total",
                                        "packets_lost_queue_total",
                                        "packets_invalid_total",
                                        "packets_abandoned_total",
                                        "packets_waiting",
                                        NULL};
    for (size_t i = 0; i < status->n_counters; i++) {
        if (strcmp(status->counters[i]->name, "packets_offered_total") == 0) {
            offered = status->counters[i]->value;
        } else if (g_strv_contains(parts, status->counters[i]->name)) {
            accounted += status->counters[i]->value;
        }
    }
    g_assert_cmpuint(offered, >, 0);
    g_assert_cmpuint(offered, ==, accounted);
    remora__v1__get_status_response__free_unpacked(status, NULL);
}

/* ---- Conservation ----------------------------------------------------------------------------*/

static void test_all_delivered(Fixture *fixture, const void *data)
{
    Reader *reader = open_with(fixture, "", 0, true);
    reader_wait(reader, reader_synced, 0);
    give_interface(fixture);
    give_packets(fixture, 10, 0);
    ReaderState state = reader_wait(reader, reader_has_watermark, time_of(fixture->sent));
    g_assert_cmpuint(state.packets, ==, fixture->sent);
    g_assert_cmpuint(state.lost + state.holes, ==, 0);
    g_assert_cmpuint(state.entities, ==, 1);
    reader_free(reader);
    check_account(fixture);
}

/* The source gives ten batches for each that the reader takes. */
static void test_overload(Fixture *fixture, const void *data)
{
    Reader *reader = open_with(fixture, "", 0, false);
    reader_allow(reader, 8);
    reader_wait(reader, reader_synced, 0);
    give_interface(fixture);
    for (uint32_t i = 0; i < 60; i++) {
        give_packets(fixture, 20, 0); /* two make a message */
        reader_allow(reader, 1);
        reader_wait(reader, reader_has_messages, i + 1);
    }
    reader_allow(reader, UINT64_MAX);
    ReaderState state = reader_wait(reader, reader_has_watermark, time_of(fixture->sent));
    g_assert_cmpuint(state.lost, >, fixture->sent / 2);
    g_assert_cmpuint(state.packets + state.lost, ==, fixture->sent);
    g_assert_cmpuint(state.holes, ==, 0); /* each loss stands where the packets are missing */
    g_assert_cmpuint(counter(fixture, "packets_lost_queue_total"), ==, state.lost);
    reader_free(reader);
    check_account(fixture);
}

static void test_stopped_reader(Fixture *fixture, const void *data)
{
    Reader *stopped = open_with(fixture, "", 0, false);
    Reader *other = open_with(fixture, "", 0, true);
    reader_wait(other, reader_synced, 0);
    while (counter(fixture, "streams_opened_total") < 2) {
    }
    give_interface(fixture);
    source_fake_lost(fixture->source, TARGET, 3, TEST_NS, TEST_NS + 1, false);
    for (uint32_t i = 0; i < 100; i++) {
        give_packets(fixture, 5, 0);
        source_fake_lost(fixture->source, TARGET, 1, time_of(fixture->sent), time_of(fixture->sent),
                         false);
        /* The other one is not held up. */
        reader_wait(other, reader_has_watermark, time_of(fixture->sent));
        g_assert_cmpuint(counter(fixture, "bytes_waiting"), <=, 2 * QUEUE_BYTES);
    }
    reader_allow(stopped, UINT64_MAX);
    ReaderState state = reader_wait(stopped, reader_has_watermark, time_of(fixture->sent));
    g_assert_cmpuint(state.lost, >, 0);
    g_assert_cmpuint(state.packets + state.lost, ==, fixture->sent);
    g_assert_cmpuint(state.holes, ==, 0);
    g_assert_cmpuint(state.kernel_lost, >=, 102); /* the last one may still come */
    /* What piled up has been told in few messages. */
    g_assert_cmpuint(state.messages, <, 200);
    reader_free(stopped);
    reader_free(other);
    check_account(fixture);
}

static void test_two_filters(Fixture *fixture, const void *data)
{
    Reader *marked = open_with(fixture, "ether[0] = 1", 0, true);
    Reader *cut = open_with(fixture, "", 64, true);
    reader_wait(marked, reader_synced, 0);
    reader_wait(cut, reader_synced, 0);
    g_assert_cmpuint(source_fake_snap_length(fixture->source), ==, 262144);
    give_interface(fixture);
    uint32_t marks = 0;
    for (uint32_t i = 0; i < 30; i++) {
        give_packets(fixture, 1, i % 3 == 0);
        marks += i % 3 == 0 ? BATCH : 0;
    }
    ReaderState state = reader_wait(marked, reader_has_watermark, time_of(fixture->sent));
    g_assert_cmpuint(state.packets, ==, marks);
    g_assert_cmpuint(state.captured_max, ==, 1400);
    g_assert_cmpuint(state.lost, ==, 0);
    state = reader_wait(cut, reader_has_watermark, time_of(fixture->sent));
    g_assert_cmpuint(state.packets, ==, fixture->sent);
    g_assert_cmpuint(state.captured_max, ==, 64);
    g_assert_cmpuint(state.lost + state.holes, ==, 0);
    g_assert_cmpuint(counter(fixture, "packets_filtered_total"), ==, fixture->sent - marks);
    reader_free(marked);
    while (counter(fixture, "packets_abandoned_total") + source_fake_snap_length(fixture->source) !=
           64) {
    }
    reader_free(cut);
    check_account(fixture);
}

/* ---- Pods ------------------------------------------------------------------------------------*/

/* A pod is open only while somebody wants it. */
static void test_open_while_wanted(Fixture *fixture, const void *data)
{
    g_assert_cmpuint(source_fake_targets(fixture->source), ==, 0);
    Reader *reader = open_with(fixture, "", 0, true);
    reader_wait(reader, reader_synced, 0);
    while (source_fake_targets(fixture->source) == 0) {
        counter(fixture, "streams_opened_total");
    }
    Entity *excluded = test_pod("dev", "other", NULL);
    targets_fake_pod(fixture->targets, excluded, -1);
    targets_fake_gone(fixture->targets, fixture->pod, TEST_NS);
    node_targets_ready(fixture->node);
    ReaderState state = reader_wait(reader, reader_has_deleted, 1);
    g_assert_cmpuint(state.entities, ==, 2);
    g_assert_cmpuint(source_fake_targets(fixture->source), ==, 0);
    Remora__V1__GetStatusResponse *status = get_status(fixture);
    g_assert_cmpuint(status->targets_known, ==, 1);
    g_assert_cmpuint(status->targets_captured, ==, 0);
    remora__v1__get_status_response__free_unpacked(status, NULL);
    entity_unref(excluded);
    reader_free(reader);
}

static void test_cannot_open(Fixture *fixture, const void *data)
{
    source_fake_fail_add(fixture->source, -EPERM, "opening the socket needs CAP_NET_RAW");
    Reader *reader = open_with(fixture, "", 0, true);
    reader_wait(reader, reader_has_lost_starts, 1);
    Remora__V1__GetStatusResponse *status = get_status(fixture);
    g_assert_cmpuint(status->n_problems, ==, 1);
    g_assert_cmpstr(status->problems[0]->subject, ==, "pod shop/cart");
    g_assert_nonnull(strstr(status->problems[0]->message, "CAP_NET_RAW"));
    remora__v1__get_status_response__free_unpacked(status, NULL);
    /* It is tried again, and the problem goes away. */
    source_fake_fail_add(fixture->source, 0, NULL);
    size_t problems = 1;
    while (problems > 0) {
        status = get_status(fixture);
        problems = status->n_problems;
        remora__v1__get_status_response__free_unpacked(status, NULL);
    }
    g_assert_cmpuint(source_fake_targets(fixture->source), ==, 1);
    reader_free(reader);
}

/* What the source hands out as a pod is closed is in the pod's counters. */
static void test_last_packets(Fixture *fixture, const void *data)
{
    Reader *reader = open_with(fixture, "", 0, true);
    reader_wait(reader, reader_synced, 0);
    give_interface(fixture);
    give_packets(fixture, 1, 0);
    reader_wait(reader, reader_has_watermark, time_of(fixture->sent));
    source_fake_packets_at_remove(fixture->source, TARGET,
                                  test_batch(0, time_of(BATCH), BATCH, BATCH, 1400, 0));
    reader_free(reader);
    while (source_fake_targets(fixture->source) > 0) {
    }
    g_assert_cmpuint(counter(fixture, "packets_captured_total"), ==, 2 * BATCH);
    Remora__V1__ListTargetsResponse *list = list_targets(fixture);
    g_assert_cmpuint(list->n_targets, ==, 1);
    g_assert_cmpuint(list->targets[0]->packets, ==, 2 * BATCH);
    g_assert_cmpuint(list->targets[0]->bytes, ==, 2 * BATCH * 1400);
    remora__v1__list_targets_response__free_unpacked(list, NULL);
}

/* Streams that were open before a pod failed hear of it like those that are opened later. */
static void test_fails_later(Fixture *fixture, const void *data)
{
    Entity *pod = test_pod("shop", "broken", NULL);
    Reader *readers[2] = {open_with(fixture, "", 0, true), open_with(fixture, "", 0, true)};
    for (size_t i = 0; i < 2; i++) {
        reader_wait(readers[i], reader_synced, 0);
    }
    targets_fake_failed(fixture->targets, pod, "no namespace");
    node_targets_ready(fixture->node);
    for (size_t i = 0; i < 2; i++) {
        ReaderState state = reader_wait(readers[i], reader_has_lost_starts, 1);
        g_assert_cmpstr(state.start_text, ==, "shop/broken: no namespace");
    }
    Reader *later = open_with(fixture, "", 0, true);
    reader_wait(later, reader_has_lost_starts, 1);
    reader_free(later);

    /* The namespace of a pod that was captured goes, and it cannot be opened again. */
    source_fake_fail_add(fixture->source, -EPERM, "opening");
    source_fake_ended(fixture->source, TARGET, 0, "gone");
    for (size_t i = 0; i < 2; i++) {
        ReaderState state = reader_wait(readers[i], reader_has_lost_starts, 2);
        g_assert_true(g_str_has_prefix(state.start_text, "shop/cart: "));
        reader_free(readers[i]);
    }
    entity_unref(pod);
}

/* A pod that was there before it was noticed; then one that was noticed at once. */
static void test_noticed_late(Fixture *fixture, const void *data)
{
    Reader *reader = open_with(fixture, "", 0, true);
    reader_wait(reader, reader_synced, 0);
    while (source_fake_targets(fixture->source) < 1) {
    }
    uint64_t open_ns = clock_unix_ns(); /* the stream is open by now, and not for long */
    Entity *late = test_pod("shop", "late", NULL);
    targets_fake_late_pod(fixture->targets, late, open_ns + 1);
    node_targets_ready(fixture->node);
    ReaderState state = reader_wait(reader, reader_has_lost_starts, 1);
    g_assert_cmpstr(state.start_text, ==, "shop/late: was noticed late");
    g_assert_cmpuint(state.start_from_ns, ==, open_ns + 1);
    g_assert_cmpuint(state.start_to_ns, >, open_ns + 1);
    g_assert_cmpuint(state.start_to_ns, <=, clock_unix_ns());

    /* Nothing is told of the time before the stream. */
    Entity *old = test_pod("shop", "old", NULL);
    targets_fake_late_pod(fixture->targets, old, 0);
    node_targets_ready(fixture->node);
    state = reader_wait(reader, reader_has_lost_starts, 2);
    g_assert_cmpuint(state.start_from_ns, <=, open_ns);
    g_assert_cmpuint(counter(fixture, "capture_start_losses_total"), ==, 2);
    g_assert_cmpuint(state.start_from_ns, >, open_ns - 20000000000u);

    Entity *fresh = test_pod("shop", "fresh", NULL);
    targets_fake_failed(fixture->targets, fresh, "no namespace yet"); /* not for long */
    targets_fake_pod(fixture->targets, fresh, -1);
    node_targets_ready(fixture->node);
    while (source_fake_targets(fixture->source) < 4) {
    }
    counter(fixture, "targets_opened_total"); /* that dispatch is over */
    source_fake_watermark(fixture->source, TEST_NS);
    state = reader_wait(reader, reader_has_watermark, TEST_NS);
    g_assert_cmpuint(state.starts_lost, ==, 2);
    reader_free(reader);
    entity_unref(late);
    entity_unref(old);
    entity_unref(fresh);
}

static void test_list_targets(Fixture *fixture, const void *data)
{
    Entity *excluded = test_pod("dev", "other", NULL);
    Entity *failed = test_pod("shop", "broken", NULL);
    targets_fake_pod(fixture->targets, excluded, -1);
    targets_fake_failed(fixture->targets, failed, "no namespace");
    node_targets_ready(fixture->node);
    while (counter(fixture, "identity_events_total") < 3) {
    }
    Remora__V1__ListTargetsResponse *list = list_targets(fixture);
    g_assert_cmpuint(list->n_targets, ==, 3);
    for (size_t i = 0; i < 3; i++) {
        const Remora__V1__Target *target = list->targets[i];
        if (strcmp(target->entity->name, "cart") == 0) {
            g_assert_cmpint(target->state, ==, REMORA__V1__TARGET_STATE__TARGET_STATE_IDLE);
        } else if (strcmp(target->entity->name, "other") == 0) {
            g_assert_cmpint(target->state, ==, REMORA__V1__TARGET_STATE__TARGET_STATE_EXCLUDED);
            g_assert_cmpstr(target->reason, !=, "");
        } else {
            g_assert_cmpint(target->state, ==, REMORA__V1__TARGET_STATE__TARGET_STATE_FAILED);
            g_assert_cmpstr(target->reason, ==, "no namespace");
        }
    }
    remora__v1__list_targets_response__free_unpacked(list, NULL);
    entity_unref(excluded);
    entity_unref(failed);
}

/* ---- Bad requests, and the end ---------------------------------------------------------------*/

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

static void test_bad_requests(Fixture *fixture, const void *data)
{
    g_autofree char *too_long = g_strnfill(5000, '(');
    check_refused(open_with(fixture, too_long, 0, true), -EINVAL, "4096");
    check_refused(open_with(fixture, "tcp.port == 80", 0, true), -EINVAL, "pcap-filter");
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
    g_assert_cmpuint(counter(fixture, "streams_refused_total"), ==, 5);

    g_autoptr(GError) error = NULL;
    uint8_t *bytes;
    size_t length;
    int result = rpc_channel_call(fixture->channel, REMORA_METHOD_LIST_TARGETS, "\xff", 1,
                                  10000000000u, &bytes, &length, &error);
    g_assert_cmpint(result, ==, -EINVAL);
}

static void wait_for_no_subscribers(const Fixture *fixture)
{
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    for (uint32_t subscribers = 1; subscribers > 0;) {
        Remora__V1__GetStatusResponse *status = get_status(fixture);
        subscribers = status->subscribers;
        remora__v1__get_status_response__free_unpacked(status, NULL);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* What must be told does not fit into a message: the reader hears of it. */
static void test_too_large_to_tell(Fixture *fixture, const void *data)
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
    Reader *reader = open_with(fixture, "", 0, true);
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
static void test_events_pile_up(Fixture *fixture, const void *data)
{
    Reader *reader = open_with(fixture, "", 0, false);
    while (counter(fixture, "streams_opened_total") < 1) {
    }
    /* The transport takes some before it stops. */
    for (uint32_t i = 0; i < STREAM_EVENTS_MAX + 100000; i++) {
        targets_fake_identity(fixture->targets, fixture->pod);
    }
    node_targets_ready(fixture->node);
    wait_for_no_subscribers(fixture);
    reader_allow(reader, UINT64_MAX);
    ReaderState state = reader_wait(reader, reader_closed, 0);
    g_assert_cmpint(state.status, ==, -EMSGSIZE);
    reader_free(reader);
}

/* Repeated submessages that protobuf-c would merge in quadratic time: nobody may hold up the thread
 * that serves all streams. */
static void test_costly_request(Fixture *fixture, const void *data)
{
    static const uint8_t targets[] = {0x12, 2, 0x12, 0}; /* with one empty pod pattern */
    g_autoptr(GByteArray) request = g_byte_array_new();
    for (int i = 0; i < 1000000; i++) {
        g_byte_array_append(request, targets, sizeof(targets));
    }
    check_refused(reader_new_raw(fixture->channel, request->data, request->len), -EMSGSIZE,
                  "unpacked");
}

static void test_too_many(Fixture *fixture, const void *data)
{
    Reader *readers[3];
    for (size_t i = 0; i < 3; i++) {
        readers[i] = open_with(fixture, "", 0, true);
        reader_wait(readers[i], reader_synced, 0);
    }
    check_refused(open_with(fixture, "", 0, true), -EMSGSIZE, "--max-streams");
    for (size_t i = 0; i < 3; i++) {
        reader_free(readers[i]);
    }
    while (source_fake_targets(fixture->source) > 0) {
        counter(fixture, "packets_waiting");
    }
    Reader *reader = open_with(fixture, "", 0, true);
    reader_wait(reader, reader_synced, 0);
    reader_free(reader);
}

/* A reader that reads gets everything and a farewell; one that does not holds up the end only for a
 * moment. */
static void test_stop(Fixture *fixture, const void *data)
{
    Reader *reading = open_with(fixture, "", 0, true);
    Reader *stopped = open_with(fixture, "", 0, false);
    reader_wait(reading, reader_synced, 0);
    while (counter(fixture, "streams_opened_total") < 2) {
    }
    give_interface(fixture);
    give_packets(fixture, 10, 0);
    gint64 start = g_get_monotonic_time();
    node_stop(fixture->node, "the test ends it");
    g_assert_cmpint(g_get_monotonic_time() - start, <, 900000);
    ReaderState state = reader_wait(reading, reader_closed, 0);
    g_assert_true(state.ended && state.end_retry);
    g_assert_cmpint(state.status, ==, -ECONNREFUSED);
    g_assert_cmpstr(state.text, ==, "the test ends it");
    g_assert_cmpuint(state.packets + state.lost, ==, fixture->sent);
    check_refused(open_with(fixture, "", 0, true), -ECONNREFUSED, "going down");
    reader_free(reading);
    reader_free(stopped);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level(LOG_LEVEL_ERROR);
#define TEST(path, function) g_test_add(path, Fixture, NULL, set_up, function, tear_down)
    TEST("/service/all-delivered", test_all_delivered);
    TEST("/service/overload", test_overload);
    TEST("/service/stopped-reader", test_stopped_reader);
    TEST("/service/two-filters", test_two_filters);
    TEST("/service/open-while-wanted", test_open_while_wanted);
    TEST("/service/cannot-open", test_cannot_open);
    TEST("/service/last-packets", test_last_packets);
    TEST("/service/fails-later", test_fails_later);
    TEST("/service/noticed-late", test_noticed_late);
    TEST("/service/list-targets", test_list_targets);
    TEST("/service/bad-requests", test_bad_requests);
    TEST("/service/costly-request", test_costly_request);
    TEST("/service/too-large-to-tell", test_too_large_to_tell);
    TEST("/service/events-pile-up", test_events_pile_up);
    TEST("/service/too-many", test_too_many);
    TEST("/service/stop", test_stop);
    return g_test_run();
}
