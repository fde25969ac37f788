// SPDX-License-Identifier: GPL-2.0-or-later
/* Entities as remora.v1.Entity. */
#include "k8s-enrich/address.h"
#include "k8s-enrich/entity.h"

#include <glib.h>

/* An Entity whose arrays are built here and whose strings are the message's. */
typedef struct Draft {
    Entity entity;
    EntityLabel *labels;
    EntityContainer *containers;
    EntityPort *ports;
    IpAddress *addresses; /* the entity's own, then those of each endpoint */
    EntityEndpoint *endpoints;
} Draft;

static void draft_clear(Draft *draft)
{
    g_free(draft->labels);
    g_free(draft->containers);
    g_free(draft->ports);
    g_free(draft->addresses);
    g_free(draft->endpoints);
}

static void draft_labels(Draft *draft, const Remora__V1__Entity *proto)
{
    draft->labels = g_new(EntityLabel, proto->n_labels);
    for (size_t i = 0; i < proto->n_labels; i++)
        draft->labels[i] = (EntityLabel){proto->labels[i]->key, proto->labels[i]->value};
    draft->entity.labels = draft->labels;
    draft->entity.n_labels = proto->n_labels;
}

static void draft_containers(Draft *draft, const Remora__V1__Entity *proto)
{
    draft->containers = g_new(EntityContainer, proto->n_containers);
    for (size_t i = 0; i < proto->n_containers; i++) {
        const Remora__V1__Container *from = proto->containers[i];
        draft->containers[i] = (EntityContainer){from->name, from->id, from->image};
    }
    draft->entity.containers = draft->containers;
    draft->entity.n_containers = proto->n_containers;
}

static bool draft_ports(Draft *draft, const Remora__V1__Entity *proto)
{
    draft->ports = g_new0(EntityPort, proto->n_ports);
    for (size_t i = 0; i < proto->n_ports; i++) {
        const Remora__V1__Port *from = proto->ports[i];
        if (from->protocol > UINT8_MAX || from->port > UINT16_MAX || from->node_port > UINT16_MAX)
            return false;
        draft->ports[i] = (EntityPort){(uint8_t)from->protocol, (uint16_t)from->port,
                                       (uint16_t)from->node_port, from->name};
    }
    draft->entity.ports = draft->ports;
    draft->entity.n_ports = proto->n_ports;
    return true;
}

static bool read_addresses(IpAddress *out, const ProtobufCBinaryData *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!ip_address_from_bytes(&out[i], from[i].data, from[i].len))
            return false;
    return true;
}

static bool draft_addresses(Draft *draft, const Remora__V1__Entity *proto)
{
    size_t total = proto->n_addresses;
    for (size_t i = 0; i < proto->n_endpoints; i++)
        total += proto->endpoints[i]->n_addresses;
    draft->addresses = g_new(IpAddress, total + 1); /* never NULL */
    draft->endpoints = g_new(EntityEndpoint, proto->n_endpoints);

    IpAddress *next = draft->addresses;
    if (!read_addresses(next, proto->addresses, proto->n_addresses))
        return false;
    draft->entity.addresses = next;
    draft->entity.n_addresses = proto->n_addresses;
    next += proto->n_addresses;
    for (size_t i = 0; i < proto->n_endpoints; i++) {
        const Remora__V1__Endpoint *from = proto->endpoints[i];
        if (!read_addresses(next, from->addresses, from->n_addresses))
            return false;
        draft->endpoints[i] =
            (EntityEndpoint){next, from->n_addresses, from->target_uid, from->node};
        next += from->n_addresses;
    }
    draft->entity.endpoints = draft->endpoints;
    draft->entity.n_endpoints = proto->n_endpoints;
    return true;
}

Entity *entity_from_proto(const Remora__V1__Entity *proto, const char **ret_error)
{
    Entity *entity = NULL;
    Draft draft = {.entity = {
                       .kind = (EntityKind)proto->kind,
                       .uid = proto->uid,
                       .namespace_name = proto->namespace_,
                       .name = proto->name,
                       .node = proto->node,
                       .owner_kind = proto->owner_kind,
                       .owner_name = proto->owner_name,
                       .service_name = proto->service_name,
                       .host_network = proto->host_network,
                       .from_ns = proto->from_unix_ns,
                       .to_ns = proto->to_unix_ns,
                   }};
    draft_labels(&draft, proto);
    draft_containers(&draft, proto);
    if (!draft_ports(&draft, proto))
        *ret_error = "an entity with a port or protocol out of range";
    else if (!draft_addresses(&draft, proto))
        *ret_error = "an entity with an address that is not 4 or 16 bytes long";
    else
        entity = entity_new(&draft.entity, ret_error);
    draft_clear(&draft);
    return entity;
}

/* All of a message is one allocation, handed out from front to back; every part's size is a
 * multiple of its alignment's. */
typedef struct Arena {
    char *next;
} Arena;

static void *arena_take(Arena *arena, size_t n, size_t size)
{
    void *taken = arena->next;
    arena->next += n * size;
    return n ? taken : NULL;
}

