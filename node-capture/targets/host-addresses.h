// SPDX-License-Identifier: GPL-2.0-or-later
/* Addresses of the node that the API server does not tell: those that its own network has in the
 * subnets of its pods, such as that of a CNI's bridge. What the node's processes send to its pods
 * comes from there. No I/O, no clock. One thread.
 *
 * They are told as a second entity of the node's name, so that they do not contradict what others
 * tell of the node. Addresses of subnets without pods are not told: many machines may have the same
 * (a container runtime's bridge that is not used, say). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "k8s-enrich/inventory.h"
#include "node-capture/targets/netns-addresses.h"

typedef struct HostAddresses HostAddresses;
typedef void HostAddressesTell(const Entity *node, void *userdata);

/* What is found first is valid since `now_ns`. */
HostAddresses *host_addresses_new(const char *node_name, uint64_t now_ns, HostAddressesTell *tell,
                                  void *userdata);
HostAddresses *host_addresses_free(HostAddresses *host); /* NULL is fine; returns NULL */
/* All of the node's own network. */
void host_addresses_set(HostAddresses *host, const NetnsAddress *addresses, size_t count,
                        uint64_t now_ns);
/* A pod of this node has these, instead of those before; none: it is gone. */
void host_addresses_pod(HostAddresses *host, const char *uid, const IpAddress *addresses,
                        size_t count, uint64_t now_ns);
/* This node, as the API server tells: for its labels. */
void host_addresses_node(HostAddresses *host, const Entity *node, uint64_t now_ns);
