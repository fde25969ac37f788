// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/entity.h"

#include <glib.h>
#include <string.h>

#include "k8s-enrich/entity-pack.h"

#define REPEATED_MAX    10000u
#define TEXT_MAX        1024u
#define LABEL_VALUE_MAX 65536u
#define PLACES_MAX \
    65536u /* an entity's addresses times its ports: each pair is held in the inventory */

uint64_t entity_key(EntityKind kind, const char *uid)
{
    const uint64_t offset_basis = 0xcbf29ce484222325u, prime = 0x100000001b3u;
    uint64_t hash = (offset_basis ^ (uint8_t)kind) * prime;
    for (; *uid; uid++)
        hash = (hash ^ (uint8_t)*uid) * prime;
    return hash ? hash : 1;
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
    for (size_t i = 0; same && a->labels != b->labels && i < a->n_labels; i++)
        same = g_str_equal(a->labels[i].key, b->labels[i].key) &&
               g_str_equal(a->labels[i].value, b->labels[i].value);
    for (size_t i = 0; same && i < a->n_containers; i++)
        same = g_str_equal(a->containers[i].name, b->containers[i].name) &&
               g_str_equal(a->containers[i].id, b->containers[i].id) &&
               g_str_equal(a->containers[i].image, b->containers[i].image);
    for (size_t i = 0; same && a->ports != b->ports && i < a->n_ports; i++)
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
