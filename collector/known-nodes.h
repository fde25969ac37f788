// SPDX-License-Identifier: GPL-2.0-or-later
/* What is known of a node over its connections, addresses and processes: whether it is here, and
 * since when it is not. Internal to the collector; no I/O, no clock, one thread. */
#pragma once

#include <stdint.h>

typedef struct KnownNodes KnownNodes;

typedef struct KnownNode {
    char *cluster, *name;
    char *boot_id;         /* of its process that said hello last; NULL: none has */
    unsigned live;         /* streams that bring it */
    uint64_t gone_unix_ns; /* since when there is none; 0: there is, or never was */
    uint64_t watermark_ns; /* what is missing is not earlier than this */
} KnownNode;

KnownNodes *known_nodes_new(void);
KnownNodes *known_nodes_free(KnownNodes *nodes); /* NULL is fine; returns NULL */
/* The node of this name; never NULL. Of too many those that are away are forgotten: what is not
 * live is only valid until the next call. */
KnownNode *known_nodes_get(KnownNodes *nodes, const char *cluster, const char *name);
void known_nodes_foreach(KnownNodes *nodes, void (*function)(KnownNode *node, void *userdata),
                         void *userdata);
