// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/interface.h"

#include <glib.h>

#include "node-capture/tls/tcp-packet.h"

NodeInterface *node_interface_new(const SourceInterface *interface, const char *target_uid,
                                  const char *target)
{
    NodeInterface *copy = g_new0(NodeInterface, 1);
    copy->refs = 1;
    copy->id = interface->id;
    copy->link_type = interface->link_type;
    copy->loopback = interface->loopback;
    copy->device = g_strdup(interface->device);
    copy->target_uid = g_strdup(target_uid);
    copy->target = g_strdup(target);
    return copy;
}

NodeInterface *node_interface_new_plaintext(uint32_t id, const char *target_uid, const char *target)
{
    const SourceInterface interface = {
        .id = id, .device = "plaintext", .link_type = TCP_PACKET_LINK_TYPE};
    NodeInterface *made = node_interface_new(&interface, target_uid, target);
    made->plaintext = true;
    return made;
}

NodeInterface *node_interface_ref(NodeInterface *interface)
{
    g_atomic_int_inc(&interface->refs);
    return interface;
}

NodeInterface *node_interface_unref(NodeInterface *interface)
{
    if (interface && g_atomic_int_dec_and_test(&interface->refs)) {
        g_free(interface->device);
        g_free(interface->target_uid);
        g_free(interface->target);
        g_free(interface);
    }
    return NULL;
}
