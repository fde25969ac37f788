// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/vantage-captured.h"

#include "common/seeded-hash.h"

#define SERVICES_MAX 65536 /* whose capture is remembered */

/* Whether an endpoint of a service is captured, as long as its slices are these. */
typedef struct ServiceCapture {
    uint64_t slices_generation;
    bool captured;
} ServiceCapture;

struct VantageCaptured {
    const Inventory *inventory;
    GHashTable *points;   /* a set of ids of those that are alive */
    GHashTable *pods;     /* uid -> number of live points */
    GHashTable *services; /* "namespace/name" -> ServiceCapture, for the points as they are */
    uint64_t examined;
};

VantageCaptured *vantage_captured_new(const Inventory *inventory)
{
    VantageCaptured *captured = g_new0(VantageCaptured, 1);
    captured->inventory = inventory;
    captured->points = g_hash_table_new(NULL, NULL);
    captured->pods = g_hash_table_new_full(seeded_str_hash, g_str_equal, g_free, NULL);
    captured->services = g_hash_table_new_full(seeded_str_hash, g_str_equal, g_free, g_free);
    return captured;
}

VantageCaptured *vantage_captured_free(VantageCaptured *captured)
{
    g_hash_table_destroy(captured->points);
    g_hash_table_destroy(captured->pods);
    g_hash_table_destroy(captured->services);
    g_free(captured);
    return NULL;
}

bool vantage_captured_point(const VantageCaptured *captured, uint32_t point_id)
{
    return g_hash_table_contains(captured->points, GUINT_TO_POINTER(point_id));
}

bool vantage_captured_pod(const VantageCaptured *captured, const char *uid)
{
    return g_hash_table_contains(captured->pods, uid);
}

uint64_t vantage_captured_examined(const VantageCaptured *captured)
{
    return captured->examined;
}

void vantage_captured_point_changed(VantageCaptured *captured, const CapturePoint *point)
{
    gpointer id = GUINT_TO_POINTER(point->id);
    if (g_hash_table_contains(captured->points, id) == point->alive)
        return;
    if (point->alive)
        g_hash_table_add(captured->points, id);
    else
        g_hash_table_remove(captured->points, id);
    if (point->loopback || !*point->target_uid)
        return;
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(captured->pods, point->target_uid));
    count = point->alive ? count + 1 : count - 1;
    if (count)
        g_hash_table_insert(captured->pods, g_strdup(point->target_uid), GUINT_TO_POINTER(count));
    else
        g_hash_table_remove(captured->pods, point->target_uid);
    g_hash_table_remove_all(captured->services);
}

typedef struct SliceSearch {
    VantageCaptured *captured;
    bool found;
} SliceSearch;

static void search_slice(const Entity *slice, void *userdata)
{
    SliceSearch *search = userdata;
    for (size_t i = 0; !search->found && i < slice->n_endpoints; i++) {
        search->found =
            g_hash_table_contains(search->captured->pods, slice->endpoints[i].target_uid);
        search->captured->examined++;
    }
}

/* Only the service's own slices are looked at, and again only when they changed: with many services
 * something changes before every new connection. */
bool vantage_captured_service(VantageCaptured *captured, const Entity *service)
{
    uint64_t generation = inventory_slices_generation(captured->inventory, service);
    g_autofree char *name = g_strdup_printf("%s/%s", service->namespace_name, service->name);
    ServiceCapture *known = g_hash_table_lookup(captured->services, name);
    if (known && known->slices_generation == generation)
        return known->captured;

    SliceSearch search = {.captured = captured};
    inventory_foreach_slice(captured->inventory, service, search_slice, &search);
    if (g_hash_table_size(captured->services) >= SERVICES_MAX)
        g_hash_table_remove_all(captured->services);
    known = g_new(ServiceCapture, 1);
    *known = (ServiceCapture){generation, search.found};
    g_hash_table_replace(captured->services, g_steal_pointer(&name), known);
    return search.found;
}
