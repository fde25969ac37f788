// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "tests/k8s-enrich/world.h"

#define TCP 6
#define UDP 17

static void test_empty(void)
{
    Inventory *inventory = inventory_new();
    g_assert_cmpint(look(inventory, "8.8.8.8", TCP, 53, SECONDS(1)).type, ==, PEER_UNKNOWN);
    add_simple(inventory, ENTITY_NAMESPACE, "shop", "", 1, 0);
    Peer peer = look(inventory, "8.8.8.8", TCP, 53, SECONDS(1));
    g_assert_cmpint(peer.type, ==, PEER_EXTERNAL);
    assert_interval(peer, 0, 0);
    inventory_free(inventory);
    g_assert_null(inventory_free(NULL));
}

static void test_external_or_unknown(void)
{
    static const char *const external[] = {"8.8.8.8",     "10.1.2.3",     "192.168.7.7",
                                           "100.64.0.1",  "2001:db8::1",  "fd12::1",
                                           "223.255.0.1", "172.31.255.1", "169.253.0.1"};
    static const char *const unknown[] = {"127.0.0.1", "127.8.8.8", "169.254.169.254",
                                          "224.0.0.1", "239.1.1.1", "255.255.255.255",
                                          "0.0.0.0",   "::",        "::1",
                                          "fe80::1",   "febf::1",   "ff02::1"};
    Inventory *inventory = inventory_new();
    add_simple(inventory, ENTITY_POD, "cart", "10.0.0.1", 1, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(external); i++)
        g_assert_cmpint(look(inventory, external[i], 0, 0, 9).type, ==, PEER_EXTERNAL);
    for (size_t i = 0; i < G_N_ELEMENTS(unknown); i++)
        g_assert_cmpint(look(inventory, unknown[i], 0, 0, 9).type, ==, PEER_UNKNOWN);
    inventory_free(inventory);
}

static void test_pod_over_time(void)
{
    Inventory *inventory = inventory_new();
    add_simple(inventory, ENTITY_POD, "old", "10.0.0.1", 100, 200);
    add_simple(inventory, ENTITY_POD, "new", "10.0.0.1", 300, 0);

    Peer peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(100));
    assert_pod(peer, "old");
    assert_interval(peer, SECONDS(100), SECONDS(200));
    assert_pod(look(inventory, "10.0.0.1", TCP, 80, SECONDS(200) - 1), "old");
    peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(200));
    g_assert_cmpint(peer.type, ==, PEER_UNKNOWN);
    assert_interval(peer, SECONDS(200), SECONDS(300));
    peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(300));
    assert_pod(peer, "new");
    assert_interval(peer, SECONDS(300), 0);
    /* Two had it, so the moment before the first is nobody's. */
    peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(100) - 1);
    g_assert_cmpint(peer.type, ==, PEER_UNKNOWN);
    assert_interval(peer, 0, SECONDS(100));
    inventory_free(inventory);
}

/* The new pod has the address before the old one's end is known. */
static void test_reuse_with_overlap(void)
{
    Inventory *inventory = inventory_new();
    add_simple(inventory, ENTITY_POD, "old", "10.0.0.1", 100, 0);
    add_simple(inventory, ENTITY_POD, "new", "10.0.0.1", 200, 0);
    Peer peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(199));
    assert_pod(peer, "old");
    assert_interval(peer, SECONDS(100), SECONDS(200));
    assert_pod(look(inventory, "10.0.0.1", TCP, 80, SECONDS(250)), "new");

    inventory_remove(inventory, ENTITY_POD, "old", SECONDS(210));
    assert_pod(look(inventory, "10.0.0.1", TCP, 80, SECONDS(205)), "new");
    /* A short one in between: the one before it was there all the time. */
    add_simple(inventory, ENTITY_POD, "short", "10.0.0.1", 300, 310);
    peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(310));
    assert_pod(peer, "new");
    assert_interval(peer, SECONDS(310), 0);
    peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(299));
    assert_pod(peer, "new");
    assert_interval(peer, SECONDS(200), SECONDS(300));
    inventory_free(inventory);
}

