// SPDX-License-Identifier: GPL-2.0-or-later
#include <string.h>

#include "k8s-enrich/inventory-file.h"
#include "tests/k8s-enrich/world.h"

/* date -u -d ... +%s */
#define S_2024_05_06_07_08_11 1714979291u
#define S_2024_05_06_08_00_00 1714982400u
#define S_2024_05_01          1714521600u

static InventoryFile *parse(const char *text)
{
    GError *error = NULL;
    InventoryFile *file = inventory_file_parse(text, strlen(text), "test.json", &error);
    g_assert_no_error(error);
    g_assert_nonnull(file);
    return file;
}

static InventoryFile *read_cluster(void)
{
    GError *error = NULL;
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "cluster.json", NULL);
    InventoryFile *file = inventory_file_read(path, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(file->warnings->len, ==, 0);
    return file;
}

static const Entity *find(const InventoryFile *file, const char *uid)
{
    for (guint i = 0; i < file->entities->len; i++) {
        const Entity *entity = g_ptr_array_index(file->entities, i);
        if (g_str_equal(entity->uid, uid))
            return entity;
    }
    g_error("no entity %s", uid);
}

static void assert_addresses(const IpAddress *addresses, size_t n, const char *expected)
{
    GString *text = g_string_new("");
    for (size_t i = 0; i < n; i++) {
        char out[46];
        ip_address_format(&addresses[i], out);
        g_string_append_printf(text, "%s%s", i ? " " : "", out);
    }
    g_assert_cmpstr(text->str, ==, expected);
    g_string_free(text, TRUE);
}

static void assert_owner(const Entity *pod, const char *kind, const char *name)
{
    g_assert_cmpstr(pod->owner_kind, ==, kind);
    g_assert_cmpstr(pod->owner_name, ==, name);
}

static void test_pod(void)
{
    InventoryFile *file = read_cluster();
    const Entity *pod = find(file, "pod-cart");
    g_assert_cmpint(pod->kind, ==, ENTITY_POD);
    g_assert_cmpstr(pod->namespace_name, ==, "shop");
    g_assert_cmpstr(pod->name, ==, "cart-7d9f8b6c5-x2x4z");
    g_assert_cmpstr(pod->node, ==, "node-1");
    assert_owner(pod, "Deployment", "cart");
    assert_addresses(pod->addresses, pod->n_addresses, "10.244.1.5 fd00:1::5");
    g_assert_cmpuint(pod->n_labels, ==, 2);
    g_assert_cmpuint(pod->n_containers, ==, 2);
    g_assert_cmpstr(pod->containers[0].name, ==, "cart");
    g_assert_cmpstr(pod->containers[0].id, ==, "0123456789abcdef");
    g_assert_cmpstr(pod->containers[0].image, ==, "registry.example/cart:1.4");
    g_assert_cmpstr(pod->containers[1].name, ==, "proxy");
    g_assert_cmpstr(pod->containers[1].id, ==, "");
    g_assert_cmpuint(pod->n_ports, ==, 2);
    g_assert_cmpuint(pod->ports[0].port, ==, 8080);
    g_assert_cmpuint(pod->ports[0].protocol, ==, 6);
    g_assert_cmpstr(pod->ports[0].name, ==, "http");
    g_assert_cmpuint(pod->ports[1].protocol, ==, 17);
    g_assert_cmpuint(pod->from_ns, ==, SECONDS(S_2024_05_06_07_08_11));
    g_assert_cmpuint(pod->to_ns, ==, 0);
    g_assert_false(pod->host_network);
    g_assert_cmpuint(g_hash_table_size(file->netns), ==, 1);
    g_assert_cmpstr(g_hash_table_lookup(file->netns, "pod-cart"), ==, "/run/netns/shop-cart");
    inventory_file_free(file);
    g_assert_null(inventory_file_free(NULL));
}

