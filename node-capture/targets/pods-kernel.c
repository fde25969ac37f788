// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/pods-kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "node-capture/targets/pod-events.h"
#include "node-capture/targets/proc-process.h"

#define SCAN_NS            60000000000u /* in case that the kernel did not tell everything */
#define SCAN_NO_EVENTS_NS  250000000u
#define SCAN_AFTER_LOSS_NS 50000000u
#define SETTLE_NS          250000000u /* before a pod counts as one of the host's network */
#define READY_MAX          64

/* What is ready, in epoll's data; netlink sockets of pods have their serial. */
enum { READY_EVENTS, READY_TIMER, READY_SERIALS };

typedef struct Pod {
    char uid[CGROUP_UID_SIZE];
    GHashTable *containers; /* id -> Container */
    GPtrArray *processes;   /* of Process, oldest known first; owned by PodWatch.processes */
    bool told, host_network;
    int netns_fd; /* or -1 */
    ino_t netns_inode;
    uint64_t settle_ns; /* 0: nothing to settle */
    NetnsAddresses *addresses;
    uint64_t serial;
} Pod;

typedef struct Container {
    char id[CGROUP_CONTAINER_SIZE];
    Pod *pod;
    int hierarchy;
    bool told;
} Container;

typedef struct Process {
    pid_t pid;
    Pod *pod;
    Container *container;
    ino_t netns_inode;
    uint64_t scan; /* that saw it last */
} Process;

struct PodWatch {
    const PodWatchCallbacks *callbacks;
    void *userdata;
    char *cgroup_prefix;
    int proc_fd, epoll_fd, timer_fd;
    ino_t host_inode;
    char *host_problem, *events_problem; /* to be told by the first dispatch */
    PodEvents *events;                   /* NULL: by scans alone */
    uint64_t lost;                       /* as of the last look */
    GHashTable *pods;                    /* uid -> Pod */
    GHashTable *serials;                 /* serial -> Pod */
    GHashTable *processes;               /* pid -> Process */
    uint64_t serial, scan_at_ns;
    bool synced, denied, denied_told;
    PodWatchCounters counters;
};

static void tell_problem(PodWatch *watch, const char *subject, const char *message)
{
    watch->callbacks->problem(subject, message, watch->userdata);
}

/* ---- Pods ------------------------------------------------------------------------------------*/

static Pod *get_pod(PodWatch *watch, const char *uid)
{
    Pod *pod = g_hash_table_lookup(watch->pods, uid);
    if (!pod) {
        pod = g_new0(Pod, 1);
        g_strlcpy(pod->uid, uid, sizeof(pod->uid));
        pod->containers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
        pod->processes = g_ptr_array_new();
        pod->netns_fd = -1;
        pod->serial = watch->serial++;
        g_hash_table_insert(watch->pods, pod->uid, pod);
        g_hash_table_insert(watch->serials, &pod->serial, pod);
    }
    return pod;
}

static void pod_leave_netns(Pod *pod)
{
    /* Closing takes it out of epoll. */
    pod->addresses = netns_addresses_free(pod->addresses);
    if (pod->netns_fd >= 0) {
        close(pod->netns_fd);
    }
    pod->netns_fd = -1;
}

static void pod_free(void *data)
{
    Pod *pod = data;
    pod_leave_netns(pod);
    g_hash_table_unref(pod->containers);
    g_ptr_array_unref(pod->processes);
    g_free(pod);
}

static void follow_addresses(PodWatch *watch, Pod *pod)
{
    int error = netns_addresses_new(pod->netns_fd, &pod->addresses);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = pod->serial};
    if (!error &&
        epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, netns_addresses_fd(pod->addresses), &event) < 0) {
        error = -errno;
    }
    if (error) {
        g_autofree char *subject = g_strdup_printf("addresses of pod %s", pod->uid);
        g_autofree char *message =
            g_strdup_printf("cannot be followed: %s%s", g_strerror(-error),
                            error == -EPERM ? " (CAP_SYS_ADMIN is missing)" : "");
        pod->addresses = netns_addresses_free(pod->addresses);
        tell_problem(watch, subject, message);
    }
}

static void tell_containers(PodWatch *watch, Pod *pod)
{
    GHashTableIter iter;
    Container *container;
    g_hash_table_iter_init(&iter, pod->containers);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&container)) {
        if (!container->told) {
            container->told = true;
            watch->callbacks->container(pod->uid, container->id, true, watch->userdata);
        }
    }
}

