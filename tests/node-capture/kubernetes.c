// SPDX-License-Identifier: GPL-2.0-or-later
/* How pods of the kernel and of the API server are joined (pod-join.h): whoever tells first, pods
 * that come and go, addresses, pods on the node's network, static pods. */
#include "node-capture/targets/pod-join.h"

#include <string.h>

#define SECOND UINT64_C(1000000000)
#define UID    "11111111-2222-3333-4444-555555555555"
#define HASH   "0123456789abcdef0123456789abcdef"
#define ID     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

typedef struct Fixture {
    PodJoin *join;
    GString *told; /* one line of words for each callback */
} Fixture;

/* "identity uid NAMESPACE/NAME @FROM[-TO] ADDRESS..." */
static void tell_entity(GString *told, const char *what, const Entity *entity)
{
    g_string_append_printf(told, "%s %s %s/%s @%" G_GUINT64_FORMAT, what, entity->uid,
                           entity->namespace_name, entity->name, entity->from_ns / SECOND);
    if (entity->to_ns) {
        g_string_append_printf(told, "-%" G_GUINT64_FORMAT, entity->to_ns / SECOND);
    }
    for (size_t i = 0; i < entity->n_addresses; i++) {
        char text[46];
        ip_address_format(&entity->addresses[i], text);
        g_string_append_printf(told, " %s", text);
    }
}

static void on_appeared(const Entity *pod, int netns_fd, uint64_t since_ns, void *userdata)
{
    g_autofree char *since = since_ns == TARGETS_AT_ONCE
                                 ? g_strdup("at once")
                                 : g_strdup_printf("since %" G_GUINT64_FORMAT, since_ns / SECOND);
    g_string_append_printf(((Fixture *)userdata)->told, "appeared %s/%s fd %d %s\n",
                           pod->namespace_name, pod->name, netns_fd, since);
}

static void on_vanished(const char *uid, void *userdata)
{
    g_string_append_printf(((Fixture *)userdata)->told, "vanished %s\n", uid);
}

static void on_failed(const Entity *pod, const char *reason, void *userdata)
{
    g_string_append_printf(((Fixture *)userdata)->told, "failed %s/%s %s\n", pod->namespace_name,
                           pod->name, reason);
}

static void on_left_out(const Entity *pod, bool excluded, const char *reason, void *userdata)
{
    g_string_append_printf(((Fixture *)userdata)->told, "%s %s/%s %s\n",
                           excluded ? "excluded" : "absent", pod->namespace_name, pod->name,
                           reason);
}

static void on_identity(const Entity *entity, uint64_t deleted_ns, void *userdata)
{
    Fixture *fixture = userdata;
    if (entity->kind == ENTITY_POD) {
        g_assert_cmpstr(entity->node, ==, "n1");
    }
    tell_entity(fixture->told, deleted_ns ? "deleted" : "identity", entity);
    if (deleted_ns) {
        g_string_append_printf(fixture->told, " at %" G_GUINT64_FORMAT, deleted_ns / SECOND);
    }
    g_string_append_c(fixture->told, '\n');
}

static void on_problem(const char *subject, const char *message, void *userdata)
{
    g_string_append_printf(((Fixture *)userdata)->told, "%s %s\n", message ? "problem" : "well",
                           subject);
}

static const TargetsCallbacks callbacks = {
    .appeared = on_appeared,
    .vanished = on_vanished,
    .failed = on_failed,
    .left_out = on_left_out,
    .identity = on_identity,
    .problem = on_problem,
};

static void set_up(Fixture *fixture, gconstpointer data)
{
    fixture->told = g_string_new(NULL);
    fixture->join = pod_join_new("n1", &callbacks, fixture);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
    g_assert_null(pod_join_free(fixture->join));
    g_string_free(fixture->told, TRUE);
}

/* Exactly this was told since the last call. */
static void expect(Fixture *fixture, const char *expected)
{
    g_assert_cmpstr(fixture->told->str, ==, expected);
    g_string_truncate(fixture->told, 0);
}

static void kernel_tells(Fixture *fixture, int netns_fd, unsigned now_s)
{
    pod_join_sandbox(fixture->join, UID, netns_fd, false, TARGETS_AT_ONCE, now_s * SECOND);
}

