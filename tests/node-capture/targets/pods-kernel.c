// SPDX-License-Identifier: GPL-2.0-or-later
/* Pods as the kernel has them: made by hand, found by events and by scans. Run over a hierarchy of
 * control groups of version 2, and one of version 1, where they can be made. Needs root. */
#include "node-capture/targets/pods-kernel.h"

#include <dirent.h>
#include <glib.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/node-capture/source/netns.h"
#include "tests/node-capture/targets/pod-maker.h"

#define WAIT_NS     10000000000u
#define SOON_NS     50000000u /* a new pod is to be known by then */
#define QUICK_PODS  200
#define RING_EVENTS 1500 /* of the largest kind: more than the ring holds */

typedef struct Known {
    ino_t inode;
    int netns_fd;
    bool host_network;
    uint64_t sandbox_ns;
    unsigned sandboxes, started, stopped;
    GString *addresses; /* " 10.0.0.1/24@eth0 ..." */
    bool gone;
} Known;

typedef struct Fixture {
    PodWatch *watch;
    GHashTable *pods; /* uid -> Known */
    bool synced;
    unsigned told_before_synced;
    GString *problems;
    unsigned files; /* open before the start */
} Fixture;

static void known_free(void *data)
{
    Known *known = data;
    g_string_free(known->addresses, TRUE);
    g_free(known);
}

static Known *known(Fixture *fixture, const char *uid)
{
    Known *pod = g_hash_table_lookup(fixture->pods, uid);
    if (!pod) {
        pod = g_new0(Known, 1);
        pod->addresses = g_string_new(NULL);
        g_hash_table_insert(fixture->pods, g_strdup(uid), pod);
    }
    return pod;
}

static void on_sandbox(const PodSandbox *sandbox, void *userdata)
{
    Fixture *fixture = userdata;
    Known *pod = known(fixture, sandbox->uid);
    struct stat status;
    g_assert_false(pod->gone);
    if (sandbox->host_network) {
        g_assert_cmpint(sandbox->netns_fd, ==, -1);
    } else {
        g_assert_cmpint(fstat(sandbox->netns_fd, &status), ==, 0);
        g_assert_cmpuint(status.st_ino, ==, sandbox->netns_inode);
    }
    pod->inode = sandbox->netns_inode;
    pod->netns_fd = sandbox->netns_fd;
    pod->host_network = sandbox->host_network;
    pod->sandboxes++;
    pod->sandbox_ns = clock_monotonic_ns();
    fixture->told_before_synced += !fixture->synced;
}

static void on_addresses(const char *uid, const NetnsAddress *addresses, size_t count,
                         void *userdata)
{
    Known *pod = known(userdata, uid);
    g_assert_cmpuint(pod->sandboxes, >, 0);
    g_string_truncate(pod->addresses, 0);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *bytes = addresses[i].bytes;
        if (addresses[i].length == 4) {
            g_string_append_printf(pod->addresses, " %u.%u.%u.%u/%u@%s", bytes[0], bytes[1],
                                   bytes[2], bytes[3], addresses[i].prefix_length,
                                   addresses[i].device);
        }
    }
}

static void on_container(const char *uid, const char *id, bool running, void *userdata)
{
    Known *pod = known(userdata, uid);
    g_assert_cmpuint(pod->sandboxes, >, 0);
    g_assert_cmpuint(strlen(id), ==, 64);
    pod->started += running;
    pod->stopped += !running;
    g_assert_cmpuint(pod->stopped, <=, pod->started);
}

static void on_gone(const char *uid, void *userdata)
{
    Known *pod = known(userdata, uid);
    g_assert_false(pod->gone);
    g_assert_cmpuint(pod->stopped, ==, pod->started);
    pod->gone = true;
}

static void on_synced(void *userdata)
{
    Fixture *fixture = userdata;
    g_assert_false(fixture->synced);
    fixture->synced = true;
}

static void on_problem(const char *subject, const char *message, void *userdata)
{
    g_string_append_printf(((Fixture *)userdata)->problems, "%s: %s\n", subject, message);
}

