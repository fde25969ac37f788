// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/pods-kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "node-capture/targets/pods-kernel-private.h"
#include "node-capture/targets/proc-process.h"

#define SCAN_NS            60000000000u /* in case that the kernel did not tell everything */
#define SCAN_NO_EVENTS_NS  250000000u
#define SCAN_AFTER_LOSS_NS 50000000u
#define READY_MAX          64

void pod_watch_tell_problem(PodWatch *watch, const char *subject, const char *message)
{
    watch->callbacks->problem(subject, message, watch->userdata);
}

/* ---- Events ----------------------------------------------------------------------------------*/

static void on_process(pid_t pid, void *userdata)
{
    PodWatch *watch = userdata;
    watch->counters.events++;
    pod_watch_look_at_process(watch, pid);
}

static void on_exited(pid_t pid, void *userdata)
{
    PodWatch *watch = userdata;
    watch->counters.events++;
    pod_watch_forget_process(watch, pid);
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
        pod_watch_stop_container(watch, container);
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
        pod_watch_follow_addresses(watch, pod);
    }
}

/* ---- Time ------------------------------------------------------------------------------------*/

static void set_timer(PodWatch *watch, uint64_t at_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ns / 1000000000u),
                                           .tv_nsec = (long)(at_ns % 1000000000u)}};
    timerfd_settime(watch->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void start(PodWatch *watch)
{
    if (watch->host_problem) {
        pod_watch_tell_problem(watch, "network namespace of the host", watch->host_problem);
    }
    if (watch->events_problem) {
        pod_watch_tell_problem(watch, "events of pods", watch->events_problem);
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
        pod_watch_scan(watch);
        now_ns = clock_monotonic_ns();
        watch->scan_at_ns = now_ns + (watch->events ? SCAN_NS : SCAN_NO_EVENTS_NS);
    }
    pod_watch_tell_denied(watch);
    if (first) {
        watch->synced = true;
        watch->callbacks->synced(watch->userdata);
    }
    set_timer(watch, MIN(pod_watch_settle_pods(watch, now_ns), watch->scan_at_ns));
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
    watch->pods = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, pod_watch_pod_free);
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
    ret_counters->events_skipped = watch->events ? pod_events_skipped(watch->events) : 0;
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
