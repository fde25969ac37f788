// SPDX-License-Identifier: GPL-2.0-or-later
/* What a look-up costs at 100,000 addresses with history, and what a pod costs in memory. The
 * numbers are printed; the limits are asserted only where asked for (-m perf), as a busy machine or
 * a sanitizer says nothing about them. */
#include <malloc.h>
#include <time.h>

#include "tests/k8s-enrich/world.h"

#define N_ADDRESSES 100000u
#define N_VERSIONS  4u /* of every address: two pods, two versions each */
#define N_NODES     1000u
#define N_LOOKUPS   500000u
#define N_ROUNDS    9u /* the best counts: the others tell of the machine's other work */

#define LOOKUP_MAX_NS 50.0
#define POD_MAX_BYTES 1100.0

static IpAddress nth_address(uint32_t n)
{
    const uint8_t bytes[] = {10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    IpAddress address;
    g_assert_true(ip_address_from_bytes(&address, bytes, sizeof bytes));
    return address;
}

/* A pod as a Deployment makes it: five labels, two containers with ids and images. */
static Entity *typical_pod(uint32_t n, uint32_t version)
{
    g_autofree char *uid = g_strdup_printf("%08x-1b2c-4d5e-8f90-%012x", n, version / 2);
    g_autofree char *name = g_strdup_printf("catalog-%u-7d9f8b6c5-%05x", n % 100, n);
    g_autofree char *node = g_strdup_printf("worker-%u.example.internal", n % N_NODES);
    g_autofree char *id = g_strdup_printf("%064x", n);
    const EntityLabel labels[] = {{"app.kubernetes.io/name", "catalog"},
                                  {"app.kubernetes.io/instance", "catalog-production"},
                                  {"app.kubernetes.io/version", version % 2 ? "2" : "1"},
                                  {"pod-template-hash", "7d9f8b6c5"},
                                  {"tier", "backend"}};
    const EntityContainer containers[] = {{"catalog", id, "registry.example/shop/catalog:1.4.2"},
                                          {"proxy", id, "docker.io/envoyproxy/envoy:v1.30.1"}};
    const EntityPort ports[] = {{6, 8080, 0, "http"}};
    IpAddress address = nth_address(n);
    return entity_make(&(Entity){.kind = ENTITY_POD,
                                 .uid = uid,
                                 .namespace_name = "production",
                                 .name = name,
                                 .node = node,
                                 .owner_kind = "Deployment",
                                 .owner_name = "catalog",
                                 .labels = labels,
                                 .n_labels = G_N_ELEMENTS(labels),
                                 .containers = containers,
                                 .n_containers = G_N_ELEMENTS(containers),
                                 .ports = ports,
                                 .n_ports = 1,
                                 .addresses = &address,
                                 .n_addresses = 1,
                                 .from_ns = SECONDS(1000 * (version + 1))});
}

static void add_typical_pods(Inventory *inventory, uint32_t version)
{
    for (uint32_t i = 0; i < N_ADDRESSES; i++) {
        Entity *pod = typical_pod(i, version);
        inventory_add(inventory, pod);
        entity_unref(pod);
    }
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Random addresses and times: the worst case, as nothing of it is in the processor's caches. */
static double lookup_time_ns(const Inventory *inventory)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    g_autofree IpAddress *asked = g_new(IpAddress, N_ADDRESSES);
    for (uint32_t i = 0; i < N_ADDRESSES; i++)
        asked[i] = nth_address((uint32_t)g_rand_int_range(random, 0, N_ADDRESSES));
    uint64_t found = 0;
    double start_ns = now_ns();
    for (uint32_t i = 0; i < N_LOOKUPS; i++) {
        Peer peer;
        inventory_lookup(inventory, &asked[i % N_ADDRESSES], 6, 8080,
                         SECONDS(1000 + i % (1000 * N_VERSIONS)), &peer);
        found += peer.type == PEER_POD;
    }
    g_assert_cmpuint(found, ==, N_LOOKUPS);
    return (now_ns() - start_ns) / N_LOOKUPS;
}

static void test_speed_and_memory(void)
{
    Inventory *inventory = inventory_new();
    for (unsigned i = 0; i < N_NODES; i++) {
        g_autofree char *name = g_strdup_printf("worker-%u.example.internal", i);
        g_autofree char *address = g_strdup_printf("192.168.%u.%u", i / 250, i % 250 + 1);
        add_simple(inventory, ENTITY_NODE, name, address, 1, 0);
    }
    size_t before = mallinfo2().uordblks;
    add_typical_pods(inventory, 0);
    double bytes = (double)(mallinfo2().uordblks - before) / N_ADDRESSES;
    for (uint32_t version = 1; version < N_VERSIONS; version++)
        add_typical_pods(inventory, version);

    double lookup_ns = lookup_time_ns(inventory);
    for (unsigned i = 1; i < N_ROUNDS; i++)
        lookup_ns = MIN(lookup_ns, lookup_time_ns(inventory));
    g_test_message("look-up %.1f ns at %u addresses of %u versions; %.0f bytes a pod", lookup_ns,
                   N_ADDRESSES, N_VERSIONS, bytes);
    if (g_test_perf()) {
        g_assert_cmpfloat(lookup_ns, <=, LOOKUP_MAX_NS);
        g_assert_cmpfloat(bytes, <=, POD_MAX_BYTES);
    }
    inventory_free(inventory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/inventory-perf/speed-and-memory", test_speed_and_memory);
    return g_test_run();
}
