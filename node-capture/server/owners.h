// SPDX-License-Identifier: GPL-2.0-or-later
/* Which container and process holds a socket: what the kernel tells (targets/socket-owners.h) of
 * the pods that are known, as facts for the streams. The capture thread's. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "k8s-enrich/inventory.h"
#include "node-capture/server/facts.h"
#include "node-capture/targets/socket-owners.h"

#define OWNERS_WAITING_MAX 1024u /* sockets of pods that are not known yet */

typedef struct OwnersCallbacks {
    /* Takes over the reference. */
    void (*fact)(Fact *fact, void *userdata);
    /* What is known of a pod, or NULL. */
    const Entity *(*pod)(const char *uid, void *userdata);
    /* Why no TLS secrets come from a process, to be freed; NULL: they may. */
    char *(*no_secrets)(uint64_t netns_inode, pid_t pid, void *userdata);
} OwnersCallbacks;

typedef struct Owners Owners;

extern const SocketOwnersCallbacks owners_socket_callbacks; /* userdata: the Owners */

Owners *owners_new(const OwnersCallbacks *callbacks, void *userdata);
Owners *owners_free(Owners *owners); /* NULL is fine; returns NULL; frees the sockets as well */
/* Taken over. */
void owners_set_sockets(Owners *owners, SocketOwners *sockets);

void owners_pod_appeared(Owners *owners, const char *uid, int netns_fd);
void owners_pod_vanished(Owners *owners, const char *uid);
/* A pod of this node is known, or no longer: one on the node's network is found by its processes.
 */
void owners_pod_known(Owners *owners, const Entity *pod, bool deleted);
/* Whether there are streams; tells what has happened. Returns whether there was a fact. */
bool owners_run(Owners *owners, bool wanted);
void owners_stats(const Owners *owners, SocketOwnersStats *ret);
