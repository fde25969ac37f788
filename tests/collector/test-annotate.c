// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <string.h>

#include "collector/annotate.h"
#include "fixture.h"
#include "k8s-enrich/identity-option.h"
#include "named.h"

#define T0 (1000 * SECOND)

static const CapturePoint client_point = {.id = 1,
                                          .cluster = "east",
                                          .node = "node-a",
                                          .device = "eth0",
                                          .target_uid = "uid-client",
                                          .link_type = 1};
static const CapturePoint loopback_point = {.id = 2,
                                            .cluster = "",
                                            .node = "node-a",
                                            .device = "lo",
                                            .target_uid = "uid-client",
                                            .link_type = 1,
                                            .loopback = true};

static Inventory *cluster(void)
{
    Inventory *inventory = inventory_new();
    fixture_labelled_pod(inventory, "client", "10.1.0.1", "app", "client", 0);
    fixture_labelled_pod(inventory, "server", "10.2.0.1", "app", "server", 0);
    fixture_service(inventory, "catalog", "10.96.0.1", 80, 8080, 6, "server", "10.2.0.1", NULL);
    return inventory;
}

/* From the client's pod to the server's. */
static PacketInfo to_server(void)
{
    return parse(&(FixturePacket){
        .src = "10.1.0.1", .dst = "10.2.0.1", .protocol = 6, .src_port = 40000, .dst_port = 8080});
}

/* As it leaves the client's pod. */
static AnnotateRequest outbound(const PacketInfo *info)
{
    return (AnnotateRequest){.point = &client_point,
                             .info = info,
                             .direction = PCAPNG_DIRECTION_OUTBOUND,
                             .time_ns = T0};
}

static void test_both_ends(void)
{
    Inventory *inventory = cluster();
    Annotator *annotator = annotator_new(inventory, NULL, true);
    PacketInfo info = to_server();
    AnnotateRequest request = outbound(&info);
    Named named = name(annotator, &request);
    assert_has(named, IDENTITY_POD, IDENTITY_SRC, "client");
    assert_has(named, IDENTITY_POD, IDENTITY_DST, "server");
    assert_has(named, IDENTITY_NAMESPACE, IDENTITY_SRC, "shop");
    assert_has(named, IDENTITY_SERVICE, IDENTITY_DST, "catalog"); /* by its endpoint */
    assert_has(named, IDENTITY_CLUSTER, IDENTITY_PACKET, "east");
    assert_has(named, IDENTITY_CAPTURE_NODE, IDENTITY_PACKET, "node-a");
    assert_has(named, IDENTITY_CAPTURE_POD, IDENTITY_PACKET, "shop/client");
    g_assert_cmpstr(named.comment, ==, "shop/client -> shop/server (service catalog)");
    g_assert_false(named.annotation.unnamed);
    named_clear(&named);

    /* The reply: the service is where the server is. */
    info = parse(&(FixturePacket){
        .src = "10.2.0.1", .dst = "10.1.0.1", .protocol = 6, .src_port = 8080, .dst_port = 40000});
    request.direction = PCAPNG_DIRECTION_INBOUND;
    named = name(annotator, &request);
    assert_has(named, IDENTITY_SERVICE, IDENTITY_SRC, "catalog");
    assert_not(named, IDENTITY_SERVICE, IDENTITY_DST, "catalog");
    named_clear(&named);
    annotator_free(annotator);
    inventory_free(inventory);
}

static void test_own_end_is_exact(void)
{
    Inventory *inventory = cluster();
    Annotator *annotator = annotator_new(inventory, NULL, false);
    /* An address that the inventory does not know yet, or knows as somebody else's. */
    PacketInfo info = parse(&(FixturePacket){
        .src = "10.2.0.1", .dst = "10.96.0.1", .protocol = 6, .src_port = 40000, .dst_port = 80});
    AnnotateRequest request = outbound(&info);
    Named named = name(annotator, &request);
    assert_has(named, IDENTITY_POD, IDENTITY_SRC, "client");
    assert_has(named, IDENTITY_SERVICE, IDENTITY_DST, "catalog");
    assert_has(named, IDENTITY_PEER_TYPE, IDENTITY_DST, "2");
    named_clear(&named);

    info = parse(&(FixturePacket){
        .src = "127.0.0.1", .dst = "127.0.0.1", .protocol = 6, .src_port = 40000, .dst_port = 80});
    request.point = &loopback_point;
    named = name(annotator, &request);
    assert_has(named, IDENTITY_POD, IDENTITY_SRC, "client");
    assert_has(named, IDENTITY_POD, IDENTITY_DST, "client");
    g_assert_false(named.annotation.unnamed);
    named_clear(&named);
    annotator_free(annotator);
    inventory_free(inventory);
}