static const PodWatchCallbacks callbacks = {on_sandbox, on_addresses, on_container,
                                            on_gone,    on_synced,    on_problem};

static unsigned open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned count = 0;
    while (readdir(folder)) {
        count++;
    }
    closedir(folder);
    return count;
}

static void begin(Fixture *fixture, bool without_events)
{
    g_autofree char *prefix = g_strconcat(pod_maker_root(), "/ours", NULL);
    const PodWatchOptions options = {.host_netns = "/proc/self/ns/net",
                                     .cgroup_prefix = prefix,
                                     .without_events = without_events};
    *fixture = (Fixture){.files = open_files(),
                         .pods = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_free),
                         .problems = g_string_new(NULL)};
    g_assert_cmpint(pod_watch_new(&options, &callbacks, fixture, &fixture->watch), ==, 0);
}

static void end(Fixture *fixture)
{
    fixture->watch = pod_watch_free(fixture->watch);
    g_hash_table_unref(fixture->pods);
    g_string_free(fixture->problems, TRUE);
    g_assert_cmpuint(open_files(), ==, fixture->files);
}

static void dispatch(Fixture *fixture, int timeout_ms)
{
    struct pollfd fd = {.fd = pod_watch_fd(fixture->watch), .events = POLLIN};
    if (poll(&fd, 1, timeout_ms) == 1) {
        pod_watch_dispatch(fixture->watch);
    }
}

#define EXPECT(fixture, condition)                                   \
    do {                                                             \
        uint64_t deadline_ns = clock_monotonic_ns() + WAIT_NS;       \
        while (!(condition) && clock_monotonic_ns() < deadline_ns) { \
            dispatch(fixture, 100);                                  \
        }                                                            \
        g_assert_true(condition);                                    \
    } while (0)

static char *group(unsigned pod, unsigned container)
{
    return g_strdup_printf("/ours/kubepods/burstable/pod%s/%s", pod_uid(pod),
                           container_id(container));
}

static pid_t run(unsigned pod, unsigned container, int netns, uint64_t *ret_ns)
{
    g_autofree char *path = group(pod, container);
    return pod_maker_run(path, netns, false, ret_ns);
}

static ino_t netns_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/ns/net", (int)pid);
    struct stat status;
    g_assert_cmpint(stat(path, &status), ==, 0);
    return status.st_ino;
}

/* Until it is where it was to go, and what it was to be, while nobody looks. */
static void await_program(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/comm", (int)pid);
    uint64_t deadline_ns = clock_monotonic_ns() + WAIT_NS;
    bool there = false;
    while (!there && clock_monotonic_ns() < deadline_ns) {
        g_autofree char *name = NULL;
        there = g_file_get_contents(path, &name, NULL, NULL) && strcmp(name, "sleep\n") == 0;
        g_usleep(1000);
    }
    g_assert_true(there);
}

/* ---- Tests -----------------------------------------------------------------------------------*/

