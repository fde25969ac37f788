// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "tests/k8s-enrich/world.h"

static const IpAddress *two_addresses(void)
{
    static IpAddress addresses[2];
    addresses[0] = ip("10.0.0.7");
    addresses[1] = ip("fd00::7");
    return addresses;
}

static Entity *full_entity(void)
{
    const EntityLabel labels[] = {{"app", "cart"}, {"tier", ""}};
    const EntityContainer containers[] = {{"cart", "abc", "cart:1"}, {"proxy", "", "envoy"}};
    const EntityPort ports[] = {{6, 8080, 0, "http"}, {17, 53, 30053, ""}};
    const EntityEndpoint endpoints[] = {{two_addresses(), 2, "uid-a", "n1"}, {NULL, 0, "", ""}};
    return entity_make(&(Entity){.kind = ENTITY_ENDPOINT_SLICE,
                                 .uid = "u-1",
                                 .namespace_name = "shop",
                                 .name = "cart",
                                 .node = "n1",
                                 .owner_kind = "Deployment",
                                 .owner_name = "cart",
                                 .service_name = "svc",
                                 .labels = labels,
                                 .n_labels = 2,
                                 .containers = containers,
                                 .n_containers = 2,
                                 .addresses = two_addresses(),
                                 .n_addresses = 2,
                                 .ports = ports,
                                 .n_ports = 2,
                                 .endpoints = endpoints,
                                 .n_endpoints = 2,
                                 .host_network = true,
                                 .from_ns = 5,
                                 .to_ns = 9});
}

static void check_full(const Entity *entity)
{
    g_assert_cmpint(entity->kind, ==, ENTITY_ENDPOINT_SLICE);
    g_assert_cmpuint(entity->key, ==, entity_key(ENTITY_ENDPOINT_SLICE, "u-1"));
    g_assert_cmpstr(entity->uid, ==, "u-1");
    g_assert_cmpstr(entity->namespace_name, ==, "shop");
    g_assert_cmpstr(entity->name, ==, "cart");
    g_assert_cmpstr(entity->node, ==, "n1");
    g_assert_cmpstr(entity->owner_kind, ==, "Deployment");
    g_assert_cmpstr(entity->owner_name, ==, "cart");
    g_assert_cmpstr(entity->service_name, ==, "svc");
    g_assert_cmpuint(entity->n_labels, ==, 2);
    g_assert_cmpstr(entity->labels[0].key, ==, "app");
    g_assert_cmpstr(entity->labels[0].value, ==, "cart");
    g_assert_cmpstr(entity->labels[1].value, ==, "");
    g_assert_cmpuint(entity->n_containers, ==, 2);
    g_assert_cmpstr(entity->containers[0].id, ==, "abc");
    g_assert_cmpstr(entity->containers[1].name, ==, "proxy");
    g_assert_cmpstr(entity->containers[1].image, ==, "envoy");
    g_assert_cmpuint(entity->n_addresses, ==, 2);
    g_assert_cmpmem(entity->addresses, 32, two_addresses(), 32);
    g_assert_cmpuint(entity->n_ports, ==, 2);
    g_assert_cmpuint(entity->ports[0].port, ==, 8080);
    g_assert_cmpstr(entity->ports[0].name, ==, "http");
    g_assert_cmpuint(entity->ports[1].protocol, ==, 17);
    g_assert_cmpuint(entity->ports[1].node_port, ==, 30053);
    g_assert_cmpuint(entity->n_endpoints, ==, 2);
    g_assert_cmpmem(entity->endpoints[0].addresses, 32, two_addresses(), 32);
    g_assert_cmpstr(entity->endpoints[0].target_uid, ==, "uid-a");
    g_assert_cmpstr(entity->endpoints[0].node, ==, "n1");
    g_assert_cmpuint(entity->endpoints[1].n_addresses, ==, 0);
    g_assert_true(entity->host_network);
    g_assert_cmpuint(entity->from_ns, ==, 5);
    g_assert_cmpuint(entity->to_ns, ==, 9);
}

static void test_copy(void)
{
    Entity *entity = full_entity();
    check_full(entity);
    g_assert_true(entity_ref(entity) == entity);
    g_assert_null(entity_unref(entity));
    check_full(entity);
    g_assert_null(entity_unref(entity));
    g_assert_null(entity_unref(NULL));
}

static Entity *pod_with(const char *uid, const EntityLabel *labels, size_t n_labels,
                        const EntityPort *ports, size_t n_ports)
{
    return entity_make(&(Entity){.kind = ENTITY_POD,
                                 .uid = uid,
                                 .labels = labels,
                                 .n_labels = (uint32_t)n_labels,
                                 .ports = ports,
                                 .n_ports = (uint32_t)n_ports});
}

