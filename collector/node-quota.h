// SPDX-License-Identifier: GPL-2.0-or-later
/* How much of one node's word is kept, over all its connections: a node that lies must not fill the
 * collector's memory. Charged is what is new; what all nodes know is charged to who told it first.
 * No I/O, no clock. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "k8s-enrich/inventory.h"

#define NODE_QUOTA_ENTITIES     200000u /* versions: a pod that changes is one more */
#define NODE_QUOTA_ENTITY_BYTES (256u * 1024u * 1024u)
#define NODE_QUOTA_POINTS       65536u
#define NODE_QUOTA_POINT_BYTES  (64u * 1024u * 1024u)
#define NODE_QUOTA_FACTS        262144u /* translations and socket owners, those that ended too */
#define NODE_QUOTA_FACT_BYTES   (128u * 1024u * 1024u)

/* What a node says for people: so much at once, and then so much a second. */
#define NODE_QUOTA_NOTICES           4096u
#define NODE_QUOTA_NOTICE_EVERY_NS   200000000ull
#define NODE_QUOTA_SENTENCES         256u
#define NODE_QUOTA_SENTENCE_EVERY_NS 1000000000ull

typedef struct NodeQuota NodeQuota;

/* 0: the defaults above. */
NodeQuota *node_quota_new(uint64_t entities, uint64_t entity_bytes, uint64_t points);
NodeQuota *node_quota_free(NodeQuota *quota); /* NULL is fine; returns NULL */

/* About the bytes that an entity takes in an inventory, from its message of so many bytes. */
uint64_t node_quota_entity_cost(const Remora__V1__Entity *entity, size_t message_bytes);
/* Whether one more of this cost may be kept. */
bool node_quota_entity_fits(const NodeQuota *quota, uint64_t cost);
/* It is kept. */
void node_quota_entity_charge(NodeQuota *quota, EntityKind kind, const char *uid, uint64_t cost);
/* Gives back what the inventory no longer has. */
void node_quota_recount(NodeQuota *quota, const Inventory *inventory);

/* Charges a capture point with names of so many bytes; false if there is no room. */
bool node_quota_point(NodeQuota *quota, size_t name_bytes);

/* Charges a translation or a socket owner that takes so many bytes; false if there is no room. To
 * be given back when it is forgotten. */
bool node_quota_fact(NodeQuota *quota, size_t bytes);
void node_quota_fact_gone(NodeQuota *quota, size_t bytes);

/* Charges a notice, which may become a sentence of its own; false: it is to be left out. `now_ns`:
 * monotonic. */
bool node_quota_notice(NodeQuota *quota, uint64_t now_ns, bool is_sentence);
