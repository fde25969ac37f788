// SPDX-License-Identifier: GPL-2.0-or-later
/* What nodes say of connections and sockets: translations and socket owners. */
#include "collector/collector-private.h"

void collector_fact(Collector *collector, NodeStream *node, const StreamMessage *message,
                    uint64_t now_ns)
{
    switch (message->type) {
    case STREAM_TRANSLATION:
    case STREAM_SOCKET_OWNER:
        break; /* nothing keeps them */
    default:
        break;
    }
}
