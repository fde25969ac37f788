// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/kubernetes.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "k8s-enrich/address.h"
#include "k8s-enrich/api/watch.h"
#include "node-capture/targets/host-addresses.h"
#include "node-capture/targets/pod-join.h"

#define API_WAIT_NS 3000000000u /* streams wait for it no longer */
#define UNSEEN_NS                                                                                \
    5000000000u              /* pods that run by the API server, but of which no process is seen \
                              */
#define POLLED_NS 250000000u /* how late pods may be known where the kernel does not tell */

#define API_SUBJECT  "API server"
#define NODE_SUBJECT "pods of this node"
#define SEEN_SUBJECT "processes of other pods"
#define HOST_SUBJECT "addresses of this node"

/* In epoll's data. */
enum { READY_TIMER, READY_PODS, READY_API, READY_HOST, READY_COUNT };

typedef struct KubernetesTargets {
    Targets targets;
    const TargetsCallbacks *callbacks;
    void *userdata;
    char *node_name;
    PodJoin *join;
    PodWatch *pods;
    ApiWatch *api;
    HostAddresses *host;
    NetnsAddresses *host_addresses; /* NULL: they cannot be followed */
    int epoll_fd, timer_fd;
    uint64_t give_up_ns; /* monotonic: when the API server is waited for no longer */
    bool pods_synced, api_synced, synced, gave_up;
    ino_t own_inode;          /* of our own network namespace */
    bool no_pods, none_seen;  /* told as problems */
    uint64_t none_seen_since; /* monotonic; 0: it is not so */
} KubernetesTargets;

static void tell_problem(const char *subject, const char *message, void *userdata)
{
    const KubernetesTargets *targets = userdata;
    targets->callbacks->problem(subject, message, targets->userdata);
}

/* ---- The kernel ------------------------------------------------------------------------------*/

static uint64_t known_since(const KubernetesTargets *targets, uint64_t now_ns)
{
    if (!targets->pods_synced) {
        return 0;
    }
    return pod_watch_has_events(targets->pods) ? TARGETS_AT_ONCE : now_ns - POLLED_NS;
}

/* The kubelet has heard of a pod that we have not: so the server can be reached. */
static void hurry_for_unknown(const KubernetesTargets *targets, const char *uid)
{
    if (!pod_join_knows(targets->join, uid)) {
        api_watch_hurry(targets->api);
    }
}

static void on_sandbox(const PodSandbox *sandbox, void *userdata)
{
    KubernetesTargets *targets = userdata;
    uint64_t now_ns = clock_unix_ns();
    if (!sandbox->host_network && sandbox->netns_inode == targets->own_inode) {
        pod_join_own(targets->join, sandbox->uid);
    }
    pod_join_sandbox(targets->join, sandbox->uid, sandbox->netns_fd, sandbox->host_network,
                     known_since(targets, now_ns), now_ns);
    hurry_for_unknown(targets, sandbox->uid);
}

static void on_addresses(const char *uid, const NetnsAddress *addresses, size_t count,
                         void *userdata)
{
    KubernetesTargets *targets = userdata;
    g_autoptr(GArray) reachable = g_array_new(FALSE, FALSE, sizeof(IpAddress));
    for (size_t i = 0; i < count; i++) {
        IpAddress address;
        if (ip_address_from_bytes(&address, addresses[i].bytes, addresses[i].length) &&
            ip_address_is_host(&address)) {
            g_array_append_val(reachable, address);
        }
    }
    const IpAddress *found = (const IpAddress *)reachable->data;
    pod_join_addresses(targets->join, uid, found, reachable->len, clock_unix_ns());
    host_addresses_pod(targets->host, uid, found, reachable->len, clock_unix_ns());
}

static void on_container(const char *uid, const char *container_id, bool running, void *userdata)
{
    if (running) {
        KubernetesTargets *targets = userdata;
        pod_join_container(targets->join, uid, container_id, clock_unix_ns());
        hurry_for_unknown(targets, uid);
    }
}

static void on_gone(const char *uid, void *userdata)
{
    KubernetesTargets *targets = userdata;
    pod_join_gone(targets->join, uid, clock_unix_ns());
    host_addresses_pod(targets->host, uid, NULL, 0, clock_unix_ns());
}

static void on_pods_synced(void *userdata)
{
    ((KubernetesTargets *)userdata)->pods_synced = true;
}

static const PodWatchCallbacks pod_callbacks = {on_sandbox, on_addresses,   on_container,
                                                on_gone,    on_pods_synced, tell_problem};

/* ---- The node's own network ------------------------------------------------------------------*/

static void on_host_entity(const Entity *node, void *userdata)
{
    const KubernetesTargets *targets = userdata;
    targets->callbacks->identity(node, 0, targets->userdata);
}

static void host_problem(KubernetesTargets *targets, int error)
{
    g_autofree char *message =
        g_strdup_printf("cannot be followed: %s%s; what its processes send to its pods by a "
                        "bridge's address is not "
                        "named as the node's",
                        g_strerror(-error),
                        error == -EACCES  ? " (CAP_SYS_PTRACE and hostPID: true are needed)"
                        : error == -EPERM ? " (CAP_SYS_ADMIN is missing)"
                                          : "");
    targets->host_addresses = netns_addresses_free(targets->host_addresses);
    tell_problem(HOST_SUBJECT, message, targets);
}

