// SPDX-License-Identifier: GPL-2.0-or-later
/* The pods of this machine as the kernel has them: from processes, their control groups and network
 * namespaces, without asking Kubernetes or the container runtime.
 *
 * Followed by BPF programs (pod-events.h) and netlink; where these are refused, by looking through
 * /proc four times a second, which is told as a problem. One thread; callbacks come in
 * pod_watch_dispatch(), and may only call pod_watch_find_process(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "node-capture/targets/cgroup-path.h"
#include "node-capture/targets/netns-addresses.h"

#define POD_PROCESS_NAME_SIZE 64

typedef struct PodSandbox {
    const char *uid;
    int netns_fd; /* borrowed, kept open until the next sandbox() or gone() of the pod; -1: host */
    ino_t netns_inode;
    bool host_network; /* shares the machine's own namespace */
} PodSandbox;

/* Order for each pod: sandbox(), then the others, gone() last. */
typedef struct PodWatchCallbacks {
    /* A pod has its network namespace; again when it gets another one (its sandbox was made anew).
     * Host-network pods are told a quarter of a second after their start: until then the process
     * may still be on its way from the host's namespace into the pod's. */
    void (*sandbox)(const PodSandbox *sandbox, void *userdata);
    /* All addresses of the pod's namespace, loopback included; again with each change. Not for
     * host-network pods. */
    void (*addresses)(const char *uid, const NetnsAddress *addresses, size_t count, void *userdata);
    /* By the runtime's id. The sandbox's own (pause) container is told as well. */
    void (*container)(const char *uid, const char *container_id, bool running, void *userdata);
    /* No process of it is left. */
    void (*gone)(const char *uid, void *userdata);
    /* What was there at the start has been told. */
    void (*synced)(void *userdata);
    /* Something is wrong (subject, message), or well again (message NULL). */
    void (*problem)(const char *subject, const char *message, void *userdata);
} PodWatchCallbacks;

typedef struct PodWatchOptions {
    const char *proc;          /* NULL: "/proc" */
    const char *host_netns;    /* NULL: the first process's, "/proc/1/ns/net" */
    const char *cgroup_prefix; /* only pods at or below this control group; NULL: all */
    bool without_events;       /* as if BPF were refused */
} PodWatchOptions;

typedef struct PodWatchCounters {
    uint64_t events;         /* processes and control groups the kernel told of */
    uint64_t events_skipped; /* and those it did not tell of, as they are of no pod */
    uint64_t events_lost;    /* that we were too slow for; /proc was looked through again */
    uint64_t scans;          /* of /proc */
    uint64_t pods, containers, processes; /* known now */
} PodWatchCounters;

typedef struct PodWatch PodWatch;

/* Returns 0, or -errno if not even /proc can be read. What there is already is told by the first
 * dispatch: the descriptor is readable at once. Options are copied. */
int pod_watch_new(const PodWatchOptions *options, const PodWatchCallbacks *callbacks,
                  void *userdata, PodWatch **ret);
PodWatch *pod_watch_free(PodWatch *watch); /* NULL is fine; returns NULL; tells nothing */
int pod_watch_fd(const PodWatch *watch);   /* poll for reading; then dispatch */
void pod_watch_dispatch(PodWatch *watch);

typedef struct PodProcess {
    CgroupPod pod;
    char name[POD_PROCESS_NAME_SIZE]; /* as in /proc/PID/comm; empty if it has just ended */
} PodProcess;

/* Whose process it is. False if it belongs to no pod, or is gone and was not known. */
bool pod_watch_find_process(const PodWatch *watch, pid_t pid, PodProcess *ret_process);
/* False: the kernel does not tell, /proc is looked through four times a second. */
bool pod_watch_has_events(const PodWatch *watch);
void pod_watch_counters(const PodWatch *watch, PodWatchCounters *ret_counters);
