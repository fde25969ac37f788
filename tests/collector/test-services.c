// SPDX-License-Identifier: GPL-2.0-or-later
/* What a packet shows of each kind of service, whose objects are as the API server has them. */
#include <glib.h>
#include <string.h>

#include "k8s-enrich/identity-option.h"
#include "k8s-enrich/inventory-file.h"
#include "named.h"

#define T0 (1000 * SECOND)

static const CapturePoint point = {
    .id = 1, .cluster = "", .node = "n1", .device = "eth0", .target_uid = "client", .link_type = 1};

#define POD(NAME, NODE, IPS)                                                                     \
    "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': '" NAME "', 'namespace': 'shop', " \
    "'uid': '" NAME "'}, 'spec': {'nodeName': '" NODE "'}, 'status': {'podIPs': [" IPS "]}},"
#define SERVICE(NAME, SPEC, STATUS)                                                              \
    "{'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': '" NAME                        \
    "', 'namespace': 'shop', 'uid': 'service-" NAME "'}, 'spec': {" SPEC "}, 'status': {" STATUS \
    "}},"
#define SLICE(NAME, SERVICE_NAME, TYPE, ADDRESS)                                                 \
    "{'apiVersion': 'discovery.k8s.io/v1', 'kind': 'EndpointSlice', 'metadata': {'name': '" NAME \
    "', 'namespace': 'shop', 'uid': 'slice-" NAME                                                \
    "', 'labels': {'kubernetes.io/service-name': '" SERVICE_NAME "'}}, 'addressType': '" TYPE    \
    "', 'ports': [{'protocol': 'TCP', 'port': 8080}], "                                          \
    "'endpoints': [{'addresses': ['" ADDRESS "'], 'targetRef': {'kind': 'Pod', 'uid': "          \
    "'server'}}]},"

static const char world[] =
    "{'kind': 'List', 'items': ["
    "{'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': 'n1', 'uid': 'n1'}, 'status': "
    "{'addresses': [{'type': 'InternalIP', 'address': '10.9.0.1'}, {'type': 'InternalIP', "
    "'address': 'fd09::1'}]}}," POD("client", "n1", "{'ip': '10.1.0.1'}, {'ip': 'fd01::1'}") POD(
        "server", "n2", "{'ip': '10.2.0.1'}, {'ip': 'fd02::1'}") POD("db-0", "n2",
                                                                     "{'ip': '10.2.0.9'}")
        SERVICE("dual",
                "'type': 'ClusterIP', 'clusterIP': '10.96.0.1', 'clusterIPs': ['10.96.0.1', "
                "'fd96::1'], 'ipFamilies': ['IPv4', 'IPv6'], 'ports': [{'protocol': 'TCP', 'port': "
                "80}]",
                "'loadBalancer': {}")
            SERVICE(
                "outside",
                "'type': 'LoadBalancer', 'clusterIP': '10.96.0.2', 'externalIPs': ['192.0.2.7'], "
                "'ports': [{'protocol': 'TCP', 'port': 443, 'nodePort': 30443}]",
                "'loadBalancer': {'ingress': [{'ip': '198.51.100.5'}, {'ip': '2001:db8::5'}]}")
                SERVICE("by-name",
                        "'type': 'LoadBalancer', 'clusterIP': '10.96.0.3', 'ports': [{'port': 80}]",
                        "'loadBalancer': {'ingress': [{'hostname': 'lb.example.com'}]}")
                    SERVICE("headless",
                            "'type': 'ClusterIP', 'clusterIP': 'None', 'clusterIPs': ['None'], "
                            "'ports': "
                            "[{'port': 8080}]",
                            "") SERVICE("elsewhere",
                                        "'type': 'ExternalName', 'externalName': 'db.example.com'",
                                        "") SLICE("headless-4", "headless", "IPv4", "10.2.0.1")
                        SLICE("headless-6", "headless", "IPv6",
                              "fd02::1") "{'apiVersion': 'discovery.k8s.io/v1', 'kind': "
                                         "'EndpointSlice', 'metadata': {'name': 'fqdn', "
                                         "'namespace': 'shop', 'uid': 'fqdn', 'labels': "
                                         "{'kubernetes.io/service-name': 'elsewhere'}}, "
                                         "'addressType': 'FQDN', 'endpoints': [{'addresses': "
                                         "['db.example.com']}]}"
                                         "]}";

static Inventory *read_world(void)
{
    g_autofree char *text = g_strdup(world);
    g_strdelimit(text, "'", '"');
    GError *error = NULL;
    InventoryFile *file = inventory_file_parse(text, strlen(text), "world", &error);
    g_assert_no_error(error);
    for (guint i = 0; i < file->warnings->len; i++)
        g_error("%s", (const char *)file->warnings->pdata[i]);
    Inventory *inventory = inventory_new();
    for (guint i = 0; i < file->entities->len; i++)
        inventory_add(inventory, file->entities->pdata[i]);
    inventory_file_free(file);
    return inventory;
}

/* A packet of the client's, and its answer; "" stands for a name that is not shown. */
typedef struct Case {
    const char *address;
    uint16_t port;
    PeerType type;
    const char *service, *pod, *node;
} Case;