static void dispatch_host(KubernetesTargets *targets)
{
    bool changed;
    int error = netns_addresses_dispatch(targets->host_addresses, &changed);
    if (error) {
        host_problem(targets, error);
        return;
    }
    size_t count;
    const NetnsAddress *addresses = netns_addresses_list(targets->host_addresses, &count);
    if (changed) {
        host_addresses_set(targets->host, addresses, count, clock_unix_ns());
    }
}

/* ---- The API server --------------------------------------------------------------------------*/

static void on_identity(const Entity *entity, uint64_t deleted_ns, void *userdata)
{
    KubernetesTargets *targets = userdata;
    pod_join_entity(targets->join, entity, deleted_ns, clock_unix_ns());
    if (entity->kind == ENTITY_NODE && deleted_ns == 0 &&
        g_str_equal(entity->name, targets->node_name)) {
        host_addresses_node(targets->host, entity, clock_unix_ns());
    }
}

static void on_api_synced(void *userdata)
{
    KubernetesTargets *targets = userdata;
    targets->api_synced = true;
    pod_join_api_synced(targets->join, clock_unix_ns());
    if (targets->gave_up) {
        tell_problem(API_SUBJECT, NULL, targets);
    }
}

static const ApiCallbacks api_callbacks = {on_identity, on_api_synced, tell_problem};

/* ---- The backend -----------------------------------------------------------------------------*/

static void check_api_pods(KubernetesTargets *targets, const PodJoinCounts *counts)
{
    bool no_pods = targets->api_synced && counts->api == 0;
    if (no_pods != targets->no_pods) {
        g_autofree char *message = g_strdup_printf(
            "the API server has no pod with spec.nodeName \"%s\"; check --node-name",
            targets->node_name);
        tell_problem(NODE_SUBJECT, no_pods ? message : NULL, targets);
        targets->no_pods = no_pods;
    }
}

/* Returns when to look again; UINT64_MAX: not before something else happens. */
static uint64_t check_kernel_pods(KubernetesTargets *targets, const PodJoinCounts *counts,
                                  uint64_t now_ns)
{
    if (!targets->pods_synced || counts->others_running == 0 || counts->others_seen > 0) {
        targets->none_seen_since = 0;
        if (targets->none_seen) {
            tell_problem(SEEN_SUBJECT, NULL, targets);
        }
        targets->none_seen = false;
        return UINT64_MAX;
    }
    if (targets->none_seen) {
        return UINT64_MAX;
    }
    targets->none_seen_since = targets->none_seen_since ? targets->none_seen_since : now_ns;
    if (now_ns < targets->none_seen_since + UNSEEN_NS) {
        return targets->none_seen_since + UNSEEN_NS;
    }
    g_autofree char *message = g_strdup_printf(
        "by the API server %u other pods run on this node, but no process of any is seen: "
        "hostPID: true is needed, and --cgroup-prefix, if given, must name the control group of "
        "this node's pods",
        counts->others_running);
    tell_problem(SEEN_SUBJECT, message, targets);
    targets->none_seen = true;
    return UINT64_MAX;
}

static void check_synced(KubernetesTargets *targets, uint64_t now_ns)
{
    if (targets->synced || !targets->pods_synced) {
        return;
    }
    if (!targets->api_synced && now_ns < targets->give_up_ns) {
        return;
    }
    targets->synced = true;
    if (!targets->api_synced) {
        targets->gave_up = true;
        tell_problem(API_SUBJECT,
                     "has not told all that it knows within three seconds; pods are captured under "
                     "their uids until it does",
                     targets);
    }
    targets->callbacks->synced(targets->userdata);
}