static void test_attributes_once(void)
{
    Inventory *inventory = cluster();
    Annotator *annotator = annotator_new(inventory, NULL, false);
    PacketInfo info = to_server();
    AnnotateRequest request = outbound(&info);
    Named named = name(annotator, &request);
    assert_has(named, IDENTITY_UID, IDENTITY_SRC, "uid-client");
    assert_has(named, IDENTITY_LABEL, IDENTITY_SRC, "app=client");
    assert_has(named, IDENTITY_LABEL, IDENTITY_DST, "app=server");
    named_clear(&named);

    request.time_ns = T0 + ANNOTATE_ATTRIBUTES_NS - 1;
    named = name(annotator, &request);
    assert_not(named, IDENTITY_UID, IDENTITY_SRC, "uid-client");
    assert_has(named, IDENTITY_POD, IDENTITY_SRC, "client");
    named_clear(&named);

    /* A change of one entity tells that one again. */
    fixture_labelled_pod(inventory, "server", "10.2.0.1", "app", "new", T0 + 1);
    named = name(annotator, &request);
    assert_not(named, IDENTITY_UID, IDENTITY_SRC, "uid-client");
    assert_has(named, IDENTITY_LABEL, IDENTITY_DST, "app=new");
    named_clear(&named);

    request.time_ns = T0 + ANNOTATE_ATTRIBUTES_NS;
    named = name(annotator, &request);
    assert_has(named, IDENTITY_UID, IDENTITY_SRC, "uid-client");
    assert_not(named, IDENTITY_UID, IDENTITY_DST, "uid-server");
    named_clear(&named);
    annotator_free(annotator);
    inventory_free(inventory);
}

static void test_reused_address(void)
{
    Inventory *inventory = inventory_new();
    fixture_pod(inventory, "old", "10.9.0.1", T0);
    inventory_remove(inventory, ENTITY_POD, "uid-old", T0 + 10 * SECOND);
    fixture_pod(inventory, "new", "10.9.0.1", T0 + 20 * SECOND);
    Annotator *annotator = annotator_new(inventory, NULL, false);
    PacketInfo info = parse(&(FixturePacket){
        .src = "10.9.0.1", .dst = "8.8.8.8", .protocol = 17, .src_port = 40000, .dst_port = 53});
    /* Back and forth in time, with everything in the cache. */
    const struct {
        uint64_t after_s;
        const char *pod;
    } steps[] = {{5, "old"},  {25, "new"}, {5, "old"}, {9, "old"},
                 {20, "new"}, {15, NULL},  {25, "new"}};
    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        AnnotateRequest request = {.info = &info, .time_ns = T0 + steps[i].after_s * SECOND};
        Named named = name(annotator, &request);
        g_assert_cmpint(named_has(&named, IDENTITY_POD, IDENTITY_SRC, "old"), ==,
                        g_strcmp0(steps[i].pod, "old") == 0);
        g_assert_cmpint(named_has(&named, IDENTITY_POD, IDENTITY_SRC, "new"), ==,
                        g_strcmp0(steps[i].pod, "new") == 0);
        named_clear(&named);
    }
    annotator_free(annotator);
    inventory_free(inventory);
}

static void test_late_knowledge(void)
{
    Inventory *inventory = inventory_new();
    Annotator *annotator = annotator_new(inventory, NULL, false);
    PacketInfo info = to_server();
    AnnotateRequest request = outbound(&info);
    Named named = name(annotator, &request);
    assert_not(named, IDENTITY_POD, IDENTITY_SRC, "client");
    named_clear(&named);
    fixture_pod(inventory, "client", "10.1.0.1", 0);
    named = name(annotator, &request);
    assert_has(named, IDENTITY_POD, IDENTITY_SRC, "client");
    named_clear(&named);
    annotator_free(annotator);
    inventory_free(inventory);
}