static void kernel_tells_host(Fixture *fixture, unsigned now_s)
{
    pod_join_sandbox(fixture->join, UID, -1, true, TARGETS_AT_ONCE, now_s * SECOND);
}

static void kernel_tells_addresses(Fixture *fixture, const char *uid, unsigned now_s, const char *a,
                                   const char *b)
{
    IpAddress addresses[2];
    size_t count = 0;
    if (a) {
        g_assert_true(ip_address_from_text(&addresses[count++], a));
    }
    if (b) {
        g_assert_true(ip_address_from_text(&addresses[count++], b));
    }
    pod_join_addresses(fixture->join, uid, addresses, count, now_s * SECOND);
}

static void kernel_tells_gone(Fixture *fixture, unsigned now_s)
{
    pod_join_gone(fixture->join, UID, now_s * SECOND);
}

typedef struct ApiPod {
    const char *name, *address, *container_id;
    unsigned from_s, to_s, deleted_s;
    bool host_network;
} ApiPod;

static void api_tells(Fixture *fixture, ApiPod pod)
{
    IpAddress address;
    const EntityContainer container = {"main", pod.container_id, "image"};
    Entity draft = {.kind = ENTITY_POD,
                    .uid = UID,
                    .namespace_name = "shop",
                    .name = pod.name,
                    .node = "n1",
                    .host_network = pod.host_network,
                    .containers = &container,
                    .n_containers = pod.container_id ? 1 : 0,
                    .from_ns = pod.from_s * SECOND,
                    .to_ns = pod.to_s * SECOND};
    if (pod.address) {
        g_assert_true(ip_address_from_text(&address, pod.address));
        draft.addresses = &address;
        draft.n_addresses = 1;
    }
    const char *error = NULL;
    Entity *entity = entity_new(&draft, &error);
    g_assert_nonnull(entity);
    pod_join_entity(fixture->join, entity, pod.deleted_s * SECOND, 1000 * SECOND);
    entity_unref(entity);
}

static void test_api_first(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 10});
    expect(fixture, "identity " UID " shop/cart @10\nabsent shop/cart has not started yet\n");
    kernel_tells(fixture, 7, 20);
    expect(fixture, "appeared shop/cart fd 7 at once\n");
    /* It did not have the address before it had the namespace. */
    kernel_tells_addresses(fixture, UID, 21, "10.0.0.1", NULL);
    expect(fixture, "identity " UID " shop/cart @20 10.0.0.1\n");
    /* The API server has nothing new to say. */
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 23, .address = "10.0.0.1"});
    expect(fixture, "");
}

static void test_kernel_first(Fixture *fixture, gconstpointer data)
{
    kernel_tells(fixture, 7, 20);
    expect(fixture, "identity " UID " /" UID " @20\nappeared /" UID " fd 7 at once\n");
    kernel_tells_addresses(fixture, UID, 21, "10.0.0.1", NULL);
    expect(fixture, "identity " UID " /" UID " @20 10.0.0.1\n");
    kernel_tells_addresses(fixture, UID, 22, "10.0.0.1", "fd00::1");
    expect(fixture, "identity " UID " /" UID " @22 10.0.0.1 fd00::1\n");
    /* Its first packets are the pod's, even if the API server says that it began later; it is not
     * captured anew. */
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 25, .address = "fd00::1"});
    expect(fixture, "identity " UID " shop/cart @20 fd00::1 10.0.0.1\n");
}

static void test_began_before(Fixture *fixture, gconstpointer data)
{
    kernel_tells(fixture, 7, 20);
    g_string_truncate(fixture->told, 0);
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 15});
    expect(fixture, "identity " UID " shop/cart @15\n");
}

static void test_clock_ahead(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 30});
    expect(fixture, "identity " UID " shop/cart @30\nabsent shop/cart has not started yet\n");
    kernel_tells(fixture, 7, 20);
    expect(fixture, "identity " UID " shop/cart @20\nappeared shop/cart fd 7 at once\n");
}

