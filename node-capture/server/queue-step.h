// SPDX-License-Identifier: GPL-2.0-or-later
/* What a queue (queue.c) is made of. Private to it. */
#pragma once

#include "node-capture/server/queue.h"

typedef struct QueueEvent {
    NodeInterface *interface;
    Entity *entity; /* both NULL: synced */
    uint64_t deleted_ns;
} QueueEvent;

/* What is told between two batches, and the batch that follows. In the last step of a queue there
 * is none yet. */
typedef struct QueueStep {
    GQueue events;         /* of QueueEvent * */
    GArray *losses;        /* of QueueLoss; NULL: none */
    uint64_t watermark_ns; /* after the batches of earlier steps; 0: none */
    Batch *batch;
} QueueStep;

/* A copy with references of its own, which queue_loss_clear() gives back. */
QueueLoss queue_loss_ref(const QueueLoss *loss);
void queue_loss_clear(void *loss);
void queue_event_free(void *event);
void queue_step_free(void *step);
/* Joined with a loss of the same cause, interface and detail that is there already. */
void queue_step_add_loss(QueueStep *step, const QueueLoss *loss);
/* The step before the oldest batch becomes part of the one behind it. */
void queue_step_merge(QueueStep *step, QueueStep *next);
