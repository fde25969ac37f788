// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/entity-pack.h"

#include <glib.h>
#include <string.h>

#include "k8s-enrich/shared-pool.h"

/* A shorter text takes less room where it is used. */
#define SHARED_MIN 5u

/* An entity with all its arrays and strings is one allocation: this, then arrays of pointers,
 * addresses, strings; but for what it shares with others, if `is_sharing`: longer texts that they
 * are likely to have as well, and its labels and ports, as arrays with all their texts. */
typedef struct EntityBox {
    gint references;
    bool is_sharing;
    Entity entity;
} EntityBox;

static EntityBox *box_of(const Entity *entity)
{
    return (EntityBox *)((char *)entity - offsetof(EntityBox, entity));
}

Entity *entity_ref(const Entity *entity)
{
    g_atomic_int_inc(&box_of(entity)->references);
    return (Entity *)entity;
}

/* ---- What is shared --------------------------------------------------------------------------*/

static const char *take_any_text(const char *text)
{
    return text && *text ? shared_pool_take(text, strlen(text) + 1, NULL) : "";
}

static void drop_any_text(const char *text)
{
    if (*text)
        shared_pool_drop(text);
}

static void drop_label_texts(const EntityLabel *labels, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        drop_any_text(labels[i].key);
        drop_any_text(labels[i].value);
    }
}

static void drop_port_texts(const EntityPort *ports, size_t n)
{
    for (size_t i = 0; i < n; i++)
        drop_any_text(ports[i].name);
}

/* As all its texts are shared, arrays with the same content have the same bytes. A shared array has
 * a reference to each of its texts; the one that was just taken for an array that is known already
 * is given back. */
static const EntityLabel *take_labels(const EntityLabel *from, size_t n)
{
    if (n == 0)
        return NULL;
    g_autofree EntityLabel *labels = g_new0(EntityLabel, n);
    for (size_t i = 0; i < n; i++)
        labels[i] = (EntityLabel){take_any_text(from[i].key), take_any_text(from[i].value)};
    bool is_new;
    const EntityLabel *taken = shared_pool_take(labels, n * sizeof *labels, &is_new);
    if (!is_new)
        drop_label_texts(labels, n);
    return taken;
}

static const EntityPort *take_ports(const EntityPort *from, size_t n)
{
    if (n == 0)
        return NULL;
    g_autofree EntityPort *ports = g_new0(EntityPort, n); /* the padding counts as well */
    for (size_t i = 0; i < n; i++) {
        ports[i].protocol = from[i].protocol;
        ports[i].port = from[i].port;
        ports[i].node_port = from[i].node_port;
        ports[i].name = take_any_text(from[i].name);
    }
    bool is_new;
    const EntityPort *taken = shared_pool_take(ports, n * sizeof *ports, &is_new);
    if (!is_new)
        drop_port_texts(ports, n);
    return taken;
}

static void drop_text(const char *text)
{
    if (strlen(text) >= SHARED_MIN)
        shared_pool_drop(text);
}

/* All that pack_entity() took. */
static void drop_shared(const Entity *entity)
{
    drop_text(entity->namespace_name);
    drop_text(entity->node);
    drop_text(entity->owner_kind);
    drop_text(entity->owner_name);
    drop_text(entity->service_name);
    for (size_t i = 0; i < entity->n_containers; i++) {
        drop_text(entity->containers[i].name);
        drop_text(entity->containers[i].image);
    }
    for (size_t i = 0; i < entity->n_endpoints; i++)
        drop_text(entity->endpoints[i].node);
    if (entity->n_labels) {
        if (shared_pool_is_last(entity->labels))
            drop_label_texts(entity->labels, entity->n_labels);
        shared_pool_drop(entity->labels);
    }
    if (entity->n_ports) {
        if (shared_pool_is_last(entity->ports))
            drop_port_texts(entity->ports, entity->n_ports);
        shared_pool_drop(entity->ports);
    }
}

Entity *entity_unref(const Entity *entity)
{
    if (!entity || !g_atomic_int_dec_and_test(&box_of(entity)->references))
        return NULL;
    if (box_of(entity)->is_sharing) {
        shared_pool_lock();
        drop_shared(entity);
        shared_pool_unlock();
    }
    g_free(box_of(entity));
    return NULL;
}

/* ---- Packing ---------------------------------------------------------------------------------*/

/* Copies into the one allocation, or only counts while there is none yet (base NULL), so that size
 * and content cannot disagree. */
typedef struct Packer {
    uint8_t *base;
    size_t used;
    bool is_sharing;
} Packer;

static void *pack_bytes(Packer *packer, const void *bytes, size_t length)
{
    uint8_t *copy = packer->base && length ? packer->base + packer->used : NULL;
    if (copy)
        memcpy(copy, bytes, length);
    packer->used += length;
    return copy;
}

