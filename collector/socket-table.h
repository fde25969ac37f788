// SPDX-License-Identifier: GPL-2.0-or-later
/* Which container and process of a pod holds a socket, as the nodes tell (SocketOwner): by the
 * socket's addresses and by time. Bounded for each node; what has ended is kept for a while, as its
 * packets may still come. No I/O, no clock. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "k8s-enrich/inventory.h"

#define SOCKET_TABLE_FACTS 65536u /* kept of one node: then the first that ended goes */
/* TCP's TIME_WAIT on Linux: until then a socket's last packets may come. */
#define SOCKET_LINGER_NS (60u * 1000000000ull)

/* The texts are valid as long as the table has not changed. */
typedef struct SocketHolder {
    const char *container; /* "" where not known */
    const char *process;
    uint32_t pid;
    const char *pod_uid;    /* of sockets on a node's network: whose it is; else "" */
    const char *no_secrets; /* why no TLS secrets come from the process; "": they may */
} SocketHolder;

typedef struct SocketPlace {
    uint64_t pod_key; /* entity_key(ENTITY_POD, uid), or socket_table_host_key() */
    IpAddress local, remote;
    uint16_t local_port, remote_port;
    uint8_t protocol;
} SocketPlace;

/* Stands in a place for all pods on the network of a node. */
uint64_t socket_table_host_key(const char *node);

typedef struct SocketTable SocketTable;

/* 0: the default above. */
SocketTable *socket_table_new(size_t facts_of_node);
SocketTable *socket_table_free(SocketTable *table); /* NULL is fine; returns NULL */

/* What `node` (any number of the caller's) told. 0; -EINVAL with *problem (static) for what cannot
 * be; -ENOSPC if the node has told too many that have not ended. */
int socket_table_apply(SocketTable *table, uint32_t node, const Remora__V1__SocketOwner *told,
                       const char **problem);
/* The node is away: what it told holds no longer than until now, unless it tells so again. */
void socket_table_node_gone(SocketTable *table, uint32_t node, uint64_t now_ns);
/* Drops what had ended before. */
void socket_table_forget(SocketTable *table, uint64_t before_ns);

/* Who held the socket of the packet at that time: the connection's own holder, else the one that
 * listens or is bound there, else (a connection whose far address is rewritten on the way) the last
 * one of that local port. False: not known. The answer, also that nothing is known, holds for
 * packets from *ret_from_ns up to *ret_to_ns (0: open), unless socket_table_changed(). */
bool socket_table_find(const SocketTable *table, const SocketPlace *place, uint64_t time_ns,
                       SocketHolder *ret, uint64_t *ret_from_ns, uint64_t *ret_to_ns);
/* Grows with everything that is told. */
uint32_t socket_table_generation(const SocketTable *table);
/* Whether the answer for a place may have changed since the table was of that generation. May say
 * so also where it has not. */
bool socket_table_changed(const SocketTable *table, const SocketPlace *place, uint32_t generation);
size_t socket_table_count(const SocketTable *table);
