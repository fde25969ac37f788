// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/connections.h"

#include <glib.h>

#include "node-capture/server/pod-addresses.h"

struct Connections {
    const ConnectionsCallbacks *callbacks;
    void *userdata;
    PodAddresses *pods;
    Conntrack *conntrack; /* or NULL */
};

static void on_translation(const Remora__V1__Translation *translation, void *userdata)
{
    const Connections *connections = userdata;
    connections->callbacks->fact(fact_translation(translation), connections->userdata);
}

/* A pod of this node at one end. Or a service's pod elsewhere: then the node forwards (a node
 * port), or is itself the client, and the pod's own node knows nothing of the address that was
 * called. */
static bool on_wanted(const ConntrackEntry *entry, void *userdata)
{
    const Connections *connections = userdata;
    return pod_addresses_is_local(connections->pods, &entry->tuple.client.address) ||
           pod_addresses_is_local(connections->pods, &entry->server.address) ||
           pod_addresses_is_endpoint(connections->pods, &entry->server.address);
}

static void on_problem(const char *subject, const char *message, void *userdata)
{
    const Connections *connections = userdata;
    connections->callbacks->problem(subject, message, connections->userdata);
}

static const ConntrackCallbacks conntrack_callbacks = {on_translation, on_wanted, on_problem};

Connections *connections_new(const char *node_name, const ConnectionsCallbacks *callbacks,
                             void *userdata)
{
    Connections *connections = g_new0(Connections, 1);
    connections->callbacks = callbacks;
    connections->userdata = userdata;
    connections->pods = pod_addresses_new(node_name);
    return connections;
}

Connections *connections_free(Connections *connections)
{
    if (connections) {
        conntrack_free(connections->conntrack);
        pod_addresses_free(connections->pods);
        g_free(connections);
    }
    return NULL;
}

void connections_follow(Connections *connections, ConntrackSource *source)
{
    connections->conntrack = conntrack_new(source, &conntrack_callbacks, connections);
}

void connections_identity(Connections *connections, const Entity *entity, bool deleted,
                          uint64_t now_ns)
{
    if (pod_addresses_apply(connections->pods, entity, deleted, now_ns) && connections->conntrack) {
        conntrack_look_again(connections->conntrack);
    }
}

void connections_stats(Connections *connections, ConntrackCounters *ret)
{
    *ret = (ConntrackCounters){0};
    if (connections->conntrack) {
        conntrack_counters(connections->conntrack, ret);
    }
}
