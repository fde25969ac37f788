// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/metrics.h"

#include <inttypes.h>

/* The format knows no other escapes than these. */
static void append_escaped(GString *out, const char *text, bool quoted)
{
    for (; *text; text++) {
        if (*text == '\\') {
            g_string_append(out, "\\\\");
        } else if (*text == '\n') {
            g_string_append(out, "\\n");
        } else if (*text == '"' && quoted) {
            g_string_append(out, "\\\"");
        } else {
            g_string_append_c(out, *text);
        }
    }
}

static void begin(GString *out, const char *name, const char *help, bool gauge)
{
    g_string_append_printf(out, "# HELP remora_node_%s ", name);
    append_escaped(out, help, false);
    g_string_append_printf(out, "\n# TYPE remora_node_%s %s\nremora_node_%s", name,
                           gauge ? "gauge" : "counter", name);
}

static void append(GString *out, const char *name, const char *help, bool gauge, uint64_t value)
{
    begin(out, name, help, gauge);
    g_string_append_printf(out, " %" PRIu64 "\n", value);
}

static void append_label(GString *out, const char *name, const char *value)
{
    g_autofree char *valid = g_utf8_make_valid(value, -1);
    g_string_append_printf(out, "%s=\"", name);
    append_escaped(out, valid, true);
    g_string_append_c(out, '"');
}

static void append_info(GString *out, const NodeInfo *info)
{
    begin(out, "build_info", "Version of remora-node, and whom it serves; always 1", true);
    g_string_append_c(out, '{');
    append_label(out, "version", info->version);
    g_string_append_c(out, ',');
    append_label(out, "node", info->node);
    g_string_append_c(out, ',');
    append_label(out, "cluster", info->cluster);
    g_string_append(out, "} 1\n");
    begin(out, "start_time_seconds", "Unix time of the start", true);
    g_string_append_printf(out, " %" PRIu64 ".%09" PRIu64 "\n", info->start_unix_ns / 1000000000u,
                           info->start_unix_ns % 1000000000u);
}

char *metrics_text(const NodeInfo *info, const Snapshot *snapshot)
{
    GString *out = g_string_new(NULL);
    append_info(out, info);
    for (size_t i = 0; i < snapshot->n_counters; i++) {
        const SnapshotCounter *counter = &snapshot->counters[i];
        append(out, counter->name, counter->help, counter->gauge, counter->value);
    }
    append(out, "synced", "1 once the first inventory is known", true, snapshot->synced);
    append(out, "targets_known", "Pods of this node", true, snapshot->targets_known);
    append(out, "targets_captured", "Pods that are captured now", true, snapshot->targets_captured);
    append(out, "targets_failing", "Pods that cannot be captured now", true,
           snapshot->targets_failing);
    append(out, "subscribers", "Streams open now", true, snapshot->subscribers);
    append(out, "ring_bytes", "Memory of the capture rings", true, snapshot->ring_bytes);
    return g_string_free(out, FALSE);
}
