// SPDX-License-Identifier: GPL-2.0-or-later
/* From what the kernel tells of sockets to facts of the pods that are known. */
#include "node-capture/server/owners.h"

#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helpers.h"
#include "node-capture/targets/socket-owners-fake.h"

#define PID_WITHOUT_SECRETS 43
#define ID                  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

typedef struct Fixture {
    Owners *owners;
    SocketOwners *sockets;
    GPtrArray *facts; /* of Fact */
    Entity *pod;      /* known, or NULL */
    int netns_fd;     /* a file will do: only its inode counts */
} Fixture;

static void on_fact(Fact *fact, void *userdata)
{
    g_ptr_array_add(((Fixture *)userdata)->facts, fact);
}

static const Entity *find_pod(const char *uid, void *userdata)
{
    const Fixture *fixture = userdata;
    return fixture->pod && strcmp(fixture->pod->uid, uid) == 0 ? fixture->pod : NULL;
}

static char *no_secrets(uint64_t netns_inode, pid_t pid, void *userdata)
{
    return pid == PID_WITHOUT_SECRETS ? g_strdup("NSS is not hooked") : NULL;
}

static const OwnersCallbacks callbacks = {on_fact, find_pod, no_secrets};

static void release(void *fact)
{
    fact_unref(fact);
}

static void set_up(Fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL;
    fixture->owners = owners_new(&callbacks, fixture);
    fixture->sockets = socket_owners_fake_new(&owners_socket_callbacks, fixture->owners);
    owners_set_sockets(fixture->owners, fixture->sockets);
    fixture->facts = g_ptr_array_new_with_free_func(release);
    fixture->netns_fd = g_file_open_tmp("remora-owners-XXXXXX", &path, &error);
    g_assert_no_error(error);
    unlink(path);
}

static void tear_down(Fixture *fixture, const void *unused)
{
    owners_free(fixture->owners);
    g_ptr_array_unref(fixture->facts);
    entity_unref(fixture->pod);
    close(fixture->netns_fd);
}

static SocketNews news_of(const Fixture *fixture, uint16_t port)
{
    struct stat status;
    g_assert_cmpint(fstat(fixture->netns_fd, &status), ==, 0);
    return (SocketNews){.netns_inode = status.st_ino,
                        .protocol = 6,
                        .local = {10, 0, 0, 1},
                        .local_length = 4,
                        .local_port = port,
                        .from_ns = 5,
                        .pid = 42,
                        .process = "nginx",
                        .pod = {.uid = "uid-1", .container = ID},
                        .container = "by-kernel"};
}

/* "uid port container process pid from to" of a fact. */
static char *describe(const Fixture *fixture, guint number)
{
    StreamMessage message;
    g_assert_cmpuint(number, <, fixture->facts->len);
    const Fact *fact = fixture->facts->pdata[number];
    g_assert_cmpint(stream_message_decode(fact_message(fact), fact->length, &message), ==, 0);
    g_assert_cmpint(message.type, ==, STREAM_SOCKET_OWNER);
    const Remora__V1__SocketOwner *owner = message.response->socket_owner;
    g_assert_cmpuint(owner->local.len, ==, 4);
    g_assert_cmpuint(owner->remote.len, ==, 0);
    char *text = g_strdup_printf("%s %u %s %s %u %u %u", owner->target_uid, owner->local_port,
                                 owner->container, owner->process, owner->pid,
                                 (unsigned)owner->from_unix_ns, (unsigned)owner->to_unix_ns);
    stream_message_clear(&message);
    return text;
}

static void assert_fact(const Fixture *fixture, guint number, const char *expected)
{
    g_autofree char *text = describe(fixture, number);
    g_assert_cmpstr(text, ==, expected);
}

static void test_known_pod(Fixture *fixture, const void *unused)
{
    owners_pod_appeared(fixture->owners, "uid-1", fixture->netns_fd);
    g_assert_false(owners_run(fixture->owners, true));
    SocketNews news = news_of(fixture, 80), end = news;
    end.ended = true;
    end.to_ns = 9;
    socket_owners_fake_tell(fixture->sockets, &news);
    socket_owners_fake_tell(fixture->sockets, &end);
    g_assert_true(owners_run(fixture->owners, true));
    g_assert_cmpuint(fixture->facts->len, ==, 2);
    assert_fact(fixture, 0, "uid-1 80 by-kernel nginx 42 5 0");
    assert_fact(fixture, 1, "uid-1 80 by-kernel nginx 42 5 9");
    g_assert_cmpuint(socket_owners_fake_wanted(fixture->sockets), ==, 1);
}

