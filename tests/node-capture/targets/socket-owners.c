// SPDX-License-Identifier: GPL-2.0-or-later
/* Who owns a socket, as the kernel has it: real processes in control groups and network namespaces
 * made for them. Run over a hierarchy of control groups of version 2, and one of version 1, where
 * they can be made. Needs root. */
#include "node-capture/targets/socket-owners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/node-capture/source/netns.h"
#include "tests/node-capture/targets/pod-maker.h"

#define WAIT_NS     10000000000u
#define PORT        7001
#define UDP_PORT    7002
#define CONNECTIONS 6000 /* two events each: more than the ring holds */

/* What the processes of a test tell each other. */
typedef struct Board {
    int stage; /* atomic */
    uint64_t before_ns, after_ns;
    uint16_t port;
    pid_t server;
} Board;

typedef struct Fixture {
    SocketOwners *owners;
    GArray *news; /* of SocketNews */
    int netns;
    char *group;
    Board *board;
} Fixture;

static void on_owner(const SocketNews *news, void *userdata)
{
    g_array_append_val(((Fixture *)userdata)->news, *news);
}

static const SocketOwnersCallbacks callbacks = {on_owner};

static void setup(Fixture *fixture, gconstpointer host_netns)
{
    fixture->news = g_array_new(FALSE, FALSE, sizeof(SocketNews));
    const SocketOwnersOptions options = {.host_netns = host_netns};
    g_autofree char *message = NULL;
    int error = socket_owners_kernel_new(&options, &callbacks, fixture, &fixture->owners, &message);
    g_assert_cmpstr(message, ==, NULL);
    g_assert_cmpint(error, ==, 0);
    fixture->netns = netns_new();
    netns_shell(fixture->netns,
                "ip link add hole type veth peer name end; ip addr add 10.99.0.2/24 dev hole; "
                "ip link set hole up");
    fixture->group = g_strdup_printf("/kubepods/burstable/pod%s/%s", pod_uid(1), container_id(1));
    fixture->board =
        mmap(NULL, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(fixture->board != MAP_FAILED);
}

static void teardown(Fixture *fixture, gconstpointer unused)
{
    socket_owners_free(fixture->owners);
    g_array_unref(fixture->news);
    close(fixture->netns);
    g_free(fixture->group);
    munmap(fixture->board, sizeof(Board));
}

/* ---- Processes: no allocation, as the parent may have threads ---------------------------------*/

static void reach(Board *board, int stage)
{
    __atomic_store_n(&board->stage, stage, __ATOMIC_RELEASE);
}

static void await(const Board *board, int stage)
{
    while (__atomic_load_n(&board->stage, __ATOMIC_ACQUIRE) < stage) {
        sched_yield();
    }
}

static void check(bool ok, int code)
{
    if (!ok) {
        _exit(code);
    }
}

static struct sockaddr_in at(const char *address, uint16_t port)
{
    struct sockaddr_in ret = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, address, &ret.sin_addr);
    return ret;
}

static uint16_t own_port(int fd)
{
    struct sockaddr_in6 name;
    socklen_t length = sizeof(name);
    check(getsockname(fd, (struct sockaddr *)&name, &length) == 0, 10);
    return ntohs(name.sin6_port); /* at the same place in both families */
}

static int listen_any(int family, uint16_t port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = at("0.0.0.0", port);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const void *address = family == AF_INET ? (const void *)&four : &six;
    socklen_t length = family == AF_INET ? sizeof(four) : sizeof(six);
    check(fd >= 0 && bind(fd, address, length) == 0 && listen(fd, 64) == 0, 11);
    return fd;
}

static int connect_to(const char *address, uint16_t port)
{
    struct sockaddr_in to = at(address, port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0, 12);
    return fd;
}

static void accept_one(int listener, Board *board)
{
    char byte;
    prctl(PR_SET_NAME, "server\xff\n");
    int fd = accept(listener, NULL, NULL);
    check(fd >= 0 && read(fd, &byte, 1) == 1, 13);
    reach(board, 1);
    await(board, 2);
    _exit(0);
}

/* One listens and connects, another one, made by it, accepts. */
static void act_connection(Board *board)
{
    prctl(PR_SET_NAME, "client");
    int listener = listen_any(AF_INET6, PORT);
    pid_t server = fork();
    check(server >= 0, 14);
    if (server == 0) {
        accept_one(listener, board);
    }
    board->server = server;
    board->before_ns = clock_unix_ns();
    int fd = connect_to("127.0.0.1", PORT);
    board->after_ns = clock_unix_ns();
    board->port = own_port(fd);
    check(write(fd, "x", 1) == 1, 15);
    await(board, 2);
    int status;
    check(waitpid(server, &status, 0) == server && status == 0, 16);
}

