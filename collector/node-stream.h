// SPDX-License-Identifier: GPL-2.0-or-later
/* One endpoint's connection: opened, lost, tried again with growing pauses. What it brings lands,
 * as events, in a queue for the collector's thread; all functions are for that thread. Internal to
 * the collector. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "collector/capture-point.h"
#include "collector/followed-name.h"
#include "collector/known-nodes.h"
#include "collector/merge.h"
#include "collector/node-quota.h"
#include "common/rpc/rpc.h"
#include "proto/stream.h"

/*
 *             open()             Hello
 *   WAITING ---------> OPENING ---------> LIVE
 *      ^                  |                |
 *      |   closed event   |                |
 *      +------------------+----------------+-----> OVER: the server said that coming back is no use
 */
typedef enum NodeStreamState {
    NODE_STREAM_WAITING,
    NODE_STREAM_OPENING,
    NODE_STREAM_LIVE,
    NODE_STREAM_OVER,
} NodeStreamState;

/* The meaning of interface ids in one connection. Shared with the buffers that came through it, for
 * a node that comes back may use the same ids for others. */
typedef struct InterfaceMap {
    uint32_t refs;
    GHashTable *points; /* id -> CapturePoint */
    uint32_t last_id;   /* the usual packet is of the same interface as the one before */
    CapturePoint *last;
} InterfaceMap;

InterfaceMap *interface_map_new(void);
InterfaceMap *interface_map_ref(InterfaceMap *map);
void interface_map_unref(void *map);
CapturePoint *interface_map_get(InterfaceMap *map, uint32_t id); /* NULL: unknown */

typedef struct NodeStream {
    uint32_t index; /* its number in the merge */
    char *endpoint;
    FollowedName *origin; /* the name that has or had this address; NULL: the endpoint was given */
    bool joined_later;    /* the name got the address while others were captured already */
    /* Another stream brings the same node, at another address or of its new process. This one's end
     * is not told, and it is tried again only after long or when the other one ends. */
    bool is_superseded;
    GAsyncQueue *events; /* of NodeEvent */
    RpcChannel *channel;
    RpcStream *stream;
    MergeBuffer *incoming; /* of the thread of common/rpc: a message on its way to on_message() */
    GBytes *request;
    /* The same, but for what a node may refuse and others give; or NULL. */
    GBytes *lesser_request;
    char *refusal; /* why the lesser one is made; or NULL */

    NodeStreamState state;
    uint64_t opened_ns, live_ns, retry_ns; /* monotonic */
    uint64_t asked_ns; /* when the next message was asked for, by the clock of the waits below */
    unsigned attempts; /* without success */
    bool wants_read;   /* a message was taken and no further one asked for */
    bool cancelled;
    int status;    /* the last stream ended with */
    char *problem; /* why the stream was given up or what it failed with last; or NULL */
    bool is_final; /* coming back is of no use */

    /* What the peer has said. */
    char *name, *cluster, *boot_id; /* NULL before the first Hello; kept over reconnects */
    uint64_t sequence;
    uint64_t watermark_ns;
    uint64_t heartbeat_ns;
    KnownNode *known; /* while it is live */
    InterfaceMap *map;
    NodeQuota *quota;     /* of what is kept; set by the collector, over reconnects too */
    bool told_of_quota;   /* that names are left out */
    bool told_of_notices; /* that notices are left out */
    uint64_t stalls;      /* told, as merge_stalls() counts */
    bool told_of_facts;   /* that translations or socket owners are left out */
} NodeStream;

typedef struct NodeEvent {
    NodeStream *node;
    MergeBuffer *buffer; /* a message, or NULL: the stream is closed */
    int status;
    char *text;
} NodeEvent;

NodeStream *node_stream_new(RpcClient *client, const char *endpoint, bool insecure, GBytes *request,
                            GAsyncQueue *events, GError **error);
NodeStream *node_stream_free(NodeStream *node); /* must not be open */
void node_event_free(NodeEvent *event);

/* Opens it if it is time to. Returns whether it did. `waits_ns` here and below: a monotonic clock
 * that stands still while no message could be taken even if it came. */
bool node_stream_open_if_due(NodeStream *node, uint64_t now_ns, uint64_t waits_ns);
/* Gives a connection up that takes too long to open, or of which nothing was heard for long. */
void node_stream_check_silence(NodeStream *node, uint64_t waits_ns);
void node_stream_cancel(NodeStream *node,
                        const char *problem); /* a closed event follows; NULL: as wished */
void node_stream_read(NodeStream *node, uint64_t waits_ns);
/* After the closed event: sets the state and the time of the next try. A node that refuses is asked
 * for less at once, if there is less; once it was live, for all again. */
void node_stream_closed(NodeStream *node, int status, const char *text, double random,
                        uint64_t now_ns);
/* How long to wait before the next try: doubled with each failure, 5 s at most, less up to half of
 * it at random (0..1). */
uint64_t node_stream_pause(unsigned attempts, double random);
/* What it is asked for once it has refused more. */
void node_stream_set_lesser(NodeStream *node, GBytes *request);
/* How its name reads in a sentence. */
const char *node_stream_name(const NodeStream *node);
/* What a person can do about a status, or "". */
const char *node_stream_advice(int status);
