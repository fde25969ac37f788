// SPDX-License-Identifier: GPL-2.0-or-later
/* What nodes say of connections and sockets: translations and socket owners. */
#include "collector/collector-private.h"

#include <errno.h>

/* Once, until old ones have been forgotten. */
static void note(Collector *collector, NodeStream *node, uint64_t now_ns, const char *what)
{
    if (!node->told_of_facts)
        notes_say(collector->notes, now_ns, COLLECTOR_WARNING, "%s told of %s",
                  node_stream_name(node), what);
    node->told_of_facts = true;
}

static void on_translation(Collector *collector, NodeStream *node,
                           const Remora__V1__Translation *message, uint64_t now_ns)
{
    Translation translation;
    if (translation_from_message(message, &translation) < 0)
        note(collector, node, now_ns, "a connection that cannot be, which is left out");
    else if (translations_add(collector->translations, node->quota, &translation) < 0)
        note(
            collector, node, now_ns,
            "more connections than are kept of one node: the services of further ones are guessed");
    else
        vantage_translated(collector->vantage, &translation);
}

static void on_socket_owner(Collector *collector, NodeStream *node,
                            const Remora__V1__SocketOwner *owner, uint64_t now_ns)
{
    const char *problem;
    int error = socket_table_apply(collector->owners, node->index, owner, &problem);
    if (error == -EINVAL)
        notes_say(collector->notes, now_ns, COLLECTOR_WARNING,
                  "%s told of something that is left out: %s", node_stream_name(node), problem);
    else if (error == -ENOSPC)
        note(collector, node, now_ns,
             "more open sockets than are kept of one node: the further ones stay without "
             "processes");
}

void collector_fact(Collector *collector, NodeStream *node, const Remora__V1__Fact *fact,
                    uint64_t now_ns)
{
    switch (fact->body_case) {
    case REMORA__V1__FACT__BODY_TRANSLATION:
        on_translation(collector, node, fact->translation, now_ns);
        break;
    case REMORA__V1__FACT__BODY_SOCKET_OWNER:
        on_socket_owner(collector, node, fact->socket_owner, now_ns);
        break;
    default:
        break;
    }
}