/* Pods of one template have one copy of what they have in common, which outlives any of them. */
static void test_sharing(void)
{
    char app[] = "cart", hash[] = "7d9f8b6c5";
    const EntityLabel labels[] = {{"app", app}, {"pod-template-hash", hash}};
    const EntityPort ports[] = {{6, 8080, 0, "http"}, {17, 53, 0, NULL}};
    Entity *a = pod_with("a", labels, 2, ports, 2), *b = pod_with("b", labels, 2, ports, 2);
    Entity *fewer = pod_with("c", labels, 1, ports, 1);
    app[0] = 'd';
    Entity *other = pod_with("d", labels, 2, NULL, 0);
    g_assert_true(a->labels == b->labels && a->ports == b->ports);
    g_assert_true(a->labels != fewer->labels && a->ports != fewer->ports);
    g_assert_true(a->labels != other->labels);
    entity_unref(a);
    entity_unref(other);
    hash[0] = app[0] = 'x';
    g_assert_cmpstr(b->labels[0].value, ==, "cart");
    g_assert_cmpstr(b->labels[1].value, ==, "7d9f8b6c5");
    g_assert_cmpstr(b->ports[0].name, ==, "http");
    g_assert_cmpstr(b->ports[1].name, ==, "");
    entity_unref(b);
    g_assert_cmpstr(fewer->labels[0].key, ==, "app");
    g_assert_cmpuint(fewer->ports[0].port, ==, 8080);
    entity_unref(fewer);
}

/* Nobody can make us share what is not worth it without end: an entity then has all for itself. */
static void test_too_much_to_share(void)
{
    const EntityLabel common[] = {{"some-common-key", "some-common-value"}};
    const EntityPort port = {6, 8080, 0, "some-port"};
    g_autoptr(GPtrArray) many = g_ptr_array_new();
    Entity *first = pod_with("first", common, 1, &port, 1);
    Entity *same = NULL;
    do {
        char values[1000][16];
        EntityLabel labels[1000];
        for (unsigned i = 0; i < 1000; i++) {
            g_snprintf(values[i], sizeof values[i], "%u-%u", many->len, i);
            labels[i] = (EntityLabel){"key", values[i]};
        }
        g_ptr_array_add(many, pod_with("other", labels, 1000, NULL, 0));
        entity_unref(same);
        same = pod_with("same", common, 1, &port, 1);
    } while (same->labels == first->labels && many->len < 1000);
    g_assert_cmpuint(many->len, <, 1000);
    g_assert_cmpuint(many->len, >, 100);
    g_assert_cmpstr(same->labels[0].key, ==, "some-common-key");
    g_assert_cmpstr(same->labels[0].value, ==, "some-common-value");
    g_assert_cmpstr(same->ports[0].name, ==, "some-port");
    entity_unref(same);
    for (guint i = 0; i < many->len; i++)
        entity_unref(many->pdata[i]);
    same = pod_with("same", common, 1, &port, 1);
    g_assert_true(same->labels == first->labels && same->ports == first->ports);
    entity_unref(first);
    entity_unref(same);
}

/* Through the bytes of the wire and back. */
static void test_proto(void)
{
    Entity *entity = full_entity();
    Remora__V1__Entity *proto = entity_to_proto(entity);
    g_assert_cmpuint(proto->addresses[0].len, ==, 4);
    g_assert_cmpuint(proto->addresses[1].len, ==, 16);
    size_t length = remora__v1__entity__get_packed_size(proto);
    g_autofree uint8_t *bytes = g_malloc(length);
    g_assert_cmpuint(remora__v1__entity__pack(proto, bytes), ==, length);
    entity_proto_free(proto);
    entity_unref(entity);

    Remora__V1__Entity *received = remora__v1__entity__unpack(NULL, length, bytes);
    g_assert_nonnull(received);
    const char *error = NULL;
    entity = entity_from_proto(received, &error);
    remora__v1__entity__free_unpacked(received, NULL);
    g_assert_cmpstr(error, ==, NULL);
    check_full(entity);
    entity_unref(entity);
}

static void reject(const Remora__V1__Entity *proto, const char *expected)
{
    const char *error = NULL;
    g_assert_null(entity_from_proto(proto, &error));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error, expected));
}

static Remora__V1__Entity good_proto(void)
{
    Remora__V1__Entity proto = REMORA__V1__ENTITY__INIT;
    proto.kind = REMORA__V1__ENTITY_KIND__ENTITY_KIND_POD;
    proto.uid = (char *)"u";
    return proto;
}

