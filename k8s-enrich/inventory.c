// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/inventory.h"

#include <errno.h>
#include <string.h>

#include "common/seeded-hash.h"
#include "k8s-enrich/entity.h"
#include "k8s-enrich/inventory-private.h"
#include "k8s-enrich/shared-pool.h"

static guint name_hash(gconstpointer data)
{
    const Name *name = data;
    return seeded_str_hash(name->name) * 31 + seeded_str_hash(name->namespace_name) + name->kind;
}

static gboolean name_equal(gconstpointer data_a, gconstpointer data_b)
{
    const Name *a = data_a, *b = data_b;
    return a->kind == b->kind && g_str_equal(a->name, b->name) &&
           g_str_equal(a->namespace_name, b->namespace_name);
}

static void name_free(gpointer data)
{
    Name *name = data;
    timeline_free(name->versions);
    timeline_free(name->slices);
    shared_pool_lock();
    shared_pool_drop(name->namespace_name);
    shared_pool_drop(name->name);
    shared_pool_unlock();
    g_free(name);
}

Inventory *inventory_new(void)
{
    Inventory *inventory = g_new0(Inventory, 1);
    inventory->records = records_new();
    inventory->names = g_hash_table_new_full(name_hash, name_equal, name_free, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(inventory->places.seeds); i++)
        inventory->places.seeds[i] = (uint64_t)g_random_int() << 32 | g_random_int();
    return inventory;
}

Inventory *inventory_free(Inventory *inventory)
{
    if (!inventory)
        return NULL;
    g_hash_table_unref(inventory->records);
    g_hash_table_unref(inventory->names);
    place_table_clear(&inventory->places);
    g_free(inventory);
    return NULL;
}

uint64_t inventory_generation(const Inventory *inventory)
{
    return inventory->generation;
}

static Name *name_ref(Inventory *inventory, EntityKind kind, const char *namespace_name,
                      const char *text)
{
    const Name probe = {.kind = kind, .namespace_name = namespace_name, .name = text};
    Name *name = g_hash_table_lookup(inventory->names, &probe);
    if (!name) {
        name = g_new0(Name, 1);
        name->kind = kind;
        shared_pool_lock();
        name->namespace_name = shared_pool_take(namespace_name, strlen(namespace_name) + 1, NULL);
        name->name = shared_pool_take(text, strlen(text) + 1, NULL);
        shared_pool_unlock();
        g_hash_table_add(inventory->names, name);
    }
    name->references++;
    return name;
}

static void name_unref(Inventory *inventory, Name *name)
{
    if (--name->references == 0)
        g_hash_table_remove(inventory->names, name);
}

/* The name by which `entity` refers to something, or NULL. */
static Name *ref_target_name(Inventory *inventory, const Entity *entity)
{
    if (entity->kind == ENTITY_POD && *entity->node)
        return name_ref(inventory, ENTITY_NODE, "", entity->node);
    if (entity->kind == ENTITY_ENDPOINT_SLICE && *entity->service_name)
        return name_ref(inventory, ENTITY_SERVICE, entity->namespace_name, entity->service_name);
    return NULL;
}

/* Everything that an entity holds is visited by one walk, so that taking out undoes exactly what
 * putting in did. */
typedef struct Walk {
    Inventory *inventory;
    const Entity *entity;
    Name *target;
    bool insert;
} Walk;

static void visit_place(const Walk *walk, const PlaceKey *key)
{
    if (walk->insert)
        place_table_insert(&walk->inventory->places, key, walk->entity, walk->target);
    else
        place_table_remove(&walk->inventory->places, key, walk->entity);
}

static void visit_ports(const Walk *walk, const IpAddress *address, PlaceRole role)
{
    for (size_t i = 0; i < walk->entity->n_ports; i++) {
        const EntityPort *port = &walk->entity->ports[i];
        if (port->port)
            visit_place(walk, &(PlaceKey){*address, port->port, port->protocol, role});
    }
}

static void visit_addresses(const Walk *walk, PlaceRole role, bool with_ports)
{
    for (size_t i = 0; i < walk->entity->n_addresses; i++) {
        const IpAddress *address = &walk->entity->addresses[i];
        visit_place(walk, &(PlaceKey){.address = *address, .role = role});
        if (with_ports)
            visit_ports(walk, address, role);
    }
}

