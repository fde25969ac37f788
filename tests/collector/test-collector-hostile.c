// SPDX-License-Identifier: GPL-2.0-or-later
/* Nodes that break the protocol, and the limits of what is held for them. */
#include <glib.h>
#include <string.h>

#include "collector-run.h"

static void break_sequence(FakeNode *node)
{
    fake_node_skip_sequence(node);
    fake_node_heartbeat(node, T0);
}

static void break_form(FakeNode *node)
{
    fake_node_say_raw(node, "\xff\xff\xff\xff\xff", 5);
}

static void send_block(FakeNode *node, uint32_t interface_id, size_t cut)
{
    uint8_t memory[256];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    fixture_block(&builder, &(FixturePacket){.src = "10.2.0.1", .dst = "10.2.0.2", .protocol = 17},
                  interface_id, T0, 0);
    builder.length -= cut;
    fake_node_say_packets(node, &builder, 1, T0);
}

static void break_block(FakeNode *node)
{
    send_block(node, 1, 4);
}

static void break_interface(FakeNode *node)
{
    send_block(node, 77, 0);
}

static void break_order(FakeNode *node)
{
    fake_node_hello(node, "node-b", "boot-1");
}

static void break_mapping(FakeNode *node)
{
    fake_node_interface(node, 1, "uid-pod-b", "eth1");
}

static void test_hostile(Run *run, gconstpointer data)
{
    void (*break_it)(FakeNode *) = (void (*)(FakeNode *))data;
    run_begin(run, 0, "boot-1");
    run_begin(run, 1, "boot-1");
    run_start(run);
    run_wait_for_note(run, "Connected to node-a");
    run_wait_for_note(run, "Connected to node-b");
    break_it(run->nodes[1]);
    fake_node_forget(run->nodes[1]);
    fake_node_hello(run->nodes[1], "node-b", "boot-1");
    fake_node_interface(run->nodes[1], 1, "uid-pod-b", "eth0");
    run_wait_for_note(run, "Lost the connection to node-b: it ");
    run_wait_for_note(run, "node-b is back");
    run_send_packets(run, 0, 1, T0, 0, 5);
    run_send_packets(run, 1, 1, T0, 100, 5);
    fake_node_heartbeat(run->nodes[0], T0 + SECOND);
    fake_node_heartbeat(run->nodes[1], T0 + SECOND);
    run_wait_for_packets(run, 10);
    run_stop(run);
    g_assert_true(run->result);
    g_assert_null(strstr(run->notes->str, "Lost the connection to node-a"));
}

/* One node holds the other back for ever, and its own backlog is over its share: nothing locks up,
 * nothing is lost. */
static void test_memory_limit(Run *run, gconstpointer data)
{
    enum { MESSAGES = 200, EACH = 50 };
    run->config.memory_limit = 64 * 1024;
    run_begin(run, 0, "boot-1");
    run_begin(run, 1, "boot-1");
    run_start(run);
    run_wait_for_note(run, "Connected to node-a");
    run_wait_for_note(run, "Connected to node-b");
    fake_node_heartbeat(run->nodes[0], T0);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        run_send_packets(run, 0, 1, T0 + i * SECOND, i * EACH, EACH);
        /* Far ahead of its own promise: it can neither go out nor be refused. */
        uint8_t memory[256];
        PcapngBuilder builder;
        pcapng_builder_init(&builder, memory, sizeof memory);
        fixture_block(&builder,
                      &(FixturePacket){.src = "10.2.0.1", .dst = "93.184.216.34", .protocol = 17},
                      1, T0 + FOREVER_NS + i, PCAPNG_DIRECTION_OUTBOUND);
        fake_node_say_packets(run->nodes[1], &builder, 1, T0 + 1 + i);
    }
    fake_node_heartbeat(run->nodes[0], T0 + 2 * FOREVER_NS);
    fake_node_heartbeat(run->nodes[1], T0 + 2 * FOREVER_NS);
    run_wait_for_packets(run, MESSAGES * EACH + MESSAGES);
    run_stop(run);
    CollectorStats stats;
    collector_stats(run->collector, &stats);
    g_assert_cmpuint(stats.packets_written, ==, MESSAGES * EACH + MESSAGES);
    g_assert_cmpuint(stats.lost_collector, ==, 0);
}

