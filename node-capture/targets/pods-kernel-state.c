// SPDX-License-Identifier: GPL-2.0-or-later
/* Pods, their containers and processes, and the network namespace that is a pod's. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/clock.h"
#include "node-capture/targets/pods-kernel-private.h"
#include "node-capture/targets/proc-process.h"

#define SETTLE_NS 250000000u /* before a pod counts as one of the host's network */

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

void pod_watch_pod_free(void *data)
{
    Pod *pod = data;
    pod_leave_netns(pod);
    g_hash_table_unref(pod->containers);
    g_ptr_array_unref(pod->processes);
    g_free(pod);
}

void pod_watch_follow_addresses(PodWatch *watch, Pod *pod)
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
        pod_watch_tell_problem(watch, subject, message);
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
        pod_watch_follow_addresses(watch, pod);
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
        pod_events_follow(watch->events, process->pid, false);
    }
    g_hash_table_remove(watch->processes, GINT_TO_POINTER(process->pid));
}

void pod_watch_forget_process(PodWatch *watch, pid_t pid)
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
        pod_events_follow(watch->events, pid, true);
    }
    return process;
}

/* NULL: it has ended, or is in no container. */
static Process *place_process(PodWatch *watch, pid_t pid)
{
    CgroupPod where;
    while (proc_process_pod(watch->proc_fd, pid, watch->cgroup_prefix, &where) == 0 &&
           where.container[0] != '\0') {
        Process *process = g_hash_table_lookup(watch->processes, GINT_TO_POINTER(pid));
        if (process && strcmp(process->pod->uid, where.uid) == 0 &&
            strcmp(process->container->id, where.container) == 0) {
            return process;
        }
        pod_watch_forget_process(watch, pid);
        /* And looked at again: it may have ended, or left, before we asked to be told of that. */
        add_process(watch, pid, &where);
    }
    pod_watch_forget_process(watch, pid);
    return NULL;
}

void pod_watch_look_at_process(PodWatch *watch, pid_t pid)
{
    ino_t inode;
    Process *process = place_process(watch, pid);
    if (!process) {
        return;
    }
    int error = proc_process_netns_inode(watch->proc_fd, pid, &inode);
    if (error) {
        watch->denied |= error == -EACCES || error == -EPERM;
        pod_watch_forget_process(watch, pid);
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

void pod_watch_stop_container(PodWatch *watch, Container *container)
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

bool pod_watch_has_process(const Container *container)
{
    for (guint i = 0; i < container->pod->processes->len; i++) {
        if (((Process *)container->pod->processes->pdata[i])->container == container) {
            return true;
        }
    }
    return false;
}

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

uint64_t pod_watch_settle_pods(PodWatch *watch, uint64_t now_ns)
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
