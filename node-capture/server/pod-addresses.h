// SPDX-License-Identifier: GPL-2.0-or-later
/* Which addresses are pods': those of the pods of this node, and those of the pods anywhere that
 * services have as endpoints. So a connection can be told to be of a pod without a look at it.
 *
 * Addresses of pods that are gone count for a while longer, as what happened in the last moments of
 * a pod is worked at later. All functions may be called from any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "k8s-enrich/inventory.h"

#define POD_ADDRESSES_KEPT_NS 60000000000u

typedef struct PodAddresses PodAddresses;

PodAddresses *pod_addresses_new(const char *node_name);
PodAddresses *pod_addresses_free(PodAddresses *addresses); /* NULL is fine; returns NULL */
/* Takes up an entity of any kind, or takes it back (deleted). `now_ns` is any clock that never
 * jumps back. Returns whether there is an address that was not there before. */
bool pod_addresses_apply(PodAddresses *addresses, const Entity *entity, bool deleted,
                         uint64_t now_ns);
/* Of a pod of this node that has a network of its own. */
bool pod_addresses_is_local(PodAddresses *addresses, const IpAddress *address);
/* Of a pod behind a service, wherever it is. */
bool pod_addresses_is_endpoint(PodAddresses *addresses, const IpAddress *address);