static void test_clock_slack(void)
{
    Inventory *inventory = inventory_new();
    add_simple(inventory, ENTITY_POD, "cart", "10.0.0.1", 100, 200);
    Peer peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(95));
    assert_pod(peer, "cart");
    assert_interval(peer, SECONDS(95), SECONDS(200));
    peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(95) - 1);
    g_assert_cmpint(peer.type, ==, PEER_UNKNOWN);
    assert_interval(peer, 0, SECONDS(95));
    g_assert_cmpint(look(inventory, "10.0.0.1", TCP, 80, SECONDS(200)).type, ==, PEER_UNKNOWN);
    /* The same pod's second version does not count as somebody else. */
    add(inventory, &(Entity){.kind = ENTITY_POD,
                             .uid = "cart",
                             .name = "cart",
                             .addresses = (IpAddress[]){ip("10.0.0.1")},
                             .n_addresses = 1,
                             .from_ns = SECONDS(150)});
    assert_pod(look(inventory, "10.0.0.1", TCP, 80, SECONDS(96)), "cart");
    add_simple(inventory, ENTITY_NODE, "n1", "10.0.0.1", 300, 0);
    peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(96));
    g_assert_cmpint(peer.type, ==, PEER_UNKNOWN);
    inventory_free(inventory);
}

static void add_pod_on(Inventory *inventory, const char *uid, const char *address, const char *node,
                       bool host_network, uint16_t port, uint64_t from_s)
{
    IpAddress parsed = ip(address);
    EntityPort ports = {TCP, port, 0, "main"};
    add(inventory, &(Entity){.kind = ENTITY_POD,
                             .uid = uid,
                             .name = uid,
                             .node = node,
                             .host_network = host_network,
                             .addresses = &parsed,
                             .n_addresses = 1,
                             .ports = &ports,
                             .n_ports = port ? 1 : 0,
                             .from_ns = SECONDS(from_s)});
}

static void test_node_of_pod(void)
{
    Inventory *inventory = inventory_new();
    add_pod_on(inventory, "cart", "10.0.0.1", "n1", false, 0, 100);
    g_assert_null(look(inventory, "10.0.0.1", TCP, 80, SECONDS(150)).node);
    add_simple(inventory, ENTITY_NODE, "n1", "192.168.0.1", 120, 180);
    Peer peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(150));
    g_assert_cmpstr(peer.node->name, ==, "n1");
    assert_interval(peer, SECONDS(120), SECONDS(180));
    peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(119));
    g_assert_null(peer.node);
    assert_interval(peer, SECONDS(100), SECONDS(120));
    peer = look(inventory, "10.0.0.1", TCP, 80, SECONDS(180));
    g_assert_null(peer.node);
    assert_interval(peer, SECONDS(180), 0);
    inventory_free(inventory);
}

static void test_host_network(void)
{
    Inventory *inventory = inventory_new();
    add_simple(inventory, ENTITY_NODE, "n1", "192.168.0.1", 1, 0);
    add_pod_on(inventory, "exporter", "192.168.0.1", "n1", true, 9100, 100);
    add_pod_on(inventory, "proxy", "192.168.0.1", "n1", true, 0, 100);
    Peer peer = look(inventory, "192.168.0.1", TCP, 9100, SECONDS(150));
    assert_pod(peer, "exporter");
    g_assert_cmpstr(peer.node->name, ==, "n1");
    assert_interval(peer, SECONDS(100), 0);
    assert_pod(look(inventory, "192.168.0.1", 0, 9100, SECONDS(150)), "exporter");
    assert_node(look(inventory, "192.168.0.1", UDP, 9100, SECONDS(150)), "n1");
    assert_node(look(inventory, "192.168.0.1", TCP, 22, SECONDS(150)), "n1");
    assert_node(look(inventory, "192.168.0.1", TCP, 0, SECONDS(150)), "n1");
    peer = look(inventory, "192.168.0.1", TCP, 9100, SECONDS(99));
    assert_node(peer, "n1");
    g_assert_cmpuint(peer.to_ns, ==, SECONDS(100));
    /* Of a node that is not known itself only its pods tell. */
    add_pod_on(inventory, "other", "192.168.0.2", "n2", true, 9100, 100);
    assert_pod(look(inventory, "192.168.0.2", TCP, 9100, SECONDS(150)), "other");
    g_assert_cmpint(look(inventory, "192.168.0.2", TCP, 22, SECONDS(150)).type, ==, PEER_UNKNOWN);
    inventory_free(inventory);
}