static const char *pack_text(Packer *packer, const char *text)
{
    if (!text || !*text)
        return "";
    return pack_bytes(packer, text, strlen(text) + 1);
}

/* A text that other entities are likely to have as well. */
static const char *pack_shared(Packer *packer, const char *text)
{
    if (!packer->is_sharing || !text || strlen(text) < SHARED_MIN)
        return pack_text(packer, text);
    return packer->base ? shared_pool_take(text, strlen(text) + 1, NULL) : NULL;
}

static void pack_label_texts(Packer *packer, const Entity *draft, EntityLabel *labels)
{
    for (size_t i = 0; i < draft->n_labels; i++) {
        EntityLabel label = {pack_text(packer, draft->labels[i].key),
                             pack_text(packer, draft->labels[i].value)};
        if (labels)
            labels[i] = label;
    }
}

static void pack_port_texts(Packer *packer, const Entity *draft, EntityPort *ports)
{
    for (size_t i = 0; i < draft->n_ports; i++) {
        const char *name = pack_text(packer, draft->ports[i].name);
        if (ports)
            ports[i].name = name;
    }
}

static void pack_containers(Packer *packer, const Entity *draft, EntityContainer *containers)
{
    for (size_t i = 0; i < draft->n_containers; i++) {
        EntityContainer container = {pack_shared(packer, draft->containers[i].name),
                                     pack_text(packer, draft->containers[i].id),
                                     pack_shared(packer, draft->containers[i].image)};
        if (containers)
            containers[i] = container;
    }
}

static void pack_endpoints(Packer *packer, const Entity *draft, EntityEndpoint *endpoints)
{
    for (size_t i = 0; i < draft->n_endpoints; i++) {
        const EntityEndpoint *from = &draft->endpoints[i];
        EntityEndpoint endpoint = *from;
        endpoint.addresses =
            pack_bytes(packer, from->addresses, from->n_addresses * sizeof(IpAddress));
        endpoint.target_uid = pack_text(packer, from->target_uid);
        endpoint.node = pack_shared(packer, from->node);
        if (endpoints)
            endpoints[i] = endpoint;
    }
}

/* What needs alignment comes first; addresses and strings need none. */
static void pack_entity(Packer *packer, const Entity *draft, Entity *out)
{
    size_t n_own_labels = packer->is_sharing ? 0 : draft->n_labels;
    size_t n_own_ports = packer->is_sharing ? 0 : draft->n_ports;
    EntityLabel *labels = pack_bytes(packer, draft->labels, n_own_labels * sizeof(EntityLabel));
    EntityContainer *containers =
        pack_bytes(packer, draft->containers, draft->n_containers * sizeof(EntityContainer));
    EntityEndpoint *endpoints =
        pack_bytes(packer, draft->endpoints, draft->n_endpoints * sizeof(EntityEndpoint));
    EntityPort *ports = pack_bytes(packer, draft->ports, n_own_ports * sizeof(EntityPort));

    *out = *draft;
    out->labels = labels;
    out->containers = containers;
    out->endpoints = endpoints;
    out->ports = ports;
    out->addresses = pack_bytes(packer, draft->addresses, draft->n_addresses * sizeof(IpAddress));
    out->uid = pack_text(packer, draft->uid);
    out->namespace_name = pack_shared(packer, draft->namespace_name);
    out->name = pack_text(packer, draft->name);
    out->node = pack_shared(packer, draft->node);
    out->owner_kind = pack_shared(packer, draft->owner_kind);
    out->owner_name = pack_shared(packer, draft->owner_name);
    out->service_name = pack_shared(packer, draft->service_name);
    pack_containers(packer, draft, containers);
    pack_endpoints(packer, draft, endpoints);
    if (!packer->is_sharing) {
        pack_label_texts(packer, draft, labels);
        pack_port_texts(packer, draft, ports);
    } else if (packer->base) {
        out->labels = take_labels(draft->labels, draft->n_labels);
        out->ports = take_ports(draft->ports, draft->n_ports);
    }
}

Entity *entity_pack(const Entity *draft)
{
    Entity scratch;
    shared_pool_lock();
    Packer packer = {.is_sharing = shared_pool_has_room()};
    pack_entity(&packer, draft, &scratch);

    EntityBox *box = g_malloc(sizeof *box + packer.used);
    packer = (Packer){.base = (uint8_t *)(box + 1), .is_sharing = packer.is_sharing};
    box->references = 1;
    box->is_sharing = packer.is_sharing;
    pack_entity(&packer, draft, &box->entity);
    shared_pool_unlock();
    box->entity.key = entity_key(draft->kind, draft->uid);
    return &box->entity;
}
