// SPDX-License-Identifier: GPL-2.0-or-later
/* What streams and lists get of the packets and pods. */
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "helpers.h"
#include "service-fixture.h"

/* ---- Conservation ----------------------------------------------------------------------------*/

static void test_all_delivered(ServiceFixture *fixture, const void *data)
{
    Reader *reader = service_open_with(fixture, "", 0, true);
    reader_wait(reader, reader_synced, 0);
    service_give_interface(fixture);
    service_give_packets(fixture, 10, 0);
    ReaderState state = reader_wait(reader, reader_has_watermark, service_time_of(fixture->sent));
    g_assert_cmpuint(state.packets, ==, fixture->sent);
    g_assert_cmpuint(state.lost + state.holes, ==, 0);
    g_assert_cmpuint(state.entities, ==, 1);
    reader_free(reader);
    service_check_account(fixture);
}

/* The source gives ten batches for each that the reader takes. */
static void test_overload(ServiceFixture *fixture, const void *data)
{
    Reader *reader = service_open_with(fixture, "", 0, false);
    reader_allow(reader, 8);
    reader_wait(reader, reader_synced, 0);
    service_give_interface(fixture);
    for (uint32_t i = 0; i < 60; i++) {
        service_give_packets(fixture, 20, 0); /* two make a message */
        reader_allow(reader, 1);
        reader_wait(reader, reader_has_messages, i + 1);
    }
    reader_allow(reader, UINT64_MAX);
    ReaderState state = reader_wait(reader, reader_has_watermark, service_time_of(fixture->sent));
    g_assert_cmpuint(state.lost, >, fixture->sent / 2);
    g_assert_cmpuint(state.packets + state.lost, ==, fixture->sent);
    g_assert_cmpuint(state.holes, ==, 0); /* each loss stands where the packets are missing */
    g_assert_cmpuint(service_counter(fixture, "packets_lost_queue_total"), ==, state.lost);
    reader_free(reader);
    service_check_account(fixture);
}

static void test_stopped_reader(ServiceFixture *fixture, const void *data)
{
    Reader *stopped = service_open_with(fixture, "", 0, false);
    Reader *other = service_open_with(fixture, "", 0, true);
    reader_wait(other, reader_synced, 0);
    while (service_counter(fixture, "streams_opened_total") < 2) {
    }
    service_give_interface(fixture);
    source_fake_lost(fixture->source, TARGET, 3, TEST_NS, TEST_NS + 1, false);
    for (uint32_t i = 0; i < 100; i++) {
        service_give_packets(fixture, 5, 0);
        source_fake_lost(fixture->source, TARGET, 1, service_time_of(fixture->sent),
                         service_time_of(fixture->sent), false);
        /* The other one is not held up. */
        reader_wait(other, reader_has_watermark, service_time_of(fixture->sent));
        g_assert_cmpuint(service_counter(fixture, "bytes_waiting"), <=, 2 * QUEUE_BYTES);
    }
    reader_allow(stopped, UINT64_MAX);
    ReaderState state = reader_wait(stopped, reader_has_watermark, service_time_of(fixture->sent));
    g_assert_cmpuint(state.lost, >, 0);
    g_assert_cmpuint(state.packets + state.lost, ==, fixture->sent);
    g_assert_cmpuint(state.holes, ==, 0);
    g_assert_cmpuint(state.kernel_lost, >=, 102); /* the last one may still come */
    /* What piled up has been told in few messages. */
    g_assert_cmpuint(state.messages, <, 200);
    reader_free(stopped);
    reader_free(other);
    service_check_account(fixture);
}

static void test_two_filters(ServiceFixture *fixture, const void *data)
{
    Reader *marked = service_open_with(fixture, "ether[0] = 1", 0, true);
    Reader *cut = service_open_with(fixture, "", 64, true);
    reader_wait(marked, reader_synced, 0);
    reader_wait(cut, reader_synced, 0);
    g_assert_cmpuint(source_fake_snap_length(fixture->source), ==, 262144);
    service_give_interface(fixture);
    uint32_t marks = 0;
    for (uint32_t i = 0; i < 30; i++) {
        service_give_packets(fixture, 1, i % 3 == 0);
        marks += i % 3 == 0 ? BATCH : 0;
    }
    ReaderState state = reader_wait(marked, reader_has_watermark, service_time_of(fixture->sent));
    g_assert_cmpuint(state.packets, ==, marks);
    g_assert_cmpuint(state.captured_max, ==, 1400);
    g_assert_cmpuint(state.lost, ==, 0);
    state = reader_wait(cut, reader_has_watermark, service_time_of(fixture->sent));
    g_assert_cmpuint(state.packets, ==, fixture->sent);
    g_assert_cmpuint(state.captured_max, ==, 64);
    g_assert_cmpuint(state.lost + state.holes, ==, 0);
    g_assert_cmpuint(service_counter(fixture, "packets_filtered_total"), ==, fixture->sent - marks);
    reader_free(marked);
    while (service_counter(fixture, "packets_abandoned_total") +
               source_fake_snap_length(fixture->source) !=
           64) {
    }
    reader_free(cut);
    service_check_account(fixture);
}

/* ---- Pods ------------------------------------------------------------------------------------*/

