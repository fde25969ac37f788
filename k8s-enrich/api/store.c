// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "k8s-enrich/api/watch-private.h"
#include "k8s-enrich/entity.h"

#define GENERATION_MAX 0xffffffu

struct Store {
    ApiWatch *watch;
    JobOwners *jobs;
    GHashTable *known;    /* Entity, as it was told, by its key -> mark_of() */
    GHashTable *job_pods; /* key of a pod that a Job controls -> the Job's name */
    uint32_t generations[API_RESOURCE_WATCHED];
    uint64_t counts[API_RESOURCE_WATCHED];
};

static guint entity_hash(gconstpointer entity)
{
    return g_int64_hash(&((const Entity *)entity)->key);
}

static gboolean entity_equal(gconstpointer a, gconstpointer b)
{
    return ((const Entity *)a)->key == ((const Entity *)b)->key;
}

static void release(void *entity)
{
    entity_unref(entity);
}

static const Entity *find(const Store *store, uint64_t key)
{
    const Entity probe = {.key = key};
    void *known = NULL;
    g_hash_table_lookup_extended(store->known, &probe, &known, NULL);
    return known;
}

/* What an entity is of, and which list or later change had it last: 32 bits, as the table then
 * takes no more for each. */
static void *mark_of(const Store *store, unsigned resource)
{
    return GUINT_TO_POINTER(store->generations[resource] << 8 | resource);
}

/* Takes over the reference, in place of what had its key. */
static void keep(Store *store, const Entity *entity, void *mark)
{
    g_hash_table_replace(store->known, (void *)(uintptr_t)entity, mark);
}

Store *store_new(ApiWatch *watch, JobOwners *jobs)
{
    Store *store = g_new0(Store, 1);
    store->watch = watch;
    store->jobs = jobs;
    store->known = g_hash_table_new_full(entity_hash, entity_equal, release, NULL);
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

/* Before `entity` goes. */
static void tell_gone(Store *store, const Entity *entity, uint64_t now_ns)
{
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
    const Entity *known = find(store, entity->key);
    if (known && entity_same(known, entity) && known->to_ns == entity->to_ns) {
        keep(store, entity_ref(known), mark_of(store, resource));
        entity_unref(entity);
        return;
    }
    Entity *next = known ? changed_at(known, entity, now_ns) : entity_ref(entity);
    if (is_of_job(object))
        g_hash_table_replace(store->job_pods, g_memdup2(&entity->key, sizeof entity->key),
                             g_strdup(object->controller_name));
    entity_unref(entity);
    if (!known)
        count(store, resource, 1);
    watch_tell_entity(store->watch, next, 0);
    keep(store, next, mark_of(store, resource));
}

void store_delete(Store *store, unsigned resource, const ApiObject *object, uint64_t now_ns)
{
    const Entity *known = find(store, object->entity->key);
    if (!known)
        return;
    tell_gone(store, known, now_ns);
    count(store, resource, -1);
    g_hash_table_remove(store->known, known);
}

void store_list_begin(Store *store, unsigned resource)
{
    store->generations[resource] = (store->generations[resource] + 1) & GENERATION_MAX;
}

void store_list_end(Store *store, unsigned resource, uint64_t now_ns)
{
    GHashTableIter iter;
    void *entity, *mark;
    g_hash_table_iter_init(&iter, store->known);
    while (g_hash_table_iter_next(&iter, &entity, &mark)) {
        if ((GPOINTER_TO_UINT(mark) & 0xff) != resource || mark == mark_of(store, resource))
            continue;
        tell_gone(store, entity, now_ns);
        count(store, resource, -1);
        g_hash_table_iter_remove(&iter);
    }
}

void store_correct_owner(Store *store, uint64_t pod_key, const char *kind, const char *name)
{
    const Entity probe = {.key = pod_key};
    void *key, *mark;
    if (!g_hash_table_lookup_extended(store->known, &probe, &key, &mark))
        return;
    const Entity *known = key;
    if (g_str_equal(known->owner_kind, kind) && g_str_equal(known->owner_name, name))
        return;
    Entity *next = with_owner(known, kind, name);
    watch_tell_entity(store->watch, next, 0);
    keep(store, next, mark);
}