static void add_service(Inventory *inventory, const char *uid, const char *address, uint16_t port,
                        uint16_t node_port, uint64_t from_s)
{
    IpAddress parsed = ip(address);
    EntityPort ports = {TCP, port, node_port, "http"};
    add(inventory, &(Entity){.kind = ENTITY_SERVICE,
                             .uid = uid,
                             .namespace_name = "shop",
                             .name = uid,
                             .addresses = &parsed,
                             .n_addresses = 1,
                             .ports = &ports,
                             .n_ports = 1,
                             .from_ns = SECONDS(from_s)});
}

static void test_service(void)
{
    Inventory *inventory = inventory_new();
    add_simple(inventory, ENTITY_NODE, "n1", "192.168.0.1", 1, 0);
    add_service(inventory, "catalog", "10.96.0.1", 80, 30080, 100);
    Peer peer = look(inventory, "10.96.0.1", TCP, 80, SECONDS(100));
    assert_service(peer, "catalog");
    g_assert_null(peer.node);
    assert_interval(peer, SECONDS(100), 0);
    assert_service(look(inventory, "10.96.0.1", TCP, 443, SECONDS(100)), "catalog");
    assert_service(look(inventory, "10.96.0.1", 1, 0, SECONDS(100)), "catalog");

    peer = look(inventory, "192.168.0.1", TCP, 30080, SECONDS(100));
    assert_service(peer, "catalog");
    g_assert_cmpstr(peer.node->name, ==, "n1");
    assert_interval(peer, SECONDS(100), 0);
    assert_node(look(inventory, "192.168.0.1", UDP, 30080, SECONDS(100)), "n1");
    peer = look(inventory, "192.168.0.1", TCP, 30080, SECONDS(99));
    assert_node(peer, "n1");
    assert_interval(peer, SECONDS(1), SECONDS(100));
    inventory_free(inventory);
}

/* Load balancers that share one address, and one that is a node's. */
static void test_shared_service_address(void)
{
    Inventory *inventory = inventory_new();
    add_simple(inventory, ENTITY_NODE, "n1", "192.168.0.1", 1, 0);
    add_service(inventory, "web", "192.168.0.1", 80, 0, 100);
    add_service(inventory, "dns", "192.168.0.9", 53, 0, 100);
    add_service(inventory, "mail", "192.168.0.9", 25, 0, 200);
    assert_service(look(inventory, "192.168.0.1", TCP, 80, SECONDS(150)), "web");
    assert_node(look(inventory, "192.168.0.1", TCP, 22, SECONDS(150)), "n1");
    assert_service(look(inventory, "192.168.0.9", TCP, 53, SECONDS(250)), "dns");
    assert_service(look(inventory, "192.168.0.9", TCP, 25, SECONDS(250)), "mail");
    assert_service(look(inventory, "192.168.0.9", TCP, 99, SECONDS(250)), "mail");
    inventory_free(inventory);
}