static void test_api_changes(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 10, .address = "10.0.0.1"});
    kernel_tells(fixture, 7, 20);
    g_string_truncate(fixture->told, 0);
    kernel_tells_addresses(fixture, UID, 21, "10.0.0.1", NULL);
    expect(fixture, "");
    /* A change is valid from its own time; a correction as long as what it corrects. */
    api_tells(fixture,
              (ApiPod){.name = "cart", .from_s = 30, .address = "10.0.0.1", .container_id = ID});
    expect(fixture, "identity " UID " shop/cart @30 10.0.0.1\n");
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 30, .address = "10.0.0.1"});
    expect(fixture, "identity " UID " shop/cart @30 10.0.0.1\n");
}

static void test_address_change(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 10});
    kernel_tells(fixture, 7, 20);
    /* The first list may be empty: then the next one is the first that says something. */
    kernel_tells_addresses(fixture, UID, 20, NULL, NULL);
    kernel_tells_addresses(fixture, UID, 22, "10.0.0.1", NULL);
    g_string_truncate(fixture->told, 0);
    kernel_tells_addresses(fixture, UID, 40, "10.0.0.1", "10.1.0.1");
    expect(fixture, "identity " UID " shop/cart @40 10.0.0.1 10.1.0.1\n");
    kernel_tells_addresses(fixture, UID, 50, "10.1.0.1", "10.1.0.1");
    expect(fixture, "identity " UID " shop/cart @50 10.1.0.1\n");
    pod_join_addresses(fixture->join, "nobody", NULL, 0, 60 * SECOND);
    expect(fixture, "");
}

static void test_recreated(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 10});
    kernel_tells(fixture, 7, 20);
    kernel_tells_addresses(fixture, UID, 21, "10.0.0.1", NULL);
    g_string_truncate(fixture->told, 0);
    /* The old address was the old namespace's. */
    kernel_tells(fixture, 8, 40);
    expect(fixture,
           "vanished " UID "\nidentity " UID " shop/cart @40\nappeared shop/cart fd 8 at once\n");
    kernel_tells_addresses(fixture, UID, 41, "10.0.0.2", NULL);
    expect(fixture, "identity " UID " shop/cart @40 10.0.0.2\n");
}

static void test_gone_then_deleted(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 10});
    kernel_tells(fixture, 7, 20);
    kernel_tells_addresses(fixture, UID, 21, "10.0.0.1", NULL);
    g_string_truncate(fixture->told, 0);
    kernel_tells_gone(fixture, 50);
    expect(fixture, "absent shop/cart has ended\nidentity " UID " shop/cart @50\n");
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 10, .deleted_s = 51});
    expect(fixture, "vanished " UID "\ndeleted " UID " shop/cart @50 at 51\n");
    /* Nothing is left of it. */
    PodJoinCounts counts = pod_join_counts(fixture->join);
    g_assert_cmpuint(counts.api + counts.others_seen, ==, 0);
    kernel_tells_gone(fixture, 52);
    expect(fixture, "");
}

static void test_deleted_then_gone(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 10});
    kernel_tells(fixture, 7, 20);
    g_string_truncate(fixture->told, 0);
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 10, .deleted_s = 50});
    expect(fixture, "");
    /* What it still sends is captured, and carries its name. */
    kernel_tells_addresses(fixture, UID, 51, "10.0.0.1", NULL);
    expect(fixture, "identity " UID " shop/cart @20 10.0.0.1\n");
    pod_join_api_synced(fixture->join, 0);
    g_assert_cmpuint(pod_join_tick(fixture->join, 90 * SECOND), ==, UINT64_MAX);
    PodJoinCounts counts = pod_join_counts(fixture->join);
    g_assert_cmpuint(counts.api, ==, 0);
    g_assert_cmpuint(counts.others_seen, ==, 1);
    expect(fixture, "");
    kernel_tells_gone(fixture, 52);
    expect(fixture, "vanished " UID "\ndeleted " UID " shop/cart @20 10.0.0.1 at 52\n");
    kernel_tells_gone(fixture, 53);
    g_assert_cmpuint(pod_join_counts(fixture->join).others_seen, ==, 0);
    expect(fixture, "");
}