static const Case cases[] = {
    {"10.96.0.1", 80, PEER_SERVICE, "dual", "", ""},
    {"fd96::1", 80, PEER_SERVICE, "dual", "", ""},
    {"10.96.0.2", 443, PEER_SERVICE, "outside", "", ""},
    {"192.0.2.7", 443, PEER_SERVICE, "outside", "", ""},    /* externalIPs */
    {"198.51.100.5", 443, PEER_SERVICE, "outside", "", ""}, /* the balancer's */
    {"2001:db8::5", 443, PEER_SERVICE, "outside", "", ""},
    {"10.9.0.1", 30443, PEER_SERVICE, "outside", "", ""}, /* node port */
    {"fd09::1", 30443, PEER_SERVICE, "outside", "", ""},
    {"10.9.0.1", 22, PEER_NODE, "", "", "n1"},
    {"10.96.0.3", 80, PEER_SERVICE, "by-name", "", ""},
    {"203.0.113.1", 80, PEER_EXTERNAL, "", "", ""}, /* what lb.example.com may stand for */
    {"10.2.0.1", 8080, PEER_POD, "headless", "server", "n2"},
    {"fd02::1", 8080, PEER_POD, "headless", "server", "n2"},
    {"10.2.0.1", 9090, PEER_POD, "", "server", "n2"}, /* a port that is none of the service's */
    {"10.2.0.9", 5432, PEER_POD, "", "db-0", "n2"},
    {"203.0.113.9", 5432, PEER_EXTERNAL, "", "", ""}, /* what an ExternalName stands for */
};

static void check_value(const Named *named, unsigned type, unsigned scope, const char *value)
{
    g_autofree char *any = g_strdup_printf("\n%u/%u=", type, scope);
    if (*value ? !named_has(named, type, scope, value) : strstr(named->text, any) != NULL)
        g_error("%u/%u is not \"%s\" in %s", type, scope, value, named->text);
}

static void check_end(const Named *named, unsigned scope, const Case *expected)
{
    g_autofree char *type = g_strdup_printf("%d", expected->type);
    check_value(named, IDENTITY_PEER_TYPE, scope, type);
    check_value(named, IDENTITY_SERVICE, scope, expected->service);
    check_value(named, IDENTITY_POD, scope, expected->pod);
    if (expected->type != PEER_SERVICE)
        check_value(named, IDENTITY_NODE, scope, expected->node);
}

static void set_end(FlowEnd *end, const char *address, uint16_t port)
{
    g_assert_true(ip_address_from_text(&end->address, address));
    end->port = port;
}

static PacketInfo packet_between(const char *src, uint16_t src_port, const char *dst,
                                 uint16_t dst_port)
{
    PacketInfo info = parse(&(FixturePacket){.src = "10.1.0.1",
                                             .dst = "10.2.0.1",
                                             .protocol = 6,
                                             .src_port = src_port,
                                             .dst_port = dst_port});
    g_assert_true(ip_address_from_text(&info.src, src));
    g_assert_true(ip_address_from_text(&info.dst, dst));
    return info;
}

static void test_kinds(void)
{
    Inventory *inventory = read_world();
    Annotator *annotator = annotator_new(inventory, NULL, false);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *one = &cases[i];
        const char *client = strchr(one->address, ':') ? "fd01::1" : "10.1.0.1";
        g_test_message("%s port %u", one->address, one->port);
        PacketInfo info = packet_between(client, 40000, one->address, one->port);
        AnnotateRequest request = {
            .point = &point, .info = &info, .direction = PCAPNG_DIRECTION_OUTBOUND, .time_ns = T0};
        Named named = name(annotator, &request);
        check_end(&named, IDENTITY_DST, one);
        check_end(&named, IDENTITY_SRC,
                  &(Case){.type = PEER_POD, .service = "", .pod = "client", .node = "n1"});
        named_clear(&named);
        info = packet_between(one->address, one->port, client, 40000);
        request.direction = PCAPNG_DIRECTION_INBOUND;
        named = name(annotator, &request);
        check_end(&named, IDENTITY_SRC, one);
        named_clear(&named);
    }
    annotator_free(annotator);
    inventory_free(inventory);
}

/* With what conntrack tells, each of these addresses is the service, and the pod that answers. */
static void test_translated(void)
{
    Inventory *inventory = read_world();
    Annotator *annotator = annotator_new(inventory, NULL, false);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *one = &cases[i];
        if (one->type != PEER_SERVICE)
            continue;
        bool is_v6 = strchr(one->address, ':') != NULL;
        Flow flow = {.id = 77, .protocol = 6};
        set_end(&flow.client, is_v6 ? "fd01::1" : "10.1.0.1", 40000);
        set_end(&flow.service, one->address, one->port);
        set_end(&flow.server, is_v6 ? "fd02::1" : "10.2.0.1", 8080);
        flow.masked_client = flow.client;
        PacketInfo info =
            packet_between(is_v6 ? "fd01::1" : "10.1.0.1", 40000, one->address, one->port);
        Peer called;
        inventory_lookup(inventory, &info.dst, 6, one->port, T0, &called);
        AnnotateRequest request = {.point = &point,
                                   .info = &info,
                                   .direction = PCAPNG_DIRECTION_OUTBOUND,
                                   .time_ns = T0,
                                   .service = called.service,
                                   .flow = &flow};
        Named named = name(annotator, &request);
        check_end(
            &named, IDENTITY_DST,
            &(Case){.type = PEER_POD, .service = one->service, .pod = "server", .node = "n2"});
        assert_has(named, IDENTITY_FLOW_ID, IDENTITY_PACKET, "77");
        named_clear(&named);
    }
    annotator_free(annotator);
    inventory_free(inventory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/services/kinds", test_kinds);
    g_test_add_func("/services/translated", test_translated);
    return g_test_run();
}