static void add_slice(Inventory *inventory, const char *uid, const char *service,
                      const char *address, uint16_t port, uint64_t from_s)
{
    IpAddress parsed = ip(address);
    EntityPort ports = {TCP, port, 0, "http"};
    EntityEndpoint endpoint = {&parsed, 1, "", ""};
    add(inventory, &(Entity){.kind = ENTITY_ENDPOINT_SLICE,
                             .uid = uid,
                             .namespace_name = "shop",
                             .name = uid,
                             .service_name = service,
                             .endpoints = &endpoint,
                             .n_endpoints = 1,
                             .ports = &ports,
                             .n_ports = 1,
                             .from_ns = SECONDS(from_s)});
}

static void test_endpoints(void)
{
    IpAddress pod = ip("10.0.0.1"), other = ip("10.0.0.2");
    Inventory *inventory = inventory_new();
    add_slice(inventory, "catalog-1", "catalog", "10.0.0.1", 8080, 100);
    g_assert_null(inventory_service_of_endpoint(inventory, &pod, TCP, 8080, SECONDS(100)));
    add_service(inventory, "catalog", "10.96.0.1", 80, 0, 50);
    add_service(inventory, "admin", "10.96.0.2", 80, 0, 50);
    const Entity *catalog = inventory_get(inventory, ENTITY_SERVICE, "catalog", SECONDS(60));
    const Entity *admin = inventory_get(inventory, ENTITY_SERVICE, "admin", SECONDS(60));

    g_assert_true(inventory_service_of_endpoint(inventory, &pod, TCP, 8080, SECONDS(100)) ==
                  catalog);
    g_assert_null(inventory_service_of_endpoint(inventory, &pod, TCP, 8080, SECONDS(100) - 1));
    g_assert_null(inventory_service_of_endpoint(inventory, &pod, UDP, 8080, SECONDS(100)));
    g_assert_null(inventory_service_of_endpoint(inventory, &pod, TCP, 80, SECONDS(100)));
    g_assert_null(inventory_service_of_endpoint(inventory, &other, TCP, 8080, SECONDS(100)));
    g_assert_true(inventory_is_endpoint(inventory, catalog, &pod, TCP, 8080, SECONDS(100)));
    g_assert_true(inventory_is_endpoint(inventory, catalog, &pod, TCP, 0, SECONDS(100)));
    g_assert_false(inventory_is_endpoint(inventory, catalog, &pod, TCP, 8080, SECONDS(99)));
    g_assert_false(inventory_is_endpoint(inventory, catalog, &pod, TCP, 1, SECONDS(100)));
    g_assert_false(inventory_is_endpoint(inventory, admin, &pod, TCP, 8080, SECONDS(100)));

    /* A second slice of the same service is no second service; one of another service is. */
    add_slice(inventory, "catalog-2", "catalog", "10.0.0.1", 8080, 150);
    g_assert_true(inventory_service_of_endpoint(inventory, &pod, TCP, 8080, SECONDS(150)) ==
                  catalog);
    add_slice(inventory, "admin-1", "admin", "10.0.0.1", 8080, 200);
    g_assert_true(inventory_service_of_endpoint(inventory, &pod, TCP, 8080, SECONDS(199)) ==
                  catalog);
    g_assert_null(inventory_service_of_endpoint(inventory, &pod, TCP, 8080, SECONDS(200)));
    g_assert_true(inventory_is_endpoint(inventory, admin, &pod, TCP, 8080, SECONDS(200)));
    /* The pod leaves the slices: a new version without it. */
    add_slice(inventory, "catalog-1", "catalog", "10.0.0.2", 8080, 300);
    inventory_remove(inventory, ENTITY_ENDPOINT_SLICE, "catalog-2", SECONDS(300));
    g_assert_false(inventory_is_endpoint(inventory, catalog, &pod, TCP, 8080, SECONDS(300)));
    g_assert_true(inventory_is_endpoint(inventory, catalog, &pod, TCP, 8080, SECONDS(299)));
    g_assert_true(inventory_service_of_endpoint(inventory, &pod, TCP, 8080, SECONDS(300)) == admin);
    /* That a slice lists an address does not make it one of the cluster's. */
    g_assert_cmpint(look(inventory, "10.0.0.1", TCP, 1, SECONDS(100)).type, ==, PEER_EXTERNAL);
    inventory_free(inventory);
}

