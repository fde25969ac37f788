// SPDX-License-Identifier: GPL-2.0-or-later
/* The collector's insides, shared by collector.c (life, loop, pipeline), members.c (which nodes
 * there are) and messages.c (what they say). */
#pragma once

#include "collector/annotate.h"
#include "collector/collector.h"
#include "collector/early-loss.h"
#include "collector/key-wait.h"
#include "collector/merge.h"
#include "collector/namer.h"
#include "collector/node-stream.h"
#include "collector/notes.h"
#include "collector/notices.h"
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
    uint64_t secrets_wait_ns; /* 0: none are asked for */
    bool comments;

    bool insecure;
    uint64_t node_entities, node_entity_bytes, node_points;

    RpcClient *client;
    GBytes *request;        /* what each node is asked for */
    GBytes *lesser_request; /* and one that refuses it; or NULL */
    GPtrArray *names;       /* of FollowedName */
    GPtrArray *nodes;       /* of NodeStream */
    GQueue *quotas; /* of nodes that left: what is kept of them is charged to who comes next */
    KnownNodes *known;
    GAsyncQueue *events; /* of NodeEvent */
    Inventory *inventory;
    Translations *translations;
    SocketTable *owners;
    GHashTable *points; /* what makes it one -> CapturePoint, kept for the collector's life */
    PacketFragments *fragments;

    /* Of one run. */
    Output *output;
    EarlyLosses *early_losses;
    Merge *merge;
    KeyWait *key_wait; /* NULL: no secrets were asked for */
    MergePacket held;  /* waits for secrets, if is_held */
    bool is_held;
    Vantage *vantage;
    Annotator *annotator;
    Namer *namer;
    Notes *notes;
    Notices *notices;
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
void collector_fact(Collector *collector, NodeStream *node, const Remora__V1__Fact *fact,
                    uint64_t now_ns);
/* Says in the file which nodes are away at the end. */
void collector_tell_of_absent(Collector *collector);
/* The stream is closed: its promises, capture points and decisions are void. */
void collector_node_gone(Collector *collector, NodeStream *node, uint64_t now_ns);

/* ---- members.c */

bool collector_members_new(Collector *collector, const CollectorConfig *config, GError **error);
void collector_members_free(Collector *collector);
void collector_members_begin(Collector *collector, uint64_t now_ns); /* the run's merge is there */
/* Follows the names, opens streams that are due, asks for messages, lets go who has left. */
void collector_members_tend(Collector *collector, uint64_t now_ns);
/* The node has said who it is. False if another stream brings it already; this one is then ended.
 */
bool collector_member_hello(Collector *collector, NodeStream *node, uint64_t now_ns);
/* Its stream has ended and was brought to rest. False if nobody need know. */
bool collector_member_closed(Collector *collector, NodeStream *node, bool was_live,
                             uint64_t now_ns);
/* Whether no node was reached in time, or none is left that would come back. */
bool collector_members_hopeless(const Collector *collector, uint64_t waited_ns, GError **error);
