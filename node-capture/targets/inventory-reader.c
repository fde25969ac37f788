// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/inventory-reader.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "k8s-enrich/inventory-file.h"

/* An entity as it was told, with what the file said of it. */
typedef struct Known {
    Entity *entity;
    GBytes *form; /* packed, without times: equal if nothing changed */
    char *netns;
    bool seen; /* in the file that is being compared */
} Known;

struct InventoryReader {
    char *path, *node_name;
    int ready_fd;
    GHashTable *known; /* &entity->key -> Known; the thread's, once it runs */
    bool again;        /* not the first reading; likewise */
    GAsyncQueue *done; /* of InventoryChanges * */
    GThread *thread;
    GMutex lock; /* of what follows */
    GCond changed;
    bool requested, stopping;
};

static void known_free(void *data)
{
    Known *known = data;
    entity_unref(known->entity);
    g_bytes_unref(known->form);
    g_free(known->netns);
    g_free(known);
}

static void change_clear(void *data)
{
    InventoryChange *change = data;
    entity_unref(change->entity);
    g_free(change->netns);
}

InventoryChanges *inventory_changes_free(InventoryChanges *changes)
{
    if (changes) {
        g_array_unref(changes->changes);
        g_free(changes->error);
        g_free(changes->warning);
        g_free(changes);
    }
    return NULL;
}

static void changes_release(void *changes)
{
    inventory_changes_free(changes);
}

static InventoryChanges *changes_new(void)
{
    InventoryChanges *changes = g_new0(InventoryChanges, 1);
    changes->changes = g_array_new(FALSE, FALSE, sizeof(InventoryChange));
    g_array_set_clear_func(changes->changes, change_clear);
    return changes;
}

/* ---- Comparing -------------------------------------------------------------------------------*/

static GBytes *entity_form(const Entity *entity)
{
    Remora__V1__Entity *proto = entity_to_proto(entity);
    proto->from_unix_ns = 0;
    proto->to_unix_ns = 0;
    size_t length = remora__v1__entity__get_packed_size(proto);
    uint8_t *packed = g_malloc(length);
    remora__v1__entity__pack(proto, packed);
    entity_proto_free(proto);
    return g_bytes_new_take(packed, length);
}

/* The same entity, valid from another time on. */
static Entity *entity_from_time(const Entity *entity, uint64_t from_ns)
{
    const char *error;
    Remora__V1__Entity *proto = entity_to_proto(entity);
    proto->from_unix_ns = from_ns;
    Entity *copy = entity_from_proto(proto, &error);
    entity_proto_free(proto);
    return copy ? copy : entity_ref(entity);
}

/* A change found at `now_ns` holds from then on; so does an entity that is new and does not say
 * since when it exists. */
static void compare_entity(InventoryReader *reader, const Entity *entity, const char *netns,
                           uint64_t now_ns, InventoryChanges *changes)
{
    Known *known = g_hash_table_lookup(reader->known, &entity->key);
    GBytes *form = entity_form(entity);
    bool same = known && g_bytes_equal(known->form, form);
    if (same && g_strcmp0(known->netns, netns) == 0) {
        g_bytes_unref(form);
        known->seen = true;
        return;
    }
    bool from_now = known || (reader->again && entity->from_ns == 0);
    Known *latest = g_new0(Known, 1);
    latest->entity = same       ? entity_ref(known->entity)
                     : from_now ? entity_from_time(entity, now_ns)
                                : entity_ref(entity);
    latest->form = form;
    latest->netns = g_strdup(netns);
    latest->seen = true;
    g_hash_table_replace(reader->known, &latest->entity->key, latest);
    InventoryChange change = {.entity = entity_ref(latest->entity),
                              .same = same,
                              .netns = g_strdup(netns),
                              .since_ns = entity->from_ns};
    g_array_append_val(changes->changes, change);
}

/* No node tells of all pods: only of its own, but of everything else. */
static bool entity_is_ours(const InventoryReader *reader, const Entity *entity)
{
    return entity->kind != ENTITY_POD || strcmp(entity->node, reader->node_name) == 0;
}

static void forget_unseen(InventoryReader *reader, uint64_t now_ns, InventoryChanges *changes)
{
    GHashTableIter iter;
    Known *known;
    g_hash_table_iter_init(&iter, reader->known);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&known)) {
        if (!known->seen) {
            InventoryChange change = {.entity = entity_ref(known->entity), .deleted_ns = now_ns};
            g_array_append_val(changes->changes, change);
            g_hash_table_iter_remove(&iter);
        } else {
            known->seen = false; /* for the next time */
        }
    }
}