static void test_versions(void)
{
    Inventory *inventory = inventory_new();
    add_simple(inventory, ENTITY_POD, "cart", "", 100, 0);
    add_simple(inventory, ENTITY_POD, "cart", "10.0.0.1", 110, 0);
    add_simple(inventory, ENTITY_POD, "cart", "10.0.0.2", 120, 0);

    const Entity *first = inventory_get(inventory, ENTITY_POD, "cart", SECONDS(110) - 1);
    g_assert_cmpuint(first->n_addresses, ==, 0);
    g_assert_cmpuint(first->from_ns, ==, SECONDS(100));
    g_assert_cmpuint(first->to_ns, ==, SECONDS(110));
    g_assert_null(inventory_get(inventory, ENTITY_POD, "cart", SECONDS(100) - 1));
    g_assert_null(inventory_get(inventory, ENTITY_NODE, "cart", SECONDS(110)));
    g_assert_null(inventory_get(inventory, ENTITY_POD, "cartx", SECONDS(110)));
    g_assert_cmpuint(inventory_get(inventory, ENTITY_POD, "cart", UINT64_MAX)->from_ns, ==,
                     SECONDS(120));
    assert_interval(look(inventory, "10.0.0.1", 0, 0, SECONDS(115)), SECONDS(110), SECONDS(120));

    /* What is said of a time replaces everything known from then on. */
    add_simple(inventory, ENTITY_POD, "cart", "10.0.0.3", 115, 0);
    assert_pod(look(inventory, "10.0.0.1", 0, 0, SECONDS(114)), "cart");
    assert_interval(look(inventory, "10.0.0.1", 0, 0, SECONDS(114)), SECONDS(110), SECONDS(115));
    g_assert_cmpint(look(inventory, "10.0.0.2", 0, 0, SECONDS(130)).type, ==, PEER_EXTERNAL);
    assert_interval(look(inventory, "10.0.0.3", 0, 0, SECONDS(130)), SECONDS(115), 0);

    inventory_remove(inventory, ENTITY_POD, "cart", SECONDS(140));
    g_assert_null(inventory_get(inventory, ENTITY_POD, "cart", SECONDS(140)));
    g_assert_nonnull(inventory_get(inventory, ENTITY_POD, "cart", SECONDS(140) - 1));
    g_assert_cmpint(look(inventory, "10.0.0.3", 0, 0, SECONDS(140)).type, ==, PEER_UNKNOWN);
    /* Gone before it came: never there. The name in hand is the inventory's own. */
    const Entity *gone = inventory_get(inventory, ENTITY_POD, "cart", SECONDS(139));
    inventory_remove(inventory, ENTITY_POD, gone->uid, SECONDS(100));
    g_assert_null(inventory_get(inventory, ENTITY_POD, "cart", SECONDS(130)));
    inventory_remove(inventory, ENTITY_POD, "nobody", SECONDS(100));
    inventory_free(inventory);
}

