// SPDX-License-Identifier: GPL-2.0-or-later
/* An interface that packets come from, as streams tell it. Immutable and reference counted; may be
 * shared between threads. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "node-capture/source/source.h"

typedef struct NodeInterface {
    int refs;
    uint32_t id;
    uint16_t link_type;
    bool loopback;
    bool plaintext; /* of TLS: packets that were made up for it */
    char *device;
    char *target_uid;
    char *target; /* "namespace/name" */
} NodeInterface;

NodeInterface *node_interface_new(const SourceInterface *interface, const char *target_uid,
                                  const char *target);
/* For the plaintext of a pod's TLS connections. */
NodeInterface *node_interface_new_plaintext(uint32_t id, const char *target_uid,
                                            const char *target);
NodeInterface *node_interface_ref(NodeInterface *interface);
NodeInterface *node_interface_unref(NodeInterface *interface); /* NULL is fine; returns NULL */