static InventoryChanges *compare_file(InventoryReader *reader, const InventoryFile *file)
{
    InventoryChanges *changes = changes_new();
    uint64_t now_ns = clock_unix_ns();
    for (guint i = 0; i < file->entities->len; i++) {
        const Entity *entity = g_ptr_array_index(file->entities, i);
        if (entity_is_ours(reader, entity)) {
            const char *netns =
                entity->kind == ENTITY_POD ? g_hash_table_lookup(file->netns, entity->uid) : NULL;
            compare_entity(reader, entity, netns, now_ns, changes);
        }
    }
    forget_unseen(reader, now_ns, changes);
    reader->again = true;
    if (file->warnings->len > 0) {
        changes->warning =
            g_strdup_printf("%u objects were left out, the first because: %s", file->warnings->len,
                            (const char *)g_ptr_array_index(file->warnings, 0));
    }
    return changes;
}

/* ---- Reading ---------------------------------------------------------------------------------*/

/* Opening a pipe would wait for a writer. */
static InventoryFile *read_file(const char *path, GError **error)
{
    struct stat status;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
        g_set_error(error, INVENTORY_ERROR, INVENTORY_ERROR_READ,
                    "%s: is a pipe or device, expected a file, which can be followed", path);
        return NULL;
    }
    return inventory_file_read(path, error);
}

static InventoryChanges *read_changes(InventoryReader *reader, GError **error)
{
    InventoryFile *file = read_file(reader->path, error);
    if (!file) {
        return NULL;
    }
    InventoryChanges *changes = compare_file(reader, file);
    inventory_file_free(file);
    return changes;
}

/* Returns false if the thread is to end. */
static bool await_request(InventoryReader *reader)
{
    g_mutex_lock(&reader->lock);
    while (!reader->requested && !reader->stopping) {
        g_cond_wait(&reader->changed, &reader->lock);
    }
    reader->requested = false;
    bool go_on = !reader->stopping;
    g_mutex_unlock(&reader->lock);
    return go_on;
}

static void *reader_thread(void *data)
{
    InventoryReader *reader = data;
    while (await_request(reader)) {
        g_autoptr(GError) error = NULL;
        InventoryChanges *changes = read_changes(reader, &error);
        if (!changes) {
            changes = changes_new();
            changes->error = g_strdup(error->message);
        }
        g_async_queue_push(reader->done, changes);
        eventfd_write(reader->ready_fd, 1);
    }
    return NULL;
}

InventoryReader *inventory_reader_new(const char *path, const char *node_name, int ready_fd,
                                      GError **error)
{
    InventoryReader *reader = g_new0(InventoryReader, 1);
    reader->path = g_strdup(path);
    reader->node_name = g_strdup(node_name);
    reader->ready_fd = ready_fd;
    reader->known = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, known_free);
    reader->done = g_async_queue_new_full(changes_release);
    g_mutex_init(&reader->lock);
    g_cond_init(&reader->changed);
    InventoryChanges *first = read_changes(reader, error);
    if (!first) {
        return inventory_reader_free(reader);
    }
    g_async_queue_push(reader->done, first);
    reader->thread = g_thread_new("inventory", reader_thread, reader);
    return reader;
}

InventoryReader *inventory_reader_free(InventoryReader *reader)
{
    if (reader) {
        g_mutex_lock(&reader->lock);
        reader->stopping = true;
        g_cond_signal(&reader->changed);
        g_mutex_unlock(&reader->lock);
        if (reader->thread) {
            g_thread_join(reader->thread);
        }
        g_async_queue_unref(reader->done);
        g_hash_table_unref(reader->known);
        g_mutex_clear(&reader->lock);
        g_cond_clear(&reader->changed);
        g_free(reader->path);
        g_free(reader->node_name);
        g_free(reader);
    }
    return NULL;
}

void inventory_reader_request(InventoryReader *reader)
{
    g_mutex_lock(&reader->lock);
    reader->requested = true;
    g_cond_signal(&reader->changed);
    g_mutex_unlock(&reader->lock);
}

InventoryChanges *inventory_reader_take(InventoryReader *reader)
{
    return g_async_queue_try_pop(reader->done);
}