/* Many nodes tell the same, each by its own clock, some late. */
static void test_repetition(void)
{
    Inventory *inventory = inventory_new();
    add_simple(inventory, ENTITY_SERVICE, "web", "10.96.0.1", 100, 0);
    add_simple(inventory, ENTITY_SERVICE, "web", "10.96.0.2", 200, 0);
    add_simple(inventory, ENTITY_SERVICE, "web", "10.96.0.3", 300, 0);
    uint64_t generation = inventory_generation(inventory);
    add_simple(inventory, ENTITY_SERVICE, "web", "10.96.0.3", 300, 0);
    add_simple(inventory, ENTITY_SERVICE, "web", "10.96.0.3", 301, 0);
    add_simple(inventory, ENTITY_SERVICE, "web", "10.96.0.3", 299, 0);
    add_simple(inventory, ENTITY_SERVICE, "web", "10.96.0.3", 100, 0); /* a node that just began */
    add_simple(inventory, ENTITY_SERVICE, "web", "10.96.0.2", 201, 0);
    add_simple(inventory, ENTITY_SERVICE, "web", "10.96.0.2", 199, 0);
    add_simple(inventory, ENTITY_SERVICE, "web", "10.96.0.1", 100, 0);
    g_assert_cmpuint(inventory_generation(inventory), ==, generation);
    assert_interval(look(inventory, "10.96.0.2", 0, 0, SECONDS(250)), SECONDS(200), SECONDS(300));

    inventory_remove(inventory, ENTITY_SERVICE, "web", SECONDS(400));
    g_assert_cmpuint(inventory_generation(inventory), ==, ++generation);
    inventory_remove(inventory, ENTITY_SERVICE, "web", SECONDS(400));
    inventory_remove(inventory, ENTITY_SERVICE, "web", SECONDS(401));
    inventory_remove(inventory, ENTITY_SERVICE, "nobody", SECONDS(401));
    g_assert_cmpuint(inventory_generation(inventory), ==, generation);
    /* Told again as alive, as when an inventory file drops it and takes it back. */
    add_simple(inventory, ENTITY_SERVICE, "web", "10.96.0.3", 300, 0);
    g_assert_cmpuint(inventory_generation(inventory), ==, ++generation);
    assert_service(look(inventory, "10.96.0.3", 0, 0, SECONDS(450)), "web");
    /* Too far from what is known to be a clock's fault: it is news. */
    add_simple(inventory, ENTITY_SERVICE, "web", "10.96.0.2", 194, 0);
    g_assert_cmpuint(inventory_generation(inventory), ==, ++generation);
    assert_interval(look(inventory, "10.96.0.2", 0, 0, SECONDS(450)), SECONDS(194), 0);
    /* The only version is known from an earlier time on. */
    add_simple(inventory, ENTITY_POD, "cart", "10.0.0.1", 100, 0);
    add_simple(inventory, ENTITY_POD, "cart", "10.0.0.1", 50, 0);
    assert_interval(look(inventory, "10.0.0.1", 0, 0, SECONDS(60)), SECONDS(50), 0);
    inventory_free(inventory);
}

static void test_forget(void)
{
    Inventory *inventory = inventory_new();
    add_simple(inventory, ENTITY_POD, "old", "10.0.0.1", 100, 200);
    add_simple(inventory, ENTITY_POD, "cart", "10.0.0.2", 100, 0);
    add_simple(inventory, ENTITY_POD, "cart", "10.0.0.3", 150, 0);
    uint64_t generation = inventory_generation(inventory);
    inventory_forget(inventory, SECONDS(150) - 1);
    g_assert_cmpuint(inventory_generation(inventory), ==, generation);
    inventory_forget(inventory, SECONDS(150));
    g_assert_cmpuint(inventory_generation(inventory), >, generation);
    g_assert_cmpint(look(inventory, "10.0.0.2", 0, 0, SECONDS(120)).type, ==, PEER_EXTERNAL);
    assert_pod(look(inventory, "10.0.0.1", 0, 0, SECONDS(120)), "old");
    inventory_forget(inventory, SECONDS(200));
    g_assert_cmpint(look(inventory, "10.0.0.1", 0, 0, SECONDS(120)).type, ==, PEER_EXTERNAL);
    assert_pod(look(inventory, "10.0.0.3", 0, 0, SECONDS(900)), "cart");
    inventory_free(inventory);
}

static void add_empty_slice(Inventory *inventory, const char *uid, const char *service,
                            uint64_t from_s, uint64_t to_s)
{
    add(inventory, &(Entity){.kind = ENTITY_ENDPOINT_SLICE,
                             .uid = uid,
                             .namespace_name = "shop",
                             .name = uid,
                             .service_name = service,
                             .from_ns = SECONDS(from_s),
                             .to_ns = SECONDS(to_s)});
}