static void act_udp(Board *board)
{
    prctl(PR_SET_NAME, "resolver");
    struct sockaddr_in any = at("0.0.0.0", UDP_PORT), to = at("127.0.0.1", UDP_PORT);
    board->before_ns = clock_unix_ns();
    int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    board->after_ns = clock_unix_ns();
    check(bind(server, (struct sockaddr *)&any, sizeof(any)) == 0, 20);
    int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    check(connect(client, (struct sockaddr *)&to, sizeof(to)) == 0, 21);
    board->port = own_port(client);
    check(send(client, "x", 1, 0) == 1, 22);
    close(client);
    int single = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    check(sendto(single, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) == 1, 23);
    reach(board, 1);
    await(board, 2);
}

/* Nobody answers. */
static void act_hole(Board *board)
{
    struct sockaddr_in to = at("10.99.0.1", 80);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    check(connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == EINPROGRESS, 30);
    board->port = own_port(fd);
    reach(board, 1);
    await(board, 2);
}

static void act_many(Board *board)
{
    int listener = listen_any(AF_INET, PORT);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        /* Reset, so that no ports are used up by TIME_WAIT. */
        struct linger reset = {1, 0};
        int fd = connect_to("127.0.0.1", PORT), accepted = accept(listener, NULL, NULL);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(fd);
        close(accepted);
    }
    reach(board, 1);
    await(board, 2);
}

static void act_listen(Board *board)
{
    listen_any(AF_INET, PORT);
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in any = at("0.0.0.0", UDP_PORT);
    check(bind(udp, (struct sockaddr *)&any, sizeof(any)) == 0, 40);
    reach(board, 1);
    await(board, 2);
}

/* A process of the fixture's pod; it is in its control group and namespace before it acts. */
static pid_t start(Fixture *fixture, void (*act)(Board *board))
{
    *fixture->board = (Board){0};
    int go[2];
    g_assert_cmpint(pipe2(go, O_CLOEXEC), ==, 0);
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        char byte;
        check(read(go[0], &byte, 1) == 1, 1);
        check(fixture->netns < 0 || setns(fixture->netns, CLONE_NEWNET) == 0, 2);
        act(fixture->board);
        _exit(0);
    }
    pod_maker_move(pid, fixture->group);
    g_assert_cmpint((int)write(go[1], "x", 1), ==, 1);
    close(go[0]);
    close(go[1]);
    return pid;
}

static void finish(Fixture *fixture, pid_t pid)
{
    int status;
    reach(fixture->board, 2);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
}

/* Fails rather than waits for ever if the process does. */
static void await_stage(Fixture *fixture, pid_t pid)
{
    uint64_t end_ns = clock_monotonic_ns() + 3 * WAIT_NS;
    int status;
    while (__atomic_load_n(&fixture->board->stage, __ATOMIC_ACQUIRE) < 1) {
        g_assert_cmpint(waitpid(pid, &status, WNOHANG), ==, 0);
        g_assert_cmpuint(clock_monotonic_ns(), <, end_ns);
        g_usleep(200);
    }
}

/* ---- What is told ----------------------------------------------------------------------------*/

static const SocketNews *find(const Fixture *fixture, bool ended, uint8_t protocol, uint16_t local,
                              uint16_t remote, pid_t pid)
{
    for (guint i = 0; i < fixture->news->len; i++) {
        const SocketNews *news = &g_array_index(fixture->news, SocketNews, i);
        if (news->ended == ended && news->protocol == protocol && news->local_port == local &&
            news->remote_port == remote && news->pid == pid) {
            return news;
        }
    }
    return NULL;
}

static const SocketNews *expect(const Fixture *fixture, bool ended, uint8_t protocol,
                                uint16_t local, uint16_t remote, pid_t pid)
{
    const SocketNews *news = find(fixture, ended, protocol, local, remote, pid);
    if (!news) {
        for (guint i = 0; i < fixture->news->len; i++) {
            const SocketNews *other = &g_array_index(fixture->news, SocketNews, i);
            g_printerr("told: %s %u %u -> %u pid %d %s\n", other->ended ? "end" : "own",
                       other->protocol, other->local_port, other->remote_port, other->pid,
                       other->process);
        }
        g_error("not told: %s %u %u -> %u pid %d", ended ? "end" : "own", protocol, local, remote,
                pid);
    }
    return news;
}

static void assert_ours(const SocketNews *news)
{
    g_assert_cmpstr(news->pod.uid, ==, pod_uid(1));
    g_assert_cmpstr(news->pod.container, ==, container_id(1));
    g_assert_cmpstr(news->container, ==, ""); /* no kubelet made it */
}