static void live(bool without_events)
{
    Fixture fixture;
    begin(&fixture, without_events);
    EXPECT(&fixture, fixture.synced);
    pid_t pause = run(1, 1, NETNS_NEW, NULL);
    Known *pod = known(&fixture, pod_uid(1));
    EXPECT(&fixture, pod->started == 1);
    g_assert_cmpuint(pod->sandboxes, ==, 1);
    g_assert_cmpuint(pod->inode, ==, netns_of(pause));
    g_assert_false(pod->host_network);

    netns_shell(pod->netns_fd, "ip link set lo up && ip link add eth0 type veth && "
                               "ip addr add 10.9.8.7/24 dev eth0");
    EXPECT(&fixture, strstr(pod->addresses->str, " 10.9.8.7/24@eth0"));
    g_assert_nonnull(strstr(pod->addresses->str, " 127.0.0.1/8@lo"));
    netns_shell(pod->netns_fd, "ip addr del 10.9.8.7/24 dev eth0");
    EXPECT(&fixture, !strstr(pod->addresses->str, "10.9.8.7"));

    pid_t server = run(1, 2, pod->netns_fd, NULL);
    EXPECT(&fixture, pod->started == 2);
    PodProcess process;
    EXPECT(&fixture, pod_watch_find_process(fixture.watch, server, &process) &&
                         strcmp(process.name, "sleep") == 0);
    g_assert_cmpstr(process.pod.uid, ==, pod_uid(1));
    g_assert_cmpstr(process.pod.container, ==, container_id(2));
    g_assert_false(pod_watch_find_process(fixture.watch, getpid(), &process));

    pod_maker_kill(server);
    EXPECT(&fixture, pod->stopped == 1);
    g_assert_false(pod->gone);
    pod_maker_kill(pause);
    EXPECT(&fixture, pod->gone);
    g_assert_cmpuint(pod->sandboxes, ==, 1);

    PodWatchCounters counters;
    pod_watch_counters(fixture.watch, &counters);
    g_assert_cmpuint(counters.pods + counters.containers + counters.processes, ==, 0);
    g_assert_cmpint(fixture.problems->len > 0, ==, without_events);
    end(&fixture);
}

static void test_life(void)
{
    live(false);
}

static void test_without_events(void)
{
    live(true);
}

/* What is there at the start is told before synced(), with no further event. */
static void test_start(void)
{
    Fixture fixture;
    pid_t pause = run(1, 1, NETNS_NEW, NULL);
    await_program(pause);
    begin(&fixture, false);
    dispatch(&fixture, 0);
    g_assert_true(fixture.synced);
    g_assert_cmpuint(fixture.told_before_synced, ==, 1);
    g_assert_cmpuint(known(&fixture, pod_uid(1))->inode, ==, netns_of(pause));
    pod_maker_kill(pause);
    end(&fixture);
}

static void test_host_network(void)
{
    Fixture fixture;
    begin(&fixture, false);
    pid_t process = run(1, 1, NETNS_OURS, NULL);
    Known *pod = known(&fixture, pod_uid(1));
    EXPECT(&fixture, pod->started == 1);
    g_assert_true(pod->host_network);
    g_assert_cmpuint(pod->inode, ==, netns_of(getpid()));

    /* A network agent that enters another namespace stays what it was. */
    int other = netns_new();
    pid_t agent = run(1, 2, other, NULL);
    EXPECT(&fixture, pod->started == 2);
    g_assert_cmpuint(pod->sandboxes, ==, 1);
    close(other);
    pod_maker_kill(agent);
    pod_maker_kill(process);
    EXPECT(&fixture, pod->gone);
    end(&fixture);
}

static void test_not_ours(void)
{
    Fixture fixture;
    begin(&fixture, false);
    g_autofree char *path =
        g_strdup_printf("/other/kubepods/pod%s/%s", pod_uid(1), container_id(1));
    g_autofree char *monitor =
        g_strdup_printf("/ours/kubepods/pod%s/crio-conmon-%s", pod_uid(2), container_id(1));
    g_autofree char *container =
        g_strdup_printf("/ours/kubepods/pod%s/crio-%s", pod_uid(2), container_id(2));
    pid_t processes[] = {pod_maker_run(path, NETNS_NEW, false, NULL),
                         pod_maker_run(monitor, NETNS_OURS, false, NULL),
                         pod_maker_run(container, NETNS_NEW, false, NULL)};
    Known *pod = known(&fixture, pod_uid(2));
    EXPECT(&fixture, pod->started == 1);
    g_assert_false(pod->host_network);
    pod_maker_kill(processes[2]);
    EXPECT(&fixture, pod->gone);
    g_assert_cmpuint(known(&fixture, pod_uid(1))->sandboxes, ==, 0);
    g_assert_cmpuint(pod->sandboxes, ==, 1);
    pod_maker_kill(processes[0]);
    pod_maker_kill(processes[1]);
    end(&fixture);
}

