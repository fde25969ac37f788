// SPDX-License-Identifier: GPL-2.0-or-later
/* The text of /metrics, byte for byte where it matters. */
#include "node-capture/server/metrics.h"

#include <string.h>

static const Snapshot snapshot = {
    .counters = {{"packets_lost_kernel_total", "Lost \\ in \"the\"\nkernel", UINT64_MAX, false},
                 {"packets_waiting", "Waiting", 7, true}},
    .n_counters = 2,
    .targets_known = 5,
    .targets_captured = 3,
    .targets_failing = 1,
    .subscribers = 2,
    .ring_bytes = UINT64_C(1) << 40,
    .synced = true,
};

static char *text_of(const char *cluster)
{
    const NodeInfo info = {.cluster = cluster,
                           .node = "n1",
                           .version = "1.2",
                           .start_unix_ns = UINT64_C(1700000000000000005)};
    return metrics_text(&info, &snapshot);
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        g_test_message("not there: %s\nin: %s", part, text);
        g_test_fail();
    }
}

static void test_families(void)
{
    g_autofree char *text = text_of("test");
    has(text, "# HELP remora_node_packets_lost_kernel_total Lost \\\\ in \"the\"\\nkernel\n"
              "# TYPE remora_node_packets_lost_kernel_total counter\n"
              "remora_node_packets_lost_kernel_total 18446744073709551615\n");
    has(text, "# HELP remora_node_packets_waiting Waiting\n"
              "# TYPE remora_node_packets_waiting gauge\n"
              "remora_node_packets_waiting 7\n");
    has(text, "# TYPE remora_node_start_time_seconds gauge\n"
              "remora_node_start_time_seconds 1700000000.000000005\n");
    has(text, "\nremora_node_synced 1\n");
    has(text, "\nremora_node_targets_known 5\n");
    has(text, "\nremora_node_targets_captured 3\n");
    has(text, "\nremora_node_targets_failing 1\n");
    has(text, "\nremora_node_subscribers 2\n");
    has(text, "\nremora_node_ring_bytes 1099511627776\n");
    g_assert_true(g_str_has_suffix(text, "\n"));
}

static void test_labels(void)
{
    g_autofree char *plain = text_of("test");
    has(plain, "\nremora_node_build_info{version=\"1.2\",node=\"n1\",cluster=\"test\"} 1\n");
    g_autofree char *escaped = text_of("a\\b\"c\nd");
    has(escaped, "cluster=\"a\\\\b\\\"c\\nd\"} 1\n");
    g_autofree char *broken = text_of("a\xff");
    has(broken, "cluster=\"a\xef\xbf\xbd\"} 1\n");
    g_assert_true(g_utf8_validate(broken, -1, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/node/metrics/families", test_families);
    g_test_add_func("/node/metrics/labels", test_labels);
    return g_test_run();
}
