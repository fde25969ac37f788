// SPDX-License-Identifier: GPL-2.0-or-later
/* Whose an address is: which connections that a node rewrites are those of pods. */
#include <glib.h>

#include "node-capture/server/pod-addresses.h"

#define SECOND_NS 1000000000u

static IpAddress ip(const char *text)
{
    IpAddress address;
    g_assert_true(ip_address_from_text(&address, text));
    return address;
}

static Entity *pod(const char *uid, const char *node, bool host_network, const char *address)
{
    IpAddress addresses[] = {ip(address)};
    Entity draft = {.kind = ENTITY_POD,
                    .uid = uid,
                    .name = uid,
                    .namespace_name = "shop",
                    .node = node,
                    .addresses = addresses,
                    .n_addresses = 1,
                    .host_network = host_network};
    const char *error = NULL;
    Entity *entity = entity_new(&draft, &error);
    g_assert_cmpstr(error, ==, NULL);
    return entity;
}

static Entity *slice(const char *target_uid, const char *address)
{
    IpAddress addresses[] = {ip(address)};
    EntityEndpoint endpoint = {
        .addresses = addresses, .n_addresses = 1, .target_uid = target_uid, .node = "n2"};
    Entity draft = {.kind = ENTITY_ENDPOINT_SLICE,
                    .uid = "slice",
                    .name = "slice",
                    .namespace_name = "shop",
                    .service_name = "web",
                    .endpoints = &endpoint,
                    .n_endpoints = 1};
    const char *error = NULL;
    Entity *entity = entity_new(&draft, &error);
    g_assert_cmpstr(error, ==, NULL);
    return entity;
}

static bool is_local(PodAddresses *addresses, const char *text)
{
    IpAddress address = ip(text);
    return pod_addresses_is_local(addresses, &address);
}

static bool is_endpoint(PodAddresses *addresses, const char *text)
{
    IpAddress address = ip(text);
    return pod_addresses_is_endpoint(addresses, &address);
}

static void test_local(void)
{
    PodAddresses *addresses = pod_addresses_new("n1");
    Entity *own = pod("a", "n1", false, "10.0.1.2"), *moved = pod("a", "n1", false, "10.0.1.3"),
           *far = pod("b", "n2", false, "10.0.2.2"), *host = pod("c", "n1", true, "10.9.0.1"),
           *v6 = pod("d", "n1", false, "fd00::2");
    g_assert_true(pod_addresses_apply(addresses, own, false, 0));
    g_assert_false(pod_addresses_apply(addresses, own, false, 0)); /* nothing new */
    g_assert_false(pod_addresses_apply(addresses, far, false, 0));
    g_assert_false(pod_addresses_apply(addresses, host, false, 0));
    g_assert_true(pod_addresses_apply(addresses, v6, false, 0));
    g_assert_true(is_local(addresses, "10.0.1.2"));
    g_assert_true(is_local(addresses, "fd00::2"));
    g_assert_false(is_local(addresses, "10.0.2.2"));
    g_assert_false(is_local(addresses, "10.9.0.1"));
    g_assert_false(is_endpoint(addresses, "10.0.1.2"));
    /* What it had counts for a while, and its new one at once. */
    g_assert_true(pod_addresses_apply(addresses, moved, false, 100 * (uint64_t)SECOND_NS));
    g_assert_true(is_local(addresses, "10.0.1.2"));
    g_assert_true(is_local(addresses, "10.0.1.3"));
    pod_addresses_apply(addresses, moved, true, 101 * (uint64_t)SECOND_NS);
    g_assert_true(is_local(addresses, "10.0.1.3"));
    pod_addresses_apply(addresses, far, true, 400 * (uint64_t)SECOND_NS);
    g_assert_false(is_local(addresses, "10.0.1.2"));
    g_assert_false(is_local(addresses, "10.0.1.3"));
    g_assert_true(is_local(addresses, "fd00::2"));
    pod_addresses_free(addresses);
    entity_unref(own);
    entity_unref(moved);
    entity_unref(far);
    entity_unref(host);
    entity_unref(v6);
}

static void test_endpoints(void)
{
    PodAddresses *addresses = pod_addresses_new("n1");
    Entity *first = slice("b", "10.0.2.2"), *second = slice("b", "10.0.2.3"),
           *outside = slice("", "192.0.2.1");
    g_assert_true(pod_addresses_apply(addresses, first, false, 0));
    g_assert_true(pod_addresses_apply(addresses, second, false, 0));
    g_assert_true(is_endpoint(addresses, "10.0.2.3"));
    g_assert_false(is_local(addresses, "10.0.2.3"));
    /* An address without a pod: something outside that a service stands for. */
    g_assert_false(pod_addresses_apply(addresses, outside, false, 100 * (uint64_t)SECOND_NS));
    g_assert_false(is_endpoint(addresses, "192.0.2.1"));
    pod_addresses_free(addresses);
    entity_unref(first);
    entity_unref(second);
    entity_unref(outside);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/node/pod-addresses/local", test_local);
    g_test_add_func("/node/pod-addresses/endpoints", test_endpoints);
    return g_test_run();
}