/* The kubelet makes a dead sandbox anew, for the same pod. */
static void test_new_sandbox(void)
{
    Fixture fixture;
    begin(&fixture, false);
    pid_t first = run(1, 1, NETNS_NEW, NULL);
    Known *pod = known(&fixture, pod_uid(1));
    EXPECT(&fixture, pod->started == 1);
    pid_t second = run(1, 2, NETNS_NEW, NULL);
    EXPECT(&fixture, pod->started == 2);
    g_assert_cmpuint(pod->sandboxes, ==, 1);
    pod_maker_kill(first);
    EXPECT(&fixture, pod->sandboxes == 2);
    g_assert_cmpuint(pod->inode, ==, netns_of(second));
    g_assert_false(pod->gone);
    pod_maker_kill(second);
    EXPECT(&fixture, pod->gone);
    end(&fixture);
}

static uint64_t processes(const Fixture *fixture)
{
    PodWatchCounters counters;
    pod_watch_counters(fixture->watch, &counters);
    return counters.processes;
}

/* A process leaves its pod, to a group that is none, comes back, and goes to another one. */
static void test_moves(void)
{
    Fixture fixture;
    begin(&fixture, false);
    pid_t pause = run(1, 1, NETNS_NEW, NULL);
    Known *pod = known(&fixture, pod_uid(1)), *other = known(&fixture, pod_uid(2));
    EXPECT(&fixture, pod->started == 1);
    pid_t shell = run(1, 1, pod->netns_fd, NULL);
    PodProcess process;
    EXPECT(&fixture, processes(&fixture) == 2);
    g_autofree char *home = group(1, 1);
    g_autofree char *away = group(2, 1);
    pod_maker_move(shell, "/elsewhere");
    EXPECT(&fixture, processes(&fixture) == 1);
    g_assert_false(pod_watch_find_process(fixture.watch, shell, &process));
    pod_maker_move(shell, home);
    EXPECT(&fixture, processes(&fixture) == 2);
    pod_maker_move(shell, away);
    EXPECT(&fixture, other->started == 1);
    g_assert_cmpuint(other->inode, ==, pod->inode);
    pod_maker_kill(pause);
    EXPECT(&fixture, pod->gone);
    pod_maker_move(shell, "/elsewhere");
    EXPECT(&fixture, other->gone);
    g_assert_cmpuint(processes(&fixture), ==, 0);
    pod_maker_kill(shell);
    end(&fixture);
}