static void add_slice_start(const Entity *slice, void *userdata)
{
    *(uint64_t *)userdata += slice->from_ns;
}

/* The starts of the slices that are told, added up: powers of two, so that each can be told. */
static uint64_t slice_starts(const Inventory *inventory, const char *service)
{
    uint64_t sum_ns = 0;
    Entity named = {.kind = ENTITY_SERVICE, .namespace_name = "shop", .name = service};
    inventory_foreach_slice(inventory, &named, add_slice_start, &sum_ns);
    return sum_ns / SECONDS(1);
}

static void test_slices_of_service(void)
{
    Inventory *inventory = inventory_new();
    Entity web = {.kind = ENTITY_SERVICE, .namespace_name = "shop", .name = "web"};
    g_assert_cmpuint(inventory_slices_generation(inventory, &web), ==, 0);
    add_empty_slice(inventory, "web-a", "web", 64, 0);
    add_empty_slice(inventory, "web-b", "web", 128, 0);
    add_empty_slice(inventory, "cart-a", "cart", 256, 0);
    g_assert_cmpuint(slice_starts(inventory, "web"), ==, 64 + 128);
    g_assert_cmpuint(slice_starts(inventory, "cart"), ==, 256);
    g_assert_cmpuint(slice_starts(inventory, "none"), ==, 0);

    uint64_t generation = inventory_slices_generation(inventory, &web);
    add_simple(inventory, ENTITY_POD, "cart", "10.0.0.1", 100, 0);
    add_empty_slice(inventory, "cart-b", "cart", 512, 0);
    g_assert_cmpuint(inventory_slices_generation(inventory, &web), ==, generation);
    /* It goes over to another service: both have changed. */
    uint64_t before =
        inventory_slices_generation(inventory, &(Entity){.namespace_name = "shop", .name = "cart"});
    add_empty_slice(inventory, "web-a", "cart", 1024, 0);
    g_assert_cmpuint(slice_starts(inventory, "web"), ==, 128);
    g_assert_cmpuint(slice_starts(inventory, "cart"), ==, 256 + 512 + 1024);
    g_assert_cmpuint(inventory_slices_generation(inventory, &web), >, generation);
    g_assert_cmpuint(
        inventory_slices_generation(inventory, &(Entity){.namespace_name = "shop", .name = "cart"}),
        >, before);

    /* A service that comes again is never taken for what it was before. */
    generation = inventory_generation(inventory);
    inventory_remove(inventory, ENTITY_ENDPOINT_SLICE, "web-a", SECONDS(2));
    inventory_remove(inventory, ENTITY_ENDPOINT_SLICE, "web-b", SECONDS(2));
    g_assert_cmpuint(slice_starts(inventory, "web"), ==, 0);
    g_assert_cmpuint(inventory_slices_generation(inventory, &web), ==, 0);
    add_empty_slice(inventory, "web-b", "web", 2048, 0);
    g_assert_cmpuint(inventory_slices_generation(inventory, &web), >, generation);
    inventory_free(inventory);
}

static void collect(const Entity *entity, void *userdata)
{
    GString *text = userdata;
    g_string_append_printf(text, "%s@%" G_GUINT64_FORMAT " ", entity->uid,
                           (guint64)(entity->from_ns / SECONDS(1)));
}

static void test_foreach(void)
{
    static const struct {
        uint64_t time_s;
        const char *expected;
    } cases[] = {{99, ""}, {100, "a@100 "}, {150, "a@150 "}, {200, ""}, {0, "a@150 "}};
    Inventory *inventory = inventory_new();
    add_simple(inventory, ENTITY_POD, "a", "10.0.0.1", 100, 0);
    add_simple(inventory, ENTITY_POD, "a", "10.0.0.2", 150, 200);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GString *text = g_string_new("");
        inventory_foreach(inventory, SECONDS(cases[i].time_s), collect, text);
        g_assert_cmpstr(text->str, ==, cases[i].expected);
        g_string_free(text, TRUE);
    }
    inventory_free(inventory);
}

