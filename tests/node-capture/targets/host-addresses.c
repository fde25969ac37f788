// SPDX-License-Identifier: GPL-2.0-or-later
/* Which of a node's own addresses are told as the node's. */
#include "node-capture/targets/host-addresses.h"

#include <arpa/inet.h>
#include <glib.h>
#include <string.h>

typedef struct Heard {
    GString *text; /* "since address address; " for each time */
    const char *label;
} Heard;

static void hear(const Entity *node, void *userdata)
{
    Heard *heard = userdata;
    g_assert_cmpint(node->kind, ==, ENTITY_NODE);
    g_assert_cmpstr(node->name, ==, "n1");
    g_string_append_printf(heard->text, "%u", (unsigned)node->from_ns);
    for (size_t i = 0; i < node->n_addresses; i++) {
        char text[INET6_ADDRSTRLEN];
        ip_address_format(&node->addresses[i], text);
        g_string_append_printf(heard->text, " %s", text);
    }
    g_string_append(heard->text, "; ");
    heard->label = node->n_labels ? node->labels[0].key : NULL;
}

static void heard_is(Heard *heard, const char *expected)
{
    g_assert_cmpstr(heard->text->str, ==, expected);
    g_string_truncate(heard->text, 0);
}

static NetnsAddress at(const char *text, uint8_t prefix_length)
{
    NetnsAddress address = {.prefix_length = prefix_length};
    address.family = strchr(text, ':') ? AF_INET6 : AF_INET;
    address.length = address.family == AF_INET ? 4 : 16;
    g_assert_cmpint(inet_pton(address.family, text, address.bytes), ==, 1);
    return address;
}

static void pod(HostAddresses *host, const char *uid, const char *text, uint64_t now_ns)
{
    IpAddress address;
    g_assert_true(ip_address_from_text(&address, text));
    host_addresses_pod(host, uid, &address, 1, now_ns);
}

static void test_subnets(void)
{
    Heard heard = {.text = g_string_new(NULL)};
    HostAddresses *host = host_addresses_new("n1", 5, hear, &heard);
    const NetnsAddress all[] = {
        at("127.0.0.1", 8),   at("10.99.0.11", 24), at("172.17.0.1", 16),      at("10.244.1.1", 24),
        at("10.244.1.0", 32), at("fe80::1", 64),    at("fd00:10:244:1::1", 64)};
    host_addresses_set(host, all, G_N_ELEMENTS(all), 10);
    heard_is(&heard, ""); /* no pods yet: whose these are cannot be said */
    pod(host, "a", "10.244.1.7", 20);
    heard_is(&heard, "5 10.244.1.1 10.244.1.0; ");
    pod(host, "b", "10.244.1.8", 30);
    pod(host, "far", "10.244.2.8", 30);
    heard_is(&heard, "");
    pod(host, "b", "fd00:10:244:1::8", 40);
    heard_is(&heard, "40 10.244.1.1 10.244.1.0 fd00:10:244:1::1; ");
    /* It stays the node's when the pods have gone. */
    host_addresses_pod(host, "a", NULL, 0, 50);
    host_addresses_pod(host, "b", NULL, 0, 50);
    host_addresses_set(host, all, G_N_ELEMENTS(all) - 1, 60);
    heard_is(&heard, "60 10.244.1.1 10.244.1.0; ");
    host_addresses_set(host, all, 1, 70);
    heard_is(&heard, "70; ");
    host_addresses_free(host);
    g_string_free(heard.text, TRUE);
}

/* The first pod of a node is there before the bridge has its address. */
static void test_late_bridge(void)
{
    Heard heard = {.text = g_string_new(NULL)};
    HostAddresses *host = host_addresses_new("n1", 5, hear, &heard);
    const NetnsAddress bridge = at("10.244.1.1", 24);
    pod(host, "a", "10.244.1.7", 20);
    host_addresses_set(host, &bridge, 1, 30);
    heard_is(&heard, "5 10.244.1.1; ");
    host_addresses_free(host);
    g_string_free(heard.text, TRUE);
}

static void test_labels(void)
{
    Heard heard = {.text = g_string_new(NULL)};
    HostAddresses *host = host_addresses_new("n1", 5, hear, &heard);
    EntityLabel label = {"zone", "a"};
    Entity draft = {
        .kind = ENTITY_NODE, .uid = "uid-n1", .name = "n1", .labels = &label, .n_labels = 1};
    const char *error = NULL;
    Entity *node = entity_new(&draft, &error);
    const NetnsAddress bridge = at("10.244.1.1", 25);
    host_addresses_node(host, node, 10);
    host_addresses_set(host, &bridge, 1, 10);
    pod(host, "a", "10.244.1.128", 20); /* in the other half */
    heard_is(&heard, "");
    pod(host, "b", "10.244.1.127", 20);
    heard_is(&heard, "5 10.244.1.1; ");
    g_assert_cmpstr(heard.label, ==, "zone");
    host_addresses_node(host, node, 30); /* nothing new */
    heard_is(&heard, "");
    host_addresses_free(host);
    entity_unref(node);
    g_string_free(heard.text, TRUE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/host-addresses/subnets", test_subnets);
    g_test_add_func("/host-addresses/late-bridge", test_late_bridge);
    g_test_add_func("/host-addresses/labels", test_labels);
    return g_test_run();
}
