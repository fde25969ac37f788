// SPDX-License-Identifier: GPL-2.0-or-later
/* What the vantage choice remembers: its bounds, and what it costs. */
#include <glib.h>
#include <string.h>

#include "vantage-world.h"

static void test_bounded_table(void)
{
    World *world = world_new((bool[]){true, false, false, false}, 10);
    for (int i = 0; i < 100; i++)
        out(world, CLIENT_0, T0 + (uint64_t)i, SYN(C0, (uint16_t)(1000 + i), S0, 8080, 1, 1));
    show(world, UINT64_MAX);
    g_assert_cmpuint(world->shown->len, ==, 100);
    VantageStats stats;
    vantage_stats(world->vantage, &stats);
    g_assert_cmpuint(stats.connections, ==, 10);
    g_assert_cmpuint(stats.evicted, ==, 90);
    world_free(world);
}

/* A scan from one port to all others, and again: what is one client's is forgotten one by one, and
 * that must not take longer the more of it there is. */
static void test_port_scan(void)
{
    World *world = world_new((bool[]){true, false, false, false}, 0);
    gint64 start = g_get_monotonic_time();
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t port = 1; port < 65536; port++) {
            out(world, CLIENT_0, T0 + round * SECOND + port,
                SYN(C0, 40000, S0, (uint16_t)port, round, 1));
            show(world, UINT64_MAX);
        }
    }
    g_assert_cmpint(g_get_monotonic_time() - start, <, 5 * G_USEC_PER_SEC);
    VantageStats stats;
    vantage_stats(world->vantage, &stats);
    g_assert_cmpuint(stats.connections, ==, 65535);
    world_free(world);
}

/* Two keys whose difference cancels in a hash of shifts and products, whatever it began with. That
 * the hash is secret is a matter of test-seeded-hash.c. */
static void test_chosen_keys_do_not_collide(void)
{
    Inventory *inventory = inventory_new();
    VantageTable *table = vantage_table_new(inventory, NULL, 10);
    CapturePoint point = {.id = 1, .cluster = "", .node = "", .device = "", .target_uid = ""};
    uint32_t hashes[2];
    for (unsigned i = 0; i < 2; i++) {
        VantagePacket packet = {.point = &point, .info = {.is_ip = true, .protocol = 17}};
        packet.info.src.bytes[0] = 0x20;
        packet.info.dst.bytes[0] = 0x30;
        if (i)
            packet.info.src.bytes[7] = packet.info.src.bytes[11] = packet.info.src.bytes[15] = 0x80;
        VantageLeg *leg = vantage_table_find(table, &packet);
        hashes[i] = leg->hash;
        vantage_leg_unref(leg);
    }
    g_assert_cmpuint(hashes[0], !=, hashes[1]);
    vantage_table_free(table);
    inventory_free(inventory);
}

static bool server_captured(VantageTable *table, const CapturePoint *client, const char *service,
                            uint16_t client_port)
{
    VantagePacket packet = {.point = client, .packet.time_ns = T0};
    uint8_t frame[FIXTURE_PACKET_MAX];
    packet_parse(1, frame,
                 fixture_frame(&(FixturePacket){.src = client_address[0],
                                                .dst = service,
                                                .protocol = 17,
                                                .src_port = client_port,
                                                .dst_port = 80},
                               frame),
                 &packet.info);
    VantageLeg *leg = vantage_table_find(table, &packet);
    g_assert_true(leg->to_service);
    bool captured = leg->server_captured;
    vantage_leg_unref(leg);
    return captured;
}

/* Before each new connection something changes, of a pod or of another service. What is looked at
 * is each service's own endpoints, and those once. */
static void test_changes_cost_no_walk(void)
{
    enum { SERVICES = 250, ROUNDS = 4 };
    Inventory *inventory = inventory_new();
    VantageTable *table = vantage_table_new(inventory, NULL, SERVICES * ROUNDS + 10);
    CapturePoint server = {.id = 1, .target_uid = "uid-s0", .alive = true};
    CapturePoint client = {.id = 2, .target_uid = "", .alive = true};
    vantage_table_point_changed(table, &server);
    fixture_pod(inventory, "c0", client_address[0], 0);
    char name[16], address[32];
    for (unsigned i = 0; i < SERVICES; i++) {
        g_snprintf(name, sizeof name, "service-%u", i);
        g_snprintf(address, sizeof address, "10.96.1.%u", i);
        fixture_service(inventory, name, address, 80, 8080, 17, i % 2 ? "s0" : "s1",
                        server_address[i % 2 ? 0 : 1], NULL);
    }
    for (unsigned i = 0; i < SERVICES * ROUNDS; i++) {
        g_snprintf(name, sizeof name, "other-%u", i);
        fixture_pod(inventory, name, "10.3.0.1", T0 + i);
        fixture_service(inventory, name, "10.97.0.1", 80, 8080, 17, "s0", server_address[0], NULL);
        g_snprintf(address, sizeof address, "10.96.1.%u", i % SERVICES);
        g_assert_true(server_captured(table, &client, address, (uint16_t)(1000 + i)) == (i % 2));
    }
    g_assert_cmpuint(vantage_table_endpoints_examined(table), ==, SERVICES);

    /* What is new of a service itself counts at once, and so does a point that goes. */
    fixture_service(inventory, "service-0", "10.96.1.0", 80, 8080, 17, "s1", server_address[1],
                    "s0", server_address[0], NULL);
    g_assert_true(server_captured(table, &client, "10.96.1.0", 1));
    g_assert_cmpuint(vantage_table_endpoints_examined(table), ==, SERVICES + 2);
    server.alive = false;
    vantage_table_point_changed(table, &server);
    g_assert_false(server_captured(table, &client, "10.96.1.0", 2));
    g_assert_false(server_captured(table, &client, "10.96.1.1", 3));

    vantage_table_free(table);
    inventory_free(inventory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vantage/chosen-keys", test_chosen_keys_do_not_collide);
    g_test_add_func("/vantage/bounded-table", test_bounded_table);
    g_test_add_func("/vantage/port-scan", test_port_scan);
    g_test_add_func("/vantage/changes-cost-no-walk", test_changes_cost_no_walk);
    return g_test_run();
}
