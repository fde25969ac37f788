// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/pod-addresses.h"

#include <glib.h>
#include <string.h>

#include "common/seeded-hash.h"

typedef enum Role { ROLE_LOCAL, ROLE_ENDPOINT, ROLES } Role;

/* An address, and how many entities have it. */
typedef struct Held {
    IpAddress address;
    unsigned count;
    uint64_t gone_ns; /* since when nobody has it */
} Held;

struct PodAddresses {
    char *node_name;
    GMutex lock;
    GHashTable *held[ROLES]; /* &address -> Held */
    GHashTable *entities;    /* &entity->key -> Entity: those whose addresses are held */
    uint64_t expire_ns;      /* not before then */
};

/* Whoever may make an EndpointSlice chooses addresses. */
static guint address_hash(gconstpointer address)
{
    return seeded_hash(address, sizeof(IpAddress));
}

static gboolean address_equal(gconstpointer a, gconstpointer b)
{
    return ip_address_equal(a, b);
}

PodAddresses *pod_addresses_new(const char *node_name)
{
    PodAddresses *addresses = g_new0(PodAddresses, 1);
    addresses->node_name = g_strdup(node_name);
    g_mutex_init(&addresses->lock);
    for (unsigned i = 0; i < ROLES; i++) {
        addresses->held[i] = g_hash_table_new_full(address_hash, address_equal, NULL, g_free);
    }
    addresses->entities = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL,
                                                (GDestroyNotify)(void (*)(void))entity_unref);
    return addresses;
}

PodAddresses *pod_addresses_free(PodAddresses *addresses)
{
    if (addresses) {
        for (unsigned i = 0; i < ROLES; i++) {
            g_hash_table_unref(addresses->held[i]);
        }
        g_hash_table_unref(addresses->entities);
        g_mutex_clear(&addresses->lock);
        g_free(addresses->node_name);
        g_free(addresses);
    }
    return NULL;
}

/* ---- Addresses -------------------------------------------------------------------------------*/

static bool hold(PodAddresses *addresses, Role role, const IpAddress *address)
{
    Held *held = g_hash_table_lookup(addresses->held[role], address);
    bool is_new = !held;
    if (is_new) {
        held = g_new0(Held, 1);
        held->address = *address;
        g_hash_table_insert(addresses->held[role], &held->address, held);
    }
    held->count++;
    return is_new;
}

static void release(PodAddresses *addresses, Role role, const IpAddress *address, uint64_t now_ns)
{
    Held *held = g_hash_table_lookup(addresses->held[role], address);
    if (held && held->count > 0 && --held->count == 0) {
        held->gone_ns = now_ns;
    }
}

static void expire(PodAddresses *addresses, uint64_t now_ns)
{
    if (now_ns < addresses->expire_ns) {
        return;
    }
    addresses->expire_ns = now_ns + POD_ADDRESSES_KEPT_NS;
    for (unsigned i = 0; i < ROLES; i++) {
        GHashTableIter iter;
        const Held *held;
        g_hash_table_iter_init(&iter, addresses->held[i]);
        while (g_hash_table_iter_next(&iter, NULL, (void **)&held)) {
            if (held->count == 0 && now_ns >= held->gone_ns + (uint64_t)POD_ADDRESSES_KEPT_NS) {
                g_hash_table_iter_remove(&iter);
            }
        }
    }
}

/* ---- Entities --------------------------------------------------------------------------------*/

typedef void AddressFunction(PodAddresses *addresses, Role role, const IpAddress *address,
                             void *userdata);

static bool is_local_pod(const PodAddresses *addresses, const Entity *entity)
{
    return entity->kind == ENTITY_POD && !entity->host_network &&
           strcmp(entity->node, addresses->node_name) == 0;
}

static void each_address(PodAddresses *addresses, const Entity *entity, AddressFunction *function,
                         void *userdata)
{
    for (size_t i = 0; is_local_pod(addresses, entity) && i < entity->n_addresses; i++) {
        function(addresses, ROLE_LOCAL, &entity->addresses[i], userdata);
    }
    for (size_t i = 0; i < entity->n_endpoints; i++) {
        const EntityEndpoint *endpoint = &entity->endpoints[i];
        for (size_t k = 0; *endpoint->target_uid && k < endpoint->n_addresses; k++) {
            function(addresses, ROLE_ENDPOINT, &endpoint->addresses[k], userdata);
        }
    }
}

static void hold_each(PodAddresses *addresses, Role role, const IpAddress *address, void *is_new)
{
    *(bool *)is_new |= hold(addresses, role, address);
}

static void release_each(PodAddresses *addresses, Role role, const IpAddress *address, void *now_ns)
{
    release(addresses, role, address, *(const uint64_t *)now_ns);
}

bool pod_addresses_apply(PodAddresses *addresses, const Entity *entity, bool deleted,
                         uint64_t now_ns)
{
    if (entity->kind != ENTITY_POD && entity->kind != ENTITY_ENDPOINT_SLICE) {
        return false;
    }
    bool is_new = false;
    g_mutex_lock(&addresses->lock);
    Entity *before = NULL;
    g_hash_table_steal_extended(addresses->entities, &entity->key, NULL, (void **)&before);
    if (!deleted) {
        Entity *now = entity_ref(entity);
        g_hash_table_replace(addresses->entities, &now->key, now);
        each_address(addresses, now, hold_each, &is_new);
    }
    if (before) {
        each_address(addresses, before, release_each, &now_ns);
        entity_unref(before);
    }
    expire(addresses, now_ns);
    g_mutex_unlock(&addresses->lock);
    return is_new;
}

static bool has(PodAddresses *addresses, Role role, const IpAddress *address)
{
    g_mutex_lock(&addresses->lock);
    bool found = g_hash_table_contains(addresses->held[role], address);
    g_mutex_unlock(&addresses->lock);
    return found;
}

bool pod_addresses_is_local(PodAddresses *addresses, const IpAddress *address)
{
    return has(addresses, ROLE_LOCAL, address);
}

bool pod_addresses_is_endpoint(PodAddresses *addresses, const IpAddress *address)
{
    return has(addresses, ROLE_ENDPOINT, address);
}
