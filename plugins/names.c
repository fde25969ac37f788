// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/names.h"

#include <epan/charsets.h>
#include <epan/to_str.h>

const char *k8s_text(packet_info *pinfo, const IdentityTlv *tlv)
{
    if (tlv->length == 0)
        return NULL;
    return (const char *)get_utf_8_string(pinfo->pool, tlv->value, tlv->length);
}

const IdentityTlv *k8s_service_namespace(const K8sEnd *end)
{
    const IdentityTlv *own = &end->text[IDENTITY_SERVICE_NAMESPACE];

    return own->length > 0 ? own : &end->text[IDENTITY_NAMESPACE];
}

const char *k8s_qualified_name(packet_info *pinfo, const IdentityTlv *namespace,
                               const IdentityTlv *name)
{
    if (namespace->length == 0)
        return k8s_text(pinfo, name);
    return wmem_strdup_printf(pinfo->pool, "%s/%s", k8s_text(pinfo, namespace),
                              k8s_text(pinfo, name));
}

static const char *address_name(packet_info *pinfo, K8sDirection direction)
{
    const address *net = direction == K8S_SRC ? &pinfo->net_src : &pinfo->net_dst;
    const address *any = direction == K8S_SRC ? &pinfo->src : &pinfo->dst;
    const address *known = net->type != AT_NONE ? net : any;

    return known->type != AT_NONE ? address_to_str(pinfo->pool, known) : NULL;
}

const char *k8s_end_name(packet_info *pinfo, const K8sEnd *end, K8sDirection direction)
{
    const IdentityTlv *text = end->text;

    if (end->type == IDENTITY_PEER_POD && text[IDENTITY_POD].length > 0)
        return k8s_qualified_name(pinfo, &text[IDENTITY_NAMESPACE], &text[IDENTITY_POD]);
    if (end->type == IDENTITY_PEER_SERVICE && text[IDENTITY_SERVICE].length > 0)
        return k8s_qualified_name(pinfo, k8s_service_namespace(end), &text[IDENTITY_SERVICE]);
    if (end->type == IDENTITY_PEER_NODE && text[IDENTITY_NODE].length > 0)
        return k8s_text(pinfo, &text[IDENTITY_NODE]);
    return address_name(pinfo, direction);
}