static void test_gone_unknown(Fixture *fixture, gconstpointer data)
{
    kernel_tells(fixture, 7, 20);
    g_string_truncate(fixture->told, 0);
    kernel_tells_gone(fixture, 21);
    expect(fixture, "vanished " UID "\ndeleted " UID " /" UID " @20 at 21\n");
    /* The API server was slower than the pod. */
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 19, .address = "10.0.0.1"});
    expect(fixture, "identity " UID " shop/cart @19 10.0.0.1\n"
                    "absent shop/cart has not started yet\n");
}

static void test_gone_and_back(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 10});
    kernel_tells(fixture, 7, 20);
    kernel_tells_gone(fixture, 30);
    g_string_truncate(fixture->told, 0);
    kernel_tells(fixture, 8, 31);
    expect(fixture, "appeared shop/cart fd 8 at once\n");
}

static void test_host_network(Fixture *fixture, gconstpointer data)
{
#define REASON "is on the node's network and has no namespace of its own"
    kernel_tells_host(fixture, 20);
    expect(fixture, "");
    api_tells(fixture, (ApiPod){.name = "proxy", .from_s = 10, .host_network = true});
    expect(fixture, "identity " UID " shop/proxy @10\nexcluded shop/proxy " REASON "\n");
    api_tells(
        fixture,
        (ApiPod){.name = "proxy", .from_s = 22, .address = "192.168.0.1", .host_network = true});
    expect(fixture, "identity " UID " shop/proxy @22 192.168.0.1\n");
    kernel_tells_gone(fixture, 30);
    expect(fixture, "");
    api_tells(fixture, (ApiPod){.name = "proxy", .from_s = 22, .deleted_s = 31});
    expect(fixture, "vanished " UID "\ndeleted " UID " shop/proxy @22 192.168.0.1 at 31\n");
}

static void test_host_network_by_api(Fixture *fixture, gconstpointer data)
{
    /* Whoever says that it is the node's network: it is not captured as the pod's. */
    kernel_tells(fixture, 7, 20);
    g_string_truncate(fixture->told, 0);
    api_tells(fixture, (ApiPod){.name = "proxy", .from_s = 10, .host_network = true});
    expect(fixture, "identity " UID " shop/proxy @10\nexcluded shop/proxy " REASON "\n");
}

static void test_host_network_by_kernel(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "odd", .from_s = 10});
    g_string_truncate(fixture->told, 0);
    kernel_tells_host(fixture, 20);
    expect(fixture, "excluded shop/odd " REASON "\n");
    /* It was only on its way. */
    kernel_tells(fixture, 7, 21);
    expect(fixture, "appeared shop/odd fd 7 at once\n");
}

static void test_finished(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "job", .from_s = 10, .address = "10.0.0.1"});
    kernel_tells(fixture, 7, 20);
    g_string_truncate(fixture->told, 0);
    api_tells(fixture, (ApiPod){.name = "job", .from_s = 10, .to_s = 40, .address = "10.0.0.1"});
    /* What was open when its last container finished is still closed by the kernel. */
    expect(fixture, "");
    kernel_tells_gone(fixture, 50);
    expect(fixture, "absent shop/job has ended\nidentity " UID " shop/job @10-50 10.0.0.1\n");
    api_tells(fixture, (ApiPod){.name = "job", .from_s = 10, .deleted_s = 40});
    expect(fixture, "vanished " UID "\ndeleted " UID " shop/job @10-50 10.0.0.1 at 50\n");
}

static void test_gone_then_finished(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "job", .from_s = 10, .address = "10.0.0.1"});
    kernel_tells(fixture, 7, 20);
    kernel_tells_gone(fixture, 39);
    g_string_truncate(fixture->told, 0);
    api_tells(fixture, (ApiPod){.name = "job", .from_s = 10, .to_s = 40, .address = "10.0.0.1"});
    expect(fixture, "identity " UID " shop/job @10-40 10.0.0.1\n");
}

