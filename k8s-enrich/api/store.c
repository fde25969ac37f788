// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "k8s-enrich/api/watch-private.h"
#include "k8s-enrich/entity.h"

/* An entity as it was told. */
typedef struct Known {
    Entity *entity;
    uint32_t generation;
    uint8_t resource;
} Known;

struct Store {
    ApiWatch *watch;
    JobOwners *jobs;
    GHashTable *known;    /* set of Known, by its entity's key */
    GHashTable *job_pods; /* key of a pod that a Job controls -> the Job's name */
    uint32_t generations[API_RESOURCE_WATCHED];
    uint64_t counts[API_RESOURCE_WATCHED];
};

static guint known_hash(gconstpointer data)
{
    return g_int64_hash(&((const Known *)data)->entity->key);
}

static gboolean known_equal(gconstpointer a, gconstpointer b)
{
    return ((const Known *)a)->entity->key == ((const Known *)b)->entity->key;
}

static Known *find(const Store *store, uint64_t key)
{
    Entity entity = {.key = key};
    const Known probe = {.entity = &entity};
    return g_hash_table_lookup(store->known, &probe);
}

static void known_free(void *data)
{
    Known *known = data;
    entity_unref(known->entity);
    g_slice_free(Known, known);
}

Store *store_new(ApiWatch *watch, JobOwners *jobs)
{
    Store *store = g_new0(Store, 1);
    store->watch = watch;
    store->jobs = jobs;
    store->known = g_hash_table_new_full(known_hash, known_equal, known_free, NULL);
    store->job_pods = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    return store;
}

Store *store_free(Store *store)
{
    if (!store)
        return NULL;
    g_hash_table_unref(store->known);
    g_hash_table_unref(store->job_pods);
    g_free(store);
    return NULL;
}

static void count(Store *store, unsigned resource, int change)
{
    store->counts[resource] += (uint64_t)(int64_t)change;
    watch_stats_lock(store->watch)->resources[resource].objects = store->counts[resource];
    watch_stats_unlock(store->watch);
}

/* Before `known` goes. */
static void tell_gone(Store *store, const Known *known, uint64_t now_ns)
{
    const Entity *entity = known->entity;
    /* A pod that finished had its end before its object went. */
    uint64_t gone_ns = entity->to_ns && entity->to_ns < now_ns ? entity->to_ns : now_ns;
    const char *job = g_hash_table_lookup(store->job_pods, &entity->key);
    if (job) {
        job_owners_remove(store->jobs, entity->namespace_name, job, entity->key);
        g_hash_table_remove(store->job_pods, &entity->key);
    }
    watch_tell_entity(store->watch, entity, gone_ns);
}

static Entity *with_owner(const Entity *entity, const char *kind, const char *name)
{
    const char *error = NULL;
    Entity draft = *entity;
    draft.owner_kind = kind;
    draft.owner_name = name;
    Entity *owned = entity_new(&draft, &error);
    return owned ? owned : entity_ref(entity);
}

static bool is_of_job(const ApiObject *object)
{
    return object->entity->kind == ENTITY_POD && g_str_equal(object->controller_kind, "Job");
}

/* From the object, with the owner of its Job where that is known. */
static Entity *entity_of(Store *store, const ApiObject *object)
{
    const char *kind, *name;
    if (!is_of_job(object) ||
        !job_owners_add(store->jobs, object->namespace_name, object->controller_name,
                        object->entity->key, &kind, &name))
        return entity_ref(object->entity);
    return with_owner(object->entity, kind, name);
}

static Entity *changed_at(const Entity *before, const Entity *now, uint64_t now_ns)
{
    /* The end of a pod that has finished: it holds for the version that is known. */
    if (now->to_ns)
        return entity_with_interval(now, MIN(before->from_ns, now->to_ns), now->to_ns);
    return entity_with_interval(now, MAX(now_ns, before->from_ns), 0);
}

void store_put(Store *store, unsigned resource, const ApiObject *object, uint64_t now_ns)
{
    Entity *entity = entity_of(store, object);
    Known *known = find(store, entity->key);
    if (known && entity_same(known->entity, entity) && known->entity->to_ns == entity->to_ns) {
        known->generation = store->generations[resource];
        entity_unref(entity);
        return;
    }
    Known *next = g_slice_new0(Known);
    next->entity = known ? changed_at(known->entity, entity, now_ns) : entity_ref(entity);
    next->generation = store->generations[resource];
    next->resource = (uint8_t)resource;
    if (is_of_job(object))
        g_hash_table_replace(store->job_pods, g_memdup2(&entity->key, sizeof entity->key),
                             g_strdup(object->controller_name));
    entity_unref(entity);
    if (!known)
        count(store, resource, 1);
    watch_tell_entity(store->watch, next->entity, 0);
    g_hash_table_add(store->known, next);
}

void store_delete(Store *store, unsigned resource, const ApiObject *object, uint64_t now_ns)
{
    Known *known = find(store, object->entity->key);
    if (!known)
        return;
    tell_gone(store, known, now_ns);
    count(store, resource, -1);
    g_hash_table_remove(store->known, known);
}

void store_list_begin(Store *store, unsigned resource)
{
    store->generations[resource]++;
}

void store_list_end(Store *store, unsigned resource, uint64_t now_ns)
{
    GHashTableIter iter;
    void *key;
    g_hash_table_iter_init(&iter, store->known);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        Known *known = key;
        if (known->resource != resource || known->generation == store->generations[resource])
            continue;
        tell_gone(store, known, now_ns);
        count(store, resource, -1);
        g_hash_table_iter_remove(&iter);
    }
}

void store_correct_owner(Store *store, uint64_t pod_key, const char *kind, const char *name)
{
    Known *known = find(store, pod_key);
    if (!known || (g_str_equal(known->entity->owner_kind, kind) &&
                   g_str_equal(known->entity->owner_name, name)))
        return;
    Known *next = g_slice_dup(Known, known);
    next->entity = with_owner(known->entity, kind, name);
    watch_tell_entity(store->watch, next->entity, 0);
    g_hash_table_add(store->known, next);
}