/* The pod is in `netns_fd` (-1: in the host's) from now on. */
static void set_netns(PodWatch *watch, Pod *pod, int netns_fd, ino_t inode)
{
    int old_fd = pod->netns_fd;
    pod->addresses = netns_addresses_free(pod->addresses);
    pod->netns_fd = netns_fd;
    pod->netns_inode = inode;
    pod->host_network = netns_fd < 0;
    pod->told = true;
    pod->settle_ns = 0;
    const PodSandbox sandbox = {pod->uid, netns_fd, inode, pod->host_network};
    watch->callbacks->sandbox(&sandbox, watch->userdata);
    if (old_fd >= 0) {
        close(old_fd);
    }
    if (netns_fd >= 0) {
        follow_addresses(watch, pod);
    }
    tell_containers(watch, pod);
}

/* Which namespace is the pod's: the one it has, as long as a process of it is in there, else that
 * of its oldest process. (A process may well go elsewhere, such as a network agent that enters
 * other pods.) */
static void choose_netns(PodWatch *watch, Pod *pod)
{
    if (pod->processes->len == 0) {
        return;
    }
    for (guint i = 0; pod->told && i < pod->processes->len; i++) {
        if (((Process *)pod->processes->pdata[i])->netns_inode == pod->netns_inode) {
            return;
        }
    }
    const Process *oldest = pod->processes->pdata[0];
    if (oldest->netns_inode == watch->host_inode) {
        if (pod->settle_ns == 0) {
            pod->settle_ns = clock_monotonic_ns() + SETTLE_NS;
        }
        return;
    }
    ino_t inode;
    int fd = proc_process_netns(watch->proc_fd, oldest->pid, &inode);
    if (fd < 0) {
        return; /* it has just ended, which will be told */
    }
    if (inode != oldest->netns_inode) {
        close(fd); /* it has just moved on: its exec() will be told */
        return;
    }
    set_netns(watch, pod, fd, inode);
}

/* ---- Processes -------------------------------------------------------------------------------*/

/* The record alone. */
static void drop_process(PodWatch *watch, Process *process)
{
    g_ptr_array_remove(process->pod->processes, process);
    if (watch->events) {
        pod_events_want_exit(watch->events, process->pid, false);
    }
    g_hash_table_remove(watch->processes, GINT_TO_POINTER(process->pid));
}

static void forget_process(PodWatch *watch, pid_t pid)
{
    Process *process = g_hash_table_lookup(watch->processes, GINT_TO_POINTER(pid));
    if (process) {
        Pod *pod = process->pod;
        drop_process(watch, process);
        choose_netns(watch, pod);
    }
}

static Container *get_container(Pod *pod, const CgroupPod *where)
{
    Container *container = g_hash_table_lookup(pod->containers, where->container);
    if (!container) {
        container = g_new0(Container, 1);
        memcpy(container->id, where->container, sizeof(container->id));
        container->pod = pod;
        container->hierarchy = where->hierarchy;
        g_hash_table_insert(pod->containers, container->id, container);
    }
    return container;
}

static Process *add_process(PodWatch *watch, pid_t pid, const CgroupPod *where)
{
    Process *process = g_new0(Process, 1);
    process->pid = pid;
    process->pod = get_pod(watch, where->uid);
    process->container = get_container(process->pod, where);
    g_ptr_array_add(process->pod->processes, process);
    g_hash_table_insert(watch->processes, GINT_TO_POINTER(pid), process);
    if (watch->events) {
        pod_events_want_exit(watch->events, pid, true);
    }
    return process;
}

static void look_at_process(PodWatch *watch, pid_t pid)
{
    CgroupPod where;
    ino_t inode;
    if (proc_process_pod(watch->proc_fd, pid, watch->cgroup_prefix, &where) < 0 ||
        where.container[0] == '\0') {
        forget_process(watch, pid);
        return;
    }
    Process *process = g_hash_table_lookup(watch->processes, GINT_TO_POINTER(pid));
    if (process && (strcmp(process->pod->uid, where.uid) != 0 ||
                    strcmp(process->container->id, where.container) != 0)) {
        forget_process(watch, pid);
        process = NULL;
    }
    /* Before the look at its namespace, which so also tells whether the process had ended before we
     * asked to be told of that. */
    if (!process) {
        process = add_process(watch, pid, &where);
    }
    int error = proc_process_netns_inode(watch->proc_fd, pid, &inode);
    if (error) {
        watch->denied |= error == -EACCES || error == -EPERM;
        forget_process(watch, pid);
        return;
    }
    process->netns_inode = inode;
    process->scan = watch->counters.scans;
    choose_netns(watch, process->pod);
    if (process->pod->told) {
        tell_containers(watch, process->pod);
    }
}