static void test_other_kinds(void)
{
    InventoryFile *file = read_cluster();
    g_assert_cmpuint(file->entities->len, ==, 12);
    assert_owner(find(file, "pod-canary"), "Rollout", "canary");
    assert_owner(find(file, "pod-report"), "CronJob", "report");
    assert_owner(find(file, "pod-etcd"), "Node", "node-1");
    g_assert_true(find(file, "pod-etcd")->host_network);

    const Entity *service = find(file, "svc-cart");
    assert_addresses(service->addresses, service->n_addresses,
                     "10.96.0.10 fd00:96::10 203.0.113.9 203.0.113.10");
    g_assert_cmpuint(service->n_ports, ==, 1);
    g_assert_cmpuint(service->ports[0].port, ==, 80);
    g_assert_cmpuint(service->ports[0].node_port, ==, 30080);
    g_assert_cmpuint(find(file, "svc-db")->n_addresses, ==, 0);
    g_assert_cmpuint(find(file, "svc-elsewhere")->n_addresses, ==, 0);

    const Entity *slice = find(file, "slice-cart");
    g_assert_cmpstr(slice->service_name, ==, "cart");
    g_assert_cmpuint(slice->n_endpoints, ==, 1);
    g_assert_cmpstr(slice->endpoints[0].target_uid, ==, "pod-cart");
    g_assert_cmpstr(slice->endpoints[0].node, ==, "node-1");
    slice = find(file, "slice-db");
    assert_addresses(slice->endpoints[0].addresses, slice->endpoints[0].n_addresses,
                     "10.244.2.7 10.244.2.8");
    g_assert_cmpstr(slice->endpoints[0].node, ==, "node-2");
    g_assert_cmpuint(find(file, "slice-names")->n_endpoints, ==, 0);

    const Entity *node = find(file, "node-1");
    assert_addresses(node->addresses, node->n_addresses, "192.168.0.1 198.51.100.1");
    g_assert_cmpstr(find(file, "ns-shop")->name, ==, "shop");
    g_assert_cmpstr(find(file, "ns-shop")->labels[0].value, ==, "blue");
    inventory_file_free(file);
}

static void test_lookups(void)
{
    InventoryFile *file = read_cluster();
    Inventory *inventory = inventory_new();
    for (guint i = 0; i < file->entities->len; i++)
        inventory_add(inventory, g_ptr_array_index(file->entities, i));
    inventory_file_free(file);

    uint64_t now = SECONDS(S_2024_05_06_08_00_00);
    Peer peer = look(inventory, "10.244.1.5", 6, 8080, now);
    assert_pod(peer, "cart-7d9f8b6c5-x2x4z");
    g_assert_cmpstr(peer.node->name, ==, "node-1");
    assert_interval(peer, SECONDS(S_2024_05_06_07_08_11), 0);
    assert_pod(look(inventory, "fd00:1::5", 6, 8080, now), "cart-7d9f8b6c5-x2x4z");
    assert_service(look(inventory, "203.0.113.10", 6, 80, now), "cart");
    assert_service(look(inventory, "198.51.100.1", 6, 30080, now), "cart");
    assert_pod(look(inventory, "192.168.0.1", 6, 2379, now), "etcd-node-1");
    g_assert_cmpint(look(inventory, "10.96.0.99", 6, 80, now).type, ==, PEER_EXTERNAL);

    /* Finished in the second that began at 08:00:30. */
    peer = look(inventory, "10.244.1.6", 6, 80, now + SECONDS(31) - 1);
    assert_pod(peer, "report-28582560-k7k7k");
    assert_interval(peer, now, now + SECONDS(31));
    g_assert_cmpint(look(inventory, "10.244.1.6", 6, 80, now + SECONDS(31)).type, ==, PEER_UNKNOWN);

    IpAddress pod = ip("10.244.1.5"), db = ip("10.244.2.8");
    g_assert_cmpstr(inventory_service_of_endpoint(inventory, &pod, 6, 8080, now)->name, ==, "cart");
    g_assert_cmpstr(inventory_service_of_endpoint(inventory, &db, 0, 0, now)->name, ==, "db");
    g_assert_null(inventory_service_of_endpoint(inventory, &db, 6, 5432, now));
    inventory_free(inventory);
}