static void test_unnamed(void)
{
    Inventory *inventory = cluster();
    Annotator *annotator = annotator_new(inventory, NULL, true);
    PacketInfo info = parse(&(FixturePacket){
        .src = "169.254.1.1", .dst = "224.0.0.1", .protocol = 17, .src_port = 1, .dst_port = 2});
    AnnotateRequest request = {.info = &info, .time_ns = T0};
    Annotation annotation;
    annotate(annotator, &request, &annotation);
    g_assert_true(annotation.unnamed);
    g_assert_cmpuint(annotation.length, ==, 0);
    info = (PacketInfo){0}; /* ARP, say */
    annotate(annotator, &request, &annotation);
    g_assert_false(annotation.unnamed);
    annotator_free(annotator);
    inventory_free(inventory);
}

/* More attributes than an option holds: the core is whole, and the options never outgrow their
 * limit. */
static void test_huge_attributes(void)
{
    Inventory *inventory = inventory_new();
    g_autofree char *value = g_strnfill(300, 'x');
    fixture_labelled_pod(inventory, "client", "10.1.0.1", "key", value, 0);
    Remora__V1__Label labels[64], *pointers[64];
    for (size_t i = 0; i < G_N_ELEMENTS(labels); i++) {
        remora__v1__label__init(&labels[i]);
        labels[i].key = (char *)"key";
        labels[i].value = value;
        pointers[i] = &labels[i];
    }
    Remora__V1__Entity pod = REMORA__V1__ENTITY__INIT;
    pod.kind = REMORA__V1__ENTITY_KIND__ENTITY_KIND_POD;
    pod.uid = (char *)"uid-client";
    pod.name = (char *)"client";
    pod.namespace_ = (char *)"shop";
    pod.labels = pointers;
    pod.n_labels = G_N_ELEMENTS(labels);
    pod.from_unix_ns = T0;
    const char *error;
    Entity *entity = entity_from_proto(&pod, &error);
    inventory_add(inventory, entity);
    entity_unref(entity);
    Annotator *annotator = annotator_new(inventory, "c", true);
    PacketInfo info =
        parse(&(FixturePacket){.src = "127.0.0.1", .dst = "127.0.0.1", .protocol = 6});
    AnnotateRequest request = {.point = &loopback_point, .info = &info, .time_ns = T0};
    Named named = name(annotator, &request);
    g_assert_cmpuint(named.annotation.length, <=, ANNOTATE_OPTIONS_MAX);
    g_assert_cmpuint(named.annotation.length, >, ANNOTATE_OPTIONS_MAX / 2);
    assert_has(named, IDENTITY_POD, IDENTITY_SRC, "client");
    assert_has(named, IDENTITY_POD, IDENTITY_DST, "client");
    named_clear(&named);
    annotator_free(annotator);
    inventory_free(inventory);
}

static FlowEnd flow_end(const char *address, uint16_t port)
{
    FlowEnd ret = {.port = port};
    g_assert_true(ip_address_from_text(&ret.address, address));
    return ret;
}

/* Each leg names the ends that the connection really has. */
static void test_flow(void)
{
    Inventory *inventory = cluster();
    Annotator *annotator = annotator_new(inventory, NULL, false);
    const Flow flow = {.id = 77,
                       .client = flow_end("10.1.0.1", 40000),
                       .service = flow_end("10.96.0.1", 80),
                       .masked_client = flow_end("10.0.0.9", 50000),
                       .server = flow_end("10.2.0.1", 8080),
                       .protocol = 6};
    Peer called;
    inventory_lookup(inventory, &flow.service.address, 6, 80, T0, &called);
    g_assert_nonnull(called.service);
    const FixturePacket legs[] = {
        {.src = "10.1.0.1", .dst = "10.96.0.1", .protocol = 6, .src_port = 40000, .dst_port = 80},
        {.src = "10.0.0.9", .dst = "10.2.0.1", .protocol = 6, .src_port = 50000, .dst_port = 8080},
        {.src = "10.96.0.1", .dst = "10.1.0.1", .protocol = 6, .src_port = 80, .dst_port = 40000},
        {.src = "10.2.0.1", .dst = "10.0.0.9", .protocol = 6, .src_port = 8080, .dst_port = 50000},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(legs); i++) {
        PacketInfo info = parse(&legs[i]);
        AnnotateRequest request = {.info = &info,
                                   .time_ns = T0,
                                   .service = called.service,
                                   .flow = &flow,
                                   .service_is_src = i >= 2};
        IdentityScope server = i < 2 ? IDENTITY_DST : IDENTITY_SRC;
        IdentityScope client = i < 2 ? IDENTITY_SRC : IDENTITY_DST;
        Named named = name(annotator, &request);
        assert_has(named, IDENTITY_POD, server, "server");
        assert_has(named, IDENTITY_SERVICE, server, "catalog");
        assert_has(named, IDENTITY_POD, client, "client");
        assert_has(named, IDENTITY_FLOW_ID, IDENTITY_PACKET, "77");
        named_clear(&named);
        request.flow = NULL; /* nothing of it is remembered */
        request.service = NULL;
        named = name(annotator, &request);
        assert_not(named, IDENTITY_FLOW_ID, IDENTITY_PACKET, "77");
        named_clear(&named);
    }
    /* The server is not known: what was called is named. */
    Flow to_nobody = flow;
    to_nobody.server = flow_end("169.254.7.7", 8080);
    to_nobody.id = 78;
    PacketInfo info = parse(&legs[0]);
    AnnotateRequest request = {
        .info = &info, .time_ns = T0, .service = called.service, .flow = &to_nobody};
    Named named = name(annotator, &request);
    assert_has(named, IDENTITY_PEER_TYPE, IDENTITY_DST, "2");
    assert_has(named, IDENTITY_SERVICE, IDENTITY_DST, "catalog");
    named_clear(&named);
    annotator_free(annotator);
    inventory_free(inventory);
}