static char *reason_of(const Fixture *fixture, guint number)
{
    StreamMessage message;
    const Fact *fact = fixture->facts->pdata[number];
    g_assert_cmpint(stream_message_decode(fact_message(fact), fact->length, &message), ==, 0);
    char *reason = g_strdup(message.response->socket_owner->no_secrets);
    stream_message_clear(&message);
    return reason;
}

static void test_without_secrets(Fixture *fixture, const void *unused)
{
    owners_pod_appeared(fixture->owners, "uid-1", fixture->netns_fd);
    SocketNews with = news_of(fixture, 80), without = news_of(fixture, 81);
    without.pid = PID_WITHOUT_SECRETS;
    socket_owners_fake_tell(fixture->sockets, &with);
    socket_owners_fake_tell(fixture->sockets, &without);
    owners_run(fixture->owners, true);
    g_autofree char *none = reason_of(fixture, 0), *reason = reason_of(fixture, 1);
    g_assert_cmpstr(none, ==, "");
    g_assert_cmpstr(reason, ==, "NSS is not hooked");
}

/* A socket may be told of before its pod; sockets of others are nothing to us. */
static void test_early_socket(Fixture *fixture, const void *unused)
{
    SocketNews ours = news_of(fixture, 80), other = news_of(fixture, 81);
    other.netns_inode++;
    socket_owners_fake_tell(fixture->sockets, &ours);
    socket_owners_fake_tell(fixture->sockets, &other);
    g_assert_false(owners_run(fixture->owners, true));
    owners_pod_appeared(fixture->owners, "uid-1", fixture->netns_fd);
    g_assert_cmpuint(fixture->facts->len, ==, 1);
    assert_fact(fixture, 0, "uid-1 80 by-kernel nginx 42 5 0");
    owners_pod_vanished(fixture->owners, "uid-1");
    socket_owners_fake_tell(fixture->sockets, &ours);
    g_assert_false(owners_run(fixture->owners, true));
    g_assert_cmpuint(fixture->facts->len, ==, 1);
}

/* Those that nobody asks for take no more than so much memory. */
static void test_bounded(Fixture *fixture, const void *unused)
{
    for (unsigned i = 1; i <= OWNERS_WAITING_MAX + 1; i++) {
        SocketNews news = news_of(fixture, (uint16_t)i);
        socket_owners_fake_tell(fixture->sockets, &news);
    }
    owners_run(fixture->owners, true);
    owners_pod_appeared(fixture->owners, "uid-1", fixture->netns_fd);
    g_assert_cmpuint(fixture->facts->len, ==, OWNERS_WAITING_MAX);
    assert_fact(fixture, 0, "uid-1 2 by-kernel nginx 42 5 0");
}

/* What the API server says of a container's id goes first. */
static void test_container(Fixture *fixture, const void *unused)
{
    EntityContainer containers[] = {{"sidecar", "ff", ""}, {"by-api", ID, ""}};
    Entity draft = {.kind = ENTITY_POD,
                    .uid = "uid-1",
                    .namespace_name = "shop",
                    .name = "web",
                    .containers = containers,
                    .n_containers = 2};
    const char *problem = NULL;
    fixture->pod = entity_new(&draft, &problem);
    g_assert_nonnull(fixture->pod);
    owners_pod_appeared(fixture->owners, "uid-1", fixture->netns_fd);
    SocketNews news = news_of(fixture, 80);
    socket_owners_fake_tell(fixture->sockets, &news);
    news.pod.container[0] = 'f';
    socket_owners_fake_tell(fixture->sockets, &news);
    owners_run(fixture->owners, true);
    assert_fact(fixture, 0, "uid-1 80 by-api nginx 42 5 0");
    assert_fact(fixture, 1, "uid-1 80 by-kernel nginx 42 5 0");
}