#define POD_WITH_OWNER(labels, owner)                                                          \
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"uid\":\"u\",\"name\":\"p\","      \
    "\"namespace\":\"shop\",\"labels\":{" labels "},\"ownerReferences\":[{\"kind\":\"Other\"," \
    "\"name\":\"o\",\"controller\":false}," owner "]}}"

static void check_owner(const char *text, const char *kind, const char *name)
{
    InventoryFile *file = parse(text);
    g_assert_cmpuint(file->warnings->len, ==, 0);
    assert_owner(find(file, "u"), kind, name);
    inventory_file_free(file);
}

#define REPLICA_SET       "{\"kind\":\"ReplicaSet\",\"name\":\"web-abc\",\"controller\":true}"
#define OWNER(kind, name) "{\"kind\":\"" kind "\",\"name\":\"" name "\",\"controller\":true}"

static void test_owners(void)
{
    check_owner(POD_WITH_OWNER("\"pod-template-hash\":\"abc\"", REPLICA_SET), "Deployment", "web");
    check_owner(POD_WITH_OWNER("", REPLICA_SET), "ReplicaSet", "web-abc");
    check_owner(POD_WITH_OWNER("\"pod-template-hash\":\"bc\"", REPLICA_SET), "ReplicaSet",
                "web-abc");
    check_owner(POD_WITH_OWNER("\"pod-template-hash\":\"web-abc\"", REPLICA_SET), "ReplicaSet",
                "web-abc");
    check_owner(POD_WITH_OWNER("", OWNER("StatefulSet", "db")), "StatefulSet", "db");
    check_owner(POD_WITH_OWNER("", OWNER("DaemonSet", "log")), "DaemonSet", "log");
    check_owner(POD_WITH_OWNER("", OWNER("Node", "n1")), "Node", "n1");
    check_owner(POD_WITH_OWNER("", OWNER("Job", "tidy-28582560")), "CronJob", "tidy");
    check_owner(POD_WITH_OWNER("", OWNER("Job", "import-20240506")), "Job", "import-20240506");
    check_owner(POD_WITH_OWNER("", OWNER("Job", "-28582560")), "Job", "-28582560");
    check_owner(POD_WITH_OWNER("", OWNER("Job", "tidy-2858256x")), "Job", "tidy-2858256x");
    check_owner(POD_WITH_OWNER("", OWNER("Job", "tidy")), "Job", "tidy");
    check_owner("{\"kind\":\"Pod\",\"metadata\":{\"uid\":\"u\",\"name\":\"p\"}}", "", "");
    /* The Job itself says that nobody controls it, in a second document, after the pod. */
    check_owner(
        POD_WITH_OWNER(
            "",
            OWNER("Job", "tidy-28582560")) "\n"
                                           "{\"apiVersion\":\"batch/"
                                           "v1\",\"kind\":\"Job\",\"metadata\":{\"uid\":\"j\","
                                           "\"name\":\"tidy-28582560\",\"namespace\":\"shop\"}}",
        "Job", "tidy-28582560");
}

#define OBJECT(kind, uid, rest) \
    "{\"kind\":\"" kind "\",\"metadata\":{\"uid\":\"" uid "\",\"name\":\"" uid "\"}" rest "}"

static void test_documents(void)
{
    /* A list of one kind as the API prints it, a single object, an empty list: with a byte order
     * mark, and no newline between. */
    InventoryFile *file =
        parse("\xef\xbb\xbf{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"items\":["
              "{\"metadata\":{\"uid\":\"a\",\"name\":\"a\"}}]}" OBJECT(
                  "Node", "b", "") "\n{\"kind\":\"List\",\"items\":[]} \n"
                                   "{\"kind\":\"ServiceList\",\"items\":null}\n"
                                   "{\"kind\":\"AccessList\"}");
    g_assert_cmpuint(file->warnings->len, ==, 0);
    g_assert_cmpuint(file->entities->len, ==, 2);
    g_assert_cmpint(find(file, "a")->kind, ==, ENTITY_POD);
    g_assert_cmpuint(find(file, "a")->from_ns, ==, 0);
    g_assert_cmpint(find(file, "b")->kind, ==, ENTITY_NODE);
    inventory_file_free(file);
}

