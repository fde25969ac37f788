// SPDX-License-Identifier: GPL-2.0-or-later
/* The connections whose addresses this node's kernel rewrites, as facts for the streams: those of
 * pods. A node rewrites more than that, for its own processes above all, which nobody captures. */
#pragma once

#include "node-capture/connections/conntrack.h"
#include "node-capture/server/facts.h"

typedef struct ConnectionsCallbacks {
    /* From a thread of ours. Takes over the reference. */
    void (*fact)(Fact *fact, void *userdata);
    void (*problem)(const char *subject, const char *message, void *userdata); /* as Conntrack's */
} ConnectionsCallbacks;

typedef struct Connections Connections;

Connections *connections_new(const char *node_name, const ConnectionsCallbacks *callbacks,
                             void *userdata);
Connections *connections_free(Connections *connections); /* NULL is fine; returns NULL */
/* Begins; takes over the source. */
void connections_follow(Connections *connections, ConntrackSource *source);
/* What is known of the cluster says whose an address is; the same thread each time. */
void connections_identity(Connections *connections, const Entity *entity, bool deleted,
                          uint64_t now_ns);
void connections_stats(Connections *connections, ConntrackCounters *ret);
