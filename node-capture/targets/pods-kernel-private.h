// SPDX-License-Identifier: GPL-2.0-or-later
/* The inside of a PodWatch: pods-kernel.c (events, time, the object), pods-kernel-state.c (which
 * pods, containers and processes there are), pods-kernel-scan.c (looking through /proc). */
#pragma once

#include <glib.h>

#include "node-capture/targets/pod-events.h"
#include "node-capture/targets/pods-kernel.h"

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

/* ---- pods-kernel.c ---------------------------------------------------------------------------*/

void pod_watch_tell_problem(PodWatch *watch, const char *subject, const char *message);

/* ---- pods-kernel-state.c ---------------------------------------------------------------------*/

void pod_watch_pod_free(void *pod);
/* Which pod the process is of, and where, may have changed. */
void pod_watch_look_at_process(PodWatch *watch, pid_t pid);
/* It has ended, or is in no pod any more. Unknown ones are no error. */
void pod_watch_forget_process(PodWatch *watch, pid_t pid);
bool pod_watch_has_process(const Container *container);
/* Frees the container, and with the last one its pod. */
void pod_watch_stop_container(PodWatch *watch, Container *container);
/* The addresses of the pod's namespace are told from now on. */
void pod_watch_follow_addresses(PodWatch *watch, Pod *pod);
/* Decides on the pods that have waited long enough; returns when the next one will have. */
uint64_t pod_watch_settle_pods(PodWatch *watch, uint64_t now_ns);

/* ---- pods-kernel-scan.c ----------------------------------------------------------------------*/

void pod_watch_scan(PodWatch *watch);
/* Tells whether /proc hides something from us, if that changed. */
void pod_watch_tell_denied(PodWatch *watch);
