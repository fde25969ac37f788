// SPDX-License-Identifier: GPL-2.0-or-later
#include "vantage-world.h"

#include <string.h>

const char *const client_address[] = {"10.1.0.1", "10.1.0.2"};
const char *const server_address[] = {"10.2.0.1", "10.2.0.2"};

static const char *const point_uid[POINTS] = {"uid-c0", "uid-c1", "uid-s0", "uid-s1"};

void show(World *world, uint64_t frontier_ns)
{
    VantagePacket packet;
    while (vantage_pop(world->vantage, frontier_ns, &packet)) {
        uint32_t number;
        const uint8_t *frame = packet.packet.block + PCAPNG_EPB_FIXED;
        uint32_t length;
        memcpy(&length, packet.packet.block + 20, sizeof length);
        number = fixture_number(frame, length);
        g_array_append_val(world->shown, number);
        merge_buffer_unref(packet.packet.buffer);
    }
}

World *world_new(const bool *captured, size_t max_connections)
{
    World *world = g_new0(World, 1);
    world->inventory = inventory_new();
    fixture_pod(world->inventory, "c0", client_address[0], 0);
    fixture_pod(world->inventory, "c1", client_address[1], 0);
    fixture_pod(world->inventory, "s0", server_address[0], 0);
    fixture_pod(world->inventory, "s1", server_address[1], 0);
    fixture_service(world->inventory, "catalog", VIP, 80, 8080, 6, "s0", server_address[0], "s1",
                    server_address[1], NULL);
    fixture_service(world->inventory, "dns", "10.96.0.10", 53, 53, 17, "s0", server_address[0],
                    NULL);
    world->translations = translations_new();
    world->quota = node_quota_new(0, 0, 0);
    world->vantage = vantage_new(world->inventory, world->translations, max_connections, false);
    world->shown = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    for (uint32_t i = 0; i <= POINTS; i++) {
        world->points[i] = (CapturePoint){.id = i + 1,
                                          .cluster = "",
                                          .node = i % 2 ? "node-b" : "node-a",
                                          .device = i < POINTS ? "eth0" : "lo",
                                          .target_uid = point_uid[i < POINTS ? i : 0],
                                          .link_type = 1,
                                          .loopback = i == POINTS,
                                          .alive = i == POINTS || !captured || captured[i]};
        vantage_point_changed(world->vantage, &world->points[i]);
    }
    return world;
}

void world_free(World *world)
{
    vantage_free(world->vantage);
    translations_free(world->translations);
    node_quota_free(world->quota);
    inventory_free(world->inventory);
    g_array_unref(world->shown);
    g_free(world);
}

void see(World *world, unsigned point, uint64_t time_ns, unsigned direction,
         const FixturePacket *packet)
{
    uint8_t memory[512];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    fixture_block(&builder, packet, 0, time_ns, direction);
    MergeBuffer *buffer = merge_buffer_new(memory, builder.length);
    VantagePacket p = {
        .packet = {.time_ns = time_ns,
                   .buffer = buffer,
                   .block = buffer->data,
                   .length = (uint32_t)builder.length},
        .point = &world->points[point],
        .direction = direction,
    };
    uint8_t frame[FIXTURE_PACKET_MAX];
    packet_parse(1, frame, fixture_frame(packet, frame), &p.info);
    vantage_push(world->vantage, &p);
}

void out(World *world, unsigned point, uint64_t time_ns, const FixturePacket *packet)
{
    see(world, point, time_ns, PCAPNG_DIRECTION_OUTBOUND, packet);
}

void in(World *world, unsigned point, uint64_t time_ns, const FixturePacket *packet)
{
    see(world, point, time_ns, PCAPNG_DIRECTION_INBOUND, packet);
}

void assert_shown(World *world, ...)
{
    va_list args;
    va_start(args, world);
    guint n = 0;
    for (int expected; (expected = va_arg(args, int)) >= 0; n++) {
        g_assert_cmpuint(n, <, world->shown->len);
        g_assert_cmpuint(g_array_index(world->shown, uint32_t, n), ==, (uint32_t)expected);
    }
    va_end(args);
    g_assert_cmpuint(world->shown->len, ==, n);
}

uint64_t left_out(const World *world)
{
    VantageStats stats;
    vantage_stats(world->vantage, &stats);
    return stats.other_vantage;
}
