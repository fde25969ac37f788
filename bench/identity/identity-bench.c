// SPDX-License-Identifier: GPL-2.0-or-later
/* What identity costs, in one process each:
 *
 *   identity-bench inventory [PODS]    memory of a pod, look-ups, events applied
 *   identity-bench sync KUBECONFIG     a reader of the whole cluster, until it is in step
 *   identity-bench collector [RATE]    the collector under that many identity events a second
 */
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/identity/identity-bench.h"
#include "k8s-enrich/entity.h"
#include "proto/stream.h"

uint64_t bench_clock_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

size_t bench_resident_bytes(void)
{
    unsigned long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu %lu", &total, &resident) != 2)
        g_error("/proc/self/statm cannot be read");
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static IpAddress nth_address(uint32_t n)
{
    const uint8_t bytes[] = {10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    IpAddress address;
    ip_address_from_bytes(&address, bytes, sizeof bytes);
    return address;
}

Entity *bench_pod(uint32_t n, uint32_t version, uint64_t from_ns)
{
    char uid[64], name[64], instance[32], node[64], id[65];
    g_snprintf(uid, sizeof uid, "%08x-1b2c-4d5e-8f90-%012x", n, version / 2);
    g_snprintf(name, sizeof name, "catalog-%u-7d9f8b6c5-%05x", n / 10, n);
    g_snprintf(instance, sizeof instance, "catalog-%u", n / 10);
    g_snprintf(node, sizeof node, "worker-%u.example.internal", n % BENCH_NODES);
    g_snprintf(id, sizeof id, "%064x", n);
    const EntityLabel labels[] = {{"app.kubernetes.io/name", "catalog"},
                                  {"app.kubernetes.io/instance", instance},
                                  {"app.kubernetes.io/version", version % 2 ? "2" : "1"},
                                  {"pod-template-hash", "7d9f8b6c5"},
                                  {"tier", "backend"}};
    const EntityContainer containers[] = {{"catalog", id, "registry.example/shop/catalog:1.4.2"},
                                          {"proxy", id, "docker.io/envoyproxy/envoy:v1.30.1"}};
    const EntityPort ports[] = {{6, 8080, 0, "http"}, {6, 15001, 0, "http"}};
    IpAddress address = nth_address(n);
    const char *error = NULL;
    Entity *pod = entity_new(&(Entity){.kind = ENTITY_POD,
                                       .uid = uid,
                                       .namespace_name = "production",
                                       .name = name,
                                       .node = node,
                                       .owner_kind = "Deployment",
                                       .owner_name = instance,
                                       .labels = labels,
                                       .n_labels = G_N_ELEMENTS(labels),
                                       .containers = containers,
                                       .n_containers = G_N_ELEMENTS(containers),
                                       .ports = ports,
                                       .n_ports = G_N_ELEMENTS(ports),
                                       .addresses = &address,
                                       .n_addresses = 1,
                                       .from_ns = from_ns},
                             &error);
    if (!pod)
        g_error("a pod: %s", error);
    return pod;
}

Entity *bench_gone_pod(uint32_t n)
{
    Entity *pod = bench_pod(n, 0, BENCH_VERSION_NS);
    Entity *ended = entity_with_interval(pod, pod->from_ns, 2 * BENCH_VERSION_NS);
    entity_unref(pod);
    return ended;
}

static GBytes *encode_event(uint32_t n, bool gone)
{
    Entity *pod = gone ? bench_gone_pod(n) : bench_pod(n, 0, BENCH_VERSION_NS);
    Remora__V1__IdentityEvent event = REMORA__V1__IDENTITY_EVENT__INIT;
    event.entity = entity_to_proto(pod);
    event.deleted = gone;
    Remora__V1__StreamResponse response = REMORA__V1__STREAM_RESPONSE__INIT;
    response.body_case = REMORA__V1__STREAM_RESPONSE__BODY_IDENTITY;
    response.identity = &event;
    uint8_t *bytes;
    size_t length;
    stream_response_encode(&response, 0, &bytes, &length);
    entity_proto_free(event.entity);
    entity_unref(pod);
    return g_bytes_new_take(bytes, length);
}

/* ---- inventory -------------------------------------------------------------------------------*/

static void add_pods(Inventory *inventory, uint32_t first, uint32_t count, uint32_t version)
{
    for (uint32_t i = first; i < first + count; i++) {
        Entity *pod = bench_pod(i, version, (version + 1) * BENCH_VERSION_NS);
        inventory_add(inventory, pod);
        entity_unref(pod);
    }
}

/* Of `n` addresses any, and any of their versions: nothing of it is in the processor's caches. With
 * `hot` nine look-ups of ten are of that many addresses and their last version, as connections of
 * now are. */
static double lookup_ns(const Inventory *inventory, uint32_t n, uint32_t hot)
{
    const uint32_t lookups = 1000000;
    g_autofree IpAddress *asked = g_new(IpAddress, n);
    for (uint32_t i = 0; i < n; i++)
        asked[i] = nth_address((uint32_t)g_random_int_range(0, (gint32)(hot && i % 10 ? hot : n)));
    uint64_t found = 0, start_ns = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (uint32_t i = 0; i < lookups; i++) {
        Peer peer;
        inventory_lookup(inventory, &asked[i % n], 6, 8080,
                         BENCH_VERSION_NS + (hot ? 3999 : i % 4000) * (BENCH_VERSION_NS / 1000),
                         &peer);
        found += peer.type == PEER_POD;
    }
    if (found != lookups)
        g_error("%" PRIu64 " of %u look-ups found a pod", found, lookups);
    return (double)(bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns) / lookups;
}

static double best_lookup_ns(const Inventory *inventory, uint32_t n, uint32_t hot)
{
    double best_ns = lookup_ns(inventory, n, hot);
    for (unsigned i = 0; i < 8; i++)
        best_ns = MIN(best_ns, lookup_ns(inventory, n, hot));
    return best_ns;
}

/* Events as they come in: encoded, of pods that come and go beside the others. */
static double event_us(Inventory *inventory, uint32_t first)
{
    const uint32_t events = 20000;
    g_autoptr(GPtrArray) encoded = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    for (uint32_t i = 0; i < events; i++)
        g_ptr_array_add(encoded, encode_event(first + i / 2, i % 2));
    uint64_t start_ns = bench_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (uint32_t i = 0; i < events; i++) {
        gsize length;
        const uint8_t *bytes = g_bytes_get_data(encoded->pdata[i], &length);
        StreamMessage message;
        const char *error = "is none";
        if (stream_message_decode(bytes, length, &message) < 0 ||
            inventory_apply(inventory, message.response->identity, &error) < 0)
            g_error("an event: %s", error);
        stream_message_clear(&message);
    }
    return (double)(bench_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns) / 1e3 / events;
}

static int run_inventory(uint32_t pods)
{
    Inventory *inventory = inventory_new();
    malloc_trim(0);
    size_t resident = bench_resident_bytes(), allocated = mallinfo2().uordblks;
    add_pods(inventory, 0, pods, 0);
    malloc_trim(0);
    printf("allocated a pod: %.0f bytes\n",
           (double)(mallinfo2().uordblks - allocated) / (double)pods);
    printf("resident a pod: %.0f bytes\n",
           (double)(bench_resident_bytes() - resident) / (double)pods);
    const uint32_t addresses = 100000;
    add_pods(inventory, pods, addresses - MIN(pods, addresses), 0);
    for (uint32_t version = 1; version < 4; version++)
        add_pods(inventory, 0, addresses, version);
    printf("look-up: %.1f ns\n", best_lookup_ns(inventory, addresses, 0));
    printf("look-up of a stream: %.1f ns\n", best_lookup_ns(inventory, addresses, 1000));
    printf("event: %.2f us\n", event_us(inventory, 2 * addresses));
    inventory_free(inventory);
    return 0;
}

/* ---- sync ------------------------------------------------------------------------------------*/

typedef struct Sync {
    Inventory *inventory;
    uint64_t entities, pods;
    bool done;
} Sync;

static void take_identity(const Entity *entity, uint64_t deleted_ns, void *userdata)
{
    Sync *sync = userdata;
    if (deleted_ns) {
        inventory_remove(sync->inventory, entity->kind, entity->uid, deleted_ns);
        return;
    }
    inventory_add(sync->inventory, entity);
    sync->entities++;
    sync->pods += entity->kind == ENTITY_POD;
}

static void take_synced(void *userdata)
{
    ((Sync *)userdata)->done = true;
}

static void take_problem(const char *subject, const char *message, void *userdata)
{
    fprintf(stderr, "identity-bench: %s: %s\n", subject, message ? message : "well again");
}

static int run_sync(const char *kubeconfig)
{
    static const ApiCallbacks callbacks = {take_identity, take_synced, take_problem};
    g_autoptr(GError) error = NULL;
    Sync sync = {.inventory = inventory_new()};
    ApiConfig *config = api_config_kubeconfig(kubeconfig, NULL, &error);
    size_t resident = bench_resident_bytes(), allocated = mallinfo2().uordblks;
    uint64_t start_ns = bench_clock_ns(CLOCK_MONOTONIC);
    ApiWatch *watch =
        config ? api_watch_new(config, &(ApiScope){0}, &callbacks, &sync, &error) : NULL;
    if (!watch)
        g_error("%s", error->message);
    struct pollfd polled = {api_watch_fd(watch), POLLIN, 0};
    while (!sync.done && poll(&polled, 1, -1) >= 0)
        api_watch_dispatch(watch);
    double seconds = (double)(bench_clock_ns(CLOCK_MONOTONIC) - start_ns) / 1e9;
    ApiWatchStats stats;
    api_watch_stats(watch, &stats);
    printf("seconds: %.3f\ncpu: %.3f\nbytes: %" PRIu64 "\nentities: %" PRIu64 "\npods: %" PRIu64
           "\n",
           seconds, (double)bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9, stats.bytes,
           sync.entities, sync.pods);
    printf("resident a pod: %.0f bytes\nallocated a pod: %.0f bytes\n",
           (double)(bench_resident_bytes() - resident) / (double)MAX(sync.pods, 1),
           (double)(mallinfo2().uordblks - allocated) / (double)MAX(sync.pods, 1));
    api_watch_free(watch);
    api_config_unref(config);
    inventory_free(sync.inventory);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    if (g_str_equal(mode, "inventory"))
        return run_inventory(argc > 2 ? (uint32_t)atoi(argv[2]) : 50000);
    if (g_str_equal(mode, "sync") && argc > 2)
        return run_sync(argv[2]);
    if (g_str_equal(mode, "collector"))
        return bench_collector(argc > 2 ? (unsigned)atoi(argv[2]) : 1000);
    fprintf(stderr,
            "usage: identity-bench inventory [PODS] | sync KUBECONFIG | collector [RATE]\n");
    return 2;
}
