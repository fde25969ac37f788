// SPDX-License-Identifier: GPL-2.0-or-later
/* /metrics, /healthz and /readyz over plain HTTP. No packets come out here, so any address may be
 * served. */
#pragma once

#include <glib.h>

#include "node-capture/server/info.h"
#include "node-capture/server/node.h"

typedef struct Http Http;

/* `address`: HOST:PORT or [IPv6]:PORT; port 0 takes a free one. `node` and `info` are borrowed; the
 * node has been started. NULL with error when the address cannot be served. */
Http *http_new(const char *address, Node *node, const NodeInfo *info, GError **error);
/* Ends all connections. Before node_stop(): the capture thread answers requests. NULL is fine;
 * returns NULL. */
Http *http_free(Http *http);
unsigned http_port(const Http *http);