static void test_apply(void)
{
    const char *error = NULL;
    uint8_t address[] = {10, 0, 0, 1};
    ProtobufCBinaryData addresses = {sizeof address, address};
    Remora__V1__Entity entity = REMORA__V1__ENTITY__INIT;
    Remora__V1__IdentityEvent event = REMORA__V1__IDENTITY_EVENT__INIT;
    Inventory *inventory = inventory_new();
    g_assert_cmpint(inventory_apply(inventory, &event, &error), ==, -EBADMSG);
    g_assert_nonnull(error);
    event.synced = true;
    g_assert_cmpint(inventory_apply(inventory, &event, &error), ==, 0);
    g_assert_cmpuint(inventory_generation(inventory), ==, 0);

    event.synced = false;
    event.entity = &entity;
    g_assert_cmpint(inventory_apply(inventory, &event, &error), ==, -EBADMSG);
    entity.kind = REMORA__V1__ENTITY_KIND__ENTITY_KIND_POD;
    entity.uid = (char *)"u";
    entity.name = (char *)"cart";
    entity.addresses = &addresses;
    entity.n_addresses = 1;
    entity.from_unix_ns = SECONDS(100);
    g_assert_cmpint(inventory_apply(inventory, &event, &error), ==, 0);
    assert_pod(look(inventory, "10.0.0.1", 0, 0, SECONDS(150)), "cart");

    /* Deleted: only kind, uid and the time need be there, and the time must. */
    Remora__V1__Entity deleted = REMORA__V1__ENTITY__INIT;
    deleted.kind = entity.kind;
    deleted.uid = (char *)"u";
    event.entity = &deleted;
    event.deleted = true;
    g_assert_cmpint(inventory_apply(inventory, &event, &error), ==, -EBADMSG);
    assert_pod(look(inventory, "10.0.0.1", 0, 0, SECONDS(250)), "cart");
    deleted.to_unix_ns = SECONDS(200);
    g_assert_cmpint(inventory_apply(inventory, &event, &error), ==, 0);
    assert_interval(look(inventory, "10.0.0.1", 0, 0, SECONDS(150)), SECONDS(100), SECONDS(200));
    inventory_free(inventory);
}

/* A Peer's entities outlive the inventory if a reference was taken. */
static void test_references(void)
{
    Inventory *inventory = inventory_new();
    add_simple(inventory, ENTITY_POD, "cart", "10.0.0.1", 100, 0);
    Peer peer = look(inventory, "10.0.0.1", 0, 0, SECONDS(150));
    Entity *pod = entity_ref(peer.pod);
    inventory_free(inventory);
    g_assert_cmpstr(pod->name, ==, "cart");
    entity_unref(pod);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/inventory/empty", test_empty);
    g_test_add_func("/inventory/external-or-unknown", test_external_or_unknown);
    g_test_add_func("/inventory/pod-over-time", test_pod_over_time);
    g_test_add_func("/inventory/reuse-with-overlap", test_reuse_with_overlap);
    g_test_add_func("/inventory/clock-slack", test_clock_slack);
    g_test_add_func("/inventory/node-of-pod", test_node_of_pod);
    g_test_add_func("/inventory/host-network", test_host_network);
    g_test_add_func("/inventory/service", test_service);
    g_test_add_func("/inventory/shared-service-address", test_shared_service_address);
    g_test_add_func("/inventory/endpoints", test_endpoints);
    g_test_add_func("/inventory/versions", test_versions);
    g_test_add_func("/inventory/repetition", test_repetition);
    g_test_add_func("/inventory/forget", test_forget);
    g_test_add_func("/inventory/slices-of-service", test_slices_of_service);
    g_test_add_func("/inventory/foreach", test_foreach);
    g_test_add_func("/inventory/apply", test_apply);
    g_test_add_func("/inventory/references", test_references);
    return g_test_run();
}