/* Pods that came and went are forgotten; of one that is seen again everything is told again. */
static void test_forget(void)
{
    Inventory *inventory = cluster();
    Annotator *annotator = annotator_new(inventory, NULL, false);
    PacketInfo info = to_server();
    AnnotateRequest request = outbound(&info);
    for (int round = 0; round < 2; round++) {
        Named named = name(annotator, &request);
        assert_has(named, IDENTITY_LABEL, IDENTITY_SRC, "app=client");
        named_clear(&named);
        g_assert_cmpuint(annotator_entities(annotator), ==, 2);
        annotator_forget(annotator, T0);
        g_assert_cmpuint(annotator_entities(annotator), ==, 2);
        annotator_forget(annotator, T0 + 1);
        g_assert_cmpuint(annotator_entities(annotator), ==, 0);
    }
    annotator_free(annotator);
    inventory_free(inventory);
}

static void own_without(SocketTable *owners, const char *uid, uint32_t local_port,
                        uint32_t remote_port, const char *container, const char *process,
                        uint32_t pid, const char *no_secrets)
{
    uint8_t any_peer[4] = {0};
    const char *problem;
    Remora__V1__SocketOwner owner = REMORA__V1__SOCKET_OWNER__INIT;
    owner.target_uid = (char *)(uintptr_t)uid;
    owner.protocol = 6;
    owner.local_port = local_port;
    owner.remote_port = remote_port;
    if (remote_port) /* of the loopback test */
        memcpy(any_peer, (uint8_t[]){127, 0, 0, 1}, 4);
    owner.local = owner.remote = (ProtobufCBinaryData){remote_port ? 4 : 0, any_peer};
    owner.container = (char *)(uintptr_t)container;
    owner.process = (char *)(uintptr_t)process;
    owner.pid = pid;
    owner.no_secrets = (char *)(uintptr_t)no_secrets;
    g_assert_cmpint(socket_table_apply(owners, 0, &owner, &problem), ==, 0);
}

static void own(SocketTable *owners, const char *uid, uint32_t local_port, uint32_t remote_port,
                const char *container, const char *process, uint32_t pid)
{
    own_without(owners, uid, local_port, remote_port, container, process, pid, "");
}

/* Why no TLS secrets come from an end's process, and on every packet whether they were asked for.
 */
static void test_no_secrets(void)
{
    Inventory *inventory = cluster();
    SocketTable *owners = socket_table_new(0);
    Annotator *annotator = annotator_new(inventory, NULL, false);
    annotator_set_owners(annotator, owners);
    PacketInfo info = to_server();
    AnnotateRequest request = outbound(&info);
    own(owners, "uid-client", 40000, 0, "app", "curl", 4242);
    own_without(owners, "uid-server", 8080, 0, "web", "tomcat", 7, "Java is not hooked");
    /* Another reader asked. */
    Named named = name(annotator, &request);
    g_assert_null(strstr(named.text, "Java is not hooked"));
    g_assert_cmpuint(named.flags, ==, IDENTITY_FLAG_ATTRIBUTES);
    named_clear(&named);
    annotator_free(annotator);

    annotator = annotator_new(inventory, NULL, false);
    annotator_set_owners(annotator, owners);
    annotator_set_secrets_asked(annotator, true);
    for (unsigned first = IDENTITY_FLAG_ATTRIBUTES, times = 0; times < 2; times++, first = 0) {
        named = name(annotator, &request);
        assert_has(named, IDENTITY_NO_SECRETS, IDENTITY_DST, "Java is not hooked");
        g_assert_null(strstr(named.text, "\n13/1="));
        g_assert_cmpuint(named.flags, ==, first | IDENTITY_FLAG_SECRETS);
        named_clear(&named);
    }
    annotator_free(annotator);
    socket_table_free(owners);
    inventory_free(inventory);
}