static void await_news(Fixture *fixture, uint8_t protocol, uint16_t local, pid_t pid)
{
    uint64_t end_ns = clock_monotonic_ns() + WAIT_NS;
    do {
        g_assert_cmpuint(clock_monotonic_ns(), <, end_ns);
        fixture->owners->ops->dispatch(fixture->owners);
        g_usleep(1000);
    } while (!find(fixture, false, protocol, local, 0, pid));
}

static void test_connection(Fixture *fixture, gconstpointer unused)
{
    fixture->owners->ops->want(fixture->owners, true);
    pid_t pid = start(fixture, act_connection);
    await_stage(fixture, pid);
    fixture->owners->ops->dispatch(fixture->owners);
    Board board = *fixture->board;

    const SocketNews *listener = expect(fixture, false, IPPROTO_TCP, PORT, 0, pid);
    g_assert_cmpstr(listener->process, ==, "client");
    g_assert_cmpuint(listener->local_length, ==, 0);
    assert_ours(listener);

    const SocketNews *client = expect(fixture, false, IPPROTO_TCP, board.port, PORT, pid);
    g_assert_cmpstr(client->process, ==, "client");
    static const uint8_t localhost[4] = {127, 0, 0, 1};
    g_assert_cmpmem(client->local, client->local_length, localhost, 4);
    g_assert_cmpmem(client->remote, client->remote_length, localhost, 4);
    g_assert_cmpuint(client->from_ns, <, board.after_ns);
    g_assert_cmpuint(client->from_ns, >, board.before_ns - 1000000u);
    assert_ours(client);

    /* By a socket of IPv6, its addresses are those of the packets all the same. */
    const SocketNews *server = expect(fixture, false, IPPROTO_TCP, PORT, board.port, board.server);
    g_assert_cmpstr(server->process, ==, "server??");
    g_assert_cmpmem(server->local, server->local_length, localhost, 4);
    g_assert_cmpuint(server->from_ns, <, board.before_ns);
    assert_ours(server);

    finish(fixture, pid);
    fixture->owners->ops->dispatch(fixture->owners);
    expect(fixture, true, IPPROTO_TCP, PORT, 0, pid);
    const SocketNews *end = expect(fixture, true, IPPROTO_TCP, board.port, PORT, pid);
    client = expect(fixture, false, IPPROTO_TCP, board.port, PORT, pid);
    g_assert_cmpuint(end->from_ns / 1000000u, ==, client->from_ns / 1000000u);
    g_assert_cmpuint(end->to_ns, >, end->from_ns);
}

static void test_udp(Fixture *fixture, gconstpointer unused)
{
    fixture->owners->ops->want(fixture->owners, true);
    pid_t pid = start(fixture, act_udp);
    await_stage(fixture, pid);
    fixture->owners->ops->dispatch(fixture->owners);

    const SocketNews *server = expect(fixture, false, IPPROTO_UDP, UDP_PORT, 0, pid);
    g_assert_cmpstr(server->process, ==, "resolver");
    g_assert_cmpuint(server->from_ns, >, fixture->board->before_ns - 1000000u);
    g_assert_cmpuint(server->from_ns, <, fixture->board->after_ns);
    assert_ours(server);
    uint16_t port = fixture->board->port;
    const SocketNews *client = expect(fixture, false, IPPROTO_UDP, port, UDP_PORT, pid);
    assert_ours(client);
    expect(fixture, true, IPPROTO_UDP, port, UDP_PORT, pid);
    g_assert_null(find(fixture, true, IPPROTO_UDP, UDP_PORT, 0, pid));
    /* The one that was never connected: of any peer. */
    unsigned unconnected = 0;
    for (guint i = 0; i < fixture->news->len; i++) {
        const SocketNews *news = &g_array_index(fixture->news, SocketNews, i);
        unconnected += news->protocol == IPPROTO_UDP && news->pid == pid && !news->ended &&
                       news->remote_port == 0 && news->local_port != UDP_PORT;
    }
    g_assert_cmpuint(unconnected, ==, 1);
    finish(fixture, pid);
    fixture->owners->ops->dispatch(fixture->owners);
    expect(fixture, true, IPPROTO_UDP, UDP_PORT, 0, pid);
}

/* The first SYN has an owner, whether it is answered or not. */
static void test_unanswered(Fixture *fixture, gconstpointer unused)
{
    fixture->owners->ops->want(fixture->owners, true);
    pid_t pid = start(fixture, act_hole);
    await_stage(fixture, pid);
    fixture->owners->ops->dispatch(fixture->owners);
    assert_ours(expect(fixture, false, IPPROTO_TCP, fixture->board->port, 80, pid));
    finish(fixture, pid);
    fixture->owners->ops->dispatch(fixture->owners);
    expect(fixture, true, IPPROTO_TCP, fixture->board->port, 80, pid);
}