static Entity *host_pod(const char *container_id)
{
    EntityContainer containers[] = {{"agent", container_id, ""}};
    Entity draft = {.kind = ENTITY_POD,
                    .uid = "uid-2",
                    .namespace_name = "shop",
                    .name = "agent",
                    .node = "n1",
                    .host_network = true,
                    .containers = containers,
                    .n_containers = 1};
    const char *problem = NULL;
    Entity *pod = entity_new(&draft, &problem);
    g_assert_nonnull(pod);
    return pod;
}

static char *host_node_of(const Fact *fact)
{
    StreamMessage message;
    g_assert_cmpint(stream_message_decode(fact_message(fact), fact->length, &message), ==, 0);
    char *node = g_strdup(message.response->socket_owner->host_node);
    stream_message_clear(&message);
    return node;
}

/* On the node's network the process says whose a socket is; that of a static pod by its container.
 */
static void test_host_network(Fixture *fixture, const void *unused)
{
    SocketNews news = news_of(fixture, 80), other = news_of(fixture, 81), fixed = news;
    news.host_network = other.host_network = fixed.host_network = true;
    g_strlcpy(news.pod.uid, "uid-2", sizeof(news.pod.uid));
    g_strlcpy(other.pod.uid, "uid-3", sizeof(other.pod.uid));
    other.pod.container[0] = 'f';
    g_strlcpy(fixed.pod.uid, "0123456789abcdef0123456789abcdef", sizeof(fixed.pod.uid));
    fixed.local_port = 82;
    owners_pod_appeared(fixture->owners, "uid-1", fixture->netns_fd); /* has no say in it */
    socket_owners_fake_tell(fixture->sockets, &news);
    socket_owners_fake_tell(fixture->sockets, &other);
    g_assert_false(owners_run(fixture->owners, true));
    fixture->pod = host_pod(ID);
    owners_pod_known(fixture->owners, fixture->pod, false);
    socket_owners_fake_tell(fixture->sockets, &fixed);
    owners_run(fixture->owners, true);
    g_assert_cmpuint(fixture->facts->len, ==, 2);
    assert_fact(fixture, 0, "uid-2 80 agent nginx 42 5 0");
    assert_fact(fixture, 1, "uid-2 82 agent nginx 42 5 0");
    g_autofree char *node = host_node_of(fixture->facts->pdata[0]);
    g_assert_cmpstr(node, ==, "n1");
    owners_pod_known(fixture->owners, fixture->pod, true);
    socket_owners_fake_tell(fixture->sockets, &news);
    owners_run(fixture->owners, true);
    g_assert_cmpuint(fixture->facts->len, ==, 2);
}

static void test_wanted(Fixture *fixture, const void *unused)
{
    owners_run(fixture->owners, false);
    g_assert_cmpuint(socket_owners_fake_wanted(fixture->sockets), ==, 0);
    owners_run(fixture->owners, true);
    owners_run(fixture->owners, false);
    owners_run(fixture->owners, true);
    g_assert_cmpuint(socket_owners_fake_wanted(fixture->sockets), ==, 2);
}

static void test_without_sockets(void)
{
    Owners *owners = owners_new(&callbacks, NULL);
    SocketOwnersStats stats = {1, 1};
    g_assert_false(owners_run(owners, true));
    owners_stats(owners, &stats);
    g_assert_cmpuint(stats.events + stats.lost, ==, 0);
    owners_free(owners);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/owners/known-pod", Fixture, NULL, set_up, test_known_pod, tear_down);
    g_test_add("/owners/without-secrets", Fixture, NULL, set_up, test_without_secrets, tear_down);
    g_test_add("/owners/early-socket", Fixture, NULL, set_up, test_early_socket, tear_down);
    g_test_add("/owners/bounded", Fixture, NULL, set_up, test_bounded, tear_down);
    g_test_add("/owners/container", Fixture, NULL, set_up, test_container, tear_down);
    g_test_add("/owners/host-network", Fixture, NULL, set_up, test_host_network, tear_down);
    g_test_add("/owners/wanted", Fixture, NULL, set_up, test_wanted, tear_down);
    g_test_add_func("/owners/without-sockets", test_without_sockets);
    return g_test_run();
}