#define TERMINATED(at) "{\"name\":\"c\",\"state\":{\"terminated\":{\"finishedAt\":\"" at "\"}}}"

static void test_finished(void)
{
    static const struct {
        const char *status, *metadata;
        uint64_t to_ns;
        size_t n_addresses;
    } cases[] = {
        {"\"phase\":\"Running\"", ",\"deletionTimestamp\":\"2024-05-01T00:01:00Z\"", 0, 1},
        {"\"phase\":\"Failed\"", ",\"deletionTimestamp\":\"2024-05-01T00:01:00Z\"", 61, 1},
        {"\"phase\":\"Failed\"", "", 0, 0},
        {"\"phase\":\"Succeeded\",\"containerStatuses\":[" TERMINATED(
             "2024-05-01T00:00:20Z") "," TERMINATED("2024-05-01T00:00:10Z") "]",
         "", 21, 1},
        {"\"phase\":\"Failed\",\"initContainerStatuses\":[" TERMINATED(
             "2024-05-01T02:00:05+02:00") "]",
         "", 6, 1},
        {"\"phase\":\"Running\",\"containerStatuses\":[" TERMINATED("2024-05-01T00:00:20Z") "]", "",
         0, 1},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text =
            g_strdup_printf("{\"kind\":\"Pod\",\"metadata\":{\"uid\":\"u\",\"name\":\"p\"%s},"
                            "\"status\":{\"podIP\":\"10.0.0.1\",%s}}",
                            cases[i].metadata, cases[i].status);
        InventoryFile *file = parse(text);
        const Entity *pod = find(file, "u");
        uint64_t expected = cases[i].to_ns ? SECONDS(S_2024_05_01 + cases[i].to_ns) : 0;
        g_assert_cmpuint(pod->to_ns, ==, expected);
        g_assert_cmpuint(pod->n_addresses, ==, cases[i].n_addresses);
        inventory_file_free(file);
    }
}

/* Each is left out with a warning that names it and what is wrong with it; the good one beside it
 * stays. */
