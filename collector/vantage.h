// SPDX-License-Identifier: GPL-2.0-or-later
/* One vantage point per connection. docs/collector.md has the rules in prose.
 *
 * Packets go in sorted by time and come out in the same order, less those that another point shows.
 * A packet whose decision is open waits at the head of the line, for HOLD of watermark at most. No
 * I/O, no clock, no allocation per packet (one per connection). One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/capture-point.h"
#include "collector/merge.h"
#include "collector/packet.h"
#include "collector/translations.h"
#include "k8s-enrich/inventory.h"

#define VANTAGE_HOLD_NS (100u * 1000000u) /* a decision waits for the better point for so long */
#define VANTAGE_SILENT_NS \
    (1000u * 1000000u) /* the chosen point may be silent for so long while another speaks */
#define VANTAGE_IDLE_NS     (60u * 1000000000ull)
#define VANTAGE_CONNECTIONS (1024u * 1024u)

typedef struct Vantage Vantage;
typedef struct VantageLeg VantageLeg;

typedef struct VantagePacket {
    MergePacket packet; /* with its reference of the buffer */
    PacketInfo info;
    const CapturePoint *point; /* outlives the vantage */
    unsigned direction;        /* PCAPNG_DIRECTION_*, 0: unknown */
    /* Set by vantage_pop(): the service through whose address the connection was made, where both
     * legs are known, and what conntrack says of the connection. Each may be NULL. Borrowed until
     * the next call. */
    const Entity *service;
    const Flow *flow;
    bool service_is_src; /* the service's end is the packet's source */
    /* The vantage's own. */
    VantageLeg *leg;
    bool contest[2];
} VantagePacket;

typedef struct VantageStats {
    uint64_t other_vantage; /* packets left out */
    uint64_t evicted;       /* connections forgotten because there were too many */
    size_t connections;
} VantageStats;

/* Inventory and translations (which may be NULL) are borrowed and outlive the vantage. At most
 * `max_connections` are remembered (0: VANTAGE_CONNECTIONS). `show_all`: nothing is left out, and
 * nothing waits; only what conntrack says is looked up. */
Vantage *vantage_new(const Inventory *inventory, const Translations *translations,
                     size_t max_connections, bool show_all);
Vantage *vantage_free(Vantage *vantage); /* gives back the buffers of what is in the line */

/* A point came or went (point->alive tells): where both ends are alive the packets of the client's
 * end wait for the server's. */
void vantage_point_changed(Vantage *vantage, const CapturePoint *point);

/* A translation was added or has ended. */
void vantage_translated(Vantage *vantage, const Translation *translation);

/* Takes the packet's reference. */
void vantage_push(Vantage *vantage, const VantagePacket *packet);
/* The next packet to show. `frontier_ns`: nothing earlier will be pushed any more (UINT64_MAX: do
 * not wait). The reference goes to the caller. */
bool vantage_pop(Vantage *vantage, uint64_t frontier_ns, VantagePacket *ret);
size_t vantage_waiting(const Vantage *vantage);
void vantage_stats(const Vantage *vantage, VantageStats *ret);
