// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/entity.h"

#include <glib.h>
#include <string.h>

#include "k8s-enrich/string-pool.h"

#define REPEATED_MAX    10000u
#define TEXT_MAX        1024u
#define LABEL_VALUE_MAX 65536u
#define PLACES_MAX \
    65536u /* an entity's addresses times its ports: each pair is held in the inventory */

/* An entity with all its arrays and strings is one allocation: this, then arrays of pointers,
 * addresses, strings; but for the strings that it shares with others. */
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

static void drop_text(const char *text)
{
    if (strlen(text) >= STRING_POOL_MIN)
        string_pool_drop(text);
}

/* What pack_shared() took. */
static void drop_shared(const Entity *entity)
{
    drop_text(entity->namespace_name);
    drop_text(entity->node);
    drop_text(entity->owner_kind);
    drop_text(entity->owner_name);
    drop_text(entity->service_name);
    for (size_t i = 0; i < entity->n_labels; i++) {
        drop_text(entity->labels[i].key);
        drop_text(entity->labels[i].value);
    }
    for (size_t i = 0; i < entity->n_containers; i++) {
        drop_text(entity->containers[i].name);
        drop_text(entity->containers[i].image);
    }
    for (size_t i = 0; i < entity->n_endpoints; i++)
        drop_text(entity->endpoints[i].node);
    for (size_t i = 0; i < entity->n_ports; i++)
        drop_text(entity->ports[i].name);
}

Entity *entity_unref(const Entity *entity)
{
    if (!entity || !g_atomic_int_dec_and_test(&box_of(entity)->references))
        return NULL;
    if (box_of(entity)->is_sharing) {
        string_pool_lock();
        drop_shared(entity);
        string_pool_unlock();
    }
    g_free(box_of(entity));
    return NULL;
}

uint64_t entity_key(EntityKind kind, const char *uid)
{
    const uint64_t offset_basis = 0xcbf29ce484222325u, prime = 0x100000001b3u;
    uint64_t hash = (offset_basis ^ (uint8_t)kind) * prime;
    for (; *uid; uid++)
        hash = (hash ^ (uint8_t)*uid) * prime;
    return hash ? hash : 1;
}

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
    if (!packer->is_sharing || !text || strlen(text) < STRING_POOL_MIN)
        return pack_text(packer, text);
    return packer->base ? string_pool_take(text) : NULL;
}