static void test_malformed(void)
{
    const char *error = NULL;
    Remora__V1__Entity proto = good_proto();
    Entity *entity = entity_from_proto(&proto, &error);
    g_assert_nonnull(entity);
    entity_unref(entity);

    proto.uid = (char *)"";
    reject(&proto, "without uid");
    proto = good_proto();
    proto.kind = 0;
    reject(&proto, "unknown kind");
    proto.kind = 6;
    reject(&proto, "unknown kind");
    proto = good_proto();
    proto.name = (char *)"\xc3\x28";
    reject(&proto, "UTF-8");
    proto = good_proto();
    proto.from_unix_ns = 2;
    proto.to_unix_ns = 1;
    reject(&proto, "ends before");

    for (size_t length = 0; length <= 17; length++) {
        uint8_t bytes[17] = {0};
        ProtobufCBinaryData address = {length, bytes};
        proto = good_proto();
        proto.addresses = &address;
        proto.n_addresses = 1;
        if (length == 4 || length == 16) {
            entity = entity_from_proto(&proto, &error);
            g_assert_nonnull(entity);
            entity_unref(entity);
        } else {
            reject(&proto, "4 or 16 bytes");
        }
    }

    Remora__V1__Port port = REMORA__V1__PORT__INIT;
    Remora__V1__Port *ports[] = {&port};
    proto = good_proto();
    proto.ports = ports;
    proto.n_ports = 1;
    port.port = 65536;
    reject(&proto, "out of range");
    port.port = 1;
    port.protocol = 256;
    reject(&proto, "out of range");
}

static const char *draft_error(const Entity *draft)
{
    const char *error = "";
    Entity *entity = entity_new(draft, &error);
    entity_unref(entity);
    return error;
}

static void test_limits(void)
{
    g_autofree char *text = g_strnfill(65537, 'x');
    g_autofree EntityLabel *labels = g_new(EntityLabel, 10001);
    for (size_t i = 0; i < 10001; i++)
        labels[i] = (EntityLabel){"k", "v"};
    Entity draft = {.kind = ENTITY_POD, .uid = "u", .labels = labels, .n_labels = 10000};
    g_assert_cmpstr(draft_error(&draft), ==, "");
    draft.n_labels = 10001;
    g_assert_nonnull(strstr(draft_error(&draft), "too many"));

    draft.n_labels = 1;
    labels[0].value = text + 1;
    g_assert_cmpstr(draft_error(&draft), ==, "");
    labels[0].value = text;
    g_assert_nonnull(strstr(draft_error(&draft), "too long"));

    draft.n_labels = 0;
    draft.name = text + 65537 - 1024;
    g_assert_cmpstr(draft_error(&draft), ==, "");
    draft.name = text + 65537 - 1025;
    g_assert_nonnull(strstr(draft_error(&draft), "too long"));

    /* Small in a message, vast in the inventory. */
    g_autofree IpAddress *addresses = g_new0(IpAddress, 10000);
    g_autofree EntityPort *ports = g_new0(EntityPort, 10000);
    draft = (Entity){.kind = ENTITY_SERVICE,
                     .uid = "u",
                     .addresses = addresses,
                     .n_addresses = 10000,
                     .ports = ports,
                     .n_ports = 10000};
    g_assert_nonnull(strstr(draft_error(&draft), "too many"));
    draft.n_ports = 5;
    g_assert_cmpstr(draft_error(&draft), ==, "");
}

static void test_key(void)
{
    /* FNV-1a, 64 bits, of the bytes 01 61: the published offset basis and prime, by hand. */
    uint64_t hash = 0xcbf29ce484222325u;
    hash = (hash ^ 1) * 0x100000001b3u;
    hash = (hash ^ 'a') * 0x100000001b3u;
    g_assert_cmpuint(entity_key(ENTITY_POD, "a"), ==, hash);
    g_assert_cmpuint(entity_key(ENTITY_NODE, "a"), !=, hash);
}

static void test_address(void)
{
    static const struct {
        const char *text, *canonical;
    } cases[] = {
        {"10.0.0.1", "10.0.0.1"},
        {"::ffff:10.0.0.1", "10.0.0.1"},
        {"2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"fd00::1", "fd00::1"},
        {"::", "::"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        char out[46];
        IpAddress address = ip(cases[i].text), again;
        ip_address_format(&address, out);
        g_assert_cmpstr(out, ==, cases[i].canonical);
        again = ip(out);
        g_assert_true(ip_address_equal(&address, &again));
    }
    IpAddress address;
    static const char *const bad[] = {"", "10.0.0", "10.0.0.256", "1.2.3.4 ", "fe80::1%eth0", "x"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(ip_address_from_text(&address, bad[i]));
    IpAddress four = ip("1.2.3.4");
    g_assert_true(ip_address_from_bytes(&address, "\1\2\3\4", 4));
    g_assert_true(ip_address_equal(&address, &four));
    g_assert_false(ip_address_from_bytes(&address, "\1\2\3\4", 5));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/entity/copy", test_copy);
    g_test_add_func("/entity/sharing", test_sharing);
    g_test_add_func("/entity/too-much-to-share", test_too_much_to_share);
    g_test_add_func("/entity/proto", test_proto);
    g_test_add_func("/entity/malformed", test_malformed);
    g_test_add_func("/entity/limits", test_limits);
    g_test_add_func("/entity/key", test_key);
    g_test_add_func("/entity/address", test_address);
    return g_test_run();
}