/* A pod is open only while somebody wants it. */
static void test_open_while_wanted(ServiceFixture *fixture, const void *data)
{
    g_assert_cmpuint(source_fake_targets(fixture->source), ==, 0);
    Reader *reader = service_open_with(fixture, "", 0, true);
    reader_wait(reader, reader_synced, 0);
    while (source_fake_targets(fixture->source) == 0) {
        service_counter(fixture, "streams_opened_total");
    }
    Entity *excluded = test_pod("dev", "other", NULL);
    targets_fake_pod(fixture->targets, excluded, -1);
    targets_fake_gone(fixture->targets, fixture->pod, TEST_NS);
    node_targets_ready(fixture->node);
    ReaderState state = reader_wait(reader, reader_has_deleted, 1);
    g_assert_cmpuint(state.entities, ==, 2);
    g_assert_cmpuint(source_fake_targets(fixture->source), ==, 0);
    Remora__V1__GetStatusResponse *status = service_get_status(fixture);
    g_assert_cmpuint(status->targets_known, ==, 1);
    g_assert_cmpuint(status->targets_captured, ==, 0);
    remora__v1__get_status_response__free_unpacked(status, NULL);
    entity_unref(excluded);
    reader_free(reader);
}

static void test_cannot_open(ServiceFixture *fixture, const void *data)
{
    source_fake_fail_add(fixture->source, -EPERM, "opening the socket needs CAP_NET_RAW");
    Reader *reader = service_open_with(fixture, "", 0, true);
    reader_wait(reader, reader_has_lost_starts, 1);
    Remora__V1__GetStatusResponse *status = service_get_status(fixture);
    g_assert_cmpuint(status->n_problems, ==, 1);
    g_assert_cmpstr(status->problems[0]->subject, ==, "pod shop/cart");
    g_assert_nonnull(strstr(status->problems[0]->message, "CAP_NET_RAW"));
    remora__v1__get_status_response__free_unpacked(status, NULL);
    /* It is tried again, and the problem goes away. */
    source_fake_fail_add(fixture->source, 0, NULL);
    size_t problems = 1;
    while (problems > 0) {
        status = service_get_status(fixture);
        problems = status->n_problems;
        remora__v1__get_status_response__free_unpacked(status, NULL);
    }
    g_assert_cmpuint(source_fake_targets(fixture->source), ==, 1);
    reader_free(reader);
}

/* What the source hands out as a pod is closed is in the pod's counters. */
static void test_last_packets(ServiceFixture *fixture, const void *data)
{
    Reader *reader = service_open_with(fixture, "", 0, true);
    reader_wait(reader, reader_synced, 0);
    service_give_interface(fixture);
    service_give_packets(fixture, 1, 0);
    reader_wait(reader, reader_has_watermark, service_time_of(fixture->sent));
    source_fake_packets_at_remove(fixture->source, TARGET,
                                  test_batch(0, service_time_of(BATCH), BATCH, BATCH, 1400, 0));
    reader_free(reader);
    while (source_fake_targets(fixture->source) > 0) {
    }
    g_assert_cmpuint(service_counter(fixture, "packets_captured_total"), ==, 2 * BATCH);
    Remora__V1__ListTargetsResponse *list = service_list_targets(fixture);
    g_assert_cmpuint(list->n_targets, ==, 1);
    g_assert_cmpuint(list->targets[0]->packets, ==, 2 * BATCH);
    g_assert_cmpuint(list->targets[0]->bytes, ==, 2 * BATCH * 1400);
    remora__v1__list_targets_response__free_unpacked(list, NULL);
}

/* Streams that were open before a pod failed hear of it like those that are opened later. */
static void test_fails_later(ServiceFixture *fixture, const void *data)
{
    Entity *pod = test_pod("shop", "broken", NULL);
    Reader *readers[2] = {service_open_with(fixture, "", 0, true),
                          service_open_with(fixture, "", 0, true)};
    for (size_t i = 0; i < 2; i++) {
        reader_wait(readers[i], reader_synced, 0);
    }
    targets_fake_failed(fixture->targets, pod, "no namespace");
    node_targets_ready(fixture->node);
    for (size_t i = 0; i < 2; i++) {
        ReaderState state = reader_wait(readers[i], reader_has_lost_starts, 1);
        g_assert_cmpstr(state.start_text, ==, "shop/broken: no namespace");
    }
    Reader *later = service_open_with(fixture, "", 0, true);
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
static void test_noticed_late(ServiceFixture *fixture, const void *data)
{
    Reader *reader = service_open_with(fixture, "", 0, true);
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
    g_assert_cmpuint(service_counter(fixture, "capture_start_losses_total"), ==, 2);
    g_assert_cmpuint(state.start_from_ns, >, open_ns - 20000000000u);

    Entity *fresh = test_pod("shop", "fresh", NULL);
    targets_fake_failed(fixture->targets, fresh, "no namespace yet"); /* not for long */
    targets_fake_pod(fixture->targets, fresh, -1);
    node_targets_ready(fixture->node);
    while (source_fake_targets(fixture->source) < 4) {
    }
    service_counter(fixture, "targets_opened_total"); /* that dispatch is over */
    source_fake_watermark(fixture->source, TEST_NS);
    state = reader_wait(reader, reader_has_watermark, TEST_NS);
    g_assert_cmpuint(state.starts_lost, ==, 2);
    reader_free(reader);
    entity_unref(late);
    entity_unref(old);
    entity_unref(fresh);
}

static void test_list_targets(ServiceFixture *fixture, const void *data)
{
    Entity *excluded = test_pod("dev", "other", NULL);
    Entity *failed = test_pod("shop", "broken", NULL);
    targets_fake_pod(fixture->targets, excluded, -1);
    targets_fake_failed(fixture->targets, failed, "no namespace");
    node_targets_ready(fixture->node);
    while (service_counter(fixture, "identity_events_total") < 3) {
    }
    Remora__V1__ListTargetsResponse *list = service_list_targets(fixture);
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    log_set_level(LOG_LEVEL_ERROR);
#define TEST(path, function) \
    g_test_add(path, ServiceFixture, NULL, service_set_up, function, service_tear_down)
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
    return g_test_run();
}
