// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/k8s-conversations.h"

#include <epan/conversation_table.h>
#include <epan/packet.h>

#include "plugins/packet-k8s.h"

static const char *conversation_filter(conv_item_t *item _U_, conv_filter_type_e type)
{
    switch (type) {
    case CONV_FT_SRC_ADDRESS:
        return "k8s.src.name";
    case CONV_FT_DST_ADDRESS:
        return "k8s.dst.name";
    case CONV_FT_ANY_ADDRESS:
        return "k8s.name";
    default:
        return CONV_FILTER_INVALID;
    }
}

static const char *endpoint_filter(endpoint_item_t *item _U_, conv_filter_type_e type)
{
    return conversation_filter(NULL, type);
}

static tap_packet_status add_conversation(void *table, packet_info *pinfo, epan_dissect_t *edt _U_,
                                          const void *data, tap_flags_t flags)
{
    static ct_dissector_info_t info = {conversation_filter};
    const K8sTap *tap = data;
    conv_hash_t *hash = table;

    hash->flags = flags;
    add_conversation_table_data(hash, &tap->src, &tap->dst, 0, 0, 1, pinfo->fd->pkt_len,
                                &pinfo->rel_ts, &pinfo->abs_ts, &info, CONVERSATION_NONE);
    return TAP_PACKET_REDRAW;
}

static tap_packet_status add_endpoints(void *table, packet_info *pinfo, epan_dissect_t *edt _U_,
                                       const void *data, tap_flags_t flags)
{
    static et_dissector_info_t info = {endpoint_filter};
    const K8sTap *tap = data;
    conv_hash_t *hash = table;

    hash->flags = flags;
    add_endpoint_table_data(hash, &tap->src, 0, TRUE, 1, pinfo->fd->pkt_len, &info, ENDPOINT_NONE);
    add_endpoint_table_data(hash, &tap->dst, 0, FALSE, 1, pinfo->fd->pkt_len, &info, ENDPOINT_NONE);
    return TAP_PACKET_REDRAW;
}

void k8s_conversations_register(int proto)
{
    const bool hide_ports = true;

    register_conversation_table(proto, hide_ports, add_conversation, add_endpoints);
}
