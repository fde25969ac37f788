// SPDX-License-Identifier: GPL-2.0-or-later
/* remora.v1.Capture as a node serves it: checks requests and hands them to the node. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "node-capture/server/info.h"
#include "node-capture/server/node.h"

typedef struct ServiceConfig {
    const char *const *endpoints; /* NULL-terminated */
    bool insecure;
    uint32_t snap_length; /* most that a stream may ask for */
    uint64_t queue_bytes; /* of each stream */
    unsigned max_streams;
    bool tls_keys;      /* who asks for TLS secrets is given them */
    bool tls_plaintext; /* likewise the plaintext */
} ServiceConfig;

typedef struct Service Service;

/* `node` and `info` are borrowed; `config` is copied, the endpoints are not kept. NULL with error
 * when an endpoint cannot be served. */
Service *service_new(Node *node, const NodeInfo *info, const ServiceConfig *config, GError **error);
/* Cancels what is left. Before node_free(). NULL is fine; returns NULL. */
Service *service_free(Service *service);
unsigned service_port(const Service *service, unsigned index); /* see rpc_server_port() */