static void set_timer(KubernetesTargets *targets, uint64_t at_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ns / 1000000000u),
                                           .tv_nsec = (long)(at_ns % 1000000000u)}};
    timerfd_settime(targets->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void keep_time(KubernetesTargets *targets)
{
    uint64_t unix_ns = clock_unix_ns(), now_ns = clock_monotonic_ns();
    PodJoinCounts counts = pod_join_counts(targets->join);
    check_api_pods(targets, &counts);
    check_synced(targets, now_ns);
    uint64_t due_ns = pod_join_tick(targets->join, unix_ns);
    uint64_t next_ns = due_ns == UINT64_MAX ? 0 : now_ns + (due_ns - unix_ns);
    if (!targets->synced && !targets->api_synced &&
        (next_ns == 0 || next_ns > targets->give_up_ns)) {
        next_ns = targets->give_up_ns;
    }
    uint64_t look_ns = check_kernel_pods(targets, &counts, now_ns);
    if (look_ns != UINT64_MAX && (next_ns == 0 || next_ns > look_ns)) {
        next_ns = look_ns;
    }
    struct epoll_event event;
    /* Who waits for our descriptor may do so edge-triggered, and then is told by a timer alone of
     * what is left over. */
    if (epoll_wait(targets->epoll_fd, &event, 1, 0) == 1) {
        next_ns = 1;
    }
    set_timer(targets, next_ns); /* 0: none */
}

static int kubernetes_fd(const Targets *base)
{
    return ((const KubernetesTargets *)base)->epoll_fd;
}

static void kubernetes_dispatch(Targets *base)
{
    KubernetesTargets *targets = (KubernetesTargets *)base;
    struct epoll_event ready[READY_COUNT];
    int count = epoll_wait(targets->epoll_fd, ready, READY_COUNT, 0);
    for (int i = 0; i < count; i++) {
        uint64_t expirations;
        switch (ready[i].data.u64) {
        case READY_PODS:
            pod_watch_dispatch(targets->pods);
            break;
        case READY_API:
            api_watch_dispatch(targets->api);
            break;
        case READY_HOST:
            dispatch_host(targets);
            break;
        default:
            /* Only to make it unreadable: what is due is decided by the clock. */
            if (read(targets->timer_fd, &expirations, sizeof(expirations)) < 0) {
                continue;
            }
        }
    }
    keep_time(targets);
}

static void kubernetes_stats(const Targets *base, TargetsStats *ret)
{
    const KubernetesTargets *targets = (const KubernetesTargets *)base;
    ApiWatchStats stats;
    PodWatchCounters pods;
    api_watch_stats(targets->api, &stats);
    pod_watch_counters(targets->pods, &pods);
    *ret = (TargetsStats){.api_lists = stats.lists,
                          .api_watches = stats.watches,
                          .api_events = stats.events,
                          .api_errors = stats.errors,
                          .api_expired = stats.relists,
                          .process_events = pods.events,
                          .process_events_skipped = pods.events_skipped,
                          .process_events_lost = pods.events_lost};
}

static void kubernetes_free(Targets *base)
{
    KubernetesTargets *targets = (KubernetesTargets *)base;
    api_watch_free(targets->api);
    pod_watch_free(targets->pods);
    netns_addresses_free(targets->host_addresses);
    host_addresses_free(targets->host);
    pod_join_free(targets->join);
    if (targets->timer_fd >= 0) {
        close(targets->timer_fd);
    }
    if (targets->epoll_fd >= 0) {
        close(targets->epoll_fd);
    }
    g_free(targets->node_name);
    g_free(targets);
}

static const TargetsOps kubernetes_ops = {"kubernetes", kubernetes_free, kubernetes_fd,
                                          kubernetes_dispatch, kubernetes_stats};

static bool watch_fd(const KubernetesTargets *targets, int fd, uint64_t what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = what};
    return fd >= 0 && epoll_ctl(targets->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool refused(const char *what, int number, GError **error)
{
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(number), "%s: %s", what,
                g_strerror(number));
    return false;
}

/* That it cannot be done is told, and no reason to stop. */
static void follow_host(KubernetesTargets *targets, const char *netns)
{
    int fd = open(netns ? netns : "/proc/1/ns/net", O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? -errno : netns_addresses_new(fd, &targets->host_addresses);
    if (!error && !watch_fd(targets, netns_addresses_fd(targets->host_addresses), READY_HOST)) {
        error = -errno;
    }
    if (error) {
        host_problem(targets, error);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static bool start(KubernetesTargets *targets, const ApiConfig *config,
                  const PodWatchOptions *options, GError **error)
{
    targets->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    targets->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (!watch_fd(targets, targets->timer_fd, READY_TIMER)) {
        return refused("pods cannot be followed: epoll", errno, error);
    }
    struct stat own;
    targets->own_inode = stat("/proc/self/ns/net", &own) == 0 ? own.st_ino : 0;
    int result = pod_watch_new(options, &pod_callbacks, targets, &targets->pods);
    if (result < 0) {
        return refused("pods cannot be followed: /proc", -result, error);
    }
    const ApiScope scope = {.node_name = targets->node_name};
    targets->api = api_watch_new(config, &scope, &api_callbacks, targets, error);
    if (!targets->api) {
        return false;
    }
    if (!watch_fd(targets, pod_watch_fd(targets->pods), READY_PODS) ||
        !watch_fd(targets, api_watch_fd(targets->api), READY_API)) {
        return refused("pods cannot be followed: epoll", errno, error);
    }
    follow_host(targets, options->host_netns);
    return true;
}

Targets *targets_kubernetes_new(const ApiConfig *config, const PodWatchOptions *options,
                                const char *node_name, const TargetsCallbacks *callbacks,
                                void *userdata, GError **error)
{
    KubernetesTargets *targets = g_new0(KubernetesTargets, 1);
    targets->targets.ops = &kubernetes_ops;
    targets->callbacks = callbacks;
    targets->userdata = userdata;
    targets->node_name = g_strdup(node_name);
    targets->timer_fd = -1;
    targets->join = pod_join_new(node_name, callbacks, userdata);
    targets->host = host_addresses_new(node_name, clock_unix_ns(), on_host_entity, targets);
    targets->give_up_ns = clock_monotonic_ns() + API_WAIT_NS;
    if (!start(targets, config, options, error)) {
        kubernetes_free(&targets->targets);
        return NULL;
    }
    return &targets->targets;
}