/* More names than are kept of one node: told, and the other goes on and keeps its names. */
static void test_entity_quota(Run *run, gconstpointer data)
{
    run->config.node_entities = 10;
    run->config.comments = true;
    run_begin(run, 0, "boot-1");
    run_begin(run, 1, "boot-1");
    run_start(run);
    run_wait_for_note(run, "Connected to node-a");
    run_wait_for_note(run, "Connected to node-b");
    for (int i = 0; i < 50; i++) {
        g_autofree char *name = g_strdup_printf("flood-%d", i);
        fake_node_pod(run->nodes[1], name, i < 9 ? "10.7.0.1" : "93.184.216.34");
    }
    run_wait_for_note(run, "node-b told of more pods");
    run_send_packets(run, 0, 1, T0, 0, 5);
    run_send_packets(run, 1, 1, T0, 100, 5);
    fake_node_heartbeat(run->nodes[0], T0 + SECOND);
    fake_node_heartbeat(run->nodes[1], T0 + SECOND);
    run_wait_for_packets(run, 10);
    run_stop(run);
    Content content = run_content(run);
    g_assert_nonnull(strstr(content.comments->str, "shop/pod-a -> external"));
    g_assert_nonnull(strstr(content.comments->str, "shop/pod-b -> external"));
    g_assert_null(strstr(content.comments->str, "flood"));
    content_clear(&content);
}

/* Connections that cannot be are left out with a note; the node goes on. */
static void test_bad_translation(Run *run, gconstpointer data)
{
    run_use_one(run);
    run_begin(run, 0, "boot-1");
    run_start(run);
    Remora__V1__Translation translation = REMORA__V1__TRANSLATION__INIT;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_TRANSLATION;
    response.translation = &translation;
    fake_node_say(run->nodes[0], &response);
    run_wait_for_note(run, "node-a told of a connection that cannot be");
    run_send_packets(run, 0, 1, T0, 0, 5);
    fake_node_heartbeat(run->nodes[0], T0 + SECOND);
    run_wait_for_packets(run, 5);
    run_stop(run);
}

/* Ever new capture points, over ever new connections. */
static void test_point_quota(Run *run, gconstpointer data)
{
    run->config.node_points = 3;
    run_begin(run, 0, "boot-1");
    run_begin(run, 1, "boot-1");
    run_start(run);
    run_wait_for_note(run, "Connected to node-a");
    run_wait_for_note(run, "Connected to node-b");
    fake_node_interface(run->nodes[1], 2, "uid-pod-b", "eth1");
    break_form(run->nodes[1]);
    run_wait_for_note(run, "Lost the connection to node-b"); /* so that all of it has come */
    fake_node_forget(run->nodes[1]);
    fake_node_hello(run->nodes[1], "node-b", "boot-1");
    fake_node_interface(run->nodes[1], 1, "uid-pod-b", "eth2");
    fake_node_interface(run->nodes[1], 2, "uid-pod-b", "eth3");
    run_wait_for_note(run, "node-b: it described more capture points");
    run_send_packets(run, 0, 1, T0, 0, 5);
    fake_node_heartbeat(run->nodes[0], T0 + SECOND);
    run_wait_for_packets(run, 5);
    run_stop(run);
    g_assert_null(strstr(run->notes->str, "Lost the connection to node-a"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(PATH, DATA, FUNCTION)                                                           \
    g_test_add("/collector-hostile/" PATH, Run, (gconstpointer)(DATA), run_setup, FUNCTION, \
               run_teardown)
    ADD("hostile/sequence", break_sequence, test_hostile);
    ADD("hostile/form", break_form, test_hostile);
    ADD("hostile/block", break_block, test_hostile);
    ADD("hostile/interface", break_interface, test_hostile);
    ADD("hostile/order", break_order, test_hostile);
    ADD("hostile/mapping", break_mapping, test_hostile);
    ADD("memory-limit", NULL, test_memory_limit);
    ADD("entity-quota", NULL, test_entity_quota);
    ADD("point-quota", NULL, test_point_quota);
    ADD("bad-translation", NULL, test_bad_translation);
    return g_test_run();
}