/* The processes of both ends, as soon as they are told and no later. */
static void test_owners(void)
{
    Inventory *inventory = cluster();
    SocketTable *owners = socket_table_new(0);
    Annotator *annotator = annotator_new(inventory, NULL, false);
    annotator_set_owners(annotator, owners);
    PacketInfo info = to_server();
    AnnotateRequest request = outbound(&info);
    own(owners, "uid-client", 40000, 0, "app", "curl", 4242);
    Named named = name(annotator, &request); /* with the attributes */
    assert_has(named, IDENTITY_CONTAINER, IDENTITY_SRC, "app");
    assert_has(named, IDENTITY_PROCESS_NAME, IDENTITY_SRC, "curl");
    assert_has(named, IDENTITY_PROCESS_PID, IDENTITY_SRC, "4242");
    g_assert_null(strstr(named.text, "\n11/2="));
    named_clear(&named);

    own(owners, "uid-server", 8080, 0, "web", "nginx", 7);
    own(owners, "uid-server", 8081, 0, "web", "other", 8);
    named = name(annotator, &request);
    assert_has(named, IDENTITY_PROCESS_NAME, IDENTITY_SRC, "curl");
    assert_has(named, IDENTITY_PROCESS_NAME, IDENTITY_DST, "nginx");
    assert_has(named, IDENTITY_PROCESS_PID, IDENTITY_DST, "7");
    named_clear(&named);

    /* The other way. */
    info = parse(&(FixturePacket){
        .src = "10.2.0.1", .dst = "10.1.0.1", .protocol = 6, .src_port = 8080, .dst_port = 40000});
    request.direction = PCAPNG_DIRECTION_INBOUND;
    named = name(annotator, &request);
    assert_has(named, IDENTITY_PROCESS_NAME, IDENTITY_SRC, "nginx");
    assert_has(named, IDENTITY_PROCESS_NAME, IDENTITY_DST, "curl");
    named_clear(&named);
    annotator_free(annotator);
    socket_table_free(owners);
    inventory_free(inventory);
}

/* Both ends in one pod, each with its own process; what concerns another connection keeps what is
 * encoded. */
static void test_owners_on_loopback(void)
{
    Inventory *inventory = cluster();
    SocketTable *owners = socket_table_new(0);
    Annotator *annotator = annotator_new(inventory, NULL, false);
    annotator_set_owners(annotator, owners);
    PacketInfo info = parse(&(FixturePacket){
        .src = "127.0.0.1", .dst = "127.0.0.1", .protocol = 6, .src_port = 1234, .dst_port = 80});
    AnnotateRequest request = {.point = &loopback_point, .info = &info, .time_ns = T0};
    own(owners, "uid-client", 80, 0, "app", "app", 2);
    own(owners, "uid-client", 1234, 80, "proxy", "envoy", 3);
    Named named = name(annotator, &request);
    assert_has(named, IDENTITY_PROCESS_NAME, IDENTITY_SRC, "envoy");
    assert_has(named, IDENTITY_CONTAINER, IDENTITY_SRC, "proxy");
    assert_has(named, IDENTITY_PROCESS_NAME, IDENTITY_DST, "app");
    assert_has(named, IDENTITY_CONTAINER, IDENTITY_DST, "app");
    named_clear(&named);

    Annotation before, after;
    annotate(annotator, &request, &before);
    const char mark = 0x55;
    memcpy((uint8_t *)(uintptr_t)before.options, &mark, 1); /* so that encoding anew shows */
    own(owners, "uid-client", 1235, 80, "proxy", "envoy", 3);
    annotate(annotator, &request, &after);
    g_assert_cmpuint(after.options[0], ==, 0x55);
    own(owners, "uid-client", 1234, 80, "proxy", "sidecar", 4);
    annotate(annotator, &request, &after);
    g_assert_cmpuint(after.options[0], !=, 0x55);
    annotator_free(annotator);
    socket_table_free(owners);
    inventory_free(inventory);
}

