// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/entity-draft.h"

#include <string.h>

#include "k8s-enrich/json-member.h"

#define SECOND_NS UINT64_C(1000000000)

void entity_draft_init(EntityDraft *draft)
{
    *draft = (EntityDraft){0};
    draft->labels = g_array_new(FALSE, TRUE, sizeof(EntityLabel));
    draft->containers = g_array_new(FALSE, TRUE, sizeof(EntityContainer));
    draft->ports = g_array_new(FALSE, TRUE, sizeof(EntityPort));
    draft->addresses = g_array_new(FALSE, TRUE, sizeof(IpAddress));
    draft->endpoints = g_array_new(FALSE, TRUE, sizeof(EntityEndpoint));
    draft->endpoint_addresses = g_array_new(FALSE, TRUE, sizeof(IpAddress));
}

void entity_draft_clear(EntityDraft *draft)
{
    g_array_unref(draft->labels);
    g_array_unref(draft->containers);
    g_array_unref(draft->ports);
    g_array_unref(draft->addresses);
    g_array_unref(draft->endpoints);
    g_array_unref(draft->endpoint_addresses);
    owner_clear(&draft->owner);
    g_free(draft->problem);
}

void entity_draft_reset(EntityDraft *draft)
{
    draft->entity = (Entity){0};
    g_array_set_size(draft->labels, 0);
    g_array_set_size(draft->containers, 0);
    g_array_set_size(draft->ports, 0);
    g_array_set_size(draft->addresses, 0);
    g_array_set_size(draft->endpoints, 0);
    g_array_set_size(draft->endpoint_addresses, 0);
    owner_clear(&draft->owner);
    g_clear_pointer(&draft->problem, g_free);
}

Entity *entity_draft_finish(EntityDraft *draft)
{
    Entity *entity = &draft->entity;
    size_t used = 0;
    for (guint i = 0; i < draft->endpoints->len; i++) {
        EntityEndpoint *endpoint = &g_array_index(draft->endpoints, EntityEndpoint, i);
        if (endpoint->n_addresses > 0)
            endpoint->addresses = &g_array_index(draft->endpoint_addresses, IpAddress, used);
        used += endpoint->n_addresses;
    }
    entity->labels = (const EntityLabel *)draft->labels->data;
    entity->n_labels = draft->labels->len;
    entity->containers = (const EntityContainer *)draft->containers->data;
    entity->n_containers = draft->containers->len;
    entity->ports = (const EntityPort *)draft->ports->data;
    entity->n_ports = draft->ports->len;
    entity->addresses = (const IpAddress *)draft->addresses->data;
    entity->n_addresses = draft->addresses->len;
    entity->endpoints = (const EntityEndpoint *)draft->endpoints->data;
    entity->n_endpoints = draft->endpoints->len;

    const char *error = NULL;
    Entity *finished = draft->problem ? NULL : entity_new(entity, &error);
    if (error)
        draft->problem = g_strdup(error);
    return finished;
}

/* Dual-stack objects repeat in one field what stands in another: each address once. */
void entity_draft_address(EntityDraft *draft, const char *text, const char *parent, const char *key)
{
    IpAddress address;
    if (!*text || !parse_address(text, parent, key, &address, &draft->problem))
        return;
    for (guint i = 0; i < draft->addresses->len; i++)
        if (ip_address_equal(&g_array_index(draft->addresses, IpAddress, i), &address))
            return;
    g_array_append_val(draft->addresses, address);
}

void entity_draft_owner(EntityDraft *draft, Owner owner)
{
    owner_clear(&draft->owner);
    draft->owner = owner;
    draft->entity.owner_kind = owner.kind;
    draft->entity.owner_name = owner.name;
}

/* The end of the whole second that a time of the API stands for. */
static uint64_t end_of_second(uint64_t time_ns)
{
    return time_ns % SECOND_NS == 0 ? time_ns + SECOND_NS : time_ns;
}

void entity_draft_end(EntityDraft *draft, uint64_t end_ns)
{
    if (end_ns == 0)
        g_array_set_size(draft->addresses, 0);
    draft->entity.to_ns = end_ns ? MAX(end_of_second(end_ns), draft->entity.from_ns) : 0;
}

const char *container_id_bare(const char *id)
{
    const char *separator = strstr(id, "://");
    return separator ? separator + 3 : id;
}