static void test_malformed_objects(void)
{
    static const struct {
        const char *object, *named, *reason;
    } cases[] = {
        {"7", "item 0", "no object"},
        {"{\"kind\":\"Pod\"}", "Pod without a name", "metadata: missing"},
        {"{\"kind\":\"Pod\",\"metadata\":[]}", "Pod", "metadata: expected an object"},
        {"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\"}}", "Pod x", "metadata.uid: missing"},
        {"{\"kind\":\"Pod\",\"metadata\":{\"uid\":\"x\"}}", "Pod", "metadata.name: missing"},
        {"{\"kind\":\"Pod\",\"metadata\":{\"uid\":\"x\",\"name\":\"x\",\"namespace\":\"ns\","
         "\"labels\":{\"a\":1}}}",
         "Pod ns/x", "metadata.labels.a: expected a string, found an integer"},
        {"{\"kind\":\"Pod\",\"metadata\":{\"uid\":\"x\",\"name\":\"x\","
         "\"creationTimestamp\":\"yesterday\"}}",
         "Pod x", "\"yesterday\" is no RFC 3339 time"},
        {"{\"kind\":\"Pod\",\"metadata\":{\"uid\":\"x\",\"name\":\"x\","
         "\"creationTimestamp\":\"9999-12-31T23:59:59Z\"}}",
         "Pod x", "too far in the future"},
        {"{\"kind\":\"Pod\",\"metadata\":{\"uid\":\"x\",\"name\":\"x\","
         "\"ownerReferences\":[\"rs\"]}}",
         "Pod x", "expected objects, found a string at index 0"},
        {OBJECT("Pod", "x", ",\"status\":{\"podIP\":\"10.0.0.300\"}"), "Pod x",
         "status.podIP: \"10.0.0.300\" is no IP address"},
        {OBJECT("Pod", "x", ",\"status\":{\"podIPs\":[{\"ip\":true}]}"), "Pod x",
         "podIPs.ip: expected a string, found a boolean"},
        {OBJECT("Pod", "x", ",\"spec\":{\"hostNetwork\":\"yes\"}"), "Pod x",
         "spec.hostNetwork: expected a boolean"},
        {OBJECT("Pod", "x", ",\"spec\":{\"containers\":[{\"ports\":[{\"containerPort\":65536}]}]}"),
         "Pod x", "65536 is no port"},
        {OBJECT("Service", "x", ",\"spec\":{\"ports\":[{\"port\":-1}]}"), "Service x",
         "-1 is no port"},
        {OBJECT("Service", "x", ",\"spec\":{\"ports\":[{\"port\":80.5}]}"), "Service x",
         "spec.ports.port: expected an integer, found a number with a fraction"},
        {OBJECT("Service", "x", ",\"spec\":{\"ports\":[{\"port\":80,\"protocol\":\"tcp\"}]}"),
         "Service x", "\"tcp\" is none of TCP, UDP and SCTP"},
        {OBJECT("Service", "x", ",\"spec\":{\"clusterIPs\":[5]}"), "Service x",
         "spec.clusterIPs: expected strings"},
        {OBJECT("Node", "x",
                ",\"status\":{\"addresses\":[{\"type\":\"InternalIP\","
                "\"address\":\"n\"}]}"),
         "Node x", "\"n\" is no IP address"},
        {OBJECT("EndpointSlice", "x", ",\"endpoints\":[{\"addresses\":[\"x\"]}]"),
         "EndpointSlice x", "\"x\" is no IP address"},
        {OBJECT("EndpointSlice", "x", ",\"endpoints\":{}"), "EndpointSlice x",
         "endpoints: expected an array, found an object"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = g_strdup_printf("{\"kind\":\"List\",\"items\":[%s,%s]}",
                                                cases[i].object, OBJECT("Pod", "good", ""));
        InventoryFile *file = parse(text);
        g_assert_cmpuint(file->entities->len, ==, 1);
        find(file, "good");
        g_assert_cmpuint(file->warnings->len, ==, 1);
        const char *warning = g_ptr_array_index(file->warnings, 0);
        g_assert_true(g_str_has_prefix(warning, "test.json: item 0 "));
        g_assert_nonnull(strstr(warning, cases[i].named));
        g_assert_nonnull(strstr(warning, cases[i].reason));
        inventory_file_free(file);
    }
}

static void reject(const char *text, size_t length, int code, const char *expected)
{
    GError *error = NULL;
    g_assert_null(inventory_file_parse(text, length, "bad.json", &error));
    g_assert_error(error, INVENTORY_ERROR, code);
    if (!g_str_has_prefix(error->message, expected))
        g_error("\"%s\" does not begin with \"%s\"", error->message, expected);
    g_error_free(error);
}

static void test_broken_json(void)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", "bad.json: line 1, column 1: the file is empty"},
        {" \n\n ", "bad.json: line 3, column 2: the file is empty"},
        {"{\"a\": 1,\n \"b\": }", "bad.json: line 2, column 7: "},
        {"{\"a\": 1,\n \"b\": tru }", "bad.json: line 2, column 9: "},
        {"{}\n{}\n  x", "bad.json: line 3, column 3: "},
        {"apiVersion: v1\nkind: List\n", "bad.json: line 1, column 10: "},
        {"{\"kind\": \"List\", \"items\": [", "bad.json: line 1, column 27: "},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        reject(cases[i].text, strlen(cases[i].text), INVENTORY_ERROR_SYNTAX, cases[i].expected);
    reject("{\"a\":\"\xff\"}", 9, INVENTORY_ERROR_SYNTAX, "bad.json: line 1, ");
    reject("{\"a\":\"\0\"}", 9, INVENTORY_ERROR_SYNTAX, "bad.json: line 1, ");
    reject("{\"a\":99999999999999999999}", 26, INVENTORY_ERROR_SYNTAX, "bad.json: line 1, ");
}

