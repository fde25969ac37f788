// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/entities.h"

#include <epan/charsets.h>
#include <epan/packet.h>

/* Entity key -> wmem_tree_t of K8sAttributes by frame. */
static wmem_map_t *entities;

void k8s_entities_register(void)
{
    entities = wmem_map_new_autoreset(wmem_epan_scope(), wmem_file_scope(), wmem_int64_hash,
                                      g_int64_equal);
}

static const char *keep_text(const IdentityTlv *tlv)
{
    return (const char *)get_utf_8_string(wmem_file_scope(), tlv->value, tlv->length);
}

static void keep_attribute(const IdentityTlv *tlv, K8sAttributes *attributes)
{
    switch (tlv->type) {
    case IDENTITY_UID:
        attributes->uid = keep_text(tlv);
        break;
    case IDENTITY_LABEL:
        attributes->labels[attributes->n_labels++] = keep_text(tlv);
        break;
    case IDENTITY_CONTAINER_NAME:
        attributes->containers[attributes->n_containers++].name = keep_text(tlv);
        break;
    case IDENTITY_CONTAINER_IMAGE:
        attributes->containers[attributes->n_containers - 1].image = keep_text(tlv);
        break;
    default:
        break;
    }
}

static wmem_tree_t *versions_of(uint64_t entity)
{
    wmem_tree_t *versions = wmem_map_lookup(entities, &entity);

    if (!versions) {
        versions = wmem_tree_new(wmem_file_scope());
        wmem_map_insert(entities, wmem_memdup(wmem_file_scope(), &entity, sizeof(entity)),
                        versions);
    }
    return versions;
}

void k8s_entities_learn(uint32_t frame, const uint8_t *option, size_t length)
{
    K8sAttributes *attributes[K8S_DIRECTIONS] = {NULL};
    K8sIdentity identity;
    IdentityReader reader;
    IdentityTlv tlv;

    if (k8s_identity_decode(option, length, &identity) < 0)
        return;
    for (unsigned i = 0; i < K8S_DIRECTIONS; i++) {
        const K8sEnd *end = &identity.end[i];

        if (end->n_uids + end->n_labels + end->n_containers == 0)
            continue;
        attributes[i] = wmem_new0(wmem_file_scope(), K8sAttributes);
        attributes[i]->labels = wmem_alloc0_array(wmem_file_scope(), const char *, end->n_labels);
        attributes[i]->containers =
            wmem_alloc0_array(wmem_file_scope(), K8sContainer, end->n_containers);
        wmem_tree_insert32(versions_of(end->entity), frame, attributes[i]);
    }
    /* Decoded without fault just now, so the counts hold. */
    if (identity_reader_init(&reader, option, length) < 0)
        return;
    while (identity_next(&reader, &tlv) > 0) {
        int direction = k8s_identity_direction(&tlv);

        if (direction >= 0 && attributes[direction])
            keep_attribute(&tlv, attributes[direction]);
    }
}

const K8sAttributes *k8s_entities_lookup(uint64_t entity, uint32_t frame)
{
    wmem_tree_t *versions = wmem_map_lookup(entities, &entity);

    return versions ? wmem_tree_lookup32_le(versions, frame) : NULL;
}
