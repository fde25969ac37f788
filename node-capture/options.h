// SPDX-License-Identifier: GPL-2.0-or-later
/* The options of remora-node, declared once. */
#pragma once

#include "common/options.h"

typedef struct NodeOptions {
    char **listen;
    bool insecure;
    char *metrics;
    uint64_t max_streams;
    char *node_name, *cluster;
    char *inventory;
    char *kubeconfig, *context, *cgroup_prefix, *host_netns;
    char **namespaces, **pods;
    char *selector;
    uint64_t snap_length, ring_budget, queue_size;
    bool no_processes;
    char *tls;
    char *log_level;
    char *explain_tls;
    bool help, version, manual;
} NodeOptions;

extern const OptionTable node_option_table;
