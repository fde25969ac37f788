// SPDX-License-Identifier: GPL-2.0-or-later
/* The collector's insides, shared by collector.c (life, loop, pipeline) and messages.c (what nodes
 * say). */
#pragma once

#include "collector/annotate.h"
#include "collector/collector.h"
#include "collector/early-loss.h"
#include "collector/merge.h"
#include "collector/namer.h"
#include "collector/node-stream.h"
#include "collector/notes.h"
#include "collector/output.h"
#include "collector/socket-table.h"
#include "collector/packet.h"
#include "collector/translations.h"
#include "collector/vantage.h"

struct Collector {
    CollectorSink sink;
    void *userdata;
    CollectorVantage vantage_mode;
    char *cluster; /* overrides what nodes say; or NULL */
    uint64_t max_wait_ns, memory_limit, connect_timeout_ns;
    bool comments;

    RpcClient *client;
    GPtrArray *nodes;    /* of NodeStream */
    GAsyncQueue *events; /* of NodeEvent */
    Inventory *inventory;
    SocketTable *owners;
    Translations *translations;
    GHashTable *points; /* what makes it one -> CapturePoint, kept for the collector's life */
    PacketFragments *fragments;

    /* Of one run. */
    Output *output;
    EarlyLosses *early_losses;
    Merge *merge;
    Vantage *vantage;
    Annotator *annotator;
    Namer *namer;
    Notes *notes;
    int write_error;
    bool was_connected;
    uint64_t blocked_ns; /* time that the sink's reader has cost: no node can be blamed for it */
    uint64_t newest_time_ns;  /* of packets written */
    uint64_t forgotten_at_ns; /* when old names were dropped last */
    CollectorStats counting;  /* the thread's own */

    gint stop; /* atomic */
    GMutex lock;
    CollectorStats stats; /* what others see, under the lock */
};

/* A message of the node; takes the buffer's reference. What breaks the protocol makes it cancel the
 * stream. */
void collector_message(Collector *collector, NodeStream *node, MergeBuffer *buffer,
                       uint64_t now_ns);
/* A Translation or SocketOwner of the node, which has said hello (fact-messages.c). What cannot be
 * used is left out with a note. */
void collector_fact(Collector *collector, NodeStream *node, const StreamMessage *message,
                    uint64_t now_ns);
/* The stream is closed: its promises, capture points and decisions are void. */
void collector_node_gone(Collector *collector, NodeStream *node, uint64_t now_ns);