static void test_no_list(void)
{
    static const char no_items[] = "{}\n{\"kind\":\"List\"}";
    static const char bad_items[] = "{\"kind\":\"PodList\",\"items\":{}}";
    reject("[1]", 3, INVENTORY_ERROR_OBJECT, "bad.json: document 1 is no object");
    reject(no_items, strlen(no_items), INVENTORY_ERROR_OBJECT, "bad.json: document 2 (List ");
    reject(bad_items, strlen(bad_items), INVENTORY_ERROR_OBJECT, "bad.json: document 1 (PodList ");
}

static void test_hostile(void)
{
    g_autofree char *nested = g_strnfill(1000000, '[');
    reject(nested, 1000000, INVENTORY_ERROR_SYNTAX, "bad.json: line 1, column 20");

    g_autofree char *long_name = g_strnfill(2000, 'x');
    g_autofree char *text = g_strdup_printf(
        "{\"kind\":\"Pod\",\"metadata\":{\"uid\":\"u\",\"name\":\"%s\"}}", long_name);
    InventoryFile *file = parse(text);
    g_assert_cmpuint(file->entities->len, ==, 0);
    g_assert_cmpuint(file->warnings->len, ==, 1);
    g_assert_nonnull(strstr(g_ptr_array_index(file->warnings, 0), "too long"));
    inventory_file_free(file);

    GString *many =
        g_string_new("{\"kind\":\"Service\",\"metadata\":{\"uid\":\"u\",\"name\":\"s\"},"
                     "\"spec\":{\"ports\":[{\"port\":1}");
    for (int i = 0; i < 10000; i++)
        g_string_append(many, ",{\"port\":1}");
    g_string_append(many, "]}}");
    file = parse(many->str);
    g_assert_cmpuint(file->warnings->len, ==, 1);
    g_assert_nonnull(strstr(g_ptr_array_index(file->warnings, 0), "too many"));
    inventory_file_free(file);
    g_string_free(many, TRUE);
}

static void test_unreadable(void)
{
    GError *error = NULL;
    g_assert_null(inventory_file_read("/nonexistent/inventory.json", &error));
    g_assert_error(error, INVENTORY_ERROR, INVENTORY_ERROR_READ);
    g_assert_nonnull(strstr(error->message, "/nonexistent/inventory.json: No such file"));
    g_clear_error(&error);
    g_assert_null(inventory_file_read(g_get_tmp_dir(), &error));
    g_assert_error(error, INVENTORY_ERROR, INVENTORY_ERROR_READ);
    g_clear_error(&error);
}

/* Every prefix of a real file: an error, never a crash or half of an inventory. */
static void test_torn(void)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "cluster.json", NULL);
    g_autofree char *text = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(path, &text, &length, NULL));
    length = strlen(g_strchomp(text));
    for (gsize cut = 0; cut < length; cut += 7) {
        GError *error = NULL;
        g_assert_null(inventory_file_parse(text, cut, "torn", &error));
        g_assert_error(error, INVENTORY_ERROR, INVENTORY_ERROR_SYNTAX);
        g_error_free(error);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/inventory-file/pod", test_pod);
    g_test_add_func("/inventory-file/other-kinds", test_other_kinds);
    g_test_add_func("/inventory-file/lookups", test_lookups);
    g_test_add_func("/inventory-file/owners", test_owners);
    g_test_add_func("/inventory-file/documents", test_documents);
    g_test_add_func("/inventory-file/finished", test_finished);
    g_test_add_func("/inventory-file/malformed-objects", test_malformed_objects);
    g_test_add_func("/inventory-file/broken-json", test_broken_json);
    g_test_add_func("/inventory-file/no-list", test_no_list);
    g_test_add_func("/inventory-file/hostile", test_hostile);
    g_test_add_func("/inventory-file/unreadable", test_unreadable);
    g_test_add_func("/inventory-file/torn", test_torn);
    return g_test_run();
}