static void test_finished_with_namespace(Fixture *fixture, gconstpointer data)
{
    /* We begin between its end and that of its namespace. */
    api_tells(fixture, (ApiPod){.name = "job", .from_s = 10, .to_s = 40, .address = "10.0.0.1"});
    expect(fixture, "identity " UID " shop/job @10-40 10.0.0.1\nabsent shop/job has ended\n");
    kernel_tells(fixture, 7, 41);
    expect(fixture, "identity " UID " shop/job @10 10.0.0.1\nappeared shop/job fd 7 at once\n");
}

static void test_finished_before(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "job", .from_s = 10, .to_s = 40});
    expect(fixture, "identity " UID " shop/job @10-40\nabsent shop/job has ended\n");
}

static void test_own(Fixture *fixture, gconstpointer data)
{
    pod_join_own(fixture->join, UID);
    kernel_tells(fixture, 7, 20);
    g_assert_null(strstr(fixture->told->str, "appeared"));
    g_string_truncate(fixture->told, 0);
    api_tells(fixture, (ApiPod){.name = "remora", .from_s = 10, .container_id = ID});
    expect(fixture, "identity " UID " shop/remora @10\n");
    PodJoinCounts counts = pod_join_counts(fixture->join);
    g_assert_cmpuint(counts.api, ==, 1);
    g_assert_cmpuint(counts.others_running, ==, 0);
    g_assert_cmpuint(counts.others_seen, ==, 0);
}

static void test_counts(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 10});
    g_assert_cmpuint(pod_join_counts(fixture->join).others_running, ==, 0);
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 11, .container_id = ID});
    g_assert_cmpuint(pod_join_counts(fixture->join).others_running, ==, 1);
    kernel_tells(fixture, 7, 20);
    g_assert_cmpuint(pod_join_counts(fixture->join).others_seen, ==, 1);
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 11, .to_s = 30, .container_id = ID});
    kernel_tells_gone(fixture, 30);
    PodJoinCounts counts = pod_join_counts(fixture->join);
    g_assert_cmpuint(counts.api, ==, 1);
    g_assert_cmpuint(counts.others_running, ==, 0);
    g_assert_cmpuint(counts.others_seen, ==, 0);
}

static void test_unknown_is_problem(Fixture *fixture, gconstpointer data)
{
    kernel_tells(fixture, 7, 20);
    g_string_truncate(fixture->told, 0);
    /* Of an API server that does not answer something else tells. */
    g_assert_cmpuint(pod_join_tick(fixture->join, 30 * SECOND), ==, UINT64_MAX);
    pod_join_api_synced(fixture->join, 30 * SECOND);
    g_assert_cmpuint(pod_join_tick(fixture->join, 31 * SECOND), ==, 32 * SECOND);
    expect(fixture, "");
    g_assert_cmpuint(pod_join_tick(fixture->join, 32 * SECOND), ==, UINT64_MAX);
    expect(fixture, "problem pod " UID "\n");
    pod_join_tick(fixture->join, 33 * SECOND);
    expect(fixture, "");
    api_tells(fixture, (ApiPod){.name = "cart", .from_s = 10});
    expect(fixture, "identity " UID " shop/cart @10\nwell pod " UID "\n");
}

static void test_unknown_goes(Fixture *fixture, gconstpointer data)
{
    pod_join_api_synced(fixture->join, 10 * SECOND);
    kernel_tells_host(fixture, 20);
    pod_join_tick(fixture->join, 22 * SECOND);
    expect(fixture, "problem pod " UID "\n");
    kernel_tells_gone(fixture, 23);
    expect(fixture, "well pod " UID "\n");
}

static void static_pod_tells(Fixture *fixture, unsigned now_s)
{
    pod_join_sandbox(fixture->join, HASH, 7, false, TARGETS_AT_ONCE, now_s * SECOND);
    kernel_tells_addresses(fixture, HASH, now_s, "10.0.0.9", NULL);
}