static void remove_pod(PodWatch *watch, Pod *pod)
{
    if (pod->told) {
        watch->callbacks->gone(pod->uid, watch->userdata);
    }
    g_hash_table_remove(watch->serials, &pod->serial);
    g_hash_table_remove(watch->pods, pod->uid);
}

static void stop_container(PodWatch *watch, Container *container)
{
    Pod *pod = container->pod;
    for (guint i = pod->processes->len; i > 0; i--) {
        Process *process = pod->processes->pdata[i - 1];
        if (process->container == container) {
            drop_process(watch, process);
        }
    }
    if (container->told) {
        watch->callbacks->container(pod->uid, container->id, false, watch->userdata);
    }
    g_hash_table_remove(pod->containers, container->id);
    if (g_hash_table_size(pod->containers) == 0) {
        remove_pod(watch, pod);
    } else {
        choose_netns(watch, pod);
    }
}

static bool has_process(const Container *container)
{
    for (guint i = 0; i < container->pod->processes->len; i++) {
        if (((Process *)container->pod->processes->pdata[i])->container == container) {
            return true;
        }
    }
    return false;
}

/* ---- Looking through /proc -------------------------------------------------------------------*/

static void stop_containers_without_process(PodWatch *watch)
{
    g_autoptr(GPtrArray) stopped = g_ptr_array_new();
    GHashTableIter pods, containers;
    Pod *pod;
    Container *container;
    g_hash_table_iter_init(&pods, watch->pods);
    while (g_hash_table_iter_next(&pods, NULL, (void **)&pod)) {
        g_hash_table_iter_init(&containers, pod->containers);
        while (g_hash_table_iter_next(&containers, NULL, (void **)&container)) {
            if (!has_process(container)) {
                g_ptr_array_add(stopped, container);
            }
        }
    }
    for (guint i = 0; i < stopped->len; i++) {
        stop_container(watch, stopped->pdata[i]);
    }
}

static void forget_unseen(PodWatch *watch)
{
    g_autoptr(GPtrArray) unseen = g_ptr_array_new();
    GHashTableIter iter;
    Process *process;
    g_hash_table_iter_init(&iter, watch->processes);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&process)) {
        if (process->scan != watch->counters.scans) {
            g_ptr_array_add(unseen, process);
        }
    }
    for (guint i = 0; i < unseen->len; i++) {
        forget_process(watch, ((Process *)unseen->pdata[i])->pid);
    }
}

static void tell_denied(PodWatch *watch)
{
    if (watch->denied != watch->denied_told) {
        watch->denied_told = watch->denied;
        tell_problem(watch, "processes of pods",
                     watch->denied ? "their network namespaces cannot be read: CAP_SYS_PTRACE is "
                                     "missing"
                                   : NULL);
    }
}

static void scan(PodWatch *watch)
{
    int fd = openat(watch->proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (!folder) {
        if (fd >= 0) {
            close(fd);
        }
        tell_problem(watch, "processes", "/proc cannot be read");
        return;
    }
    watch->counters.scans++;
    watch->denied = false;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (g_ascii_isdigit(entry->d_name[0])) {
            look_at_process(watch, (pid_t)atoi(entry->d_name));
        }
    }
    closedir(folder);
    forget_unseen(watch);
    stop_containers_without_process(watch);
}

/* ---- Events ----------------------------------------------------------------------------------*/

static void on_process(pid_t pid, void *userdata)
{
    PodWatch *watch = userdata;
    watch->counters.events++;
    look_at_process(watch, pid);
}

static void on_exited(pid_t pid, void *userdata)
{
    PodWatch *watch = userdata;
    watch->counters.events++;
    forget_process(watch, pid);
}

static void on_empty(int hierarchy, const char *path, size_t length, void *userdata)
{
    PodWatch *watch = userdata;
    CgroupPod where;
    watch->counters.events++;
    /* The prefix is none of the kernel's: it is for paths as our own cgroup namespace has them. */
    if (!cgroup_path_pod(path, length, NULL, &where) || where.below) {
        return;
    }
    Pod *pod = g_hash_table_lookup(watch->pods, where.uid);
    Container *container = pod ? g_hash_table_lookup(pod->containers, where.container) : NULL;
    if (container && container->hierarchy == hierarchy) {
        stop_container(watch, container);
    }
}

