// SPDX-License-Identifier: GPL-2.0-or-later
/* News of processes and control groups from the kernel (bpf/pods.bpf.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct PodEventsCallbacks {
    /* Started a program or moved to another control group. Of processes outside of pods only those
     * are told that pod_events_follow() named, and perhaps others whose groups look like a pod's.
     */
    void (*process)(pid_t pid, void *userdata);
    /* A process that pod_events_follow() named has ended. */
    void (*exited)(pid_t pid, void *userdata);
    /* No process is left in this control group, which may be a pod's; hierarchy as in
     * /proc/PID/cgroup. */
    void (*empty)(int hierarchy, const char *path, size_t length, void *userdata);
} PodEventsCallbacks;

typedef struct PodEvents PodEvents;

/* Attached when this returns. Returns 0, or -errno; *ret_message (g_free) then says what is
 * missing. Callbacks come in dispatch(). */
int pod_events_new(const PodEventsCallbacks *callbacks, void *userdata, PodEvents **ret,
                   char **ret_message);
PodEvents *pod_events_free(PodEvents *events); /* NULL is fine; returns NULL */
int pod_events_fd(const PodEvents *events);    /* poll for reading; then dispatch */
void pod_events_dispatch(PodEvents *events);
/* Events that were lost since the start, because we were too slow: look at everything again. */
uint64_t pod_events_lost(const PodEvents *events);
/* Events that were of no pod, since the start: the kernel kept them to itself. */
uint64_t pod_events_skipped(const PodEvents *events);
/* From now on the process' end is told, and that it left its pod. False if there is no room for one
 * more. */
bool pod_events_follow(PodEvents *events, pid_t pid, bool wanted);