/* What was there before is told, at the beginning and whenever it begins again. */
static void test_existing(Fixture *fixture, gconstpointer unused)
{
    pid_t pid = start(fixture, act_listen);
    await_stage(fixture, pid);
    fixture->owners->ops->dispatch(fixture->owners);
    g_assert_null(find(fixture, false, IPPROTO_TCP, PORT, 0, pid)); /* nobody wants to know */
    for (int round = 0; round < 2; round++) {
        g_array_set_size(fixture->news, 0);
        fixture->owners->ops->want(fixture->owners, true);
        await_news(fixture, IPPROTO_TCP, PORT, pid);
        await_news(fixture, IPPROTO_UDP, UDP_PORT, pid);
        const SocketNews *listener = expect(fixture, false, IPPROTO_TCP, PORT, 0, pid);
        g_assert_cmpuint(listener->from_ns, ==, 0);
        assert_ours(listener);
        fixture->owners->ops->want(fixture->owners, false);
    }
    finish(fixture, pid);
}

/* Events that found no room are counted, and all is looked through again. */
static void test_overflow(Fixture *fixture, gconstpointer unused)
{
    SocketOwnersStats stats;
    fixture->owners->ops->want(fixture->owners, true);
    pid_t pid = start(fixture, act_many);
    await_stage(fixture, pid);
    fixture->owners->ops->stats(fixture->owners, &stats);
    g_assert_cmpuint(stats.lost, >, 0);
    fixture->owners->ops->dispatch(fixture->owners);
    g_array_set_size(fixture->news, 0);
    await_news(fixture, IPPROTO_TCP, PORT, pid);
    finish(fixture, pid);
}

static void enter_host(Fixture *fixture)
{
    close(fixture->netns);
    fixture->netns = -1;
    fixture->owners->ops->want(fixture->owners, true);
}

/* A pod on the node's network is known by its process. */
static void test_host_pod(Fixture *fixture, gconstpointer unused)
{
    enter_host(fixture);
    pid_t pid = start(fixture, act_listen);
    await_stage(fixture, pid);
    fixture->owners->ops->dispatch(fixture->owners);
    const SocketNews *tcp = expect(fixture, false, IPPROTO_TCP, PORT, 0, pid);
    const SocketNews *udp = expect(fixture, false, IPPROTO_UDP, UDP_PORT, 0, pid);
    g_assert_true(tcp->host_network);
    g_assert_true(udp->host_network);
    assert_ours(tcp);
    assert_ours(udp);
    finish(fixture, pid);
}

/* What else is on the node's network is nobody's business, and soon does not leave the kernel. */
static void test_host_others(Fixture *fixture, gconstpointer unused)
{
    enter_host(fixture);
    g_free(fixture->group);
    fixture->group = g_strdup("/system.slice/other.service");
    pid_t first = start(fixture, act_listen);
    await_stage(fixture, first);
    fixture->owners->ops->dispatch(fixture->owners);
    finish(fixture, first);
    reach(fixture->board, 0);
    SocketOwnersStats before, after;
    fixture->owners->ops->stats(fixture->owners, &before);
    pid_t second = start(fixture, act_many);
    await_stage(fixture, second);
    fixture->owners->ops->dispatch(fixture->owners);
    finish(fixture, second);
    fixture->owners->ops->stats(fixture->owners, &after);
    /* Those of the whole machine's other groups are in it. */
    g_assert_cmpuint(after.events - before.events, <, CONNECTIONS / 10);
    g_assert_cmpuint(after.lost, ==, before.lost);
    for (guint i = 0; i < fixture->news->len; i++) {
        pid_t pid = g_array_index(fixture->news, SocketNews, i).pid;
        g_assert_true(pid != first && pid != second);
    }
}

static void add_tests(int version)
{
    static const struct {
        const char *name, *host_netns;
        void (*run)(Fixture *fixture, gconstpointer unused);
    } tests[] = {
        {"connection", NULL, test_connection},
        {"udp", NULL, test_udp},
        {"unanswered", NULL, test_unanswered},
        {"existing", NULL, test_existing},
        {"overflow", NULL, test_overflow},
        {"host-pod", "/proc/self/ns/net", test_host_pod},
        {"host-others", "/proc/self/ns/net", test_host_others},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *name = g_strdup_printf("/socket-owners/v%d/%s", version, tests[i].name);
        g_test_add(name, Fixture, tests[i].host_netns, setup, tests[i].run, teardown);
    }
}

int main(int argc, char **argv)
{
    return pod_maker_main(argc, argv, NULL, add_tests);
}
