// SPDX-License-Identifier: GPL-2.0-or-later
#include "service-fixture.h"

#include <string.h>

#include <glib/gstdio.h>

#include "helpers.h"

static const NodeInfo info = {"test", "n1", "0", "boot", "machine", "os", 1};

bool service_gives_tls_keys = true;
bool service_gives_tls_plaintext = true;

static Selector *allowed_shop(void)
{
    Remora__V1__TargetSelector proto = REMORA__V1__TARGET_SELECTOR__INIT;
    char *namespaces[] = {(char *)(uintptr_t) "shop"};
    proto.namespaces = namespaces;
    proto.n_namespaces = 1;
    return selector_new(&proto, NULL);
}

void service_set_up(ServiceFixture *fixture, const void *data)
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
    Secrets *secrets = node_secrets(fixture->node);
    fixture->keys = tls_keys_fake_new(&secrets_keys_callbacks, secrets);
    secrets_set_source(secrets, fixture->keys);
    node_start(fixture->node, fixture->source, fixture->targets);
    node_targets_ready(fixture->node);

    const ServiceConfig config = {.endpoints = (const char *const[]){endpoint, NULL},
                                  .snap_length = 262144,
                                  .queue_bytes = QUEUE_BYTES,
                                  .max_streams = 3,
                                  .tls_keys = service_gives_tls_keys,
                                  .tls_plaintext = service_gives_tls_plaintext};
    fixture->service = service_new(fixture->node, &info, &config, &error);
    g_assert_no_error(error);
    fixture->client = rpc_client_new();
    fixture->channel = rpc_channel_new(fixture->client, endpoint, false, &error);
    g_assert_no_error(error);
}

void service_tear_down(ServiceFixture *fixture, const void *data)
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

Reader *service_open_with(ServiceFixture *fixture, const char *filter, uint32_t snap_length,
                          bool free_running)
{
    Remora__V1__StreamRequest request = REMORA__V1__STREAM_REQUEST__INIT;
    request.protocol_version = REMORA_PROTOCOL_VERSION;
    request.filter = (char *)(uintptr_t)filter;
    request.snap_length = snap_length;
    request.client = (char *)(uintptr_t) "test";
    return reader_new(fixture->channel, &request, free_running);
}

void service_give_interface(const ServiceFixture *fixture)
{
    source_fake_interface(
        fixture->source,
        &(SourceInterface){.id = 0, .target_id = TARGET, .device = "eth0", .link_type = 1});
}

uint64_t service_time_of(uint32_t number)
{
    return TEST_NS + number;
}

void service_give_packets(ServiceFixture *fixture, uint32_t batches, uint8_t mark)
{
    for (uint32_t i = 0; i < batches; i++) {
        source_fake_packets(
            fixture->source, TARGET,
            test_batch(0, service_time_of(fixture->sent), fixture->sent, BATCH, 1400, mark));
        fixture->sent += BATCH;
    }
    source_fake_watermark(fixture->source, service_time_of(fixture->sent));
}

static uint8_t *ask(const ServiceFixture *fixture, const char *method, size_t *ret_length)
{
    g_autoptr(GError) error = NULL;
    uint8_t *bytes;
    rpc_channel_call(fixture->channel, method, "", 0, 10000000000u, &bytes, ret_length, &error);
    g_assert_no_error(error);
    return bytes;
}

Remora__V1__GetStatusResponse *service_get_status(const ServiceFixture *fixture)
{
    size_t length;
    g_autofree uint8_t *bytes = ask(fixture, REMORA_METHOD_GET_STATUS, &length);
    Remora__V1__GetStatusResponse *status =
        remora__v1__get_status_response__unpack(NULL, length, bytes);
    g_assert_nonnull(status);
    return status;
}

uint64_t service_counter(const ServiceFixture *fixture, const char *name)
{
    Remora__V1__GetStatusResponse *status = service_get_status(fixture);
    for (size_t i = 0; i < status->n_counters; i++) {
        if (strcmp(status->counters[i]->name, name) == 0) {
            uint64_t value = status->counters[i]->value;
            remora__v1__get_status_response__free_unpacked(status, NULL);
            return value;
        }
    }
    g_error("there is no counter %s", name);
}

Remora__V1__ListTargetsResponse *service_list_targets(const ServiceFixture *fixture)
{
    size_t length;
    g_autofree uint8_t *bytes = ask(fixture, REMORA_METHOD_LIST_TARGETS, &length);
    Remora__V1__ListTargetsResponse *list =
        remora__v1__list_targets_response__unpack(NULL, length, bytes);
    g_assert_nonnull(list);
    return list;
}

void service_check_account(const ServiceFixture *fixture)
{
    Remora__V1__GetStatusResponse *status = service_get_status(fixture);
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
