// SPDX-License-Identifier: GPL-2.0-or-later
/* What one subscriber is still to be told, in order: packets, losses, interfaces, identity,
 * watermarks. Facts go ahead of the packets, but for the identity events that stand before these.
 * The first of a quiet time goes at once; further ones are gathered, but not beyond the next
 * message.
 *
 * Packets are references to shared batches, or copies where the subscriber wants less than others
 * (filter, snap length). They are bounded by bytes: the oldest go first, and a loss stands in their
 * place. Facts are bounded by number and bytes: further ones are left out, and counted. Nothing
 * else is ever dropped; losses at the same place add up. For every packet given to queue_packets():
 * it is counted in exactly one of sent, filtered, dropped, invalid, and waiting.
 *
 * No I/O, no clock, no threads: the caller locks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "k8s-enrich/inventory.h"
#include "node-capture/server/facts.h"
#include "node-capture/server/filter.h"
#include "node-capture/server/interface.h"
#include "node-capture/source/source.h"
#include "proto/stream.h"

#define QUEUE_HEARTBEAT_NS    (50u * 1000000u)
#define QUEUE_BATCHES_MAX     32u /* joined in one message */
#define QUEUE_FACTS_MAX       (4u * FACTS_MAX)
#define QUEUE_FACTS_BYTES_MAX (64u << 20)
#define QUEUE_FACTS_RUN       1024u            /* then packets that are due have their turn */
#define QUEUE_FACTS_TOGETHER  256u             /* in one message, */
#define QUEUE_FACTS_JOINED    (64u * 1024u)    /* and bytes of these, but for one longer fact */
#define QUEUE_FACTS_GATHER_NS (10u * 1000000u) /* from one such message to the next */

typedef struct Queue Queue;

typedef struct QueueLoss {
    Remora__V1__LossStage stage;
    NodeInterface *interface; /* may be NULL; referenced by the queue */
    char *detail;             /* GRefString, referenced by the queue; may be NULL */
    uint64_t packets, from_ns, to_ns;
    bool unknown;
} QueueLoss;

typedef struct QueueStats {
    uint64_t offered; /* packets given, the sum of the next four and of those that wait */
    uint64_t sent, filtered;
    uint64_t dropped;       /* LOSS_STAGE_SUBSCRIBER_QUEUE */
    uint64_t invalid;       /* LOSS_STAGE_INVALID */
    uint64_t kernel_lost;   /* LOSS_STAGE_KERNEL_RING, told by queue_loss() */
    uint64_t start_losses;  /* LOSS_STAGE_CAPTURE_START: times, not packets */
    uint64_t bytes_sent;    /* of blocks */
    uint64_t waiting;       /* packets in the queue */
    uint64_t waiting_bytes; /* memory they hold */
    uint64_t facts_dropped;
} QueueStats;

typedef enum QueueMessageType {
    QUEUE_NOTHING,
    QUEUE_INTERFACE,
    QUEUE_IDENTITY,
    QUEUE_SYNCED,
    QUEUE_FACTS,
    QUEUE_LOSS,
    QUEUE_PACKETS,
    QUEUE_HEARTBEAT,
} QueueMessageType;

/* To be cleared with queue_message_clear(), which drops the references that are left in it. */
typedef struct QueueMessage {
    QueueMessageType type;
    NodeInterface *interface;          /* INTERFACE */
    Entity *entity;                    /* IDENTITY */
    uint64_t deleted_ns;               /* IDENTITY; 0: it is there */
    Fact *facts[QUEUE_FACTS_TOGETHER]; /* FACTS */
    size_t n_facts;
    size_t facts_bytes; /* of their messages */
    QueueLoss loss;     /* LOSS */
    StreamPackets
        packets; /* PACKETS (blocks_length is the sum, blocks NULL); HEARTBEAT: the watermark */
    Batch *batches[QUEUE_BATCHES_MAX];
    size_t n_batches;
} QueueMessage;

/* `limit_bytes`: memory of waiting packets. `filter` may be NULL; the queue owns it. */
Queue *queue_new(uint64_t limit_bytes, uint32_t snap_length, Filter *filter);
Queue *queue_free(Queue *queue); /* NULL is fine; returns NULL */
/* The reader does not know of several in one message. */
void queue_facts_apart(Queue *queue);

void queue_interface(Queue *queue, NodeInterface *interface);
bool queue_has_interface(const Queue *queue, uint32_t id); /* queue_interface() was called for it */
void queue_identity(Queue *queue, const Entity *entity, uint64_t deleted_ns);
void queue_synced(Queue *queue);
void queue_fact(Queue *queue, Fact *fact);
void queue_loss(Queue *queue, const QueueLoss *loss);
void queue_packets(Queue *queue, Batch *batch);
/* No packet given later has an earlier time stamp. */
void queue_watermark(Queue *queue, uint64_t unix_ns);
/* From now on nothing waits for more: what is there is due at once, and there are no heartbeats. */
void queue_finish(Queue *queue);
/* All packets that wait are dropped, and told as lost. */
void queue_drop_all(Queue *queue);

/* The next message that is due at `now_ns` (monotonic). */
void queue_next(Queue *queue, uint64_t now_ns, QueueMessage *ret);
/* Without anything new, there is a message that is due from then on (monotonic). */
uint64_t queue_due_ns(const Queue *queue);
void queue_message_clear(QueueMessage *message);

bool queue_is_empty(const Queue *queue); /* but for watermarks */
/* Messages other than packets and losses: these cannot be dropped, so the caller gives up on a
 * reader that lets them pile up. */
size_t queue_events(const Queue *queue);
void queue_stats(const Queue *queue, QueueStats *ret);