static size_t proto_size(const Entity *entity)
{
    size_t size = sizeof(Remora__V1__Entity);
    size += entity->n_labels * (sizeof(void *) + sizeof(Remora__V1__Label));
    size += entity->n_containers * (sizeof(void *) + sizeof(Remora__V1__Container));
    size += entity->n_ports * (sizeof(void *) + sizeof(Remora__V1__Port));
    size += entity->n_endpoints * (sizeof(void *) + sizeof(Remora__V1__Endpoint));
    size += entity->n_addresses * sizeof(ProtobufCBinaryData);
    for (size_t i = 0; i < entity->n_endpoints; i++)
        size += entity->endpoints[i].n_addresses * sizeof(ProtobufCBinaryData);
    return size;
}

static ProtobufCBinaryData *proto_addresses(Arena *arena, const IpAddress *addresses, size_t n)
{
    ProtobufCBinaryData *out = arena_take(arena, n, sizeof *out);
    for (size_t i = 0; i < n; i++) {
        size_t skip = ip_address_is_ipv4(&addresses[i]) ? 12 : 0;
        out[i] = (ProtobufCBinaryData){16 - skip, (uint8_t *)addresses[i].bytes + skip};
    }
    return out;
}

static void proto_labels(Arena *arena, const Entity *entity, Remora__V1__Entity *proto)
{
    proto->labels = arena_take(arena, entity->n_labels, sizeof(void *));
    Remora__V1__Label *labels = arena_take(arena, entity->n_labels, sizeof *labels);
    for (size_t i = 0; i < entity->n_labels; i++) {
        remora__v1__label__init(&labels[i]);
        labels[i].key = (char *)entity->labels[i].key;
        labels[i].value = (char *)entity->labels[i].value;
        proto->labels[i] = &labels[i];
    }
    proto->n_labels = entity->n_labels;
}

static void proto_containers(Arena *arena, const Entity *entity, Remora__V1__Entity *proto)
{
    proto->containers = arena_take(arena, entity->n_containers, sizeof(void *));
    Remora__V1__Container *containers = arena_take(arena, entity->n_containers, sizeof *containers);
    for (size_t i = 0; i < entity->n_containers; i++) {
        remora__v1__container__init(&containers[i]);
        containers[i].name = (char *)entity->containers[i].name;
        containers[i].id = (char *)entity->containers[i].id;
        containers[i].image = (char *)entity->containers[i].image;
        proto->containers[i] = &containers[i];
    }
    proto->n_containers = entity->n_containers;
}

static void proto_ports(Arena *arena, const Entity *entity, Remora__V1__Entity *proto)
{
    proto->ports = arena_take(arena, entity->n_ports, sizeof(void *));
    Remora__V1__Port *ports = arena_take(arena, entity->n_ports, sizeof *ports);
    for (size_t i = 0; i < entity->n_ports; i++) {
        remora__v1__port__init(&ports[i]);
        ports[i].protocol = entity->ports[i].protocol;
        ports[i].port = entity->ports[i].port;
        ports[i].node_port = entity->ports[i].node_port;
        ports[i].name = (char *)entity->ports[i].name;
        proto->ports[i] = &ports[i];
    }
    proto->n_ports = entity->n_ports;
}

static void proto_endpoints(Arena *arena, const Entity *entity, Remora__V1__Entity *proto)
{
    proto->endpoints = arena_take(arena, entity->n_endpoints, sizeof(void *));
    Remora__V1__Endpoint *endpoints = arena_take(arena, entity->n_endpoints, sizeof *endpoints);
    for (size_t i = 0; i < entity->n_endpoints; i++) {
        const EntityEndpoint *from = &entity->endpoints[i];
        remora__v1__endpoint__init(&endpoints[i]);
        endpoints[i].target_uid = (char *)from->target_uid;
        endpoints[i].node = (char *)from->node;
        endpoints[i].addresses = proto_addresses(arena, from->addresses, from->n_addresses);
        endpoints[i].n_addresses = from->n_addresses;
        proto->endpoints[i] = &endpoints[i];
    }
    proto->n_endpoints = entity->n_endpoints;
}

Remora__V1__Entity *entity_to_proto(const Entity *entity)
{
    Arena arena = {g_malloc(proto_size(entity))};
    Remora__V1__Entity *proto = arena_take(&arena, 1, sizeof *proto);
    remora__v1__entity__init(proto);
    proto->kind = (Remora__V1__EntityKind)entity->kind;
    proto->uid = (char *)entity->uid;
    proto->namespace_ = (char *)entity->namespace_name;
    proto->name = (char *)entity->name;
    proto->node = (char *)entity->node;
    proto->owner_kind = (char *)entity->owner_kind;
    proto->owner_name = (char *)entity->owner_name;
    proto->service_name = (char *)entity->service_name;
    proto->host_network = entity->host_network;
    proto->from_unix_ns = entity->from_ns;
    proto->to_unix_ns = entity->to_ns;
    proto_labels(&arena, entity, proto);
    proto_containers(&arena, entity, proto);
    proto_ports(&arena, entity, proto);
    proto_endpoints(&arena, entity, proto);
    proto->addresses = proto_addresses(&arena, entity->addresses, entity->n_addresses);
    proto->n_addresses = entity->n_addresses;
    return proto;
}

void entity_proto_free(Remora__V1__Entity *proto)
{
    g_free(proto);
}
