// SPDX-License-Identifier: GPL-2.0-or-later
/* Messages of a stream in their wire form. */
#pragma once

#include "common/rpc/rpc.h"
#include "node-capture/server/info.h"
#include "node-capture/server/queue.h"
#include "node-capture/server/stream.h"

#define ENCODE_PIECES_MAX (QUEUE_BATCHES_MAX + 1u)

typedef struct EncodedMessage {
    RpcBytes pieces[ENCODE_PIECES_MAX];
    size_t n_pieces;
    uint8_t header[STREAM_HEADER_MAX];
} EncodedMessage;

/* The pieces own what they refer to, but for `header` and the bytes of a fact alone (which belong
 * to `message`): rpc_call_send() copies these. Batches are taken out of `message`. */
void encode_queue_message(QueueMessage *message, uint64_t sequence, const NodeInfo *info,
                          const StreamWish *wish, EncodedMessage *ret);
void encode_hello(uint64_t sequence, const NodeInfo *info, const StreamWish *wish,
                  EncodedMessage *ret);
void encode_end(uint64_t sequence, const char *reason, EncodedMessage *ret);
