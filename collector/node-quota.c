// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/node-quota.h"

#include <glib.h>
#include <string.h>

#include "common/seeded-hash.h"

#define ENTITY_BYTES 256u /* entity, record, its place in the tables */
#define PLACE_BYTES  96u  /* a pair of address and port under which it is found */
#define POINT_BYTES  256u

/* Of one uid. Versions are dropped without telling which, so each counts as the largest. */
typedef struct Charge {
    EntityKind kind;
    uint64_t versions, largest;
} Charge;

struct NodeQuota {
    uint64_t max_entities, max_entity_bytes, max_points;
    uint64_t entities, entity_bytes, points, point_bytes, facts, fact_bytes;
    GHashTable *charges;               /* kind and uid -> Charge */
    uint64_t notices_ns, sentences_ns; /* until then what was said is made up for */
};

NodeQuota *node_quota_new(uint64_t entities, uint64_t entity_bytes, uint64_t points)
{
    NodeQuota *quota = g_new0(NodeQuota, 1);
    quota->max_entities = entities ? entities : NODE_QUOTA_ENTITIES;
    quota->max_entity_bytes = entity_bytes ? entity_bytes : NODE_QUOTA_ENTITY_BYTES;
    quota->max_points = points ? points : NODE_QUOTA_POINTS;
    quota->charges = g_hash_table_new_full(seeded_str_hash, g_str_equal, g_free, g_free);
    return quota;
}

NodeQuota *node_quota_free(NodeQuota *quota)
{
    if (!quota)
        return NULL;
    g_hash_table_unref(quota->charges);
    g_free(quota);
    return NULL;
}

uint64_t node_quota_entity_cost(const Remora__V1__Entity *entity, size_t message_bytes)
{
    uint64_t addresses = entity->n_addresses;
    for (size_t i = 0; i < entity->n_endpoints; i++)
        addresses += entity->endpoints[i]->n_addresses;
    return ENTITY_BYTES + message_bytes + addresses * (1 + entity->n_ports) * PLACE_BYTES;
}

bool node_quota_entity_fits(const NodeQuota *quota, uint64_t cost)
{
    return quota->entities < quota->max_entities &&
           quota->entity_bytes <= quota->max_entity_bytes &&
           cost <= quota->max_entity_bytes - quota->entity_bytes;
}

static uint64_t charged(const Charge *charge)
{
    return charge->versions * charge->largest;
}

void node_quota_entity_charge(NodeQuota *quota, EntityKind kind, const char *uid, uint64_t cost)
{
    g_autofree char *key = g_strdup_printf("%d %s", kind, uid);
    Charge *charge = g_hash_table_lookup(quota->charges, key);
    if (!charge) {
        charge = g_new0(Charge, 1);
        charge->kind = kind;
        g_hash_table_insert(quota->charges, g_steal_pointer(&key), charge);
    }
    quota->entity_bytes -= charged(charge);
    charge->versions++;
    charge->largest = MAX(charge->largest, cost);
    quota->entity_bytes += charged(charge);
    quota->entities++;
}

void node_quota_recount(NodeQuota *quota, const Inventory *inventory)
{
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, quota->charges);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        Charge *charge = value;
        const char *uid = strchr(key, ' ') + 1;
        uint64_t left = MIN(charge->versions, inventory_versions(inventory, charge->kind, uid));
        quota->entities -= charge->versions - left;
        quota->entity_bytes -= (charge->versions - left) * charge->largest;
        charge->versions = left;
        if (!left)
            g_hash_table_iter_remove(&iter);
    }
}

bool node_quota_point(NodeQuota *quota, size_t name_bytes)
{
    uint64_t cost = POINT_BYTES + name_bytes;
    if (quota->points >= quota->max_points || quota->point_bytes + cost > NODE_QUOTA_POINT_BYTES)
        return false;
    quota->points++;
    quota->point_bytes += cost;
    return true;
}

bool node_quota_fact(NodeQuota *quota, size_t bytes)
{
    if (quota->facts >= NODE_QUOTA_FACTS || bytes > NODE_QUOTA_FACT_BYTES - quota->fact_bytes)
        return false;
    quota->facts++;
    quota->fact_bytes += bytes;
    return true;
}

void node_quota_fact_gone(NodeQuota *quota, size_t bytes)
{
    quota->facts--;
    quota->fact_bytes -= bytes;
}

static bool fits(uint64_t until_ns, uint64_t now_ns, uint64_t every_ns, uint64_t at_once)
{
    return until_ns <= now_ns || until_ns - now_ns <= every_ns * (at_once - 1);
}

bool node_quota_notice(NodeQuota *quota, uint64_t now_ns, bool is_sentence)
{
    if (!fits(quota->notices_ns, now_ns, NODE_QUOTA_NOTICE_EVERY_NS, NODE_QUOTA_NOTICES) ||
        (is_sentence &&
         !fits(quota->sentences_ns, now_ns, NODE_QUOTA_SENTENCE_EVERY_NS, NODE_QUOTA_SENTENCES)))
        return false;
    quota->notices_ns = MAX(quota->notices_ns, now_ns) + NODE_QUOTA_NOTICE_EVERY_NS;
    if (is_sentence)
        quota->sentences_ns = MAX(quota->sentences_ns, now_ns) + NODE_QUOTA_SENTENCE_EVERY_NS;
    return true;
}
