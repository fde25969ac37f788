// SPDX-License-Identifier: GPL-2.0-or-later
/* What channels and streams share. Private to common/rpc. */
#pragma once

#include "common/rpc/core.h"

grpc_completion_queue *rpc_client_queue(RpcClient *client);

/* A call on a connection that is up or about to be tried, never on one that is known to have
 * failed: each call is an attempt of its own. */
grpc_call *rpc_channel_begin(RpcChannel *channel, grpc_completion_queue *queue, const char *path,
                             gpr_timespec deadline);
RpcClient *rpc_channel_client(RpcChannel *channel);