static const PodEventsCallbacks event_callbacks = {on_process, on_exited, on_empty};

static void dispatch_events(PodWatch *watch)
{
    pod_events_dispatch(watch->events);
    uint64_t lost = pod_events_lost(watch->events);
    if (lost != watch->lost) {
        watch->counters.events_lost += lost - watch->lost;
        watch->lost = lost;
        watch->scan_at_ns = MIN(watch->scan_at_ns, clock_monotonic_ns() + SCAN_AFTER_LOSS_NS);
    }
}

static void dispatch_addresses(PodWatch *watch, uint64_t serial)
{
    Pod *pod = g_hash_table_lookup(watch->serials, &serial);
    if (!pod || !pod->addresses) {
        return;
    }
    bool changed;
    int error = netns_addresses_dispatch(pod->addresses, &changed);
    if (changed) {
        size_t count;
        const NetnsAddress *list = netns_addresses_list(pod->addresses, &count);
        watch->callbacks->addresses(pod->uid, list, count, watch->userdata);
    }
    if (error) { /* made anew, with a dump */
        pod->addresses = netns_addresses_free(pod->addresses);
        follow_addresses(watch, pod);
    }
}

/* ---- Time ------------------------------------------------------------------------------------*/

/* The processes have had time to reach their namespace. */
static void settle_pod(PodWatch *watch, Pod *pod)
{
    pod->settle_ns = 0;
    for (guint i = 0; i < pod->processes->len; i++) {
        Process *process = pod->processes->pdata[i];
        ino_t inode;
        if (proc_process_netns_inode(watch->proc_fd, process->pid, &inode) == 0) {
            process->netns_inode = inode;
        }
    }
    const Process *oldest = pod->processes->len > 0 ? pod->processes->pdata[0] : NULL;
    if (oldest && oldest->netns_inode == watch->host_inode && !(pod->told && pod->host_network)) {
        set_netns(watch, pod, -1, watch->host_inode);
    } else {
        choose_netns(watch, pod);
    }
}

static uint64_t settle_pods(PodWatch *watch, uint64_t now_ns)
{
    g_autoptr(GList) pods = g_hash_table_get_values(watch->pods);
    uint64_t next_ns = UINT64_MAX;
    for (GList *item = pods; item; item = item->next) {
        Pod *pod = item->data;
        if (pod->settle_ns != 0 && pod->settle_ns <= now_ns) {
            settle_pod(watch, pod);
        }
        if (pod->settle_ns != 0) {
            next_ns = MIN(next_ns, pod->settle_ns);
        }
    }
    return next_ns;
}