static void test_static_api_last(Fixture *fixture, gconstpointer data)
{
    static_pod_tells(fixture, 20);
    pod_join_container(fixture->join, HASH, ID, 20 * SECOND);
    expect(fixture, "identity " HASH " /" HASH " @20\nappeared /" HASH " fd 7 at once\n"
                    "identity " HASH " /" HASH " @20 10.0.0.9\n");
    api_tells(fixture, (ApiPod){.name = "registry", .from_s = 25});
    expect(fixture,
           "identity " UID " shop/registry @25\nabsent shop/registry has not started yet\n");
    api_tells(fixture, (ApiPod){.name = "registry", .from_s = 26, .container_id = ID});
    expect(fixture, "identity " UID " shop/registry @26\n"
                    "vanished " HASH "\ndeleted " HASH " /" HASH " @20 10.0.0.9 at 1000\n"
                    "identity " UID " shop/registry @20\n"
                    "appeared shop/registry fd 7 since 1000\n"
                    "identity " UID " shop/registry @20 10.0.0.9\n");
    /* What the kernel tells of the hash is the mirror pod's now. */
    kernel_tells_addresses(fixture, HASH, 30, NULL, NULL);
    expect(fixture, "identity " UID " shop/registry @30\n");
    pod_join_gone(fixture->join, HASH, 40 * SECOND);
    expect(fixture, "absent shop/registry has ended\n");
}

static void test_static_api_first(Fixture *fixture, gconstpointer data)
{
    api_tells(fixture, (ApiPod){.name = "registry", .from_s = 10, .container_id = ID});
    static_pod_tells(fixture, 20);
    g_string_truncate(fixture->told, 0);
    pod_join_container(fixture->join, HASH, "another", 21 * SECOND);
    expect(fixture, "");
    pod_join_container(fixture->join, HASH, ID, 22 * SECOND);
    expect(fixture, "vanished " HASH "\ndeleted " HASH " /" HASH " @20 10.0.0.9 at 22\n"
                    "appeared shop/registry fd 7 since 22\n"
                    "identity " UID " shop/registry @20 10.0.0.9\n");
}

static void test_other_kinds(Fixture *fixture, gconstpointer data)
{
    const Entity draft = {.kind = ENTITY_SERVICE,
                          .uid = "service",
                          .namespace_name = "shop",
                          .name = "cart",
                          .from_ns = 5 * SECOND};
    const char *error = NULL;
    Entity *service = entity_new(&draft, &error);
    pod_join_entity(fixture->join, service, 0, 6 * SECOND);
    pod_join_entity(fixture->join, service, 7 * SECOND, 7 * SECOND);
    entity_unref(service);
    expect(fixture, "identity service shop/cart @5\ndeleted service shop/cart @5 at 7\n");
}

static const struct {
    const char *path;
    void (*run)(Fixture *fixture, gconstpointer data);
} tests[] = {
    {"/kubernetes/api-first", test_api_first},
    {"/kubernetes/kernel-first", test_kernel_first},
    {"/kubernetes/began-before", test_began_before},
    {"/kubernetes/clock-ahead", test_clock_ahead},
    {"/kubernetes/api-changes", test_api_changes},
    {"/kubernetes/address-change", test_address_change},
    {"/kubernetes/recreated", test_recreated},
    {"/kubernetes/gone-then-deleted", test_gone_then_deleted},
    {"/kubernetes/deleted-then-gone", test_deleted_then_gone},
    {"/kubernetes/gone-unknown", test_gone_unknown},
    {"/kubernetes/gone-and-back", test_gone_and_back},
    {"/kubernetes/host-network", test_host_network},
    {"/kubernetes/host-network-by-api", test_host_network_by_api},
    {"/kubernetes/host-network-by-kernel", test_host_network_by_kernel},
    {"/kubernetes/finished", test_finished},
    {"/kubernetes/gone-then-finished", test_gone_then_finished},
    {"/kubernetes/finished-with-namespace", test_finished_with_namespace},
    {"/kubernetes/finished-before", test_finished_before},
    {"/kubernetes/own", test_own},
    {"/kubernetes/counts", test_counts},
    {"/kubernetes/unknown-is-problem", test_unknown_is_problem},
    {"/kubernetes/unknown-goes", test_unknown_goes},
    {"/kubernetes/static-api-last", test_static_api_last},
    {"/kubernetes/static-api-first", test_static_api_first},
    {"/kubernetes/other-kinds", test_other_kinds},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
    }
    return g_test_run();
}