static void visit_node_ports(const Walk *walk)
{
    for (size_t i = 0; i < walk->entity->n_ports; i++) {
        const EntityPort *port = &walk->entity->ports[i];
        if (port->node_port)
            visit_place(walk, &(PlaceKey){.port = port->node_port,
                                          .protocol = port->protocol,
                                          .role = PLACE_SERVICE});
    }
}

static void visit_endpoints(const Walk *walk)
{
    for (size_t i = 0; i < walk->entity->n_endpoints; i++) {
        const EntityEndpoint *endpoint = &walk->entity->endpoints[i];
        for (size_t j = 0; j < endpoint->n_addresses; j++)
            visit_place(walk, &(PlaceKey){.address = endpoint->addresses[j], .role = PLACE_SLICE});
    }
}

/* The generation rises when the change is complete. */
static void visit_slices_of_service(const Walk *walk)
{
    if (!walk->target)
        return;
    walk->target->slices_generation = walk->inventory->generation + 1;
    if (walk->insert)
        timeline_insert(&walk->target->slices, walk->entity, NULL);
    else
        timeline_remove(&walk->target->slices, walk->entity);
}

static void visit_own_name(const Walk *walk)
{
    const Entity *entity = walk->entity;
    Name *name = name_ref(walk->inventory, entity->kind, entity->namespace_name, entity->name);
    if (walk->insert) {
        timeline_insert(&name->versions, entity, NULL);
        return; /* the version keeps the reference */
    }
    timeline_remove(&name->versions, entity);
    name_unref(walk->inventory, name);
    name_unref(walk->inventory, name);
}

static void visit_all(const Walk *walk)
{
    switch (walk->entity->kind) {
    case ENTITY_POD:
        if (walk->entity->host_network)
            visit_addresses(walk, PLACE_HOST_POD, true);
        else
            visit_addresses(walk, PLACE_POD, false);
        break;
    case ENTITY_SERVICE:
        visit_addresses(walk, PLACE_SERVICE, true);
        visit_node_ports(walk);
        visit_own_name(walk);
        break;
    case ENTITY_NODE:
        visit_addresses(walk, PLACE_NODE, false);
        visit_own_name(walk);
        break;
    case ENTITY_ENDPOINT_SLICE:
        visit_endpoints(walk);
        visit_slices_of_service(walk);
        break;
    case ENTITY_NAMESPACE:
        break;
    }
}

/* Takes over the caller's reference. */
static void put_version(Inventory *inventory, Record *record, const Entity *entity)
{
    record_insert(record, entity);
    visit_all(&(Walk){inventory, entity, ref_target_name(inventory, entity), true});
}

static void drop_version(Inventory *inventory, Record *record, const Entity *entity)
{
    Name *target = ref_target_name(inventory, entity);
    visit_all(&(Walk){inventory, entity, target, false});
    if (target) { /* this walk's reference, and the one that came with putting it in */
        name_unref(inventory, target);
        name_unref(inventory, target);
    }
    record_remove(record, entity);
}

static void change_interval(Inventory *inventory, Record *record, const Entity *entity,
                            uint64_t from_ns, uint64_t to_ns)
{
    const Entity *changed = entity_with_interval(entity, from_ns, to_ns);
    put_version(inventory, record, changed);
    drop_version(inventory, record, entity);
}

/* Leaves what was before `time_ns`. True if that changed something. */
static bool end_versions(Inventory *inventory, Record *record, uint64_t time_ns)
{
    bool changed = false;
    const Entity *newest;
    while ((newest = record_newest(record)) && newest->from_ns >= time_ns) {
        drop_version(inventory, record, newest);
        changed = true;
    }
    if (newest && (newest->to_ns == 0 || newest->to_ns > time_ns)) {
        change_interval(inventory, record, newest, newest->from_ns, time_ns);
        changed = true;
    }
    return changed;
}

static uint64_t end_of(const Entity *entity)
{
    return entity->to_ns ? entity->to_ns : TIME_OPEN;
}

/* Many nodes tell of the same service or slice, each with its own clock and some late. Whether
 * `entity` is such a repetition; what it says of the newest version's interval is taken over. */
static bool is_repetition(Inventory *inventory, Record *record, const Entity *entity)
{
    for (uint32_t i = 0; i < record->n_versions; i++) {
        const Entity *known = record_versions(record)[i];
        bool is_newest = i == 0;
        bool overlap = entity->from_ns < end_of(known) && known->from_ns < end_of(entity);
        bool near_start =
            known->from_ns <= entity->from_ns || known->from_ns - entity->from_ns <= CLOCK_SLACK_NS;
        if (!overlap || !(is_newest || near_start) || !entity_same(known, entity))
            continue;
        if (is_newest) {
            uint64_t from_ns =
                record->n_versions == 1 ? MIN(known->from_ns, entity->from_ns) : known->from_ns;
            if (from_ns != known->from_ns || entity->to_ns != known->to_ns) {
                change_interval(inventory, record, known, from_ns, entity->to_ns);
                inventory->generation++;
            }
        }
        return true;
    }
    return false;
}

