// SPDX-License-Identifier: GPL-2.0-or-later
/* What nodes say of connections and sockets: translations and socket owners. */
#include "collector/collector-private.h"

#include <errno.h>

static void on_socket_owner(Collector *collector, NodeStream *node,
                            const Remora__V1__SocketOwner *owner, uint64_t now_ns)
{
    const char *problem;
    int error = socket_table_apply(collector->owners, node->index, owner, &problem);
    if (error == -EINVAL)
        notes_say(collector->notes, now_ns, COLLECTOR_WARNING,
                  "%s told of something that is left out: %s", node_stream_name(node), problem);
    if (error != -ENOSPC || node->told_of_facts)
        return;
    node->told_of_facts = true;
    notes_say(collector->notes, now_ns, COLLECTOR_WARNING,
              "%s told of more open sockets than are kept of one node: the further ones stay "
              "without processes",
              node_stream_name(node));
}

void collector_fact(Collector *collector, NodeStream *node, const StreamMessage *message,
                    uint64_t now_ns)
{
    switch (message->type) {
    case STREAM_SOCKET_OWNER:
        on_socket_owner(collector, node, message->response->socket_owner, now_ns);
        break;
    case STREAM_TRANSLATION:
        break; /* nothing keeps them */
    default:
        break;
    }
}
