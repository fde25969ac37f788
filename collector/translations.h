// SPDX-License-Identifier: GPL-2.0-or-later
/* Connections whose addresses were rewritten on their way (conntrack): which two five-tuples are
 * legs of one connection, at a time.
 *
 * A connection may be rewritten twice (from a pod, through the node's address and a node port, to
 * another pod): translations that continue each other are one flow. What has ended is kept until
 * it is forgotten, for packets that arrive later. No I/O, no clock. One thread. Times are
 * nanoseconds since the epoch. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/node-quota.h"
#include "k8s-enrich/inventory.h"

/* A connection whose first packet is this much older than its translation is meant all the same:
 * the node sees the packet before the kernel tells it of the connection. */
#define TRANSLATION_LATE_NS (20u * 1000000u)
/* So early, or so late after its end, if there is no other for these addresses. */
#define TRANSLATION_SLACK_NS (5u * 1000000000ull)
#define TRANSLATION_VERSIONS 16u /* of one five-tuple; then the oldest goes */

typedef struct FlowEnd {
    IpAddress address;
    uint16_t port;
} FlowEnd;

typedef struct Translation {
    uint8_t protocol;
    FlowEnd client, service;       /* as the client's side has them: from and to */
    FlowEnd masked_client, server; /* as the server's side has them */
    uint64_t from_ns, to_ns;       /* to_ns 0: still so */
} Translation;

/* A connection as a whole, however often it was rewritten. */
typedef struct Flow {
    uint64_t id; /* stable hash of the ends, the same for each leg and direction; never 0 */
    FlowEnd client, service;
    FlowEnd masked_client, server;
    uint8_t protocol;
    uint64_t to_ns; /* 0: still so */
} Flow;

/* 0, or -EBADMSG for what cannot be: protocols without ports, addresses of neither 4 nor 16 bytes,
 * ports over 65535, an end before the start, both legs the same. */
int translation_from_message(const Remora__V1__Translation *message, Translation *ret);

typedef struct Translations Translations;

Translations *translations_new(void);
Translations *translations_free(Translations *translations); /* NULL is fine; returns NULL */
/* Takes over what a node tells; `quota` is charged, and is given back what is forgotten: it must
 * outlive the table. Returns 0, or -ENOBUFS if the quota has no room. */
int translations_add(Translations *translations, NodeQuota *quota, const Translation *translation);
/* The node is gone, and with it the knowledge of when its translations end: as if all of `quota`
 * that still hold had ended at `at_ns`. It tells again of those that go on. */
void translations_end(Translations *translations, const NodeQuota *quota, uint64_t at_ns);
/* Drops those that ended before then. */
void translations_forget(Translations *translations, uint64_t before_ns);
size_t translations_count(const Translations *translations);

/* The flow of which this is a leg: the connection between `a` and `b`, in whatever order, at that
 * time. */
bool translations_find(const Translations *translations, uint8_t protocol, const FlowEnd *a,
                       const FlowEnd *b, uint64_t time_ns, Flow *ret);
