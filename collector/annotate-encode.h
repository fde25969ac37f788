// SPDX-License-Identifier: GPL-2.0-or-later
/* Who is at both ends of a packet -> pcapng options. Internal to annotate.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/capture-point.h"
#include "collector/socket-table.h"
#include "k8s-enrich/inventory.h"

typedef struct NamedEnd {
    PeerType type;
    const Entity *entity;  /* pod, service or node; NULL where nothing of Kubernetes is known */
    const Entity *service; /* that was called at this end, or NULL */
    const Entity *node;    /* of PEER_NODE, for pods if known; or NULL */
    bool is_held;          /* by `holder` */
    SocketHolder holder;
} NamedEnd;

typedef struct Names {
    NamedEnd src, dst;
    const CapturePoint *point; /* or NULL */
    const Entity *capture_pod; /* or NULL */
    const char *cluster;       /* where the point names none */
    uint64_t flow_id;          /* 0: none */
    bool secrets_asked;        /* those of TLS connections */
} Names;

enum { NAMES_SRC = 1, NAMES_DST = 2 };

/* Writes the identity option, with the attributes of the ends in `attributes` (NAMES_*), and the
 * comment if wanted. Returns the length, padded; *ret_overflow (may be NULL) tells that something
 * had no room and was left out. */
size_t names_encode(const Names *names, unsigned attributes, bool comment, uint8_t *out,
                    size_t capacity, bool *ret_overflow);
