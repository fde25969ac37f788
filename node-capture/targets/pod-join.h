// SPDX-License-Identifier: GPL-2.0-or-later
/* Joins what the kernel knows of this node's pods (network namespaces and addresses, by uid) with
 * what the API server knows of them (names, labels), and tells TargetsCallbacks. No I/O, no clock:
 * times are handed in, in nanoseconds since the epoch. One thread.
 *
 * A pod whose namespace is there appears at once, so that none of its packets is lost. If the API
 * server has not told of it yet, it does so as a provisional entity: name and uid are the kernel's
 * uid, the namespace is empty, no labels. The real one replaces it from its start on.
 *
 * It keeps its names until the kernel says that it is gone, though the API server may have told of
 * its end before: its address stays its own until then.
 *
 * Addresses are those of both. The first list of a namespace is valid since the namespace is known,
 * later changes since they are told.
 *
 * A static pod is known to the kernel by a hash and to the API server by the uid of its mirror pod:
 * they are found to be the same by the ids of their containers. */
#pragma once

#include <stdbool.h>

#include "node-capture/targets/targets.h"

typedef struct PodJoin PodJoin;

/* `callbacks` must outlive it. */
PodJoin *pod_join_new(const char *node_name, const TargetsCallbacks *callbacks, void *userdata);
PodJoin *pod_join_free(PodJoin *join); /* NULL is fine; returns NULL; tells nothing */

/* From the kernel, as in PodWatchCallbacks. netns_fd is borrowed until the next sandbox or gone of
 * this uid. `since_ns` is for TargetsCallbacks.appeared. Of addresses only those by which others
 * can reach the pod are to be handed in. */
/* Before its sandbox: the namespace is the one that we ourselves are in. What we send of what we
 * capture would be captured again, without end. */
void pod_join_own(PodJoin *join, const char *uid);
void pod_join_sandbox(PodJoin *join, const char *uid, int netns_fd, bool host_network,
                      uint64_t since_ns, uint64_t now_ns);
/* Whether the API server has told of the pod; `uid` is the kernel's. */
bool pod_join_knows(const PodJoin *join, const char *uid);
void pod_join_addresses(PodJoin *join, const char *uid, const IpAddress *addresses, size_t count,
                        uint64_t now_ns);
void pod_join_container(PodJoin *join, const char *uid, const char *container_id, uint64_t now_ns);
void pod_join_gone(PodJoin *join, const char *uid, uint64_t now_ns);

/* From the API server, as in ApiCallbacks: all kinds; only pods of this node. */
void pod_join_entity(PodJoin *join, const Entity *entity, uint64_t deleted_ns, uint64_t now_ns);
/* It has told all that it knows: pods that it does not know are a problem from now on. */
void pod_join_api_synced(PodJoin *join, uint64_t now_ns);

/* Tells what is due. Returns when to call again; UINT64_MAX: not before something else is told. */
uint64_t pod_join_tick(PodJoin *join, uint64_t now_ns);

typedef struct PodJoinCounts {
    unsigned api;            /* pods that the API server knows */
    unsigned others_running; /* those of them that run by what it says; without our own */
    unsigned others_seen;    /* pods that the kernel knows; without our own */
} PodJoinCounts;
PodJoinCounts pod_join_counts(const PodJoin *join);