static void add_entity(Inventory *inventory, Entity draft, const char *address)
{
    IpAddress addresses[1];
    const char *error = NULL;
    g_assert_true(ip_address_from_text(&addresses[0], address));
    draft.addresses = addresses;
    draft.n_addresses = 1;
    Entity *entity = entity_new(&draft, &error);
    g_assert_cmpstr(error, ==, NULL);
    inventory_add(inventory, entity);
    entity_unref(entity);
}

static void own_on_host(SocketTable *owners, const char *uid, uint32_t port)
{
    const char *problem;
    Remora__V1__SocketOwner owner = REMORA__V1__SOCKET_OWNER__INIT;
    owner.target_uid = (char *)(uintptr_t)uid;
    owner.host_node = (char *)(uintptr_t) "node-b";
    owner.protocol = 6;
    owner.local_port = port;
    owner.process = (char *)(uintptr_t) "exporter";
    g_assert_cmpint(socket_table_apply(owners, 0, &owner, &problem), ==, 0);
}

/* Of the pods that share a node's addresses it is the one whose socket it is; without one, the
 * node. */
static void test_host_network(void)
{
    Inventory *inventory = cluster();
    SocketTable *owners = socket_table_new(0);
    Annotator *annotator = annotator_new(inventory, NULL, false);
    annotator_set_owners(annotator, owners);
    add_entity(inventory, (Entity){.kind = ENTITY_NODE, .uid = "uid-node-b", .name = "node-b"},
               "10.9.0.2");
    for (unsigned i = 0; i < 2; i++) {
        add_entity(inventory,
                   (Entity){.kind = ENTITY_POD,
                            .uid = i ? "uid-other" : "uid-exporter",
                            .namespace_name = "shop",
                            .name = i ? "other" : "exporter",
                            .node = "node-b",
                            .host_network = true},
                   "10.9.0.2");
    }
    PacketInfo info = parse(&(FixturePacket){
        .src = "10.1.0.1", .dst = "10.9.0.2", .protocol = 6, .src_port = 40000, .dst_port = 9100});
    AnnotateRequest request = outbound(&info);
    Named named = name(annotator, &request);
    assert_has(named, IDENTITY_NODE, IDENTITY_DST, "node-b");
    g_assert_null(strstr(named.text, "exporter"));
    named_clear(&named);
    own_on_host(owners, "uid-other", 9101);
    own_on_host(owners, "uid-exporter", 9100);
    named = name(annotator, &request);
    assert_has(named, IDENTITY_POD, IDENTITY_DST, "exporter");
    assert_has(named, IDENTITY_NODE, IDENTITY_DST, "node-b");
    assert_has(named, IDENTITY_PROCESS_NAME, IDENTITY_DST, "exporter");
    named_clear(&named);
    /* A pod that is not known has no name to give. */
    own_on_host(owners, "uid-unknown", 9102);
    info.dst_port = 9102;
    named = name(annotator, &request);
    assert_has(named, IDENTITY_NODE, IDENTITY_DST, "node-b");
    g_assert_null(strstr(named.text, "exporter"));
    named_clear(&named);
    annotator_free(annotator);
    socket_table_free(owners);
    inventory_free(inventory);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/annotate/both-ends", test_both_ends);
    g_test_add_func("/annotate/own-end", test_own_end_is_exact);
    g_test_add_func("/annotate/attributes-once", test_attributes_once);
    g_test_add_func("/annotate/reused-address", test_reused_address);
    g_test_add_func("/annotate/late-knowledge", test_late_knowledge);
    g_test_add_func("/annotate/unnamed", test_unnamed);
    g_test_add_func("/annotate/forget", test_forget);
    g_test_add_func("/annotate/flow", test_flow);
    g_test_add_func("/annotate/owners", test_owners);
    g_test_add_func("/annotate/no-secrets", test_no_secrets);
    g_test_add_func("/annotate/owners-on-loopback", test_owners_on_loopback);
    g_test_add_func("/annotate/host-network", test_host_network);
    g_test_add_func("/annotate/huge-attributes", test_huge_attributes);
    return g_test_run();
}
