// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/known.h"

#include <glib.h>

typedef struct Listener {
    Stream *stream;
    uint64_t key; /* of the entity that it was told last; 0: none */
} Listener;

struct Known {
    GTree *entities;  /* &entity->key -> Entity */
    GQueue listeners; /* of Listener *; the first one's turn is next */
};

static int compare_keys(const void *a, const void *b, void *userdata)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

Known *known_new(void)
{
    Known *known = g_new0(Known, 1);
    known->entities =
        g_tree_new_full(compare_keys, NULL, NULL, (GDestroyNotify)(void (*)(void))entity_unref);
    return known;
}

static void listener_free(void *data)
{
    Listener *listener = data;
    stream_unref(listener->stream);
    g_free(listener);
}

Known *known_free(Known *known)
{
    if (known) {
        g_queue_clear_full(&known->listeners, listener_free);
        g_tree_unref(known->entities);
        g_free(known);
    }
    return NULL;
}

void known_apply(Known *known, const Entity *entity, uint64_t deleted_ns)
{
    for (GList *link = known->listeners.head; link; link = link->next) {
        Listener *listener = link->data;
        if (entity->key <= listener->key) {
            queue_identity(stream_lock(listener->stream), entity, deleted_ns);
            stream_unlock(listener->stream);
        }
    }
    if (deleted_ns > 0) {
        g_tree_remove(known->entities, &entity->key);
    } else {
        Entity *copy = entity_ref(entity);
        g_tree_replace(known->entities, &copy->key, copy);
    }
}

const Entity *known_find(const Known *known, uint64_t key)
{
    return g_tree_lookup(known->entities, &key);
}

void known_add_stream(Known *known, Stream *stream)
{
    Listener *listener = g_new(Listener, 1);
    *listener = (Listener){.stream = stream_ref(stream)};
    g_queue_push_tail(&known->listeners, listener);
}

bool known_remove_stream(Known *known, Stream *stream)
{
    for (GList *link = known->listeners.head; link; link = link->next) {
        if (((Listener *)link->data)->stream == stream) {
            listener_free(link->data);
            g_queue_delete_link(&known->listeners, link);
            return true;
        }
    }
    return false;
}

bool known_has_streams(const Known *known)
{
    return known->listeners.length > 0;
}

/* Returns whether nothing is left to tell. */
static bool tell_slice(const Known *known, Listener *listener)
{
    GTreeNode *node = g_tree_upper_bound(known->entities, &listener->key);
    Queue *queue = stream_lock(listener->stream);
    for (unsigned i = 0; node && i < KNOWN_SLICE; i++) {
        const Entity *entity = g_tree_node_value(node);
        queue_identity(queue, entity, 0);
        listener->key = entity->key;
        node = g_tree_node_next(node);
    }
    stream_unlock(listener->stream);
    return !node;
}

Stream *known_tell(Known *known)
{
    Listener *listener = g_queue_pop_head(&known->listeners);
    if (!listener) {
        return NULL;
    }
    if (!tell_slice(known, listener)) {
        g_queue_push_tail(&known->listeners, listener);
        return NULL;
    }
    Stream *stream = stream_ref(listener->stream);
    listener_free(listener);
    return stream;
}
