// SPDX-License-Identifier: GPL-2.0-or-later
/* A pod of this node as the capture sees it, and what its streams are told of it. Belongs to the
 * capture thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "node-capture/server/stream.h"
#include "node-capture/source/source.h"

typedef struct Pod {
    Entity *entity;
    int netns_fd;             /* ours; -1: there is none */
    uint64_t netns_inode;     /* of that; 0: there is none */
    bool excluded;            /* by the configuration */
    const char *left_out;     /* why it is not captured, if that is no fault; else NULL */
    bool absent;              /* left out because it does not run */
    char *reason;             /* why it is not captured, if that is a fault; else NULL */
    bool told;                /* its streams know that it cannot be captured */
    uint64_t settle_ns;       /* monotonic: until then streams are not told of `reason`; 0: over */
    uint32_t target_id;       /* 0: not open */
    GPtrArray *interfaces;    /* of NodeInterface *, while it is open */
    NodeInterface *plaintext; /* of TLS; NULL until there is some */
    GPtrArray *streams;       /* of Stream *, borrowed: those that want it */
    SourceTargetStats past;   /* of earlier openings */
} Pod;

Pod *pod_new(const Entity *entity, int netns_fd); /* takes over the descriptor */
void pod_free(void *pod);                         /* a GDestroyNotify */

Remora__V1__TargetState pod_state(const Pod *pod);
char *pod_label(const Pod *pod); /* for messages; to be freed */
/* NULL: it is none any more. A new one goes to the log. */
void pod_set_reason(Pod *pod, const char *reason);
/* A pod that may still get its namespace is none to complain of. */
bool pod_is_missing(const Pod *pod);

/* Tells the stream what is open of the pod, or that nothing can be, and adds it to `streams`. */
void pod_subscribe(Pod *pod, Stream *stream);
/* All its streams, once: until it could be opened again. */
void pod_tell_missing(Pod *pod);
/* That packets from `since_ns` on are missing. What passed before the stream was opened is nothing
 * that it asked for. */
void pod_tell_late(const Pod *pod, Stream *stream, uint64_t since_ns);
