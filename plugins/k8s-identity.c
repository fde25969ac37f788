// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/k8s-identity.h"

#include <errno.h>
#include <string.h>

int k8s_identity_direction(const IdentityTlv *tlv)
{
    switch (tlv->scope) {
    case IDENTITY_SRC:
        return K8S_SRC;
    case IDENTITY_DST:
        return K8S_DST;
    default:
        return -1;
    }
}

/* A C string is made of it later. */
static bool text_is_valid(const IdentityTlv *tlv)
{
    return tlv->length == 0 || !memchr(tlv->value, 0, tlv->length);
}

static int take_text(const IdentityTlv *tlv, IdentityTlv *ret)
{
    if (!text_is_valid(tlv))
        return -EBADMSG;
    *ret = *tlv;
    return 0;
}

static int count_attribute(const IdentityTlv *tlv, const K8sEnd *end, unsigned *count)
{
    if (end->entity == 0 || !text_is_valid(tlv))
        return -EBADMSG;
    (*count)++;
    return 0;
}

static int take_end(const IdentityTlv *tlv, K8sEnd *end)
{
    int r;

    switch (tlv->type) {
    case IDENTITY_ENTITY:
        return identity_u64(tlv, &end->entity);
    case IDENTITY_PEER_TYPE:
        return identity_u8(tlv, &end->type);
    case IDENTITY_NAMESPACE:
    case IDENTITY_POD:
    case IDENTITY_SERVICE:
    case IDENTITY_SERVICE_NAMESPACE:
    case IDENTITY_NODE:
    case IDENTITY_OWNER_TYPE:
    case IDENTITY_OWNER_NAME:
    case IDENTITY_CONTAINER:
    case IDENTITY_PROCESS_NAME:
    case IDENTITY_NO_SECRETS:
        return take_text(tlv, &end->text[tlv->type]);
    case IDENTITY_PROCESS_PID:
        r = identity_u32(tlv, &end->pid);
        end->has_pid = r == 0;
        return r;
    case IDENTITY_UID:
        return count_attribute(tlv, end, &end->n_uids);
    case IDENTITY_LABEL:
        return count_attribute(tlv, end, &end->n_labels);
    case IDENTITY_CONTAINER_NAME:
        return count_attribute(tlv, end, &end->n_containers);
    case IDENTITY_CONTAINER_IMAGE:
        if (end->n_containers == 0)
            return -EBADMSG;
        return text_is_valid(tlv) ? 0 : -EBADMSG;
    default:
        return 0; /* a later version's */
    }
}

static int take(const IdentityTlv *tlv, K8sIdentity *identity)
{
    int direction = k8s_identity_direction(tlv);

    if (direction >= 0)
        return take_end(tlv, &identity->end[direction]);
    if (tlv->scope == IDENTITY_PACKET && tlv->type == IDENTITY_FLOW_ID) {
        int r = identity_u64(tlv, &identity->flow_id);

        identity->has_flow_id = r == 0;
        return r;
    }
    if (tlv->scope == IDENTITY_PACKET && tlv->type >= IDENTITY_CLUSTER && tlv->type <= IDENTITY_L7)
        return take_text(tlv, &identity->packet[tlv->type - IDENTITY_CLUSTER]);
    return 0;
}

int k8s_identity_decode(const uint8_t *bytes, size_t length, K8sIdentity *ret)
{
    IdentityReader reader;
    IdentityTlv tlv;
    int r;

    memset(ret, 0, sizeof(*ret));
    r = identity_reader_init(&reader, bytes, length);
    if (r < 0)
        return r;
    ret->flags = reader.flags;
    while ((r = identity_next(&reader, &tlv)) > 0) {
        r = take(&tlv, ret);
        if (r < 0)
            return r;
    }
    return r;
}