static void set_timer(PodWatch *watch, uint64_t at_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ns / 1000000000u),
                                           .tv_nsec = (long)(at_ns % 1000000000u)}};
    timerfd_settime(watch->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void start(PodWatch *watch)
{
    if (watch->host_problem) {
        tell_problem(watch, "network namespace of the host", watch->host_problem);
    }
    if (watch->events_problem) {
        tell_problem(watch, "events of pods", watch->events_problem);
    }
}

static void keep_time(PodWatch *watch)
{
    uint64_t now_ns = clock_monotonic_ns();
    bool first = !watch->synced;
    if (first) {
        start(watch);
    }
    if (now_ns >= watch->scan_at_ns) {
        scan(watch);
        now_ns = clock_monotonic_ns();
        watch->scan_at_ns = now_ns + (watch->events ? SCAN_NS : SCAN_NO_EVENTS_NS);
    }
    tell_denied(watch);
    if (first) {
        watch->synced = true;
        watch->callbacks->synced(watch->userdata);
    }
    set_timer(watch, MIN(settle_pods(watch, now_ns), watch->scan_at_ns));
}

/* ---- The object ------------------------------------------------------------------------------*/

void pod_watch_dispatch(PodWatch *watch)
{
    struct epoll_event ready[READY_MAX];
    int count = epoll_wait(watch->epoll_fd, ready, READY_MAX, 0);
    for (int i = 0; i < count; i++) {
        uint64_t expirations;
        switch (ready[i].data.u64) {
        case READY_EVENTS:
            dispatch_events(watch);
            break;
        case READY_TIMER:
            /* Only to make it unreadable: what is due is decided by the clock. */
            if (read(watch->timer_fd, &expirations, sizeof(expirations)) < 0) {
                continue;
            }
            break;
        default:
            dispatch_addresses(watch, ready[i].data.u64);
        }
    }
    keep_time(watch);
}

static int watch_fd(PodWatch *watch, int fd, uint64_t what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = what};
    return epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void find_host(PodWatch *watch, const char *path)
{
    struct stat status;
    if (stat(path ? path : "/proc/1/ns/net", &status) == 0) {
        watch->host_inode = status.st_ino;
        return;
    }
    watch->host_problem =
        g_strdup_printf("%s cannot be read (%s; CAP_SYS_PTRACE and hostPID: true are needed): ours "
                        "is taken for it",
                        path ? path : "/proc/1/ns/net", g_strerror(errno));
    watch->host_inode = stat("/proc/self/ns/net", &status) == 0 ? status.st_ino : 0;
}

static void start_events(PodWatch *watch, bool without)
{
    g_autofree char *message = NULL;
    if (without) {
        message = g_strdup("switched off");
    } else if (pod_events_new(&event_callbacks, watch, &watch->events, &message) == 0) {
        return;
    }
    watch->events_problem = g_strdup_printf(
        "%s; processes are looked through every %u ms instead, so that a pod's first packets may "
        "be missing",
        message, SCAN_NO_EVENTS_NS / 1000000);
}

int pod_watch_new(const PodWatchOptions *options, const PodWatchCallbacks *callbacks,
                  void *userdata, PodWatch **ret)
{
    PodWatch *watch = g_new0(PodWatch, 1);
    watch->callbacks = callbacks;
    watch->userdata = userdata;
    watch->cgroup_prefix = g_strdup(options->cgroup_prefix);
    watch->serial = READY_SERIALS;
    watch->pods = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, pod_free);
    watch->serials = g_hash_table_new(g_int64_hash, g_int64_equal);
    watch->processes = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    watch->proc_fd =
        open(options->proc ? options->proc : "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    watch->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    watch->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int error = watch->proc_fd < 0 || watch->epoll_fd < 0 || watch->timer_fd < 0 ? -errno : 0;
    error = error ? error : watch_fd(watch, watch->timer_fd, READY_TIMER);
    if (!error) {
        find_host(watch, options->host_netns);
        start_events(watch, options->without_events);
        error = watch->events ? watch_fd(watch, pod_events_fd(watch->events), READY_EVENTS) : 0;
    }
    if (error) {
        pod_watch_free(watch);
        return error;
    }
    set_timer(watch, 1); /* long past: readable at once */
    *ret = watch;
    return 0;
}

static void close_if_open(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

PodWatch *pod_watch_free(PodWatch *watch)
{
    if (watch) {
        pod_events_free(watch->events);
        g_hash_table_unref(watch->processes);
        g_hash_table_unref(watch->serials);
        g_hash_table_unref(watch->pods);
        close_if_open(watch->timer_fd);
        close_if_open(watch->epoll_fd);
        close_if_open(watch->proc_fd);
        g_free(watch->host_problem);
        g_free(watch->events_problem);
        g_free(watch->cgroup_prefix);
        g_free(watch);
    }
    return NULL;
}

int pod_watch_fd(const PodWatch *watch)
{
    return watch->epoll_fd;
}

bool pod_watch_find_process(const PodWatch *watch, pid_t pid, PodProcess *ret_process)
{
    PodProcess found = {.name = ""};
    const Process *known = g_hash_table_lookup(watch->processes, GINT_TO_POINTER(pid));
    if (proc_process_pod(watch->proc_fd, pid, watch->cgroup_prefix, &found.pod) < 0) {
        if (!known) {
            return false;
        }
        memcpy(found.pod.uid, known->pod->uid, sizeof(found.pod.uid));
        memcpy(found.pod.container, known->container->id, sizeof(found.pod.container));
        found.pod.hierarchy = known->container->hierarchy;
    }
    proc_process_name(watch->proc_fd, pid, found.name, sizeof(found.name));
    *ret_process = found;
    return true;
}

bool pod_watch_has_events(const PodWatch *watch)
{
    return watch->events != NULL;
}

void pod_watch_counters(const PodWatch *watch, PodWatchCounters *ret_counters)
{
    *ret_counters = watch->counters;
    ret_counters->pods = g_hash_table_size(watch->pods);
    ret_counters->processes = g_hash_table_size(watch->processes);
    ret_counters->containers = 0;
    GHashTableIter iter;
    const Pod *pod;
    g_hash_table_iter_init(&iter, watch->pods);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        ret_counters->containers += g_hash_table_size(pod->containers);
    }
}
