// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/namer.h"

#include <glib.h>

#include "common/pcapng/pcapng.h"

#define TIME_NS 1700000000000000000u
#define PACKETS 100u

typedef struct Fixture {
    Inventory *inventory;
    Annotator *annotator;
    unsigned written, released;
} Fixture;

static const CapturePoint point = {
    .id = 1, .cluster = "c", .node = "n", .device = "eth0", .target_uid = "", .link_type = 1};

static void count_released(void *fixture)
{
    ((Fixture *)fixture)->released++;
}

static VantagePacket make_packet(Fixture *fixture, unsigned number)
{
    MergeBuffer *buffer = merge_buffer_new("", 0);
    buffer->context = fixture;
    buffer->release = count_released;
    return (VantagePacket){
        .packet = {.time_ns = TIME_NS + number, .buffer = buffer},
        .info = {.is_ip = true, .src_port = (uint16_t)number, .has_ports = true, .protocol = 6},
        .point = &point,
        .direction = PCAPNG_DIRECTION_INBOUND,
    };
}

/* In order, with the names that the packet has alone, and before its buffer goes. */
static void check_written(const VantagePacket *packet, const Annotation *names, void *userdata)
{
    Fixture *fixture = userdata;
    g_assert_cmpuint(packet->packet.time_ns, ==, TIME_NS + fixture->written);
    g_assert_cmpuint(fixture->released, ==, fixture->written);
    fixture->written++;
    Annotator *other = annotator_new(fixture->inventory, "", false);
    AnnotateRequest request = {.point = packet->point,
                               .info = &packet->info,
                               .direction = packet->direction,
                               .time_ns = packet->packet.time_ns,
                               .service = packet->service};
    Annotation expected;
    annotate(other, &request, &expected);
    g_assert_cmpuint(names->length, >, 0);
    g_assert_cmpmem(names->options, names->length, expected.options, expected.length);
    annotator_free(other);
}

static void set_up(Fixture *fixture, const void *data)
{
    *fixture = (Fixture){.inventory = inventory_new()};
    fixture->annotator = annotator_new(fixture->inventory, "", false);
}

static void tear_down(Fixture *fixture, const void *data)
{
    annotator_free(fixture->annotator);
    inventory_free(fixture->inventory);
}

static void test_order(Fixture *fixture, const void *data)
{
    Namer *namer = namer_new(fixture->annotator, check_written, fixture);
    for (unsigned i = 0; i < PACKETS; i++) {
        VantagePacket packet = make_packet(fixture, i);
        namer_push(namer, &packet);
    }
    g_assert_cmpuint(fixture->written, <, PACKETS);
    namer_flush(namer);
    g_assert_cmpuint(fixture->written, ==, PACKETS);
    g_assert_cmpuint(fixture->released, ==, PACKETS);
    namer_flush(namer);
    namer_free(namer);
}

/* What waits holds its service: whoever pushed it may have let it go. */
static void test_service_is_held(Fixture *fixture, const void *data)
{
    Remora__V1__Entity proto = REMORA__V1__ENTITY__INIT;
    proto.kind = REMORA__V1__ENTITY_KIND__ENTITY_KIND_SERVICE;
    proto.uid = (char *)"uid-catalog";
    proto.namespace_ = (char *)"shop";
    proto.name = (char *)"catalog";
    const char *error;
    Entity *service = entity_from_proto(&proto, &error);
    g_assert_nonnull(service);
    Namer *namer = namer_new(fixture->annotator, check_written, fixture);
    VantagePacket packet = make_packet(fixture, 0);
    packet.service = service;
    namer_push(namer, &packet);
    entity_unref(service);
    namer_flush(namer);
    g_assert_cmpuint(fixture->written, ==, 1);
    namer_free(namer);
}

static void test_not_flushed(Fixture *fixture, const void *data)
{
    Namer *namer = namer_new(fixture->annotator, check_written, fixture);
    for (unsigned i = 0; i < 3; i++) {
        VantagePacket packet = make_packet(fixture, i);
        namer_push(namer, &packet);
    }
    namer_free(namer);
    g_assert_cmpuint(fixture->written, ==, 0);
    g_assert_cmpuint(fixture->released, ==, 3);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(path, function) g_test_add(path, Fixture, NULL, set_up, function, tear_down)
    TEST("/namer/order", test_order);
    TEST("/namer/service-is-held", test_service_is_held);
    TEST("/namer/not-flushed", test_not_flushed);
    return g_test_run();
}
