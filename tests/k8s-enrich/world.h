// SPDX-License-Identifier: GPL-2.0-or-later
/* Short ways to say entities and look-ups in tests. Times are whole seconds. */
#pragma once

#include <glib.h>

#include "k8s-enrich/inventory.h"

#define SECONDS(n) ((uint64_t)(n)*1000000000u)

static inline IpAddress ip(const char *text)
{
    IpAddress address;
    g_assert_true(ip_address_from_text(&address, text));
    return address;
}

static inline Entity *entity_make(const Entity *draft)
{
    const char *error = NULL;
    Entity *entity = entity_new(draft, &error);
    g_assert_cmpstr(error, ==, NULL);
    g_assert_nonnull(entity);
    return entity;
}

static inline void add(Inventory *inventory, const Entity *draft)
{
    Entity *entity = entity_make(draft);
    inventory_add(inventory, entity);
    entity_unref(entity);
}

/* A pod, service or node named as its uid, with one address ("" for none). */
static inline void add_simple(Inventory *inventory, EntityKind kind, const char *uid,
                              const char *address, uint64_t from_s, uint64_t to_s)
{
    IpAddress parsed = ip(*address ? address : "::");
    add(inventory, &(Entity){.kind = kind,
                             .uid = uid,
                             .namespace_name = kind == ENTITY_NODE ? "" : "shop",
                             .name = uid,
                             .addresses = &parsed,
                             .n_addresses = *address ? 1 : 0,
                             .from_ns = SECONDS(from_s),
                             .to_ns = SECONDS(to_s)});
}

static inline Peer look(const Inventory *inventory, const char *address, uint8_t protocol,
                        uint16_t port, uint64_t time_ns)
{
    Peer peer;
    IpAddress parsed = ip(address);
    inventory_lookup(inventory, &parsed, protocol, port, time_ns, &peer);
    g_assert_cmpuint(peer.from_ns, <=, time_ns);
    g_assert_true(peer.to_ns == 0 || time_ns < peer.to_ns);
    return peer;
}

#define assert_interval(peer, from, to)             \
    do {                                            \
        g_assert_cmpuint((peer).from_ns, ==, from); \
        g_assert_cmpuint((peer).to_ns, ==, to);     \
    } while (0)

#define assert_pod(peer, expected)                       \
    do {                                                 \
        g_assert_cmpint((peer).type, ==, PEER_POD);      \
        g_assert_cmpstr((peer).pod->name, ==, expected); \
    } while (0)
#define assert_service(peer, expected)                       \
    do {                                                     \
        g_assert_cmpint((peer).type, ==, PEER_SERVICE);      \
        g_assert_cmpstr((peer).service->name, ==, expected); \
    } while (0)
#define assert_node(peer, expected)                       \
    do {                                                  \
        g_assert_cmpint((peer).type, ==, PEER_NODE);      \
        g_assert_cmpstr((peer).node->name, ==, expected); \
    } while (0)