void inventory_add(Inventory *inventory, const Entity *entity)
{
    if (entity->to_ns && entity->to_ns == entity->from_ns) { /* it ended as it began */
        inventory_remove(inventory, entity->kind, entity->uid, entity->from_ns);
        return;
    }
    Record *record = records_find(inventory->records, entity->kind, entity->uid), *fresh = NULL;
    if (!record) {
        record = fresh = record_new();
    } else if (is_repetition(inventory, record, entity)) {
        return;
    }
    entity_ref(entity); /* first: it may be one of the versions that end here */
    end_versions(inventory, record, entity->from_ns);
    put_version(inventory, record, entity);
    if (fresh)
        g_hash_table_add(inventory->records, fresh);
    inventory->generation++;
}

void inventory_remove(Inventory *inventory, EntityKind kind, const char *uid, uint64_t at_ns)
{
    Record *record = records_find(inventory->records, kind, uid);
    if (!record || !end_versions(inventory, record, at_ns))
        return;
    if (record->n_versions == 0)
        g_hash_table_remove(inventory->records, record);
    inventory->generation++;
}

int inventory_apply(Inventory *inventory, const Remora__V1__IdentityEvent *event,
                    const char **ret_error)
{
    if (event->synced)
        return 0;
    if (!event->entity) {
        *ret_error = "an identity event without an entity";
        return -EBADMSG;
    }
    Entity *entity = entity_from_proto(event->entity, ret_error);
    if (!entity)
        return -EBADMSG;
    if (event->deleted && entity->to_ns == 0) {
        *ret_error = "an entity deleted at no known time";
        entity_unref(entity);
        return -EBADMSG;
    }
    if (event->deleted)
        inventory_remove(inventory, entity->kind, entity->uid, entity->to_ns);
    else
        inventory_add(inventory, entity);
    entity_unref(entity);
    return 0;
}

void inventory_forget(Inventory *inventory, uint64_t before_ns)
{
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, inventory->records);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        Record *record = key;
        const Entity *oldest;
        while ((oldest = record_oldest(record)) && end_of(oldest) <= before_ns) {
            drop_version(inventory, record, oldest);
            inventory->generation++;
        }
        if (record->n_versions == 0)
            g_hash_table_iter_remove(&iter);
    }
}

const Entity *inventory_get(const Inventory *inventory, EntityKind kind, const char *uid,
                            uint64_t time_ns)
{
    const Record *record = records_find(inventory->records, kind, uid);
    return record ? record_at(record, time_ns) : NULL;
}

size_t inventory_versions(const Inventory *inventory, EntityKind kind, const char *uid)
{
    const Record *record = records_find(inventory->records, kind, uid);
    return record ? record->n_versions : 0;
}

void inventory_foreach(const Inventory *inventory, uint64_t time_ns,
                       void (*callback)(const Entity *entity, void *userdata), void *userdata)
{
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, inventory->records);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        const Record *record = key;
        const Entity *entity = time_ns ? record_at(record, time_ns) : record_newest(record);
        if (entity)
            callback(entity, userdata);
    }
}

static const Name *service_name(const Inventory *inventory, const Entity *service)
{
    const Name probe = {
        .kind = ENTITY_SERVICE, .namespace_name = service->namespace_name, .name = service->name};
    return g_hash_table_lookup(inventory->names, &probe);
}

uint64_t inventory_slices_generation(const Inventory *inventory, const Entity *service)
{
    const Name *name = service_name(inventory, service);
    return name ? name->slices_generation : 0;
}

void inventory_foreach_slice(const Inventory *inventory, const Entity *service,
                             void (*callback)(const Entity *slice, void *userdata), void *userdata)
{
    const Name *name = service_name(inventory, service);
    const Timeline *slices = name ? name->slices : NULL;
    for (size_t i = 0; i < timeline_count(slices); i++) {
        const Entity *slice = slices->holders[i].entity;
        if (record_newest(records_find(inventory->records, slice->kind, slice->uid)) == slice)
            callback(slice, userdata);
    }
}
