// SPDX-License-Identifier: GPL-2.0-or-later
/* Losses that nodes tell of. */
#include <glib.h>
#include <string.h>

#include "collector-run.h"

static void say_loss_of(FakeNode *node, const char *name, uint64_t packets,
                        Remora__V1__LossStage stage)
{
    Remora__V1__Loss loss = REMORA__V1__LOSS__INIT;
    loss.node = (char *)name;
    loss.stage = stage;
    loss.packets = packets;
    loss.from_unix_ns = T0 + SECOND;
    loss.to_unix_ns = T0 + 2 * SECOND;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_LOSS;
    response.loss = &loss;
    fake_node_say(node, &response);
}

static void say_loss(FakeNode *node, uint64_t packets, Remora__V1__LossStage stage)
{
    say_loss_of(node, "node-a", packets, stage);
}

/* A node that tells of losses at ever new nodes is heard, but not remembered one by one. */
static void test_losses_of_many(Run *run, gconstpointer data)
{
    run_use_one(run);
    run_begin(run, 0, "boot-1");
    run_start(run);
    run_wait_for_note(run, "Connected to node-a");
    for (int i = 0; i < 1500; i++) {
        g_autofree char *name = g_strdup_printf("other-%d", i);
        say_loss_of(run->nodes[0], name, 1, REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING);
    }
    fake_node_heartbeat(run->nodes[0], T0);
    run_wait_for_note(run, "other nodes: ");
    run_stop(run);
    g_assert_null(strstr(run->notes->str, "other-1400"));
}

static void test_losses_are_told(Run *run, gconstpointer data)
{
    run_use_one(run);
    run_begin(run, 0, "boot-1");
    run_start(run);
    say_loss(run->nodes[0], 30, REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING);
    say_loss(run->nodes[0], 12, REMORA__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIBER_QUEUE);
    run_send_packets(run, 0, 1, T0, 0, 3); /* before the loss */
    run_send_packets(run, 0, 1, T0 + 3 * SECOND, 3, 3);
    run_wait_for_packets(run, 6);
    run_stop(run);
    Content content = run_content(run);
    g_assert_cmpuint(content.dropcounts, ==, 1);
    g_assert_cmpuint(content.drops, ==, 42);
    g_assert_nonnull(strstr(content.comments->str, "30 packets lost on node-a"));
    g_assert_nonnull(strstr(content.comments->str, "12 packets lost on node-a"));
    g_assert_cmpuint(content.received, ==, 48);
    content_clear(&content);
    g_assert_nonnull(strstr(run->notes->str, "30 packets lost (the capture ring was full)"));
    CollectorStats stats;
    collector_stats(run->collector, &stats);
    g_assert_cmpuint(stats.lost_ring, ==, 30);
    g_assert_cmpuint(stats.lost_queue, ==, 12);
}

/* Told before the node's first interface: on its first packet, once there is one. */
static void test_early_loss(Run *run, gconstpointer data)
{
    run_use_one(run);
    run->nodes[0] = fake_node_new(run->paths[0]);
    fake_node_hello(run->nodes[0], "node-a", "boot-1");
    say_loss(run->nodes[0], 30, REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING);
    say_loss(run->nodes[0], 12, REMORA__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIBER_QUEUE);
    fake_node_interface(run->nodes[0], 1, "uid-pod-a", "eth0");
    run_start(run);
    run_send_packets(run, 0, 1, T0 + 3 * SECOND, 0, 3);
    run_wait_for_packets(run, 3);
    run_stop(run);
    Content content = run_content(run);
    g_assert_cmpuint(content.drops, ==, 42);
    g_assert_nonnull(strstr(content.comments->str, "30 packets lost on node-a"));
    g_assert_nonnull(strstr(content.comments->str, "12 packets lost on node-a"));
    g_assert_cmpuint(content.received, ==, 45);
    content_clear(&content);
}

/* The node never has an interface: the file gets one for it, with statistics. */
static void test_loss_without_interface(Run *run, gconstpointer data)
{
    run_use_one(run);
    run->nodes[0] = fake_node_new(run->paths[0]);
    fake_node_hello(run->nodes[0], "node-a", "boot-1");
    say_loss(run->nodes[0], 30, REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING);
    run_start(run);
    run_wait_for_note(run, "30 packets lost");
    run_stop(run);
    Content content = run_content(run);
    g_assert_cmpuint(content.interfaces, ==, 1);
    g_assert_nonnull(strstr(content.names->str, "east/node-a\n"));
    g_assert_cmpuint(content.statistics, ==, 1);
    g_assert_cmpuint(content.received, ==, 30);
    content_clear(&content);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(PATH, DATA, FUNCTION)                                                        \
    g_test_add("/collector-loss/" PATH, Run, (gconstpointer)(DATA), run_setup, FUNCTION, \
               run_teardown)
    ADD("losses", NULL, test_losses_are_told);
    ADD("losses-of-many", NULL, test_losses_of_many);
    ADD("early", NULL, test_early_loss);
    ADD("without-interface", NULL, test_loss_without_interface);
    return g_test_run();
}