static void test_long_name(void)
{
    Fixture fixture;
    begin(&fixture, false);
    EXPECT(&fixture, fixture.synced);
    g_autofree char *parent = g_strnfill(200, 'x');
    g_autofree char *path = g_strdup_printf("/ours/%s/kubepods/burstable/pod%s/%s", parent,
                                            pod_uid(1), container_id(1));
    pid_t pause = pod_maker_run(path, NETNS_NEW, false, NULL);
    Known *pod = known(&fixture, pod_uid(1));
    EXPECT(&fixture, pod->started == 1);
    pod_maker_kill(pause);
    EXPECT(&fixture, pod->gone);
    PodWatchCounters counters;
    pod_watch_counters(fixture.watch, &counters);
    g_assert_cmpuint(counters.scans, ==, 1);
    end(&fixture);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Each with a container that ends at once. */
static void test_quick_pods(void)
{
    Fixture fixture;
    uint64_t delays_ns[QUICK_PODS];
    begin(&fixture, false);
    EXPECT(&fixture, fixture.synced);
    for (unsigned i = 0; i < QUICK_PODS; i++) {
        uint64_t start_ns;
        pid_t pause = run(i, 1, NETNS_NEW, &start_ns);
        Known *pod = known(&fixture, pod_uid(i));
        EXPECT(&fixture, pod->sandboxes == 1);
        delays_ns[i] = pod->sandbox_ns - start_ns;
        g_autofree char *path = group(i, 2);
        pod_maker_run(path, pod->netns_fd, true, NULL);
        pod_maker_kill(pause);
        EXPECT(&fixture, pod->gone);
    }
    PodWatchCounters counters;
    pod_watch_counters(fixture.watch, &counters);
    g_assert_cmpuint(counters.events_lost, ==, 0);
    g_assert_cmpuint(counters.scans, ==, 1);
    g_assert_cmpuint(counters.pods, ==, 0);
    qsort(delays_ns, QUICK_PODS, sizeof(delays_ns[0]), compare);
    g_test_message("from network namespace to sandbox(): median %.2f ms, worst %.2f ms",
                   (double)delays_ns[QUICK_PODS / 2] / 1e6,
                   (double)delays_ns[QUICK_PODS - 1] / 1e6);
    /* Other work on the machine may hold us up now and then. */
    g_assert_cmpuint(delays_ns[QUICK_PODS * 95 / 100], <, SOON_NS);
    end(&fixture);
}

/* All at once, and all gone at once. */
static void test_many_pods(void)
{
    Fixture fixture;
    pid_t pids[QUICK_PODS];
    begin(&fixture, false);
    for (unsigned i = 0; i < QUICK_PODS; i++) {
        pids[i] = run(i, 1, NETNS_NEW, NULL);
    }
    for (unsigned i = 0; i < QUICK_PODS; i++) {
        Known *pod = known(&fixture, pod_uid(i));
        EXPECT(&fixture, pod->started == 1);
        g_assert_cmpuint(pod->inode, ==, netns_of(pids[i]));
    }
    for (unsigned i = 0; i < QUICK_PODS; i++) {
        pod_maker_kill(pids[i]);
    }
    for (unsigned i = 0; i < QUICK_PODS; i++) {
        EXPECT(&fixture, known(&fixture, pod_uid(i))->gone);
    }
    end(&fixture);
}

static void test_overflow(void)
{
    Fixture fixture;
    begin(&fixture, false);
    EXPECT(&fixture, fixture.synced);
    g_autofree char *path = g_strdup_printf("/other/kubepods/pod%s", pod_uid(2));
    g_autofree char *a = g_strdup_printf("%s/%s", path, container_id(1));
    g_autofree char *b = g_strdup_printf("%s/%s", path, container_id(2));
    pid_t walker = pod_maker_run(a, NETNS_OURS, false, NULL);
    for (unsigned i = 0; i < RING_EVENTS; i++) {
        pod_maker_move(walker, i % 2 ? a : b);
    }
    pid_t pause = run(1, 1, NETNS_NEW, NULL);
    await_program(pause);
    Known *pod = known(&fixture, pod_uid(1));
    EXPECT(&fixture, pod->started == 1);
    PodWatchCounters counters;
    pod_watch_counters(fixture.watch, &counters);
    g_assert_cmpuint(counters.events_lost, >, 0);
    g_assert_cmpuint(counters.scans, ==, 2);
    pod_maker_kill(walker);
    pod_maker_kill(pause);
    EXPECT(&fixture, pod->gone);
    end(&fixture);
}

/* Why BPF cannot be used here, or NULL. */
static char *missing(void)
{
    Fixture fixture;
    begin(&fixture, false);
    dispatch(&fixture, 0);
    char *reason = fixture.problems->len > 0 ? g_strdup(fixture.problems->str) : NULL;
    end(&fixture);
    return reason;
}

static void add_tests(int version)
{
    static const struct {
        const char *name;
        void (*function)(void);
    } tests[] = {
        {"life", test_life},
        {"without-events", test_without_events},
        {"start", test_start},
        {"host-network", test_host_network},
        {"not-ours", test_not_ours},
        {"new-sandbox", test_new_sandbox},
        {"moves", test_moves},
        {"long-name", test_long_name},
        {"quick-pods", test_quick_pods},
        {"many-pods", test_many_pods},
        {"overflow", test_overflow},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *name = g_strdup_printf("/pods-kernel/v%d/%s", version, tests[i].name);
        g_test_add_func(name, tests[i].function);
    }
}

int main(int argc, char **argv)
{
    return pod_maker_main(argc, argv, missing, add_tests);
}
