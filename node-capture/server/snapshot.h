// SPDX-License-Identifier: GPL-2.0-or-later
/* All numbers of a node at one moment. GetStatus and /metrics tell the same ones, so they are
 * listed here alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node-capture/connections/conntrack.h"
#include "node-capture/server/secrets.h"
#include "node-capture/server/capture.h"
#include "node-capture/server/fact-feed.h"
#include "node-capture/targets/socket-owners.h"
#include "node-capture/targets/targets.h"

/* Counters beside those of Capture. */
typedef struct NodeCounters {
    uint64_t streams_opened, streams_refused;
    uint64_t identity_events;
    FactFeedStats facts;
    SocketOwnersStats sockets;
    TargetsStats targets;
    ConntrackCounters connections;
    SecretsStats secrets;
} NodeCounters;

#define SNAPSHOT_COUNTERS_MAX 80u

typedef struct SnapshotCounter {
    const char *name, *help; /* static */
    uint64_t value;
    bool gauge; /* may fall */
} SnapshotCounter;

typedef struct Snapshot {
    SnapshotCounter counters[SNAPSHOT_COUNTERS_MAX];
    size_t n_counters;
    uint32_t targets_known, targets_captured, targets_failing;
    uint32_t subscribers;
    uint64_t ring_bytes;
    bool synced; /* the first inventory is known; set by the node */
} Snapshot;

/* On the capture thread. */
void snapshot_take(const Capture *capture, const NodeCounters *counters, Snapshot *ret);
