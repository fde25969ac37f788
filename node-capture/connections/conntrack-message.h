// SPDX-License-Identifier: GPL-2.0-or-later
/* One message of the kernel's connection tracking (ctnetlink) -> a connection whose addresses it
 * rewrites. No I/O. Source: linux/netfilter/nfnetlink_conntrack.h. (libnetfilter_conntrack would
 * end the process at a message that it does not expect, so it only serves the tests.) */
#pragma once

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "k8s-enrich/inventory.h"

typedef struct ConntrackEnd {
    IpAddress address;
    uint16_t port;
} ConntrackEnd;

typedef struct ConntrackTuple { /* compared as bytes: made with all padding zero */
    ConntrackEnd client, service;
    uint32_t protocol;
} ConntrackTuple;
_Static_assert(sizeof(ConntrackTuple) == 40, "ConntrackTuple has padding");

typedef struct ConntrackEntry {
    ConntrackTuple tuple;               /* as the client sent it */
    ConntrackEnd server, masked_client; /* as the answer comes */
    uint32_t id;                        /* the kernel's; tells two of the same tuple apart */
    uint64_t
        start_ns; /* since the epoch; 0: the kernel does not keep it (nf_conntrack_timestamp) */
    bool ended;
} ConntrackEntry;

/* 1 with *ret for a connection of TCP, UDP or SCTP that is rewritten; 0 for any other message;
 * -EBADMSG for one that cannot be read. `message` has `length` bytes, of which nlmsg_len is
 * checked. */
int conntrack_message_read(const struct nlmsghdr *message, size_t length, ConntrackEntry *ret);
