// SPDX-License-Identifier: GPL-2.0-or-later
/* The capture thread: it owns the targets, what is captured, and what is known. Other threads ask
 * it by messages. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "common/rpc/rpc.h"
#include "node-capture/connections/conntrack.h"
#include "node-capture/server/capture.h"
#include "node-capture/server/facts.h"
#include "node-capture/server/info.h"
#include "node-capture/server/owners.h"
#include "node-capture/server/secrets.h"
#include "node-capture/server/snapshot.h"
#include "node-capture/server/stream.h"
#include "node-capture/source/source.h"
#include "node-capture/targets/targets.h"

typedef struct Node Node;

extern const TargetsCallbacks node_targets_callbacks; /* userdata: the Node */

/* `info` is borrowed. `allowed` (taken over): what may be captured at all. */
Node *node_new(const NodeInfo *info, Selector *allowed);
/* Ends the thread if node_stop() was not called. Also frees source and targets. */
Node *node_free(Node *node);       /* NULL is fine; returns NULL */
Capture *node_capture(Node *node); /* userdata of the source's callbacks */

/* Before node_start(): userdata of owners_socket_callbacks, and what comes of it, taken over. */
Owners *node_owners(Node *node);
void node_set_socket_owners(Node *node, SocketOwners *sockets);
/* Before node_start(): where connections whose addresses are rewritten are told; taken over. */
void node_set_connections(Node *node, ConntrackSource *source);

/* Before node_start(): to be given the source of TLS secrets, and userdata of its callbacks. */
Secrets *node_secrets(Node *node);

/* Takes over both and starts the thread. */
void node_start(Node *node, Source *source, Targets *targets);
/* Ends all streams (within 400 ms: by then a reader that does not read has lost what waited for it)
 * and the thread. */
void node_stop(Node *node, const char *reason);

/* All below: from any thread; they return at once. */

void node_targets_ready(Node *node); /* the descriptor of the targets is readable */
bool node_is_stopping(Node *node);
void node_add_stream(Node *node, Stream *stream);
void node_remove_stream(Node *node, Stream *stream, int status);
void node_stream_refused(Node *node); /* for the counter */
/* For all streams, now and to come. Takes over the reference. */
void node_tell_fact(Node *node, Fact *fact);
/* For GetStatus: something is wrong (subject, message), or well again (message NULL). */
void node_tell_problem(Node *node, const char *subject, const char *message);
/* These answer the call. */
void node_answer_status(Node *node, RpcCall *call);
void node_answer_targets(Node *node, RpcCall *call,
                         Selector *selector); /* takes over the selector */

/* Waits for the capture thread, also before the first inventory is known. Returns 0, or -ETIMEDOUT.
 * From any other thread, between node_start() and node_stop(). */
int node_snapshot(Node *node, uint64_t timeout_ns, Snapshot *ret);