static void pack_labels(Packer *packer, const Entity *draft, EntityLabel *labels)
{
    for (size_t i = 0; i < draft->n_labels; i++) {
        EntityLabel label = {pack_shared(packer, draft->labels[i].key),
                             pack_shared(packer, draft->labels[i].value)};
        if (labels)
            labels[i] = label;
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
    EntityLabel *labels = pack_bytes(packer, draft->labels, draft->n_labels * sizeof(EntityLabel));
    EntityContainer *containers =
        pack_bytes(packer, draft->containers, draft->n_containers * sizeof(EntityContainer));
    EntityEndpoint *endpoints =
        pack_bytes(packer, draft->endpoints, draft->n_endpoints * sizeof(EntityEndpoint));
    EntityPort *ports = pack_bytes(packer, draft->ports, draft->n_ports * sizeof(EntityPort));

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
    pack_labels(packer, draft, labels);
    pack_containers(packer, draft, containers);
    pack_endpoints(packer, draft, endpoints);
    for (size_t i = 0; i < draft->n_ports; i++) {
        const char *name = pack_shared(packer, draft->ports[i].name);
        if (ports)
            ports[i].name = name;
    }
}

static Entity *entity_pack(const Entity *draft)
{
    Entity scratch;
    string_pool_lock();
    Packer packer = {.is_sharing = string_pool_has_room()};
    pack_entity(&packer, draft, &scratch);

    EntityBox *box = g_malloc(sizeof *box + packer.used);
    packer = (Packer){.base = (uint8_t *)(box + 1), .is_sharing = packer.is_sharing};
    box->references = 1;
    box->is_sharing = packer.is_sharing;
    pack_entity(&packer, draft, &box->entity);
    string_pool_unlock();
    box->entity.key = entity_key(draft->kind, draft->uid);
    return &box->entity;
}

static bool text_fits(const char *text, size_t limit)
{
    if (!text)
        return true;
    size_t length = strlen(text);
    return length <= limit && g_utf8_validate(text, (gssize)length, NULL);
}

static bool texts_fit(const Entity *draft)
{
    bool ok = text_fits(draft->uid, TEXT_MAX) && text_fits(draft->namespace_name, TEXT_MAX) &&
              text_fits(draft->name, TEXT_MAX) && text_fits(draft->node, TEXT_MAX) &&
              text_fits(draft->owner_kind, TEXT_MAX) && text_fits(draft->owner_name, TEXT_MAX) &&
              text_fits(draft->service_name, TEXT_MAX);
    for (size_t i = 0; ok && i < draft->n_labels; i++)
        ok = text_fits(draft->labels[i].key, TEXT_MAX) &&
             text_fits(draft->labels[i].value, LABEL_VALUE_MAX);
    for (size_t i = 0; ok && i < draft->n_containers; i++)
        ok = text_fits(draft->containers[i].name, TEXT_MAX) &&
             text_fits(draft->containers[i].id, TEXT_MAX) &&
             text_fits(draft->containers[i].image, TEXT_MAX);
    for (size_t i = 0; ok && i < draft->n_ports; i++)
        ok = text_fits(draft->ports[i].name, TEXT_MAX);
    for (size_t i = 0; ok && i < draft->n_endpoints; i++)
        ok = text_fits(draft->endpoints[i].target_uid, TEXT_MAX) &&
             text_fits(draft->endpoints[i].node, TEXT_MAX);
    return ok;
}

static bool counts_fit(const Entity *draft)
{
    if (draft->n_labels > REPEATED_MAX || draft->n_containers > REPEATED_MAX ||
        draft->n_addresses > REPEATED_MAX || draft->n_ports > REPEATED_MAX ||
        draft->n_endpoints > REPEATED_MAX)
        return false;
    size_t places = draft->n_addresses * (draft->n_ports + 1);
    for (size_t i = 0; i < draft->n_endpoints; i++) {
        if (draft->endpoints[i].n_addresses > REPEATED_MAX)
            return false;
        places += draft->endpoints[i].n_addresses;
    }
    return places <= PLACES_MAX;
}

Entity *entity_new(const Entity *draft, const char **ret_error)
{
    if (draft->kind < ENTITY_POD || draft->kind > ENTITY_NAMESPACE)
        *ret_error = "an entity of unknown kind";
    else if (!draft->uid || !*draft->uid)
        *ret_error = "an entity without uid";
    else if (draft->to_ns && draft->to_ns < draft->from_ns)
        *ret_error = "an entity that ends before it begins";
    else if (!counts_fit(draft))
        *ret_error = "an entity with too many of a repeated field";
    else if (!texts_fit(draft))
        *ret_error = "an entity with a text that is too long or not UTF-8";
    else
        return entity_pack(draft);
    return NULL;
}

Entity *entity_with_interval(const Entity *entity, uint64_t from_ns, uint64_t to_ns)
{
    if (entity->from_ns == from_ns && entity->to_ns == to_ns)
        return entity_ref(entity);
    Entity draft = *entity;
    draft.from_ns = from_ns;
    draft.to_ns = to_ns;
    return entity_pack(&draft);
}

static bool same_addresses(const IpAddress *a, size_t n_a, const IpAddress *b, size_t n_b)
{
    return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * sizeof *a) == 0);
}

static bool same_repeated(const Entity *a, const Entity *b)
{
    bool same = a->n_labels == b->n_labels && a->n_containers == b->n_containers &&
                a->n_ports == b->n_ports && a->n_endpoints == b->n_endpoints &&
                same_addresses(a->addresses, a->n_addresses, b->addresses, b->n_addresses);
    for (size_t i = 0; same && i < a->n_labels; i++)
        same = g_str_equal(a->labels[i].key, b->labels[i].key) &&
               g_str_equal(a->labels[i].value, b->labels[i].value);
    for (size_t i = 0; same && i < a->n_containers; i++)
        same = g_str_equal(a->containers[i].name, b->containers[i].name) &&
               g_str_equal(a->containers[i].id, b->containers[i].id) &&
               g_str_equal(a->containers[i].image, b->containers[i].image);
    for (size_t i = 0; same && i < a->n_ports; i++)
        same = a->ports[i].protocol == b->ports[i].protocol &&
               a->ports[i].port == b->ports[i].port &&
               a->ports[i].node_port == b->ports[i].node_port &&
               g_str_equal(a->ports[i].name, b->ports[i].name);
    for (size_t i = 0; same && i < a->n_endpoints; i++)
        same = g_str_equal(a->endpoints[i].target_uid, b->endpoints[i].target_uid) &&
               g_str_equal(a->endpoints[i].node, b->endpoints[i].node) &&
               same_addresses(a->endpoints[i].addresses, a->endpoints[i].n_addresses,
                              b->endpoints[i].addresses, b->endpoints[i].n_addresses);
    return same;
}

bool entity_same(const Entity *a, const Entity *b)
{
    return a->kind == b->kind && a->host_network == b->host_network &&
           g_str_equal(a->uid, b->uid) && g_str_equal(a->namespace_name, b->namespace_name) &&
           g_str_equal(a->name, b->name) && g_str_equal(a->node, b->node) &&
           g_str_equal(a->owner_kind, b->owner_kind) && g_str_equal(a->owner_name, b->owner_name) &&
           g_str_equal(a->service_name, b->service_name) && same_repeated(a, b);
}
